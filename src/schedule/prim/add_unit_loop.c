// add_unit_loop b : B(...) -> for u in 0..1 { B(...) }
#include "schedule/schedule_impl.h"

bool ts__check_add_unit_loop(ts__ctx *c) {
  if (c->t->node[c->arg[0].node].parent >= 0) return true;
  ts__refuse(c, TS_R_loop_position, 0, "block {0} is the root of the function");
  ts__fact_node(c, c->arg[0].node);
  return false;
}

bool ts__apply_add_unit_loop(ts__ctx *c) {
  int node = c->arg[0].node;
  const ts_stmt *u = ts_for(c->ir, ts_var_new(c->ir, "u", TS_INDEX), ts_int(c->ir, 0), ts_int(c->ir, 1), TS_SERIAL, ts__stmt(c, node));
  ts__result(c, 'l', u->id, 0);
  c->out = ts__replace(c, node, u);
  return true;
}
