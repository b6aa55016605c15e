// The kernels of a build: which variant and schedule serve each workload, compiled.
#ifndef TS_MODEL_KERNELS_H
#define TS_MODEL_KERNELS_H

#include "codegen/codegen.h"
#include "steps.h"

typedef struct ts__kernel_row {
  const char *text;  // workload
  ts__phase phase;   // first that uses it
  ts_spec spec;
  const char *weight;   // first parameter that it reads as `w`, or NULL
  const char *variant;  // "" is the reference
  const char *served;   // "exact", "nearest", "default"
  const char *record;   // what the store says of it, ""
  double expected_us;   // 0: unknown
  const char *trace;    // schedule as text
  const ts_func *func;  // scheduled
  ts_unit unit;         // of a native template, else bytes NULL; func then says its parameters only
  const ts_func *pack;  // or NULL
  ts_object object, pack_object;
} ts__kernel_row;
typedef struct ts__kernels {
  size_t n;
  ts__kernel_row *row;
} ts__kernels;
ts__kernel_row *ts__kernels_find(const ts__kernels *k, const char *text);  // NULL: none

typedef struct ts__kernel_opts {
  const ts_target *target;
  const char *store;     // path or NULL
  const char *numerics;  // permitted opt-in numerics
  const char *cache;     // folder of artifacts or NULL
} ts__kernel_opts;
// Choose and compile a kernel for every distinct workload of the steps of all phases (kernels.c).
bool ts__kernels_make(ts_arena *a, ts_ir *ir, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], const ts__kernel_opts *o, ts__kernels *out,
                      ts_diag *d) TS_WARN_UNUSED;

// The plan's text (plan.c).
typedef struct ts__plan_opts {
  const char *name;
  const ts_target *target;
  const ts_model_config *config;
  const ts_quant *quant;
  int64_t positions, chunk, active_vocab;
  ts_paging paging;
  bool synthetic;  // weights are drawn when the library is loaded
} ts__plan_opts;
bool ts__plan_text(const ts__plan_opts *o, const ts__step *const step[TS__PHASE__COUNT],
                   const size_t n[TS__PHASE__COUNT], const ts__kernels *k, ts_text *out, ts_diag *d) TS_WARN_UNUSED;

#endif
