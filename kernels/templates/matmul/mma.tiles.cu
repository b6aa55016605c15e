/* tunesmith
doc       more than 8 rows of f16 without wgmma: tiles of mma.sync on copies of 16 bytes, K shared by blocks where tiles are few
requires  sm_80
guess     COMPUTE == 90 ? 0 : n_lo <= 32 && n_hi <= 32 ? 1 : 2      # up to 32 rows: mma.exact
define    UNIT 576
where     COMPUTE != 90 || N * n_hi <= 20000     # with wgmma others are faster: only what tells that it is right
limit     max |ws| < 8192                # eight scales are a half
include   tiles_product.params
workspace SPLIT > 1 ? COUNTERS + 4 * SPLIT * MOST_TILES * HEIGHT * WIDTH : 0
zeroed    SPLIT > 1 ? COUNTERS : 0
launch    tiles_q4_entry
grid      ceildiv(n, WIDTH) * DOWN * SPLIT ; 1 ; 1
block     256 ; 1 ; 1
shared    SMEM
dependent COMPUTE >= 90
args      b0 b1 b2 b3 w d
*/
#include "tiles_q4.cuh"
#include "dims_now.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef tiles_shape<TS_N, TS_K, HEIGHT, WIDTH, STAGES, SPLIT, GROUP, 576> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(256, AT_ONCE)
tiles_q4_entry(const u16 *x, const unsigned char *codes, const unsigned char *scales, output *y, unsigned char *work, const long long *dims) {
  tiles_product<shape, tiles_q4<shape>, END>(x, {codes, scales}, y, (u32 *)work, (float4 *)(work + COUNTERS), N_NOW);
}
