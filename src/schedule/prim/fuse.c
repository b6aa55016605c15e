// fuse i j : for i in 0..8 { for j in 0..16 { B(vi = i, vj = j) } }
//   -> for i_j in 0..128 { B(vi = i_j // 16, vj = i_j % 16) }
#include "schedule/schedule_impl.h"

static bool inner_check(ts__ctx *c, int k) {
  const int *l = c->arg[0].nodes;
  if (c->t->node[l[k]].parent != l[k - 1]) {
    ts__refuse(c, ts__under(c->t, l[k], l[k - 1]) ? TS_R_not_only_child : TS_R_not_nested, 0,
               "loop {1} is not the only thing in loop {0}");
    ts__fact_node(c, l[k - 1]);
    ts__fact_node(c, l[k]);
    return false;
  }
  const ts_stmt *s = ts__stmt(c, l[k]);
  for (int o = 0; o < k; o++) {
    if (!ts_expr_uses_var(s->loop.extent, ts__stmt(c, l[o])->loop.var)) continue;
    ts__refuse(c, TS_R_dependent_extent, 0, "the extent of loop {0} depends on loop {1}");
    ts__fact_node(c, l[k]);
    ts__fact_node(c, l[o]);
    return false;
  }
  return true;
}

bool ts__check_fuse(ts__ctx *c) {
  const ts__val *v = &c->arg[0];
  if (v->n < 2) return ts__refuse(c, TS_R_bad_argument, 0, "at least two loops are needed");
  for (int i = 0; i < v->n; i++) {
    TS_TRY(ts__plain_loop(c, 0, v->nodes[i]));
    if (i) TS_TRY(inner_check(c, i));
  }
  return true;
}

static const char *joined_name(ts__ctx *c) {
  const char *name = ts__node_name(ts__stmt(c, c->arg[0].nodes[0]));
  for (int i = 1; i < c->arg[0].n; i++) name = ts_arena_printf(c->a, "%s_%s", name, ts__node_name(ts__stmt(c, c->arg[0].nodes[i])));
  return strlen(name) < 40 ? name : ts_arena_printf(c->a, "%s_fused", ts__node_name(ts__stmt(c, c->arg[0].nodes[0])));
}

bool ts__apply_fuse(ts__ctx *c) {
  const int *l = c->arg[0].nodes;
  int n = c->arg[0].n;
  c->keep_units = true;
  ts__enter(c, l[0]);
  const ts_expr *total = ts__stmt(c, l[0])->loop.extent;
  for (int i = 1; i < n; i++) total = ts_mul(c->ir, total, ts__stmt(c, l[i])->loop.extent);
  total = ts_simplify(ts__an(c), total);
  const ts_var *var = ts_var_new(c->ir, joined_name(c), TS_INDEX);
  ts_bind_range(ts__an(c), var, (ts_range){ts_int(c->ir, 0), total});
  ts_subst *map = ts_new_array(c->a, ts_subst, n);
  const ts_expr *rest = ts_evar(c->ir, var);
  for (int i = n - 1; i >= 0; i--) {
    const ts_stmt *s = ts__stmt(c, l[i]);
    const ts_expr *digit = i ? ts_bin(c->ir, (ts_ekind)TS_E_FLOORMOD, rest, s->loop.extent) : rest;
    map[i] = (ts_subst){.from = s->loop.var, .to = ts_simplify(ts__an(c), digit)};
    if (i) rest = ts_simplify(ts__an(c), ts_bin(c->ir, (ts_ekind)TS_E_FLOORDIV, rest, s->loop.extent));
  }
  const ts_stmt *body = ts__subst_simplify(c, ts__stmt(c, l[n - 1])->loop.body, map, n);
  const ts_stmt *fused = ts_for(c->ir, var, ts_int(c->ir, 0), total, TS_SERIAL, body);
  ts__result(c, 'l', fused->id, 0);
  c->out = ts__reinfer(c, ts__replace(c, l[0], fused));
  return true;
}
