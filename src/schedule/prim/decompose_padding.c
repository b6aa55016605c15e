// fill = decompose_padding b i : for i { P[vi] = select(2 <= vi && vi < 18, A[vi - 2], 0.0) }
//   -> for i { P[vi] = 0.0 } ; for i { P[vi] = A[vi - 2] } where 2 <= vi && vi < 18
// Filling with the constant is separated from copying the interior. The fill stands before the given loop, in copies of
// the loops from there to the block; the copy keeps its place and runs under the condition.
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n, loops[TS__MAX_DEPTH];  // from the given loop to the block
  const ts_stmt *store;
  const ts_expr *cond, *inner, *pad;
} plan;

static bool is_const(const ts_expr *e) { return e->kind == TS_E_INT || e->kind == TS_E_FLOAT; }

static bool pattern_find(ts__ctx *c, plan *p) {
  const ts_expr *e = p->store->store.value;
  int me = c->arg[0].node;
  if (e->kind == TS_E_SELECT && is_const(e->arg[2]) && !is_const(e->arg[1])) {
    p->cond = e->arg[0], p->inner = e->arg[1], p->pad = e->arg[2];
  } else if (e->kind == TS_E_SELECT && is_const(e->arg[1]) && !is_const(e->arg[2])) {
    p->cond = ts_not(c->ir, e->arg[0]), p->inner = e->arg[2], p->pad = e->arg[1];
  }
  if (p->cond && ts__of_iters(c, ts__block(c, me), p->cond)) return true;
  ts__refuse(c, TS_R_body_shape, 0, "block {0} does not store select(condition on its iterators, value, constant)");
  ts__fact_node(c, me);
  return false;
}

// The fill comes before all of the loop: nothing else there may see or change what is padded.
static bool alone(ts__ctx *c) {
  int me = c->arg[0].node, loop = c->arg[1].node;
  const ts_buffer *buf = ts__block(c, me)->writes[0].buf;
  for (int i = loop; i < c->t->node[loop].end; i++) {
    if (!ts__is_block(c, i) || i == me || ts__under(c->t, i, me)) continue;
    if (!ts__reads(ts__block(c, i), buf) && !ts__writes(ts__block(c, i), buf)) continue;
    ts__refuse(c, TS_R_carried_dependence, 1, "block {0} uses {1} inside loop {2}");
    ts__fact_node(c, i);
    ts__fact_s(c, buf->name);
    ts__fact_node(c, loop);
    ts__hint(c, "take a loop inside, around block {0} no more");
    return false;
  }
  return true;
}

bool ts__check_decompose_padding(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int me = c->arg[0].node, loop = c->arg[1].node, all[TS__MAX_DEPTH];
  c->plan = p;
  if (!ts__under(c->t, me, loop) || c->t->node[loop].scope != c->t->node[me].scope) {
    ts__refuse(c, TS_R_not_ancestor, 1, "loop {1} does not enclose block {0}");
    ts__fact_node(c, me);
    ts__fact_node(c, loop);
    return false;
  }
  TS_TRY(ts__complete(c, 0, me));
  p->store = ts__single_store(c, 0, me);
  if (!p->store) return false;
  if (ts__block(c, me)->explicit_access)
    return ts__refuse(c, TS_R_body_shape, 0, "the block states its regions by hand");
  TS_TRY(pattern_find(c, p));
  TS_TRY(alone(c));
  int n = ts__loops_of(c, me, all), outer = 0;
  while (all[outer] != loop) outer++;
  p->n = n - outer;
  memcpy(p->loops, all + outer, sizeof(int) * (size_t)p->n);
  return true;
}

// A copy of the block that stores the constant, in copies of the loops.
static const ts_stmt *fill_nest(ts__ctx *c, const plan *p, uint32_t *id) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  ts_block *nb = ts_arena_dup(c->a, b, sizeof *b);
  nb->name = ts__fresh_block_name(c, ts_arena_printf(c->a, "%s_pad", b->name));
  nb->notes = (ts_notes){0};
  nb->body = ts_store(c->ir, p->store->store.buf, p->store->store.idx, p->pad);
  const ts_stmt *s = ts_stmt_clone(c->ir, ts_block_stmt(c->ir, nb));
  *id = s->id;
  for (int i = p->n - 1; i >= 0; i--) {
    const ts_stmt *l = ts__stmt(c, p->loops[i]);
    const ts_var *v = ts_var_new(c->ir, l->loop.var->name, TS_INDEX);
    ts_subst m = {l->loop.var, ts_evar(c->ir, v)};
    ts_stmt *out;
    const ts_stmt *f = ts_for(c->ir, v, l->loop.min, l->loop.extent, l->loop.kind, ts_stmt_subst(c->ir, s, &m, 1));
    s = ts_stmt_copy(c->ir, f, &out);
    out->loop.axis = l->loop.axis;
    out->loop.notes = l->loop.notes;
  }
  return s;
}

bool ts__apply_decompose_padding(ts__ctx *c) {
  const plan *p = c->plan;
  int me = c->arg[0].node;
  const ts_block *old = ts__block(c, me);
  uint32_t id, loop = ts__stmt(c, c->arg[1].node)->id;
  const ts_stmt *fill = fill_nest(c, p, &id);
  ts_subst *m = ts_new_array(c->a, ts_subst, old->niters);
  for (int i = 0; i < old->niters; i++) m[i] = (ts_subst){old->iters[i].var, old->iters[i].value};
  ts__enter(c, me);
  const ts_expr *cond = ts_simplify(ts__an(c), ts_expr_subst(c->ir, p->cond, m, old->niters));
  ts_block *b = ts_arena_dup(c->a, old, sizeof *b);
  int64_t always;
  if (!ts_is_int(cond, &always) || !always) b->predicate = ts__and(c->ir, b->predicate, cond);
  b->body = ts_store(c->ir, p->store->store.buf, p->store->store.idx, p->inner);
  const ts_func *f = ts__replace(c, me, ts__block_with(c, ts__stmt(c, me), b));
  c->out = ts__reinfer(c, ts__beside(c, f, loop, fill, false));
  ts__result(c, 'b', id, 0);
  return true;
}
