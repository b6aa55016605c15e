// Two accesses: proofs that different iterations of a loop cannot make them meet, then a search for two that do.
#include <stdlib.h>

#include "analysis/depend_impl.h"

enum { LOOPS = TS__DEPTH, DIMS = TS__DIMS };
typedef ts__side side;
typedef ts__pair pair;
typedef ts__verdict verdict;

// --- setting up --------------------------------------------------------------------------------------------
static const ts_expr *both_of(ts_ir *ir, const ts_expr *x, const ts_expr *y) {
  return x ? ts_bin(ir, TS_E_AND, x, y) : y;
}

bool ts__side_of(ts_analyzer *a, const ts__access *x, const ts_var *loop, ts__side *s) {
  *s = (side){.x = x, .at = -1};
  for (const ts__nest *l = x->nest; l; l = l->up) s->n++;
  if (s->n > LOOPS || x->buf->ndim > DIMS) return false;
  int i = s->n;
  for (const ts__nest *l = x->nest; l; l = l->up) {
    s->in[--i] = (ts_loop_range){l->loop->loop.var, {l->loop->loop.min, l->loop->loop.extent}};
    if (l->loop->loop.var == loop) s->at = i;
  }
  for (const ts__guard *g = x->guard; g; g = g->up) s->guard = both_of(a->ir, s->guard, g->cond);
  for (int d = 0; d < x->buf->ndim; d++) {
    s->idx[d] = x->idx[d];
    s->span[d] = x->span ? x->span[d] : NULL;
  }
  return s->at >= 0;
}

static void rename_loops(ts_analyzer *a, side *s) {
  ts_subst map[LOOPS];
  for (int i = 0; i < s->n; i++) {
    const ts_var *v = ts__twin(a, s->in[i].var);
    map[i] = (ts_subst){s->in[i].var, ts_evar(a->ir, v)};
    s->in[i].dom.min = ts_expr_subst(a->ir, s->in[i].dom.min, map, i);
    s->in[i].dom.extent = ts_expr_subst(a->ir, s->in[i].dom.extent, map, i);
    s->in[i].var = v;
  }
  for (int d = 0; d < s->x->buf->ndim; d++) {
    s->idx[d] = ts_expr_subst(a->ir, s->idx[d], map, s->n);
    if (s->span[d]) s->span[d] = ts_expr_subst(a->ir, s->span[d], map, s->n);
  }
  if (s->guard) s->guard = ts_expr_subst(a->ir, s->guard, map, s->n);
}

// --- proofs of absence -------------------------------------------------------------------------------------
// The divisor, where e is w % c; else 0.
static int64_t divisor_of(const ts_expr *e) {
  ts__lin l;
  int64_t c;
  if (!ts__lin_parse(&l, e) || l.n != 1 || l.c != 0 || l.t[0].k != 1 || l.t[0].atom->kind != TS_E_FLOORMOD) return 0;
  return ts_is_int(l.t[0].atom->arg[1], &c) ? c : 0;
}

static bool has_mod(const ts_expr *e) {
  ts__lin l;
  if (!ts__lin_parse(&l, e)) return true;
  for (int i = 0; i < l.n; i++)
    if (l.t[i].atom->kind == TS_E_FLOORMOD) return true;
  return false;
}

// What dimensions together tell: one that is w % c, and another that is w // c, tell w; with w % (b c) % c and w % (b c) // c that is again
// a remainder, which a third may complete. Those of s come last in out.
static int rejoined(ts_analyzer *a, const side *s, const ts_expr *out[DIMS * DIMS]) {
  const ts_expr *have[DIMS * DIMS];
  int nd = s->x->buf->ndim, n = nd, m = 0;
  for (int d = 0; d < nd; d++) have[d] = ts_simplify(a, s->idx[d]);
  for (int d = 0; d < n; d++) {
    int64_t c = divisor_of(have[d]);
    for (int e = 0; c && e < nd; e++) {
      const ts_expr *sum = e == d ? NULL : ts_simplify(a, ts_add(a->ir, ts_mul(a->ir, have[e], ts_int(a->ir, c)), have[d]));
      if (sum && (divisor_of(sum) > c || !has_mod(sum)) && n < DIMS * DIMS - nd) have[n++] = sum;
    }
  }
  for (int i = nd; i < n; i++) out[m++] = have[i];
  for (int d = 0; d < nd; d++) out[m++] = s->idx[d];
  return m;
}

