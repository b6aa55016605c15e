// t = cache_index b "local" 2 : C[vi] = A[vi // 4 % 3] * B[vi // 4 % 3]
//   -> for ax0 { b_index[vi] = vi // 4 % 3 } ; C[vi] = A[b_index[vi]] * B[b_index[vi]]
// Indices of loads in b that are computed (more than a sum of iterators) and stand there at least that often are
// tabulated before the statement of its scope that contains b. Tables are over the iterators that the index uses.
// Indices of stores, and of what b writes, stay: legality of later steps rests on them.
#include "schedule/schedule_impl.h"

enum { MAX_INDICES = 16 };
typedef struct entry {
  const ts_expr *e;
  int count, n, *iter;
  const ts_buffer *table;
  const ts_stmt *nest;
  uint32_t id;
} entry;
typedef struct plan {
  ts__ctx *c;
  const ts_block *b;
  int n, scope, top;
  entry e[MAX_INDICES];
} plan;

// Computing it for every value of the iterators cannot fail, and takes more than adding.
typedef struct form {
  bool works, safe;
} form;
static bool form_expr(void *arg, const ts_expr *e) {
  form *w = arg;
  int64_t v;
  bool divides = e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD,
       shifts = e->kind == TS_E_SHL || e->kind == TS_E_SHR;
  w->works |= divides || shifts || e->kind == TS_E_SELECT || e->kind == TS_E_MIN || e->kind == TS_E_MAX;
  if (divides && (!ts_is_int(e->arg[1], &v) || v == 0)) w->safe = false;
  if (shifts && (!ts_is_int(e->arg[1], &v) || v < 0 || v > 63)) w->safe = false;
  if (e->kind == TS_E_CALL || e->kind == TS_E_LOAD) w->safe = false;
  return true;
}

static void consider(plan *p, const ts_expr *e) {
  form w = {false, true};
  ts_expr_visit(e, form_expr, &w);
  if (!w.works || !w.safe || !ts__of_iters(p->c, p->b, e)) return;
  for (int i = 0; i < p->n; i++)
    if (p->e[i].e == e) {
      p->e[i].count++;
      return;
    }
  if (p->n < MAX_INDICES) p->e[p->n++] = (entry){.e = e, .count = 1};
}

static bool collect(void *arg, const ts_expr *e) {
  plan *p = arg;
  if (e->kind != TS_E_LOAD || ts__writes(p->b, e->buf)) return true;
  for (int d = 0; d < e->buf->ndim; d++) consider(p, e->arg[d]);
  return true;
}

static void table_make(ts__ctx *c, const plan *p, entry *e, int k) {
  e->iter = ts_new_array(c->a, int, p->b->niters);
  for (int i = 0; i < p->b->niters; i++)
    if (ts_expr_uses_var(e->e, p->b->iters[i].var)) e->iter[e->n++] = i;
  const ts_expr **shape = ts_new_array(c->a, const ts_expr *, e->n), **idx = ts_new_array(c->a, const ts_expr *, e->n);
  const ts_var **ax = ts_new_array(c->a, const ts_var *, e->n);
  ts_iter *iters = ts_new_array(c->a, ts_iter, e->n);
  ts_subst *m = ts_new_array(c->a, ts_subst, e->n);
  for (int i = 0; i < e->n; i++) {
    const ts_iter *it = &p->b->iters[e->iter[i]];
    shape[i] = ts_simplify(ts__an(c), ts_add(c->ir, it->dom.min, it->dom.extent));
    ax[i] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", i), TS_INDEX);
    const ts_expr *value = ts_simplify(ts__an(c), ts_add(c->ir, it->dom.min, ts_evar(c->ir, ax[i])));
    iters[i] = (ts_iter){ts_var_new(c->ir, it->var->name, TS_INDEX), TS_ITER_SPATIAL, it->dom, value};
    m[i] = (ts_subst){it->var, idx[i] = ts_evar(c->ir, iters[i].var)};
  }
  const char *base = ts_arena_printf(c->a, "%s_index%d", p->b->name, k);
  ts_buffer *named = ts_buffer_new(c->ir, base, TS_I64, e->n, shape, "global");
  e->table = ts_buffer_new(c->ir, ts__buffer_like(c, named, c->arg[1].s)->name, TS_I64, e->n, shape,
                           ts_arena_strdup(c->a, c->arg[1].s));
  ts_block *b = ts_new(c->a, ts_block);
  *b = (ts_block){.name = ts__fresh_block_name(c, e->table->name),
                  .niters = e->n,
                  .iters = iters,
                  .body = ts_store(c->ir, e->table, idx, ts_expr_subst(c->ir, e->e, m, e->n))};
  const ts_stmt *s = ts_block_stmt(c->ir, b);
  e->id = s->id;
  for (int i = e->n - 1; i >= 0; i--) s = ts_for(c->ir, ax[i], ts_int(c->ir, 0), iters[i].dom.extent, TS_SERIAL, s);
  e->nest = ts_stmt_infer_access(c->ir, s);
}

