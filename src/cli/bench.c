// tunesmith bench: prefill and decode speed of a built model, with the memory bandwidth measured beside it.
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "cli/bench.h"
#include "device/device.h"
#include "measure/measure.h"
#include "target/target.h"

static const double bandwidth_seconds = 0.25;

// "128,512"
static bool read_list(const char *text, int64_t least, list *out, ts_diag *d) {
  *out = (list){0};
  for (const char *p = text; *p;) {
    char *end;
    long long v = strtoll(p, &end, 10);
    if (end == p || v < least || v > 1 << 24 || (*end && *end != ',') || out->n == MAX_LIST)
      return ts_refuse(d, "bad-option", "'%s' is not a list of up to %d numbers, such as 128,512", text, MAX_LIST);
    out->v[out->n++] = v;
    p = *end ? end + 1 : end;
  }
  return true;
}

static bool add_test(bench *b, bool decode, int64_t tokens, int64_t depth, ts_diag *d) {
  int64_t room = ts_session_capacity(b->session);
  if (tokens == 0) return true;
  if (tokens + depth > room)
    return ts_refuse(d, "context-full", "%lld tokens at depth %lld do not fit in the context of %lld", (long long)tokens, (long long)depth, (long long)room),
           ts_hint(d, "fewer tokens (-p, -n) or a smaller --depth; tunesmith build --max-seq-len makes room for more"), false;
  if (b->ntests == MAX_TESTS) return ts_refuse(d, "bad-option", "more than %d tests", MAX_TESTS);
  test *t = &b->tests[b->ntests++];
  *t = (test){.decode = decode, .tokens = tokens, .depth = depth};
  int n = snprintf(t->name, sizeof t->name, "%s%lld", decode ? "tg" : "pp", (long long)tokens);
  if (depth) snprintf(t->name + n, sizeof t->name - (size_t)n, "@d%lld", (long long)depth);
  return true;
}

// Without -p or -n: 128 tokens each, or what fits.
static bool plan_tests(bench *b, ts_diag *d) {
  list p, n, depth;
  int64_t room = ts_session_capacity(b->session), usual = TS_MIN(128, room);
  TS_TRY(read_list(b->o.prompts ? b->o.prompts : "", 0, &p, d));
  TS_TRY(read_list(b->o.generates ? b->o.generates : "", 0, &n, d));
  TS_TRY(read_list(b->o.depths ? b->o.depths : "0", 0, &depth, d));
  if (!b->o.prompts) p = (list){1, {usual}};
  if (!b->o.generates) n = (list){1, {usual}};
  for (int k = 0; k < depth.n; k++) {
    for (int i = 0; i < p.n; i++) TS_TRY(add_test(b, false, p.v[i], depth.v[k], d));
    for (int i = 0; i < n.n; i++) TS_TRY(add_test(b, true, n.v[i], depth.v[k], d));
  }
  return b->ntests > 0 || ts_refuse(d, "bad-option", "nothing to measure");
}

void ts__bench_tokens(const bench *b, int32_t *v, int64_t n) {
  ts_rng r = ts_rng_new(1, (uint64_t)n);
  for (int64_t i = 0; i < n; i++) v[i] = (int32_t)ts_rng_below(&r, (uint32_t)ts_engine_plan(b->engine)->active_vocab);
}

// Tokens one by one: given ones, or, where the device chooses, its own: then nothing waits for the host in between.
static bool decode(const bench *b, const test *t, const int32_t *tokens, uint64_t *ns, ts_diag *d) {
  ts_session *s = b->session;
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  int64_t passes = t->tokens;
  uint64_t start = ts_now_ns();
  if (b->profiling || !ts_session_can_run_ahead(s, &greedy)) {
    for (int64_t i = 0; i < passes; i++) TS_TRY(ts_session_feed(s, tokens + i, 1, d));
    *ns = ts_now_ns() - start;
    return true;
  }
  if (!t->depth) TS_TRY(ts_session_feed(s, tokens, 1, d));
  passes = TS_MIN(passes, ts_session_capacity(s) - ts_session_length(s));
  start = ts_now_ns();
  TS_TRY(ts_session_ahead_begin(s, &greedy, passes + 1, d));
  bool ok = true;
  int32_t id;
  for (int64_t i = 0; ok && i <= passes; i++) ok = ts_session_ahead_next(s, &id, d);
  *ns = (uint64_t)((double)(ts_now_ns() - start) * (double)t->tokens / (double)TS_MAX(passes, (int64_t)1));
  return ts_session_ahead_stop(s, 0, ok ? d : NULL) && ok;
}

