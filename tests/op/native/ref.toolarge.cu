/* tunesmith
doc the point asked for wants more shared memory than a block may have, which one part of a constraint says
param STAGES 2 8
param TILE 128 256
define SMEM STAGES * TILE * (STAGES > 4 ? 128 : 64)
where TILE >= 128 && SMEM <= SHARED
launch k
grid 1
block 32
shared SMEM
args b0
*/
// point: STAGES=8 TILE=256
