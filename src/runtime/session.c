// One sequence of tokens: prefill in chunks, decode, logits.
#include <stdlib.h>

#include "runtime/runtime_impl.h"

struct ts_session {
  const ts_plan *plan;
  ts__exec *exec;
  ts_cache *own;    // where no other session has pages
  ts__table table;  // of a plan with pages
  const ts_plan_phase *head;
  ts_passes *passes;
  int32_t *tokens;  // plan->max_seq of them
  int64_t length, capacity;
  bool stale;       // the logits are not those of the last token
  bool ahead;       // the device is choosing tokens
  int64_t base;     // length when it began to
  float *work;      // 2 * vocab floats for the sampler
};

static const ts_plan_phase *head_of(const ts_plan *p) {
  for (int i = 0; i < p->nphases; i++)
    if (p->phases[i].kind == TS_PHASE_HEAD) return &p->phases[i];
  return NULL;
}

static bool open_table(ts_session *s, const ts_library *l, const ts_weights *w, ts_cache *cache, ts_diag *d) {
  if (!s->plan->page) return true;
  if (!cache) cache = s->own = ts_cache_new(l, w, d);
  return cache && ts__table_open(&s->table, cache, d);
}

static ts__exec *new_exec(ts_session *s, const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) {
  ts__table *table = s->plan->page ? &s->table : NULL;
  return s->plan->api == TS_API_CUDA ? ts__exec_new_cuda(l, w, table, d) : ts__exec_new(l, w, pool, table, d);
}

ts_session *ts_session_new_in(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_cache *cache, ts_diag *d) {
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
  else if ((s->passes = ts_passes_new(p, d)) && open_table(s, l, w, cache, d))
    s->exec = new_exec(s, l, w, pool, d);
  if (s->exec) return s;
  ts_session_free(s);
  return NULL;
}

ts_session *ts_session_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) { return ts_session_new_in(l, w, pool, NULL, d); }

void ts_session_free(ts_session *s) {
  if (!s) return;
  if (s->exec) s->exec->kind->free(s->exec);
  ts__table_close(&s->table);
  ts_cache_free(s->own);
  ts_passes_free(s->passes);
  free(s->tokens);
  free(s->work);
  free(s);
}

// Positions that the session can have now.
static int64_t reach(const ts_session *s) { return s->plan->page ? ts__table_reach(&s->table, s->length) : s->plan->max_seq; }

// Compute `rows` tokens with a phase; their hidden states are then in the buffers.
static bool pass(ts_session *s, const ts_plan_phase *f, const int32_t *tokens, int64_t rows, ts_diag *d) {
  int64_t n = ts_round_up(rows, f->multiple);
  if (s->plan->page) TS_TRY(ts__table_grow(&s->table, s->length, s->length + n, d));
  s->stale = true;
  TS_TRY(s->exec->kind->pass(s->exec, f, tokens, rows, n, s->length, d));
  memcpy(s->tokens + s->length, tokens, sizeof *tokens * (size_t)rows);
  s->length += rows;
  return true;
}

static bool head(ts_session *s, int64_t row, int64_t t, ts_diag *d) {
  TS_TRY(s->exec->kind->head(s->exec, s->head, row, t, d));
  s->stale = t != s->length - 1;
  return true;
}

static bool acceptable(ts_session *s, const int32_t *tokens, size_t n, ts_diag *d) {
  if (s->ahead) return ts_bug(d, "session-busy", "a session that runs ahead takes no tokens");
  if (n > (size_t)(s->capacity - s->length))
    return ts_refuse(d, "context-full", "%zu tokens after %lld do not fit in the context of %lld", n, (long long)s->length,
                     (long long)s->capacity);
  // More than the cache has pages for: growing refuses, and says by how many.
  if (s->plan->page && (int64_t)n > reach(s) - s->length) return ts__table_grow(&s->table, s->length, s->length + (int64_t)n, d);
  for (size_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= s->plan->vocab)
      return ts_refuse(d, "bad-token", "token %d is outside the vocabulary of %lld", tokens[i], (long long)s->plan->vocab);
  return true;
}

static bool head_rows(ts_session *s, int64_t rows, bool (*row)(void *, int64_t, const float *), void *arg, ts_diag *d) {
  for (int64_t r = 0; r < rows; r++) {
    TS_TRY(head(s, r, s->length - rows + r, d));
    TS_TRY(s->exec->kind->finish(s->exec, d));
    if (!row(arg, s->length - rows + r, ts_session_logits(s))) return ts_refuse(d, "stopped", "stopped by the caller");
  }
  return true;
}

static bool score(ts_session *s, const int32_t *tokens, size_t n, bool (*row)(void *, int64_t, const float *), void *arg, ts_diag *d) {
  for (size_t i = 0; i < n;) {
    ts_pass next = ts_passes_next(s->passes, (int64_t)(n - i), reach(s) - s->length);
    TS_TRY(pass(s, next.phase, tokens + i, next.rows, d));
    i += (size_t)next.rows;
    if (row) TS_TRY(head_rows(s, next.rows, row, arg, d));
    if (!row && i == n) TS_TRY(head(s, next.rows - 1, s->length - 1, d));
  }
  return s->exec->kind->finish(s->exec, d);
}

// Pages beyond the tokens, which rounding took or which are forgotten, go back.
static void give_back(ts_session *s) {
  if (s->plan->page) ts__table_shrink(&s->table, s->length);
}

