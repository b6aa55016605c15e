// A scheduled function as machine code, compared with what the function as written computes.
#ifndef TS_TESTS_SCHEDULE_COMPILED_H
#define TS_TESTS_SCHEDULE_COMPILED_H

#include "schedule/harness.h"

enum { COMPILED_CODES = 32 };
typedef struct compiled_totals {
  uint64_t made, runs, refused;
  double seconds;  // compiling
  struct {
    char code[64];
    uint64_t n;
  } by_code[COMPILED_CODES];  // refusals of lowering and code generation
} compiled_totals;

// Compiles g for this processor and runs it for `choices` sizes, serially and by two threads, between guards; f is
// interpreted. NULL when the outputs agree and nothing else was written, or when the compiler refuses (counted).
const char *compiled_differs(ts_arena *a, const ts_func *f, const ts_func *g, int choices, uint64_t seed,
                             compiled_totals *z);

#endif
