// unannotate x "key" : removes the annotation.
#include "schedule/schedule_impl.h"

bool ts__check_unannotate(ts__ctx *c) {
  if (ts_notes_find(ts__notes_of(c, c->arg[0].node), c->arg[1].s)) return true;
  ts__refuse(c, TS_R_no_such_key, 1, "{0} has no annotation \"{1}\"");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, c->arg[1].s);
  return false;
}

bool ts__apply_unannotate(ts__ctx *c) {
  return ts__notes_set(c, c->arg[0].node, ts_notes_without(c->a, ts__notes_of(c, c->arg[0].node), c->arg[1].s));
}
