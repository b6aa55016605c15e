// get_child_blocks x -> the blocks below a loop or in a block, without those nested in them, in textual order.
#include "schedule/schedule_impl.h"

bool ts__check_get_child_blocks(ts__ctx *c) {
  (void)c;
  return true;
}

bool ts__apply_get_child_blocks(ts__ctx *c) {
  int top = c->arg[0].node;
  for (int i = ts__next_block(c, top, top); i >= 0; i = ts__next_block(c, top, i)) ts__result(c, 'b', ts__stmt(c, i)->id, 0);
  return true;
}
