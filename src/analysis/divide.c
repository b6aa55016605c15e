// Division with rounding to minus infinity on linear forms, and the way back: x == d * (x // d) + x % d.
#include "analysis/analysis_impl.h"

// --- what divides an atom ----------------------------------------------------------------------------------
static int64_t lin_multiple(ts_analyzer *a, const ts__lin *l) {
  int64_t g = l->c, m;
  for (int i = 0; i < l->n; i++) {
    m = __builtin_mul_overflow(l->t[i].k, ts__multiple_of(a, l->t[i].atom), &m) ? l->t[i].k : m;
    g = ts__gcd(g, m);
    if (g == 1) return 1;
  }
  return ts__gcd(g, 0);
}

static int64_t expr_multiple(ts_analyzer *a, const ts_expr *e) {
  ts__lin l;
  ts__lin_parse(&l, e);
  if (l.n == 1 && l.t[0].atom == e) return ts__multiple_of(a, e);
  return lin_multiple(a, &l);
}

// Largest m known to divide the atom (at least 1).
int64_t ts__multiple_of(ts_analyzer *a, const ts_expr *e) {
  int64_t m, c;
  const ts__var_facts *f;
  switch (e->kind) {
    case TS_E_VAR:
      return (f = ts__facts_of(a, e->var)) ? f->multiple : 1;
    case TS_E_MUL:
      return __builtin_mul_overflow(ts__multiple_of(a, e->arg[0]), ts__multiple_of(a, e->arg[1]), &m) ? 1 : m;
    case TS_E_MIN:
    case TS_E_MAX:
      return TS_MAX(1, ts__gcd(expr_multiple(a, e->arg[0]), expr_multiple(a, e->arg[1])));
    case TS_E_SELECT:
      return TS_MAX(1, ts__gcd(expr_multiple(a, e->arg[1]), expr_multiple(a, e->arg[2])));
    case TS_E_FLOORMOD:
      return ts_is_int(e->arg[1], &c) && c ? TS_MAX(1, ts__gcd(expr_multiple(a, e->arg[0]), c)) : 1;
    case TS_E_FLOORDIV:
      if (!ts_is_int(e->arg[1], &c) || c <= 0) return 1;
      m = expr_multiple(a, e->arg[0]);
      return m && m % c == 0 ? m / c : 1;
    default:
      return 1;
  }
}

int64_t ts_known_multiple(ts_analyzer *a, const ts_expr *e) {
  ts__lin l;
  return ts__lin_of(a, e, &l) ? lin_multiple(a, &l) : 1;
}

// --- exact division ----------------------------------------------------------------------------------------
// *q = f / d where d divides f for sure; f is a factor.
static bool factor_exact(ts_analyzer *a, const ts_expr *f, int64_t d, ts__lin *q) {
  ts__lin x, r;
  int64_t c, m;
  if (f->kind == TS_E_FLOORDIV && ts_is_int(f->arg[1], &c) && !__builtin_mul_overflow(c, d, &m))
    return ts__lin_parse(&x, f->arg[0]) && ts__divmod(a, &x, m, q, &r);
  if (f->kind == TS_E_FLOORMOD && ts_is_int(f->arg[1], &c) && c % d == 0)
    return ts__lin_parse(&x, f->arg[0]) && ts__divmod(a, &x, d, &r, q) && ts__divmod(a, &r, c / d, &x, q);
  ts__lin_const(q, 0);
  return ts__lin_add_term(q, 1, ts_bin(a->ir, TS_E_FLOORDIV, f, ts_int(a->ir, d)));
}