static bool first_token(ts_session *s, const ts_sampler *how, ts_diag *d) {
  int32_t id;
  if (!ts_session_can_run_ahead(s, how)) return ts_session_sample(s, how, d) >= 0;
  TS_TRY(ts_session_ahead_begin(s, how, 1, d));
  bool ok = ts_session_ahead_next(s, &id, d);
  return ts_session_ahead_stop(s, 0, ok ? d : NULL) && ok;
}

// A prompt, and the first token after it.
static bool prefill(const bench *b, const test *t, const int32_t *tokens, uint64_t *ns, double *first_ms, ts_diag *d) {
  ts_session *s = b->session;
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  uint64_t start = ts_now_ns();
  TS_TRY(ts_session_feed(s, tokens, (size_t)t->tokens, d));
  *ns = ts_now_ns() - start;
  bool ok = first_token(s, &greedy, d);
  *first_ms = (double)(ts_now_ns() - start) * 1e-6;
  return ok;
}

bool ts__bench_once(const bench *b, const test *t, const int32_t *tokens, uint64_t *ns, double *first_ms, ts_diag *d) {
  ts_session_truncate(b->session, 0);
  if (t->depth) TS_TRY(ts_session_feed(b->session, tokens, (size_t)t->depth, d));
  const int32_t *p = tokens + t->depth;
  *first_ms = 0;
  TS_TRY(t->decode ? decode(b, t, p, ns, d) : prefill(b, t, p, ns, first_ms, d));
  return !ts_interrupted() || ts_refuse(d, "interrupted", "interrupted");
}

// Weights that decoding one token reads: parts that a decode or head step takes, but not those of the embedding row.
static double weight_bytes_per_token(const ts_plan *p) {
  double bytes = 0;
  bool (*seen)[16] = calloc((size_t)p->nweights + 1, sizeof *seen);
  for (int f = 0; seen && f < p->nphases; f++)
    for (int k = 0; p->phases[f].kind != TS_PHASE_PREFILL && k < p->phases[f].nsteps; k++) {
      const ts_plan_step *s = &p->phases[f].steps[k];
      for (int i = 0; i < s->nargs && strcmp(s->op, "embed"); i++) {
        const ts_plan_arg *a = &s->args[i];
        if (a->kind != TS_PLAN_ARG_WEIGHT || seen[a->index][a->part]) continue;
        seen[a->index][a->part] = true;
        bytes += (double)ts_tensor_bytes(&p->weights[a->index].parts[a->part]);
      }
    }
  free(seen);
  return bytes;
}

static double bytes_per_token(const ts_plan *p, const test *t) {
  return weight_bytes_per_token(p) + ts_plan_position_bytes(p) * ((double)t->depth + (double)(t->tokens + 1) / 2);
}

static bool run_test(const bench *b, test *t, ts_progress *progress, int done, ts_diag *d) {
  int32_t *tokens = malloc(sizeof *tokens * (size_t)(t->depth + t->tokens));
  double speed[MAX_REPEATS];
  uint64_t warm;
  double warm_ms;
  if (!tokens) return ts_env_fail(d, "out-of-memory", "no memory for %lld tokens", (long long)t->tokens);
  ts__bench_tokens(b, tokens, t->depth + t->tokens);
  bool ok = ts__bench_once(b, t, tokens, &warm, &warm_ms, d);
  for (int64_t r = 0; ok && r < b->o.repeats; r++) {
    ok = ts__bench_once(b, t, tokens, &t->ns[r], &t->first_ms[r], d);
    speed[r] = ok ? (double)t->tokens * 1e9 / (double)t->ns[r] : 0;
    ts_progress_step(progress, (uint64_t)(done * b->o.repeats + r + 1), t->name);
  }
  if (ok) t->speed = ts_stats_of(speed, (size_t)b->o.repeats);
  if (ok) t->first = ts_stats_of(t->first_ms, (size_t)b->o.repeats);
  t->bytes_per_token = bytes_per_token(ts_engine_plan(b->engine), t);
  free(tokens);
  return ok;
}

