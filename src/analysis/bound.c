// Intervals of expressions, bounds after elimination of variables, and coefficients.
#include "analysis/analysis_impl.h"

// --- interval arithmetic with infinities -------------------------------------------------------------------
static const ts_interval ALL = {TS_NEG_INF, TS_POS_INF};

static bool infinite(int64_t v) { return v == TS_NEG_INF || v == TS_POS_INF; }

static int64_t sat_mul(int64_t x, int64_t y) {
  if (!x || !y) return 0;
  int64_t r;
  bool neg = (x < 0) != (y < 0);
  if (infinite(x) || infinite(y) || __builtin_mul_overflow(x, y, &r)) return neg ? TS_NEG_INF : TS_POS_INF;
  return r;
}

// Lower (upper) ends; what overflows is unbounded on that side.
static int64_t add_lo(int64_t x, int64_t y) {
  int64_t r;
  if (x == TS_NEG_INF || y == TS_NEG_INF) return TS_NEG_INF;
  if (__builtin_add_overflow(x, y, &r)) return x < 0 ? TS_NEG_INF : TS_POS_INF - 1;
  return r;
}

static int64_t add_hi(int64_t x, int64_t y) {
  int64_t r;
  if (x == TS_POS_INF || y == TS_POS_INF) return TS_POS_INF;
  if (__builtin_add_overflow(x, y, &r)) return x > 0 ? TS_POS_INF : TS_NEG_INF + 1;
  return r;
}

static ts_interval times(ts_interval x, ts_interval y) {
  int64_t p[4] = {sat_mul(x.lo, y.lo), sat_mul(x.lo, y.hi), sat_mul(x.hi, y.lo), sat_mul(x.hi, y.hi)};
  ts_interval r = {p[0], p[0]};
  for (int i = 1; i < 4; i++) {
    r.lo = TS_MIN(r.lo, p[i]);
    r.hi = TS_MAX(r.hi, p[i]);
  }
  return r;
}

static ts_interval scale(ts_interval x, int64_t k) { return times(x, (ts_interval){k, k}); }

// An end beyond 64 bits on the wrong side says less, never nothing: infinities stay on their own sides.
static ts_interval sane(ts_interval r) {
  const int64_t big = (int64_t)1 << 62;
  return (ts_interval){TS_MIN(r.lo, big), TS_MAX(r.hi, -big)};
}

ts_interval ts__lin_bound(ts_analyzer *a, const ts__lin *l) {
  ts_interval r = {l->c, l->c};
  for (int i = 0; i < l->n; i++) {
    ts_interval t = sane(scale(ts__atom_bound(a, l->t[i].atom), l->t[i].k));
    r.lo = add_lo(r.lo, t.lo);
    r.hi = add_hi(r.hi, t.hi);
  }
  return sane(r);
}

static ts_interval canonical_bound(ts_analyzer *a, const ts_expr *e) {
  ts__lin l;
  ts__lin_parse(&l, e);
  if (l.n == 1 && l.t[0].atom == e && (e->kind == TS_E_ADD || e->kind == TS_E_SUB))
    return ALL;  // a sum too large to parse
  return ts__lin_bound(a, &l);
}

static ts_interval var_bound(const ts_analyzer *a, const ts_var *v) {
  const ts__var_facts *f = ts__facts_of(a, v);
  if (!f) return ALL;
  ts_interval r = f->range;
  if (f->multiple > 1) {
    int64_t up = r.lo == TS_NEG_INF ? 0 : ts__floormod(-ts__floormod(r.lo, f->multiple), f->multiple);
    if (r.lo != TS_NEG_INF) r.lo = add_lo(r.lo, up);
    if (r.hi != TS_POS_INF) r.hi = add_hi(r.hi, -ts__floormod(r.hi, f->multiple));
  }
  return r;
}

static int64_t end_div(int64_t v, int64_t c) { return infinite(v) ? v : ts__floordiv(v, c); }

