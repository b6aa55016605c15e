// 64-bit hashing for tables, SHA-256 (FIPS 180-4) for identities.
#include <errno.h>

#include "base/base.h"

uint64_t ts_hash64(const void *p, size_t n, uint64_t seed) {
  const uint8_t *b = p;
  uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
  for (; n >= 8; n -= 8, b += 8) {
    uint64_t w = 0;
    for (int i = 7; i >= 0; i--) w = w << 8 | b[i];
    h = ts_hash_mix(h, w);
  }
  uint64_t w = 0;
  for (size_t i = n; i-- > 0;) w = w << 8 | b[i];
  return ts_hash_mix(h, w);
}

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int k) { return x >> k | x << (32 - k); }

static void sha_block(uint32_t h[8], const uint8_t *p) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t v[8];
  memcpy(v, h, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
    uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
    uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
    uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    memmove(v + 1, v, 7 * sizeof *v);
    v[4] += t1;
    v[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += v[i];
}

void ts_sha256_init(ts_sha256_ctx *c) {
  *c = (ts_sha256_ctx){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void ts_sha256_add(ts_sha256_ctx *c, const void *p, size_t n) {
  const uint8_t *b = p;
  while (n) {
    size_t at = c->bytes % 64, take = TS_MIN(n, 64 - at);
    if (take == 64) {
      sha_block(c->h, b);
    } else {
      memcpy(c->block + at, b, take);
      if (at + take == 64) sha_block(c->h, c->block);
    }
    c->bytes += take;
    b += take;
    n -= take;
  }
}

ts_sha256 ts_sha256_end(ts_sha256_ctx *c) {
  uint64_t bits = c->bytes * 8;
  uint8_t pad[72] = {0x80};
  size_t at = c->bytes % 64, n = (at < 56 ? 56 : 120) - at;
  for (int i = 0; i < 8; i++) pad[n + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
  ts_sha256_add(c, pad, n + 8);
  ts_sha256 out;
  for (int i = 0; i < 32; i++) out.b[i] = (uint8_t)(c->h[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

ts_sha256 ts_sha256_of(const void *p, size_t n) {
  ts_sha256_ctx c;
  ts_sha256_init(&c);
  ts_sha256_add(&c, p, n);
  return ts_sha256_end(&c);
}

bool ts_sha256_file(const char *path, ts_sha256 *out, ts_diag *d) {
  FILE *f = fopen(path, "rb");
  if (!f) return ts_env_fail(d, "open-failed", "%s: %s", path, strerror(errno));
  ts_sha256_ctx c;
  ts_sha256_init(&c);
  static _Thread_local uint8_t buffer[1 << 16];
  size_t n;
  while ((n = fread(buffer, 1, sizeof buffer, f)) > 0) ts_sha256_add(&c, buffer, n);
  bool bad = ferror(f) != 0;
  int why = errno;
  fclose(f);
  if (bad) return ts_env_fail(d, "read-failed", "%s: %s", path, strerror(why));
  *out = ts_sha256_end(&c);
  return true;
}

char *ts_hex(ts_arena *a, const uint8_t *p, size_t n) {
  char *s = ts_arena_alloc(a, 2 * n + 1, 1);
  for (size_t i = 0; i < n; i++) snprintf(s + 2 * i, 3, "%02x", p[i]);
  return s;
}
