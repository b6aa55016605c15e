// codegen, inside: kernels for NVIDIA GPUs. nvptx.c finds the kernels of a lowered function and makes the artifact, the other
// nvptx_*.c files fill one kernel.
#ifndef TS_CODEGEN_NVPTX_H
#define TS_CODEGEN_NVPTX_H

#include "codegen/gen.h"
#include "target/gpu.h"

// Address spaces of LLVM's NVPTX.
enum { TS__NV_GLOBAL = 1, TS__NV_SHARED = 3 };
enum { TS__NV_ALIGN = 256 };  // of buffers in the workspace

// A parameter as a matrix of rows `stride` elements apart, copied in boxes.
typedef struct ts__nv_map {
  int param;
  int64_t rows, columns, stride;  // of a box, of which each block of a cluster copies a part; from row to row
  int swizzle;
  LLVMValueRef at;  // the entry's argument
} ts__nv_map;

typedef struct ts__nv_kernel {
  const ts_stmt *body;
  const char *entry;
  const ts_expr *extent[TS_AXIS__COUNT];  // of each thread axis; NULL: 1
  int nallocs;
  const ts_buffer *const *allocs;  // workspace buffers around it, outermost first
  int64_t shared;                  // bytes of dynamic shared memory
  ts_notes notes;                  // of its thread loops: options of the kernel
  TS_VEC(ts__nv_map) maps;         // of its bulk copies
  bool prefetched;                 // are they, by the code so far?
} ts__nv_kernel;

typedef struct ts__nv {
  TS_VEC(ts__nv_kernel) kernels;
  ts__nv_kernel *k;        // the one being filled
  LLVMValueRef shared;     // @ts_shared
  int64_t shared_used, shared_most;
  bool tensor;             // the kernel has wgmma: barriers pass shared memory on to it
  int trailing;            // loops around, in which products may go on over a barrier
} ts__nv;

// The kernels of g->f (nvptx.c); false after a refusal.
bool ts__nv_split(ts__gen *g);
// All entries (nvptx_kernel.c).
void ts__nv_functions(ts__gen *g);
void ts__nv_thread_loop(ts__gen *g, const ts_stmt *s);
LLVMValueRef ts__nv_thread_index(ts__gen *g, ts_axis a);  // of the block or thread, i64
// Before the predecessor of a kernel has ended (nvptx_early.c).
void ts__nv_begin(ts__gen *g, const ts__nv_kernel *k);
bool ts__nv_dependent(const ts__gen *g, const ts__nv_kernel *k);  // may start before its predecessor has ended
bool ts__nv_is_cold(const ts__gen *g, const ts_buffer *b);        // a weight: nobody writes it, and it is read once
LLVMValueRef ts__nv_storage(ts__gen *g, const ts_buffer *b);
bool ts__nv_is_shared(const ts_buffer *b);
int ts__nv_swizzle(const ts_buffer *b);  // 0, 32, 64, 128

// An index of a swizzled buffer as its place in memory, and loads of what is read once (nvptx_mem.c). NULL: a plain load does.
LLVMValueRef ts__nv_swizzled(ts__gen *g, const ts_buffer *b, LLVMValueRef index);
LLVMValueRef ts__nv_cold_load(ts__gen *g, const ts_buffer *b, LLVMValueRef ptr, int lanes, int align);

// How the second-level cache keeps what is read of a buffer (an operand "l" of instructions); NULL: as it likes.
LLVMValueRef ts__nv_policy(ts__gen *g, const ts_buffer *b);

// Calls that are no mathematics: effects, shuffles, asm (nvptx_call.c). False: not one of them.
bool ts__nv_call(ts__gen *g, const ts_expr *e, ts__val *out);
// Barriers and bulk copies (nvptx_bulk.c): the tensor maps that a kernel needs, their place among its parameters, their lines in the artifact,
// the code.
void ts__nv_find_maps(ts__gen *g, ts__nv_kernel *k);
void ts__nv_map_params(ts__gen *g, ts__nv_kernel *k, LLVMValueRef fn, unsigned first);
LLVMTypeRef ts__nv_map_type(ts__gen *g);
const ts_gpu_tmap *ts__nv_map_lines(ts__gen *g, const ts__nv_kernel *k);
void ts__nv_barrier(ts__gen *g, const ts_expr *e, ts_effect f);
typedef enum ts__nv_kind {
  TS__NV_PURE,   // a function of its arguments
  TS__NV_FIXED,  // reads memory that nobody writes
  TS__NV_READS,  // reads memory; stays where it is among what writes
  TS__NV_ACTS,   // anything; stays where it is
} ts__nv_kind;
LLVMValueRef ts__nv_asm(ts__gen *g, LLVMTypeRef result, const char *text, const char *constraints, LLVMValueRef *args,
                        unsigned n, ts__nv_kind kind);
// asm(...) of implementations (nvptx_asm.c).
ts__val ts__nv_asm_call(ts__gen *g, const ts_expr *e);
// Functions with instructions of their own (nvptx_math.c); NULL: none.
LLVMValueRef ts__nv_math(ts__gen *g, const char *name, LLVMValueRef *args, int lanes);

// A number among the notes on the kernel's thread loops: maxnreg (registers a thread), minblocks (on a multiprocessor), evict_first
// (weights pass through the caches), cluster (blocks along blockIdx.x), dependent (0: neither waits for its predecessor nor lets its successor start
// early; 2: its successor starts with its end), prefetch (bytes of each weight asked for before that wait). docs/schedule.md, annotate.
int64_t ts__nv_option(const ts__nv_kernel *k, const char *key, int64_t otherwise);
// What the kernel touches.
bool ts__nv_uses(const ts__nv_kernel *k, const ts_buffer *b);
bool ts__nv_uses_workspace(const ts__nv_kernel *k);

// Launch expressions (nvptx_launch.c).
bool ts__nv_expr(ts__gen *g, ts_text *out, const ts_expr *e);
bool ts__nv_artifact(ts__gen *g, const char *ptx, size_t n, ts_text *out);

// The assembler (ptxas.c).
typedef struct ts__ptxas {
  bool found;  // else the PTX itself is the image
  ts_text cubin, said;  // what it said about the entries (assembler.c)
} ts__ptxas;
bool ts__ptxas_run(const char *ptx, size_t n, const char *arch, ts__ptxas *out, ts_diag *d) TS_WARN_UNUSED;
void ts__ptxas_free(ts__ptxas *p);

#endif
