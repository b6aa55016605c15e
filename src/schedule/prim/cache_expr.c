// x = cache_expr b "q" "local" : C[vi, vj] = C[vi, vj] + A[vi, vk] * (cast(f32, q[vj, vk // 2] >> ..) * s[vj])
//   -> for ax0, ax1 { x[vj, vk] = cast(f32, q[vj, vk // 2] >> ..) * s[vj] } ; C[vi, vj] = C[vi, vj] + A[vi, vk] * x[vj,
//   vk]
// The largest expression around a load of the buffer that uses no further iterator is computed by a block of its own,
// for all values of the iterators that it uses, before the statement of the scope that contains b.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_block *b;
  const ts_buffer *from, *copy;
  const ts_expr *load, *e;
  int n, *iter, scope, top;
  const ts_stmt *nest;
  uint32_t id;
} plan;

// --- the expression
// ---------------------------------------------------------------------------------------------------------
static bool first_load(void *arg, const ts_expr *e) {
  plan *p = arg;
  if (!p->load && e->kind == TS_E_LOAD && e->buf == p->from) p->load = e;
  return !p->load;
}

typedef struct form {
  const plan *p;
  bool fits;
} form;

// Of iterators that the load uses, dimensions, and what the block does not write.
static bool form_expr(void *arg, const ts_expr *e) {
  form *f = arg;
  if (e->kind == TS_E_LOAD) f->fits &= !ts__writes(f->p->b, e->buf);
  if (e->kind != TS_E_VAR || ts_expr_uses_var(f->p->load, e->var)) return f->fits;
  bool dim = false;
  for (int i = 0; i < f->p->c->f->ndims; i++) dim |= f->p->c->f->dims[i].var == e->var;
  f->fits &= dim;
  return f->fits;
}

static bool fits(const plan *p, const ts_expr *e) {
  form f = {p, e->type.lanes == 1 && e->type.code != TS_BOOL};
  ts_expr_visit(e, form_expr, &f);
  return f.fits;
}

static bool holds(const ts_expr *e, const ts_expr *part) {
  if (e == part) return true;
  for (uint32_t i = 0; i < e->nargs; i++)
    if (holds(e->arg[i], part)) return true;
  return false;
}

// The outermost on the way from e to the load that fits.
static bool outermost(void *arg, const ts_expr *e) {
  plan *p = arg;
  if (p->e || !holds(e, p->load)) return false;
  if (fits(p, e)) p->e = e;
  return !p->e;
}

static bool expr_find(ts__ctx *c, plan *p) {
  ts_stmt_visit(p->b->body, NULL, first_load, p);
  if (p->load) ts_stmt_visit(p->b->body, NULL, outermost, p);
  bool made = p->e && p->e->kind != TS_E_LOAD;
  for (int i = 0; made && i < p->b->niters; i++)
    if (ts_expr_uses_var(p->e, p->b->iters[i].var)) p->iter[p->n++] = i;
  if (made && p->n && p->n <= 8) return true;
  ts__refuse(c, TS_R_body_shape, 1, "block {0} computes nothing from {1} with the iterators of that load alone");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, p->from->name);
  ts__hint(c, "cache_read or reindex copies the buffer itself");
  return false;
}

// --- may it run for all values of its iterators?
// ------------------------------------------------------------------------------
static bool total_expr(void *arg, const ts_expr *e) {
  form *f = arg;
  ts_analyzer *an = ts__an(f->p->c);
  int64_t v;
  bool divides = e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD;
  if (divides && (!ts_is_int(e->arg[1], &v) || v == 0)) f->fits = false;
  for (int d = 0; e->kind == TS_E_LOAD && d < e->buf->ndim; d++)
    f->fits &= ts_prove_le(an, ts_int(f->p->c->ir, 0), e->arg[d]) == TS_YES &&
               ts_prove_lt(an, e->arg[d], e->buf->shape[d]) == TS_YES;
  return f->fits;
}

static bool total(ts__ctx *c, const plan *p) {
  form f = {p, true};
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < p->n; i++) {
    const ts_range *d = &p->b->iters[p->iter[i]].dom;
    f.fits &= ts__only_dims(c, d->min) && ts__only_dims(c, d->extent) &&
              ts_prove_le(ts__an(c), ts_int(c->ir, 0), d->min) == TS_YES;
    ts_bind_range(ts__an(c), p->b->iters[p->iter[i]].var, *d);
  }
  if (f.fits) ts_expr_visit(p->e, total_expr, &f);
  ts_analyzer_pop(ts__an(c), mark);
  if (f.fits) return true;
  ts__refuse(c, TS_R_not_covered, 1, "what block {0} computes from {1} may not exist for all values of its iterators");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, p->from->name);
  return false;
}

