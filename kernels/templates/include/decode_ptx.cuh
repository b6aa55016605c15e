// decode_ptx: what decode attention says in instructions of its own. (tests/kernels has the same functions for the host.)
#pragma once
#include "gemm_ptx.cuh"

// 16 bytes that no other block reads.
static __device__ __forceinline__ uint4 load16(const void *p) {
  uint4 r;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p) : "memory");
  return r;
}
// 16 bytes of shared memory.
static __device__ __forceinline__ uint4 shared16(u32 a) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(a) : "memory");
  return v;
}
static __device__ __forceinline__ u32 byte_perm(u32 a, u32 b, u32 s) {
  u32 r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(s));
  return r;
}

// What another block has written.
static __device__ __forceinline__ float load_shared_level(const float *p) { return __ldcg(p); }
static __device__ __forceinline__ float load_cluster(u32 a) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(a) : "memory");
  return v;
}

// Activations: f16 or f32.
#if TS_A_F16
typedef unsigned short act;
static __device__ __forceinline__ float act_load(const act *p) {
  float r;
  asm volatile("{.reg .b16 h; ld.global.b16 h, [%1]; cvt.f32.f16 %0, h;}" : "=f"(r) : "l"(p));
  return r;
}
static __device__ __forceinline__ void act_load8(float *x, const act *p) {
  const uint4 v = load16(p);
  const u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 f = unpack_f16(w[i]);
    x[2 * i] = f.x, x[2 * i + 1] = f.y;
  }
}
static __device__ __forceinline__ void act_store(act *p, float v) { asm volatile("{.reg .b16 h; cvt.rn.f16.f32 h, %1; st.global.b16 [%0], h;}" ::"l"(p), "f"(v) : "memory"); }
#else
typedef float act;
static __device__ __forceinline__ float act_load(const act *p) {
  float r;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(r) : "l"(p));
  return r;
}
static __device__ __forceinline__ void act_load8(float *x, const act *p) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const uint4 v = load16(p + 4 * i);
    x[4 * i] = __uint_as_float(v.x), x[4 * i + 1] = __uint_as_float(v.y), x[4 * i + 2] = __uint_as_float(v.z), x[4 * i + 3] = __uint_as_float(v.w);
  }
}
static __device__ __forceinline__ void act_store(act *p, float v) { *p = v; }
#endif
