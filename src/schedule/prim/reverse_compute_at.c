// reverse_compute_at b l : for i { for j { P } } ; for i { for j { b(reads P) } }  with l = the loop i of P
//   -> for i { for j { P } ; for ax { b } }
// In every iteration of l, b consumes what its producers made there. The iterations must cut what the producers write into tiles
// that are final when the iteration ends. Loops of b are made anew.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__move m;
  int at, producer;
  ts_subspace *tile;  // of the producer
  const ts_func *out;
} plan;

// The last block below the loop that writes something b reads.
static bool producer_find(ts__ctx *c, plan *p) {
  const ts_block *b = ts__block(c, p->m.block);
  p->producer = -1;
  for (int i = p->m.loop; i < c->t->node[p->m.loop].end; i++) {
    if (!ts__is_block(c, i) || ts__next_block(c, i, i) >= 0) continue;
    for (int k = 0; k < b->nreads; k++)
      if (ts__writes(ts__block(c, i), b->reads[k].buf) && !ts__writes(b, b->reads[k].buf)) p->producer = i;
  }
  if (p->producer >= 0) return true;
  ts__refuse(c, TS_R_producer_outside, 1, "nothing below loop {1} writes what block {0} reads");
  ts__fact_node(c, p->m.block);
  ts__fact_node(c, p->m.loop);
  return false;
}

// Loops of the scope from the outermost down to the given one.
static int outer_loops(ts__ctx *c, int loop, const ts_stmt **out) {
  int l[TS__MAX_DEPTH];
  int n = ts__loops_of(c, loop, l);
  for (int i = 0; i < n; i++) out[i] = ts__stmt(c, l[i]);
  if (n < TS__MAX_DEPTH) out[n++] = ts__stmt(c, loop);
  return n;
}

// No producer below the loop is still accumulating when the iteration ends.
static bool finals(ts__ctx *c, const plan *p) {
  const ts_block *b = ts__block(c, p->m.block);
  const ts_stmt *outer[TS__MAX_DEPTH];
  int n = outer_loops(c, p->m.loop, outer);
  for (int i = p->m.loop; i < c->t->node[p->m.loop].end; i++) {
    if (!ts__is_block(c, i)) continue;
    const ts_block *w = ts__block(c, i);
    bool writes = false;
    for (int k = 0; k < b->nreads; k++) writes |= ts__writes(w, b->reads[k].buf) && !ts__writes(b, b->reads[k].buf);
    for (int k = 0; writes && k < w->niters; k++)
      for (int l = 0; w->iters[k].kind != TS_ITER_SPATIAL && l < n; l++) {
        if (!ts_expr_uses_var(w->iters[k].value, outer[l]->loop.var)) continue;
        ts__refuse(c, TS_R_feeds_reduction, 1, "loop {0} feeds the reduction of block {1}, which is not finished inside it");
        ts__fact_s(c, outer[l]->loop.var->name);
        ts__fact_node(c, i);
        ts__culprit(c, p->m.loop);
        return false;
      }
  }
  return true;
}

// The tile of each iterator of the producer that one iteration of the loop runs. Guards only cut tiles off: they are left out
// here and come back as the domain of b's iterators.
static bool tiles_find(ts__ctx *c, const plan *p, int producer, ts_subspace *tile) {
  int l[TS__MAX_DEPTH];
  int n = ts__loops_of(c, producer, l), ninner = 0;
  const ts_block *pb = ts__block(c, producer);
  ts_loop_range in[TS__MAX_DEPTH];
  const ts_var *inner[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) {
    const ts_stmt *s = ts__stmt(c, l[i]);
    in[i] = (ts_loop_range){s->loop.var, {s->loop.min, s->loop.extent}};
    if (l[i] > p->m.loop) inner[ninner++] = s->loop.var;
  }
  const ts_expr **bind = ts_new_array(c->a, const ts_expr *, pb->niters);
  for (int i = 0; i < pb->niters; i++) bind[i] = pb->iters[i].value;
  const ts_expr *outer_pred = NULL, *inner_pred = NULL;
  ts_itermap map = {0};
  ts_diag d = {0};
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, n ? l[0] : producer);
  bool ok = ts_itermap_detect(ts__an(c), in, n, bind, pb->niters, NULL, NULL, &map, &d) && map.injective == TS_YES &&
            ts_itermap_divide(ts__an(c), &map, inner, ninner, tile, &outer_pred, &inner_pred, &d);
  ts_analyzer_pop(ts__an(c), mark);
  if (ok) return true;
  ts__refuse(c, TS_R_not_separable, 1, "loop {1} does not cut block {0} into tiles: {2}");
  ts__fact_node(c, producer);
  ts__fact_node(c, p->m.loop);
  ts__fact_s(c, d.message[0] ? ts_arena_strdup(c->a, d.message) : "instances repeat");
  return false;
}

