// gemm_f16: y[n, N] = x[n, K] . w[N, K]^T for any number of rows, on f16 weights as they are stored.
//
// Both operands of wgmma lie in shared memory, copied there by the tensor copy engine, which writes zeros where a tile reaches beyond the rows of x, the
// outputs or K: any n, and K and N in steps of eight. Of few rows the box of x holds those that there are; what a crew reads behind them goes to sums that
// nobody stores. A producer warp fills a ring of stages of 64 of K; a warpgroup (crew) for each 64 rows of x empties
// it. SPLIT: so many blocks, a cluster, share K; each sends the others their part of the tile's columns, and ends its own.
#pragma once
#include "put_pair.cuh"
#include "wgmma.cuh"

// A tile is CREWS times 64 of one side by WIDTH of the other: rows of x by outputs, or where it is turned outputs by rows of x.
// BOX: of the first side, what a copy brings, a multiple of eight; GROUP: tiles of rows that walk over the weights together.
template <int a_outputs, int a_inputs, int a_crews, int a_box, int a_width, int a_stages, int a_group, int a_split, int a_turn = 0> struct gemm_f16_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, crews = a_crews, width = a_width, stages = a_stages, group = a_group, split = a_split;
  static constexpr int steps = (inputs + 63) / 64, threads = 128 * crews + 128, turn = a_turn;
  static constexpr int height = turn ? width : 64 * crews, breadth = turn ? 64 * crews : width;  // of a tile: rows of x, outputs
  static constexpr int down = (outputs + breadth - 1) / breadth;
  static constexpr int a_bytes = a_box * 128, b_bytes = width * 128;  // of a stage: what crews share out among them, what all of them read
  static constexpr int share = width / 8 / split;  // eights of columns that a block ends
  static constexpr int part_bytes = share * 2048, got_bytes = (split - 1) * part_bytes;  // of a crew: what one other block sends; what all do
  static constexpr int few = crews <= 2 ? 40 : crews == 3 ? 32 : 24;                     // registers of those that copy, and of the others
  static constexpr int many = crews == 1 ? 216 : crews == 2 ? 232 : crews == 3 ? 160 : 112;
  static constexpr int got_at = stages * (a_bytes + b_bytes), barriers_at = got_at + crews * got_bytes;
  static constexpr int bytes = barriers_at + 16 * stages + (split > 1 ? 8 * crews : 0);
  // Cycles of a step: of shared memory, which is written once and read by each crew, or of the port that fills it; and of a tile's end.
  static constexpr int moved = (a_bytes + b_bytes + crews * (8192 + b_bytes)) / 128, filled = (a_bytes + b_bytes) / 60;
  static constexpr int step = moved > filled ? moved : filled, end = 600 + width * 4 + (split > 1 ? 900 : 0);
  static_assert(a_box <= 64 * crews && crews * 8192 <= a_bytes + stages * b_bytes, "what is read behind a box lies in the ring");
};

// Where a block is: its part of K, its tile (weights, rows of x), its ring.
template <typename S> struct gemm_f16_block {
  u32 base;
  int first, last;  // steps of K
  int across;       // tiles of rows

  __device__ __forceinline__ u32 full(int s) { return base + S::barriers_at + 16 * s; }
  __device__ __forceinline__ u32 free(int s) { return full(s) + 8; }
  __device__ __forceinline__ u32 here(int crew) { return full(S::stages) + 8 * crew; }  // what the other blocks have of its columns
  __device__ __forceinline__ u32 a_at(int s) { return base + s * S::a_bytes; }
  __device__ __forceinline__ u32 b_at(int s) { return base + S::stages * S::a_bytes + s * S::b_bytes; }
  __device__ __forceinline__ u32 x_at(int s) { return S::turn ? b_at(s) : a_at(s); }
  __device__ __forceinline__ u32 w_at(int s) { return S::turn ? a_at(s) : b_at(s); }
  __device__ __forceinline__ int tiles() { return across * S::down; }
  // Groups of rows of x, in each all weights, in each of them the rows.
  __device__ __forceinline__ void tile(int i, int &m, int &c) {
    int per = S::down * S::group, begin = i / per * S::group, wide = min(S::group, across - begin);
    i %= per;
    m = i / wide;
    c = begin + i % wide;
  }
};

// One thread fills the ring. The weights of the first stages come before the kernel before has ended.
template <typename S> struct gemm_f16_fill {
  gemm_f16_block<S> me;
  const tensor_map *x, *w;

  __device__ __forceinline__ void weights(int stage, int k, int m) {
    barrier_expect(me.full(stage), S::a_bytes + S::b_bytes);
    copy_tensor_2d(me.w_at(stage), w, k * 64, m * S::breadth, me.full(stage));
  }
  __device__ __forceinline__ void all(int tile, int apart) {
    int stage = 0, m, c;
    u32 parity = 1;
    const int ahead = min(S::stages, me.last - me.first);
    if (tile < me.tiles()) me.tile(tile, m, c);
#pragma unroll 1
    for (int k = 0; k < ahead && tile < me.tiles(); k++) weights(k, me.first + k, m);
    wait_for_predecessors();
    for (int turn = 0; tile < me.tiles(); tile += apart, turn++) {
      me.tile(tile, m, c);
      for (int k = me.first; k < me.last; k++) {
        if (turn || k - me.first >= ahead) {
          barrier_wait(me.free(stage), parity);
          weights(stage, k, m);
        }
        copy_tensor_2d(me.x_at(stage), x, k * 64, c * S::height, me.full(stage));
        if (++stage == S::stages) {
          stage = 0;
          parity ^= 1;
        }
      }
    }
  }
};

