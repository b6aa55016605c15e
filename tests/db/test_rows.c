// Rows: put, find and get; identity; the questions asked of a store.
#include "db_test.h"

static ts_db *fresh(const char *name) { return open_store_at(in_dir(name), TS_DB_CREATE); }

static void a_row_put_twice_is_one_row(void **state) {
  (void)state;
  ts_db *db = fresh("twice");
  world a = put_world(db), b = put_world(db);
  assert_memory_equal(&a, &b, sizeof a);
  assert_int_equal(count_of(db, "SELECT count(*) FROM build"), 1);
  ts_db_close(db);
}

static void what_was_put_is_got(void **state) {
  (void)state;
  ts_db *db = fresh("got");
  world w = put_world(db);
  ts_db_workload x;
  must(ts_db_get_workload(db, w.workload, test_arena, &x, &d));
  assert_string_equal(x.shape, a_workload.shape);
  assert_int_equal(x.flops, 8192);
  assert_true(x.bytes == TS_DB_NONE);
  assert_int_equal(x.ir.n, 4);
  assert_memory_equal(x.ir.p, "func", 4);
  ts_db_environment e;
  must(ts_db_get_environment(db, w.environment, test_arena, &e, &d));
  assert_null(e.governor);
  assert_true(e.ecc == TS_DB_NONE);
  assert_int_equal(e.boost, 1);
  ts_id id = put_time(db, &w, w.build, 500, 2);
  ts_db_measurement m;
  must(ts_db_get_measurement(db, id, test_arena, &m, &d));
  assert_true(m.median == 500 && m.rung == 2 && isnan(m.clock_mhz) && m.round == TS_DB_NONE && m.elapsed_ms == 10);
  uint64_t *v;
  size_t n;
  must(ts_samples_decode(test_arena, m.samples, 3, &v, &n, &d));
  assert_int_equal(v[2], 505);
  assert_null(m.clocks.p);
  refused(ts_db_get_build(db, 99, test_arena, &(ts_db_build){0}, &d), "no-such-row");
  ts_db_close(db);
}

static void identity_depends_on_identity_columns_only(void **state) {
  (void)state;
  ts_sha256 a, b;
  ts_db_workload w = a_workload;
  must(ts_db_uid_workload(NULL, &w, &a, &d));
  w.flops = 1, w.bucket = "other";
  must(ts_db_uid_workload(NULL, &w, &b, &d));
  assert_memory_equal(&a, &b, sizeof a);
  w.shape = "K=64 N=64 n=2";
  must(ts_db_uid_workload(NULL, &w, &b, &d));
  assert_memory_not_equal(&a, &b, sizeof a);
}

// Identities are forever: these are what version 1 of the canonical text gives.
static void identity_is_stable(void **state) {
  (void)state;
  ts_sha256 uid;
  must(ts_db_uid_target(NULL, &a_target, &uid, &d));
  const char *text = "tunesmith 1 target\napi 3:cpu\narch 6:znver4\nproduct 4:EPYC\nlimits 20:cpu znver4 vector=64\n";
  ts_sha256 expect = ts_sha256_of(text, strlen(text));
  assert_memory_equal(&uid, &expect, sizeof uid);
}

static void bad_rows_are_refused(void **state) {
  (void)state;
  ts_db *db = fresh("bad");
  world w = put_world(db);
  ts_db_workload x = a_workload;
  x.op = NULL;
  refused(ts_db_put_workload(db, &x, &d), "missing-value");
  x.op = "\xff";
  refused(ts_db_put_workload(db, &x, &d), "bad-value");
  ts_db_measurement m = a_measurement(&w, w.build, 1, 0);
  m.median = INFINITY;
  refused(ts_db_put_measurement(db, &m, &d), "bad-value");
  m.median = NAN;
  refused(ts_db_put_measurement(db, &m, &d), "missing-value");
  m.median = 1, m.session_id = 77;
  refused(ts_db_put_measurement(db, &m, &d), "no-such-row");
  ts_db_target t = a_target;
  t.api = "abacus";
  refused(ts_db_put_target(db, &t, &d), "bad-value");
  assert_int_equal(count_of(db, "SELECT count(*) FROM measurement"), 0);
  ts_db_close(db);
}

