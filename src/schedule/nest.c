// Blocks whose loops are their iterators.
#include "schedule_impl.h"

static bool refuse_binding(ts__ctx *c, int arg, int block, const ts_iter *it) {
  ts__refuse(c, TS_R_not_affine, arg, "iterator {1} of block {0} is not bound to a loop of its own");
  ts__fact_node(c, block);
  ts__fact_s(c, it->var->name);
  return false;
}

static bool bindings_check(ts__ctx *c, int arg, int block, const int *loops, int n) {
  const ts_block *b = ts__block(c, block);
  int bound = 0;
  for (int i = 0; i < b->niters; i++) {
    const ts_iter *it = &b->iters[i];
    int at = -1;
    for (int l = 0; l < n && it->value->kind == TS_E_VAR; l++)
      if (ts__stmt(c, loops[l])->loop.var == it->value->var) at = l;
    if (at < 0) {
      bool single = ts_prove_eq(ts__an(c), it->dom.extent, ts_int(c->ir, 1)) == TS_YES;
      if (!single || it->value->kind == TS_E_VAR) return refuse_binding(c, arg, block, it);
      continue;
    }
    const ts_stmt *l = ts__stmt(c, loops[at]);
    bool same = ts_prove_eq(ts__an(c), l->loop.min, it->dom.min) == TS_YES &&
                ts_prove_eq(ts__an(c), l->loop.extent, it->dom.extent) == TS_YES;
    for (int k = 0; k < i; k++) same &= b->iters[k].value != it->value;
    if (!same) return refuse_binding(c, arg, block, it);
    bound++;
  }
  if (bound == n && !b->predicate) return true;
  ts__refuse(c, TS_R_not_affine, arg,
             b->predicate ? "block {0} has a predicate" : "some loop of block {0} is bound to no iterator");
  ts__fact_node(c, block);
  return false;
}

bool ts__trivial_nest(ts__ctx *c, int arg, int block, int *loops, int *n) {
  *n = ts__loops_of(c, block, loops);
  for (int l = 0; l < *n; l++) {
    TS_TRY(ts__plain_loop(c, arg, loops[l]));
    int child = l + 1 < *n ? loops[l + 1] : block;
    if (c->t->node[child].parent == loops[l]) continue;
    ts__refuse(c, TS_R_not_only_child, arg, "loop {1} holds more than block {0}");
    ts__fact_node(c, block);
    ts__fact_node(c, loops[l]);
    return false;
  }
  ts__enter(c, *n ? loops[0] : block);
  return bindings_check(c, arg, block, loops, *n);
}
