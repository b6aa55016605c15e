// Tasks of a model, and the places of its activation buffers.
#include "model/memory_plan.h"
#include "model_test.h"

static void tasks_of(const char *model, const char *quant, int64_t seq, ts_arena *a, const ts_task **t, size_t *n) {
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, model, &s, &d), &d);
  const ts_quant *q = ts_quant_find(quant, &d);
  must(ts_model_tasks(a, &s.config, q, TS_API_CPU, seq, 0, (ts_paging){0}, t, n, &d), &d);
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
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, "synthetic:Qwen2-0.5B", &s, &d), &d);
  must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), TS_API_CUDA, 0, 0, (ts_paging){0}, &t, &n, &d), &d);
  assert_int_equal(calls(t, n, "norm_matmul_bias q4f16_1 A=f32 K=896 N=1152 eps=1e-06 n=1"), 24);
  assert_int_equal(calls(t, n, "norm_matmul q4f16_1 A=f32 K=896 N=1152 eps=1e-06 n=1"), 0);
  ts_arena_free(a);
}

static void extents(void **state) {
  (void)state;
  ts_model_config c = {.max_positions = 4096};
  ts_diag d = {0};
  int64_t seq = 0, chunk = 0;
  must(ts_model_extent(&c, TS_API_CPU, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 2048);
  assert_int_equal(chunk, 128);
  seq = 1000, chunk = 9;
  must(ts_model_extent(&c, TS_API_CPU, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 1008);
  assert_int_equal(chunk, 16);
  seq = 5000;
  expect_refusal(ts_model_extent(&c, TS_API_CPU, &seq, &chunk, &d), &d, "bad-length", "5000");
  seq = 4096, chunk = -1;
  expect_refusal(ts_model_extent(&c, TS_API_CPU, &seq, &chunk, &d), &d, "bad-length", "-1");
  c.sliding_window = 512, seq = 0, chunk = 0;
  must(ts_model_extent(&c, TS_API_CPU, &seq, &chunk, &d), &d);
  assert_int_equal(seq, 512);
}

// Prefill of no more rows than a phase of few rows has takes its place.
static void small_chunks(void **state) {
  (void)state;
  static const struct {
    int64_t chunk;
    bool few, more;
  } rows[] = {{16, false, false}, {32, true, false}, {64, true, false}, {80, true, true}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_source s;
    ts_diag d = {0};
    const ts_task *t;
    size_t n;
    bool few = false, more = false, prefill = false;
    must(ts_source_open(a, "synthetic:tiny", &s, &d), &d);
    must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), TS_API_CUDA, 0, rows[i].chunk, (ts_paging){0}, &t, &n, &d), &d);
    for (size_t k = 0; k < n; k++) {
      few |= !strcmp(t[k].phase, "batch16");
      more |= !strcmp(t[k].phase, "batch64");
      prefill |= !strcmp(t[k].phase, "prefill");
    }
    assert_int_equal(few, rows[i].few);
    assert_int_equal(more, rows[i].more);
    assert_true(prefill);
    ts_arena_free(a);
  }
}

static void paging(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t page, positions;
  } good[] = {{"own", 0, 0}, {"paged", TS_DEFAULT_PAGE, 0}, {"paged:16", 16, 0}, {"paged:32:65536", 32, 65536}};
  static const char *const bad[] = {"", "pages", "paged:", "paged:x", "paged:16x", "paged:16:", "paged:16:0", "paged:16:-5", "paged:16:9 ", "own:16"};
  ts_diag d = {0};
  ts_paging p;
  for (size_t i = 0; i < TS_COUNTOF(good); i++) {
    must(ts_paging_parse(good[i].text, &p, &d), &d);
    assert_int_equal(p.page, good[i].page);
    assert_int_equal(p.positions, good[i].positions);
  }
  for (size_t i = 0; i < TS_COUNTOF(bad); i++) expect_refusal(ts_paging_parse(bad[i], &p, &d), &d, "bad-cache", bad[i]);
  int64_t seq = 1000;
  p = (ts_paging){0};
  must(ts_paging_extent(&p, &seq, &d), &d);
  assert_int_equal(seq, 1000);
  p = (ts_paging){32, 0};
  must(ts_paging_extent(&p, &seq, &d), &d);
  assert_int_equal(seq, 1024);
  assert_int_equal(p.positions, 1024);
  p = (ts_paging){48, 5000};
  must(ts_paging_extent(&p, &seq, &d), &d);
  assert_int_equal(seq, 1056);
  assert_int_equal(p.positions, 5040);
  p = (ts_paging){16, 1040};
  expect_refusal(ts_paging_extent(&p, &seq, &d), &d, "bad-cache", "1040");
  p = (ts_paging){16, INT64_MAX};
  expect_refusal(ts_paging_extent(&p, &seq, &d), &d, "bad-cache", "9223372036854775807");
  static const int64_t pages[] = {-16, 8, 24, 8192};
  for (size_t i = 0; i < TS_COUNTOF(pages); i++) {
    p = (ts_paging){pages[i], 0};
    expect_refusal(ts_paging_extent(&p, &seq, &d), &d, "bad-cache", "positions: multiples of 16");
  }
}

