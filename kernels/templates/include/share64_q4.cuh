// share64_q4: y[n, N] = x[n, K] . w[N, K]^T for 17 rows of x in f16 and more, on weights of the packed layout "mma".
//
// Weights are the A operand of wgmma, from registers: a crew of four warps owns 64 rows of weights and turns codes into halves while
// the tensor cores work for the other crews. Every block has an equal share: WIDTH rows of x, TILES times 64 rows of weights and one of
// SPLIT slices of K, CREWS tiles a pass, or fewer where ALONG crews take turns at the stages of one tile. Four threads fill a ring whose
// stages hold two units of 64 of K, of weights and of x; a pair of blocks with the same slice of K fetches every second stage of x for
// each other. The parts of a sum meet in the workspace: the crews that worked on a tile each finish some rows of x of it, in one order of
// the parts, so that results do not vary. Two halves (NEAR), and what crews that take turns have, meet in the shared memory of a cluster.
#pragma once
#include "gemm_q4.cuh"
#include "put_pair.cuh"

// ORDER: the sizes are those of the defines of the template that includes this.
template <int a_outputs, int a_inputs, int a_rows, int a_width, int a_crews, int a_tiles, int a_stages, int a_split, int a_pair, int a_near, int a_room, int a_tall,
          int a_along, int a_pace, int a_held>
struct share_shape {
  static constexpr int w_bytes = 4 * 1152;  // of a tile in a stage
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, width = a_width, tall = a_tall, tiles = a_tiles, along = a_along, held = a_held;
  static constexpr int crews = a_crews, across = crews / along, wide = across * tall;  // warpgroups that multiply; side by side; tiles of a pass
  static constexpr int stages = a_stages, split = a_split, pair = a_pair, near = a_near, met = pair > 1 || near;  // met: by a cluster
  static constexpr int all = (outputs + 63) / 64, passes = (tiles + wide - 1) / wide;  // tiles of 64 rows of weights: all, of a block
  static constexpr int together = wide >= tiles ? tiles : tiles % wide == 0 ? wide : 1;    // tiles of a copy
  static constexpr int blocks = ((all + tiles - 1) / tiles + pair - 1) / pair * pair * split;  // for some rows of x
  static constexpr u32 pause = (wide < tiles ? wide : tiles) * w_bytes / a_pace;  // cycles between stages that are asked for ahead of x
  static constexpr int steps = (inputs / 64 + 1) / 2, columns = width / 8;  // steps: of two units of K; behind K there are zeros
  static constexpr int few = a_room == 2 && crews > 1 ? 24 : crews <= 2 ? 40 : crews == 3 ? 32 : 24;  // registers of those that copy, and of the others
  static constexpr int many = a_room == 2 ? crews == 1 ? 216 : 104 : crews <= 2 ? 232 : crews == 3 ? 160 : 112;
  // Of x in a unit: what a copy brings. Rows of x that it has not, up to the width, are whatever lies there, and end in sums that nobody takes.
  static constexpr int high = tall == 1 && rows < width ? (rows + 7) / 8 * 8 : width, x_bytes = high * 128;
  static constexpr int w_at = stages * 2 * x_bytes, near_at = w_at + stages * wide * w_bytes;
  static constexpr int parts = along * (near + 1), own = columns / parts;  // crews that meet in shared memory for a tile; fragments that each finishes
  static constexpr int part_bytes = own * 2048, got_bytes = (parts - 1) * part_bytes;  // of a tile and crew: from the other block; from the other crew too
  static constexpr int bars_at = near_at + tiles * along * got_bytes, bytes = bars_at + 16 * stages + 8 * along + (parts > 1 ? 8 * tiles * along : 0);
};

