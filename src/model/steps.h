// The steps of a model as values: what tasks and plans are made from.
#ifndef TS_MODEL_STEPS_H
#define TS_MODEL_STEPS_H

#include "model_impl.h"

typedef struct ts__buf_info {
  const char *name;
  ts_code type;
  int64_t per_row, fixed;  // elements
} ts__buf_info;
enum { TS__BUFS = 16 };
// The activation buffers of a kind of target.
typedef struct ts__buffers {
  int n;
  int tokens, logits;  // indices
  ts__buf_info buf[TS__BUFS];
} ts__buffers;

typedef enum ts__use {
  TS__READ,
  TS__WRITE,
  TS__UPDATE,
  TS__ROW,
  TS__WEIGHT,
  TS__COS,
  TS__SIN,
  TS__KEYS,
  TS__VALUES,
  TS__TABLE
} ts__use;
typedef struct ts__step_arg {
  const char *name;  // of the kernel's parameter; a quantized weight `w` is w, w_q, w_s or what packing makes of it
  ts__use use;
  int buf;             // READ, WRITE, UPDATE, ROW (one row of it): index of a buffer
  const char *weight;  // WEIGHT: parameter of the model
} ts__step_arg;

// Passes over the layers by their rows, then the head.
typedef enum ts__phase {
  TS__DECODE,
#define ROWS(name, text, rows) TS__##name,
#include "model/rows.def"
#undef ROWS
  TS__PREFILL,
  TS__HEAD,
  TS__PHASE__COUNT
} ts__phase;
const char *ts__phase_name(ts__phase p);
typedef struct ts__step {
  ts_spec spec;
  const char *text;  // of spec: equal text, same kernel
  int64_t layer;     // of the caches; 0 outside layers
  int nargs;
  const ts__step_arg *args;
} ts__step;
void ts__buffers_of(const ts_model_config *c, ts_api api, ts__buffers *out);
// The largest number of rows of a pass, and what it rounds rows up to. chunk: most rows of a prefill pass.
int64_t ts__phase_rows(ts__phase p, int64_t chunk);
int64_t ts__phase_multiple(ts__phase p, ts_api api);
// P: positions of the cache. paging: as ts_paging_extent made it; with pages, operators on caches are those named OP_paged, and read the
// table of pages as `table`. A phase that the target does not have has no steps.
bool ts__steps(ts_arena *a, const ts_model_config *c, const ts_quant *q, ts_api api, int64_t P, int64_t chunk, ts_paging paging,
               ts__phase phase, const ts__step **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

#endif
