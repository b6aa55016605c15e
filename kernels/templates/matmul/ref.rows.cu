/* tunesmith
doc       few rows on f16 weights: a ring of weights filled before the kernel before has ended
requires  sm_80
quant     q0f16
define    OUTPUTS N
include   gemv_f16.params
launch    gemv_f16_entry
grid      BLOCKS ; 1 ; 1
block     WARPS * 32 + COPIERS ; 1 ; 1
shared    SMEM
dependent COPIERS ? 2 : 0
args      b0 b1 b2
*/
#include "gemv_f16.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMV_ADD : GEMV_STORE };

typedef gemv_f16_shape<TS_N, TS_K, TS_n, WARPS, STAGES, EACH, HEIGHT, BATCH> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32 + COPIERS, AT_ONCE)
gemv_f16_entry(const input *x, const u16 *w, output *y) {
  gemv_f16<shape, END, false, HINT, COPIERS != 0>(x, (const float *)0, w, y, 0.0f, LEFT);
}
