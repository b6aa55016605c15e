// get_block "mm" -> the block of that name.
#include "schedule/schedule_impl.h"

// Refuses when no block, or more than one, has the name.
bool ts__check_get_block(ts__ctx *c) {
  int count;
  int at = ts__tree_block(c->t, c->arg[0].s, &count);
  if (count && !ts__is_block(c, at)) count = 0;  // a shell is no block to work with
  if (count == 1) return true;
  ts__refuse(c, TS_R_no_such_block, 0, count ? "{1} blocks are called \"{0}\"" : "no block is called \"{0}\"");
  ts__fact_s(c, c->arg[0].s);
  ts__fact_i(c, count);
  return false;
}

bool ts__apply_get_block(ts__ctx *c) {
  ts__result(c, 'b', ts__stmt(c, ts__tree_block(c->t, c->arg[0].s, NULL))->id, 0);
  return true;
}
