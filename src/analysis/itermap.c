// Detection of iteration maps: each binding becomes a sum of splits of loop variables and of fused or guarded sums
// (marks).
#include "analysis/analysis_impl.h"

enum { TERMS = 16, MARKS = 48, GUARDS = 8, BINDINGS = 24 };

typedef struct sum {  // a ts_isum being made
  int n;
  ts_isplit t[TERMS];
  const ts_expr *base;
} sum;
typedef struct guard {  // the predicate says that a sum stays below `extent`
  const ts_imark *mark;
  const ts_expr *cond;
} guard;
typedef struct finder {
  ts_analyzer *a;
  ts_ir *ir;
  const ts_loop_range *in;
  int nin;
  const ts_var **vars;
  ts_imark *mark[MARKS];  // the first nin belong to the loops
  int nmarks;
  guard guards[GUARDS];
  int nguards;
  bool triangular;  // the range of a loop depends on another one
  bool partial;     // a remainder may not take all the values that its split has
  int current;      // binding, for messages
  ts_diag *d;
} finder;

static bool parse(finder *f, const ts_expr *e, sum *out);

// --- small algebra -----------------------------------------------------------------------------------------
static const ts_expr *op(finder *f, ts_ekind k, const ts_expr *x, const ts_expr *y) {
  return ts_simplify(f->a, ts_bin(f->ir, k, x, y));
}
static const ts_expr *num(finder *f, int64_t v) { return ts_int(f->ir, v); }
static bool is(const ts_expr *e, int64_t v) {
  int64_t i;
  return ts_is_int(e, &i) && i == v;
}
static const ts_expr *mul(finder *f, const ts_expr *x, const ts_expr *y) {
  return is(x, 1) ? ts_simplify(f->a, y) : is(y, 1) ? ts_simplify(f->a, x) : op(f, TS_E_MUL, x, y);
}
static bool equal(finder *f, const ts_expr *x, const ts_expr *y) { return x == y || ts_prove_eq(f->a, x, y) == TS_YES; }
static bool at_most(finder *f, const ts_expr *x, const ts_expr *y) { return ts_prove_le(f->a, x, y) == TS_YES; }
static bool divisible(finder *f, const ts_expr *x, const ts_expr *y) {
  return y != NULL && !is(y, 0) && (is(y, 1) || is(op(f, TS_E_FLOORMOD, x, y), 0));
}
static const ts_expr *ceil_div(finder *f, const ts_expr *x, const ts_expr *y) {
  return op(f, TS_E_FLOORDIV, ts_sub(f->ir, ts_add(f->ir, x, y), num(f, 1)), y);
}
static const ts_expr *magnitude(finder *f, const ts_expr *scale) {
  return ts_bound(f->a, scale).hi < 0 ? mul(f, scale, num(f, -1)) : scale;
}

static bool refuse(finder *f, const char *code, const ts_expr *e, const char *why) {
  if (!f->d) return false;
  ts_text t = {0};
  ts_expr_print(&t, e);
  ts_refuse(f->d, code, "binding %d: %.200s %s", f->current, ts_text_str(&t), why);
  ts_text_free(&t);
  return false;
}

// --- marks -------------------------------------------------------------------------------------------------
static bool same_split(const ts_isplit *x, const ts_isplit *y) {
  return x->mark == y->mark && x->lower == y->lower && x->extent == y->extent;
}

static const ts_expr *split_expr(finder *f, const ts_isplit *s) {
  const ts_expr *e = op(f, TS_E_FLOORDIV, s->mark->source, s->lower);
  const ts_expr *whole = mul(f, s->lower, s->extent);
  if (!at_most(f, s->mark->extent, whole)) e = ts_bin(f->ir, TS_E_FLOORMOD, e, s->extent);
  return ts_mul(f->ir, e, s->scale);
}

static const ts_expr *sum_expr(finder *f, const ts_isplit *t, int n, const ts_expr *base) {
  const ts_expr *e = base;
  for (int i = 0; i < n; i++) e = ts_add(f->ir, e, split_expr(f, &t[i]));
  return ts_simplify(f->a, e);
}

