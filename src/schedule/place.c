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

// Does the block store at distinct iterators, so that an element has one value whenever it is computed?
static bool one_value(ts__ctx *c, int block, const ts_buffer *buf) {
  const ts_block *b = ts__block(c, block);
  const ts_stmt *s = b->body;
  if (s->kind != TS_S_STORE || s->store.buf != buf || b->init || ts__reads(b, buf)) return false;
  int *at = ts_new_array(c->a, int, buf->ndim);
  if (!ts__plain_indices(b, s->store.idx, buf, at)) return false;
  for (int i = 0; i < b->niters; i++) {
    int64_t one;
    bool indexes = ts_is_int(b->iters[i].dom.extent, &one) && one == 1;
    for (int d = 0; d < buf->ndim; d++) indexes |= at[d] == i;
    if (!indexes) return false;
  }
  return true;
}

// Do iterations of the loop touch elements of buf that others write?
static bool carries(ts__ctx *c, int loop, const ts_buffer *buf) {
  TS_VEC(const ts_buffer *) others = {0};
  for (int i = loop; i < c->t->node[loop].end; i++) {
    if (!ts__is_block(c, i)) continue;
    const ts_block *b = ts__block(c, i);
    for (int k = 0; k < b->nreads + b->nwrites; k++) {
      const ts_buffer *o = k < b->nreads ? b->reads[k].buf : b->writes[k - b->nreads].buf;
      if (o != buf) ts_vec_push(c->a, &others, o);
    }
  }
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, loop);
  ts_dep dep = ts_loop_carried(ts__an(c), ts__stmt(c, loop), others.p, (int)others.n);
  ts_analyzer_pop(ts__an(c), mark);
  return dep.answer != TS_NO;
}

int ts__overwriter(ts__ctx *c, int block, int dest, const ts_buffer *buf) {
  int scope = c->t->node[block].scope, top = ts__top_child(c, scope, block), writers = 0;
  for (int i = top; i < c->t->n && i < c->t->node[top].end; i++)
    writers += i != block && ts__is_block(c, i) && !ts__under(c->t, block, i) && ts__writes(ts__block(c, i), buf);
  for (int i = top; writers && i < block; i++) {
    if (!ts__is_block(c, i) || ts__under(c->t, block, i) || !ts__writes(ts__block(c, i), buf)) continue;
    if (writers == 1 && one_value(c, i, buf)) continue;
    for (int up = c->t->node[block].parent; up >= 0 && up != scope; up = c->t->node[up].parent)
      if (ts__is_loop(c, up) && ts__under(c->t, i, up) && !ts__under(c->t, dest, up) && carries(c, up, buf)) return i;
  }
  return -1;
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
