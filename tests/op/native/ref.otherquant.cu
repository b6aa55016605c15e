/* tunesmith
quant q4f16_0
launch k
grid 1
block 32
args b0
*/
// workload: matmul q4f16_1 A=f32 K=64 N=64 n=1
