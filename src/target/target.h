// target: what code is generated for, and the binary interface of generated kernels.
// This header is also used by the runtime of shipped models: no compiler, no database behind it.
#ifndef TS_TARGET_H
#define TS_TARGET_H

#include "base/base.h"

// --- kernel interface (x86-64 System V, C) ----------------------------------------------------------------
// A kernel is `void NAME(void *const *buf, const int64_t *dim, const ts_kernel_rt *rt)`: buf holds one pointer per
// function parameter in order, then the workspace; dim the symbolic dimensions in order. Beside it stands `int64_t
// NAME_workspace(const int64_t *dim)`, the bytes of workspace wanted (0: the pointer is not read). Buffers are 64-byte
// aligned. Kernels do not allocate, fail or keep state.
#define TS_KERNEL_ABI 1
typedef struct ts_kernel_rt {
  // Run body(env, begin, end) over a partition of [0, n) on all threads and wait. Nested calls run in place.
  void (*parallel)(const struct ts_kernel_rt *rt, void (*body)(void *env, int64_t begin, int64_t end), void *env,
                   int64_t n);
  void *pool;
  int64_t threads;
} ts_kernel_rt;
typedef void (*ts_kernel_fn)(void *const *buf, const int64_t *dim, const ts_kernel_rt *rt);
typedef int64_t (*ts_workspace_fn)(const int64_t *dim);

// --- targets --------------------------------------------------------------------------------------------------
typedef enum ts_api { TS_API_CPU, TS_API_CUDA, TS_API_VULKAN, TS_API__COUNT } ts_api;
// Limits that candidates are checked against before code is generated.
typedef struct ts_target_gpu {
  int compute;                     // 90: compute capability 9.0
  int sms, warp;                   // multiprocessors; threads of a warp
  int max_threads;                 // of a block
  int sm_threads, sm_blocks;       // resident on one multiprocessor
  int sm_registers, max_registers; // 32-bit registers of a multiprocessor; of a thread
  int64_t block_shared, sm_shared; // bytes of shared memory a block may ask for; of a multiprocessor
  int64_t memory_bytes;            // of the device; 0 when not known
  bool ptx;                        // code stays PTX, which a driver translates: newer GPUs run it as well, unless the architecture ends in 'a'
  int device;                      // ordinal of the GPU it stands for, to measure and run on
  char uuid[36], pci[20];          // of that GPU, "" when not known
} ts_target_gpu;
typedef struct ts_target {
  ts_api api;
  char arch[64];         // "znver4", "sm_90a"
  char triple[64];       // LLVM triple
  char features[1024];   // LLVM features, "+avx512f,+avx512vnni,..." sorted
  char product[96];      // "AMD EPYC 9B14", for people
  int vector_bytes;      // 64 with AVX-512, 32 with AVX2, 16 else
  int vector_registers;  // 32 or 16
  int cores;             // physical cores usable by this process
  int threads;           // hardware threads usable by this process
  int64_t l1_bytes, l2_bytes, l3_bytes;
  ts_target_gpu gpu;     // all zero for the CPU
} ts_target;
// "cpu" (this machine), "cpu:x86-64", "cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:znver4" ...
// "cuda" (GPU 0 of this machine), "cuda:1", "cuda:sm_90a" (a table of gpus.def: no GPU needed), "cuda:sm_90a,sms=114,l2=52428800" (the
// row with other facts: sms block_shared sm_shared l2; ptx=1: as above). Asking the driver happens in a child process, once: CUDA is not started here.
bool ts_target_parse(const char *text, ts_target *t, ts_diag *d) TS_WARN_UNUSED;
void ts_target_print(ts_text *out, const ts_target *t);                   // canonical text: hashed into identities
bool ts_target_has(const ts_target *t, const char *feature);              // "avx512vnni", "sm_80" (or newer), "sm_90a" (exactly)
bool ts_target_gpu_runs(const ts_target *t, int compute);                 // whether a GPU of that compute capability runs code for t
bool ts_target_runs_here(const ts_target *t, ts_diag *d) TS_WARN_UNUSED;  // refusal names the missing feature

#endif
