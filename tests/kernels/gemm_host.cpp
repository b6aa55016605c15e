// gemm_host: a matrix template, compiled for the host with one point of its space, against the meaning of its packed weights.
#include "host.h"

#include TEMPLATE

#ifndef X_CHUNK
#define X_CHUNK CHUNK
#endif
#ifndef CLUSTER
#define CLUSTER SPLIT
#endif

#ifdef TS_I
enum { N = 2 * TS_I };
#else
enum { N = TS_N };
#endif
#ifdef GEMM
enum { K = TS_K, ROWS = GEMM };
#else
enum { K = TS_K, ROWS = TS_n };
#endif
#if defined(GEMM) || defined(CHUNK)
typedef u16 input;
#endif

#if PARTS == 2
#define LIMIT 5e-5  // 16 bits of the largest
#else
#define LIMIT 2e-6
#endif

static float uniform() {
  return (float)(host_random() % 20001) / 10000.0f - 1.0f;
}
static std::vector<u16> plain;  // f16 weights

// ORDER: the packed layout "mma" of kernels/ops/matmul.mma.tir.
static double weight(const std::vector<u32> &codes, const std::vector<u16> &scales, int i, int k) {
#ifdef WEIGHT_F16
  return host_half(plain[(size_t)i * K + k]);
#endif
  int o = i / 16, g = i % 8, up = i / 8 % 2, u = k / 64, step = k / 16 % 4, t = k % 8 / 2, e = k % 2, half = k / 8 % 2;
  u32 word = codes[(((size_t)o * (K / 64) + u) * 32 + g * 4 + t) * 4 + step];
  int code = word >> 4 * (up + 2 * half + 4 * e) & 15;
  return (code - 7) * (double)host_half(scales[(((size_t)o * (K / 64) + u) * 8 + g) * 4 + k / 32 % 2 * 2 + up]);
}

