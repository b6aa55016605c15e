// The simplifier: index expressions become linear forms over canonical atoms; statements are walked with their facts.
#include "analysis/analysis_impl.h"

static bool collect(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l);

bool ts__lin_of(ts_analyzer *a, const ts_expr *e, ts__lin *out) { return ts__lin_parse(out, ts_simplify(a, e)); }

// e with simplified arguments, as it is otherwise.
static const ts_expr *with_simple_args(ts_analyzer *a, const ts_expr *e) {
  const ts_expr *arg[16], **p = arg;
  if (!e->nargs) return e;
  if (e->nargs > 16) p = ts_new_array(ts_ir_arena(a->ir), const ts_expr *, e->nargs);
  for (uint32_t i = 0; i < e->nargs; i++) p[i] = ts_simplify(a, e->arg[i]);
  return ts_expr_with(a->ir, e, p);
}

// --- select ------------------------------------------------------------------------------------------------
static const ts_expr *simplify_if(ts_analyzer *a, const ts_expr *cond, const ts_expr *e) {
  enum { NESTED = 3 };
  if (a->depth >= NESTED || e->nargs == 0) return ts_simplify(a, e);
  size_t mark = ts_analyzer_push(a);
  a->depth++;
  ts_assume(a, cond);
  const ts_expr *r = ts_simplify(a, e);
  a->depth--;
  ts_analyzer_pop(a, mark);
  return r;
}

static const ts_expr *simplify_select(ts_analyzer *a, const ts_expr *e) {
  int64_t v;
  const ts_expr *c = ts_simplify(a, e->arg[0]);
  if (ts_is_int(c, &v)) return ts_simplify(a, e->arg[v ? 1 : 2]);
  const ts_expr *x = simplify_if(a, c, e->arg[1]), *y = simplify_if(a, ts__negate(a, c), e->arg[2]);
  return x == y ? x : ts_select(a->ir, c, x, y);
}

// --- index expressions -------------------------------------------------------------------------------------
static bool add_scaled(ts__lin *l, const ts_expr *canonical, int64_t k) {
  ts__lin x;
  return ts__lin_parse(&x, canonical) && ts__lin_add(l, &x, k);
}

static bool collect_var(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l) {
  const ts__var_facts *f = ts__facts_of(a, e->var);
  int64_t v;
  if (f && f->value) return add_scaled(l, ts_simplify(a, f->value), k);
  if (f && f->range.lo == f->range.hi) return !__builtin_mul_overflow(f->range.lo, k, &v) && ts__lin_add_const(l, v);
  return ts__lin_add_term(l, k, e);
}

static bool collect_div(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l) {
  ts__lin x, d, q, r;
  if (!ts__lin_of(a, e->arg[0], &x) || !ts__lin_of(a, e->arg[1], &d)) return false;
  if (ts__lin_is_const(&d) && d.c == 0) {  // has no value: kept
    const ts_expr *arg[2] = {ts__lin_expr(a->ir, &x), ts__lin_expr(a->ir, &d)};
    const ts_expr *r0 = ts_expr_with(a->ir, e, arg);
    return ts__lin_add_term(l, k, r0);
  }
  if (ts__lin_is_const(&d)) {
    if (!ts__divmod(a, &x, d.c, &q, &r)) return false;
  } else if (!ts__divmod_sym(a, &x, &d, &q, &r)) {
    return false;
  }
  return ts__lin_add(l, e->kind == TS_E_FLOORDIV ? &q : &r, k);
}

static bool collect_mul(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l) {
  ts__lin x, y, p;
  int64_t v;
  if (ts_is_int(e->arg[1], &v) && !__builtin_mul_overflow(v, k, &v)) return collect(a, e->arg[0], v, l);
  if (!ts__lin_of(a, e->arg[0], &x) || !ts__lin_of(a, e->arg[1], &y)) return false;
  if (ts__lin_mul(a->ir, &p, &x, &y)) return ts__lin_add(l, &p, k);
  const ts_expr *f[2] = {ts__lin_expr(a->ir, &x), ts__lin_expr(a->ir, &y)};
  return x.n > 1 && y.n > 1 && ts__lin_add_term(l, k, ts__product(a->ir, f, 2));
}

