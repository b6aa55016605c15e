// Models on a GPU, without one: the driver of fake_cuda.c runs the tiny model's CPU kernels. What is tested is everything around them:
// memory, weights, passes, graphs, tokens chosen ahead of the host, faults.
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "codegen/codegen.h"
#include "runtime/cuda_impl.h"
#include "tiny.h"

static void must(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("%s [%s]", d->message, d->code);
}

// --- the model ---------------------------------------------------------------------------------------------------------------
static const char *cpu_library, *gpu_library, *paged_library;  // in one directory
static const struct kernel {
  const char *name, *dims, *workspace;
  int buffers;
} kernels[] = {
    {"embed_1", "", "0", 3}, {"mix_1", " t", "0", 4},      {"embed_n", " n", "0", 3},
    {"mix_n", " n t", "0", 4}, {"head_1", "", "1088", 3}, {"pack_head", "", "0", 2},
    {"mix_pages_1", " t", "0", 5}, {"mix_pages_n", " n t", "0", 5},
};

static int dependent = 1, zeroed = 0;  // of the artifacts made next; zeroed: of those with a workspace

static ts_object artifact(ts_arena *a, const struct kernel *k, const char *image) {
  ts_text t = {0}, args = {0};
  bool w = strcmp(k->workspace, "0") != 0;
  for (int i = 0; i < k->buffers; i++) ts_text_addf(&args, " b%d", i);
  const char *host = image ? image : ts_arena_printf(a, "//host %d %d %d", k->buffers, w, *k->dims != 0);
  ts_text_addf(&t,
               "tunesmith-gpu 1\narch sm_90a\nparams %d\ndims%s\nregisters 8 spills 0\nworkspace %s\nzeroed %d\nlaunch %s\ngrid 1 ; 1 ; 1\n"
               "block 32 1 1\nshared 0\ncluster 1 1 1\ndependent %d\nargs%s%s%s\nimage ptx %zu\n%s",
               k->buffers, k->dims, k->workspace, w ? zeroed : 0, k->name, dependent, ts_text_str(&args), w ? " w" : "", *k->dims ? " d" : "", strlen(host), host);
  ts_object o = {.bytes = ts_arena_dup(a, t.p, t.n), .n = t.n, .id = ts_sha256_of(t.p, t.n)};
  snprintf(o.symbol, sizeof o.symbol, "%s", k->name);
  ts_text_free(&t);
  ts_text_free(&args);
  return o;
}

static ts_plan on_gpu(ts_plan p) {
  p.target = "cuda:sm_90a";
  p.api = TS_API_CUDA;
  p.gpu = "sm_90a";
  p.nfeatures = 0;
  return p;
}

static ts_plan gpu_plan(void) { return on_gpu(*tiny_plan()); }

// broken: the image of the first kernel, or NULL.
static void write_library(const char *path, const ts_plan *p, const char *broken) {
  ts_arena *a = ts_arena_new("test");
  ts_object o[TS_COUNTOF(kernels)];
  ts_target t;
  ts_text text = {0};
  ts_diag d = {0};
  for (size_t i = 0; i < TS_COUNTOF(kernels); i++) o[i] = artifact(a, &kernels[i], i ? NULL : broken);
  ts_plan_print(&text, p);
  must(ts_target_parse("cuda:sm_90a", &t, &d), &d);
  must(ts_link_library(o, TS_COUNTOF(o), text.p, text.n, &t, path, &d), &d);
  ts_text_free(&text);
  ts_arena_free(a);
}

static int group_setup(void **state) {
  enum { PAGES = 15 };
  static char cpu[200], gpu[200], paged[200];
  (void)state;
  ts_plan p = gpu_plan();
  tiny_model(tiny_dir());
  snprintf(cpu, sizeof cpu, "%s/tiny-cpu.so", tiny_dir());
  snprintf(gpu, sizeof gpu, "%s/tiny-cuda.so", tiny_dir());
  snprintf(paged, sizeof paged, "%s/paged-cuda.so", tiny_dir());
  cpu_library = cpu, gpu_library = gpu, paged_library = paged;
  write_library(gpu, &p, NULL);
  p = on_gpu(tiny_paged_plan(PAGES));
  write_library(paged, &p, NULL);
  setenv("TS_FAKE_CUDA_HOST", cpu, 1);
  return 0;
}

typedef struct side {
  ts_engine *e;
  ts_session *s;
} side;