// The fused mark of the terms (scales relative to the sum), found or made.
static const ts_imark *fused(finder *f, const ts_isplit *t, int n, const ts_expr *extent) {
  for (int i = f->nin; i < f->nmarks; i++) {
    const ts_imark *m = f->mark[i];
    bool equal_terms = m->sum->n == n && m->extent == extent;
    for (int j = 0; j < n && equal_terms; j++)
      equal_terms = same_split(&m->sum->term[j], &t[j]) && m->sum->term[j].scale == t[j].scale;
    if (equal_terms) return m;
  }
  if (f->nmarks == MARKS) return NULL;
  ts_arena *arena = ts_ir_arena(f->ir);
  ts_isum *s = ts_new(arena, ts_isum);
  *s = (ts_isum){n, ts_arena_dup(arena, t, sizeof t[0] * (size_t)n), num(f, 0), num(f, 0), num(f, 1), extent};
  ts_imark *m = ts_new(arena, ts_imark);
  *m = (ts_imark){NULL, s, sum_expr(f, t, n, num(f, 0)), extent};
  return f->mark[f->nmarks++] = m;
}

static bool covers(finder *f, const ts_isplit *s) { return at_most(f, s->mark->extent, mul(f, s->lower, s->extent)); }

static bool whole_mark(finder *f, const ts_imark *m, const ts_expr *scale, ts_isplit *out) {
  *out = (ts_isplit){m, num(f, 1), m->extent, scale};
  return true;
}

// A mark of its own for the values of one split with scale 1.
static bool wrap(finder *f, ts_isplit *s) {
  const ts_imark *m = fused(f, s, 1, s->extent);
  return m && whole_mark(f, m, num(f, 1), s);
}

static bool divide(finder *f, ts_isplit *s, const ts_expr *c) {
  if (is(c, 1)) return true;
  if (!divisible(f, s->extent, c) && !covers(f, s) && !wrap(f, s)) return false;
  s->lower = mul(f, s->lower, c);
  s->extent = ceil_div(f, s->extent, c);
  return true;
}

static bool modulo(finder *f, ts_isplit *s, const ts_expr *c) {
  if (at_most(f, s->extent, c)) return true;
  bool whole = divisible(f, s->extent, c);
  if (!whole && !covers(f, s) && !wrap(f, s)) return false;
  f->partial = f->partial || (!whole && !at_most(f, c, s->extent));
  s->extent = c;
  return true;
}

// --- sums --------------------------------------------------------------------------------------------------
static bool add_term(finder *f, sum *s, ts_isplit t) {
  if (is(t.extent, 1)) return true;
  for (int i = 0; i < s->n; i++)
    if (same_split(&s->t[i], &t)) {
      s->t[i].scale = op(f, TS_E_ADD, s->t[i].scale, t.scale);
      if (is(s->t[i].scale, 0)) s->t[i] = s->t[--s->n];
      return true;
    }
  if (s->n == TERMS) return false;
  s->t[s->n++] = t;
  return true;
}

// x before y: larger scale, then larger range.
static bool before(finder *f, const ts_isplit *x, const ts_isplit *y) {
  const ts_expr *p = magnitude(f, x->scale), *q = magnitude(f, y->scale);
  int64_t i, j;
  if (p == q) return false;
  if (ts_is_int(p, &i) && ts_is_int(q, &j)) return i > j;
  if (ts_prove_le(f->a, q, p) == TS_YES) return true;
  return ts_is_int(q, &j) && j == 1;
}

static void sort_terms(finder *f, sum *s) {
  for (int i = 1; i < s->n; i++)
    for (int j = i; j > 0 && before(f, &s->t[j], &s->t[j - 1]); j--) {
      ts_isplit t = s->t[j];
      s->t[j] = s->t[j - 1];
      s->t[j - 1] = t;
    }
}

// A term as a digit of a guarded mark: mark // start % (end / start); end is NULL when it reaches the top.
typedef struct digit {
  int at;
  const ts_expr *start, *end;
} digit;

static bool digit_of(finder *f, const ts_imark *m, const ts_isplit *u, digit *out) {
  if (u->mark == m) {
    out->start = u->lower;
    out->end = covers(f, u) ? NULL : mul(f, u->lower, u->extent);
    return true;
  }
  for (int i = 0; i < m->sum->n; i++) {
    const ts_isplit *t = &m->sum->term[i];
    if (t->mark != u->mark || !divisible(f, u->lower, t->lower)) continue;
    const ts_expr *r = op(f, TS_E_FLOORDIV, u->lower, t->lower), *end = mul(f, r, u->extent);
    bool exact = divisible(f, t->extent, end);
    if (!exact && !(i == 0 && covers(f, t) && at_most(f, t->extent, end) && ts_prove_lt(f->a, r, t->extent) == TS_YES))
      continue;
    bool top = i == 0 && at_most(f, t->extent, end);
    out->start = mul(f, t->scale, r);
    out->end = top ? NULL : mul(f, t->scale, end);
    return true;
  }
  return false;
}

