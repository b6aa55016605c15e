// tunesmith build: make a model directory with a library of tuned kernels.
#include <stdlib.h>

#include "cli/cli.h"
#include "model/model.h"

typedef struct options {
  ts_build_opts b;
  const char *use_cache, *cache, *format, *rounding, *paging;
} options;

// Where compiled kernels are kept between builds: $TUNESMITH_CACHE, else $XDG_CACHE_HOME/tunesmith, else
// ~/.cache/tunesmith. A home that cannot be written, such as a service's, is no reason not to build.
static const char *cache_folder(ts_arena *a) {
  const char *own = getenv("TUNESMITH_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (own && *own) return own;
  const char *usual = xdg && *xdg ? ts_path_join(a, xdg, "tunesmith") : home && *home ? ts_path_join(a, home, ".cache/tunesmith") : NULL;
  ts_diag d = {0};
  if (!usual || ts_dir_make(usual, &d)) return usual;
  ts_say("note: compiled kernels are not kept: %s", d.message);
  return NULL;
}

static bool check(ts_arena *a, options *o, ts_diag *d) {
  if (!o->b.model) {
    ts_refuse(d, "usage", "build: no model is given");
    ts_hint(d, "--model PATH of a Hugging Face folder or a .gguf file, or synthetic:NAME; tunesmith build --help");
    return false;
  }
  if (strcmp(o->use_cache, "0") && strcmp(o->use_cache, "1"))
    return ts_refuse(d, "usage", "--use-cache is 0 or 1, not '%s'", o->use_cache);
  bool json;
  TS_TRY(ts_cli_json(o->format, &json, d) && ts_op_numerics(o->b.numerics, d));
  if (strcmp(o->rounding, "even") && strcmp(o->rounding, "away"))
    return ts_refuse(d, "usage", "--round is even or away, not '%s'", o->rounding);
  TS_TRY(ts_paging_parse(o->paging, &o->b.paging, d));
  o->b.round.away = !strcmp(o->rounding, "away");
  ts_target t;
  if (ts_target_parse(o->b.target, &t, NULL)) ts_cli_note_gpu(&t);
  o->b.cache = strcmp(o->use_cache, "1") ? NULL : o->cache ? o->cache : cache_folder(a);
  return true;
}

// Time of one pass of a phase by what the records say; 0 when a kernel's time is not known.
static double expected_pass_us(const ts_build_result *r, const char *phase) {
  double sum = 0;
  for (size_t i = 0; i < r->nkernels; i++) {
    if (strcmp(r->kernels[i].phase, phase)) continue;
    if (!(r->kernels[i].expected_us > 0)) return 0;
    sum += r->kernels[i].expected_us * (double)r->kernels[i].calls;
  }
  return sum;
}

static void print_table(const ts_build_result *r) {
  size_t by_record = 0;
  int width = 8;
  for (size_t i = 0; i < r->nkernels; i++) width = TS_MAX(width, (int)strlen(r->kernels[i].workload));
  if (r->nkernels) printf("%-*s %-8s %-9s %10s  %s\n", width, "workload", "phase", "served", "expect us", "variant, record");
  for (size_t i = 0; i < r->nkernels; i++) {
    const ts_build_kernel *k = &r->kernels[i];
    char expect[24] = "-";
    if (k->expected_us > 0) snprintf(expect, sizeof expect, "%.2f", k->expected_us);
    printf("%-*s %-8s %-9s %10s  %s%s%s%s%s\n", width, k->workload, k->phase, k->served, expect, *k->variant ? k->variant : "ref",
           *k->record ? ", " : "", k->record, *k->left_out ? ", not " : "", k->left_out);
    by_record += *k->record != 0;
  }
  if (r->nkernels)
    printf("%zu of %zu kernels come from records%s\n", by_record, r->nkernels, by_record < r->nkernels ? ", the others are default schedules" : "");
  double decode = expected_pass_us(r, "decode"), prefill = expected_pass_us(r, "prefill");
  if (decode > 0 && prefill > 0)
    printf("expected: %.0f us a decode pass, %.0f us a full prefill pass\n", decode, prefill);
  printf("%s: parameters %.1f MB, library %s%s%s, %.1f s\n", r->dir, (double)r->param_bytes / 1e6, r->library,
         r->weights ? ", packed weights " : "", r->weights ? r->weights : "", r->seconds);
}

static void print_json(const ts_build_result *r) {
  ts_text t = {0};
  ts__json_pair(&t, "{", "name", r->name);
  ts__json_pair(&t, ", ", "directory", r->dir);
  ts__json_pair(&t, ", ", "library", r->library);
  ts__json_pair(&t, ", ", "weights", r->weights ? r->weights : "");
  ts_text_addf(&t, ", \"parameter_bytes\": %lld, \"seconds\": %.3f, \"kernels\": [", (long long)r->param_bytes, r->seconds);
  for (size_t i = 0; i < r->nkernels; i++) {
    const ts_build_kernel *k = &r->kernels[i];
    ts__json_pair(&t, i ? ",\n  {" : "\n  {", "workload", k->workload);
    ts__json_pair(&t, ", ", "phase", k->phase);
    ts__json_pair(&t, ", ", "kernel", k->kernel);
    ts__json_pair(&t, ", ", "variant", k->variant);
    ts__json_pair(&t, ", ", "served", k->served);
    ts__json_pair(&t, ", ", "record", k->record);
    if (*k->left_out) ts__json_pair(&t, ", ", "left_out", k->left_out);
    ts_text_addf(&t, ", \"calls\": %lld, \"expected_us\": %.3f}", (long long)k->calls, k->expected_us);
  }
  printf("%s]}\n", ts_text_str(&t));
  ts_text_free(&t);
}

int ts_cmd_build(int argc, char **argv) {
  options o = {.b = {.quant = "q4f16_1", .target = "cpu", .out = "dist", .numerics = ""},
               .use_cache = "1",
               .format = "table",
               .rounding = "even",
               .paging = "own"};
  const ts_opt opts[] = {
      {"model", TS_OPT_TEXT, &o.b.model, "PATH",
       "Hugging Face folder, .gguf file, synthetic:NAME or synthetic:PATH of a config.json"},
      {"quantization", TS_OPT_TEXT, &o.b.quant, "Q", "q4f16_1, q4f16_0, q0f16 or q0f32 (q4f16_1)"},
      {"target", TS_OPT_TEXT, &o.b.target, "T", "cpu, cpu:znver4, cuda, cuda:sm_90a ... (cpu)"},
      {"store", TS_OPT_TEXT, &o.b.store, "FILE", "tuning database whose winners serve; without it: default schedules"},
      {"out", TS_OPT_TEXT, &o.b.out, "DIR", "parent of the model directory NAME-Q (dist)"},
      {"name", TS_OPT_TEXT, &o.b.name, "NAME", "name of the model (that of its folder or file)"},
      {"max-seq-len", TS_OPT_COUNT, &o.b.max_seq_len, "N", "positions of the cache (the model's, at most 2048; GPUs: 4096)"},
      {"prefill-chunk", TS_OPT_COUNT, &o.b.prefill_chunk, "N", "rows in one prefill pass (128; GPUs: 2048)"},
      {"kv-cache", TS_OPT_TEXT, &o.paging, "KIND",
       "own: each session has memory for all its positions; paged[:PAGE[:POSITIONS]]: sessions share a pool of POSITIONS in pages (own)"},
      {"numerics", TS_OPT_TEXT, &o.b.numerics, "NAME",
       "also allow variants with these numerics (a8: 8-bit activations)"},
      {"round", TS_OPT_TEXT, &o.rounding, "R", "ties in quantization: even or away (even)"},
      {"signed-scales", TS_OPT_FLAG, &o.b.round.signed_scales, NULL,
       "use all 16 codes of q4 formats: less error, not MLC's bits"},
      {"reuse-lib", TS_OPT_TEXT, &o.b.reuse_lib, "FILE", "take this model library instead of making one"},
      {"use-cache", TS_OPT_TEXT, &o.use_cache, "0|1", "reuse kernels compiled before (1)"},
      {"cache", TS_OPT_TEXT, &o.cache, "DIR", "where they are kept ($TUNESMITH_CACHE, ~/.cache/tunesmith)"},
      {"debug-dump", TS_OPT_FLAG, &o.b.debug_dump, NULL, "also write debug/: plan, functions, schedules, assembly"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json"},
  };
  const ts_cli c = {.command = "build",
                    .usage = "--model PATH --quantization Q [--store FILE] [options]",
                    .about =
                        "Makes DIR/NAME-Q with the quantized parameters, tokenizer and configuration in MLC's layout, "
                        "and a model library of\n"
                        "the fastest kernels that the store knows for the target. An interrupted or failed build "
                        "leaves what was there.",
                    .opts = opts,
                    .nopts = TS_COUNTOF(opts)};
  char **args;
  int nargs, code = ts_cli_parse(&c, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  ts_arena *a = ts_arena_new("build");
  ts_diag d = {0};
  ts_build_result r;
  bool ok = check(a, &o, &d) && ts_build(a, &o.b, &r, &d);
  if (ok) (strcmp(o.format, "json") ? print_table : print_json)(&r);
  if (!ok && strcmp(d.code, "no-cuda-driver") == 0) ts_hint(&d, "name the GPU that it is built for, --target cuda:sm_90a, or install the NVIDIA driver");
  code = ok ? 0 : ts_cli_fail(&d);
  ts_arena_free(a);
  return code;
}
