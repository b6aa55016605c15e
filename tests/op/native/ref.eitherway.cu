/* tunesmith
doc of two ways to be legal the point asked for has none, and there is no one number to tell
param X 1 2
where X < 2 || X > 4
launch k
grid 1
block 32
args b0
*/
// point: X=2
