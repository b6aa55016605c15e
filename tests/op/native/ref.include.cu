/* tunesmith
launch k
grid 1
block 32
args b0
*/
#include "../../secret.cuh"
