// share64_q4: y[n, N] = x[n, K] . w[N, K]^T for 33 to 128 rows of x in f16, all of them in one tile, on weights of the packed layout "mma".
//
// Weights are the A operand of wgmma, from registers: a crew of four warps owns 64 rows of weights and turns codes into halves while
// the tensor cores work for the other crews. Every block has an equal share: TILES times 64 rows and one of SPLIT slices of K, CREWS tiles
// a pass. One warp fills a ring whose stages hold two units of 64 of K, of weights and of x; a pair of blocks with the same slice of K
// fetches every second stage of x for each other. The parts of a sum meet in the workspace: the crews that worked on a tile each finish
// some rows of x of it, in one order of the parts, so that results do not vary. Two halves (NEAR) meet in the shared memory of a cluster.
#pragma once
#include "gemm_q4.cuh"
#include "put_pair.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
template <int a_outputs, int a_inputs, int a_rows, int a_width, int a_crews, int a_tiles, int a_stages, int a_split, int a_pair, int a_near, int a_room, int a_tall>
struct share_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, width = a_width, tall = a_tall, tiles = a_tiles;
  static constexpr int crews = a_crews, wide = crews * tall;  // warpgroups that multiply; tiles of a pass
  static constexpr int stages = a_stages, split = a_split, pair = a_pair, near = a_near, met = pair > 1 || near;  // met: by a cluster
  static constexpr int all = (outputs + 63) / 64, passes = (tiles + wide - 1) / wide;  // tiles of 64 rows of weights: all, of a block
  static constexpr int steps = (inputs / 64 + 1) / 2, columns = width / 8;  // steps: of two units of K; behind K there are zeros
  static constexpr int few = a_room == 2 ? 24 : crews == 2 ? 40 : crews == 3 ? 32 : 24, many = a_room == 2 ? 104 : crews == 2 ? 232 : crews == 3 ? 160 : 112;  // registers
  static constexpr int x_bytes = width * 128, w_bytes = 4 * 1152;  // of a unit; of a tile in a stage
  static constexpr int w_at = stages * 2 * x_bytes, near_at = w_at + stages * wide * w_bytes;
  static constexpr int half_bytes = near ? columns / 2 * 2048 : 0;  // of a tile: what the other block of a cluster sends
  static constexpr int bars_at = near_at + tiles * half_bytes, bytes = bars_at + 16 * stages + (near ? 8 * tiles : 0);
};

// Who a block is: its tiles and its slice of K.
template <typename S> struct share_block {
  u32 base;
  int part, first, last, from, end;  // slice of K in steps; tiles

  __device__ __forceinline__ u32 bar(int stage) { return base + S::bars_at + 16 * stage; }  // full, then empty
  __device__ __forceinline__ u32 here(int i) { return bar(S::stages) + 8 * i; }               // the other part of the block's tile i is here
  __device__ __forceinline__ int steps() { return last - first; }
  __device__ __forceinline__ int tile(int pass) { return from + pass * S::wide; }
  __device__ __forceinline__ int active(int pass) { return min(S::wide, end - tile(pass)); }  // tiles of a pass, perhaps less than none
};

