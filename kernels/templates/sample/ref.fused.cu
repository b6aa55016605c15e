/* tunesmith
doc       temperature, noise and the choice of the largest in one launch
requires  sm_80
include   choose.params
workspace PARTS > 1 ? 4 * n_hi * (1 + 2 * PARTS) : 0
zeroed    PARTS > 1 ? 4 * n_hi : 0
launch    fused
grid      PARTS ; n ; 1
block     THREADS ; 1 ; 1
dependent COMPUTE >= 90
args      b0 b1 b2 w d
*/
#include "choose.cuh"

// -log(-log(u)), u in (0, 1) by a hash of the row's random number and the index. ORDER: kernels/ops/sample.tir
static __device__ __forceinline__ float noise(u32 draw, u32 v) {
  u32 h = draw + v * 2654435769u;
  h = (h ^ h >> 16) * 2146121005u;
  h = (h ^ h >> 15) * 2221713035u;
  const float u = ((float)((h ^ h >> 16) >> 9) + 0.5f) * 1.1920928955078125e-07f;
  return -logf(-logf(u));
}

extern "C" __global__ void __launch_bounds__(THREADS) fused(const logit *x, const u32 *draw, int *y, u32 *workspace, const long long *dims) {
  if (!has_row(dims)) return;
  const u32 mine = draw[blockIdx.y];
  choose(y, workspace, [=](int row, int v) { return logit_load(x + (size_t)row * TS_V, v) * TS_inv_temperature + noise(mine, (u32)v); });
}
