// Property test of iteration maps against enumeration: random splits, fusions, guards and bindings over small loops.
// Usage: fuzz_itermap [cases] [seed] [only]
#include <stdlib.h>

#include "analysis/analysis.h"

enum { LOOPS = 4, BINDS = 5, POINTS = 6000 };
typedef struct nest {
  ts_ir *ir;
  ts_rng rng;
  uint64_t id;
  int nin, nbind;
  ts_loop_range in[LOOPS];
  const ts_var *vars[LOOPS];
  int64_t min[LOOPS], extent[LOOPS], points;
  const ts_expr *bind[BINDS], *pred;
  ts_range dom[BINDS];
} nest;
static long fails, detected, refused, inverted, divided, answers[3];

static int64_t pick(nest *g, int64_t lo, int64_t hi) {
  return lo + (int64_t)ts_rng_below(&g->rng, (uint32_t)(hi - lo + 1));
}

static void show(const char *what, const ts_expr *e) {
  ts_text t = {0};
  if (e) ts_expr_print(&t, e);
  fprintf(stderr, "  %s %s\n", what, ts_text_str(&t));
  ts_text_free(&t);
}

static void complain(nest *g, const char *what) {
  if (++fails > 6) return;
  fprintf(stderr, "case %llu: %s\n", (unsigned long long)g->id, what);
  for (int i = 0; i < g->nin; i++)
    fprintf(stderr, "  loop %s in %lld + %lld\n", g->in[i].var->name, (long long)g->min[i], (long long)g->extent[i]);
  for (int i = 0; i < g->nbind; i++) {
    show("bind", g->bind[i]);
    show("  of", g->dom[i].extent);
  }
  if (g->pred) show("pred", g->pred);
}

static void point(const nest *g, int64_t p, int64_t *value) {
  for (int i = g->nin - 1; i >= 0; i--) {
    value[i] = g->min[i] + p % g->extent[i];
    p /= g->extent[i];
  }
}

static bool value_of(const nest *g, const ts_expr *e, const int64_t *value, int64_t *out) {
  return ts_eval_int(e, g->vars, value, g->nin, out);
}

static bool admitted(const nest *g, const int64_t *value) {
  int64_t ok = 1;
  return !g->pred || (value_of(g, g->pred, value, &ok) && ok);
}

// --- generation: bindings as a schedule would leave them ---------------------------------------------------
static void make_loops(nest *g) {
  static const char *const name[LOOPS] = {"i", "j", "k", "l"};
  static const int64_t extent[] = {1, 2, 3, 4, 5, 6, 8, 8, 12, 16};
  g->nin = (int)pick(g, 1, LOOPS);
  g->points = 1;
  for (int i = 0; i < g->nin; i++) {
    g->vars[i] = ts_var_new(g->ir, name[i], TS_INDEX);
    g->extent[i] = extent[pick(g, 0, (int64_t)TS_COUNTOF(extent) - 1)];
    if (g->points * g->extent[i] > POINTS) g->extent[i] = 1;
    g->min[i] = pick(g, 0, 9) ? 0 : pick(g, -3, 3);
    g->points *= g->extent[i];
    g->in[i] = (ts_loop_range){g->vars[i], {ts_int(g->ir, g->min[i]), ts_int(g->ir, g->extent[i])}};
  }
}

// values[0..n) run through independent ranges 0 .. size - 1; fuse two of them or split one, some times.
static void make_structured(nest *g) {
  const ts_expr *e[12], *pred = NULL;
  int64_t size[12];
  int n = g->nin;
  ts_ir *ir = g->ir;
  for (int i = 0; i < n; i++) {
    e[i] = ts_sub(ir, ts_evar(ir, g->vars[i]), g->in[i].dom.min);
    size[i] = g->extent[i];
  }
  for (int64_t steps = pick(g, 0, 5); steps > 0; steps--) {
    int i = (int)pick(g, 0, n - 1), j = (int)pick(g, 0, n - 1);
    int64_t how = pick(g, 0, 9);
    if (how < 4 && i != j) {  // fuse, perhaps with a guard
      e[i] = ts_add(ir, ts_mul(ir, e[i], ts_int(ir, size[j])), e[j]);
      size[i] *= size[j];
      if (!pick(g, 0, 2) && size[i] > 2) {
        size[i] -= pick(g, 0, size[i] / 2);
        const ts_expr *c = ts_bin(ir, TS_E_LT, e[i], ts_int(ir, size[i]));
        pred = pred ? ts_bin(ir, TS_E_AND, pred, c) : c;
      }
      e[j] = e[n - 1];
      size[j] = size[n - 1];
      n--;
    } else if (n < BINDS) {  // split
      static const int64_t factor[] = {2, 3, 4, 8, 5};
      int64_t f = factor[pick(g, 0, 4)];
      if (size[i] % f && pick(g, 0, 3)) continue;
      const ts_expr *c = ts_int(ir, f);
      e[n] = ts_bin(ir, TS_E_FLOORMOD, e[i], c);
      size[n++] = f;
      e[i] = ts_bin(ir, TS_E_FLOORDIV, e[i], c);
      size[i] = (size[i] + f - 1) / f;
    }
  }
  g->pred = pred;
  g->nbind = n;
  for (int i = 0; i < n; i++) {
    int64_t off = pick(g, 0, 7) ? 0 : pick(g, -4, 4);
    bool flip = !pick(g, 0, 9);
    g->bind[i] = flip ? ts_sub(ir, ts_int(ir, size[i] - 1), e[i]) : e[i];
    g->bind[i] = ts_add(ir, g->bind[i], ts_int(ir, off));
    g->dom[i] = (ts_range){ts_int(ir, off), ts_int(ir, size[i])};
  }
}

