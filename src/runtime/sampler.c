// Choosing a token. Draws come from a counter-based generator: (seed, position) decides.
#include <math.h>
#include <stdlib.h>

#include "runtime/runtime.h"

ts_sampler ts_sampler_default(void) {
  return (ts_sampler){.temperature = 1.0, .top_p = 1.0, .repetition_penalty = 1.0};
}

bool ts_sampler_check(const ts_sampler *s, ts_diag *d) {
  if (!(s->temperature >= 0) || s->temperature > 1000) return ts_refuse(d, "bad-option", "temperature %g is not 0 or more", s->temperature);
  if (!(s->top_p > 0 && s->top_p <= 1)) return ts_refuse(d, "bad-option", "top_p %g is not in (0, 1]", s->top_p);
  if (s->top_k < 0) return ts_refuse(d, "bad-option", "top_k %lld is negative", (long long)s->top_k);
  if (!(s->repetition_penalty > 0) || isinf(s->repetition_penalty))
    return ts_refuse(d, "bad-option", "repetition penalty %g is not above 0", s->repetition_penalty);
  if (!isfinite(s->presence_penalty) || !isfinite(s->frequency_penalty))
    return ts_refuse(d, "bad-option", "penalties should be finite");
  return true;
}

static bool penalised(const ts_sampler *s) {
  return s->repetition_penalty != 1.0 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

// Divide (or multiply, when negative) by the repetition penalty once a distinct token; subtract presence once and frequency for
// every occurrence. seen[] counts.
static void penalise(const ts_sampler *s, float *logits, int64_t n, const int32_t *history, size_t nhistory, float *seen) {
  memset(seen, 0, sizeof *seen * (size_t)n);
  for (size_t i = 0; i < nhistory; i++) {
    int32_t id = history[i];
    if (id < 0 || id >= n) continue;
    double v = logits[id];
    if (seen[id] == 0) v = (v > 0 ? v / s->repetition_penalty : v * s->repetition_penalty) - s->presence_penalty;
    logits[id] = (float)(v - s->frequency_penalty);
    seen[id] += 1;
  }
}

static int32_t largest(const float *logits, int64_t n) {
  int32_t best = -1;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
  return best;
}

typedef struct candidate {
  float p;
  int32_t id;
} candidate;

static int by_weight(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->p != y->p) return x->p < y->p ? 1 : -1;
  return (x->id > y->id) - (x->id < y->id);
}

// Candidates with weights exp((logit - max) / temperature) of at least `floor`, unordered.
static int64_t gather(const ts_sampler *s, const float *logits, int64_t n, float top, double floor, candidate *out, double *sum) {
  int64_t k = 0;
  *sum = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(logits[i])) continue;
    double p = exp(((double)logits[i] - (double)top) / s->temperature);
    *sum += p;
    if (p >= floor) out[k++] = (candidate){(float)p, (int32_t)i};
  }
  return k;
}

// Number of leading candidates (sorted) that top-k and top-p keep.
static int64_t keep(const ts_sampler *s, const candidate *c, int64_t n, double total) {
  double sum = 0, limit = s->top_p * total;
  if (s->top_k && s->top_k < n) n = s->top_k;
  if (s->top_p >= 1) return n;
  for (int64_t i = 0; i < n; i++) {
    sum += (double)c[i].p;
    if (sum >= limit) return i + 1;
  }
  return n;
}

int32_t ts_sampler_pick(const ts_sampler *s, const float *logits, int64_t n, const int32_t *history, size_t nhistory,
                        uint64_t draw, float *work) {
  // work holds the penalised logits and the counts; later, candidates (two floats each). ORDER: logits are read before.
  const float *v = logits;
  float *copy = NULL;
  if (penalised(s)) {
    copy = malloc(sizeof *copy * (size_t)n);
    if (!copy) return -1;
    memcpy(copy, logits, sizeof *copy * (size_t)n);
    penalise(s, copy, n, history, nhistory, work);
    v = copy;
  }
  int32_t pick = largest(v, n);
  if (pick < 0 || s->temperature <= 0) {
    free(copy);
    return pick;
  }
  // With top-p, weights below this cannot be among the kept unless all are: together they weigh less than the rest of the mass.
  candidate *c = (candidate *)(void *)work;
  double total = 0, floor = s->top_p < 1 ? (1 - s->top_p) / (double)n : 0;
  int64_t k = gather(s, v, n, v[pick], floor, c, &total);
  free(copy);
  if (s->top_p < 1 || s->top_k) qsort(c, (size_t)k, sizeof *c, by_weight);
  k = keep(s, c, k, total);
  double sum = 0, u;
  for (int64_t i = 0; i < k; i++) sum += (double)c[i].p;
  ts_rng r = ts_rng_new(s->seed, draw);
  u = ts_rng_unit(&r) * sum;
  for (int64_t i = 0; i < k; i++) {
    u -= (double)c[i].p;
    if (u < 0) return c[i].id;
  }
  return c[k - 1].id;
}
