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
// Sets f->times; steps: what f->steps were made from. A GPU without a row, and the head, have none.
void ts__phase_times(ts_arena *a, const ts__times_of *t, const ts__step *steps, ts_plan_phase *f);

#endif
