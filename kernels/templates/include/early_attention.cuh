// early_attention: decode attention as in decode_attention.cuh, for contexts whose rows mostly fit in the shared memory of a cluster.
//
// Every warp copies its own tiles of 16 positions, keys and values, into shared memory before the wait for the preceding kernel, as
// far as they are older than this step. That takes no registers, so that the next kernel's blocks find room beside these and begin to fill
// their rings of weights. 16-byte pieces of a row lie permuted, such that neither operand's reads meet in a bank.
//
// The warps of a cluster push what they have summed up, straight from registers, to the blocks that own the elements, as copies that complete
// on a barrier there: one meeting, nobody reads far memory, and no block waits for its stores.
#pragma once
#include "decode_attention.cuh"
#include "stream_ptx.cuh"

// CHAINS: of products that wait for each other, in the scores; wide heads have no registers for a second.
enum { PIECES = D / 8, SLOT_BYTES = 64 * D, OWNED = GROUP * D / SPLITS, CHAINS = D == 64 ? 2 : 1 };

static __device__ __forceinline__ void act_load4(float (&x)[4], const act *p) {
#if TS_A_F16
  float2 a = unpack_f16(load_u32(p)), b = unpack_f16(load_u32(p + 2));
#else
  float2 a = load2(p), b = load2(p + 2);
#endif
  x[0] = a.x, x[1] = a.y, x[2] = b.x, x[3] = b.y;
}

// Where a slot keeps 16 bytes of the key, of the value, of one of its positions.
static __device__ __forceinline__ u32 key_piece(int row, int piece) {
  return row * 2 * D + (piece ^ (row & 1) << 2) * 16;
}
static __device__ __forceinline__ u32 value_piece(int row, int piece) {
  return 32 * D + row * 2 * D + (piece ^ (row >> 1 & 3) << 1) * 16;
}

// The 16 rows from base on to a slot; those behind `most` are that one.
static __device__ __forceinline__ void load_tile(u32 slot, const u16 *keys, const u16 *values, int base, int most) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int i = 0; i < PIECES / 2; i++) {
    const int row = (i * 32 + lane) / PIECES, piece = lane % PIECES;
    copy16(slot + key_piece(row, piece), keys + (size_t)min(base + row, most) * D + 8 * piece);
  }
#pragma unroll
  for (int i = 0; i < PIECES / 2; i++) {
    const int row = (i * 32 + lane) / PIECES, piece = lane % PIECES;
    copy16(slot + value_piece(row, piece), values + (size_t)min(base + row, most) * D + 8 * piece);
  }
}

// The newest row to its place in a slot. Where it is the slot's first, nothing was loaded: it stands in all places, of which the others do not count.
static __device__ __forceinline__ void put_newest(unsigned char *slot, const u16 *fresh, int row) {
  const int lane = threadIdx.x & 31;
  if (lane >= 2 * PIECES) return;
  const uint4 piece = *(const uint4 *)(fresh + 8 * lane);
  const auto put = [&](int i) { *(uint4 *)(slot + (lane < PIECES ? key_piece(i, lane) : value_piece(i, lane - PIECES))) = piece; };
  put(row);
  if (row == 0) {
#pragma unroll 1
    for (int i = 1; i < 16; i++) put(i);
  }
}

struct early_state {
  float m, l;
  float acc[V_CHUNKS][8][4];
};

// The 16 positions of a slot. queries: A operands of the scores, 16 bytes a lane, as early_query leaves them.
static __device__ __forceinline__ void attend_slot(early_state &s, u32 queries, u32 slot, int base, int last) {
  const int lane = threadIdx.x & 31, quad = lane & 3, row = lane >> 2;
  float part[CHAINS][2][4] = {};
#pragma unroll
  for (int i = 0; i < QK_CHUNKS; i++) {
    uint4 k[2];
#pragma unroll
    for (int t = 0; t < 2; t++) k[t] = shared16(slot + key_piece(8 * t + row, 4 * i + quad));
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const uint4 v = shared16(queries + ((2 * i + h) * 32 + lane) * 16);
      const u32 q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int t = 0; t < 2; t++) mma_m16n8k16(part[h % CHAINS][t], q, h ? k[t].z : k[t].x, h ? k[t].w : k[t].y);
    }
  }
  float score[2][2], top = s.m;
