// mlc-chat-config.json: sampling defaults, context, conversation.
#include "runtime/json.h"
#include "runtime/runtime.h"

enum { MAX_LIST = 64 };

typedef struct reader {
  ts_arena *a;
  ts__json j;
  ts_diag *d;
} reader;

static bool bad(const reader *s, const char *key, const char *fact) {
  return ts_refuse(s->d, "chat-config", "%s: %s: %s", s->j.file, key, fact);
}

static bool strings(const reader *s, const json_t *o, const char *key, const char *const **out, int *n) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return true;
  size_t count = json_is_string(v) ? 1 : json_array_size(v);
  if (!(json_is_string(v) || json_is_array(v)) || count > MAX_LIST) return bad(s, key, "a list of strings expected");
  const char **list = ts_new_array(s->a, const char *, count + 1);
  *n = 0;
  for (size_t i = 0; i < count; i++) {
    const char *t = json_string_value(json_is_string(v) ? v : json_array_get(v, i));
    if (!t) return bad(s, key, "a list of strings expected");
    if (*t) list[(*n)++] = ts_arena_strdup(s->a, t);
  }
  *out = list;
  return true;
}

static bool ids(const reader *s, const json_t *o, const char *key, const int32_t **out, int *n) {
  const json_t *v = json_object_get(o, key);
  if (!v || json_is_null(v)) return true;
  size_t count = json_is_integer(v) ? 1 : json_array_size(v);
  if (!(json_is_integer(v) || json_is_array(v)) || count > MAX_LIST) return bad(s, key, "token ids expected");
  int32_t *list = ts_new_array(s->a, int32_t, count + 1);
  for (size_t i = 0; i < count; i++) {
    const json_t *e = json_is_integer(v) ? v : json_array_get(v, i);
    if (!json_is_integer(e) || json_integer_value(e) < 0 || json_integer_value(e) > INT32_MAX) return bad(s, key, "token ids expected");
    list[i] = (int32_t)json_integer_value(e);
  }
  *out = list;
  *n = (int)count;
  return true;
}

static bool preset(const reader *s, const json_t *o, ts_conv *c) {
  const json_t *v = json_object_get(o, "messages");
  size_t n = json_array_size(v);
  if (n > MAX_LIST) return bad(s, "messages", "too many");
  ts_turn *t = ts_new_array(s->a, ts_turn, n + 1);
  for (size_t i = 0; i < n; i++) {
    const char *role = json_string_value(json_array_get(json_array_get(v, i), 0));
    const char *text = json_string_value(json_array_get(json_array_get(v, i), 1));
    if (!role || !text) return bad(s, "messages", "pairs of role and text expected");
    t[i] = (ts_turn){!strcmp(role, "assistant"), ts_arena_strdup(s->a, text)};
  }
  c->preset = t;
  c->npreset = (int)n;
  return true;
}

static bool separators(const reader *s, const json_t *o, ts_conv *c) {
  const json_t *v = json_object_get(o, "seps");
  size_t n = json_array_size(v);
  if (!v) return true;
  if (!json_is_array(v) || n < 1 || n > 2) return bad(s, "seps", "one or two strings expected");
  for (size_t i = 0; i < 2; i++) {
    const char *t = json_string_value(json_array_get(v, n == 2 ? i : 0));
    if (!t) return bad(s, "seps", "one or two strings expected");
    c->sep[i] = ts_arena_strdup(s->a, t);
  }
  return true;
}

