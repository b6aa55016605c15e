/* tunesmith
doc       f32 to f16: a block a row, which stays in registers beside the gains, asked for before the kernel before has ended
requires  sm_80
param     THREADS 512 256 128 1024
define    EACH ceildiv(H, 8 * THREADS)    # pieces of eight values of a thread
where     A_F16 && R_F32 && H % 8 == 0 && EACH <= 4
start     THREADS=512 if H > 2048
start     THREADS=256 if H > 1024
start     THREADS=128
launch    rms_norm_row
grid      n ; 1 ; 1
block     THREADS ; 1 ; 1
shared    COMPUTE < 90 || n <= 16 || n > 4 * SMS ? 128 : SM_SHARED / (n <= SMS / 2 ? 2 : n <= SMS ? 3 : n <= 2 * SMS ? 4 : 6)      # no more fit: else the first multiprocessors that are free take all
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 b2 d
*/
#include "row_pieces.cuh"

// The sum over the block, in each of its threads.
__device__ __forceinline__ float block_sum(float v, float *parts) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
#pragma unroll
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
  if (lane == 0) parts[warp] = v;
  __syncthreads();
  v = lane < THREADS / 32 ? parts[lane] : 0.0f;
#pragma unroll
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
  return v;
}
__device__ __forceinline__ float squares(float4 v) {
  return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}
__device__ __forceinline__ uint2 scaled(float4 v, float by, float4 gain) {
  return make_uint2(pack_f16(v.x * by * gain.x, v.y * by * gain.y), pack_f16(v.z * by * gain.z, v.w * by * gain.w));
}

extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_row(const float *x, const float *g, uint4 *y, const long long *dims) {
  SHARED_MEMORY(smem);
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const int row = blockIdx.x;
  float4 gain[EACH][2], v[EACH][2];
  float sum = 0.0f;
  dependents_may_start();
  const bool mine = row < N_NOW;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int at = (i * THREADS + threadIdx.x) * 8;
    gain[i][0] = at < TS_H ? load_four(g + at) : zero;
    gain[i][1] = at < TS_H ? load_four(g + at + 4) : zero;
  }
  wait_for_predecessors();
  if (!mine) return;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int at = (i * THREADS + threadIdx.x) * 8;
    v[i][0] = at < TS_H ? load_four(x + (size_t)row * TS_H + at) : zero;
    v[i][1] = at < TS_H ? load_four(x + (size_t)row * TS_H + at + 4) : zero;
  }
#pragma unroll
  for (int i = 0; i < EACH; i++) sum += squares(v[i][0]) + squares(v[i][1]);
  const float by = rsqrtf(block_sum(sum, (float *)smem) / (float)TS_H + TS_eps);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int at = i * THREADS + threadIdx.x;
    const uint2 low = scaled(v[i][0], by, gain[i][0]), high = scaled(v[i][1], by, gain[i][1]);
    if (at * 8 < TS_H) y[(size_t)row * (TS_H / 8) + at] = make_uint4(low.x, low.y, high.x, high.y);
  }
}