int main() {
  std::vector<u32> codes((size_t)N * K / 8 + 4);
  std::vector<u16> scales((size_t)N * K / 32 + 8);
  u32 *cp = codes.data();
  while ((uintptr_t)cp % 16) cp++;
  for (auto &c : codes) c = host_random() * 3u ^ host_random() << 9;
  for (auto &s : scales) s = host_to_half(0.01f + 0.02f * (float)(host_random() % 100));
  std::vector<u32> used(cp, cp + (size_t)N * K / 8);
  u16 *sp = scales.data();
  while ((uintptr_t)sp % 16) sp++;
  std::vector<u16> used_scales(sp, sp + (size_t)N * K / 32);
#ifdef WEIGHT_F16
  std::vector<u16> stored((size_t)N * K + 8);
  for (auto &v : stored) v = host_to_half(uniform() * 0.1f);
  u16 *wp = stored.data();
  while ((uintptr_t)wp % 16) wp++;
  plain.assign(wp, wp + (size_t)N * K);
#endif
  std::vector<input> x((size_t)ROWS * K);
  std::vector<float> g(K), xf((size_t)ROWS * K);
  for (size_t i = 0; i < x.size(); i++) {
    float v = uniform() * 3;
#if INPUT_F16
    x[i] = host_to_half(v);
    xf[i] = host_half(x[i]);
#else
    x[i] = xf[i] = v;
#endif
  }
  for (auto &v : g) v = 0.5f + uniform() * 0.4f;
#ifdef TS_I
  int outs = TS_I;
#else
  int outs = N;
#endif
  std::vector<float> bias(outs);
  for (auto &v : bias) v = uniform() * 20;
  std::vector<output> y((size_t)ROWS * outs), before;
  for (auto &v : y) v = (output)(sizeof(output) == 2 ? 0x3c00 : 3);  // an old value, for sums
  before = y;
#ifdef WORK  // sums meet in memory that is zero; COUNTERS: so many bytes of it are zero again
  std::vector<uint4> work(WORK);
#endif
#ifdef CHUNK  // few rows by tensor copies
  tensor_map map = {x.data(), {64, ROWS, K / 64}, {K * 2, 128}, {64, BATCH, X_CHUNK}, 2, 128};
  tensor_map codes_map = {cp, {128, K / 64, N / 16}, {512, K / 64 * 512}, {128, CHUNK, BOX}, 4, 0};
#ifdef FLAT  // scales of a row of tiles side by side
  tensor_map scales_map = {sp, {K / 64 * 32, N / 16, 1}, {K / 64 * 64, 0}, {CHUNK * 32, BOX, 1}, 2, 0};
#else
  tensor_map scales_map = {sp, {32, K / 64, N / 16}, {64, K / 64 * 64}, {32, CHUNK, BOX}, 2, 0};
#endif
#endif
#if defined(GEMM) && defined(WEIGHT_F16)
#ifndef TURN
#define TURN 0
#endif
#ifndef WIDE  // the kernel reads what is stored without a map
#define WIDE BOX
#endif
#define WEIGHTS_BY(width) {wp, {K, N, 1}, {K * 2, 0}, {64, width, 1}, 2, 128}
  tensor_map map = {x.data(), {K, ROWS, 1}, {K * 2, 0}, {64, TURN ? WIDE : BOX, 1}, 2, 128}, w_map = WEIGHTS_BY(TURN ? BOX : WIDE);
  tensor_map w192 = WEIGHTS_BY(192), w160 = WEIGHTS_BY(160), w128 = WEIGHTS_BY(128), w64 = WEIGHTS_BY(64);
  long long dims = ROWS;
#elif defined(GEMM)
#ifndef HALF
#define HALF WIDTH
#endif
  tensor_map map = {x.data(), {K, ROWS, 1}, {K * 2, 0}, {64, HALF, 1}, 2, 128};
  tensor_map codes_map = {cp, {K / 64 * 128, N / 16, 1}, {K / 64 * 512, 0}, {128, BOX, 1}, 4, 0};
  tensor_map scales_map = {sp, {K / 64 * 32, N / 16, 1}, {K / 64 * 64, 0}, {32, BOX, 1}, 2, 0};
  long long dims = ROWS;
#endif
  host_from_predecessor(x, true);
  host_from_predecessor(y, false);
#ifdef WORK
  host_from_predecessor(work, false);
#endif
  bool ok = host_launch(GRID, CLUSTER, THREADS, [&] { RUN; });
  if (!ok) {
    fprintf(stderr, "the kernel does not end\n");
    return 1;
  }
#ifdef WORK
#ifndef COUNTERS
#define COUNTERS 16 * WORK
#endif
  for (size_t i = 0; i < COUNTERS; i++)
    if (((unsigned char *)work.data())[i]) {
      fprintf(stderr, "the workspace is not zero again\n");
      return 1;
    }
#endif
  double err = 0, all = 0;
  for (int r = 0; r < ROWS; r++) {
    double ss = 0, factor = 1;
#ifdef TS_eps
    for (int k = 0; k < K; k++) ss += (double)xf[(size_t)r * K + k] * xf[(size_t)r * K + k];
    factor = 1 / sqrt(ss / K + TS_eps);
#endif
    (void)ss;
    std::vector<double> sum(N);
    for (int i = 0; i < N; i++)
      for (int k = 0; k < K; k++) {
        double v = xf[(size_t)r * K + k] * factor;
#ifdef TS_eps
        v *= g[k];
#endif
        sum[i] += v * weight(used, used_scales, i, k);
      }
    for (int i = 0; i < outs; i++) {
      double want = sum[i];
#ifdef TS_I
      want = sum[i] / (1 + exp(-sum[i])) * sum[i + TS_I];
#elif TS_OP_matmul_add
      want += sizeof(output) == 2 ? 1 : 3;
#endif
#ifdef TS_OP_norm_matmul_bias
      want += bias[i];
#endif
      output o = y[(size_t)r * outs + i];
      double got = sizeof(output) == 2 ? host_half((u16)o) : (double)o;
      err += (got - want) * (got - want);
      all += want * want;
    }
  }
  double e = sqrt(err / all), limit = INPUT_F16 || sizeof(output) == 2 ? 6e-4 : LIMIT;
  printf("%s relative error %.3g (limit %.1g)\n", e < limit ? "ok" : "WRONG", e, limit);
  return e < limit ? 0 : 1;
}
