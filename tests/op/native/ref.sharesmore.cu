/* tunesmith
doc       OUTPUTS is what the shared lines ask for and this template lacks
define    K 4096
include   gemv_q4.params
launch k
grid 1
block 32
args b0
*/
