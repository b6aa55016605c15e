// GGUF: blocks, metadata, row order, tokenizers, and lying files.
#include "gguf_writer.h"
#include "runtime/runtime.h"

static bool open_bytes(ts_arena *a, const uint8_t *p, size_t n, ts_source *s, ts_diag *d) {
  *s = (ts_source){.kind = TS_SOURCE_GGUF, .path = "m.gguf", .name = "m"};
  return ts__gguf_read(a, "m.gguf", p, n, s, d);
}

static size_t from_hex(const char *hex, uint8_t *out) {
  size_t n = 0;
  unsigned v;
  for (const char *p = hex; *p; p++) {
    if (*p == ' ') continue;
    assert_int_equal(sscanf(p, "%2x", &v), 1);
    out[n++] = (uint8_t)v;
    p++;
  }
  return n;
}

static void worked_blocks(void **state) {
  (void)state;
  static const char q4k[] =
      "9c14 1c20 f4f4fff5fef7fffb44df9423 a0c2f5072a5c7fa0c3f5083a5d8fa0d3f5083a5d8fa1d3f5183a6d8fa1d3f618"
      "e406285a7caec2e406385a7caec2f406385a8caec2f406385a8ca0d2f416386a "
      "274a6c8fa0c2e5274a6c8fa0c305284a6c8fa0c305284a6d8fa1c305284a6d8f"
      "5c7fa0c2f5073a5c8fa0d3f5083a5c8fa0d3f5083a5d8fa1d3f5183a6d8fb1d3";
  static const char q6k[] =
      "0079d34ca51e97016ad33da60f88f25bc33da7117be04ab42e98f26cd14bb51f "
      "9903ad31db650faa14be42ec7610aa25a24de3993fd50bb15cf2984ee41ab06b"
      "10b60ba14ee4892fc51bb05df3993ed4fb51ab0167ce24ea40aaf057bd13d930 "
      "98f15bb41dc62f89e24ba40eb7107ad34cb52f88f06ad33da61079e15ac43d97"
      "f82c1d514286f7f82c1d514286fbe82c115d4e8bf7e420115d4ebbf7e420115d "
      "b27544081bdfeeb17544081bdfe2b17574382bef92814574382fdf9281457438"
      "7f75738b85807a718f897f7b758d8b81 1008";
  static const struct {
    ts_wtype t;
    const char *hex;
    float want[8];
  } rows[] = {
      {TS_W_Q4_K,
       q4k,
       {-0.497619629f, -0.380584717f, -0.205032349f, -0.0879974365f, 0.0875549316f, 0.204589844f, 0.380142212f,
        -0.497619629f}},
      {TS_W_Q6_K,
       q6k,
       {-0.503845215f, -0.362138748f, -0.204687119f, -0.0629806519f, 0.0787258148f, 0.220432281f, 0.362138748f,
        -0.488100052f}},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    uint8_t block[256];
    float out[256];
    assert_int_equal(from_hex(rows[i].hex, block), ts_wtype_block_bytes(rows[i].t));
    ts_wtype_decode(rows[i].t, block, 256, out);
    for (int k = 0; k < 8; k++) assert_float_equal(out[k], rows[i].want[k], 1e-9f);
    for (int k = 0; k < 256; k++) assert_float_equal(out[k], (float)(37 * k % 256 - 128) / 256, 0.04f);
  }
}

