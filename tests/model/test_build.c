// Builds: from a model on disk to a directory that the runtime runs, with the logits that an independent program
// computed.
#include <math.h>
#include <sys/stat.h>

#include "model/output_impl.h"
#include "model_test.h"
#include "runtime/runtime.h"

static char *tiny_model(ts_arena *a) { return ts_path_join(a, ts_data_dir(), "tests/data/tiny"); }

static ts_build_opts options(const char *model, const char *quant, const char *out) {
  return (ts_build_opts){.model = model,
                         .quant = quant,
                         .target = "cpu",
                         .out = out,
                         .max_seq_len = 256,
                         .prefill_chunk = 32,
                         .numerics = ""};
}

// --- logits against the reference --------------------------------------------------------------------------
typedef struct scores {
  const float *want;  // one row of the vocabulary a position
  const json_t *positions;
  int64_t vocab;
  size_t next;
  double worst;
} scores;

static bool score_row(void *arg, int64_t position, const float *logits) {
  scores *s = arg;
  if (s->next >= json_array_size(s->positions) || json_integer_value(json_array_get(s->positions, s->next)) != position)
    return true;
  const float *want = s->want + s->next++ * (size_t)s->vocab;
  double largest = 0, off = 0;
  for (int64_t i = 0; i < s->vocab; i++) {
    largest = fmax(largest, fabs((double)want[i]));
    off = fmax(off, fabs((double)want[i] - (double)logits[i]));
  }
  s->worst = fmax(s->worst, off / largest);
  return true;
}

static json_t *fixtures(ts_arena *a) {
  char *text;
  size_t n;
  ts_diag d = {0};
  must(ts_file_read(ts_path_join(a, ts_data_dir(), "tests/data/fixtures/tiny.json"), a, &text, &n, &d), &d);
  return ts__js_object("tiny.json", text, n, &d);
}

// Largest relative error over the prompts that fit the cache of the build.
static double logits_error(ts_arena *a, ts_engine *e) {
  json_t *f = fixtures(a);
  double worst = 0;
  size_t i, tested = 0;
  json_t *p;
  json_array_foreach(json_object_get(f, "prompts"), i, p) {
    const json_t *ids = json_object_get(p, "ids");
    size_t n = json_array_size(ids), bytes;
    if ((int64_t)n > ts_engine_plan(e)->max_seq) continue;
    int32_t *tokens = ts_new_array(a, int32_t, n);
    for (size_t k = 0; k < n; k++) tokens[k] = (int32_t)json_integer_value(json_array_get(ids, k));
    char *want;
    ts_diag d = {0};
    must(ts_file_read(ts_path_join(a, ts_path_join(a, ts_data_dir(), "tests/data/fixtures"), ts__js_str(p, "logits")),
                      a, &want, &bytes, &d),
         &d);
    scores s = {.want = (const float *)(void *)want,
                .positions = json_object_get(p, "positions"),
                .vocab = ts_engine_plan(e)->vocab};
    ts_session *session = ts_engine_session(e, &d);
    must(session != NULL, &d);
    must(ts_session_score(session, tokens, n, score_row, &s, &d), &d);
    ts_session_free(session);
    assert_int_equal(s.next, json_array_size(s.positions));
    worst = fmax(worst, s.worst);
    tested++;
  }
  json_decref(f);
  assert_true(tested >= 2);
  return worst;
}

static ts_engine *open_engine(const char *dir) {
  ts_diag d = {0};
  ts_engine *e = ts_engine_open(dir, &(ts_engine_opts){.threads = 2}, &d);
  must(e != NULL, &d);
  return e;
}

