/* tunesmith
doc       many rows of f16: wgmma with weights dequantized into its register operand, one producer warp, blocks that stay
requires  sm_90a
param     TALL 1 2
param     WIDTH 256 128 64
param     STAGES 4 5 6 3
param     GROUP 8 16 4
where     A_F16 && K % 64 == 0 && N % 16 == 0
where     TALL * WIDTH <= 256
where     n_hi > 32
limit     max |ws| < 8192                # eight scales are a half
define    HALF max(64, WIDTH / 2)          # rows of x of a copy, and of the tiles when those of WIDTH would be too few
define    SMEM STAGES * (WIDTH * 128 + TALL * 4608) + 16 * STAGES + 1024
where     SMEM <= SHARED
start     TALL=1 WIDTH=256 STAGES=4 GROUP=8 if n_hi > 128
start     TALL=2 WIDTH=128 STAGES=6 GROUP=8 if n_hi > 128
start     TALL=1 WIDTH=128 STAGES=6 GROUP=8 if n_hi > 64 && n_hi <= 128
start     TALL=2 WIDTH=64 STAGES=6 GROUP=8 if n_hi <= 64
launch    gemm_q4_entry
grid      min(ceildiv(n, HALF) * ceildiv(N, 128 * TALL), SMS) ; 1 ; 1
block     384 ; 1 ; 1
shared    SMEM
dependent 2
args      t0 t1 t2 b3 d
tmap      0 b0 f16 swizzle 128 dims K ; n strides K * 2 box 64 ; HALF
tmap      1 b1 i32 swizzle 0 dims K / 64 * 128 ; N / 16 strides K / 64 * 512 box 128 ; 8 * TALL
tmap      2 b2 f16 swizzle 0 dims K / 64 * 32 ; N / 16 strides K / 64 * 64 box 32 ; 8 * TALL
*/
#include "gemm_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef gemm_shape<TS_N, TS_K, TALL, WIDTH, HALF, STAGES, GROUP> shape;
static_assert(shape::bytes <= SMEM && shape::narrow::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(384, 1)
gemm_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales, output *y,
              const long long *dims) {
  dependents_may_start();
  wait_for_predecessors();
#ifdef TS_n
  const int rows = TS_n;
#else
  const int rows = (int)dims[TS_DIM_n];
#endif
  // Tiles of half the width keep more multiprocessors busy where there are few rows; a column of them takes 7/6 as long.
  if (WIDTH > HALF && shape::narrow::turns(rows, TS_SMS) * 7 < shape::turns(rows, TS_SMS) * 6) {
    gemm_q4<shape::narrow, END>(&x, &codes, &scales, y, rows);
  } else {
    gemm_q4<shape, END>(&x, &codes, &scales, y, rows);
  }
}
