// Arithmetic, comparisons and logic on register values.
#include "codegen/gen.h"

static LLVMValueRef zero_of(LLVMValueRef v) { return LLVMConstNull(LLVMTypeOf(v)); }

// n when v is the constant 2^n (in every lane), else -1.
static int power_of_two(LLVMValueRef v, int lanes) {
  LLVMValueRef c = lanes == 1 ? v : LLVMIsConstant(v) ? LLVMGetAggregateElement(v, 0) : NULL;
  if (!c || !LLVMIsAConstantInt(c)) return -1;
  for (int i = 1; i < lanes; i++)
    if (LLVMGetAggregateElement(v, (unsigned)i) != c) return -1;
  unsigned long long u = LLVMConstIntGetZExtValue(c);
  return u && (u & (u - 1)) == 0 ? __builtin_ctzll(u) : -1;
}

static LLVMValueRef shift_or_mask(ts__gen *g, bool div, bool arithmetic, LLVMValueRef x, int n, int bits, int lanes) {
  if (!div) return LLVMBuildAnd(g->b, x, ts__g_const_int(g, bits, lanes, (int64_t)(((uint64_t)1 << n) - 1)), "");
  LLVMValueRef count = ts__g_const_int(g, bits, lanes, n);
  return arithmetic ? LLVMBuildAShr(g->b, x, count, "") : LLVMBuildLShr(g->b, x, count, "");
}

// Rounding to minus infinity from the machine's truncation: one less where the remainder has the divisor's other sign.
// A variable divisor of -1 is kept from the machine, which traps on the smallest number.
static LLVMValueRef floor_div(ts__gen *g, bool div, LLVMValueRef x, LLVMValueRef y, int bits, int lanes) {
  LLVMBuilderRef b = g->b;
  LLVMValueRef minus = NULL, zero = zero_of(x), by = y;
  if (!LLVMIsConstant(y)) {
    minus = LLVMBuildICmp(b, LLVMIntEQ, y, ts__g_const_int(g, bits, lanes, -1), "");
    by = LLVMBuildSelect(b, minus, ts__g_const_int(g, bits, lanes, 1), y, "");
  }
  LLVMValueRef q = LLVMBuildSDiv(b, x, by, "");
  LLVMValueRef r = LLVMBuildSub(b, x, LLVMBuildMul(b, q, by, ""), "");
  LLVMValueRef other = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildXor(b, r, by, ""), zero, "");
  LLVMValueRef off = LLVMBuildAnd(b, other, LLVMBuildICmp(b, LLVMIntNE, r, zero, ""), "");
  LLVMValueRef result = div ? LLVMBuildSub(b, q, LLVMBuildZExt(b, off, LLVMTypeOf(q), ""), "")
                            : LLVMBuildAdd(b, r, LLVMBuildSelect(b, off, by, zero, ""), "");
  if (!minus) return result;
  return LLVMBuildSelect(b, minus, div ? LLVMBuildNeg(b, x, "") : zero, result, "");
}

static LLVMValueRef divide(ts__gen *g, bool div, ts_code c, LLVMValueRef x, LLVMValueRef y, int lanes, bool nonneg) {
  int bits = ts_code_bits(c), n = power_of_two(y, lanes);
  bool is_unsigned = ts_code_is_unsigned(c);
  if (n >= 0 && n < bits - !is_unsigned) return shift_or_mask(g, div, !is_unsigned && !nonneg, x, n, bits, lanes);
  if (is_unsigned || nonneg) return div ? LLVMBuildUDiv(g->b, x, y, "") : LLVMBuildURem(g->b, x, y, "");
  return floor_div(g, div, x, y, bits, lanes);
}

static LLVMValueRef int_binary(ts__gen *g, ts_ekind k, ts_code c, LLVMValueRef x, LLVMValueRef y, int lanes,
                               bool nonneg) {
  LLVMBuilderRef b = g->b;
  bool u = ts_code_is_unsigned(c) || c == TS_BOOL;
  switch (k) {
    case TS_E_ADD:
      return LLVMBuildAdd(b, x, y, "");
    case TS_E_SUB:
      return LLVMBuildSub(b, x, y, "");
    case TS_E_MUL:
      return LLVMBuildMul(b, x, y, "");
    case TS_E_FLOORDIV:
      return divide(g, true, c, x, y, lanes, nonneg);
    case TS_E_FLOORMOD:
      return divide(g, false, c, x, y, lanes, nonneg);
    case TS_E_MIN:
      return LLVMBuildSelect(b, LLVMBuildICmp(b, u ? LLVMIntULT : LLVMIntSLT, x, y, ""), x, y, "");
    case TS_E_MAX:
      return LLVMBuildSelect(b, LLVMBuildICmp(b, u ? LLVMIntUGT : LLVMIntSGT, x, y, ""), x, y, "");
    case TS_E_BITAND:
    case TS_E_AND:
      return LLVMBuildAnd(b, x, y, "");
    case TS_E_BITOR:
    case TS_E_OR:
      return LLVMBuildOr(b, x, y, "");
    case TS_E_BITXOR:
      return LLVMBuildXor(b, x, y, "");
    case TS_E_SHL:
      return LLVMBuildShl(b, x, y, "");
    case TS_E_SHR:
      return u ? LLVMBuildLShr(b, x, y, "") : LLVMBuildAShr(b, x, y, "");
    case TS_E_EQ:
      return LLVMBuildICmp(b, LLVMIntEQ, x, y, "");
    case TS_E_NE:
      return LLVMBuildICmp(b, LLVMIntNE, x, y, "");
    case TS_E_LT:
      return LLVMBuildICmp(b, u ? LLVMIntULT : LLVMIntSLT, x, y, "");
    case TS_E_LE:
      return LLVMBuildICmp(b, u ? LLVMIntULE : LLVMIntSLE, x, y, "");
    default:
      return NULL;
  }
}

