// File tests of schedules, tests/schedule/cases/*.txt. A file holds cases:
//
//   case NAME
//   func ...            the function
//   trace 1
//   ...                 the steps; all but the last must succeed, so must the last when a function is expected
//   expect | refuse     (replay: the steps run as one replay that goes on after refusals; strict: one that adapts no decision)
//   ...                 the function after the steps | the rendered refusal | the report
//   end
//
// Every step is judged four ways: structure (the expectation), meaning (interpreter, before and after), refusals leave the
// state alone, and text and trace round trips. TS_BLESS=1 rewrites the expectations.
#include <stdlib.h>

#include "schedule/harness.h"

typedef struct test_case {
  const char *name, *func, *trace, *want;
  enum { EXPECT, REFUSE, REPLAY, STRICT } kind;
  ts_text got;
} test_case;
static int failures;

static void fail(const char *file, const test_case *t, const char *what, const char *detail) {
  fprintf(stderr, "%s: case %s: %s\n%s\n", file, t->name, what, detail);
  failures++;
}

// --- running -----------------------------------------------------------------------------------------------------
static const char *next_line(ts_arena *a, const char **p) {
  const char *end = strchr(*p, '\n');
  size_t n = end ? (size_t)(end - *p) : strlen(*p);
  const char *line = ts_arena_strndup(a, *p, n);
  *p += n + (end != NULL);
  return line;
}

static bool blank(const char *s) {
  while (*s == ' ') s++;
  return !*s || *s == '#';
}

// The meaning before and after, for some values of the symbolic dimensions.
static bool same_meaning(ts_arena *a, const char *file, const test_case *t, const ts_func *f, const ts_func *g, const char *line) {
  for (int which = 0; which < (f->ndims ? 3 : 1); which++) {
    const char *bad = meaning_differs(a, f, g, which, 11 + (uint64_t)which);
    if (!bad) continue;
    ts_text x = {0};
    ts_text_addf(&x, "%s\n", bad);
    ts_func_print(&x, g);
    fail(file, t, line, ts_text_str(&x));
    ts_text_free(&x);
    return false;
  }
  return true;
}

static bool step_run(ts_arena *a, const char *file, test_case *t, const ts_func *start, ts_sched *s, const char *line, bool last) {
  ts_diag d = {0};
  uint64_t before = state_hash(s);
  if (!ts_sched_step(s, line, &d)) {
    if (state_hash(s) != before) fail(file, t, line, "a refusal changed the state");
    if (!last || t->kind != REFUSE || ts_sched_refusal(s)->code == TS_R_none) {
      fail(file, t, line, d.message);
      return false;
    }
    ts_refusal_render(&t->got, ts_sched_refusal(s), ts_sched_func(s), NULL, line);
    return true;
  }
  if (last && t->kind == REFUSE) {
    fail(file, t, line, "the step was to be refused");
    return false;
  }
  const char *bad = state_complaint(a, start, s);
  if (bad) fail(file, t, line, bad);
  uint64_t after = state_hash(s);
  ts_sched *c = ts_sched_clone(s);
  ts_sched_undo(c, 1);
  if (state_hash(c) != before || state_hash(s) != after) fail(file, t, line, "undo did not restore the state");
  return !bad && same_meaning(a, file, t, start, ts_sched_func(s), line);
}

static void steps_run(ts_arena *a, const char *file, test_case *t, const ts_func *f, ts_sched *s) {
  const char *p = strchr(t->trace, '\n') + 1;
  while (*p) {
    const char *line = next_line(a, &p);
    const char *rest = p;
    while (*rest && (*rest == '\n')) rest++;
    bool last = true;
    for (const char *q = p; *q;) last &= blank(next_line(a, &q));
    if (!blank(line) && !step_run(a, file, t, f, s, line, last)) return;
  }
  if (t->kind == EXPECT) ts_func_print(&t->got, ts_sched_func(s));
}

static void replay_run(ts_arena *a, const char *file, test_case *t, const ts_func *f, ts_sched *s) {
  static const char *const outcome[] = {"applied", "adapted", "refused", "skipped"};
  ts_replay r = {.keep_going = true, .strict = t->kind == STRICT};
  ts_diag d = {0};
  bool ok = ts_sched_replay(s, t->name, t->trace, strlen(t->trace), &r, &d);
  if (!r.n) ts_text_addf(&t->got, "%s [%s]\n", d.message, d.code);
  for (int i = 0; i < r.n; i++)
    ts_text_addf(&t->got, "line %d: %s%s%s\n", r.step[i].line, outcome[r.step[i].outcome], r.step[i].note ? ": " : "",
                 r.step[i].note ? r.step[i].note : "");
  if (ok != (r.n && !r.refused)) fail(file, t, "replay", "the result does not fit the report");
  same_meaning(a, file, t, f, ts_sched_func(s), "replay");
}

