// merge i j : for i in 0..64 { B } ; for j in 0..64 { C }  ->  for i in 0..64 { B ; C }
// The loops stand in neighbouring nests, each at the same depth and of the same extents. Iterations of later nests now
// run before later iterations of earlier ones: no pair that changes its order may touch the same element.
#include "schedule/schedule_impl.h"

enum { MAX_NESTS = 16 };
typedef struct nest {
  int top;                         // child of the sequence
  int depth, loop[TS__MAX_DEPTH];  // outermost first, the named one last
} nest;
typedef struct plan {
  int n, seq, depth;
  nest nest[MAX_NESTS];
  const ts_stmt *body[MAX_NESTS];  // over the loops of the first nest
} plan;

// The innermost sequence that holds all loops, each in a child of its own.
static bool sequence_find(ts__ctx *c, plan *p) {
  const ts__val *v = &c->arg[0];
  for (int s = c->t->node[v->nodes[0]].parent; s >= 0; s = c->t->node[s].parent) {
    bool all = true;
    for (int i = 1; i < v->n; i++) all &= ts__under(c->t, v->nodes[i], s);
    if (!all) continue;
    p->seq = s;
    if (ts__stmt(c, s)->kind == TS_S_SEQ && c->t->node[s].scope == c->t->node[v->nodes[0]].scope) return true;
    break;
  }
  ts__refuse(c, TS_R_not_nested, 0, "loops {0} and {1} are not in nests of one scope that stand beside each other");
  ts__fact_node(c, v->nodes[0]);
  ts__fact_node(c, v->nodes[1]);
  return false;
}

// The loops from the child of the sequence down to the named one: a plain nest.
static bool nest_find(ts__ctx *c, const plan *p, int loop, nest *out) {
  int at = loop;
  for (; c->t->node[at].parent != p->seq; at = c->t->node[at].parent) continue;
  out->top = at;
  for (out->depth = 0; ts__is_loop(c, at) && out->depth < TS__MAX_DEPTH; at++) {
    TS_TRY(ts__plain_loop(c, 0, at));
    out->loop[out->depth++] = at;
    if (at == loop) return true;
  }
  ts__refuse(c, TS_R_not_only_child, 0, "loop {0} does not stand alone in its nest");
  ts__fact_node(c, loop);
  return false;
}

static bool neighbours(ts__ctx *c, const plan *p) {
  for (int i = 1; i < p->n; i++) {
    if (p->nest[i].top == c->t->node[p->nest[i - 1].top].end) continue;
    ts__refuse(c, TS_R_not_only_child, 0, "the nest of loop {1} does not come right after that of loop {0}");
    ts__fact_node(c, c->arg[0].nodes[i - 1]);
    ts__fact_node(c, c->arg[0].nodes[i]);
    ts__hint(c, "name the loops in the order of the text");
    return false;
  }
  return true;
}

static const ts_stmt *level(const ts__ctx *c, const plan *p, int which, int k) {
  return ts__stmt(c, p->nest[which].loop[k]);
}

// Nest i has the loops of nest 0 when their variables are the same.
static bool same_ranges(ts__ctx *c, plan *p, int i) {
  ts_subst m[TS__MAX_DEPTH];
  if (p->nest[i].depth != p->depth) {
    ts__refuse(c, TS_R_not_nested, 0, "loops {0} and {1} are at different depths of their nests");
    ts__fact_node(c, c->arg[0].nodes[0]);
    ts__fact_node(c, c->arg[0].nodes[i]);
    return false;
  }
  size_t mark = ts_analyzer_push(ts__an(c));
  int bad = -1;
  for (int k = 0; k < p->depth && bad < 0; k++) {
    const ts_stmt *a = level(c, p, 0, k), *b = level(c, p, i, k);
    if (ts_prove_eq(ts__an(c), a->loop.extent, ts_expr_subst(c->ir, b->loop.extent, m, k)) != TS_YES) bad = k;
    m[k] = (ts_subst){b->loop.var, ts_evar(c->ir, a->loop.var)};
    ts_bind_stmt(ts__an(c), a);
  }
  ts_analyzer_pop(ts__an(c), mark);
  if (bad < 0) {
    p->body[i] = ts_stmt_subst(c->ir, level(c, p, i, p->depth - 1)->loop.body, m, p->depth);
    return true;
  }
  ts__refuse(c, TS_R_dependent_extent, 0, "loops {0} and {1} do not provably have the same extent");
  ts__fact_node(c, p->nest[0].loop[bad]);
  ts__fact_node(c, p->nest[i].loop[bad]);
  return false;
}

// --- dependences
// -------------------------------------------------------------------------------------------------------- Some element
// that one of x and y writes and the other touches, NULL when there is none.
static const ts_buffer *conflict(ts__ctx *c, const ts_accesses *x, const ts_accesses *y) {
  for (int pass = 0; pass < 3; pass++) {
    const ts_region *p = pass == 2 ? x->reads : x->writes, *q = pass == 1 ? y->reads : y->writes;
    int np = pass == 2 ? x->nreads : x->nwrites, nq = pass == 1 ? y->nreads : y->nwrites;
    for (int i = 0; i < np; i++)
      for (int j = 0; j < nq; j++)
        if (p[i].buf == q[j].buf && ts_region_disjoint(ts__an(c), p[i], q[j]) != TS_YES) return p[i].buf;
  }
  return NULL;
}