// Who a block is: its tiles and its slice of K.
template <typename S> struct share_block {
  u32 base;
  int part, first, last, from, end;  // slice of K in steps; tiles
  int row;                           // of x, the first

  __device__ __forceinline__ u32 bar(int stage) { return base + S::bars_at + 16 * stage; }  // full, then empty
  __device__ __forceinline__ u32 early(int step) { return bar(S::stages) + 8 * step; }       // weights of a first step, before x
  __device__ __forceinline__ u32 here(int i) { return early(S::along) + 8 * i; }             // the other parts of a tile, for one of its crews
  __device__ __forceinline__ int steps() { return last - first; }
  __device__ __forceinline__ int tile(int pass) { return from + pass * S::wide; }
  __device__ __forceinline__ int active(int pass) { return min(S::wide, end - tile(pass)); }  // tiles of a pass, perhaps less than none
};

// What is copied next into a ring that four threads fill, each every second stage: two with weights, at once, two with x, after the
// kernels before. A copy takes a thread 150 cycles and more beside warps that multiply. Before the ring is full, weights are asked for at
// the pace of the memory: what waits in front of it would delay x and the end of the kernel before.
template <typename S> struct share_ring {
  share_block<S> me;
  int side, k, pass, stage, step;
  u32 parity;

  // Barriers, by four threads: each that asks for weights makes those that its first ones arrive at.
  __device__ __forceinline__ void prepare(int which) {
    if (which < 2) {
      for (int s = which; s < S::stages; s += 2) barrier_init(me.bar(s), 1);
      if (which < S::along) barrier_init(me.early(which), 1);
    } else if (which == 2) {
      for (int s = 0; s < S::stages; s++) barrier_init(me.bar(s) + 8, 4 * S::across * S::pair);
    } else {
      for (int i = 0; S::parts > 1 && i < S::tiles * S::along; i++) {
        barrier_init(me.here(i), 1);
        barrier_expect(me.here(i), S::part_bytes);
      }
    }
    barrier_init_fence();
  }
  // How many copies bring the weights of a pass: as few as can be, for each costs the thread that asks for it.
  __device__ __forceinline__ int copies() { return S::together > 1 ? 1 : max(me.active(pass), 0); }
  // Weights are the first to leave the second-level cache: x and the parts of sums stay. (Of blocks that read the same ones, none was slower for it.)
  __device__ __forceinline__ void take(u32 to, const tensor_map *weights, int tile, u32 bar) {
    copy_tensor_3d_hint(to, weights, 0, 2 * k, tile, bar, policy_evict_first());
  }
  // Those of the first HELD stages of a crew are in its registers. Else, of the first steps weights are waited for alone: what can be done
  // before x is here is done.
  __device__ __forceinline__ void weights(const tensor_map *codes, const tensor_map *scales) {
    if (step < S::held * S::along) return barrier_expect(me.bar(stage), 2 * S::x_bytes);
    const bool early = step < S::along;
    const u32 bar = early ? me.early(step) : me.bar(stage), to = me.base + S::w_at + stage * S::wide * S::w_bytes;
    const int n = copies();
    if (early) barrier_expect(me.bar(stage), 2 * S::x_bytes);
    barrier_expect(bar, n * S::together * S::w_bytes + (early ? 0 : 2 * S::x_bytes));
#pragma unroll 1
    for (int i = 0; i < n; i++) {
      take(to + i * 4096, codes, (me.tile(pass) + i) * 4, bar);
      take(to + S::wide * 4096 + i * 512, scales, (me.tile(pass) + i) * 4, bar);
    }
  }
  __device__ __forceinline__ void rows(const tensor_map *x) {
    const u32 to = me.base + stage * 2 * S::x_bytes, bar = me.bar(stage);
    if (S::pair == 1) {
      copy_tensor_3d(to, x, 0, me.row, 2 * k, bar);
    } else if (step % S::pair == side) {
      copy_tensor_3d_to(to, x, 0, me.row, 2 * k, bar, (1 << S::pair) - 1);
    }
  }
  // Until a stage of the first round is due.
  __device__ __forceinline__ void pace(u32 begun) {
    if (step < S::stages)
      while (cycles_now() - begun < step * S::pause) {}
  }
  // Until what was here has been used, if there was anything.
  __device__ __forceinline__ void wait() {
    if (step >= S::stages) barrier_wait(me.bar(stage) + 8, parity);
  }
  __device__ __forceinline__ void next(int by) {
    step += by;
    k += by;
#pragma unroll 1
    while (k >= me.last) {
      k -= me.steps();
      pass++;
    }
    stage += by;
    if (stage >= S::stages) {
      stage -= S::stages;
      parity ^= 1;
    }
  }
};

