// Differential fuzzing: random programs x random sequences of primitives. Every step is either refused and changes
// nothing, or the function afterwards computes what it did before: on the interpreter (races checked), and as machine
// code. A failure is shrunk to a file test, of schedules or of the compiler.
//
//   schedule_fuzz [OPTIONS] SEQUENCES SEED     a fixed number; an eighth of the functions is compiled
//   schedule_fuzz [OPTIONS] --seconds N SEED   for a time
//   --compile K   compile every K-th result; 0: none, 1: all
//   --first I     begin with sequence I of the seed
//   --save DIR    write file tests of failures below DIR/schedule/cases and DIR/codegen/cases; else they are printed
//   --table       what was applied and refused of each primitive, and why
//   --cover       fail when a primitive was never applied
// Prints `name value unit` lines.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "schedule/compiled.h"
#include "schedule/program.h"
#include "schedule/steps.h"

enum { STEPS = 12 };
typedef struct totals {
  uint64_t sequences, applied, refused, failures;
  uint64_t by_prim[TS_P__COUNT], refused_by_prim[TS_P__COUNT], by_code[TS_R__COUNT];
  compiled_totals compiled;
} totals;
typedef struct options {
  uint64_t count, first, seed, seconds, every;
  const char *save;
  bool table, cover;
} options;

// --- judging
// ---------------------------------------------------------------------------------------------------------- compiled
// may be NULL: only the interpreter.
static const char *judge(ts_arena *a, const ts_func *f, const ts_sched *s, compiled_totals *compiled) {
  ts_diag d = {0};
  const ts_func *g = ts_sched_func(s);
  int choices = f->ndims ? 2 : 1;
  if (!ts_func_verify(g, &d)) return ts_arena_printf(a, "verify: %s", d.message);
  for (int which = 0; which < choices; which++) {
    const char *bad = meaning_differs(a, f, g, which, 5);
    if (bad) return bad;
  }
  return compiled ? compiled_differs(a, f, g, choices, 5, compiled) : NULL;
}

static bool of_compiler(const char *complaint) { return strncmp(complaint, "compiled:", 9) == 0; }

// --- shrinking
// ----------------------------------------------------------------------------------------------------------
typedef struct failure {
  const options *o;
  uint64_t seed;
  const char *text;  // of the program
  const ts_trace *trace;
  bool compiler;  // wrong as machine code only
  bool state;     // right, but does not print, parse or replay
} failure;

// As a case of tests/schedule/cases; its expectation is what the steps make now.
static void print_schedule(ts_text *out, const failure *w, const ts_sched *s) {
  ts_text_addf(out, "# Found by fuzzing.\n\ncase seed_%llu\n%s", (unsigned long long)w->seed, w->text);
  ts_trace_print(out, ts_sched_trace(s));
  ts_text_add(out, "expect\n");
  ts_func_print(out, ts_sched_func(s));
  ts_text_add(out, "end\n");
}

// As a case of tests/codegen/cases: the scheduled function, for the sizes that ran.
static void print_function(ts_text *out, const failure *w, const ts_sched *s) {
  const ts_func *g = ts_sched_func(s);
  ts_text_addf(out, "# Found by fuzzing, seed %llu.\n# tolerance 1e-5\n", (unsigned long long)w->seed);
  for (int which = 0; g->ndims && which < 2; which++) {
    int64_t dims[8];
    dims_choose(g, which, dims);
    ts_text_add(out, "# run");
    for (int i = 0; i < g->ndims; i++) ts_text_addf(out, " %lld", (long long)dims[i]);
    ts_text_add(out, "\n");
  }
  ts_func_print(out, g);
}

// What is wrong with the result of the trace without the dropped steps, replayed as far as it goes; NULL when nothing
// is.
static const char *still_bad(ts_arena *a, const failure *w, const bool *dropped, ts_text *out) {
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "program", w->text, strlen(w->text), NULL, 0, NULL);
  ts_trace cut = *w->trace;
  const ts_inst **inst = ts_new_array(a, const ts_inst *, cut.n + 1);
  compiled_totals z = {0};
  cut.n = 0;
  for (int i = 0; i < w->trace->n; i++)
    if (!dropped[i]) inst[cut.n++] = w->trace->inst[i];
  cut.inst = inst;
  ts_sched *s = ts_sched_new(ir, f, 1);
  ts_replay r = {.keep_going = true};
  (void)!ts_sched_replay_trace(s, &cut, &r, NULL);
  const char *bad = w->state ? state_complaint(a, f, s) : judge(a, f, s, w->compiler ? &z : NULL);
  if (bad && of_compiler(bad) != w->compiler) bad = NULL;
  if (bad && out) (w->compiler ? print_function : print_schedule)(out, w, s);
  return bad;
}