// A crew's way through the ring.
template <typename S> struct gemm_f16_crew {
  gemm_f16_block<S> me;
  int crew, lane, stage;
  u32 parity;

  __device__ __forceinline__ void release(int s) {
    if (lane == 0) barrier_arrive(me.free(s));
  }
  __device__ __forceinline__ void multiply(float (&d)[S::width / 2]) {
    const int steps = me.last - me.first;
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
      barrier_wait(me.full(stage), parity);
      const u64 a = wgmma_rows128(me.a_at(stage) + crew * 8192), b = wgmma_rows128(me.b_at(stage));
      wgmma_begin();
#pragma unroll
      for (int i = 0; i < 4; i++) wgmma_ss(d, a + WGMMA_STEP(32 * i), b + WGMMA_STEP(32 * i));
      wgmma_end();
      wgmma_wait_for<1>();
      if (k > 0) release(stage == 0 ? S::stages - 1 : stage - 1);
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    wgmma_wait_for<0>();
    wgmma_touch(d);
    release(stage == 0 ? S::stages - 1 : stage - 1);
  }
};

// Each block of the cluster sends the others their columns, and adds what they have of its own: d[0 .. 4 share) are the sums of eights rank * share and up.
template <typename S>
__device__ __forceinline__ void gemm_f16_gather(gemm_f16_block<S> &me, float (&d)[S::width / 2], const unsigned char *smem, int rank, int crew, int thread) {
  const u32 got = me.base + S::got_at + crew * S::got_bytes + thread * 16;
  float mine[S::share * 4];
#pragma unroll
  for (int to = 0; to < S::split; to++) {
    const u32 at = cluster_address(got + (rank - (rank > to)) * S::part_bytes, to), bar = cluster_address(me.here(crew), to);
#pragma unroll
    for (int q = 0; q < S::share; q++) {
      const float *v = d + (to * S::share + q) * 4;
      if (to != rank) send_cluster4(at + q * 2048, make_float4(v[0], v[1], v[2], v[3]), bar);
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (to == rank || to == 0) mine[4 * q + e] = v[e];
    }
  }
  barrier_wait(me.here(crew), 0);
#pragma unroll
  for (int q = 0; q < S::share; q++) {
#pragma unroll
    for (int s = 0; s < S::split - 1; s++) {
      const float4 v = *(const float4 *)(smem + S::got_at + crew * S::got_bytes + s * S::part_bytes + q * 2048 + thread * 16);
      mine[4 * q] += v.x;
      mine[4 * q + 1] += v.y;
      mine[4 * q + 2] += v.z;
      mine[4 * q + 3] += v.w;
    }
#pragma unroll
    for (int e = 0; e < 4; e++) d[4 * q + e] = mine[4 * q + e];
  }
}

// Two eights of columns at a time: neighbouring lanes exchange pairs, so that a lane has four columns side by side, of the first eight when it is even, of
// the second when it is odd. feature, row: of the tile.
template <typename S, int END, typename Y>
__device__ __forceinline__ void gemm_f16_store(Y *y, const float (&d)[S::width / 2], int feature, int row, int rows, int lane) {
  const bool odd = lane & 1;
  row += lane >> 2;
  feature += odd * 8 + (lane & 2) * 2;
#pragma unroll
  for (int q = 0; q < S::share; q += 2) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float *one = &d[4 * q + 2 * h], *two = &d[4 * q + 4 + 2 * h];
      const float a = __shfl_xor_sync(~0u, odd ? one[0] : two[0], 1), b = __shfl_xor_sync(~0u, odd ? one[1] : two[1], 1);
      const float4 v = odd ? make_float4(a, b, two[0], two[1]) : make_float4(one[0], one[1], a, b);
      const int r = row + 8 * h, f = feature + q * 8;
      if (r < rows && f < S::outputs) put_four(y + (size_t)r * S::outputs + f, v, END == GEMM_ADD);
    }
  }
}

