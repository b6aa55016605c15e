// stream_q4: y[n, N] = x[n, K] . w[N, K]^T for 2 to 32 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// A block has a slice of K and a range of groups of row tiles; its slice of x stays in shared memory. A warp takes whole groups by itself, through a
// ring of its own that tensor copies fill from before the kernel before has ended: warps never wait for each other. Groups that are left when
// every warp has had as many are cut along K between the warps, which add them up at their end through rings that are empty then.
//
// Slices meet in the workspace, which is zero between runs: the parts of a sum lie there side by side, never as the bits of 0, and a reader takes
// them once none is 0 any more and clears them. All blocks of the grid are on the GPU at once, so each may wait for the others.
// Every sum has one order, so results do not vary.
//
// A code q is the half q * 2^-24 (row g) or 16 q * 2^-24 (row g + 8): one operation for two weights. Sums of a group of 32 are scaled in f32; what they
// are too much, as codes begin at -7, is a product of the scales and of the sums of x over groups, which tensor cores take off in tf32.
#pragma once
#include "put_pair.cuh"

enum stream_end { STREAM_STORE, STREAM_ADD };

// ORDER: the sizes are those of the defines of the template that includes this.
// TILES: row tiles of a group. EACH: units (16 rows, 64 of K) of a stage and tile. A piece: what a stage holds.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_tiles, int a_each, int a_stages, int a_split> struct stream_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, tiles = a_tiles, each = a_each, stages = a_stages;
  static constexpr int split = a_split;
  static constexpr int columns = (rows + 7) / 8, row_tiles = outputs / 16, groups = (row_tiles + tiles - 1) / tiles;
  static constexpr int pieces = (inputs / 64 + each - 1) / each, slice = (pieces + split - 1) / split;  // along K: all, of a block at most
  static constexpr int codes_bytes = tiles * each * 512, stage_bytes = tiles * each * 576, ring_bytes = stages * stage_bytes;
  static constexpr int unit_bytes = columns * 1024, x_bytes = slice * each * unit_bytes;
  static constexpr int fragments = tiles * columns;  // of a group; 512 bytes of sums each
  static constexpr int quads = (each + 3) / 4, zeros_at = x_bytes + warps * ring_bytes;  // of units of a piece; sums of x
  static constexpr int bars_at = zeros_at + slice * quads * columns * 512, bytes = bars_at + 8 * (warps * (stages + 1) + 2 * slice);
  static_assert(stage_bytes % 128 == 0 && fragments * 512 <= ring_bytes, "stages");
};

// What a warp takes of its block: whole groups in turns, then a part of one group that is left.
template <typename S> struct stream_share {
  int first, pieces;                 // along K, of the block
  int group, turns;                  // the first whole group, and how many, S::warps apart
  int last, mates, mate, from, to;   // the group that is left, how many warps share it, which of them this is, and its pieces

  __device__ __forceinline__ stream_share(int range, int ranges, int rank, int warp) {
    int begin = S::groups * range / ranges, count = S::groups * (range + 1) / ranges - begin;
    first = S::pieces * rank / S::split;
    pieces = S::pieces * (rank + 1) / S::split - first;
    turns = count / S::warps;
    group = begin + warp;
    int left = count % S::warps;
    mates = left ? min(S::warps / left, pieces) : 1;
    mate = warp % mates;
    last = begin + turns * S::warps + warp / mates;
    bool any = warp / mates < left;
    from = any ? pieces * mate / mates : 0;
    to = any ? pieces * (mate + 1) / mates : 0;
  }
  __device__ __forceinline__ int all() const { return turns * pieces + to - from; }
};

// What is copied next into the ring of a warp.
template <typename S> struct stream_ring {
  u32 ring, bars;
  const tensor_map *codes, *scales;
  u64 policy;
  int group, at, left, turn;  // left: pieces to ask for

  __device__ __forceinline__ void fill(const stream_share<S> &own, int stage, int lane) {
    if (lane == 0) {
      u32 bar = bars + 8 * stage, to = ring + S::stage_bytes * stage;
      int unit = (own.first + at) * S::each;
      barrier_expect(bar, S::stage_bytes);
      copy_tensor_3d_hint(to, codes, 0, unit, group * S::tiles, bar, policy);
      copy_tensor_2d_hint(to + S::codes_bytes, scales, unit * 32, group * S::tiles, bar, policy);
    }
    left--;
    if (++at == own.pieces && turn < own.turns) {
      turn++;
      group += S::warps;
      at = 0;
      if (turn == own.turns) {
        group = own.last;
        at = own.from;
      }
    }
  }
};

