// The store under trouble: older, newer, foreign and broken files, full disks, killed writers, readers beside a writer,
// merges.
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "db/db_impl.h"
#include "db_test.h"

static void run_sql(const char *path, const char *sql) {
  sqlite3 *s;
  assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
  char *err = NULL;
  if (sqlite3_exec(s, sql, NULL, NULL, &err) != SQLITE_OK) fail_msg("%s", err);
  sqlite3_close(s);
}

static const char *store_of_version_1(const char *name) {
  const char *path = in_dir(name);
  char *text;
  size_t n;
  must(ts_file_read(STORES "/v1.sql", test_arena, &text, &n, &d));
  run_sql(path, text);
  return path;
}

static void assert_sound(ts_db *db) {
  ts_text report = {0};
  ts_diag d = {0};
  if (!ts_db_check(db, &report, &d)) fail_msg("%s", ts_text_str(&report));
  ts_text_free(&report);
}

// --- versions ---------------------------------------------------------------------------------------------------

static void an_older_store_is_migrated_and_keeps_its_rows(void **state) {
  (void)state;
  const char *path = store_of_version_1("v1");
  refused(ts_db_open(path, TS_DB_READ, &d), "store-old");
  ts_db *db = open_store_at(path, TS_DB_WRITE);
  assert_int_equal(ts_db_version(db), TS_DB_VERSION);
  assert_int_equal(count_of(db, "SELECT count(*) FROM schema_migration"), TS_DB_VERSION);
  assert_sound(db);
  ts_db_session s;
  must(ts_db_get_session(db, 1, test_arena, &s, &d));
  assert_int_equal(s.workload_id, 0);
  ts_db_winner *v;
  size_t n;
  must(ts_db_find_winners(db, &a_workload, &a_target, 0, "p", 9, test_arena, &v, &n, &d));
  assert_int_equal(n, 1);
  assert_string_equal(v[0].trace, "l1 = split i [8, 8]\n");
  ts_db_close(db);
}

// Released migrations are never edited.
static void migrations_are_frozen(void **state) {
  (void)state;
  static const char *const known[] = {
      "1f53c2a927fa8dcb7127b0bce6fc9616fe042f514af3bda3162d3a996d2fcdb7",
      "f6b41664249adb33a93f7441a138a9e8d28f5fa53c8928021a654848fad764a4",
  };
  for (size_t i = 0; i < TS_COUNTOF(known); i++) {
    ts_sha256 h = ts_sha256_of(ts__migrations[i], strlen(ts__migrations[i]));
    assert_string_equal(ts_hex(test_arena, h.b, 32), known[i]);
  }
  assert_int_equal(TS_COUNTOF(known), TS_DB_VERSION);
}

static void a_failing_migration_changes_nothing(void **state) {
  (void)state;
  const char *path = store_of_version_1("v1-fail");
  ts_fault_set("db-migrate:1");
  ts_diag d = {0};
  assert_null(ts_db_open(path, TS_DB_WRITE, &d));
  ts_fault_set(NULL);
  assert_string_equal(d.code, "store-full");
  ts_db *db = open_store_at(path, TS_DB_WRITE);
  assert_sound(db);
  ts_db_close(db);
}

static void a_newer_store_opens_read_only_with_a_message(void **state) {
  (void)state;
  const char *path = in_dir("newer");
  ts_db *db = open_store_at(path, TS_DB_CREATE);
  put_world(db);
  assert_null(ts_db_note(db));
  ts_db_close(db);
  run_sql(path, "PRAGMA user_version=99");
  db = open_store_at(path, TS_DB_WRITE);
  assert_non_null(ts_db_note(db));
  assert_non_null(strstr(ts_db_note(db), "newer"));
  assert_false(ts_db_writable(db));
  refused(ts_db_put_target(db, &(ts_db_target){"cpu", "x", "y", "z"}, &d), "store-read-only");
  refused(ts_db_begin(db, &d), "store-read-only");
  assert_int_equal(count_of(db, "SELECT count(*) FROM target"), 1);
  ts_db_close(db);
}

// --- files that are not stores ---------------------------------------------------------------------------------------

static void write_bytes(const char *path, const void *p, size_t n) { must(ts_file_write(path, p, n, &d)); }

