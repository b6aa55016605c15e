// safetensors: any bytes are tensors inside the file or a refusal.
#include <stdlib.h>

#include "model/model_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  uint8_t *copy = malloc(n ? n : 1);  // of exactly the size, so that reading beyond is seen
  if (n) memcpy(copy, data, n);
  ts__tensors t = {0};
  ts_diag d = {0};
  if (ts__safetensors_read(a, "fuzz", copy, n, &t, &d)) {
    for (size_t i = 0; i < t.n; i++)
      if (t.p[i].data < copy || t.p[i].data + t.p[i].bytes > copy + n) abort();
  } else if (d.kind != TS_REFUSAL) {
    abort();
  }
  free(copy);
  ts_arena_free(a);
  return 0;
}
