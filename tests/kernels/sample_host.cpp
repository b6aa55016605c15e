// sample_host: the runtime's own kernels that choose a token, compiled for the host, against what greedy choice, top-k and top-p mean. Some logits are no
// numbers, some are equal.
#include "host.h"

#define blockDim (dim3_{host_threads, 1, 1})
static inline int __shfl_xor_sync(u32, int v, int m) {
  int lane = host_me->index & 31;
  *host_slot(HOST_WARP, lane) = (u32)v;
  host_meet(HOST_WARP);
  int r = (int)*host_slot(HOST_WARP, lane ^ m);
  host_meet(HOST_WARP);
  return r;
}
static inline void __threadfence_system() {}
static inline u64 atomicAdd(u64 *p, u64 v) {
  *p += v;
  return *p - v;
}
static inline u32 atomicInc(u32 *p, u32 most) {
  u32 v = *p;
  *p = v >= most ? 0 : v + 1;
  return v;
}

#include KERNELS

static state s;
static u64 ring[4];
static int token[1];
static std::vector<float> logits;

static bool number(float v) { return std::isfinite(v); }

// Few values, so that many are equal; where `holes`, some are no numbers.
static void draw_logits(int n, bool holes) {
  static const float no_numbers[] = {NAN, INFINITY, -INFINITY};
  logits.resize(n);
  for (float &v : logits) v = (float)(host_random() % 97) / 8.0f - 6.0f;
  for (int i = 0; holes && i < n; i += 3) logits[i] = no_numbers[host_random() % 3];
}

static void begin(long long position) {
  memset(&s, 0, sizeof s);
  s.ring = ring, s.ring_mask = 3, s.tokens = token, s.seed = 7;
  s.dims[1] = position;
}

// What the kernel gave to the next pass and to the host.
static int chosen(long long position) {
  const int id = (int)(u32)ring[0];
  if (s.emitted != 1 || ring[0] >> 32 != 1 || s.dims[1] != position + 1 || token[0] != std::max(id, 0) || s.ticket) printf("WRONG what is left behind\n"), exit(1);
  return id;
}

static int greedy(int n) {
  begin(5);
  int blocks = std::min((n + 4 * THREADS - 1) / (4 * THREADS), (int)PARTS);
  if (!host_launch(blocks, 1, THREADS, [&] { tunesmith_greedy(&s, logits.data(), n); })) printf("WRONG no end\n"), exit(1);
  return chosen(5);
}

static int drawn(int n, float temperature, int top_k, float top_p, long long position) {
  begin(position);
  s.temperature = temperature, s.top_k = top_k, s.top_p = top_p;
  if (!host_launch(1, 1, SAMPLE_THREADS, [&] { tunesmith_sample(&s, logits.data(), n); })) printf("WRONG no end\n"), exit(1);
  return chosen(position);
}

static int largest(int n) {
  int best = -1;
  for (int i = 0; i < n; i++)
    if (number(logits[i]) && (best < 0 || logits[i] > logits[best])) best = i;
  return best;
}

// The probability of each index; 0: it is not among those kept, of which the last ones are all that are equal.
static std::vector<double> meaning(int n, double temperature, int top_k, double top_p) {
  std::vector<double> p(n);
  std::vector<int> order;
  double all = 0, sum = 0;
  for (int i = 0; i < n; i++)
    if (number(logits[i])) order.push_back(i), all += exp((logits[i] - logits[largest(n)]) / temperature);
  std::stable_sort(order.begin(), order.end(), [](int a, int b) { return logits[a] > logits[b]; });
  float least = -1e30f;
  if (top_k > 0 && top_k < (int)order.size()) least = logits[order[top_k - 1]];
  if (top_p < 1)
    for (int i : order) {
      sum += exp((logits[i] - logits[largest(n)]) / temperature);
      if (sum >= top_p * all) {
        least = std::max(least, logits[i]);
        break;
      }
    }
  sum = 0;
  for (int i : order)
    if (logits[i] >= least) sum += p[i] = exp((logits[i] - logits[largest(n)]) / temperature);
  for (double &v : p) v /= sum;
  return p;
}

static bool check_greedy(int n, bool holes) {
  draw_logits(n, holes);
  const int got = greedy(n), want = largest(n);
  if (got != want) printf("WRONG greedy of %d: %d, not %d\n", n, got, want);
  return got == want;
}

// Draws are among what is kept, and as often as their probabilities say.
static bool check_draws(int n, bool holes, double temperature, int top_k, double top_p, int draws) {
  draw_logits(n, holes);
  const std::vector<double> p = meaning(n, temperature, top_k, top_p);
  std::vector<int> count(n);
  for (int i = 0; i < draws; i++) {
    const int id = drawn(n, (float)temperature, top_k, (float)top_p, 100 + i);
    if (id < 0 || id >= n || p[id] == 0) return printf("WRONG n=%d temperature=%g top_k=%d top_p=%g: drew %d, which is not kept\n", n, temperature, top_k, top_p, id), false;
    count[id]++;
  }
  double far = 0;  // from the probabilities, in standard deviations
  for (int i = 0; i < n; i++)
    if (p[i] > 0) far = std::max(far, fabs(count[i] - draws * p[i]) / sqrt(draws * p[i] * (1 - p[i]) + 1));
  if (far > 4.5) printf("WRONG n=%d temperature=%g top_k=%d top_p=%g: a share is off by %.1f deviations\n", n, temperature, top_k, top_p, far);
  return far <= 4.5;
}

int main() {
  bool ok = true;
  for (int n : {1, 31, 1024, 1025, 3000}) ok &= check_greedy(n, false) & check_greedy(n, true);
  ok &= check_draws(5, false, 3, 0, 1, 24);
  ok &= check_draws(40, true, 2, 0, 1, 8);
  ok &= check_draws(40, true, 4, 7, 1, 6);
  ok &= check_draws(40, true, 4, 0, 0.6, 6);
  ok &= check_draws(1500, true, 4, 30, 0.3, 2);
  ok &= check_draws(1500, false, 1e-30, 0, 1, 1);
  ok &= check_draws(1500, false, 1, 0, 1e-9, 1);
  ok &= check_draws(1500, false, 1, 1, 1, 1);
  logits.assign(64, NAN);
  const bool none = greedy(64) == -1 && drawn(64, 1, 0, 1, 3) == -1 && drawn(64, 1, 5, 0.5f, 3) == -1;
  if (!none) printf("WRONG a choice among no numbers\n");
  ok &= none;
  printf("%s\n", ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