static ts_isplit split_of_digit(finder *f, const ts_imark *m, const digit *d, const ts_expr *scale) {
  bool inside = d->end && !at_most(f, m->extent, d->end);
  const ts_expr *extent = inside ? op(f, TS_E_FLOORDIV, d->end, d->start) : ceil_div(f, m->extent, d->start);
  return (ts_isplit){m, d->start, extent, scale};
}

// The digits of the mark in *s, smallest first, and the other terms in *rest.
static int find_digits(finder *f, const ts_imark *m, const sum *s, digit *d, sum *rest) {
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    digit x;
    if (!digit_of(f, m, &s->t[i], &x)) {
      rest->t[rest->n++] = s->t[i];
      continue;
    }
    x.at = i;
    int at = n++;
    for (; at > 0 && at_most(f, x.start, d[at - 1].start); at--) d[at] = d[at - 1];
    d[at] = x;
  }
  return n;
}

// Digits of guarded marks take the place of the loops' own; neighbours with fitting scales become one.
static void use_guards(finder *f, sum *s) {
  for (int g = 0; g < f->nguards; g++) {
    const ts_imark *m = f->guards[g].mark;
    digit d[TERMS];
    sum rest = {.base = s->base};
    int n = find_digits(f, m, s, d, &rest);
    for (int i = 0; i < n;) {
      digit run = d[i];
      const ts_expr *scale = s->t[d[i].at].scale;
      for (i++; i < n && run.end && d[i].start == run.end; i++) {
        if (s->t[d[i].at].scale != mul(f, scale, op(f, TS_E_FLOORDIV, d[i].start, run.start))) break;
        run.end = d[i].end;
      }
      ts_isplit x = split_of_digit(f, m, &run, scale);
      if (!is(x.extent, 1)) rest.t[rest.n++] = x;
    }
    *s = rest;
  }
}

// Each term's scale is the product of scale and extent of the one below, the last is 1: extent of the fused mark, else
// NULL.
static const ts_expr *compact(finder *f, const sum *s) {
  const ts_expr *next = num(f, 1);
  for (int i = s->n - 1; i >= 0; i--) {
    if (!equal(f, s->t[i].scale, next)) return NULL;
    next = mul(f, s->t[i].scale, s->t[i].extent);
  }
  return next;
}

// A dividend as one split with scale 1.
static bool as_split(finder *f, const ts_expr *e, ts_isplit *out) {
  sum s;
  if (!parse(f, e, &s)) return false;
  use_guards(f, &s);
  if (!is(s.base, 0)) return refuse(f, "not-affine", e, "is divided with an offset");
  if (s.n == 0) return refuse(f, "not-affine", e, "is constant here");
  if (s.n == 1 && is(s.t[0].scale, 1)) {
    *out = s.t[0];
    return true;
  }
  sort_terms(f, &s);
  const ts_expr *extent = compact(f, &s);
  const ts_imark *m = extent ? fused(f, s.t, s.n, extent) : NULL;
  return m ? whole_mark(f, m, num(f, 1), out)
           : refuse(f, "not-affine", e, "is divided but does not run through consecutive values");
}

static int input_of(const finder *f, const ts_var *v) {
  int i = 0;
  while (i < f->nin && f->in[i].var != v) i++;
  return i;
}

// scale * e, where e is a factor that uses loop variables.
static bool parse_factor(finder *f, const ts_expr *e, const ts_expr *scale, sum *out) {
  ts_isplit s;
  if (e->kind == TS_E_VAR) {
    whole_mark(f, f->mark[input_of(f, e->var)], scale, &s);
    return add_term(f, out, s);
  }
  if ((e->kind != TS_E_FLOORDIV && e->kind != TS_E_FLOORMOD) || ts__uses_any(e->arg[1], f->vars, f->nin) ||
      ts_bound(f->a, e->arg[1]).lo < 1)
    return refuse(f, "not-affine", e, "is not affine in the loop variables");
  if (!as_split(f, e->arg[0], &s)) return false;
  if (!(e->kind == TS_E_FLOORDIV ? divide(f, &s, e->arg[1]) : modulo(f, &s, e->arg[1])))
    return refuse(f, "not-affine", e, "has too many parts");
  s.scale = scale;
  return add_term(f, out, s) || refuse(f, "not-affine", e, "has too many parts");
}

