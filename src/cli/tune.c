// tunesmith tune: search for fast kernels of a model's workloads, or of named ones.
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "model/model.h"
#include "search/search.h"

typedef struct options {
  const char *model, *quant, *target, *store, *cache, *numerics, *format, *timer, *paging, *phases;
  double budget;
  int64_t trials, seed, threads, max_seq_len, chunk;
  bool list, counters, unstable;
} options;

typedef struct steps {
  const ts_tune_step *v;
  size_t n;
} steps;

// Those that the phases use.
static void keep_phases(ts_arena *a, unsigned phases, const ts_task **list, size_t *n) {
  ts_task *kept = ts_new_array(a, ts_task, *n + 1);
  size_t k = 0;
  for (size_t i = 0; i < *n; i++)
    if ((*list)[i].phases & phases) kept[k++] = (*list)[i];
  *list = kept;
  *n = k;
}

static bool model_tasks(ts_arena *a, const options *o, ts_tune_task **tasks, size_t *n, steps *s, ts_diag *d) {
  ts_source src;
  unsigned phases;
  const ts_quant *q = ts_quant_find(o->quant, d);
  if (!q || !ts_phases_parse(o->phases, &phases, d) || !ts_source_open(a, o->model, &src, d)) return false;
  const ts_task *list;
  ts_target t;
  ts_paging paging;
  bool ok = ts_target_parse(o->target, &t, d) && ts_paging_parse(o->paging, &paging, d) &&
            ts_model_tasks(a, &src.config, q, t.api, o->max_seq_len, o->chunk, paging, &list, n, d);
  if (ok) keep_phases(a, phases, &list, n);
  if (ok && !*n) ok = ts_refuse(d, "no-tasks", "a model for %s has no kernels in the phases '%s'", o->target, o->phases);
  ok = ok && ts_model_steps(a, &src.config, q, t.api, o->max_seq_len, o->chunk, paging, list, *n, phases, &s->v, &s->n, d);
  if (ok) {
    *tasks = ts_new_array(a, ts_tune_task, *n + 1);
    for (size_t i = 0; i < *n; i++)  // a prompt token counts as much as a generated one
      (*tasks)[i] = (ts_tune_task){.spec = list[i].spec, .weight = (double)list[i].calls / (double)list[i].rows};
  }
  ts_source_close(&src);
  return ok;
}

static bool named_tasks(ts_arena *a, char **args, int nargs, ts_tune_task **tasks, size_t *n, ts_diag *d) {
  *tasks = ts_new_array(a, ts_tune_task, nargs + 1);
  *n = (size_t)nargs;
  for (int i = 0; i < nargs; i++) {
    (*tasks)[i].weight = 1;
    TS_TRY(ts_spec_parse(a, args[i], &(*tasks)[i].spec, d));
    ts_spec_canonical(a, &(*tasks)[i].spec);
  }
  return true;
}

static char *command_line(ts_arena *a, int argc, char **argv) {
  ts_text t = {0};
  ts_cli_command(&t, argc, argv);
  char *out = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return out;
}

