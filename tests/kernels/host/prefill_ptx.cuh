// prefill_ptx for the host: the warpgroup's matrix instructions done at once, from the operands as given.
#pragma once
#include "wgmma.cuh"

// The address, and the bytes from one 64 columns to the next where a row is longer.
static inline u64 descriptor(u32 address, u32 leading_bytes) {
  return address | (u64)leading_bytes << 32;
}

static inline float host_swizzled(u32 a) {
  u16 h;
  a ^= (a >> 7 & 7) << 4;
  memcpy(&h, host_at(a), 2);
  return host_half(h);
}
static inline void wgmma_scores(float (&d)[64], const u32 (&a)[4], u64 b, int keep) {
  int lane = host_me->index & 127, warp = lane / 32, g = lane % 32 >> 2, t = lane & 3;
  host_give_a(a, lane);
  for (int i = 0; i < 64; i++) {
    int row = g + (i & 2 ? 8 : 0), col = i / 4 * 8 + 2 * t + (i & 1);
    if (!keep) d[i] = 0;
    for (int k = 0; k < 16; k++) d[i] += host_a(warp, row, k) * host_swizzled((u32)b + (u32)(col * 128 + k * 2));
  }
  host_meet(HOST_WARPGROUP);
}
static inline bool __any_sync(u32, bool v) {
  float x = v;
  for (int m = 1; m < 32; m *= 2) x = std::max(x, __shfl_xor_sync(~0u, x, m));
  return x > 0;
}
template <int R> static inline void wgmma_values(float (&d)[R], const u32 (&a)[4], u64 b) {
  int lane = host_me->index & 127, warp = lane / 32, g = lane % 32 >> 2, t = lane & 3;
  host_give_a(a, lane);
  for (int i = 0; i < R; i++) {
    int row = g + (i & 2 ? 8 : 0), col = i / 4 * 8 + 2 * t + (i & 1);
    for (int k = 0; k < 16; k++) d[i] += host_a(warp, row, k) * host_swizzled((u32)b + (u32)(col / 64) * (u32)(b >> 32) + (u32)(k * 128 + col % 64 * 2));
  }
  host_meet(HOST_WARPGROUP);
}

// Of each block: what has come to each of the two barriers, and how often it was full.
static int host_came[8][2];
static unsigned long host_full[8][2];
static inline void host_come(int i) {
  const int rank = host_me->rank;
  if (++host_came[rank][i] < 256) return;
  host_came[rank][i] = 0;
  host_full[rank][i]++;
}
static inline void turn_wait(int warpgroup) {
  unsigned long before = host_full[host_me->rank][warpgroup];
  host_come(warpgroup);
  while (host_full[host_me->rank][warpgroup] == before) host_yield();
}
static inline void turn_give(int warpgroup) {
  host_come(warpgroup);
}

static inline void parts_meet(u32 *counter, int parts) {
  threads_meet(3, 256);
  if (threadIdx.x == 128) {
    ++*counter;
    while (*counter < (u32)parts) host_yield();
  }
  threads_meet(3, 256);
}
static inline void parts_leave(u32 *counter, int parts) {
  if (threadIdx.x == 128 && ++*counter == 2 * (u32)parts) *counter = 0;
}
