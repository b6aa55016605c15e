// Probing a GPU: kernels at its limits, timed by events; the fastest pass counts.
#include <math.h>
#include <stdlib.h>

#include "device/device.h"
#include "device/gpu_loops.h"

enum { THREADS = 256, LAUNCHES = 1000, MOST_PASSES = 2000 };
typedef struct gpu {
  const ts_cuda *g;
  CUmodule any, sm90;  // sm90: NULL on other GPUs
  CUstream stream;
  CUevent from, to;
  double seconds;      // of one ceiling
  CUdeviceptr sink;
} gpu;

static bool ok(const gpu *x, CUresult r, ts_diag *d) { return ts_cuda_check(x->g->cu, r, d, "probing %s", x->g->name); }

static bool load(const gpu *x, void (*text)(ts_text *out), CUmodule *out, ts_diag *d) {
  ts_text ptx = {0};
  text(&ptx);
  bool good = ok(x, x->g->cu->cuModuleLoadDataEx(out, ts_text_str(&ptx), 0, NULL, NULL), d);
  ts_text_free(&ptx);
  return good;
}

static void gpu_close(gpu *x) {
  const ts_cuda_driver *cu = x->g->cu;
  if (x->sink) (void)cu->cuMemFree(x->sink);
  if (x->from) (void)cu->cuEventDestroy(x->from);
  if (x->to) (void)cu->cuEventDestroy(x->to);
  if (x->stream) (void)cu->cuStreamDestroy(x->stream);
  if (x->any) (void)cu->cuModuleUnload(x->any);
  if (x->sm90) (void)cu->cuModuleUnload(x->sm90);
}

static bool gpu_open(gpu *x, const ts_cuda *g, double seconds, ts_diag *d) {
  const ts_cuda_driver *cu = g->cu;
  *x = (gpu){.g = g, .seconds = seconds};
  bool good = load(x, ts__gpu_loops_ptx, &x->any, d) && ok(x, cu->cuStreamCreate(&x->stream, TS_CU_STREAM_NON_BLOCKING), d) && ok(x, cu->cuEventCreate(&x->from, TS_CU_EVENT_DEFAULT), d) &&
              ok(x, cu->cuEventCreate(&x->to, TS_CU_EVENT_DEFAULT), d) && ok(x, cu->cuMemAlloc(&x->sink, 256), d) && ok(x, cu->cuMemsetD8(x->sink, 0, 256), d);
  if (!good) gpu_close(x);
  return good;
}

// What one pass does: issued into the stream.
typedef struct pass {
  CUfunction f;
  unsigned blocks, threads;
  void **args;
  int times;
  CUgraphExec graph;  // instead of launches
  bool together;      // all blocks must be resident
  bool dependent;
} pass;

static CUresult launch(const gpu *x, const pass *p) {
  CUlaunchAttribute attr[1] = {{.id = p->together ? TS_CU_LAUNCH_COOPERATIVE : TS_CU_LAUNCH_DEPENDENT}};
  attr[0].value.flag = 1;
  CUlaunchConfig c = {.gx = p->blocks, .gy = 1, .gz = 1, .bx = p->threads, .by = 1, .bz = 1, .stream = x->stream, .attrs = attr, .nattrs = p->together || p->dependent};
  return x->g->cu->cuLaunchKernelEx(&c, p->f, p->args, NULL);
}

static CUresult issue(const gpu *x, const pass *p) {
  if (p->graph) return x->g->cu->cuGraphLaunch(p->graph, x->stream);
  CUresult r = 0;
  for (int i = 0; i < p->times && !r; i++) r = launch(x, p);
  return r;
}

static bool time_pass(const gpu *x, const pass *p, double *ns, ts_diag *d) {
  const ts_cuda_driver *cu = x->g->cu;
  float ms = 0;
  TS_TRY(ok(x, cu->cuEventRecord(x->from, x->stream), d) && ok(x, issue(x, p), d) && ok(x, cu->cuEventRecord(x->to, x->stream), d) && ok(x, cu->cuEventSynchronize(x->to), d) &&
         ok(x, cu->cuEventElapsedTime(&ms, x->from, x->to), d));
  *ns = (double)ms * 1e6;
  return true;
}

