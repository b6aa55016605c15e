// tunesmith schedule: traces simplified, minimised and compared.
#include "cli/schedule.h"

static void trace_show(const ts_trace *t) {
  ts_text out = {0};
  ts_trace_print(&out, t);
  fputs(ts_text_str(&out), stdout);
  ts_text_free(&out);
}

// Both make the same function, or it is a fault of this program.
static bool same_function(const ts__work *w, const ts_trace *t, ts_diag *d) {
  ts_sched *s = ts_sched_new(w->ir, w->f, 0);
  ts_replay r = {.strict = true};
  TS_TRY(ts_sched_replay_trace(s, t, &r, d));
  return ts_func_equal(ts_sched_func(s), ts_sched_func(w->s)) ||
         ts_bug(d, "trace-changed", "the shorter trace makes another function");
}

bool ts__work_reduced(const ts__work *w, ts_diag *d) {
  const ts_trace *whole = ts_sched_trace(w->s), *t;
  int tries = 0;
  t = w->o->minimise ? ts_trace_minimise(w->f, whole, w->a, &tries, d) : ts_trace_simplify(w->a, whole);
  TS_TRY(t && same_function(w, t, d));
  trace_show(t);
  if (tries) ts_say("%d steps of %d remain after %d replays", t->n, whole->n, tries);
  else ts_say("%d steps of %d remain", t->n, whole->n);
  return true;
}

static void row_show(const ts_trace *x, const ts_trace *y, const ts_delta_row *r) {
  static const char mark[] = {' ', '-', '-', '+'};
  ts_text t = {0};
  ts_text_addf(&t, "%c ", mark[r->kind]);
  if (r->kind == TS_DELTA_ADDED)
    ts_inst_print(&t, y, y->inst[r->b]);
  else
    ts_inst_print(&t, x, x->inst[r->a]);
  if (r->kind == TS_DELTA_CHANGED) {
    ts_text_add(&t, "\n+ ");
    ts_inst_print(&t, y, y->inst[r->b]);
  }
  puts(ts_text_str(&t));
  ts_text_free(&t);
}

static ts_sched *replayed(const ts__work *w, const ts_trace *t, ts_diag *d) {
  ts_sched *s = ts_sched_new(w->ir, w->f, (uint64_t)w->o->seed);
  if (ts_sched_replay_trace(s, t, NULL, d)) return s;
  if (ts_sched_refusal(s)->code != TS_R_none) ts__refusal_show(stderr, s, t->file, NULL);
  return NULL;
}

// Where the functions part, with the steps there.
static bool functions_compare(const ts__work *w, const ts_trace *x, const ts_trace *y, const ts_trace_delta *delta,
                              ts_diag *d) {
  ts_sched *p = replayed(w, x, d), *q = p ? replayed(w, y, d) : NULL;
  int row;
  TS_TRY(q != NULL);
  if (!ts_trace_diverge(p, q, delta, &row)) return puts("the functions are the same"), true;
  const ts_delta_row *r = &delta->row[row];
  printf("the functions differ from here on:");
  if (r->a >= 0) printf(" %s:%d", x->file, x->inst[r->a]->line);
  if (r->b >= 0) printf(" %s:%d", y->file, y->inst[r->b]->line);
  putchar('\n');
  row_show(x, y, r);
  return true;
}

bool ts__traces_compare(ts_arena *a, ts__work *w, const char *from, const char *to, int *code, ts_diag *d) {
  ts__work files = {.a = a};
  const ts_trace *x = ts__work_trace(&files, from, d), *y = x ? ts__work_trace(&files, to, d) : NULL;
  ts_trace_delta delta;
  TS_TRY(y && ts_trace_diff(a, x, y, &delta, d));
  for (int i = 0; i < delta.n; i++) row_show(x, y, &delta.row[i]);
  printf("%d the same, %d changed, %d removed, %d added\n", delta.count[TS_DELTA_SAME], delta.count[TS_DELTA_CHANGED],
         delta.count[TS_DELTA_REMOVED], delta.count[TS_DELTA_ADDED]);
  if (delta.count[TS_DELTA_SAME] != delta.n) *code = 1;
  return !w || functions_compare(w, x, y, &delta, d);
}
