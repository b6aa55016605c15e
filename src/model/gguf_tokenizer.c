// The tokenizer inside a GGUF file, written in the form of tokenizer.json and tokenizer_config.json.
#include <stdlib.h>

#include "gguf_impl.h"

#define TOKEN_LIMIT 1024  // bytes

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

typedef enum way { GPT2, DIGITS, LLAMA3, QWEN2 } way;
typedef struct pretok {
  const char *name;
  way way;
  bool ignore_merges;
} pretok;
static const pretok pretoks[] = {
#define PRETOK(name, way, whole) {name, way, whole},
#include "model/pretok.def"
#undef PRETOK
};

typedef struct tokenizer {
  const ts__gguf *g;
  uint64_t n;
  const ts__gguf_str *token;
  const ts__gguf_kv *type;    // or NULL
  const ts__gguf_kv *score;   // or NULL
  const ts__gguf_kv *merges;  // or NULL
  const pretok *pre;          // byte-level; NULL: SentencePiece style
  bool add_bos, add_eos, space_prefix;
  int64_t bos, eos, unk, pad;  // -1: none
  uint32_t *slot;              // hash table of token ids + 1
  uint64_t mask;
} tokenizer;

static int token_type(const tokenizer *t, uint64_t i) { return t->type ? (int)ts__gguf_int_at(t->type, i) : NORMAL; }

// --- reading -----------------------------------------------------------------------------------------------
static uint64_t str_hash(ts__gguf_str s) { return ts_hash64(s.p, s.n, 7); }

static int64_t token_id(const tokenizer *t, ts__gguf_str s) {
  for (uint64_t h = str_hash(s) & t->mask; t->slot[h]; h = (h + 1) & t->mask) {
    ts__gguf_str o = t->token[t->slot[h] - 1];
    if (o.n == s.n && !memcmp(o.p, s.p, s.n)) return t->slot[h] - 1;
  }
  return -1;
}

static bool index_tokens(ts_arena *a, tokenizer *t, ts_diag *d) {
  uint64_t size = 16;
  while (size < 2 * t->n) size *= 2;
  t->slot = ts_new_array(a, uint32_t, size);
  t->mask = size - 1;
  for (uint64_t i = 0; i < t->n; i++) {
    if (t->token[i].n > TOKEN_LIMIT)
      return ts_refuse(d, "bad-gguf", "%s: token %llu has %zu bytes", t->g->file, (unsigned long long)i, t->token[i].n);
    if (token_id(t, t->token[i]) >= 0)
      return ts_refuse(d, "bad-gguf", "%s: token %llu repeats an earlier one", t->g->file, (unsigned long long)i);
    uint64_t h = str_hash(t->token[i]) & t->mask;
    while (t->slot[h]) h = (h + 1) & t->mask;
    t->slot[h] = (uint32_t)i + 1;
  }
  return true;
}

// An array beside the tokens: absent, or of the same length and kind.
static bool parallel_array(const tokenizer *t, const char *key, bool ints, const ts__gguf_kv **out, ts_diag *d) {
  const ts__gguf_kv *k = ts__gguf_find(t->g, key);
  *out = k;
  if (!k) return true;
  if (k->array && k->count == t->n && k->type != TS__GG_STRING && ts__gguf_is_int(k) == ints) return true;
  return ts_refuse(d, "bad-gguf", "%s: '%s' does not have one value for each token", t->g->file, key);
}

static bool special_id(const tokenizer *t, const char *key, int64_t *out, ts_diag *d) {
  *out = -1;
  TS_TRY(ts__gguf_int(t->g, key, false, -1, UINT32_MAX, out, d));
  if (*out >= (int64_t)t->n) *out = -1;
  return true;
}

static bool read_specials(tokenizer *t, ts_diag *d) {
  TS_TRY(special_id(t, "tokenizer.ggml.bos_token_id", &t->bos, d));
  TS_TRY(special_id(t, "tokenizer.ggml.eos_token_id", &t->eos, d));
  TS_TRY(special_id(t, "tokenizer.ggml.unknown_token_id", &t->unk, d));
  TS_TRY(special_id(t, "tokenizer.ggml.padding_token_id", &t->pad, d));
  t->add_bos = ts__gguf_flag(t->g, "tokenizer.ggml.add_bos_token", !t->pre || t->pre->way == LLAMA3) && t->bos >= 0;
  t->add_eos = ts__gguf_flag(t->g, "tokenizer.ggml.add_eos_token", false) && t->eos >= 0;
  t->space_prefix = ts__gguf_flag(t->g, "tokenizer.ggml.add_space_prefix", true);
  return true;
}

