// The GPU of a model: opening it, memory on it, the runtime's own kernels.
#include <stdlib.h>

#include "runtime/cuda_impl.h"

#include "runtime/cuda_kernels.inc"

bool ts__gpu_check(const ts__gpu *g, CUresult r, const char *what, ts_diag *d) { return ts_cuda_check(g->g.cu, r, d, "%s", what); }
bool ts__gpu_enter(const ts__gpu *g, ts_diag *d) { return ts__gpu_check(g, g->g.cu->cuCtxSetCurrent(g->g.context), "using the GPU", d); }
bool ts__gpu_sync(const ts__gpu *g, const char *what, ts_diag *d) { return ts__gpu_check(g, g->g.cu->cuStreamSynchronize(g->stream), what, d); }

static bool right_gpu(const ts__gpu *g, const ts_plan *p, const char *file, ts_diag *d) {
  ts_target built;
  ts_diag unknown = {0};
  if (ts_target_parse(p->target, &built, &unknown) && strcmp(built.arch, p->gpu) == 0 && ts_target_gpu_runs(&built, g->g.compute)) return true;
  (void)ts_refuse(d, "wrong-gpu", "%s: built for GPUs of %s, this one (%s) is sm_%d", file, p->gpu, g->g.name, g->g.compute);
  ts_hint(d, "build the model with --target cuda on this machine");
  return false;
}

static bool load_entries(ts__gpu *g, ts_diag *d) {
  static const char *const names[TS__GPU_ENTRY__COUNT] = {"tunesmith_set", "tunesmith_greedy", "tunesmith_sample"};
  TS_TRY(ts__gpu_check(g, g->g.cu->cuModuleLoadDataEx(&g->module, g->g.compute >= 90 ? ptx_90 : ptx_80, 0, NULL, NULL), "loading the runtime's kernels", d));
  for (int i = 0; i < TS__GPU_ENTRY__COUNT; i++)
    TS_TRY(ts__gpu_check(g, g->g.cu->cuModuleGetFunction(&g->entry[i], g->module, names[i]), names[i], d));
  return true;
}

bool ts_engine_gpu(int *number, ts_diag *d) {
  const char *s = getenv("TUNESMITH_GPU");
  char *end;
  long n = s && *s ? strtol(s, &end, 10) : (end = "", 0);
  if (*end || n < 0 || n > 1023) return ts_refuse(d, "bad-option", "TUNESMITH_GPU is '%s', not the number of a GPU", s);
  *number = (int)n;
  return true;
}

static bool open_gpu(ts__gpu *g, const ts_plan *p, const char *file, ts_diag *d) {
  int number;
  TS_TRY(ts_engine_gpu(&number, d));
  if (!ts_cuda_open(number, &g->g, d)) {
    if (d && d->kind == TS_ENVIRONMENT && !strcmp(d->code, "no-cuda-driver")) {
      ts_diag why = *d;
      (void)ts_env_fail(d, "no-cuda-driver", "%s: built for NVIDIA GPUs (%s), and %s", file, p->gpu, why.message);
      ts_hint(d, "%s", *why.hint ? why.hint : "install NVIDIA's driver, or build the model with --target cpu");
    }
    return false;
  }
  TS_TRY(right_gpu(g, p, file, d));
  TS_TRY(ts__gpu_check(g, g->g.cu->cuStreamCreate(&g->stream, TS_CU_STREAM_NON_BLOCKING), "making a stream", d));
  return load_entries(g, d);
}

ts__gpu *ts__gpu_open(const ts_plan *p, const char *file, ts_diag *d) {
  ts__gpu *g = calloc(1, sizeof *g);
  if (!g) {
    (void)ts_env_fail(d, "out-of-memory", "no memory to hold a GPU");
    return NULL;
  }
  if (open_gpu(g, p, file, d)) return g;
  ts__gpu_close(g);
  return NULL;
}

void ts__gpu_close(ts__gpu *g) {
  if (!g) return;
  if (g->g.context) (void)g->g.cu->cuCtxSetCurrent(g->g.context);
  if (g->module) (void)g->g.cu->cuModuleUnload(g->module);
  if (g->stream) (void)g->g.cu->cuStreamDestroy(g->stream);
  ts_cuda_close(&g->g);
  free(g);
}

bool ts__gpu_launch(const ts__gpu *g, ts__gpu_entry e, unsigned blocks, unsigned threads, void **args, bool dependent, ts_diag *d) {
  CUlaunchAttribute early = {.id = TS_CU_LAUNCH_DEPENDENT, .value.flag = 1};
  CUlaunchConfig c = {.gx = blocks, .gy = 1, .gz = 1, .bx = threads, .by = 1, .bz = 1, .stream = g->stream, .attrs = &early, .nattrs = 1};
  CUresult r = dependent && g->g.compute >= 90 ? g->g.cu->cuLaunchKernelEx(&c, g->entry[e], args, NULL)
                                               : g->g.cu->cuLaunchKernel(g->entry[e], blocks, 1, 1, threads, 1, 1, 0, g->stream, args, NULL);
  return ts__gpu_check(g, r, "launching a kernel", d);
}

// --- memory ------------------------------------------------------------------------------------------------------------
bool ts__device_map(const ts__gpu *g, ts__device_memory *m, size_t n, const char *what, ts_diag *d) {
  *m = (ts__device_memory){0};
  if (!n) return true;
  CUresult r = g->g.cu->cuMemAlloc(&m->p, n);
  if (r == TS_CU_OUT_OF_MEMORY) {
    size_t available = 0, total = 0;
    (void)g->g.cu->cuMemGetInfo(&available, &total);
    (void)ts_env_fail(d, "out-of-device-memory", "%s: %.1f MB wanted, %.1f of %.1f MB are free on %s", what, (double)n / 1e6, (double)available / 1e6, (double)total / 1e6, g->g.name);
    ts_hint(d, "build the model with a smaller --max-seq-len or --prefill-chunk, or close what else uses the GPU");
    return false;
  }
  TS_TRY(ts__gpu_check(g, r, what, d));
  m->n = n;
  return true;
}

void ts__device_unmap(const ts__gpu *g, ts__device_memory *m) {
  if (m->p) (void)g->g.cu->cuMemFree(m->p);
  *m = (ts__device_memory){0};
}

bool ts__pinned_map(const ts__gpu *g, ts__pinned *m, size_t n, const char *what, ts_diag *d) {
  *m = (ts__pinned){0};
  TS_TRY(ts__gpu_check(g, g->g.cu->cuMemHostAlloc(&m->p, n, TS_CU_HOST_MAPPED), what, d));
  m->n = n;
  return true;
}

void ts__pinned_unmap(const ts__gpu *g, ts__pinned *m) {
  if (m->p) (void)g->g.cu->cuMemFreeHost(m->p);
  *m = (ts__pinned){0};
}
