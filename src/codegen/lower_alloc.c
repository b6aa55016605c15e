// Inner buffers of blocks become allocations around the statements that use them, as deep and as small as their use
// allows.
//
// A buffer may sink into a loop when no iteration needs what another one left in it: every read is preceded, in the
// same iteration, by writes that certainly cover it (lower_access.c). At its place it keeps only the box that is
// touched there, seen from the loops around: t[i, j] used for one i and 16 j's becomes t[1, 16].
#include "codegen/lower.h"

typedef struct placing {
  ts__lower *l;
  const ts_buffer *from, *to;
  const ts_expr *min[8];
} placing;

// --- where ------------------------------------------------------------------------------------------------------

typedef struct user {
  const ts_buffer *buf;
  bool found;
} user;

static bool see_expr(void *arg, const ts_expr *e) {
  user *u = arg;
  u->found |= e->kind == TS_E_LOAD && e->buf == u->buf;
  return !u->found;
}

static bool see_stmt(void *arg, const ts_stmt *s) {
  user *u = arg;
  u->found |= s->kind == TS_S_STORE && s->store.buf == u->buf;
  return !u->found;
}

static bool uses(const ts_stmt *s, const ts_buffer *b) {
  user u = {b, false};
  ts_stmt_visit(s, see_stmt, see_expr, &u);
  return u.found;
}

static bool expr_uses(const ts_expr *e, const ts_buffer *b) {
  user u = {b, false};
  if (e) ts_expr_visit(e, see_expr, &u);
  return u.found;
}

static bool has_block(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= s->kind == TS_S_BLOCK;
  return !*found;
}

static bool is_leaf(const ts_block *b) {
  bool found = false;
  ts_stmt_visit(b->body, has_block, NULL, &found);
  return !found;
}

static const ts_stmt *only_user(const ts_stmt *s, const ts_buffer *b) {
  const ts_stmt *one = NULL;
  for (int i = 0; i < s->seq.n; i++) {
    if (!uses(s->seq.child[i], b)) continue;
    if (one) return NULL;
    one = s->seq.child[i];
  }
  return one;
}

// The statement below s that alone uses b, or NULL when s is the deepest.
static const ts_stmt *deeper(const ts_stmt *s, const ts_buffer *b) {
  switch (s->kind) {
    case TS_S_SEQ:
      return only_user(s, b);
    case TS_S_FOR:
      return expr_uses(s->loop.min, b) || expr_uses(s->loop.extent, b) ? NULL : s->loop.body;
    case TS_S_ALLOC:
      return s->alloc.body;
    case TS_S_LET:
      return expr_uses(s->let.value, b) ? NULL : s->let.body;
    case TS_S_IF:
      if (expr_uses(s->cond.cond, b)) return NULL;
      if (!s->cond.other || !uses(s->cond.other, b)) return s->cond.then;
      return uses(s->cond.then, b) ? NULL : s->cond.other;
    case TS_S_BLOCK:
      if (is_leaf(s->block) || expr_uses(s->block->predicate, b) || (s->block->init && uses(s->block->init, b)))
        return NULL;
      return s->block->body;
    default:
      return NULL;
  }
}

// --- how large ----------------------------------------------------------------------------------------------------

static bool see_foreign(void *arg, const ts_expr *e) {
  ts__lower *l = ((placing *)arg)->l;
  if (e->kind != TS_E_VAR) return true;
  for (int i = 0; i < l->f->ndims; i++)
    if (l->f->dims[i].var == e->var) return true;
  ((placing *)arg)->from = NULL;
  return false;
}

// Does e use symbolic dimensions only?
static bool of_dims(ts__lower *l, const ts_expr *e) {
  placing p = {.l = l, .from = l->f->params ? l->f->params[0].buf : NULL};
  bool none = !p.from;
  ts_expr_visit(e, see_foreign, &p);
  return none || p.from;
}