static side open_side(const char *library) {
  ts_diag d = {0};
  side x = {.e = ts_engine_open(tiny_dir(), &(ts_engine_opts){.threads = 1, .library = library}, &d)};
  must(x.e != NULL, &d);
  x.s = ts_engine_session(x.e, &d);
  must(x.s != NULL, &d);
  return x;
}

static void close_side(side *x) {
  ts_session_free(x->s);
  ts_engine_close(x->e);
}

// --- what must be the same on both -----------------------------------------------------------------------------------------------
static const int32_t prompt[] = {5, 9, 7, 7, 31, 2, 90, 91, 17, 3, 250, 249, 1, 0, 44, 45, 46, 20, 21, 100, 12};

static bool keep_text(void *arg, const char *p, size_t n) {
  ts_text_addn(arg, p, n);
  return true;
}

static void generate(side *x, size_t n, ts_gen_opts o, ts_text *text, ts_gen_result *r) {
  ts_diag d = {0};
  o.text = keep_text;
  o.arg = text;
  must(ts_generate(x->s, ts_engine_tokenizer(x->e), prompt, n, &o, r, &d), &d);
}

static void same_text(void **state) {
  (void)state;
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1}, penalised = {.top_p = 1, .repetition_penalty = 1.5};
  static const char *const stops[] = {"hij"};
  static const int32_t stop_token[] = {118};
  const ts_gen_opts options[] = {
      {.sampler = greedy, .max_tokens = 1},
      {.sampler = greedy, .max_tokens = 7},
      {.sampler = greedy, .max_tokens = 40},
      {.sampler = greedy},  // until the context is full, or 264 wraps
      {.sampler = greedy, .nstop_tokens = 1, .stop_tokens = stop_token},
      {.sampler = greedy, .nstop_strings = 1, .stop_strings = stops},
      {.sampler = penalised, .max_tokens = 12},
  };
  static const size_t lengths[] = {1, 2, 7, 8, 16, 17, 20};
  side cpu = open_side(cpu_library), gpu = open_side(gpu_library);
  assert_non_null(ts_weights_gpu(ts_engine_weights(gpu.e)));
  assert_null(ts_weights_gpu(ts_engine_weights(cpu.e)));
  for (size_t i = 0; i < TS_COUNTOF(options); i++)
    for (size_t k = 0; k < TS_COUNTOF(lengths); k++) {
      ts_text a = {0}, b = {0};
      ts_gen_result ra, rb;
      generate(&cpu, lengths[k], options[i], &a, &ra);
      generate(&gpu, lengths[k], options[i], &b, &rb);
      assert_string_equal(ts_text_str(&a), ts_text_str(&b));
      assert_int_equal(ra.stop, rb.stop);
      assert_int_equal(ra.new_tokens, rb.new_tokens);
      assert_int_equal(ts_session_length(cpu.s), ts_session_length(gpu.s));
      assert_memory_equal(ts_session_tokens(cpu.s), ts_session_tokens(gpu.s), sizeof(int32_t) * (size_t)ts_session_length(cpu.s));
      ts_text_free(&a);
      ts_text_free(&b);
    }
  close_side(&cpu);
  close_side(&gpu);
}

// Pages: two sessions of one engine, in turns over one pool, say what a session with a cache of its own says.
static void paged(void **state) {
  (void)state;
  const ts_gen_opts greedy = {.sampler = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = 21};
  const ts_gen_opts penalised = {.sampler = {.top_p = 1, .repetition_penalty = 1.5}, .max_tokens = 9};
  static const size_t lengths[] = {20, 1, 7, 17, 3, 8};
  side cpu = open_side(cpu_library), gpu = open_side(paged_library), other = {.e = gpu.e};
  ts_diag d = {0};
  const ts_cache *cache = ts_engine_cache(gpu.e);
  size_t empty = ts_session_bytes(gpu.s);
  other.s = ts_engine_session(gpu.e, &d);
  must(other.s != NULL, &d);
  assert_int_equal(ts_cache_unused(cache), 15);
  for (int i = 0; i < 24; i++) {
    ts_text a = {0}, b = {0};
    ts_gen_result ra, rb;
    side *x = i % 2 ? &gpu : &other;
    const ts_gen_opts *o = i % 3 == 2 ? &penalised : &greedy;
    generate(&cpu, lengths[i % 6], *o, &a, &ra);
    generate(x, lengths[i % 6], *o, &b, &rb);
    assert_string_equal(ts_text_str(&a), ts_text_str(&b));
    assert_int_equal(ts_session_length(cpu.s), ts_session_length(x->s));
    int64_t used = (ts_session_length(gpu.s) + 7) / 8 + (ts_session_length(other.s) + 7) / 8;
    assert_int_equal(ts_cache_unused(cache), 15 - used);
    assert_int_equal(ts_session_bytes(gpu.s) - empty, (ts_session_length(gpu.s) + 7) / 8 * 8 * (int64_t)ts_plan_position_bytes(ts_engine_plan(gpu.e)));
    ts_text_free(&a);
    ts_text_free(&b);
  }
  ts_session_free(other.s);
  ts_session_truncate(gpu.s, 0);
  assert_int_equal(ts_cache_unused(cache), 15);
  close_side(&cpu);
  close_side(&gpu);
}

