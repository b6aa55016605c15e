// pipeline k [0, 0, 1] : for k in 0..4 { copy a; copy b; use both } -> for k in 0..4 [pipeline_stage = "0 0 1", ..] { .. }
// Iterations overlap: statement i of the body runs stages[i] iterations later, so that copies for one iteration are under way while an
// earlier one computes. Lowering makes the overlap, and as many versions of each buffer of an iteration as are in use at a time. Of
// statements that run at a time, those of earlier iterations come first, unless the order is given (a place for each statement).
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts_pipeline p;
} plan;

static bool list_fits(ts__ctx *c, int arg, int n) {
  const ts__val *v = &c->arg[arg];
  if (v->n != n) {
    ts__refuse(c, TS_R_bad_argument, arg, "the body of loop {0} has {1} statements and {2} numbers are given");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_i(c, n);
    ts__fact_i(c, v->n);
    return false;
  }
  return true;
}

static bool stages_fit(ts__ctx *c, int n) {
  const ts__val *v = &c->arg[1];
  int64_t first = n ? v->ints[0] : 0;
  for (int i = 0; i < n; i++) {
    if (v->ints[i] < 0 || v->ints[i] > TS_PIPELINE_STAGES) {
      ts__refuse(c, TS_R_bad_argument, 1, "stage {0} is not in 0..{1}");
      ts__fact_i(c, v->ints[i]);
      ts__fact_i(c, TS_PIPELINE_STAGES);
      return false;
    }
    first = TS_MIN(first, v->ints[i]);
  }
  if (first == 0) return true;
  return ts__refuse(c, TS_R_bad_argument, 1, "no statement is of stage 0");
}

static bool order_fits(ts__ctx *c, int n) {
  const ts__val *v = &c->arg[2];
  bool *seen = ts_new_array(c->a, bool, n);
  for (int i = 0; i < n; i++) {
    if (v->ints[i] < 0 || v->ints[i] >= n || seen[v->ints[i]])
      return ts__refuse(c, TS_R_bad_argument, 2, "the order does not give every statement a place of its own");
    seen[v->ints[i]] = true;
  }
  return true;
}

// Later stages first, which are those of earlier iterations; then as in the text.
static int place_of(const ts__ctx *c, int n, int i) {
  const int64_t *stage = c->arg[1].ints;
  int at = 0;
  for (int k = 0; k < n; k++) at += stage[k] > stage[i] || (stage[k] == stage[i] && k < i);
  return at;
}

static const char *child_name(const ts_stmt *s) {
  while (s->kind == TS_S_FOR) s = s->loop.body;
  return ts__node_name(s);
}

static bool legal(ts__ctx *c, const ts_pipeline *p) {
  ts_pipeline_fault f;
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, c->arg[0].node);
  bool ok = ts_pipeline_legal(ts__an(c), p, &f);
  ts_analyzer_pop(ts__an(c), mark);
  if (ok) return true;
  ts__refuse(c, TS_R_carried_dependence, 1,
             f.carried ? "{1} and {2} of different iterations of loop {0} would change places, and both touch {3}"
                       : "{1} and {2} of one iteration of loop {0} would change places, and both touch {3}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, child_name(p->child[f.first]));
  ts__fact_s(c, child_name(p->child[f.second]));
  ts__fact_s(c, f.buf->name);
  if (f.carried) ts__hint(c, "what is written anew in every iteration can be a buffer of the iteration: cache_read, cache_write or set_scope, and compute_at {0}");
  return false;
}

bool ts__check_pipeline(ts__ctx *c) {
  int loop = c->arg[0].node;
  plan *x = ts_new(c->a, plan);
  c->plan = x;
  ts_loop_kind kind = ts__stmt(c, loop)->loop.kind;
  if (kind != TS_SERIAL && kind != TS_UNROLL) return ts__kind_free(c, loop);
  x->p.loop = ts__stmt(c, loop);
  x->p.child = ts_pipeline_body(c->ir, x->p.loop, &x->p.n);
  int *stage = ts_new_array(c->a, int, x->p.n), *order = ts_new_array(c->a, int, x->p.n);
  TS_TRY(list_fits(c, 1, x->p.n) && stages_fit(c, x->p.n));
  if (c->arg[2].given) TS_TRY(list_fits(c, 2, x->p.n) && order_fits(c, x->p.n));
  for (int i = 0; i < x->p.n; i++) {
    stage[i] = (int)c->arg[1].ints[i];
    order[i] = c->arg[2].given ? (int)c->arg[2].ints[i] : place_of(c, x->p.n, i);
  }
  x->p.stage = stage;
  x->p.order = order;
  const ts_buffer **own;
  x->p.nown = ts__private_buffers(c, loop, &own);
  x->p.own = own;
  return legal(c, &x->p);
}

static const char *as_text(ts__ctx *c, const int *v, int n) {
  ts_text t = {0};
  for (int i = 0; i < n; i++) ts_text_addf(&t, "%s%d", i ? " " : "", v[i]);
  const char *s = ts_arena_strdup(c->a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

bool ts__apply_pipeline(ts__ctx *c) {
  const plan *x = c->plan;
  ts_notes n = ts__notes_of(c, c->arg[0].node);
  n = ts_notes_with(c->a, n, (ts_note){.key = "pipeline_stage", .kind = TS_NOTE_STR, .s = as_text(c, x->p.stage, x->p.n)});
  n = ts_notes_with(c->a, n, (ts_note){.key = "pipeline_order", .kind = TS_NOTE_STR, .s = as_text(c, x->p.order, x->p.n)});
  return ts__notes_set(c, c->arg[0].node, n);
}
