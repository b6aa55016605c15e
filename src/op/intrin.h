// Tensor intrinsics as text files, kernels/intrin/NAME.tir: a header, what the instruction computes, how to emit it.
//
//   intrin vpdpbusd_16x4 {
//     doc "sixteen i32 sums of four u8 x i8 products"
//     requires "avx512vnni"
//     scope warp               GPU: run by 32 threads together (warpgroup: 128); left out: by each thread alone
//   }
//   func desc(...) { ... }   one block below a perfect nest of constant loops
//   func impl(...) { ... }   the same parameters; vector loads, llvm.* and asm calls, vector stores
//
// A parameter of impl in a scope other than global wants operands of that scope. One in scope "fragment.X" is a tile spread over the
// threads: vload(c, L)[0, 0] are the L elements that the executing thread holds, in the order of its registers; which ones is
// for the implementations that share X to agree on.
#ifndef TS_OP_INTRIN_H
#define TS_OP_INTRIN_H

#include "base/base.h"
#include "ir/ir.h"
#include "target/target.h"

typedef struct ts_intrin {
  const char *name, *doc, *file;
  int nrequires;
  const char *const *requires;  // target features
  int threads;                  // that run it together: 1, 32 or 128
  bool trailing;                // it still reads its shared operands when it ends, until the next one of the kind has ended
  const ts_func *desc, *impl;   // parameters pair up by position and name
} ts_intrin;
// Load kernels/intrin/NAME.tir. Refusal no-such-intrinsic when there is no such file; syntax and verifier complaints else.
const ts_intrin *ts_intrin_load(ts_ir *ir, const char *name, ts_diag *d) TS_WARN_UNUSED;
const ts_intrin *ts_intrin_parse(ts_ir *ir, const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
// The same without a copy, for who only looks: it is the calling thread's and stays until that ends. NULL: there is none, or it is not well-formed.
// Takes a microsecond but the first time.
const ts_intrin *ts_intrin_peek(const char *name);
// Sorted names of the files in kernels/intrin/.
bool ts_intrin_list(ts_arena *a, char ***names, size_t *n, ts_diag *d) TS_WARN_UNUSED;
// Does the target have every required feature? `missing` (may be NULL) receives the first that it lacks.
bool ts_intrin_fits(const ts_intrin *x, const ts_target *t, const char **missing);

#endif
