// wide_q4: y[n, N] = x[n, K] . w[N, K]^T for 9 to 128 rows of x in f16, all of them in one tile, on weights of the packed layout "mma".
//
// As gemm_q4 (weights are the A operand of wgmma, from registers), but the blocks of a cluster share K, so that few tiles of weights
// still fill the GPU and a block needs only its slice of x. That slice stays in shared memory (slots for all of it), or passes
// through a ring of slots. PAIR blocks of the cluster that have the same slice and other rows fetch every second piece of it for each
// other. Accumulators go straight to the block of the cluster that owns them; two warps there add the parts in their order and
// write y while the next tile is multiplied.
#pragma once
#include "gemm_q4.cuh"
#include "put_pair.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
template <int a_outputs, int a_inputs, int a_rows, int a_width, int a_tall, int a_crews, int a_stages, int a_split, int a_pair, int a_slots, int a_room>
struct wide_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, width = a_width, tall = a_tall, crews = a_crews;  // crews: warpgroups that multiply
  static constexpr int stages = a_stages, split = a_split, pair = a_pair, slots = a_slots;
  // Registers of a thread: room for one block, or for two, on a multiprocessor.
  static constexpr int few = a_room == 2 ? 24 : crews == 2 ? 40 : 32, many = a_room == 2 ? 104 : crews == 2 ? 232 : crews == 3 ? 160 : 112;
  static constexpr int height = 64 * tall * crews, rows16 = height / 16;
  static constexpr int units = inputs / 64, slice = (units + split - 1) / split, groups = (outputs + height - 1) / height;
  static constexpr bool resident = slots >= slice;
  static constexpr int x_bytes = width * 128, w_bytes = rows16 * 576;
  static constexpr int share = rows16 * (width / 8) / split;  // fragments of 16 features by 8 rows that a block finishes
  static constexpr int w_at = slots * x_bytes, gathered_at = w_at + stages * w_bytes, gathered_bytes = height * width * 4;
  static constexpr int bars_at = gathered_at + gathered_bytes, bytes = bars_at + 16 * (stages + slots + 1);
};

// Who a block is: its part of K and of the rows, the passes over the tiles.
template <typename S> struct wide_block {
  u32 base;
  int part, side, first, last, clusters;

  __device__ __forceinline__ u32 weights(int stage) { return base + S::bars_at + 16 * stage; }  // full, then empty
  __device__ __forceinline__ u32 piece(int slot) { return base + S::bars_at + 16 * (S::stages + slot); }
  __device__ __forceinline__ u32 gathered() { return base + S::bars_at + 16 * (S::stages + S::slots); }  // all parts are here; parts may be sent
  __device__ __forceinline__ int passes() { return (S::groups + clusters * S::pair - 1) / (clusters * S::pair); }
  __device__ __forceinline__ int group(int pass) { return (pass * clusters + (int)blockIdx.x / (S::split * S::pair)) * S::pair + side; }
  __device__ __forceinline__ int steps() { return last - first; }
};

