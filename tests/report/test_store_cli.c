// The commands db, report and compare as a user runs them: output, exit codes, one-line errors.
#include "db/db_test.h"

static ts_text said;

// Runs tunesmith with the given arguments (NULL-terminated); output in `said`.
static int tunesmith(const char *const *args) {
  const char *argv[16] = {TUNESMITH};
  for (int i = 0; args[i]; i++) argv[i + 1] = args[i];
  ts_proc_result r;
  said.n = 0;
  must(ts_proc_run(argv, 60, &said, &r, &d));
  assert_int_equal(r.signal, 0);
  return r.exit_code;
}
#define run(...) tunesmith((const char *const[]){__VA_ARGS__, NULL})
#define says(text) assert_non_null(strstr(ts_text_str(&said), text))

static const char *make_store(const char *name) {
  const char *path = in_dir(name);
  ts_db *db = open_store_at(path, TS_DB_CREATE);
  world w = put_world(db);
  put_time(db, &w, w.build, 500, 0);
  ts_db_decision win = a_decision(&w, w.build);
  must(ts_db_put_decision(db, &win, &d));
  ts_db_close(db);
  return path;
}

static void db_answers(void **state) {
  (void)state;
  const char *store = make_store("s");
  assert_int_equal(run("db", "info", "--store", store), 0);
  says("measurements         1");
  assert_int_equal(run("db", "query", "SELECT op, n FROM workload, measurement", "--store", store), 0);
  assert_string_equal(ts_text_str(&said), "op\tn\nmatmul\t3\n");
  assert_int_equal(run("db", "query", "SELECT 'a\"b' AS x, NULL AS y", "--format", "jsonl", "--store", store), 0);
  assert_string_equal(ts_text_str(&said), "{\"x\":\"a\\\"b\",\"y\":null}\n");
  assert_int_equal(run("db", "samples", "1", "--store", store), 0);
  says("\n500\n501\n505\n");
  assert_int_equal(run("db", "check", "--store", store), 0);
  says("ok");
  assert_int_equal(run("db", "export", "--table", "target", "--format", "csv", "--store", store), 0);
  says("uid,api,arch,product,limits\n");
  assert_int_equal(run("db", "merge", store, "--store", in_dir("other")), 0);
  says("0 already known");
  assert_int_equal(run("db", "vacuum", "--store", store), 0);
}

static void db_refuses_in_one_line(void **state) {
  (void)state;
  const char *store = make_store("r"), *text = in_dir("text");
  must(ts_file_write(text, "not a store at all", 18, &d));
  assert_int_equal(run("db", "info", "--store", in_dir("nothing")), 2);
  says("no such store");
  assert_int_equal(run("db", "info", "--store", text), 2);
  says("not a tunesmith store");
  assert_int_equal(run("db", "merge", text, "--store", store), 2);
  says("not a tunesmith store");
  assert_int_equal(run("db", "query", "DROP TABLE target", "--store", store), 2);
  says("does more than read");
  assert_int_equal(run("db", "samples", "x", "--store", store), 2);
  assert_int_equal(run("db", "samples", "99", "--store", store), 2);
  assert_int_equal(run("db", "dance", "--store", store), 2);
  assert_int_equal(run("db", "query", "--store", store), 2);
  assert_int_equal(run("db"), 2);
  assert_int_equal(run("db", "export", "--out", "/nonexistent/x", "--store", store), 3);
}

static void report_writes_a_page(void **state) {
  (void)state;
  const char *store = make_store("p"), *out = in_dir("out"), *page = in_dir("out/index.html");
  assert_int_equal(run("report", "--store", store, "--out", out), 0);
  says(page);
  assert_true(ts_file_exists(page));
  assert_int_equal(run("report", "--store", store, "--out", out, "--format", "json"), 0);
  assert_true(ts_file_exists(in_dir("out/report.json")));
  assert_int_equal(run("report", "--store", store, "--out", out, "--only", "nothing"), 2);
  assert_int_equal(run("report", "--store", store, "--out", out, "--format", "pdf"), 2);
  assert_int_equal(run("report", "--store", in_dir("nothing"), "--out", out), 2);
  assert_int_equal(run("report", "--store", store, "--out", "/dev/null/x"), 3);
}

static void compare_has_exit_codes(void **state) {
  (void)state;
  const char *store = make_store("c"), *empty = in_dir("empty");
  ts_db_close(open_store_at(empty, TS_DB_CREATE));
  assert_int_equal(run("compare", store, store), 0);
  says("1 same");
  assert_int_equal(run("compare", store, store, "--format", "json"), 0);
  says("\"change\":\"same\"");
  assert_int_equal(run("compare", store, empty), 2);
  says("1 missing");
  assert_int_equal(run("compare", store, in_dir("nothing")), 64);
  assert_int_equal(run("compare", store), 64);
  assert_int_equal(run("compare", store, store, "--format", "pdf"), 64);
  assert_int_equal(run("compare", "--help"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(db_answers),
      cmocka_unit_test(db_refuses_in_one_line),
      cmocka_unit_test(report_writes_a_page),
      cmocka_unit_test(compare_has_exit_codes),
  };
  int failures = cmocka_run_group_tests(tests, make_dir, drop_dir);
  ts_text_free(&said);
  return failures;
}
