// compute_inline b : B[vi] = A[vi] + 1 ; C[vi] = B[vi] * 2  ->  C[vi] = (A[vi] + 1) * 2
// b must be one store of distinct iterators, and nothing may change what it reads before the last use of what it writes.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_buffer *buf;
  const ts_stmt *store;
  const ts_block *block;
  int *at;               // dimension -> iterator
} plan;

// What the block reads is still there where its value is used.
static bool inputs_last(ts__ctx *c, const plan *p, int reader) {
  int me = c->arg[0].node;
  for (int i = 0; i < p->block->nreads; i++) {
    int w = ts__overwriter(c, me, reader, p->block->reads[i].buf);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 0, "block {0} writes {1} anew before the value of block {2} is used");
    ts__fact_node(c, w);
    ts__fact_s(c, p->block->reads[i].buf->name);
    ts__fact_node(c, me);
    return false;
  }
  return true;
}

static bool consumers_check(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node, last = -1, last_reader = -1;
  for (int i = 0; i < c->t->n; i++) {
    if (i == me || !ts__is_block(c, i) || ts__under(c->t, me, i) || !ts__reads(ts__block(c, i), p->buf)) continue;
    const ts_block *b = ts__block(c, i);
    if (!ts__under(c->t, i, c->t->node[me].scope)) {
      ts__refuse(c, TS_R_not_same_scope, 0, "block {0} reads {1} outside the scope of block {2}");
      ts__fact_node(c, i);
      ts__fact_s(c, p->buf->name);
      ts__fact_node(c, me);
      return false;
    }
    if (i < me || b->intrin || b->explicit_access) {
      ts__refuse(c, TS_R_opaque_access, 0, i < me ? "block {0} reads {1} before it is computed" : "block {0} reads {1} in a way that cannot be rewritten");
      ts__fact_node(c, i);
      ts__fact_s(c, p->buf->name);
      return false;
    }
    last_reader = i;
    last = TS_MAX(last, ts__nest_end(c, me, i));  // instances of what comes later in its nest count as well
  }
  if (last >= 0) return ts__no_writer_between(c, 0, c->t->node[me].end, last, p->block, me) && inputs_last(c, p, last_reader);
  ts__refuse(c, TS_R_no_consumers, 0, "nothing reads {0}");
  ts__fact_s(c, p->buf->name);
  return false;
}

bool ts__check_compute_inline(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  int me = c->arg[0].node;
  *p = (plan){.c = c, .block = ts__block(c, me)};
  TS_TRY(ts__complete(c, 0, me) && ts__sole_writer(c, 0, me, true));
  p->buf = ts__intermediate_out(c, 0, me);
  if (!p->buf) return false;
  p->store = ts__single_store(c, 0, me);
  if (!p->store) return false;
  p->at = ts_new_array(c->a, int, p->buf->ndim);
  bool plain = ts__plain_indices(p->block, p->store->store.idx, p->buf, p->at);
  for (int i = 0; plain && i < p->block->niters; i++) {  // an iterator that is no index must have one value
    bool indexes = false;
    for (int d = 0; d < p->buf->ndim; d++) indexes |= p->at[d] == i;
    if (!indexes) plain = !ts_expr_uses_var(p->store->store.value, p->block->iters[i].var);
  }
  if (!plain) {
    ts__refuse(c, TS_R_not_invertible, 0, "block {0} does not store at distinct iterators");
    ts__fact_node(c, me);
    return false;
  }
  return consumers_check(c, p);
}

static const ts_expr *inlined(void *arg, const ts_expr *e) {
  const plan *p = arg;
  if (e->kind != TS_E_LOAD || e->buf != p->buf) return e;
  ts_subst *m = ts_new_array(p->c->a, ts_subst, p->buf->ndim);
  int n = 0;
  for (int d = 0; d < p->buf->ndim; d++)
    if (p->at[d] >= 0) m[n++] = (ts_subst){p->block->iters[p->at[d]].var, e->arg[d]};
  return ts_expr_subst(p->c->ir, p->store->store.value, m, n);
}

bool ts__apply_compute_inline(ts__ctx *c) {
  plan *p = c->plan;
  const ts_func *f = ts__replace(c, c->arg[0].node, NULL);
  f = ts__alloc_drop(c, f, p->buf);
  f = ts__with_body(c, ts_stmt_rewrite(c->ir, f->body, NULL, inlined, p));
  c->out = ts__reinfer(c, f);
  return true;
}