// Codes and scales of a unit -> A fragments of its four steps, 64 times too small: the bits of 15 - code are a half without leading one,
// so that one operation subtracts 8 and multiplies, exactly but for one rounding. ORDER: mma.share64's limits; of scales of 2 and more come no numbers.
__device__ __forceinline__ void share_halves(u32 (&a)[4][4], uint4 q, uint2 s) {
  const u32 codes[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const u32 both = h ? s.y : s.x, by = mul_f16x2(both, 0xe800f800u), eight = mul_f16x2(both, 0x30003000u);  // -2^15 and -2^11; 1/8
#pragma unroll
    for (int i = 2 * h; i < 2 * h + 2; i++) {
      const u32 low = ~(codes[i] << 3), high = ~(codes[i] >> 5);
      a[i][0] = fma_f16x2(low & 0x00780078u, low_twice(by), low_twice(eight));
      a[i][1] = fma_f16x2(low & 0x07800780u, high_twice(by), high_twice(eight));
      a[i][2] = fma_f16x2(high & 0x00780078u, low_twice(by), low_twice(eight));
      a[i][3] = fma_f16x2(high & 0x07800780u, high_twice(by), high_twice(eight));
    }
  }
}

template <typename S> struct share_crew {
  share_block<S> at;
  const unsigned char *codes, *scales;  // of this lane in the first stage
  u64 x;                                // describes x of the first stage
  int turn;                             // of the crews that share a tile along K
  u32 freeing;                          // stages that are wanted again
  int lane, stage, step;
  u32 parity;
  uint4 q[S::tall][2];
  uint2 f[S::tall][2];
  uint4 held_q[S::held + 1][2];  // of the first stages
  uint2 held_f[S::held + 1][2];

  // Asks for codes and scales of the first stages from where they lie, before anything is known of the block's memory.
  __device__ __forceinline__ void hold(const unsigned char *codes, const unsigned char *scales, int row16) {
    if (row16 * 16 >= S::outputs) return;
#pragma unroll
    for (int i = 0; i < S::held; i++)
#pragma unroll
      for (int u = 0; u < 2; u++) {
        const size_t unit = (size_t)row16 * (S::inputs / 64) + 2 * (at.first + turn + i * S::along) + u;
        held_q[i][u] = load_relaxed4(codes + unit * 512 + lane * 16);  // relaxed: at once, past L1
        const float2 two = load2((const float *)(scales + unit * 64 + (lane >> 2) * 8));
        held_f[i][u] = make_uint2(__float_as_uint(two.x), __float_as_uint(two.y));
      }
  }
  __device__ __forceinline__ void take(int i) {
#pragma unroll
    for (int u = 0; u < 2; u++) {
      q[0][u] = held_q[i][u];
      f[0][u] = held_f[i][u];
    }
  }
  // Codes and scales of a stage's two units.
  __device__ __forceinline__ void fetch(int stage) {
#pragma unroll
    for (int m = 0; m < S::tall; m++)
#pragma unroll
      for (int u = 0; u < 2; u++) {
        q[m][u] = *(const uint4 *)(codes + stage * S::wide * S::w_bytes + m * 4096 + u * 512);
        f[m][u] = *(const uint2 *)(scales + stage * S::wide * S::w_bytes + m * 512 + u * 64);
      }
  }
  // What describes x of a stage's unit.
  __device__ __forceinline__ u64 rows(int stage, int unit) { return x + WGMMA_STEP((u32)(2 * stage + unit) * S::x_bytes); }
  __device__ __forceinline__ void multiply(float (&d)[S::width / 2], u32 (&a)[4][4], u64 x) {
    wgmma_begin();
#pragma unroll
    for (int i = 0; i < 4; i++) wgmma_rs(d, a[i], x + WGMMA_STEP(32 * i));
    wgmma_end();
  }
  // This crew's stage before this one goes back to all that copy into it.
  __device__ __forceinline__ void release(int stage, int step) {
    const u32 bar = at.bar(stage) + 8;
    if (S::pair > 1) {
      if ((u32)step < freeing && lane < S::pair) barrier_arrive_cluster(cluster_address(bar, lane));
    } else {
      if (step >= 0 && lane == 0) barrier_arrive(bar);
    }
  }
  __device__ __forceinline__ int stage_before() { return stage < S::along ? stage + S::stages - S::along : stage - S::along; }
  __device__ __forceinline__ void next(int by) {
    step += by * S::along;
    stage += by * S::along;
    if (stage >= S::stages) {
      stage -= S::stages;
      parity ^= 1;
    }
  }
  // Of the steps before this one, those that are still to come for this crew.
  __device__ __forceinline__ int before(int end) { return (end - step + S::along - 1) / S::along; }
  // A stage's products; then the first fragments of the next, which is held where it has a number. Alone, or the first or the second of two
  // that lie side by side.
  enum { ALONE, FIRST, SECOND };
  template <int WHICH, int NEXT = 0> __device__ __forceinline__ void one(float (&d)[S::tall][S::width / 2], u32 (&a)[4][4], u32 (&b)[4][4]) {
    const int here = stage + (WHICH == SECOND ? S::along : 0);
    const u64 x = rows(here, 1);
    multiply(d[0], a, rows(here, 0));
    wgmma_wait_for<1>();  // all of the stage before
    release(WHICH == SECOND ? stage : stage_before(), WHICH == SECOND ? step : step - S::along);
    if (S::tall == 2) {
      share_halves(b, q[1 % S::tall][0], f[1 % S::tall][0]);
      multiply(d[1 % S::tall], b, rows(here, 0));
      wgmma_wait_for<1>();
      share_halves(a, q[0][1], f[0][1]);
      multiply(d[0], a, x);
      wgmma_wait_for<1>();
    }
    share_halves(b, q[S::tall - 1][1], f[S::tall - 1][1]);
    if (WHICH != FIRST) next(WHICH == ALONE ? 1 : 2);
    const int then = stage + (WHICH == FIRST ? S::along : 0);
    barrier_wait(at.bar(then), parity);
    if (NEXT > 0) take(NEXT);
    else fetch(then);
    multiply(d[S::tall - 1], b, x);
    wgmma_wait_for<1>();
    share_halves(a, q[0][0], f[0][0]);
  }
  template <int NEXT> __device__ __forceinline__ void held_ones(float (&d)[S::tall][S::width / 2], u32 (&a)[4][4], u32 (&b)[4][4]) {
    if constexpr (NEXT < S::held) {
      one<ALONE, NEXT>(d, a, b);
      held_ones<NEXT + 1>(d, a, b);
    }
  }
  // The tiles of a pass: while one is multiplied with a unit, the fragments of what comes next are made of codes that were fetched before.
  __device__ __forceinline__ void multiply_all(float (&d)[S::tall][S::width / 2], int pass) {
    u32 a[4][4], b[4][4];
    const int steps = before((pass + 1) * at.steps());
    static_assert(S::held == 0 || S::held % 2 == 1 && S::passes == 1 && S::tall == 1, "two stages lie side by side behind those that are held");
    constexpr bool twos = S::stages % (2 * S::along) == 0;
    int k = 0;
    if (S::held > 0) {
      take(0);
    } else {
      barrier_wait(pass == 0 ? at.early(turn) : at.bar(stage), parity);
      fetch(stage);
    }
    share_halves(a, q[0][0], f[0][0]);
    if (pass == 0) {  // with what comes before x, for it costs nothing there
      if (S::met) cluster_wait();
      wait_for_predecessors();
      barrier_wait(at.bar(stage), parity);
    }
    if (S::held > 1) {
      held_ones<1>(d, a, b);
      k = S::held - 1;
    }
    if (S::passes > 1 && twos && stage / S::along % 2 && steps > 1) {
      one<ALONE>(d, a, b);
      k++;
    }
#pragma unroll 1
    for (; twos && k + 2 < steps; k += 2) {
      one<FIRST>(d, a, b);
      one<SECOND>(d, a, b);
    }
#pragma unroll 1
    for (; k + 1 < steps; k++) one<ALONE>(d, a, b);
    multiply(d[0], a, rows(stage, 0));
    wgmma_wait_for<1>();
    if (S::tall == 2) {
      share_halves(b, q[1 % S::tall][0], f[1 % S::tall][0]);
      multiply(d[1 % S::tall], b, rows(stage, 0));
      wgmma_wait_for<1>();
      share_halves(a, q[0][1], f[0][1]);
      multiply(d[0], a, rows(stage, 1));
      wgmma_wait_for<1>();
    }
    share_halves(b, q[S::tall - 1][1], f[S::tall - 1][1]);
    multiply(d[S::tall - 1], b, rows(stage, 1));
    wgmma_wait_for<0>();
    release(stage_before(), step - S::along);
    next(1);
  }
  // The stages of a pass in which this crew has no tile.
  __device__ __forceinline__ void idle(int pass) {
    const int steps = before((pass + 1) * at.steps());
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
      release(stage_before(), step - S::along);
      barrier_wait(at.bar(stage), parity);
      next(1);
    }
  }
};

