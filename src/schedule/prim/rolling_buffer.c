// rolling_buffer b i : for i in 0..16 { for ax in 0..3 { b: t[v] = A[v], v = i + ax } ; C[i] = t[i] + t[i + 1] + t[i +
// 2] }
//   -> for i in 0..16 { for ax in 0..3 { b: t[v % 3] = A[v] } where i == 0 || 2 <= ax ; C[i] = t[i % 3] + t[(i + 1) %
//   3] + .. }
// A producer that every iteration of the loop computes anew for a window which moves on by less than its length: what
// the last iteration left is kept, in a circular buffer as long as the window. Nothing may access the buffer outside
// the window.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_buffer *from, *to;
  int dim;                // of the buffer, that rolls
  int64_t step, length;   // the window moves by step
  const ts_expr *start;   // of the window
  const ts_stmt *window;  // the loop over it
  const ts_func *out;
} plan;

static bool no_window(ts__ctx *c, const char *fact) {
  ts__refuse(c, TS_R_not_separable, 1, fact);
  ts__fact_node(c, c->arg[0].node);
  ts__fact_node(c, c->arg[1].node);
  return false;
}

// The one iterator that moves with the loop: step * loop + window + rest, where nothing else moves.
static bool window_find(ts__ctx *c, plan *p, const int *at) {
  int me = c->arg[0].node, loop = c->arg[1].node, all[TS__MAX_DEPTH], moving = -1;
  const ts_block *b = ts__block(c, me);
  const ts_var *l = ts__stmt(c, loop)->loop.var;
  ts_analyzer *an = ts__an(c);
  for (int i = 0; i < b->niters; i++) {
    if (!ts_expr_uses_var(b->iters[i].value, l)) continue;
    if (moving >= 0) return no_window(c, "several iterators of block {0} move with loop {1}");
    moving = i;
  }
  p->dim = -1;
  for (int d = 0; d < p->from->ndim && moving >= 0; d++)
    if (at[d] == moving) p->dim = d;
  const ts_expr *rest, *fixed = NULL;
  if (p->dim < 0 || !ts_linear(an, b->iters[moving].value, l, &p->step, &rest) || p->step < 1)
    return no_window(c, "what block {0} writes does not move on with loop {1}");
  int n = ts__loops_of(c, me, all);
  for (int i = 0; i < n; i++) {
    const ts_stmt *s = ts__stmt(c, all[i]);
    int64_t one;
    if (!ts__under(c->t, all[i], loop) || all[i] == loop) continue;
    if (ts_expr_uses_var(s->loop.extent, l) || ts_expr_uses_var(s->loop.min, l))
      return no_window(c, "ranges of the loops of block {0} depend on loop {1}");
    if (!ts_expr_uses_var(rest, s->loop.var)) continue;
    if (p->window || !ts_linear(an, rest, s->loop.var, &one, &fixed) || one != 1 ||
        !ts_is_int(s->loop.extent, &p->length))
      return no_window(c, "the window that block {0} writes in loop {1} is not one loop of constant length");
    p->window = s;
  }
  if (!p->window || p->step >= p->length)
    return no_window(c, "what block {0} writes in one iteration of loop {1} does not overlap the next");
  for (int i = 0; i < b->niters; i++)
    if (i != moving && ts_expr_uses_var(b->iters[i].value, p->window->loop.var))
      return no_window(c, "several iterators of block {0} run along its window in loop {1}");
  p->start = ts_simplify(an, ts_add(c->ir, ts_add(c->ir, fixed, p->window->loop.min),
                                    ts_mul(c->ir, ts_int(c->ir, p->step), ts_evar(c->ir, l))));
  return true;
}

