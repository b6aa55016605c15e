// What a block reduces: its body run on symbols, each accumulator's new value matched against the reducers.
#include "analysis/analysis_impl.h"

typedef struct symbols {
  ts_ir *ir;
  const ts_block *block;
  ts_reduction *r;
  const ts_expr *now[TS_MAX_ACCS];  // value of each accumulator so far
  int nlets;
  ts_subst lets[16];
} symbols;

static int acc_find(const ts_reduction *r, const ts_buffer *b) {
  for (int i = 0; i < r->n; i++)
    if (r->acc[i] == b) return i;
  return -1;
}

static const ts_expr *load_now(void *arg, const ts_expr *e) {
  symbols *s = arg;
  for (int i = 0; i < s->r->n; i++)
    if (e == s->r->load[i]) return s->now[i];
  return e;
}

// e with accumulators as they are now, and without lets.
static const ts_expr *symbolic(symbols *s, const ts_expr *e) {
  bool moved = false;
  for (int i = 0; i < s->r->n; i++) moved |= s->now[i] != s->r->load[i];
  if (moved) e = ts_expr_rewrite(s->ir, e, load_now, s);
  return s->nlets ? ts_expr_subst(s->ir, e, s->lets, s->nlets) : e;
}

static bool spatial_index(const symbols *s, const ts_expr *const *idx, int n) {
  for (int d = 0; d < n; d++) {
    for (int i = 0; i < s->block->niters; i++)
      if (s->block->iters[i].kind != TS_ITER_SPATIAL && ts_expr_uses_var(idx[d], s->block->iters[i].var)) return false;
    for (int i = 0; i < s->nlets; i++)
      if (ts_expr_uses_var(idx[d], s->lets[i].from)) return false;
  }
  return true;
}

static bool same_index(const ts_expr *const *a, const ts_expr *const *b, int n) {
  for (int d = 0; d < n; d++)
    if (a[d] != b[d]) return false;
  return true;
}

// The places that are stored to, in order, before anything is run: loads of them mean the old value.
static bool collect(symbols *s, const ts_stmt *st) {
  switch (st->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < st->seq.n; i++) TS_TRY(collect(s, st->seq.child[i]));
      return true;
    case TS_S_LET: return collect(s, st->let.body);
    case TS_S_STORE: break;
    default: return false;
  }
  ts_reduction *r = s->r;
  int at = acc_find(r, st->store.buf);
  if (at >= 0) return same_index(r->idx[at], st->store.idx, st->store.buf->ndim);
  if (r->n == TS_MAX_ACCS) return false;
  r->acc[r->n] = st->store.buf;
  r->idx[r->n] = st->store.idx;
  r->load[r->n] = s->now[r->n] = ts_load(s->ir, st->store.buf, st->store.idx);
  r->n++;
  return true;
}

static bool run(symbols *s, const ts_stmt *st) {
  switch (st->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < st->seq.n; i++) TS_TRY(run(s, st->seq.child[i]));
      return true;
    case TS_S_LET: {
      if (s->nlets == (int)TS_COUNTOF(s->lets)) return false;
      const ts_expr *v = symbolic(s, st->let.value);
      s->lets[s->nlets++] = (ts_subst){st->let.var, v};
      return run(s, st->let.body);
    }
    default:
      if (!spatial_index(s, st->store.idx, st->store.buf->ndim) || st->store.value->type.lanes != 1) return false;
      s->now[acc_find(s->r, st->store.buf)] = symbolic(s, st->store.value);
      return true;
  }
}

// Accumulators must tell the same iterators, so that all parts of a tuple are updated equally often.
static bool same_iterators(const ts_block *b, const ts_reduction *r) {
  for (int v = 0; v < b->niters; v++) {
    int users = 0;
    for (int i = 0; i < r->n; i++)
      for (int d = 0; d < r->acc[i]->ndim; d++)
        if (ts_expr_uses_var(r->idx[i][d], b->iters[v].var)) {
          users++;
          break;
        }
    if (users != 0 && users != r->n) return false;
  }
  return true;
}

