/* tunesmith
doc       more than 4 rows of f16 on f16 weights without wgmma: tiles of mma.sync on copies of 16 bytes, K shared by blocks where tiles are few
requires  sm_80
quant     q0f16
guess     COMPUTE == 90 ? 0 : 2
define    UNIT 2048
where     COMPUTE != 90 || N * n_hi <= 16000     # with wgmma another is faster: only what tells that it is right
include   tiles_product.params
workspace SPLIT > 1 ? COUNTERS + 4 * SPLIT * MOST_TILES * HEIGHT * WIDTH : 0
zeroed    SPLIT > 1 ? COUNTERS : 0
launch    tiles_f16_entry
grid      ceildiv(n, WIDTH) * DOWN * SPLIT ; 1 ; 1
block     256 ; 1 ; 1
shared    SMEM
dependent COMPUTE >= 90
args      b0 b1 b2 w d
*/
#include "tiles_f16.cuh"
#include "dims_now.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef tiles_shape<TS_N, TS_K, HEIGHT, WIDTH, STAGES, SPLIT, GROUP, 2048> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(256, AT_ONCE) tiles_f16_entry(const u16 *x, const u16 *w, output *y, unsigned char *work, const long long *dims) {
  tiles_product<shape, tiles_f16<shape>, END>(x, w, y, (u32 *)work, (float4 *)(work + COUNTERS), N_NOW);
}
