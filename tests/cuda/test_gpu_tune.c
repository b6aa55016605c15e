// Tuning on a driver without a GPU (fake_cuda.c): candidates compile while others are measured, a vendor's library is compared with and wins
// nothing, an interrupted run goes on.
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "codegen/codegen.h"
#include "search/search.h"

#define WORKLOAD "matmul q0f32 A=f32 K=32 N=64 n=1"
#define OPERATOR "op=product:1:64:32"

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  char dir[64];
  const char *home, *templates;  // a folder with links to the kernels; where that of the templates leads to
} fixture;

static bool tune_with(fixture *x, ts_tune_opts o, ts_tune_result *r, ts_diag *d) {
  ts_tune_task task = {.weight = 1};
  o.target = &x->t, o.command = "test", o.numerics = "", o.seed = 1;
  return ts_spec_parse(x->a, WORKLOAD, &task.spec, d) && ts_tune(x->a, &task, 1, &o, r, d);
}

static bool tune(fixture *x, const char *store, int64_t trials, bool counters, ts_tune_result *r, ts_diag *d) {
  return tune_with(x, (ts_tune_opts){.store = store, .trials = trials, .counters = counters}, r, d);
}

static ts_db_cell cell(fixture *x, const char *store, const char *sql) {
  ts_diag d = {0};
  ts_db_table t;
  ts_db *db = ts_db_open(store, TS_DB_READ, &d);
  bool ok = db && ts_db_query(db, sql, NULL, 0, x->a, &t, &d);
  ts_db_close(db);
  if (!ok) fail_msg("%s", d.message);
  assert_int_equal(t.nrows, 1);
  return t.cells[0];
}

static int64_t number(fixture *x, const char *store, const char *sql) { return cell(x, store, sql).i; }

static void whole(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "whole.db");
  ts_tune_result r;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", OPERATOR " blas=30000", 1);
  if (!tune(x, store, 12, true, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.n, 1);
  assert_true(r.rows[0].library_ns > 14000 && r.rows[0].library_ns < 16000);  // the second of what it thinks best
  assert_int_equal(r.rows[0].against_library.verdict, TS_SLOWER);
  assert_true(r.rows[0].best_ns > r.rows[0].library_ns);
  assert_int_equal(number(x, store, "SELECT count(*) FROM candidate WHERE generator LIKE 'library %'"), 2);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner w, build b, candidate c WHERE b.id = w.build_id AND c.id = b.candidate_id AND c.generator NOT LIKE 'library %'"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM comparison p, build b, candidate c WHERE b.id = p.b_build_id AND c.id = b.candidate_id AND c.generator LIKE 'library %' AND p.verdict = 'slower'"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM measurement WHERE rung = 1 AND timer != 'graph'"), 0);
  assert_int_equal(number(x, store, "SELECT count(*) FROM counter WHERE name = 'dram_read_bytes'"), 0);
  assert_true(number(x, store, "SELECT count(*) FROM counter WHERE name = 'power_w' AND value = 300") > 2);
}

// What the assembler says of registers, spills and doubtful code is in the rows of what it assembled.
static void assembled(void **state) {
  static const char script[] = "#!/bin/sh\n"
                               "echo \"ptxas info    : Used 30 registers, used 1 barriers\"\n"
                               "echo \"    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\"\n"
                               "echo \"ptxas warning : this might be slow\"\n"
                               "cp \"$3\" \"$5\"\n";
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "assembled.db"), *tool = ts_path_join(x->a, x->dir, "assembler");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_file_write(tool, script, sizeof script - 1, &d)) fail_msg("%s", d.message);
  assert_int_equal(chmod(tool, 0700), 0);
  setenv("TUNESMITH_PTXAS", tool, 1);
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  bool ok = tune(x, store, 4, false, &r, &d);
  unsetenv("TUNESMITH_PTXAS");
  if (!ok) fail_msg("%s", d.message);
  assert_true(number(x, store, "SELECT count(*) FROM build WHERE regs = 30 AND spills = 8 AND smem IS NOT NULL AND message = 'this might be slow'") > 0);
  assert_int_equal(number(x, store, "SELECT count(*) FROM build WHERE regs = 30 AND message IS NOT 'this might be slow'"), 0);
}

// Without the library nothing is compared with it, and nothing fails.
static void no_library(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "none.db");
  ts_tune_result r;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  if (!tune(x, store, 4, false, &r, &d)) fail_msg("%s", d.message);
  assert_true(r.rows[0].library_ns == 0);
  assert_int_equal(r.failed, 0);
  assert_int_equal(number(x, store, "SELECT count(*) FROM candidate WHERE generator LIKE 'library %'"), 0);
}