// Everything that it reads is there before the nest, and stays.
static bool sources_last(ts__ctx *c, const plan *p) {
  const ts_block *nb = p->nest->kind == TS_S_FOR ? NULL : p->nest->block;
  for (const ts_stmt *s = p->nest; !nb; nb = s->kind == TS_S_BLOCK ? s->block : NULL) s = s->loop.body;
  for (int i = 0; i < nb->nreads; i++) {
    int w = ts__toucher(c, p->top, c->t->node[p->top].end, -1, nb->reads[i].buf, true, false);
    if (w >= 0) {
      ts__refuse(c, TS_R_carried_dependence, 1, "block {0} in the same nest writes {1}");
      ts__fact_node(c, w);
      ts__fact_s(c, nb->reads[i].buf->name);
      return false;
    }
    TS_TRY(ts__filled(c, 1, p->top, p->nest, nb->reads[i].buf));
  }
  return true;
}

// --- building
// -------------------------------------------------------------------------------------------------------------------
static void nest_make(ts__ctx *c, plan *p) {
  const ts_expr **shape = ts_new_array(c->a, const ts_expr *, p->n), **idx = ts_new_array(c->a, const ts_expr *, p->n);
  const ts_var **ax = ts_new_array(c->a, const ts_var *, p->n);
  ts_iter *iters = ts_new_array(c->a, ts_iter, p->n);
  ts_subst *m = ts_new_array(c->a, ts_subst, p->n);
  for (int i = 0; i < p->n; i++) {
    const ts_iter *it = &p->b->iters[p->iter[i]];
    shape[i] = ts_simplify(ts__an(c), ts_add(c->ir, it->dom.min, it->dom.extent));
    ax[i] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", i), TS_INDEX);
    iters[i] = (ts_iter){ts_var_new(c->ir, it->var->name, TS_INDEX), TS_ITER_SPATIAL, it->dom,
                         ts_simplify(ts__an(c), ts_add(c->ir, it->dom.min, ts_evar(c->ir, ax[i])))};
    m[i] = (ts_subst){it->var, idx[i] = ts_evar(c->ir, iters[i].var)};
  }
  ts_buffer *named = ts_buffer_new(c->ir, ts_arena_printf(c->a, "%s_%s", p->b->name, p->from->name), p->e->type.code,
                                   p->n, shape, "global");
  p->copy = ts_buffer_new(c->ir, ts__buffer_like(c, named, c->arg[2].s)->name, p->e->type.code, p->n, shape,
                          ts_arena_strdup(c->a, c->arg[2].s));
  ts_block *b = ts_new(c->a, ts_block);
  *b = (ts_block){.name = ts__fresh_block_name(c, p->copy->name),
                  .niters = p->n,
                  .iters = iters,
                  .body = ts_store(c->ir, p->copy, idx, ts_expr_subst(c->ir, p->e, m, p->n))};
  const ts_stmt *s = ts_block_stmt(c->ir, b);
  p->id = s->id;
  for (int i = p->n - 1; i >= 0; i--) s = ts_for(c->ir, ax[i], ts_int(c->ir, 0), iters[i].dom.extent, TS_SERIAL, s);
  p->nest = ts_stmt_infer_access(c->ir, s);
}

bool ts__check_cache_expr(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int me = c->arg[0].node;
  c->plan = p;
  *p = (plan){.c = c, .b = ts__block(c, me), .scope = c->t->node[me].scope};
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  if (p->scope < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no place for what it computes");
  if (p->b->intrin || p->b->explicit_access || ts__next_block(c, me, me) >= 0) {
    ts__refuse(c, TS_R_opaque_access, 0, "the expressions of block {0} cannot be rewritten");
    ts__fact_node(c, me);
    return false;
  }
  p->from = ts__buffer_arg(c, 1, p->b, true, false);
  if (!p->from) return false;
  p->iter = ts_new_array(c->a, int, p->b->niters);
  TS_TRY(expr_find(c, p));
  p->top = ts__top_child(c, p->scope, me);
  ts__enter(c, p->top);
  TS_TRY(total(c, p));
  nest_make(c, p);
  return sources_last(c, p);
}

static const ts_expr *computed(void *arg, const ts_expr *e) {
  const plan *p = arg;
  if (e != p->e) return e;
  const ts_expr *at[8];
  for (int i = 0; i < p->n; i++) at[i] = ts_evar(p->c->ir, p->b->iters[p->iter[i]].var);
  return ts_load(p->c->ir, p->copy, at);
}

bool ts__apply_cache_expr(ts__ctx *c) {
  plan *p = c->plan;
  int me = c->arg[0].node;
  ts_block *b = ts_arena_dup(c->a, p->b, sizeof *b);
  b->body = ts_stmt_rewrite(c->ir, b->body, NULL, computed, p);
  const ts_func *f = ts__replace(c, me, ts__block_with(c, ts__stmt(c, me), b));
  uint32_t scope = ts__stmt(c, p->scope)->id;
  f = ts__insert(c, f, scope, ts__position(c, p->top), p->nest);
  c->out = ts__reinfer(c, ts__alloc_add(c, f, scope, p->copy));
  ts__result(c, 'b', p->id, 0);
  return true;
}
