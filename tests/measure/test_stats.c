// measure: medians, intervals, verdicts, on numbers with known answers.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/measure.h"

static void medians(void **state) {
  (void)state;
  double v[] = {5, 1, 4, 2, 3};
  ts_stats s = ts_stats_of(v, 5);
  assert_true(s.median == 3 && s.min == 1 && s.q1 == 2 && s.q3 == 4 && s.mad == 1 && s.mean == 3);
  assert_true(s.ci_lo == 1 && s.ci_hi == 5);  // five samples say no more at 95 %
  assert_true(v[0] == 5);                     // the samples keep their order
  s = ts_stats_of(v, 0);
  assert_true(isnan(s.median) && s.n == 0);
}

// The interval of the median covers the true median in at least 95 % of experiments, and is not absurdly wide.
static void interval_covers(void **state) {
  (void)state;
  ts_rng r = ts_rng_new(11, 0);
  int covered = 0, experiments = 2000;
  double width = 0;
  for (int e = 0; e < experiments; e++) {
    double v[40];
    for (int i = 0; i < 40; i++) v[i] = exp(ts_rng_normal(&r));  // skewed, median 1
    ts_stats s = ts_stats_of(v, 40);
    covered += s.ci_lo <= 1 && 1 <= s.ci_hi;
    width += s.ci_hi - s.ci_lo;
  }
  assert_true(covered >= experiments * 94 / 100);
  assert_true(covered <= experiments * 99 / 100);
  assert_true(width / experiments < 1.2);
}

static ts_compare compare_at(double ratio, double noise, double floor, uint64_t seed) {
  ts_rng r = ts_rng_new(seed, 0);
  double a[20], b[20];
  for (int i = 0; i < 20; i++) {
    double drift = exp(0.3 * sin(i));  // shared by both: pairs cancel it
    a[i] = 100 * ratio * drift * exp(noise * ts_rng_normal(&r));
    b[i] = 100 * drift * exp(noise * ts_rng_normal(&r));
  }
  return ts_compare_paired(a, b, 20, floor);
}

static ts_compare compare_with(double ratio, double noise, uint64_t seed) { return compare_at(ratio, noise, 0.01, seed); }

static void verdicts(void **state) {
  (void)state;
  assert_int_equal(compare_with(0.9, 0.01, 1).verdict, TS_FASTER);
  assert_int_equal(compare_with(1.1, 0.01, 2).verdict, TS_SLOWER);
  assert_int_equal(compare_with(1.0, 0.002, 3).verdict, TS_SAME);
  assert_int_equal(compare_with(1.0, 0.2, 4).verdict, TS_UNCLEAR);
  ts_compare c = compare_with(0.8, 0.01, 5);
  assert_true(fabs(c.log_ratio - log(0.8)) < 0.01);
  assert_true(c.ci_lo < c.log_ratio && c.log_ratio < c.ci_hi);
  // where less is known to be noise, less counts
  assert_int_equal(compare_at(0.995, 0.0005, 0.001, 6).verdict, TS_FASTER);
  assert_int_equal(compare_at(0.995, 0.0005, 0.01, 6).verdict, TS_SAME);
  assert_int_equal(compare_at(0.995, 0.0005, 0, 6).verdict, TS_SAME);
  double one[] = {1}, two[] = {2};
  assert_int_equal(ts_compare_paired(one, two, 1, 0.01).verdict, TS_UNCLEAR);  // one round proves nothing
}

// All of many rounds count, not the first of them.
static void many_rounds(void **state) {
  (void)state;
  enum { ROUNDS = 1000 };
  double a[ROUNDS], b[ROUNDS];
  ts_rng r = ts_rng_new(7, 0);
  for (int i = 0; i < ROUNDS; i++) {
    b[i] = 100;
    a[i] = (i < 100 ? 102 : 99) * exp(0.02 * ts_rng_normal(&r));
  }
  ts_compare c = ts_compare_paired(a, b, ROUNDS, 0.001);
  assert_int_equal(c.verdict, TS_FASTER);
  assert_true(fabs(c.log_ratio - log(0.99)) < 0.002 && c.ci_hi - c.ci_lo < 0.005);
}

// A against itself is rarely called faster or slower.
static void same_is_not_faster(void **state) {
  (void)state;
  int wrong = 0;
  for (uint64_t seed = 0; seed < 200; seed++) {
    ts_verdict v = compare_with(1.0, 0.03, 100 + seed).verdict;
    wrong += v == TS_FASTER || v == TS_SLOWER;
  }
  assert_true(wrong <= 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(medians), cmocka_unit_test(interval_covers), cmocka_unit_test(verdicts), cmocka_unit_test(many_rounds), cmocka_unit_test(same_is_not_faster)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
