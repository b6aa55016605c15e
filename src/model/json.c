// Reading JSON from outside through jansson: every field checked for presence, type and range.
#include <math.h>
#include <stdlib.h>

#include "model_impl.h"

json_t *ts__js_object(const char *file, const char *text, size_t n, ts_diag *d) {
  json_error_t e;
  json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
  if (!o) {
    ts_refuse(d, "bad-json", "%s: not valid JSON at line %d: %s", file, e.line, e.text);
    return NULL;
  }
  if (json_is_object(o)) return o;
  json_decref(o);
  ts_refuse(d, "bad-json", "%s: the JSON value is not an object", file);
  return NULL;
}

static bool missing(const char *file, const char *key, ts_diag *d) {
  return ts_refuse(d, "missing-field", "%s: field \"%s\" is missing", file, key);
}

bool ts__js_int(const char *file, const json_t *o, const char *key, bool must, int64_t lo, int64_t hi, int64_t *out,
                ts_diag *d) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return !must || missing(file, key, d);
  if (!json_is_integer(v)) return ts_refuse(d, "bad-field", "%s: field \"%s\" is not an integer", file, key);
  int64_t i = json_integer_value(v);
  if (i < lo || i > hi)
    return ts_refuse(d, "bad-field", "%s: field \"%s\" is %lld, outside %lld..%lld", file, key, (long long)i,
                     (long long)lo, (long long)hi);
  *out = i;
  return true;
}

bool ts__js_num(const char *file, const json_t *o, const char *key, bool must, double *out, ts_diag *d) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return !must || missing(file, key, d);
  if (!json_is_number(v) || !isfinite(json_number_value(v)))
    return ts_refuse(d, "bad-field", "%s: field \"%s\" is not a finite number", file, key);
  *out = json_number_value(v);
  return true;
}

bool ts__js_bool(const char *file, const json_t *o, const char *key, bool *out, ts_diag *d) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return true;
  if (!json_is_boolean(v)) return ts_refuse(d, "bad-field", "%s: field \"%s\" is neither true nor false", file, key);
  *out = json_is_true(v);
  return true;
}

const char *ts__js_str(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

bool ts__js_quote(ts_text *t, const char *s, size_t n, bool ascii) {
  json_t *v = memchr(s, 0, n) ? NULL : json_stringn(s, n);
  if (!v) return false;
  char *text = json_dumps(v, JSON_ENCODE_ANY | (ascii ? JSON_ENSURE_ASCII : 0u));
  json_decref(v);
  if (text) ts_text_add(t, text);
  free(text);
  return text != NULL;
}
