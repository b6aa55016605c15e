// Shared by the store's tests: a temporary folder, and a store with one row of everything.
#ifndef TS_DB_TEST_H
#define TS_DB_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka.h needs those above.
#include <cmocka.h>

#include "db/db.h"

// Fails the test with the diagnostic's words.
#define must(call)                                                  \
  do {                                                              \
    ts_diag d = {0};                                                \
    if (!(call)) fail_msg("%s: %s [%s]", #call, d.message, d.code); \
  } while (0)
#define refused(call, expected)            \
  do {                                     \
    ts_diag d = {0};                       \
    assert_false(call);                    \
    assert_string_equal(d.code, expected); \
    assert_null(strchr(d.message, '\n'));  \
  } while (0)

static char test_dir[64];
static ts_arena *test_arena;

static inline int make_dir(void **state) {
  (void)state;
  snprintf(test_dir, sizeof test_dir, "/tmp/ts-db-XXXXXX");
  test_arena = ts_arena_new("test");
  return mkdtemp(test_dir) ? 0 : -1;
}

static inline int drop_dir(void **state) {
  (void)state;
  ts_arena_free(test_arena);
  char cmd[100];
  snprintf(cmd, sizeof cmd, "rm -rf '%s'", test_dir);
  return system(cmd);
}

static inline const char *in_dir(const char *name) { return ts_path_join(test_arena, test_dir, name); }

static inline ts_db *open_store_at(const char *path, ts_db_mode mode) {
  ts_diag d = {0};
  ts_db *db = ts_db_open(path, mode, &d);
  if (!db) fail_msg("%s [%s]", d.message, d.code);
  return db;
}

// Ids of one row of everything.
typedef struct world {
  ts_id target, device, toolchain, environment, workload, candidate, build, session;
} world;

static const ts_db_target a_target = {"cpu", "znver4", "EPYC", "cpu znver4 vector=64"};
static const ts_db_workload a_workload = {.op = "matmul",
                                          .quant = "q4f16_1",
                                          .shape = "K=64 N=64 n=1",
                                          .bucket = "decode",
                                          .flops = 8192,
                                          .bytes = TS_DB_NONE,
                                          .ir = {"func", 4}};

static inline ts_id put_candidate(ts_db *db, const world *w, const char *generator, const char *trace) {
  ts_diag d = {0};
  ts_db_candidate c = {.workload_id = w->workload, .generator = generator, .trace = trace};
  ts_id id = ts_db_put_candidate(db, &c, &d);
  if (!id) fail_msg("%s", d.message);
  return id;
}

static inline ts_id put_build(ts_db *db, const world *w, ts_id candidate, const char *status) {
  ts_diag d = {0};
  ts_db_build b = {.candidate_id = candidate,
                   .target_id = w->target,
                   .toolchain_id = w->toolchain,
                   .status = status,
                   .bytes = 100,
                   .regs = TS_DB_NONE,
                   .spills = TS_DB_NONE,
                   .smem = TS_DB_NONE,
                   .compile_ms = NAN};
  ts_id id = ts_db_put_build(db, &b, &d);
  if (!id) fail_msg("%s", d.message);
  return id;
}

static inline ts_db_measurement a_measurement(const world *w, ts_id build, double median, int64_t rung) {
  uint64_t v[3] = {(uint64_t)median, (uint64_t)median + 1, (uint64_t)median + 5};
  return (ts_db_measurement){.build_id = build,
                             .device_id = w->device,
                             .environment_id = w->environment,
                             .session_id = w->session,
                             .metric = "time",
                             .unit = "ns",
                             .timer = "monotonic-raw",
                             .cache = "cold-weights",
                             .launch = "pool",
                             .rung = rung,
                             .round = TS_DB_NONE,
                             .n = 3,
                             .median = median,
                             .min = median,
                             .q1 = median,
                             .q3 = median + 5,
                             .mad = 1,
                             .ci_lo = median - 1,
                             .ci_hi = median + 1,
                             .clock_mhz = NAN,
                             .stop_reason = "quota",
                             .elapsed_ms = 10,
                             .samples = ts_samples_encode(test_arena, v, 3)};
}

static inline ts_id put_time(ts_db *db, const world *w, ts_id build, double median, int64_t rung) {
  ts_diag d = {0};
  ts_db_measurement m = a_measurement(w, build, median, rung);
  ts_id id = ts_db_put_measurement(db, &m, &d);
  if (!id) fail_msg("%s", d.message);
  return id;
}

static inline ts_db_decision a_decision(const world *w, ts_id build) {
  return (ts_db_decision){.workload_id = w->workload,
                          .target_id = w->target,
                          .toolchain_id = w->toolchain,
                          .policy = "p",
                          .build_id = build,
                          .log_ratio = NAN,
                          .ci_lo = NAN,
                          .ci_hi = NAN,
                          .session_id = w->session};
}

static inline world put_world(ts_db *db) {
  world w = {0};
  must(w.target = ts_db_put_target(db, &a_target, &d));
  ts_db_device dev = {.target_id = w.target, .noise_floor = NAN};
  must(w.device = ts_db_put_device(db, &dev, &d));
  ts_db_toolchain tc = {.compiler = "llvm", .version = "19", .flags = "generator=1"};
  must(w.toolchain = ts_db_put_toolchain(db, &tc, &d));
  ts_db_environment env = {
      .clock_policy = "free", .power_limit_mw = TS_DB_NONE, .ecc = TS_DB_NONE, .boost = 1, .detail = ""};
  must(w.environment = ts_db_put_environment(db, &env, &d));
  must(w.workload = ts_db_put_workload(db, &a_workload, &d));
  ts_db_session s = {.command = "tune",
                     .tool = "test",
                     .seed = 1,
                     .workload_id = w.workload,
                     .target_id = w.target,
                     .started_utc = "2026-01-01T00:00:00.000Z"};
  must(w.session = ts_db_put_session(db, &s, &d));
  w.candidate = put_candidate(db, &w, "default", "");
  w.build = put_build(db, &w, w.candidate, "ok");
  return w;
}

static inline int64_t count_of(ts_db *db, const char *sql) {
  ts_db_table t = {0};
  must(ts_db_query(db, sql, NULL, 0, test_arena, &t, &d));
  assert_int_equal(t.nrows, 1);
  return t.cells[0].i;
}

#endif
