// safetensors: u64 header length, a JSON header (tensor -> dtype, shape, data_offsets), data. Single files and sharded
// directories.
#include <stdlib.h>

#include "model_impl.h"

#define HEADER_LIMIT (100u << 20)

static const struct dtype_row {
  const char *name;
  ts_wtype type;  // TS_W__COUNT: known size, but not a type of weights
  int64_t bytes;
} dtypes[] = {
    {"F32", TS_W_F32, 4},    {"F16", TS_W_F16, 2},    {"BF16", TS_W_BF16, 2},      {"BOOL", TS_W__COUNT, 1},
    {"U8", TS_W__COUNT, 1},  {"I8", TS_W__COUNT, 1},  {"F8_E5M2", TS_W__COUNT, 1}, {"F8_E4M3", TS_W__COUNT, 1},
    {"I16", TS_W__COUNT, 2}, {"U16", TS_W__COUNT, 2}, {"I32", TS_W__COUNT, 4},     {"U32", TS_W__COUNT, 4},
    {"I64", TS_W__COUNT, 8}, {"U64", TS_W__COUNT, 8}, {"F64", TS_W__COUNT, 8},
};

static bool bad(const char *file, const char *tensor, ts_diag *d, const char *fact) {
  return ts_refuse(d, "bad-safetensors", "%s: tensor '%s': %s", file, tensor, fact);
}

