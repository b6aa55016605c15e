// reorder j i : for i { for k { for j { B } } } -> for j { for k { for i { B } } }
// The named loops of one nest take the given order among themselves; the others keep their places.
#include "schedule/schedule_impl.h"

typedef struct plan {
  int n;          // loops of the nest from the outermost named to the innermost named one
  int nest[TS__MAX_DEPTH];
  int order[TS__MAX_DEPTH];
} plan;

static bool named(const ts__ctx *c, int node) {
  for (int i = 0; i < c->arg[0].n; i++)
    if (c->arg[0].nodes[i] == node) return true;
  return false;
}

static bool encloses_rest(const ts__ctx *c) {
  const ts__val *v = &c->arg[0];
  for (int i = 1; i < v->n; i++)
    if (v->nodes[i] == v->nodes[0] || !ts__under(c->t, v->nodes[i], v->nodes[0])) return false;
  return v->n > 1;
}

// Loops at the head of the list that enclose all after them stay where they are, whatever else they hold.
static void drop_fixed(ts__ctx *c) {
  for (; encloses_rest(c); c->arg[0].nodes++) c->arg[0].n--;
}

static bool distinct(ts__ctx *c) {
  const ts__val *v = &c->arg[0];
  if (v->n < 2) return ts__refuse(c, TS_R_bad_argument, 0, "at least two loops are needed");
  for (int i = 0; i < v->n; i++)
    for (int j = 0; j < i; j++) {
      if (v->nodes[i] != v->nodes[j]) continue;
      ts__refuse(c, TS_R_repeated_loop, 0, "loop {0} is named twice");
      ts__fact_node(c, v->nodes[i]);
      return false;
    }
  return true;
}

// The nest from the outermost to the innermost named loop: every statement on the way is a loop with one child.
static bool nest_find(ts__ctx *c, plan *p) {
  int top = c->arg[0].nodes[0], low = top, found = 0;
  for (int i = 0; i < c->arg[0].n; i++) {
    int l = c->arg[0].nodes[i];
    if (ts__under(c->t, top, l)) top = l;
    if (ts__under(c->t, l, low)) low = l;
  }
  for (int x = top;; x++) {
    if (!ts__is_loop(c, x) || p->n == TS__MAX_DEPTH) break;
    p->nest[p->n++] = x;
    found += named(c, x);
    if (x == low) break;
  }
  if (found == c->arg[0].n) return true;
  for (int i = 0; i < c->arg[0].n; i++) {
    int l = c->arg[0].nodes[i];
    bool in = false;
    for (int k = 0; k < p->n; k++) in |= p->nest[k] == l;
    if (in) continue;
    ts__refuse(c, ts__under(c->t, l, top) ? TS_R_not_only_child : TS_R_not_nested, 0,
               "loops {0} and {1} are not in one nest where each loop holds only the next");
    ts__fact_node(c, top);
    ts__fact_node(c, l);
    break;
  }
  return false;
}

static void order_make(ts__ctx *c, plan *p) {
  int next = 0;
  for (int i = 0; i < p->n; i++) p->order[i] = named(c, p->nest[i]) ? c->arg[0].nodes[next++] : p->nest[i];
}

static bool ranges_check(ts__ctx *c, const plan *p) {
  for (int i = 0; i < p->n; i++)
    for (int j = i + 1; j < p->n; j++) {
      const ts_stmt *out = ts__stmt(c, p->order[i]), *in = ts__stmt(c, p->order[j]);
      if (!ts_expr_uses_var(out->loop.extent, in->loop.var) && !ts_expr_uses_var(out->loop.min, in->loop.var)) continue;
      ts__refuse(c, TS_R_dependent_extent, 0, "the range of loop {0} depends on loop {1}, which would end up inside it");
      ts__fact_node(c, p->order[i]);
      ts__fact_node(c, p->order[j]);
      return false;
    }
  return true;
}

