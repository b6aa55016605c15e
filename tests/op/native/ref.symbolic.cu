/* tunesmith
doc wants n
where n == 1
launch k
grid n
block 32
args b0
*/
// workload: silu_mul A=f32 I=64 n=1..8