// Shifts and masks by constants are multiplications, divisions and remainders.
static bool collect_bits(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l) {
  int64_t v;
  ts__lin x;
  const ts_expr *y = ts_simplify(a, e->arg[1]);
  if (!ts_is_int(y, &v)) return false;
  bool shift = e->kind == TS_E_SHL || e->kind == TS_E_SHR;
  if (shift && (v < 0 || v > 61)) return false;
  if (e->kind == TS_E_BITAND && (v < 0 || (v & (v + 1)) || v == INT64_MAX)) return false;
  const ts_expr *c = ts_int(a->ir, shift ? (int64_t)1 << v : v + 1);
  ts_ekind kind = e->kind == TS_E_SHL ? TS_E_MUL : e->kind == TS_E_SHR ? TS_E_FLOORDIV : TS_E_FLOORMOD;
  ts__lin_const(&x, 0);
  return collect(a, ts_bin(a->ir, kind, e->arg[0], c), 1, &x) && ts__lin_add(l, &x, k);
}

// l += k * e. False when the result is too large or the kind has no rule.
static bool collect(ts_analyzer *a, const ts_expr *e, int64_t k, ts__lin *l) {
  int64_t v;
  ts__lin x;
  switch (e->kind) {
    case TS_E_INT:
      return !__builtin_mul_overflow(e->i, k, &v) && ts__lin_add_const(l, v);
    case TS_E_VAR:
      return collect_var(a, e, k, l);
    case TS_E_ADD:
      return collect(a, e->arg[0], k, l) && collect(a, e->arg[1], k, l);
    case TS_E_SUB:
      return k != INT64_MIN && collect(a, e->arg[0], k, l) && collect(a, e->arg[1], -k, l);
    case TS_E_MUL:
      return collect_mul(a, e, k, l);
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
      return collect_div(a, e, k, l);
    case TS_E_MIN:
    case TS_E_MAX:
      return ts__minmax(a, (ts_ekind)e->kind, e->arg[0], e->arg[1], &x) && ts__lin_add(l, &x, k);
    case TS_E_SELECT:
      return add_scaled(l, simplify_select(a, e), k);
    case TS_E_SHL:
    case TS_E_SHR:
    case TS_E_BITAND:
      if (collect_bits(a, e, k, l)) return true;
      break;
    default:
      break;
  }
  return add_scaled(l, with_simple_args(a, e), k);
}

// *final: simplifying the result again would change nothing, as with a sum of variables.
static const ts_expr *simplify_index(ts_analyzer *a, const ts_expr *e, bool *final) {
  ts__lin l;
  ts__lin_const(&l, 0);
  if (!collect(a, e, 1, &l) || !ts__recombine(a, &l)) return with_simple_args(a, e);
  *final = true;
  for (int i = 0; i < l.n; i++) *final = *final && l.t[i].atom->kind == TS_E_VAR;
  return ts__lin_expr(a->ir, &l);
}

// --- other types -------------------------------------------------------------------------------------------
static bool is_const(const ts_expr *e, int64_t v) {
  int64_t i;
  if (e->kind == TS_E_FLOAT) return e->f == (double)v;
  return ts_is_int(e, &i) && i == v;
}

// Identities that hold for wrapping integers of any width; for floats only x * 1 and x / 1.
static const ts_expr *identity(ts_analyzer *a, const ts_expr *e) {
  if (e->nargs != 2 || e->type.lanes != 1 || e->kind == TS_E_LOAD || e->kind == TS_E_CALL) return e;
  const ts_expr *x = e->arg[0], *y = e->arg[1];
  bool integer = ts_code_is_int((ts_code)e->type.code);
  switch (e->kind) {
    case TS_E_MUL:
      if (is_const(x, 1)) return y;
      if (is_const(y, 1)) return x;
      return integer && (is_const(x, 0) || is_const(y, 0)) ? ts_const_int(a->ir, e->type, 0) : e;
    case TS_E_DIV:
      return is_const(y, 1) ? x : e;
    case TS_E_FLOORDIV:
      return is_const(y, 1) ? x : e;
    case TS_E_FLOORMOD:
      return is_const(y, 1) ? ts_const_int(a->ir, e->type, 0) : e;
    case TS_E_ADD:
    case TS_E_BITOR:
    case TS_E_BITXOR:
      if (integer && is_const(x, 0)) return y;
      return integer && is_const(y, 0) ? x : e;
    case TS_E_SUB:
    case TS_E_SHL:
    case TS_E_SHR:
      return integer && is_const(y, 0) ? x : e;
    case TS_E_BITAND:
      return integer && (is_const(x, 0) || is_const(y, 0)) ? ts_const_int(a->ir, e->type, 0) : e;
    case TS_E_MIN:
    case TS_E_MAX:
      return integer && x == y ? x : e;
    default:
      return e;
  }
}

