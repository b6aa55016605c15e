// put_pair, put_four: neighbouring results to y, or added to what is there.
#pragma once
#include "gemm_ptx.cuh"

enum gemm_end { GEMM_STORE, GEMM_ADD };  // what becomes of the sums: y, or added to it

__device__ __forceinline__ void put_pair(u16 *y, float a, float b, bool add) {
  if (add) {
    float2 old = unpack_f16(load_u32(y));
    a += old.x;
    b += old.y;
  }
  *(u32 *)y = pack_f16(a, b);
}
__device__ __forceinline__ void put_pair(float *y, float a, float b, bool add) {
  if (add) {  // the only additions to it: nobody waits for the old value
    atomicAdd(y, a);
    atomicAdd(y + 1, b);
  } else {
    *(float2 *)y = make_float2(a, b);
  }
}

// Two neighbouring features of a row of x in a tile of 16 by 8, summed over the S::split parts of K, each of S::share tiles as mma leaves them.
template <typename S> __device__ __forceinline__ float2 sum_parts(const float *gathered, int tile, int pair, int row) {
  const float *p = gathered + (tile * 32 + pair % 4 * 8 + row / 2) * 4 + pair / 4 * 2 + row % 2;
  float a = 0.0f, b = 0.0f;
#pragma unroll
  for (int s = 0; s < S::split; s++) {
    a += p[s * S::share * 128];
    b += p[s * S::share * 128 + 16];
  }
  return make_float2(a, b);
}

// Sums of 16 features by eight rows of x, as tensor cores leave them, to halves: lanes trade until each has four neighbouring features of one row,
// two rows of a feature as one word. Of which row: lane % 4 * 2 + lane / 4 % 2; from which feature on: lane / 16 * 4 + lane / 8 % 2 * 8.
__device__ __forceinline__ uint2 four_halves(float4 v, int lane) {
  const u32 p = pack_f16(v.x, v.y), q = pack_f16(v.z, v.w), pick = lane & 4 ? 0x3276u : 0x5410u;
  const u32 low = pick_bytes(p, __shfl_xor_sync(~0u, p, 4), pick), high = pick_bytes(q, __shfl_xor_sync(~0u, q, 4), pick);
  const bool far = lane & 8;
  const u32 got = __shfl_xor_sync(~0u, far ? low : high, 8);
  return {far ? got : low, far ? high : got};
}

__device__ __forceinline__ void put_four(u16 *y, float4 v, bool add) {
  if (add) {
    float2 low = unpack_f16(load_u32(y)), high = unpack_f16(load_u32(y + 2));
    v = make_float4(v.x + low.x, v.y + low.y, v.z + high.x, v.w + high.y);
  }
  uint2 w = {pack_f16(v.x, v.y), pack_f16(v.z, v.w)};
  *(uint2 *)y = w;
}
__device__ __forceinline__ void put_four(float *y, float4 v, bool add) {
  if (add) {
    add_four(y, v);
  } else {
    *(float4 *)y = v;
  }
}
