/* tunesmith
doc       f16 weights and rows of which the launch knows how many: tiles of 128 rows by 64 to 256 outputs, K whole or in halves, whichever takes the least time
requires  sm_90a
quant     q0f16
guess     2
param     GROUP 8 16 4
where     A_F16 && K % 8 == 0 && N % 8 == 0
where     n_lo < n_hi && n_hi > 64 && ceildiv(K, 64) >= 4
define    SMEM 220000
where     SMEM <= SHARED
start     GROUP=8
launch    gemm_f16_entry
grid      SMS / 2 * 2 ; 1 ; 1
block     384 ; 1 ; 1
shared    SMEM
cluster   2 ; 1 ; 1
dependent 2
args      t0 t1 t2 t3 t4 t5 b2 d
tmap      0 b0 f16 swizzle 128 dims K ; n strides K * 2 box 64 ; 128
tmap      1 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; 256
tmap      2 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; 192
tmap      3 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; 160
tmap      4 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; 128
tmap      5 b1 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; 64
*/
#include "gemm_f16.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
// Clusters of two: with one half of K each, or with nothing to do with each other.
template <int width, int stages, int split> using shape = gemm_f16_shape<TS_N, TS_K, 2, 128, width, stages, GROUP, split>;
typedef gemm_f16_shapes<shape<256, 4, 1>, shape<256, 3, 2>, shape<192, 5, 1>, shape<192, 4, 2>, shape<160, 5, 1>, shape<128, 6, 1>, shape<128, 5, 2>, shape<64, 8, 2>> shapes;
static_assert(shapes::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(384, 1)
gemm_f16_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map w256, const __grid_constant__ tensor_map w192,
               const __grid_constant__ tensor_map w160, const __grid_constant__ tensor_map w128, const __grid_constant__ tensor_map w64, output *y,
               const long long *dims) {
  const int rows = (int)dims[TS_DIM_n];
  const tensor_map *const w[] = {&w256, &w256, &w192, &w192, &w160, &w128, &w128, &w64};
  constexpr int blocks = TS_SMS / 2 * 2;  // ORDER: the grid
  shapes::run<END>(&x, w, y, rows, blocks, shapes::least(rows, blocks));
}