static ts_id put_decision(ts_db *db, const world *w, ts_id build, const char *policy, const char *utc) {
  ts_diag d = {0};
  ts_db_decision x = {.workload_id = w->workload,
                      .target_id = w->target,
                      .toolchain_id = w->toolchain,
                      .policy = policy,
                      .build_id = build,
                      .beat_build_id = w->build,
                      .log_ratio = -0.5,
                      .ci_lo = -0.6,
                      .ci_hi = -0.4,
                      .session_id = w->session,
                      .utc = utc};
  ts_id id = ts_db_put_decision(db, &x, &d);
  if (!id) fail_msg("%s", d.message);
  return id;
}

static void the_newest_decision_wins_until_revoked(void **state) {
  (void)state;
  ts_db *db = fresh("winner");
  world w = put_world(db);
  ts_id b1 = put_build(db, &w, put_candidate(db, &w, "search", "t1"), "ok");
  ts_id b2 = put_build(db, &w, put_candidate(db, &w, "search", "t2"), "ok");
  put_time(db, &w, b2, 700, 1);
  put_time(db, &w, b2, 600, 2);
  ts_id d1 = put_decision(db, &w, b1, "p", "2026-01-01"), d2 = put_decision(db, &w, b2, "p", "2026-01-02");
  ts_db_winner *v;
  size_t n;
  must(ts_db_find_winners(db, &a_workload, &a_target, w.toolchain, "p", 9, test_arena, &v, &n, &d));
  assert_int_equal(n, 1);
  assert_int_equal(v[0].decision_id, d2);
  assert_string_equal(v[0].trace, "t2");
  assert_true(v[0].median == 600 && v[0].match == TS_DB_EXACT && !v[0].stale);
  must(ts_db_find_winners(db, &a_workload, &a_target, 0, "q", 9, test_arena, &v, &n, &d));
  assert_int_equal(n, 0);
  must(ts_db_revoke(db, d2, d1, &d));
  must(ts_db_find_winners(db, &a_workload, &a_target, w.toolchain + 1, NULL, 9, test_arena, &v, &n, &d));
  assert_int_equal(v[0].decision_id, d1);
  assert_true(v[0].stale);
  ts_db_close(db);
}

static void fallbacks_come_by_distance_then_other_products(void **state) {
  (void)state;
  ts_db *db = fresh("near");
  world w = put_world(db);
  const char *shapes[] = {"K=64 N=256 n=1", "K=64 N=128 n=1", "K=64 M=64 n=1", "K=64 N=64 n=1 z=1",
                          "A=f16 K=64 N=64 n=1"};
  for (size_t i = 0; i < TS_COUNTOF(shapes); i++) {
    ts_db_workload x = a_workload;
    x.shape = shapes[i];
    world near = w;
    must(near.workload = ts_db_put_workload(db, &x, &d));
    near.candidate = put_candidate(db, &near, "search", shapes[i]);
    put_decision(db, &near, put_build(db, &near, near.candidate, "ok"), "p", NULL);
  }
  world other = w;
  ts_db_target t = a_target;
  t.product = "Ryzen";
  must(other.target = ts_db_put_target(db, &t, &d));
  put_decision(db, &other, put_build(db, &other, w.candidate, "ok"), "p", NULL);
  ts_db_winner *v;
  size_t n;
  must(ts_db_find_winners(db, &a_workload, &a_target, 0, "p", 9, test_arena, &v, &n, &d));
  assert_int_equal(n, 3);
  assert_string_equal(v[0].shape, "K=64 N=128 n=1");
  assert_true(v[0].match == TS_DB_NEAR && v[0].distance == 1 && v[1].distance == 2);
  assert_int_equal(v[2].match, TS_DB_ARCH);
  must(ts_db_find_winners(db, &a_workload, &a_target, 0, "p", 1, test_arena, &v, &n, &d));
  assert_int_equal(n, 1);
  ts_db_workload elsewhere = a_workload;
  elsewhere.bucket = "prefill";
  elsewhere.shape = "K=64 N=65 n=1";
  must(ts_db_find_winners(db, &elsewhere, &a_target, 0, "p", 9, test_arena, &v, &n, &d));
  assert_int_equal(n, 0);
  ts_db_close(db);
}

