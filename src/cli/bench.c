// tunesmith bench: prefill and decode speed of built models, with the memory bandwidth measured beside it. Several models are measured in turn,
// sample by sample, so that what a machine does to its clocks is done to all of them, and their ratio is that of neighbours.
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

// Positions that every model has.
static int64_t room_of(const bench *b) {
  int64_t room = INT64_MAX;
  for (int i = 0; i < b->nmodels; i++) room = TS_MIN(room, ts_session_capacity(b->model[i].session));
  return room;
}

static bool add_test(bench *b, bool decode, int64_t tokens, int64_t depth, ts_diag *d) {
  int64_t room = room_of(b);
  if (tokens == 0) return true;
  if (tokens + depth > room)
    return ts_refuse(d, "context-full", "%lld tokens at depth %lld do not fit in the context of %lld", (long long)tokens, (long long)depth, (long long)room),
           ts_hint(d, "fewer tokens (-p, -n) or a smaller --depth; tunesmith build --max-seq-len makes room for more"), false;
  if (b->ntests == MAX_TESTS) return ts_refuse(d, "bad-option", "more than %d tests", MAX_TESTS);
  test t = {.decode = decode, .tokens = tokens, .depth = depth};
  int n = snprintf(t.name, sizeof t.name, "%s%lld", decode ? "tg" : "pp", (long long)tokens);
  if (depth) snprintf(t.name + n, sizeof t.name - (size_t)n, "@d%lld", (long long)depth);
  for (int i = 0; i < b->nmodels; i++) b->model[i].tests[b->ntests] = t;
  b->ntests++;
  return true;
}

