// The context: layered facts about variables, linear facts, assumed conditions, and the memo.
#include "analysis/analysis_impl.h"

enum { FIRST_EPOCH = 1 };

const char *ts_tri_name(ts_tri t) { return t == TS_YES ? "yes" : t == TS_NO ? "no" : "unknown"; }

// Room for one more element of size `elem` in *p.
static void grow(ts_analyzer *a, void **p, int *cap, int n, size_t elem) {
  if (n < *cap) return;
  *cap = *cap ? *cap * 2 : 8;
  void *q = ts_arena_alloc(ts_ir_arena(a->ir), (size_t)*cap * elem, _Alignof(max_align_t));
  if (n) memcpy(q, *p, (size_t)n * elem);
  *p = q;
}

// Those given back wait at the context of the expressions: what they remember stays true.
ts_analyzer *ts_analyzer_new(ts_ir *ir) {
  void **spare = ts_ir_spare(ir);
  ts_analyzer *a = *spare;
  if (a) {
    *spare = a->next;
    return a;
  }
  a = ts_new(ts_ir_arena(ir), ts_analyzer);
  a->ir = ir;
  a->epoch = a->last_epoch = FIRST_EPOCH;
  return a;
}

static void forget(ts_analyzer *a, int nvars) {
  while (a->nvars > nvars) {
    const ts__var_facts *v = &a->vars[--a->nvars];
    a->top[v->var->id] = v->prev;
  }
}

void ts_analyzer_free(ts_analyzer *a) {
  if (!a) return;
  forget(a, 0);
  a->nfacts = a->nconds = a->depth = 0;
  a->nmarks = 0;
  a->epoch = FIRST_EPOCH;
  void **spare = ts_ir_spare(a->ir);
  a->next = *spare;
  *spare = a;
}

ts_ir *ts_analyzer_ir(const ts_analyzer *a) { return a->ir; }

size_t ts_analyzer_push(ts_analyzer *a) {
  grow(a, (void **)&a->marks, &a->marks_cap, a->nmarks, sizeof a->marks[0]);
  a->marks[a->nmarks] = (struct ts__scope){a->nvars, a->nfacts, a->nconds, a->epoch};
  return (size_t)a->nmarks++;
}

void ts_analyzer_pop(ts_analyzer *a, size_t mark) {
  const struct ts__scope *s = &a->marks[mark];
  forget(a, s->nvars);
  a->nfacts = s->nfacts;
  a->nconds = s->nconds;
  a->epoch = s->epoch;
  a->nmarks = (int)mark;
}

// --- epochs ------------------------------------------------------------------------------------------------
// An epoch stands for all that is known: the same facts learnt in the same order lead to the same epoch again, and what was found
// out in it still holds.
static size_t epoch_slot(const ts_analyzer *a, const ts__step *s) {
  uint64_t p = (uint64_t)s->x * 0x9e3779b97f4a7c15u ^ (uint64_t)s->y * 0xc2b2ae3d27d4eb4fu;
  size_t i = (size_t)ts_hash_mix(s->from * TS__STEP__COUNT + (uint64_t)s->kind, (uint64_t)(uintptr_t)s->what ^ p) & (a->steps_cap - 1);
  for (; a->step[i].to; i = (i + 1) & (a->steps_cap - 1)) {
    const ts__step *t = &a->step[i];
    if (t->from == s->from && t->kind == s->kind && t->what == s->what && t->x == s->x && t->y == s->y) break;
  }
  return i;
}

static void steps_room(ts_analyzer *a) {
  if (a->nsteps * 2 < a->steps_cap) return;
  ts__step *old = a->step;
  size_t n = a->steps_cap;
  a->steps_cap = n ? n * 2 : 128;
  a->step = ts_new_array(ts_ir_arena(a->ir), ts__step, a->steps_cap);
  for (size_t i = 0; i < n; i++)
    if (old[i].to) a->step[epoch_slot(a, &old[i])] = old[i];
}

