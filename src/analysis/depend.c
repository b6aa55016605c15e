// Dependences: can two different iterations of a loop touch one element? Proofs that they cannot, then a search for two
// that do.
#include <stdlib.h>

#include "analysis/analysis_impl.h"

const char *ts_dep_kind_name(ts_dep_kind k) {
  static const char *const name[] = {"read-after-write", "write-after-read", "write-after-write"};
  return name[k];
}

enum { LOOPS = 16, DIMS = 8 };
typedef struct side {  // one of the two accesses, with its own copies of the loop variables
  const ts__access *x;
  int n;
  ts_loop_range in[LOOPS];  // outermost first
  const ts_expr *idx[DIMS];
  const ts_expr *span[DIMS];
  const ts_expr *guard;  // or NULL
  int at;                // the loop in question
} side;
typedef struct pair {
  ts_analyzer *a;
  const ts_var *loop;
  side s, t;
} pair;
typedef struct verdict {
  ts_tri answer;
  bool has_witness;
  int64_t first, second;
} verdict;

// --- setting up --------------------------------------------------------------------------------------------
static const ts_expr *both_of(ts_ir *ir, const ts_expr *x, const ts_expr *y) {
  return x ? ts_bin(ir, TS_E_AND, x, y) : y;
}

// False when the access is too deep or not below the loop.
static bool make_side(ts_analyzer *a, const ts__access *x, const ts_var *loop, side *s) {
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

static bool told_by_key(ts_analyzer *a, const ts__access_list *l, const ts_buffer *buf, const ts_stmt *loop) {
  key k;
  bool first = true;
  const ts_expr *own[DIMS];
  int n = 0;
  for (size_t i = 0; i < l->n; i++) {
    side s;
    if (l->p[i].buf != buf) continue;
    if (!make_side(a, &l->p[i], loop->loop.var, &s)) return false;
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
static verdict judge(pair *p, bool quick) {
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

// --- reductions --------------------------------------------------------------------------------------------
// The store combines its own element with something by an associative and commutative operation.
static bool is_update(const ts_stmt *s) {
  const ts_expr *v = s->store.value, *own = NULL;
  int64_t found = 0;
  switch (v->kind) {
    case TS_E_ADD:
    case TS_E_MUL:
    case TS_E_MIN:
    case TS_E_MAX:
    case TS_E_AND:
    case TS_E_OR:
    case TS_E_BITAND:
    case TS_E_BITOR:
    case TS_E_BITXOR:
      break;
    case TS_E_SUB:
      break;
    case TS_E_CALL:
      if (strcmp(v->callee, "fma") != 0) return false;
      break;
    default:
      return false;
  }
  for (uint32_t i = 0; i < v->nargs; i++) {
    const ts_expr *e = v->arg[i];
    bool place = v->kind == TS_E_CALL ? i == 2 : v->kind == TS_E_SUB ? i == 0 : true;
    if (!place || e->kind != TS_E_LOAD || e->buf != s->store.buf) continue;
    bool equal = true;
    for (int d = 0; d < e->buf->ndim; d++) equal = equal && e->arg[d] == s->store.idx[d];
    if (equal) own = e, found++;
  }
  return own && found == 1;
}

static bool count_loads(void *arg, const ts_expr *e) {
  const ts_buffer **b = arg;
  if (e->kind == TS_E_LOAD && e->buf == *b) *b = NULL;
  return *b != NULL;
}

// No other load of the buffer in the value than the one that is updated.
static bool updates_once(const ts_stmt *s) {
  const ts_expr *v = s->store.value;
  for (uint32_t i = 0; i < v->nargs; i++) {
    const ts_buffer *b = s->store.buf;
    const ts_expr *e = v->arg[i];
    bool own = e->kind == TS_E_LOAD && e->buf == b;
    if (!own) ts_expr_visit(e, count_loads, &b);
    if (!b) return false;
  }
  return true;
}

// The loop feeds reduce iterators of the block and no others.
static bool feeds_reduction(const ts__access *x, const ts_var *loop) {
  bool any = false;
  for (int i = 0; x->block && i < x->block->niters; i++) {
    if (!ts_expr_uses_var(x->value[i], loop)) continue;
    if (x->block->iters[i].kind != TS_ITER_REDUCE) return false;
    any = true;
  }
  return any || x->in_init;
}

// An accumulator of a block whose instances may change places.
static bool is_accumulator(ts_ir *ir, const ts__access *x) {
  ts_reduction r;
  if (!ts_reduction_match(ir, x->block, &r) || r.ordered) return false;
  for (int i = 0; i < r.n; i++)
    if (r.acc[i] == x->buf) return true;
  return false;
}

static bool part_of_reduction(ts_ir *ir, const ts__access *x, const ts_var *loop) {
  if (!x->block || !feeds_reduction(x, loop)) return false;
  if (x->in_init) return x->write;
  if (x->store && x->store->store.buf == x->buf && is_update(x->store) && updates_once(x->store)) return true;
  return is_accumulator(ir, x);
}

static bool is_reduction(const pair *p) {
  const ts__access *x = p->s.x, *y = p->t.x;
  if (!part_of_reduction(p->a->ir, x, p->loop) || !part_of_reduction(p->a->ir, y, p->loop)) return false;
  if (x->block != y->block && !x->in_init && !y->in_init) return false;
  return !(x->in_init && y->in_init && x->block != y->block);
}

static bool uses_reduce(const ts_block *b, const ts_expr *e) {
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind == TS_ITER_REDUCE && ts_expr_uses_var(e, b->iters[i].var)) return true;
  return false;
}

static bool reads_same(const ts__access_list *l, const ts__access *w) {
  for (size_t i = 0; i < l->n; i++) {
    bool same = !l->p[i].write && l->p[i].buf == w->buf;
    for (int d = 0; d < w->buf->ndim && same; d++) same = l->p[i].idx[d] == w->idx[d];
    if (same) return true;
  }
  return false;
}

bool ts_block_is_reduction(ts_analyzer *a, const ts_block *b) {
  bool reduce = false, any = false;
  for (int i = 0; i < b->niters; i++) reduce = reduce || b->iters[i].kind == TS_ITER_REDUCE;
  if (!b->init || !reduce) return false;
  ts__access_list l = ts__accesses_of(a, b->body, TS__ALL_BUFFERS);
  for (size_t i = 0; i < l.n; i++) {
    if (!l.p[i].write) continue;
    any = true;
    for (int d = 0; d < l.p[i].buf->ndim; d++)
      if (uses_reduce(b, l.p[i].idx[d])) return false;
    if (!reads_same(&l, &l.p[i])) return false;
  }
  return any;
}

// --- loops -------------------------------------------------------------------------------------------------
static ts_dep_kind kind_of(const ts__access *x, const ts__access *y) {
  return x->write && y->write ? TS_DEP_WAW : x->write ? TS_DEP_RAW : TS_DEP_WAR;
}

static void explain(ts_dep *r, const ts_var *loop, const ts__access *x, const ts__access *y) {
  const char *b = r->buf->name, *p = x->write ? "writes" : "reads", *q = y->write ? "writes" : "reads";
  if (r->has_witness && x->write && y->write)
    snprintf(r->why, sizeof r->why, "%.40s = %lld and %.40s = %lld write the same element of %.40s", loop->name,
             (long long)r->first, loop->name, (long long)r->second, b);
  else if (r->has_witness)
    snprintf(r->why, sizeof r->why, "%.40s = %lld %s the element of %.40s that %.40s = %lld %s", loop->name,
             (long long)r->first, p, b, loop->name, (long long)r->second, q);
  else
    snprintf(r->why, sizeof r->why, "iterations of %.50s may meet in %.50s (%s)", loop->name, b,
             ts_dep_kind_name(r->kind));
}

// Takes a pair that is not disproved into the answer: what is no reduction before what is, a witness before a doubt.
static void take(ts_dep *r, const pair *p, verdict v, bool reduction) {
  bool first = r->answer == TS_NO, better = r->reduction_only && !reduction;
  bool surer = r->reduction_only == reduction && r->answer == TS_UNKNOWN && v.answer == TS_YES;
  if (!first && !better && !surer) return;
  *r = (ts_dep){.answer = v.answer,
                .reduction_only = reduction,
                .kind = kind_of(p->s.x, p->t.x),
                .buf = p->s.x->buf,
                .src = p->s.x->block,
                .dst = p->t.x->block,
                .has_witness = v.has_witness,
                .first = v.first,
                .second = v.second};
  explain(r, p->loop, p->s.x, p->t.x);
}

static bool same_access(const ts__access *x, const ts__access *y) {
  if (x->buf != y->buf || x->write != y->write || x->nest != y->nest || x->guard != y->guard || x->span || y->span)
    return false;
  if (x->block != y->block || x->store != y->store || x->in_init != y->in_init) return false;
  for (int d = 0; d < x->buf->ndim; d++)
    if (x->idx[d] != y->idx[d]) return false;
  return true;
}

typedef struct writes {
  ts_arena *arena;
  ts__buffers ignore;
  TS_VEC(const ts_buffer *) list;
} writes;

static void write_add(writes *w, const ts_buffer *b) {
  if (!ts__among(w->ignore, b) && !ts__among((ts__buffers){(int)w->list.n, w->list.p}, b)) ts_vec_push(w->arena, &w->list, b);
}

static bool see_writes(void *arg, const ts_stmt *s) {
  writes *w = arg;
  if (s->kind == TS_S_STORE) write_add(w, s->store.buf);
  for (int i = 0; s->kind == TS_S_BLOCK && s->block->explicit_access && i < s->block->nwrites; i++)
    write_add(w, s->block->writes[i].buf);
  return true;
}

// Where an index is an element of a buffer of distinct values: that buffer and the place in it. Such a buffer is only read.
static const ts_expr *looked_up(const ts_expr *e, const ts_buffer **table) {
  while (e->kind == TS_E_CAST && e->type.lanes == 1 && !ts_code_is_float(e->type.code) && ts_code_bytes(e->type.code) >= ts_code_bytes(e->arg[0]->type.code)) e = e->arg[0];
  if (e->kind != TS_E_LOAD || !e->buf->distinct || e->buf->ndim != 1) return NULL;
  *table = e->buf;
  return e->arg[0];
}

// Dimension d of buf, which every access indexes with elements of one such buffer, is as good as indexed with their places.
static void look_through(ts_arena *arena, ts__access_list *l, const ts_buffer *buf, int d) {
  const ts_buffer *table = NULL, *other;
  for (size_t i = 0; i < l->n; i++) {
    if (l->p[i].buf != buf) continue;
    if (l->p[i].span || !looked_up(l->p[i].idx[d], &other) || (table && table != other)) return;
    table = other;
  }
  for (size_t i = 0; i < l->n; i++) {
    if (l->p[i].buf != buf) continue;
    const ts_expr **idx = ts_arena_dup(arena, l->p[i].idx, sizeof *idx * (size_t)buf->ndim);
    idx[d] = looked_up(idx[d], &other);
    l->p[i].idx = idx;
  }
}

static void look_through_tables(ts_arena *arena, ts__access_list *l) {
  const ts_buffer *table;
  for (size_t i = 0; i < l->n; i++)
    for (int d = 0; d < l->p[i].buf->ndim; d++)
      if (looked_up(l->p[i].idx[d], &table)) look_through(arena, l, l->p[i].buf, d);
}

// The different accesses below s of buffers that are written there: iterations can meet in no others.
static ts__access_list distinct(ts_analyzer *a, const ts_stmt *s, const ts_buffer *const *ignore, int n) {
  writes w = {.arena = ts_ir_arena(a->ir), .ignore = {n, ignore}};
  ts_stmt_visit(s, see_writes, NULL, &w);
  ts__access_list all = {0}, *l = &all, out = {0};
  if (w.list.n) all = ts__accesses_of(a, s, (ts__buffers){(int)w.list.n, w.list.p});
  for (size_t i = 0; i < l->n; i++) {
    bool seen = false;
    for (size_t j = 0; j < out.n && !seen; j++) seen = same_access(&out.p[j], &l->p[i]);
    if (!seen) ts_vec_push(ts_ir_arena(a->ir), &out, l->p[i]);
  }
  look_through_tables(ts_ir_arena(a->ir), &out);
  return out;
}

// quick: no proofs, found are only those that a few iterations show.
static ts_dep carried(ts_analyzer *a, const ts__access_list *l, const ts_stmt *loop, bool quick) {
  ts_dep r = {.answer = TS_NO, .reduction_only = true};
  const ts_var *v = loop->loop.var;
  int64_t extent;
  if (ts_const_value(a, loop->loop.extent, &extent) && extent <= 1) return r;
  bool *told = ts_new_array(ts_ir_arena(a->ir), bool, l->n + 1);
  for (size_t i = 0; i < l->n; i++) {
    size_t at = 0;
    while (l->p[at].buf != l->p[i].buf) at++;
    told[i] = at < i ? told[at] : !quick && told_by_key(a, l, l->p[i].buf, loop);
  }
  for (size_t i = 0; i < l->n; i++)
    for (size_t j = i; j < l->n && !told[i]; j++) {
      const ts__access *x = &l->p[i], *y = &l->p[j];
      if (x->buf != y->buf || (!x->write && !y->write)) continue;
      pair p = {.a = a, .loop = v};
      if (r.answer == TS_YES && !r.reduction_only) return r;
      verdict w = {TS_UNKNOWN, false, 0, 0};
      bool in = make_side(a, x, v, &p.s), in2 = make_side(a, y, v, &p.t);
      if (in && in2) w = judge(&p, quick);
      if (w.answer != TS_NO) take(&r, &p, w, in && in2 && is_reduction(&p));
    }
  if (r.answer == TS_NO) r.reduction_only = false;
  return r;
}

ts_dep ts_loop_carried(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  return carried(a, &l, loop, false);
}

bool ts_loop_collides(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore, ts_dep *out) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  *out = carried(a, &l, loop, true);
  return out->answer == TS_YES && !out->reduction_only;
}

int ts_loop_told(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore,
                 const ts_buffer *const **out) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  TS_VEC(const ts_buffer *) seen = {0}, told = {0};
  ts_arena *arena = ts_ir_arena(a->ir);
  for (size_t i = 0; i < l.n; i++) {
    if (ts__among((ts__buffers){(int)seen.n, seen.p}, l.p[i].buf)) continue;
    ts_vec_push(arena, &seen, l.p[i].buf);
    if (told_by_key(a, &l, l.p[i].buf, loop)) ts_vec_push(arena, &told, l.p[i].buf);
  }
  *out = told.p;
  return (int)told.n;
}

void ts_nest_carried(ts_analyzer *a, const ts_stmt *const *loops, int n, ts_dep *out) {
  if (n == 0) return;
  ts__access_list l = distinct(a, loops[0], NULL, 0);
  for (int i = 0; i < n; i++) out[i] = carried(a, &l, loops[i], false);
}

// --- siblings ----------------------------------------------------------------------------------------------
typedef TS_VEC(ts_edge) edge_list;

static void meet(ts_analyzer *a, edge_list *out, int i, int j, ts_dep_kind kind, const ts_region *x, int nx,
                 const ts_region *y, int ny) {
  for (int k = 0; k < nx; k++) {
    const ts_region *r = ts_regions_find(y, ny, x[k].buf);
    ts_tri apart_ = r ? ts_region_disjoint(a, x[k], *r) : TS_YES;
    if (apart_ == TS_YES) continue;
    ts_edge e = {i, j, kind, x[k].buf, apart_ == TS_NO ? TS_YES : TS_UNKNOWN};
    ts_vec_push(ts_ir_arena(a->ir), out, e);
  }
}

ts_edges ts_sibling_edges(ts_analyzer *a, const ts_stmt *const *child, int n) {
  ts_accesses *acc = ts_new_array(ts_ir_arena(a->ir), ts_accesses, n ? n : 1);
  edge_list out = {0};
  for (int j = 0; j < n; j++) {
    acc[j] = ts_regions_of(a, child[j], NULL, 0);
    for (int i = 0; i < j; i++) {
      meet(a, &out, i, j, TS_DEP_RAW, acc[i].writes, acc[i].nwrites, acc[j].reads, acc[j].nreads);
      meet(a, &out, i, j, TS_DEP_WAR, acc[i].reads, acc[i].nreads, acc[j].writes, acc[j].nwrites);
      meet(a, &out, i, j, TS_DEP_WAW, acc[i].writes, acc[i].nwrites, acc[j].writes, acc[j].nwrites);
    }
  }
  return (ts_edges){(int)out.n, out.p};
}
