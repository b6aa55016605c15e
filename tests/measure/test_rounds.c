// measure: which round of a final was timed at a low clock.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "measure/measure_impl.h"

enum { ROUNDS = 4 };

static ts__samples samples(const double *mhz, int slowed) {
  ts__samples s = {0};
  for (int i = 0; i < ROUNDS; i++) ts__samples_add(&s, 1000, mhz[i], i == slowed ? TS_FLAG_SLOWED : 0);
  return s;
}

// Every candidate is held against its own highest clock: one that needs more power runs at a lower one all the time.
static void behind(void **state) {
  (void)state;
  static const struct {
    double a[ROUNDS], b[ROUNDS];
    int slowed;  // b, in this round
    size_t round;
    double clock;
    const char *marks;  // of b
  } rows[] = {
      {{1980, 1980, 1980, 1980}, {1500, 1500, 1500, 1500}, -1, SIZE_MAX, 1, "0000"},
      {{1980, 1970, 1960, 1950}, {1500, 1490, 1480, 1430}, -1, SIZE_MAX, 1430 / 1500.0, "0000"},
      {{1980, 1900, 1980, 1980}, {1500, 1500, 1400, 1350}, -1, 3, 0.9, "0011"},
      {{1800, 1980, 1980, 1980}, {1500, 1500, 1400, 1500}, -1, 0, 1800 / 1980.0, "0010"},
      {{NAN, NAN, NAN, NAN}, {NAN, 1500, 1000, NAN}, -1, 2, 1000 / 1500.0, "0010"},
      {{NAN, NAN, NAN, NAN}, {NAN, NAN, NAN, NAN}, -1, SIZE_MAX, 1, "0000"},
      {{1980, 1980, 1700, 1980}, {1500, 1500, 1500, 1500}, 1, 1, 0, "0000"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts__samples s[] = {samples(rows[i].a, -1), samples(rows[i].b, rows[i].slowed)};
    size_t round = ts__round_behind(s, 2);
    if (round != rows[i].round) fail_msg("row %zu: round %zu", i, round);
    double least = 1;
    for (size_t k = 0; k < ROUNDS; k++) least = fmin(least, ts__round_clock(s, 2, k));
    if (fabs(least - rows[i].clock) > 1e-9) fail_msg("row %zu: %g", i, least);
    ts__samples_mark_behind(&s[1]);
    for (size_t k = 0; k < ROUNDS; k++) assert_int_equal((s[1].flag[k] & TS_FLAG_BEHIND) != 0, rows[i].marks[k] == '1');
    ts__samples_free(&s[0]);
    ts__samples_free(&s[1]);
  }
  assert_true(ts__round_behind(NULL, 0) == SIZE_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
