// Probing: threads pinned to cores run a loop together, several times; the fastest pass counts.
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "device/device.h"
#include "device/loops.h"

static const struct {
  const char *name, *unit, *doc;
} rows[] = {
#define CEILING(name, unit, doc) {#name, unit, doc},
#include "device/ceilings.def"
#undef CEILING
};
const char *ts_ceiling_name(ts_ceiling c) { return rows[c].name; }
const char *ts_ceiling_unit(ts_ceiling c) { return rows[c].unit; }
const char *ts_ceiling_doc(ts_ceiling c) { return rows[c].doc; }

typedef struct team team;
// One thread's share of a pass: returns how much was done (bytes or operations); negative: cannot be done here.
typedef double (*work_fn)(const team *t, int index);
struct team {
  int threads;
  double seconds;  // of all passes
  work_fn work;
  char *from, *to;
  int64_t bytes;   // of each buffer
  int64_t rounds;
  pthread_barrier_t barrier;
  _Atomic uint64_t sink;
  int cpus[1024];
  double done;     // by one thread in one pass
  double best;     // units per second of all threads
  double *passes;  // seconds of each pass, when kept
  int npasses, max_passes;
  bool stop;
};
typedef struct member {
  team *t;
  int index;
} member;

static void lead(team *t, uint64_t start, uint64_t begin) {
  double s = (double)(ts_now_ns() - begin) / 1e9;
  if (t->passes && t->npasses < t->max_passes) t->passes[t->npasses] = s;
  t->npasses++;
  if (s > 0) t->best = fmax(t->best, t->done * t->threads / s);
  t->stop = t->npasses >= 3 && (double)(ts_now_ns() - start) / 1e9 > t->seconds;
  if (t->passes) t->stop = t->npasses >= t->max_passes;
  t->stop |= ts_interrupted();
}

