// Quantization rows: the text of a row against functions that use its weight; what parses, prints and parses again.
#include <stdlib.h>

#include "ir/ir.h"

static const char *const uses[] = {
    "func f(w: weight[64, 32], t: i32[4], y: out f32[4, 64]) { for a in 0..4, i in 0..64 { block b(va: S = a, vi: S = "
    "i) {"
    " y[va, vi] = w[cast(i64, t[va]), vi // 2] } } }",
    "func f(w: weight[64, 32], y: out u32[64, 32]) { for i in 0..64, k in 0..32 { block b(vi: S = i, vk: S = k) {"
    " y[vi, vk] = w.code[vi, vk] } } }",
    "func f(w: weight[64, 32], y: out f16[64]) { for i in 0..64 { block b(vi: S = i) { y[vi] = w.scale[vi, 0] } } }",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_ir *ir = ts_ir_new(a);
  ts_macros m = {.file = "row", .text = (const char *)data, .n = n};
  for (size_t i = 0; i < TS_COUNTOF(uses); i++) {
    ts_diag d = {0};
    ts_lex l;
    ts_text one = {0};
    ts_lex_init(&l, "use", uses[i], strlen(uses[i]));
    const ts_func *f = ts_func_parse_at(ir, &l, NULL, 0, &m, &d);
    if (!f && d.kind != TS_REFUSAL) abort();
    if (!f) continue;
    ts_func_print(&one, f);
    const ts_func *again = ts_func_parse(ir, "printed", one.p, one.n, NULL, 0, &d);
    if (again ? !ts_func_equal(f, again) : !strstr(d.message, "nested more than")) abort();
    ts_text_free(&one);
  }
  ts_arena_free(a);
  return 0;
}
