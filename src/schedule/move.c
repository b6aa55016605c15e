// Moving a block under a loop of another nest: what compute_at and reverse_compute_at share.
#include "schedule_impl.h"

bool ts__move_begin(ts__ctx *c, ts__move *m, int block, int loop) {
  *m = (ts__move){.block = block, .loop = loop, .scope = c->t->node[block].scope};
  m->block_id = ts__stmt(c, block)->id;
  m->loop_id = ts__stmt(c, loop)->id;
  if (m->scope < 0 || c->t->node[loop].scope != m->scope) {
    ts__refuse(c, TS_R_not_same_scope, 1, "block {0} and loop {1} are not in the same scope");
    ts__fact_node(c, block);
    ts__fact_node(c, loop);
    return false;
  }
  if (!ts__under(c->t, block, loop)) return true;
  ts__refuse(c, TS_R_loop_position, 1, "loop {1} encloses block {0} already");
  ts__fact_node(c, block);
  ts__fact_node(c, loop);
  return false;
}

typedef struct choose {
  const ts_expr *what, *with;
} choose;
static const ts_expr *choose_expr(void *arg, const ts_expr *e) {
  const choose *w = arg;
  return e == w->what ? w->with : e;
}
static bool find_min(void *arg, const ts_expr *e) {
  const ts_expr **found = arg;
  if (!*found && e->kind == TS_E_MIN) *found = e;
  return !*found;
}

// A range cut off by a guard, extent min(8, n - i * 8), say, runs the constant (8) under a guard (less than n - i * 8): constant
// loops are worth more. Other extents stay; *limit is then NULL.
static const ts_expr *padded_extent(ts__ctx *c, const ts_expr *extent, const ts_expr **limit) {
  const ts_expr *min = NULL;
  *limit = NULL;
  ts_expr_visit(extent, find_min, &min);
  if (min) {  // the extent must grow with it
    const ts_var *m = ts_var_new(c->ir, "m", TS_INDEX);
    choose by = {min, ts_evar(c->ir, m)};
    int64_t coef;
    const ts_expr *rest;
    if (!ts_linear(ts__an(c), ts_expr_rewrite(c->ir, extent, choose_expr, &by), m, &coef, &rest) || coef < 1) return extent;
  }
  for (int k = 0; min && k < 2; k++) {
    choose one = {min, min->arg[k]}, other = {min, min->arg[1 - k]};
    const ts_expr *e = ts_simplify(ts__an(c), ts_expr_rewrite(c->ir, extent, choose_expr, &one));
    if (!ts_is_int(e, NULL) || ts_prove_le(ts__an(c), extent, e) != TS_YES) continue;
    *limit = ts_simplify(ts__an(c), ts_expr_rewrite(c->ir, extent, choose_expr, &other));
    return e;
  }
  return extent;
}

void ts__move_nest(ts__ctx *c, ts__move *m) {
  const ts_block *b = ts__block(c, m->block);
  ts_analyzer *an = ts__an(c);
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters);
  const ts_var **var = ts_new_array(c->a, const ts_var *, b->niters);
  const ts_expr **extent = ts_new_array(c->a, const ts_expr *, b->niters);
  const ts_expr *guard = NULL;
  size_t mark = ts_analyzer_push(an);
  for (int i = 0, ax = 0; i < b->niters; i++) {
    iters[i] = b->iters[i];
    iters[i].value = ts_simplify(an, m->need[i].min);
    const ts_expr *exact = ts_simplify(an, m->need[i].extent);
    int64_t one;
    const ts_expr *limit;
    extent[i] = padded_extent(c, exact, &limit);
    if (ts_is_int(exact, &one) && one == 1) continue;
    var[i] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", ax++), TS_INDEX);
    ts_bind_range(an, var[i], (ts_range){ts_int(c->ir, 0), extent[i]});
    iters[i].value = ts_simplify(an, ts_add(c->ir, m->need[i].min, ts_evar(c->ir, var[i])));
    if (!limit) continue;
    const ts_expr *g = ts_simplify(an, ts_bin(c->ir, (ts_ekind)TS_E_LT, ts_evar(c->ir, var[i]), limit));
    int64_t always;
    if (!ts_is_int(g, &always) || !always) guard = ts__and(c->ir, guard, g);
  }
  ts_analyzer_pop(an, mark);
  ts_block *nb = ts_arena_dup(c->a, b, sizeof *b);
  nb->iters = iters;
  nb->predicate = guard;
  const ts_stmt *s = ts__block_with(c, ts__stmt(c, m->block), nb);
  for (int i = b->niters - 1; i >= 0; i--)
    if (var[i]) s = ts_for(c->ir, var[i], ts_int(c->ir, 0), extent[i], TS_SERIAL, s);
  m->nest = s;
}

