/* tunesmith
param X 1 two
launch k
grid 1
block 32
args b0
*/
