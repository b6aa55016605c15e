// bench/engine: how fast candidates are made. Prints "name value unit" lines, first of bench/gemm.trace on bench/gemm.tir (a product in
// multi-level tiles, cached, tensorized), with names that begin with "gemm.", then of the largest hand-written schedule:
//   schedule.steps, schedule.replay: the schedule on a fresh function; median of the replays
//   engine.step: of that, per step; engine.candidates_per_second: copy, sample, schedule, verify and hash, one core
//   engine.candidate_bytes: the arena of a candidate at its end; engine.allocations: calls of the allocator a candidate
//   engine.refuse_over_apply: time of steps that refuse over time of like steps that apply (and are undone)
//   engine.rate_drift: the last tenth of the candidates against the first, 0: as fast
//   compile.candidate: lowering and LLVM of a candidate on one core; compile.object its size
// Usage: bench_engine [--candidates N] [--no-compile] [--gemm] [TRACE]; --gemm: the product alone
#include <stdlib.h>

#include "codegen/codegen.h"
#include "op/op.h"
#include "schedule/schedule.h"

static const char workload[] = "matmul q4f16_1 A=f32 K=576 N=1536 n=1";

// --- counting the calls of the allocator (linked with --wrap) -------------------------------------------------
static size_t allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n) { return allocations++, __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return allocations++, __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return allocations++, __real_realloc(p, n); }

// --- numbers ----------------------------------------------------------------------------------------------------
static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  return v[n / 2];
}

static double us_since(uint64_t t0) { return (double)(ts_now_ns() - t0) * 1e-3; }

// --- candidates -------------------------------------------------------------------------------------------------
typedef struct bench {
  const ts_func *func;
  const ts_trace *trace;
  int n;             // candidates to make
  double *replay;    // us of each
  double *whole;     // copy, replay, verify and hash
  size_t bytes, allocations;
  int steps;
  uint64_t hash;     // of all functions, so that the work is used
} bench;

// The i-th candidate, with decisions drawn from a seed; false when a step refuses them.
static bool candidate(bench *b, int i, uint64_t seed, ts_diag *d) {
  size_t before = allocations;
  uint64_t begin = ts_now_ns();
  ts_arena *a = ts_arena_new("candidate");
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_clone(ir, b->func);
  uint64_t t0 = ts_now_ns();
  ts_sched *s = ts_sched_new(ir, f, seed);
  ts_replay r = {0};
  bool ok = ts_sched_replay_trace(s, b->trace, &r, d);
  b->replay[i] = us_since(t0);
  ok = ok && ts_func_verify(ts_sched_func(s), d);
  if (ok) b->hash = ts_hash_mix(b->hash, ts_func_hash(ts_sched_func(s)));
  b->steps = r.applied;
  b->bytes = ts_arena_bytes(a);
  ts_arena_free(a);
  b->whole[i] = us_since(begin);
  b->allocations = allocations - before;
  return ok;
}

static void print_candidates(bench *b, const char *prefix) {
  int tenth = TS_MAX(b->n / 10, 1);
  double first = median(b->whole, tenth), last = median(b->whole + b->n - tenth, tenth), replay = median(b->replay, b->n);
  printf("%sschedule.steps %d count\n%sschedule.replay %.4g us\n", prefix, b->steps, prefix, replay);
  printf("%sengine.step %.4g us\n", prefix, replay / b->steps);
  printf("%sengine.candidates %d count\n", prefix, b->n);
  printf("%sengine.candidates_per_second %.0f 1/s\n", prefix, 1e6 / median(b->whole, b->n));
  printf("%sengine.candidate_bytes %zu bytes\n%sengine.allocations %zu count\n", prefix, b->bytes, prefix, b->allocations);
  printf("%sengine.rate_drift %.3f ratio\n", prefix, last / first - 1);
}

// --- refusals -----------------------------------------------------------------------------------------------------
// Pairs of steps on the unscheduled function: the first of each applies, the second refuses.
static const char *const pairs[][2] = {
    {"split o [_, 4] tail=perfect", "split o [_, 7] tail=perfect"},
    {"parallel o", "parallel c"},
    {"reverse_compute_at acc o", "reverse_compute_at dot o"},
    {"decompose_reduction dot c", "decompose_reduction out c"},
};

// us of `line` on s; what applied is undone.
static bool step(ts_sched *s, const char *line, double *us) {
  uint64_t t0 = ts_now_ns();
  bool ok = ts_sched_step(s, line, NULL);
  *us = us_since(t0);
  if (ok) ts_sched_undo(s, 1);
  return ok;
}