// What probe found of the device's noise is the least that counts as a difference: 70 of 100 is none where noise is a factor of two.
static void noisy(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "noisy.db");
  ts_tune_result r;
  ts_place place;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", OPERATOR " blas=56000", 1);
  ts_db *db = ts_db_open(store, TS_DB_CREATE, &d);
  bool ok = db && ts_place_put(db, &x->t, 0, &place, &d) && ts_db_set_calibration(db, place.device_id, 0.7, "", &d) && ts_place_put(db, &x->t, 0, &place, &d);
  ts_db_close(db);
  if (!ok) fail_msg("%s", d.message);
  assert_true(place.noise == 0.7);
  if (!tune(x, store, 4, false, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.rows[0].against_library.verdict, TS_SAME);
}

static pid_t start(fixture *x, const char *store) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid) return pid;
  ts_diag d = {0};
  ts_tune_result r;
  ts_interrupt_install();
  if (!tune(x, store, 1000000, false, &r, &d)) ts_diag_print(stderr, &d), _exit(1);
  _exit(r.interrupted ? 130 : 0);
}

// --- what a build takes without records --------------------------------------------------------------------------------
// The templates are those of another folder from now on.
static void take_templates(fixture *x, const char *dir) {
  const char *link = ts_path_join(x->a, x->home, "kernels/templates");
  assert_int_equal(unlink(link), 0);
  assert_int_equal(symlink(dir, link), 0);
}

// Six native ones of one product: "first" names a start, so that builds without records take it; the others are alike.
static void write_templates(fixture *x, const char *first, const char *others) {
  const char *dir = ts_path_join(x->a, x->dir, "templates/matmul");
  ts_diag d = {0};
  if (!ts_dir_make(dir, &d)) fail_msg("%s", d.message);
  for (int i = 0; i < 6; i++) {
    char text[600], name[32];
    snprintf(name, sizeof name, "ref.%s%d.cu", i ? "other" : "first", i);
    int n = snprintf(text, sizeof text,
                     "/* tunesmith\ndoc a test\nrequires sm_90a\nparam P 1\n%slaunch k%d_%s\ngrid 1 ; 1 ; 1\nblock 32 ; 1 ; 1\nshared 0\nargs b0 b1 b2\n*/\n"
                     "extern \"C\" __global__ void k%d_%s(const float *x, const float *w, float *y) {}\n",
                     i ? "" : "start P=1\n", i, i ? others : first, i, i ? others : first);
    if (!ts_file_write(ts_path_join(x->a, dir, name), text, (size_t)n, &d)) fail_msg("%s", d.message);
  }
}

static const char *winner_of(fixture *x, const char *store, const char *timer) {
  return cell(x, store, ts_arena_printf(x->a, "SELECT c.trace FROM winner w JOIN build b ON b.id = w.build_id JOIN candidate c ON c.id = b.candidate_id WHERE w.policy LIKE 'timer=%s %%'", timer)).text;
}

// It takes part in the final though others were faster before, wins where it is as fast as they, and not where it is slower. In a whole
// step that may look otherwise than alone: the decision made there has a policy of its own, beside that of the final.
static void first_guess(void **state) {
  fixture *x = *state;
  static const struct {
    const char *first, *others;
    size_t calls;
    const char *winner, *alone;
  } rows[] = {{"ns9000", "ns6000", 0, "other", "other"}, {"ns6010", "ns6000", 0, "first", "first"}, {"ns8000_near5000", "ns6000_near7000", 3, "first", "other"},
              {"ns6000_near7000", "ns7500_near5000", 3, "other", "first"}, {"ns6000_near5003", "ns6500_near5000", 3, "first", "first"},
              {"ns6000_near5025", "ns6500_near5000", 3, "other", "first"}};
  static const ts_step_call calls[3] = {{0}};
  if (!ts_codegen_nvrtc()) skip();
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  take_templates(x, ts_path_join(x->a, x->dir, "templates"));
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_arena_printf(x->a, "%s/guess%zu.db", x->dir, i);
    ts_tune_result r;
    ts_diag d = {0};
    write_templates(x, rows[i].first, rows[i].others);
    bool ok = tune_with(x, (ts_tune_opts){.store = store, .trials = 8, .step = &(ts_tune_step){.call = calls, .n = rows[i].calls}, .nstep = rows[i].calls > 0}, &r, &d);
    if (!ok) fail_msg("%s", d.message);
    assert_int_equal(r.n, 1);
    if (!strstr(r.rows[0].winner, rows[i].winner)) fail_msg("row %zu: %s won", i, r.rows[0].winner);
    if (!strstr(winner_of(x, store, "graph"), rows[i].alone)) fail_msg("row %zu: %s won alone", i, winner_of(x, store, "graph"));
    if (rows[i].calls) assert_non_null(strstr(winner_of(x, store, "step"), rows[i].winner));
    assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), rows[i].calls ? 2 : 1);
    assert_int_equal(number(x, store, "SELECT count(*) FROM measurement m JOIN build b ON b.id = m.build_id JOIN candidate c ON c.id = b.candidate_id WHERE m.metric = 'time' AND m.rung = 1 AND c.trace LIKE '%first0%'"), 1);
    assert_int_equal(number(x, store, "SELECT count(*) FROM measurement WHERE (metric = 'step') != (timer = 'step')"), 0);
    assert_true(rows[i].calls ? r.nstep == 1 && r.step[0].ns > 0 && r.step[0].ns <= r.step[0].default_ns : r.nstep == 0);
  }
  take_templates(x, x->templates);
}

