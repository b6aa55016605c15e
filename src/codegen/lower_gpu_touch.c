// Who touches what: the accesses of a kernel as functions of loop and thread variables, and whether two threads can
// meet.
#include "codegen/lower_gpu.h"
#include "op/intrin.h"

// --- collecting
// ---------------------------------------------------------------------------------------------------------

typedef struct walk {
  ts__kernel *k;
  ts__touches *out;
  TS_VEC(const ts_stmt *) loops;
  TS_VEC(ts_subst) map;
  unsigned group, uses;
  bool async, combine;
} walk;

static const ts_expr *plain(walk *w, const ts_expr *e) {
  return ts_expr_subst(w->k->l->ir, e, w->map.p, (int)w->map.n);
}

static void add(walk *w, const ts_buffer *b, const ts_expr *const *idx, bool write) {
  ts__touch t = {
      .buf = b, .write = write, .async = write && w->async, .combine = w->combine, .group = w->group, .uses = w->uses};
  for (int d = 0; d < b->ndim; d++) t.idx[d] = ts_simplify(w->k->l->an, plain(w, idx[d]));
  t.nloops = (int)w->loops.n;
  t.loop = ts_arena_dup(w->k->l->arena, w->loops.p, sizeof *w->loops.p * w->loops.n);
  ts_vec_push(w->k->l->arena, &w->out->v, t);
}

static bool see_load(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) add(arg, e->buf, e->arg, false);
  return true;
}

static void collect_expr(walk *w, const ts_expr *e) {
  if (e) ts_expr_visit(e, see_load, w);
}

typedef struct axis_use {
  walk *w;
  unsigned mask;
} axis_use;

static bool see_axis(void *arg, const ts_expr *e) {
  axis_use *u = arg;
  if (e->kind != TS_E_VAR) return true;
  for (ts_axis a = TS_BLOCK_X; a <= TS_THREAD_Z; a++)
    if (u->w->k->var[a] == e->var) u->mask |= 1u << a;
  return true;
}

static bool see_any(void *arg, const ts_expr *e) {
  axis_use *u = arg;
  if (e->kind == TS_E_VAR) ts_expr_visit(plain(u->w, e), see_axis, u);
  return true;
}

// The axes on which the leaf depends.
static unsigned axes_of(walk *w, const ts_stmt *s) {
  axis_use u = {w, 0};
  ts_stmt_visit(s, NULL, see_any, &u);
  return u.mask;
}

static void collect(walk *w, const ts_stmt *s);

static void collect_block(walk *w, const ts_block *b) {
  size_t outer = w->map.n;
  walk before = *w;
  for (int i = 0; i < b->niters; i++) {
    const ts_expr *value = ts_expr_subst(w->k->l->ir, b->iters[i].value, w->map.p, (int)outer);
    ts_vec_push(w->k->l->arena, &w->map, ((ts_subst){b->iters[i].var, value}));
  }
  if (b->intrin) {
    const ts_intrin *in = ts_intrin_load(w->k->l->ir, b->intrin, NULL);
    int64_t have = 1;
    for (ts_axis a = TS_THREAD_X; in && a <= TS_THREAD_Z && have < in->threads; a++) {
      have *= ts__threads_of(w->k, a);
      w->group |= 1u << a;
    }
  }
  w->async = ts_notes_find(b->notes, "async_copy") != NULL;
  w->combine |= ts_notes_find(b->notes, "threads_combine") != NULL;
  collect_expr(w, b->predicate);
  if (b->init) collect(w, b->init);
  collect(w, b->body);
  w->combine = before.combine;
  w->group = before.group;
  w->async = before.async;
  w->map.n = outer;
}

static void collect_store(walk *w, const ts_stmt *s) {
  unsigned before = w->uses;
  w->uses |= axes_of(w, s);
  collect_expr(w, s->store.value);
  for (int i = 0; i < s->store.buf->ndim; i++) collect_expr(w, s->store.idx[i]);
  add(w, s->store.buf, s->store.idx, true);
  w->uses = before;
}

static void collect_if(walk *w, const ts_stmt *s) {
  unsigned before = w->uses;
  axis_use u = {w, 0};
  ts_expr_visit(s->cond.cond, see_any, &u);
  w->uses |= u.mask;
  collect_expr(w, s->cond.cond);
  collect(w, s->cond.then);
  if (s->cond.other) collect(w, s->cond.other);
  w->uses = before;
}