// With pages the operators on caches change, and nothing else.
static void paged_tasks(void **state) {
  (void)state;
  static const ts_api apis[] = {TS_API_CPU, TS_API_CUDA};
  for (size_t k = 0; k < TS_COUNTOF(apis); k++) {
    ts_arena *a = ts_arena_new("test");
    ts_source s;
    ts_diag d = {0};
    const ts_task *own, *paged;
    size_t n, m;
    int changed = 0;
    must(ts_source_open(a, "synthetic:Llama-3-8B", &s, &d), &d);
    must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), apis[k], 2048, 0, (ts_paging){0}, &own, &n, &d), &d);
    must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), apis[k], 2048, 0, (ts_paging){32, 8192}, &paged, &m, &d), &d);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
      bool cache = strstr(own[i].spec.op, "attention") || strstr(own[i].spec.op, "append");
      assert_int_equal(own[i].calls, paged[i].calls);
      assert_string_equal(paged[i].spec.op, cache ? ts_arena_printf(a, "%s_paged", own[i].spec.op) : own[i].spec.op);
      changed += cache;
    }
    assert_int_equal(changed, apis[k] == TS_API_CPU ? 4 : 3);
    const char *decode = apis[k] == TS_API_CPU ? "attention_paged A=f32 C=f16 D=128 H=32 HK=8 P=2048 PAGE=32 POOL=256 n=1 t=0..2047"
                                               : "rope_attention_rows_paged A=f32 C=f16 D=128 H=32 HK=8 P=2048 PAGE=32 POOL=256 n=1 t=0..2047";
    assert_int_equal(calls(paged, m, decode), 32);
    ts_arena_free(a);
  }
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
  expect_refusal(ts_model_tasks(a, &c, ts_quant_find("q4f16_1", &d), TS_API_CPU, 0, 0, (ts_paging){0}, &t, &n, &d), &d, "unsupported-config", "48");
  must(ts_model_tasks(a, &c, ts_quant_find("q0f16", &d), TS_API_CPU, 0, 0, (ts_paging){0}, &t, &n, &d), &d);
  ts_arena_free(a);
}

static void cuda_tasks(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const ts_task *t;
  size_t n;
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, "synthetic:Llama-3-8B", &s, &d), &d);
  must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), TS_API_CUDA, 0, 0, (ts_paging){0}, &t, &n, &d), &d);
  static const struct {
    const char *text;
    int64_t calls;
  } rows[] = {
      {"embed q4f16_1 A=f32 H=4096 V=128256 n=1", 1},
      {"norm_matmul q4f16_1 A=f32 K=4096 N=6144 eps=1e-05 n=1", 32},
      {"rope_attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=4096 n=1 t=0..4095", 32},
      {"matmul_add q4f16_1 A=f32 K=4096 N=4096 n=1", 32},
      {"norm_matmul_silu q4f16_1 A=f32 I=14336 K=4096 eps=1e-05 n=1", 32},
      {"matmul_add q4f16_1 A=f32 K=14336 N=4096 n=1", 32},
      {"norm_matmul q4f16_1 A=f32 K=4096 N=128256 eps=1e-05 n=1", 1},
      {"matmul q4f16_1 A=f16 K=4096 N=28672 n=16", 32},
      {"matmul_add q4f16_1 A=f16 K=4096 N=4096 R=f32 n=32", 32},
      {"matmul_add q4f16_1 A=f16 K=14336 N=4096 R=f32 n=64", 32},
      {"matmul q4f16_1 A=f16 K=4096 N=28672 n=128", 32},
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=256", 32},
      {"matmul q4f16_1 A=f16 K=4096 N=6144 n=16..2048%16", 32},
      {"embed q4f16_1 A=f16 H=4096 R=f32 V=128256 n=16..2048%16", 6},
      {"attention_rows A=f16 C=f16 D=128 H=32 HK=8 P=4096 n=16..2048%16 t=0..4080", 192},
      {"rms_norm A=f16 H=4096 R=f32 eps=1e-05 n=16..2048%16", 384},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (calls(t, n, rows[i].text) != rows[i].calls)
      fail_msg("%s: %lld calls", rows[i].text, (long long)calls(t, n, rows[i].text));
  assert_int_equal(n, 36);
  ts_arena_free(a);
}

