// gemm_q4: y[n, N] = x[n, K] . w[N, K]^T for many rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// Weights are the A operand of wgmma, from registers: the packed fragments are what a warp needs, so that a lane turns its own codes
// into halves while the tensor cores work on the step before. x is the B operand, copied by the tensor copy engine. A producer warp fills
// a ring of stages of 64 of K; two warpgroups of TALL * 64 weight rows each empty it. Blocks stay and walk over the tiles, those that
// share rows of x side by side.
#pragma once
#include "put_pair.cuh"
#include "wgmma.cuh"

// TALL: m64 tiles a warpgroup; WIDTH: rows of x a tile; HALF: of them a copy.
template <int a_outputs, int a_inputs, int a_tall, int a_width, int a_half, int a_stages, int a_group> struct gemm_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, tall = a_tall, width = a_width, half = a_half, stages = a_stages, group = a_group;
  static constexpr int steps = inputs / 64, height = 128 * tall;
  static constexpr int rows16 = 8 * tall;  // row tiles of a block
  static constexpr int down = (outputs + height - 1) / height;
  static constexpr int x_bytes = width * 128, w_bytes = rows16 * 576;
  static constexpr int barriers_at = stages * (x_bytes + w_bytes);
  static constexpr int bytes = barriers_at + 16 * stages;
  static constexpr int fitting = barriers_at / (half * 128 + w_bytes);
  typedef gemm_shape<outputs, inputs, tall, half, half, fitting < 8 ? fitting : 8, group> narrow;  // in the same memory
  // How often so many multiprocessors take a tile each until all rows are done, in columns of 64.
  static __device__ __forceinline__ int turns(int rows, int multiprocessors) {
    return ((rows + width - 1) / width * down + multiprocessors - 1) / multiprocessors * (width / 64);
  }
};

// Tile number i -> tile of weights, tile of rows of x: groups of rows of x, in each all weights, in each of them the rows.
template <typename S> __device__ __forceinline__ void gemm_tile(int i, int across, int &m, int &c) {
  int per = S::down * S::group, first = i / per * S::group, wide = min(S::group, across - first);
  i %= per;
  m = i / wide;
  c = first + i % wide;
}

// Codes and scales of a unit -> A fragments of its four steps. ORDER: the limit of the templates; eight times a scale is the largest of them.
__device__ __forceinline__ void gemm_halves(u32 (&a)[4][4], uint4 q, uint2 s) {
  codes_to_f16(q.x, a[0]);
  codes_to_f16(q.y, a[1]);
  codes_to_f16(q.z, a[2]);
  codes_to_f16(q.w, a[3]);
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const u32 both = h ? s.y : s.x, low = low_twice(both), high = high_twice(both);
#pragma unroll
    for (int i = 2 * h; i < 2 * h + 2; i++) {
      a[i][0] = mul_f16x2(a[i][0], low);
      a[i][1] = mul_f16x2(a[i][1], high);
      a[i][2] = mul_f16x2(a[i][2], low);
      a[i][3] = mul_f16x2(a[i][3], high);
    }
  }
}

// The same from shared memory.
__device__ __forceinline__ void gemm_fragments(u32 (&a)[4][4], const unsigned char *codes, const unsigned char *scales, int lane) {
  gemm_halves(a, *(const uint4 *)(codes + lane * 16), *(const uint2 *)(scales + (lane >> 2) * 8));
}

__device__ __forceinline__ void gemm_put(float *y, float v, bool add) {
  if (add) {
    atomicAdd(y, v);
  } else {
    *y = v;
  }
}
__device__ __forceinline__ void gemm_put(u16 *y, float v, bool add) {
  if (add) v += unpack_f16(*y).x;
  *y = (u16)pack_f16(v, 0.0f);
}

template <typename S, int END, typename Y>
__device__ __forceinline__ void gemm_store(Y *y, float (&d)[S::width / 2], int feature, int row, int rows, int lane) {
  if (feature >= S::outputs) return;
  if (END == GEMM_STORE && sizeof(Y) == 2) {
    row += (lane & 3) * 2 + (lane >> 2 & 1);
    y += (size_t)row * S::outputs + feature + (lane >> 2 & 4) + (lane & 8);
#pragma unroll
    for (int i = 0; i < S::width / 8; i++) {
      const uint2 four = four_halves(make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]), lane);
      if (row + 8 * i < rows) *(uint2 *)(y + (size_t)(8 * i) * S::outputs) = four;
    }
    return;
  }
  feature += lane >> 2;
#pragma unroll
  for (int i = 0; i < S::width / 2; i++) {
    int r = row + i / 4 * 8 + (lane & 3) * 2 + (i & 1);
    if (r < rows) gemm_put(y + (size_t)r * S::outputs + feature + (i & 2 ? 8 : 0), d[i], END == GEMM_ADD);
  }
}

