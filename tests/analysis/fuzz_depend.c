// Property test of regions, covers, dependences and sibling edges: random loop nests against a list of all their
// accesses. Usage: fuzz_depend [cases] [seed] [only]
#include <stdlib.h>

#include "analysis/analysis.h"

enum { VARS = 64, BUFS = 3, DIM = 24, MOVES = 60000 };
typedef struct move {  // one access at run time
  int buf;
  int64_t at[2];
  bool write;
  int64_t loop;  // value of the watched loop
  int child;     // of the outermost sequence
} move;
typedef struct world {
  ts_ir *ir;
  ts_rng rng;
  uint64_t id;
  const ts_buffer *buf[BUFS];
  const ts_var *vars[VARS];
  int64_t value[VARS];
  int nvars;
  const ts_var *watch;
  move *m;
  int n;
  bool overflow;
  const ts_stmt *root;
  const ts_stmt *dim;  // a symbolic dimension n, as a loop over its values around everything
  int64_t most;        // largest n
} world;
static long fails, tri[3], loops_seen, covers, reductions;

static int64_t pick(world *w, int64_t lo, int64_t hi) {
  return lo + (int64_t)ts_rng_below(&w->rng, (uint32_t)(hi - lo + 1));
}

static void complain(world *w, const char *what) {
  if (++fails > 5) return;
  ts_text t = {0};
  ts_stmt_print(&t, w->root, 1);
  fprintf(stderr, "case %llu: %s\n%s\n", (unsigned long long)w->id, what, ts_text_str(&t));
  ts_text_free(&t);
}

// --- running a nest ----------------------------------------------------------------------------------------
static int64_t ev(world *w, const ts_expr *e) {
  int64_t v = 0;
  if (!ts_eval_int(e, w->vars, w->value, w->nvars, &v)) abort();
  return v;
}

static void set(world *w, const ts_var *v, int64_t x) {
  w->vars[w->nvars] = v;
  w->value[w->nvars++] = x;
}

static void record(world *w, const ts_buffer *b, const ts_expr *const *idx, bool write, int child) {
  int k = 0;
  while (k < BUFS && w->buf[k] != b) k++;
  if (k == BUFS) return;  // private to an iteration
  if (w->n == MOVES) {
    w->overflow = true;
    return;
  }
  move m = {.buf = k, .write = write, .child = child};
  for (int d = 0; d < b->ndim; d++) m.at[d] = ev(w, idx[d]);
  for (int i = 0; i < w->nvars; i++)
    if (w->vars[i] == w->watch) m.loop = w->value[i];
  w->m[w->n++] = m;
}

static void run_expr(world *w, const ts_expr *e, int child) {
  if (e->kind == TS_E_SELECT) {
    run_expr(w, e->arg[ev(w, e->arg[0]) ? 1 : 2], child);
    return;
  }
  if (e->kind == TS_E_LOAD) record(w, e->buf, e->arg, false, child);
  for (uint32_t i = 0; i < e->nargs; i++) run_expr(w, e->arg[i], child);
}

static void run_stmt(world *w, const ts_stmt *s, int child) {
  int mark = w->nvars;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) run_stmt(w, s->seq.child[i], child < 0 ? i : child);
      break;
    case TS_S_FOR: {
      int64_t min = ev(w, s->loop.min), extent = ev(w, s->loop.extent);
      for (int64_t i = 0; i < extent && !w->overflow; i++) {
        set(w, s->loop.var, min + i);
        run_stmt(w, s->loop.body, child);
        w->nvars = mark;
      }
      break;
    }
    case TS_S_BLOCK: {
      const ts_block *b = s->block;
      bool first = true;
      if (b->predicate && !ev(w, b->predicate)) break;
      for (int i = 0; i < b->niters; i++) {
        int64_t v = ev(w, b->iters[i].value);
        set(w, b->iters[i].var, v);
        if (b->iters[i].kind == TS_ITER_REDUCE && v != ev(w, b->iters[i].dom.min)) first = false;
      }
      if (b->init && first) run_stmt(w, b->init, child);
      run_stmt(w, b->body, child);
      break;
    }
    case TS_S_STORE:
      run_expr(w, s->store.value, child);
      record(w, s->store.buf, s->store.idx, true, child);
      break;
    case TS_S_IF:
      if (ev(w, s->cond.cond))
        run_stmt(w, s->cond.then, child);
      else if (s->cond.other)
        run_stmt(w, s->cond.other, child);
      break;
    default:
      abort();
  }
  w->nvars = mark;
}

