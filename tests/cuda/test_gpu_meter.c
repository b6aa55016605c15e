// The GPU's measuring worker on a driver without a GPU (fake_cuda.c): right, wrong, careless, faulting and hanging kernels.
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "cuda/cuda.h"
#include "device/device.h"
#include "measure/measure.h"
#include "search/search.h"
#include "target/gpu.h"

typedef struct fixture {
  ts_arena *a;
  ts_target t;
  ts_compiler *c;
  ts_workload *w;
  ts_meter *m;
  const ts_func *f;
  uint64_t tag;
} fixture;

static void open_meter_with(fixture *x, const char *workload, const char *settings, const ts_meter_opts *o) {
  ts_diag d = {0};
  ts_spec spec;
  setenv("TS_FAKE_CUDA", settings, 1);
  x->a = ts_arena_new("test");
  bool ok = ts_target_parse("cuda", &x->t, &d) && ts_spec_parse(x->a, workload, &spec, &d) && (x->c = ts_compiler_open(&x->t, 1, NULL, &d)) &&
            (x->w = ts_workload_open(&spec, &x->t, x->c, &d)) && (x->m = ts_meter_open(x->w, o, &d));
  if (!ok) fail_msg("%s", d.message);
  x->f = ts_workload_reference(x->w);
}

static void open_meter(fixture *x, const char *workload, const char *settings) {
  open_meter_with(x, workload, settings, &(ts_meter_opts){.timeout_s = 20, .seed = 4});
}

static void close_meter(fixture *x) {
  ts_meter_close(x->m);
  ts_workload_close(x->w);
  ts_compiler_close(x->c);
  ts_arena_free(x->a);
  *x = (fixture){0};
}

// An artifact whose code behaves as told; dynamic=N: its launches give N bytes of shared memory.
static ts_object artifact(fixture *x, const char *behaviour, const char *workspace) {
  static const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_BUFFER, 1}, {TS_GPU_BUFFER, 2}, {TS_GPU_WORKSPACE, 0}};
  bool three = x->f->nparams == 3;
  const ts_gpu_arg two[] = {args[0], args[1], args[3]};
  const char *dynamic = strstr(behaviour, "dynamic="), *shared = dynamic ? ts_arena_printf(x->a, "%d", atoi(dynamic + strlen("dynamic="))) : "0";
  ts_gpu_launch l = {.entry = "k", .grid = {"1", "1", "1"}, .block = {32, 1, 1}, .shared = shared, .cluster = {1, 1, 1}, .nargs = three ? 4 : 3, .args = three ? args : two};
  char *image = ts_arena_printf(x->a, "//fake %s", behaviour);
  ts_gpu_code code = {.arch = "sm_90a", .nparams = x->f->nparams, .registers = -1, .spills = -1, .workspace = workspace, .zeroed = workspace, .nlaunches = 1, .launches = &l, .kind = TS_GPU_PTX,
                      .image = image, .image_n = strlen(image)};
  ts_text t = {0};
  ts_gpu_code_write(&t, &code);
  ts_object o = {.symbol = "k", .id = ts_sha256_of(t.p, t.n), .bytes = ts_arena_dup(x->a, t.p, t.n), .n = t.n};
  ts_text_free(&t);
  return o;
}

static ts_outcome_row run_with(fixture *x, const char *behaviour, const char *workspace) {
  ts_object o = artifact(x, behaviour, workspace);
  ts_candidate c = {.func = x->f, .object = &o};
  ts_outcome_row r;
  ts_diag d = {0};
  if (!ts_meter_run(x->m, ++x->tag, &c, &ts_effort_search, x->a, &r, &d)) fail_msg("%s", d.message);
  return r;
}

static ts_outcome_row run(fixture *x, const char *behaviour) { return run_with(x, behaviour, "64"); }

#define SILU "silu_mul A=f32 I=64 n=4", "op=silu:4:64"

static void verdicts(void **state) {
  (void)state;
  fixture x = {0};
  open_meter(&x, SILU);
  ts_outcome_row r = run(&x, "right ns=5000");
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  assert_string_equal(r.timer, "graph");
  assert_true(r.n >= 8);
  assert_true(fabs(r.stats.median - 5000) < 1);
  assert_true(fabs(r.clocks[0] - 1980) < 5);
  assert_int_equal(r.state.registers, 40);
  static const struct {
    const char *behaviour;
    ts_outcome_kind kind;
    const char *says;
  } rows[] = {{"wrong", TS_WRONG, "differs"}, {"short", TS_WRONG, "differs"}, {"input", TS_WRONG, "input x"}, {"outside", TS_GUARD, "outside y"}, {"dirty", TS_WRONG, "zero"}, {"refuse", TS_CRASHED, "launching k"}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    r = run(&x, rows[i].behaviour);
    if (r.kind != rows[i].kind || !strstr(r.message, rows[i].says)) fail_msg("%s: %s: %s", rows[i].behaviour, ts_outcome_kind_name(r.kind), r.message);
    assert_int_equal(r.n, 0);
    assert_int_equal(run(&x, "right").kind, TS_MEASURED);  // and the next is not harmed by it
  }
  assert_int_equal(ts_meter_restarts(x.m), 0);
  close_meter(&x);
}

// What is right again and again for one and the same data only is found out by other data after the last sample.
static void remembering(void **state) {
  (void)state;
  fixture x = {0};
  open_meter(&x, SILU);
  ts_outcome_row r = run(&x, "remembers ns=5000");
  if (r.kind != TS_WRONG || !strstr(r.message, "other data")) fail_msg("%s: %s", ts_outcome_kind_name(r.kind), r.message);
  for (int i = 0; i < 2; i++) {
    r = run(&x, "right ns=5000");  // the data are the first ones again
    if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  }
  close_meter(&x);
  open_meter_with(&x, SILU, &(ts_meter_opts){.timeout_s = 20, .seed = 4, .judge = true});
  assert_int_equal(run(&x, "remembers").kind, TS_WRONG);
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  close_meter(&x);
}

