// What two traces do differently: steps aligned by the heaviest common subsequence, then compared with references taken
// as what they stand for.
#include "schedule_impl.h"

typedef struct differ {
  ts_arena *a;
  const ts_trace *t[2];
  uint64_t *rv[2];  // of each reference: what kind of thing it is, whatever its factors
  ts_rv *pair;      // reference of the first trace -> that of the second one that aligned steps give
} differ;

// --- what a reference is, roughly ---------------------------------------------------------------------------------
// The step that makes it, which result it is, and the references that the step takes. Literals count for look-ups only:
// the loops of a split are those loops whatever the factors.
static uint64_t arg_path(const differ *x, int side, const ts_arg *a, bool literals, uint64_t h) {
  if (a->kind == TS_ARG_RV) return ts_hash_mix(h, x->rv[side][a->rv]);
  if (a->kind == TS_ARG_LIST) {
    for (int i = 0; i < a->list.n; i++) h = arg_path(x, side, &a->list.p[i], literals, h);
    return h;
  }
  if (!literals) return h;
  if (a->kind == TS_ARG_STR || a->kind == TS_ARG_WORD) return ts_hash64(a->s, strlen(a->s), h);
  return ts_hash_mix(h, a->kind == TS_ARG_INT ? (uint64_t)a->i : a->kind);
}

static void paths(differ *x, int side) {
  const ts_trace *t = x->t[side];
  x->rv[side] = ts_new_array(x->a, uint64_t, t->nrvs);
  for (int i = 0; i < t->n; i++) {
    const ts_inst *s = t->inst[i];
    uint64_t h = ts_hash_mix(7, s->prim);
    bool look = ts_prim_get(s->prim)->flags & TS_PRIM_PURE;
    for (int k = 0; k < s->nargs; k++) h = arg_path(x, side, &s->args[k], look, h);
    for (int k = 0; k < s->nresults; k++)
      if (s->results[k] >= 0) x->rv[side][s->results[k]] = ts_hash_mix(h, (uint64_t)k);
  }
}

// --- how alike two steps are ----------------------------------------------------------------------------------------
static bool refs_alike(const differ *x, const ts_arg *p, const ts_arg *q) {
  if (p->kind == TS_ARG_RV && q->kind == TS_ARG_RV) return x->rv[0][p->rv] == x->rv[1][q->rv];
  if (p->kind != TS_ARG_LIST || q->kind != TS_ARG_LIST) return (p->kind == TS_ARG_RV) == (q->kind == TS_ARG_RV);
  int n = TS_MIN(p->list.n, q->list.n);
  for (int i = 0; i < n; i++)
    if (!refs_alike(x, &p->list.p[i], &q->list.p[i])) return false;
  return true;
}

static bool literals_same(const ts_arg *p, const ts_arg *q) {
  if (p->kind == TS_ARG_RV || q->kind == TS_ARG_RV) return p->kind == q->kind;
  if (p->kind != TS_ARG_LIST || q->kind != TS_ARG_LIST) return ts__arg_equal(p, q);
  if (p->list.n != q->list.n) return false;
  for (int i = 0; i < p->list.n; i++)
    if (!literals_same(&p->list.p[i], &q->list.p[i])) return false;
  return true;
}

static bool decisions_same(const ts_inst *p, const ts_inst *q) {
  return p->ndecision == q->ndecision &&
         (!p->ndecision || !memcmp(p->decision, q->decision, sizeof *p->decision * (size_t)p->ndecision));
}

static int alike(const differ *x, const ts_inst *p, const ts_inst *q) {
  if (p->prim != q->prim) return 0;
  bool refs = p->nargs == q->nargs, literals = p->nargs == q->nargs && decisions_same(p, q);
  for (int k = 0; k < p->nargs && k < q->nargs; k++) {
    refs &= refs_alike(x, &p->args[k], &q->args[k]);
    literals &= literals_same(&p->args[k], &q->args[k]);
  }
  return 1 + 2 * refs + literals;
}

