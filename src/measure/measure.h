// measure: time kernels in a worker process, verify every one that is timed, and say what the samples mean.
//
// One worker process per device holds the buffers of one workload at a time and runs kernels that the parent sends as objects. A crash,
// a hang or a wrong answer costs that candidate; the worker is started again and the other candidates are sent again when
// they are next used. Weights (TS_COLD parameters) are cold: copies that together exceed twice the last-level cache are used
// in turn. Activations are warm.
#ifndef TS_MEASURE_H
#define TS_MEASURE_H

#include "base/base.h"
#include "codegen/codegen.h"
#include "db/db.h"
#include "ir/ir.h"
#include "op/op.h"
#include "target/target.h"

// --- statistics (stats.c) ---------------------------------------------------------------------------------------
typedef struct ts_stats {
  size_t n;
  double median, min, q1, q3, mad, mean;
  double ci_lo, ci_hi;  // 95 % interval of the median from order statistics; needs no distribution. min and max below 6 samples
} ts_stats;
ts_stats ts_stats_of(const double *v, size_t n);
typedef enum ts_verdict { TS_FASTER, TS_SLOWER, TS_SAME, TS_UNCLEAR, TS_VERDICT__COUNT } ts_verdict;
const char *ts_verdict_name(ts_verdict v);  // "faster"
typedef struct ts_compare {
  double log_ratio, ci_lo, ci_hi;  // ln(a / b): Hodges-Lehmann centre, 95 % bootstrap interval with a fixed seed
  ts_verdict verdict;              // of a against b
} ts_compare;
// a[i] and b[i] were measured in round i. noise: a |ln ratio| up to which they count as the same; 0: 0.01.
ts_compare ts_compare_paired(const double *a, const double *b, size_t rounds, double noise);

// --- a workload prepared for measuring (workload.c) ----------------------------------------------------------------
typedef struct ts_workload ts_workload;
// Bind the dimensions that stay symbolic: n at its largest value, others (t) at a quarter of theirs; verification also runs at the
// smallest legal n and an odd t. Compiles the reference, and validates it against the interpreter on a shape small enough for that
// (refusal "reference-wrong" otherwise).
ts_workload *ts_workload_open(const ts_spec *spec, const ts_target *t, ts_compiler *c, ts_diag *d) TS_WARN_UNUSED;
void ts_workload_close(ts_workload *w);  // accepts NULL
const ts_spec *ts_workload_spec(const ts_workload *w);
const ts_func *ts_workload_reference(const ts_workload *w);
const int64_t *ts_workload_dims(const ts_workload *w);  // values measured at, in the reference's order
double ts_workload_tolerance(const ts_workload *w);
ts_cost ts_workload_cost(const ts_workload *w);

// --- measuring (meter.c) -----------------------------------------------------------------------------------------------
typedef struct ts_meter ts_meter;
typedef struct ts_meter_opts {
  int threads;          // 0: one per physical core
  double timeout_s;     // of one request, 20 unless set
  uint64_t seed;        // of the random data
  bool judge;           // of a GPU: only verdicts are wanted. Nothing is warmed up or kept out of caches; the only sample is of the first calls
  bool spans;           // of a GPU: candidates before a final are timed by CUPTI's records, where there is CUPTI
  void (*idle)(void *arg);  // or NULL: called every few milliseconds while the worker is waited for
  void *idle_arg;
} ts_meter_opts;
// Starts the worker and waits until it is prepared. One meter measures one workload; the worker is replaced when it dies.
ts_meter *ts_meter_open(const ts_workload *w, const ts_meter_opts *o, ts_diag *d) TS_WARN_UNUSED;
// The two halves of it: several workers can prepare their data at one time, as long as nothing is measured meanwhile. After a wait that
// failed the meter can only be closed.
ts_meter *ts_meter_start(const ts_workload *w, const ts_meter_opts *o, ts_diag *d) TS_WARN_UNUSED;
bool ts_meter_wait(ts_meter *m, ts_diag *d) TS_WARN_UNUSED;
// Of several workloads in turn, the first at first: a GPU's worker goes on with its context, which takes longer to make than small workloads to judge.
// After a turn nothing is known of candidates, and ts_meter_wait waits until the workload is prepared; where it could not be the next turn starts anew.
ts_meter *ts_meter_start_all(const ts_workload *const *w, size_t n, const ts_meter_opts *o, ts_diag *d) TS_WARN_UNUSED;
bool ts_meter_turn(ts_meter *m, size_t which, ts_diag *d) TS_WARN_UNUSED;
void ts_meter_close(ts_meter *m);  // accepts NULL
void ts_meter_quit(ts_meter *m);   // end its worker without waiting; then close
int ts_meter_restarts(const ts_meter *m);
double ts_meter_busy_s(const ts_meter *m);  // wall time the worker spent running kernels

