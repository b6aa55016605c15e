/* tunesmith
doc       one position: rotates, appends, then flash-decoding over blocks and warps on tensor cores
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
shared    4 * WARPS * (H / HK) * (D + 2) + 4 * D
dependent 1
args      b0 b1 b2 b3 b4 b5 w d
*/
#include "decode_attention.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS) decode(const act *qkv, const float *cos, const float *sin, unsigned short *kc, unsigned short *vc, act *y, float *workspace,
                                                               const long long *dims) {
  extern __shared__ __align__(16) float shared[];
  unsigned short *fresh = (unsigned short *)shared;
  dependents_may_start();
  wait_for_predecessors();
#ifdef TS_t
  const int last = TS_t;
#else
  const int last = (int)dims[TS_DIM_t];
#endif
  const int parts = parts_of(last), kv = blockIdx.x;
  if ((int)blockIdx.y >= parts) return;
  cos += (size_t)last * (D / 2), sin += (size_t)last * (D / 2);
  const bool newest = (int)blockIdx.y == parts - 1;  // has the tile of the new position
  if (newest) {
    const act *k = qkv + (size_t)(TS_H + kv) * D, *v = qkv + (size_t)(TS_H + TS_HK + kv) * D;
    unsigned short *krow = kc + ((size_t)kv * TS_P + last) * D, *vrow = vc + ((size_t)kv * TS_P + last) * D;
    for (int i = threadIdx.x; i < D / 2; i += 32 * WARPS) {
      const float a = act_load(k + i), b = act_load(k + i + D / 2), co = cos[i], si = sin[i];
      u32 r = pack_f16(a * co - b * si, b * co + a * si), w = pack_f16(act_load(v + i), act_load(v + i + D / 2));
      fresh[i] = krow[i] = (unsigned short)r, fresh[i + D / 2] = krow[i + D / 2] = (unsigned short)(r >> 16);
      fresh[D + i] = vrow[i] = (unsigned short)w, fresh[D + i + D / 2] = vrow[i + D / 2] = (unsigned short)(w >> 16);
    }
    __syncthreads();
  }
  decode_attention(qkv, cos, sin, kc, vc, y, workspace, last, parts, newest ? fresh : nullptr, fresh + D, shared + D);
}
