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

#endif