__device__ __forceinline__ void stream_codes(u32 w, u32 (&a)[4]) {
  u32 v = w >> 8;
  a[0] = w & 0x000f000fu;
  a[1] = w & 0x00f000f0u;
  a[2] = v & 0x000f000fu;
  a[3] = v & 0x00f000f0u;
}

// One unit of each tile of the group. x: this lane's address of the unit's first half in its row of x, for load_matrices.
template <typename S>
__device__ __forceinline__ void stream_unit(float (&acc)[S::tiles][S::columns][4], const unsigned char *codes, const unsigned char *scales, u32 x) {
  const float zero[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  uint4 q[S::tiles];
  uint2 s[S::tiles];
#pragma unroll
  for (int r = 0; r < S::tiles; r++) {
    q[r] = *(const uint4 *)(codes + r * S::each * 512);
    s[r] = *(const uint2 *)(scales + r * S::each * 64);
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    u32 b[S::columns][4];
#pragma unroll
    for (int c = 0; c < S::columns; c++) load_matrices(b[c], (x ^ h * 64) + c * 1024);  // rows are swizzled
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      u32 a[2][4];
      stream_codes(h ? q[r].z : q[r].x, a[0]);
      stream_codes(h ? q[r].w : q[r].y, a[1]);
      float2 scale = unpack_f16(h ? s[r].y : s[r].x);
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        float d[4];
        mma_m16n8k16(d, a[0], b[c][0], b[c][1], zero);
        mma_m16n8k16(d, a[1], b[c][2], b[c][3], d);
        acc[r][c][0] = fmaf(scale.x, d[0], acc[r][c][0]);
        acc[r][c][1] = fmaf(scale.x, d[1], acc[r][c][1]);
        acc[r][c][2] = fmaf(scale.y, d[2], acc[r][c][2]);
        acc[r][c][3] = fmaf(scale.y, d[3], acc[r][c][3]);
      }
    }
  }
}

// -7 * 2^-24 times the sums of x over the groups of 32 of a piece, in two parts that tensor cores take as they are: [quad][columns][lane] of both halves
// of a unit (lane % 4) of one row of x (lane / 4), upper parts, then lower ones.
template <typename S> __device__ __forceinline__ void stream_sum_x(float *zeros, u32 x, int lane) {
  const u32 sevens[4] = {0x80078007u, 0x80078007u, 0x80078007u, 0x80078007u};
#pragma unroll 1
  for (int i = 0; i < S::each; i++)
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        u32 b[4];
        float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        load_matrices(b, ((x + i * S::unit_bytes) ^ h * 64) + c * 1024);
        mma_m16n8k16(d, sevens, b[0], b[1]);
        mma_m16n8k16(d, sevens, b[2], b[3]);
        if (lane < 8) {  // two lanes a column pair: row 2 t and row 2 t + 1
          float v = lane < 4 ? d[0] : d[1], upper = __uint_as_float(__float_as_uint(v) & 0xffffe000u);
          float *to = zeros + (i / 4 * S::columns + c) * 128 + (((lane & 3) * 2 + (lane >> 2)) * 4 + i % 4) * 4 + h;
          to[0] = upper;
          to[2] = v - upper;
        }
      }
}

// What a piece's codes are to be less: 7 times the scales times the sums of x.
template <typename S>
__device__ __forceinline__ void stream_zero(float (&acc)[S::tiles][S::columns][4], const unsigned char *scales, const float4 *zeros, int lane) {
#pragma unroll
  for (int j = 0; j < S::quads; j++) {
    float4 z[S::columns];
#pragma unroll
    for (int c = 0; c < S::columns; c++) {
      z[c] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (S::each % 4 == 0 || (lane & 3) < S::each) z[c] = zeros[(j * S::columns + c) * 32];
    }
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      uint2 s = {0, 0};
      if (S::each % 4 == 0 || (lane & 3) < S::each) s = *(const uint2 *)(scales + (r * S::each + j * 4 + (lane & 3)) * 64);
      float2 first = unpack_f16(s.x), second = unpack_f16(s.y);
      float a[4] = {first.x, first.y * 16.0f, second.x, second.y * 16.0f};
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        mma_m16n8k8_tf32(acc[r][c], a, z[c].x, z[c].y);
        mma_m16n8k8_tf32(acc[r][c], a, z[c].z, z[c].w);
      }
    }
  }
}