static bool bandwidth(const bench *b, double *out, ts_diag *d) {
  *out = NAN;
  if (!b->o.no_bandwidth && ts_weights_gpu(ts_engine_weights(b->engine)))
    return ts_device_gpu_read_bandwidth(ts_weights_gpu(ts_engine_weights(b->engine)), bandwidth_seconds, out, d);
  return b->o.no_bandwidth || ts_device_read_bandwidth(ts_pool_threads(ts_engine_pool(b->engine)), bandwidth_seconds, out, d);
}

static bool measure(bench *b, ts_diag *d) {
  ts_progress p;
  TS_TRY(bandwidth(b, &b->before, d));
  ts_progress_begin(&p, "bench", (uint64_t)b->ntests * (uint64_t)b->o.repeats);
  bool ok = true;
  for (int i = 0; ok && i < b->ntests; i++) ok = run_test(b, &b->tests[i], &p, i, d);
  ts_progress_end(&p, "");
  return ok && bandwidth(b, &b->after, d);
}

// --- output -----------------------------------------------------------------------------------------------

// "tuned" when any kernel comes from a record.
const char *ts__bench_schedule(const ts_plan *p) {
  for (int f = 0; f < p->nphases; f++)
    for (int k = 0; k < p->phases[f].nsteps; k++)
      if (p->phases[f].steps[k].source == TS_FROM_EXACT || p->phases[f].steps[k].source == TS_FROM_NEAREST) return "tuned";
  return "default";
}

static size_t kv_bytes(const ts_plan *p) { return (size_t)p->kv_bytes * 2 * (size_t)p->layers; }

// Share of the bandwidth measured beside the test that its compulsory reads take; NAN when it does not apply.
static double bandwidth_share(const bench *b, const test *t) {
  return t->decode ? t->speed.median * t->bytes_per_token / fmax(b->before, b->after) : NAN;
}

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *test_json(const bench *b, const test *t) {
  json_t *samples = json_array();
  for (int64_t r = 0; r < b->o.repeats; r++) json_array_append_new(samples, json_integer((json_int_t)t->ns[r]));
  return json_pack("{s:s, s:s, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "name", t->name, "kind", t->decode ? "tg" : "pp", "tokens",
                   (json_int_t)t->tokens, "depth", (json_int_t)t->depth, "unit", "tok/s", "median", t->speed.median, "ci_lo", t->speed.ci_lo,
                   "ci_hi", t->speed.ci_hi, "q1", t->speed.q1, "q3", t->speed.q3, "read_share", number(bandwidth_share(b, t)), "first_ms", number(t->decode ? NAN : t->first.median),
                   "samples_ns", samples);
}

static void print_json(const bench *b) {
  const ts_plan *p = ts_engine_plan(b->engine);
  json_t *tests = json_array();
  for (int i = 0; i < b->ntests; i++) json_array_append_new(tests, test_json(b, &b->tests[i]));
  const ts_cuda *gpu = ts_weights_gpu(ts_engine_weights(b->engine));
  json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:o, s:o, s:o, s:s}", "model", p->name, "arch", p->arch, "quantization", p->quantization,
                        "schedule", ts__bench_schedule(p), "device", gpu ? gpu->name : "cpu", "threads", ts_pool_threads(ts_engine_pool(b->engine)), "weight_bytes",
                        (json_int_t)ts_weights_bytes(ts_engine_weights(b->engine)), "kv_bytes", (json_int_t)kv_bytes(p), "read_before_gbs",
                        number(b->before / 1e9), "read_after_gbs", number(b->after / 1e9), "tests", tests, "command", b->command);
  json_dumpf(o, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(o);
}

static const char *const columns[] = {"model", "quantization", "weights MiB", "threads", "schedule", "test", "tok/s", "95% interval", "read share", "first ms"};
enum { COLUMNS = TS_COUNTOF(columns) };

