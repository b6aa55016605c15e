// The functions of a kernel: NAME, which unpacks its arguments, NAME.body, which computes, and NAME_workspace.
#include "codegen/nvptx.h"

void ts__g_attribute(ts__gen *g, LLVMValueRef fn, unsigned index, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(fn, index, LLVMCreateEnumAttribute(g->ctx, kind, value));
}

LLVMValueRef ts__g_new_function(ts__gen *g, const char *name, LLVMTypeRef type, bool visible) {
  LLVMValueRef fn = LLVMAddFunction(g->mod, name, type);
  LLVMSetLinkage(fn, visible ? LLVMExternalLinkage : LLVMInternalLinkage);
  ts__g_attribute(g, fn, (unsigned)LLVMAttributeFunctionIndex, "nounwind", 0);
  return fn;
}

void ts__g_pointer_param(ts__gen *g, LLVMValueRef fn, unsigned index) {
  ts__g_attribute(g, fn, index + 1, "noalias", 0);
  ts__g_attribute(g, fn, index + 1, "nocapture", 0);
  ts__g_attribute(g, fn, index + 1, "align", 64);
}

// --- workspace ------------------------------------------------------------------------------------------------

static LLVMValueRef larger(ts__gen *g, LLVMValueRef x, LLVMValueRef y) {
  if (x == y) return x;
  return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, x, y, ""), x, y, "");
}

LLVMValueRef ts__g_buffer_bytes(ts__gen *g, const ts_buffer *b) {
  LLVMValueRef n = ts__g_i64(g, ts_code_bytes(b->code));
  size_t mark = g->memo.n;
  for (int i = 0; i < b->ndim; i++) n = LLVMBuildMul(g->b, n, ts__g_scalar(g, b->shape[i]), "");
  ts__g_forget(g, mark);
  int64_t align = g->nv ? TS__NV_ALIGN : 64;
  n = LLVMBuildAdd(g->b, n, ts__g_i64(g, align - 1), "");
  return LLVMBuildAnd(g->b, n, ts__g_i64(g, -align), "");
}

// Bytes of workspace that s needs: allocations that are alive together add up.
static LLVMValueRef workspace_bytes(ts__gen *g, const ts_stmt *s) {
  LLVMValueRef n = ts__g_i64(g, 0);
  if (!s || g->failed) return n;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) n = larger(g, n, workspace_bytes(g, s->seq.child[i]));
      return n;
    case TS_S_FOR:
      return workspace_bytes(g, s->loop.body);
    case TS_S_IF:
      return larger(g, workspace_bytes(g, s->cond.then), workspace_bytes(g, s->cond.other));
    case TS_S_LET:
      return workspace_bytes(g, s->let.body);
    case TS_S_ALLOC:
      n = workspace_bytes(g, s->alloc.body);
      return ts__on_stack(s->alloc.buf, NULL) ? n : LLVMBuildAdd(g->b, n, ts__g_buffer_bytes(g, s->alloc.buf), "");
    default:
      return n;
  }
}

// --- arguments ------------------------------------------------------------------------------------------------

static LLVMValueRef load_index(ts__gen *g, LLVMTypeRef type, LLVMValueRef array, int i) {
  LLVMValueRef at = ts__g_i64(g, i);
  return LLVMBuildLoad2(g->b, type, LLVMBuildInBoundsGEP2(g->b, type, array, &at, 1, ""), "");
}

static void bind_dim(ts__gen *g, const ts_dim *d, LLVMValueRef v) {
  ts__g_bind(g, (ts__bound){.var = d->var, .val = {v, 1}, .multiple = d->multiple, .nonneg = d->lo >= 0});
}

static void workspace_function(ts__gen *g) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx), ptr = LLVMPointerTypeInContext(g->ctx, 0);
  LLVMTypeRef type = LLVMFunctionType(i64, &ptr, 1, false);
  g->fn = ts__g_new_function(g, ts_arena_printf(g->arena, "%s_workspace", g->symbol), type, true);
  LLVMPositionBuilderAtEnd(g->b, ts__g_block(g, "entry"));
  for (int i = 0; i < g->f->ndims; i++) bind_dim(g, &g->f->dims[i], load_index(g, i64, LLVMGetParam(g->fn, 0), i));
  LLVMBuildRet(g->b, workspace_bytes(g, g->f->body));
  g->vars.n = 0;
}

// NAME.body(buffers..., workspace, dims..., rt).
static LLVMValueRef body_function(ts__gen *g, LLVMTypeRef *type) {
  const ts_func *f = g->f;
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx), ptr = LLVMPointerTypeInContext(g->ctx, 0);
  unsigned n = (unsigned)(f->nparams + f->ndims) + 2, k = 0;
  LLVMTypeRef *params = ts_new_array(g->arena, LLVMTypeRef, n);
  for (int i = 0; i <= f->nparams; i++) params[k++] = ptr;
  for (int i = 0; i < f->ndims; i++) params[k++] = i64;
  params[k] = ptr;
  *type = LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, n, false);
  g->fn = ts__g_new_function(g, ts_arena_printf(g->arena, "%s.body", g->symbol), *type, false);
  for (int i = 0; i <= f->nparams; i++) ts__g_pointer_param(g, g->fn, (unsigned)i);
  for (int i = 0; i < f->nparams; i++) {
    if (f->params[i].role == TS_IN) ts__g_attribute(g, g->fn, (unsigned)i + 1, "readonly", 0);
    ts_vec_push(g->arena, &g->places, ((ts__place){f->params[i].buf, LLVMGetParam(g->fn, (unsigned)i)}));
  }
  g->workspace = LLVMGetParam(g->fn, (unsigned)f->nparams);
  for (int i = 0; i < f->ndims; i++) bind_dim(g, &f->dims[i], LLVMGetParam(g->fn, (unsigned)(f->nparams + 1 + i)));
  g->rt = LLVMGetParam(g->fn, n - 1);
  g->ws_used = ts__g_i64(g, 0);
  g->allocas = ts__g_block(g, "entry");
  LLVMBasicBlockRef start = ts__g_block(g, "start");
  LLVMPositionBuilderAtEnd(g->b, start);
  ts__g_stmt(g, f->body);
  LLVMBuildRetVoid(g->b);
  LLVMPositionBuilderAtEnd(g->b, g->allocas);
  LLVMBuildBr(g->b, start);
  return g->fn;
}

static void kernel_function(ts__gen *g, LLVMValueRef body, LLVMTypeRef body_type) {
  const ts_func *f = g->f;
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx), ptr = LLVMPointerTypeInContext(g->ctx, 0);
  LLVMTypeRef params[] = {ptr, ptr, ptr};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, 3, false);
  g->fn = ts__g_new_function(g, g->symbol, type, true);
  LLVMPositionBuilderAtEnd(g->b, ts__g_block(g, "entry"));
  LLVMValueRef *args = ts_new_array(g->arena, LLVMValueRef, f->nparams + f->ndims + 2);
  unsigned n = 0;
  for (int i = 0; i <= f->nparams; i++) args[n++] = load_index(g, ptr, LLVMGetParam(g->fn, 0), i);
  for (int i = 0; i < f->ndims; i++) args[n++] = load_index(g, i64, LLVMGetParam(g->fn, 1), i);
  args[n++] = LLVMGetParam(g->fn, 2);
  LLVMBuildCall2(g->b, body_type, body, args, n, "");
  LLVMBuildRetVoid(g->b);
}

void ts__g_function(ts__gen *g) {
  workspace_function(g);
  LLVMTypeRef type;
  LLVMValueRef body = body_function(g, &type);
  kernel_function(g, body, type);
}
