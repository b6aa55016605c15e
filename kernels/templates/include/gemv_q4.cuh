// gemv_q4: y[n, N] = x[n, K] . w[N, K]^T for few rows of x, on weights of the packed layout "mma" (kernels/ops/matmul.mma.tir).
//
// One producer warp streams the weights of its block's row tiles through a ring in shared memory by bulk copies. It starts before
// the kernel before this one has ended: weights depend on nothing. The other warps share the units (16 rows, 64 of K) of every stage, so
// that each always meets the same slices of K: it keeps its own part of x, and no warp waits for another until the sums are added up.
//
// The next kernel may start when few stages are left to be asked for, so that its ring fills while this kernel ends, and never before the
// last one has ended: then every multiprocessor has a block of this kernel and room for one more, and none gets two blocks of the next kernel
// while others get none. Small kernels, and those with one block a multiprocessor by its size, let it start at once (LEFT 99).
// How much is on the way is bounded: x, results and the end of the kernel before wait behind it.
//
// x becomes integers: 24 bits (three signed bytes, a column of m16n8k32 each) or 16 (two) of the largest of the warp's part. The packed
// words are the tile's bytes as they stand: the low nibbles of a word are four codes of row g, the high nibbles sixteen times four codes
// of row g + 8. Sums of 32 codes are exact; then they are scaled in f32. A sum starts as the bits of 1.5 * 2^23, less seven times
// the sum of x (which another multiplication gives, by -7): as a float it needs one subtraction.
//
// GPUs before compute capability 9.0 have no bulk copies, no clusters, and start a kernel when the one before it has ended: no producer warp there
// (BULK): every warp copies the units that it takes, sixteen bytes a lane, and waits for nobody else's.
#pragma once
#include "stream_ptx.cuh"

enum gemv_end { GEMV_STORE, GEMV_ADD, GEMV_SILU };

// When a kernel asks for memory. left: the next kernel may start once no more stages than that are left to be asked for; 99: at once.
// fill, flight: most stages on the way while the ring fills for the first time, and later; 0: all of them.
struct gemv_pace {
  int left, fill, flight;
};

// ORDER: the sizes are those of the defines of the templates that include this.
// PARTS: bytes of an element of x, 2 or 3. EACH: units of a stage that a warp takes of each tile.
template <int a_outputs, int a_inputs, int a_rows, int a_parts, int a_warps, int a_stages, int a_each, int a_tiles, int a_split, int a_batch>
struct gemv_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, parts = a_parts, warps = a_warps, stages = a_stages, each = a_each;
  static constexpr int tiles = a_tiles, split = a_split, batch = a_batch;
  static constexpr int units = inputs / 64, chunk = warps * each;             // units of K; of a stage and tile
  static constexpr int slice = (units + split - 1) / split;                    // units of a block
  static constexpr int most = (slice + warps - 1) / warps;                     // units of a warp
  static constexpr bool even = units % split == 0 && slice % chunk == 0;       // every stage is whole
  static constexpr int wide = parts == 3 ? 4 : 2, columns = (rows * wide + 7) / 8;  // columns a row of x; tiles of eight columns
  static constexpr int groups = outputs / 16 / tiles;
  static constexpr int stage_bytes = tiles * chunk * 576;  // codes of the tiles, then scales of the tiles
  static constexpr int ring_bytes = stages * stage_bytes;
  static constexpr int part_bytes = most * rows * parts * 64, staged_bytes = warps * part_bytes;  // x
  static constexpr int sum = tiles * 16 * rows;  // sums of one group of tiles in one warp
  static constexpr int sums_bytes = 4 * batch * sum * (warps + (split > 1 ? split : 0));
  static constexpr int squares_bytes = (4 * rows * (warps + split) + 7) / 8 * 8;
  static constexpr int bytes = ring_bytes + staged_bytes + sums_bytes + squares_bytes + 16 * stages + (split > 1 ? 16 : 0);
};

// Tile r of a group: with gates and ups side by side the first half of a group are gates, the other half their ups.
template <typename S, bool PAIRED> __device__ __forceinline__ size_t gemv_tile(int group, int r) {
  constexpr int half = S::tiles / 2;
  static_assert(!PAIRED || S::tiles % 2 == 0, "a gate has its up in the same group");
  if (!PAIRED) return (size_t)group * S::tiles + r;
  return (size_t)group * half + (r < half ? r : r - half + S::groups * half);
}

