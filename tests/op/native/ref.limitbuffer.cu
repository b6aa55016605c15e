/* tunesmith
doc       no buffer
limit     max |3| < 2
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
