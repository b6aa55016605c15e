/* tunesmith
doc       no number
limit     max |w_s| < WARPS
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