#pragma unroll
  for (int t = 0; t < 2; t++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      float c = part[0][t][e] + part[0][t][e + 2];
      if (CHAINS == 2) c += part[1][t][e] + part[1][t][e + 2];
      score[t][e] = base + 8 * t + 2 * quad + e <= last ? c : -1e30f;
      top = fmaxf(top, score[t][e]);
    }
  u32 p[4];
  const float keep = soften(s.m, s.l, score, top, p);
#pragma unroll
  for (int i = 0; i < V_CHUNKS; i++) {
    uint4 v[2][2];
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
      for (int e = 0; e < 2; e++) v[t][e] = shared16(slot + value_piece(8 * t + 2 * quad + e, 8 * i + row));
    add_values(s.acc[i], keep, p, v[0][0], v[0][1], v[1][0], v[1][1]);
  }
}

// The new query, key and value: heads rotated into A operands, scaled so that exp2 of a score is the softmax weight; the new row, where
// it is this block's, into fresh and the cache. A thread has four elements of a head and the four they turn with.
static __device__ __forceinline__ void early_query(unsigned char *queries, const act *query, const act *key, const act *value, bool newest,
                                                   const float (&co)[4], const float (&si)[4], u16 *fresh, u16 *krow, u16 *vrow) {
  const int d = (int)(threadIdx.x % (D / 8)) * 4;
  for (int i = threadIdx.x / (D / 8); i < GROUP + (newest ? 2 : 0); i += 32 * WARPS / (D / 8)) {
    const act *src = i < GROUP ? query + i * D : i == GROUP ? key : value;
    float a[4], b[4];
    act_load4(a, src + d);
    act_load4(b, src + d + D / 2);
    if (i <= GROUP) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float x = a[e], y = b[e];
        a[e] = x * co[e] - y * si[e];
        b[e] = y * co[e] + x * si[e];
      }
    }
    if (i < GROUP) {
      const float scale = 1.4426950408889634f * rsqrtf((float)D);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float *x = half ? b : a;
        const int at = d + half * (D / 2);
        uint4 o;
        split_half(x[0] * scale, x[1] * scale, o.x, o.y);
        split_half(x[2] * scale, x[3] * scale, o.z, o.w);
        *(uint4 *)(queries + ((at / 32 * 2 + at % 8 / 4) * 32 + i * 4 + at % 32 / 8) * 16) = o;
      }
    } else {
      u16 *row = i == GROUP ? krow : vrow, *near = fresh + (i == GROUP ? 0 : D);
      const uint2 lo = {pack_f16(a[0], a[1]), pack_f16(a[2], a[3])}, hi = {pack_f16(b[0], b[1]), pack_f16(b[2], b[3])};
      *(uint2 *)(row + d) = *(uint2 *)(near + d) = lo;
      *(uint2 *)(row + d + D / 2) = *(uint2 *)(near + d + D / 2) = hi;
    }
  }
}

// Parts of a head are those of the warps of a cluster. LANES threads add up an element.
enum { PARTS = SPLITS * WARPS, LANES = 32 * WARPS >= 4 * OWNED ? 4 : 32 * WARPS >= 2 * OWNED ? 2 : 1, EACH = (PARTS + LANES - 1) / LANES };
static_assert(OWNED % 4 == 0, "parts are sent in fours");