// The loop is told by the index: both accesses have the same index under the same loops.
static bool told_by_index(const pair *p) {
  const side *s = &p->s;
  int nd = s->x->buf->ndim, n;
  const ts_expr *bind[DIMS * DIMS];
  if (s->x->nest != p->t.x->nest || s->x->span || p->t.x->span) return false;
  for (int d = 0; d < nd; d++)
    if (s->x->idx[d] != p->t.x->idx[d]) return false;
  n = rejoined(p->a, s, bind);
  const ts_expr *guard = s->x->guard == p->t.x->guard ? s->guard : NULL;
  return ts__itermap_tells(p->a, s->in, s->n, bind, n, guard, s->at);
}

static bool apart(ts_analyzer *a, const side *s, const side *t) {
  ts_ir *ir = a->ir;
  const ts_expr *one = ts_int(ir, 1);
  for (int d = 0; d < s->x->buf->ndim; d++) {
    const ts_expr *se = ts_add(ir, s->idx[d], s->span[d] ? s->span[d] : one),
                  *te = ts_add(ir, t->idx[d], t->span[d] ? t->span[d] : one);
    if (!s->span[d] && !t->span[d] && ts_prove_eq(a, s->idx[d], t->idx[d]) == TS_NO) return true;
    if (ts_prove_le(a, se, t->idx[d]) == TS_YES || ts_prove_le(a, te, s->idx[d]) == TS_YES) return true;
  }
  return false;
}

// Some index differs whenever t's iteration is a later one than s's.
static bool apart_when_later(ts_analyzer *a, const side *s, const side *t) {
  ts_ir *ir = a->ir;
  size_t mark = ts_analyzer_push(a);
  const ts_expr *one = ts_int(ir, 1);
  for (int i = 0; i < s->n; i++) ts_bind_range(a, s->in[i].var, s->in[i].dom);
  for (int i = 0; i < t->n; i++) {
    if (i != t->at) {
      ts_bind_range(a, t->in[i].var, t->in[i].dom);
      continue;
    }
    if (!a->later) a->later = ts_var_new(ir, "later", TS_INDEX);
    ts_bind_range(a, a->later, (ts_range){one, ts_sub(ir, t->in[i].dom.extent, one)});
    const ts_expr *v = ts_add(ir, ts_evar(ir, s->in[s->at].var), ts_evar(ir, a->later));
    ts_assume(a, ts_bin(ir, TS_E_LT, v, ts_add(ir, t->in[i].dom.min, t->in[i].dom.extent)));
    ts_bind_value(a, t->in[i].var, v);
  }
  if (s->guard) ts_assume(a, s->guard);
  bool r = t->guard && ts_prove(a, t->guard) == TS_NO;  // only one of them happens
  if (!r && t->guard) ts_assume(a, t->guard);
  r = r || apart(a, s, t);
  ts_analyzer_pop(a, mark);
  return r;
}

// The parts of an index that use only the loop and that do not, with the loop counted as *loop of side s.
static bool parts(ts_analyzer *a, const side *s, int d, ts__lin *own, ts__lin *rest) {
  ts__lin l;
  const ts_var *others[LOOPS];
  int n = 0;
  for (int i = 0; i < s->n; i++)
    if (i != s->at) others[n++] = s->in[i].var;
  if (!ts__lin_of(a, s->idx[d], &l)) return false;
  ts__lin_const(own, 0);
  ts__lin_const(rest, l.c);
  for (int i = 0; i < l.n; i++) {
    bool uses = ts_expr_uses_var(l.t[i].atom, s->in[s->at].var);
    if (uses && ts__uses_any(l.t[i].atom, others, n)) return false;
    ts__lin_add_term(uses ? own : rest, l.t[i].k, l.t[i].atom);
  }
  return true;
}

