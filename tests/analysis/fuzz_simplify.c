// Property test of the simplifier, bounds, proofs and linear forms against direct evaluation.
// Usage: fuzz_simplify [cases] [seed]
#include "gen.h"

enum { SAMPLES = 24 };
static long decided, undecided, fails;

static void complain(const gen *g, uint64_t seed, const char *what, const ts_expr *e, const ts_expr *r) {
  if (++fails > 5) return;
  fprintf(stderr, "case %llu: %s\n", (unsigned long long)seed, what);
  gen_show(g, "given", e);
  gen_show(g, "result", r);
  gen_explain(g);
}

// Same value at sampled points; where the given expression has a value.
static void same_value(gen *g, uint64_t id, const ts_expr *e, const ts_expr *r) {
  for (int i = 0; i < SAMPLES && gen_assign(g); i++) {
    int64_t x, y;
    if (!gen_eval(g, e, &x)) continue;
    bool has = gen_eval(g, r, &y);
    if (!has && g->huge) continue;
    if (!has || x != y) {
      complain(g, id, "value differs", e, r);
      fprintf(stderr, "  value %lld\n", (long long)x);
      return;
    }
  }
}

static void stable(gen *g, uint64_t id, const ts_expr *e, const ts_expr *r) {
  ts_analyzer *a = ts_analyzer_new(g->ir);
  gen_bind(g, a);
  const ts_expr *again = ts_simplify(a, r);
  if (again != r) {
    complain(g, id, "not idempotent", e, r);
    gen_show(g, "again", again);
  }
  ts_analyzer_free(a);
}

static void bounds(gen *g, uint64_t id, ts_analyzer *a, const ts_expr *e) {
  ts_interval b = ts_bound(a, e);
  int64_t m = ts_known_multiple(a, e), x;
  for (int i = 0; i < SAMPLES && gen_assign(g); i++) {
    if (!gen_eval(g, e, &x)) continue;
    if (x < b.lo || x > b.hi || (m ? x % m : x) != 0) {
      complain(g, id, "outside its bound or multiple", e, ts_simplify(a, e));
      fprintf(stderr, "  value %lld bound %lld %lld multiple %lld\n", (long long)x, (long long)b.lo, (long long)b.hi,
              (long long)m);
      return;
    }
  }
}

static void proof(gen *g, uint64_t id, ts_analyzer *a, const ts_expr *c) {
  ts_tri t = ts_prove(a, c);
  *(t == TS_UNKNOWN ? &undecided : &decided) += 1;
  if (t == TS_UNKNOWN) return;
  for (int i = 0; i < SAMPLES && gen_assign(g); i++) {
    int64_t x;
    if (!gen_eval(g, c, &x) || (x != 0) == (t == TS_YES)) continue;
    complain(g, id, t == TS_YES ? "wrong yes" : "wrong no", c, NULL);
    return;
  }
}

static void elimination(gen *g, uint64_t id, ts_analyzer *a, const ts_expr *e) {
  const ts_var *vars[GEN_VARS];
  const ts_expr *lo, *hi;
  int n = 0;
  for (int i = 2; i < GEN_VARS; i++)
    if (gen_pick(g, 0, 1)) vars[n++] = g->v[i].var;
  if (!ts_bound_over(a, e, vars, n, &lo, &hi)) return;
  for (int i = 0; i < SAMPLES && gen_assign(g); i++) {
    int64_t x, y;
    bool bad = false;
    if (!gen_eval(g, e, &x)) continue;
    if (lo && gen_eval(g, lo, &y) && y > x) bad = true;
    if (hi && gen_eval(g, hi, &y) && y < x) bad = true;
    for (int v = 0; v < n; v++)
      bad = bad || (lo && ts_expr_uses_var(lo, vars[v])) || (hi && ts_expr_uses_var(hi, vars[v]));
    if (!bad) continue;
    complain(g, id, "outside its eliminated bound", e, lo);
    gen_show(g, "upper", hi);
    return;
  }
}

static void coefficients(gen *g, uint64_t id, ts_analyzer *a, const ts_expr *e) {
  const ts_var *v = g->v[gen_pick(g, 0, GEN_VARS - 1)].var;
  int64_t k;
  const ts_expr *rest, *sym;
  if (ts_linear(a, e, v, &k, &rest)) {
    if (ts_expr_uses_var(rest, v)) complain(g, id, "rest uses the variable", e, rest);
    same_value(g, id, e, ts_add(g->ir, ts_mul(g->ir, ts_evar(g->ir, v), ts_int(g->ir, k)), rest));
  }
  if (ts_linear_sym(a, e, v, &sym, &rest)) {
    if (ts_expr_uses_var(rest, v) || ts_expr_uses_var(sym, v)) complain(g, id, "rest uses the variable", e, rest);
    same_value(g, id, e, ts_add(g->ir, ts_mul(g->ir, ts_evar(g->ir, v), sym), rest));
  }
}

// The same case in a context of its own gives the same text.
static void run_case(uint64_t id, uint64_t seed, ts_text *out) {
  ts_arena *arena = ts_arena_new("fuzz");
  gen g = {.ir = ts_ir_new(arena), .rng = ts_rng_new(seed, id), .huge = id % 16 == 5};
  gen_context(&g, gen_pick(&g, 0, 2) == 0);
  const ts_expr *e = gen_index(&g, (int)gen_pick(&g, 2, 5)), *c = gen_cond(&g, 3);
  if (gen_assign(&g)) {
    ts_analyzer *a = ts_analyzer_new(g.ir);
    gen_bind(&g, a);
    const ts_expr *r = ts_simplify(a, e), *rc = ts_simplify(a, c);
    ts_expr_print(out, r);
    ts_expr_print(out, rc);
    same_value(&g, id, e, r);
    same_value(&g, id, c, rc);
    stable(&g, id, e, r);
    stable(&g, id, c, rc);
    bounds(&g, id, a, e);
    proof(&g, id, a, c);
    if (!g.huge) elimination(&g, id, a, e);  // bounds of values that do not overflow
    coefficients(&g, id, a, e);
    ts_analyzer_free(a);
  }
  ts_arena_free(arena);
}

int main(int argc, char **argv) {
  uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000, seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  uint64_t only = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
  uint64_t start = ts_now_ns();
  for (uint64_t id = 0; id < cases; id++) {
    if (only != UINT64_MAX && id != only) continue;
    ts_text x = {0}, y = {0};
    run_case(id, seed, &x);
    if (id % 8 == 0) {
      run_case(id, seed, &y);
      if (strcmp(ts_text_str(&x), ts_text_str(&y)) != 0)
        fails++, fprintf(stderr, "case %llu: not deterministic\n", (unsigned long long)id);
    }
    ts_text_free(&x);
    ts_text_free(&y);
  }
  printf("%llu cases, %ld conditions decided, %ld not, %ld failures, %.2f s\n", (unsigned long long)cases, decided,
         undecided, fails, (double)(ts_now_ns() - start) * 1e-9);
  return fails != 0;
}
