// How a buffer is used below a statement: every read and write with its loops, in the order of the text.
#include "codegen/lower.h"

typedef struct in_block {
  const ts_block *block;
  int nreduce;
  const ts_expr *const *reduce;  // values of the iterators that are not spatial, in terms of loop variables
} in_block;
typedef struct one_use {
  bool write, init;  // init: of the innermost block's init
  int nguards;
  const ts_expr *const *guard;  // runs only when all these hold; NULL: a condition that reads memory
  int nblocks;
  const in_block *block;  // enclosing blocks, outermost first
  const ts_expr *idx[8];  // in terms of loop variables
  int nloops;
  const ts_stmt *const *loop;  // enclosing loops below the root statement, outermost first
  int nabove;
  const ts_stmt *const *above;  // enclosing statements of all kinds, outermost first
} one_use;

struct ts__uses {
  const ts_buffer *buf;
  TS_VEC(one_use) use;
};

// --- collecting -----------------------------------------------------------------------------------------------------

typedef struct walk {
  ts__lower *l;
  ts__uses *out;
  TS_VEC(const ts_stmt *) loops;
  TS_VEC(const ts_stmt *) above;
  TS_VEC(ts_subst) map;
  TS_VEC(in_block) blocks;
  TS_VEC(const ts_expr *) guards;
  bool init;
} walk;

static void collect(walk *w, const ts_stmt *s);

static void add_use(walk *w, const ts_expr *const *idx, bool write) {
  one_use u = {.write = write, .init = w->init};
  u.nblocks = (int)w->blocks.n;
  u.block = ts_arena_dup(w->l->arena, w->blocks.p, sizeof *w->blocks.p * w->blocks.n);
  u.nguards = (int)w->guards.n;
  u.guard = ts_arena_dup(w->l->arena, w->guards.p, sizeof *w->guards.p * w->guards.n);
  u.nloops = (int)w->loops.n;
  u.nabove = (int)w->above.n;
  u.loop = ts_arena_dup(w->l->arena, w->loops.p, sizeof *w->loops.p * w->loops.n);
  u.above = ts_arena_dup(w->l->arena, w->above.p, sizeof *w->above.p * w->above.n);
  for (int i = 0; i < w->out->buf->ndim; i++) u.idx[i] = ts_expr_subst(w->l->ir, idx[i], w->map.p, (int)w->map.n);
  ts_vec_push(w->l->arena, &w->out->use, u);
}

static bool see_load(void *arg, const ts_expr *e) {
  walk *w = arg;
  if (e->kind == TS_E_LOAD && e->buf == w->out->buf) add_use(w, e->arg, false);
  return true;
}

static void collect_expr(walk *w, const ts_expr *e) {
  if (e) ts_expr_visit(e, see_load, w);
}

static const ts_expr *plain(walk *w, const ts_expr *e) {
  return ts_expr_subst(w->l->ir, e, w->map.p, (int)w->map.n);
}

// An index of a store of the block's body that only this condition keeps inside the buffer: then it hides no element that could be
// read.
static bool only_bounds(walk *w, const ts_block *b, const ts_expr *cond) {
  const ts_buffer *buf = w->out->buf;
  const ts_stmt *s = b->body;
  if (s->kind != TS_S_STORE || s->store.buf != buf) return false;
  const ts_expr *have = ts_simplify(w->l->an, plain(w, cond));
  for (int i = 0; i < buf->ndim; i++) {
    const ts_expr *at = plain(w, s->store.idx[i]);
    if (ts_simplify(w->l->an, ts_bin(w->l->ir, TS_E_LT, at, buf->shape[i])) == have) return true;
  }
  return false;
}

// The parts of the condition join the guards; those that only keep the writes of b (may be NULL) inside the buffer do not.
static void add_guards(walk *w, const ts_expr *cond, const ts_block *b) {
  if (cond->kind == TS_E_AND) {
    add_guards(w, cond->arg[0], b);
    add_guards(w, cond->arg[1], b);
  } else if (!b || !only_bounds(w, b, cond)) {
    ts_vec_push(w->l->arena, &w->guards, ts__has_load(cond) ? NULL : plain(w, cond));
  }
}

static void collect_under(walk *w, const ts_stmt *s, const ts_expr *cond, const ts_block *b) {
  size_t before = w->guards.n;
  if (cond) add_guards(w, cond, b);
  if (s) collect(w, s);
  w->guards.n = before;
}

// Enters the block: its iterators stand for their values.
static void enter(walk *w, const ts_block *b) {
  size_t outer = w->map.n;
  const ts_expr **reduce = ts_new_array(w->l->arena, const ts_expr *, b->niters);
  in_block in = {b, 0, reduce};
  for (int i = 0; i < b->niters; i++) {
    const ts_expr *v = ts_expr_subst(w->l->ir, b->iters[i].value, w->map.p, (int)outer);
    if (b->iters[i].kind != TS_ITER_SPATIAL) reduce[in.nreduce++] = v;
    ts_vec_push(w->l->arena, &w->map, ((ts_subst){b->iters[i].var, v}));
  }
  ts_vec_push(w->l->arena, &w->blocks, in);
}

