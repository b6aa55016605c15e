// Generating text after a prompt: cache reuse, sampling, stop conditions, streaming.
#define _GNU_SOURCE
#include "runtime/runtime.h"

typedef struct writer {  // text on its way out; what may begin a stop string waits
  const ts_gen_opts *o;
  ts_decoder decoder;
  ts_text pending;
  ts_stop stop;
} writer;

// Bytes at the end of s that are the beginning of a stop string.
static size_t held_back(const writer *w, const char *s, size_t n) {
  size_t most = 0;
  for (int i = 0; i < w->o->nstop_strings; i++) {
    const char *stop = w->o->stop_strings[i];
    size_t len = strlen(stop);
    for (size_t k = TS_MIN(len ? len - 1 : 0, n); k > most; k--)
      if (!memcmp(s + n - k, stop, k)) most = k;
  }
  return most;
}

// Position of the first stop string in s, or n.
static size_t stop_at(const writer *w, const char *s, size_t n) {
  size_t first = n;
  for (int i = 0; i < w->o->nstop_strings; i++) {
    size_t len = strlen(w->o->stop_strings[i]);
    const char *hit = len ? memmem(s, n, w->o->stop_strings[i], len) : NULL;
    if (hit && (size_t)(hit - s) < first) first = (size_t)(hit - s);
  }
  return first;
}

static void send(writer *w, size_t n) {
  if (n && w->o->text && !w->o->text(w->o->arg, ts_text_str(&w->pending), n)) w->stop = TS_STOP_CALLER;
  memmove(w->pending.p, w->pending.p + n, w->pending.n - n + 1);
  w->pending.n -= n;
}

static void deliver(writer *w) {
  if (!w->pending.n) return;
  size_t at = stop_at(w, w->pending.p, w->pending.n);
  if (at < w->pending.n) {
    send(w, at);
    if (w->stop == TS_STOP_NONE) w->stop = TS_STOP_STRING;
    w->pending.n = 0;
    return;
  }
  send(w, w->pending.n - held_back(w, w->pending.p, w->pending.n));
}

static void finish(writer *w) {
  if (w->stop != TS_STOP_STRING && w->stop != TS_STOP_CALLER) {
    ts_decoder_end(&w->decoder, &w->pending);
    if (w->pending.n) send(w, w->pending.n);
  }
  ts_text_free(&w->pending);
}

// A stop token, or a special token that is spelled like a stop string (special tokens do not show up in the text).
static bool is_stop(const writer *w, int32_t id) {
  const ts_gen_opts *o = w->o;
  for (int i = 0; i < o->nstop_tokens; i++)
    if (o->stop_tokens[i] == id) return true;
  for (int i = 0; i < o->nstop_strings && ts_tokenizer_is_special(w->decoder.t, id); i++)
    if (!strcmp(o->stop_strings[i], ts_tokenizer_piece(w->decoder.t, id))) return true;
  return false;
}

// Keep what the session's tokens and the prompt have in common; at least the last token is computed, for its logits.
static bool take_prompt(ts_session *s, const int32_t *tokens, size_t n, ts_gen_result *r, ts_diag *d) {
  const int32_t *have = ts_session_tokens(s);
  int64_t same = 0, length = ts_session_length(s);
  if (n == 0) return ts_refuse(d, "empty-prompt", "the prompt has no tokens");
  while (same < length && same < (int64_t)n - 1 && have[same] == tokens[same]) same++;
  ts_session_truncate(s, same);
  r->prompt_tokens = (int64_t)n - same;
  return ts_session_feed(s, tokens + same, n - (size_t)same, d);
}

// One token: sample, show, append. Sets w->stop at the end.
static bool step(ts_session *s, writer *w, ts_gen_result *r, ts_diag *d) {
  int32_t id = ts_session_sample(s, &w->o->sampler, d);
  if (id < 0) return false;
  r->new_tokens++;
  if (is_stop(w, id)) {
    w->stop = TS_STOP_TOKEN;
    return true;
  }
  ts_decoder_push(&w->decoder, id, &w->pending);
  deliver(w);
  if (w->stop == TS_STOP_NONE && w->o->max_tokens && r->new_tokens >= w->o->max_tokens) w->stop = TS_STOP_LENGTH;
  if (w->stop == TS_STOP_NONE && ts_session_length(s) >= ts_session_capacity(s)) w->stop = TS_STOP_CONTEXT;
  return w->stop != TS_STOP_NONE || ts_session_feed(s, &id, 1, d);
}

// The same with tokens that the device chooses, ahead of what is shown here.
static bool run_ahead(ts_session *s, writer *w, ts_gen_result *r, uint64_t start, ts_diag *d) {
  int64_t room = ts_session_capacity(s) - ts_session_length(s), most = w->o->max_tokens ? w->o->max_tokens : INT64_MAX;
  TS_TRY(ts_session_ahead_begin(s, &w->o->sampler, most, d));
  bool ok = true;
  while (ok && w->stop == TS_STOP_NONE) {
    int32_t id = -1;
    if (!(ok = ts_session_ahead_next(s, &id, d))) break;
    r->new_tokens++;
    if (is_stop(w, id)) {
      w->stop = TS_STOP_TOKEN;
    } else {
      ts_decoder_push(&w->decoder, id, &w->pending);
      deliver(w);
      if (w->stop == TS_STOP_NONE && r->new_tokens >= most) w->stop = TS_STOP_LENGTH;
      if (w->stop == TS_STOP_NONE && r->new_tokens > room) w->stop = TS_STOP_CONTEXT;
    }
    if (!r->first_ns) r->first_ns = ts_now_ns() - start;
  }
  ts_diag late = {0};
  bool stopped = ts_session_ahead_stop(s, TS_MAX(r->new_tokens - 1, (int64_t)0), &late);
  if (ok && !stopped && d) *d = late;
  return ok && stopped;
}

bool ts_generate(ts_session *s, const ts_tokenizer *t, const int32_t *tokens, size_t n, const ts_gen_opts *o, ts_gen_result *r,
                 ts_diag *d) {
  *r = (ts_gen_result){0};
  TS_TRY(ts_sampler_check(&o->sampler, d));
  uint64_t start = ts_now_ns();
  TS_TRY(take_prompt(s, tokens, n, r, d));
  r->prompt_ns = ts_now_ns() - start;
  writer w = {.o = o};
  ts_decoder_init(&w.decoder, t, !o->keep_special);
  bool ok = true;
  if (ts_session_can_run_ahead(s, &o->sampler)) ok = run_ahead(s, &w, r, start, d);
  while (ok && w.stop == TS_STOP_NONE) {
    ok = step(s, &w, r, d);
    if (r->new_tokens == 1 && !r->first_ns) r->first_ns = ts_now_ns() - start;
  }
  r->decode_ns = ts_now_ns() - start - r->first_ns;
  finish(&w);
  r->stop = w.stop;
  return ok;
}
