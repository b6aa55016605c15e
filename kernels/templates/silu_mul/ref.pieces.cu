/* tunesmith
doc       f16: eight values a thread
requires  sm_80
param     THREADS 256 128 512
start     THREADS=256
where     A_F16 && I % 8 == 0
define    WIDE ceildiv(I / 8, THREADS)    # blocks of a row
launch    silu_mul_pieces
grid      WIDE ; n ; 1
block     THREADS ; 1 ; 1
shared    COMPUTE < 90 || n * WIDE <= 16 || n * WIDE > 4 * SMS ? 0 : SM_SHARED / (n * WIDE <= SMS / 2 ? 2 : n * WIDE <= SMS ? 3 : n * WIDE <= 2 * SMS ? 4 : 6)      # as ref.row of rms_norm
dependent COMPUTE >= 90 ? 2 : 0
args      b0 b1 d
*/
#include "row_pieces.cuh"

__device__ __forceinline__ float silu(float v) {
  return v / (1.0f + __expf(-v));
}
__device__ __forceinline__ u32 silu_pair(u32 gate, u32 up) {
  const float2 g = unpack_f16(gate), u = unpack_f16(up);
  return pack_f16(silu(g.x) * u.x, silu(g.y) * u.y);
}

extern "C" __global__ void __launch_bounds__(THREADS) silu_mul_pieces(const uint4 *x, uint4 *y, const long long *dims) {
  enum { PIECES = TS_I / 8 };
  const int at = blockIdx.x * THREADS + threadIdx.x, row = blockIdx.y;
  dependents_may_start();
  const bool mine = at < PIECES && row < N_NOW;
  wait_for_predecessors();
  if (!mine) return;
  const uint4 g = load16_fresh(x + (size_t)row * 2 * PIECES + at), u = load16_fresh(x + ((size_t)row * 2 + 1) * PIECES + at);
  y[(size_t)row * PIECES + at] = make_uint4(silu_pair(g.x, u.x), silu_pair(g.y, u.y), silu_pair(g.z, u.z), silu_pair(g.w, u.w));
}