// An instance is skipped when the last iteration ran the same one: its predicate must have been the same.
static bool predicate_moves(ts__ctx *c, const plan *p) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  const ts_var *l = ts__stmt(c, c->arg[1].node)->loop.var, *w = p->window->loop.var;
  if (!b->predicate) return true;
  ts_subst m[2] = {{l, ts_sub(c->ir, ts_evar(c->ir, l), ts_int(c->ir, 1))},
                   {w, ts_add(c->ir, ts_evar(c->ir, w), ts_int(c->ir, p->step))}};
  ts_analyzer *an = ts_analyzer_new(c->ir);  // without facts: the two must be the same expression
  ts_bind_dims(an, c->f);
  bool same = ts_simplify(an, ts_expr_subst(c->ir, b->predicate, m, 2)) == ts_simplify(an, b->predicate);
  ts_analyzer_free(an);
  return same || no_window(c, "the predicate of block {0} does not move on with its window in loop {1}");
}

// Every access is below the loop and, but for the block's own, inside the window.
static bool accesses_inside(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node, loop = c->arg[1].node;
  for (int i = 1; i < c->t->n; i++) {
    if (!ts__is_block(c, i) || i == me || ts__under(c->t, loop, i)) continue;
    const ts_block *b = ts__block(c, i);
    if (!ts__reads(b, p->from) && !ts__writes(b, p->from)) continue;
    if (ts__under(c->t, i, loop) && !b->intrin && !b->explicit_access && i > me) continue;
    ts__refuse(c, i < me ? TS_R_carried_dependence : TS_R_consumer_outside, 1,
               "block {0} accesses {1} outside loop {2}, or in a way that cannot be rewritten");
    ts__fact_node(c, i);
    ts__fact_s(c, p->from->name);
    ts__fact_node(c, loop);
    return false;
  }
  ts_region r;
  if (!ts_region_of(ts__an(c), ts__stmt(c, loop)->loop.body, p->from, false, NULL, 0, &r)) return true;
  const ts_expr *end = ts_add(c->ir, p->start, ts_int(c->ir, p->length)),
                *last = ts_add(c->ir, r.dim[p->dim].min, r.dim[p->dim].extent);
  if (ts_prove_le(ts__an(c), p->start, r.dim[p->dim].min) == TS_YES && ts_prove_le(ts__an(c), last, end) == TS_YES)
    return true;
  ts__refuse(c, TS_R_not_covered, 1, "what loop {1} reads of {0} is not provably inside what one iteration computes");
  ts__fact_s(c, p->from->name);
  ts__fact_node(c, loop);
  return false;
}

static bool inputs_stay(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node, loop = c->arg[1].node;
  const ts_block *b = ts__block(c, me);
  for (int i = 0; i < b->nreads; i++) {
    int w = ts__toucher(c, loop, c->t->node[loop].end, me, b->reads[i].buf, true, false);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 1,
               "block {0} changes {1}, which block {2} reads, between iterations of loop {3}");
    ts__fact_node(c, w);
    ts__fact_s(c, b->reads[i].buf->name);
    ts__fact_node(c, me);
    ts__fact_node(c, loop);
    return false;
  }
  int owner = ts__owner(c, p->from);
  if (!ts__under(c->t, owner, loop)) return true;
  return ts__refuse(c, TS_R_not_proved, 1, "the buffer belongs to a single iteration of the loop");
}

static void folded(const plan *p, const ts_expr *const *idx, const ts_expr **out) {
  memcpy(out, idx, sizeof *out * (size_t)p->from->ndim);
  out[p->dim] =
      ts_simplify(ts__an(p->c), ts_bin(p->c->ir, (ts_ekind)TS_E_FLOORMOD, idx[p->dim], ts_int(p->c->ir, p->length)));
}
static const ts_expr *fold_load(void *arg, const ts_expr *e) {
  const plan *p = arg;
  const ts_expr *idx[8];
  if (e->kind != TS_E_LOAD || e->buf != p->from) return e;
  folded(p, e->arg, idx);
  return ts_load(p->c->ir, p->to, idx);
}
static const ts_stmt *fold_store(void *arg, const ts_stmt *s) {
  const plan *p = arg;
  const ts_expr *idx[8];
  if (s->kind != TS_S_STORE || s->store.buf != p->from) return s;
  folded(p, s->store.idx, idx);
  return ts_store(p->c->ir, p->to, idx, s->store.value);
}