// --- making nests ------------------------------------------------------------------------------------------
typedef struct scope {
  int n;
  const ts_var *v[8];
  int64_t extent[8];
} scope;

static const ts_expr *term(world *w, const scope *s) {
  ts_ir *ir = w->ir;
  if (!s->n || !pick(w, 0, 9)) return ts_int(ir, pick(w, 0, 3));
  const ts_expr *e = ts_evar(ir, s->v[pick(w, 0, s->n - 1)]);
  switch (pick(w, 0, 9)) {
    case 0:
      return ts_bin(ir, TS_E_FLOORDIV, e, ts_int(ir, pick(w, 2, 4)));
    case 1:
      return ts_bin(ir, TS_E_FLOORMOD, e, ts_int(ir, pick(w, 2, 4)));
    case 2:
    case 3:
      return ts_mul(ir, e, ts_int(ir, pick(w, 2, 4)));
    case 4:
      return ts_sub(ir, ts_int(ir, pick(w, 0, 7)), e);
    default:
      return e;
  }
}

static const ts_expr *index_of(world *w, const scope *s) {
  const ts_expr *e = term(w, s);
  if (s->n > 1 && !pick(w, 0, 9)) {  // rows of n
    int i = (int)pick(w, 0, s->n - 1), j = (int)pick(w, 0, s->n - 1);
    const ts_expr *n = ts_evar(w->ir, w->dim->loop.var);
    if (i != j) e = ts_add(w->ir, ts_mul(w->ir, ts_evar(w->ir, s->v[i]), n), ts_evar(w->ir, s->v[j]));
  } else if (s->n > 1 && !pick(w, 0, 2)) {  // a fused pair
    int i = (int)pick(w, 0, s->n - 1), j = (int)pick(w, 0, s->n - 1);
    if (i != j)
      e = ts_add(w->ir, ts_mul(w->ir, ts_evar(w->ir, s->v[i]), ts_int(w->ir, s->extent[j])), ts_evar(w->ir, s->v[j]));
    if (!pick(w, 0, 2))
      e = ts_bin(w->ir, pick(w, 0, 1) ? TS_E_FLOORDIV : TS_E_FLOORMOD, e, ts_int(w->ir, pick(w, 2, 6)));
  }
  return pick(w, 0, 3) ? e : ts_add(w->ir, e, term(w, s));
}

static const ts_expr *clamp(world *w, const ts_expr *e) {
  return ts_bin(w->ir, TS_E_MAX, ts_int(w->ir, 0), ts_bin(w->ir, TS_E_MIN, e, ts_int(w->ir, DIM - 1)));
}

// Indices inside the buffer: clamped unless known to fit.
static void indices(world *w, const scope *s, const ts_buffer *b, const ts_expr **idx) {
  ts_analyzer *a = ts_analyzer_new(w->ir);
  ts_bind_const(a, w->dim->loop.var, 1, w->most);
  for (int i = 0; i < s->n; i++) ts_bind_const(a, s->v[i], 0, s->extent[i] - 1);
  for (int d = 0; d < b->ndim; d++) {
    idx[d] = index_of(w, s);
    ts_interval r = ts_bound(a, idx[d]);
    if (r.lo < 0 || r.hi >= DIM) idx[d] = clamp(w, idx[d]);
  }
  ts_analyzer_free(a);
}

