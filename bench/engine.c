// bench/engine: how fast candidates are made. Prints "name value unit" lines.
//   schedule.steps, schedule.replay: the matmul's hand-written schedule on a fresh function, and after it the hash
//   compile.candidate: lowering and LLVM of that candidate on one core; compile.object its size
//   Medians over a second each.
#include <stdlib.h>

#include "codegen/codegen.h"
#include "op/op.h"
#include "schedule/schedule.h"

static const char workload[] = "matmul q4f16_1 A=f32 K=576 N=1536 n=1";

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

static void print_median(const char *name, double *v, int n, const char *unit) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  printf("%s %.4g %s\n", name, v[n / 2], unit);
}

enum { MOST = 20000 };

static bool replay(const char *text, const ts_op_inst *inst, double *us, int *n, int *steps, const ts_func **out, ts_arena *keep, ts_diag *d) {
  uint64_t begin = ts_now_ns();
  while (*n < MOST && ts_now_ns() - begin < 1000000000u) {
    ts_arena *a = ts_arena_new("bench");
    ts_ir *ir = ts_ir_new(a);
    const ts_func *f = ts_func_clone(ir, inst->func);
    const ts_trace *t = ts_trace_parse(a, "bench", text, strlen(text), d);
    uint64_t t0 = ts_now_ns();
    ts_sched *s = ts_sched_new(ir, f, 1);
    ts_replay r = {0};
    bool ok = t && ts_sched_replay_trace(s, t, &r, d);
    us[(*n)++] = (double)(ts_now_ns() - t0) * 1e-3;
    if (ok && !*out) *out = ts_func_clone(ts_ir_new(keep), ts_sched_func(s));
    *steps = r.applied;
    ts_arena_free(a);
    if (!ok) return false;
  }
  return true;
}

static bool run(const char *path, ts_diag *d) {
  static double v[MOST];
  ts_arena *a = ts_arena_new("bench");
  ts_ir *ir = ts_ir_new(a);
  ts_spec spec;
  ts_op_inst inst;
  ts_target t;
  char *text;
  size_t bytes;
  const ts_func *f = NULL;
  int n = 0, steps = 0;
  TS_TRY(ts_target_parse("cpu", &t, d) && ts_spec_parse(a, workload, &spec, d) && ts_op_instantiate(ir, &spec, "a16", &inst, d));
  TS_TRY(ts_file_read(ts_path_join(a, ts_data_dir(), path), a, &text, &bytes, d));
  TS_TRY(replay(text, &inst, v, &n, &steps, &f, a, d));
  printf("schedule.steps %d count\n", steps);
  print_median("schedule.replay", v, n, "us");
  n = 0;
  ts_object o = {0};
  for (uint64_t begin = ts_now_ns(); n < MOST && ts_now_ns() - begin < 1000000000u;) {
    ts_arena *scratch = ts_arena_new("object");
    uint64_t t0 = ts_now_ns();
    bool ok = ts_codegen_object(f, &t, scratch, &o, d);
    v[n++] = (double)(ts_now_ns() - t0) * 1e-6;
    ts_arena_free(scratch);
    TS_TRY(ok);
  }
  print_median("compile.candidate", v, n, "ms");
  printf("compile.object %zu bytes\n", o.n);
  ts_arena_free(a);
  return true;
}

int main(int argc, char **argv) {
  ts_diag d = {0};
  if (run(argc > 1 ? argv[1] : "kernels/templates/matmul/a16.decode.trace", &d)) return 0;
  ts_diag_print(stderr, &d);
  return ts_diag_exit(&d);
}