// Leave for more shared memory than every kernel has is asked for when what it has itself and what a launch gives are more together.
static void shared_memory(void **state) {
  (void)state;
  fixture x = {0};
  static const char *const behaviours[] = {"right dynamic=49152", "right dynamic=49153", "right static=20000 dynamic=29152", "right static=20000 dynamic=29153"};
  open_meter(&x, SILU);
  for (size_t i = 0; i < TS_COUNTOF(behaviours); i++) {
    ts_outcome_row r = run(&x, behaviours[i]);
    if (r.kind != TS_MEASURED) fail_msg("%s: %s", behaviours[i], r.message);
  }
  close_meter(&x);
}

// The context is lost with a fault or a hang: the worker is replaced, and what it had is given to the next one when it is wanted.
static void faults(void **state) {
  (void)state;
  fixture x = {0};
  open_meter(&x, SILU);
  assert_int_equal(run(&x, "right ns=5000").kind, TS_MEASURED);
  uint64_t fast = x.tag;
  ts_outcome_row r = run(&x, "fault");
  assert_int_equal(r.kind, TS_CRASHED);
  assert_non_null(strstr(r.message, "ILLEGAL_ADDRESS"));
  assert_int_equal(ts_meter_restarts(x.m), 1);
  assert_int_equal(run(&x, "right ns=9000").kind, TS_MEASURED);
  uint64_t slow = x.tag;
  uint64_t begin = ts_now_ns();
  r = run(&x, "hang");
  assert_int_equal(r.kind, TS_TIMED_OUT);
  assert_non_null(strstr(r.message, "no end after 1000 ms"));
  assert_true(ts_now_ns() - begin < 15000000000);  // not when the request timed out
  assert_int_equal(ts_meter_restarts(x.m), 2);
  ts_outcome_row f[2];
  ts_diag d = {0};
  if (!ts_meter_final(x.m, (uint64_t[]){fast, slow}, 2, 12, 5, x.a, f, &d)) fail_msg("%s", d.message);
  ts_compare c = ts_compare_paired(f[0].samples, f[1].samples, TS_MIN(f[0].n, f[1].n), 0.01);
  assert_int_equal(c.verdict, TS_FASTER);
  assert_true(fabs(f[1].stats.median - 9000) < 1);
  close_meter(&x);
}

// One worker for several workloads in turn: what was loaded for the one before is gone, faults are told as ever, and the next turn goes on.
static void turns(void **state) {
  (void)state;
  fixture x = {0};
  ts_diag d = {0};
  ts_outcome_row f;
  open_meter(&x, SILU);
  ts_workload *other = ts_workload_open(ts_workload_spec(x.w), &x.t, x.c, &d);
  if (!other) fail_msg("%s", d.message);
  const ts_workload *all[] = {x.w, other};
  ts_meter_close(x.m);
  x.m = ts_meter_start_all(all, 2, &(ts_meter_opts){.timeout_s = 20, .seed = 4}, &d);
  if (!x.m || !ts_meter_wait(x.m, &d)) fail_msg("%s", d.message);
  for (size_t i = 0; i < 6; i++) {
    if (!ts_meter_turn(x.m, i % 2, &d)) fail_msg("%s", d.message);
    if (x.tag && (!ts_meter_final(x.m, &x.tag, 1, 5, 5, x.a, &f, &d) || !strstr(f.message, "not loaded"))) fail_msg("turn %zu: %s%s", i, d.message, f.message);
    assert_int_equal(run(&x, "outside").kind, TS_GUARD);
    ts_outcome_row r = run(&x, "right ns=5000");
    if (r.kind != TS_MEASURED || fabs(r.stats.median - 5000) > 1) fail_msg("turn %zu: %s", i, r.message);
    assert_int_equal(ts_meter_restarts(x.m), i / 3);
    if (i == 2) assert_int_equal(run(&x, "fault").kind, TS_CRASHED);
    if (i == 2) assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  }
  close_meter(&x);
  ts_workload_close(other);
}

// A candidate of 2 us, and after it one that takes as long as `how` says beside it: candidates 1 and 2.
static ts_outcome_row run_beside_fast(fixture *x, const char *how) {
  ts_diag d = {0};
  ts_outcome_row r;
  open_meter(x, SILU);
  assert_int_equal(run(x, "right ns=2000").kind, TS_MEASURED);
  ts_object o = artifact(x, how, "64");
  ts_effort e = ts_effort_search;
  e.give_up_ns = 2600;
  e.patient = true;
  if (!ts_meter_run(x->m, ++x->tag, &(ts_candidate){.func = x->f, .object = &o}, &e, x->a, &r, &d)) fail_msg("%s", d.message);
  assert_int_equal(r.kind, TS_MEASURED);
  return r;
}

// A candidate a hundred thousand times slower than the best leaves with its first calls; in a final it is timed like the others, and told from
// the fastest.
static void slow(void **state) {
  (void)state;
  fixture x = {0};
  ts_diag d = {0};
  ts_outcome_row r = run_beside_fast(&x, "right ns=200000000"), f[2];
  assert_string_equal(r.stop, "slow");
  assert_string_equal(r.timer, "event");
  assert_int_equal(r.n, 1);
  if (!ts_meter_final(x.m, (uint64_t[]){1, 2}, 2, 12, 5, x.a, f, &d)) fail_msg("%s", d.message);
  assert_string_equal(f[1].timer, "graph");
  assert_true(fabs(f[1].stats.median - 2e8) < 1000);
  assert_int_equal(f[1].n, 5);
  assert_int_equal(ts_compare_paired(f[0].samples, f[1].samples, TS_MIN(f[0].n, f[1].n), 0.01).verdict, TS_FASTER);
  close_meter(&x);
}