static void case_run(const char *file, test_case *t) {
  ts_arena *a = ts_arena_new("case");
  ts_ir *ir = ts_ir_new(a);
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(ir, file, t->func, strlen(t->func), NULL, 0, &d);
  if (!f || !ts_func_verify(f, &d)) fail(file, t, "function", d.message);
  else {
    ts_sched *s = ts_sched_new(ir, f, 42);
    if (t->kind >= REPLAY) replay_run(a, file, t, f, s);
    else steps_run(a, file, t, f, s);
    if (strcmp(ts_text_str(&t->got), t->want) != 0 && !getenv("TS_BLESS")) {
      fprintf(stderr, "--- wanted\n%s--- got\n%s", t->want, ts_text_str(&t->got));
      fail(file, t, "structure", "the result is not the expected one");
    }
  }
  ts_arena_free(a);
}

// --- files ----------------------------------------------------------------------------------------------------------
// Lines up to one of the stop words alone on a line (or starting it, for "trace"); the stop line is left in *p.
static const char *section(ts_arena *a, const char **p, const char *const *stop) {
  ts_text t = {0};
  while (**p) {
    const char *at = *p, *line = next_line(a, p);
    bool ends = false;
    for (int i = 0; stop[i]; i++) ends |= !strncmp(line, stop[i], strlen(stop[i]));
    if (ends) {
      *p = at;
      break;
    }
    ts_text_addf(&t, "%s\n", line);
  }
  const char *s = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

static bool case_read(ts_arena *a, const char **p, test_case *t, ts_text *head) {
  *t = (test_case){0};
  ts_text_add(head, section(a, p, (const char *const[]){"case ", NULL}));
  if (!**p) return false;
  t->name = next_line(a, p) + 5;
  t->func = section(a, p, (const char *const[]){"trace 1", NULL});
  t->trace = section(a, p, (const char *const[]){"expect", "refuse", "replay", "strict", NULL});
  const char *kind = next_line(a, p);
  t->kind = !strcmp(kind, "refuse") ? REFUSE : !strcmp(kind, "replay") ? REPLAY : !strcmp(kind, "strict") ? STRICT : EXPECT;
  t->want = section(a, p, (const char *const[]){"end", NULL});
  next_line(a, p);
  return true;
}

static void file_run(const char *path) {
  static const char *const kind[] = {"expect", "refuse", "replay", "strict"};
  ts_arena *a = ts_arena_new("file");
  char *text;
  size_t n;
  ts_diag d = {0};
  if (!ts_file_read(path, a, &text, &n, &d)) {
    fprintf(stderr, "%s\n", d.message);
    failures++;
  } else {
    ts_text out = {0};
    test_case t;
    const char *p = text;
    while (case_read(a, &p, &t, &out)) {
      case_run(path, &t);
      ts_text_addf(&out, "case %s\n%s%s%s\n%send\n", t.name, t.func, t.trace, kind[t.kind], ts_text_str(&t.got));
      ts_text_free(&t.got);
    }
    if (getenv("TS_BLESS") && !ts_file_write(path, ts_text_str(&out), out.n, &d)) failures++;
    ts_text_free(&out);
  }
  ts_arena_free(a);
}

int main(int argc, char **argv) {
  ts_arena *a = ts_arena_new("list");
  char **names;
  size_t n;
  ts_diag d = {0};
  const char *dir = ts_path_join(a, ts_data_dir(), "tests/schedule/cases");
  for (int i = 1; i < argc; i++) file_run(argv[i]);
  if (argc == 1) {
    if (!ts_dir_list(dir, ".txt", a, &names, &n, &d) || !n) {
      fprintf(stderr, "no cases: %s\n", d.message);
      return 1;
    }
    for (size_t i = 0; i < n; i++) file_run(ts_path_join(a, dir, names[i]));
  }
  ts_arena_free(a);
  if (failures) fprintf(stderr, "%d failures\n", failures);
  return failures != 0;
}