// Two workloads whose kernels tell each other apart by their number of buffers.
static bool tune_two(fixture *x, const char *settings, ts_tune_opts o, ts_tune_result *r, ts_diag *d) {
  ts_tune_task task[2] = {{.weight = 1}, {.weight = 1}};
  o.target = &x->t, o.command = "test", o.numerics = "", o.seed = 1;
  setenv("TS_FAKE_CUDA", ts_arena_printf(x->a, OPERATOR " also=silu:4:64 %s", settings), 1);
  return ts_spec_parse(x->a, WORKLOAD, &task[0].spec, d) && ts_spec_parse(x->a, "silu_mul A=f32 I=64 n=4", &task[1].spec, d) && ts_tune(x->a, task, 2, &o, r, d);
}

// Whoever fails in a final leaves it, the default too, and the other workloads have theirs.
static void failing_finals(void **state) {
  static const struct {
    const char *name, *settings;
    size_t n, failed;
    bool no_default;
  } rows[] = {{"good", "", 2, 0, false}, {"fault", "fault_after=3000:first0", 2, 0, false}, {"wrong", "wrong_after=500:k_main", 1, 1, true}, {"lost", "fault_after=500:k_main", 1, 1, true}};
  fixture *x = *state;
  if (!ts_codegen_nvrtc()) skip();
  write_templates(x, "ns6000_first0", "ns9000");
  take_templates(x, ts_path_join(x->a, x->dir, "templates"));
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_arena_printf(x->a, "%s/final-%s.db", x->dir, rows[i].name);
    ts_tune_result r;
    ts_diag d = {0};
    bool ok = tune_two(x, rows[i].settings, (ts_tune_opts){.store = store, .trials = 16}, &r, &d);
    if (!ok) fail_msg("%s: %s", rows[i].name, d.message);
    if (r.n != rows[i].n || r.failed != rows[i].failed) fail_msg("%s: %zu, %zu failed", rows[i].name, r.n, r.failed);
    assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), rows[i].n);
    if (isnan(r.rows[0].default_ns) != rows[i].no_default) fail_msg("%s: default %g ns", rows[i].name, r.rows[0].default_ns);
  }
  take_templates(x, x->templates);
}

// Where the step cannot be run, its kernels stay what a build without records takes: that others are faster alone says too little.
static void no_step(void **state) {
  fixture *x = *state;
  static const ts_step_call calls[2] = {{.part = 0}, {.part = 7}};  // of a workload that nobody tunes
  const char *store = ts_path_join(x->a, x->dir, "no_step.db");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  write_templates(x, "ns9000", "ns6000");
  take_templates(x, ts_path_join(x->a, x->dir, "templates"));
  bool ok = tune_with(x, (ts_tune_opts){.store = store, .trials = 8, .step = &(ts_tune_step){.call = calls, .n = 2}, .nstep = 1}, &r, &d);
  take_templates(x, x->templates);
  if (!ok) fail_msg("%s", d.message);
  assert_true(r.nstep == 0);
  assert_non_null(strstr(winner_of(x, store, "graph"), "first"));
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), 1);
}

// One template of an operator in a folder of templates: twelve points, the first of them the start.
static void write_blocks(fixture *x, const char *dir, const char *op, const char *args, const char *points, const char *grid, const char *name) {
  char text[600];
  ts_diag d = {0};
  const char *at = ts_path_join(x->a, x->dir, ts_arena_printf(x->a, "%s/%s", dir, op));
  int n = snprintf(text, sizeof text,
                   "/* tunesmith\ndoc a test\nrequires sm_90a\nparam P %s\nstart P=%.2s\nlaunch %s\ngrid %s ; 1 ; 1\nblock 32 ; 1 ; 1\nshared 0\nargs %s\n*/\n"
                   "extern \"C\" __global__ void %s(%s) {}\n",
                   points, points, name, grid, args, name, strstr(args, "b2") ? "const float *x, const float *w, float *y" : "const float *x, float *y");
  if (!ts_dir_make(at, &d) || !ts_file_write(ts_path_join(x->a, at, "ref.blocks.cu"), text, (size_t)n, &d)) fail_msg("%s", d.message);
}

#define FALLING "12 11 10 9 8 7 6 5 4 3 2 1"
#define RISING "1 2 3 4 5 6 7 8 9 10 11 12"

