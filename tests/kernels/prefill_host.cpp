// prefill_host: prefill attention, compiled for the host, against the meaning of attention. What lies behind the last position of the cache
// and behind the last row is not a number. With pages (TS_PAGE) the rows of the last page are, those of pages that the sequence does not have are not.
#include "host.h"

#include TEMPLATE

enum { H = TS_H, HK = TS_HK, P = 512, POISON = 0x7e00 };

static u16 number() {
  return host_to_half((float)(host_random() % 4001) / 1000.0f - 2.0f);
}
static double half(const std::vector<u16> &x, size_t i) {
  return host_half(x[i]);
}

#include "pages.h"
#ifdef TS_PAGE
static int last_finite(int positions) { return (positions + TS_PAGE - 1) / TS_PAGE * TS_PAGE; }
#else
static int last_finite(int positions) { return positions; }
#endif

// One row of one head.
static void attend(const std::vector<u16> &q, const std::vector<u16> &k, const std::vector<u16> &v, int a, int h, int t, double *out) {
  const int kv = h / (H / HK);
  std::vector<double> s((size_t)(t + a + 1));
  double top = -1e300, sum = 0;
  for (int j = 0; j <= t + a; j++) {
    for (int d = 0; d < D; d++) s[j] += half(q, ((size_t)a * H + h) * D + d) * half(k, place(kv, j) + d) / sqrt(D);
    top = std::max(top, s[j]);
  }
  for (int d = 0; d < D; d++) out[d] = 0;
  for (int j = 0; j <= t + a; j++) {
    const double p = exp(s[j] - top);
    sum += p;
    for (int d = 0; d < D; d++) out[d] += p * half(v, place(kv, j) + d);
  }
  for (int d = 0; d < D; d++) out[d] /= sum;
}

#ifdef TILES
enum { COUNTERS = 0, RECORD = 0, HEIGHT = 1, THREADS = 32 * WARPS };
#define TOGETHER 1  // blocks
#else
enum { THREADS = 384 };
#define TOGETHER blocks
#endif

static bool run(int n, int t, int blocks) {
  std::vector<u16> q((size_t)(n + 1) * H * D, POISON), k((size_t)ROWS_OF_CACHE * D, POISON), v = k, y((size_t)(n + 1) * H * D, POISON);
  for (size_t i = 0; i < (size_t)n * H * D; i++) q[i] = number();
  draw_table();
  for (int h = 0; h < HK; h++)
    for (int j = 0; j < last_finite(t + n); j++)
      for (int d = 0; d < D; d++) k[place(h, j) + d] = number(), v[place(h, j) + d] = number();
  // ORDER: tmap of ref.prefill.cu, of ref.prefill_paged.cu
  tensor_map qm = {q.data(), {D, H, n}, {2 * D, 2 * D * H}, {64, H / HK, HEIGHT}, 2, 128};
#ifdef TS_PAGE
  tensor_map km = {k.data(), {D, TS_PAGE, POOL * HK}, {2 * D, 2 * D * TS_PAGE}, {64, std::min(TS_PAGE, 128), 1}, 2, 128}, vm = km;
#else
  tensor_map km = {k.data(), {D, t + n, HK}, {2 * D, 2 * D * P}, {64, 128, 1}, 2, 128}, vm = km;
#endif
  vm.base = v.data();
  long long dims[] = {n, t};
  static std::vector<u32> work(COUNTERS + (size_t)8 * LINES * RECORD);  // of 8 blocks at most
  host_lates.clear();
  host_from_predecessor(q, true);
  host_from_predecessor(y, false);
  host_from_predecessor(work, false);
  for (int h = 0; h < HK; h++)
    for (int j = t; j < t + n; j++) host_from_predecessor(&k[place(h, j)], D, true), host_from_predecessor(&v[place(h, j)], D, true);
#ifdef TILES
  host_parts = HK;
  blocks = ((n * (H / HK) + LINES - 1) / LINES + 1) * HK;  // some have nothing to do
#ifdef TS_PAGE
  const auto kernel = [&] { tiles(q.data(), table, k.data(), v.data(), y.data(), dims); };
#else
  const auto kernel = [&] { tiles(q.data(), k.data(), v.data(), y.data(), dims); };
#endif
#elif defined(TS_PAGE)
  const auto kernel = [&] { prefill(qm, table, km, vm, y.data(), work.data(), dims); };
#else
  const auto kernel = [&] { prefill(qm, km, vm, y.data(), work.data(), dims); };
#endif
  if (!host_launch(blocks, TOGETHER, THREADS, kernel)) return printf("n=%d t=%d: the kernel does not end\n", n, t), false;
  double worst = 0, largest = 0, want[D];
  for (int a = 0; a < n; a++)
    for (int h = 0; h < H; h++) {
      attend(q, k, v, a, h, t, want);
      for (int d = 0; d < D; d++) {
        const double e = fabs(half(y, ((size_t)a * H + h) * D + d) - want[d]);
        worst = std::max(worst, std::isfinite(e) ? e : 1e30);
        largest = std::max(largest, fabs(want[d]));
      }
    }
  bool beyond = false;
  for (size_t i = (size_t)n * H * D; i < y.size(); i++) beyond |= y[i] != POISON;
  bool idle = true;
  for (int i = 0; i < COUNTERS; i++) idle &= work[i] == 0;
  const bool right = worst / largest < 1e-3 && !beyond && idle;
  printf("%s n=%d t=%d, %d blocks: error %.3g of the largest value%s%s\n", right ? "ok" : "WRONG", n, t, blocks, worst / largest, beyond ? ", and rows beyond the last are written" : "",
         idle ? "" : ", counters are left");
  return right;
}

int main() {
  // with t = 91 the first rows see nothing of the newest tile of their block
  bool ok = run(16, 91, 1);
  ok &= run(144, 91, 2);
  ok &= run(130, 0, 4);
  // more blocks than items: parts of the keys; some rows see nothing of the last part
  ok &= run(16, 440, 5);
  ok &= run(140, 250, 8);
  return ok ? 0 : 1;
}