// A table is a buffer: its extents are known before the function runs, and not below zero.
static bool tables_possible(ts__ctx *c, const plan *p) {
  for (int i = 0; i < p->b->niters; i++) {
    const ts_range *d = &p->b->iters[i].dom;
    bool ok = ts__only_dims(c, d->min) && ts__only_dims(c, d->extent) &&
              ts_prove_le(ts__an(c), ts_int(c->ir, 0), d->min) == TS_YES;
    if (ok && p->b->niters <= 8) continue;
    ts__refuse(c, TS_R_symbolic, 0, "the domain of iterator {1} of block {0} is not known from zero");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, p->b->iters[i].var->name);
    return false;
  }
  return true;
}

bool ts__check_cache_index(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int me = c->arg[0].node;
  c->plan = p;
  *p = (plan){.c = c, .b = ts__block(c, me), .scope = c->t->node[me].scope};
  TS_TRY(ts__scope_known(c, 1, c->arg[1].s));
  if (p->scope < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no place for a table");
  if (p->b->intrin || p->b->explicit_access || ts__next_block(c, me, me) >= 0) {
    ts__refuse(c, TS_R_opaque_access, 0, "the loads of block {0} cannot be rewritten");
    ts__fact_node(c, me);
    return false;
  }
  p->top = ts__top_child(c, p->scope, me);
  ts_stmt_visit(p->b->body, NULL, collect, p);
  int kept = 0;
  for (int i = 0; i < p->n; i++)
    if (p->e[i].count >= c->arg[2].i) p->e[kept++] = p->e[i];
  p->n = kept;
  if (!kept) {
    ts__refuse(c, TS_R_body_shape, 2, "no computed index stands at least {1} times in loads of block {0}");
    ts__fact_node(c, me);
    ts__fact_i(c, c->arg[2].i);
    return false;
  }
  ts__enter(c, p->top);
  TS_TRY(tables_possible(c, p));
  for (int k = 0; k < p->n; k++) table_make(c, p, &p->e[k], k);
  return true;
}

static const ts_expr *tabulated(void *arg, const ts_expr *e) {
  const plan *p = arg;
  if (e->kind != TS_E_LOAD || ts__writes(p->b, e->buf)) return e;
  const ts_expr **idx = ts_arena_dup(p->c->a, e->arg, sizeof *idx * (size_t)(e->buf->ndim ? e->buf->ndim : 1));
  for (int d = 0; d < e->buf->ndim; d++)
    for (int k = 0; k < p->n; k++) {
      if (p->e[k].e != e->arg[d]) continue;
      const ts_expr **at = ts_new_array(p->c->a, const ts_expr *, p->e[k].n);
      for (int i = 0; i < p->e[k].n; i++) at[i] = ts_evar(p->c->ir, p->b->iters[p->e[k].iter[i]].var);
      idx[d] = ts_load(p->c->ir, p->e[k].table, at);
    }
  return ts_load(p->c->ir, e->buf, idx);
}

bool ts__apply_cache_index(ts__ctx *c) {
  plan *p = c->plan;
  int me = c->arg[0].node;
  ts_block *b = ts_arena_dup(c->a, p->b, sizeof *b);
  b->body = ts_stmt_rewrite(c->ir, b->body, NULL, tabulated, p);
  const ts_func *f = ts__replace(c, me, ts__block_with(c, ts__stmt(c, me), b));
  uint32_t scope = ts__stmt(c, p->scope)->id;
  for (int k = 0; k < p->n; k++) {
    f = ts__insert(c, f, scope, ts__position(c, p->top) + k, p->e[k].nest);
    f = ts__alloc_add(c, f, scope, p->e[k].table);
    ts__result(c, 'b', p->e[k].id, 0);
  }
  c->out = ts__reinfer(c, f);
  return true;
}
