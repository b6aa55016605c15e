// Synthetic models: a shape and random weights, so that anything can be tuned and timed without its files.
#include <math.h>
#include <strings.h>
#include <sys/stat.h>

#include "model_impl.h"

static const struct shape {
  const char *name;
  ts_model_config c;
} shapes[] = {
#define SYNTHETIC(n, a, h, i, l, nh, nkv, hd, v, p, eps, theta, tie) \
  {n,                                                                \
   {.arch = #a,                                                      \
    .hidden = h,                                                     \
    .intermediate = i,                                               \
    .layers = l,                                                     \
    .heads = nh,                                                     \
    .kv_heads = nkv,                                                 \
    .head_dim = hd,                                                  \
    .vocab = v,                                                      \
    .max_positions = p,                                              \
    .rms_eps = eps,                                                  \
    .rope_theta = theta,                                             \
    .tied = tie}},
#include "model/synthetic.def"
#undef SYNTHETIC
};

static const char *const names[] = {
#define SYNTHETIC(n, a, h, i, l, nh, nkv, hd, v, p, eps, theta, tie) n,
#include "model/synthetic.def"
#undef SYNTHETIC
    NULL,
};

const char *const *ts_synthetic_names(void) { return names; }

// Weights are uniform with variance 1 / columns, norms are near 1: activations keep their size. Row r of a tensor
// depends on its name and r alone.
void ts__synthetic_rows(const ts_source_tensor *t, int64_t row, int64_t nrows, int64_t n, float *out) {
  uint64_t seed = ts_hash64(t->name, strlen(t->name), 1);
  bool norm = t->ndim == 1 && strstr(t->name, "norm");
  float base = norm ? 1.0f : 0.0f;
  float scale = norm ? 0.1f : t->ndim == 1 ? 0.02f : sqrtf(3.0f / (float)n);
  for (int64_t r = 0; r < nrows; r++) {
    ts_rng rng = ts_rng_new(seed, (uint64_t)(row + r));
    for (int64_t i = 0; i < n; i += 2) {
      uint32_t u = ts_rng_u32(&rng);
      out[r * n + i] = base + scale * ((float)(u & 0xffff) / 32768.0f - 1.0f);
      if (i + 1 < n) out[r * n + i + 1] = base + scale * ((float)(u >> 16) / 32768.0f - 1.0f);
    }
  }
}

// The tensors a Hugging Face model of this configuration has.
static bool make_tensors(ts_arena *a, ts_source *s, ts_diag *d) {
  const ts_model_param *p;
  size_t n;
  TS_TRY(ts_model_params(a, &s->config, &p, &n, d));
  ts__tensors v = {0};
  for (size_t i = 0; i < n; i++) {
    for (int k = 0; k < p[i].nparts; k++) {
      bool vector = p[i].kind == TS_PARAM_VECTOR;
      int64_t rows = p[i].part[k].rows, cols = p[i].cols;
      ts_source_tensor t = {.name = p[i].part[k].hf, .type = TS_W_F16, .ndim = vector ? 1 : 2, .shape = {rows, cols}};
      if (vector) t.shape[0] = p[i].nparts > 1 ? rows : cols, t.shape[1] = 0;
      ts_vec_push(a, &v, t);
    }
  }
  s->tensors = v.p;
  s->ntensors = v.n;
  return true;
}

// Byte to character of byte-level tokenizers: printable bytes keep their code point, the others follow from 256 on.
static uint32_t byte_char(int byte) {
  uint32_t next = 256;
  for (int b = 0; b < 256; b++) {
    bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    if (b == byte) return printable ? (uint32_t)b : next;
    next += !printable;
  }
  return 0;
}

// A byte-level tokenizer without merges: token b is byte b. Only for vocabularies that hold one.
static void make_tokenizer(ts_arena *a, ts_source *s) {
  if (s->config.vocab < 257) return;
  ts_text t = {0};
  ts_text_add(
      &t,
      "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [{\"id\": 256, \"content\": "
      "\"<|end|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": "
      "true}], "
      "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
      "\"trim_offsets\": true, "
      "\"use_regex\": true}, \"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
      "true, "
      "\"trim_offsets\": true, \"use_regex\": true}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": "
      "null, "
      "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": "
      "false, "
      "\"vocab\": {");
  for (int b = 0; b < 256; b++) ts_text_addf(&t, "%s\"\\u%04x\": %d", b ? ", " : "", byte_char(b), b);
  ts_text_add(&t, ", \"<|end|>\": 256}, \"merges\": []}}\n");
  static const char config[] =
      "{\"add_bos_token\": false, \"eos_token\": \"<|end|>\", \"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n";
  ts_text_file *files = ts_new_array(a, ts_text_file, 2);
  files[0] = (ts_text_file){"tokenizer.json", ts_arena_strndup(a, t.p, t.n), t.n};
  files[1] = (ts_text_file){"tokenizer_config.json", config, sizeof config - 1};
  ts_text_free(&t);
  s->files = files;
  s->nfiles = 2;
  s->config.neos = 1;
  s->config.eos[0] = 256;
}

static bool from_file(ts_arena *a, const char *path, ts_source *s, ts_diag *d) {
  struct stat st;
  if (stat(path, &st)) {
    ts_refuse(d, "unknown-model", "synthetic model '%s' is neither a known shape nor a config.json", path);
    ts_text t = {0};
    for (size_t i = 0; names[i]; i++) ts_text_addf(&t, "%s%s", i ? ", " : "", names[i]);
    ts_hint(d, "known: %s", ts_text_str(&t));
    ts_text_free(&t);
    return false;
  }
  const char *file = S_ISDIR(st.st_mode) ? ts_path_join(a, path, "config.json") : path;
  char *text;
  size_t n;
  TS_TRY(ts_file_read(file, a, &text, &n, d));
  TS_TRY(ts_config_parse(file, text, n, &s->config, d));
  s->config.bos = s->config.pad = -1;
  s->name = "synthetic";
  return true;
}

bool ts__synthetic_open(ts_arena *a, const char *what, ts_source *s, ts_diag *d) {
  s->kind = TS_SOURCE_SYNTHETIC;
  for (size_t i = 0; i < TS_COUNTOF(shapes); i++) {
    if (strcasecmp(shapes[i].name, what)) continue;
    s->config = shapes[i].c;
    s->config.bos = s->config.pad = -1;
    s->config.qkv_bias = ts__arch_find(s->config.arch)->qkv_bias;
    s->name = ts_arena_printf(a, "%s-synthetic", shapes[i].name);
  }
  if (!s->name) TS_TRY(from_file(a, what, s, d));
  make_tokenizer(a, s);
  return make_tensors(a, s, d);
}
