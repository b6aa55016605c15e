/* tunesmith
param X 1 2
start X=3
launch k
grid 1
block 32
args b0
*/