static void foreign_files_are_refused_and_left_alone(void **state) {
  (void)state;
  const char *text = in_dir("text"), *sqlite = in_dir("sqlite"), *missing = in_dir("missing"), *empty = in_dir("empty");
  write_bytes(text, "hello, this is not a database", 29);
  run_sql(sqlite, "CREATE TABLE x(y); PRAGMA user_version=1");
  write_bytes(empty, "", 0);
  refused(ts_db_open(text, TS_DB_CREATE, &d), "store-foreign");
  ts_sha256 before, after;
  must(ts_sha256_file(sqlite, &before, &d));
  refused(ts_db_open(sqlite, TS_DB_CREATE, &d), "store-foreign");
  refused(ts_db_open(sqlite, TS_DB_READ, &d), "store-foreign");
  must(ts_sha256_file(sqlite, &after, &d));
  assert_memory_equal(&before, &after, sizeof before);
  refused(ts_db_open(missing, TS_DB_WRITE, &d), "store-missing");
  refused(ts_db_open(missing, TS_DB_READ, &d), "store-missing");
  refused(ts_db_open(empty, TS_DB_READ, &d), "store-foreign");
  refused(ts_db_open(test_dir, TS_DB_CREATE, &d), "store-foreign");
  refused(ts_db_open(in_dir("no/such/folder"), TS_DB_CREATE, &d), "store-io");
  ts_db_close(open_store_at(empty, TS_DB_CREATE));
}

static void network_file_systems_are_refused(void **state) {
  (void)state;
  assert_true(ts__fs_is_network(0x6969));
  assert_false(ts__fs_is_network(0xef53));
  assert_false(ts__fs_is_network(0x01021994));
  unsetenv("TUNESMITH_STORE_ANY_FS");
  ts_fault_set("db-network:1+");
  refused(ts_db_open(in_dir("net"), TS_DB_CREATE, &d), "store-network");
  setenv("TUNESMITH_STORE_ANY_FS", "1", 1);
  ts_db_close(open_store_at(in_dir("net"), TS_DB_CREATE));
  unsetenv("TUNESMITH_STORE_ANY_FS");
  ts_fault_set(NULL);
}

// Any byte of a store may be wrong: opening, checking and reading end with a diagnostic, never with a crash.
static void damaged_stores_end_in_a_diagnostic(void **state) {
  (void)state;
  const char *path = store_of_version_1("damaged"), *copy = in_dir("copy");
  ts_db_close(open_store_at(path, TS_DB_WRITE));
  char *data;
  size_t n;
  must(ts_file_read(path, test_arena, &data, &n, &d));
  ts_rng r = ts_rng_new(7, 8);
  int found = 0;
  for (int i = 0; i < 60; i++) {
    char *bytes = ts_arena_dup(test_arena, data, n);
    for (int k = 0; k < 200; k++) bytes[100 + ts_rng_below(&r, (uint32_t)n - 100)] = (char)ts_rng_u32(&r);
    write_bytes(copy, bytes, i % 3 ? n : ts_rng_below(&r, (uint32_t)n));
    ts_diag d = {0};
    ts_db *db = ts_db_open(copy, TS_DB_READ, &d);
    ts_text report = {0};
    bool sound = db && ts_db_check(db, &report, &d);
    if (!sound) assert_true(d.kind == TS_ENVIRONMENT || d.kind == TS_REFUSAL);
    found += !sound;
    ts_text_free(&report);
    ts_db_close(db);
  }
  assert_true(found > 50);
}

static void a_row_that_lies_is_found(void **state) {
  (void)state;
  const char *path = store_of_version_1("lies");
  ts_db_close(open_store_at(path, TS_DB_WRITE));
  run_sql(path, "UPDATE candidate SET trace='something else' WHERE id=2");
  ts_db *db = open_store_at(path, TS_DB_READ), *mine = open_store_at(in_dir("mine"), TS_DB_CREATE);
  ts_text report = {0};
  refused(ts_db_check(db, &report, &d), "store-corrupt");
  assert_non_null(strstr(ts_text_str(&report), "candidate 2"));
  ts_text_free(&report);
  ts_db_merged m;
  refused(ts_db_merge(mine, path, &m, &d), "store-tampered");
  assert_int_equal(count_of(mine, "SELECT count(*) FROM target"), 0);
  ts_db_close(db);
  ts_db_close(mine);
}

// --- writing that fails
// ---------------------------------------------------------------------------------------------------

// Runs body in a child; returns its wait status.
static int in_child(void (*body)(const char *), const char *path) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    body(path);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

