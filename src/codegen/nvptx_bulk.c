// Barriers in shared memory, and bulk copies through tensor maps.
#include "codegen/nvptx.h"

// --- tensor maps
// ----------------------------------------------------------------------------------------------------------------

typedef struct survey {
  ts__gen *g;
  ts__nv_kernel *k;
} survey;

static int param_of(const ts__gen *g, const ts_buffer *b) {
  for (int i = 0; i < g->f->nparams; i++)
    if (g->f->params[i].buf == b) return i;
  return -1;
}

static ts__nv_map map_of(const ts__gen *g, const ts_expr *e) {
  return (ts__nv_map){param_of(g, e->arg[1]->buf),
                      e->arg[3]->i / e->arg[6]->i,
                      e->arg[4]->i,
                      e->arg[5]->i,
                      ts__nv_swizzle(e->arg[0]->buf),
                      NULL};
}

static ts__nv_map *find_map(const ts__nv_kernel *k, ts__nv_map m) {
  for (size_t i = 0; i < k->maps.n; i++) {
    ts__nv_map *x = &k->maps.p[i];
    if (x->param == m.param && x->rows == m.rows && x->columns == m.columns && x->stride == m.stride &&
        x->swizzle == m.swizzle)
      return x;
  }
  return NULL;
}

static bool see_bulk(void *arg, const ts_expr *e) {
  survey *v = arg;
  ts_effect f;
  if (e->kind != TS_E_CALL || !ts_effect_of(e, &f) || f != TS_EFF_BULK_COPY) return true;
  ts__nv_map m = map_of(v->g, e);
  if (m.param < 0) {
    ts__g_fail(v->g, TS_INDEX, "bulk-copy", "buffer %.60s is copied in bulk and no parameter", e->arg[1]->buf->name);
  } else if (!find_map(v->k, m)) {
    ts_vec_push(v->g->arena, &v->k->maps, m);
  }
  return true;
}

void ts__nv_find_maps(ts__gen *g, ts__nv_kernel *k) {
  survey v = {g, k};
  ts_stmt_visit(k->body, NULL, see_bulk, &v);
}

LLVMTypeRef ts__nv_map_type(ts__gen *g) { return LLVMPointerTypeInContext(g->ctx, 0); }

static void grid_constant(ts__gen *g, LLVMValueRef fn, unsigned first, unsigned n) {
  LLVMMetadataRef *index = ts_new_array(g->arena, LLVMMetadataRef, (int)n);
  for (unsigned i = 0; i < n; i++) index[i] = LLVMValueAsMetadata(ts__g_const_int(g, 32, 1, first + i + 1));
  LLVMMetadataRef node[] = {LLVMValueAsMetadata(fn), LLVMMDStringInContext2(g->ctx, "grid_constant", 13),
                            LLVMMDNodeInContext2(g->ctx, index, n)};
  LLVMAddNamedMetadataOperand(g->mod, "nvvm.annotations",
                              LLVMMetadataAsValue(g->ctx, LLVMMDNodeInContext2(g->ctx, node, 3)));
}

// The 128 bytes of a map are passed by value and stay where parameters are.
void ts__nv_map_params(ts__gen *g, ts__nv_kernel *k, LLVMValueRef fn, unsigned first) {
  enum { BYTES = 128, ALIGN = 64 };
  LLVMTypeRef bytes = LLVMArrayType2(LLVMInt8TypeInContext(g->ctx), BYTES);
  unsigned byval = LLVMGetEnumAttributeKindForName("byval", 5);
  if (!k->maps.n) return;
  for (size_t i = 0; i < k->maps.n; i++) {
    unsigned at = first + (unsigned)i;
    LLVMAddAttributeAtIndex(fn, at + 1, LLVMCreateTypeAttribute(g->ctx, byval, bytes));
    ts__g_attribute(g, fn, at + 1, "align", ALIGN);
    ts__g_attribute(g, fn, at + 1, "readonly", 0);
    k->maps.p[i].at = LLVMGetParam(fn, at);
  }
  grid_constant(g, fn, first, (unsigned)k->maps.n);
}

static const char *number(ts__gen *g, int64_t n) { return ts_arena_printf(g->arena, "%lld", (long long)n); }