// Sums of a fragment of eight rows of x -> y: lanes trade them until each has four neighbouring features of one row.
template <typename S, int END, typename Y> __device__ __forceinline__ void share_put(Y *y, float4 v, int feature, int first, int lane) {
  const bool odd = lane & 4, far = lane & 8;
  const float a = __shfl_xor_sync(~0u, odd ? v.x : v.y, 4), b = __shfl_xor_sync(~0u, odd ? v.z : v.w, 4);
  const float low[2] = {odd ? a : v.x, odd ? v.y : a}, high[2] = {odd ? b : v.z, odd ? v.w : b};  // features 2 (g / 2) and 8 behind that
  const float c = __shfl_xor_sync(~0u, far ? low[0] : high[0], 8), d = __shfl_xor_sync(~0u, far ? low[1] : high[1], 8);
  const int row = first + (lane & 3) * 2 + (odd ? 1 : 0);
  if (row >= S::rows || feature >= S::outputs) return;
  float4 four = far ? make_float4(c, d, high[0], high[1]) : make_float4(low[0], low[1], c, d);
  four = make_float4(four.x * 64.0f, four.y * 64.0f, four.z * 64.0f, four.w * 64.0f);
  put_four(y + (size_t)row * S::outputs + feature + (lane >> 2 & 4) + (far ? 8 : 0), four, END == GEMM_ADD);
}