// A reduction starts where its reduce iterators are at their minimum, which must stay the first instance for every element. Loops
// that feed only reduce iterators may trade places; once one feeds both kinds, none of those that feed the reduction may.
static bool starts_stay(ts__ctx *c, const plan *p) {
  for (int i = p->nest[0]; i < c->t->node[p->nest[0]].end; i++) {
    if (!ts__is_block(c, i) || ts__spatial_only(ts__block(c, i)) || c->t->node[i].scope != c->t->node[p->nest[0]].scope) continue;
    int before[TS__MAX_DEPTH], after[TS__MAX_DEPTH], nb = 0, na = 0;
    bool mixed = false;
    for (int k = 0; k < p->n; k++) {
      bool s, r;
      ts__feeds(c, i, p->nest[k], &s, &r);
      mixed |= s && r;
      if (r) before[nb++] = p->nest[k];
      ts__feeds(c, i, p->order[k], &s, &r);
      if (r) after[na++] = p->order[k];
    }
    for (int k = 0; mixed && k < nb; k++) {
      if (before[k] == after[k]) continue;
      ts__refuse(c, TS_R_not_separable, 0, "loop {0} feeds spatial and reduce iterators of block {1}, whose first instance would not stay the first");
      ts__fact_node(c, before[k]);
      ts__fact_node(c, i);
      return false;
    }
  }
  return true;
}

// Only the loops between the first and the last that move change places.
static bool dependences_check(ts__ctx *c, const plan *p) {
  const ts_stmt *nest[TS__MAX_DEPTH];
  ts_dep dep[TS__MAX_DEPTH];
  for (int i = 0; i < p->n; i++) nest[i] = ts__stmt(c, p->nest[i]);
  ts__enter(c, p->nest[0]);
  ts_nest_carried(ts__an(c), nest, p->n, dep);
  int carried[TS__MAX_DEPTH], n = 0;
  bool reductions = true;
  for (int i = 0; i < p->n; i++) {
    if (dep[i].answer == TS_NO) continue;
    carried[n++] = i;
    reductions &= dep[i].reduction_only;
  }
  if (n <= 1 || reductions) return true;
  int bad = carried[0];
  for (int i = 0; i < n; i++)
    if (!dep[carried[i]].reduction_only) bad = carried[i];
  int other = bad == carried[0] ? carried[1] : carried[0];
  ts__refuse(c, dep[bad].answer == TS_YES ? TS_R_carried_dependence : TS_R_not_proved, 0,
             "loops {0} and {1} both carry dependences: {2}");
  ts__fact_node(c, p->nest[bad]);
  ts__fact_node(c, p->nest[other]);
  ts__fact_s(c, ts_arena_strdup(c->a, dep[bad].why));
  if (dep[bad].has_witness) ts__witness(c, nest[bad]->loop.var->name, dep[bad].first, dep[bad].second);
  return false;
}

// Are the loops in order already?
static bool moves(const plan *p) {
  for (int i = 0; i < p->n; i++)
    if (p->order[i] != p->nest[i]) return true;
  return false;
}

bool ts__check_reorder(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  TS_TRY(distinct(c));
  drop_fixed(c);
  TS_TRY(nest_find(c, p));
  order_make(c, p);
  if (!moves(p)) return true;
  TS_TRY(ranges_check(c, p));
  for (int i = 0; i < p->n; i++) {
    ts_loop_kind k = ts__stmt(c, p->nest[i])->loop.kind;
    if (k == TS_SERIAL || k == TS_UNROLL || p->order[i] == p->nest[i]) continue;
    ts__refuse(c, TS_R_loop_not_serial, 0, "loop {0} is already {1}");
    ts__fact_node(c, p->nest[i]);
    ts__fact_s(c, ts_loop_kind_name(k));
    return false;
  }
  TS_TRY(ts__instances_once(c, 0, p->nest[0]));
  TS_TRY(starts_stay(c, p));
  return ts__one_clean_block(c, p->nest[0]) || dependences_check(c, p);
}

bool ts__apply_reorder(ts__ctx *c) {
  const plan *p = c->plan;
  if (!moves(p)) return true;
  const ts_stmt *body = ts__stmt(c, p->nest[p->n - 1])->loop.body;
  for (int i = p->n - 1; i >= 0; i--) body = ts__loop_with(c, ts__stmt(c, p->order[i]), body);
  c->out = ts__replace(c, p->nest[0], body);
  return true;
}
