// Shared by the files of `tunesmith schedule`: what is being scheduled, and what can be done with it.
#ifndef TS_CLI_SCHEDULE_H
#define TS_CLI_SCHEDULE_H

#include "cli/cli.h"
#include "op/op.h"
#include "schedule/schedule.h"
#include "target/target.h"

typedef struct ts__work_opts {
  const char *variant, *target, *format, *explain, *diff;
  bool list, step, quiet, run, execute, limits, lower, assembly, measure, keep_going, strict, report, simplify, minimise, interactive;
  int64_t seed, n, threads;
  ts_opt_list params;
} ts__work_opts;
typedef struct ts__work {
  ts_arena *a;
  ts_ir *ir;
  const ts__work_opts *o;
  const char *what;  // a workload, or a file with one function
  bool is_file;      // then spec and inst are empty
  const char *variant;
  ts_spec spec;
  ts_op_inst inst;
  const ts_func *f;  // as written
  ts_sched *s;
} ts__work;

// schedule_work.c: the function, its trace and lowering
bool ts__work_open(ts__work *w, const char *what, ts_diag *d) TS_WARN_UNUSED;
const ts_trace *ts__work_trace(const ts__work *w, const char *path, ts_diag *d);
void ts__func_show(const ts_func *f);
void ts__refusal_show(FILE *to, const ts_sched *s, const char *file, const char *line);
// Replay, with every step shown (step), reported (report), or only those that were not applied as written.
bool ts__work_replay(ts__work *w, const ts_trace *t, ts_diag *d) TS_WARN_UNUSED;
// What its kernels ask of the target, a GPU, before it is lowered.
bool ts__work_limits(const ts__work *w, bool json, ts_diag *d) TS_WARN_UNUSED;
bool ts__work_lower(const ts__work *w, bool lowered, bool assembly, ts_diag *d) TS_WARN_UNUSED;

// schedule_run.c. Interpret both functions on the same data and compare; prints a line an output.
bool ts__work_run(const ts__work *w, ts_diag *d) TS_WARN_UNUSED;
// The same with the scheduled function compiled for the target and run on it, on a GPU or here.
bool ts__work_execute(const ts__work *w, ts_diag *d) TS_WARN_UNUSED;

// schedule_trace.c: the trace as a value
bool ts__work_reduced(const ts__work *w, ts_diag *d) TS_WARN_UNUSED;  // --simplify, --minimise: prints the trace
// w may be NULL: without functions. *code becomes 1 when the traces differ.
bool ts__traces_compare(ts_arena *a, ts__work *w, const char *from, const char *to, int *code,
                        ts_diag *d) TS_WARN_UNUSED;

// schedule_explain.c
bool ts__work_explain(const ts__work *w, const char *block, bool json, ts_diag *d) TS_WARN_UNUSED;

// schedule_measure.c: verified and timed beside the default schedule
bool ts__work_measure(const ts__work *w, bool json, ts_diag *d) TS_WARN_UNUSED;

// schedule_interactive.c, schedule_complete.c
bool ts__work_interactive(ts__work *w, ts_diag *d) TS_WARN_UNUSED;
// What may stand at the end of text[0..n): *from is where the word to be completed begins. Sorted, in a.
const char **ts__work_complete(const ts__work *w, ts_arena *a, const char *text, size_t n, size_t *from, size_t *count);
typedef struct ts__work_command {
  const char *name, *args, *help;
} ts__work_command;
extern const ts__work_command ts__work_commands[];  // the last has no name

#endif
