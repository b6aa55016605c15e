// fold: arithmetic on constants. Builders, the interpreter and the integer evaluator all compute through here, so a
// constant folded early and one computed late cannot differ.
#include <math.h>

#include "ir/ir_impl.h"

int64_t ts__wrap(ts_code c, int64_t v) {
  switch (c) {
    case TS_BOOL: return v != 0;
    case TS_I8: return (int8_t)v;
    case TS_I16: return (int16_t)v;
    case TS_I32: return (int32_t)v;
    case TS_U8: return (uint8_t)v;
    case TS_U16: return (uint16_t)v;
    case TS_U32: return (uint32_t)v;
    default: return v;
  }
}

// To f32 with the last bit made odd when inexact: a second rounding to fewer bits is then correct.
static float round_to_odd(double v) {
  float f = (float)v;
  if ((double)f == v || isnan(v) || isinf(f)) return f;
  uint32_t u;
  memcpy(&u, &f, 4);
  if (fabs((double)f) > fabs(v)) u--;  // now the neighbour toward zero
  u |= 1;
  memcpy(&f, &u, 4);
  return f;
}

double ts__round(ts_code c, double v) {
  switch (c) {
    case TS_F16: return (double)ts_f32_from_f16(ts_f16_from_f32(round_to_odd(v)));
    case TS_BF16: return (double)ts_f32_from_bf16(ts_bf16_from_f32(round_to_odd(v)));
    case TS_F32: return (double)(float)v;
    default: return v;
  }
}

static bool divide(ts_ekind k, ts_code c, int64_t a, int64_t b, int64_t *out) {
  if (b == 0) return false;
  if (ts_code_is_unsigned(c)) {
    *out = (int64_t)(k == TS_E_FLOORDIV ? (uint64_t)a / (uint64_t)b : (uint64_t)a % (uint64_t)b);
    return true;
  }
  if (b == -1) {
    *out = k == TS_E_FLOORDIV ? (int64_t)(0 - (uint64_t)a) : 0;
    return true;
  }
  int64_t q = a / b, r = a % b;
  if (r != 0 && (r < 0) != (b < 0)) q--, r += b;
  *out = k == TS_E_FLOORDIV ? q : r;
  return true;
}

static bool shift(ts_ekind k, ts_code c, int64_t a, int64_t b, int64_t *out) {
  if (b < 0 || b >= ts_code_bits(c)) return false;
  if (k == TS_E_SHL) {
    *out = (int64_t)((uint64_t)a << b);
  } else {
    *out = ts_code_is_unsigned(c) ? (int64_t)((uint64_t)a >> b) : a >> b;
  }
  return true;
}

bool ts__fold_int(ts_ekind k, ts_code c, int64_t a, int64_t b, int64_t *out) {
  int64_t r;
  switch (k) {
    case TS_E_ADD: r = (int64_t)((uint64_t)a + (uint64_t)b); break;
    case TS_E_SUB: r = (int64_t)((uint64_t)a - (uint64_t)b); break;
    case TS_E_MUL: r = (int64_t)((uint64_t)a * (uint64_t)b); break;
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD: TS_TRY(divide(k, c, a, b, &r)); break;
    case TS_E_MIN: r = ts__compare_int(TS_E_LT, c, a, b) ? a : b; break;
    case TS_E_MAX: r = ts__compare_int(TS_E_LT, c, b, a) ? a : b; break;
    case TS_E_BITAND:
    case TS_E_AND: r = a & b; break;
    case TS_E_BITOR:
    case TS_E_OR: r = a | b; break;
    case TS_E_BITXOR: r = a ^ b; break;
    case TS_E_SHL:
    case TS_E_SHR: TS_TRY(shift(k, c, a, b, &r)); break;
    default: return false;
  }
  *out = ts__wrap(c, r);
  return true;
}

