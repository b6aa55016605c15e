/* tunesmith
doc       writes far outside of everything: an illegal access
requires  sm_80
where     A_F32 && n == 2
launch    illegal
grid      1 ; 1 ; 1
block     128 ; 1 ; 1
args      b0 b1
*/
extern "C" __global__ void illegal(const float *x, float *y) {
  if (threadIdx.x == 0 && blockIdx.x == 0) *(volatile float *)(0x40ull << 40) = 1.0f;
}
