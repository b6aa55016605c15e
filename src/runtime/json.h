// Typed reading of JSON from outside, with refusals that name the file and the place. Inside src/runtime only.
#ifndef TS_RUNTIME_JSON_H
#define TS_RUNTIME_JSON_H

#include <jansson.h>

#include "base/base.h"

typedef struct ts__json {  // where we are, for messages
  const char *file, *where;
} ts__json;

// Parse text of at most 256 MiB. The caller owns the reference. NULL with a refusal that has line and column.
json_t *ts__json_load(const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
// Members of an object. Each refuses when the member is absent, of another type or out of range.
bool ts__json_int(const ts__json *j, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
                  ts_diag *d) TS_WARN_UNUSED;
bool ts__json_num(const ts__json *j, const json_t *o, const char *key, double *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__json_str(const ts__json *j, const json_t *o, const char *key, ts_arena *a, const char **out,
                  ts_diag *d) TS_WARN_UNUSED;
const json_t *ts__json_object(const ts__json *j, const json_t *o, const char *key, ts_diag *d) TS_WARN_UNUSED;
const json_t *ts__json_array(const ts__json *j, const json_t *o, const char *key, size_t max, ts_diag *d) TS_WARN_UNUSED;
// Absent or null members leave *out as it is; a wrong type refuses.
bool ts__json_opt_int(const ts__json *j, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out,
                      ts_diag *d) TS_WARN_UNUSED;
bool ts__json_opt_num(const ts__json *j, const json_t *o, const char *key, double *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__json_opt_str(const ts__json *j, const json_t *o, const char *key, ts_arena *a, const char **out,
                      ts_diag *d) TS_WARN_UNUSED;
bool ts__json_opt_bool(const ts__json *j, const json_t *o, const char *key, bool *out, ts_diag *d) TS_WARN_UNUSED;

#endif
