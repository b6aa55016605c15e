// Lowering: blocks to plain loops over flat buffers.
#include "codegen/lower_gpu.h"

const ts_expr *ts__guard_and(ts_ir *ir, const ts_expr *a, const ts_expr *b) {
  return !a ? b : !b ? a : ts_bin(ir, TS_E_AND, a, b);
}

static bool see_load(void *arg, const ts_expr *e) {
  bool *found = arg;
  *found |= e->kind == TS_E_LOAD;
  return !*found;
}

bool ts__has_load(const ts_expr *e) {
  bool found = false;
  ts_expr_visit(e, see_load, &found);
  return found;
}

static const ts_func *with_body(ts__lower *l, const ts_func *f, const ts_stmt *body) {
  ts_func *n = ts_arena_dup(l->arena, f, sizeof *f);
  n->body = body;
  n->stage = TS_STAGE_LOOPS;
  return n;
}

static bool is_flat(const ts_func *f) {
  for (int i = 0; i < f->nparams; i++)
    if (f->params[i].buf->ndim > 1) return false;
  return true;
}

// Notes of lowering's own on blocks are its alone; nobody may have put them there (ORDER threads combine, async
// copies).
static const ts_stmt *own_notes(void *arg, const ts_stmt *s) {
  ts__lower *l = arg;
  ts_stmt *c;
  const ts_note *copy = s->kind == TS_S_BLOCK ? ts_notes_find(s->block->notes, "async_copy") : NULL;
  if (s->kind != TS_S_BLOCK || !s->block->notes.n) return s;
  const ts_stmt *r = ts_stmt_copy(l->ir, s, &c);
  ts_block *b = ts_arena_dup(l->arena, s->block, sizeof *b);
  b->notes = ts_notes_without(l->arena, ts_notes_without(l->arena, b->notes, "threads_combine"), "one_kernel");
  if (copy) b->notes = ts_notes_with(l->arena, b->notes, (ts_note){.key = "async_copy", .kind = TS_NOTE_INT, .i = 1});
  c->block = b;
  return r;
}

static const ts_func *run(ts__lower *l) {
  const ts_func *f = l->f;
  if (f->stage == TS_STAGE_BLOCKS) {
    const ts_stmt *s = ts_stmt_rewrite(l->ir, f->body, own_notes, NULL, l);
    if (l->t->api == TS_API_CUDA) s = ts__cross_threads(l, s);
    if (l->failed) return NULL;
    s = ts__place_buffers(l, s);
    if (!l->failed) s = ts__pipeline(l, s);
    if (!l->failed && l->t->api == TS_API_CUDA) s = ts__gpu_kernels(l, s);
    if (!l->failed) s = ts__lower_blocks(l, s);
    if (!l->failed) s = ts__fragment_allocs(l, s);
    if (l->failed) return NULL;
    f = with_body(l, f, s);
  } else if (is_flat(f)) {
    return f;
  }
  f = ts__flatten(l, f);
  f = with_body(l, f, ts__expand_buffers(l, f->body));
  f = ts_simplify_func(l->an, f);
  f = with_body(l, f, ts__join_copies(l, f->body));
  return l->failed ? NULL : with_body(l, f, ts__hoist_conditions(l, f->body));
}

bool ts__lower_judged(ts_ir *ir, const ts_func *blocks, const ts_target *t, const ts_func **loops, ts_diag *d) {
  ts__lower l = {.ir = ir, .arena = ts_ir_arena(ir), .an = ts_analyzer_new(ir), .f = blocks, .t = t, .d = d};
  ts_bind_dims(l.an, blocks);
  const ts_func *f = run(&l);
  ts_analyzer_free(l.an);
  if (!f || (t->api == TS_API_CUDA && !ts_gpu_check(ir, f, t, NULL, d))) return false;
  *loops = f;
  return true;
}

bool ts_lower(ts_ir *ir, const ts_func *blocks, const ts_target *t, const ts_func **loops, ts_diag *d) {
  if (t->api == TS_API_CUDA && !ts_gpu_check(ir, blocks, t, NULL, d)) return false;
  return ts__lower_judged(ir, blocks, t, loops, d);
}