// On float or double registers. min and max are x < y ? x : y and x > y ? x : y, the instruction's own rule.
static LLVMValueRef float_binary(ts__gen *g, ts_ekind k, LLVMValueRef x, LLVMValueRef y) {
  LLVMBuilderRef b = g->b;
  LLVMValueRef r;
  switch (k) {
    case TS_E_ADD:
      r = LLVMBuildFAdd(b, x, y, "");
      break;
    case TS_E_SUB:
      r = LLVMBuildFSub(b, x, y, "");
      break;
    case TS_E_MUL:
      r = LLVMBuildFMul(b, x, y, "");
      break;
    case TS_E_DIV:
      return LLVMBuildFDiv(b, x, y, "");
    case TS_E_MIN:
      return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, y, ""), x, y, "");
    case TS_E_MAX:
      return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, y, ""), x, y, "");
    case TS_E_EQ:
      return LLVMBuildFCmp(b, LLVMRealOEQ, x, y, "");
    case TS_E_NE:
      return LLVMBuildFCmp(b, LLVMRealUNE, x, y, "");
    case TS_E_LT:
      return LLVMBuildFCmp(b, LLVMRealOLT, x, y, "");
    case TS_E_LE:
      return LLVMBuildFCmp(b, LLVMRealOLE, x, y, "");
    default:
      return NULL;
  }
  if (g->contract && LLVMCanValueUseFastMathFlags(r)) LLVMSetFastMathFlags(r, LLVMFastMathAllowContract);
  return r;
}

static bool is_arith(ts_ekind k) { return k == TS_E_ADD || k == TS_E_SUB || k == TS_E_MUL || k == TS_E_DIV; }

// GPUs have + - * of f16.
static LLVMValueRef native_half(ts__gen *g, ts_ekind k, LLVMValueRef x, LLVMValueRef y, int lanes) {
  LLVMTypeRef t = LLVMHalfTypeInContext(g->ctx);
  if (lanes > 1) t = LLVMVectorType(t, (unsigned)lanes);
  LLVMValueRef a = LLVMBuildBitCast(g->b, x, t, ""), b = LLVMBuildBitCast(g->b, y, t, "");
  return LLVMBuildBitCast(g->b, float_binary(g, k, a, b), ts__g_int_type(g, 16, lanes), "");
}

// 16-bit floats: compared as f32; arithmetic rounded after each operation.
static LLVMValueRef half_binary(ts__gen *g, ts_ekind k, ts_code c, LLVMValueRef x, LLVMValueRef y, int lanes) {
  LLVMValueRef fx = ts__g_to_f32(g, c, x, lanes), fy = ts__g_to_f32(g, c, y, lanes);
  if (k == TS_E_MIN || k == TS_E_MAX) {
    LLVMValueRef first = LLVMBuildFCmp(g->b, k == TS_E_MIN ? LLVMRealOLT : LLVMRealOGT, fx, fy, "");
    return LLVMBuildSelect(g->b, first, x, y, "");
  }
  if (g->nv && c == TS_F16 && is_arith(k) && k != TS_E_DIV) return native_half(g, k, x, y, lanes);
  bool contract = g->contract;
  g->contract = false;
  LLVMValueRef r = float_binary(g, k, fx, fy);
  g->contract = contract;
  return r && is_arith(k) ? ts__g_from_f32(g, c, r, lanes) : r;
}

LLVMValueRef ts__g_binary(ts__gen *g, ts_ekind k, ts_code c, LLVMValueRef x, LLVMValueRef y, int lanes, bool nonneg) {
  if (c == TS_F16 || c == TS_BF16) return half_binary(g, k, c, x, y, lanes);
  if (ts_code_is_float(c)) return float_binary(g, k, x, y);
  return int_binary(g, k, c, x, y, lanes, nonneg);
}