static void put_outcome(ts_db *db, const world *w, ts_id build, const char *outcome) {
  ts_db_verdict v = {.build_id = build,
                     .device_id = w->device,
                     .reference = "interpreter",
                     .seed = 1,
                     .rel_l2 = 0,
                     .max_abs = NAN,
                     .outcome = outcome};
  must(ts_db_put_verdict(db, &v, &d));
}

static void tried_candidates_come_best_first_and_failures_last(void **state) {
  (void)state;
  ts_db *db = fresh("tried");
  world w = put_world(db);
  ts_id slow = put_build(db, &w, put_candidate(db, &w, "search", "slow"), "ok");
  ts_id bad = put_build(db, &w, put_candidate(db, &w, "search", "bad"), "ok");
  put_build(db, &w, put_candidate(db, &w, "search", "broken"), "failed");
  put_time(db, &w, slow, 900, 0);
  put_time(db, &w, bad, 100, 0);
  put_outcome(db, &w, bad, "wrong");
  put_time(db, &w, w.build, 50, 0);
  put_time(db, &w, w.build, 800, 1);
  put_outcome(db, &w, w.build, "ok");
  ts_db_tried *v;
  size_t n;
  must(ts_db_list_tried(db, w.workload, w.target, 0, "time", 0, test_arena, &v, &n, &d));
  assert_int_equal(n, 4);
  assert_int_equal(v[0].build_id, w.build);
  assert_true(v[0].median == 800 && v[0].rung == 1);
  assert_string_equal(v[1].trace, "slow");
  assert_null(v[1].outcome);
  assert_string_equal(v[2].outcome, "wrong");
  assert_string_equal(v[3].status, "failed");
  assert_int_equal(v[3].measurement_id, 0);
  must(ts_db_list_tried(db, w.workload, w.target, w.session, "time", 2, test_arena, &v, &n, &d));
  assert_int_equal(n, 2);
  must(ts_db_list_tried(db, w.workload, w.target, w.session + 1, "time", 0, test_arena, &v, &n, &d));
  assert_int_equal(n, 0);
  ts_db_close(db);
}

static void an_unfinished_session_is_found_with_its_state(void **state) {
  (void)state;
  ts_db *db = fresh("session");
  world w = put_world(db);
  ts_db_session s;
  must(ts_db_save_session(db, w.session, (ts_blob){"state", 5}, &d));
  must(ts_db_find_unfinished(db, w.workload, w.target, test_arena, &s, &d) == w.session);
  assert_memory_equal(s.search_state.p, "state", 5);
  must(ts_db_end_session(db, w.session, "done", &d));
  ts_diag none = {.kind = TS_BUG};
  assert_int_equal(ts_db_find_unfinished(db, w.workload, w.target, test_arena, &s, &none), 0);
  assert_int_equal(none.kind, TS_OK);
  refused(ts_db_end_session(db, 99, "done", &d), "no-such-row");
  ts_db_close(db);
}

static void best_so_far_never_trusts_a_lucky_first_rung(void **state) {
  (void)state;
  ts_db *db = fresh("best");
  world w = put_world(db);
  ts_id other = put_build(db, &w, put_candidate(db, &w, "search", "x"), "ok");
  put_time(db, &w, w.build, 900, 0);
  put_time(db, &w, other, 400, 0);
  put_time(db, &w, other, 700, 1);
  ts_db_point *p;
  size_t n;
  must(ts_db_best_so_far(db, w.session, "time", test_arena, &p, &n, &d));
  assert_int_equal(n, 3);
  assert_true(p[0].best == 900 && p[1].best == 400 && p[2].best == 700);
  assert_int_equal(p[2].candidates, 2);
  ts_db_close(db);
}

