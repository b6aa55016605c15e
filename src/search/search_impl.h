// Shared inside search: the tuning session of one workload.
#ifndef TS_SEARCH_IMPL_H
#define TS_SEARCH_IMPL_H

#include "search/search.h"

typedef enum ts__state { TS__PROPOSED, TS__GOOD, TS__BAD } ts__state;
// One candidate. Its arena holds schedule, function and object; it is given back when the candidate is out of the running.
typedef struct ts__member {
  uint64_t tag;
  int sketch;
  ts__state state;
  ts_arena *arena;        // NULL once given back
  const ts_func *func;
  ts_object object;
  const char *trace;      // text, in the session's arena
  uint64_t hash;          // of the function
  size_t ndecisions;
  const double *decisions;
  double median;          // ns
  ts_id build_id;
  bool incumbent;
} ts__member;

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
  ts_id workload_id, session_id;
  ts_db_workload row;
  TS_VEC(ts__member *) members;
  TS_VEC(uint64_t) hashes;
  ts__member *best, *fallback, *incumbent;  // fallback: the default schedule
  int64_t trials, failed, batches;
  double started_ms;      // elapsed in earlier runs of this session
  uint64_t begin_ns;
  double slack;           // expected relative gain of another batch
  const char *text;       // the workload's text
} ts__session;

bool ts__session_open(ts__session *s, const ts_tune_task *task, const ts_tune_opts *o, ts_db *db, const ts_place *p, ts_compiler *c, ts_diag *d) TS_WARN_UNUSED;
// The default schedule, the incumbent, and one draw of every sketch.
bool ts__session_begin(ts__session *s, ts_diag *d) TS_WARN_UNUSED;
// Up to `n` new candidates: proposed, compiled, verified, timed, recorded. False only for environment failures.
bool ts__session_batch(ts__session *s, int n, ts_diag *d) TS_WARN_UNUSED;
// The interleaved final and the decision.
bool ts__session_end(ts__session *s, bool interrupted, ts_tune_row *out, ts_arena *a, ts_diag *d) TS_WARN_UNUSED;
void ts__session_close(ts__session *s);

// propose.c
ts__member *ts__propose(ts__session *s, uint64_t stream);
ts__member *ts__member_draw(ts__session *s, int sketch, const ts_trace *t, uint64_t seed, ts_diag *d);
size_t ts__ranked(const ts__session *s, ts__member **out, size_t most);  // good members, fastest first

#endif
