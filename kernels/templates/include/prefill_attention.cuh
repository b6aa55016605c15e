// Causal attention of many query positions over a cache of rows on Hopper (method: FlashAttention-3, Shah et al. 2024).
//
// An item of work is 128 query rows of one head; items go from the longest to the shortest, back and forth over the blocks. One thread of a producer
// warpgroup copies the queries, then tiles of 128 keys and values, with the tensor copy engine into two stages of 128-byte swizzled shared memory, and
// goes on with the next item while this one ends; two consumer warpgroups of 64 rows each keep their queries in registers and multiply by wgmma. The
// next tile's scores are issued before the current tile's values, and the softmax runs while the values multiply. With PINGPONG the two warpgroups take
// turns at the tensor cores. Tiles go from the newest to the oldest, so that masking comes first.
#pragma once
#include "prefill_ptx.cuh"

enum { D = TS_D, ROWS = 128, TILE = 128, CHUNKS = D / 64, Q_BYTES = ROWS * D * 2, KV_BYTES = TILE * D * 2 };
static_assert(D == 64 || D == 128, "heads of 64 or 128");

struct shared_layout {
  u32 q, k, v, full_q, empty_q, full_k, full_v, empty_k, empty_v;  // addresses; two stages of k and v, barriers of 8 bytes a stage
};

// Its places in the block's dynamic shared memory, 128 * D * 2 * 5 + 1024 + 128 bytes; thread 0 begins the barriers. The block must meet afterwards.
static __device__ __forceinline__ shared_layout lay_out(const void *raw) {
  shared_layout s;
  s.q = (shared_address(raw) + 1023) & ~1023u, s.k = s.q + Q_BYTES, s.v = s.k + 2 * KV_BYTES;
  s.full_q = s.v + 2 * KV_BYTES, s.empty_q = s.full_q + 8, s.full_k = s.empty_q + 8, s.full_v = s.full_k + 16, s.empty_k = s.full_v + 16, s.empty_v = s.empty_k + 16;
  if (threadIdx.x == 0) {
    barrier_init(s.full_q, 1), barrier_init(s.empty_q, 256);
    for (int i = 0; i < 2; i++) {
      barrier_init(s.full_k + 8 * i, 1), barrier_init(s.full_v + 8 * i, 1);
      barrier_init(s.empty_k + 8 * i, 2), barrier_init(s.empty_v + 8 * i, 2);
    }
    barrier_init_fence();
  }
  return s;
}

// The work of a block: items by falling length, so that the sums of what blocks have are nearly the same.
struct work {
  int head, row, tiles;  // row: the first query; tiles of keys
};
static __device__ __forceinline__ bool work_item(work &w, int round, int t, int rows) {
  const int blocks = (int)gridDim.x, me = (int)blockIdx.x, item = round * blocks + (round & 1 ? blocks - 1 - me : me), tall = (rows + ROWS - 1) / ROWS;
  if (item >= tall * TS_H) return false;
  w.head = item % TS_H;
  w.row = (tall - 1 - item / TS_H) * ROWS;
  w.tiles = (t + min(rows, w.row + ROWS) + TILE - 1) / TILE;
  return true;
}

// One thread copies for all items of the block.
static __device__ __forceinline__ void produce(const shared_layout &s, const tensor_map *qm, const tensor_map *km, const tensor_map *vm, int t, int rows) {
  work w;
  u32 done = 0;  // tiles of earlier items
  for (int round = 0; work_item(w, round, t, rows); round++) {
    const int kv_head = w.head / (TS_H / TS_HK);
    barrier_wait(s.empty_q, (round & 1) ^ 1);
    barrier_expect(s.full_q, Q_BYTES);
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.q + c * ROWS * 128, qm, 64 * c, w.head, w.row, s.full_q);
    for (int i = 0; i < w.tiles; i++, done++) {
      const int position = (w.tiles - 1 - i) * TILE;
      const u32 stage = done & 1, parity = (done >> 1 & 1) ^ 1;
      barrier_wait(s.empty_k + 8 * stage, parity);
      barrier_expect(s.full_k + 8 * stage, KV_BYTES);
      for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.k + stage * KV_BYTES + c * TILE * 128, km, 64 * c, position, kv_head, s.full_k + 8 * stage);
      barrier_wait(s.empty_v + 8 * stage, parity);
      barrier_expect(s.full_v + 8 * stage, KV_BYTES);
      for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.v + stage * KV_BYTES + c * TILE * 128, vm, 64 * c, position, kv_head, s.full_v + 8 * stage);
    }
  }
}

