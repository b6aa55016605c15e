// Blocks and loops of a schedule, picked at random, and steps that may be refused.
#ifndef TS_TEST_PICK_H
#define TS_TEST_PICK_H

#include "schedule/schedule.h"

typedef struct names {
  const char *name[64];
  int n;
} names;

static bool see(void *arg, const ts_stmt *s) {
  names *x = arg;
  if (s->kind == TS_S_BLOCK && s->block->niters && x->n < 64) x->name[x->n++] = s->block->name;
  return true;
}

static names blocks_of(ts_sched *s) {
  names x = {.n = 0};
  ts_stmt_visit(ts_sched_func(s)->body, see, NULL, &x);
  return x;
}

// -1: no such block, or several.
static ts_rv block_of(ts_sched *s, const char *name) {
  ts_rv rv = -1;
  int n;
  return ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR(name)), &rv, 1, &n, NULL) ? rv : -1;
}

static ts_rv pick_block(ts_sched *s, ts_rng *r) {
  names x = blocks_of(s);
  return x.n ? block_of(s, x.name[ts_rng_below(r, (uint32_t)x.n)]) : -1;
}

// How many loops a block has, at most 16 of them; 0 when there are more.
static int loops_of(ts_sched *s, ts_rv block, ts_rv all[16]) {
  int n = 0;
  return ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(block)), all, 16, &n, NULL) && n <= 16 ? n : 0;
}

// The primitive on the schedule s; results in out[16], their number in got.
#define CALL(p, ...) (void)ts_sched_call(s, TS_P_##p, TS_ARGS(__VA_ARGS__), out, 16, &got, NULL)

#endif
