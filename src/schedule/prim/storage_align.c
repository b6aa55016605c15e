// storage_align b "t" 0 32 8 : alloc t: f32[16, 64] shared  ->  alloc t: f32[16, 64] strides(72, 1) skew(0, 32, 8) shared
// Pads an intermediate buffer so that the stride of a dimension is a multiple of factor, plus offset: rows then start
// in different banks. Indices stay as they are. Lowering keeps the skew when it shrinks the buffer.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_buffer *from, *to;
} plan;

static bool numbers_check(ts__ctx *c, const ts_buffer *b, int64_t *axis) {
  *axis = c->arg[2].i < 0 ? c->arg[2].i + b->ndim : c->arg[2].i;
  if (*axis < 0 || *axis >= b->ndim - 1) {
    ts__refuse(c, TS_R_bad_argument, 2, "{0} has no dimension {1} before its last one");
    ts__fact_s(c, b->name);
    ts__fact_i(c, c->arg[2].i);
    return false;
  }
  if (c->arg[3].i < 1 || c->arg[3].i > INT32_MAX)
    return ts__refuse(c, TS_R_bad_argument, 3, "the factor must be at least 1");
  if (c->arg[4].i < 0 || c->arg[4].i >= c->arg[3].i)
    return ts__refuse(c, TS_R_bad_argument, 4, "the offset must be less than the factor");
  return true;
}

bool ts__check_storage_align(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int64_t axis;
  c->plan = p;
  p->from = ts__intermediate_arg(c, "cache_read or cache_write gives an intermediate copy");
  if (!p->from) return false;
  TS_TRY(numbers_check(c, p->from, &axis));
  if (p->from->stride) {
    ts__refuse(c, TS_R_bad_argument, 1, "{0} has strides already");
    ts__fact_s(c, p->from->name);
    return false;
  }
  ts_buffer *to = ts_arena_dup(c->a, p->from, sizeof *to);
  to->id = ts_ir_next_id(c->ir);
  to->skew.axis = (int)axis;
  to->skew.factor = (int)c->arg[3].i;
  to->skew.offset = (int)c->arg[4].i;
  ts_buffer_skew(c->ir, to);
  const ts_expr **stride = ts_new_array(c->a, const ts_expr *, to->ndim);
  for (int d = 0; d < to->ndim; d++) stride[d] = ts_simplify(ts__an(c), to->stride[d]);
  to->stride = stride;
  p->to = to;
  return true;
}

bool ts__apply_storage_align(ts__ctx *c) {
  const plan *p = c->plan;
  c->out = ts__with_body(c, ts__buffer_swap(c, c->f->body, p->from, p->to));
  return true;
}
