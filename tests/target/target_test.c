// Targets: text in and out, features, this machine.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
// cmocka needs the four above
#include <cmocka.h>

#include "target/target.h"

static void round_trip(const char *text, const char *want) {
  ts_target t;
  ts_diag d = {0};
  if (!ts_target_parse(text, &t, &d)) fail_msg("%s: %s", text, d.message);
  ts_text out = {0};
  ts_target_print(&out, &t);
  assert_string_equal(ts_text_str(&out), want);
  ts_target again;
  assert_true(ts_target_parse(ts_text_str(&out), &again, &d));
  assert_memory_equal(&t, &again, sizeof t);
  ts_text_free(&out);
}

static void test_round_trips(void **state) {
  (void)state;
  round_trip("cpu:znver4", "cpu:znver4");
  round_trip("cpu:x86-64", "cpu:x86-64");
  round_trip("cpu:x86-64-v3,+avxvnni", "cpu:x86-64-v3,+avxvnni");
  round_trip("cpu:znver4,-avx512bf16,-gfni", "cpu:znver4,-avx512bf16,-gfni");
  round_trip("cuda:sm_90a", "cuda:sm_90a");
  round_trip("cuda:sm_80,sms=108", "cuda:sm_80");
  round_trip("cuda:sm_90a,l2=52428800,sms=114", "cuda:sm_90a,sms=114,l2=52428800");
  round_trip("cuda:sm_80,ptx=1,l2=1000000", "cuda:sm_80,l2=1000000,ptx=1");
  // Adding brings what is needed, removing takes what rests on it.
  round_trip("cpu:x86-64,+avx2", "cpu:x86-64,+avx,+avx2,+sse3,+sse4.1,+sse4.2,+ssse3");
  round_trip("cpu:x86-64-v4,-avx512f", "cpu:x86-64-v4,-avx512bw,-avx512cd,-avx512dq,-avx512f,-avx512vl");
}

static void test_refusals(void **state) {
  (void)state;
  static const struct {
    const char *text, *code;
  } bad[] = {
      {"", "unknown-target"},
      {"cudax", "unknown-target"},
      {"cuda:sm_1", "unknown-target"},
      {"cuda:", "unknown-target"},
      {"cuda:sm_90a,", "unknown-fact"},
      {"cuda:sm_90a,sm=3", "unknown-fact"},
      {"cuda:sm_90a,sms", "unknown-fact"},
      {"cuda:sm_90a,sms=0", "bad-fact"},
      {"cuda:sm_90a,sms=", "bad-fact"},
      {"cuda:sm_90a,sms=12x", "bad-fact"},
      {"cuda:sm_80,ptx=2", "bad-fact"},
      {"cuda:sm_90a,l2=99999999999999999999", "bad-fact"},
      {"cpux", "unknown-target"},
      {"cpu:", "unknown-target"},
      {"cpu:pentium", "unknown-target"},
      {"cpu:znver4,", "unknown-feature"},
      {"cpu:znver4,avx", "unknown-feature"},
      {"cpu:znver4,+mmx9", "unknown-feature"},
      {"cpu:znver4,+", "unknown-feature"},
  };
  for (size_t i = 0; i < TS_COUNTOF(bad); i++) {
    ts_target t;
    ts_diag d = {0};
    assert_false(ts_target_parse(bad[i].text, &t, &d));
    assert_int_equal(d.kind, TS_REFUSAL);
    assert_string_equal(d.code, bad[i].code);
  }
}

static void test_shape(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int bytes, registers;
    bool fma;
  } rows[] = {{"cpu:x86-64", 16, 16, false},
              {"cpu:x86-64-v3", 32, 16, true},
              {"cpu:x86-64-v4", 64, 32, true},
              {"cpu:znver4", 64, 32, true}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_target t;
    assert_true(ts_target_parse(rows[i].text, &t, NULL));
    assert_int_equal(t.vector_bytes, rows[i].bytes);
    assert_int_equal(t.vector_registers, rows[i].registers);
    assert_int_equal(ts_target_has(&t, "fma"), rows[i].fma);
    assert_false(ts_target_has(&t, "avx51"));  // no prefix counts
  }
}

static void test_host(void **state) {
  (void)state;
  ts_target t;
  ts_diag d = {0};
  assert_true(ts_target_parse("cpu", &t, &d));
  assert_true(ts_target_runs_here(&t, &d));
  assert_true(t.cores >= 1 && t.threads >= t.cores);
  assert_true(t.l1_bytes >= 8 << 10 && t.l2_bytes > t.l1_bytes);
  __builtin_cpu_init();
  assert_int_equal(ts_target_has(&t, "avx2"), __builtin_cpu_supports("avx2") != 0);
  assert_int_equal(ts_target_has(&t, "avx512f"), __builtin_cpu_supports("avx512f") != 0);
  assert_int_equal(ts_target_has(&t, "avx512vnni"), __builtin_cpu_supports("avx512vnni") != 0);
  ts_target other;
  assert_true(ts_target_parse("cpu:sapphirerapids", &other, &d));
  if (!ts_target_has(&t, "amx-tile")) {
    assert_false(ts_target_runs_here(&other, &d));
    assert_string_equal(d.code, "wrong-cpu");
  }
}

// Machine code stays within a major number, that of an architecture with an 'a' on its own capability; PTX also goes to newer GPUs.
static void test_newer_gpus(void **state) {
  (void)state;
  static const struct {
    const char *target;
    int runs[3], refuses[3];
  } rows[] = {
      {"cuda:sm_80", {80, 86, 89}, {75, 90, 120}},
      {"cuda:sm_86", {86, 89, 89}, {80, 90, 100}},
      {"cuda:sm_90a", {90, 90, 90}, {89, 100, 120}},
      {"cuda:sm_100", {100, 103, 103}, {90, 110, 120}},
      {"cuda:sm_120", {120, 121, 121}, {89, 90, 100}},
      {"cuda:sm_80,ptx=1", {80, 90, 120}, {75, 75, 75}},
      {"cuda:sm_90a,ptx=1", {90, 90, 90}, {80, 100, 120}},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_target t;
    assert_true(ts_target_parse(rows[i].target, &t, NULL));
    for (int k = 0; k < 3; k++)
      if (!ts_target_gpu_runs(&t, rows[i].runs[k]) || ts_target_gpu_runs(&t, rows[i].refuses[k])) fail_msg("%s, column %d", rows[i].target, k);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips), cmocka_unit_test(test_refusals), cmocka_unit_test(test_newer_gpus),
                                     cmocka_unit_test(test_shape), cmocka_unit_test(test_host)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
