// tunesmith chat: talk to a built model, on a terminal, over a pipe, or one prompt at a time.
#include <math.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/line.h"
#include "runtime/runtime.h"

typedef struct options {
  const char *prompt, *system, *library;
  int64_t threads, max_tokens, top_k, seed;
  double temperature, top_p, repetition_penalty;
  bool raw, stats;
} options;

typedef struct totals {
  int64_t turns, prompt_tokens, new_tokens;
  uint64_t prompt_ns, decode_ns;
} totals;

typedef struct chat {
  options o;
  char dir[4096];
  ts_engine *engine;
  ts_session *session;
  ts_sampler sampler;
  ts_dialog *dialog;
  ts_gen_result last;
  totals total;
  int exit_code;
  bool tty;  // somebody types: what is refused does not end the conversation
} chat;

static void close_model(chat *c) {
  ts_dialog_free(c->dialog);
  ts_session_free(c->session);
  ts_engine_close(c->engine);
  c->dialog = NULL;
  c->session = NULL;
  c->engine = NULL;
}

static void choose_sampler(chat *c) {
  const options *o = &c->o;
  c->sampler = ts_engine_config(c->engine)->sampler;
  if (!isnan(o->temperature)) c->sampler.temperature = o->temperature;
  if (!isnan(o->top_p)) c->sampler.top_p = o->top_p;
  if (!isnan(o->repetition_penalty)) c->sampler.repetition_penalty = o->repetition_penalty;
  if (o->top_k != INT64_MIN) c->sampler.top_k = o->top_k;
  c->sampler.seed = o->seed != INT64_MIN ? (uint64_t)o->seed : ts_now_ns();
}

static bool open_model(chat *c, ts_diag *d) {
  ts_engine_opts e = {.threads = (int)c->o.threads, .library = c->o.library};
  TS_TRY(ts_cli_threads(c->o.threads, d));
  if (c->o.max_tokens < 0) return ts_refuse(d, "bad-option", "--max-tokens %lld is negative", (long long)c->o.max_tokens);
  TS_TRY((c->engine = ts_engine_open(c->dir, &e, d)) != NULL);
  TS_TRY((c->session = ts_engine_session(c->engine, d)) != NULL);
  c->dialog = ts_dialog_new(c->engine, c->session);
  ts_dialog_system(c->dialog, c->o.system);
  choose_sampler(c);
  return ts_sampler_check(&c->sampler, d);
}

static bool show(void *arg, const char *p, size_t n) {
  (void)arg;
  fwrite(p, 1, n, stdout);
  fflush(stdout);
  return !ts_interrupted();
}

static void add_totals(chat *c) {
  c->total.turns++;
  c->total.prompt_tokens += c->last.prompt_tokens;
  c->total.new_tokens += c->last.new_tokens;
  c->total.prompt_ns += c->last.prompt_ns;
  c->total.decode_ns += c->last.decode_ns;
}

// Without the template: continue the text itself.
static bool continue_text(chat *c, const char *text, ts_gen_opts *g, ts_diag *d) {
  const ts_tokenizer *t = ts_engine_tokenizer(c->engine);
  ts_tokens tokens = {0};
  int32_t stops[128];
  g->stop_tokens = stops;
  g->nstop_tokens = ts_engine_stops(c->engine, stops, 128);
  bool ok = ts_tokenizer_encode(t, text, strlen(text), true, &tokens, d) && ts_generate(c->session, t, tokens.p, tokens.n, g, &c->last, d);
  ts_tokens_free(&tokens);
  return ok;
}

// One turn: the user's text in, the reply on stdout and kept.
static bool answer(chat *c, const char *text, ts_diag *d) {
  ts_gen_opts g = {.sampler = c->sampler, .max_tokens = c->o.max_tokens, .text = show, .arg = c};
  if (!(c->o.raw ? continue_text(c, text, &g, d) : ts_dialog_say(c->dialog, text, &g, &c->last, d))) {
    if (!strcmp(d->code, "context-full"))
      ts_hint(d, "%s", c->o.prompt ? "shorten the prompt, or build the model with a larger --max-seq-len" : "/reset begins anew; tunesmith build --max-seq-len makes room for more");
    return false;
  }
  add_totals(c);
  putchar('\n');
  return true;
}

