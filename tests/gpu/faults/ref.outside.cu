/* tunesmith
doc       right, and one element behind y besides
requires  sm_80
where     A_F32 && n == 2
launch    outside
grid      1 ; 1 ; 1
block     128 ; 1 ; 1
args      b0 b1
*/
extern "C" __global__ void outside(const float *x, float *y) {
  for (int i = threadIdx.x; i <= TS_n * TS_I; i += blockDim.x) {
    if (i == TS_n * TS_I) {
      y[i] = 1.0f;
      continue;
    }
    float g = x[i / TS_I * 2 * TS_I + i % TS_I], u = x[i / TS_I * 2 * TS_I + TS_I + i % TS_I];
    y[i] = g / (1.0f + expf(-g)) * u;
  }
}
