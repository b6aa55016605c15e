// tokenizer.json: any text is a tokenizer that encodes and decodes, or a refusal. The input's own bytes are the text.
#include <stdlib.h>

#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_diag d = {0};
  ts_tokenizer *t = ts_tokenizer_parse("fuzz", (const char *)data, n, &d);
  if (!t) {
    if (d.kind != TS_REFUSAL) abort();
    return 0;
  }
  ts_tokens ids = {0};
  size_t most = n < 300 ? n : 300;
  if (ts_tokenizer_encode(t, (const char *)data + n - most, most, true, &ids, &d)) {
    for (size_t i = 0; i < ids.n; i++)
      if (ids.p[i] < 0 || (size_t)ids.p[i] >= ts_tokenizer_size(t)) abort();
    ts_text text = {0};
    ts_tokenizer_decode(t, ids.p, ids.n, false, &text);
    ts_text_free(&text);
  } else if (d.kind != TS_REFUSAL) {
    abort();
  }
  ts_tokens_free(&ids);
  ts_tokenizer_free(t);
  return 0;
}
