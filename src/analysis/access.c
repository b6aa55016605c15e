// All buffer accesses of a subtree, in terms of its loop variables, with the conditions around them.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

typedef struct walker {
  ts_analyzer *a;
  ts_arena *arena;
  TS_VEC(ts_subst) map;             // iterators and lets
  TS_VEC(const ts_buffer *) inner;  // allocated in the subtree
  ts__buffers only;                 // other buffers are passed over, when this has a list
  const ts__nest *nest;
  const ts__guard *guard;
  const ts_block *block;
  const ts_expr **value;
  const ts_stmt *store;
  bool in_init;
  ts__access_fn visit;
  void *arg;
} walker;

static void walk(walker *w, const ts_stmt *s);

static const ts_expr *plain(walker *w, const ts_expr *e) {
  return w->map.n ? ts_expr_subst(w->a->ir, e, w->map.p, (int)w->map.n) : e;
}

static void report(walker *w, const ts_buffer *b, bool write, const ts_expr *const *idx, const ts_expr *const *span) {
  if (w->only.p && !ts__among(w->only, b)) return;
  for (size_t i = 0; i < w->inner.n; i++)
    if (w->inner.p[i] == b) return;
  const ts_expr **e = ts_new_array(w->arena, const ts_expr *, b->ndim ? b->ndim : 1);
  for (int i = 0; i < b->ndim; i++) e[i] = plain(w, idx[i]);
  ts__access x = {b, write, w->in_init, e, span, w->block, w->value, w->store, w->nest, w->guard};
  w->visit(w->arg, &x);
}

// Extents 1 except for `lanes` elements along the last dimension; NULL for one element.
static const ts_expr *const *lane_span(walker *w, const ts_buffer *b, int lanes) {
  if (lanes <= 1 || !b->ndim) return NULL;
  const ts_expr **e = ts_new_array(w->arena, const ts_expr *, b->ndim);
  for (int i = 0; i < b->ndim; i++) e[i] = ts_int(w->a->ir, i + 1 == b->ndim ? lanes : 1);
  return e;
}

static const ts__guard *guarded(walker *w, const ts_expr *cond) {
  ts__guard *g = ts_new(w->arena, ts__guard);
  *g = (ts__guard){plain(w, cond), w->guard};
  return g;
}

// Loads of e; the sides of a select happen under its condition.
static void loads(walker *w, const ts_expr *e) {
  if (!e->loads) return;
  if (e->kind == TS_E_SELECT && e->arg[0]->type.lanes == 1) {
    const ts__guard *outer = w->guard;
    loads(w, e->arg[0]);
    for (int i = 1; i <= 2; i++) {
      size_t mark = ts_analyzer_push(w->a);
      w->guard = guarded(w, i == 1 ? e->arg[0] : ts_not(w->a->ir, e->arg[0]));
      ts_assume(w->a, w->guard->cond);
      loads(w, e->arg[i]);
      w->guard = outer;
      ts_analyzer_pop(w->a, mark);
    }
    return;
  }
  if (e->kind == TS_E_LOAD) report(w, e->buf, false, e->arg, lane_span(w, e->buf, e->type.lanes));
  for (uint32_t i = 0; i < e->nargs; i++) loads(w, e->arg[i]);
}

static void walk_loop(walker *w, const ts_stmt *s) {
  const ts__nest *outer = w->nest;
  size_t mark = ts_analyzer_push(w->a);
  ts_stmt *loop = ts_arena_dup(w->arena, s, sizeof *s);
  loads(w, s->loop.min);
  loads(w, s->loop.extent);
  loop->loop.min = plain(w, s->loop.min);
  loop->loop.extent = plain(w, s->loop.extent);
  ts__nest *n = ts_new(w->arena, ts__nest);
  *n = (ts__nest){loop, outer};
  w->nest = n;
  ts_bind_stmt(w->a, loop);
  walk(w, s->loop.body);
  w->nest = outer;
  ts_analyzer_pop(w->a, mark);
}

static void declared(walker *w, const ts_region *r, int n, bool write) {
  for (int i = 0; i < n; i++) {
    int nd = r[i].buf->ndim;
    const ts_expr **idx = ts_new_array(w->arena, const ts_expr *, nd ? nd : 1),
                  **span = ts_new_array(w->arena, const ts_expr *, nd ? nd : 1);
    for (int d = 0; d < nd; d++) {
      idx[d] = r[i].dim[d].min;
      span[d] = plain(w, r[i].dim[d].extent);
    }
    report(w, r[i].buf, write, idx, span);
  }
}