// Two sessions go on from one beginning, which is computed once: pages are copied where they part.
static void paged_beginnings(void **state) {
  (void)state;
  const ts_gen_opts greedy = {.sampler = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = 11};
  side cpu = open_side(cpu_library), gpu = open_side(paged_library), other = {.e = gpu.e};
  ts_diag d = {0};
  const ts_cache *cache = ts_engine_cache(gpu.e);
  other.s = ts_engine_session(gpu.e, &d);
  must(other.s != NULL, &d);
  must(ts_session_feed(gpu.s, prompt, 20, &d), &d);  // 3 pages, half of the last
  must(ts_session_adopt(other.s, gpu.s, 20, &d), &d);
  assert_int_equal(ts_cache_unused(cache), 12);
  for (int i = 0; i < 2; i++) {
    ts_text a = {0}, b = {0};
    ts_gen_result ra, rb;
    side *x = i ? &gpu : &other;
    generate(&cpu, 20, greedy, &a, &ra);
    generate(x, 20, greedy, &b, &rb);
    assert_int_equal(rb.prompt_tokens, 1);  // the last one, for its logits
    assert_string_equal(ts_text_str(&a), ts_text_str(&b));
    ts_text_free(&a);
    ts_text_free(&b);
  }
  assert_int_equal(ts_cache_unused(cache), 15 - 2 - 2 * 2);
  ts_session_free(other.s);
  close_side(&cpu);
  close_side(&gpu);
}

// Of a large pool the GPU gives memory to what is used, in pieces; where it has none left the session that wants more is told, and nothing else
// happens.
static void paged_pieces(void **state) {
  (void)state;
  enum { PAGES = 1100, EACH = 12, SESSIONS = 45 };
  const int64_t step = (2 << 20) / (TINY_PAGE * TINY_H * 4);  // pages of a piece of 2 MiB
  char path[200];
  ts_plan p = on_gpu(tiny_paged_plan(PAGES));
  ts_diag d = {0};
  int32_t tokens[EACH * TINY_PAGE];
  float want[TINY_V];
  for (int i = 0; i < EACH * TINY_PAGE; i++) tokens[i] = prompt[i % 21];
  snprintf(path, sizeof path, "%s/pieces-cuda.so", tiny_dir());
  write_library(path, &p, NULL);
  side gpu = open_side(path);
  const ts_cache *cache = ts_engine_cache(gpu.e);
  ts_session *s[SESSIONS] = {gpu.s};
  assert_false(cache->whole);
  assert_int_equal(cache->backed, 0);
  tiny_logits(tokens, 90, want);
  for (int i = 0; i < SESSIONS; i++) {
    if (i) must((s[i] = ts_engine_session(gpu.e, &d)) != NULL, &d);
    if (cache->backed < (i + 1) * EACH) {
      setenv("TS_FAKE_CUDA", "create=1", 1);
      assert_false(ts_session_feed(s[i], tokens, 90, &d));
      unsetenv("TS_FAKE_CUDA");
      assert_string_equal(d.code, "out-of-device-memory");
      assert_int_equal(ts_session_length(s[i]), 0);
      assert_int_equal(ts_cache_unused(cache), PAGES - i * EACH);
    }
    must(ts_session_feed(s[i], tokens, 90, &d), &d);
    assert_true(cache->backed >= (i + 1) * EACH && cache->backed <= (i + 1) * EACH + step + cache->backed / 4);
    for (int v = 0; v < TINY_V; v++) assert_true(fabsf(ts_session_logits(s[i])[v] - want[v]) < 1e-6f);
  }
  assert_int_equal(cache->npieces, 3);
  for (int i = 1; i < SESSIONS; i++) ts_session_free(s[i]);
  ts_session_truncate(s[0], 20);
  must(ts_session_feed(s[0], tokens + 20, 30, &d), &d);
  close_side(&gpu);
  setenv("TS_FAKE_CUDA", "granularity=4194304", 1);  // not what is wanted: one allocation
  gpu = open_side(path);
  assert_true(ts_engine_cache(gpu.e)->whole);
  must(ts_session_feed(gpu.s, tokens, 90, &d), &d);
  unsetenv("TS_FAKE_CUDA");
  close_side(&gpu);
}

