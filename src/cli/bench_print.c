// What `tunesmith bench` prints: table, csv, md, json. Of several models the rows of a test stand together, each with its ratio to the first.
#include <jansson.h>
#include <math.h>

#include "cli/bench.h"
#include "cuda/cuda.h"

static size_t kv_bytes(const ts_plan *p) { return (size_t)p->kv_bytes * 2 * (size_t)p->layers; }

// Share of the bandwidth measured beside the test that its compulsory reads take; NAN when it does not apply.
static double bandwidth_share(const subject *s, const test *t) {
  const bench *b = s->bench;
  return t->decode && s->api == b->model[0].api ? t->speed.median * t->bytes_per_token / fmax(b->before, b->after) : NAN;
}

// --- json -----------------------------------------------------------------------------------------------------
static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *test_json(const subject *s, const test *t) {
  json_t *samples = json_array();
  for (int64_t r = 0; r < s->bench->samples; r++) json_array_append_new(samples, json_integer((json_int_t)t->ns[r]));
  json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "name", t->name, "kind", t->decode ? "tg" : "pp", "tokens",
                        (json_int_t)t->tokens, "depth", (json_int_t)t->depth, "unit", "tok/s", "median", t->speed.median, "ci_lo", t->speed.ci_lo,
                        "ci_hi", t->speed.ci_hi, "q1", t->speed.q1, "q3", t->speed.q3, "read_share", number(bandwidth_share(s, t)), "first_ms", number(t->decode ? NAN : t->first.median),
                        "samples_ns", samples);
  if (s != s->bench->model) json_object_update_new(o, json_pack("{s:f, s:f, s:f}", "ratio", t->ratio, "ratio_lo", t->ratio_lo, "ratio_hi", t->ratio_hi));
  return o;
}

static json_t *model_json(const subject *s) {
  const bench *b = s->bench;
  const ts_plan *p = ts_engine_plan(s->engine);
  json_t *tests = json_array();
  for (int i = 0; i < b->ntests; i++) json_array_append_new(tests, test_json(s, &s->tests[i]));
  const ts_cuda *gpu = ts_weights_gpu(ts_engine_weights(s->engine));
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:o, s:o, s:o}", "dir", s->dir, "model", p->name, "arch", p->arch, "quantization", p->quantization,
                   "schedule", ts__bench_schedule(p), "device", gpu ? gpu->name : "cpu", "threads", ts_pool_threads(ts_engine_pool(s->engine)), "weight_bytes",
                   (json_int_t)ts_weights_bytes(ts_engine_weights(s->engine)), "kv_bytes", (json_int_t)kv_bytes(p), "read_before_gbs",
                   number(b->before / 1e9), "read_after_gbs", number(b->after / 1e9), "tests", tests);
}

static void print_json(const bench *b) {
  json_t *o;
  if (b->nmodels > 1) {
    json_t *models = json_array();
    for (int i = 0; i < b->nmodels; i++) json_array_append_new(models, model_json(&b->model[i]));
    o = json_pack("{s:o}", "models", models);
  } else {
    o = model_json(b->model);
  }
  json_object_set_new(o, "command", json_string(b->command));
  json_dumpf(o, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(o);
}

// --- tables ---------------------------------------------------------------------------------------------------
static const char *const columns[] = {"model", "quantization", "weights MiB", "threads", "schedule", "test", "tok/s", "95% interval", "read share", "first ms", "ratio", "95% of ratio"};
enum { COLUMNS = TS_COUNTOF(columns), ALONE = COLUMNS - 2 };  // of one model there is no ratio
typedef char cells[COLUMNS][64];

static int columns_of(const bench *b) { return b->nmodels > 1 ? COLUMNS : ALONE; }

// The end of a folder's name tells it from others.
static const char *tail(const char *dir, size_t most) { return strlen(dir) > most ? dir + strlen(dir) - most : dir; }

static void row(const subject *s, const test *t, cells cell) {
  const bench *b = s->bench;
  const ts_plan *p = ts_engine_plan(s->engine);
  double share = bandwidth_share(s, t);
  memset(cell, 0, sizeof(cells));
  snprintf(cell[0], 64, "%.60s", b->nmodels > 1 ? tail(s->dir, 60) : p->name);
  snprintf(cell[1], 64, "%.60s", p->quantization);
  snprintf(cell[2], 64, "%.1f", (double)ts_weights_bytes(ts_engine_weights(s->engine)) / 1048576.0);
  snprintf(cell[3], 64, "%d", ts_pool_threads(ts_engine_pool(s->engine)));
  snprintf(cell[4], 64, "%s", ts__bench_schedule(p));
  snprintf(cell[5], 64, "%s", t->name);
  snprintf(cell[6], 64, "%.2f", t->speed.median);
  snprintf(cell[7], 64, "%.2f to %.2f", t->speed.ci_lo, t->speed.ci_hi);
  snprintf(cell[8], 64, isfinite(share) ? "%.0f %%" : "-", share * 100);
  snprintf(cell[9], 64, t->decode ? "-" : "%.2f", t->first.median);
  if (s == b->model) {
    snprintf(cell[10], 64, "1");
    return;
  }
  snprintf(cell[10], 64, "%.4f", t->ratio);
  snprintf(cell[11], 64, "%.4f to %.4f", t->ratio_lo, t->ratio_hi);
}

// Row k of all: a test's models together.
static void row_at(const bench *b, int k, cells cell) { row(&b->model[k % b->nmodels], &b->model[k % b->nmodels].tests[k / b->nmodels], cell); }

static void print_csv(const bench *b) {
  cells cell;
  ts_text t = {0};
  for (int i = 0; i < columns_of(b); i++) ts_text_addf(&t, "%s%s", i ? "," : "", columns[i]);
  for (int k = 0; k < b->ntests * b->nmodels; k++) {
    row_at(b, k, cell);
    for (int i = 0; i < columns_of(b); i++) {
      ts_text_add(&t, i ? "," : "\n");
      ts_text_add_csv(&t, cell[i]);
    }
  }
  puts(ts_text_str(&t));
  ts_text_free(&t);
}

static void print_table(const bench *b, bool markdown) {
  cells cell;
  int width[COLUMNS], n = columns_of(b);
  const char *edge = markdown ? "| " : "";
  for (int i = 0; i < n; i++) width[i] = (int)strlen(columns[i]);
  for (int k = 0; k < b->ntests * b->nmodels; k++) {
    row_at(b, k, cell);
    for (int i = 0; i < n; i++) width[i] = TS_MAX(width[i], (int)strlen(cell[i]));
  }
  for (int k = -2; k < b->ntests * b->nmodels; k++) {
    if (k == -1 && !markdown) continue;
    if (k >= 0) row_at(b, k, cell);
    printf("%s", edge);
    for (int i = 0; i < n; i++) {
      if (k == -1) printf("%.*s", width[i], "----------------------------------------------------------------");
      else printf(i < 2 ? "%-*s" : "%*s", width[i], k < 0 ? columns[i] : cell[i]);
      printf(i < n - 1 ? markdown ? " | " : "  " : markdown ? " |\n" : "\n");
    }
  }
  if (isfinite(b->before)) printf("\nmemory read beside it: %.1f GB/s before, %.1f GB/s after\n", b->before / 1e9, b->after / 1e9);
}

void ts__bench_print(const bench *b) {
  if (!strcmp(b->o.format, "json")) print_json(b);
  else if (!strcmp(b->o.format, "csv")) print_csv(b);
  else print_table(b, !strcmp(b->o.format, "md"));
}
