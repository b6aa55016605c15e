/* tunesmith
doc       a trap: the context is lost
requires  sm_80
where     A_F32 && n == 2
launch    trap
grid      1 ; 1 ; 1
block     128 ; 1 ; 1
args      b0 b1
*/
extern "C" __global__ void trap(const float *x, float *y) {
  asm volatile("trap;");
}