// The region of the buffer that the tile is: each dimension belongs to one iterator of the producer, or is single.
static bool tile_region(ts__ctx *c, int producer, const ts_region *w, const ts_subspace *tile, ts_range *out) {
  const ts_block *pb = ts__block(c, producer);
  ts_analyzer *an = ts__an(c);
  bool *seen = ts_new_array(c->a, bool, pb->niters);
  for (int d = 0; d < w->buf->ndim; d++) {
    int at = -1;
    for (int i = 0; i < pb->niters; i++)
      if (ts_expr_uses_var(w->dim[d].min, pb->iters[i].var)) at = at < 0 ? i : pb->niters;
    int64_t coef = 1;
    const ts_expr *rest = w->dim[d].min;
    bool fits = at < pb->niters;
    if (fits && at >= 0) {
      fits = !seen[at] && ts_linear(an, w->dim[d].min, pb->iters[at].var, &coef, &rest) && coef >= 1 &&
             ts_prove_eq(an, w->dim[d].extent, ts_int(c->ir, coef)) == TS_YES;
      for (int i = 0; fits && i < pb->niters; i++) fits = !ts_expr_uses_var(rest, pb->iters[i].var);
    }
    if (!fits) {
      ts__refuse(c, TS_R_not_invertible, 0, "dimension {2} of {1} is no simple function of one iterator of block {0}");
      ts__fact_node(c, producer);
      ts__fact_s(c, w->buf->name);
      ts__fact_i(c, d);
      return false;
    }
    out[d] = (ts_range){rest, w->dim[d].extent};
    if (at < 0) continue;
    seen[at] = true;
    const ts_expr *k = ts_int(c->ir, coef), *from = ts_mul(c->ir, tile[at].outer, tile[at].inner_extent);
    out[d].min = ts_simplify(an, ts_add(c->ir, rest, ts_mul(c->ir, k, from)));
    out[d].extent = ts_simplify(an, ts_mul(c->ir, k, tile[at].inner_extent));
  }
  return true;
}

// The loops that cut a reduction cut nothing spatial as well, so that for each element the first tile comes first.
static bool cuts_apart(ts__ctx *c, const plan *p) {
  const ts_block *b = ts__block(c, p->m.block);
  const ts_stmt *outer[TS__MAX_DEPTH];
  int n = outer_loops(c, p->m.loop, outer);
  for (int l = 0; l < n; l++) {
    bool s = false, r = false;
    for (int i = 0; i < b->niters; i++) {
      if (!ts_expr_uses_var(p->m.need[i].min, outer[l]->loop.var)) continue;
      if (b->iters[i].kind == TS_ITER_SPATIAL) s = true;
      else r = true;
    }
    if (!s || !r) continue;
    ts__refuse(c, TS_R_feeds_reduction, 1, "loop {0} would cut spatial and reduce iterators of block {1}");
    ts__fact_s(c, outer[l]->loop.var->name);
    ts__fact_node(c, p->m.block);
    ts__culprit(c, p->m.loop);
    return false;
  }
  return true;
}

