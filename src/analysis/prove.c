// Proofs that a linear form is never negative: intervals, then bounded search that cancels terms against known facts.
#include "analysis/analysis_impl.h"

enum { DEPTH = 5, STEPS = 120 };

static bool search(ts_analyzer *a, const ts__lin *l, int depth);

// l >= 0 follows from f >= 0 and the form tried here: for integers it is enough that p*l + (p - 1) - q*f >= 0, where p
// and q cancel term t of l against the same term (coefficient fk) of f.
static bool with_fact(ts_analyzer *a, const ts__lin *l, const ts__term *t, const ts__lin *f, int64_t fk, int depth) {
  if ((fk < 0) != (t->k < 0) || fk == INT64_MIN || t->k == INT64_MIN) return false;
  int64_t g = ts__gcd(fk, t->k), p = fk / g, q = t->k / g;
  if (p < 0) {
    p = -p;
    q = -q;
  }
  ts__lin y;
  ts__lin_copy(&y, l);
  return ts__lin_scale(&y, p) && ts__lin_add(&y, f, -q) && ts__lin_add_const(&y, p - 1) && search(a, &y, depth - 1);
}

// l with term t replaced by k * x.
static bool replaced(ts_analyzer *a, const ts__lin *l, const ts__term *t, const ts_expr *x, int depth) {
  ts__lin y, e;
  ts__lin_copy(&y, l);
  return ts__lin_parse(&e, x) && ts__lin_add_term(&y, -t->k, t->atom) && ts__lin_add(&y, &e, t->k) &&
         search(a, &y, depth - 1);
}

// q = y // c: c*q <= y <= c*q + c - g, where g divides y and c.
static bool by_floordiv(ts_analyzer *a, const ts__lin *l, const ts__term *t, int depth) {
  int64_t c;
  ts__lin f;
  if (!ts_is_int(t->atom->arg[1], &c) || c <= 0 || !ts__lin_parse(&f, t->atom->arg[0])) return false;
  if (t->k < 0) return ts__lin_add_term(&f, -c, t->atom) && with_fact(a, l, t, &f, ts__lin_coeff(&f, t->atom), depth);
  int64_t g = ts__gcd(c, ts_known_multiple(a, t->atom->arg[0]));
  return ts__lin_scale(&f, -1) && ts__lin_add_const(&f, c - g) && ts__lin_add_term(&f, c, t->atom) &&
         with_fact(a, l, t, &f, ts__lin_coeff(&f, t->atom), depth);
}

// w % c <= w when w >= 0; and w % c == w - c * (w // c).
static bool by_floormod(ts_analyzer *a, const ts__lin *l, const ts__term *t, int depth) {
  int64_t c, k;
  ts__lin w, q, r, y;
  if (!ts__lin_parse(&w, t->atom->arg[0])) return false;
  if (t->k < 0 && ts__lin_bound(a, &w).lo >= 0 && replaced(a, l, t, t->atom->arg[0], depth)) return true;
  if (!ts_is_int(t->atom->arg[1], &c) || c <= 0 || __builtin_mul_overflow(t->k, -c, &k)) return false;
  ts__lin_copy(&y, l);
  return ts__divmod(a, &w, c, &q, &r) && q.n && ts__lin_add_term(&y, -t->k, t->atom) && ts__lin_add(&y, &w, t->k) &&
         ts__lin_add(&y, &q, k) && search(a, &y, depth - 1);
}

static bool by_atom(ts_analyzer *a, const ts__lin *l, const ts__term *t, int depth) {
  const ts_expr *const *arg = t->atom->arg;
  switch (t->atom->kind) {
    case TS_E_FLOORDIV:
      return by_floordiv(a, l, t, depth);
    case TS_E_FLOORMOD:
      return by_floormod(a, l, t, depth);
    case TS_E_MIN:
    case TS_E_MAX:
      if ((t->atom->kind == TS_E_MIN) == (t->k < 0))  // either argument bounds it on this side
        return replaced(a, l, t, arg[0], depth) || replaced(a, l, t, arg[1], depth);
      return replaced(a, l, t, arg[0], depth) && replaced(a, l, t, arg[1], depth);
    case TS_E_SELECT:
      return replaced(a, l, t, arg[1], depth) && replaced(a, l, t, arg[2], depth);
    default:
      return false;
  }
}

