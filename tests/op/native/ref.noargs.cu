/* tunesmith
launch k
grid 1
block 32
*/
