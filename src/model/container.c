// Writing the parameter container: shards of raw bytes and their index, ndarray-cache.json.
#include <stdlib.h>

#include "model_impl.h"

// Records of one shard as JSON text, and its bytes while it is open.
typedef struct shard {
  ts_text records;
  uint8_t *data;
  int64_t size;
} shard;

struct ts_shard_writer {
  char *dir;
  int64_t cap;
  shard open;
  int nshards, ntensors;
  double bytes;
  ts_text index;  // records of the shards written
};

ts_shard_writer *ts_shard_writer_new(const char *dir, int64_t cap) {
  ts_shard_writer *w = calloc(1, sizeof *w);
  if (!w || !(w->open.data = malloc((size_t)cap)) || !(w->dir = strdup(dir))) abort();
  w->cap = cap;
  return w;
}

void ts_shard_writer_free(ts_shard_writer *w) {
  if (!w) return;
  ts_text_free(&w->open.records);
  ts_text_free(&w->index);
  free(w->open.data);
  free(w->dir);
  free(w);
}

static const char *dtype_name(ts_code c) {
  switch (c) {
    case TS_F16:
      return "float16";
    case TS_F32:
      return "float32";
    default:
      return "uint32";
  }
}

// f32 tensors keep their four bytes ("raw"); the others carry the mark that MLC's writer puts on every record, which
// means nothing for them.
static void add_record(shard *s, const ts_stored *t, int64_t offset) {
  ts_text *o = &s->records;
  ts_text_addf(o, "%s                {\n                    \"name\": ", o->n ? ",\n" : "");
  if (!ts__js_quote(o, t->name, strlen(t->name), true)) ts_text_add(o, "\"\"");
  ts_text_add(o, ",\n                    \"shape\": [\n");
  for (int i = 0; i < t->ndim; i++)
    ts_text_addf(o, "                        %lld%s\n", (long long)t->shape[i], i + 1 < t->ndim ? "," : "");
  ts_text_addf(
      o, "                    ],\n                    \"dtype\": \"%s\",\n                    \"format\": \"%s\",\n",
      dtype_name(t->type), t->type == TS_F32 ? "raw" : "f32-to-bf16");
  ts_text_addf(o, "                    \"nbytes\": %lld,\n                    \"byteOffset\": %lld\n                }",
               (long long)t->bytes, (long long)offset);
}

// Write one shard under the next number and note it in the index.
static bool write_shard(ts_shard_writer *w, const ts_text *records, const void *data, int64_t size, ts_diag *d) {
  ts_arena *a = ts_arena_new("shard");
  const char *name = ts_arena_printf(a, "params_shard_%d.bin", w->nshards);
  uint8_t sum[16];
  ts__md5(data, (size_t)size, sum);
  bool ok = ts_file_write(ts_path_join(a, w->dir, name), data, (size_t)size, d);
  ts_text_addf(&w->index,
               "%s        {\n            \"dataPath\": \"%s\",\n            \"format\": \"raw-shard\",\n            "
               "\"nbytes\": %lld,\n",
               w->nshards ? ",\n" : "", name, (long long)size);
  ts_text_addf(&w->index, "            \"records\": [\n%s\n            ],\n            \"md5sum\": \"%s\"\n        }",
               ts_text_str(records), ts_hex(a, sum, sizeof sum));
  w->nshards++;
  ts_arena_free(a);
  return ok;
}

static bool write_open(ts_shard_writer *w, ts_diag *d) {
  if (!w->open.size) return true;
  TS_TRY(write_shard(w, &w->open.records, w->open.data, w->open.size, d));
  ts_text_free(&w->open.records);
  w->open.records = (ts_text){0};
  w->open.size = 0;
  return true;
}

static bool write_alone(ts_shard_writer *w, const ts_stored *t, const void *data, ts_diag *d) {
  shard s = {0};
  add_record(&s, t, 0);
  bool ok = write_shard(w, &s.records, data, t->bytes, d);
  ts_text_free(&s.records);
  return ok;
}

bool ts_shard_put(ts_shard_writer *w, const ts_stored *t, const void *data, ts_diag *d) {
  w->ntensors++;
  w->bytes += (double)t->bytes;
  if (w->open.size + t->bytes >= w->cap) {
    if (2 * t->bytes >= w->cap) return write_alone(w, t, data, d);
    TS_TRY(write_open(w, d));
  }
  add_record(&w->open, t, w->open.size);
  memcpy(w->open.data + w->open.size, data, (size_t)t->bytes);
  w->open.size += t->bytes;
  return true;
}

// A number as Python prints a float: shortest digits that read back, never an exponent below 1e16.
static void add_float(ts_text *o, double v) {
  char s[64];
  if (v == (double)(int64_t)v && v < 1e15 && v > -1e15) {
    ts_text_addf(o, "%.1f", v);
    return;
  }
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(s, sizeof s, "%.*g", digits, v);
    if (strtod(s, NULL) == v) break;
  }
  ts_text_add(o, s);
}

bool ts_shard_close(ts_shard_writer *w, double source_elements, ts_diag *d) {
  TS_TRY(write_open(w, d));
  ts_text o = {0};
  ts_text_addf(&o, "{\n    \"metadata\": {\n        \"ParamSize\": %d,\n        \"ParamBytes\": ", w->ntensors);
  add_float(&o, w->bytes);
  ts_text_add(&o, ",\n        \"BitsPerParam\": ");
  add_float(&o, source_elements > 0 ? w->bytes * 8 / source_elements : 0);
  ts_text_addf(&o, "\n    },\n    \"records\": [\n%s\n    ]\n}", ts_text_str(&w->index));
  ts_arena *a = ts_arena_new("index");
  bool ok = ts_file_write(ts_path_join(a, w->dir, "ndarray-cache.json"), o.p, o.n, d);
  ts_arena_free(a);
  ts_text_free(&o);
  return ok;
}
