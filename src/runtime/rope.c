// Rotary tables. Angles are products in f32 of position and frequency, as the models were trained with.
#include <math.h>

#include "runtime/runtime.h"

// Llama-3: long wavelengths are divided by factor, short ones kept, a linear blend between.
static double llama3(const ts_plan_rope *r, double f) {
  double turns = (double)r->original_positions * f / (2 * M_PI);
  double keep = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
  keep = keep < 0 ? 0 : keep > 1 ? 1 : keep;
  return (1 - keep) * f / r->factor + keep * f;
}

static float frequency(const ts_plan_rope *r, int64_t i) {
  double f = (double)(1.0f / powf((float)r->theta, (float)(2 * i) / (float)r->dim));
  if (r->scaling == TS_ROPE_LINEAR) f /= r->factor;
  if (r->scaling == TS_ROPE_LLAMA3) f = llama3(r, f);
  if (r->nfactors) f /= r->factors[i];
  return (float)f;
}

void ts_rope_fill(const ts_plan_rope *r, float *cos_out, float *sin_out) {
  int64_t half = r->dim / 2;
  for (int64_t i = 0; i < half; i++) {
    float f = frequency(r, i);
    for (int64_t p = 0; p < r->positions; p++) {
      float angle = (float)p * f;
      cos_out[p * half + i] = cosf(angle);
      sin_out[p * half + i] = sinf(angle);
    }
  }
}