static const ts_expr *wild(nest *g, int depth) {
  ts_ir *ir = g->ir;
  if (depth == 0 || !pick(g, 0, 4))
    return pick(g, 0, 5) ? ts_evar(ir, g->vars[pick(g, 0, g->nin - 1)]) : ts_int(ir, pick(g, 0, 9));
  const ts_expr *x = wild(g, depth - 1), *c = ts_int(ir, pick(g, 1, 9));
  switch (pick(g, 0, 6)) {
    case 0:
      return ts_bin(ir, TS_E_FLOORDIV, x, c);
    case 1:
      return ts_bin(ir, TS_E_FLOORMOD, x, c);
    case 2:
      return ts_mul(ir, x, c);
    case 3:
      return ts_sub(ir, x, wild(g, depth - 1));
    case 4:
      return ts_mul(ir, x, wild(g, depth - 1));
    default:
      return ts_add(ir, x, wild(g, depth - 1));
  }
}

static void make_wild(nest *g) {
  g->nbind = (int)pick(g, 1, 3);
  for (int i = 0; i < g->nbind; i++) {
    g->bind[i] = wild(g, 3);
    g->dom[i] = (ts_range){ts_int(g->ir, pick(g, 0, 6) ? 0 : 1), ts_int(g->ir, pick(g, 1, 16))};
  }
  if (!pick(g, 0, 2)) g->pred = ts_bin(g->ir, TS_E_LT, wild(g, 2), ts_int(g->ir, pick(g, 0, 40)));
}

// --- judgement ---------------------------------------------------------------------------------------------
static int by_row(const void *x, const void *y) { return memcmp(x, y, sizeof(int64_t) * BINDS); }

static void truth(nest *g, bool *injective, bool *surjective, int64_t *n) {
  int64_t *rows = calloc((size_t)g->points * BINDS, sizeof *rows), value[LOOPS], total = 1;
  bool inside = true;
  *n = 0;
  for (int i = 0; i < g->nbind; i++) total *= g->dom[i].extent->i;
  for (int64_t p = 0; p < g->points; p++) {
    point(g, p, value);
    if (!admitted(g, value)) continue;
    for (int i = 0; i < g->nbind; i++) {
      int64_t *v = &rows[*n * BINDS + i];
      if (!value_of(g, g->bind[i], value, v)) abort();
      inside = inside && *v >= g->dom[i].min->i && *v < g->dom[i].min->i + g->dom[i].extent->i;
    }
    ++*n;
  }
  qsort(rows, (size_t)*n, sizeof *rows * BINDS, by_row);
  int64_t different = *n > 0;
  for (int64_t i = 1; i < *n; i++) different += by_row(&rows[i * BINDS], &rows[(i - 1) * BINDS]) != 0;
  *injective = different == *n;
  *surjective = inside && different == total;
  free(rows);
}

static void check_answer(nest *g, const char *what, ts_tri said, bool is) {
  answers[said]++;
  if (said == TS_UNKNOWN || (said == TS_YES) == is) return;
  complain(g, what);
  fprintf(stderr, "  said %s\n", ts_tri_name(said));
}

static void check_sums(nest *g, ts_analyzer *a, const ts_itermap *m) {
  int64_t value[LOOPS], x, y;
  for (int i = 0; i < m->n; i++) {
    const ts_expr *e = ts_isum_expr(a, &m->bind[i]);
    for (int64_t p = 0; p < g->points; p++) {
      point(g, p, value);
      if (!admitted(g, value) || !value_of(g, g->bind[i], value, &x)) continue;
      if (!value_of(g, e, value, &y) || x != y) {
        complain(g, "a sum differs from its binding");
        show("sum", e);
        return;
      }
      const ts_isum *s = &m->bind[i];
      if (s->extent &&
          (x < s->min->i || (x - s->min->i) % s->step->i || (x - s->min->i) / s->step->i >= s->extent->i)) {
        complain(g, "a sum leaves its range");
        return;
      }
    }
  }
}

