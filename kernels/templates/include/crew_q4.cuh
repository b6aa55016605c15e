// crew_q4: y[n, N] = x[n, K] . w[N, K]^T for 9 to 16 rows of x in f16, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// Two blocks of a cluster have 64 rows of weights, each of the four crews of four warps in a block a part of K for all of these rows: weights are the A
// operand of wgmma, from registers, and while tensor cores work for one crew the others make halves of codes. All weights of a part have their place in
// shared memory before the kernel before has ended; x comes through slots that the crew gives back together.
//
// The next kernel may start at once, and its blocks stand beside this kernel's long before it may read x. So that its weights do not come before this
// kernel's x, a block asks for them some time after its start, a stage at a time. Multiprocessors that have no pair get one without work, or they would
// take two of the next kernel's.
//
// At the end the crews of a block add up their parts in shared memory, and half of the sums goes to the other block, which finishes these: one copy,
// and no memory beyond the cluster. Every sum has one order.
#pragma once
#include "share64_q4.cuh"
#include "stream_ptx.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
// EACH: units (64 rows, 64 of K) of a stage of weights. SLOTS: units of x. REST: cycles from the start to the first stage, STEP: between stages.
template <int a_outputs, int a_inputs, int a_rows, int a_each, int a_stages, int a_slots, int a_rest, int a_step> struct crew_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, each = a_each, stages = a_stages, slots = a_slots, crews = 4;
  static constexpr u32 rest = a_rest, step = a_step;
  static constexpr int row_tiles = outputs / 16, groups = (row_tiles + 3) / 4, units = inputs / 64;
  static constexpr int parts = 2 * crews, most = (units + parts - 1) / parts;  // units of a part at most
  static constexpr bool even = units % parts == 0;
  static constexpr int codes_bytes = each * 2048, stage_bytes = each * 2304, ring_bytes = stages * stage_bytes, unit_bytes = 2048;
  static constexpr int rings_at = crews * slots * unit_bytes, sent_at = rings_at + crews * ring_bytes;
  static constexpr int fragments = 8, half = 4;  // of the group; that each block finishes
  static constexpr int bars_at = sent_at + half * 512, bytes = bars_at + 8 * (half + crews * (stages + slots));
  static_assert(rows > 8 && rows <= 16 && units >= parts && each * stages >= most && each * stages > 1, "shape");
};

// A crew's part: what it reads, and where it stands.
template <typename S> struct crew_part {
  const tensor_map *x, *codes, *scales;
  int first, have, group, crew, warp;         // units of K; rows of weights; warp: of the crew
  u32 slots, ring, here, came;                // x, weights; barriers of stages, of slots
  const unsigned char *codes_at, *scales_at;  // of the lane in the first stage
  int slot;
  u32 turn;
  uint4 q;
  uint2 s;

  __device__ __forceinline__ int end() const { return S::even ? S::most : have; }
  // By one lane: a stage of weights.
  __device__ __forceinline__ void fill(int stage, u64 policy) {
    const u32 to = ring + stage * S::stage_bytes, bar = here + 8 * stage;
    barrier_expect(bar, S::stage_bytes);
    copy_tensor_3d_hint(to, codes, 0, first + stage * S::each, group * 4, bar, policy);
    copy_tensor_3d_hint(to + S::codes_bytes, scales, 0, first + stage * S::each, group * 4, bar, policy);
  }
  // By one lane: x of a unit.
  __device__ __forceinline__ void take(int unit, int slot) {
    barrier_expect(came + 8 * slot, S::unit_bytes);
    copy_tensor_3d(slots + slot * S::unit_bytes, x, 0, 0, first + unit, came + 8 * slot);
  }
  // Codes and scales of a unit; its stage is waited for.
  __device__ __forceinline__ void fetch(int unit) {
    if (unit >= end()) return;
    const int stage = unit / S::each, in = unit % S::each;
    if (in == 0) barrier_wait(here + 8 * stage, 0);
    q = *(const uint4 *)(codes_at + stage * S::stage_bytes + in * 512);
    s = *(const uint2 *)(scales_at + stage * S::stage_bytes + in * 64);
  }
  // Products of a unit; then a slot that all of the crew have read is filled again, and the halves of the next unit are made.
  __device__ __forceinline__ void multiply(float (&d)[8], u32 (&a)[4][4], u32 x_at, int unit) {
    barrier_wait(came + 8 * slot, turn);
    const u64 rows = wgmma_rows128_at(x_at + slot * (S::unit_bytes / 16));
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; i++) wgmma_rs(d, a[i], rows + WGMMA_STEP(32 * i));
    wgmma_end();
    wgmma_wait_for<0>();
    if (unit + S::slots < end()) {
      threads_meet(1 + crew, 128);
      if (warp == (unit & 3) && elected()) take(unit + S::slots, slot);
    }
    if (++slot == S::slots) slot = 0, turn ^= 1;
    share_halves(a, q, s);
    fetch(unit + 2);
  }
};

