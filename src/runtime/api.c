// The public C API over the engine.
#include "tunesmith.h"

#include <stdlib.h>

#include "runtime/runtime.h"

struct tunesmith_model {
  ts_engine *engine;
};
struct tunesmith_session {
  tunesmith_model *model;
  ts_session *s;
  ts_dialog *dialog;
};

_Static_assert((int)TUNESMITH_STOP_CALLER == (int)TS_STOP_CALLER && (int)TUNESMITH_STOP_END == (int)TS_STOP_TOKEN, "the same numbers");

const char *tunesmith_version(void) { return TS_VERSION; }

static tunesmith_status failed(const ts_diag *d, tunesmith_error *e) {
  tunesmith_status s = d->kind == TS_REFUSAL ? TUNESMITH_REFUSED : d->kind == TS_ENVIRONMENT ? TUNESMITH_ENVIRONMENT : TUNESMITH_BUG;
  if (!e) return s;
  e->status = s;
  snprintf(e->code, sizeof e->code, "%s", d->code);
  snprintf(e->message, sizeof e->message, "%s", d->message);
  snprintf(e->hint, sizeof e->hint, "%s", d->hint);
  return s;
}

static tunesmith_status done(bool ok, const ts_diag *d, tunesmith_error *e) {
  if (!ok) return failed(d, e);
  if (e) *e = (tunesmith_error){.status = TUNESMITH_OK};
  return TUNESMITH_OK;
}

static tunesmith_status no_memory(tunesmith_error *e) {
  ts_diag d = {0};
  (void)ts_env_fail(&d, "out-of-memory", "out of memory");
  return failed(&d, e);
}

tunesmith_status tunesmith_open(const char *directory, const tunesmith_options *options, tunesmith_model **model, tunesmith_error *error) {
  ts_diag d = {0};
  ts_engine_opts o = {0};
  if (options) o = (ts_engine_opts){.threads = options->threads, .library = options->library};
  tunesmith_model *m = malloc(sizeof *m);
  if (!m) return no_memory(error);
  m->engine = ts_engine_open(directory, &o, &d);
  if (m->engine)
    *model = m;
  else
    free(m);
  return done(d.kind == TS_OK, &d, error);
}

void tunesmith_close(tunesmith_model *model) {
  if (!model) return;
  ts_engine_close(model->engine);
  free(model);
}

void tunesmith_get_info(const tunesmith_model *model, tunesmith_info *info) {
  const ts_plan *p = ts_engine_plan(model->engine);
  int64_t window = ts_engine_config(model->engine)->context_window;
  size_t rope = p->has_rope ? (size_t)p->rope.positions * (size_t)p->rope.dim * sizeof(float) : 0;
  *info = (tunesmith_info){.name = p->name, .arch = p->arch, .quantization = p->quantization, .vocab = p->vocab,
                           .context = window > 0 && window < p->max_seq ? window : p->max_seq, .layers = p->layers, .hidden = p->hidden,
                           .weight_bytes = ts_weights_bytes(ts_engine_weights(model->engine)),
                           .session_bytes = (size_t)(ts_plan_position_bytes(p) * (double)p->max_seq) + (size_t)p->arena_bytes + rope,
                           .threads = ts_pool_threads(ts_engine_pool(model->engine))};
}

tunesmith_status tunesmith_tokenize(const tunesmith_model *model, const char *text, size_t bytes, int special, int32_t **ids, size_t *count,
                                    tunesmith_error *error) {
  ts_diag d = {0};
  ts_tokens t = {0};
  bool ok = ts_tokenizer_encode(ts_engine_tokenizer(model->engine), text, bytes, special != 0, &t, &d);
  if (ok) {
    *ids = t.p;
    *count = t.n;
  } else {
    ts_tokens_free(&t);
  }
  return done(ok, &d, error);
}

tunesmith_status tunesmith_detokenize(const tunesmith_model *model, const int32_t *ids, size_t count, int special, char **text,
                                      size_t *bytes, tunesmith_error *error) {
  ts_diag d = {0};
  ts_text t = {0};
  ts_tokenizer_decode(ts_engine_tokenizer(model->engine), ids, count, special == 0, &t);
  char *p = t.p ? t.p : calloc(1, 1);
  if (!p) return no_memory(error);
  *text = p;
  *bytes = t.n;
  return done(true, &d, error);
}

void tunesmith_free(void *p) { free(p); }

tunesmith_sampling tunesmith_default_sampling(const tunesmith_model *model) {
  const ts_sampler *s = &ts_engine_config(model->engine)->sampler;
  return (tunesmith_sampling){.temperature = s->temperature, .top_p = s->top_p, .top_k = s->top_k, .repetition_penalty = s->repetition_penalty,
                              .seed = s->seed};
}