template <typename S> __device__ __forceinline__ void wide_weights(wide_block<S> &me, const tensor_map *codes, const tensor_map *scales) {
  int stage = 0;
  u32 parity = 1;
  for (int pass = 0; pass < me.passes(); pass++)
#pragma unroll 1
    for (int k = me.first; k < me.last; k++) {
      u32 bar = me.weights(stage), w = me.base + S::w_at + stage * S::w_bytes;
      barrier_wait(bar + 8, parity);
      barrier_expect(bar, S::w_bytes);
      copy_tensor_2d(w, codes, k * 128, me.group(pass) * S::rows16, bar);
      copy_tensor_2d(w + S::rows16 * 512, scales, k * 32, me.group(pass) * S::rows16, bar);
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
}

// Pieces of x, every PAIR-th of them, to all blocks that share the slice.
template <typename S> __device__ __forceinline__ void wide_pieces(wide_block<S> &me, const tensor_map *x) {
  u32 sharers = 0;
  for (int p = 0; p < S::pair; p++) sharers |= 1u << (p * S::split + me.part);
  int all = me.steps() * (S::resident ? 1 : me.passes());
#pragma unroll 1
  for (int j = me.side; j < all; j += S::pair) {
    int slot = j % S::slots, use = j / S::slots;
    if (use > 0) barrier_wait(me.piece(slot) + 8, (use - 1) & 1);
    int k = me.first + j % me.steps();
    if (S::pair > 1) {
      copy_tensor_2d_to(me.base + slot * S::x_bytes, x, k * 64, 0, me.piece(slot), sharers);
    } else {
      copy_tensor_2d(me.base + slot * S::x_bytes, x, k * 64, 0, me.piece(slot));
    }
  }
}

template <typename S> struct wide_crew {
  wide_block<S> at;
  unsigned char *smem;
  int lane, warp, mine;  // warp: among those that multiply; mine: first row tile of this warp in the block's
  int stage, used, step, begun, slot, all;  // used: stage whose fragments are held; begun: first step of this pass, before which all slots are free
  u32 parity, turn;

  // Fragments of the stage that comes next. It goes back to the producer once they have been used: only then the loads have ended.
  __device__ __forceinline__ void fragments(u32 (&a)[S::tall][4][4]) {
    barrier_wait(at.weights(stage), parity);
    unsigned char *w = smem + S::w_at + stage * S::w_bytes;
#pragma unroll
    for (int m = 0; m < S::tall; m++) gemm_fragments(a[m], w + (mine + m * 4) * 512, w + S::rows16 * 512 + (mine + m * 4) * 64, lane);
    used = stage;
    if (++stage == S::stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  // The slot of a step that is done goes back to whoever fetches into it next.
  __device__ __forceinline__ void release(int j, int from) {
    if (S::resident || j < begun || j + S::slots >= all || lane != 0) return;
    if (warp == 0) barrier_expect(at.piece(from), S::x_bytes);
    if (S::pair > 1) {  // where the piece was fetched
      barrier_arrive_cluster(cluster_address(at.piece(from) + 8, j % S::pair * S::split + at.part));
    } else {
      barrier_arrive(at.piece(from) + 8);
    }
  }
  template <bool LAST> __device__ __forceinline__ void multiply(float (&d)[S::tall][S::width / 2], u32 (&a)[S::tall][4][4], u32 (&other)[S::tall][4][4]) {
    barrier_wait(at.piece(slot), S::resident ? 0 : turn);
    u64 b = wgmma_rows128(at.base + slot * S::x_bytes);
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int m = 0; m < S::tall; m++) wgmma_rs(d[m], a[m][i], b + WGMMA_STEP(32 * i));
    wgmma_end();
    if (lane == 0) barrier_arrive(at.weights(used) + 8);
    int before = slot == 0 ? S::slots - 1 : slot - 1;
    if (LAST) {
      wgmma_wait_for<0>();
      release(step - 1, before);
      release(step, slot);
    } else {
      wgmma_wait_for<1>();
      release(step - 1, before);
      fragments(other);
    }
    step++;
    if (++slot == S::slots) {
      slot = 0;
      turn ^= 1;
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
  __device__ __forceinline__ void run() {
#pragma unroll 1
    for (int pass = 0; pass < at.passes(); pass++) {
      float d[S::tall][S::width / 2] = {};
      u32 a[S::tall][4][4], b[S::tall][4][4];
      int steps = at.steps(), k = 0;
      if (S::resident) step = slot = 0;
      begun = step;
      fragments(a);
#pragma unroll 1
      for (; k + 2 < steps; k += 2) {
        multiply<false>(d, a, b);
        multiply<false>(d, b, a);
      }
      if (k + 2 == steps) {
        multiply<false>(d, a, b);
        multiply<true>(d, b, a);
      } else {
        multiply<true>(d, a, b);
      }
      send(d, pass);
    }
  }
};

// Some threads: what this block owns of a tile, from all parts to y, two features of one row of x a thread.
template <typename S, int END, typename Y>
__device__ __forceinline__ void wide_put(wide_block<S> &me, const float *gathered, Y *y, int pass, int thread, int threads) {
#pragma unroll 1
  for (int i = thread; i < S::share * 64; i += threads) {
    int f = i / 64, pair = i % 8, r = i / 8 % 8, all = me.part * S::share + f;
    const float *p = gathered + (f * 32 + pair % 4 * 8 + r / 2) * 4 + pair / 4 * 2 + r % 2;
    float a = 0.0f, b = 0.0f;
#pragma unroll
    for (int s = 0; s < S::split; s++) {
      a += p[s * S::share * 128];
      b += p[s * S::share * 128 + 16];
    }
    int feature = (me.group(pass) * S::rows16 + all / (S::width / 8)) * 16 + pair * 2, row = all % (S::width / 8) * 8 + r;
    if (feature < S::outputs && row < S::rows) put_pair(y + (size_t)row * S::outputs + feature, a, b, END == GEMM_ADD);
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
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(me.weights(s), 1);
      barrier_init(me.weights(s) + 8, 4 * S::crews);
    }
    for (int s = 0; s < S::slots; s++) {
      barrier_init(me.piece(s), 1);
      barrier_init(me.piece(s) + 8, 4 * S::crews * S::pair);
      barrier_expect(me.piece(s), S::x_bytes);
    }
    barrier_init(me.gathered(), 1);
    barrier_init(me.gathered() + 8, S::split);
    barrier_expect(me.gathered(), S::gathered_bytes);
    barrier_init_fence();
  }
  __syncthreads();
  dependents_may_start();
  if (S::split * S::pair > 1) cluster_arrive_bare();
  if (crew == 0) {
    registers_give<S::few>();
    if (threadIdx.x == 0) wide_weights<S>(me, codes, scales);
    __syncwarp();
    if (S::split * S::pair > 1) cluster_wait();
    if (warp > 0) wait_for_predecessors();
    if (threadIdx.x == 32) wide_pieces<S>(me, x);
    if (warp > 1) wide_finish<S, END>(me, (const float *)(smem + S::gathered_at), y, threadIdx.x - 64);
  } else {
    registers_take<S::many>();
    if (S::split * S::pair > 1) cluster_wait();
    wide_crew<S> it;
    it.at = me;
    it.smem = smem;
    it.lane = lane;
    it.warp = warp - 4;
    it.mine = (crew - 1) * S::tall * 4 + (warp & 3);
    it.stage = it.used = it.step = it.begun = it.slot = 0;
    it.all = me.steps() * me.passes();
    it.parity = it.turn = 0;
    it.run();
    wait_for_predecessors();
    int last = me.passes() - 1;
    barrier_wait(me.gathered(), last & 1);
    wide_put<S, END>(me, (const float *)(smem + S::gathered_at), y, last, threadIdx.x - 128, 128 * S::crews);
  }
}