// --- the workspace -----------------------------------------------------------------------------------------------------
// A sum that is +0 is written as -0: the bits of 0 mean that nothing is there yet.
__device__ __forceinline__ u32 stream_there(float v) {
  u32 bits = __float_as_uint(v);
  return bits ? bits : 0x80000000u;
}
__device__ __forceinline__ bool stream_is_there(uint4 v) {
  return v.x && v.y && v.z && v.w;
}

// The sums of a group over the slice of this block, to the workspace: [group][fragment][slice][lane].
template <typename S> __device__ __forceinline__ void stream_pass_on(uint4 *work, float (&acc)[S::tiles][S::columns][4], int group, int rank, int lane) {
  const float low = 16777216.0f, high = 1048576.0f;
#pragma unroll
  for (int f = 0; f < S::fragments; f++) {
    float(&d)[4] = acc[f / S::columns][f % S::columns];
    uint4 v = {stream_there(d[0] * low), stream_there(d[1] * low), stream_there(d[2] * high), stream_there(d[3] * high)};
    store_relaxed4(work + (((size_t)group * S::fragments + f) * S::split + rank) * 32 + lane, v);
  }
}

// A fragment from the parts of all slices to y.
template <typename S, int END, typename Y> __device__ __forceinline__ void stream_finish(Y *y, uint4 *work, int fragment, int lane) {
  const uint4 nothing = {0, 0, 0, 0};
  uint4 part[S::split], *p = work + (size_t)fragment * S::split * 32 + lane;
  bool there;
  do {
    there = true;
#pragma unroll
    for (int s = 0; s < S::split; s++) part[s] = load_relaxed4(p + s * 32);
#pragma unroll
    for (int s = 0; s < S::split; s++) there = there && stream_is_there(part[s]);
  } while (!__all_sync(~0u, there));
  float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int s = 0; s < S::split; s++) {
    v.x += __uint_as_float(part[s].x);
    v.y += __uint_as_float(part[s].y);
    v.z += __uint_as_float(part[s].z);
    v.w += __uint_as_float(part[s].w);
  }
#pragma unroll
  for (int s = 0; s < S::split; s++) store_relaxed4(p + s * 32, nothing);
  // Lanes of rows g and g ^ 1 exchange, so that each has two neighbouring features of one row of x.
  const int g = lane >> 2, t = lane & 3, odd = g & 1;
  float a = __shfl_xor_sync(~0u, odd ? v.x : v.y, 4), b = __shfl_xor_sync(~0u, odd ? v.z : v.w, 4);
  int tile = fragment / S::columns, row = fragment % S::columns * 8 + 2 * t + odd;
  if (tile < S::row_tiles && row < S::rows) {
    Y *to = y + (size_t)row * S::outputs + tile * 16 + (g & ~1);
    put_pair(to, odd ? a : v.x, odd ? v.y : a, END == STREAM_ADD);
    put_pair(to + 8, odd ? b : v.z, odd ? v.w : b, END == STREAM_ADD);
  }
}