#define PRODUCT "matmul q0f32 A=f32 K=32 N=64 n=1", "op=product:1:64:32 reads=200000000"

// No call is faster than reading its cold weights; what was measured of the memory may be less than what its pins let in, and accuses nobody then.
static void implausible(void **state) {
  (void)state;
  fixture x = {0};
  open_meter_with(&x, PRODUCT, &(ts_meter_opts){.timeout_s = 20, .seed = 4});
  ts_outcome_row r = run(&x, "right ns=500");
  if (r.kind != TS_WRONG || !strstr(r.message, "implausible: 0.5 us")) fail_msg("%s: %s", ts_outcome_kind_name(r.kind), r.message);
  close_meter(&x);
  open_meter_with(&x, PRODUCT " pins=100000000", &(ts_meter_opts){.timeout_s = 20, .seed = 4});
  r = run(&x, "right ns=500");
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  close_meter(&x);
}

// Who is found out in the final leaves it, and says why; the others are timed to the end.
static void found_out(void **state) {
  (void)state;
  fixture x = {0};
  ts_diag d = {0};
  ts_outcome_row f[2];
  open_meter_with(&x, PRODUCT, &(ts_meter_opts){.timeout_s = 20, .seed = 4});
  assert_int_equal(run(&x, "right ns=100000").kind, TS_MEASURED);
  ts_outcome_row r = run(&x, "right ns=90000 calls=3000 then=500");
  if (r.kind != TS_MEASURED || r.stats.median < 80000) fail_msg("%s: %g ns", r.message, r.stats.median);
  if (!ts_meter_final(x.m, (uint64_t[]){2, 1}, 2, 1000, 60, x.a, f, &d)) fail_msg("%s", d.message);
  if (f[0].kind != TS_WRONG || !strstr(f[0].message, "implausible")) fail_msg("%s: %s", ts_outcome_kind_name(f[0].kind), f[0].message);
  assert_int_equal(f[1].kind, TS_MEASURED);
  assert_int_equal(f[1].n, 1000);
  close_meter(&x);
}

// Nor does one that cannot be timed end it for the others, however often it is held.
static void no_graph(void **state) {
  (void)state;
  fixture x = {0};
  ts_diag d = {0};
  ts_outcome_row f[2];
  (void)run_beside_fast(&x, "right ns=200000000 nograph");
  for (int i = 0; i < 2; i++) {
    if (!ts_meter_final(x.m, (uint64_t[]){2, 1}, 2, 12, 5, x.a, f, &d)) fail_msg("%s", d.message);
    if (f[0].kind != TS_CRASHED || !strstr(f[0].message, "graph")) fail_msg("%s: %s", ts_outcome_kind_name(f[0].kind), f[0].message);
    if (f[1].kind != TS_MEASURED) fail_msg("%s", f[1].message);
    assert_int_equal(f[1].n, 12);
  }
  assert_int_equal(ts_meter_restarts(x.m), 0);
  close_meter(&x);
}

// What takes milliseconds over a few kilobytes of weights does not go round all of their copies for a sample.
static void busy_elsewhere(void **state) {
  (void)state;
  fixture x = {0};
  open_meter_with(&x, "matmul q0f32 A=f32 K=32 N=64 n=1", "op=product:1:64:32", &(ts_meter_opts){.timeout_s = 20, .seed = 4});
  ts_outcome_row r = run(&x, "right ns=2000000 calls=100 then=4000000");
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  if (fabs(r.stats.median - 2e6) > 1e4) fail_msg("%g ns: more than a hundred calls", r.stats.median);
  assert_true(r.n >= 5);
  close_meter(&x);
}

// Where only verdicts are wanted, a candidate is verified before and after a few calls, and nothing more is run.
static void judged(void **state) {
  (void)state;
  fixture x = {0};
  open_meter_with(&x, SILU, &(ts_meter_opts){.timeout_s = 20, .seed = 4, .judge = true});
  ts_outcome_row r = run(&x, "right ns=5000");
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  assert_int_equal(r.n, 1);
  assert_string_equal(r.stop, "judged");
  assert_string_equal(r.timer, "event");
  assert_int_equal(run(&x, "wrong").kind, TS_WRONG);
  assert_int_equal(run(&x, "outside").kind, TS_GUARD);
  assert_int_equal(run(&x, "hang").kind, TS_TIMED_OUT);
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  close_meter(&x);
}

static ts_meter_opts spans = {.timeout_s = 20, .seed = 4, .spans = true};

// Candidates before a final by CUPTI's records, finals by graphs; what is lost of the records costs the candidate, not the worker.
static void records(void **state) {
  (void)state;
  fixture x = {0};
  open_meter_with(&x, SILU " launch=5000", &spans);
  ts_outcome_row r = run(&x, "right ns=5000"), f;
  uint64_t tag = x.tag;
  ts_diag d = {0};
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  assert_string_equal(r.timer, "cupti");
  assert_true(fabs(r.stats.median - 5000) < 1);  // what a launch takes is not in it
  assert_true(fabs(r.clocks[0] - 1980) < 5);
  assert_int_equal(run(&x, "wrong").kind, TS_WRONG);
  if (!ts_meter_final(x.m, &tag, 1, 12, 5, x.a, &f, &d)) fail_msg("%s", d.message);
  assert_string_equal(f.timer, "graph");
  assert_true(fabs(f.stats.median - 5000) < 1);
  r = run(&x, "right ns=7000");
  assert_string_equal(r.timer, "cupti");
  close_meter(&x);
  open_meter_with(&x, "silu_mul A=f32 I=64 n=4", "op=silu:4:64 drop=7", &spans);
  r = run(&x, "right ns=5000");
  assert_int_equal(r.kind, TS_CRASHED);
  assert_non_null(strstr(r.message, "kernels of"));
  assert_int_equal(ts_meter_restarts(x.m), 0);
  close_meter(&x);
  open_meter_with(&x, "silu_mul A=f32 I=64 n=4", "op=silu:4:64 cupti=35", &spans);
  r = run(&x, "right ns=5000");
  assert_string_equal(r.timer, "graph");
  close_meter(&x);
}

