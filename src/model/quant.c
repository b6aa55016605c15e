// Quantization of parameters into their stored form: symmetric groups along K, or plain f16 and f32.
//
// All arithmetic is in f16, each step rounded to nearest even: computing in f32 and rounding once gives the same for
// one operation on halves.
#include <math.h>

#include "model_impl.h"

static const ts_quant table[] = {
#define QUANT(n, t, b, g, tr, e) {.name = #n, .type = TS_##t, .bits = b, .group = g, .transposed = tr, .embedding = #e},
#include "model/quant.def"
#undef QUANT
};

static const char *const names[] = {
#define QUANT(n, t, b, g, tr, e) #n,
#include "model/quant.def"
#undef QUANT
    NULL,
};

const char *const *ts_quant_names(void) { return names; }

const ts_quant *ts_quant_find(const char *name, ts_diag *d) {
  for (size_t i = 0; i < TS_COUNTOF(table); i++)
    if (!strcmp(table[i].name, name)) return &table[i];
  ts_refuse(d, "unknown-quantization", "quantization '%s' is not known", name);
  ts_text t = {0};
  for (size_t i = 0; i < TS_COUNTOF(table); i++) ts_text_addf(&t, "%s%s", i ? ", " : "", table[i].name);
  ts_hint(d, "known: %s", ts_text_str(&t));
  ts_text_free(&t);
  return NULL;
}

// Geometry of a quantized matrix: `per_word` values a word, `words` a group, `groups` a row.
typedef struct geometry {
  int64_t per_word, words, groups;
  int64_t max;
} geometry;
static geometry geometry_of(const ts_quant *q, int64_t cols) {
  int64_t per_word = 32 / q->bits;
  return (geometry){per_word, q->group / per_word, (cols + q->group - 1) / q->group, (1 << (q->bits - 1)) - 1};
}
static bool is_quantized(const ts_quant *q, ts_param_kind kind) { return q->bits && kind != TS_PARAM_VECTOR; }
static bool is_transposed(const ts_quant *q, ts_param_kind kind) { return q->transposed && kind != TS_PARAM_EMBED; }

static ts_stored stored(const char *name, ts_code type, bool transposed, int64_t rows, int64_t cols) {
  ts_stored s = {
      .name = name, .type = type, .ndim = 2, .shape = {rows, cols}, .bytes = rows * cols * ts_code_bytes(type)};
  if (transposed) s.shape[0] = cols, s.shape[1] = rows;
  return s;
}

// "X.weight" with its last word replaced: "X.q_weight".
static const char *with_suffix(ts_arena *a, const char *name, const char *suffix) {
  const char *dot = strrchr(name, '.');
  int n = dot && !strcmp(dot, ".weight") ? (int)(dot - name) : (int)strlen(name);
  return ts_arena_printf(a, "%.*s.%s", n, name, suffix);
}

int ts_quant_storage(ts_arena *a, const ts_quant *q, const ts_model_param *p, ts_stored out[2]) {
  if (!is_quantized(q, p->kind)) {
    out[0] = stored(p->name, q->type, false, p->rows, p->cols);
    if (p->kind == TS_PARAM_VECTOR) out[0].ndim = 1, out[0].shape[0] = p->cols;
    return 1;
  }
  geometry g = geometry_of(q, p->cols);
  bool tr = is_transposed(q, p->kind);
  out[0] = stored(with_suffix(a, p->name, "q_weight"), TS_U32, tr, p->rows, g.words * g.groups);
  out[1] = stored(with_suffix(a, p->name, "q_scale"), q->type, tr, p->rows, g.groups);
  return 2;
}

// NaN (a group of zeros) becomes 0, as does everything below.
static uint32_t clip(float t, int64_t top) {
  if (!(t > 0)) return 0;
  return t < (float)top ? (uint32_t)t : (uint32_t)top;
}
static float rounded(float t, ts_rounding r) { return r.away ? floorf(t + 0.5f) : rintf(t); }
// v rounded to f16, as f32.
static inline float to_half(float v) {
  uint32_t u, sign;
  memcpy(&u, &v, sizeof u);
  sign = u & 0x80000000, u ^= sign;
  if (u >= 0x477ff000) return ts_f32_from_f16(ts_f16_from_f32(v));  // infinite, not a number, or becomes infinite
  if (u >= 0x38800000) {
    u = ((u + 0xfff + (u >> 13 & 1)) & ~0x1fffu) | sign;
    memcpy(&v, &u, sizeof v);
    return v;
  }
  float m;
  memcpy(&m, &u, sizeof m);
  m = (m + 0.5f) - 0.5f;  // subnormal halves are multiples of 2^-24, the last bit of floats near 0.5
  return sign ? -m : m;
}