// --- init --------------------------------------------------------------------------------------------------------
typedef struct own_load {
  const ts_reduction *r;
  bool found;
} own_load;

static bool find_own(void *arg, const ts_expr *e) {
  own_load *o = arg;
  o->found |= e->kind == TS_E_LOAD && acc_find(o->r, e->buf) >= 0;
  return !o->found;
}

static bool init_store(ts_reduction *r, const ts_stmt *st) {
  if (st->kind != TS_S_STORE) return false;
  int at = acc_find(r, st->store.buf);
  own_load o = {r, false};
  ts_expr_visit(st->store.value, find_own, &o);
  if (at < 0 || r->init[at] || o.found || !same_index(r->idx[at], st->store.idx, r->acc[at]->ndim)) return false;
  r->init[at] = st->store.value;
  return true;
}

static bool init_match(ts_reduction *r, const ts_stmt *init) {
  if (init->kind == TS_S_SEQ) {
    for (int i = 0; i < init->seq.n; i++) TS_TRY(init_store(r, init->seq.child[i]));
  } else {
    TS_TRY(init_store(r, init));
  }
  for (int i = 0; i < r->n; i++)
    if (!r->init[i]) return false;
  return true;
}

// --- parts -------------------------------------------------------------------------------------------------------
// Accumulators at[0..n) by one reducer, in that order.
static bool part_match(symbols *s, ts_reducer reducer, const int *at, int n) {
  ts_reduction *r = s->r;
  ts__red_match m = {.ir = s->ir, .nacc = r->n, .acc = r->acc};
  for (int k = 0; k < n; k++) m.a[k] = r->load[at[k]], m.r[k] = s->now[at[k]];
  if (!ts__reducer_match(&m, reducer)) return false;
  struct ts_red_part *part = &r->part[r->nparts++];
  part->reducer = reducer;
  for (int k = 0; k < n; k++) part->at[k] = at[k], r->value[at[k]] = m.x[k];
  r->ordered |= ts_reducer_get(reducer)->ordered;
  return true;
}

static bool single_match(symbols *s, int i) {
  for (int k = 0; k < TS_RED__COUNT; k++)
    if (ts_reducer_get((ts_reducer)k)->n == 1 && part_match(s, (ts_reducer)k, &i, 1)) return true;
  return false;
}

// All orders of rest[0..n) from position `from` on; n <= TS_MAX_ACCS.
static bool tuple_orders(symbols *s, ts_reducer reducer, int *rest, int n, int from) {
  if (from == n || from == TS_MAX_ACCS) return part_match(s, reducer, rest, n);
  for (int i = from; i < n; i++) {
    int t = rest[from];
    rest[from] = rest[i], rest[i] = t;
    bool ok = tuple_orders(s, reducer, rest, n, from + 1);
    rest[i] = rest[from], rest[from] = t;
    if (ok) return true;
  }
  return false;
}

static bool tuple_match(symbols *s, int *rest, int n) {
  for (int k = 0; k < TS_RED__COUNT; k++)
    if (ts_reducer_get((ts_reducer)k)->n == n && tuple_orders(s, (ts_reducer)k, rest, n, 0)) return true;
  return false;
}

// A part of several values is tried on whole sets first, since one of its values alone may look like a simple reducer.
static bool parts_match(symbols *s, int n) {
  int set[TS_MAX_ACCS];
  bool taken[TS_MAX_ACCS] = {false};
  int left = n;
  for (int size = TS_MIN(n, (int)TS_RED_VALUES); size > 1 && left >= size; size--)
    for (unsigned mask = 0; mask < 1u << n && left >= size; mask++) {
      int k = 0;
      bool usable = __builtin_popcount(mask) == size;
      for (int i = 0; usable && i < n; i++)
        if (mask >> i & 1) set[k++] = i, usable = !taken[i];
      if (!usable || !tuple_match(s, set, size)) continue;
      for (int i = 0; i < size; i++) taken[set[i]] = true;
      left -= size;
    }
  for (int i = 0; i < n; i++)
    if (!taken[i] && !single_match(s, i)) return false;
  return true;
}

