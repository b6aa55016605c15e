// cache_read b 0 "local" : B(reads A[vi])  ->  for ax0 { A_local[v0] = A[v0] } ; B(reads A_local[vi])
// The copy holds what b reads and stands before the statement of its scope that contains b. Only b reads the copy.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_buffer *buf, *copy;
  const ts_stmt *nest;
  uint32_t id;
  int scope, top;
} plan;

static bool initialised_parameter(const ts_func *f, const ts_buffer *buf) {
  for (int i = 0; i < f->nparams; i++)
    if (f->params[i].buf == buf) return f->params[i].role != TS_OUT;
  return false;
}

// Something before the nest writes all that the copy reads.
static bool filled(ts__ctx *c, const plan *p) {
  if (initialised_parameter(c->f, p->buf)) return true;
  int first = c->t->node[p->top].parent + 1;
  for (int k = first; k < p->top; k = c->t->node[k].end)
    if (ts_region_cover(ts__an(c), ts__stmt(c, k), p->nest, p->buf) == TS_YES) return true;
  ts__refuse(c, TS_R_not_covered, 1, "what block {0} reads of {1} is not provably written before its nest");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, p->buf->name);
  return false;
}

bool ts__check_cache_read(ts__ctx *c) {
  int block = c->arg[0].node;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  p->scope = c->t->node[block].scope;
  if (p->scope < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no place for a copy");
  p->buf = ts__buffer_arg(c, 1, ts__block(c, block), true, false);
  if (!p->buf) return false;
  p->top = ts__top_child(c, p->scope, block);
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
  return filled(c, p);
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