// The pool ends while the device runs ahead: every token that has its pages is handed out, then the reason.
static void paged_full(void **state) {
  (void)state;
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1};
  side gpu = open_side(paged_library);
  ts_diag d = {0};
  int32_t id = 0, many[80] = {0};
  int64_t n = 0;
  ts_session *other = ts_engine_session(gpu.e, &d);
  must(other != NULL, &d);
  must(ts_session_feed(other, many, 80, &d), &d);      // 10 pages of 15
  must(ts_session_feed(gpu.s, prompt, 21, &d), &d);    // 3
  must(ts_session_ahead_begin(gpu.s, &greedy, 60, &d), &d);
  while (ts_session_ahead_next(gpu.s, &id, &d)) assert_int_equal(id, prompt[20] + 1 + n++);
  assert_string_equal(d.code, "cache-full");
  assert_int_equal(n, 5 * 8 - 21 + 1);  // the last one is chosen without a place of its own
  must(ts_session_ahead_stop(gpu.s, n - 1, &d), &d);
  assert_int_equal(ts_session_length(gpu.s), 40);
  assert_int_equal(ts_cache_unused(ts_engine_cache(gpu.e)), 0);
  ts_session_free(other);
  must(ts_session_feed(gpu.s, (int32_t[]){60}, 1, &d), &d);
  assert_int_equal(ts_session_sample(gpu.s, &greedy, &d), 61);
  close_side(&gpu);
}

// Pages of a session without finite logits are cleared before others have them.
static void paged_spoiled(void **state) {
  (void)state;
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1};
  side gpu = open_side(paged_library);
  ts_diag d = {0};
  int32_t id = 0;
  const ts_cache *cache = ts_engine_cache(gpu.e);
  float *all = (float *)(uintptr_t)cache->device;
  must(ts_session_feed(gpu.s, prompt, 20, &d), &d);
  for (size_t i = 0; i < cache->bytes / sizeof *all; i++)
    if (all[i] != 0) all[i] = NAN;
  must(ts_session_feed(gpu.s, prompt + 20, 1, &d), &d);
  must(ts_session_ahead_begin(gpu.s, &greedy, 5, &d), &d);
  assert_false(ts_session_ahead_next(gpu.s, &id, &d));
  assert_string_equal(d.code, "no-finite-logit");
  must(ts_session_ahead_stop(gpu.s, 0, &d), &d);
  ts_session_truncate(gpu.s, 0);
  for (size_t i = 0; i < cache->bytes / sizeof *all; i++) assert_true(all[i] == 0);
  close_side(&gpu);
}

static bool check_row(void *arg, int64_t position, const float *logits) {
  float want[TINY_V];
  tiny_logits(prompt, (size_t)position + 1, want);
  for (int v = 0; v < TINY_V; v++)
    if (fabsf(logits[v] - want[v]) > 1e-6f) fail_msg("logit %d at %lld", v, (long long)position);
  ++*(int *)arg;
  return true;
}

static void logits(void **state) {
  (void)state;
  side gpu = open_side(gpu_library);
  ts_diag d = {0};
  int rows = 0;
  float want[TINY_V];
  must(ts_session_score(gpu.s, prompt, 17, check_row, &rows, &d), &d);  // 16 rows, then one
  assert_int_equal(rows, 17);
  must(ts_session_feed(gpu.s, prompt + 17, 4, &d), &d);
  tiny_logits(prompt, 21, want);
  assert_true(fabsf(ts_session_logits(gpu.s)[want[13] > 0 ? 13 : 0] - want[want[13] > 0 ? 13 : 0]) < 1e-6f);
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1};
  assert_int_equal(ts_session_sample(gpu.s, &greedy, &d), 13);
  ts_session_truncate(gpu.s, 20);  // the logits are then of token 20
  assert_int_equal(ts_session_sample(gpu.s, &greedy, &d), 101);
  must(ts_session_feed(gpu.s, (int32_t[]){40}, 1, &d), &d);
  assert_int_equal(ts_session_sample(gpu.s, &greedy, &d), 41);
  close_side(&gpu);
}

