// search: tuning into a temporary store: what is recorded, what a second run may do, and what is left of a run that is killed or
// interrupted.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "search/search_test.h"

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  char dir[64];
} fixture;

static const char *store_path(fixture *x, const char *name) { return ts_path_join(x->a, x->dir, name); }

static bool tune(fixture *x, const char *workload, const char *store, int64_t trials, uint64_t seed, ts_tune_result *r, ts_diag *d) {
  ts_tune_task task = {.weight = 1};
  ts_tune_opts o = {.target = &x->t, .store = store, .command = "test", .numerics = "", .trials = trials, .seed = seed, .threads = 1};
  return ts_spec_parse(x->a, workload, &task.spec, d) && ts_tune(x->a, &task, 1, &o, r, d);
}

// --- asking the store --------------------------------------------------------------------------------------------------
static ts_db_cell cell(fixture *x, const char *store, const char *sql) {
  ts_diag d = {0};
  ts_db *db = ts_db_open(store, TS_DB_READ, &d);
  must(db != NULL, &d);
  ts_db_table t;
  bool ok = ts_db_query(db, sql, NULL, 0, x->a, &t, &d);
  ts_db_close(db);
  must(ok, &d);
  assert_int_equal(t.nrows, 1);
  return t.cells[0];
}

static int64_t number(fixture *x, const char *store, const char *sql) { return cell(x, store, sql).i; }

static void check_store(const char *store) {
  ts_diag d = {0};
  ts_text report = {0};
  ts_db *db = ts_db_open(store, TS_DB_READ, &d);
  must(db != NULL, &d);
  if (!ts_db_check(db, &report, &d)) fail_msg("%s", ts_text_str(&report));
  ts_db_close(db);
  ts_text_free(&report);
}

// --- a whole run, and another after it ----------------------------------------------------------------------------------
static const char small[] = "rms_norm A=f32 H=256 eps=1e-5 n=16";

static void check_records(fixture *x, const char *store, const ts_tune_result *r) {
  assert_int_equal(number(x, store, "SELECT count(*) FROM workload"), 1);
  assert_string_equal(cell(x, store, "SELECT op FROM workload").text, "rms_norm");
  int64_t candidates = number(x, store, "SELECT count(*) FROM candidate");
  assert_int_equal(candidates, r->trials);
  assert_int_equal(number(x, store, "SELECT count(*) FROM build WHERE status = 'ok'"), candidates);
  assert_int_equal(number(x, store, "SELECT count(DISTINCT build_id) FROM verdict"), candidates);
  int64_t good = number(x, store, "SELECT count(DISTINCT build_id) FROM verdict WHERE outcome = 'ok'");
  assert_int_equal(good, candidates - r->rows[0].failed);
  assert_int_equal(number(x, store, "SELECT count(DISTINCT build_id) FROM measurement WHERE rung = 0 AND metric = 'time' AND unit = 'ns'"), good);
  assert_true(number(x, store, "SELECT count(*) FROM measurement WHERE rung = 1") >= 2);
  assert_int_equal(number(x, store, "SELECT count(*) FROM measurement WHERE n < 1 OR median <= 0 OR samples IS NULL"), 0);
  assert_int_equal(number(x, store, "SELECT count(*) FROM candidate WHERE generator LIKE 'default ref %'"), 1);
  assert_true(number(x, store, "SELECT count(*) FROM candidate WHERE generator LIKE 'template ref %'") >= 2);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session WHERE outcome = 'done' AND ended_utc IS NOT NULL"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM decision"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), 1);
}

