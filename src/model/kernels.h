// The kernels of a build: which variant and schedule serve each workload, compiled.
#ifndef TS_MODEL_KERNELS_H
#define TS_MODEL_KERNELS_H

#include "codegen/codegen.h"
#include "op/native.h"
#include "steps.h"

// Limits (limits.c): a template may not serve the calls of a workload that read a weight whose values break its limit.
typedef struct ts__ban {
  const char *text, *weight;
  const ts_native *native;
  const ts_native_limit *limit;  // which one, of which stored tensor, whose largest magnitude is this
  const char *tensor;
  double most;
} ts__ban;
typedef TS_VEC(ts__ban) ts__bans;

typedef struct ts__kernel_row {
  const char *text;      // workload; calls of one workload have one row, unless templates may not serve some of them
  ts__phase phase;       // first that uses it
  ts_spec spec;
  const ts__step *step;  // the first call
  bool apart;            // an earlier row is of the same workload
  const char *weight;    // the first parameter that the workload reads as `w`, or NULL
  const char *variant;  // "" is the reference
  const char *served;   // "exact", "nearest", "default"
  const char *record;   // what the store says of it, ""
  double expected_us;   // 0: unknown
  const char *trace;    // schedule as text
  const ts_native *native;  // whose point it is, or NULL
  ts_op_inst inst;          // of the variant, before schedules
  const ts_func *func;  // scheduled
  ts_unit unit;         // of a native template, else bytes NULL; func then says its parameters only
  const ts_func *pack;  // or NULL
  ts_object object, pack_object;
} ts__kernel_row;
typedef struct ts__kernels {
  size_t n;
  ts__kernel_row *row;
  ts__bans bans;  // as they were when the rows were made
} ts__kernels;
ts__kernel_row *ts__kernels_find(const ts__kernels *k, const ts__step *s);  // that serves the call; NULL: none

typedef struct ts__kernel_opts {
  const ts_target *target;
  const char *store;     // path or NULL
  const char *numerics;  // permitted opt-in numerics
  const char *cache;     // folder of artifacts or NULL
  const ts__bans *bans;
} ts__kernel_opts;
// Choose and compile a kernel for every distinct workload of the steps of all phases (kernels.c).
bool ts__kernels_make(ts_arena *a, ts_ir *ir, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], const ts__kernel_opts *o, ts__kernels *out,
                      ts_diag *d) TS_WARN_UNUSED;

// limits.c: is `name` a parameter of a kernel that is, or is a part of, a weight that a step passes (w: w, w_q, w_s)?
bool ts__is_weight_param(const ts__step_arg *w, const char *name);
// The argument of a call that a limit of its kernel speaks of, and which of the weight's stored tensors. False: of none.
bool ts__limit_find(const ts_op_inst *inst, const ts__step *s, const ts_native_limit *x, const ts__step_arg **arg, int *storage);
bool ts__banned(const ts__bans *b, const ts__step *s, const ts_native *t);
bool ts__banned_alike(const ts__bans *b, const ts__step *s, const ts__step *other);  // two calls of one workload: may the same serve them?
const char *ts__banned_names(ts_arena *a, const ts__bans *b, const ts__step *s);     // of a call: "mma.share64", separated by blanks
// Hold the limits of the chosen kernels against the weights that each call reads; what breaks one is added to bans. m: of all stored tensors;
// NULL: weights are drawn when the library is loaded.
bool ts__limits_check(ts_arena *a, const ts_model_config *c, const ts_quant *q, const ts__magnitudes *m, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], const ts__kernels *k, ts__bans *bans, ts_diag *d) TS_WARN_UNUSED;
void ts__limits_say(ts_arena *a, const ts__bans *b);  // a line for each template

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
