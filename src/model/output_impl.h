// Pieces of the output directory.
#ifndef TS_MODEL_OUTPUT_IMPL_H
#define TS_MODEL_OUTPUT_IMPL_H

#include "model_impl.h"

// What tokenizer.json says of itself.
typedef struct ts__tokenizer_facts {
  int64_t size;  // ids are below this; 0: unknown
  bool byte_level, prepend_space, strip_space;
} ts__tokenizer_facts;
bool ts__tokenizer_facts_of(const ts_source *s, ts__tokenizer_facts *out, ts_diag *d) TS_WARN_UNUSED;

// mlc-chat-config.json (chat_config.c). name: "NAME-QUANT".
bool ts__chat_config_text(const ts_source *s, const char *name, const char *quant, int64_t max_seq_len,
                          int64_t prefill_chunk, ts_text *out, ts_diag *d) TS_WARN_UNUSED;
// All parameters, quantized, into the container at dir (params.c). *bytes: their size in memory. magnitudes: of their floats, made in a.
bool ts__params_write(ts_arena *a, const ts_source *s, const ts_quant *q, ts_rounding round, const char *dir, int64_t *bytes, ts__magnitudes *magnitudes,
                      ts_diag *d) TS_WARN_UNUSED;

// directory.c: a directory that appears whole or not at all.
typedef struct ts__staging {
  char *final_path, *path;  // malloc'ed
} ts__staging;
// Make an empty directory beside `final_path`. Refuses to replace something that is no model directory.
bool ts__staging_begin(ts__staging *s, const char *final_path, ts_diag *d) TS_WARN_UNUSED;
bool ts__staging_commit(ts__staging *s, ts_diag *d) TS_WARN_UNUSED;  // put it in place of what was there
void ts__staging_abandon(ts__staging *s);                            // accepts a committed one

#endif
