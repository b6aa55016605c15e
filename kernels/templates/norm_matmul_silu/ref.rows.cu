/* tunesmith
doc       few rows on f16 weights with the norm before and silu(gate) * up behind
requires  sm_80
quant     q0f16
define    OUTPUTS 2 * I
include   gemv_f16.params
launch    gemv_f16_entry
grid      BLOCKS ; 1 ; 1
block     WARPS * 32 + COPIERS ; 1 ; 1
shared    SMEM
dependent COPIERS ? 2 : 0
args      b0 b1 b2 b3
*/
#include "gemv_f16.cuh"
#include "matmul_types.cuh"

typedef gemv_f16_shape<2 * TS_I, TS_K, TS_n, WARPS, STAGES, EACH, HEIGHT, BATCH> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32 + COPIERS, AT_ONCE)
gemv_f16_entry(const input *x, const float *g, const u16 *w, output *y) {
  gemv_f16<shape, GEMV_SILU, true, HINT, COPIERS != 0>(x, g, w, y, TS_eps, LEFT);
}
