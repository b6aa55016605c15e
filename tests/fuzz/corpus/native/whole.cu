/* tunesmith
doc       every kind of line
requires  sm_90a
op        matmul matmul_add
quant     q4f16_1
param     ROWS 16 32 64
param     STAGES 2 3 4      # a remark
param     WARPS 4
start     ROWS=32 STAGES=3
start     ROWS=64 STAGES=2 if K >= 8192
where     ROWS * STAGES * 512 <= SHARED
where     N % ROWS == 0 && (n_hi <= 16 || COMPUTE >= 90)
define    TILE ROWS * 2
limit     max |ws| < 2
limit     max |ws| >= 1e-3
define    PARTS pow2ceil(min(ceildiv(K, 256), max(SMS / 4, 1)))
workspace 4 * n_hi * N
zeroed    64
launch    gemv
grid      ceildiv(N, ROWS) ; PARTS ; 1
block     32 * WARPS
shared    STAGES * TILE * 256
cluster   1 ; 1 ; 1
dependent 1
args      b0 b1 b2 w d t0
tmap      0 b0 f16 swizzle 128 dims K ; 1 strides K * 2 box 64 ; 1
launch    finish
grid      n * ROWS
block     A_F32 ? 128 : 64 ; 2 ; 1
args      b0 w
*/
#include "gemv.cuh"
extern "C" __global__ void gemv() {}
extern "C" __global__ void finish() {}
