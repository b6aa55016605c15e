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
  ts_kernel_fn run;             // CPU
  ts_workspace_fn workspace;
  const void *artifact;         // GPU: target/gpu.h
  uint64_t artifact_bytes;
} ts__kernel;
ts__kernel ts__library_step(const ts_library *l, int phase, int step);
ts__kernel ts__library_pack(const ts_library *l, int weight);

// weights_file.c
typedef struct ts__part {
  int64_t offset, bytes;  // in the memory of the weights
  bool owner;             // false: the same bytes as an earlier part
} ts__part;
typedef struct ts__gpu ts__gpu;
struct ts_weights {
  const ts_plan *plan;
  ts_arena *arena;
  ts_pages pages;       // in this process
  ts__gpu *gpu;         // or on a GPU, held as long as its weights
  uint64_t device;      // address there
  int *first;  // of each weight, into parts; first[nweights] is their number
  ts__part *parts;
  int64_t bytes;
  bool from_file;
};
// weights.c: places of parts, multiples of align; read a tensor of the parameter container that a weight is made of, as `as`, and hold it against the
// plan's shape and limits
void ts__weights_place(ts_weights *w, int64_t align);
bool ts__weights_read(const ts_weights *w, const ts_index *x, int weight, int i, ts_dtype as, void *dst, ts_diag *d) TS_WARN_UNUSED;
// cuda_weights.c: open the GPU and fill its memory: from the container, or, where the plan says so, with random numbers (x is NULL then)
bool ts__weights_load_cuda(ts_weights *w, const ts_library *l, const ts_index *x, ts_diag *d) TS_WARN_UNUSED;
void ts__weights_free_cuda(ts_weights *w);

// 1: read; 0: there is no such file, or it belongs to other parameters; -1: it is broken, or reading failed.
int ts__weights_read_file(ts_weights *w, const ts_index *x, const char *path, ts_pool *pool, ts_diag *d);

// cache.c
struct ts_cache {
  const ts_plan *plan;
  size_t bytes;
  ts_pages host;    // in this process
  ts__gpu *gpu;     // or on a GPU
  uint64_t device;  // address there
  int64_t backed;   // on a GPU: pages below this have memory
  bool whole;       // on a GPU: all memory is one allocation
  int npieces;      // else: memory of a layer came in pieces that end at these bytes
  size_t piece[64];
  int64_t nunused;
  int32_t *unused;  // pages that no table has; the last is taken next
  uint32_t *users;  // of each page: tables that have it
};
size_t ts__cache_layer_bytes(const ts_plan *p);  // of K (and V) of one layer, with what lies between layers
// cuda_cache.c
size_t ts__cache_step(const ts_plan *p);  // layers begin at multiples of it
bool ts__cache_back_cuda(ts_cache *c, int64_t pages, ts_diag *d) TS_WARN_UNUSED;  // pages below `pages` have memory
bool ts__cache_map_cuda(ts_cache *c, const ts_weights *w, ts_diag *d) TS_WARN_UNUSED;
void ts__cache_unmap_cuda(ts_cache *c);
bool ts__cache_copy_cuda(ts_cache *c, int32_t from, int32_t to, ts_diag *d) TS_WARN_UNUSED;  // a page, in order with the kernels
bool ts__cache_clear_cuda(ts_cache *c, int32_t page, ts_diag *d) TS_WARN_UNUSED;              // the same
// The pages of one sequence: position j is in page[j / plan->page]. Kernels read the array, on a GPU a copy.
typedef struct ts__table {
  ts_cache *cache;
  int32_t *page;   // plan->max_seq / plan->page numbers, n of them in use
  int64_t n, sent; // sent: those that the copy on the GPU has
  bool spoiled;    // what the pages hold may be no numbers: they are cleared before another table has them
} ts__table;
bool ts__table_open(ts__table *t, ts_cache *c, ts_diag *d) TS_WARN_UNUSED;
void ts__table_close(ts__table *t);                   // accepts a zeroed object
int64_t ts__table_reach(const ts__table *t, int64_t from);  // positions that it can have now, when those from `from` on are written
// Pages for positions below `to`, those from `from` on in pages of its own. "cache-full" takes nothing.
bool ts__table_grow(ts__table *t, int64_t from, int64_t to, ts_diag *d) TS_WARN_UNUSED;
void ts__table_share(ts__table *t, const ts__table *from, int64_t positions);  // the pages of another table of the cache, for so many positions
size_t ts__table_bytes(const ts__table *t);           // of the pages in it
void ts__table_shrink(ts__table *t, int64_t positions);  // give back what so many positions do not need

// session.c: use at most this many positions
void ts__session_limit(ts_session *s, int64_t capacity);

// Memory and bound kernels of one sequence: exec.c on the CPU, cuda_exec.c on a GPU.
typedef struct ts__exec ts__exec;
typedef struct ts__exec_kind {
  void (*free)(ts__exec *e);
  size_t (*bytes)(const ts__exec *e);
  // Compute rows[0..rows) at position t with a phase that is not the head, n rows with those that only fill up. May return before it is
  // done; what it needs of `tokens` is copied.
  bool (*pass)(ts__exec *e, const ts_plan_phase *f, const int32_t *tokens, int64_t rows, int64_t n, int64_t t, ts_diag *d);
  // The logits of a row of the last pass, which was the token at position t.
  bool (*head)(ts__exec *e, const ts_plan_phase *f, int64_t row, int64_t t, ts_diag *d);
  bool (*finish)(ts__exec *e, ts_diag *d);     // wait until all is done
  const float *(*logits)(ts__exec *e);         // of the last head; NaN after a failure
  void (*profile)(ts__exec *e, bool on);
  size_t (*profile_rows)(const ts__exec *e, ts_arena *a, ts_profile_row **rows);
  // Generation without the host in between; NULL members: none. begin: choose the token at position `length` from the logits of the last
  // head and queue passes, each for the token chosen before it and choosing the next, while positions are below `end`. next: the
  // next token chosen, in order (-1: no logit was finite), queueing more. stop: wait for what is queued.
  bool (*ahead_begin)(ts__exec *e, const ts_sampler *how, int64_t length, int64_t end, ts_diag *d);
  bool (*ahead_next)(ts__exec *e, int32_t *token, ts_diag *d);
  bool (*ahead_stop)(ts__exec *e, ts_diag *d);
} ts__exec_kind;
struct ts__exec {
  const ts__exec_kind *kind;
};
// table: of a plan with pages, else NULL. It outlives the exec, and covers the positions of a pass before the pass is asked for.
ts__exec *ts__exec_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts__table *table, ts_diag *d) TS_WARN_UNUSED;
ts__exec *ts__exec_new_cuda(const ts_library *l, const ts_weights *w, ts__table *table, ts_diag *d) TS_WARN_UNUSED;
// profile.c: rows by phase and workload from the calls and times of steps, given by get
typedef struct ts__step_time {
  uint64_t calls, ns;
} ts__step_time;
size_t ts__profile_rows(const ts_plan *p, ts__step_time (*get)(const void *arg, int phase, int step), const void *arg, ts_arena *a,
                        ts_profile_row **rows);

#endif
