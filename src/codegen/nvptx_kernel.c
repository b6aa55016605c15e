// One kernel: parameters, thread loops, shared memory.
#include <stdlib.h>

#include "codegen/nvptx.h"

// --- parameters -------------------------------------------------------------------------------------------------------

typedef struct user {
  const ts_buffer *buf;
  const ts_var *var;
  bool found;
} user;

static bool see_expr(void *arg, const ts_expr *e) {
  user *u = arg;
  if (e->kind == TS_E_LOAD && e->buf == u->buf) u->found = true;
  return !u->found;
}

static bool see_stmt(void *arg, const ts_stmt *s) {
  user *u = arg;
  if (s->kind == TS_S_STORE && s->store.buf == u->buf) u->found = true;
  return !u->found;
}

bool ts__nv_uses(const ts__nv_kernel *k, const ts_buffer *b) {
  user u = {.buf = b};
  ts_stmt_visit(k->body, see_stmt, see_expr, &u);
  return u.found;
}

bool ts__nv_uses_workspace(const ts__nv_kernel *k) {
  for (int i = 0; i < k->nallocs; i++)
    if (ts__nv_uses(k, k->allocs[i])) return true;
  return false;
}

static void annotate(ts__gen *g, LLVMValueRef fn, const char *key, int64_t value) {
  LLVMMetadataRef node[] = {LLVMValueAsMetadata(fn), LLVMMDStringInContext2(g->ctx, key, strlen(key)),
                            LLVMValueAsMetadata(ts__g_const_int(g, 32, 1, value))};
  LLVMMetadataRef n = LLVMMDNodeInContext2(g->ctx, node, 3);
  LLVMAddNamedMetadataOperand(g->mod, "nvvm.annotations", LLVMMetadataAsValue(g->ctx, n));
}

static int64_t threads_of(const ts__nv_kernel *k, ts_axis a) {
  int64_t n = 1;
  if (k->extent[a]) ts_is_int(k->extent[a], &n);
  return n;
}

static void annotate_kernel(ts__gen *g, LLVMValueRef fn, const ts__nv_kernel *k) {
  annotate(g, fn, "kernel", 1);
  annotate(g, fn, "maxntidx", threads_of(k, TS_THREAD_X));
  annotate(g, fn, "maxntidy", threads_of(k, TS_THREAD_Y));
  annotate(g, fn, "maxntidz", threads_of(k, TS_THREAD_Z));
  int64_t blocks = ts__nv_option(k, "minblocks", 0), registers = ts__nv_option(k, "maxnreg", 0);
  if (blocks) annotate(g, fn, "minctasm", blocks);
  if (registers) annotate(g, fn, "maxnreg", registers);
}

// The dimensions live in device memory: a recorded launch sees their present values. They are read before the wait for the kernel before, for what sets them has
// ended when the first kernel of a pass begins.
static LLVMValueRef *read_dims(ts__gen *g, LLVMValueRef dims) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx);
  LLVMValueRef *v = ts_new_array(g->arena, LLVMValueRef, g->f->ndims);
  for (int i = 0; i < g->f->ndims; i++) {
    const ts_dim *d = &g->f->dims[i];
    LLVMValueRef at = ts__g_i64(g, i);
    v[i] = LLVMBuildLoad2(g->b, i64, LLVMBuildInBoundsGEP2(g->b, i64, dims, &at, 1, ""), "");
    if (d->hi >= d->lo && d->hi < INT64_MAX) {
      LLVMMetadataRef range[] = {LLVMValueAsMetadata(ts__g_i64(g, d->lo)), LLVMValueAsMetadata(ts__g_i64(g, d->hi + 1))};
      LLVMValueRef node = LLVMMetadataAsValue(g->ctx, LLVMMDNodeInContext2(g->ctx, range, 2));
      LLVMSetMetadata(v[i], LLVMGetMDKindIDInContext(g->ctx, "range", 5), node);
    }
  }
  return v;
}

static void bind_dims(ts__gen *g, const LLVMValueRef *v) {
  for (int i = 0; i < g->f->ndims; i++) {
    const ts_dim *d = &g->f->dims[i];
    ts__g_bind(g, (ts__bound){.var = d->var, .val = {v[i], 1}, .multiple = d->multiple, .nonneg = d->lo >= 0});
  }
}

static void bind_workspace(ts__gen *g, const ts__nv_kernel *k, LLVMValueRef base) {
  LLVMValueRef used = ts__g_i64(g, 0);
  LLVMTypeRef i8 = LLVMInt8TypeInContext(g->ctx);
  for (int i = 0; i < k->nallocs; i++) {
    LLVMValueRef at = LLVMBuildInBoundsGEP2(g->b, i8, base, &used, 1, "");
    ts_vec_push(g->arena, &g->places, ((ts__place){k->allocs[i], at}));
    used = LLVMBuildAdd(g->b, used, ts__g_buffer_bytes(g, k->allocs[i]), "");
  }
}

