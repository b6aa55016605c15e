// row_pieces: small operators on rows of f16, eight values of a thread at once. What does not come from the kernel before - the number of rows, gains,
// turns - is read before that has ended; so is the next kernel told to start.
#pragma once
#include "dims_now.cuh"
#include "stream_ptx.cuh"

__device__ __forceinline__ float4 load_four(const float *p) {
  const uint4 v = load16_fresh(p);
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w));
}