static ts_interval div_bound(ts_analyzer *a, const ts_expr *e) {
  int64_t c;
  ts_interval x = canonical_bound(a, e->arg[0]);
  if (ts_is_int(e->arg[1], &c)) return c > 0 ? (ts_interval){end_div(x.lo, c), end_div(x.hi, c)} : ALL;
  ts_interval d = canonical_bound(a, e->arg[1]);
  if (d.lo < 1) return ALL;
  // Toward zero with the divisor, so the ends come from the smallest divisor, or the largest.
  int64_t big = d.hi == TS_POS_INF ? INT64_MAX : d.hi;
  ts_interval r;
  r.lo = x.lo >= 0 ? end_div(x.lo, big) : end_div(x.lo, d.lo);
  r.hi = x.hi >= 0 ? end_div(x.hi, d.lo) : -1;
  return r;
}

static ts_interval mod_bound(ts_analyzer *a, const ts_expr *e) {
  int64_t c;
  ts_interval x = canonical_bound(a, e->arg[0]), r;
  if (ts_is_int(e->arg[1], &c)) {
    if (c <= 0) return c == 0 || c == INT64_MIN ? ALL : (ts_interval){c + 1, 0};
    r = (ts_interval){0, c - ts__gcd(c, ts_known_multiple(a, e->arg[0]))};
  } else {
    ts_interval d = canonical_bound(a, e->arg[1]);
    if (d.lo < 1) return ALL;
    r = (ts_interval){0, d.hi == TS_POS_INF ? TS_POS_INF : d.hi - 1};
  }
  if (x.lo >= 0) r.hi = TS_MIN(r.hi, x.hi);
  return r;
}

static ts_interval code_bound(ts_code c) {
  if (c == TS_BOOL) return (ts_interval){0, 1};
  if (!ts_code_is_int(c)) return ALL;
  int bits = ts_code_bits(c);
  if (bits == 64) return c == TS_U64 ? ALL : (ts_interval){TS_NEG_INF, TS_POS_INF};
  if (ts_code_is_unsigned(c)) return (ts_interval){0, ((int64_t)1 << bits) - 1};
  return (ts_interval){-((int64_t)1 << (bits - 1)), ((int64_t)1 << (bits - 1)) - 1};
}

// Value of an integer expression of a width below 64, without context: masks and remainders, else the type.
static ts_interval narrow_bound(const ts_expr *e) {
  ts_interval r = code_bound((ts_code)e->type.code);
  int64_t c;
  if (r.lo == TS_NEG_INF || e->type.lanes != 1) return r;
  if (ts_is_int(e, &c)) return (ts_interval){c, c};
  if (e->kind == TS_E_BITAND && (ts_is_int(e->arg[1], &c) || ts_is_int(e->arg[0], &c)) && c >= 0)
    return (ts_interval){0, TS_MIN(c, r.hi)};
  if (e->kind == TS_E_FLOORMOD && ts_is_int(e->arg[1], &c) && c > 0) return (ts_interval){0, c - 1};
  if (e->kind == TS_E_SHR && r.lo == 0 && ts_is_int(e->arg[1], &c) && c >= 0 && c < 63)
    return (ts_interval){0, r.hi >> c};
  return r;
}

static ts_interval compute(ts_analyzer *a, const ts_expr *e) {
  int64_t c;
  ts_interval x, y;
  switch (e->kind) {
    case TS_E_INT:
      return (ts_interval){e->i, e->i};
    case TS_E_VAR:
      return var_bound(a, e->var);
    case TS_E_MUL:
      return times(canonical_bound(a, e->arg[0]), canonical_bound(a, e->arg[1]));
    case TS_E_FLOORDIV:
      return div_bound(a, e);
    case TS_E_FLOORMOD:
      return mod_bound(a, e);
    case TS_E_MIN:
      x = canonical_bound(a, e->arg[0]), y = canonical_bound(a, e->arg[1]);
      return (ts_interval){TS_MIN(x.lo, y.lo), TS_MIN(x.hi, y.hi)};
    case TS_E_MAX:
      x = canonical_bound(a, e->arg[0]), y = canonical_bound(a, e->arg[1]);
      return (ts_interval){TS_MAX(x.lo, y.lo), TS_MAX(x.hi, y.hi)};
    case TS_E_SELECT:
      x = canonical_bound(a, e->arg[1]), y = canonical_bound(a, e->arg[2]);
      return (ts_interval){TS_MIN(x.lo, y.lo), TS_MAX(x.hi, y.hi)};
    case TS_E_CAST:
      return narrow_bound(e->arg[0]);
    case TS_E_BITAND:
      return ts_is_int(e->arg[1], &c) && c >= 0 ? (ts_interval){0, c} : ALL;
    default:
      return ALL;
  }
}

