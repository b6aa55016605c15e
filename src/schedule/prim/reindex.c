// reindex b "A" : C[vi, vj] += A[vi * 2 + vk] * B[vk, vj]
//   -> for i { for k { A_reindex[vi, vk] = A[vi * 2 + vk] } } ; C[vi, vj] += A_reindex[vi, vk] * B[vk, vj]
// A copy of the buffer has one dimension for each iterator of b that indexes it. What b writes is written to the copy
// and from there to the buffer, after the nest. The buffer must be accessed at one element, always by the same indices.
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__reindex x;
  bool write;
} plan;

bool ts__check_reindex(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  const ts_block *b = ts__block(c, c->arg[0].node);
  p->x.buf = ts__buffer_arg(c, 1, b, true, c->arg[1].s != NULL);
  if (!p->x.buf) return false;
  p->write = ts__writes(b, p->x.buf);
  return ts__reindex_check(c, 1, p->write, p->x.buf->scope, NULL, &p->x);
}

bool ts__apply_reindex(ts__ctx *c) {
  const plan *p = c->plan;
  return ts__reindex_apply(c, p->write, &p->x);
}