// ((7i mod 32) - 15) / 64 in the three simple formats; decoding gives d * q (+ m).
static void simple_blocks(void **state) {
  (void)state;
  static const struct {
    ts_wtype t;
    const char *hex;
    float d, m;
    int bias;
  } rows[] = {
      {TS_W_Q4_0, "00a8 8f4c19d5a26e3bf7c4805d19e6a27f3b", -0.03125f, 0, 8},
      {TS_W_Q4_1, "2228 80b3 80b3f72a6e91d5084c7fb3e62a5d91c4", 0.03228759765625f, -0.234375f, 0},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    uint8_t block[64];
    float out[32];
    size_t n = from_hex(rows[i].hex, block), head = i ? 4 : 2;
    assert_int_equal(n, ts_wtype_block_bytes(rows[i].t));
    ts_wtype_decode(rows[i].t, block, 32, out);
    for (int k = 0; k < 32; k++) {
      int q = k < 16 ? block[head + (size_t)k] & 15 : block[head + (size_t)k - 16] >> 4;
      assert_true(out[k] == (float)(q - rows[i].bias) * rows[i].d + rows[i].m);
      assert_float_equal(out[k], (float)(7 * k % 32 - 15) / 64, 0.032f);
    }
  }
  uint8_t block[64];
  float out[32];
  assert_int_equal(from_hex("0818 89c0f83067a1d810477fb9f0285f99d0084077b1e8205791c800386fa9e0184f", block), 34);
  ts_wtype_decode(TS_W_Q8_0, block, 32, out);
  for (int k = 0; k < 32; k++) assert_float_equal(out[k], (float)(7 * k % 32 - 15) / 64, 0.001f);
}

static void config_and_rows(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  gguf g = {0};
  g_model(&g);
  g_byte_level(&g);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  ts_source s;
  ts_diag d = {0};
  char *dir = temp_folder(a);
  put(a, dir, "Tiny-1M.Q4_1.gguf", p, n);
  must(ts_source_open(a, ts_path_join(a, dir, "Tiny-1M.Q4_1.gguf"), &s, &d), &d);
  assert_string_equal(s.name, "Tiny-1M.Q4_1");
  assert_int_equal(s.config.head_dim, G_DIM);
  assert_int_equal(s.config.vocab, G_VOCAB);
  assert_true(s.config.rms_eps == 1e-5 && s.config.rope_theta == 100000);
  assert_true(s.config.tied);
  assert_int_equal(s.config.bos, 4);
  assert_int_equal(s.config.eos[0], 5);
  const ts_model_param *params;
  size_t np;
  must(ts_model_params(a, &s.config, &params, &np, &d), &d);
  must(ts_params_check(&s, params, np, &d), &d);
  for (size_t i = 0; i < np; i++) {
    if (!strstr(params[i].name, "qkv_proj")) continue;
    float v[32 * G_HIDDEN];
    assert_int_equal(params[i].rows, 32);
    ts_param_rows(&s, &params[i], 0, 32, v);
    for (int r = 0; r < 24; r++) {  // q heads, then k: file row 2i + p holds row p * 4 + i
      int head = r / G_DIM, in = r % G_DIM;
      int want = (head < 2 ? head : 0) * G_DIM + 2 * (in % 4) + in / 4;
      assert_int_equal((int)v[r * G_HIDDEN], want);
    }
    for (int r = 24; r < 32; r++) assert_int_equal((int)v[r * G_HIDDEN], r - 24);  // v as it is
    float part[3 * G_HIDDEN];
    ts_param_rows(&s, &params[i], 23, 3, part);  // across parts
    assert_memory_equal(part, v + 23 * G_HIDDEN, sizeof part);
  }
  ts_source_close(&s);
  remove_folder(dir);
  free(p);
  ts_arena_free(a);
}

// The exported tokenizer.json is one that the runtime reads, and means the same.
static void byte_level_tokenizer(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  gguf g = {0};
  g_model(&g);
  g_byte_level(&g);
  g_flag(&g, "tokenizer.ggml.add_bos_token", true);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  ts_source s;
  ts_diag d = {0};
  must(open_bytes(a, p, n, &s, &d), &d);
  assert_int_equal(s.nfiles, 2);
  assert_string_equal(s.files[0].name, "tokenizer.json");
  ts_tokenizer *t = ts_tokenizer_parse("tokenizer.json", s.files[0].text, s.files[0].n, &d);
  must(t != NULL, &d);
  ts_tokens ids = {0};
  must(ts_tokenizer_encode(t, "ab b</s>", 8, true, &ids, &d), &d);
  const int32_t want[] = {4, 2, 3, 1, 5};
  assert_int_equal(ids.n, TS_COUNTOF(want));
  assert_memory_equal(ids.p, want, sizeof want);
  ts_tokens_free(&ids);
  ts_tokenizer_free(t);
  assert_non_null(strstr(s.files[1].text, "\"eos_token\": \"</s>\""));
  free(p);
  ts_arena_free(a);
}

