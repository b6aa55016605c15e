// Conditions: comparisons as linear forms against zero, and, or, not.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

static const ts_expr *truth(ts_analyzer *a, bool v) { return ts_const_int(a->ir, ts_scalar(TS_BOOL), v); }

// --- l >= 0 ------------------------------------------------------------------------------------------------
// Positive terms to the right, negative to the left: l == right - left + c.
static void sides(const ts__lin *l, ts__lin *left, ts__lin *right) {
  ts__lin_const(left, 0);
  ts__lin_const(right, 0);
  for (int i = 0; i < l->n; i++)
    ts__lin_add_term(l->t[i].k > 0 ? right : left, l->t[i].k > 0 ? l->t[i].k : -l->t[i].k, l->t[i].atom);
}

static const ts_expr *write_ge0(ts_analyzer *a, const ts__lin *l) {
  ts__lin left, right;
  sides(l, &left, &right);
  ts_ekind kind = TS_E_LT;
  if (!left.n) {
    left.c = -l->c;
    kind = TS_E_LE;
  } else if (l->c == 0 && right.n) {
    kind = TS_E_LE;
  } else if (l->c + 1 >= 0 || !right.n) {
    right.c = l->c + 1;
  } else {
    left.c = -(l->c + 1);
  }
  return ts_bin(a->ir, kind, ts__lin_expr(a->ir, &left), ts__lin_expr(a->ir, &right));
}

// l == g * y + b where b keeps one quotient by g: then l >= 0 says y + quotient >= 0, and l == 0 says both are 0.
// The remainder b - g * quotient goes to *rest.
static bool by_partition(ts_analyzer *a, ts__lin *l, ts__lin *rest) {
  for (int64_t last = INT64_MAX, g; last > 1; last = g) {
    g = 1;
    for (int i = 0; i < l->n; i++) {
      int64_t k = l->t[i].k < 0 ? -l->t[i].k : l->t[i].k;
      if (k > g && k < last) g = k;
    }
    if (g == 1) return false;
    ts__lin y, b;
    ts__lin_const(&y, 0);
    ts__lin_const(&b, l->c);
    for (int i = 0; i < l->n; i++) {
      bool whole = l->t[i].k % g == 0;
      ts__lin_add_term(whole ? &y : &b, whole ? l->t[i].k / g : l->t[i].k, l->t[i].atom);
    }
    ts_interval r = ts__lin_bound(a, &b);
    if (!b.n || !y.n || r.lo == TS_NEG_INF || r.hi == TS_POS_INF || r.lo > r.hi) continue;
    int64_t q = ts__floordiv(r.lo, g), off;
    if (q != ts__floordiv(r.hi, g) || __builtin_mul_overflow(q, g, &off) || !ts__lin_add_const(&b, -off)) continue;
    ts__lin_copy(l, &y);
    ts__lin_copy(rest, &b);
    return ts__lin_add_const(l, q);
  }
  return false;
}

// Divides by the common divisor; also uses known multiples to tighten the constant.
static void tighten(ts_analyzer *a, ts__lin *l) {
  int64_t g = ts__lin_gcd(l), m = 0, p;
  if (g > 1) {
    l->c = ts__floordiv(l->c, g);
    for (int i = 0; i < l->n; i++) l->t[i].k /= g;
  }
  for (int i = 0; i < l->n; i++)
    m = ts__gcd(m, __builtin_mul_overflow(l->t[i].k, ts__multiple_of(a, l->t[i].atom), &p) ? 1 : p);
  if (m > 1 && !__builtin_mul_overflow(ts__floordiv(l->c, m), m, &p)) l->c = p;
}

