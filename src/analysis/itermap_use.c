// What is done with an iteration map: back to expressions, inversion, division into an outer and an inner map.
#include "analysis/analysis_impl.h"

static const ts_expr *op(ts_analyzer *a, ts_ekind k, const ts_expr *x, const ts_expr *y) {
  return ts_simplify(a, ts_bin(a->ir, k, x, y));
}
static bool is(const ts_expr *e, int64_t v) {
  int64_t i;
  return ts_is_int(e, &i) && i == v;
}
static bool equal(ts_analyzer *a, const ts_expr *x, const ts_expr *y) { return ts_prove_eq(a, x, y) == TS_YES; }
static bool whole(ts_analyzer *a, const ts_isplit *s) {
  return is(s->lower, 1) && equal(a, s->extent, s->mark->extent);
}

static const ts_expr *split_expr(ts_analyzer *a, const ts_isplit *s) {
  ts_ir *ir = a->ir;
  const ts_expr *e = s->mark->source;
  if (!is(s->lower, 1)) e = ts_bin(ir, TS_E_FLOORDIV, e, s->lower);
  if (ts_prove_le(a, s->mark->extent, ts_mul(ir, s->lower, s->extent)) != TS_YES)
    e = ts_bin(ir, TS_E_FLOORMOD, e, s->extent);
  return e;
}

const ts_expr *ts_isum_expr(ts_analyzer *a, const ts_isum *s) {
  const ts_expr *e = s->base;
  for (int i = 0; i < s->n; i++) e = ts_add(a->ir, e, ts_mul(a->ir, split_expr(a, &s->term[i]), s->term[i].scale));
  return ts_simplify(a, e);
}

// --- inversion ---------------------------------------------------------------------------------------------
enum { ITEMS = 64 };
typedef struct item {  // the value of one split
  const ts_isplit *split;
  const ts_expr *value;
} item;
typedef struct inverter {
  ts_analyzer *a;
  int n;
  item it[ITEMS];
  int nmarks;
  const ts_imark *mark[ITEMS];
  bool done[ITEMS];
} inverter;

static bool add_mark(inverter *v, const ts_imark *m) {
  for (int i = 0; i < v->nmarks; i++)
    if (v->mark[i] == m) return true;
  if (v->nmarks == ITEMS) return false;
  v->mark[v->nmarks++] = m;
  for (int i = 0; m->sum && i < m->sum->n; i++)
    if (!add_mark(v, m->sum->term[i].mark)) return false;
  return true;
}

// Values of the terms of a sum whose value is `of`: the largest scale first, the remainder goes on.
static bool open_sum(inverter *v, const ts_isum *s, const ts_expr *of) {
  ts_analyzer *a = v->a;
  const ts_expr *rest = op(a, TS_E_SUB, of, s->min);
  for (int i = 0; i < s->n; i++) {
    const ts_isplit *t = &s->term[i];
    bool down = ts_bound(a, t->scale).hi < 0;
    const ts_expr *k = down ? op(a, TS_E_MUL, t->scale, ts_int(a->ir, -1)) : t->scale;
    const ts_expr *d = op(a, TS_E_FLOORDIV, rest, k);
    rest = op(a, TS_E_FLOORMOD, rest, k);
    if (down) d = op(a, TS_E_SUB, ts_sub(a->ir, t->extent, ts_int(a->ir, 1)), d);
    if (v->n == ITEMS || !add_mark(v, t->mark)) return false;
    v->it[v->n++] = (item){t, d};
  }
  return true;
}

// The mark's value from its digits, which must follow each other without gap or overlap.
static const ts_expr *assemble(inverter *v, const ts_imark *m) {
  ts_analyzer *a = v->a;
  const ts_expr *pos = ts_int(a->ir, 1), *e = ts_int(a->ir, 0);
  bool taken[ITEMS] = {false};
  for (;;) {
    int at = -1;
    for (int i = 0; i < v->n && at < 0; i++)
      if (v->it[i].split->mark == m && !taken[i] && equal(a, v->it[i].split->lower, pos)) at = i;
    if (at < 0) break;
    taken[at] = true;
    e = ts_add(a->ir, e, ts_mul(a->ir, v->it[at].value, pos));
    pos = op(a, TS_E_MUL, pos, v->it[at].split->extent);
  }
  return ts_prove_le(a, m->extent, pos) == TS_YES ? ts_simplify(a, e) : NULL;
}