// Points around those chosen in a step are tried, though the search had no time for them.
static void around(void **state) {
  fixture *x = *state;
  static const ts_step_call calls[3] = {{0}};
  const char *store = ts_path_join(x->a, x->dir, "around.db");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  write_blocks(x, "blocks", "matmul", "b0 b1 b2", FALLING, "P", "k_ns1000_blocks");
  take_templates(x, ts_path_join(x->a, x->dir, "blocks"));
  bool ok = tune_with(x, (ts_tune_opts){.store = store, .trials = 3, .step = &(ts_tune_step){.call = calls, .n = 3}, .nstep = 1}, &r, &d);
  take_templates(x, x->templates);
  if (!ok) fail_msg("%s", d.message);
  assert_non_null(strstr(winner_of(x, store, "step"), "P=1\n"));
  assert_true(fabs(r.step[0].default_ns / r.step[0].ns - 12) < 0.1);
}

// The second of three points gains with few tokens in the cache and loses with many, the third gains less and loses nowhere. The last comparison, in
// another step where there is one, tells them apart.
static void depths(void **state) {
  static const char text[] = "/* tunesmith\ndoc a test\nrequires sm_90a\nop rope_attention_rows\nparam POINT 1 2 3\nstart POINT=1\nlaunch k_ns1000_blocks\n"
                             "grid POINT == 1 ? 10 : POINT == 2 ? (t < 600 ? 6 : 13) : (t < 600 ? 9 : 10) ; 1 ; 1\nblock 32 ; 1 ; 1\nshared 0\nargs b0 b1 b2 b3 b4 b5 d\n*/\n"
                             "extern \"C\" __global__ void k_ns1000_blocks(const float *qkv, const float *cos, const float *sin, void *kc, void *vc, float *y, const long long *dims) {}\n";
  static const struct {
    ts_step_call step, whole;
    size_t nwhole;
    const char *winner;
  } rows[] = {{{.t = {192}}, {0}, 0, "POINT=2"}, {{.t = {192, 192, 3072}}, {0}, 0, "POINT=3"}, {{.t = {192}}, {.t = {192, 192, 3072}}, 5, "POINT=3"}, {{.t = {192}}, {.t = {192, 3072}}, 5, "POINT=1"}};
  fixture *x = *state;
  ts_diag d = {0};
  const char *dir = ts_path_join(x->a, x->dir, "depths/rope_attention_rows");
  if (!ts_codegen_nvrtc()) skip();
  if (!ts_dir_make(dir, &d) || !ts_file_write(ts_path_join(x->a, dir, "ref.depths.cu"), text, sizeof text - 1, &d)) fail_msg("%s", d.message);
  setenv("TS_FAKE_CUDA", "blind", 1);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_arena_printf(x->a, "%s/depths%zu.db", x->dir, i);
    ts_tune_task task = {.weight = 1};
    ts_step_call step[3], whole[5];
    for (int k = 0; k < 3; k++) step[k] = rows[i].step;
    for (int k = 0; k < 5; k++) whole[k] = rows[i].whole;
    ts_tune_opts o = {.target = &x->t, .store = store, .trials = 3, .command = "test", .numerics = "", .seed = 1, .step = &(ts_tune_step){.call = step, .n = 3, .whole = whole, .nwhole = rows[i].nwhole}, .nstep = 1};
    ts_tune_result r;
    take_templates(x, ts_path_join(x->a, x->dir, "depths"));
    bool ok = ts_spec_parse(x->a, "rope_attention_rows A=f32 C=f16 D=64 H=8 HK=2 P=4096 n=1 t=0..4095", &task.spec, &d) && ts_tune(x->a, &task, 1, &o, &r, &d);
    take_templates(x, x->templates);
    if (!ok) fail_msg("%s", d.message);
    if (!strstr(winner_of(x, store, "step"), rows[i].winner)) fail_msg("row %zu: %s", i, winner_of(x, store, "step"));
  }
}

// A kernel that faults in a step, though not alone, costs a worker and not the choice.
static void unfit(void **state) {
  fixture *x = *state;
  static const ts_step_call calls[3] = {{0}};
  const char *store = ts_path_join(x->a, x->dir, "unfit.db");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  write_blocks(x, "unfit", "matmul", "b0 b1 b2", RISING, "P + 30", "k_ns1000_near1000_blocks_turned_unfit42");
  take_templates(x, ts_path_join(x->a, x->dir, "unfit"));
  setenv("TS_FAKE_CUDA", OPERATOR " others=200000", 1);
  bool ok = tune_with(x, (ts_tune_opts){.store = store, .trials = 12, .step = &(ts_tune_step){.call = calls, .n = 3}, .nstep = 1}, &r, &d);
  take_templates(x, x->templates);
  if (!ok) fail_msg("%s", d.message);
  assert_true(r.nstep == 1);
  assert_non_null(strstr(winner_of(x, store, "step"), "P=11\n"));
}

