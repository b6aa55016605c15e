// gemm_ptx for the host: the same functions as kernels/templates/include/gemm_ptx.cuh, so that the kernels built on them run on a
// CPU. Every lane is a fiber; blocks of a cluster run together, clusters one after the other. Bulk copies land as late as a
// barrier allows, or at once, by chance: a ring that reuses a slot too early or reads it too soon shows.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint2 {
  u32 x, y;
};
struct alignas(16) uint4 {
  u32 x, y, z, w;
};
struct dim3_ {
  int x, y, z;
};
static inline float2 make_float2(float x, float y) {
  return {x, y};
}
static inline uint2 make_uint2(u32 x, u32 y) {
  return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
using std::min;
using std::max;
static inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
#define __expf host_expf
static inline float host_expf(float x) {
  return expf(x);
}

// --- lanes ---------------------------------------------------------------------------------------------------------
struct host_lane {
  dim3_ thread, block;
  int rank, index;  // block of the cluster, thread of the block
  unsigned long cluster_turn;
};
extern thread_local host_lane *host_me;
extern dim3_ host_grid;
extern int host_threads, host_blocks;  // of a block, of a cluster
#define threadIdx (host_me->thread)
#define blockIdx (host_me->block)
#define gridDim host_grid
unsigned char *host_shared();
unsigned char *host_at(u32 address);
void host_yield();
// All of a group of lanes arrive, then go on: a warp, a warpgroup, a block, the cluster.
void host_meet(int kind);
void host_meet_some(int number, int threads);  // of the block, at the barrier of that number
enum { HOST_WARP, HOST_WARPGROUP, HOST_BLOCK };
// Where the lanes of a warp or warpgroup lay what they exchange.
u32 *host_slot(int kind, int lane);

#define SHARED_MEMORY(name) unsigned char *name = host_shared()
static inline u32 shared_address(const void *p) {
  return (u32)((const unsigned char *)p - host_shared()) + ((u32)host_me->rank << 24);
}
static inline void __syncwarp() {
  host_meet(HOST_WARP);
}
static inline void __syncthreads() {
  host_meet(HOST_BLOCK);
}
static inline float __shfl_xor_sync(u32, float v, int m) {
  int lane = host_me->index & 31;
  memcpy(host_slot(HOST_WARP, lane), &v, 4);
  host_meet(HOST_WARP);
  float r;
  memcpy(&r, host_slot(HOST_WARP, lane ^ m), 4);
  host_meet(HOST_WARP);
  return r;
}
static inline u32 __shfl_xor_sync(u32, u32 v, int m) {
  int lane = host_me->index & 31;
  *host_slot(HOST_WARP, lane) = v;
  host_meet(HOST_WARP);
  u32 r = *host_slot(HOST_WARP, lane ^ m);
  host_meet(HOST_WARP);
  return r;
}
static inline float warp_most(float v) {
  for (int m = 16; m; m >>= 1) v = std::max(v, __shfl_xor_sync(~0u, v, m));
  return v;
}
static inline int __shfl_sync(u32, int v, int from) {
  int lane = host_me->index & 31;
  *host_slot(HOST_WARP, lane) = (u32)v;
  host_meet(HOST_WARP);
  int r = (int)*host_slot(HOST_WARP, from);
  host_meet(HOST_WARP);
  return r;
}
static inline bool __all_sync(u32, bool v) {
  int lane = host_me->index & 31;
  *host_slot(HOST_WARP, lane) = v;
  host_meet(HOST_WARP);
  bool all = true;
  for (int i = 0; i < 32; i++) all = all && *host_slot(HOST_WARP, i);
  host_meet(HOST_WARP);
  return all;
}
static inline u32 __float_as_uint(float f) {
  u32 v;
  memcpy(&v, &f, 4);
  return v;
}
static inline float __uint_as_float(u32 v) {
  float f;
  memcpy(&f, &v, 4);
  return f;
}
static inline void atomicAdd(float *p, float v) {
  *p += v;
}
static inline u32 atomicAdd(u32 *p, u32 v) {
  *p += v;
  return *p - v;
}
static inline void __threadfence() {}
#define __shared__ static  // of blocks that run one after the other

static inline bool elected() {
  __syncwarp();
  return (host_me->index & 31) == 0;
}
static inline u32 cycles_now() {  // time passes by being asked for
  static u32 now;
  return now += 100;
}
static inline void threads_meet(int number, int threads) {
  host_meet_some(number, threads);
}
static inline u32 pick_bytes(u32 a, u32 b, u32 pick) {
  u64 both = (u64)b << 32 | a;
  u32 v = 0;
  for (int i = 0; i < 4; i++) v |= (u32)(both >> 8 * (pick >> 4 * i & 7) & 0xff) << 8 * i;
  return v;
}

enum { STARTS_EARLY = 1 };
static inline void dependents_may_start() {}
void wait_for_predecessors();

// --- barriers and copies -------------------------------------------------------------------------------------------
struct host_barrier {  // in the eight bytes of the barrier
  short pending, count;
  int bytes_phase;  // bytes still to come * 2 + phase
};
static_assert(sizeof(host_barrier) == 8, "a barrier is eight bytes");
void host_barrier_arrive(u32 bar, int count, int bytes);
bool host_barrier_done(u32 bar, u32 parity);
void host_copy(u32 dst, const void *src, u32 bytes, u32 bar);
static inline void barrier_init(u32 bar, u32 count) {
  host_barrier b = {(short)count, (short)count, 0};
  memcpy(host_at(bar), &b, 8);
}
static inline void barrier_init_fence() {}
static inline void barrier_expect(u32 bar, u32 bytes) {
  host_barrier_arrive(bar, 1, (int)bytes);
}
static inline void barrier_arrive(u32 bar) {
  host_barrier_arrive(bar, 1, 0);
}
static inline void barrier_wait(u32 bar, u32 parity) {
  while (!host_barrier_done(bar, parity)) host_yield();
}
static inline u64 policy_evict_first() {
  return 1;
}
static inline void copy_bulk(u32 dst, const void *src, u32 bytes, u32 bar) {
  host_copy(dst, src, bytes, bar);
}
static inline void copy_bulk_hint(u32 dst, const void *src, u32 bytes, u32 bar, u64) {
  host_copy(dst, src, bytes, bar);
}
struct tensor_map {  // of the host: innermost first; strides in bytes; swizzle 0 or 128
  const void *base;
  int size[3];
  size_t stride[2];
  int box[3], element, swizzle;
};
void copy_tensor_3d(u32 dst, const tensor_map *map, int x, int y, int z, u32 bar);
void copy_tensor_2d(u32 dst, const tensor_map *map, int x, int y, u32 bar);
static inline void copy_tensor_3d_hint(u32 dst, const tensor_map *map, int x, int y, int z, u32 bar, u64) {
  copy_tensor_3d(dst, map, x, y, z, bar);
}
static inline void copy_tensor_2d_hint(u32 dst, const tensor_map *map, int x, int y, u32 bar, u64) {
  copy_tensor_2d(dst, map, x, y, bar);
}
static inline void copy_tensor_3d_to(u32 dst, const tensor_map *map, int x, int y, int z, u32 bar, u32 blocks) {
  for (u32 r = 0; blocks >> r; r++)
    if (blocks >> r & 1) copy_tensor_3d((dst & 0xffffffu) | r << 24, map, x, y, z, (bar & 0xffffffu) | r << 24);
}
static inline void prefetch_tensor_map(const tensor_map *) {}

static inline float2 load2(const float *p) {
  return {p[0], p[1]};
}
static inline u32 load_u32(const void *p) {
  u32 v;
  memcpy(&v, p, 4);
  return v;
}
// Another block writes it: let it run.
static inline uint4 load_relaxed4(const void *p) {
  host_yield();
  return *(const uint4 *)p;
}
static inline void store_relaxed4(void *p, uint4 v) {
  *(uint4 *)p = v;
}
static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) {
  return {x, y, z, w};
}

