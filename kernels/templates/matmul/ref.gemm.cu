/* tunesmith
doc       any number of rows on f16 weights: wgmma, both operands by tensor copies, tiles as wide as fills the GPU, ragged ones filled with zeros
requires  sm_90a
quant     q0f16
param     TURN 0 1                       # a tile is 64 rows of x for each crew by WIDE outputs, or turned: 64 outputs for each by WIDE rows
param     CREWS 2 1
param     WIDTH 1 2 3 4 256 128 64       # WIDE; below 16: as wide as so many rounds of all multiprocessors ask for
param     SPLIT 1 2 4 8                  # blocks that share K
param     STAGES 8 6 5 4 3               # at most; 8: as many as fit
param     GROUP 8 16 4
where     A_F16 && K % 8 == 0 && N % 8 == 0
where     n_hi > 4 && (n_lo == n_hi || !TURN && WIDTH >= 16)
define    TALL 64 * CREWS
define    STEP TURN ? 8 * SPLIT : 16 * SPLIT
define    ALONG TURN ? n_hi : N
define    ACROSS TURN ? ceildiv(N, TALL) : ceildiv(n_hi, TALL)
define    PLACES max(1, WIDTH * ((SPLIT < 4 ? SMS : SMS - 12) / SPLIT) / ACROSS)  # clusters of four and more leave multiprocessors over
define    WIDE max(16, ceildiv(ceildiv(ALONG, WIDTH < 16 ? PLACES : ceildiv(ALONG, WIDTH)), STEP) * STEP)
where     WIDE <= (CREWS == 1 ? 176 : 256) && WIDE % STEP == 0 && (TURN || n_hi > TALL - 64)
where     SPLIT == 1 || ceildiv(K, 64) >= 2 * SPLIT
where     GROUP == 8 || n_hi > 512 * CREWS
define    HIGH TURN ? WIDE : TALL        # rows of x
define    DOWN ceildiv(N, TURN ? TALL : WIDE)
where     SPLIT == 1 || ceildiv(n_hi, HIGH) * DOWN * SPLIT <= 2 * SMS
define    BOX TURN ? TALL : min(TALL, ceildiv(n_hi, 8) * 8)
define    MEET SPLIT > 1 ? CREWS * ((SPLIT - 1) * (WIDE / 8 / SPLIT) * 2048 + 8) : 0
define    DEEP min(STAGES, (SHARED - MEET) / ((BOX + WIDE) * 128 + 16))
where     DEEP >= 3 && BOX + DEEP * WIDE >= TALL && (STAGES == 8 || DEEP == STAGES)
define    SMEM DEEP * ((BOX + WIDE) * 128 + 16) + MEET
define    PER_SM CREWS == 1 && 2 * (SMEM + 1024) <= SM_SHARED ? 2 : 1
start     TURN=0 CREWS=2 WIDTH=256 SPLIT=1 STAGES=8 GROUP=8 if n_hi > 512
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 64 && N > 8192
start     TURN=0 CREWS=1 WIDTH=2 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 64 && N > 16384
start     TURN=0 CREWS=1 WIDTH=4 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 64 && N > 33792
start     TURN=1 CREWS=1 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 32 && N <= 4096 && N > 2048
start     TURN=1 CREWS=1 WIDTH=1 SPLIT=4 STAGES=8 GROUP=8 if n_hi <= 32 && N <= 2048 && K < 2048
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=8 STAGES=8 GROUP=8 if n_hi <= 64 && N <= 2048 && K >= 2048
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=4 STAGES=8 GROUP=8 if n_hi <= 64 && N <= 2048
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 64
start     TURN=0 CREWS=2 WIDTH=1 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 128 && N > 8192
start     TURN=0 CREWS=2 WIDTH=2 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 128 && N > 33792
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=4 STAGES=8 GROUP=8 if n_hi <= 128 && N <= 2048 && K >= 1024
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 256 && N <= 2048 && K < 1024
start     TURN=0 CREWS=2 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 128
start     TURN=0 CREWS=2 WIDTH=1 SPLIT=4 STAGES=8 GROUP=8 if n_hi <= 256 && N <= 2048
start     TURN=0 CREWS=2 WIDTH=2 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 256 && N > 16384
start     TURN=0 CREWS=2 WIDTH=4 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 256 && N > 33792
start     TURN=0 CREWS=2 WIDTH=3 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 384 && N > 16384
start     TURN=0 CREWS=2 WIDTH=4 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 512 && N > 16384
start     TURN=0 CREWS=2 WIDTH=2 SPLIT=1 STAGES=8 GROUP=8 if n_hi > 256 && n_hi <= 512 && N > 8192
start     TURN=1 CREWS=2 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 512 && N > 2048 && N <= 4096 && K >= 1024 && n_hi % 64 != 0
start     TURN=0 CREWS=2 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 256 && N <= 4096 && K >= 1024
start     TURN=0 CREWS=2 WIDTH=1 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 512 && N > 2048
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=2 STAGES=8 GROUP=8 if n_hi <= 512 && K >= 1024
start     TURN=0 CREWS=1 WIDTH=1 SPLIT=1 STAGES=8 GROUP=8 if n_hi <= 512
start     TURN=0 CREWS=2 WIDTH=128 SPLIT=1 STAGES=8 GROUP=8 if n_hi > 64
start     TURN=0 CREWS=1 WIDTH=64 SPLIT=1 STAGES=8 GROUP=8
launch    gemm_f16_entry
grid      SPLIT == 1 ? min(ceildiv(n, HIGH) * DOWN, SMS * PER_SM) : ceildiv(n, HIGH) * DOWN * SPLIT ; 1 ; 1
block     128 * CREWS + 128 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 2
args      t0 t1 b2 d
tmap      0 b0 f16 swizzle 128 dims K ; n strides K * 2 box 64 ; TURN ? WIDE : BOX
tmap      1 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; TURN ? TALL : WIDE
*/
#include "gemm_f16.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef gemm_f16_shape<TS_N, TS_K, CREWS, BOX, WIDE, DEEP, GROUP, SPLIT, TURN> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(128 * CREWS + 128, CREWS == 1 ? 2 : 1)
gemm_f16_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w, output *y, const long long *dims) {
#ifdef TS_n
  const int rows = TS_n;
#else
  const int rows = (int)dims[TS_DIM_n];
#endif
  gemm_f16<shape, END>(&x, &w, y, rows);
}
