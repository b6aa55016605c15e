// Tensor intrinsics: any text is refused, or both functions verify and print.
#include <stdlib.h>

#include "op/intrin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  const ts_intrin *x = ts_intrin_parse(ts_ir_new(a), "fuzz", (const char *)data, n, &d);
  if (!x && d.kind == TS_OK) abort();
  if (x && (!ts_func_verify(x->desc, &d) || !ts_func_verify(x->impl, &d) || x->desc->nparams != x->impl->nparams)) abort();
  ts_arena_free(a);
  return 0;
}