// Scores of a SentencePiece vocabulary become ranks of merges.
static void scored_tokenizer(void **state) {
  (void)state;
  static const char *const pieces[] = {"<unk>",
                                       "<s>",
                                       "</s>",
                                       "<0x21>",
                                       "\xe2\x96\x81",
                                       "a",
                                       "b",
                                       "ab",
                                       "\xe2\x96\x81"
                                       "a",
                                       "\xe2\x96\x81"
                                       "ab",
                                       "ba"};
  static const int32_t types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1};
  static const float scores[] = {0, 0, 0, 0, -20, -9, -10, -3, -2, -5, -1};
  ts_arena *a = ts_arena_new("test");
  gguf g = {0};
  g_model(&g);
  g_text(&g, "tokenizer.ggml.model", "llama");
  g_texts(&g, "tokenizer.ggml.tokens", pieces, TS_COUNTOF(pieces));
  g_i32s(&g, "tokenizer.ggml.token_type", types, TS_COUNTOF(types));
  g_f32s(&g, "tokenizer.ggml.scores", scores, TS_COUNTOF(scores));
  g_u32(&g, "tokenizer.ggml.bos_token_id", 1);
  g_u32(&g, "tokenizer.ggml.eos_token_id", 2);
  g_u32(&g, "tokenizer.ggml.unknown_token_id", 0);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  ts_source s;
  ts_diag d = {0};
  must(open_bytes(a, p, n, &s, &d), &d);
  ts_tokenizer *t = ts_tokenizer_parse("tokenizer.json", s.files[0].text, s.files[0].n, &d);
  must(t != NULL, &d);
  static const struct {
    const char *text;
    int n;
    int32_t ids[6];
  } rows[] = {
      {"ab", 3, {1, 8, 6}},    // "_ a b": "_a" (-2) before "ab" (-3); "_a b" has the piece "_ab": see below
      {"aba", 3, {1, 8, 10}},  // "ba" (-1) first, then "_a"
      {"!", 3, {1, 4, 3}},     // a byte
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_tokens ids = {0};
    must(ts_tokenizer_encode(t, rows[i].text, strlen(rows[i].text), true, &ids, &d), &d);
    if (i == 0) {  // "_a" + "b" is the piece "_ab"
      assert_int_equal(ids.n, 2);
      assert_int_equal(ids.p[1], 9);
    } else {
      assert_int_equal(ids.n, rows[i].n);
      assert_memory_equal(ids.p, rows[i].ids, sizeof(int32_t) * (size_t)rows[i].n);
    }
    ts_tokens_free(&ids);
  }
  ts_tokenizer_free(t);
  free(p);
  ts_arena_free(a);
}

