// pair_q4: y[n, N] = x[n, K] . w[N, K]^T for 2 to 16 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// Two blocks of a cluster have a group of row tiles, and every warp of them a part of K for all of these tiles: no warp waits for another before it has
// multiplied. Weights of the part come through a ring of the warp that is filled before the kernel before has ended, x of the part through another, by
// tensor copies, after it. A warp reads x once for all tiles, and what it needs first of a unit of K is in its registers half a unit before.
//
// Codes are made exact, as in exact_q4; or, with SUMS, they stay as they are, the half q * 2^-24 (row g) or 16 q * 2^-24 (row g + 8), and what a sum over
// a group of 32 is too much, as codes begin at -7, it is begun with: the same product with sevens for codes, once for all tiles.
//
// At the end the warps of a block add up their parts in shared memory, and half of the sums goes to the other block, which finishes these tiles: one
// copy, and no memory beyond the cluster. Every sum has one order.
#pragma once
#include "exact_q4.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
// TILES: row tiles of the group. STAGES: units of weights of a ring (16 rows of each tile, 64 of K). AHEAD: units of x.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_tiles, int a_stages, int a_ahead, bool a_sums> struct pair_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, tiles = a_tiles, stages = a_stages, ahead = a_ahead;
  static constexpr bool sums = a_sums;
  static constexpr int columns = (rows + 7) / 8, row_tiles = outputs / 16, units = inputs / 64, parts = 2 * warps;
  static constexpr int codes_bytes = tiles * 512, stage_bytes = tiles * 576, unit_bytes = columns * 1024;
  static constexpr int own_bytes = ahead * unit_bytes + (stages * stage_bytes + 1023) / 1024 * 1024;  // of a warp: x, weights; sums at the end
  static constexpr int fragments = tiles * columns, half = (tiles + 1) / 2 * columns;               // of the group; that the first block finishes
  static constexpr int sent_at = warps * own_bytes, sevens_at = sent_at + half * 512, bars_at = sevens_at + 16, bytes = bars_at + 8 * (warps * ahead + half);
  static_assert(row_tiles % tiles == 0 && tiles > 1 && columns <= 2 && units >= parts && stages > 1, "shape");
  static_assert(fragments <= warps && fragments * 512 <= own_bytes, "sums");
};