static const ts_expr *simplify_other(ts_analyzer *a, const ts_expr *e) {
  if (e->kind == TS_E_SELECT && ts__is_bool(e->arg[0])) return simplify_select(a, e);
  return identity(a, with_simple_args(a, e));
}

static const ts_expr *once(ts_analyzer *a, const ts_expr *e, bool *final) {
  if (ts__is_index(e)) return simplify_index(a, e, final);
  if (ts__is_bool(e)) return ts__simplify_bool(a, e);
  return simplify_other(a, e);
}

static const ts_expr *simplify_var(ts_analyzer *a, const ts_expr *e) {
  const ts__var_facts *f = ts__facts_of(a, e->var);
  if (f && f->value) return ts_simplify(a, f->value);
  return f && f->range.lo == f->range.hi ? ts_int(a->ir, f->range.lo) : e;
}

const ts_expr *ts_simplify(ts_analyzer *a, const ts_expr *e) {
  if (e->kind == TS_E_INT || e->kind == TS_E_FLOAT) return e;
  if (e->kind == TS_E_VAR && ts__is_index(e)) return simplify_var(a, e);
  const ts_expr *known = ts__memo_at(a, e)->value;
  if (known) return known;
  bool final = false;
  const ts_expr *r = once(a, e, &final);
  for (int round = 0; round < 4 && r->kind != TS_E_INT && !final; round++) {  // rules can make room for other rules
    if (ts__memo_at(a, r)->value == r) break;
    const ts_expr *next = once(a, r, &final);
    if (next == r) break;
    r = next;
  }
  ts__memo_at(a, r)->value = r;
  ts__memo_at(a, e)->value = r;
  return r;
}

// --- statements --------------------------------------------------------------------------------------------
static const ts_expr *const *simplify_list(ts_analyzer *a, const ts_expr *const *e, int n) {
  const ts_expr **p = ts_new_array(ts_ir_arena(a->ir), const ts_expr *, n);
  bool changed = false;
  for (int i = 0; i < n; i++) {
    p[i] = ts_simplify(a, e[i]);
    changed = changed || p[i] != e[i];
  }
  return changed ? p : e;
}

static ts_range simplify_range(ts_analyzer *a, ts_range r) {
  return (ts_range){ts_simplify(a, r.min), ts_simplify(a, r.extent)};
}

static const ts_region *simplify_regions(ts_analyzer *a, const ts_region *r, int n) {
  ts_region *p = ts_new_array(ts_ir_arena(a->ir), ts_region, n);
  for (int i = 0; i < n; i++) {
    int nd = r[i].buf->ndim;
    ts_range *dim = ts_new_array(ts_ir_arena(a->ir), ts_range, nd);
    for (int d = 0; d < nd; d++) dim[d] = simplify_range(a, r[i].dim[d]);
    p[i] = (ts_region){r[i].buf, dim};
  }
  return p;
}

static const ts_stmt *under(ts_analyzer *a, const ts_stmt *around, const ts_expr *cond, const ts_stmt *body) {
  size_t mark = ts_analyzer_push(a);
  if (around) ts_bind_stmt(a, around);
  if (cond) ts_assume(a, cond);
  const ts_stmt *r = ts_simplify_stmt(a, body);
  ts_analyzer_pop(a, mark);
  return r;
}