ts_interval ts__atom_bound(ts_analyzer *a, const ts_expr *e) {
  if (e->kind == TS_E_VAR) return sane(var_bound(a, e->var));
  ts__memo *m = ts__memo_at(a, e);
  if (m->has_range) return m->range;
  ts_interval r = sane(compute(a, e));
  m = ts__memo_at(a, e);
  m->has_range = true;
  m->range = r;
  return r;
}

ts_interval ts_bound(ts_analyzer *a, const ts_expr *e) {
  if (ts__is_index(e) && e->kind == TS_E_INT) return sane((ts_interval){e->i, e->i});
  if (!ts__is_index(e)) return ts__is_bool(e) ? (ts_interval){0, 1} : narrow_bound(e);
  return canonical_bound(a, ts_simplify(a, e));
}

bool ts_const_value(ts_analyzer *a, const ts_expr *e, int64_t *v) { return ts_is_int(ts_simplify(a, e), v); }

// --- variables in expressions ------------------------------------------------------------------------------
typedef struct var_set {
  const ts_var *const *vars;
  int n;
  bool found;
} var_set;

static bool look(void *arg, const ts_expr *e) {
  var_set *s = arg;
  if (e->kind == TS_E_VAR)
    for (int i = 0; i < s->n && !s->found; i++) s->found = s->vars[i] == e->var;
  return !s->found;
}

bool ts__uses_any(const ts_expr *e, const ts_var *const *vars, int n) {
  var_set s = {vars, n, false};
  if (n) ts_expr_visit(e, look, &s);
  return s.found;
}

// --- coefficients ------------------------------------------------------------------------------------------
bool ts_linear_multi(ts_analyzer *a, const ts_expr *e, const ts_var *const *vars, int n, int64_t *coeff,
                     const ts_expr **rest) {
  ts__lin l, r;
  if (!ts__is_index(e) || !ts__lin_of(a, e, &l)) return false;
  for (int i = 0; i < n; i++) coeff[i] = 0;
  ts__lin_const(&r, l.c);
  for (int i = 0; i < l.n; i++) {
    int v = 0;
    while (v < n && !(l.t[i].atom->kind == TS_E_VAR && l.t[i].atom->var == vars[v])) v++;
    if (v < n) {
      coeff[v] = l.t[i].k;
    } else if (ts__uses_any(l.t[i].atom, vars, n)) {
      return false;
    } else {
      ts__lin_add_term(&r, l.t[i].k, l.t[i].atom);
    }
  }
  *rest = ts__lin_expr(a->ir, &r);
  return true;
}

bool ts_linear(ts_analyzer *a, const ts_expr *e, const ts_var *v, int64_t *coeff, const ts_expr **rest) {
  return ts_linear_multi(a, e, &v, 1, coeff, rest);
}

bool ts_linear_sym(ts_analyzer *a, const ts_expr *e, const ts_var *v, const ts_expr **coeff, const ts_expr **rest) {
  ts__lin l, r, c;
  if (!ts__is_index(e) || !ts__lin_of(a, e, &l)) return false;
  ts__lin_const(&r, l.c);
  ts__lin_const(&c, 0);
  for (int i = 0; i < l.n; i++) {
    const ts_expr *f[8];
    const ts__term t = l.t[i];
    if (!ts_expr_uses_var(t.atom, v)) {
      ts__lin_add_term(&r, t.k, t.atom);
      continue;
    }
    int n = ts__factors(t.atom, f, 8), at = 0;
    while (at < n && !(f[at]->kind == TS_E_VAR && f[at]->var == v)) at++;
    if (n < 0 || at == n) return false;
    f[at] = f[n - 1];
    if (n == 1 ? !ts__lin_add_const(&c, t.k) : !ts__lin_add_term(&c, t.k, ts__product(a->ir, f, n - 1))) return false;
  }
  *coeff = ts__lin_expr(a->ir, &c);
  *rest = ts__lin_expr(a->ir, &r);
  return !ts_expr_uses_var(*coeff, v);
}

