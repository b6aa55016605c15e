/* tunesmith
doc       one position over pages: rotates, appends, then flash-decoding over blocks and warps on tensor cores
requires  sm_80
guess     COMPUTE < 90  # from there on: ref.early
op        rope_attention_rows_paged
include   decode_attention.params
where     PAGE % 16 == 0
workspace CLUSTER ? 0 : 256 + 4 * HK * SPLITS * (H / HK) * (D + 2)
zeroed    CLUSTER ? 0 : 256
launch    decode
grid      HK ; SPLITS ; 1
block     32 * WARPS ; 1 ; 1
shared    4 * (WARPS + 1) * (H / HK) * (D + 2) + 4 * D
cluster   1 ; CLUSTER ? SPLITS : 1 ; 1
dependent COMPUTE >= 90
args      b0 b1 b2 b3 b4 b5 b6 w d
*/
#include "decode_attention.cuh"
#include "dims_now.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
decode(const act *qkv, const float *cos, const float *sin, const int *table, u16 *kc, u16 *vc, act *y, float *workspace, const long long *dims) {
  attend_appended(qkv, cos, sin, table, kc, vc, y, workspace, T_NOW);
}
