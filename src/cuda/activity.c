// When kernels ran: CUPTI's activity records, gathered by its callbacks.
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "cuda/cuda.h"

// Source: cupti_activity.h, CUpti_ActivityKernel9 and 10: the fields used stand at the same places. ORDER: tests/cuda/abi.c
enum { KIND_CONCURRENT_KERNEL = 10, AT_START = 16, AT_END = 24, AT_NAME = 104, BUFFER = 1 << 20, NO_MORE = 12, FORCED = 1 };

static struct {
  pthread_mutex_t lock;
  const ts_cuda_cupti *cupti;
  bool registered, on;
  ts_cuda_span *span;
  size_t n, cap;
  uint64_t since;  // what started before is not wanted any more
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void request(uint8_t **buffer, size_t *size, size_t *records) {
  *buffer = aligned_alloc(8, BUFFER);
  *size = *buffer ? BUFFER : 0;
  *records = 0;
}

static bool helper(const char *name) {
  static const char *const names[] = {
#define HELPER(name) #name,
#include "cuda/helpers.def"
#undef HELPER
  };
  for (size_t i = 0; name && i < TS_COUNTOF(names); i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

static void add(const uint8_t *record) {
  uint32_t kind;
  ts_cuda_span s;
  const char *name;
  memcpy(&kind, record, sizeof kind);
  if (kind != KIND_CONCURRENT_KERNEL) return;
  memcpy(&s.start, record + AT_START, 8);
  memcpy(&s.end, record + AT_END, 8);
  memcpy(&name, record + AT_NAME, sizeof name);
  if (s.start < all.since || helper(name)) return;
  if (all.n == all.cap) {
    all.cap = all.cap ? 2 * all.cap : 1024;
    all.span = realloc(all.span, all.cap * sizeof *all.span);
    if (!all.span) abort();
  }
  all.span[all.n++] = s;
}

static void complete(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  (void)context, (void)stream, (void)size;
  pthread_mutex_lock(&all.lock);
  void *record = NULL;
  while (valid && all.cupti->cuptiActivityGetNextRecord(buffer, valid, &record) == 0) add(record);
  pthread_mutex_unlock(&all.lock);
  free(buffer);
}

static bool check(int result, const char *what, ts_diag *d) {
  const char *text = NULL;
  if (!result) return true;
  if (all.cupti->cuptiGetResultString(result, &text)) text = NULL;
  return ts_env_fail(d, "cupti-error", "CUPTI: %s: %s", what, text ? text : "unknown error");
}

bool ts_cuda_activity_begin(ts_diag *d) {
  if (all.on) return true;
  all.cupti = ts_cuda_cupti_open(d);
  if (!all.cupti) return false;
  if (!all.registered) TS_TRY(check(all.cupti->cuptiActivityRegisterCallbacks(request, complete), "registering callbacks", d));
  all.registered = true;
  TS_TRY(check(all.cupti->cuptiActivityEnable(KIND_CONCURRENT_KERNEL), "recording kernels", d));
  all.on = true;
  return ts_cuda_activity_restart(d);
}

bool ts_cuda_activity_restart(ts_diag *d) {
  uint64_t now;
  TS_TRY(check(all.cupti->cuptiGetTimestamp(&now), "reading its clock", d));
  pthread_mutex_lock(&all.lock);
  all.n = 0;
  all.since = now;
  pthread_mutex_unlock(&all.lock);
  return true;
}

static int by_start(const void *a, const void *b) {
  const ts_cuda_span *x = a, *y = b;
  return (x->start > y->start) - (x->start < y->start);
}

static size_t recorded(void) {
  pthread_mutex_lock(&all.lock);
  size_t n = all.n;
  pthread_mutex_unlock(&all.lock);
  return n;
}

bool ts_cuda_activity_take(size_t expected, const ts_cuda_span **spans, size_t *n, ts_diag *d) {
  enum { TRIES = 50 };
  *n = 0;
  for (int i = 0; i < TRIES && recorded() < expected; i++) {
    TS_TRY(check(all.cupti->cuptiActivityFlushAll(i < 10 ? 0 : FORCED), "fetching records", d));
    if (i) usleep(200);
  }
  pthread_mutex_lock(&all.lock);
  if (all.n) qsort(all.span, all.n, sizeof *all.span, by_start);  // none may lie nowhere
  *spans = all.span;
  *n = all.n;
  pthread_mutex_unlock(&all.lock);
  return *n >= expected || ts_env_fail(d, "cupti-records", "CUPTI recorded %zu kernels of %zu", *n, expected);
}

void ts_cuda_activity_end(void) {
  if (!all.on) return;
  (void)all.cupti->cuptiActivityFlushAll(FORCED);
  (void)all.cupti->cuptiActivityDisable(KIND_CONCURRENT_KERNEL);
  all.on = false;
}
