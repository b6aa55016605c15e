/* tunesmith
doc     preferred where measurements say so
guess   n <= 8 && I >= 64 ? SMS / 66 + 1 : 0
param   A 1 2
launch  k
grid    1
block   32
args    b0
*/
// workload: silu_mul A=f32 I=64 n=8
// point: A=2
extern "C" __global__ void k(const float *x) {}
