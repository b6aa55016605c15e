// get_loops b -> the loops around b within its scope, outermost first.
#include "schedule/schedule_impl.h"

bool ts__check_get_loops(ts__ctx *c) {
  (void)c;
  return true;
}

bool ts__apply_get_loops(ts__ctx *c) {
  int loops[TS__MAX_DEPTH];
  int n = ts__loops_of(c, c->arg[0].node, loops);
  for (int i = 0; i < n; i++) ts__result(c, 'l', ts__stmt(c, loops[i])->id, 0);
  return true;
}
