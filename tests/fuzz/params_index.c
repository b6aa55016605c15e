// ndarray-cache.json: any text is an index whose tensors lie inside their shards, or a refusal.
#include <stdlib.h>

#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  const ts_index *x = ts_index_parse(a, "dir", "fuzz", (const char *)data, n, &d);
  if (!x && d.kind != TS_REFUSAL) abort();
  for (int i = 0; x && i < x->ntensors; i++) {
    const ts_index_tensor *t = &x->tensors[i];
    if (t->shard < 0 || t->shard >= x->nshards || t->offset < 0 || t->bytes < 0) abort();
    if (t->offset + t->bytes > x->shards[t->shard].bytes || ts_index_find(x, t->name) != t) abort();
    if (strchr(x->shards[t->shard].name, '/')) abort();
  }
  ts_arena_free(a);
  return 0;
}