static LLVMValueRef declare(ts__gen *g, ts__nv_kernel *k, unsigned *nbuffers, bool *workspace) {
  const ts_func *f = g->f;
  LLVMTypeRef global = LLVMPointerTypeInContext(g->ctx, TS__NV_GLOBAL);
  ts__nv_find_maps(g, k);
  LLVMTypeRef *params = ts_new_array(g->arena, LLVMTypeRef, f->nparams + 2 + (int)k->maps.n);
  unsigned n = 0, pointers;
  for (int i = 0; i < f->nparams; i++)
    if (ts__nv_uses(k, f->params[i].buf)) params[n++] = global;
  *nbuffers = n;
  *workspace = ts__nv_uses_workspace(k);
  if (*workspace) params[n++] = global;
  if (f->ndims) params[n++] = global;
  pointers = n;
  for (size_t i = 0; i < k->maps.n; i++) params[n++] = ts__nv_map_type(g);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, n, false);
  LLVMValueRef fn = ts__g_new_function(g, k->entry, type, true);
  LLVMSetFunctionCallConv(fn, 71);  // a kernel
  for (unsigned i = 0; i < pointers; i++) ts__g_pointer_param(g, fn, i);
  ts__nv_map_params(g, k, fn, pointers);
  annotate_kernel(g, fn, k);
  return fn;
}

static bool see_wgmma(void *arg, const ts_expr *e) {
  bool *found = arg;
  *found |= ts_asm_of(NULL, e, &(ts_asm){0}) && strstr(e->callee, "wgmma.mma_async") != NULL;
  return !*found;
}

static bool has_wgmma(const ts__nv_kernel *k) {
  bool found = false;
  ts_stmt_visit(k->body, NULL, see_wgmma, &found);
  return found;
}

static void fill(ts__gen *g, ts__nv_kernel *k) {
  const ts_func *f = g->f;
  unsigned nbuffers, at = 0;
  bool workspace;
  g->fn = declare(g, k, &nbuffers, &workspace);
  g->allocas = ts__g_block(g, "entry");
  LLVMBasicBlockRef start = ts__g_block(g, "start");
  LLVMPositionBuilderAtEnd(g->b, start);
  g->nv->k = k;
  const LLVMValueRef *dims = f->ndims ? read_dims(g, LLVMGetParam(g->fn, nbuffers + workspace)) : NULL;
  ts__nv_begin(g, k);
  for (int i = 0; i < f->nparams; i++) {
    if (!ts__nv_uses(k, f->params[i].buf)) continue;
    if (f->params[i].role == TS_IN) ts__g_attribute(g, g->fn, at + 1, "readonly", 0);
    ts_vec_push(g->arena, &g->places, ((ts__place){f->params[i].buf, LLVMGetParam(g->fn, at)}));
    at++;
  }
  bind_dims(g, dims);
  if (workspace) bind_workspace(g, k, LLVMGetParam(g->fn, nbuffers));
  g->nv->shared_used = g->nv->shared_most = 0;
  g->nv->tensor = has_wgmma(k);
  g->stack = 0;
  ts__g_stmt(g, k->body);
  k->shared = g->nv->shared_most;
  LLVMBuildRetVoid(g->b);
  LLVMPositionBuilderAtEnd(g->b, g->allocas);
  LLVMBuildBr(g->b, start);
  g->vars.n = g->places.n = 0;
  ts__g_forget(g, 0);
}

void ts__nv_functions(ts__gen *g) {
  for (size_t i = 0; i < g->nv->kernels.n && !g->failed; i++) fill(g, &g->nv->kernels.p[i]);
}

// --- thread loops ---------------------------------------------------------------------------------------------------------

LLVMValueRef ts__nv_thread_index(ts__gen *g, ts_axis a) {
  static const char *const name[] = {[TS_BLOCK_X] = "llvm.nvvm.read.ptx.sreg.ctaid.x",
                                     [TS_BLOCK_Y] = "llvm.nvvm.read.ptx.sreg.ctaid.y",
                                     [TS_BLOCK_Z] = "llvm.nvvm.read.ptx.sreg.ctaid.z",
                                     [TS_THREAD_X] = "llvm.nvvm.read.ptx.sreg.tid.x",
                                     [TS_THREAD_Y] = "llvm.nvvm.read.ptx.sreg.tid.y",
                                     [TS_THREAD_Z] = "llvm.nvvm.read.ptx.sreg.tid.z"};
  int64_t most = INT32_MAX;
  if (g->nv->k->extent[a] && ts_is_int(g->nv->k->extent[a], &most) && most == 1) return ts__g_i64(g, 0);
  LLVMValueRef v = ts__g_intrinsic(g, name[a], NULL, NULL, 0);
  LLVMMetadataRef range[] = {LLVMValueAsMetadata(ts__g_const_int(g, 32, 1, 0)),
                             LLVMValueAsMetadata(ts__g_const_int(g, 32, 1, TS_MIN(most, INT32_MAX)))};
  LLVMValueRef node = LLVMMetadataAsValue(g->ctx, LLVMMDNodeInContext2(g->ctx, range, 2));
  LLVMSetMetadata(v, LLVMGetMDKindIDInContext(g->ctx, "range", 5), node);
  return LLVMBuildZExt(g->b, v, LLVMInt64TypeInContext(g->ctx), "");
}

