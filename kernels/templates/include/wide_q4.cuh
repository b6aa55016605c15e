// wide_q4: y[n, N] = x[n, K] . w[N, K]^T for 9 to 128 rows of x in f16, all of them in one tile, on weights of the packed layout "mma".
//
// As gemm_q4 (weights are the A operand of wgmma, from registers), but the blocks of a cluster share K, so that few tiles of weights
// still fill the GPU. A stage of the ring holds two units of K, of weights and of x: one wait and one release for both. PAIR blocks of the
// cluster that have the same slice of K and other rows fetch every second stage of x for each other. Accumulators go straight to the
// block of the cluster that owns them; two warps there add the parts in their order and write y while the next tile is multiplied.
#pragma once
#include "gemm_q4.cuh"
#include "put_pair.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
template <int a_outputs, int a_inputs, int a_rows, int a_width, int a_tall, int a_crews, int a_stages, int a_split, int a_pair, int a_room>
struct wide_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, width = a_width, tall = a_tall;
  static constexpr int crews = a_crews;  // warpgroups that multiply
  static constexpr int stages = a_stages, split = a_split, pair = a_pair;
  // Registers of a thread: room for one block, or for two, on a multiprocessor.
  static constexpr int few = a_room == 2 ? 24 : crews == 2 ? 40 : 32, many = a_room == 2 ? 104 : crews == 2 ? 232 : crews == 3 ? 160 : 112;
  static constexpr int height = 64 * tall * crews, rows16 = height / 16;
  static constexpr int units = inputs / 64, groups = (outputs + height - 1) / height;
  static constexpr int x_bytes = width * 128, w_bytes = rows16 * 1152;  // of a unit; of a stage
  static constexpr int share = rows16 * (width / 8) / split;            // fragments of 16 features by 8 rows that a block finishes
  static constexpr int w_at = stages * 2 * x_bytes, gathered_at = w_at + stages * w_bytes, gathered_bytes = height * width * 4;
  static constexpr int bars_at = gathered_at + gathered_bytes, bytes = bars_at + 16 * (stages + 1);
};

// Who a block is: its part of K and of the rows, the passes over the tiles.
template <typename S> struct wide_block {
  u32 base;
  int part, side, first, last, clusters;

  __device__ __forceinline__ u32 bar(int stage) { return base + S::bars_at + 16 * stage; }  // full, then empty
  __device__ __forceinline__ u32 gathered() { return bar(S::stages); }                      // all parts are here; parts may be sent
  __device__ __forceinline__ int passes() { return (S::groups + clusters * S::pair - 1) / (clusters * S::pair); }
  __device__ __forceinline__ int group(int pass) { return (pass * clusters + (int)blockIdx.x / (S::split * S::pair)) * S::pair + side; }
  __device__ __forceinline__ int steps() { return (last - first + 1) / 2; }  // stages of a pass
};

