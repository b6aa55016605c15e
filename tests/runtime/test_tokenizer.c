// Tokenizers against what the Hugging Face package says (scripts/make-tokenizer-fixtures), streams, hostile files.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "runtime/runtime.h"

static ts_arena *arena;

static int setup(void **state) {
  (void)state;
  arena = ts_arena_new("test");
  return 0;
}

static int teardown(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

static const char *fixture(const char *name, const char *suffix) {
  return ts_arena_printf(arena, "%s/tokenizers/%s%s", TS_TEST_DIR, name, suffix);
}

static ts_tokenizer *load(const char *name) {
  ts_diag d = {0};
  ts_tokenizer *t = ts_tokenizer_load(fixture(name, ".json"), &d);
  if (!t) fail_msg("%s", d.message);
  return t;
}

static int differences;

static void wrong(const char *name, const char *what, const char *text, const char *got) {
  differences++;
  if (differences < 12) print_error("%s: %s of <<%s>>: got <<%s>>\n", name, what, text, got);
}

static void check_ids(const char *name, const ts_tokenizer *t, const json_t *c, bool special) {
  const json_t *text = json_object_get(c, "text"), *ids = json_object_get(c, special ? "full" : "ids");
  ts_tokens got = {0};
  ts_diag d = {0};
  if (!ts_tokenizer_encode(t, json_string_value(text), json_string_length(text), special, &got, &d)) fail_msg("%s", d.message);
  bool same = got.n == json_array_size(ids);
  for (size_t i = 0; same && i < got.n; i++) same = got.p[i] == json_integer_value(json_array_get(ids, i));
  ts_text shown = {0};
  for (size_t i = 0; i < got.n; i++) ts_text_addf(&shown, "%d ", got.p[i]);
  if (!same) wrong(name, special ? "full ids" : "ids", json_string_value(text), ts_text_str(&shown));
  ts_text_free(&shown);
  ts_tokens_free(&got);
}

static void check_text(const char *name, const ts_tokenizer *t, const json_t *c, bool skip) {
  const json_t *want = json_object_get(c, skip ? "skipped" : "decoded"), *full = json_object_get(c, "full");
  ts_tokens ids = {0};
  for (size_t i = 0; i < json_array_size(full); i++) ts_tokens_add(&ids, (int32_t)json_integer_value(json_array_get(full, i)));
  ts_text got = {0};
  ts_tokenizer_decode(t, ids.p, ids.n, skip, &got);
  if (got.n != json_string_length(want) || memcmp(ts_text_str(&got), json_string_value(want), got.n) != 0)
    wrong(name, skip ? "skipped" : "decoded", json_string_value(json_object_get(c, "text")), ts_text_str(&got));
  ts_text_free(&got);
  ts_tokens_free(&ids);
}

static void same_as_reference(void **state) {
  const char *name = *state;
  ts_tokenizer *t = load(name);
  json_error_t e;
  json_t *cases = json_load_file(fixture(name, ".cases"), JSON_ALLOW_NUL, &e);
  if (!cases) fail_msg("%s: %s", name, e.text);
  differences = 0;
  for (size_t i = 0; i < json_array_size(cases); i++) {
    const json_t *c = json_array_get(cases, i);
    check_ids(name, t, c, false);
    check_ids(name, t, c, true);
    check_text(name, t, c, false);
    check_text(name, t, c, true);
  }
  assert_true(json_array_size(cases) > 100);
  json_decref(cases);
  ts_tokenizer_free(t);
  assert_int_equal(differences, 0);
}

// The model of the repository: ids and text of strings that are easy to get wrong.
static void tiny_model_strings(void **state) {
  (void)state;
  ts_diag d = {0};
  json_error_t e;
  ts_tokenizer *t = ts_tokenizer_load(TS_TEST_DIR "/../data/tiny/tokenizer.json", &d);
  if (!t) fail_msg("%s", d.message);
  json_t *cases = json_load_file(TS_TEST_DIR "/../data/fixtures/tiny-tokens.json", JSON_ALLOW_NUL, &e), *c;
  size_t i;
  differences = 0;
  json_array_foreach(cases, i, c) {
    json_object_set(c, "full", json_object_get(c, "ids"));
    check_ids("tiny", t, c, false);
    check_text("tiny", t, c, false);
  }
  assert_true(json_array_size(cases) > 20);
  assert_int_equal(differences, 0);
  json_decref(cases);
  ts_tokenizer_free(t);
}

// What comes out token by token is whole characters, and together the same text.
static void stream_is_whole(void **state) {
  (void)state;
  ts_tokenizer *t = load("gpt2");
  const char *text = "naïve 你好 🙂 x👩‍👩‍👧";
  ts_tokens ids = {0};
  assert_true(ts_tokenizer_encode(t, text, strlen(text), false, &ids, NULL));
  ts_decoder s;
  ts_text all = {0};
  ts_decoder_init(&s, t, true);
  for (size_t i = 0; i < ids.n; i++) {
    ts_text part = {0};
    ts_decoder_push(&s, ids.p[i], &part);
    json_t *valid = json_stringn(ts_text_str(&part), part.n);  // refuses what is not UTF-8
    assert_non_null(valid);
    json_decref(valid);
    ts_text_addn(&all, ts_text_str(&part), part.n);
    ts_text_free(&part);
  }
  ts_decoder_end(&s, &all);
  assert_string_equal(ts_text_str(&all), text);
  ts_text_free(&all);
  // A cut-off character shows up as U+FFFD at the end.
  ts_tokenizer_decode(t, ids.p, ids.n - 1, true, &all);
  assert_non_null(strstr(ts_text_str(&all), "\xEF\xBF\xBD"));
  ts_text_free(&all);
  ts_tokens_free(&ids);
  ts_tokenizer_free(t);
}

// Bytes that are not UTF-8 neither crash nor stop encoding.
static void wrong_bytes(void **state) {
  (void)state;
  static const char *const names[] = {"gpt2", "llama2", "qwen2"};
  ts_rng r = ts_rng_new(3, 3);
  for (size_t k = 0; k < TS_COUNTOF(names); k++) {
    ts_tokenizer *t = load(names[k]);
    for (int i = 0; i < 300; i++) {
      char text[40];
      size_t n = ts_rng_below(&r, sizeof text);
      for (size_t j = 0; j < n; j++) text[j] = (char)ts_rng_below(&r, 256);
      ts_tokens ids = {0};
      assert_true(ts_tokenizer_encode(t, text, n, true, &ids, NULL));
      for (size_t j = 0; j < ids.n; j++) assert_non_null(ts_tokenizer_piece(t, ids.p[j]));
      ts_tokens_free(&ids);
    }
    ts_tokenizer_free(t);
  }
}

// A long text without a split, and one of a million combining marks, take time in proportion.
static void long_texts(void **state) {
  (void)state;
  enum { N = 400000 };
  char *text = malloc(N);
  for (int i = 0; i < N; i++) text[i] = (char)('a' + i % 2);
  uint64_t start = ts_now_ns();
  ts_tokenizer *t = load("qwen2");
  ts_tokens ids = {0};
  assert_true(ts_tokenizer_encode(t, text, N, false, &ids, NULL));
  for (int i = 0; i + 1 < N; i += 2) memcpy(text + i, i % 4 ? "\xCC\x81" : "\xCC\xA3", 2);
  assert_true(ts_tokenizer_encode(t, text, N, false, &ids, NULL));
  assert_true(ts_now_ns() - start < UINT64_C(20000000000));
  ts_tokens_free(&ids);
  ts_tokenizer_free(t);
  free(text);
}

// A tokenizer built from arrays encodes as the file they were taken from.
static void built_from_arrays(void **state) {
  (void)state;
  json_error_t e;
  json_t *root = json_load_file(fixture("gpt2", ".json"), 0, &e);
  ts_tokenizer *file = load("gpt2");
  const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
  size_t npieces = ts_tokenizer_size(file), nmerges = json_array_size(merges);
  const char **pieces = ts_new_array(arena, const char *, npieces), **pairs = ts_new_array(arena, const char *, nmerges);
  int32_t special[3], n = 0;
  for (size_t i = 0; i < npieces; i++) {
    pieces[i] = ts_tokenizer_piece(file, (int32_t)i);
    if (ts_tokenizer_is_special(file, (int32_t)i)) special[n++] = (int32_t)i;
  }
  for (size_t i = 0; i < nmerges; i++) {
    const json_t *m = json_array_get(merges, i);
    pairs[i] = json_is_string(m) ? json_string_value(m)
                                 : ts_arena_printf(arena, "%s %s", json_string_value(json_array_get(m, 0)), json_string_value(json_array_get(m, 1)));
  }
  ts_diag d = {0};
  ts_bpe_spec s = {.kind = TS_BPE_BYTE_LEVEL, .npieces = npieces, .pieces = pieces, .nmerges = nmerges, .merges = pairs,
                   .nspecial = (size_t)n, .special = special};
  ts_tokenizer *t = ts_tokenizer_build(&s, &d);
  if (!t) fail_msg("%s", d.message);
  const char *text = "It's the kernels' 1234 loops<|im_end|>\n  naïve 🙂";
  ts_tokens a = {0}, b = {0};
  assert_true(ts_tokenizer_encode(t, text, strlen(text), false, &a, NULL));
  assert_true(ts_tokenizer_encode(file, text, strlen(text), false, &b, NULL));
  assert_int_equal(a.n, b.n);
  assert_memory_equal(a.p, b.p, a.n * sizeof *a.p);
  pairs[3] = "zz qq";
  assert_null(ts_tokenizer_build(&s, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  ts_tokens_free(&a);
  ts_tokens_free(&b);
  ts_tokenizer_free(t);
  ts_tokenizer_free(file);
  json_decref(root);
}

static void refused(const char *json, const char *fact) {
  ts_diag d = {0};
  ts_tokenizer *t = ts_tokenizer_parse("hostile.json", json, strlen(json), &d);
  if (t) fail_msg("accepted: %s", json);
  if (!strstr(d.message, fact) || !strstr(d.message, "hostile.json")) fail_msg("%s: %s", json, d.message);
}

static void hostile_files(void **state) {
  (void)state;
  refused("", "JSON");
  refused("[]", "model");
  refused("{\"model\":{}}", "vocab");
  refused("{\"model\":{\"vocab\":{}}}", "merges");
  refused("{\"model\":{\"vocab\":{},\"merges\":[]}}", "empty");
  refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0},\"merges\":[]}}", "Unigram");
  refused("{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "out of range");
  refused("{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", "too large");
  refused("{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "used twice");
  refused("{\"model\":{\"vocab\":{\"a\":\"x\"},\"merges\":[]}}", "no id");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "not in the vocabulary");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "not a pair");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "not a pair");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.5}}", "dropout");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", "unknown token");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{}]}", "lacks");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":0,\"content\":\"b\"}]}", "used twice");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Lowercase\"}}", "Lowercase");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}}}", "regular");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"s\"}}],"
          "\"special_tokens\":{\"s\":{\"ids\":[7]}}}}", "post-processor");
  refused("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"decoder\":{\"type\":\"CTC\"}}", "CTC");
  // An expression that backtracks without end gives up.
  const char *slow = "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\","
                     "\"pattern\":{\"Regex\":\"(a+)+(b+)+(a+)+$\"}}}";
  ts_tokenizer *t = ts_tokenizer_parse("slow", slow, strlen(slow), NULL);
  assert_non_null(t);
  char text[301];
  memset(text, 'a', 300);
  text[150] = 'b';
  text[299] = 'c';
  ts_tokens ids = {0};
  ts_diag d = {0};
  assert_false(ts_tokenizer_encode(t, text, 300, false, &ids, &d));
  assert_string_equal(d.code, "tokenizer-regex");
  ts_tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define SAME(name) cmocka_unit_test_prestate(same_as_reference, (void *)name)
      SAME("gpt2"), SAME("gpt2-prefix"), SAME("smollm"), SAME("llama3"), SAME("qwen2"), SAME("llama2"), SAME("metaspace"),
      SAME("metaspace-split"), cmocka_unit_test(tiny_model_strings), cmocka_unit_test(stream_is_whole), cmocka_unit_test(wrong_bytes), cmocka_unit_test(long_texts),
      cmocka_unit_test(built_from_arrays), cmocka_unit_test(hostile_files)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