template <typename S, bool PAIRED, bool EVICT>
__device__ __forceinline__ void gemv_produce(u32 ring, u32 bars, const unsigned char *codes, const unsigned char *scales, int block, int blocks, int first, int last,
                                             gemv_pace pace) {
  u64 policy = EVICT ? policy_evict_first() : 0;
  int stage = 0, asked = 0, all = (S::groups - block + blocks - 1) / blocks * ((last - first + S::chunk - 1) / S::chunk);
  u32 parity = 1;
  for (int group = block; group < S::groups; group += blocks)
    for (int at = first; at < last; at += S::chunk) {
      if (asked == S::stages) wait_for_predecessors();
      if (asked >= S::stages && all - asked <= pace.left) dependents_may_start();
      asked++;
      int units = min(S::chunk, last - at);
      u32 bar = bars + 16 * stage, to = ring + S::stage_bytes * stage;
      barrier_wait(bar + 8, parity);
      const int most = asked <= S::stages ? pace.fill : pace.flight;
      if (most && most < S::stages && asked > most) {  // the stage asked for so many before has come
        const int before = stage - most;
        barrier_wait(bars + 16 * (before < 0 ? before + S::stages : before), before < 0 ? parity : parity ^ 1);
      }
      barrier_expect(bar, S::tiles * units * 576);
#pragma unroll
      for (int r = 0; r < S::tiles; r++) {
        size_t unit = gemv_tile<S, PAIRED>(group, r) * S::units + at;
        u32 scales_to = to + S::tiles * S::chunk * 512 + r * S::chunk * 64;
        if (EVICT) {
          copy_bulk_hint(to + r * S::chunk * 512, codes + unit * 512, units * 512, bar, policy);
          copy_bulk_hint(scales_to, scales + unit * 64, units * 64, bar, policy);
        } else {
          copy_bulk(to + r * S::chunk * 512, codes + unit * 512, units * 512, bar);
          copy_bulk(scales_to, scales + unit * 64, units * 64, bar);
        }
      }
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  wait_for_predecessors();
  dependents_may_start();
}

// Without a producer: what is copied next into a warp's part of the ring. A stage is a group of copies, also where nothing is left.
template <typename S, bool PAIRED, bool BULK> struct gemv_own_ring {  // with one: nothing
  __device__ __forceinline__ gemv_own_ring(const unsigned char *, const void *, const void *, int, int, int, int, int, int) {}
  __device__ __forceinline__ void fill() {}
};
template <typename S, bool PAIRED> struct gemv_own_ring<S, PAIRED, false> {
  const unsigned char *codes, *scales;     // of the lane, in the first unit of all
  u32 codes_to, scales_to;                 // of the lane, in the first stage
  int group, blocks, at, first, last, stage;  // that are next; of the block
  int own, tile, scaled;                   // the warp's first unit of a stage; of the scales that the lane copies, four lanes a unit

  __device__ __forceinline__ gemv_own_ring(const unsigned char *ring, const void *all_codes, const void *all_scales, int block, int blocks, int first, int last, int warp, int lane)
      : group(block), blocks(blocks), at(first), first(first), last(last), stage(0), own(warp) {
    tile = lane / 4 / S::each, scaled = warp + lane / 4 % S::each * S::warps;
    codes = (const unsigned char *)all_codes + lane * 16;
    scales = (const unsigned char *)all_scales + lane % 4 * 16;
    codes_to = shared_address(ring) + warp * 512 + lane * 16;
    scales_to = shared_address(ring) + S::tiles * S::chunk * 512 + (tile * S::chunk + scaled) * 64 + lane % 4 * 16;
  }
  __device__ __forceinline__ void fill() {
    const bool any = group < S::groups;
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      const unsigned char *from = codes + (gemv_tile<S, PAIRED>(group, r) * S::units + at + own) * 512;
#pragma unroll
      for (int i = 0; i < S::each; i++)
        copy16_if(codes_to + stage * S::stage_bytes + (r * S::chunk + i * S::warps) * 512, from + i * S::warps * 512, any && at + own + i * S::warps < last);
    }
    copy16_if(scales_to + stage * S::stage_bytes, scales + (gemv_tile<S, PAIRED>(group, tile) * S::units + at + scaled) * 64, any && tile < S::tiles && at + scaled < last);
    copies_close();
    if (++stage == S::stages) stage = 0;
    at += S::chunk;
    if (at >= last) at = first, group += blocks;
  }
};

