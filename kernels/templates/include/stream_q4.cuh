// stream_q4: y[n, N] = x[n, K] . w[N, K]^T for 2 to 32 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// A block has a slice of K and a range of groups of row tiles; its slice of x stays in shared memory. A warp takes whole groups by itself, through a
// ring of its own whose copies begin before the kernel before has ended: warps do not wait for each other. Groups that are left when every
// warp has had as many are cut along K between the warps, which add them up at their end through rings that are empty then.
// What a stage asks for is one stretch of code without branches: products, corrections and the next copies mix.
//
// Slices meet in the workspace, which is zero between runs: the parts of a sum lie there side by side, never as the bits of 0, and a reader takes
// them once none is 0 any more and clears them. All blocks of the grid are on the GPU at once, so each may wait for the others.
// Every sum has one order, so results do not vary.
//
// A code q is the half q * 2^-24 (row g) or 16 q * 2^-24 (row g + 8): one operation for two weights. Sums of a group of 32 are scaled in f32; what they
// are too much, as codes begin at -7, is a product of the scales and of the sums of x over groups, which tensor cores take off in tf32.
#pragma once
#include "put_pair.cuh"
#include "stream_ptx.cuh"


// ORDER: the sizes are those of the defines of the template that includes this.
// TILES: row tiles of a group. EACH: units (16 rows, 64 of K) of a stage and tile. A piece: what a stage holds.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_tiles, int a_each, int a_stages, int a_split, int a_ranges,
          int a_unroll>
struct stream_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, tiles = a_tiles, each = a_each, stages = a_stages;
  static constexpr int split = a_split, ranges = a_ranges, unroll = a_unroll;
  static constexpr int columns = (rows + 7) / 8, row_tiles = outputs / 16, groups = row_tiles / tiles;
  static constexpr int units = inputs / 64, pieces = units / each, slice = (pieces + split - 1) / split;  // along K: all, of a block at most
  static constexpr int codes_bytes = tiles * each * 512, stage_bytes = tiles * each * 576, ring_bytes = stages * stage_bytes;
  static constexpr int unit_bytes = columns * 1024, x_bytes = slice * each * unit_bytes;
  static constexpr int fragments = tiles * columns;  // of a group; 512 bytes of sums each
  static constexpr int quads = (each + 3) / 4, zeros_at = x_bytes + warps * ring_bytes;  // of units of a piece; sums of x
  static constexpr int bars_at = zeros_at + slice * quads * columns * 512, bytes = bars_at + 8 * warps;
  static constexpr int items = (columns * 8 * slice * each + warps * 4 - 1) / (warps * 4);  // rows of units of x that eight lanes load
  static_assert(units % each == 0 && row_tiles % tiles == 0 && tiles * each <= 8 && fragments * 512 <= ring_bytes, "stages");
};

// What a warp takes of its block: whole groups in turns, then a part of one group that is left.
template <typename S> struct stream_share {
  static constexpr int few = S::groups / S::ranges, least = S::pieces / S::split;  // groups of a range and pieces of a slice: so many or one more
  static constexpr int left_few = few % S::warps, left_more = (few + 1) % S::warps;  // groups that are left
  static constexpr int fit_few = left_few ? S::warps / left_few : 1, fit_more = left_more ? S::warps / left_more : 1;
  static constexpr int mates_few = fit_few < least ? fit_few : least, mates_more = fit_more < least ? fit_more : least;
  int first, pieces;                 // along K, of the block
  int group, turns;                  // the first whole group, and how many, S::warps apart
  int last, mates, mate, from, to;   // the group that is left, how many warps share it, which of them this is, and its pieces

  __device__ __forceinline__ stream_share(int range, int rank, int warp) {
    int begin = S::groups * range / S::ranges, count = S::groups * (range + 1) / S::ranges - begin;
    bool more = count > few;
    first = S::pieces * rank / S::split;
    pieces = S::pieces * (rank + 1) / S::split - first;
    turns = more ? (few + 1) / S::warps : few / S::warps;
    group = begin + warp;
    mates = more ? mates_more : mates_few;
    int which = more ? warp / mates_more : warp / mates_few;
    mate = warp - which * mates;
    last = begin + turns * S::warps + which;
    bool any = which < count - turns * S::warps;
    from = !any ? 0 : more ? pieces * mate / mates_more : pieces * mate / mates_few;
    to = !any ? 0 : more ? pieces * (mate + 1) / mates_more : pieces * (mate + 1) / mates_few;
  }
  __device__ __forceinline__ int all() const { return turns * pieces + to - from; }
};