static void records_everything(void **state) {
  fixture *x = *state;
  const char *store = store_path(x, "whole.db");
  ts_diag d = {0};
  ts_tune_result r;
  must(tune(x, small, store, 14, 1, &r, &d), &d);
  assert_int_equal(r.n, 1);
  assert_true(r.trials >= 5 && r.trials < 14 + 12 && !r.interrupted);
  assert_true(r.busy_s > 0 && r.busy_s < r.wall_s);
  const ts_tune_row *row = &r.rows[0];
  assert_true(row->default_ns > 0 && row->best_ns > 0 && row->best_ns < row->default_ns);
  assert_int_equal(row->against_default.verdict, TS_FASTER);  // the default sums without lanes
  assert_false(row->kept_incumbent);
  check_records(x, store, &r);
  check_store(store);
}

// Seeds differ, the incumbent of the first run is in the final of the second: it stays, or what beats it does.
static void second_run_keeps_or_beats(void **state) {
  fixture *x = *state;
  const char *store = store_path(x, "whole.db");
  int64_t first = number(x, store, "SELECT build_id FROM winner");
  ts_diag d = {0};
  ts_tune_result r;
  must(tune(x, small, store, 8, 2, &r, &d), &d);
  int64_t second = number(x, store, "SELECT build_id FROM winner");
  assert_int_equal(number(x, store, "SELECT count(*) FROM decision"), 2);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session"), 2);
  assert_true(r.rows[0].best_ns < r.rows[0].default_ns);
  if (r.rows[0].kept_incumbent) {
    const char *sql = ts_arena_printf(x->a, "SELECT c.trace = e.trace FROM candidate c, candidate e, build b, build f WHERE b.id = %lld AND f.id = %lld AND c.id = b.candidate_id AND e.id = f.candidate_id",
                                      (long long)first, (long long)second);
    assert_int_equal(number(x, store, sql), 1);
  } else {
    assert_int_not_equal(first, second);
  }
  check_store(store);
}

// --- runs that end early ---------------------------------------------------------------------------------------------------
static const char large[] = "matmul q4f16_1 A=f32 K=64 N=192 n=1";

// Starts a long run in a process of its own; it ends with 130 when interrupted, as the command does.
static pid_t start(fixture *x, const char *store) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid) return pid;
  ts_diag d = {0};
  ts_tune_result r;
  ts_interrupt_install();
  if (!tune(x, large, store, 1000000, 1, &r, &d)) ts_diag_print(stderr, &d), _exit(1);
  _exit(r.interrupted ? 130 : 0);
}

// Waits until the run has recorded more than `most` measurements of candidates.
static void wait_for(fixture *x, const char *store, pid_t pid, int64_t most) {
  for (int i = 0; i < 3600; i++) {
    int status;
    ts_diag d;
    ts_db *db = ts_file_exists(store) ? ts_db_open(store, TS_DB_READ, &d) : NULL;
    ts_db_table t;
    bool enough = db && ts_db_query(db, "SELECT count(*) FROM measurement WHERE rung = 0", NULL, 0, x->a, &t, &d) && t.cells[0].i > most;
    ts_db_close(db);
    if (enough) return;
    if (waitpid(pid, &status, WNOHANG) == pid) fail_msg("the run ended by itself with status %d", status);
    usleep(50000);
  }
  kill(pid, SIGKILL);
  fail_msg("no more than %lld measurements in three minutes", (long long)most);
}

