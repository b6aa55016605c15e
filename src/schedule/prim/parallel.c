// parallel l : for i in 0..64 { B } -> for i in 0..64 parallel { B }
// Iterations must be independent; buffers that belong to one iteration do not count.
#include "schedule/schedule_impl.h"

bool ts__check_parallel(ts__ctx *c) {
  return ts__kind_free(c, c->arg[0].node) && ts__independent(c, 0, c->arg[0].node, &c->own, &c->nown);
}

bool ts__apply_parallel(ts__ctx *c) { return ts__kind_set(c, c->arg[0].node, TS_PARALLEL, TS_AXIS_NONE); }
