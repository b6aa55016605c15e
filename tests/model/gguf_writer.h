// A small writer of GGUF files for tests.
#ifndef TS_TEST_GGUF_WRITER_H
#define TS_TEST_GGUF_WRITER_H

#include "model_test.h"

typedef struct gguf {
  ts_text kv, info, data;
  uint64_t nkv, ntensors;
  uint32_t version;
} gguf;

static inline void g_int(ts_text *t, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) {
    char c = (char)(v >> (8 * i));
    ts_text_addn(t, &c, 1);
  }
}
static inline void g_str(ts_text *t, const char *s) {
  g_int(t, strlen(s), 8);
  ts_text_addn(t, s, strlen(s));
}
static inline void g_key(gguf *g, const char *key, uint32_t type) {
  g_str(&g->kv, key);
  g_int(&g->kv, type, 4);
  g->nkv++;
}
static inline void g_u32(gguf *g, const char *key, uint32_t v) { g_key(g, key, 4), g_int(&g->kv, v, 4); }
static inline void g_flag(gguf *g, const char *key, bool v) { g_key(g, key, 7), g_int(&g->kv, v, 1); }
static inline void g_f32(gguf *g, const char *key, float v) {
  uint32_t u;
  memcpy(&u, &v, 4);
  g_key(g, key, 6), g_int(&g->kv, u, 4);
}
static inline void g_text(gguf *g, const char *key, const char *v) { g_key(g, key, 8), g_str(&g->kv, v); }
static inline void g_texts(gguf *g, const char *key, const char *const *v, size_t n) {
  g_key(g, key, 9), g_int(&g->kv, 8, 4), g_int(&g->kv, n, 8);
  for (size_t i = 0; i < n; i++) g_str(&g->kv, v[i]);
}
static inline void g_i32s(gguf *g, const char *key, const int32_t *v, size_t n) {
  g_key(g, key, 9), g_int(&g->kv, 5, 4), g_int(&g->kv, n, 8);
  for (size_t i = 0; i < n; i++) g_int(&g->kv, (uint32_t)v[i], 4);
}
static inline void g_f32s(gguf *g, const char *key, const float *v, size_t n) {
  g_key(g, key, 9), g_int(&g->kv, 6, 4), g_int(&g->kv, n, 8);
  for (size_t i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, &v[i], 4);
    g_int(&g->kv, u, 4);
  }
}
// rows 0: a vector.
static inline void g_tensor(gguf *g, const char *name, uint32_t type, uint64_t rows, uint64_t cols, const void *p,
                            size_t n) {
  g_str(&g->info, name);
  g_int(&g->info, rows ? 2 : 1, 4);
  g_int(&g->info, cols, 8);
  if (rows) g_int(&g->info, rows, 8);
  g_int(&g->info, type, 4);
  g_int(&g->info, g->data.n, 8);
  ts_text_addn(&g->data, p, n);
  while (g->data.n % 32) g_int(&g->data, 0, 1);
  g->ntensors++;
}
// The file: malloc'ed bytes of exactly its size, so that reading beyond is seen by sanitizers. The parts are freed.
static inline uint8_t *g_finish(gguf *g, size_t *n) {
  ts_text t = {0};
  ts_text_addn(&t, "GGUF", 4);
  g_int(&t, g->version ? g->version : 3, 4);
  g_int(&t, g->ntensors, 8);
  g_int(&t, g->nkv, 8);
  ts_text_addn(&t, g->kv.p, g->kv.n);
  ts_text_addn(&t, g->info.p, g->info.n);
  while (t.n % 32) g_int(&t, 0, 1);
  ts_text_addn(&t, g->data.p, g->data.n);
  uint8_t *p = malloc(t.n);
  memcpy(p, t.p, *n = t.n);
  ts_text_free(&t);
  ts_text_free(&g->kv);
  ts_text_free(&g->info);
  ts_text_free(&g->data);
  return p;
}

enum { G_HEADS = 2, G_KV = 1, G_DIM = 8, G_HIDDEN = 16, G_INNER = 32, G_VOCAB = 6 };

static const char *const g_pieces[G_VOCAB] = {"a", "b", "ab", "\xc4\xa0", "<s>", "</s>"};
static const int32_t g_types[G_VOCAB] = {1, 1, 1, 1, 3, 3};
static const char *const g_merges[] = {"a b"};

// A llama of one layer whose tensors hold their row number. Metadata and tensors are added to g.
static inline void g_model(gguf *g) {
  g_text(g, "general.architecture", "llama");
  g_u32(g, "llama.embedding_length", G_HIDDEN);
  g_u32(g, "llama.feed_forward_length", G_INNER);
  g_u32(g, "llama.block_count", 1);
  g_u32(g, "llama.attention.head_count", G_HEADS);
  g_u32(g, "llama.attention.head_count_kv", G_KV);
  g_u32(g, "llama.context_length", 64);
  g_f32(g, "llama.rope.freq_base", 100000.0f);
  g_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
  static const struct {
    const char *name;
    uint64_t rows, cols;
  } tensors[] = {
      {"token_embd.weight", G_VOCAB, G_HIDDEN},
      {"blk.0.attn_norm.weight", 0, G_HIDDEN},
      {"blk.0.ffn_down.weight", G_HIDDEN, G_INNER},
      {"blk.0.ffn_gate.weight", G_INNER, G_HIDDEN},
      {"blk.0.ffn_up.weight", G_INNER, G_HIDDEN},
      {"blk.0.ffn_norm.weight", 0, G_HIDDEN},
      {"blk.0.attn_k.weight", G_KV * G_DIM, G_HIDDEN},
      {"blk.0.attn_q.weight", G_HEADS * G_DIM, G_HIDDEN},
      {"blk.0.attn_v.weight", G_KV * G_DIM, G_HIDDEN},
      {"blk.0.attn_output.weight", G_HIDDEN, G_HEADS * G_DIM},
      {"output_norm.weight", 0, G_HIDDEN},
  };
  for (size_t i = 0; i < TS_COUNTOF(tensors); i++) {
    float v[G_INNER * G_INNER];
    size_t rows = tensors[i].rows ? tensors[i].rows : 1, n = rows * tensors[i].cols;
    for (size_t k = 0; k < n; k++) v[k] = (float)(k / tensors[i].cols);
    g_tensor(g, tensors[i].name, 0, tensors[i].rows, tensors[i].cols, v, n * 4);
  }
}

static inline void g_byte_level(gguf *g) {
  g_text(g, "tokenizer.ggml.model", "gpt2");
  g_text(g, "tokenizer.ggml.pre", "smollm");
  g_texts(g, "tokenizer.ggml.tokens", g_pieces, G_VOCAB);
  g_i32s(g, "tokenizer.ggml.token_type", g_types, G_VOCAB);
  g_texts(g, "tokenizer.ggml.merges", g_merges, 1);
  g_u32(g, "tokenizer.ggml.bos_token_id", 4);
  g_u32(g, "tokenizer.ggml.eos_token_id", 5);
}

#endif
