/* tunesmith
doc       2 to 32 rows of f16, few weights: as mma.exact, but slices of K meet in the shared memory of a cluster
requires  sm_90
guess     K <= 4096 || N < 4096 || N > 16384 ? 4 : 2
param     WARPS 8 12 16 7 6 10 4
param     TILES 2 1
param     EACH 2 4 1
param     STAGES 3 4 2 6 8
param     SPLIT 2 4 8
define    NEAR 1
include   exact_q4.params
start     WARPS=16 TILES=1 EACH=2 STAGES=2 SPLIT=2 LEFT=2 ROOM=1 if K <= 4096 && N > 4096 && N <= 6144 && n <= 16      # ROOM=1: behind others' blocks none gets two of it
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=2 LEFT=2 ROOM=1 if K <= 4096 && N > 6144 && N <= 16384 && n <= 16
start     WARPS=8 TILES=2 EACH=2 STAGES=4 SPLIT=8 LEFT=4 ROOM=2 if K <= 4096 && N <= 6144
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=2 LEFT=2 ROOM=1 if K <= 4096 && N > 16384
start     WARPS=16 TILES=2 EACH=2 STAGES=2 SPLIT=2 LEFT=4 ROOM=1 if K <= 4096 && N > 16384
start     WARPS=8 TILES=1 EACH=4 STAGES=2 SPLIT=2 LEFT=2 ROOM=2 if K <= 4096 && N > 6144
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=2 LEFT=3 ROOM=1 if K <= 4096 && N > 6144
start     WARPS=8 TILES=1 EACH=2 STAGES=4 SPLIT=2 LEFT=6 ROOM=2 if K <= 4096
start     WARPS=8 TILES=2 EACH=2 STAGES=2 SPLIT=8 LEFT=2 ROOM=2 if K > 4096
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=1 if K > 4096
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=8 LEFT=2 ROOM=1 if K > 4096
start     WARPS=8 TILES=1 EACH=1 STAGES=4 SPLIT=2 LEFT=0 ROOM=2
launch    near_q4_entry
grid      RANGES * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 2
args      b0 b1 b2 b3
*/
#include "exact_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef exact_shape<TS_N, TS_K, TS_n, WARPS, TILES, EACH, STAGES, SPLIT, RANGES, NEAR> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
near_q4_entry(const u16 *x, const unsigned char *codes, const unsigned char *scales, output *y) {
  exact_q4<shape, END, LEFT>(x, codes, scales, y, (uint4 *)0);
}
