// interp_bulk: barriers with phases, and bulk copies that arrive with them. A copy takes the old values away when it
// begins and brings the new ones to the first who has waited for its phase: who reads in between, because a wait or an
// arrival is missing, finds nothing there.
#include <stdlib.h>

#include "ir/interp_impl.h"

void ts__barriers_drop(ts__memory *b) {
  for (int64_t i = 0; b->barrier && i < b->count; i++) free(b->barrier[i].landing);
  free(b->barrier);
  b->barrier = NULL;
}

static ts__barrier *barrier_of(ts__machine *m, const ts__node *n, bool init) {
  ts__memory *b = m->mem[n->slot];
  int64_t at = ts__locate(m, b, n->idx, 0);
  if (at < 0) return NULL;
  if (!b->barrier && !(b->barrier = calloc((size_t)TS_MAX(b->count, 1), sizeof *b->barrier)))
    return ts__fail(m, "out-of-memory", "no memory for barriers"), NULL;
  ts__barrier *r = &b->barrier[at];
  if (!init && !r->arrivals)
    return ts__fail(m, "uninitialised-read", "barrier %lld of '%s' is used before it is initialised", (long long)at,
                    b->buf->name),
           NULL;
  return r;
}

static void init(ts__machine *m, ts__barrier *b, int64_t n) {
  if (b->nlanding > b->ended || (b->arrivals && b->left != b->arrivals)) {
    ts__fail(m, "barrier-in-use", "a barrier is initialised in the middle of a phase");
    return;
  }
  b->arrivals = b->left = n;
  b->phase = 0;
}

// Past the checks for races: it is the barriers that order copies and readers.
static void land(const ts__landing *x) {
  ts__memory *b = x->to;
  ts__pack(b->code, b->data + x->at * ts_code_bytes(b->code), x->i, x->f);
  if (b->written) b->written[x->at] = 1;
}

void ts__barrier_passed(ts__barrier *b) {
  for (size_t i = 0; i < b->ended; i++) land(&b->landing[i]);
  if (!b->ended) return;
  b->nlanding -= b->ended;
  memmove(b->landing, b->landing + b->ended, b->nlanding * sizeof *b->landing);
  b->ended = 0;
}

static void arrive(ts__machine *m, ts__barrier *b) {
  if (--b->left > 0) return;
  ts__barrier_passed(b);
  b->ended = b->nlanding;
  b->left = b->arrivals;
  b->phase++;
  ts__team_yield(m);
}

static bool under_way(ts__machine *m, ts__barrier *b, ts__landing x) {
  if (b->nlanding == b->cap) {
    size_t cap = b->cap ? 2 * b->cap : 64;
    ts__landing *more = realloc(b->landing, cap * sizeof *more);
    if (!more) return ts__fail(m, "out-of-memory", "no memory for bulk copies");
    b->landing = more;
    b->cap = cap;
  }
  b->landing[b->nlanding++] = x;
  return true;
}

static bool copy_element(ts__machine *m, ts__barrier *bar, ts__memory *to, int64_t at, ts__memory *from, int64_t src) {
  ts__landing x = {.to = to, .at = at};
  if (at >= to->count || src >= from->count)
    return ts__fail(m, "out-of-bounds", "a bulk copy from '%s' to '%s' leaves them", from->buf->name, to->buf->name);
  const char *p = ts__element_at(m, from, src);
  if (!p) return false;
  ts__unpack(from->code, p, &x.i, &x.f);
  if (to->written) to->written[at] = 0;
  return under_way(m, bar, x);
}

static void copy(ts__machine *m, ts__barrier *bar, const ts__node *const *args) {
  ts__memory *to = m->mem[args[0]->slot], *from = m->mem[args[1]->slot];
  int64_t dst = ts__locate(m, to, args[0]->idx, 0), src = ts__locate(m, from, args[1]->idx, 0);
  int64_t rows = args[3]->i(m, args[3]), columns = args[4]->i(m, args[4]), stride = args[5]->i(m, args[5]);
  if (to->input) ts__fail(m, "write-to-input", "'%s' is an input", to->buf->name);
  for (int64_t r = 0; r < rows && !m->failed; r++)
    for (int64_t c = 0; c < columns && !m->failed; c++)
      copy_element(m, bar, to, dst + r * columns + c, from, src + r * stride + c);
}

// Blocks are run one by one: of a cluster each sees itself alone.
void ts__run_barrier(ts__machine *m, ts_effect f, const ts__node *const *args) {
  bool first = f == TS_EFF_BARRIER_INIT || f == TS_EFF_BARRIER_INIT_ALL;
  ts__barrier *b = barrier_of(m, args[f == TS_EFF_BULK_COPY ? 2 : 0], first);
  if (!b) return;
  if (first) {
    init(m, b, args[1]->i(m, args[1]));
  } else if (f == TS_EFF_BARRIER_ARRIVE || f == TS_EFF_BARRIER_ARRIVE_ALL) {
    arrive(m, b);
  } else if (f == TS_EFF_BARRIER_WAIT) {
    ts__team_wait_phase(m, b, args[1]->i(m, args[1]));
  } else {
    copy(m, b, args);
  }
}
