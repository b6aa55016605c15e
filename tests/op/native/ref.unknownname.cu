/* tunesmith
param X 1 2
where X < Y
launch k
grid 1
block 32
args b0
*/