static void print_table(const ts_tune_result *r) {
  int width = 58;
  for (size_t i = 0; i < r->n; i++) width = TS_MAX(width, (int)strlen(r->rows[i].workload));
  printf("%-*s %10s %10s %8s  %-9s %s\n", width, "workload", "default us", "best us", "speed-up", "verdict", "winner");
  for (size_t i = 0; i < r->n; i++) {
    const ts_tune_row *x = &r->rows[i];
    printf("%-*s ", width, x->workload);
    if (isnan(x->default_ns)) printf("%10s %10.2f %8s  %-9s ", "-", x->best_ns * 1e-3, "-", "no default");
    else printf("%10.2f %10.2f %7.2fx  %-9s ", x->default_ns * 1e-3, x->best_ns * 1e-3, x->default_ns / x->best_ns, ts_verdict_name(x->against_default.verdict));
    printf("%s%s%s", x->winner, x->kept_incumbent ? " (kept)" : "", x->unstable ? " (unstable)" : "");
    if (x->library_ns > 0) printf("  (cuBLASLt: %.2f us, %.2f of its speed, %s)", x->library_ns * 1e-3, x->library_ns / x->best_ns, ts_verdict_name(x->against_library.verdict));
    printf("\n");
  }
  for (size_t i = 0; i < r->nstep; i++) {
    const ts_tune_step_row *x = &r->step[i];
    if (x->rows > 1) printf("a pass of %lld rows through some layers", (long long)x->rows);
    else printf("a decode step");
    printf(": %.2f us instead of %.2f\n", x->ns * 1e-3, x->default_ns * 1e-3);
  }
  printf("%lld candidates in %.1f s, device busy %.0f %%\n", (long long)r->trials, r->wall_s, 100 * r->busy_s / fmax(r->wall_s, 1e-9));
}

static void print_json(const ts_tune_result *r) {
  for (size_t i = 0; i < r->n; i++) {
    const ts_tune_row *x = &r->rows[i];
    bool none = isnan(x->default_ns);
    char ns[32] = "null", ratio[32] = "null";
    if (!none) snprintf(ns, sizeof ns, "%.1f", x->default_ns), snprintf(ratio, sizeof ratio, "%.5f", x->against_default.log_ratio);
    printf("{\"event\": \"result\", \"workload\": \"%s\", \"winner\": \"%s\", \"default_ns\": %s, \"best_ns\": %.1f, \"log_ratio\": %s, \"verdict\": \"%s\", \"trials\": %lld, "
           "\"failed\": %lld, \"library_ns\": %.1f, \"unstable\": %s}\n",
           x->workload, x->winner, ns, x->best_ns, ratio, none ? "no default" : ts_verdict_name(x->against_default.verdict), (long long)x->trials, (long long)x->failed, x->library_ns,
           x->unstable ? "true" : "false");
  }
  for (size_t i = 0; i < r->nstep; i++)
    printf("{\"event\": \"step\", \"rows\": %lld, \"default_ns\": %.1f, \"best_ns\": %.1f}\n", (long long)TS_MAX(r->step[i].rows, (int64_t)1), r->step[i].default_ns, r->step[i].ns);
  printf("{\"event\": \"done\", \"trials\": %lld, \"wall_s\": %.2f, \"busy_s\": %.2f, \"interrupted\": %s, \"unreached\": %zu}\n", (long long)r->trials, r->wall_s, r->busy_s,
         r->interrupted ? "true" : "false", r->unreached);
}

static void list_table(const char *workload, double weight, const ts_space *s) {
  printf("%-72s %8.4f ", workload, weight);
  for (size_t k = 0; k < s->n; k++) {
    printf(" %s", s->sketch[k].name);
    if (s->sketch[k].native) printf("(%zu)", s->sketch[k].npoints);
  }
  printf("\n");
}

static void list_json(const char *workload, double weight, const ts_space *s) {
  ts_text t = {0};
  ts__json_pair(&t, "{", "workload", workload);
  ts_text_addf(&t, ", \"weight\": %.6g, \"sketches\": [", weight);
  for (size_t k = 0; k < s->n; k++) {
    ts__json_pair(&t, k ? ", {" : "{", "name", s->sketch[k].name);
    if (s->sketch[k].native) ts_text_addf(&t, ", \"points\": %zu", s->sketch[k].npoints);
    ts_text_add(&t, "}");
  }
  printf("%s]}\n", ts_text_str(&t));
  ts_text_free(&t);
}

