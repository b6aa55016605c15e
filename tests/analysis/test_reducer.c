// Reducers: blocks in many spellings are recognised, with what they combine; look-alikes are not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// After the four headers that it needs.
#include <cmocka.h>

#include "analysis/analysis.h"

typedef struct example {
  const char *init, *body;  // over m, s: f32[4], j, i: i32[4], w: f32[4] (accumulators at va), x: f32[4, 8], k: i32[4, 8]
  const char *name;         // of the reduction, NULL: none
  const char *values;       // what is combined, one after the other
} example;

static const example examples[] = {
    {"m[va] = 0.0", "m[va] = m[va] + x[va, vk]", "sum", "x[va, vk]"},
    {"m[va] = 7.0", "m[va] = x[va, vk] + m[va]", "sum", "x[va, vk]"},
    {"m[va] = 0.0", "m[va] = m[va] + x[va, vk] + x[va, 0]", "sum", "x[va, vk] + x[va, 0]"},
    {"m[va] = 0.0", "m[va] = m[va] - x[va, vk]", "sum", "0.0 - x[va, vk]"},
    {"m[va] = 0.0", "m[va] = fma(x[va, vk], x[va, 0], m[va])", "sum", "x[va, vk] * x[va, 0]"},
    {"m[va] = 0.0", "m[va] = m[va] + x[va, vk] * m[va]", NULL, NULL},
    {"m[va] = 0.0", "m[va] = m[va] * 2.0 + x[va, vk]", NULL, NULL},
    {"m[va] = 0.0", "m[va] = x[va, vk] - m[va]", NULL, NULL},
    {"m[va] = 0.0", "m[va] = m[va] + m[3 - va]", NULL, NULL},
    {"m[va] = m[0]", "m[va] = m[va] + x[va, vk]", NULL, NULL},
    {"m[vk % 4] = 0.0", "m[vk % 4] = m[vk % 4] + x[va, vk]", NULL, NULL},
    {"m[va] = 1.0", "m[va] = m[va] * x[va, vk]", "product", "x[va, vk]"},
    {"m[va] = 0.0", "m[va] = max(x[va, vk], m[va])", "max", "x[va, vk]"},
    {"m[va] = 0.0", "m[va] = select(m[va] < x[va, vk], x[va, vk], m[va])", "max", "x[va, vk]"},
    {"m[va] = 0.0", "m[va] = select(m[va] < x[va, vk], m[va], x[va, vk])", "min", "x[va, vk]"},
    {"m[va] = 0.0", "m[va] = select(m[va] < x[va, vk], x[va, 0], m[va])", NULL, NULL},
    {"j[va] = 0", "j[va] = j[va] | k[va, vk]", "bitor", "k[va, vk]"},
    {"j[va] = 0", "j[va] = k[va, vk] ^ j[va]", "bitxor", "k[va, vk]"},
    // two reductions side by side
    {"m[va] = 0.0 s[va] = 0.0", "m[va] = m[va] + x[va, vk] s[va] = s[va] + x[va, vk] * x[va, vk]", "sum and sum",
     "x[va, vk]; x[va, vk] * x[va, vk]"},
    {"m[va] = 0.0 s[va] = 0.0", "m[va] = m[va] + x[va, vk] s[va] = s[va] + m[va]", NULL, NULL},
    {"m[va] = 0.0 s[0] = 0.0", "m[va] = m[va] + x[va, vk] s[0] = s[0] + x[va, vk]", NULL, NULL},
    {"m[va] = 0.0", "m[va] = m[va] + x[va, vk] s[va] = s[va] + x[va, vk]", NULL, NULL},
    // the largest and where it is
    {"m[va] = -inf j[va] = 99",
     "let wins: bool = m[va] < x[va, vk] || m[va] == x[va, vk] && k[va, vk] < j[va]\n"
     "let best: f32 = select(wins, x[va, vk], m[va])\n let c: i32 = select(wins, k[va, vk], j[va])\n m[va] = best j[va] = c",
     "argmax", "x[va, vk]; k[va, vk]"},
    {"m[va] = -inf j[va] = 99",
     "j[va] = select(x[va, vk] == m[va], min(k[va, vk], j[va]), select(m[va] < x[va, vk], k[va, vk], j[va]))\n"
     "m[va] = max(m[va], x[va, vk])",
     "argmax", "k[va, vk]; x[va, vk]"},
    {"m[va] = inf j[va] = 99",
     "let wins: bool = x[va, vk] < m[va] || x[va, vk] == m[va] && k[va, vk] < j[va]\n"
     "j[va] = select(wins, k[va, vk], j[va]) m[va] = min(x[va, vk], m[va])",
     "argmin", "k[va, vk]; x[va, vk]"},
    {"m[va] = -inf j[va] = 99", "m[va] = max(m[va], x[va, vk])\n j[va] = select(m[va] < x[va, vk], k[va, vk], j[va])", NULL, NULL},
    {"m[va] = -inf j[va] = 99", "j[va] = select(m[va] < x[va, vk], k[va, vk], j[va])\n m[va] = max(m[va], x[va, vk])",
     "argmax_first", "k[va, vk]; x[va, vk]"},
    // online softmax
    {"m[va] = -3.0e38 s[va] = 0.0",
     "let n: f32 = max(m[va], x[va, vk])\n s[va] = s[va] * exp(m[va] - n) + exp(x[va, vk] - n)\n m[va] = n", "online_softmax",
     "1.0; x[va, vk]"},
    {"m[va] = -3.0e38 s[va] = 0.0",
     "let n: f32 = max(x[va, vk], m[va])\n s[va] = exp(x[va, vk] - n) * x[va, 0] + exp(m[va] - n) * s[va]\n m[va] = n",
     "online_softmax", "x[va, 0]; x[va, vk]"},
    {"m[va] = -3.0e38 s[va] = 0.0",
     "let n: f32 = max(m[va], x[va, vk])\n s[va] = s[va] * exp(n - m[va]) + exp(x[va, vk] - n)\n m[va] = n", NULL, NULL},
    {"m[va] = -3.0e38 s[va] = 0.0",
     "m[va] = max(m[va], x[va, vk])\n s[va] = s[va] * exp(m[va] - m[va]) + exp(x[va, vk] - m[va])", NULL, NULL},
    {"m[va] = -3.0e38 s[va] = 0.0 w[va] = 0.0",
     "let n: f32 = max(m[va], x[va, vk])\n let f: f32 = exp(m[va] - n)\n let g: f32 = exp(x[va, vk] - n)\n"
     "s[va] = s[va] * f + g\n w[va] = w[va] * f + g * x[va, 0]\n m[va] = n",
     "online_softmax_mix", "1.0; x[va, 0]; x[va, vk]"},
    // Welford
    {"m[va] = 0.0 s[va] = 0.0 w[va] = 0.0",
     "w[va] = w[va] + 1.0\n let d: f32 = x[va, vk] - m[va]\n m[va] = m[va] + d / w[va]\n s[va] = s[va] + d * (x[va, vk] - m[va])",
     "welford", "1.0; x[va, vk]; 0.0"},
    {"m[va] = 0.0 s[va] = 0.0 w[va] = 0.0",
     "w[va] = w[va] + 2.0\n let d: f32 = x[va, vk] - m[va]\n m[va] = m[va] + d / w[va]\n s[va] = s[va] + d * (x[va, vk] - m[va])", NULL, NULL},
    {"m[va] = 0.0 s[va] = 0.0 w[va] = 0.0",
     "let d: f32 = x[va, vk] - m[va]\n m[va] = m[va] + d / w[va]\n w[va] = w[va] + 1.0\n s[va] = s[va] + d * (x[va, vk] - m[va])", NULL, NULL},
};