// Puts candidates until one fails; says which code in the exit status: 10 store-full.
static void fill_up(const char *path) {
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {400000, 400000};
  setrlimit(RLIMIT_FSIZE, &limit);
  ts_diag d = {0};
  ts_db *db = ts_db_open(path, TS_DB_WRITE, &d);
  if (!db) _exit(1);
  static char trace[20001];
  memset(trace, 'x', sizeof trace - 1);
  for (int i = 0; i < 200; i++) {
    snprintf(trace, 8, "%07d", i);
    trace[7] = ' ';
    ts_db_candidate c = {.workload_id = 1, .generator = "search", .trace = trace};
    if (!ts_db_put_candidate(db, &c, &d)) {
      ts_db_close(db);
      _exit(strcmp(d.code, "store-full") == 0 ? 10 : 2);
    }
  }
  _exit(3);
}

static void a_full_disk_leaves_the_store_intact(void **state) {
  (void)state;
  const char *path = store_of_version_1("full");
  ts_db_close(open_store_at(path, TS_DB_WRITE));
  int status = in_child(fill_up, path);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 10);
  ts_db *db = open_store_at(path, TS_DB_WRITE);
  assert_sound(db);
  assert_true(count_of(db, "SELECT count(*) FROM candidate") > 5);
  ts_db_close(db);
}

static void every_failing_write_is_reported_and_undone(void **state) {
  (void)state;
  static const char *const points[] = {"db-insert", "db-commit"};
  for (size_t p = 0; p < TS_COUNTOF(points); p++)
    for (int k = 1; k <= 3; k++) {
      const char *path = in_dir(ts_arena_printf(test_arena, "%s-%d", points[p], k));
      ts_db *db = open_store_at(path, TS_DB_CREATE);
      world w = put_world(db);
      int64_t before = count_of(db, "SELECT count(*) FROM candidate");
      ts_fault_set(ts_arena_printf(test_arena, "%s:%d", points[p], k));
      int stored = 0, failed = 0;
      for (int i = 0; i < 5; i++) {
        ts_diag d = {0};
        ts_db_candidate c = {
            .workload_id = w.workload, .generator = "g", .trace = ts_arena_printf(test_arena, "%d", i)};
        if (ts_db_put_candidate(db, &c, &d))
          stored++;
        else if (strcmp(d.code, "store-full") == 0)
          failed++;
      }
      ts_fault_set(NULL);
      assert_int_equal(stored, 4);
      assert_int_equal(failed, 1);
      assert_int_equal(count_of(db, "SELECT count(*) FROM candidate"), before + 4);
      assert_sound(db);
      ts_db_close(db);
    }
}

