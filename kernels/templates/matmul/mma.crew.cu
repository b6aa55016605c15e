/* tunesmith
doc       9 to 16 rows of f16, K up to 4096: pairs of blocks have 64 rows of weights, crews parts of K; wgmma, weights dequantized into its register operand
requires  sm_90a
guess     0
param     EACH 2 1 4                      # units of a stage of weights
param     STAGES 4 3 2 8 6
param     SLOTS 4 3                       # units of x of a crew
param     REST 900 800 1000 1200 700 500 2000 0    # cycles from the start until weights are asked for
param     STEP 450 200 100 300 0 900      # cycles between stages
param     ROOM 2 1                        # blocks that fit side by side, of this kernel or the next
where     A_F16 && n > 8 && n <= 16 && N % 16 == 0 && K % 64 == 0 && K / 64 >= 8
limit     max |ws| < 2                   # a scale times 2^15 is a half
limit     max |ws| >= 0.00025            # weights are rounded to steps of 2^-18
define    GROUPS ceildiv(N, 64)
define    MOST ceildiv(K / 64, 8)        # units of K of a crew
where     GROUPS <= SMS / 2 && EACH * STAGES > 1 && EACH * STAGES >= MOST && EACH * (STAGES - 1) < MOST
define    USED SLOTS * 8192 + STAGES * EACH * 9216 + 2048 + 8 * (4 + 4 * (STAGES + SLOTS))
define    SMEM max(USED, (SM_SHARED / (ROOM + 1) / 128 + 1) * 128)      # no more than that fit
where     SMEM * ROOM <= SM_SHARED - 1024 * ROOM && SMEM <= SHARED
start     EACH=2 STAGES=4 SLOTS=4 REST=900 STEP=450 ROOM=2 if K > 3072
start     EACH=2 STAGES=4 SLOTS=4 REST=800 STEP=450 ROOM=2 if K > 3072
start     EACH=2 STAGES=4 SLOTS=4 REST=1200 STEP=0 ROOM=2 if K > 3072
start     EACH=2 STAGES=4 SLOTS=4 REST=0 STEP=0 ROOM=1 if K > 3072      # behind others' blocks none gets two of it
start     EACH=2 STAGES=3 SLOTS=4 REST=800 STEP=200 ROOM=2 if K > 2048 && K <= 3072
start     EACH=2 STAGES=3 SLOTS=4 REST=1000 STEP=0 ROOM=2 if K > 2048 && K <= 3072
start     EACH=2 STAGES=2 SLOTS=4 REST=800 STEP=200 ROOM=2 if K > 1024 && K <= 2048
start     EACH=1 STAGES=2 SLOTS=4 REST=800 STEP=200 ROOM=2 if K <= 1024
launch    crew_q4_entry
grid      SMS / 2 * 2 ; 1 ; 1
block     512 ; 1 ; 1
shared    SMEM
cluster   2 ; 1 ; 1
dependent 2
args      t0 t1 t2 b3
tmap      0 b0 f16 swizzle 128 dims 64 ; n ; K / 64 strides K * 2 ; 128 box 64 ; 16 ; 1
tmap      1 b1 i32 swizzle 0 dims 128 ; K / 64 ; N / 16 strides 512 ; K / 64 * 512 box 128 ; EACH ; 4
tmap      2 b2 f16 swizzle 0 dims 32 ; K / 64 ; N / 16 strides 64 ; K / 64 * 64 box 32 ; EACH ; 4
*/
#include "crew_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMM_ADD : GEMM_STORE };

typedef crew_shape<TS_N, TS_K, TS_n, EACH, STAGES, SLOTS, REST, STEP> shape;
static_assert(shape::bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(512, ROOM)
crew_q4_entry(const __grid_constant__ tensor_map x, const __grid_constant__ tensor_map codes, const __grid_constant__ tensor_map scales, output *y) {
  crew_q4<shape, END>(&x, &codes, &scales, y);
}
