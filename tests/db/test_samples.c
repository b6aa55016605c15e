// Samples: encode then decode gives the same values, and every other text of bytes is refused.
#include "db_test.h"

static void round_trip(const uint64_t *v, size_t n) {
  ts_blob b = ts_samples_encode(test_arena, v, n);
  uint64_t *out;
  size_t count;
  must(ts_samples_decode(test_arena, b, n, &out, &count, &d));
  assert_int_equal(count, n);
  if (n) assert_memory_equal(out, v, n * sizeof *v);
  refused(ts_samples_decode(test_arena, b, n + 1, &out, &count, &d), "samples-malformed");
}

static void random_series_round_trip(void **state) {
  (void)state;
  ts_rng r = ts_rng_new(1, 2);
  for (int i = 0; i < 2000; i++) {
    uint64_t v[64];
    size_t n = ts_rng_below(&r, 64);
    uint32_t shift = ts_rng_below(&r, 64);
    for (size_t j = 0; j < n; j++) v[j] = ts_rng_u64(&r) >> shift;
    round_trip(v, n);
  }
  uint64_t edges[] = {0, UINT64_MAX, 0, 1, UINT64_MAX / 2, UINT64_MAX / 2 + 1, UINT64_MAX, 0};
  round_trip(edges, TS_COUNTOF(edges));
}

static void a_series_of_times_is_small(void **state) {
  (void)state;
  uint64_t v[100];
  ts_rng r = ts_rng_new(3, 4);
  for (int i = 0; i < 100; i++) v[i] = 40000 + ts_rng_below(&r, 60);
  assert_true(ts_samples_encode(test_arena, v, 100).n <= 150);
}

static void malformed_bytes_are_refused(void **state) {
  (void)state;
  uint64_t *v;
  size_t n;
  refused(ts_samples_decode(test_arena, (ts_blob){"\x80", 1}, SIZE_MAX, &v, &n, &d), "samples-malformed");
  refused(ts_samples_decode(test_arena, (ts_blob){"\x01\x80", 2}, SIZE_MAX, &v, &n, &d), "samples-malformed");
  refused(ts_samples_decode(test_arena, (ts_blob){"\x80\x00", 2}, SIZE_MAX, &v, &n, &d), "samples-malformed");
  refused(
      ts_samples_decode(test_arena, (ts_blob){"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, SIZE_MAX, &v, &n, &d),
      "samples-malformed");
  refused(ts_samples_decode(test_arena, (ts_blob){"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, SIZE_MAX, &v, &n,
                            &d),
          "samples-malformed");
}

// Whatever decodes, encodes to the same bytes: the code is canonical.
static void decoding_is_canonical(void **state) {
  (void)state;
  ts_rng r = ts_rng_new(5, 6);
  int accepted = 0;
  for (int i = 0; i < 20000; i++) {
    uint8_t bytes[12];
    size_t n = ts_rng_below(&r, sizeof bytes + 1), count;
    for (size_t j = 0; j < n; j++) bytes[j] = (uint8_t)ts_rng_u32(&r);
    uint64_t *v;
    if (!ts_samples_decode(test_arena, (ts_blob){bytes, n}, SIZE_MAX, &v, &count, NULL)) continue;
    ts_blob b = ts_samples_encode(test_arena, v, count);
    assert_int_equal(b.n, n);
    if (n) assert_memory_equal(b.p, bytes, n);
    accepted++;
  }
  assert_true(accepted > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_series_round_trip),
      cmocka_unit_test(a_series_of_times_is_small),
      cmocka_unit_test(malformed_bytes_are_refused),
      cmocka_unit_test(decoding_is_canonical),
  };
  return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
