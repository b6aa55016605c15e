// rfactor k axis=0 : for i { for k { b: init C[vi] = 0 ; C[vi] += A[vi, vk] } }
//   -> for i { for k { b_rf: init C_rf[vr, vi] = 0 ; C_rf[vr, vi] += A[vi, vr] } } ; for i { for k { b: init .. ; C[vi] += C_rf[vr, vi] } }
// Partial results along loop k in a new buffer with an extra dimension at `axis`, then the reduction over them. The loops stay
// with the partial reduction; b, the final one, gets serial loops of its own after that nest (it shares only the loops around
// that have a kind or hold something else).
#include "schedule/schedule_impl.h"

typedef struct plan {
  int block, loop, first;         // first: outermost loop that the final reduction does not share
  int n, loops[TS__MAX_DEPTH];    // from first to the block
  ts_reduction red;
  bool select;                    // the predicate moves into the value
  const ts_expr *spatial_pred, *reduce_pred;
} plan;

static bool shape_check(ts__ctx *c, plan *p) {
  TS_TRY(ts__reduction(c, 0, p->block, &p->red));
  bool s, r;
  ts__feeds(c, p->block, p->loop, &s, &r);
  if (r && !s) {
    int64_t dims = p->red.acc[0]->ndim;
    for (int k = 1; k < p->red.n; k++) dims = TS_MIN(dims, p->red.acc[k]->ndim);
    if (c->arg[1].i >= 0 && c->arg[1].i <= dims) return true;
    ts__refuse(c, TS_R_bad_argument, 1, "axis must be 0 to {0}");
    ts__fact_i(c, dims);
    return false;
  }
  ts__refuse(c, TS_R_loop_position, 0, "loop {0} does not feed the reduction of block {1} alone");
  ts__fact_node(c, p->loop);
  ts__fact_node(c, p->block);
  return false;
}

// May the final reduction get a loop of its own instead of sharing this one, which holds only the next loop of the nest?
static bool not_shared(const ts__ctx *c, int loop, int next) {
  return c->t->node[next].parent == loop && ts__stmt(c, loop)->loop.kind == TS_SERIAL;
}

// The loops from the outermost that the final reduction will not share, down to the block.
static bool loops_find(ts__ctx *c, plan *p) {
  int all[TS__MAX_DEPTH], at = 0;
  int n = ts__loops_of(c, p->block, all);
  bool s, r = false;
  while (!r) ts__feeds(c, p->block, all[at++], &s, &r);
  for (at--; at > 0 && not_shared(c, all[at - 1], all[at]);) at--;
  for (int i = at; i < n; i++) {
    int64_t min;
    if (!ts_is_int(ts__stmt(c, all[i])->loop.min, &min) || min != 0) {
      ts__refuse(c, TS_R_loop_min, 0, "loop {0} does not start at zero");
      ts__fact_node(c, all[i]);
      return false;
    }
    p->loops[p->n++] = all[i];
  }
  p->first = p->loops[0];
  TS_TRY(ts__feeds_apart(c, 0, p->block, p->loops, p->n));
  for (int i = 0; i < p->red.n; i++) {
    int other = ts__toucher(c, p->first, c->t->node[p->first].end, p->block, p->red.acc[i], true, true);
    if (other < 0) continue;
    ts__refuse(c, TS_R_opaque_access, 0, "block {0} uses {1} while it is being reduced");
    ts__fact_node(c, other);
    ts__fact_s(c, p->red.acc[i]->name);
    return false;
  }
  return true;
}

static void reduce_conjuncts(ts__ctx *c, const ts_expr *pred, const int *loops, int n, const ts_expr **out) {
  if (pred->kind == TS_E_AND) {
    reduce_conjuncts(c, pred->arg[0], loops, n, out);
    reduce_conjuncts(c, pred->arg[1], loops, n, out);
    return;
  }
  for (int i = 0; i < n; i++)
    if (ts_expr_uses_var(pred, ts__stmt(c, loops[i])->loop.var)) {
      *out = ts__and(c->ir, *out, pred);
      return;
    }
}

