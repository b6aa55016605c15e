// gemv_q4: y[n, N] = x[n, K] . w[N, K]^T for few rows of x on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// Every warp owns one slice of K and streams the weights of all its block's row tiles in that slice through a ring of its own in
// shared memory, filled by bulk copies. It starts to fill before it waits for the kernel before it: weights depend on nothing. It
// stages x for its own slice, so that no warp waits for another until the sums of a batch of tiles are added up.
//
// The sixteen rows of a tile are the A operand of m16n8k16, the rows of x its columns. An x in f32 takes two columns a row:
// high = f16(x / 16) and low = f16((x / 16 - high) * 2048), which together are x within 2^-22.
#pragma once
#include "gemm_ptx.cuh"

enum gemv_end { GEMV_STORE, GEMV_ADD, GEMV_SILU };

// ORDER: the sizes are those of the defines RING, STAGED and SUMS of the templates that include this.
template <int a_outputs, int a_inputs, int a_rows, bool a_wide, int a_warps, int a_stages, int a_chunk, int a_tiles, int a_split> struct gemv_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, stages = a_stages, chunk = a_chunk, tiles = a_tiles, split = a_split;
  static constexpr bool wide = a_wide;                                        // x is f32
  static constexpr int units = inputs / 64;                                       // a unit: one row tile, 64 of inputs
  static constexpr int most = (units + warps * split - 1) / (warps * split);  // units of a warp
  static constexpr int columns = rows * (wide ? 2 : 1), column_tiles = (columns + 7) / 8;
  static constexpr int groups = outputs / 16 / tiles;
  static constexpr int stage_bytes = tiles * chunk * 576;  // bytes: codes of the tiles, then scales of the tiles
  static constexpr int ring_bytes = warps * stages * stage_bytes;
  static constexpr int staged_bytes = warps * most * columns * 128;  // x
  static constexpr int sum = tiles * 16 * rows;                // sums of one group of tiles in one warp
  static constexpr int batch = 2048 / (warps * sum) < 1 ? 1 : 2048 / (warps * sum) > 8 ? 8 : 2048 / (warps * sum);
  static constexpr int sums_bytes = 4 * (batch * warps * sum + (split > 1 ? batch * split * sum : 0));
  static constexpr int tail_bytes = 4 * rows * (warps + split) + 8 * warps * stages;  // sums of squares, barriers
};

// The ring of one warp: lane 0 fills it in the order in which the warp empties it.
template <typename S> struct gemv_ring {
  u32 base, bars;  // of this warp
  const unsigned char *codes, *scales;
  int first, last;    // units of this warp
  int group, step;    // the next chunk: tile group, unit from first on
  int groups_a_pass;  // blocks that share the tile groups
  int second;         // tiles between those of a group
  u64 policy;

  template <bool EVICT> __device__ __forceinline__ void fill(int stage) {
    if (group >= S::groups || first == last) return;
    int units = min(S::chunk, last - first - step);
    u32 bar = bars + 8 * stage, to = base + S::stage_bytes * stage;
    barrier_expect(bar, S::tiles * units * 576);
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      size_t tile = second == 1 ? (size_t)group * S::tiles + r : (size_t)group + (size_t)r * second;
      size_t unit = tile * S::units + first + step;
      if (EVICT) {
        copy_bulk_hint(to + r * S::chunk * 512, codes + unit * 512, units * 512, bar, policy);
        copy_bulk_hint(to + S::tiles * S::chunk * 512 + r * S::chunk * 64, scales + unit * 64, units * 64, bar, policy);
      } else {
        copy_bulk(to + r * S::chunk * 512, codes + unit * 512, units * 512, bar);
        copy_bulk(to + S::tiles * S::chunk * 512 + r * S::chunk * 64, scales + unit * 64, units * 64, bar);
      }
    }
    step += S::chunk;
    if (first + step >= last) {
      step = 0;
      group += groups_a_pass;
    }
  }
};

__device__ __forceinline__ float2 gemv_load(const float *x, size_t i) {
  return load2(x + i);
}
__device__ __forceinline__ float2 gemv_load(const u16 *x, size_t i) {
  return unpack_f16(load_u32(x + i));
}

