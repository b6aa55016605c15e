// The measuring worker of a GPU: it alone starts CUDA. A fault or a hang ends it; what it says before tells why.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "device/device.h"
#include "measure/gpu_worker.h"

// --- speeds that cannot be ----------------------------------------------------------------------------------------------------
enum { MOST_OPS_A_CLOCK = 16384 };  // of a multiprocessor: twice what 8-bit tensor operations of present GPUs do

static double attribute(const ts__gpu *w, int which) {
  int v = 0;
  (void)w->g.cu->cuDeviceGetAttribute(&v, which, w->g.device);
  return v;
}

// No call is faster than reading its cold bytes, or than its arithmetic at the highest rate there is. What was measured of the memory may be less than
// what it can do, by a tenth on some hosts: its pins say what it cannot.
static bool find_floor(ts__gpu *w, ts_diag *d) {
  double pins = 2 * attribute(w, TS_CU_MEMORY_KHZ) * 1e3 * attribute(w, TS_CU_MEMORY_BITS) / 8;
  TS_TRY(ts_device_gpu_read_bandwidth(&w->g, 0.02, &w->read_rate, d));
  double rate = (double)w->g.sms * MOST_OPS_A_CLOCK * attribute(w, TS_CU_CLOCK_KHZ) * 1e3;
  w->floor_ns = fmax(w->w->cost.cold_bytes / fmax(w->read_rate, pins), rate > 0 ? w->w->cost.flops / rate : 0) * 1e9;
  return true;
}

// Smaller weights than the caches stay warm however they are rotated: nothing is said about those.
static bool plausible(const ts__gpu *w, const ts__gpu_kernel *k, double ns, ts__reply *r) {
  bool cold = k->w->cold_bytes + w->caches->cold_bytes >= 2 * w->g.l2_bytes;
  if (!cold || ns >= 0.95 * w->floor_ns) return true;
  ts__say(r, TS_WRONG, "implausible: %.3g us a call, and reading what it reads takes %.3g us", ns / 1e3, w->floor_ns / 1e3);
  return false;
}

// --- one candidate -------------------------------------------------------------------------------------------------------------
// A sample taken well below the clock that the device has sustained, or while the driver holds the clock back, is marked, and kept. Heat and a failing
// supply pass: before a final such a sample is taken again after a pause, three times for a candidate in all, and then kept with its mark. Where pauses
// help nobody there are no more of them until the device has recovered. A power cap is how matrix kernels run: a search does not wait for its end
// (a final is held at one clock: gpu_final.c).
enum { FLAG_SLOW_CLOCK = 2, FLAG_THROTTLED = 4, SENSE_NS = 100000000, MOST_AGAIN = 3, MOST_IN_VAIN = 6 };

static void sense(ts__gpu *w) {
  uint64_t now = ts_now_ns();
  if (w->sensed_ns && now - w->sensed_ns < SENSE_NS) return;
  w->sensors = ts_cuda_sense(w->g.pci);
  w->sensed_ns = now;
}

void ts__gpu_say_state(ts__gpu *w, ts__reply *r) {
  if (w->opts.judge) return;
  sense(w);
  r->state.watts = w->sensors.watts;
  r->state.celsius = w->sensors.celsius;
  r->state.throttle = w->sensors.throttle;
}

void ts__gpu_pause(ts__gpu *w) {
  usleep(SENSE_NS / 1000);
  w->sensed_ns = 0;
}

static uint8_t flag_of(ts__gpu *w, double mhz) {
  sense(w);
  int64_t why = TS_MAX(w->sensors.throttle, 0);
  return (uint8_t)((mhz < 0.9 * w->sustained_mhz ? FLAG_SLOW_CLOCK : 0) | (why & TS_CUDA_THROTTLED ? FLAG_THROTTLED : 0) | (why & TS_CUDA_SLOWED ? TS_FLAG_SLOWED : 0));
}

// Whether another sample is to take this one's place, after a pause that this waits for.
static bool again(ts__gpu *w, ts__gpu_kernel *k, uint8_t flags) {
  if (!(flags & TS_FLAG_SLOWED)) return w->in_vain = 0, false;
  if (k->again == MOST_AGAIN || w->in_vain == MOST_IN_VAIN) return false;
  k->again++;
  w->in_vain++;
  ts__gpu_pause(w);
  return true;
}