// Every partial result must start: with the other reduce loops at their first iteration the predicate holds, or it moves
// into the value, where the identity stands for what is skipped.
static bool predicate_check(ts__ctx *c, plan *p) {
  int reduce[TS__MAX_DEPTH], nr = 0;
  for (int i = 0; i < p->n; i++) {
    bool s, r;
    ts__feeds(c, p->block, p->loops[i], &s, &r);
    if (!s && p->loops[i] != p->loop) reduce[nr++] = p->loops[i];
  }
  const ts_expr *pred = ts__block(c, p->block)->predicate, *kept = NULL;
  int all[TS__MAX_DEPTH + 1], na = 0;
  for (int i = 0; i < nr; i++) all[na++] = reduce[i];
  all[na++] = p->loop;
  TS_TRY(ts__predicate_cut(c, 0, p->block, pred, all, na, &p->spatial_pred));
  p->select = !ts__predicate_cut(c, 0, p->block, pred, reduce, nr, &kept) ||
              (kept && ts_expr_uses_var(kept, ts__stmt(c, p->loop)->loop.var));
  *c->r = (ts_refusal){0};
  if (!p->select) return true;
  reduce_conjuncts(c, pred, all, na, &p->reduce_pred);
  int around[TS__MAX_DEPTH];
  int n = ts__loops_of(c, p->block, around);
  for (int i = 0; i < n; i++) {
    bool s, r;
    ts__feeds(c, p->block, around[i], &s, &r);
    if (r || !ts_expr_uses_var(p->reduce_pred, ts__stmt(c, around[i])->loop.var)) continue;
    ts__refuse(c, TS_R_not_separable, 0, "the predicate of block {0} ties the reduction to loop {1}");
    ts__fact_node(c, p->block);
    ts__fact_node(c, around[i]);
    return false;
  }
  return true;
}

bool ts__check_rfactor(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->loop = c->arg[0].node;
  p->block = ts__next_block(c, p->loop, p->loop);
  int more = p->block < 0 ? -1 : ts__next_block(c, p->loop, p->block);
  if (p->block < 0 || more >= 0) {
    ts__refuse(c, TS_R_several_blocks, 0, "loop {0} does not hold exactly one block");
    ts__fact_node(c, p->loop);
    return false;
  }
  TS_TRY(ts__kind_free(c, p->loop));
  TS_TRY(shape_check(c, p));
  TS_TRY(loops_find(c, p));
  TS_TRY(ts__instances_once(c, 0, p->block));
  TS_TRY(ts__reductions_whole(c, 0, p->block));
  TS_TRY(ts__reduces_something(c, 0, p->block, p->loops, p->n));
  ts__enter(c, p->block);
  return predicate_check(c, p);
}

// --- building ----------------------------------------------------------------------------------------------------
static const ts_buffer *partial_buffer(ts__ctx *c, const plan *p, const ts_buffer *out) {
  const ts_expr **shape = ts_new_array(c->a, const ts_expr *, out->ndim + 1);
  for (int d = 0, k = 0; d <= out->ndim; d++) shape[d] = d == (int)c->arg[1].i ? ts__stmt(c, p->loop)->loop.extent : out->shape[k++];
  const ts_buffer *like = ts__buffer_like(c, out, "rf");
  return ts_buffer_new(c->ir, like->name, out->code, out->ndim + 1, shape, ts__is_param(c->f, out) ? "global" : out->scope);
}

static const ts_expr *const *partial_index(ts__ctx *c, const ts_expr *const *idx, int n, const ts_var *r) {
  const ts_expr **out = ts_new_array(c->a, const ts_expr *, n + 1);
  for (int d = 0, k = 0; d <= n; d++) out[d] = d == (int)c->arg[1].i ? ts_evar(c->ir, r) : idx[k++];
  return out;
}

typedef struct swap {  // accumulators to partial results
  ts__ctx *c;
  const plan *p;
  const ts_buffer *const *rf;
  const ts_var *r;
} swap;

