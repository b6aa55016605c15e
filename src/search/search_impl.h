// Shared inside search: the tuning session of one workload.
#ifndef TS_SEARCH_IMPL_H
#define TS_SEARCH_IMPL_H

#include "search/search.h"
#include "target/gpu.h"

enum { TS__FINALISTS = 4, TS__GUESSES = 4, TS__BATCH = 12 };
typedef enum ts__state { TS__PROPOSED, TS__GOOD, TS__BAD } ts__state;
// One candidate. Its arena holds schedule, function and object; it is given back when the candidate is out of the running.
typedef struct ts__member {
  uint64_t tag;
  int sketch;
  ts__state state;
  ts_arena *arena;        // NULL once given back
  const ts_func *func;    // of a native template: the reference, for its parameters
  ts_unit unit;           // of a native template, else bytes NULL
  ts_object object;
  bool compiled;          // the compiler is through with it
  const char *trace;      // text, in the session's arena
  uint64_t hash;          // of the function, or of the template and the point
  size_t ndecisions;
  const double *decisions;
  double prior;           // of log time, up to a constant (prior.c); 0 when nothing is known
  double median;          // ns
  double believed;        // log ns, as the model said when it was proposed; NAN: it had no say
  ts_id build_id;
  bool incumbent;
  bool library;           // a vendor's: compared with, never the winner
  double step_ns;         // of a whole step with it, when that was last tried; 0: never
  bool stepped;           // it was given to the worker that runs a whole step, or refused there
} ts__member;

typedef struct ts__step_samples {  // ns of whole steps
  size_t n;
  const double *v;
} ts__step_samples;
typedef struct ts__session {
  const ts_tune_opts *o;
  ts_tune_task task;
  ts_arena *arena;
  ts_db *db;
  ts_place place;
  ts_compiler *compiler;
  ts_space space;
  ts_workload *workload;
  ts_meter *meter;
  ts_object *pack;        // one per sketch; bytes NULL when there is none
  const ts_func **pack_func;
  ts_id workload_id, session_id;
  ts_db_workload row;
  uint64_t guess[TS__GUESSES];  // hashes of what a build without records takes: of each variant the first guess among its native templates
  int nguesses;
  const ts_db_winner *winner;  // of the store, or NULL
  int winner_sketch;
  bool winner_in_step;         // it was chosen in a whole step
  TS_VEC(ts__member *) members;
  TS_VEC(ts__member *) batch;  // those that were submitted and not yet measured
  uint64_t number;             // of the session in its run: the upper half of the compiler's tags
  bool begun;                  // the first batch was measured
  bool exhausted;              // nothing new was found to try
  bool given_up;               // nothing can be measured; why: failure
  ts_diag failure;
  TS_VEC(uint64_t) hashes;
  double **priors;             // of the points of native sketches
  ts__member *best, *fallback, *incumbent;  // fallback: the default schedule; NULL while that is refused and nothing was measured
  bool no_default;        // it does not serve here: fallback is the best of the first batch
  ts__member *library;  // the best of a vendor's library, or NULL; not among the members
  int64_t trials, failed, batches;
  double started_ms;      // elapsed in earlier runs of this session
  uint64_t begin_ns;
  double slack;           // expected relative gain of another batch
  uint64_t stop_ns;       // when no more candidates are measured, by ts_now_ns(); 0: no limit
  const char *text;       // the workload's text
  bool in_step;           // its kernel is chosen in a whole step
  bool shared;            // its kernel takes part in steps, for several numbers of rows, and is chosen in none
  ts__member *pick, *pick_base;  // what was chosen there, and what it was compared with; NULL: nothing was
  ts_compare pick_ratio;         // of steps with the one and with the other
  ts__step_samples pick_samples, base_samples;
} ts__session;

// --- a session step by step ---------------------------------------------------------------------------------------
//   open --first--> submitted --take.. --> ready --measure--> begun --next--> submitted ... --revive--> submitted ... --end--> decided
// Submitting never waits, so that several sessions' candidates compile while one is measured; take() is given what the compiler
// finished. The functions are false for environment failures only.
// Its worker prepares itself while others are opened (ts_meter_wait). idle: of the meter.
bool ts__session_open(ts__session *s, uint64_t number, const ts_tune_task *task, const ts_tune_opts *o, ts_db *db, const ts_place *p, ts_compiler *c, void (*idle)(void *arg),
                      void *idle_arg, ts_diag *d) TS_WARN_UNUSED;