// The same of two fragments, where sums are f16 and the warp has room at `room` and 2048 bytes behind it, 256 bytes each: there they are turned.
template <typename S> __device__ __forceinline__ void share_put_turned(u16 *y, float4 v, float4 w, int feature, int first, unsigned char *room, int lane) {
  const u32 sums[4] = {pack_f16(v.x * 64.0f, v.y * 64.0f), pack_f16(v.z * 64.0f, v.w * 64.0f), pack_f16(w.x * 64.0f, w.y * 64.0f), pack_f16(w.z * 64.0f, w.w * 64.0f)};
  __syncwarp();
  store_matrices_turned(shared_address(room) + (lane >> 4) * 2048 + (lane & 7) * 32 + (lane >> 3 & 1) * 16, sums);
  __syncwarp();
  const int row = first + (lane >> 1);
  const uint4 eight = *(const uint4 *)(room + (lane >> 4) * 2048 + (lane & 15) * 16);
  if (row < S::rows && feature < S::outputs) *(uint4 *)(y + (size_t)row * S::outputs + feature + (lane & 1) * 8) = eight;
}

// Two blocks of a cluster: of the fragments of eight rows of x from FIRST on, one half stays, the other goes to the other block.
template <typename S, int SELF, int FIRST>
__device__ __forceinline__ void share_trade(share_block<S> &me, float (&d)[S::width / 2], float4 (&mine)[S::own], int slot, int thread) {
  const u32 at = cluster_address(me.base + S::near_at + slot * S::got_bytes + thread * 16, 1 - SELF), bar = cluster_address(me.here(slot), 1 - SELF);
#pragma unroll
  for (int c = 0; c < S::own; c++) {
    const float *v = d + (FIRST + SELF * S::own + c) * 4, *w = d + (FIRST + (1 - SELF) * S::own + c) * 4;
    mine[c] = make_float4(v[0], v[1], v[2], v[3]);
    send_cluster4(at + c * 2048, make_float4(w[0], w[1], w[2], w[3]), bar);
  }
}