__device__ __forceinline__ float2 gemv_load(const float *x, size_t i) {
  return load2(x + i);
}
__device__ __forceinline__ float2 gemv_load(const u16 *x, size_t i) {
  return unpack_f16(load_u32(x + i));
}

// This warp's part of x (times the norm's weights), as bytes: for its unit u, row and part, and each t of a column, the four words that
// are the B fragments of both groups of 32. Scales of the rows to scale, sums of squares to squares.
template <typename S, bool NORM, typename X>
__device__ __forceinline__ void gemv_stage_x(u32 *xs, const X *x, const float *g, int first, int last, int warp, int lane, float *squares, float (&scale)[S::rows]) {
  constexpr int PAIRS = (S::most + 1) / 2;
  const int word = lane >> 2 & 3, t = lane & 3, k = word * 16 + 2 * t;
  float w[PAIRS][4];
  if (NORM) {
#pragma unroll
    for (int p = 0; p < PAIRS; p++) {
      int u = first + warp + (2 * p + (lane >> 4)) * S::warps;
      if (u >= last) continue;
      *(float2 *)w[p] = *(const float2 *)(g + u * 64 + k);
      *(float2 *)(w[p] + 2) = *(const float2 *)(g + u * 64 + k + 8);
    }
  }
  wait_for_predecessors();
#pragma unroll 1
  for (int row = 0; row < S::rows; row++) {
    float v[PAIRS][4], most = 0.0f, ss = 0.0f;
#pragma unroll
    for (int p = 0; p < PAIRS; p++) {
      int u = first + warp + (2 * p + (lane >> 4)) * S::warps;
      float2 a = {0.0f, 0.0f}, b = {0.0f, 0.0f};
      if (u < last) {
        a = gemv_load(x, (size_t)row * S::inputs + u * 64 + k);
        b = gemv_load(x, (size_t)row * S::inputs + u * 64 + k + 8);
      }
      v[p][0] = a.x;
      v[p][1] = a.y;
      v[p][2] = b.x;
      v[p][3] = b.y;
    }
#pragma unroll
    for (int p = 0; p < PAIRS; p++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (NORM) {
          int u = first + warp + (2 * p + (lane >> 4)) * S::warps;
          ss += v[p][i] * v[p][i];
          if (u < last) v[p][i] *= w[p][i];
        }
        most = fmaxf(most, fabsf(v[p][i]));
      }
    most = warp_most(most);
    const float range = S::parts == 3 ? 8323072.0f : 32512.0f;
    float inverse = most > 0.0f ? range / most : 0.0f;
#pragma unroll
    for (int r = 0; r < S::rows; r++)
      if (r == row) scale[r] = most / range;
#pragma unroll
    for (int p = 0; p < PAIRS; p++) {
      int u = 2 * p + (lane >> 4);
      u32 y[4], *to = xs + ((u * S::rows + row) * S::parts * 4 + t) * 4 + word;
#pragma unroll
      for (int i = 0; i < 4; i++) y[i] = (u32)(__float2int_rn(v[p][i] * inverse) + (S::parts == 3 ? 0x8080 : 0x80));
      if (u >= S::most) continue;
      // bytes of a word: k, k + 8, k + 1, k + 9
      u32 a = pick_bytes(y[0], y[2], 0x5140), b = pick_bytes(y[1], y[3], 0x5140);
      u32 low = pick_bytes(a, b, 0x5410) ^ 0x80808080u, middle = pick_bytes(a, b, 0x7632);
      if (S::parts == 3) {
        to[0] = pick_bytes(pick_bytes(y[0], y[2], 0x0062), pick_bytes(y[1], y[3], 0x0062), 0x5410);
        to[16] = middle ^ 0x80808080u;
        to[32] = low;
      } else {
        to[0] = middle;
        to[16] = low;
      }
    }
    if (NORM) {  // not needed before the end
#pragma unroll
      for (int m = 16; m; m >>= 1) ss += __shfl_xor_sync(~0u, ss, m);
      if (lane == 0) squares[row * S::warps] = ss;
    }
  }
}

