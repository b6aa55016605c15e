/* tunesmith
doc n is a number
param X 1 2
where n == 4
where n_lo == n && n_hi == n && n_multiple == n
launch k
grid n * X
block 32
args b0 b1
*/
// workload: silu_mul A=f16 I=64 n=4
