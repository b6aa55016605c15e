// set_scope b "B" "local" : the buffer B that block b accesses moves to another scope, everywhere.
#include "schedule/schedule_impl.h"

bool ts__check_set_scope(ts__ctx *c) {
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  const ts_buffer *buf = ts__buffer_arg(c, 1, ts__block(c, c->arg[0].node), true, true);
  if (!buf) return false;
  c->plan = (void *)buf;
  if (ts__owner(c, buf) >= 0) return true;
  ts__refuse(c, TS_R_not_intermediate, 1, "{0} is a parameter of the function");
  ts__fact_s(c, buf->name);
  ts__hint(c, "cache_read or cache_write gives a copy in another scope");
  return false;
}

bool ts__apply_set_scope(ts__ctx *c) {
  const ts_buffer *buf = c->plan;
  ts_buffer *to = ts_arena_dup(c->a, buf, sizeof *to);
  to->id = ts_ir_next_id(c->ir);
  to->scope = ts_arena_strdup(c->a, c->arg[2].s);
  c->out = ts__with_body(c, ts__buffer_swap(c, c->f->body, buf, to));
  return true;
}