// Every instance of b reads inside the box, whether or not it reads at all: instances that read nothing of it would meet no tile.
// Dimensions of which the tile is the whole do not tell one tile from another.
static bool reads_inside(ts__ctx *c, int block, const ts_region *read, const ts_region *box, const ts_range *tile) {
  const ts_block *b = ts__block(c, block);
  if (!ts__reads_chosen(b)) return true;
  ts_analyzer *an = ts__an(c);
  size_t mark = ts_analyzer_push(an);
  for (int i = 0; i < b->niters; i++) ts_bind_range(an, b->iters[i].var, b->iters[i].dom);
  bool ok = true;
  for (int d = 0; ok && d < read->buf->ndim; d++) {
    const ts_expr *end = ts_add(c->ir, read->dim[d].min, read->dim[d].extent);
    bool whole = ts_prove_le(an, tile[d].min, ts_int(c->ir, 0)) == TS_YES &&
                 ts_prove_le(an, read->buf->shape[d], ts_add(c->ir, tile[d].min, tile[d].extent)) == TS_YES;
    ok = whole || (ts_prove_le(an, box->dim[d].min, read->dim[d].min) == TS_YES &&
                   ts_prove_le(an, end, ts_add(c->ir, box->dim[d].min, box->dim[d].extent)) == TS_YES);
  }
  ts_analyzer_pop(an, mark);
  return ok;
}

// Where b meets the tile: its iterators' values, cut to their domains. Other iterators run whole. A reduction may be cut: tiles
// are disjoint, what b reads lies in one (inputs_ready), and the first instance comes first, for loops count upwards.
static bool need_find(ts__ctx *c, plan *p, const ts_subspace *tile) {
  const ts_block *b = ts__block(c, p->m.block), *pb = ts__block(c, p->producer);
  ts_analyzer *an = ts__an(c);
  const ts_region *read = NULL, *write = NULL;
  for (int i = 0; i < pb->nwrites; i++)
    for (int k = 0; k < b->nreads; k++)
      if (b->reads[k].buf == pb->writes[i].buf && !read) read = &b->reads[k], write = &pb->writes[i];
  ts_region makes, wants;
  bool all = ts__made_of(c, p->producer, write->buf, &makes) &&
             ts__extent_of(c, p->m.block, write->buf, true, false, &wants) && ts_region_covers(an, makes, wants) == TS_YES;
  ts_range *region = ts_new_array(c->a, ts_range, write->buf->ndim);
  if (all) TS_TRY(tile_region(c, p->producer, write, tile, region));
  if (!all || !reads_inside(c, p->m.block, read, &makes, region)) {
    ts__refuse(c, TS_R_not_covered, 0, "block {0} reads more of {1} than block {2} makes");
    ts__fact_node(c, p->m.block);
    ts__fact_s(c, write->buf->name);
    ts__fact_node(c, p->producer);
    return false;
  }
  p->m.need = ts_new_array(c->a, ts_range, b->niters);
  TS_TRY(ts__invert_region(c, 0, b, read, &(ts_region){read->buf, region}, p->m.need));
  return cuts_apart(c, p) && ts__need_clip(c, 1, p->m.block, p->m.need);
}

// b runs earlier: nothing from the end of its producers to its old place may touch what it writes or change what it reads.
static bool path_free(ts__ctx *c, const plan *p, int from) {
  const ts_block *b = ts__block(c, p->m.block);
  for (int i = 0; i < b->nreads + b->nwrites; i++) {
    bool write = i >= b->nreads;
    const ts_buffer *buf = write ? b->writes[i - b->nreads].buf : b->reads[i].buf;
    // below the loop, and before it in its nest, instances of later iterations count as well: what b writes nobody may touch
    int start = write ? ts__top_child(c, p->m.scope, p->m.loop) : from;
    int w = ts__toucher(c, start, p->m.block, p->m.block, buf, true, write);
    if (w < 0) w = ts__later_use(c, p->m.loop, p->m.block, buf, write);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, 1, "block {0} uses {1} between loop {3} and the nest of block {2}, or in it");
    ts__fact_node(c, w);
    ts__fact_s(c, buf->name);
    ts__fact_node(c, p->m.block);
    ts__fact_node(c, p->m.loop);
    return false;
  }
  return true;
}

