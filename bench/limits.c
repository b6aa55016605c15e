// bench/limits: what it takes to refuse a candidate that asks more of a GPU than it has, before it is lowered. Prints "name value unit" lines, of every
// schedule for GPUs of some workloads at a few of its draws, and of every native template at points of its space:
//   limits.candidates: draws looked at; limits.fits, limits.refuses: the check of one that fits, and of one that does not (on a GPU with less shared memory)
//   limits.slowest: the longest median of one candidate; limits.refused_per_second: one core
//   limits.lowering: what lowering takes to refuse the same, without the check
//   templates.points: looked at; templates.fits, templates.refuses: constraints and launches of a point, with the number where it is refused
//   templates.space: to tell legal points from others, for each in the space; templates.refused_per_second
// Usage: bench_limits [--draws N]
#include <stdlib.h>

#include "codegen/codegen_impl.h"
#include "search/search.h"

static const char *const workloads[] = {
    "matmul q0f16 A=f16 K=4096 N=4096 n=4096",
    "matmul q4f16_1 A=f16 K=4096 N=4096 n=16",
    "rms_norm A=f16 R=f32 H=4096 eps=0.00001 n=16..2048%16",
    "silu_mul A=f16 I=14336 n=16..2048%16",
    "rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=4096 n=16..2048%16 t=0..4080",
    "attention_rows A=f16 C=f16 D=128 H=32 HK=32 P=8192 n=8192 t=0",
    "attention_rows A=f32 C=f16 D=128 H=32 HK=8 P=4096 n=1 t=0..4095",
};

enum { MOST = 1 << 16, ROUNDS = 21 };
typedef struct times {
  size_t n;
  double us[MOST];
} times;
static times fits, refuses, lowering, point_fits, point_refuses;
static double space_us, space_points;

static void add(times *t, double us) {
  if (t->n < MOST) t->us[t->n++] = us;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

static double median(double *v, size_t n) {
  qsort(v, n, sizeof *v, by_value);
  return n ? v[n / 2] : 0;
}

static double us_since(uint64_t t0) { return (double)(ts_now_ns() - t0) * 1e-3; }

// --- schedules -----------------------------------------------------------------------------------------------------
static bool check(ts_ir *ir, const ts_func *f, const ts_target *t, ts_diag *d) {
  double us[ROUNDS];
  bool ok = true;
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t t0 = ts_now_ns();
    ok = ts_gpu_check(ir, f, t, NULL, d);
    us[i] = us_since(t0);
  }
  add(ok ? &fits : &refuses, median(us, ROUNDS));
  return ok;
}

static void draw(const ts_sketch *k, const ts_target *large, const ts_target *small, uint64_t seed) {
  ts_arena *a = ts_arena_new("draw");
  ts_ir *ir = ts_ir_new(a);
  ts_diag d;
  const ts_func *loops;
  ts_sched *s = ts_sketch_draw(ir, k, k->trace, seed, NULL);
  if (s) (void)check(ir, ts_sched_func(s), large, &d);
  if (s && !check(ir, ts_sched_func(s), small, &d)) {
    uint64_t t0 = ts_now_ns();
    if (!ts__lower_judged(ir, ts_sched_func(s), small, &loops, &d)) add(&lowering, us_since(t0));
  }
  ts_arena_free(a);
}

// --- native templates ----------------------------------------------------------------------------------------------
// Points of the whole space, legal or not.
static void points(const ts_sketch *k, int n, ts_rng *rng) {
  const ts_native *t = k->native->native;
  ts_arena *a = ts_arena_new("points");
  const int64_t *legal;
  int64_t *point = ts_new_array(a, int64_t, t->nparams + 1);
  size_t found;
  double all;
  ts_diag d;
  uint64_t t0 = ts_now_ns();
  if (ts_native_points(a, k->native, &legal, &found, &all, &d)) space_us += us_since(t0), space_points += all;
  for (int i = 0; i < n; i++) {
    ts_arena_mark m = ts_arena_save(a);
    ts_gpu_code c;
    for (int p = 0; p < t->nparams; p++) point[p] = t->params[p].value[ts_rng_below(rng, (uint32_t)t->params[p].n)];
    t0 = ts_now_ns();
    bool ok = ts_native_launches(a, k->native, point, &c, &d);
    add(ok ? &point_fits : &point_refuses, us_since(t0));
    ts_arena_restore(a, m);
  }
  ts_arena_free(a);
}

static bool space(const char *text, const ts_target *large, const ts_target *small, int draws, ts_rng *rng, ts_diag *d) {
  ts_arena *a = ts_arena_new("space");
  ts_spec spec;
  ts_space s;
  bool ok = ts_spec_parse(a, text, &spec, d) && ts_space_open(&spec, large, "", &s, d);
  for (size_t i = 0; ok && i < s.n; i++) {
    if (s.sketch[i].native) points(&s.sketch[i], 8 * draws, rng);
    for (int k = 0; s.sketch[i].trace && k < draws; k++) draw(&s.sketch[i], large, small, (uint64_t)k);
  }
  if (ok) ts_space_close(&s);
  ts_arena_free(a);
  return ok;
}

static double slowest(const times *t) {
  double most = 0;
  for (size_t i = 0; i < t->n; i++) most = TS_MAX(most, t->us[i]);
  return most;
}

static void print(void) {
  double most = TS_MAX(slowest(&fits), slowest(&refuses)), refuse = median(refuses.us, refuses.n), point = median(point_refuses.us, point_refuses.n);
  printf("limits.candidates %zu count\nlimits.fits %.3g us\nlimits.refuses %.3g us\nlimits.slowest %.3g us\n", fits.n + refuses.n, median(fits.us, fits.n), refuse, most);
  printf("limits.refused_per_second %.0f 1/s\nlimits.lowering %.4g us\n", 1e6 / refuse, median(lowering.us, lowering.n));
  printf("templates.points %zu count\ntemplates.fits %.3g us\ntemplates.refuses %.3g us\n", point_fits.n + point_refuses.n, median(point_fits.us, point_fits.n), point);
  printf("templates.space %.3g us\ntemplates.refused_per_second %.0f 1/s\n", space_us / space_points, 1e6 / point);
}

int main(int argc, char **argv) {
  ts_diag d = {0};
  ts_target large, small;
  ts_rng rng = ts_rng_new(1, 0);
  int draws = argc == 3 && strcmp(argv[1], "--draws") == 0 ? atoi(argv[2]) : argc == 1 ? 8 : 0;
  if (draws < 1 || draws > 10000) {
    fprintf(stderr, "usage: bench_limits [--draws N], N from 1 to 10000\n");
    return 2;
  }
  bool ok = ts_target_parse("cuda:sm_90a", &large, &d);
  small = large;
  small.gpu.block_shared = small.gpu.sm_shared = 1024;
  for (size_t i = 0; ok && i < TS_COUNTOF(workloads); i++) ok = space(workloads[i], &large, &small, draws, &rng, &d);
  if (ok) print();
  else ts_diag_print(stderr, &d);
  return ok ? 0 : ts_diag_exit(&d);
}
