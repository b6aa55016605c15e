// Causal attention of many query positions over a cache of rows on Hopper (method: FlashAttention-3, Shah et al. 2024).
//
// An item of work is 128 lines: HEIGHT query rows, with all heads that share a key-value head. Items go from the longest to the shortest, back and forth
// over the blocks. One thread of a producer warpgroup copies the queries, then tiles of 128 keys and values, with the tensor copy engine into two stages of
// 128-byte swizzled shared memory, and goes on with the next item while this one ends; two consumer warpgroups of 64 lines each keep their queries in
// registers and multiply by wgmma. The next tile's scores are issued before the current tile's values, and the softmax runs while the values multiply. With
// PINGPONG the two warpgroups take turns at the tensor cores. Tiles go from the newest to the oldest, so that masking comes first.
//
// Few rows over many keys are fewer items than blocks: then the keys of an item are divided among several blocks, LEAST tiles to each at least (flash-decoding;
// Dao et al. 2023). Their sums meet in the workspace, and each block combines a share of the lines. All blocks of the grid are on the GPU at once, so each
// may wait for the others; the counters are zero between runs.
#pragma once
#include "prefill_ptx.cuh"

enum { D = TS_D, GROUP = TS_H / TS_HK, LINES = 128, TILE = 128, CHUNKS = D / 64, Q_BYTES = HEIGHT * GROUP * D * 2, KV_BYTES = TILE * D * 2 };
static_assert(D == 64 || D == 128, "heads of 64 or 128");
static_assert(HEIGHT >= 1 && HEIGHT * GROUP <= LINES, "all heads of a group in an item");

// The work of a block: items by falling length, so that the sums of what blocks have are nearly the same; or a part of the keys of one item.
struct work {
  int item, head, row;     // of keys and values; the first query row
  int first, tiles;        // of keys; no tiles: the block has nothing to do
  int part, parts, items;  // of the item; all items
  int more;                // the block has another item
};

struct shared_layout {
  u32 q, k, v, full_q, empty_q, full_k, full_v, empty_k, empty_v;  // addresses; two stages of k and v, barriers of 8 bytes a stage
  work *item;              // of even and odd rounds: beside the queries, from the thread that copies them
};

// Its places in the block's dynamic shared memory, 128 * D * 2 * 5 + 1024 + 192 bytes; thread 0 begins the barriers. The block must meet afterwards.
static __device__ __forceinline__ shared_layout lay_out(unsigned char *raw) {
  shared_layout s;
  s.q = (shared_address(raw) + 1023) & ~1023u, s.k = s.q + LINES * D * 2, s.v = s.k + 2 * KV_BYTES;
  s.full_q = s.v + 2 * KV_BYTES, s.empty_q = s.full_q + 8, s.full_k = s.empty_q + 8, s.full_v = s.full_k + 16, s.empty_k = s.full_v + 16, s.empty_v = s.empty_k + 16;
  s.item = (work *)(raw + (s.empty_v + 16 - shared_address(raw)));
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

// Item number `round` of the block.
static __device__ __forceinline__ bool work_item(work &w, int round, int t, int rows) {
  const int blocks = (int)gridDim.x, me = (int)blockIdx.x, at = round * blocks + (round & 1 ? blocks - 1 - me : me), tall = (rows + HEIGHT - 1) / HEIGHT;
  w.items = tall * TS_HK;
  const bool divided = LEAST && blocks >= w.items;
  w.part = divided ? at / w.items : 0;
  w.item = at - w.part * w.items;
  if (w.item >= w.items) return false;
  w.head = w.item % TS_HK;
  w.row = (tall - 1 - w.item / TS_HK) * HEIGHT;
  w.parts = 1, w.first = 0;
  w.tiles = (t + min(rows, w.row + HEIGHT) + TILE - 1) / TILE;
  if (divided) {
    const int all = w.tiles;
    w.parts = min(blocks / w.items, (all + LEAST - 1) / max(LEAST, 1));
    w.first = all * w.part / w.parts;
    w.tiles = all * (w.part + 1) / w.parts - w.first;
  }
  return w.part < w.parts;
}

// Lines of an item: the heads of the first row, of the second, ...
static __device__ __forceinline__ void produce_queries(const shared_layout &s, const tensor_map *qm, const work &w) {
  barrier_expect(s.full_q, Q_BYTES);
  for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.q + c * LINES * 128, qm, 64 * c, w.head * GROUP, w.row, s.full_q);
}
// Where a tile of the cache is: in one piece, or in COPIES pieces, each in the page that the table names. Pieces behind the newest position are those of its
// page: what they hold is finite, and masked.
#ifndef TS_PAGE
struct tile_place {
  int position;
  __device__ __forceinline__ tile_place(const int *, int position, int) : position(position) {}
  __device__ __forceinline__ void copy(u32 to, const tensor_map *map, int head, u32 barrier) const {
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(to + c * TILE * 128, map, 64 * c, position, head, barrier);
  }
};
#else
enum { PIECE = TS_PAGE < TILE ? TS_PAGE : TILE, COPIES = TILE / PIECE };
struct tile_place {
  int row, page[COPIES];
  __device__ __forceinline__ tile_place(const int *table, int position, int newest) : row(position % TS_PAGE) {
#pragma unroll
    for (int j = 0; j < COPIES; j++) page[j] = table[min(position + j * PIECE, newest) / TS_PAGE];
  }
  __device__ __forceinline__ void copy(u32 to, const tensor_map *map, int head, u32 barrier) const {
#pragma unroll
    for (int j = 0; j < COPIES; j++)
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(to + c * TILE * 128 + j * PIECE * 128, map, 64 * c, row, page[j] * TS_HK + head, barrier);
  }
};
#endif

