// Element types of tensors in parameter containers and plans.
#include <math.h>

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

// The largest of n bit patterns without their signs: they are in the order of the magnitudes.
#define MOST_BITS(name, type, magnitude)                                                                                            \
  static type name(const type *p, int64_t n) {                                                                                      \
    type lane[16] = {0};                                                                                                            \
    for (int64_t i = 0; i + 16 <= n; i += 16)                                                                                       \
      for (int k = 0; k < 16; k++) lane[k] = TS_MAX(lane[k], (type)(p[i + k] & magnitude));                                         \
    for (int64_t i = n / 16 * 16; i < n; i++) lane[0] = TS_MAX(lane[0], (type)(p[i] & magnitude));                                  \
    for (int k = 1; k < 16; k++) lane[0] = TS_MAX(lane[0], lane[k]);                                                                \
    return lane[0];                                                                                                                 \
  }
MOST_BITS(most16, uint16_t, 0x7fff)
MOST_BITS(most32, uint32_t, 0x7fffffff)

double ts_dtype_most(ts_dtype t, const void *p, int64_t n) {
  float most = 0;
  if (t == TS_DT_F16) most = ts_f32_from_f16(most16(p, n));
  if (t == TS_DT_BF16) most = ts_f32_from_bf16(most16(p, n));
  if (t == TS_DT_F32) memcpy(&most, &(uint32_t){most32(p, n)}, sizeof most);
  return isfinite(most) ? (double)most : INFINITY;
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
