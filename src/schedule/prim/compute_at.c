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

// Producers that already stand below the loop must have made what b reads there.
static bool inputs_ready(ts__ctx *c, const plan *p, int before) {
  const ts_block *b = ts__block(c, p->m.block);
  for (int i = 0; i < b->nreads; i++) {
    const ts_buffer *buf = b->reads[i].buf;
    if (ts__writes(b, buf) || ts__toucher(c, p->m.loop, before, p->m.block, buf, true, false) < 0) continue;
    bool covered = false;
    int body = ts__body_of(c, p->m.loop);
    if (ts__stmt(c, body)->kind == TS_S_SEQ)
      for (int k = body + 1; k < before && !covered; k = c->t->node[k].end)
        covered = ts_region_cover(ts__an(c), ts__stmt(c, k), p->m.nest, buf) == TS_YES;
    if (covered) continue;
    ts__refuse(c, TS_R_not_covered, 1, "what block {0} reads of {1} is not provably made below loop {2}");
    ts__fact_node(c, p->m.block);
    ts__fact_s(c, buf->name);
    ts__fact_node(c, p->m.loop);
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
