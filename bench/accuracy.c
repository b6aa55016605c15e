// accuracy DIR FIXTURE.json [options]: how far a built model is from the recorded results of an independent implementation.
// Prints `name value unit` lines. With limits given, exit status 1 when one is broken.
//   --max-error X   largest difference of a logit, divided by the largest magnitude of the reference's logits in that row
//   --greedy N      the first N greedy tokens of every prompt must be the reference's
//   --max-ratio X   perplexity divided by the source weights' perplexity
//   --root DIR      where the texts named by the fixture lie (default: .)
//   --no-text       leave the perplexity out
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/runtime.h"

typedef struct options {
  const char *dir, *fixture, *root;
  double max_error, max_ratio;
  int greedy;
  bool no_text;
} options;

typedef struct check {
  options o;
  ts_engine *engine;
  ts_session *session;
  int64_t vocab;
  bool broken;
} check;

static void stop(const char *what) {
  fprintf(stderr, "accuracy: %s\n", what);
  exit(2);
}

static void stop_diag(const ts_diag *d) {
  ts_diag_print(stderr, d);
  exit(ts_diag_exit(d));
}

static const char *string_of(const json_t *o, const char *key) {
  const char *s = json_string_value(json_object_get(o, key));
  if (!s) stop("the fixture lacks a string");
  return s;
}

// The integers of an array, malloc'ed.
static int32_t *integers_of(const json_t *o, const char *key, size_t *n) {
  json_t *a = json_object_get(o, key);
  *n = json_array_size(a);
  int32_t *p = calloc(*n + 1, sizeof *p);
  if (!json_is_array(a) || !p) stop("the fixture lacks an array");
  for (size_t i = 0; i < *n; i++) p[i] = (int32_t)json_integer_value(json_array_get(a, i));
  return p;
}

// --- logits --------------------------------------------------------------------------------------------------

typedef struct rows {
  const check *c;
  const float *want;         // one row per entry of `at`
  const int32_t *at;
  size_t n;
  double worst;
} rows;

static double row_error(const float *got, const float *want, int64_t n) {
  double scale = 0, worst = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = fabs((double)got[i] - (double)want[i]);
    scale = fmax(scale, fabs((double)want[i]));
    if (!(e <= worst)) worst = isnan(e) ? INFINITY : e;
  }
  return worst / scale;
}

static bool compare_row(void *arg, int64_t position, const float *logits) {
  rows *r = arg;
  for (size_t i = 0; i < r->n; i++)
    if (r->at[i] == position) r->worst = fmax(r->worst, row_error(logits, r->want + (int64_t)i * r->c->vocab, r->c->vocab));
  return true;
}

static double logits_error(check *c, const json_t *prompt, const int32_t *ids, size_t n, ts_arena *a) {
  ts_diag d = {0};
  size_t npositions, bytes;
  int32_t *at = integers_of(prompt, "positions", &npositions);
  char *slash = strrchr(c->o.fixture, '/'), *data;
  const char *dir = slash ? ts_arena_strndup(a, c->o.fixture, (size_t)(slash - c->o.fixture)) : ".";
  if (!ts_file_read(ts_path_join(a, dir, string_of(prompt, "logits")), a, &data, &bytes, &d)) stop_diag(&d);
  if (bytes != npositions * (size_t)c->vocab * sizeof(float)) stop("a file of logits has another size than the model's vocabulary");
  rows r = {c, (const float *)data, at, npositions, 0};
  ts_session_truncate(c->session, 0);
  if (!ts_session_score(c->session, ids, n, compare_row, &r, &d)) stop_diag(&d);
  free(at);
  return r.worst;
}

// --- greedy text ---------------------------------------------------------------------------------------------

static int32_t best_of(const float *logits, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (logits[i] > logits[best]) best = i;
  return (int32_t)best;
}

// How many of the reference's greedy tokens follow, up to the first that differs.
static size_t greedy_equal(check *c, const int32_t *ids, size_t n, const int32_t *want, size_t nwant) {
  ts_diag d = {0};
  ts_session_truncate(c->session, 0);
  if (!ts_session_feed(c->session, ids, n, &d)) stop_diag(&d);
  for (size_t i = 0; i < nwant; i++) {
    int32_t t = best_of(ts_session_logits(c->session), c->vocab);
    if (t != want[i]) return i;
    if (i + 1 < nwant && !ts_session_feed(c->session, &t, 1, &d)) stop_diag(&d);
  }
  return nwant;
}

static bool same_tokens(const check *c, const char *text, const int32_t *ids, size_t n) {
  ts_diag d = {0};
  ts_tokens got = {0};
  if (!ts_tokenizer_encode(ts_engine_tokenizer(c->engine), text, strlen(text), false, &got, &d)) stop_diag(&d);
  bool same = got.n == n && !memcmp(got.p, ids, n * sizeof *ids);
  ts_tokens_free(&got);
  return same;
}

