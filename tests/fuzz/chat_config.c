// mlc-chat-config.json: any text is a configuration whose conversation renders, or a refusal.
#include <stdlib.h>

#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_chat_config c;
  ts_diag d = {0};
  if (ts_chat_config_parse(a, "fuzz", (const char *)data, n, &c, &d)) {
    const ts_turn turns[] = {{false, "one"}, {true, "two {user_message}"}, {false, "three"}, {true, NULL}};
    ts_text t = {0};
    ts_conv_render(c.conv, NULL, turns, TS_COUNTOF(turns), &t);
    ts_text_free(&t);
    if (!ts_sampler_check(&c.sampler, NULL)) abort();
  } else if (d.kind != TS_REFUSAL) {
    abort();
  }
  ts_arena_free(a);
  return 0;
}
