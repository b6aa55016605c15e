/* tunesmith
doc     a guess is of the workload, not of a point
guess   A
param   A 1 2
launch  k
grid    1
block   32
args    b0
*/
extern "C" __global__ void k(const float *x) {}