bool ts_reduction_match(ts_ir *ir, const ts_block *b, ts_reduction *out) {
  *out = (ts_reduction){0};
  symbols s = {.ir = ir, .block = b, .r = out};
  if (!collect(&s, b->body) || !out->n || !run(&s, b->body) || !same_iterators(b, out)) return false;
  return (!b->init || init_match(out, b->init)) && parts_match(&s, out->n);
}

// --- use ---------------------------------------------------------------------------------------------------------
void ts_reduction_combine(ts_ir *ir, const ts_reduction *r, const ts_expr *const *a, const ts_expr *const *x,
                          const ts_expr **out) {
  for (int p = 0; p < r->nparts; p++) {
    const struct ts_red_part *part = &r->part[p];
    const ts_expr *pa[TS_RED_VALUES], *px[TS_RED_VALUES], *po[TS_RED_VALUES];
    int n = ts_reducer_get(part->reducer)->n;
    for (int k = 0; k < n; k++) pa[k] = a[part->at[k]], px[k] = x[part->at[k]];
    ts__reducer_combine(ir, part->reducer, pa, px, po);
    for (int k = 0; k < n; k++) out[part->at[k]] = po[k];
  }
}

void ts_reduction_identity(ts_ir *ir, const ts_reduction *r, const ts_expr **out) {
  for (int p = 0; p < r->nparts; p++) {
    const struct ts_red_part *part = &r->part[p];
    const ts_expr *po[TS_RED_VALUES];
    ts_code codes[TS_RED_VALUES];
    int n = ts_reducer_get(part->reducer)->n;
    for (int k = 0; k < n; k++) codes[k] = r->acc[part->at[k]]->code;
    ts__reducer_identity(ir, part->reducer, codes, po);
    for (int k = 0; k < n; k++) out[part->at[k]] = po[k];
  }
}

typedef struct buffer_use {
  const ts_buffer *buf;
  bool found;
} buffer_use;

static bool find_use(void *arg, const ts_expr *e) {
  buffer_use *u = arg;
  u->found |= e->kind == TS_E_LOAD && e->buf == u->buf;
  return !u->found;
}

// Does a value that is stored later need what acc[i] was before?
static bool needed_later(const ts_buffer *const *acc, const ts_expr *const *value, int n, int i) {
  buffer_use u = {acc[i], false};
  for (int k = i + 1; k < n; k++) ts_expr_visit(value[k], find_use, &u);
  return u.found;
}

const ts_stmt *ts_reduction_store(ts_ir *ir, const ts_buffer *const *acc, const ts_expr *const *const *idx,
                                  const ts_expr *const *value, int n) {
  const ts_var *v[TS_MAX_ACCS] = {0};
  const ts_stmt *store[TS_MAX_ACCS] = {0};
  bool lets = false;
  for (int i = 0; i < n; i++) lets |= needed_later(acc, value, n, i);
  for (int i = 0; i < n; i++) {
    if (lets) v[i] = ts_var_new(ir, ts_arena_printf(ts_ir_arena(ir), "%s_new", acc[i]->name), ts_scalar(acc[i]->code));
    store[i] = ts_store(ir, acc[i], idx[i], lets ? ts_evar(ir, v[i]) : value[i]);
  }
  const ts_stmt *s = ts_seq(ir, store, n);
  for (int i = n - 1; lets && i >= 0; i--) s = ts_let(ir, v[i], value[i], s);
  return s;
}

const ts_expr *ts_reducer_rest(ts_ir *ir, ts_reducer r, const ts_expr *e, const ts_expr *acc) {
  ts__red_match m = {.ir = ir, .nacc = 1, .acc = &acc->buf, .a = {acc}, .r = {e}};
  return ts_reducer_get(r)->n == 1 && e->type.code == acc->type.code && ts__reducer_match(&m, r) ? m.x[0] : NULL;
}

const char *ts_reduction_name(ts_arena *a, const ts_reduction *r) {
  const char *name = ts_reducer_get(r->part[0].reducer)->name;
  for (int i = 1; i < r->nparts; i++)
    name = ts_arena_printf(a, "%s and %s", name, ts_reducer_get(r->part[i].reducer)->name);
  return name;
}
