// Random data for the parameters of a workload.
#include "measure/measure_impl.h"

void ts__fill_slot(const ts__slot *s, uint8_t *p, uint64_t seed, uint64_t stream) {
  ts_rng rng = ts_rng_new(seed, stream);
  ts_array a = {.code = s->code, .ndim = 1, .shape = {s->count}, .data = p};
  switch (s->fill) {
    case TS__FILL_FLOAT:
      for (int64_t i = 0; i < s->count; i++) ts_array_set(&a, i, 2 * ts_rng_unit(&rng) - 1);
      break;
    case TS__FILL_SCALE:
      for (int64_t i = 0; i < s->count; i++) ts_array_set(&a, i, ts_rng_unit(&rng) / 8);
      break;
    case TS__FILL_INDEX:
      for (int64_t i = 0; i < s->count; i++) ts_array_set(&a, i, ts_rng_below(&rng, (uint32_t)s->below));
      break;
    case TS__FILL_DISTINCT: ts_array_set_distinct(&a, s->below, ts_rng_u64(&rng)); break;
    case TS__FILL_BITS:
      for (int64_t i = 0; i + 4 <= s->bytes; i += 4) memcpy(p + i, &(uint32_t){ts_rng_u32(&rng)}, 4);
      for (int64_t i = s->bytes / 4 * 4; i < s->bytes; i++) p[i] = (uint8_t)ts_rng_u32(&rng);
      break;
    case TS__FILL_NONE: break;
  }
}