void ts__nv_thread_loop(ts__gen *g, const ts_stmt *s) {
  const ts_expr *whole = g->nv->k->extent[s->loop.axis];
  LLVMValueRef i = ts__nv_thread_index(g, s->loop.axis);
  size_t mark = g->memo.n;
  LLVMValueRef from = ts__g_scalar(g, s->loop.min), extent = ts__g_scalar(g, s->loop.extent);
  ts__g_forget(g, mark);
  LLVMValueRef v = LLVMBuildNSWAdd(g->b, from, i, "");
  // A grid may be larger than the present sizes want, and another loop of the axis longer.
  if (whole == s->loop.extent && ts_is_int(whole, NULL)) {
    ts__g_loop_body(g, s, v);
    return;
  }
  LLVMBasicBlockRef then = ts__g_block(g, "inside"), end = ts__g_block(g, "outside");
  LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, i, extent, ""), then, end);
  LLVMPositionBuilderAtEnd(g->b, then);
  ts__g_loop_body(g, s, v);
  LLVMBuildBr(g->b, end);
  LLVMPositionBuilderAtEnd(g->b, end);
}

// --- storage ----------------------------------------------------------------------------------------------------------------

bool ts__nv_is_shared(const ts_buffer *b) { return strncmp(b->scope, "shared", 6) == 0; }

int ts__nv_swizzle(const ts_buffer *b) {
  return strncmp(b->scope, "shared.swizzle", 14) == 0 ? atoi(b->scope + 14) : 0;
}

static LLVMValueRef shared_storage(ts__gen *g, const ts_buffer *b, int64_t bytes) {
  ts__nv *nv = g->nv;
  if (!nv->shared) {
    LLVMTypeRef t = LLVMArrayType2(LLVMInt8TypeInContext(g->ctx), 0);
    nv->shared = LLVMAddGlobalInAddressSpace(g->mod, t, "ts_shared", TS__NV_SHARED);
    LLVMSetLinkage(nv->shared, LLVMExternalLinkage);
    LLVMSetAlignment(nv->shared, 1024);
  }
  int64_t at, align = ts__nv_swizzle(b) ? 1024 : TS_MAX(b->align, 128);
  if (b->offset && ts_is_int(b->offset, &at)) {
    at *= ts_code_bytes(b->code);
  } else {
    at = (nv->shared_used + align - 1) / align * align;
  }
  nv->shared_used = TS_MAX(nv->shared_used, at + bytes);
  nv->shared_most = TS_MAX(nv->shared_most, nv->shared_used);
  int64_t limit = g->t->gpu.block_shared ? g->t->gpu.block_shared : 48 << 10;
  if (nv->shared_used > limit)
    return ts__g_fail(g, TS_INDEX, "shared-memory", "%lld bytes of shared memory with %.60s; a block may have %lld",
                      (long long)nv->shared_used, b->name, (long long)limit)
        .v;
  LLVMValueRef off = ts__g_i64(g, at);
  return LLVMBuildInBoundsGEP2(g->b, LLVMInt8TypeInContext(g->ctx), nv->shared, &off, 1, "");
}

LLVMValueRef ts__nv_storage(ts__gen *g, const ts_buffer *b) {
  enum { MOST_LOCAL = 64 << 10 };  // bytes of one thread
  int64_t n;
  bool constant = ts__on_stack(b, &n);
  int64_t bytes = constant ? n * ts_code_bytes(b->code) : 0;
  if (ts__nv_is_shared(b) && constant) return shared_storage(g, b, bytes);
  g->stack += bytes;
  if (ts__nv_is_shared(b) || !constant || g->stack > MOST_LOCAL)
    return ts__g_fail(g, TS_INDEX, "buffer-too-large",
                      "buffer %.60s in scope %.30s inside a kernel wants a constant size, at most %d bytes a thread",
                      b->name, b->scope, MOST_LOCAL)
        .v;
  return ts__g_slot(g, LLVMArrayType2(ts__g_mem_type(g, b->code, 1), (uint64_t)n), 16);
}
