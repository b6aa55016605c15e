// CUPTI's range profiler without a GPU, for tests. The counters belong to one context at a time: whoever holds a lock on the file that
// TS_FAKE_COUNTERS names has them, from cuptiRangeProfilerEnable to cuptiRangeProfilerDisable, and everybody else is told that they are busy.
// A configuration takes two passes; a call counts as two kernels, whose values
// are 1, 2, 3 ... and 3, 4, 5 ... in the order of the metrics.
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "cuda/cupti_abi.h"

#define API __attribute__((visibility("default")))
enum { HARDWARE_BUSY = 26, INVALID_OPERATION = 7, PASSES = 2, KERNELS = 2 };

static int held = -1, passes;

static int lock(void) {
  int fd = open(getenv("TS_FAKE_COUNTERS"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
    close(fd);
    fd = -1;
  }
  return fd;
}

API int cuptiProfilerInitialize(void *p) { return (void)p, 0; }
API int cuptiDeviceGetChipName(void *p) { return ((chip_name *)p)->name = "GH100", 0; }
API int cuptiProfilerGetCounterAvailability(void *p) {
  int fd = lock();
  if (fd < 0) return HARDWARE_BUSY;
  close(fd);
  return ((counter_availability *)p)->image_size = 16, 0;
}
API int cuptiProfilerHostInitialize(void *p) { return ((host_initialize *)p)->host = &passes, 0; }
API int cuptiProfilerHostDeinitialize(void *p) { return (void)p, 0; }
API int cuptiProfilerHostConfigAddMetrics(void *p) { return (void)p, 0; }
API int cuptiProfilerHostGetConfigImageSize(void *p) { return ((host_config_size *)p)->bytes = 8, 0; }
API int cuptiProfilerHostGetConfigImage(void *p) { return (void)p, 0; }
API int cuptiProfilerHostEvaluateToGpuValues(void *p) {
  host_values *v = p;
  if (v->index >= KERNELS) return INVALID_OPERATION;
  for (size_t i = 0; i < v->n; i++) v->values[i] = (double)(i + 1 + 2 * v->index);
  return 0;
}
API int cuptiRangeProfilerEnable(void *p) {
  if (held >= 0) return INVALID_OPERATION;
  held = lock();
  if (held < 0) return HARDWARE_BUSY;
  passes = 0;
  return ((range_enable *)p)->range = &held, 0;
}
API int cuptiRangeProfilerDisable(void *p) {
  (void)p;
  if (held < 0) return INVALID_OPERATION;
  close(held);
  held = -1;
  return 0;
}
API int cuptiRangeProfilerGetCounterDataSize(void *p) { return ((range_data_size *)p)->bytes = 64, held < 0 ? INVALID_OPERATION : 0; }
API int cuptiRangeProfilerCounterDataImageInitialize(void *p) { return (void)p, held < 0 ? INVALID_OPERATION : 0; }
API int cuptiRangeProfilerSetConfig(void *p) { return (void)p, held < 0 ? INVALID_OPERATION : 0; }
API int cuptiRangeProfilerStart(void *p) { return (void)p, held < 0 ? INVALID_OPERATION : 0; }
API int cuptiRangeProfilerGetCounterDataInfo(void *p) { return ((range_info *)p)->ranges = KERNELS, 0; }
API int cuptiRangeProfilerStop(void *p) { return ((range_stop *)p)->all = ++passes == PASSES, 0; }
API int cuptiRangeProfilerDecodeData(void *p) { return (void)p, passes == PASSES ? 0 : INVALID_OPERATION; }