// x (times the norm's weights) of this warp's slice into its place: for unit u, half j of it, column and t, sixteen bytes that are the B
// fragments of steps 2j and 2j + 1 for the lanes t of the column. Returns the sums of squares in ss.
template <typename S, bool NORM, typename X>
__device__ __forceinline__ void gemv_stage_x(u32 *xs, const X *x, const float *g, int first, int units, int lane, float *squares) {
  constexpr int BLOCK = 8;
  int word = ((lane >> 4) * S::columns * 4 + (lane & 3)) * 4 + (lane >> 3 & 1) * 2 + (lane >> 2 & 1);
  float2 gs[NORM ? (S::most < 16 ? S::most : 16) : 1];
  if (NORM) {
#pragma unroll
    for (int u = 0; u < (S::most < 16 ? S::most : 16); u++)
      if (u < units) gs[u] = *(const float2 *)(g + (size_t)(first + u) * 64 + 2 * lane);
  }
  wait_for_predecessors();
#pragma unroll(S::rows > 4 ? 1 : S::rows)
  for (int row = 0; row < S::rows; row++) {
    float ss = 0.0f;
#pragma unroll(S::most <= 16 ? (S::most + BLOCK - 1) / BLOCK : 1)
    for (int ub = 0; ub < S::most; ub += BLOCK) {
      float2 v[BLOCK];
#pragma unroll
      for (int j = 0; j < BLOCK; j++) v[j] = ub + j < units ? gemv_load(x, (size_t)row * S::inputs + (size_t)(first + ub + j) * 64 + 2 * lane) : make_float2(0, 0);
#pragma unroll
      for (int j = 0; j < BLOCK; j++) {
        if (ub + j >= units) break;
        float2 e = v[j];
        if (NORM) {
          ss += e.x * e.x + e.y * e.y;
          float2 w = S::most <= 16 ? gs[(ub + j) & 15] : *(const float2 *)(g + (size_t)(first + ub + j) * 64 + 2 * lane);
          e.x *= w.x;
          e.y *= w.y;
        }
        u32 *to = xs + (ub + j) * S::columns * 32 + word;
        if (S::wide) {
          e.x *= 0.0625f;
          e.y *= 0.0625f;
          u32 high = pack_f16(e.x, e.y);
          float2 h = unpack_f16(high);
          to[row * 32] = high;
          to[row * 32 + 16] = pack_f16((e.x - h.x) * 2048.0f, (e.y - h.y) * 2048.0f);
        } else {
          if (NORM) {
            e.x *= 0.0625f;
            e.y *= 0.0625f;
          }
          to[row * 16] = pack_f16(e.x, e.y);
        }
      }
    }
    if (NORM) {
#pragma unroll
      for (int m = 16; m; m >>= 1) ss += __shfl_xor_sync(~0u, ss, m);
      if (lane == 0) squares[row * S::warps] = ss;
    }
  }
}

// One unit of each tile of the group: products of a group of 32 in tensor cores, times the scales into acc.
template <typename S>
__device__ __forceinline__ void gemv_unit(float (&acc)[S::tiles][S::column_tiles][4], const unsigned char *codes, const unsigned char *scales,
                                          const uint4 *xs, const int (&column)[S::column_tiles], int lane) {
  uint4 b[S::column_tiles][2];
#pragma unroll
  for (int c = 0; c < S::column_tiles; c++) {
    b[c][0] = xs[column[c]];
    b[c][1] = xs[column[c] + S::columns * 4];
  }
#pragma unroll
  for (int r = 0; r < S::tiles; r++) {
    uint4 q = *(const uint4 *)(codes + r * S::chunk * 512 + lane * 16);
    uint2 s = *(const uint2 *)(scales + r * S::chunk * 64 + (lane >> 2) * 8);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 a0[4], a1[4];
      codes_to_f16(h ? q.z : q.x, a0);
      codes_to_f16(h ? q.w : q.y, a1);
      float2 scale = unpack_f16(h ? s.y : s.x);
#pragma unroll
      for (int c = 0; c < S::column_tiles; c++) {
        float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        mma_m16n8k16(d, a0, b[c][h].x, b[c][h].y);
        mma_m16n8k16(d, a1, b[c][h].z, b[c][h].w);
        acc[r][c][0] = fmaf(scale.x, d[0], acc[r][c][0]);
        acc[r][c][1] = fmaf(scale.x, d[1], acc[r][c][1]);
        acc[r][c][2] = fmaf(scale.y, d[2], acc[r][c][2]);
        acc[r][c][3] = fmaf(scale.y, d[3], acc[r][c][3]);
      }
    }
  }
}

