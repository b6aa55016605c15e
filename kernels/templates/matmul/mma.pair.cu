/* tunesmith
doc       2 to 16 rows of f16: pairs of blocks have a group of tiles, every warp of them a part of K, and meet once, in the shared memory of the cluster
requires  sm_90a
guess     N < 2048 || N > 32 * SMS || K < 2048 ? 0 : 6    # up to four tiles a pair: the start lines
param     WARPS 8
param     TILES 4 2 3 6 8
param     STAGES 3 4 2 5 6
param     AHEAD 3 2 4
param     SUMS 0 1                        # 1: codes as they are, and sums of x; 0: codes made exact
param     LEFT 4 50 3 5 6 2 98 1 0        # units that a warp has still to take when the next kernel may start; 98: once x has come
param     ROOM 2 1                        # blocks that fit side by side, of this kernel or the next
where     A_F16 && n > 1 && n <= 16 && N % (16 * TILES) == 0 && K % 64 == 0 && K / 64 >= 2 * WARPS
define    COLUMNS (n + 7) / 8
define    GROUPS N / 16 / TILES
define    HALF (TILES + 1) / 2 * COLUMNS
where     GROUPS <= SMS / 2 && TILES * COLUMNS <= WARPS && WARPS * ROOM <= 16
define    OWN AHEAD * COLUMNS * 1024 + ceildiv(STAGES * TILES * 576, 1024) * 1024
define    USED WARPS * OWN + HALF * 512 + 16 + 8 * (WARPS * AHEAD + HALF)
define    SMEM max(USED, (SM_SHARED / (ROOM + 1) / 128 + 1) * 128)      # no more than that fit
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=0 LEFT=50 ROOM=1 if n > 8 && K <= 4096 && N > 3072      # ROOM=1: behind others' blocks none gets two of it
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=0 LEFT=5 ROOM=1 if n > 8 && K > 4096 && N > 3072
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=0 LEFT=4 ROOM=2 if n > 8 && K < 14336 && N > 3072
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=0 LEFT=5 ROOM=2 if n > 8 && K >= 11008 && N > 3072
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=1 LEFT=50 ROOM=2 if n <= 8 && K <= 4096 && N > 3072
start     WARPS=8 TILES=4 STAGES=4 AHEAD=4 SUMS=1 LEFT=6 ROOM=2 if n <= 8 && K > 4096 && N > 3072
start     WARPS=8 TILES=4 STAGES=3 AHEAD=3 SUMS=1 LEFT=4 ROOM=2 if n <= 8 && K > 4096 && N > 3072
start     WARPS=8 TILES=3 STAGES=3 AHEAD=3 SUMS=0 LEFT=5 ROOM=2 if N > 2048 && N <= 3072
start     WARPS=8 TILES=2 STAGES=4 AHEAD=3 SUMS=0 LEFT=5 ROOM=2 if N <= 2048
launch    pair_q4_entry
grid      GROUPS * 2 ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
cluster   2 ; 1 ; 1
dependent 2
args      t0 b1 b2 b3
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; 8 * COLUMNS ; 1
*/
#include "pair_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef pair_shape<TS_N, TS_K, TS_n, WARPS, TILES, STAGES, AHEAD, SUMS> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
pair_q4_entry(const __grid_constant__ tensor_map x, const unsigned char *codes, const unsigned char *scales, output *y) {
  pair_q4<shape, END, LEFT>(&x, codes, scales, y);
}
