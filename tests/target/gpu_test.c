// Artifacts of GPU kernels: round trips, what is refused, expressions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
// cmocka needs the four above
#include <cmocka.h>

#include "target/gpu.h"

static const char *const dims[] = {"n", "t"};

static void sample(ts_gpu_code *c) {
  static const ts_gpu_arg args[] = {{TS_GPU_BUFFER, 0}, {TS_GPU_TMAP, 0}, {TS_GPU_BUFFER, 2}, {TS_GPU_WORKSPACE, 0}, {TS_GPU_DIMS, 0}};
  static const ts_gpu_tmap map = {.buffer = 1, .type = "f16", .swizzle = 128, .ndim = 2, .dim = {"4096", "n"}, .stride = {"8192"}, .box = {"64", "min(n, 128)"}};
  static const ts_gpu_tmap line = {.buffer = 0, .type = "u8", .swizzle = 0, .ndim = 1, .dim = {"t"}, .box = {"256"}};
  static const ts_gpu_launch launches[] = {
      {.entry = "first", .grid = {"ceildiv(n, 128)", "32", "1"}, .block = {128, 1, 1}, .shared = "n > 1 ? 65536 : 0", .cluster = {2, 1, 1}, .nargs = 5, .args = args, .ntmaps = 1, .tmaps = &map},
      {.entry = "second$1", .grid = {"132", "1", "1"}, .block = {32, 4, 2}, .shared = "0", .cluster = {1, 1, 1}, .dependent = 2, .ntmaps = 1, .tmaps = &line}};
  *c = (ts_gpu_code){.arch = "sm_90a", .nparams = 3, .ndims = 2, .dims = dims, .registers = 64, .spills = -1, .warnings = "Potential loss", .workspace = "n * 4096 + 128", .zeroed = "128", .nlaunches = 2,
                     .launches = launches, .kind = TS_GPU_PTX, .image = "a\0b\nc", .image_n = 5};
}

static const char text[] =
    "tunesmith-gpu 1\narch sm_90a\nparams 3\ndims n t\nregisters 64 spills -1\nwarnings Potential loss\nworkspace n * 4096 + 128\nzeroed 128\n"
    "launch first\ngrid ceildiv(n, 128) ; 32 ; 1\nblock 128 1 1\nshared n > 1 ? 65536 : 0\ncluster 2 1 1\ndependent 0\nargs b0 t0 b2 w d\n"
    "tmap 0 b1 f16 swizzle 128 dims 4096 ; n strides 8192 box 64 ; min(n, 128)\n"
    "launch second$1\ngrid 132 ; 1 ; 1\nblock 32 4 2\nshared 0\ncluster 1 1 1\ndependent 2\nargs\ntmap 0 b0 u8 swizzle 0 dims t strides box 256\n"
    "image ptx 5\na\0b\nc";

static void test_round_trip(void **state) {
  (void)state;
  ts_gpu_code c, back;
  sample(&c);
  ts_text out = {0}, again = {0};
  ts_gpu_code_write(&out, &c);
  assert_int_equal(out.n, sizeof text - 1);
  assert_memory_equal(out.p, text, out.n);
  ts_arena *a = ts_arena_new("test");
  ts_diag d = {0};
  if (!ts_gpu_code_read(a, out.p, out.n, &back, &d)) fail_msg("%s", d.message);
  ts_gpu_code_write(&again, &back);
  assert_int_equal(again.n, out.n);
  assert_memory_equal(again.p, out.p, out.n);
  assert_ptr_equal(back.image, out.p + out.n - 5);
  assert_int_equal(back.launches[0].args[4].kind, TS_GPU_DIMS);
  assert_int_equal(back.launches[1].ntmaps, 1);
  assert_int_equal(back.launches[1].tmaps[0].ndim, 1);
  ts_text_free(&out);
  ts_text_free(&again);
  ts_arena_free(a);
}

