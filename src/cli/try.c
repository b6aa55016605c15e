// tunesmith try: every kernel that is known for a workload, on the device: does it compute what the operator says, and how fast.
#include <math.h>

#include "cli/cli.h"
#include "codegen/codegen.h"
#include "device/device.h"
#include "measure/measure.h"
#include "search/search.h"

typedef struct options {
  const char *target, *only, *numerics, *cache, *format;
  int64_t points, seed, threads;
  bool judge, final;
} options;
typedef struct tally {
  int64_t workloads, candidates, right, wrong, refused;
} tally;

static bool is_right(const ts_trial_row *r) { return strcmp(r->outcome, "ok") == 0; }
static bool is_refused(const ts_trial_row *r) { return strcmp(r->outcome, "refused") == 0; }

static void count(const ts_trial_result *r, tally *t) {
  t->workloads++;
  for (size_t i = 0; i < r->n; i++) {
    t->candidates++;
    if (is_right(&r->rows[i])) t->right++;
    else if (is_refused(&r->rows[i])) t->refused++;
    else t->wrong++;
  }
}

// The best of the rows [from, to), which are one sketch's; NULL when none is right. In a final only its rows count.
static const ts_trial_row *best_of(const ts_trial_result *r, size_t from, size_t to) {
  const ts_trial_row *best = NULL;
  for (size_t i = from; i < to; i++) {
    const ts_trial_row *x = &r->rows[i];
    if (!is_right(x) || (best && best->in_final && !x->in_final)) continue;
    if (!best || (x->in_final && !best->in_final) || x->stats.median < best->stats.median) best = x;
  }
  return best;
}

static size_t sketch_end(const ts_trial_result *r, size_t from) {
  size_t to = from + 1;
  while (to < r->n && strcmp(r->rows[to].sketch, r->rows[from].sketch) == 0) to++;
  return to;
}

// A native template's point is one line, a trace is many.
static void show_failed(const ts_trial_row *r) {
  const char *end = strchr(r->point, '\n');
  bool one = !end || !end[1];
  printf("  %-18s %s: %s%s%.*s\n", r->sketch, r->outcome, r->message, one ? ": " : "", one ? (int)strcspn(r->point, "\n") : 0, r->point);
}

static void show(const char *workload, const ts_trial_result *r, const tally *t) {
  printf("%s: %lld right, %lld wrong, %lld refused of %lld\n", workload, (long long)t->right, (long long)t->wrong, (long long)t->refused, (long long)t->candidates);
  for (size_t i = 0; i < r->n; i = sketch_end(r, i)) {
    size_t to = sketch_end(r, i);
    const ts_trial_row *b = best_of(r, i, to);
    double worst = 0;
    for (size_t k = i; k < to; k++) worst = fmax(worst, is_right(&r->rows[k]) ? r->rows[k].rel_error : 0);
    if (b) printf("  %-18s %3zu tried, largest error %8.2g, best %10.2f us %8.1f GB/s %9.2f TFLOP/s\n", b->sketch, to - i, worst, b->stats.median / 1e3, r->cost.bytes / b->stats.median,
                  r->cost.flops / b->stats.median / 1e3);
    for (size_t k = i; k < to; k++)
      if (!is_right(&r->rows[k])) show_failed(&r->rows[k]);
  }
}

static void add_row(ts_text *t, const ts_trial_row *r) {
  ts_text_add(t, "{\"sketch\": ");
  ts_text_add_json(t, r->sketch);
  ts_text_addf(t, ", \"source\": \"%s\", \"outcome\": \"%s\", \"message\": ", r->source, r->outcome);
  ts_text_add_json(t, r->message);
  ts_text_add(t, ", \"point\": ");
  ts_text_add_json(t, r->point);
  if (is_right(r))
    ts_text_addf(t, ", \"rel_error\": %.3g, \"median_ns\": %.1f, \"ci_lo\": %.1f, \"ci_hi\": %.1f, \"final\": %s", r->rel_error, r->stats.median, r->stats.ci_lo, r->stats.ci_hi,
                 r->in_final ? "true" : "false");
  ts_text_add(t, "}");
}

static void show_json(const char *workload, const ts_trial_result *r) {
  ts_text t = {0};
  ts_text_add(&t, "{\"workload\": ");
  ts_text_add_json(&t, workload);
  ts_text_addf(&t, ", \"flops\": %.0f, \"bytes\": %.0f, \"restarts\": %d, \"best\": [", r->cost.flops, r->cost.bytes, r->restarts);
  bool first = true;
  for (size_t i = 0; i < r->n; i = sketch_end(r, i)) {
    const ts_trial_row *b = best_of(r, i, sketch_end(r, i));
    if (!b) continue;
    if (!first) ts_text_add(&t, ", ");
    first = false;
    add_row(&t, b);
  }
  ts_text_add(&t, "], \"candidates\": [");
  for (size_t i = 0; i < r->n; i++) {
    if (i) ts_text_add(&t, ", ");
    add_row(&t, &r->rows[i]);
  }
  ts_text_add(&t, "]}");
  puts(ts_text_str(&t));
  ts_text_free(&t);
}

// One workload that cannot be prepared is told; the others go on.
static void tell_failed(const char *workload, const ts_diag *d, bool json) {
  ts_diag told = *d;
  snprintf(told.message, sizeof told.message, "%.300s: %.690s", workload, d->message);
  ts_diag_print(stderr, &told);
  if (!json) return;
  ts_text t = {0};
  ts__json_pair(&t, "{", "workload", workload);
  ts__json_pair(&t, ", ", "error", d->message);
  ts__json_pair(&t, ", ", "code", d->code);
  printf("%s}\n", ts_text_str(&t));
  ts_text_free(&t);
}

