// tunesmith schedule: the function, its trace and lowering.
#include "cli/schedule.h"
#include "codegen/codegen.h"

// --- the function
// -----------------------------------------------------------------------------------------------------
static bool is_file(const char *s) {
  size_t n = strlen(s);
  return n > 4 && strcmp(s + n - 4, ".tir") == 0;
}

// What -p adds to a workload, as its text.
static const char *with_params(const ts__work *w, const char *what) {
  for (int i = 0; i < w->o->params.n; i++) what = ts_arena_printf(w->a, "%s %s", what, w->o->params.v[i]);
  return what;
}

static bool workload_open(ts__work *w, const char *what, ts_diag *d) {
  w->what = with_params(w, what);
  TS_TRY(ts_spec_parse(w->a, w->what, &w->spec, d) && ts_op_instantiate(w->ir, &w->spec, w->variant, &w->inst, d));
  w->f = w->inst.func;
  return true;
}

// "kernels/ops/matmul.a16.tir": the operator matmul in its variant a16, which must be the one that would be found by
// name.
static bool operator_open(ts__work *w, const char *path, const char *text, size_t n, ts_diag *d) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strchr(base, '.');
  char *op = ts_arena_strndup(w->a, base, (size_t)(dot - base)), *own;
  size_t size = strlen(dot), m;
  TS_TRY(ts_file_read(ts_arena_printf(w->a, "%s/kernels/ops/%s", ts_data_dir(), base), w->a, &own, &m, d));
  if (m != n || memcmp(own, text, n) != 0)
    return ts_refuse(d, "other-operator",
                     "%s is not the %s that is found in %s/kernels/ops (TUNESMITH_HOME says where)", path, base,
                     ts_data_dir());
  if (size > strlen(".tir")) w->variant = ts_arena_strndup(w->a, dot + 1, size - 1 - strlen(".tir"));
  return workload_open(w, op, d);
}

// One function, whose named parameters are given by -p.
static bool function_open(ts__work *w, const char *path, const char *text, size_t n, ts_diag *d) {
  ts_spec params;
  w->what = path;
  w->is_file = true;
  TS_TRY(ts_spec_parse(w->a, with_params(w, "file"), &params, d));
  w->f = ts_func_parse(w->ir, path, text, n, params.bind, params.nbind, d);
  return w->f && ts_func_verify(w->f, d);
}

static bool file_open(ts__work *w, const char *path, ts_diag *d) {
  char *text;
  size_t n;
  ts_lex l;
  TS_TRY(ts_file_read(path, w->a, &text, &n, d));
  ts_lex_init(&l, path, text, n);
  bool op = ts_lex_is(&l, "op") || ts_lex_is(&l, "variant");
  return op ? operator_open(w, path, text, n, d) : function_open(w, path, text, n, d);
}

bool ts__work_open(ts__work *w, const char *what, ts_diag *d) {
  w->variant = w->o->variant;
  TS_TRY(is_file(what) ? file_open(w, what, d) : workload_open(w, what, d));
  w->s = ts_sched_new(w->ir, w->f, (uint64_t)w->o->seed);
  return true;
}

const ts_trace *ts__work_trace(const ts__work *w, const char *path, ts_diag *d) {
  char *text;
  size_t n;
  return ts_file_read(path, w->a, &text, &n, d) ? ts_trace_parse(w->a, path, text, n, d) : NULL;
}

void ts__func_show(const ts_func *f) {
  ts_text t = {0};
  ts_func_print(&t, f);
  fputs(ts_text_str(&t), stdout);
  ts_text_free(&t);
}

// --- replaying
// ---------------------------------------------------------------------------------------------------------------
void ts__refusal_show(FILE *to, const ts_sched *s, const char *file, const char *line) {
  ts_text t = {0};
  ts_refusal_render(&t, ts_sched_refusal(s), ts_sched_func(s), file, line);
  fputs(ts_text_str(&t), to);
  ts_text_free(&t);
}

// Every step, and the function after it.
static bool steps_show(ts__work *w, const ts_trace *t, ts_diag *d) {
  for (int i = 0; i < t->n; i++) {
    ts_text line = {0};
    ts_inst_print(&line, t, t->inst[i]);
    const char *step = ts_arena_strdup(w->a, ts_text_str(&line));
    ts_text_free(&line);
    const ts_func *before = ts_sched_func(w->s);
    printf("# %s\n", step);
    if (!ts_sched_step(w->s, step, d)) {
      ts__refusal_show(stderr, w->s, t->file, step);
      return false;
    }
    if (ts_sched_func(w->s) != before) ts__func_show(ts_sched_func(w->s));
  }
  return true;
}

static const char *const outcome_word[] = {"applied", "adapted", "refused", "skipped"};