// What is copied next into a ring that two threads fill: one with weights, at once, the other with x, after the kernels before.
template <typename S> struct share_ring {
  share_block<S> me;
  int side, k, pass, stage, step;
  u32 parity;

  __device__ __forceinline__ void weights(const tensor_map *codes, const tensor_map *scales) {
    const int n = me.active(pass), tile = me.tile(pass) * 4;
    const u32 bar = me.bar(stage);
    u32 to = me.base + S::w_at + stage * S::wide * S::w_bytes;
    barrier_expect(bar, max(n, 0) * S::w_bytes + 2 * S::x_bytes);
#pragma unroll 1
    for (int i = 0; i < n; i++, to += S::w_bytes) {
      copy_tensor_3d(to, codes, 0, 2 * k, tile + i * 4, bar);
      copy_tensor_3d(to + 4096, scales, 0, 2 * k, tile + i * 4, bar);
    }
  }
  __device__ __forceinline__ void rows(const tensor_map *x) {
    const u32 to = me.base + stage * 2 * S::x_bytes, bar = me.bar(stage);
    if (S::pair == 1) {
      copy_tensor_3d(to, x, 0, 0, 2 * k, bar);
    } else if (step % S::pair == side) {
      copy_tensor_3d_to(to, x, 0, 0, 2 * k, bar, (1 << S::pair) - 1);
    }
  }
  // Until what was here has been used, if there was anything.
  __device__ __forceinline__ void wait() {
    if (step >= S::stages) barrier_wait(me.bar(stage) + 8, parity);
  }
  __device__ __forceinline__ void next() {
    if (++k == me.last) {
      k = me.first;
      pass++;
    }
    step++;
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

template <typename S> struct share_crew {
  share_block<S> at;
  const unsigned char *codes, *scales;  // of this lane in the first stage
  u32 freeing;                          // stages that are wanted again
  int lane, stage, step;
  u32 parity;
  uint4 q[S::tall][2];
  uint2 f[S::tall][2];

  // Codes and scales of a stage's two units.
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int m = 0; m < S::tall; m++)
#pragma unroll
      for (int u = 0; u < 2; u++) {
        q[m][u] = *(const uint4 *)(codes + (stage * S::wide + m) * S::w_bytes + u * 512);
        f[m][u] = *(const uint2 *)(scales + (stage * S::wide + m) * S::w_bytes + u * 64);
      }
  }
  // The low word of what describes x of a stage's unit.
  __device__ __forceinline__ u32 rows(int unit) { return ((at.base >> 4 & 0x3fff) | 0x10000) + stage * (S::x_bytes / 8) + unit * (S::x_bytes / 16); }
  __device__ __forceinline__ void multiply(float (&d)[S::width / 2], u32 (&a)[4][4], u32 x) {
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; i++) wgmma_rs(d, a[i], wgmma_rows128_at(x + 2 * i));
    wgmma_end();
  }
  // The stage before this one goes back to all that copy into it.
  __device__ __forceinline__ void release_before() {
    const u32 bar = at.bar(stage == 0 ? S::stages - 1 : stage - 1) + 8;
    const bool again = (u32)(step - 1) < freeing;
    if (S::pair > 1) {
      if (again && lane < S::pair) barrier_arrive_cluster(cluster_address(bar, lane));
    } else {
      if (again && lane == 0) barrier_arrive(bar);
    }
  }
  __device__ __forceinline__ void next() {
    step++;
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  // The tiles of a pass: while one is multiplied with a unit, the fragments of what comes next are made of codes that were fetched before.
  __device__ __forceinline__ void multiply_all(float (&d)[S::tall][S::width / 2]) {
    u32 a[4][4], b[4][4];
    const int steps = at.steps();
    barrier_wait(at.bar(stage), parity);
    fetch();
    gemm_halves(a, q[0][0], f[0][0]);
#pragma unroll 1
    for (int k = 0; k + 1 < steps; k++) {
      const u32 x = rows(1);
      multiply(d[0], a, rows(0));
      wgmma_wait_for<1>();  // all of the stage before
      release_before();
      if (S::tall == 2) {
        gemm_halves(b, q[1 % S::tall][0], f[1 % S::tall][0]);
        multiply(d[1 % S::tall], b, rows(0));
        wgmma_wait_for<1>();
        gemm_halves(a, q[0][1], f[0][1]);
        multiply(d[0], a, x);
        wgmma_wait_for<1>();
      }
      gemm_halves(b, q[S::tall - 1][1], f[S::tall - 1][1]);
      next();
      barrier_wait(at.bar(stage), parity);
      fetch();
      multiply(d[S::tall - 1], b, x);
      wgmma_wait_for<1>();
      gemm_halves(a, q[0][0], f[0][0]);
    }
    multiply(d[0], a, rows(0));
    wgmma_wait_for<1>();
    if (S::tall == 2) {
      gemm_halves(b, q[1 % S::tall][0], f[1 % S::tall][0]);
      multiply(d[1 % S::tall], b, rows(0));
      wgmma_wait_for<1>();
      gemm_halves(a, q[0][1], f[0][1]);
      multiply(d[0], a, rows(1));
      wgmma_wait_for<1>();
    }
    gemm_halves(b, q[S::tall - 1][1], f[S::tall - 1][1]);
    multiply(d[S::tall - 1], b, rows(1));
    wgmma_wait_for<0>();
    release_before();
    next();
  }
  // The stages of a pass in which this crew has no tile.
  __device__ __forceinline__ void idle() {
#pragma unroll 1
    for (int k = 0; k < at.steps(); k++) {
      release_before();
      barrier_wait(at.bar(stage), parity);
      next();
    }
  }
};

