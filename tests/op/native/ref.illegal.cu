/* tunesmith
doc the point asked for is forbidden
param X 1 2
where X < 2
launch k
grid 1
block 32
args b0
*/
// point: X=2
