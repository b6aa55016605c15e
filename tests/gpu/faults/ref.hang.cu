/* tunesmith
doc       never ends
requires  sm_80
where     A_F32 && n == 2
launch    hang
grid      1 ; 1 ; 1
block     128 ; 1 ; 1
args      b0 b1
*/
// Through memory, since ptxas takes a loop that changes none for one that ends.
extern "C" __global__ void hang(const float *x, float *y) {
  volatile float *turning = &y[threadIdx.x];
  do *turning = 0.0f;
  while (*turning == 0.0f);
}
