// Tasks of a model, and the places of its activation buffers.
#include "model/memory_plan.h"
#include "model_test.h"

static void tasks_of(const char *model, const char *quant, int64_t seq, ts_arena *a, const ts_task **t, size_t *n) {
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, model, &s, &d), &d);
  const ts_quant *q = ts_quant_find(quant, &d);
  must(ts_model_tasks(a, &s.config, q, seq, 0, t, n, &d), &d);
}

static int64_t calls(const ts_task *t, size_t n, const char *text) {
  for (size_t i = 0; i < n; i++) {
    ts_text s = {0};
    ts_spec_print(&s, &t[i].spec);
    bool same = !strcmp(ts_text_str(&s), text);
    ts_text_free(&s);
    if (same) return t[i].calls;
  }
  return 0;
}

static void llama_tasks(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const ts_task *t;
  size_t n;
  tasks_of("synthetic:SmolLM2-135M", "q4f16_1", 0, a, &t, &n);
  static const struct {
    const char *text;
    int64_t calls;
  } rows[] = {
      {"embed q4f16_1 A=f32 H=576 V=49152 n=1", 1},
      {"rms_norm A=f32 H=576 eps=1e-05 n=1", 61},
      {"matmul q4f16_1 A=f32 K=576 N=960 n=1", 30},
      {"rope_append A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047", 30},
      {"attention A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047", 30},
      {"matmul_add q4f16_1 A=f32 K=576 N=576 n=1", 30},
      {"matmul q4f16_1 A=f32 K=576 N=3072 n=1", 30},
      {"silu_mul A=f32 I=1536 n=1", 30},
      {"matmul_add q4f16_1 A=f32 K=1536 N=576 n=1", 30},
      {"matmul q4f16_1 A=f32 K=576 N=49152 n=1", 1},
      {"matmul q4f16_1 A=f32 K=576 N=960 n=8..128%8", 30},
      {"attention A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=8..128%8 t=0..2040", 30},
      {"rms_norm A=f32 H=576 eps=1e-05 n=8..128%8", 60},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (calls(t, n, rows[i].text) != rows[i].calls)
      fail_msg("%s: %lld calls", rows[i].text, (long long)calls(t, n, rows[i].text));
  assert_int_equal(n, 19);
  ts_arena_free(a);
}

static void qwen_has_biases(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const ts_task *t;
  size_t n;
  tasks_of("synthetic:Qwen2-0.5B", "q4f16_1", 0, a, &t, &n);
  assert_int_equal(calls(t, n, "add_bias A=f32 N=1152 n=1"), 24);
  ts_arena_free(a);
}

static void extents(void **state) {
  (void)state;
  ts_model_config c = {.max_positions = 4096};
  ts_diag d = {0};
  int64_t seq = 0, chunk = 0;
  must(ts_model_extent(&c, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 2048);
  assert_int_equal(chunk, 128);
  seq = 1000, chunk = 9;
  must(ts_model_extent(&c, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 1008);
  assert_int_equal(chunk, 16);
  seq = 5000;
  expect_refusal(ts_model_extent(&c, &seq, &chunk, &d), &d, "bad-length", "5000");
  seq = 4096, chunk = -1;
  expect_refusal(ts_model_extent(&c, &seq, &chunk, &d), &d, "bad-length", "-1");
  c.sliding_window = 512, seq = 0, chunk = 0;
  must(ts_model_extent(&c, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 512);
}

static void odd_groups(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_model_config c = {.arch = "llama",
                       .hidden = 48,
                       .intermediate = 64,
                       .layers = 1,
                       .heads = 3,
                       .kv_heads = 3,
                       .head_dim = 16,
                       .vocab = 10,
                       .max_positions = 64};
  const ts_task *t;
  size_t n;
  ts_diag d = {0};
  expect_refusal(ts_model_tasks(a, &c, ts_quant_find("q4f16_1", &d), 0, 0, &t, &n, &d), &d, "unsupported-config", "48");
  must(ts_model_tasks(a, &c, ts_quant_find("q0f16", &d), 0, 0, &t, &n, &d), &d);
  ts_arena_free(a);
}

// Run the steps on symbolic contents: every read must find what was last written to that buffer. Buffers that overlap
// in memory destroy each other here.
static void no_buffer_is_overwritten_in_use(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, "synthetic:tiny", &s, &d), &d);
  const ts_quant *q = ts_quant_find("q4f16_1", &d);
  const ts__step *step[TS__PHASE__COUNT];
  size_t n[TS__PHASE__COUNT];
  enum { ROWS = 32 };
  for (int p = 0; p < TS__PHASE__COUNT; p++)
    must(ts__steps(a, &s.config, q, 64, ROWS, (ts__phase)p, &step[p], &n[p], &d), &d);
  ts__buf_info info[TS__BUF__COUNT];
  int64_t offset[TS__BUF__COUNT], bytes[TS__BUF__COUNT], sum = 0;
  ts__buffers(&s.config, info);
  int64_t arena = ts__memory_plan(info, ROWS, step, n, offset);
  for (int b = 0; b < TS__BUF__COUNT; b++) {
    bytes[b] = (info[b].per_row * ROWS + info[b].fixed) * 4;
    assert_int_equal(offset[b] % 64, 0);
    assert_true(offset[b] + bytes[b] <= arena);
    sum += bytes[b];
  }
  assert_true(arena < sum);  // something is shared
  for (int first = 0; first < 2; first++) {
    int valid[TS__BUF__COUNT] = {[TS__BUF_tokens] = 1};
    ts__phase order[] = {first ? TS__PREFILL : TS__DECODE, TS__HEAD, TS__HEAD, TS__HEAD};
    for (size_t p = 0; p < TS_COUNTOF(order); p++) {
      for (size_t i = 0; i < n[order[p]]; i++) {
        const ts__step *x = &step[order[p]][i];
        for (int k = 0; k < x->nargs; k++)
          if (x->args[k].use <= TS__ROW && x->args[k].use != TS__WRITE && !valid[x->args[k].buf])
            fail_msg("%s reads lost %s", x->text, info[x->args[k].buf].name);
        for (int k = 0; k < x->nargs; k++) {
          if (x->args[k].use != TS__WRITE && x->args[k].use != TS__UPDATE) continue;
          int b = (int)x->args[k].buf;
          for (int o = 0; o < TS__BUF__COUNT; o++)
            if (o != b && offset[o] < offset[b] + bytes[b] && offset[b] < offset[o] + bytes[o]) valid[o] = 0;
          valid[b] = 1;
        }
        for (int k = 0; k < x->nargs; k++)  // arguments of one kernel never overlap
          for (int j = 0; j < k; j++)
            if (x->args[k].use <= TS__ROW && x->args[j].use <= TS__ROW && x->args[k].buf != x->args[j].buf)
              assert_true(ts__buffers_meet(step, n, x->args[k].buf, x->args[j].buf));
      }
      if (order[p] == TS__HEAD) assert_true(valid[TS__BUF_logits]);
    }
  }
  ts_source_close(&s);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(llama_tasks), cmocka_unit_test(qwen_has_biases),
                                     cmocka_unit_test(extents), cmocka_unit_test(odd_groups),
                                     cmocka_unit_test(no_buffer_is_overwritten_in_use)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
