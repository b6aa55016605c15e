// tunesmith schedule: apply a trace to an operator step by step; show, explain, check, lower, measure, or work by hand.
#include "cli/schedule.h"

#include <unistd.h>

static int list_primitives(void) {
  for (int p = 0; p < TS_P__COUNT; p++) {
    const ts_prim_info *i = ts_prim_get((ts_prim)p);
    printf("%-24s%-48s%-4s%s\n", i->name, i->args, i->results, i->doc);
  }
  return 0;
}

static bool schedule(ts_arena *a, char **args, int nargs, const ts__work_opts *o, ts_diag *d) {
  ts__work w = {.a = a, .ir = ts_ir_new(a), .o = o};
  TS_TRY(ts__work_open(&w, args[0], d));
  if (nargs > 1) {
    const ts_trace *t = ts__work_trace(&w, args[1], d);
    TS_TRY(t && ts__work_replay(&w, t, d));
  }
  if (o->interactive) return ts__work_interactive(&w, d);
  bool json = !strcmp(o->format, "json");
  if (o->simplify || o->minimise) return ts__work_reduced(&w, d);
  if (o->explain) return ts__work_explain(&w, o->explain, json, d);
  if (!o->quiet && !o->measure && !o->report && !(o->step && nargs > 1)) ts__func_show(ts_sched_func(w.s));
  if (o->run) TS_TRY(ts__work_run(&w, d));
  if (o->execute) TS_TRY(ts__work_execute(&w, d));
  if (o->limits) TS_TRY(ts__work_limits(&w, json, d));
  if (o->lower || o->assembly) TS_TRY(ts__work_lower(&w, o->lower, o->assembly, d));
  return !o->measure || ts__work_measure(&w, json, d);
}

// --diff A [WORKLOAD] B: two traces, on an operator when there is one.
static bool diff(ts_arena *a, char **args, int nargs, const ts__work_opts *o, int *code, ts_diag *d) {
  ts__work w = {.a = a, .ir = ts_ir_new(a), .o = o};
  const char *other = args[nargs - 1];
  if (nargs == 2) TS_TRY(ts__work_open(&w, args[0], d));
  return ts__traces_compare(a, nargs == 2 ? &w : NULL, o->diff, other, code, d);
}

static bool options_check(ts__work_opts *o, int nargs, ts_diag *d) {
  if (strcmp(o->format, "text") && strcmp(o->format, "json"))
    return ts_refuse(d, "usage", "schedule: --format is text or json, not '%s'", o->format);
  if (!nargs) {
    ts_refuse(d, "usage",
              o->diff ? "schedule: --diff wants a second trace" : "schedule: a workload or a file is needed");
    ts_hint(d, "tunesmith schedule --help");
    return false;
  }
  bool asked = o->step || o->quiet || o->run || o->execute || o->limits || o->lower || o->assembly || o->measure || o->report || o->simplify ||
               o->minimise || o->explain || o->diff;
  if (nargs == 1 && !asked && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) o->interactive = true;
  return true;
}

int ts_cmd_schedule(int argc, char **argv) {
  ts__work_opts o = {.variant = "", .target = "cpu", .format = "text", .n = 4};
  const ts_opt opts[] = {
      {"list", TS_OPT_FLAG, &o.list, NULL, "name every primitive, its arguments and results, one a line"},
      {"i", TS_OPT_FLAG, &o.interactive, NULL, "work by hand: steps are typed, undone, checked and saved as a trace"},
      {"p", TS_OPT_LIST, &o.params, "NAME=VALUE",
       "a parameter of the workload or file, or the quantization's name; may be repeated"},
      {"variant", TS_OPT_TEXT, &o.variant, "NAME", "of the operator (default: the reference)"},
      {"step", TS_OPT_FLAG, &o.step, NULL, "show the function after every step"},
      {"report", TS_OPT_FLAG, &o.report, NULL, "say of each step whether it was applied, adapted, refused or skipped"},
      {"quiet", TS_OPT_FLAG, &o.quiet, NULL, "do not show the function"},
      {"explain", TS_OPT_TEXT, &o.explain, "BLOCK",
       "its iterators, accesses, dependences, and what keeps its loops from being parallel"},
      {"run", TS_OPT_FLAG, &o.run, NULL,
       "interpret on random data, races checked, and compare with the function as written"},
      {"execute", TS_OPT_FLAG, &o.execute, NULL,
       "compile for the target, run it there on random data, and compare with the function as written, interpreted"},
      {"n", TS_OPT_COUNT, &o.n, "N",
       "value of symbolic dimensions for --run and --execute, raised to what their facts allow (4)"},
      {"limits", TS_OPT_FLAG, &o.limits, NULL, "say what it asks of the target, a GPU, before it is lowered: threads, shared memory, registers; status 2 when that is too much"},
      {"lower", TS_OPT_FLAG, &o.lower, NULL, "show the lowered function"},
      {"asm", TS_OPT_FLAG, &o.assembly, NULL, "show the machine code"},
      {"measure", TS_OPT_FLAG, &o.measure, NULL, "compile, verify, and time it in turn with the default schedule"},
      {"threads", TS_OPT_COUNT, &o.threads, "N", "of --measure (one per physical core)"},
      {"target", TS_OPT_TEXT, &o.target, "TARGET", "of --limits, --lower, --asm, --execute and --measure (cpu)"},
      {"simplify", TS_OPT_FLAG, &o.simplify, NULL,
       "print the trace without what nothing uses, with plain names and its decisions"},
      {"minimise", TS_OPT_FLAG, &o.minimise, NULL, "print the fewest steps that make the same function"},
      {"diff", TS_OPT_TEXT, &o.diff, "TRACE",
       "compare this trace with the last argument; with a workload, say where the functions part"},
      {"format", TS_OPT_TEXT, &o.format, "F", "of --report, --explain, --limits and --measure: text or json"},
      {"keep-going", TS_OPT_FLAG, &o.keep_going, NULL, "go on after a refused step, skipping what needs its results"},
      {"strict", TS_OPT_FLAG, &o.strict, NULL, "refuse decisions that do not fit instead of adapting them"},
      {"seed", TS_OPT_INT, &o.seed, "N", "of sampling steps without a decision, and of the data"},
  };
  const ts_cli c = {
      .command = "schedule",
      .usage = "--list | WORKLOAD|FILE.tir [TRACE] [options] | --diff TRACE [WORKLOAD] TRACE",
      .about =
          "Applies a trace to an operator and shows the result, or why a step is refused.\n"
          "WORKLOAD is an operator with its parameters, \"matmul q4f16_1 N=64 K=128 A=f32\"; a file holds one "
          "function, or is an operator or\n"
          "variant of kernels/ops. Parameters may also be given by -p: kernels/ops/silu_mul.tir -p I=64 -p A=f32.\n"
          "On a terminal, without a trace and options, it is interactive (-i). --diff exits with 1 when the traces "
          "differ.",
      .opts = opts,
      .nopts = (int)TS_COUNTOF(opts),
      .max_args = 2};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  if (o.list) return list_primitives();
  ts_diag d = {0};
  if (!options_check(&o, nargs, &d)) return ts_cli_fail(&d);
  ts_arena *a = ts_arena_new("schedule");
  code = 0;
  bool ok = o.diff ? diff(a, args, nargs, &o, &code, &d) : schedule(a, args, nargs, &o, &d);
  if (!ok) code = ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}
