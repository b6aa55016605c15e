// exact_q4: y[n, N] = x[n, K] . w[N, K]^T for 2 to 32 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// As stream_q4, of which it has the shares, the joint groups and the workspace, but codes are made exact, so that nothing is to be known about x before
// the first product: four operations a product of tensor cores more, and half a microsecond less between the end of the kernel before and the stream.
// That is for matrices that are streamed in a few microseconds; above, stream_q4 has less to do.
//
// Slices of K meet in the workspace, or as copies in the shared memory of a cluster, which do not wait behind the next kernel's weights.
#pragma once
#include "stream_q4.cuh"

// ORDER: the sizes are those of the defines of the templates that include this. near: slices meet in the shared memory of a cluster.
// TILES: row tiles of a group. EACH: units (16 rows, 64 of K) of a stage and tile. A piece: what a stage holds.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_tiles, int a_each, int a_stages, int a_split, int a_ranges, bool a_near>
struct exact_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, tiles = a_tiles, each = a_each, stages = a_stages;
  static constexpr int split = a_split, ranges = a_ranges;
  static constexpr bool near = a_near;
  static constexpr int columns = (rows + 7) / 8, row_tiles = outputs / 16, groups = row_tiles / tiles;
  static constexpr int units = inputs / 64, pieces = units / each, slice = (pieces + split - 1) / split;  // along K: all, of a block at most
  static constexpr int codes_bytes = tiles * each * 512, stage_bytes = tiles * each * 576, ring_bytes = stages * stage_bytes;
  static constexpr int unit_bytes = columns * 1024, x_bytes = slice * each * unit_bytes;
  static constexpr int fragments = tiles * columns;  // of a group; 512 bytes of sums each
  static constexpr int most = ((groups + ranges - 1) / ranges * fragments + split - 1) / split;  // fragments of a range that a block finishes
  static constexpr int gathered_at = x_bytes + warps * ring_bytes, gathered_bytes = near ? most * split * 512 : 0;
  static constexpr int bars_at = gathered_at + gathered_bytes, bytes = bars_at + 8 * warps + near * 8 * (1 + warps * stages);
  static_assert(units % each == 0 && row_tiles % tiles == 0 && tiles * each <= 8 && fragments * 512 <= ring_bytes, "stages");
};

// What is copied next into the ring of a warp: by all lanes, 16 bytes each, or, near, by the copy engine, which keeps none of it in the second-level cache and
// completes a barrier for each stage.
template <typename S> struct exact_ring {
  const unsigned char *codes, *scales;  // of the lane, or of all, in the first unit of all
  u32 to, unit;                         // where these bytes go; the unit that is next
  u32 came;                             // near: the barriers
  int left, run, turns;                 // pieces to ask for; of the group; whole groups to come
  int stage;                            // that is next
  bool scaled;                          // the lane copies scales

  __device__ __forceinline__ exact_ring(const stream_share<S> &own, const unsigned char *all_codes, const unsigned char *all_scales, u32 ring, u32 bars, int lane) {
    codes = S::near ? all_codes : all_codes + lane * 16;
    scales = S::near ? all_scales : all_scales + (lane / (S::each * 4) * S::units * 64 + lane % (S::each * 4) * 16);
    to = S::near ? ring : ring + lane * 16;
    came = bars;
    scaled = lane < S::tiles * S::each * 4;
    turns = own.turns;
    left = own.all();
    stage = 0;
    begin(own);
  }
  __device__ __forceinline__ void begin(const stream_share<S> &own) {
    const int group = turns ? own.group + (own.turns - turns) * S::warps : own.last;
    unit = group * S::tiles * S::units + (own.first + (turns ? 0 : own.from)) * S::each;
    run = turns ? own.pieces : S::pieces + 1;
  }
  __device__ __forceinline__ void take(u32 dst) {
    const unsigned char *from = codes + (size_t)unit * 512;
#pragma unroll
    for (int i = 0; i < S::tiles * S::each; i++) copy16_if(dst + i * 512, from + (i / S::each * S::units + i % S::each) * 512, left > 0);
    copy16_if(dst + S::codes_bytes, scales + (size_t)unit * 64, left > 0 && scaled);
    copies_close();
  }
  __device__ __forceinline__ void take_bulk(u32 dst, u32 bar) {
    const u64 policy = policy_evict_first();
    barrier_expect(bar, S::stage_bytes);
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      copy_bulk_hint(dst + r * S::each * 512, codes + ((size_t)unit + r * S::units) * 512, S::each * 512, bar, policy);
      copy_bulk_hint(dst + S::codes_bytes + r * S::each * 64, scales + ((size_t)unit + r * S::units) * 64, S::each * 64, bar, policy);
    }
  }
  __device__ __forceinline__ void fill(const stream_share<S> &own) {
    const u32 dst = to + stage * S::stage_bytes;
    if constexpr (S::near) {
      if (left > 0 && elected()) take_bulk(dst, came + 8 * stage);
    } else {
      take(dst);
    }
    if (++stage == S::stages) stage = 0;
    left--;
    unit += S::each;
    if (--run == 0) {
      turns--;
      begin(own);
    }
  }
};

