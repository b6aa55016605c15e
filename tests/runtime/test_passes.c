// How prompts are divided into passes.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny.h"

enum { CHUNK = 512 };
static const ts_plan_time one[] = {{1, 100}}, sixteen[] = {{16, 165}}, sixty_four[] = {{64, 220}}, many[] = {{16, 1000}, {256, 1100}, {512, 1500}};

// Phases of 1, 16, 64 and up to 512 rows; timed: with those times.
static ts_plan plan_of(bool timed, ts_plan_phase phases[5]) {
  ts_plan p = *tiny_plan();
  const ts_plan_phase many_rows = p.phases[1];
  phases[0] = p.phases[0];
  phases[4] = p.phases[2];
  for (int i = 1; i < 4; i++) phases[i] = many_rows;
  phases[1].n_min = 2, phases[1].n_max = phases[1].multiple = 16;
  phases[2].n_min = timed ? 2 : 17, phases[2].n_max = phases[2].multiple = 64;
  phases[3].n_min = timed ? 2 : 65, phases[3].n_max = CHUNK, phases[3].multiple = 16;
  if (timed) {
    phases[0].ntimes = 1, phases[0].times = one;
    phases[1].ntimes = 1, phases[1].times = sixteen;
    phases[2].ntimes = 1, phases[2].times = sixty_four;
    phases[3].ntimes = TS_COUNTOF(many), phases[3].times = many;
  }
  p.phases = phases;
  p.nphases = 5;
  p.max_rows = p.prefill_chunk = CHUNK;
  return p;
}

// "1x2 64 16x100": rows of each pass, and of its phase where they are not all
static const char *divided(ts_passes *x, int64_t n, int64_t room, ts_text *t) {
  t->n = 0;
  ts_text_add(t, "");
  while (n > 0) {
    ts_pass p = ts_passes_next(x, n, room);
    int64_t full = (p.rows + p.phase->multiple - 1) / p.phase->multiple * p.phase->multiple;
    assert_in_range(p.rows, p.phase->n_min, TS_MIN(p.phase->n_max, n));
    assert_true(full <= room);
    ts_text_addf(t, "%s%lld", t->n ? " " : "", (long long)p.rows);
    if (full != p.rows) ts_text_addf(t, "/%lld", (long long)full);
    n -= p.rows;
    room -= p.rows;
  }
  return ts_text_str(t);
}

static void least_time(void **state) {
  (void)state;
  static const struct {
    int64_t n, room;
    const char *want;
  } rows[] = {{1, 4096, "1"},
              {2, 4096, "2/16"},  // 165 us, two of a row 200
              {16, 4096, "16"},
              {17, 4096, "17/64"},
              {64, 4096, "64"},
              {65, 4096, "64 1"},
              {100, 4096, "64 36/64"},
              {128, 4096, "64 64"},
              {130, 4096, "64 64 2/16"},
              {300, 4096, "64 64 64 64 44/64"},
              {321, 4096, "321/336"},  // 1225 us; six passes 1200
              {512, 4096, "512"},
              {1030, 4096, "512 512 6/16"},
              {20, 20, "16 1 1 1 1"},  // no room for 64 nor for 32
              {20, 40, "16 4/16"},
              {100, 110, "64 16 16 1 1 1 1"},
              {300, 310, "300/304"},
              {3, 3, "1 1 1"}};
  ts_plan_phase phases[5];
  ts_plan p = plan_of(true, phases);
  ts_text t = {0};
  ts_diag d = {0};
  ts_passes *x = ts_passes_new(&p, &d);
  assert_non_null(x);
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (strcmp(divided(x, rows[i].n, rows[i].room, &t), rows[i].want)) fail_msg("%lld rows, room for %lld: %s, not %s", (long long)rows[i].n, (long long)rows[i].room, ts_text_str(&t), rows[i].want);
  ts_passes_free(x);
  ts_text_free(&t);
}

