// codegen, inside: the passes of lowering. Each takes a function (or statement) and gives a new one.
#ifndef TS_CODEGEN_LOWER_H
#define TS_CODEGEN_LOWER_H

#include "analysis/analysis.h"
#include "codegen/codegen_impl.h"

typedef struct ts__lower_place {
  const ts_buffer *buf;
  int64_t offset;  // in elements
} ts__lower_place;

// A buffer in scope "fragment.X" and what it becomes: tile after tile, the registers of one thread.
typedef struct ts__fragment {
  const ts_buffer *from, *to;
  int64_t tile[8];    // extents of a tile in each dimension
  int64_t registers;  // elements of a tile that one thread holds
} ts__fragment;

// A pipeline whose copies are bulk copies (lower_bulk.c): for each slot a barrier that says it is filled. With roles, also one that says it
// may be filled again, and the pipeline is `if role == 0 { consumers } else { producer }`, the variable being its alone.
typedef struct ts__bulk_pipe {
  const ts_buffer *full, *empty;  // empty: NULL without roles
  int64_t slots;
  const ts_var *role;
  int64_t registers;  // wanted for each consumer, 1: as many as all threads have
} ts__bulk_pipe;

typedef struct ts__lower {
  ts_ir *ir;
  ts_arena *arena;
  ts_analyzer *an;  // knows the dimensions
  const ts_func *f;
  const ts_target *t;
  ts_diag *d;
  bool failed;
  TS_VEC(ts__fragment) fragments;
  TS_VEC(ts__lower_place) places;  // of shared buffers
  TS_VEC(ts__bulk_pipe) bulk;
  TS_VEC(const ts_buffer *) lasting;  // shared buffers whose memory is nobody else's in their kernel: copies arrive there at any time
  TS_VEC(const ts_stmt *) serial;     // loops around that run one iteration after the other, outermost first
  int conditions;                     // around
} ts__lower;

// Inner buffers of blocks become allocations, sunk to where they are used and shrunk (lower_alloc.c).
const ts_stmt *ts__place_buffers(ts__lower *l, const ts_stmt *body);
// body with an allocation of b, in scope around it, as deep and small as its use allows. False: some read of b finds
// nothing that the body wrote before.
bool ts__place_buffer(ts__lower *l, const ts_stmt **body, const ts_buffer *b);
// Blocks become plain statements (lower_block.c).
const ts_stmt *ts__lower_blocks(ts__lower *l, const ts_stmt *body);
// The implementation of a tensorized block's intrinsic on its operands; NULL after a refusal (lower_intrin.c).
const ts_stmt *ts__lower_intrin(ts__lower *l, const ts_block *b);
// The element idx of an intrinsic's operand, a tile of a fragment, that `threads` threads share, each holding at least
// `held`: its buffer of registers, and in *at the place there; NULL after a refusal. Then the allocations of fragments,
// once all blocks are lowered (lower_fragment.c).
const ts_buffer *ts__fragment_access(ts__lower *l, const ts_operand *o, const ts_buffer *param, int threads,
                                     int64_t held, const ts_expr *const *idx, const ts_expr **at);
const ts_stmt *ts__fragment_allocs(ts__lower *l, const ts_stmt *body);
// All buffers one-dimensional, parameters too (lower_flat.c).
const ts_func *ts__flatten(ts__lower *l, const ts_func *f);
// Private copies for the lanes of vector loops, and for the iterations of parallel loops where the stack is too small
// (lower_expand.c).
const ts_stmt *ts__expand_buffers(ts__lower *l, const ts_stmt *body);
// Does s copy by bulk copies, on this target? ("bulk_copy" on its block.) Then the nest of loops as one such copy that arrives on the barrier;
// NULL after a refusal (lower_bulk.c).
bool ts__is_bulk(const ts__lower *l, const ts_stmt *s);
const ts_stmt *ts__bulk_copy(ts__lower *l, const ts_stmt *nest, const ts_expr *barrier);
// Loops with stages overlap their iterations (lower_pipe.c); refusal "pipeline".
const ts_stmt *ts__pipeline(ts__lower *l, const ts_stmt *body);
// Vector loops around an asynchronous copy become one copy of a vector; what cannot be copied so is stored
// (lower_async.c).
const ts_stmt *ts__join_copies(ts__lower *l, const ts_stmt *body);
// Conditions out of the loops that they do not depend on (lower_hoist.c).
const ts_stmt *ts__hoist_conditions(ts__lower *l, const ts_stmt *body);

