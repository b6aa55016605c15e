// in, out = cache_inplace b "A" "local" : B: A[vi] = A[vi] + 1
//   -> for ax0 { A_local[v0] = A[v0] } ; B: A_local[vi] = A_local[vi] + 1 ; for ax0 { A[v0] = A_local[v0] }
// For a buffer that b reads and writes: all it touches is copied in before the statement of its scope that contains b,
// and copied back after it.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_buffer *buf, *copy;
  const ts_stmt *in, *back;
  uint32_t in_id, back_id;
  int scope, top;
  const ts_func *out;
} plan;

// What the block touches of the buffer in all its instances.
static bool touched(ts__ctx *c, const plan *p, ts_region *out) {
  ts_region r;
  if (!ts_region_of(ts__an(c), ts__stmt(c, p->top), p->buf, true, NULL, 0, out)) return false;
  if (ts_region_of(ts__an(c), ts__stmt(c, p->top), p->buf, false, NULL, 0, &r)) *out = ts_region_union(ts__an(c), r, *out);
  return true;
}

// No other block in the nest touches the buffer: what goes back would undo what it wrote.
static bool alone(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node;
  for (int i = p->top; i < c->t->node[p->top].end; i++) {
    if (!ts__is_block(c, i) || ts__under(c->t, i, me) || ts__under(c->t, me, i)) continue;
    if (!ts__reads(ts__block(c, i), p->buf) && !ts__writes(ts__block(c, i), p->buf)) continue;
    ts__refuse(c, TS_R_opaque_access, 1, "block {0} in the same nest uses {1}");
    ts__fact_node(c, i);
    ts__fact_s(c, p->buf->name);
    return false;
  }
  return true;
}

bool ts__check_cache_inplace(ts__ctx *c) {
  int me = c->arg[0].node;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s) && ts__copy_place(c, &p->scope, &p->top));
  const ts_block *b = ts__block(c, me);
  p->buf = ts__buffer_arg(c, 1, b, false, true);
  if (!p->buf) return false;
  if (!ts__reads(b, p->buf)) {
    ts__refuse(c, TS_R_no_such_buffer, 1, "block {0} writes {1} and does not read it");
    ts__fact_node(c, me);
    ts__fact_s(c, p->buf->name);
    ts__hint(c, "cache_write {0}");
    return false;
  }
  TS_TRY(alone(c, p));
  ts__enter(c, p->top);
  ts_region r;
  if (!touched(c, p, &r)) return ts__refuse(c, TS_R_not_covered, 1, "what the block touches is not known");
  p->copy = ts__buffer_like(c, p->buf, c->arg[2].s);
  p->in = ts__copy_nest(c, p->buf, p->copy, &r, &p->in_id);
  p->back = ts__copy_nest(c, p->copy, p->buf, &r, &p->back_id);
  TS_TRY(ts__filled(c, 1, p->top, p->in, p->buf));
  const ts_func *f = ts__replace(c, me, ts__buffer_swap(c, ts__stmt(c, me), p->buf, p->copy));
  int at = ts__position(c, p->top);
  f = ts__insert(c, f, ts__stmt(c, p->scope)->id, at + 1, p->back);
  f = ts__insert(c, f, ts__stmt(c, p->scope)->id, at, p->in);
  p->out = ts__reinfer(c, ts__alloc_add(c, f, ts__stmt(c, p->scope)->id, p->copy));
  return ts__kinds_hold(c, &p->out, p->back_id, false);
}

bool ts__apply_cache_inplace(ts__ctx *c) {
  const plan *p = c->plan;
  c->out = p->out;
  ts__result(c, 'b', p->in_id, 0);
  ts__result(c, 'b', p->back_id, 0);
  return true;
}