// One half of a unit (a group of 32 along K) of one tile: two words of codes of the lane, scales of rows g and g + 8; what the sums begin with.
template <typename S>
__device__ __forceinline__ void pair_half(float (&acc)[S::columns][4], u32 w0, u32 w1, u32 scales, const u32 (&b)[S::columns][4], const float (&least)[S::columns][4]) {
  u32 a[2][4];
  if (S::sums) {
    stream_codes(w0, a[0]);
    stream_codes(w1, a[1]);
  } else {
    exact_codes(w0, a[0]);
    exact_codes(w1, a[1]);
  }
  const float2 scale = unpack_f16(scales);
#pragma unroll
  for (int c = 0; c < S::columns; c++) {
    float d[4];
    mma_m16n8k16(d, a[0], b[c][0], b[c][1], least[c]);
    mma_m16n8k16(d, a[1], b[c][2], b[c][3], d);
    acc[c][0] = fmaf(scale.x, d[0], acc[c][0]);
    acc[c][1] = fmaf(scale.x, d[1], acc[c][1]);
    acc[c][2] = fmaf(scale.y, d[2], acc[c][2]);
    acc[c][3] = fmaf(scale.y, d[3], acc[c][3]);
  }
}
// What codes of 7 in all rows would sum up to, taken off. They lie in shared memory, or four registers would be made of constants each time.
template <typename S> __device__ __forceinline__ void pair_least(float (&least)[S::columns][4], const u32 (&b)[S::columns][4], u32 sevens) {
  const float zero[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (S::sums) {
    const uint4 s = load16_shared(sevens);
    const u32 a[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
    for (int c = 0; c < S::columns; c++) {
      mma_m16n8k16(least[c], a, b[c][0], b[c][1], zero);
      mma_m16n8k16(least[c], a, b[c][2], b[c][3], least[c]);
    }
  } else {
#pragma unroll
    for (int c = 0; c < S::columns; c++)
#pragma unroll
      for (int e = 0; e < 4; e++) least[c][e] = 0.0f;
  }
}

template <typename S, int END, int EARLY, typename Y>
__device__ __forceinline__ void pair_q4(const tensor_map *x, const unsigned char *codes, const unsigned char *scales, Y *y) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;
  const int rank = blockIdx.x & 1, group = blockIdx.x >> 1, part = rank * S::warps + warp;
  const int first = S::units * part / S::parts, have = S::units * (part + 1) / S::parts - first;
  unsigned char *own = smem + warp * S::own_bytes, *ring = own + S::ahead * S::unit_bytes;
  const u32 base = shared_address(smem), xs = base + warp * S::own_bytes, sevens = base + S::sevens_at;
  const u32 sent = base + S::bars_at, came = sent + 8 * (S::half + warp * S::ahead);  // barriers: sums of the other block; x of the warp

  const u32 filled = shared_address(ring) + lane * 16;
  const unsigned char *codes_from = codes + ((size_t)(group * S::tiles) * S::units + first) * 512 + lane * 16;
  const unsigned char *scales_from = scales + ((size_t)(group * S::tiles + lane / 4) * S::units + first) * 64 + lane % 4 * 16;
  auto fill = [&](int unit, int stage) {  // the stage with a unit of the part, if there is such
    const u32 to = filled + stage * S::stage_bytes;
#pragma unroll
    for (int r = 0; r < S::tiles; r++) copy16_if(to + r * 512, codes_from + unit * 512 + r * S::units * 512, unit < have);
    copy16_if(to + S::codes_bytes, scales_from + unit * 64, unit < have && lane < S::tiles * 4);
    copies_close();
  };
#pragma unroll 1
  for (int s = 0; s < S::stages; s++) fill(s, s);
  if (lane < S::ahead) barrier_init(came + 8 * lane, 1);
  if (threadIdx.x < S::half) {
    barrier_init(sent + 8 * threadIdx.x, 1);
    barrier_expect(sent + 8 * threadIdx.x, 512);
  }
  if (S::sums && threadIdx.x < 4) ((u32 *)(smem + S::sevens_at))[threadIdx.x] = threadIdx.x & 1 ? 0x80708070u : 0x80078007u;
  barrier_init_fence();
  if (lane == 0) prefetch_tensor_map(x);
  __syncthreads();
  cluster_arrive_bare();
  if (EARLY >= 99) dependents_may_start();
  wait_for_predecessors();
  auto take_x = [&](int unit, int slot) {
    if (unit < have && elected()) {
      barrier_expect(came + 8 * slot, S::unit_bytes);
      copy_tensor_3d(xs + slot * S::unit_bytes, x, 0, 0, first + unit, came + 8 * slot);
    }
  };
#pragma unroll
  for (int i = 0; i < S::ahead; i++) take_x(i, i);
  if (EARLY < 98 && have < EARLY) dependents_may_start();

  const u32 row = xs + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
  int stage = 0, slot = 0, parity = 0;
  u32 b[2][S::columns][4];
  float least[S::columns][4];
  uint4 q[S::tiles];
  uint2 s[S::tiles];
  float acc[S::tiles][S::columns][4] = {};
  const unsigned char *codes_at = ring + lane * 16, *scales_at = ring + S::codes_bytes + (lane >> 2) * 8;
  copies_arrived<S::stages - 1>();
  __syncwarp();
#pragma unroll
  for (int r = 0; r < S::tiles; r++) {
    q[r] = *(const uint4 *)(codes_at + r * 512);
    s[r] = *(const uint2 *)(scales_at + r * 64);
  }
  barrier_wait(came, 0);
  if (EARLY == 98) dependents_may_start();
#pragma unroll
  for (int c = 0; c < S::columns; c++) load_matrices(b[0][c], row + c * 1024);
#pragma unroll 1
  for (int unit = 0; unit < have; unit++) {
    if (EARLY < 98 && have - unit == EARLY) dependents_may_start();
    pair_least<S>(least, b[0], sevens);
    __syncwarp();
    fill(unit + S::stages, stage);  // its codes are in registers
#pragma unroll
    for (int c = 0; c < S::columns; c++) load_matrices(b[1][c], (row + slot * S::unit_bytes + c * 1024) ^ 64);  // rows are swizzled
#pragma unroll
    for (int r = 0; r < S::tiles; r++) pair_half<S>(acc[r], q[r].x, q[r].y, s[r].x, b[0], least);
    pair_least<S>(least, b[1], sevens);
    __syncwarp();
    take_x(unit + S::ahead, slot);
    // The next unit.
    if (++stage == S::stages) stage = 0;
    if (++slot == S::ahead) slot = 0, parity ^= 1;
    copies_arrived<S::stages - 1>();
    if (unit + 1 < have) barrier_wait(came + 8 * slot, parity);
    __syncwarp();
    const unsigned char *codes_next = codes_at + stage * S::stage_bytes, *scales_next = scales_at + stage * S::stage_bytes;
#pragma unroll
    for (int c = 0; c < S::columns; c++) load_matrices(b[0][c], row + slot * S::unit_bytes + c * 1024);
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      const u32 w0 = q[r].z, w1 = q[r].w, scale = s[r].y;
      q[r] = *(const uint4 *)(codes_next + r * 512);
      s[r] = *(const uint2 *)(scales_next + r * 64);
      pair_half<S>(acc[r], w0, w1, scale, b[1], least);
    }
  }
  if (EARLY == 0) dependents_may_start();

  // Sums of all warps of the block, where their rings were, then of both blocks.
  float4 *to = (float4 *)own + lane;
  __syncwarp();
#pragma unroll
  for (int f = 0; f < S::fragments; f++) to[f * 32] = stream_whole(acc[f / S::columns][f % S::columns]);
  __syncthreads();
  cluster_wait();
  if (warp < S::fragments) {
    float4 v[S::warps];
#pragma unroll
    for (int w = 0; w < S::warps; w++) v[w] = *(const float4 *)(smem + w * S::own_bytes + (warp * 32 + lane) * 16);
    float4 sum = v[0];
#pragma unroll
    for (int w = 1; w < S::warps; w++) sum = make_float4(sum.x + v[w].x, sum.y + v[w].y, sum.z + v[w].z, sum.w + v[w].w);
    const int owner = warp >= S::half, at = owner ? warp - S::half : warp;
    if (owner != rank) {
      send_cluster4(cluster_address(base + S::sent_at + (at * 32 + lane) * 16, owner), sum, cluster_address(sent + 8 * at, owner));
    } else {
      barrier_wait(sent + 8 * at, 0);
      const float4 o = *(const float4 *)(smem + S::sent_at + (at * 32 + lane) * 16);
      stream_put<S, END>(y, make_float4(sum.x + o.x, sum.y + o.y, sum.z + o.z, sum.w + o.w), group * S::fragments + warp, lane);
    }
  }
}
