// search: the cost model and the gain that is expected of a candidate.
#include "search/search_test.h"

enum { POINTS = 40 };

// Log time of a made-up kernel: best when the first knob is 3 and the second 5.
static double truth(const double *x) { return 0.2 * (x[0] - 3) * (x[0] - 3) + 0.1 * (x[1] - 5) * (x[1] - 5) + 7; }

static void points(ts_arena *a, uint64_t seed, const double **x, double *y, double noise) {
  ts_rng rng = ts_rng_new(seed, 0);
  for (int i = 0; i < POINTS; i++) {
    double *p = ts_new_array(a, double, 2);
    for (int k = 0; k < 2; k++) p[k] = 7 * ts_rng_unit(&rng);
    x[i] = p;
    y[i] = truth(p) + noise * ts_rng_normal(&rng);
  }
}

static void follows_its_points(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const double *x[POINTS];
  double y[POINTS], mean, sd;
  points(a, 1, x, y, 0);
  ts_gp *g = ts_gp_fit(a, x, y, POINTS, 2);
  for (int i = 0; i < POINTS; i++) {
    ts_gp_predict(g, x[i], &mean, &sd);
    assert_true(fabs(mean - y[i]) < 0.15);
  }
  ts_arena_free(a);
}

// Between points it predicts well, far from them it says that it does not know.
static void predicts_and_doubts(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const double *x[POINTS], *other[POINTS];
  double y[POINTS], real[POINTS], mean, sd, error = 0, spread = 0, near_sd = 0, far_sd;
  points(a, 2, x, y, 0.01);
  points(a, 3, other, real, 0);
  ts_gp *g = ts_gp_fit(a, x, y, POINTS, 2);
  for (int i = 0; i < POINTS; i++) {
    ts_gp_predict(g, other[i], &mean, &sd);
    error += fabs(mean - real[i]) / POINTS;
    near_sd += sd / POINTS;
    spread += fabs(real[i] - 9) / POINTS;
  }
  assert_true(error < 0.25 * spread);
  ts_gp_predict(g, (const double[]){60, 60}, &mean, &far_sd);
  assert_true(far_sd > 3 * near_sd);
  ts_arena_free(a);
}

// Ranking by expected gain finds the best of a grid although it was never measured.
static void finds_the_best(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const double *x[POINTS];
  double y[POINTS], best = INFINITY, most = -1, at[2] = {0, 0};
  points(a, 4, x, y, 0.01);
  ts_gp *g = ts_gp_fit(a, x, y, POINTS, 2);
  for (int i = 0; i < POINTS; i++) best = fmin(best, y[i]);
  for (int i = 0; i <= 7; i++)
    for (int k = 0; k <= 7; k++) {
      double p[2] = {i, k}, mean, sd;
      ts_gp_predict(g, p, &mean, &sd);
      double gain = ts_expected_gain(best, mean, sd);
      if (gain > most) most = gain, at[0] = i, at[1] = k;
    }
  assert_true(truth(at) < 7.5);
  ts_arena_free(a);
}

static void few_and_equal_points(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  const double p[1] = {2}, *x[3] = {p, p, p};
  double mean, sd;
  ts_gp *g = ts_gp_fit(a, x, (const double[]){5, 5, 5}, 3, 1);
  ts_gp_predict(g, p, &mean, &sd);
  assert_true(fabs(mean - 5) < 1e-9 && sd > 0 && sd < 0.1);
  g = ts_gp_fit(a, x, (const double[]){4, 5, 6}, 3, 0);  // a sketch without decisions
  ts_gp_predict(g, p, &mean, &sd);
  assert_true(fabs(mean - 5) < 0.1);
  ts_arena_free(a);
}

static void expected_gain(void **state) {
  (void)state;
  assert_true(fabs(ts_expected_gain(0, 0, 1) - 0.39894228) < 1e-6);
  assert_true(fabs(ts_expected_gain(1, 0, 1e-6) - 1) < 1e-6);           // certain
  assert_true(ts_expected_gain(0, 1, 1e-6) < 1e-12);                    // certainly worse
  assert_true(ts_expected_gain(0, 1, 2) > ts_expected_gain(0, 1, 1));   // doubt is a chance
  assert_true(ts_expected_gain(0, -1, 1) > ts_expected_gain(0, 0, 1));
}

static void decisions_of_a_trace(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("test");
  ts_diag d = {0};
  const char text[] = "trace 1\nb = get_block \"x\"\ni = get_loops b\nv = sample_categorical [1, 3] decision=[3]\ns, t = sample_perfect_tile i n=2 max=8 decision=[7, 1]\n";
  const ts_trace *t = ts_trace_parse(a, "test", text, strlen(text), &d);
  must(t != NULL, &d);
  double *v;
  assert_int_equal(ts_decisions(a, t, &v), 3);
  assert_true(v[0] == 2 && v[1] == 3 && v[2] == 1);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(follows_its_points), cmocka_unit_test(predicts_and_doubts), cmocka_unit_test(finds_the_best),
      cmocka_unit_test(few_and_equal_points), cmocka_unit_test(expected_gain), cmocka_unit_test(decisions_of_a_trace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
