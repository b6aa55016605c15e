// unroll l : for k in 0..4 { B } -> for k in 0..4 unroll { B }
// The number of iterations must be constant.
#include "schedule/schedule_impl.h"

bool ts__check_unroll(ts__ctx *c) {
  return ts__kind_free(c, c->arg[0].node) && ts__kind_constant(c, c->arg[0].node);
}

bool ts__apply_unroll(ts__ctx *c) { return ts__kind_set(c, c->arg[0].node, TS_UNROLL, TS_AXIS_NONE); }
