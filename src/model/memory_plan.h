// Places of buffers in one arena so that those in use at the same time do not overlap.
#ifndef TS_MODEL_MEMORY_PLAN_H
#define TS_MODEL_MEMORY_PLAN_H

#include "steps.h"

// offset[b] for every buffer, multiples of 64; returns the bytes of the arena. rows: the most rows in flight.
int64_t ts__memory_plan(const ts__buffers *b, int64_t rows, const ts__step *const step[TS__PHASE__COUNT],
                        const size_t n[TS__PHASE__COUNT], int64_t offset[TS__BUFS]);
// Whether two buffers are in use at the same time.
bool ts__buffers_meet(const ts__buffers *b, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], int x, int y);

#endif
