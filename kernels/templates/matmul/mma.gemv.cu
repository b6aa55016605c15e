/* tunesmith
doc       few rows: exact integer sums of packed codes in tensor cores, a ring of weights filled before the kernel before has ended
requires  sm_80
define    OUTPUTS N
include   gemv_q4.params
where     PARTS == 3 || n > 2 || LEFT == 99  # two rows of three bytes are one tile of columns
start     WARPS=12 STAGES=2 EACH=1 TILES=2 SPLIT=4 PARTS=2 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1 if n == 1 && K >= 4 * N && K <= 6144
start     WARPS=8 STAGES=2 EACH=2 TILES=2 SPLIT=4 PARTS=3 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1 if n == 1 && K >= 4 * N
start     WARPS=8 STAGES=4 EACH=2 TILES=1 SPLIT=1 PARTS=3 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1
start     WARPS=8 STAGES=6 EACH=2 TILES=2 SPLIT=2 PARTS=3 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1 if n == 1 && K <= 4096
start     WARPS=11 STAGES=4 EACH=4 TILES=1 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=0 PER_SM=1 if n == 1 && K <= 12288 && K / 128 % 44 > 40
start     WARPS=8 STAGES=6 EACH=4 TILES=1 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=0 PER_SM=1 if n == 1 && K <= 12288
start     WARPS=8 STAGES=6 EACH=2 TILES=2 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=0 PER_SM=1 if n == 1
start     WARPS=8 STAGES=4 EACH=4 TILES=1 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=0 FLIGHT=0 PER_SM=1
start     WARPS=8 STAGES=3 EACH=4 TILES=1 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=0 FLIGHT=0 PER_SM=1
launch    gemv_q4_entry
grid      BLOCKS * SPLIT ; 1 ; 1
block     WARPS * 32 + COPIERS ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent COPIERS ? 2 : 0
args      b0 b1 b2 b3
*/
#include "gemv_q4.cuh"
#include "matmul_types.cuh"

enum { END = ADDS ? GEMV_ADD : GEMV_STORE };

typedef gemv_shape<TS_N, TS_K, TS_n, PARTS, WARPS, STAGES, EACH, TILES, SPLIT, BATCH> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32 + COPIERS, AT_ONCE)
gemv_q4_entry(const input *x, const void *codes, const void *scales, output *y) {
  gemv_q4<shape, END, false, HINT, COPIERS != 0>(x, (const float *)0, codes, scales, y, 0.0f, {LEFT, FILL, FLIGHT});
}