static void check_inverse(nest *g, ts_analyzer *a, const ts_itermap *m) {
  const ts_expr *of[BINDS], *result[LOOPS];
  const ts_var *ov[BINDS];
  int64_t value[LOOPS], image[BINDS], x;
  size_t mark = ts_analyzer_push(a);
  for (int i = 0; i < g->nbind; i++) {
    ov[i] = ts_var_new(g->ir, "v", TS_INDEX);
    of[i] = ts_evar(g->ir, ov[i]);
    ts_bind_range(a, ov[i], g->dom[i]);
  }
  bool ok = ts_itermap_invert(a, m, of, result, NULL);
  inverted += ok;
  for (int64_t p = 0; p < g->points && ok; p++) {
    point(g, p, value);
    if (!admitted(g, value)) continue;
    for (int i = 0; i < g->nbind; i++)
      if (!value_of(g, g->bind[i], value, &image[i])) abort();
    for (int i = 0; i < g->nin && ok; i++) ok = ts_eval_int(result[i], ov, image, g->nbind, &x) && x == value[i];
    if (!ok) {
      complain(g, "wrong inverse");
      for (int i = 0; i < g->nin; i++) show("inverse", result[i]);
    }
  }
  ts_analyzer_pop(a, mark);
}

static bool holds(const nest *g, const ts_expr *c, const int64_t *value) {
  int64_t v = 1;
  return !c || (value_of(g, c, value, &v) && v);
}

static void check_division(nest *g, ts_analyzer *a, const ts_itermap *m) {
  const ts_var *inner[LOOPS];
  const ts_expr *op, *ip;
  ts_subspace s[BINDS];
  ts_diag d;
  int n = 0;
  for (int i = 0; i < g->nin; i++)
    if (pick(g, 0, 1)) inner[n++] = g->vars[i];
  if (!ts_itermap_divide(a, m, inner, n, s, &op, &ip, &d)) return;
  divided++;
  for (int64_t p = 0; p < g->points; p++) {
    int64_t value[LOOPS], x, o, i;
    point(g, p, value);
    bool in = admitted(g, value), bad = in != (holds(g, op, value) && holds(g, ip, value));
    for (int b = 0; b < g->nbind && !bad && in; b++) {
      bad = !value_of(g, g->bind[b], value, &x) || !value_of(g, s[b].outer, value, &o) ||
            !value_of(g, s[b].inner, value, &i) || x != o * s[b].inner_extent->i + i || i < 0 ||
            i >= s[b].inner_extent->i;
      for (int v = 0; v < g->nin; v++) {
        bool is_inner = false;
        for (int k = 0; k < n; k++) is_inner = is_inner || inner[k] == g->vars[v];
        bad = bad || ts_expr_uses_var(is_inner ? s[b].outer : s[b].inner, g->vars[v]);
      }
    }
    if (bad) {
      complain(g, "wrong division");
      for (int k = 0; k < n; k++) fprintf(stderr, "  inner %s\n", inner[k]->name);
      for (int b = 0; b < g->nbind; b++)
        show("outer", s[b].outer), show("inner", s[b].inner), show("extent", s[b].inner_extent);
      return;
    }
  }
}

static void run_case(uint64_t seed, uint64_t id) {
  ts_arena *arena = ts_arena_new("fuzz");
  nest g = {.ir = ts_ir_new(arena), .rng = ts_rng_new(seed, id), .id = id};
  ts_analyzer *a = ts_analyzer_new(g.ir);
  ts_itermap m;
  ts_diag d;
  bool injective, surjective;
  int64_t n;
  make_loops(&g);
  if (pick(&g, 0, 4))
    make_structured(&g);
  else
    make_wild(&g);
  truth(&g, &injective, &surjective, &n);
  if (n > 0) {
    bool ok = ts_itermap_detect(a, g.in, g.nin, g.bind, g.nbind, g.pred, g.dom, &m, &d);
    *(ok ? &detected : &refused) += 1;
    check_answer(&g, "injective", m.injective, injective);
    check_answer(&g, "surjective", m.surjective, surjective);
    if (ok) check_sums(&g, a, &m);
    if (ok && m.bijective == TS_YES) check_inverse(&g, a, &m);
    if (ok) check_division(&g, a, &m);
  }
  ts_analyzer_free(a);
  ts_arena_free(arena);
}

int main(int argc, char **argv) {
  uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000, seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  uint64_t only = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX, start = ts_now_ns();
  for (uint64_t id = 0; id < cases; id++)
    if (only == UINT64_MAX || id == only) run_case(seed, id);
  printf(
      "%llu cases: %ld detected, %ld refused, %ld inverted, %ld divided, answers %ld unknown %ld yes %ld no, %ld "
      "failures, %.2f s\n",
      (unsigned long long)cases, detected, refused, inverted, divided, answers[0], answers[1], answers[2], fails,
      (double)(ts_now_ns() - start) * 1e-9);
  return fails != 0;
}
