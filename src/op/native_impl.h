// Shared by the files of native templates.
#ifndef TS_OP_NATIVE_IMPL_H
#define TS_OP_NATIVE_IMPL_H

#include "op/native.h"

bool ts__native_is_dim(const ts_op *op, const char *name);  // a bound name that is no parameter
bool ts__native_name(const char *s, size_t n);  // an identifier of at most 40 characters

// --- limits (native_limit.c) ----------------------------------------------------------------------------------------
// Read one; what is wrong with it, or NULL.
const char *ts__native_limit(ts_arena *a, ts_native_text text, ts_native_limit *out);
bool ts__native_limits_bind(const ts_native *t, const ts_func *f, ts_diag *d) TS_WARN_UNUSED;  // they name what f reads

// --- expressions with names replaced by what is known (native_space.c) ----------------------------------------------
// The integer value when every name is known; else the text with known names replaced, which only symbolic dimensions may
// outlive. `where` is a line of the template, for messages.
typedef struct ts__native_env {
  const ts_native_fit *f;
  int64_t *value;  // of f->name
  int n;           // names in use
} ts__native_env;
bool ts__native_env_at(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts__native_env *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__native_int(const ts__native_env *e, const char *what, ts_native_text x, int64_t *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__native_fold(ts_arena *a, const ts__native_env *e, const char *what, ts_native_text x, const char **out, ts_diag *d) TS_WARN_UNUSED;

#endif