static int acc_of(const plan *p, const ts_buffer *b) {
  for (int i = 0; i < p->red.n; i++)
    if (p->red.acc[i] == b) return i;
  return -1;
}

static const ts_expr *swap_load(void *arg, const ts_expr *e) {
  const swap *w = arg;
  int k = e->kind == TS_E_LOAD ? acc_of(w->p, e->buf) : -1;
  return k < 0 ? e : ts_load(w->c->ir, w->rf[k], partial_index(w->c, e->arg, e->buf->ndim, w->r));
}

static const ts_stmt *swap_store(void *arg, const ts_stmt *s) {
  const swap *w = arg;
  int k = s->kind == TS_S_STORE ? acc_of(w->p, s->store.buf) : -1;
  return k < 0 ? s : ts_store(w->c->ir, w->rf[k], partial_index(w->c, s->store.idx, s->store.buf->ndim, w->r), s->store.value);
}

// The update as it is written; where a predicate says so, what is combined becomes the identity.
static const ts_stmt *partial_body(ts__ctx *c, const plan *p, const ts_expr *const *identity) {
  if (!p->select) return ts__block(c, p->block)->body;
  const ts_expr *x[TS_MAX_ACCS], *out[TS_MAX_ACCS];
  for (int i = 0; i < p->red.n; i++) x[i] = ts_select(c->ir, p->reduce_pred, p->red.value[i], identity[i]);
  ts_reduction_combine(c->ir, &p->red, p->red.load, x, out);
  return ts_reduction_store(c->ir, p->red.acc, p->red.idx, out, p->red.n);
}

// The partial block: spatial iterators as they are, one for the factored loop, one for each other loop of the reduction; reduce
// iterators become expressions of those.
static const ts_stmt *partial_block(ts__ctx *c, const plan *p, const ts_buffer *const *rf) {
  const ts_block *b = ts__block(c, p->block);
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters + p->n + 1);
  ts_subst *to = ts_new_array(c->a, ts_subst, p->n + b->niters);
  int n = 0, nl = 0, nt = 0;
  const ts_var *r = NULL;
  for (int i = 0; i < b->niters; i++) {
    if (b->iters[i].kind != TS_ITER_SPATIAL) continue;
    iters[n] = b->iters[i];
    iters[n++].var = ts_var_new(c->ir, b->iters[i].var->name, TS_INDEX);
  }
  for (int i = 0; i < p->n; i++) {
    bool s, re;
    ts__feeds(c, p->block, p->loops[i], &s, &re);
    if (s) continue;
    const ts_stmt *l = ts__stmt(c, p->loops[i]);
    bool mine = p->loops[i] == p->loop;
    iters[n] = (ts_iter){.var = ts_var_new(c->ir, ts_arena_printf(c->a, "v%s", l->loop.var->name), TS_INDEX),
                         .kind = mine ? TS_ITER_SPATIAL : TS_ITER_REDUCE, .dom = {l->loop.min, l->loop.extent},
                         .value = ts_evar(c->ir, l->loop.var)};
    if (mine) r = iters[n].var;
    to[nl++] = (ts_subst){l->loop.var, ts_evar(c->ir, iters[n++].var)};
  }
  nt = nl;
  for (int i = 0, k = 0; i < b->niters; i++)
    to[nt++] = (ts_subst){b->iters[i].var, b->iters[i].kind == TS_ITER_SPATIAL ? ts_evar(c->ir, iters[k++].var) : ts_expr_subst(c->ir, b->iters[i].value, to, nl)};
  const ts_expr *identity[TS_MAX_ACCS];
  ts_reduction_identity(c->ir, &p->red, identity);
  swap w = {c, p, rf, r};
  const ts_stmt *init = ts_reduction_store(c->ir, p->red.acc, p->red.idx, identity, p->red.n);
  init = ts_stmt_subst(c->ir, ts_stmt_rewrite(c->ir, init, swap_store, swap_load, &w), to, nt);
  const ts_stmt *body = ts_stmt_rewrite(c->ir, partial_body(c, p, identity), swap_store, swap_load, &w);
  ts_block *nb = ts_new(c->a, ts_block);
  *nb = (ts_block){.name = ts__fresh_block_name(c, ts_arena_printf(c->a, "%s_rf", b->name)), .niters = n, .iters = iters,
                   .predicate = p->select ? p->spatial_pred : b->predicate, .notes = b->notes, .init = init,
                   .body = ts_stmt_subst(c->ir, body, to, nt)};
  return ts_block_stmt(c->ir, nb);
}

