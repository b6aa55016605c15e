/* tunesmith
doc       codes are no floats
op        matmul
limit     max |w_q| < 2
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
// workload: matmul q4f16_1 A=f16 K=64 N=64 n=16
