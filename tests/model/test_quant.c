// Quantization against worked examples, bit for bit.
#include <math.h>

#include "model_test.h"
#include "op/op.h"

typedef struct group {
  float w[32];
  uint16_t scale;
  uint32_t even[4], away[4];
} group;

static void sawtooth(float *w, int n) {  // ((7i mod 32) - 15) / 64
  for (int i = 0; i < n; i++) w[i] = (float)(7 * i % 32 - 15) / 64;
}

static const ts_quant *quant(const char *name) {
  ts_diag d = {0};
  const ts_quant *q = ts_quant_find(name, &d);
  assert_non_null(q);
  return q;
}

static void worked_groups(void **state) {
  (void)state;
  group g[2] = {{.scale = 0x2892,
                 .even = {0x852DA740, 0x41C963EB, 0x1C963EA7, 0xB852DA74},
                 .away = {0x852DA740, 0x41C963EB, 0x1C963EB7, 0xB852DA74}},
                {.scale = 0x3092,
                 .even = {0x888879A0, 0x88888888, 0x88888888, 0x88888888},
                 .away = {0x888879B0, 0x88888888, 0x88888888, 0x88888888}}};
  sawtooth(g[0].w, 32);
  const float b[32] = {-1, 0.5f, 0.25f, 0};
  memcpy(g[1].w, b, sizeof b);
  for (int i = 4; i < 32; i++) g[1].w[i] = 0.125f;
  for (int k = 0; k < 2; k++)
    for (int r = 0; r < 2; r++) {
      uint32_t words[4];
      uint16_t scale;
      void *const dst[2] = {words, &scale};
      ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, g[k].w, dst, (ts_rounding){.away = r});
      assert_int_equal(scale, g[k].scale);
      assert_memory_equal(words, r ? g[k].away : g[k].even, sizeof words);
    }
}

// Codes 0..15 around a scale of either sign: the largest value is exact, the sum of squared errors smaller on the
// whole.
static void signed_scales(void **state) {
  (void)state;
  float w[32], back[32];
  uint32_t words[4];
  uint16_t scale;
  void *const dst[2] = {words, &scale};
  const void *const src[2] = {words, &scale};
  const ts_rounding wide = {.signed_scales = true};
  memset(w, 0, sizeof w);
  w[3] = -2, w[4] = 1, w[5] = 1.75f, w[6] = 2;
  ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, w, dst, wide);
  assert_int_equal(scale, ts_f16_from_f32(-0.25f));
  assert_int_equal(words[0], 0x0003F777u | 0u << 20 | 0u << 24 | 7u << 28);  // 8, -4, -7, and 2 clipped to -7
  ts_quant_decode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, src, back);
  assert_true(back[3] == -2 && back[4] == 1 && back[5] == 1.75f && back[6] == 1.75f);
  double error[2] = {0};
  ts_rng rng = ts_rng_new(9, 0);
  for (int g = 0; g < 200; g++) {
    for (int i = 0; i < 32; i++) w[i] = (float)ts_rng_normal(&rng);
    for (int k = 0; k < 2; k++) {
      ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, w, dst, (ts_rounding){.signed_scales = k});
      ts_quant_decode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, src, back);
      for (int i = 0; i < 32; i++) error[k] += (double)(w[i] - back[i]) * (double)(w[i] - back[i]);
    }
  }
  assert_true(error[1] < 0.9 * error[0]);
}

static void dequantized_values(void **state) {
  (void)state;
  const uint32_t words[4] = {0x852DA740, 0x41C963EB, 0x1C963EA7, 0xB852DA74};
  const uint16_t scale = 0x2892;
  const void *const src[2] = {words, &scale};
  float out[32];
  ts_quant_decode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, src, out);
  const float want[4] = {-0.25f, -0.10711669921875f, 0, 0.10711669921875f};
  assert_memory_equal(out, want, sizeof want);
}

static void zero_group(void **state) {
  (void)state;
  float w[32] = {0};
  uint32_t words[4] = {1, 1, 1, 1};
  uint16_t scale = 1;
  void *const dst[2] = {words, &scale};
  ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, w, dst, (ts_rounding){0});
  assert_int_equal(scale, 0);
  for (int i = 0; i < 4; i++) assert_int_equal(words[i], 0);
}

// Random rows, a length with a tail: padding is 0, _0 is the transpose of _1, the error is at most half a step.
static void layouts_and_error(void **state) {
  (void)state;
  enum { ROWS = 5, COLS = 72, GROUPS = 3, WORDS = 12 };
  float w[ROWS * COLS], back[ROWS * COLS];
  ts_rng rng = ts_rng_new(3, 0);
  for (int i = 0; i < ROWS * COLS; i++) w[i] = (float)ts_rng_normal(&rng);
  uint32_t nk[ROWS * WORDS], kn[ROWS * WORDS];
  uint16_t snk[ROWS * GROUPS], skn[ROWS * GROUPS];
  void *const d1[2] = {nk, snk}, *const d0[2] = {kn, skn};
  ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, ROWS, COLS, 0, ROWS, w, d1, (ts_rounding){0});
  for (int r = 0; r < ROWS; r++)  // row by row into the same matrix
    ts_quant_encode(quant("q4f16_0"), TS_PARAM_LINEAR, ROWS, COLS, r, 1, w + r * COLS, d0, (ts_rounding){0});
  for (int r = 0; r < ROWS; r++) {
    for (int k = 0; k < WORDS; k++) assert_int_equal(nk[r * WORDS + k], kn[k * ROWS + r]);
    for (int k = 0; k < GROUPS; k++) assert_int_equal(snk[r * GROUPS + k], skn[k * ROWS + r]);
    for (int k = 9; k < 12; k++) assert_int_equal(nk[r * WORDS + k], 0);
  }
  const void *const s0[2] = {kn, skn};
  ts_quant_decode(quant("q4f16_0"), TS_PARAM_LINEAR, ROWS, COLS, 0, ROWS, s0, back);
  for (int i = 0; i < ROWS * COLS; i++) {
    float scale = ts_f32_from_f16(snk[i / COLS * GROUPS + i % COLS / 32]);
    assert_true(fabsf(back[i] - w[i]) <= scale * 0.505f + 2e-3f);
  }
}

