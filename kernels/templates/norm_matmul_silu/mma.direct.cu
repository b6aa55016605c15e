/* tunesmith
doc       one row, few weights, the norm before and silu(gate) * up behind: every weight waits in a register
requires  sm_80
define    OUTPUTS 2 * I
include   direct_q4.params
param     TILES 2 4
start     WARPS=9 TILES=2 if K / 64 % 9 == 0
start     WARPS=8 TILES=2 if K / 64 % 8 == 0
start     WARPS=12 TILES=2 if K / 64 % 12 == 0
start     WARPS=14 TILES=2 if K / 64 % 14 == 0
start     WARPS=8 TILES=2
launch    direct_q4_entry
grid      GROUPS ; 1 ; 1
block     32 * WARPS ; 1 ; 1
shared    4 * WARPS * (80 * EACH + 16 * TILES + 1)
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 b3 b4
*/
#include "direct_q4.cuh"
#include "matmul_types.cuh"

typedef direct_shape<2 * TS_I, TS_K, WARPS, TILES> shape;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) direct_q4_entry(const input *x, const float *g, const void *codes, const void *scales, output *y) {
  direct_q4<shape, GEMV_SILU, true>(x, g, codes, scales, y, TS_eps);
}