// Dimension d: equal indices mean equal values of *own, when the rests differ by less than its step.
static bool separable(ts_analyzer *a, const pair *p, int d, const ts_expr **own) {
  ts__lin o, r, o2, r2;
  if (p->s.span[d] || p->t.span[d] || !parts(a, &p->s, d, &o, &r) || !parts(a, &p->t, d, &o2, &r2) || !o.n)
    return false;
  ts_subst back = {p->t.in[p->t.at].var, ts_evar(a->ir, p->s.in[p->s.at].var)};
  *own = ts__lin_expr(a->ir, &o);
  if (ts_simplify(a, ts_expr_subst(a->ir, ts__lin_expr(a->ir, &o2), &back, 1)) != *own) return false;
  int64_t g = ts__lin_gcd(&o);
  if (!ts__lin_add(&r, &r2, -1)) return false;
  ts_interval b = ts__lin_bound(a, &r);
  return b.lo > -g && b.hi < g;
}

static bool told_by_parts(const pair *p) {
  ts_analyzer *a = p->a;
  const ts_expr *own[DIMS];
  int n = 0;
  size_t mark = ts_analyzer_push(a);
  for (int i = 0; i < p->s.n; i++) ts_bind_range(a, p->s.in[i].var, p->s.in[i].dom);
  for (int i = 0; i < p->t.n; i++) ts_bind_range(a, p->t.in[i].var, p->t.in[i].dom);
  for (int d = 0; d < p->s.x->buf->ndim; d++) n += separable(a, p, d, &own[n]);
  ts_analyzer_pop(a, mark);
  return n && ts__itermap_tells(a, &p->s.in[p->s.at], 1, own, n, NULL, 0);
}

// All accesses of one buffer at once: in some dimensions they have the same part of the index that uses no loops inside this one,
// their rests lie in one interval shorter than the step that this loop makes, and these parts tell the loop.
typedef struct key {
  const ts_expr *own[DIMS];  // NULL where there is none
  int64_t step[DIMS];
  ts_interval rest[DIMS];
} key;

// The part of index d that uses no inner loop, how far this loop takes it at least, and the rest.
static bool key_parts(ts_analyzer *a, const side *s, int d, ts__lin *own, int64_t *step, ts__lin *rest) {
  ts__lin l;
  const ts_var *inner[LOOPS];
  int n = 0;
  for (int i = 0; i < s->n; i++)
    if (i != s->at) inner[n++] = s->in[i].var;
  if (!ts__lin_of(a, s->idx[d], &l)) return false;
  ts__lin_const(own, 0);
  ts__lin_const(rest, l.c);
  *step = 0;
  for (int i = 0; i < l.n; i++) {
    bool uses = ts_expr_uses_var(l.t[i].atom, s->in[s->at].var), moves = ts__uses_any(l.t[i].atom, inner, n);
    if (uses && moves) return false;
    ts__lin_add_term(moves ? rest : own, l.t[i].k, l.t[i].atom);
    if (uses) *step = ts__gcd(*step, l.t[i].k);
  }
  return *step > 0;
}

// The key with the access counted in; the loops of s are bound.
static void key_add(ts_analyzer *a, const side *s, key *k, bool first) {
  for (int d = 0; d < s->x->buf->ndim; d++) {
    ts__lin own, rest;
    int64_t width = 1, step = 0;
    if (!first && !k->own[d]) continue;
    bool fits = (!s->span[d] || ts_is_int(s->span[d], &width)) && width >= 1 && key_parts(a, s, d, &own, &step, &rest);
    const ts_expr *e = fits ? ts__lin_expr(a->ir, &own) : NULL;
    ts_interval r = fits ? ts__lin_bound(a, &rest) : (ts_interval){0, 0};
    fits = fits && r.lo != TS_NEG_INF && r.hi != TS_POS_INF && !__builtin_add_overflow(r.hi, width - 1, &r.hi);
    if (!first) r = (ts_interval){TS_MIN(r.lo, k->rest[d].lo), TS_MAX(r.hi, k->rest[d].hi)};
    k->own[d] = fits && (first || k->own[d] == e) ? e : NULL;
    k->rest[d] = r;
    k->step[d] = step;
  }
}