bool ts_session_score(ts_session *s, const int32_t *tokens, size_t n, bool (*row)(void *, int64_t, const float *), void *arg,
                      ts_diag *d) {
  TS_TRY(acceptable(s, tokens, n, d));
  bool ok = score(s, tokens, n, row, arg, d);
  give_back(s);
  return ok;
}

bool ts_session_feed(ts_session *s, const int32_t *tokens, size_t n, ts_diag *d) {
  return ts_session_score(s, tokens, n, NULL, NULL, d);
}

// After running ahead, or forgetting tokens, the logits are of another token: the last one is computed again.
static bool refresh(ts_session *s, ts_diag *d) {
  if (!s->stale || s->length == 0) return true;
  const int32_t last = s->tokens[s->length - 1];
  const int64_t length = s->length--;
  bool ok = acceptable(s, &last, 1, d) && score(s, &last, 1, NULL, NULL, d);
  s->length = length;  // refused for lack of a page, it is still the session's last token
  give_back(s);
  return ok;
}

const float *ts_session_logits(const ts_session *s) { return s->exec->kind->logits(s->exec); }
int64_t ts_session_length(const ts_session *s) { return s->length; }
int64_t ts_session_capacity(const ts_session *s) { return s->capacity; }
void ts__session_limit(ts_session *s, int64_t capacity) { s->capacity = TS_MIN(capacity, s->plan->max_seq); }
const int32_t *ts_session_tokens(const ts_session *s) { return s->tokens; }

void ts_session_truncate(ts_session *s, int64_t length) {
  if (length < 0 || length >= s->length) return;
  s->length = length;
  s->stale = true;
  give_back(s);
}

// Keys and values may be no numbers either.
static bool no_finite_logit(ts_session *s, ts_diag *d) {
  s->table.spoiled = true;
  return ts_bug(d, "no-finite-logit", "token %lld: no logit is a finite number", (long long)s->length);
}

int32_t ts_session_sample(ts_session *s, const ts_sampler *how, ts_diag *d) {
  if (!refresh(s, d)) return -1;
  int32_t id = ts_sampler_pick(how, ts_session_logits(s), s->plan->active_vocab, s->tokens, (size_t)s->length,
                               (uint64_t)s->length, s->work);
  if (id < 0) (void)no_finite_logit(s, d);
  return id;
}

size_t ts_session_bytes(const ts_session *s) { return s->exec->kind->bytes(s->exec); }
void ts_session_profile(ts_session *s, bool on) { s->exec->kind->profile(s->exec, on); }
size_t ts_session_profile_rows(const ts_session *s, ts_arena *a, ts_profile_row **rows) {
  return s->exec->kind->profile_rows(s->exec, a, rows);
}

// --- beginnings in common ----------------------------------------------------------------------------------------------
bool ts_session_adopt(ts_session *s, const ts_session *from, int64_t n, ts_diag *d) {
  if (s->ahead || from->ahead) return ts_bug(d, "session-busy", "a session that runs ahead shares no tokens");
  if (s->plan != from->plan) return ts_bug(d, "other-model", "tokens of another model");
  if (n < 0 || n > TS_MIN(from->length, s->capacity)) return ts_bug(d, "bad-length", "%lld of %lld tokens", (long long)n, (long long)from->length);
  if (s == from) return ts_session_truncate(s, n), true;
  ts_session_truncate(s, 0);
  if (!s->plan->page || s->table.cache != from->table.cache) return ts_session_feed(s, from->tokens, (size_t)n, d);
  ts__table_share(&s->table, &from->table, n);
  memcpy(s->tokens, from->tokens, sizeof *s->tokens * (size_t)n);
  s->length = n;
  s->stale = true;
  return true;
}

// --- running ahead -----------------------------------------------------------------------------------------------------
bool ts_session_can_run_ahead(const ts_session *s, const ts_sampler *how) {
  bool penalties = how->repetition_penalty != 1.0 || how->presence_penalty != 0 || how->frequency_penalty != 0;
  return s->exec->kind->ahead_begin && !penalties;
}

bool ts_session_ahead_begin(ts_session *s, const ts_sampler *how, int64_t most, ts_diag *d) {
  if (s->ahead || s->length == 0) return ts_bug(d, "session-busy", "a session runs ahead once, after tokens");
  TS_TRY(refresh(s, d));
  int64_t end = most - 1 < s->capacity - s->length ? s->length + most - 1 : s->capacity;  // the last token's pass is not wanted
  if (!s->exec->kind->ahead_begin(s->exec, how, s->length, end, d)) {
    (void)s->exec->kind->ahead_stop(s->exec, NULL);
    s->stale = true;  // what was queued may have computed logits of a later token
    give_back(s);
    return false;
  }
  s->ahead = true;
  s->base = s->length;
  return true;
}

bool ts_session_ahead_next(ts_session *s, int32_t *token, ts_diag *d) {
  TS_TRY(s->exec->kind->ahead_next(s->exec, token, d));
  if (*token < 0) return no_finite_logit(s, d);
  if (s->length < s->capacity) s->tokens[s->length++] = *token;
  return true;
}

bool ts_session_ahead_stop(ts_session *s, int64_t keep, ts_diag *d) {
  s->ahead = false;
  s->length = TS_MIN(s->length, s->base + keep);
  s->stale = true;
  bool ok = s->exec->kind->ahead_stop(s->exec, d);
  give_back(s);
  return ok;
}
