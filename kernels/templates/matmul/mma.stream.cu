/* tunesmith
doc       2 to 32 rows of f16: every warp streams weights through a ring of its own; slices of K meet in the workspace
requires  sm_80
param     WARPS 8 12 16 7 6 10 4
param     TILES 2 1
param     EACH 4 2 1
param     STAGES 2 4 3
param     SPLIT 4 11 12 6 3 8 2 1
param     LEFT 2 0 1 3                    # pieces that a warp has still to take when the next kernel may start
param     ROOM 2 1                        # blocks that fit side by side, of this kernel or the next
where     COMPUTE >= 90 || LEFT == 0     # nothing starts early before
where     A_F16 && n > 1 && n <= 32 && N % (16 * TILES) == 0 && K % (64 * EACH) == 0
define    COLUMNS (n + 7) / 8
define    GROUPS N / 16 / TILES
define    PIECES K / 64 / EACH
define    SLICE ceildiv(PIECES, SPLIT)
define    RANGES min(GROUPS, SMS / SPLIT)
where     SPLIT <= PIECES && RANGES > 0
where     COLUMNS <= STAGES * EACH && WARPS * ROOM <= 32 && TILES * COLUMNS <= (WARPS * ROOM > 24 ? 2 : WARPS * ROOM > 8 ? 4 : 8)
define    UNROLL WARPS * ROOM <= 16 ? EACH : WARPS * ROOM <= 24 && TILES * COLUMNS <= 2 ? min(EACH, 2) : 1
define    RING WARPS * STAGES * TILES * EACH * 576
define    USED SLICE * EACH * COLUMNS * 1024 + RING + SLICE * COLUMNS * 512 + 8 * WARPS
define    SMEM max(USED, (SM_SHARED / (ROOM + 1) / 128 + 1) * 128)      # no more than that fit
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED && RING * ROOM >= 32768
workspace GROUPS * TILES * COLUMNS * SPLIT * 512
zeroed    GROUPS * TILES * COLUMNS * SPLIT * 512
start     WARPS=8 TILES=2 EACH=4 STAGES=2 SPLIT=4 LEFT=3 ROOM=2 if K <= 4096 && N <= 4096
start     WARPS=16 TILES=1 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=2 if K <= 4096
start     WARPS=12 TILES=1 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=2 if K <= 4096
start     WARPS=8 TILES=1 EACH=4 STAGES=4 SPLIT=4 LEFT=3 ROOM=2 if K <= 4096
start     WARPS=8 TILES=2 EACH=4 STAGES=2 SPLIT=4 LEFT=2 ROOM=2 if K <= 4096
start     WARPS=8 TILES=1 EACH=4 STAGES=4 SPLIT=11 LEFT=1 ROOM=2 if K > 4096
start     WARPS=8 TILES=1 EACH=4 STAGES=3 SPLIT=12 LEFT=3 ROOM=2 if K > 4096
start     WARPS=12 TILES=2 EACH=2 STAGES=2 SPLIT=12 LEFT=2 ROOM=2 if K > 4096
start     WARPS=16 TILES=1 EACH=2 STAGES=4 SPLIT=4 LEFT=0 ROOM=1 if COMPUTE < 90 && K <= 4096
start     WARPS=16 TILES=1 EACH=2 STAGES=2 SPLIT=8 LEFT=0 ROOM=1 if COMPUTE < 90
start     WARPS=8 TILES=1 EACH=1 STAGES=4 SPLIT=1 LEFT=0 ROOM=2
launch    stream_q4_entry
grid      RANGES * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 b3 w
*/
#include "stream_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef stream_shape<TS_N, TS_K, TS_n, WARPS, TILES, EACH, STAGES, SPLIT, RANGES, UNROLL> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
stream_q4_entry(const u16 *x, const unsigned char *codes, const unsigned char *scales, output *y, uint4 *work) {
  stream_q4<shape, END, LEFT>(x, codes, scales, y, work);
}