// --- needed iterations ------------------------------------------------------------------------------------------------
// [coef * v + rest, + width) meets [lo, lo + len) for v in floor((lo - rest - width + 1 rounded up) / coef) ..
static void dim_need(ts__ctx *c, int64_t coef, const ts_expr *rest, const ts_expr *width, ts_range wanted, ts_range *need) {
  ts_analyzer *an = ts__an(c);
  ts_ir *ir = c->ir;
  const ts_expr *lo = ts_sub(ir, wanted.min, rest), *last = ts_sub(ir, ts_add(ir, lo, wanted.extent), ts_int(ir, 1));
  if (coef == 1 && ts_prove_eq(an, width, ts_int(ir, 1)) == TS_YES) {
    *need = (ts_range){ts_simplify(an, lo), ts_simplify(an, wanted.extent)};
    return;
  }
  const ts_expr *k = ts_int(ir, coef);
  const ts_expr *first = ts_add(ir, ts_sub(ir, lo, width), k);  // v * coef >= lo - width + 1, rounded up
  first = ts_bin(ir, (ts_ekind)TS_E_FLOORDIV, first, k);
  last = ts_bin(ir, (ts_ekind)TS_E_FLOORDIV, last, k);
  need->min = ts_simplify(an, first);
  need->extent = ts_simplify(an, ts_add(ir, ts_sub(ir, last, first), ts_int(ir, 1)));
}

static bool refuse_access(ts__ctx *c, int arg, const ts_block *b, const ts_buffer *buf, int d) {
  ts__refuse(c, TS_R_not_invertible, arg, "dimension {2} of {1} is no simple function of one iterator of block {0}");
  ts__fact_s(c, b->name);
  ts__fact_s(c, buf->name);
  ts__fact_i(c, d);
  return false;
}

static const ts_iter *only_iter(const ts_block *b, const ts_expr *e, int *at) {
  *at = -1;
  for (int i = 0; i < b->niters; i++) {
    if (!ts_expr_uses_var(e, b->iters[i].var)) continue;
    if (*at >= 0) return NULL;
    *at = i;
  }
  return *at < 0 ? NULL : &b->iters[*at];
}

// Is [wanted) all of dimension d?
static bool whole_dim(ts__ctx *c, const ts_buffer *buf, int d, ts_range wanted) {
  ts_analyzer *an = ts__an(c);
  return ts_prove_le(an, wanted.min, ts_int(c->ir, 0)) == TS_YES &&
         ts_prove_le(an, buf->shape[d], ts_add(c->ir, wanted.min, wanted.extent)) == TS_YES;
}

bool ts__invert_region(ts__ctx *c, int arg, const ts_block *b, const ts_region *access, const ts_region *wanted, ts_range *need) {
  ts_analyzer *an = ts__an(c);
  bool *seen = ts_new_array(c->a, bool, b->niters);
  for (int i = 0; i < b->niters; i++) need[i] = b->iters[i].dom;
  for (int d = 0; d < access->buf->ndim; d++) {
    int at;
    const ts_range *r = &access->dim[d];
    const ts_iter *it = only_iter(b, r->min, &at);
    if (!it && at < 0) continue;  // the same elements for every instance
    if (whole_dim(c, access->buf, d, wanted->dim[d])) continue;
    int64_t coef;
    const ts_expr *rest;
    bool fits = it && !seen[at] && ts_linear(an, r->min, it->var, &coef, &rest) && coef >= 1;
    for (int i = 0; fits && i < b->niters; i++) fits = !ts_expr_uses_var(r->extent, b->iters[i].var);
    if (!fits) return refuse_access(c, arg, b, access->buf, d);
    seen[at] = true;
    dim_need(c, coef, rest, r->extent, wanted->dim[d], &need[at]);
  }
  return true;
}

