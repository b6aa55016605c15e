// tunesmith schedule: apply a trace to an operator step by step; show, check, lower.
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "codegen/codegen.h"
#include "op/op.h"
#include "schedule/schedule.h"

typedef struct options {
  const char *variant, *target;
  bool list, step, quiet, run, lower, assembly, keep_going, strict;
  int64_t seed, n;
} options;

static int list_primitives(void) {
  for (int p = 0; p < TS_P__COUNT; p++) {
    const ts_prim_info *i = ts_prim_get((ts_prim)p);
    printf("%-24s%-48s%-4s%s\n", i->name, i->args, i->results, i->doc);
  }
  return 0;
}

// --- the function -----------------------------------------------------------------------------------------------------
static bool is_file(const char *s) {
  size_t n = strlen(s);
  return n > 4 && strcmp(s + n - 4, ".tir") == 0;
}

// A workload ("matmul q4f16_1 N=64 K=128 A=f32"), or a file with one function.
static const ts_func *function_get(ts_ir *ir, const char *what, const options *o, ts_diag *d) {
  ts_arena *a = ts_ir_arena(ir);
  if (is_file(what)) {
    char *text;
    size_t n;
    if (!ts_file_read(what, a, &text, &n, d)) return NULL;
    const ts_func *f = ts_func_parse(ir, what, text, n, NULL, 0, d);
    return f && ts_func_verify(f, d) ? f : NULL;
  }
  ts_spec spec;
  ts_op_inst inst;
  if (!ts_spec_parse(a, what, &spec, d) || !ts_op_instantiate(ir, &spec, o->variant, &inst, d)) return NULL;
  return inst.func;
}

static void show(const ts_func *f) {
  ts_text t = {0};
  ts_func_print(&t, f);
  fputs(ts_text_str(&t), stdout);
  ts_text_free(&t);
}

// --- running -------------------------------------------------------------------------------------------------------------
static bool dims_get(const ts_func *f, int64_t n, int64_t *dims, ts_diag *d) {
  if (f->ndims > 8) return ts_refuse(d, "too-many-dimensions", "%s has %d symbolic dimensions", f->name, f->ndims);
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *x = &f->dims[i];
    int64_t m = x->multiple, v = (TS_MAX(n, x->lo) + m - 1) / m * m;
    dims[i] = v > x->hi ? x->hi / m * m : v;
  }
  return true;
}

static bool array_make(ts_arena *a, const ts_func *f, const int64_t *dims, const ts_param *p, ts_rng *r, ts_array **out, ts_diag *d) {
  const ts_var *vars[8];
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  ts_array *x = *out = ts_new(a, ts_array);
  *x = (ts_array){.code = p->buf->code, .ndim = p->buf->ndim};
  int64_t count = 1;
  for (int k = 0; k < x->ndim; k++)
    if (!ts_eval_int(p->buf->shape[k], vars, dims, f->ndims, &x->shape[k]) || x->shape[k] < 0 || __builtin_mul_overflow(count, x->shape[k], &count) ||
        count > (int64_t)1 << 28)
      return ts_refuse(d, "too-large", "%s is too large to interpret", p->buf->name);
  x->data = ts_arena_alloc(a, (size_t)(count + 1) * (size_t)ts_code_bytes(x->code), 64);
  for (int64_t i = 0; i < count; i++)
    ts_array_set(x, i, ts_code_is_float(x->code) ? (double)((int)ts_rng_below(r, 33) - 16) / 16 : (double)ts_rng_below(r, 100));
  return true;
}

static bool interpret(ts_arena *a, const ts_func *f, const options *o, ts_array **args, ts_diag *d) {
  int64_t dims[8];
  ts_rng r = ts_rng_new((uint64_t)o->seed, 1);
  ts_interp_opts opts = {.check_races = true};
  TS_TRY(dims_get(f, o->n, dims, d));
  for (int i = 0; i < f->nparams; i++) TS_TRY(array_make(a, f, dims, &f->params[i], &r, &args[i], d));
  return ts_interp_run(f, dims, args, &opts, d);
}

// The largest difference of an output from that of the function as written, relative to its largest magnitude.
static bool run_both(ts_arena *a, const ts_func *f, const ts_func *g, const options *o, ts_diag *d) {
  ts_array **x = ts_new_array(a, ts_array *, f->nparams), **y = ts_new_array(a, ts_array *, f->nparams);
  TS_TRY(interpret(a, f, o, x, d) && interpret(a, g, o, y, d));
  bool same = true;
  for (int i = 0; i < f->nparams; i++) {
    if (f->params[i].role == TS_IN) continue;
    double top = 0, worst = 0;
    for (int64_t k = 0; k < ts_array_count(x[i]); k++) {
      top = fmax(top, fabs(ts_array_get(x[i], k)));
      worst = fmax(worst, fabs(ts_array_get(x[i], k) - ts_array_get(y[i], k)));
    }
    double error = worst > 0 ? worst / fmax(top, 1e-300) : 0;
    printf("run: %s differs by %.3g of its largest element\n", f->params[i].buf->name, error);
    same &= error <= 1e-3;
  }
  return same || ts_refuse(d, "wrong-result", "the scheduled function computes something else");
}

// --- stepping ---------------------------------------------------------------------------------------------------------------
static void refusal_show(const ts_sched *s, const char *file, const char *line) {
  ts_text t = {0};
  ts_refusal_render(&t, ts_sched_refusal(s), ts_sched_func(s), file, line);
  fputs(ts_text_str(&t), stderr);
  ts_text_free(&t);
}

