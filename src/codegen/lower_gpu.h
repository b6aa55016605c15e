// codegen, inside: what the passes for GPUs share. ORDER gpu form: lower.h says what they make.
#ifndef TS_CODEGEN_LOWER_GPU_H
#define TS_CODEGEN_LOWER_GPU_H

#include "codegen/lower.h"

enum { TS__WARP_THREADS = 32, TS__ALL_THREADS = 1 << TS_THREAD_X | 1 << TS_THREAD_Y | 1 << TS_THREAD_Z };

// An allocation found in a kernel, with what was around it.
typedef struct ts__owned {
  const ts_buffer *buf;
  unsigned active;     // axes whose loops were around it
  int first, last;     // leaves that it was there for
  const ts_stmt *seq;  // of whose statements from .. to use it; NULL: not so
  int from, to;
} ts__owned;

typedef struct ts__packed {
  const ts_buffer *buf;
  int64_t at, bytes;
  int first, last;
} ts__packed;

typedef struct ts__kernel {
  ts__lower *l;
  const ts_var *var[TS_AXIS__COUNT];  // NULL: the axis is not in use
  const ts_expr *extent[TS_AXIS__COUNT];
  ts_notes notes[TS_AXIS__COUNT];
  unsigned used;              // axes in use, as bits
  const ts_stmt *body;        // below all thread loops; blocks are still there
  TS_VEC(ts__owned) owned;    // taken out of the body
  TS_VEC(ts__packed) packed;  // where shared buffers lie
  int leaves;
  const ts__bulk_pipe *roles;  // of the pipeline that has them; NULL: none has
  ts_axis role_axis;           // along which consumers are 0 .. extent - 1 and the producer follows
  int64_t cluster;             // neighbours along blockIdx.x that share copies, 1: none
} ts__kernel;
static inline bool ts__is_shared(const ts_buffer *b) { return strncmp(b->scope, "shared", 6) == 0; }
static inline bool ts__is_private(const ts_buffer *b) {
  return strcmp(b->scope, "local") == 0 || strncmp(b->scope, "fragment.", 9) == 0;
}
int64_t ts__threads_of(const ts__kernel *k, ts_axis a);                                     // 1 when not in use
bool ts__gpu_refuse(ts__lower *l, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);  // false

// A block around statements that were one, so that at the top they stay in one kernel (lower_gpu.c).
const ts_stmt *ts__one_kernel(ts__lower *l, const char *name, const ts_stmt *body);
// Reductions along thread axes as parts of each thread, combined across them (lower_cross.c).
const ts_stmt *ts__cross_threads(ts__lower *l, const ts_stmt *body);
// The statements at the top as kernels, in allocations of workspace (lower_gpu.c). l->f is the function with blocks;
// NULL after a refusal.
const ts_stmt *ts__gpu_kernels(ts__lower *l, const ts_stmt *body);

// Places for what the kernel owns (lower_gpu_place.c): private buffers shrink to what one thread uses, shared ones are
// packed and returned outermost first; workspace goes to `outside`. False after a refusal.
typedef struct ts__homes {
  TS_VEC(const ts_buffer *) shared, outside;
} ts__homes;
bool ts__gpu_place(ts__kernel *k, ts__homes *out);

// Barriers of bulk copies and the threads that make them (lower_gpu_roles.c).
typedef enum ts__gpu_role { TS__NO_ROLE, TS__CONSUMER, TS__PRODUCER } ts__gpu_role;
// The pipeline of s that has roles: the kernel's outermost thread axis gets a position for its producer. False after a refusal.
bool ts__gpu_open_roles(ts__kernel *k, const ts_stmt *s);
// Is this the statement that has a side for each role?
bool ts__gpu_is_role(const ts__kernel *k, const ts_stmt *s);
// An effect on barriers, or a bulk copy: by the threads that have to, under guard (NULL: always).
const ts_stmt *ts__gpu_effect(ts__kernel *k, const ts_stmt *s, ts_effect f, ts__gpu_role role, const ts_expr *guard);
// The body is what consumers do; *producer what the producer does, if any.
void ts__gpu_part_roles(ts__kernel *k, const ts_stmt **producer);
// Barriers are initialised, and the roles stand side by side. False after a refusal.
bool ts__gpu_join_roles(ts__kernel *k, const ts_stmt *producer);

// Barriers where one thread needs or overwrites what another one touches (lower_gpu_sync.c).
bool ts__gpu_barriers(ts__kernel *k);

// Accesses (lower_gpu_touch.c). Every one below s, with its indices over loop and thread variables.
typedef struct ts__touch {
  const ts_buffer *buf;
  bool write;
  bool async;      // by a copy that arrives later
  bool combine;    // of threads that share a reduction: each has its own part
  bool arrival;    // a wait for such copies: the rest but buf is empty
  unsigned group;  // axes that number the threads which do it together
  unsigned uses;   // axes on which what the leaf does depends
  const ts_expr *idx[8];
  int nloops;
  const ts_stmt *const *loop;  // around it, below the top of the kernel, outermost first
} ts__touch;
typedef struct ts__touches {
  TS_VEC(ts__touch) v;
} ts__touches;
// outer: loops around s.
void ts__touches_of(ts__kernel *k, const ts_stmt *s, const ts_stmt *const *outer, int nouter, ts__touches *out);

// Can two threads that differ along these axes touch one element by a and b? Both are in the same iteration of their
// first `common` loops.
typedef enum ts__apart { TS__APART, TS__SAME_WARP, TS__MAY_MEET } ts__apart;
ts__apart ts__threads_apart(ts__kernel *k, const ts__touch *a, const ts__touch *b, int common, unsigned axes);

#endif
