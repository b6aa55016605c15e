/* tunesmith
requires sm_90a
launch k
grid 1
block 32
args b0
*/
// target: cuda:sm_80
