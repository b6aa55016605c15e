// split i [4, _] : for i in 0..100 { B(vi = i) }
//   -> for i_0 in 0..4 { for i_1 in 0..25 { B(vi = i_0 * 25 + i_1) } }
// Factors that do not divide the extent add `i_0 * 26 + i_1 < 102` to the predicate of the blocks below (tail=guard) or
// refuse (tail=perfect). One factor may be left open: it becomes the extent divided by the others, rounded up.
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n;
  const ts_expr **extent;
  bool guard;
} plan;

static bool factors_check(ts__ctx *c, int *open, int64_t *product) {
  const ts__val *f = &c->arg[1];
  *open = -1;
  *product = 1;
  if (f->n < 1) return ts__refuse(c, TS_R_bad_argument, 1, "there must be at least one factor");
  for (int i = 0; i < f->n; i++) {
    if (f->open[i]) {
      if (*open >= 0) return ts__refuse(c, TS_R_bad_argument, 1, "only one factor may be left open");
      *open = i;
    } else if (f->ints[i] < 1 || __builtin_mul_overflow(*product, f->ints[i], product) || *product > INT32_MAX) {
      ts__refuse(c, TS_R_bad_argument, 1, "factor {0} is out of range");
      ts__fact_i(c, f->ints[i]);
      return false;
    }
  }
  return true;
}

static bool refuse_extent(ts__ctx *c, ts_rcode code, const char *fact, const ts_expr *extent, int64_t product) {
  ts__refuse(c, code, 1, fact);
  ts__fact_s(c, ts__expr_text(c, extent));
  ts__fact_node(c, c->arg[0].node);
  ts__fact_i(c, product);
  return false;
}

bool ts__check_split(ts__ctx *c) {
  int open;
  int64_t product;
  int loop = c->arg[0].node;
  TS_TRY(ts__plain_loop(c, 0, loop));
  TS_TRY(factors_check(c, &open, &product));
  bool perfect = !strcmp(c->arg[2].s, "perfect");
  if (!perfect && strcmp(c->arg[2].s, "guard") != 0) return ts__refuse(c, TS_R_bad_argument, 2, "tail must be guard or perfect");
  ts_analyzer *an = ts__an(c);
  c->mark = ts_analyzer_push(an);
  ts__enter(c, loop);
  const ts_expr *extent = ts__stmt(c, loop)->loop.extent, *p = ts_int(c->ir, product);
  if (open < 0 && ts_prove_le(an, extent, p) != TS_YES)
    return refuse_extent(c, TS_R_factor_too_small, "factors of loop {1} make {2}, which does not provably cover its extent {0}", extent, product);
  bool exact = open < 0 ? ts_prove_eq(an, extent, p) == TS_YES : ts_prove_multiple(an, extent, product) == TS_YES;
  if (!exact && perfect) {
    refuse_extent(c, TS_R_not_divisible, "extent {0} of loop {1} is not a multiple of {2}", extent, product);
    ts__hint(c, "tail=guard, or factors that divide {0}");
    return false;
  }
  plan *pl = ts_new(c->a, plan);
  *pl = (plan){.n = c->arg[1].n, .guard = !exact, .extent = ts_new_array(c->a, const ts_expr *, c->arg[1].n)};
  for (int i = 0; i < pl->n; i++) pl->extent[i] = ts_int(c->ir, c->arg[1].ints[i]);
  if (open >= 0) {
    const ts_expr *up = exact ? extent : ts_add(c->ir, extent, ts_int(c->ir, product - 1));
    pl->extent[open] = ts_simplify(an, ts_bin(c->ir, (ts_ekind)TS_E_FLOORDIV, up, p));
  }
  c->plan = pl;
  return true;
}

bool ts__apply_split(ts__ctx *c) {
  const plan *pl = c->plan;
  int loop = c->arg[0].node;
  const ts_stmt *s = ts__stmt(c, loop);
  ts_analyzer_pop(ts__an(c), c->mark);
  c->keep_units = true;
  ts__enter(c, loop);
  const ts_var **var = ts_new_array(c->a, const ts_var *, pl->n);
  const ts_expr *value = NULL;
  for (int i = 0; i < pl->n; i++) {
    var[i] = ts_var_new(c->ir, ts_arena_printf(c->a, "%s_%d", s->loop.var->name, i), TS_INDEX);
    int64_t one;
    if (!ts_is_int(pl->extent[i], &one) || one != 1) ts_bind_range(ts__an(c), var[i], (ts_range){ts_int(c->ir, 0), pl->extent[i]});
    const ts_expr *v = ts_evar(c->ir, var[i]);
    value = value ? ts_add(c->ir, ts_mul(c->ir, value, pl->extent[i]), v) : v;
  }
  value = ts_simplify(ts__an(c), value);
  const ts_expr *guard = pl->guard ? ts_bin(c->ir, (ts_ekind)TS_E_LT, value, s->loop.extent) : NULL;
  ts_subst map = {.from = s->loop.var, .to = value};
  size_t mark = ts_analyzer_push(ts__an(c));
  if (guard) ts_assume(ts__an(c), guard);
  const ts_stmt *body = ts__subst_simplify(c, s->loop.body, &map, 1);
  ts_analyzer_pop(ts__an(c), mark);
  body = ts__guarded(c, body, guard);
  const ts_stmt **made = ts_new_array(c->a, const ts_stmt *, pl->n);
  for (int i = pl->n - 1; i >= 0; i--) made[i] = body = ts_for(c->ir, var[i], ts_int(c->ir, 0), pl->extent[i], TS_SERIAL, body);
  for (int i = 0; i < pl->n; i++) ts__result(c, 'l', made[i]->id, 0);
  c->out = ts__reinfer(c, ts__replace(c, loop, body));
  return true;
}