static void f32_build_matches_the_reference(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a);
  ts_diag d = {0};
  ts_build_result r;
  ts_build_opts o = options(tiny_model(a), "q0f32", out);
  must(ts_build(a, &o, &r, &d), &d);
  assert_string_equal(r.name, "tiny-q0f32");
  assert_true(r.nkernels >= 18);
  for (size_t i = 0; i < r.nkernels; i++) assert_string_equal(r.kernels[i].served, "default");
  static const char *const files[] = {
      "tiny-q0f32-cpu.so",         "tiny-q0f32-cpu.weights",      "kernels.jsonl",
      "params/ndarray-cache.json", "params/params_shard_0.bin",   "params/mlc-chat-config.json",
      "params/tokenizer.json",     "params/tokenizer_config.json"};
  for (size_t i = 0; i < TS_COUNTOF(files); i++)
    if (!ts_file_exists(ts_path_join(a, r.dir, files[i]))) fail_msg("no %s", files[i]);
  ts_engine *e = open_engine(r.dir);
  assert_true(ts_weights_from_file(ts_engine_weights(e)));
  double error = logits_error(a, e);
  if (!(error <= 1e-4)) fail_msg("relative error of logits %g", error);
  ts_engine_close(e);
  assert_int_equal(unlink(ts_path_join(a, r.dir, "tiny-q0f32-cpu.weights")), 0);  // the shards serve as well
  e = open_engine(r.dir);
  assert_false(ts_weights_from_file(ts_engine_weights(e)));
  assert_true(logits_error(a, e) <= 1e-4);
  ts_engine_close(e);
  remove_folder(out);
  ts_arena_free(a);
}

// Biases, shards, rope scalings, heads of their own size, untied heads: small random models by transformers.
static void architectures(void **state) {
  (void)state;
  static const char *const names[] = {"qwen2", "llama3", "linear", "mistral"};
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a), *data = ts_path_join(a, ts_data_dir(), "tests/data/arch");
  for (size_t i = 0; i < TS_COUNTOF(names); i++) {
    ts_diag d = {0};
    ts_build_result r;
    ts_build_opts o = options(ts_path_join(a, data, names[i]), "q0f32", out);
    o.max_seq_len = 64;
    must(ts_build(a, &o, &r, &d), &d);
    char *want, *text;
    size_t n, bytes;
    must(ts_file_read(ts_path_join(a, data, ts_arena_printf(a, "%s.f32", names[i])), a, &want, &bytes, &d), &d);
    must(ts_file_read(ts_path_join(a, data, ts_arena_printf(a, "%s.json", names[i])), a, &text, &n, &d), &d);
    json_t *f = ts__js_object(names[i], text, n, &d), *ids = json_object_get(f, "ids"), *positions = json_array();
    int32_t tokens[64];
    for (size_t k = 0; k < json_array_size(ids); k++) {
      tokens[k] = (int32_t)json_integer_value(json_array_get(ids, k));
      json_array_append_new(positions, json_integer((json_int_t)k));
    }
    ts_library *l = ts_library_open(ts_path_join(a, r.dir, r.library), &d);
    must(l != NULL, &d);
    const ts_index *x = ts_index_open(a, ts_path_join(a, r.dir, "params"), &d);
    must(x != NULL, &d);
    ts_pool *pool = ts_pool_new(2, &d);
    ts_weights *w = ts_weights_load(l, x, NULL, pool, &d);
    must(w != NULL, &d);
    ts_session *session = ts_session_new(l, w, pool, &d);
    must(session != NULL, &d);
    scores s = {.want = (const float *)(void *)want, .positions = positions, .vocab = ts_library_plan(l)->vocab};
    must(ts_session_score(session, tokens, json_array_size(ids), score_row, &s, &d), &d);
    assert_int_equal(s.next, json_array_size(ids));
    if (!(s.worst <= 1e-4)) fail_msg("%s: relative error of logits %g", names[i], s.worst);
    ts_session_free(session);
    ts_weights_free(w);
    ts_pool_free(pool);
    ts_library_close(l);
    json_decref(f);
    json_decref(positions);
  }
  remove_folder(out);
  ts_arena_free(a);
}

// The formats lose what they are known to lose; both layouts of q4 are the same numbers.
static void other_formats(void **state) {
  (void)state;
  static const struct {
    const char *quant;
    double most;
  } rows[] = {{"q0f16", 2e-3}, {"q4f16_1", 0.25}, {"q4f16_0", 0.25}};
  double error[3];
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_diag d = {0};
    ts_build_result r;
    ts_build_opts o = options(tiny_model(a), rows[i].quant, out);
    must(ts_build(a, &o, &r, &d), &d);
    ts_engine *e = open_engine(r.dir);
    error[i] = logits_error(a, e);
    if (!(error[i] <= rows[i].most)) fail_msg("%s: relative error of logits %g", rows[i].quant, error[i]);
    ts_engine_close(e);
  }
  assert_true(error[1] > 1e-5);
  assert_float_equal((float)error[1], (float)error[2], 1e-4f);
  remove_folder(out);
  ts_arena_free(a);
}