// Two neighbouring values of y, as they lie there.
__device__ __forceinline__ u32 crew_read(const u16 *y) {
  return load_u32(y);
}
__device__ __forceinline__ float2 crew_read(const float *y) {
  return *(const float2 *)y;
}
__device__ __forceinline__ float2 crew_values(u32 pair) {
  return unpack_f16(pair);
}
__device__ __forceinline__ float2 crew_values(float2 pair) {
  return pair;
}

// A fragment's place in y: lanes of rows g and g ^ 1 have two neighbouring features of one row of x each, and eight behind them two more. What lies there,
// where sums are added to it, is read long before they are known.
template <typename S, bool ADD, typename Y> struct crew_place {
  Y *to;
  bool any;
  decltype(crew_read((const Y *)0)) low, high;

  __device__ __forceinline__ crew_place(Y *y, int fragment, int lane) {
    const int g = lane >> 2, tile = fragment / 2, row = fragment % 2 * 8 + 2 * (lane & 3) + (g & 1);
    any = tile < S::row_tiles && row < S::rows;
    to = y + (size_t)row * S::outputs + tile * 16 + (g & ~1);
    if (ADD && any) {
      low = crew_read(to);
      high = crew_read(to + 8);
    }
  }
  __device__ __forceinline__ void put(float4 v, int lane) {
    const bool odd = lane & 4;
    const float a = __shfl_xor_sync(~0u, odd ? v.x : v.y, 4), b = __shfl_xor_sync(~0u, odd ? v.z : v.w, 4);
    if (!any) return;
    float2 first = make_float2(odd ? a : v.x, odd ? v.y : a), second = make_float2(odd ? b : v.z, odd ? v.w : b);
    if (ADD) {
      const float2 p = crew_values(low), q = crew_values(high);
      first = make_float2(first.x + p.x, first.y + p.y);
      second = make_float2(second.x + q.x, second.y + q.y);
    }
    put_pair(to, first.x, first.y, false);
    put_pair(to + 8, second.x, second.y, false);
  }
};