// Without -p or -n: 128 tokens each, or what fits.
static bool plan_tests(bench *b, ts_diag *d) {
  list p, n, depth;
  int64_t usual = TS_MIN(128, room_of(b));
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

void ts__bench_tokens(const subject *s, int32_t *v, int64_t n) {
  ts_rng r = ts_rng_new(1, (uint64_t)n);
  for (int64_t i = 0; i < n; i++) v[i] = (int32_t)ts_rng_below(&r, (uint32_t)ts_engine_plan(s->engine)->active_vocab);
}

// Tokens one by one: given ones, or, where the device chooses, its own: then nothing waits for the host in between.
static bool decode(const subject *m, const test *t, const int32_t *tokens, uint64_t *ns, ts_diag *d) {
  ts_session *s = m->session;
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  int64_t passes = t->tokens;
  uint64_t start = ts_now_ns();
  if (m->profiling || !ts_session_can_run_ahead(s, &greedy)) {
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
static bool prefill(const subject *m, const test *t, const int32_t *tokens, uint64_t *ns, double *first_ms, ts_diag *d) {
  ts_session *s = m->session;
  const ts_sampler greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
  uint64_t start = ts_now_ns();
  TS_TRY(ts_session_feed(s, tokens, (size_t)t->tokens, d));
  *ns = ts_now_ns() - start;
  bool ok = first_token(s, &greedy, d);
  *first_ms = (double)(ts_now_ns() - start) * 1e-6;
  return ok;
}

bool ts__bench_once(const subject *s, const test *t, const int32_t *tokens, uint64_t *ns, double *first_ms, ts_diag *d) {
  ts_session_truncate(s->session, 0);
  if (t->depth) TS_TRY(ts_session_feed(s->session, tokens, (size_t)t->depth, d));
  const int32_t *p = tokens + t->depth;
  *first_ms = 0;
  TS_TRY(t->decode ? decode(s, t, p, ns, d) : prefill(s, t, p, ns, first_ms, d));
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

static ts_stats speed_of(const test *t, size_t n) {
  double speed[MAX_REPEATS];
  for (size_t r = 0; r < n; r++) speed[r] = (double)t->tokens * 1e9 / (double)t->ns[r];
  return ts_stats_of(speed, n);
}

// Of one load: the mean of all rounds, as a logarithm.
static double ratio_of_load(const bench *b, const test *t, const test *first, int64_t load) {
  double sum = 0;
  for (int64_t i = load * b->o.repeats; i < (load + 1) * b->o.repeats; i++) sum += log((double)first->ns[i] / (double)t->ns[i]);
  return sum / (double)b->o.repeats;
}

// Speed over that of the first model, round by round: where models were loaded several times, of the rounds of all loads together, since a model's place in
// memory makes some thousandths. With the interval of the paired comparison, of few rounds the least and the most; it spans what single loads say, since the
// next load may say as much.
static void compare(const bench *b, test *t, const test *first) {
  size_t n = (size_t)b->o.repeats;
  double x[MAX_REPEATS], y[MAX_REPEATS], ratio[MAX_REPEATS];
  for (size_t r = 0; r < n; r++) {
    double log_x = 0, log_y = 0;
    for (size_t i = r; i < (size_t)b->samples; i += n) log_x += log((double)t->ns[i]), log_y += log((double)first->ns[i]);
    x[r] = exp(log_x / (double)b->o.loads);
    y[r] = exp(log_y / (double)b->o.loads);
    ratio[r] = y[r] / x[r];
  }
  ts_compare c = ts_compare_paired(x, y, n, 0);
  ts_stats few = ts_stats_of(ratio, n);
  t->ratio = exp(-c.log_ratio);
  t->ratio_lo = n < 6 ? few.ci_lo : exp(-c.ci_hi);
  t->ratio_hi = n < 6 ? few.ci_hi : exp(-c.ci_lo);
  for (int64_t i = 0; b->o.loads > 1 && i < b->o.loads; i++) {
    double said = exp(ratio_of_load(b, t, first, i));
    t->ratio_lo = fmin(t->ratio_lo, said);
    t->ratio_hi = fmax(t->ratio_hi, said);
  }
}

// Of a test in one load: once each to warm up, then in turn, every second round backwards, so that what changes steadily with time cancels.
static bool run_samples(bench *b, int which, int64_t from, int32_t *const *tokens, ts_progress *progress, ts_diag *d) {
  uint64_t warm;
  double warm_ms;
  bool ok = true;
  for (int i = 0; ok && i < b->nmodels; i++) ok = ts__bench_once(&b->model[i], &b->model[i].tests[which], tokens[i], &warm, &warm_ms, d);
  for (int64_t r = from; ok && r < from + b->o.repeats; r++)
    for (int k = 0; ok && k < b->nmodels; k++) {
      int i = r % 2 ? b->nmodels - 1 - k : k;
      test *t = &b->model[i].tests[which];
      ok = ts__bench_once(&b->model[i], t, tokens[i], &t->ns[r], &t->first_ms[r], d);
      ts_progress_step(progress, progress->done + 1, t->name);
    }
  return ok;
}

static bool run_test(bench *b, int which, int64_t from, ts_progress *progress, ts_diag *d) {
  int32_t *tokens[MAX_MODELS] = {0};
  const int64_t n = b->model[0].tests[which].depth + b->model[0].tests[which].tokens;
  bool ok = true;
  for (int i = 0; ok && i < b->nmodels; i++) {
    if ((tokens[i] = malloc(sizeof **tokens * (size_t)n))) ts__bench_tokens(&b->model[i], tokens[i], n);
    else ok = ts_env_fail(d, "out-of-memory", "no memory for %lld tokens", (long long)n);
  }
  ok = ok && run_samples(b, which, from, tokens, progress, d);
  for (int i = 0; i < b->nmodels; i++) free(tokens[i]);
  return ok;
}

static void evaluate(bench *b, int which) {
  for (int i = 0; i < b->nmodels; i++) {
    test *t = &b->model[i].tests[which];
    t->speed = speed_of(t, (size_t)b->samples);
    t->first = ts_stats_of(t->first_ms, (size_t)b->samples);
    t->bytes_per_token = bytes_per_token(ts_engine_plan(b->model[i].engine), t);
    compare(b, t, &b->model[0].tests[which]);
  }
}

static bool bandwidth(const bench *b, double *out, ts_diag *d) {
  ts_engine *e = b->model[0].engine;
  *out = NAN;
  if (b->o.no_bandwidth) return true;
  if (ts_weights_gpu(ts_engine_weights(e))) return ts_device_gpu_read_bandwidth(ts_weights_gpu(ts_engine_weights(e)), bandwidth_seconds, out, d);
  return ts_device_read_bandwidth(ts_pool_threads(ts_engine_pool(e)), bandwidth_seconds, out, d);
}

// "tuned" when any kernel comes from a record.
const char *ts__bench_schedule(const ts_plan *p) {
  for (int f = 0; f < p->nphases; f++)
    for (int k = 0; k < p->phases[f].nsteps; k++)
      if (p->phases[f].steps[k].source == TS_FROM_EXACT || p->phases[f].steps[k].source == TS_FROM_NEAREST) return "tuned";
  return "default";
}

// --- the command -----------------------------------------------------------------------------------------------

static bool check(const bench *b, ts_diag *d) {
  const options *o = &b->o;
  static const char *const formats[] = {"table", "json", "csv", "md"};
  bool known = false;
  for (size_t i = 0; i < TS_COUNTOF(formats); i++) known |= !strcmp(o->format, formats[i]);
  if (!known) return ts_refuse(d, "usage", "--format is table, json, csv or md, not '%s'", o->format);
  if (o->repeats < 1 || o->repeats > MAX_REPEATS || o->loads < 1 || o->loads > MAX_REPEATS || o->repeats * o->loads > MAX_REPEATS)
    return ts_refuse(d, "usage", "-r times --loads is 1 to %d", MAX_REPEATS);
  if (o->library && b->nmodels > 1) return ts_refuse(d, "usage", "--library is for one DIR, not %d", b->nmodels);
  TS_TRY(ts_cli_threads(o->threads, d));
  ts_target t;
  TS_TRY(ts_target_parse("cpu", &t, d));
  if (o->threads <= t.cores) return true;
  ts_refuse(d, "bad-option", "--threads %lld is more than the %d cores that this process may use", (long long)o->threads, t.cores);
  ts_hint(d, "threads that share a core measure their waiting for each other; leave --threads out for one a core");
  return false;
}

// The GPU is asked for its name in a child process, before this one starts CUDA.
static bool find_target(subject *s, ts_diag *d) {
  int number;
  char text[32] = "cpu";
  if (s->api == TS_API_CUDA) {
    TS_TRY(ts_engine_gpu(&number, d));
    snprintf(text, sizeof text, "cuda:%d", number);
  }
  return ts_target_parse(text, &s->target, d);
}

// Models of a CPU share threads.
static bool open_model(bench *b, subject *s, ts_diag *d) {
  ts_engine_opts o = {.threads = (int)b->o.threads, .library = b->o.library};
  for (int i = 0; i < b->nmodels && !o.beside; i++)
    if (b->model[i].engine && b->model[i].api == s->api) o.beside = b->model[i].owner ? b->model[i].owner : b->model[i].engine;
  s->owner = o.beside;
  TS_TRY((s->engine = ts_engine_open(s->dir, &o, d)) != NULL);
  return (s->session = ts_engine_session(s->engine, d)) != NULL;
}

// Those whose threads others use come last.
static void close_models(bench *b) {
  for (int owners = 0; owners < 2; owners++)
    for (int i = 0; i < b->nmodels; i++) {
      subject *s = &b->model[i];
      if (!owners && !s->owner) continue;
      ts_session_free(s->session);
      ts_engine_close(s->engine);
      s->session = NULL;
      s->engine = NULL;
    }
}

// All tests, the models loaded anew: every second time in the opposite order.
static bool run_load(bench *b, int64_t load, ts_progress *progress, ts_diag *d) {
  close_models(b);
  for (int i = 0; i < b->nmodels; i++) TS_TRY(open_model(b, &b->model[load % 2 ? b->nmodels - 1 - i : i], d));
  if (!load) TS_TRY(plan_tests(b, d) && bandwidth(b, &b->before, d));
  progress->total = (uint64_t)(b->ntests * b->samples * b->nmodels);
  for (int i = 0; i < b->ntests; i++) TS_TRY(run_test(b, i, load * b->o.repeats, progress, d));
  return true;
}

static bool measure(bench *b, ts_diag *d) {
  ts_progress p;
  bool ok = true;
  ts_progress_begin(&p, "bench", 0);
  for (int64_t i = 0; ok && i < b->o.loads; i++) ok = run_load(b, i, &p, d);
  ts_progress_end(&p, "");
  for (int i = 0; ok && i < b->ntests; i++) evaluate(b, i);
  return ok && bandwidth(b, &b->after, d);
}

static bool run(bench *b, ts_db *db, ts_diag *d) {
  bool cpu = false;
  for (int i = 0; i < b->nmodels; i++) {
    subject *s = &b->model[i];
    TS_TRY(ts_engine_api(s->dir, b->o.library, &s->api, d));
    cpu |= s->api == TS_API_CPU;
    if (!(s->tests = calloc(MAX_TESTS, sizeof *s->tests))) return ts_env_fail(d, "out-of-memory", "no memory for the results");
  }
  // What a CPU does meanwhile for another program that measures would be in the numbers of both.
  if (cpu) TS_TRY(ts_device_lock("cpu", &b->lock, d));
  for (int i = 0; db && i < b->nmodels; i++) TS_TRY(find_target(&b->model[i], d));
  TS_TRY(measure(b, d));
  for (int i = 0; db && i < b->nmodels; i++) TS_TRY(ts__bench_keep(&b->model[i], db, d));
  ts__bench_print(b);
  return true;
}

static bool whole(bench *b, ts_diag *d) {
  ts_db *db = NULL;
  TS_TRY(check(b, d));
  b->samples = b->o.repeats * b->o.loads;
  if (b->o.store) TS_TRY((db = ts_db_open(b->o.store, TS_DB_CREATE, d)) != NULL);
  if (db && !ts_db_writable(db)) {
    const char *note = ts_db_note(db);
    if (note) ts_refuse(d, "store-read-only", "%s", note);
    else ts_refuse(d, "store-read-only", "%s: the store cannot be written", b->o.store);
    ts_db_close(db);
    return false;
  }
  bool ok = run(b, db, d);
  close_models(b);
  for (int i = 0; i < b->nmodels; i++) free(b->model[i].tests);
  ts_device_unlock(b->lock);
  ts_db_close(db);
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
      {"loads", TS_OPT_COUNT, &o->loads, "N", "load the models so many times, every second time in the opposite order, with all repetitions each (default: 1; of several: 2)"},
      {"threads", TS_OPT_COUNT, &o->threads, "N", "threads, at most one per physical core (default: that)"},
      {"store", TS_OPT_TEXT, &o->store, "FILE", "keep the results in a store"},
      {"format", TS_OPT_TEXT, &o->format, "F", "table, json, csv or md"},
      {"no-bandwidth", TS_OPT_FLAG, &o->no_bandwidth, NULL, "do not measure DRAM read bandwidth before and after"},
      {"library", TS_OPT_TEXT, &o->library, "FILE", "another model library than the one in DIR"},
  };
  const ts_cli cli = {"bench", "DIR... [options]",
                      "Tokens per second: ppN is a prompt of N tokens, tgN is N tokens one by one. Medians with 95 % intervals (below six\n"
                      "repetitions: least and most). Read share: bytes a token must read, times speed, over the DRAM bandwidth beside it.\n"
                      "Several models are measured in turn, repetition by repetition; ratio is the speed over that of the first. Where a model\n"
                      "lies in memory makes some thousandths: loading them in both orders takes that out of the ratio.",
                      opts, TS_COUNTOF(opts), 1, MAX_MODELS};
  char **args;
  ts_diag d = {0};
  remember_command(&b, argc, argv);
  int nargs, code = ts_cli_parse(&cli, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  b.nmodels = nargs;
  if (!o->loads) o->loads = nargs > 1 ? 2 : 1;
  for (int i = 0; i < nargs; i++) b.model[i] = (subject){.bench = &b, .dir = args[i]};
  return whole(&b, &d) ? 0 : ts_cli_fail(&d);
}