// --- a whole step -----------------------------------------------------------------------------------------------------------
static int add(fixture *x, ts_step *s, size_t part, const char *behaviour) {
  ts_object o = artifact(x, behaviour, "64");
  ts_diag d = {0};
  int id = -1;
  if (!ts_step_add(s, part, x->f, &o, &id, &d)) fail_msg("%s", d.message);
  return id;
}

// Ways to do a step of four calls of two parts: each is timed as a whole. A kernel that is no kernel does not take part and harms nobody; one that
// faults ends the worker, which is said.
static void step(void **state) {
  (void)state;
  fixture x = {0};
  enum { ROUNDS = 6 };
  ts_diag d = {0};
  double ns[3 * ROUNDS];
  int id;
  open_meter(&x, SILU);
  const ts_workload *parts[] = {x.w, x.w};
  const ts_step_call calls[] = {{.part = 0}, {.part = 1}, {.part = 0}, {.part = 1}};
  ts_step *s = ts_step_open(parts, 2, calls, 4, 0, 1, &d);
  if (!s) fail_msg("%s", d.message);
  int quick = add(&x, s, 0, "right ns=5000 near=9000"), slow_alone = add(&x, s, 0, "right ns=7000 near=6000"), other = add(&x, s, 1, "right ns=1000");
  ts_object none = {.symbol = "k", .bytes = "nothing", .n = 7};
  assert_false(ts_step_add(s, 0, x.f, &none, &id, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  const int pick[] = {quick, other, slow_alone, other, quick, other};
  static const double want[] = {20000, 14000, 20000};
  if (!ts_step_time(s, pick, 3, ROUNDS, ns, &d)) fail_msg("%s", d.message);
  for (int i = 0; i < 3; i++)
    for (int r = 0; r < ROUNDS; r++) assert_true(fabs(ns[i * ROUNDS + r] - want[i]) < 1);
  int bad = add(&x, s, 1, "fault");
  assert_false(ts_step_time(s, (int[]){quick, bad}, 1, ROUNDS, ns, &d));
  assert_string_equal(d.code, "step-failed");
  assert_non_null(strstr(d.message, "ILLEGAL_ADDRESS"));
  assert_false(ts_step_time(s, pick, 1, ROUNDS, ns, &d));
  assert_string_equal(d.code, "step-failed");
  ts_step_close(s);
  close_meter(&x);
}

// Parameters with one name share memory, others are each call's own. "cold" is slow where the memory is that of the launch before.
static void step_memory(void **state) {
  (void)state;
  static const ts_step_link same[] = {{"y", "h"}}, another[] = {{"y", "i"}}, unused[] = {{"z", "h"}};
  static const struct {
    ts_step_call calls[2];
    double ns;
  } rows[] = {{{{.nlinks = 1, .links = same}, {.nlinks = 1, .links = same}}, 20000}, {{{.nlinks = 1, .links = same}, {.nlinks = 1, .links = another}}, 2000}, {{{0}, {0}}, 2000},
              {{{.nlinks = 1, .links = unused}, {.nlinks = 1, .links = unused}}, 2000}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    fixture x = {0};
    ts_diag d = {0};
    double ns;
    open_meter(&x, SILU);
    const ts_workload *parts[] = {x.w};
    ts_step *s = ts_step_open(parts, 1, rows[i].calls, 2, 0, 1, &d);
    if (!s) fail_msg("%s", d.message);
    int id = add(&x, s, 0, "cold ns=1000");
    if (!ts_step_time(s, &id, 1, 1, &ns, &d)) fail_msg("%s", d.message);
    if (fabs(ns - rows[i].ns) > 1) fail_msg("row %zu: %.0f ns", i, ns);
    ts_step_close(s);
    close_meter(&x);
  }
}

// Calls have tokens in the cache of their own in each setting, and launches for the bound that the runtime has for as many; 0: as the workload is measured.
static void step_settings(void **state) {
  (void)state;
  enum { P = 2048, US = 1000 };
  static const struct {
    int64_t t[2][TS_STEP_SETTINGS];
    double us[TS_STEP_SETTINGS];  // a microsecond for each 256 positions that a call is launched for
  } rows[] = {{{{0, 100, 300, 3000}, {0, 255, 1500, 100}}, {4, 2, 10, 9}}, {{{1, 0, 255, 256}, {600, 0, 0, 0}}, {5, 4, 3, 4}}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    fixture x = {.a = ts_arena_new("test")};
    ts_diag d = {0};
    ts_spec spec;
    int id;
    setenv("TS_FAKE_CUDA", "op=silu:1:8", 1);
    bool ok = ts_target_parse("cuda", &x.t, &d) && ts_spec_parse(x.a, "rope_attention_rows A=f32 C=f16 D=16 H=2 HK=1 P=2048 n=1 t=0..2047", &spec, &d) &&
              (x.c = ts_compiler_open(&x.t, 1, NULL, &d)) && (x.w = ts_workload_open(&spec, &x.t, x.c, &d));
    if (!ok) fail_msg("%s", d.message);
    x.f = ts_workload_reference(x.w);
    assert_int_equal(ts_workload_dims(x.w)[0], (P - 1) / 4);
    const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_BUFFER, x.f->nparams - 1}};
    const char *dims[] = {"t"}, *image = "//fake ns=1000";
    ts_gpu_launch l = {.entry = "k_blocks", .grid = {"t / 256 + 1", "1", "1"}, .block = {32, 1, 1}, .shared = "0", .cluster = {1, 1, 1}, .nargs = 2, .args = args};
    ts_gpu_code code = {.arch = "sm_90a", .nparams = x.f->nparams, .ndims = 1, .dims = dims, .registers = -1, .spills = -1, .workspace = "t", .zeroed = "0", .nlaunches = 1, .launches = &l,
                        .kind = TS_GPU_PTX, .image = image, .image_n = strlen(image)};
    ts_text t = {0};
    ts_gpu_code_write(&t, &code);
    ts_object o = {.symbol = "k_blocks", .bytes = ts_arena_dup(x.a, t.p, t.n), .n = t.n};
    ts_text_free(&t);
    const ts_workload *parts[] = {x.w};
    ts_step_call calls[2] = {{0}};
    for (int k = 0; k < 2; k++) memcpy(calls[k].t, rows[i].t[k], sizeof calls[k].t);
    ts_step *s = ts_step_open(parts, 1, calls, 2, 0, 1, &d);
    if (!s || !ts_step_add(s, 0, x.f, &o, &id, &d)) fail_msg("%s", d.message);
    for (size_t v = 0; v < TS_STEP_SETTINGS; v++) {
      double ns[2] = {0};
      ok = v ? ts_step_time_in(s, v, &id, 1, 2, ns, &d) : ts_step_time(s, &id, 1, 2, ns, &d);
      if (!ok) fail_msg("%s", d.message);
      if (fabs(ns[1] - US * rows[i].us[v]) > 1) fail_msg("row %zu, setting %zu: %g ns", i, v, ns[1]);
    }
    ts_step_close(s);
    close_meter(&x);
  }
}

