// Attention of one query position over a cache of rows, split along the cache (flash-decoding; Dao et al. 2023).
//
// A block serves one key-value head and one part of the positions; its warps take 16 positions in turn. Scores and values go
// through mma.m16n8k16 with heads as rows. Rows 0..7 of the query operand hold the f16 value of each head, rows 8..15 what that
// rounding lost, so that products are nearly those of f32; the probabilities are split the same way. Both operands come
// from global memory straight into registers: the order of d within a product is free, so every lane reads 16 bytes of a row.
// The loads of the next positions are issued as soon as the registers of the current ones have been used.
//
// Where rows lie is the business of a class: one piece of memory for a head, or pages that a table names (PAGE).
//
// Parts of a head are a cluster and meet in its shared memory (CLUSTER), or they meet in the workspace, where the last block
// combines them and leaves the counter at zero.
//
// Rows of the cache before the newest position were written by earlier steps, which have ended before any kernel of this step starts. So
// where the newest row comes from this kernel itself (FRESH), loading begins before the wait for the preceding kernel.
#pragma once
#include "decode_ptx.cuh"

// hi is the f16 pair of (a, b), lo the pair of what is left.
static __device__ __forceinline__ void split_half(float a, float b, u32 &hi, u32 &lo) {
  hi = pack_f16(a, b);
  float2 r = unpack_f16(hi);
  lo = pack_f16(a - r.x, b - r.y);
}

enum { D = TS_D, GROUP = TS_H / TS_HK, QK_CHUNKS = D / 32, V_CHUNKS = D / 64 };
static_assert(D % 64 == 0 && GROUP <= 8, "heads of a multiple of 64, at most 8 query heads to a key head");

// What a warp keeps while it walks over its positions: head lane / 4; acc[c][j][0..1] (+ [2..3]) is O at
// d = 64 c + 8 (2 (lane % 4) + {0, 1}) + j. k and v hold 16 positions: k[t] is position 8 t + lane / 4, v[t][e] is 8 t + 2 (lane % 4) + e.
struct warp_state {
  float m, l;
  float acc[V_CHUNKS][8][4];
  uint4 k[2][QK_CHUNKS], v[2][2][V_CHUNKS];
};

// Where the rows of a key-value head begin, in units of 16 positions: k and v are moved by at(tile, turn). A warp's tiles are those of its
// turns: first, first + WARPS, ... For any lane: a position is in page_of(position), whose rows begin at
// origin(page) of k and v, place(position) of them before it; row(position) is where it is in the whole cache.
#ifndef TS_PAGE
struct cache_rows {
  const u16 *k, *v;
  int head;
  __device__ __forceinline__ cache_rows(const u16 *kc, const u16 *vc, const int *, int head, int, int)
      : k(kc + (size_t)head * TS_P * D), v(vc + (size_t)head * TS_P * D), head(head) {}
  __device__ __forceinline__ size_t at(int tile, int) { return (size_t)tile * 16 * D; }
  __device__ __forceinline__ int page_of(int) { return 0; }
  __device__ __forceinline__ size_t origin(int) { return 0; }
  __device__ __forceinline__ int place(int position) { return position; }
  __device__ __forceinline__ size_t row(int position) { return ((size_t)head * TS_P + position) * D; }
};
#else
// Page PAGE * table[i] of the pool has positions PAGE * i on, of all heads. A lane keeps the page of one of the next 32 turns. Tables do not
// change during a step: reading them need not wait for the kernel before.
static_assert(TS_PAGE % 16 == 0, "16 positions lie in one page");
struct cache_rows {
  const u16 *k, *v;
  const int *table;
  int head, first, newest, pages;
  __device__ __forceinline__ cache_rows(const u16 *kc, const u16 *vc, const int *table, int head, int first, int newest)
      : k(kc + (size_t)head * TS_PAGE * D), v(vc + (size_t)head * TS_PAGE * D), table(table), head(head), first(first), newest(newest) {
    fetch(0);
  }
  __device__ __forceinline__ void fetch(int turn) {
    const int tile = first + (turn + (int)(threadIdx.x & 31)) * WARPS;
    pages = table[min(tile, newest / 16) / (TS_PAGE / 16)];
  }
  __device__ __forceinline__ size_t at(int tile, int turn) {
    if (turn && (turn & 31) == 0) fetch(turn);
    const int page = __shfl_sync(~0u, pages, turn & 31);
    return ((size_t)page * (TS_HK * TS_PAGE) + tile % (TS_PAGE / 16) * 16) * D;
  }
  __device__ __forceinline__ int page_of(int position) { return table[(u32)position / TS_PAGE]; }
  __device__ __forceinline__ size_t origin(int page) { return (size_t)page * (TS_HK * TS_PAGE * D); }
  __device__ __forceinline__ int place(int position) { return (u32)position % TS_PAGE; }
  __device__ __forceinline__ size_t row(int position) { return origin(page_of(position)) + ((size_t)head * TS_PAGE + place(position)) * D; }
};
#endif

