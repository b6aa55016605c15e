// LLVM types, constants and small helpers of emission.
#include <stdlib.h>

#include "codegen/gen.h"

static LLVMTypeRef laned(LLVMTypeRef t, int lanes) { return lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t; }

LLVMTypeRef ts__g_int_type(ts__gen *g, int bits, int lanes) {
  return laned(LLVMIntTypeInContext(g->ctx, (unsigned)bits), lanes);
}

LLVMTypeRef ts__g_float_type(ts__gen *g, int bits, int lanes) {
  return laned(bits == 64 ? LLVMDoubleTypeInContext(g->ctx) : LLVMFloatTypeInContext(g->ctx), lanes);
}

LLVMTypeRef ts__g_reg_type(ts__gen *g, ts_code c, int lanes) {
  if (c == TS_BOOL) return ts__g_int_type(g, 1, lanes);
  if (c == TS_F32 || c == TS_F64) return ts__g_float_type(g, ts_code_bits(c), lanes);
  return ts__g_int_type(g, 8 * ts_code_bytes(c), lanes);
}

LLVMTypeRef ts__g_mem_type(ts__gen *g, ts_code c, int lanes) {
  return c == TS_BOOL ? ts__g_int_type(g, 8, lanes) : ts__g_reg_type(g, c, lanes);
}

// A constant in every lane.
static LLVMValueRef const_splat(LLVMValueRef v, int lanes) {
  if (lanes == 1) return v;
  LLVMValueRef lane[TS__MAX_VECTOR * 16];
  for (int i = 0; i < lanes; i++) lane[i] = v;
  return LLVMConstVector(lane, (unsigned)lanes);
}

LLVMValueRef ts__g_const_int(ts__gen *g, int bits, int lanes, int64_t v) {
  return const_splat(LLVMConstInt(ts__g_int_type(g, bits, 1), (unsigned long long)v, true), lanes);
}

LLVMValueRef ts__g_const_float(ts__gen *g, int bits, int lanes, double v) {
  return const_splat(LLVMConstReal(ts__g_float_type(g, bits, 1), v), lanes);
}

LLVMValueRef ts__g_const_f32(ts__gen *g, int lanes, double v) { return ts__g_const_float(g, 32, lanes, v); }

LLVMValueRef ts__g_i64(ts__gen *g, int64_t v) { return ts__g_const_int(g, 64, 1, v); }

LLVMValueRef ts__g_splat(ts__gen *g, LLVMValueRef v, int lanes) {
  if (lanes == 1) return v;
  if (LLVMIsConstant(v) && LLVMIsAConstantInt(v)) return const_splat(v, lanes);
  if (LLVMIsConstant(v) && LLVMIsAConstantFP(v)) return const_splat(v, lanes);
  LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(v), (unsigned)lanes);
  LLVMValueRef one = LLVMBuildInsertElement(g->b, LLVMGetPoison(t), v, ts__g_i64(g, 0), "");
  LLVMValueRef zeros = ts__g_const_int(g, 32, lanes, 0);
  return LLVMBuildShuffleVector(g->b, one, LLVMGetPoison(t), zeros, "");
}

ts__val ts__g_widen(ts__gen *g, ts__val v, int lanes) {
  if (v.lanes == lanes) return v;
  return (ts__val){ts__g_splat(g, v.v, lanes), lanes};
}

LLVMValueRef ts__g_lane(ts__gen *g, ts__val v, int i) {
  return v.lanes == 1 ? v.v : LLVMBuildExtractElement(g->b, v.v, ts__g_i64(g, i), "");
}

// Call of an LLVM intrinsic overloaded on one type (NULL: not overloaded).
LLVMValueRef ts__g_intrinsic(ts__gen *g, const char *name, LLVMTypeRef overload, LLVMValueRef *args, unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  size_t types = overload ? 1 : 0;
  LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, &overload, types);
  return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->ctx, id, &overload, types), fn, args, n, "");
}

// Records the first failure and gives a value of type t, so that emission may go on to its end.
ts__val ts__g_fail(ts__gen *g, ts_type t, const char *code, const char *fmt, ...) {
  if (!g->failed) {
    char message[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    ts_refuse(g->d, code, "function %.100s: %s", g->f->name, message);
    g->failed = true;
  }
  return (ts__val){LLVMGetPoison(ts__g_reg_type(g, t.code, t.lanes)), t.lanes};
}

LLVMBasicBlockRef ts__g_block(ts__gen *g, const char *name) {
  return LLVMAppendBasicBlockInContext(g->ctx, g->fn, name);
}

LLVMValueRef ts__g_slot(ts__gen *g, LLVMTypeRef t, unsigned align) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
  LLVMPositionBuilderAtEnd(g->b, g->allocas);
  LLVMValueRef v = LLVMBuildAlloca(g->b, t, "");
  LLVMSetAlignment(v, align);
  LLVMPositionBuilderAtEnd(g->b, here);
  return v;
}

ts__bound *ts__g_find_var(ts__gen *g, const ts_var *v) {
  for (size_t i = g->vars.n; i-- > 0;)
    if (g->vars.p[i].var == v) return &g->vars.p[i];
  return NULL;
}

LLVMValueRef ts__g_find_place(ts__gen *g, const ts_buffer *b) {
  for (size_t i = g->places.n; i-- > 0;)
    if (g->places.p[i].buf == b) return g->places.p[i].ptr;
  return NULL;
}

void ts__g_bind(ts__gen *g, ts__bound b) {
  if (b.val.lanes == 1 && LLVMIsAConstantInt(b.val.v) && b.var->type.code == TS_I64) {
    b.known = true;
    b.value = LLVMConstIntGetSExtValue(b.val.v);
    b.nonneg = b.value >= 0;
  }
  if (b.multiple < 1) b.multiple = 1;
  ts_vec_push(g->arena, &g->vars, b);
}
