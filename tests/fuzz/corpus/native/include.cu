/* tunesmith
include   gemv_q4.params
launch    k
grid      1
block     32
args      b0 b1
*/
extern "C" __global__ void k() {}
