// What a kernel does before its predecessor in the stream has ended (programmatic dependent launch): it lets its own
// successor start, asks for the weights that it will read, and waits. Nothing else may touch memory before the wait, but for
// its dimensions (nvptx_kernel.c); weights are written by nobody.
#include "analysis/analysis.h"
#include "codegen/nvptx.h"

enum { PIECE = 16 };  // bytes: sizes and places of bulk operations are multiples

bool ts__nv_dependent(const ts__gen *g, const ts__nv_kernel *k) {
  return g->t->gpu.compute >= 90 && ts__nv_option(k, "dependent", 1);
}

bool ts__nv_is_cold(const ts__gen *g, const ts_buffer *b) {
  for (int i = 0; i < g->f->nparams; i++)
    if (g->f->params[i].buf == b) return g->f->params[i].cache == TS_COLD && g->f->params[i].role == TS_IN;
  return false;
}

// --- where a block begins to read ------------------------------------------------------------------------------------
typedef struct blocks {
  const ts_var *var[3];
  ts_axis axis[3];
  int n;
  const ts_stmt *body;  // below the loops along block axes
} blocks;

static blocks open_blocks(ts_analyzer *an, const ts_stmt *s) {
  blocks b = {0};
  while (s->kind == TS_S_ALLOC ||
         (s->kind == TS_S_FOR && s->loop.kind == TS_THREAD && s->loop.axis <= TS_BLOCK_Z && b.n < 3)) {
    if (s->kind == TS_S_FOR) {
      ts_bind_stmt(an, s);
      b.var[b.n] = s->loop.var;
      b.axis[b.n++] = s->loop.axis;
    }
    s = s->kind == TS_S_FOR ? s->loop.body : s->alloc.body;
  }
  b.body = s;
  return b;
}

typedef struct others {
  const blocks *b;
  bool any;
} others;

static bool see_var(void *arg, const ts_expr *e) {
  others *o = arg;
  bool own = e->kind != TS_E_VAR && e->kind != TS_E_LOAD;
  for (int i = 0; i < o->b->n; i++) own |= e->kind == TS_E_VAR && e->var == o->b->var[i];
  o->any |= !own;
  return !o->any;
}

// Known from the block's place in the grid alone: dimensions come from memory, which the request does not wait for.
static bool by_place(const blocks *b, const ts_expr *e) {
  others o = {b, false};
  ts_expr_visit(e, see_var, &o);
  return !o.any;
}

// --- code ------------------------------------------------------------------------------------------------------------
// One thread of the block asks for the bytes from `from` on (LLVM's i64), which lie inside the buffer.
static void ask(ts__gen *g, LLVMValueRef buffer, LLVMValueRef from, int64_t bytes) {
  LLVMValueRef args[] = {LLVMBuildInBoundsGEP2(g->b, LLVMInt8TypeInContext(g->ctx), buffer, &from, 1, ""),
                         ts__g_const_int(g, 32, 1, bytes)};
  ts__nv_asm(g, LLVMVoidTypeInContext(g->ctx),
             "{\n.reg .b32 x, y;\n.reg .pred first;\nmov.u32 x, %tid.x;\nmov.u32 y, %tid.y;\nor.b32 x, x, y;\nmov.u32 "
             "y, %tid.z;\nor.b32 x, x, y;\n"
             "setp.eq.u32 first, x, 0;\n@first cp.async.bulk.prefetch.L2.global [$0], $1;\n}",
             "l,r", args, 2, TS__NV_ACTS);
}

// The first `most` bytes of what the block reads of a parameter. A place is moved so that all of it lies inside, and to
// a whole piece.
static void ask_for(ts__gen *g, ts_analyzer *an, const blocks *b, const ts_buffer *buf, LLVMValueRef pointer,
                    int64_t most) {
  ts_region r;
  int64_t each = ts_code_bytes(buf->code), whole;
  if (buf->ndim != 1 || !ts_is_int(buf->shape[0], &whole) || !ts_region_of(an, b->body, buf, false, NULL, 0, &r))
    return;
  const ts_expr *min = ts_simplify(an, r.dim[0].min);
  int64_t extent = ts_bound(an, r.dim[0].extent).hi;
  if (extent == TS_POS_INF || !by_place(b, min)) return;
  whole = whole * each / PIECE * PIECE;
  int64_t bytes = TS_MIN(extent > most / each ? most : extent * each, whole) / PIECE * PIECE;
  if (bytes <= 0) return;
  LLVMValueRef last = ts__g_i64(g, whole - bytes),
               from = LLVMBuildMul(g->b, ts__g_scalar(g, min), ts__g_i64(g, each), "");
  from = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, from, last, ""), from, last, "");
  ask(g, pointer, LLVMBuildAnd(g->b, from, ts__g_i64(g, -PIECE), ""), bytes);
}

// Asks for at most that many bytes of each weight.
static void ask_for_weights(ts__gen *g, const ts__nv_kernel *k, int64_t most) {
  ts_analyzer *an = ts_analyzer_new(g->nv_ir);
  ts_bind_dims(an, g->f);
  blocks b = open_blocks(an, k->body);
  unsigned at = 0;
  for (int i = 0; i < b.n; i++)
    ts__g_bind(
        g, (ts__bound){.var = b.var[i], .val = {ts__nv_thread_index(g, b.axis[i]), 1}, .multiple = 1, .nonneg = true});
  for (int i = 0; i < g->f->nparams; i++) {
    const ts_buffer *buf = g->f->params[i].buf;
    if (!ts__nv_uses(k, buf)) continue;
    if (ts__nv_is_cold(g, buf)) ask_for(g, an, &b, buf, LLVMGetParam(g->fn, at), most);
    at++;
  }
  g->vars.n = 0;
  ts__g_forget(g, 0);
  ts_analyzer_free(an);
}

void ts__nv_begin(ts__gen *g, const ts__nv_kernel *k) {
  LLVMTypeRef none = LLVMVoidTypeInContext(g->ctx);
  int64_t most = ts__nv_option(k, "prefetch", 0);
  if (!ts__nv_dependent(g, k)) return;
  if (ts__nv_option(k, "dependent", 1) != 2)
    ts__nv_asm(g, none, "griddepcontrol.launch_dependents;", "", NULL, 0, TS__NV_ACTS);
  if (most > 0) ask_for_weights(g, k, TS_MIN(most, INT64_C(1) << 30));
  ts__nv_asm(g, none, "griddepcontrol.wait;", "~{memory}", NULL, 0, TS__NV_ACTS);
}