static void row(const bench *b, const test *t, char cell[COLUMNS][64]) {
  const ts_plan *p = ts_engine_plan(b->engine);
  double share = bandwidth_share(b, t);
  snprintf(cell[0], 64, "%.60s", p->name);
  snprintf(cell[1], 64, "%.60s", p->quantization);
  snprintf(cell[2], 64, "%.1f", (double)ts_weights_bytes(ts_engine_weights(b->engine)) / 1048576.0);
  snprintf(cell[3], 64, "%d", ts_pool_threads(ts_engine_pool(b->engine)));
  snprintf(cell[4], 64, "%s", ts__bench_schedule(p));
  snprintf(cell[5], 64, "%s", t->name);
  snprintf(cell[6], 64, "%.2f", t->speed.median);
  snprintf(cell[7], 64, "%.2f to %.2f", t->speed.ci_lo, t->speed.ci_hi);
  snprintf(cell[8], 64, isfinite(share) ? "%.0f %%" : "-", share * 100);
  snprintf(cell[9], 64, t->decode ? "-" : "%.2f", t->first.median);
}

static void print_csv(const bench *b) {
  char cell[COLUMNS][64];
  ts_text t = {0};
  for (size_t i = 0; i < TS_COUNTOF(columns); i++) ts_text_addf(&t, "%s%s", i ? "," : "", columns[i]);
  for (int k = 0; k < b->ntests; k++) {
    row(b, &b->tests[k], cell);
    for (size_t i = 0; i < TS_COUNTOF(columns); i++) {
      ts_text_add(&t, i ? "," : "\n");
      ts_text_add_csv(&t, cell[i]);
    }
  }
  puts(ts_text_str(&t));
  ts_text_free(&t);
}

static void print_table(const bench *b, bool markdown) {
  char cell[MAX_TESTS][COLUMNS][64];
  int width[COLUMNS];
  const char *edge = markdown ? "| " : "";
  for (size_t i = 0; i < TS_COUNTOF(columns); i++) width[i] = (int)strlen(columns[i]);
  for (int k = 0; k < b->ntests; k++) {
    row(b, &b->tests[k], cell[k]);
    for (int i = 0; i < COLUMNS; i++) width[i] = TS_MAX(width[i], (int)strlen(cell[k][i]));
  }
  for (int k = -2; k < b->ntests; k++) {
    if (k == -1 && !markdown) continue;
    printf("%s", edge);
    for (int i = 0; i < COLUMNS; i++) {
      if (k == -1) printf("%.*s", width[i], "----------------------------------------------------------------");
      else printf(i < 2 ? "%-*s" : "%*s", width[i], k < 0 ? columns[i] : cell[k][i]);
      printf(i < COLUMNS - 1 ? markdown ? " | " : "  " : markdown ? " |\n" : "\n");
    }
  }
  if (isfinite(b->before)) printf("\nmemory read beside it: %.1f GB/s before, %.1f GB/s after\n", b->before / 1e9, b->after / 1e9);
}

// --- the command -----------------------------------------------------------------------------------------------

static bool check(const options *o, ts_diag *d) {
  static const char *const formats[] = {"table", "json", "csv", "md"};
  bool known = false;
  for (size_t i = 0; i < TS_COUNTOF(formats); i++) known |= !strcmp(o->format, formats[i]);
  if (!known) return ts_refuse(d, "usage", "--format is table, json, csv or md, not '%s'", o->format);
  if (o->repeats < 1 || o->repeats > MAX_REPEATS) return ts_refuse(d, "usage", "-r is 1 to %d", MAX_REPEATS);
  TS_TRY(ts_cli_threads(o->threads, d));
  ts_target t;
  TS_TRY(ts_target_parse("cpu", &t, d));
  if (o->threads <= t.cores) return true;
  ts_refuse(d, "bad-option", "--threads %lld is more than the %d cores that this process may use", (long long)o->threads, t.cores);
  ts_hint(d, "threads that share a core measure their waiting for each other; leave --threads out for one a core");
  return false;
}

static void print(const bench *b) {
  if (!strcmp(b->o.format, "json")) print_json(b);
  else if (!strcmp(b->o.format, "csv")) print_csv(b);
  else print_table(b, !strcmp(b->o.format, "md"));
}