// Nanoseconds of the fastest pass.
static bool fastest(const gpu *x, const pass *p, double *ns, ts_diag *d) {
  uint64_t begin = ts_now_ns();
  *ns = INFINITY;
  for (int i = 0; i < MOST_PASSES && (i < 5 || (double)(ts_now_ns() - begin) < x->seconds * 1e9); i++) {
    double t;
    TS_TRY(time_pass(x, p, &t, d));
    if (i) *ns = fmin(*ns, t);
  }
  return true;
}

static bool find(const gpu *x, CUmodule m, const char *name, pass *p, ts_diag *d) {
  if (!p->times) p->times = 1;
  if (!p->threads) p->threads = THREADS;
  return ok(x, x->g->cu->cuModuleGetFunction(&p->f, m, name), d);
}

// --- memory --------------------------------------------------------------------------------------------------------------
// As much as asked for, or a quarter of what is free.
static bool get_memory(const gpu *x, int64_t wanted, CUdeviceptr *p, int64_t *bytes, ts_diag *d) {
  size_t available, total;
  TS_TRY(ok(x, x->g->cu->cuMemGetInfo(&available, &total), d));
  *bytes = TS_MIN(wanted, (int64_t)(available / 4)) / 4096 * 4096;
  TS_TRY(ok(x, x->g->cu->cuMemAlloc(p, (size_t)*bytes), d));
  return ok(x, x->g->cu->cuMemsetD8(*p, 0x5A, (size_t)*bytes), d);
}

static bool probe_read(const gpu *x, double *bytes_per_s, ts_diag *d) {
  CUdeviceptr p = 0;
  int64_t bytes, chunks;
  double ns;
  TS_TRY(get_memory(x, INT64_C(4) << 30, &p, &bytes, d));
  chunks = bytes / 16;
  pass s = {.blocks = (unsigned)x->g->sms * 8, .args = (void *[]){&p, &chunks, (void *)(uintptr_t)&x->sink}};
  bool good = find(x, x->any, "read", &s, d) && fastest(x, &s, &ns, d);
  (void)x->g->cu->cuMemFree(p);
  if (good) *bytes_per_s = (double)bytes / ns * 1e9;
  return good;
}

static bool probe_copy(const gpu *x, double *bytes_per_s, ts_diag *d) {
  CUdeviceptr from = 0, to = 0;
  int64_t bytes, same, chunks;
  double ns;
  TS_TRY(get_memory(x, INT64_C(2) << 30, &from, &bytes, d));
  bool good = get_memory(x, bytes, &to, &same, d);
  chunks = TS_MIN(bytes, same) / 16;
  pass s = {.blocks = (unsigned)x->g->sms * 8, .args = (void *[]){&to, &from, &chunks}};
  good = good && find(x, x->any, "copy", &s, d) && fastest(x, &s, &ns, d);
  (void)x->g->cu->cuMemFree(from);
  if (to) (void)x->g->cu->cuMemFree(to);
  if (good) *bytes_per_s = 2 * (double)chunks * 16 / ns * 1e9;
  return good;
}

// A quarter of the cache, many times: more than the first-level caches hold together, and they are passed by.
static bool probe_l2(const gpu *x, double *bytes_per_s, ts_diag *d) {
  CUdeviceptr p = 0;
  int64_t bytes, chunks, rounds = 20;
  double ns;
  TS_TRY(get_memory(x, TS_MAX(x->g->l2_bytes / 4, INT64_C(1) << 20), &p, &bytes, d));
  chunks = bytes / 16;
  pass s = {.blocks = (unsigned)x->g->sms * 8, .args = (void *[]){&p, &chunks, &rounds, (void *)(uintptr_t)&x->sink}};
  bool good = find(x, x->any, "read_cached", &s, d) && fastest(x, &s, &ns, d);
  (void)x->g->cu->cuMemFree(p);
  if (good) *bytes_per_s = (double)bytes * (double)rounds / ns * 1e9;
  return good;
}

// --- arithmetic -----------------------------------------------------------------------------------------------------------
// ops: of a block and round. Thousands of millions of them in a second.
static bool probe_loop(const gpu *x, CUmodule m, const char *name, unsigned blocks, unsigned threads, double ops, double *giga_per_s, ts_diag *d) {
  int64_t rounds = 2000;
  double ns;
  pass s = {.blocks = blocks, .threads = threads, .args = (void *[]){&rounds, (void *)(uintptr_t)&x->sink}};
  TS_TRY(find(x, m, name, &s, d) && fastest(x, &s, &ns, d));
  *giga_per_s = ops * (double)rounds * (double)blocks / ns;
  return true;
}