static const ts_block *block_of(ts_ir *ir, const example *e) {
  ts_text t = {0};
  ts_text_addf(&t,
                 "func main(x: f32[4, 8], k: i32[4, 8], m: inout f32[4], s: inout f32[4], w: inout f32[4], j: inout i32[4]) {\n"
                 "for a in 0..4, b in 0..8 { block r(va: S = a, vk: R = b) { init { %s }\n %s } } }",
                 e->init, e->body);
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(ir, "example", t.p, t.n, NULL, 0, &d);
  if (!f) fail_msg("%s: %s", e->body, d.message);
  ts_text_free(&t);
  const ts_stmt *s = f->body->block->body;
  while (s->kind == TS_S_FOR) s = s->loop.body;
  return s->block;
}

static void recognised(void **state) {
  (void)state;
  for (size_t i = 0; i < TS_COUNTOF(examples); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_ir *ir = ts_ir_new(a);
    ts_reduction r;
    bool ok = ts_reduction_match(ir, block_of(ir, &examples[i]), &r);
    if (ok != (examples[i].name != NULL)) fail_msg("%s: %s", examples[i].body, ok ? ts_reduction_name(a, &r) : "not recognised");
    if (ok) {
      ts_text t = {0};
      for (int k = 0; k < r.n; k++) {
        if (k) ts_text_add(&t, "; ");
        ts_expr_print(&t, r.value[k]);
      }
      assert_string_equal(ts_reduction_name(a, &r), examples[i].name);
      assert_string_equal(t.p, examples[i].values);
      ts_text_free(&t);
    }
    ts_arena_free(a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(recognised)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
