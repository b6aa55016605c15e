// IEEE half and bfloat16, round to nearest even.
#include "base/base.h"

static uint32_t bits_of(float v) {
  uint32_t u;
  memcpy(&u, &v, sizeof u);
  return u;
}

static float float_of(uint32_t u) {
  float v;
  memcpy(&v, &u, sizeof v);
  return v;
}

uint16_t ts_f16_from_f32(float v) {
  uint32_t u = bits_of(v), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
  if (mag > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x1ff));
  if (mag >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // rounds to 65536 or more
  if (mag < 0x38800000) {                                   // below the smallest normal half
    // 0.5 has its last bit at 2^-24, as subnormal halves have: the addition rounds there
    float r = float_of(mag) + 0.5f;
    return (uint16_t)(sign | (bits_of(r) - 0x3f000000));
  }
  uint32_t odd = mag >> 13 & 1;
  return (uint16_t)(sign | ((mag - 0x38000000 + 0xfff + odd) >> 13));
}

float ts_f32_from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, mag = h & 0x7fff;
  if (mag >= 0x7c00) return float_of(sign | 0x7f800000 | (mag & 0x3ff) << 13);
  if (mag < 0x400) return float_of(sign | bits_of((float)mag * 0x1p-24f));
  return float_of(sign | ((mag << 13) + 0x38000000));
}

uint16_t ts_bf16_from_f32(float v) {
  uint32_t u = bits_of(v);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float ts_f32_from_bf16(uint16_t h) { return float_of((uint32_t)h << 16); }
