// Mathematics with instructions of their own. What is not here is computed as on the CPU (llvm_math.c).
#include "codegen/nvptx.h"

static LLVMValueRef num(ts__gen *g, double v) { return ts__g_const_float(g, 32, 1, v); }

static LLVMValueRef unary(ts__gen *g, const char *text, LLVMValueRef x) {
  return ts__nv_asm(g, LLVMFloatTypeInContext(g->ctx), text, "=f,f", &x, 1, TS__NV_PURE);
}

static LLVMValueRef fma32(ts__gen *g, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
  LLVMValueRef args[] = {x, y, z};
  return ts__g_intrinsic(g, "llvm.fma", LLVMTypeOf(x), args, 3);
}

// e^x = 2^h (1 + l ln 2), h + l = x log2 e to twice the precision: two units in the last place.
static LLVMValueRef exp32(ts__gen *g, LLVMValueRef x) {
  LLVMBuilderRef b = g->b;
  LLVMValueRef most = num(g, 128), least = num(g, -128), log2e = num(g, 1.4426950408889634);
  x = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, most, ""), most, x, "");
  x = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, least, ""), least, x, "");
  LLVMValueRef h = LLVMBuildFMul(b, x, log2e, "");
  LLVMValueRef l = fma32(g, x, log2e, LLVMBuildFNeg(b, h, ""));
  l = fma32(g, x, num(g, 1.9259629911266175e-8), l);
  LLVMValueRef two = unary(g, "ex2.approx.f32 $0, $1;", h);
  return LLVMBuildFMul(b, two, fma32(g, l, num(g, 0.6931471805599453), num(g, 1)), "");
}

static LLVMValueRef one(ts__gen *g, const char *name, LLVMValueRef x) {
  if (strcmp(name, "exp") == 0) return exp32(g, x);
  if (strcmp(name, "rsqrt") == 0) return unary(g, "rsqrt.approx.f32 $0, $1;", x);
  return NULL;
}

LLVMValueRef ts__nv_math(ts__gen *g, const char *name, LLVMValueRef *args, int lanes) {
  if (strcmp(name, "exp") != 0 && strcmp(name, "rsqrt") != 0) return NULL;
  if (lanes == 1) return one(g, name, args[0]);
  LLVMValueRef r = LLVMGetPoison(LLVMTypeOf(args[0]));
  for (int i = 0; i < lanes; i++) {
    LLVMValueRef x = one(g, name, LLVMBuildExtractElement(g->b, args[0], ts__g_i64(g, i), ""));
    r = LLVMBuildInsertElement(g->b, r, x, ts__g_i64(g, i), "");
  }
  return r;
}