// +-(y // c) + constant >= 0 as a bound on y.
static bool undivide(ts__lin *l) {
  int64_t c, k = l->n == 1 ? l->t[0].k : 0, v;
  if (k != 1 && k != -1) return false;
  const ts_expr *e = l->t[0].atom;
  ts__lin y;
  if (e->kind != TS_E_FLOORDIV || !ts_is_int(e->arg[1], &c) || c <= 0 || !ts__lin_parse(&y, e->arg[0])) return false;
  if (k == 1) {  // y + c * const >= 0
    if (__builtin_mul_overflow(c, l->c, &v)) return false;
  } else {  // c * const + c - 1 - y >= 0
    if (__builtin_mul_overflow(c, l->c + 1, &v) || !ts__lin_scale(&y, -1)) return false;
    v--;
  }
  if (!ts__lin_add_const(&y, v)) return false;
  ts__lin_copy(l, &y);
  return true;
}

static bool minus_one_less(ts__lin *out, const ts__lin *l) {  // -l - 1
  ts__lin_copy(out, l);
  return ts__lin_scale(out, -1) && ts__lin_add_const(out, -1);
}

const ts_expr *ts__cond_ge0(ts_analyzer *a, const ts__lin *given) {
  ts__lin l, rest, no;
  ts__lin_copy(&l, given);
  for (int round = 0; round < 8; round++) {
    ts_interval b = ts__lin_bound(a, &l);
    if (b.lo >= 0) return truth(a, true);
    if (b.hi < 0) return truth(a, false);
    tighten(a, &l);
    if (!by_partition(a, &l, &rest) && !undivide(&l)) break;
  }
  if (l.n == 0) return truth(a, l.c >= 0);
  ts_interval b = ts__lin_bound(a, &l);
  if (b.lo >= 0 || ts__prove_ge0(a, &l)) return truth(a, true);
  if (b.hi < 0 || (minus_one_less(&no, &l) && ts__prove_ge0(a, &no))) return truth(a, false);
  if (l.c > INT64_MAX - 2 || l.c < INT64_MIN + 2) return NULL;
  return write_ge0(a, &l);
}

// --- l == 0 ------------------------------------------------------------------------------------------------
static const ts_expr *write_eq0(ts_analyzer *a, ts__lin *l) {
  ts__lin left, right;
  bool flip = l->t[0].k < 0;
  if (flip && !ts__lin_scale(l, -1)) return NULL;
  sides(l, &left, &right);
  left.c = -l->c;
  return ts_bin(a->ir, TS_E_EQ, ts__lin_expr(a->ir, &right), ts__lin_expr(a->ir, &left));
}

static const ts_expr *join(ts_analyzer *a, ts_ekind kind, const ts_expr *x, const ts_expr *y);

const ts_expr *ts__cond_eq0(ts_analyzer *a, const ts__lin *given) {
  ts__lin l, rest, t;
  ts__lin_copy(&l, given);
  ts_interval b = ts__lin_bound(a, &l);
  if (l.n == 0) return truth(a, l.c == 0);
  if (b.lo > 0 || b.hi < 0) return truth(a, false);
  int64_t g = ts__lin_gcd(&l), m = 0, p;
  for (int i = 0; i < l.n; i++)
    m = ts__gcd(m, __builtin_mul_overflow(l.t[i].k, ts__multiple_of(a, l.t[i].atom), &p) ? 1 : p);
  if ((g > 1 && l.c % g) || (m > 1 && l.c % m)) return truth(a, false);
  if (g > 1) {
    l.c /= g;
    for (int i = 0; i < l.n; i++) l.t[i].k /= g;
  }
  ts__lin_copy(&t, &l);
  bool parted = by_partition(a, &l, &rest);
  if (!parted && ts__lin_scale(&t, -1)) {
    parted = by_partition(a, &t, &rest);
    if (parted) ts__lin_copy(&l, &t);
  }
  if (parted) {
    const ts_expr *x = ts__cond_eq0(a, &l), *y = ts__cond_eq0(a, &rest);
    return x && y ? join(a, TS_E_AND, x, y) : NULL;
  }
  ts__lin_copy(&t, &l);
  bool ge = ts__prove_ge0(a, &l), le = ts__lin_scale(&t, -1) && ts__prove_ge0(a, &t);
  if (ge && le) return truth(a, true);
  ts__lin_copy(&t, &l);
  if (ts__lin_add_const(&t, -1) && ge && ts__prove_ge0(a, &t)) return truth(a, false);
  if (le && minus_one_less(&t, &l) && ts__prove_ge0(a, &t)) return truth(a, false);
  if (l.c == INT64_MIN) return NULL;
  return write_eq0(a, &l);
}

