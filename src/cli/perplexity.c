// tunesmith perplexity: how well a built model predicts a text.
#include <math.h>

#include "cli/cli.h"
#include "runtime/runtime.h"

typedef struct options {
  const char *text, *format;
  int64_t threads, window;
} options;

typedef struct likelihood {
  const int32_t *ids;
  size_t n;
  int64_t vocab;
  double nll, squares;
  size_t count;
} likelihood;

// Row `position` predicts token position + 1.
static bool add_row(void *arg, int64_t position, const float *logits) {
  likelihood *l = arg;
  if ((size_t)position + 1 >= l->n) return !ts_interrupted();
  double top = (double)logits[0], sum = 0;
  for (int64_t i = 1; i < l->vocab; i++) top = fmax(top, (double)logits[i]);
  for (int64_t i = 0; i < l->vocab; i++) sum += exp((double)logits[i] - top);
  double nll = log(sum) + top - (double)logits[l->ids[position + 1]];
  l->nll += nll;
  l->squares += nll * nll;
  l->count++;
  return !ts_interrupted();
}

static bool score(ts_session *s, const ts_tokens *t, size_t window, likelihood *l, ts_diag *d) {
  ts_progress p;
  ts_progress_begin(&p, "perplexity", t->n);
  bool ok = true;
  for (size_t at = 0; ok && at + 1 < t->n; at += window) {
    l->ids = t->p + at;
    l->n = TS_MIN(window, t->n - at);
    ts_session_truncate(s, 0);
    ok = ts_session_score(s, l->ids, l->n, add_row, l, d);
    ts_progress_step(&p, TS_MIN(at + window, t->n), "");
  }
  ts_progress_end(&p, "");
  return ok;
}

static void print(const options *o, const likelihood *l, size_t tokens, size_t window, double seconds) {
  double mean = l->nll / (double)l->count, sd = sqrt(fmax(0, l->squares / (double)l->count - mean * mean));
  double ppl = exp(mean), error = ppl * sd / sqrt((double)l->count);
  if (!strcmp(o->format, "json"))
    printf("{\"perplexity\": %.6f, \"standard_error\": %.6f, \"nll_per_token\": %.6f, \"tokens\": %zu, \"predicted\": %zu, \"window\": %zu, "
           "\"seconds\": %.3f}\n", ppl, error, mean, tokens, l->count, window, seconds);
  else
    printf("perplexity %.4f perplexity\nstandard_error %.4f perplexity\ntokens %zu tokens\npredicted %zu tokens\nwindow %zu tokens\n"
           "speed %.1f tok/s\n", ppl, error, tokens, l->count, window, (double)tokens / seconds);
}

static bool measure(const options *o, ts_engine *e, ts_session *s, ts_diag *d) {
  ts_map m;
  ts_tokens t = {0};
  TS_TRY(ts_map_open(o->text, &m, d));
  bool ok = ts_tokenizer_encode(ts_engine_tokenizer(e), (const char *)m.p, m.n, false, &t, d);
  ts_map_close(&m);
  size_t window = (size_t)(o->window ? TS_MIN(o->window, ts_session_capacity(s)) : TS_MIN(512, ts_session_capacity(s)));
  likelihood l = {.vocab = ts_engine_plan(e)->vocab};
  uint64_t start = ts_now_ns();
  if (ok && t.n < 2) ok = ts_refuse(d, "text-short", "%s: %zu tokens, two are the least", o->text, t.n);
  ok = ok && score(s, &t, window, &l, d);
  if (!ok && ts_interrupted()) ts_refuse(d, "interrupted", "interrupted");
  if (ok) print(o, &l, t.n, window, (double)(ts_now_ns() - start) / 1e9);
  ts_tokens_free(&t);
  return ok;
}

static bool run(const options *o, const char *dir, ts_diag *d) {
  if (!o->text) return ts_refuse(d, "usage", "perplexity: give --text FILE");
  if (strcmp(o->format, "lines") && strcmp(o->format, "json")) return ts_refuse(d, "usage", "--format is lines or json, not '%s'", o->format);
  if (o->window == 1) return ts_refuse(d, "usage", "--window %lld is not 2 or more", (long long)o->window);
  TS_TRY(ts_cli_threads(o->threads, d));
  ts_engine *e = ts_engine_open(dir, &(ts_engine_opts){.threads = (int)o->threads}, d);
  ts_session *s = e ? ts_engine_session(e, d) : NULL;
  bool ok = s && measure(o, e, s, d);
  ts_session_free(s);
  ts_engine_close(e);
  return ok;
}

int ts_cmd_perplexity(int argc, char **argv) {
  options o = {.format = "lines"};
  const ts_opt opts[] = {
      {"text", TS_OPT_TEXT, &o.text, "FILE", "the text"},
      {"window", TS_OPT_COUNT, &o.window, "N", "tokens seen at once (default: 512, or the model's context when smaller)"},
      {"threads", TS_OPT_COUNT, &o.threads, "N", "threads (default: one per physical core)"},
      {"format", TS_OPT_TEXT, &o.format, "F", "lines (name value unit) or json"},
  };
  const ts_cli cli = {"perplexity", "DIR --text FILE [options]",
                      "exp of the mean negative log likelihood of each token of FILE given those before it in its window.", opts,
                      TS_COUNTOF(opts), 1, 1};
  char **args;
  ts_diag d = {0};
  int nargs, code = ts_cli_parse(&cli, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  return run(&o, args[0], &d) ? 0 : ts_cli_fail(&d);
}
