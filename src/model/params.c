// Quantizing every parameter of a source into the container.
#include <stdlib.h>

#include "output_impl.h"

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

static void encode(const ts_source *s, const ts_model_param *p, const ts_quant *q, ts_round round, float *rows,
                   int64_t chunk, void *const dst[2]) {
  for (int64_t r = 0; r < p->rows; r += chunk) {
    int64_t n = TS_MIN(chunk, p->rows - r);
    ts_param_rows(s, p, r, n, rows);
    ts_quant_encode(q, p->kind, p->rows, p->cols, r, n, rows, dst, round);
  }
}

static bool write_param(const ts_source *s, const ts_model_param *p, const ts_quant *q, ts_round round,
                        ts_shard_writer *w, int64_t *bytes, ts_diag *d) {
  ts_arena *a = ts_arena_new("parameter");
  ts_stored st[2];
  int n = ts_quant_storage(a, q, p, st);
  int64_t chunk = TS_MAX(1, (INT64_C(1) << 20) / p->cols);
  void *dst[2] = {malloc((size_t)st[0].bytes), n > 1 ? malloc((size_t)st[1].bytes) : NULL};
  float *rows = malloc((size_t)(TS_MIN(chunk, p->rows) * p->cols) * sizeof(float));
  bool ok = rows && dst[0] && (n < 2 || dst[1]);
  if (!ok) (void)ts_env_fail(d, "out-of-memory", "no memory for parameter %s", p->name);
  if (ok) encode(s, p, q, round, rows, chunk, dst);
  for (int i = 0; ok && i < n; i++) {
    ok = ts_shard_put(w, &st[i], dst[i], d);
    *bytes += st[i].bytes;
  }
  free(dst[0]);
  free(dst[1]);
  free(rows);
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

static bool write_all(ts_arena *a, const ts_source *s, const ts_quant *q, ts_round round, ts_shard_writer *w,
                      int64_t *bytes, ts_diag *d) {
  const ts_model_param *p;
  size_t n;
  TS_TRY(ts_model_params(a, &s->config, &p, &n, d));
  TS_TRY(ts_params_check(s, p, n, d));
  size_t *order = param_order(a, s, p, n);
  ts_progress progress;
  ts_progress_begin(&progress, "quantize", n);
  for (size_t i = 0; i < n; i++) {
    if (ts_interrupted()) return ts_refuse(d, "interrupted", "interrupted");
    TS_TRY(write_param(s, &p[order[i]], q, round, w, bytes, d));
    ts_progress_step(&progress, i + 1, p[order[i]].name);
  }
  ts_progress_end(&progress, "done");
  return ts_shard_close(w, source_elements(s), d);
}

bool ts__params_write(const ts_source *s, const ts_quant *q, ts_round round, const char *dir, int64_t *bytes,
                      ts_diag *d) {
  ts_arena *a = ts_arena_new("params");
  ts_shard_writer *w = ts_shard_writer_new(dir, TS_SHARD_CAP);
  *bytes = 0;
  bool ok = write_all(a, s, q, round, w, bytes, d);
  ts_shard_writer_free(w);
  ts_arena_free(a);
  return ok;
}