static void save(const failure *w, const char *text, size_t n) {
  ts_arena *a = ts_arena_new("save");
  ts_diag d = {0};
  const char *path = ts_arena_printf(a, "%s/%s/cases/fuzz_%llu.%s", w->o->save, w->compiler ? "codegen" : "schedule",
                                     (unsigned long long)w->seed, w->compiler ? "tir" : "txt");
  if (ts_file_write(path, text, n, &d))
    fprintf(stderr, "%s\n", path);
  else
    ts_diag_print(stderr, &d);
  ts_arena_free(a);
}

static void report(ts_arena *a, const failure *w, const char *what) {
  bool *dropped = ts_new_array(a, bool, w->trace->n + 1);
  ts_text out = {0};
  memset(dropped, 0, sizeof(bool) * (size_t)(w->trace->n + 1));
  for (bool again = true; again;) {
    again = false;
    for (int i = w->trace->n - 1; i >= 0; i--) {
      if (dropped[i]) continue;
      dropped[i] = true;
      if (still_bad(a, w, dropped, NULL))
        again = true;
      else
        dropped[i] = false;
    }
  }
  const char *bad = still_bad(a, w, dropped, &out);
  fprintf(stderr, "seed %llu: %s\n", (unsigned long long)w->seed, bad ? bad : what);
  if (w->o->save)
    save(w, ts_text_str(&out), out.n);
  else
    fprintf(stderr, "%s", ts_text_str(&out));
  ts_text_free(&out);
}

// --- one sequence
// --------------------------------------------------------------------------------------------------------- The steps
// of the trace from number `from` on that are not look-ups or draws.
static int rewrites(const ts_trace *t, int from) {
  int n = 0;
  for (int k = from; k < t->n; k++) n += !(ts_prim_get(t->inst[k]->prim)->flags & (TS_PRIM_PURE | TS_PRIM_SAMPLING));
  return n;
}

// Draws a step and counts; NULL, or what a refusal did to the state.
static const char *one_step(ts_sched *s, ts_rng *r, bool threads, totals *z) {
  const ts_func *was = ts_sched_func(s);
  int steps = ts_sched_trace(s)->n;
  bool ok = step_draw(s, r, threads);
  const ts_trace *t = ts_sched_trace(s);
  for (int k = steps; k < t->n; k++) z->by_prim[t->inst[k]->prim]++;
  z->applied += (uint64_t)rewrites(t, steps);
  if (ok || ts_sched_refusal(s)->code == TS_R_none) return NULL;
  z->refused++;
  z->by_code[ts_sched_refusal(s)->code]++;
  z->refused_by_prim[ts_sched_refusal(s)->prim]++;
  return !rewrites(t, steps) && !ts_func_equal(ts_sched_func(s), was) ? "a refusal changed the function" : NULL;
}

static void sequence_run(ts_arena *a, const options *o, const char *text, uint64_t number, uint64_t seed, ts_rng *r,
                         totals *z) {
  ts_ir *ir = ts_ir_new(a);
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(ir, "program", text, strlen(text), NULL, 0, &d);
  if (!f || !ts_func_verify(f, &d)) {
    fprintf(stderr, "seed %llu: the program is not well made: %s\n%s", (unsigned long long)seed, d.message, text);
    z->failures++;
    return;
  }
  ts_sched *s = ts_sched_new(ir, f, seed);
  const char *bad = NULL;
  for (int i = 0; i < STEPS && !bad; i++) bad = one_step(s, r, number % 4 == 3, z);
  bool compile = o->every && number % o->every == 0;
  if (!bad) bad = judge(a, f, s, compile ? &z->compiled : NULL);
  bool wrong = bad != NULL;
  if (!bad && number % 8 == 0) bad = state_complaint(a, f, s);
  if (!bad) return;
  failure w = {
      .o = o, .seed = seed, .text = text, .trace = ts_sched_trace(s), .compiler = of_compiler(bad), .state = !wrong};
  report(a, &w, bad);
  z->failures++;
}

