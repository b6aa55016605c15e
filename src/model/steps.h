// The steps of a model as values: what tasks and plans are made from.
#ifndef TS_MODEL_STEPS_H
#define TS_MODEL_STEPS_H

#include "model_impl.h"

typedef enum ts__buf {
#define BUFFER(name, type, row, all) TS__BUF_##name,
#define STEP(scope, op, quantized, params, args)
#include "model/steps.def"
#undef STEP
#undef BUFFER
  TS__BUF__COUNT
} ts__buf;
typedef struct ts__buf_info {
  const char *name;
  ts_code type;
  int64_t per_row, fixed;  // elements
} ts__buf_info;

typedef enum ts__use {
  TS__READ,
  TS__WRITE,
  TS__UPDATE,
  TS__ROW,
  TS__WEIGHT,
  TS__COS,
  TS__SIN,
  TS__KEYS,
  TS__VALUES
} ts__use;
typedef struct ts__step_arg {
  const char *name;  // of the kernel's parameter; a quantized weight `w` is w, w_q, w_s or what packing makes of it
  ts__use use;
  ts__buf buf;         // READ, WRITE, UPDATE, ROW (one row of it)
  const char *weight;  // WEIGHT: parameter of the model
} ts__step_arg;

typedef enum ts__phase { TS__DECODE, TS__PREFILL, TS__HEAD, TS__PHASE__COUNT } ts__phase;
const char *ts__phase_name(ts__phase p);
typedef struct ts__step {
  ts_spec spec;
  const char *text;  // of spec: equal text, same kernel
  int64_t layer;     // of the caches; 0 outside layers
  int nargs;
  const ts__step_arg *args;
} ts__step;
// P: positions of the cache; chunk: most rows of a prefill pass.
void ts__buffers(const ts_model_config *c, ts__buf_info out[TS__BUF__COUNT]);
bool ts__steps(ts_arena *a, const ts_model_config *c, const ts_quant *q, int64_t P, int64_t chunk, ts__phase phase,
               const ts__step **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

#endif
