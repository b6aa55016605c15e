// Replaying a trace on a fresh or changed function: every step is applied, adapted or refused, and said to be so.
#include "schedule_impl.h"

typedef struct replay {
  ts_sched *s;
  const ts_trace *t;
  ts_rv *map;          // reference of the trace -> reference of the schedule, -1: its step did not run
  ts_replay *r;
  ts_step_report *report;
} replay;

// a with the schedule's references; false when it needs one that a refused step did not make.
static bool arg_map(replay *p, ts_arg a, ts_arg *out, ts_rv *missing) {
  *out = a;
  if (a.kind == TS_ARG_RV) {
    out->rv = p->map[a.rv];
    *missing = a.rv;
    return out->rv >= 0;
  }
  if (a.kind != TS_ARG_LIST || !a.list.n) return true;
  ts_arg *v = ts_new_array(p->s->arena, ts_arg, a.list.n);
  for (int i = 0; i < a.list.n; i++) TS_TRY(arg_map(p, a.list.p[i], &v[i], missing));
  out->list.p = v;
  return true;
}

static void say(replay *p, int step, ts_outcome o, const char *note) {
  ts_replay *r = p->r;
  if (!r) return;
  p->report[step] = (ts_step_report){.line = p->t->inst[step]->line, .outcome = o, .note = note};
  r->n = step + 1;
  r->applied += o == TS_STEP_APPLIED;
  r->adapted += o == TS_STEP_ADAPTED;
  r->refused += o == TS_STEP_REFUSED;
  r->skipped += o == TS_STEP_SKIPPED;
}

static const char *refusal_note(const ts_sched *s) {
  ts_text t = {0};
  ts_refusal_line(&t, &s->refusal);
  ts_text_addf(&t, " [%s]", ts_rcode_name(s->refusal.code));
  const char *note = ts_arena_strdup(s->arena, ts_text_str(&t));
  ts_text_free(&t);
  return note;
}

static void results_map(replay *p, const ts_inst *i) {
  const ts_inst *done = p->s->inst.p[p->s->inst.n - 1];
  for (int k = 0; k < i->nresults; k++)
    if (i->results[k] >= 0) p->map[i->results[k]] = done->results[k];
}

// One step. True when it ran, was adapted, or could be passed over.
static bool step_run(replay *p, int step, ts_diag *d) {
  const ts_inst *i = p->t->inst[step];
  ts_arena *a = p->s->arena;
  ts_inst mapped = *i;
  ts_arg *args = ts_new_array(a, ts_arg, i->nargs);
  ts_rv missing = -1;
  for (int k = 0; k < i->nargs; k++) {
    if (arg_map(p, i->args[k], &args[k], &missing)) continue;
    say(p, step, TS_STEP_SKIPPED, p->r ? ts_arena_printf(a, "needs %s of a refused step", p->t->rv_name[missing]) : NULL);
    return true;
  }
  mapped.args = args;
  ts__run how = {.strict = p->r && p->r->strict, .nnames = i->nresults, .names = ts__result_names(a, i, p->t->rv_name),
                 .file = p->t->file, .line = i->line};
  if (!ts__run_inst(p->s, &mapped, &how, d)) {
    say(p, step, TS_STEP_REFUSED, p->r ? refusal_note(p->s) : NULL);
    return false;
  }
  results_map(p, i);
  say(p, step, how.adapted ? TS_STEP_ADAPTED : TS_STEP_APPLIED, how.adapted);
  return true;
}

bool ts_sched_replay_trace(ts_sched *s, const ts_trace *t, ts_replay *r, ts_diag *d) {
  replay p = {.s = s, .t = t, .r = r, .map = ts_new_array(s->arena, ts_rv, t->nrvs)};
  for (int i = 0; i < t->nrvs; i++) p.map[i] = -1;
  if (r) {
    *r = (ts_replay){.strict = r->strict, .keep_going = r->keep_going};
    r->step = p.report = ts_new_array(s->arena, ts_step_report, t->n);
  }
  bool ok = true;
  for (int i = 0; i < t->n; i++) {
    bool first = ok;
    if (step_run(&p, i, first ? d : NULL)) continue;
    ok = false;
    if (!r || !r->keep_going) break;
  }
  return ok;
}

bool ts_sched_replay(ts_sched *s, const char *file, const char *text, size_t n, ts_replay *r, ts_diag *d) {
  const ts_trace *t = ts_trace_parse(s->arena, file, text, n, d);
  return t && ts_sched_replay_trace(s, t, r, d);
}
