/* tunesmith
launch k
grid 1
block 32
args t0
tmap 0 b0 f16 dims I ; 2 box 8 ; 8
*/