// A mark can be assembled when every fused mark over it is done.
static bool ready(const inverter *v, int at) {
  for (int i = 0; i < v->nmarks; i++) {
    if (v->done[i] || !v->mark[i]->sum) continue;
    for (int t = 0; t < v->mark[i]->sum->n; t++)
      if (v->mark[i]->sum->term[t].mark == v->mark[at]) return false;
  }
  return true;
}

static int input_of(const ts_itermap *m, const ts_var *var) {
  int i = 0;
  while (i < m->nin && m->in[i].var != var) i++;
  return i;
}

static bool solve(inverter *v, const ts_itermap *m, const ts_expr **result) {
  for (int left = v->nmarks, progress = 1; left && progress;) {
    progress = 0;
    for (int i = 0; i < v->nmarks; i++) {
      if (v->done[i] || !ready(v, i)) continue;
      const ts_imark *mark = v->mark[i];
      const ts_expr *e = assemble(v, mark);
      if (!e) return false;
      if (mark->var)
        result[input_of(m, mark->var)] = e;
      else if (!open_sum(v, mark->sum, e))
        return false;
      v->done[i] = true;
      left--;
      progress = 1;
    }
  }
  return true;
}

bool ts_itermap_invert(ts_analyzer *a, const ts_itermap *m, const ts_expr *const *of, const ts_expr **result,
                       ts_diag *d) {
  inverter v = {.a = a};
  if (m->bijective != TS_YES || !m->bind || m->predicate)
    return ts_refuse(d, "not-bijective", "the iteration map is not known to be one-to-one and onto");
  bool ok = true;
  for (int i = 0; i < m->nin; i++) result[i] = ts_int(a->ir, 0);
  for (int i = 0; i < m->n && ok; i++) ok = open_sum(&v, &m->bind[i], of[i]);
  if (!ok || !solve(&v, m, result))
    return ts_refuse(d, "not-invertible", "the iteration map has no inverse in quotients and remainders");
  for (int i = 0; i < m->nin; i++) result[i] = op(a, TS_E_ADD, result[i], m->in[i].dom.min);
  return true;
}

// --- division ----------------------------------------------------------------------------------------------
typedef enum side { OUTER, INNER, MIXED, NEITHER } side;
typedef struct divider {
  ts_analyzer *a;
  const ts_var *const *inner;
  int ninner;
  const ts_expr *pred[2];  // OUTER, INNER
  ts_diag *d;
} divider;

static side join(side x, side y) { return x == NEITHER ? y : y == NEITHER || x == y ? x : MIXED; }

static side side_of(const divider *v, const ts_imark *m) {
  if (m->var) {
    for (int i = 0; i < v->ninner; i++)
      if (v->inner[i] == m->var) return INNER;
    return OUTER;
  }
  side s = NEITHER;
  for (int i = 0; i < m->sum->n; i++) s = join(s, side_of(v, m->sum->term[i].mark));
  return s;
}

static const ts_expr *full_extent(ts_analyzer *a, const ts_isum *s) {
  const ts_expr *e = ts_int(a->ir, 1);
  for (int i = 0; i < s->n; i++) e = op(a, TS_E_MUL, e, s->term[i].extent);
  return e;
}

static void demand(divider *v, side s, const ts_expr *c) {
  v->pred[s] = v->pred[s] ? ts_bin(v->a->ir, TS_E_AND, v->pred[s], c) : c;
}

// The guards of the marks below a term join the predicate of their side; a guard over both sides cannot be divided.
static bool guards(divider *v, const ts_imark *m) {
  if (!m->sum) return true;
  if (!equal(v->a, m->extent, full_extent(v->a, m->sum))) {
    side s = side_of(v, m);
    if (s == MIXED) return ts_refuse(v->d, "subspace-not-divisible", "a guard joins outer and inner loops");
    demand(v, s, ts_bin(v->a->ir, TS_E_LT, m->source, m->extent));
  }
  for (int i = 0; i < m->sum->n; i++)
    if (!guards(v, m->sum->term[i].mark)) return false;
  return true;
}

enum { TERMS = 32 };

// The terms of a sum with mixed marks replaced by their own terms.
static int expand(divider *v, const ts_isplit *s, const ts_expr *scale, ts_isplit *out, int n) {
  if (n < 0 || n == TERMS) return -1;
  const ts_expr *k = op(v->a, TS_E_MUL, s->scale, scale);
  if (side_of(v, s->mark) != MIXED) {
    out[n] = *s;
    out[n].scale = k;
    return n + 1;
  }
  if (!whole(v->a, s) || !equal(v->a, s->mark->extent, full_extent(v->a, s->mark->sum))) return -1;
  for (int i = 0; i < s->mark->sum->n; i++) n = expand(v, &s->mark->sum->term[i], k, out, n);
  return n;
}

