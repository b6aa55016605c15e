// stream_ptx: what products of few rows say in instructions of their own. (tests/kernels has the same functions for the host.)
#pragma once
#include "gemm_ptx.cuh"

// 16 bytes to shared memory, if wanted; they belong to the thread's open group. Without a policy of the cache: in registers beside others that
// are written to memory, one became no policy (an illegal instruction).
__device__ __forceinline__ void copy16_if(u32 dst, const void *src, bool wanted) {
  asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %2, 0;\n\t@p cp.async.cg.shared.global [%0], [%1], 16;\n\t}" ::"r"(dst), "l"(src), "r"((int)wanted) : "memory");
}
__device__ __forceinline__ void copy16(u32 dst, const void *src) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(dst), "l"(src) : "memory");
}
__device__ __forceinline__ void copies_close() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until all but the newest PENDING groups of the thread have arrived.
template <int PENDING> __device__ __forceinline__ void copies_arrived() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
// What an earlier kernel, perhaps still running at our start, has written.
__device__ __forceinline__ uint4 load16_fresh(const void *p) {
  uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
// 16 bytes of shared memory, read wherever it is said.
__device__ __forceinline__ uint4 load16_shared(u32 at) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at) : "memory");
  return v;
}
// A hundred nanoseconds or so in which the thread asks for nothing.
__device__ __forceinline__ void rest_briefly() {
  asm volatile("nanosleep.u32 100;" ::: "memory");
}