// --- and, or, not ------------------------------------------------------------------------------------------
enum { PARTS = 12 };
typedef struct parts {
  int n;
  const ts_expr *e[PARTS];
} parts;

static bool flatten(parts *p, ts_ekind kind, const ts_expr *e) {
  if (e->kind == kind) return flatten(p, kind, e->arg[0]) && flatten(p, kind, e->arg[1]);
  for (int i = 0; i < p->n; i++)
    if (p->e[i] == e) return true;
  if (p->n == PARTS) return false;
  p->e[p->n++] = e;
  return true;
}

static bool note_unsafe(void *arg, const ts_expr *e) {
  int64_t d = 0;
  bool division = (e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD) && (!ts_is_int(e->arg[1], &d) || !d);
  if (e->kind == TS_E_LOAD || division) *(bool *)arg = true;
  return !*(bool *)arg;
}

// Parts may be reordered and left out when none of them can fail.
static bool movable(const parts *p) {
  bool unsafe = false;
  for (int i = 0; i < p->n; i++) ts_expr_visit(p->e[i], note_unsafe, &unsafe);
  return !unsafe;
}

static int by_order(const void *x, const void *y) {
  return ts__expr_cmp(*(const ts_expr *const *)x, *(const ts_expr *const *)y);
}

// What part i is when all other parts of an AND hold (of an OR: fail).
static const ts_expr *given_others(ts_analyzer *a, const parts *p, int i, bool and) {
  size_t mark = ts_analyzer_push(a);
  a->depth++;
  for (int j = 0; j < p->n; j++)
    if (j != i) ts_assume(a, and? p->e[j] : ts__negate(a, p->e[j]));
  const ts_expr *r = ts_simplify(a, p->e[i]);
  a->depth--;
  ts_analyzer_pop(a, mark);
  return r;
}

// Leaves out parts that follow from the others; *all says that the parts decide each other (AND false, OR true).
static void drop_implied(ts_analyzer *a, parts *p, bool and, bool *all) {
  for (int i = p->n - 1; i >= 0 && p->n > 1; i--) {
    int64_t v;
    if (!ts_is_int(given_others(a, p, i, and), &v)) continue;
    if ((v != 0) != and) {
      *all = true;
      return;
    }
    for (int j = i; j + 1 < p->n; j++) p->e[j] = p->e[j + 1];
    p->n--;
  }
}

// x and y are canonical.
static const ts_expr *join(ts_analyzer *a, ts_ekind kind, const ts_expr *x, const ts_expr *y) {
  enum { NESTED = 2 };
  int64_t v;
  bool and = kind == TS_E_AND;
  for (int i = 0; i < 2; i++) {
    const ts_expr *e = i ? y : x;
    if (ts_is_int(e, &v)) return (v != 0) == and? (i ? x : y) : e;
  }
  parts p = {.n = 0};
  if (!flatten(&p, kind, x) || !flatten(&p, kind, y)) return ts_bin(a->ir, kind, x, y);
  bool all = false;
  if (movable(&p)) {
    qsort(p.e, (size_t)p.n, sizeof p.e[0], by_order);
    if (p.n > 1 && a->depth < NESTED) drop_implied(a, &p, and, &all);
  }
  if (all) return truth(a, !and);
  const ts_expr *e = p.e[0];
  for (int i = 1; i < p.n; i++) e = ts_bin(a->ir, kind, e, p.e[i]);
  return e;
}