static const ts_expr *terms_expr(ts_analyzer *a, const ts_isplit *t, int n, const ts_expr *base, const ts_expr *over) {
  const ts_expr *e = base;
  for (int i = 0; i < n; i++)
    e = ts_add(a->ir, e, ts_mul(a->ir, split_expr(a, &t[i]), op(a, TS_E_FLOORDIV, t[i].scale, over)));
  return ts_simplify(a, e);
}

static bool divides(ts_analyzer *a, const ts_expr *x, const ts_expr *y) { return is(op(a, TS_E_FLOORMOD, y, x), 0); }

// Outer terms, then inner ones that run through 0 .. inner_extent - 1.
static bool divide_sum(divider *v, const ts_isum *s, ts_subspace *out) {
  ts_analyzer *a = v->a;
  ts_isplit t[TERMS];
  int n = 0, cut;
  for (int i = 0; i < s->n; i++) {
    if (!guards(v, s->term[i].mark)) return false;
    n = expand(v, &s->term[i], ts_int(a->ir, 1), t, n);
  }
  if (n < 0) return false;
  const ts_expr *inner = ts_int(a->ir, 1);
  for (cut = n; cut > 0 && side_of(v, t[cut - 1].mark) == INNER; cut--) {
    if (!equal(a, t[cut - 1].scale, inner)) return false;
    inner = op(a, TS_E_MUL, inner, t[cut - 1].extent);
  }
  for (int i = 0; i < cut; i++)
    if (side_of(v, t[i].mark) != OUTER || !divides(a, inner, t[i].scale)) return false;
  if (!divides(a, inner, s->base) || !s->extent || (n && !is(s->step, 1) && cut != n) || !divides(a, inner, s->extent))
    return false;
  *out = (ts_subspace){.outer = terms_expr(a, t, cut, op(a, TS_E_FLOORDIV, s->base, inner), inner),
                       .outer_extent = op(a, TS_E_FLOORDIV, s->extent, inner),
                       .inner = terms_expr(a, t + cut, n - cut, ts_int(a->ir, 0), ts_int(a->ir, 1)),
                       .inner_extent = inner};
  return true;
}

static bool divide_predicate(divider *v, const ts_expr *c, const ts_itermap *m) {
  if (c->kind == TS_E_AND) return divide_predicate(v, c->arg[0], m) && divide_predicate(v, c->arg[1], m);
  side s = NEITHER;
  for (int i = 0; i < m->nin; i++) {
    if (!ts_expr_uses_var(c, m->in[i].var)) continue;
    side x = OUTER;
    for (int j = 0; j < v->ninner; j++)
      if (v->inner[j] == m->in[i].var) x = INNER;
    s = join(s, x);
  }
  if (s == MIXED) return ts_refuse(v->d, "subspace-not-divisible", "the predicate joins outer and inner loops");
  demand(v, s == INNER ? INNER : OUTER, c);
  return true;
}

bool ts_itermap_divide(ts_analyzer *a, const ts_itermap *m, const ts_var *const *inner, int ninner, ts_subspace *out,
                       const ts_expr **outer_pred, const ts_expr **inner_pred, ts_diag *d) {
  divider v = {.a = a, .inner = inner, .ninner = ninner, .d = d};
  if (!m->bind) return ts_refuse(d, "not-affine", "the iteration map was not detected");
  size_t mark = ts_analyzer_push(a);
  for (int i = 0; i < m->nin; i++) ts_bind_range(a, m->in[i].var, m->in[i].dom);
  bool ok = true;
  for (int i = 0; i < m->nin; i++)
    for (int j = 0; j < m->nin; j++)
      ok = ok && !ts_expr_uses_var(m->in[i].dom.min, m->in[j].var) &&
           !ts_expr_uses_var(m->in[i].dom.extent, m->in[j].var);
  ts_diag none = {.kind = TS_OK};
  if (!v.d) v.d = &none;
  v.d->kind = TS_OK;
  if (!ok) ts_refuse(v.d, "subspace-not-divisible", "the range of a loop depends on another loop");
  ok = ok && (!m->predicate || divide_predicate(&v, m->predicate, m));
  for (int i = 0; i < m->n && ok; i++) {
    ok = divide_sum(&v, &m->bind[i], &out[i]);
    if (!ok && v.d->kind == TS_OK)
      ts_refuse(v.d, "subspace-not-divisible", "binding %d does not divide into an outer and an inner part", i);
  }
  *outer_pred = v.pred[OUTER];
  *inner_pred = v.pred[INNER];
  ts_analyzer_pop(a, mark);
  return ok;
}
