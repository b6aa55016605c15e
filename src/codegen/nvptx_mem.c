// Addresses of swizzled buffers; loads of weights, which are read once and should not push anything out of the caches.
#include "codegen/nvptx.h"

// Within rows of 128 bytes the 16-byte pieces are exchanged: piece p of row r lies at p ^ (r mod 8) (mod 4, 2 for 64, 32).
LLVMValueRef ts__nv_swizzled(ts__gen *g, const ts_buffer *b, LLVMValueRef index) {
  int bytes = ts_code_bytes(b->code), rows = ts__nv_swizzle(b) / 16;
  LLVMValueRef row = LLVMBuildLShr(g->b, index, ts__g_i64(g, __builtin_ctz(128u / (unsigned)bytes)), "");
  row = LLVMBuildAnd(g->b, row, ts__g_i64(g, rows - 1), "");
  row = LLVMBuildShl(g->b, row, ts__g_i64(g, __builtin_ctz(16u / (unsigned)bytes)), "");
  return LLVMBuildXor(g->b, index, row, "");
}

LLVMValueRef ts__nv_policy(ts__gen *g, const ts_buffer *b) {
  if (!ts__nv_option(g->nv->k, "evict_first", 0) || !ts__nv_is_cold(g, b)) return NULL;
  return ts__nv_asm(g, LLVMInt64TypeInContext(g->ctx), "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", "=l", NULL, 0, TS__NV_PURE);
}

// Leaves the first cache alone; the second keeps it as the first to go when the kernel asks for that.
LLVMValueRef ts__nv_cold_load(ts__gen *g, const ts_buffer *b, LLVMValueRef ptr, int lanes, int align) {
  int bytes = ts_code_bytes(b->code) * lanes;
  if (align < bytes || bytes != 16 || !ts__nv_is_cold(g, b)) return NULL;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(g->ctx), fields[] = {i32, i32, i32, i32};
  LLVMTypeRef result = LLVMStructTypeInContext(g->ctx, fields, 4, false);
  LLVMValueRef args[] = {ptr, ts__nv_policy(g, b)}, r;
  if (args[1]) {
    r = ts__nv_asm(g, result, "ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {$0, $1, $2, $3}, [$4], $5;",
                   "=r,=r,=r,=r,l,l", args, 2, TS__NV_FIXED);
  } else {
    r = ts__nv_asm(g, result, "ld.global.L1::no_allocate.v4.u32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,l", args, 1,
                   TS__NV_FIXED);
  }
  LLVMValueRef v = LLVMGetPoison(LLVMVectorType(i32, 4));
  for (unsigned i = 0; i < 4; i++)
    v = LLVMBuildInsertElement(g->b, v, LLVMBuildExtractValue(g->b, r, i, ""), ts__g_i64(g, i), "");
  return LLVMBuildBitCast(g->b, v, ts__g_mem_type(g, b->code, lanes), "");
}
