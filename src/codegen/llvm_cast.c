// Conversions between element types. f16 and bf16 go through f32; every conversion rounds once.
#include "codegen/gen.h"

static LLVMValueRef bits_of(ts__gen *g, LLVMValueRef v, int bits, int lanes) {
  return LLVMBuildBitCast(g->b, v, ts__g_int_type(g, bits, lanes), "");
}
static LLVMValueRef float_of(ts__gen *g, LLVMValueRef v, int bits, int lanes) {
  return LLVMBuildBitCast(g->b, v, ts__g_float_type(g, bits, lanes), "");
}
static LLVMTypeRef half_type(ts__gen *g, int lanes) {
  LLVMTypeRef t = LLVMHalfTypeInContext(g->ctx);
  return lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t;
}

// Where no instruction does it: scaling the shifted bits by 2^112 also makes subnormals right.
static LLVMValueRef f16_to_f32_soft(ts__gen *g, LLVMValueRef v, int n) {
  LLVMValueRef w = LLVMBuildZExt(g->b, v, ts__g_int_type(g, 32, n), "");
  LLVMValueRef sign = LLVMBuildShl(g->b, LLVMBuildAnd(g->b, w, ts__g_const_int(g, 32, n, 0x8000), ""),
                                   ts__g_const_int(g, 32, n, 16), "");
  LLVMValueRef low = LLVMBuildShl(g->b, LLVMBuildAnd(g->b, w, ts__g_const_int(g, 32, n, 0x7fff), ""),
                                  ts__g_const_int(g, 32, n, 13), "");
  LLVMValueRef scaled =
      bits_of(g, LLVMBuildFMul(g->b, float_of(g, low, 32, n), ts__g_const_f32(g, n, 0x1p112), ""), 32, n);
  LLVMValueRef special = LLVMBuildICmp(g->b, LLVMIntUGE, low, ts__g_const_int(g, 32, n, 0x7c00 << 13), "");
  LLVMValueRef inf = LLVMBuildOr(g->b, low, ts__g_const_int(g, 32, n, 0x7f800000), "");
  LLVMValueRef r = LLVMBuildSelect(g->b, special, inf, scaled, "");
  return float_of(g, LLVMBuildOr(g->b, r, sign, ""), 32, n);
}

static LLVMValueRef f32_to_f16_soft(ts__gen *g, LLVMValueRef v, int n) {
  LLVMValueRef u = bits_of(g, v, 32, n);
  LLVMValueRef a = LLVMBuildAnd(g->b, u, ts__g_const_int(g, 32, n, 0x7fffffff), "");
  LLVMValueRef sign = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, u, ts__g_const_int(g, 32, n, 16), ""),
                                   ts__g_const_int(g, 32, n, 0x8000), "");
  // Subnormal results: adding 0.5 leaves the rounded bits at the bottom of the mantissa.
  LLVMValueRef half = LLVMBuildFAdd(g->b, float_of(g, a, 32, n), ts__g_const_f32(g, n, 0.5), "");
  LLVMValueRef small = LLVMBuildSub(g->b, bits_of(g, half, 32, n), ts__g_const_int(g, 32, n, 0x3f000000), "");
  LLVMValueRef odd =
      LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, a, ts__g_const_int(g, 32, n, 13), ""), ts__g_const_int(g, 32, n, 1), "");
  LLVMValueRef up =
      LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, a, odd, ""), ts__g_const_int(g, 32, n, 0xfff - (112 << 23)), "");
  LLVMValueRef normal = LLVMBuildLShr(g->b, up, ts__g_const_int(g, 32, n, 13), "");
  LLVMValueRef nan = LLVMBuildICmp(g->b, LLVMIntUGT, a, ts__g_const_int(g, 32, n, 0x7f800000), "");
  LLVMValueRef big =
      LLVMBuildSelect(g->b, nan, ts__g_const_int(g, 32, n, 0x7e00), ts__g_const_int(g, 32, n, 0x7c00), "");
  LLVMValueRef is_small = LLVMBuildICmp(g->b, LLVMIntULT, a, ts__g_const_int(g, 32, n, 0x38800000), "");
  LLVMValueRef is_big = LLVMBuildICmp(g->b, LLVMIntUGE, a, ts__g_const_int(g, 32, n, 0x47800000), "");
  LLVMValueRef r = LLVMBuildSelect(g->b, is_small, small, normal, "");
  r = LLVMBuildOr(g->b, LLVMBuildSelect(g->b, is_big, big, r, ""), sign, "");
  return LLVMBuildTrunc(g->b, r, ts__g_int_type(g, 16, n), "");
}