static inline void add_four(float *p, float4 v) {
  const float add[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 4; i++) p[i] += add[i];
}

// --- halves --------------------------------------------------------------------------------------------------------
static inline float host_half(u16 h) {
  _Float16 f;
  memcpy(&f, &h, 2);
  return (float)f;
}
static inline u16 host_to_half(float f) {
  _Float16 h = (_Float16)f;
  u16 v;
  memcpy(&v, &h, 2);
  return v;
}
static inline u32 pack_f16(float lo, float hi) {
  return host_to_half(lo) | (u32)host_to_half(hi) << 16;
}
static inline float2 unpack_f16(u32 v) {
  return {host_half((u16)v), host_half((u16)(v >> 16))};
}
static inline u32 sub_f16x2(u32 a, u32 b) {
  float2 x = unpack_f16(a), y = unpack_f16(b);
  return pack_f16(x.x - y.x, x.y - y.y);
}
static inline u32 mul_f16x2(u32 a, u32 b) {
  float2 x = unpack_f16(a), y = unpack_f16(b);
  return pack_f16(x.x * y.x, x.y * y.y);
}
static inline u32 fma_f16x2(u32 a, u32 b, u32 c) {
  float2 x = unpack_f16(a), y = unpack_f16(b), z = unpack_f16(c);
  return pack_f16(x.x * y.x + z.x, x.y * y.y + z.y);
}
template <u32 MASK> static inline u32 mask_or(u32 a, u32 bits) {
  return (a & MASK) | bits;
}
#include "codes_to_f16.cuh"
static inline void codes_on_1024(u32 w, u32 (&a)[4]) {
  for (int i = 0; i < 4; i++) a[i] = mask_or<0xffffffffu>((i >= 2 ? w >> 8 : w) & (i & 1 ? 0x00f000f0u : 0x000f000fu), 0x64006400u);
}

