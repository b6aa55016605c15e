// Copies laid out by the iterators of a block: what reindex, reindex_cache_read and reindex_cache_write share.
#include "schedule_impl.h"

typedef struct pattern {
  const ts_buffer *buf;
  const ts_expr *const *idx;  // of all accesses
  bool same;
} pattern;

static void pattern_add(pattern *p, const ts_expr *const *idx) {
  for (int d = 0; p->idx && d < p->buf->ndim; d++) p->same &= p->idx[d] == idx[d];
  p->idx = idx;
}

static bool pattern_expr(void *arg, const ts_expr *e) {
  pattern *p = arg;
  if (e->kind == TS_E_LOAD && e->buf == p->buf) pattern_add(p, e->arg);
  return true;
}

static bool pattern_stmt(void *arg, const ts_stmt *s) {
  pattern *p = arg;
  if (s->kind == TS_S_STORE && s->store.buf == p->buf) pattern_add(p, s->store.idx);
  return true;
}

// Every index is made of iterators of the block and dimensions alone.
typedef struct sees {
  const ts__ctx *c;
  const ts_block *b;
  bool ok;
} sees;
static bool sees_expr(void *arg, const ts_expr *e) {
  sees *w = arg;
  if (e->kind == TS_E_LOAD) w->ok = false;
  if (e->kind != TS_E_VAR) return w->ok;
  bool iter = false;
  for (int i = 0; i < w->b->niters; i++) iter |= w->b->iters[i].var == e->var;
  w->ok &= iter || ts__only_dims(w->c, e);
  return w->ok;
}

bool ts__of_iters(const ts__ctx *c, const ts_block *b, const ts_expr *e) {
  sees w = {c, b, true};
  ts_expr_visit(e, sees_expr, &w);
  return w.ok;
}

static bool pattern_find(ts__ctx *c, int arg, ts__reindex *x) {
  int me = c->arg[0].node;
  const ts_block *b = ts__block(c, me);
  pattern p = {.buf = x->buf, .same = true};
  if (b->init) ts_stmt_visit(b->init, pattern_stmt, pattern_expr, &p);
  ts_stmt_visit(b->body, pattern_stmt, pattern_expr, &p);
  bool ok = p.idx && p.same && !b->explicit_access && !b->intrin && ts__next_block(c, me, me) < 0;
  for (int d = 0; ok && d < x->buf->ndim; d++) ok = ts__of_iters(c, b, p.idx[d]);
  x->idx = p.idx;
  if (ok) return true;
  ts__refuse(c, TS_R_opaque_access, arg, "block {0} does not access {1} at one element given by its iterators");
  ts__fact_node(c, me);
  ts__fact_s(c, x->buf->name);
  return false;
}

static bool used_by(const ts_expr *const *e, int n, const ts_var *v) {
  for (int i = 0; i < n; i++)
    if (ts_expr_uses_var(e[i], v)) return true;
  return false;
}

// The layout: the map's values, or the iterators that the access uses.
static bool layout_find(ts__ctx *c, int arg, const ts__map *map, ts__reindex *x) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  const ts_expr **at = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int i = 0; i < b->niters; i++) at[i] = ts_evar(c->ir, b->iters[i].var);
  if (map) {
    TS_TRY(ts__map_arity(c, arg, map, b->niters, "the block"));
    x->n = map->n;
    x->to = ts__map_apply(c, map, at);
  } else {
    const ts_expr **to = ts_new_array(c->a, const ts_expr *, b->niters);
    for (int i = 0; i < b->niters; i++)
      if (used_by(x->idx, x->buf->ndim, b->iters[i].var)) to[x->n++] = at[i];
    x->to = to;
  }
  x->iter = ts_new_array(c->a, int, b->niters);
  for (int i = 0; i < b->niters; i++) {
    bool laid = used_by(x->to, x->n, b->iters[i].var);
    if (laid) x->iter[x->niters++] = i;
    if (laid || !used_by(x->idx, x->buf->ndim, b->iters[i].var)) continue;
    ts__refuse(c, TS_R_bad_map, arg, "the map leaves out iterator {0}, by which {1} is indexed");
    ts__fact_s(c, b->iters[i].var->name);
    ts__fact_s(c, x->buf->name);
    return false;
  }
  return true;
}