static void writing_without_permission_is_refused(void **state) {
  (void)state;
  const char *dir = in_dir("locked"), *path = in_dir("locked/store");
  must(ts_dir_make(dir, &d));
  ts_db *db = open_store_at(path, TS_DB_CREATE);
  put_world(db);
  ts_db_close(db);
  chmod(test_dir, 0755);
  chmod(path, 0444);
  chmod(dir, 0555);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {  // as somebody whom permissions bind
    if (geteuid() == 0 && setuid(65534) != 0) _exit(9);
    ts_diag d = {0};
    if (ts_db_open(path, TS_DB_WRITE, &d) || d.kind != TS_ENVIRONMENT) _exit(1);
    if (ts_db_open(in_dir("locked/other"), TS_DB_CREATE, &d) || strcmp(d.code, "store-io") != 0 || !strstr(d.message, "Permission denied")) _exit(2);
    ts_db *ro = ts_db_open(path, TS_DB_READ, &d);
    ts_db_target t;
    if (!ro || !ts_db_get_target(ro, 1, test_arena, &t, &d)) _exit(3);
    ts_db_close(ro);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  chmod(dir, 0755);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

// --- processes
// ---------------------------------------------------------------------------------------------------------------

// Puts forever in batches of 8, saying after each flush how many rows are safe.
static void put_forever(const char *path, int say) {
  ts_diag d = {0};
  ts_db *db = ts_db_open(path, TS_DB_WRITE, &d);
  if (!db || !ts_db_batch(db, 8, 100000, &d)) _exit(1);
  for (int i = 1;; i++) {
    ts_db_candidate c = {.workload_id = 1, .generator = "killed", .trace = ts_arena_printf(test_arena, "%d", i)};
    if (!ts_db_put_candidate(db, &c, &d)) _exit(2);
    if (i % 8 == 0 && write(say, &i, sizeof i) != sizeof i) _exit(3);
  }
}

static void a_killed_writer_loses_at_most_its_open_batch(void **state) {
  (void)state;
  const char *path = store_of_version_1("killed");
  ts_db_close(open_store_at(path, TS_DB_WRITE));
  for (int round = 0; round < 5; round++) {
    int fds[2], safe = 0, last;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
      close(fds[0]);
      put_forever(path, fds[1]);
    }
    close(fds[1]);
    for (int i = 0; i <= 3 + round * 2 && read(fds[0], &last, sizeof last) == sizeof last; i++) safe = last;
    kill(pid, SIGKILL);
    while (read(fds[0], &last, sizeof last) == sizeof last) safe = last;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    ts_db *db = open_store_at(path, TS_DB_WRITE);
    assert_sound(db);
    assert_true(safe > 0);
    assert_true(count_of(db, "SELECT count(*) FROM candidate WHERE generator='killed'") >= safe);
    assert_int_equal(
        count_of(db, "SELECT count(*)-max(CAST(trace AS INTEGER)) FROM candidate WHERE generator='killed'"), 0);
    ts_db_close(db);
  }
}

static void readers_see_whole_transactions_beside_a_writer(void **state) {
  (void)state;
  const char *path = in_dir("beside");
  ts_db *db = open_store_at(path, TS_DB_CREATE), *reader = open_store_at(path, TS_DB_READ);
  must(ts_db_begin(db, &d));
  world w = put_world(db);
  assert_int_equal(count_of(reader, "SELECT count(*) FROM target"), 0);
  must(ts_db_commit(db, &d));
  must(ts_db_begin_read(reader, &d));
  assert_int_equal(count_of(reader, "SELECT count(*) FROM candidate"), 1);
  put_candidate(db, &w, "search", "later");
  assert_int_equal(count_of(reader, "SELECT count(*) FROM candidate"), 1);
  ts_db_end_read(reader);
  assert_int_equal(count_of(reader, "SELECT count(*) FROM candidate"), 2);
  refused(ts_db_put_target(reader, &a_target, &d), "store-read-only");
  ts_db_close(reader);
  ts_db_close(db);
}

// Writing processes make and share a store without failures.
static void put_hundred(const char *path) {
  ts_diag d = {0};
  ts_db *db = ts_db_open(path, TS_DB_CREATE, &d);
  if (!db) {
    fprintf(stderr, "%s\n", d.message);
    _exit(1);
  }
  for (int i = 0; i < 100; i++) {
    ts_db_target t = {"cpu", "a", "p", ts_arena_printf(test_arena, "%d", i)};
    if (!ts_db_put_target(db, &t, &d)) _exit(2);
  }
  ts_db_close(db);
}

static void writers_take_turns(void **state) {
  (void)state;
  const char *path = in_dir("turns");
  fflush(NULL);
  pid_t pids[3];
  for (int i = 0; i < 3; i++)
    if ((pids[i] = fork()) == 0) {
      put_hundred(path);
      _exit(0);
    }
  for (int i = 0; i < 3; i++) {
    int status;
    waitpid(pids[i], &status, 0);
    assert_int_equal(status, 0);
  }
  ts_db *db = open_store_at(path, TS_DB_WRITE);
  assert_int_equal(count_of(db, "SELECT count(*) FROM target"), 100);
  assert_sound(db);
  ts_db_close(db);
}

// --- transactions and merges
// ----------------------------------------------------------------------------------------------------

static void a_rolled_back_transaction_leaves_nothing(void **state) {
  (void)state;
  ts_db *db = open_store_at(in_dir("rollback"), TS_DB_CREATE);
  must(ts_db_begin(db, &d));
  put_world(db);
  ts_db_rollback(db);
  assert_int_equal(count_of(db, "SELECT count(*) FROM target"), 0);
  must(ts_db_batch(db, 1000, 100000, &d));
  world w = put_world(db);
  ts_db_measurement m = a_measurement(&w, w.build, 1, 0);
  m.session_id = 77;
  refused(ts_db_put_measurement(db, &m, &d), "no-such-row");  // the batch survives it
  must(ts_db_flush(db, &d));
  assert_int_equal(count_of(db, "SELECT count(*) FROM build"), 1);
  ts_db_close(db);
}

static void merging_twice_adds_once(void **state) {
  (void)state;
  const char *a_path = store_of_version_1("a"), *b_path = in_dir("b");
  ts_db_close(open_store_at(a_path, TS_DB_WRITE));
  ts_db *b = open_store_at(b_path, TS_DB_CREATE);
  world w = put_world(b);
  put_time(b, &w, w.build, 123, 0);
  ts_db_merged m;
  must(ts_db_merge(b, a_path, &m, &d));
  assert_true(m.added > 0 && m.known > 0);
  int64_t rows = count_of(b, "SELECT count(*) FROM measurement");
  assert_int_equal(rows, 3);
  assert_int_equal(count_of(b, "SELECT count(*) FROM counter"), 1);
  assert_int_equal(count_of(b, "SELECT count(*) FROM winner"), 1);
  must(ts_db_merge(b, a_path, &m, &d));
  assert_int_equal(m.added, 0);
  assert_int_equal(count_of(b, "SELECT count(*) FROM imported"), 1);
  assert_sound(b);
  ts_db_close(b);
  // The other way round gives the same facts.
  ts_db *a = open_store_at(a_path, TS_DB_WRITE);
  must(ts_db_merge(a, b_path, &m, &d));
  assert_int_equal(count_of(a, "SELECT count(*) FROM measurement"), 3);
  must(ts_db_merge(a, b_path, &m, &d));
  assert_int_equal(m.added, 0);
  ts_db_close(a);
}

static void merging_brings_ends_and_revocations(void **state) {
  (void)state;
  const char *a_path = in_dir("ends-a"), *b_path = in_dir("ends-b");
  ts_db *a = open_store_at(a_path, TS_DB_CREATE);
  world w = put_world(a);
  ts_db_decision x = a_decision(&w, w.build);
  x.utc = "2026-01-01";
  ts_id first, second;
  must(first = ts_db_put_decision(a, &x, &d));
  ts_db *b = open_store_at(b_path, TS_DB_CREATE);
  ts_db_merged m;
  must(ts_db_merge(b, a_path, &m, &d));
  x.utc = "2026-01-02";
  must(second = ts_db_put_decision(a, &x, &d));
  must(ts_db_revoke(a, first, second, &d));
  must(ts_db_end_session(a, w.session, "done", &d));
  must(ts_db_merge(b, a_path, &m, &d));
  assert_int_equal(m.added, 1);
  assert_int_equal(count_of(b, "SELECT count(*) FROM session WHERE outcome='done'"), 1);
  assert_int_equal(count_of(b, "SELECT count(*) FROM decision d JOIN decision e ON e.id=d.revoked_by AND e.utc>d.utc"),
                   1);
  ts_db_close(a);
  ts_db_close(b);
}

static void exports_hold_every_row(void **state) {
  (void)state;
  const char *path = store_of_version_1("export"), *file = in_dir("out");
  ts_db *db = open_store_at(path, TS_DB_WRITE);
  FILE *f = fopen(file, "w");
  must(ts_db_export(db, NULL, TS_DB_JSONL, f, file, &d));
  must(ts_db_export(db, "measurement", TS_DB_CSV, f, file, &d));
  refused(ts_db_export(db, "nothing", TS_DB_CSV, f, file, &d), "bad-value");
  refused(ts_db_export(db, NULL, TS_DB_CSV, f, file, &d), "bad-value");
  fclose(f);
  char *text;
  size_t n;
  must(ts_file_read(file, test_arena, &text, &n, &d));
  assert_non_null(strstr(text, "\"trace\":\"l1 = split i [8, 8]\\n\""));
  assert_non_null(strstr(text, "\"samples\":[300,301,305]"));
  assert_non_null(strstr(text, ",300 301 305,"));
  assert_non_null(strstr(text, "\"rel_l2\":1e-06,\"max_abs\":null"));
  f = fopen("/dev/full", "w");
  if (f) {
    refused(ts_db_export(db, NULL, TS_DB_JSONL, f, "/dev/full", &d), "write-failed");
    fclose(f);
  }
  must(ts_db_vacuum(db, &d));
  assert_sound(db);
  ts_db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_older_store_is_migrated_and_keeps_its_rows),
      cmocka_unit_test(migrations_are_frozen),
      cmocka_unit_test(a_failing_migration_changes_nothing),
      cmocka_unit_test(a_newer_store_opens_read_only_with_a_message),
      cmocka_unit_test(foreign_files_are_refused_and_left_alone),
      cmocka_unit_test(network_file_systems_are_refused),
      cmocka_unit_test(damaged_stores_end_in_a_diagnostic),
      cmocka_unit_test(a_row_that_lies_is_found),
      cmocka_unit_test(a_full_disk_leaves_the_store_intact),
      cmocka_unit_test(every_failing_write_is_reported_and_undone),
      cmocka_unit_test(writing_without_permission_is_refused),
      cmocka_unit_test(a_killed_writer_loses_at_most_its_open_batch),
      cmocka_unit_test(readers_see_whole_transactions_beside_a_writer),
      cmocka_unit_test(writers_take_turns),
      cmocka_unit_test(a_rolled_back_transaction_leaves_nothing),
      cmocka_unit_test(merging_twice_adds_once),
      cmocka_unit_test(merging_brings_ends_and_revocations),
      cmocka_unit_test(exports_hold_every_row),
  };
  return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
