// mlc-chat-config.json: the model's facts, the tokenizer's, and the conversation template.
#include <stdlib.h>

#include "output_impl.h"
#include "runtime/runtime.h"

static const ts_text_file *file_named(const ts_source *s, const char *name) {
  for (size_t i = 0; i < s->nfiles; i++)
    if (!strcmp(s->files[i].name, name)) return &s->files[i];
  return NULL;
}

// Its JSON. The refusal names the file where it lies, if it lies anywhere.
static json_t *object_of(const ts_source *s, const ts_text_file *f, ts_diag *d) {
  char path[4096 + 64];
  bool lies = s->kind == TS_SOURCE_HF;
  snprintf(path, sizeof path, "%s%s%s", lies ? s->path : "", lies ? "/" : "", f->name);
  return ts__js_object(path, f->text, f->n, d);
}

// --- the tokenizer -----------------------------------------------------------------------------------------
// The object itself, or a member of a sequence, of the given type.
static const json_t *stage(const json_t *o, const char *members, const char *type) {
  const char *t = ts__js_str(o, "type");
  if (t && !strcmp(t, type)) return o;
  size_t i;
  json_t *m;
  json_array_foreach(json_object_get(o, members), i, m) {
    t = ts__js_str(m, "type");
    if (t && !strcmp(t, type)) return m;
  }
  return NULL;
}

static void raise_size(int64_t *size, const json_t *id) {
  int64_t v = json_is_integer(id) ? json_integer_value(id) : -1;
  if (v >= *size && v < INT64_C(1) << 31) *size = v + 1;
}

static int64_t vocabulary(const json_t *o) {
  int64_t size = 0;
  const char *piece;
  size_t i;
  json_t *v;
  json_object_foreach(json_object_get(json_object_get(o, "model"), "vocab"), piece, v) raise_size(&size, v);
  json_array_foreach(json_object_get(o, "added_tokens"), i, v) raise_size(&size, json_object_get(v, "id"));
  return size;
}

bool ts__tokenizer_facts_of(const ts_source *s, ts__tokenizer_facts *out, ts_diag *d) {
  *out = (ts__tokenizer_facts){0};
  const ts_text_file *f = file_named(s, "tokenizer.json"), *config = file_named(s, "tokenizer_config.json");
  if (config) {
    json_t *o = object_of(s, config, d);
    if (!o) return false;
    json_decref(o);
  }
  if (!f) return true;
  json_t *o = object_of(s, f, d);
  if (!o) return false;
  const json_t *decoder = json_object_get(o, "decoder"),
               *prepend = stage(json_object_get(o, "normalizer"), "normalizers", "Prepend");
  const char *prefix = ts__js_str(prepend, "prepend");
  out->size = vocabulary(o);
  out->byte_level = stage(decoder, "decoders", "ByteLevel") != NULL;
  out->prepend_space = prefix && !strcmp(prefix, "\xe2\x96\x81");
  out->strip_space = stage(decoder, "decoders", "Strip") != NULL;
  json_decref(o);
  return true;
}

// --- the conversation --------------------------------------------------------------------------------------
// The chat template, a Jinja text: a file of its own, or in tokenizer_config.json, where it may be a list of named ones.
static char *chat_template(ts_arena *a, const ts_source *s) {
  const ts_text_file *own = file_named(s, "chat_template.jinja"), *f = file_named(s, "tokenizer_config.json");
  if (own) return ts_arena_strndup(a, own->text, own->n);
  json_t *o = f ? ts__js_object(f->name, f->text, f->n, NULL) : NULL;
  const json_t *t = json_object_get(o, "chat_template");
  if (json_is_array(t)) t = json_object_get(json_array_get(t, 0), "template");
  char *text = json_is_string(t) ? ts_arena_strdup(a, json_string_value(t)) : NULL;
  json_decref(o);
  return text;
}

// Which row of the runtime's table of conversations a template is.
static const char *template_name(const ts_source *s, const char *jinja) {
  if (!jinja) return "LM";
  if (strstr(jinja, "<|im_start|>")) return strcmp(s->config.arch, "qwen2") ? "chatml" : "qwen2";
  if (strstr(jinja, "<|start_header_id|>")) return "llama-3";
  if (strstr(jinja, "<<SYS>>")) return "llama-2";
  if (strstr(jinja, "[INST]")) return "mistral_default";
  if (strstr(jinja, "<|user|>")) return "tinyllama_v1_0";
  return "LM";
}