// Different values of the iterators have different places in the copy (and, to be written back, in the buffer).
static bool layout_check(ts__ctx *c, int arg, bool write, ts__reindex *x) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  const ts_var **vars = ts_new_array(c->a, const ts_var *, x->niters);
  ts_loop_range *in = ts_new_array(c->a, ts_loop_range, x->niters);
  for (int i = 0; i < x->niters; i++) {
    const ts_iter *it = &b->iters[x->iter[i]];
    vars[i] = it->var;
    in[i] = (ts_loop_range){it->var, it->dom};
    ts_bind_range(ts__an(c), it->var, it->dom);
  }
  x->shape = ts_new_array(c->a, const ts_expr *, x->n);
  if (!ts__one_to_one(c, in, x->niters, x->to, x->n)) {
    ts__refuse(c, TS_R_bad_map, arg, "the layout of {0} is not provably one-to-one in the iterators of block {1}");
    ts__fact_s(c, x->buf->name);
    ts__fact_node(c, c->arg[0].node);
    return false;
  }
  TS_TRY(ts__map_shape(c, arg, x->to, x->n, vars, x->niters, x->shape));
  if (x->n > 8) return ts__refuse(c, TS_R_bad_map, arg, "a buffer has at most 8 dimensions");
  if (!write || ts__one_to_one(c, in, x->niters, x->idx, x->buf->ndim)) return true;
  ts__refuse(c, TS_R_not_invertible, arg, "two instances of block {0} may write the same element of {1}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, x->buf->name);
  return false;
}

// --- the copy
// ------------------------------------------------------------------------------------------------------------- What
// keeps the copy inside the buffer where the iterators' domains alone do not.
static const ts_expr *bounds_guard(ts__ctx *c, const ts__reindex *x, const ts_expr *const *idx) {
  const ts_expr *guard = NULL;
  for (int d = 0; d < x->buf->ndim; d++) {
    const ts_expr *low = ts_bin(c->ir, (ts_ekind)TS_E_LE, ts_int(c->ir, 0), idx[d]);
    const ts_expr *high = ts_bin(c->ir, (ts_ekind)TS_E_LT, idx[d], x->buf->shape[d]);
    if (ts_prove(ts__an(c), low) != TS_YES) guard = ts__and(c->ir, guard, ts_simplify(ts__an(c), low));
    if (ts_prove(ts__an(c), high) != TS_YES) guard = ts__and(c->ir, guard, ts_simplify(ts__an(c), high));
  }
  return guard;
}

// Is the buffer loaded whenever e is computed?
static bool always_loads(const ts_expr *e, const ts_buffer *buf) {
  if (e->kind == TS_E_LOAD && e->buf == buf) return true;
  bool lazy = e->kind == TS_E_SELECT || e->kind == TS_E_AND || e->kind == TS_E_OR;
  for (uint32_t i = 0; i < (lazy ? TS_MIN(e->nargs, 1u) : e->nargs); i++)
    if (always_loads(e->arg[i], buf)) return true;
  return false;
}

// The block itself reads all that the copy reads: then it lies inside the buffer.
static bool reads_all(ts__ctx *c, const ts__reindex *x) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  if (b->body->kind != TS_S_STORE || !always_loads(b->body->store.value, x->buf) || !ts__whole_domain(c, c->arg[0].node)) return false;
  for (int i = 0; i < b->niters; i++)
    if (ts_prove_le(ts__an(c), ts_int(c->ir, 1), b->iters[i].dom.extent) != TS_YES) return false;
  return true;
}

static void nest_make(ts__ctx *c, bool write, ts__reindex *x) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  int n = x->niters;
  ts_iter *iters = ts_new_array(c->a, ts_iter, n);
  const ts_var **ax = ts_new_array(c->a, const ts_var *, n);
  ts_subst *inner = ts_new_array(c->a, ts_subst, n), *outer = ts_new_array(c->a, ts_subst, n);
  for (int i = 0; i < n; i++) {
    const ts_iter *it = &b->iters[x->iter[i]];
    ax[i] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", i), TS_INDEX);
    ts_bind_range(ts__an(c), ax[i], (ts_range){ts_int(c->ir, 0), it->dom.extent});
    const ts_expr *value = ts_simplify(ts__an(c), ts_add(c->ir, it->dom.min, ts_evar(c->ir, ax[i])));
    iters[i] = (ts_iter){ts_var_new(c->ir, it->var->name, TS_INDEX), TS_ITER_SPATIAL, it->dom, value};
    inner[i] = (ts_subst){it->var, ts_evar(c->ir, iters[i].var)};
    outer[i] = (ts_subst){it->var, value};
  }
  const ts_expr **at = ts_new_array(c->a, const ts_expr *, x->buf->ndim),
                **run = ts_new_array(c->a, const ts_expr *, x->buf->ndim);
  const ts_expr **to = ts_new_array(c->a, const ts_expr *, x->n);
  for (int d = 0; d < x->buf->ndim; d++) {
    at[d] = ts_expr_subst(c->ir, x->idx[d], inner, n);
    run[d] = ts_simplify(ts__an(c), ts_expr_subst(c->ir, x->idx[d], outer, n));
  }
  for (int d = 0; d < x->n; d++) to[d] = ts_expr_subst(c->ir, x->to[d], inner, n);
  const ts_stmt *body = write ? ts_store(c->ir, x->buf, at, ts_load(c->ir, x->copy, to))
                              : ts_store(c->ir, x->copy, to, ts_load(c->ir, x->buf, at));
  ts_block *nb = ts_new(c->a, ts_block);
  const char *name = write ? ts_arena_printf(c->a, "%s_out", x->buf->name) : x->copy->name;
  *nb = (ts_block){.name = ts__fresh_block_name(c, name), .niters = n, .iters = iters, .body = body};
  if (!write && !reads_all(c, x)) nb->predicate = bounds_guard(c, x, run);
  const ts_stmt *s = ts_block_stmt(c->ir, nb);
  x->id = s->id;
  for (int i = n - 1; i >= 0; i--) s = ts_for(c->ir, ax[i], ts_int(c->ir, 0), iters[i].dom.extent, TS_SERIAL, s);
  x->nest = ts_stmt_infer_access(c->ir, s);
}

