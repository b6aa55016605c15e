// Shared by the plan's printer and parser.
#ifndef TS_RUNTIME_PLAN_IMPL_H
#define TS_RUNTIME_PLAN_IMPL_H

#include "runtime/json.h"
#include "runtime/plan.h"

extern const char *const ts__phase_names[TS_PHASE__COUNT];
extern const char *const ts__source_names[TS_FROM__COUNT];
extern const char *const ts__scaling_names[3];

#endif
