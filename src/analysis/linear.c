// Linear forms: sums of coefficient * atom, their arithmetic, and the way to and from expressions.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

int64_t ts__gcd(int64_t a, int64_t b) {
  uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
  while (y) {
    uint64_t t = x % y;
    x = y;
    y = t;
  }
  return x > INT64_MAX ? 1 : (int64_t)x;
}

static int cmp_u64(uint64_t a, uint64_t b) { return (a > b) - (a < b); }
static int cmp_i64(int64_t a, int64_t b) { return (a > b) - (a < b); }

// Payloads of two expressions of one kind.
static int cmp_payload(const ts_expr *a, const ts_expr *b) {
  switch (a->kind) {
    case TS_E_INT:
      return cmp_i64(a->i, b->i);
    case TS_E_FLOAT:
      return memcmp(&a->f, &b->f, sizeof a->f);
    case TS_E_VAR:
      return cmp_u64(a->var->id, b->var->id);
    case TS_E_LOAD:
      return cmp_u64(a->buf->id, b->buf->id);
    case TS_E_CALL:
      return strcmp(a->callee, b->callee);
    default:
      return 0;
  }
}

// Variables first, then the other kinds, then payload, type and arguments. Equal expressions are one pointer.
int ts__expr_cmp(const ts_expr *a, const ts_expr *b) {
  if (a == b) return 0;
  if (a->kind == TS_E_VAR && b->kind == TS_E_VAR && a->var->id != b->var->id) return a->var->id < b->var->id ? -1 : 1;
  int c = (b->kind == TS_E_VAR) - (a->kind == TS_E_VAR);
  if (!c) c = cmp_u64(a->kind, b->kind);
  if (!c) c = cmp_payload(a, b);
  if (!c) c = cmp_u64(a->type.code, b->type.code);
  if (!c) c = cmp_u64(a->type.lanes, b->type.lanes);
  if (!c) c = cmp_u64(a->nargs, b->nargs);
  for (uint32_t i = 0; !c && i < a->nargs; i++) c = ts__expr_cmp(a->arg[i], b->arg[i]);
  return c;
}

void ts__lin_copy(ts__lin *d, const ts__lin *s) {
  d->n = s->n;
  d->c = s->c;
  if (s->n) memmove(d->t, s->t, sizeof s->t[0] * (size_t)s->n);
}

// Numbers stay below 2^62 in magnitude, so that negation and adding 1 are safe everywhere.
static bool fits(int64_t v) { return v < (int64_t)1 << 62 && v > -((int64_t)1 << 62); }

