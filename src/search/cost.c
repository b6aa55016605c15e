// Gaussian process regression with a squared-exponential kernel (Rasmussen and Williams, Gaussian Processes for Machine
// Learning, algorithm 2.1). Inputs are log2 of decisions, so a length scale of about two doublings fits most knobs.
#include <math.h>

#include "search/search.h"

struct ts_gp {
  size_t n, dims;
  const double *const *x;
  double *chol;   // lower triangle, n x n
  double *alpha;  // K^-1 (y - mean)
  double mean, variance, noise;
};

static const double length_scale = 1.5;

static double kernel(const ts_gp *g, const double *a, const double *b) {
  double d2 = 0;
  for (size_t i = 0; i < g->dims; i++) d2 += (a[i] - b[i]) * (a[i] - b[i]);
  return g->variance * exp(-0.5 * d2 / (length_scale * length_scale));
}

static void solve_lower(const double *l, size_t n, double *v) {
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < i; j++) v[i] -= l[i * n + j] * v[j];
    v[i] /= l[i * n + i];
  }
}

static void solve_upper(const double *l, size_t n, double *v) {
  for (size_t i = n; i-- > 0;) {
    for (size_t j = i + 1; j < n; j++) v[i] -= l[j * n + i] * v[j];
    v[i] /= l[i * n + i];
  }
}

static void cholesky(double *k, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j <= i; j++) {
      double s = k[i * n + j];
      for (size_t m = 0; m < j; m++) s -= k[i * n + m] * k[j * n + m];
      k[i * n + j] = i == j ? sqrt(fmax(s, 1e-12)) : s / k[j * n + j];
    }
}

ts_gp *ts_gp_fit(ts_arena *a, const double *const *x, const double *log_t, size_t n, size_t dims) {
  ts_gp *g = ts_new(a, ts_gp);
  *g = (ts_gp){.n = n, .dims = dims, .x = x};
  for (size_t i = 0; i < n; i++) g->mean += log_t[i] / (double)n;
  for (size_t i = 0; i < n; i++) g->variance += (log_t[i] - g->mean) * (log_t[i] - g->mean) / (double)n;
  g->variance = fmax(g->variance, 1e-4);
  g->noise = fmax(1e-4, 0.01 * g->variance);  // about 1 % of measuring noise
  g->chol = ts_new_array(a, double, n * n + 1);
  g->alpha = ts_new_array(a, double, n + 1);
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < n; j++) g->chol[i * n + j] = kernel(g, x[i], x[j]) + (i == j ? g->noise : 0);
    g->alpha[i] = log_t[i] - g->mean;
  }
  cholesky(g->chol, n);
  solve_lower(g->chol, n, g->alpha);
  solve_upper(g->chol, n, g->alpha);
  return g;
}

void ts_gp_predict(const ts_gp *g, const double *x, double *mean, double *sd) {
  enum { MOST = 512 };
  double k[MOST];
  size_t n = TS_MIN(g->n, (size_t)MOST);
  *mean = g->mean;
  for (size_t i = 0; i < n; i++) {
    k[i] = kernel(g, x, g->x[i]);
    *mean += k[i] * g->alpha[i];
  }
  double var = g->variance + g->noise;
  solve_lower(g->chol, g->n, k);
  for (size_t i = 0; i < n; i++) var -= k[i] * k[i];
  *sd = sqrt(fmax(var, 1e-9));
}

// Jones, Schonlau, Welch 1998: E[max(best - t, 0)] for t ~ N(mean, sd^2).
double ts_expected_gain(double best, double mean, double sd) {
  double z = (best - mean) / sd;
  double cdf = 0.5 * erfc(-z / sqrt(2.0)), pdf = exp(-0.5 * z * z) / sqrt(2 * M_PI);
  return (best - mean) * cdf + sd * pdf;
}
