// get_producers b -> the other blocks of its scope that write a buffer it reads, in textual order.
#include "schedule/schedule_impl.h"

bool ts__check_get_producers(ts__ctx *c) {
  (void)c;
  return true;
}

bool ts__apply_get_producers(ts__ctx *c) {
  int me = c->arg[0].node, scope = c->t->node[me].scope;
  const ts_block *b = ts__block(c, me);
  if (scope < 0) return true;
  for (int i = ts__next_block(c, scope, scope); i >= 0; i = ts__next_block(c, scope, i)) {
    bool joined = false;
    for (int k = 0; k < b->nreads; k++) joined |= ts__writes(ts__block(c, i), b->reads[k].buf);
    if (joined && i != me) ts__result(c, 'b', ts__stmt(c, i)->id, 0);
  }
  return true;
}
