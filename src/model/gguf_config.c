// GGUF metadata -> ts_model_config.
#include "gguf_impl.h"

#define LIMIT_DIM (INT64_C(1) << 24)

static const ts_source_tensor *tensor(const ts_source *s, const char *name) {
  for (size_t i = 0; i < s->ntensors; i++)
    if (!strcmp(s->tensors[i].name, name)) return &s->tensors[i];
  return NULL;
}

static const char *key(ts_arena *a, const char *arch, const char *name) {
  return ts_arena_printf(a, "%s.%s", arch, name);
}

static bool read_sizes(ts_arena *a, const ts__gguf *g, const char *arch, ts_model_config *c, ts_diag *d) {
  TS_TRY(ts__gguf_int(g, key(a, arch, "embedding_length"), true, 1, LIMIT_DIM, &c->hidden, d));
  TS_TRY(ts__gguf_int(g, key(a, arch, "feed_forward_length"), true, 1, LIMIT_DIM, &c->intermediate, d));
  TS_TRY(ts__gguf_int(g, key(a, arch, "block_count"), true, 1, 4096, &c->layers, d));
  TS_TRY(ts__gguf_int(g, key(a, arch, "attention.head_count"), true, 1, 65536, &c->heads, d));
  c->kv_heads = c->heads;
  TS_TRY(ts__gguf_int(g, key(a, arch, "attention.head_count_kv"), false, 1, c->heads, &c->kv_heads, d));
  c->max_positions = 2048;
  TS_TRY(ts__gguf_int(g, key(a, arch, "context_length"), false, 1, LIMIT_DIM, &c->max_positions, d));
  TS_TRY(ts__gguf_int(g, key(a, arch, "attention.key_length"), false, 2, 4096, &c->head_dim, d));
  if (!c->head_dim && c->hidden % c->heads)
    return ts_refuse(d, "bad-config", "%s: embedding length %lld is not a multiple of %lld heads", g->file,
                     (long long)c->hidden, (long long)c->heads);
  if (!c->head_dim) c->head_dim = c->hidden / c->heads;
  int64_t value_dim = c->head_dim, rotated = c->head_dim;
  TS_TRY(ts__gguf_int(g, key(a, arch, "attention.value_length"), false, 1, 4096, &value_dim, d));
  TS_TRY(ts__gguf_int(g, key(a, arch, "rope.dimension_count"), false, 1, 4096, &rotated, d));
  if (value_dim == c->head_dim && rotated == c->head_dim) return true;
  return ts_refuse(d, "unsupported-config",
                   "%s: heads of %lld with values of %lld and %lld rotated dimensions are not supported", g->file,
                   (long long)c->head_dim, (long long)value_dim, (long long)rotated);
}

static bool read_factors(ts_arena *a, const ts_source *s, const ts_source_tensor *t, ts_model_config *c, ts_diag *d) {
  if (t->ndim != 1 || t->shape[0] != c->head_dim / 2 || t->type != TS_W_F32)
    return ts_refuse(d, "bad-shape", "%s: tensor 'rope_freqs.weight' does not hold %lld f32 values", s->path,
                     (long long)c->head_dim / 2);
  float *f = ts_new_array(a, float, c->head_dim / 2);
  ts_tensor_rows(t, 0, 1, f);
  for (int64_t i = 0; i < c->head_dim / 2; i++)
    if (!(f[i] > 0))
      return ts_refuse(d, "bad-config", "%s: rope_freqs.weight holds %g, not a positive number", s->path, (double)f[i]);
  c->freq_divisor = f;
  c->scaling = TS_SCALING_FACTORS;
  return true;
}

static bool read_rope(ts_arena *a, const ts__gguf *g, const char *arch, ts_source *s, ts_diag *d) {
  ts_model_config *c = &s->config;
  TS_TRY(ts__gguf_num(g, key(a, arch, "rope.freq_base"), false, &c->rope_theta, d));
  const char *type = ts__gguf_str_of(a, g, key(a, arch, "rope.scaling.type"));
  if (type && !strcmp(type, "linear")) {
    c->scaling = TS_SCALING_LINEAR;
    TS_TRY(ts__gguf_num(g, key(a, arch, "rope.scaling.factor"), true, &c->scale_factor, d));
  } else if (type && strcmp(type, "none")) {
    return ts_refuse(d, "unsupported-config", "%s: rope scaling '%s' is not supported", g->file, type);
  }
  const ts_source_tensor *freqs = tensor(s, "rope_freqs.weight");
  return !freqs || read_factors(a, s, freqs, c, d);
}

// Rows of the embedding; the metadata and the list of tokens may be shorter.
static bool read_vocab(const ts__gguf *g, ts_source *s, ts_diag *d) {
  const ts_source_tensor *e = tensor(s, "token_embd.weight");
  if (!e || e->ndim != 2)
    return ts_refuse(d, "missing-tensor", "%s: tensor 'token_embd.weight' is missing or not a matrix", g->file);
  if (e->shape[0] > LIMIT_DIM)
    return ts_refuse(d, "bad-config", "%s: vocabulary of %lld", g->file, (long long)e->shape[0]);
  s->config.vocab = e->shape[0];
  s->config.tied = !tensor(s, "output.weight");
  return true;
}

static bool read_tokens(const ts__gguf *g, ts_model_config *c, ts_diag *d) {
  TS_TRY(ts__gguf_int(g, "tokenizer.ggml.bos_token_id", false, -1, c->vocab - 1, &c->bos, d));
  TS_TRY(ts__gguf_int(g, "tokenizer.ggml.padding_token_id", false, -1, UINT32_MAX, &c->pad, d));
  static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
  for (size_t i = 0; i < TS_COUNTOF(ends); i++) {
    int64_t id = -1;
    TS_TRY(ts__gguf_int(g, ends[i], false, -1, c->vocab - 1, &id, d));
    if (id >= 0 && !(c->neos && c->eos[0] == id)) c->eos[c->neos++] = id;
  }
  if (c->bos == UINT32_MAX) c->bos = -1;
  return true;
}

bool ts__gguf_config(ts_arena *a, const ts__gguf *g, ts_source *s, ts_diag *d) {
  int64_t splits = 1;
  TS_TRY(ts__gguf_int(g, "split.count", false, 0, 65535, &splits, d));
  if (splits > 1)
    return ts_refuse(d, "unsupported-config", "%s: models split over %lld files are not supported", g->file,
                     (long long)splits);
  const char *name = ts__gguf_str_of(a, g, "general.architecture");
  const ts__arch *arch = name ? ts__arch_find_gguf(name) : NULL;
  if (!arch)
    return ts_refuse(d, "unknown-arch", "%s: architecture '%s' is not supported", g->file, name ? name : "(none)");
  ts_model_config *c = &s->config;
  *c = (ts_model_config){
      .arch = arch->name, .rms_eps = 1e-5, .rope_theta = 10000, .bos = -1, .pad = -1, .qkv_bias = arch->qkv_bias};
  TS_TRY(read_sizes(a, g, name, c, d));
  TS_TRY(read_vocab(g, s, d));
  TS_TRY(ts__gguf_num(g, key(a, name, "attention.layer_norm_rms_epsilon"), false, &c->rms_eps, d));
  TS_TRY(read_rope(a, g, name, s, d));
  TS_TRY(read_tokens(g, c, d));
  return ts__config_check(g->file, c, d);
}