// out += k * atom / d when d is known to divide it through one factor; false otherwise (out unchanged).
static bool add_exact(ts_analyzer *a, ts__lin *out, int64_t k, const ts_expr *atom, int64_t d) {
  int64_t g = ts__gcd(k, d);
  d /= g;
  k /= g;
  if (d == 1) return ts__lin_add_term(out, k, atom);
  const ts_expr *f[8];
  int n = ts__factors(atom, f, 8);
  for (int i = 0; i < n; i++) {
    if (ts__multiple_of(a, f[i]) % d) continue;
    ts__lin q, rest, p;
    if (!factor_exact(a, f[i], d, &q)) return false;
    f[i] = f[n - 1];
    ts__lin_const(&rest, 0);
    if (n == 1)
      rest.c = 1;
    else
      ts__lin_add_term(&rest, 1, ts__product(a->ir, f, n - 1));
    return ts__lin_mul(a->ir, &p, &q, &rest) && ts__lin_add(out, &p, k);
  }
  return false;
}

static bool divides_exactly(ts_analyzer *a, int64_t k, const ts_expr *atom, int64_t d) {
  d /= ts__gcd(k, d);
  if (d == 1) return true;
  const ts_expr *f[8];
  int n = ts__factors(atom, f, 8);
  for (int i = 0; i < n; i++)
    if (ts__multiple_of(a, f[i]) % d == 0) return true;
  return false;
}

// --- division by a constant --------------------------------------------------------------------------------
// What of x is surely divided by d goes to q; the rest, with 0 <= rest.c < d, stays.
static bool take_out(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *rest) {
  ts__lin_const(q, ts__floordiv(x->c, d));
  ts__lin_const(rest, ts__floormod(x->c, d));
  for (int i = 0; i < x->n; i++) {
    int64_t k = x->t[i].k;
    const ts_expr *atom = x->t[i].atom;
    if (divides_exactly(a, k, atom, d)) {
      if (!add_exact(a, q, k, atom, d)) return false;
    } else if (!ts__lin_add_term(q, k / d, atom) || !ts__lin_add_term(rest, k % d, atom)) {
      return false;
    }
  }
  return true;
}

// x is in one step [q*d, q*d + d) for sure?
static bool one_step(ts_analyzer *a, const ts__lin *x, int64_t d, int64_t *q) {
  ts_interval b = ts__lin_bound(a, x);
  if (b.lo == TS_NEG_INF || b.lo > b.hi || b.lo == TS_POS_INF) return false;
  *q = ts__floordiv(b.lo, d);
  int64_t end;
  if (*q == INT64_MAX || __builtin_mul_overflow(*q + 1, d, &end) || end == INT64_MIN) return false;
  if (b.hi < end) return true;
  if (!a->nfacts) return false;
  ts__lin left;
  ts__lin_const(&left, end - 1);
  return ts__lin_add(&left, x, -1) && ts__prove_ge0(a, &left);
}

// x == g * x' + r0 where g > 1 divides all terms: divide x' by d / g.
static bool by_gcd(ts_analyzer *a, const ts__lin *x, int64_t d, int64_t g, ts__lin *q, ts__lin *r) {
  ts__lin y;
  ts__lin_const(&y, ts__floordiv(x->c, g));
  for (int i = 0; i < x->n; i++)
    if (!add_exact(a, &y, x->t[i].k, x->t[i].atom, g)) return false;
  return ts__divmod(a, &y, d / g, q, r) && ts__lin_scale(r, g) && ts__lin_add_const(r, ts__floormod(x->c, g));
}

// x == g * x' + b with 0 <= b < g: x // d == x' // (d / g), x % d == g * (x' % (d / g)) + b.
static bool partition(ts_analyzer *a, const ts__lin *x, int64_t d, int64_t g, ts__lin *q, ts__lin *r, bool *done) {
  ts__lin y, b;
  ts__lin_const(&y, ts__floordiv(x->c, g));
  ts__lin_const(&b, ts__floormod(x->c, g));
  for (int i = 0; i < x->n; i++) {
    if (divides_exactly(a, x->t[i].k, x->t[i].atom, g)) {
      if (!add_exact(a, &y, x->t[i].k, x->t[i].atom, g)) return false;
    } else if (!ts__lin_add_term(&b, x->t[i].k, x->t[i].atom)) {
      return false;
    }
  }
  int64_t step;
  *done = y.n && one_step(a, &b, g, &step);
  if (!*done) return true;
  int64_t off;
  return ts__lin_add_const(&y, step) && !__builtin_mul_overflow(step, g, &off) && ts__lin_add_const(&b, -off) &&
         ts__divmod(a, &y, d / g, q, r) && ts__lin_scale(r, g) && ts__lin_add(r, &b, 1);
}

