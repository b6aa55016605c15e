// Lowering for GPUs: every file in gpu/ is a function, a trace and the lowered text. The function as written, as scheduled and as
// lowered is interpreted on random data (the threads of a block in lockstep, races between barriers refused); all must agree.
// TS_BLESS=1 rewrites the last part.
//
//   # run 8 3           values of its dimensions, as in cases/; also range and tolerance
//   # target cuda:sm_80 (default cuda:sm_90a)
//   # lowered has sync.block / lacks sync.block
//   func ...
//   ----- trace
//   trace 1
//   ...
//   ----- lowered       or: ----- refuse CODE
//   func ...
#include "differ.h"
#include "schedule/schedule.h"
#include "target/gpu.h"

typedef struct parts {
  char *func, *trace, *rest, *head;  // of the text; head: "lowered" or "refuse CODE"
  size_t nfunc, ntrace;
} parts;

static bool split(testcase *c, parts *p) {
  char *text = ts_arena_strdup(c->a, c->text), *cut = strstr(text, "----- trace\n");
  *p = (parts){.func = text};
  if (!cut) return false;
  p->nfunc = (size_t)(cut - text);
  p->trace = cut + strlen("----- trace\n");
  cut = strstr(p->trace, "----- ");
  if (!cut) return false;
  p->ntrace = (size_t)(cut - p->trace);
  p->head = cut + strlen("----- ");
  cut = strchr(p->head, '\n');
  if (!cut) return false;
  *cut = 0;
  p->rest = cut + 1;
  return true;
}

static const char *target_of(testcase *c) {
  const char *t = value_of(c, "target");
  return t ? t : "cuda:sm_90a";
}

static void bless(testcase *c, const parts *p, const char *head, const char *lowered_text) {
  ts_text t = {0};
  ts_diag d = {0};
  ts_text_addn(&t, c->text, (size_t)(p->head - p->func));
  ts_text_addf(&t, "%s\n%s", head, lowered_text);
  if (!ts_file_write(c->file, t.p, t.n, &d)) complain(c, "%s", d.message);
  ts_text_free(&t);
}

static void judge(testcase *c, const parts *p, const char *head, const char *text) {
  if (getenv("TS_BLESS")) {
    bless(c, p, head, text);
  } else if (strcmp(head, p->head) != 0) {
    complain(c, "gives \"%s\", not \"%s\"\n%s", head, p->head, text);
  } else if (strcmp(text, p->rest) != 0) {
    complain(c, "lowered otherwise:\n%s", text);
  }
}

static void check_words(testcase *c, const char *text) {
  for (const char *q = c->text; *q == '#';) {
    size_t len = strcspn(q, "\n");
    char what[8] = {0}, word[64] = {0};
    if (sscanf(q, "# lowered %7s %63[^\n]", what, word) == 2 && (strstr(text, word) != NULL) != (strcmp(what, "has") == 0))
      complain(c, "lowered function %s \"%s\"", strcmp(what, "has") == 0 ? "lacks" : "has", word);
    q += len + (q[len] == '\n');
  }
}

static void run_once(testcase *c, const ts_func *loops, char *rest) {
  int64_t dims[MOST] = {0};
  ts_diag d = {0};
  data want, x;
  ts_interp_opts opts = {.check_races = true};
  for (int i = 0; i < c->f->ndims; i++) dims[i] = strtoll(rest, &rest, 10);
  if (!make(c, c->f, dims, &want) || !make(c, c->f, dims, &x)) {
    complain(c, "cannot size its arrays");
    return;
  }
  if (!ts_interp_run(c->f, dims, want.list, &opts, &d)) complain(c, "interpreter: %s [%s]", d.message, d.code);
  opts.check_races = false;  // of a reduction along threads the threads race until it is lowered
  if (!ts_interp_run(c->made, dims, x.list, &opts, &d))
    complain(c, "scheduled: %s [%s]", d.message, d.code);
  else
    compare(c, c->f, &want, &x, "scheduled");
  run_lowered(c, loops, dims, &want);
  drop(c->f, &x);
  drop(c->f, &want);
}

