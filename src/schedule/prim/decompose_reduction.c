// decompose_reduction b k : for k { for j { b: init C[vj] = 0 ; C[vj] += A[vk, vj] } }
//   -> for j { b_init: C[vj] = 0 } ; for k { for j { b: C[vj] += A[vk, vj] } }
// The initialisation stands before loop k, in copies of the loops from k on that feed spatial iterators (with their kinds).
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n, loops[TS__MAX_DEPTH];   // from the given loop to the block
  const ts_expr *pred;
} plan;

static bool outer_spatial(ts__ctx *c, const int *loops, int n) {
  for (int i = 0; i < n; i++) {
    bool s, r;
    ts__feeds(c, c->arg[0].node, loops[i], &s, &r);
    if (!r) continue;
    ts__refuse(c, TS_R_loop_position, 1, "loop {0}, outside loop {1}, feeds the reduction of block {2}");
    ts__fact_node(c, loops[i]);
    ts__fact_node(c, c->arg[1].node);
    ts__fact_node(c, c->arg[0].node);
    ts__hint(c, "take loop {0}, or one outside it");
    return false;
  }
  return true;
}

static bool others_later(ts__ctx *c) {
  int me = c->arg[0].node, loop = c->arg[1].node;
  const ts_block *b = ts__block(c, me);
  for (int i = 0; i < b->nwrites; i++) {
    int w = ts__toucher(c, loop, me, me, b->writes[i].buf, true, true);
    if (w < 0) w = ts__toucher(c, c->t->node[me].end, c->t->node[loop].end, me, b->writes[i].buf, true, false);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 1, "block {0} uses {1} inside loop {2}");
    ts__fact_node(c, w);
    ts__fact_s(c, b->writes[i].buf->name);
    ts__fact_node(c, loop);
    return false;
  }
  return true;
}

typedef struct reader {
  ts__ctx *c;
  bool ok;
} reader;

static bool see_load(void *arg, const ts_expr *e) {
  reader *r = arg;
  if (!r->ok || e->kind != TS_E_LOAD) return r->ok;
  int me = r->c->arg[0].node, loop = r->c->arg[1].node;
  int w = ts__toucher(r->c, loop, r->c->t->node[loop].end, me, e->buf, true, false);
  r->ok = w < 0;
  if (r->ok) return true;
  ts__refuse(r->c, TS_R_carried_dependence, 1, "block {0} writes {1}, which the initialisation reads, inside loop {2}");
  ts__fact_node(r->c, w);
  ts__fact_s(r->c, e->buf->name);
  ts__fact_node(r->c, loop);
  return false;
}

// What the initialisation reads is there before the loop.
static bool inputs_there(ts__ctx *c) {
  reader r = {c, true};
  ts_stmt_visit(ts__block(c, c->arg[0].node)->init, NULL, see_load, &r);
  return r.ok;
}

// The first of the iterations that reduce is the first instance of the domain: only that one initialises.
static bool starts_at_first(ts__ctx *c, const plan *p) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  ts_subst m[TS__MAX_DEPTH];
  for (int i = 0; i < p->n; i++) m[i] = (ts_subst){ts__stmt(c, p->loops[i])->loop.var, ts__stmt(c, p->loops[i])->loop.min};
  for (int i = 0; i < b->niters; i++) {
    const ts_expr *first = ts_expr_subst(c->ir, b->iters[i].value, m, p->n);
    if (b->iters[i].kind == TS_ITER_SPATIAL || ts_prove_eq(ts__an(c), first, b->iters[i].dom.min) == TS_YES) continue;
    ts__refuse(c, TS_R_not_proved, 0, "the loops of block {0} do not provably start where its reduction does, at {1} = {2}");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, b->iters[i].var->name);
    ts__fact_s(c, ts__expr_text(c, b->iters[i].dom.min));
    return false;
  }
  return true;
}

bool ts__check_decompose_reduction(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  int block = c->arg[0].node, loop = c->arg[1].node, all[TS__MAX_DEPTH];
  if (!ts__block(c, block)->init || !ts_block_is_reduction(ts__an(c), ts__block(c, block))) {
    ts__refuse(c, TS_R_not_reduction, 0, "block {0} is not a reduction with an initialisation");
    ts__fact_node(c, block);
    return false;
  }
  if (!ts__under(c->t, block, loop) || c->t->node[loop].scope != c->t->node[block].scope) {
    ts__refuse(c, TS_R_not_ancestor, 1, "loop {1} does not enclose block {0}");
    ts__fact_node(c, block);
    ts__fact_node(c, loop);
    return false;
  }
  int n = ts__loops_of(c, block, all), outer = 0;
  while (all[outer] != loop) outer++;
  p->n = n - outer;
  memcpy(p->loops, all + outer, sizeof(int) * (size_t)p->n);
  TS_TRY(outer_spatial(c, all, outer));
  TS_TRY(ts__feeds_apart(c, 0, block, p->loops, p->n));
  TS_TRY(starts_at_first(c, p));
  TS_TRY(ts__instances_once(c, 0, block));
  TS_TRY(others_later(c));
  TS_TRY(inputs_there(c));
  int drop[TS__MAX_DEPTH], ndrop = 0;
  for (int i = 0; i < p->n; i++) {
    bool s, r;
    ts__feeds(c, block, p->loops[i], &s, &r);
    if (!s) drop[ndrop++] = p->loops[i];
  }
  TS_TRY(ts__reduces_something(c, 1, block, p->loops, p->n));
  ts__enter(c, block);
  return ts__predicate_cut(c, 0, block, ts__block(c, block)->predicate, drop, ndrop, &p->pred);
}

bool ts__apply_decompose_reduction(ts__ctx *c) {
  const plan *p = c->plan;
  int block = c->arg[0].node, loop = c->arg[1].node;
  const ts_block *b = ts__block(c, block);
  uint32_t id;
  const char *name = ts__fresh_block_name(c, ts_arena_printf(c->a, "%s_init", b->name));
  const ts_stmt *init = ts__init_nest(c, block, p->loops, p->n, p->pred, name, &id);
  ts_block *update = ts_arena_dup(c->a, b, sizeof *b);
  update->init = NULL;
  uint32_t loop_id = ts__stmt(c, loop)->id;
  const ts_func *f = ts__replace(c, block, ts__block_with(c, ts__stmt(c, block), update));
  c->out = ts__reinfer(c, ts__beside(c, f, loop_id, init, false));
  ts__result(c, 'b', id, 0);
  return true;
}