static bool opaque(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *r) {
  const ts_expr *e = ts__lin_expr(a->ir, x), *c = ts_int(a->ir, d);
  ts__lin_const(q, 0);
  ts__lin_const(r, 0);
  return ts__lin_add_term(q, 1, ts_bin(a->ir, TS_E_FLOORDIV, e, c)) &&
         ts__lin_add_term(r, 1, ts_bin(a->ir, TS_E_FLOORMOD, e, c));
}

static bool mod_atom(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *r) {
  ts__lin_const(r, 0);
  return ts__lin_add_term(r, 1, ts_bin(a->ir, TS_E_FLOORMOD, ts__lin_expr(a->ir, x), ts_int(a->ir, d)));
}

// x has one term y // e or y % e with coefficient 1: (y // e + l) // d == (y + e * l) // (e * d), (y % e) // d == (y //
// d) % (e / d).
static bool nested(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *r, bool *done) {
  *done = false;
  ts__lin y, l, t;
  int64_t e, ed;
  for (int i = 0; i < x->n; i++) {
    const ts_expr *atom = x->t[i].atom;
    if (x->t[i].k != 1 || (atom->kind != TS_E_FLOORDIV && atom->kind != TS_E_FLOORMOD)) continue;
    if (!ts_is_int(atom->arg[1], &e) || e <= 0 || !ts__lin_parse(&y, atom->arg[0])) continue;
    if (atom->kind == TS_E_FLOORDIV) {
      ts__lin_copy(&l, x);
      bool exact = expr_multiple(a, atom->arg[0]) % e == 0;
      if ((exact && x->n > 1) || __builtin_mul_overflow(e, d, &ed) || !ts__lin_add_term(&l, -1, atom) ||
          !ts__lin_add(&y, &l, e))
        continue;
      *done = true;
      if (!mod_atom(a, x, d, r)) return false;
      if (!exact) return ts__divmod(a, &y, ed, q, &t);
      ts__lin_const(q, 0);  // dividing again would only lead back here
      return ts__lin_add_term(q, 1, ts_bin(a->ir, TS_E_FLOORDIV, ts__lin_expr(a->ir, &y), ts_int(a->ir, ed)));
    }
    if (x->n == 1 && x->c == 0 && e % d == 0) {
      *done = true;
      return ts__divmod(a, &y, d, &l, r) && ts__divmod(a, &l, e / d, &t, q);
    }
  }
  return true;
}

// x // d and x % d for 0 <= x.c < d and nothing to take out.
static bool divide_rest(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *r) {
  int64_t step;
  if (one_step(a, x, d, &step)) {
    int64_t off;
    ts__lin_const(q, step);
    ts__lin_copy(r, x);
    return !__builtin_mul_overflow(step, d, &off) && ts__lin_add_const(r, -off);
  }
  int64_t g = d;
  for (int i = 0; i < x->n && g > 1; i++) {
    int64_t m;
    const ts__term *t = &x->t[i];
    g = ts__gcd(g, __builtin_mul_overflow(t->k, ts__multiple_of(a, t->atom), &m) ? t->k : m);
  }
  for (int i = 0; i < x->n && g > 1; i++)
    if (!divides_exactly(a, x->t[i].k, x->t[i].atom, g)) g = ts__gcd(d, ts__lin_gcd(x));
  if (g > 1) return by_gcd(a, x, d, g, q, r);
  bool done = false;
  for (int64_t last = d; !done;) {  // candidates: common divisors of d and one term, largest first
    int64_t best = 1, m;
    for (int i = 0; i < x->n; i++) {
      const ts__term *t = &x->t[i];
      int64_t c = ts__gcd(d, __builtin_mul_overflow(t->k, ts__multiple_of(a, t->atom), &m) ? t->k : m);
      if (c > best && c < last) best = c;
    }
    if (best == 1) break;
    if (!partition(a, x, d, best, q, r, &done)) return false;
    last = best;
  }
  if (done) return true;
  if (!nested(a, x, d, q, r, &done)) return false;
  return done || opaque(a, x, d, q, r);
}