// --- running ahead -------------------------------------------------------------------------------------------------------------------
static void ahead(void **state) {
  (void)state;
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1}, penalised = {.top_p = 1, .repetition_penalty = 1.1};
  side gpu = open_side(gpu_library);
  ts_diag d = {0};
  int32_t id = 0;
  assert_true(ts_session_can_run_ahead(gpu.s, &greedy));
  assert_false(ts_session_can_run_ahead(gpu.s, &penalised));
  assert_false(ts_session_ahead_begin(gpu.s, &greedy, 3, &d));  // no token yet
  must(ts_session_feed(gpu.s, prompt, 9, &d), &d);
  for (int round = 0; round < 2; round++) {
    must(ts_session_ahead_begin(gpu.s, &greedy, 10, &d), &d);
    assert_false(ts_session_feed(gpu.s, prompt, 1, &d));
    assert_string_equal(d.code, "session-busy");
    for (int i = 0; i < 3; i++) {
      must(ts_session_ahead_next(gpu.s, &id, &d), &d);
      assert_int_equal(id, 18 + i + 2 * round);
    }
    must(ts_session_ahead_stop(gpu.s, 2, &d), &d);  // two of the three are kept
    assert_int_equal(ts_session_length(gpu.s), 11 + 2 * round);
  }
  must(ts_session_ahead_begin(gpu.s, &greedy, 2, &d), &d);
  must(ts_session_ahead_next(gpu.s, &id, &d) && ts_session_ahead_next(gpu.s, &id, &d), &d);
  assert_int_equal(id, 23);
  assert_false(ts_session_ahead_next(gpu.s, &id, &d));  // only two were asked for
  assert_string_equal(d.code, "no-token");
  must(ts_session_ahead_stop(gpu.s, 0, &d), &d);
  close_side(&gpu);
}

// Passes of one number of rows are graphs from the third on: the logits are those of the CPU at every position up to the end of the cache, with a
// profile kernel by kernel; where a graph cannot be made there is none.
static void few_rows_of(ts_plan p) {
  char path[200];
  ts_plan_phase phases[3];
  ts_diag d = {0};
  int32_t tokens[TINY_P];
  memcpy(phases, p.phases, sizeof phases);
  phases[1].multiple = TINY_CHUNK;
  p.phases = phases;
  snprintf(path, sizeof path, "%s/few-cuda.so", tiny_dir());
  write_library(path, &p, NULL);
  void *driver = dlopen(getenv("TUNESMITH_CUDA_DRIVER"), RTLD_NOW);
  assert_non_null(driver);
  long (*launches)(void) = (long (*)(void))dlsym(driver, "fake_graph_launches");
  assert_non_null(launches);
  side cpu = open_side(cpu_library), gpu = open_side(path);
  for (int i = 0; i < TINY_P; i++) tokens[i] = (i * 37 + 11) % 256;
  static const size_t feeds[] = {5, 16, 2, 13, 40, 9, 5};  // 40: passes of 16, 16 and 8; the last: no room for 16
  size_t at = 0;
  long before = launches();
  for (size_t i = 0; i < TS_COUNTOF(feeds); i++) {
    must(ts_session_feed(cpu.s, tokens + at, feeds[i], &d), &d);
    must(ts_session_feed(gpu.s, tokens + at, feeds[i], &d), &d);
    for (int v = 0; v < TINY_V; v++) assert_true(ts_session_logits(cpu.s)[v] == ts_session_logits(gpu.s)[v]);
    at += feeds[i];
    if (i < 2) assert_int_equal(launches(), before);
  }
  assert_int_equal(launches() - before, 6 + 5);  // of the 8 passes of 16 all but two; 5 rows one by one
  ts_session_truncate(gpu.s, 0);
  ts_session_profile(gpu.s, true);
  before = launches();
  must(ts_session_feed(gpu.s, tokens, 16, &d), &d);
  assert_int_equal(launches(), before);
  close_side(&gpu);
  gpu = open_side(path);
  setenv("TS_FAKE_CUDA", "graph=2", 1);
  before = launches();
  ts_session_truncate(cpu.s, 0);
  for (int i = 0; i < 5; i++) {
    must(ts_session_feed(gpu.s, tokens + 16 * i, 16, &d), &d);
    must(ts_session_feed(cpu.s, tokens + 16 * i, 16, &d), &d);
    for (int v = 0; v < TINY_V; v++) assert_true(ts_session_logits(cpu.s)[v] == ts_session_logits(gpu.s)[v]);
  }
  unsetenv("TS_FAKE_CUDA");
  assert_int_equal(launches(), before);
  close_side(&cpu);
  close_side(&gpu);
  dlclose(driver);
  unlink(path);
}

