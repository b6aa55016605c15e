/* tunesmith
doc       more than 8 rows of f16 without wgmma: tiles of mma.sync on copies of 16 bytes, K shared by blocks where tiles are few
requires  sm_80
guess     COMPUTE == 90 ? 0 : n_lo <= 32 && n_hi <= 32 ? 1 : 2      # up to 32 rows: mma.exact
param     HEIGHT 128 64
param     WIDTH 128 64 32
param     STAGES 4 3 5 2
param     SPLIT 1 2 4 8
param     GROUP 8 4
where     A_F16 && K % 64 == 0 && N % 16 == 0 && n_hi > 8
where     COMPUTE != 90 || N * n_hi <= 20000     # with wgmma others are faster: only what tells that it is right
where     WIDTH == 32 || n_hi > WIDTH / 2
where     SPLIT == 1 || n_hi <= 256 && K / 64 >= 4 * SPLIT
where     GROUP == 8 || n_hi > 4 * WIDTH
limit     max |ws| < 8192                # eight scales are a half
define    DOWN ceildiv(N, HEIGHT)
define    MOST_TILES DOWN * ceildiv(n_hi, WIDTH)
where     SPLIT == 1 || MOST_TILES * SPLIT <= 4 * SMS
define    SMEM STAGES * (WIDTH * 128 + HEIGHT * 36)
where     SMEM <= SHARED
define    AT_ONCE 2 * (SMEM + 1024) <= SM_SHARED ? 2 : 1
define    COUNTERS ceildiv(MOST_TILES, 64) * 256
workspace SPLIT > 1 ? COUNTERS + 4 * SPLIT * MOST_TILES * HEIGHT * WIDTH : 0
zeroed    SPLIT > 1 ? COUNTERS : 0
start     HEIGHT=128 WIDTH=128 STAGES=2 SPLIT=1 GROUP=8 if n_hi > 64 && SM_SHARED < 128000 && ceildiv(N, 128) * ceildiv(n_hi, 128) >= SMS
start     HEIGHT=128 WIDTH=128 STAGES=3 SPLIT=1 GROUP=8 if n_hi > 64 && ceildiv(N, 128) * ceildiv(n_hi, 128) >= SMS
start     HEIGHT=64 WIDTH=128 STAGES=3 SPLIT=1 GROUP=8 if n_hi > 64 && ceildiv(N, 64) * ceildiv(n_hi, 128) >= SMS
start     HEIGHT=64 WIDTH=64 STAGES=4 SPLIT=1 GROUP=8 if n_hi > 32 && ceildiv(N, 64) * ceildiv(n_hi, 64) >= SMS
start     HEIGHT=64 WIDTH=64 STAGES=4 SPLIT=2 GROUP=8 if n_hi > 32 && ceildiv(N, 64) * ceildiv(n_hi, 64) * 2 >= SMS
start     HEIGHT=64 WIDTH=64 STAGES=4 SPLIT=4 GROUP=8 if n_hi > 32
start     HEIGHT=64 WIDTH=32 STAGES=4 SPLIT=4 GROUP=8
start     HEIGHT=64 WIDTH=32 STAGES=4 SPLIT=1 GROUP=8
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
typedef tiles_shape<TS_N, TS_K, HEIGHT, WIDTH, STAGES, SPLIT, GROUP> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(256, AT_ONCE)
tiles_q4_entry(const u16 *x, const unsigned char *codes, const unsigned char *scales, output *y, unsigned char *work, const long long *dims) {
  tiles_q4<shape, END>(x, codes, scales, y, (u32 *)work, (float4 *)(work + COUNTERS), N_NOW);
}