// "shape": at most four sizes whose product times `width` does not overflow.
static bool read_shape(const char *file, const json_t *o, ts_source_tensor *t, int64_t width, ts_diag *d) {
  const json_t *shape = json_object_get(o, "shape");
  if (!json_is_array(shape)) return bad(file, t->name, d, "\"shape\" is not a list");
  if (json_array_size(shape) > TS_COUNTOF(t->shape)) return bad(file, t->name, d, "more than four dimensions");
  int64_t bytes = width;
  for (size_t i = 0; i < json_array_size(shape); i++) {
    const json_t *v = json_array_get(shape, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
      return bad(file, t->name, d, "\"shape\" holds a value that is not a size");
    t->shape[t->ndim] = json_integer_value(v);
    if (__builtin_mul_overflow(bytes, t->shape[t->ndim++], &bytes)) return bad(file, t->name, d, "its size overflows");
  }
  t->bytes = (size_t)bytes;
  return true;
}

static bool read_offsets(const char *file, const json_t *o, ts_source_tensor *t, size_t data, ts_diag *d,
                         int64_t *begin) {
  const json_t *v = json_object_get(o, "data_offsets");
  if (!json_is_array(v) || json_array_size(v) != 2 || !json_is_integer(json_array_get(v, 0)) ||
      !json_is_integer(json_array_get(v, 1)))
    return bad(file, t->name, d, "\"data_offsets\" is not a pair of offsets");
  int64_t b = json_integer_value(json_array_get(v, 0)), e = json_integer_value(json_array_get(v, 1));
  if (b < 0 || e < b) return bad(file, t->name, d, "its data ends before it begins");
  if ((uint64_t)e > data) return bad(file, t->name, d, "its data lies outside the file");
  if ((size_t)(e - b) != t->bytes) return bad(file, t->name, d, "its data has not the size of its shape");
  *begin = b;
  return true;
}

static bool read_tensor(ts_arena *a, const char *file, const char *name, const json_t *o, const uint8_t *p, size_t n,
                        ts_source_tensor *t, ts_diag *d) {
  *t = (ts_source_tensor){.name = ts_arena_strdup(a, name)};
  const char *dtype = ts__js_str(o, "dtype");
  if (!dtype) return bad(file, name, d, "\"dtype\" is missing");
  for (size_t i = 0; i < TS_COUNTOF(dtypes); i++) {
    if (strcmp(dtypes[i].name, dtype)) continue;
    int64_t begin = 0;
    t->type = dtypes[i].type;
    TS_TRY(read_shape(file, o, t, dtypes[i].bytes, d));
    TS_TRY(read_offsets(file, o, t, n, d, &begin));
    t->data = p + begin;
    return true;
  }
  return ts_refuse(d, "bad-safetensors", "%s: tensor '%s': dtype '%s' is not known", file, name, dtype);
}

static int by_place(const void *x, const void *y) {
  const ts_source_tensor *a = *(const ts_source_tensor *const *)x, *b = *(const ts_source_tensor *const *)y;
  if (a->data != b->data) return a->data < b->data ? -1 : 1;
  return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

// The data must be covered exactly: no hole, no overlap, nothing after the last tensor.
static bool check_cover(ts_arena *a, const char *file, const ts_source_tensor *t, size_t count, const uint8_t *p,
                        size_t n, ts_diag *d) {
  const ts_source_tensor **order = ts_new_array(a, const ts_source_tensor *, count + 1);
  for (size_t i = 0; i < count; i++) order[i] = &t[i];
  qsort(order, count, sizeof *order, by_place);
  const uint8_t *at = p;
  for (size_t i = 0; i < count; i++) {
    if (order[i]->data < at) return bad(file, order[i]->name, d, "its data overlaps another tensor's");
    if (order[i]->data > at) return bad(file, order[i]->name, d, "there is a hole in front of its data");
    at += order[i]->bytes;
  }
  if (at != p + n)
    return ts_refuse(d, "bad-safetensors", "%s: %zu bytes after the last tensor", file, (size_t)(p + n - at));
  return true;
}

static bool read_header(ts_arena *a, const char *file, const json_t *header, const uint8_t *p, size_t n,
                        ts__tensors *out, ts_diag *d) {
  size_t first = out->n;
  const char *name;
  json_t *o;
  json_object_foreach((json_t *)header, name, o) {
    if (!strcmp(name, "__metadata__")) continue;
    ts_source_tensor t;
    if (!json_is_object(o)) return bad(file, name, d, "its entry is not an object");
    TS_TRY(read_tensor(a, file, name, o, p, n, &t, d));
    ts_vec_push(a, out, t);
  }
  return check_cover(a, file, out->p + first, out->n - first, p, n, d);
}

bool ts__safetensors_read(ts_arena *a, const char *file, const uint8_t *p, size_t n, ts__tensors *out, ts_diag *d) {
  uint64_t header = 0;
  if (n < 8) return ts_refuse(d, "bad-safetensors", "%s: %zu bytes are too few for a safetensors file", file, n);
  for (int i = 7; i >= 0; i--) header = header << 8 | p[i];
  if (header > HEADER_LIMIT || header > n - 8)
    return ts_refuse(d, "bad-safetensors", "%s: header of %llu bytes in a file of %zu", file,
                     (unsigned long long)header, n);
  json_t *o = ts__js_object(file, (const char *)p + 8, (size_t)header, d);
  if (!o) return false;
  bool ok = read_header(a, file, o, p + 8 + header, n - 8 - (size_t)header, out, d);
  json_decref(o);
  return ok;
}

// --- directories -------------------------------------------------------------------------------------------
// Map one file into the source and read its tensors.
static bool add_file(ts_arena *a, ts_source *s, const char *name, ts__tensors *out, ts_diag *d) {
  const char *path = ts_path_join(a, s->path, name);
  ts_map m;
  TS_TRY(ts_map_open(path, &m, d));
  ts_map *maps = ts_new_array(a, ts_map, s->nmaps + 1);
  if (s->nmaps) memcpy(maps, s->maps, sizeof *maps * (size_t)s->nmaps);
  maps[s->nmaps++] = m;
  s->maps = maps;
  return ts__safetensors_read(a, path, m.p, m.n, out, d);
}

static int by_name(const void *x, const void *y) {
  return strcmp(((const ts_source_tensor *)x)->name, ((const ts_source_tensor *)y)->name);
}

static ts_source_tensor *lookup(const ts__tensors *sorted, const char *name) {
  ts_source_tensor key = {.name = name};
  return sorted->n ? bsearch(&key, sorted->p, sorted->n, sizeof key, by_name) : NULL;
}

// A name in the index must be a plain file name: it is opened.
static bool plain_name(const char *s) { return s && *s && *s != '.' && !strchr(s, '/'); }

// One shard of the index: its tensors named by the weight map, in the map's order.
static bool add_shard(ts_arena *a, ts_source *s, const char *index, const json_t *map, const char *file,
                      ts__tensors *out, ts_diag *d) {
  ts__tensors here = {0};
  TS_TRY(add_file(a, s, file, &here, d));
  if (here.n) qsort(here.p, here.n, sizeof *here.p, by_name);
  const char *name;
  json_t *v;
  json_object_foreach((json_t *)map, name, v) {
    if (strcmp(json_string_value(v), file)) continue;
    const ts_source_tensor *t = lookup(&here, name);
    if (!t) return ts_refuse(d, "bad-safetensors", "%s: tensor '%s' is not in %s", index, name, file);
    ts_vec_push(a, out, *t);
  }
  return true;
}

static bool read_index(ts_arena *a, ts_source *s, const char *index, const json_t *o, ts__tensors *out, ts_diag *d) {
  const json_t *map = json_object_get(o, "weight_map");
  if (!json_is_object(map)) return ts_refuse(d, "bad-safetensors", "%s: \"weight_map\" is missing", index);
  TS_VEC(const char *) done = {0};
  const char *name;
  json_t *v;
  json_object_foreach((json_t *)map, name, v) {
    if (!plain_name(json_string_value(v)))
      return ts_refuse(d, "bad-safetensors", "%s: the file of tensor '%s' is not a plain file name", index, name);
  }
  json_object_foreach((json_t *)map, name, v) {
    const char *file = json_string_value(v);
    bool seen = false;
    for (size_t i = 0; i < done.n; i++) seen |= !strcmp(done.p[i], file);
    if (seen) continue;
    ts_vec_push(a, &done, ts_arena_strdup(a, file));
    TS_TRY(add_shard(a, s, index, map, file, out, d));
  }
  return true;
}

static bool read_sharded(ts_arena *a, ts_source *s, const char *index, ts__tensors *out, ts_diag *d) {
  char *text;
  size_t n;
  TS_TRY(ts_file_read(index, a, &text, &n, d));
  json_t *o = ts__js_object(index, text, n, d);
  if (!o) return false;
  bool ok = read_index(a, s, index, o, out, d);
  json_decref(o);
  return ok;
}

bool ts__safetensors_dir(ts_arena *a, ts_source *s, ts__tensors *out, ts_diag *d) {
  const char *index = ts_path_join(a, s->path, "model.safetensors.index.json");
  if (ts_file_exists(index)) return read_sharded(a, s, index, out, d);
  char **names;
  size_t n;
  TS_TRY(ts_dir_list(s->path, ".safetensors", a, &names, &n, d));
  const char *name = n == 1 ? names[0] : NULL;
  for (size_t i = 0; i < n; i++)
    if (!strcmp(names[i], "model.safetensors")) name = names[i];
  if (!name)
    return ts_refuse(d, "no-weights", "%s: %s", s->path,
                     n ? "several .safetensors files and no model.safetensors.index.json" : "no .safetensors file");
  TS_TRY(add_file(a, s, name, out, d));
  if (out->n) qsort(out->p, out->n, sizeof *out->p, by_name);
  return true;
}