// The sums of warps that share a group: to the first of them, which gets them all.
template <typename S>
__device__ __forceinline__ void stream_join(float (&acc)[S::tiles][S::columns][4], unsigned char *rings, u32 handed, const stream_share<S> &own, int warp, int lane) {
  if (own.mate > 0) {
    float4 *to = (float4 *)(rings + warp * S::ring_bytes);
#pragma unroll
    for (int f = 0; f < S::fragments; f++) {
      float(&d)[4] = acc[f / S::columns][f % S::columns];
      to[f * 32 + lane] = make_float4(d[0], d[1], d[2], d[3]);
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(handed + 8 * warp);
    return;
  }
  for (int m = 1; m < own.mates; m++) {
    barrier_wait(handed + 8 * (warp + m), 0);
    const float4 *from = (const float4 *)(rings + (warp + m) * S::ring_bytes);
#pragma unroll
    for (int f = 0; f < S::fragments; f++) {
      float(&d)[4] = acc[f / S::columns][f % S::columns];
      float4 v = from[f * 32 + lane];
      d[0] += v.x;
      d[1] += v.y;
      d[2] += v.z;
      d[3] += v.w;
    }
  }
}

template <typename S, int END, int EARLY, typename Y>
__device__ __forceinline__ void stream_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y, uint4 *work) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;
  const int rank = blockIdx.x % S::split, range = blockIdx.x / S::split, ranges = gridDim.x / S::split;
  const u32 xs = shared_address(smem), bars = xs + S::bars_at, x_bars = bars + 8 * S::warps * S::stages, handed = x_bars + 8 * S::slice, sum_bars = handed + 8 * S::warps;
  const stream_share<S> own(range, ranges, rank, warp);
  unsigned char *rings = smem + S::x_bytes;
  stream_ring<S> ring = {xs + S::x_bytes + warp * S::ring_bytes, bars + 8 * S::stages * warp, codes, scales, policy_evict_first(), own.turns ? own.group : own.last,
                         own.turns ? 0 : own.from, own.all(), 0};
  if (lane == 0) {
    for (int s = 0; s < S::stages; s++) barrier_init(ring.bars + 8 * s, 1);
    barrier_init(handed + 8 * warp, 1);
    if (warp == 0)
      for (int p = 0; p < S::slice; p++) {
        barrier_init(x_bars + 8 * p, 1);
        barrier_init(sum_bars + 8 * p, 1);
      }
    barrier_init_fence();
    if (warp == 0) prefetch_tensor_map(x);
  }
  __syncwarp();
  for (int s = 0; s < S::stages; s++)
    if (ring.left > 0) ring.fill(own, s, lane);
  __syncthreads();
  if (EARLY >= 99) dependents_may_start();
  wait_for_predecessors();
  if (threadIdx.x == 0) {
    for (int p = 0; p < own.pieces; p++) {
      barrier_expect(x_bars + 8 * p, S::each * S::unit_bytes);
      copy_tensor_3d(xs + p * S::each * S::unit_bytes, x, 0, 0, (own.first + p) * S::each, x_bars + 8 * p);
    }
  }
  __syncwarp();

  const u32 mine = xs + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
  const unsigned char *q = rings + warp * S::ring_bytes + lane * 16, *s = rings + warp * S::ring_bytes + S::codes_bytes + (lane >> 2) * 8;
  float *zeros = (float *)(smem + S::zeros_at);
  for (int p = warp; p < own.pieces; p += S::warps) {
    barrier_wait(x_bars + 8 * p, 0);
    stream_sum_x<S>(zeros + p * S::quads * S::columns * 128, mine + p * S::each * S::unit_bytes, lane);
    __syncwarp();
    if (lane == 0) barrier_arrive(sum_bars + 8 * p);
  }
  int stage = 0;
  u32 parity = 0;
  bool told = EARLY >= 99 || warp > 0;
  for (int turn = 0; turn <= own.turns; turn++) {
    const bool whole = turn < own.turns;
    const int from = whole ? 0 : own.from, to = whole ? own.pieces : own.to, group = whole ? own.group + turn * S::warps : own.last;
    if (!whole && from == to) break;
    float acc[S::tiles][S::columns][4] = {};
#pragma unroll 1
    for (int at = from; at < to; at++) {
      barrier_wait(ring.bars + 8 * stage, parity);
      barrier_wait(x_bars + 8 * at, 0);
#pragma unroll 2
      for (int i = 0; i < S::each; i++)
        stream_unit<S>(acc, q + stage * S::stage_bytes + i * 512, s + stage * S::stage_bytes + i * 64, mine + (at * S::each + i) * S::unit_bytes);
      barrier_wait(sum_bars + 8 * at, 0);
      stream_zero<S>(acc, s + stage * S::stage_bytes, (const float4 *)zeros + at * S::quads * S::columns * 32 + lane, lane);
      __syncwarp();
      if (ring.left > 0) ring.fill(own, stage, lane);
      if (!told && ring.left <= EARLY) {
        dependents_may_start();
        told = true;
      }
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    if (!whole && own.mates > 1) stream_join<S>(acc, rings, handed, own, warp, lane);
    if (whole || own.mate == 0) stream_pass_on<S>(work, acc, group, rank, lane);
  }

  // Fragments of the range, in turns of the warps of all its blocks.
  const int begin = S::groups * range / ranges * S::fragments, end = S::groups * (range + 1) / ranges * S::fragments;
  for (int f = begin + warp * S::split + rank; f < end; f += S::warps * S::split) stream_finish<S, END>(y, work, f, lane);
}
