// Workload text: parse, print, parse again gives the same text.
#include <stdlib.h>

#include "op/op.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  char *text = ts_arena_strndup(a, (const char *)data, n);
  ts_spec s, again;
  ts_diag d = {0};
  if (ts_spec_parse(a, text, &s, &d)) {
    ts_text one = {0}, two = {0};
    ts_spec_print(&one, &s);
    if (!ts_spec_parse(a, ts_text_str(&one), &again, &d)) abort();
    ts_spec_print(&two, &again);
    if (strcmp(ts_text_str(&one), ts_text_str(&two)) != 0) abort();
    ts_text_free(&one);
    ts_text_free(&two);
  } else if (d.kind != TS_REFUSAL) {
    abort();
  }
  ts_arena_free(a);
  return 0;
}