tunesmith_status tunesmith_session_new(tunesmith_model *model, tunesmith_session **session, tunesmith_error *error) {
  ts_diag d = {0};
  tunesmith_session *s = malloc(sizeof *s);
  if (!s) return no_memory(error);
  *s = (tunesmith_session){.model = model, .s = ts_engine_session(model->engine, &d)};
  if (!s->s) {
    free(s);
    return failed(&d, error);
  }
  s->dialog = ts_dialog_new(model->engine, s->s);
  *session = s;
  return done(true, &d, error);
}

tunesmith_status tunesmith_session_fork(const tunesmith_session *from, tunesmith_session **session, tunesmith_error *error) {
  ts_diag d = {0};
  tunesmith_session *s = NULL;
  tunesmith_status status = tunesmith_session_new(from->model, &s, error);
  if (status != TUNESMITH_OK) return status;
  if (!ts_session_adopt(s->s, from->s, ts_session_length(from->s), &d)) {
    tunesmith_session_free(s);
    return failed(&d, error);
  }
  ts_dialog_copy(s->dialog, from->dialog);
  *session = s;
  return done(true, &d, error);
}

void tunesmith_session_free(tunesmith_session *session) {
  if (!session) return;
  ts_dialog_free(session->dialog);
  ts_session_free(session->s);
  free(session);
}

void tunesmith_session_reset(tunesmith_session *session) { ts_dialog_reset(session->dialog); }
int64_t tunesmith_session_length(const tunesmith_session *session) { return ts_session_length(session->s); }
void tunesmith_set_system(tunesmith_session *session, const char *system) { ts_dialog_system(session->dialog, system); }

typedef struct text_call {
  tunesmith_text_fn text;
  void *arg;
} text_call;

static bool pass_text(void *arg, const char *p, size_t n) {
  const text_call *c = arg;
  return !c->text || c->text(c->arg, p, n) != 0;
}

static ts_gen_opts opts_of(const tunesmith_session *s, const tunesmith_sampling *v, text_call *call) {
  ts_gen_opts o = {.sampler = ts_engine_config(s->model->engine)->sampler, .text = pass_text, .arg = call};
  if (!v) return o;
  o.sampler.temperature = v->temperature;
  o.sampler.top_p = v->top_p;
  o.sampler.top_k = v->top_k;
  o.sampler.repetition_penalty = v->repetition_penalty;
  o.sampler.seed = v->seed;
  o.max_tokens = v->max_tokens;
  return o;
}

static void put_result(const ts_gen_result *r, tunesmith_result *out) {
  if (!out) return;
  *out = (tunesmith_result){.prompt_tokens = r->prompt_tokens, .new_tokens = r->new_tokens, .prompt_seconds = (double)r->prompt_ns / 1e9,
                            .first_seconds = (double)r->first_ns / 1e9, .decode_seconds = (double)r->decode_ns / 1e9,
                            .stop = (tunesmith_stop)r->stop};
}

tunesmith_status tunesmith_generate(tunesmith_session *session, const int32_t *ids, size_t count, const tunesmith_sampling *sampling,
                                    tunesmith_text_fn text, void *arg, tunesmith_result *result, tunesmith_error *error) {
  ts_diag d = {0};
  ts_gen_result r = {0};
  int32_t stops[128];
  text_call call = {text, arg};
  ts_gen_opts o = opts_of(session, sampling, &call);
  o.stop_tokens = stops;
  o.nstop_tokens = ts_engine_stops(session->model->engine, stops, 128);
  bool ok = ts_generate(session->s, ts_engine_tokenizer(session->model->engine), ids, count, &o, &r, &d);
  if (ok) put_result(&r, result);
  return done(ok, &d, error);
}

tunesmith_status tunesmith_say(tunesmith_session *session, const char *message, const tunesmith_sampling *sampling, tunesmith_text_fn text,
                               void *arg, tunesmith_result *result, tunesmith_error *error) {
  ts_diag d = {0};
  ts_gen_result r = {0};
  text_call call = {text, arg};
  ts_gen_opts o = opts_of(session, sampling, &call);
  bool ok = ts_dialog_say(session->dialog, message, &o, &r, &d);
  if (ok) put_result(&r, result);
  return done(ok, &d, error);
}

typedef struct row_call {
  tunesmith_row_fn row;
  void *arg;
  int64_t vocab;
} row_call;

static bool pass_row(void *arg, int64_t position, const float *logits) {
  const row_call *c = arg;
  return c->row(c->arg, position, logits, c->vocab) != 0;
}

tunesmith_status tunesmith_score(tunesmith_session *session, const int32_t *ids, size_t count, tunesmith_row_fn row, void *arg,
                                 tunesmith_error *error) {
  ts_diag d = {0};
  row_call call = {row, arg, ts_engine_plan(session->model->engine)->vocab};
  ts_dialog_reset(session->dialog);
  bool ok = ts_session_score(session->s, ids, count, pass_row, &call, &d);
  return done(ok, &d, error);
}
