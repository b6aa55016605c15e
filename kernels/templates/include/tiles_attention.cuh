// tiles_attention: causal attention of many query positions over a cache of rows or pages, with mma.sync and copies of 16 bytes: for GPUs without wgmma
// (flash attention; Dao 2023).
//
// A block has LINES lines, 16 a warp, of one key-value head: line i is head i % GROUP of the query heads that share it, of row i / GROUP. It walks over the keys in
// tiles of 64 positions, of which the next is on its way while one is used. Positions behind the last that the block sees are that one again, and count nothing.
#pragma once
#include "stream_ptx.cuh"

enum { D = TS_D, GROUP = TS_H / TS_HK, LINES = 16 * WARPS, TILE = 64, ROW_BYTES = 2 * D, TILE_BYTES = TILE * ROW_BYTES, CHUNKS = D / 16 };
static_assert(D % 64 == 0, "a row has whole groups of the eight pieces that are swizzled");

// Where a tile keeps 16 bytes of a position.
static __device__ __forceinline__ u32 tiles_piece(int row, int piece) {
  return row * ROW_BYTES + ((piece ^ (row & 7)) << 4);
}

// Elements of the cache before the row of a position.
static __device__ __forceinline__ size_t tiles_row(const int *table, int head, int position) {
#ifdef TS_PAGE
  return (((size_t)table[(u32)position / TS_PAGE] * TS_HK + head) * TS_PAGE + (u32)position % TS_PAGE) * D;
#else
  return ((size_t)head * TS_P + position) * D;
#endif
}

static __device__ __forceinline__ void tiles_copy(u32 to, const int *table, const u16 *kc, const u16 *vc, int head, int base, int last) {
#pragma unroll 4
  for (int i = threadIdx.x; i < TILE * (D / 8); i += 32 * WARPS) {
    const int row = i / (D / 8), piece = i % (D / 8);
    const size_t at = tiles_row(table, head, min(base + row, last)) + piece * 8;
    copy16(to + tiles_piece(row, piece), kc + at);
    copy16(to + TILE_BYTES + tiles_piece(row, piece), vc + at);
  }
  copies_close();
}

// A warp's 16 lines: of a lane those of g and g + 8.
struct tiles_state {
  u32 q[CHUNKS][4];
  float o[D / 8][4], m[2], l[2];
};

// Scores of the lines with the 64 positions of a tile at base; sees: the last position of each of the lane's lines.
static __device__ __forceinline__ void tiles_score(float (&s)[8][4], const tiles_state &me, u32 keys, int base, const int (&sees)[2], int lane) {
  const float scale = 1.4426950408889634f * rsqrtf((float)D);
#pragma unroll
  for (int i = 0; i < 8; i++) {
#pragma unroll
    for (int e = 0; e < 4; e++) s[i][e] = 0.0f;
#pragma unroll
    for (int c = 0; c < CHUNKS; c += 2) {
      u32 b[4];
      load_matrices(b, keys + tiles_piece(i * 8 + (lane & 7), 2 * c + (lane >> 3)));
      mma_m16n8k16(s[i], me.q[c], b[0], b[1]);
      mma_m16n8k16(s[i], me.q[c + 1], b[2], b[3]);
    }
#pragma unroll
    for (int e = 0; e < 4; e++) s[i][e] = base + i * 8 + 2 * (lane & 3) + (e & 1) <= sees[e / 2] ? s[i][e] * scale : -1e30f;
  }
}

// The running softmax takes them in: weights to s.
static __device__ __forceinline__ void tiles_soften(tiles_state &me, float (&s)[8][4]) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float top = me.m[h];
#pragma unroll
    for (int i = 0; i < 8; i++) top = fmaxf(top, fmaxf(s[i][2 * h], s[i][2 * h + 1]));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    const float keep = exp2_fast(me.m[h] - top);
    me.m[h] = top;
    me.l[h] *= keep;
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
      for (int e = 2 * h; e < 2 * h + 2; e++) {
        s[i][e] = exp2_fast(s[i][e] - top);
        me.l[h] += s[i][e];
      }
#pragma unroll
    for (int i = 0; i < D / 8; i++) me.o[i][2 * h] *= keep, me.o[i][2 * h + 1] *= keep;
  }
}

static __device__ __forceinline__ void tiles_values(tiles_state &me, const float (&s)[8][4], u32 values, int lane) {
#pragma unroll
  for (int c = 0; c < TILE / 16; c++) {
    const u32 p[4] = {pack_f16(s[2 * c][0], s[2 * c][1]), pack_f16(s[2 * c][2], s[2 * c][3]), pack_f16(s[2 * c + 1][0], s[2 * c + 1][1]), pack_f16(s[2 * c + 1][2], s[2 * c + 1][3])};
#pragma unroll
    for (int i = 0; i < D / 8; i += 2) {
      u32 b[4];
      load_matrices_turned(b, values + tiles_piece(c * 16 + (lane & 15), i + (lane >> 4)));
      mma_m16n8k16(me.o[i], p, b[0], b[1]);
      mma_m16n8k16(me.o[i + 1], p, b[2], b[3]);
    }
  }
}

static __device__ __forceinline__ void tiles_attention(const u16 *q, const int *table, const u16 *kc, const u16 *vc, u16 *y, int t, int n) {
  SHARED_MEMORY(smem);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, head = blockIdx.y, lines = n * GROUP, blocks = (lines + LINES - 1) / LINES;
  dependents_may_start();
  wait_for_predecessors();
  if ((int)blockIdx.x >= blocks) return;
  const int begin = (blocks - 1 - (int)blockIdx.x) * LINES;  // those that see most come first
  const int last = t + min(begin + LINES - 1, lines - 1) / GROUP, tiles = last / TILE + 1;
  const u32 base = shared_address(smem);
  tiles_copy(base, table, kc, vc, head, 0, last);
  tiles_state me;
  int sees[2];
  size_t at[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int line = min(begin + warp * 16 + 8 * h + (lane >> 2), lines - 1);
    sees[h] = t + line / GROUP;
    at[h] = ((size_t)(line / GROUP) * TS_H + head * GROUP + line % GROUP) * D + 2 * (lane & 3);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) me.q[c][h] = load_u32(q + at[h] + 16 * c), me.q[c][h + 2] = load_u32(q + at[h] + 16 * c + 8);
    me.m[h] = -1e30f, me.l[h] = 0.0f;
  }
#pragma unroll
  for (int i = 0; i < D / 8; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) me.o[i][e] = 0.0f;
#pragma unroll 1
  for (int j = 0; j < tiles; j++) {
    if (j + 1 < tiles) tiles_copy(base + (j + 1) % 2 * (2 * TILE_BYTES), table, kc, vc, head, (j + 1) * TILE, last);
    else copies_close();
    copies_arrived<1>();
    __syncthreads();
    float s[8][4];
    tiles_score(s, me, base + j % 2 * (2 * TILE_BYTES), j * TILE, sees, lane);
    tiles_soften(me, s);
    tiles_values(me, s, base + j % 2 * (2 * TILE_BYTES) + TILE_BYTES, lane);
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float l = me.l[h];
    l += __shfl_xor_sync(~0u, l, 1);
    l += __shfl_xor_sync(~0u, l, 2);
    const float share = 1.0f / l;
    if (begin + warp * 16 + 8 * h + (lane >> 2) >= lines) continue;
#pragma unroll
    for (int i = 0; i < D / 8; i++) *(u32 *)(y + at[h] + 8 * i) = pack_f16(me.o[i][2 * h] * share, me.o[i][2 * h + 1] * share);
  }
}
