// Shared inside src/runtime.
#ifndef TS_RUNTIME_IMPL_H
#define TS_RUNTIME_IMPL_H

#include "runtime/runtime.h"

// memory.c: as ts_pages_map, on huge pages or on small ones
bool ts__pages_map(ts_pages *m, size_t n, bool huge, const char *what, ts_diag *d) TS_WARN_UNUSED;

// index.c
bool ts__read_at(int fd, const char *path, void *dst, int64_t n, int64_t offset, ts_diag *d) TS_WARN_UNUSED;

// library.c: the code of a step of a phase, of a weight's pack
typedef struct ts__kernel {
  ts_kernel_fn run;
  ts_workspace_fn workspace;
} ts__kernel;
ts__kernel ts__library_step(const ts_library *l, int phase, int step);
ts__kernel ts__library_pack(const ts_library *l, int weight);

// weights_file.c
typedef struct ts__part {
  int64_t offset, bytes;  // in the memory of the weights
  bool owner;             // false: the same bytes as an earlier part
} ts__part;
struct ts_weights {
  const ts_plan *plan;
  ts_arena *arena;
  ts_pages pages;
  int *first;  // of each weight, into parts; first[nweights] is their number
  ts__part *parts;
  int64_t bytes;
  bool from_file;
};
// 1: read; 0: there is no such file, or it belongs to other parameters; -1: it is broken, or reading failed.
int ts__weights_read_file(ts_weights *w, const ts_index *x, const char *path, ts_pool *pool, ts_diag *d);

// session.c: use at most this many positions
void ts__session_limit(ts_session *s, int64_t capacity);

// exec.c: memory and bound kernels of one sequence
typedef struct ts__exec ts__exec;
ts__exec *ts__exec_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) TS_WARN_UNUSED;
void ts__exec_free(ts__exec *e);
void *ts__exec_buffer(const ts__exec *e, int buffer);
size_t ts__exec_bytes(const ts__exec *e);
// Run a phase of the plan with n rows (already rounded up) after t tokens; row is for row views.
bool ts__exec_run(ts__exec *e, const ts_plan_phase *f, int64_t n, int64_t t, int64_t row, ts_diag *d) TS_WARN_UNUSED;
void ts__exec_profile(ts__exec *e, bool on);
size_t ts__exec_profile_rows(const ts__exec *e, ts_arena *a, ts_profile_row **rows);

#endif