// --- configuration -----------------------------------------------------------------------------------------
static void chat_config(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, tiny_model(a), &s, &d), &d);
  ts_text t = {0};
  must(ts__chat_config_text(&s, "tiny-q4f16_1", "q4f16_1", 256, 32, &t, &d), &d);
  json_t *o = ts__js_object("config", t.p, t.n, &d);
  assert_non_null(o);
  static const char *const keys[] = {"version",
                                     "model_type",
                                     "quantization",
                                     "model_config",
                                     "vocab_size",
                                     "context_window_size",
                                     "sliding_window_size",
                                     "prefill_chunk_size",
                                     "attention_sink_size",
                                     "tensor_parallel_shards",
                                     "pipeline_parallel_stages",
                                     "active_vocab_size",
                                     "temperature",
                                     "presence_penalty",
                                     "frequency_penalty",
                                     "repetition_penalty",
                                     "top_p",
                                     "tokenizer_files",
                                     "tokenizer_info",
                                     "conv_template",
                                     "pad_token_id",
                                     "bos_token_id",
                                     "eos_token_id",
                                     "model_task",
                                     "embedding_metadata"};
  const char *key;
  json_t *v;
  size_t at = 0;
  json_object_foreach(o, key, v) {
    if (at < TS_COUNTOF(keys)) assert_string_equal(key, keys[at]);
    at++;
  }
  assert_int_equal(json_integer_value(json_object_get(o, "active_vocab_size")), 2048);
  assert_string_equal(ts__js_str(json_object_get(o, "conv_template"), "name"), "chatml");
  assert_string_equal(ts__js_str(json_object_get(o, "tokenizer_info"), "token_postproc_method"), "byte_level");
  json_decref(o);
  ts_chat_config c;
  must(ts_chat_config_parse(a, "config", t.p, t.n, &c, &d), &d);
  assert_int_equal(c.context_window, 256);
  assert_string_equal(c.conv->name, "chatml");
  assert_string_equal(c.conv->system_message, "");  // the model's template adds none
  assert_int_equal(c.eos[0], 2);
  ts_text_free(&t);
  ts_source_close(&s);
  ts_arena_free(a);
}

// --- failures leave things as they were --------------------------------------------------------------------
static size_t entries(ts_arena *a, const char *dir) {
  char **names;
  size_t n;
  ts_diag d = {0};
  must(ts_dir_list(dir, "", a, &names, &n, &d), &d);
  return n;
}

static void refusals(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a);
  ts_diag d = {0};
  ts_build_result r;
  ts_build_opts o = options(tiny_model(a), "q9", out);
  expect_refusal(ts_build(a, &o, &r, &d), &d, "unknown-quantization", "q9");
  o = options("/nonexistent/model", "q0f16", out);
  expect_refusal(ts_build(a, &o, &r, &d), &d, "no-such-model", "/nonexistent/model");
  o = options(tiny_model(a), "q0f16", out);
  o.max_seq_len = 100000;
  expect_refusal(ts_build(a, &o, &r, &d), &d, "bad-length", "100000");
  o = options(tiny_model(a), "q0f16", out);
  o.name = "../escape";
  expect_refusal(ts_build(a, &o, &r, &d), &d, "bad-name", "../escape");
  o = options(tiny_model(a), "q0f16", out);
  o.store = ts_path_join(a, out, "none.db");
  assert_false(ts_build(a, &o, &r, &d));
  assert_non_null(strstr(d.message, "none.db"));
  assert_int_equal(entries(a, out), 0);
  remove_folder(out);
  ts_arena_free(a);
}