// How many rows the parameter has.
static const char *rows_text(ts__gen *g, const ts_buffer *b, int64_t stride) {
  ts_text t = {0};
  ts_text_add(&t, "(1");
  for (int d = 0; d < b->ndim; d++) {
    ts_text_add(&t, " * ");
    if (!ts__nv_expr(g, &t, b->shape[d])) break;
  }
  ts_text_addf(&t, ") / %lld", (long long)stride);
  const char *r = ts_arena_strdup(g->arena, ts_text_str(&t));
  ts_text_free(&t);
  return r;
}

const ts_gpu_tmap *ts__nv_map_lines(ts__gen *g, const ts__nv_kernel *k) {
  ts_gpu_tmap *out = ts_new_array(g->arena, ts_gpu_tmap, (int)k->maps.n + 1);
  for (size_t i = 0; i < k->maps.n; i++) {
    const ts__nv_map *m = &k->maps.p[i];
    const ts_buffer *b = g->f->params[m->param].buf;
    out[i] = (ts_gpu_tmap){.buffer = m->param, .swizzle = m->swizzle, .ndim = 2};
    snprintf(out[i].type, sizeof out[i].type, "%s", ts_code_name(b->code));
    out[i].dim[0] = number(g, m->stride);
    out[i].dim[1] = rows_text(g, b, m->stride);
    out[i].stride[0] = number(g, m->stride * ts_code_bytes(b->code));
    out[i].box[0] = number(g, m->columns);
    out[i].box[1] = number(g, m->rows);
  }
  return out;
}

// --- code
// -----------------------------------------------------------------------------------------------------------------------

static void act(ts__gen *g, const char *text, const char *constraints, LLVMValueRef *args, unsigned n) {
  ts__nv_asm(g, LLVMVoidTypeInContext(g->ctx), text, constraints, args, n, TS__NV_ACTS);
}

// Where an element of shared memory lies.
static LLVMValueRef shared_at(ts__gen *g, const ts_expr *e, int *align) {
  LLVMValueRef p = ts__g_address(g, e, align);
  LLVMTypeRef i32 = LLVMInt32TypeInContext(g->ctx);
  if (!p || LLVMGetPointerAddressSpace(LLVMTypeOf(p)) != TS__NV_SHARED) {
    ts__g_fail(g, TS_INDEX, "bulk-copy", "buffer %.60s is not in shared memory", e->buf->name);
    return LLVMGetPoison(i32);
  }
  return LLVMBuildPtrToInt(g->b, p, i32, "");
}

static LLVMValueRef narrow(ts__gen *g, const ts_expr *e) {
  return LLVMBuildTrunc(g->b, ts__g_scalar(g, e), LLVMInt32TypeInContext(g->ctx), "");
}

static LLVMValueRef word(ts__gen *g, int64_t n) { return ts__g_const_int(g, 32, 1, n); }

static bool map_fits(ts__gen *g, const ts__nv_map *m, const ts_buffer *b) {
  int bytes = ts_code_bytes(b->code);
  bool type = b->code == TS_F16 || b->code == TS_BF16 || b->code == TS_F32 || b->code == TS_U8 || b->code == TS_I32;
  bool fits = type && m->rows <= 256 && m->columns <= 256 && m->columns * bytes % 16 == 0 &&
              m->stride * bytes % 16 == 0 && (!m->swizzle || m->columns * bytes == m->swizzle);
  if (!fits)
    ts__g_fail(g, TS_INDEX, "bulk-copy", "buffer %.60s cannot be copied in boxes of %lld rows of %lld", b->name,
               (long long)m->rows, (long long)m->columns);
  return fits;
}

static LLVMValueRef rank(ts__gen *g) {
  return ts__g_intrinsic(g, "llvm.nvvm.read.ptx.sreg.cluster.ctarank", NULL, NULL, 0);
}

static LLVMValueRef moved(ts__gen *g, LLVMValueRef v, LLVMValueRef by, int64_t times) {
  return LLVMBuildAdd(g->b, v, LLVMBuildMul(g->b, by, word(g, times), ""), "");
}