static bool parse_term(finder *f, const ts__term *t, sum *out) {
  const ts_expr *fac[8];
  const ts_expr *scale = num(f, t->k);
  int n = ts__factors(t->atom, fac, 8), at = -1;
  if (n < 0) return refuse(f, "not-affine", t->atom, "has too many factors");
  for (int i = 0; i < n; i++) {
    if (!ts__uses_any(fac[i], f->vars, f->nin)) {
      scale = mul(f, scale, fac[i]);
    } else if (at >= 0) {
      return refuse(f, "not-affine", t->atom, "multiplies loop variables");
    } else {
      at = i;
    }
  }
  if (at >= 0) return parse_factor(f, fac[at], scale, out);
  out->base = op(f, TS_E_ADD, out->base, scale);
  return true;
}

static bool parse(finder *f, const ts_expr *e, sum *out) {
  ts__lin l;
  *out = (sum){.n = 0};
  if (!ts__is_index(e) || !ts__lin_of(f->a, e, &l)) return refuse(f, "not-affine", e, "is no index expression");
  out->base = num(f, l.c);
  for (int i = 0; i < l.n; i++)
    if (!parse_term(f, &l.t[i], out)) return false;
  return true;
}

// --- predicate ---------------------------------------------------------------------------------------------
// A conjunct of the predicate as s < limit, s a sum of loop variables and the limit free of them.
typedef struct wish {
  const ts_expr *cond;
  sum s;
  const ts_expr *limit;
} wish;

static bool read_wish(finder *f, const ts_expr *c, wish *w) {
  ts__lin l, x, limit;
  bool order = (c->kind == TS_E_LT || c->kind == TS_E_LE) && ts__is_index(c->arg[0]);
  if (!order || !ts__lin_parse(&l, c->arg[1]) || !ts__lin_parse(&x, c->arg[0]) || !ts__lin_add(&l, &x, -1))
    return false;
  *w = (wish){.cond = c, .s = {.base = num(f, 0)}};
  ts__lin_const(&limit, 0);
  if (!ts__lin_add_const(&limit, l.c) || !ts__lin_add_const(&limit, c->kind == TS_E_LE)) return false;
  for (int i = 0; i < l.n; i++) {
    ts__term t = l.t[i];
    if (ts__uses_any(t.atom, f->vars, f->nin)) {
      t.k = -t.k;
      if (!parse_term(f, &t, &w->s)) return false;
    } else if (!ts__lin_add_term(&limit, t.k, t.atom)) {
      return false;
    }
  }
  w->limit = ts__lin_expr(f->ir, &limit);
  return w->s.n > 0 && is(w->s.base, 0);
}

// x must become a guard before y when y looks at parts of x's terms, or x is a part of y.
static bool precedes(finder *f, const wish *x, const wish *y) {
  int same = 0;
  for (int i = 0; i < x->s.n; i++)
    for (int j = 0; j < y->s.n; j++) {
      const ts_isplit *p = &x->s.t[i], *q = &y->s.t[j];
      if (p->mark != q->mark) continue;
      if (same_split(p, q)) {
        same++;
      } else if (divisible(f, q->lower, p->lower) &&
                 at_most(f, mul(f, q->lower, q->extent), mul(f, p->lower, p->extent))) {
        return true;
      }
    }
  return same == x->s.n && x->s.n < y->s.n;
}

static bool add_guard(finder *f, wish *w) {
  use_guards(f, &w->s);
  sort_terms(f, &w->s);
  const ts_expr *extent = compact(f, &w->s);
  if (f->nguards == GUARDS || !extent || !at_most(f, w->limit, extent) || ts_bound(f->a, w->limit).lo < 1) return false;
  const ts_imark *m = fused(f, w->s.t, w->s.n, w->limit);
  if (!m) return false;
  f->guards[f->nguards++] = (guard){m, w->cond};
  return true;
}

