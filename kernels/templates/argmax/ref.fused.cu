/* tunesmith
doc       the largest and its index in one launch
requires  sm_80
include   choose.params
workspace PARTS > 1 ? 4 * n_hi * (1 + 2 * PARTS) : 0
zeroed    PARTS > 1 ? 4 * n_hi : 0
launch    fused
grid      PARTS ; n ; 1
block     THREADS ; 1 ; 1
dependent COMPUTE >= 90
args      b0 b1 w d
*/
#include "choose.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) fused(const logit *x, int *y, u32 *workspace, const long long *dims) {
  if (!has_row(dims)) return;
  choose(y, workspace, [=](int row, int v) { return logit_load(x + (size_t)row * TS_V, v); });
}
