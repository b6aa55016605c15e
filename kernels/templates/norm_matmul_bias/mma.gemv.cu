/* tunesmith
doc       few rows with the norm before them and a bias behind: exact integer sums of packed codes in tensor cores, a ring of weights filled early
requires  sm_80
define    OUTPUTS N
include   gemv_q4.params
where     PARTS == 3 || n > 2  # two rows of three bytes are one tile of columns
start     WARPS=8 STAGES=2 EACH=2 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=99 FILL=0 FLIGHT=0 PER_SM=1
start     WARPS=8 STAGES=3 EACH=4 TILES=2 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=2 PER_SM=1 if n == 1 && K <= 4096 && N > 8192
start     WARPS=8 STAGES=6 EACH=4 TILES=1 SPLIT=2 PARTS=3 HINT=1 LEFT=8 FILL=2 FLIGHT=2 PER_SM=1 if n == 1
start     WARPS=12 STAGES=8 EACH=1 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=0 FLIGHT=0 PER_SM=1 if n == 1
start     WARPS=8 STAGES=5 EACH=2 TILES=2 SPLIT=1 PARTS=3 HINT=1 LEFT=8 FILL=0 FLIGHT=0 PER_SM=1
launch    gemv_q4_entry
grid      BLOCKS * SPLIT ; 1 ; 1
block     WARPS * 32 + COPIERS ; 1 ; 1
shared    SMEM
cluster   SPLIT ; 1 ; 1
dependent COPIERS ? 2 : 0
args      b0 b1 b2 b3 b4 b5
*/
#include "gemv_q4.cuh"
#include "biased.cuh"
#include "matmul_types.cuh"

typedef gemv_shape<TS_N, TS_K, TS_n, PARTS, WARPS, STAGES, EACH, TILES, SPLIT, BATCH> shape;
static_assert(shape::bytes == SMEM, "the layout of shared memory");

extern "C" __global__ void __launch_bounds__(WARPS * 32 + COPIERS, AT_ONCE)
gemv_q4_entry(const input *x, const float *g, const float *b, const void *codes, const void *scales, output *y) {
  const int o = threadIdx.x, block = blockIdx.x / SPLIT;  // what this thread writes first: element o % 16 of tile o / 16 / rows
  biased<output> to = bias_early(y, b, ((size_t)block * TILES + o / 16 / TS_n) * 16 + o % 16, o < TILES * 16 * TS_n && blockIdx.x % SPLIT == 0);
  gemv_q4<shape, GEMV_STORE, true, HINT, COPIERS != 0>(x, g, codes, scales, &to, TS_eps, {LEFT, FILL, FLIGHT});
}
