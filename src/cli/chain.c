// tunesmith chain: kernels one behind the other as a layer runs them, beside each of them alone.
#include <math.h>

#include "cli/cli.h"
#include "codegen/codegen.h"
#include "device/device.h"
#include "measure/measure.h"
#include "search/search.h"

typedef struct options {
  const char *target, *store, *cache, *format;
  int64_t points, layers, seed;
} options;

// --- what was found -----------------------------------------------------------------------------------------------------
static double alone_ns(const ts_chain_result *r, bool chosen) {
  double sum = 0;
  for (size_t i = 0; i < r->n; i++) sum += r->row[i].kernel[chosen ? r->row[i].chosen : r->row[i].alone].alone_ns;
  return sum;
}

static void add_ns(ts_text *t, const char *key, double ns) {
  if (isnan(ns)) ts_text_addf(t, ", \"%s\": null", key);
  else ts_text_addf(t, ", \"%s\": %.1f", key, ns);
}

static void add_kernel(ts_text *t, const char *before, const ts_chain_kernel *k) {
  ts__json_pair(t, before, "sketch", k->sketch);
  ts__json_pair(t, ", ", "point", k->point);
  add_ns(t, "alone_ns", k->alone_ns);
  add_ns(t, "layer_ns", k->layer_ns);
  if (k->refused) ts__json_pair(t, ", ", "refused", k->refused);
  ts_text_add(t, "}");
}

static void show_json(const ts_chain_result *r) {
  ts_text t = {0};
  ts_text_addf(&t, "{\"layers\": %d", r->layers);
  add_ns(&t, "layer_ns", r->layer_ns);
  add_ns(&t, "alone_ns", alone_ns(r, false));
  add_ns(&t, "chosen_ns", r->chosen_ns);
  add_ns(&t, "chosen_alone_ns", alone_ns(r, true));
  ts_text_addf(&t, ", \"verdict\": \"%s\", \"parts\": [", ts_verdict_name(r->gain.verdict));
  for (size_t i = 0; i < r->n; i++) {
    const ts_chain_row *x = &r->row[i];
    ts__json_pair(&t, i ? ", {" : "{", "workload", x->workload);
    ts_text_addf(&t, ", \"bytes\": %.0f, \"cold_bytes\": %.0f, \"flops\": %.0f, \"fed\": %s", x->cost.bytes, x->cost.cold_bytes, x->cost.flops, x->fed ? "true" : "false");
    add_kernel(&t, ", \"alone\": {", &x->kernel[x->alone]);
    add_kernel(&t, ", \"chosen\": {", &x->kernel[x->chosen]);
    ts_text_add(&t, ", \"kernels\": [");
    for (size_t k = 0; k < x->n; k++) add_kernel(&t, k ? ", {" : "{", &x->kernel[k]);
    ts_text_add(&t, "]}");
  }
  printf("%s]}\n", ts_text_str(&t));
  ts_text_free(&t);
}

static void show_time(const char *mark, double alone, double layer, const char *what) {
  printf("%s %8.2f ", mark, alone / 1e3);
  if (isnan(layer)) printf("%8s", "");
  else printf("%8.2f", layer / 1e3);
  printf("  %s\n", what);
}

static void show(const ts_chain_result *r) {
  double cold = 0;
  for (size_t i = 0; i < r->n; i++) cold += r->row[i].cost.cold_bytes;
  printf("   us alone  us layer  (%d layers in a graph; a: the layer is first timed with it, c: chosen in the layer)\n", r->layers);
  for (size_t i = 0; i < r->n; i++) {
    const ts_chain_row *x = &r->row[i];
    printf("%s%s\n", x->workload, x->fed ? ", fed by the one before" : "");
    for (size_t k = 0; k < x->n; k++) {
      const ts_chain_kernel *y = &x->kernel[k];
      char mark[3] = {k == x->alone ? 'a' : ' ', k == x->chosen ? 'c' : ' ', 0};
      if (y->refused) printf("   refused: %s: %s: %s\n", y->sketch, y->refused, y->point);
      else show_time(mark, y->alone_ns, y->layer_ns, y->point);
    }
  }
  printf("layer %.2f us, its kernels alone %.2f us, %.1f GB/s of weights\n", r->layer_ns / 1e3, alone_ns(r, false) / 1e3, cold / r->layer_ns);
  printf("chosen %.2f us, alone %.2f us, %.1f GB/s of weights: %s\n", r->chosen_ns / 1e3, alone_ns(r, true) / 1e3, cold / r->chosen_ns, ts_verdict_name(r->gain.verdict));
}

// --- arguments ----------------------------------------------------------------------------------------------------------
// Names of sketches have a point in them, those of operators have none.
static bool is_point(const char *text) {
  size_t n = strcspn(text, " ");
  return memchr(text, '.', n) != NULL;
}

