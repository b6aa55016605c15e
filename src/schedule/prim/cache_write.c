// cache_write b 0 "local" : B(writes C[vi])  ->  B(writes C_local[vi]) ; for ax0 { C[v0] = C_local[v0] }
// The copy stands after the statement of its scope that contains b. b must be the only writer, and nothing else in its nest
// may read what it writes.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_buffer *buf, *copy;
  const ts_stmt *nest, *block;
  uint32_t id;
  int scope, top;
} plan;

static bool alone(ts__ctx *c, const plan *p) {
  int block = c->arg[0].node;
  TS_TRY(ts__complete_or_reduction(c, 0, block));
  int other = ts__toucher(c, p->top, c->t->node[p->top].end, block, p->buf, true, true);
  if (other < 0) return true;
  ts__refuse(c, TS_R_opaque_access, 1, "block {0} in the same nest uses {1}");
  ts__fact_node(c, other);
  ts__fact_s(c, p->buf->name);
  return false;
}

bool ts__check_cache_write(ts__ctx *c) {
  int block = c->arg[0].node;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s) && ts__copy_place(c, &p->scope, &p->top));
  p->buf = ts__buffer_arg(c, 1, ts__block(c, block), false, true);
  if (!p->buf) return false;
  TS_TRY(alone(c, p));
  ts__enter(c, p->top);
  p->copy = ts__buffer_like(c, p->buf, c->arg[2].s);
  p->block = ts__buffer_swap(c, ts__stmt(c, block), p->buf, p->copy);
  const ts_stmt *writer = ts__stmt(c, p->top);
  ts_region written = ts_region_whole(c->ir, p->buf);
  ts_region_of(ts__an(c), writer, p->buf, true, NULL, 0, &written);
  p->nest = ts__copy_nest(c, p->copy, p->buf, &written, &p->id);
  writer = ts__buffer_swap(c, writer, p->buf, p->copy);
  if (ts_region_cover(ts__an(c), writer, p->nest, p->copy) == TS_YES) return true;
  ts__refuse(c, TS_R_not_covered, 1, "block {0} does not provably write every element of {1} that a copy would move");
  ts__fact_node(c, block);
  ts__fact_s(c, p->buf->name);
  return false;
}

bool ts__apply_cache_write(ts__ctx *c) {
  const plan *p = c->plan;
  const ts_func *f = ts__replace(c, c->arg[0].node, p->block);
  f = ts__insert(c, f, ts__stmt(c, p->scope)->id, ts__position(c, p->top) + 1, p->nest);
  f = ts__alloc_add(c, f, ts__stmt(c, p->scope)->id, p->copy);
  c->out = ts__reinfer(c, f);
  ts__result(c, 'b', p->id, 0);
  return true;
}
