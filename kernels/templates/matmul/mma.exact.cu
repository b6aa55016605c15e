/* tunesmith
doc       2 to 32 rows of f16, few weights: exact codes need no sums of x; every warp has a ring of its own, slices of K meet in the workspace
requires  sm_80
guess     3
param     WARPS 8 12 16 7 6 10 4
param     TILES 2 1
param     EACH 2 4 1
param     STAGES 3 4 2 6 8
param     SPLIT 4 11 12 6 3 8 2 1
define    NEAR 0
include   exact_q4.params
workspace GROUPS * TILES * COLUMNS * SPLIT * 512
zeroed    GROUPS * TILES * COLUMNS * SPLIT * 512
start     WARPS=8 TILES=2 EACH=2 STAGES=3 SPLIT=4 LEFT=4 ROOM=2 if K <= 4096 && n <= 16
start     WARPS=8 TILES=2 EACH=2 STAGES=4 SPLIT=4 LEFT=5 ROOM=2 if K <= 4096 && n <= 16
start     WARPS=8 TILES=1 EACH=4 STAGES=4 SPLIT=4 LEFT=4 ROOM=2 if K <= 4096 && n <= 16
start     WARPS=8 TILES=1 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=2 if K <= 4096 && n > 16
start     WARPS=8 TILES=1 EACH=2 STAGES=4 SPLIT=4 LEFT=4 ROOM=2 if K <= 4096 && n > 16
start     WARPS=8 TILES=2 EACH=2 STAGES=3 SPLIT=8 LEFT=5 ROOM=2 if K > 4096
start     WARPS=8 TILES=2 EACH=2 STAGES=4 SPLIT=11 LEFT=4 ROOM=2 if K > 4096
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=1 if K > 4096
start     WARPS=8 TILES=2 EACH=2 STAGES=4 SPLIT=12 LEFT=5 ROOM=2 if K > 4096
start     WARPS=16 TILES=1 EACH=2 STAGES=4 SPLIT=4 LEFT=0 ROOM=1 if COMPUTE < 90 && K <= 4096
start     WARPS=16 TILES=1 EACH=2 STAGES=3 SPLIT=4 LEFT=0 ROOM=1 if COMPUTE < 90 && K <= 4096
start     WARPS=16 TILES=1 EACH=2 STAGES=4 SPLIT=8 LEFT=0 ROOM=1 if COMPUTE < 90
start     WARPS=16 TILES=1 EACH=2 STAGES=2 SPLIT=8 LEFT=0 ROOM=1 if COMPUTE < 90
start     WARPS=8 TILES=1 EACH=2 STAGES=4 SPLIT=12 LEFT=0 ROOM=1 if COMPUTE < 90
start     WARPS=8 TILES=1 EACH=1 STAGES=4 SPLIT=1 LEFT=0 ROOM=2
launch    exact_q4_entry
grid      RANGES * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 b3 w
*/
#include "exact_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef exact_shape<TS_N, TS_K, TS_n, WARPS, TILES, EACH, STAGES, SPLIT, RANGES, NEAR> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
exact_q4_entry(const u16 *x, const unsigned char *codes, const unsigned char *scales, output *y, uint4 *work) {
  exact_q4<shape, END, LEFT>(x, codes, scales, y, work);
}
