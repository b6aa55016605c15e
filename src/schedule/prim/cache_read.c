// cache_read b 0 "local" : B(reads A[vi])  ->  for ax0 { A_local[v0] = A[v0] } ; B(reads A_local[vi])
// The copy holds what b reads and stands before the statement of its scope that contains b. Only b reads the copy.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_buffer *buf, *copy;
  const ts_stmt *nest;
  uint32_t id;
  int scope, top;
} plan;

bool ts__check_cache_read(ts__ctx *c) {
  int block = c->arg[0].node;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s) && ts__copy_place(c, &p->scope, &p->top));
  p->buf = ts__buffer_arg(c, 1, ts__block(c, block), true, false);
  if (!p->buf) return false;
  int writer = ts__toucher(c, p->top, c->t->node[p->top].end, -1, p->buf, true, false);
  if (writer >= 0) {
    ts__refuse(c, TS_R_carried_dependence, 1, "block {0} writes {1} in the same nest, so no copy before it is up to date");
    ts__fact_node(c, writer);
    ts__fact_s(c, p->buf->name);
    return false;
  }
  ts__enter(c, p->top);
  // regions of the block alone: relax the loops around it
  int loops[TS__MAX_DEPTH];
  const ts_var *vars[TS__MAX_DEPTH];
  int n = ts__loops_of(c, block, loops);
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < n; i++) {
    vars[i] = ts__stmt(c, loops[i])->loop.var;
    ts_bind_stmt(ts__an(c), ts__stmt(c, loops[i]));
  }
  ts_region read;
  bool reads = ts_region_of(ts__an(c), ts__stmt(c, block), p->buf, false, vars, n, &read);
  ts_analyzer_pop(ts__an(c), mark);
  if (!reads) {
    ts__refuse(c, TS_R_no_such_buffer, 1, "block {0} does not read {1}");
    ts__fact_node(c, block);
    ts__fact_s(c, p->buf->name);
    return false;
  }
  p->copy = ts__buffer_like(c, p->buf, c->arg[2].s);
  p->nest = ts__copy_nest(c, p->buf, p->copy, &read, &p->id);
  return ts__filled(c, 1, p->top, p->nest, p->buf);
}

bool ts__apply_cache_read(ts__ctx *c) {
  const plan *p = c->plan;
  int block = c->arg[0].node;
  const ts_func *f = ts__replace(c, block, ts__buffer_swap(c, ts__stmt(c, block), p->buf, p->copy));
  f = ts__insert(c, f, c->t->node[p->scope].s->id, ts__position(c, p->top), p->nest);
  f = ts__alloc_add(c, f, ts__stmt(c, p->scope)->id, p->copy);
  c->out = ts__reinfer(c, f);
  ts__result(c, 'b', p->id, 0);
  return true;
}