// One unit of each tile of the group: exact sums of 32 codes in tensor cores, times the scales into acc.
template <typename S>
__device__ __forceinline__ void gemv_unit(float (&acc)[S::tiles][S::columns][4], const unsigned char *codes, const unsigned char *scales, const uint4 *xs,
                                          const int (&column)[S::columns], int lane) {
  const float start = 12582912.0f;
  const int bits[4] = {0x4b400000, 0x4b400000, 0x4b400000, 0x4b400000};
  // Low nibbles alone, or whole bytes, less the high nibbles' product afterwards: as exact, and half of the masks, for a row of two bytes
  // (in groups of four tiles the registers it takes cost more).
  constexpr bool whole = S::parts == 2 && S::rows == 1 && S::tiles <= 2;
  const u32 low = whole ? ~0u : 0x0f0f0f0fu, seven = whole ? 0x89898989u : 0xf9f9f9f9u;
  const u32 sevens[4] = {seven, 0x90909090u, seven, 0x90909090u};  // -7 (and -112) for rows g, -112 for rows g + 8
  int zero[S::columns][2][4];
  uint4 b[S::columns];
#pragma unroll
  for (int c = 0; c < S::columns; c++) {
    b[c] = xs[column[c]];
    mma_s8_s8(zero[c][0], sevens, b[c].x, b[c].y, bits);
    mma_s8_s8(zero[c][1], sevens, b[c].z, b[c].w, bits);
  }
#pragma unroll
  for (int r = 0; r < S::tiles; r++) {
    uint4 q = *(const uint4 *)(codes + r * S::chunk * 512 + lane * 16);
    uint2 s = *(const uint2 *)(scales + r * S::chunk * 64 + (lane >> 2) * 8);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 q0 = h ? q.z : q.x, q1 = h ? q.w : q.y;
      u32 a[4] = {q0 & low, q0 & 0xf0f0f0f0u, q1 & low, q1 & 0xf0f0f0f0u};
      float2 scale = unpack_f16(h ? s.y : s.x);
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        int d[4];
        mma_u8_s8(d, a, h ? b[c].z : b[c].x, h ? b[c].w : b[c].y, zero[c][h]);
        acc[r][c][0] = fmaf(scale.x, __int_as_float(d[0]) - (whole ? __int_as_float(d[2]) : start), acc[r][c][0]);
        acc[r][c][1] = fmaf(scale.x, __int_as_float(d[1]) - (whole ? __int_as_float(d[3]) : start), acc[r][c][1]);
        acc[r][c][2] = fmaf(scale.y, __int_as_float(d[2]) - start, acc[r][c][2]);
        acc[r][c][3] = fmaf(scale.y, __int_as_float(d[3]) - start, acc[r][c][3]);
      }
    }
  }
}