// The final reduction over the partial results, in new loops; the block keeps its id and name.
static const ts_stmt *final_nest(ts__ctx *c, const plan *p, const ts_buffer *const *rf) {
  const ts_block *b = ts__block(c, p->block);
  const ts_stmt *loop = ts__stmt(c, p->loop);
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters + 1);
  int n = 0;
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind == TS_ITER_SPATIAL) iters[n++] = b->iters[i];
  const ts_var *r = ts_var_new(c->ir, ts_arena_printf(c->a, "v%s", loop->loop.var->name), TS_INDEX);
  iters[n++] = (ts_iter){.var = r, .kind = TS_ITER_REDUCE, .dom = {loop->loop.min, loop->loop.extent}, .value = ts_evar(c->ir, loop->loop.var)};
  const ts_expr *x[TS_MAX_ACCS], *out[TS_MAX_ACCS];
  for (int i = 0; i < p->red.n; i++) x[i] = ts_load(c->ir, rf[i], partial_index(c, p->red.idx[i], p->red.acc[i]->ndim, r));
  ts_reduction_combine(c->ir, &p->red, p->red.load, x, out);
  ts_block *nb = ts_arena_dup(c->a, b, sizeof *b);
  nb->init = ts__init_of(c, b);
  nb->explicit_access = false;  // what was stated is about iterators that are no more
  nb->niters = n;
  nb->iters = iters;
  nb->predicate = p->spatial_pred;
  nb->body = ts_reduction_store(c->ir, p->red.acc, p->red.idx, out, p->red.n);
  const ts_stmt *s = ts__block_with(c, ts__stmt(c, p->block), nb);
  ts_var *v = ts_var_new(c->ir, loop->loop.var->name, TS_INDEX);
  s = ts_stmt_subst(c->ir, s, &(ts_subst){loop->loop.var, ts_evar(c->ir, v)}, 1);
  s = ts_for(c->ir, v, loop->loop.min, loop->loop.extent, TS_SERIAL, s);
  for (int i = p->n - 1; i >= 0; i--) {
    bool sp, re;
    ts__feeds(c, p->block, p->loops[i], &sp, &re);
    if (!sp) continue;
    const ts_stmt *l = ts__stmt(c, p->loops[i]);
    v = ts_var_new(c->ir, l->loop.var->name, TS_INDEX);
    s = ts_stmt_subst(c->ir, s, &(ts_subst){l->loop.var, ts_evar(c->ir, v)}, 1);
    s = ts_for(c->ir, v, l->loop.min, l->loop.extent, TS_SERIAL, s);
  }
  return s;
}

bool ts__apply_rfactor(ts__ctx *c) {
  const plan *p = c->plan;
  const ts_buffer *rf[TS_MAX_ACCS];
  for (int i = 0; i < p->red.n; i++) rf[i] = partial_buffer(c, p, p->red.acc[i]);
  const ts_stmt *part = partial_block(c, p, rf), *last = final_nest(c, p, rf);
  const ts_func *f = ts__replace(c, p->block, part);
  f = ts__beside(c, f, ts__stmt(c, p->first)->id, last, true);
  for (int i = 0; i < p->red.n; i++) f = ts__alloc_add(c, f, ts__stmt(c, c->t->node[p->block].scope)->id, rf[i]);
  c->out = ts__reinfer(c, f);
  ts__result(c, 'b', part->id, 0);
  return ts__kinds_hold(c, &c->out, part->id, false);
}
