// Loops at the machine's limits, for AVX-512, AVX2 and plain x86-64.
#include "device/loops.h"

#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f")))
#define VNNI __attribute__((target("avx512f,avx512vnni")))
#define AVX2 __attribute__((target("avx2,fma")))

AVX512 static uint64_t read_512(const char *p, int64_t n) {
  __m512i a[8];
  for (int k = 0; k < 8; k++) a[k] = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 512)
    for (int k = 0; k < 8; k++) a[k] = _mm512_xor_si512(a[k], _mm512_load_si512(p + i + 64 * k));
  for (int k = 1; k < 8; k++) a[0] = _mm512_xor_si512(a[0], a[k]);
  return (uint64_t)_mm512_reduce_or_epi64(a[0]);
}

AVX2 static uint64_t read_256(const char *p, int64_t n) {
  __m256i a[8];
  for (int k = 0; k < 8; k++) a[k] = _mm256_setzero_si256();
  for (int64_t i = 0; i < n; i += 256)
    for (int k = 0; k < 8; k++) a[k] = _mm256_xor_si256(a[k], _mm256_load_si256((const __m256i *)(const void *)(p + i + 32 * k)));
  for (int k = 1; k < 8; k++) a[0] = _mm256_xor_si256(a[0], a[k]);
  return (uint64_t)_mm256_extract_epi64(a[0], 0) ^ (uint64_t)_mm256_extract_epi64(a[0], 3);
}

static uint64_t read_128(const char *p, int64_t n) {
  __m128i a[8];
  for (int k = 0; k < 8; k++) a[k] = _mm_setzero_si128();
  for (int64_t i = 0; i < n; i += 128)
    for (int k = 0; k < 8; k++) a[k] = _mm_xor_si128(a[k], _mm_load_si128((const __m128i *)(const void *)(p + i + 16 * k)));
  for (int k = 1; k < 8; k++) a[0] = _mm_xor_si128(a[0], a[k]);
  return (uint64_t)_mm_cvtsi128_si64(a[0]);
}

uint64_t ts__loop_read(const void *p, int64_t n) {
  if (__builtin_cpu_supports("avx512f")) return read_512(p, n);
  return __builtin_cpu_supports("avx2") ? read_256(p, n) : read_128(p, n);
}

AVX512 static void copy_512(char *to, const char *from, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) _mm512_stream_si512((void *)(to + i), _mm512_load_si512(from + i));
  _mm_sfence();
}

static void copy_128(char *to, const char *from, int64_t n) {
  for (int64_t i = 0; i < n; i += 16)
    _mm_stream_si128((__m128i *)(void *)(to + i), _mm_load_si128((const __m128i *)(const void *)(from + i)));
  _mm_sfence();
}

void ts__loop_copy(void *to, const void *from, int64_t n) {
  if (__builtin_cpu_supports("avx512f"))
    copy_512(to, from, n);
  else
    copy_128(to, from, n);
}

enum { CHAINS = 12, INNER = 64 };  // enough independent chains for two units of latency four, with registers to spare

AVX512 static double fma_512(int64_t rounds) {
  __m512 a[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  for (int k = 0; k < CHAINS; k++) a[k] = _mm512_set1_ps((float)k);
  for (int64_t r = 0; r < rounds * INNER; r++)
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) a[k] = _mm512_fmadd_ps(a[k], x, y);
  float sum = 0;
  for (int k = 0; k < CHAINS; k++) sum += _mm512_reduce_add_ps(a[k]);
  return (double)sum;
}

AVX2 static double fma_256(int64_t rounds) {
  __m256 a[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  for (int k = 0; k < CHAINS; k++) a[k] = _mm256_set1_ps((float)k);
  for (int64_t r = 0; r < rounds * INNER; r++)
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) a[k] = _mm256_fmadd_ps(a[k], x, y);
  float v[8], sum = 0;
  for (int k = 1; k < CHAINS; k++) a[0] = _mm256_add_ps(a[0], a[k]);
  _mm256_storeu_ps(v, a[0]);
  for (int k = 0; k < 8; k++) sum += v[k];
  return (double)sum;
}

static uint64_t bits_of(double v) {
  uint64_t u;
  memcpy(&u, &v, sizeof u);
  return u | 1;
}

uint64_t ts__loop_fma(int64_t rounds, double *ops) {
  bool wide = __builtin_cpu_supports("avx512f"), has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  *ops = (double)rounds * INNER * CHAINS * 2 * (wide ? 16 : 8);
  if (wide) return bits_of(fma_512(rounds));
  return has ? bits_of(fma_256(rounds)) : 0;
}

VNNI static uint64_t vnni_512(int64_t rounds) {
  __m512i a[CHAINS], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-1);
  for (int k = 0; k < CHAINS; k++) a[k] = _mm512_set1_epi32(k);
  for (int64_t r = 0; r < rounds * INNER; r++)
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) a[k] = _mm512_dpbusd_epi32(a[k], x, y);
  uint64_t sum = 0;
  for (int k = 0; k < CHAINS; k++) sum += (uint64_t)_mm512_reduce_add_epi32(a[k]);
  return sum | 1;
}

uint64_t ts__loop_vnni(int64_t rounds, double *ops) {
  if (!__builtin_cpu_supports("avx512vnni")) return 0;
  *ops = (double)rounds * INNER * CHAINS * 16 * 4 * 2;
  return vnni_512(rounds);
}
