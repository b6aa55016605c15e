// reverse_compute_inline b : P[vi, vj] = A[vi, vj] ; C[vj, vi] = P[vi, vj] + 1  ->  C[vj, vi] = A[vi, vj] + 1
// b has one producer, a complete block, and is its only consumer; each element of P is read by exactly one instance of b.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  int producer;
  const ts_buffer *buf;
  const ts_stmt *from, *store;     // the producer's store and b's
  const ts_expr *const *idx;       // at which b loads P
  bool same;                       // all loads of P have these indices
} plan;

static const ts_expr *find_load(void *arg, const ts_expr *e) {
  plan *p = arg;
  if (e->kind != TS_E_LOAD || e->buf != p->buf) return e;
  for (int d = 0; p->idx && d < p->buf->ndim; d++) p->same &= p->idx[d] == e->arg[d];
  p->idx = e->arg;
  return e;
}

static bool producer_find(ts__ctx *c, plan *p) {
  int me = c->arg[0].node;
  const ts_block *b = ts__block(c, me);
  p->producer = -1;
  for (int i = 0; i < b->nreads; i++) {
    int w = ts__toucher(c, 0, c->t->n, me, b->reads[i].buf, true, false);
    if (w < 0) continue;
    if (p->producer >= 0) {
      ts__refuse(c, TS_R_body_shape, 0, "block {0} reads what several blocks write");
      ts__fact_node(c, me);
      return false;
    }
    p->producer = w;
    p->buf = b->reads[i].buf;
  }
  if (p->producer < 0 || ts__is_param(c->f, p->buf) || p->producer > me) {
    ts__refuse(c, TS_R_producer_outside, 0, "no block before {0} makes an intermediate that it reads");
    ts__fact_node(c, me);
    return false;
  }
  int other = -1;
  for (int i = 1; i < c->t->n && other < 0; i++)
    if (i != me && ts__is_block(c, i) && !ts__under(c->t, me, i) && ts__reads(ts__block(c, i), p->buf)) other = i;
  if (other < 0) return true;
  ts__refuse(c, TS_R_opaque_access, 0, "block {0} reads {1} as well");
  ts__fact_node(c, other);
  ts__fact_s(c, p->buf->name);
  return false;
}

// b's iterators as the dimensions of P, one to one, and with the domain of what the producer writes there.
static bool one_to_one(ts__ctx *c, const plan *p, const int *at, const int *pat) {
  const ts_block *b = ts__block(c, c->arg[0].node), *pb = ts__block(c, p->producer);
  int used = 0;
  bool ok = true;
  for (int d = 0; ok && d < p->buf->ndim; d++) {
    used += at[d] >= 0;
    ok = (at[d] >= 0) == (pat[d] >= 0);
    if (!ok || at[d] < 0) continue;
    ts_range x = b->iters[at[d]].dom, y = pb->iters[pat[d]].dom;
    ok = ts_prove_eq(ts__an(c), x.min, y.min) == TS_YES && ts_prove_eq(ts__an(c), x.extent, y.extent) == TS_YES;
  }
  if (ok && used == b->niters) return true;
  ts__refuse(c, TS_R_not_invertible, 0, "block {0} does not read each element of {1} in exactly one instance");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, p->buf->name);
  return false;
}

static bool path_free(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node, first = ts__top_child(c, c->t->node[me].scope, p->producer);
  const ts_block *b = ts__block(c, me);
  for (int i = 0; i < b->nwrites; i++) {
    int w = ts__toucher(c, first, me, me, b->writes[i].buf, true, true);
    if (w < 0) w = ts__later_use(c, p->producer, me, b->writes[i].buf, true);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 0, w < me ? "block {0} uses {1} before block {2}" : "block {0} uses {1} in the nest of block {2}");
    ts__fact_node(c, w);
    ts__fact_s(c, b->writes[i].buf->name);
    ts__fact_node(c, me);
    return false;
  }
  int end = ts__nest_end(c, p->producer, me);
  for (int i = 0; i < b->nreads; i++)
    if (b->reads[i].buf != p->buf && ts__toucher(c, first, end, me, b->reads[i].buf, true, false) >= 0)
      return ts__no_writer_between(c, 0, first, end, b, me);
  return true;
}

