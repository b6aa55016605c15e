// biased: where a product with a bias goes. It stands in the place of the output's pointer: writing an element adds its bias, which the
// thread has read before the wait for the preceding kernel when it is the first of those it writes.
#pragma once
#include "gemv_q4.cuh"

template <typename Y> struct biased {
  Y *y;
  const float *b;
  size_t at;    // the element of b that is here already
  float early;
};

// owns: this thread writes element `at` of a row, unless b ends before it.
template <typename Y> __device__ __forceinline__ biased<Y> bias_early(Y *y, const float *b, size_t at, bool owns) {
  owns = owns && at < (size_t)TS_N;
  return {y, b, owns ? at : ~(size_t)0, owns ? b[at] : 0.0f};
}

// Element i of all rows one behind the other.
template <typename Y> __device__ __forceinline__ void gemv_write(biased<Y> *to, size_t i, float v, bool add) {
  const size_t at = i % TS_N;
  gemv_write(to->y, i, v + (at == to->at ? to->early : to->b[at]), add);
}