static const pretok *find_pretok(const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(pretoks); i++)
    if (!strcmp(pretoks[i].name, name)) return &pretoks[i];
  return NULL;
}

static bool read_kind(ts_arena *a, tokenizer *t, const char *model, ts_diag *d) {
  if (!strcmp(model, "llama"))
    return t->score || ts_refuse(d, "bad-gguf", "%s: tokenizer 'llama' without scores", t->g->file);
  if (strcmp(model, "gpt2"))
    return ts_refuse(d, "unsupported-tokenizer", "%s: tokenizer '%s' is not supported", t->g->file, model);
  const char *pre = ts__gguf_str_of(a, t->g, "tokenizer.ggml.pre");
  t->pre = find_pretok(pre ? pre : "default");
  if (!t->pre) return ts_refuse(d, "unsupported-tokenizer", "%s: pre-tokenizer '%s' is not supported", t->g->file, pre);
  t->merges = ts__gguf_find(t->g, "tokenizer.ggml.merges");
  if (t->merges && t->merges->array && t->merges->type == TS__GG_STRING) return true;
  return ts_refuse(d, "bad-gguf", "%s: tokenizer 'gpt2' without a list of merges", t->g->file);
}

static bool read_tokenizer(ts_arena *a, tokenizer *t, const char *model, ts_diag *d) {
  const ts__gguf_kv *tokens = ts__gguf_find(t->g, "tokenizer.ggml.tokens");
  if (!tokens || !tokens->array || tokens->type != TS__GG_STRING || tokens->count > UINT32_MAX / 4)
    return ts_refuse(d, "bad-gguf", "%s: 'tokenizer.ggml.tokens' is missing or not a list of strings", t->g->file);
  t->n = tokens->count;
  t->token = tokens->str;
  TS_TRY(parallel_array(t, "tokenizer.ggml.token_type", true, &t->type, d));
  TS_TRY(parallel_array(t, "tokenizer.ggml.scores", false, &t->score, d));
  TS_TRY(read_kind(a, t, model, d));
  TS_TRY(index_tokens(a, t, d));
  return read_specials(t, d);
}

// --- merges of a SentencePiece-style vocabulary ------------------------------------------------------------
// ----------------------------------------------------------------------- Every way to split a piece into two pieces is
// a merge; the score of the whole decides the rank, earlier pieces first, then the ids of the halves.
typedef struct merge {
  double score;
  uint32_t piece, left, right;
} merge;
typedef TS_VEC(merge) merges;

static int by_rank(const void *x, const void *y) {
  const merge *a = x, *b = y;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  if (a->piece != b->piece) return a->piece < b->piece ? -1 : 1;
  if (a->left != b->left) return a->left < b->left ? -1 : 1;
  return a->right < b->right ? -1 : a->right > b->right;
}

static void derive_merges(ts_arena *a, const tokenizer *t, merges *out) {
  for (uint64_t i = 0; i < t->n; i++) {
    ts__gguf_str s = t->token[i];
    int type = token_type(t, i);
    if (type == CONTROL || type == BYTE || type == UNKNOWN) continue;
    for (size_t k = 1; k < s.n; k++) {
      if (((uint8_t)s.p[k] & 0xc0) == 0x80) continue;  // inside a character
      int64_t l = token_id(t, (ts__gguf_str){s.p, k}), r = token_id(t, (ts__gguf_str){s.p + k, s.n - k});
      merge m = {ts__gguf_num_at(t->score, i), (uint32_t)i, (uint32_t)l, (uint32_t)r};
      if (l >= 0 && r >= 0) ts_vec_push(a, out, m);
    }
  }
  if (out->n) qsort(out->p, out->n, sizeof *out->p, by_rank);
}

// --- writing tokenizer.json --------------------------------------------------------------------------------
static bool quote_token(ts_text *o, const tokenizer *t, uint64_t i, ts_diag *d) {
  return ts__js_quote(o, t->token[i].p, t->token[i].n, false) ||
         ts_refuse(d, "bad-gguf", "%s: token %llu is not UTF-8", t->g->file, (unsigned long long)i);
}

static bool write_added(ts_text *o, const tokenizer *t, ts_diag *d) {
  const char *sep = "";
  ts_text_add(o, "  \"added_tokens\": [");
  for (uint64_t i = 0; i < t->n; i++) {
    int type = token_type(t, i);
    if (type != CONTROL && type != USER_DEFINED && type != UNKNOWN) continue;
    ts_text_addf(o, "%s\n    {\"id\": %llu, \"content\": ", sep, (unsigned long long)i);
    TS_TRY(quote_token(o, t, i, d));
    ts_text_addf(
        o, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": %s}",
        type == USER_DEFINED ? "false" : "true");
    sep = ",";
  }
  ts_text_add(o, "\n  ],\n");
  return true;
}

