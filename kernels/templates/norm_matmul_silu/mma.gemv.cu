/* tunesmith
doc       few rows with the norm before and silu(gate) * up behind: a tile of gate and its tile of up side by side
requires  sm_90a
param     WARPS 8 12 15 4
param     STAGES 5 4 3 2 6 8 10
param     EACH 2 4 1 8
param     TILES 2 4
param     SPLIT 1 2 4 8
param     PARTS 3 2
param     HINT 1 0
param     LEFT 8 2 99
param     FILL 0 2 1
param     FLIGHT 0 2 3
param     PER_SM 1 2
where     n <= 16 && n * PARTS <= 32 && (PARTS == 3 || n > 2 || LEFT == 99)  # two rows of three bytes are one tile of columns
where     I % (8 * TILES) == 0 && K % 64 == 0
where     WARPS * SPLIT <= K / 64
define    MOST ceildiv(ceildiv(K / 64, SPLIT), WARPS)
where     EACH <= MOST && MOST <= 32
define    GROUPS 2 * I / 16 / TILES
define    BLOCKS min(GROUPS, max(1, SMS * PER_SM / SPLIT))
define    PASSES ceildiv(GROUPS, BLOCKS)
define    BATCH SPLIT > 1 ? PASSES : min(PASSES, max(1, min(16, 4096 / (WARPS * TILES * 16 * n))))
define    RING STAGES * TILES * WARPS * EACH * 576
define    STAGED WARPS * MOST * n * PARTS * 64
define    SUMS 64 * BATCH * TILES * n * (WARPS + (SPLIT > 1 ? SPLIT : 0))
define    SMEM RING + STAGED + SUMS + (4 * n * (WARPS + SPLIT) + 7) / 8 * 8 + 16 * STAGES + (SPLIT > 1 ? 16 : 0)
where     RING <= 114688 && SMEM * PER_SM <= SHARED
where     2 * (SMEM + 1024) <= SM_SHARED || RING > 98304  # room beside it for the next kernel's ring, or much in flight
where     FILL < STAGES && FLIGHT < STAGES
where     LEFT < 99 || I * K / 8 * 9 <= SMS * 65536 || 2 * (SMEM + 1024) > SM_SHARED  # room enough, or one block a multiprocessor anyway
start     WARPS=8 STAGES=3 EACH=2 TILES=4 SPLIT=1 PARTS=2 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1 if n == 1 && K < 2048 && I >= 16 * SMS
start     WARPS=8 STAGES=2 EACH=2 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1
start     WARPS=8 STAGES=5 EACH=2 TILES=2 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=2 PER_SM=2 if n == 1 && K < 8192 && I < 12288
start     WARPS=8 STAGES=5 EACH=2 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=2 PER_SM=2 if n == 1 && K < 8192
start     WARPS=8 STAGES=6 EACH=2 TILES=2 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=0 PER_SM=1 if n == 1
start     WARPS=8 STAGES=5 EACH=2 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=0 FLIGHT=0 PER_SM=2
launch    gemv_q4_entry
grid      BLOCKS * SPLIT ; 1 ; 1
block     WARPS * 32 + 32 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 2
args      b0 b1 b2 b3 b4
*/
#include "gemv_q4.cuh"

#if TS_R_F32
typedef float input;
#else
typedef u16 input;
#endif
#if TS_A_F32
typedef float output;
#else
typedef u16 output;
#endif

typedef gemv_shape<2 * TS_I, TS_K, TS_n, PARTS, WARPS, STAGES, EACH, TILES, SPLIT, BATCH> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32 + 32, 2)
gemv_q4_entry(const input *x, const float *g, const void *codes, const void *scales, output *y) {
  gemv_q4<shape, GEMV_SILU, true, HINT>(x, g, codes, scales, y, TS_eps, {LEFT, FILL, FLIGHT});
}