static const ts_stmt *simplify_block(ts_analyzer *a, const ts_stmt *s) {
  ts_arena *arena = ts_ir_arena(a->ir);
  const ts_block *b = s->block;
  ts_block *n = ts_arena_dup(arena, b, sizeof *b);
  ts_iter *iters = ts_new_array(arena, ts_iter, b->niters);
  for (int i = 0; i < b->niters; i++) {
    iters[i] = b->iters[i];
    iters[i].dom = simplify_range(a, b->iters[i].dom);
    iters[i].value = ts_simplify(a, b->iters[i].value);
  }
  n->iters = iters;
  if (b->predicate) {
    n->predicate = ts_simplify(a, b->predicate);
    int64_t v;
    if (ts_is_int(n->predicate, &v) && v) n->predicate = NULL;
  }
  size_t mark = ts_analyzer_push(a);
  ts_bind_stmt(a, s);
  n->reads = simplify_regions(a, b->reads, b->nreads);
  n->writes = simplify_regions(a, b->writes, b->nwrites);
  if (b->init) n->init = ts_simplify_stmt(a, b->init);
  n->body = ts_simplify_stmt(a, b->body);
  ts_analyzer_pop(a, mark);
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(a->ir, s, &c);
  c->block = n;
  return r;
}

static const ts_stmt *simplify_cond(ts_analyzer *a, const ts_stmt *s) {
  const ts_expr *c = ts_simplify(a, s->cond.cond);
  int64_t v;
  if (ts_is_int(c, &v)) {
    const ts_stmt *side = v ? s->cond.then : s->cond.other;
    return side ? ts_simplify_stmt(a, side) : ts_seq(a->ir, NULL, 0);
  }
  const ts_stmt *then = under(a, NULL, c, s->cond.then);
  const ts_stmt *other = s->cond.other ? under(a, NULL, ts__negate(a, c), s->cond.other) : NULL;
  return ts_if(a->ir, c, then, other);
}

static const ts_stmt *simplify_seq(ts_analyzer *a, const ts_stmt *s) {
  const ts_stmt **child = ts_new_array(ts_ir_arena(a->ir), const ts_stmt *, s->seq.n);
  for (int i = 0; i < s->seq.n; i++) child[i] = ts_simplify_stmt(a, s->seq.child[i]);
  return ts_seq(a->ir, child, s->seq.n);
}

static const ts_stmt *simplify_loop(ts_analyzer *a, const ts_stmt *s) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(a->ir, s, &c);
  c->loop.min = ts_simplify(a, s->loop.min);
  c->loop.extent = ts_simplify(a, s->loop.extent);
  c->loop.body = under(a, s, NULL, s->loop.body);
  return r;
}

const ts_stmt *ts_simplify_stmt(ts_analyzer *a, const ts_stmt *s) {
  switch (s->kind) {
    case TS_S_SEQ:
      return simplify_seq(a, s);
    case TS_S_FOR:
      return simplify_loop(a, s);
    case TS_S_BLOCK:
      return simplify_block(a, s);
    case TS_S_STORE:
      return ts_store(a->ir, s->store.buf, simplify_list(a, s->store.idx, s->store.buf->ndim),
                      ts_simplify(a, s->store.value));
    case TS_S_IF:
      return simplify_cond(a, s);
    case TS_S_LET:
      return ts_let(a->ir, s->let.var, ts_simplify(a, s->let.value), under(a, s, NULL, s->let.body));
    case TS_S_ALLOC:
      return ts_alloc(a->ir, s->alloc.buf, ts_simplify_stmt(a, s->alloc.body));
    default: {
      ts_stmt *c;
      const ts_stmt *r = ts_stmt_copy(a->ir, s, &c);
      c->eval = ts_simplify(a, s->eval);
      return r;
    }
  }
}

const ts_func *ts_simplify_func(ts_analyzer *a, const ts_func *f) {
  size_t mark = ts_analyzer_push(a);
  ts_bind_dims(a, f);
  ts_func *n = ts_arena_dup(ts_ir_arena(a->ir), f, sizeof *f);
  n->body = ts_simplify_stmt(a, f->body);
  ts_analyzer_pop(a, mark);
  return n;
}
