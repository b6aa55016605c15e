// compute_at b l : for i { B } ; for i { C(reads B) }  with l = the loop of C  ->  for i { for ax { B } ; C }
// b computes, in every iteration of l, what its consumers below l read there: possibly some elements more than once. Ranges cut
// off by a guard become a predicate. Loops of b are made anew; the buffer keeps its full shape (lowering shrinks it).
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__move m;
  int at;
  const ts_func *out;
} plan;

static bool consumers_below(ts__ctx *c, const ts__move *m, const ts_buffer *buf, int *first) {
  *first = -1;
  for (int i = 1; i < c->t->n; i++) {
    if (!ts__is_block(c, i) || ts__under(c->t, i, m->block) || ts__under(c->t, m->block, i) || !ts__reads(ts__block(c, i), buf)) continue;
    if (ts__under(c->t, i, m->loop)) {
      if (*first < 0) *first = i;
      continue;
    }
    if (ts__under(c->t, m->loop, i)) continue;  // a block around the loop reads through what is inside
    ts__refuse(c, TS_R_consumer_outside, 1, "block {1} reads {0} outside loop {2}");
    ts__fact_s(c, buf->name);
    ts__fact_node(c, i);
    ts__fact_node(c, m->loop);
    return false;
  }
  if (*first >= 0) return true;
  ts__refuse(c, TS_R_no_consumers, 1, "nothing below loop {1} reads {0}");
  ts__fact_s(c, buf->name);
  ts__fact_node(c, m->loop);
  return false;
}

// b will run later: nothing between here and there may change what it reads, and its producers must come before.
static bool inputs_stay(ts__ctx *c, const plan *p, int before) {
  const ts_block *b = ts__block(c, p->m.block);
  for (int i = 0; i < b->nreads; i++) {
    if (ts__writes(b, b->reads[i].buf)) continue;
    int w = ts__toucher(c, c->t->node[p->m.block].end, before, p->m.block, b->reads[i].buf, true, false);
    int later = w >= 0 ? w : ts__toucher(c, before, ts__nest_end(c, p->m.block, p->m.loop), p->m.block, b->reads[i].buf, true, false);
    if (later < 0) later = ts__overwriter(c, p->m.block, p->m.loop, b->reads[i].buf);
    if (later < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 1, "block {0} writes {1}, which block {2} reads");
    ts__fact_node(c, later);
    ts__fact_s(c, b->reads[i].buf->name);
    ts__fact_node(c, p->m.block);
    return false;
  }
  return true;
}

// The values of the iterators for which consumers need the output, in terms of the loop and those around it.
static bool need_find(ts__ctx *c, plan *p, const ts_buffer *buf) {
  const ts_block *b = ts__block(c, p->m.block);
  ts_region wanted;
  p->m.need = ts_new_array(c->a, ts_range, b->niters);
  if (!ts_region_of(ts__an(c), ts__stmt(c, p->m.loop)->loop.body, buf, false, NULL, 0, &wanted)) wanted = ts_region_whole(c->ir, buf);
  TS_TRY(ts__invert_region(c, 0, b, &b->writes[0], &wanted, p->m.need));
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind != TS_ITER_SPATIAL) p->m.need[i] = b->iters[i].dom;
  return ts__need_clip(c, 1, p->m.block, p->m.need);
}

// The deepest loop around both the block and the loop it goes to; -1: none in their scope.
static int shared_loop(const ts__ctx *c, const ts__move *m) {
  for (int up = c->t->node[m->block].parent; up >= 0 && up != m->scope; up = c->t->node[up].parent)
    if (ts__is_loop(c, up) && ts__under(c->t, m->loop, up)) return up;
  return -1;
}

