// MD5 (RFC 1321), for the checksums of parameter shards.
#include <math.h>

#include "model_impl.h"

static const uint8_t shift[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void block(uint32_t h[4], const uint8_t *p, const uint32_t k[64]) {
  uint32_t w[16], a = h[0], b = h[1], c = h[2], d = h[3];
  memcpy(w, p, 64);
  for (int i = 0; i < 64; i++) {
    int round = i / 16, g = round == 0 ? i : round == 1 ? 5 * i + 1 : round == 2 ? 3 * i + 5 : 7 * i;
    uint32_t f = round == 0   ? (b & c) | (~b & d)
                 : round == 1 ? (d & b) | (~d & c)
                 : round == 2 ? b ^ c ^ d
                              : c ^ (b | ~d);
    uint32_t next = b + rotate(a + f + k[i] + w[g & 15], shift[round][i & 3]);
    a = d, d = c, c = b, b = next;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

void ts__md5(const void *data, size_t n, uint8_t out[16]) {
  uint32_t h[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, k[64];
  for (int i = 0; i < 64; i++) k[i] = (uint32_t)(int64_t)floor(fabs(sin(i + 1)) * 4294967296.0);
  const uint8_t *p = data;
  size_t left = n;
  for (; left >= 64; left -= 64, p += 64) block(h, p, k);
  uint8_t tail[128] = {0};
  if (left) memcpy(tail, p, left);
  tail[left] = 0x80;
  size_t end = left < 56 ? 64 : 128;
  uint64_t bits = (uint64_t)n * 8;
  memcpy(tail + end - 8, &bits, 8);
  for (size_t i = 0; i < end; i += 64) block(h, tail + i, k);
  memcpy(out, h, 16);
}
