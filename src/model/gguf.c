// GGUF version 2 and 3, little-endian: metadata and tensors.
#include <stdlib.h>

#include "gguf_impl.h"

// A cursor over the file. A read outside sets `bad` and yields zeros.
typedef struct cursor {
  const char *file;
  const uint8_t *p, *cur, *end;
  bool bad;
} cursor;

static uint64_t take(cursor *c, int bytes) {
  uint64_t v = 0;
  if (c->end - c->cur < bytes) {
    c->bad = true;
    return 0;
  }
  for (int i = bytes - 1; i >= 0; i--) v = v << 8 | c->cur[i];
  c->cur += bytes;
  return v;
}

static ts__gguf_str take_str(cursor *c) {
  uint64_t n = take(c, 8);
  if (c->bad || n > (uint64_t)(c->end - c->cur)) {
    c->bad = true;
    return (ts__gguf_str){"", 0};
  }
  ts__gguf_str s = {(const char *)c->cur, (size_t)n};
  c->cur += n;
  return s;
}

static bool truncated(const cursor *c, ts_diag *d) {
  return ts_refuse(d, "bad-gguf", "%s: the file ends inside its header (%zu bytes)", c->file, (size_t)(c->end - c->p));
}

static int width(ts__gguf_type t) {
  static const int8_t w[TS__GG__COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return w[t];
}

// Names are kept as C strings: without NUL and of sane length.
static const char *name_of(ts_arena *a, const cursor *c, ts__gguf_str s, size_t limit, ts_diag *d) {
  if (s.n && s.n <= limit && !memchr(s.p, 0, s.n)) return ts_arena_strndup(a, s.p, s.n);
  ts_refuse(d, "bad-gguf", "%s: a name of %zu bytes, or with a zero byte, at offset %zu", c->file, s.n,
            (size_t)((const uint8_t *)s.p - c->p));
  return NULL;
}

// The elements of an entry. Counts are checked against what is left before anything is allocated.
static bool read_elements(ts_arena *a, cursor *c, ts__gguf_kv *k, ts_diag *d) {
  uint64_t left = (uint64_t)(c->end - c->cur), least = k->type == TS__GG_STRING ? 8 : (uint64_t)width(k->type);
  if (k->count > left / least)
    return ts_refuse(d, "bad-gguf", "%s: '%s' claims %llu elements, more than the file holds", c->file, k->key,
                     (unsigned long long)k->count);
  k->data = c->cur;
  if (k->type != TS__GG_STRING) {
    c->cur += k->count * least;
    return true;
  }
  ts__gguf_str *str = ts_new_array(a, ts__gguf_str, k->count + 1);
  for (uint64_t i = 0; i < k->count && !c->bad; i++) str[i] = take_str(c);
  k->str = str;
  return !c->bad || truncated(c, d);
}

static bool read_kv(ts_arena *a, cursor *c, ts__gguf_kv *k, ts_diag *d) {
  ts__gguf_str key = take_str(c);
  uint64_t type = take(c, 4);
  if (c->bad) return truncated(c, d);
  *k = (ts__gguf_kv){.key = name_of(a, c, key, 65535, d), .count = 1};
  if (!k->key) return false;
  if (type == TS__GG_ARRAY) {
    k->array = true;
    type = take(c, 4);
    k->count = take(c, 8);
    if (c->bad) return truncated(c, d);
    if (type == TS__GG_ARRAY) return ts_refuse(d, "bad-gguf", "%s: '%s' is an array of arrays", c->file, k->key);
  }
  if (type >= TS__GG__COUNT)
    return ts_refuse(d, "bad-gguf", "%s: '%s' has unknown value type %llu", c->file, k->key, (unsigned long long)type);
  k->type = (ts__gguf_type)type;
  return read_elements(a, c, k, d);
}

static int by_key(const void *x, const void *y) {
  return strcmp(((const ts__gguf_kv *)x)->key, ((const ts__gguf_kv *)y)->key);
}

static bool read_metadata(ts_arena *a, cursor *c, uint64_t count, ts__gguf *g, ts_diag *d) {
  if (count > (uint64_t)(c->end - c->cur) / 13)
    return ts_refuse(d, "bad-gguf", "%s: %llu metadata entries claimed, more than the file holds", c->file,
                     (unsigned long long)count);
  ts__gguf_kv *kv = ts_new_array(a, ts__gguf_kv, count + 1);
  for (uint64_t i = 0; i < count; i++) TS_TRY(read_kv(a, c, &kv[i], d));
  qsort(kv, count, sizeof *kv, by_key);
  for (uint64_t i = 1; i < count; i++)
    if (!strcmp(kv[i - 1].key, kv[i].key))
      return ts_refuse(d, "bad-gguf", "%s: key '%s' occurs twice", c->file, kv[i].key);
  g->file = c->file;
  g->kv = kv;
  g->nkv = (size_t)count;
  return true;
}

// --- access ------------------------------------------------------------------------------------------------
const ts__gguf_kv *ts__gguf_find(const ts__gguf *g, const char *key) {
  ts__gguf_kv probe = {.key = key};
  return g->nkv ? bsearch(&probe, g->kv, g->nkv, sizeof probe, by_key) : NULL;
}

bool ts__gguf_is_int(const ts__gguf_kv *k) {
  return k->type != TS__GG_F32 && k->type != TS__GG_F64 && k->type != TS__GG_STRING;
}

int64_t ts__gguf_int_at(const ts__gguf_kv *k, uint64_t i) {
  int w = width(k->type);
  uint64_t v = 0;
  for (int b = w - 1; b >= 0; b--) v = v << 8 | k->data[i * (uint64_t)w + (uint64_t)b];
  bool is_signed = k->type == TS__GG_I8 || k->type == TS__GG_I16 || k->type == TS__GG_I32;
  return is_signed ? (int64_t)(v << (64 - 8 * w)) >> (64 - 8 * w) : (int64_t)v;
}

// The short decimal number a float was written from: 1e-05 rather than 9.99999974737875e-06.
static double shortest(float f) {
  char text[32];
  snprintf(text, sizeof text, "%.7g", (double)f);
  double v = strtod(text, NULL);
  return (float)v == f ? v : (double)f;
}

double ts__gguf_num_at(const ts__gguf_kv *k, uint64_t i) {
  float f;
  double x;
  if (k->type == TS__GG_F32) return memcpy(&f, k->data + i * 4, 4), shortest(f);
  if (k->type == TS__GG_F64) return memcpy(&x, k->data + i * 8, 8), x;
  return (double)ts__gguf_int_at(k, i);
}

static bool wrong_type(const ts__gguf *g, const char *key, ts_diag *d) {
  return ts_refuse(d, "bad-field", "%s: '%s' is missing or has another type than expected", g->file, key);
}

bool ts__gguf_int(const ts__gguf *g, const char *key, bool must, int64_t lo, int64_t hi, int64_t *out, ts_diag *d) {
  const ts__gguf_kv *k = ts__gguf_find(g, key);
  if (!k && !must) return true;
  if (!k || k->array || !ts__gguf_is_int(k)) return wrong_type(g, key, d);
  int64_t v = ts__gguf_int_at(k, 0);
  if (v < lo || v > hi)
    return ts_refuse(d, "bad-field", "%s: '%s' is %lld, outside %lld..%lld", g->file, key, (long long)v, (long long)lo,
                     (long long)hi);
  *out = v;
  return true;
}

bool ts__gguf_num(const ts__gguf *g, const char *key, bool must, double *out, ts_diag *d) {
  const ts__gguf_kv *k = ts__gguf_find(g, key);
  if (!k && !must) return true;
  if (!k || k->array || k->type == TS__GG_STRING) return wrong_type(g, key, d);
  *out = ts__gguf_num_at(k, 0);
  return true;
}

bool ts__gguf_flag(const ts__gguf *g, const char *key, bool otherwise) {
  const ts__gguf_kv *k = ts__gguf_find(g, key);
  return k && !k->array && k->type == TS__GG_BOOL ? ts__gguf_int_at(k, 0) != 0 : otherwise;
}

const char *ts__gguf_str_of(ts_arena *a, const ts__gguf *g, const char *key) {
  const ts__gguf_kv *k = ts__gguf_find(g, key);
  return k && !k->array && k->type == TS__GG_STRING ? ts_arena_strndup(a, k->str[0].p, k->str[0].n) : NULL;
}

// --- tensors -----------------------------------------------------------------------------------------------
static const struct {
  uint32_t id;
  ts_wtype type;
} types[] = {
#define WTYPE(name, gguf, st, elems, bytes) {gguf, TS_W_##name},
#include "model/wtype.def"
#undef WTYPE
};

static bool find_type(uint64_t id, ts_wtype *t) {
  for (size_t i = 0; i < TS_COUNTOF(types); i++)
    if (types[i].id == id) return *t = types[i].type, true;
  return false;
}

// Dimensions are stored fastest first. ne[0] is whole blocks; the size in bytes does not overflow.
static bool read_dims(cursor *c, ts_source_tensor *t, int64_t *ne0, ts_diag *d) {
  uint64_t ndim = take(c, 4);
  if (c->bad) return truncated(c, d);
  if (ndim < 1 || ndim > TS_COUNTOF(t->shape))
    return ts_refuse(d, "bad-gguf", "%s: tensor '%s' has %llu dimensions", c->file, t->name, (unsigned long long)ndim);
  t->ndim = (int)ndim;
  int64_t count = 1;
  for (int i = t->ndim - 1; i >= 0; i--) {
    int64_t ne = (int64_t)take(c, 8);
    t->shape[i] = ne;
    if (ne < 1 || __builtin_mul_overflow(count, ne, &count) || count > INT64_MAX / 512)
      return c->bad ? truncated(c, d)
                    : ts_refuse(d, "bad-gguf", "%s: tensor '%s' has a size that is no size", c->file, t->name);
  }
  *ne0 = t->shape[t->ndim - 1];
  t->bytes = (size_t)count;  // elements so far
  return true;
}

static bool read_tensor(ts_arena *a, cursor *c, ts_source_tensor *t, uint64_t *offset, ts_diag *d) {
  ts__gguf_str name = take_str(c);
  if (c->bad) return truncated(c, d);
  int64_t ne0 = 1;
  *t = (ts_source_tensor){.name = name_of(a, c, name, 255, d)};
  if (!t->name) return false;
  TS_TRY(read_dims(c, t, &ne0, d));
  uint64_t type = take(c, 4);
  *offset = take(c, 8);
  if (c->bad) return truncated(c, d);
  if (!find_type(type, &t->type))
    return ts_refuse(d, "bad-gguf", "%s: tensor '%s' has type %llu, which is not supported", c->file, t->name,
                     (unsigned long long)type);
  if (ne0 % ts_wtype_block(t->type))
    return ts_refuse(d, "bad-gguf", "%s: tensor '%s' has rows of %lld, not whole blocks of %lld", c->file, t->name,
                     (long long)ne0, (long long)ts_wtype_block(t->type));
  t->bytes = t->bytes / (size_t)ts_wtype_block(t->type) * (size_t)ts_wtype_block_bytes(t->type);
  return true;
}

// Tensors lie one after the other, each padded to the alignment.
static bool place_tensors(const cursor *c, ts_source_tensor *t, const uint64_t *offset, uint64_t count, uint64_t align,
                          ts_diag *d) {
  uint64_t head = (uint64_t)(c->cur - c->p), at = 0;
  head = (head + align - 1) / align * align;
  uint64_t size = (uint64_t)(c->end - c->p);
  for (uint64_t i = 0; i < count; i++) {
    if (offset[i] != at)
      return ts_refuse(d, "bad-gguf", "%s: tensor '%s' is at offset %llu where %llu follows", c->file, t[i].name,
                       (unsigned long long)offset[i], (unsigned long long)at);
    if (head > size || at > size - head || t[i].bytes > size - head - at)
      return ts_refuse(d, "bad-gguf", "%s: the data of tensor '%s' lies outside the file", c->file, t[i].name);
    t[i].data = c->p + head + at;
    at += (t[i].bytes + align - 1) / align * align;
  }
  return true;
}

static bool read_tensors(ts_arena *a, cursor *c, const ts__gguf *g, uint64_t count, ts_source *s, ts_diag *d) {
  int64_t align = 32;
  TS_TRY(ts__gguf_int(g, "general.alignment", false, 1, 1 << 20, &align, d));
  if (align & (align - 1))
    return ts_refuse(d, "bad-gguf", "%s: alignment %lld is not a power of two", c->file, (long long)align);
  if (count > (uint64_t)(c->end - c->cur) / 33)
    return ts_refuse(d, "bad-gguf", "%s: %llu tensors claimed, more than the file holds", c->file,
                     (unsigned long long)count);
  ts_source_tensor *t = ts_new_array(a, ts_source_tensor, count + 1);
  uint64_t *offset = ts_new_array(a, uint64_t, count + 1);
  for (uint64_t i = 0; i < count; i++) TS_TRY(read_tensor(a, c, &t[i], &offset[i], d));
  TS_TRY(place_tensors(c, t, offset, count, (uint64_t)align, d));
  s->tensors = t;
  s->ntensors = (size_t)count;
  return true;
}

bool ts__gguf_read(ts_arena *a, const char *file, const uint8_t *p, size_t n, ts_source *s, ts_diag *d) {
  cursor c = {file, p, p, p + n, false};
  if (n < 24 || memcmp(p, "GGUF", 4)) return ts_refuse(d, "bad-gguf", "%s: not a GGUF file", file);
  c.cur += 4;
  uint64_t version = take(&c, 4), ntensors = take(&c, 8), nkv = take(&c, 8);
  if (version != 2 && version != 3)
    return ts_refuse(d, "bad-gguf", "%s: GGUF version %llu%s is not supported (2 and 3 are)", file,
                     (unsigned long long)version, version > 0xffffff ? ", a big-endian file," : "");
  ts__gguf g;
  TS_TRY(read_metadata(a, &c, nkv, &g, d));
  TS_TRY(read_tensors(a, &c, &g, ntensors, s, d));
  TS_TRY(ts__gguf_config(a, &g, s, d));
  return ts__gguf_tokenizer(a, &g, s, d);
}