// Sums of one group of tiles from the fragments to sums[tile][row of x][16]: the bytes' columns come together.
template <typename S>
__device__ __forceinline__ void gemv_put_sums(float *sums, float (&acc)[S::tiles][S::columns][4], const float (&scale)[S::rows], int lane) {
  const int g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int c = 0; c < S::columns; c++) {
    int row = S::parts == 3 ? c * 2 + t / 2 : c * 4 + t;
    float factor = scale[0];
#pragma unroll
    for (int r = 1; r < S::rows; r++)
      if (r == row) factor = scale[r];
#pragma unroll
    for (int r = 0; r < S::tiles; r++) {
      float *d = acc[r][c], low, high;
      if (S::parts == 3) {  // an even t has the upper two bytes, the next the lowest
        low = d[0] * 65536.0f + d[1] * 256.0f + __shfl_xor_sync(~0u, d[0], 1);
        high = d[2] * 65536.0f + d[3] * 256.0f + __shfl_xor_sync(~0u, d[2], 1);
      } else {
        low = d[0] * 256.0f + d[1];
        high = d[2] * 256.0f + d[3];
      }
      if (row < S::rows && (S::parts == 2 || t % 2 == 0)) {
        sums[(r * S::rows + row) * 16 + g] = low * factor;
        sums[(r * S::rows + row) * 16 + g + 8] = high * (factor * 0.0625f);
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

// The sums of a batch of tile groups, added up over warps (and over the blocks of the cluster), to y.
template <typename S, int END, bool NORM, typename Y>
__device__ __forceinline__ void gemv_finish(Y *y, const float *from, const float *squares, int batch, int blocks, int done, float eps) {
  constexpr int COUNT = S::split > 1 ? S::split : S::warps;
  constexpr int PART = S::split > 1 ? S::batch * S::sum : S::sum, NEXT = S::split > 1 ? S::sum : S::warps * S::sum;
  constexpr int SHOWN = END == GEMV_SILU ? S::tiles / 2 : S::tiles, OUT = SHOWN * 16 * S::rows;
  for (int i = threadIdx.x; i < done * OUT; i += S::warps * 32) {
    int which = i / OUT, o = i % OUT, row = o / 16 % S::rows, r = o / 16 / S::rows, group = batch + which * blocks;
    const float *p = from + which * NEXT + o;
    float v = 0.0f, up = 0.0f, all = 0.0f, factor = 1.0f;
#pragma unroll
    for (int w = 0; w < COUNT; w++) {
      v += p[w * PART];
      if (END == GEMV_SILU) up += p[w * PART + OUT];
      if (NORM) all += squares[row * COUNT + w];
    }
    if (NORM) factor = rsqrtf(all / (float)S::inputs + eps);
    v *= factor;
    if (END == GEMV_SILU) {
      v = v / (1.0f + __expf(-v)) * (up * factor);
      gemv_write(y, (size_t)row * (S::outputs / 2) + ((size_t)group * SHOWN + r) * 16 + o % 16, v, false);
    } else {
      gemv_write(y, (size_t)row * S::outputs + ((size_t)group * SHOWN + r) * 16 + o % 16, v, END == GEMV_ADD);
    }
  }
}

// The sums of this block's warps to the first block of the cluster, which has them all when this returns there. There is one batch. They go as
// copies that complete on met: no block waits for its stores, behind the copies of the next kernel, before it says that they are there.
template <typename S, bool NORM>
__device__ __forceinline__ void gemv_gather(const float *sums, const float *squares, float *gathered, float *gathered_squares, int rank, int done, u32 met) {
  if (rank == 0 && threadIdx.x == 0) barrier_expect(met, (S::split - 1) * (done * S::sum + (NORM ? S::rows : 0)) * 4);
  const u32 far = cluster_address(shared_address(gathered + rank * S::batch * S::sum), 0), far_met = cluster_address(met, 0);
  for (int i = threadIdx.x * 4; i < done * S::sum; i += S::warps * 128) {
    const float *p = sums + i / S::sum * S::warps * S::sum + i % S::sum;
    float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int w = 0; w < S::warps; w++) {
      const float4 a = *(const float4 *)(p + w * S::sum);
      v.x += a.x;
      v.y += a.y;
      v.z += a.z;
      v.w += a.w;
    }
    if (rank == 0) {
      *(float4 *)(gathered + i) = v;
    } else {
      send_cluster4(far + 4 * i, v, far_met);
    }
  }
  if (NORM && threadIdx.x < S::rows) {
    float v = 0.0f, *to = gathered_squares + threadIdx.x * S::split + rank;
    for (int w = 0; w < S::warps; w++) v += squares[threadIdx.x * S::warps + w];
    if (rank == 0) {
      *to = v;
    } else {
      send_cluster(cluster_address(shared_address(to), 0), v, far_met);
    }
  }
  if (rank) return;
  threads_meet(1, S::warps * 32);
  barrier_wait(met, 0);
}

// BULK: a producer warp behind the others fills the ring.
template <typename S, int END, bool NORM, bool EVICT, bool BULK, typename X, typename Y>
__device__ __forceinline__ void gemv_q4(const X *x, const float *g, const void *codes, const void *scales, Y *y, float eps, gemv_pace pace) {
  SHARED_MEMORY(smem);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int rank = S::split > 1 ? blockIdx.x % S::split : 0, block = blockIdx.x / S::split, blocks = gridDim.x / S::split;
  const int first = S::units * rank / S::split, last = S::units * (rank + 1) / S::split;
  const u32 bars = shared_address(smem + S::bytes - 16 * S::stages - (S::split > 1 ? 16 : 0)), met = bars + 16 * S::stages;
  static_assert(BULK || (S::split == 1 && S::tiles * S::each <= 8), "no clusters; four lanes copy the scales of a unit");
  gemv_own_ring<S, END == GEMV_SILU, BULK> ring(smem, codes, scales, block, blocks, first, last, warp, lane);
  if (!BULK) {
#pragma unroll 1
    for (int s = 0; s < S::stages; s++) ring.fill();
  } else {
    if (threadIdx.x == S::warps * 32) {
      for (int s = 0; s < S::stages; s++) {
        barrier_init(bars + 16 * s, 1);
        barrier_init(bars + 16 * s + 8, S::warps);
      }
      if (S::split > 1) barrier_init(met, 1);
      barrier_init_fence();
    }
    __syncthreads();
  }
  if (S::split > 1) cluster_arrive_bare();
  if (pace.left >= 99) dependents_may_start();
  if (BULK && warp == S::warps) {
    if (lane == 0)
      gemv_produce<S, END == GEMV_SILU, EVICT>(shared_address(smem), bars, (const unsigned char *)codes, (const unsigned char *)scales, block, blocks, first, last,
                                                   pace);
    __syncwarp();
    if (S::split > 1) cluster_wait();
    return;
  }
  u32 *xs = (u32 *)(smem + S::ring_bytes + warp * S::part_bytes);
  float *sums = (float *)(smem + S::ring_bytes + S::staged_bytes), *gathered = sums + S::batch * S::warps * S::sum;
  float *squares = (float *)(smem + S::ring_bytes + S::staged_bytes + S::sums_bytes), *gathered_squares = squares + S::rows * S::warps;
  float scale[S::rows];
  gemv_stage_x<S, NORM>(xs, x, g, first, last, warp, lane, squares + warp, scale);
  __syncwarp();
  if (S::split > 1) cluster_wait();

  int column[S::columns];
#pragma unroll
  for (int c = 0; c < S::columns; c++) {
    int of = c * 8 + (lane >> 2);
    column[c] = (min(of / S::wide, S::rows - 1) * S::parts + min(of % S::wide, S::parts - 1)) * 4 + (lane & 3);
  }
  int stage = 0;
  u32 parity = 0;
  for (int batch = block; batch < S::groups; batch += blocks * S::batch) {
    int done = 0;
    for (int group = batch; done < S::batch && group < S::groups; group += blocks, done++) {
      float acc[S::tiles][S::columns][4] = {};
      const uint4 *b = (const uint4 *)xs;
      for (int at = first; at < last; at += S::chunk, b += S::each * S::rows * S::parts * 4) {
        if (BULK) {
          barrier_wait(bars + 16 * stage, parity);
        } else {
          copies_arrived<S::stages - 1>();
          __syncwarp();
        }
        const unsigned char *q = smem + stage * S::stage_bytes + warp * 512, *s = smem + stage * S::stage_bytes + S::tiles * S::chunk * 512 + warp * 64;
        if (S::even || at + warp + (S::each - 1) * S::warps < last) {  // all of this warp's units are there
#pragma unroll
          for (int i = 0; i < S::each; i++)
            gemv_unit<S>(acc, q + i * S::warps * 512, s + i * S::warps * 64, b + i * S::rows * S::parts * 4, column, lane);
        } else {
          for (int i = 0; at + warp + i * S::warps < last; i++)
            gemv_unit<S>(acc, q + i * S::warps * 512, s + i * S::warps * 64, b + i * S::rows * S::parts * 4, column, lane);
        }
        __syncwarp();
        if (!BULK) ring.fill();
        else if (lane == 0) barrier_arrive(bars + 16 * stage + 8);
        if (++stage == S::stages) {
          stage = 0;
          parity ^= 1;
        }
      }
      gemv_put_sums<S>(sums + (done * S::warps + warp) * S::sum, acc, scale, lane);
    }
    threads_meet(1, S::warps * 32);
    if (S::split > 1) {
      gemv_gather<S, NORM>(sums, squares, gathered, gathered_squares, rank, done, met);
      if (rank) return;
    }
    gemv_finish<S, END, NORM>(y, S::split > 1 ? gathered : sums, S::split > 1 ? gathered_squares : squares, batch, blocks, done, eps);
    if (S::split == 1 && batch + blocks * S::batch < S::groups) threads_meet(1, S::warps * 32);  // sums are to be written again
  }
}
