// measure: random data keep to the limits of the templates that are shipped ("limit max |ws| < 2"), so that tuning can judge them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// after the headers it relies on
#include <cmocka.h>

#include "measure/measure_impl.h"
#include "op/native.h"

// The largest magnitude of the random data of a workload's parameter.
static double largest(const ts_spec *spec, const ts_func *ref, const char *name) {
  ts__layout l;
  ts_diag d = {0};
  int64_t dims[8] = {0};
  if (!ts__layout_of(ref, spec, ref, dims, &l, &d)) fail_msg("%s", d.message);
  int at = ts__find_slot(&l, name);
  assert_true(at >= 0);
  uint8_t *p = calloc((size_t)l.slot[at].bytes, 1);
  assert_non_null(p);
  ts__fill_slot(&l.slot[at], p, 7, (uint64_t)at);
  ts_array a = {.code = l.slot[at].code, .ndim = 1, .shape = {l.slot[at].count}, .data = p};
  double most = 0;
  for (int64_t i = 0; i < l.slot[at].count; i++) most = fmax(most, fabs(ts_array_get(&a, i)));
  free(p);
  return most;
}

// How many limits of the operator's templates were looked at.
static int check_op(ts_arena *a, const ts_op *op, const char *variant) {
  const ts_native **t;
  size_t n;
  ts_diag d = {0};
  int looked = 0;
  if (!ts_native_list(a, op, variant, &t, &n, &d)) fail_msg("%s", d.message);
  for (size_t i = 0; i < n; i++) {
    ts_spec spec;
    ts_op_inst ref, inst;
    if (!t[i]->nlimits) continue;
    const char *text = ts_arena_printf(a, "%s q4f16_1 A=f16 K=1024 N=256 n=64", op->name);
    if (!ts_spec_parse(a, text, &spec, &d) || !ts_op_instantiate(ts_ir_new(a), &spec, "", &ref, &d) || !ts_op_instantiate(ts_ir_new(a), &spec, variant, &inst, &d))
      fail_msg("%s: %s: %s", t[i]->label, text, d.message);
    for (int k = 0; k < t[i]->nlimits; k++, looked++) {
      const char *stored = ts_native_stored(&inst, t[i]->limits[k].buffer);
      if (!stored) fail_msg("%s: %s is not what is stored", t[i]->label, t[i]->limits[k].buffer);
      double most = largest(&spec, ref.func, stored);
      if (!ts_native_limit_holds(&t[i]->limits[k], most)) fail_msg("%s: limit %s, random data reach %g", t[i]->label, t[i]->limits[k].text.p, most);
    }
  }
  return looked;
}

static void random_data(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("limits");
  const ts_op *ops;
  size_t n;
  ts_diag d = {0};
  int looked = 0;
  if (!ts_op_list(a, &ops, &n, &d)) fail_msg("%s", d.message);
  for (size_t i = 0; i < n; i++)
    for (int v = 0; v < ops[i].nvariants; v++) looked += check_op(a, &ops[i], ops[i].variants[v].name);
  assert_int_equal(looked, 2 * 7);  // of matmul and matmul_add: mma.share64 and mma.crew have two, mma.wide, mma.gemm and mma.tiles one
  ts_arena_free(a);
}

// What is asked of the largest magnitude; infinity stands for what is no number, and keeps to nothing.
static void holds(void **state) {
  (void)state;
  const ts_native_limit below = {.bound = 2}, least = {.bound = 0.5, .least = true};
  assert_true(ts_native_limit_holds(&below, 0) && ts_native_limit_holds(&below, 1.999));
  assert_false(ts_native_limit_holds(&below, 2) || ts_native_limit_holds(&below, INFINITY) || ts_native_limit_holds(&below, NAN));
  assert_true(ts_native_limit_holds(&least, 0.5) && ts_native_limit_holds(&least, 1e30));
  assert_false(ts_native_limit_holds(&least, 0.499) || ts_native_limit_holds(&least, INFINITY) || ts_native_limit_holds(&least, NAN));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_data), cmocka_unit_test(holds)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