// The default schedule, the incumbent, and the first guesses of every sketch.
bool ts__session_first(ts__session *s, ts_diag *d) TS_WARN_UNUSED;
// Up to `n` new candidates; none when nothing new is left to try.
bool ts__session_next(ts__session *s, int n, ts_diag *d) TS_WARN_UNUSED;
bool ts__session_take(ts__session *s, const ts_compiled *c, ts_diag *d) TS_WARN_UNUSED;
bool ts__session_ready(const ts__session *s);  // something is compiled; of the first batch, and on CPUs, which compile and measure in turn, everything
// Verify, time and record what is compiled of what was submitted.
bool ts__session_measure(ts__session *s, ts_diag *d) TS_WARN_UNUSED;
// Finalists, and what a whole step would try, that are known from an earlier run only are submitted again, to be measured as a batch.
bool ts__session_revive(ts__session *s, ts_diag *d) TS_WARN_UNUSED;
// The interleaved final and the decision (final.c), in about most_s seconds; no final is shorter than five rounds.
bool ts__session_end(ts__session *s, bool interrupted, double most_s, ts_tune_row *out, ts_arena *a, ts_diag *d) TS_WARN_UNUSED;
double ts__session_final_s(const ts__session *s);  // how long that is expected to take with all of its rounds
void ts__session_close(ts__session *s);
// Have a candidate compiled, to be measured with the next batch.
bool ts__session_try(ts__session *s, ts__member *m, ts_diag *d) TS_WARN_UNUSED;

// Choose the kernels of a model's step by the time of whole steps, before the finals (step.c). try_all measures what was submitted,
// left_s tells how much time is left before other steps and the finals, INFINITY without a budget. Sessions keep what was chosen; a step that cannot be run is told, and
// leaves its kernels as builds without records have them.
typedef struct ts__step_host {
  ts__session *s;
  size_t n;
  const ts_tune_opts *o;
  const ts_tune_step *step;
  bool (*try_all)(void *arg, ts_diag *d);
  double (*left_s)(const void *arg);
  void *arg;
} ts__step_host;
// Whether a whole step tries it, by its time alone.
bool ts__is_near(const ts__session *s, const ts__member *m);
// Whether a workload's kernel stays what a build without records takes: times alone say too little, and no step chooses it.
bool ts__stays_guess(const ts__session *s);
// Whether a kernel of the workload is chosen in steps: it serves one number of rows.
bool ts__step_chooses(const ts_func *reference);
// *out: 0 ns where the step was not measured.
bool ts__step_choose(const ts__step_host *h, ts_tune_step_row *out, ts_diag *d) TS_WARN_UNUSED;

// session.c, for the final
bool ts__measure_one(ts__session *s, ts__member *m, const ts_effort *e, ts_diag *d) TS_WARN_UNUSED;
bool ts__record_verdict(ts__session *s, const ts__member *m, const ts_outcome_row *r, ts_diag *d) TS_WARN_UNUSED;
ts_blob ts__encode_samples(ts_arena *a, const double *ns, size_t n);
// *measurement may be NULL.
bool ts__record_times(ts__session *s, const ts__member *m, const ts_outcome_row *r, int rung, ts_id *measurement, ts_diag *d) TS_WARN_UNUSED;

// propose.c
ts__member *ts__propose(ts__session *s, uint64_t stream);
ts__member *ts__member_draw(ts__session *s, int sketch, const ts_trace *t, uint64_t seed, ts_diag *d);
ts__member *ts__member_point(ts__session *s, int sketch, const int64_t *point, ts_diag *d);
void ts__forget(ts__session *s, const ts__member *m);  // it may be proposed again
uint64_t ts__point_hash(const ts_sketch *k, const int64_t *point);  // the hash of such a member
// From text that a store keeps, for the sketch that it was made from; NULL when it does not fit.
ts__member *ts__member_recall(ts__session *s, int sketch, const char *text, ts_diag *d);
// The best untried point of a native sketch as far as is known; NULL when all were tried.
const int64_t *ts__point_best(ts__session *s, int sketch, ts_gp *g);

// prior.c: log time of a point up to a constant, from its launches alone: multiprocessors that stay idle, a last wave that is not full,
// too few threads to keep memory busy. dims: as measured.
double ts__prior(const ts_native_fit *f, const ts_gpu_code *c, const int64_t *dims);
size_t ts__ranked(const ts__session *s, ts__member **out, size_t most);  // good members, fastest first
// Whether a build without records takes the member.
bool ts__is_guess(const ts__session *s, const ts__member *m);

#endif