static LLVMValueRef f32_to_bf16(ts__gen *g, LLVMValueRef v, int n) {
  LLVMValueRef u = bits_of(g, v, 32, n), sixteen = ts__g_const_int(g, 32, n, 16);
  LLVMValueRef top = LLVMBuildLShr(g->b, u, sixteen, "");
  LLVMValueRef odd = LLVMBuildAnd(g->b, top, ts__g_const_int(g, 32, n, 1), "");
  LLVMValueRef up = LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, u, ts__g_const_int(g, 32, n, 0x7fff), ""), odd, "");
  LLVMValueRef nan = LLVMBuildFCmp(g->b, LLVMRealUNO, v, v, "");
  LLVMValueRef quiet = LLVMBuildOr(g->b, top, ts__g_const_int(g, 32, n, 0x40), "");
  LLVMValueRef r = LLVMBuildSelect(g->b, nan, quiet, LLVMBuildLShr(g->b, up, sixteen, ""), "");
  return LLVMBuildTrunc(g->b, r, ts__g_int_type(g, 16, n), "");
}

LLVMValueRef ts__g_to_f32(ts__gen *g, ts_code from, LLVMValueRef v, int lanes) {
  if (from == TS_BF16) {
    LLVMValueRef w = LLVMBuildZExt(g->b, v, ts__g_int_type(g, 32, lanes), "");
    return float_of(g, LLVMBuildShl(g->b, w, ts__g_const_int(g, 32, lanes, 16), ""), 32, lanes);
  }
  if (!g->f16c) return f16_to_f32_soft(g, v, lanes);
  LLVMValueRef h = LLVMBuildBitCast(g->b, v, half_type(g, lanes), "");
  return LLVMBuildFPExt(g->b, h, ts__g_float_type(g, 32, lanes), "");
}

LLVMValueRef ts__g_from_f32(ts__gen *g, ts_code to, LLVMValueRef v, int lanes) {
  if (to == TS_BF16 && g->nv) {
    LLVMTypeRef t = LLVMBFloatTypeInContext(g->ctx);
    return bits_of(g, LLVMBuildFPTrunc(g->b, v, lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t, ""), 16, lanes);
  }
  if (to == TS_BF16) return f32_to_bf16(g, v, lanes);
  if (!g->f16c) return f32_to_f16_soft(g, v, lanes);
  return bits_of(g, LLVMBuildFPTrunc(g->b, v, half_type(g, lanes), ""), 16, lanes);
}

// double -> float with the last bit made odd when inexact, so that a second rounding to 16 bits is right.
static LLVMValueRef f64_to_f32_odd(ts__gen *g, LLVMValueRef v, int n) {
  LLVMValueRef f = LLVMBuildFPTrunc(g->b, v, ts__g_float_type(g, 32, n), "");
  LLVMValueRef back = LLVMBuildFPExt(g->b, f, ts__g_float_type(g, 64, n), "");
  LLVMValueRef u = bits_of(g, f, 32, n);
  LLVMTypeRef f64 = ts__g_float_type(g, 64, n);
  LLVMValueRef far = LLVMBuildFCmp(g->b, LLVMRealOGT, ts__g_intrinsic(g, "llvm.fabs", f64, &back, 1),
                                   ts__g_intrinsic(g, "llvm.fabs", f64, &v, 1), "");
  LLVMValueRef inexact = LLVMBuildFCmp(g->b, LLVMRealONE, back, v, "");
  LLVMValueRef toward = LLVMBuildSub(g->b, u, LLVMBuildZExt(g->b, far, ts__g_int_type(g, 32, n), ""), "");
  LLVMValueRef odd = LLVMBuildOr(g->b, toward, ts__g_const_int(g, 32, n, 1), "");
  LLVMValueRef finite = LLVMBuildICmp(g->b, LLVMIntNE, LLVMBuildAnd(g->b, u, ts__g_const_int(g, 32, n, 0x7f800000), ""),
                                      ts__g_const_int(g, 32, n, 0x7f800000), "");
  return float_of(g, LLVMBuildSelect(g->b, LLVMBuildAnd(g->b, inexact, finite, ""), odd, u, ""), 32, n);
}