// A workload whose worker cannot be had again while points for the step are tried is given up, and the rest goes on.
static void gone(void **state) {
  fixture *x = *state;
  static const ts_step_call calls[3] = {{0}};
  const char *store = ts_path_join(x->a, x->dir, "gone.db");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  write_blocks(x, "gone", "matmul", "b0 b1 b2", FALLING, "P", "k_ns1000_blocks_gone5");
  take_templates(x, ts_path_join(x->a, x->dir, "gone"));
  setenv("TS_FAKE_CUDA_GONE", ts_path_join(x->a, x->dir, "is-gone"), 1);
  alarm(120);  // it waited for good
  bool ok = tune_two(x, "", (ts_tune_opts){.store = store, .trials = 6, .step = &(ts_tune_step){.call = calls, .n = 3}, .nstep = 1}, &r, &d);
  alarm(0);
  unsetenv("TS_FAKE_CUDA_GONE");
  take_templates(x, x->templates);
  if (!ok) fail_msg("%s", d.message);
  assert_int_equal(r.n, 1);
  assert_int_equal(r.failed, 1);
  assert_non_null(strstr(r.rows[0].workload, "silu_mul"));
}

static const char *step_winners(fixture *x, const char *store) {
  return cell(x, store, "SELECT group_concat(w.op || ' ' || substr(c.trace, instr(c.trace, 'P=')), ' ') FROM winner v JOIN build b ON b.id = v.build_id JOIN candidate c ON c.id = b.candidate_id "
                        "JOIN workload w ON w.id = c.workload_id WHERE v.policy LIKE 'timer=step %' ORDER BY w.op").text;
}

// A model's tuning that is interrupted, wherever that is, goes on and chooses what it would have chosen: here the points that are the slowest alone.
static void goes_on(void **state) {
  static const struct {
    const char *name, *settings;
  } rows[] = {{"whole", NULL}, {"search", "sigint_alone=30"}, {"step", "sigint_step=40"}, {"final", "sigint_alone=230"}};
  static const ts_step_call calls[4] = {{.part = 0}, {.part = 1}, {.part = 0}, {.part = 1}};
  fixture *x = *state;
  const char *first = NULL;
  if (!ts_codegen_nvrtc()) skip();
  write_blocks(x, "turned", "matmul", "b0 b1 b2", RISING, "P + 30", "k_ns1000_blocks_turned");
  write_blocks(x, "turned", "silu_mul", "b0 b1", RISING, "P + 30", "k_ns1000_blocks_turned");
  take_templates(x, ts_path_join(x->a, x->dir, "turned"));
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_arena_printf(x->a, "%s/goes-on-%s.db", x->dir, rows[i].name);
    ts_tune_opts o = {.store = store, .trials = 24, .step = &(ts_tune_step){.call = calls, .n = 4}, .nstep = 1};
    ts_tune_result r;
    ts_diag d = {0};
    if (rows[i].settings) {
      int status = 0;
      setenv("TS_FAKE_CUDA_ONCE", ts_arena_printf(x->a, "%s.once", store), 1);
      fflush(NULL);
      pid_t pid = fork();
      if (!pid) {
        ts_interrupt_install();
        if (!tune_two(x, ts_arena_printf(x->a, "others=200000 %s", rows[i].settings), o, &r, &d)) ts_diag_print(stderr, &d), _exit(1);
        _exit(r.interrupted ? 130 : 0);
      }
      assert_int_equal(waitpid(pid, &status, 0), pid);
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 130) fail_msg("%s: status %d", rows[i].name, status);
    }
    if (!tune_two(x, "others=200000", o, &r, &d)) fail_msg("%s: %s", rows[i].name, d.message);
    if (r.n != 2 || r.failed) fail_msg("%s: %zu, %zu failed", rows[i].name, r.n, r.failed);
    // what is not of a template comes after those, and is not timed at length where it is slow beside them
    assert_int_equal(number(x, store, "SELECT count(*) FROM measurement m JOIN build b ON b.id = m.build_id JOIN candidate c ON c.id = b.candidate_id WHERE c.generator NOT LIKE 'native %' AND m.rung = 0 "
                                      "AND m.stop_reason != 'slow'"), 0);
    const char *chosen = step_winners(x, store);
    if (!i) first = chosen;
    if (!strstr(chosen, "P=12") || strcmp(first, chosen) != 0) fail_msg("%s: %s instead of %s", rows[i].name, chosen, first);
  }
  take_templates(x, x->templates);
}

// Either the run was interrupted, or it had tried all there is before the signal came: this small product has few candidates.
static void interrupted(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "interrupted.db");
  int status = 0;
  setenv("TS_FAKE_CUDA", OPERATOR, 1);
  pid_t pid = start(x, store);
  for (int i = 0; i < 1200 && !ts_file_exists(store); i++) usleep(100000);
  usleep(200000);
  kill(pid, SIGINT);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) != 0) assert_int_equal(WEXITSTATUS(status), 130);
  ts_tune_result r;
  ts_diag d = {0};
  if (!tune(x, store, 8, false, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.n, 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), 1);
  assert_int_equal(number(x, store, "SELECT count(*) FROM session WHERE outcome = 'done'") >= 1, 1);
}

