// Random small programs for the differential fuzzing of schedules.
#ifndef TS_TESTS_SCHEDULE_PROGRAM_H
#define TS_TESTS_SCHEDULE_PROGRAM_H

#include "base/base.h"

// The text of a function: a chain of stages drawn from elementwise operations, stencils, transposes, reversals, row reductions,
// broadcasts, matrix products, dequantization, gathers, updates in place, slices and halves, reductions of several
// values, borders, sums with something added.
void program_write(ts_text *out, ts_rng *r);

#endif