// Sums of a fragment of eight rows of x -> y: lanes trade them until each has four neighbouring features of one row.
template <typename S, int END, typename Y> __device__ __forceinline__ void share_put(Y *y, float4 v, int feature, int column, int lane) {
  const bool odd = lane & 4, far = lane & 8;
  const float a = __shfl_xor_sync(~0u, odd ? v.x : v.y, 4), b = __shfl_xor_sync(~0u, odd ? v.z : v.w, 4);
  const float low[2] = {odd ? a : v.x, odd ? v.y : a}, high[2] = {odd ? b : v.z, odd ? v.w : b};  // features 2 (g / 2) and 8 behind that
  const float c = __shfl_xor_sync(~0u, far ? low[0] : high[0], 8), d = __shfl_xor_sync(~0u, far ? low[1] : high[1], 8);
  const int row = column * 8 + (lane & 3) * 2 + (odd ? 1 : 0);
  if (row >= S::rows || feature >= S::outputs) return;
  const float4 four = far ? make_float4(c, d, high[0], high[1]) : make_float4(low[0], low[1], c, d);
  put_four(y + (size_t)row * S::outputs + feature + (lane >> 2 & 4) + (far ? 8 : 0), four, END == GEMM_ADD);
}

// Two blocks of a cluster have the halves of K: each sends the other some rows of x of its parts, and finishes the rest.
template <typename S, int END, typename Y> __device__ __forceinline__ void share_swap(share_block<S> &me, const unsigned char *smem, float (&d)[S::width / 2], Y *y, int i, int thread) {
  constexpr int half = S::columns / 2;
  const u32 to = me.base + S::near_at + i * S::half_bytes + thread * 16, other = cluster_address(to, me.part ^ 1), bar = cluster_address(me.here(i), me.part ^ 1);
  float4 mine[half];
#pragma unroll
  for (int c = 0; c < half; c++) {
    float4 low = {d[c * 4], d[c * 4 + 1], d[c * 4 + 2], d[c * 4 + 3]};
    float4 high = {d[(c + half) * 4], d[(c + half) * 4 + 1], d[(c + half) * 4 + 2], d[(c + half) * 4 + 3]};
    send_cluster4(other + c * 2048, me.part ? low : high, bar);
    mine[c] = me.part ? high : low;
  }
  barrier_wait(me.here(i), 0);
  const float4 *got = (const float4 *)(smem + S::near_at + i * S::half_bytes) + thread;
#pragma unroll
  for (int c = 0; c < half; c++) {
    float4 v = got[c * 128];
    v = make_float4(mine[c].x + v.x, mine[c].y + v.y, mine[c].z + v.z, mine[c].w + v.w);
    share_put<S, END>(y, v, (me.from + i) * 64 + thread / 32 * 16, me.part * half + c, thread & 31);
  }
}

// Four sums as they lie in the workspace: no word of them is zero, so that what is zero has not come yet.
__device__ __forceinline__ void share_lay_down(float4 *p, float4 v) {
  uint4 w = {__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z), __float_as_uint(v.w)};
  const u32 minus = 0x80000000u;
  store_relaxed4(p, make_uint4(w.x ? w.x : minus, w.y ? w.y : minus, w.z ? w.z : minus, w.w ? w.w : minus));
}

// Blocks with the same tile and other slices of K: each lays down its part for those that finish them, and finishes some rows of x. What
// was read becomes zero again.
template <typename S, int END, typename Y> __device__ __forceinline__ void share_meet(share_block<S> &me, float4 *parts, float (&d)[S::width / 2], Y *y, int tile, int thread) {
  constexpr int most = (S::columns + S::split - 1) / S::split;
  const int from = S::columns * me.part / S::split, end = S::columns * (me.part + 1) / S::split;
  parts += (size_t)tile * S::split * S::columns * 128 + thread;
  float4 mine[most];
#pragma unroll
  for (int c = 0; c < S::columns; c++) {
    float4 v = {d[c * 4], d[c * 4 + 1], d[c * 4 + 2], d[c * 4 + 3]};
    if (c < from || c >= end) share_lay_down(parts + (me.part * S::columns + c) * 128, v);
#pragma unroll
    for (int j = 0; j < most; j++)
      if (c == from + j) mine[j] = v;
  }
  uint4 v[most][S::split];
  bool here;
  do {
    here = true;
#pragma unroll
    for (int j = 0; j < most; j++)
#pragma unroll
      for (int s = 0; s < S::split; s++) {
        if (s == me.part || from + j >= end) continue;
        v[j][s] = load_relaxed4(parts + (s * S::columns + from + j) * 128);
        here = here && v[j][s].x && v[j][s].y && v[j][s].z && v[j][s].w;
      }
  } while (!__all_sync(~0u, here));
#pragma unroll
  for (int j = 0; j < most; j++) {
    if (from + j >= end) break;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int s = 0; s < S::split; s++) {
      const bool own = s == me.part;
      sum.x += own ? mine[j].x : __uint_as_float(v[j][s].x);
      sum.y += own ? mine[j].y : __uint_as_float(v[j][s].y);
      sum.z += own ? mine[j].z : __uint_as_float(v[j][s].z);
      sum.w += own ? mine[j].w : __uint_as_float(v[j][s].w);
      if (!own) store_relaxed4(parts + (s * S::columns + from + j) * 128, make_uint4(0, 0, 0, 0));
    }
    share_put<S, END>(y, sum, tile * 64 + thread / 32 * 16, from + j, thread & 31);
  }
}

