// Native templates: any text is refused, or its points at a workload have units, or say which line forbids them.
#include <stdlib.h>

#include "op/native.h"

static void use(ts_arena *a, const ts_native *t) {
  ts_diag d = {0};
  ts_target target;
  ts_spec spec;
  ts_op_inst inst;
  ts_native_fit fit;
  const int64_t *point;
  if (!ts_target_parse("cuda:sm_90a", &target, &d) || !ts_spec_parse(a, "matmul q4f16_1 A=f32 K=256 N=512 n=1", &spec, &d) ||
      !ts_op_instantiate(ts_ir_new(a), &spec, "mma", &inst, &d))
    abort();
  if (!ts_native_bind(a, t, &spec, inst.func, &target, &fit, &d) || !ts_native_first(a, &fit, &point, &d)) {
    if (d.kind != TS_REFUSAL) abort();
    return;
  }
  ts_text unit = {0};
  if (point && !ts_native_unit(a, &fit, point, &unit, &d) && d.kind == TS_OK) abort();
  ts_text_free(&unit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char path[] = "ref.fuzz.cu";
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  FILE *f = fopen(path, "wb");
  if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f)) abort();
  const ts_native *t = ts_native_load(a, path, &d);
  if (!t && d.kind == TS_OK) abort();
  if (t) use(a, t);
  ts_arena_free(a);
  return 0;
}
