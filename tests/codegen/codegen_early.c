// What is refused before lowering, of functions whose extents, offsets and strides are as large as numbers get: sums and products of those stay what they
// are or say that nothing is known, in builds that look for overflow too.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "codegen/codegen.h"

#define MOST "9223372036854775807"
#define HALF "4611686018427387904"  // 2^62
#define COPY(head, start)                                                                                                                            \
  "func f(" head ", y: out f16[8]) {\n alloc s: f16[8] align(16) shared\n for i in 0..2 {\n for k in 0..8 {\n block c(vk: S = k) {\n intrin cp_async_16(d = s[0; (1)], s = " start \
  ")\n s[vk] = 1.0\n }\n }\n }\n for k in 0..8 {\n block o(vk: S = k) {\n y[vk] = s[vk]\n }\n }\n}\n"

// A shared buffer that is written in one loop and read in another, of one kernel.
#define TWO(head, shape, loop, at) \
  "func f(" head "y: out f32[64]) {\n alloc s: f32[" shape "] shared\n for t in 0..32 thread(threadIdx.x) {\n for i in " loop " {\n block a(v: S = i) {\n s[" at "] = 1.0\n }\n }\n" \
  " for i in " loop " {\n block b(v: S = i) {\n y[v % 64] = s[" at "]\n }\n }\n }\n}\n"

static const struct {
  const char *what, *text, *code;
} rows[] = {
    {"elements that lie 2^63 apart", TWO("", MOST, "0..2", "v * " MOST " - " HALF), "shared-memory"},
    {"a loop that ends beyond all numbers", TWO("", "64", "5 ..+ " MOST, "v % 64"), ""},
    {"a dimension whose divisor is beyond it", TWO("n: dim(2..64, multiple " MOST "), ", "64", "0..n", "v"), ""},
    {"a remainder of the least number", TWO("", "8", "0..4", "(v - " MOST " - 1) % 7"), ""},
    {"an offset whose bytes are no number", COPY("x: f16[" MOST "]", "x[" MOST "; (1)]"), "operand-layout"},
    {"rows whose distance is no number", COPY("x: f16[8, 8] strides(" HALF ", " HALF ")", "x[0, 0; (1, 1)]"), ""},
    {"more threads than there are numbers",
     "func f(y: out f32[4]) {\n for i in 0..3037000500 thread(threadIdx.x) {\n for j in 0..3037000500 thread(threadIdx.y) {\n block b(v: S = i, w: S = j) {\n y[(v + w) % 4] = 1.0\n }\n }\n }\n}\n",
     "block-threads"},
    {"copying threads beside as many as there are numbers",
     "func f(x: f32[1024], y: out f32[1024]) {\n alloc s: f32[256] shared\n for t in 0.." MOST " thread(threadIdx.y) {\n for u in 0..4096 thread(threadIdx.x) {\n for k in 0..4 [pipeline_stage = \"0 1\", "
     "warp_specialize = 24] {\n block c(vk: O = k) [bulk_copy = 1] {\n s[vk] = x[vk]\n }\n block o(vl: O = k, vt: S = t) {\n y[vl] = s[vl] + cast(f32, vt)\n }\n }\n }\n }\n}\n",
     "block-threads"},
};

static void overflow(void **state) {
  (void)state;
  int wrong = 0;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_ir *ir = ts_ir_new(a);
    ts_target t;
    ts_diag d = {0};
    const ts_func *f = ts_func_parse(ir, rows[i].what, rows[i].text, strlen(rows[i].text), NULL, 0, &d);
    if (!f || !ts_target_parse("cuda:sm_90a", &t, &d)) fail_msg("%s: %s", rows[i].what, d.message);
    bool fits = ts_gpu_check(ir, f, &t, NULL, &d);
    if (strcmp(fits ? "" : d.code, rows[i].code) != 0) wrong++, print_error("%s: \"%s\" instead of \"%s\": %s\n", rows[i].what, fits ? "" : d.code, rows[i].code, d.message);
    ts_arena_free(a);
  }
  assert_int_equal(wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(overflow)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