static void few_rows_again(void **state) {
  (void)state;
  few_rows_of(gpu_plan());
  few_rows_of(on_gpu(tiny_paged_plan(15)));
}

// A start that fails leaves nothing behind: the next one hands out its own tokens.
static void ahead_again(void **state) {
  (void)state;
  const ts_sampler greedy = {.top_p = 1, .repetition_penalty = 1};
  side gpu = open_side(gpu_library);
  ts_diag d = {0};
  int32_t id = 0;
  must(ts_session_feed(gpu.s, prompt, 9, &d), &d);
  setenv("TS_FAKE_CUDA", "graph=2", 1);
  for (int i = 0; i < 2; i++) assert_false(ts_session_ahead_begin(gpu.s, &greedy, 10, &d));
  unsetenv("TS_FAKE_CUDA");
  assert_int_equal(ts_session_length(gpu.s), 9);
  must(ts_session_ahead_begin(gpu.s, &greedy, 10, &d), &d);
  for (int i = 0; i < 5; i++) {
    must(ts_session_ahead_next(gpu.s, &id, &d), &d);
    assert_int_equal(id, 18 + i);
  }
  must(ts_session_ahead_stop(gpu.s, 4, &d), &d);
  close_side(&gpu);
}

// The smallest temperature and share of the mass that are accepted leave the largest, as on the CPU.
static void ahead_extremes(void **state) {
  (void)state;
  const ts_sampler how[] = {{.temperature = 5e-324, .top_p = 1, .repetition_penalty = 1}, {.temperature = 1, .top_p = 5e-324, .repetition_penalty = 1}};
  side gpu = open_side(gpu_library);
  ts_diag d = {0};
  int32_t id = 0;
  must(ts_session_feed(gpu.s, prompt, 9, &d), &d);
  for (size_t i = 0; i < TS_COUNTOF(how); i++) {
    must(ts_sampler_check(&how[i], &d), &d);
    assert_int_equal(ts_session_sample(gpu.s, &how[i], &d), 18);
    must(ts_session_ahead_begin(gpu.s, &how[i], 1, &d), &d);
    must(ts_session_ahead_next(gpu.s, &id, &d), &d);
    assert_int_equal(id, 18);
    must(ts_session_ahead_stop(gpu.s, 0, &d), &d);
  }
  close_side(&gpu);
}

static void profile(void **state) {
  (void)state;
  side gpu = open_side(gpu_library);
  ts_diag d = {0};
  ts_arena *a = ts_arena_new("test");
  ts_profile_row *rows;
  ts_session_profile(gpu.s, true);
  must(ts_session_feed(gpu.s, prompt, 18, &d), &d);
  size_t n = ts_session_profile_rows(gpu.s, a, &rows), seen = 0;
  for (size_t i = 0; i < n; i++) {
    seen += rows[i].calls;
    if (rows[i].calls) assert_int_equal(rows[i].ns / rows[i].calls, 1000);  // what a kernel takes there
  }
  assert_int_equal(n, 5);
  assert_int_equal(seen, 5);
  ts_session_profile(gpu.s, false);
  must(ts_session_feed(gpu.s, prompt, 1, &d), &d);
  ts_arena_free(a);
  close_side(&gpu);
}