// Position of atom, or where it belongs.
static int find(const ts__lin *l, const ts_expr *atom, bool *found) {
  int lo = 0, hi = l->n;
  *found = true;
  while (lo < hi) {
    int mid = (lo + hi) / 2, c = ts__expr_cmp(l->t[mid].atom, atom);
    if (!c) return mid;
    if (c < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  *found = false;
  return lo;
}

bool ts__lin_add_term(ts__lin *l, int64_t k, const ts_expr *atom) {
  if (!k) return true;
  bool found;
  int i = find(l, atom, &found);
  if (found) {
    if (!fits(k) || !fits(l->t[i].k += k)) return false;
    if (!l->t[i].k) memmove(&l->t[i], &l->t[i + 1], sizeof l->t[0] * (size_t)(--l->n - i));
    return true;
  }
  if (l->n == TS__LIN_CAP || !fits(k)) return false;
  memmove(&l->t[i + 1], &l->t[i], sizeof l->t[0] * (size_t)(l->n++ - i));
  l->t[i] = (ts__term){k, atom};
  return true;
}

bool ts__lin_add_const(ts__lin *l, int64_t c) { return fits(c) && fits(l->c += c); }

bool ts__lin_add(ts__lin *l, const ts__lin *x, int64_t k) {
  int64_t v;
  if (__builtin_mul_overflow(x->c, k, &v) || !ts__lin_add_const(l, v)) return false;
  for (int i = 0; i < x->n; i++)
    if (__builtin_mul_overflow(x->t[i].k, k, &v) || !ts__lin_add_term(l, v, x->t[i].atom)) return false;
  return true;
}

bool ts__lin_scale(ts__lin *l, int64_t k) {
  if (!k) l->n = 0;
  if (__builtin_mul_overflow(l->c, k, &l->c) || !fits(l->c)) return false;
  for (int i = 0; i < l->n; i++)
    if (__builtin_mul_overflow(l->t[i].k, k, &l->t[i].k) || !fits(l->t[i].k)) return false;
  return true;
}

bool ts__lin_equal(const ts__lin *x, const ts__lin *y) {
  if (x->n != y->n || x->c != y->c) return false;
  for (int i = 0; i < x->n; i++)
    if (x->t[i].k != y->t[i].k || x->t[i].atom != y->t[i].atom) return false;
  return true;
}

int64_t ts__lin_coeff(const ts__lin *l, const ts_expr *atom) {
  bool found;
  int i = find(l, atom, &found);
  return found ? l->t[i].k : 0;
}

int64_t ts__lin_gcd(const ts__lin *l) {
  int64_t g = 0;
  for (int i = 0; i < l->n; i++) g = ts__gcd(g, l->t[i].k);
  return g;
}

// l += k * e for canonical e.
static bool parse(ts__lin *l, const ts_expr *e, int64_t k) {
  int64_t v, w;
  if (ts_is_int(e, &v)) return !__builtin_mul_overflow(v, k, &w) && ts__lin_add_const(l, w);
  if (e->kind == TS_E_ADD) return parse(l, e->arg[0], k) && parse(l, e->arg[1], k);
  if (e->kind == TS_E_SUB)
    return !__builtin_sub_overflow((int64_t)0, k, &w) && parse(l, e->arg[0], k) && parse(l, e->arg[1], w);
  if (e->kind == TS_E_MUL && ts_is_int(e->arg[1], &v))
    return !__builtin_mul_overflow(v, k, &w) && parse(l, e->arg[0], w);
  return ts__lin_add_term(l, k, e);
}

// A sum that is too large for a linear form becomes one atom. False for a constant that is too large (*l is that atom
// then).
bool ts__lin_parse(ts__lin *l, const ts_expr *e) {
  ts__lin_const(l, 0);
  if (parse(l, e, 1)) return true;
  ts__lin_const(l, 0);
  return ts__lin_add_term(l, 1, e) && e->kind != TS_E_INT;
}

static uint64_t magnitude(int64_t k) { return k < 0 ? 0 - (uint64_t)k : (uint64_t)k; }

// Positive coefficients before negative ones, larger before smaller.
static int by_weight(const ts__term *a, const ts__term *b) {
  if ((a->k < 0) != (b->k < 0)) return a->k < 0 ? 1 : -1;
  int c = cmp_u64(magnitude(b->k), magnitude(a->k));
  return c ? c : ts__expr_cmp(a->atom, b->atom);
}

static const ts_expr *scaled(ts_ir *ir, const ts_expr *atom, int64_t k) {
  return k == 1 ? atom : ts_mul(ir, atom, ts_int(ir, k));
}

const ts_expr *ts__lin_expr(ts_ir *ir, const ts__lin *l) {
  if (!l->n) return ts_int(ir, l->c);
  ts__term t[TS__LIN_CAP];
  t[0] = l->t[0];
  for (int i = 1; i < l->n; i++) {
    int at = i;
    for (; at > 0 && by_weight(&t[at - 1], &l->t[i]) > 0; at--) t[at] = t[at - 1];
    t[at] = l->t[i];
  }
  const ts_expr *e = NULL;
  int64_t c = l->c;
  if (t[0].k < 0 && c) {
    e = ts_int(ir, c);
    c = 0;
  }
  for (int i = 0; i < l->n; i++) {
    if (!e)
      e = scaled(ir, t[i].atom, t[i].k);
    else if (t[i].k > 0)
      e = ts_add(ir, e, scaled(ir, t[i].atom, t[i].k));
    else if (t[i].k == INT64_MIN)
      e = ts_add(ir, e, scaled(ir, t[i].atom, t[i].k));
    else
      e = ts_sub(ir, e, scaled(ir, t[i].atom, -t[i].k));
  }
  if (c > 0 || c == INT64_MIN) return ts_add(ir, e, ts_int(ir, c));
  return c < 0 ? ts_sub(ir, e, ts_int(ir, -c)) : e;
}

int ts__factors(const ts_expr *atom, const ts_expr **f, int cap) {
  if (atom->kind != TS_E_MUL) {
    if (cap < 1) return -1;
    f[0] = atom;
    return 1;
  }
  int n = ts__factors(atom->arg[0], f, cap);
  if (n < 0) return -1;
  int m = ts__factors(atom->arg[1], f + n, cap - n);
  return m < 0 ? -1 : n + m;
}

static int by_order(const void *a, const void *b) {
  return ts__expr_cmp(*(const ts_expr *const *)a, *(const ts_expr *const *)b);
}

const ts_expr *ts__product(ts_ir *ir, const ts_expr **f, int n) {
  if (!n) return ts_int(ir, 1);
  qsort(f, (size_t)n, sizeof f[0], by_order);
  const ts_expr *e = f[0];
  for (int i = 1; i < n; i++) e = ts_mul(ir, e, f[i]);
  return e;
}

// Product of two atoms; NULL when it has too many factors.
static const ts_expr *atom_product(ts_ir *ir, const ts_expr *x, const ts_expr *y) {
  const ts_expr *f[8];
  int n = ts__factors(x, f, 8);
  int m = n < 0 ? -1 : ts__factors(y, f + n, 8 - n);
  return m < 0 ? NULL : ts__product(ir, f, n + m);
}

bool ts__lin_mul(ts_ir *ir, ts__lin *out, const ts__lin *x, const ts__lin *y) {
  if (x->n * y->n > 16) return false;
  ts__lin_const(out, 0);
  if (!ts__lin_add(out, y, x->c)) return false;
  for (int i = 0; i < x->n; i++) {
    int64_t k;
    if (__builtin_mul_overflow(x->t[i].k, y->c, &k) || !ts__lin_add_term(out, k, x->t[i].atom)) return false;
    for (int j = 0; j < y->n; j++) {
      const ts_expr *p = atom_product(ir, x->t[i].atom, y->t[j].atom);
      if (!p || __builtin_mul_overflow(x->t[i].k, y->t[j].k, &k) || !ts__lin_add_term(out, k, p)) return false;
    }
  }
  return true;
}
