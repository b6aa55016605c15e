/* tunesmith
param X 1
define X 2
launch k
grid 1
block 32
args b0
*/