// What block w writes of buf in one iteration of the loop. Its instances are all different, so whatever it writes of that tile
// at all it writes in this iteration. False when its loops do not cut it into tiles.
static bool tile_of(ts__ctx *c, const plan *p, int w, const ts_buffer *buf, ts_region *out) {
  const ts_block *b = ts__block(c, w);
  ts_subspace *tile = w == p->producer ? p->tile : ts_new_array(c->a, ts_subspace, b->niters);
  ts_range *dim = ts_new_array(c->a, ts_range, buf->ndim);
  const ts_region *write = ts_regions_find(b->writes, b->nwrites, buf);
  if ((w != p->producer && !tiles_find(c, p, w, tile)) || !tile_region(c, w, write, tile, dim)) return false;
  *out = (ts_region){buf, dim};
  return true;
}

static int last_writer(ts__ctx *c, int loop, const ts_buffer *buf) {
  int last = -1;
  for (int i = loop; i < c->t->node[loop].end; i++)
    if (ts__is_block(c, i) && ts__next_block(c, i, i) < 0 && ts__writes(ts__block(c, i), buf)) last = i;
  return last;
}

// What the moved block reads of buf below the loop is made in the same iteration: inside the tile of its writer, or covered by
// what a statement below the loop writes densely.
static bool input_ready(ts__ctx *c, const plan *p, const ts_buffer *buf) {
  int w = last_writer(c, p->m.loop, buf), body = ts__body_of(c, p->m.loop);
  ts_region read, tile;
  if (w < 0 || !ts_region_of(ts__an(c), p->m.nest, buf, false, NULL, 0, &read)) return true;
  if (tile_of(c, p, w, buf, &tile) && ts_region_covers(ts__an(c), tile, read) == TS_YES) return true;
  bool seq = ts__stmt(c, body)->kind == TS_S_SEQ, covered = false;
  for (int k = seq ? body + 1 : body; k < c->t->node[body].end && !covered; k = c->t->node[k].end)
    covered = ts_region_cover(ts__an(c), ts__stmt(c, k), p->m.nest, buf) == TS_YES;
  return covered;
}

static bool inputs_ready(ts__ctx *c, const plan *p) {
  const ts_block *b = ts__block(c, p->m.block);
  for (int i = 0; i < b->nreads; i++) {
    const ts_buffer *buf = b->reads[i].buf;
    if (ts__writes(b, buf) || input_ready(c, p, buf)) continue;
    ts__refuse(c, TS_R_not_covered, 1, "what block {0} reads of {1} is not provably made in one iteration of loop {2}");
    ts__fact_node(c, p->m.block);
    ts__fact_s(c, buf->name);
    ts__fact_node(c, p->m.loop);
    return false;
  }
  return true;
}

bool ts__check_reverse_compute_at(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  int block = c->arg[0].node;
  TS_TRY(ts__move_begin(c, &p->m, block, c->arg[1].node));
  TS_TRY(ts__runs_once(c, 0, block) && ts__order_free(c, 0, block));
  TS_TRY(producer_find(c, p));
  if (block < p->m.loop) {
    ts__refuse(c, TS_R_loop_position, 1, "block {0} stands before loop {1}");
    ts__fact_node(c, block);
    ts__fact_node(c, p->m.loop);
    return false;
  }
  if (!ts__whole_domain(c, block)) {
    ts__refuse(c, TS_R_not_covered, 0, "block {0} does not provably run over the whole of its domain");
    ts__fact_node(c, block);
    return false;
  }
  TS_TRY(finals(c, p));
  p->tile = ts_new_array(c->a, ts_subspace, ts__block(c, p->producer)->niters);
  TS_TRY(tiles_find(c, p, p->producer, p->tile));
  int child = ts__child_with(c, p->m.loop, p->producer, &p->at);
  p->at++;
  TS_TRY(path_free(c, p, c->t->node[child].end));
  ts__enter_in(c, p->m.loop);
  TS_TRY(need_find(c, p, p->tile));
  ts__move_nest(c, &p->m);
  TS_TRY(inputs_ready(c, p));
  p->out = ts__reinfer(c, ts__move_apply(c, &p->m, p->at));
  return ts__kinds_hold(c, &p->out, p->m.block_id, true);
}

bool ts__apply_reverse_compute_at(ts__ctx *c) {
  c->out = ((plan *)c->plan)->out;
  return true;
}