template <typename S, int END, typename Y>
__device__ __forceinline__ void crew_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y) {
  SHARED_MEMORY(smem);
  const u32 begun = cycles_now();
  dependents_may_start();
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31, thread = threadIdx.x & 127;
  const int rank = blockIdx.x & 1, group = blockIdx.x >> 1, crew = warp >> 2, part = rank * S::crews + crew;
  if (group >= S::groups) {
    cluster_arrive_bare();
    cluster_wait();
    wait_for_predecessors();
    return;
  }
  const u32 base = shared_address(smem), sent = base + S::bars_at;  // barriers: sums of the other block
  crew_part<S> me;
  me.x = x;
  me.codes = codes;
  me.scales = scales;
  me.first = S::units * part / S::parts;
  me.have = S::units * (part + 1) / S::parts - me.first;
  me.group = group;
  me.crew = crew;
  me.warp = warp & 3;
  me.slots = base + crew * S::slots * S::unit_bytes;
  me.ring = base + S::rings_at + crew * S::ring_bytes;
  me.here = sent + 8 * (S::half + crew * (S::stages + S::slots));
  me.came = me.here + 8 * S::stages;
  me.codes_at = smem + (me.ring - base) + me.warp * S::each * 512 + lane * 16;
  me.scales_at = smem + (me.ring - base) + S::codes_bytes + me.warp * S::each * 64 + (lane >> 2) * 8;
  me.slot = 0;
  me.turn = 0;
  if (me.warp == 0 && elected()) {
    const u64 policy = policy_evict_first();
    prefetch_tensor_map(codes);
    prefetch_tensor_map(scales);
#pragma unroll
    for (int s = 0; s < S::stages; s++) barrier_init(me.here + 8 * s, 1);
    barrier_init_fence();
#pragma unroll 1
    for (int s = 0; s < S::stages && s * S::each < me.end(); s++) {
      while (cycles_now() - begun < S::rest + s * S::step) rest_briefly();
      me.fill(s, policy);
    }
  }
  __syncwarp();
  if (thread < S::slots) barrier_init(me.came + 8 * thread, 1);
  if (threadIdx.x == 0) prefetch_tensor_map(x);
  if (threadIdx.x < S::half) {
    barrier_init(sent + 8 * threadIdx.x, 1);
    barrier_expect(sent + 8 * threadIdx.x, 512);
  }
  if (thread < S::slots || threadIdx.x < S::half) barrier_init_fence();
  __syncthreads();
  cluster_arrive_bare();

  u32 a[4][4];
  float d[8] = {};
  me.fetch(0);
  share_halves(a, me.q, me.s);
  me.fetch(1);
  wait_for_predecessors();
#pragma unroll
  for (int i = 0; i < S::slots; i++)
    if (me.warp == i % 4 && i < me.end() && elected()) me.take(i, i);
  const int owner = warp >= S::half, at = owner ? warp - S::half : warp;  // of a fragment that this warp sums up in the end
  const bool finishes = warp < S::fragments && owner == rank;
  crew_place<S, END == GEMM_ADD, Y> place(y, finishes ? group * S::fragments + warp : S::row_tiles * 2, lane);
  u32 x_at = 0x10000 + (me.slots >> 4);  // the low word of what describes x of a slot
  asm volatile("" : "+r"(x_at));
  if constexpr (S::even) {
#pragma unroll
    for (int unit = 0; unit < S::most; unit++) me.multiply(d, a, x_at, unit);
  } else {
#pragma unroll 1
    for (int unit = 0; unit < me.have; unit++) me.multiply(d, a, x_at, unit);
  }
  wgmma_touch(d);

  // Sums of all crews of the block, where their weights were, then of both blocks.
  unsigned char *own = smem + S::rings_at + lane * 16;
  threads_meet(1 + crew, 128);  // all of the crew have read their codes
#pragma unroll
  for (int c = 0; c < 2; c++)
    *(float4 *)(own + crew * S::ring_bytes + (me.warp * 2 + c) * 512) = make_float4(d[c * 4] * 64.0f, d[c * 4 + 1] * 64.0f, d[c * 4 + 2] * 64.0f, d[c * 4 + 3] * 64.0f);
  __syncthreads();
  cluster_wait();
  if (warp >= S::fragments) return;
  float4 v[S::crews];
#pragma unroll
  for (int k = 0; k < S::crews; k++) v[k] = *(const float4 *)(own + k * S::ring_bytes + warp * 512);
  float4 sum = v[0];
#pragma unroll
  for (int k = 1; k < S::crews; k++) sum = make_float4(sum.x + v[k].x, sum.y + v[k].y, sum.z + v[k].z, sum.w + v[k].w);
  const u32 there = base + S::sent_at + (at * 32 + lane) * 16;
  if (!finishes) {
    send_cluster4(cluster_address(there, owner), sum, cluster_address(sent + 8 * at, owner));
  } else {
    barrier_wait(sent + 8 * at, 0);
    const float4 o = *(const float4 *)(smem + (there - base));
    place.put(make_float4(sum.x + o.x, sum.y + o.y, sum.z + o.z, sum.w + o.w), lane);
  }
}
