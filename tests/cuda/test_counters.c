// Every row of counters.def is a metric that CUPTI's own tables have, for the GPUs that there is code for. Without CUPTI: skipped.
#include <stdio.h>

#include "cuda/cuda.h"

int main(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  puts("skipped: CUPTI opens a library in a way that sanitizers cannot follow");
  return 77;
#endif
  static const char *const chips[] = {"GA100", "GA102", "AD102", "GH100"};
  ts_diag d = {0};
  int missing = 0;
  if (!ts_cuda_cupti_open(&d)) {
    printf("skipped: %s\n", d.message);
    return 77;
  }
  for (size_t i = 0; i < TS_COUNTOF(chips); i++) {
    bool known[TS_CUDA_COUNTERS];
    if (!ts_cuda_counters_known(chips[i], known, &d)) {
      fprintf(stderr, "%s: %s\n", chips[i], d.message);
      return 1;
    }
    for (int k = 0; k < TS_CUDA_COUNTERS; k++) {
      if (known[k]) continue;
      fprintf(stderr, "%s has no %s\n", chips[i], ts_cuda_counter_name(k));
      missing++;
    }
  }
  return missing || !!ts_cuda_counters_known("nonsense", (bool[TS_CUDA_COUNTERS]){0}, &d);
}