static void collect_loop(walk *w, const ts_stmt *s) {
  collect_expr(w, s->loop.min);
  collect_expr(w, s->loop.extent);
  ts_vec_push(w->k->l->arena, &w->loops, s);
  size_t mark = ts_analyzer_push(w->k->l->an);
  ts_bind_stmt(w->k->l->an, s);
  collect(w, s->loop.body);
  ts_analyzer_pop(w->k->l->an, mark);
  w->loops.n--;
}

static const ts_stmt *counting(walk *w, const ts_var *v, const ts_expr *extent) {
  ts_ir *ir = w->k->l->ir;
  const ts_stmt *loop = ts_for(ir, v, ts_int(ir, 0), extent, TS_SERIAL, ts_seq(ir, NULL, 0));
  ts_vec_push(w->k->l->arena, &w->loops, loop);
  ts_bind_stmt(w->k->l->an, loop);
  return loop;
}

// Rows and columns of the destination, as if loops wrote them.
static void collect_bulk(walk *w, const ts_expr *e) {
  ts_ir *ir = w->k->l->ir;
  const ts_expr *to = e->arg[0], *idx[8];
  int last = to->buf->ndim - 1;
  const ts_var *row = ts_var_new(ir, "row", TS_INDEX), *column = ts_var_new(ir, "column", TS_INDEX);
  size_t loops = w->loops.n, mark = ts_analyzer_push(w->k->l->an);
  counting(w, row, e->arg[3]);
  counting(w, column, e->arg[4]);
  for (int d = 0; d <= last; d++) idx[d] = to->arg[d];
  idx[last] = ts_add(ir, idx[last], ts_evar(ir, column));
  if (last > 0) idx[last - 1] = ts_add(ir, idx[last - 1], ts_evar(ir, row));
  add(w, to->buf, idx, true);
  ts_analyzer_pop(w->k->l->an, mark);
  w->loops.n = loops;
}

static void collect_eval(walk *w, const ts_expr *e) {
  ts_effect f;
  if (ts_effect_of(e, &f) && f == TS_EFF_BULK_COPY) {
    collect_bulk(w, e);
    return;
  }
  if (!ts_effect_of(e, &f) || f != TS_EFF_ASYNC_COPY) {
    collect_expr(w, e);
    return;
  }
  bool before = w->async;
  w->async = true;
  add(w, e->arg[0]->buf, e->arg[0]->arg, true);
  w->async = before;
  collect_expr(w, e->arg[1]);
}

static void collect(walk *w, const ts_stmt *s) {
  size_t outer = w->map.n;
  const ts_expr *value;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) collect(w, s->seq.child[i]);
      return;
    case TS_S_FOR:
      collect_loop(w, s);
      return;
    case TS_S_BLOCK:
      collect_block(w, s->block);
      return;
    case TS_S_STORE:
      collect_store(w, s);
      return;
    case TS_S_IF:
      collect_if(w, s);
      return;
    case TS_S_LET:
      collect_expr(w, s->let.value);
      value = plain(w, s->let.value);
      ts_vec_push(w->k->l->arena, &w->map, ((ts_subst){s->let.var, value}));
      collect(w, s->let.body);
      w->map.n = outer;
      return;
    case TS_S_ALLOC:
      collect(w, s->alloc.body);
      return;
    default:
      collect_eval(w, s->eval);
      return;
  }
}

void ts__touches_of(ts__kernel *k, const ts_stmt *s, const ts_stmt *const *outer, int nouter, ts__touches *out) {
  walk w = {.k = k, .out = out};
  size_t mark = ts_analyzer_push(k->l->an);
  for (int i = 0; i < nouter; i++) {
    ts_vec_push(k->l->arena, &w.loops, outer[i]);
    ts_bind_stmt(k->l->an, outer[i]);
  }
  collect(&w, s);
  ts_analyzer_pop(k->l->an, mark);
}

// --- never the same element
// -------------------------------------------------------------------------------------------------

static size_t bind_loops(ts__kernel *k, const ts__touch *t) {
  size_t mark = ts_analyzer_push(k->l->an);
  for (int i = 0; i < t->nloops; i++) ts_bind_stmt(k->l->an, t->loop[i]);
  return mark;
}

// Loops of b that a does not share stand for other iterations: their variables are renamed.
typedef struct pair {
  ts__kernel *k;
  const ts__touch *a;
  ts__touch b;
  int common;
} pair;

