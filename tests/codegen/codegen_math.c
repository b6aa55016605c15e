// Accuracy of generated mathematics: errors in units of the last place against the C library in double (long double for
// f64), over wide ranges, with special values, vectorised, for this machine and for plain x86-64.
#include <math.h>
#include <stdlib.h>

#include "codegen/codegen.h"
#include "threads.h"

enum { N = 4096 };

typedef struct row {
  const char *name;
  double lo, hi;  // of the argument
  double ulp_f32, ulp_f64;
  long double (*f)(long double);
} row;

static long double rsqrt_(long double x) { return 1 / sqrtl(x); }

static const row rows[] = {
    {"exp", -110, 95, 2, 2, expl},      {"exp", -1, 1, 2, 2, expl},        {"log", 1e-30, 1e30, 2, 3, logl},
    {"log", 0.5, 2, 2, 3, logl},        {"tanh", -12, 12, 3, 4, tanhl},    {"tanh", -0.7, 0.7, 3, 4, tanhl},
    {"sin", -1000, 1000, 1, 3, sinl},   {"cos", -1000, 1000, 1, 3, cosl},  {"sin", -1e5, 1e5, 1, 1e4, sinl},
    {"cos", 0, 1048576, 1, 1e4, cosl},  {"sqrt", 0, 1e10, 1, 1, sqrtl},    {"rsqrt", 1e-10, 1e10, 2, 2, rsqrt_},
    {"floor", -1e5, 1e5, 0, 0, floorl}, {"round", -1e5, 1e5, 0, 0, rintl}, {"abs", -10, 10, 0, 0, fabsl},
};

static int failures;

static void *kernel(const char *text, const char *target, ts_loaded *k) {
  ts_arena *a = ts_arena_new("math");
  ts_ir *ir = ts_ir_new(a);
  ts_diag d = {0};
  ts_target t;
  ts_object o;
  const ts_func *f = ts_func_parse(ir, "math", text, strlen(text), NULL, 0, &d);
  bool ok = f && ts_target_parse(target, &t, &d) && ts_codegen_object(f, &t, a, &o, &d) && ts_object_load(&o, k, &d);
  if (!ok) ts_diag_print(stdout, &d), failures++;
  ts_arena_free(a);
  return ok ? k : NULL;
}

static void call(ts_loaded *k, void *x, void *y, void *z) {
  void *buf[] = {x, y, z, NULL};
  k->run(buf, (int64_t[]){0}, &test_serial_rt);
}

static double ulps(double got, long double want, bool f32) {
  if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
  double w = f32 ? (double)(float)want : (double)want;
  if (got == w) return 0;
  if (isinf(w) || isinf(got)) return INFINITY;
  double unit =
      f32 ? (double)(nextafterf((float)fabs(w), INFINITY) - (float)fabs(w)) : nextafter(fabs(w), INFINITY) - fabs(w);
  return (double)(fabsl((long double)got - want) / unit);
}

static void check(const row *r, const char *target, bool f32) {
  char text[400];
  const char *type = f32 ? "f32" : "f64";
  snprintf(text, sizeof text,
           "func f(x: %s[4096], y: out %s[4096]) {\n  for o in 0..256, v in 0..16 vectorize {\n    block b(i: "
           "S(0..4096) = o * 16 + v) {\n      y[i] = %s(x[i])\n    }\n  }\n}\n",
           type, type, r->name);
  ts_loaded k;
  if (!kernel(text, target, &k)) return;
  double *x = aligned_alloc(64, N * 8), *y = aligned_alloc(64, N * 8), worst = 0, at = 0;
  float *xf = (float *)x, *yf = (float *)y;
  ts_rng g = ts_rng_new(3, 1);
  double *arg = malloc(N * sizeof *arg);
  for (int i = 0; i < N; i++) {
    double u = ts_rng_unit(&g);
    arg[i] = r->lo > 0 && r->hi / r->lo > 1e6 ? exp(log(r->lo) + u * (log(r->hi) - log(r->lo)))
                                              : r->lo + u * (r->hi - r->lo);
    if (f32)
      xf[i] = (float)arg[i], arg[i] = xf[i];
    else
      x[i] = arg[i];
  }
  call(&k, x, y, NULL);
  for (int i = 0; i < N; i++) {
    double e = ulps(f32 ? (double)yf[i] : y[i], r->f(arg[i]), f32);
    if (e > worst) worst = e, at = arg[i];
  }
  double most = f32 ? r->ulp_f32 : r->ulp_f64;
  printf("%s %s %s: %.2f ulp at %.9g\n", target, r->name, type, worst, at);
  // Results that the format rounds must be within half a unit of the exact value more than the bound states.
  if (worst > most + 0.5) printf("  too much: %g\n", most), failures++;
  ts_object_unload(&k);
  free(arg);
  free(x);
  free(y);
}

