// Conditions move out of the loops that they do not depend on; neighbours with one condition are joined.
#include "codegen/lower.h"

// Splits the conjunction c into the part that uses v or reads memory (*in) and the rest (*out).
static void split(ts_ir *ir, const ts_expr *c, const ts_var *v, const ts_expr **in, const ts_expr **out) {
  if (c->kind == TS_E_AND) {
    split(ir, c->arg[0], v, in, out);
    split(ir, c->arg[1], v, in, out);
  } else if (ts_expr_uses_var(c, v) || ts__has_load(c)) {
    *in = ts__guard_and(ir, *in, c);
  } else {
    *out = ts__guard_and(ir, *out, c);
  }
}

static const ts_stmt *hoist_from_loop(ts_ir *ir, const ts_stmt *s) {
  const ts_stmt *body = s->loop.body;
  if (body->kind != TS_S_IF || body->cond.other) return s;
  const ts_expr *in = NULL, *out = NULL;
  split(ir, body->cond.cond, s->loop.var, &in, &out);
  if (!out) return s;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(ir, s, &c);
  c->loop.body = in ? ts_if(ir, in, body->cond.then, NULL) : body->cond.then;
  return ts_if(ir, out, r, NULL);
}

static bool same_guard(const ts_stmt *a, const ts_stmt *b) {
  return a->kind == TS_S_IF && b->kind == TS_S_IF && a->cond.cond == b->cond.cond && !a->cond.other && !b->cond.other &&
         !ts__has_load(a->cond.cond);
}

static const ts_stmt *join_neighbours(ts__lower *l, const ts_stmt *s) {
  const ts_stmt **child = ts_new_array(l->arena, const ts_stmt *, s->seq.n);
  int n = 0;
  for (int i = 0; i < s->seq.n; i++) {
    const ts_stmt *c = s->seq.child[i];
    if (n && same_guard(child[n - 1], c)) {
      const ts_stmt *both[] = {child[n - 1]->cond.then, c->cond.then};
      child[n - 1] = ts_if(l->ir, c->cond.cond, ts_seq(l->ir, both, 2), NULL);
    } else {
      child[n++] = c;
    }
  }
  return n == s->seq.n ? s : ts_seq(l->ir, child, n);
}

// One condition inside another, when neither has another side.
static const ts_stmt *join_nested(ts_ir *ir, const ts_stmt *s) {
  const ts_stmt *in = s->cond.then;
  if (s->cond.other || in->kind != TS_S_IF || in->cond.other) return s;
  return ts_if(ir, ts__guard_and(ir, s->cond.cond, in->cond.cond), in->cond.then, NULL);
}

static const ts_stmt *hoist(void *arg, const ts_stmt *s) {
  ts__lower *l = arg;
  switch (s->kind) {
    case TS_S_FOR:
      return hoist_from_loop(l->ir, s);
    case TS_S_SEQ:
      return join_neighbours(l, s);
    case TS_S_IF:
      return join_nested(l->ir, s);
    default:
      return s;
  }
}

const ts_stmt *ts__hoist_conditions(ts__lower *l, const ts_stmt *body) {
  return ts_stmt_rewrite(l->ir, body, hoist, NULL, l);
}