bool ts__gpu_judged_sample(ts__gpu *w, ts__gpu_kernel *k, ts__sample *x, ts__reply *r, ts_diag *d) {
  TS_TRY(ts__gpu_sample(w, k, &x->ns, &x->mhz, d) && plausible(w, k, x->ns, r));
  if (x->mhz > w->sustained_mhz) w->sustained_mhz = x->mhz;
  x->flags = flag_of(w, x->mhz);
  w->best_ns = w->best_ns > 0 ? fmin(w->best_ns, x->ns) : x->ns;
  return true;
}

static bool one_sample(ts__gpu *w, ts__gpu_kernel *k, ts__samples *s, ts__reply *r, ts_diag *d) {
  ts__sample x;
  do TS_TRY(ts__gpu_judged_sample(w, k, &x, r, d));
  while (again(w, k, x.flags));
  ts__samples_add(s, x.ns, x.mhz, x.flags);
  return true;
}

// So slow that the first calls tell enough.
static bool out_of_the_running(const ts__gpu_kernel *k, const ts_effort *e) {
  const double launch_ns = 20000;
  return e->give_up_ns > 0 && k->estimate_ns >= 2 * e->give_up_ns + launch_ns;
}

// They were timed in the stream, launches included.
static void first_calls(const ts__gpu_kernel *k, ts__samples *s, ts__reply *r, const char *why) {
  ts__samples_add(s, k->estimate_ns, NAN, 0);
  snprintf(r->timer, sizeof r->timer, "event");
  snprintf(r->stop, sizeof r->stop, "%s", why);
}

static bool time_kernel(ts__gpu *w, ts__gpu_kernel *k, const ts_effort *e, ts__samples *s, ts__reply *r, ts_diag *d) {
  TS_TRY(ts__gpu_estimate(w, k, d));
  if (w->opts.judge) return first_calls(k, s, r, "judged"), true;
  if (out_of_the_running(k, e)) return first_calls(k, s, r, "slow"), true;
  TS_TRY(ts__gpu_calibrate(w, k, d));
  uint64_t begin = ts_now_ns();
  const char *why;
  while (!(why = ts__stop_reason(e, s, begin))) TS_TRY(one_sample(w, k, s, r, d));
  snprintf(r->stop, sizeof r->stop, "%s", why);
  return true;
}

ts__gpu_kernel *ts__gpu_by_tag(ts__gpu *w, uint64_t tag) {
  for (int i = 0; i < TS__MOST_KERNELS; i++)
    if (w->kernels[i].used && w->kernels[i].tag == tag) return &w->kernels[i];
  return NULL;
}

// The place for a tag: its own, a free one, or that of the kernel placed longest ago. ORDER
static ts__gpu_kernel *place(ts__gpu *w, uint64_t tag) {
  ts__gpu_kernel *k = ts__gpu_by_tag(w, tag);
  for (int i = 0; i < TS__MOST_KERNELS && !k; i++)
    if (!w->kernels[i].used) k = &w->kernels[i];
  if (!k) {
    k = &w->kernels[0];
    for (int i = 1; i < TS__MOST_KERNELS; i++)
      if (w->kernels[i].placed < k->placed) k = &w->kernels[i];
  }
  if (k->used) ts__gpu_kernel_drop(w, k);
  return k;
}

static bool run_candidate(ts__gpu *w, const ts__request *q, ts__gpu_kernel *k, ts__samples *s, ts__reply *r, ts_diag *d) {
  TS_TRY(ts__gpu_kernel_load(w, q, k, r, d));
  r->state.registers = ts_cuda_kernel_registers(k->code);
  r->state.local_bytes = ts_cuda_kernel_local_bytes(k->code);
  TS_TRY(ts__gpu_verify(w, k, r, d));
  TS_TRY(q->keep_only ? ts__gpu_calibrate(w, k, d) : time_kernel(w, k, &q->effort, s, r, d));
  ts__gpu_say_state(w, r);
  return strcmp(r->stop, "slow") == 0 || ts__gpu_verify_again(w, k, r, d);  // what is out of the running is not run again
}

