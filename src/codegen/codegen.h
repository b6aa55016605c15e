// codegen: lowering of scheduled functions, the LLVM CPU backend, compile workers, artifacts and shared libraries.
#ifndef TS_CODEGEN_H
#define TS_CODEGEN_H

#include "base/base.h"
#include "ir/ir.h"
#include "target/target.h"

// Part of every artifact's identity: raise it when the same function would give other code.
#define TS_CODEGEN_VERSION 2
const char *ts_codegen_compiler(void);  // LLVM's version, "19.1.7"

// --- lowering (lower.c) -------------------------------------------------------------------------------------
// Blocks -> loops: iterator values substituted; predicates and inits become `if`, as far out as they can go, proved
// ones dropped; inner buffers allocated where they are used and shrunk to the region touched there; buffers flattened
// to one dimension; tensorized blocks replaced by their intrinsic's implementation; indices simplified. A function that
// is already lowered is returned as it is. Buffers in scope "global" allocated outside all loops become workspace
// (still TS_S_ALLOC here).
bool ts_lower(ts_ir *ir, const ts_func *blocks, const ts_target *t, const ts_func **loops, ts_diag *d) TS_WARN_UNUSED;

// What the heaviest kernel of a function for a GPU asks of the machine, against the target's limits: threads of a block, bytes of shared memory,
// registers by estimate, blocks of the grid, alignment of what tensor intrinsics take at once. Refusals block-threads, shared-memory, registers,
// grid-limit, kernel-option (an annotation) and operand-layout say the number. Of a function with blocks memory and registers are bounds from below,
// read off the loops: it takes microseconds, and what is refused there ts_lower refuses as well. ts_lower checks too, first and last; the last is the judge.
typedef struct ts_gpu_use {
  int kernels;
  int64_t threads, shared, registers;
  const char *over;    // the code of the refusal, NULL: there was none;
  int64_t have, most;  // then what is asked for, and the limit
} ts_gpu_use;
bool ts_gpu_check(ts_ir *ir, const ts_func *f, const ts_target *t, ts_gpu_use *use, ts_diag *d) TS_WARN_UNUSED;

// --- objects ------------------------------------------------------------------------------------------------
// Object bytes of one kernel. The symbols in it are `symbol` and `symbol_workspace` (target.h); `symbol` is the
// function's name and the first digits of the id, so that objects of any mixture of kernels link together.
typedef struct ts_object {
  char symbol[96];
  ts_sha256 id;  // of the function's text, its intrinsics' text, the target's text and TS_CODEGEN_VERSION
  const void *bytes;
  size_t n;
  bool cached;       // came from the cache
  double compile_s;  // lowering and code generation; 0 when cached
} ts_object;
// Identity without compiling.
bool ts_object_id(const ts_func *f, const ts_target *t, ts_object *out, ts_diag *d) TS_WARN_UNUSED;

// Compile in this process, either stage (tests and workers; LLVM may abort the process: see ts_compiler). f is not
// changed.
bool ts_codegen_object(const ts_func *f, const ts_target *t, ts_arena *a, ts_object *out, ts_diag *d) TS_WARN_UNUSED;
// Assembly text, and LLVM IR text (before and after the passes), for people.
bool ts_codegen_asm(const ts_func *f, const ts_target *t, ts_text *out, ts_diag *d) TS_WARN_UNUSED;
bool ts_codegen_llvm(const ts_func *f, const ts_target *t, bool optimized, ts_text *out, ts_diag *d) TS_WARN_UNUSED;

// --- native templates (nvrtc.c) -------------------------------------------------------------------------------
// A unit of op/native.h: launches and CUDA C++ source. Its object holds the same launches and a cubin.
typedef struct ts_unit {
  const char *name;  // for the symbol and messages
  const void *bytes;
  size_t n;
} ts_unit;
// NVRTC's version as major * 1000 + minor * 10; 0 when there is none. Part of a unit's identity.
int ts_codegen_nvrtc(void);
bool ts_unit_id(const ts_unit *u, const ts_target *t, ts_object *out, ts_diag *d) TS_WARN_UNUSED;
// Compile in this process. Refusal "template-compile" carries file, line and the compiler's words; environment failure
// "no-nvrtc" without the library.
bool ts_codegen_unit(const ts_unit *u, const ts_target *t, ts_arena *a, ts_object *out, ts_diag *d) TS_WARN_UNUSED;

