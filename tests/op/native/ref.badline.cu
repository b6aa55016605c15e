/* tunesmith
parm X 1
launch k
grid 1
block 32
args b0
*/