static void collect_block(walk *w, const ts_block *b) {
  size_t outer = w->map.n;
  enter(w, b);
  collect_expr(w, b->predicate);
  if (b->init) {
    bool before = w->init;
    w->init = true;
    collect_under(w, b->init, b->predicate, NULL);
    w->init = before;
  }
  collect_under(w, b->body, b->predicate, b);
  w->blocks.n--;
  w->map.n = outer;
}

static void collect_loop(walk *w, const ts_stmt *s) {
  collect_expr(w, s->loop.min);
  collect_expr(w, s->loop.extent);
  ts_vec_push(w->l->arena, &w->loops, s);
  size_t mark = ts_analyzer_push(w->l->an);
  ts_bind_stmt(w->l->an, s);
  collect(w, s->loop.body);
  ts_analyzer_pop(w->l->an, mark);
  w->loops.n--;
}

static void collect_let(walk *w, const ts_stmt *s) {
  const ts_expr *value = plain(w, s->let.value);
  collect_expr(w, s->let.value);
  ts_vec_push(w->l->arena, &w->map, ((ts_subst){s->let.var, value}));
  collect(w, s->let.body);
  w->map.n--;
}

static void collect(walk *w, const ts_stmt *s) {
  ts_vec_push(w->l->arena, &w->above, s);
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) collect(w, s->seq.child[i]);
      break;
    case TS_S_FOR:
      collect_loop(w, s);
      break;
    case TS_S_BLOCK:
      collect_block(w, s->block);
      break;
    case TS_S_STORE:
      collect_expr(w, s->store.value);
      for (int i = 0; i < s->store.buf->ndim; i++) collect_expr(w, s->store.idx[i]);
      if (s->store.buf == w->out->buf) add_use(w, s->store.idx, true);
      break;
    case TS_S_IF:
      collect_expr(w, s->cond.cond);
      collect_under(w, s->cond.then, s->cond.cond, NULL);
      collect_under(w, s->cond.other, ts_not(w->l->ir, s->cond.cond), NULL);
      break;
    case TS_S_LET:
      collect_let(w, s);
      break;
    case TS_S_ALLOC:
      collect(w, s->alloc.body);
      break;
    default:
      collect_expr(w, s->eval);
      break;
  }
  w->above.n--;
}

ts__uses *ts__uses_of(ts__lower *l, const ts_stmt *root, const ts_buffer *b) {
  ts__uses *u = ts_new(l->arena, ts__uses);
  u->buf = b;
  walk w = {.l = l, .out = u};
  collect(&w, root);
  return u;
}

// --- boxes
// ------------------------------------------------------------------------------------------------------------

// The use lies below t; *loops receives how many of its loops are above t (t itself, when a loop, counts as inside).
static bool below(const one_use *u, const ts_stmt *t, int *loops) {
  *loops = 0;
  for (int i = 0; i < u->nabove; i++) {
    if (u->above[i] == t) return true;
    *loops += u->above[i]->kind == TS_S_FOR;
  }
  return false;
}

static size_t bind_loops(ts__lower *l, const one_use *u) {
  size_t mark = ts_analyzer_push(l->an);
  for (int i = 0; i < u->nloops; i++) ts_bind_stmt(l->an, u->loop[i]);
  return mark;
}

// The indices that u can have when the loops from number `first` on run.
static ts__box box_from(ts__lower *l, const ts__uses *all, const one_use *u, int first) {
  ts__box r = {0};
  const ts_var *inner[64];
  int n = 0;
  size_t mark = bind_loops(l, u);
  for (int i = first; i < u->nloops && n < 64; i++) inner[n++] = u->loop[i]->loop.var;
  for (int d = 0; d < all->buf->ndim; d++) {
    const ts_expr *at = ts_simplify(l->an, u->idx[d]);
    if (ts__has_load(at) || u->nloops - first > 64 || !ts_bound_over(l->an, at, inner, n, &r.lo[d], &r.hi[d]) ||
        !r.hi[d])
      r.lo[d] = NULL;
    if (!r.lo[d]) r.hi[d] = NULL;
  }
  ts_analyzer_pop(l->an, mark);
  return r;
}

// Smaller (or larger) of two bounds, NULL when it cannot be told.
static const ts_expr *outer_bound(ts__lower *l, const ts_expr *a, const ts_expr *b, bool lower) {
  if (!a || !b) return NULL;
  if (ts_prove_le(l->an, a, b) == TS_YES) return lower ? a : b;
  if (ts_prove_le(l->an, b, a) == TS_YES) return lower ? b : a;
  return NULL;
}