static void build(ts__ctx *c, plan *p) {
  int me = c->arg[0].node;
  const ts_stmt *loop = ts__stmt(c, c->arg[1].node);
  ts_buffer *to = ts_arena_dup(c->a, p->from, sizeof *to);
  const ts_expr **shape = ts_arena_dup(c->a, p->from->shape, sizeof *shape * (size_t)p->from->ndim);
  shape[p->dim] = ts_int(c->ir, p->length);
  to->id = ts_ir_next_id(c->ir);
  to->shape = shape;
  to->stride = NULL;
  if (to->skew.factor) ts_buffer_skew(c->ir, to);
  p->to = to;
  const ts_expr *first = ts_bin(c->ir, (ts_ekind)TS_E_EQ, ts_evar(c->ir, loop->loop.var), loop->loop.min);
  const ts_expr *from = ts_simplify(ts__an(c), ts_add(c->ir, p->window->loop.min, ts_int(c->ir, p->length - p->step)));
  const ts_expr *fresh = ts_bin(c->ir, (ts_ekind)TS_E_LE, from, ts_evar(c->ir, p->window->loop.var));
  ts_block *b = ts_arena_dup(c->a, ts__block(c, me), sizeof *b);
  b->predicate = ts__and(c->ir, b->predicate, ts_bin(c->ir, (ts_ekind)TS_E_OR, first, fresh));
  const ts_func *f = ts__replace(c, me, ts__block_with(c, ts__stmt(c, me), b));
  const ts_stmt *body = ts_stmt_rewrite(c->ir, f->body, fold_store, fold_load, p);
  p->out = ts__reinfer(c, ts__with_body(c, ts__buffer_swap(c, body, p->from, p->to)));
}

bool ts__check_rolling_buffer(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int me = c->arg[0].node, loop = c->arg[1].node;
  c->plan = p;
  p->c = c;
  if (!ts__under(c->t, me, loop) || c->t->node[loop].scope != c->t->node[me].scope) {
    ts__refuse(c, TS_R_not_ancestor, 1, "loop {1} does not enclose block {0}");
    ts__fact_node(c, me);
    ts__fact_node(c, loop);
    return false;
  }
  if (ts__stmt(c, loop)->loop.kind != TS_SERIAL)
    return ts__refuse(c, TS_R_loop_not_serial, 1, "iterations of the loop must follow each other");
  TS_TRY(ts__complete(c, 0, me) && ts__sole_writer(c, 0, me, true));
  p->from = ts__intermediate_out(c, 0, me);
  const ts_stmt *store = p->from ? ts__single_store(c, 0, me) : NULL;
  if (!store) return false;
  int *at = ts_new_array(c->a, int, p->from->ndim);
  bool plain = !ts__block(c, me)->explicit_access && ts__plain_indices(ts__block(c, me), store->store.idx, p->from, at);
  for (int i = 0; plain && i < ts__block(c, me)->niters;
       i++) {  // an iterator that is no index would leave its last value only
    bool indexes = ts_prove_eq(ts__an(c), ts__block(c, me)->iters[i].dom.extent, ts_int(c->ir, 1)) == TS_YES;
    for (int d = 0; d < p->from->ndim; d++) indexes |= at[d] == i;
    plain = indexes;
  }
  if (!plain) {
    ts__refuse(c, TS_R_not_invertible, 0, "block {0} does not store at distinct iterators");
    ts__fact_node(c, me);
    return false;
  }
  ts__enter_in(c, loop);
  TS_TRY(window_find(c, p, at) && predicate_moves(c, p) && accesses_inside(c, p) && inputs_stay(c, p));
  build(c, p);
  return ts__kinds_hold(c, &p->out, ts__stmt(c, me)->id, false);
}

bool ts__apply_rolling_buffer(ts__ctx *c) {
  c->out = ((plan *)c->plan)->out;
  return true;
}
