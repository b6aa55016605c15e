// set_scope b "B" "local" : the buffer B that block b accesses moves to another scope, everywhere.
#include "schedule/schedule_impl.h"

bool ts__check_set_scope(ts__ctx *c) {
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  c->plan = (void *)ts__intermediate_arg(c, "cache_read or cache_write gives a copy in another scope");
  return c->plan != NULL;
}

bool ts__apply_set_scope(ts__ctx *c) {
  const ts_buffer *buf = c->plan;
  ts_buffer *to = ts_arena_dup(c->a, buf, sizeof *to);
  to->id = ts_ir_next_id(c->ir);
  to->scope = ts_arena_strdup(c->a, c->arg[2].s);
  c->out = ts__with_body(c, ts__buffer_swap(c, c->f->body, buf, to));
  return true;
}
