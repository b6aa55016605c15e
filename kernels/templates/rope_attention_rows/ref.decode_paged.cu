/* tunesmith
doc       one position over pages: rotates, appends, then flash-decoding over blocks and warps on tensor cores
requires  sm_90
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
dependent 1
args      b0 b1 b2 b3 b4 b5 b6 w d
*/
#include "decode_attention.cuh"

#ifdef TS_t
#define T_NOW TS_t
#else
#define T_NOW (int)dims[TS_DIM_t]
#endif

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) decode(const act *qkv, const float *cos, const float *sin, const int *table, u16 *kc, u16 *vc, act *y, float *workspace, const long long *dims) {
  SHARED_MEMORY(raw);
  float *shared = (float *)raw;
  u16 *fresh = (u16 *)shared;
  const split_range r = range_of(T_NOW);
  const int kv = blockIdx.x, last = r.last, most = max(last - 1, 0);
  const bool newest = (int)blockIdx.y == r.parts - 1;  // has the positions that end with the new one
  cache_rows rows(kc, vc, table, kv, r.tile, r.last);
  warp_state s;
  query_values x;
  u32 operand[QK_CHUNKS][2][4];
  begin(s, r, rows, most);
  cos += (size_t)last * (D / 2), sin += (size_t)last * (D / 2);
  dependents_may_start();
  wait_for_predecessors();
  if (!CLUSTER && (int)blockIdx.y >= r.parts) return;
  load_query(x, qkv + (size_t)kv * GROUP * D);
  if (newest) {
    const act *key = qkv + (size_t)(TS_H + kv) * D, *value = qkv + (size_t)(TS_H + TS_HK + kv) * D;
    const size_t row = (((size_t)table[last / TS_PAGE] * TS_HK + kv) * TS_PAGE + last % TS_PAGE) * D;
    u16 *krow = kc + row, *vrow = vc + row;
    for (int i = threadIdx.x; i < D / 2; i += 32 * WARPS) {
      const float a = act_load(key + i), b = act_load(key + i + D / 2), va = act_load(value + i), vb = act_load(value + i + D / 2), co = cos[i], si = sin[i];
      const u32 rotated = pack_f16(a * co - b * si, b * co + a * si), w = pack_f16(va, vb);
      fresh[i] = krow[i] = (u16)rotated, fresh[i + D / 2] = krow[i + D / 2] = (u16)(rotated >> 16);
      fresh[D + i] = vrow[i] = (u16)w, fresh[D + i + D / 2] = vrow[i + D / 2] = (u16)(w >> 16);
    }
    __syncthreads();
  }
  make_query(operand, x, cos, sin);
  finish(s, r, operand, rows, most, newest ? fresh : nullptr, fresh + D, shared + D, y, workspace);
}