// Run the steps on symbolic contents: every read must find what was last written to that buffer. Buffers that overlap
// in memory destroy each other here.
static void no_buffer_is_overwritten(ts_api api) {
  ts_arena *a = ts_arena_new("test");
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, "synthetic:tiny", &s, &d), &d);
  const ts_quant *q = ts_quant_find("q4f16_1", &d);
  const ts__step *step[TS__PHASE__COUNT];
  size_t n[TS__PHASE__COUNT];
  enum { ROWS = 64 };
  for (int p = 0; p < TS__PHASE__COUNT; p++)
    must(ts__steps(a, &s.config, q, api, 64, ROWS, (ts_paging){0}, (ts__phase)p, &step[p], &n[p], &d), &d);
  ts__buffers info;
  int64_t offset[TS__BUFS], bytes[TS__BUFS], sum = 0;
  ts__buffers_of(&s.config, api, &info);
  int64_t arena = ts__memory_plan(&info, ROWS, step, n, offset);
  for (int b = 0; b < info.n; b++) {
    bytes[b] = (info.buf[b].per_row * ROWS + info.buf[b].fixed) * ts_code_bytes(info.buf[b].type);
    assert_int_equal(offset[b] % 64, 0);
    assert_true(offset[b] + bytes[b] <= arena);
    sum += bytes[b];
  }
  assert_true(arena < sum);  // something is shared
  for (int first = 0; first < TS__HEAD; first++) {
    if (!n[first]) continue;
    int valid[TS__BUFS] = {0};
    valid[info.tokens] = 1;
    ts__phase order[] = {(ts__phase)first, TS__HEAD, TS__HEAD, TS__HEAD};
    for (size_t p = 0; p < TS_COUNTOF(order); p++) {
      for (size_t i = 0; i < n[order[p]]; i++) {
        const ts__step *x = &step[order[p]][i];
        for (int k = 0; k < x->nargs; k++)
          if (x->args[k].use <= TS__ROW && x->args[k].use != TS__WRITE && !valid[x->args[k].buf])
            fail_msg("%s reads lost %s", x->text, info.buf[x->args[k].buf].name);
        for (int k = 0; k < x->nargs; k++) {
          if (x->args[k].use != TS__WRITE && x->args[k].use != TS__UPDATE) continue;
          int b = x->args[k].buf;
          for (int o = 0; o < info.n; o++)
            if (o != b && offset[o] < offset[b] + bytes[b] && offset[b] < offset[o] + bytes[o]) valid[o] = 0;
          valid[b] = 1;
        }
        for (int k = 0; k < x->nargs; k++)  // arguments of one kernel never overlap
          for (int j = 0; j < k; j++)
            if (x->args[k].use <= TS__ROW && x->args[j].use <= TS__ROW && x->args[k].buf != x->args[j].buf)
              assert_true(ts__buffers_meet(&info, step, n, x->args[k].buf, x->args[j].buf));
      }
      if (order[p] == TS__HEAD) assert_true(valid[info.logits]);
    }
  }
  ts_source_close(&s);
  ts_arena_free(a);
}

static void no_buffer_is_overwritten_in_use(void **state) {
  (void)state;
  no_buffer_is_overwritten(TS_API_CPU);
  no_buffer_is_overwritten(TS_API_CUDA);
}

// --- a decode step ----------------------------------------------------------------------------------------------------------
static const char *memory_of(const ts_step_call *c, const char *param) {
  for (int i = 0; i < c->nlinks; i++)
    if (!strcmp(c->links[i].param, param)) return c->links[i].memory;
  return "none";
}

