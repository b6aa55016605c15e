/* tunesmith
doc       f16: eight values a thread, biases asked for before the kernel before has ended
requires  sm_80
param     THREADS 128 64 256
start     THREADS=128
where     A_F16 && N % 8 == 0
launch    add_bias_pieces
grid      ceildiv(n * (N / 8), THREADS) ; 1 ; 1
block     THREADS ; 1 ; 1
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 d
*/
#include "row_pieces.cuh"

__device__ __forceinline__ u32 sum_pair(u32 v, float b0, float b1) {
  return fma_f16x2(v, 0x3c003c00u, pack_f16(b0, b1));
}

extern "C" __global__ void __launch_bounds__(THREADS) add_bias_pieces(const float *b, uint4 *y, const long long *dims) {
  enum { PIECES = TS_N / 8 };
  const int place = blockIdx.x * THREADS + threadIdx.x, row = place / PIECES, at = place % PIECES;
  dependents_may_start();
  const bool mine = row < N_NOW;
  const float4 low = load_four(b + at * 8), high = load_four(b + at * 8 + 4);
  wait_for_predecessors();
  if (!mine) return;
  const uint4 v = load16_fresh(y + place);
  y[place] = make_uint4(sum_pair(v.x, low.x, low.y), sum_pair(v.y, low.z, low.w), sum_pair(v.z, high.x, high.y), sum_pair(v.w, high.z, high.w));
}