// Rows of 16 positions, the first `most` + 1 of them, of the keys; of the values.
static __device__ __forceinline__ void load_keys(warp_state &s, const u16 *keys, int most) {
  const int lane = threadIdx.x & 31, quad = lane & 3, row = lane >> 2;
#pragma unroll
  for (int t = 0; t < 2; t++) {
    const u16 *r = keys + max(min(8 * t + row, most), 0) * D + 8 * quad;
#pragma unroll
    for (int c = 0; c < QK_CHUNKS; c++) s.k[t][c] = load16(r + 32 * c);
  }
}
static __device__ __forceinline__ void load_values(warp_state &s, const u16 *values, int most) {
  const int lane = threadIdx.x & 31, quad = lane & 3, row = lane >> 2;
#pragma unroll
  for (int t = 0; t < 2; t++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const u16 *r = values + max(min(8 * t + 2 * quad + e, most), 0) * D + 8 * row;
#pragma unroll
      for (int c = 0; c < V_CHUNKS; c++) s.v[t][e][c] = load16(r + 64 * c);
    }
}
// Positions from `last` on take the newest row, in shared memory.
static __device__ __forceinline__ void patch(warp_state &s, const u16 *fresh_k, const u16 *fresh_v, int base, int last) {
  const int lane = threadIdx.x & 31, quad = lane & 3, row = lane >> 2;
#pragma unroll
  for (int t = 0; t < 2; t++) {
    if (base + 8 * t + row >= last) {
#pragma unroll
      for (int c = 0; c < QK_CHUNKS; c++) s.k[t][c] = *(const uint4 *)(fresh_k + 32 * c + 8 * quad);
    }
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (base + 8 * t + 2 * quad + e >= last) {
#pragma unroll
        for (int c = 0; c < V_CHUNKS; c++) s.v[t][e][c] = *(const uint4 *)(fresh_v + 64 * c + 8 * row);
      }
  }
}

// The running softmax takes in the scores of 16 positions, of which the lane's largest, or m, is top: their weights into p. Returns what the
// sums so far are multiplied by.
static __device__ __forceinline__ float soften(float &m, float &l, const float (&score)[2][2], float top, u32 (&p)[4]) {
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
  const float keep = exp2_fast(m - top);
  m = top;
  l *= keep;
#pragma unroll
  for (int t = 0; t < 2; t++) {
    float a = exp2_fast(score[t][0] - top), b = exp2_fast(score[t][1] - top);
    l += a + b;
    split_half(a, b, p[2 * t], p[2 * t + 1]);
  }
  return keep;
}
// acc = keep * acc + p . v: vTE is eight elements of position 8 t + 2 (lane % 4) + e.
static __device__ __forceinline__ void add_values(float (&acc)[8][4], float keep, const u32 (&p)[4], const uint4 &v00, const uint4 &v01, const uint4 &v10, const uint4 &v11) {
  const u32 *r00 = &v00.x, *r01 = &v01.x, *r10 = &v10.x, *r11 = &v11.x;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    float *o = acc[j];
    o[0] *= keep, o[1] *= keep, o[2] *= keep, o[3] *= keep;
    const u32 pick = j & 1 ? 0x7632 : 0x5410;
    mma_m16n8k16(acc[j], p, byte_perm(r00[j / 2], r01[j / 2], pick), byte_perm(r10[j / 2], r11[j / 2], pick));
  }
}

