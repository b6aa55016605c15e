// An engine: everything of a model directory.
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime/runtime_impl.h"

struct ts_engine {
  ts_arena *arena;
  const char *dir, *params, *library_path, *weights_path;
  ts_chat_config config;
  ts_pool *pool;
  bool borrowed;  // the pool
  ts_library *library;
  const ts_index *index;
  ts_weights *weights;
  ts_tokenizer *tokenizer;
  ts_cache *cache;
};

static bool is_dir(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

// The one shared object in the directory; with several, the one that is named after it.
static bool find_library(ts_engine *e, ts_diag *d) {
  char **names;
  size_t n;
  TS_TRY(ts_dir_list(e->dir, ".so", e->arena, &names, &n, d));
  if (n == 0) {
    (void)ts_refuse(d, "no-library", "%s: no model library (.so)", e->dir);
    ts_hint(d, "tunesmith build makes one");
    return false;
  }
  size_t pick = 0, found = 0;
  for (size_t i = 0; i < n; i++)
    if (strlen(names[i]) > 7 && !strcmp(names[i] + strlen(names[i]) - 7, "-cpu.so")) pick = i, found++;
  if (n > 1 && found != 1)
    return ts_refuse(d, "which-library", "%s: %zu model libraries; name one", e->dir, n);
  e->library_path = ts_path_join(e->arena, e->dir, names[n == 1 ? 0 : pick]);
  return true;
}

static bool find_files(ts_engine *e, const char *dir, const char *library, ts_diag *d) {
  struct stat st;
  e->dir = ts_arena_strdup(e->arena, dir);
  bool there = stat(dir, &st) == 0;
  if (!there || !S_ISDIR(st.st_mode)) {
    if (there) ts_refuse(d, "model-dir", "%s: not a model directory", dir);
    else ts_env_fail(d, "model-dir", "%s: %s", dir, strerror(errno));
    ts_hint(d, "a folder that tunesmith build made, such as dist/NAME-q4f16_1");
    return false;
  }
  e->params = ts_path_join(e->arena, dir, "params");
  if (!is_dir(e->params)) e->params = e->dir;
  e->library_path = library;
  if (!library) TS_TRY(find_library(e, d));
  const char *dot = strrchr(e->library_path, '.');
  int stem = dot ? (int)(dot - e->library_path) : (int)strlen(e->library_path);
  e->weights_path = ts_arena_printf(e->arena, "%.*s.weights", stem, e->library_path);
  return true;
}

static bool read_config(ts_engine *e, ts_diag *d) {
  const char *path = ts_path_join(e->arena, e->params, "mlc-chat-config.json");
  char *text;
  size_t n;
  TS_TRY(ts_file_read(path, e->arena, &text, &n, d));
  return ts_chat_config_parse(e->arena, path, text, n, &e->config, d);
}

// The tokenizer is read beside everything else. It begins before the pool pins this thread: a thread inherits its maker's core.
typedef struct side {
  const char *path;
  pthread_t thread;
  bool beside;
  ts_tokenizer *t;
  ts_diag d;
} side;

static void *read_tokenizer(void *arg) {
  side *s = arg;
  s->t = ts_tokenizer_load(s->path, &s->d);
  return NULL;
}

static void side_begin(side *s, ts_engine *e) {
  *s = (side){.path = ts_path_join(e->arena, e->params, "tokenizer.json")};
  s->beside = pthread_create(&s->thread, NULL, read_tokenizer, s) == 0;
}

static bool side_end(side *s, ts_engine *e, bool ok, ts_diag *d) {
  if (s->beside)
    pthread_join(s->thread, NULL);
  else
    read_tokenizer(s);
  e->tokenizer = s->t;
  if (ok && !s->t && d) *d = s->d;
  return ok && s->t;
}

static bool load(ts_engine *e, const ts_engine_opts *o, ts_diag *d) {
  TS_TRY((e->library = ts_library_open(e->library_path, d)) != NULL);
  const ts_plan *p = ts_library_plan(e->library);
  bool gpu = p->api != TS_API_CPU;
  e->borrowed = o && o->beside;
  TS_TRY((e->pool = e->borrowed ? o->beside->pool : ts_pool_new(gpu ? 1 : o ? o->threads : 0, d)) != NULL);
  if (!p->synthetic) TS_TRY((e->index = ts_index_open(e->arena, e->params, d)) != NULL);
  e->weights = ts_weights_load(e->library, e->index, e->weights_path, e->pool, d);
  return e->weights != NULL;
}

// The parts speak of one model.
static bool agree(const ts_engine *e, ts_diag *d) {
  const ts_plan *p = ts_library_plan(e->library);
  if (*e->config.quantization && strcmp(e->config.quantization, p->quantization) != 0)
    return ts_refuse(d, "other-model", "%s: quantization %s, the parameters are %s", e->library_path, p->quantization,
                     e->config.quantization);
  if ((int64_t)ts_tokenizer_size(e->tokenizer) > p->vocab)
    return ts_refuse(d, "other-model", "%s/tokenizer.json: %zu tokens, the model has %lld", e->params, ts_tokenizer_size(e->tokenizer),
                     (long long)p->vocab);
  return true;
}

static bool open_all(ts_engine *e, const char *dir, const ts_engine_opts *o, ts_diag *d) {
  TS_TRY(find_files(e, dir, o ? o->library : NULL, d));
  TS_TRY(read_config(e, d));
  side s;
  side_begin(&s, e);
  bool ok = load(e, o, d);
  ok = side_end(&s, e, ok, d) && agree(e, d);
  malloc_trim(0);  // the parsed JSON of the tokenizer is larger than the tokenizer
  return ok;
}

ts_engine *ts_engine_open(const char *dir, const ts_engine_opts *o, ts_diag *d) {
  ts_arena *a = ts_arena_new("engine");
  ts_engine *e = ts_new(a, ts_engine);
  e->arena = a;
  if (open_all(e, dir, o, d)) return e;
  ts_engine_close(e);
  return NULL;
}

void ts_engine_close(ts_engine *e) {
  if (!e) return;
  ts_cache_free(e->cache);
  ts_weights_free(e->weights);
  ts_tokenizer_free(e->tokenizer);
  if (!e->borrowed) ts_pool_free(e->pool);
  ts_library_close(e->library);
  ts_arena_free(e->arena);
}

bool ts_engine_api(const char *dir, const char *library, ts_api *out, ts_diag *d) {
  ts_arena *a = ts_arena_new("engine");
  ts_engine *e = ts_new(a, ts_engine);
  e->arena = a;
  ts_library *l = find_files(e, dir, library, d) ? ts_library_open(e->library_path, d) : NULL;
  if (l) *out = ts_library_plan(l)->api;
  ts_library_close(l);
  ts_arena_free(a);
  return l != NULL;
}

ts_session *ts_engine_session(ts_engine *e, ts_diag *d) {
  if (ts_engine_plan(e)->page && !e->cache && !(e->cache = ts_cache_new(e->library, e->weights, d))) return NULL;
  ts_session *s = ts_session_new_in(e->library, e->weights, e->pool, e->cache, d);
  if (s && e->config.context_window > 0) ts__session_limit(s, e->config.context_window);
  return s;
}

const ts_plan *ts_engine_plan(const ts_engine *e) { return ts_library_plan(e->library); }
const ts_tokenizer *ts_engine_tokenizer(const ts_engine *e) { return e->tokenizer; }
const ts_chat_config *ts_engine_config(const ts_engine *e) { return &e->config; }
const ts_weights *ts_engine_weights(const ts_engine *e) { return e->weights; }
const ts_index *ts_engine_index(const ts_engine *e) { return e->index; }
ts_pool *ts_engine_pool(ts_engine *e) { return e->pool; }
const ts_cache *ts_engine_cache(const ts_engine *e) { return e->cache; }
const char *ts_engine_library_path(const ts_engine *e) { return e->library_path; }
