// The simplifier and proofs on the expressions that schedules leave behind, as text.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka needs the above first
#include <cmocka.h>

#include "analysis/analysis.h"

enum { VARS = 8 };
typedef struct fixture {
  ts_arena *arena;
  ts_ir *ir;
  ts_analyzer *a;
  const ts_var *v[VARS];  // i j k f n m s x
} fixture;

static const ts_var *var(fixture *f, const char *name) { return ts_var_new(f->ir, name, TS_INDEX); }

// i, j, k in 0..16; f in 0..256; n in 1..4096, n % 8 == 0; m in 1..4096; s in 0..n; x anything.
static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  static const char *const name[VARS] = {"i", "j", "k", "f", "n", "m", "s", "x"};
  f->arena = ts_arena_new("test");
  f->ir = ts_ir_new(f->arena);
  f->a = ts_analyzer_new(f->ir);
  for (int i = 0; i < VARS; i++) f->v[i] = var(f, name[i]);
  for (int i = 0; i < 3; i++) ts_bind_const(f->a, f->v[i], 0, 15);
  ts_bind_const(f->a, f->v[3], 0, 255);
  ts_bind_const(f->a, f->v[4], 1, 4096);
  ts_bind_multiple(f->a, f->v[4], 8);
  ts_bind_const(f->a, f->v[5], 1, 4096);
  ts_bind_range(f->a, f->v[6], (ts_range){ts_int(f->ir, 0), ts_evar(f->ir, f->v[4])});
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  ts_analyzer_free(f->a);
  ts_arena_free(f->arena);
  free(f);
  return 0;
}

static const ts_expr *parse(fixture *f, const char *text) {
  ts_lex l;
  ts_diag d;
  ts_lex_init(&l, "test", text, strlen(text));
  const ts_expr *e = ts_expr_parse_at(f->ir, &l, f->v, VARS, NULL, 0, &d);
  if (!e) fail_msg("%s: %s", text, d.message);
  return e;
}

static void simplifies(fixture *f, const char *given, const char *wanted) {
  ts_text t = {0};
  ts_expr_print(&t, ts_simplify(f->a, parse(f, given)));
  if (strcmp(ts_text_str(&t), wanted) != 0) fail_msg("%s gave %s, not %s", given, ts_text_str(&t), wanted);
  ts_text_free(&t);
}

static void test_rows(void **state) {
  static const char *const row[][2] = {
      {"(i * 16 + j) // 16", "i"},
      {"(i * 16 + j) % 16", "j"},
      {"(i * 16 + j) // 8", "i * 2 + j // 8"},
      {"(i * 16 + j) // 32", "i // 2"},
      {"(i * 16 + j) % 32", "i % 2 * 16 + j"},
      {"f // 16 * 16 + f % 16", "f"},
      {"f // 64 * 4 + f // 16 % 4", "f // 16"},
      {"f % 64 // 16", "f // 16 % 4"},
      {"f // 4 // 8", "f // 32"},
      {"f % 64 % 16", "f % 16"},
      {"(f // 4 + 2) // 4", "(f + 8) // 16"},
      {"(f % 16 + f // 16 * 16) // 4 * 4 + f % 4", "f"},
      {"x // 8 * 8 + x % 8", "x"},
      {"(x + 8) % 8", "x % 8"},
      {"(x * 6 + 3) // 6", "x"},
      {"(x * 6 + 7) % 3", "1"},
      {"(15 - i) // 16", "0"},
      {"(i - 16) // 16", "-1"},
      {"n % 8", "0"},
      {"n // 8 * 8", "n"},
      {"(n + 7) // 8", "n // 8"},
      {"(n + i) % 8", "i % 8"},
      {"min(i, 20)", "i"},
      {"min(i * 16 + 15, 255)", "i * 16 + 15"},
      {"min(n - i * 8, 8) + i * 8", "min(n, i * 8 + 8)"},
      {"max(x, x - 1)", "x"},
      {"min(s, n)", "s"},
      {"s // n", "0"},
      {"(i * n + s) // n", "i"},
      {"(i * n + s) % n", "s"},
      {"select(i < 16, j, k)", "j"},
      {"select(i < 8, min(i, 8), 9)", "select(i < 8, i, 9)"},
      {"i * 16 + j < 256", "true"},
      {"i * 16 + j < 96", "i < 6"},
      {"i * 16 + j < 100", "i * 16 + j < 100"},
      {"i // 4 < 2", "i < 8"},
      {"f // 16 == 16", "false"},
      {"i * 16 + j == 0", "i == 0 && j == 0"},
      {"s < n", "true"},
      {"n <= s", "false"},
      {"x < 5 && x < 7", "x < 5"},
      {"x < 5 || x < 7", "x < 7"},
      {"x < 5 && 5 <= x", "false"},
      {"x < 5 || 4 < x", "true"},
      {"!(x < 5)", "5 <= x"},
      {"x + 1 < x + 3", "true"},
      {"x * 2 == 7", "false"},
      {"x // 0", "x // 0"},
      {"f % -3", "f * -1 % 3 * -1"},
      {"x % -3", "x % -3"},
  };
  for (size_t r = 0; r < TS_COUNTOF(row); r++) simplifies(*state, row[r][0], row[r][1]);
}

