// Medians, order-statistic intervals, paired comparison.
#include <math.h>
#include <stdlib.h>

#include "measure/measure.h"

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

static double *sorted_copy(const double *v, size_t n) {
  double *s = malloc((n + 1) * sizeof *s);
  if (!s) abort();
  if (n) memcpy(s, v, n * sizeof *s);
  qsort(s, n, sizeof *s, by_value);
  return s;
}

static double quantile(const double *s, size_t n, double q) {
  double at = q * (double)(n - 1);
  size_t i = (size_t)at;
  return i + 1 < n ? s[i] + (at - (double)i) * (s[i + 1] - s[i]) : s[n - 1];
}

// Ranks (0-based) r and n-1-r between which the median lies with probability at least 95 %: the largest r with
// P(Binomial(n, 1/2) <= r - 1) <= 2.5 %. Source: David and Nagaraja, Order Statistics, section 7.1.
static size_t median_rank(size_t n) {
  double log_half = (double)n * log(0.5), below = 0;
  size_t r = 0;
  for (size_t k = 0; k < n; k++) {
    double log_p = lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) + log_half;
    below += exp(log_p);
    if (below > 0.025) break;
    r = k;  // 0-based: the (k + 1)-th smallest
  }
  return r;
}

ts_stats ts_stats_of(const double *v, size_t n) {
  ts_stats st = {.n = n, .median = NAN, .min = NAN, .q1 = NAN, .q3 = NAN, .mad = NAN, .mean = NAN, .ci_lo = NAN, .ci_hi = NAN};
  if (!n) return st;
  double *s = sorted_copy(v, n), sum = 0;
  st.median = quantile(s, n, 0.5);
  st.min = s[0];
  st.q1 = quantile(s, n, 0.25);
  st.q3 = quantile(s, n, 0.75);
  size_t r = median_rank(n);
  st.ci_lo = s[r];
  st.ci_hi = s[n - 1 - r];
  for (size_t i = 0; i < n; i++) {
    sum += s[i];
    s[i] = fabs(s[i] - st.median);
  }
  st.mean = sum / (double)n;
  qsort(s, n, sizeof *s, by_value);
  st.mad = quantile(s, n, 0.5);
  free(s);
  return st;
}

const char *ts_verdict_name(ts_verdict v) {
  static const char *const names[] = {"faster", "slower", "same", "unclear"};
  return names[v];
}

// Median of all pairwise means (Hodges and Lehmann, 1963). `pairs` has room for n (n + 1) / 2.
static double hodges_lehmann(const double *x, size_t n, double *pairs) {
  size_t m = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = i; j < n; j++) pairs[m++] = 0.5 * (x[i] + x[j]);
  qsort(pairs, m, sizeof *pairs, by_value);
  return quantile(pairs, m, 0.5);
}

enum { BOOTSTRAPS = 400, MOST_ROUNDS = 64 };

static double mean_log_ratio(const double *a, const double *b, size_t from, size_t to) {
  double sum = 0;
  for (size_t i = from; i < to; i++) sum += log(a[i] / b[i]);
  return sum / (double)(to - from);
}

// More rounds than that: means of neighbouring ones.
ts_compare ts_compare_paired(const double *a, const double *b, size_t rounds, double noise) {
  ts_compare c = {.log_ratio = NAN, .ci_lo = NAN, .ci_hi = NAN, .verdict = TS_UNCLEAR};
  if (!rounds) return c;
  size_t n = TS_MIN(rounds, MOST_ROUNDS);
  double x[MOST_ROUNDS], draw[MOST_ROUNDS], centre[BOOTSTRAPS], *pairs = malloc(n * (n + 1) / 2 * sizeof *pairs);
  if (!pairs) abort();
  for (size_t i = 0; i < n; i++) x[i] = mean_log_ratio(a, b, i * rounds / n, (i + 1) * rounds / n);
  c.log_ratio = hodges_lehmann(x, n, pairs);
  ts_rng rng = ts_rng_new(20260101, 0);
  for (size_t k = 0; k < BOOTSTRAPS; k++) {
    for (size_t i = 0; i < n; i++) draw[i] = x[ts_rng_below(&rng, (uint32_t)n)];
    centre[k] = hodges_lehmann(draw, n, pairs);
  }
  free(pairs);
  qsort(centre, BOOTSTRAPS, sizeof *centre, by_value);
  c.ci_lo = centre[BOOTSTRAPS / 40];
  c.ci_hi = centre[BOOTSTRAPS - 1 - BOOTSTRAPS / 40];
  double gate = noise > 0 ? noise : 0.01;
  if (n < 5) c.verdict = TS_UNCLEAR;
  else if (c.ci_hi < -gate) c.verdict = TS_FASTER;
  else if (c.ci_lo > gate) c.verdict = TS_SLOWER;
  else if (c.ci_lo > -gate && c.ci_hi < gate) c.verdict = TS_SAME;
  return c;
}
