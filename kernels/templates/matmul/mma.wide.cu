/* tunesmith
doc       9 to 128 rows of f16 in one tile: wgmma with weights dequantized into its register operand, K shared by the blocks of a cluster
requires  sm_90a
param     TALL 1 2
param     CREWS 2 4 3
param     STAGES 4 3 2 6
param     SPLIT 2 4 8
param     PAIR 1 2
param     ROOM 1 2                       # blocks that fit side by side, of this kernel or the next
param     PER_SM 1 2
where     A_F16 && K % 64 == 0 && N % 16 == 0
where     n > 8 && n <= 128
limit     max |ws| < 8192                # eight scales are a half
define    WIDTH n <= 16 ? 16 : n <= 32 ? 32 : n <= 64 ? 64 : 128
where     TALL * WIDTH <= 128 && TALL * CREWS <= 4
where     SPLIT <= K / 64 && SPLIT * PAIR <= 8
define    HEIGHT 64 * TALL * CREWS
where     HEIGHT / 16 * (WIDTH / 8) % SPLIT == 0
define    CLUSTERS min(ceildiv(ceildiv(N, HEIGHT), PAIR), max(1, (SPLIT * PAIR > 2 ? SMS - SMS / 11 : SMS) * PER_SM / (SPLIT * PAIR)))
define    SMEM STAGES * (WIDTH * 256 + HEIGHT * 72) + HEIGHT * WIDTH * 4 + 16 * (STAGES + 1)
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED && PER_SM <= ROOM && (ROOM == 1 || CREWS == 2 && TALL * WIDTH <= 64)
start     TALL=1 CREWS=3 STAGES=4 SPLIT=8 PAIR=1 ROOM=1 PER_SM=1 if K >= 8192
start     TALL=2 CREWS=2 STAGES=4 SPLIT=2 PAIR=1 ROOM=1 PER_SM=1 if K < 8192 && N >= 16384
start     TALL=1 CREWS=3 STAGES=4 SPLIT=2 PAIR=1 ROOM=1 PER_SM=1 if K < 8192 && N >= 8192
start     TALL=1 CREWS=2 STAGES=4 SPLIT=2 PAIR=2 ROOM=1 PER_SM=1 if K < 8192 && N >= 8192
start     TALL=1 CREWS=2 STAGES=3 SPLIT=8 PAIR=1 ROOM=2 PER_SM=2 if n <= 32
start     TALL=1 CREWS=2 STAGES=4 SPLIT=2 PAIR=1 ROOM=1 PER_SM=1
launch    wide_q4_entry
grid      CLUSTERS * SPLIT * PAIR ; 1 ; 1
block     CREWS * 128 + 128 ; 1 ; 1
shared    SMEM
cluster   SPLIT * PAIR ; 1 ; 1
dependent 2
args      t0 t1 t2 b3
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; WIDTH ; 2
tmap      1 b1 i32 swizzle 0 dims 128 ; K / 64 ; N / 16 strides 512 ; K / 64 * 512 box 128 ; 2 ; HEIGHT / 16
tmap      2 b2 f16 swizzle 0 dims 32 ; K / 64 ; N / 16 strides 64 ; K / 64 * 64 box 32 ; 2 ; HEIGHT / 16
*/
#include "wide_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef wide_shape<TS_N, TS_K, TS_n, WIDTH, TALL, CREWS, STAGES, SPLIT, PAIR, ROOM> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(CREWS * 128 + 128, ROOM)
wide_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales, output *y) {
  wide_q4<shape, END>(&x, &codes, &scales, y);
}