// The templates as they are, in a step of a small model: what they say of workspaces and dimensions serves there.
static void as_they_are(void **state) {
  fixture *x = *state;
  static const char *const texts[] = {"norm_matmul_silu q4f16_1 A=f32 I=128 K=128 eps=1e-05 n=1", "matmul_add q4f16_1 A=f32 K=128 N=128 n=1"};
  static const ts_step_link in[] = {{"x", "h"}, {"y", "act"}}, out[] = {{"x", "act"}, {"y", "h"}};
  static const ts_step_call calls[] = {{.part = 0, .nlinks = 2, .links = in}, {.part = 1, .nlinks = 2, .links = out}, {.part = 0, .nlinks = 2, .links = in}, {.part = 1, .nlinks = 2, .links = out}};
  const char *store = ts_path_join(x->a, x->dir, "as-they-are.db");
  ts_tune_task task[2] = {{.weight = 1}, {.weight = 1}};
  ts_tune_opts o = {.target = &x->t, .store = store, .trials = 2, .command = "test", .numerics = "", .seed = 1, .step = &(ts_tune_step){.call = calls, .n = TS_COUNTOF(calls)}, .nstep = 1};
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  setenv("TS_FAKE_CUDA", "blind sms=132", 1);
  ts_target wide;
  bool ok = ts_target_parse("cuda", &wide, &d);
  o.target = &wide;
  for (size_t i = 0; i < TS_COUNTOF(texts) && ok; i++) ok = ts_spec_parse(x->a, texts[i], &task[i].spec, &d);
  if (!ok || !ts_tune(x->a, task, TS_COUNTOF(texts), &o, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.n, 2);
  assert_int_equal(r.failed, 0);
  assert_true(r.nstep == 1 && r.step[0].ns <= r.step[0].default_ns);
  assert_int_equal(number(x, store, "SELECT count(*) FROM winner WHERE policy LIKE 'timer=step %'"), 2);
  assert_int_equal(number(x, store, "SELECT count(*) FROM verdict WHERE outcome != 'ok'"), 0);
}

// --- passes of few rows -----------------------------------------------------------------------------------------------------
#define ROWS "matmul q0f32 A=f32 K=32 N=64 n=4"

// A decode step of one product, and a pass of four rows: the same product for so many, and an operator for any number of rows between two of its calls.
static bool tune_passes(fixture *x, const char *settings, const char *between, ts_tune_opts o, ts_tune_result *r, ts_diag *d) {
  static const char *const texts[] = {WORKLOAD, ROWS};
  static const ts_step_call one[] = {{.part = 0}, {.part = 0}, {.part = 0}}, few[] = {{.part = 1}, {.part = 2}, {.part = 1}};
  static const ts_tune_step steps[] = {{.rows = 1, .call = one, .n = 3}, {.rows = 4, .call = few, .n = 3}};
  ts_tune_task task[3] = {{.weight = 1}, {.weight = 1}, {.weight = 1}};
  o.target = &x->t, o.command = "test", o.numerics = "", o.seed = 1, o.step = steps, o.nstep = TS_COUNTOF(steps);
  setenv("TS_FAKE_CUDA", ts_arena_printf(x->a, "blind others=900000 %s", settings), 1);
  for (size_t i = 0; i < 2; i++)
    if (!ts_spec_parse(x->a, texts[i], &task[i].spec, d)) return false;
  return ts_spec_parse(x->a, between, &task[2].spec, d) && ts_tune(x->a, task, 3, &o, r, d);
}

static const char *winner_in(fixture *x, const char *store, const char *timer, const char *workload) {
  const char *n = strrchr(workload, ' ') + 1;
  ts_db_cell c = cell(x, store, ts_arena_printf(x->a, "SELECT coalesce((SELECT c.trace FROM winner v JOIN build b ON b.id = v.build_id JOIN candidate c ON c.id = b.candidate_id JOIN workload w ON "
                                                      "w.id = v.workload_id WHERE v.policy LIKE 'timer=%s %%' AND w.op = '%.*s' AND w.shape LIKE '%%%s'), 'none')",
                                                timer, (int)strcspn(workload, " "), workload, n));
  return c.text;
}

// What serves the pass's rows alone is chosen in it, though something else is faster by itself; what serves any number of rows only takes part and stays what builds
// take without records, however slow it is alone, and where it has not run the pass does without it. Where the pass cannot be run, its kernels stay what builds without records take.
static void passes(void **state) {
  static const struct {
    const char *name, *settings, *between, *first, *others, *chosen, *alone;
    size_t n, steps, failed;
  } rows[] = {{"chosen", "", "silu_mul A=f32 I=64 n=4..16%4", "ns6000_near7000", "ns7500_near5000", "other", "first", 3, 2, 0},
              {"missing", "room=200", "silu_mul A=f32 I=2097152 n=4..16%4", "ns6000_near7000", "ns7500_near5000", "other", "first", 2, 2, 1},
              {"refused", "", "silu_mul A=f32 I=64 n=8..16%8", "ns9000_near7000", "ns7500_near5000", "none", "first", 3, 1, 0}};
  fixture *x = *state;
  if (!ts_codegen_nvrtc()) skip();
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_arena_printf(x->a, "%s/passes-%s.db", x->dir, rows[i].name);
    ts_tune_result r;
    ts_diag d = {0};
    write_templates(x, rows[i].first, rows[i].others);
    write_blocks(x, "templates", "silu_mul", "b0 b1", FALLING, "P", "k_ns5000_blocks");
    take_templates(x, ts_path_join(x->a, x->dir, "templates"));
    bool ok = tune_passes(x, rows[i].settings, rows[i].between, (ts_tune_opts){.store = store, .trials = 24}, &r, &d);
    take_templates(x, x->templates);
    if (!ok) fail_msg("%s: %s", rows[i].name, d.message);
    if (r.n != rows[i].n || r.failed != rows[i].failed || r.nstep != rows[i].steps) fail_msg("%s: %zu workloads, %zu failed, %zu steps", rows[i].name, r.n, r.failed, r.nstep);
    assert_int_equal(r.step[0].rows, 1);
    if (!strstr(winner_in(x, store, "step", WORKLOAD), "other")) fail_msg("%s: %s in the decode step", rows[i].name, winner_in(x, store, "step", WORKLOAD));
    if (!strstr(winner_in(x, store, "step", ROWS), rows[i].chosen)) fail_msg("%s: %s in the pass", rows[i].name, winner_in(x, store, "step", ROWS));
    if (!strstr(winner_in(x, store, "graph", ROWS), rows[i].alone)) fail_msg("%s: %s alone", rows[i].name, winner_in(x, store, "graph", ROWS));
    assert_string_equal(winner_in(x, store, "step", rows[i].between), "none");
    if (!rows[i].failed && !strstr(winner_in(x, store, "graph", rows[i].between), "P=12\n")) fail_msg("%s: %s between", rows[i].name, winner_in(x, store, "graph", rows[i].between));
    // and is not searched for beyond the first batch
    int64_t tried = number(x, store, "SELECT count(*) FROM candidate c JOIN workload w ON w.id = c.workload_id WHERE w.op = 'silu_mul'");
    if (tried > 7) fail_msg("%s: %lld candidates", rows[i].name, (long long)tried);
    if (rows[i].steps < 2) continue;
    assert_int_equal(r.step[1].rows, 4);
    if (fabs(r.step[1].default_ns - r.step[1].ns - 2 * 2000) > 10) fail_msg("%s: %g instead of %g", rows[i].name, r.step[1].ns, r.step[1].default_ns);
    assert_true(rows[i].failed ? fabs(r.step[1].ns - 2 * 5000) < 10 : r.step[1].ns > 2 * 5000 + 1000);
  }
}

