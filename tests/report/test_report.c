// Reports: the page of a store with known rows, twice the same bytes; bad report folders; no gnuplot; empty stores.
#include <sys/stat.h>

#include "db/db_test.h"
#include "report/report.h"

static const char *utc(int second) {
  return ts_arena_printf(test_arena, "2026-01-01T00:%02d:%02d.000Z", second / 60, second % 60);
}

static ts_id put_timed(ts_db *db, const world *w, ts_id build, double median, int64_t rung, int second) {
  ts_db_measurement m = a_measurement(w, build, median, rung);
  m.utc = utc(second);
  m.elapsed_ms = second * 1000;
  ts_id id;
  must(id = ts_db_put_measurement(db, &m, &d));
  return id;
}

// A tuned workload: the default takes 1000 * size ns, the winner the given part of it.
static void put_tuned(ts_db *db, world w, const char *op, const char *shape, double size, double part, bool unclear) {
  ts_db_workload x = a_workload;
  x.op = op, x.shape = shape, x.flops = 1000, x.bytes = 2000;
  must(w.workload = ts_db_put_workload(db, &x, &d));
  ts_db_session s = {.command = "tunesmith tune --op matmul",
                     .tool = "test",
                     .seed = 1,
                     .workload_id = w.workload,
                     .target_id = w.target,
                     .started_utc = utc(0)};
  must(w.session = ts_db_put_session(db, &s, &d));
  ts_id base = put_build(db, &w, put_candidate(db, &w, "default ref 1", ""), "ok"), best = 0;
  put_timed(db, &w, base, 1000 * size, 0, 1);
  for (int i = 0; i < 20; i++) {
    double time = 1000 * size * (part + (1 - part) * (19 - i) / 20);
    best = put_build(db, &w, put_candidate(db, &w, "search ref 1", ts_arena_printf(test_arena, "t%d", i)), "ok");
    put_timed(db, &w, best, time, 0, 2 + i);
  }
  put_timed(db, &w, best, 1000 * size * part, 1, 30);
  put_build(db, &w, put_candidate(db, &w, "search ref 1", "broken"), "failed");
  double r = log(part), half = unclear ? 0.5 : 0.05;
  ts_db_comparison c = {.a_build_id = best,
                        .b_build_id = base,
                        .device_id = w.device,
                        .environment_id = w.environment,
                        .session_id = w.session,
                        .metric = "time",
                        .rounds = 30,
                        .log_ratio = r,
                        .ci_lo = r - half,
                        .ci_hi = r + half,
                        .verdict = "faster",
                        .utc = utc(40)};
  must(ts_db_put_comparison(db, &c, &d));
  ts_db_decision win = a_decision(&w, best);
  win.utc = utc(41);
  must(ts_db_put_decision(db, &win, &d));
}

static void put_runs(ts_db *db, const world *w) {
  ts_id model;
  must(model = ts_db_put_model(db, &(ts_db_model){.name = "tiny", .quant = "q4f16_1", .params = TS_DB_NONE}, &d));
  static const char *const scenario[] = {"default", "tuned"};
  for (int k = 0; k < 2; k++) {
    ts_id series;
    must(series = ts_db_put_series(db,
                                   &(ts_db_series){.model_id = model,
                                                   .target_id = w->target,
                                                   .scenario = scenario[k],
                                                   .metric = "decode",
                                                   .unit = "tok/s",
                                                   .higher_better = 1},
                                   &d));
    for (int i = 0; i < 4; i++) {
      ts_db_run r = {.series_id = series,
                     .device_id = w->device,
                     .environment_id = w->environment,
                     .toolchain_id = w->toolchain,
                     .revision = "0.1",
                     .order_key = i,
                     .reproduce = "tunesmith bench dist/tiny",
                     .n = 1,
                     .median = 100 + 80 * k + 5 * i,
                     .q1 = 95 + 80 * k,
                     .q3 = 120 + 80 * k,
                     .mad = NAN,
                     .samples = {"\x01", 1},
                     .utc = utc(60 + i)};
      ts_id run;
      must(run = ts_db_put_run(db, &r, &d));
      must(ts_db_put_run_kernel(db, &(ts_db_run_kernel){run, w->build, "decode", 30, 9000000}, &d));
    }
  }
}

