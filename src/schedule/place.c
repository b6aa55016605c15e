// Places for a producer: what sample_compute_location and compute_location share.
#include "schedule_impl.h"

// The first block after node, in its scope, that reads what it writes; -1: none.
static int consumer(const ts__ctx *c, int block) {
  const ts_block *b = ts__block(c, block);
  int scope = c->t->node[block].scope;
  if (scope < 0) return -1;
  for (int i = ts__next_block(c, scope, scope); i >= 0; i = ts__next_block(c, scope, i))
    for (int k = 0; k < b->nwrites; k++)
      if (i > block && ts__reads(ts__block(c, i), b->writes[k].buf)) return i;
  return -1;
}

int ts__place_loops(const ts__ctx *c, int block, int *out) {
  int at = consumer(c, block);
  return at < 0 ? 0 : ts__loops_of(c, at, out);
}

// A context of its own for another primitive's check: refusals and knowledge stay apart.
static ts__ctx other(ts__ctx *c, ts_prim p, ts_refusal *r, int block, int loop) {
  ts__ctx x = *c;
  *r = (ts_refusal){0};
  x.prim = p;
  x.r = r;
  x.an = NULL;
  x.nown = 0;
  memset(x.arg, 0, sizeof x.arg);
  x.arg[0] = (ts__val){.given = true, .node = block};
  x.arg[1] = (ts__val){.given = loop >= 0, .node = loop};
  return x;
}

bool ts__place_try(ts__ctx *c, int block, int64_t where, const ts_func **out, ts_refusal *why) {
  int loops[TS__MAX_DEPTH];
  int n = ts__place_loops(c, block, loops);
  if (where == TS__PLACE_STAY) return true;
  if (where < TS__PLACE_INLINE || where >= n) return false;
  bool in = where == TS__PLACE_INLINE;
  ts__ctx x = other(c, in ? TS_P_compute_inline : TS_P_compute_at, why, block, in ? -1 : loops[where]);
  bool ok = in ? ts__check_compute_inline(&x) : ts__check_compute_at(&x);
  if (ok && out) {
    ok = in ? ts__apply_compute_inline(&x) : ts__apply_compute_at(&x);
    *out = x.out;
  }
  ts_analyzer_free(x.an);
  return ok;
}
