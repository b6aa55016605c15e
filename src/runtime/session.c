// One sequence of tokens: prefill in chunks, decode, logits.
#include <stdlib.h>

#include "runtime/runtime_impl.h"

struct ts_session {
  const ts_plan *plan;
  ts__exec *exec;
  const ts_plan_phase *head;
  int32_t *tokens;  // plan->max_seq of them
  int64_t length, capacity;
  float *work;      // 2 * vocab floats for the sampler
};

static const ts_plan_phase *head_of(const ts_plan *p) {
  for (int i = 0; i < p->nphases; i++)
    if (p->phases[i].kind == TS_PHASE_HEAD) return &p->phases[i];
  return NULL;
}

ts_session *ts_session_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) {
  ts_session *s = calloc(1, sizeof *s);
  const ts_plan *p = ts_library_plan(l);
  if (!s) {
    (void)ts_env_fail(d, "out-of-memory", "no memory for a session");
    return NULL;
  }
  s->plan = p;
  s->head = head_of(p);
  s->capacity = p->max_seq;
  s->tokens = malloc(sizeof *s->tokens * (size_t)p->max_seq);
  s->work = malloc(sizeof *s->work * 2 * (size_t)p->vocab);
  if (!s->tokens || !s->work)
    (void)ts_env_fail(d, "out-of-memory", "no memory for a session of %lld tokens", (long long)p->max_seq);
  else
    s->exec = ts__exec_new(l, w, pool, d);
  if (s->exec) return s;
  ts_session_free(s);
  return NULL;
}

void ts_session_free(ts_session *s) {
  if (!s) return;
  ts__exec_free(s->exec);
  free(s->tokens);
  free(s->work);
  free(s);
}

static int64_t round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }

// The largest number of rows, at most n, that one pass can take after t tokens: a phase serves it, and its rounding stays
// within the cache. One row always can.
static int64_t pass_rows(const ts_plan *p, int64_t n, int64_t t) {
  int64_t best = 1;
  for (int i = 0; i < p->nphases; i++) {
    const ts_plan_phase *f = &p->phases[i];
    if (f->kind != TS_PHASE_PREFILL) continue;
    int64_t fits = (p->max_seq - t) / f->multiple * f->multiple;
    int64_t rows = TS_MIN(TS_MIN(n, p->prefill_chunk), TS_MIN(f->n_max, fits));
    if (rows >= f->n_min && rows > best) best = rows;
  }
  return best;
}

// Compute `rows` tokens at position t; their hidden states are then in the buffers.
static bool pass(ts_session *s, const int32_t *tokens, int64_t rows, ts_diag *d) {
  const ts_plan_phase *f = ts_plan_pick(s->plan, rows);
  int64_t n = round_up(rows, f->multiple);
  int32_t *in = ts__exec_buffer(s->exec, s->plan->tokens);
  memcpy(in, tokens, sizeof *in * (size_t)rows);
  memset(in + rows, 0, sizeof *in * (size_t)(n - rows));
  TS_TRY(ts__exec_run(s->exec, f, n, s->length, 0, d));
  memcpy(s->tokens + s->length, tokens, sizeof *tokens * (size_t)rows);
  s->length += rows;
  return true;
}

static bool acceptable(const ts_session *s, const int32_t *tokens, size_t n, ts_diag *d) {
  if (n > (size_t)(s->capacity - s->length))
    return ts_refuse(d, "context-full", "%zu tokens after %lld do not fit in the context of %lld", n, (long long)s->length,
                     (long long)s->plan->max_seq);
  for (size_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= s->plan->vocab)
      return ts_refuse(d, "bad-token", "token %d is outside the vocabulary of %lld", tokens[i], (long long)s->plan->vocab);
  return true;
}

static bool head_rows(ts_session *s, int64_t rows, bool (*row)(void *, int64_t, const float *), void *arg, ts_diag *d) {
  for (int64_t r = 0; r < rows; r++) {
    TS_TRY(ts__exec_run(s->exec, s->head, 1, s->length - rows + r, r, d));
    if (!row(arg, s->length - rows + r, ts_session_logits(s))) return ts_refuse(d, "stopped", "stopped by the caller");
  }
  return true;
}

bool ts_session_score(ts_session *s, const int32_t *tokens, size_t n, bool (*row)(void *, int64_t, const float *), void *arg,
                      ts_diag *d) {
  TS_TRY(acceptable(s, tokens, n, d));
  for (size_t i = 0; i < n;) {
    int64_t rows = pass_rows(s->plan, (int64_t)(n - i), s->length);
    TS_TRY(pass(s, tokens + i, rows, d));
    i += (size_t)rows;
    if (row) TS_TRY(head_rows(s, rows, row, arg, d));
    if (!row && i == n) TS_TRY(ts__exec_run(s->exec, s->head, 1, s->length - 1, rows - 1, d));
  }
  return true;
}

bool ts_session_feed(ts_session *s, const int32_t *tokens, size_t n, ts_diag *d) {
  return ts_session_score(s, tokens, n, NULL, NULL, d);
}

const float *ts_session_logits(const ts_session *s) { return ts__exec_buffer(s->exec, s->plan->logits); }
int64_t ts_session_length(const ts_session *s) { return s->length; }
int64_t ts_session_capacity(const ts_session *s) { return s->capacity; }
void ts__session_limit(ts_session *s, int64_t capacity) { s->capacity = TS_MIN(capacity, s->plan->max_seq); }
const int32_t *ts_session_tokens(const ts_session *s) { return s->tokens; }

void ts_session_truncate(ts_session *s, int64_t length) {
  if (length >= 0 && length < s->length) s->length = length;
}

int32_t ts_session_sample(ts_session *s, const ts_sampler *how, ts_diag *d) {
  int32_t id = ts_sampler_pick(how, ts_session_logits(s), s->plan->active_vocab, s->tokens, (size_t)s->length,
                               (uint64_t)s->length, s->work);
  if (id < 0) (void)ts_bug(d, "no-finite-logit", "token %lld: no logit is a finite number", (long long)s->length);
  return id;
}

size_t ts_session_bytes(const ts_session *s) { return ts__exec_bytes(s->exec); }
void ts_session_profile(ts_session *s, bool on) { ts__exec_profile(s->exec, on); }
size_t ts_session_profile_rows(const ts_session *s, ts_arena *a, ts_profile_row **rows) {
  return ts__exec_profile_rows(s->exec, a, rows);
}