// The 16 positions in k and v, the first of which is base; then, when there are more, those at keys and values begin to load.
static __device__ __forceinline__ void attend16(warp_state &s, const u32 (&q)[QK_CHUNKS][2][4], int base, int last, bool more, const u16 *keys, const u16 *values, int most) {
  const int lane = threadIdx.x & 31, quad = lane & 3;
  float score[2][2], top = s.m;
#pragma unroll
  for (int t = 0; t < 2; t++) {
    float c[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < QK_CHUNKS; i++) {
      mma_m16n8k16(c, q[i][0], s.k[t][i].x, s.k[t][i].y);
      mma_m16n8k16(c, q[i][1], s.k[t][i].z, s.k[t][i].w);
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
      score[t][e] = base + 8 * t + 2 * quad + e <= last ? c[e] + c[e + 2] : -1e30f;
      top = fmaxf(top, score[t][e]);
    }
  }
  if (more) load_keys(s, keys, most);
  u32 p[4];
  const float keep = soften(s.m, s.l, score, top, p);
#pragma unroll
  for (int c = 0; c < V_CHUNKS; c++) add_values(s.acc[c], keep, p, s.v[0][0][c], s.v[0][1][c], s.v[1][0][c], s.v[1][1][c]);
  if (more) load_values(s, values, most);
}

// Query heads of the block's key-value head: the loads, and then the A operand, scaled so that exp2 of a score is the softmax
// weight. With cos and sin (rows of the position) the halves are rotated first.
struct query_values {
  float x[QK_CHUNKS][8];
};
static __device__ __forceinline__ void load_query(query_values &v, const act *src) {
  const int lane = threadIdx.x & 31, quad = lane & 3, head = lane >> 2;
#pragma unroll
  for (int c = 0; c < QK_CHUNKS; c++) act_load8(v.x[c], src + min(head, GROUP - 1) * D + 32 * c + 8 * quad);
}
static __device__ __forceinline__ void make_query(u32 (&q)[QK_CHUNKS][2][4], query_values &v, const float *cos, const float *sin) {
  const int lane = threadIdx.x & 31, quad = lane & 3, head = lane >> 2;
  const float scale = head < GROUP ? 1.4426950408889634f * rsqrtf((float)D) : 0.0f;
  if (cos) {
#pragma unroll
    for (int c = 0; c < QK_CHUNKS / 2; c++)
#pragma unroll
      for (int e = 0; e < 8; e++) {
        int i = 32 * c + 8 * quad + e;
        float a = v.x[c][e], b = v.x[c + QK_CHUNKS / 2][e], co = cos[i], si = sin[i];
        v.x[c][e] = a * co - b * si;
        v.x[c + QK_CHUNKS / 2][e] = b * co + a * si;
      }
  }
#pragma unroll
  for (int c = 0; c < QK_CHUNKS; c++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      split_half(v.x[c][4 * h] * scale, v.x[c][4 * h + 1] * scale, q[c][h][0], q[c][h][1]);
      split_half(v.x[c][4 * h + 2] * scale, v.x[c][4 * h + 3] * scale, q[c][h][2], q[c][h][3]);
    }
}

// Where parts meet: floats of one part, m and l, then O, of each head of the group.
enum { PART = GROUP * (D + 2) };

// The block's result in part[] of its shared memory -> y, by all blocks of the cluster, each a share.
static __device__ __forceinline__ void combine_cluster(const float *part, act *y, int parts) {
  cluster_arrive();
  cluster_wait();
  u32 from[SPLITS];
#pragma unroll
  for (int p = 0; p < SPLITS; p++) from[p] = cluster_address(shared_address(part), p);
  for (int i = blockIdx.y * 32 * WARPS + threadIdx.x; i < GROUP * D; i += 32 * WARPS * SPLITS) {
    const int h = i / D, e = i % D;
    float m[SPLITS], l[SPLITS], o[SPLITS], top = -1e30f, den = 0, num = 0;
#pragma unroll
    for (int p = 0; p < SPLITS; p++)
      if (p < parts) {
        const u32 at = from[p] + 4 * h * (D + 2);
        m[p] = load_cluster(at), l[p] = load_cluster(at + 4), o[p] = load_cluster(at + 8 + 4 * e);
      }
#pragma unroll
    for (int p = 0; p < SPLITS; p++)
      if (p < parts) top = fmaxf(top, m[p]);
#pragma unroll
    for (int p = 0; p < SPLITS; p++)
      if (p < parts) {
        const float f = exp2_fast(m[p] - top);
        den += f * l[p], num += f * o[p];
      }
    act_store(y + (size_t)blockIdx.x * GROUP * D + i, num / den);
  }
  cluster_arrive();  // nobody leaves while its memory is read
  cluster_wait();
}

