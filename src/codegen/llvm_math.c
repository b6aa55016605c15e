// The functions of ir/math.def in plain arithmetic, scalar or vector: kernels need no mathematics library.
//
// exp and log work in their own type (f32: under 2 ulp); tanh uses exp; sin, cos and pow on f32 are computed in f64.
// 16-bit floats are computed in f32 and rounded once.
#include "codegen/nvptx.h"

typedef LLVMValueRef V;
typedef struct fp {  // the type at hand
  ts__gen *g;
  LLVMBuilderRef b;
  int bits, n;  // 32 or 64, lanes
} fp;

static V num(fp m, double v) { return ts__g_const_float(m.g, m.bits, m.n, v); }
static V integer(fp m, int64_t v) { return ts__g_const_int(m.g, m.bits, m.n, v); }
static V add(fp m, V x, V y) { return LLVMBuildFAdd(m.b, x, y, ""); }
static V sub(fp m, V x, V y) { return LLVMBuildFSub(m.b, x, y, ""); }
static V mul(fp m, V x, V y) { return LLVMBuildFMul(m.b, x, y, ""); }
static V divide(fp m, V x, V y) { return LLVMBuildFDiv(m.b, x, y, ""); }
static V as_int(fp m, V x) { return LLVMBuildBitCast(m.b, x, ts__g_int_type(m.g, m.bits, m.n), ""); }
static V as_float(fp m, V x) { return LLVMBuildBitCast(m.b, x, ts__g_float_type(m.g, m.bits, m.n), ""); }
static V compare(fp m, LLVMRealPredicate p, V x, V y) { return LLVMBuildFCmp(m.b, p, x, y, ""); }
static V choose(fp m, V c, V x, V y) { return LLVMBuildSelect(m.b, c, x, y, ""); }
static V and_int(fp m, V x, int64_t mask) { return LLVMBuildAnd(m.b, x, integer(m, mask), ""); }
// x * y + z: fused where the target can, else two roundings.
static V madd(fp m, V x, V y, V z) {
  if (!m.g->fma) return add(m, mul(m, x, y), z);
  V args[] = {x, y, z};
  return ts__g_intrinsic(m.g, "llvm.fma", LLVMTypeOf(x), args, 3);
}
static V absolute(fp m, V x) { return ts__g_intrinsic(m.g, "llvm.fabs", LLVMTypeOf(x), &x, 1); }

// c[0] + c[1] x + ... + c[n-1] x^(n-1).
static V poly(fp m, V x, const double *c, int n) {
  V r = num(m, c[n - 1]);
  for (int i = n - 2; i >= 0; i--) r = madd(m, r, x, num(m, c[i]));
  return r;
}

// |x| with the sign of s.
static V with_sign(fp m, V x, V s) {
  int64_t top = m.bits == 32 ? (int64_t)0x80000000 : INT64_MIN;
  V sign = and_int(m, as_int(m, s), top);
  V rest = and_int(m, as_int(m, x), ~top);
  return as_float(m, LLVMBuildOr(m.b, rest, sign, ""));
}

// --- rounding ---------------------------------------------------------------------------------------------

// Adding and taking away 2^23 (2^52) rounds to an integer; larger numbers are integers already.
static V round_soft(fp m, V x) {
  V big = num(m, m.bits == 32 ? 0x1p23 : 0x1p52), a = absolute(m, x);
  V r = with_sign(m, sub(m, add(m, a, big), big), x);
  return choose(m, compare(m, LLVMRealOLT, a, big), r, x);
}

LLVMValueRef ts__g_round_even(ts__gen *g, LLVMValueRef v, int bits, int lanes) {
  if (g->sse41) return ts__g_intrinsic(g, "llvm.roundeven", LLVMTypeOf(v), &v, 1);
  return round_soft((fp){g, g->b, bits, lanes}, v);
}

static V floor_of(fp m, V x) {
  if (m.g->sse41) return ts__g_intrinsic(m.g, "llvm.floor", LLVMTypeOf(x), &x, 1);
  V r = round_soft(m, x);
  return choose(m, compare(m, LLVMRealOGT, r, x), sub(m, r, num(m, 1)), r);
}