// What is copied next into the ring of a warp; without a branch, so that it mixes with products.
template <typename S> struct stream_ring {
  const unsigned char *codes, *scales;  // of the lane, in the first unit of all
  u32 to, unit, jump, last_jump;        // where the lane's bytes go; the unit that is next; from the last piece of a group to the next group
  int left, run, turns, pieces;         // pieces to ask for; of the group; whole groups to come

  __device__ __forceinline__ stream_ring(const stream_share<S> &own, const unsigned char *all_codes, const unsigned char *all_scales, u32 ring, int lane) {
    codes = all_codes + lane * 16;
    scales = all_scales + (lane / (S::each * 4) * S::units * 64 + lane % (S::each * 4) * 16);
    to = ring + lane * 16;
    const u32 first = own.group * S::tiles * S::units + own.first * S::each, left_over = own.last * S::tiles * S::units + (own.first + own.from) * S::each;
    jump = S::warps * S::tiles * S::units - (own.pieces - 1) * S::each;
    last_jump = left_over - (first + (own.turns - 1) * S::warps * S::tiles * S::units) - (own.pieces - 1) * S::each;
    turns = own.turns;
    pieces = own.pieces;
    unit = turns ? first : left_over;
    run = turns ? pieces : S::pieces + 1;
    left = own.all();
  }
  __device__ __forceinline__ void fill(int stage, int lane) {
    const u32 dst = to + stage * S::stage_bytes;
    const unsigned char *from = codes + (size_t)unit * 512;
#pragma unroll
    for (int i = 0; i < S::tiles * S::each; i++) copy16_if(dst + i * 512, from + (i / S::each * S::units + i % S::each) * 512, left > 0);
    copy16_if(dst + S::codes_bytes, scales + (size_t)unit * 64, left > 0 && lane < S::tiles * S::each * 4);
    copies_close();
    left--;
    run--;
    const bool over = run == 0;
    turns -= over;
    unit += !over ? S::each : turns ? jump : last_jump;
    run = !over ? run : turns ? pieces : S::pieces + 1;
  }
};

__device__ __forceinline__ void stream_codes(u32 w, u32 (&a)[4]) {
  u32 v = w >> 8;
  a[0] = w & 0x000f000fu;
  a[1] = w & 0x00f000f0u;
  a[2] = v & 0x000f000fu;
  a[3] = v & 0x00f000f0u;
}

// One unit of each tile of the group. CODES makes halves of eight codes of a lane; x: this lane's address of the unit's first half in its row of x, for
// load_matrices.
template <typename S, void (*CODES)(u32, u32 (&)[4])>
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
      CODES(h ? q[r].z : q[r].x, a[0]);
      CODES(h ? q[r].w : q[r].y, a[1]);
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

// The slice of x to shared memory, rows of 64 swizzled as load_matrices wants them.
template <typename S> __device__ __forceinline__ void stream_take_x(unsigned char *xs, const u16 *x, int first, int units, int warp, int lane) {
  constexpr int AT_ONCE = S::items < 8 ? S::items : 8;
  const int chunk = lane & 7;
#pragma unroll 1
  for (int from = 0; from < S::items; from += AT_ONCE) {
    uint4 v[AT_ONCE];
    int at[AT_ONCE];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      int item = ((from + i) * S::warps + warp) * 4 + (lane >> 3), unit = item % (S::slice * S::each), row = item / (S::slice * S::each);
      at[i] = row < S::rows && unit < units ? row * S::inputs + (first + unit) * 64 + chunk * 8 : -1;
      asm volatile("" : "+r"(at[i]));
    }
    if (from == 0) wait_for_predecessors();
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      v[i] = make_uint4(0, 0, 0, 0);
      if (at[i] >= 0) v[i] = load16_fresh(x + at[i]);
    }
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      int item = ((from + i) * S::warps + warp) * 4 + (lane >> 3), unit = item % (S::slice * S::each), row = item / (S::slice * S::each), g = row & 7;
      if (S::columns * 8 * S::slice * S::each % (S::warps * 4 * AT_ONCE) == 0 || row < S::columns * 8) *(uint4 *)(xs + unit * S::unit_bytes + row * 128 + ((chunk ^ g) << 4)) = v[i];
    }
  }
}

