// get_output_blocks b -> the blocks directly below block b that write a buffer which b does not own, in textual order.
#include "schedule/schedule_impl.h"

bool ts__check_get_output_blocks(ts__ctx *c) {
  (void)c;
  return true;
}

bool ts__apply_get_output_blocks(ts__ctx *c) {
  int top = c->arg[0].node;
  for (int i = ts__next_block(c, top, top); i >= 0; i = ts__next_block(c, top, i)) {
    const ts_block *b = ts__block(c, i);
    bool leaves = false;
    for (int k = 0; k < b->nwrites; k++) {
      int owner = ts__owner(c, b->writes[k].buf);
      leaves |= owner < 0 || !ts__under(c->t, owner, top);
    }
    if (leaves) ts__result(c, 'b', ts__stmt(c, i)->id, 0);
  }
  return true;
}
