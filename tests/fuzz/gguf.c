// GGUF: any bytes are a model whose tensors lie inside the file and whose tokenizer is JSON, or a refusal.
#include <stdlib.h>

#include "model/model_impl.h"

static void check(const ts_source *s, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < s->ntensors; i++)
    if (s->tensors[i].data < p || s->tensors[i].data + s->tensors[i].bytes > p + n) abort();
  for (size_t i = 0; i < s->nfiles; i++) {
    json_t *o = json_loadb(s->files[i].text, s->files[i].n, 0, NULL);
    if (!json_is_object(o)) abort();
    json_decref(o);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  uint8_t *copy = malloc(n ? n : 1);
  if (n) memcpy(copy, data, n);
  ts_source s = {.kind = TS_SOURCE_GGUF, .path = "fuzz", .name = "fuzz"};
  ts_diag d = {0};
  if (ts__gguf_read(a, "fuzz", copy, n, &s, &d))
    check(&s, copy, n);
  else if (d.kind != TS_REFUSAL)
    abort();
  free(copy);
  ts_arena_free(a);
  return 0;
}