// --- elimination -------------------------------------------------------------------------------------------
typedef struct elim {
  ts_analyzer *a;
  const ts_var *const *vars;
  int n;
  int fuel;
} elim;

static bool bound_lin(elim *s, ts__lin *l, bool up);

static int layer_of(const ts_analyzer *a, const ts_var *v) { return v->id < a->top_cap ? a->top[v->id] : -1; }

static bool wanted(const elim *s, const ts_var *v) {
  for (int i = 0; i < s->n; i++)
    if (s->vars[i] == v) return true;
  return false;
}

static bool appears_inside(const ts__lin *l, const ts_var *v) {
  for (int i = 0; i < l->n; i++)
    if (l->t[i].atom->kind != TS_E_VAR && ts_expr_uses_var(l->t[i].atom, v)) return true;
  return false;
}

// The bound of v on one side as an expression; NULL when there is none.
static const ts_expr *var_end(ts_analyzer *a, const ts_var *v, bool up) {
  const ts__var_facts *f = ts__facts_of(a, v);
  if (!f) return NULL;
  const ts_expr *sym = up ? f->hi : f->lo;
  ts_interval r = var_bound(a, v);
  int64_t c = up ? r.hi : r.lo;
  if (sym && !(ts_is_int(sym, NULL) && !infinite(c))) return sym;
  return infinite(c) ? NULL : ts_int(a->ir, c);
}

// Replaces the newest variable that occurs only as a term of its own. False: no such variable; *ok says whether it had
// a bound.
static bool drop_var(elim *s, ts__lin *l, bool up, bool *ok) {
  int best = -1;
  for (int i = 0; i < l->n; i++) {
    const ts_expr *e = l->t[i].atom;
    if (e->kind != TS_E_VAR || !wanted(s, e->var) || appears_inside(l, e->var)) continue;
    if (best < 0 || layer_of(s->a, e->var) > layer_of(s->a, l->t[best].atom->var)) best = i;
  }
  if (best < 0) return false;
  const ts__term t = l->t[best];
  const ts_expr *end = var_end(s->a, t.atom->var, (t.k > 0) == up);
  ts__lin x;
  *ok = end && ts__lin_parse(&x, end) && ts__lin_add_term(l, -t.k, t.atom) && ts__lin_add(l, &x, t.k) &&
        ts__recombine(s->a, l);
  return true;
}

static const ts_expr *bound_expr(elim *s, const ts_expr *e, bool up) {
  ts__lin l;
  if (!ts__uses_any(e, s->vars, s->n)) return e;
  ts__lin_parse(&l, e);
  return bound_lin(s, &l, up) ? ts__lin_expr(s->a->ir, &l) : NULL;
}

static const ts_expr *both(elim *s, ts_ekind kind, const ts_expr *x, const ts_expr *y) {
  return x && y ? ts_simplify(s->a, ts_bin(s->a->ir, kind, x, y)) : NULL;
}

// A product of which exactly one factor uses the variables and the rest has a known sign.
static const ts_expr *bound_product(elim *s, const ts_expr *e, bool up) {
  const ts_expr *f[8];
  int n = ts__factors(e, f, 8), at = -1;
  for (int i = 0; i < n; i++)
    if (ts__uses_any(f[i], s->vars, s->n)) {
      if (at >= 0) return NULL;
      at = i;
    }
  if (at < 0) return NULL;
  const ts_expr *x = f[at];
  f[at] = f[n - 1];
  const ts_expr *rest = ts__product(s->a->ir, f, n - 1);
  ts_interval r = ts_bound(s->a, rest);
  if (r.lo < 0 && r.hi > 0) return NULL;
  return both(s, (ts_ekind)TS_E_MUL, bound_expr(s, x, r.lo >= 0 ? up : !up), rest);
}

