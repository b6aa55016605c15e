/* tunesmith
doc       never ends
requires  sm_80
where     A_F32 && n == 2
launch    hang
grid      1 ; 1 ; 1
block     128 ; 1 ; 1
args      b0 b1
*/
extern "C" __global__ void hang(const float *x, float *y) {
  volatile unsigned turning = 1;
  while (turning) turning += 2;
}