// One group of up to `group` values (already rounded to f16): scale bits and words.
static uint16_t encode_group(const ts_quant *q, const geometry *g, const float *w, int64_t n, ts_rounding round,
                             uint32_t *words) {
  float m = 0;  // the value of largest magnitude
  for (int64_t i = 0; i < n; i++) m = fabsf(w[i]) > fabsf(m) ? w[i] : m;
  int64_t top = 2 * g->max + round.signed_scales;
  uint16_t scale = ts_f16_from_f32(round.signed_scales ? m / (float)(g->max + 1) : fabsf(m) / (float)g->max);
  float s = ts_f32_from_f16(scale);
  memset(words, 0, (size_t)g->words * 4);
  for (int64_t i = 0; i < n; i++) {
    float t = to_half(to_half(w[i] / s) + (float)g->max);
    words[i / g->per_word] |= clip(rounded(t, round), top) << (q->bits * (i % g->per_word));
  }
  return scale;
}

static void encode_row(const ts_quant *q, bool tr, int64_t rows, int64_t cols, int64_t row, const float *src,
                       void *const dst[2], ts_rounding round) {
  geometry g = geometry_of(q, cols);
  uint32_t *words = dst[0], word[32];
  uint16_t *scales = dst[1];
  float w[256];
  for (int64_t j = 0; j < g.groups; j++) {
    int64_t n = TS_MIN(q->group, cols - j * q->group);
    for (int64_t i = 0; i < n; i++) w[i] = to_half(src[j * q->group + i]);
    uint16_t scale = encode_group(q, &g, w, n, round, word);
    scales[tr ? j * rows + row : row * g.groups + j] = scale;
    for (int64_t i = 0; i < g.words; i++) {
      int64_t k = j * g.words + i;
      words[tr ? k * rows + row : row * g.words * g.groups + k] = word[i];
    }
  }
}

void ts_quant_encode(const ts_quant *q, ts_param_kind kind, int64_t rows, int64_t cols, int64_t row, int64_t n,
                     const float *src, void *const dst[2], ts_rounding round) {
  if (is_quantized(q, kind)) {
    for (int64_t r = 0; r < n; r++)
      encode_row(q, is_transposed(q, kind), rows, cols, row + r, src + r * cols, dst, round);
  } else if (q->type == TS_F32) {
    memcpy((float *)dst[0] + row * cols, src, (size_t)(n * cols) * sizeof(float));
  } else {
    uint16_t *out = (uint16_t *)dst[0] + row * cols;
    for (int64_t i = 0; i < n * cols; i++) out[i] = ts_f16_from_f32(src[i]);
  }
}

static void decode_row(const ts_quant *q, bool tr, int64_t rows, int64_t cols, int64_t row, const void *const src[2],
                       float *dst) {
  geometry g = geometry_of(q, cols);
  const uint32_t *words = src[0];
  const uint16_t *scales = src[1];
  for (int64_t k = 0; k < cols; k++) {
    int64_t j = k / q->group, w = j * g.words + k % q->group / g.per_word;
    uint32_t word = words[tr ? w * rows + row : row * g.words * g.groups + w];
    int64_t v = (int64_t)(word >> (q->bits * (k % q->group % g.per_word)) & ((1u << q->bits) - 1)) - g.max;
    dst[k] = to_half((float)v * ts_f32_from_f16(scales[tr ? j * rows + row : row * g.groups + j]));
  }
}

void ts_quant_decode(const ts_quant *q, ts_param_kind kind, int64_t rows, int64_t cols, int64_t row, int64_t n,
                     const void *const src[2], float *dst) {
  if (is_quantized(q, kind)) {
    for (int64_t r = 0; r < n; r++) decode_row(q, is_transposed(q, kind), rows, cols, row + r, src, dst + r * cols);
  } else if (q->type == TS_F32) {
    memcpy(dst, (const float *)src[0] + row * cols, (size_t)(n * cols) * sizeof(float));
  } else {
    const uint16_t *in = (const uint16_t *)src[0] + row * cols;
    for (int64_t i = 0; i < n * cols; i++) dst[i] = ts_f32_from_f16(in[i]);
  }
}
