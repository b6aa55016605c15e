/* tunesmith
doc       one row, few weights, with the norm before it: every weight waits in a register before the kernel before has ended
requires  sm_80
define    OUTPUTS N
include   direct_q4.params
param     TILES 1 2
start     WARPS=9 TILES=1 if K / 64 % 9 == 0
start     WARPS=8 TILES=1 if K / 64 % 8 == 0
start     WARPS=12 TILES=1 if K / 64 % 12 == 0
start     WARPS=14 TILES=1 if K / 64 % 14 == 0
start     WARPS=8 TILES=1
launch    direct_q4_entry
grid      GROUPS ; 1 ; 1
block     32 * WARPS ; 1 ; 1
shared    4 * WARPS * (80 * EACH + 16 * TILES + 1)
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 b3 b4
*/
#include "direct_q4.cuh"
#include "matmul_types.cuh"

typedef direct_shape<TS_N, TS_K, WARPS, TILES> shape;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) direct_q4_entry(const input *x, const float *g, const void *codes, const void *scales, output *y) {
  direct_q4<shape, GEMV_STORE, true>(x, g, codes, scales, y, TS_eps);
}
