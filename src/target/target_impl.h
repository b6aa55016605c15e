// target, inside: the tables of x86 features and processors, and what this machine is.
#ifndef TS_TARGET_IMPL_H
#define TS_TARGET_IMPL_H

#include "target/target.h"

typedef struct ts__feature {
  const char *name;
  uint32_t leaf, subleaf;
  int reg, bit, state;
  const char *needs;  // separated by spaces
} ts__feature;
enum { TS__FEATURES = 64 };  // room in a set
typedef uint64_t ts__set;    // bit i: row i of features.def
extern const ts__feature ts__features[];
extern const int ts__nfeatures;
int ts__feature_find(const char *name, size_t n);  // row, or -1

// What this processor and its system offer; 0 where it is not x86-64.
ts__set ts__host_features(void);
// Name of this machine's row in archs.def by vendor, family and model, or NULL.
const char *ts__host_model(void);
void ts__host_product(char *out, size_t n);
// Cores, threads and cache sizes usable by this process.
void ts__host_topology(ts_target *t);

// --- GPUs (gpu_target.c, gpu_host.c) -------------------------------------------------------------------------------------
bool ts__gpu_parse(const char *text, ts_target *t, ts_diag *d) TS_WARN_UNUSED;  // text begins with "cuda"
void ts__gpu_print(ts_text *out, const ts_target *t);
bool ts__gpu_runs_here(const ts_target *t, ts_diag *d) TS_WARN_UNUSED;
// Facts of GPU `ordinal` as its driver tells them, with arch left empty. The driver is asked once a process, in a child.
bool ts__gpu_host(int ordinal, ts_target *t, ts_diag *d) TS_WARN_UNUSED;

#endif