void ts__gpu_say_failure(ts__gpu *w, const ts_diag *d, ts__reply *r) {
  if (w->lost) {
    ts__say(r, strcmp(d->code, "gpu-hang") == 0 ? TS_TIMED_OUT : TS_CRASHED, "%s", w->why);
    r->over = true;
  } else if (r->kind == TS_MEASURED) {
    ts__say(r, TS_CRASHED, "%.190s", d->message);
  }
}

// Bandwidth and clock are only right once this worker is alone with the GPU.
static bool get_ready(ts__gpu *w, ts_diag *d) {
  if (!w->ready && !w->opts.judge) TS_TRY(find_floor(w, d) && ts__gpu_warm_up(w, d));
  return w->ready = true;
}

static void serve_run(ts__gpu *w, const ts__request *q, ts__samples *s, ts__reply *r) {
  ts__gpu_kernel *k = place(w, q->tag);
  ts_diag d = {0};
  w->patient = q->keep_only || q->effort.patient;
  *k = (ts__gpu_kernel){.tag = q->tag, .placed = ++w->placements, .tolerance = q->tolerance, .used = true};
  if (get_ready(w, &d) && run_candidate(w, q, k, s, r, &d)) return;
  ts__gpu_say_failure(w, &d, r);
  ts__gpu_kernel_drop(w, k);
}

// --- counters -------------------------------------------------------------------------------------------------------------------
typedef struct counted_call {
  ts__gpu *w;
  ts__gpu_kernel *k;
} counted_call;

static bool run_counted(void *arg, ts_diag *d) {
  counted_call *x = arg;
  const ts_cuda_call *c = x->k->calls[x->k->turn];
  x->k->turn = (x->k->turn + 1) % x->k->ncalls;
  return ts_cuda_call_issue(c, x->w->stream, false, d) && ts__gpu_wait(x->w, ts__gpu_limit_ns(x->w, x->k, 1), d);
}

static bool open_counters(ts__gpu *w) {
  ts_diag d = {0};
  if (w->no_counters[0]) return false;
  if (!w->counters) w->counters = ts_cuda_counters_open(&w->g, &d);
  if (!w->counters) snprintf(w->no_counters, sizeof w->no_counters, "%.190s", d.message);
  return w->counters != NULL;
}

static bool serve_count(ts__gpu *w, int fd, uint64_t tag) {
  counted_call x = {w, ts__gpu_by_tag(w, tag)};
  double v[TS_CUDA_COUNTERS];
  ts__samples s = {0};
  ts_diag d = {0};
  w->patient = true;
  ts__gpu_choose_timer(w, false);  // no records beside counters
  ts__reply r = ts__reply_new("counters");
  if (!x.k) ts__say(&r, TS_CRASHED, "the candidate is not loaded");
  else if (!open_counters(w)) ts__say(&r, TS_MEASURED, "%s", w->no_counters);
  else if (!ts_cuda_count(w->counters, run_counted, &x, v, &d)) ts__say(&r, TS_MEASURED, "%.190s", d.message);
  else
    for (int i = 0; i < TS_CUDA_COUNTERS; i++) ts__samples_add(&s, v[i], NAN, 0);
  if (w->lost) ts__gpu_say_failure(w, &d, &r);
  bool ok = ts__send_reply(fd, &r, &s) && !r.over;
  ts__samples_free(&s);
  return ok;
}

// --- serving -----------------------------------------------------------------------------------------------------------------------
static bool prepare(ts__gpu *w, ts_diag *d) {
  TS_TRY(ts__gpu_check_reference(w, d));
  for (int i = 0; i < TS__CASES; i++) TS_TRY(ts__gpu_prepare_case(w, i, d));
  return ts__gpu_caches(w, d);
}

// False: the worker ends.
static bool say_prepared(int fd, bool ok, const ts_diag *d) {
  ts__reply r = ts__reply_new("graph");
  ts__samples none = {0};
  if (!ok) ts__say(&r, TS_CRASHED, "%.190s", d->message);
  return ts__send_reply(fd, &r, &none) && ok;
}

