// Making one block out of a loop nest around a block: what blockize and tensorize share.
#include "schedule_impl.h"

// What the subtree at node (a loop, or a block on its own) divides into.
static bool divide(ts__ctx *c, int arg, ts__blockized *z) {
  const ts_block *b = ts__block(c, z->block);
  int all[TS__MAX_DEPTH];
  int n = ts__loops_of(c, z->block, all), ninner = 0;
  const ts_stmt *nest[TS__MAX_DEPTH];
  const ts_var *inner[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) {
    nest[i] = ts__stmt(c, all[i]);
    if (!ts__under(c->t, all[i], z->top)) continue;
    inner[ninner++] = nest[i]->loop.var;
    z->inner[z->ninner++] = all[i];
  }
  z->part = ts_new_array(c->a, ts_subspace, b->niters);
  ts_itermap map = {0};
  ts_diag d = {0};
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, n ? all[0] : z->block);
  bool ok = ts_itermap_of_block(ts__an(c), nest, n, b, &map, &d) &&
            ts_itermap_divide(ts__an(c), &map, inner, ninner, z->part, &z->outer_pred, &z->inner_pred, &d);
  ts_analyzer_pop(ts__an(c), mark);
  if (ok) return true;
  ts__refuse(c, TS_R_not_separable, arg, "the bindings of block {0} do not divide at {1}: {2}");
  ts__fact_node(c, z->block);
  ts__fact_node(c, z->top);
  ts__fact_s(c, ts_arena_strdup(c->a, d.message));
  return false;
}

// The block below the loops; they form a nest with nothing beside it.
static bool one_block(ts__ctx *c, int arg, int top, int *block) {
  int at = top;
  while (ts__is_loop(c, at)) at++;
  *block = at;
  if (ts__is_block(c, at)) return true;
  ts__refuse(c, TS_R_several_blocks, arg, "loop {0} does not hold exactly one block in a plain nest");
  ts__fact_node(c, top);
  return false;
}

static bool is_one(ts__ctx *c, const ts_expr *e) { return ts_prove_eq(ts__an(c), e, ts_int(c->ir, 1)) == TS_YES; }

// The outer block's iterators: one for each binding whose outer part has more than one value.
static bool outer_iters(ts__ctx *c, const ts__blockized *z, ts_block *outer, const ts_expr **base) {
  const ts_block *b = ts__block(c, z->block);
  int all[TS__MAX_DEPTH];
  int n = ts__loops_of(c, z->block, all);
  const ts_var *vars[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) vars[i] = ts__stmt(c, all[i])->loop.var;
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters);
  for (int i = 0; i < b->niters; i++) {
    const ts_subspace *s = &z->part[i];
    base[i] = s->outer;
    if (is_one(c, s->outer_extent)) continue;  // the same for all: a constant, or what an outer block says
    const ts_expr *lo = NULL, *hi = NULL;
    if (!ts_bound_over(ts__an(c), s->outer, vars, n, &lo, &hi) || !lo || !hi) {
      ts__refuse(c, TS_R_not_separable, 0, "the outer part of iterator {1} of block {0} has no bounds");
      ts__fact_node(c, z->block);
      ts__fact_s(c, b->iters[i].var->name);
      return false;
    }
    const ts_expr *extent = ts_simplify(ts__an(c), ts_add(c->ir, ts_sub(c->ir, hi, lo), ts_int(c->ir, 1)));
    ts_var *v = ts_var_new(c->ir, ts_arena_printf(c->a, "%s_o", b->iters[i].var->name), TS_INDEX);
    iters[outer->niters++] = (ts_iter){.var = v, .kind = b->iters[i].kind, .dom = {lo, extent}, .value = s->outer};
    base[i] = ts_evar(c->ir, v);
  }
  outer->iters = iters;
  return true;
}