bool ts__need_clip(ts__ctx *c, int arg, int block, ts_range *need) {
  const ts_block *b = ts__block(c, block);
  ts_analyzer *an = ts__an(c);
  for (int i = 0; i < b->niters; i++) {
    ts_range dom = b->iters[i].dom, *n = &need[i];
    if (n->min == dom.min && n->extent == dom.extent) continue;
    if (n->min->loads || n->extent->loads) {
      ts__refuse(c, TS_R_not_affine, arg, "the values of iterator {1} of block {0} under the loop would depend on data");
      ts__fact_node(c, block);
      ts__fact_s(c, b->iters[i].var->name);
      return false;
    }
    if (ts_prove_le(an, dom.min, n->min) != TS_YES) {
      ts__refuse(c, TS_R_not_covered, arg, "under the loop, iterator {1} of block {0} would start before its domain");
      ts__fact_node(c, block);
      ts__fact_s(c, b->iters[i].var->name);
      return false;
    }
    const ts_expr *end = ts_add(c->ir, dom.min, dom.extent);
    if (ts_prove_le(an, ts_add(c->ir, n->min, n->extent), end) == TS_YES) continue;
    n->extent = ts_bin(c->ir, (ts_ekind)TS_E_MIN, n->extent, ts_sub(c->ir, end, n->min));
  }
  return true;
}

bool ts__reductions_whole(ts__ctx *c, int arg, int block) {
  const ts_block *b = ts__block(c, block);
  if (ts__spatial_only(b)) return true;
  int loops[TS__MAX_DEPTH];
  int n = ts__loops_of(c, block, loops);
  ts_loop_range in[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) in[i] = (ts_loop_range){ts__stmt(c, loops[i])->loop.var, {ts__stmt(c, loops[i])->loop.min, ts__stmt(c, loops[i])->loop.extent}};
  const ts_expr **bind = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int i = 0; i < b->niters; i++) bind[i] = b->iters[i].value;
  ts_itermap map = {0};
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, n ? loops[0] : block);
  bool ok = ts_itermap_detect(ts__an(c), in, n, bind, b->niters, b->predicate, NULL, &map, NULL) && map.surjective == TS_YES;
  for (int i = 0; ok && i < b->niters; i++) {
    if (b->iters[i].kind == TS_ITER_SPATIAL) continue;
    ok = ts_prove_eq(ts__an(c), map.bind[i].base, b->iters[i].dom.min) == TS_YES &&
         ts_prove_eq(ts__an(c), map.bind[i].extent, b->iters[i].dom.extent) == TS_YES &&
         ts_prove_eq(ts__an(c), map.bind[i].step, ts_int(c->ir, 1)) == TS_YES;
    for (int l = 0; ok && map.predicate && l < n; l++)
      ok = !ts_expr_uses_var(bind[i], in[l].var) || !ts_expr_uses_var(map.predicate, in[l].var);
  }
  ts_analyzer_pop(ts__an(c), mark);
  if (ok) return true;
  ts__refuse(c, TS_R_not_covered, arg, "the reduction {0} does not provably run over the whole of its domain");
  ts__fact_node(c, block);
  return false;
}

// --- placing -------------------------------------------------------------------------------------------------------------
int ts__child_with(const ts__ctx *c, int top, int node, int *at) {
  int body = ts__body_of(c, top);
  *at = 0;
  if (ts__stmt(c, body)->kind != TS_S_SEQ) return body;
  for (int k = body + 1; k < c->t->node[body].end; k = c->t->node[k].end, ++*at)
    if (ts__under(c->t, node, k)) return k;
  return -1;
}

const ts_func *ts__move_apply(ts__ctx *c, const ts__move *m, int at) {
  return ts__insert(c, ts__replace(c, m->block, NULL), m->loop_id, at, m->nest);
}