static bool read_parts(ts_arena *a, char **args, int nargs, ts_chain_part *parts, size_t *n, ts_diag *d) {
  *n = 0;
  for (int i = 0; i < nargs; i++) {
    if (is_point(args[i])) {
      if (!*n) {
        ts_refuse(d, "usage", "chain: '%s' is a kernel, and no workload stands before it", args[i]);
        ts_hint(d, "first the workload, then its kernels: tunesmith chain --help");
        return false;
      }
      parts[*n - 1].n++;
      continue;
    }
    ts_chain_part *p = &parts[(*n)++];
    ts_op_inst inst;
    *p = (ts_chain_part){.point = (const char *const *)&args[i + 1]};
    TS_TRY(ts_spec_parse(a, args[i], &p->spec, d));
    ts_spec_canonical(a, &p->spec);
    TS_TRY(ts_op_instantiate(ts_ir_new(a), &p->spec, "", &inst, d));
  }
  return true;
}

static bool check_options(const options *o, bool *json, ts_diag *d) {
  TS_TRY(ts_cli_json(o->format, json, d));
  if (o->points < 1 || o->points > 64) return ts_refuse(d, "bad-option", "--points %lld is not 1 to 64", (long long)o->points);
  if (o->layers < 1 || o->layers > 256) return ts_refuse(d, "bad-option", "--layers %lld is not 1 to 256", (long long)o->layers);
  return true;
}

static bool run(ts_arena *a, const options *o, char **args, int nargs, ts_diag *d) {
  ts_target t, host;
  ts_chain_result r;
  ts_chain_part *parts = ts_new_array(a, ts_chain_part, nargs);
  size_t n;
  bool json;
  TS_TRY(check_options(o, &json, d) && read_parts(a, args, nargs, parts, &n, d));
  TS_TRY(ts_target_parse(o->target, &t, d) && ts_target_parse("cpu", &host, d) && ts_target_runs_here(&t, d));
  if (t.api != TS_API_CUDA) {
    ts_refuse(d, "wrong-target", "chain: kernels start before others have ended on GPUs only, and %s is none", o->target);
    ts_hint(d, "--target cuda");
    return false;
  }
  ts_cli_note_gpu(&t);
  ts_chain_opts co = {.target = &t, .store = o->store, .points = (int)o->points, .layers = (int)o->layers, .seed = (uint64_t)o->seed};
  int lock = -1;
  ts_compiler *c = ts_compiler_open(&t, TS_MAX(host.cores - 2, 1), o->cache, d);
  bool ok = c && ts_device_lock(ts_arena_printf(a, "cuda%d", t.gpu.device), &lock, d) && ts_chain(a, parts, n, c, &co, &r, d);
  ts_compiler_close(c);
  ts_device_unlock(lock);
  if (ok) (json ? show_json : show)(&r);
  return ok;
}

int ts_cmd_chain(int argc, char **argv) {
  options o = {.target = "cuda", .format = "table", .points = 1, .layers = 16, .seed = 1};
  const ts_opt opts[] = {
      {"target", TS_OPT_TEXT, &o.target, "T", "cuda, cuda:1 ... (cuda)"},
      {"store", TS_OPT_TEXT, &o.store, "FILE", "take what this store's records say, and what was fastest after it"},
      {"points", TS_OPT_COUNT, &o.points, "N", "kernels of a workload that none is named for: from the store, else of each template (1)"},
      {"layers", TS_OPT_COUNT, &o.layers, "N", "times round in one graph, more where weights would stay in the caches (16)"},
      {"seed", TS_OPT_INT, &o.seed, "N", "seed of the data (1)"},
      {"cache", TS_OPT_TEXT, &o.cache, "DIR", "keep compiled kernels here"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json"},
  };
  const ts_cli c = {.command = "chain", .usage = "WORKLOAD [KERNEL...] ... [options]",
                    .about = "Times kernels one behind the other on a GPU as a model's layer runs them: one graph in which each may start before the one before\n"
                             "it has ended, reads what that wrote where shapes allow, and finds its weights cold. Beside it each of them alone, in a chain of\n"
                             "itself. A KERNEL behind a workload is a native template and its point, \"mma.near WARPS=8 TILES=2\"; with several of them what is\n"
                             "fastest alone stands beside what is fastest in the layer. Nothing is verified (try and tune do that), nothing is recorded.",
                    .opts = opts, .nopts = TS_COUNTOF(opts), .min_args = 1, .max_args = -1};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("chain");
  ts_diag d = {0};
  bool ok = run(a, &o, args, nargs, &d);
  ts_arena_free(a);
  return ok ? 0 : ts_cli_fail(&d);
}