static bool print_refusals(const bench *b, ts_diag *d) {
  enum { ROUNDS = 101 };
  static const char *const look[] = {"dot = get_block \"dot\"", "acc = get_block \"acc\"", "out = get_block \"out\"", "a, o, g, c, h, b, l, j = get_loops dot"};
  double us[TS_COUNTOF(pairs)][2][ROUNDS], applied = 0, refused = 0;
  for (int i = 0; i < ROUNDS; i++) {
    ts_arena *a = ts_arena_new("refusals");
    ts_ir *ir = ts_ir_new(a);
    ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, b->func), 1);
    bool ok = true;
    for (size_t k = 0; ok && k < TS_COUNTOF(look); k++) ok = ts_sched_step(s, look[k], d);
    for (size_t k = 0; ok && k < TS_COUNTOF(pairs); k++)
      for (int j = 0; ok && j < 2; j++)
        if (step(s, pairs[k][j], &us[k][j][i]) != (j == 0)) ok = ts_refuse(d, "bench", "%s: unexpected outcome", pairs[k][j]);
    ts_arena_free(a);
    TS_TRY(ok);
  }
  for (size_t k = 0; k < TS_COUNTOF(pairs); k++) applied += median(us[k][0], ROUNDS), refused += median(us[k][1], ROUNDS);
  printf("engine.refuse_over_apply %.3f ratio\n", refused / applied);
  return true;
}

// --- compiling ------------------------------------------------------------------------------------------------------
static bool print_compile(const bench *b, const ts_target *t, ts_diag *d) {
  enum { MOST = 200 };
  double ms[MOST];
  int n = 0;
  ts_object o = {0};
  ts_arena *a = ts_arena_new("compile");
  ts_ir *ir = ts_ir_new(a);
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, b->func), 1);
  ts_replay r = {0};
  bool ok = ts_sched_replay_trace(s, b->trace, &r, d);
  for (uint64_t begin = ts_now_ns(); ok && n < MOST && ts_now_ns() - begin < 1000000000u;) {
    ts_arena *scratch = ts_arena_new("object");
    uint64_t t0 = ts_now_ns();
    ok = ts_codegen_object(ts_sched_func(s), t, scratch, &o, d);
    ms[n++] = us_since(t0) * 1e-3;
    ts_arena_free(scratch);
  }
  if (ok) printf("compile.candidate %.4g ms\ncompile.object %zu bytes\n", median(ms, n), o.n);
  ts_arena_free(a);
  return ok;
}

// Make `n` candidates of f by the trace of that path and print what they cost.
static bool make(ts_arena *a, const ts_func *f, const char *path, int n, const char *prefix, bench *b, ts_diag *d) {
  char *text;
  size_t bytes;
  TS_TRY(ts_file_read(path, a, &text, &bytes, d));
  *b = (bench){.func = f, .trace = ts_trace_parse(a, path, text, bytes, d), .n = n};
  b->replay = ts_new_array(a, double, n);
  b->whole = ts_new_array(a, double, n);
  bool ok = b->trace != NULL;
  uint64_t seed = 0, most = 16 * (uint64_t)n + 100;
  for (int i = 0; ok && i < n && seed < most; seed++) i += candidate(b, i, seed, d);
  ok = ok && seed < most;
  if (ok) print_candidates(b, prefix);
  return ok;
}

static bool make_gemm(ts_arena *a, int n, ts_diag *d) {
  bench b;
  char *text;
  size_t bytes;
  TS_TRY(ts_file_read(TS_BENCH_DIR "/gemm.tir", a, &text, &bytes, d));
  const ts_func *f = ts_func_parse(ts_ir_new(a), "gemm.tir", text, bytes, NULL, 0, d);
  return f && make(a, f, TS_BENCH_DIR "/gemm.trace", n, "gemm.", &b, d);
}

static bool run(int candidates, bool compile, bool gemm, const char *path, ts_diag *d) {
  ts_arena *a = ts_arena_new("bench");
  ts_spec spec;
  ts_op_inst inst;
  ts_target t;
  bench b;
  if (gemm) {
    bool made = make_gemm(a, candidates, d);
    ts_arena_free(a);
    return made;
  }
  bool ok = make_gemm(a, candidates, d) && ts_target_parse("cpu", &t, d) && ts_spec_parse(a, workload, &spec, d) &&
            ts_op_instantiate(ts_ir_new(a), &spec, "a16", &inst, d) &&
            make(a, inst.func, ts_path_join(a, ts_data_dir(), path), candidates, "", &b, d);
  ok = ok && print_refusals(&b, d) && (!compile || print_compile(&b, &t, d));
  ts_arena_free(a);
  return ok;
}

int main(int argc, char **argv) {
  ts_diag d = {0};
  int candidates = 1000;
  bool compile = true, gemm = false;
  const char *path = "kernels/templates/matmul/a16.decode.trace";
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--no-compile") == 0) compile = false;
    else if (strcmp(argv[i], "--gemm") == 0) gemm = true;
    else if (strcmp(argv[i], "--candidates") == 0 && i + 1 < argc) candidates = atoi(argv[++i]);
    else path = argv[i];
  }
  if (candidates < 1 || candidates > 10000000) {
    fprintf(stderr, "bench_engine: --candidates needs a number from 1 to 10000000\n");
    return 2;
  }
  if (run(candidates, compile, gemm, path, &d)) return 0;
  ts_diag_print(stderr, &d);
  return ts_diag_exit(&d);
}