static const ts_stmt *inner_nest(ts__ctx *c, const ts__blockized *z, const ts_expr *const *base, bool keep_init) {
  const ts_block *b = ts__block(c, z->block);
  ts_block *in = ts_arena_dup(c->a, b, sizeof *b);
  ts_iter *iters = ts_arena_dup(c->a, b->iters, sizeof *iters * (size_t)b->niters);
  for (int i = 0; i < b->niters; i++) {
    const ts_subspace *s = &z->part[i];
    iters[i].value = ts_simplify(ts__an(c), ts_add(c->ir, ts_mul(c->ir, base[i], s->inner_extent), s->inner));
  }
  in->iters = iters;
  in->predicate = z->inner_pred;
  if (!keep_init) in->init = NULL;
  const ts_stmt *s = ts__block_with(c, ts__stmt(c, z->block), in);
  for (int i = z->ninner - 1; i >= 0; i--) s = ts__loop_with(c, ts__stmt(c, z->inner[i]), s);
  return s;
}

// Does a reduce iterator have an outer part? Then the initialisation belongs to the outer block.
static bool outer_reduces(const ts_block *outer) {
  for (int i = 0; i < outer->niters; i++)
    if (outer->iters[i].kind != TS_ITER_SPATIAL) return true;
  return false;
}

// The initialisation of the outer block: that of the block, in copies of the inner loops that feed its spatial iterators as they
// are bound inside.
static bool outer_init(ts__ctx *c, ts__blockized *z, ts_block *outer, const ts_expr *const *base) {
  const ts_block *b = ts__block(c, z->block);
  ts__ctx x = *c;  // the same step, over a tree whose block has the new bindings
  ts__tree t = *c->t;
  ts__node *node = ts_arena_dup(c->a, t.node, sizeof *node * (size_t)t.n);
  ts_block *bound = ts_arena_dup(c->a, b, sizeof *b);
  ts_iter *iters = ts_arena_dup(c->a, b->iters, sizeof *iters * (size_t)b->niters);
  for (int i = 0; i < b->niters; i++)
    iters[i].value = ts_simplify(ts__an(c), ts_add(c->ir, ts_mul(c->ir, base[i], z->part[i].inner_extent), z->part[i].inner));
  bound->iters = iters;
  node[z->block].s = ts__block_with(c, ts__stmt(c, z->block), bound);
  t.node = node;
  x.t = &t;
  TS_TRY(ts__feeds_apart(&x, 0, z->block, z->inner, z->ninner));
  int drop[TS__MAX_DEPTH], nd = 0;
  for (int i = 0; i < z->ninner; i++) {
    bool s, r;
    ts__feeds(&x, z->block, z->inner[i], &s, &r);
    if (!s) drop[nd++] = z->inner[i];
  }
  const ts_expr *pred = NULL;
  TS_TRY(ts__predicate_cut(&x, 0, z->block, z->inner_pred, drop, nd, &pred));
  uint32_t id;
  const char *name = ts__fresh_block_name(c, ts_arena_printf(c->a, "%s_init", b->name));
  outer->init = ts__init_nest(&x, z->block, z->inner, z->ninner, pred, name, &id);
  return true;
}

bool ts__blockize(ts__ctx *c, int arg, int top, ts__blockized *z) {
  *z = (ts__blockized){.top = top};
  TS_TRY(one_block(c, arg, top, &z->block));
  if (c->t->node[z->block].parent < 0) {
    ts__refuse(c, TS_R_loop_position, arg, "block {0} is the root of the function");
    ts__fact_node(c, z->block);
    return false;
  }
  TS_TRY(divide(c, arg, z));
  TS_TRY(ts__instances_once(c, arg, z->block));
  const ts_block *b = ts__block(c, z->block);
  ts__enter(c, z->block);
  ts_block *outer = ts_new(c->a, ts_block);
  const ts_expr **base = ts_new_array(c->a, const ts_expr *, b->niters);
  outer->name = ts__fresh_block_name(c, ts_arena_printf(c->a, "%s_o", b->name));
  outer->predicate = z->outer_pred;
  TS_TRY(outer_iters(c, z, outer, base));
  bool hoist = b->init && outer_reduces(outer);
  if (hoist) TS_TRY(outer_init(c, z, outer, base));
  outer->body = inner_nest(c, z, base, !hoist);
  z->made = ts_stmt_infer_access(c->ir, ts_block_stmt(c->ir, outer));
  return true;
}
