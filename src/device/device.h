// device: what this machine can do, measured: the ceilings that speeds are compared with.
#ifndef TS_DEVICE_H
#define TS_DEVICE_H

#include "base/base.h"
#include "cuda/cuda.h"
#include "target/target.h"

// Rows of ceilings.def: CEILING(name, unit, doc).
typedef enum ts_ceiling {
#define CEILING(name, unit, doc) TS_CEILING_##name,
#include "device/ceilings.def"
#undef CEILING
  TS_CEILING__COUNT
} ts_ceiling;
const char *ts_ceiling_name(ts_ceiling c);
const char *ts_ceiling_unit(ts_ceiling c);
const char *ts_ceiling_doc(ts_ceiling c);

typedef struct ts_probe {
  int threads;
  double value[TS_CEILING__COUNT];  // NAN: this machine does not have it
} ts_probe;
// Measure every ceiling with `threads` pinned threads (0: one per physical core); about `seconds` in all.
bool ts_device_probe(int threads, double seconds, ts_probe *out, ts_diag *d) TS_WARN_UNUSED;
// The same for a GPU target's device, in a child process of its own.
bool ts_device_probe_gpu(const ts_target *t, double seconds, ts_probe *out, ts_diag *d) TS_WARN_UNUSED;
// Memory read bandwidth of a device held by this process, bytes/s.
bool ts_device_gpu_read_bandwidth(const ts_cuda *g, double seconds, double *bytes_per_s, ts_diag *d) TS_WARN_UNUSED;
// "name value unit" lines, one a ceiling that is there.
void ts_probe_print(ts_text *out, const ts_probe *p);

// DRAM read bandwidth now, bytes/s: all threads read memory on huge pages, several times the last-level cache. Machines
// move between states within seconds, so that a bandwidth-bound timing wants this right before and right after it.
bool ts_device_read_bandwidth(int threads, double seconds, double *bytes_per_s, ts_diag *d) TS_WARN_UNUSED;

#endif