// Something became known: `kind`, what, x and y say all about it.
static void learnt(ts_analyzer *a, ts__step_kind kind, const void *what, int64_t x, int64_t y) {
  enum { MOST = 1 << 14 };
  ts__step s = {.from = a->epoch, .kind = kind, .what = what, .x = x, .y = y};
  if (a->nsteps >= MOST) {
    a->epoch = ++a->last_epoch;
    return;
  }
  steps_room(a);
  ts__step *t = &a->step[epoch_slot(a, &s)];
  if (!t->to) {
    *t = s;
    t->to = ++a->last_epoch;
    a->nsteps++;
  }
  a->epoch = t->to;
}

// --- memo --------------------------------------------------------------------------------------------------
// Sets of WAYS entries; where a set is full one of them makes room. Forgetting costs time only.
enum { WAYS = 4, MEMO_FIRST = 256, MEMO_LIMIT = 1 << 11 };

static ts__memo *memo_find(ts_analyzer *a, const ts_expr *e, uint64_t epoch) {
  size_t set = (size_t)ts_hash_mix(e->hash, epoch) & (a->memo_cap - 1) & ~(size_t)(WAYS - 1);
  ts__memo *m = &a->memo[set];
  for (int i = 0; i < WAYS; i++)
    if (!m[i].key || (m[i].key == e && m[i].epoch == epoch)) return &m[i];
  m += a->memo_turn++ % WAYS;
  *m = (ts__memo){0};
  return m;
}

static void memo_grow(ts_analyzer *a) {
  ts__memo *old = a->memo;
  size_t n = a->memo_cap;
  a->memo_cap = n ? n * 2 : MEMO_FIRST;
  a->memo = ts_new_array(ts_ir_arena(a->ir), ts__memo, a->memo_cap);
  for (size_t i = 0; i < n; i++)
    if (old[i].key) *memo_find(a, old[i].key, old[i].epoch) = old[i];
}

// Inside a proof less is found out; that is kept apart.
ts__memo *ts__memo_at(ts_analyzer *a, const ts_expr *e) {
  uint64_t epoch = a->epoch * 2 + a->proving;
  if (a->memo_n * 2 >= a->memo_cap && a->memo_cap < MEMO_LIMIT) memo_grow(a);
  ts__memo *m = memo_find(a, e, epoch);
  if (m->key) return m;
  *m = (ts__memo){.key = e, .epoch = epoch};
  a->memo_n++;
  return m;
}

// --- facts -------------------------------------------------------------------------------------------------
// A table by variable id, made large enough for `id`; new entries are zero.
static void *by_id(ts_analyzer *a, void *p, uint32_t *cap, uint32_t id, size_t elem) {
  uint32_t old = *cap, n = old ? old : 64;
  while (n <= id) n *= 2;
  void *q = ts_arena_alloc(ts_ir_arena(a->ir), n * elem, _Alignof(max_align_t));
  if (old) memcpy(q, p, old * elem);
  *cap = n;
  return q;
}

const ts_var *ts__twin(ts_analyzer *a, const ts_var *v) {
  if (v->id >= a->twin_cap) a->twin = by_id(a, a->twin, &a->twin_cap, v->id, sizeof a->twin[0]);
  if (!a->twin[v->id]) a->twin[v->id] = ts_var_new(a->ir, v->name, TS_INDEX);
  return a->twin[v->id];
}

// A new layer for v that starts as a copy of the newest one.
static ts__var_facts *layer(ts_analyzer *a, const ts_var *v) {
  if (v->id >= a->top_cap) {
    uint32_t old = a->top_cap;
    a->top = by_id(a, a->top, &a->top_cap, v->id, sizeof a->top[0]);
    for (uint32_t i = old; i < a->top_cap; i++) a->top[i] = -1;
  }
  grow(a, (void **)&a->vars, &a->vars_cap, a->nvars, sizeof a->vars[0]);
  ts__var_facts *f = &a->vars[a->nvars];
  int prev = a->top[v->id];
  *f = prev >= 0 ? a->vars[prev] : (ts__var_facts){.range = {TS_NEG_INF, TS_POS_INF}, .multiple = 1};
  f->var = v;
  f->prev = prev;
  a->top[v->id] = a->nvars++;
  return f;
}

