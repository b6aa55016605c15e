/* tunesmith
doc       few rows: tensor cores on packed weights, a ring of weights filled before the kernel before has ended
requires  sm_90a
param     WARPS 8 4 16
param     STAGES 4 3 2 6 8 12
param     CHUNK 4 2 8
param     TILES 1 2
param     SPLIT 1 2 4 8
param     HINT 1 0
param     PER_SM 1 2
where     n <= 16
where     N % (16 * TILES) == 0 && K % 64 == 0
where     WARPS * SPLIT <= K / 64
where     WARPS * CHUNK * STAGES <= 256
define    MOST ceildiv(K / 64, WARPS * SPLIT)
define    RING WARPS * STAGES * TILES * CHUNK * 576
define    STAGED WARPS * MOST * n * (1 + A_F32) * 128
define    BATCH max(1, min(8, 2048 / (WARPS * TILES * 16 * n)))
define    SUMS 64 * BATCH * TILES * n * (WARPS + (SPLIT > 1 ? SPLIT : 0))
define    SMEM RING + STAGED + SUMS + 4 * n * (WARPS + SPLIT) + 8 + 8 * WARPS * STAGES
where     SMEM <= SHARED && SMEM * PER_SM <= SHARED
launch    gemv_q4_entry
grid      min(N / 16 / TILES, max(1, SMS * PER_SM / SPLIT)) * SPLIT ; 1 ; 1
block     WARPS * 32 ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent 1
args      b0 b1 b2 b3
*/
#include "gemv_q4.cuh"

#if TS_A_F32
typedef float input;
#else
typedef u16 input;
#endif
#if TS_OP_matmul_add
enum { END = GEMV_ADD };
#if TS_R_F16
typedef u16 output;
#else
typedef float output;
#endif
#else
enum { END = GEMV_STORE };
typedef input output;
#endif

typedef gemv_shape<TS_N, TS_K, TS_n, TS_A_F32, WARPS, STAGES, CHUNK, TILES, SPLIT> shape;
static_assert(shape::ring_bytes + shape::staged_bytes + shape::sums_bytes + shape::tail_bytes <= SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32, WARPS > 8 ? 1 : 2)
gemv_q4_entry(const input *x, const void *codes, const void *scales, output *y) {
  gemv_q4<shape, END, false, HINT>(x, (const float *)0, codes, scales, y, 0.0f);
}