// --- random weights -----------------------------------------------------------------------------------------------------------------
static void drawn(void **state) {
  (void)state;
  char path[200];
  ts_plan p = gpu_plan();
  ts_diag d = {0};
  p.synthetic = true;
  snprintf(path, sizeof path, "%s/drawn-cuda.so", tiny_dir());
  write_library(path, &p, NULL);
  float first[2] = {0};
  for (int round = 0; round < 2; round++) {
    ts_library *l = ts_library_open(path, &d);
    must(l != NULL, &d);
    ts_weights *w = ts_weights_load(l, NULL, NULL, NULL, &d);
    must(w != NULL, &d);
    ts_session *s = ts_session_new(l, w, NULL, &d);
    must(s != NULL, &d);
    must(ts_session_feed(s, prompt, 20, &d), &d);
    for (int v = 0; v < TINY_V; v++) assert_true(isfinite(ts_session_logits(s)[v]));
    first[round] = ts_session_logits(s)[7];
    ts_session_free(s);
    ts_weights_free(w);
    ts_library_close(l);
  }
  assert_true(first[0] != 0 && memcmp(&first[0], &first[1], sizeof first[0]) == 0);
}

// --- what goes wrong ----------------------------------------------------------------------------------------------------------------
static void refused(const char *fake, const char *library, const char *code, const char *words) {
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", fake, 1);
  ts_engine *e = ts_engine_open(tiny_dir(), &(ts_engine_opts){.library = library}, &d);
  ts_session *s = e ? ts_engine_session(e, &d) : NULL;
  unsetenv("TS_FAKE_CUDA");
  assert_null(s);
  if (strcmp(d.code, code) || !strstr(d.message, words)) fail_msg("%s [%s]", d.message, d.code);
  ts_engine_close(e);
}

static void refusals(void **state) {
  (void)state;
  char path[200];
  ts_plan p = gpu_plan();
  refused("compute=80", gpu_library, "wrong-gpu", "sm_90a");
  refused("compute=100", gpu_library, "wrong-gpu", "Fake GPU");
  refused("devices=0", gpu_library, "no-gpu", "0");
  setenv("TUNESMITH_GPU", "first", 1);
  refused("", gpu_library, "bad-option", "TUNESMITH_GPU is 'first'");
  unsetenv("TUNESMITH_GPU");
  refused("alloc=2", gpu_library, "out-of-device-memory", "weights");
  refused("init=100", gpu_library, "cuda-error", "NO_DEVICE");
  snprintf(path, sizeof path, "%s/broken-cuda.so", tiny_dir());
  write_library(path, &p, "//fake");
  refused("load=218", path, "cuda-error", "not liked");
  p.gpu = "sm_80", p.target = "cuda:sm_80";
  write_library(path, &p, NULL);
  refused("compute=90", path, "wrong-gpu", "sm_80");
  p.target = "cuda:sm_80,ptx=1";  // what the driver translates runs on newer GPUs
  write_library(path, &p, NULL);
  side newer = open_side(path);
  close_side(&newer);
  refused("compute=75", path, "wrong-gpu", "sm_80");
  ts_plan_step steps[2] = {tiny_plan()->phases[0].steps[0], tiny_plan()->phases[0].steps[1]};
  ts_plan_phase phases[3];
  memcpy(phases, tiny_plan()->phases, sizeof phases);
  p = gpu_plan();
  steps[1].ndims = 0;  // the kernel has t
  phases[0].steps = steps;
  p.phases = phases;
  write_library(path, &p, NULL);
  refused("", path, "library-kernel", "mix_1");
}

// Weights that the library's kernels are not for: as they are stored, packed, and drawn.
static void limits(void **state) {
  (void)state;
  char path[200];
  snprintf(path, sizeof path, "%s/limits-cuda.so", tiny_dir());
  for (int i = 0; i < 2; i++) {
    ts_plan p = gpu_plan();
    ts_plan_weight w[3];
    memcpy(w, p.weights, sizeof w);
    ts_plan_storage s = w[i].storage[0];
    w[i].storage = &s;
    p.weights = w;
    s.below = 1;
    write_library(path, &p, NULL);
    refused("", path, "weights-limit", i ? "head.weight reaches 1, and the library's kernels are for less than 1" : "embed.weight reaches 1,");
    s.below = 0.01;
    p.synthetic = true;
    write_library(path, &p, NULL);
    refused("", path, "weights-limit", i ? "head.weight reaches 0.1" : "embed.weight reaches 0.1");
    s.below = 1.5, s.least = 1;
    p.synthetic = false;
    write_library(path, &p, NULL);
    side gpu = open_side(path);
    close_side(&gpu);
  }
}

