// Private buffers. A buffer allocated inside a vector loop gets an element per lane, innermost; one allocated inside a
// parallel loop that does not fit the stack moves outside, with a part per iteration.
#include "codegen/lower.h"

typedef struct widening {
  ts__lower *l;
  const ts_buffer *from, *to;
  const ts_expr *lane, *lanes;  // position: at * lanes + lane (vector), lane * size + at (parallel)
  const ts_expr *size;
} widening;

static const ts_buffer *widen_access(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  widening *w = arg;
  ts_ir *ir = w->l->ir;
  if (b != w->from) return NULL;
  const ts_expr *at = b->ndim ? idx[0] : ts_int(ir, 0);
  out[0] = w->size ? ts_add(ir, ts_mul(ir, w->lane, w->size), at) : ts_add(ir, ts_mul(ir, at, w->lanes), w->lane);
  return w->to;
}

// A copy of b with n times the elements.
static const ts_buffer *enlarged(ts__lower *l, const ts_buffer *b, const ts_expr *n) {
  const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, 1);
  shape[0] = ts_simplify(l->an, ts_mul(l->ir, b->ndim ? b->shape[0] : ts_int(l->ir, 1), n));
  return ts_buffer_new(l->ir, b->name, b->code, 1, shape, b->scope);
}

static const ts_expr *iteration(ts__lower *l, const ts_stmt *loop) {
  return ts_sub(l->ir, ts_evar(l->ir, loop->loop.var), loop->loop.min);
}

static const ts_stmt *expand(ts__lower *l, const ts_stmt *s, const ts_stmt *vector, const ts_stmt *parallel,
                             ts_buffer const ***moved, size_t *nmoved);

static const ts_stmt *expand_alloc(ts__lower *l, const ts_stmt *s, const ts_stmt *vector, const ts_stmt *parallel,
                                   ts_buffer const ***moved, size_t *nmoved) {
  const ts_buffer *b = s->alloc.buf;
  const ts_stmt *body = s->alloc.body;
  if (vector) {
    widening w = {.l = l, .from = b, .lane = iteration(l, vector), .lanes = vector->loop.extent};
    w.to = enlarged(l, b, w.lanes);
    body = ts__map_access(l->ir, body, widen_access, &w);
    b = w.to;
  }
  if (!parallel || ts__on_stack(b, NULL)) return ts_alloc(l->ir, b, expand(l, body, vector, parallel, moved, nmoved));
  widening w = {.l = l, .from = b, .lane = iteration(l, parallel), .size = b->shape[0]};
  w.to = enlarged(l, b, parallel->loop.extent);
  body = ts__map_access(l->ir, body, widen_access, &w);
  const ts_buffer **more = ts_new_array(l->arena, const ts_buffer *, *nmoved + 1);
  if (*nmoved) memcpy(more, *moved, *nmoved * sizeof *more);
  more[(*nmoved)++] = w.to;
  *moved = more;
  return expand(l, body, vector, parallel, moved, nmoved);
}

static const ts_stmt *expand_loop(ts__lower *l, const ts_stmt *s, const ts_stmt *vector, const ts_stmt *parallel,
                                  ts_buffer const ***moved, size_t *nmoved) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(l->ir, s, &c);
  if (s->loop.kind == TS_VECTORIZE && !vector) vector = s;
  if (s->loop.kind != TS_PARALLEL || parallel) {
    c->loop.body = expand(l, s->loop.body, vector, parallel, moved, nmoved);
    return r;
  }
  const ts_buffer **mine = NULL;
  size_t n = 0;
  c->loop.body = expand(l, s->loop.body, vector, s, &mine, &n);
  for (size_t i = 0; i < n; i++) r = ts_alloc(l->ir, mine[i], r);
  return r;
}

// vector, parallel: the outermost such loops around s, or NULL. Buffers that leave the parallel loop are added to
// moved.
static const ts_stmt *expand(ts__lower *l, const ts_stmt *s, const ts_stmt *vector, const ts_stmt *parallel,
                             ts_buffer const ***moved, size_t *nmoved) {
  const ts_stmt **child;
  switch (s->kind) {
    case TS_S_SEQ:
      child = ts_new_array(l->arena, const ts_stmt *, s->seq.n);
      for (int i = 0; i < s->seq.n; i++) child[i] = expand(l, s->seq.child[i], vector, parallel, moved, nmoved);
      return ts_seq(l->ir, child, s->seq.n);
    case TS_S_FOR:
      return expand_loop(l, s, vector, parallel, moved, nmoved);
    case TS_S_IF:
      return ts_if(l->ir, s->cond.cond, expand(l, s->cond.then, vector, parallel, moved, nmoved),
                   s->cond.other ? expand(l, s->cond.other, vector, parallel, moved, nmoved) : NULL);
    case TS_S_LET:
      return ts_let(l->ir, s->let.var, s->let.value, expand(l, s->let.body, vector, parallel, moved, nmoved));
    case TS_S_ALLOC:
      return expand_alloc(l, s, vector, parallel, moved, nmoved);
    default:
      return s;
  }
}

const ts_stmt *ts__expand_buffers(ts__lower *l, const ts_stmt *body) {
  const ts_buffer **moved = NULL;
  size_t n = 0;
  return expand(l, body, NULL, NULL, &moved, &n);
}