// One part replaced by another: refused, with a line that names the line.
static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *says;
  } bad[] = {
      {"gpu 1", "gpu 2", "line 1: not of a format"},
      {"arch sm_90a", "arch", "line 2: the architecture"},
      {"params 3", "params 1", "line 15: an argument"},
      {"params 3", "params 999999999999999999999", "line 3"},
      {"dims n t", "dims n n", "twice"},
      {"dims n t", "dims n", "unknown name"},
      {"spills -1", "spills", "registers N spills N"},
      {"warnings Potential", "warnings \x01", "line 6: the warnings"},
      {"warnings Potential loss", "warnings ", "line 6: the warnings"},
      {"warnings Potential loss", "warnings a\nwarnings b", "\"workspace\" wanted"},
      {"workspace n", "workspace m", "line 7: expression \"m"},
      {"zeroed 128", "zeroed (128", ") wanted"},
      {"zeroed 128\n", "", "\"zeroed\" wanted"},
      {"; 32 ; 1\n", "; 32\n", "three expressions"},
      {"; 32 ; 1\n", "; 32 ; 1 ; 1\n", "too many expressions"},
      {"block 128 1 1", "block 128 1 0", "line 11"},
      {"block 128 1 1", "block 128 16 1", "line 11"},
      {"block 128 1 1", "block 128 1 1 1", "line 11"},
      {"cluster 2 1 1", "cluster 16 2 1", "line 13"},
      {"dependent 0", "dependent 3", "0, 1 or 2"},
      {"b0 t0 b2", "b0 t1 b2", "not there"},
      {"b0 t0 b2", "b3 t0 b2", "line 15"},
      {"b0 t0 b2", "b-1 t0 b2", "line 15"},
      {"b0 t0 b2", "x t0 b2", "line 15"},
      {"tmap 0 b1", "tmap 1 b1", "numbered"},
      {"tmap 0 b1", "tmap 0 b7", "of a buffer"},
      {" f16 ", " f15 ", "of a buffer and a type"},
      {"swizzle 128", "swizzle 100", "swizzle is"},
      {"swizzle 128", "swizzle 16", "swizzle is"},
      {"strides 8192 box", "strides box", "do not fit"},
      {" box 64 ; min", " min", "strides"},
      {"launch second$1", "launch 2nd", "entry's name"},
      {"image ptx 5", "image ptx 6", "another size"},
      {"image ptx 5", "image ptx -5", "another size"},
      {"image ptx 5", "image elf 5", "cubin, ptx, cuda or library"},
      {"image ptx 5", "image library 5", "no launches"},
  };
  for (size_t i = 0; i < TS_COUNTOF(bad); i++) {
    const char *at = strstr(text, bad[i].from);
    assert_non_null(at);
    ts_text t = {0};
    ts_text_addn(&t, text, (size_t)(at - text));
    ts_text_add(&t, bad[i].to);
    at += strlen(bad[i].from);
    ts_text_addn(&t, at, sizeof text - 1 - (size_t)(at - text));
    ts_arena *a = ts_arena_new("test");
    ts_gpu_code c;
    ts_diag d = {0};
    if (ts_gpu_code_read(a, t.p, t.n, &c, &d)) fail_msg("accepted: %s for %s", bad[i].to, bad[i].from);
    assert_int_equal(d.kind, TS_REFUSAL);
    assert_string_equal(d.code, "bad-artifact");
    if (!strstr(d.message, bad[i].says)) fail_msg("%s for %s: %s", bad[i].to, bad[i].from, d.message);
    ts_text_free(&t);
    ts_arena_free(a);
  }
}

// Every shorter beginning is refused, from memory of exactly that size.
static void test_truncated(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof text - 1; n++) {
    char *copy = malloc(n + 1);
    memcpy(copy, text, n);
    ts_arena *a = ts_arena_new("test");
    ts_gpu_code c;
    assert_false(ts_gpu_code_read(a, copy, n, &c, NULL));
    ts_arena_free(a);
    free(copy);
  }
}