bool ts__divmod(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *r) {
  if (d < -((int64_t)1 << 62) || d > (int64_t)1 << 62 || !d) return false;
  ts__lin y, rest;
  if (d < 0) {  // x // d == -x // -d, x % d == -(-x % -d), unless x may be the one number whose negative does not fit
    if (ts__lin_bound(a, x).lo == TS_NEG_INF) return opaque(a, x, d, q, r);
    ts__lin_copy(&y, x);
    return ts__lin_scale(&y, -1) && ts__divmod(a, &y, -d, q, r) && ts__lin_scale(r, -1);
  }
  int64_t step;
  if (x->n && one_step(a, x, d, &step)) return divide_rest(a, x, d, q, r);
  if (!take_out(a, x, d, &y, &rest)) return false;
  if (!rest.n) {
    ts__lin_copy(q, &y);
    ts__lin_const(r, rest.c);
    return true;
  }
  return divide_rest(a, &rest, d, q, r) && ts__lin_add(q, &y, 1);
}

// --- division by a symbolic value --------------------------------------------------------------------------
// The quotient of two atoms when y's factors are among x's.
static bool atom_over(ts_ir *ir, const ts_expr *x, const ts_expr *y, ts__lin *out) {
  const ts_expr *f[8], *g[8];
  int n = ts__factors(x, f, 8), m = ts__factors(y, g, 8);
  if (n < 0 || m < 0) return false;
  for (int j = 0; j < m; j++) {
    int i = 0;
    while (i < n && f[i] != g[j]) i++;
    if (i == n) return false;
    f[i] = f[--n];
  }
  ts__lin_const(out, n ? 0 : 1);
  return !n || ts__lin_add_term(out, 1, ts__product(ir, f, n));
}

static int leading(const ts__lin *d) {
  const ts_expr *f[8];
  int best = 0, most = -1;
  for (int i = 0; i < d->n; i++) {
    int n = ts__factors(d->t[i].atom, f, 8);
    if (n > most) {
      most = n;
      best = i;
    }
  }
  return best;
}

// One multiple of d taken out of *x into *q; false when none makes x shorter.
static bool reduce_once(ts_analyzer *a, ts__lin *x, const ts__lin *d, ts__lin *q) {
  const ts__term *lead = &d->t[leading(d)];
  for (int i = 0; i < x->n; i++) {
    ts__lin m, p, y;
    if (x->t[i].k % lead->k || !atom_over(a->ir, x->t[i].atom, lead->atom, &m)) continue;
    if (!ts__lin_scale(&m, x->t[i].k / lead->k) || !ts__lin_mul(a->ir, &p, &m, d)) continue;
    ts__lin_copy(&y, x);
    if (!ts__lin_add(&y, &p, -1) || y.n >= x->n) continue;
    ts__lin_copy(x, &y);
    return ts__lin_add(q, &m, 1);
  }
  return false;
}

bool ts__divmod_sym(ts_analyzer *a, const ts__lin *x, const ts__lin *d, ts__lin *q, ts__lin *r) {
  ts__lin left, rest;
  ts__lin_copy(&rest, x);
  ts__lin_const(q, 0);
  while (reduce_once(a, &rest, d, q)) {
  }
  ts__lin_copy(&left, d);
  bool fits = ts__lin_add(&left, &rest, -1) && ts__lin_add_const(&left, -1);
  if (!fits) return false;
  ts__lin_copy(r, &rest);
  if (ts__lin_bound(a, d).lo >= 1 && ts__prove_ge0(a, &rest) && ts__prove_ge0(a, &left)) return true;
  const ts_expr *e = ts__lin_expr(a->ir, &rest), *de = ts__lin_expr(a->ir, d);
  ts__lin_const(r, 0);
  return ts__lin_add_term(q, 1, ts_bin(a->ir, TS_E_FLOORDIV, e, de)) &&
         ts__lin_add_term(r, 1, ts_bin(a->ir, TS_E_FLOORMOD, e, de));
}

