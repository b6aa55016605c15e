// Samples: any bytes are refused, or decode to values that encode to the same bytes.
#include <stdlib.h>

#include "db/db.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ts_arena *a = ts_arena_new("fuzz");
  uint64_t *v;
  size_t n;
  if (ts_samples_decode(a, (ts_blob){data, size}, SIZE_MAX, &v, &n, NULL)) {
    ts_blob b = ts_samples_encode(a, v, n);
    if (b.n != size || (size && memcmp(b.p, data, size) != 0)) abort();
  }
  ts_arena_free(a);
  return 0;
}
