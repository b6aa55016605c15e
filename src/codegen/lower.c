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

static const ts_func *run(ts__lower *l) {
  const ts_func *f = l->f;
  if (f->stage == TS_STAGE_BLOCKS) {
    const ts_stmt *s = ts__place_buffers(l, f->body);
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

bool ts_lower(ts_ir *ir, const ts_func *blocks, const ts_target *t, const ts_func **loops, ts_diag *d) {
  ts__lower l = {.ir = ir, .arena = ts_ir_arena(ir), .an = ts_analyzer_new(ir), .f = blocks, .t = t, .d = d};
  ts_bind_dims(l.an, blocks);
  const ts_func *f = run(&l);
  ts_analyzer_free(l.an);
  if (!f) return false;
  *loops = f;
  return true;
}