static ts_object with_workspace(fixture *x, const char *bytes, const char *image) {
  const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_BUFFER, x->f->nparams - 1}};
  ts_gpu_launch l = {.entry = "k", .grid = {"1", "1", "1"}, .block = {32, 1, 1}, .shared = "0", .cluster = {1, 1, 1}, .nargs = 2, .args = args};
  ts_gpu_code code = {.arch = "sm_90a", .nparams = x->f->nparams, .registers = -1, .spills = -1, .workspace = bytes, .zeroed = "0", .nlaunches = 1, .launches = &l, .kind = TS_GPU_PTX,
                      .image = image, .image_n = strlen(image)};
  ts_text t = {0};
  ts_gpu_code_write(&t, &code);
  ts_object o = {.symbol = "k", .bytes = ts_arena_dup(x->a, t.p, t.n), .n = t.n};
  ts_text_free(&t);
  return o;
}

// A kernel that tokens in the cache do not change has one workspace, at however many depths it is called.
static void step_workspace(void **state) {
  (void)state;
  static const ts_step_call calls[] = {{.t = {192, 192, 768}}, {.t = {768, 192, 768}}, {.t = {3072, 192, 768}}};
  fixture x = {0};
  ts_diag d = {0};
  double ns[2];
  int id;
  open_meter(&x, SILU " room=80");
  const ts_workload *parts[] = {x.w};
  ts_step *s = ts_step_open(parts, 1, calls, 3, 0, 1, &d);
  ts_object o = with_workspace(&x, "32000000", "//fake right ns=1000"), more = with_workspace(&x, "90000000", "//fake right ns=1000");
  if (!s || !ts_step_add(s, 0, x.f, &o, &id, &d)) fail_msg("%s", d.message);
  if (!ts_step_time(s, &id, 1, 1, ns, &d)) fail_msg("%s", d.message);
  assert_true(fabs(ns[0] - 3000) < 1);
  assert_false(ts_step_add(s, 0, x.f, &more, &id, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
  ts_step_close(s);
  close_meter(&x);
}

// Kernels that serve several numbers of rows have those of the step, buffers too.
static void step_rows(void **state) {
  (void)state;
  static const struct {
    int64_t rows;
    double ns;  // a microsecond a row
  } rows[] = {{0, 64000}, {48, 48000}, {16, 16000}};
  static const ts_step_call calls[1] = {{0}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    fixture x = {0};
    ts_diag d = {0};
    double ns;
    int id;
    open_meter_with(&x, "silu_mul A=f32 I=64 n=16..64%16", "op=silu:16:64", &(ts_meter_opts){.timeout_s = 20, .seed = 4, .judge = true});
    const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_BUFFER, 1}};
    const char *dims[] = {"n"}, *image = "//fake ns=1000";
    ts_gpu_launch l = {.entry = "k_blocks", .grid = {"n", "1", "1"}, .block = {32, 1, 1}, .shared = "0", .cluster = {1, 1, 1}, .nargs = 2, .args = args};
    ts_gpu_code code = {.arch = "sm_90a", .nparams = 2, .ndims = 1, .dims = dims, .registers = -1, .spills = -1, .workspace = "0", .zeroed = "0", .nlaunches = 1, .launches = &l,
                        .kind = TS_GPU_PTX, .image = image, .image_n = strlen(image)};
    ts_text t = {0};
    ts_gpu_code_write(&t, &code);
    ts_object o = {.symbol = "k_blocks", .bytes = ts_arena_dup(x.a, t.p, t.n), .n = t.n};
    ts_text_free(&t);
    const ts_workload *parts[] = {x.w};
    ts_step *s = ts_step_open(parts, 1, calls, 1, rows[i].rows, 1, &d);
    if (!s || !ts_step_add(s, 0, x.f, &o, &id, &d) || !ts_step_time(s, &id, 1, 1, &ns, &d)) fail_msg("%s", d.message);
    if (fabs(ns - rows[i].ns) > 1) fail_msg("%lld rows: %g ns", (long long)rows[i].rows, ns);
    ts_step_close(s);
    close_meter(&x);
  }
}

