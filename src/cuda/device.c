// A device held by this process.
#include "cuda/cuda.h"

static bool fill(ts_cuda *g, ts_diag *d) {
  const ts_cuda_driver *cu = g->cu;
  int major = 0, minor = 0, l2 = 0;
  TS_TRY(ts_cuda_check(cu, cu->cuDeviceGetName(g->name, (int)sizeof g->name, g->device), d, "GPU %d", g->ordinal));
  TS_TRY(ts_cuda_check(cu, cu->cuDeviceGetAttribute(&major, TS_CU_MAJOR, g->device), d, "GPU %d", g->ordinal));
  TS_TRY(ts_cuda_check(cu, cu->cuDeviceGetAttribute(&minor, TS_CU_MINOR, g->device), d, "GPU %d", g->ordinal));
  TS_TRY(ts_cuda_check(cu, cu->cuDeviceGetAttribute(&g->sms, TS_CU_SMS, g->device), d, "GPU %d", g->ordinal));
  TS_TRY(ts_cuda_check(cu, cu->cuDeviceGetAttribute(&l2, TS_CU_L2_BYTES, g->device), d, "GPU %d", g->ordinal));
  if (cu->cuDeviceGetPCIBusId) (void)cu->cuDeviceGetPCIBusId(g->pci, (int)sizeof g->pci, g->device);
  g->compute = major * 10 + minor;
  g->l2_bytes = l2;
  return true;
}

bool ts_cuda_open(int ordinal, ts_cuda *out, ts_diag *d) {
  ts_cuda g = {.ordinal = ordinal, .cu = ts_cuda_driver_open(d)};
  int count = 0;
  if (!g.cu) return false;
  TS_TRY(ts_cuda_check(g.cu, g.cu->cuInit(0), d, "starting CUDA"));
  TS_TRY(ts_cuda_check(g.cu, g.cu->cuDeviceGetCount(&count), d, "counting GPUs"));
  if (ordinal < 0 || ordinal >= count) return ts_refuse(d, "no-gpu", "GPU %d asked for; the driver shows %d", ordinal, count);
  TS_TRY(ts_cuda_check(g.cu, g.cu->cuDeviceGet(&g.device, ordinal), d, "GPU %d", ordinal));
  TS_TRY(fill(&g, d));
  TS_TRY(ts_cuda_check(g.cu, g.cu->cuDevicePrimaryCtxRetain(&g.context, g.device), d, "GPU %d (%s)", ordinal, g.name));
  if (!ts_cuda_check(g.cu, g.cu->cuCtxSetCurrent(g.context), d, "GPU %d (%s)", ordinal, g.name)) {
    (void)g.cu->cuDevicePrimaryCtxRelease(g.device);
    return false;
  }
  *out = g;
  return true;
}

void ts_cuda_close(ts_cuda *g) {
  if (g->context) (void)g->cu->cuDevicePrimaryCtxRelease(g->device);
  *g = (ts_cuda){0};
}