static void proves(fixture *f, const char *cond, ts_tri wanted) {
  ts_tri t = ts_prove(f->a, parse(f, cond));
  if (t != wanted) fail_msg("%s: %s", cond, ts_tri_name(t));
}

static void test_proofs(void **state) {
  fixture *f = *state;
  proves(f, "(n + 15) // 16 * 16 >= n", TS_YES);
  proves(f, "(m + 15) // 16 * 16 >= m", TS_YES);
  proves(f, "(m + 15) // 16 * 16 < m + 16", TS_YES);
  proves(f, "s // 8 < n // 8", TS_YES);
  proves(f, "s // 8 * 8 + 7 < n", TS_YES);
  proves(f, "i * n + s < n * 16", TS_YES);
  proves(f, "i * m + s < m * 16", TS_UNKNOWN);
  proves(f, "x < 100", TS_UNKNOWN);
  proves(f, "min(x, 5) <= 5", TS_YES);
  proves(f, "max(x, 5) < 5", TS_NO);
  proves(f, "x % 8 < 8", TS_YES);
  proves(f, "f % 16 <= f", TS_YES);
  // at the edge of 64 bits: -2^63 % -3 is -2
  proves(f, "i * -9223372036854775808 % -3 < m // 5 * 32", TS_UNKNOWN);
}

static void test_scopes(void **state) {
  fixture *f = *state;
  size_t mark = ts_analyzer_push(f->a);
  ts_assume(f->a, parse(f, "i * 16 + j < 100"));
  proves(f, "i < 7", TS_YES);
  proves(f, "i * 16 + j < 100", TS_YES);
  simplifies(f, "(i * 16 + j) // 100", "0");
  ts_analyzer_pop(f->a, mark);
  proves(f, "i < 7", TS_UNKNOWN);
  mark = ts_analyzer_push(f->a);
  ts_assume(f->a, parse(f, "x % 4 == 0 && x < 20"));
  simplifies(f, "x % 4", "0");
  assert_int_equal(ts_bound(f->a, parse(f, "x")).hi, 16);
  ts_analyzer_pop(f->a, mark);
  simplifies(f, "x % 4", "x % 4");
  mark = ts_analyzer_push(f->a);
  ts_bind_value(f->a, f->v[7], parse(f, "i * 4 + 1"));
  simplifies(f, "x + j", "i * 4 + j + 1");
  ts_analyzer_pop(f->a, mark);
}

// What was found out under some facts is used again under the same facts only, also by the analyzer that is given out next.
static void test_memory(void **state) {
  fixture *f = *state;
  const ts_expr *e = parse(f, "x // 4 + x % 4"), *below = parse(f, "x < 4");
  for (int round = 0; round < 3; round++) {
    ts_analyzer *a = ts_analyzer_new(f->ir);
    assert_ptr_equal(ts_simplify(a, e), e);
    size_t mark = ts_analyzer_push(a);
    ts_bind_const(a, f->v[7], 0, 3 + round);
    assert_true((ts_simplify(a, e)->kind == TS_E_VAR) == (round == 0));
    ts_assume(a, below);
    assert_ptr_equal(ts_simplify(a, e), ts_evar(f->ir, f->v[7]));
    ts_analyzer_pop(a, mark);
    assert_ptr_equal(ts_simplify(a, e), e);
    ts_bind_const(a, f->v[7], 0, 3);  // and no pop
    assert_int_equal(ts_prove(a, below), TS_YES);
    ts_analyzer_free(a);
  }
}

