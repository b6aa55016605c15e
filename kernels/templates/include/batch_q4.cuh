// batch_q4: y[n, N] = x[n, K] . w[N, K]^T for 2 to 32 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// The blocks of a cluster share K: each keeps its slice of x in shared memory and streams the weights of its cluster's row tiles through
// a ring, by tensor copies that start before the kernel before this one has ended; the warps take turns at refilling a stage. Within a
// block ACROSS warps stand side by side over the rows, the others share K. Sums are added up over the warps, sent to the block of the
// cluster that owns them, and finished there, all while the next group of tiles is multiplied: every sum has one order, so results do
// not vary.
//
// A code q is the half 1024 + q (row g) or 1024 + 16 q (row g + 8): one operation for two weights. Sums of a group of 32 start as -1031
// or -1136 times the sum of x, which another multiplication gives, and are scaled in f32.
#pragma once
#include "put_pair.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
// TILES: row tiles of a warp. EACH: units (16 rows, 64 of K) of a stage that a warp takes of each of its tiles.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_across, int a_tiles, int a_each, int a_stages, int a_split> struct batch_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, across = a_across, tiles = a_tiles, each = a_each;
  static constexpr int stages = a_stages, split = a_split;
  static constexpr int columns = (rows + 7) / 8, along = warps / across, chunk = along * each;  // warps that share K; units of K of a stage
  static constexpr int units = inputs / 64, slice = (units + split - 1) / split;                // units of K: all, of a block
  static constexpr int tall = tiles * across, row_tiles = outputs / 16, groups = (row_tiles + tall - 1) / tall;
  static constexpr int stage_bytes = tall * chunk * 576, ring_bytes = stages * stage_bytes;     // codes of the tiles, then their scales
  static constexpr int pieces = (slice + chunk - 1) / chunk, unit_bytes = columns * 1024, x_bytes = pieces * chunk * unit_bytes;  // x
  static constexpr int part = tiles * columns * 32;                                             // of four sums each: of a warp
  static constexpr int share = tall * columns / split;                                          // fragments that a block finishes
  static constexpr int sums_bytes = warps * part * 16, gathered_bytes = 2 * split * share * 512;
  static constexpr int bars_at = x_bytes + ring_bytes + sums_bytes + gathered_bytes, bytes = bars_at + 16 * stages + 8 * pieces + 32;
};