static void narrow(ts__var_facts *f, int64_t lo, int64_t hi) {
  f->range.lo = TS_MAX(f->range.lo, lo);
  f->range.hi = TS_MIN(f->range.hi, hi);
}

// A fact about one variable narrows its range; any other is kept as it is.
static void fact_add(ts_analyzer *a, const ts__lin *l) {
  if (!l->n) return;
  const ts__term *t = &l->t[0];
  if (l->n == 1 && t->atom->kind == TS_E_VAR && t->k != INT64_MIN && l->c != INT64_MIN) {
    ts__var_facts *f = layer(a, t->atom->var);
    if (t->k > 0)
      narrow(f, -ts__floordiv(l->c, t->k), TS_POS_INF);
    else
      narrow(f, TS_NEG_INF, ts__floordiv(l->c, -t->k));
    return;
  }
  grow(a, (void **)&a->facts, &a->facts_cap, a->nfacts, sizeof a->facts[0]);
  ts__lin_copy(&a->facts[a->nfacts++], l);
}

void ts_bind_const(ts_analyzer *a, const ts_var *v, int64_t lo, int64_t hi) {
  narrow(layer(a, v), lo, hi);
  learnt(a, TS__STEP_CONST, v, lo, hi);
}

void ts_bind_multiple(ts_analyzer *a, const ts_var *v, int64_t m) {
  if (m < 0) m = -m;
  if (m < 2) return;
  ts__var_facts *f = layer(a, v);
  int64_t g = ts__gcd(f->multiple, m), lcm;
  f->multiple = __builtin_mul_overflow(f->multiple / g, m, &lcm) ? m : lcm;
  learnt(a, TS__STEP_MULTIPLE, v, m, 0);
}

void ts_bind_value(ts_analyzer *a, const ts_var *v, const ts_expr *value) {
  const ts_expr *e = ts_simplify(a, value);
  layer(a, v)->value = e;
  learnt(a, TS__STEP_VALUE, v, (int64_t)(intptr_t)e, 0);
}

// v - x >= 0 and y - v >= 0 where x, y are no constants.
static void relate(ts_analyzer *a, const ts_var *v, const ts_expr *x, const ts_expr *y) {
  ts__lin l, b;
  const ts_expr *e = ts_evar(a->ir, v);
  ts__lin_const(&l, 0);
  if (!ts_is_int(x, NULL) && ts__lin_parse(&b, x) && ts__lin_add_term(&l, 1, e) && ts__lin_add(&l, &b, -1))
    fact_add(a, &l);
  ts__lin_const(&l, 0);
  if (!ts_is_int(y, NULL) && ts__lin_parse(&b, y) && ts__lin_add_term(&l, -1, e) && ts__lin_add(&l, &b, 1))
    fact_add(a, &l);
}

// Is v known to lie between these ends?
static bool bounds_known(const ts_analyzer *a, const ts_var *v, const ts_expr *lo, const ts_expr *hi) {
  const ts__var_facts *f = ts__facts_of(a, v);
  return f && f->lo == lo && f->hi == hi;
}