ts__box ts__box_of(ts__lower *l, const ts__uses *all, const ts_stmt *t) {
  ts__box r = {0};
  bool first = true;
  int above;
  for (size_t i = 0; i < all->use.n; i++) {
    const one_use *u = &all->use.p[i];
    if (!below(u, t, &above)) continue;
    ts__box one = box_from(l, all, u, above);
    size_t mark = ts_analyzer_push(l->an);
    for (int k = 0; k < above; k++) ts_bind_stmt(l->an, u->loop[k]);
    for (int d = 0; d < all->buf->ndim; d++) {
      r.lo[d] = first ? one.lo[d] : outer_bound(l, r.lo[d], one.lo[d], true);
      r.hi[d] = first ? one.hi[d] : outer_bound(l, r.hi[d], one.hi[d], false);
      if (!r.lo[d] || !r.hi[d]) r.lo[d] = r.hi[d] = NULL;
    }
    ts_analyzer_pop(l->an, mark);
    first = false;
  }
  return r;
}

// --- coverage
// -----------------------------------------------------------------------------------------------------------

// Does w write every element of its box, loops from number `first` on running?
static bool dense(ts__lower *l, const ts__uses *all, const one_use *w, int first) {
  ts_loop_range in[64];
  ts_itermap map;
  int n = 0;
  if (w->nloops == first) return true;
  if (w->nloops - first > 64) return false;
  for (int i = first; i < w->nloops; i++) {
    const ts_stmt *s = w->loop[i];
    in[n++] = (ts_loop_range){s->loop.var, {s->loop.min, s->loop.extent}};
  }
  size_t mark = bind_loops(l, w);
  bool ok = ts_itermap_detect(l->an, in, n, w->idx, all->buf->ndim, NULL, NULL, &map, NULL);
  ts_analyzer_pop(l->an, mark);
  return ok && map.surjective == TS_YES;
}

// Everything that r reads is in what w has written just before, in the same iteration of the loops that they share.
static bool covers(ts__lower *l, const ts__uses *all, const one_use *w, const one_use *r, int above) {
  int shared = 0;
  while (shared < w->nloops && shared < r->nloops && w->loop[shared] == r->loop[shared]) shared++;
  if (shared < above || !dense(l, all, w, shared)) return false;
  ts__box big = box_from(l, all, w, shared), small = box_from(l, all, r, shared);
  size_t mark = ts_analyzer_push(l->an);
  for (int k = 0; k < shared; k++) ts_bind_stmt(l->an, w->loop[k]);
  bool ok = true;
  for (int d = 0; d < all->buf->ndim && ok; d++) {
    ok = big.lo[d] && small.lo[d] && ts_prove_le(l->an, big.lo[d], small.lo[d]) == TS_YES &&
         ts_prove_le(l->an, small.hi[d], big.hi[d]) == TS_YES;
  }
  ts_analyzer_pop(l->an, mark);
  return ok;
}

// The init of the block that holds w runs first in every execution of a statement under `above` loops.
static bool init_runs(const one_use *w, int above) {
  const in_block *b = &w->block[w->nblocks - 1];
  for (int k = 0; k < b->nreduce; k++)
    for (int i = 0; i < above; i++)
      if (ts_expr_uses_var(b->reduce[k], w->loop[i]->loop.var)) return false;
  return true;
}

static bool inside(const one_use *r, const ts_block *b) {
  for (int i = 0; i < r->nblocks; i++)
    if (r->block[i].block == b) return true;
  return false;
}

// Wherever r runs, w has run: every guard of w is one of r, of loops that they share.
static bool guards_hold(const one_use *w, const one_use *r) {
  for (int i = 0; i < w->nguards; i++) {
    bool found = false;
    for (int k = 0; k < r->nguards && !found; k++) found = w->guard[i] && w->guard[i] == r->guard[k];
    if (!found) return false;
  }
  return true;
}

// May r rely on the earlier write w? On an init only the reads of its own block may.
static bool serves(ts__lower *l, const ts__uses *all, const one_use *w, const one_use *r, int above) {
  if (!w->write) return false;
  if (w->init ? !inside(r, w->block[w->nblocks - 1].block) || !init_runs(w, above) : !guards_hold(w, r)) return false;
  return covers(l, all, w, r, above);
}

bool ts__self_contained(ts__lower *l, const ts__uses *all, const ts_stmt *t) {
  int above;
  for (size_t i = 0; i < all->use.n; i++) {
    const one_use *r = &all->use.p[i];
    if (r->write || !below(r, t, &above)) continue;
    bool ok = false;
    for (size_t k = 0; k < i && !ok; k++) {
      int ignored;
      ok = below(&all->use.p[k], t, &ignored) && serves(l, all, &all->use.p[k], r, above);
    }
    if (!ok) return false;
  }
  return true;
}
