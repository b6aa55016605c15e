// The plain schedule of a GPU's reference applies to every operator of a decode or prefill pass, whatever the numbers of heads and their size: where it
// does not, the CPU computes the reference, which takes many seconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "measure/measure_impl.h"
#include "op/op.h"

static void applies(void **state) {
  (void)state;
  static const struct {
    int heads, kv, size;
  } shapes[] = {{32, 8, 128}, {9, 3, 64}, {14, 2, 64}, {7, 1, 16}, {3, 3, 80}, {1, 1, 8}};
  static const char *const texts[] = {
      "attention_rows A=f16 C=f16 D=%d H=%d HK=%d P=4096 n=16..2048%%16 t=0..4080",
      "rope_append_rows A=f16 C=f16 D=%d H=%d HK=%d P=4096 n=16..2048%%16 t=0..4080",
      "rope_attention_rows A=f32 C=f16 D=%d H=%d HK=%d P=4096 n=1 t=0..4095",
  };
  for (size_t i = 0; i < TS_COUNTOF(shapes); i++)
    for (size_t k = 0; k < TS_COUNTOF(texts); k++) {
      ts_arena *a = ts_arena_new("test");
      ts_ir *ir = ts_ir_new(a);
      ts_spec spec;
      ts_op_inst inst;
      ts_diag d = {0};
      char text[160];
      snprintf(text, sizeof text, texts[k], shapes[i].size, shapes[i].heads, shapes[i].kv);
      if (!ts_spec_parse(a, text, &spec, &d) || !ts_op_instantiate(ir, &spec, "", &inst, &d) || !ts__plain_gpu(ir, inst.func, &d)) fail_msg("%s: %s", text, d.message);
      ts_arena_free(a);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(applies)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
