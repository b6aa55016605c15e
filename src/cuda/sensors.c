// Power, temperature and the reasons for lower clocks, from NVML.
#include <math.h>

#include "cuda/cuda.h"

enum { CLOCK_SM = 1, CLOCK_MEMORY = 2, SENSOR_GPU = 0 };  // nvmlClockType_t, nvmlTemperatureSensors_t

static const ts_cuda_nvml *started(const char *pci, nvmlDevice_t *device) {
  static const ts_cuda_nvml *nvml;
  static bool tried;
  if (!tried) {
    nvml = ts_cuda_nvml_open(NULL);
    if (nvml && nvml->nvmlInit()) nvml = NULL;
  }
  tried = true;
  return nvml && nvml->nvmlDeviceGetHandleByPciBusId(pci, device) == 0 ? nvml : NULL;
}

ts_cuda_sensors ts_cuda_sense(const char *pci) {
  ts_cuda_sensors s = {.watts = NAN, .celsius = NAN, .throttle = -1, .sm_mhz = -1, .memory_mhz = -1};
  nvmlDevice_t device = NULL;
  const ts_cuda_nvml *n = started(pci, &device);
  unsigned v;
  unsigned long long reasons;
  if (!n) return s;
  int (*why)(nvmlDevice_t, unsigned long long *) = n->nvmlDeviceGetCurrentClocksEventReasons ? n->nvmlDeviceGetCurrentClocksEventReasons : n->nvmlDeviceGetCurrentClocksThrottleReasons;
  if (why && why(device, &reasons) == 0) s.throttle = (int64_t)reasons;
  if (n->nvmlDeviceGetPowerUsage && n->nvmlDeviceGetPowerUsage(device, &v) == 0) s.watts = v / 1e3;
  if (n->nvmlDeviceGetTemperature && n->nvmlDeviceGetTemperature(device, SENSOR_GPU, &v) == 0) s.celsius = v;
  if (n->nvmlDeviceGetClockInfo(device, CLOCK_SM, &v) == 0) s.sm_mhz = v;
  if (n->nvmlDeviceGetClockInfo(device, CLOCK_MEMORY, &v) == 0) s.memory_mhz = v;
  return s;
}
