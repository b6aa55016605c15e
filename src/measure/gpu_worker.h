// Shared by the parts of the GPU's measuring worker.
#ifndef TS_MEASURE_GPU_WORKER_H
#define TS_MEASURE_GPU_WORKER_H

#include "cuda/cuda.h"
#include "measure/measure_impl.h"

enum { TS__MOST_COPIES = 1024, TS__MOST_SETS = 8, TS__GPU_GUARD = 1024, TS__ALIGN = 256 };

// --- memory with guard bands (gpu_data.c) -------------------------------------------------------------------------------
typedef struct ts__dmem {
  CUdeviceptr base, p;
  int64_t bytes;
} ts__dmem;
typedef struct ts__content {
  CUdeviceptr pristine[TS__MOST_PARAMS];  // before a run; 0 where it is cold and only read
  CUdeviceptr expected[TS__MOST_PARAMS];  // of outputs
} ts__content;
typedef struct ts__case {  // the reference's parameters at one choice of dimensions
  ts__layout layout;
  ts__dmem live[TS__MOST_PARAMS];
  ts__content now, other;  // other: of the case that is timed, for a look behind the last sample
} ts__case;
// Buffers in as many copies as keep them out of the caches.
typedef struct ts__set {
  bool used;
  ts_sha256 pack;  // zero: as the quantization stores them
  int n, copies;
  char name[TS__MOST_PARAMS][48];
  int64_t bytes[TS__MOST_PARAMS];
  CUdeviceptr (*copy)[TS__MOST_PARAMS];
  int64_t cold_bytes;  // of all copies together
} ts__set;

typedef enum ts__timer { TS__GRAPH, TS__SPANS, TS__EVENTS } ts__timer;
typedef struct ts__gpu_kernel {
  uint64_t tag, placed;
  bool used;
  ts_arena *arena;
  ts_cuda_kernel *code;
  ts__layout layout[TS__CASES];
  int64_t dims[TS__CASES][8];
  CUdeviceptr dims_memory[TS__CASES];
  ts__set *w;
  ts__dmem workspace;
  int64_t zeroed;
  double tolerance;
  ts_cuda_call *verify[TS__CASES];
  int ncalls;             // of a full turn over the copies
  ts_cuda_call **calls;
  CUgraphExec graph;
  ts__timer timer;        // that reps are for
  int64_t reps;           // calls in a sample; 0: not calibrated
  int64_t turn;           // the call that the next sample begins with, where it is no graph
  double estimate_ns;     // of one call, from the first turn; 0: not known
  int again;              // samples of it taken again, because the device was slowed
} ts__gpu_kernel;

typedef struct ts__gpu {
  const ts_workload *w;
  const ts_workload *const *all;  // that it may turn to
  ts_meter_opts opts;
  ts_cuda g;
  ts_cuda_helpers h;
  CUstream stream;
  CUevent from, to;
  CUdeviceptr scratch;    // SCRATCH bytes for results of small kernels
  ts__case cases[TS__CASES];
  enum { TS__OTHER_UNKNOWN, TS__OTHER_MADE, TS__OTHER_NONE } other;  // whether the timed case has other content
  ts__set *sets[TS__MOST_SETS];
  ts__set *caches;        // parameters that are cold and written: rotated beside the weights
  ts__gpu_kernel kernels[TS__MOST_KERNELS];
  uint64_t placements;
  ts__timer timer;
  bool no_spans, no_graphs;
  volatile uint32_t *go;  // lets a blocked stream go on; seen by the device at go_device
  CUdeviceptr go_device;
  ts_cuda_counters *counters;
  char no_counters[200];  // why there are none; "" as long as nobody asked
  bool ready;             // floor and clock are known: at the first candidate, when no other worker prepares itself any more
  double best_ns;         // fastest call yet; 0: none
  bool patient;           // the candidate is known to end
  bool late;              // the last wait took longer than its limit
  double floor_ns;        // no call can be faster
  double read_rate;       // bytes a second of the memory, as measured
  double sustained_mhz;
  ts_cuda_sensors sensors;  // as last read, at sensed_ns
  uint64_t sensed_ns;
  int in_vain;            // pauses one after the other after which the device was slowed still
  bool lost;              // the context is not to be trusted any more
  char why[200];
} ts__gpu;
enum { TS__SCRATCH = 4096 };

