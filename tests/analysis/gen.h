// Random index expressions over a random context, and their value by direct evaluation: the judge of the analysis.
#ifndef TESTS_ANALYSIS_GEN_H
#define TESTS_ANALYSIS_GEN_H

#include <stdlib.h>

#include "analysis/analysis.h"

enum { GEN_VARS = 6 };
typedef struct gen_var {
  const ts_var *var;
  int64_t lo, hi, multiple;  // lo..hi when no symbolic end
  const ts_expr *extent;     // else 0 .. extent - 1
} gen_var;
typedef struct gen {
  ts_ir *ir;
  ts_rng rng;
  gen_var v[GEN_VARS];
  const ts_expr *assumed;  // or NULL
  bool huge;               // constants near the ends of 64 bits
  int64_t value[GEN_VARS];
} gen;

static inline int64_t gen_pick(gen *g, int64_t lo, int64_t hi) {
  return lo + (int64_t)ts_rng_below(&g->rng, (uint32_t)(hi - lo + 1));
}

// Value of e under g->value; false where e has none (division by zero) or it leaves 64 bits on the way.
static inline bool gen_eval(const gen *g, const ts_expr *e, int64_t *out) {
  int64_t x = 0, y = 0;
  if (e->kind == TS_E_INT) return *out = e->i, true;
  if (e->kind == TS_E_VAR) {
    for (int i = 0; i < GEN_VARS; i++)
      if (g->v[i].var == e->var) return *out = g->value[i], true;
    return false;
  }
  if (!gen_eval(g, e->arg[0], &x)) return false;
  if (e->kind == TS_E_NOT) return *out = !x, true;
  if (e->kind == TS_E_CAST) return *out = x, true;
  if (e->kind == TS_E_SELECT) return gen_eval(g, e->arg[x ? 1 : 2], out);
  if (e->kind == TS_E_AND && !x) return *out = 0, true;
  if (e->kind == TS_E_OR && x) return *out = 1, true;
  if (!gen_eval(g, e->arg[1], &y)) return false;
  if ((e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD) && y == 0) return false;
  if (y == -1 && x == INT64_MIN) return false;
  int64_t rem = y ? x % y : 0, low = rem != 0 && (rem < 0) != (y < 0), q = y ? x / y - low : 0;
  switch (e->kind) {
    case TS_E_ADD:
      return !__builtin_add_overflow(x, y, out);
    case TS_E_SUB:
      return !__builtin_sub_overflow(x, y, out);
    case TS_E_MUL:
      return !__builtin_mul_overflow(x, y, out);
    case TS_E_FLOORDIV:
      *out = q;
      break;
    case TS_E_FLOORMOD:
      *out = low ? rem + y : rem;
      break;
    case TS_E_MIN:
      *out = x < y ? x : y;
      break;
    case TS_E_MAX:
      *out = x > y ? x : y;
      break;
    case TS_E_SHL:
      return !__builtin_mul_overflow(x, (int64_t)1 << y, out);
    case TS_E_SHR:
      *out = x >> y;
      break;
    case TS_E_BITAND:
      *out = x & y;
      break;
    case TS_E_EQ:
      *out = x == y;
      break;
    case TS_E_NE:
      *out = x != y;
      break;
    case TS_E_LT:
      *out = x < y;
      break;
    case TS_E_LE:
      *out = x <= y;
      break;
    case TS_E_AND:
      *out = x && y;
      break;
    case TS_E_OR:
      *out = x || y;
      break;
    default:
      return false;
  }
  return true;
}

static inline const ts_expr *gen_cond(gen *g, int depth);

static inline const ts_expr *gen_index(gen *g, int depth) {
  static const int64_t factor[] = {1, 2, 3, 4, 5, 8, 12, 16, 32, 7, -1, -2, -4, -3};
  static const int64_t far[] = {INT64_MAX,        INT64_MIN,           INT64_MIN + 1, INT64_MAX / 2,
                                (int64_t)1 << 62, -((int64_t)1 << 62), INT64_MAX - 7, 1};
  ts_ir *ir = g->ir;
  int64_t pick = gen_pick(g, 0, 99);
  if (depth == 0 || pick < 12) {
    if (g->huge && gen_pick(g, 0, 1)) return ts_int(ir, far[gen_pick(g, 0, (int64_t)TS_COUNTOF(far) - 1)]);
    if (gen_pick(g, 0, 3) == 0) return ts_int(ir, gen_pick(g, -20, 40));
    return ts_evar(ir, g->v[gen_pick(g, 0, GEN_VARS - 1)].var);
  }
  const ts_expr *x = gen_index(g, depth - 1);
  const ts_expr *k = ts_int(ir, factor[gen_pick(g, 0, (int64_t)TS_COUNTOF(factor) - 1)]);
  if (g->huge && !gen_pick(g, 0, 3)) k = ts_int(ir, far[gen_pick(g, 0, (int64_t)TS_COUNTOF(far) - 1)]);
  if (pick < 32) return ts_mul(ir, x, k);
  if (pick < 44) return ts_bin(ir, TS_E_FLOORDIV, x, k);
  if (pick < 56) return ts_bin(ir, TS_E_FLOORMOD, x, k);
  if (pick < 58) return ts_bin(ir, gen_pick(g, 0, 1) ? TS_E_SHR : TS_E_SHL, x, ts_int(ir, gen_pick(g, 0, 4)));
  if (pick < 59) return ts_bin(ir, TS_E_BITAND, x, ts_int(ir, ((int64_t)1 << gen_pick(g, 0, 5)) - 1));
  const ts_expr *y = gen_index(g, depth - 1);
  if (pick < 78) return ts_add(ir, x, y);
  if (pick < 84) return ts_sub(ir, x, y);
  if (pick < 87) return ts_mul(ir, x, y);
  if (pick < 89) return ts_bin(ir, gen_pick(g, 0, 1) ? TS_E_FLOORDIV : TS_E_FLOORMOD, x, y);
  if (pick < 93) return ts_bin(ir, TS_E_MIN, x, y);
  if (pick < 97) return ts_bin(ir, TS_E_MAX, x, y);
  return ts_select(ir, gen_cond(g, depth - 1), x, y);
}

