/* tunesmith
doc       2 to 32 rows of f16: every warp streams weights through a ring of its own; slices of K meet in the workspace
requires  sm_90a
param     WARPS 8 7 6 4 5 10 11 12 14 16
param     TILES 2 1 4
param     EACH 4 2 8
param     STAGES 2 3 4 6
param     SPLIT 4 6 3 2 8 11 12 1
param     LEFT 1 0 2 4 99                 # pieces that warp 0 has still to ask for when the next kernel may start
param     ROOM 2 1                        # blocks that fit side by side, of this kernel or the next
where     A_F16 && n > 1 && n <= 32 && N % 16 == 0 && K % 64 == 0
define    COLUMNS (n + 7) / 8
define    GROUPS ceildiv(N / 16, TILES)
define    PIECES ceildiv(K / 64, EACH)
define    SLICE ceildiv(PIECES, SPLIT)
define    RANGES min(GROUPS, SMS / SPLIT)
where     SPLIT <= PIECES && RANGES > 0
where     TILES * COLUMNS <= 8 && TILES * EACH % 2 == 0 && WARPS * ROOM <= 16 && COLUMNS <= STAGES * EACH
define    RING WARPS * STAGES * TILES * EACH * 576
define    USED SLICE * EACH * COLUMNS * 1024 + RING + SLICE * ((EACH + 3) / 4) * COLUMNS * 512 + 8 * (WARPS * (STAGES + 1) + 2 * SLICE)
define    SMEM max(USED, (SM_SHARED / (ROOM + 1) / 128 + 1) * 128)      # no more than that fit
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED && RING * ROOM >= 65536
workspace GROUPS * TILES * COLUMNS * SPLIT * 512
zeroed    GROUPS * TILES * COLUMNS * SPLIT * 512
start     WARPS=8 TILES=2 EACH=4 STAGES=2 SPLIT=4 LEFT=1 ROOM=2 if K <= 4096
start     WARPS=7 TILES=2 EACH=4 STAGES=2 SPLIT=4 LEFT=1 ROOM=2 if K <= 4096
start     WARPS=8 TILES=2 EACH=4 STAGES=2 SPLIT=11 LEFT=1 ROOM=2 if K > 4096
start     WARPS=6 TILES=2 EACH=4 STAGES=2 SPLIT=12 LEFT=1 ROOM=2 if K > 4096
start     WARPS=8 TILES=2 EACH=4 STAGES=2 SPLIT=1 LEFT=1 ROOM=1
launch    stream_q4_entry
grid      RANGES * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
dependent 1
args      t0 t1 t2 b3 w
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; 8 * COLUMNS ; EACH
tmap      1 b1 i32 swizzle 0 dims 128 ; K / 64 ; N / 16 strides 512 ; K / 64 * 512 box 128 ; EACH ; TILES
tmap      2 b2 f16 swizzle 0 dims K / 64 * 32 ; N / 16 strides K / 64 * 64 box EACH * 32 ; TILES
*/
#include "stream_q4.cuh"

#if TS_OP_matmul_add
enum { END = STREAM_ADD };
#if TS_R_F16
typedef u16 output;
#else
typedef float output;
#endif
#else
enum { END = STREAM_STORE };
typedef u16 output;
#endif

typedef stream_shape<TS_N, TS_K, TS_n, WARPS, TILES, EACH, STAGES, SPLIT> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
stream_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales, output *y,
                uint4 *work) {
  stream_q4<shape, END, LEFT>(&x, &codes, &scales, y, work);
}
