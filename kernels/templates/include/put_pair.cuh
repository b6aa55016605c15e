// put_pair: two neighbouring results to y, or added to what is there.
#pragma once
#include "gemm_ptx.cuh"

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