// Eight codes of a lane as halves, (code - 7) * 2^-24 for rows g and sixteen times that for rows g + 8; exact, though below the normal halves.
__device__ __forceinline__ void exact_codes(u32 w, u32 (&a)[4]) {
  const u32 low = 0x00070007u, high = 0x00700070u, v = w >> 8;
  a[0] = sub_f16x2(w & 0x000f000fu, low);
  a[1] = sub_f16x2(w & 0x00f000f0u, high);
  a[2] = sub_f16x2(v & 0x000f000fu, low);
  a[3] = sub_f16x2(v & 0x00f000f0u, high);
}

// The slice of x to shared memory, rows of 64 swizzled as load_matrices wants them: four rows of a unit are a load of a warp.
template <typename S> __device__ __forceinline__ void exact_take_x(unsigned char *xs, const u16 *x, int first, int units, int warp, int lane) {
  constexpr int QUADS = S::columns * 2, AT_ONCE = QUADS > 4 ? 1 : 8 / QUADS;  // of rows; units
  const int in = lane >> 3, chunk = lane & 7;
  const u16 *from = x + (size_t)in * S::inputs + (first + warp) * 64 + chunk * 8;
  wait_for_predecessors();
#pragma unroll 1
  for (int unit = warp; unit < units; unit += S::warps * AT_ONCE, from += S::warps * AT_ONCE * 64) {
    uint4 v[AT_ONCE][QUADS];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
      for (int r = 0; r < QUADS; r++) {
        v[i][r] = make_uint4(0, 0, 0, 0);
        if (unit + i * S::warps < units && (r * 4 + 4 <= S::rows || r * 4 + in < S::rows)) v[i][r] = load16_fresh(from + r * 4 * S::inputs + i * S::warps * 64);
      }
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
      for (int r = 0; r < QUADS; r++) {
        const int u = unit + i * S::warps, row = r * 4 + in;
        if (i == 0 || u < units) *(uint4 *)(xs + u * S::unit_bytes + row * 128 + ((chunk ^ row & 7) << 4)) = v[i][r];
      }
  }
}

// The same within a cluster: every fragment has an owner among its blocks, whose shared memory the parts go to as copies that complete on its barrier.
template <typename S> __device__ __forceinline__ void exact_send(u32 gathered, u32 met, float (&acc)[S::tiles][S::columns][4], int fragment, int rank, int lane) {
#pragma unroll
  for (int f = 0; f < S::fragments; f++) {
    float(&d)[4] = acc[f / S::columns][f % S::columns];
    const int owner = (fragment + f) % S::split;
    const u32 to = gathered + (((fragment + f) / S::split * S::split + rank) * 32 + lane) * 16;
    send_cluster4(cluster_address(to, owner), stream_whole(d), cluster_address(met, owner));
  }
}
// What this block owns of the range that begins with a fragment, to y.
template <typename S, int END, typename Y> __device__ __forceinline__ void exact_finish(Y *y, const float4 *gathered, int begin, int owned, int rank, int warp, int lane) {
  for (int i = warp; i < owned; i += S::warps) {
    const float4 *from = gathered + i * S::split * 32 + lane;
    float4 v = from[0];
#pragma unroll
    for (int s = 1; s < S::split; s++) {
      const float4 o = from[s * 32];
      v.x += o.x;
      v.y += o.y;
      v.z += o.z;
      v.w += o.w;
    }
    stream_put<S, END>(y, v, begin + i * S::split + rank, lane);
  }
}

