// Shared by the tests of model: cmocka, temporary folders, diagnostics.
#ifndef TS_TEST_MODEL_H
#define TS_TEST_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

// clang-format off: after the headers it relies on
#include <cmocka.h>
// clang-format on

#include "model/model_impl.h"

// The call must refuse with this code, in one line that holds `part`.
static inline void expect_refusal(bool ok, const ts_diag *d, const char *code, const char *part) {
  assert_false(ok);
  if (strcmp(d->code, code) || !strstr(d->message, part))
    fail_msg("got [%s] %s; wanted [%s] ..%s..", d->code, d->message, code, part);
  assert_null(strchr(d->message, '\n'));
}

static inline void must(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("[%s] %s", d->code, d->message);
}

// A fresh folder, given back as a path in the arena.
static inline char *temp_folder(ts_arena *a) {
  char *path = ts_arena_strdup(a, "/tmp/ts-model-XXXXXX");
  assert_non_null(mkdtemp(path));
  return path;
}

static inline void remove_folder(const char *path) {
  const char *const argv[] = {"rm", "-rf", path, NULL};
  ts_proc_result r;
  ts_diag d;
  assert_true(ts_proc_run(argv, 20, NULL, &r, &d));
}

static inline void put(ts_arena *a, const char *dir, const char *name, const void *p, size_t n) {
  ts_diag d = {0};
  must(ts_file_write(ts_path_join(a, dir, name), p, n, &d), &d);
}

#endif