static ts_db *known_store(const char *name) {
  ts_db *db = open_store_at(in_dir(name), TS_DB_CREATE);
  must(ts_db_begin(db, &d));
  world w = put_world(db);
  put_tuned(db, w, "matmul", "K=576 N=1536 n=1", 100, 0.25, false);
  put_tuned(db, w, "rms_norm", "D=576 n=1", 1, 0.8, true);
  put_tuned(db, w, "<script>alert('x')</script>", "D=1 \"n\"=`id`", 2, 0.5, false);
  put_runs(db, &w);
  must(ts_db_commit(db, &d));
  return db;
}

static char *written(const char *dir, const char *name) {
  char *text;
  size_t n;
  must(ts_file_read(in_dir(ts_arena_printf(test_arena, "%s/%s", dir, name)), test_arena, &text, &n, &d));
  return text;
}

static void write_text(const char *path, const char *text) {
  must(ts_file_write(in_dir(path), text, strlen(text), &d));
}

static ts_report_opts into(const char *dir) { return (ts_report_opts){.out = in_dir(dir), .store = "store.db"}; }

static int count(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

static void a_page_shows_what_the_store_holds(void **state) {
  (void)state;
  ts_db *db = known_store("store");
  ts_report_opts o = into("page");
  ts_text path = {0};
  must(ts_report_write(db, &o, &path, &d));
  char *page = written("page", "index.html");
  assert_non_null(
      strstr(page, "3 workloads on EPYC: 2 faster, 0 the same, 0 slower, 1 unclear. Geometric mean 2.15 times."));
  assert_non_null(strstr(
      page, "21 candidates measured in 30 s of tuning, 1 refused or failed. Best 25 µs; default schedule 100 µs."));
  assert_non_null(strstr(page, "tiny q4f16_1: decode [tok/s] on EPYC"));
  assert_non_null(strstr(page, "8 runs, newest 2026-01-01T00:01:03.000Z"));
  assert_non_null(strstr(page, "tunesmith tune --op matmul"));
  assert_non_null(strstr(page, "tunesmith report --store store.db"));
  // Every figure is named and has its table; nothing runs, nothing is loaded.
  assert_int_equal(count(page, "<svg role=\"img\" aria-labelledby="), 1 + 3 + 1 + 2);
  assert_int_equal(count(page, "<table>"), 1 + 3 + 1 + 2 + 1);
  assert_null(strstr(page, "<script"));
  assert_null(strstr(page, "GNUPLOT"));
  assert_null(strstr(page, "src="));
  assert_null(strstr(page, "id=\"gnuplot_canvas\""));
  assert_non_null(strstr(written("page", "speed-up.tsv"), "speed-up\tlow\thigh"));
  assert_non_null(strstr(written("page", "history-1.tsv"), "\n\n\ntuned\trun\t"));
  ts_text_free(&path);
  ts_db_close(db);
}

// Every element that is opened is closed, in order, whatever text the store holds.
static void check_balance(const char *page) {
  static const char *const empty[] = {"meta", "!DOCTYPE"};
  char open[64][32];
  int depth = 0;
  for (const char *s = strchr(page, '<'); s; s = strchr(s + 1, '<')) {
    bool closes = s[1] == '/', alone = false;
    char name[32];
    const char *end = strchr(s, '>');
    assert_non_null(end);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(s + 1 + closes, " \t\n/>"), s + 1 + closes);
    for (size_t i = 0; i < TS_COUNTOF(empty); i++) alone |= strcmp(name, empty[i]) == 0;
    if (alone || end[-1] == '/') continue;
    if (!closes) {
      assert_true(depth < 64);
      strcpy(open[depth++], name);
    } else {
      assert_true(depth > 0);
      assert_string_equal(open[--depth], name);
    }
  }
  assert_int_equal(depth, 0);
}

