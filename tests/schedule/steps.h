// Random steps for the differential fuzzing of schedules.
#ifndef TS_TESTS_SCHEDULE_STEPS_H
#define TS_TESTS_SCHEDULE_STEPS_H

#include "schedule/schedule.h"

// Draws a primitive and arguments of which it has a chance, and calls it after the look-ups that it needs; some
// primitives come with others that lead to them. threads: loops may be bound to axes of a GPU, which no CPU can run.
// True when the last call applied; else the schedule holds its refusal, or nothing was called.
bool step_draw(ts_sched *s, ts_rng *r, bool threads);

#endif