template <typename S, int END, int EARLY, typename Y>
__device__ __forceinline__ void exact_q4(const u16 *x, const unsigned char *codes, const unsigned char *scales, Y *y, uint4 *work) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;
  const int rank = blockIdx.x % S::split, range = blockIdx.x / S::split;
  const u32 xs = shared_address(smem), handed = xs + S::bars_at;
  const stream_share<S> own(range, rank, warp);
  unsigned char *rings = smem + S::x_bytes, *mine = rings + warp * S::ring_bytes;
  const u32 came = handed + 8 * (S::warps + 1) + 8 * warp * S::stages;
  if constexpr (S::near) {
    if (lane < S::stages) barrier_init(came + 8 * lane, 1);
    barrier_init_fence();
    __syncwarp();
  }
  exact_ring<S> ring(own, codes, scales, shared_address(mine), came, lane);
#pragma unroll 1
  for (int s = 0; s < S::stages; s++) ring.fill(own);
  if (lane == 0) barrier_init(handed + 8 * warp, 1);
  // Fragments of the range.
  const int begin = S::groups * range / S::ranges * S::fragments, end = S::groups * (range + 1) / S::ranges * S::fragments;
  const u32 met = handed + 8 * S::warps, gathered = xs + S::gathered_at;
  const int owned = (end - begin - rank + S::split - 1) / S::split;
  if (S::near) {
    if (threadIdx.x == 0) {
      barrier_init(met, 1);
      barrier_expect(met, owned * S::split * 512);
      barrier_init_fence();
    }
    __syncthreads();
    cluster_arrive_bare();
  }
  if (EARLY >= 99) dependents_may_start();
  exact_take_x<S>(smem, x, own.first * S::each, own.pieces * S::each, warp, lane);
  __syncthreads();
  if (S::near) cluster_wait();
  int todo = own.all();
  if (EARLY < 99 && todo < EARLY) dependents_may_start();

  const u32 row = xs + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
  int stage = 0;
  u32 parity = 0;
  for (int turn = 0; turn <= own.turns; turn++) {
    const bool whole = turn < own.turns;
    const int from = whole ? 0 : own.from, to = whole ? own.pieces : own.to, group = whole ? own.group + turn * S::warps : own.last;
    if (!whole && from == to) break;
    float acc[S::tiles][S::columns][4] = {};
#pragma unroll 1
    for (int at = from; at < to; at++) {
      if constexpr (S::near) barrier_wait(came + 8 * stage, parity);
      else copies_arrived<S::stages - 1>();
      __syncwarp();
      if (todo-- == EARLY) dependents_may_start();
      const unsigned char *codes_at = mine + stage * S::stage_bytes + lane * 16, *scales_at = mine + stage * S::stage_bytes + S::codes_bytes + (lane >> 2) * 8;
      const u32 x_at = row + at * S::each * S::unit_bytes;
#pragma unroll
      for (int i = 0; i < S::each; i++) stream_unit<S, exact_codes>(acc, codes_at + i * 512, scales_at + i * 64, x_at + i * S::unit_bytes);
      __syncwarp();
      ring.fill(own);
      if (++stage == S::stages) stage = 0, parity ^= 1;
    }
    if (!whole && own.mates > 1) stream_join<S>(acc, rings, handed, own, warp, lane);
    if (!whole && own.mate > 0) continue;
    if (S::near) {
      exact_send<S>(gathered, met, acc, group * S::fragments - begin, rank, lane);
    } else {
      stream_pass_on<S>(work, acc, group, rank, lane);
    }
  }
  if (EARLY == 0) dependents_may_start();
  if (S::near) {
    barrier_wait(met, 0);
    exact_finish<S, END>(y, (const float4 *)(smem + S::gathered_at), begin, owned, rank, warp, lane);
  } else {  // in turns of the warps of all blocks of the range
    stream_finish<S, END>(y, work, begin + warp * S::split + rank, end, S::warps * S::split, lane);
  }
}
