// What is said about a block: iterators, regions, dependences with their distances, obstacles with witnesses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// (cmocka needs those above)
#include <cmocka.h>

#include "schedule/schedule.h"

static const char stencil[] =
    "func main(a: f32[64], b: out f32[64], s: out f32[1], h: out f32[8], z: i32[64]) {\n"
    "  alloc t: f32[70]\n"
    "  for i in 0..64 {\n"
    "    for p in 0..1 {\n      block put(v: S(0..64) = i) { t[v + 4] = a[v] }\n    }\n"
    "    for q in 0..3 {\n      block get(v: S(0..64) = i, r: S(0..3) = q) where 3 <= i { b[v] = t[v + r] }\n    }\n"
    "  }\n"
    "  for k in 0..64 {\n    block sum(vk: R = k) {\n      init { s[0] = 0.0 }\n      s[0] = s[0] + a[vk]\n    }\n  }\n"
    "  for m in 0..64 {\n    block hist(v: S = m) { h[v % 8] = a[v] }\n  }\n"
    "}\n";

typedef struct fixture {
  ts_arena *a;
  ts_sched *s;
} fixture;

static int setup(void **state) {
  static fixture x;
  ts_diag d = {0};
  x.a = ts_arena_new("test");
  ts_ir *ir = ts_ir_new(x.a);
  const ts_func *f = ts_func_parse(ir, "stencil", stencil, sizeof stencil - 1, NULL, 0, &d);
  if (!f) fail_msg("%s", d.message);
  x.s = ts_sched_new(ir, f, 1);
  *state = &x;
  return 0;
}

static int teardown(void **state) {
  ts_arena_free(((fixture *)*state)->a);
  return 0;
}

static ts_explain explained(fixture *x, const char *block) {
  ts_explain e;
  ts_diag d = {0};
  if (!ts_sched_explain(x->s, block, &e, &d)) fail_msg("%s", d.message);
  return e;
}

static void iterators(void **state) {
  fixture *x = *state;
  ts_explain e = explained(x, "sum");
  assert_int_equal(e.niters, 1);
  assert_string_equal(e.iter[0].kind, "reduce");
  assert_string_equal(e.iter[0].domain, "0..64");
  assert_string_equal(e.iter[0].map, "k");
  assert_int_equal(e.injective, TS_YES);
  assert_int_equal(e.surjective, TS_YES);
  assert_true(e.reduces);
  assert_string_equal(e.reducer, "sum");
  assert_false(explained(x, "put").reduces);
  assert_string_equal(explained(x, "get").predicate, "3 <= i");
}

// A fused and a split loop are seen through.
static void maps(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  const char *lines[] = {"b = get_block \"sum\"", "k = get_loops b", "k0, k1 = split k [8, 8]", "f = fuse k0 k1",
                         "f0, f1 = split f [_, 16]"};
  for (size_t i = 0; i < TS_COUNTOF(lines); i++)
    if (!ts_sched_step(x->s, lines[i], &d)) fail_msg("%s: %s", lines[i], d.message);
  ts_explain e = explained(x, "sum");
  assert_int_equal(e.nloops, 2);
  assert_int_equal(e.injective, TS_YES);
  assert_non_null(strstr(e.iter[0].map, " * 16 + "));
  ts_sched_undo(x->s, (int)TS_COUNTOF(lines));
}

static void regions(void **state) {
  fixture *x = *state;
  ts_explain e = explained(x, "put");
  assert_int_equal(e.nregions, 2);
  assert_string_equal(e.region[1].buffer, "t");
  assert_true(e.region[1].write);
  assert_string_equal(e.region[1].one[0], "v + 4");
  assert_string_equal(e.region[0].all[0], "0..64");
  assert_string_equal(e.region[1].all[0], "4..68");
}

static void dependences(void **state) {
  fixture *x = *state;
  ts_explain e = explained(x, "get");
  assert_int_equal(e.ndeps, 1);
  assert_string_equal(e.dep[0].block, "put");
  assert_string_equal(e.dep[0].kind, "read-after-write");
  assert_true(e.dep[0].producer && e.dep[0].before && !e.dep[0].consumer);
  assert_string_equal(e.dep[0].distance, "i: 2..4");
  e = explained(x, "put");
  assert_true(e.dep[0].consumer && !e.dep[0].before);
  assert_string_equal(e.dep[0].distance, "i: 2..4");
  assert_int_equal(explained(x, "hist").ndeps, 0);
}

static void obstacles(void **state) {
  fixture *x = *state;
  ts_explain e = explained(x, "sum");
  assert_string_equal(e.loop[0].code, "feeds-reduction");
  assert_true(e.loop[0].reduce && !e.loop[0].spatial);
  assert_true(e.loop[0].has_witness && e.loop[0].first != e.loop[0].second);
  e = explained(x, "hist");
  assert_string_equal(e.loop[0].code, "carried-dependence");
  assert_true(e.loop[0].has_witness);
  assert_int_equal((e.loop[0].first - e.loop[0].second) % 8, 0);
  e = explained(x, "get");
  assert_non_null(e.loop[0].obstacle);  // i: what put made
  assert_int_equal(e.nloops, 2);
}

static void refusals(void **state) {
  fixture *x = *state;
  ts_explain e;
  ts_diag d = {0};
  assert_false(ts_sched_explain(x->s, "nothing", &e, &d));
  assert_string_equal(d.code, "no-such-block");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(iterators),   cmocka_unit_test(maps),      cmocka_unit_test(regions),
      cmocka_unit_test(dependences), cmocka_unit_test(obstacles), cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