static const ts_stmt *make_store(world *w, const scope *s) {
  const ts_expr *idx[2], *idx2[2];
  const ts_buffer *b = w->buf[pick(w, 0, BUFS - 1)], *c = w->buf[pick(w, 0, BUFS - 1)];
  indices(w, s, b, idx);
  indices(w, s, c, idx2);
  const ts_expr *v = ts_load(w->ir, c, idx2);
  if (!pick(w, 0, 5))
    v = ts_select(w->ir, ts_bin(w->ir, TS_E_LT, term(w, s), ts_int(w->ir, pick(w, 0, 5))), v,
                  ts_const_float(w->ir, v->type, 0));
  if (!pick(w, 0, 3)) v = ts_bin(w->ir, TS_E_ADD, ts_load(w->ir, b, idx), v);
  return ts_store(w->ir, b, idx, v);
}

// C[vi] (+)= A[...] with vi from one or two loops and a reduce iterator from another.
static const ts_stmt *make_block(world *w, const scope *s) {
  ts_ir *ir = w->ir;
  ts_arena *arena = ts_ir_arena(ir);
  ts_block *b = ts_new(arena, ts_block);
  ts_iter *it = ts_new_array(arena, ts_iter, 2);
  const ts_buffer *out = w->buf[0], *in = w->buf[1];
  for (int i = 0; i < 2; i++) {
    int l = (int)pick(w, 0, s->n - 1);
    it[i] = (ts_iter){ts_var_new(ir, i ? "vk" : "vi", TS_INDEX),
                      i ? TS_ITER_REDUCE : TS_ITER_SPATIAL,
                      {ts_int(ir, 0), ts_int(ir, s->extent[l])},
                      ts_evar(ir, s->v[l])};
  }
  scope inner = {.n = 2, .v = {it[0].var, it[1].var}, .extent = {it[0].dom.extent->i, it[1].dom.extent->i}};
  scope spatial = {.n = 1, .v = {it[0].var}, .extent = {it[0].dom.extent->i}};
  const ts_expr *idx[2], *idx2[2];
  indices(w, &spatial, out, idx);
  indices(w, &inner, in, idx2);
  b->name = "r";
  b->niters = 2;
  b->iters = it;
  if (!pick(w, 0, 2)) b->predicate = ts_bin(ir, TS_E_LT, index_of(w, s), ts_int(ir, pick(w, 1, 12)));
  if (pick(w, 0, 1)) b->init = ts_store(ir, out, idx, ts_const_float(ir, ts_scalar(TS_F32), 0));
  b->body = ts_store(ir, out, idx, ts_bin(ir, TS_E_ADD, ts_load(ir, out, idx), ts_load(ir, in, idx2)));
  return ts_block_stmt(ir, b);
}

static const ts_stmt *make(world *w, scope s, int depth) {
  ts_ir *ir = w->ir;
  if (depth == 0) return s.n && !pick(w, 0, 2) ? make_block(w, &s) : make_store(w, &s);
  int64_t how = pick(w, 0, 9);
  if (how < 7 || s.n == 0) {
    static const int64_t extent[] = {1, 2, 3, 4, 5, 6, 8};
    const ts_var *v = ts_var_new(ir, "x", TS_INDEX);
    s.v[s.n] = v;
    s.extent[s.n] = extent[pick(w, 0, (int64_t)TS_COUNTOF(extent) - 1)];
    const ts_expr *e = ts_int(ir, s.extent[s.n]);
    if (!pick(w, 0, 4)) {  // symbolic: n, or n in groups
      const ts_expr *n = ts_evar(ir, w->dim->loop.var);
      int64_t c = pick(w, 1, 3);
      e = ts_bin(ir, TS_E_FLOORDIV, ts_add(ir, n, ts_int(ir, c - 1)), ts_int(ir, c));
      s.extent[s.n] = (w->most + c - 1) / c;
    } else if (s.n && !pick(w, 0, 6)) {  // a triangle
      e = ts_add(ir, ts_evar(ir, s.v[s.n - 1]), ts_int(ir, 1));
      s.extent[s.n] = s.extent[s.n - 1];
    }
    s.n++;
    return ts_for(ir, v, ts_int(ir, 0), e, TS_SERIAL, make(w, s, depth - 1));
  }
  if (how < 9) {
    const ts_stmt *c[2] = {make(w, s, depth - 1), make(w, s, depth - 1)};
    return ts_seq(ir, c, 2);
  }
  return ts_if(ir, ts_bin(ir, TS_E_LT, index_of(w, &s), ts_int(ir, pick(w, 1, 12))), make(w, s, depth - 1), NULL);
}