// No other division takes less: every number of rows against sums of times found otherwise, by extending all divisions pass by pass.
static void nothing_is_faster(void **state) {
  (void)state;
  ts_plan_phase phases[5];
  ts_plan p = plan_of(true, phases);
  ts_diag d = {0};
  static double best[CHUNK + 1];
  ts_passes *x = ts_passes_new(&p, &d);
  assert_non_null(x);
  for (int i = 1; i <= CHUNK; i++) best[i] = INFINITY;
  for (int64_t r = 0; r < CHUNK; r++)
    for (int f = 0; f < 4; f++)
      for (int64_t k = phases[f].n_min; k <= TS_MIN(phases[f].n_max, CHUNK - r); k++) {
        double us = best[r] + ts_plan_phase_us(&phases[f], ts_round_up(k, phases[f].multiple));
        best[r + k] = fmin(best[r + k], us);
      }
  for (int64_t r = 1; r <= CHUNK; r++) {
    double sum = 0;
    for (int64_t left = r; left > 0;) {
      ts_pass next = ts_passes_next(x, left, 4096);
      sum += ts_plan_phase_us(next.phase, ts_round_up(next.rows, next.phase->multiple));
      left -= next.rows;
    }
    if (sum < best[r] - 1e-6 || sum > best[r] * 1.03) fail_msg("%lld rows: %g us, and %g are possible", (long long)r, sum, best[r]);
  }
  ts_passes_free(x);
}

static void without_times(void **state) {
  (void)state;
  ts_plan_phase phases[5];
  ts_plan p = plan_of(false, phases);
  ts_text t = {0};
  ts_diag d = {0};
  for (int known = 0; known < 2; known++) {  // times of one phase alone say nothing
    phases[1].ntimes = known, phases[1].times = sixteen;
    ts_passes *x = ts_passes_new(&p, &d);
    assert_non_null(x);
    assert_string_equal(divided(x, 100, 4096, &t), "100/112");
    assert_string_equal(divided(x, 65, 70, &t), "64 1");
    assert_string_equal(divided(x, 24, 4096, &t), "24/64");
    assert_string_equal(divided(x, 700, 4096, &t), "512 188/192");
    ts_passes_free(x);
  }
  ts_text_free(&t);
}

static void between_times(void **state) {
  (void)state;
  const ts_plan_phase f = {.ntimes = TS_COUNTOF(many), .times = many}, none = {.ntimes = 0};
  assert_true(ts_plan_phase_us(&f, 1) == 1000 && ts_plan_phase_us(&f, 16) == 1000);
  assert_true(ts_plan_phase_us(&f, 136) == 1050);
  assert_true(ts_plan_phase_us(&f, 256) == 1100 && ts_plan_phase_us(&f, 384) == 1300 && ts_plan_phase_us(&f, 512) == 1500);
  assert_true(ts_plan_phase_us(&none, 16) == 0);
}

static void as_text(void **state) {
  (void)state;
  static const char *const wrong[][2] = {{"[16, 165.0]", "[0, 160]"}, {"[16, 165.0]", "[17, 160]"}, {"[16, 165.0]", "[16, -1]"}, {"[16, 165.0]", "[16, 0]"}, {"[16, 165.0]", "[16, 1.7e308]"}, {"[16, 165.0]", "[16]"},
                                         {"[16, 165.0]", "16"}, {"[16, 165.0]", "[\"16\", 160]"}, {"[16, 165.0]", "[16, 165.0], [16, 170]"}, {"[16, 165.0]", "[16, \"160\"]"}, {"[[1, 1e+02]]", "7"}};
  ts_arena *a = ts_arena_new("test");
  ts_plan_phase phases[5];
  ts_plan p = plan_of(true, phases);
  phases[3] = tiny_plan()->phases[1];  // of no more rows than the tiny plan has room for
  phases[2].n_min = phases[2].n_max = 16, phases[2].multiple = 16, phases[2].times = sixteen;
  p.nphases = 5;
  p.prefill_chunk = p.max_rows = TINY_CHUNK;
  ts_diag d = {0};
  const char *text = tiny_plan_text(a, &p);
  const ts_plan *back = ts_plan_parse(a, "timed", text, strlen(text), &d);
  if (!back) fail_msg("%s", d.message);
  assert_string_equal(tiny_plan_text(a, back), text);
  assert_int_equal(back->phases[1].ntimes, 1);
  assert_true(back->phases[1].times[0].us == 165);
  for (size_t i = 0; i < TS_COUNTOF(wrong); i++) {
    ts_text t = {0};
    if (!tiny_changed(text, wrong[i], &t)) fail_msg("not in the plan: %s", wrong[i][0]);
    if (ts_plan_parse(a, "timed.plan", ts_text_str(&t), t.n, &d)) fail_msg("accepted: %s", wrong[i][1]);
    assert_non_null(strstr(d.message, "timed.plan"));
    ts_text_free(&t);
  }
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(least_time), cmocka_unit_test(nothing_is_faster), cmocka_unit_test(without_times), cmocka_unit_test(between_times), cmocka_unit_test(as_text)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
