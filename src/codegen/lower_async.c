// Asynchronous copies of 4, 8 or 16 bytes: vector loops around element copies are joined, the rest is stored at once,
// which is as right, because what waits for a copy has a barrier behind it.
#include "codegen/lower.h"

static bool is_copy(const ts_stmt *s) {
  ts_effect f;
  return s->kind == TS_S_EVAL && ts_effect_of(s->eval, &f) && f == TS_EFF_ASYNC_COPY;
}

// The load e with v at 0, when it takes neighbours for neighbouring v and begins at a multiple of n elements; NULL
// else.
static const ts_expr *joined(ts__lower *l, const ts_expr *e, const ts_stmt *loop, int64_t n) {
  int64_t k;
  const ts_expr *rest;
  if (e->nargs != 1 || !ts_linear(l->an, e->arg[0], loop->loop.var, &k, &rest) || k != 1) return NULL;
  rest = ts_simplify(l->an, ts_add(l->ir, rest, loop->loop.min));
  if (ts_prove_multiple(l->an, rest, n) != TS_YES) return NULL;
  return ts_vload(l->ir, e->buf, &rest, (int)n);
}

static bool size_fits(int64_t bytes) { return bytes == 4 || bytes == 8 || bytes == 16; }

static const ts_stmt *join_loop(ts__lower *l, const ts_stmt *s) {
  int64_t n;
  if (s->loop.kind != TS_VECTORIZE || !is_copy(s->loop.body) || !ts_is_int(s->loop.extent, &n) || n < 2 || n > 16)
    return NULL;
  const ts_expr *const *a = s->loop.body->eval->arg;
  if (a[0]->type.lanes != 1 || !size_fits(n * ts_code_bytes(a[0]->type.code))) return NULL;
  const ts_expr *two[] = {joined(l, a[0], s, n), joined(l, a[1], s, n)};
  return two[0] && two[1] ? ts_eval(l->ir, ts_effect_call(l->ir, TS_EFF_ASYNC_COPY, two)) : NULL;
}

static const ts_stmt *join(ts__lower *l, const ts_stmt *s, bool lanes);

static const ts_stmt *join_copy(ts__lower *l, const ts_stmt *s, bool lanes) {
  const ts_expr *const *a = s->eval->arg;
  if (!lanes && size_fits(ts_code_bytes(a[0]->type.code) * a[0]->type.lanes)) return s;
  return ts_store(l->ir, a[0]->buf, a[0]->arg, a[1]);
}

// lanes: in a vector loop, where each copy would be several.
static const ts_stmt *join(ts__lower *l, const ts_stmt *s, bool lanes) {
  ts_stmt *c;
  const ts_stmt *r, **child;
  size_t mark;
  switch (s->kind) {
    case TS_S_SEQ:
      child = ts_new_array(l->arena, const ts_stmt *, s->seq.n);
      for (int i = 0; i < s->seq.n; i++) child[i] = join(l, s->seq.child[i], lanes);
      return ts_seq(l->ir, child, s->seq.n);
    case TS_S_FOR:
      mark = ts_analyzer_push(l->an);
      ts_bind_stmt(l->an, s);
      if (!(r = join_loop(l, s))) {
        r = ts_stmt_copy(l->ir, s, &c);
        c->loop.body = join(l, s->loop.body, lanes || s->loop.kind == TS_VECTORIZE);
      }
      ts_analyzer_pop(l->an, mark);
      return r;
    case TS_S_IF:
      return ts_if(l->ir, s->cond.cond, join(l, s->cond.then, lanes),
                   s->cond.other ? join(l, s->cond.other, lanes) : NULL);
    case TS_S_LET:
      r = ts_stmt_copy(l->ir, s, &c);
      c->let.body = join(l, s->let.body, lanes);
      return r;
    case TS_S_ALLOC:
      r = ts_stmt_copy(l->ir, s, &c);
      c->alloc.body = join(l, s->alloc.body, lanes);
      return r;
    case TS_S_EVAL:
      return is_copy(s) ? join_copy(l, s, lanes) : s;
    default:
      return s;
  }
}

static bool see_copy(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= is_copy(s);
  return !*found;
}

const ts_stmt *ts__join_copies(ts__lower *l, const ts_stmt *body) {
  bool found = false;
  ts_stmt_visit(body, see_copy, NULL, &found);
  return found ? join(l, body, false) : body;
}
