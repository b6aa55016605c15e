/* tunesmith
doc       every kind of line
requires  sm_80
op        silu_mul matmul
param     ROWS 16 32 64       # comment
param     STAGES 2 3
start     ROWS=64 STAGES=2 if I >= 2048
start     ROWS=16 STAGES=3 if n == 1
start     ROWS=16 STAGES=2 if I == 1024 && SMS > 100
start     STAGES=3 ROWS=32
start     ROWS=64 STAGES=3
where     ROWS * STAGES < 192
where     I % ROWS == 0 && A_F32
define    TILE ROWS * STAGES
workspace 64 + 4 * n_hi * TILE
zeroed    64

launch    first
grid      ceildiv(I, ROWS) ; n ; SMS
block     32 ; STAGES
shared    TILE * 128
cluster   1 ; 2 ; 1
dependent 1
args      b0 w d
launch    second
grid      min(n, 4) ; 1 ; 1
block     128 ; 1 ; 1
args      b1 t0 w
tmap      0 b0 f32 swizzle 128 dims 2 * I ; n strides I * 8 box ROWS ; 1
*/
// workload: silu_mul A=f32 I=1024 n=8..64%8
extern "C" __global__ void first() {}
