// Timing on a GPU, the clock beside each sample. Three timers, one for all samples that are compared:
//   graph   a graph of calls that go round the copies of the weights, between two events: as the runtime launches them. Finals.
//   cupti   what CUPTI recorded of each call's kernels, from the first start to the last end: no launch, no overlap with neighbours
//   event   calls between two events, held back by a blocking kernel until all are queued: where neither of the others is to be had
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

const char *ts__timer_name(ts__timer t) {
  static const char *const names[] = {"graph", "cupti", "event"};
  return names[t];
}

void ts__gpu_choose_timer(ts__gpu *w, bool search) {
  ts_diag d = {0};
  if (search && w->opts.spans && !w->no_spans) {
    w->no_spans = !ts_cuda_activity_begin(&d);
    if (w->no_spans) ts_say("note: candidates are timed by graphs: %s", d.message);
  } else {
    ts_cuda_activity_end();  // graphs are slower while it records
  }
  w->timer = search && w->opts.spans && !w->no_spans ? TS__SPANS : w->no_graphs ? TS__EVENTS : TS__GRAPH;
}

// n calls from call `first` of the turn on. chained: each may start before the one before it has ended.
static bool issue_calls(ts__gpu *w, ts__gpu_kernel *k, int64_t first, int64_t n, bool chained, ts_diag *d) {
  for (int64_t i = 0; i < n; i++) {
    if (ts_cuda_call_issue(k->calls[(first + i) % k->ncalls], w->stream, chained && i > 0, d)) continue;
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
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuEventRecord(w->from, w->stream), d, "an event") && issue_calls(w, k, 0, n, true, d) && ts__gpu_ok(w, w->g.cu->cuEventRecord(w->to, w->stream), d, "an event") &&
         ts__gpu_wait(w, ts__gpu_limit_ns(w, k, (double)n), d) && elapsed(w, &ns, d));
  k->estimate_ns = fmax(ns / (double)n, 100);
  return true;
}

// One call, then, unless that was long, up to a turn over the copies.
bool ts__gpu_estimate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  TS_TRY(time_calls(w, k, 1, d));
  return ts__gpu_is_long(k) || time_calls(w, k, TS_MIN((int64_t)k->ncalls, ESTIMATE_CALLS), d);
}

bool ts__gpu_record(ts__gpu *w, bool (*issue)(void *arg, ts_diag *d), void *arg, CUgraphExec *out, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  CUgraph graph = NULL;
  TS_TRY(ts__gpu_ok(w, cu->cuStreamBeginCapture(w->stream, TS_CU_CAPTURE_THREAD), d, "recording a graph"));
  bool ok = issue(arg, d);
  CUresult end = cu->cuStreamEndCapture(w->stream, &graph);
  ok = ok && ts__gpu_ok(w, end, d, "recording a graph") && ts__gpu_ok(w, cu->cuGraphInstantiate(out, graph, 0), d, "instantiating a graph");
  if (graph) (void)cu->cuGraphDestroy(graph);
  return ok;
}

typedef struct sampled {
  ts__gpu *w;
  ts__gpu_kernel *k;
} sampled;
static bool issue_reps(void *arg, ts_diag *d) {
  const sampled *x = arg;
  return issue_calls(x->w, x->k, 0, x->k->reps, true, d);
}

static bool build_graph(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  if (k->graph) (void)cu->cuGraphExecDestroy(k->graph);
  k->graph = NULL;
  return ts__gpu_record(w, issue_reps, &(sampled){w, k}, &k->graph, d) &&
         (!cu->cuGraphUpload || ts__gpu_ok(w, cu->cuGraphUpload(k->graph, w->stream), d, "uploading a graph"));
}

// Bytes of weights and caches that a call may read cold.
static double cold_bytes(const ts__gpu *w, const ts__gpu_kernel *k) {
  return (double)k->w->cold_bytes / TS_MAX(1, k->w->copies) + (double)w->caches->cold_bytes / TS_MAX(1, w->caches->copies);
}

// Whether reading them is less than a hundredth of its time, so that it hardly matters how cold they are.
static bool busy_elsewhere(const ts__gpu *w, const ts__gpu_kernel *k) { return k->estimate_ns * 1e-9 * w->read_rate >= 100 * cold_bytes(w, k) && w->read_rate > 0; }