// Every step, and the function after it.
static bool steps_show(ts_arena *a, ts_sched *s, const ts_trace *t, ts_diag *d) {
  for (int i = 0; i < t->n; i++) {
    ts_text line = {0};
    ts_inst_print(&line, t, t->inst[i]);
    const char *step = ts_arena_strdup(a, ts_text_str(&line));
    ts_text_free(&line);
    const ts_func *before = ts_sched_func(s);
    printf("# %s\n", step);
    if (!ts_sched_step(s, step, d)) {
      refusal_show(s, t->file, step);
      return false;
    }
    if (ts_sched_func(s) != before) show(ts_sched_func(s));
  }
  return true;
}

static void report_show(const ts_trace *t, const ts_replay *r) {
  static const char *const word[] = {"applied", "adapted", "refused", "skipped"};
  for (int i = 0; i < r->n; i++)
    if (r->step[i].outcome != TS_STEP_APPLIED)
      fprintf(stderr, "%s:%d: %s: %s\n", t->file, r->step[i].line, word[r->step[i].outcome], r->step[i].note);
}

static bool trace_run(ts_arena *a, ts_sched *s, const char *path, const options *o, ts_diag *d) {
  char *text;
  size_t n;
  TS_TRY(ts_file_read(path, a, &text, &n, d));
  const ts_trace *t = ts_trace_parse(a, path, text, n, d);
  if (!t) return false;
  if (o->step) return steps_show(a, s, t, d);
  ts_replay r = {.strict = o->strict, .keep_going = o->keep_going};
  bool ok = ts_sched_replay_trace(s, t, &r, d);
  report_show(t, &r);
  if (!ok && !o->keep_going) refusal_show(s, path, NULL);
  return ok || o->keep_going;
}

static bool lowered_show(ts_ir *ir, const ts_func *f, const options *o, ts_diag *d) {
  ts_target t;
  const ts_func *loops;
  TS_TRY(ts_target_parse(o->target, &t, d));
  if (o->lower) {
    TS_TRY(ts_lower(ir, f, &t, &loops, d));
    show(loops);
  }
  ts_text text = {0};
  bool ok = !o->assembly || ts_codegen_asm(f, &t, &text, d);
  fputs(ts_text_str(&text), stdout);
  ts_text_free(&text);
  return ok;
}

static bool schedule(ts_arena *a, char **args, int nargs, const options *o, ts_diag *d) {
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = function_get(ir, args[0], o, d);
  if (!f) return false;
  ts_sched *s = ts_sched_new(ir, f, (uint64_t)o->seed);
  if (nargs > 1) TS_TRY(trace_run(a, s, args[1], o, d));
  const ts_func *g = ts_sched_func(s);
  if (!o->quiet && !(o->step && nargs > 1)) show(g);
  if (o->run) TS_TRY(run_both(a, f, g, o, d));
  return !(o->lower || o->assembly) || lowered_show(ir, g, o, d);
}

int ts_cmd_schedule(int argc, char **argv) {
  options o = {.variant = "", .target = "cpu", .n = 4};
  const ts_opt opts[] = {
      {"list", TS_OPT_FLAG, &o.list, NULL, "name every primitive, its arguments and results, one a line"},
      {"variant", TS_OPT_TEXT, &o.variant, "NAME", "of the operator (default: the reference)"},
      {"step", TS_OPT_FLAG, &o.step, NULL, "show the function after every step"},
      {"quiet", TS_OPT_FLAG, &o.quiet, NULL, "do not show the function"},
      {"run", TS_OPT_FLAG, &o.run, NULL, "interpret on random data, races checked, and compare with the function as written"},
      {"n", TS_OPT_INT, &o.n, "N", "value of symbolic dimensions for --run, raised to what their facts allow (4)"},
      {"lower", TS_OPT_FLAG, &o.lower, NULL, "show the lowered function"},
      {"asm", TS_OPT_FLAG, &o.assembly, NULL, "show the machine code"},
      {"target", TS_OPT_TEXT, &o.target, "TARGET", "of --lower and --asm (cpu)"},
      {"keep-going", TS_OPT_FLAG, &o.keep_going, NULL, "go on after a refused step, skipping what needs its results"},
      {"strict", TS_OPT_FLAG, &o.strict, NULL, "refuse decisions that do not fit instead of adapting them"},
      {"seed", TS_OPT_INT, &o.seed, "N", "of sampling steps without a decision, and of the data"},
  };
  const ts_cli c = {.command = "schedule", .usage = "--list | WORKLOAD|FILE.tir [TRACE] [options]",
                    .about = "Applies a trace to an operator and shows the result, or why a step is refused.\n"
                             "WORKLOAD is an operator with its parameters, \"matmul q4f16_1 N=64 K=128 A=f32\"; a file holds one function.",
                    .opts = opts, .nopts = (int)TS_COUNTOF(opts), .max_args = 2};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  if (o.list) return list_primitives();
  ts_diag d = {0};
  if (!nargs) {
    ts_refuse(&d, "usage", "schedule: a workload or a file is needed");
    ts_hint(&d, "tunesmith schedule --help");
    return ts_cli_fail(&d);
  }
  ts_arena *a = ts_arena_new("schedule");
  bool ok = schedule(a, args, nargs, &o, &d);
  code = ok ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}
