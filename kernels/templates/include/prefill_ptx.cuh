// prefill_ptx: the PTX of prefill attention, one small function an instruction.
#pragma once
#include "wgmma.cuh"

// Matrix descriptors of 128-byte swizzled tiles: rows of 128 bytes, eight to a swizzle atom of 1024 bytes.
static __device__ __forceinline__ u64 descriptor(u32 address, u32 leading_bytes) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)(leading_bytes >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// d[64 x 128] (+)= a[64 x 16] . b[128 x 16]^T, a in registers, b K-major in shared memory; keep == 0 starts a new sum.
static __device__ __forceinline__ void wgmma_scores(float (&d)[64], const u32 (&a)[4], u64 b, int keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" WGMMA_NUMBERS_64 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}"
      : WGMMA_SUMS_64(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
}
// o[64 x N] += a[64 x 16] . b[16 x N], a in registers, b with rows of N in shared memory.
static __device__ __forceinline__ void wgmma_values(float (&d)[64], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" WGMMA_NUMBERS_64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
      : WGMMA_SUMS_64(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
static __device__ __forceinline__ void wgmma_values(float (&d)[32], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" WGMMA_NUMBERS_32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : WGMMA_SUMS_32(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// Named barriers 1 and 2: turns at the tensor cores.
static __device__ __forceinline__ void turn_wait(int warpgroup) { asm volatile("bar.sync %0, 256;" ::"r"(1 + warpgroup) : "memory"); }
static __device__ __forceinline__ void turn_give(int warpgroup) { asm volatile("bar.arrive %0, 256;" ::"r"(1 + warpgroup) : "memory"); }

// Blocks that share an item meet at a counter, which is zero at first: the 256 consumers of each wait until what all of `parts` have written is there ...
static __device__ __forceinline__ void parts_meet(u32 *counter, int parts) {
  __threadfence();
  threads_meet(3, 256);
  if (threadIdx.x == 128) {
    u32 come = atomicAdd(counter, 1u) + 1;
    while (come < (u32)parts) asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(come) : "l"(counter) : "memory");
    __threadfence();
  }
  threads_meet(3, 256);
}
// ... and leave it at zero, once all have read.
static __device__ __forceinline__ void parts_leave(u32 *counter, int parts) {
  if (threadIdx.x == 128 && atomicAdd(counter, 1u) == 2 * (u32)parts - 1) *counter = 0;
}