static bool probe_arithmetic(gpu *x, double *v, ts_diag *d) {
  static const struct {
    ts_ceiling c;
    const char *name;
    double ops;  // of a warp and round
  } loops[] = {{TS_CEILING_fma, "fma_f32", 2.0 * 32 * TS__FMA_OPS},
               {TS_CEILING_fma_f16, "fma_f16", 4.0 * 32 * TS__FMA_OPS},
               {TS_CEILING_mma_f16, "mma_f16", 2.0 * 16 * 8 * 16 * TS__MMA_TILES},
               {TS_CEILING_mma_bf16, "mma_bf16", 2.0 * 16 * 8 * 16 * TS__MMA_TILES},
               {TS_CEILING_mma_s8, "mma_s8", 2.0 * 16 * 8 * 32 * TS__MMA_TILES}};
  static const struct {
    ts_ceiling c;
    const char *name;
    double ops;  // of a warpgroup and round
  } groups[] = {{TS_CEILING_wgmma_f16, "wgmma_f16", 2.0 * 64 * 256 * 16 * TS__WGMMA_TILES},
                {TS_CEILING_wgmma_bf16, "wgmma_bf16", 2.0 * 64 * 256 * 16 * TS__WGMMA_TILES},
                {TS_CEILING_wgmma_s8, "wgmma_s8", 2.0 * 64 * 256 * 32 * TS__WGMMA_TILES}};
  unsigned sms = (unsigned)x->g->sms;
  for (size_t i = 0; i < TS_COUNTOF(loops); i++) TS_TRY(probe_loop(x, x->any, loops[i].name, sms * 2, 512, loops[i].ops * 16, &v[loops[i].c], d));
  for (size_t i = 0; i < TS_COUNTOF(groups) && x->sm90; i++) TS_TRY(probe_loop(x, x->sm90, groups[i].name, sms * 2, 128, groups[i].ops, &v[groups[i].c], d));
  return true;
}

// --- launches ------------------------------------------------------------------------------------------------------------
// The launches of a pass as nodes of a graph, each behind the one before.
static bool chain(const gpu *x, pass *p, ts_diag *d) {
  const ts_cuda_driver *cu = x->g->cu;
  CUgraph graph = NULL;
  TS_TRY(ok(x, cu->cuStreamBeginCapture(x->stream, TS_CU_CAPTURE_THREAD), d));
  CUresult r = issue(x, p), end = cu->cuStreamEndCapture(x->stream, &graph);
  bool good = ok(x, r ? r : end, d) && ok(x, cu->cuGraphInstantiate(&p->graph, graph, 0), d);
  if (graph) (void)cu->cuGraphDestroy(graph);
  return good;
}

// As launches of a stream, or as nodes of a graph; *us stays as it is where the driver has no graphs.
static bool probe_node(const gpu *x, CUmodule m, const char *name, bool dependent, bool graph, double *us, ts_diag *d) {
  if (graph && !x->g->cu->cuGraphInstantiate) return true;
  pass s = {.blocks = (unsigned)x->g->sms, .times = LAUNCHES, .args = (void *[]){NULL}, .dependent = dependent};
  double ns;
  bool good = find(x, m, name, &s, d) && (!graph || chain(x, &s, d)) && fastest(x, &s, &ns, d);
  if (s.graph) (void)x->g->cu->cuGraphExecDestroy(s.graph);
  if (good) *us = ns / LAUNCHES / 1e3;
  return good;
}

static bool probe_barrier(const gpu *x, double *us, ts_diag *d) {
  int64_t rounds = LAUNCHES;
  double best = INFINITY;
  pass s = {.blocks = (unsigned)x->g->sms, .together = true, .args = (void *[]){(void *)(uintptr_t)&x->sink, &rounds}};
  TS_TRY(find(x, x->any, "barrier", &s, d));
  for (int i = 0; i < 20; i++) {
    double t;
    TS_TRY(ok(x, x->g->cu->cuMemsetD32Async(x->sink, 0, 1, x->stream), d) && time_pass(x, &s, &t, d));
    best = fmin(best, t);
  }
  *us = best / LAUNCHES / 1e3;
  return true;
}

