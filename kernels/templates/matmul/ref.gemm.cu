/* tunesmith
doc       any number of rows on f16 weights: wgmma, both operands by tensor copies, ragged tiles filled with zeros
requires  sm_90a
quant     q0f16
param     CREWS 2 1
param     WIDTH 256 128 64
param     STAGES 4 6 8 3 5
param     GROUP 8 16 4
param     SPLIT 1 2 4 8
where     A_F16 && K % 8 == 0 && N % 8 == 0
where     n_hi > 4
where     CREWS == 1 || n_hi > 64
where     CREWS == 2 || n_hi <= 256 && WIDTH < 256
where     ceildiv(K, 64) >= 2 * SPLIT || SPLIT == 1
where     WIDTH >= 16 * SPLIT
where     GROUP == 8 || n_hi > 512 * CREWS
define    TILES ceildiv(n_hi, 64 * CREWS) * ceildiv(N, WIDTH)
where     SPLIT == 1 || TILES * SPLIT <= 4 * SMS
where     STAGES < 8 || SPLIT < 4
define    BOX min(64 * CREWS, ceildiv(n_hi, 8) * 8)
define    RING STAGES * (BOX + WIDTH) * 128
define    SMEM RING + 16 * STAGES
where     SMEM <= SHARED && (SPLIT == 1 || WIDTH * CREWS * 256 <= RING)
define    PER_SM CREWS == 1 && 2 * (SMEM + 1024) <= SM_SHARED ? 2 : 1
start     CREWS=2 WIDTH=256 STAGES=4 GROUP=8 SPLIT=1 if n_hi > 512
start     CREWS=2 WIDTH=128 STAGES=4 GROUP=8 SPLIT=1 if n_hi > 256 && n_hi <= 512
start     CREWS=2 WIDTH=128 STAGES=6 GROUP=8 SPLIT=1 if n_hi > 64 && n_hi <= 256 && N * ceildiv(n_hi, 128) > 16384
start     CREWS=1 WIDTH=128 STAGES=6 GROUP=8 SPLIT=1 if n_hi > 64 && n_hi <= 256 && N * ceildiv(n_hi, 128) > 4096 && N * ceildiv(n_hi, 128) <= 16384
start     CREWS=2 WIDTH=64 STAGES=8 GROUP=8 SPLIT=1 if n_hi > 64 && n_hi <= 256 && N * ceildiv(n_hi, 128) <= 4096
start     CREWS=1 WIDTH=128 STAGES=8 GROUP=8 SPLIT=1 if n_hi <= 64 && N > 8192
start     CREWS=1 WIDTH=64 STAGES=8 GROUP=8 SPLIT=1 if n_hi <= 64 && N > 4096 && N <= 8192
start     CREWS=1 WIDTH=64 STAGES=8 GROUP=8 SPLIT=2 if n_hi <= 64 && N > 2048 && N <= 4096
start     CREWS=1 WIDTH=64 STAGES=6 GROUP=8 SPLIT=4 if n_hi <= 64 && N <= 2048
launch    gemm_f16_entry
grid      SPLIT == 1 ? min(ceildiv(n, 64 * CREWS) * ceildiv(N, WIDTH), SMS * PER_SM) : ceildiv(n, 64 * CREWS) * ceildiv(N, WIDTH) * SPLIT ; 1 ; 1
block     128 * CREWS + 128 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 2
args      t0 t1 b2 d
tmap      0 b0 f16 swizzle 128 dims K ; n strides K * 2 box 64 ; BOX
tmap      1 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; WIDTH
*/
#include "gemm_f16.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef gemm_f16_shape<TS_N, TS_K, CREWS, BOX, WIDTH, STAGES, GROUP, SPLIT> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(128 * CREWS + 128, 3 - CREWS)
gemm_f16_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w, output *y, const long long *dims) {
#ifdef TS_n
  const int rows = TS_n;
#else
  const int rows = (int)dims[TS_DIM_n];
#endif
  gemm_f16<shape, END>(&x, &w, y, rows);
}