static void history_is_ordered(void **state) {
  (void)state;
  ts_db *db = fresh("history");
  world w = put_world(db);
  ts_db_series s = {.workload_id = w.workload,
                    .target_id = w.target,
                    .scenario = "tg",
                    .metric = "decode",
                    .unit = "tok/s",
                    .higher_better = 1};
  ts_id series;
  must(series = ts_db_put_series(db, &s, &d));
  for (int i = 3; i > 0; i--) {
    ts_db_run r = {.series_id = series,
                   .device_id = w.device,
                   .environment_id = w.environment,
                   .toolchain_id = w.toolchain,
                   .revision = "r",
                   .order_key = i,
                   .reproduce = "bench",
                   .n = 1,
                   .median = 10 * i,
                   .q1 = NAN,
                   .q3 = NAN,
                   .mad = NAN,
                   .samples = {"\x01", 1}};
    ts_id run;
    must(run = ts_db_put_run(db, &r, &d));
    ts_db_run_kernel k = {run, w.build, "decode", 3, 1000};
    must(ts_db_put_run_kernel(db, &k, &d));
    must(ts_db_put_run_kernel(db, &k, &d));
  }
  ts_db_history *h;
  size_t n;
  must(ts_db_list_history(db, series, 0, test_arena, &h, &n, &d));
  assert_int_equal(n, 3);
  assert_true(h[0].median == 10 && h[2].median == 30 && isnan(h[0].q1));
  assert_int_equal(count_of(db, "SELECT count(*) FROM run_kernel"), 3);
  ts_db_close(db);
}

static void queries_only_read(void **state) {
  (void)state;
  ts_db *db = fresh("sql");
  world w = put_world(db);
  put_time(db, &w, w.build, 500, 0);
  ts_db_table t;
  refused(ts_db_query(db, "DELETE FROM target", NULL, 0, test_arena, &t, &d), "sql-writes");
  refused(ts_db_query(db, "ATTACH 'x' AS y", NULL, 0, test_arena, &t, &d), "sql-writes");
  refused(ts_db_query(db, "PRAGMA user_version=9", NULL, 0, test_arena, &t, &d), "sql-writes");
  refused(ts_db_query(db, "SELECT 1; SELECT 2", NULL, 0, test_arena, &t, &d), "sql");
  refused(ts_db_query(db, "SELECT nothing", NULL, 0, test_arena, &t, &d), "sql");
  refused(ts_db_query(db, " ", NULL, 0, test_arena, &t, &d), "sql");
  refused(ts_db_query(db, "SELECT :x", NULL, 0, test_arena, &t, &d), "sql");
  ts_db_param p = {"x", {.type = TS_DB_INT, .i = 5}};
  must(ts_db_query(db, "SELECT :x+1 AS six, 'a' AS a, NULL, 1.5;", &p, 1, test_arena, &t, &d));
  assert_string_equal(t.cols[0], "six");
  assert_true(t.cells[0].i == 6 && t.cells[2].type == TS_DB_NULL && t.cells[3].r == 1.5);
  assert_string_equal(t.cells[1].text, "a");
  must(ts_db_query(db, "SELECT sum(value) FROM measurement, json_each(samples_json(samples))", NULL, 0, test_arena, &t,
                   &d));
  assert_int_equal(t.cells[0].i, 500 + 501 + 505);
  refused(ts_db_query(db, "SELECT samples_json(x'80')", NULL, 0, test_arena, &t, &d), "sql");
  ts_db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_row_put_twice_is_one_row),
      cmocka_unit_test(what_was_put_is_got),
      cmocka_unit_test(identity_depends_on_identity_columns_only),
      cmocka_unit_test(identity_is_stable),
      cmocka_unit_test(bad_rows_are_refused),
      cmocka_unit_test(the_newest_decision_wins_until_revoked),
      cmocka_unit_test(fallbacks_come_by_distance_then_other_products),
      cmocka_unit_test(tried_candidates_come_best_first_and_failures_last),
      cmocka_unit_test(an_unfinished_session_is_found_with_its_state),
      cmocka_unit_test(best_so_far_never_trusts_a_lucky_first_rung),
      cmocka_unit_test(history_is_ordered),
      cmocka_unit_test(queries_only_read),
  };
  return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
