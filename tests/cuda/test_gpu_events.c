// A driver without graphs (fake_cuda.c as it was before them): candidates and finals are timed by events behind a kernel that holds the stream back; what
// needs graphs is left out or says so.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "device/device.h"
#include "search/search.h"
#include "target/gpu.h"

#define WORKLOAD "matmul q0f32 A=f32 K=32 N=64 n=1"

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  char dir[64];
} fixture;

static int64_t number(fixture *x, ts_db *db, const char *sql) {
  ts_diag d = {0};
  ts_db_table t;
  if (!ts_db_query(db, sql, NULL, 0, x->a, &t, &d)) fail_msg("%s", d.message);
  assert_int_equal(t.nrows, 1);
  return t.cells[0].i;
}

// A whole run: every time is of events, with launches of a stream that do not count, and so says the policy of the winner.
static void tuned(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "events.db");
  ts_tune_task task = {.weight = 1};
  ts_tune_result r;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", "op=product:1:64:32", 1);
  if (!ts_spec_parse(x->a, WORKLOAD, &task.spec, &d) || !ts_tune(x->a, &task, 1, &(ts_tune_opts){.target = &x->t, .command = "test", .numerics = "", .seed = 1, .store = store, .trials = 6}, &r, &d))
    fail_msg("%s", d.message);
  assert_true(r.rows[0].best_ns >= 20000);
  assert_int_equal(r.failed, 0);
  ts_db *db = ts_db_open(store, TS_DB_READ, &d);
  assert_non_null(db);
  assert_true(number(x, db, "SELECT count(*) FROM measurement WHERE rung = 1") > 1);
  assert_int_equal(number(x, db, "SELECT count(*) FROM measurement WHERE timer != 'event' OR launch != 'stream'"), 0);
  assert_int_equal(number(x, db, "SELECT count(*) FROM winner"), 1);
  ts_db_close(db);
}

// A kernel that does not end is found out before anything waits behind the one that holds the stream back.
static void faults(void **state) {
  fixture *x = *state;
  static const struct {
    const char *behaviour;
    ts_outcome_kind kind;
  } rows[] = {{"right ns=5000", TS_MEASURED}, {"hang", TS_TIMED_OUT}, {"fault", TS_CRASHED}, {"outside", TS_GUARD}, {"right ns=5000", TS_MEASURED}};
  ts_diag d = {0};
  ts_spec spec;
  setenv("TS_FAKE_CUDA", "op=silu:4:64", 1);
  assert_true(ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=4", &spec, &d));
  ts_compiler *c = ts_compiler_open(&x->t, 1, NULL, &d);
  ts_workload *w = c ? ts_workload_open(&spec, &x->t, c, &d) : NULL;
  ts_meter *m = w ? ts_meter_open(w, &(ts_meter_opts){.timeout_s = 4, .seed = 4}, &d) : NULL;
  if (!m) fail_msg("%s", d.message);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    static const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_BUFFER, 1}, {TS_GPU_WORKSPACE, 0}};
    ts_gpu_launch l = {.entry = "k", .grid = {"1", "1", "1"}, .block = {32, 1, 1}, .shared = "0", .cluster = {1, 1, 1}, .nargs = 3, .args = args};
    char *image = ts_arena_printf(x->a, "//fake %s", rows[i].behaviour);
    ts_gpu_code code = {.arch = "sm_90a", .nparams = 2, .registers = -1, .spills = -1, .workspace = "64", .zeroed = "64", .nlaunches = 1, .launches = &l, .kind = TS_GPU_PTX, .image = image, .image_n = strlen(image)};
    ts_text t = {0};
    ts_gpu_code_write(&t, &code);
    ts_object o = {.symbol = "k", .id = ts_sha256_of(t.p, t.n), .bytes = ts_arena_dup(x->a, t.p, t.n), .n = t.n};
    ts_text_free(&t);
    ts_outcome_row r;
    if (!ts_meter_run(m, i, &(ts_candidate){.func = ts_workload_reference(w), .object = &o}, &ts_effort_search, x->a, &r, &d)) fail_msg("%s", d.message);
    if (r.kind != rows[i].kind) fail_msg("%s: %s: %s", rows[i].behaviour, ts_outcome_kind_name(r.kind), r.message);
    if (r.kind != TS_MEASURED) continue;
    assert_string_equal(r.timer, "event");
    assert_true(r.n >= 8 && fabs(r.stats.median - 5000) < 1 && fabs(r.clocks[0] - 1980) < 5);
  }
  assert_int_equal(ts_meter_restarts(m), 2);
  ts_meter_close(m);
  ts_workload_close(w);
  ts_compiler_close(c);
}

// What graphs cost is not known, all else is.
static void probe(void **state) {
  fixture *x = *state;
  ts_probe p;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", "", 1);
  if (!ts_device_probe_gpu(&x->t, 0.05, &p, &d)) fail_msg("%s", d.message);
  assert_true(isnan(p.value[TS_CEILING_node]) && isnan(p.value[TS_CEILING_dependent]));
  static const ts_ceiling known[] = {TS_CEILING_l2, TS_CEILING_wgmma_f16, TS_CEILING_barrier, TS_CEILING_clock};
  for (size_t i = 0; i < TS_COUNTOF(known); i++)
    if (!(p.value[known[i]] > 0)) fail_msg("%s is %g", ts_ceiling_name(known[i]), p.value[known[i]]);
  assert_true(p.value[TS_CEILING_noise] >= 0 && p.value[TS_CEILING_timers] >= 0);
}

static int setup(void **state) {
  static fixture x;
  ts_diag d = {0};
  x.a = ts_arena_new("test");
  snprintf(x.dir, sizeof x.dir, "/tmp/ts-gpu-events-XXXXXX");
  *state = &x;
  return mkdtemp(x.dir) && setenv("XDG_RUNTIME_DIR", x.dir, 1) == 0 && ts_target_parse("cuda", &x.t, &d) ? 0 : -1;
}

static int teardown(void **state) {
  fixture *x = *state;
  const char *const rm[] = {"rm", "-rf", x->dir, NULL};
  ts_proc_result r;
  bool ok = ts_proc_run(rm, 10, NULL, &r, NULL);
  ts_arena_free(x->a);
  return ok ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tuned), cmocka_unit_test(faults), cmocka_unit_test(probe)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