#define BYTE_LEVEL(regex) \
  "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": " regex "}"
#define SPLIT(digits)                                                                                       \
  "{\"type\": \"Split\", \"pattern\": {\"Regex\": "                                                         \
  "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits                          \
  "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": " \
  "\"Isolated\", \"invert\": false}"
#define SEQUENCE(member, a, b) "{\"type\": \"Sequence\", \"" member "\": [" a ", " b "]}"

static const char *pre_tokenizer(way w) {
  switch (w) {
    case DIGITS:
      return SEQUENCE("pretokenizers", "{\"type\": \"Digits\", \"individual_digits\": true}", BYTE_LEVEL("true"));
    case LLAMA3:
      return SEQUENCE("pretokenizers", SPLIT("\\\\p{N}{1,3}"), BYTE_LEVEL("false"));
    case QWEN2:
      return SEQUENCE("pretokenizers", SPLIT("\\\\p{N}"), BYTE_LEVEL("false"));
    case GPT2:
      break;
  }
  return BYTE_LEVEL("true");
}

// What is put around a text: BOS and EOS where the model wants them.
static bool write_template(ts_text *o, const tokenizer *t, ts_diag *d) {
  int64_t ids[2] = {t->add_bos ? t->bos : -1, t->add_eos ? t->eos : -1};
  ts_text_add(o, "{\"type\": \"TemplateProcessing\", \"single\": [");
  for (int i = 0; i < 3; i++) {
    int64_t id = i == 1 ? 0 : ids[i / 2];
    if (id < 0) continue;
    if (i == 1)
      ts_text_add(o, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}");
    else
      ts_text_addf(o, "%s{\"SpecialToken\": {\"id\": ", i ? ", " : "");
    if (i != 1) TS_TRY(quote_token(o, t, (uint64_t)id, d));
    if (i != 1) ts_text_addf(o, ", \"type_id\": 0}}%s", i ? "" : ", ");
  }
  ts_text_add(o,
              "], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", "
              "\"type_id\": 1}}], "
              "\"special_tokens\": {");
  const char *sep = "";
  for (int i = 0; i < 2; i++) {
    if (ids[i] < 0 || (i && ids[1] == ids[0])) continue;
    ts_text_add(o, sep);
    TS_TRY(quote_token(o, t, (uint64_t)ids[i], d));
    ts_text_add(o, ": {\"id\": ");
    TS_TRY(quote_token(o, t, (uint64_t)ids[i], d));
    ts_text_addf(o, ", \"ids\": [%lld], \"tokens\": [", (long long)ids[i]);
    TS_TRY(quote_token(o, t, (uint64_t)ids[i], d));
    ts_text_add(o, "]}");
    sep = ", ";
  }
  ts_text_add(o, "}}");
  return true;
}

