/* tunesmith
doc       17 to 1024 rows of f16 in tiles of up to 128: wgmma with weights dequantized into its register operand, equal shares of rows and of K
requires  sm_90a
guess     n <= 512 ? 5 : 0
param     TALL 1 2                       # tiles of 64 rows of weights of a crew
param     CREWS 4 3 2 1                  # at once
param     SPLIT 1 2 4 6 3 8              # of K
param     STAGES 6 4 5 3 8
param     PAIR 1 2                       # blocks that fetch x for each other
param     ALONG 1 2                      # crews share a tile along K
param     NEAR 0 1                       # two parts of K meet in a cluster, not in the workspace
param     ROOM 1 2                       # blocks that fit side by side, of this kernel or the next
param     PER_SM 1 2
param     PACE 16 14 12 8 32             # bytes of weights a cycle until the ring is full
param     HELD 0 3 1 5                   # stages whose weights a crew asks for itself, before anything else
where     A_F16 && K % 64 == 0 && N % 16 == 0
where     n > 16 && n <= 1024
limit     max |ws| < 2                   # a scale times 2^15 is a half
limit     max |ws| >= 0.00025            # weights are rounded to steps of 2^-18
define    WIDTH n <= 32 ? 32 : n <= 64 ? 64 : 128
define    DOWN ceildiv(n, WIDTH)         # tiles of rows of x
define    HIGH TALL == 1 && n < WIDTH ? ceildiv(n, 8) * 8 : WIDTH  # rows of a copy: zeros for rows that are not there cost more than rows
where     (ALONG == 1 || NEAR) && SPLIT * ALONG <= max(1, K / 128) && CREWS % ALONG == 0 && STAGES % ALONG == 0 && STAGES >= 2 * ALONG && SPLIT * ALONG <= WIDTH / 8 / (NEAR + 1)
where     SPLIT == 1 || NEAR || SPLIT * DOWN <= 8
define    MOST SMS * PER_SM / (SPLIT * PAIR * DOWN) * PAIR
define    TILES ceildiv(ceildiv(N, 64), max(MOST, 1))
define    WIDE CREWS / ALONG * TALL
define    TOGETHER WIDE >= TILES ? TILES : TILES % WIDE == 0 ? WIDE : 1
define    GROUPS ceildiv(ceildiv(ceildiv(N, 64), TILES), PAIR) * PAIR
where     !NEAR || SPLIT == 2 && PAIR == 1
define    SMEM STAGES * (HIGH * 256 + WIDE * 4608) + 16 * STAGES + 8 * ALONG + (ALONG * (NEAR + 1) > 1 ? TILES * ((ALONG * (NEAR + 1) - 1) * WIDTH * 256 / (NEAR + 1) + 8 * ALONG) : 0)
where     SMEM <= SHARED && SMEM * ROOM <= SM_SHARED - 1024 * ROOM && MOST > 0 && PER_SM <= ROOM && (ROOM == 1 || CREWS <= 2 && TALL * WIDTH <= 64)
where     CREWS * TALL <= max(2, TILES) * ALONG && (TALL == 1 || CREWS <= 3 && WIDTH <= 64 && (NEAR || SPLIT == 1))
where     HELD == 0 || TALL == 1 && TILES * ALONG <= CREWS && K >= 128 * SPLIT * ALONG * (HELD + 1)
start     TALL=1 CREWS=1 SPLIT=2 STAGES=5 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=3 if n > 64 && 2 * ceildiv(N, 64) * ceildiv(n, 128) <= SMS && K >= 1024 && K < 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=5 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && 2 * ceildiv(N, 64) * ceildiv(n, 128) <= SMS && K < 12288
start     TALL=1 CREWS=2 SPLIT=4 STAGES=5 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && 2 * ceildiv(N, 64) * ceildiv(n, 128) <= SMS
start     TALL=1 CREWS=2 SPLIT=3 STAGES=5 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && 3 * ceildiv(N, 64) * ceildiv(n, 128) <= 2 * SMS
start     TALL=1 CREWS=2 SPLIT=2 STAGES=5 PAIR=2 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && ceildiv(N, 64) * ceildiv(n, 128) <= SMS && K >= 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=4 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && ceildiv(N, 64) * ceildiv(n, 128) <= SMS
start     TALL=1 CREWS=3 SPLIT=2 STAGES=3 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && 2 * ceildiv(N, 64) * ceildiv(n, 128) <= 3 * SMS
start     TALL=1 CREWS=2 SPLIT=1 STAGES=5 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && ceildiv(N, 64) * ceildiv(n, 128) <= 2 * SMS
start     TALL=1 CREWS=3 SPLIT=1 STAGES=4 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && ceildiv(N, 64) * ceildiv(n, 128) <= 3 * SMS
start     TALL=1 CREWS=4 SPLIT=1 STAGES=4 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64 && ceildiv(N, 64) * ceildiv(n, 128) <= 8 * SMS
start     TALL=1 CREWS=3 SPLIT=1 STAGES=4 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 64
start     TALL=1 CREWS=2 SPLIT=3 STAGES=8 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 32 && 2 * ceildiv(N, 64) > SMS && 3 * ceildiv(N, 64) <= 2 * SMS
start     TALL=1 CREWS=2 SPLIT=2 STAGES=8 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 32 && 3 * ceildiv(N, 64) > 2 * SMS && ceildiv(N, 64) <= SMS && K >= 8192
start     TALL=1 CREWS=2 SPLIT=1 STAGES=8 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if n > 32 && 2 * ceildiv(N, 64) > 3 * SMS && ceildiv(N, 64) <= 2 * SMS
start     TALL=2 CREWS=3 SPLIT=2 STAGES=4 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N > 16384 && N <= 25344
start     TALL=2 CREWS=2 SPLIT=1 STAGES=5 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N > 25344
start     TALL=1 CREWS=3 SPLIT=2 STAGES=6 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=14 HELD=0 if N > 8192
start     TALL=1 CREWS=3 SPLIT=1 STAGES=6 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N > 16384
start     TALL=1 CREWS=4 SPLIT=2 STAGES=4 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N > 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=8 PAIR=1 ALONG=2 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if 2 * ceildiv(N, 64) <= SMS && K <= 2048 && n > 32
start     TALL=1 CREWS=1 SPLIT=2 STAGES=8 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=3 if 2 * ceildiv(N, 64) <= SMS && K >= 1024 && K < 8192
start     TALL=1 CREWS=1 SPLIT=2 STAGES=8 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if 2 * ceildiv(N, 64) <= SMS && K < 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=6 PAIR=1 ALONG=1 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N <= 8192 && K < 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=8 PAIR=1 ALONG=2 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N <= 5120 && K < 8192
start     TALL=1 CREWS=2 SPLIT=4 STAGES=6 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=12 HELD=0 if N <= 5120
start     TALL=1 CREWS=2 SPLIT=4 STAGES=8 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=12 HELD=0 if N <= 5120
start     TALL=1 CREWS=3 SPLIT=4 STAGES=6 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=12 HELD=0 if N <= 8192
start     TALL=1 CREWS=2 SPLIT=2 STAGES=8 PAIR=1 ALONG=2 NEAR=1 ROOM=1 PER_SM=1 PACE=16 HELD=0 if N <= 5120 && K >= 8192
start     TALL=1 CREWS=2 SPLIT=4 STAGES=8 PAIR=2 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=12 HELD=0 if N <= 5120
start     TALL=1 CREWS=2 SPLIT=1 STAGES=3 PAIR=1 ALONG=1 NEAR=0 ROOM=1 PER_SM=1 PACE=16 HELD=0
launch    share64_q4_entry
grid      GROUPS * SPLIT * DOWN ; 1 ; 1
block     CREWS * 128 + 128 ; 1 ; 1
shared    SMEM
cluster   PAIR * (NEAR + 1) ; 1 ; 1
dependent 2
args      t0 t1 t2 b3 w b1 b2
zeroed    SPLIT > 1 && !NEAR ? ceildiv(N, 64) * DOWN * SPLIT * WIDTH * 256 : 0
workspace SPLIT > 1 && !NEAR ? ceildiv(N, 64) * DOWN * SPLIT * WIDTH * 256 : 0
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; HIGH ; 2
tmap      1 b1 i32 swizzle 0 dims 128 ; K / 64 ; N / 16 strides 512 ; K / 64 * 512 box 128 ; 2 ; 4 * TOGETHER
tmap      2 b2 f16 swizzle 0 dims 32 ; K / 64 ; N / 16 strides 64 ; K / 64 * 64 box 32 ; 2 ; 4 * TOGETHER
*/
#include "share64_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };
typedef share_shape<TS_N, TS_K, TS_n, WIDTH, CREWS, TILES, STAGES, SPLIT, PAIR, NEAR, ROOM, TALL, ALONG, PACE, HELD> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(CREWS * 128 + 128, ROOM)
share64_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales, output *y,
                 void *workspace, const unsigned char *codes_far, const unsigned char *scales_far) {
  share64_q4<shape, END>(&x, &codes, &scales, y, workspace, codes_far, scales_far);
}