// A pass that is interrupted goes on and chooses what it would have chosen, without a kernel that faults in it though not alone.
static void pass_goes_on(void **state) {
  fixture *x = *state;
  const char *chosen[2] = {0};
  if (!ts_codegen_nvrtc()) skip();
  write_blocks(x, "pass", "matmul", "b0 b1 b2", RISING, "P + 30", "k_ns1000_blocks_turned_unfit42");
  take_templates(x, ts_path_join(x->a, x->dir, "pass"));
  for (int i = 0; i < 2; i++) {
    const char *store = ts_arena_printf(x->a, "%s/pass-%d.db", x->dir, i);
    static const ts_step_call few[] = {{.part = 0}, {.part = 0}, {.part = 0}};
    ts_tune_opts o = {.store = store, .trials = 12, .step = &(ts_tune_step){.rows = 4, .call = few, .n = 3}, .nstep = 1};
    ts_tune_result r;
    ts_diag d = {0};
    setenv("TS_FAKE_CUDA", i ? OPERATOR " others=200000 sigint_step=40" : OPERATOR " others=200000", 1);
    if (i) {
      int status = 0;
      setenv("TS_FAKE_CUDA_ONCE", ts_arena_printf(x->a, "%s.once", store), 1);
      fflush(NULL);
      pid_t pid = fork();
      if (!pid) {
        ts_interrupt_install();
        if (!tune_with(x, o, &r, &d)) ts_diag_print(stderr, &d), _exit(1);
        _exit(r.interrupted && !r.nstep ? 130 : 0);
      }
      assert_int_equal(waitpid(pid, &status, 0), pid);
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 130) fail_msg("status %d", status);
      assert_int_equal(number(x, store, "SELECT count(*) FROM winner WHERE policy LIKE 'timer=step %'"), 0);
      unsetenv("TS_FAKE_CUDA_ONCE");
      setenv("TS_FAKE_CUDA", OPERATOR " others=200000", 1);
    }
    if (!tune_with(x, o, &r, &d)) fail_msg("%s", d.message);
    assert_int_equal(r.nstep, 1);
    chosen[i] = winner_of(x, store, "step");
  }
  take_templates(x, x->templates);
  if (!strstr(chosen[0], "P=11\n")) fail_msg("%s", chosen[0]);
  assert_string_equal(chosen[0], chosen[1]);
}