static const ts_expr *both(finder *f, const ts_expr *x, const ts_expr *y) {
  return x ? ts_bin(f->ir, TS_E_AND, x, y) : y;
}

typedef struct wishes {
  int n;
  wish w[GUARDS];
} wishes;

static void read_conjuncts(finder *f, const ts_expr *c, wishes *w, const ts_expr **left) {
  if (c->kind == TS_E_AND) {
    read_conjuncts(f, c->arg[0], w, left);
    read_conjuncts(f, c->arg[1], w, left);
  } else if (w->n < GUARDS && read_wish(f, c, &w->w[w->n])) {
    w->n++;
  } else if (!is(c, 1)) {
    *left = both(f, *left, c);
  }
}

// Conjuncts become guards where they can; the others are joined in *left.
static void read_predicate(finder *f, const ts_expr *c, const ts_expr **left) {
  ts_diag *d = f->d;
  wishes w = {.n = 0};
  f->d = NULL;
  read_conjuncts(f, c, &w, left);
  while (w.n) {
    int first = 0;
    for (int i = 0; i < w.n; i++) {
      bool free = true;
      for (int j = 0; j < w.n; j++) free = free && (j == i || !precedes(f, &w.w[j], &w.w[i]));
      if (free) {
        first = i;
        break;
      }
    }
    if (!add_guard(f, &w.w[first])) *left = both(f, *left, w.w[first].cond);
    w.w[first] = w.w[--w.n];
  }
  f->d = d;
}

// --- judging -----------------------------------------------------------------------------------------------
// Which values the binding takes, and whether its value tells those of its splits.
static void finish_sum(finder *f, sum *s, ts_isum *out, bool *determined) {
  ts_arena *arena = ts_ir_arena(f->ir);
  const ts_expr *one = num(f, 1), *min = s->base, *reach = num(f, 0), *count = one, *step = one;
  use_guards(f, s);
  sort_terms(f, s);
  *determined = true;
  if (s->n) step = magnitude(f, s->t[s->n - 1].scale);
  for (int i = s->n - 1; i >= 0; i--) {
    const ts_expr *k = magnitude(f, s->t[i].scale), *last = op(f, TS_E_SUB, s->t[i].extent, one);
    ts_interval sign = ts_bound(f->a, s->t[i].scale);
    if (sign.lo <= 0 && sign.hi >= 0) {  // unknown sign
      *determined = false;
      count = NULL;
      continue;
    }
    if (sign.hi < 0) min = op(f, TS_E_ADD, min, mul(f, s->t[i].scale, last));
    if (ts_prove_lt(f->a, reach, k) != TS_YES) *determined = false;
    reach = op(f, TS_E_ADD, reach, mul(f, k, last));
    if (count && divisible(f, k, step) && at_most(f, op(f, TS_E_FLOORDIV, k, step), count))
      count = op(f, TS_E_ADD, count, mul(f, op(f, TS_E_FLOORDIV, k, step), last));
    else
      count = NULL;
  }
  *out = (ts_isum){s->n, s->n ? ts_arena_dup(arena, s->t, sizeof s->t[0] * (size_t)s->n) : NULL, s->base, min, step,
                   count};
}

// The splits of one mark that bindings (or used fused marks) look at, smallest lower factor first.
typedef struct digits {
  int n;
  ts_isplit d[32];
  bool known[32];  // its value follows from the bindings
} digits;

static bool collect_digit(finder *f, digits *ds, const ts_isplit *s, bool known) {
  if (ds->n == 32) return false;
  int i = ds->n++;
  for (; i > 0 && at_most(f, s->lower, ds->d[i - 1].lower) && s->lower != ds->d[i - 1].lower; i--) {
    ds->d[i] = ds->d[i - 1];
    ds->known[i] = ds->known[i - 1];
  }
  ds->d[i] = *s;
  ds->known[i] = known;
  return true;
}

// Do the known digits tell the mark's value? They tell it below `pos`.
static bool tells(finder *f, const ts_imark *m, const digits *ds) {
  const ts_expr *pos = num(f, 1);
  for (int i = 0; i < ds->n; i++)
    if (ds->known[i] && divisible(f, pos, ds->d[i].lower)) {
      const ts_expr *end = mul(f, ds->d[i].lower, ds->d[i].extent);
      if (at_most(f, pos, end) && divisible(f, end, pos)) pos = end;
      if (at_most(f, m->extent, end)) return true;
    }
  return at_most(f, m->extent, pos);
}

