// Artifacts of GPU kernels: what is read can be written and read again, with the same text.
#include <stdlib.h>

#include "target/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_gpu_code c, again;
  ts_diag d = {0};
  if (ts_gpu_code_read(a, data, n, &c, &d)) {
    ts_text one = {0}, two = {0};
    ts_gpu_code_write(&one, &c);
    if (!ts_gpu_code_read(a, one.p, one.n, &again, &d)) abort();
    ts_gpu_code_write(&two, &again);
    if (one.n != two.n || memcmp(one.p, two.p, one.n) != 0) abort();
    int64_t values[16] = {0}, v;
    for (int i = 0; i < c.ndims; i++) values[i] = i + 1;
    for (int i = 0; i < c.nlaunches; i++)
      for (int k = 0; k < 3; k++)
        if (!ts_gpu_eval(c.launches[i].grid[k], c.dims, values, c.ndims, &v, &d) && d.kind != TS_REFUSAL) abort();
    ts_text_free(&one);
    ts_text_free(&two);
  } else if (d.kind != TS_REFUSAL) {
    abort();
  }
  ts_arena_free(a);
  return 0;
}
