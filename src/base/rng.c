// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#include <math.h>

#include "base/base.h"

static void philox(const uint32_t key[2], const uint32_t in[4], uint32_t out[4]) {
  uint32_t c[4], k[2] = {key[0], key[1]};
  memcpy(c, in, sizeof c);
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
    memcpy(c, next, sizeof c);
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  memcpy(out, c, sizeof c);
}

ts_rng ts_rng_new(uint64_t seed, uint64_t stream) { return (ts_rng){.seed = seed, .stream = stream}; }

uint32_t ts_rng_u32(ts_rng *r) {
  if (!r->left) {
    uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
    uint32_t ctr[4] = {(uint32_t)r->counter, (uint32_t)(r->counter >> 32), (uint32_t)r->stream, (uint32_t)(r->stream >> 32)};
    philox(key, ctr, r->out);
    r->counter++;
    r->left = 4;
  }
  return r->out[4 - r->left--];
}

uint64_t ts_rng_u64(ts_rng *r) {
  uint64_t hi = ts_rng_u32(r);
  return hi << 32 | ts_rng_u32(r);
}

uint32_t ts_rng_below(ts_rng *r, uint32_t n) {
  uint32_t reject = (0u - n) % n;  // 2^32 mod n
  for (;;) {
    uint32_t x = ts_rng_u32(r);
    if (x >= reject) return x % n;
  }
}

double ts_rng_unit(ts_rng *r) { return (double)(ts_rng_u64(r) >> 11) * 0x1p-53; }

double ts_rng_normal(ts_rng *r) {
  double u = 1.0 - ts_rng_unit(r), v = ts_rng_unit(r);
  return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

// A bijection of the numbers below the next power of two, repeated until the value is below n.
uint64_t ts_shuffled(uint64_t i, uint64_t n, uint64_t key) {
  int bits = 1;
  while (bits < 64 && (n - 1) >> bits) bits++;
  uint64_t mask = bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
  do {
    for (int round = 0; round < 3; round++) {
      i = (i ^ key >> 16 * round) & mask;
      i = i * UINT64_C(0x9E3779B97F4A7C15) & mask;
      i ^= i >> (bits + 1) / 2;
    }
  } while (i >= n);
  return i;
}
