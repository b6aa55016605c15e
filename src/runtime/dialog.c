// A conversation: turns, rendered as a whole each time; the session keeps what did not change.
#include <stdlib.h>

#include "runtime/runtime.h"

enum { MAX_STOPS = 128, MAX_STOP_STRINGS = 96 };

struct ts_dialog {
  ts_engine *engine;
  ts_session *session;
  ts_arena *arena;  // of the turns
  TS_VEC(ts_turn) turns;
  char *system;
};

ts_dialog *ts_dialog_new(ts_engine *e, ts_session *s) {
  ts_arena *a = ts_arena_new("dialog");
  ts_dialog *g = calloc(1, sizeof *g);
  if (!g) {
    fprintf(stderr, "error: out of memory\n");
    exit(70);
  }
  *g = (ts_dialog){.engine = e, .session = s, .arena = a};
  return g;
}

void ts_dialog_free(ts_dialog *g) {
  if (!g) return;
  ts_arena_free(g->arena);
  free(g->system);
  free(g);
}

void ts_dialog_reset(ts_dialog *g) {
  ts_arena_free(g->arena);
  g->arena = ts_arena_new("dialog");
  memset(&g->turns, 0, sizeof g->turns);
  ts_session_truncate(g->session, 0);
}

void ts_dialog_system(ts_dialog *g, const char *system) {
  free(g->system);
  g->system = system ? strdup(system) : NULL;
}

void ts_dialog_copy(ts_dialog *g, const ts_dialog *from) {
  if (g == from) return;
  ts_arena_free(g->arena);
  g->arena = ts_arena_new("dialog");
  memset(&g->turns, 0, sizeof g->turns);
  for (size_t i = 0; i < from->turns.n; i++) {
    const ts_turn *t = &from->turns.p[i];
    ts_vec_push(g->arena, &g->turns, ((ts_turn){.assistant = t->assistant, .text = t->text ? ts_arena_strdup(g->arena, t->text) : NULL}));
  }
  ts_dialog_system(g, from->system);
}

static int add_stop(int32_t *stops, int n, int max, int64_t id) {
  for (int i = 0; i < n; i++)
    if (stops[i] == id) return n;
  if (n < max) stops[n++] = (int32_t)id;
  return n;
}

int ts_engine_stops(const ts_engine *e, int32_t *stops, int max) {
  const ts_chat_config *c = ts_engine_config(e);
  const ts_plan *p = ts_engine_plan(e);
  int n = 0;
  for (int i = 0; i < c->neos; i++) n = add_stop(stops, n, max, c->eos[i]);
  for (int i = 0; i < p->neos; i++) n = add_stop(stops, n, max, p->eos[i]);
  return n;
}

static bool prompt(const ts_dialog *g, ts_tokens *out, ts_diag *d) {
  const ts_conv *c = ts_engine_config(g->engine)->conv;
  ts_text text = {0};
  for (int i = 0; i < c->nprefix; i++) ts_tokens_add(out, c->prefix[i]);
  ts_conv_render(c, g->system, g->turns.p, g->turns.n, &text);
  bool ok = ts_tokenizer_encode(ts_engine_tokenizer(g->engine), ts_text_str(&text), text.n, false, out, d);
  ts_text_free(&text);
  return ok;
}

typedef struct listener {  // passes text on and keeps it
  const ts_gen_opts *o;
  ts_text reply;
} listener;

static bool listen(void *arg, const char *p, size_t n) {
  listener *l = arg;
  ts_text_addn(&l->reply, p, n);
  return !l->o->text || l->o->text(l->o->arg, p, n);
}

static bool answer(ts_dialog *g, const ts_gen_opts *o, listener *l, ts_gen_result *r, ts_diag *d) {
  const ts_conv *c = ts_engine_config(g->engine)->conv;
  int32_t stops[MAX_STOPS];
  const char *strings[MAX_STOP_STRINGS];
  int n = ts_engine_stops(g->engine, stops, MAX_STOPS), m = 0;
  for (int i = 0; i < c->nstop_tokens; i++) n = add_stop(stops, n, MAX_STOPS, c->stop_tokens[i]);
  for (int i = 0; i < o->nstop_tokens; i++) n = add_stop(stops, n, MAX_STOPS, o->stop_tokens[i]);
  for (int i = 0; i < c->nstop_strings && m < MAX_STOP_STRINGS; i++) strings[m++] = c->stop_strings[i];
  for (int i = 0; i < o->nstop_strings && m < MAX_STOP_STRINGS; i++) strings[m++] = o->stop_strings[i];
  ts_gen_opts inner = *o;
  inner.stop_tokens = stops;
  inner.nstop_tokens = n;
  inner.stop_strings = strings;
  inner.nstop_strings = m;
  inner.text = listen;
  inner.arg = l;
  ts_tokens tokens = {0};
  bool ok = prompt(g, &tokens, d) &&
            ts_generate(g->session, ts_engine_tokenizer(g->engine), tokens.p, tokens.n, &inner, r, d);
  ts_tokens_free(&tokens);
  return ok;
}

bool ts_dialog_say(ts_dialog *g, const char *text, const ts_gen_opts *o, ts_gen_result *r, ts_diag *d) {
  size_t had = g->turns.n;
  listener l = {.o = o};
  ts_vec_push(g->arena, &g->turns, ((ts_turn){false, ts_arena_strdup(g->arena, text)}));
  ts_vec_push(g->arena, &g->turns, ((ts_turn){true, NULL}));
  bool ok = answer(g, o, &l, r, d);
  if (ok)
    g->turns.p[g->turns.n - 1].text = ts_arena_strndup(g->arena, ts_text_str(&l.reply), l.reply.n);
  else
    g->turns.n = had;
  ts_text_free(&l.reply);
  return ok;
}