// Sums of one group of tiles from the fragments to sums[tile][row of x][16].
template <typename S> __device__ __forceinline__ void gemv_put_sums(float *sums, float (&acc)[S::tiles][S::column_tiles][4], int lane) {
  int g = lane >> 2, t = lane & 3;
  const float low = 1.0f / 2048.0f;
#pragma unroll
  for (int r = 0; r < S::tiles; r++)
#pragma unroll
    for (int c = 0; c < S::column_tiles; c++) {
      float *d = acc[r][c];
      if (S::wide) {
        int row = c * 4 + t;
        if (row < S::rows) {
          sums[(r * S::rows + row) * 16 + g] = fmaf(d[1], low, d[0]);
          sums[(r * S::rows + row) * 16 + g + 8] = fmaf(d[3], low, d[2]);
        }
      } else {
#pragma unroll
        for (int e = 0; e < 2; e++) {
          int row = c * 8 + 2 * t + e;
          if (row < S::rows) {
            sums[(r * S::rows + row) * 16 + g] = d[e];
            sums[(r * S::rows + row) * 16 + g + 8] = d[e + 2];
          }
        }
      }
    }
}

__device__ __forceinline__ void gemv_write(float *y, size_t i, float v, bool add) {
  if (add) {
    atomicAdd(y + i, v);  // the only addition to it: order does not matter, and nobody waits for the old value
  } else {
    y[i] = v;
  }
}
__device__ __forceinline__ void gemv_write(u16 *y, size_t i, float v, bool add) {
  if (add) v += unpack_f16(load_u32(y + (i & ~(size_t)1)) >> (i & 1 ? 16 : 0)).x;
  y[i] = (u16)pack_f16(v, 0.0f);
}

