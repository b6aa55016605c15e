// reorder_block_iter_var b [1, 0] : block B(vi = i, vj = j) -> block B(vj = j, vi = i). Iterator number order[k] of b
// becomes number k. The order of iterators has no meaning of its own: loops say what runs when.
#include "schedule/schedule_impl.h"

bool ts__check_reorder_block_iter_var(ts__ctx *c) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  const ts__val *order = &c->arg[1];
  bool ok = order->n == b->niters, *seen = ts_new_array(c->a, bool, b->niters);
  for (int i = 0; ok && i < order->n; i++) {
    ok = order->ints[i] >= 0 && order->ints[i] < b->niters && !seen[order->ints[i]];
    if (ok) seen[order->ints[i]] = true;
  }
  if (ok) return true;
  ts__refuse(c, TS_R_bad_argument, 1, "the list is no order of the {1} iterators of block {0}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_i(c, b->niters);
  return false;
}

bool ts__apply_reorder_block_iter_var(ts__ctx *c) {
  int node = c->arg[0].node;
  ts_block *b = ts_arena_dup(c->a, ts__block(c, node), sizeof *b);
  ts_iter *iters = ts_new_array(c->a, ts_iter, b->niters);
  for (int i = 0; i < b->niters; i++) iters[i] = b->iters[c->arg[1].ints[i]];
  b->iters = iters;
  c->out = ts__replace(c, node, ts__block_with(c, ts__stmt(c, node), b));
  return true;
}