static char running[64];
static void crashed(int signal_number) {
  (void)!write(2, running, strlen(running));
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

static void sequence(const options *o, uint64_t number, totals *z) {
  uint64_t seed = o->seed * 1000000007u + number;
  ts_arena *a = ts_arena_new("sequence");
  ts_rng r = ts_rng_new(seed, 3);
  ts_text text = {0};
  snprintf(running, sizeof running, "crashed in sequence %llu\n", (unsigned long long)number);
  program_write(&text, &r);
  sequence_run(a, o, ts_text_str(&text), number, seed, &r, z);
  z->sequences++;
  ts_text_free(&text);
  ts_arena_free(a);
}

// --- the program
// ------------------------------------------------------------------------------------------------------------
static void print_table(const totals *z) {
  for (int p = 0; p < TS_P__COUNT; p++)
    printf("%-24s applied %7llu refused %7llu\n", ts_prim_get((ts_prim)p)->name, (unsigned long long)z->by_prim[p],
           (unsigned long long)z->refused_by_prim[p]);
  for (int c = 0; c < TS_R__COUNT; c++)
    if (z->by_code[c]) printf("%-24s refusals %7llu\n", ts_rcode_name((ts_rcode)c), (unsigned long long)z->by_code[c]);
  for (int c = 0; c < COMPILED_CODES && z->compiled.by_code[c].n; c++)
    printf("%-24s compiler %7llu\n", z->compiled.by_code[c].code, (unsigned long long)z->compiled.by_code[c].n);
}

// Is there a primitive, or the compiler, of which the sequences say nothing?
static int uncovered(const options *o, const totals *z) {
  int n = 0;
  for (int p = 0; p < TS_P__COUNT; p++) {
    if (z->by_prim[p]) continue;
    fprintf(stderr, "never applied: %s\n", ts_prim_get((ts_prim)p)->name);
    n++;
  }
  if (o->every && !z->compiled.made) fprintf(stderr, "nothing was compiled\n"), n++;
  return n;
}

static int usage(void) {
  fprintf(stderr,
          "usage: schedule_fuzz [--compile K] [--first I] [--save DIR] [--table] [--cover] SEQUENCES SEED | --seconds "
          "N SEED\n");
  return 2;
}

static bool options_read(int argc, char **argv, options *o) {
  int at = 1;
  *o = (options){.every = 8, .count = UINT64_MAX};
  for (; at < argc && argv[at][0] == '-'; at++) {
    const char *key = argv[at];
    if (!strcmp(key, "--table"))
      o->table = true;
    else if (!strcmp(key, "--cover"))
      o->cover = true;
    else if (++at == argc)
      return false;
    else if (!strcmp(key, "--compile"))
      o->every = strtoull(argv[at], NULL, 10);
    else if (!strcmp(key, "--first"))
      o->first = strtoull(argv[at], NULL, 10);
    else if (!strcmp(key, "--save"))
      o->save = argv[at];
    else if (!strcmp(key, "--seconds"))
      o->seconds = strtoull(argv[at], NULL, 10);
    else
      return false;
  }
  if (argc - at != (o->seconds ? 1 : 2)) return false;
  if (!o->seconds) o->count = strtoull(argv[at++], NULL, 10);
  o->seed = strtoull(argv[at], NULL, 10);
  return true;
}

int main(int argc, char **argv) {
  options o;
  totals z = {0};
  if (!options_read(argc, argv, &o)) return usage();
  for (int k = 0; k < 4; k++) signal((const int[]){SIGSEGV, SIGBUS, SIGABRT, SIGFPE}[k], crashed);
  uint64_t begin = ts_now_ns(), end = o.seconds ? begin + o.seconds * 1000000000u : UINT64_MAX;
  for (uint64_t i = 0; i < o.count && ts_now_ns() < end && z.failures < 10; i++) sequence(&o, o.first + i, &z);
  double s = (double)(ts_now_ns() - begin) * 1e-9;
  int absent = 0;
  for (int p = 0; p < TS_P__COUNT; p++) absent += !z.by_prim[p];
  printf(
      "sequences %llu count\nsteps-applied %llu count\nsteps-refused %llu count\nprimitives-applied %d count\ncompiled "
      "%llu count\n"
      "compiled-runs %llu count\ncompile-refused %llu count\nfailures %llu count\nsequences-per-second %.0f 1/s\n",
      (unsigned long long)z.sequences, (unsigned long long)z.applied, (unsigned long long)z.refused,
      TS_P__COUNT - absent, (unsigned long long)z.compiled.made, (unsigned long long)z.compiled.runs,
      (unsigned long long)z.compiled.refused, (unsigned long long)z.failures, (double)z.sequences / s);
  if (o.table) print_table(&z);
  return z.failures || (o.cover && uncovered(&o, &z));
}
