// Metadata of a GGUF file, shared by gguf*.c.
#ifndef TS_MODEL_GGUF_IMPL_H
#define TS_MODEL_GGUF_IMPL_H

#include "model_impl.h"

typedef enum ts__gguf_type {
  TS__GG_U8,
  TS__GG_I8,
  TS__GG_U16,
  TS__GG_I16,
  TS__GG_U32,
  TS__GG_I32,
  TS__GG_F32,
  TS__GG_BOOL,
  TS__GG_STRING,
  TS__GG_ARRAY,
  TS__GG_U64,
  TS__GG_I64,
  TS__GG_F64,
  TS__GG__COUNT
} ts__gguf_type;
typedef struct ts__gguf_str {
  const char *p;  // not NUL-terminated
  size_t n;
} ts__gguf_str;
typedef struct ts__gguf_kv {
  const char *key;
  ts__gguf_type type;  // of an element, for arrays
  bool array;
  uint64_t count;           // 1 unless an array
  const uint8_t *data;      // scalars in the file's bytes
  const ts__gguf_str *str;  // strings
} ts__gguf_kv;
struct ts__gguf {
  const char *file;
  size_t nkv;
  const ts__gguf_kv *kv;  // sorted by key
};

const ts__gguf_kv *ts__gguf_find(const ts__gguf *g, const char *key);
// Element i of an integer, boolean or float entry.
bool ts__gguf_is_int(const ts__gguf_kv *k);
int64_t ts__gguf_int_at(const ts__gguf_kv *k, uint64_t i);
double ts__gguf_num_at(const ts__gguf_kv *k, uint64_t i);
// Scalars by key: absent leaves *out alone unless `must`; wrong type or range refuses.
bool ts__gguf_int(const ts__gguf *g, const char *key, bool must, int64_t lo, int64_t hi, int64_t *out,
                  ts_diag *d) TS_WARN_UNUSED;
bool ts__gguf_num(const ts__gguf *g, const char *key, bool must, double *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__gguf_flag(const ts__gguf *g, const char *key, bool otherwise);
// The string value or NULL; copied.
const char *ts__gguf_str_of(ts_arena *a, const ts__gguf *g, const char *key);
// Configuration from the metadata; the tensors of s are known by then (gguf_config.c).
bool ts__gguf_config(ts_arena *a, const ts__gguf *g, ts_source *s, ts_diag *d) TS_WARN_UNUSED;

#endif
