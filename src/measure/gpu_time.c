// Timing on a GPU: graphs of calls that go round the copies of the weights, between two events; the clock beside each sample.
#include <math.h>
#include <stdlib.h>

#include "measure/gpu_worker.h"

enum { SAMPLE_NS = 1000000, LONG_NS = 5000000, MOST_NODES = 4096, FIRST_LIMIT_S = 5, ESTIMATE_CALLS = 16 };

// Before anything is known of a candidate: what the fastest one allows.
double ts__gpu_limit_ns(const ts__gpu *w, const ts__gpu_kernel *k, double calls) {
  double least = w->best_ns > 0 && !w->patient ? 50e6 : FIRST_LIMIT_S * 1e9, known = fmax(w->best_ns, k ? k->estimate_ns : 0);
  return fmin(fmax(least, 10 * known * calls), w->opts.timeout_s * 0.8e9);
}

bool ts__gpu_is_long(const ts__gpu_kernel *k) { return k->estimate_ns >= LONG_NS; }

static bool issue_calls(ts__gpu *w, ts__gpu_kernel *k, int64_t n, ts_diag *d) {
  for (int64_t i = 0; i < n; i++) {
    if (ts_cuda_call_issue(k->calls[i % k->ncalls], w->stream, i > 0, d)) continue;
    if (!w->lost) snprintf(w->why, sizeof w->why, "the kernel cannot be launched");
    return false;
  }
  return true;
}

static bool elapsed(ts__gpu *w, double *ns, ts_diag *d) {
  float ms = 0;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuEventElapsedTime(&ms, w->from, w->to), d, "reading the time"));
  *ns = (double)ms * 1e6;
  return true;
}

static bool time_calls(ts__gpu *w, ts__gpu_kernel *k, int64_t n, ts_diag *d) {
  double ns = 0;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuEventRecord(w->from, w->stream), d, "an event") && issue_calls(w, k, n, d) && ts__gpu_ok(w, w->g.cu->cuEventRecord(w->to, w->stream), d, "an event") &&
         ts__gpu_wait(w, ts__gpu_limit_ns(w, k, (double)n), d) && elapsed(w, &ns, d));
  k->estimate_ns = fmax(ns / (double)n, 100);
  return true;
}

// One call, then, unless that was long, up to a turn over the copies.
bool ts__gpu_estimate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  TS_TRY(time_calls(w, k, 1, d));
  return ts__gpu_is_long(k) || time_calls(w, k, TS_MIN((int64_t)k->ncalls, ESTIMATE_CALLS), d);
}

static bool build_graph(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  CUgraph graph = NULL;
  if (k->graph) (void)cu->cuGraphExecDestroy(k->graph);
  k->graph = NULL;
  TS_TRY(ts__gpu_ok(w, cu->cuStreamBeginCapture(w->stream, TS_CU_CAPTURE_THREAD), d, "recording a graph"));
  bool ok = issue_calls(w, k, k->reps, d);
  CUresult end = cu->cuStreamEndCapture(w->stream, &graph);
  ok = ok && ts__gpu_ok(w, end, d, "recording a graph") && ts__gpu_ok(w, cu->cuGraphInstantiate(&k->graph, graph, 0), d, "instantiating a graph");
  if (graph) (void)cu->cuGraphDestroy(graph);
  return ok && (!cu->cuGraphUpload || ts__gpu_ok(w, cu->cuGraphUpload(k->graph, w->stream), d, "uploading a graph"));
}

bool ts__gpu_calibrate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  if (k->estimate_ns == 0) TS_TRY(ts__gpu_estimate(w, k, d));
  int launches = ts_cuda_call_launches(k->calls[0]);
  double turns = fmax(1, ceil(SAMPLE_NS / (k->estimate_ns * k->ncalls))), most = fmax(1, MOST_NODES / ((double)k->ncalls * launches));
  k->reps = ts__gpu_is_long(k) ? 1 : (int64_t)fmin(turns, floor(most)) * k->ncalls;  // what is long leaves nothing of its weights in the caches
  double ignored;
  return build_graph(w, k, d) && ts__gpu_sample(w, k, &ignored, &ignored, d);
}

// MHz between two readings of the clock, NAN when they were taken on different multiprocessors.
static bool clocks_read(ts__gpu *w, double *mhz, ts_diag *d) {
  uint64_t v[6];
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(v, w->scratch + 1024, sizeof v), d, "reading the clock"));
  *mhz = v[2] == v[5] && v[4] > v[1] + 10000 ? (double)(v[3] - v[0]) * 1e3 / (double)(v[4] - v[1]) : NAN;
  return true;
}

bool ts__gpu_sample(ts__gpu *w, ts__gpu_kernel *k, double *ns, double *mhz, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  TS_TRY(ts_cuda_clock(&w->h, w->stream, w->scratch + 1024, d) && ts__gpu_ok(w, cu->cuEventRecord(w->from, w->stream), d, "an event") &&
         ts__gpu_ok(w, cu->cuGraphLaunch(k->graph, w->stream), d, "launching a graph") && ts__gpu_ok(w, cu->cuEventRecord(w->to, w->stream), d, "an event") &&
         ts_cuda_clock(&w->h, w->stream, w->scratch + 1048, d) && ts__gpu_wait(w, ts__gpu_limit_ns(w, k, (double)k->reps), d) && elapsed(w, ns, d) && clocks_read(w, mhz, d));
  *ns /= (double)k->reps;
  return true;
}

// --- warming up ------------------------------------------------------------------------------------------------------------
// Copies between two halves of a buffer keep the memory and the clock busy.
bool ts__gpu_warm_up(ts__gpu *w, ts_diag *d) {
  enum { BYTES = 64 << 20, LEAST_MS = 60, MOST_MS = 1500, LAST = 16 };
  const ts_cuda_driver *cu = w->g.cu;
  CUdeviceptr p = 0;
  double mhz[LAST] = {0};
  TS_TRY(ts__gpu_ok(w, cu->cuMemAlloc(&p, BYTES), d, "memory to warm up with"));
  uint64_t begin = ts_now_ns();
  bool ok = true;
  for (int i = 0; ok; i++) {
    double ms = (double)(ts_now_ns() - begin) / 1e6, lo = INFINITY, hi = 0;
    for (int j = 0; j < LAST; j++) {
      lo = fmin(lo, mhz[j]);
      hi = fmax(hi, mhz[j]);
    }
    if (ms > MOST_MS || (ms > LEAST_MS && lo > 0 && hi < 1.01 * lo)) break;
    ok = ts_cuda_clock(&w->h, w->stream, w->scratch + 1024, d);
    for (int j = 0; j < 32 && ok; j++) ok = ts_cuda_fill_bits(&w->h, p, BYTES, (uint64_t)j, d);
    ok = ok && ts__gpu_ok(w, cu->cuCtxSynchronize(), d, "warming up") && ts_cuda_clock(&w->h, w->stream, w->scratch + 1048, d) && ts__gpu_wait(w, 1e9, d) && clocks_read(w, &mhz[i % LAST], d);
    if (isnan(mhz[i % LAST])) mhz[i % LAST] = 0;
    w->sustained_mhz = fmax(w->sustained_mhz, mhz[i % LAST]);
  }
  (void)cu->cuMemFree(p);
  return ok;
}
