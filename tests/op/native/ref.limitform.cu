/* tunesmith
doc       no bars
limit     max w_s < 2
launch k
grid 1
block 32
args b0
*/
extern "C" __global__ void k() {}
