// The executions of a function as integer sets of isl: what an independent checker knows of it. Only affine functions
// have one.
#ifndef TS_TESTS_SCHEDULE_POLY_H
#define TS_TESTS_SCHEDULE_POLY_H

#include <isl/ctx.h>
#include <isl/flow.h>
#include <isl/map.h>
#include <isl/set.h>
#include <isl/union_map.h>
#include <isl/union_set.h>

#include "schedule/schedule.h"

enum { POLY_TIME = 19 };  // numbers of a point in time: place in a sequence and loop value, in turn
typedef struct poly {
  isl_union_map *inst;   // T[time] -> block[iterators]
  isl_union_map *group;  // T[time] -> block[spatial iterators]
  isl_union_map *reads;  // T[time] -> buffer[index], without what a reduction reads of its own result
  isl_union_map *writes;
  isl_union_map *reduces;  // the writes of reductions
} poly;
// False when the function is not affine, or nests too deep. Outputs are read at the end, by T[1000000, 0 ..] -> end[].
bool poly_make(isl_ctx *ctx, ts_ir *ir, const ts_func *f, poly *out);
void poly_free(poly *p);

// Pairs of times, the first before the second, of p's executions.
isl_union_map *poly_before(const poly *p);
// Pairs of times that touch a common element, at least one writing, in their order.
isl_union_map *poly_conflicts(const poly *p);
// writer's group -> [reader's group -> element], and the reads without a writer.
bool poly_flow(isl_ctx *ctx, const poly *p, isl_union_map **flow, isl_union_map **without);
// Pairs of times in one run of the loop's surroundings, in different iterations of the loop. NULL when it is not in the
// function.
isl_union_map *poly_across(isl_ctx *ctx, const ts_func *f, const ts_stmt *loop);

#endif
