// transform_layout b "t" "(i, j) -> (j // 8, i, j % 8)" : alloc t: f32[16, 24] ; .. t[vi, vj] ..
//   -> alloc t: f32[3, 16, 8] ; .. t[vj // 8, vi, vj % 8] ..
// An intermediate buffer is laid out anew, everywhere. The map must be one-to-one on its indices; elements that it
// leaves out are never accessed.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_buffer *from, *to;
  ts__map map;
} plan;

static bool accesses_check(ts__ctx *c, const plan *p) {
  for (int i = 1; i < c->t->n; i++) {
    if (!ts__is_block(c, i)) continue;
    const ts_block *b = ts__block(c, i);
    if ((!b->intrin && !b->explicit_access) || (!ts__reads(b, p->from) && !ts__writes(b, p->from))) continue;
    ts__refuse(
        c, b->intrin ? TS_R_tensorized : TS_R_opaque_access, 1,
        b->intrin ? "{1} is an operand of the tensorized block {0}" : "block {0} states its regions of {1} by hand");
    ts__fact_node(c, i);
    ts__fact_s(c, p->from->name);
    return false;
  }
  return true;
}

bool ts__check_transform_layout(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->c = c;
  p->from = ts__intermediate_arg(c, "reindex_cache_read or reindex_cache_write gives a copy in another layout");
  if (!p->from) return false;
  TS_TRY(ts__map_parse(c, 2, &p->map) && ts__map_arity(c, 2, &p->map, p->from->ndim, p->from->name));
  TS_TRY(accesses_check(c, p));
  if (p->map.n > 8) return ts__refuse(c, TS_R_bad_map, 2, "a buffer has at most 8 dimensions");
  ts_loop_range *in = ts_new_array(c->a, ts_loop_range, p->map.nin);
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < p->map.nin; i++) {
    in[i] = (ts_loop_range){p->map.in[i], {ts_int(c->ir, 0), p->from->shape[i]}};
    ts_bind_range(ts__an(c), in[i].var, in[i].dom);
  }
  const ts_expr **shape = ts_new_array(c->a, const ts_expr *, p->map.n);
  bool one = ts__one_to_one(c, in, p->map.nin, p->map.out, p->map.n);
  bool sized = one && ts__map_shape(c, 2, p->map.out, p->map.n, p->map.in, p->map.nin, shape);
  ts_analyzer_pop(ts__an(c), mark);
  if (!one) {
    ts__refuse(c, TS_R_bad_map, 2, "the map is not provably one-to-one on the indices of {0}");
    ts__fact_s(c, p->from->name);
  }
  if (!sized) return false;
  ts_buffer *to = ts_buffer_new(c->ir, p->from->name, p->from->code, p->map.n, shape, p->from->scope);
  to->align = p->from->align;
  p->to = to;
  return true;
}

static const ts_expr *laid_load(void *arg, const ts_expr *e) {
  const plan *p = arg;
  return e->kind == TS_E_LOAD && e->buf == p->from ? ts_load(p->c->ir, p->to, ts__map_apply(p->c, &p->map, e->arg)) : e;
}

static const ts_stmt *laid_store(void *arg, const ts_stmt *s) {
  const plan *p = arg;
  if (s->kind != TS_S_STORE || s->store.buf != p->from) return s;
  return ts_store(p->c->ir, p->to, ts__map_apply(p->c, &p->map, s->store.idx), s->store.value);
}

// Indices are simplified under the domains of the block that they stand in.
static const ts_stmt *laid_block(void *arg, const ts_stmt *s) {
  plan *p = arg;
  if (s->kind != TS_S_BLOCK) return s;
  size_t mark = ts_analyzer_push(ts__an(p->c));
  ts_block *b = ts_arena_dup(p->c->a, s->block, sizeof *b);
  for (int i = 0; i < b->niters; i++) ts_bind_range(ts__an(p->c), b->iters[i].var, b->iters[i].dom);
  if (b->init) b->init = ts_stmt_rewrite(p->c->ir, b->init, laid_store, laid_load, p);
  b->body = ts_stmt_rewrite(p->c->ir, b->body, laid_store, laid_load, p);
  ts_analyzer_pop(ts__an(p->c), mark);
  return ts__block_with(p->c, s, b);
}

bool ts__apply_transform_layout(ts__ctx *c) {
  plan *p = c->plan;
  const ts_stmt *body = ts_stmt_rewrite(c->ir, c->f->body, laid_block, NULL, p);
  c->out = ts__reinfer(c, ts__with_body(c, ts__buffer_swap(c, body, p->from, p->to)));  // the allocation
  return true;
}
