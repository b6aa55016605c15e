// What the tests of schedules share: running functions on random data, comparing, and the checks after every step.
#ifndef TS_TESTS_SCHEDULE_HARNESS_H
#define TS_TESTS_SCHEDULE_HARNESS_H

#include "schedule/schedule.h"

typedef struct run_data {  // arguments of one run, filled with random values
  int n;
  ts_array **args;
  int64_t dims[8];
} run_data;

// Values for the symbolic dimensions: the which-th small choice that the facts allow.
void dims_choose(const ts_func *f, int which, int64_t *dims);
// Arrays for every parameter; inputs random (small dyadic numbers), outputs poisoned. False when a shape is too large.
bool data_make(ts_arena *a, const ts_func *f, const int64_t *dims, uint64_t seed, run_data *out);
// NULL when two runs of f left the same values: exactly, floats within a relative error of the largest.
const char *data_differs(ts_arena *a, const ts_func *f, const run_data *want, const run_data *got);
// Runs both functions on the same data; NULL when the outputs agree, else what differs (in the arena).
const char *meaning_differs(ts_arena *a, const ts_func *f, const ts_func *g, int which, uint64_t seed);
// After a successful step: verified, text round trip, trace round trip, replay and replay of the simplified trace give the same function. NULL, or the complaint.
const char *state_complaint(ts_arena *a, const ts_func *start, const ts_sched *s);
// A hash over all that a refusal must leave alone.
uint64_t state_hash(const ts_sched *s);

#endif
