// Damaged model libraries: whatever happened to the bytes, opening one is a refusal before any of it is mapped as code.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tiny.h"
#include "tunesmith.h"

static ts_arena *arena;
static const char *good_path, *bad_path;
static uint8_t *good, *bad;  // bad has room for a page more
static size_t n;

enum { PAGE = 4096 };

static void check(bool ok, const ts_diag *d) {
  if (!ok) fail_msg("%s [%s]", d->message, d->code);
}

static int setup(void **state) {
  (void)state;
  ts_diag d = {0};
  char *bytes;
  arena = ts_arena_new("test");
  tiny_model(tiny_dir());
  good_path = ts_path_join(arena, tiny_dir(), "tiny-cpu.so");
  bad_path = ts_path_join(arena, tiny_dir(), "bad.so");
  check(ts_file_read(good_path, arena, &bytes, &n, &d), &d);
  good = (uint8_t *)bytes;
  bad = ts_arena_alloc(arena, n + PAGE, 16);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

static void opens(const char *path) {
  ts_diag d = {0};
  ts_library *l = ts_library_open(path, &d);
  check(l, &d);
  ts_library_close(l);
}

// Not waiting for the disk: there are thousands.
static void write_bad(size_t bytes) {
  FILE *f = fopen(bad_path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bad, 1, bytes, f), bytes);
  assert_int_equal(fclose(f), 0);
}

// The first `bytes` of bad as a file are refused; d says how.
static void refused(size_t bytes, const char *what, size_t at, ts_diag *d) {
  write_bad(bytes);
  ts_library *l = ts_library_open(bad_path, d);
  if (l) fail_msg("%s at %zu of %zu bytes: opened", what, at, n);
  assert_int_equal(d->kind, TS_REFUSAL);
  if (!strstr(d->message, bad_path)) fail_msg("%s", d->message);
}

// The same, and it is called damaged and says what to do.
static void damaged(size_t bytes, const char *what, size_t at) {
  ts_diag d = {0};
  refused(bytes, what, at, &d);
  if (strcmp(d.code, "library-damaged") != 0 || !strstr(d.message, "damaged") || !strstr(d.message, "build the model again or copy it again"))
    fail_msg("%s at %zu: %s [%s]", what, at, d.message, d.code);
}

// Bytes k, k+1, ... of the library, until before n: one in each page that is not the same in all, its head and its tail closely.
static size_t next_place(size_t k, ts_rng *rng) {
  if (k < 600 || k + 40 >= n) return k + 1;
  size_t next = k + 1 + ts_rng_below(rng, PAGE / 4);
  return next + 40 >= n ? TS_MAX(k + 1, n - 40) : next;
}

static void bytes_changed(void **state) {
  (void)state;
  ts_rng rng = ts_rng_new(1, 0);
  opens(good_path);
  for (size_t k = 0; k < n; k = next_place(k, &rng)) {
    memcpy(bad, good, n);
    bad[k] ^= (uint8_t)(1u << ts_rng_below(&rng, 8));
    damaged(n, "a bit flipped", k);
    memcpy(bad, good, n);
    size_t run = TS_MIN(1 + ts_rng_below(&rng, 64), n - k);
    for (size_t i = 0; i < run; i++) bad[k + i] = (uint8_t)~bad[k + i];
    damaged(n, "bytes inverted", k);
  }
  opens(good_path);
}

static void pages_zeroed(void **state) {
  (void)state;
  for (size_t k = 0; k < n; k += PAGE) {
    size_t run = TS_MIN(PAGE, n - k), was = 0;
    for (size_t i = 0; i < run; i++) was += good[k + i] != 0;
    memcpy(bad, good, n);
    memset(bad + k, 0, run);
    if (was) damaged(n, "a page zeroed", k);
    memcpy(bad + k, "damaged damaged damaged", TS_MIN(23, run));
    damaged(n, "a page zeroed and written", k);
  }
  for (size_t k = PAGE; k < n; k += PAGE) {  // as a copy that stopped into a file that had its size
    memcpy(bad, good, n);
    memset(bad + k, 0, n - k);
    damaged(n, "the rest zeroed", k);
  }
  for (size_t k = PAGE; k + PAGE <= n; k += PAGE) {  // two pages in the wrong order
    memcpy(bad, good, n);
    memcpy(bad + k - PAGE, good + k, PAGE);
    memcpy(bad + k, good + k - PAGE, PAGE);
    if (memcmp(bad, good, n) != 0) damaged(n, "two pages exchanged", k);
  }
}

