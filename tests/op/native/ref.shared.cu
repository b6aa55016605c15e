/* tunesmith
launch k
grid 1
block 32
shared SHARED + 16
args b0
*/