// What a warp has: its heads' O to gathered[part][element], m and l to tops[part][head] of the blocks that own elements of the head. bar: there.
static __device__ __forceinline__ void send_part(const early_state &s, float *gathered, float *tops, u32 bar, int part) {
  const int lane = threadIdx.x & 31, quad = lane & 3, head = lane >> 2;
  if (head >= GROUP) return;
#pragma unroll
  for (int c = 0; c < V_CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 2; e++)
#pragma unroll
      for (int j = 0; j < 8; j += 4) {
        const int i = head * D + 64 * c + 8 * (2 * quad + e) + j, owner = i / OWNED;
        const float(*o)[4] = s.acc[c] + j;
        const float4 v = {o[0][e] + o[0][e + 2], o[1][e] + o[1][e + 2], o[2][e] + o[2][e + 2], o[3][e] + o[3][e + 2]};
        float *to = gathered + part * OWNED + i % OWNED;
        if (SPLITS == 1) *(float4 *)to = v;
        else send_cluster4(cluster_address(shared_address(to), owner), v, cluster_address(bar, owner));
      }
  float *to = tops + (part * GROUP + head) * 4;
  if (SPLITS == 1) {
    if (quad == 0) to[0] = s.m, to[1] = s.l;
  } else {
    for (int owner = head * D / OWNED + quad; owner * OWNED < (head + 1) * D; owner += 4)
      send_cluster4(cluster_address(shared_address(to), owner), {s.m, s.l, 0.0f, 0.0f}, cluster_address(bar, owner));
  }
}

// The elements of this block, from all parts.
static __device__ __forceinline__ void early_finish(act *y, const float *gathered, const float *tops) {
  enum { STEP = 32 * WARPS / LANES, ALL = (OWNED + STEP - 1) / STEP * STEP };
  for (int i = threadIdx.x / LANES; i < ALL; i += STEP) {
    const int at = min(i, OWNED - 1), h = ((int)blockIdx.y * OWNED + at) / D, first = threadIdx.x % LANES;
    float m[EACH], top = -1e30f, den = 0, num = 0;
#pragma unroll
    for (int k = 0; k < EACH; k++) {
      const int p = first + k * LANES;
      m[k] = p < PARTS ? tops[(p * GROUP + h) * 4] : -1e30f;
      top = fmaxf(top, m[k]);
    }
#pragma unroll
    for (int n = 1; n < LANES; n *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, n));
#pragma unroll
    for (int k = 0; k < EACH; k++) {
      const int p = first + k * LANES;
      if (p >= PARTS) continue;
      const float f = exp2_fast(m[k] - top);
      den += f * tops[(p * GROUP + h) * 4 + 1], num += f * gathered[p * OWNED + at];
    }
#pragma unroll
    for (int n = 1; n < LANES; n *= 2) {
      den += __shfl_xor_sync(~0u, den, n);
      num += __shfl_xor_sync(~0u, num, n);
    }
    if (i < OWNED && first == 0) act_store(y + (int)blockIdx.y * OWNED + i, num / den);
  }
}

// The table of pages comes to shared memory whole, while the position is on the way: looked up in far memory, it would delay rows by a latency.
static __device__ __forceinline__ const int *near_table(int *near, const int *table) {
#ifdef TS_PAGE
#pragma unroll 4
  for (int i = threadIdx.x; i < TS_P / TS_PAGE; i += 32 * WARPS) near[i] = table[i];
  __syncthreads();
#endif
  return near;
}