// Does the block compute under the loop no more than it did in an iteration of the loops around both?
static bool no_more_than_before(ts__ctx *c, const plan *p, int shared) {
  const ts_block *b = ts__block(c, p->m.block);
  const ts_var *own[TS__MAX_DEPTH];
  int all[TS__MAX_DEPTH], n = ts__loops_of(c, p->m.block, all), nown = 0;
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < n; i++)
    if (ts__under(c->t, all[i], shared) && all[i] != shared) ts__learn(c, ts__stmt(c, all[i])), own[nown++] = ts__stmt(c, all[i])->loop.var;
  bool ok = true;
  for (int i = 0; ok && i < b->niters; i++) {
    const ts_expr *lo, *hi, *last = ts_sub(c->ir, ts_add(c->ir, p->m.need[i].min, p->m.need[i].extent), ts_int(c->ir, 1));
    ok = ts_bound_over(ts__an(c), b->iters[i].value, own, nown, &lo, &hi) && lo && hi && ts_prove_le(ts__an(c), lo, p->m.need[i].min) == TS_YES &&
         ts_prove_le(ts__an(c), last, hi) == TS_YES;
  }
  ts_analyzer_pop(ts__an(c), mark);
  return ok;
}

// Does a statement before node, in a sequence below top, make what the moved block reads of buf?
static bool made_before(ts__ctx *c, const plan *p, int top, int node, const ts_buffer *buf) {
  for (int at = node; at >= 0 && at != top; at = c->t->node[at].parent) {
    int seq = c->t->node[at].parent;
    if (seq < 0 || ts__stmt(c, seq)->kind != TS_S_SEQ) continue;
    for (int k = seq + 1; k < at; k = c->t->node[k].end)
      if (ts_region_cover(ts__an(c), ts__stmt(c, k), p->m.nest, buf) == TS_YES) return true;
  }
  return false;
}

// Producers that stand below the loop, or below loops around it and the block, must have made what b reads there.
static bool inputs_ready(ts__ctx *c, const plan *p, int before) {
  const ts_block *b = ts__block(c, p->m.block);
  int shared = shared_loop(c, &p->m);
  bool more = shared >= 0 && !no_more_than_before(c, p, shared);
  for (int i = 0; i < b->nreads; i++) {
    const ts_buffer *buf = b->reads[i].buf;
    if (ts__writes(b, buf)) continue;
    bool below = ts__toucher(c, p->m.loop, before, p->m.block, buf, true, false) >= 0;
    bool around = !below && more && ts__toucher(c, shared, p->m.loop, p->m.block, buf, true, false) >= 0;
    if (!below && !around) continue;
    if (made_before(c, p, below ? p->m.loop : shared, below ? before : p->m.loop, buf)) continue;
    ts__refuse(c, TS_R_not_covered, 1, "what block {0} reads of {1} is not provably made below loop {2}");
    ts__fact_node(c, p->m.block);
    ts__fact_s(c, buf->name);
    ts__fact_node(c, below ? p->m.loop : shared);
    return false;
  }
  return true;
}

bool ts__check_compute_at(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  int block = c->arg[0].node, first;
  TS_TRY(ts__move_begin(c, &p->m, block, c->arg[1].node));
  const ts_buffer *buf = ts__intermediate_out(c, 0, block);
  if (!buf) return false;
  TS_TRY(ts__complete_or_reduction(c, 0, block) && ts__order_free(c, 0, block));
  TS_TRY(consumers_below(c, &p->m, buf, &first));
  if (block > p->m.loop) {
    ts__refuse(c, TS_R_loop_position, 1, "block {0} stands after loop {1}");
    ts__fact_node(c, block);
    ts__fact_node(c, p->m.loop);
    return false;
  }
  TS_TRY(ts__reductions_whole(c, 0, block));
  if (!ts__total(c, block) && !ts__whole_domain(c, block)) {
    ts__refuse(c, TS_R_not_covered, 0, "block {0} computes only part of its domain and may not be run outside it");
    ts__fact_node(c, block);
    return false;
  }
  int before = ts__child_with(c, p->m.loop, first, &p->at);
  TS_TRY(inputs_stay(c, p, before));
  ts__enter_in(c, p->m.loop);
  TS_TRY(need_find(c, p, buf));
  ts__move_nest(c, &p->m);
  TS_TRY(inputs_ready(c, p, before));
  p->out = ts__reinfer(c, ts__move_apply(c, &p->m, p->at));
  return ts__kinds_hold(c, &p->out, p->m.block_id, true);
}

bool ts__apply_compute_at(ts__ctx *c) {
  c->out = ((plan *)c->plan)->out;
  return true;
}