// Do the digits take all combinations of their values? NO only when they certainly do not.
static ts_tri independent(finder *f, const ts_imark *m, const digits *ds) {
  const ts_expr *end = num(f, 1);
  for (int i = 0; i < ds->n; i++) {
    if (!divisible(f, ds->d[i].lower, end)) return TS_UNKNOWN;
    if (i + 1 < ds->n) end = mul(f, ds->d[i].lower, ds->d[i].extent);
  }
  if (ds->n == 0) return TS_YES;
  const ts_isplit *top = &ds->d[ds->n - 1];
  if (ds->n == 1 || divisible(f, m->extent, top->lower) || at_most(f, mul(f, top->lower, top->extent), m->extent))
    return TS_YES;
  const ts_expr *left = op(f, TS_E_SUB, m->extent, mul(f, top->lower, op(f, TS_E_SUB, top->extent, num(f, 1))));
  if (at_most(f, end, left)) return TS_YES;
  return ts_prove_lt(f->a, left, end) == TS_YES && at_most(f, num(f, 1), left) ? TS_NO : TS_UNKNOWN;
}

static ts_tri min_tri(ts_tri x, ts_tri y) {
  return x == TS_NO || y == TS_NO ? TS_NO : x == TS_YES && y == TS_YES ? TS_YES : TS_UNKNOWN;
}

// Which marks the bindings look at, directly or through other marks.
static void usage(const finder *f, const ts_isum *bind, int n, bool *used) {
  for (int i = f->nmarks - 1; i >= 0; i--) {
    used[i] = false;
    for (int b = 0; b < n; b++)
      for (int t = 0; t < bind[b].n; t++) used[i] = used[i] || bind[b].term[t].mark == f->mark[i];
    for (int j = TS_MAX(i + 1, f->nin); j < f->nmarks; j++)
      for (int t = 0; used[j] && t < f->mark[j]->sum->n; t++)
        used[i] = used[i] || f->mark[j]->sum->term[t].mark == f->mark[i];
  }
}

// The digits of mark i that bindings and later marks look at; false when they are too many.
static bool gather(finder *f, int i, const ts_isum *bind, int n, const bool *determined, const bool *told,
                   const bool *used, digits *ds) {
  for (int b = 0; b < n; b++)
    for (int t = 0; t < bind[b].n; t++)
      if (bind[b].term[t].mark == f->mark[i] && !collect_digit(f, ds, &bind[b].term[t], determined[b])) return false;
  for (int j = TS_MAX(i + 1, f->nin); j < f->nmarks; j++)
    for (int t = 0; used[j] && t < f->mark[j]->sum->n; t++)
      if (f->mark[j]->sum->term[t].mark == f->mark[i] && !collect_digit(f, ds, &f->mark[j]->sum->term[t], told[j]))
        return false;
  return true;
}

// Marks from the last made to the loops: every mark is told by digits of bindings and of later marks.
static void judge(finder *f, ts_itermap *m, const bool *determined, const bool *used) {
  bool told[MARKS];
  bool clean = true;  // all loops run
  bool plain = true;  // missing combinations of digits show in the bindings: no fused mark or sum hides them
  for (int i = f->nin; i < f->nmarks; i++) plain = plain && !used[i];
  for (int i = 0; i < m->n; i++) plain = plain && determined[i];
  m->injective = TS_YES;
  m->surjective = m->predicate || f->triangular || f->partial ? TS_UNKNOWN : TS_YES;
  for (int i = f->nmarks - 1; i >= 0; i--) {
    digits ds = {.n = 0};
    const ts_imark *mark = f->mark[i];
    if (!gather(f, i, m->bind, m->n, determined, told, used, &ds)) m->surjective = m->injective = TS_UNKNOWN;
    if (!used[i] && i >= f->nin) continue;
    told[i] = tells(f, mark, &ds);
    ts_tri all = independent(f, mark, &ds);
    if (all == TS_NO && !plain) all = TS_UNKNOWN;
    m->surjective = min_tri(m->surjective, all);
    if (i >= f->nin || told[i]) continue;
    bool free_loop = ds.n == 0 && ts_prove_le(f->a, num(f, 2), mark->extent) == TS_YES;
    for (int p = 0; p < f->nmarks && p != i; p++)
      clean = clean && ts_prove_le(f->a, num(f, 1), f->mark[p]->extent) == TS_YES;
    m->injective = min_tri(m->injective, free_loop && clean && !m->predicate ? TS_NO : TS_UNKNOWN);
  }
}