static LLVMValueRef from_f64(ts__gen *g, ts_code to, LLVMValueRef v, int n) {
  if (to == TS_F64) return v;
  if (to == TS_F32) return LLVMBuildFPTrunc(g->b, v, ts__g_float_type(g, 32, n), "");
  return ts__g_from_f32(g, to, f64_to_f32_odd(g, v, n), n);
}

static LLVMValueRef float_to_float(ts__gen *g, ts_code to, ts_code from, LLVMValueRef v, int n) {
  if (from == TS_F64) return from_f64(g, to, v, n);
  LLVMValueRef f = from == TS_F32 ? v : ts__g_to_f32(g, from, v, n);
  if (to == TS_F64) return LLVMBuildFPExt(g->b, f, ts__g_float_type(g, 64, n), "");
  return to == TS_F32 ? f : ts__g_from_f32(g, to, f, n);
}

// Truncates and saturates; NaN gives 0.
static LLVMValueRef float_to_int(ts__gen *g, ts_code to, ts_code from, LLVMValueRef v, int n) {
  LLVMValueRef f = from == TS_F16 || from == TS_BF16 ? ts__g_to_f32(g, from, v, n) : v;
  if (to == TS_BOOL) {
    LLVMValueRef zero = ts__g_const_float(g, from == TS_F64 ? 64 : 32, n, 0);
    return LLVMBuildFCmp(g->b, LLVMRealONE, f, zero, "");
  }
  const char *name = ts_code_is_unsigned(to) ? "llvm.fptoui.sat" : "llvm.fptosi.sat";
  LLVMTypeRef types[2] = {ts__g_reg_type(g, to, n), LLVMTypeOf(f)};
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, types, 2);
  return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->ctx, id, types, 2), fn, &f, 1, "");
}

static LLVMValueRef int_to_float(ts__gen *g, ts_code to, ts_code from, LLVMValueRef v, int n) {
  bool is_signed = from != TS_BOOL && !ts_code_is_unsigned(from);
  // 16-bit integers are exact in f32, wider ones go to 16-bit floats through f64.
  int bits = to == TS_F64 || (to != TS_F32 && ts_code_bytes(from) > 2) ? 64 : 32;
  LLVMTypeRef t = ts__g_float_type(g, bits, n);
  LLVMValueRef f = is_signed ? LLVMBuildSIToFP(g->b, v, t, "") : LLVMBuildUIToFP(g->b, v, t, "");
  return bits == 64 ? from_f64(g, to, f, n) : to == TS_F32 ? f : ts__g_from_f32(g, to, f, n);
}

static LLVMValueRef int_to_int(ts__gen *g, ts_code to, ts_code from, LLVMValueRef v, int n) {
  LLVMTypeRef t = ts__g_reg_type(g, to, n);
  if (to == TS_BOOL) return LLVMBuildICmp(g->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
  if (from == TS_BOOL) return LLVMBuildZExt(g->b, v, t, "");
  if (ts_code_bytes(to) < ts_code_bytes(from)) return LLVMBuildTrunc(g->b, v, t, "");
  if (ts_code_bytes(to) == ts_code_bytes(from)) return v;
  return ts_code_is_unsigned(from) ? LLVMBuildZExt(g->b, v, t, "") : LLVMBuildSExt(g->b, v, t, "");
}

ts__val ts__g_convert(ts__gen *g, ts_code to, ts_code from, ts__val v) {
  bool float_in = ts_code_is_float(from), float_out = ts_code_is_float(to);
  LLVMValueRef r = to == from              ? v.v
                   : float_in && float_out ? float_to_float(g, to, from, v.v, v.lanes)
                   : float_in              ? float_to_int(g, to, from, v.v, v.lanes)
                   : float_out             ? int_to_float(g, to, from, v.v, v.lanes)
                                           : int_to_int(g, to, from, v.v, v.lanes);
  return (ts__val){r, v.lanes};
}
