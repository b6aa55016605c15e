// reindex_cache_read b 0 "local" "(vi, vj, vk) -> (vk, vi)" : B(reads A[vi, vk])
//   -> for i { for k { A_local[vk, vi] = A[vi, vk] } } ; B(reads A_local[vk, vi])
// As cache_read, with a layout of the copy given by the iterators of b. The map must be one-to-one and use all that
// index the buffer.
#include "schedule/schedule_impl.h"

bool ts__check_reindex_cache_read(ts__ctx *c) {
  ts__reindex *x = ts_new(c->a, ts__reindex);
  ts__map map;
  c->plan = x;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  x->buf = ts__buffer_arg(c, 1, ts__block(c, c->arg[0].node), true, false);
  return x->buf && ts__map_parse(c, 3, &map) && ts__reindex_check(c, 1, false, c->arg[2].s, &map, x);
}

bool ts__apply_reindex_cache_read(ts__ctx *c) { return ts__reindex_apply(c, false, c->plan); }