// Two crews of a block with parts of K, this one TURN: each lays down the half of its sums that the other finishes; lanes trade with lanes
// of the same place. What blocks trade is of one crew each then.
template <typename S, int TURN>
__device__ __forceinline__ void share_halve(share_block<S> &me, unsigned char *smem, float (&d)[S::width / 2], float4 (&mine)[S::own], int i, int meeting, int thread) {
  if constexpr (S::along == 2) {
    float4 *give = (float4 *)(smem + S::near_at + (2 * i + TURN) * S::got_bytes + S::part_bytes) + thread;
    const float4 *take = (const float4 *)(smem + S::near_at + (2 * i + 1 - TURN) * S::got_bytes + S::part_bytes) + thread;
#pragma unroll
    for (int c = 0; c < 2 * S::own; c++) {
      const float *v = d + ((1 - TURN) * 2 * S::own + c) * 4;
      give[c * 128] = make_float4(v[0], v[1], v[2], v[3]);
    }
    threads_meet(meeting, 256);
#pragma unroll
    for (int c = 0; c < 2 * S::own; c++) {
      const float4 v = take[c * 128];
      float *sum = d + (TURN * 2 * S::own + c) * 4;
      sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
    }
  }
  if (me.part == 0) share_trade<S, 0, TURN * 2 * S::own>(me, d, mine, S::along * i + TURN, thread);
  else share_trade<S, 1, TURN * 2 * S::own>(me, d, mine, S::along * i + TURN, thread);
}

