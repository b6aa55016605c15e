/* tunesmith
launch k
