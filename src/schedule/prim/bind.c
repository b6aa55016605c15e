// bind i threadIdx.x : for i in 0..32 { B } -> for i in 0..32 thread threadIdx.x { B }
// Iterations must be independent, except that the threads of a block (threadIdx) may share a reduction by a known reducer: each
// keeps a partial result, and these are combined across the threads. No loop around or inside may have the same axis; thread axes have
// constant extents.
#include "schedule/schedule_impl.h"

static bool axis_find(const char *name, ts_axis *out) {
  for (int a = TS_AXIS_NONE + 1; a < TS_AXIS__COUNT; a++) {
    if (strcmp(ts_axis_name((ts_axis)a), name) != 0) continue;
    *out = (ts_axis)a;
    return true;
  }
  return false;
}

static bool axis_taken(ts__ctx *c, int loop, ts_axis axis) {
  for (int i = 0; i < c->t->n; i++) {
    bool related = i != loop && ts__is_loop(c, i) && (ts__under(c->t, i, loop) || ts__under(c->t, loop, i));
    if (!related || ts__stmt(c, i)->loop.axis != axis || axis == TS_VTHREAD) continue;
    ts__refuse(c, TS_R_loop_position, 1, "loop {0} around or inside loop {1} is bound to {2} already");
    ts__fact_node(c, i);
    ts__fact_node(c, loop);
    ts__fact_s(c, ts_axis_name(axis));
    return true;
  }
  return false;
}

bool ts__check_bind(ts__ctx *c) {
  int loop = c->arg[0].node;
  ts_axis axis;
  if (!axis_find(c->arg[1].s, &axis)) {
    ts__refuse(c, TS_R_unknown_axis, 1, "{0} is no thread axis");
    ts__fact_s(c, c->arg[1].s);
    return false;
  }
  bool block_axis = axis == TS_BLOCK_X || axis == TS_BLOCK_Y || axis == TS_BLOCK_Z;
  return ts__kind_free(c, loop) && (block_axis || ts__kind_constant(c, loop)) && !axis_taken(c, loop, axis) && ts__independent_on(c, 0, loop, axis, &c->own, &c->nown);
}

bool ts__apply_bind(ts__ctx *c) {
  ts_axis axis = TS_AXIS_NONE;
  axis_find(c->arg[1].s, &axis);
  return ts__kind_set(c, c->arg[0].node, TS_THREAD, axis);
}
