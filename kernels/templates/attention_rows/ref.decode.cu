/* tunesmith
doc       one position, flash-decoding: positions split over blocks and warps, tensor cores, f16 operands with their rest
requires  sm_80
param     WARPS 4 8
param     SPLITS 1 2 4 8 16 32
where     n == 1
where     D % 64 == 0
where     H <= 8 * HK
where     HK <= 64
where     C_F16
workspace 256 + 4 * HK * SPLITS * (H / HK) * (D + 2)
zeroed    256
launch    decode
grid      HK ; SPLITS ; 1
block     32 * WARPS ; 1 ; 1
shared    4 * WARPS * (H / HK) * (D + 2)
dependent 1
args      b0 b1 b2 b3 w d
*/
#include "decode_attention.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS) decode(const act *q, const unsigned short *kc, const unsigned short *vc, act *y, float *workspace, const long long *dims) {
  extern __shared__ __align__(16) float shared[];
  dependents_may_start();
  wait_for_predecessors();
#ifdef TS_t
  const int last = TS_t;
#else
  const int last = (int)dims[TS_DIM_t];
#endif
  const int parts = parts_of(last);
  if ((int)blockIdx.y >= parts) return;
  decode_attention(q, nullptr, nullptr, kc, vc, y, workspace, last, parts, nullptr, nullptr, shared);
}
