/* tunesmith
doc     nor of what stays symbolic
guess   n > 4
param   A 1 2
launch  k
grid    1
block   32
args    b0
*/
// workload: silu_mul A=f32 I=64 n=1..512
extern "C" __global__ void k(const float *x) {}