// Another workload: of the one before nothing stays but the context.
static bool serve_turn(ts__gpu *w, int fd, size_t which) {
  ts_diag d = {0};
  for (int i = 0; i < TS__MOST_KERNELS; i++)
    if (w->kernels[i].used) ts__gpu_kernel_drop(w, &w->kernels[i]);
  ts__gpu_data_drop(w);
  w->w = w->all[which];
  w->placements = 0;
  w->best_ns = 0;
  w->ready = false;
  return say_prepared(fd, prepare(w, &d), &d);
}

static bool serve_one(ts__gpu *w, int fd, ts_text *t) {
  ts__request q;
  if (t->n < sizeof q) return false;
  memcpy(&q, t->p, sizeof q);
  const char *rest = t->p + sizeof q;
  if (q.verb == TS__COUNT) return serve_count(w, fd, q.tag);
  if (q.verb == TS__TURN) return serve_turn(w, fd, q.tag);
  if (q.verb == TS__FINAL) return ts__gpu_serve_final(w, fd, &q, (const uint64_t *)(const void *)rest);
  q.object.bytes = rest;
  q.pack_object.bytes = rest + q.object.n;
  uint64_t begin = ts_now_ns();
  ts__samples s = {0};
  ts__gpu_choose_timer(w, !q.keep_only);
  ts__reply r = ts__reply_new(ts__timer_name(w->timer));
  serve_run(w, &q, &s, &r);
  if (r.kind != TS_MEASURED) s.n = 0;
  r.busy_s = (double)(ts_now_ns() - begin) * 1e-9;
  bool ok = ts__send_reply(fd, &r, &s) && !r.over;
  ts__samples_free(&s);
  return ok;
}

// Drivers without graphs: what holds a stream back.
static bool get_blocker(ts__gpu *w, ts_diag *d) {
  void *p;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemHostAlloc(&p, sizeof *w->go, TS_CU_HOST_MAPPED), d, "a flag") &&
         ts__gpu_ok(w, w->g.cu->cuMemHostGetDevicePointer(&w->go_device, p, 0), d, "a flag"));
  w->go = p;
  return true;
}

bool ts__gpu_open_stream(ts__gpu *w, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  return ts_cuda_helpers_open(&w->g, &w->h, d) && ts__gpu_ok(w, cu->cuStreamCreate(&w->stream, TS_CU_STREAM_NON_BLOCKING), d, "a stream") &&
         ts__gpu_ok(w, cu->cuEventCreate(&w->from, TS_CU_EVENT_DEFAULT), d, "an event") && ts__gpu_ok(w, cu->cuEventCreate(&w->to, TS_CU_EVENT_DEFAULT), d, "an event") &&
         ts__gpu_ok(w, cu->cuMemAlloc(&w->scratch, TS__SCRATCH), d, "scratch");
}

static bool open_device(ts__gpu *w, ts_diag *d) {
  const ts_cuda_driver *cu;
  TS_TRY(ts_cuda_open(w->w->target.gpu.device, &w->g, d));
  cu = w->g.cu;
  w->no_graphs = !cu->cuGraphInstantiate;
  if (w->opts.judge) w->g.l2_bytes = 0;  // two copies of the weights are enough
  if (cu->cuCtxResetPersistingL2Cache) (void)cu->cuCtxResetPersistingL2Cache();
  if (cu->cuCtxSetLimit) (void)cu->cuCtxSetLimit(TS_CU_LIMIT_PERSISTING_L2, 0);
  return ts__gpu_open_stream(w, d) && (!w->no_graphs || get_blocker(w, d));
}

void ts__gpu_worker_serve(int fd, void *arg) {
  ts__worker_arg *x = arg;
  ts__gpu *w = calloc(1, sizeof *w);
  ts_diag d = {0};
  if (!w) return;
  w->w = x->w;
  w->all = x->all;
  w->opts = x->opts;
  bool ok = open_device(w, &d) && prepare(w, &d);
  if (ok && !w->opts.judge) sense(w);  // starts NVML
  if (!say_prepared(fd, ok, &d)) return;
  ts_text t = {0};
  while (ts_msg_recv(fd, &t, 0) == 1)
    if (!serve_one(w, fd, &t)) break;
}
