// Traces without what nothing uses: look-ups and draws whose results no later step needs, look-ups made twice, names.
#include "schedule_impl.h"

typedef struct simplifier {
  ts_arena *a;
  const ts_trace *t;
  bool *keep;   // of each step
  bool *used;   // of each reference
  ts_rv *same;  // the reference that stands for each one
} simplifier;

static bool droppable(const ts_inst *i) { return ts_prim_get(i->prim)->flags & (TS_PRIM_PURE | TS_PRIM_SAMPLING); }

// Result k of a primitive by its row: "b", "l+".
static char result_kind(ts_prim p, int k) {
  const char *r = ts_prim_get(p)->results;
  size_t n = 0;
  for (; *r; r++) {
    if (*r == '+' || *r == ' ') continue;
    if ((int)n == k || r[1] == '+') return *r;
    n++;
  }
  return 'v';
}

// --- the same look-up twice ---------------------------------------------------------------------------------------
static ts_arg arg_resolve(const simplifier *s, ts_arg a) {
  if (a.kind == TS_ARG_RV) a.rv = s->same[a.rv];
  if (a.kind != TS_ARG_LIST || !a.list.n) return a;
  ts_arg *p = ts_new_array(s->a, ts_arg, a.list.n);
  for (int i = 0; i < a.list.n; i++) p[i] = arg_resolve(s, a.list.p[i]);
  a.list.p = p;
  return a;
}

static bool args_same(const simplifier *s, const ts_inst *x, const ts_inst *y) {
  if (x->prim != y->prim || x->nargs != y->nargs || x->nresults != y->nresults) return false;
  for (int k = 0; k < x->nargs; k++) {
    ts_arg p = arg_resolve(s, x->args[k]), q = arg_resolve(s, y->args[k]);
    if (!ts__arg_equal(&p, &q)) return false;
  }
  for (int k = 0; k < x->nresults; k++)
    if (x->results[k] < 0 && y->results[k] >= 0) return false;
  return true;
}

// Looks up what an earlier step looked up, with nothing changed since.
static void drop_repeated(simplifier *s) {
  int since = 0;
  for (int i = 0; i < s->t->n; i++) {
    const ts_inst *y = s->t->inst[i];
    if (!(ts_prim_get(y->prim)->flags & TS_PRIM_PURE)) {
      if (!(ts_prim_get(y->prim)->flags & TS_PRIM_SAMPLING)) since = i + 1;
      continue;
    }
    for (int j = since; j < i && s->keep[i]; j++) {
      if (!s->keep[j] || !args_same(s, s->t->inst[j], y)) continue;
      s->keep[i] = false;
      for (int k = 0; k < y->nresults; k++)
        if (y->results[k] >= 0) s->same[y->results[k]] = s->same[s->t->inst[j]->results[k]];
    }
  }
}

// --- what nothing uses ----------------------------------------------------------------------------------------------
static void use(simplifier *s, const ts_arg *a) {
  if (a->kind == TS_ARG_RV) s->used[s->same[a->rv]] = true;
  if (a->kind == TS_ARG_LIST)
    for (int i = 0; i < a->list.n; i++) use(s, &a->list.p[i]);
}

static void drop_unused(simplifier *s) {
  for (int i = s->t->n - 1; i >= 0; i--) {
    const ts_inst *x = s->t->inst[i];
    if (!s->keep[i]) continue;
    bool wanted = !droppable(x);
    for (int k = 0; k < x->nresults; k++) wanted |= x->results[k] >= 0 && s->used[x->results[k]];
    s->keep[i] = wanted;
    for (int k = 0; wanted && k < x->nargs; k++) use(s, &x->args[k]);
  }
}

// --- the new trace ---------------------------------------------------------------------------------------------------
typedef struct maker {
  ts__names names;
  ts_rv *to;     // reference of the old trace -> of the new one
  int count[3];  // of blocks, loops, integers
} maker;

static const char *canonical_name(const simplifier *s, maker *m, char kind) {
  int *n = &m->count[kind == 'b' ? 0 : kind == 'l' ? 1 : 2];
  return ts_arena_printf(s->a, "%c%d", kind == 'i' ? 'v' : kind, (*n)++);
}

static ts_arg arg_rename(const simplifier *s, const maker *m, ts_arg a) {
  if (a.kind == TS_ARG_RV) a.rv = m->to[s->same[a.rv]];
  if (a.kind != TS_ARG_LIST || !a.list.n) return a;
  ts_arg *p = ts_new_array(s->a, ts_arg, a.list.n);
  for (int i = 0; i < a.list.n; i++) p[i] = arg_rename(s, m, a.list.p[i]);
  a.list.p = p;
  return a;
}

static const ts_inst *step_make(const simplifier *s, maker *m, const ts_inst *x) {
  ts_inst *out = ts_arena_dup(s->a, x, sizeof *x);
  ts_arg *args = ts_new_array(s->a, ts_arg, x->nargs);
  ts_rv *res = ts_new_array(s->a, ts_rv, x->nresults);
  bool any = false;
  for (int k = 0; k < x->nargs; k++) args[k] = arg_rename(s, m, x->args[k]);
  for (int k = 0; k < x->nresults; k++) {
    res[k] = -1;
    if (x->results[k] < 0 || !s->used[x->results[k]]) continue;
    any = true;
    res[k] = m->to[x->results[k]] = (ts_rv)m->names.n;
    ts_vec_push(s->a, &m->names, canonical_name(s, m, result_kind(x->prim, k)));
  }
  out->line = 0;
  out->args = args;
  out->results = res;
  if (!any) out->nresults = 0;
  return out;
}

const ts_trace *ts_trace_simplify(ts_arena *a, const ts_trace *t) {
  simplifier s = {.a = a,
                  .t = t,
                  .keep = ts_new_array(a, bool, t->n),
                  .used = ts_new_array(a, bool, t->nrvs),
                  .same = ts_new_array(a, ts_rv, t->nrvs)};
  maker m = {.to = ts_new_array(a, ts_rv, t->nrvs)};
  for (int i = 0; i < t->n; i++) s.keep[i] = true;
  for (int i = 0; i < t->nrvs; i++) s.same[i] = i;
  drop_repeated(&s);
  drop_unused(&s);
  TS_VEC(const ts_inst *) inst = {0};
  for (int i = 0; i < t->n; i++)
    if (s.keep[i]) ts_vec_push(a, &inst, step_make(&s, &m, t->inst[i]));
  ts_trace *out = ts_new(a, ts_trace);
  *out = (ts_trace){.file = t->file, .n = (int)inst.n, .nrvs = (int)m.names.n, .inst = inst.p, .rv_name = m.names.p};
  return out;
}

const ts_trace *ts__trace_pick(ts_arena *a, const ts_trace *t, const bool *keep) {
  ts_trace *out = ts_arena_dup(a, t, sizeof *t);
  const ts_inst **inst = ts_new_array(a, const ts_inst *, t->n);
  out->n = 0;
  for (int i = 0; i < t->n; i++)
    if (keep[i]) inst[out->n++] = t->inst[i];
  out->inst = inst;
  return out;
}
