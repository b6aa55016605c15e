// agree DIR OTHER [options] PROMPT...: whether two builds of one model say the same. DIR continues each prompt greedily; OTHER is given the same
// tokens, one at a time, and asked for its choice at each position. Where the choices differ, DIR's logits say by how much it was sure. Prints a
// line for each difference, and `name value unit` lines. Exit status 1 when a limit is broken.
//   --tokens N      of each continuation (64)
//   --gap X         a choice may differ where DIR's logits of the two choices are at most this part of its largest logit apart (0.002)
//   --ties N        that many choices of a hundred may differ (5)
//   --max-error X   largest difference of a logit, divided by the largest magnitude of DIR's logits at that position (0.02)
#include <math.h>
#include <stdlib.h>

#include "runtime/runtime.h"

typedef struct options {
  const char *dir[2];
  double gap, ties, max_error;
  int64_t tokens;
  char **prompt;
  int nprompts;
} options;
typedef struct side {
  ts_engine *engine;
  ts_session *session;
} side;
typedef struct tally {
  int64_t positions, differ, beyond, same_texts;
  double worst_gap, worst_error;
} tally;

static void stop(const char *what) {
  fprintf(stderr, "agree: %s\n", what);
  exit(2);
}

static void stop_diag(const ts_diag *d) {
  ts_diag_print(stderr, d);
  exit(ts_diag_exit(d));
}

static void feed(side *s, const int32_t *ids, size_t n) {
  ts_diag d = {0};
  if (!ts_session_feed(s->session, ids, n, &d)) stop_diag(&d);
}

// Not a number is never chosen; -1 when nothing else is there.
static int64_t choice(const float *logits, int64_t n) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; i++)
    if (!isnan(logits[i]) && (best < 0 || logits[i] > logits[best])) best = i;
  return best;
}

static double largest(const float *logits, int64_t n) {
  double m = 0;
  for (int64_t i = 0; i < n; i++) m = fmax(m, fabs((double)logits[i]));
  return m;
}

static double error_of(const float *a, const float *b, int64_t n) {
  double worst = 0;
  for (int64_t i = 0; i < n; i++) {
    double e = fabs((double)a[i] - (double)b[i]);
    if (!(e <= worst)) worst = isnan(e) ? INFINITY : e;
  }
  return worst / largest(a, n);
}

// One position: what both would say next. The token that DIR says, or -1 when its logits are none.
static int32_t compare(const options *o, const side *s, int64_t vocab, const char *prompt, int64_t position, tally *t, bool *same) {
  const float *a = ts_session_logits(s[0].session), *b = ts_session_logits(s[1].session);
  int64_t x = choice(a, vocab), y = choice(b, vocab);
  if (x < 0) return -1;
  t->positions++;
  t->worst_error = fmax(t->worst_error, error_of(a, b, vocab));
  if (x == y) return (int32_t)x;
  double gap = y < 0 ? INFINITY : ((double)a[x] - (double)a[y]) / largest(a, vocab);
  const ts_tokenizer *tok = ts_engine_tokenizer(s[0].engine);
  const char *p = ts_tokenizer_piece(tok, (int32_t)x), *q = y < 0 ? NULL : ts_tokenizer_piece(tok, (int32_t)y);
  printf("%s after '%.40s': token %lld is '%s' here and '%s' there, %.3g of %.4g apart\n", gap <= o->gap ? "near-tie" : "DIFFERS", prompt, (long long)position, p ? p : "?", q ? q : "?",
         gap * largest(a, vocab), largest(a, vocab));
  *same = false;
  t->differ++;
  t->beyond += !(gap <= o->gap);
  t->worst_gap = fmax(t->worst_gap, gap);
  return (int32_t)x;
}

static void check_prompt(const options *o, side *s, const char *prompt, tally *t) {
  ts_diag d = {0};
  ts_tokens ids = {0};
  const ts_tokenizer *tok = ts_engine_tokenizer(s[0].engine);
  int64_t vocab = ts_engine_plan(s[0].engine)->vocab;
  bool same = true;
  if (!ts_tokenizer_encode(tok, prompt, strlen(prompt), true, &ids, &d)) stop_diag(&d);
  if (!ids.n) stop("a prompt has no tokens");
  for (int i = 0; i < 2; i++) {
    ts_session_truncate(s[i].session, 0);
    feed(&s[i], ids.p, ids.n);
  }
  for (int64_t i = 0; i < o->tokens; i++) {
    int32_t next = compare(o, s, vocab, prompt, i, t, &same);
    if (next < 0) stop("the logits of the first model are not numbers");
    for (int k = 0; k < 2 && i + 1 < o->tokens; k++) feed(&s[k], &next, 1);
  }
  t->same_texts += same;
  ts_tokens_free(&ids);
}

static options read_options(int argc, char **argv) {
  options o = {.gap = 0.002, .ties = 5, .max_error = 0.02, .tokens = 64};
  int i = 1;
  for (; i + 1 < argc && (!o.dir[1] || !strncmp(argv[i], "--", 2)); i++) {
    if (!strcmp(argv[i], "--gap")) o.gap = atof(argv[++i]);
    else if (!strcmp(argv[i], "--ties")) o.ties = atof(argv[++i]);
    else if (!strcmp(argv[i], "--max-error")) o.max_error = atof(argv[++i]);
    else if (!strcmp(argv[i], "--tokens")) o.tokens = atoll(argv[++i]);
    else o.dir[o.dir[0] != NULL] = argv[i];
  }
  o.prompt = argv + i;
  o.nprompts = argc - i;
  if (!o.dir[1] || o.nprompts < 1 || o.tokens < 1) stop("usage: agree DIR OTHER [--tokens N] [--gap X] [--ties N] [--max-error X] PROMPT...");
  return o;
}

int main(int argc, char **argv) {
  options o = read_options(argc, argv);
  side s[2];
  ts_diag d = {0};
  tally t = {0};
  for (int i = 0; i < 2; i++)
    if (!(s[i].engine = ts_engine_open(o.dir[i], &(ts_engine_opts){0}, &d)) || !(s[i].session = ts_engine_session(s[i].engine, &d))) stop_diag(&d);
  if (ts_engine_plan(s[0].engine)->vocab != ts_engine_plan(s[1].engine)->vocab) stop("the two have other vocabularies");
  for (int i = 0; i < o.nprompts; i++) check_prompt(&o, s, o.prompt[i], &t);
  printf("same_texts %lld of_%d\n", (long long)t.same_texts, o.nprompts);
  printf("same_choices %lld of_%lld\n", (long long)(t.positions - t.differ), (long long)t.positions);
  printf("largest_gap %.3g ratio\n", t.worst_gap);
  printf("max_relative_error %.3g ratio\n", t.worst_error);
  for (int i = 0; i < 2; i++) {
    ts_session_free(s[i].session);
    ts_engine_close(s[i].engine);
  }
  return t.beyond || (double)t.differ > o.ties / 100 * (double)t.positions || !(t.worst_error <= o.max_error);
}