// What the driver says of power and clocks goes with the samples, and marks them.
static void sensors(void **state) {
  (void)state;
  fixture x = {0};
  open_meter(&x, "silu_mul A=f32 I=64 n=4", "op=silu:4:64 watts=650 throttle=4");
  ts_outcome_row r = run(&x, "right ns=5000");
  assert_true(r.state.watts == 650 && r.state.celsius == 45);
  assert_int_equal(r.state.throttle, 4);
  assert_true(r.n && r.flags[0] & 4);
  close_meter(&x);
  open_meter(&x, SILU);
  r = run(&x, "right ns=5000");
  assert_int_equal(r.state.throttle, 0);
  assert_true(r.n && r.flags[0] == 0);
  close_meter(&x);
}

// Seconds that `n` candidates in turn keep a device of such sensors busy, and what each sample but the first is marked with.
static double heated(const char *sensors, int n, int flags) {
  fixture x = {0};
  char with[80];
  snprintf(with, sizeof with, "op=silu:4:64 %s", sensors);
  open_meter(&x, "silu_mul A=f32 I=64 n=4", with);
  double before = ts_meter_busy_s(x.m);
  for (int i = 0; i < n; i++) {
    ts_outcome_row r = run(&x, "right ns=5000");
    assert_true(r.n > 3);
    for (size_t k = 1; k < r.n; k++) assert_int_equal(r.flags[k], flags);
  }
  double busy = ts_meter_busy_s(x.m) - before;
  close_meter(&x);
  return busy;
}

// Samples of a device that heat slows are taken again when it has cooled; those of one that stays hot are kept, marked. A power cap is waited for by nobody.
// Pauses take their time at least; that there are none shows in the best of some tries, when nothing else had the machine.
static void heat(void **state) {
  (void)state;
  enum { HOT = 1, CAPPED = 3, TRIES = 8 };
  static const struct {
    const char *sensors;
    int flags, pauses;
  } rows[] = {{"throttle=64 cools=2", 0, 2}, {"throttle=64", 4 | 8, 3}, {"throttle=8", 4 | 8, 3}, {"throttle=4", 4, 0}};
  double busy[TS_COUNTOF(rows)];
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    busy[i] = heated(rows[i].sensors, 1, rows[i].flags);
    if (busy[i] < 0.1 * rows[i].pauses) fail_msg("row %zu: %.3f s", i, busy[i]);
  }
  for (int i = 0; i < TRIES && busy[CAPPED] >= busy[HOT] - 0.1; i++) busy[CAPPED] = fmin(busy[CAPPED], heated(rows[CAPPED].sensors, 1, rows[CAPPED].flags));
  assert_true(busy[CAPPED] < busy[HOT] - 0.1);
  // of a device that never cools nobody waits for long: of ten candidates two
  double more = INFINITY;
  for (int i = 0; i < TRIES && more > 1.8; i++) more = fmin(more, heated("throttle=128", 10, 4 | 8) - heated("throttle=4", 10, 4));
  if (more > 1.8) fail_msg("%.3f s of pauses", more);
}

// A final of two candidates on a device that runs at its highest clock for 20 ms, about five rounds, and then at a lower one until it has rested. What was
// taken then is taken again, in whole rounds, so that both are timed at one clock; where rest does not help it is kept, marked, and nobody waits for long.
static void clocks(void **state) {
  (void)state;
  enum { ROUNDS = 14, BEHIND = 16 };
  static const struct {
    const char *settings;
    bool recovers;
  } rows[] = {{"op=silu:4:64 tires=20000000:1500", true}, {"op=silu:4:64 tires=60000000:1500:stays", false}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    fixture x = {0};
    ts_diag d = {0};
    ts_outcome_row f[2];
    size_t behind[2] = {0}, mixed = 0;
    open_meter(&x, "silu_mul A=f32 I=64 n=4", rows[i].settings);
    ts_effort e = ts_effort_search;
    e.max_samples = 8;
    for (int k = 0; k < 2; k++) {
      ts_object o = artifact(&x, k ? "right ns=9000" : "right ns=5000", "64");
      if (!ts_meter_run(x.m, ++x.tag, &(ts_candidate){.func = x.f, .object = &o}, &e, x.a, &f[0], &d)) fail_msg("%s", d.message);
    }
    usleep(80000);
    uint64_t begin = ts_now_ns();
    if (!ts_meter_final(x.m, (uint64_t[]){1, 2}, 2, ROUNDS, 5, x.a, f, &d)) fail_msg("%s", d.message);
    double s = (double)(ts_now_ns() - begin) * 1e-9;
    for (int r = 0; r < ROUNDS; r++) {
      bool low[2];
      for (int k = 0; k < 2; k++) {
        assert_true(f[k].kind == TS_MEASURED && f[k].n == ROUNDS);
        low[k] = f[k].clocks[r] < 0.95 * 1980;
        behind[k] += low[k];
        assert_int_equal(f[k].flags[r] & BEHIND, low[k] ? BEHIND : 0);
        if (fabs(f[k].samples[r] * f[k].clocks[r] / 1980 - (k ? 9000 : 5000)) > 50) fail_msg("%s: round %d: %g ns at %g MHz", rows[i].settings, r, f[k].samples[r], f[k].clocks[r]);
      }
      mixed += low[0] != low[1];
    }
    if (rows[i].recovers ? behind[0] || behind[1] || s < 0.1 : !behind[0] || !behind[1] || mixed > 1 || s > 4) fail_msg("%s: %zu and %zu rounds behind, %.2f s", rows[i].settings, behind[0], behind[1], s);
    close_meter(&x);
  }
}

