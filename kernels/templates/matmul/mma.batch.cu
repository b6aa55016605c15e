/* tunesmith
doc       2 to 32 rows of f16: codes as halves in tensor cores, x stays in shared memory, K shared by warps and by the blocks of a cluster
requires  sm_90
param     WARPS 8 4 16
param     ACROSS 1 2 4
param     TILES 2 4 1
param     EACH 1 2 4
param     STAGES 3 4 2 6 8
param     SPLIT 2 4 8
param     PER_SM 1 2
param     ROOM 1 2                       # blocks that fit side by side, of this kernel or the next
where     A_F16 && n > 1 && n <= 32 && N % 16 == 0 && K % 64 == 0
where     ACROSS <= WARPS / 2 && TILES * ACROSS <= 16
define    COLUMNS (n + 7) / 8
define    TALL TILES * ACROSS
define    CHUNK WARPS / ACROSS * EACH
define    SLICE ceildiv(K / 64, SPLIT)
where     TALL * COLUMNS % SPLIT == 0 && SPLIT <= K / 64
where     CHUNK < SLICE + WARPS / ACROSS
where     TILES * COLUMNS <= 16 && TALL * CHUNK % 2 == 0
define    GROUPS ceildiv(N / 16, TALL)
define    BLOCKS min(GROUPS, max(1, (SPLIT > 2 ? SMS - SMS / 11 : SMS) * PER_SM / SPLIT))
define    RING STAGES * TALL * CHUNK * 576
define    PIECES ceildiv(SLICE, CHUNK)
define    SMEM RING + PIECES * CHUNK * COLUMNS * 1024 + WARPS * TILES * COLUMNS * 512 + 2 * TALL * COLUMNS * 512 + 16 * STAGES + 8 * PIECES + 32
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED && RING * PER_SM >= 32768 && PER_SM <= ROOM && WARPS * ROOM <= 16
start     WARPS=8 ACROSS=2 TILES=2 EACH=4 STAGES=3 SPLIT=8 PER_SM=1 ROOM=1 if K >= 8192
start     WARPS=16 ACROSS=2 TILES=2 EACH=2 STAGES=2 SPLIT=8 PER_SM=1 ROOM=1 if K >= 8192
start     WARPS=8 ACROSS=1 TILES=4 EACH=2 STAGES=2 SPLIT=2 PER_SM=1 ROOM=1 if K < 8192 && N >= 8192
start     WARPS=16 ACROSS=1 TILES=4 EACH=1 STAGES=2 SPLIT=2 PER_SM=1 ROOM=1 if K < 8192 && N >= 8192
start     WARPS=8 ACROSS=1 TILES=1 EACH=2 STAGES=2 SPLIT=2 PER_SM=2 ROOM=2 if K < 8192 && N < 5120
start     WARPS=8 ACROSS=1 TILES=2 EACH=1 STAGES=3 SPLIT=2 PER_SM=2 ROOM=2 if K < 8192 && N < 8192
start     WARPS=8 ACROSS=1 TILES=2 EACH=1 STAGES=4 SPLIT=2 PER_SM=1 ROOM=1
launch    batch_q4_entry
grid      BLOCKS * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 2
args      t0 t1 t2 b3
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; 8 * COLUMNS ; CHUNK
tmap      1 b1 i32 swizzle 0 dims 128 ; K / 64 ; N / 16 strides 512 ; K / 64 * 512 box 128 ; CHUNK ; TALL
tmap      2 b2 f16 swizzle 0 dims 32 ; K / 64 ; N / 16 strides 64 ; K / 64 * 64 box 32 ; CHUNK ; TALL
*/
#include "batch_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef batch_shape<TS_N, TS_K, TS_n, WARPS, ACROSS, TILES, EACH, STAGES, SPLIT> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, ROOM)
batch_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales,
               output *y) {
  batch_q4<shape, END>(&x, &codes, &scales, y);
}
