/* tunesmith
launch k
grid t + 1
block 32
args b0
*/
