// Element types of weights in files, and how each decodes to f32.
#include "model_impl.h"

static const struct row {
  const char *name;
  int64_t elems, bytes;
} rows[] = {
#define WTYPE(n, gguf, st, elems, bytes) {#n, elems, bytes},
#include "model/wtype.def"
#undef WTYPE
};

const char *ts_wtype_name(ts_wtype t) { return (unsigned)t < TS_W__COUNT ? rows[t].name : "other"; }
int64_t ts_wtype_block(ts_wtype t) { return (unsigned)t < TS_W__COUNT ? rows[t].elems : 1; }
int64_t ts_wtype_block_bytes(ts_wtype t) { return (unsigned)t < TS_W__COUNT ? rows[t].bytes : 1; }

static uint16_t load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static float half_at(const uint8_t *p) { return ts_f32_from_f16(load16(p)); }

static void decode_F32(const uint8_t *p, float *x) { memcpy(x, p, 4); }
static void decode_F16(const uint8_t *p, float *x) { x[0] = half_at(p); }
static void decode_BF16(const uint8_t *p, float *x) { x[0] = ts_f32_from_bf16(load16(p)); }

// d, 16 bytes: element j low nibble, element j + 16 high.
static void decode_Q4_0(const uint8_t *p, float *x) {
  float d = half_at(p);
  for (int j = 0; j < 16; j++) {
    x[j] = (float)((p[2 + j] & 15) - 8) * d;
    x[j + 16] = (float)((p[2 + j] >> 4) - 8) * d;
  }
}

static void decode_Q4_1(const uint8_t *p, float *x) {
  float d = half_at(p), m = half_at(p + 2);
  for (int j = 0; j < 16; j++) {
    x[j] = (float)(p[4 + j] & 15) * d + m;
    x[j + 16] = (float)(p[4 + j] >> 4) * d + m;
  }
}

static void decode_Q8_0(const uint8_t *p, float *x) {
  float d = half_at(p);
  for (int j = 0; j < 32; j++) x[j] = (float)(int8_t)p[2 + j] * d;
}

// The 6-bit scale and minimum of sub-block j, from 12 bytes.
static void q4k_scale(const uint8_t *s, int j, float *scale, float *min) {
  int a = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
  int b = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  *scale = (float)a;
  *min = (float)b;
}

static void decode_Q4_K(const uint8_t *p, float *x) {
  float d = half_at(p), dmin = half_at(p + 2);
  for (int j = 0; j < 8; j++) {
    float s, m;
    q4k_scale(p + 4, j, &s, &m);
    float ds = d * s, dm = dmin * m;
    const uint8_t *q = p + 16 + j / 2 * 32;
    for (int l = 0; l < 32; l++) x[j * 32 + l] = ds * (float)(j & 1 ? q[l] >> 4 : q[l] & 15) - dm;
  }
}

static void decode_Q6_K(const uint8_t *p, float *x) {
  float d = half_at(p + 208);
  for (int half = 0; half < 2; half++) {
    const uint8_t *ql = p + half * 64, *qh = p + 128 + half * 32;
    const int8_t *scale = (const int8_t *)p + 192 + half * 8;
    for (int e = 0; e < 128; e++) {
      int quarter = e / 32, l = e % 32;
      int low = ql[l + (quarter & 1) * 32];
      int q = (quarter < 2 ? low & 15 : low >> 4) | (qh[l] >> (2 * quarter) & 3) << 4;
      x[half * 128 + e] = d * (float)scale[l / 16 + 2 * quarter] * (float)(q - 32);
    }
  }
}

void ts_wtype_decode(ts_wtype t, const uint8_t *src, int64_t n, float *dst) {
  switch (t) {
#define WTYPE(name, gguf, st, elems, bytes)                                               \
  case TS_W_##name:                                                                       \
    for (int64_t i = 0; i < n; i += (elems), src += (bytes)) decode_##name(src, dst + i); \
    return;
#include "model/wtype.def"
#undef WTYPE
    case TS_W__COUNT:
      break;
  }
}