static void embeddings_are_not_transposed(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_model_param p = {.name = "model.embed_tokens.weight", .kind = TS_PARAM_EMBED, .rows = 100, .cols = 64};
  ts_stored s[2];
  assert_int_equal(ts_quant_storage(a, quant("q4f16_0"), &p, s), 2);
  assert_string_equal(s[0].name, "model.embed_tokens.q_weight");
  assert_string_equal(s[1].name, "model.embed_tokens.q_scale");
  assert_int_equal(s[0].shape[0], 100);
  assert_int_equal(s[0].shape[1], 8);
  p.kind = TS_PARAM_HEAD;
  assert_int_equal(ts_quant_storage(a, quant("q4f16_0"), &p, s), 2);
  assert_int_equal(s[0].shape[0], 8);
  assert_int_equal(s[0].shape[1], 100);
  assert_int_equal(s[1].shape[0], 2);
  p.kind = TS_PARAM_VECTOR, p.rows = 1;
  assert_int_equal(ts_quant_storage(a, quant("q4f16_1"), &p, s), 1);
  assert_int_equal(s[0].ndim, 1);
  assert_int_equal(s[0].type, TS_F16);
  ts_arena_free(a);
}

static void plain_formats(void **state) {
  (void)state;
  const float w[4] = {1, -0.5f, 65520, 1e-8f};
  uint16_t h[4];
  float f[4];
  void *const dh[2] = {h, NULL}, *const df[2] = {f, NULL};
  ts_quant_encode(quant("q0f16"), TS_PARAM_LINEAR, 1, 4, 0, 1, w, dh, (ts_rounding){0});
  assert_int_equal(h[0], 0x3c00);
  assert_int_equal(h[1], 0xb800);
  assert_int_equal(h[2], 0x7c00);
  assert_int_equal(h[3], 0);
  ts_quant_encode(quant("q0f32"), TS_PARAM_LINEAR, 1, 4, 0, 1, w, df, (ts_rounding){0});
  assert_memory_equal(f, w, sizeof w);
  ts_diag d = {0};
  expect_refusal(ts_quant_find("q5f16_9", &d) != NULL, &d, "unknown-quantization", "q5f16_9");
  assert_non_null(strstr(d.hint, "q4f16_1"));
}

// The quantizer's own rounding to f16 is the base's: seen through scales, which are rounded quotients, for maxima near
// every half.
static void every_half(void **state) {
  (void)state;
  for (uint32_t h = 1; h < 0x7c00; h += 7) {
    float w[32] = {0};
    uint32_t words[4];
    uint16_t scale;
    void *const dst[2] = {words, &scale};
    w[0] = ts_f32_from_f16((uint16_t)h);
    w[1] = -nextafterf(w[0], INFINITY) * 0.7f;
    ts_quant_encode(quant("q4f16_1"), TS_PARAM_LINEAR, 1, 32, 0, 1, w, dst, (ts_rounding){0});
    assert_int_equal(scale, ts_f16_from_f32(w[0] / 7));
    float s = ts_f32_from_f16(scale), t = s > 0 ? ts_f32_from_f16(ts_f16_from_f32(w[1])) / s : NAN;
    t = ts_f32_from_f16(ts_f16_from_f32(ts_f32_from_f16(ts_f16_from_f32(t)) + 7));
    uint32_t want = !(t > 0) ? 0 : rintf(t) > 14 ? 14 : (uint32_t)rintf(t);
    assert_int_equal(words[0] >> 4 & 15, want);
  }
}

// 7B size check: 3 790 741 504 bytes, 325 tensors.
static void llama_size(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_source s;
  ts_diag d = {0};
  must(ts_source_open(a, "synthetic:Llama-2-7B", &s, &d), &d);
  const ts_model_param *p;
  size_t n;
  must(ts_model_params(a, &s.config, &p, &n, &d), &d);
  int64_t bytes = 0, tensors = 0;
  for (size_t i = 0; i < n; i++) {
    ts_stored st[2];
    int k = ts_quant_storage(a, quant("q4f16_1"), &p[i], st);
    for (int j = 0; j < k; j++) bytes += st[j].bytes, tensors++;
  }
  assert_int_equal(bytes, 3790741504);
  assert_int_equal(tensors, 325);
  ts_source_close(&s);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(worked_groups),
      cmocka_unit_test(dequantized_values),
      cmocka_unit_test(zero_group),
      cmocka_unit_test(layouts_and_error),
      cmocka_unit_test(embeddings_are_not_transposed),
      cmocka_unit_test(plain_formats),
      cmocka_unit_test(llama_size),
      cmocka_unit_test(every_half),
      cmocka_unit_test(signed_scales),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