static bool conv_object(const reader *s, const json_t *o, ts_conv *c) {
  *c = (ts_conv){.name = "", .system_template = "{system_message}", .system_message = "", .user_role = "", .assistant_role = "",
                 .user_template = "{user_message}", .assistant_template = "{assistant_message}", .content_sep = "", .empty_sep = "",
                 .sep = {"", ""}, .role_after_system = true};
  const json_t *roles = ts__json_object(&s->j, o, "roles", s->d), *templates = json_object_get(o, "role_templates");
  if (!roles) return false;
  TS_TRY(ts__json_opt_str(&s->j, o, "name", s->a, &c->name, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "system_template", s->a, &c->system_template, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "system_message", s->a, &c->system_message, s->d));
  TS_TRY(ts__json_str(&s->j, roles, "user", s->a, &c->user_role, s->d));
  TS_TRY(ts__json_str(&s->j, roles, "assistant", s->a, &c->assistant_role, s->d));
  TS_TRY(ts__json_opt_str(&s->j, templates, "user", s->a, &c->user_template, s->d));
  TS_TRY(ts__json_opt_str(&s->j, templates, "assistant", s->a, &c->assistant_template, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "role_content_sep", s->a, &c->content_sep, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "role_empty_sep", s->a, &c->empty_sep, s->d));
  TS_TRY(ts__json_opt_bool(&s->j, o, "add_role_after_system_message", &c->role_after_system, s->d));
  TS_TRY(separators(s, o, c));
  TS_TRY(preset(s, o, c));
  TS_TRY(strings(s, o, "stop_str", &c->stop_strings, &c->nstop_strings));
  TS_TRY(ids(s, o, "stop_token_ids", &c->stop_tokens, &c->nstop_tokens));
  return ids(s, o, "system_prefix_token_ids", &c->prefix, &c->nprefix);
}

// A whole template, the name of one in the table, or nothing (plain text).
static bool conversation(const reader *s, const json_t *root, ts_chat_config *out) {
  const json_t *v = json_object_get(root, "conv_template");
  if (json_object_get(root, "conv_config")) return bad(s, "conv_config", "changes to a named template are not supported");
  if (json_is_object(v)) {
    ts_conv *c = ts_new(s->a, ts_conv);
    out->conv = c;
    return conv_object(s, v, c);
  }
  const char *name = v && !json_is_null(v) ? json_string_value(v) : "LM";
  if (!name) return bad(s, "conv_template", "an object or a name expected");
  out->conv = ts_conv_find(s->a, name);
  return out->conv || ts_refuse(s->d, "chat-config", "%s: conv_template '%.60s' is not known", s->j.file, name);
}

static bool everything(const reader *s, const json_t *o, ts_chat_config *c) {
  const int64_t big = INT64_C(1) << 40;
  const int32_t *eos = NULL;
  int64_t bos = -1;
  if (!json_is_object(o)) return bad(s, "configuration", "an object expected");
  TS_TRY(ts__json_opt_str(&s->j, o, "model_type", s->a, &c->model_type, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "model_category", s->a, &c->model_type, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "quantization", s->a, &c->quantization, s->d));
  TS_TRY(ts__json_opt_str(&s->j, o, "model_lib", s->a, &c->model_lib, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "max_window_size", -1, big, &c->context_window, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "context_window_size", -1, big, &c->context_window, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "prefill_chunk_size", -1, big, &c->prefill_chunk, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "active_vocab_size", 0, big, &c->active_vocab, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "temperature", &c->sampler.temperature, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "top_p", &c->sampler.top_p, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "repetition_penalty", &c->sampler.repetition_penalty, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "presence_penalty", &c->sampler.presence_penalty, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "frequency_penalty", &c->sampler.frequency_penalty, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "bos_token_id", -1, INT32_MAX, &bos, s->d));
  TS_TRY(ids(s, o, "eos_token_id", &eos, &c->neos));
  if (c->neos > (int)TS_COUNTOF(c->eos)) return bad(s, "eos_token_id", "too many");
  for (int i = 0; i < c->neos; i++) c->eos[i] = eos[i];
  c->bos = (int32_t)bos;
  if (c->context_window < 0) c->context_window = 0;
  if (c->prefill_chunk < 0) c->prefill_chunk = 0;
  return conversation(s, o, c);
}

bool ts_chat_config_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_chat_config *out, ts_diag *d) {
  json_t *root = ts__json_load(file, text, n, d);
  if (!root) return false;
  *out = (ts_chat_config){.model_type = "", .quantization = "", .model_lib = "", .sampler = ts_sampler_default()};
  reader s = {.a = a, .j = {.file = file, .where = "configuration"}, .d = d};
  bool ok = everything(&s, root, out) && ts_sampler_check(&out->sampler, d);
  json_decref(root);
  return ok;
}