static bool write_stages(ts_text *o, const tokenizer *t, ts_diag *d) {
  static const char replace[] =
      "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}";
  if (t->pre)
    ts_text_addf(o, "  \"normalizer\": null,\n  \"pre_tokenizer\": %s,\n", pre_tokenizer(t->pre->way));
  else if (t->space_prefix)
    ts_text_addf(o,
                 "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
                 "\"\xe2\x96\x81\"}, %s]},\n"
                 "  \"pre_tokenizer\": null,\n",
                 replace);
  else
    ts_text_addf(o, "  \"normalizer\": %s,\n  \"pre_tokenizer\": null,\n", replace);
  ts_text_add(o, "  \"post_processor\": ");
  if (t->add_bos || t->add_eos)
    TS_TRY(write_template(o, t, d));
  else
    ts_text_add(o, t->pre ? BYTE_LEVEL("true") : "null");
  ts_text_add(o, ",\n  \"decoder\": ");
  if (t->pre)
    ts_text_add(o, BYTE_LEVEL("true"));
  else
    ts_text_addf(o,
                 "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
                 "\"\xe2\x96\x81\"}, \"content\": \" \"}, "
                 "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]}",
                 t->space_prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
  ts_text_add(o, ",\n");
  return true;
}

static bool write_vocab(ts_text *o, const tokenizer *t, ts_diag *d) {
  ts_text_add(o, "    \"vocab\": {");
  for (uint64_t i = 0; i < t->n; i++) {
    ts_text_add(o, i ? ",\n      " : "\n      ");
    TS_TRY(quote_token(o, t, i, d));
    ts_text_addf(o, ": %llu", (unsigned long long)i);
  }
  ts_text_add(o, "\n    },\n");
  return true;
}

static bool write_given_merges(ts_text *o, const tokenizer *t, ts_diag *d) {
  for (uint64_t i = 0; i < t->merges->count; i++) {
    ts_text_add(o, i ? ",\n      " : "\n      ");
    if (!ts__js_quote(o, t->merges->str[i].p, t->merges->str[i].n, false))
      return ts_refuse(d, "bad-gguf", "%s: merge %llu is not UTF-8", t->g->file, (unsigned long long)i);
  }
  return true;
}

// As pairs: a piece may hold a space.
static bool write_derived_merges(ts_text *o, ts_arena *a, const tokenizer *t, ts_diag *d) {
  merges m = {0};
  derive_merges(a, t, &m);
  for (size_t i = 0; i < m.n; i++) {
    ts_text_add(o, i ? ",\n      [" : "\n      [");
    TS_TRY(quote_token(o, t, m.p[i].left, d));
    ts_text_add(o, ", ");
    TS_TRY(quote_token(o, t, m.p[i].right, d));
    ts_text_add(o, "]");
  }
  return true;
}

static bool write_model(ts_text *o, ts_arena *a, const tokenizer *t, ts_diag *d) {
  ts_text_add(o, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
  if (!t->pre && t->unk >= 0)
    TS_TRY(quote_token(o, t, (uint64_t)t->unk, d));
  else
    ts_text_add(o, "null");
  ts_text_addf(o,
               ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": %s,\n"
               "    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n",
               t->pre ? "false" : "true", t->pre ? "false" : "true",
               t->pre && t->pre->ignore_merges ? "true" : "false");
  TS_TRY(write_vocab(o, t, d));
  ts_text_add(o, "    \"merges\": [");
  TS_TRY(t->pre ? write_given_merges(o, t, d) : write_derived_merges(o, a, t, d));
  ts_text_add(o, "\n    ]\n  }\n}\n");
  return true;
}

static bool write_tokenizer(ts_text *o, ts_arena *a, const tokenizer *t, ts_diag *d) {
  ts_text_add(o, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
  TS_TRY(write_added(o, t, d));
  TS_TRY(write_stages(o, t, d));
  return write_model(o, a, t, d);
}

static bool write_config(ts_text *o, ts_arena *a, const tokenizer *t, ts_diag *d) {
  const struct {
    const char *key;
    int64_t id;
  } ids[] = {{"bos_token", t->bos}, {"eos_token", t->eos}, {"unk_token", t->unk}, {"pad_token", t->pad}};
  ts_text_addf(o, "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n", t->add_bos ? "true" : "false",
               t->add_eos ? "true" : "false");
  for (size_t i = 0; i < TS_COUNTOF(ids); i++) {
    if (ids[i].id < 0) continue;
    ts_text_addf(o, "  \"%s\": ", ids[i].key);
    TS_TRY(quote_token(o, t, (uint64_t)ids[i].id, d));
    ts_text_add(o, ",\n");
  }
  const char *chat = ts__gguf_str_of(a, t->g, "tokenizer.chat_template");
  if (chat) {
    ts_text_add(o, "  \"chat_template\": ");
    if (!ts__js_quote(o, chat, strlen(chat), false))
      return ts_refuse(d, "bad-gguf", "%s: the chat template is not UTF-8", t->g->file);
    ts_text_add(o, ",\n");
  }
  ts_text_addf(o, "  \"tokenizer_class\": \"%s\"\n}\n", t->pre ? "GPT2Tokenizer" : "LlamaTokenizer");
  return true;
}

static ts_text_file keep(ts_arena *a, const char *name, ts_text *t) {
  ts_text_file f = {name, ts_arena_strndup(a, t->p, t->n), t->n};
  return f;
}

bool ts__gguf_tokenizer(ts_arena *a, const ts__gguf *g, ts_source *s, ts_diag *d) {
  const char *model = ts__gguf_str_of(a, g, "tokenizer.ggml.model");
  if (!model) return true;  // a model without its tokenizer can still be built and timed
  tokenizer t = {.g = g};
  TS_TRY(read_tokenizer(a, &t, model, d));
  ts_text json = {0}, config = {0};
  bool ok = write_tokenizer(&json, a, &t, d) && write_config(&config, a, &t, d);
  if (ok) {
    ts_text_file *files = ts_new_array(a, ts_text_file, 2);
    files[0] = keep(a, "tokenizer.json", &json);
    files[1] = keep(a, "tokenizer_config.json", &config);
    s->files = files;
    s->nfiles = 2;
  }
  ts_text_free(&json);
  ts_text_free(&config);
  return ok;
}
