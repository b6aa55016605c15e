// config.json: any text is a configuration whose parameters and tasks can be listed, or a refusal.
#include <stdlib.h>

#include "model/model_impl.h"

static bool refused(const ts_diag *d) { return d->kind == TS_REFUSAL; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_model_config c;
  ts_diag d = {0};
  if (!ts_config_parse("fuzz", (const char *)data, n, &c, &d)) {
    if (!refused(&d)) abort();
  } else if (c.layers <= 64) {
    const ts_model_param *p;
    const ts_task *t;
    size_t np, nt;
    if (!ts_model_params(a, &c, &p, &np, &d)) abort();
    for (size_t i = 0; i < np; i++)
      if (p[i].rows < 1 || p[i].cols < 1) abort();
    if (!ts_model_tasks(a, &c, ts_quant_find("q4f16_1", &d), TS_API_CPU, 0, 0, (ts_paging){0}, &t, &nt, &d) && !refused(&d)) abort();
  }
  ts_arena_free(a);
  return 0;
}
