// gemm_f16: y[n, N] = x[n, K] . w[N, K]^T for any number of rows, on f16 weights as they are stored.
//
// Both operands of wgmma lie in shared memory, copied there by the tensor copy engine, which writes zeros where a tile reaches beyond the rows of x, the
// outputs or K: any n, and K and N in steps of eight. Of few rows the box of x holds those that there are; what a crew reads behind them goes to sums that
// nobody stores. A producer warp fills a ring of stages of 64 of K; a warpgroup (crew) for each 64 rows of x empties
// it. SPLIT: so many blocks, a cluster, share K, and each ends an equal part of the tile's columns.
#pragma once
#include "put_pair.cuh"
#include "wgmma.cuh"

// BOX: rows of x that a copy brings, a multiple of eight; WIDTH: outputs a tile; GROUP: tiles of rows that walk over the weights together.
template <int a_outputs, int a_inputs, int a_crews, int a_box, int a_width, int a_stages, int a_group, int a_split> struct gemm_f16_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, crews = a_crews, width = a_width, stages = a_stages, group = a_group, split = a_split;
  static constexpr int steps = (inputs + 63) / 64, height = 64 * crews, threads = 128 * crews + 128;
  static constexpr int down = (outputs + width - 1) / width;
  static constexpr int x_bytes = a_box * 128, w_bytes = width * 128;
  static constexpr int share = width / 8 / split;  // eights of columns that a block ends
  static constexpr int barriers_at = stages * (x_bytes + w_bytes);
  static constexpr int bytes = barriers_at + 16 * stages;
  static_assert(a_box <= height && crews * 8192 <= x_bytes + stages * w_bytes, "what is read behind a box lies in the ring");
  static_assert(split == 1 || width * crews * 256 <= barriers_at, "sums of a cluster fit where the ring was");
};

// Where a block is: its part of K, its tile (weights, rows of x), its ring.
template <typename S> struct gemm_f16_block {
  u32 base;
  int first, last;  // steps of K
  int across;       // tiles of rows

  __device__ __forceinline__ u32 full(int s) { return base + S::barriers_at + 16 * s; }
  __device__ __forceinline__ u32 free(int s) { return full(s) + 8; }
  __device__ __forceinline__ u32 x_at(int s) { return base + s * S::x_bytes; }
  __device__ __forceinline__ u32 w_at(int s) { return base + S::stages * S::x_bytes + s * S::w_bytes; }
  __device__ __forceinline__ int tiles() { return across * S::down; }
  // Groups of rows of x, in each all weights, in each of them the rows.
  __device__ __forceinline__ void tile(int i, int &m, int &c) {
    int per = S::down * S::group, begin = i / per * S::group, wide = min(S::group, across - begin);
    i %= per;
    m = i / wide;
    c = begin + i % wide;
  }
};