// The same where the tile is turned: eight rows of x at a time, of which each lane gets four neighbouring outputs of one.
template <typename S, int END, typename Y>
__device__ __forceinline__ void gemm_f16_store_turned(Y *y, const float (&d)[S::width / 2], int feature, int row, int rows, int lane) {
  const bool odd = lane & 4, far = lane & 8;
  row += (lane & 3) * 2 + odd;
  feature += (lane >> 2 & 4) + far * 8;
#pragma unroll
  for (int q = 0; q < S::share; q++) {
    const float *v = &d[4 * q];
    const float a = __shfl_xor_sync(~0u, odd ? v[0] : v[1], 4), b = __shfl_xor_sync(~0u, odd ? v[2] : v[3], 4);
    const float low[2] = {odd ? a : v[0], odd ? v[1] : a}, high[2] = {odd ? b : v[2], odd ? v[3] : b};  // outputs g / 2 * 2 and 8 behind that
    const float c = __shfl_xor_sync(~0u, far ? low[0] : high[0], 8), e = __shfl_xor_sync(~0u, far ? low[1] : high[1], 8);
    const float4 four = far ? make_float4(c, e, high[0], high[1]) : make_float4(low[0], low[1], c, e);
    if (row + q * 8 < rows && feature < S::outputs) put_four(y + (size_t)(row + q * 8) * S::outputs + feature, four, END == GEMM_ADD);
  }
}

template <typename S, int END, typename Y> __device__ __forceinline__ void gemm_f16(const tensor_map *x, const tensor_map *w, Y *y, int rows) {
  SHARED_MEMORY(smem);
  const int group = threadIdx.x >> 7;
  const int rank = blockIdx.x % S::split, begin = blockIdx.x / S::split, apart = gridDim.x / S::split;
  gemm_f16_block<S> me;
  me.base = shared_address(smem);
  me.first = S::steps * rank / S::split;
  me.last = S::steps * (rank + 1) / S::split;
  me.across = (rows + S::height - 1) / S::height;
  if (threadIdx.x == 0) {
    for (int s = 0; s < S::stages; s++) {
      barrier_init(me.full(s), 1);
      barrier_init(me.free(s), 4 * S::crews);
    }
    for (int c = 0; S::split > 1 && c < S::crews; c++) {
      barrier_init(me.here(c), 1);
      barrier_expect(me.here(c), S::got_bytes);
    }
    barrier_init_fence();
    prefetch_tensor_map(x);
    prefetch_tensor_map(w);
  }
  __syncthreads();
  dependents_may_start();
  if (group == 0) {
    registers_give<S::few>();
    if (S::split > 1) cluster_arrive_bare();
    if (threadIdx.x == 0) gemm_f16_fill<S>{me, x, w}.all(begin, apart);
    __syncwarp();
    if (S::split > 1) cluster_wait();
    return;
  }
  registers_take<S::many>();
  if (S::split > 1) {  // nobody reaches into a block that is not there; the first copies take longer
    cluster_arrive_bare();
    cluster_wait();
  }
  const int crew = group - 1, thread = threadIdx.x & 127;
  gemm_f16_crew<S> it = {me, crew, (int)threadIdx.x & 31, 0, 0};
  for (int i = begin; i < me.tiles(); i += apart) {
    int m, c;
    me.tile(i, m, c);
    float d[S::width / 2] = {};
    it.multiply(d);
    if (S::split > 1) gemm_f16_gather<S>(me, d, smem, rank, crew, thread);
    wait_for_predecessors();
    if constexpr (S::turn) gemm_f16_store_turned<S, END>(y, d, m * S::breadth + crew * 64 + thread / 32 * 16, c * S::height + rank * S::share * 8, rows, it.lane);
    else gemm_f16_store<S, END>(y, d, m * S::breadth + rank * S::share * 8, c * S::height + crew * 64 + thread / 32 * 16, rows, it.lane);
  }
}

// Of rows that the launch knows: how many cycles all tiles take on so many blocks (a constant: who divides by it waits). A cluster that shares K has one tile at most.
template <typename S> __device__ __forceinline__ int gemm_f16_cycles(int rows, int blocks) {
  const int tiles = (rows + S::height - 1) / S::height * S::down, places = blocks / S::split;
  if (S::split > 1 && tiles > places) return 0x7fffffff;
  return (tiles + places - 1) / places * (S::steps / S::split * S::step + S::end);
}

// The shape that takes the least time, of several; w: maps of weights, one for each.
template <typename S, typename... OTHERS> struct gemm_f16_shapes {
  static constexpr int rest = gemm_f16_shapes<OTHERS...>::bytes, bytes = S::bytes > rest ? S::bytes : rest;

  static __device__ __forceinline__ int least(int rows, int blocks) { return min(gemm_f16_cycles<S>(rows, blocks), gemm_f16_shapes<OTHERS...>::least(rows, blocks)); }
  template <int END, typename Y> static __device__ __forceinline__ void run(const tensor_map *x, const tensor_map *const *w, Y *y, int rows, int blocks, int cycles) {
    if (gemm_f16_cycles<S>(rows, blocks) == cycles) gemm_f16<S, END>(x, *w, y, rows);
    else gemm_f16_shapes<OTHERS...>::template run<END>(x, w + 1, y, rows, blocks, cycles);
  }
};
template <typename S> struct gemm_f16_shapes<S> {
  static constexpr int bytes = S::bytes;

  static __device__ __forceinline__ int least(int rows, int blocks) { return gemm_f16_cycles<S>(rows, blocks); }
  template <int END, typename Y> static __device__ __forceinline__ void run(const tensor_map *x, const tensor_map *const *w, Y *y, int rows, int, int) {
    gemm_f16<S, END>(x, *w, y, rows);
  }
};
