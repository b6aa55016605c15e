/* tunesmith
doc       f16 into pages: a thread turns eight values and those that they turn with, which it asks how far to before the kernel before has ended
requires  sm_80
op        rope_append_rows_paged
include   rope_pieces.params
launch    rope_append_pieces
grid      ceildiv(n * ITEMS, THREADS) ; 1 ; 1
block     THREADS ; 1 ; 1
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 b3 b4 b5 b6 d
*/
#include "rope_pieces.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
rope_append_pieces(const uint4 *qkv, const float *cosine, const float *sine, uint4 *q, const int *table, uint4 *kc, uint4 *vc, const long long *dims) {
  rope_pieces(qkv, cosine, sine, q, table, kc, vc, T_NOW, N_NOW);
}
