/* tunesmith
doc       nothing is less than that
limit     max |w_s| < 0
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
