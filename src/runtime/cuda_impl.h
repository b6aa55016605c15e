// Shared by the files of src/runtime that run models on NVIDIA GPUs.
#ifndef TS_RUNTIME_CUDA_IMPL_H
#define TS_RUNTIME_CUDA_IMPL_H

#include "cuda/cuda.h"
#include "runtime/runtime_impl.h"

// --- a GPU with the runtime's own kernels (cuda_device.c) ---------------------------------------------------------
// ORDER: tunesmith_set, tunesmith_greedy, tunesmith_sample of cuda_kernels.cu.
typedef enum ts__gpu_entry { TS__GPU_SET, TS__GPU_GREEDY, TS__GPU_SAMPLE, TS__GPU_ENTRY__COUNT } ts__gpu_entry;
struct ts__gpu {
  ts_cuda g;
  CUstream stream;
  CUmodule module;
  CUfunction entry[TS__GPU_ENTRY__COUNT];
};
// Holds the GPU that the plan's kernels run on: TUNESMITH_GPU (a number, 0 unless set). Refuses "wrong-gpu" where the code of the
// library `file` does not run; without a driver, what that needs.
ts__gpu *ts__gpu_open(const ts_plan *p, const char *file, ts_diag *d) TS_WARN_UNUSED;
void ts__gpu_close(ts__gpu *g);  // accepts NULL
// This thread works with the GPU from here on.
bool ts__gpu_enter(const ts__gpu *g, ts_diag *d) TS_WARN_UNUSED;
bool ts__gpu_check(const ts__gpu *g, CUresult r, const char *what, ts_diag *d) TS_WARN_UNUSED;
bool ts__gpu_sync(const ts__gpu *g, const char *what, ts_diag *d) TS_WARN_UNUSED;
// dependent: it may start before the kernel in front of it in the stream has ended (TS__GPU_SET may not).
bool ts__gpu_launch(const ts__gpu *g, ts__gpu_entry e, unsigned blocks, unsigned threads, void **args, bool dependent, ts_diag *d) TS_WARN_UNUSED;

// Memory on the GPU. Refuses "out-of-device-memory" naming what for and how much there is.
typedef struct ts__device_memory {
  CUdeviceptr p;
  size_t n;
} ts__device_memory;
bool ts__device_map(const ts__gpu *g, ts__device_memory *m, size_t n, const char *what, ts_diag *d) TS_WARN_UNUSED;
void ts__device_unmap(const ts__gpu *g, ts__device_memory *m);  // accepts a zeroed object
// Pinned memory of this process.
typedef struct ts__pinned {
  void *p;
  size_t n;
} ts__pinned;
bool ts__pinned_map(const ts__gpu *g, ts__pinned *m, size_t n, const char *what, ts_diag *d) TS_WARN_UNUSED;
void ts__pinned_unmap(const ts__gpu *g, ts__pinned *m);  // accepts a zeroed object

// What lies in device memory between passes. ORDER: struct state of cuda_kernels.cu.
enum { TS__PARTS = 256, TS__GREEDY_THREADS = 256, TS__SAMPLE_THREADS = 1024 };
typedef struct ts__gpu_state {
  int64_t dims[4];  // n, t, n
  uint64_t emitted;
  CUdeviceptr ring, tokens;
  uint64_t ring_mask, seed;
  float temperature, top_p;
  int32_t top_k;
  uint32_t ticket;
  float part_value[TS__PARTS];
  int32_t part_index[TS__PARTS];
} ts__gpu_state;

#endif