static bool rename_loops(pair *p, const ts__touch *b) {
  ts_ir *ir = p->k->l->ir;
  ts_subst m[64];
  int n = 0;
  p->b = *b;
  if (b->nloops > 64) return false;
  const ts_stmt **loop = ts_new_array(p->k->l->arena, const ts_stmt *, b->nloops);
  for (int i = 0; i < b->nloops; i++) {
    loop[i] = b->loop[i];
    if (i < p->common) continue;
    ts_stmt *c;
    loop[i] = ts_stmt_copy(ir, b->loop[i], &c);
    c->loop.var = ts_var_new(ir, b->loop[i]->loop.var->name, TS_INDEX);
    c->loop.min = ts_expr_subst(ir, b->loop[i]->loop.min, m, n);
    c->loop.extent = ts_expr_subst(ir, b->loop[i]->loop.extent, m, n);
    m[n++] = (ts_subst){b->loop[i]->loop.var, ts_evar(ir, c->loop.var)};
  }
  p->b.loop = loop;
  for (int d = 0; d < b->buf->ndim; d++) p->b.idx[d] = ts_expr_subst(ir, b->idx[d], m, n);
  return true;
}

// Bounds of index d of t over its own loops and the thread axes in `over`.
static bool bounds(pair *p, const ts__touch *t, int d, unsigned over, const ts_expr **lo, const ts_expr **hi) {
  const ts_var *v[80];
  int n = 0;
  if (ts__has_load(t->idx[d]) || t->nloops > 64) return false;
  for (int i = p->common; i < t->nloops; i++) v[n++] = t->loop[i]->loop.var;
  for (ts_axis x = TS_THREAD_X; x <= TS_THREAD_Z; x++)
    if (over >> x & 1 && p->k->var[x]) v[n++] = p->k->var[x];
  return ts_bound_over(p->k->l->an, t->idx[d], v, n, lo, hi) && *lo && *hi;
}

// x is some z % m, y some w % m or from 0 to m - 1, and the difference of z and w is known.
static bool other_remainder(pair *p, const ts_expr *x, const ts_expr *y) {
  int64_t m, n, diff;
  if (x->kind != TS_E_FLOORMOD || !ts_is_int(x->arg[1], &m) || m < 2) return false;
  bool same = y->kind == TS_E_FLOORMOD && ts_is_int(y->arg[1], &n) && n == m;
  ts_interval r = ts_bound(p->k->l->an, y);
  if (!same && (r.lo < 0 || r.hi >= m)) return false;
  const ts_expr *w = same ? y->arg[0] : y;
  return ts_const_value(p->k->l->an, ts_sub(p->k->l->ir, x->arg[0], w), &diff) && diff % m != 0;
}

// Some dimension never has the same index, whatever the threads.
static bool disjoint(pair *p) {
  ts_analyzer *an = p->k->l->an;
  for (int d = 0; d < p->a->buf->ndim; d++) {
    const ts_expr *alo, *ahi, *blo, *bhi;
    if (other_remainder(p, p->a->idx[d], p->b.idx[d]) || other_remainder(p, p->b.idx[d], p->a->idx[d])) return true;
    if (!bounds(p, p->a, d, TS__ALL_THREADS, &alo, &ahi) || !bounds(p, &p->b, d, TS__ALL_THREADS, &blo, &bhi)) continue;
    if (ts_prove_lt(an, ahi, blo) == TS_YES || ts_prove_lt(an, bhi, alo) == TS_YES) return true;
  }
  return false;
}

// --- different threads, different elements
// ----------------------------------------------------------------------------------

// Some dimension has its own range of indices for each position along the axis.
static bool ranges_apart(pair *p, ts_axis axis) {
  ts_analyzer *an = p->k->l->an;
  ts_ir *ir = p->k->l->ir;
  unsigned others = TS__ALL_THREADS & ~(1u << axis);
  for (int d = 0; d < p->a->buf->ndim; d++) {
    const ts_expr *alo, *ahi, *blo, *bhi;
    if (!ts_expr_uses_var(p->a->idx[d], p->k->var[axis])) continue;
    if (!bounds(p, p->a, d, others, &alo, &ahi) || !bounds(p, &p->b, d, others, &blo, &bhi)) continue;
    size_t mark = ts_analyzer_push(an);
    const ts_var *later = ts_var_new(ir, "later", TS_INDEX);
    const ts_expr *v = ts_evar(ir, p->k->var[axis]), *w = ts_evar(ir, later);
    ts_bind_range(
        an, later,
        (ts_range){ts_add(ir, v, ts_int(ir, 1)), ts_sub(ir, ts_sub(ir, p->k->extent[axis], v), ts_int(ir, 1))});
    ts_subst m = {p->k->var[axis], w};
    bool ok = ts_prove_lt(an, ahi, ts_expr_subst(ir, blo, &m, 1)) == TS_YES &&
              ts_prove_lt(an, bhi, ts_expr_subst(ir, alo, &m, 1)) == TS_YES;
    ts_analyzer_pop(an, mark);
    if (ok) return true;
  }
  return false;
}