void ts_bind_range(ts_analyzer *a, const ts_var *v, ts_range r) {
  const ts_expr *lo = ts_simplify(a, r.min);
  int64_t first, extent, last;
  bool plain = ts_is_int(lo, &first) && ts_is_int(r.extent, &extent) && !__builtin_add_overflow(first, extent - 1, &last);
  const ts_expr *hi = plain && extent > 0 ? ts_int(a->ir, last)
                                          : ts_simplify(a, ts_sub(a->ir, ts_add(a->ir, lo, r.extent), ts_int(a->ir, 1)));
  if (bounds_known(a, v, lo, hi)) return;  // nothing new
  ts_interval bl = ts_bound(a, lo), bh = ts_bound(a, hi);
  ts__var_facts *f = layer(a, v);
  narrow(f, bl.lo, bh.hi);
  f->lo = lo;
  f->hi = hi;
  if (lo == hi) f->value = lo;
  relate(a, v, lo, hi);
  learnt(a, TS__STEP_RANGE, v, (int64_t)(intptr_t)lo, (int64_t)(intptr_t)hi);
}

void ts_bind_dims(ts_analyzer *a, const ts_func *f) {
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *d = &f->dims[i];
    ts_bind_const(a, d->var, d->lo, d->hi);
    ts_bind_multiple(a, d->var, d->multiple);
  }
}

void ts_bind_stmt(ts_analyzer *a, const ts_stmt *s) {
  if (s->kind == TS_S_FOR) {
    ts_bind_range(a, s->loop.var, (ts_range){s->loop.min, s->loop.extent});
  } else if (s->kind == TS_S_BLOCK) {
    const ts_block *b = s->block;
    if (b->predicate) ts_assume(a, b->predicate);
    for (int i = 0; i < b->niters; i++) ts_bind_range(a, b->iters[i].var, b->iters[i].dom);
  } else if (s->kind == TS_S_LET && s->let.var->type.code == TS_I64) {
    ts_interval r = ts_bound(a, s->let.value);
    int64_t m = ts_known_multiple(a, s->let.value);
    ts_bind_const(a, s->let.var, r.lo, r.hi);
    ts_bind_multiple(a, s->let.var, m);
  }
}

bool ts__cond_known(const ts_analyzer *a, const ts_expr *c) {
  for (int i = a->nconds - 1; i >= 0; i--)
    if (a->conds[i] == c) return true;
  return false;
}

static void assume_equal(ts_analyzer *a, const ts__lin *l) {
  const ts__term *t = &l->t[0];
  int64_t m;
  if (l->n == 1 && l->c == 0 && t->atom->kind == TS_E_FLOORMOD && t->atom->arg[0]->kind == TS_E_VAR &&
      ts_is_int(t->atom->arg[1], &m))
    ts_bind_multiple(a, t->atom->arg[0]->var, m);
  ts__lin neg;
  ts__lin_copy(&neg, l);
  fact_add(a, l);
  if (ts__lin_scale(&neg, -1)) fact_add(a, &neg);
}

// What a canonical comparison says about linear forms.
static void assume_order(ts_analyzer *a, const ts_expr *c) {
  bool order = c->kind == TS_E_LT || c->kind == TS_E_LE;
  if ((!order && c->kind != TS_E_EQ) || !ts__is_index(c->arg[0])) return;
  ts__lin l, x;
  if (!ts__lin_parse(&l, c->arg[1]) || !ts__lin_parse(&x, c->arg[0]) || !ts__lin_add(&l, &x, -1)) return;
  if (c->kind == TS_E_EQ)
    assume_equal(a, &l);
  else if (ts__lin_add_const(&l, c->kind == TS_E_LT ? -1 : 0))
    fact_add(a, &l);
}

// c is canonical. Under nested assumptions less is tried (simplify_if), so the depth is part of what is known.
static void assume(ts_analyzer *a, const ts_expr *c) {
  if (c->kind == TS_E_AND) {
    assume(a, c->arg[0]);
    assume(a, c->arg[1]);
    return;
  }
  if (c->kind == TS_E_INT) return;
  grow(a, (void **)&a->conds, &a->conds_cap, a->nconds, sizeof a->conds[0]);
  a->conds[a->nconds++] = c;
  assume_order(a, c);
  learnt(a, TS__STEP_COND, c, a->depth, 0);
}

void ts_assume(ts_analyzer *a, const ts_expr *cond) { assume(a, ts_simplify(a, cond)); }