// What is copied next: stages follow each other along K, then from group to group.
template <typename S> struct batch_ring {
  u32 ring, bars;
  const tensor_map *codes, *scales;
  int group, at, stage;
  u32 parity;

  __device__ __forceinline__ void fill() {  // by one thread
    u32 bar = bars + 16 * stage, to = ring + S::stage_bytes * stage;
    barrier_expect(bar, S::stage_bytes);
    copy_tensor_3d(to, codes, 0, at, group * S::tall, bar);
    copy_tensor_3d(to + S::tall * S::chunk * 512, scales, 0, at, group * S::tall, bar);
  }
  __device__ __forceinline__ void next(int first, int last, int blocks) {
    at += S::chunk;
    if (at >= last) {
      at = first;
      group += blocks;
    }
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// One unit of each tile of the warp. x: this lane's address of the unit's first half in its row of x, for load_matrices.
template <typename S>
__device__ __forceinline__ void batch_unit(float (&acc)[S::tiles][S::columns][4], const unsigned char *codes, const unsigned char *scales, u32 x,
                                           int lane) {
  const u32 offset[4] = {0xe407e407u, 0xe470e470u, 0xe407e407u, 0xe470e470u};  // -1031 for rows g, -1136 for rows g + 8
  const float zero[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  uint4 q[S::tiles];
  uint2 s[S::tiles];
#pragma unroll
  for (int r = 0; r < S::tiles; r++) {
    q[r] = *(const uint4 *)(codes + r * S::chunk * 512 + lane * 16);
    s[r] = *(const uint2 *)(scales + r * S::chunk * 64 + (lane >> 2) * 8);
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    u32 b[S::columns][4];
    float start[S::columns][4];
#pragma unroll
    for (int c = 0; c < S::columns; c++) {
      load_matrices(b[c], (x ^ h * 64) + c * 1024);  // rows are swizzled
      mma_m16n8k16(start[c], offset, b[c][0], b[c][1], zero);
      mma_m16n8k16(start[c], offset, b[c][2], b[c][3], start[c]);
    }
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      u32 a[2][4];
      codes_on_1024(h ? q[r].z : q[r].x, a[0]);
      codes_on_1024(h ? q[r].w : q[r].y, a[1]);
      float2 scale = unpack_f16(h ? s[r].y : s[r].x);
      scale.y *= 0.0625f;
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        float d[4];
        mma_m16n8k16(d, a[0], b[c][0], b[c][1], start[c]);
        mma_m16n8k16(d, a[1], b[c][2], b[c][3], d);
        acc[r][c][0] = fmaf(scale.x, d[0], acc[r][c][0]);
        acc[r][c][1] = fmaf(scale.x, d[1], acc[r][c][1]);
        acc[r][c][2] = fmaf(scale.y, d[2], acc[r][c][2]);
        acc[r][c][3] = fmaf(scale.y, d[3], acc[r][c][3]);
      }
    }
  }
}

// The sums of a group in all warps, each fragment added up over the warps that share its rows, to the blocks that own them.
template <typename S> __device__ __forceinline__ void batch_send(const float4 *sums, u32 gathered, u32 bar, int rank) {
  for (int i = threadIdx.x; i < S::tall * S::columns * 32; i += S::warps * 32) {
    const float4 *p = sums + i / S::part * S::along * S::part + i % S::part;  // warps that share rows follow each other
    float4 v = p[0];
#pragma unroll
    for (int w = 1; w < S::along; w++) {
      float4 o = p[w * S::part];
      v.x += o.x;
      v.y += o.y;
      v.z += o.z;
      v.w += o.w;
    }
    int owner = i / (S::share * 32), at = rank * S::share * 32 + i % (S::share * 32);
    send_cluster4(cluster_address(gathered + 16 * at, owner), v, cluster_address(bar, owner));
  }
}

// What this block owns of a group, from all blocks' parts to y: two features of one row of x a thread.
template <typename S, int END, typename Y> __device__ __forceinline__ void batch_finish(Y *y, const float *gathered, int group, int rank) {
  for (int i = threadIdx.x; i < S::share * 64; i += S::warps * 32) {
    int f = i / 64, pair = i % 8, r = i / 8 % 8, all = rank * S::share + f;
    const float2 sum = sum_parts<S>(gathered, f, pair, r);
    int tile = group * S::tall + all / S::columns, row = all % S::columns * 8 + r;
    if (tile < S::row_tiles && row < S::rows) put_pair(y + (size_t)row * S::outputs + tile * 16 + pair * 2, sum.x, sum.y, END == GEMM_ADD);
  }
}

// Sends the sums of a group, once all warps have laid them down, to one half of what is gathered; then the next may be laid down.
template <typename S>
__device__ __forceinline__ void batch_pass_on(const float4 *sums, u32 gathered, u32 full, u32 laid, u32 sent, int half, int lane, int rank) {
  barrier_wait(laid, half);
  batch_send<S>(sums, gathered + half * (S::gathered_bytes / 2), full + 8 * half, rank);
  __syncwarp();
  if (lane == 0) barrier_arrive(sent);
}

// Waits for the parts in one half of what is gathered, in its turn (a bit each), and finishes them.
template <typename S, int END, typename Y>
__device__ __forceinline__ void batch_collect(Y *y, const float *gathered, u32 full, int half, u32 &turn, int group, int rank) {
  barrier_wait(full + 8 * half, turn >> half & 1);
  turn ^= 1u << half;
  if (threadIdx.x == 0) barrier_expect(full + 8 * half, S::gathered_bytes / 2);
  batch_finish<S, END>(y, gathered + half * (S::gathered_bytes / 8), group, rank);
}

template <typename S, int END, typename Y>
__device__ __forceinline__ void batch_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y) {
  SHARED_MEMORY(smem);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int rank = blockIdx.x % S::split, block = blockIdx.x / S::split, blocks = gridDim.x / S::split;
  const int first = S::units * rank / S::split, last = S::units * (rank + 1) / S::split;
  const u32 xs = shared_address(smem), bars = xs + S::bars_at, x_bars = bars + 16 * S::stages, full = x_bars + 8 * S::pieces;  // full: of both halves
  const u32 laid = full + 16, sent = full + 24;  // sums of a group are there; are no longer wanted
  batch_ring<S> ring = {xs + S::x_bytes, bars, codes, scales, block, first, 0, 1};
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(bars + 16 * s, 1);
      barrier_init(bars + 16 * s + 8, S::warps);
    }
    for (int p = 0; p < S::pieces; p++) barrier_init(x_bars + 8 * p, 1);
    for (int t = 0; t < 2; t++) {
      barrier_init(full + 8 * t, 1);
      barrier_expect(full + 8 * t, S::gathered_bytes / 2);
    }
    barrier_init(laid, S::warps);
    barrier_init(sent, S::warps);
    barrier_init_fence();
  }
  for (int s = 0; s < S::stages; s++) {
    if (threadIdx.x == 0 && ring.group < S::groups) ring.fill();
    ring.next(first, last, blocks);
  }
  __syncthreads();
  dependents_may_start();
  cluster_arrive_bare();
  float4 *sums = (float4 *)(smem + S::x_bytes + S::ring_bytes);
  float *gathered = (float *)(smem + S::x_bytes + S::ring_bytes + S::sums_bytes);
  wait_for_predecessors();
  if (threadIdx.x == 0) {
    for (int p = 0; p < S::pieces; p++) {
      barrier_expect(x_bars + 8 * p, S::chunk * S::unit_bytes);
      copy_tensor_3d(xs + p * S::chunk * S::unit_bytes, x, 0, 0, first + p * S::chunk, x_bars + 8 * p);
    }
  }
  __syncwarp();
  cluster_wait();

  const int which = warp / S::along, k = warp % S::along;  // rows; units of K
  const u32 mine = xs + k * S::unit_bytes + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
  int stage = 0, half = 0, turns = 0;
  u32 parity = 0, turn = 0;
  for (int group = block;; half ^= 1) {
    bool after = group != block;
    float acc[S::tiles][S::columns][4] = {};
    u32 b = mine, x_bar = x_bars;
    for (int at = first; at < last; at += S::chunk, b += S::chunk * S::unit_bytes, x_bar += 8) {
      // The stage before this one is free once all have passed it: one warp waits for that and copies into it.
      if (turns > 0) {
        if (warp == turns % S::warps && ring.group < S::groups) {
          barrier_wait(bars + 16 * ring.stage + 8, ring.parity);
          if (lane == 0) ring.fill();
          __syncwarp();
        }
        ring.next(first, last, blocks);
      }
      turns++;
      barrier_wait(bars + 16 * stage, parity);
      barrier_wait(x_bar, 0);
      const unsigned char *w = smem + S::x_bytes + stage * S::stage_bytes, *q = w + (which * S::tiles * S::chunk + k) * 512;
      const unsigned char *s = w + S::tall * S::chunk * 512 + (which * S::tiles * S::chunk + k) * 64;
#pragma unroll
      for (int i = 0; i < S::each; i++)
        if (at + k + i * S::along < last) batch_unit<S>(acc, q + i * S::along * 512, s + i * S::along * 64, b + i * S::along * S::unit_bytes, lane);
      __syncwarp();
      if (lane == 0) barrier_arrive(bars + 16 * stage + 8);
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
      // The group before: one stage later all warps have laid down its sums.
      if (after && at == first) batch_pass_on<S>(sums, shared_address(gathered), full, laid, sent, half ^ 1, lane, rank);
    }
    if (after) {
      batch_collect<S, END>(y, gathered, full, half ^ 1, turn, group - blocks, rank);
      barrier_wait(sent, half ^ 1);
    }
#pragma unroll
    for (int r = 0; r < S::tiles; r++)
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        float(&d)[4] = acc[r][c];
        float4 v = {d[0], d[1], d[2], d[3]};
        sums[warp * S::part + (r * S::columns + c) * 32 + lane] = v;
      }
    __syncwarp();
    if (lane == 0) barrier_arrive(laid);
    group += blocks;
    if (group >= S::groups) {
      batch_pass_on<S>(sums, shared_address(gathered), full, laid, sent, half, lane, rank);
      batch_collect<S, END>(y, gathered, full, half, turn, group - blocks, rank);
      return;
    }
  }
}