// What would be tuned: every workload with its share and its sketches; native templates with their legal points.
static bool list_tasks(const options *o, const ts_target *t, const ts_tune_task *tasks, size_t n, bool json, ts_diag *d) {
  for (size_t i = 0; i < n; i++) {
    ts_text text = {0};
    ts_space s;
    TS_TRY(ts_space_open(&tasks[i].spec, t, o->numerics, &s, d));
    ts_spec_print(&text, &tasks[i].spec);
    if (json) list_json(ts_text_str(&text), tasks[i].weight, &s);
    else list_table(ts_text_str(&text), tasks[i].weight, &s);
    ts_text_free(&text);
    ts_space_close(&s);
  }
  return true;
}

static bool tune(ts_arena *a, const options *o, char **args, int nargs, const char *command, ts_tune_result *r, ts_diag *d) {
  ts_target t;
  ts_tune_task *tasks = NULL;
  steps s = {0};
  size_t n = 0;
  bool json;
  TS_TRY(ts_cli_json(o->format, &json, d) && ts_target_parse(o->target, &t, d));
  TS_TRY(ts_op_numerics(o->numerics, d));
  TS_TRY(ts_cli_threads(o->threads, d));
  if (strcmp(o->timer, "graph") != 0 && strcmp(o->timer, "cupti") != 0) return ts_refuse(d, "unknown-timer", "--timer %s: graph or cupti", o->timer);
  if (!o->list) TS_TRY(ts_target_runs_here(&t, d));
  TS_TRY(o->model ? model_tasks(a, o, &tasks, &n, &s, d) : named_tasks(a, args, nargs, &tasks, &n, d));
  ts_cli_note_gpu(&t);
  // a GPU compiles ahead while it measures: a fixed number for each workload
  int64_t trials = o->budget > 0 || o->trials ? o->trials : t.api == TS_API_CUDA ? (int64_t)TS_MAX(200, (s.n ? 25 : 40) * n) : 200;
  if (o->list) return list_tasks(o, &t, tasks, n, json, d);
  ts_tune_opts to = {.target = &t, .store = o->store, .cache = o->cache, .command = command, .numerics = o->numerics, .budget_s = o->budget, .trials = trials,
                     .seed = (uint64_t)o->seed, .threads = (int)o->threads, .json = json, .spans = strcmp(o->timer, "cupti") == 0, .counters = o->counters, .accept_unstable = o->unstable,
                     .step = s.v, .nstep = s.n};
  return ts_tune(a, tasks, n, &to, r, d);
}

