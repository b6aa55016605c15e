/* tunesmith
doc       many positions: flash attention with warp specialisation, tensor copies and wgmma
requires  sm_90a
op        attention_rows
include   prefill_attention.params
launch    prefill
grid      min(SMS, H * ceildiv(n, 128)) ; 1 ; 1
block     384 ; 1 ; 1
shared    128 * D * 2 * 5 + 1024 + 128
dependent 2
args      t0 t1 t2 b3 d
tmap      0 b0 f16 swizzle 128 dims D ; H ; n strides 2 * D ; 2 * D * H box 64 ; 1 ; 128
tmap      1 b1 f16 swizzle 128 dims D ; t + n ; HK strides 2 * D ; 2 * D * P box 64 ; 128 ; 1
tmap      2 b2 f16 swizzle 128 dims D ; t + n ; HK strides 2 * D ; 2 * D * P box 64 ; 128 ; 1
*/
#include "prefill_attention.cuh"

#ifdef TS_n
#define N_NOW TS_n
#else
#define N_NOW (int)dims[TS_DIM_n]
#endif
#ifdef TS_t
#define T_NOW TS_t
#else
#define T_NOW (int)dims[TS_DIM_t]
#endif

extern "C" __global__ void __launch_bounds__(384, 1) prefill(const __grid_constant__ tensor_map qm, const __grid_constant__ tensor_map km, const __grid_constant__ tensor_map vm, u16 *y,
                                                            const long long *dims) {
  SHARED_MEMORY(raw);
  const shared_layout s = lay_out(raw);
  dependents_may_start();
  wait_for_predecessors();
  __syncthreads();
  const int rows = N_NOW, t = T_NOW, warpgroup = threadIdx.x >> 7;
  if (warpgroup == 0) {
    registers_give<24>();
    if (threadIdx.x == 0) produce(s, &qm, &km, &vm, t, rows);
  } else {
    registers_take<240>();
    consume(s, warpgroup - 1, t, rows, y);
  }
}
