// unsafe_set_dtype b "t" f16 : alloc t: f32[..] ; t[vi] = e ; .. t[vi] ..
//   -> alloc t: f16[..] ; t[vi] = cast(f16, e) ; .. cast(f32, t[vi]) ..
// The element type of an intermediate buffer changes everywhere. Values are rounded to the new type, so the meaning is
// kept only where they fit it: that is the caller's promise, hence the name.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__ctx *c;
  const ts_buffer *from, *to;
} plan;

bool ts__check_unsafe_set_dtype(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  ts_code code;
  c->plan = p;
  p->c = c;
  if (!ts_code_find(c->arg[2].s, strlen(c->arg[2].s), &code) || code == TS_BOOL) {
    ts__refuse(c, TS_R_bad_argument, 2, "{0} is no type of numbers");
    ts__fact_s(c, c->arg[2].s);
    ts__hint(c, "f32, f16, bf16, i32, u8 ..");
    return false;
  }
  p->from = ts__intermediate_arg(c, "cache_read or cache_write gives an intermediate copy");
  if (!p->from) return false;
  if (p->from->code == TS_BOOL) return ts__refuse(c, TS_R_bad_argument, 1, "a buffer of truth values keeps its type");
  for (int i = 0; i < c->t->n; i++) {
    if (!ts__is_block(c, i) || !ts__block(c, i)->intrin) continue;
    if (!ts__reads(ts__block(c, i), p->from) && !ts__writes(ts__block(c, i), p->from)) continue;
    ts__refuse(c, TS_R_tensorized, 1, "{1} is an operand of the tensorized block {0}");
    ts__fact_node(c, i);
    ts__fact_s(c, p->from->name);
    return false;
  }
  ts_buffer *to = ts_arena_dup(c->a, p->from, sizeof *to);
  to->id = ts_ir_next_id(c->ir);
  to->code = code;
  p->to = to;
  return true;
}

static const ts_expr *cast_load(void *arg, const ts_expr *e) {
  const plan *p = arg;
  if (e->kind != TS_E_LOAD || e->buf != p->from) return e;
  return ts_cast(p->c->ir, ts_scalar(p->from->code), ts_load(p->c->ir, p->to, e->arg));
}

static const ts_stmt *cast_store(void *arg, const ts_stmt *s) {
  const plan *p = arg;
  if (s->kind != TS_S_STORE || s->store.buf != p->from) return s;
  return ts_store(p->c->ir, p->to, s->store.idx, ts_cast(p->c->ir, ts_scalar(p->to->code), s->store.value));
}

bool ts__apply_unsafe_set_dtype(ts__ctx *c) {
  plan *p = c->plan;
  const ts_stmt *body = ts_stmt_rewrite(c->ir, c->f->body, cast_store, cast_load, p);
  c->out = ts__with_body(c, ts__buffer_swap(c, body, p->from, p->to));  // regions and the allocation
  return true;
}