// Weights are used in turn: never the same twice in a row, at least twice the cache in all; and nothing is faster than reading them.
static void cold(void **state) {
  (void)state;
  fixture x = {0};
  open_meter(&x, "matmul q0f32 A=f32 K=32 N=64 n=1", "op=product:1:64:32");
  ts_outcome_row r = run(&x, "cold ns=100000");
  if (r.kind != TS_MEASURED) fail_msg("%s", r.message);
  assert_true(fabs(r.stats.median - 100000) < 1);
  close_meter(&x);
}

// Counters are usually not to be had: that is said, and everything goes on.
static void counters(void **state) {
  (void)state;
  fixture x = {0};
  const double *v;
  const char *why;
  size_t n = 1;
  ts_diag d = {0};
  open_meter(&x, SILU);
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  if (!ts_meter_count(x.m, x.tag, x.a, &v, &n, &why, &d)) fail_msg("%s", d.message);
  assert_int_equal(n, 0);
  assert_non_null(strstr(why, "no range profiler"));
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  assert_int_equal(ts_meter_restarts(x.m), 0);
  close_meter(&x);
}

// Counters of the last candidate, which ran already.
static size_t count(fixture *x, const double **v, const char **why) {
  size_t n = 99;
  ts_diag d = {0};
  if (!ts_meter_count(x->m, x->tag, x->a, v, &n, why, &d)) fail_msg("%s", d.message);
  return n;
}

// Somebody else has the counters for a while, in milliseconds. Has them when this returns.
static pid_t hold_counters(const char *lock, int ms) {
  int ready[2];
  char byte = 0;
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid) {
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
  }
  int fd = open(lock, O_RDWR | O_CREAT, 0600);
  if (flock(fd, LOCK_EX) || write(ready[1], &byte, 1) != 1) _exit(1);
  usleep((useconds_t)ms * 1000);
  _exit(0);
}

// The workers of a tuning run all live until its end: each lets go of the counters when it has asked. What somebody else has for a moment is
// waited for; what stays busy is said to be so, and who may have it.
static void counting(void **state) {
  (void)state;
  fixture x = {0}, y = {0};
  const double *v;
  const char *why, *libs = getenv("TUNESMITH_CUDA_LIBS");
  char lock[] = "/tmp/ts_counters_XXXXXX", both[1000];
  int fd = mkstemp(lock);
  assert_true(fd >= 0 && libs);
  snprintf(both, sizeof both, "%s/counting:%s", libs, libs);
  char *old = strdup(libs);
  setenv("TUNESMITH_CUDA_LIBS", both, 1);
  setenv("TS_FAKE_COUNTERS", lock, 1);
  open_meter(&x, SILU);
  open_meter(&y, SILU);
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  assert_int_equal(run(&y, "right").kind, TS_MEASURED);
  for (int i = 0; i < 2; i++) {
    if (count(&x, &v, &why) == 0) fail_msg("%s", why);
    assert_true(v[TS_CUDA_COUNTER_gpu_time_ns] == 4 && v[TS_CUDA_COUNTER_dram_read_bytes] == 6);  // of two kernels
    assert_true(v[TS_CUDA_COUNTER_l2_hit_percent] == (1 * 5 + 3 * 7) / 4.0);                        // the second takes three times as long
    if (count(&y, &v, &why) == 0) fail_msg("%s", why);
  }
  pid_t pid = hold_counters(lock, 400);
  if (count(&y, &v, &why) == 0) fail_msg("%s", why);
  waitpid(pid, NULL, 0);
  pid = hold_counters(lock, 60000);
  assert_int_equal(count(&x, &v, &why), 0);
  assert_non_null(strstr(why, "HARDWARE_BUSY"));
  assert_non_null(strstr(why, "DCGM"));
  assert_int_equal(run(&x, "right").kind, TS_MEASURED);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close_meter(&x);
  close_meter(&y);
  setenv("TUNESMITH_CUDA_LIBS", old, 1);
  free(old);
  unlink(lock);
  close(fd);
}