static double rate(int64_t n, uint64_t ns) { return n > 0 && ns > 0 ? (double)n * 1e9 / (double)ns : 0; }

static const char *stop_name(ts_stop s) {
  static const char *const names[] = {"none", "end of answer", "stop text", "length limit", "context full", "interrupted"};
  return names[s];
}

static void print_stats(FILE *f, const chat *c) {
  const ts_gen_result *r = &c->last;
  fprintf(f, "prompt: %lld tokens, %.1f tok/s; first token after %.1f ms; answer: %lld tokens, %.1f tok/s; stopped: %s\n",
          (long long)r->prompt_tokens, rate(r->prompt_tokens, r->prompt_ns), (double)r->first_ns / 1e6, (long long)r->new_tokens,
          rate(r->new_tokens - 1, r->decode_ns), stop_name(r->stop));
}

static void print_metrics(const chat *c) {
  const totals *t = &c->total;
  ts_arena *a = ts_arena_new("metrics");
  ts_profile_row *rows;
  size_t n = ts_session_profile_rows(c->session, a, &rows);
  printf("turns %lld count\nprompt_tokens %lld tokens\nnew_tokens %lld tokens\n", (long long)t->turns, (long long)t->prompt_tokens,
         (long long)t->new_tokens);
  printf("prefill %.1f tok/s\ndecode %.1f tok/s\n", rate(t->prompt_tokens, t->prompt_ns), rate(t->new_tokens - t->turns, t->decode_ns));
  printf("context_used %lld tokens\ncontext_size %lld tokens\nweight_bytes %zu B\nsession_bytes %zu B\nthreads %d count\n",
         (long long)ts_session_length(c->session), (long long)ts_session_capacity(c->session), ts_weights_bytes(ts_engine_weights(c->engine)),
         ts_session_bytes(c->session), ts_pool_threads(ts_engine_pool(c->engine)));
  for (size_t i = 0; i < n; i++)
    if (rows[i].calls)
      printf("op_time{phase=\"%s\",workload=\"%s\",served=\"%s\"} %.2f us\n", rows[i].phase, rows[i].spec, rows[i].source,
             (double)rows[i].ns / 1e3 / (double)rows[i].calls);
  ts_arena_free(a);
}

static void print_settings(const chat *c) {
  const ts_sampler *s = &c->sampler;
  printf("temperature=%g top_p=%g top_k=%lld repetition_penalty=%g presence_penalty=%g frequency_penalty=%g seed=%llu max_tokens=%lld\n", s->temperature,
         s->top_p, (long long)s->top_k, s->repetition_penalty, s->presence_penalty, s->frequency_penalty, (unsigned long long)s->seed,
         (long long)c->o.max_tokens);
}

// name=value; the settings change when the value makes sense.
static bool set_one(chat *c, const char *name, const char *value, ts_diag *d) {
  ts_sampler s = c->sampler;
  int64_t max_tokens = c->o.max_tokens;
  const struct {
    const char *name;
    double *real;
    int64_t *whole;
  } rows[] = {{"temperature", &s.temperature, NULL}, {"top_p", &s.top_p, NULL}, {"top_k", NULL, &s.top_k},
              {"repetition_penalty", &s.repetition_penalty, NULL}, {"presence_penalty", &s.presence_penalty, NULL},
              {"frequency_penalty", &s.frequency_penalty, NULL}, {"seed", NULL, (int64_t *)&s.seed}, {"max_tokens", NULL, &max_tokens}};
  if (!strcmp(name, "system")) {
    ts_dialog_system(c->dialog, *value ? value : NULL);
    return true;
  }
  size_t i = 0;
  while (i < TS_COUNTOF(rows) && strcmp(name, rows[i].name) != 0) i++;
  if (i == TS_COUNTOF(rows)) return ts_refuse(d, "bad-option", "no setting '%s'", name);
  char *end = NULL;
  if (rows[i].real) *rows[i].real = strtod(value, &end);
  else *rows[i].whole = strtoll(value, &end, 10);
  if (end == value || *end || max_tokens < 0) return ts_refuse(d, "bad-option", "%s: not a value of it: '%s'", name, value);
  TS_TRY(ts_sampler_check(&s, d));
  c->sampler = s;
  c->o.max_tokens = max_tokens;
  return true;
}

