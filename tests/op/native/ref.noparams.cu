/* tunesmith
param X 1
include nothing_here.params
launch k
grid 1
block 32
args b0
*/