// Every call in order, as tasks; what a kernel writes is what the next reads, caches are a layer's own. Of a large model only some layers.
static void decode_step(void **state) {
  (void)state;
  static const struct {
    const char *model;
    int64_t layers;  // least
    bool all, whole;
  } rows[] = {{"synthetic:SmolLM2-135M", 30, true, false}, {"synthetic:Llama-3-8B", 8, false, false}, {"synthetic:Llama-3-8B", 32, true, true}, {"synthetic:Llama-2-70B", 3, false, false},
              {"synthetic:Llama-2-70B", 12, false, true}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_source s;
    ts_diag d = {0};
    const ts_task *t;
    const ts_tune_step *steps;
    size_t n, nsteps;
    must(ts_source_open(a, rows[i].model, &s, &d), &d);
    const ts_quant *q = ts_quant_find("q4f16_1", &d);
    must(ts_model_tasks(a, &s.config, q, TS_API_CUDA, 0, 0, (ts_paging){0}, &t, &n, &d), &d);
    must(ts_model_steps(a, &s.config, q, TS_API_CUDA, 0, 0, (ts_paging){0}, t, n, ~0u, &steps, &nsteps, &d), &d);
    const ts_step_call *c = rows[i].whole ? steps[0].whole : steps[0].call;
    size_t calls_n = rows[i].whole ? steps[0].nwhole : steps[0].n;
    assert_int_equal(steps[0].rows, 1);
    int64_t layers = (int64_t)(calls_n - 2) / 5;
    assert_int_equal(calls_n, 5 * layers + 2);
    assert_true(rows[i].all ? layers == rows[i].layers : layers >= rows[i].layers && layers < s.config.layers);
    static const char *const ops[] = {"norm_matmul", "rope_attention_rows", "matmul_add", "norm_matmul_silu", "matmul_add"};
    for (size_t k = 0; k < calls_n; k++) assert_string_equal(t[c[k].part].spec.op, k == 0 ? "embed" : k + 1 == calls_n ? "norm_matmul" : ops[(k - 1) % 5]);
    assert_string_equal(t[c[calls_n - 1].part].phase, "head");
    assert_string_equal(memory_of(&c[0], "y"), memory_of(&c[1], "x"));
    assert_string_equal(memory_of(&c[1], "y"), memory_of(&c[2], "qkv"));
    assert_string_equal(memory_of(&c[2], "y"), memory_of(&c[3], "x"));
    assert_string_equal(memory_of(&c[3], "y"), memory_of(&c[1], "x"));
    assert_string_not_equal(memory_of(&c[2], "kc"), memory_of(&c[7], "kc"));
    assert_string_not_equal(memory_of(&c[1], "g"), memory_of(&c[6], "g"));
    assert_string_equal(memory_of(&c[1], "w_q"), "none");
    for (size_t k = 0; k < calls_n; k++) {  // depths
      int64_t layer = (int64_t)(k - 1) / 5 % 3;
      assert_true(c[k].t[1] == 192 && c[k].t[2] == 768 && c[k].t[3] == 3072);
      if (k > 0 && k + 1 < calls_n) assert_int_equal(c[k].t[0], c[k].t[1 + layer]);
    }
    ts_source_close(&s);
    ts_arena_free(a);
  }
}

