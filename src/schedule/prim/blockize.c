// blockize l : for io { for ii { B(vi = io * 16 + ii) } }  with l = ii
//   -> for io { B_o(vi_o = io) { for ii { B(vi = vi_o * 16 + ii) } } }
// The loops from l down must be a plain nest around one block, and its bindings must divide into an outer and an inner part.
#include "schedule/schedule_impl.h"

bool ts__check_blockize(ts__ctx *c) {
  ts__blockized *z = ts_new(c->a, ts__blockized);
  c->plan = z;
  return ts__blockize(c, 0, c->arg[0].node, z);
}

bool ts__apply_blockize(ts__ctx *c) {
  const ts__blockized *z = c->plan;
  ts__result(c, 'b', z->made->id, 0);
  c->out = ts__reinfer(c, ts__replace(c, z->top, z->made));
  return true;
}
