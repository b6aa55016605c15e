// Opening a model: which kind it is, its configuration, tensors and text files.
#include <stdlib.h>
#include <sys/stat.h>

#include "model_impl.h"

// Files of a Hugging Face directory that go along into the output.
static const char *const tokenizer_files[] = {"tokenizer.model", "tokenizer.json",    "vocab.json",
                                              "merges.txt",      "added_tokens.json", "tokenizer_config.json",
                                              "chat_template.jinja"};

static bool is_dir(const char *path) {
  struct stat st;
  return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool ends_with(const char *s, const char *suffix) {
  size_t n = strlen(s), m = strlen(suffix);
  return n >= m && !strcmp(s + n - m, suffix);
}

// Last part of a path without trailing slashes, without `suffix`.
static const char *base_name(ts_arena *a, const char *path, const char *suffix) {
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  size_t begin = n;
  while (begin && path[begin - 1] != '/') begin--;
  char *s = ts_arena_strndup(a, path + begin, n - begin);
  if (ends_with(s, suffix) && strlen(s) > strlen(suffix)) s[strlen(s) - strlen(suffix)] = 0;
  return s;
}

static bool add_text_file(ts_arena *a, ts_source *s, const char *name, ts_diag *d) {
  const char *path = ts_path_join(a, s->path, name);
  if (!ts_file_exists(path)) return true;
  ts_text_file f = {.name = name};
  char *text;
  TS_TRY(ts_file_read(path, a, &text, &f.n, d));
  f.text = text;
  ts_text_file *files = ts_new_array(a, ts_text_file, s->nfiles + 1);
  if (s->nfiles) memcpy(files, s->files, sizeof f * s->nfiles);
  files[s->nfiles++] = f;
  s->files = files;
  return true;
}

// generation_config.json overrides the ids of tokens; it is optional.
static bool read_generation(ts_arena *a, ts_source *s, ts_diag *d) {
  const char *path = ts_path_join(a, s->path, "generation_config.json");
  if (!ts_file_exists(path)) return true;
  char *text;
  size_t n;
  TS_TRY(ts_file_read(path, a, &text, &n, d));
  json_t *o = ts__js_object(path, text, n, d);
  if (!o) return false;
  bool ok = ts__config_tokens(path, o, &s->config, d);
  json_decref(o);
  s->generation = text;
  return ok;
}

static bool read_config(ts_arena *a, const char *path, ts_model_config *c, ts_diag *d) {
  char *text;
  size_t n;
  TS_TRY(ts_file_read(path, a, &text, &n, d));
  return ts_config_parse(path, text, n, c, d);
}

static bool open_hf(ts_arena *a, const char *path, ts_source *s, ts_diag *d) {
  s->kind = TS_SOURCE_HF;
  s->name = base_name(a, path, "");
  TS_TRY(read_config(a, ts_path_join(a, path, "config.json"), &s->config, d));
  TS_TRY(read_generation(a, s, d));
  for (size_t i = 0; i < TS_COUNTOF(tokenizer_files); i++) TS_TRY(add_text_file(a, s, tokenizer_files[i], d));
  ts__tensors tensors = {0};
  TS_TRY(ts__safetensors_dir(a, s, &tensors, d));
  s->tensors = tensors.p;
  s->ntensors = tensors.n;
  return true;
}

static bool open_gguf(ts_arena *a, const char *path, ts_source *s, ts_diag *d) {
  s->kind = TS_SOURCE_GGUF;
  s->name = base_name(a, path, ".gguf");
  s->maps = ts_new(a, ts_map);
  TS_TRY(ts_map_open(path, s->maps, d));
  s->nmaps = 1;
  return ts__gguf_read(a, path, s->maps[0].p, s->maps[0].n, s, d);
}

// Two tensors of one name would make the choice between them a matter of order.
static int by_name(const void *x, const void *y) {
  return strcmp((*(const ts_source_tensor *const *)x)->name, (*(const ts_source_tensor *const *)y)->name);
}

static bool make_index(ts_arena *a, ts_source *s, ts_diag *d) {
  const ts_source_tensor **v = ts_new_array(a, const ts_source_tensor *, s->ntensors + 1);
  for (size_t i = 0; i < s->ntensors; i++) v[i] = &s->tensors[i];
  qsort(v, s->ntensors, sizeof *v, by_name);
  for (size_t i = 1; i < s->ntensors; i++)
    if (!strcmp(v[i - 1]->name, v[i]->name))
      return ts_refuse(d, "duplicate-tensor", "%s: tensor '%s' occurs twice", s->path, v[i]->name);
  s->by_name = v;
  return true;
}

static bool open_any(ts_arena *a, const char *spec, ts_source *s, ts_diag *d) {
  static const char prefix[] = "synthetic:";
  s->path = spec;
  if (!strncmp(spec, prefix, sizeof prefix - 1)) return ts__synthetic_open(a, spec + sizeof prefix - 1, s, d);
  if (is_dir(spec) && ts_file_exists(ts_path_join(a, spec, "config.json"))) return open_hf(a, spec, s, d);
  if (!ts_file_exists(spec)) return ts_refuse(d, "no-such-model", "%s: no such file or directory", spec);
  if (ends_with(spec, ".gguf")) return open_gguf(a, spec, s, d);
  return ts_refuse(d, "unknown-model", "%s: neither a directory with config.json nor a .gguf file", spec);
}

bool ts_source_open(ts_arena *a, const char *spec, ts_source *out, ts_diag *d) {
  ts_source s = {0};
  bool ok = open_any(a, ts_arena_strdup(a, spec), &s, d) && make_index(a, &s, d);
  *out = s;
  if (!ok) ts_source_close(out);
  return ok;
}

void ts_source_close(ts_source *s) {
  for (int i = 0; i < s->nmaps; i++) ts_map_close(&s->maps[i]);
  *s = (ts_source){0};
}

const ts_source_tensor *ts_source_find(const ts_source *s, const char *name) {
  ts_source_tensor key = {.name = name};
  const ts_source_tensor *k = &key;
  if (!s->ntensors) return NULL;
  const ts_source_tensor *const *hit = bsearch(&k, s->by_name, s->ntensors, sizeof k, by_name);
  return hit ? *hit : NULL;
}

static int64_t row_length(const ts_source_tensor *t) {
  int64_t n = 1;
  for (int i = t->ndim > 1 ? 1 : 0; i < t->ndim; i++) n *= t->shape[i];
  return n;
}

void ts_tensor_rows(const ts_source_tensor *t, int64_t row, int64_t nrows, float *out) {
  int64_t n = row_length(t);
  if (!t->data) {
    ts__synthetic_rows(t, row, nrows, n, out);
    return;
  }
  int64_t row_bytes = n / ts_wtype_block(t->type) * ts_wtype_block_bytes(t->type);
  ts_wtype_decode(t->type, t->data + row * row_bytes, nrows * n, out);
}
