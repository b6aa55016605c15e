// Plans: any text is a plan that prints, reads back the same and verifies, or a refusal.
#include <stdlib.h>

#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  const ts_plan *p = ts_plan_parse(a, "fuzz", (const char *)data, n, &d);
  if (!p && d.kind != TS_REFUSAL) abort();
  if (p) {
    ts_text one = {0}, two = {0};
    ts_plan_print(&one, p);
    const ts_plan *q = ts_plan_parse(a, "again", ts_text_str(&one), one.n, &d);
    if (!q) abort();
    ts_plan_print(&two, q);
    if (strcmp(ts_text_str(&one), ts_text_str(&two)) != 0) abort();
    for (int64_t rows = 1; rows <= p->max_rows && rows < 300; rows++) {
      const ts_plan_phase *f = ts_plan_pick(p, rows);
      if (f && (rows < f->n_min || rows > f->n_max)) abort();
    }
    ts_passes *x = ts_passes_new(p, &d);
    for (int64_t left = TS_MIN(p->prefill_chunk, 300), room = left + 5; x && left > 0;) {
      ts_pass next = ts_passes_next(x, left, room);
      if (next.rows < next.phase->n_min || next.rows > TS_MIN(left, next.phase->n_max) || (next.rows + next.phase->multiple - 1) / next.phase->multiple * next.phase->multiple > room) abort();
      left -= next.rows;
      room -= next.rows;
    }
    ts_passes_free(x);
    ts_text_free(&one);
    ts_text_free(&two);
  }
  ts_arena_free(a);
  return 0;
}