// A candidate: compiled main, and pack when its variant has one. Parameters pair with the reference's by name; the others of main
// must be outputs of pack.
typedef struct ts_candidate {
  double tolerance;  // of its numerics; 0: the operator's
  const ts_func *func, *pack;
  const ts_object *object, *pack_object;
} ts_candidate;
typedef enum ts_outcome_kind { TS_MEASURED, TS_WRONG, TS_GUARD, TS_CRASHED, TS_TIMED_OUT, TS_OUTCOME_KIND__COUNT } ts_outcome_kind;
const char *ts_outcome_kind_name(ts_outcome_kind k);  // "ok" "wrong" "guard" "crash" "timeout": as stores say it
// A GPU beside the samples: what its driver said after them. NAN, -1: not known.
typedef struct ts_device_state {
  double watts, celsius;
  int64_t throttle;     // clocks event reasons, as NVML's bits
  int registers;        // of a thread; heaviest entry
  int64_t local_bytes;  // of a thread: spills and arrays in memory
} ts_device_state;
enum { TS_FLAG_SLOWED = 8, TS_FLAG_BEHIND = 16 };
typedef struct ts_outcome_row {
  ts_outcome_kind kind;
  double rel_error;       // largest |candidate - reference| / largest |reference|, over all outputs and runs
  double rel_l2;
  char message[200];
  size_t n;               // samples, ns per launch
  double *samples;        // in the arena given
  double *clocks;         // MHz beside each sample; NAN where not known
  uint8_t *flags;         // 1: the thread was interrupted during the sample; 2: the device ran below its sustained clock; 4: the driver held its clock back;
                          // 8 (TS_FLAG_SLOWED): because of heat or its supply, pauses notwithstanding; 16 (TS_FLAG_BEHIND): in a final, 5 % or more
                          // below the highest clock of the same candidate there, although it was taken again where time allowed
  const char *timer;      // "monotonic", "graph", "cupti", "event": never compared with each other
  ts_device_state state;
  ts_stats stats;
  const char *stop;       // "interval", "quota", "time"
} ts_outcome_row;
typedef struct ts_effort {
  size_t min_samples, max_samples;
  double half_width;      // stop when the interval is within this fraction of the median
  double max_s;           // and at most this long
  double give_up_ns;      // stop after min_samples when the fastest is slower than this; 0: never. A GPU's worker does not even begin
                          // when the first calls take more than twice this
  bool patient;           // the candidate is known to end, however slow it is
} ts_effort;
extern const ts_effort ts_effort_search, ts_effort_publish;
// Verify, then time; on GPUs verify again, with other data than was timed. `tag` names the candidate for ts_meter_final.
bool ts_meter_run(ts_meter *m, uint64_t tag, const ts_candidate *c, const ts_effort *e, ts_arena *a, ts_outcome_row *out, ts_diag *d) TS_WARN_UNUSED;
// Interleaved rounds in random order over candidates already run; out[i] belongs to tags[i]. Each is verified again afterwards, with other data.
// On GPUs rounds at a low clock are taken again, up to as many as there are, with half a second of pauses in all. At least 5 rounds, whatever max_s says; a candidate that is three times slower than the fastest takes part in 5 only. ENVIRONMENT "final-failed" when the
// worker ended: the row of who is known to be to blame says so, the others' are MEASURED without samples or what they were told before.
bool ts_meter_final(ts_meter *m, const uint64_t *tags, size_t n, size_t rounds, double max_s, ts_arena *a, ts_outcome_row *out, ts_diag *d) TS_WARN_UNUSED;

