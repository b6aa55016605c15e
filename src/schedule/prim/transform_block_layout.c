// transform_block_layout b "(i, j, k) -> (i // 4, j, i % 4, k)" : for i { for j { for k { B(vi, vj, vk) } } }
//   -> for w0 { for w1 { for w2 { for w3 { B(v0 = w0, v1 = w1, v2 = w2, v3 = w3), with vi = v0 * 4 + v2 .. } } } }
// The block gets a new iteration space, and loops of its own for it. The map must be one-to-one and onto a box, and
// keep spatial and reduce iterators apart. Every loop of the block must be an iterator of it, and instances must not
// depend on each other.
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n, nloops, loops[TS__MAX_DEPTH];
  const ts_var **var;  // the new iterators
  ts_iter_kind *kind;
  ts_range *dom;
  const ts_expr **back;  // the old iterators in terms of the new ones
} plan;

static bool independent(ts__ctx *c, const plan *p) {
  const ts_stmt *nest[TS__MAX_DEPTH];
  ts_dep dep[TS__MAX_DEPTH];
  for (int l = 0; l < p->nloops; l++) nest[l] = ts__stmt(c, p->loops[l]);
  if (p->nloops) ts_nest_carried(ts__an(c), nest, p->nloops, dep);
  for (int l = 0; l < p->nloops; l++) {
    if (dep[l].answer == TS_NO || dep[l].reduction_only) continue;
    ts__refuse(c, dep[l].answer == TS_YES ? TS_R_carried_dependence : TS_R_not_proved, 0,
               "instances of block {0} depend on each other: {1}");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, ts_arena_strdup(c->a, dep[l].why));
    if (dep[l].has_witness) ts__witness(c, nest[l]->loop.var->name, dep[l].first, dep[l].second);
    return false;
  }
  return true;
}

// The kind of each new iterator: that of all old ones it is made of.
static bool kinds_find(ts__ctx *c, const plan *p, const ts_expr *const *to) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  for (int k = 0; k < p->n; k++) {
    bool seen[TS_ITER_KIND__COUNT] = {0};
    for (int i = 0; i < b->niters; i++)
      if (ts_expr_uses_var(to[k], b->iters[i].var)) seen[b->iters[i].kind] = true;
    p->kind[k] = seen[TS_ITER_REDUCE] ? TS_ITER_REDUCE : TS_ITER_SPATIAL;
    if (!seen[TS_ITER_OPAQUE] && !(seen[TS_ITER_SPATIAL] && seen[TS_ITER_REDUCE])) continue;
    ts__refuse(c, TS_R_not_separable, 1, "{1}, number {2} of the map, mixes kinds of iterators of block {0}");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, ts__expr_text(c, to[k]));
    ts__fact_i(c, k);
    return false;
  }
  return true;
}

static bool space_find(ts__ctx *c, plan *p, const ts_expr *const *to) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  ts_analyzer *an = ts__an(c);
  ts_loop_range *in = ts_new_array(c->a, ts_loop_range, b->niters);
  const ts_expr **of = ts_new_array(c->a, const ts_expr *, p->n);
  for (int i = 0; i < b->niters; i++) in[i] = (ts_loop_range){b->iters[i].var, b->iters[i].dom};
  ts_itermap map = {0};
  ts_diag d = {0};
  bool ok =
      ts_itermap_detect(an, in, b->niters, to, p->n, NULL, NULL, &map, &d) && map.bijective == TS_YES && !map.predicate;
  for (int k = 0; ok && k < p->n; k++) {
    const ts_isum *s = &map.bind[k];
    ok = s->extent && ts_prove_eq(an, s->step, ts_int(c->ir, 1)) == TS_YES;
    p->dom[k] = (ts_range){ok ? ts_simplify(an, s->min) : NULL, s->extent};
    ok = ok && ts_prove_eq(an, p->dom[k].min, ts_int(c->ir, 0)) == TS_YES;
    of[k] = ts_evar(c->ir, p->var[k]);
    if (ok) ts_bind_range(an, p->var[k], p->dom[k]);
  }
  if (ok && ts_itermap_invert(an, &map, of, p->back, &d)) return true;
  ts__refuse(c, TS_R_bad_map, 1,
             "the map is not provably one-to-one from the domain of block {0} onto a box at zero{1}{2}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, d.message[0] ? ": " : "");
  ts__fact_s(c, ts_arena_strdup(c->a, d.message));
  return false;
}