// Is e, which is canonical, the variable times a constant, and something free of it?
static bool grows_with(const ts_expr *e, const ts_var *v) {
  ts__lin l;
  bool found = false;
  if (!ts__lin_parse(&l, e)) return false;
  for (int i = 0; i < l.n; i++) {
    if (!ts_expr_uses_var(l.t[i].atom, v)) continue;
    if (l.t[i].atom->kind != TS_E_VAR) return false;
    found = true;
  }
  return found;
}

bool ts__told_by_key(ts_analyzer *a, const ts__access_list *l, const ts_buffer *buf, const ts_stmt *loop) {
  key k;
  bool first = true;
  const ts_expr *own[DIMS];
  int n = 0;
  for (size_t i = 0; i < l->n; i++) {
    side s;
    if (l->p[i].buf != buf) continue;
    if (!ts__side_of(a, &l->p[i], loop->loop.var, &s)) return false;
    size_t mark = ts_analyzer_push(a);
    for (int j = 0; j < s.n; j++) ts_bind_range(a, s.in[j].var, s.in[j].dom);
    key_add(a, &s, &k, first);
    ts_analyzer_pop(a, mark);
    first = false;
    int left = 0;
    for (int d = 0; d < buf->ndim; d++) left += k.own[d] != NULL;
    if (!left) return false;
  }
  for (int d = 0; !first && d < buf->ndim; d++) {
    int64_t width;
    bool fits = k.own[d] && !__builtin_sub_overflow(k.rest[d].hi, k.rest[d].lo, &width) && width < k.step[d];
    if (fits && grows_with(k.own[d], loop->loop.var)) return true;
    if (fits) own[n++] = k.own[d];
  }
  ts_loop_range in = {loop->loop.var, {loop->loop.min, loop->loop.extent}};
  return n && ts__itermap_tells(a, &in, 1, own, n, NULL, 0);
}

// --- search for a witness ----------------------------------------------------------------------------------
enum { LINE = 32, FEW = 64, POINTS = 2048, OUTER = 24 };
typedef struct row {
  int64_t idx[DIMS];
  int64_t loop;
  int which;
} row;
typedef struct scan {
  ts_analyzer *a;
  const ts_var *vars[OUTER + LOOPS];
  int64_t value[OUTER + LOOPS];
  int nouter;
  bool fixed;  // the outer variables have no other values
  row *rows;
  int n;
  bool complete;  // all iterations were looked at
  bool failed;
} scan;

static bool note_var(void *arg, const ts_expr *e) {
  scan *s = arg;
  if (e->kind != TS_E_VAR) return true;
  for (int i = 0; i < s->nouter; i++)
    if (s->vars[i] == e->var) return true;
  if (s->nouter == OUTER)
    s->failed = true;
  else
    s->vars[s->nouter++] = e->var;
  return true;
}

static void note(scan *s, const ts_expr *e) {
  if (e) ts_expr_visit(e, note_var, s);
}

static void drop_own(scan *s, const side *d) {
  for (int i = 0; i < s->nouter; i++)
    for (int j = 0; j < d->n; j++)
      if (i < s->nouter && s->vars[i] == d->in[j].var) {
        s->vars[i--] = s->vars[--s->nouter];
        break;
      }
}

static void find_outer(scan *s, const side *d) {
  for (int i = 0; i < d->n; i++) {
    note(s, d->in[i].dom.min);
    note(s, d->in[i].dom.extent);
  }
  for (int i = 0; i < d->x->buf->ndim; i++) note(s, d->idx[i]);
  note(s, d->guard);
}

