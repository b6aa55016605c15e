// loop_partition i [16, _] : for i in 0..100 { B(vi = i) }
//   -> for i_0 in 0..16 { B(vi = i_0) } ; for i_1 in 0..84 { B_p1(vi = i_1 + 16) }
// The range is cut into consecutive pieces of the given lengths; one may be left open, and what the lengths leave over
// is a last piece. The same iterations run in the same order. Guards that a piece always meets disappear from it.
#include "schedule/schedule_impl.h"

enum { MAX_PIECES = 16 };
typedef struct plan {
  int n;
  const ts_expr *from[MAX_PIECES + 1], *extent[MAX_PIECES + 1];
} plan;

static bool lengths_check(ts__ctx *c, int *open, int64_t *sum) {
  const ts__val *f = &c->arg[1];
  *open = -1;
  *sum = 0;
  if (f->n < 1 || f->n > MAX_PIECES) return ts__refuse(c, TS_R_bad_argument, 1, "there must be 1 to 16 pieces");
  for (int i = 0; i < f->n; i++) {
    if (f->open[i] && *open >= 0) return ts__refuse(c, TS_R_bad_argument, 1, "only one length may be left open");
    if (f->open[i])
      *open = i;
    else if (f->ints[i] < 1 || f->ints[i] > INT32_MAX) {
      ts__refuse(c, TS_R_bad_argument, 1, "length {0} is out of range");
      ts__fact_i(c, f->ints[i]);
      return false;
    } else
      *sum += f->ints[i];
  }
  return true;
}

bool ts__check_loop_partition(ts__ctx *c) {
  int open, loop = c->arg[0].node;
  int64_t sum;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(ts__plain_loop(c, 0, loop));
  TS_TRY(lengths_check(c, &open, &sum));
  ts_analyzer *an = ts__an(c);
  ts__enter(c, loop);
  const ts_expr *extent = ts__stmt(c, loop)->loop.extent, *given = ts_int(c->ir, sum);
  if (ts_prove_le(an, given, extent) != TS_YES) {
    ts__refuse(c, TS_R_not_proved, 1,
               "the pieces are {2} iterations long, which extent {0} of loop {1} does not provably reach");
    ts__fact_s(c, ts__expr_text(c, extent));
    ts__fact_node(c, loop);
    ts__fact_i(c, sum);
    return false;
  }
  const ts_expr *rest = ts_simplify(an, ts_sub(c->ir, extent, given)), *at = ts_int(c->ir, 0);
  int n = c->arg[1].n;
  bool more = open < 0 && ts_prove_eq(an, given, extent) != TS_YES;
  for (int i = 0; i < n + more; i++) {
    p->from[p->n] = at;
    p->extent[p->n++] = i == open || i == n ? rest : ts_int(c->ir, c->arg[1].ints[i]);
    at = ts_simplify(an, ts_add(c->ir, at, p->extent[i]));
  }
  return true;
}

typedef struct renamer {
  ts__ctx *c;
  int piece;
} renamer;
static const ts_stmt *renamed(void *arg, const ts_stmt *s) {
  const renamer *w = arg;
  if (s->kind != TS_S_BLOCK) return s;
  ts_block *b = ts_arena_dup(w->c->a, s->block, sizeof *b);
  b->name = ts__fresh_block_name(w->c, ts_arena_printf(w->c->a, "%s_p%d", b->name, w->piece));
  return ts__block_with(w->c, s, b);
}

// A reduction initialises where its reduce iterators start: an update that provably never gets there has no
// initialisation.
static bool starts_never(ts__ctx *c, const ts_block *b) {
  for (int i = 0; i < b->niters; i++) {
    const ts_expr *at_min = ts_bin(c->ir, (ts_ekind)TS_E_EQ, b->iters[i].value, b->iters[i].dom.min);
    if (b->iters[i].kind == TS_ITER_REDUCE && ts_prove(ts__an(c), at_min) == TS_NO) return true;
  }
  return false;
}

static const ts_stmt *without_idle_init(ts__ctx *c, const ts_stmt *s) {
  if (s->kind == TS_S_SEQ) {
    const ts_stmt **kid = ts_new_array(c->a, const ts_stmt *, s->seq.n);
    for (int i = 0; i < s->seq.n; i++) kid[i] = without_idle_init(c, s->seq.child[i]);
    return ts_seq(c->ir, kid, s->seq.n);
  }
  if (s->kind == TS_S_FOR) {
    size_t mark = ts_analyzer_push(ts__an(c));
    ts_bind_stmt(ts__an(c), s);
    const ts_stmt *body = without_idle_init(c, s->loop.body);
    ts_analyzer_pop(ts__an(c), mark);
    return ts__loop_with(c, s, body);
  }
  if (s->kind != TS_S_BLOCK) return s;
  ts_block *b = ts_arena_dup(c->a, s->block, sizeof *b);
  if (ts__is_shell(s))
    b->body = without_idle_init(c, b->body);
  else if (b->init && starts_never(c, b))
    b->init = NULL;
  else
    return s;
  return ts__block_with(c, s, b);
}

// The first piece keeps the blocks and loops that are there; the others are copies.
static const ts_stmt *piece(ts__ctx *c, const plan *p, int i) {
  const ts_stmt *loop = ts__stmt(c, c->arg[0].node);
  const ts_var *v = ts_var_new(c->ir, ts_arena_printf(c->a, "%s_%d", loop->loop.var->name, i), TS_INDEX);
  const ts_stmt *body = loop->loop.body;
  if (i > 0) {
    renamer w = {c, i};
    body = ts_stmt_rewrite(c->ir, ts_stmt_clone(c->ir, body), renamed, NULL, &w);
  }
  size_t mark = ts_analyzer_push(ts__an(c));
  int64_t one;
  if (!ts_is_int(p->extent[i], &one) || one != 1)
    ts_bind_range(ts__an(c), v, (ts_range){ts_int(c->ir, 0), p->extent[i]});
  ts_subst map = {loop->loop.var, ts_simplify(ts__an(c), ts_add(c->ir, p->from[i], ts_evar(c->ir, v)))};
  body = ts__subst_simplify(c, body, &map, 1);
  ts_analyzer_pop(ts__an(c), mark);
  return without_idle_init(c, ts_for(c->ir, v, ts_int(c->ir, 0), p->extent[i], TS_SERIAL, body));
}

bool ts__apply_loop_partition(ts__ctx *c) {
  const plan *p = c->plan;
  const ts_stmt *kid[MAX_PIECES + 1];
  c->keep_units = true;
  for (int i = 0; i < p->n; i++) {
    kid[i] = piece(c, p, i);
    ts__result(c, 'l', kid[i]->id, 0);
  }
  c->out = ts__reinfer(c, ts__replace(c, c->arg[0].node, ts_seq(c->ir, kid, p->n)));
  return true;
}