bool ts__check_reverse_compute_inline(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->c = c;
  p->same = true;
  int me = c->arg[0].node;
  TS_TRY(ts__complete(c, 0, me));
  TS_TRY(producer_find(c, p));
  TS_TRY(ts__complete(c, 0, p->producer) && ts__sole_writer(c, 0, p->producer, true));
  if (c->t->node[p->producer].scope != c->t->node[me].scope) {
    ts__refuse(c, TS_R_not_same_scope, 0, "blocks {0} and {1} are not in the same scope");
    ts__fact_node(c, p->producer);
    ts__fact_node(c, me);
    return false;
  }
  if (ts__block(c, p->producer)->nwrites != 1 || ts__block(c, me)->explicit_access || ts__block(c, p->producer)->explicit_access) {
    ts__refuse(c, TS_R_body_shape, 0, "blocks {0} and {1} cannot be joined into one store");
    ts__fact_node(c, p->producer);
    ts__fact_node(c, me);
    return false;
  }
  p->from = ts__single_store(c, 0, p->producer);
  p->store = p->from ? ts__single_store(c, 0, me) : NULL;
  if (!p->store) return false;
  ts_expr_rewrite(c->ir, p->store->store.value, find_load, p);
  int *at = ts_new_array(c->a, int, p->buf->ndim), *pat = ts_new_array(c->a, int, p->buf->ndim);
  bool plain = p->idx && p->same && ts__plain_indices(ts__block(c, me), p->idx, p->buf, at) &&
               ts__plain_indices(ts__block(c, p->producer), p->from->store.idx, p->buf, pat);
  if (!plain) {
    ts__refuse(c, TS_R_not_invertible, 0, "{1} is not written and read at distinct iterators of blocks {0} and {2}");
    ts__fact_node(c, p->producer);
    ts__fact_s(c, p->buf->name);
    ts__fact_node(c, me);
    return false;
  }
  TS_TRY(one_to_one(c, p, at, pat));
  bool mine = ts__whole_domain(c, me);
  if (!mine || (ts__reads_chosen(ts__block(c, me)) && !ts__whole_domain(c, p->producer))) {
    ts__refuse(c, TS_R_not_covered, 0, "block {0} does not provably run over the whole of its domain");
    ts__fact_node(c, mine ? p->producer : me);
    return false;
  }
  return path_free(c, p);
}

static const ts_expr *loaded(void *arg, const ts_expr *e) {
  const plan *p = arg;
  return e->kind == TS_E_LOAD && e->buf == p->buf ? p->from->store.value : e;
}

bool ts__apply_reverse_compute_inline(ts__ctx *c) {
  plan *p = c->plan;
  int me = c->arg[0].node;
  const ts_block *b = ts__block(c, me), *pb = ts__block(c, p->producer);
  ts_subst *m = ts_new_array(c->a, ts_subst, b->niters);
  int n = 0;
  for (int d = 0; d < p->buf->ndim; d++)
    if (p->idx[d]->kind == TS_E_VAR) m[n++] = (ts_subst){p->idx[d]->var, p->from->store.idx[d]};
  const ts_stmt *store = ts_stmt_subst(c->ir, p->store, m, n);
  const ts_expr *value = ts_expr_rewrite(c->ir, store->store.value, loaded, p);
  ts_block *nb = ts_arena_dup(c->a, pb, sizeof *nb);
  nb->body = ts_store(c->ir, store->store.buf, store->store.idx, value);
  ts__edit e[2] = {{p->producer, ts__block_with(c, ts__stmt(c, p->producer), nb)}, {me, NULL}};
  const ts_func *f = ts__alloc_drop(c, ts__replace_all(c, e, 2), p->buf);
  c->out = ts__reinfer(c, f);
  return true;
}