// A vendor's library beside our kernels: what it thinks best, and second best.
static void library(void **state) {
  (void)state;
  fixture x = {0};
  static const struct {
    int choice;
    ts_outcome_kind kind;
    double ns;
  } rows[] = {{0, TS_MEASURED, 80000}, {1, TS_MEASURED, 40000}, {2, TS_CRASHED, 0}};
  open_meter(&x, "matmul q0f32 A=f32 K=32 N=64 n=1", "op=product:1:64:32 blas=80000");
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_object o;
    ts_outcome_row r;
    ts_diag d = {0};
    assert_true(ts_library_object(x.a, ts_workload_spec(x.w), x.f, &x.t, rows[i].choice, &o));
    if (!ts_meter_run(x.m, ++x.tag, &(ts_candidate){.func = x.f, .object = &o}, &ts_effort_search, x.a, &r, &d)) fail_msg("%s", d.message);
    if (r.kind != rows[i].kind) fail_msg("choice %d: %s", rows[i].choice, r.message);
    if (r.kind == TS_MEASURED) assert_true(fabs(r.stats.median - rows[i].ns) < 1);
    else assert_non_null(strstr(r.message, "no algorithm"));
  }
  static const struct {
    const char *from, *to;  // of one length
  } damage[] = {{"y b2", "y b9"}, {"cols 64", "cols -4"}, {"rows 1", "rows q"}, {"f32 x", "f64 x"}, {"add 0", "add 7"}, {"choice 0", "choice 0"}};
  for (size_t i = 0; i < TS_COUNTOF(damage); i++) {
    ts_object o;
    ts_outcome_row r;
    ts_diag d = {0};
    assert_true(ts_library_object(x.a, ts_workload_spec(x.w), x.f, &x.t, 0, &o));
    char *bytes = ts_arena_dup(x.a, o.bytes, o.n), *at = memmem(bytes, o.n, damage[i].from, strlen(damage[i].from));
    assert_non_null(at);
    memcpy(at, damage[i].to, strlen(damage[i].from));
    o.bytes = bytes;
    if (i + 1 == TS_COUNTOF(damage)) o.n--;  // its last digit is missing
    if (!ts_meter_run(x.m, ++x.tag, &(ts_candidate){.func = x.f, .object = &o}, &ts_effort_search, x.a, &r, &d)) fail_msg("%s", d.message);
    assert_int_equal(r.kind, TS_CRASHED);
  }
  assert_int_equal(ts_meter_restarts(x.m), 0);
  close_meter(&x);
  open_meter(&x, SILU);
  assert_false(ts_library_object(x.a, ts_workload_spec(x.w), x.f, &x.t, 0, &(ts_object){.n = 0}));
  close_meter(&x);
}

// A driver that shows no GPU, does not start, or shows one that there is no code for. The driver is asked once a process: each is asked
// by a child.
static void ask(int fd, void *settings) {
  ts_target t;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", settings, 1);
  if (ts_target_parse("cuda", &t, &d)) ts_target_print(&(ts_text){0}, &t);
  (void)!ts_msg_send(fd, d.code, sizeof d.code);
}

static void absent(void **state) {
  (void)state;
  static const struct {
    const char *settings, *code;
  } rows[] = {{"devices=0", "no-gpu"}, {"init=100", "no-gpu"}, {"compute=70", "unknown-gpu"}, {"devices=1", ""}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_worker w;
    ts_text t = {0};
    ts_diag d = {0};
    assert_true(ts_worker_start(&w, ask, (void *)(uintptr_t)rows[i].settings, &d));
    assert_int_equal(ts_msg_recv(w.fd, &t, 20), 1);
    assert_string_equal(t.p, rows[i].code);
    ts_text_free(&t);
    ts_worker_stop(&w, NULL);
  }
}

static void no_memory(void **state) {
  (void)state;
  fixture x = {0};
  ts_diag d = {0};
  ts_spec spec;
  setenv("TS_FAKE_CUDA", "op=silu:4:64 alloc=2", 1);
  x.a = ts_arena_new("test");
  assert_true(ts_target_parse("cuda", &x.t, &d) && ts_spec_parse(x.a, "silu_mul A=f32 I=64 n=4", &spec, &d));
  assert_non_null(x.c = ts_compiler_open(&x.t, 1, NULL, &d));
  assert_non_null(x.w = ts_workload_open(&spec, &x.t, x.c, &d));
  assert_null(ts_meter_open(x.w, &(ts_meter_opts){.timeout_s = 20}, &d));
  assert_non_null(strstr(d.message, "OUT_OF_MEMORY"));
  close_meter(&x);
}

// Every ceiling that the fake has kernels for comes out as a number.
static void probe(void **state) {
  (void)state;
  ts_target t;
  ts_probe p;
  ts_diag d = {0};
  setenv("TS_FAKE_CUDA", "", 1);
  assert_true(ts_target_parse("cuda", &t, &d));
  assert_int_equal(t.l2_bytes, 1 << 16);
  if (!ts_device_probe_gpu(&t, 0.05, &p, &d)) fail_msg("%s", d.message);
  for (int i = TS_CEILING_l2; i <= TS_CEILING_clock; i++)
    if (!(p.value[i] > 0)) fail_msg("%s is %g", ts_ceiling_name((ts_ceiling)i), p.value[i]);
  assert_true(fabs(p.value[TS_CEILING_node] - 0.7) < 0.01);
  assert_true(isnan(p.value[TS_CEILING_read_1]));
  double all = p.value[TS_CEILING_timers];  // kernels take no time there, launches and nodes do
  assert_true(all > 0 && isfinite(all));
  setenv("TS_FAKE_CUDA", "drop=2", 1);  // not all is recorded: the other two are compared
  if (!ts_device_probe_gpu(&t, 0.05, &p, &d)) fail_msg("%s", d.message);
  assert_true(p.value[TS_CEILING_timers] >= 0 && p.value[TS_CEILING_timers] <= all);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(absent), cmocka_unit_test(verdicts), cmocka_unit_test(remembering), cmocka_unit_test(shared_memory), cmocka_unit_test(faults), cmocka_unit_test(turns), cmocka_unit_test(slow), cmocka_unit_test(implausible), cmocka_unit_test(found_out), cmocka_unit_test(no_graph), cmocka_unit_test(busy_elsewhere), cmocka_unit_test(judged), cmocka_unit_test(records), cmocka_unit_test(step), cmocka_unit_test(step_memory), cmocka_unit_test(step_settings), cmocka_unit_test(step_workspace), cmocka_unit_test(step_rows), cmocka_unit_test(library), cmocka_unit_test(counters), cmocka_unit_test(counting), cmocka_unit_test(sensors), cmocka_unit_test(heat), cmocka_unit_test(clocks), cmocka_unit_test(cold), cmocka_unit_test(no_memory), cmocka_unit_test(probe)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