static void set(chat *c, char *arg) {
  ts_diag d = {0};
  char *eq = strchr(arg, '=');
  if (!*arg) return print_settings(c);
  if (!eq) {
    fprintf(stderr, "error: '%s' sets nothing; write NAME=VALUE  [bad-option]\n", arg);
    return;
  }
  *eq = 0;
  if (!set_one(c, arg, eq + 1, &d)) ts_diag_print(stderr, &d);
}

static const char help[] =
    "/help            this text\n"
    "/exit            leave\n"
    "/stats           tokens and speed of the last answer\n"
    "/metrics         totals, memory and time per operator, a `name value unit` line each\n"
    "/reset           forget the conversation\n"
    "/set             show the settings\n"
    "/set NAME=VALUE  temperature, top_p, top_k, repetition_penalty, presence_penalty, frequency_penalty, seed, max_tokens, system\n"
    "/reload [DIR]    load the model again, or another\n";

// Tab: the commands, and the settings after /set.
static const char **complete(void *arg, ts_arena *a, const char *text, size_t n, size_t *from, size_t *count) {
  static const char *const words[] = {"/exit", "/help", "/metrics", "/reload", "/reset", "/set", "/stats"};
  static const char *const settings[] = {"frequency_penalty=", "max_tokens=", "presence_penalty=", "repetition_penalty=", "seed=", "system=", "temperature=", "top_k=", "top_p="};
  (void)arg;
  bool set = n >= 5 && !strncmp(text, "/set ", 5);
  *from = set ? 5 : 0;
  *count = 0;
  const char **out = ts_new_array(a, const char *, TS_COUNTOF(settings));
  for (size_t i = 0; i < (set ? TS_COUNTOF(settings) : TS_COUNTOF(words)); i++) {
    const char *w = set ? settings[i] : words[i];
    if (n > *from && !strncmp(w, text + *from, n - *from)) out[(*count)++] = w;
  }
  return out;
}

// The model that is there goes first, for two may not fit; but not for a folder without a model.
static bool reload(chat *c, const char *dir, bool *open, ts_diag *d) {
  ts_api api;
  *open = true;
  TS_TRY(ts_engine_api(*dir ? dir : c->dir, c->o.library, &api, d));
  close_model(c);
  if (*dir) snprintf(c->dir, sizeof c->dir, "%s", dir);
  return *open = open_model(c, d);
}

// Returns false when the chat is over.
static bool command(chat *c, char *line) {
  ts_diag d = {0};
  bool open = true;
  char *arg = line + strcspn(line, " ");
  if (*arg) *arg++ = 0;
  if (!strcmp(line, "/exit")) return false;
  if (!strcmp(line, "/help")) fputs(help, stdout);
  else if (!strcmp(line, "/stats")) print_stats(stdout, c);
  else if (!strcmp(line, "/metrics")) print_metrics(c);
  else if (!strcmp(line, "/reset")) ts_dialog_reset(c->dialog);
  else if (!strcmp(line, "/set")) set(c, arg);
  else if (strcmp(line, "/reload")) fprintf(stderr, "no command %s; /help lists the commands\n", line);
  else if (!reload(c, arg, &open, &d)) {
    int code = ts_cli_fail(&d);
    open &= c->tty;
    if (!open) c->exit_code = code;
  }
  return open;
}

