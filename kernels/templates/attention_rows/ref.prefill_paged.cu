/* tunesmith
doc       many positions over pages: flash attention with warp specialisation, tensor copies and wgmma
requires  sm_90a
op        attention_rows_paged
include   prefill_attention.params
where     PAGE <= 128 ? 128 % PAGE == 0 : PAGE % 128 == 0
launch    prefill
workspace LEAST ? 1024 + 512 * SMS * (D + 4) : 0
zeroed    LEAST ? 1024 : 0
grid      min(SMS, HK * ceildiv(n, HEIGHT) * (LEAST ? max(1, min(SMS / (HK * ceildiv(n, HEIGHT)), ceildiv(t + n, 128 * max(LEAST, 1)))) : 1)) ; 1 ; 1
block     384 ; 1 ; 1
shared    128 * D * 2 * 5 + 1024 + 192
dependent 2
args      t0 b1 t1 t2 b4 w d
tmap      0 b0 f16 swizzle 128 dims D ; H ; n strides 2 * D ; 2 * D * H box 64 ; H / HK ; HEIGHT
tmap      1 b2 f16 swizzle 128 dims D ; PAGE ; POOL * HK strides 2 * D ; 2 * D * PAGE box 64 ; min(PAGE, 128) ; 1
tmap      2 b3 f16 swizzle 128 dims D ; PAGE ; POOL * HK strides 2 * D ; 2 * D * PAGE box 64 ; min(PAGE, 128) ; 1
*/
#include "prefill_attention.cuh"
#include "dims_now.cuh"

extern "C" __global__ void __launch_bounds__(384, 1)
prefill(const __grid_constant__ tensor_map qm, const int *table, const __grid_constant__ tensor_map km, const __grid_constant__ tensor_map vm, u16 *y, void *workspace, const long long *dims) {
  attend_rows(&qm, &km, &vm, table, y, workspace, T_NOW, N_NOW);
}
