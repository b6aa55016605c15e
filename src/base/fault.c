// Fault points: named places that a test makes fail on the K-th visit.
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base.h"

static char fault_name[64];
static uint64_t fault_at;
static bool fault_from;
static _Atomic uint64_t fault_count;
static _Atomic int fault_state;  // 0 not read yet, 1 off, 2 armed

void ts_fault_set(const char *spec) {
  atomic_store(&fault_count, 0);
  const char *colon = spec ? strchr(spec, ':') : NULL;
  if (!colon || (size_t)(colon - spec) >= sizeof fault_name) {
    atomic_store(&fault_state, 1);
    return;
  }
  memcpy(fault_name, spec, (size_t)(colon - spec));
  fault_name[colon - spec] = 0;
  char *end;
  fault_at = strtoull(colon + 1, &end, 10);
  fault_from = *end == '+';
  atomic_store(&fault_state, 2);
}

bool ts_fault(const char *name) {
  int state = atomic_load_explicit(&fault_state, memory_order_relaxed);
  if (state == 1) return false;
  if (state == 0) ts_fault_set(getenv("TS_FAULT"));
  if (atomic_load(&fault_state) != 2 || strcmp(name, fault_name) != 0) return false;
  uint64_t visit = atomic_fetch_add(&fault_count, 1) + 1;
  return fault_from ? visit >= fault_at : visit == fault_at;
}

uint64_t ts_fault_visits(const char *name) { return strcmp(name, fault_name) == 0 ? atomic_load(&fault_count) : 0; }