template <typename S, int END, typename Y>
__device__ __forceinline__ void share64_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y, void *workspace) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;  // known to be the same in a warp
  const int group = blockIdx.x / (S::split * S::pair) * S::pair + blockIdx.x % S::pair;
  share_block<S> me;
  me.base = shared_address(smem);
  me.part = blockIdx.x / S::pair % S::split;
  me.first = S::steps * me.part / S::split;
  me.last = S::steps * (me.part + 1) / S::split;
  asm volatile("" : "+r"(me.last));  // were the number of steps known, the loop would be unrolled at its ends, and wgmma wait each time
  me.from = group * S::tiles;
  me.end = min(me.from + S::tiles, S::all);
  const int all = me.steps() * S::passes;
  if (warp >= 4 * S::crews) {
    registers_give<S::few>();
    share_ring<S> ring = {me, (int)(blockIdx.x % S::pair), me.first, 0, 0, 0, 1};
    const int which = threadIdx.x - 128 * S::crews;
    if (which == 0) {
      for (int s = 0; s < S::stages; s++) {
        barrier_init(me.bar(s), 1);
        barrier_init(me.bar(s) + 8, 4 * S::crews * S::pair);
      }
      for (int i = 0; S::near && i < S::tiles; i++) {
        barrier_init(me.here(i), 1);
        barrier_expect(me.here(i), S::half_bytes);
      }
      barrier_init_fence();
    }
    __syncthreads();
    dependents_may_start();
    if (S::met) cluster_arrive_bare();  // who reaches into another block waits for it at once, the others when they have time
    if (which == 32) prefetch_tensor_map(x);
    __syncwarp();
    if (S::pair > 1 && warp == 4 * S::crews + 1) cluster_wait();
    if (which == 0) {
#pragma unroll 1
      for (; ring.step < all; ring.next()) {
        ring.wait();
        ring.weights(codes, scales);
      }
    } else if (which == 32) {
      wait_for_predecessors();
#pragma unroll 1
      for (; ring.step < all; ring.next()) {
        ring.wait();
        ring.rows(x);
      }
    }
    __syncwarp();
    if (S::met && !(S::pair > 1 && warp == 4 * S::crews + 1)) cluster_wait();
  } else {
    registers_take<S::many>();
    __syncthreads();
    dependents_may_start();
    if (S::met) cluster_arrive_bare();
    const int crew = warp >> 2, thread = threadIdx.x & 127;
    const unsigned char *mine = smem + S::w_at + crew * S::tall * S::w_bytes;
    share_crew<S> it = {me, mine + (warp & 3) * 1024 + lane * 16, mine + 4096 + (warp & 3) * 128 + (lane >> 2) * 8, (u32)max(all - S::stages, 0), lane, 0, 0, 0};
#pragma unroll 1
    for (int pass = 0; pass < S::passes; pass++) {
      if (crew * S::tall >= me.active(pass)) {
        it.idle();
        if (S::met && pass == 0) cluster_wait();
        continue;
      }
      float d[S::tall][S::width / 2] = {};
      it.multiply_all(d);
#pragma unroll
      for (int m = 0; m < S::tall; m++) wgmma_touch(d[m]);
      if (pass == 0) {
        if (S::met) cluster_wait();
        wait_for_predecessors();
      }
#pragma unroll
      for (int m = 0; m < S::tall; m++) {
        const int number = pass * S::wide + crew * S::tall + m, tile = me.from + number;
        if (tile >= me.end) break;
        if (S::near) {
          share_swap<S, END>(me, smem, d[m], y, number, thread);
        } else if (S::split > 1) {
          share_meet<S, END>(me, (float4 *)workspace, d[m], y, tile, thread);
        } else {
#pragma unroll
          for (int c = 0; c < S::columns; c++)
            share_put<S, END>(y, make_float4(d[m][c * 4], d[m][c * 4 + 1], d[m][c * 4 + 2], d[m][c * 4 + 3]), tile * 64 + (warp & 3) * 16, c, lane);
        }
      }
    }
  }
}
