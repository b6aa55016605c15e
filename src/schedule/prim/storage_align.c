// storage_align b "t" 0 32 8 : alloc t: f32[16, 64] shared  ->  alloc t: f32[16, 64] strides(72, 1) shared
// Pads an intermediate buffer so that the stride of a dimension is a multiple of factor, plus offset: rows then start
// in different banks. Indices stay as they are.
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

// Padded strides, innermost first. Rounding up a stride keeps the elements of a dimension apart.
static const ts_expr **strides(ts__ctx *c, const ts_buffer *b, int64_t axis) {
  ts_analyzer *an = ts__an(c);
  const ts_expr **s = ts_new_array(c->a, const ts_expr *, b->ndim), *factor = ts_int(c->ir, c->arg[3].i);
  s[b->ndim - 1] = ts_int(c->ir, 1);
  for (int d = b->ndim - 2; d >= 0; d--) {
    s[d] = ts_mul(c->ir, b->shape[d + 1], s[d + 1]);
    if (d == axis) {
      const ts_expr *short_by =
          ts_bin(c->ir, (ts_ekind)TS_E_FLOORMOD, ts_sub(c->ir, ts_int(c->ir, c->arg[4].i), s[d]), factor);
      s[d] = ts_add(c->ir, s[d], short_by);
    }
    s[d] = ts_simplify(an, s[d]);
  }
  return s;
}

bool ts__check_storage_align(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int64_t axis;
  c->plan = p;
  p->from = ts__buffer_arg(c, 1, ts__block(c, c->arg[0].node), true, true);
  if (!p->from) return false;
  if (ts__owner(c, p->from) < 0) {
    ts__refuse(c, TS_R_not_intermediate, 1, "{0} is a parameter of the function");
    ts__fact_s(c, p->from->name);
    ts__hint(c, "cache_read or cache_write gives an intermediate copy");
    return false;
  }
  TS_TRY(numbers_check(c, p->from, &axis));
  if (p->from->stride) {
    ts__refuse(c, TS_R_bad_argument, 1, "{0} has strides already");
    ts__fact_s(c, p->from->name);
    return false;
  }
  ts_buffer *to = ts_arena_dup(c->a, p->from, sizeof *to);
  to->id = ts_ir_next_id(c->ir);
  to->stride = strides(c, p->from, axis);
  p->to = to;
  return true;
}

bool ts__apply_storage_align(ts__ctx *c) {
  const plan *p = c->plan;
  c->out = ts__with_body(c, ts__buffer_swap(c, c->f->body, p->from, p->to));
  return true;
}