// A value for every variable from outside that the context admits.
static bool choose_outer(scan *s, bool high) {
  ts_ir *ir = s->a->ir;
  int64_t v;
  s->fixed = true;
  for (int i = 0; i < s->nouter; i++) {
    ts_interval b = ts_bound(s->a, ts_evar(ir, s->vars[i]));
    s->fixed = s->fixed && b.lo == b.hi;
    s->value[i] = high ? b.hi : b.lo;
    if (s->value[i] == TS_NEG_INF || s->value[i] == TS_POS_INF)
      s->value[i] = b.lo <= 0 && b.hi >= 0 ? 0 : b.lo == TS_NEG_INF ? b.hi : b.lo;
  }
  for (int i = 0; i < s->a->nfacts; i++)
    if (!ts_eval_int(ts__lin_expr(ir, &s->a->facts[i]), s->vars, s->value, s->nouter, &v) || v < 0) return false;
  for (int i = 0; i < s->a->nconds; i++)
    if (!ts_eval_int(s->a->conds[i], s->vars, s->value, s->nouter, &v) || !v) return false;
  for (int i = 0; i < s->nouter; i++) {
    const ts__var_facts *f = ts__facts_of(s->a, s->vars[i]);
    if (f && f->value && (!ts_eval_int(f->value, s->vars, s->value, s->nouter, &v) || v != s->value[i])) return false;
  }
  return true;
}

static bool eval(scan *s, const ts_expr *e, int depth, int64_t *v) {
  return ts_eval_int(e, s->vars, s->value, s->nouter + depth, v) || (s->failed = true, false);
}

static void add_row(scan *s, const side *d, int which) {
  int64_t ok = 1;
  if (d->guard && (!eval(s, d->guard, d->n, &ok) || !ok)) return;
  row r = {.loop = s->value[s->nouter + d->at], .which = which};
  for (int i = 0; i < d->x->buf->ndim; i++)
    if (!eval(s, d->idx[i], d->n, &r.idx[i])) return;
  s->rows[s->n++] = r;
}

// All chosen values of loop `depth` and those inside: the first cap[depth] - 1 and the last.
static void scan_loops(scan *s, const side *d, int which, const int64_t *cap, int depth) {
  if (s->failed) return;
  if (depth == d->n) {
    add_row(s, d, which);
    return;
  }
  int64_t min, extent;
  s->vars[s->nouter + depth] = d->in[depth].var;
  if (!eval(s, d->in[depth].dom.min, depth, &min) || !eval(s, d->in[depth].dom.extent, depth, &extent)) return;
  int64_t n = TS_MIN(extent, cap[depth]);
  if (n < extent) s->complete = false;
  for (int64_t i = 0; i < n; i++) {
    s->value[s->nouter + depth] = min + (i + 1 == n ? extent - 1 : i);
    scan_loops(s, d, which, cap, depth + 1);
  }
}

static bool choose_caps(scan *s, const side *d, int64_t limit, int64_t *cap) {
  static const int64_t level[] = {POINTS, 64, 16, 8, 4, 3, 2, 1};
  for (size_t l = 0; l < TS_COUNTOF(level); l++) {
    int64_t points = 1;
    for (int i = 0; i < d->n && points <= limit; i++) {
      int64_t most = ts_bound(s->a, d->in[i].dom.extent).hi,
              want = i == d->at ? TS_MAX(level[l], limit < POINTS ? 2 : 8) : level[l];
      cap[i] = TS_MIN(want, TS_MAX(most, 1));
      points *= cap[i];
    }
    if (points <= limit) return true;
  }
  return false;
}

// Iterations of the loop that are few and often meet: 0 to 7, and those that divide the extent. All other loops stand at their start.
static void scan_line(scan *s, const side *d, int which) {
  int64_t min, extent, points = 0;
  s->complete = false;
  for (int i = 0; i < d->n && !s->failed; i++) {
    s->vars[s->nouter + i] = d->in[i].var;
    if (!eval(s, d->in[i].dom.min, i, &s->value[s->nouter + i]) || !eval(s, d->in[i].dom.extent, i, &extent) || extent < 1) return;
  }
  min = s->value[s->nouter + d->at];
  if (s->failed || !eval(s, d->in[d->at].dom.extent, d->at, &extent)) return;
  for (int64_t i = 0; i < extent && i < 4096 && points < LINE; i++) {
    if (i >= 8 && extent % i) continue;
    s->value[s->nouter + d->at] = min + i;
    add_row(s, d, which);
    points++;
  }
}

static int by_element(const void *px, const void *py) {
  const row *x = px, *y = py;
  int c = memcmp(x->idx, y->idx, sizeof x->idx);
  if (c) return c;
  if (x->which != y->which) return x->which - y->which;
  return (x->loop > y->loop) - (x->loop < y->loop);
}