// Hardware counters of one call of a candidate already run, on GPUs, in the order of cuda/counters.def (ts_cuda_counter_name); NAN: not
// counted. *n is 0 where there are none, which is usual, and why says so. In passes of their own: nothing is timed by them.
bool ts_meter_count(ts_meter *m, uint64_t tag, ts_arena *a, const double **values, size_t *n, const char **why, ts_diag *d) TS_WARN_UNUSED;

// --- a step of a model (step.c) ---------------------------------------------------------------------------------------------
// Calls of several workloads one after the other as one graph, each allowed to start before its predecessor has ended, as a GPU's runtime
// generates a token. How long a kernel takes there depends on those around it. Its worker makes up all data; nothing is verified.
typedef struct ts_step_link {
  const char *param;   // of the kernel
  const char *memory;  // parameters of all calls with this name share memory
} ts_step_link;
enum { TS_STEP_SETTINGS = 4 };
typedef struct ts_step_call {
  size_t part;  // which workload
  int nlinks;   // parameters without a link are this call's own: its weights, in whatever layout
  const ts_step_link *links;
  int64_t t[TS_STEP_SETTINGS];  // tokens in the cache in each setting of the step, launched as the runtime does for as many; 0: as the workload is measured
} ts_step_call;
typedef struct ts_step ts_step;
// Starts a worker. Everything given must outlive it. rows: of the workloads that serve several numbers of rows; 0: as they are measured.
ts_step *ts_step_open(const ts_workload *const *parts, size_t nparts, const ts_step_call *calls, size_t ncalls, int64_t rows, uint64_t seed, ts_diag *d) TS_WARN_UNUSED;
void ts_step_close(ts_step *s);  // accepts NULL
// A kernel for a part, main function f; *id counts from 0. A refusal where it cannot take part, ENVIRONMENT "step-failed" when the worker ended.
bool ts_step_add(ts_step *s, size_t part, const ts_func *f, const ts_object *o, int *id, ts_diag *d) TS_WARN_UNUSED;
// n ways to do the step, in turn for so many rounds in random order: pick[i * nparts + p] is the kernel of part p in way i, and
// ns[i * rounds + r] the time of a step.
bool ts_step_time(ts_step *s, const int *pick, size_t n, size_t rounds, double *ns, ts_diag *d) TS_WARN_UNUSED;
// In a setting other than the first, and each sample behind a step of its own way: caches hold what that leaves in them.
bool ts_step_time_in(ts_step *s, size_t setting, const int *pick, size_t n, size_t rounds, double *ns, ts_diag *d) TS_WARN_UNUSED;
// After one that failed: 1 + the way that ended the worker; 0: not known.
size_t ts_step_culprit(const ts_step *s);

// --- one at a time (lock.c) ---------------------------------------------------------------------------------------------
// Wait (with a line on stderr) until no other program of this user measures on the device. The lock ends with the process.
bool ts_device_lock(const char *device, int *lock, ts_diag *d) TS_WARN_UNUSED;
void ts_device_unlock(int lock);  // -1 is accepted

// --- where it was measured (place.c) ------------------------------------------------------------------------------------
// Rows of the store that say where and with what: put once, referred to by builds, measurements and runs.
typedef struct ts_place {
  ts_id target_id, device_id, toolchain_id, environment_id;
  double noise;  // the device's floor of |ln ratio|, as probe --store measured it; 0: not known
} ts_place;
bool ts_place_put(ts_db *db, const ts_target *t, int threads, ts_place *out, ts_diag *d) TS_WARN_UNUSED;
ts_db_target ts_place_target(const ts_target *t, ts_text *limits);  // limits holds the text it points to
// The key under which winners are decided: timer ("graph", or "step" for those chosen in a whole step; of CPUs it is the monotonic clock),
// launch, cold weights, free clocks.
char *ts_place_policy(const ts_target *t, const char *timer, ts_arena *a);
// How r was measured: timer, cache, launch, clock_mhz and clocks of a row.
void ts_place_method(const ts_target *t, const ts_outcome_row *r, ts_arena *a, ts_db_measurement *out);

#endif