// The warp's sixteen queries as operands.
static __device__ __forceinline__ void load_queries(u32 (&a)[D / 16][4], u32 q) {
  const int lane = threadIdx.x & 31, row = 16 * ((threadIdx.x & 127) >> 5) + (lane & 15);
#pragma unroll
  for (int i = 0; i < D / 16; i++) load_matrices(a[i], q + i / 4 * ROWS * 128 + row * 128 + ((i % 4 * 32 + (lane >> 4) * 16) ^ ((row & 7) << 4)));
}
// Scores of one tile; asynchronous, as are values.
static __device__ __forceinline__ void issue_scores(float (&d)[64], const u32 (&q)[D / 16][4], u32 k) {
#pragma unroll
  for (int i = 0; i < D / 16; i++) wgmma_scores(d, q[i], descriptor(k + i / 4 * TILE * 128 + i % 4 * 32, 16), i != 0);
}
static __device__ __forceinline__ void issue_values(float (&o)[D / 2], const u32 (&p)[TILE / 16][4], u32 v) {
#pragma unroll
  for (int i = 0; i < TILE / 16; i++) wgmma_values(o, p[i], descriptor(v + i * 2048, TILE * 128));
}

// Score of a key that a row does not see. A power of two: its product with the scale is exact, so that a row that sees nothing of a tile gets
// weights of 1 there, which the next tile's factor of 0 takes away. Rounded, the difference of two such products is 1e20, and its exponential inf.
#define UNSEEN -0x1p100f

// Columns beyond `seen[r]` of row r.
static __device__ __forceinline__ void mask(float (&s)[64], int column, const int (&seen)[2]) {
#pragma unroll
  for (int j = 0; j < 16; j++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (column + 8 * j + (e & 1) > seen[e >> 1]) s[4 * j + e] = UNSEEN;
}
// Running softmax of the two rows that a thread shares with three others: weights replace the scores. m: the score whose weight is 1: the largest, or with
// LAZY one that no score exceeds by more than a factor of 64. Whether it moved in a row of the warp: then f is what earlier sums are multiplied by.
static __device__ __forceinline__ bool softmax(float (&s)[64], float (&m)[2], float (&l)[2], float (&f)[2]) {
  const float scale = 1.4426950408889634f * rsqrtf((float)D);
  float top[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    top[r] = m[r];
#pragma unroll
    for (int j = 0; j < 16; j++) top[r] = fmaxf(top[r], fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
    top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
    top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
  }
  const bool moves = !LAZY || __any_sync(~0u, fmaxf(top[0] - m[0], top[1] - m[1]) * scale > 6.0f);
  if (moves) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      f[r] = exp2_fast((m[r] - top[r]) * scale);
      m[r] = top[r];
      l[r] *= f[r];
    }
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float shift = m[r] * scale;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 16; j++) {
      s[4 * j + 2 * r] = exp2_fast(fmaf(s[4 * j + 2 * r], scale, -shift));
      s[4 * j + 2 * r + 1] = exp2_fast(fmaf(s[4 * j + 2 * r + 1], scale, -shift));
      sum += s[4 * j + 2 * r] + s[4 * j + 2 * r + 1];
    }
    l[r] += sum;
  }
  return moves;
}
static __device__ __forceinline__ void to_operand(u32 (&p)[TILE / 16][4], const float (&s)[64]) {
#pragma unroll
  for (int i = 0; i < TILE / 16; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) p[i][e] = pack_f16(s[8 * i + 2 * e], s[8 * i + 2 * e + 1]);
}

