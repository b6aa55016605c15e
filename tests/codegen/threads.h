// Kernel runtimes for tests: serial, and two threads without a pool.
#ifndef TS_TEST_THREADS_H
#define TS_TEST_THREADS_H

#include <pthread.h>

#include "target/target.h"

static inline void test_serial(const ts_kernel_rt *rt, void (*body)(void *, int64_t, int64_t), void *env, int64_t n) {
  (void)rt;
  if (n > 0) body(env, 0, n);
}

typedef struct test_half {
  void (*body)(void *, int64_t, int64_t);
  void *env;
  int64_t begin, end;
} test_half;

static inline void *test_run_half(void *p) {
  test_half *h = p;
  if (h->begin < h->end) h->body(h->env, h->begin, h->end);
  return NULL;
}

static inline void test_threaded(const ts_kernel_rt *rt, void (*body)(void *, int64_t, int64_t), void *env, int64_t n) {
  (void)rt;
  test_half low = {body, env, 0, n / 2}, high = {body, env, n / 2, n};
  pthread_t t;
  pthread_create(&t, NULL, test_run_half, &low);
  test_run_half(&high);
  pthread_join(t, NULL);
}

static const ts_kernel_rt test_serial_rt = {.parallel = test_serial, .threads = 1};
static const ts_kernel_rt test_threaded_rt = {.parallel = test_threaded, .threads = 2};

#endif