// Crews of a block, then of its cluster, that have parts of K of tile i: of the fragments of eight rows of x each finishes its own. It is
// known in each branch which, so that no sum is chosen by a number.
template <typename S>
__device__ __forceinline__ void share_gather(share_block<S> &me, unsigned char *smem, float (&d)[S::width / 2], float4 (&mine)[S::own], int i, int crew, int turn,
                                             int thread) {
  static_assert(S::along == 1 || S::along == 2 && S::near, "two crews have the quarters that two blocks trade");
  if constexpr (S::parts == 1) {
#pragma unroll
    for (int c = 0; c < S::own; c++) mine[c] = make_float4(d[4 * c], d[4 * c + 1], d[4 * c + 2], d[4 * c + 3]);
  } else {
    if (S::along == 2 && turn == 1) share_halve<S, S::along - 1>(me, smem, d, mine, i, 1 + crew, thread);
    else share_halve<S, 0>(me, smem, d, mine, i, 1 + crew, thread);
    const int slot = i * S::along + turn;
    barrier_wait(me.here(slot), 0);
    const float4 *got = (const float4 *)(smem + S::near_at + slot * S::got_bytes) + thread;
#pragma unroll
    for (int c = 0; c < S::own; c++) {
      const float4 v = got[c * 128];
      mine[c] = make_float4(mine[c].x + v.x, mine[c].y + v.y, mine[c].z + v.z, mine[c].w + v.w);
    }
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
template <typename S, int END, typename Y>
__device__ __forceinline__ void share_meet(share_block<S> &me, float4 *parts, float4 (&sums)[S::own], Y *y, int tile, int first, int thread) {
  static_assert(S::own >= S::split, "each has something to finish");
  constexpr int most = (S::own + S::split - 1) / S::split;
  int from = S::own * me.part / S::split;
  const int end = S::own % S::split ? S::own * (me.part + 1) / S::split : from + most;
  asm("" : "+r"(from));  // else the sums would be indexed in memory
  parts += (size_t)(me.row / S::width * S::all + tile) * S::split * S::columns * 128 + first * 128 + thread;
  float4 mine[most];
#pragma unroll
  for (int c = 0; c < S::own; c++) {
    if (c < from || c >= end) share_lay_down(parts + (me.part * S::columns + c) * 128, sums[c]);
#pragma unroll
    for (int j = 0; j < most; j++)
      if (c == from + j) mine[j] = sums[c];
  }
  float4 *other[S::split];  // the slices behind this one, then those before it
#pragma unroll
  for (int s = 1; s < S::split; s++) other[s] = parts + ((me.part + s < S::split ? me.part + s : me.part + s - S::split) * S::columns + from) * 128;
  uint4 v[most][S::split];
  bool here;
  do {  // one of them first: that many ask for all of them delays what they ask for
    const uint4 w = load_relaxed4(other[S::split - 1] + (end - from - 1) * 128);
    here = w.x != 0;
  } while (!__all_sync(~0u, here));
  do {
#pragma unroll
    for (int j = 0; j < most; j++)
#pragma unroll
      for (int s = 1; s < S::split; s++)
        if (from + j < end) v[j][s] = load_relaxed4(other[s] + j * 128);
    here = true;
#pragma unroll
    for (int j = 0; j < most; j++)
#pragma unroll
      for (int s = 1; s < S::split; s++)
        if (from + j < end) here = here & (v[j][s].x != 0) & (v[j][s].y != 0) & (v[j][s].z != 0) & (v[j][s].w != 0);
  } while (!__all_sync(~0u, here));
#pragma unroll
  for (int j = 0; j < most; j++) {
    if (from + j >= end) break;
    float4 sum = mine[j];
#pragma unroll
    for (int s = 1; s < S::split; s++) {
      sum.x += __uint_as_float(v[j][s].x);
      sum.y += __uint_as_float(v[j][s].y);
      sum.z += __uint_as_float(v[j][s].z);
      sum.w += __uint_as_float(v[j][s].w);
      store_relaxed4(other[s] + j * 128, make_uint4(0, 0, 0, 0));
    }
    share_put<S, END>(y, sum, tile * 64 + thread / 32 * 16, me.row + (first + from + j) * 8, thread & 31);
  }
}

template <typename S, int END, typename Y>
__device__ __forceinline__ void share64_q4(const tensor_map *x, const tensor_map *codes, const tensor_map *scales, Y *y, void *workspace, const unsigned char *codes_far,
                                           const unsigned char *scales_far) {
  SHARED_MEMORY(smem);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31;  // known to be the same in a warp
  const u32 down = S::rows <= S::width ? 0 : blockIdx.x / S::blocks, block = blockIdx.x - down * S::blocks;
  const int group = block / (S::split * S::pair) * S::pair + block % S::pair;
  const u32 begun = cycles_now();
  share_block<S> me;
  me.base = shared_address(smem);
  me.part = block / S::pair % S::split;
  me.first = S::steps * me.part / S::split;
  me.last = S::steps * (me.part + 1) / S::split;
  asm volatile("" : "+r"(me.last));  // were the number of steps known, the loop would be unrolled at its ends, and wgmma wait each time
  me.from = group * S::tiles;
  me.row = down * S::width;
  me.end = min(me.from + S::tiles, S::all);
  const int all = me.steps() * S::passes;
  if (warp >= 4 * S::crews) {
    share_ring<S> ring = {me, (int)(block % S::pair), me.first, 0, 0, 0, 1};
    if (lane == 0) {
      if (warp & 2) prefetch_tensor_map(warp & 1 ? x : codes);
      ring.next(warp & 1);
      ring.prepare(warp & 3);
      // The first weights are asked for before anything is waited for.
      if (!(warp & 2) && ring.step < all) {
        ring.weights(codes, scales);
        ring.next(2);
      }
    }
    __syncwarp();
    registers_give<S::few>();
    __syncthreads();
    dependents_may_start();
    if (S::met) cluster_arrive_bare();  // who reaches into another block waits for it at once, the others when they have time
    __syncwarp();
    if (S::pair > 1 && warp & 2) cluster_wait();
    if (lane == 0) {
      asm volatile("" : "+r"(ring.me.base));  // else it would be made anew for each copy
      if (warp & 2) {
        wait_for_predecessors();
#pragma unroll 1
        for (; ring.step < all; ring.next(2)) {
          ring.wait();
          ring.rows(x);
        }
      } else {
#pragma unroll 1
        for (; ring.step < all; ring.next(2)) {
          ring.wait();
          ring.pace(begun);
          ring.weights(codes, scales);
        }
      }
    }
    __syncwarp();
    if (S::met && !(S::pair > 1 && warp & 2)) cluster_wait();
  } else {
    const int crew = S::along == 1 ? warp >> 2 : (warp >> 2) % S::across, turn = S::along == 1 ? 0 : (warp >> 2) / S::across, thread = threadIdx.x & 127;
    const int row16 = crew * S::tall * 4 + (warp & 3);
    const unsigned char *codes_at = smem + S::w_at + row16 * 1024 + lane * 16, *scales_at = smem + S::w_at + S::wide * 4096 + row16 * 128 + (lane >> 2) * 8;
    share_crew<S> it = {me, codes_at, scales_at, wgmma_rows128(me.base), turn, (u32)max(all - S::stages, 0), lane, turn, turn, 0};
    it.hold(codes_far, scales_far, me.from * 4 + row16);
    registers_take<S::many>();
    __syncthreads();
    dependents_may_start();
    if (S::met) cluster_arrive_bare();
    asm volatile("" : "+l"(it.x));  // were its upper half known, it would be moved anew for every product
#pragma unroll 1
    for (int pass = 0; pass < S::passes; pass++) {
      if (crew * S::tall >= me.active(pass)) {
        it.idle(pass);
        if (S::met && pass == 0) cluster_wait();
        continue;
      }
      float d[S::tall][S::width / 2] = {};
      it.multiply_all(d, pass);
#pragma unroll
      for (int m = 0; m < S::tall; m++) wgmma_touch(d[m]);
#pragma unroll
      for (int m = 0; m < S::tall; m++) {
        const int number = pass * S::wide + crew * S::tall + m, tile = me.from + number;
        if (tile >= me.end) break;
        float4 mine[S::own];
        share_gather(me, smem, d[m], mine, number, crew, turn, thread);
        const int first = S::near ? (2 * turn + me.part) * S::own : 0;
        if (S::split > 1 && !S::near) {
          share_meet<S, END>(me, (float4 *)workspace, mine, y, tile, first, thread);
        } else if constexpr (sizeof(Y) == 2 && END == GEMM_STORE && S::parts > 1 && S::own % 2 == 0) {
          unsigned char *room = smem + S::near_at + (number * S::along + turn) * S::got_bytes + (warp & 3) * 512;  // what has been read there
#pragma unroll
          for (int c = 0; c < S::own; c += 2)
            share_put_turned<S>(y, mine[c], mine[c + 1], tile * 64 + (warp & 3) * 16, me.row + (first + c) * 8, room + c * 2048, lane);
        } else {
#pragma unroll
          for (int c = 0; c < S::own; c++) share_put<S, END>(y, mine[c], tile * 64 + (warp & 3) * 16, me.row + (first + c) * 8, lane);
        }
      }
    }
  }
}
