// reindex_cache_write b 0 "local" "(vi, vj, vk) -> (vj, vi)" : B(writes C[vi, vj])
//   -> B(writes C_local[vj, vi]) ; for i { for j { C[vi, vj] = C_local[vj, vi] } }
// As cache_write, with a layout of the copy given by the iterators of b. The map must be one-to-one and use those that
// index the buffer, and no reduce iterator.
#include "schedule/schedule_impl.h"

static bool spatial_layout(ts__ctx *c, const ts__map *m) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  for (int i = 0; i < b->niters && i < m->nin; i++)
    for (int k = 0; k < m->n; k++) {
      if (b->iters[i].kind == TS_ITER_SPATIAL || !ts_expr_uses_var(m->out[k], m->in[i])) continue;
      ts__refuse(c, TS_R_bad_map, 3, "the map uses {0}, a reduce iterator of block {1}");
      ts__fact_s(c, b->iters[i].var->name);
      ts__fact_node(c, c->arg[0].node);
      return false;
    }
  return true;
}

bool ts__check_reindex_cache_write(ts__ctx *c) {
  ts__reindex *x = ts_new(c->a, ts__reindex);
  ts__map map;
  c->plan = x;
  TS_TRY(ts__scope_known(c, 2, c->arg[2].s));
  x->buf = ts__buffer_arg(c, 1, ts__block(c, c->arg[0].node), false, true);
  return x->buf && ts__map_parse(c, 3, &map) && spatial_layout(c, &map) &&
         ts__reindex_check(c, 1, true, c->arg[2].s, &map, x);
}

bool ts__apply_reindex_cache_write(ts__ctx *c) { return ts__reindex_apply(c, true, c->plan); }
