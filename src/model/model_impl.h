// Shared inside src/model.
#ifndef TS_MODEL_IMPL_H
#define TS_MODEL_IMPL_H

#include <jansson.h>

#include "model/model.h"

// --- json.c: reading JSON from outside ---------------------------------------------------------------------
// Parse an object; duplicate keys, other values and trailing text are refusals that name `file`. json_decref the
// result.
json_t *ts__js_object(const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
// Fields of an object. An absent or null field leaves *out alone (set the default before) unless `must`; a value of the
// wrong type or outside [lo, hi] refuses.
bool ts__js_int(const char *file, const json_t *o, const char *key, bool must, int64_t lo, int64_t hi, int64_t *out,
                ts_diag *d) TS_WARN_UNUSED;
bool ts__js_num(const char *file, const json_t *o, const char *key, bool must, double *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__js_bool(const char *file, const json_t *o, const char *key, bool *out, ts_diag *d) TS_WARN_UNUSED;
const char *ts__js_str(const json_t *o, const char *key);  // NULL unless a string
// The JSON form of a string, in quotes. False when it is not UTF-8 or holds a zero byte, which readers of JSON refuse.
bool ts__js_quote(ts_text *t, const char *s, size_t n, bool ascii);

// --- params.c: what was written --------------------------------------------------------------------------
typedef struct ts__magnitude {
  const char *tensor;  // stored floats
  double most;         // the largest magnitude; infinite where one is no number
} ts__magnitude;
typedef TS_VEC(ts__magnitude) ts__magnitudes;

// --- md5.c -------------------------------------------------------------------------------------------------
void ts__md5(const void *data, size_t n, uint8_t out[16]);

// --- config.c: token ids of config.json or generation_config.json ------------------------------------------
bool ts__config_tokens(const char *file, const json_t *o, ts_model_config *c, ts_diag *d) TS_WARN_UNUSED;

// --- arch.c ------------------------------------------------------------------------------------------------
typedef struct ts__arch {
  const char *name, *gguf;
  const char *qkv;  // last part of the fused projection's name
  bool qkv_bias;
  bool gguf_permuted;  // rows of q and k are stored for interleaved rotation
} ts__arch;
const ts__arch *ts__arch_find(const char *name);
const ts__arch *ts__arch_find_gguf(const char *name);
// Facts that hold between fields; `file` for messages.
bool ts__config_check(const char *file, const ts_model_config *c, ts_diag *d) TS_WARN_UNUSED;

// --- importers: append tensors, fill config and files ------------------------------------------------------
typedef TS_VEC(ts_source_tensor) ts__tensors;
bool ts__safetensors_read(ts_arena *a, const char *file, const uint8_t *p, size_t n, ts__tensors *out,
                          ts_diag *d) TS_WARN_UNUSED;
// Tensors of a directory: model.safetensors.index.json with its shards, else model.safetensors, else the only one
// there.
bool ts__safetensors_dir(ts_arena *a, ts_source *s, ts__tensors *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__gguf_read(ts_arena *a, const char *file, const uint8_t *p, size_t n, ts_source *s, ts_diag *d) TS_WARN_UNUSED;
bool ts__synthetic_open(ts_arena *a, const char *what, ts_source *s, ts_diag *d) TS_WARN_UNUSED;
// Rows of a tensor without data: random numbers, n values a row.
void ts__synthetic_rows(const ts_source_tensor *t, int64_t row, int64_t nrows, int64_t n, float *out);

typedef struct ts__gguf ts__gguf;
// tokenizer.json and tokenizer_config.json from the metadata of a GGUF file (gguf_tokenizer.c).
bool ts__gguf_tokenizer(ts_arena *a, const ts__gguf *g, ts_source *s, ts_diag *d) TS_WARN_UNUSED;

#endif
