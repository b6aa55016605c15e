// decode_host: decode attention, compiled for the host, against the meaning of attention. Rows behind the newest position, and with pages (TS_PAGE)
// those that the sequence does not have, are not numbers. ROPE: the kernel rotates and appends first.
#include "host.h"

#include TEMPLATE

enum { H = TS_H, HK = TS_HK, P = TS_P, POISON = 0x7e00 };

#include "pages.h"
#ifdef TS_PAGE
#define TABLE table,
#else
#define TABLE
#endif
#ifdef SLOTS  // meets by copies
#define WORKSPACE
#else
#define WORKSPACE work.data(),
#endif

static float number() { return (float)(host_random() % 4001) / 1000.0f - 2.0f; }

static std::vector<u16> k, v;
static std::vector<float> q, y, qkv, cosine, sine;

// Keys and values of the sequence; the newest only where the kernel does not append it.
static void make(int t) {
  draw_table();
  k.assign((size_t)ROWS_OF_CACHE * D, POISON);
  v = k;
  q.resize(H * D), qkv.resize((H + 2 * HK) * D), cosine.resize(P * D / 2), sine = cosine;
  y.assign(H * D, NAN);
  for (float &x : qkv) x = number();
  for (size_t i = 0; i < cosine.size(); i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
  for (int i = 0; i < H * D; i++) q[i] = qkv[i];
  for (int h = 0; h < HK; h++)
    for (int j = 0; j < t + !ROPE; j++)
      for (int d = 0; d < D; d++) k[place(h, j) + d] = host_to_half(number()), v[place(h, j) + d] = host_to_half(number());
}

static void rotate(float *to, const float *from, int t) {
  for (int d = 0; d < D / 2; d++) {
    const float c = cosine[t * (D / 2) + d], s = sine[t * (D / 2) + d], a = from[d], b = from[d + D / 2];
    to[d] = a * c - b * s;
    to[d + D / 2] = b * c + a * s;
  }
}

static bool appended(int t) {
  float row[D];
  bool ok = true;
  for (int h = 0; ROPE && h < HK; h++) {
    rotate(row, &qkv[(H + h) * D], t);
    for (int d = 0; d < D; d++) ok &= fabs(host_half(k[place(h, t) + d]) - row[d]) < 2e-3 && host_half(v[place(h, t) + d]) == host_half(host_to_half(qkv[(H + HK + h) * D + d]));
  }
  return ok;
}

static double error(int t) {
  double worst = 0, largest = 0, s[P], want[D];
  for (int h = 0; h < H; h++) {
    double top = -1e300, sum = 0;
    float query[D];
    if (ROPE) rotate(query, &q[h * D], t);
    else memcpy(query, &q[h * D], sizeof query);
    for (int j = 0; j <= t; j++) {
      s[j] = 0;
      for (int d = 0; d < D; d++) s[j] += query[d] * host_half(k[place(h / GROUP, j) + d]) / sqrt(D);
      top = std::max(top, s[j]);
    }
    for (double &w : want) w = 0;
    for (int j = 0; j <= t; j++) {
      const double p = exp(s[j] - top);
      sum += p;
      for (int d = 0; d < D; d++) want[d] += p * host_half(v[place(h / GROUP, j) + d]);
    }
    for (int d = 0; d < D; d++) {
      const double e = fabs(y[h * D + d] - want[d] / sum);
      worst = std::max(worst, std::isfinite(e) ? e : 1e30);
      largest = std::max(largest, fabs(want[d] / sum));
    }
  }
  return worst / largest;
}

static bool run(int t) {
  static std::vector<float> work(64 + HK * SPLITS * PART);
  long long dims[] = {t};
  make(t);
  host_parts = SPLITS;
  host_lates.clear();
  host_from_predecessor(ROPE ? qkv : q, true);
  host_from_predecessor(y, false);
  host_from_predecessor(work, false);
#if !ROPE  // which writes the newest row too
  host_from_predecessor(k, true);
  host_from_predecessor(v, true);
#endif
#if ROPE
  const auto kernel = [&] { decode(qkv.data(), cosine.data(), sine.data(), TABLE k.data(), v.data(), y.data(), WORKSPACE dims); };
#else
  const auto kernel = [&] { decode(q.data(), TABLE k.data(), v.data(), y.data(), WORKSPACE dims); };
#endif
  if (!host_launch(HK * SPLITS, CLUSTER ? SPLITS : 1, 32 * WARPS, kernel)) return printf("t=%d: the kernel does not end\n", t), false;
  bool idle = true;
  for (int i = 0; i < 64; i++) idle &= work[i] == 0;
  const double e = error(t);
  const bool right = e < 1e-3 && appended(t) && idle;
  printf("%s t=%d: error %.3g of the largest value%s%s\n", right ? "ok" : "WRONG", t, e, appended(t) ? "" : ", the newest row is not in the cache", idle ? "" : ", counters are left");
  return right;
}

int main() {
  bool ok = true;
  for (int t : {0, 1, 15, 16, 47, 64, 200, P - 1}) ok &= run(t);
  return ok ? 0 : 1;
}