// The same through the workspace, by the block that comes last.
static __device__ __forceinline__ void combine_workspace(float *workspace, act *y, int parts) {
  const int kv = blockIdx.x;
  __shared__ u32 arrived;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) arrived = atomicAdd((u32 *)workspace + kv, 1u);
  __syncthreads();
  if (arrived != (u32)parts - 1) return;
  __threadfence();
  const float *all = workspace + 64 + (size_t)kv * SPLITS * PART;
  for (int i = threadIdx.x; i < GROUP * D; i += 32 * WARPS) {
    const int h = i / D, e = i % D;
    float m = -1e30f, l = 0, o = 0;
    for (int p = 0; p < parts; p++) m = fmaxf(m, load_shared_level(all + (size_t)p * PART + h * (D + 2)));
    for (int p = 0; p < parts; p++) {
      const float *x = all + (size_t)p * PART + h * (D + 2);
      float f = exp2_fast(load_shared_level(x) - m);
      l += f * load_shared_level(x + 1), o += f * load_shared_level(x + 2 + e);
    }
    act_store(y + (size_t)kv * GROUP * D + i, o / l);
  }
  if (threadIdx.x == 0) ((u32 *)workspace)[kv] = 0;
}

// What the kernels are made of, in order: begin (first positions load), then the wait for the preceding kernel, then finish.
struct split_range {
  int last, parts, tile, end;  // newest position; parts in use; units of 16 positions of this warp: tile, tile + WARPS, ... below end
};
static __device__ __forceinline__ split_range range_of(int last) {
  split_range r;
  r.last = last;
  r.parts = min(SPLITS, (last / 16 + WARPS) / WARPS);  // each part gets at least one turn of all warps
  const int tiles = last / 16 + 1, part = blockIdx.y;
  r.tile = (int)((long long)tiles * part / r.parts) + (threadIdx.x >> 5);
  r.end = part < r.parts ? (int)((long long)tiles * (part + 1) / r.parts) : 0;
  return r;
}
// most: the newest position that the cache has.
static __device__ __forceinline__ void begin(warp_state &s, const split_range &r, cache_rows &rows, int most) {
  s.m = -1e30f, s.l = 0;
#pragma unroll
  for (int c = 0; c < V_CHUNKS; c++)
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) s.acc[c][j][e] = 0;
  if (r.tile < r.end) {
    const size_t at = rows.at(r.tile, 0);
    load_keys(s, rows.k + at, most - 16 * r.tile);
    load_values(s, rows.v + at, most - 16 * r.tile);
  }
}
// fresh_k, fresh_v: the newest row in shared memory, or NULL when it is in the cache. shared: WARPS * PART floats, then PART.
static __device__ __forceinline__ void finish(warp_state &s, const split_range &r, const u32 (&q)[QK_CHUNKS][2][4], cache_rows &rows, int most,
                                              const u16 *fresh_k, const u16 *fresh_v, float *shared, act *y, float *workspace) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, quad = lane & 3, head = lane >> 2;
  for (int tile = r.tile, turn = 1; tile < r.end; tile += WARPS, turn++) {
    const int next = tile + WARPS;
    const size_t at = next < r.end ? rows.at(next, turn) : 0;
    if (fresh_k && 16 * tile + 15 >= r.last) patch(s, fresh_k, fresh_v, 16 * tile, r.last);
    attend16(s, q, 16 * tile, r.last, next < r.end, rows.k + at, rows.v + at, most - 16 * next);
  }
  s.l += __shfl_xor_sync(~0u, s.l, 1);
  s.l += __shfl_xor_sync(~0u, s.l, 2);

  // Warps meet in shared memory: [warp][head] m, l, O[D].
  float *mine = shared + (size_t)(warp * GROUP + head) * (D + 2), *part = shared + WARPS * PART;
  if (head < GROUP) {
    if (quad == 0) mine[0] = s.m, mine[1] = s.l;
#pragma unroll
    for (int c = 0; c < V_CHUNKS; c++)
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) mine[2 + 64 * c + 8 * (2 * quad + e) + j] = s.acc[c][j][e] + s.acc[c][j][e + 2];
  }
  __syncthreads();
  float *out = CLUSTER ? part : workspace + 64 + (size_t)(blockIdx.x * SPLITS + blockIdx.y) * PART;
  for (int i = threadIdx.x; i < GROUP * D; i += 32 * WARPS) {
    const int h = i / D, e = i % D;
    float m[WARPS], top = -1e30f, l = 0, o = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, m[w] = shared[(w * GROUP + h) * (D + 2)]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float *x = shared + (w * GROUP + h) * (D + 2);
      float f = exp2_fast(m[w] - top);
      l += f * x[1], o += f * x[2 + e];
    }
    if (SPLITS == 1 || (!CLUSTER && r.parts == 1)) {
      act_store(y + (size_t)blockIdx.x * GROUP * D + i, o / l);
    } else {
      if (e == 0) out[h * (D + 2)] = top, out[h * (D + 2) + 1] = l;
      out[h * (D + 2) + 2 + e] = o;
    }
  }
  if (CLUSTER) combine_cluster(part, y, r.parts);
  else if (r.parts > 1) combine_workspace(workspace, y, r.parts);
}