static void test_values(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t want;
  } rows[] = {
      {"42", 42}, {" n ", 7}, {"n*t+1", 701}, {"2 + 3 * 4", 14}, {"(2 + 3) * 4", 20}, {"10 - 3 - 2", 5}, {"-n", -7}, {"--n", 7}, {"2 - -3", 5}, {"-7 / 2", -4}, {"7 / -2", -4}, {"-7 % 3", 2},
      {"7 % -3", -2}, {"ceildiv(7, 2)", 4}, {"ceildiv(-7, 2)", -3}, {"ceildiv(8, 2)", 4}, {"min(n, t)", 7}, {"max(n, t)", 100}, {"pow2ceil(5)", 8}, {"pow2ceil(8)", 8}, {"pow2ceil(0)", 1},
      {"n < t", 1}, {"n >= t", 0}, {"n == 7", 1}, {"n != 7", 0}, {"n <= 7", 1}, {"n > 7", 0}, {"n > 1 ? t : 0", 100}, {"n > 10 ? 1 / 0 : 5", 5}, {"1 ? 2 : 3 ? 4 : 5", 2}, {"0 ? 2 : 0 ? 4 : 5", 5},
      {"1 && 2", 1}, {"1 && 0", 0}, {"0 && 1 / 0", 0}, {"1 || 1 / 0", 1}, {"0 || n", 1}, {"0 || 0", 0}, {"!n", 0}, {"!0 + 1", 2}, {"!!5", 1}, {"0 && 1 || 1", 1}, {"1 || 0 && 0", 1},
      {"n == 7 && t == 100 ? 1 : 2", 1}, {"n != 7 || t < 100", 0},
      {"n + 1 < t * 2 ? 10 : 20", 10}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775807 - 1", INT64_MIN}, {"min(max(n, 3), ceildiv(t, 30))", 4},
  };
  const int64_t value[] = {7, 100};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    int64_t v = 0;
    ts_diag d = {0};
    if (!ts_gpu_eval(rows[i].text, dims, value, 2, &v, &d)) fail_msg("%s", d.message);
    if (v != rows[i].want) fail_msg("%s: %lld", rows[i].text, (long long)v);
    assert_true(ts_gpu_expr_check(rows[i].text, dims, 2, &d));
  }
}

static void test_bad_expressions(void **state) {
  (void)state;
  static const struct {
    const char *text, *says;
    bool syntax;  // also refused unevaluated
  } rows[] = {{"", "too early", true},
              {"m", "unknown name", true},
              {"nn", "unknown name", true},
              {"n +", "too early", true},
              {"n t", "should end", true},
              {"(n", ") wanted", true},
              {"n)", "should end", true},
              {"1 ? 2", ": wanted", true},
              {"min(n)", "second argument", true},
              {"min(n, t", ") wanted", true},
              {"abs(n)", "no such function", true},
              {"3n", "letters", true},
              {"n = 3", "should end", true},
              {"99999999999999999999", "too large", true},
              {"n / 0", "division by zero", false},
              {"n % (t - 100)", "division by zero", false},
              {"ceildiv(1, 0)", "division by zero", false},
              {"1 && 1 / 0", "division by zero", false},
              {"1 &&", "ends too early", true},
              {"1 & 1", "should end here", true},
              {"9223372036854775807 + 1", "overflow", false},
              {"9223372036854775807 * n", "overflow", false},
              {"(-9223372036854775807 - 1) / -1", "overflow", false},
              {"-(-9223372036854775807 - 1)", "overflow", false},
              {"pow2ceil(9223372036854775807)", "overflow", false}};
  const int64_t value[] = {7, 100};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    int64_t v;
    ts_diag d = {0};
    if (ts_gpu_eval(rows[i].text, dims, value, 2, &v, &d)) fail_msg("accepted: %s", rows[i].text);
    assert_string_equal(d.code, "bad-expression");
    if (!strstr(d.message, rows[i].says)) fail_msg("%s", d.message);
    assert_int_equal(ts_gpu_expr_check(rows[i].text, dims, 2, NULL), !rows[i].syntax);
  }
  char deep[4001];
  memset(deep, '(', 4000);
  deep[4000] = 0;
  ts_diag d = {0};
  assert_false(ts_gpu_expr_check(deep, dims, 2, &d));
  assert_non_null(strstr(d.message, "too deeply"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refusals), cmocka_unit_test(test_truncated), cmocka_unit_test(test_values),
                                     cmocka_unit_test(test_bad_expressions)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
