/* tunesmith
launch k
grid 1
block 1024 ; 2
args b0
*/