static inline const ts_expr *gen_cond(gen *g, int depth) {
  static const ts_ekind compare[] = {TS_E_LT, TS_E_LE, TS_E_EQ, TS_E_NE, TS_E_LT};
  int64_t pick = gen_pick(g, 0, 99);
  if (depth == 0 || pick < 60)
    return ts_bin(g->ir, compare[gen_pick(g, 0, 4)], gen_index(g, depth > 2 ? 2 : depth),
                  gen_index(g, depth > 2 ? 2 : depth));
  if (pick < 70) return ts_not(g->ir, gen_cond(g, depth - 1));
  return ts_bin(g->ir, pick < 88 ? TS_E_AND : TS_E_OR, gen_cond(g, depth - 1), gen_cond(g, depth - 1));
}

// a, b, c: constant ranges, often from 0; n, m: symbolic dimensions; s: 0 .. an extent in terms of n and m.
static inline void gen_context(gen *g, bool assume) {
  static const char *const name[GEN_VARS] = {"n", "m", "a", "b", "c", "s"};
  static const int64_t width[] = {1, 2, 3, 4, 5, 8, 8, 16, 10};
  static const int64_t multiple[] = {1, 1, 2, 4, 8};
  for (int i = 0; i < GEN_VARS; i++) {
    gen_var *v = &g->v[i];
    *v = (gen_var){.var = ts_var_new(g->ir, name[i], TS_INDEX), .multiple = 1};
    if (i < 2) {
      v->multiple = multiple[gen_pick(g, 0, (int64_t)TS_COUNTOF(multiple) - 1)];
      v->lo = v->multiple;
      v->hi = v->multiple * gen_pick(g, 1, 5);
    } else if (i < 5) {
      v->lo = gen_pick(g, 0, 2) ? 0 : gen_pick(g, -6, 6);
      v->hi = v->lo + width[gen_pick(g, 0, (int64_t)TS_COUNTOF(width) - 1)] - 1;
    } else {
      const ts_expr *n = ts_evar(g->ir, g->v[gen_pick(g, 0, 1)].var);
      int64_t how = gen_pick(g, 0, 2);
      const ts_expr *k = ts_int(g->ir, gen_pick(g, 1, 4));
      v->extent = how == 0   ? n
                  : how == 1 ? ts_mul(g->ir, n, k)
                             : ts_bin(g->ir, TS_E_FLOORDIV, ts_add(g->ir, n, ts_sub(g->ir, k, ts_int(g->ir, 1))), k);
    }
  }
  g->assumed = assume ? gen_cond(g, 2) : NULL;
}

static inline void gen_bind(const gen *g, ts_analyzer *a) {
  for (int i = 0; i < GEN_VARS; i++) {
    const gen_var *v = &g->v[i];
    if (v->extent) {
      ts_bind_range(a, v->var, (ts_range){ts_int(g->ir, 0), v->extent});
    } else {
      ts_bind_const(a, v->var, v->lo, v->hi);
      ts_bind_multiple(a, v->var, v->multiple);
    }
  }
  if (g->assumed) ts_assume(a, g->assumed);
}

// Random values that the context admits; false after some failures.
static inline bool gen_assign(gen *g) {
  for (int tries = 0; tries < 30; tries++) {
    bool ok = true;
    for (int i = 0; i < GEN_VARS && ok; i++) {
      const gen_var *v = &g->v[i];
      int64_t extent;
      if (v->extent)
        ok = gen_eval(g, v->extent, &extent) && extent > 0 && (g->value[i] = gen_pick(g, 0, extent - 1), true);
      else
        g->value[i] = v->multiple * gen_pick(g, v->lo / v->multiple, v->hi / v->multiple);
    }
    int64_t holds = 1;
    if (ok && g->assumed) ok = gen_eval(g, g->assumed, &holds) && holds;
    if (ok) return true;
  }
  return false;
}

static inline void gen_show(const gen *g, const char *what, const ts_expr *e) {
  ts_text t = {0};
  if (e) ts_expr_print(&t, e);
  fprintf(stderr, "  %s: %s\n", what, ts_text_str(&t));
  ts_text_free(&t);
  (void)g;
}

static inline void gen_explain(const gen *g) {
  for (int i = 0; i < GEN_VARS; i++) {
    fprintf(stderr, "  %s = %lld in [%lld, %lld] multiple %lld\n", g->v[i].var->name, (long long)g->value[i],
            (long long)g->v[i].lo, (long long)g->v[i].hi, (long long)g->v[i].multiple);
    if (g->v[i].extent) gen_show(g, "   extent", g->v[i].extent);
  }
  if (g->assumed) gen_show(g, "assumed", g->assumed);
}

#endif