typedef struct teller {
  const ts_spec *specs;
  bool json;
  tally all;
} teller;

static void tell(void *arg, size_t i, const ts_trial_result *r, const ts_diag *why) {
  teller *x = arg;
  tally here = {0};
  ts_text name = {0};
  ts_spec_print(&name, &x->specs[i]);
  const char *workload = ts_text_str(&name);
  if (!r) tell_failed(workload, why, x->json);
  if (r) count(r, &here);
  else here = (tally){.workloads = 1, .candidates = 1, .wrong = 1};
  if (r && x->json) show_json(workload, r);
  else if (r) show(workload, r, &here);
  ts_text_free(&name);
  fflush(stdout);
  x->all.workloads += here.workloads;
  x->all.candidates += here.candidates;
  x->all.right += here.right;
  x->all.wrong += here.wrong;
  x->all.refused += here.refused;
}

static bool parse_all(ts_arena *a, char **args, int nargs, ts_spec *out, ts_diag *d) {
  ts_op_inst inst;
  for (int i = 0; i < nargs; i++) {
    TS_TRY(ts_spec_parse(a, args[i], &out[i], d));
    ts_spec_canonical(a, &out[i]);
    TS_TRY(ts_op_instantiate(ts_ir_new(a), &out[i], "", &inst, d));
  }
  return true;
}

static bool check_options(const options *o, ts_diag *d) {
  bool json;
  TS_TRY(ts_cli_json(o->format, &json, d) && ts_op_numerics(o->numerics, d));
  if (o->points < 1 || o->points > 64) return ts_refuse(d, "bad-option", "--points %lld is not 1 to 64", (long long)o->points);
  TS_TRY(ts_cli_threads(o->threads, d));
  return true;
}

static bool run(ts_arena *a, const options *o, char **args, int nargs, tally *all, ts_diag *d) {
  ts_target t, host;
  ts_spec *specs = ts_new_array(a, ts_spec, nargs);
  TS_TRY(check_options(o, d) && ts_target_parse(o->target, &t, d) && ts_target_parse("cpu", &host, d) && ts_target_runs_here(&t, d) && parse_all(a, args, nargs, specs, d));
  ts_cli_note_gpu(&t);
  ts_trial_opts to = {.target = &t, .numerics = o->numerics, .only = o->only, .points = (int)o->points, .judge = o->judge, .final = o->final, .seed = (uint64_t)o->seed,
                      .threads = (int)o->threads};
  int lock = -1;
  bool gpu = t.api == TS_API_CUDA;
  ts_compiler *c = ts_compiler_open(&t, TS_MAX(gpu ? host.cores - 2 : host.cores, 1), o->cache, d);
  // verdicts stay what they are when others run beside
  bool ok = c && (o->judge || ts_device_lock(gpu ? ts_arena_printf(a, "cuda%d", t.gpu.device) : "cpu", &lock, d));
  teller x = {.specs = specs, .json = strcmp(o->format, "json") == 0};
  ok = ok && ts_trials(specs, (size_t)nargs, c, &to, tell, &x, d);
  *all = x.all;
  ts_compiler_close(c);
  ts_device_unlock(lock);
  return ok;
}

int ts_cmd_try(int argc, char **argv) {
  options o = {.target = "cpu", .numerics = "", .format = "table", .points = 3, .seed = 1};
  const ts_opt opts[] = {
      {"target", TS_OPT_TEXT, &o.target, "T", "cpu, cuda, cuda:1 ... (cpu)"},
      {"only", TS_OPT_TEXT, &o.only, "TEXT,...", "sketches whose name holds one of these texts"},
      {"points", TS_OPT_COUNT, &o.points, "N", "candidates of each sketch, at most (3)"},
      {"judge", TS_OPT_FLAG, &o.judge, NULL, "only verdicts matter: hardly any time is spent on timing, others may run beside"},
      {"final", TS_OPT_FLAG, &o.final, NULL, "time the best of each sketch again, in turn"},
      {"numerics", TS_OPT_TEXT, &o.numerics, "NAME", "also try variants with these numerics (a8: 8-bit activations)"},
      {"seed", TS_OPT_INT, &o.seed, "N", "seed of draws and of the data (1)"},
      {"threads", TS_OPT_COUNT, &o.threads, "N", "threads that kernels run on (one per core)"},
      {"cache", TS_OPT_TEXT, &o.cache, "DIR", "keep compiled kernels here"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json (a line for each workload)"},
  };
  const ts_cli c = {.command = "try", .usage = "WORKLOAD... [options]",
                    .about = "Tries every kernel sketch of each workload on the device, at a few of its points: the operator judges what is computed, then it is\n"
                             "timed with cold weights. Nothing is recorded. Status 1 when any of them is wrong, crashes or hangs; one that does not compile for\n"
                             "the shape is refused, which is no failure.",
                    .opts = opts, .nopts = TS_COUNTOF(opts), .min_args = 1, .max_args = -1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("try");
  ts_diag d = {0};
  tally all = {0};
  bool ok = run(a, &o, args, nargs, &all, &d);
  code = ok ? all.wrong > 0 : ts_cli_fail(&d);
  if (ok && ts_interrupted()) code = 130;
  if (ok && strcmp(o.format, "table") == 0)
    printf("%lld workloads: %lld candidates, %lld right, %lld wrong, %lld refused\n", (long long)all.workloads, (long long)all.candidates, (long long)all.right, (long long)all.wrong,
           (long long)all.refused);
  ts_arena_free(a);
  return code;
}
