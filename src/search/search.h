// search: from a workload to the fastest candidate found: design space, cost model, evolution, sessions in the store.
//
// A design space is a list of sketches: a variant of the operator and a trace whose sampling steps are open, or the legal points of a
// native template (op/native.h). Sketches come from kernels/templates/<op>/ (VARIANT.NAME.trace for CPUs, VARIANT.NAME.cuda.trace
// and VARIANT.NAME.cu for GPUs; "ref" is the reference as written) and from rules that look at the function. A candidate is a
// sketch with its decisions. The default schedule, the incumbent of the store and the best found go to an interleaved
// final; tuning never records something slower than the default, except what a model's steps know better than times alone (ts_tune_step).
#ifndef TS_SEARCH_H
#define TS_SEARCH_H

#include "base/base.h"
#include "codegen/codegen.h"
#include "db/db.h"
#include "measure/measure.h"
#include "op/native.h"
#include "op/op.h"
#include "schedule/schedule.h"
#include "target/target.h"

// --- design space (space.c, rules.c) ------------------------------------------------------------------------------
typedef struct ts_sketch {
  const char *name;       // "a16.rows", "ref.rules"
  const char *variant;    // "" is the reference
  const char *source;     // "default", "template", "rules", "native", "incumbent"
  const ts_func *func;    // of the variant, in the space's context
  const ts_func *pack;    // or NULL
  double tolerance;
  const ts_trace *trace;        // NULL for a native template:
  const ts_native_fit *native;  // its legal points, best guesses first
  const int64_t *points;
  size_t npoints;
} ts_sketch;
typedef struct ts_space {
  ts_arena *arena;
  ts_ir *ir;
  const ts_spec *spec;
  const ts_target *target;
  size_t n;
  ts_sketch *sketch;      // [0] is the default schedule
} ts_space;
// (spec and target must outlive it.) The sketches that fit spec, target and the permitted numerics ("" or "a8"). Templates that do not apply to this shape are left
// out; a template with a syntax error is a refusal.
bool ts_space_open(const ts_spec *spec, const ts_target *t, const char *numerics, ts_space *out, ts_diag *d) TS_WARN_UNUSED;
bool ts_space_add(ts_space *s, const char *name, const char *variant, const char *source, const char *trace_text, ts_diag *d) TS_WARN_UNUSED;
void ts_space_close(ts_space *s);  // accepts a zeroed object
// The default schedule of an operator, whose reference is f: kernels/templates/<op>/default.trace (GPUs: default.cuda.trace). Without
// one: nothing on CPUs; on GPUs what rules find, which also stands in for one that a step refuses at this shape.
bool ts_default_trace(ts_arena *a, const char *op, const ts_func *f, const ts_target *t, const char **text, ts_diag *d) TS_WARN_UNUSED;
// A sketch for any function, found by rules: tile, parallel, vectorize; for GPUs: fuse, split, bind. False when nothing applies.
bool ts_rules_sketch(ts_ir *ir, const ts_func *f, const ts_target *t, const ts_trace **out);
// Replay on a fresh schedule. Open decisions are drawn from seed. NULL when a step refuses.
ts_sched *ts_sketch_draw(ts_ir *ir, const ts_sketch *s, const ts_trace *trace, uint64_t seed, ts_diag *d);
// The decisions of a trace in order, as log2(1 + value).
size_t ts_decisions(ts_arena *a, const ts_trace *t, double **out);

// --- cost model (cost.c): Gaussian process over the decisions of one sketch, on log time -----------------------------
typedef struct ts_gp ts_gp;
ts_gp *ts_gp_fit(ts_arena *a, const double *const *x, const double *log_t, size_t n, size_t dims);
void ts_gp_predict(const ts_gp *g, const double *x, double *mean, double *sd);
double ts_expected_gain(double best, double mean, double sd);  // of a lower log time

// --- tuning (session.c, tune.c) --------------------------------------------------------------------------------------
typedef struct ts_tune_task {
  ts_spec spec;
  double weight;  // calls per token, say; shares the budget out
} ts_tune_task;
// A part of a model that a GPU runs as one graph: a decode step, a pass of few rows. Kernels that serve its number of rows alone are chosen in it as a whole.
typedef struct ts_tune_step {
  int64_t rows;               // what kernels for several numbers of rows run with, the fastest alone; 0: as they are measured
  const ts_step_call *call;   // part: index of the task
  size_t n;
  const ts_step_call *whole;  // the same with more layers, in which the choice is confirmed
  size_t nwhole;              // 0: it is confirmed in `call`
} ts_tune_step;
typedef struct ts_tune_opts {
  const ts_target *target;
  const char *store;       // path
  const char *cache;       // folder of compiled artifacts, or NULL
  const char *command;     // reproduces this run; kept in the store
  const char *numerics;    // permitted opt-in numerics, "" for none
  double budget_s;         // 0: no limit. Workloads that it does not reach are left to another run; one always is reached
  int64_t trials;          // measured candidates in all; 0: no limit
  uint64_t seed;
  int threads;
  bool json;               // progress as JSON lines on stdout
  bool accept_unstable;    // of a GPU: a winner is recorded although heat or its supply slowed the device
  bool counters;           // of a GPU: hardware counters of finalists go to the store
  bool spans;              // of a GPU: candidates before the final are timed by CUPTI's records, not by graphs
  const ts_tune_step *step;  // of a GPU, in the order in which they are measured
  size_t nstep;
} ts_tune_opts;
typedef struct ts_tune_step_row {
  int64_t rows;
  double ns, default_ns;   // with the kernels chosen, and with those of a build without records
} ts_tune_step_row;
typedef struct ts_tune_row {  // result of one task
  const char *workload;
  const char *winner;      // sketch of the winner
  double default_ns, best_ns;  // default_ns: NAN when the default schedule does not serve (told on stderr); the best of the first batch stands for it
  ts_compare against_default;  // the winner, against the default or what stands for it
  int64_t trials, failed;
  bool kept_incumbent;
  bool unstable;               // heat or its supply slowed the device during the final; no winner is recorded unless the options say so
  double library_ns;           // of a vendor's library in the same final; 0: none took part
  ts_compare against_library;  // the winner, against it
} ts_tune_row;
typedef struct ts_tune_result {
  size_t n, failed;        // failed: workloads of which nothing could be measured (each told on stderr)
  size_t unreached;        // workloads that the budget, or a signal, left no time for
  bool told;               // the tuning failed because all of them did: the failure is one that was told
  ts_tune_row *rows;
  double wall_s, busy_s;   // busy: the device was running kernels
  size_t nstep;
  ts_tune_step_row *step;  // those that were measured
  int64_t trials;
  bool interrupted;
} ts_tune_result;
// What a vendor's library (cuBLASLt) does of the workload whose reference is f, as an artifact: the choice-th of what it thinks best. False when it
// does none of it. A library is a yardstick: it takes part in finals and is compared with, and no record names it the winner.
bool ts_library_object(ts_arena *a, const ts_spec *spec, const ts_func *f, const ts_target *t, int choice, ts_object *out);
// The store's row of a workload (build asks with the same text).
ts_db_workload ts_workload_row(ts_arena *a, const ts_spec *spec, const ts_func *reference, ts_cost cost);
bool ts_tune(ts_arena *a, const ts_tune_task *tasks, size_t n, const ts_tune_opts *o, ts_tune_result *out, ts_diag *d) TS_WARN_UNUSED;