template <typename S, int END, bool NORM, bool EVICT, typename X, typename Y>
__device__ __forceinline__ void gemv_q4(const X *x, const float *g, const void *codes, const void *scales, Y *y, float eps) {
  SHARED_MEMORY(smem);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int rank = S::split > 1 ? blockIdx.x % S::split : 0, block = blockIdx.x / S::split, blocks = gridDim.x / S::split;
  const int slice = rank * S::warps + warp;
  unsigned char *ring_at = smem + warp * S::stages * S::stage_bytes;
  u32 *xs = (u32 *)(smem + S::ring_bytes + warp * S::most * S::columns * 128);
  float *sums = (float *)(smem + S::ring_bytes + S::staged_bytes);
  float *gathered = sums + S::batch * S::warps * S::sum;
  float *squares = (float *)(smem + S::ring_bytes + S::staged_bytes + S::sums_bytes);
  float *gathered_squares = squares + S::rows * S::warps;
  constexpr int BARRIERS = S::ring_bytes + S::staged_bytes + S::sums_bytes + (4 * S::rows * (S::warps + S::split) + 7) / 8 * 8;

  gemv_ring<S> ring;
  ring.base = shared_address(ring_at);
  ring.bars = shared_address(smem + BARRIERS + 8 * warp * S::stages);
  ring.codes = (const unsigned char *)codes;
  ring.scales = (const unsigned char *)scales;
  ring.first = S::units * slice / (S::warps * S::split);
  ring.last = S::units * (slice + 1) / (S::warps * S::split);
  ring.group = block;
  ring.step = 0;
  ring.groups_a_pass = blocks;
  ring.second = END == GEMV_SILU ? S::groups : 1;
  ring.policy = EVICT ? policy_evict_first() : 0;
  const int units = ring.last - ring.first;
  if (lane == 0) {
    for (int s = 0; s < S::stages; s++) barrier_init(ring.bars + 8 * s, 1);
    barrier_init_fence();
    for (int s = 0; s < S::stages; s++) ring.template fill<EVICT>(s);
  }
  if (S::split > 1) cluster_arrive();
  dependents_may_start();
  gemv_stage_x<S, NORM>(xs, x, g, ring.first, units, lane, squares + warp);
  __syncwarp();
  if (S::split > 1) cluster_wait();

  int column[S::column_tiles];
#pragma unroll
  for (int c = 0; c < S::column_tiles; c++) {
    int want = c * 8 + (lane >> 2);
    column[c] = (S::columns <= 4 ? want % S::columns : min(want, S::columns - 1)) * 4 + (lane & 3);
  }
  int stage = 0;
  u32 parity = 0;
  for (int batch = block; batch < S::groups; batch += blocks * S::batch) {
    int done = 0;
    for (int group = batch; done < S::batch && group < S::groups; group += blocks, done++) {
      float acc[S::tiles][S::column_tiles][4] = {};
      for (int at = 0; at < units; at += S::chunk) {
        barrier_wait(ring.bars + 8 * stage, parity);
        const unsigned char *q = ring_at + stage * S::stage_bytes, *s = q + S::tiles * S::chunk * 512;
        const uint4 *b = (const uint4 *)xs + at * S::columns * 8;
        if (units - at >= S::chunk) {
#pragma unroll
          for (int u = 0; u < S::chunk; u++) gemv_unit<S>(acc, q + u * 512, s + u * 64, b + u * S::columns * 8, column, lane);
        } else {
          for (int u = 0; u < units - at; u++) gemv_unit<S>(acc, q + u * 512, s + u * 64, b + u * S::columns * 8, column, lane);
        }
        __syncwarp();
        if (lane == 0) ring.template fill<EVICT>(stage);
        if (++stage == S::stages) {
          stage = 0;
          parity ^= 1;
        }
      }
      gemv_put_sums<S>(sums + (done * S::warps + warp) * S::sum, acc, lane);
    }
    __syncthreads();
    if (S::split > 1) {
      for (int i = threadIdx.x; i < done * S::sum; i += S::warps * 32) {
        const float *p = sums + i / S::sum * S::warps * S::sum + i % S::sum;
        float v = 0.0f;
#pragma unroll
        for (int w = 0; w < S::warps; w++) v += p[w * S::sum];
        store_cluster(cluster_address(shared_address(gathered + rank * S::batch * S::sum + i), 0), v);
      }
      if (NORM && batch == block && threadIdx.x < S::rows) {
        float v = 0.0f;
        for (int w = 0; w < S::warps; w++) v += squares[threadIdx.x * S::warps + w];
        store_cluster(cluster_address(shared_address(gathered_squares + threadIdx.x * S::split + rank), 0), v);
      }
      cluster_arrive();
      cluster_wait();
    }
    if (rank == 0) {
      constexpr int PARTS = S::split > 1 ? S::split : S::warps;
      constexpr int PART = S::split > 1 ? S::batch * S::sum : S::sum, NEXT = S::split > 1 ? S::sum : S::warps * S::sum;
      const float *from = S::split > 1 ? gathered : sums, *ss = S::split > 1 ? gathered_squares : squares;
      constexpr int OUT = END == GEMV_SILU ? 16 * S::rows : S::sum;
      for (int i = threadIdx.x; i < done * OUT; i += S::warps * 32) {
        int which = i / OUT, o = i % OUT, row = o / 16 % S::rows, r = o / 16 / S::rows;
        const float *p = from + which * NEXT + o;
        float v = 0.0f, up = 0.0f;
#pragma unroll
        for (int w = 0; w < PARTS; w++) {
          v += p[w * PART];
          if (END == GEMV_SILU) up += p[w * PART + OUT];
        }
        float factor = S::wide || NORM ? 16.0f : 1.0f;
        if (NORM) {
          float all = 0.0f;
#pragma unroll
          for (int w = 0; w < PARTS; w++) all += ss[row * PARTS + w];
          factor *= rsqrtf(all / (float)S::inputs + eps);
        }
        v *= factor;
        int group = batch + which * blocks;
        if (END == GEMV_SILU) {
          v = v / (1.0f + __expf(-v)) * (up * factor);
          gemv_write(y, (size_t)row * (S::outputs / 2) + (size_t)group * 16 + o % 16, v, false);
        } else {
          gemv_write(y, (size_t)row * S::outputs + ((size_t)group * S::tiles + r) * 16 + o % 16, v, END == GEMV_ADD);
        }
      }
    }
    if (batch + blocks * S::batch < S::groups) {  // sums are to be written again
      __syncthreads();
      if (S::split > 1) {
        cluster_arrive();
        cluster_wait();
      }
    }
  }
}
