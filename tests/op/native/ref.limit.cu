/* tunesmith
doc       what is asked of weights
op        matmul
limit     max |w_s| < 2      # 2^15 times it is a half
limit     max |w_s| >= 0.00025
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
// workload: matmul q4f16_1 A=f16 K=64 N=64 n=16