// --- clock and noise -------------------------------------------------------------------------------------------------------
// Frequency over a run of the multiply-adds between two readings on one multiprocessor.
static bool probe_clock(const gpu *x, double *mhz, ts_diag *d) {
  ts_cuda_helpers h;
  CUdeviceptr p = 0;
  int64_t rounds = 20000;
  uint64_t v[6] = {0};
  pass s = {.blocks = (unsigned)x->g->sms * 2, .threads = 512, .args = (void *[]){&rounds, (void *)(uintptr_t)&x->sink}};
  TS_TRY(find(x, x->any, "fma_f32", &s, d) && ts_cuda_helpers_open(x->g, &h, d));
  bool good = ok(x, x->g->cu->cuMemAlloc(&p, sizeof v), d) && ok(x, launch(x, &s), d) && ts_cuda_clock(&h, x->stream, p, d) && ok(x, launch(x, &s), d) && ts_cuda_clock(&h, x->stream, p + 24, d) &&
              ok(x, x->g->cu->cuStreamSynchronize(x->stream), d) && ok(x, x->g->cu->cuMemcpyDtoH(v, p, sizeof v), d);
  if (p) (void)x->g->cu->cuMemFree(p);
  ts_cuda_helpers_close(&h);
  if (good && v[2] == v[5] && v[4] > v[1]) *mhz = (double)(v[3] - v[0]) * 1e3 / (double)(v[4] - v[1]);
  return good;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// The same kernel (a read of 64 MiB) timed in two turns, many times: how far apart medians fall when nothing differs.
static bool probe_noise(const gpu *x, double *out, ts_diag *d) {
  enum { ROUNDS = 24, PASSES = 31 };
  double v[PASSES], apart[ROUNDS], last = 0;
  CUdeviceptr p = 0;
  int64_t bytes, chunks;
  TS_TRY(get_memory(x, INT64_C(64) << 20, &p, &bytes, d));
  chunks = bytes / 16;
  pass s = {.blocks = (unsigned)x->g->sms * 8, .times = 4, .args = (void *[]){&p, &chunks, (void *)(uintptr_t)&x->sink}};
  bool good = find(x, x->any, "read", &s, d);
  for (int i = 0; i < ROUNDS && good; i++) {
    for (int k = 0; k < PASSES && good; k++) good = time_pass(x, &s, &v[k], d);
    qsort(v, PASSES, sizeof *v, by_value);
    apart[i] = i ? fabs(log(v[PASSES / 2] / last)) : 0;
    last = v[PASSES / 2];
  }
  (void)x->g->cu->cuMemFree(p);
  qsort(apart, ROUNDS, sizeof *apart, by_value);
  *out = apart[ROUNDS * 3 / 4];
  return good;
}

// --- timers --------------------------------------------------------------------------------------------------------------
// Of one launch by CUPTI's records, in the fastest of some passes. NAN where there is no CUPTI, or not all is recorded.
static bool recorded_ns(const gpu *x, const pass *p, double *ns, ts_diag *d) {
  enum { PASSES = 8 };
  const ts_cuda_span *span;
  size_t n;
  *ns = NAN;
  if (!ts_cuda_activity_begin(NULL)) return true;
  bool good = true;
  for (int i = 0; i < PASSES && good; i++) {
    double ignored, sum = 0;
    if (!ts_cuda_activity_restart(NULL)) break;
    good = time_pass(x, p, &ignored, d);
    if (!good || !ts_cuda_activity_take((size_t)p->times, &span, &n, NULL)) break;
    for (size_t k = 0; k < n; k++) sum += (double)(span[k].end - span[k].start);
    *ns = fmin(sum / (double)n, isnan(*ns) ? INFINITY : *ns);
  }
  ts_cuda_activity_end();
  return good;
}

// The same reads by launches between events, as a graph, and by CUPTI's records: how far apart they say a launch is.
static bool probe_timers(const gpu *x, double *out, ts_diag *d) {
  double ns[3] = {NAN, NAN, NAN}, least = INFINITY, most = 0;
  CUdeviceptr p = 0;
  int64_t bytes, chunks;
  TS_TRY(get_memory(x, INT64_C(1) << 30, &p, &bytes, d));
  chunks = bytes / 16;
  pass s = {.blocks = (unsigned)x->g->sms * 8, .times = 4, .args = (void *[]){&p, &chunks, (void *)(uintptr_t)&x->sink}};
  bool good = find(x, x->any, "read", &s, d) && fastest(x, &s, &ns[0], d);
  if (good && x->g->cu->cuGraphInstantiate) {
    good = chain(x, &s, d) && fastest(x, &s, &ns[1], d);
    if (s.graph) (void)x->g->cu->cuGraphExecDestroy(s.graph);
    s.graph = NULL;
  }
  for (int i = 0; i < 2; i++) ns[i] /= s.times;
  good = good && recorded_ns(x, &s, &ns[2], d);
  (void)x->g->cu->cuMemFree(p);
  for (int i = 0; i < 3; i++)
    if (!isnan(ns[i])) least = fmin(least, ns[i]), most = fmax(most, ns[i]);
  *out = log(most / least);
  return good;
}

// --- all of it ---------------------------------------------------------------------------------------------------------------
static bool probe_all(gpu *x, double *v, ts_diag *d) {
  if (x->g->compute == 90) TS_TRY(load(x, ts__gpu_loops_ptx_sm90, &x->sm90, d));
  TS_TRY(probe_arithmetic(x, v, d) && probe_clock(x, &v[TS_CEILING_clock], d));  // first: they bring the clock up
  TS_TRY(probe_read(x, &v[TS_CEILING_read], d) && probe_copy(x, &v[TS_CEILING_copy], d) && probe_l2(x, &v[TS_CEILING_l2], d));
  v[TS_CEILING_read] /= 1e9;
  v[TS_CEILING_copy] /= 1e9;
  v[TS_CEILING_l2] /= 1e9;
  TS_TRY(probe_node(x, x->any, "empty", false, false, &v[TS_CEILING_launch], d) && probe_node(x, x->any, "empty", false, true, &v[TS_CEILING_node], d));
  if (x->sm90) TS_TRY(probe_node(x, x->sm90, "dependent", true, true, &v[TS_CEILING_dependent], d));
  return probe_barrier(x, &v[TS_CEILING_barrier], d) && probe_noise(x, &v[TS_CEILING_noise], d) && probe_timers(x, &v[TS_CEILING_timers], d);
}

bool ts_device_gpu_read_bandwidth(const ts_cuda *g, double seconds, double *bytes_per_s, ts_diag *d) {
  gpu x;
  TS_TRY(gpu_open(&x, g, seconds, d));
  bool good = probe_read(&x, bytes_per_s, d);
  gpu_close(&x);
  return good;
}

typedef struct job {
  int ordinal;
  double seconds;
} job;
typedef struct result {
  bool good;
  ts_diag diag;
  double value[TS_CEILING__COUNT];
} result;

static void serve(int fd, void *arg) {
  const job *j = arg;
  static result r;
  ts_cuda g;
  gpu x;
  for (int i = 0; i < TS_CEILING__COUNT; i++) r.value[i] = NAN;
  if (ts_cuda_open(j->ordinal, &g, &r.diag)) {
    r.good = gpu_open(&x, &g, j->seconds / TS_CEILING__COUNT, &r.diag) && probe_all(&x, r.value, &r.diag);
    (void)!ts_msg_send(fd, &r, sizeof r);
    return;  // the process ends, and with it all that it holds
  }
  (void)!ts_msg_send(fd, &r, sizeof r);
}

bool ts_device_probe_gpu(const ts_target *t, double seconds, ts_probe *out, ts_diag *d) {
  ts_worker w;
  job j = {t->gpu.device, seconds};
  ts_text text = {0};
  TS_TRY(ts_target_runs_here(t, d) && ts_worker_start(&w, serve, &j, d));
  int got = ts_msg_recv(w.fd, &text, seconds * 4 + 120);
  result r;
  bool whole = got == 1 && text.n == sizeof r;
  if (whole) memcpy(&r, text.p, sizeof r);
  ts_text_free(&text);
  ts_worker_stop(&w, NULL);
  if (!whole) return ts_env_fail(d, "probe", "probing %s: %s", t->product, got == 0 ? "no answer in time" : "the process ended");
  if (!r.good) {
    if (d) *d = r.diag;
    return false;
  }
  out->threads = 0;
  memcpy(out->value, r.value, sizeof r.value);
  return true;
}