static const ts_expr *bound_mod(elim *s, const ts_expr *e, bool up) {
  int64_t c;
  ts_ir *ir = s->a->ir;
  ts_interval r = ts__atom_bound(s->a, e);
  if (!ts_is_int(e->arg[1], &c)) {
    if (ts__uses_any(e->arg[1], s->vars, s->n) || r.lo < 0) return NULL;
    return up ? ts_sub(ir, e->arg[1], ts_int(ir, 1)) : ts_int(ir, 0);
  }
  // When the dividend stays inside one period the remainder grows with it.
  const ts_expr *lo = bound_expr(s, e->arg[0], false), *hi = bound_expr(s, e->arg[0], true), *d = e->arg[1];
  if (lo && hi && ts_prove_eq(s->a, ts_bin(ir, TS_E_FLOORDIV, lo, d), ts_bin(ir, TS_E_FLOORDIV, hi, d)) == TS_YES)
    return ts_simplify(s->a, ts_bin(ir, TS_E_FLOORMOD, up ? hi : lo, d));
  return infinite(up ? r.hi : r.lo) ? NULL : ts_int(ir, up ? r.hi : r.lo);
}

static const ts_expr *bound_atom(elim *s, const ts_expr *e, bool up) {
  ts_analyzer *a = s->a;
  switch (e->kind) {
    case TS_E_VAR: {
      const ts_expr *end = var_end(a, e->var, up);
      return end ? bound_expr(s, end, up) : NULL;
    }
    case TS_E_FLOORDIV:
      if (!ts__uses_any(e->arg[1], s->vars, s->n) && ts_bound(a, e->arg[1]).lo >= 1)
        return both(s, TS_E_FLOORDIV, bound_expr(s, e->arg[0], up), e->arg[1]);
      break;
    case TS_E_FLOORMOD:
      return bound_mod(s, e, up);
    case TS_E_MIN:
    case TS_E_MAX: {
      const ts_expr *x = bound_expr(s, e->arg[0], up), *y = bound_expr(s, e->arg[1], up);
      if ((e->kind == TS_E_MIN) == up && (!x || !y)) return x ? x : y;  // one of them is enough
      return both(s, (ts_ekind)e->kind, x, y);
    }
    case TS_E_SELECT:
      return both(s, up ? TS_E_MAX : TS_E_MIN, bound_expr(s, e->arg[1], up), bound_expr(s, e->arg[2], up));
    case TS_E_MUL: {
      const ts_expr *p = bound_product(s, e, up);
      if (p) return p;
      break;
    }
    default:
      break;
  }
  ts_interval r = ts__atom_bound(a, e);
  int64_t c = up ? r.hi : r.lo;
  return infinite(c) ? NULL : ts_int(a->ir, c);
}

// *l becomes its own upper (lower) bound without the variables.
static bool bound_lin(elim *s, ts__lin *l, bool up) {
  for (bool ok = true; drop_var(s, l, up, &ok);)
    if (!ok || --s->fuel < 0) return false;
  for (int round = 0; round < TS__LIN_CAP * 2; round++) {
    int i = 0;
    while (i < l->n && !ts__uses_any(l->t[i].atom, s->vars, s->n)) i++;
    if (i == l->n) return ts__recombine(s->a, l);
    if (--s->fuel < 0) return false;
    const ts__term t = l->t[i];
    const ts_expr *e = bound_atom(s, t.atom, (t.k > 0) == up);
    ts__lin x;
    if (!e || !ts__lin_parse(&x, e) || !ts__lin_add_term(l, -t.k, t.atom) || !ts__lin_add(l, &x, t.k)) return false;
  }
  return false;
}

static const ts_expr *one_side(ts_analyzer *a, const ts_expr *e, const ts_var *const *vars, int n, bool up) {
  elim s = {a, vars, n, 200};
  const ts_expr *r = bound_expr(&s, e, up);
  if (!r || ts__uses_any(r, vars, n)) return NULL;
  return ts_simplify(a, r);
}

bool ts_bound_over(ts_analyzer *a, const ts_expr *e, const ts_var *const *vars, int n, const ts_expr **lo,
                   const ts_expr **hi) {
  e = ts_simplify(a, e);
  *lo = one_side(a, e, vars, n, false);
  *hi = one_side(a, e, vars, n, true);
  return *lo || *hi;
}