// On a terminal Ctrl-C drops the line or stops the answer, and the conversation goes on.
static void converse(chat *c) {
  ts_diag d = {0};
  ts__line *in = ts__line_open(&(ts__line_opts){.prompt = ">>> ", .history = "chat_history", .complete = complete, .arg = c});
  bool tty = c->tty = ts__line_is_terminal(in);
  if (tty) printf("%s, %s, %d threads. /help lists the commands.\n", ts_engine_plan(c->engine)->name, ts_engine_plan(c->engine)->quantization,
                  ts_pool_threads(ts_engine_pool(c->engine)));
  ts_session_profile(c->session, true);
  for (bool more = true; more && !ts_interrupted();) {
    char *line;
    ts__line_end end = ts__line_read(in, &line);
    if (end == TS__LINE_END) break;
    if (end == TS__LINE_INTERRUPTED || !*line) continue;
    if (line[0] == '/') more = command(c, line);
    else if (!answer(c, line, &d)) {
      int code = ts_cli_fail(&d);
      if (!tty) c->exit_code = code;  // a script is told that some turn had no answer
    }
    if (tty) (void)ts_interrupt_clear();
  }
  if (tty) putchar('\n');
  ts__line_close(in);
}

static int run(chat *c) {
  ts_diag d = {0};
  bool ok = open_model(c, &d);
  if (ok && c->o.prompt) ok = answer(c, c->o.prompt, &d);
  else if (ok) converse(c);
  if (!ok) c->exit_code = ts_cli_fail(&d);
  if (ok && c->o.stats) print_stats(stderr, c);
  close_model(c);
  if (!c->exit_code && (fflush(stdout) != 0 || ferror(stdout))) return perror("error: standard output"), 3;
  return c->exit_code ? c->exit_code : ts_interrupted() ? 130 : 0;
}

int ts_cmd_chat(int argc, char **argv) {
  chat c = {.o = {.temperature = NAN, .top_p = NAN, .repetition_penalty = NAN, .top_k = INT64_MIN, .seed = INT64_MIN}};
  options *o = &c.o;
  const ts_opt opts[] = {
      {"prompt", TS_OPT_TEXT, &o->prompt, "TEXT", "answer this and exit"},
      {"system", TS_OPT_TEXT, &o->system, "TEXT", "system message instead of the model's"},
      {"raw", TS_OPT_FLAG, &o->raw, NULL, "continue the text as it is, without the conversation template"},
      {"threads", TS_OPT_COUNT, &o->threads, "N", "threads (default: one per physical core)"},
      {"temperature", TS_OPT_REAL, &o->temperature, "X", "0 is greedy (default: the model's)"},
      {"top-p", TS_OPT_REAL, &o->top_p, "X", "keep the likeliest tokens of this total probability"},
      {"top-k", TS_OPT_INT, &o->top_k, "N", "keep the N likeliest tokens; 0 is off"},
      {"repetition-penalty", TS_OPT_REAL, &o->repetition_penalty, "X", "above 1 discourages tokens already used"},
      {"seed", TS_OPT_INT, &o->seed, "N", "the same seed and text give the same answer (default: the clock)"},
      {"max-tokens", TS_OPT_INT, &o->max_tokens, "N", "longest answer; 0: until the context is full"},
      {"stats", TS_OPT_FLAG, &o->stats, NULL, "tokens and speed on standard error at the end"},
      {"library", TS_OPT_TEXT, &o->library, "FILE", "another model library than the one in DIR"},
  };
  const ts_cli cli = {"chat", "DIR [options]",
                      "Talk to the model in DIR. Without --prompt, lines from standard input are turns of one conversation; lines that\n"
                      "begin with / are commands (/help lists them).",
                      opts, TS_COUNTOF(opts), 1, 1};
  char **args;
  int nargs, code = ts_cli_parse(&cli, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  snprintf(c.dir, sizeof c.dir, "%s", args[0]);
  return run(&c);
}