// Each binding's own values against its domain.
static ts_tri fills(finder *f, const ts_isum *s, const ts_range *dom) {
  if (!s->extent) return dom ? TS_UNKNOWN : TS_YES;
  if (!dom) return TS_YES;
  const ts_expr *min = ts_simplify(f->a, dom->min), *extent = ts_simplify(f->a, dom->extent);
  bool single = is(s->extent, 1);
  ts_tri r = min_tri(ts_prove_eq(f->a, s->min, min), ts_prove_eq(f->a, s->extent, extent));
  return single ? r : min_tri(r, ts_prove_eq(f->a, s->step, num(f, 1)));
}

// --- the detection -----------------------------------------------------------------------------------------
static void start(finder *f, ts_analyzer *a, const ts_loop_range *in, int nin, ts_diag *d) {
  ts_arena *arena = ts_ir_arena(a->ir);
  *f = (finder){.a = a,
                .ir = a->ir,
                .in = in,
                .nin = nin,
                .d = d,
                .vars = ts_new_array(arena, const ts_var *, nin ? nin : 1),
                .nmarks = nin};
  for (int i = 0; i < nin; i++) {
    f->vars[i] = in[i].var;
    ts_imark *m = ts_new(arena, ts_imark);
    *m = (ts_imark){in[i].var, NULL, ts_evar(a->ir, in[i].var), ts_simplify(a, in[i].dom.extent)};
    f->mark[i] = m;
    ts_bind_range(a, in[i].var, (ts_range){ts_int(a->ir, 0), in[i].dom.extent});
  }
  for (int i = 0; i < nin; i++)
    f->triangular =
        f->triangular || ts__uses_any(in[i].dom.min, f->vars, nin) || ts__uses_any(in[i].dom.extent, f->vars, nin);
}

// Bindings and predicate with every loop variable counted from its minimum.
static const ts_expr *from_zero(finder *f, const ts_expr *e) {
  ts_subst map[MARKS];
  int n = 0;
  for (int i = 0; i < f->nin; i++)
    if (!is(f->in[i].dom.min, 0))
      map[n++] = (ts_subst){f->in[i].var, ts_add(f->ir, ts_evar(f->ir, f->in[i].var), f->in[i].dom.min)};
  return n ? ts_expr_subst(f->ir, e, map, n) : e;
}

static bool detect(finder *f, const ts_expr *const *bind, int nbind, const ts_expr *pred, const ts_range *dom,
                   ts_itermap *out) {
  bool determined[BINDINGS], used[MARKS];
  const ts_expr *left = NULL;
  if (nbind > BINDINGS || f->nin > MARKS / 2)
    return ts_refuse(f->d, "too-many-bindings", "an iteration map of %d bindings and %d loops is too large", nbind,
                     f->nin);
  if (pred) read_predicate(f, ts_simplify(f->a, from_zero(f, pred)), &left);
  ts_isum *sums = ts_new_array(ts_ir_arena(f->ir), ts_isum, nbind ? nbind : 1);
  for (int i = 0; i < nbind; i++) {
    sum s;
    f->current = i;
    if (!parse(f, from_zero(f, bind[i]), &s)) return false;
    finish_sum(f, &s, &sums[i], &determined[i]);
  }
  usage(f, sums, nbind, used);
  for (int g = 0; g < f->nguards; g++) {
    int at = 0;
    while (f->mark[at] != f->guards[g].mark) at++;
    if (!used[at]) left = both(f, left, f->guards[g].cond);
  }
  out->n = nbind;
  out->bind = sums;
  out->predicate = left;
  judge(f, out, determined, used);
  ts_tri filled = TS_YES;  // counts when the sums do take all the values that they are made for
  for (int i = 0; i < nbind; i++) filled = min_tri(filled, fills(f, &sums[i], dom ? &dom[i] : NULL));
  out->surjective = out->surjective == TS_YES ? filled : filled == TS_YES ? out->surjective : TS_UNKNOWN;
  return true;
}

