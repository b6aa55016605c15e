// What compute_inline and reverse_compute_inline share: blocks that are one store.
#include "schedule_impl.h"

const ts_stmt *ts__single_store(ts__ctx *c, int arg, int block) {
  const ts_stmt *s = ts__block(c, block)->body;
  if (s->kind == TS_S_STORE && !ts__block(c, block)->intrin) return s;
  ts__refuse(c, TS_R_body_shape, arg, "the body of block {0} is not a single store");
  ts__fact_node(c, block);
  return NULL;
}

bool ts__plain_indices(const ts_block *b, const ts_expr *const *idx, const ts_buffer *buf, int *at) {
  for (int d = 0; d < buf->ndim; d++) {
    at[d] = -1;
    int64_t zero;
    if (ts_is_int(idx[d], &zero) && zero == 0) continue;
    for (int i = 0; i < b->niters && at[d] < 0; i++)
      if (idx[d]->kind == TS_E_VAR && idx[d]->var == b->iters[i].var) at[d] = i;
    if (at[d] < 0) return false;
    for (int e = 0; e < d; e++)
      if (at[e] == at[d]) return false;
  }
  return true;
}

bool ts__no_writer_between(ts__ctx *c, int arg, int first, int last, const ts_block *b, int skip) {
  for (int i = 0; i < b->nreads; i++) {
    int w = ts__toucher(c, first, last, skip, b->reads[i].buf, true, false);
    if (w < 0) continue;
    ts__refuse(c, TS_R_carried_dependence, arg, "block {0} writes {1} before the value of block {2} is used");
    ts__fact_node(c, w);
    ts__fact_s(c, b->reads[i].buf->name);
    ts__fact_s(c, b->name);
    return false;
  }
  return true;
}