// --- aligning --------------------------------------------------------------------------------------------------------
// best[i][j]: the heaviest alignment of the steps from i of the one and from j of the other.
static void align(differ *x, ts_trace_delta *out, ts_delta_row *row) {
  int n = x->t[0]->n, m = x->t[1]->n, w = m + 1;
  int *best = ts_new_array(x->a, int, (size_t)(n + 1) * (size_t)w);
  for (int i = n - 1; i >= 0; i--)
    for (int j = m - 1; j >= 0; j--) {
      int same = alike(x, x->t[0]->inst[i], x->t[1]->inst[j]);
      int take = same ? same + best[(i + 1) * w + j + 1] : 0;
      best[i * w + j] = TS_MAX(take, TS_MAX(best[(i + 1) * w + j], best[i * w + j + 1]));
    }
  for (int i = 0, j = 0; i < n || j < m;) {
    int same = i < n && j < m ? alike(x, x->t[0]->inst[i], x->t[1]->inst[j]) : 0;
    if (same && best[i * w + j] == same + best[(i + 1) * w + j + 1])
      row[out->n++] = (ts_delta_row){TS_DELTA_SAME, i++, j++};
    else if (j >= m || (i < n && best[(i + 1) * w + j] >= best[i * w + j + 1]))
      row[out->n++] = (ts_delta_row){TS_DELTA_REMOVED, i++, -1};
    else
      row[out->n++] = (ts_delta_row){TS_DELTA_ADDED, -1, j++};
  }
}

// --- comparing aligned steps
// -------------------------------------------------------------------------------------------
static bool arg_same(const differ *x, const ts_arg *p, const ts_arg *q) {
  if (p->kind == TS_ARG_RV && q->kind == TS_ARG_RV) return x->pair[p->rv] == q->rv;
  if (p->kind != TS_ARG_LIST || q->kind != TS_ARG_LIST) return ts__arg_equal(p, q);
  if (p->list.n != q->list.n) return false;
  for (int i = 0; i < p->list.n; i++)
    if (!arg_same(x, &p->list.p[i], &q->list.p[i])) return false;
  return true;
}

static bool step_same(const differ *x, const ts_inst *p, const ts_inst *q) {
  if (p->nargs != q->nargs || !decisions_same(p, q)) return false;
  for (int k = 0; k < p->nargs; k++)
    if (!arg_same(x, &p->args[k], &q->args[k])) return false;
  return true;
}

static void judge(differ *x, ts_trace_delta *out, ts_delta_row *row) {
  for (int r = 0; r < out->n; r++) {
    if (row[r].kind == TS_DELTA_SAME) {
      const ts_inst *p = x->t[0]->inst[row[r].a], *q = x->t[1]->inst[row[r].b];
      if (!step_same(x, p, q)) row[r].kind = TS_DELTA_CHANGED;
      for (int k = 0; k < p->nresults && k < q->nresults; k++)
        if (p->results[k] >= 0) x->pair[p->results[k]] = q->results[k];
    }
    out->count[row[r].kind]++;
  }
}

bool ts_trace_diff(ts_arena *a, const ts_trace *from, const ts_trace *to, ts_trace_delta *out, ts_diag *d) {
  enum { MOST = 4000 };
  if (from->n > MOST || to->n > MOST)
    return ts_refuse(d, "too-many-steps", "%s: traces of up to %d steps are compared",
                     from->n > MOST ? from->file : to->file, MOST);
  differ x = {.a = a, .t = {from, to}, .pair = ts_new_array(a, ts_rv, from->nrvs)};
  for (int i = 0; i < from->nrvs; i++) x.pair[i] = -2;
  *out = (ts_trace_delta){0};
  ts_delta_row *row = ts_new_array(a, ts_delta_row, from->n + to->n);
  out->row = row;
  paths(&x, 0);
  paths(&x, 1);
  align(&x, out, row);
  judge(&x, out, row);
  return true;
}

bool ts_trace_diverge(const ts_sched *x, const ts_sched *y, const ts_trace_delta *delta, int *row) {
  int i = 0, j = 0;
  *row = -1;
  for (int r = 0; r < delta->n; r++) {
    i += delta->row[r].a >= 0;
    j += delta->row[r].b >= 0;
    bool same = ts_func_equal(ts_sched_func_at(x, i), ts_sched_func_at(y, j));
    if (same)
      *row = -1;
    else if (*row < 0)
      *row = r;
  }
  return *row >= 0;
}