// The buffer's copy for the box r; a dimension whose box is no smaller or has no usable size stays whole.
static void shrink(placing *p, const ts__box *r) {
  ts__lower *l = p->l;
  const ts_buffer *b = p->from;
  const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, b->ndim);
  bool changed = false;
  for (int i = 0; i < b->ndim; i++) {
    int64_t whole, extent;
    shape[i] = b->shape[i];
    p->min[i] = NULL;
    if (!r->lo[i]) continue;
    const ts_expr *e = ts_simplify(l->an, ts_add(l->ir, ts_sub(l->ir, r->hi[i], r->lo[i]), ts_int(l->ir, 1)));
    int64_t most = ts_bound(l->an, e).hi;
    if (!ts_is_int(e, NULL) && most != TS_POS_INF && most < (int64_t)1 << 32 && !of_dims(l, e)) e = ts_int(l->ir, most);
    if (ts_is_int(e, &extent) ? (ts_is_int(b->shape[i], &whole) && extent >= whole)
                              : !of_dims(l, e) || ts_prove_le(l->an, b->shape[i], e) == TS_YES)
      continue;
    shape[i] = e;
    p->min[i] = r->lo[i];
    changed = true;
  }
  p->to = b;
  if (!changed) return;
  ts_buffer *n = ts_buffer_new(l->ir, b->name, b->code, b->ndim, shape, b->scope);
  n->align = b->align;
  n->skew = b->skew;
  if (n->skew.factor) ts_buffer_skew(l->ir, n);
  p->to = n;
}

static const ts_expr *moved(placing *p, const ts_expr *at, int dim) {
  return p->min[dim] ? ts_sub(p->l->ir, at, p->min[dim]) : at;
}

static const ts_buffer *moved_access(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  placing *p = arg;
  if (b != p->from) return NULL;
  for (int i = 0; i < b->ndim; i++) out[i] = moved(p, idx[i], i);
  return p->to;
}

static const ts_stmt *moved_operands(void *arg, const ts_stmt *s) {
  placing *p = arg;
  if (s->kind != TS_S_BLOCK || !s->block->noperands) return s;
  ts_block *b = ts_arena_dup(p->l->arena, s->block, sizeof *b);
  ts_operand *o = ts_arena_dup(p->l->arena, b->operands, sizeof *o * (size_t)b->noperands);
  for (int i = 0; i < b->noperands; i++) {
    if (o[i].buf != p->from) continue;
    const ts_expr **start = ts_new_array(p->l->arena, const ts_expr *, p->from->ndim);
    for (int d = 0; d < p->from->ndim; d++) start[d] = moved(p, o[i].start[d], d);
    o[i].start = start;
    o[i].buf = p->to;
  }
  b->operands = o;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(p->l->ir, s, &c);
  c->block = b;
  return r;
}

// --- the pass -------------------------------------------------------------------------------------------------------

typedef struct swap {
  const ts_stmt *from, *to;
} swap;

static const ts_stmt *exchange(void *arg, const ts_stmt *s) {
  const swap *x = arg;
  return s == x->from ? x->to : s;
}

// body with an allocation of b around the deepest statement that may have one. *whole: body itself may.
static const ts_stmt *place_one(ts__lower *l, const ts_stmt *body, const ts_buffer *b, bool *whole) {
  const ts_stmt *at[64];
  int n = 0;
  if (!uses(body, b)) return body;
  for (const ts_stmt *s = body; s && n < 64; s = deeper(s, b)) at[n++] = s;
  ts__uses *u = ts__uses_of(l, body, b);
  if (whole) *whole = ts__self_contained(l, u, body);
  while (n > 1 && !ts__self_contained(l, u, at[n - 1])) n--;
  const ts_stmt *t = at[n - 1];
  placing p = {.l = l, .from = b};
  ts__box box = ts__box_of(l, u, t);
  shrink(&p, &box);
  const ts_stmt *inner = t;
  if (p.to != b) {
    inner = ts__map_access(l->ir, inner, moved_access, &p);
    inner = ts_stmt_rewrite(l->ir, inner, moved_operands, NULL, &p);
  }
  swap x = {t, ts_alloc(l->ir, p.to, inner)};
  return ts_stmt_rewrite(l->ir, body, exchange, NULL, &x);
}

bool ts__place_buffer(ts__lower *l, const ts_stmt **body, const ts_buffer *b) {
  bool whole = true;
  *body = place_one(l, *body, b, &whole);
  return whole;
}

static const ts_stmt *place(void *arg, const ts_stmt *s) {
  ts__lower *l = arg;
  if (s->kind != TS_S_BLOCK || s->block->nallocs == 0) return s;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(l->ir, s, &c);
  ts_block *b = ts_arena_dup(l->arena, s->block, sizeof *b);
  for (int i = 0; i < b->nallocs; i++) b->body = place_one(l, b->body, b->allocs[i], NULL);
  b->nallocs = 0;
  c->block = b;
  return r;
}

const ts_stmt *ts__place_buffers(ts__lower *l, const ts_stmt *body) {
  return ts_stmt_rewrite(l->ir, body, place, NULL, l);
}
