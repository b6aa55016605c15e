// Shared by the rules for CPUs and GPUs.
#ifndef TS_SEARCH_RULES_H
#define TS_SEARCH_RULES_H

#include "search/search.h"

enum { TS__MOST_LOOPS = 16, TS__MOST_BLOCKS = 64 };

typedef struct ts__rules {
  ts_sched *s;
  ts_arena *arena;
  const ts_target *target;
  int lanes;  // f32 lanes of a vector
} ts__rules;
typedef struct ts__nest {  // the loops around a block
  ts_rv block;
  int n;
  ts_rv loop[TS__MOST_LOOPS];
  bool reduce[TS__MOST_LOOPS];
  int64_t extent[TS__MOST_LOOPS];  // 0: symbolic
} ts__nest;
// One primitive; false when it refuses, which leaves things as they were.
bool ts__rules_call(ts__rules *r, ts_prim p, const ts_arg *args, int nargs, ts_rv *out);
bool ts__rules_has_reduce(const ts__nest *x);
// GPU (rules_gpu.c): one kernel for the nest. A step that refuses is left out.
void ts__rules_gpu(ts__rules *r, ts__nest *x);
// The trace that the rules make of f, with their own first choices.
void ts__rules_default(ts_arena *a, const ts_func *f, const ts_target *t, const char **text);

#endif