typedef struct special {
  const char *name;
  double x, y, want;
} special;
static const special specials[] = {
    {"exp", 1000, 0, INFINITY},
    {"exp", -1000, 0, 0},
    {"exp", INFINITY, 0, INFINITY},
    {"exp", -INFINITY, 0, 0},
    {"exp", NAN, 0, NAN},
    {"log", 0, 0, -INFINITY},
    {"log", -1, 0, NAN},
    {"log", INFINITY, 0, INFINITY},
    {"log", NAN, 0, NAN},
    {"tanh", 100, 0, 1},
    {"tanh", -INFINITY, 0, -1},
    {"tanh", NAN, 0, NAN},
    {"tanh", 0, 0, 0},
    {"sin", 0, 0, 0},
    {"sin", INFINITY, 0, NAN},
    {"cos", 0, 0, 1},
    {"sqrt", -1, 0, NAN},
    {"floor", -0.5, 0, -1},
    {"floor", 3e9, 0, 3e9},
    {"floor", NAN, 0, NAN},
    {"round", 2.5, 0, 2},
    {"round", -3.5, 0, -4},
    {"round", 1e10, 0, 1e10},
    {"pow", 2, 10, 1024},
    {"pow", -2, 3, -8},
    {"pow", -2, 2, 4},
    {"pow", -2, 0.5, NAN},
    {"pow", 0, 3, 0},
    {"pow", 0, -1, INFINITY},
    {"pow", 5, 0, 1},
    {"pow", 1, NAN, 1},
    {"pow", NAN, 0, 1},
    {"pow", INFINITY, -2, 0},
    {"pow", -1, INFINITY, 1},
    {"pow", 0.5, INFINITY, 0},
    {"exp", -103, 0, 1.401298464324817e-45},
};

static void check_special(const char *target) {
  for (size_t i = 0; i < TS_COUNTOF(specials); i++) {
    const special *s = &specials[i];
    char text[300];
    bool two = strcmp(s->name, "pow") == 0;
    snprintf(text, sizeof text,
             "func f(x: f32[1], y: f32[1], z: out f32[1]) {\n  block b() {\n    z[0] = %s(x[0]%s)\n  }\n}\n", s->name,
             two ? ", y[0]" : "");
    ts_loaded k;
    if (!kernel(text, target, &k)) return;
    _Alignas(64) float x[16] = {(float)s->x};
    _Alignas(64) float y[16] = {(float)s->y};
    _Alignas(64) float z[16] = {0};
    call(&k, x, y, z);
    bool same = isnan(s->want) ? isnan(z[0]) : z[0] == (float)s->want;
    if (!same) printf("%s %s(%g, %g) is %g, not %g\n", target, s->name, s->x, s->y, (double)z[0], s->want), failures++;
    ts_object_unload(&k);
  }
}

static void check_pow(const char *target) {
  static const char text[] =
      "func f(x: f32[4096], y: f32[4096], z: out f32[4096]) {\n  for o in 0..512, v in 0..8 vectorize {\n    block "
      "b(i: S(0..4096) = o * 8 + v) {\n      z[i] = pow(x[i], y[i])\n    }\n  }\n}\n";
  ts_loaded k;
  if (!kernel(text, target, &k)) return;
  static _Alignas(64) float x[N], y[N], z[N];
  ts_rng g = ts_rng_new(4, 1);
  double worst = 0;
  for (int i = 0; i < N; i++) x[i] = (float)exp(20 * ts_rng_unit(&g) - 10), y[i] = (float)(8 * ts_rng_unit(&g) - 4);
  call(&k, x, y, z);
  for (int i = 0; i < N; i++) worst = fmax(worst, ulps((double)z[i], powl(x[i], y[i]), true));
  printf("%s pow f32: %.2f ulp\n", target, worst);
  if (worst > 1.5) failures++;
  ts_object_unload(&k);
}

int main(void) {
  static const char *const targets[] = {"cpu", "cpu:x86-64"};
  for (size_t t = 0; t < TS_COUNTOF(targets); t++) {
    for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
      check(&rows[i], targets[t], true);
      check(&rows[i], targets[t], false);
    }
    check_pow(targets[t]);
    check_special(targets[t]);
  }
  printf("%d failures\n", failures);
  return failures != 0;
}