// A remainder takes all its values only when the range is as long: i % 2 for i below m, which may be 1.
static void test_remainders(void **state) {
  fixture *f = *state;
  static const struct {
    const char *extent, *index;
    ts_tri surjective;
  } row[] = {{"m", "i % 2", TS_UNKNOWN},        {"m + 1", "i % 2", TS_YES},     {"n", "i % 8", TS_YES},
             {"m", "(i // 3) % 2", TS_UNKNOWN}, {"7", "i % 2", TS_YES},         {"m + 5", "(i // 3) % 2", TS_YES},
             {"n", "i % 16", TS_UNKNOWN},       {"m", "(i % 5) % 2", TS_UNKNOWN}};
  for (size_t r = 0; r < TS_COUNTOF(row); r++) {
    ts_analyzer *a = ts_analyzer_new(f->ir);
    ts_bind_const(a, f->v[4], 8, 4096);
    ts_bind_multiple(a, f->v[4], 8);
    ts_bind_const(a, f->v[5], 1, 4096);
    ts_loop_range in = {f->v[0], {ts_int(f->ir, 0), parse(f, row[r].extent)}};
    const ts_expr *bind = parse(f, row[r].index);
    ts_itermap m = {0};
    bool ok = ts_itermap_detect(a, &in, 1, &bind, 1, NULL, NULL, &m, NULL);
    if ((row[r].surjective == TS_YES) != (ok && m.surjective == TS_YES)) fail_msg("%s below %s", row[r].index, row[r].extent);
    ts_analyzer_free(a);
  }
}

static void bound_is(fixture *f, const char *e, const char *over, const char *lo, const char *hi) {
  const ts_var *vars[VARS];
  const ts_expr *l, *h;
  int n = 0;
  for (int i = 0; i < VARS; i++)
    if (strchr(over, f->v[i]->name[0])) vars[n++] = f->v[i];
  assert_true(ts_bound_over(f->a, parse(f, e), vars, n, &l, &h));
  assert_ptr_equal(l, lo ? ts_simplify(f->a, parse(f, lo)) : NULL);
  assert_ptr_equal(h, hi ? ts_simplify(f->a, parse(f, hi)) : NULL);
}

static void test_elimination(void **state) {
  fixture *f = *state;
  bound_is(f, "i * 16 + j", "j", "i * 16", "i * 16 + 15");
  bound_is(f, "i * 16 + j", "i j", "0", "255");
  bound_is(f, "(i * 16 + j + 3) // 4", "j", "i * 4", "i * 4 + 4");
  bound_is(f, "i * n + s", "s", "i * n", "i * n + n - 1");
  bound_is(f, "15 - s", "s", "16 - n", "15");
  bound_is(f, "min(x, i)", "x", NULL, "i");
}

static void test_linear(void **state) {
  fixture *f = *state;
  int64_t k;
  const ts_expr *rest, *c;
  assert_true(ts_linear(f->a, parse(f, "(i * 64 + j * 4 + k) * 2 + f // 2"), f->v[1], &k, &rest));
  assert_int_equal(k, 8);
  assert_false(ts_linear(f->a, parse(f, "f // 2 + f"), f->v[3], &k, &rest));
  assert_true(ts_linear_sym(f->a, parse(f, "(i * n + j) * m"), f->v[0], &c, &rest));
  assert_ptr_equal(c, ts_simplify(f->a, parse(f, "n * m")));
  assert_ptr_equal(rest, ts_simplify(f->a, parse(f, "j * m")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
      cmocka_unit_test_setup_teardown(test_proofs, setup, teardown),
      cmocka_unit_test_setup_teardown(test_scopes, setup, teardown),
      cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
      cmocka_unit_test_setup_teardown(test_remainders, setup, teardown),
      cmocka_unit_test_setup_teardown(test_elimination, setup, teardown),
      cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