static int end(pid_t pid, int sig) {
  int status = 0;
  kill(pid, sig);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static size_t sketches(fixture *x) {
  ts_spec spec;
  ts_space s;
  ts_diag d = {0};
  must(ts_spec_parse(x->a, large, &spec, &d) && ts_space_open(&spec, &x->t, "", &s, &d), &d);
  size_t n = s.n;
  ts_space_close(&s);
  return n;
}

// Killed: the store is whole, and the next run goes on with the same session. Only what every run begins with (a draw of each
// sketch) and the finalists are measured again.
static void goes_on_after_kill(void **state) {
  enum { FINALISTS = 4 };
  fixture *x = *state;
  int64_t allowed = (int64_t)sketches(x) + FINALISTS, many = allowed + 2;  // machines without wide vectors have few sketches, and few candidates
  const char *store = store_path(x, "killed.db");
  pid_t pid = start(x, store);
  wait_for(x, store, pid, many);
  assert_true(WIFSIGNALED(end(pid, SIGKILL)));
  check_store(store);
  assert_int_equal(number(x, store, "SELECT count(*) FROM decision"), 0);
  long long last = number(x, store, "SELECT max(id) FROM measurement"), before = number(x, store, "SELECT count(DISTINCT build_id) FROM measurement");
  assert_true(before >= many);
  ts_diag d = {0};
  ts_tune_result r;
  must(tune(x, large, store, 30, 1, &r, &d), &d);
  const char *again = ts_arena_printf(x->a, "SELECT count(DISTINCT build_id) FROM measurement WHERE rung = 0 AND id > %lld AND build_id IN (SELECT build_id FROM measurement WHERE id <= %lld)", last, last);
  int64_t repeated = number(x, store, again);
  if (repeated > allowed) fail_msg("%lld of %lld candidates were measured again; %lld may be", (long long)repeated, before, (long long)allowed);
  assert_true(allowed < before);
  assert_true(number(x, store, "SELECT count(DISTINCT build_id) FROM measurement") > before);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session WHERE outcome = 'done'"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), 1);
  assert_true(r.rows[0].best_ns <= r.rows[0].default_ns);
  check_store(store);
}

// Interrupted: the final is held and decided, the session stays open, the program's status says so.
static void decides_when_interrupted(void **state) {
  fixture *x = *state;
  const char *store = store_path(x, "interrupted.db");
  pid_t pid = start(x, store);
  wait_for(x, store, pid, 3);
  int status = end(pid, SIGINT);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 130);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session WHERE ended_utc IS NULL"), 1);
  assert_true(number(x, store, "SELECT count(*) FROM measurement WHERE rung = 1") >= 1);
  check_store(store);
}

// --- refusals ----------------------------------------------------------------------------------------------------------------
static void refuses(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  ts_tune_result r;
  const char *foreign = store_path(x, "foreign.db"), *text = "this is no store, and it is longer than the header of one would be: sixteen bytes and more";
  must(ts_file_write(foreign, text, strlen(text), &d), &d);
  assert_false(tune(x, small, foreign, 4, 1, &r, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  char *data;
  size_t n;
  must(ts_file_read(foreign, x->a, &data, &n, &d), &d);
  assert_string_equal(data, text);
  assert_false(tune(x, small, store_path(x, "no/such/folder/s.db"), 4, 1, &r, &d));
  assert_false(tune(x, "no_such_op A=f32 n=1", store_path(x, "op.db"), 4, 1, &r, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  assert_false(tune(x, "silu_mul A=f32 n=1", store_path(x, "op.db"), 4, 1, &r, &d));  // I is not given
  assert_int_equal(d.kind, TS_REFUSAL);
}

static int setup(void **state) {
  fixture *x = calloc(1, sizeof *x);
  ts_diag d = {0};
  x->a = ts_arena_new("test");
  snprintf(x->dir, sizeof x->dir, "/tmp/ts-search-XXXXXX");
  *state = x;
  if (!mkdtemp(x->dir) || setenv("XDG_RUNTIME_DIR", x->dir, 1) != 0) return -1;  // a lock of our own: other programs may measure
  return ts_target_parse("cpu", &x->t, &d) ? 0 : -1;
}

static int teardown(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  const char *const rm[] = {"rm", "-rf", x->dir, NULL};
  ts_proc_result r;
  bool ok = ts_proc_run(rm, 10, NULL, &r, &d);
  ts_arena_free(x->a);
  free(x);
  return ok ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(records_everything), cmocka_unit_test(second_run_keeps_or_beats), cmocka_unit_test(goes_on_after_kill),
      cmocka_unit_test(decides_when_interrupted), cmocka_unit_test(refuses),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
