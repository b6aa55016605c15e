// A pool of pinned threads that spin between calls.
//
// One cache line carries the call: its number, body, range. The caller writes the line, then bumps `epoch` (release). A worker
// spins on `epoch`, runs its share and writes the epoch into its own line; the caller runs share 0 and waits for those lines.
// After `spin_ns` without a call a worker sleeps on a futex; `sleepers` tells the caller whether a wake is needed. ORDER: a
// worker adds itself to sleepers before it rechecks epoch, the caller bumps epoch before it reads sleepers (both seq_cst), so
// that one of the two sees the other.
#define _GNU_SOURCE
#include "runtime/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE 64
enum { MAX_THREADS = 1024, SPINS_PER_CLOCK_READ = 64 };

typedef struct worker {
  _Alignas(LINE) _Atomic uint32_t done;  // last epoch finished
  ts_pool *pool;
  pthread_t thread;
  int index, cpu;
} worker;

struct ts_pool {
  _Alignas(LINE) _Atomic uint32_t epoch;
  void (*body)(void *env, int64_t begin, int64_t end);
  void *env;
  int64_t n;
  _Alignas(LINE) _Atomic uint32_t sleepers;
  _Atomic bool stop;
  _Atomic uint64_t spin_ns;
  _Alignas(LINE) ts_kernel_rt rt;
  int threads, started;
  worker *w;
  cpu_set_t caller_set;
  bool caller_pinned;
};

// True in a thread that is running a body: nested calls run in place.
static _Thread_local bool inside;

static inline void relax(void) { __builtin_ia32_pause(); }