// The default system text that a chatml template spells out: "<|im_start|>system\nTEXT<|im_end|>". A template without
// one adds none.
static const char *default_system(ts_arena *a, const char *jinja) {
  static const char open[] = "<|im_start|>system";
  const char *p = jinja ? strstr(jinja, open) : NULL;
  if (!p) return "";
  p += sizeof open - 1;
  if (*p == '\n')
    p++;
  else if (p[0] == '\\' && p[1] == 'n')
    p += 2;
  const char *end = strstr(p, "<|im_end|>");
  if (!end || end == p || memchr(p, '\'', (size_t)(end - p)) || memchr(p, '{', (size_t)(end - p))) return "";
  return ts_arena_strndup(a, p, (size_t)(end - p));
}

// --- writing: objects in the order their keys are to appear ------------------------------------------------
static json_t *ints(const int64_t *v, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_integer(v[i]));
  return a;
}

static json_t *stop_tokens(const ts_source *s, const ts_conv *c) {
  if (s->config.neos) return ints(s->config.eos, s->config.neos);
  json_t *a = json_array();
  for (int i = 0; i < c->nstop_tokens; i++) json_array_append_new(a, json_integer(c->stop_tokens[i]));
  return a;
}

static json_t *strings(const char *const *v, int n) {
  json_t *a = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(a, json_string(v[i]));
  return a;
}

static json_t *prefix_tokens(const ts_source *s, const ts_conv *c) {
  return c->nprefix && s->config.bos >= 0 ? ints(&s->config.bos, 1) : json_null();
}

static json_t *separators(const ts_conv *c) {
  const char *v[2] = {c->sep[0], c->sep[1]};
  return strings(v, v[1] && strcmp(v[0], v[1]) ? 2 : 1);
}

static json_t *conversation(const ts_source *s, const ts_conv *c, const char *system) {
  return json_pack(
      "{s:s, s:s, s:s, s:o, s:b, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s}, s:[], s:o, s:s, s:s, s:o, s:o, s:s, s:b}",
      "name", c->name, "system_template", c->system_template, "system_message", system, "system_prefix_token_ids",
      prefix_tokens(s, c), "add_role_after_system_message", (int)c->role_after_system, "roles", "user", c->user_role,
      "assistant", c->assistant_role, "tool", c->user_role, "role_templates", "user", c->user_template, "assistant",
      c->assistant_template, "tool", "{tool_message}", "messages", "seps", separators(c), "role_content_sep",
      c->content_sep, "role_empty_sep", c->empty_sep, "stop_str", strings(c->stop_strings, c->nstop_strings),
      "stop_token_ids", stop_tokens(s, c), "function_string", "", "use_function_calling", 0);
}

static json_t *model_config(const ts_source *s, int64_t max_seq_len, int64_t chunk) {
  const ts_model_config *c = &s->config;
  json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:b, s:i}", "hidden_size",
                        (json_int_t)c->hidden, "intermediate_size", (json_int_t)c->intermediate, "num_attention_heads",
                        (json_int_t)c->heads, "num_key_value_heads", (json_int_t)c->kv_heads, "num_hidden_layers",
                        (json_int_t)c->layers, "rms_norm_eps", c->rms_eps, "vocab_size", (json_int_t)c->vocab,
                        "position_embedding_base", c->rope_theta, "head_dim", (json_int_t)c->head_dim,
                        "context_window_size", (json_int_t)max_seq_len, "prefill_chunk_size", (json_int_t)chunk,
                        "tie_word_embeddings", (int)c->tied, "tensor_parallel_shards", 1);
  if (c->scaling == TS_SCALING_LLAMA3)
    json_object_set_new(o, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", c->scale_factor,
                                  "low_freq_factor", c->low_freq, "high_freq_factor", c->high_freq,
                                  "original_max_position_embeddings", (json_int_t)c->original_positions));
  if (c->scaling == TS_SCALING_LINEAR)
    json_object_set_new(o, "rope_scaling", json_pack("{s:s, s:f}", "rope_type", "linear", "factor", c->scale_factor));
  return o;
}