// Rows of one element: an iteration of each side, different.
static bool collide(const row *r, int n, bool same, verdict *v) {
  int firsts = 0;
  while (firsts < n && r[firsts].which == 0) firsts++;
  int a = 0, b = same ? n - 1 : firsts;
  if (!firsts || (!same && firsts == n)) return false;
  if (!same && r[a].loop == r[b].loop) {  // another of either side
    if (r[firsts - 1].loop != r[b].loop)
      a = firsts - 1;
    else
      b = n - 1;
  }
  if (r[a].loop == r[b].loop) return false;
  *v = (verdict){TS_YES, true, r[a].loop, r[b].loop};
  return true;
}

static verdict judge_rows(scan *s, bool same) {
  verdict v = {s->complete && s->fixed ? TS_NO : TS_UNKNOWN, false, 0, 0};
  qsort(s->rows, (size_t)s->n, sizeof s->rows[0], by_element);
  for (int i = 0, j; i < s->n; i = j) {
    for (j = i + 1; j < s->n && !memcmp(s->rows[i].idx, s->rows[j].idx, sizeof s->rows[i].idx);) j++;
    if (collide(&s->rows[i], j - i, same, &v)) break;
  }
  return v;
}

// At most `limit` iterations of either side.
static verdict scan_points(scan *s, const pair *p, int64_t limit) {
  int64_t cap[LOOPS];
  bool same = p->s.x == p->t.x;
  s->n = 0;
  s->complete = true;
  for (int i = 0; i < 2 - same; i++) {
    const side *d = i ? &p->t : &p->s;
    if (limit == LINE)
      scan_line(s, d, i);
    else if (choose_caps(s, d, limit, cap))
      scan_loops(s, d, i, cap, 0);
    else
      s->complete = false;
  }
  return s->failed ? (verdict){TS_UNKNOWN, false, 0, 0} : judge_rows(s, same);
}

static bool start_scan(scan *s, const pair *p) {
  *s = (scan){.a = p->a};
  if (p->s.x->span || p->t.x->span) return false;
  find_outer(s, &p->s);
  find_outer(s, &p->t);
  drop_own(s, &p->s);
  drop_own(s, &p->t);
  for (int i = 0; i < p->a->nfacts; i++) note(s, ts__lin_expr(p->a->ir, &p->a->facts[i]));
  for (int i = 0; i < p->a->nconds; i++) note(s, p->a->conds[i]);
  return !s->failed;
}

static verdict scan_both(scan *s, const pair *p, int64_t limit) {
  verdict v = {TS_UNKNOWN, false, 0, 0};
  row few[2 * FEW];
  s->rows = limit <= FEW ? few : malloc(sizeof(row) * (size_t)limit * 2);
  for (int high = 0; high < 2 && v.answer == TS_UNKNOWN && s->rows && !s->failed && !(high && s->fixed); high++)
    if (choose_outer(s, high)) v = scan_points(s, p, limit);
  if (s->rows != few) free(s->rows);
  return v;
}

// A look where a witness is likely, cheap proofs, a short look elsewhere, proofs that search, a long look.
ts__verdict ts__pair_judge(ts__pair *p, bool quick) {
  scan s;
  verdict v = {TS_UNKNOWN, false, 0, 0};
  rename_loops(p->a, &p->t);
  bool scans = start_scan(&s, p);
  if (scans) v = scan_both(&s, p, LINE);
  if (quick || v.answer == TS_YES) return v;
  v = (verdict){TS_NO, false, 0, 0};
  if (told_by_index(p) || told_by_parts(p)) return v;
  if (scans) v = scan_both(&s, p, FEW);
  if (scans && v.answer != TS_UNKNOWN) return v;
  v = (verdict){TS_NO, false, 0, 0};
  if (apart_when_later(p->a, &p->s, &p->t) && (p->s.x == p->t.x || apart_when_later(p->a, &p->t, &p->s))) return v;
  v.answer = TS_UNKNOWN;
  return scans && !s.failed ? scan_both(&s, p, POINTS) : v;
}