// a and b are one access, in the terms of a's loops.
static bool same_map(pair *p) {
  const ts__touch *a = p->a;
  ts_subst m[64];
  int n = 0;
  if (a->nloops != p->b.nloops) return false;
  for (int i = p->common; i < a->nloops; i++) {
    const ts_stmt *x = a->loop[i], *y = p->b.loop[i];
    if (x->loop.min != y->loop.min || x->loop.extent != y->loop.extent) return false;
    m[n++] = (ts_subst){y->loop.var, ts_evar(p->k->l->ir, x->loop.var)};
  }
  for (int d = 0; d < a->buf->ndim; d++)
    if (a->idx[d] != ts_simplify(p->k->l->an, ts_expr_subst(p->k->l->ir, p->b.idx[d], m, n))) return false;
  return true;
}

// One access, in which different threads (and iterations) have different elements.
static bool one_to_one(pair *p, unsigned axes) {
  ts_loop_range in[80];
  int n = 0;
  ts_itermap map = {0};
  const ts__touch *a = p->a;
  if (a->nloops > 64 || a->buf->ndim == 0 || !same_map(p)) return false;
  for (ts_axis x = TS_THREAD_X; x <= TS_THREAD_Z; x++) {
    bool used = false;
    if (ts__threads_of(p->k, x) == 1) continue;
    for (int d = 0; d < a->buf->ndim; d++) used |= ts_expr_uses_var(a->idx[d], p->k->var[x]);
    if (!used && axes >> x & 1) return false;
    if (used) in[n++] = (ts_loop_range){p->k->var[x], {ts_int(p->k->l->ir, 0), p->k->extent[x]}};
  }
  for (int i = p->common; i < a->nloops; i++) {
    bool used = false;
    for (int d = 0; d < a->buf->ndim; d++) used |= ts_expr_uses_var(a->idx[d], a->loop[i]->loop.var);
    if (used) in[n++] = (ts_loop_range){a->loop[i]->loop.var, {a->loop[i]->loop.min, a->loop[i]->loop.extent}};
  }
  return n &&
         (ts_itermap_detect(p->k->l->an, in, n, a->idx, a->buf->ndim, NULL, NULL, &map, NULL), map.injective == TS_YES);
}

static bool along_apart(pair *p, unsigned axes) {
  if (one_to_one(p, axes)) return true;
  for (ts_axis x = TS_THREAD_X; x <= TS_THREAD_Z; x++)
    if (axes >> x & 1 && ts__threads_of(p->k, x) > 1 && !ranges_apart(p, x)) return false;
  return true;
}

// Threads that differ along x alone are of one warp.
static bool rows_in_warps(const ts__kernel *k) {
  int64_t x = ts__threads_of(k, TS_THREAD_X), all = x * ts__threads_of(k, TS_THREAD_Y) * ts__threads_of(k, TS_THREAD_Z);
  return all <= TS__WARP_THREADS || TS__WARP_THREADS % x == 0;
}

ts__apart ts__threads_apart(ts__kernel *k, const ts__touch *a, const ts__touch *b, int common, unsigned axes) {
  pair p = {.k = k, .a = a, .common = common};
  int64_t all = ts__threads_of(k, TS_THREAD_X) * ts__threads_of(k, TS_THREAD_Y) * ts__threads_of(k, TS_THREAD_Z);
  axes &= TS__ALL_THREADS & k->used;
  if (a->write && b->write) axes &= ~(a->group & b->group);
  if (all == 1 || !axes) return TS__APART;
  if (!rename_loops(&p, b)) return TS__MAY_MEET;
  size_t mark = bind_loops(k, a);
  for (int i = common; i < p.b.nloops; i++) ts_bind_stmt(k->l->an, p.b.loop[i]);
  ts__apart r = TS__MAY_MEET;
  if (disjoint(&p) || along_apart(&p, axes)) {
    r = TS__APART;
  } else if (rows_in_warps(k) && (all <= TS__WARP_THREADS || along_apart(&p, axes & ~(1u << TS_THREAD_X)))) {
    r = TS__SAME_WARP;
  }
  ts_analyzer_pop(k->l->an, mark);
  return r;
}