static void futex(_Atomic uint32_t *at, int op, uint32_t value) {
  (void)syscall(SYS_futex, at, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void run_share(const ts_pool *p, int64_t i) {
  int64_t t = p->threads, n = p->n;
  int64_t begin = (int64_t)((__int128)n * i / t), end = (int64_t)((__int128)n * (i + 1) / t);
  if (begin < end) p->body(p->env, begin, end);
}

// Wait until the epoch leaves `seen`; returns the new one.
static uint32_t wait_call(ts_pool *p, uint32_t seen) {
  uint64_t spin = atomic_load_explicit(&p->spin_ns, memory_order_relaxed), start = ts_now_ns();
  for (;;) {
    for (int i = 0; i < SPINS_PER_CLOCK_READ; i++) {
      uint32_t e = atomic_load_explicit(&p->epoch, memory_order_acquire);
      if (e != seen) return e;
      relax();
    }
    if (ts_now_ns() - start < spin) continue;
    atomic_fetch_add(&p->sleepers, 1);  // ORDER
    while (atomic_load(&p->epoch) == seen) futex(&p->epoch, FUTEX_WAIT, seen);
    atomic_fetch_sub(&p->sleepers, 1);
  }
}

static void *serve(void *arg) {
  worker *w = arg;
  ts_pool *p = w->pool;
  inside = true;
  for (uint32_t seen = 0;;) {
    seen = wait_call(p, seen);
    if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
    run_share(p, w->index);
    atomic_store_explicit(&w->done, seen, memory_order_release);
  }
}

static void publish(ts_pool *p) {
  atomic_fetch_add(&p->epoch, 1);  // ORDER
  if (atomic_load(&p->sleepers)) futex(&p->epoch, FUTEX_WAKE, INT32_MAX);
}

// Wait for every worker. On a machine with more threads than cores a worker may be off its core: yield after a while.
static void wait_workers(ts_pool *p) {
  uint32_t e = atomic_load_explicit(&p->epoch, memory_order_relaxed);
  for (int i = 1; i < p->threads; i++)
    for (uint32_t spins = 0; atomic_load_explicit(&p->w[i].done, memory_order_acquire) != e; spins++)
      if (spins < 20000)
        relax();
      else
        sched_yield();
}

static void parallel(const ts_kernel_rt *rt, void (*body)(void *env, int64_t begin, int64_t end), void *env, int64_t n) {
  ts_pool *p = rt->pool;
  if (n <= 0) return;
  if (inside || p->threads == 1 || n == 1) {
    bool outer = inside;
    inside = true;
    body(env, 0, n);
    inside = outer;
    return;
  }
  p->body = body;
  p->env = env;
  p->n = n;
  publish(p);
  inside = true;
  run_share(p, 0);
  inside = false;
  wait_workers(p);
}

// The cores to use: the first hardware thread of each usable core, then the others.
static int core_list(const cpu_set_t *usable, int cpus[static CPU_SETSIZE]) {
  int first = 0, n = 0, rest[CPU_SETSIZE];
  for (int c = 0; c < CPU_SETSIZE; c++) {
    if (!CPU_ISSET(c, usable)) continue;
    char path[96];
    int lead = c;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", c);
    FILE *f = fopen(path, "r");
    if (f) {
      if (fscanf(f, "%d", &lead) != 1) lead = c;
      fclose(f);
    }
    if (lead == c || !(lead >= 0 && lead < CPU_SETSIZE && CPU_ISSET(lead, usable)))
      cpus[first++] = c;
    else
      rest[n++] = c;
  }
  memcpy(cpus + first, rest, sizeof(int) * (size_t)n);
  return first;
}

static void pin(pthread_t thread, int cpu) {
  cpu_set_t s;
  CPU_ZERO(&s);
  CPU_SET(cpu, &s);
  (void)pthread_setaffinity_np(thread, sizeof s, &s);
}

static bool start_workers(ts_pool *p, const int *cpus, int usable, ts_diag *d) {
  for (int i = 1; i < p->threads; i++) {
    worker *w = &p->w[i];
    *w = (worker){.pool = p, .index = i, .cpu = i < usable ? cpus[i] : -1};
    int e = ts_fault("thread-start") ? EAGAIN : pthread_create(&w->thread, NULL, serve, w);
    if (e) return ts_env_fail(d, "thread-start", "cannot start thread %d of %d: %s", i + 1, p->threads, strerror(e));
    p->started = i;
    if (p->threads <= usable) pin(w->thread, w->cpu);
  }
  return true;
}

ts_pool *ts_pool_new(int threads, ts_diag *d) {
  cpu_set_t set;
  int cpus[CPU_SETSIZE];
  if (threads < 0 || threads > MAX_THREADS) {
    (void)ts_refuse(d, "bad-threads", "%d threads asked for; 1 to %d are possible", threads, MAX_THREADS);
    return NULL;
  }
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
  int cores = core_list(&set, cpus), usable = CPU_COUNT(&set);
  ts_pool *p = aligned_alloc(LINE, sizeof *p);
  worker *w = aligned_alloc(LINE, sizeof(worker) * (size_t)(threads ? threads : cores));
  if (!p || !w) {
    free(p);
    free(w);
    (void)ts_env_fail(d, "out-of-memory", "no memory for a pool of threads");
    return NULL;
  }
  *p = (ts_pool){.threads = threads ? threads : cores, .w = w, .caller_set = set};
  p->rt = (ts_kernel_rt){.parallel = parallel, .pool = p, .threads = p->threads};
  atomic_store(&p->spin_ns, 200000);
  if (!start_workers(p, cpus, usable, d)) {
    ts_pool_free(p);
    return NULL;
  }
  p->caller_pinned = p->threads > 1 && p->threads <= usable;
  if (p->caller_pinned) pin(pthread_self(), cpus[0]);
  return p;
}

void ts_pool_free(ts_pool *p) {
  if (!p) return;
  atomic_store(&p->stop, true);
  publish(p);
  for (int i = 1; i <= p->started; i++) pthread_join(p->w[i].thread, NULL);
  if (p->caller_pinned) (void)pthread_setaffinity_np(pthread_self(), sizeof p->caller_set, &p->caller_set);
  free(p->w);
  free(p);
}

int ts_pool_threads(const ts_pool *p) { return p->threads; }
const ts_kernel_rt *ts_pool_rt(ts_pool *p) { return &p->rt; }
void ts_pool_set_spin(ts_pool *p, uint64_t ns) { atomic_store(&p->spin_ns, ns); }