static void report_json(const ts_trace *t, const ts_replay *r) {
  for (int i = 0; i < r->n; i++) {
    ts_text step = {0}, out = {0};
    ts_inst_print(&step, t, t->inst[i]);
    ts_text_addf(&out, "{\"line\": %d, \"outcome\": \"%s\", \"step\": ", r->step[i].line,
                 outcome_word[r->step[i].outcome]);
    ts_text_add_json(&out, ts_text_str(&step));
    if (r->step[i].note) {
      ts_text_add(&out, ", \"note\": ");
      ts_text_add_json(&out, r->step[i].note);
    }
    printf("%s}\n", ts_text_str(&out));
    ts_text_free(&step);
    ts_text_free(&out);
  }
}

static void report_text(const ts_trace *t, const ts_replay *r, bool all) {
  FILE *to = all ? stdout : stderr;
  for (int i = 0; i < r->n; i++) {
    const ts_step_report *s = &r->step[i];
    if (!all && s->outcome == TS_STEP_APPLIED) continue;
    ts_text step = {0};
    if (all) ts_inst_print(&step, t, t->inst[i]);
    fprintf(to, "%s:%d: %s%s%s%s%s\n", t->file, s->line, outcome_word[s->outcome], all ? ": " : "", ts_text_str(&step),
            s->note ? ": " : "", s->note ? s->note : "");
    ts_text_free(&step);
  }
  if (all)
    printf("%d steps of %d: %d applied, %d adapted, %d refused, %d skipped\n", r->n, t->n, r->applied, r->adapted,
           r->refused, r->skipped);
}

bool ts__work_replay(ts__work *w, const ts_trace *t, ts_diag *d) {
  const ts__work_opts *o = w->o;
  if (o->step) return steps_show(w, t, d);
  ts_replay r = {.strict = o->strict, .keep_going = o->keep_going};
  bool ok = ts_sched_replay_trace(w->s, t, &r, d);
  if (o->report && !strcmp(o->format, "json"))
    report_json(t, &r);
  else
    report_text(t, &r, o->report);
  if (!ok && !o->keep_going) ts__refusal_show(stderr, w->s, t->file, NULL);
  return ok || o->keep_going;
}

// --- lowering
// -----------------------------------------------------------------------------------------------------------------
static void limits_json(const ts_gpu_use *u, const ts_target_gpu *g, const ts_diag *why) {
  if (!u->over) {
    printf("{\"kernels\": %d, \"threads\": %lld, \"max_threads\": %d, \"shared\": %lld, \"max_shared\": %lld, \"registers\": %lld, \"max_registers\": %d}\n", u->kernels, (long long)u->threads,
           g->max_threads, (long long)u->shared, (long long)g->block_shared, (long long)u->registers, g->max_registers);
    return;
  }
  ts_text t = {0};
  ts_text_addf(&t, "{\"refused\": \"%s\", \"have\": %lld, \"most\": %lld, \"message\": ", u->over, (long long)u->have, (long long)u->most);
  ts_text_add_json(&t, why->message);
  printf("%s}\n", ts_text_str(&t));
  ts_text_free(&t);
}

bool ts__work_limits(const ts__work *w, bool json, ts_diag *d) {
  ts_target t;
  ts_gpu_use u;
  TS_TRY(ts_target_parse(w->o->target, &t, d));
  if (t.api != TS_API_CUDA) return ts_refuse(d, "usage", "schedule: --limits are those of a GPU: --target cuda, or cuda:sm_90a where there is none");
  bool ok = ts_gpu_check(w->ir, ts_sched_func(w->s), &t, &u, d);
  if (json) limits_json(&u, &t.gpu, d);
  else if (ok)
    printf("%d kernel%s, at most %lld of %d threads a block, at least %lld of %lld bytes of shared memory and about %lld of %d registers a thread\n", u.kernels, u.kernels == 1 ? "" : "s",
           (long long)u.threads, t.gpu.max_threads, (long long)u.shared, (long long)t.gpu.block_shared, (long long)u.registers, t.gpu.max_registers);
  return ok;
}

bool ts__work_lower(const ts__work *w, bool lowered, bool assembly, ts_diag *d) {
  const ts_func *f = ts_sched_func(w->s), *loops;
  ts_target t;
  TS_TRY(ts_target_parse(w->o->target, &t, d));
  if (lowered) {
    TS_TRY(ts_lower(w->ir, f, &t, &loops, d));
    ts__func_show(loops);
  }
  ts_text text = {0};
  bool ok = !assembly || ts_codegen_asm(f, &t, &text, d);
  fputs(ts_text_str(&text), stdout);
  ts_text_free(&text);
  return ok;
}
