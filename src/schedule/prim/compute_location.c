// compute_location b v : what sample_compute_location decided: v = -1 leaves b alone, -2 is compute_inline b, k >= 0 is
// compute_at b l with the k-th loop l (outermost first) around the first consumer of b.
#include "schedule/schedule_impl.h"

bool ts__check_compute_location(ts__ctx *c) {
  int loops[TS__MAX_DEPTH];
  int n = ts__place_loops(c, c->arg[0].node, loops);
  const ts_func *f = c->f;
  ts_refusal why = {0};
  if (ts__place_try(c, c->arg[0].node, c->arg[1].i, &f, &why)) {
    c->plan = (void *)f;
    return true;
  }
  if (why.code != TS_R_none) {  // as the primitive that it stands for says it
    *c->r = why;
    return false;
  }
  ts__refuse(c, TS_R_bad_argument, 1,
             "place {1} of block {0} is not -2, -1 or one of the {2} loops of its first consumer");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_i(c, c->arg[1].i);
  ts__fact_i(c, n);
  return false;
}

bool ts__apply_compute_location(ts__ctx *c) {
  c->out = c->plan;
  return true;
}
