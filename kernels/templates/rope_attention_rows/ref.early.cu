/* tunesmith
doc       one position: rotates, appends, then flash-decoding by a cluster; rows of the cache come to shared memory early
requires  sm_90a
op        rope_attention_rows
param     WARPS 8 10 4 12 6 16
param     SLOTS 1 2
param     SPLITS 4 8 16 2 1
param     BLOCKS 1 2
param     SOON 0 1
where     n == 1
where     D == 64 || D == 128
where     H <= 8 * HK
where     H / HK * D % (4 * SPLITS) == 0
where     C_F16
where     BLOCKS == 1 || WARPS >= 8
define    SMEM WARPS * SLOTS * 64 * D + 36 * D + WARPS * (H / HK) * (4 * D + 16 * SPLITS) + 16
where     SMEM <= SHARED
where     HK * SPLITS <= SMS || WARPS <= 4
start     WARPS=4 SLOTS=2 SPLITS=8 BLOCKS=1 SOON=1 if D == 128 && H >= 4 * HK
start     WARPS=6 SLOTS=2 SPLITS=4 BLOCKS=1 SOON=1 if D == 128 && H == HK
start     WARPS=4 SLOTS=2 SPLITS=8 BLOCKS=1 SOON=0 if D == 64
start     WARPS=8 SLOTS=1 SPLITS=8 BLOCKS=2 SOON=0
start     WARPS=6 SLOTS=2 SPLITS=4 BLOCKS=1 SOON=0
start     WARPS=8 SLOTS=2 SPLITS=2 BLOCKS=2 SOON=0
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

#ifdef TS_t
#define T_NOW TS_t
#else
#define T_NOW (int)dims[TS_DIM_t]
#endif

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
decode(const act *qkv, const float *cos, const float *sin, u16 *kc, u16 *vc, act *y, const long long *dims) {
  const int kv = blockIdx.x;
  const size_t cache = (size_t)kv * TS_P * D;
  early_attention(qkv + (size_t)kv * GROUP * D, qkv + (size_t)(TS_H + kv) * D, qkv + (size_t)(TS_H + TS_HK + kv) * D, cos, sin, kc + cache, vc + cache,
                  y + (size_t)kv * GROUP * D, T_NOW);
}