// The GPU is asked for its name in a child process, before this one starts CUDA.
static bool find_target(bench *b, ts_api api, ts_diag *d) {
  int number;
  char text[32] = "cpu";
  if (api == TS_API_CUDA) {
    TS_TRY(ts_engine_gpu(&number, d));
    snprintf(text, sizeof text, "cuda:%d", number);
  }
  return ts_target_parse(text, &b->target, d);
}

static bool run(bench *b, ts_db *db, ts_diag *d) {
  ts_api api;
  TS_TRY(ts_engine_api(b->dir, b->o.library, &api, d));
  // What a CPU does meanwhile for another program that measures would be in the numbers of both.
  if (api == TS_API_CPU) TS_TRY(ts_device_lock("cpu", &b->lock, d));
  if (db) TS_TRY(find_target(b, api, d));
  TS_TRY((b->engine = ts_engine_open(b->dir, &(ts_engine_opts){.threads = (int)b->o.threads, .library = b->o.library}, d)) != NULL);
  TS_TRY((b->session = ts_engine_session(b->engine, d)) != NULL);
  TS_TRY(plan_tests(b, d));
  TS_TRY(measure(b, d));
  if (db) TS_TRY(ts__bench_keep(b, db, d));
  print(b);
  return true;
}

static bool whole(bench *b, ts_diag *d) {
  ts_db *db = NULL;
  TS_TRY(check(&b->o, d));
  if (b->o.store) TS_TRY((db = ts_db_open(b->o.store, TS_DB_CREATE, d)) != NULL);
  if (db && !ts_db_writable(db)) {
    const char *note = ts_db_note(db);
    if (note) ts_refuse(d, "store-read-only", "%s", note);
    else ts_refuse(d, "store-read-only", "%s: the store cannot be written", b->o.store);
    ts_db_close(db);
    return false;
  }
  b->tests = calloc(MAX_TESTS, sizeof *b->tests);
  bool ok = b->tests ? run(b, db, d) : ts_env_fail(d, "out-of-memory", "no memory for the results");
  ts_session_free(b->session);
  ts_engine_close(b->engine);
  ts_device_unlock(b->lock);
  ts_db_close(db);
  free(b->tests);
  return ok;
}

static void remember_command(bench *b, int argc, char **argv) {
  ts_text t = {0};
  ts_cli_command(&t, argc, argv);
  snprintf(b->command, sizeof b->command, "%s", ts_text_str(&t));
  ts_text_free(&t);
}

int ts_cmd_bench(int argc, char **argv) {
  bench b = {.o = {.format = "table", .repeats = 5}, .lock = -1};
  options *o = &b.o;
  const ts_opt opts[] = {
      {"p", TS_OPT_TEXT, &o->prompts, "N,...", "prompt lengths to prefill; 0 for none (default: 128, or the context)"},
      {"n", TS_OPT_TEXT, &o->generates, "N,...", "numbers of tokens to decode; 0 for none (default: 128, or the context)"},
      {"depth", TS_OPT_TEXT, &o->depths, "N,...", "tokens in the cache before each test (default: 0)"},
      {"r", TS_OPT_INT, &o->repeats, "N", "repetitions after one to warm up (default: 5)"},
      {"threads", TS_OPT_COUNT, &o->threads, "N", "threads, at most one per physical core (default: that)"},
      {"store", TS_OPT_TEXT, &o->store, "FILE", "keep the results in a store"},
      {"format", TS_OPT_TEXT, &o->format, "F", "table, json, csv or md"},
      {"no-bandwidth", TS_OPT_FLAG, &o->no_bandwidth, NULL, "do not measure DRAM read bandwidth before and after"},
      {"library", TS_OPT_TEXT, &o->library, "FILE", "another model library than the one in DIR"},
  };
  const ts_cli cli = {"bench", "DIR [options]",
                      "Tokens per second: ppN is a prompt of N tokens, tgN is N tokens one by one. Medians with 95 % intervals (below six\n"
                      "repetitions: least and most). Read share: bytes a token must read, times speed, over the DRAM bandwidth beside it.",
                      opts, TS_COUNTOF(opts), 1, 1};
  char **args;
  ts_diag d = {0};
  remember_command(&b, argc, argv);
  int nargs, code = ts_cli_parse(&cli, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  b.dir = args[0];
  return whole(&b, &d) ? 0 : ts_cli_fail(&d);
}