int ts_cmd_tune(int argc, char **argv) {
  options o = {.quant = "q4f16_1", .target = "cpu", .store = "tunesmith.db", .numerics = "", .format = "table", .timer = "graph", .paging = "own", .phases = "", .seed = 1};
  const ts_opt opts[] = {
      {"model", TS_OPT_TEXT, &o.model, "PATH", "tune every workload of this model (folder, .gguf file, synthetic:NAME)"},
      {"quantization", TS_OPT_TEXT, &o.quant, "Q", "quantization of the model (q4f16_1)"},
      {"target", TS_OPT_TEXT, &o.target, "T", "cpu, cuda, cuda:1 ... (cpu)"},
      {"store", TS_OPT_TEXT, &o.store, "FILE", "tuning database, made when missing (tunesmith.db)"},
      {"budget", TS_OPT_TIME, &o.budget, "TIME", "end after about this long, finals included: 90s, 5m, 1h; what it does not reach is left to the next run"},
      {"trials", TS_OPT_COUNT, &o.trials, "N", "stop once this many candidates were measured (the first of each sketch always are)"},
      {"max-seq-len", TS_OPT_COUNT, &o.max_seq_len, "N", "positions of the model's cache (the model's, at most 2048; GPUs: 4096)"},
      {"kv-cache", TS_OPT_TEXT, &o.paging, "KIND", "own or paged[:PAGE[:POSITIONS]], as build will be told (own)"},
      {"phases", TS_OPT_TEXT, &o.phases, "LIST", "only what these phases of the model use: decode, batch16, batch32, batch64, batch128, batch256, prefill, head (all)"},
      {"prefill-chunk", TS_OPT_COUNT, &o.chunk, "N", "rows in one prefill pass (128; GPUs: 2048)"},
      {"numerics", TS_OPT_TEXT, &o.numerics, "NAME", "also allow variants with these numerics (a8: 8-bit activations)"},
      {"seed", TS_OPT_INT, &o.seed, "N", "seed of all random choices (1)"},
      {"threads", TS_OPT_COUNT, &o.threads, "N", "threads that kernels run on (one per core)"},
      {"cache", TS_OPT_TEXT, &o.cache, "DIR", "keep compiled kernels here"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json (progress and results as JSON lines)"},
      {"timer", TS_OPT_TEXT, &o.timer, "T", "GPUs, before the final: graph, or cupti (kernels alone, without launches and overlap; finals are timed by graphs)"},
      {"accept-unstable", TS_OPT_FLAG, &o.unstable, NULL, "GPUs: record a winner although heat or its supply slowed the GPU during the final"},
      {"counters", TS_OPT_FLAG, &o.counters, NULL, "GPUs: hardware counters of the finalists go to the store (memory traffic, cache hits, tensor cores, occupancy)"},
      {"list", TS_OPT_FLAG, &o.list, NULL, "only say what would be tuned: workloads, their weight, sketches (native templates: legal points)"},
  };
  const ts_cli c = {.command = "tune", .usage = "--model PATH --quantization Q [options] | WORKLOAD...",
                    .about = "Searches for the fastest kernel of each workload, verifies and measures every candidate, and records the winners.\n"
                             "A workload is text such as \"matmul q4f16_1 A=f32 K=576 N=1536 n=1\" (tunesmith ops lists operators).\n"
                             "Interrupted runs (Ctrl-C, kill -9) go on when the same workload is tuned again. Without --budget and --trials: 200 candidates\n"
                             "(GPUs: 40 for each workload if that is more).",
                    .opts = opts, .nopts = TS_COUNTOF(opts), .max_args = -1};
  char **args, *command;
  int nargs;
  ts_arena *a = ts_arena_new("tune");
  command = command_line(a, argc, argv);
  int code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return ts_arena_free(a), code;
  ts_diag d = {0};
  ts_tune_result r = {0};
  if (!o.model && !nargs) {
    fprintf(stderr, "error: tune: nothing to tune  [usage]\n  hint: give --model or a workload; tunesmith tune --help\n");
    return ts_arena_free(a), 2;
  }
  if (o.model && nargs) {
    fprintf(stderr, "error: tune: '%s' beside --model  [usage]\n  hint: a model, or workloads: one after the other\n", args[0]);
    return ts_arena_free(a), 2;
  }
  if (!o.model && *o.phases) {
    fprintf(stderr, "error: tune: --phases without --model  [usage]\n  hint: phases are a model's; tunesmith tune --help\n");
    return ts_arena_free(a), 2;
  }
  bool ok = tune(a, &o, args, nargs, command, &r, &d);
  if (!ok && o.list && strcmp(d.code, "no-cuda-driver") == 0) ts_hint(&d, "--list needs no GPU: name one, --target cuda:sm_90a");
  if (ok && !o.list && strcmp(o.format, "json") == 0) print_json(&r);
  else if (ok && !o.list) print_table(&r);
  if (ok && r.failed) ts_say("%zu workloads could not be tuned (see above)", r.failed);
  if (ok && r.unreached && !r.interrupted)
    ts_say("note: %zu of %zu workloads were not reached within %g s: the same command goes on with them, a longer --budget reaches more", r.unreached, r.n + r.failed + r.unreached, o.budget);
  code = !ok && r.told ? ts_diag_exit(&d) : !ok ? ts_cli_fail(&d) : r.interrupted ? 130 : r.failed ? 1 : 0;
  ts_arena_free(a);
  return code;
}
