// vectorize l : for j in 0..16 { B } -> for j in 0..16 vectorize { B }
// Iterations must be independent and their number constant.
#include "schedule/schedule_impl.h"

bool ts__check_vectorize(ts__ctx *c) {
  int loop = c->arg[0].node;
  return ts__kind_free(c, loop) && ts__kind_constant(c, loop) && ts__independent(c, 0, loop, &c->own, &c->nown);
}

bool ts__apply_vectorize(ts__ctx *c) { return ts__kind_set(c, c->arg[0].node, TS_VECTORIZE, TS_AXIS_NONE); }