// Stream, events, scratch and helpers of an open device (gpu_worker.c).
bool ts__gpu_open_stream(ts__gpu *w, ts_diag *d);
// False with ts_diag, as elsewhere; a lost context also sets w->lost.
bool ts__gpu_ok(ts__gpu *w, CUresult r, ts_diag *d, const char *what);
// Wait for the stream. What takes longer than limit_ns is late; what does not end a while after that hangs: then, or on a fault, the
// context is lost.
bool ts__gpu_wait(ts__gpu *w, double limit_ns, ts_diag *d);
bool ts__dmem_new(ts__gpu *w, int64_t bytes, ts__dmem *out, ts_diag *d);
void ts__dmem_free(ts__gpu *w, ts__dmem *m);
bool ts__dmem_guards(ts__gpu *w, const ts__dmem *m, bool *whole, ts_diag *d);
// Random content as the slot wants it; writes whole words.
bool ts__gpu_fill(ts__gpu *w, const ts__slot *s, CUdeviceptr p, uint64_t stream, ts_diag *d);
// The data of a case, and what the reference makes of it.
bool ts__gpu_prepare_case(ts__gpu *w, int which, ts_diag *d);
// The reference against the interpreter's results on the small shape.
bool ts__gpu_check_reference(ts__gpu *w, ts_diag *d);
bool ts__gpu_reset_case(ts__gpu *w, int which, ts_diag *d);
// Other content takes the place of what the timed case has, and back. Made when first asked for: yes is false where there is none, for
// there is no memory for it, or the reference runs on the CPU, which takes seconds.
bool ts__gpu_other_content(ts__gpu *w, bool *yes, ts_diag *d);
bool ts__gpu_swap_content(ts__gpu *w, ts_diag *d);
// The set that a candidate reads: plain storage, or the outputs of its pack kernel. NULL: r says why.
ts__set *ts__gpu_weights(ts__gpu *w, const ts__request *q, ts__reply *r, ts_diag *d);
bool ts__gpu_caches(ts__gpu *w, ts_diag *d);
void ts__gpu_data_drop(ts__gpu *w);  // all of these, of the workload

// --- one candidate (gpu_kernel.c) ----------------------------------------------------------------------------------------
// False: r says why, or d when the device failed.
bool ts__gpu_kernel_load(ts__gpu *w, const ts__request *q, ts__gpu_kernel *k, ts__reply *r, ts_diag *d);
void ts__gpu_kernel_drop(ts__gpu *w, ts__gpu_kernel *k);
bool ts__gpu_verify(ts__gpu *w, ts__gpu_kernel *k, ts__reply *r, ts_diag *d);
bool ts__gpu_verify_again(ts__gpu *w, ts__gpu_kernel *k, ts__reply *r, ts_diag *d);  // after the last sample: with other data

// --- serving (gpu_worker.c, gpu_final.c) -------------------------------------------------------------------------------------
ts__gpu_kernel *ts__gpu_by_tag(ts__gpu *w, uint64_t tag);  // NULL: it is not loaded
// A sample with its flags; false: r says that it cannot be, or d.
bool ts__gpu_judged_sample(ts__gpu *w, ts__gpu_kernel *k, ts__sample *x, ts__reply *r, ts_diag *d);
void ts__gpu_pause(ts__gpu *w);  // the device rests for a tenth of a second
void ts__gpu_say_state(ts__gpu *w, ts__reply *r);
// What failed: the candidate (r says so already), or the device under it.
void ts__gpu_say_failure(ts__gpu *w, const ts_diag *d, ts__reply *r);
bool ts__gpu_serve_final(ts__gpu *w, int fd, const ts__request *q, const uint64_t *tags);  // false: the worker ends

// --- timing (gpu_time.c) ---------------------------------------------------------------------------------------------------
const char *ts__timer_name(ts__timer t);
// For candidates before a final, or for a final.
void ts__gpu_choose_timer(ts__gpu *w, bool search);
// Make what a sample of the timer needs, unless it is there.
bool ts__gpu_calibrate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d);
// Only how long a call takes, about: some calls in the stream.
bool ts__gpu_estimate(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d);
bool ts__gpu_is_long(const ts__gpu_kernel *k);  // one call is enough for a sample
bool ts__gpu_sample(ts__gpu *w, ts__gpu_kernel *k, double *ns, double *mhz, ts_diag *d);
// What `issue` puts into the stream, as a graph.
bool ts__gpu_record(ts__gpu *w, bool (*issue)(void *arg, ts_diag *d), void *arg, CUgraphExec *out, ts_diag *d);
// Keep the device busy until its clock has risen, a fraction of a second.
bool ts__gpu_warm_up(ts__gpu *w, ts_diag *d);
double ts__gpu_limit_ns(const ts__gpu *w, const ts__gpu_kernel *k, double calls);  // time after which calls are late

#endif