static const ts_stmt *inner_loops(ts__ctx *c, const plan *p, int which, int from) {
  const ts_stmt *s = which ? p->body[which] : level(c, p, 0, p->depth - 1)->loop.body;
  for (int k = p->depth - 1; k >= from; k--) s = ts__loop_with(c, level(c, p, 0, k), s);
  return s;
}

// Iteration x of level k of the later nest now comes before the iterations x + 1, .. of the earlier one.
static const ts_buffer *turned(ts__ctx *c, const plan *p, int early, int late, int k) {
  const ts_stmt *loop = level(c, p, 0, k);
  ts_analyzer *an = ts__an(c);
  size_t mark = ts_analyzer_push(an);
  for (int i = 0; i <= k; i++) ts_bind_stmt(an, level(c, p, 0, i));
  ts_accesses y = ts_regions_of(an, inner_loops(c, p, late, k + 1), NULL, 0);
  const ts_var *v = ts_var_new(c->ir, loop->loop.var->name, TS_INDEX);
  const ts_expr *next = ts_add(c->ir, ts_evar(c->ir, loop->loop.var), ts_int(c->ir, 1));
  ts_subst m = {loop->loop.var, ts_evar(c->ir, v)};
  const ts_stmt *s = ts_stmt_subst(c->ir, inner_loops(c, p, early, k + 1), &m, 1);
  s = ts_for(c->ir, v, next, ts_sub(c->ir, loop->loop.extent, next), TS_SERIAL, s);
  ts_accesses x = ts_regions_of(an, s, NULL, 0);
  const ts_buffer *buf = conflict(c, &x, &y);
  ts_analyzer_pop(an, mark);
  return buf;
}

// Where regions are too coarse: no two iterations of the level touch a common element at all.
static bool iterations_apart(ts__ctx *c, const plan *p, int early, int late, int k, ts_dep *dep) {
  const ts_stmt *pair[2] = {inner_loops(c, p, early, k + 1), inner_loops(c, p, late, k + 1)};
  const ts_stmt *both = ts__loop_with(c, level(c, p, 0, k), ts_seq(c->ir, pair, 2));
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < k; i++) ts_bind_stmt(ts__an(c), level(c, p, 0, i));
  *dep = ts_loop_carried(ts__an(c), both, NULL, 0);
  ts_analyzer_pop(ts__an(c), mark);
  return dep->answer == TS_NO;
}

static bool order_free(ts__ctx *c, const plan *p, int early, int late) {
  for (int k = 0; k < p->depth; k++) {
    ts_dep dep;
    const ts_buffer *buf = turned(c, p, early, late, k);
    if (!buf || iterations_apart(c, p, early, late, k, &dep)) continue;
    bool between = dep.answer == TS_YES && !dep.reduction_only;
    ts__refuse(
        c, between ? TS_R_carried_dependence : TS_R_not_proved, 0,
        between
            ? "an iteration of loop {1} would run before one of loop {0} that touches the same element of {2}: {3}"
            : "iterations of loop {1} could not be shown to touch no element of {2} that later ones of loop {0} touch");
    ts__fact_node(c, p->nest[early].loop[k]);
    ts__fact_node(c, p->nest[late].loop[k]);
    ts__fact_s(c, buf->name);
    ts__fact_s(c, ts_arena_strdup(c->a, dep.why));
    if (between && dep.has_witness) ts__witness(c, level(c, p, 0, k)->loop.var->name, dep.first, dep.second);
    return false;
  }
  return true;
}

bool ts__check_merge(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->n = c->arg[0].n;
  if (p->n < 2 || p->n > MAX_NESTS) return ts__refuse(c, TS_R_bad_argument, 0, "2 to 16 loops are needed");
  TS_TRY(sequence_find(c, p));
  for (int i = 0; i < p->n; i++) TS_TRY(nest_find(c, p, c->arg[0].nodes[i], &p->nest[i]));
  TS_TRY(neighbours(c, p));
  p->depth = p->nest[0].depth;
  ts__enter(c, p->seq);
  for (int i = 1; i < p->n; i++) TS_TRY(same_ranges(c, p, i));
  for (int i = 0; i < p->n; i++)
    for (int j = i + 1; j < p->n; j++) TS_TRY(order_free(c, p, i, j));
  return true;
}

bool ts__apply_merge(ts__ctx *c) {
  plan *p = c->plan;
  p->body[0] = level(c, p, 0, p->depth - 1)->loop.body;
  const ts_stmt *s = ts_seq(c->ir, p->body, p->n);
  for (int k = p->depth - 1; k >= 0; k--) {
    s = ts__loop_with(c, level(c, p, 0, k), s);
    if (k == p->depth - 1) ts__result(c, 'l', s->id, 0);
  }
  ts__edit e[MAX_NESTS];
  for (int i = 0; i < p->n; i++) e[i] = (ts__edit){p->nest[i].top, i ? NULL : s};
  c->out = ts__reinfer(c, ts__replace_all(c, e, p->n));
  return true;
}