static void cut_and_inserted(void **state) {
  (void)state;
  ts_rng rng = ts_rng_new(2, 0);
  for (size_t k = 0; k < n; k = next_place(k, &rng)) {
    ts_diag d = {0};
    memcpy(bad, good, n);
    refused(k, "cut", k, &d);  // a beginning that is no shared object yet is not called damaged
    static const size_t more[] = {1, 8, 64, PAGE};
    size_t m = more[ts_rng_below(&rng, TS_COUNTOF(more))];
    for (size_t i = 0; i < m; i++) bad[k + i] = ts_rng_below(&rng, 2) ? 0 : (uint8_t)ts_rng_u32(&rng);
    memcpy(bad + k + m, good + k, n - k);
    damaged(n + m, "bytes inserted", k);
    size_t less = TS_MIN(m, n - k);
    memcpy(bad, good, k);
    memcpy(bad + k, good + k + less, n - k - less);
    refused(n - less, "bytes taken out", k, &d);
  }
  memcpy(bad, good, n);
  memset(bad + n, 0, PAGE);
  damaged(n + 1, "a byte added", n);
  damaged(n + PAGE, "a page added", n);
}

// A file that was never sealed, as an older build left it, and files that are something else.
static void not_sealed(void **state) {
  (void)state;
  ts_diag d = {0};
  memcpy(bad, good, n);
  damaged(n - TS_SEAL_BYTES, "without its seal", n);
  refused(0, "nothing", 0, &d);
  assert_string_equal(d.code, "not-a-library");
  memcpy(bad, "a text that is no library", 26);
  refused(26, "a text", 0, &d);
  assert_string_equal(d.code, "not-a-library");
  ts_seal(bad, 26);
  refused(26 + TS_SEAL_BYTES, "a sealed text", 0, &d);
  assert_string_equal(d.code, "not-a-library");
}

// What a seal does not vouch for: sealed files whose parts lie elsewhere than they say.
static void sealed_and_wrong(void **state) {
  (void)state;
  ts_diag d = {0};
  for (size_t k = 70; k < n - PAGE; k = k * 2) {
    memcpy(bad, good, k);
    ts_seal(bad, k);
    refused(k + TS_SEAL_BYTES, "cut and sealed", k, &d);
    assert_string_equal(d.code, "library-cut");
  }
  memcpy(bad, good, n);
  const char *text = tiny_plan_text(arena, tiny_plan());
  const uint64_t is = strlen(text), says = (uint64_t)1 << 40;
  size_t changed = 0;
  for (size_t i = 0; i + 8 <= n - TS_SEAL_BYTES; i++)
    if (memcmp(bad + i, &is, sizeof is) == 0) memcpy(bad + i, &says, sizeof says), changed++;
  assert_true(changed > 0);
  ts_seal(bad, n - TS_SEAL_BYTES);
  refused(n, "a longer plan", 0, &d);
  assert_non_null(strstr(d.message, "plan is 1099511627776 bytes"));
}

static void c_api(void **state) {
  (void)state;
  tunesmith_model *m = NULL;
  tunesmith_error e;
  memcpy(bad, good, n);
  memset(bad + n / 2, 0xcc, 16);
  write_bad(n);
  assert_int_equal(tunesmith_open(tiny_dir(), &(tunesmith_options){.threads = 1, .library = bad_path}, &m, &e), TUNESMITH_REFUSED);
  assert_null(m);
  assert_string_equal(e.code, "library-damaged");
  assert_non_null(strstr(e.message, bad_path));
  assert_int_equal(tunesmith_open(tiny_dir(), &(tunesmith_options){.threads = 1, .library = good_path}, &m, &e), TUNESMITH_OK);
  tunesmith_close(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_changed), cmocka_unit_test(pages_zeroed),     cmocka_unit_test(cut_and_inserted),
      cmocka_unit_test(not_sealed),    cmocka_unit_test(sealed_and_wrong), cmocka_unit_test(c_api),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