// The block's head and part. table: as of cache_rows. Entries of older positions are those of steps before, as the rows they name.
static __device__ __forceinline__ void early_attention(const act *qkv, const float *cos, const float *sin, const int *table, u16 *kc, u16 *vc, act *y, int last) {
  SHARED_MEMORY(memory);
  unsigned char *queries = memory + WARPS * SLOTS * SLOT_BYTES;
  u16 *fresh = (u16 *)(queries + 32 * D);
  float *gathered = (float *)(fresh + 2 * D), *tops = gathered + PARTS * OWNED;  // [part][element]; [part][head]: m, l
  const int *near = near_table((int *)(tops + PARTS * GROUP * 4 + 4), table);
  const int warp = threadIdx.x >> 5, kv = blockIdx.x, part = blockIdx.y;
  const int tiles = last / 16 + 1, end = tiles * (part + 1) / SPLITS, old = min(end, (last + 15) / 16);  // tiles below `old` have older positions
  const u32 mine = shared_address(memory) + warp * SLOTS * SLOT_BYTES, bar = shared_address(tops + PARTS * GROUP * 4);
  int tile = tiles * part / SPLITS + warp;
  cache_rows rows(kc, vc, near, kv, tile, last);
  if (SPLITS > 1 && threadIdx.x == 0) {
    const int heads = ((part + 1) * OWNED - 1) / D - part * OWNED / D + 1;
    barrier_init(bar, 1);
    barrier_init_fence();
    barrier_expect(bar, PARTS * (OWNED * 4 + heads * 16));
  }
  if (SPLITS > 1) cluster_arrive_bare();
  if (SOON) dependents_may_start();  // for a next kernel that has one block on a multiprocessor anyway: see gemv_q4
  float co[4], si[4];
#pragma unroll
  for (int e = 0; e < 4; e++) {
    const size_t at = (size_t)last * (D / 2) + threadIdx.x % (D / 8) * 4 + e;
    co[e] = cos[at], si[e] = sin[at];
  }
  if (GROUP < 8)
    for (int i = threadIdx.x; i < 2 * D; i += 32 * WARPS)
      if (i % 32 >= 4 * GROUP) *(uint4 *)(queries + 16 * i) = {0, 0, 0, 0};
  // The page of a tile, if there is one; a tile of that page, into a slot.
  const auto find = [&](int at) { return rows.page_of(min(16 * at, last)); };
  const auto load = [&](u32 slot, int at, int page) {
    const size_t from = rows.origin(page);
    const int base = rows.place(16 * at);
    if (at < old) load_tile(slot, rows.k + from, rows.v + from, base, base + last - 1 - 16 * at);
    copies_close();
  };
#pragma unroll
  for (int i = 0; i < SLOTS; i++) load(mine + i * SLOT_BYTES, tile + i * WARPS, find(tile + i * WARPS));
  const size_t newest_row = rows.row(last);
  wait_for_predecessors();
  if (!SOON) dependents_may_start();
  const bool newest = part == SPLITS - 1;  // has the positions that end with the new one
  early_query(queries, qkv + (size_t)kv * GROUP * D, qkv + (size_t)(TS_H + kv) * D, qkv + (size_t)(TS_H + TS_HK + kv) * D, newest, co, si, fresh, kc + newest_row,
              vc + newest_row);
  __syncthreads();

  early_state s;
  s.m = -1e30f, s.l = 0;
#pragma unroll
  for (int i = 0; i < V_CHUNKS * 32; i++) (&s.acc[0][0][0])[i] = 0;
  for (int slot = 0; tile < end; tile += WARPS) {
    copies_arrived<SLOTS - 1>();
    __syncwarp();
    const u32 at = mine + slot * SLOT_BYTES;
    const int next = tile + SLOTS * WARPS, page = find(next);  // early: nobody waits for it
    if (newest && tile == tiles - 1) {
      put_newest(memory + (at - shared_address(memory)), fresh, last % 16);
      __syncwarp();
    }
    attend_slot(s, shared_address(queries), at, 16 * tile, last);
    __syncwarp();
    load(at, next, page);
    if (++slot == SLOTS) slot = 0;
  }
  s.l += __shfl_xor_sync(~0u, s.l, 1);
  s.l += __shfl_xor_sync(~0u, s.l, 2);

  if (SPLITS > 1) cluster_wait();  // every block has its barrier
  send_part(s, gathered, tops, bar, part * WARPS + warp);
  if (SPLITS == 1) __syncthreads();
  else barrier_wait(bar, 0);
  early_finish(y + (size_t)kv * GROUP * D, gathered, tops);
}