// Tile i of the block's item; done: tiles before it.
static __device__ __forceinline__ void produce_tile(const shared_layout &s, const tensor_map *km, const tensor_map *vm, const int *table, const work &w, int i, u32 done, int newest) {
  const tile_place place(table, (w.first + w.tiles - 1 - i) * TILE, newest);
  const u32 stage = done & 1, parity = (done >> 1 & 1) ^ 1;
  barrier_wait(s.empty_k + 8 * stage, parity);
  barrier_expect(s.full_k + 8 * stage, KV_BYTES);
  place.copy(s.k + stage * KV_BYTES, km, w.head, s.full_k + 8 * stage);
  barrier_wait(s.empty_v + 8 * stage, parity);
  barrier_expect(s.full_v + 8 * stage, KV_BYTES);
  place.copy(s.v + stage * KV_BYTES, vm, w.head, s.full_v + 8 * stage);
}
// One thread copies for all items of the block. Rows of positions before t were written by earlier passes, which have ended before any kernel of this
// one starts: the first tiles, where they are older, are asked for before the wait for the preceding kernel.
static __device__ __forceinline__ void produce(const shared_layout &s, const tensor_map *qm, const tensor_map *km, const tensor_map *vm, const int *table, int t, int rows) {
  work w, next;
  u32 done = 0;
  bool more = work_item(w, 0, t, rows);
  if (!more) {
    s.item[0].tiles = 0;
    barrier_arrive(s.full_q);
  }
  for (int round = 0; more; round++, w = next) {
    int i = 0;
    w.more = more = work_item(next, round + 1, t, rows);
    if (round == 0) {
      for (; i < min(2, w.tiles) && (w.first + w.tiles - i) * TILE <= t; i++, done++) produce_tile(s, km, vm, table, w, i, done, t + rows - 1);
      wait_for_predecessors();
    }
    barrier_wait(s.empty_q, (round & 1) ^ 1);
    s.item[round & 1] = w;
    produce_queries(s, qm, w);
    for (; i < w.tiles; i++, done++) produce_tile(s, km, vm, table, w, i, done, t + rows - 1);
  }
}