// One rounding. Without the instruction, f32 goes through f64, where the product is exact.
LLVMValueRef ts__g_fma(ts__gen *g, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z, int bits, int lanes) {
  fp m = {g, g->b, bits, lanes};
  if (g->fma || bits == 64) return madd(m, x, y, z);
  fp w = {g, g->b, 64, lanes};
  LLVMTypeRef t = ts__g_float_type(g, 64, lanes);
  V wide = mul(w, LLVMBuildFPExt(g->b, x, t, ""), LLVMBuildFPExt(g->b, y, t, ""));
  wide = add(w, wide, LLVMBuildFPExt(g->b, z, t, ""));
  return LLVMBuildFPTrunc(g->b, wide, ts__g_float_type(g, 32, lanes), "");
}

// --- exp ----------------------------------------------------------------------------------------------------

// 2^k for a k that is an integer in a float register and in the range of normal exponents.
static V power_of_two(fp m, V k) {
  V i = LLVMBuildFPToSI(m.b, k, ts__g_int_type(m.g, m.bits, m.n), "");
  int mantissa = m.bits == 32 ? 23 : 52, bias = m.bits == 32 ? 127 : 1023;
  return as_float(m, LLVMBuildShl(m.b, LLVMBuildAdd(m.b, i, integer(m, bias), ""), integer(m, mantissa), ""));
}

