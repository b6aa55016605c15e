// rows_host: small operators on rows, compiled for the host, against what they mean. More rows are launched than there are: what lies behind them is not a number
// and stays as it is.
#include "host.h"

#include TEMPLATE

enum { ROWS = 5, LAUNCHED = 7, POISON = 0x7e00 };
static long long dims[] = {ROWS, 0};

static float number() { return (float)(host_random() % 4001) / 1000.0f - 2.0f; }
static bool near(u16 got, double want) { return fabs(host_half(got) - want) <= 1e-3 * fabs(want) + 1e-4; }
static std::vector<u16> halves(size_t n, size_t there) {
  std::vector<u16> v(n + 8, POISON);
  for (size_t i = 0; i < there; i++) v[i] = host_to_half(number());
  return v;
}
template <typename T> static T *aligned(std::vector<u16> &v) {
  return (T *)(((uintptr_t)v.data() + 15) & ~(uintptr_t)15);
}
static bool poison(const u16 *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != POISON) return false;
  return true;
}

#if defined(ROPE)
enum { P = TS_P, ROW = (H + 2 * HK) * D };
#include "pages.h"
static bool run(int t) {
  std::vector<u16> qkv = halves(LAUNCHED * ROW, ROWS * ROW + 8), q = halves(LAUNCHED * H * D, 0), kc = halves((size_t)ROWS_OF_CACHE * D, 0), vc = kc;
  std::vector<float> cosine(P * D / 2), sine = cosine;
  u16 *x = aligned<u16>(qkv), *y = aligned<u16>(q), *k = aligned<u16>(kc), *v = aligned<u16>(vc);
  for (size_t i = 0; i < cosine.size(); i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
  draw_table();
  dims[1] = t;
  host_lates.clear();
  host_from_predecessor(x, ROWS * ROW, true);
  host_from_predecessor(y, LAUNCHED * H * D, false);
  for (int a = 0; a < ROWS; a++)
    for (int h = 0; h < HK; h++) host_from_predecessor(k + place(h, t + a), D, false), host_from_predecessor(v + place(h, t + a), D, false);
#ifdef TS_PAGE
  bool ok = host_launch((LAUNCHED * ITEMS + THREADS - 1) / THREADS, 1, THREADS, [&] { rope_append_pieces((uint4 *)x, cosine.data(), sine.data(), (uint4 *)y, table, (uint4 *)k, (uint4 *)v, dims); });
#else
  bool ok = host_launch((LAUNCHED * ITEMS + THREADS - 1) / THREADS, 1, THREADS, [&] { rope_append_pieces((uint4 *)x, cosine.data(), sine.data(), (uint4 *)y, (uint4 *)k, (uint4 *)v, dims); });
#endif
  for (int a = 0; a < ROWS; a++)
    for (int h = 0; h < H + 2 * HK; h++)
      for (int e = 0; e < D; e++) {
        const double c = cosine[(t + a) * (D / 2) + e % (D / 2)], s = sine[(t + a) * (D / 2) + e % (D / 2)];
        const double own = host_half(x[a * ROW + h * D + e]), other = host_half(x[a * ROW + h * D + (e + D / 2) % D]);
        const double want = h >= H + HK ? own : own * c + (e < D / 2 ? -other : other) * s;
        const u16 got = h < H ? y[(a * H + h) * D + e] : h < H + HK ? k[place(h - H, t + a) + e] : v[place(h - H - HK, t + a) + e];
        ok = ok && near(got, want);
      }
  size_t written = 0;
  for (int i = 0; i < ROWS_OF_CACHE * D; i++) written += (k[i] != POISON) + (v[i] != POISON);
  return ok && written == (size_t)ROWS * HK * D * 2 && poison(y + ROWS * H * D, (LAUNCHED - ROWS) * H * D);
}
static bool all() { return run(0) && run(11) && run(P - ROWS); }
#elif defined(SILU)
static bool all() {
  enum { I = TS_I };
  std::vector<u16> in = halves(LAUNCHED * 2 * I, ROWS * 2 * I + 8), out = halves(LAUNCHED * I, 0);
  u16 *x = aligned<u16>(in), *y = aligned<u16>(out);
  x[0] = host_to_half(-60), x[1] = host_to_half(60), x[I] = x[I + 1] = host_to_half(1);
  host_from_predecessor(x, ROWS * 2 * I, true);
  host_from_predecessor(y, LAUNCHED * I, false);
  host_parts = LAUNCHED;
  bool ok = host_launch((I / 8 + THREADS - 1) / THREADS * LAUNCHED, 1, THREADS, [&] { silu_mul_pieces((uint4 *)x, (uint4 *)y, dims); });
  for (int a = 0; a < ROWS; a++)
    for (int i = 0; i < I; i++) {
      const double g = host_half(x[a * 2 * I + i]), u = host_half(x[a * 2 * I + I + i]);
      ok = ok && near(y[a * I + i], g / (1 + exp(-g)) * u);
    }
  return ok && poison(y + ROWS * I, (LAUNCHED - ROWS) * I);
}
#elif defined(BIAS)
static bool all() {
  enum { N = TS_N };
  std::vector<u16> values = halves(LAUNCHED * N, ROWS * N + 8);
  std::vector<float> b(N + 4);
  u16 *y = aligned<u16>(values);
  float *bias = b.data();
  while ((uintptr_t)bias % 16) bias++;
  for (int i = 0; i < N; i++) bias[i] = number();
  std::fill(y + ROWS * N, y + LAUNCHED * N, (u16)POISON);
  std::vector<u16> before(y, y + ROWS * N);
  host_from_predecessor(y, LAUNCHED * N, false);
  bool ok = host_launch((LAUNCHED * (N / 8) + THREADS - 1) / THREADS, 1, THREADS, [&] { add_bias_pieces(bias, (uint4 *)y, dims); });
  for (int i = 0; i < ROWS * N; i++) ok = ok && near(y[i], host_half(before[i]) + host_half(host_to_half(bias[i % N])));
  return ok && poison(y + ROWS * N, (LAUNCHED - ROWS) * N);
}
#else
static bool all() {
  enum { H = TS_H };
  std::vector<float> x(LAUNCHED * H + 4), g(H + 4);
  std::vector<u16> out = halves(LAUNCHED * H, 0);
  u16 *y = aligned<u16>(out);
  float *from = x.data(), *gain = g.data();
  while ((uintptr_t)from % 16) from++;
  while ((uintptr_t)gain % 16) gain++;
  for (int i = 0; i < ROWS * H; i++) from[i] = number() * (float)(1 + i / H * 100);
  for (int i = 0; i < H; i++) gain[i] = number();
  host_from_predecessor(from, LAUNCHED * H, true);
  host_from_predecessor(y, LAUNCHED * H, false);
  bool ok = host_launch(LAUNCHED, 1, THREADS, [&] { rms_norm_row(from, gain, (uint4 *)y, dims); });
  for (int a = 0; a < ROWS; a++) {
    double sum = 0;
    for (int i = 0; i < H; i++) sum += (double)from[a * H + i] * from[a * H + i];
    for (int i = 0; i < H; i++) ok = ok && near(y[a * H + i], from[a * H + i] / sqrt(sum / H + TS_eps) * gain[i]);
  }
  return ok && poison(y + ROWS * H, (LAUNCHED - ROWS) * H);
}
#endif

int main() {
  bool ok = all();
  printf("%s\n", ok ? "ok" : "WRONG");
  return !ok;
}