// The warp's sixteen queries as operands.
static __device__ __forceinline__ void load_queries(u32 (&a)[D / 16][4], u32 q) {
  const int lane = threadIdx.x & 31, row = 16 * ((threadIdx.x & 127) >> 5) + (lane & 15);
#pragma unroll
  for (int i = 0; i < D / 16; i++) load_matrices(a[i], q + i / 4 * LINES * 128 + row * 128 + ((i % 4 * 32 + (lane >> 4) * 16) ^ ((row & 7) << 4)));
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

// The first of the thread's two lines of an item; the other is eight behind.
static __device__ __forceinline__ int first_line() { return (int)(threadIdx.x - 128) / 32 * 16 + (int)(threadIdx.x & 31) / 4; }
// Columns that lines do not see, those of the item's first row `seen` and before.
static __device__ __forceinline__ void mask(float (&s)[64], int seen) {
  const int column = 2 * (threadIdx.x & 3);
#pragma unroll
  for (int j = 0; j < 16; j++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (column + 8 * j + (e & 1) > seen + (first_line() + 8 * (e >> 1)) / GROUP) s[4 * j + e] = UNSEEN;
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

// What parts of an item leave for each other: of each line the values of D, and behind them the score whose weight is 1, and the sum of weights.
enum { RECORD = D + 4, COUNTERS = 256 };
static __device__ __forceinline__ float *records(void *workspace, const work &w, int part) {
  return (float *)workspace + COUNTERS + (size_t)(part * w.items + w.item) * LINES * RECORD;
}
// A line's row of y.
static __device__ __forceinline__ u16 *result(u16 *y, const work &w, int line) {
  return y + ((size_t)(w.row + line / GROUP) * TS_H + w.head * GROUP + line % GROUP) * D;
}

// What a warpgroup has of an item: results, or the record of a part.
static __device__ __forceinline__ void leave(const float (&o)[D / 2], const float (&m)[2], const float (&l)[2], const work &w, int rows, u16 *y, void *workspace) {
  const int column = 2 * (threadIdx.x & 3), lines = min(HEIGHT, rows - w.row) * GROUP;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int line = first_line() + 8 * r;
    if (line >= lines) continue;
    if (w.parts == 1) {
      const float inverse = 1.0f / l[r];
      u16 *out = result(y, w, line) + column;
#pragma unroll
      for (int j = 0; j < D / 8; j++) *(u32 *)(out + 8 * j) = pack_f16(o[4 * j + 2 * r] * inverse, o[4 * j + 2 * r + 1] * inverse);
    } else {
      float *out = records(workspace, w, w.part) + line * RECORD;
#pragma unroll
      for (int j = 0; j < D / 8; j++) *(float2 *)(out + 8 * j + column) = make_float2(o[4 * j + 2 * r], o[4 * j + 2 * r + 1]);
      if (column == 0) *(float2 *)(out + D) = make_float2(m[r], l[r]);
    }
  }
}

// One item, whose queries are there. t: position of query row 0; rows: query rows in all; done: tiles of earlier items.
static __device__ __forceinline__ void consume_item(const shared_layout &sh, const work &w, u32 done, int warpgroup, int t, int rows, u16 *y, void *workspace) {
  const int thread = threadIdx.x & 127, tiles = w.tiles, newest = w.first + tiles - 1, position = t + w.row;
  float s[64], o[D / 2], m[2] = {UNSEEN, UNSEEN}, l[2] = {0, 0}, f[2];
  u32 q[D / 16][4], p[TILE / 16][4];
#pragma unroll
  for (int i = 0; i < D / 2; i++) o[i] = 0;
  // the last tile that needs no mask for any row of this warpgroup is before this one
  const int first_masked = (position + 64 * warpgroup / GROUP + 1) / TILE;

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
  if (newest >= first_masked) mask(s, position - newest * TILE);
  (void)softmax(s, m, l, f);
  to_operand(p, s);
  for (int i = 1; i < tiles; i++) {
    const u32 now = done + i, last = now - 1, stage = now & 1, before = stage ^ 1;
    const int tile = newest - i;
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
    if (tile >= first_masked) mask(s, position - tile * TILE);
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
  if (warpgroup == 0 || w.more) turn_give(1 - warpgroup);
#endif
#pragma unroll
  for (int r = 0; r < 2; r++) {
    l[r] += __shfl_xor_sync(~0u, l[r], 1);
    l[r] += __shfl_xor_sync(~0u, l[r], 2);
  }
  wgmma_wait_for<0>();
  if (thread == 0) barrier_arrive(sh.empty_v + 8 * (last & 1));
  leave(o, m, l, w, rows, y, workspace);
}

// The same for a warpgroup without lines: it takes part in what the others wait for.
static __device__ __forceinline__ void idle_item(const shared_layout &sh, const work &w, u32 done) {
  const bool speaks = (threadIdx.x & 127) == 0;
  const int tiles = w.tiles;
  barrier_arrive(sh.empty_q);
  for (int i = 0; i <= tiles; i++) {
    const u32 now = done + i, last = now - 1;
    if (i < tiles) barrier_wait(sh.full_k + 8 * (now & 1), now >> 1 & 1);
    if (i > 0) barrier_wait(sh.full_v + 8 * (last & 1), last >> 1 & 1);
#if PINGPONG
    turn_wait(1);
    if (i < tiles || w.more) turn_give(0);
#endif
    if (speaks && i < tiles) barrier_arrive(sh.empty_k + 8 * (now & 1));
    if (speaks && i > 0) barrier_arrive(sh.empty_v + 8 * (last & 1));
  }
}

// Records of all parts of a line, then of the next line of the warp.
struct record_walk {
  int part, line;
  __device__ __forceinline__ void step(int parts) {
    if (++part == parts) part = 0, line += 8;
  }
};
// Once all parts of the item have left their records, this block's share of the lines, from all of them. Some records are on the way at once.
static __device__ __forceinline__ void combine(const work &w, int rows, u16 *y, void *workspace) {
  enum { MANY = 8 };
  const float scale = 1.4426950408889634f * rsqrtf((float)D);
  const int lane = threadIdx.x & 31, lines = min(HEIGHT, rows - w.row) * GROUP, end = lines * (w.part + 1) / w.parts;
  record_walk ahead = {0, lines * w.part / w.parts + (int)(threadIdx.x >> 5) - 4}, at = ahead;
  u32 *counter = (u32 *)workspace + w.item;
  const float *first = records(workspace, w, 0);
  const size_t step = (size_t)w.items * LINES * RECORD;
  parts_meet(counter, w.parts);
  float4 sum;
  float top, weight;
  while (at.line < end) {
    uint4 v[MANY];
    float2 of[MANY];
#pragma unroll
    for (int i = 0; i < MANY; i++, ahead.step(w.parts)) {
      const float *record = first + ahead.part * step + min(ahead.line, LINES - 1) * RECORD;
      of[i] = load2(record + D);
      v[i] = load_relaxed4(record + 4 * (lane % (D / 4)));
    }
#pragma unroll
    for (int i = 0; i < MANY; i++, at.step(w.parts)) {
      if (at.part == 0) top = UNSEEN, weight = 0, sum = {0, 0, 0, 0};
      const float most = fmaxf(top, of[i].x), keep = exp2_fast((top - most) * scale), f = exp2_fast((of[i].x - most) * scale);
      top = most;
      weight = weight * keep + of[i].y * f;
      sum.x = sum.x * keep + __uint_as_float(v[i].x) * f, sum.y = sum.y * keep + __uint_as_float(v[i].y) * f;
      sum.z = sum.z * keep + __uint_as_float(v[i].z) * f, sum.w = sum.w * keep + __uint_as_float(v[i].w) * f;
      if (at.part == w.parts - 1 && at.line < end && 4 * lane < D) {
        const float inverse = 1.0f / weight;
        *(uint2 *)(result(y, w, at.line) + 4 * lane) = {pack_f16(sum.x * inverse, sum.y * inverse), pack_f16(sum.z * inverse, sum.w * inverse)};
      }
    }
  }
  parts_leave(counter, w.parts);
}

static __device__ __forceinline__ void consume(const shared_layout &sh, int warpgroup, int t, int rows, u16 *y, void *workspace) {
  u32 done = 0;
  for (int round = 0;; round++) {
    barrier_wait(sh.full_q, round & 1);
    const work &w = sh.item[round & 1];
    const int tiles = w.tiles;
    if (tiles == 0) return;
#if PINGPONG
    if (warpgroup == 1 && round == 0) turn_give(0);
#endif
    if (w.row + 64 * warpgroup / GROUP < rows) consume_item(sh, w, done, warpgroup, t, rows, y, workspace);
    else idle_item(sh, w, done);
    done += tiles;
    if (!w.more) break;
  }
  if (LEAST && sh.item[0].parts > 1) combine(sh.item[0], rows, y, workspace);  // which was all that the block had
}

// The whole of a block. table: of pages.
static __device__ __forceinline__ void attend_rows(const tensor_map *qm, const tensor_map *km, const tensor_map *vm, const int *table, u16 *y, void *workspace, int t, int rows) {
  SHARED_MEMORY(raw);
  const shared_layout s = lay_out(raw);
  const int warpgroup = __shfl_sync(~0u, (int)threadIdx.x >> 7, 0);  // as the compiler then knows, the same for all of a warp
  dependents_may_start();
  __syncthreads();
  if (warpgroup == 0) {
    registers_give<40>();
    if (threadIdx.x == 0) produce(s, qm, km, vm, table, t, rows);
  } else {
    registers_take<232>();
    wait_for_predecessors();
    consume(s, warpgroup - 1, t, rows, y, workspace);
  }
}
