// Giving loops their kinds: what parallel, vectorize, unroll and bind share.
#include "schedule_impl.h"

bool ts__kind_free(ts__ctx *c, int loop) {
  const ts_stmt *s = ts__stmt(c, loop);
  if (s->loop.kind == TS_SERIAL) return true;
  ts__refuse(c, TS_R_loop_not_serial, 0, "loop {0} is already {1}");
  ts__fact_node(c, loop);
  ts__fact_s(c, ts_loop_kind_name(s->loop.kind));
  return false;
}

bool ts__kind_constant(ts__ctx *c, int loop) {
  if (ts_is_int(ts__stmt(c, loop)->loop.extent, NULL)) return true;
  ts__refuse(c, TS_R_symbolic, 0, "the extent {1} of loop {0} is not a constant");
  ts__fact_node(c, loop);
  ts__fact_s(c, ts__expr_text(c, ts__stmt(c, loop)->loop.extent));
  ts__hint(c, "split {0} by a constant first");
  return false;
}

bool ts__kind_set(ts__ctx *c, int loop, ts_loop_kind kind, ts_axis axis) {
  ts_stmt *out;
  const ts_stmt *s = ts_stmt_copy(c->ir, ts__stmt(c, loop), &out);
  out->loop.kind = kind;
  out->loop.axis = axis;
  c->out = ts__replace(c, loop, s);
  if (c->nown) c->out = ts__reinfer(c, ts__privatize(c, c->out, s->id, c->own, c->nown));
  return true;
}