// One thread fills the ring. The weights of the first stages come before the kernel before has ended.
template <typename S> __device__ __forceinline__ void gemm_f16_fill(gemm_f16_block<S> me, const tensor_map *x, const tensor_map *w, int tile, int tiles_apart) {
  int stage = 0, m, c;
  u32 parity = 1;
  const int ahead = min(S::stages, me.last - me.first);
  if (tile < me.tiles()) me.tile(tile, m, c);
#pragma unroll 1
  for (int k = 0; k < ahead && tile < me.tiles(); k++) {
    barrier_expect(me.full(k), S::x_bytes + S::w_bytes);
    copy_tensor_2d(me.w_at(k), w, (me.first + k) * 64, m * S::width, me.full(k));
  }
  wait_for_predecessors();
  for (int turn = 0; tile < me.tiles(); tile += tiles_apart, turn++) {
    me.tile(tile, m, c);
    for (int k = me.first; k < me.last; k++) {
      if (turn || k - me.first >= ahead) {
        barrier_wait(me.free(stage), parity);
        barrier_expect(me.full(stage), S::x_bytes + S::w_bytes);
        copy_tensor_2d(me.w_at(stage), w, k * 64, m * S::width, me.full(stage));
      }
      copy_tensor_2d(me.x_at(stage), x, k * 64, c * S::height, me.full(stage));
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }
}

// A crew's way through the ring.
template <typename S> struct gemm_f16_crew {
  gemm_f16_block<S> me;
  int crew, lane, stage;
  u32 parity;

  __device__ __forceinline__ void release(int s) {
    if (lane == 0) barrier_arrive(me.free(s));
  }
  __device__ __forceinline__ void multiply(float (&d)[S::width / 2]) {
    const int steps = me.last - me.first;
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
      barrier_wait(me.full(stage), parity);
      const u64 a = wgmma_rows128(me.x_at(stage) + crew * 8192), b = wgmma_rows128(me.w_at(stage));
      wgmma_begin();
#pragma unroll
      for (int i = 0; i < 4; i++) wgmma_ss(d, a + WGMMA_STEP(32 * i), b + WGMMA_STEP(32 * i));
      wgmma_end();
      wgmma_wait_for<1>();
      if (k > 0) release(stage == 0 ? S::stages - 1 : stage - 1);
      if (k + 1 == steps) {
        wgmma_wait_for<0>();
        release(stage);
      }
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    wgmma_touch(d);
  }
};

// Every block of the cluster gets its share of the columns from all: d[0 .. 4 share) are the sums of eights rank * share and up.
template <typename S> __device__ __forceinline__ void gemm_f16_gather(float (&d)[S::width / 2], const unsigned char *smem, u32 base, int rank, int thread) {
  constexpr int apart = 128 * S::crews * 16;
#pragma unroll
  for (int q = 0; q < S::width / 8; q++) {
    const u32 to = cluster_address(base + (rank * S::share + q % S::share) * apart + thread * 16, q / S::share);
#pragma unroll
    for (int e = 0; e < 4; e++) store_cluster(to + 4 * e, d[4 * q + e]);
  }
  cluster_arrive();
  cluster_wait();
#pragma unroll
  for (int q = 0; q < S::share; q++) {
    float4 sum = *(const float4 *)(smem + q * apart + thread * 16);
#pragma unroll
    for (int s = 1; s < S::split; s++) {
      const float4 v = *(const float4 *)(smem + (s * S::share + q) * apart + thread * 16);
      sum = make_float4(sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w);
    }
    d[4 * q] = sum.x;
    d[4 * q + 1] = sum.y;
    d[4 * q + 2] = sum.z;
    d[4 * q + 3] = sum.w;
  }
}

// Two eights of columns at a time: neighbouring lanes exchange pairs, so that a lane has four columns side by side, of the first eight when it is even, of
// the second when it is odd. feature, row: of the tile.
template <typename S, int END, typename Y>
__device__ __forceinline__ void gemm_f16_store(Y *y, const float (&d)[S::width / 2], int feature, int row, int rows, int lane) {
  const bool odd = lane & 1;
  row += lane >> 2;
  feature += odd * 8 + (lane & 2) * 2;
#pragma unroll
  for (int q = 0; q < S::share; q += 2) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float *one = &d[4 * q + 2 * h], *two = &d[4 * q + 4 + 2 * h];
      const float a = __shfl_xor_sync(~0u, odd ? one[0] : two[0], 1), b = __shfl_xor_sync(~0u, odd ? one[1] : two[1], 1);
      const float4 v = odd ? make_float4(a, b, two[0], two[1]) : make_float4(one[0], one[1], a, b);
      const int r = row + 8 * h, f = feature + q * 8;
      if (r < rows && f < S::outputs) put_four(y + (size_t)r * S::outputs + f, v, END == GEMM_ADD);
    }
  }
}

template <typename S, int END, typename Y> __device__ __forceinline__ void gemm_f16(const tensor_map *x, const tensor_map *w, Y *y, int rows) {
  SHARED_MEMORY(smem);
  const int group = threadIdx.x >> 7, rank = blockIdx.x % S::split, begin = blockIdx.x / S::split, apart = gridDim.x / S::split;
  gemm_f16_block<S> me;
  me.base = shared_address(smem);
  me.first = S::steps * rank / S::split;
  me.last = S::steps * (rank + 1) / S::split;
  me.across = (rows + S::height - 1) / S::height;
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(me.full(s), 1);
      barrier_init(me.free(s), 4 * S::crews);
    }
    barrier_init_fence();
    prefetch_tensor_map(x);
    prefetch_tensor_map(w);
  }
  __syncthreads();
  dependents_may_start();
  if (group == 0) {
    registers_give<40>();
    if (threadIdx.x == 0) gemm_f16_fill<S>(me, x, w, begin, apart);
    __syncwarp();
    if (S::split > 1 && begin < me.tiles()) {
      cluster_arrive();  // everybody's ring is empty
      cluster_wait();
      cluster_arrive();  // everybody's sums are where they belong
      cluster_wait();
    }
    return;
  }
  registers_take<S::crews == 1 ? 216 : 232>();  // of 128 or 168 a thread of all
  const int thread = threadIdx.x - 128;
  gemm_f16_crew<S> it = {me, group - 1, (int)threadIdx.x & 31, 0, 0};
  for (int i = begin; i < me.tiles(); i += apart) {
    int m, c;
    me.tile(i, m, c);
    float d[S::width / 2] = {};
    it.multiply(d);
    if (S::split > 1) {
      cluster_arrive();
      cluster_wait();
      gemm_f16_gather<S>(d, smem, me.base, rank, thread);
    }
    wait_for_predecessors();
    gemm_f16_store<S, END>(y, d, m * S::width + rank * S::share * 8, c * S::height + thread / 32 * 16, rows, it.lane);
  }
}