static void walk_block(walker *w, const ts_stmt *s) {
  const ts_block *b = s->block, *outer_block = w->block;
  const ts__guard *outer = w->guard;
  size_t mark = ts_analyzer_push(w->a), nmap = w->map.n;
  bool outer_init = w->in_init;
  if (b->predicate) {
    loads(w, b->predicate);
    w->guard = guarded(w, b->predicate);
    ts_assume(w->a, w->guard->cond);
  }
  for (int i = 0; i < b->niters; i++) loads(w, b->iters[i].value);
  const ts_expr **outer_value = w->value, **value = ts_new_array(w->arena, const ts_expr *, b->niters ? b->niters : 1);
  for (int i = 0; i < b->niters; i++) value[i] = plain(w, b->iters[i].value);
  for (int i = 0; i < b->niters; i++) {
    ts_subst one = {b->iters[i].var, value[i]};
    ts_vec_push(w->arena, &w->map, one);
  }
  w->value = value;
  for (int i = 0; i < b->nallocs; i++) ts_vec_push(w->arena, &w->inner, b->allocs[i]);
  w->block = b;
  if (b->explicit_access) {
    declared(w, b->reads, b->nreads, false);
    declared(w, b->writes, b->nwrites, true);
  }
  if (b->init) {
    w->in_init = true;
    walk(w, b->init);
    w->in_init = outer_init;
  }
  walk(w, b->body);
  w->map.n = nmap;
  w->value = outer_value;
  w->block = outer_block;
  w->guard = outer;
  ts_analyzer_pop(w->a, mark);
}

static void walk_if(walker *w, const ts_stmt *s) {
  const ts__guard *outer = w->guard;
  loads(w, s->cond.cond);
  for (int i = 0; i < 2; i++) {
    const ts_stmt *side = i ? s->cond.other : s->cond.then;
    if (!side) continue;
    size_t mark = ts_analyzer_push(w->a);
    w->guard = guarded(w, i ? ts_not(w->a->ir, s->cond.cond) : s->cond.cond);
    ts_assume(w->a, w->guard->cond);
    walk(w, side);
    w->guard = outer;
    ts_analyzer_pop(w->a, mark);
  }
}

static void walk_let(walker *w, const ts_stmt *s) {
  size_t nmap = w->map.n;
  loads(w, s->let.value);
  ts_subst one = {s->let.var, plain(w, s->let.value)};
  ts_vec_push(w->arena, &w->map, one);
  walk(w, s->let.body);
  w->map.n = nmap;
}

static void walk_store(walker *w, const ts_stmt *s) {
  w->store = s;
  for (int i = 0; i < s->store.buf->ndim; i++) loads(w, s->store.idx[i]);
  loads(w, s->store.value);
  report(w, s->store.buf, true, s->store.idx, lane_span(w, s->store.buf, s->store.value->type.lanes));
  w->store = NULL;
}

static void walk(walker *w, const ts_stmt *s) {
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) walk(w, s->seq.child[i]);
      return;
    case TS_S_FOR:
      walk_loop(w, s);
      return;
    case TS_S_BLOCK:
      walk_block(w, s);
      return;
    case TS_S_STORE:
      walk_store(w, s);
      return;
    case TS_S_IF:
      walk_if(w, s);
      return;
    case TS_S_LET:
      walk_let(w, s);
      return;
    case TS_S_ALLOC:
      ts_vec_push(w->arena, &w->inner, s->alloc.buf);
      walk(w, s->alloc.body);
      return;
    default:
      loads(w, s->eval);
      return;
  }
}

void ts__accesses_visit(ts_analyzer *a, const ts_stmt *s, ts__buffers only, ts__access_fn visit, void *arg) {
  walker w = {.a = a, .arena = ts_ir_arena(a->ir), .only = only, .visit = visit, .arg = arg};
  walk(&w, s);
}

typedef struct collector {
  ts_arena *arena;
  ts__access_list list;
} collector;

static void keep(void *arg, const ts__access *x) {
  collector *c = arg;
  ts_vec_push(c->arena, &c->list, *x);
}

ts__access_list ts__accesses_of(ts_analyzer *a, const ts_stmt *s, ts__buffers only) {
  collector c = {.arena = ts_ir_arena(a->ir)};
  ts__accesses_visit(a, s, only, keep, &c);
  return c.list;
}
