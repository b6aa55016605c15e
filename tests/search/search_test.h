// What the tests of search share.
#ifndef TS_TESTS_SEARCH_TEST_H
#define TS_TESTS_SEARCH_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "search/search.h"

static inline void must(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("%s  [%s]", d->message, d->code);
}

// Of tests of design spaces: a processor, and what the tests before have come across.
typedef struct space_fixture {
  ts_arena *a;
  ts_target t;
  TS_VEC(const char *) used;  // "matmul/a16.decode": templates that apply to something
  TS_VEC(const char *) seen;  // workloads
} space_fixture;

static inline int space_setup(void **state) {
  space_fixture *x = calloc(1, sizeof *x);
  ts_diag d = {0};
  x->a = ts_arena_new("test");
  *state = x;
  return ts_target_parse("cpu:znver4", &x->t, &d) ? 0 : -1;
}

static inline int space_teardown(void **state) {
  space_fixture *x = *state;
  ts_arena_free(x->a);
  free(x);
  return 0;
}

#endif
