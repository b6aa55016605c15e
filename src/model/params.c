// Quantizing every parameter of a source into the container.
#include <stdatomic.h>
#include <stdlib.h>

#include "output_impl.h"
#include "runtime/runtime.h"

// Indices of parameters in the order of writing: that of the files they come from, for Hugging Face models.
static size_t *param_order(ts_arena *a, const ts_source *s, const ts_model_param *p, size_t n) {
  size_t *order = ts_new_array(a, size_t, n + 1), count = 0;
  bool *done = ts_new_array(a, bool, n + 1);
  for (size_t t = 0; s->kind == TS_SOURCE_HF && t < s->ntensors; t++)
    for (size_t i = 0; i < n; i++)
      for (int k = 0; k < p[i].nparts && !done[i]; k++)
        if (!strcmp(p[i].part[k].hf, s->tensors[t].name)) done[i] = true, order[count++] = i;
  for (size_t i = 0; i < n; i++)
    if (!done[i]) order[count++] = i;
  return order;
}

typedef struct job {
  const ts_source *s;
  const ts_model_param *p;
  const ts_quant *q;
  ts_rounding round;
  int64_t chunk;  // rows at a time
  void *dst[2];
  atomic_bool starved;  // no memory for a thread's rows
} job;

// Chunks [begin, end) of a parameter.
static void encode(void *env, int64_t begin, int64_t end) {
  job *j = env;
  const ts_model_param *p = j->p;
  float *rows = malloc((size_t)(TS_MIN(j->chunk, p->rows) * p->cols) * sizeof(float));
  if (!rows) j->starved = true;
  for (int64_t i = begin; rows && i < end; i++) {
    int64_t row = i * j->chunk, n = TS_MIN(j->chunk, p->rows - row);
    ts_param_rows(j->s, p, row, n, rows);
    ts_quant_encode(j->q, p->kind, p->rows, p->cols, row, n, rows, j->dst, j->round);
  }
  free(rows);
}

typedef struct writer {
  const ts_source *s;
  const ts_quant *q;
  ts_rounding round;
  ts_pool *pool;
  ts_shard_writer *shards;
  int64_t *bytes;
  ts_arena *a;  // of magnitudes
  ts__magnitudes *magnitudes;
} writer;

static void note_magnitude(const writer *w, const ts_stored *t, const void *data) {
  ts_dtype type;
  if (!ts_code_is_float(t->type) || !ts_dtype_parse(ts_code_name(t->type), &type)) return;
  ts__magnitude m = {.tensor = ts_arena_strdup(w->a, t->name), .most = ts_dtype_most(type, data, t->bytes / ts_code_bytes(t->type))};
  ts_vec_push(w->a, w->magnitudes, m);
}

static bool write_param(const writer *w, const ts_model_param *p, ts_diag *d) {
  ts_arena *a = ts_arena_new("parameter");
  ts_stored st[2];
  int n = ts_quant_storage(a, w->q, p, st);
  job j = {.s = w->s, .p = p, .q = w->q, .round = w->round, .chunk = TS_MAX(1, (INT64_C(1) << 18) / p->cols)};
  for (int i = 0; i < n; i++) j.starved = !(j.dst[i] = malloc((size_t)st[i].bytes)) || j.starved;
  const ts_kernel_rt *rt = ts_pool_rt(w->pool);
  if (!j.starved) rt->parallel(rt, encode, &j, (p->rows + j.chunk - 1) / j.chunk);
  bool ok = !j.starved || ts_env_fail(d, "out-of-memory", "no memory for parameter %s", p->name);
  for (int i = 0; ok && i < n; i++) {
    ok = ts_shard_put(w->shards, &st[i], j.dst[i], d);
    *w->bytes += st[i].bytes;
    note_magnitude(w, &st[i], j.dst[i]);
  }
  free(j.dst[0]);
  free(j.dst[1]);
  ts_arena_free(a);
  return ok;
}

static double source_elements(const ts_source *s) {
  double n = 0;
  for (size_t i = 0; i < s->ntensors; i++) {
    double e = 1;
    for (int k = 0; k < s->tensors[i].ndim; k++) e *= (double)s->tensors[i].shape[k];
    n += e;
  }
  return n;
}

static bool write_all(ts_arena *a, const writer *w, ts_diag *d) {
  const ts_model_param *p;
  size_t n;
  TS_TRY(ts_model_params(a, &w->s->config, &p, &n, d));
  TS_TRY(ts_params_check(w->s, p, n, d));
  size_t *order = param_order(a, w->s, p, n);
  ts_progress progress;
  ts_progress_begin(&progress, "quantize", n);
  for (size_t i = 0; i < n; i++) {
    if (ts_interrupted()) return ts_refuse(d, "interrupted", "interrupted");
    TS_TRY(write_param(w, &p[order[i]], d));
    ts_progress_step(&progress, i + 1, p[order[i]].name);
  }
  ts_progress_end(&progress, "done");
  return ts_shard_close(w->shards, source_elements(w->s), d);
}

bool ts__params_write(ts_arena *out, const ts_source *s, const ts_quant *q, ts_rounding round, const char *dir, int64_t *bytes, ts__magnitudes *magnitudes,
                      ts_diag *d) {
  *bytes = 0;
  *magnitudes = (ts__magnitudes){0};
  writer w = {.s = s, .q = q, .round = round, .pool = ts_pool_new(0, d), .bytes = bytes, .a = out, .magnitudes = magnitudes};
  if (!w.pool) return false;
  ts_arena *a = ts_arena_new("params");
  w.shards = ts_shard_writer_new(dir, TS_SHARD_CAP);
  bool ok = write_all(a, &w, d);
  ts_shard_writer_free(w.shards);
  ts_pool_free(w.pool);
  ts_arena_free(a);
  return ok;
}
