// Pieces of new trees.
#include "schedule_impl.h"

const ts_expr *ts__and(ts_ir *ir, const ts_expr *a, const ts_expr *b) {
  if (!a) return b;
  if (!b || a == b) return a;
  return ts_bin(ir, (ts_ekind)TS_E_AND, a, b);
}

const ts_stmt *ts__loop_with(ts__ctx *c, const ts_stmt *loop, const ts_stmt *body) {
  if (loop->loop.body == body) return loop;
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(c->ir, loop, &out);
  out->loop.body = body;
  return r;
}

const ts_stmt *ts__block_with(ts__ctx *c, const ts_stmt *block, const ts_block *b) {
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(c->ir, block, &out);
  out->block = b;
  return r;
}

static const ts_stmt *guarded_seq(ts__ctx *c, const ts_stmt *s, const ts_expr *guard) {
  const ts_stmt **kid = ts_new_array(c->a, const ts_stmt *, s->seq.n);
  for (int i = 0; i < s->seq.n; i++) kid[i] = ts__guarded(c, s->seq.child[i], guard);
  return ts_seq(c->ir, kid, s->seq.n);
}

const ts_stmt *ts__guarded(ts__ctx *c, const ts_stmt *s, const ts_expr *guard) {
  if (!guard) return s;
  if (s->kind == TS_S_FOR) return ts__loop_with(c, s, ts__guarded(c, s->loop.body, guard));
  if (s->kind == TS_S_SEQ) return guarded_seq(c, s, guard);
  if (s->kind != TS_S_BLOCK) return ts_if(c->ir, guard, s, NULL);
  ts_block *b = ts_arena_dup(c->a, s->block, sizeof *b);
  if (ts__is_shell(s)) b->body = ts__guarded(c, b->body, guard);
  else b->predicate = ts__and(c->ir, b->predicate, guard);
  return ts__block_with(c, s, b);
}

// --- substitution -----------------------------------------------------------------------------------------------
// Under loops and blocks the facts of s hold; a bound that uses a replaced variable is rewritten before it becomes a fact.
typedef struct subst {
  ts__ctx *c;
  const ts_subst *m;
  int n;
} subst;

static const ts_expr *se(subst *w, const ts_expr *e) {
  if (!e) return NULL;
  const ts_expr *x = ts_expr_subst(w->c->ir, e, w->m, w->n);
  return x == e ? e : ts_simplify(ts__an(w->c), x);
}

static const ts_stmt *ss(subst *w, const ts_stmt *s);

static const ts_stmt *ss_loop(subst *w, const ts_stmt *s) {
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(w->c->ir, s, &out);
  out->loop.min = se(w, s->loop.min);
  out->loop.extent = se(w, s->loop.extent);
  size_t mark = ts_analyzer_push(ts__an(w->c));
  ts__learn(w->c, r);
  out->loop.body = ss(w, s->loop.body);
  ts_analyzer_pop(ts__an(w->c), mark);
  return r;
}

// Bodies speak of iterators only, but a nested block may be bound to an outer loop.
static const ts_stmt *ss_block(subst *w, const ts_stmt *s) {
  ts_block *b = ts_arena_dup(w->c->a, s->block, sizeof *b);
  if (ts__is_shell(s)) {
    b->body = ss(w, b->body);
    return ts__block_with(w->c, s, b);
  }
  ts_iter *iters = ts_new_array(w->c->a, ts_iter, b->niters);
  for (int i = 0; i < b->niters; i++) {
    iters[i] = b->iters[i];
    iters[i].value = se(w, iters[i].value);
  }
  b->iters = iters;
  if (b->predicate) {
    const ts_expr *p = se(w, b->predicate);
    int64_t v;
    b->predicate = ts_is_int(p, &v) && v ? NULL : p;
  }
  if (b->init) b->init = ts_stmt_subst(w->c->ir, b->init, w->m, w->n);
  b->body = ts_stmt_subst(w->c->ir, b->body, w->m, w->n);
  return ts__block_with(w->c, s, b);
}

static const ts_stmt *ss(subst *w, const ts_stmt *s) {
  if (s->kind == TS_S_FOR) return ss_loop(w, s);
  if (s->kind == TS_S_BLOCK) return ss_block(w, s);
  if (s->kind != TS_S_SEQ) return ts_stmt_subst(w->c->ir, s, w->m, w->n);
  const ts_stmt **kid = ts_new_array(w->c->a, const ts_stmt *, s->seq.n);
  for (int i = 0; i < s->seq.n; i++) kid[i] = ss(w, s->seq.child[i]);
  return ts_seq(w->c->ir, kid, s->seq.n);
}

const ts_stmt *ts__subst_simplify(ts__ctx *c, const ts_stmt *s, const ts_subst *m, int n) {
  return ss(&(subst){.c = c, .m = m, .n = n}, s);
}

const char *ts__fresh_block_name(ts__ctx *c, const char *base) {
  const char *name = base;
  for (int k = 1; ts__tree_block(c->t, name, NULL) >= 0; k++) name = ts_arena_printf(c->a, "%s_%d", base, k);
  return name;
}

// --- annotations ---------------------------------------------------------------------------------------------------
ts_notes ts__notes_of(const ts__ctx *c, int node) {
  const ts_stmt *s = ts__stmt(c, node);
  return s->kind == TS_S_FOR ? s->loop.notes : s->block->notes;
}

bool ts__notes_set(ts__ctx *c, int node, ts_notes notes) {
  const ts_stmt *s = ts__stmt(c, node);
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(c->ir, s, &out);
  if (s->kind == TS_S_FOR) {
    out->loop.notes = notes;
  } else {
    ts_block *b = ts_arena_dup(c->a, s->block, sizeof *b);
    b->notes = notes;
    out->block = b;
  }
  c->out = ts__replace(c, node, r);
  return true;
}
