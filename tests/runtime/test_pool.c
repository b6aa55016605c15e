// The thread pool: every index once, nested calls in place, sleeping workers wake, a failed start is an error.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "runtime/runtime.h"

enum { N = 1000 };
typedef struct counts {
  const ts_kernel_rt *rt;
  _Atomic int hit[N];
  _Atomic int calls;
} counts;

static void count(void *env, int64_t begin, int64_t end) {
  counts *c = env;
  atomic_fetch_add(&c->calls, 1);
  for (int64_t i = begin; i < end; i++) atomic_fetch_add(&c->hit[i], 1);
}

static void nested(void *env, int64_t begin, int64_t end) {
  counts *c = env;
  for (int64_t i = begin; i < end; i++) c->rt->parallel(c->rt, count, c, N);
}

static void each_index_once(void **state) {
  (void)state;
  for (int threads = 1; threads <= 5; threads++) {
    ts_pool *p = ts_pool_new(threads, NULL);
    assert_non_null(p);
    assert_int_equal(ts_pool_threads(p), threads);
    const ts_kernel_rt *rt = ts_pool_rt(p);
    assert_int_equal(rt->threads, threads);
    for (int64_t n = 0; n < 40; n++) {
      counts c = {0};
      rt->parallel(rt, count, &c, n);
      for (int i = 0; i < N; i++) assert_int_equal(c.hit[i], i < n);
      assert_int_equal(c.calls, n <= 1 ? n : n < threads ? n : threads);
    }
    ts_pool_free(p);
  }
}

static void nested_runs_in_place(void **state) {
  (void)state;
  ts_pool *p = ts_pool_new(3, NULL);
  counts c = {.rt = ts_pool_rt(p)};
  c.rt->parallel(c.rt, nested, &c, 7);
  for (int i = 0; i < N; i++) assert_int_equal(c.hit[i], 7);
  assert_int_equal(c.calls, 7);
  ts_pool_free(p);
}

static void sleepers_wake(void **state) {
  (void)state;
  ts_pool *p = ts_pool_new(3, NULL);
  ts_pool_set_spin(p, 0);
  const ts_kernel_rt *rt = ts_pool_rt(p);
  for (int k = 0; k < 2000; k++) {
    counts c = {0};
    if (k % 400 == 0) usleep(3000);
    rt->parallel(rt, count, &c, 9);
    for (int i = 0; i < 9; i++) assert_int_equal(c.hit[i], 1);
  }
  ts_pool_free(p);
}

static void failed_start(void **state) {
  (void)state;
  for (int k = 1; k <= 2; k++) {
    char spec[40];
    ts_diag d = {0};
    snprintf(spec, sizeof spec, "thread-start:%d", k);
    ts_fault_set(spec);
    assert_null(ts_pool_new(3, &d));
    ts_fault_set(NULL);
    assert_string_equal(d.code, "thread-start");
  }
  ts_diag d = {0};
  assert_null(ts_pool_new(-1, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
}

static void nothing(void *env, int64_t begin, int64_t end) {
  (void)env, (void)begin, (void)end;
}

// Not a timing test: it only catches a call that sleeps when it should spin (tens of microseconds, always). Threads that have no processor
// each take turns instead; on a busy machine they have one each only now and then.
static void dispatch_spins(void **state) {
  (void)state;
  enum { CALLS = 20, MOST_S = 60 };
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < 2) skip();
  ts_pool *p = ts_pool_new(2, NULL);
  const ts_kernel_rt *rt = ts_pool_rt(p);
  uint64_t best = UINT64_MAX, begin = ts_now_ns();
  for (int k = 0; k < 200 || (best >= 20000 && ts_now_ns() - begin < MOST_S * UINT64_C(1000000000)); k++) {
    uint64_t t = ts_now_ns();
    for (int i = 0; i < CALLS; i++) rt->parallel(rt, nothing, NULL, 2);
    t = (ts_now_ns() - t) / CALLS;
    if (t < best) best = t;
  }
  print_message("dispatch, 2 threads: %llu ns\n", (unsigned long long)best);
  assert_true(best < 20000);
  ts_pool_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_index_once), cmocka_unit_test(nested_runs_in_place),
                                     cmocka_unit_test(sleepers_wake), cmocka_unit_test(failed_start),
                                     cmocka_unit_test(dispatch_spins)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
