// Typed reading of JSON from outside.
#include "runtime/json.h"

#include <math.h>

#define JSON_MAX_BYTES ((size_t)256 << 20)

json_t *ts__json_load(const char *file, const char *text, size_t n, ts_diag *d) {
  if (n > JSON_MAX_BYTES) {
    (void)ts_refuse(d, "json-too-big", "%s: %zu bytes of JSON, the limit is %zu", file, n, JSON_MAX_BYTES);
    return NULL;
  }
  json_error_t e;
  json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
  if (!root) (void)ts_refuse(d, "json-syntax", "%s:%d:%d: not valid JSON: %s", file, e.line, e.column, e.text);
  return root;
}

static bool wrong(const ts__json *j, const char *key, const char *wanted, ts_diag *d) {
  return ts_refuse(d, "json-shape", "%s: %s: member '%s' should be %s", j->file, j->where, key, wanted);
}

static const json_t *member(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_null(v) ? NULL : v;
}

bool ts__json_opt_int(const ts__json *j, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
                      ts_diag *d) {
  const json_t *v = member(o, key);
  if (!v) return true;
  if (!json_is_integer(v)) return wrong(j, key, "an integer", d);
  int64_t i = json_integer_value(v);
  if (i < lo || i > hi)
    return ts_refuse(d, "json-range", "%s: %s: %s = %lld is outside %lld..%lld", j->file, j->where, key, (long long)i,
                     (long long)lo, (long long)hi);
  *out = i;
  return true;
}

bool ts__json_opt_num(const ts__json *j, const json_t *o, const char *key, double *out, ts_diag *d) {
  const json_t *v = member(o, key);
  if (!v) return true;
  if (!json_is_number(v) || !isfinite(json_number_value(v))) return wrong(j, key, "a finite number", d);
  *out = json_number_value(v);
  return true;
}

bool ts__json_opt_str(const ts__json *j, const json_t *o, const char *key, ts_arena *a, const char **out, ts_diag *d) {
  const json_t *v = member(o, key);
  if (!v) return true;
  const char *s = json_string_value(v);
  if (!s || strlen(s) != json_string_length(v)) return wrong(j, key, "a string without NUL", d);
  *out = ts_arena_strdup(a, s);
  return true;
}

bool ts__json_opt_bool(const ts__json *j, const json_t *o, const char *key, bool *out, ts_diag *d) {
  const json_t *v = member(o, key);
  if (!v) return true;
  if (!json_is_boolean(v)) return wrong(j, key, "true or false", d);
  *out = json_is_true(v);
  return true;
}

bool ts__json_int(const ts__json *j, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out, ts_diag *d) {
  if (!member(o, key)) return wrong(j, key, "an integer", d);
  return ts__json_opt_int(j, o, key, lo, hi, out, d);
}

bool ts__json_num(const ts__json *j, const json_t *o, const char *key, double *out, ts_diag *d) {
  if (!member(o, key)) return wrong(j, key, "a finite number", d);
  return ts__json_opt_num(j, o, key, out, d);
}

bool ts__json_str(const ts__json *j, const json_t *o, const char *key, ts_arena *a, const char **out, ts_diag *d) {
  if (!member(o, key)) return wrong(j, key, "a string", d);
  return ts__json_opt_str(j, o, key, a, out, d);
}

const json_t *ts__json_object(const ts__json *j, const json_t *o, const char *key, ts_diag *d) {
  const json_t *v = member(o, key);
  if (json_is_object(v)) return v;
  (void)wrong(j, key, "an object", d);
  return NULL;
}

const json_t *ts__json_array(const ts__json *j, const json_t *o, const char *key, size_t max, ts_diag *d) {
  const json_t *v = member(o, key);
  if (!json_is_array(v)) {
    (void)wrong(j, key, "an array", d);
    return NULL;
  }
  if (json_array_size(v) <= max) return v;
  (void)ts_refuse(d, "json-range", "%s: %s: '%s' has %zu members, the limit is %zu", j->file, j->where, key,
                  json_array_size(v), max);
  return NULL;
}
