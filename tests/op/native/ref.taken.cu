/* tunesmith
param I 1 2
launch k
grid 1
block 32
args b0
*/