// --- tensor cores: m16n8k16, lane = 4 g + t ------------------------------------------------------------------------
static inline void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  int lane = host_me->index & 31, g = lane >> 2, t = lane & 3;
  u32 *me = host_slot(HOST_WARP, lane);
  for (int i = 0; i < 4; i++) me[i] = a[i];
  me[4] = b0;
  me[5] = b1;
  host_meet(HOST_WARP);
  for (int e = 0; e < 4; e++) {
    int row = g + (e >= 2 ? 8 : 0), col = 2 * t + (e & 1);
    float sum = d[e];
    for (int k = 0; k < 16; k++) {
      u32 av = host_slot(HOST_WARP, (row & 7) * 4 + (k & 7) / 2)[(row >> 3) + 2 * (k >> 3)];
      u32 bv = host_slot(HOST_WARP, col * 4 + (k & 7) / 2)[4 + (k >> 3)];
      sum += host_half((u16)(k & 1 ? av >> 16 : av)) * host_half((u16)(k & 1 ? bv >> 16 : bv));
    }
    d[e] = sum;
  }
  host_meet(HOST_WARP);
}

static inline void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const float (&c)[4]) {
  float sum[4] = {c[0], c[1], c[2], c[3]};
  mma_m16n8k16(sum, a, b0, b1);
  for (int e = 0; e < 4; e++) d[e] = sum[e];
}
static inline void mma_m16n8k8_tf32(float (&d)[4], const float (&a)[4], float b0, float b1) {
  int lane = host_me->index & 31, g = lane >> 2, t = lane & 3;
  u32 *me = host_slot(HOST_WARP, lane);
  for (int i = 0; i < 4; i++) me[i] = __float_as_uint(a[i]) & 0xffffe000u;
  me[4] = __float_as_uint(b0) & 0xffffe000u;
  me[5] = __float_as_uint(b1) & 0xffffe000u;
  host_meet(HOST_WARP);
  for (int e = 0; e < 4; e++) {
    int row = g + (e >= 2 ? 8 : 0), col = 2 * t + (e & 1);
    for (int k = 0; k < 8; k++)
      d[e] += __uint_as_float(host_slot(HOST_WARP, (row & 7) * 4 + (k & 3))[(row >> 3) + 2 * (k >> 2)]) * __uint_as_float(host_slot(HOST_WARP, col * 4 + (k & 3))[4 + (k >> 2)]);
  }
  host_meet(HOST_WARP);
}
static inline void load_matrices(u32 (&r)[4], u32 address) {
  int lane = host_me->index & 31;
  if (address % 16) fprintf(stderr, "matrix row at %x\n", address), abort();
  host_slot(HOST_WARP, lane)[0] = address;
  host_meet(HOST_WARP);
  for (int j = 0; j < 4; j++) memcpy(&r[j], host_at(host_slot(HOST_WARP, j * 8 + lane / 4)[0]) + lane % 4 * 4, 4);
  host_meet(HOST_WARP);
}
static inline void load_matrices_turned(u32 (&r)[4], u32 address) {
  int lane = host_me->index & 31;
  if (address % 16) fprintf(stderr, "matrix row at %x\n", address), abort();
  host_slot(HOST_WARP, lane)[0] = address;
  host_meet(HOST_WARP);
  for (int j = 0; j < 4; j++)
    for (int e = 0; e < 2; e++) memcpy((char *)&r[j] + 2 * e, host_at(host_slot(HOST_WARP, j * 8 + lane % 4 * 2 + e)[0]) + lane / 4 * 2, 2);
  host_meet(HOST_WARP);
}
static inline void store_matrices_turned(u32 address, const u32 (&r)[4]) {
  int lane = host_me->index & 31;
  if (address % 16) fprintf(stderr, "matrix row at %x\n", address), abort();
  host_slot(HOST_WARP, lane)[0] = address;
  host_meet(HOST_WARP);
  for (int m = 0; m < 4; m++)
    for (int e = 0; e < 2; e++) {
      u16 v = (u16)(r[m] >> 16 * e);
      memcpy(host_at(host_slot(HOST_WARP, m * 8 + lane % 4 * 2 + e)[0]) + lane / 4 * 2, &v, 2);
    }
  host_meet(HOST_WARP);
}