// Only kernels that ask for it give up the first-level cache.
static void carveout(void **state) {
  (void)state;
  char path[200];
  ts_plan p = gpu_plan();
  snprintf(path, sizeof path, "%s/carveout-cuda.so", tiny_dir());
  setenv("TS_FAKE_CUDA", "carveout=1", 1);
  side x = open_side(gpu_library);
  close_side(&x);
  unsetenv("TS_FAKE_CUDA");
  dependent = 2;
  write_library(path, &p, NULL);
  dependent = 1;
  refused("carveout=1", path, "cuda-error", "shared memory");
  unlink(path);
}

// Blocks that meet in memory wait for each other: where the GPU has no room for all of them at once they would for ever.
static void multiprocessors(void **state) {
  (void)state;
  char path[200];
  ts_plan p = gpu_plan();
  snprintf(path, sizeof path, "%s/meeting-cuda.so", tiny_dir());
  zeroed = 64;
  write_library(path, &p, NULL);
  refused("", path, "wrong-gpu", "132 multiprocessors");
  p.target = "cuda:sm_90a,sms=4";
  write_library(path, &p, NULL);
  zeroed = 0;
  side x = open_side(path);
  close_side(&x);
  unlink(path);
}

// Generates after a fault was planned for a moment; leaves with 0 when the fault was reported as one.
static int with_fault(long at) {
  char fake[40];
  ts_diag d = {0};
  ts_gen_result r;
  ts_text text = {0};
  side x = open_side(gpu_library);
  const ts_gen_opts o = {.sampler = {.top_p = 1, .repetition_penalty = 1}, .max_tokens = 30, .text = keep_text, .arg = &text};
  snprintf(fake, sizeof fake, "fault_at=%ld", at);
  setenv("TS_FAKE_CUDA", fake, 1);
  bool ok = ts_generate(x.s, ts_engine_tokenizer(x.e), prompt, 20, &o, &r, &d);
  bool told = !ok && !strcmp(d.code, "cuda-error") && strstr(d.message, "ILLEGAL_ADDRESS");
  assert_true(isnan(ts_session_logits(x.s)[0]));
  close_side(&x);
  ts_text_free(&text);
  return told ? 0 : 1;
}

// A kernel's illegal access loses the device: wherever it happens, the call says so, and everything can be closed. Each in a process of
// its own.
static void faults(void **state) {
  (void)state;
  for (long at = 4000; at < 60000; at += 7000) {
    pid_t child = fork();
    int status = 0;
    if (child == 0) _exit(with_fault(at));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("a fault at %ld ns: status %d", at, status);
  }
}

static void plans(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_diag d = {0};
  ts_text one = {0}, two = {0};
  ts_plan p = gpu_plan();
  p.synthetic = true;
  ts_plan_print(&one, &p);
  const ts_plan *back = ts_plan_parse(a, "plan", one.p, one.n, &d);
  must(back != NULL, &d);
  assert_int_equal(back->api, TS_API_CUDA);
  assert_string_equal(back->gpu, "sm_90a");
  assert_true(back->synthetic);
  ts_plan_print(&two, back);
  assert_string_equal(one.p, two.p);
  p.gpu = "";
  assert_false(ts_plan_verify(&p, "plan", &d));
  p = *tiny_plan();
  p.gpu = "sm_90a";
  assert_false(ts_plan_verify(&p, "plan", &d));
  p.gpu = "";
  p.synthetic = true;
  assert_false(ts_plan_verify(&p, "plan", &d));
  ts_text_free(&one);
  ts_text_free(&two);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_text), cmocka_unit_test(paged), cmocka_unit_test(paged_beginnings), cmocka_unit_test(paged_pieces), cmocka_unit_test(paged_full), cmocka_unit_test(paged_spoiled), cmocka_unit_test(logits),   cmocka_unit_test(ahead), cmocka_unit_test(ahead_again), cmocka_unit_test(few_rows_again), cmocka_unit_test(ahead_extremes), cmocka_unit_test(profile),
                                     cmocka_unit_test(drawn),     cmocka_unit_test(limits), cmocka_unit_test(refusals), cmocka_unit_test(carveout), cmocka_unit_test(multiprocessors), cmocka_unit_test(faults), cmocka_unit_test(plans)};
  return cmocka_run_group_tests(tests, group_setup, NULL);
}
