// Hugging Face config.json -> ts_model_config.
#include "model_impl.h"

#define LIMIT_DIM (INT64_C(1) << 24)
#define LIMIT_LAYERS 4096

// The activation, biases and other switches that this product has no operators for.
static bool check_unsupported(const char *file, const json_t *o, ts_diag *d) {
  const char *act = ts__js_str(o, "hidden_act");
  if (act && strcmp(act, "silu"))
    return ts_refuse(d, "unsupported-config", "%s: hidden_act '%s' is not supported (silu is)", file, act);
  static const char *const off[] = {"attention_bias", "mlp_bias", "use_sliding_window"};
  for (size_t i = 0; i < TS_COUNTOF(off); i++) {
    bool on = false;
    TS_TRY(ts__js_bool(file, o, off[i], &on, d));
    if (on) return ts_refuse(d, "unsupported-config", "%s: %s = true is not supported", file, off[i]);
  }
  if (json_is_object(json_object_get(o, "quantization_config")))
    return ts_refuse(d, "unsupported-config",
                     "%s: weights that are already quantized (quantization_config) are not supported", file);
  return true;
}

static bool read_sizes(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) {
  TS_TRY(ts__js_int(file, o, "hidden_size", true, 1, LIMIT_DIM, &c->hidden, d));
  TS_TRY(ts__js_int(file, o, "intermediate_size", true, 1, LIMIT_DIM, &c->intermediate, d));
  TS_TRY(ts__js_int(file, o, "num_hidden_layers", true, 1, LIMIT_LAYERS, &c->layers, d));
  TS_TRY(ts__js_int(file, o, "num_attention_heads", true, 1, 65536, &c->heads, d));
  c->kv_heads = c->heads;
  TS_TRY(ts__js_int(file, o, "num_key_value_heads", false, 1, c->heads, &c->kv_heads, d));
  TS_TRY(ts__js_int(file, o, "vocab_size", true, 1, LIMIT_DIM, &c->vocab, d));
  TS_TRY(ts__js_int(file, o, "head_dim", false, 2, 4096, &c->head_dim, d));
  if (!c->head_dim && c->hidden % c->heads)
    return ts_refuse(d, "bad-config", "%s: hidden_size %lld is not a multiple of %lld heads", file,
                     (long long)c->hidden, (long long)c->heads);
  if (!c->head_dim) c->head_dim = c->hidden / c->heads;
  static const char *const context[] = {"context_window_size", "max_position_embeddings", "max_sequence_length"};
  for (size_t i = 0; i < TS_COUNTOF(context) && !c->max_positions; i++)
    TS_TRY(ts__js_int(file, o, context[i], false, 1, LIMIT_DIM, &c->max_positions, d));
  if (!c->max_positions) c->max_positions = 2048;
  if (!strcmp(c->arch, "mistral"))
    TS_TRY(ts__js_int(file, o, "sliding_window", false, 1, LIMIT_DIM, &c->sliding_window, d));
  return true;
}

// rope_scaling {"rope_type" or "type": ...}, or rope_parameters with the base in it.
static bool read_rope(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) {
  TS_TRY(ts__js_num(file, o, "rope_theta", false, &c->rope_theta, d));
  const json_t *r = json_object_get(o, "rope_scaling");
  if (!r || json_is_null(r)) r = json_object_get(o, "rope_parameters");
  if (!r || json_is_null(r)) return true;
  if (!json_is_object(r)) return ts_refuse(d, "bad-field", "%s: field \"rope_scaling\" is not an object", file);
  TS_TRY(ts__js_num(file, r, "rope_theta", false, &c->rope_theta, d));
  const char *type = ts__js_str(r, "rope_type");
  if (!type) type = ts__js_str(r, "type");
  if (!type || !strcmp(type, "default")) return true;
  if (strcmp(type, "linear") && strcmp(type, "llama3"))
    return ts_refuse(d, "unsupported-config", "%s: rope scaling '%s' is not supported (linear and llama3 are)", file,
                     type);
  c->scaling = !strcmp(type, "linear") ? TS_SCALING_LINEAR : TS_SCALING_LLAMA3;
  TS_TRY(ts__js_num(file, r, "factor", true, &c->scale_factor, d));
  if (c->scaling == TS_SCALING_LINEAR) return true;
  TS_TRY(ts__js_num(file, r, "low_freq_factor", true, &c->low_freq, d));
  TS_TRY(ts__js_num(file, r, "high_freq_factor", true, &c->high_freq, d));
  return ts__js_int(file, r, "original_max_position_embeddings", true, 1, LIMIT_DIM, &c->original_positions, d);
}

// eos_token_id is a number or a list of numbers.
static bool read_eos(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) {
  const json_t *v = json_object_get(o, "eos_token_id");
  if (!v || json_is_null(v)) return true;
  size_t n = json_is_array(v) ? json_array_size(v) : 1;
  c->neos = 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *e = json_is_array(v) ? json_array_get(v, i) : v;
    if (!json_is_integer(e)) return ts_refuse(d, "bad-field", "%s: field \"eos_token_id\" is not a token id", file);
    if (c->neos < (int)TS_COUNTOF(c->eos)) c->eos[c->neos++] = json_integer_value(e);
  }
  return true;
}

bool ts__config_tokens(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) {
  const json_t *bos = json_object_get(o, "bos_token_id");
  if (json_is_integer(bos)) c->bos = json_integer_value(bos);
  const json_t *pad = json_object_get(o, "pad_token_id");
  if (json_is_integer(pad)) c->pad = json_integer_value(pad);
  return read_eos(file, o, c, d);
}

static bool parse(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) {
  const char *type = ts__js_str(o, "model_type");
  if (!type) return ts_refuse(d, "missing-field", "%s: field \"model_type\" is missing", file);
  const ts__arch *arch = ts__arch_find(type);
  if (!arch) return ts_refuse(d, "unknown-arch", "%s: model_type '%s' is not supported", file, type);
  *c = (ts_model_config){
      .arch = arch->name, .rms_eps = 1e-6, .rope_theta = 10000, .bos = -1, .pad = -1, .qkv_bias = arch->qkv_bias};
  TS_TRY(check_unsupported(file, o, d));
  TS_TRY(read_sizes(file, o, c, d));
  TS_TRY(ts__js_num(file, o, "rms_norm_eps", false, &c->rms_eps, d));
  TS_TRY(read_rope(file, o, c, d));
  TS_TRY(ts__js_bool(file, o, "tie_word_embeddings", &c->tied, d));
  TS_TRY(ts__config_tokens(file, o, c, d));
  return ts__config_check(file, c, d);
}

bool ts_config_parse(const char *file, const char *text, size_t n, ts_model_config *c, ts_diag *d) {
  json_t *o = ts__js_object(file, text, n, d);
  if (!o) return false;
  bool ok = parse(file, o, c, d);
  json_decref(o);
  return ok;
}
