// Shared by the files of `tunesmith bench`: measuring (bench.c), printing (bench_print.c), keeping results in a store (bench_store.c).
#ifndef TS_CLI_BENCH_H
#define TS_CLI_BENCH_H

#include "cli/cli.h"
#include "db/db.h"
#include "measure/measure.h"
#include "runtime/runtime.h"

enum { MAX_LIST = 16, MAX_TESTS = 128, MAX_REPEATS = 1000, MAX_MODELS = 16 };
typedef struct list {
  int n;
  int64_t v[MAX_LIST];
} list;

typedef struct options {
  const char *prompts, *generates, *depths, *store, *format, *library;
  int64_t repeats, loads, threads;
  bool no_bandwidth;
} options;

typedef struct test {
  bool decode;
  int64_t tokens, depth;
  char name[48];
  uint64_t ns[MAX_REPEATS];
  double first_ms[MAX_REPEATS];  // prompts: until the token after it was chosen
  ts_stats speed;         // tokens/s
  ts_stats first;         // ms
  double ratio, ratio_lo, ratio_hi;  // speed over that of the first model, with its interval
  double bytes_per_token; // that must be read, mean over the test; decode only
} test;

struct bench;
// What one model takes.
typedef struct subject {
  const struct bench *bench;
  const char *dir;
  ts_api api;
  ts_target target;       // that the model was built for a kind of, on this machine
  ts_engine *engine, *owner;  // whose threads it uses; NULL: it has its own
  ts_session *session;
  test *tests;            // bench->ntests
  bool profiling;         // times of kernels: the host waits between tokens
} subject;

typedef struct bench {
  options o;
  int nmodels, ntests;
  int64_t samples;       // of a test: repetitions in all loads
  subject model[MAX_MODELS];
  double before, after;  // bytes/s of DRAM read; NAN when not measured
  char command[1024];
  int lock;              // of the CPU; -1: none
} bench;

// bench.c
void ts__bench_tokens(const subject *s, int32_t *v, int64_t n);  // the tokens of a test
bool ts__bench_once(const subject *s, const test *t, const int32_t *tokens, uint64_t *ns, double *first_ms, ts_diag *d) TS_WARN_UNUSED;
const char *ts__bench_schedule(const ts_plan *p);

// bench_print.c: in the format asked for
void ts__bench_print(const bench *b);

// bench_store.c: the results as runs, and for each the time of every kernel that the store knows
bool ts__bench_keep(subject *s, ts_db *db, ts_diag *d) TS_WARN_UNUSED;

#endif