// --- judging -----------------------------------------------------------------------------------------------
static bool same_place(const move *x, const move *y) {
  return x->buf == y->buf && x->at[0] == y->at[0] && x->at[1] == y->at[1];
}

static bool conflict(const world *w) {
  for (int i = 0; i < w->n; i++)
    for (int j = 0; j < i; j++)
      if (same_place(&w->m[i], &w->m[j]) && (w->m[i].write || w->m[j].write) && w->m[i].loop != w->m[j].loop)
        return true;
  return false;
}

static bool inside(world *w, const ts_region *r, const move *m) {
  for (int d = 0; d < r->buf->ndim; d++) {
    int64_t min = ev(w, r->dim[d].min), extent = ev(w, r->dim[d].extent);
    if (m->at[d] < min || m->at[d] >= min + extent || min < 0 || min + extent > DIM) return false;
  }
  return true;
}

static void check_region(world *w, const ts_accesses *acc) {
  for (int i = 0; i < w->n; i++) {
    const move *m = &w->m[i];
    const ts_region *r = m->write ? ts_regions_find(acc->writes, acc->nwrites, w->buf[m->buf])
                                  : ts_regions_find(acc->reads, acc->nreads, w->buf[m->buf]);
    if (!r || !inside(w, r, m)) {
      complain(w, "an access is outside its region");
      return;
    }
  }
}

static void check_siblings(world *w, ts_analyzer *a, const ts_stmt *s) {
  if (s->kind != TS_S_SEQ) return;
  ts_edges e = ts_sibling_edges(a, s->seq.child, s->seq.n);
  for (int i = 0; i < w->n; i++)
    for (int j = 0; j < w->n; j++) {
      const move *x = &w->m[i], *y = &w->m[j];
      if (x->child >= y->child || !same_place(x, y) || (!x->write && !y->write)) continue;
      ts_dep_kind k = x->write && y->write ? TS_DEP_WAW : x->write ? TS_DEP_RAW : TS_DEP_WAR;
      bool found = false;
      for (int q = 0; q < e.n; q++)
        found = found ||
                (e.p[q].src == x->child && e.p[q].dst == y->child && e.p[q].kind == k && e.p[q].buf == w->buf[x->buf]);
      if (!found) {
        complain(w, "an edge is missing");
        return;
      }
    }
}

static void check_cover(world *w, ts_analyzer *a, const ts_stmt *s) {
  if (s->kind != TS_S_SEQ) return;
  for (int b = 0; b < BUFS; b++) {
    ts_tri t = ts_region_cover(a, s->seq.child[0], s->seq.child[1], w->buf[b]);
    if (t != TS_YES) continue;
    covers++;
    for (int i = 0; i < w->n; i++) {
      if (w->m[i].child != 1 || w->m[i].write || w->m[i].buf != b) continue;
      bool written = false;
      for (int j = 0; j < w->n && !written; j++)
        written = w->m[j].child == 0 && w->m[j].write && same_place(&w->m[i], &w->m[j]);
      if (!written) {
        complain(w, "a read is not covered");
        return;
      }
    }
  }
}

static void check_loop(world *w, ts_analyzer *a, const ts_stmt *s, bool truth) {
  ts_dep d = ts_loop_carried(a, s, NULL, 0);
  tri[d.answer]++;
  loops_seen++;
  if (d.answer != TS_UNKNOWN && (d.answer == TS_YES) != truth) {
    complain(w, d.answer == TS_YES ? "wrong yes" : "wrong no");
    fprintf(stderr, "  loop id %u: %s\n", s->id, d.why);
  }
  reductions += d.answer == TS_YES && d.reduction_only;
}