// Marks and predicate in terms of the loop variables as they are, not counted from zero.
static void from_min(finder *f, const ts_expr **pred) {
  ts_subst map[MARKS];
  int n = 0;
  for (int i = 0; i < f->nin; i++)
    if (!is(f->in[i].dom.min, 0))
      map[n++] = (ts_subst){f->in[i].var, ts_sub(f->ir, ts_evar(f->ir, f->in[i].var), f->in[i].dom.min)};
  if (n && *pred) *pred = ts_expr_subst(f->ir, *pred, map, n);
  for (int i = 0; n && i < f->nmarks; i++) {
    f->mark[i]->source = ts_expr_subst(f->ir, f->mark[i]->source, map, n);
  }
}

// A loop that no binding uses runs at least once, or nothing is reached at all.
static bool idle_loops_run(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind) {
  for (int i = 0; i < nin; i++) {
    bool used = false;
    int64_t k;
    for (int b = 0; b < nbind && !used; b++) used = ts_expr_uses_var(bind[b], in[i].var);
    if (used || (ts_is_int(in[i].dom.extent, &k) && k > 0)) continue;
    if (ts_prove_le(a, ts_int(a->ir, 1), in[i].dom.extent) != TS_YES) return false;
  }
  return true;
}

bool ts_itermap_detect(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                       const ts_expr *predicate, const ts_range *dom, ts_itermap *out, ts_diag *d) {
  finder f;
  size_t mark = ts_analyzer_push(a);
  start(&f, a, in, nin, d);
  *out = (ts_itermap){.nin = nin, .in = in};
  bool ok = detect(&f, bind, nbind, predicate, dom, out);
  from_min(&f, &out->predicate);
  if (!ok) *out = (ts_itermap){.injective = TS_UNKNOWN};
  ts_analyzer_pop(a, mark);
  if (out->surjective == TS_YES && !idle_loops_run(a, in, nin, bind, nbind)) out->surjective = TS_UNKNOWN;
  if (out->injective == TS_UNKNOWN || out->surjective == TS_UNKNOWN)
    ts__itermap_enumerate(a, in, nin, bind, nbind, predicate, dom, out);
  out->bijective = min_tri(out->injective, out->surjective);
  return ok;
}

// Bindings that are not affine are left out, so that fewer values tell the loop.
bool ts__itermap_tells(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                       const ts_expr *predicate, int which) {
  finder f;
  ts_isum sums[BINDINGS];
  bool determined[BINDINGS], used[MARKS], told[MARKS] = {false};
  const ts_expr *left = NULL;
  int n = 0;
  if (nin > MARKS / 2) return false;
  size_t mark = ts_analyzer_push(a);
  start(&f, a, in, nin, NULL);
  if (predicate) read_predicate(&f, ts_simplify(a, from_zero(&f, predicate)), &left);
  for (int i = 0; i < nbind && n < BINDINGS; i++) {
    sum s;
    if (!parse(&f, from_zero(&f, bind[i]), &s)) continue;
    finish_sum(&f, &s, &sums[n], &determined[n]);
    n++;
  }
  usage(&f, sums, n, used);
  for (int i = f.nmarks - 1; i >= 0; i--) {
    digits ds = {.n = 0};
    told[i] = (used[i] || i < nin) && gather(&f, i, sums, n, determined, told, used, &ds) && tells(&f, f.mark[i], &ds);
  }
  ts_analyzer_pop(a, mark);
  return told[which];
}

bool ts_itermap_of_block(ts_analyzer *a, const ts_stmt *const *loops, int nloops, const ts_block *b, ts_itermap *out,
                         ts_diag *d) {
  ts_arena *arena = ts_ir_arena(a->ir);
  ts_loop_range *in = ts_new_array(arena, ts_loop_range, nloops ? nloops : 1);
  const ts_expr **bind = ts_new_array(arena, const ts_expr *, b->niters ? b->niters : 1);
  ts_range *dom = ts_new_array(arena, ts_range, b->niters ? b->niters : 1);
  for (int i = 0; i < nloops; i++)
    in[i] = (ts_loop_range){loops[i]->loop.var, {loops[i]->loop.min, loops[i]->loop.extent}};
  for (int i = 0; i < b->niters; i++) {
    bind[i] = b->iters[i].value;
    dom[i] = b->iters[i].dom;
  }
  return ts_itermap_detect(a, in, nloops, bind, b->niters, b->predicate, dom, out, d);
}
