// The fewest steps that still make the same function: halves, smaller and smaller parts, single steps, pairs.
#include "schedule_impl.h"

typedef struct minimiser {
  ts_arena *a;
  const ts_func *f;     // as written
  const ts_func *want;  // what the steps make of it
  const ts_trace *t;
  bool *keep, *next;
  const int *maker;  // of each reference: the step that makes it
  int tries;
} minimiser;

static const int *makers(ts_arena *a, const ts_trace *t) {
  int *m = ts_new_array(a, int, t->nrvs);
  for (int i = 0; i < t->n; i++)
    for (int k = 0; k < t->inst[i]->nresults; k++)
      if (t->inst[i]->results[k] >= 0) m[t->inst[i]->results[k]] = i;
  return m;
}

static bool made(const minimiser *m, const ts_arg *a) {
  if (a->kind == TS_ARG_RV) return m->next[m->maker[a->rv]];
  if (a->kind != TS_ARG_LIST) return true;
  for (int i = 0; i < a->list.n; i++)
    if (!made(m, &a->list.p[i])) return false;
  return true;
}

// Steps that need what a dropped step makes are dropped as well.
static void close_over(minimiser *m) {
  for (int i = 0; i < m->t->n; i++)
    for (int k = 0; m->next[i] && k < m->t->inst[i]->nargs; k++) m->next[i] = made(m, &m->t->inst[i]->args[k]);
}

// Do the steps of `next` make the same function?
static bool enough(minimiser *m) {
  ts_arena *a = ts_arena_new("minimise");
  ts_ir *ir = ts_ir_new(a);
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, m->f), 0);
  m->tries++;
  bool same = ts_sched_replay_trace(s, ts__trace_pick(a, m->t, m->next), NULL, NULL) &&
              ts_func_equal(ts_sched_func(s), m->want);
  ts_arena_free(a);
  return same;
}

// Without these steps (numbers from first to last, only `first` and `last` when pair)?
static bool try_without(minimiser *m, int first, int last, bool pair) {
  memcpy(m->next, m->keep, sizeof *m->keep * (size_t)m->t->n);
  bool any = false;
  for (int i = first; i <= last; i++) {
    if ((pair && i != first && i != last) || !m->next[i]) continue;
    m->next[i] = false;
    any = true;
  }
  if (!any) return false;
  close_over(m);
  if (!enough(m)) return false;
  memcpy(m->keep, m->next, sizeof *m->keep * (size_t)m->t->n);
  return true;
}

static bool sweep(minimiser *m, int size) {
  bool any = false;
  for (int first = m->t->n - 1; first >= 0; first -= size) {
    int from = TS_MAX(first - size + 1, 0);
    any |= try_without(m, from, first, false);
  }
  return any;
}

// A step and a later one that undoes it: neither can go alone.
static bool pairs(minimiser *m) {
  enum { FAR = 40 };  // steps apart
  for (int i = 0; i < m->t->n; i++) {
    if (!m->keep[i] || ts_prim_get(m->t->inst[i]->prim)->flags & TS_PRIM_PURE) continue;
    for (int j = i + 1; j < m->t->n && j <= i + FAR; j++) {
      if (!m->keep[j] || ts_prim_get(m->t->inst[j]->prim)->flags & TS_PRIM_PURE) continue;
      if (try_without(m, i, j, true)) return true;
    }
  }
  return false;
}

const ts_trace *ts_trace_minimise(const ts_func *f, const ts_trace *t, ts_arena *a, int *tries, ts_diag *d) {
  ts_ir *ir = ts_ir_new(a);
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, f), 0);
  if (!ts_sched_replay_trace(s, t, NULL, d)) return NULL;
  const ts_trace *whole = ts_trace_simplify(a, ts_sched_trace(s));  // decisions as drawn
  minimiser m = {.a = a,
                 .f = f,
                 .want = ts_sched_func(s),
                 .t = whole,
                 .keep = ts_new_array(a, bool, whole->n),
                 .next = ts_new_array(a, bool, whole->n),
                 .maker = makers(a, whole)};
  for (int i = 0; i < whole->n; i++) m.keep[i] = true;
  for (int size = (whole->n + 1) / 2; size > 1; size /= 2) sweep(&m, size);
  do
    while (sweep(&m, 1)) continue;
  while (pairs(&m));
  if (tries) *tries = m.tries;
  return ts_trace_simplify(a, ts__trace_pick(a, whole, m.keep));
}
