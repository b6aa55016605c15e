// direct_q4: y[1, N] = x[1, K] . w[N, K]^T where weights are so few that the registers of the blocks hold them all (packed layout "mma",
// kernels/ops/matmul.mma.tir).
//
// Before the wait for the preceding kernel a warp reads its units (16 rows, 64 of K) and makes them f32, scales included. What is left
// behind the wait is one read of x, as many fused additions as there are weights, and two sums: across four lanes and across the warps.
// It is rehearsed before, with whatever x holds then, so that the instructions are near when they count (where a kernel starts early).
// The next kernel may start at once: its blocks fit beside these, and read their own weights meanwhile.
#pragma once
#include "gemv_q4.cuh"

template <int a_outputs, int a_inputs, int a_warps, int a_tiles> struct direct_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, warps = a_warps, tiles = a_tiles, rows = 1;
  static constexpr int units = inputs / 64, each = (units + warps - 1) / warps;  // units of K; of a warp and tile
  static constexpr int groups = outputs / 16 / tiles;                            // blocks
  static constexpr int bytes = 4 * warps * (80 * each + 16 * tiles + 1);          // lane t's 16 of a unit of x lie from 20 t on, in other banks
};

// The codes of a unit as rows g and g + 8, for k = 16 i + 2 t + 8 e + b at place 4 i + 2 e + b.
__device__ __forceinline__ void direct_weights(float (&low)[16], float (&high)[16], uint4 codes, uint2 scales) {
  const u32 q[4] = {codes.x, codes.y, codes.z, codes.w};
  const int place[4] = {0, 2, 1, 3};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 s = unpack_f16(i < 2 ? scales.x : scales.y);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int at = 4 * i + place[j];
      low[at] = (__int_as_float((int)(q[i] >> (8 * j) & 15) | 0x4b000000) - 8388615.0f) * s.x;
      high[at] = (__int_as_float((int)(q[i] >> (8 * j + 4) & 15) | 0x4b000000) - 8388615.0f) * s.y;
    }
  }
}

// They are made here: the compiler would put off what has no effect before the wait.
__device__ __forceinline__ void direct_now(float (&v)[16]) {
#ifdef __CUDA_ARCH__
#pragma unroll
  for (int i = 0; i < 16; i++) asm volatile("" : "+f"(v[i]));
#endif
}

template <typename S, int END, bool NORM, typename X, typename Y>
__device__ __forceinline__ void direct_q4(const X *x, const float *g, const void *codes, const void *scales, Y *y, float eps) {
  constexpr int SHOWN = END == GEMV_SILU ? S::tiles / 2 : S::tiles, OUT = SHOWN * 16;
  SHARED_MEMORY(smem);
  float *xs = (float *)smem, *sums = xs + S::warps * S::each * 80, *squares = sums + S::warps * S::tiles * 16;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row = lane >> 2, t = lane & 3, group = blockIdx.x;
  dependents_may_start();
  float low[S::each][S::tiles][16], high[S::each][S::tiles][16];
  float2 gain[S::each];
  uint4 q[S::each][S::tiles];
  uint2 s[S::each][S::tiles];
#pragma unroll
  for (int i = 0; i < S::each; i++) {
    const int u = min(warp + i * S::warps, S::units - 1);
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      const size_t unit = gemv_tile<S, END == GEMV_SILU>(group, r) * S::units + u;
      q[i][r] = ((const uint4 *)codes)[unit * 32 + lane];
      s[i][r] = ((const uint2 *)scales)[unit * 8 + row];
    }
    if (NORM) gain[i] = ((const float2 *)g)[u * 32 + lane];
  }
#pragma unroll
  for (int i = 0; i < S::each; i++)
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      direct_weights(low[i][r], high[i][r], q[i][r], s[i][r]);
      direct_now(low[i][r]);
      direct_now(high[i][r]);
    }
#pragma unroll 1
  for (int turn = !STARTS_EARLY; turn < 2; turn++) {
    if (turn) wait_for_predecessors();
    float2 v[S::each];
    float square = 0.0f;
#pragma unroll
    for (int i = 0; i < S::each; i++) {
      const int u = warp + i * S::warps;
      v[i] = u < S::units ? gemv_load(x, (size_t)u * 64 + 2 * lane) : float2{0.0f, 0.0f};
    }
#pragma unroll
    for (int i = 0; i < S::each; i++) {
      if (NORM) {
        square = fmaf(v[i].x, v[i].x, fmaf(v[i].y, v[i].y, square));
        v[i].x *= gain[i].x;
        v[i].y *= gain[i].y;
      }
      *(float2 *)(xs + (warp * S::each + i) * 80 + (lane & 3) * 20 + (lane >> 2) * 2) = v[i];
    }
    __syncwarp();
    float sum[S::tiles][4] = {};
#pragma unroll
    for (int i = 0; i < S::each; i++) {
      const float4 *from = (const float4 *)(xs + (warp * S::each + i) * 80 + t * 20);
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float4 a = from[c];
#pragma unroll
        for (int r = 0; r < S::tiles; r++) {
          sum[r][0] = fmaf(low[i][r][4 * c], a.x, sum[r][0]);
          sum[r][1] = fmaf(high[i][r][4 * c], a.x, sum[r][1]);
          sum[r][2] = fmaf(low[i][r][4 * c + 1], a.y, sum[r][2]);
          sum[r][3] = fmaf(high[i][r][4 * c + 1], a.y, sum[r][3]);
          sum[r][0] = fmaf(low[i][r][4 * c + 2], a.z, sum[r][0]);
          sum[r][1] = fmaf(high[i][r][4 * c + 2], a.z, sum[r][1]);
          sum[r][2] = fmaf(low[i][r][4 * c + 3], a.w, sum[r][2]);
          sum[r][3] = fmaf(high[i][r][4 * c + 3], a.w, sum[r][3]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {  // an even t goes on with row g, an odd one with g + 8
      const float a = sum[r][0] + sum[r][2], b = sum[r][1] + sum[r][3];
      float keep = (t & 1 ? b : a) + __shfl_xor_sync(~0u, t & 1 ? a : b, 1);
      keep += __shfl_xor_sync(~0u, keep, 2);
      if (t < 2) sums[(warp * S::tiles + r) * 16 + row + 8 * t] = keep;
    }
    if (NORM) {
#pragma unroll
      for (int m = 16; m; m >>= 1) square += __shfl_xor_sync(~0u, square, m);
      if (lane == 0) squares[warp] = square;
    }
    __syncthreads();
    if (threadIdx.x < OUT) {
      const int o = threadIdx.x;
      float value = 0.0f, up = 0.0f, all = 0.0f;
#pragma unroll
      for (int w = 0; w < S::warps; w++) {
        value += sums[w * S::tiles * 16 + o];
        if (END == GEMV_SILU) up += sums[w * S::tiles * 16 + OUT + o];
        if (NORM) all += squares[w];
      }
      const float factor = NORM ? rsqrtf(all * (1.0f / (float)S::inputs) + eps) : 1.0f;
      value *= factor;
      if (END == GEMV_SILU) value = value / (1.0f + __expf(-value)) * (up * factor);
      if (turn) gemv_write(y, (size_t)group * OUT + o, value, END == GEMV_ADD);
    }
    if (!turn) __syncthreads();
  }
}