// One item. t: position of query row 0; rows: query rows in all; done: tiles of earlier items; more: another item follows.
static __device__ __forceinline__ void consume_item(const shared_layout &sh, const work &w, int round, u32 done, bool more, int warpgroup, int t, int rows, u16 *y) {
  const int thread = threadIdx.x & 127, lane = thread & 31, mine = w.row + 64 * warpgroup + 16 * (thread >> 5) + (lane >> 2), column = 2 * (lane & 3), tiles = w.tiles;
  const int seen_at[2] = {t + mine, t + mine + 8};
  float s[64], o[D / 2], m[2] = {UNSEEN, UNSEEN}, l[2] = {0, 0}, f[2];
  u32 q[D / 16][4], p[TILE / 16][4];
#pragma unroll
  for (int i = 0; i < D / 2; i++) o[i] = 0;
  // the last tile that needs no mask for any row of this warpgroup is before this one
  const int first_masked = (t + w.row + 64 * warpgroup + 1) / TILE;

  barrier_wait(sh.full_q, round & 1);
  load_queries(q, sh.q + warpgroup * 64 * 128);
  barrier_arrive(sh.empty_q);
  barrier_wait(sh.full_k + 8 * (done & 1), done >> 1 & 1);
#if PINGPONG
  turn_wait(warpgroup);
#endif
  wgmma_begin();
  issue_scores(s, q, sh.k + (done & 1) * KV_BYTES);
  wgmma_end();
#if PINGPONG
  turn_give(1 - warpgroup);
#endif
  wgmma_wait_for<0>();
  if (thread == 0) barrier_arrive(sh.empty_k + 8 * (done & 1));
  if (tiles - 1 >= first_masked) {
    const int seen[2] = {seen_at[0] - (tiles - 1) * TILE, seen_at[1] - (tiles - 1) * TILE};
    mask(s, column, seen);
  }
  (void)softmax(s, m, l, f);
  to_operand(p, s);
  for (int i = 1; i < tiles; i++) {
    const u32 now = done + i, last = now - 1, stage = now & 1, before = stage ^ 1;
    const int tile = tiles - 1 - i;
    barrier_wait(sh.full_k + 8 * stage, now >> 1 & 1);
#if PINGPONG
    turn_wait(warpgroup);
#endif
    wgmma_begin();
    issue_scores(s, q, sh.k + stage * KV_BYTES);
    wgmma_end();
    barrier_wait(sh.full_v + 8 * before, last >> 1 & 1);
    issue_values(o, p, sh.v + before * KV_BYTES);
    wgmma_end();
#if PINGPONG
    turn_give(1 - warpgroup);
#endif
    wgmma_wait_for<1>();
    if (thread == 0) barrier_arrive(sh.empty_k + 8 * stage);
    if (tile >= first_masked) {
      const int seen[2] = {seen_at[0] - tile * TILE, seen_at[1] - tile * TILE};
      mask(s, column, seen);
    }
    const bool rescale = softmax(s, m, l, f);
    wgmma_wait_for<0>();
    if (thread == 0) barrier_arrive(sh.empty_v + 8 * before);
    if (rescale) {
#pragma unroll
      for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) o[4 * j + e] *= f[e >> 1];
    }
    to_operand(p, s);
  }
  const u32 last = done + tiles - 1;
  barrier_wait(sh.full_v + 8 * (last & 1), last >> 1 & 1);
#if PINGPONG
  turn_wait(warpgroup);
#endif
  wgmma_begin();
  issue_values(o, p, sh.v + (last & 1) * KV_BYTES);
  wgmma_end();
#if PINGPONG
  if (warpgroup == 0 || more) turn_give(1 - warpgroup);
#endif
#pragma unroll
  for (int r = 0; r < 2; r++) {
    l[r] += __shfl_xor_sync(~0u, l[r], 1);
    l[r] += __shfl_xor_sync(~0u, l[r], 2);
  }
  wgmma_wait_for<0>();
  if (thread == 0) barrier_arrive(sh.empty_v + 8 * (last & 1));
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float inverse = 1.0f / l[r];
    u16 *out = y + ((size_t)(mine + 8 * r) * TS_H + w.head) * D + column;
    if (mine + 8 * r < rows) {
#pragma unroll
      for (int j = 0; j < D / 8; j++) *(u32 *)(out + 8 * j) = pack_f16(o[4 * j + 2 * r] * inverse, o[4 * j + 2 * r + 1] * inverse);
    }
  }
}

static __device__ __forceinline__ void consume(const shared_layout &sh, int warpgroup, int t, int rows, u16 *y) {
  work w, next;
  u32 done = 0;
  bool more = work_item(w, 0, t, rows);
#if PINGPONG
  if (warpgroup == 1 && more) turn_give(0);
#endif
  for (int round = 0; more; round++) {
    more = work_item(next, round + 1, t, rows);
    consume_item(sh, w, round, done, more, warpgroup, t, rows, y);
    done += w.tiles;
    w = next;
  }
}