// min is a < b ? a : b and max is a > b ? a : b, also for NaN and signed zeros (the x86 rule).
double ts__fold_float(ts_ekind k, ts_code c, double a, double b) {
  switch (k) {
    case TS_E_ADD: return ts__round(c, a + b);
    case TS_E_SUB: return ts__round(c, a - b);
    case TS_E_MUL: return ts__round(c, a * b);
    case TS_E_DIV: return ts__round(c, a / b);
    case TS_E_MIN: return a < b ? a : b;
    case TS_E_MAX: return a > b ? a : b;
    default: return NAN;
  }
}

bool ts__compare_int(ts_ekind k, ts_code c, int64_t a, int64_t b) {
  bool less = c == TS_U64 ? (uint64_t)a < (uint64_t)b : a < b;
  switch (k) {
    case TS_E_EQ: return a == b;
    case TS_E_NE: return a != b;
    case TS_E_LT: return less;
    default: return less || a == b;
  }
}

bool ts__compare_float(ts_ekind k, double a, double b) {
  switch (k) {
    case TS_E_EQ: return a == b;
    case TS_E_NE: return a != b;
    case TS_E_LT: return a < b;
    default: return a <= b;
  }
}

int64_t ts__float_to_int(ts_code to, double v) {
  if (isnan(v)) return 0;
  if (to == TS_BOOL) return v != 0;
  int bits = ts_code_bits(to);
  if (ts_code_is_unsigned(to)) {
    if (v <= -1) return 0;
    if (v >= ldexp(1, bits)) return ts__wrap(to, -1);
    return v < 0 ? 0 : (int64_t)(uint64_t)v;
  }
  if (v <= -ldexp(1, bits - 1)) return (int64_t)(~(uint64_t)0 << (bits - 1));
  if (v >= ldexp(1, bits - 1)) return (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
  return (int64_t)v;
}

double ts__int_to_float(ts_code to, ts_code from, int64_t v) {
  if (to == TS_F32) return from == TS_U64 ? (double)(float)(uint64_t)v : (double)(float)v;
  return ts__round(to, from == TS_U64 ? (double)(uint64_t)v : (double)v);
}

#define TS__PUT(T, value)                   \
  do {                                      \
    T element_ = (T)(value);                \
    memcpy(at, &element_, sizeof element_); \
  } while (0)
#define TS__GET(T, into)                    \
  do {                                      \
    T element_;                             \
    memcpy(&element_, at, sizeof element_); \
    into = element_;                        \
  } while (0)

// Integers and bool come in i, floats in f (already rounded). Every NaN is stored as the same one.
void ts__pack(ts_code c, void *at, int64_t i, double f) {
  if (f != f) f = NAN;
  switch (c) {
    case TS_F16: TS__PUT(uint16_t, ts_f16_from_f32((float)f)); return;
    case TS_BF16: TS__PUT(uint16_t, ts_bf16_from_f32((float)f)); return;
    case TS_F32: TS__PUT(float, f); return;
    case TS_F64: TS__PUT(double, f); return;
    default: break;
  }
  switch (ts_code_bytes(c)) {
    case 1: TS__PUT(int8_t, i); return;
    case 2: TS__PUT(int16_t, i); return;
    case 4: TS__PUT(int32_t, i); return;
    default: TS__PUT(int64_t, i); return;
  }
}

void ts__unpack(ts_code c, const void *at, int64_t *i, double *f) {
  uint16_t h;
  switch (c) {
    case TS_F16: TS__GET(uint16_t, h); *f = (double)ts_f32_from_f16(h); return;
    case TS_BF16: TS__GET(uint16_t, h); *f = (double)ts_f32_from_bf16(h); return;
    case TS_F32: TS__GET(float, *f); return;
    case TS_F64: TS__GET(double, *f); return;
    default: break;
  }
  switch (ts_code_bytes(c)) {
    case 1: TS__GET(int8_t, *i); break;
    case 2: TS__GET(int16_t, *i); break;
    case 4: TS__GET(int32_t, *i); break;
    default: TS__GET(int64_t, *i); break;
  }
  *i = ts__wrap(c, *i);
}
