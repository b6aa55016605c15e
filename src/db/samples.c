// Series of whole numbers in few bytes: the difference to the one before, zigzag, as a varint (7 bits a byte, low
// first).
#include "db/db_impl.h"

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

// Values in b, stored into out when it is not NULL; SIZE_MAX when malformed, with *at on the culprit.
static size_t decode(ts_blob b, uint64_t *out, size_t *at) {
  size_t n = 0;
  uint64_t before = 0, z;
  for (*at = 0; *at < b.n; n++) {
    if (!read_varint(b.p, b.n, at, &z)) return SIZE_MAX;
    before += unzigzag(z);
    if (out) out[n] = before;
  }
  return n;
}

bool ts__samples_check(ts_blob b, size_t n, ts_diag *d) {
  size_t at, have = decode(b, NULL, &at);
  if (have == SIZE_MAX)
    return ts_refuse(d, "samples-malformed", "samples: a malformed value at byte %zu of %zu", at, b.n);
  if (n == SIZE_MAX || n == have) return true;
  return ts_refuse(d, "samples-malformed", "samples: %zu values where %zu were promised", have, n);
}

bool ts_samples_decode(ts_arena *a, ts_blob b, size_t n, uint64_t **v, size_t *count, ts_diag *d) {
  TS_TRY(ts__samples_check(b, n, d));
  size_t at;
  *count = decode(b, NULL, &at);
  *v = ts_new_array(a, uint64_t, *count + 1);
  decode(b, *v, &at);
  return true;
}
