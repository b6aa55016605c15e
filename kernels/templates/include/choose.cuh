// choose: the first of the largest scores of a row, in one launch. PARTS blocks take a row; the one that ends last chooses among their choices.
#pragma once

typedef unsigned int u32;

#if TS_A_F32
typedef float logit;
static __device__ __forceinline__ float logit_load(const logit *x, int i) { return x[i]; }
#else
typedef unsigned short logit;
static __device__ __forceinline__ float logit_load(const logit *x, int i) {
#if TS_A_F16
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x[i]));
  return f;
#else
  return __uint_as_float((u32)x[i] << 16);
#endif
}
#endif

// The better of two: the larger score, then the smaller index.
struct choice {
  float score;
  int index;
};

static __device__ __forceinline__ void better(choice &a, choice b) {
  if (b.score > a.score || (b.score == a.score && b.index < a.index)) a = b;
}

static __device__ __forceinline__ void warp_best(choice &a) {
#pragma unroll
  for (int d = 16; d; d >>= 1) {
    choice b;
    b.score = __shfl_xor_sync(0xffffffffu, a.score, d);
    b.index = __shfl_xor_sync(0xffffffffu, a.index, d);
    better(a, b);
  }
}

// The best of the block, in its first warp.
static __device__ __forceinline__ void block_best(choice &a) {
  __shared__ choice of[32];
  const choice none = {-3.0e38f, TS_V};
  warp_best(a);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of[threadIdx.x / 32] = a;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  a = threadIdx.x < THREADS / 32 ? of[threadIdx.x] : none;
  warp_best(a);
}

// workspace: a count for each row of the largest n, zero before and after a run, then PARTS choices a row.
template <class SCORE>
static __device__ __forceinline__ void choose(int *y, u32 *workspace, SCORE score) {
  const int row = blockIdx.y;
  choice a = {-3.0e38f, TS_V};
#pragma unroll 4
  for (int v = blockIdx.x * THREADS + threadIdx.x; v < TS_V; v += PARTS * THREADS) better(a, choice{score(row, v), v});
  block_best(a);
  if (PARTS == 1) {
    if (threadIdx.x == 0) y[row] = a.index;
    return;
  }
  __shared__ bool last;
  volatile float *scores = (volatile float *)(workspace + TS_n_HI) + (size_t)row * PARTS;
  volatile int *indices = (volatile int *)(workspace + TS_n_HI + (size_t)TS_n_HI * PARTS) + (size_t)row * PARTS;
  if (threadIdx.x == 0) {
    scores[blockIdx.x] = a.score;
    indices[blockIdx.x] = a.index;
    __threadfence();
    last = atomicInc(workspace + row, PARTS - 1) == PARTS - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  a = choice{-3.0e38f, TS_V};
  for (int i = threadIdx.x; i < PARTS; i += THREADS) better(a, choice{scores[i], indices[i]});
  block_best(a);
  if (threadIdx.x == 0) y[row] = a.index;
}

// Before anything is read, and whether the block has a row.
static __device__ __forceinline__ bool has_row(const long long *dims) {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
#ifdef TS_n
  return true;
#else
  return (long long)blockIdx.y < dims[TS_DIM_n];
#endif
}
