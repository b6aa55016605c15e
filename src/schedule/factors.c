// Lists of factors of an extent: drawing them uniformly, and the nearest list to a decision.
#include "schedule_impl.h"

// Shares p^e out over n factors, uniformly over the ways to write e as a sum of n terms: n - 1 bars among e + n - 1
// places.
static void share(ts_rng *r, int64_t p, int e, int64_t *f, int n) {
  int places = e + n - 1, bars = n - 1, at = 0;
  for (int left = places; left > 0; left--) {
    bool bar = (int)ts_rng_below(r, (uint32_t)left) < bars;
    if (bar)
      at++, bars--;
    else
      f[at] *= p;
  }
}

void ts__factors_draw(ts_rng *r, int64_t extent, int64_t *f, int n) {
  for (int i = 0; i < n; i++) f[i] = 1;
  for (int64_t p = 2; extent > 1; p++) {
    if (p * p > extent) p = extent;
    int e = 0;
    while (extent % p == 0) extent /= p, e++;
    if (e) share(r, p, e, f, n);
  }
}

int64_t ts__divisor_below(int64_t of, int64_t at_most) {
  for (int64_t d = TS_MIN(at_most, of); d > 1; d--)
    if (of % d == 0) return d;
  return 1;
}