template <bool SIGNED> static inline void host_mma_bytes(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const int (&c)[4]) {
  int lane = host_me->index & 31, g = lane >> 2, t = lane & 3;
  u32 *me = host_slot(HOST_WARP, lane);
  for (int i = 0; i < 4; i++) me[i] = a[i];
  me[4] = b0;
  me[5] = b1;
  host_meet(HOST_WARP);
  for (int e = 0; e < 4; e++) {
    int row = g + (e >= 2 ? 8 : 0), col = 2 * t + (e & 1), sum = c[e];
    for (int k = 0; k < 32; k++) {
      u32 av = host_slot(HOST_WARP, (row & 7) * 4 + (k & 15) / 4)[(row >> 3) + 2 * (k >> 4)] >> 8 * (k & 3);
      u32 bv = host_slot(HOST_WARP, col * 4 + (k & 15) / 4)[4 + (k >> 4)] >> 8 * (k & 3);
      sum += (SIGNED ? (int)(signed char)av : (int)(unsigned char)av) * (int)(signed char)bv;
    }
    d[e] = sum;
  }
  host_meet(HOST_WARP);
}
static inline void mma_u8_s8(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const int (&c)[4]) {
  host_mma_bytes<false>(d, a, b0, b1, c);
}
static inline void mma_s8_s8(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const int (&c)[4]) {
  host_mma_bytes<true>(d, a, b0, b1, c);
}
static inline float __int_as_float(int i) {
  float f;
  memcpy(&f, &i, 4);
  return f;
}
static inline int __float2int_rn(float f) {
  return (int)rintf(f);
}

// --- clusters ------------------------------------------------------------------------------------------------------
static inline u32 cluster_rank() {
  return (u32)host_me->rank;
}
void cluster_arrive();
static inline void cluster_arrive_bare() {
  cluster_arrive();
}
void cluster_wait();
static inline u32 cluster_address(u32 a, u32 rank) {
  return (a & 0xffffffu) | rank << 24;
}
static inline void store_cluster(u32 a, float v) {
  memcpy(host_at(a), &v, 4);
}
static inline void send_cluster4(u32 a, float4 v, u32 bar) {
  if (a % 16 || a >> 24 != bar >> 24) fprintf(stderr, "sixteen bytes to %x, on %x\n", a, bar), abort();
  memcpy(host_at(a), &v, 16);
  host_barrier_arrive(bar, 0, -16);
}
static inline void send_cluster(u32 a, float v, u32 bar) {
  if (a % 4 || a >> 24 != bar >> 24) fprintf(stderr, "four bytes to %x, on %x\n", a, bar), abort();
  memcpy(host_at(a), &v, 4);
  host_barrier_arrive(bar, 0, -4);
}
static inline void barrier_arrive_cluster(u32 bar) {
  host_barrier_arrive(bar, 1, 0);
}

static inline float exp2_fast(float x) {
  return exp2f(x);
}
