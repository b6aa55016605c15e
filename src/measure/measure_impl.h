// Shared inside measure: what a workload's buffers are, and the messages between meter and worker.
#ifndef TS_MEASURE_IMPL_H
#define TS_MEASURE_IMPL_H

#include "measure/measure.h"

enum { TS__MOST_PARAMS = 24, TS__GUARD_BYTES = 256 };

// How a buffer is filled.
typedef enum ts__fill { TS__FILL_FLOAT, TS__FILL_SCALE, TS__FILL_BITS, TS__FILL_INDEX, TS__FILL_DISTINCT, TS__FILL_NONE } ts__fill;
typedef struct ts__slot {  // a parameter of a function at given dimensions
  char name[48];
  ts_code code;
  int role;   // TS_IN, TS_OUT, TS_INOUT
  int cache;  // TS_WARM, TS_COLD
  ts__fill fill;
  int64_t count;
  int64_t bytes;
  int64_t below;  // FILL_INDEX, FILL_DISTINCT
} ts__slot;
typedef struct ts__layout {
  int n;
  ts__slot slot[TS__MOST_PARAMS];
} ts__layout;
// Fill the buffer of a slot as its kind says; seed and stream give the same bytes anywhere. Outputs are left alone.
void ts__fill_slot(const ts__slot *s, uint8_t *p, uint64_t seed, uint64_t stream);
// Sizes of a function's parameters when its symbolic dimensions have the values that `names`/`values` give.
bool ts__layout_of(const ts_func *f, const ts_spec *spec, const ts_func *ref, const int64_t *ref_dims, ts__layout *out, ts_diag *d) TS_WARN_UNUSED;
// What two right ways of rounding may differ by, relative to the largest value: one step of the coarsest type among the outputs.
double ts__rounding_of(const ts__layout *l);
// Values of f's dimensions: those of the reference with the same name.
bool ts__dims_of(const ts_func *f, const ts_func *ref, const int64_t *ref_dims, int64_t *out, ts_diag *d) TS_WARN_UNUSED;

// The reference on a shape that the interpreter can do.
typedef struct ts__small {
  ts__layout layout;
  int64_t dims[8];
  ts_object object;
  double tolerance;
  const void *data[TS__MOST_PARAMS];      // before
  const void *expected[TS__MOST_PARAMS];  // after, as interpreted
} ts__small;

// A function with one GPU thread an element of each block's output: the plainest schedule there is. Refuses what has no blocks in nests
// of their own.
const ts_func *ts__plain_gpu(ts_ir *ir, const ts_func *f, ts_diag *d) TS_WARN_UNUSED;

enum { TS__CASES = 2 };  // the case that is timed, and another that is only verified
struct ts_workload {
  ts_arena *arena;
  ts_ir *ir;
  ts_spec spec;
  ts_target target;
  const ts_func *reference;
  ts_object object;           // of the reference; of a GPU: with one thread an element of its outputs
  bool on_host;               // of a GPU: its reference runs on the CPU, since it has no such schedule there
  ts__small *small;           // of a GPU: what the worker checks the reference with before it trusts it
  double tolerance;
  int64_t dims[TS__CASES][8];
  ts_cost cost;
};

// How many candidates the worker keeps loaded; the one placed longest ago makes room. ORDER: the meter counts placements to know
// which are still there.
enum { TS__MOST_KERNELS = 64 };

// --- messages -----------------------------------------------------------------------------------------------------
typedef enum ts__verb { TS__RUN, TS__FINAL, TS__COUNT, TS__TURN } ts__verb;
typedef struct ts__request {
  ts__verb verb;
  uint64_t tag;              // COUNT: of a candidate that is loaded; TURN: which of the workloads
  ts_effort effort;
  bool keep_only;            // RUN: verify and keep, do not time
  size_t ntags, rounds;      // FINAL: tags follow
  double max_s;
  // RUN: the candidate; object bytes follow (main, then pack)
  ts_object object, pack_object;
  ts__layout main[TS__CASES], pack[TS__CASES];
  int64_t dims[TS__CASES][8], pack_dims[TS__CASES][8];
  bool has_pack;
  double tolerance;
} ts__request;
typedef struct ts__reply {
  ts_outcome_kind kind;
  double rel_error, rel_l2, busy_s;
  char message[200], stop[16];
  size_t n;        // samples follow as doubles, clocks as doubles, then flags as bytes
  bool over;       // the worker ends after this: the device or the process is not to be trusted any more
  size_t culprit;  // when over: of FINAL 1 + whose place in the list of tags, 0: that of this reply; of a step 1 + which way, 0: not known
  char timer[12];  // what samples were timed with: one of them for all samples that are compared
  ts_device_state state;
} ts__reply;

// --- samples (samples.c) ---------------------------------------------------------------------------------------------
typedef struct ts__samples {
  double *v, *mhz;
  uint8_t *flag;
  size_t n, cap;
} ts__samples;
typedef struct ts__sample {
  double ns, mhz;
  uint8_t flags;
} ts__sample;
enum { TS__FINAL_LEAST = 5 };  // rounds of a final, at least
#define TS__CLOCK_SHARE 0.95   // of the highest clock that a candidate had in its final: below that a sample is behind
void ts__samples_add(ts__samples *s, double ns, double mhz, uint8_t flag);
void ts__samples_free(ts__samples *s);
const char *ts__stop_reason(const ts_effort *e, const ts__samples *s, uint64_t begin_ns);  // NULL: go on
// Enough rounds for a verdict, and far behind even at its fastest: further rounds would only cost time.
bool ts__samples_settled(const ts__samples *s, double best);
// The clock of a round of a final of n candidates, each with a sample in it: the least share of the highest that the same candidate had. 0 where heat or
// its supply slowed the device, 1 where no clock is known.
double ts__round_clock(const ts__samples *s, size_t n, size_t round);
size_t ts__round_behind(const ts__samples *s, size_t n);  // the one with the least share, if that is below TS__CLOCK_SHARE; SIZE_MAX: none is
void ts__samples_mark_behind(ts__samples *s);             // TS_FLAG_BEHIND
void ts__shuffle(size_t *order, size_t n, ts_rng *rng);
ts__reply ts__reply_new(const char *timer);
bool ts__send_reply(int fd, ts__reply *r, const ts__samples *s);
void ts__say(ts__reply *r, ts_outcome_kind kind, const char *fmt, ...) TS_PRINTF(3, 4);
int ts__find_slot(const ts__layout *l, const char *name);  // -1: none

typedef struct ts__worker_arg {
  const ts_workload *w;           // now
  const ts_workload *const *all;  // that it may turn to
  ts_meter_opts opts;
} ts__worker_arg;
void ts__worker_serve(int fd, void *arg);
void ts__gpu_worker_serve(int fd, void *arg);  // gpu_worker.c

// --- a step (step.c and its worker, gpu_step.c) ------------------------------------------------------------------------------
typedef struct ts__step_arg {
  const ts_workload *const *parts;
  size_t nparts, ncalls;
  const ts_step_call *calls;
  uint64_t seed;
  ts_target target;
} ts__step_arg;
typedef struct ts__step_request {
  bool add;            // a kernel whose bytes follow; else picks of n ways follow, an int for each part
  size_t part;
  int64_t dims[8];
  int t;               // which of dims is the tokens in the cache; -1: none
  int64_t t_most;
  ts__layout layout;
  size_t n, rounds, setting;
  bool settled;        // samples behind a step that is not timed
} ts__step_request;
enum { TS__STEP_WAYS = 64 };  // of one request
void ts__gpu_step_serve(int fd, void *arg);

#endif
