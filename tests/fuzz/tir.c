// The .tir language: whatever parses also verifies, prints, parses again to an equal function and clones to one. The
// functions of a file are taken one after another; what stands before a "func" is skipped. The row of q4f16_1 gives
// meaning to weights.
#include <stdlib.h>

#include "ir/ir.h"

static const char row[] =
    "weight { q: u32[N, K / 8], s: f16[N, K / 32] }\n"
    "value(i, k): f32 = (cast(f32, (q[i, k // 8] >> cast(u32, k % 8 * 4)) & 15) - 7.0) * cast(f32, s[i, k // 32])\n"
    "code(i, k): u32 = (q[i, k // 8] >> cast(u32, k % 8 * 4)) & 15\n"
    "scale(i, g): f16 = s[i, g]\n";
static const ts_bind bind[] = {
    {.name = "N", .kind = TS_BIND_INT, .i = 64},
    {.name = "K", .kind = TS_BIND_INT, .i = 64},
    {.name = "V", .kind = TS_BIND_INT, .i = 100},
    {.name = "H", .kind = TS_BIND_INT, .i = 64},
    {.name = "HK", .kind = TS_BIND_INT, .i = 32},
    {.name = "D", .kind = TS_BIND_INT, .i = 16},
    {.name = "P", .kind = TS_BIND_INT, .i = 256},
    {.name = "I", .kind = TS_BIND_INT, .i = 96},
    {.name = "A", .kind = TS_BIND_TYPE, .code = TS_F16},
    {.name = "eps", .kind = TS_BIND_FLOAT, .f = 1e-5},
    {.name = "inv_temperature", .kind = TS_BIND_FLOAT, .f = 1.25},
};

static void check(ts_arena *a, ts_ir *ir, const ts_func *f) {
  ts_text one = {0}, two = {0}, three = {0};
  ts_diag d = {0};
  if (!ts_func_verify(f, &d)) abort();
  ts_func_print(&one, f);
  const ts_func *again = ts_func_parse(ir, "printed", one.p, one.n, NULL, 0, &d);
  // Parentheses that the printer adds may pass the limit of nesting; nothing else may be refused.
  if (!again && !strstr(d.message, "nested more than")) abort();
  const ts_func *clone = ts_func_clone(ts_ir_new(a), f);
  ts_func_print(&three, clone);
  if (strcmp(one.p, three.p) != 0 || !ts_func_equal(f, clone)) abort();
  if (again) {
    ts_func_print(&two, again);
    if (strcmp(one.p, two.p) != 0 || !ts_func_equal(f, again) || ts_func_hash(f) != ts_func_hash(again)) abort();
  }
  ts_text_free(&one);
  ts_text_free(&two);
  ts_text_free(&three);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_ir *ir = ts_ir_new(a);
  ts_macros m = {.file = "row", .text = row, .n = sizeof row - 1};
  ts_diag d = {0};
  ts_lex l;
  ts_lex_init(&l, "input", (const char *)data, n);
  while (l.tok != TS_TOK_EOF) {
    if (!ts_lex_is(&l, "func")) {
      ts_lex_next(&l);
      continue;
    }
    const ts_func *f = ts_func_parse_at(ir, &l, bind, TS_COUNTOF(bind), &m, &d);
    if (!f && d.kind != TS_REFUSAL) abort();
    if (!f) break;
    check(a, ir, f);
  }
  ts_arena_free(a);
  return 0;
}