// --- trying out (trial.c): every sketch of a workload at a few of its points, and a vendor's library, judged, timed, nothing recorded
typedef struct ts_trial_opts {
  const ts_target *target;
  const char *numerics;  // as in ts_tune_opts
  const char *only;      // "gemv,rules": sketches whose name holds one of these texts; NULL: all
  int points;            // candidates of each sketch, at most
  bool judge;            // verdicts matter, times do not: a few samples
  bool final;            // the best of each sketch are timed again, in turn
  uint64_t seed;
  int threads;
} ts_trial_opts;
typedef struct ts_trial_row {  // one candidate
  const char *sketch, *source;
  const char *point;       // its trace, or the point of a native template
  const char *outcome;     // as stores say it: ok wrong guard crash timeout; "refused": it was not compiled
  const char *message;     // of any outcome but ok
  double rel_error;
  ts_stats stats;          // ns, when ok
  bool in_final;           // stats are those of the final
} ts_trial_row;
typedef struct ts_trial_result {
  size_t n;
  ts_trial_row *rows;      // by sketch
  ts_cost cost;
  int restarts;            // of the measuring worker: how often a candidate took it down
} ts_trial_result;
// c: a compiler for the target with nothing pending. False for environment failures and workloads that cannot be prepared. After a signal
// (ts_interrupted) the result has the candidates judged before it.
bool ts_trial(ts_arena *a, const ts_spec *spec, ts_compiler *c, const ts_trial_opts *o, ts_trial_result *out, ts_diag *d) TS_WARN_UNUSED;
// Of n workloads in turn. `each` gets the result of specs[i], or NULL and why it could not be prepared: the others go on. Where only verdicts matter some
// share a worker. False for environment failures.
typedef void ts_trial_each(void *arg, size_t i, const ts_trial_result *r, const ts_diag *why);
bool ts_trials(const ts_spec *specs, size_t n, ts_compiler *c, const ts_trial_opts *o, ts_trial_each *each, void *arg, ts_diag *d) TS_WARN_UNUSED;

// --- kernels between their neighbours (chain.c): a layer's products one behind the other, as a GPU's runtime launches them, beside each of them in a chain of itself
typedef struct ts_chain_part {
  ts_spec spec;
  size_t n;
  const char *const *point;  // its kernels: "mma.near WARPS=8 TILES=2", a native sketch and its point; what is not named has its first value. None: those of the store
} ts_chain_part;
typedef struct ts_chain_opts {
  const ts_target *target;
  const char *store;  // whose records serve; NULL: the first guesses of every native template
  int points;         // kernels of a part that has none given: what is best and what was fastest after it; of every template without a store
  int layers;         // in one graph, at least: as many as keep the weights out of the caches
  uint64_t seed;
} ts_chain_opts;
typedef struct ts_chain_kernel {
  const char *sketch, *point;
  const char *refused;  // why it takes no part, or NULL
  double alone_ns;      // of a call behind others of itself
  double layer_ns;      // of a layer with it, the others as chosen when it was last tried; NAN: there was nothing to choose from
} ts_chain_kernel;
typedef struct ts_chain_row {  // of one part
  const char *workload;
  ts_cost cost;
  size_t n;
  ts_chain_kernel *kernel;
  size_t alone, chosen;  // the first of its kernels, or the fastest alone of those given; what is fastest in the layer
  bool fed;              // it reads what the part before it wrote
} ts_chain_row;
typedef struct ts_chain_result {
  size_t n;
  ts_chain_row *row;
  int layers;
  double layer_ns, chosen_ns;  // of a layer with the kernels `alone`, and with those chosen
  ts_compare gain;             // of the second against the first
} ts_chain_result;
// Each part reads what the one before it wrote where shapes allow, the first what the last did. Weights are cold; nothing is verified, and nothing is recorded.
bool ts_chain(ts_arena *a, const ts_chain_part *parts, size_t n, ts_compiler *c, const ts_chain_opts *o, ts_chain_result *out, ts_diag *d) TS_WARN_UNUSED;

#endif