// What a lowered function looks like for a GPU (ORDER gpu form: lower_gpu*.c make it, nvptx*.c take it).
//   body    a sequence of kernels, in allocations of scope "global" as deep as needed: those are workspace
//   kernel  blockIdx loops (z, y, x; those in use; extents of dims), allocations of scope "shared", threadIdx loops (z,
//   y, x; constant
//           extents), nested in this order, each axis at most once; below them no thread loop. Everything below is run
//           by all threads: what fewer threads have to do stands under conditions on the thread variables, and nothing
//           that all threads (or all of a warp) must reach is under a condition that differs between them. Notes of the
//           loops bound to an axis are joined on its loop. A statement without thread loops is a kernel of one thread,
//           with no loop around it.
//   alloc   "shared*": `offset` is its place in the kernel's shared memory, in elements, a multiple of `align` bytes;
//   buffers that are
//           never in use together overlap. The kernel needs the largest offset + size. "local", "fragment.*", "global"
//           inside the threadIdx loops: of one thread (registers where all indices are constants once unrolled loops
//           are).
//   shared  a swizzled buffer has scope "shared.swizzle128" (64, 32): its accesses are plain here, addresses are
//   changed when
//           emitted; it begins at a multiple of 1024 bytes.
//   effects eval of the calls in ir/effect.def; async.copy(vload(dst), vload(src)) of 4, 8 or 16 bytes; bulk.copy from a parameter, by one thread
//   roles   the body may be `initialise barriers; sync.block; if position along the outermost thread axis < N { consumers } else { producer }`

// How a buffer is used below a statement (lower_access.c).
typedef struct ts__uses ts__uses;
typedef struct ts__box {  // inclusive bounds a dimension, in terms of outer loop variables; NULL: unknown
  const ts_expr *lo[8], *hi[8];
} ts__box;
ts__uses *ts__uses_of(ts__lower *l, const ts_stmt *root, const ts_buffer *b);
ts__box ts__box_of(ts__lower *l, const ts__uses *u,
                   const ts_stmt *t);  // of all uses below t (t is below root, or root)
// Does one execution of t need nothing that was in the buffer before?
bool ts__self_contained(ts__lower *l, const ts__uses *u, const ts_stmt *t);

// Replacement of buffers in all loads and stores below s: access(arg, buf, idx, out) gives the new buffer (or NULL:
// keep) and its indices, of which it has at most 8 (lower_flat.c).
typedef const ts_buffer *(*ts__access_fn)(void *arg, const ts_buffer *buf, const ts_expr *const *idx,
                                          const ts_expr **out);
const ts_stmt *ts__map_access(ts_ir *ir, const ts_stmt *s, ts__access_fn f, void *arg);
const ts_expr *ts__map_access_expr(ts_ir *ir, const ts_expr *e, ts__access_fn f, void *arg);
// Row-major position of idx in buf, in elements; the buffer's own strides and offset count.
const ts_expr *ts__flat_index(ts_ir *ir, const ts_buffer *buf, const ts_expr *const *idx);
const ts_expr *ts__stride(ts_ir *ir, const ts_buffer *buf, int dim);
const ts_expr *ts__guard_and(ts_ir *ir, const ts_expr *a, const ts_expr *b);  // either may be NULL (true)
bool ts__has_load(const ts_expr *e);

#endif