// One thread fills the ring: weights at once, x after those before.
template <typename S> struct wide_ring {
  wide_block<S> me;
  const tensor_map *x, *codes, *scales;
  u32 sharers;

  __device__ __forceinline__ void weights(int step, int stage) {
    int k = me.first + step % me.steps() * 2, tile = me.group(step / me.steps()) * S::rows16;
    u32 w = me.base + S::w_at + stage * S::w_bytes, bar = me.bar(stage);
    barrier_expect(bar, S::w_bytes + 2 * S::x_bytes);
    copy_tensor_3d(w, codes, 0, k, tile, bar);
    copy_tensor_3d(w + S::rows16 * 1024, scales, 0, k, tile, bar);
  }
  __device__ __forceinline__ void rows(int step, int stage) {
    int k = me.first + step % me.steps() * 2;
    u32 to = me.base + stage * 2 * S::x_bytes;
    if (S::pair == 1) {
      copy_tensor_3d(to, x, 0, 0, k, me.bar(stage));
    } else if (step % S::pair == me.side) {
      copy_tensor_3d_to(to, x, 0, 0, k, me.bar(stage), sharers);
    }
  }
  __device__ __forceinline__ void rest(int all) {
    for (int s = 0; s < S::stages && s < all; s++) rows(s, s);
    int stage = 0;
    u32 parity = 0;
#pragma unroll 1
    for (int step = S::stages; step < all; step++) {
      barrier_wait(me.bar(stage) + 8, parity);
      weights(step, stage);
      rows(step, stage);
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }
};

template <typename S> struct wide_crew {
  wide_block<S> at;
  const unsigned char *smem;
  int lane, mine, stage;  // mine: first row tile of this warp in the block's
  u32 parity;

  __device__ __forceinline__ void fragments(u32 (&a)[S::tall][4][4], int unit) {
    const unsigned char *w = smem + S::w_at + stage * S::w_bytes;
#pragma unroll
    for (int m = 0; m < S::tall; m++)
      gemm_fragments(a[m], w + (mine + m * 4) * 1024 + unit * 512, w + S::rows16 * 1024 + (mine + m * 4) * 128 + unit * 64, lane);
  }
  __device__ __forceinline__ void multiply(float (&d)[S::tall][S::width / 2], u32 (&a)[S::tall][4][4], int unit) {
    gemm_multiply<S>(d, a, wgmma_rows128(at.base + (stage * 2 + unit) * S::x_bytes));
  }
  // A stage that is used up goes back to all that copy into it.
  __device__ __forceinline__ void release(int which) {
    if (S::pair > 1) {
      if (lane < S::pair) barrier_arrive_cluster(cluster_address(at.bar(which) + 8, lane * S::split + at.part));
    } else {
      if (lane == 0) barrier_arrive(at.bar(which) + 8);
    }
  }
  // Sums of this warp to the blocks that own them, once those have finished what came before.
  __device__ __forceinline__ void send(float (&d)[S::tall][S::width / 2], int pass) {
    if (pass > 0) barrier_wait(at.gathered() + 8, (pass - 1) & 1);
#pragma unroll
    for (int t = 0; t < S::tall; t++) {
      wgmma_touch(d[t]);
#pragma unroll
      for (int c = 0; c < S::width / 8; c++) {
        int f = (mine + t * 4) * (S::width / 8) + c, owner = at.side * S::split + f / S::share;
        u32 to = at.base + S::gathered_at + ((at.part * S::share + f % S::share) * 32 + lane) * 16;
        float4 v = {d[t][c * 4], d[t][c * 4 + 1], d[t][c * 4 + 2], d[t][c * 4 + 3]};
        send_cluster4(cluster_address(to, owner), v, cluster_address(at.gathered(), owner));
      }
    }
  }
  __device__ __forceinline__ void next() {
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  // One tile: while a unit is multiplied, the fragments of the next are made. rest: stages after this tile's.
  __device__ __forceinline__ void tile(float (&d)[S::tall][S::width / 2], int rest) {
    u32 a[S::tall][4][4], b[S::tall][4][4];
    const int steps = at.steps();
    barrier_wait(at.bar(stage), parity);
    fragments(a, 0);
#pragma unroll 1
    for (int k = 0; k + 1 < steps; k++) {
      multiply(d, a, 0);
      wgmma_wait_for<1>();  // all of the stage before
      if (k > 0 && steps - k + rest >= S::stages) release(stage == 0 ? S::stages - 1 : stage - 1);
      fragments(b, 1);
      multiply(d, b, 1);
      wgmma_wait_for<1>();
      next();
      barrier_wait(at.bar(stage), parity);
      fragments(a, 0);
    }
    multiply(d, a, 0);
    if ((at.last - at.first & 1) == 0) {
      fragments(b, 1);
      multiply(d, b, 1);
    }
    wgmma_wait_for<0>();
    if (steps > 1 && 1 + rest >= S::stages) release(stage == 0 ? S::stages - 1 : stage - 1);
    if (rest >= S::stages) release(stage);
    next();
  }
};

// Some threads: what this block owns of a tile, from all parts to y, two features of one row of x a thread.
template <typename S, int END, typename Y>
__device__ __forceinline__ void wide_put(wide_block<S> &me, const float *gathered, Y *y, int pass, int thread, int threads) {
#pragma unroll 1
  for (int i = thread; i < S::share * 64; i += threads) {
    int f = i / 64, pair = i % 8, r = i / 8 % 8, all = me.part * S::share + f;
    const float2 sum = sum_parts<S>(gathered, f, pair, r);
    int feature = (me.group(pass) * S::rows16 + all / (S::width / 8)) * 16 + pair * 2, row = all % (S::width / 8) * 8 + r;
    if (feature < S::outputs && row < S::rows) put_pair(y + (size_t)row * S::outputs + feature, sum.x, sum.y, END == GEMM_ADD);
  }
}

// Sixty-four threads, while the others multiply: every tile but the last, which those finish themselves.
template <typename S, int END, typename Y> __device__ __forceinline__ void wide_finish(wide_block<S> &me, const float *gathered, Y *y, int thread) {
  for (int pass = 0; pass + 1 < me.passes(); pass++) {
    barrier_wait(me.gathered(), pass & 1);
    if (thread == 0) barrier_expect(me.gathered(), S::gathered_bytes);
    wide_put<S, END>(me, gathered, y, pass, thread, 64);
    threads_meet(1, 64);
    if (thread < S::split) barrier_arrive_cluster(cluster_address(me.gathered() + 8, me.side * S::split + thread));
  }
}

template <typename S, int END, typename Y>
__device__ __forceinline__ void wide_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y) {
  SHARED_MEMORY(smem);
  const int crew = threadIdx.x >> 7, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, rank = blockIdx.x % (S::split * S::pair);
  wide_block<S> me;
  me.base = shared_address(smem);
  me.part = rank % S::split;
  me.side = rank / S::split;
  me.first = S::units * me.part / S::split;
  me.last = S::units * (me.part + 1) / S::split;
  me.clusters = gridDim.x / (S::split * S::pair);
  const int all = me.steps() * me.passes();
  wide_ring<S> ring = {me, x, codes, scales, 0};
  for (int p = 0; p < S::pair; p++) ring.sharers |= 1u << (p * S::split + me.part);
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(me.bar(s), 1);
      barrier_init(me.bar(s) + 8, 4 * S::crews * S::pair);
    }
    barrier_init(me.gathered(), 1);
    barrier_init(me.gathered() + 8, S::split);
    barrier_expect(me.gathered(), S::gathered_bytes);
    barrier_init_fence();
    for (int s = 0; s < S::stages && s < all; s++) ring.weights(s, s);
    prefetch_tensor_map(x);
  }
  __syncthreads();
  dependents_may_start();
  cluster_arrive_bare();
  if (crew == 0) {
    registers_give<S::few>();
    cluster_wait();
    wait_for_predecessors();
    if (threadIdx.x == 0) ring.rest(all);
    if (warp > 1) wide_finish<S, END>(me, (const float *)(smem + S::gathered_at), y, threadIdx.x - 64);
  } else {
    registers_take<S::many>();
    cluster_wait();
    wide_crew<S> it = {me, smem, lane, (crew - 1) * S::tall * 4 + (warp & 3), 0, 0};
    const int last = me.passes() - 1;
#pragma unroll 1
    for (int pass = 0; pass <= last; pass++) {
      float d[S::tall][S::width / 2] = {};
      it.tile(d, all - (pass + 1) * me.steps());
      it.send(d, pass);
    }
    wait_for_predecessors();
    barrier_wait(me.gathered(), last & 1);
    wide_put<S, END>(me, (const float *)(smem + S::gathered_at), y, last, threadIdx.x - 128, 128 * S::crews);
  }
}