static void check_prompt(check *c, const json_t *prompt, ts_arena *a) {
  const char *name = string_of(prompt, "name");
  size_t n, nwant;
  int32_t *ids = integers_of(prompt, "ids", &n), *want = integers_of(prompt, "greedy", &nwant);
  bool same = same_tokens(c, string_of(prompt, "text"), ids, n);
  double error = logits_error(c, prompt, ids, n, a);
  size_t equal = greedy_equal(c, ids, n, want, nwant);
  printf("prompt_tokens_identical_%s %d bool\n", name, same);
  printf("max_relative_error_%s %.3g ratio\n", name, error);
  printf("greedy_identical_%s %zu tokens\n", name, equal);
  if (!same || (c->o.max_error > 0 && !(error <= c->o.max_error)) || equal < (size_t)c->o.greedy) c->broken = true;
  free(ids);
  free(want);
}

// --- perplexity ----------------------------------------------------------------------------------------------

typedef struct likelihood {
  const int32_t *ids;
  size_t n;
  int64_t vocab;
  double nll;
  size_t count;
} likelihood;

// Row `position` predicts token position + 1.
static bool add_likelihood(void *arg, int64_t position, const float *logits) {
  likelihood *l = arg;
  if ((size_t)position + 1 >= l->n) return true;
  double top = logits[0], sum = 0;
  for (int64_t i = 1; i < l->vocab; i++) top = fmax(top, logits[i]);
  for (int64_t i = 0; i < l->vocab; i++) sum += exp(logits[i] - top);
  l->nll += log(sum) + top - logits[l->ids[position + 1]];
  l->count++;
  return true;
}

static void check_text(check *c, const json_t *entry, ts_arena *a) {
  ts_diag d = {0};
  char *text;
  size_t bytes, window = (size_t)json_integer_value(json_object_get(entry, "window"));
  const char *file = string_of(entry, "text"), *base = strrchr(file, '/');
  if (!ts_file_read(ts_path_join(a, c->o.root, file), a, &text, &bytes, &d)) stop_diag(&d);
  ts_tokens t = {0};
  if (!ts_tokenizer_encode(ts_engine_tokenizer(c->engine), text, bytes, false, &t, &d)) stop_diag(&d);
  likelihood l = {.vocab = c->vocab};
  for (size_t at = 0; window && at + 1 < t.n; at += window) {
    l.ids = t.p + at;
    l.n = TS_MIN(window, t.n - at);
    ts_session_truncate(c->session, 0);
    if (!ts_session_score(c->session, l.ids, l.n, add_likelihood, &l, &d)) stop_diag(&d);
  }
  double ppl = exp(l.nll / (double)l.count), source = json_number_value(json_object_get(entry, "perplexity"));
  bool same = (int64_t)t.n == json_integer_value(json_object_get(entry, "tokens"));
  const char *name = base ? base + 1 : file;
  int len = (int)strcspn(name, ".");
  printf("text_tokens_%.*s %zu tokens\n", len, name, t.n);
  printf("perplexity_%.*s %.4f perplexity\n", len, name, ppl);
  printf("perplexity_of_source_%.*s %.4f perplexity\n", len, name, source);
  printf("perplexity_ratio_%.*s %.4f ratio\n", len, name, ppl / source);
  if (!same || (c->o.max_ratio > 0 && !(ppl / source <= c->o.max_ratio))) c->broken = true;
  ts_tokens_free(&t);
}

static options read_options(int argc, char **argv) {
  options o = {.root = "."};
  for (int i = 1; i < argc; i++) {
    const char *next = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "--no-text")) o.no_text = true;
    else if (!strcmp(argv[i], "--max-error")) o.max_error = atof(next), i++;
    else if (!strcmp(argv[i], "--max-ratio")) o.max_ratio = atof(next), i++;
    else if (!strcmp(argv[i], "--greedy")) o.greedy = atoi(next), i++;
    else if (!strcmp(argv[i], "--root")) o.root = next, i++;
    else if (!o.dir) o.dir = argv[i];
    else if (!o.fixture) o.fixture = argv[i];
    else stop("too many arguments");
  }
  if (!o.fixture) stop("usage: accuracy DIR FIXTURE.json [--max-error X] [--greedy N] [--max-ratio X] [--root DIR] [--no-text]");
  return o;
}

int main(int argc, char **argv) {
  check c = {.o = read_options(argc, argv)};
  ts_diag d = {0};
  json_error_t e;
  json_t *fixture = json_load_file(c.o.fixture, 0, &e), *prompts = json_object_get(fixture, "prompts"), *entry;
  if (!json_is_array(prompts)) stop("the fixture is not readable");
  if (!(c.engine = ts_engine_open(c.o.dir, &(ts_engine_opts){0}, &d))) stop_diag(&d);
  if (!(c.session = ts_engine_session(c.engine, &d))) stop_diag(&d);
  c.vocab = json_integer_value(json_object_get(fixture, "vocabulary"));
  ts_arena *a = ts_arena_new("accuracy");
  size_t i;
  json_array_foreach(prompts, i, entry) check_prompt(&c, entry, a);
  json_array_foreach(json_object_get(fixture, "perplexity"), i, entry) if (!c.o.no_text) check_text(&c, entry, a);
  ts_arena_free(a);
  ts_session_free(c.session);
  ts_engine_close(c.engine);
  json_decref(fixture);
  return c.broken;
}