// The whole of a block whose rows are all in the cache. table: as of cache_rows.
static __device__ __forceinline__ void attend_cached(const act *q, const int *table, const u16 *kc, const u16 *vc, act *y, float *workspace, int last) {
  SHARED_MEMORY(raw);
  const split_range r = range_of(last);
  cache_rows rows(kc, vc, table, blockIdx.x, r.tile, last);
  warp_state s;
  query_values x;
  u32 operand[QK_CHUNKS][2][4];
  dependents_may_start();
  wait_for_predecessors();
  if (!CLUSTER && (int)blockIdx.y >= r.parts) return;
  load_query(x, q + (size_t)blockIdx.x * GROUP * D);
  begin(s, r, rows, last);
  make_query(operand, x, nullptr, nullptr);
  finish(s, r, operand, rows, last, nullptr, nullptr, (float *)raw, y, workspace);
}

// The whole of a block that rotates the query and the new key, and appends the new row.
static __device__ __forceinline__ void attend_appended(const act *qkv, const float *cos, const float *sin, const int *table, u16 *kc, u16 *vc, act *y, float *workspace,
                                                       int last) {
  SHARED_MEMORY(raw);
  float *shared = (float *)raw;
  u16 *fresh = (u16 *)shared;
  const split_range r = range_of(last);
  const int kv = blockIdx.x, most = max(last - 1, 0);
  const bool newest = (int)blockIdx.y == r.parts - 1;  // has the positions that end with the new one
  cache_rows rows(kc, vc, table, kv, r.tile, last);
  warp_state s;
  query_values x;
  u32 operand[QK_CHUNKS][2][4];
  begin(s, r, rows, most);
  cos += (size_t)last * (D / 2), sin += (size_t)last * (D / 2);
  dependents_may_start();
  wait_for_predecessors();
  if (!CLUSTER && (int)blockIdx.y >= r.parts) return;
  load_query(x, qkv + (size_t)kv * GROUP * D);
  if (newest) {
    const act *key = qkv + (size_t)(TS_H + kv) * D, *value = qkv + (size_t)(TS_H + TS_HK + kv) * D;
    const size_t row = rows.row(last);
    for (int i = threadIdx.x; i < D / 2; i += 32 * WARPS) {
      const float a = act_load(key + i), b = act_load(key + i + D / 2), va = act_load(value + i), vb = act_load(value + i + D / 2), co = cos[i], si = sin[i];
      const u32 rotated = pack_f16(a * co - b * si, b * co + a * si), w = pack_f16(va, vb);
      fresh[i] = kc[row + i] = (u16)rotated, fresh[i + D / 2] = kc[row + i + D / 2] = (u16)(rotated >> 16);
      fresh[D + i] = vc[row + i] = (u16)w, fresh[D + i + D / 2] = vc[row + i + D / 2] = (u16)(w >> 16);
    }
    __syncthreads();
  }
  make_query(operand, x, cos, sin);
  finish(s, r, operand, rows, most, newest ? fresh : nullptr, fresh + D, shared + D, y, workspace);
}
