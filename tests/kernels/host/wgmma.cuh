// wgmma for the host: the warpgroup's matrix instructions done at once, from the descriptors and registers as given.
#pragma once
#include "gemm_ptx.cuh"

static inline u64 wgmma_rows128(u32 address) {
  return address;
}
static inline u64 wgmma_rows128_at(u32 low) {
  return (low - 0x10000) * 16 | (u32)host_me->rank << 24;
}
#define WGMMA_STEP(bytes) ((u64)(bytes))
static inline u32 low_twice(u32 a) {
  return a << 16 | (a & 0xffff);
}
static inline u32 high_twice(u32 a) {
  return (a & 0xffff0000u) | a >> 16;
}
static inline void wgmma_begin() {}
static inline void wgmma_end() {}
template <int LEFT> static inline void wgmma_wait_for() {}
template <int R> static inline void registers_give() {}
template <int R> static inline void registers_take() {}
template <int N> static inline void wgmma_touch(float (&)[N]) {}

// One half of a K-major operand in 128-byte swizzled rows. The eighteen address bits of a descriptor lose the rank: it is the lane's.
static inline float host_rows128(u64 start, int row, int k) {
  u32 a = (u32)start + (u32)(row / 8 * 1024 + row % 8 * 128 + k * 2);
  a = (a & 0xff000000u) | ((a & 0xffffffu) ^ ((a >> 7 & 7) << 4));
  u16 h;
  memcpy(&h, host_at(a), 2);
  return host_half(h);
}
// The warpgroup's A operand: every lane gives its registers, and then one half of a warp's 16 rows can be had.
static inline void host_give_a(const u32 (&a)[4], int lane) {
  u32 *me = host_slot(HOST_WARPGROUP, lane);
  for (int i = 0; i < 4; i++) me[i] = a[i];
  host_meet(HOST_WARPGROUP);
}
static inline float host_a(int warp, int row, int k) {
  u32 pair = host_slot(HOST_WARPGROUP, warp * 32 + (row & 7) * 4 + (k & 7) / 2)[(row >> 3) + 2 * (k >> 3)];
  return host_half((u16)(k & 1 ? pair >> 16 : pair));
}
template <int R> static inline void wgmma_rs(float (&d)[R], const u32 (&a)[4], u64 b) {
  int lane = host_me->index & 127, warp = lane / 32, g = lane % 32 >> 2, t = lane & 3;
  host_give_a(a, lane);
  for (int i = 0; i < R; i++) {
    int row = g + (i & 2 ? 8 : 0), col = i / 4 * 8 + 2 * t + (i & 1);
    for (int k = 0; k < 16; k++) d[i] += host_a(warp, row, k) * host_rows128(b, col, k);
  }
  host_meet(HOST_WARPGROUP);
}
template <int R> static inline void wgmma_ss(float (&d)[R], u64 a, u64 b) {
  int lane = host_me->index & 127, warp = lane / 32, g = lane % 32 >> 2, t = lane & 3;
  host_meet(HOST_WARPGROUP);
  for (int i = 0; i < R; i++) {
    int row = warp * 16 + g + (i & 2 ? 8 : 0), col = i / 4 * 8 + 2 * t + (i & 1);
    for (int k = 0; k < 16; k++) d[i] += host_rows128(a, row, k) * host_rows128(b, col, k);
  }
  host_meet(HOST_WARPGROUP);
}