// -7 * 2^-24 times the sums of x over the groups of 32 of a unit, in two parts that tensor cores take as they are: [piece][quad][columns][lane] of both
// halves of a unit (lane % 4) of one row of x (lane / 4), upper parts, then lower ones.
template <typename S> __device__ __forceinline__ void stream_sum_x(float *zeros, u32 x, int unit, int lane) {
  const u32 sevens[4] = {0x80078007u, 0x80078007u, 0x80078007u, 0x80078007u};
  const int in = unit % S::each;
  float *to = zeros + (unit / S::each * S::quads + in / 4) * S::columns * 128 + (((lane & 3) * 2 + (lane >> 2)) * 4 + in % 4) * 4;
#pragma unroll
  for (int c = 0; c < S::columns; c++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 b[4];
      float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      load_matrices(b, ((x + unit * S::unit_bytes) ^ h * 64) + c * 1024);
      mma_m16n8k16(d, sevens, b[0], b[1]);
      mma_m16n8k16(d, sevens, b[2], b[3]);
      if (lane < 8) {  // two lanes a pair of columns: row 2 t and row 2 t + 1
        float v = lane < 4 ? d[0] : d[1], upper = __uint_as_float(__float_as_uint(v) & 0xffffe000u);
        to[c * 128 + h] = upper;
        to[c * 128 + h + 2] = v - upper;
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

// Sums of codes that are halves below the normal ones.
__device__ __forceinline__ float4 stream_whole(const float (&d)[4]) {
  const float low = 16777216.0f, high = 1048576.0f;
  return make_float4(d[0] * low, d[1] * low, d[2] * high, d[3] * high);
}

// The sums of a group over the slice of this block, to the workspace: [group][fragment][slice][lane].
template <typename S> __device__ __forceinline__ void stream_pass_on(uint4 *work, float (&acc)[S::tiles][S::columns][4], int group, int rank, int lane) {
#pragma unroll
  for (int f = 0; f < S::fragments; f++) {
    const float4 d = stream_whole(acc[f / S::columns][f % S::columns]);
    uint4 v = {stream_there(d.x), stream_there(d.y), stream_there(d.z), stream_there(d.w)};
    store_relaxed4(work + (((size_t)group * S::fragments + f) * S::split + rank) * 32 + lane, v);
  }
}

// One fragment to y: lanes of rows g and g ^ 1 exchange, so that each has two neighbouring features of one row of x.
template <typename S, int END, typename Y> __device__ __forceinline__ void stream_put(Y *y, float4 v, int fragment, int lane) {
  const int g = lane >> 2, t = lane & 3, odd = g & 1;
  float a = __shfl_xor_sync(~0u, odd ? v.x : v.y, 4), b = __shfl_xor_sync(~0u, odd ? v.z : v.w, 4);
  int tile = fragment / S::columns, row = fragment % S::columns * 8 + 2 * t + odd;
  if (tile < S::row_tiles && row < S::rows) {
    Y *to = y + (size_t)row * S::outputs + tile * 16 + (g & ~1);
    put_pair(to, odd ? a : v.x, odd ? v.y : a, END == GEMM_ADD);
    put_pair(to + 8, odd ? b : v.z, odd ? v.w : b, END == GEMM_ADD);
  }
}

// Fragments first, first + step and so on from the parts of all slices to y, some at a time.
template <typename S, int END, typename Y> __device__ __forceinline__ void stream_finish(Y *y, uint4 *work, int first, int end, int step, int lane) {
  constexpr int MANY = S::split > 6 ? 1 : S::split > 4 ? 2 : 3;
  const uint4 nothing = {0, 0, 0, 0};
  for (int from = first; from < end; from += step * MANY) {
    uint4 part[MANY][S::split];
    bool there;
    do {
      there = true;
#pragma unroll
      for (int m = 0; m < MANY; m++)
#pragma unroll
        for (int s = 0; s < S::split; s++)
          if (from + m * step < end) part[m][s] = load_relaxed4(work + ((size_t)(from + m * step) * S::split + s) * 32 + lane);
#pragma unroll
      for (int m = 0; m < MANY; m++)
#pragma unroll
        for (int s = 0; s < S::split; s++)
          if (from + m * step < end) there = there && stream_is_there(part[m][s]);
    } while (!__all_sync(~0u, there));
#pragma unroll
    for (int m = 0; m < MANY; m++) {
      const int fragment = from + m * step;
      if (fragment >= end) break;
      float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
      for (int s = 0; s < S::split; s++) {
        v.x += __uint_as_float(part[m][s].x);
        v.y += __uint_as_float(part[m][s].y);
        v.z += __uint_as_float(part[m][s].z);
        v.w += __uint_as_float(part[m][s].w);
      }
      stream_put<S, END>(y, v, fragment, lane);
#pragma unroll
      for (int s = 0; s < S::split; s++) store_relaxed4(work + ((size_t)fragment * S::split + s) * 32 + lane, nothing);
    }
  }
}

// The sums of warps that share a group: to the first of them, which gets them all.
template <typename S>
__device__ __forceinline__ void stream_join(float (&acc)[S::tiles][S::columns][4], unsigned char *rings, u32 handed, const stream_share<S> &own, int warp, int lane) {
  if (own.mate > 0) {
    copies_arrived<0>();
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
__device__ __forceinline__ void stream_q4(const u16 *x, const unsigned char *codes, const unsigned char *scales, Y *y, uint4 *work) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;
  const int rank = blockIdx.x % S::split, range = blockIdx.x / S::split;
  const u32 xs = shared_address(smem), handed = xs + S::bars_at;
  const stream_share<S> own(range, rank, warp);
  unsigned char *rings = smem + S::x_bytes;
  stream_ring<S> ring(own, codes, scales, xs + S::x_bytes + warp * S::ring_bytes, lane);
#pragma unroll 1
  for (int s = 0; s < S::stages; s++) ring.fill(s, lane);
  if (lane == 0) barrier_init(handed + 8 * warp, 1);
  if (EARLY >= 99) dependents_may_start();
  float *zeros = (float *)(smem + S::zeros_at);
  stream_take_x<S>(smem, x, own.first * S::each, min(own.pieces * S::each, S::inputs / 64 - own.first * S::each), warp, lane);
  __syncthreads();
  int todo = own.all();
  if (EARLY < 99 && todo < EARLY) dependents_may_start();

  const u32 mine = xs + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
  const unsigned char *q = rings + warp * S::ring_bytes + lane * 16, *s = rings + warp * S::ring_bytes + S::codes_bytes + (lane >> 2) * 8;
  const float4 *zero = (const float4 *)zeros + lane;
  for (int u = warp; u < own.pieces * S::each; u += S::warps) stream_sum_x<S>(zeros, mine, u, lane);
  __syncthreads();
  int stage = 0;
  for (int turn = 0; turn <= own.turns; turn++) {
    const bool whole = turn < own.turns;
    const int from = whole ? 0 : own.from, to = whole ? own.pieces : own.to, group = whole ? own.group + turn * S::warps : own.last;
    if (!whole && from == to) break;
    float acc[S::tiles][S::columns][4] = {};
#pragma unroll 1
    for (int at = from; at < to; at++) {
      copies_arrived<S::stages - 1>();
      __syncwarp();
      if (todo-- == EARLY) dependents_may_start();
      const unsigned char *codes_at = q + stage * S::stage_bytes, *scales_at = s + stage * S::stage_bytes;
      const u32 x_at = mine + at * S::each * S::unit_bytes;
#pragma unroll S::unroll
      for (int i = 0; i < S::each; i++) stream_unit<S, stream_codes>(acc, codes_at + i * 512, scales_at + i * 64, x_at + i * S::unit_bytes);
      stream_zero<S>(acc, scales_at, zero + at * S::quads * S::columns * 32, lane);
      __syncwarp();
      ring.fill(stage, lane);
      if (++stage == S::stages) stage = 0;
    }
    if (!whole && own.mates > 1) stream_join<S>(acc, rings, handed, own, warp, lane);
    if (whole || own.mate == 0) stream_pass_on<S>(work, acc, group, rank, lane);
  }
  if (EARLY == 0) dependents_may_start();
  // Fragments of the range, in turns of the warps of all its blocks.
  const int begin = S::groups * range / S::ranges * S::fragments, end = S::groups * (range + 1) / S::ranges * S::fragments;
  stream_finish<S, END>(y, work, begin + warp * S::split + rank, end, S::warps * S::split, lane);
}
