/* tunesmith
param X 0 1
where I / X > 3
launch k
grid 1
block 32
args b0
*/
