/* tunesmith
doc       lines that templates share; what is wrong there is told with their file
define    OUTPUTS I
define    K 4096
include   gemv_q4.params
define    RING 1
launch k
grid 1
block 32
args b0
*/
