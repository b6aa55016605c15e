// Reductions: which loops feed which iterators, initialisation nests, what a step may assume of an update.
#include "schedule_impl.h"

void ts__feeds(const ts__ctx *c, int block, int loop, bool *spatial, bool *reduce) {
  const ts_block *b = ts__block(c, block);
  *spatial = *reduce = false;
  for (int i = 0; i < b->niters; i++) {
    if (!ts_expr_uses_var(b->iters[i].value, ts__stmt(c, loop)->loop.var)) continue;
    if (b->iters[i].kind == TS_ITER_SPATIAL) *spatial = true;
    else *reduce = true;
  }
}

bool ts__feeds_apart(ts__ctx *c, int arg, int block, const int *loops, int n) {
  for (int i = 0; i < n; i++) {
    bool s, r;
    ts__feeds(c, block, loops[i], &s, &r);
    if (!s || !r) continue;
    ts__refuse(c, TS_R_not_separable, arg, "loop {0} feeds spatial and reduce iterators of block {1}");
    ts__fact_node(c, loops[i]);
    ts__fact_node(c, block);
    return false;
  }
  return true;
}

bool ts__reduces_something(ts__ctx *c, int arg, int block, const int *loops, int n) {
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, loops[0]);
  int bad = -1;
  for (int i = 0; i < n && bad < 0; i++) {
    bool s, r;
    ts__feeds(c, block, loops[i], &s, &r);
    if (!s && ts_prove_le(ts__an(c), ts_int(c->ir, 1), ts__stmt(c, loops[i])->loop.extent) != TS_YES) bad = loops[i];
    ts_bind_stmt(ts__an(c), ts__stmt(c, loops[i]));
  }
  ts_analyzer_pop(ts__an(c), mark);
  if (bad < 0) return true;
  ts__refuse(c, TS_R_not_proved, arg, "loop {0} may run no iteration, and then nothing is initialised");
  ts__fact_node(c, bad);
  return false;
}

// --- predicates ------------------------------------------------------------------------------------------------------
static bool uses_any(const ts__ctx *c, const ts_expr *e, const int *loops, int n) {
  for (int i = 0; i < n; i++)
    if (ts_expr_uses_var(e, ts__stmt(c, loops[i])->loop.var)) return true;
  return false;
}

bool ts__predicate_cut(ts__ctx *c, int arg, int block, const ts_expr *pred, const int *drop, int ndrop,
                       const ts_expr **kept) {
  if (!pred) return true;
  if (pred->kind == TS_E_AND)
    return ts__predicate_cut(c, arg, block, pred->arg[0], drop, ndrop, kept) &&
           ts__predicate_cut(c, arg, block, pred->arg[1], drop, ndrop, kept);
  if (!uses_any(c, pred, drop, ndrop)) {
    *kept = ts__and(c->ir, *kept, pred);
    return true;
  }
  ts_subst m[TS__MAX_DEPTH];
  for (int i = 0; i < ndrop; i++) m[i] = (ts_subst){ts__stmt(c, drop[i])->loop.var, ts__stmt(c, drop[i])->loop.min};
  const ts_expr *first = ts_expr_subst(c->ir, pred, m, ndrop);
  if (ts_prove(ts__an(c), first) == TS_YES) return true;
  ts__refuse(c, TS_R_not_separable, arg, "the predicate {1} of block {0} ties spatial and reduce loops together");
  ts__fact_node(c, block);
  ts__fact_s(c, ts__expr_text(c, pred));
  return false;
}

// --- initialisation ------------------------------------------------------------------------------------------------------
const ts_stmt *ts__init_of(ts__ctx *c, const ts_block *b) {
  ts_subst *m = ts_new_array(c->a, ts_subst, b->niters);
  int n = 0;
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind != TS_ITER_SPATIAL) m[n++] = (ts_subst){b->iters[i].var, b->iters[i].dom.min};
  return ts_stmt_subst(c->ir, b->init, m, n);
}

const ts_stmt *ts__init_nest(ts__ctx *c, int block, const int *loops, int n, const ts_expr *pred, const char *name, uint32_t *id) {
  const ts_block *b = ts__block(c, block);
  ts_block *nb = ts_new(c->a, ts_block);
  *nb = (ts_block){.name = name, .predicate = pred, .body = b->init};
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters);
  ts_subst *m = ts_new_array(c->a, ts_subst, b->niters + n);
  int nm = 0;
  for (int i = 0; i < b->niters; i++) {
    if (b->iters[i].kind != TS_ITER_SPATIAL) continue;
    iters[nb->niters] = b->iters[i];
    iters[nb->niters].var = ts_var_new(c->ir, b->iters[i].var->name, TS_INDEX);
    m[nm++] = (ts_subst){b->iters[i].var, ts_evar(c->ir, iters[nb->niters++].var)};
  }
  nb->iters = iters;
  nb->body = ts_stmt_subst(c->ir, ts__init_of(c, b), m, nm);
  const ts_stmt *s = ts_block_stmt(c->ir, nb);
  *id = s->id;
  for (int i = n - 1; i >= 0; i--) {
    bool sp, re;
    ts__feeds(c, block, loops[i], &sp, &re);
    if (!sp) continue;
    const ts_stmt *l = ts__stmt(c, loops[i]);
    ts_var *v = ts_var_new(c->ir, l->loop.var->name, TS_INDEX);
    ts_subst one = {l->loop.var, ts_evar(c->ir, v)};
    const ts_stmt *f = ts_for(c->ir, v, l->loop.min, l->loop.extent, l->loop.kind, ts_stmt_subst(c->ir, s, &one, 1));
    ts_stmt *out;
    s = ts_stmt_copy(c->ir, f, &out);
    out->loop.axis = l->loop.axis;
    out->loop.notes = l->loop.notes;
  }
  return ts_stmt_infer_access(c->ir, s);
}

// --- reducers ----------------------------------------------------------------------------------------------------------------
bool ts__reduction(ts__ctx *c, int arg, int block, ts_reduction *out) {
  const ts_block *b = ts__block(c, block);
  if (!b->init || !ts_block_is_reduction(ts__an(c), b)) {
    ts__refuse(c, TS_R_not_reduction, arg, "block {0} is not a reduction with an initialisation");
    ts__fact_node(c, block);
    return false;
  }
  if (!ts_reduction_match(c->ir, b, out)) {
    ts__refuse(c, TS_R_unknown_reducer, arg, "the update of block {0} is none of the known reducers");
    ts__fact_node(c, block);
    return false;
  }
  if (!out->ordered) return true;
  ts__refuse(c, TS_R_order_matters, arg, "the update of block {0} is {1}: which one comes first counts");
  ts__fact_node(c, block);
  ts__fact_s(c, ts_reduction_name(c->a, out));
  ts__hint(c, "let the smaller index win among equal values");
  return false;
}

bool ts__order_free(ts__ctx *c, int arg, int block) {
  const ts_block *b = ts__block(c, block);
  ts_reduction r;
  int n = 0;
  bool plain = true;
  for (int i = 0; i < b->niters; i++) {
    int64_t one;
    if (b->iters[i].kind == TS_ITER_SPATIAL || (ts_is_int(b->iters[i].dom.extent, &one) && one == 1)) continue;
    plain &= b->iters[i].value->kind == TS_E_VAR && n++ == 0;
  }
  if (!n || plain || (ts_reduction_match(c->ir, b, &r) && !r.ordered)) return true;
  ts__refuse(c, TS_R_order_matters, arg, "new loops would run the reduction of block {0} in another order, and its update is none of the known reducers");
  ts__fact_node(c, block);
  return false;
}
