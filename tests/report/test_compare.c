// Comparing stores: verdicts from known samples, exit codes, what is missing.
#include "db/db_test.h"
#include "report/report.h"

// A store with one workload whose winner takes about `ns`, and one benchmark run of about `run_ns` of the given
// revision.
static ts_db *store_with(const char *name, double ns, double spread, double run_ns, const char *revision, bool extra) {
  ts_db *db = open_store_at(in_dir(name), TS_DB_CREATE);
  world w = put_world(db);
  uint64_t v[40];
  ts_rng r = ts_rng_new(9, 9);
  for (int i = 0; i < 40; i++) v[i] = (uint64_t)(ns * (1 + spread * ts_rng_normal(&r)));
  ts_db_measurement m = a_measurement(&w, w.build, ns, 1);
  m.n = 40, m.samples = ts_samples_encode(test_arena, v, 40);
  must(ts_db_put_measurement(db, &m, &d));
  ts_db_decision win = a_decision(&w, w.build);
  must(ts_db_put_decision(db, &win, &d));
  for (int k = 0; k <= extra; k++) {
    ts_id series;
    must(series = ts_db_put_series(db,
                                   &(ts_db_series){.workload_id = w.workload,
                                                   .target_id = w.target,
                                                   .scenario = k ? "extra" : "tg",
                                                   .metric = "decode",
                                                   .unit = "tok/s",
                                                   .higher_better = 1},
                                   &d));
    for (int i = 0; i < 40; i++) v[i] = (uint64_t)(run_ns * (1 + 0.001 * ts_rng_normal(&r)));
    ts_db_run run = {.series_id = series,
                     .device_id = w.device,
                     .environment_id = w.environment,
                     .toolchain_id = w.toolchain,
                     .revision = revision,
                     .order_key = 1,
                     .reproduce = "bench",
                     .n = 40,
                     .median = 1e9 / run_ns,
                     .q1 = NAN,
                     .q3 = NAN,
                     .mad = NAN,
                     .samples = ts_samples_encode(test_arena, v, 40)};
    must(ts_db_put_run(db, &run, &d));
  }
  return db;
}

static ts_change change_of(const ts_compared *c, size_t n, const char *what) {
  for (size_t i = 0; i < n; i++)
    if (strstr(c[i].what, what)) return c[i].change;
  fail_msg("nothing about %s", what);
  return TS_CHANGE_MISSING;
}

static void verdicts_follow_the_samples(void **state) {
  (void)state;
  static const struct {
    double ns, spread, run_ns;
    ts_change workload, run;
    int code;
  } rows[] = {
      {10000, 0.001, 1e6, TS_CHANGE_SAME, TS_CHANGE_SAME, 0},
      {9000, 0.001, 1e6, TS_CHANGE_FASTER, TS_CHANGE_SAME, 0},
      {9000, 0.001, 1.1e6, TS_CHANGE_FASTER, TS_CHANGE_SLOWER, 1},
      {10100, 0.001, 0.9e6, TS_CHANGE_SAME, TS_CHANGE_FASTER, 0},
      {10000, 0.3, 1e6, TS_CHANGE_UNCLEAR, TS_CHANGE_SAME, 2},
  };
  ts_db *a = store_with("a", 10000, 0.001, 1e6, "1", false);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_db *b =
        store_with(ts_arena_printf(test_arena, "b%zu", i), rows[i].ns, rows[i].spread, rows[i].run_ns, "1", false);
    ts_compared *c;
    size_t n;
    must(ts_report_compare(a, NULL, b, NULL, 0.02, test_arena, &c, &n, &d));
    assert_int_equal(n, 2);
    assert_int_equal(change_of(c, n, "matmul"), rows[i].workload);
    assert_int_equal(change_of(c, n, "decode"), rows[i].run);
    assert_int_equal(ts_compared_exit(c, n), rows[i].code);
    ts_db_close(b);
  }
  ts_db_close(a);
}

// One measurement that both stores have is the same however wide its interval: a store equals itself.
static void one_measurement_is_itself(void **state) {
  (void)state;
  ts_db *a = store_with("wide", 10000, 0.3, 1e6, "1", false);
  ts_compared *c;
  size_t n;
  must(ts_report_compare(a, NULL, a, NULL, 0.02, test_arena, &c, &n, &d));
  assert_int_equal(change_of(c, n, "matmul"), TS_CHANGE_SAME);
  assert_int_equal(ts_compared_exit(c, n), 0);
  ts_db_close(a);
}

static void few_samples_decide_little(void **state) {
  (void)state;
  static const struct {
    uint64_t v[3];
    size_t n;
    ts_change change;
  } rows[] = {
      {{500, 501, 505}, 3, TS_CHANGE_SAME},
      {{400, 401, 402}, 3, TS_CHANGE_FASTER},
      {{400, 401, 520}, 3, TS_CHANGE_UNCLEAR},
      {{400, 401}, 2, TS_CHANGE_UNCLEAR},
  };
  ts_db *db[5];
  for (size_t i = 0; i <= TS_COUNTOF(rows); i++) {
    db[i] = open_store_at(in_dir(ts_arena_printf(test_arena, "few%zu", i)), TS_DB_CREATE);
    world w = put_world(db[i]);
    ts_db_measurement m = a_measurement(&w, w.build, 500, 1);
    if (i) m.n = (int64_t)rows[i - 1].n, m.samples = ts_samples_encode(test_arena, rows[i - 1].v, rows[i - 1].n);
    must(ts_db_put_measurement(db[i], &m, &d));
    ts_db_decision win = a_decision(&w, w.build);
    must(ts_db_put_decision(db[i], &win, &d));
    if (!i) continue;
    ts_compared *c;
    size_t n;
    must(ts_report_compare(db[0], NULL, db[i], NULL, 0.02, test_arena, &c, &n, &d));
    assert_int_equal(n, 1);
    assert_int_equal(c[0].change, rows[i - 1].change);
  }
  for (size_t i = 0; i < TS_COUNTOF(db); i++) ts_db_close(db[i]);
}

static void what_one_side_lacks_is_missing(void **state) {
  (void)state;
  ts_db *a = store_with("less", 10000, 0.001, 1e6, "1", false), *b = store_with("more", 10000, 0.001, 1e6, "2", true);
  ts_compared *c;
  size_t n;
  must(ts_report_compare(a, NULL, b, NULL, 0.02, test_arena, &c, &n, &d));
  assert_int_equal(n, 3);
  assert_int_equal(change_of(c, n, "extra"), TS_CHANGE_MISSING);
  assert_int_equal(ts_compared_exit(c, n), 2);
  must(ts_report_compare(b, "1", b, "1", 0.02, test_arena, &c, &n, &d));
  assert_int_equal(n, 0);
  assert_int_equal(ts_compared_exit(c, n), 2);
  must(ts_report_compare(a, "1", b, "2", 0.02, test_arena, &c, &n, &d));
  assert_int_equal(n, 2);
  assert_int_equal(change_of(c, n, "tg"), TS_CHANGE_SAME);
  ts_db_close(a);
  ts_db_close(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(verdicts_follow_the_samples),
      cmocka_unit_test(one_measurement_is_itself),
      cmocka_unit_test(few_samples_decide_little),
      cmocka_unit_test(what_one_side_lacks_is_missing),
  };
  return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
