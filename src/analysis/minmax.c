// Minimum and maximum of linear forms: common terms outside, operands that another makes superfluous left out.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

enum { OPERANDS = 8 };
typedef struct operands {
  int n;
  ts__lin x[OPERANDS];
} operands;

// x, where rest + k * min(p, q) counts as the operands rest + k * p and rest + k * q.
static bool add_operand(operands *o, ts_ekind kind, const ts__lin *x) {
  for (int i = 0; i < x->n; i++) {
    const ts__term *t = &x->t[i];
    if (t->atom->kind != kind || t->k < 0) continue;
    for (int s = 0; s < 2; s++) {
      ts__lin y, p;
      ts__lin_copy(&y, x);
      if (!ts__lin_parse(&p, t->atom->arg[s]) || !ts__lin_add_term(&y, -t->k, t->atom) || !ts__lin_add(&y, &p, t->k))
        return false;
      if (!add_operand(o, kind, &y)) return false;
    }
    return true;
  }
  if (o->n == OPERANDS) return false;
  ts__lin_copy(&o->x[o->n++], x);
  return true;
}

static bool at_least(ts_analyzer *a, const ts__lin *x, const ts__lin *y) {
  ts__lin d;
  ts__lin_copy(&d, x);
  if (!ts__lin_add(&d, y, -1)) return false;
  return ts__lin_bound(a, &d).lo >= 0 || (a->nfacts && ts__prove_ge0(a, &d));
}

// Drops operands that another one makes superfluous.
static void prune(ts_analyzer *a, operands *o, bool min) {
  for (int i = 0; i < o->n; i++)
    for (int j = 0; j < o->n; j++) {
      if (i == j || !(min ? at_least(a, &o->x[j], &o->x[i]) : at_least(a, &o->x[i], &o->x[j]))) continue;
      if (j < i) i--;
      for (int m = j; m + 1 < o->n; m++) ts__lin_copy(&o->x[m], &o->x[m + 1]);
      o->n--;
      j--;
    }
}

// Moves the terms that all operands share to *common; returns the divisor of what is left.
static int64_t share(operands *o, ts__lin *common) {
  ts__lin_const(common, 0);
  for (int i = 0; i < o->x[0].n;) {
    const ts__term t = o->x[0].t[i];
    bool all = true;
    for (int j = 1; j < o->n; j++) all = all && ts__lin_coeff(&o->x[j], t.atom) == t.k;
    if (!all) {
      i++;
      continue;
    }
    ts__lin_add_term(common, t.k, t.atom);
    for (int j = 0; j < o->n; j++) ts__lin_add_term(&o->x[j], -t.k, t.atom);
  }
  int64_t g = 0;
  for (int j = 0; j < o->n; j++) g = ts__gcd(ts__gcd(g, ts__lin_gcd(&o->x[j])), o->x[j].c);
  for (int j = 0; g > 1 && j < o->n; j++) {
    o->x[j].c /= g;
    for (int i = 0; i < o->x[j].n; i++) o->x[j].t[i].k /= g;
  }
  return g > 1 ? g : 1;
}

static int by_order(const void *pa, const void *pb) {
  const ts_expr *x = *(const ts_expr *const *)pa, *y = *(const ts_expr *const *)pb;
  int c = (x->kind == TS_E_INT) - (y->kind == TS_E_INT);
  return c ? c : ts__expr_cmp(x, y);
}

// The canonical form of the operands' minimum or maximum.
static bool build(ts_analyzer *a, ts_ekind kind, operands *o, ts__lin *out) {
  prune(a, o, kind == TS_E_MIN);
  if (o->n == 1) {
    ts__lin_copy(out, &o->x[0]);
    return true;
  }
  int64_t g = share(o, out);
  const ts_expr *e[OPERANDS];
  for (int i = 0; i < o->n; i++) e[i] = ts__lin_expr(a->ir, &o->x[i]);
  qsort(e, (size_t)o->n, sizeof e[0], by_order);
  for (int i = 1; i < o->n; i++) e[0] = ts_bin(a->ir, kind, e[0], e[i]);
  return ts__lin_add_term(out, g, e[0]);
}

bool ts__minmax(ts_analyzer *a, ts_ekind kind, const ts_expr *x, const ts_expr *y, ts__lin *out) {
  operands o = {.n = 0};
  ts__lin l;
  return ts__lin_of(a, x, &l) && add_operand(&o, kind, &l) && ts__lin_of(a, y, &l) && add_operand(&o, kind, &l) &&
         build(a, kind, &o, out);
}

// Term i of *l is k * min(..) or k * max(..). A term c * u of *l that cancels in an operand moves inside.
bool ts__absorb(ts_analyzer *a, ts__lin *l, int i, bool *changed) {
  const ts__term t = l->t[i];
  operands o = {.n = 0};
  ts__lin x, out;
  *changed = false;
  ts__lin_const(&x, 0);
  if (!ts__lin_add_term(&x, 1, t.atom) || !add_operand(&o, (ts_ekind)t.atom->kind, &x)) return true;
  for (int j = 0; j < l->n; j++) {
    const ts__term u = l->t[j];
    bool cancels = false;
    if (j == i || u.k % t.k) continue;
    for (int p = 0; p < o.n; p++) cancels = cancels || ts__lin_coeff(&o.x[p], u.atom) == -(u.k / t.k);
    if (!cancels) continue;
    for (int p = 0; p < o.n; p++)
      if (!ts__lin_add_term(&o.x[p], u.k / t.k, u.atom)) return true;
    ts__lin_copy(&out, l);
    if (!ts__lin_add_term(&out, -t.k, t.atom) || !ts__lin_add_term(&out, -u.k, u.atom)) return true;
    if (!build(a, (ts_ekind)t.atom->kind, &o, &x) || !ts__lin_add(&out, &x, t.k)) return true;
    ts__lin_copy(l, &out);
    *changed = true;
    return true;
  }
  return true;
}