typedef void (*spoil)(gguf *g);
static void two_keys(gguf *g) { g_u32(g, "llama.block_count", 2); }
static void bad_arch(gguf *g) { g->kv.p[8 + 20 + 4 + 8] = 'x'; }
static void big_array(gguf *g) { g_key(g, "x", 9), g_int(&g->kv, 4, 4), g_int(&g->kv, UINT64_MAX / 4, 8); }
static void big_strings(gguf *g) { g_key(g, "x", 9), g_int(&g->kv, 8, 4), g_int(&g->kv, 1u << 30, 8); }
static void nested(gguf *g) { g_key(g, "x", 9), g_int(&g->kv, 9, 4), g_int(&g->kv, 0, 8); }
static void odd_type(gguf *g) { g_key(g, "x", 77), g_int(&g->kv, 0, 8); }
static void long_string(gguf *g) { g_key(g, "x", 8), g_int(&g->kv, UINT64_MAX, 8); }
static void empty_key(gguf *g) { g_u32(g, "", 1); }
static void many_keys(gguf *g) { g->nkv += UINT64_C(1) << 40; }
static void many_tensors(gguf *g) { g->ntensors += UINT64_C(1) << 40; }
static void bad_align(gguf *g) { g_u32(g, "general.alignment", 48); }
static void huge_dim(gguf *g) { g_tensor(g, "t", 0, UINT64_C(1) << 40, UINT64_C(1) << 40, "", 0); }
static void zero_dim(gguf *g) { g_tensor(g, "t", 0, 1, 0, "", 0); }
static void outside(gguf *g) { g_tensor(g, "t", 0, 100, 100, "abcd", 4); }
static void odd_block(gguf *g) { g_tensor(g, "t", 3, 1, 31, "abcd", 4); }
static void odd_tensor(gguf *g) { g_tensor(g, "t", 11, 1, 256, "abcd", 4); }
static void same_name(gguf *g) { g_tensor(g, "output_norm.weight", 0, 0, 1, "abcd", 4); }
static void overlap(gguf *g) {
  g_tensor(g, "t", 0, 0, 8, "abcd", 4);
  uint64_t back = 0;
  memcpy(g->info.p + g->info.n - 8, &back, 8);
}
static void version(gguf *g) { g->version = 1; }
static void swapped(gguf *g) { g->version = 0x03000000; }
static void split(gguf *g) { g_u32(g, "split.count", 2); }
static void yarn(gguf *g) { g_text(g, "llama.rope.scaling.type", "yarn"); }
static void partial(gguf *g) { g_u32(g, "llama.rope.dimension_count", 4); }
static void string_eps(gguf *g) { g_text(g, "llama.attention.key_length", "8"); }
static void bad_factors(gguf *g) { g_tensor(g, "rope_freqs.weight", 0, 0, 3, "abcdabcdabcd", 12); }
static void zero_factors(gguf *g) { g_tensor(g, "rope_freqs.weight", 0, 0, 4, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16); }
static void no_tokens(gguf *g) { g_text(g, "tokenizer.ggml.model", "gpt2"); }
static void unknown_pre(gguf *g) {
  g_text(g, "tokenizer.ggml.model", "gpt2");
  g_text(g, "tokenizer.ggml.pre", "strange");
  g_texts(g, "tokenizer.ggml.tokens", g_pieces, G_VOCAB);
}
static void unknown_tokenizer(gguf *g) {
  g_text(g, "tokenizer.ggml.model", "t5");
  g_texts(g, "tokenizer.ggml.tokens", g_pieces, G_VOCAB);
}
static void short_types(gguf *g) {
  g_byte_level(g);
  g_f32s(g, "tokenizer.ggml.scores", (const float[]){1}, 1);
}
static void twin_tokens(gguf *g) {
  static const char *const twins[] = {"a", "a"};
  g_text(g, "tokenizer.ggml.model", "gpt2");
  g_texts(g, "tokenizer.ggml.tokens", twins, 2);
  g_texts(g, "tokenizer.ggml.merges", g_merges, 1);
}
static void not_utf8(gguf *g) {
  static const char *const odd[] = {"a", "\xff\xfe"};
  g_text(g, "tokenizer.ggml.model", "gpt2");
  g_texts(g, "tokenizer.ggml.tokens", odd, 2);
  g_texts(g, "tokenizer.ggml.merges", g_merges, 1);
}

