// Plans, libraries, weights and sessions on the counting model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "tiny.h"

static ts_arena *arena;
static const char *lib_path, *params_path, *weights_path;

static int setup(void **state) {
  (void)state;
  arena = ts_arena_new("test");
  lib_path = ts_path_join(arena, tiny_dir(), "tiny-cpu.so");
  params_path = ts_path_join(arena, tiny_dir(), "params");
  weights_path = ts_path_join(arena, tiny_dir(), "tiny-cpu.weights");
  tiny_params(params_path);
  tiny_library(lib_path, tiny_plan_text(arena, tiny_plan()), "");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

typedef struct rig {
  ts_library *lib;
  const ts_index *index;
  ts_pool *pool;
  ts_weights *weights;
  ts_session *s;
} rig;

static void check(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("%s [%s]", d->message, d->code);
}

static rig rig_open(const char *packed, int threads) {
  ts_diag d = {0};
  rig r = {0};
  check((r.lib = ts_library_open(lib_path, &d)), &d);
  check((r.index = ts_index_open(arena, params_path, &d)), &d);
  check((r.pool = ts_pool_new(threads, &d)), &d);
  check((r.weights = ts_weights_load(r.lib, r.index, packed, r.pool, &d)), &d);
  check((r.s = ts_session_new(r.lib, r.weights, r.pool, &d)), &d);
  return r;
}

static void rig_close(rig *r) {
  ts_session_free(r->s);
  ts_weights_free(r->weights);
  ts_pool_free(r->pool);
  ts_library_close(r->lib);
}

static void plan_round_trip(void **state) {
  (void)state;
  ts_diag d = {0};
  const char *text = tiny_plan_text(arena, tiny_plan());
  const ts_plan *p = ts_plan_parse(arena, "tiny", text, strlen(text), &d);
  check(p != NULL, &d);
  assert_string_equal(tiny_plan_text(arena, p), text);
  ts_sha256 a = ts_plan_layout(p), b = ts_plan_layout(tiny_plan());
  assert_memory_equal(&a, &b, sizeof a);
}

// Each change of the text is refused, and the refusal says the file.
static void plan_refusals(void **state) {
  (void)state;
  static const char *const changes[][2] = {
      {"tunesmith-plan", "other"},
      {"\"version\": 1", "\"version\": 2"},
      {"\"vocab\": 272", "\"vocab\": 999999999"},
      {"\"vocab\": 272", "\"vocab\": \"272\""},
      {"\"active_vocab\": 265", "\"active_vocab\": 273"},
      {"\"eos\": [260]", "\"eos\": [272]"},
      {"\"offset\": 34880", "\"offset\": 34944"},
      {"\"offset\": 64}", "\"offset\": 65}"},
      {"\"arena_bytes\": 35968", "\"arena_bytes\": 35967"},
      {"\"kv_bytes\": 104448", "\"kv_bytes\": -1"},
      {"\"name\": \"y\"", "\"name\": \"x\""},
      {"[272, 272]", "[272, -272]"},
      {"[272, 272]", "[4611686018427387904, 272]"},
      {"\"f32\", [272, 272]", "\"f99\", [272, 272]"},
      {"\"buffer x\"", "\"buffer z\""},
      {"\"weight head 0\"", "\"weight head 1\""},
      {"\"k 0\"", "\"k 1\""},
      {"\"cos\"", "\"tan\""},
      {"row 1088", "row 1087"},
      {"row 1088", "row 1152"},
      {"\"n_max\": 16", "\"n_max\": 17"},
      {"\"n_min\": 2", "\"n_min\": 0"},
      {"\"dims\": [\"t\"]", "\"dims\": [\"u\"]"},
      {"\"kind\": \"head\"", "\"kind\": \"decode\""},
      {"\"positions\": 96", "\"positions\": 95"},
      {"\"theta\": 1e+04", "\"theta\": -1.0"},
      {"\"record\": \"exact\"", "\"record\": \"made-up\""},
      {"\"phases\"", "\"faces\""},
  };
  const char *text = tiny_plan_text(arena, tiny_plan());
  for (size_t i = 0; i < TS_COUNTOF(changes); i++) {
    ts_text t = {0};
    if (!tiny_changed(text, changes[i], &t)) fail_msg("not in the plan: %s", changes[i][0]);
    ts_diag d = {0};
    if (ts_plan_parse(arena, "tiny.plan", ts_text_str(&t), t.n, &d)) fail_msg("accepted: %s", changes[i][1]);
    assert_int_equal(d.kind, TS_REFUSAL);
    assert_non_null(strstr(d.message, "tiny.plan"));
    ts_text_free(&t);
  }
  for (size_t n = 0; n < strlen(text); n += 97) assert_null(ts_plan_parse(arena, "cut", text, n, NULL));
}

static void logits_match(const ts_session *s, const int32_t *tokens, size_t n) {
  float want[TINY_V];
  tiny_logits(tokens, n, want);
  for (int v = 0; v < TINY_V; v++) assert_true(fabsf(want[v] - ts_session_logits(s)[v]) < 1e-5f);
}

// Any split of the text into feeds gives the logits of the whole, at every length up to the full context.
static void feeds_agree(void **state) {
  (void)state;
  rig r = rig_open(NULL, 2);
  ts_diag d = {0};
  int32_t tokens[TINY_P];
  ts_rng rng = ts_rng_new(7, 1);
  for (int i = 0; i < TINY_P; i++) tokens[i] = (int32_t)ts_rng_below(&rng, TINY_V);
  for (int round = 0; round < 12; round++) {
    ts_session_truncate(r.s, 0);
    for (size_t n = 0; n < TINY_P;) {
      size_t k = 1 + ts_rng_below(&rng, round < 3 ? 3 : TINY_P);
      if (k > TINY_P - n) k = TINY_P - n;
      check(ts_session_feed(r.s, tokens + n, k, &d), &d);
      n += k;
      assert_int_equal(ts_session_length(r.s), n);
      logits_match(r.s, tokens, n);
    }
    assert_false(ts_session_feed(r.s, tokens, 1, &d));
    assert_string_equal(d.code, "context-full");
    assert_int_equal(ts_session_length(r.s), TINY_P);
  }
  ts_session_truncate(r.s, 5);
  check(ts_session_feed(r.s, tokens + 5, 2, &d), &d);
  logits_match(r.s, tokens, 7);
  assert_false(ts_session_feed(r.s, (const int32_t[]){TINY_V}, 1, &d));
  assert_string_equal(d.code, "bad-token");
  rig_close(&r);
}

typedef struct scored {
  ts_session *s;
  const int32_t *tokens;
  int64_t rows, stop;
} scored;

static bool score_row(void *arg, int64_t position, const float *logits) {
  scored *c = arg;
  assert_int_equal(position, c->rows);
  assert_ptr_equal(logits, ts_session_logits(c->s));
  logits_match(c->s, c->tokens, (size_t)position + 1);
  return ++c->rows != c->stop;
}

static void every_row_scored(void **state) {
  (void)state;
  rig r = rig_open(NULL, 1);
  ts_diag d = {0};
  int32_t tokens[41];
  for (int i = 0; i < 41; i++) tokens[i] = i * 5 % TINY_V;
  scored c = {r.s, tokens, 0, -1};
  check(ts_session_score(r.s, tokens, 41, score_row, &c, &d), &d);
  assert_int_equal(c.rows, 41);
  ts_session_truncate(r.s, 0);
  c = (scored){r.s, tokens, 0, 3};
  assert_false(ts_session_score(r.s, tokens, 41, score_row, &c, &d));
  assert_string_equal(d.code, "stopped");
  rig_close(&r);
}

static void packed_file(void **state) {
  (void)state;
  ts_diag d = {0};
  rig r = rig_open(weights_path, 2);
  assert_false(ts_weights_from_file(r.weights));
  assert_ptr_equal(ts_weights_part(r.weights, 0, 0), ts_weights_part(r.weights, 2, 0));
  assert_int_equal(ts_weights_bytes(r.weights), 2 * TINY_V * TINY_H * 4);
  check(ts_weights_write(r.weights, r.index, weights_path, &d), &d);
  rig p = rig_open(weights_path, 2);
  assert_true(ts_weights_from_file(p.weights));
  for (int w = 0; w < 3; w++)
    assert_memory_equal(ts_weights_part(p.weights, w, 0), ts_weights_part(r.weights, w, 0), TINY_V * TINY_H * 4);
  rig_close(&p);
  // A file that belongs to other parameters is left alone; a broken one is an error; so is a read that fails.
  char *bytes;
  size_t n;
  check(ts_file_read(weights_path, arena, &bytes, &n, &d), &d);
  bytes[48 + 3] ^= 1;
  check(ts_file_write(weights_path, bytes, n, &d), &d);
  p = rig_open(weights_path, 2);
  assert_false(ts_weights_from_file(p.weights));
  rig_close(&p);
  bytes[48 + 3] ^= 1;
  static const size_t cuts[] = {0, 50, 96, 120, 5000, 1};
  for (size_t i = 0; i < TS_COUNTOF(cuts); i++) {
    size_t keep = cuts[i] == 1 ? n - 1 : cuts[i];
    check(ts_file_write(weights_path, bytes, keep, &d), &d);
    assert_null(ts_weights_load(r.lib, r.index, weights_path, r.pool, &d));
    assert_non_null(strstr(d.message, weights_path));
  }
  bytes[96] ^= 1;  // the table
  check(ts_file_write(weights_path, bytes, n, &d), &d);
  assert_null(ts_weights_load(r.lib, r.index, weights_path, r.pool, &d));
  bytes[96] ^= 1;
  check(ts_file_write(weights_path, bytes, n, &d), &d);
  ts_fault_set("read-weights:3");
  assert_null(ts_weights_load(r.lib, r.index, weights_path, r.pool, &d));
  ts_fault_set("write-weights:2");
  assert_false(ts_weights_write(r.weights, r.index, weights_path, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  ts_fault_set(NULL);
  p = rig_open(weights_path, 2);  // the old file is still whole
  assert_true(ts_weights_from_file(p.weights));
  rig_close(&p);
  unlink(weights_path);
  rig_close(&r);
}

static void refused_library(const char *plan, const char *flags, const char *code) {
  ts_diag d = {0};
  const char *path = ts_path_join(arena, tiny_dir(), "bad.so");
  tiny_library(path, plan, flags);
  ts_library *l = ts_library_open(path, &d);
  assert_null(l);
  assert_string_equal(d.code, code);
  assert_non_null(strstr(d.message, path));
}

static void library_refusals(void **state) {
  (void)state;
  ts_diag d = {0};
  const char *good = tiny_plan_text(arena, tiny_plan());
  refused_library(good, "-DTINY_ABI=999", "library-abi");
  refused_library(good, "-DTINY_WITHOUT_PACK", "library-kernel");
  refused_library("{}", "", "json-shape");
  refused_library("{", "", "json-syntax");
  ts_plan p = *tiny_plan();
  static const char *const features[] = {"sse4.2", "avx9000"};
  p.features = features;
  p.nfeatures = 2;
  refused_library(tiny_plan_text(arena, &p), "", "wrong-cpu");
  char *bytes;
  size_t n;
  check(ts_file_read(lib_path, arena, &bytes, &n, &d), &d);
  const char *cut = ts_path_join(arena, tiny_dir(), "cut.so");
  for (size_t k = 0; k < n; k = k * 2 + 10) {
    check(ts_file_write(cut, bytes, k, &d), &d);
    assert_null(ts_library_open(cut, &d));
    assert_non_null(strstr(d.message, cut));
  }
  assert_null(ts_library_open("/nonexistent/lib.so", &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
}

static void refused_index(const char *from, const char *to) {
  char *text;
  size_t n;
  ts_diag d = {0};
  check(ts_file_read(ts_path_join(arena, params_path, "ndarray-cache.json"), arena, &text, &n, &d), &d);
  const char *at = strstr(text, from);
  assert_non_null(at);
  const char *changed = ts_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
  if (ts_index_parse(arena, "dir", "index.json", changed, strlen(changed), &d)) fail_msg("accepted: %s", to);
  assert_non_null(strstr(d.message, "index.json"));
}

static void index_refusals(void **state) {
  (void)state;
  refused_index("params_shard_0.bin", "../params_shard_0.bin");
  refused_index("params_shard_0.bin", "..");
  refused_index("raw-shard", "zip");
  refused_index("head.weight", "embed.weight");
  refused_index("float16", "float12");
  refused_index("\"byteOffset\": 147968", "\"byteOffset\": 147967");
  refused_index("\"byteOffset\": 147968", "\"byteOffset\": 147969");
  refused_index("\"byteOffset\": 147968", "\"byteOffset\": -1");
  refused_index("[272, 272]", "[272, 273]");
  refused_index("[272, 272]", "[9223372036854775807, 3]");
  refused_index("[272, 272]", "\"272\"");
  refused_index("\"records\"", "\"rec\"");
  ts_diag d = {0};
  assert_null(ts_index_open(arena, "/nonexistent", &d));
  const char *dir = ts_path_join(arena, tiny_dir(), "short");
  tiny_params(dir);
  const char *shard = ts_path_join(arena, dir, "params_shard_0.bin");
  assert_int_equal(truncate(shard, 1000), 0);
  assert_null(ts_index_open(arena, dir, &d));
  assert_string_equal(d.code, "shard-size");
  assert_int_equal(unlink(shard), 0);
  assert_null(ts_index_open(arena, dir, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
}

static void rope_tables(void **state) {
  (void)state;
  enum { P = 5, D = 8 };
  float c[P * D / 2], s[P * D / 2];
  ts_plan_rope r = {.positions = P, .dim = D, .theta = 10000};
  ts_rope_fill(&r, c, s);
  for (int p = 0; p < P; p++)
    for (int i = 0; i < D / 2; i++) {
      double angle = p * pow(10000, -2.0 * i / D);
      assert_true(fabs((double)c[p * D / 2 + i] - cos(angle)) < 1e-6 && fabs((double)s[p * D / 2 + i] - sin(angle)) < 1e-6);
    }
  r = (ts_plan_rope){.positions = P, .dim = D, .theta = 10000, .scaling = TS_ROPE_LINEAR, .factor = 4};
  ts_rope_fill(&r, c, s);
  assert_true(fabs((double)s[3 * D / 2] - sin(0.75)) < 1e-6);
  // Llama-3: the fastest pair is kept, the slowest divided by the factor.
  r = (ts_plan_rope){.positions = P, .dim = D, .theta = 500000, .scaling = TS_ROPE_LLAMA3, .factor = 8, .low_freq_factor = 1,
                     .high_freq_factor = 4, .original_positions = 8192};
  ts_rope_fill(&r, c, s);
  assert_true(fabs((double)s[D / 2] - sin(1.0)) < 1e-6);
  assert_true(fabs((double)s[D / 2 + 3] - sin(pow(500000, -0.75) / 8)) < 1e-9);
}

// What kernels ask of a tensor's values is in the plan, and loading looks: a library runs with other weights of its shapes than it was built for.
// Weight 0 and 2 are one tensor in memory, whose largest value is 1; so is that of the head, which is packed.
static void limited_weights(void **state) {
  (void)state;
  static const struct {
    int weight;
    double least, below;
    const char *refused;  // part of the message, NULL: loads
  } rows[] = {{0, 0, 1.5, NULL}, {0, 1, 1.01, NULL}, {0, 0, 1, "embed.weight reaches 1, and the library's kernels are for less than 1"}, {2, 0, 0.5, "embed.weight reaches 1"},
              {2, 1.25, 0, "embed.weight reaches 1, and the library's kernels are for at least 1.25"}, {1, 0, 2.5, NULL}, {1, 0, 1, "head.weight reaches 1"}, {1, 2.5, 3, "head.weight reaches 1"}};
  const char *path = ts_path_join(arena, tiny_dir(), "limited-cpu.so");
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_diag d = {0};
    ts_plan p = *tiny_plan();
    ts_plan_weight w[3];
    memcpy(w, p.weights, sizeof w);
    ts_plan_storage s = w[rows[i].weight].storage[0];
    s.least = rows[i].least, s.below = rows[i].below;
    w[rows[i].weight].storage = &s;
    p.weights = w;
    const char *text = tiny_plan_text(arena, &p);
    const ts_plan *again = ts_plan_parse(arena, "limited", text, strlen(text), &d);
    check(again != NULL, &d);
    assert_string_equal(tiny_plan_text(arena, again), text);
    tiny_library(path, text, "");
    ts_library *l = ts_library_open(path, &d);
    check(l != NULL, &d);
    const ts_index *x = ts_index_open(arena, params_path, &d);
    ts_pool *pool = ts_pool_new(1, &d);
    ts_weights *loaded = ts_weights_load(l, x, NULL, pool, &d);
    if ((loaded == NULL) != (rows[i].refused != NULL)) fail_msg("row %zu: %s", i, d.message);
    if (!loaded && (strcmp(d.code, "weights-limit") || !strstr(d.message, rows[i].refused) || !strstr(d.message, x->file))) fail_msg("row %zu: %s [%s]", i, d.message, d.code);
    ts_weights_free(loaded);
    ts_pool_free(pool);
    ts_library_close(l);
  }
}

// Limits that say nothing that can hold, or are not numbers.
static void bad_limits(void **state) {
  (void)state;
  static const char *const bad[] = {"[[2.0, 1.0]]", "[[0.0, -1.0]]", "[[-1.0, 0.0]]", "[[0.0, 1.0], [0.0, 1.0]]", "[]", "[1.0]", "[[1.0]]", "[[0.0, \"2\"]]", "{}", "[[0.0, 2.0, 3.0]]"};
  const char *text = tiny_plan_text(arena, tiny_plan());
  for (size_t i = 0; i < TS_COUNTOF(bad); i++) {
    ts_diag d = {0};
    ts_text t = {0};
    const char *const change[2] = {"\"name\": \"embed\"", ts_arena_printf(arena, "\"name\": \"embed\", \"limits\": %s", bad[i])};
    if (!tiny_changed(text, change, &t)) fail_msg("not in the plan: %s", change[0]);
    if (ts_plan_parse(arena, "tiny.plan", ts_text_str(&t), t.n, &d)) fail_msg("accepted: %s", bad[i]);
    if (d.kind != TS_REFUSAL || !strstr(d.message, "tiny.plan") || !strstr(d.message, "embed")) fail_msg("%s: %s", bad[i], d.message);
    ts_text_free(&t);
  }
}

static void magnitudes(void **state) {
  (void)state;
  uint16_t half[37] = {0};
  float f[37] = {0};
  for (int at = 0; at < 37; at++) {
    half[at] = ts_f16_from_f32(-2.5f), f[at] = -2.5f;
    assert_true(ts_dtype_most(TS_DT_F16, half, 37) == 2.5 && ts_dtype_most(TS_DT_F32, f, 37) == 2.5);
    assert_true(ts_dtype_most(TS_DT_F16, half, at) == 0);
    half[at] = 0xfe00, f[at] = NAN;  // not a number
    assert_true(isinf(ts_dtype_most(TS_DT_F16, half, 37)) && isinf(ts_dtype_most(TS_DT_F32, f, 37)));
    half[at] = 0, f[at] = 0;
  }
  half[3] = ts_bf16_from_f32(-3.0f);
  assert_true(ts_dtype_most(TS_DT_BF16, half, 37) == 3 && ts_dtype_most(TS_DT_U32, f, 37) == 0);
  assert_true(isinf(ts_dtype_most(TS_DT_F16, (const uint16_t[]){0x7c00}, 1)));
}

static void failed_memory(void **state) {
  (void)state;
  for (int k = 1; k <= 4; k++) {
    char spec[32];
    ts_diag d = {0};
    snprintf(spec, sizeof spec, "map-memory:%d", k);
    ts_library *lib = ts_library_open(lib_path, &d);
    const ts_index *x = ts_index_open(arena, params_path, &d);
    ts_pool *pool = ts_pool_new(1, &d);
    ts_fault_set(spec);
    ts_weights *w = ts_weights_load(lib, x, NULL, pool, &d);
    ts_session *s = w ? ts_session_new(lib, w, pool, &d) : NULL;
    assert_null(s);
    assert_string_equal(d.code, "out-of-memory");
    ts_fault_set(NULL);
    ts_weights_free(w);
    ts_pool_free(pool);
    ts_library_close(lib);
  }
}

static void profile_counts(void **state) {
  (void)state;
  rig r = rig_open(NULL, 1);
  ts_diag d = {0};
  ts_session_profile(r.s, true);
  int32_t tokens[10] = {0};
  check(ts_session_feed(r.s, tokens, 10, &d), &d);
  for (int i = 0; i < 4; i++) check(ts_session_feed(r.s, tokens, 1, &d), &d);
  ts_profile_row *rows;
  size_t n = ts_session_profile_rows(r.s, arena, &rows);
  assert_int_equal(n, 5);
  for (size_t i = 0; i < n; i++)
    assert_int_equal(rows[i].calls, !strcmp(rows[i].phase, "decode") ? 4 : !strcmp(rows[i].phase, "prefill") ? 1 : 5);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plan_round_trip), cmocka_unit_test(plan_refusals),    cmocka_unit_test(feeds_agree),
      cmocka_unit_test(every_row_scored), cmocka_unit_test(packed_file),     cmocka_unit_test(library_refusals),
      cmocka_unit_test(index_refusals),   cmocka_unit_test(rope_tables),     cmocka_unit_test(limited_weights),
      cmocka_unit_test(bad_limits), cmocka_unit_test(magnitudes), cmocka_unit_test(failed_memory),
      cmocka_unit_test(profile_counts)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