// temperature and the like: from generation_config.json, else the default.
static void add_sampling(json_t *o, const ts_source *s) {
  static const struct {
    const char *key;
    double otherwise;
  } rows[] = {{"temperature", 1.0},
              {"presence_penalty", 0.0},
              {"frequency_penalty", 0.0},
              {"repetition_penalty", 1.0},
              {"top_p", 1.0}};
  json_t *g =
      s->generation ? ts__js_object("generation_config.json", s->generation, strlen(s->generation), NULL) : NULL;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const json_t *v = json_object_get(g, rows[i].key);
    json_object_set_new(o, rows[i].key, json_real(json_is_number(v) ? json_number_value(v) : rows[i].otherwise));
  }
  json_decref(g);
}

static json_t *tokenizer_info(const ts__tokenizer_facts *f) {
  return json_pack("{s:s, s:b, s:b}", "token_postproc_method", f->byte_level ? "byte_level" : "byte_fallback",
                   "prepend_space_in_encode", (int)f->prepend_space, "strip_space_in_decode", (int)f->strip_space);
}

static json_t *config_object(const ts_source *s, const char *name, const char *quant, int64_t max_seq_len,
                             int64_t chunk, const ts_conv *conv, const char *system, const ts__tokenizer_facts *f) {
  const ts_model_config *c = &s->config;
  json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:i, s:I, s:i, s:i, s:i, s:I}", "version", "0.1.0",
                        "model_type", c->arch, "quantization", quant, "model_config",
                        model_config(s, max_seq_len, chunk), "vocab_size", (json_int_t)c->vocab, "context_window_size",
                        (json_int_t)max_seq_len, "sliding_window_size", -1, "prefill_chunk_size", (json_int_t)chunk,
                        "attention_sink_size", -1, "tensor_parallel_shards", 1, "pipeline_parallel_stages", 1,
                        "active_vocab_size", (json_int_t)(f->size && f->size < c->vocab ? f->size : c->vocab));
  add_sampling(o, s);
  json_t *files = json_array();
  for (size_t i = 0; i < s->nfiles; i++) json_array_append_new(files, json_string(s->files[i].name));
  json_object_set_new(o, "tokenizer_files", files);
  json_object_set_new(o, "tokenizer_info", tokenizer_info(f));
  json_object_set_new(o, "conv_template", conversation(s, conv, system));
  if (c->pad >= 0) json_object_set_new(o, "pad_token_id", json_integer(c->pad));
  if (c->bos >= 0) json_object_set_new(o, "bos_token_id", json_integer(c->bos));
  if (c->neos) json_object_set_new(o, "eos_token_id", c->neos == 1 ? json_integer(c->eos[0]) : ints(c->eos, c->neos));
  json_object_set_new(o, "model_task", json_string("chat"));
  json_object_set_new(o, "embedding_metadata", json_null());
  json_object_set_new(o, "model_lib", json_string(name));
  json_object_set_new(o, "local_id", json_string(name));
  return o;
}

// What a model lacks for talking to it.
static void note_missing(const ts_source *s, const char *jinja, const char *conversation) {
  if (s->kind == TS_SOURCE_SYNTHETIC) return;
  if (!file_named(s, "tokenizer.json")) ts_say("note: %s: no tokenizer.json: the model cannot be run before its params folder has one", s->path);
  else if (!jinja) ts_say("note: %s: no chat template (tokenizer_config.json, chat_template.jinja): chat gives it the text as it is, without roles", s->path);
  else if (!strcmp(conversation, "LM")) ts_say("note: %s: its chat template is none that is known: chat gives it the text as it is, without roles", s->path);
}

bool ts__chat_config_text(const ts_source *s, const char *name, const char *quant, int64_t max_seq_len,
                          int64_t prefill_chunk, ts_text *out, ts_diag *d) {
  ts__tokenizer_facts facts;
  TS_TRY(ts__tokenizer_facts_of(s, &facts, d));
  ts_arena *a = ts_arena_new("chat config");
  const char *jinja = chat_template(a, s), *which = template_name(s, jinja);
  const ts_conv *conv = ts_conv_find(a, which);
  note_missing(s, jinja, which);
  bool ok = conv || ts_bug(d, "no-conversation", "the runtime has no conversation template '%s'", which);
  if (ok) {
    json_t *o = config_object(s, name, quant, max_seq_len, prefill_chunk, conv, default_system(a, jinja), &facts);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    ok = text || ts_refuse(d, "bad-json", "%s: a name in it is not UTF-8", s->path);
    if (text) ts_text_add(out, text);
    free(text);
    json_decref(o);
  }
  ts_arena_free(a);
  return ok;
}
