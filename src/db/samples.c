// Series of whole numbers in few bytes: the difference to the one before, zigzag, as a varint (7 bits a byte, low first).
#include <stdlib.h>

#include "db/db.h"

// Differences are taken modulo 2^64, so every value has a code.
static uint64_t zigzag(uint64_t delta) { return (delta << 1) ^ (0 - (delta >> 63)); }
static uint64_t unzigzag(uint64_t z) { return (z >> 1) ^ (0 - (z & 1)); }

ts_blob ts_samples_encode(ts_arena *a, const uint64_t *v, size_t n) {
  uint8_t *p = ts_new_array(a, uint8_t, n * 10 + 1);
  size_t at = 0;
  uint64_t before = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t z = zigzag(v[i] - before);
    before = v[i];
    for (; z >= 0x80; z >>= 7) p[at++] = (uint8_t)(z | 0x80);
    p[at++] = (uint8_t)z;
  }
  return (ts_blob){p, at};
}

// One varint at *at; false when it runs past the end, past 64 bits, or is longer than it need be.
static bool read_varint(const uint8_t *p, size_t n, size_t *at, uint64_t *out) {
  uint64_t z = 0;
  for (unsigned shift = 0; *at < n && shift < 64; shift += 7) {
    uint8_t b = p[(*at)++];
    if (shift == 63 && b > 1) return false;
    z |= (uint64_t)(b & 0x7f) << shift;
    if (b & 0x80) continue;
    *out = z;
    return b != 0 || shift == 0;
  }
  return false;
}

bool ts_samples_decode(ts_arena *a, ts_blob b, size_t n, uint64_t **v, size_t *count, ts_diag *d) {
  const uint8_t *p = b.p;
  size_t have = 0;
  for (size_t i = 0; i < b.n; i++) have += !(p[i] & 0x80);
  if (n != SIZE_MAX && n != have)
    return ts_refuse(d, "samples-malformed", "samples: %zu values where %zu were promised", have, n);
  uint64_t *out = ts_new_array(a, uint64_t, have + 1), before = 0;
  size_t at = 0;
  for (size_t i = 0; i < have; i++) {
    uint64_t z;
    if (!read_varint(p, b.n, &at, &z)) return ts_refuse(d, "samples-malformed", "samples: a malformed value at byte %zu", at);
    out[i] = before += unzigzag(z);
  }
  if (at != b.n) return ts_refuse(d, "samples-malformed", "samples: cut short at byte %zu", b.n);
  *v = out;
  *count = have;
  return true;
}