// Something else at the place of the output stays; a model directory is replaced as a whole.
static void staging(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a), *dir = ts_path_join(a, out, "m");
  ts__staging s;
  ts_diag d = {0};
  must(ts_dir_make(dir, &d), &d);
  put(a, dir, "thesis.txt", "x", 1);
  expect_refusal(ts__staging_begin(&s, dir, &d), &d, "would-overwrite", dir);
  assert_true(ts_file_exists(ts_path_join(a, dir, "thesis.txt")));
  must(ts_dir_make(ts_path_join(a, dir, "params"), &d), &d);
  put(a, dir, "params/mlc-chat-config.json", "{}", 2);
  must(ts__staging_begin(&s, dir, &d), &d);
  put(a, s.path, "new", "y", 1);
  ts__staging_abandon(&s);
  assert_true(ts_file_exists(ts_path_join(a, dir, "thesis.txt")));
  assert_int_equal(entries(a, out), 1);
  must(ts__staging_begin(&s, dir, &d), &d);
  put(a, s.path, "new", "y", 1);
  must(ts_dir_make(ts_path_join(a, s.path, "params"), &d), &d);
  put(a, s.path, "params/mlc-chat-config.json", "{}", 2);
  char *killed = ts_path_join(a, out, ".m.2147480000.partial"), *other = ts_path_join(a, out, ".m2.2147480000.partial");
  must(ts__staging_commit(&s, &d), &d);
  ts__staging_abandon(&s);
  must(ts_dir_make(killed, &d) && ts_dir_make(other, &d), &d);  // of builds that were killed
  must(ts__staging_begin(&s, dir, &d), &d);
  ts__staging_abandon(&s);
  assert_false(ts_file_exists(killed));
  assert_true(ts_file_exists(other));
  assert_int_equal(rmdir(other), 0);
  assert_true(ts_file_exists(ts_path_join(a, dir, "new")));
  assert_false(ts_file_exists(ts_path_join(a, dir, "thesis.txt")));
  ts_fault_set("exchange:1");  // a file system that cannot
  must(ts__staging_begin(&s, dir, &d), &d);
  put(a, s.path, "newer", "z", 1);
  must(ts__staging_commit(&s, &d), &d);
  ts__staging_abandon(&s);
  assert_int_equal(ts_fault_visits("exchange"), 1);
  ts_fault_set(NULL);
  assert_true(ts_file_exists(ts_path_join(a, dir, "newer")));
  assert_false(ts_file_exists(ts_path_join(a, dir, "new")));
  assert_int_equal(entries(a, out), 1);
  assert_int_equal(entries(a, out), 1);
  remove_folder(out);
  ts_arena_free(a);
}

// Fail every write of parameters and files in turn: the directory appears whole or not at all.
static void failing_writes(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a);
  int failed = 0;
  for (int k = 1; k < 40; k++) {
    ts_diag d = {0};
    ts_build_result r;
    ts_build_opts o = options("synthetic:tiny", "q4f16_1", out);
    o.cache = ts_path_join(a, out, "cache");
    char spec[40];
    snprintf(spec, sizeof spec, "write:%d", k);
    ts_fault_set(spec);
    bool ok = ts_build(a, &o, &r, &d);
    ts_fault_set(NULL);
    char *dir = ts_path_join(a, out, "tiny-synthetic-q4f16_1");
    assert_int_equal(ok, ts_file_exists(dir));
    if (ok) break;
    assert_int_equal(d.kind, TS_ENVIRONMENT);
    failed++;
  }
  assert_true(failed > 0);
  remove_folder(out);
  ts_arena_free(a);
}

// --- reused libraries --------------------------------------------------------------------------------------
static void reused_library(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  char *out = temp_folder(a);
  ts_diag d = {0};
  ts_build_result r, again;
  ts_build_opts o = options("synthetic:tiny", "q4f16_1", out);
  must(ts_build(a, &o, &r, &d), &d);
  o.reuse_lib = ts_path_join(a, r.dir, r.library);
  o.name = "other";
  must(ts_build(a, &o, &again, &d), &d);
  ts_engine *e = open_engine(again.dir);
  ts_engine_close(e);
  o.quant = "q0f16";
  expect_refusal(ts_build(a, &o, &again, &d), &d, "wrong-library", "q4f16_1");
  o.quant = "q4f16_1";
  o.max_seq_len = 128;
  expect_refusal(ts_build(a, &o, &again, &d), &d, "wrong-library", "positions 256");
  remove_folder(out);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chat_config),    cmocka_unit_test(staging),
      cmocka_unit_test(refusals),       cmocka_unit_test(f32_build_matches_the_reference),
      cmocka_unit_test(architectures),  cmocka_unit_test(other_formats),
      cmocka_unit_test(reused_library), cmocka_unit_test(failing_writes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