// Each block of a cluster copies its part of the rows for all of them. args: to, map, column, row, barrier, and room for two more.
static void begin_copy(ts__gen *g, const ts__nv_map *m, int64_t blocks, int64_t bytes, LLVMValueRef policy, LLVMValueRef *args) {
  unsigned n = 5;
  const char *mask = "", *hint = "";
  if (blocks > 1) {
    LLVMValueRef r = rank(g);
    args[0] = moved(g, args[0], r, bytes / blocks);
    args[3] = moved(g, args[3], r, m->rows);
    args[n++] = ts__g_const_int(g, 16, 1, (1 << blocks) - 1);
    mask = ", $5";
  }
  if (policy) {
    hint = n == 5 ? ", $5" : ", $6";
    args[n++] = policy;
  }
  const char *text = ts_arena_printf(g->arena, "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes%s%s [$0], [$1, {$2, $3}], [$4]%s%s;",
                                     *mask ? ".multicast::cluster" : "", policy ? ".L2::cache_hint" : "", mask, hint);
  act(g, text, ts_arena_printf(g->arena, "r,l,r,r,r%s%s,~{memory}", *mask ? ",h" : "", policy ? ",l" : ""), args, n);
}

// At this barrier of every block of the cluster.
static void arrive_all(ts__gen *g, LLVMValueRef bar) {
  for (int64_t i = 0; i < ts__nv_option(g->nv->k, "cluster", 1); i++) {
    LLVMValueRef args[] = {bar, word(g, i)};
    act(g,
        "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, $0, $1;\nmbarrier.arrive.shared::cluster.b64 _, "
        "[there];\n}",
        "r,r,~{memory}", args, 2);
  }
}

static void bulk_copy(ts__gen *g, const ts_expr *e) {
  const ts_expr *src = e->arg[1], *stride = e->arg[5];
  int64_t blocks = e->arg[6]->i;
  const ts__nv_map *m = find_map(g->nv->k, map_of(g, e));
  int align, bar_align;
  if (!m || !map_fits(g, m, src->buf)) return;
  int64_t bytes = blocks * m->rows * m->columns * ts_code_bytes(src->type.code);
  LLVMValueRef to = shared_at(g, e->arg[0], &align), bar = shared_at(g, e->arg[2], &bar_align);
  if (!ts__g_multiple(g, e->arg[0]->arg[0], (m->swizzle ? 1024 : 128) / ts_code_bytes(src->type.code))) {
    ts__g_fail(g, TS_INDEX, "bulk-copy", "a bulk copy to %.60s does not begin at a multiple of %d bytes",
               e->arg[0]->buf->name, m->swizzle ? 1024 : 128);
    return;
  }
  LLVMValueRef expect[] = {bar, word(g, bytes)};
  act(g, "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [$0], $1;", "r,r,~{memory}", expect, 2);
  LLVMValueRef args[7] = {to, m->at, narrow(g, ts_bin(g->nv_ir, TS_E_FLOORMOD, src->arg[0], stride)),
                          narrow(g, ts_bin(g->nv_ir, TS_E_FLOORDIV, src->arg[0], stride)), bar};
  begin_copy(g, m, blocks, bytes, ts__nv_policy(g, src->buf), args);
}

// Once, by the thread that initialises barriers, before the first copy needs them.
static void prefetch_maps(ts__gen *g) {
  ts__nv_kernel *k = g->nv->k;
  for (size_t i = 0; i < k->maps.n && !k->prefetched; i++)
    act(g, "prefetch.tensormap [$0];", "l,~{memory}", &k->maps.p[i].at, 1);
  k->prefetched = true;
}

void ts__nv_barrier(ts__gen *g, const ts_expr *e, ts_effect f) {
  int align;
  if (f == TS_EFF_BULK_COPY) {
    bulk_copy(g, e);
    return;
  }
  LLVMValueRef args[] = {shared_at(g, e->arg[0], &align), NULL};
  if (f == TS_EFF_BARRIER_ARRIVE) {
    act(g, "mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}", args, 1);
    return;
  }
  if (f == TS_EFF_BARRIER_ARRIVE_ALL) {
    arrive_all(g, args[0]);
    return;
  }
  args[1] = narrow(g, e->arg[1]);
  if (f == TS_EFF_BARRIER_INIT_ALL)
    args[1] = LLVMBuildMul(g->b, args[1], word(g, ts__nv_option(g->nv->k, "cluster", 1)), "");
  if (f != TS_EFF_BARRIER_WAIT) {
    prefetch_maps(g);
    act(g,
        "mbarrier.init.shared::cta.b64 [$0], $1;\nfence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;",
        "r,r,~{memory}", args, 2);
  } else {
    act(g,
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1;\n@!done bra again;\n}",
        "r,r,~{memory}", args, 2);
  }
}