static bool by_facts(ts_analyzer *a, const ts__lin *l, const ts__term *t, int depth) {
  for (int i = a->nfacts - 1; i >= 0; i--) {
    int64_t fk = ts__lin_coeff(&a->facts[i], t->atom);
    if (fk && with_fact(a, l, t, &a->facts[i], fk, depth)) return true;
  }
  return false;
}

// All terms share a factor that is never negative: what is left must not be negative.
static bool by_factor(ts_analyzer *a, const ts__lin *l, int depth) {
  const ts_expr *f[8], *g[8];
  int n = l->c ? -1 : ts__factors(l->t[0].atom, f, 8);
  for (int i = 0; i < n; i++) {
    if (ts__atom_bound(a, f[i]).lo < 0) continue;
    ts__lin y;
    ts__lin_const(&y, 0);
    bool all = true;
    for (int j = 0; j < l->n && all; j++) {
      int m = ts__factors(l->t[j].atom, g, 8), at = 0;
      while (at < m && g[at] != f[i]) at++;
      all = at < m;
      if (!all) break;
      g[at] = g[m - 1];
      all = m == 1 ? ts__lin_add_const(&y, l->t[j].k) : ts__lin_add_term(&y, l->t[j].k, ts__product(a->ir, g, m - 1));
    }
    if (all && search(a, &y, depth - 1)) return true;
  }
  return false;
}

// The largest constant for which l >= 0 says the same: l takes only values c + multiple of m.
static void slacken(ts_analyzer *a, ts__lin *l) {
  int64_t m = 0, p;
  for (int i = 0; i < l->n; i++)
    m = ts__gcd(m, __builtin_mul_overflow(l->t[i].k, ts__multiple_of(a, l->t[i].atom), &p) ? 1 : p);
  if (m > 1 && !__builtin_add_overflow(l->c, m - 1 - ts__floormod(l->c, m), &p)) l->c = p;
}

static bool search(ts_analyzer *a, const ts__lin *given, int depth) {
  ts_interval b = ts__lin_bound(a, given);
  if (b.lo >= 0) return true;
  if (b.hi < 0 || depth == 0 || --a->steps <= 0) return false;
  ts__lin l;
  ts__lin_copy(&l, given);
  int64_t g = ts__lin_gcd(&l);
  if (g > 1) {
    l.c = ts__floordiv(l.c, g);
    for (int i = 0; i < l.n; i++) l.t[i].k /= g;
  }
  slacken(a, &l);
  for (int i = l.n - 1; i >= 0; i--)
    if (by_facts(a, &l, &l.t[i], depth) || by_atom(a, &l, &l.t[i], depth)) return true;
  return l.n && by_factor(a, given, depth);
}

// A proof inside a proof (a division on the way) uses intervals only, so effort stays bounded.
bool ts__prove_ge0(ts_analyzer *a, const ts__lin *l) {
  if (a->proving) return ts__lin_bound(a, l).lo >= 0;
  a->proving = true;
  a->steps = STEPS;
  bool r = search(a, l, DEPTH);
  a->proving = false;
  return r;
}

// --- questions ---------------------------------------------------------------------------------------------
ts_tri ts_prove(ts_analyzer *a, const ts_expr *cond) {
  int64_t v;
  if (!ts_is_int(ts_simplify(a, cond), &v)) return TS_UNKNOWN;
  return v ? TS_YES : TS_NO;
}

// l with every w % c written as w - c * (w // c): one form for each value.
static bool without_mod(ts_analyzer *a, ts__lin *l) {
  for (int round = 0; round < 12; round++) {
    int i = 0;
    int64_t c, k;
    while (i < l->n && !(l->t[i].atom->kind == TS_E_FLOORMOD && ts_is_int(l->t[i].atom->arg[1], &c) && c > 0)) i++;
    if (i == l->n) return true;
    const ts__term t = l->t[i];
    ts__lin w, q, r;
    if (__builtin_mul_overflow(t.k, -c, &k) || !ts__lin_parse(&w, t.atom->arg[0]) || !ts__divmod(a, &w, c, &q, &r))
      return false;
    if (!ts__lin_add_term(l, -t.k, t.atom) || !ts__lin_add(l, &w, t.k) || !ts__lin_add(l, &q, k)) return false;
  }
  return false;
}