// --- putting quotient and remainder together ---------------------------------------------------------------
// Term i of *l is w % c. With the fitting multiple of w // c beside it: w; with (w // c) % d: w % (c * d).
static bool rejoin(ts_analyzer *a, ts__lin *l, int i, bool *changed) {
  const ts__term t = l->t[i];
  int64_t c, d, kc, cd;
  ts__lin w, q, r, q2, out;
  *changed = false;
  if (!ts_is_int(t.atom->arg[1], &c) || c <= 0 || __builtin_mul_overflow(t.k, c, &kc)) return true;
  if (!ts__lin_parse(&w, t.atom->arg[0]) || !ts__divmod(a, &w, c, &q, &r) || !q.n) return true;
  bool all = true;
  for (int j = 0; j < q.n && all; j++) {
    int64_t k;
    all = !__builtin_mul_overflow(kc, q.t[j].k, &k) && ts__lin_coeff(l, q.t[j].atom) == k;
  }
  ts__lin_copy(&out, l);
  if (all) {
    if (!ts__lin_add_term(&out, -t.k, t.atom) || !ts__lin_add(&out, &w, t.k) || !ts__lin_add(&out, &q, -kc))
      return true;
    ts__lin_copy(l, &out);
    *changed = true;
    return true;
  }
  for (int j = 0; j < l->n; j++) {
    const ts__term *h = &l->t[j];
    if (h->k != kc || h->atom->kind != TS_E_FLOORMOD || !ts_is_int(h->atom->arg[1], &d) || d <= 0) continue;
    if (!ts__divmod(a, &q, d, &q2, &r) || r.n != 1 || r.t[0].k != 1 || r.t[0].atom != h->atom) continue;
    int64_t off;
    if (__builtin_mul_overflow(c, d, &cd) || __builtin_mul_overflow(-kc, r.c, &off)) continue;
    const int64_t hk = h->k;
    const ts_expr *hatom = h->atom;
    if (!ts__lin_add_term(&out, -t.k, t.atom) || !ts__lin_add_term(&out, -hk, hatom) || !ts__divmod(a, &w, cd, &q2, &r))
      return true;
    if (!ts__lin_add(&out, &r, t.k) || !ts__lin_add_const(&out, off)) return true;
    ts__lin_copy(l, &out);
    *changed = true;
    return true;
  }
  return true;
}

// Term i is y // d where d divides y: d * (y // d) == y.
static bool whole(ts_analyzer *a, ts__lin *l, int i, bool *changed) {
  const ts__term t = l->t[i];
  int64_t d;
  ts__lin y, out;
  *changed = false;
  if (!ts_is_int(t.atom->arg[1], &d) || d <= 1 || t.k % d || expr_multiple(a, t.atom->arg[0]) % d) return true;
  ts__lin_copy(&out, l);
  if (!ts__lin_parse(&y, t.atom->arg[0]) || !ts__lin_add_term(&out, -t.k, t.atom) || !ts__lin_add(&out, &y, t.k / d))
    return true;
  ts__lin_copy(l, &out);
  *changed = true;
  return true;
}

bool ts__recombine(ts_analyzer *a, ts__lin *l) {
  for (int round = 0; round < 16; round++) {
    bool changed = false;
    for (int i = 0; i < l->n && !changed; i++) {
      if (l->t[i].atom->kind == TS_E_FLOORMOD && l->n > 1 && !rejoin(a, l, i, &changed)) return false;
      if (changed) break;
      ts_ekind k = (ts_ekind)l->t[i].atom->kind;
      if (k == TS_E_FLOORDIV && !whole(a, l, i, &changed)) return false;
      if ((k == TS_E_MIN || k == TS_E_MAX) && l->n > 1 && !ts__absorb(a, l, i, &changed)) return false;
    }
    if (!changed) return true;
  }
  return true;
}
