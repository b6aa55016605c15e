// Blocks to plain statements: iterators replaced by their values, predicate and init as conditions.
#include "codegen/lower.h"

typedef struct scope {
  ts__lower *l;
  TS_VEC(ts_subst) map;  // iterators of the enclosing blocks
  TS_VEC(const ts_stmt *) loops;
} scope;

static const ts_stmt *lower(scope *x, const ts_stmt *s);

static const ts_expr *plain(scope *x, const ts_expr *e) { return ts_expr_subst(x->l->ir, e, x->map.p, (int)x->map.n); }

// value == min, as `every loop variable in it is at its start` where the value is a sum of variables with positive
// factors.
static const ts_expr *at_start(scope *x, const ts_expr *value, const ts_expr *min) {
  ts_ir *ir = x->l->ir;
  const ts_expr *cond = NULL, *rest = ts_simplify(x->l->an, ts_sub(ir, value, min));
  for (size_t i = 0; i < x->loops.n; i++) {
    const ts_stmt *loop = x->loops.p[i];
    const ts_expr *without;
    int64_t k, zero;
    if (!ts_expr_uses_var(rest, loop->loop.var)) continue;
    if (!ts_is_int(loop->loop.min, &zero) || zero || !ts_linear(x->l->an, rest, loop->loop.var, &k, &without) || k <= 0)
      return ts_bin(ir, TS_E_EQ, value, min);
    cond = ts__guard_and(ir, cond, ts_bin(ir, TS_E_EQ, ts_evar(ir, loop->loop.var), ts_int(ir, 0)));
    rest = without;
  }
  int64_t zero;
  if (ts_const_value(x->l->an, rest, &zero) && zero == 0) return cond;
  return ts_bin(ir, TS_E_EQ, value, min);
}

// The condition under which init runs: every reduce iterator at its minimum. NULL: always.
static const ts_expr *init_condition(scope *x, const ts_block *b) {
  const ts_expr *cond = NULL;
  for (int i = 0; i < b->niters; i++) {
    if (b->iters[i].kind != TS_ITER_REDUCE) continue;
    cond = ts__guard_and(x->l->ir, cond, at_start(x, plain(x, b->iters[i].value), plain(x, b->iters[i].dom.min)));
  }
  return cond;
}

// A store of a loaded value, to be copied asynchronously (ORDER async copies: the pipeline marked it).
static const ts_stmt *as_copy(ts_ir *ir, const ts_block *b, const ts_stmt *body) {
  const ts_note *note = ts_notes_find(b->notes, "async_copy");
  if (!note || note->i != 2 || body->kind != TS_S_STORE || body->store.value->kind != TS_E_LOAD) return body;
  const ts_expr *two[] = {ts_load(ir, body->store.buf, body->store.idx), body->store.value};
  return ts_eval(ir, ts_effect_call(ir, TS_EFF_ASYNC_COPY, two));
}

static const ts_stmt *lower_block(scope *x, const ts_stmt *s) {
  ts_ir *ir = x->l->ir;
  const ts_block *b = s->block;
  size_t outer = x->map.n;
  const ts_expr *init_cond = b->init ? init_condition(x, b) : NULL;
  ts_subst *iters = ts_new_array(x->l->arena, ts_subst, b->niters);
  for (int i = 0; i < b->niters; i++)
    iters[i] = (ts_subst){b->iters[i].var, ts_simplify(x->l->an, plain(x, b->iters[i].value))};
  for (int i = 0; i < b->niters; i++) ts_vec_push(x->l->arena, &x->map, iters[i]);
  const ts_stmt *body = b->intrin ? ts__lower_intrin(x->l, b) : b->body;
  if (!body) return s;
  const ts_stmt *part[2];
  int n = 0;
  if (b->init) {
    part[n] = lower(x, b->init);
    if (init_cond) part[n] = ts_if(ir, init_cond, part[n], NULL);
    n++;
  }
  part[n++] = lower(x, as_copy(ir, b, body));
  const ts_stmt *r = ts_seq(ir, part, n);
  if (b->predicate) r = ts_if(ir, plain(x, b->predicate), r, NULL);
  x->map.n = outer;
  return r;
}

static const ts_stmt *lower_loop(scope *x, const ts_stmt *s) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  c->loop.min = plain(x, s->loop.min);
  c->loop.extent = plain(x, s->loop.extent);
  size_t mark = ts_analyzer_push(x->l->an);
  ts_bind_stmt(x->l->an, r);
  ts_vec_push(x->l->arena, &x->loops, r);
  c->loop.body = lower(x, s->loop.body);
  x->loops.n--;
  ts_analyzer_pop(x->l->an, mark);
  return r;
}

static const ts_stmt *lower_seq(scope *x, const ts_stmt *s) {
  const ts_stmt **child = ts_new_array(x->l->arena, const ts_stmt *, s->seq.n);
  for (int i = 0; i < s->seq.n; i++) child[i] = lower(x, s->seq.child[i]);
  return ts_seq(x->l->ir, child, s->seq.n);
}

static const ts_stmt *lower(scope *x, const ts_stmt *s) {
  ts_ir *ir = x->l->ir;
  if (x->l->failed) return s;
  switch (s->kind) {
    case TS_S_SEQ:
      return lower_seq(x, s);
    case TS_S_FOR:
      return lower_loop(x, s);
    case TS_S_BLOCK:
      return lower_block(x, s);
    case TS_S_IF:
      return ts_if(ir, plain(x, s->cond.cond), lower(x, s->cond.then), s->cond.other ? lower(x, s->cond.other) : NULL);
    case TS_S_LET:
      return ts_let(ir, s->let.var, plain(x, s->let.value), lower(x, s->let.body));
    case TS_S_ALLOC:
      return ts_alloc(ir, s->alloc.buf, lower(x, s->alloc.body));
    default:
      return ts_stmt_subst(ir, s, x->map.p, (int)x->map.n);
  }
}

const ts_stmt *ts__lower_blocks(ts__lower *l, const ts_stmt *body) {
  scope x = {.l = l};
  return lower(&x, body);
}