static double luminance(unsigned rgb) {
  double sum = 0;
  const double weight[] = {0.0722, 0.7152, 0.2126};
  for (int i = 0; i < 3; i++, rgb >>= 8) {
    double v = (rgb & 255) / 255.0;
    sum += weight[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
  }
  return sum;
}

static unsigned colour(const char *css, const char *rule, const char *property) {
  const char *at = strstr(css, rule);
  assert_non_null(at);
  at = strstr(at, property);
  assert_non_null(at);
  at = strchr(at, '#') + 1;
  unsigned v = (unsigned)strtoul(at, NULL, 16);
  size_t digits = strspn(at, "0123456789abcdef");
  return digits == 3 ? (v >> 8) * 0x110000 + (v >> 4 & 15) * 0x1100 + (v & 15) * 0x11 : v;
}

// Text against its background, as WCAG 2 counts: at least 4.5 to 1, in both colour schemes.
static void text_has_contrast(void **state) {
  (void)state;
  ts_db *db = known_store("contrast");
  ts_report_opts o = into("contrast-page");
  ts_text path = {0};
  must(ts_report_write(db, &o, &path, &d));
  char *page = written("contrast-page", "index.html");
  check_balance(page);
  const char *dark = strstr(page, "prefers-color-scheme:dark");
  const unsigned pairs[][2] = {
      {colour(page, "body{", "color:"), colour(page, "body{", "background:")},
      {colour(page, "}a{", "color:"), colour(page, "body{", "background:")},
      {colour(page, "figure{", ";color:"), colour(page, "figure{", "background:")},
      {colour(dark, "body{", "color:"), colour(dark, "body{", "background:")},
      {colour(dark, "a{", "color:"), colour(dark, "body{", "background:")},
  };
  for (size_t i = 0; i < TS_COUNTOF(pairs); i++) {
    double a = luminance(pairs[i][0]) + 0.05, b = luminance(pairs[i][1]) + 0.05;
    assert_true(TS_MAX(a, b) / TS_MIN(a, b) >= 4.5);
  }
  ts_text_free(&path);
  ts_db_close(db);
}

static void equal_stores_give_equal_bytes(void **state) {
  (void)state;
  char *page[2], *json[2];
  for (int i = 0; i < 2; i++) {
    ts_db *db = known_store(ts_arena_printf(test_arena, "same-%d", i));
    ts_report_opts o = into("same");
    ts_text path = {0};
    must(ts_report_write(db, &o, &path, &d));
    page[i] = written("same", "index.html");
    o.json = true;
    must(ts_report_write(db, &o, &path, &d));
    json[i] = written("same", "report.json");
    ts_text_free(&path);
    ts_db_close(db);
  }
  char *uid = strstr(page[1], "store.db</code> (") + 17;  // the store's own name is random
  memcpy(uid, strstr(page[0], "store.db</code> (") + 17, 8);
  assert_string_equal(page[0], page[1]);
  assert_string_equal(json[0], json[1]);
  assert_non_null(strstr(json[0], "\"speed-up\":4"));
}

static void an_empty_store_says_what_to_do(void **state) {
  (void)state;
  ts_db *db = open_store_at(in_dir("none"), TS_DB_CREATE);
  ts_report_opts o = into("none-page");
  ts_text path = {0};
  must(ts_report_write(db, &o, &path, &d));
  assert_non_null(strstr(written("none-page", "index.html"), "No operator has been tuned yet: run `tunesmith tune`."));
  ts_text_free(&path);
  ts_db_close(db);
}

static void without_gnuplot_the_tables_are_written(void **state) {
  (void)state;
  ts_db *db = known_store("no-gnuplot");
  char *path_was = ts_arena_strdup(test_arena, getenv("PATH"));
  ts_report_opts o = into("no-gnuplot-page");
  ts_text path = {0};
  setenv("PATH", "/nonexistent", 1);
  ts_diag why = {0};
  assert_false(ts_report_write(db, &o, &path, &why));
  setenv("PATH", path_was, 1);
  assert_string_equal(why.code, "gnuplot-missing");
  assert_non_null(strstr(why.hint, "gnuplot-nox"));
  char *page = written("no-gnuplot-page", "index.html");
  assert_int_equal(count(page, "<svg"), 0);
  assert_int_equal(count(page, "<table>"), 8);
  ts_text_free(&path);
  ts_db_close(db);
}

static void bad_reports_are_refused_by_name(void **state) {
  (void)state;
  ts_db *db = known_store("bad");
  ts_report_opts o = into("bad-page");
  o.dir = in_dir("reports");
  ts_text path = {0};
  must(ts_dir_make(in_dir("reports/mine"), &d));
  refused(ts_report_write(db, &o, &path, &d), "no-such-report");
  write_text("reports/mine/about.txt", "title: Mine\nsplit: x\n");
  write_text("reports/mine/query.sql", "DELETE FROM target");
  refused(ts_report_write(db, &o, &path, &d), "sql-writes");
  write_text("reports/mine/query.sql", "SELECT nothing");
  refused(ts_report_write(db, &o, &path, &d), "sql");
  write_text("reports/mine/query.sql", "SELECT 1 AS y");
  refused(ts_report_write(db, &o, &path, &d), "bad-report");
  write_text("reports/mine/query.sql", "SELECT 'a' AS x, 1 AS y");
  write_text("reports/mine/plot.gp", "nonsense");
  refused(ts_report_write(db, &o, &path, &d), "gnuplot-failed");
  write_text("reports/mine/about.txt", "title: Mine\nsplt: x\n");
  refused(ts_report_write(db, &o, &path, &d), "syntax");
  write_text("reports/mine/about.txt", "order: 1\n");
  refused(ts_report_write(db, &o, &path, &d), "syntax");
  write_text("reports/mine/about.txt", "title: Mine\norder: first\n");
  refused(ts_report_write(db, &o, &path, &d), "syntax");
  o.only = "yours";
  refused(ts_report_write(db, &o, &path, &d), "no-such-report");
  o = (ts_report_opts){.out = "", .store = "store.db"};
  refused(ts_report_write(db, &o, &path, &d), "usage");
  o = into("store-is-a-file/page");
  write_text("store-is-a-file", "");
  ts_diag why = {0};
  assert_false(ts_report_write(db, &o, &path, &why));
  assert_int_equal(why.kind, TS_ENVIRONMENT);
  ts_text_free(&path);
  ts_db_close(db);
}

// --- reports that do not come to their end ------------------------------------------------------------------------

// Names in a folder, hidden ones too, a line each; "" when it does not exist.
static char *names_in(const char *dir) {
  char **names;
  size_t n;
  ts_text all = {0};
  if (!ts_dir_list(dir, "", test_arena, &names, &n, NULL)) return ts_arena_strdup(test_arena, "");
  for (size_t i = 0; i < n; i++) ts_text_addf(&all, "%s\n", names[i]);
  char *kept = ts_arena_strdup(test_arena, ts_text_str(&all));
  ts_text_free(&all);
  return kept;
}

// A program called gnuplot, first in PATH until restore_path.
static char *with_gnuplot(const char *script) {
  char *before = ts_arena_strdup(test_arena, getenv("PATH"));
  must(ts_dir_make(in_dir("fake"), &d));
  write_text("fake/gnuplot", script);
  chmod(in_dir("fake/gnuplot"), 0755);
  setenv("PATH", ts_arena_printf(test_arena, "%s:%s", in_dir("fake"), before), 1);
  return before;
}

// A full disk at one write or another: what was there is as it was, else nothing is; the words name the disk and the file that was to be.
static void a_full_disk_leaves_what_was_there(void **state) {
  (void)state;
  ts_db *db = known_store("full");
  ts_text path = {0};
  ts_report_opts o = {.out = in_dir("disk/page"), .store = "store.db"}, fresh = o;
  must(ts_dir_make(in_dir("disk"), &d));
  must(ts_report_write(db, &o, &path, &d));
  write_text("disk/page/notes.txt", "not of the report");
  write_text("disk/page/index.html", "the page before");
  char *names = names_in(in_dir("disk/page"));
  fresh.out = in_dir("disk/fresh/page");
  must(ts_dir_make(in_dir("disk/fresh"), &d));
  bool ok = false;
  int failed = 0;
  char *before = with_gnuplot("#!/bin/sh\neval \"$3\"; echo '<svg><title></title><desc></desc></svg>' >\"$out\"\n");  // the true one takes its time
  for (int k = 1; !ok && k < 100; k += 1 + k / 3)
    for (int old = 0; old < 2; old++) {
      ts_diag why = {0};
      ts_fault_set(ts_arena_printf(test_arena, "write:%d", k));
      ok = ts_report_write(db, old ? &o : &fresh, &path, &why);
      ts_fault_set(NULL);
      if (ok) continue;
      failed++;
      assert_string_equal(why.code, "write-failed");
      assert_non_null(strstr(why.message, "No space left on device"));
      assert_non_null(strstr(why.message, old ? "/disk/page/" : "/disk/fresh/page/"));
      assert_null(strstr(why.message, "partial"));
      assert_string_equal(names_in(in_dir("disk/fresh")), "");
      assert_string_equal(names_in(in_dir("disk/page")), names);
      assert_string_equal(written("disk/page", "index.html"), "the page before");
      assert_string_equal(names_in(in_dir("disk")), "fresh\npage\n");
    }
  setenv("PATH", before, 1);
  assert_true(ok && failed > 10);
  assert_string_equal(names_in(in_dir("disk/fresh")), "page\n");
  assert_string_equal(names_in(in_dir("disk/page")), names);
  assert_non_null(strstr(written("disk/page", "index.html"), "<!DOCTYPE html>"));
  assert_null(strstr(written("disk/page", "index.html"), "partial"));
  assert_string_equal(written("disk/page", "notes.txt"), "not of the report");
  ts_text_free(&path);
  ts_db_close(db);
}

// gnuplot meets the full disk: it fails, or ends well with a part of the figure. The disk is to blame.
static void gnuplot_is_not_blamed_for_the_disk(void **state) {
  (void)state;
  static const char *const scripts[] = {"#!/bin/sh\necho 'error flushing output'; exit 1\n", "#!/bin/sh\nexit 0\n"};
  ts_db *db = known_store("blame");
  ts_text path = {0};
  ts_report_opts o = into("blame-page");
  for (int i = 0; i < 4; i++) {
    char *before = with_gnuplot(scripts[i % 2]);
    ts_diag why = {0};
    ts_fault_set(i < 2 ? "write:2+" : NULL);
    assert_false(ts_report_write(db, &o, &path, &why));
    ts_fault_set(NULL);
    setenv("PATH", before, 1);
    assert_string_equal(why.code, i < 2 ? "write-failed" : "gnuplot-failed");
    if (i < 2) assert_non_null(strstr(why.message, "No space left on device"));
    assert_string_equal(names_in(in_dir("blame-page")), "");
  }
  ts_text_free(&path);
  ts_db_close(db);
}

// Ctrl-C while gnuplot works, which it hears of or not: the end comes soon, and what was there is as it was.
static void an_interrupt_ends_it(void **state) {
  (void)state;
  ts_db *db = known_store("interrupt");
  ts_text path = {0};
  ts_report_opts o = into("interrupt-page");
  must(ts_dir_make(in_dir("interrupt-page"), &d));
  write_text("interrupt-page/index.html", "the page before");
  ts_interrupt_install();
  static const char *const scripts[] = {"#!/bin/sh\nkill -INT $PPID; exec sleep 30\n", "#!/bin/sh\nkill -INT $PPID; kill -INT $$; exec sleep 30\n"};
  for (int i = 0; i < 2; i++) {
    char *before = with_gnuplot(scripts[i]);
    ts_diag why = {0};
    uint64_t begin = ts_now_ns();
    assert_false(ts_report_write(db, &o, &path, &why));
    setenv("PATH", before, 1);
    assert_true(ts_now_ns() - begin < 5000000000);
    assert_true(ts_interrupt_clear());
    assert_string_equal(why.code, "interrupted");
    assert_string_equal(names_in(in_dir("interrupt-page")), "index.html\n");
    assert_string_equal(written("interrupt-page", "index.html"), "the page before");
  }
  must(ts_report_write(db, &o, &path, &d));
  ts_text_free(&path);
  ts_db_close(db);
}

// What a killed report left goes with the next one; what another that still runs has there does not.
static void what_a_killed_one_left_goes(void **state) {
  (void)state;
  ts_db *db = known_store("left");
  ts_text path = {0};
  ts_report_opts o = into("left-page");
  must(ts_dir_make(in_dir("left-page/.report.2147480000.partial"), &d));
  write_text("left-page/.report.2147480000.partial/a.tsv", "a");
  must(ts_dir_make(in_dir("left-page/.report.1.partial"), &d));
  must(ts_report_write(db, &o, &path, &d));
  assert_null(strstr(names_in(in_dir("left-page")), "2147480000"));
  assert_non_null(strstr(names_in(in_dir("left-page")), ".report.1.partial"));
  ts_text_free(&path);
  ts_db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_shows_what_the_store_holds),      cmocka_unit_test(text_has_contrast),
      cmocka_unit_test(equal_stores_give_equal_bytes),          cmocka_unit_test(an_empty_store_says_what_to_do),
      cmocka_unit_test(without_gnuplot_the_tables_are_written), cmocka_unit_test(bad_reports_are_refused_by_name),
      cmocka_unit_test(a_full_disk_leaves_what_was_there),      cmocka_unit_test(gnuplot_is_not_blamed_for_the_disk),
      cmocka_unit_test(an_interrupt_ends_it),                   cmocka_unit_test(what_a_killed_one_left_goes),
  };
  return cmocka_run_group_tests(tests, make_dir, getenv("TS_KEEP") ? NULL : drop_dir);
}
