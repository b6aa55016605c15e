/* tunesmith
doc       one position: rotates, appends, then flash-decoding by a cluster; rows of the cache come to shared memory early
requires  sm_90
op        rope_attention_rows
define    TABLE 0
include   early_attention.params
launch    decode
grid      HK ; SPLITS ; 1
block     32 * WARPS ; 1 ; 1
shared    SMEM
cluster   1 ; SPLITS ; 1
dependent 2
args      b0 b1 b2 b3 b4 b5 d
*/
#define CLUSTER 1
#include "early_attention.cuh"
#include "dims_now.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
decode(const act *qkv, const float *cos, const float *sin, u16 *kc, u16 *vc, act *y, const long long *dims) {
  early_attention(qkv, cos, sin, nullptr, kc, vc, y, T_NOW);
}
