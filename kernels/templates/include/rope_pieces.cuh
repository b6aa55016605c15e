// rope_pieces: rows of query, key and value heads in f16; heads of queries and keys are turned, keys and values go to their position in the cache. A thread has
// eight values of the first half of a head and the eight that they turn with, or sixteen of a value.
#pragma once
#include "row_pieces.cuh"

enum { D = TS_D, H = TS_H, HK = TS_HK, HALF = TS_D / 16 };  // HALF: pieces of half a head
#ifdef TS_PAGE
__device__ __forceinline__ size_t cache_row(const int *table, int head, int position) {
  return ((size_t)table[position / TS_PAGE] * HK + head) * TS_PAGE + position % TS_PAGE;
}
#else
__device__ __forceinline__ size_t cache_row(const int *, int head, int position) {
  return (size_t)head * TS_P + position;
}
#endif

__device__ __forceinline__ void turn_pair(u32 &low, u32 &high, float c0, float c1, float s0, float s1) {
  const float2 l = unpack_f16(low), h = unpack_f16(high);
  low = pack_f16(l.x * c0 - h.x * s0, l.y * c1 - h.y * s1);
  high = pack_f16(h.x * c0 + l.x * s0, h.y * c1 + l.y * s1);
}
__device__ __forceinline__ void turn_four(u32 &low0, u32 &low1, u32 &high0, u32 &high1, float4 c, float4 s) {
  turn_pair(low0, high0, c.x, c.y, s.x, s.y);
  turn_pair(low1, high1, c.z, c.w, s.z, s.w);
}

// Threads along the pieces of all rows. Where keys and values of a position go is known before the wait, pages too: tables are set before a pass.
__device__ __forceinline__ void rope_pieces(const uint4 *qkv, const float *cosine, const float *sine, uint4 *q, const int *table, uint4 *kc, uint4 *vc, int t, int rows) {
  const int place = blockIdx.x * THREADS + threadIdx.x, row = place / (ITEMS), item = place % (ITEMS), head = item / HALF, at = item % HALF, position = t + row;
  const bool mine = row < rows, turns = head < H + HK;
  dependents_may_start();
  float4 c[2], s[2];
  uint4 *to = q + (size_t)(row * H + head) * (2 * HALF);
  if (mine) {
    if (turns) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        c[i] = load_four(cosine + (size_t)position * (D / 2) + at * 8 + i * 4);
        s[i] = load_four(sine + (size_t)position * (D / 2) + at * 8 + i * 4);
      }
    }
    if (head >= H) to = (turns ? kc : vc) + cache_row(table, turns ? head - H : head - H - HK, position) * (2 * HALF);
  }
  wait_for_predecessors();
  if (!mine) return;
  const uint4 *from = qkv + (size_t)(row * (H + 2 * HK) + head) * (2 * HALF) + at;
  uint4 low = load16_fresh(from), high = load16_fresh(from + HALF);
  if (turns) {
    turn_four(low.x, low.y, high.x, high.y, c[0], s[0]);
    turn_four(low.z, low.w, high.z, high.w, c[1], s[1]);
  }
  to[at] = low;
  to[at + HALF] = high;
}