// Calls in a sample: whole turns over the copies, about a millisecond long.
static int64_t reps_of(const ts__gpu *w, const ts__gpu_kernel *k) {
  enum { QUEUED = 512 };  // launches that a stream takes without waiting
  double launches = TS_MAX(1, ts_cuda_call_launches(k->calls[0])), most = fmax(1, (w->timer == TS__GRAPH ? MOST_NODES : QUEUED) / launches);
  if (ts__gpu_is_long(k)) return 1;  // it leaves nothing of its weights in the caches
  if (w->timer != TS__GRAPH) return (int64_t)fmin(fmax(1, ceil(SAMPLE_NS / k->estimate_ns)), most);  // the next sample goes on in the turn
  double turns = fmax(1, ceil(SAMPLE_NS / (k->estimate_ns * k->ncalls)));
  if (busy_elsewhere(w, k)) return (int64_t)fmin(fmin(ceil(SAMPLE_NS / k->estimate_ns), turns * k->ncalls), most);
  return (int64_t)fmin(turns, fmax(1, floor(most / k->ncalls))) * k->ncalls;
}

bool ts__gpu_calibrate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  if (k->reps && k->timer == w->timer) return true;
  if (k->estimate_ns == 0) TS_TRY(ts__gpu_estimate(w, k, d));
  k->timer = w->timer;
  k->reps = reps_of(w, k);
  double ignored;
  if ((w->timer != TS__GRAPH || build_graph(w, k, d)) && ts__gpu_sample(w, k, &ignored, &ignored, d)) return true;
  k->reps = 0;
  return false;
}

// MHz between two readings of the clock, NAN when they were taken on different multiprocessors.
static bool clocks_read(ts__gpu *w, double *mhz, ts_diag *d) {
  uint64_t v[6];
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(v, w->scratch + 1024, sizeof v), d, "reading the clock"));
  *mhz = v[2] == v[5] && v[4] > v[1] + 10000 ? (double)(v[3] - v[0]) * 1e3 / (double)(v[4] - v[1]) : NAN;
  return true;
}

// The calls of one sample, issued.
static bool issue_sample(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  const uint64_t patience_ns = 1000000000;
  if (w->timer == TS__SPANS) return issue_calls(w, k, k->turn, k->reps, false, d);
  if (w->timer == TS__EVENTS) {
    *w->go = 0;
    TS_TRY(ts_cuda_block(&w->h, w->stream, w->go_device, patience_ns, d));
  }
  TS_TRY(ts__gpu_ok(w, cu->cuEventRecord(w->from, w->stream), d, "an event"));
  TS_TRY(w->timer == TS__GRAPH ? ts__gpu_ok(w, cu->cuGraphLaunch(k->graph, w->stream), d, "launching a graph") : issue_calls(w, k, k->turn, k->reps, true, d));
  return ts__gpu_ok(w, cu->cuEventRecord(w->to, w->stream), d, "an event");
}

// ns of all calls together, as CUPTI recorded them.
static bool spans(const ts__gpu_kernel *k, double *ns, ts_diag *d) {
  const ts_cuda_span *s;
  size_t n, reps = (size_t)k->reps, expected = (size_t)ts_cuda_call_launches(k->calls[0]) * reps;
  TS_TRY(ts_cuda_activity_take(expected, &s, &n, d));
  if (n % reps) return ts_env_fail(d, "cupti-records", "CUPTI recorded %zu kernels of %zu calls", n, reps);
  size_t each = n / reps;  // a library's product may be several
  *ns = 0;
  for (size_t i = 0; i < n; i += each) {
    uint64_t end = 0;
    for (size_t j = 0; j < each; j++) end = TS_MAX(end, s[i + j].end);
    *ns += (double)(end - s[i].start);
  }
  return true;
}

bool ts__gpu_sample(ts__gpu *w, ts__gpu_kernel *k, double *ns, double *mhz, ts_diag *d) {
  double limit = ts__gpu_limit_ns(w, k, (double)k->reps);
  if (w->timer == TS__SPANS) TS_TRY(ts_cuda_activity_restart(d));
  TS_TRY(ts_cuda_clock(&w->h, w->stream, w->scratch + 1024, d) && issue_sample(w, k, d) && ts_cuda_clock(&w->h, w->stream, w->scratch + 1048, d));
  if (w->timer == TS__EVENTS) *w->go = 1;
  TS_TRY(ts__gpu_wait(w, limit, d) && clocks_read(w, mhz, d) && (w->timer == TS__SPANS ? spans(k, ns, d) : elapsed(w, ns, d)));
  *ns /= (double)k->reps;
  k->turn = (k->turn + k->reps) % k->ncalls;
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