static void run_all(testcase *c, const ts_func *loops) {
  if (c->f->ndims == 0) run_once(c, loops, (char[]){""});
  for (const char *q = c->text; *q == '#';) {
    size_t len = strcspn(q, "\n");
    if (c->f->ndims && len > 6 && memcmp(q, "# run ", 6) == 0) run_once(c, loops, ts_arena_strndup(c->a, q + 6, len - 6));
    q += len + (q[len] == '\n');
  }
}

// As machine code for old and new GPUs; the assembler judges it where there is one: nothing spills, and it warns of nothing.
static void compile(testcase *c) {
  static const char *const gpus[] = {"cuda:sm_80", "cuda:sm_90a"};
  for (size_t i = 0; i < TS_COUNTOF(gpus); i++) {
    ts_diag d = {0};
    ts_target t;
    ts_object o;
    ts_gpu_code code;
    if (!ts_target_parse(gpus[i], &t, &d) || !ts_codegen_object(c->made, &t, c->a, &o, &d) || !ts_gpu_code_read(c->a, o.bytes, o.n, &code, &d))
      complain(c, "%s: %s [%s]", gpus[i], d.message, d.code);
    else if (code.spills > 0 || *code.warnings)
      complain(c, "%s: %d bytes spilled, the assembler says: %s", gpus[i], code.spills, code.warnings);
  }
}

static void check(testcase *c, const parts *p) {
  ts_target t;
  ts_diag d = {0};
  const ts_func *loops;
  ts_text text = {0};
  if (!ts_target_parse(target_of(c), &t, &d)) {
    complain(c, "%s", d.message);
  } else if (!ts_lower(c->ir, c->made, &t, &loops, &d)) {
    ts_text_addf(&text, "%s\n", d.message);
    judge(c, p, ts_arena_printf(c->a, "refuse %s", d.code), ts_text_str(&text));
  } else {
    ts_func_print(&text, loops);
    if (!ts_func_verify(loops, &d)) complain(c, "%s\n%s", d.message, ts_text_str(&text));
    else check_text_form(c, loops);
    judge(c, p, "lowered", ts_text_str(&text));
    check_words(c, ts_text_str(&text));
    run_all(c, loops);
    compile(c);
  }
  ts_text_free(&text);
}

static int run_case(const char *dir, const char *name) {
  testcase c = {.name = name, .a = ts_arena_new("case")};
  ts_diag d = {0};
  parts p;
  char *text;
  c.file = ts_path_join(c.a, dir, name);
  c.ir = ts_ir_new(c.a);
  if (!ts_file_read(c.file, c.a, &text, &c.n, &d)) return ts_diag_print(stdout, &d), 1;
  c.text = text;
  if (!split(&c, &p)) {
    complain(&c, "is not a function, ----- trace, ----- lowered or refuse");
  } else if (!(c.f = ts_func_parse(c.ir, c.file, p.func, p.nfunc, NULL, 0, &d)) || !ts_func_verify(c.f, &d)) {
    complain(&c, "%s", d.message);
  } else {
    ts_sched *s = ts_sched_new(c.ir, c.f, 1);
    if (!ts_sched_replay(s, c.file, p.trace, p.ntrace, NULL, &d)) {
      complain(&c, "%s", d.message);
    } else {
      c.made = ts_sched_func(s);
      check(&c, &p);
    }
  }
  int failures = c.failures;
  ts_arena_free(c.a);
  return failures;
}

// Arguments: beginnings of names of cases; all of them without.
int main(int argc, char **argv) {
  int failures = 0, ran = run_files(TS_CASES, ".txt", argc, argv, run_case, &failures);
  printf("%d cases, %d failures\n", ran, failures);
  return failures || !ran;
}