static void *member_run(void *arg) {
  member *m = arg;
  team *t = m->t;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(t->cpus[m->index], &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  for (uint64_t start = ts_now_ns();;) {
    pthread_barrier_wait(&t->barrier);
    uint64_t begin = ts_now_ns();
    double done = t->work(t, m->index);
    if (m->index == 0) t->done = done;
    pthread_barrier_wait(&t->barrier);
    if (m->index == 0) lead(t, start, begin);
    pthread_barrier_wait(&t->barrier);
    if (t->stop) return NULL;
  }
}

static bool team_run(team *t, ts_diag *d) {
  pthread_t thread[1024];
  member m[1024];
  t->best = 0;
  t->npasses = 0;
  t->stop = false;
  pthread_barrier_init(&t->barrier, NULL, (unsigned)t->threads);
  for (int i = 0; i < t->threads; i++) {
    m[i] = (member){t, i};
    int e = pthread_create(&thread[i], NULL, member_run, &m[i]);
    if (e) {  // those that started wait for the others: there is no way on
      fprintf(stderr, "error: cannot start a thread: %s\n", strerror(e));
      exit(3);
    }
  }
  for (int i = 0; i < t->threads; i++) pthread_join(thread[i], NULL);
  pthread_barrier_destroy(&t->barrier);
  if (ts_interrupted()) return ts_env_fail(d, "interrupted", "interrupted");
  return t->best > 0 || t->done < 0 || ts_bug(d, "probe", "a pass did nothing");
}

static int64_t share(const team *t) { return t->bytes / t->threads / 512 * 512; }

static double work_read(const team *t, int index) {
  uint64_t v = ts__loop_read(t->from + share(t) * index, share(t));
  atomic_fetch_add(&((team *)t)->sink, v);
  return (double)share(t);
}

static double work_copy(const team *t, int index) {
  ts__loop_copy(t->to + share(t) * index, t->from + share(t) * index, share(t));
  return 2.0 * (double)share(t);
}

static double work_fma(const team *t, int index) {
  double ops = 0;
  (void)index;
  uint64_t v = ts__loop_fma(t->rounds, &ops);
  atomic_fetch_add(&((team *)t)->sink, v);
  return v ? ops : -1;
}

static double work_vnni(const team *t, int index) {
  double ops = 0;
  (void)index;
  uint64_t v = ts__loop_vnni(t->rounds, &ops);
  atomic_fetch_add(&((team *)t)->sink, v);
  return v ? ops : -1;
}

#define HUGE_PAGE ((size_t)2 << 20)

// Memory with data in every page, on huge or on small pages.
static char *map_memory(int64_t bytes, bool huge, void **base, size_t *mapped, ts_diag *d) {
  *mapped = (size_t)bytes + HUGE_PAGE;
  *base = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (*base == MAP_FAILED) {
    (void)ts_env_fail(d, "out-of-memory", "no %lld bytes of memory to measure with: %s", (long long)bytes, strerror(errno));
    return NULL;
  }
  char *p = (char *)(((uintptr_t)*base + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
  (void)madvise(p, (size_t)bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  memset(p, 1, (size_t)bytes);
  return p;
}

// One CPU a thread, in the system's order, which numbers the first threads of all cores before their siblings.
static bool choose_cpus(team *t, int threads, ts_diag *d) {
  cpu_set_t set;
  ts_target host;
  int n = 0, all[CPU_SETSIZE];
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return ts_env_fail(d, "affinity", "sched_getaffinity: %s", strerror(errno));
  TS_TRY(ts_target_parse("cpu", &host, d));
  for (int c = 0; c < CPU_SETSIZE; c++)
    if (CPU_ISSET(c, &set)) all[n++] = c;
  t->threads = threads ? threads : TS_MAX(1, TS_MIN(host.cores, n));
  if (t->threads < 1 || t->threads > (int)TS_COUNTOF(t->cpus))
    return ts_refuse(d, "bad-threads", "%d threads asked for; 1 to %zu are possible", threads, TS_COUNTOF(t->cpus));
  for (int i = 0; i < t->threads; i++) t->cpus[i] = all[i % n];
  return true;
}

// Four times the last-level cache, 256 MiB to 2 GiB.
static int64_t buffer_bytes(void) {
  ts_target host;
  int64_t l3 = ts_target_parse("cpu", &host, NULL) ? host.l3_bytes : 0;
  return TS_MIN(TS_MAX(4 * l3, INT64_C(256) << 20), INT64_C(2) << 30);
}

// Run `work` over fresh memory of the given kind; units per second.
static bool over_memory(team *t, work_fn work, bool huge, bool two, double *out, ts_diag *d) {
  void *base[2] = {0};
  size_t mapped[2] = {0};
  t->bytes = buffer_bytes();
  t->work = work;
  t->from = map_memory(t->bytes, huge, &base[0], &mapped[0], d);
  t->to = t->from && two ? map_memory(t->bytes, huge, &base[1], &mapped[1], d) : NULL;
  bool ok = t->from && (t->to || !two) && team_run(t, d);
  for (int i = 0; i < 2; i++)
    if (base[i] && base[i] != MAP_FAILED) munmap(base[i], mapped[i]);
  *out = t->best;
  return ok;
}

bool ts_device_read_bandwidth(int threads, double seconds, double *bytes_per_s, ts_diag *d) {
  team t = {.seconds = seconds};
  return choose_cpus(&t, threads, d) && over_memory(&t, work_read, true, false, bytes_per_s, d);
}

static bool over_registers(team *t, work_fn work, double *out, ts_diag *d) {
  t->work = work;
  t->rounds = 2000;
  bool ok = team_run(t, d);
  *out = t->done < 0 ? NAN : t->best / 1e9;
  return ok;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// The same work timed in two turns, many times: how far apart medians fall when nothing differs
// (three quarters of the pairs are nearer).
static bool noise(team *t, double *out, ts_diag *d) {
  enum { ROUNDS = 12, PASSES = 31 };
  double v[PASSES], apart[ROUNDS], last = 0;
  t->work = work_fma;
  t->rounds = 2000;
  t->passes = v;
  t->max_passes = PASSES;
  bool ok = true;
  for (int i = 0; i < ROUNDS; i++) {
    if (!(ok = team_run(t, d))) break;
    qsort(v, PASSES, sizeof *v, by_value);
    apart[i] = i ? fabs(log(v[PASSES / 2] / last)) : 0;
    last = v[PASSES / 2];
  }
  t->passes = NULL;
  if (!ok) return false;
  qsort(apart, ROUNDS, sizeof *apart, by_value);
  *out = t->done < 0 ? NAN : apart[ROUNDS * 3 / 4];
  return true;
}

bool ts_device_probe(int threads, double seconds, ts_probe *p, ts_diag *d) {
  team all, one;
  memset(&all, 0, sizeof all);
  all.seconds = seconds / TS_CEILING__COUNT;
  TS_TRY(choose_cpus(&all, threads, d));
  one = all;
  one.threads = 1;
  double *v = p->value;
  for (int i = 0; i < TS_CEILING__COUNT; i++) v[i] = NAN;
  p->threads = all.threads;
  TS_TRY(over_memory(&one, work_read, true, false, &v[TS_CEILING_read_1], d));
  TS_TRY(over_memory(&all, work_read, true, false, &v[TS_CEILING_read], d));
  TS_TRY(over_memory(&all, work_read, false, false, &v[TS_CEILING_read_4k], d));
  TS_TRY(over_memory(&all, work_copy, true, true, &v[TS_CEILING_copy], d));
  for (int i = TS_CEILING_read_1; i <= TS_CEILING_copy; i++) v[i] /= 1e9;
  TS_TRY(over_registers(&one, work_fma, &v[TS_CEILING_fma_1], d));
  TS_TRY(over_registers(&all, work_fma, &v[TS_CEILING_fma], d));
  TS_TRY(over_registers(&one, work_vnni, &v[TS_CEILING_vnni_1], d));
  TS_TRY(over_registers(&all, work_vnni, &v[TS_CEILING_vnni], d));
  return noise(&all, &v[TS_CEILING_noise], d);
}

void ts_probe_print(ts_text *out, const ts_probe *p) {
  for (int i = 0; i < TS_CEILING__COUNT; i++)
    if (!isnan(p->value[i])) ts_text_addf(out, "%s %.4g %s\n", rows[i].name, p->value[i], rows[i].unit);
}