// The assembler of the CUDA toolkit, or NULL: TUNESMITH_PTXAS (a path; anything that does not run switches it off),
// else CUDA_HOME, PATH, /usr/local/cuda. Without it artifacts hold PTX, which the driver assembles.
const char *ts_codegen_ptxas(ts_arena *a);

// --- compile workers and the artifact cache (compiler.c, cache.c) --------------------------------------------
// A pool of forked children: an abort, crash or timeout in one costs that candidate (refusal "compiler-crashed",
// "compiler-timeout") and the child is replaced. cache_dir may be NULL (no cache); it is made with mode 0700.
typedef struct ts_compiler ts_compiler;
ts_compiler *ts_compiler_open(const ts_target *t, int workers, const char *cache_dir, ts_diag *d) TS_WARN_UNUSED;
void ts_compiler_close(ts_compiler *c);                        // accepts NULL; kills jobs in flight
void ts_compiler_set_timeout(ts_compiler *c, double seconds);  // a job; 20 s unless set
typedef struct ts_compiled {
  uint64_t tag;
  bool ok;
  ts_object object;  // ok
  ts_diag diag;      // !ok
} ts_compiled;
// Queue f (either stage) under a tag of the caller's. Never waits for a compilation.
bool ts_compiler_submit(ts_compiler *c, const ts_func *f, uint64_t tag, ts_diag *d) TS_WARN_UNUSED;
// The same for a unit.
bool ts_compiler_submit_unit(ts_compiler *c, const ts_unit *u, uint64_t tag, ts_diag *d) TS_WARN_UNUSED;
// The next finished job in order of completion; its bytes go to a. 1: *out filled, 0: timeout, -1: nothing in flight.
int ts_compiler_next(ts_compiler *c, double timeout_s, ts_arena *a, ts_compiled *out);
void ts_compiler_drop(ts_compiler *c);          // forget what was submitted: nothing of it comes out of next
int ts_compiler_pending(const ts_compiler *c);  // submitted and not yet returned by next
// Submit and wait for one function. Only while nothing else is pending.
bool ts_compiler_run(ts_compiler *c, const ts_func *f, ts_arena *a, ts_object *out, ts_diag *d) TS_WARN_UNUSED;
bool ts_compiler_run_unit(ts_compiler *c, const ts_unit *u, ts_arena *a, ts_object *out, ts_diag *d) TS_WARN_UNUSED;

// --- loading (load.c) ---------------------------------------------------------------------------------------
typedef struct ts_loaded {
  ts_kernel_fn run;
  ts_workspace_fn workspace;
  void *handle;
} ts_loaded;
// Into this process. Refuses bytes that are no object of this kernel.
bool ts_object_load(const ts_object *o, ts_loaded *out, ts_diag *d) TS_WARN_UNUSED;
void ts_object_unload(ts_loaded *l);  // accepts a zeroed object

// --- shared libraries (library.c) ---------------------------------------------------------------------------
// A shared object with the kernels and the plan: data symbols tunesmith_library_abi (u32, TS_KERNEL_ABI),
// tunesmith_library_plan (bytes) and tunesmith_library_plan_size (u64). GPU artifacts become data: SYMBOL (the bytes) and
// SYMBOL_bytes (u64). It is written without a linker, unless an object imports a symbol or holds data that is written: then ld.lld-19, ld.lld,
// or cc links as a child process; environment failure "no-linker" when there is none. Objects with one id are linked once.
// The file ends in a seal (base.h) and appears whole or not at all.
bool ts_link_library(const ts_object *objects, size_t n, const void *plan, size_t plan_n, const ts_target *t,
                     const char *path, ts_diag *d) TS_WARN_UNUSED;

#endif
