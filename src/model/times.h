// Expected times of passes (times.c).
#ifndef TS_MODEL_TIMES_H
#define TS_MODEL_TIMES_H

#include "runtime/plan.h"
#include "steps.h"

typedef struct ts__times_of {
  const char *arch;  // of GPUs: a row of rates.def
  int sms;
  const ts_model_config *config;
  const ts_quant *quant;
  const ts__buffers *buffers;
  const ts_model_param *params;
  size_t nparams;
  int64_t chunk;
} ts__times_of;
// Sets the times of n phases, the last of which is the head and has none; steps: what theirs were made from. A GPU without a row has no times.
void ts__phase_times(ts_arena *a, const ts__times_of *t, ts_plan_phase *f, const ts__step *const steps[], int n);

#endif