// Those of few rows that the chunk is more than: every call of some layers in order, products for exactly so many rows and the others for any number. What a
// kernel writes is what the next reads. CPUs have none.
static void passes(void **state) {
  (void)state;
  static const struct {
    const char *model;
    int64_t chunk;
    ts_api api;
    size_t n;
    int64_t rows[6];
  } rows[] = {{"synthetic:Llama-2-7B", 0, TS_API_CUDA, 6, {1, 16, 32, 64, 128, 256}}, {"synthetic:SmolLM2-135M", 128, TS_API_CUDA, 4, {1, 16, 32, 64}}, {"synthetic:Qwen2-0.5B", 16, TS_API_CUDA, 1, {1}},
              {"synthetic:SmolLM2-135M", 128, TS_API_CPU, 0, {0}}};
  static const char *const ops[] = {"rms_norm", "matmul", "rope_append_rows", "attention_rows", "matmul_add", "rms_norm", "matmul", "silu_mul", "matmul_add"};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    ts_source s;
    ts_diag d = {0};
    const ts_task *t;
    const ts_tune_step *steps;
    size_t n, nsteps;
    must(ts_source_open(a, rows[i].model, &s, &d), &d);
    const ts_quant *q = ts_quant_find("q4f16_1", &d);
    must(ts_model_tasks(a, &s.config, q, rows[i].api, 0, rows[i].chunk, (ts_paging){0}, &t, &n, &d), &d);
    must(ts_model_steps(a, &s.config, q, rows[i].api, 0, rows[i].chunk, (ts_paging){0}, t, n, ~0u, &steps, &nsteps, &d), &d);
    assert_int_equal(nsteps, rows[i].n);
    for (size_t p = 0; p < nsteps; p++) {
      assert_int_equal(steps[p].rows, rows[i].rows[p]);
      if (!p) continue;
      const ts_step_call *c = steps[p].call;
      assert_int_equal(steps[p].nwhole, 0);
      assert_int_equal(steps[p].n % 9, 1);
      assert_true(steps[p].n >= 3 * 9 + 1 && steps[p].n <= (size_t)s.config.layers * 9 + 1);
      for (size_t k = 0; k < steps[p].n; k++) {
        const ts_task *x = &t[c[k].part];
        assert_string_equal(x->spec.op, k ? ops[(k - 1) % 9] : "embed");
        for (int b = 0; b < x->spec.nbind; b++)
          if (!strcmp(x->spec.bind[b].name, "n")) assert_true(strncmp(x->spec.op, "matmul", 6) ? x->spec.bind[b].kind == TS_BIND_DIM : x->spec.bind[b].i == rows[i].rows[p] && x->spec.bind[b].kind == TS_BIND_INT);
        assert_int_equal(c[k].t[0], 192);
        assert_int_equal(c[k].t[1], 0);
      }
      assert_string_equal(memory_of(&c[1], "y"), memory_of(&c[2], "x"));
      assert_string_equal(memory_of(&c[4], "y"), memory_of(&c[5], "x"));
      assert_string_equal(memory_of(&c[5], "y"), memory_of(&c[6], "x"));
      assert_string_equal(memory_of(&c[8], "y"), memory_of(&c[9], "x"));
      assert_string_not_equal(memory_of(&c[4], "kc"), memory_of(&c[13], "kc"));
    }
    ts_source_close(&s);
    ts_arena_free(a);
  }
}

// A phase's tasks are those of its calls, shared ones too; what is no phase is told with those that are.
static void phases(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_source s;
  ts_diag d = {0};
  const ts_task *t;
  const ts_tune_step *steps;
  size_t n, nsteps, products = 0, others = 0;
  unsigned some, all;
  must(ts_source_open(a, "synthetic:Llama-2-7B", &s, &d), &d);
  must(ts_phases_parse("", &all, &d) && ts_phases_parse("batch64,batch256", &some, &d), &d);
  must(ts_model_tasks(a, &s.config, ts_quant_find("q4f16_1", &d), TS_API_CUDA, 0, 0, (ts_paging){0}, &t, &n, &d), &d);
  for (size_t i = 0; i < n; i++) {
    assert_true(t[i].phases & all);
    if (!(t[i].phases & some)) continue;
    bool product = strncmp(t[i].spec.op, "matmul", 6) == 0;
    assert_true(!product || strcmp(t[i].phase, "batch64") == 0 || strcmp(t[i].phase, "batch256") == 0);
    products += product, others += !product;
  }
  assert_int_equal(products, 2 * 4);
  assert_int_equal(others, 5);
  must(ts_model_steps(a, &s.config, ts_quant_find("q4f16_1", &d), TS_API_CUDA, 0, 0, (ts_paging){0}, t, n, some, &steps, &nsteps, &d), &d);
  assert_int_equal(nsteps, 2);
  assert_true(steps[0].rows == 64 && steps[1].rows == 256);
  static const char *const wrong[] = {"batch48", "decode,,head", ",", "decodes", "decod"};
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) {
    assert_false(ts_phases_parse(wrong[i], &some, &d));
    assert_string_equal(d.code, "unknown-phase");
    assert_non_null(strstr(d.hint, "decode, batch16, batch32, batch64, batch128, batch256, prefill, head"));
  }
  ts_source_close(&s);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(decode_step), cmocka_unit_test(passes), cmocka_unit_test(phases), cmocka_unit_test(llama_tasks), cmocka_unit_test(cuda_tasks), cmocka_unit_test(qwen_has_biases),
                                     cmocka_unit_test(extents), cmocka_unit_test(small_chunks), cmocka_unit_test(paging), cmocka_unit_test(paged_tasks), cmocka_unit_test(odd_groups),
                                     cmocka_unit_test(no_buffer_is_overwritten_in_use)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
