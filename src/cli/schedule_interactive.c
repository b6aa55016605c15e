// tunesmith schedule -i: steps typed one by one, taken back, checked, and saved as a trace.
#include <stdlib.h>
#include <unistd.h>

#include "cli/line.h"
#include "cli/schedule.h"

typedef struct session {
  ts__work *w;
  TS_VEC(const char *) redo;  // lines of undone steps, the next one last
  uint64_t saved;             // hash of the trace that is in a file
  char *recovery;             // where unsaved steps are kept; NULL: there is no place
  bool kept;                  // something is there
  bool over;
} session;

typedef bool (*command_fn)(session *s, char *arg, ts_diag *d);

// --- showing
// ------------------------------------------------------------------------------------------------------------
static char *printed(ts_arena *a, const ts_func *f) {
  ts_text t = {0};
  ts_func_print(&t, f);
  char *s = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

static size_t lines_split(ts_arena *a, char *text, char ***out) {
  size_t n = 0;
  for (char *p = text; *p; p++) n += *p == '\n';
  char **line = ts_new_array(a, char *, n + 1);
  n = 0;
  for (char *p = text, *end; (end = strchr(p, '\n')); p = end + 1) {
    *end = 0;
    line[n++] = p;
  }
  *out = line;
  return n;
}

// Lines near those to show are shown as well, gaps become "...".
static void lines_show(char **line, const bool *wanted, size_t n, size_t around) {
  size_t shown = 0;
  for (size_t i = 0; i < n; i++) {
    bool near = false;
    for (size_t k = i < around ? 0 : i - around; k <= i + around && k < n && !near; k++) near = wanted[k];
    if (!near) continue;
    if (i > shown) puts("...");
    puts(line[i]);
    shown = i + 1;
  }
  if (shown < n) puts("...");
}

// wanted[j]: line y[j] belongs to no longest common subsequence with x, or something is gone before it.
static void lines_compare(ts_arena *a, char **x, size_t n, char **y, size_t m, bool *wanted) {
  enum { MOST = 4000000 };
  if (n * m > MOST) {
    for (size_t j = 0; j < m; j++) wanted[j] = true;
    return;
  }
  size_t w = m + 1;
  uint32_t *best = ts_new_array(a, uint32_t, (n + 1) * w);
  for (size_t i = n; i-- > 0;)
    for (size_t j = m; j-- > 0;)
      best[i * w + j] =
          !strcmp(x[i], y[j]) ? best[(i + 1) * w + j + 1] + 1 : TS_MAX(best[(i + 1) * w + j], best[i * w + j + 1]);
  for (size_t i = 0, j = 0; i < n || j < m;) {
    if (i < n && j < m && !strcmp(x[i], y[j]))
      i++, j++;
    else if (j < m && (i >= n || best[i * w + j + 1] >= best[(i + 1) * w + j]))
      wanted[j++] = true;
    else
      i++, wanted[j] = true;  // wanted has room for one more
  }
}

// What of `now` is not as it was.
static void change_show(const ts_func *was, const ts_func *now) {
  ts_arena *a = ts_arena_new("change");
  char **x, **y;
  size_t n = lines_split(a, printed(a, was), &x), m = lines_split(a, printed(a, now), &y), head = 0, tail = 0;
  while (head < n && head < m && !strcmp(x[head], y[head])) head++;
  while (tail < n - head && tail < m - head && !strcmp(x[n - 1 - tail], y[m - 1 - tail])) tail++;
  bool *wanted = ts_new_array(a, bool, m + 1);
  size_t from = head ? head - 1 : 0;  // a line in common, so that there always is one
  lines_compare(a, x + from, n - from - tail, y + from, m - from - tail, wanted + from);
  if (head == n && n == m)
    puts("nothing changed");
  else
    lines_show(y, wanted, m, 1);
  ts_arena_free(a);
}

// A refusal with what lies near the culprits of a long function.
static void refusal_show(const ts_sched *s, const char *step) {
  enum { LONG = 40 };
  ts_arena *a = ts_arena_new("refusal");
  ts_text t = {0};
  char **line;
  ts_refusal_render(&t, ts_sched_refusal(s), ts_sched_func(s), NULL, step);
  size_t n = lines_split(a, ts_arena_strdup(a, ts_text_str(&t)), &line);
  bool *wanted = ts_new_array(a, bool, n + 1);
  for (size_t i = 0; i < n; i++)
    wanted[i] = n < LONG || i < 3 || line[i][0] == '>' || !strncmp(line[i], "  witness:", 10) ||
                !strncmp(line[i], "  hint:", 7);
  lines_show(line, wanted, n, n < LONG ? 0 : 2);
  ts_text_free(&t);
  ts_arena_free(a);
}

static void reference_show(const ts_sched *s, const char *name, ts_rv rv) {
  const ts_stmt *l = ts_sched_loop(s, rv), *b = ts_sched_block(s, rv);
  int64_t v;
  ts_text t = {0};
  if (l) {
    ts_text_addf(&t, "loop %s, ", l->loop.var->name);
    ts_expr_print(&t, l->loop.extent);
    ts_text_add(&t, " iterations");
  } else if (b) {
    ts_text_addf(&t, "block %s", b->block->name);
  } else if (ts_sched_int(s, rv, &v)) {
    ts_text_addf(&t, "%lld", (long long)v);
  } else {
    ts_text_add(&t, "gone");
  }
  printf("%s: %s\n", name, ts_text_str(&t));
  ts_text_free(&t);
}

static void results_show(const ts_sched *s) {
  const ts_trace *t = ts_sched_trace(s);
  const ts_inst *i = t->inst[t->n - 1];
  for (int k = 0; k < i->nresults; k++)
    if (i->results[k] >= 0) reference_show(s, t->rv_name[i->results[k]], i->results[k]);
  const ts_prim_info *p = ts_prim_get(i->prim);
  if (!i->nresults && *p->results)
    printf("its results have no names; undo, and write x, y = %s .. to use them\n", p->name);
}

// --- the trace, kept
// ------------------------------------------------------------------------------------------------------
static bool dirty(const session *s) {
  const ts_trace *t = ts_sched_trace(s->w->s);
  return t->n > 0 && ts_trace_hash(t) != s->saved;
}

static bool trace_write(const session *s, const char *path, ts_diag *d) {
  ts_text t = {0};
  ts_trace_print(&t, ts_sched_trace(s->w->s));
  bool ok = ts_file_write(path, t.p, t.n, d);
  ts_text_free(&t);
  return ok;
}

// What is unsaved also stands in a file, so that nothing is lost when the program is ended.
static void recovery_update(session *s) {
  ts_diag d = {0};
  if (!s->recovery) return;
  if (dirty(s)) {
    s->kept = trace_write(s, s->recovery, &d);
  } else if (s->kept) {
    unlink(s->recovery);
    s->kept = false;
  }
}

static void farewell(session *s) {
  recovery_update(s);
  if (!dirty(s)) return;
  if (s->kept) {
    ts_say("unsaved steps are in %s", s->recovery);
    return;
  }
  ts_text t = {0};
  ts_trace_print(&t, ts_sched_trace(s->w->s));
  fprintf(stderr, "unsaved steps:\n%s", ts_text_str(&t));
  ts_text_free(&t);
}

// --- steps
// ----------------------------------------------------------------------------------------------------------------
// Apply one line; what it did, or why not, is printed.
static bool step_apply(session *s, const char *line) {
  ts_sched *x = s->w->s;
  ts_diag d = {0};
  const ts_func *before = ts_sched_func(x);
  int steps = ts_sched_trace(x)->n;
  if (!ts_sched_step(x, line, &d)) {
    if (ts_sched_refusal(x)->code != TS_R_none && ts_sched_refusal(x)->step == steps && strcmp(d.code, "syntax") != 0)
      refusal_show(x, line);
    else
      ts_diag_print(stdout, &d);
    return false;
  }
  if (ts_sched_func(x) != before) change_show(before, ts_sched_func(x));
  results_show(x);
  return true;
}

static const char *last_line(const session *s) {
  const ts_trace *t = ts_sched_trace(s->w->s);
  ts_text line = {0};
  ts_inst_print(&line, t, t->inst[t->n - 1]);
  const char *copy = ts_arena_strdup(s->w->a, ts_text_str(&line));
  ts_text_free(&line);
  return copy;
}

static bool count_get(const char *arg, int64_t *n, ts_diag *d) {
  char *end;
  *n = *arg ? strtoll(arg, &end, 10) : 1;
  return !*arg || (*end == 0 && *n > 0 && *n < 1 << 20) ||
         ts_refuse(d, "bad-argument", "'%s' is no number of steps", arg);
}

static bool cmd_undo(session *s, char *arg, ts_diag *d) {
  int64_t n;
  TS_TRY(count_get(arg, &n, d));
  if (!ts_sched_trace(s->w->s)->n) return ts_refuse(d, "nothing-to-undo", "there is no step to take back");
  const ts_func *before = ts_sched_func(s->w->s);
  for (; n > 0 && ts_sched_trace(s->w->s)->n; n--) {
    const char *line = last_line(s);
    ts_sched_undo(s->w->s, 1);
    ts_vec_push(s->w->a, &s->redo, line);
    printf("undone: %s\n", line);
  }
  if (!ts_func_equal(before, ts_sched_func(s->w->s))) change_show(before, ts_sched_func(s->w->s));
  return true;
}

static bool cmd_redo(session *s, char *arg, ts_diag *d) {
  int64_t n;
  TS_TRY(count_get(arg, &n, d));
  if (!s->redo.n) return ts_refuse(d, "nothing-to-redo", "no step was taken back");
  for (; n > 0 && s->redo.n; n--) {
    const char *line = s->redo.p[s->redo.n - 1];
    printf("again: %s\n", line);
    if (!step_apply(s, line)) return true;
    s->redo.n--;
  }
  return true;
}

// --- commands
// -----------------------------------------------------------------------------------------------------------------
static bool cmd_show(session *s, char *arg, ts_diag *d) {
  (void)arg, (void)d;
  ts__func_show(ts_sched_func(s->w->s));
  return true;
}

static bool cmd_trace(session *s, char *arg, ts_diag *d) {
  (void)arg, (void)d;
  ts_text t = {0};
  ts_trace_print(&t, ts_sched_trace(s->w->s));
  fputs(ts_text_str(&t), stdout);
  ts_text_free(&t);
  return true;
}

static bool cmd_names(session *s, char *arg, ts_diag *d) {
  (void)arg, (void)d;
  const ts_trace *t = ts_sched_trace(s->w->s);
  for (int i = 0; i < t->nrvs; i++)
    if (ts_sched_find(s->w->s, t->rv_name[i]) == i) reference_show(s->w->s, t->rv_name[i], i);
  return true;
}

static bool wants(const char *arg, const char *what, ts_diag *d) {
  return *arg || ts_refuse(d, "bad-argument", "a %s is wanted", what);
}

static bool cmd_save(session *s, char *arg, ts_diag *d) {
  TS_TRY(wants(arg, "file name", d) && trace_write(s, arg, d));
  s->saved = ts_trace_hash(ts_sched_trace(s->w->s));
  printf("%d steps in %s\n", ts_sched_trace(s->w->s)->n, arg);
  return true;
}

static bool cmd_load(session *s, char *arg, ts_diag *d) {
  TS_TRY(wants(arg, "file name", d));
  if (dirty(s)) {
    ts_refuse(d, "unsaved-steps", "there are unsaved steps");
    ts_hint(d, "save FILE, or undo %d", ts_sched_trace(s->w->s)->n);
    return false;
  }
  const ts_trace *t = ts__work_trace(s->w, arg, d);
  if (!t) return false;
  ts_sched_undo(s->w->s, ts_sched_trace(s->w->s)->n);
  s->redo.n = 0;
  ts_replay r = {0};
  bool ok = ts_sched_replay_trace(s->w->s, t, &r, d);
  s->saved = ok && !r.adapted ? ts_trace_hash(ts_sched_trace(s->w->s)) : 0;
  for (int i = 0; i < r.n; i++)
    if (r.step[i].outcome == TS_STEP_ADAPTED) printf("%s:%d: adapted: %s\n", t->file, r.step[i].line, r.step[i].note);
  printf("%d steps of %d from %s\n", ts_sched_trace(s->w->s)->n, t->n, arg);
  if (!ok) ts__refusal_show(stdout, s->w->s, t->file, NULL);
  return true;
}

static bool cmd_run(session *s, char *arg, ts_diag *d) { return (void)arg, ts__work_run(s->w, d); }
static bool cmd_limits(session *s, char *arg, ts_diag *d) { return (void)arg, ts__work_limits(s->w, false, d); }
static bool cmd_lower(session *s, char *arg, ts_diag *d) { return (void)arg, ts__work_lower(s->w, true, false, d); }
static bool cmd_asm(session *s, char *arg, ts_diag *d) { return (void)arg, ts__work_lower(s->w, false, true, d); }
static bool cmd_explain(session *s, char *arg, ts_diag *d) {
  return wants(arg, "block's name", d) && ts__work_explain(s->w, arg, false, d);
}
static bool cmd_measure(session *s, char *arg, ts_diag *d) { return (void)arg, ts__work_measure(s->w, false, d); }

static bool cmd_list(session *s, char *arg, ts_diag *d) {
  (void)s, (void)arg, (void)d;
  for (int p = 0; p < TS_P__COUNT; p++)
    printf("%-24s %s\n", ts_prim_get((ts_prim)p)->name, ts_prim_get((ts_prim)p)->doc);
  return true;
}

static bool cmd_quit(session *s, char *arg, ts_diag *d) {
  (void)arg, (void)d;
  s->over = true;
  return true;
}

static bool cmd_help(session *s, char *arg, ts_diag *d);

#define COMMANDS(X)                                                      \
  X(undo, "[K]", "take back the last step, or K of them")                \
  X(redo, "[K]", "apply what was taken back again")                      \
  X(show, "", "the whole function")                                      \
  X(trace, "", "the steps so far")                                       \
  X(names, "", "what the references stand for")                          \
  X(save, "FILE", "write the trace")                                     \
  X(load, "FILE", "begin anew with the steps of a trace")                \
  X(explain, "BLOCK", "iterators, accesses, dependences, obstacles")     \
  X(run, "", "interpret, and compare with the function as written")      \
  X(limits, "", "what it asks of a GPU, before it is lowered")           \
  X(lower, "", "the lowered function")                                   \
  X(asm, "", "the machine code")                                         \
  X(measure, "", "verify and time it in turn with the default schedule") \
  X(list, "", "all primitives")                                          \
  X(help, "[PRIM]", "this text, or what a primitive does")               \
  X(quit, "", "leave; unsaved steps are kept in a file, and it is said where")

const ts__work_command ts__work_commands[] = {
#define X(name, args, help) {#name, args, help},
    COMMANDS(X)
#undef X
        {NULL, NULL, NULL}};
static const command_fn commands[] = {
#define X(name, args, help) cmd_##name,
    COMMANDS(X)
#undef X
};

// --- help
// ----------------------------------------------------------------------------------------------------------------------
// The section of a primitive in the manual, where the manual is at hand.
static void manual_show(ts_arena *a, const char *prim) {
  char *text;
  size_t n;
  ts_diag d;
  if (!ts_file_read(ts_path_join(a, ts_data_dir(), "docs/schedule.md"), a, &text, &n, &d)) return;
  char *from = strstr(text, ts_arena_printf(a, "\n## %s\n", prim));
  if (!from) return;
  from = strchr(from + 1, '\n') + 1;
  char *end = strstr(from, "\n## "), *part = strstr(from, "\n# ");
  if (part && (!end || part < end)) end = part;
  if (end) *end = 0;
  fputs(from, stdout);
  if (end) putchar('\n');
}

static bool cmd_help(session *s, char *arg, ts_diag *d) {
  ts_prim p;
  if (*arg) {
    if (!ts_prim_find(arg, strlen(arg), &p))
      return ts_refuse(d, "no-such-primitive", "no primitive is called %s; list names them", arg);
    const ts_prim_info *i = ts_prim_get(p);
    printf("%s %s%s%s\n  %s\n", i->name, i->args, *i->results ? " -> " : "", i->results, i->doc);
    manual_show(s->w->a, arg);
    return true;
  }
  puts("Any line of a trace is a step: b = get_block \"mm\"; i, j, k = get_loops b; io, ii = split i [_, 16].");
  for (const ts__work_command *c = ts__work_commands; c->name; c++)
    printf("  %-8s %-8s %s\n", c->name, c->args, c->help);
  return true;
}

// --- the loop
// ----------------------------------------------------------------------------------------------------------------------
static command_fn command_find(const char *line, size_t n) {
  if (n == 4 && !strncmp(line, "exit", 4)) return cmd_quit;
  for (size_t i = 0; i < TS_COUNTOF(commands); i++)
    if (strlen(ts__work_commands[i].name) == n && !strncmp(ts__work_commands[i].name, line, n)) return commands[i];
  return NULL;
}

// "trace 1", the first line of every file, so that a whole trace can be pasted or piped.
static bool is_header(const char *line) { return !strncmp(line, "trace", 5) && line[5 + strspn(line + 5, " ")] == '1'; }

static void line_do(session *s, char *line) {
  line += strspn(line, " \t");
  size_t n = strlen(line);
  while (n && (line[n - 1] == ' ' || line[n - 1] == '\t')) line[--n] = 0;
  if (!*line || *line == '#' || is_header(line)) return;
  size_t head = strcspn(line, " \t");
  char *arg = line + head + strspn(line + head, " \t");
  command_fn f = *arg == '=' || *arg == ',' ? NULL : command_find(line, head);
  ts_diag d = {0};
  if (f) {
    if (!f(s, arg, &d)) ts_diag_print(stdout, &d);
  } else if (step_apply(s, line)) {
    s->redo.n = 0;
  }
  recovery_update(s);
}

static const char **complete(void *arg, ts_arena *a, const char *text, size_t n, size_t *from, size_t *count) {
  return ts__work_complete(arg, a, text, n, from, count);
}

bool ts__work_interactive(ts__work *w, ts_diag *d) {
  (void)d;
  session s = {.w = w, .saved = ts_trace_hash(ts_sched_trace(w->s))};
  s.recovery = ts__state_file(w->a, ts_arena_printf(w->a, "schedule-%d.trace", (int)getpid()));
  ts__line *in = ts__line_open(
      &(ts__line_opts){.prompt = "schedule> ", .history = "schedule_history", .complete = complete, .arg = w});
  if (ts__line_is_terminal(in)) {
    ts__func_show(ts_sched_func(w->s));
    puts("A line is a step of the trace; help lists the commands, Tab completes.");
  }
  while (!s.over) {
    char *line;
    ts__line_end end = ts__line_read(in, &line);
    if (end == TS__LINE_END) break;
    if (end == TS__LINE_TEXT) line_do(&s, line);
    fflush(stdout);
    s.over |= ts_interrupted() && (!ts__line_is_terminal(in) || !ts_interrupt_clear());
  }
  ts__line_close(in);
  farewell(&s);
  return true;
}
