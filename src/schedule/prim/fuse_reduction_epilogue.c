// fuse_reduction_epilogue b e : b: init T[vi] = 0 ; T[vi] += A[vi, vk] ; e: C[vi] = T[vi] + B[vi]
//   -> b: init C[vi] = B[vi] ; C[vi] += A[vi, vk]
// What the reduction started from, if that is not the identity, stays: init C[vi] = 1 + B[vi].
// Only an epilogue that combines the result once more by the reduction's own operation may move into the
// initialisation: a sum takes + B, a maximum takes max(.., B). Anything else (a clip of a sum) would act on partial
// results, and is refused.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_buffer *buf;  // the result of the reduction
  const ts_stmt *update, *out;
  ts_reduction red;
  const ts_expr *extra;      // what the epilogue combines it with
  const ts_expr *const *at;  // indices of the load in the epilogue
  const ts_func *made;
} plan;

static bool find_load(void *arg, const ts_expr *e) {
  plan *p = arg;
  if (e->kind == TS_E_LOAD && e->buf == p->buf) p->at = e->arg;
  return !p->at;
}

// The epilogue is load op extra, where extra does not load the result.
static bool epilogue_match(ts__ctx *c, plan *p) {
  const ts_expr *e = p->out->store.value;
  ts_expr_visit(e, find_load, p);
  if (p->at) p->extra = ts_reducer_rest(c->ir, p->red.part[0].reducer, e, ts_load(c->ir, p->buf, p->at));
  if (p->extra) return true;
  ts__refuse(c, TS_R_unknown_reducer, 1, "block {1} does not combine the result of {0} once more by {2}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_node(c, c->arg[1].node);
  ts__fact_s(c, ts_reduction_name(c->a, &p->red));
  ts__hint(c, "reverse_compute_at applies any epilogue once the reduction is done");
  return false;
}

static bool reduction_check(ts__ctx *c, plan *p) {
  int r = c->arg[0].node;
  TS_TRY(ts__reduction(c, 0, r, &p->red) && ts__sole_writer(c, 0, r, true));
  p->buf = ts__intermediate_out(c, 0, r);
  if (!p->buf) return false;
  p->update = ts__single_store(c, 0, r);
  if (!p->update) return false;
  if (!ts__block(c, r)->explicit_access) return true;
  ts__refuse(c, TS_R_body_shape, 0, "the regions of block {0} are stated by hand");
  ts__fact_node(c, r);
  return false;
}

static bool single(ts__ctx *c, const ts_block *b, int i) {
  return i >= 0 && ts_prove_eq(ts__an(c), b->iters[i].dom.extent, ts_int(c->ir, 1)) == TS_YES;
}

// The one value of an index, by an iterator of one value or a constant.
static const ts_expr *only_value(ts__ctx *c, const ts_block *b, int i, const ts_expr *e) {
  return single(c, b, i) ? b->iters[i].dom.min : i < 0 ? e : NULL;
}

// Each element of the result is read by one instance of the epilogue, and by nothing else.
static bool one_to_one(ts__ctx *c, const plan *p, int *at, int *rat) {
  int r = c->arg[0].node, e = c->arg[1].node, used = 0;
  const ts_block *rb = ts__block(c, r), *eb = ts__block(c, e);
  bool ok = ts__plain_indices(eb, p->at, p->buf, at) && ts__plain_indices(rb, p->update->store.idx, p->buf, rat);
  for (int d = 0; ok && d < p->buf->ndim; d++) {
    const ts_expr *one = only_value(c, eb, at[d], p->at[d]), *other = only_value(c, rb, rat[d], p->update->store.idx[d]);
    used += at[d] >= 0;
    ok = !one == !other && (!one || ts_prove_eq(ts__an(c), one, other) == TS_YES);
    if (!ok || one) continue;
    ts_range x = eb->iters[at[d]].dom, y = rb->iters[rat[d]].dom;
    ok = ts_prove_eq(ts__an(c), x.min, y.min) == TS_YES && ts_prove_eq(ts__an(c), x.extent, y.extent) == TS_YES;
  }
  for (int i = 0; ok && i < eb->niters; i++) {
    bool index = false;
    for (int d = 0; d < p->buf->ndim; d++) index |= at[d] == i;
    if (!index) used += single(c, eb, i);
  }
  if (ok && used == eb->niters && ts__whole_domain(c, e)) return true;
  ts__refuse(c, TS_R_not_invertible, 1, "block {0} does not read each element of {1} in exactly one instance");
  ts__fact_node(c, e);
  ts__fact_s(c, p->buf->name);
  return false;
}

// The epilogue's inputs are read earlier, at the initialisation, and its output is written from there on.
static bool path_free(ts__ctx *c, const plan *p) {
  int r = c->arg[0].node, e = c->arg[1].node, first = ts__top_child(c, c->t->node[e].scope, r);
  const ts_block *eb = ts__block(c, e);
  int other = -1;
  const ts_buffer *buf = p->buf;
  for (int i = 1; i < c->t->n && other < 0; i++)
    if (i != e && i != r && ts__is_block(c, i) && !ts__under(c->t, e, i) && !ts__under(c->t, r, i) &&
        ts__reads(ts__block(c, i), buf))
      other = i;
  for (int k = 0; k < eb->nreads + eb->nwrites && other < 0; k++) {
    bool write = k >= eb->nreads;
    buf = write ? eb->writes[k - eb->nreads].buf : eb->reads[k].buf;
    if (buf == p->buf) continue;
    other = ts__toucher(c, first, e, e, buf, true, write);
    if (other < 0) other = ts__later_use(c, r, e, buf, write);
  }
  if (other < 0) return true;
  ts__refuse(c, TS_R_carried_dependence, 1, "block {0} uses {1} before block {2}, or in its nest");
  ts__fact_node(c, other);
  ts__fact_s(c, buf->name);
  ts__fact_node(c, e);
  return false;
}

static void build(ts__ctx *c, plan *p) {
  int r = c->arg[0].node, e = c->arg[1].node;
  const ts_block *eb = ts__block(c, e);
  ts_subst *m = ts_new_array(c->a, ts_subst, p->buf->ndim + eb->niters);
  int n = 0;
  for (int i = 0; i < eb->niters; i++)
    if (single(c, eb, i)) m[n++] = (ts_subst){eb->iters[i].var, eb->iters[i].dom.min};
  for (int d = 0; d < p->buf->ndim; d++)
    if (p->at[d]->kind == TS_E_VAR) m[n++] = (ts_subst){p->at[d]->var, p->update->store.idx[d]};
  const ts_stmt *out = ts_stmt_subst(c->ir, p->out, m, n);
  const ts_expr *extra = ts_expr_subst(c->ir, p->extra, m, n);
  ts_block *b = ts_arena_dup(c->a, ts__block(c, r), sizeof *b);
  const ts_expr *now = ts_load(c->ir, out->store.buf, out->store.idx);
  const ts_expr *identity, *start = extra, *next;
  ts_reduction_identity(c->ir, &p->red, &identity);
  if (p->red.init[0] != identity) ts_reduction_combine(c->ir, &p->red, &p->red.init[0], &extra, &start);
  ts_reduction_combine(c->ir, &p->red, &now, &p->red.value[0], &next);
  b->init = ts_store(c->ir, out->store.buf, out->store.idx, start);
  b->body = ts_store(c->ir, out->store.buf, out->store.idx, next);
  ts__edit edit[2] = {{r, ts__block_with(c, ts__stmt(c, r), b)}, {e, NULL}};
  p->made = ts__reinfer(c, ts__alloc_drop(c, ts__replace_all(c, edit, 2), p->buf));
}

bool ts__check_fuse_reduction_epilogue(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int r = c->arg[0].node, e = c->arg[1].node;
  c->plan = p;
  p->c = c;
  if (c->t->node[r].scope != c->t->node[e].scope || c->t->node[e].scope < 0) {
    ts__refuse(c, TS_R_not_same_scope, 1, "blocks {0} and {1} are not in the same scope");
    ts__fact_node(c, r);
    ts__fact_node(c, e);
    return false;
  }
  TS_TRY(reduction_check(c, p));
  if (e < r || !ts__reads(ts__block(c, e), p->buf)) {
    ts__refuse(c, TS_R_no_consumers, 1, "block {1} does not use the result of {0} after it");
    ts__fact_node(c, r);
    ts__fact_node(c, e);
    return false;
  }
  TS_TRY(ts__complete(c, 1, e) && ts__sole_writer(c, 1, e, true));
  p->out = ts__single_store(c, 1, e);
  if (!p->out) return false;
  if (p->out->store.buf->code != p->buf->code || ts__block(c, e)->explicit_access) {
    ts__refuse(c, TS_R_body_shape, 1, "{0} cannot stand for {1}: another type, or regions stated by hand");
    ts__fact_s(c, p->buf->name);
    ts__fact_s(c, p->out->store.buf->name);
    return false;
  }
  TS_TRY(epilogue_match(c, p));
  int *at = ts_new_array(c->a, int, p->buf->ndim), *rat = ts_new_array(c->a, int, p->buf->ndim);
  if (!one_to_one(c, p, at, rat) || !path_free(c, p)) return false;
  build(c, p);
  return ts__kinds_hold(c, &p->made, ts__stmt(c, r)->id, false);
}

bool ts__apply_fuse_reduction_epilogue(ts__ctx *c) {
  c->out = ((plan *)c->plan)->made;
  return true;
}
