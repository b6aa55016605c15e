// Places for a block: what may happen between the old one and the new one, and places for a producer.
#include "schedule_impl.h"

// --- later in the nest
// ---------------------------------------------------------------------------------------------------
int ts__nest_end(const ts__ctx *c, int apart, int node) {
  while (!ts__under(c->t, apart, c->t->node[node].parent)) node = c->t->node[node].parent;
  return c->t->node[node].end;
}

// May a read of buf find there what was written before node runs for the first time? In a loop, and in what is given.
static bool has_past(const ts__ctx *c, int node, const ts_buffer *buf) {
  for (int i = 0; i < c->f->nparams; i++)
    if (c->f->params[i].buf == buf && c->f->params[i].role != TS_OUT) return true;
  for (int up = c->t->node[node].parent; up >= 0; up = c->t->node[up].parent)
    if (ts__is_loop(c, up)) return true;
  return false;
}

int ts__later_use(ts__ctx *c, int apart, int block, const ts_buffer *buf, bool write) {
  int end = ts__nest_end(c, apart, block), top = block;
  while (c->t->node[top].end != end || !ts__under(c->t, apart, c->t->node[top].parent)) top = c->t->node[top].parent;
  if (top == block) return -1;
  return ts__toucher(c, c->t->node[block].end, end, block, buf, true, write && has_past(c, top, buf));
}

// --- places for a producer
// ---------------------------------------------------------------------------------------------------

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
    c->stale |= x.stale;
  }
  ts_analyzer_free(x.an);
  return ok;
}