// d += a . b^T of a unit: 64 of K, of which b is a descriptor's start and a the fragments of its four steps.
template <typename S> __device__ __forceinline__ void gemm_multiply(float (&d)[S::tall][S::width / 2], const u32 (&a)[S::tall][4][4], u64 b) {
  wgmma_begin();
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int m = 0; m < S::tall; m++) wgmma_rs(d[m], a[m][i], b + WGMMA_STEP(32 * i));
  wgmma_end();
}

template <typename S> struct gemm_consumer {
  unsigned char *smem;
  u32 base;
  int stage, lane, mine;  // mine: first row tile of this warp in the block's
  u32 parity;

  __device__ __forceinline__ u32 full(int s) { return base + S::barriers_at + 16 * s; }
  // Fragments of the stage that comes next.
  __device__ __forceinline__ void fragments(u32 (&a)[S::tall][4][4]) {
    barrier_wait(full(stage), parity);
    unsigned char *w = smem + S::stages * S::x_bytes + stage * S::w_bytes;
#pragma unroll
    for (int m = 0; m < S::tall; m++) gemm_fragments(a[m], w + (mine + m * 4) * 512, w + S::rows16 * 512 + (mine + m * 4) * 64, lane);
  }
  __device__ __forceinline__ void multiply(float (&d)[S::tall][S::width / 2], u32 (&a)[S::tall][4][4]) {
    gemm_multiply<S>(d, a, wgmma_rows128(base + stage * S::x_bytes));
  }
  __device__ __forceinline__ void next() {
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  // Multiply the stage that now holds, prepare the next one's fragments meanwhile; the stage before goes back to the producer.
  template <bool LAST> __device__ __forceinline__ void step(float (&d)[S::tall][S::width / 2], u32 (&a)[S::tall][4][4], u32 (&other)[S::tall][4][4], bool first) {
    multiply(d, a);
    int before = stage == 0 ? S::stages - 1 : stage - 1;
    if (LAST) {
      wgmma_wait_for<0>();
      if (lane == 0 && !first) barrier_arrive(full(before) + 8);
      if (lane == 0) barrier_arrive(full(stage) + 8);
      next();
    } else {
      wgmma_wait_for<1>();
      if (lane == 0 && !first) barrier_arrive(full(before) + 8);
      next();
      fragments(other);
    }
  }
};

template <typename S, int END, typename Y>
__device__ __forceinline__ void gemm_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y, int rows) {
  SHARED_MEMORY(smem);
  const u32 base = shared_address(smem);
  const int group = threadIdx.x >> 7, lane = threadIdx.x & 31;
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(base + S::barriers_at + 16 * s, 1);
      barrier_init(base + S::barriers_at + 16 * s + 8, 8);
    }
    barrier_init_fence();
  }
  __syncthreads();
  const int across = (rows + S::width - 1) / S::width, tiles = across * S::down;
  if (group == 0) {
    registers_give<40>();
    if (threadIdx.x == 0) {
      int stage = 0;
      u32 parity = 1;
      for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
        int m, c;
        gemm_tile<S>(i, across, m, c);
        for (int k = 0; k < S::steps; k++) {
          u32 bar = base + S::barriers_at + 16 * stage, w = base + S::stages * S::x_bytes + stage * S::w_bytes;
          barrier_wait(bar + 8, parity);
          barrier_expect(bar, S::x_bytes + S::w_bytes);
#pragma unroll
          for (int r = 0; r < S::width; r += S::half) copy_tensor_2d(base + stage * S::x_bytes + r * 128, x, k * 64, c * S::width + r, bar);
          copy_tensor_2d(w, codes, k * 128, m * S::rows16, bar);
          copy_tensor_2d(w + S::rows16 * 512, scales, k * 32, m * S::rows16, bar);
          if (++stage == S::stages) {
            stage = 0;
            parity ^= 1;
          }
        }
      }
    }
  } else {
    registers_take<232>();
    const int warp = threadIdx.x >> 5 & 3;
    gemm_consumer<S> me;
    me.smem = smem;
    me.base = base;
    me.lane = lane;
    me.stage = 0;
    me.parity = 0;
    me.mine = (group - 1) * S::tall * 4 + warp;
    for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
      int m, c;
      gemm_tile<S>(i, across, m, c);
      float d[S::tall][S::width / 2] = {};
      u32 a[S::tall][4][4], b[S::tall][4][4];
      me.fragments(a);
      int k = 0;
      for (; k + 2 < S::steps; k += 2) {
        me.template step<false>(d, a, b, k == 0);
        me.template step<false>(d, b, a, false);
      }
      if (k + 2 == S::steps) {
        me.template step<false>(d, a, b, k == 0);
        me.template step<true>(d, b, a, false);
      } else {
        me.template step<true>(d, a, b, k == 0);
      }
#pragma unroll
      for (int t = 0; t < S::tall; t++) {
        wgmma_touch(d[t]);
        gemm_store<S, END>(y, d[t], (m * S::rows16 + me.mine + t * 4) * 16, c * S::width, rows, lane);
      }
    }
  }
}