static void lies(void **state) {
  (void)state;
  static const struct {
    spoil f;
    const char *code, *part;
  } rows[] = {
      {two_keys, "bad-gguf", "occurs twice"},
      {bad_arch, "unknown-arch", "xlama"},
      {big_array, "bad-gguf", "more than the file"},
      {big_strings, "bad-gguf", "more than the file"},
      {nested, "bad-gguf", "array of arrays"},
      {odd_type, "bad-gguf", "value type 77"},
      {long_string, "bad-gguf", "ends inside"},
      {empty_key, "bad-gguf", "name of 0 bytes"},
      {many_keys, "bad-gguf", "metadata entries claimed"},
      {many_tensors, "bad-gguf", "tensors claimed"},
      {bad_align, "bad-gguf", "power of two"},
      {huge_dim, "bad-gguf", "no size"},
      {zero_dim, "bad-gguf", "no size"},
      {outside, "bad-gguf", "outside the file"},
      {odd_block, "bad-gguf", "whole blocks"},
      {odd_tensor, "bad-gguf", "type 11"},
      {overlap, "bad-gguf", "at offset 0"},
      {version, "bad-gguf", "version 1"},
      {swapped, "bad-gguf", "big-endian"},
      {split, "unsupported-config", "split over 2"},
      {yarn, "unsupported-config", "yarn"},
      {partial, "unsupported-config", "rotated"},
      {string_eps, "bad-field", "key_length"},
      {bad_factors, "bad-shape", "rope_freqs"},
      {zero_factors, "bad-config", "positive"},
      {no_tokens, "bad-gguf", "tokens"},
      {unknown_pre, "unsupported-tokenizer", "strange"},
      {unknown_tokenizer, "unsupported-tokenizer", "t5"},
      {short_types, "bad-gguf", "one value for each"},
      {twin_tokens, "bad-gguf", "repeats"},
      {not_utf8, "bad-gguf", "not UTF-8"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_arena *a = ts_arena_new("test");
    gguf g = {0};
    g_model(&g);
    rows[i].f(&g);
    size_t n;
    uint8_t *p = g_finish(&g, &n);
    ts_source s;
    ts_diag d = {0};
    expect_refusal(open_bytes(a, p, n, &s, &d), &d, rows[i].code, rows[i].part);
    assert_non_null(strstr(d.message, "m.gguf"));
    free(p);
    ts_arena_free(a);
  }
}

static void duplicate_tensor(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  gguf g = {0};
  g_model(&g);
  same_name(&g);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  char *dir = temp_folder(a);
  put(a, dir, "m.gguf", p, n);
  ts_source s;
  ts_diag d = {0};
  expect_refusal(ts_source_open(a, ts_path_join(a, dir, "m.gguf"), &s, &d), &d, "duplicate-tensor",
                 "output_norm.weight");
  put(a, dir, "m.txt", p, n);
  expect_refusal(ts_source_open(a, ts_path_join(a, dir, "m.txt"), &s, &d), &d, "unknown-model", "m.txt");
  remove_folder(dir);
  free(p);
  ts_arena_free(a);
}

// Every truncation is a refusal, and nothing is read beyond the end.
static void truncations(void **state) {
  (void)state;
  gguf g = {0};
  g_model(&g);
  g_byte_level(&g);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  for (size_t k = 0; k < n; k += k < 4096 ? 1 : 61) {
    ts_arena *a = ts_arena_new("test");
    uint8_t *cut = malloc(k ? k : 1);
    memcpy(cut, p, k);
    ts_source s;
    ts_diag d = {0};
    if (open_bytes(a, cut, k, &s, &d))
      assert_true(k + 32 > n);
    else
      assert_int_equal(d.kind, TS_REFUSAL);
    free(cut);
    ts_arena_free(a);
  }
  free(p);
}

// Missing and misshapen tensors.
static void wrong_shapes(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  gguf g = {0};
  g_model(&g);
  g_tensor(&g, "output.weight", 0, G_VOCAB - 1, G_HIDDEN, ts_arena_alloc(a, 4 * 5 * G_HIDDEN, 4), 4 * 5 * G_HIDDEN);
  size_t n;
  uint8_t *p = g_finish(&g, &n);
  char *dir = temp_folder(a);
  put(a, dir, "m.gguf", p, n);
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, ts_path_join(a, dir, "m.gguf"), &s, &d), &d);
  assert_false(s.config.tied);
  const ts_model_param *params;
  size_t np;
  must(ts_model_params(a, &s.config, &params, &np, &d), &d);
  expect_refusal(ts_params_check(&s, params, np, &d), &d, "bad-shape", "output.weight' has shape 5x16");
  ts_source_close(&s);
  remove_folder(dir);
  free(p);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(worked_blocks),        cmocka_unit_test(simple_blocks),    cmocka_unit_test(config_and_rows),
      cmocka_unit_test(byte_level_tokenizer), cmocka_unit_test(scored_tokenizer), cmocka_unit_test(lies),
      cmocka_unit_test(duplicate_tensor),     cmocka_unit_test(truncations),      cmocka_unit_test(wrong_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
