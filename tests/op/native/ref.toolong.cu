/* tunesmith
doc no point is legal, and only the last parameter says so
param P1 1 2 3 4 5 6 7 8 9 10
param P2 1 2 3 4 5 6 7 8 9 10
param P3 1 2 3 4 5 6 7 8 9 10
param P4 1 2 3 4 5 6 7 8 9 10
param P5 1 2 3 4 5 6 7 8 9 10
param P6 1 2 3 4 5 6 7 8 9 10
param P7 1 2 3 4 5 6 7 8 9 10
where P1 + P7 < 0
launch k
grid 1
block 32
args b0
*/