bool ts__check_transform_block_layout(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  int me = c->arg[0].node;
  const ts_block *b = ts__block(c, me);
  ts__map map;
  TS_TRY(ts__map_parse(c, 1, &map) && ts__map_arity(c, 1, &map, b->niters, "the block"));
  if (b->intrin) {
    ts__refuse(c, TS_R_tensorized, 0, "block {0} is tensorized");
    ts__fact_node(c, me);
    return false;
  }
  if (c->t->node[me].parent < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no iterators");
  p->n = map.n;
  TS_TRY(ts__trivial_nest(c, 0, me, p->loops, &p->nloops));
  TS_TRY(independent(c, p));
  const ts_expr **at = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int i = 0; i < b->niters; i++) {
    ts_bind_range(ts__an(c), b->iters[i].var, b->iters[i].dom);
    at[i] = ts_evar(c->ir, b->iters[i].var);
  }
  const ts_expr **to = ts__map_apply(c, &map, at);
  p->var = ts_new_array(c->a, const ts_var *, p->n);
  p->kind = ts_new_array(c->a, ts_iter_kind, p->n);
  p->dom = ts_new_array(c->a, ts_range, p->n);
  p->back = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int k = 0; k < p->n; k++) p->var[k] = ts_var_new(c->ir, ts_arena_printf(c->a, "v%d", k), TS_INDEX);
  return kinds_find(c, p, to) && space_find(c, p, to);
}

static const ts_expr *tidy(void *arg, const ts_expr *e) {
  ts__ctx *c = arg;
  return ts_type_eq(e->type, TS_INDEX) ? ts_simplify(ts__an(c), e) : e;
}

bool ts__apply_transform_block_layout(ts__ctx *c) {
  const plan *p = c->plan;
  int me = c->arg[0].node;
  const ts_block *old = ts__block(c, me);
  ts_subst *m = ts_new_array(c->a, ts_subst, old->niters);
  for (int i = 0; i < old->niters; i++) m[i] = (ts_subst){old->iters[i].var, p->back[i]};
  const ts_var **loop = ts_new_array(c->a, const ts_var *, p->n);
  ts_iter *iters = ts_new_array(c->a, ts_iter, p->n);
  for (int k = 0; k < p->n; k++) {
    loop[k] = ts_var_new(c->ir, ts_arena_printf(c->a, "w%d", k), TS_INDEX);
    iters[k] = (ts_iter){p->var[k], p->kind[k], p->dom[k], ts_evar(c->ir, loop[k])};
  }
  ts_block *b = ts_arena_dup(c->a, old, sizeof *b);
  b->niters = p->n;
  b->iters = iters;
  if (b->init) b->init = ts_stmt_rewrite(c->ir, ts_stmt_subst(c->ir, b->init, m, old->niters), NULL, tidy, c);
  b->body = ts_stmt_rewrite(c->ir, ts_stmt_subst(c->ir, b->body, m, old->niters), NULL, tidy, c);
  b->explicit_access = false;
  const ts_stmt *s = ts__block_with(c, ts__stmt(c, me), b);
  for (int k = p->n - 1; k >= 0; k--) s = ts_for(c->ir, loop[k], p->dom[k].min, p->dom[k].extent, TS_SERIAL, s);
  c->out = ts__reinfer(c, ts__replace(c, p->nloops ? p->loops[0] : me, s));
  return true;
}
