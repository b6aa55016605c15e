// codegen, inside: what one kernel asks of a GPU, and the limits that it is held against. Before lowering (early.c) all numbers are bounds from
// below, after it (lower_gpu_check.c) they are what the code will have.
#ifndef TS_CODEGEN_GPU_NEED_H
#define TS_CODEGEN_GPU_NEED_H

#include "codegen/codegen_impl.h"

typedef struct ts__need {
  const ts_func *f;
  const ts_target *t;
  ts_gpu_use *use;  // what all kernels so far ask for
  ts_diag *d;
  bool failed, least;                // refused; numbers are bounds from below
  int64_t extent[TS_AXIS__COUNT];    // of the kernel at hand, 1 where an axis is not in use
  int64_t shared, local, fragments;  // bytes of a block; of a thread
  int64_t moved;                     // registers of those who have most, 0: all have the same
  int64_t minblocks, maxnreg;        // as annotated; 1 and 0 unless they are
} ts__need;

// Another kernel of the function.
void ts__need_begin(ts__need *v);
// What a loop along a block or thread axis says of its kernel.
void ts__need_options(ts__need *v, ts_notes notes);
// Holds the kernel against the limits and adds it to what all ask for.
void ts__need_check(ts__need *v);
// Only the first refusal counts.
void ts__need_refuse(ts__need *v, const char *code, int64_t have, int64_t most, const char *fmt, ...) TS_PRINTF(5, 6);

// Kernels of a function with blocks (early.c).
void ts__need_early(ts__need *v);

#endif
