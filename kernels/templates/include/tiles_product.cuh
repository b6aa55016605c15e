// tiles_product: y[n, N] = x[n, K] . w[N, K]^T for any number of rows of x in f16, with mma.sync and copies of 16 bytes: for GPUs without wgmma.
//
// A block has a tile of HEIGHT outputs by WIDTH rows of x and walks along K in stages of 64, which all its threads copy ahead of the products. A warp has 32 outputs.
// SPLIT: so many blocks share K; their sums meet in the workspace, where the last of them adds up all in one order and leaves its counter at zero.
#pragma once
#include "gemm_q4.cuh"
#include "stream_ptx.cuh"

// GROUP: tiles of rows that walk over the weights together. UNIT: bytes of 16 outputs and 64 of K.
template <int a_outputs, int a_inputs, int a_height, int a_width, int a_stages, int a_split, int a_group, int a_unit> struct tiles_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, height = a_height, width = a_width, stages = a_stages, split = a_split, group = a_group;
  static constexpr int threads = 256, steps = inputs / 64, row_tiles = outputs / 16, down = (outputs + height - 1) / height;
  static constexpr int tall = height / 16, beside = 8 / (height / 32);   // row tiles of the block; warps that share them
  static constexpr int columns = width / 8 / beside;                     // tiles of eight rows of x of a warp
  static constexpr int x_bytes = width * 128, stage_bytes = x_bytes + tall * a_unit, bytes = stages * stage_bytes;
  static_assert(columns * 8 * beside == width && width * 8 % threads == 0 && tall * 32 <= threads, "every thread copies as much");
};

// What of x a thread copies for a stage: pieces of 16 bytes, 32 rows apart. Numbers of pieces instead of addresses leave registers for sums.
template <typename S> struct tiles_copies {
  u32 x, to;   // the piece that is next; in the first stage
  int x_rows;  // how many of its rows there are

  __device__ __forceinline__ tiles_copies(u32 smem, int c, int rows, int step) {
    const int in = threadIdx.x / 8, chunk = threadIdx.x % 8, row = c * S::width + in;
    x = (u32)row * (S::inputs / 8) + step * 8 + chunk;
    to = smem + in * 128 + ((chunk ^ in & 7) << 4);  // swizzled as load_matrices wants it; rows are a multiple of eight apart
    x_rows = (rows - row + 31) / 32;
  }
  // The next stage, if there is one.
  __device__ __forceinline__ void fill(const u16 *all, u32 stage_at, bool any) {
#pragma unroll
    for (int i = 0; i < S::width / 32; i++) copy16_if(stage_at + to + i * 4096, all + ((size_t)x + i * 4 * S::inputs) * 8, any && i < x_rows);
    x += 8;
  }
};

// The sums of all blocks that share a tile, in the last of them: it returns true. come: a word of shared memory that nothing else uses any more. work: a counter a tile, then [tile][slice][fragment][thread].
template <typename S> __device__ __forceinline__ bool tiles_gather(float (&acc)[2][S::columns][4], u32 *counters, float4 *work, int tile, int rank, volatile u32 *come) {
  constexpr int FRAGMENTS = 2 * S::columns;
  float4 *all = work + (size_t)tile * S::split * FRAGMENTS * S::threads + threadIdx.x;
#pragma unroll
  for (int f = 0; f < FRAGMENTS; f++) {
    float(&d)[4] = acc[f / S::columns][f % S::columns];
    all[(rank * FRAGMENTS + f) * S::threads] = make_float4(d[0], d[1], d[2], d[3]);
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) *come = atomicAdd(counters + tile, 1u);
  __syncthreads();
  if (*come != S::split - 1) return false;
  __threadfence();
#pragma unroll
  for (int f = 0; f < FRAGMENTS; f++) {
    float(&d)[4] = acc[f / S::columns][f % S::columns];
    d[0] = d[1] = d[2] = d[3] = 0.0f;
#pragma unroll
    for (int s = 0; s < S::split; s++) {
      const uint4 v = load16_fresh(all + (s * FRAGMENTS + f) * S::threads);
      d[0] += __uint_as_float(v.x);
      d[1] += __uint_as_float(v.y);
      d[2] += __uint_as_float(v.z);
      d[3] += __uint_as_float(v.w);
    }
  }
  if (threadIdx.x == 0) counters[tile] = 0;
  return true;
}

// A fragment to y: lanes of rows g and g ^ 1 exchange, so that each has two neighbouring features of one row of x.
template <typename S, int END, typename Y> __device__ __forceinline__ void tiles_put(Y *y, const float (&d)[4], int tile, int row, int rows, int lane) {
  const int g = lane >> 2, odd = g & 1;
  const float a = __shfl_xor_sync(~0u, odd ? d[0] : d[1], 4), b = __shfl_xor_sync(~0u, odd ? d[2] : d[3], 4);
  row += (lane & 3) * 2 + odd;
  if (tile >= S::row_tiles || row >= rows) return;
  Y *to = y + (size_t)row * S::outputs + tile * 16 + (g & ~1);
  put_pair(to, odd ? a : d[0], odd ? d[1] : a, END == GEMM_ADD);
  put_pair(to + 8, odd ? b : d[2], odd ? d[3] : b, END == GEMM_ADD);
}

// WEIGHTS: where a block's weights are, what of them a thread copies, and a stage of a warp: two row tiles by its columns.
template <typename S, typename WEIGHTS, int END, typename Y>
__device__ __forceinline__ void tiles_product(const u16 *x, typename WEIGHTS::memory w, Y *y, u32 *counters, float4 *work, int rows) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31, rank = blockIdx.x % S::split, tile = blockIdx.x / S::split;
  const int across = (rows + S::width - 1) / S::width, first = S::steps * rank / S::split, steps = S::steps * (rank + 1) / S::split - first;
  const int upper = warp / S::beside * 2, column = warp % S::beside * S::columns;
  dependents_may_start();
  wait_for_predecessors();
  if (tile >= across * S::down) return;
  int m, c;
  gemm_tile<S>(tile, across, m, c);
  tiles_copies<S> rows_of_x(shared_address(smem), c, rows, first);
  WEIGHTS weights(shared_address(smem), m, first);
#pragma unroll
  for (int s = 0; s < S::stages - 1; s++) {
    rows_of_x.fill(x, s * S::stage_bytes, s < steps);
    weights.fill(w, s * S::stage_bytes, s < steps);
    copies_close();
  }
  float acc[2][S::columns][4] = {};
  int stage = 0, next = S::stages - 1;
#pragma unroll 1
  for (int k = 0; k < steps; k++) {
    copies_arrived<S::stages - 2>();
    __syncthreads();
    rows_of_x.fill(x, next * S::stage_bytes, k + S::stages - 1 < steps);
    weights.fill(w, next * S::stage_bytes, k + S::stages - 1 < steps);
    copies_close();
    if (++next == S::stages) next = 0;
    WEIGHTS::step(acc, smem + stage * S::stage_bytes, shared_address(smem) + stage * S::stage_bytes, upper, column, lane);
    if (++stage == S::stages) stage = 0;
  }
  if (S::split > 1 && !tiles_gather<S>(acc, counters, work, tile, rank, (volatile u32 *)smem)) return;
#pragma unroll
  for (int t = 0; t < 2; t++)
#pragma unroll
    for (int i = 0; i < S::columns; i++) tiles_put<S, END>(y, acc[t][i], m * S::tall + upper + t, c * S::width + (column + i) * 8, rows, lane);
}