// e^x = 2^k e^r with |r| <= ln 2 / 2. The scale is applied in two halves, so that subnormal results come out right.
static V exp_of(fp m, V x) {
  static const double c[] = {
      1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
      1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
  bool f = m.bits == 32;
  double high = f ? 104.0 : 746.0;  // beyond it the result is 0 or infinite
  V bounded = choose(m, compare(m, LLVMRealOLT, x, num(m, high)), x, num(m, high));
  bounded = choose(m, compare(m, LLVMRealOGT, bounded, num(m, -high)), bounded, num(m, -high));
  V k = ts__g_round_even(m.g, mul(m, bounded, num(m, 1.4426950408889634074)), m.bits, m.n);
  V r = madd(m, k, num(m, f ? -0.693145751953125 : -0.693147180369123816490), bounded);
  r = madd(m, k, num(m, f ? -1.42860682030941723212e-6 : -1.90821492927058770002e-10), r);
  V p = poly(m, r, c, f ? 8 : 14);
  V half = floor_of(m, mul(m, k, num(m, 0.5)));
  V scaled = mul(m, mul(m, p, power_of_two(m, half)), power_of_two(m, sub(m, k, half)));
  return choose(m, compare(m, LLVMRealUNO, x, x), x, scaled);
}

// --- log ------------------------------------------------------------------------------------------------------

typedef struct parts {  // x == mantissa * 2^exponent, mantissa between sqrt(1/2) and sqrt(2)
  V mantissa, exponent;
} parts;

// For positive finite x; subnormals are scaled up first.
static parts split(fp m, V x) {
  bool f = m.bits == 32;
  int mantissa = f ? 23 : 52;
  V tiny = compare(m, LLVMRealOLT, x, num(m, f ? 0x1p-126 : 0x1p-1022));
  V up = choose(m, tiny, mul(m, x, num(m, f ? 0x1p25 : 0x1p54)), x);
  int64_t root = f ? 0x3f3504f3 : 0x3fe6a09e667f3bcd;  // bits of sqrt(1/2)
  V rel = LLVMBuildSub(m.b, as_int(m, up), integer(m, root), "");
  V e = LLVMBuildAShr(m.b, rel, integer(m, mantissa), "");
  V low = and_int(m, rel, ((int64_t)1 << mantissa) - 1);
  V exponent = LLVMBuildSIToFP(m.b, e, ts__g_float_type(m.g, m.bits, m.n), "");
  exponent = choose(m, tiny, sub(m, exponent, num(m, f ? 25 : 54)), exponent);
  return (parts){as_float(m, LLVMBuildAdd(m.b, low, integer(m, root), "")), exponent};
}

// log of the mantissa: 2 atanh(s), s = (x - 1) / (x + 1), written as d - s (d - R) so that d = x - 1 stays exact.
static V log_mantissa(fp m, V x) {
  static const double c[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                             2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
  V d = sub(m, x, num(m, 1)), s = divide(m, d, add(m, d, num(m, 2)));
  V z = mul(m, s, s);
  V r = mul(m, z, poly(m, z, c, m.bits == 32 ? 5 : 11));
  return sub(m, d, mul(m, s, sub(m, d, r)));
}

// -inf at 0, NaN below, inf and NaN kept.
static V log_of(fp m, V x) {
  bool f = m.bits == 32;
  parts p = split(m, x);
  V l = log_mantissa(m, p.mantissa);
  V low = madd(m, p.exponent, num(m, f ? 1.42860682030941723212e-6 : 1.90821492927058770002e-10), l);
  V r = madd(m, p.exponent, num(m, f ? 0.693145751953125 : 0.693147180369123816490), low);
  V inf = num(m, __builtin_inf());
  r = choose(m, compare(m, LLVMRealOLT, x, inf), r, x);
  r = choose(m, compare(m, LLVMRealOEQ, x, num(m, 0)), num(m, -__builtin_inf()), r);
  return choose(m, compare(m, LLVMRealOLT, x, num(m, 0)), num(m, __builtin_nan("")), r);
}

// --- tanh -------------------------------------------------------------------------------------------------------

// |x| < 0.625: x + x^3 P(x^2) / Q(x^2); else 1 - 2 / (e^2|x| + 1) with the sign of x.
static V tanh_of(fp m, V x) {
  static const double p[] = {-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1};
  static const double q[] = {4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0};
  V a = absolute(m, x), z = mul(m, x, x);
  V small = madd(m, mul(m, x, z), divide(m, poly(m, z, p, 3), poly(m, z, q, 4)), x);
  V e = exp_of(m, add(m, a, a));
  V large = sub(m, num(m, 1), divide(m, num(m, 2), add(m, e, num(m, 1))));
  return choose(m, compare(m, LLVMRealOLT, a, num(m, 0.625)), small, with_sign(m, large, x));
}

// --- sin, cos (f64) -----------------------------------------------------------------------------------------------

// By x = k pi/2 + r, |r| <= pi/4; accurate while |x| stays below 2^30 or so.
static V sin_cos(fp m, V x, bool cosine) {
  static const double s[] = {-1.66666666666666324348e-1, 8.33333333332248946124e-3,  -1.98412698298579493134e-4,
                             2.75573137070700676789e-6,  -2.50507602534068634195e-8, 1.58969099521155010221e-10};
  static const double c[] = {4.16666666666666019037e-2,  -1.38888888888741095749e-3, 2.48015872894767294178e-5,
                             -2.75573143513906633035e-7, 2.08757232129817482790e-9,  -1.13596475577881948265e-11};
  V k = ts__g_round_even(m.g, mul(m, x, num(m, 0.63661977236758134308)), 64, m.n);
  V r = madd(m, k, num(m, -1.57079632673412561417), x);
  r = madd(m, k, num(m, -6.07710050630396597660e-11), r);
  r = madd(m, k, num(m, -2.02226624879595063154e-21), r);
  V z = mul(m, r, r);
  V sine = madd(m, mul(m, r, z), poly(m, z, s, 6), r);
  V cos_ = madd(m, mul(m, z, z), poly(m, z, c, 6), madd(m, z, num(m, -0.5), num(m, 1)));
  // The quadrant is k mod 4, held in the low bits of k + 1.5 * 2^52.
  V quadrant = as_int(m, add(m, k, num(m, 0x1.8p52)));
  if (cosine) quadrant = LLVMBuildAdd(m.b, quadrant, integer(m, 1), "");
  V odd = LLVMBuildICmp(m.b, LLVMIntNE, and_int(m, quadrant, 1), integer(m, 0), "");
  V flip = LLVMBuildShl(m.b, and_int(m, quadrant, 2), integer(m, 62), "");
  return as_float(m, LLVMBuildXor(m.b, as_int(m, choose(m, odd, cos_, sine)), flip, ""));
}

// --- pow (f64) ------------------------------------------------------------------------------------------------------

// The result's magnitude is e^(y log |x|); a negative base wants an integer exponent and takes its parity.
static V pow_of(fp m, V x, V y) {
  V a = absolute(m, x), zero = num(m, 0), one = num(m, 1);
  V r = exp_of(m, mul(m, y, log_of(m, a)));
  V whole = compare(m, LLVMRealOEQ, floor_of(m, y), y);
  V half = mul(m, y, num(m, 0.5));
  V odd = LLVMBuildAnd(m.b, whole, compare(m, LLVMRealUNE, floor_of(m, half), half), "");
  V infinite = compare(m, LLVMRealOEQ, absolute(m, y), num(m, __builtin_inf()));
  odd = LLVMBuildAnd(m.b, odd, LLVMBuildNot(m.b, infinite, ""), "");
  r = choose(m, odd, with_sign(m, r, x), r);
  V bad = LLVMBuildAnd(m.b, compare(m, LLVMRealOLT, x, zero), LLVMBuildNot(m.b, whole, ""), "");
  bad = LLVMBuildAnd(m.b, bad, compare(m, LLVMRealOGT, x, num(m, -__builtin_inf())), "");
  r = choose(m, bad, num(m, __builtin_nan("")), r);
  V ones = LLVMBuildAnd(m.b, infinite, compare(m, LLVMRealOEQ, a, one), "");
  ones = LLVMBuildOr(m.b, ones, compare(m, LLVMRealOEQ, y, zero), "");
  return choose(m, LLVMBuildOr(m.b, ones, compare(m, LLVMRealOEQ, x, one), ""), one, r);
}

// --- by name --------------------------------------------------------------------------------------------------------

static V in_f64(ts__gen *g, const char *name, V *args, int n, int lanes, int bits) {
  fp m = {g, g->b, 64, lanes};
  V wide[2] = {args[0], n > 1 ? args[1] : NULL};
  for (int i = 0; i < n && bits == 32; i++) wide[i] = LLVMBuildFPExt(g->b, args[i], ts__g_float_type(g, 64, lanes), "");
  V r = strcmp(name, "pow") == 0 ? pow_of(m, wide[0], wide[1]) : sin_cos(m, wide[0], name[0] == 'c');
  return bits == 64 ? r : LLVMBuildFPTrunc(g->b, r, ts__g_float_type(g, 32, lanes), "");
}

static V by_name(fp m, const char *name, V *args, int n) {
  V x = args[0];
  V own = m.g->nv && m.bits == 32 ? ts__nv_math(m.g, name, args, m.n) : NULL;
  if (own) return own;
  if (strcmp(name, "exp") == 0) return exp_of(m, x);
  if (strcmp(name, "log") == 0) return log_of(m, x);
  if (strcmp(name, "tanh") == 0) return tanh_of(m, x);
  if (strcmp(name, "abs") == 0) return absolute(m, x);
  if (strcmp(name, "floor") == 0) return floor_of(m, x);
  if (strcmp(name, "round") == 0) return ts__g_round_even(m.g, x, m.bits, m.n);
  if (strcmp(name, "sqrt") == 0) return ts__g_intrinsic(m.g, "llvm.sqrt", LLVMTypeOf(x), &x, 1);
  if (strcmp(name, "rsqrt") == 0) return divide(m, num(m, 1), ts__g_intrinsic(m.g, "llvm.sqrt", LLVMTypeOf(x), &x, 1));
  if (strcmp(name, "fma") == 0) return ts__g_fma(m.g, args[0], args[1], args[2], m.bits, m.n);
  if (strcmp(name, "sin") == 0 || strcmp(name, "cos") == 0 || strcmp(name, "pow") == 0)
    return in_f64(m.g, name, args, n, m.n, m.bits);
  return NULL;
}

// NULL when there is no such function.
LLVMValueRef ts__g_math(ts__gen *g, const char *name, ts_code c, LLVMValueRef *args, int n, int lanes) {
  if (c == TS_F64) return by_name((fp){g, g->b, 64, lanes}, name, args, n);
  fp m = {g, g->b, 32, lanes};
  if (c == TS_F32) return by_name(m, name, args, n);
  V wide[3];
  for (int i = 0; i < n; i++) wide[i] = ts__g_to_f32(g, c, args[i], lanes);
  V r = by_name(m, name, wide, n);
  return r ? ts__g_from_f32(g, c, r, lanes) : NULL;
}