ts_tri ts_prove_eq(ts_analyzer *a, const ts_expr *x, const ts_expr *y) {
  if (x == y) return TS_YES;
  if (ts__both_index_int(x, y)) return x->i == y->i ? TS_YES : TS_NO;
  ts_tri r = ts_prove(a, ts_bin(a->ir, TS_E_EQ, x, y));
  ts__lin l, m;
  if (r != TS_UNKNOWN || !ts__is_index(x) || !ts__lin_of(a, x, &l) || !ts__lin_of(a, y, &m) || !ts__lin_add(&l, &m, -1))
    return r;
  if (!without_mod(a, &l) || l.n) return r;
  return l.c == 0 ? TS_YES : TS_NO;
}

// The variable of an atom that takes both ends of its interval when the variable takes its own: v, v // c, v % c; NULL: another atom.
static const ts_var *only_var(const ts_analyzer *a, const ts_expr *atom) {
  if (atom->kind == TS_E_VAR) return atom->var;
  if ((atom->kind != TS_E_FLOORDIV && atom->kind != TS_E_FLOORMOD) || atom->arg[0]->kind != TS_E_VAR) return NULL;
  const ts_var *v = atom->arg[0]->var;
  const ts__var_facts *f = ts__facts_of(a, v);
  int64_t c;
  bool counts = f && f->range.lo == 0 && f->multiple == 1 && ts_is_int(atom->arg[1], &c) && c > 0;
  return counts ? v : NULL;
}

// Does the form take both ends of its interval? Variables that nothing relates to each other take theirs.
static bool tight(const ts_analyzer *a, const ts__lin *l) {
  const ts_var *v[TS__LIN_CAP];
  if (a->nfacts || a->nconds) return false;
  for (int i = 0; i < l->n; i++) {
    if (!(v[i] = only_var(a, l->t[i].atom))) return false;
    for (int j = 0; j < i; j++)
      if (v[i] == v[j]) return false;
  }
  return true;
}

// Is y - x at least `least`, by its interval alone? *more: a proof may still be found.
static ts_tri by_interval(ts_analyzer *a, const ts_expr *x, const ts_expr *y, int64_t least, bool *more) {
  ts__lin l, m;
  *more = true;
  if (!ts__is_index(x) || !ts__lin_of(a, y, &l) || !ts__lin_of(a, x, &m) || !ts__lin_add(&l, &m, -1)) return TS_UNKNOWN;
  ts_interval b = ts__lin_bound(a, &l);
  *more = b.lo < least && b.hi >= least && !tight(a, &l);
  return b.lo >= least ? TS_YES : b.hi < least ? TS_NO : TS_UNKNOWN;
}

ts_tri ts_prove_le(ts_analyzer *a, const ts_expr *x, const ts_expr *y) {
  if (ts__both_index_int(x, y)) return x->i <= y->i ? TS_YES : TS_NO;
  if (x == y) return TS_YES;
  bool more;
  ts_tri quick = by_interval(a, x, y, 0, &more);
  return !more ? quick : ts_prove(a, ts_bin(a->ir, TS_E_LE, x, y));
}

ts_tri ts_prove_lt(ts_analyzer *a, const ts_expr *x, const ts_expr *y) {
  if (ts__both_index_int(x, y)) return x->i < y->i ? TS_YES : TS_NO;
  if (x == y) return TS_NO;
  bool more;
  ts_tri quick = by_interval(a, x, y, 1, &more);
  return !more ? quick : ts_prove(a, ts_bin(a->ir, TS_E_LT, x, y));
}

ts_tri ts_prove_multiple(ts_analyzer *a, const ts_expr *e, int64_t m) {
  if (m == 1 || m == -1) return TS_YES;
  int64_t k = ts_known_multiple(a, e);
  if (m == 0) return TS_UNKNOWN;
  if (k % m == 0) return TS_YES;
  return ts_prove_eq(a, ts_bin(a->ir, TS_E_FLOORMOD, e, ts_int(a->ir, m)), ts_int(a->ir, 0));
}
