// Element types of tensors in parameter containers and plans.
#include "runtime/plan.h"

static const struct {
  const char *index_name, *name;
  int bytes;
} rows[] = {
#define DTYPE(e, index_name, name, bytes) {index_name, name, bytes},
#include "runtime/dtype.def"
#undef DTYPE
};

int ts_dtype_bytes(ts_dtype t) { return rows[t].bytes; }
const char *ts_dtype_name(ts_dtype t) { return rows[t].name; }
const char *ts_dtype_index_name(ts_dtype t) { return rows[t].index_name; }

bool ts_dtype_parse(const char *name, ts_dtype *out) {
  for (int i = 0; i < TS_DT__COUNT; i++)
    if (!strcmp(name, rows[i].name) || !strcmp(name, rows[i].index_name)) {
      *out = (ts_dtype)i;
      return true;
    }
  return false;
}

int64_t ts_tensor_count(const ts_tensor *t) {
  int64_t n = 1;
  if (t->ndim < 0 || t->ndim > TS_TENSOR_DIMS) return -1;
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] < 0 || __builtin_mul_overflow(n, t->shape[i], &n)) return -1;
  return n;
}

int64_t ts_tensor_bytes(const ts_tensor *t) {
  int64_t n = ts_tensor_count(t), b;
  if (n < 0 || __builtin_mul_overflow(n, (int64_t)ts_dtype_bytes(t->dtype), &b)) return -1;
  return b;
}