const ts_expr *ts__negate(ts_analyzer *a, const ts_expr *c) {
  int64_t v;
  ts__lin l, x;
  if (ts_is_int(c, &v)) return truth(a, !v);
  if (c->kind == TS_E_NOT) return c->arg[0];
  if (c->kind == TS_E_EQ || c->kind == TS_E_NE)
    return ts_bin(a->ir, c->kind == TS_E_EQ ? TS_E_NE : TS_E_EQ, c->arg[0], c->arg[1]);
  if (c->kind == TS_E_AND || c->kind == TS_E_OR)
    return join(a, c->kind == TS_E_AND ? TS_E_OR : TS_E_AND, ts__negate(a, c->arg[0]), ts__negate(a, c->arg[1]));
  if ((c->kind == TS_E_LT || c->kind == TS_E_LE) && ts__is_index(c->arg[0])) {
    const ts_expr *r = NULL;  // not x < y: x - y >= 0
    if (ts__lin_parse(&l, c->arg[0]) && ts__lin_parse(&x, c->arg[1]) && ts__lin_add(&l, &x, -1) &&
        ts__lin_add_const(&l, c->kind == TS_E_LE ? -1 : 0))
      r = ts__cond_ge0(a, &l);
    if (r) return r;
  }
  return ts_not(a->ir, c);
}

// --- comparisons -------------------------------------------------------------------------------------------
static const ts_expr *compare_index(ts_analyzer *a, const ts_expr *e) {
  ts__lin l, x;
  if (!ts__lin_of(a, e->arg[1], &l) || !ts__lin_of(a, e->arg[0], &x) || !ts__lin_add(&l, &x, -1)) return NULL;
  if (!ts__recombine(a, &l)) return NULL;
  if (e->kind == TS_E_EQ || e->kind == TS_E_NE) {
    const ts_expr *c = ts__cond_eq0(a, &l);
    return c && e->kind == TS_E_NE ? ts__negate(a, c) : c;
  }
  return ts__lin_add_const(&l, e->kind == TS_E_LT ? -1 : 0) ? ts__cond_ge0(a, &l) : NULL;
}

static const ts_expr *compare(ts_analyzer *a, const ts_expr *e) {
  if (ts__is_index(e->arg[0])) {
    const ts_expr *r = compare_index(a, e);
    if (r) return r;
  }
  const ts_expr *x = ts_simplify(a, e->arg[0]), *y = ts_simplify(a, e->arg[1]);
  bool ordered = !ts_code_is_float((ts_code)x->type.code) && x->type.lanes == 1;
  if (x == y && ordered) return truth(a, e->kind == TS_E_EQ || e->kind == TS_E_LE);
  return ts_bin(a->ir, (ts_ekind)e->kind, x, y);
}

static const ts_expr *rebuild(ts_analyzer *a, const ts_expr *e) {
  const ts_expr *arg[16];
  if (!e->nargs || e->nargs > 16) return e;
  for (uint32_t i = 0; i < e->nargs; i++) arg[i] = ts_simplify(a, e->arg[i]);
  if (e->kind == TS_E_SELECT) {
    int64_t v;
    if (ts_is_int(arg[0], &v)) return arg[v ? 1 : 2];
    if (arg[1] == arg[2]) return arg[1];
  }
  return ts_expr_with(a->ir, e, arg);
}

static const ts_expr *structure(ts_analyzer *a, const ts_expr *e) {
  switch (e->kind) {
    case TS_E_EQ:
    case TS_E_NE:
    case TS_E_LT:
    case TS_E_LE:
      return compare(a, e);
    case TS_E_AND:
    case TS_E_OR:
      return join(a, (ts_ekind)e->kind, ts_simplify(a, e->arg[0]), ts_simplify(a, e->arg[1]));
    case TS_E_NOT:
      return ts__negate(a, ts_simplify(a, e->arg[0]));
    default:
      return rebuild(a, e);
  }
}

const ts_expr *ts__simplify_bool(ts_analyzer *a, const ts_expr *e) {
  const ts_expr *r = structure(a, e);
  if (ts_is_int(r, NULL) || !a->nconds) return r;
  if (ts__cond_known(a, r)) return truth(a, true);
  return ts__cond_known(a, ts__negate(a, r)) ? truth(a, false) : r;
}