// Visits loops from outside in; the moves of a loop are those under all values of the loops around it, one at a time.
static bool truth_of(world *w, const ts_stmt *s, const ts_stmt *const *outer, int n, int depth) {
  if (depth == n) {
    w->n = 0;
    w->watch = s->loop.var;
    run_stmt(w, s, 0);
    return conflict(w);
  }
  int64_t min = ev(w, outer[depth]->loop.min), extent = ev(w, outer[depth]->loop.extent);
  int mark = w->nvars;
  bool any = false;
  for (int64_t i = 0; i < extent && !any; i++) {
    set(w, outer[depth]->loop.var, min + i);
    any = truth_of(w, s, outer, n, depth + 1);
    w->nvars = mark;
  }
  return any;
}

static void check(world *w, ts_analyzer *a, const ts_stmt *s, const ts_stmt **outer, int n) {
  int mark = w->nvars;
  size_t scope_mark = ts_analyzer_push(a);
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) check(w, a, s->seq.child[i], outer, n);
      break;
    case TS_S_FOR:
      check_loop(w, a, s, truth_of(w, s, outer, n, 0));
      outer[n] = s;
      ts_bind_stmt(a, s);
      check(w, a, s->loop.body, outer, n + 1);
      break;
    default:
      break;
  }
  if (s->kind == TS_S_SEQ || s->kind == TS_S_FOR) {  // regions at one place of the loops around
    ts_accesses acc = ts_regions_of(a, s, NULL, 0);
    if (s->kind == TS_S_FOR) {
      ts_analyzer_pop(a, scope_mark);
      scope_mark = ts_analyzer_push(a);
      acc = ts_regions_of(a, s, NULL, 0);
    }
    for (int i = 0; i < n; i++)
      set(w, outer[i]->loop.var, ev(w, outer[i]->loop.min) + pick(w, 0, ev(w, outer[i]->loop.extent) - 1));
    w->n = 0;
    w->watch = NULL;
    run_stmt(w, s, -1);
    check_region(w, &acc);
    check_siblings(w, a, s);
    check_cover(w, a, s);
  }
  w->nvars = mark;
  ts_analyzer_pop(a, scope_mark);
}

static void run_case(uint64_t seed, uint64_t id, move *moves) {
  ts_arena *arena = ts_arena_new("fuzz");
  world w = {.ir = ts_ir_new(arena), .rng = ts_rng_new(seed, id), .id = id, .m = moves};
  const ts_expr *shape[2] = {ts_int(w.ir, DIM), ts_int(w.ir, DIM)};
  static const char *const name[BUFS] = {"C", "A", "B"};
  for (int i = 0; i < BUFS; i++) w.buf[i] = ts_buffer_new(w.ir, name[i], TS_F32, i == 1 ? 1 : 2, shape, "global");
  const ts_var *n = ts_var_new(w.ir, "n", TS_INDEX);
  w.most = pick(&w, 1, 6);
  w.dim = ts_for(w.ir, n, ts_int(w.ir, 1), ts_int(w.ir, w.most), TS_SERIAL, ts_seq(w.ir, NULL, 0));
  w.root = make(&w, (scope){.n = 0}, (int)pick(&w, 1, 4));
  w.watch = NULL;
  set(&w, n, w.most);
  run_stmt(&w, w.root, 0);
  w.nvars = 0;
  if (w.n < 700) {
    ts_analyzer *a = ts_analyzer_new(w.ir);
    const ts_stmt *outer[9] = {w.dim};
    ts_bind_const(a, n, 1, w.most);
    check(&w, a, w.root, outer, 1);
    ts_analyzer_free(a);
  }
  ts_arena_free(arena);
}

int main(int argc, char **argv) {
  uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000, seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  uint64_t only = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX, start = ts_now_ns();
  move *moves = malloc(sizeof *moves * MOVES);
  for (uint64_t id = 0; id < cases && moves; id++)
    if (only == UINT64_MAX || id == only) run_case(seed, id, moves);
  printf(
      "%llu cases: %ld loops, answers %ld unknown %ld yes (%ld reductions) %ld no, %ld covers, %ld failures, %.2f s\n",
      (unsigned long long)cases, loops_seen, tri[0], tri[1], reductions, tri[2], covers, fails,
      (double)(ts_now_ns() - start) * 1e-9);
  free(moves);
  return fails != 0;
}