// Within a budget that leaves a pass no time, its kernels stay what builds without records take, and nothing is later than it may be.
static void no_time_for_passes(void **state) {
  fixture *x = *state;
  const char *store = ts_path_join(x->a, x->dir, "no-time.db");
  ts_tune_result r;
  ts_diag d = {0};
  if (!ts_codegen_nvrtc()) skip();
  write_templates(x, "ns9000", "ns6000");
  take_templates(x, ts_path_join(x->a, x->dir, "templates"));
  uint64_t begin = ts_now_ns();
  bool ok = tune_passes(x, "", "silu_mul A=f32 I=64 n=4..16%4", (ts_tune_opts){.store = store, .budget_s = 4}, &r, &d);
  take_templates(x, x->templates);
  if (!ok) fail_msg("%s", d.message);
  assert_true((double)(ts_now_ns() - begin) * 1e-9 < 12);
  for (size_t i = 0; i < r.nstep; i++) assert_int_equal(r.step[i].rows, 1);
  assert_string_equal(winner_in(x, store, "step", ROWS), "none");
  assert_null(strstr(winner_in(x, store, "graph", ROWS), "other"));
}

// Before anything asks where the kernels are.
static bool link_kernels(fixture *x) {
  static const char *const parts[] = {"ops", "quant", "intrin", "templates"};
  const char *from = ts_arena_strdup(x->a, getenv("TUNESMITH_HOME")), *to = ts_path_join(x->a, x->home = ts_path_join(x->a, x->dir, "home"), "kernels");
  ts_diag d = {0};
  if (!ts_dir_make(to, &d)) return false;
  for (size_t i = 0; i < TS_COUNTOF(parts); i++)
    if (symlink(x->templates = ts_arena_printf(x->a, "%s/kernels/%s", from, parts[i]), ts_path_join(x->a, to, parts[i]))) return false;
  return setenv("TUNESMITH_HOME", x->home, 1) == 0;
}

static int setup(void **state) {
  fixture *x = calloc(1, sizeof *x);
  ts_diag d = {0};
  x->a = ts_arena_new("test");
  snprintf(x->dir, sizeof x->dir, "/tmp/ts-gpu-tune-XXXXXX");
  *state = x;
  if (!mkdtemp(x->dir) || !link_kernels(x) || setenv("XDG_RUNTIME_DIR", x->dir, 1) != 0) return -1;  // a lock of our own: other programs may measure
  return ts_target_parse("cuda", &x->t, &d) ? 0 : -1;
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

// A final in which heat slowed the device names no winner unless that is accepted; a power cap does not matter.
static void unstable(void **state) {
  static const struct {
    const char *name, *sensors;
    bool accept, told, recorded;
  } rows[] = {{"hot", "throttle=32", false, true, false}, {"accepted", "throttle=32", true, true, true}, {"capped", "throttle=4", false, false, true}};
  fixture *x = *state;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *store = ts_path_join(x->a, x->dir, ts_arena_printf(x->a, "%s.db", rows[i].name));
    ts_tune_result r;
    ts_diag d = {0};
    setenv("TS_FAKE_CUDA", ts_arena_printf(x->a, OPERATOR " %s", rows[i].sensors), 1);
    if (!tune_with(x, (ts_tune_opts){.store = store, .trials = 3, .accept_unstable = rows[i].accept}, &r, &d)) fail_msg("%s", d.message);
    assert_int_equal(r.rows[0].unstable, rows[i].told);
    assert_int_equal(number(x, store, "SELECT count(*) FROM winner"), rows[i].recorded);
    assert_int_equal(number(x, store, "SELECT count(*) FROM session WHERE outcome = 'unstable'"), rows[i].told);
    assert_true(number(x, store, "SELECT count(*) FROM measurement WHERE rung = 1 AND flagged = n") > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(assembled), cmocka_unit_test(no_library), cmocka_unit_test(noisy), cmocka_unit_test(unstable), cmocka_unit_test(first_guess), cmocka_unit_test(failing_finals), cmocka_unit_test(no_step), cmocka_unit_test(around), cmocka_unit_test(depths), cmocka_unit_test(gone), cmocka_unit_test(unfit), cmocka_unit_test(goes_on), cmocka_unit_test(as_they_are), cmocka_unit_test(interrupted), cmocka_unit_test(passes), cmocka_unit_test(pass_goes_on), cmocka_unit_test(no_time_for_passes)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