// --- the block
// ------------------------------------------------------------------------------------------------------------
typedef struct rewrite {
  ts__ctx *c;
  const ts__reindex *x;
} rewrite;
static const ts_expr *moved_load(void *arg, const ts_expr *e) {
  const rewrite *w = arg;
  return e->kind == TS_E_LOAD && e->buf == w->x->buf ? ts_load(w->c->ir, w->x->copy, w->x->to) : e;
}
static const ts_stmt *moved_store(void *arg, const ts_stmt *s) {
  const rewrite *w = arg;
  return s->kind == TS_S_STORE && s->store.buf == w->x->buf ? ts_store(w->c->ir, w->x->copy, w->x->to, s->store.value)
                                                            : s;
}

static void block_make(ts__ctx *c, ts__reindex *x) {
  rewrite w = {c, x};
  ts_block *b = ts_arena_dup(c->a, ts__block(c, c->arg[0].node), sizeof *b);
  if (b->init) b->init = ts_stmt_rewrite(c->ir, b->init, moved_store, moved_load, &w);
  b->body = ts_stmt_rewrite(c->ir, b->body, moved_store, moved_load, &w);
  x->block = ts__block_with(c, ts__stmt(c, c->arg[0].node), b);
}

// --- legality
// -------------------------------------------------------------------------------------------------------------
bool ts__filled(ts__ctx *c, int arg, int top, const ts_stmt *nest, const ts_buffer *buf) {
  for (int i = 0; i < c->f->nparams; i++)
    if (c->f->params[i].buf == buf && c->f->params[i].role != TS_OUT) return true;
  int first = c->t->node[top].parent + 1;
  if (ts__stmt(c, c->t->node[top].parent)->kind == TS_S_SEQ)
    for (int k = first; k < top; k = c->t->node[k].end)
      if (ts_region_cover(ts__an(c), ts__stmt(c, k), nest, buf) == TS_YES) return true;
  ts__refuse(c, TS_R_not_covered, arg,
             "what a copy would read of {1} is not provably written before the nest of block {0}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, buf->name);
  return false;
}

// Nothing else in the nest writes the buffer (reading) or touches it (writing).
static bool alone(ts__ctx *c, int arg, bool write, const ts__reindex *x) {
  int me = c->arg[0].node;
  if (write) TS_TRY(ts__complete_or_reduction(c, 0, me));
  int other = ts__toucher(c, x->top, c->t->node[x->top].end, write ? me : -1, x->buf, true, write);
  if (other < 0) return true;
  ts__refuse(c, write ? TS_R_opaque_access : TS_R_carried_dependence, arg, "block {0} in the same nest uses {1}");
  ts__fact_node(c, other);
  ts__fact_s(c, x->buf->name);
  return false;
}

bool ts__reindex_check(ts__ctx *c, int arg, bool write, const char *scope, const ts__map *map, ts__reindex *x) {
  int me = c->arg[0].node, map_arg = map ? 3 : arg;
  TS_TRY(ts__copy_place(c, &x->scope, &x->top));
  TS_TRY(pattern_find(c, arg, x));
  TS_TRY(layout_find(c, map_arg, map, x));
  TS_TRY(alone(c, arg, write, x));
  if (write && !ts__whole_domain(c, me)) {
    ts__refuse(c, TS_R_not_covered, 0, "block {0} does not provably run over the whole of its domain");
    ts__fact_node(c, me);
    return false;
  }
  ts__enter(c, x->top);
  TS_TRY(layout_check(c, map_arg, write, x));
  const ts_buffer *named = ts__buffer_like(c, x->buf, map ? scope : "reindex");
  x->copy = ts_buffer_new(c->ir, named->name, x->buf->code, x->n, x->shape, ts_arena_strdup(c->a, scope));
  nest_make(c, write, x);
  block_make(c, x);
  return write || ts__filled(c, arg, x->top, x->nest, x->buf);
}

bool ts__reindex_apply(ts__ctx *c, bool write, const ts__reindex *x) {
  const ts_func *f = ts__replace(c, c->arg[0].node, x->block);
  f = ts__insert(c, f, ts__stmt(c, x->scope)->id, ts__position(c, x->top) + write, x->nest);
  f = ts__alloc_add(c, f, ts__stmt(c, x->scope)->id, x->copy);
  c->out = ts__reinfer(c, f);
  ts__result(c, 'b', x->id, 0);
  return true;
}
