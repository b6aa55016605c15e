// A CUDA driver without a GPU, for tests: memory of the host, a clock that only kernels move, kernels that are C functions. Named by
// TUNESMITH_CUDA_DRIVER. The settings are words in TS_FAKE_CUDA:
//   devices=N          GPUs shown (1)
//   fault_at=T         the first "//host" kernel after this simulated time makes an illegal access
//   sms=N              multiprocessors (4)
//   pins=N             bits of the memory's bus, a megahertz of two transfers (0: not told)
//   room=MB            of memory, in a process; more is refused
//   init=E alloc=E load=E query=E graph=E   the call fails with this error; carveout=E   asking for all of the memory as shared memory does
//   launch=T         simulated time between kernels of a stream (0)
//   reads=T          what the kernel that measures the memory takes more than others (0)
//   tires=T:MHZ[:stays]   kernels that have run for T ns since nothing was asked for 50 ms run at this clock instead of 1980 MHz, and take longer; stays: rest does not help
//   op=silu:n:I        what kernels compute that are not told otherwise: y[n, I] = silu(x[n, 2 I])
//   op=product:n:N:K   y[n, N] = x[n, K] . w[N, K]^T, w f32; those of two buffers do also=silu:n:I then
//   blind              kernels compute nothing, and all results are taken for right: whole models can be tuned. How long a launch takes follows from its grid, unless its name says it
//   others=T           simulated duration of kernels that say nothing of it (20000)
//   wrong_after=N:WORD fault_after=N:WORD   after so many of their launches in a process kernels with this word in their names go wrong
//   sigint_step=N sigint_alone=N   after so many launches of short graphs (of others) the parent gets SIGINT, once: TS_FAKE_CUDA_ONCE is made then
// A module whose image begins with "//fake" says in words how its kernels behave:
//   ns=T      simulated duration of a launch (20000); near=T   the same in a graph of fewer than eight kernels, as in a model's step
//   calls=N then=T   after so many launches of such kernels they take this long
//   static=N  shared memory that it has beside what a launch gives; refused where both are more than 48 KiB, unless the driver was asked for more
//   remembers (what it made of its first operands, for each output), right, wrong (x instead), short (the last element left out), outside (writes behind y), input (writes to x), dirty (leaves something in
//   the workspace), fault (an illegal access, which loses the context), hang, refuse (cannot be launched), nograph (there is no memory for one), cold (slow when an operand
//   was the last launch's too)
// What NVRTC compiled says it in its entry's name: NAME_nsT_nearT; with _blocks these are for each block of the grid, with _turned in short
// graphs as if it had 60 less those blocks. _mixT: in graphs of several kernels; _fedT: where its first argument is what the launch before had last. _unfitN: with N blocks an illegal access in short
// graphs. _goneN: with N blocks the GPU is lost for good, and for all processes: TS_FAKE_CUDA_GONE is made.
// The libraries beside the driver are here too, when a folder that TUNESMITH_CUDA_LIBS names holds links of their names to this file: CUPTI
// (records of the kernels launched in streams; drop=N: every Nth is lost), NVML (watts=N throttle=N; cools=N: N times, then no more) and cuBLASLt (blas=T: a product takes this
// long; it knows two algorithms, the second twice as fast).
// One that begins with "//host N W D" is the function of its entry's name in the shared object TS_FAKE_CUDA_HOST, called as a kernel of a
// CPU (target/target.h) with the first N arguments, the workspace when W is 1, the dims when D is 1. The runtime's own kernels are here.
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cuda/cuda.h"
#include "runtime/cuda_impl.h"

#define API __attribute__((visibility("default")))

// --- settings ------------------------------------------------------------------------------------------------------------
static long setting(const char *text, const char *name, long otherwise) {
  size_t n = strlen(name);
  for (const char *p = text ? text : ""; (p = strstr(p, name)); p++)
    if (p[n] == '=') return strtol(p + n + 1, NULL, 10);
  return otherwise;
}
static long named(const char *text, const char *word, long otherwise) {
  const char *p = strstr(text, word);
  return p ? strtol(p + strlen(word), NULL, 10) : otherwise;
}
static long env(const char *name, long otherwise) { return setting(getenv("TS_FAKE_CUDA"), name, otherwise); }
static bool blind(void) {
  const char *text = getenv("TS_FAKE_CUDA");
  return text && strstr(text, "blind");
}

struct CUctx_st {
  int ignored;
};
struct CUmod_st {
  char text[4096];
};
struct CUfunc_st {
  struct CUmod_st *module;
  struct CUfunc_st *next;
  long dynamic;  // bytes of shared memory that a launch may give
  char name[128];
};
typedef struct launch_record {
  struct CUfunc_st *f;
  uint64_t arg[16];
  int n;
  unsigned blocks;
} launch_record;
struct CUgraph_st {
  launch_record *r;
  size_t n, cap;
};
struct CUgraphExec_st {
  struct CUgraph_st g;
};
struct CUstream_st {
  struct CUgraph_st *capture;
};
struct CUevent_st {
  uint64_t ns;
};
static uint64_t now_ns = 1000;
static CUresult lost;   // sticky
static bool hanging;
static uint64_t last_operand, last_result;
static bool beside;  // in a short graph
static bool among;   // in a graph of several kernels
static void record_kernel(const char *name, uint64_t start, uint64_t end);

#define ALIVE() \
  do {          \
    if (lost) return lost; \
  } while (0)

// --- devices -----------------------------------------------------------------------------------------------------------------
// Whether the file that a variable names is there; made: makes it, and whether that was the first time.
static bool marked(const char *variable, bool make) {
  const char *path = getenv(variable);
  int fd = path ? open(path, make ? O_CREAT | O_EXCL | O_WRONLY : O_RDONLY, 0600) : -1;
  if (fd >= 0) close(fd);
  return fd >= 0;
}
API CUresult cuInit(unsigned flags) { return (void)flags, marked("TS_FAKE_CUDA_GONE", false) ? 999 : (CUresult)env("init", 0); }
API CUresult cuGetErrorName(CUresult e, const char **text) {
  *text = e == 0 ? "CUDA_SUCCESS" : e == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : e == 100 ? "CUDA_ERROR_NO_DEVICE" : e == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_UNKNOWN";
  return 0;
}
API CUresult cuGetErrorString(CUresult e, const char **text) { return cuGetErrorName(e, text); }
API CUresult cuDeviceGetCount(int *n) { return *n = (int)env("devices", 1), 0; }
API CUresult cuDeviceGet(CUdevice *d, int ordinal) { return *d = ordinal, 0; }
API CUresult cuDeviceGetName(char *name, int n, CUdevice d) { return (void)d, snprintf(name, (size_t)n, "Fake GPU"), 0; }
API CUresult cuDeviceGetAttribute(int *v, int attribute, CUdevice d) {
  (void)d;
  switch (attribute) {
    case TS_CU_MAJOR: *v = (int)env("compute", 90) / 10; break;
    case TS_CU_MINOR: *v = (int)env("compute", 90) % 10; break;
    case TS_CU_SMS: *v = (int)env("sms", 4); break;
    case TS_CU_WARP: *v = 32; break;
    case TS_CU_MAX_THREADS: *v = 1024; break;
    case TS_CU_SM_THREADS: *v = 2048; break;
    case TS_CU_SM_BLOCKS: *v = 32; break;
    case TS_CU_SM_REGISTERS: *v = 65536; break;
    case TS_CU_BLOCK_SHARED: *v = 232448; break;
    case TS_CU_SM_SHARED: *v = 233472; break;
    case TS_CU_L2_BYTES: *v = 1 << 16; break;
    case TS_CU_CLOCK_KHZ: *v = 1980000; break;
    case TS_CU_MEMORY_KHZ: *v = 1000; break;
    case TS_CU_MEMORY_BITS: *v = (int)env("pins", 0); break;
    default: *v = 0;
  }
  return 0;
}
API CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d) { return (void)d, *n = (size_t)1 << 30, 0; }
API CUresult cuDeviceGetUuid(CUuuid *u, CUdevice d) { return (void)d, memset(u, 7, sizeof *u), 0; }
API CUresult cuDeviceGetPCIBusId(char *id, int n, CUdevice d) { return snprintf(id, (size_t)n, "0000:0%d:00.0", d), 0; }
API CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
  static struct CUctx_st one;
  return (void)d, *c = &one, 0;
}
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) { return (void)d, 0; }
API CUresult cuCtxSetCurrent(CUcontext c) { return (void)c, 0; }
API CUresult cuCtxSynchronize(void) { return lost; }

// --- memory ---------------------------------------------------------------------------------------------------------------------
static size_t used;
API CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) {
  ALIVE();
  if (env("alloc", 0)) return (CUresult)env("alloc", 0);
  if (env("room", 0) && used + n > (size_t)env("room", 0) << 20) return TS_CU_OUT_OF_MEMORY;
  void *m = aligned_alloc(256, (n + 511) / 256 * 256);
  if (!m) return TS_CU_OUT_OF_MEMORY;
  used += malloc_usable_size(m);
  memset(m, 0xCD, n);
  *p = (CUdeviceptr)(uintptr_t)m;
  return 0;
}
API CUresult cuMemFree_v2(CUdeviceptr p) {
  used -= malloc_usable_size((void *)(uintptr_t)p);
  return free((void *)(uintptr_t)p), 0;
}
API CUresult cuMemGetInfo_v2(size_t *a, size_t *t) { return *a = *t = (size_t)256 << 20, lost; }
// Addresses without memory: touching them ends the process, as it should be seen.
API CUresult cuMemGetAllocationGranularity(size_t *n, const CUmemProp *p, int option) { return (void)p, (void)option, *n = (size_t)env("granularity", 2 << 20), 0; }
API CUresult cuMemAddressReserve(CUdeviceptr *p, size_t n, size_t alignment, CUdeviceptr wish, unsigned long long flags) {
  (void)alignment, (void)wish, (void)flags;
  ALIVE();
  void *m = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return *p = (CUdeviceptr)(uintptr_t)m, m == MAP_FAILED ? TS_CU_OUT_OF_MEMORY : 0;
}
API CUresult cuMemAddressFree(CUdeviceptr p, size_t n) { return munmap((void *)(uintptr_t)p, n) ? TS_CU_INVALID_VALUE : 0; }
static long created;
API CUresult cuMemCreate(CUmemHandle *h, size_t n, const CUmemProp *p, unsigned long long flags) {
  (void)flags;
  ALIVE();
  if (p->type != 1 || p->place != 1 || n % (2 << 20)) return TS_CU_INVALID_VALUE;
  if (env("create", 0) && ++created >= env("create", 0)) return TS_CU_OUT_OF_MEMORY;
  return *h = n, 0;
}
API CUresult cuMemRelease(CUmemHandle h) { return (void)h, 0; }
API CUresult cuMemMap(CUdeviceptr p, size_t n, size_t offset, CUmemHandle h, unsigned long long flags) { return (void)p, (void)flags, offset || h != n ? TS_CU_INVALID_VALUE : lost; }
API CUresult cuMemSetAccess(CUdeviceptr p, size_t n, const CUmemAccess *a, size_t count) {
  if (count != 1 || a->flags != 3 || mprotect((void *)(uintptr_t)p, n, PROT_READ | PROT_WRITE)) return TS_CU_INVALID_VALUE;
  memset((void *)(uintptr_t)p, 0xCD, n);
  return 0;
}
API CUresult cuMemUnmap(CUdeviceptr p, size_t n) { return mprotect((void *)(uintptr_t)p, n, PROT_NONE) ? TS_CU_INVALID_VALUE : 0; }
API CUresult cuMemHostAlloc(void **p, size_t n, unsigned f) { return (void)f, *p = calloc(1, n), *p ? 0 : 2; }
API CUresult cuMemFreeHost(void *p) { return free(p), 0; }
API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *p, void *h, unsigned f) { return (void)f, *p = (CUdeviceptr)(uintptr_t)h, 0; }
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t n) {
  ALIVE();
  memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, n);
  return 0;
}
API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n) { return copy(to, (CUdeviceptr)(uintptr_t)from, n); }
API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n) { return copy((CUdeviceptr)(uintptr_t)to, from, n); }
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t n) { return copy(to, from, n); }
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s) { return (void)s, copy(to, (CUdeviceptr)(uintptr_t)from, n); }
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { return (void)s, copy(to, from, n); }
API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char v, size_t n) {
  ALIVE();
  memset((void *)(uintptr_t)to, v, n);
  return 0;
}
API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char v, size_t n, CUstream s) { return (void)s, cuMemsetD8_v2(to, v, n); }
API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned v, size_t n, CUstream s) {
  (void)s;
  ALIVE();
  for (size_t i = 0; i < n; i++) ((unsigned *)(uintptr_t)to)[i] = v;
  return 0;
}

// --- code -------------------------------------------------------------------------------------------------------------------------
API CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned n, CUjit_option *o, void **v) {
  ALIVE();
  if (env("load", 0) && strncmp(image, "//fake", 6) == 0) {
    for (unsigned i = 0; i < n; i++)
      if (o[i] == 5) snprintf(v[i], 64, "fake: this code is not liked\nmore");
    return (CUresult)env("load", 0);
  }
  *m = calloc(1, sizeof **m);
  snprintf((*m)->text, sizeof (*m)->text, "%.4000s", (const char *)image);
  return 0;
}
API CUresult cuModuleUnload(CUmodule m) { return free(m), 0; }
static struct CUfunc_st *functions;  // all that were asked for: what is recorded of a kernel names it when its module is gone
API CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  *f = calloc(1, sizeof **f);
  (*f)->module = m;
  (*f)->next = functions;
  functions = *f;
  snprintf((*f)->name, sizeof (*f)->name, "%s", name);
  return 0;
}
static long static_shared(const struct CUfunc_st *f) { return strncmp(f->module->text, "//fake", 6) == 0 ? setting(f->module->text, "static", 0) : 0; }
API CUresult cuFuncGetAttribute(int *v, int a, CUfunction f) { return *v = a == TS_CU_FUNC_REGISTERS ? 40 : a == TS_CU_FUNC_STATIC_SHARED ? (int)static_shared(f) : 0, 0; }
API CUresult cuFuncSetAttribute(CUfunction f, int a, int v) {
  if (a == TS_CU_FUNC_DYNAMIC_SHARED) f->dynamic = v;
  return a == TS_CU_FUNC_CARVEOUT ? (CUresult)env("carveout", 0) : 0;
}
static bool fits(const struct CUfunc_st *f, unsigned shared) { return shared <= f->dynamic || shared + static_shared(f) <= 48 << 10; }
API CUresult cuTensorMapEncodeTiled(CUtensorMap *m, int t, unsigned r, void *a, const uint64_t *d, const uint64_t *s, const uint32_t *b, const uint32_t *e, int i, int w, int l, int o) {
  (void)t, (void)r, (void)d, (void)s, (void)b, (void)e, (void)i, (void)w, (void)l, (void)o;
  m->opaque[0] = (uint64_t)(uintptr_t)a;
  return 0;
}

// --- kernels -----------------------------------------------------------------------------------------------------------------------
static uint64_t arg(void **args, int i) {
  uint64_t v;
  memcpy(&v, args[i], sizeof v);
  return v;
}
static float arg_float(void **args, int i) {
  float v;
  memcpy(&v, args[i], sizeof v);
  return v;
}
static uint32_t random_of(uint64_t i, uint64_t seed) {
  uint64_t h = (i + seed) * 0x9E3779B97F4A7C15u;
  for (int k = 0; k < 2; k++) h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
  return (uint32_t)(h >> 32);
}

static double element(const char *type, uint64_t p, uint64_t i) {
  if (strcmp(type, "f32") == 0) return ((float *)(uintptr_t)p)[i];
  if (strcmp(type, "f16") == 0) return ts_f32_from_f16(((uint16_t *)(uintptr_t)p)[i]);
  if (strcmp(type, "bf16") == 0) return ts_f32_from_bf16(((uint16_t *)(uintptr_t)p)[i]);
  if (strcmp(type, "f64") == 0) return ((double *)(uintptr_t)p)[i];
  if (strcmp(type, "i8") == 0) return ((int8_t *)(uintptr_t)p)[i];
  if (strcmp(type, "u8") == 0) return ((uint8_t *)(uintptr_t)p)[i];
  return strcmp(type, "i32") == 0 ? ((int32_t *)(uintptr_t)p)[i] : (double)((int64_t *)(uintptr_t)p)[i];
}

static void fill(const char *type, void **args) {
  uint64_t p = arg(args, 0), n = arg(args, 1), seed = arg(args, 2);
  if (n > 1 << 22) n = 1 << 12;  // only to keep the device busy
  for (uint64_t i = 0; i < n; i++) {
    uint32_t r = random_of(i, seed);
    if (strcmp(type, "b32") == 0) ((uint32_t *)(uintptr_t)p)[i] = r;
    else if (strcmp(type, "i32") == 0) ((uint32_t *)(uintptr_t)p)[i] = (uint32_t)(r * arg(args, 3) >> 32);
    else if (strcmp(type, "i64") == 0) ((uint64_t *)(uintptr_t)p)[i] = r * arg(args, 3) >> 32;
    else {
      float v = fmaf((float)(r >> 8) * 0x1p-24f, arg_float(args, 3), arg_float(args, 4));
      if (strcmp(type, "f32") == 0) ((float *)(uintptr_t)p)[i] = v;
      else if (strcmp(type, "f64") == 0) ((double *)(uintptr_t)p)[i] = v;
      else ((uint16_t *)(uintptr_t)p)[i] = type[0] == 'b' ? ts_bf16_from_f32(v) : ts_f16_from_f32(v);
    }
  }
}

static void compare(const char *type, void **args) {
  ts_cuda_difference *d = (ts_cuda_difference *)(uintptr_t)arg(args, 3);
  for (uint64_t i = 0; i < arg(args, 2); i++) {
    double x = element(type, arg(args, 0), i), y = element(type, arg(args, 1), i), e = fabs(x - y);
    if (x == y || (isnan(x) && isnan(y))) e = 0;
    if (isnan(e)) e = INFINITY;
    d->worst = fmax(d->worst, e);
    d->largest = fmax(d->largest, fabs(y));
    d->square += e * e;
    if (!isnan(y)) d->square_ref += y * y;
  }
}

static void same(void **args) {
  if (memcmp((void *)(uintptr_t)arg(args, 0), (void *)(uintptr_t)arg(args, 1), arg(args, 2)) != 0) *(uint32_t *)(uintptr_t)arg(args, 3) = 1;
}

// Cycles so far; with a clock, at which the next ones come.
static uint64_t cycles(uint64_t mhz) {
  static uint64_t at_ns, khz_ns, now = 1980;
  khz_ns += (now_ns - at_ns) * now;
  at_ns = now_ns;
  now = mhz ? mhz : now;
  return khz_ns / 1000;
}

static uint64_t tired(uint64_t ns) {
  static uint64_t busy_ns, asked_ns;
  const char *text = getenv("TS_FAKE_CUDA"), *at = text ? strstr(text, "tires=") : NULL;
  unsigned long long most, mhz;
  char how[8] = "";
  if (!at || sscanf(at, "tires=%llu:%llu:%7s", &most, &mhz, how) < 2) return ns;
  if (ts_now_ns() - asked_ns > 50000000 && strcmp(how, "stays") != 0) busy_ns = 0;
  asked_ns = ts_now_ns();
  busy_ns += ns;
  cycles(busy_ns > most ? mhz : 1980);
  return busy_ns > most ? ns * 1980 / mhz : ns;
}

static void clock_kernel(void **args) {
  uint64_t *p = (uint64_t *)(uintptr_t)arg(args, 0);
  p[0] = cycles(0);
  p[1] = now_ns;
  p[2] = 0;
}

// --- kernels of candidates ------------------------------------------------------------------------------------------------------
// The operator at work: where its output is, and how much.
// A compiled product comes in two kernels: sums into the workspace (x, w, workspace), and out of it (y, workspace).
static float *operator_run(const struct CUfunc_st *f, const uint64_t *a, int nargs, long *count) {
  const char *text = getenv("TS_FAKE_CUDA"), *op = text ? strstr(text, "op=") : NULL, *also = text ? strstr(text, "also=") : NULL;
  long n = 1, p = 1, q = 1;
  float *x = (float *)(uintptr_t)a[0], *y = (float *)(uintptr_t)a[1];
  if (op && !(also && nargs == 2 && !strstr(f->name, "_1")) && sscanf(op, "op=product:%ld:%ld:%ld", &n, &p, &q) == 3) {
    float *w = y;
    size_t name = strlen(f->name);
    if (name > 2 && strcmp(f->name + name - 2, "_1") == 0) return memcpy(x, y, sizeof *x * (size_t)(*count = n * p));
    y = (float *)(uintptr_t)a[2];
    for (long i = 0; i < n * p; i++) {
      y[i] = 0;
      for (long k = 0; k < q; k++) y[i] += x[i / p * q + k] * w[i % p * q + k];
    }
  } else {
    if (also) (void)sscanf(also, "also=silu:%ld:%ld", &n, &p);
    else if (op) (void)sscanf(op, "op=silu:%ld:%ld", &n, &p);
    for (long i = 0; i < n * p; i++) {
      float g = x[i / p * 2 * p + i % p], u = x[i / p * 2 * p + p + i % p];
      y[i] = g / (1 + expf(-g)) * u;
    }
  }
  *count = n * p;
  return y;
}

// --- kernels of the runtime, and of models whose code is in a shared object -------------------------------------------------------
static void host_parallel(const ts_kernel_rt *rt, void (*body)(void *env, int64_t begin, int64_t end), void *env, int64_t n) {
  (void)rt;
  body(env, 0, n);
}

static CUresult host_kernel(const launch_record *r) {
  static void *library;
  static const ts_kernel_rt rt = {.parallel = host_parallel, .threads = 1};
  int n = 0, w = 0, d = 0;
  void *buf[16];
  if (!library) library = dlopen(getenv("TS_FAKE_CUDA_HOST"), RTLD_NOW | RTLD_LOCAL);
  ts_kernel_fn f = NULL;
  if (library) *(void **)&f = dlsym(library, r->f->name);
  if (!f || sscanf(r->f->module->text, "//host %d %d %d", &n, &w, &d) != 3 || r->n != n + w + d) return 500;
  for (int i = 0; i < n + w; i++) buf[i] = (void *)(uintptr_t)r->arg[i];
  f(buf, d ? (const int64_t *)(uintptr_t)r->arg[n + w] : NULL, &rt);
  return 0;
}

static void runtime_kernel(const launch_record *r) {
  ts__gpu_state *s = (ts__gpu_state *)(uintptr_t)r->arg[0];
  if (strcmp(r->f->name, "tunesmith_set") == 0) {
    s->dims[0] = s->dims[2] = (int64_t)r->arg[1];
    s->dims[1] = (int64_t)r->arg[2];
    return;
  }
  const float *logits = (const float *)(uintptr_t)r->arg[1];
  int32_t best = -1;
  for (int32_t i = 0; i < (int32_t)r->arg[2]; i++)
    if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best])) best = i;
  // As the draw does: weights are multiples of 2^-40, and the reciprocal of the temperature is a float.
  if (!strcmp(r->f->name, "tunesmith_sample") && (!isfinite(1.0f / s->temperature) || (uint64_t)(0x1p40 * (double)s->top_p) == 0)) best = -1;
  *(int32_t *)(uintptr_t)s->tokens = best < 0 ? 0 : best;
  s->dims[1]++;
  s->emitted++;
  ((uint64_t *)(uintptr_t)s->ring)[(s->emitted - 1) & s->ring_mask] = s->emitted << 32 | (uint32_t)best;
}

// Whether a kernel has been launched more often than a setting N:WORD lets those with the word in their names.
static bool after(const char *name, const char *kernel, long *launches) {
  const char *text = getenv("TS_FAKE_CUDA"), *at = text ? strstr(text, name) : NULL;
  long most;
  char word[64];
  return at && sscanf(at + strlen(name), "=%ld:%63s", &most, word) == 2 && strstr(kernel, word) && ++*launches > most;
}

static uint64_t duration(const launch_record *r, const char *t) {
  const char *name = r->f->name;
  uint64_t ns = (uint64_t)setting(t, "ns", named(name, "_ns", env("others", 20000)));
  if (beside) ns = (uint64_t)setting(t, "near", named(name, "_near", (long)ns));
  static long counted;
  if (setting(t, "calls", 0) && ++counted > setting(t, "calls", 0)) ns = (uint64_t)setting(t, "then", (long)ns);
  if (blind() && !strstr(name, "_ns")) ns = 2000 + ts_hash64(&r->blocks, sizeof r->blocks, ts_hash64(name, strlen(name), beside)) % 18000;
  if (strstr(name, "_blocks")) ns *= beside && strstr(name, "_turned") ? 60 - r->blocks : r->blocks;
  if (among) ns = (uint64_t)named(name, "_mix", (long)ns);
  if (r->n && last_result == r->arg[0]) ns = (uint64_t)named(name, "_fed", (long)ns);
  last_result = r->n ? r->arg[r->n - 1] : 0;
  return ns;
}

// The result at y becomes what the first one there was.
static void remember(float *y, size_t n) {
  static struct {
    float *at, *first;
  } known[8];
  for (size_t i = 0; i < TS_COUNTOF(known); i++) {
    if (known[i].at == y) return (void)memcpy(y, known[i].first, n * sizeof *y);
    if (known[i].at) continue;
    known[i].at = y;
    known[i].first = memcpy(malloc(n * sizeof *y), y, n * sizeof *y);
    return;
  }
}

static CUresult behave(const launch_record *r) {
  if (strncmp(r->f->name, "tunesmith_", 10) == 0) return runtime_kernel(r), 0;
  if (strncmp(r->f->module->text, "//host", 6) == 0) {
    now_ns += 1000;
    if (env("fault_at", 0) && now_ns > (uint64_t)env("fault_at", 0)) return lost = TS_CU_ILLEGAL_ADDRESS, 0;
    return host_kernel(r);
  }
  const char *t = strncmp(r->f->module->text, "//fake", 6) == 0 ? r->f->module->text : "";
  long count = 0;
  static long wrong, faulty;
  uint64_t ns = duration(r, t);
  if (strstr(t, "refuse")) return 701;
  if (strstr(t, "fault") || after("fault_after", r->f->name, &faulty)) return lost = TS_CU_ILLEGAL_ADDRESS, 0;
  if (beside && named(r->f->name, "_unfit", 0) == (long)r->blocks) return lost = TS_CU_ILLEGAL_ADDRESS, 0;
  if (named(r->f->name, "_gone", 0) == (long)r->blocks) return (void)marked("TS_FAKE_CUDA_GONE", true), lost = TS_CU_ILLEGAL_ADDRESS, 0;
  if (strstr(t, "hang")) return hanging = true, 0;
  if (blind()) return now_ns += ns, 0;
  float *y = operator_run(r->f, r->arg, r->n, &count), *x = (float *)(uintptr_t)r->arg[0];
  if (strstr(t, "remembers")) remember(y, (size_t)count);
  if (strstr(t, "wrong")) memcpy(y, x, sizeof *y * (size_t)count);
  if (strstr(t, "short") || after("wrong_after", r->f->name, &wrong)) memset(&y[count - 1], 0xFF, sizeof *y);
  if (strstr(t, "outside")) y[count] = 1;
  if (strstr(t, "input")) x[3] += 1;
  if (strstr(t, "dirty")) *(uint32_t *)(uintptr_t)r->arg[r->n - 1] = 1;
  if (strstr(t, "cold") && last_operand == r->arg[1]) ns *= 10;
  last_operand = r->arg[1];
  now_ns += tired(ns);
  return 0;
}

// The kernels that probing times; what they are given means nothing here.
static bool probes(const char *name) {
  static const char *const names[] = {"empty", "dependent", "barrier", "copy", "read", "read_cached", "block"};
  for (size_t i = 0; i < TS_COUNTOF(names); i++)
    if (strcmp(names[i], name) == 0) return true;
  return strncmp(name, "fma_", 4) == 0 || strncmp(name, "mma_", 4) == 0 || strncmp(name, "wgmma_", 6) == 0;
}

// Kernels of this program itself, by name.
static bool known(const struct CUfunc_st *f, void **args) {
  const char *name = f->name;
  now_ns += 2000 + (strcmp(name, "read") == 0 ? (uint64_t)env("reads", 0) : 0);
  record_kernel(name, now_ns - 2000, now_ns);
  if (strncmp(name, "fill_", 5) == 0) fill(name + 5, args);
  else if (strncmp(name, "compare_", 8) == 0) blind() ? (void)0 : compare(name + 8, args);
  else if (strcmp(name, "same") == 0) blind() ? (void)0 : same(args);
  else if (strcmp(name, "clock") == 0) clock_kernel(args);
  else return probes(name);
  return true;
}

static CUresult run(CUfunction f, unsigned blocks, void **args, CUstream s, bool ours) {
  ALIVE();
  launch_record r = {.f = f, .blocks = blocks};
  if (!s || !s->capture) {
    if (ours && known(f, args)) return 0;
  }
  bool operands = args && args[0] && !probes(f->name);
  bool runtime = strncmp(f->name, "tunesmith_", 10) == 0;
  for (; operands && r.n < (runtime ? 3 : (int)TS_COUNTOF(r.arg)) && args[r.n]; r.n++)
    if (runtime && r.n == 2 && strcmp(f->name, "tunesmith_set")) r.arg[2] = *(uint32_t *)args[2];
    else r.arg[r.n] = arg(args, r.n);
  if (!s || !s->capture) {
    uint64_t start = now_ns;
    CUresult e = behave(&r);
    record_kernel(f->name, start, now_ns);
    now_ns += (uint64_t)env("launch", 0);
    return e;
  }
  struct CUgraph_st *g = s->capture;
  if (g->n == g->cap) {
    g->cap = g->cap ? 2 * g->cap : 64;
    g->r = realloc(g->r, g->cap * sizeof *g->r);
  }
  g->r[g->n++] = r;
  return 0;
}

static bool is_ours(const struct CUfunc_st *f) { return strncmp(f->module->text, ".version", 8) == 0 && (strstr(f->module->text, "fill_f32") || strstr(f->module->text, "entry read") || strstr(f->module->text, "operands[")); }

API CUresult cuLaunchKernel(CUfunction f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned shared, CUstream s, void **args, void **extra) {
  (void)b, (void)c, (void)d, (void)e, (void)g, (void)extra;
  return fits(f, shared) ? run(f, a, args, s, is_ours(f)) : TS_CU_INVALID_VALUE;
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **args, void **extra) { return (void)extra, fits(f, c->shared) ? run(f, c->gx, args, c->stream, is_ours(f)) : TS_CU_INVALID_VALUE; }

// --- streams, events, graphs -------------------------------------------------------------------------------------------------------
API CUresult cuStreamCreate(CUstream *s, unsigned f) { return (void)f, *s = calloc(1, sizeof **s), lost; }
API CUresult cuStreamDestroy_v2(CUstream s) { return free(s), 0; }
API CUresult cuStreamSynchronize(CUstream s) { return (void)s, lost; }
API CUresult cuStreamQuery(CUstream s) { return (void)s, lost ? lost : hanging ? TS_CU_NOT_READY : (CUresult)env("query", 0); }
API CUresult cuStreamBeginCapture_v2(CUstream s, int mode) {
  (void)mode;
  ALIVE();
  s->capture = calloc(1, sizeof *s->capture);
  return 0;
}
API CUresult cuStreamEndCapture(CUstream s, CUgraph *g) {
  *g = s->capture;
  s->capture = NULL;
  return lost;
}
#ifndef TS_FAKE_OLD  // a driver older than that
API CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long f) {
  (void)f;
  if (env("graph", 0)) return (CUresult)env("graph", 0);
  for (size_t i = 0; i < g->n; i++)
    if (strncmp(g->r[i].f->module->text, "//fake", 6) == 0 && strstr(g->r[i].f->module->text, "nograph")) return TS_CU_OUT_OF_MEMORY;
  *e = calloc(1, sizeof **e);
  (*e)->g = *g;
  g->r = NULL;
  return 0;
}
#endif
API CUresult cuGraphDestroy(CUgraph g) { return free(g->r), free(g), 0; }
API CUresult cuGraphExecDestroy(CUgraphExec e) { return free(e->g.r), free(e), 0; }
static long graph_launches;
API long fake_graph_launches(void) { return graph_launches; }
API CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
  (void)s;
  ALIVE();
  graph_launches++;
  CUresult r = 0;
  static long launched[2];
  const char *const when[] = {"sigint_alone", "sigint_step"};
  beside = e->g.n < 8;
  for (size_t i = 1; i < e->g.n; i++) among |= e->g.r[i].f != e->g.r[0].f;
  if (++launched[beside] == env(when[beside], 0) && marked("TS_FAKE_CUDA_ONCE", true)) kill(getppid(), SIGINT);
  for (size_t i = 0; i < e->g.n && !r; i++) {
    if (is_ours(e->g.r[i].f)) now_ns += 700;
    else r = behave(&e->g.r[i]);
  }
  beside = among = false;
  return r;
}
API CUresult cuEventCreate(CUevent *e, unsigned f) { return (void)f, *e = calloc(1, sizeof **e), lost; }
API CUresult cuEventDestroy_v2(CUevent e) { return free(e), 0; }
API CUresult cuEventRecord(CUevent e, CUstream s) { return (void)s, e->ns = now_ns, lost; }
API CUresult cuEventSynchronize(CUevent e) { return (void)e, lost; }
API CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) { return *ms = (float)((double)(to->ns - from->ns) / 1e6), lost; }

// --- CUPTI: records of kernels -------------------------------------------------------------------------------------------------------
typedef struct kernel_record {  // the fields of CUpti_ActivityKernel9 that are read
  uint32_t kind, pad[3];
  uint64_t start, end;
  char more[72];
  const char *name;
  char rest[48];
} kernel_record;
_Static_assert(offsetof(kernel_record, start) == 16 && offsetof(kernel_record, end) == 24 && offsetof(kernel_record, name) == 104, "as CUPTI lays it out");
static kernel_record records[8192];
static size_t nrecords;
static bool recording;
static void (*want_buffer)(uint8_t **buffer, size_t *size, size_t *n);
static void (*have_buffer)(CUcontext c, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

int cuptiActivityFlushAll(uint32_t flag);
static void record_kernel(const char *name, uint64_t start, uint64_t end) {
  static long count;
  if (!recording || (env("drop", 0) && ++count % env("drop", 0) == 0)) return;
  if (nrecords == TS_COUNTOF(records)) cuptiActivityFlushAll(0);
  records[nrecords++] = (kernel_record){.kind = 10, .start = start, .end = end, .name = name};
}
API int cuptiGetResultString(int r, const char **text) { return *text = r == 26 ? "CUPTI_ERROR_HARDWARE_BUSY" : "fake CUPTI says no", 0; }
API int cuptiGetTimestamp(uint64_t *ns) { return *ns = now_ns, 0; }
API int cuptiActivityEnable(int kind) { return recording = kind == 10, (int)env("cupti", 0); }
API int cuptiActivityDisable(int kind) { return (void)kind, recording = false, 0; }
API int cuptiActivityRegisterCallbacks(void (*request)(uint8_t **, size_t *, size_t *), void (*complete)(CUcontext, uint32_t, uint8_t *, size_t, size_t)) {
  want_buffer = request;
  have_buffer = complete;
  return 0;
}
API int cuptiActivityFlushAll(uint32_t flag) {
  (void)flag;
  for (size_t done = 0; done < nrecords;) {
    uint8_t *buffer;
    size_t size, ignored;
    want_buffer(&buffer, &size, &ignored);
    size_t n = size / sizeof *records < nrecords - done ? size / sizeof *records : nrecords - done;
    memcpy(buffer, records + done, n * sizeof *records);
    have_buffer(NULL, 0, buffer, size, n * sizeof *records);
    done += n;
  }
  nrecords = 0;
  return 0;
}
API int cuptiActivityGetNextRecord(uint8_t *buffer, size_t valid, void **record) {
  uint8_t *next = *record ? (uint8_t *)*record + sizeof *records : buffer;
  if (next >= buffer + valid) return 12;
  *record = next;
  return 0;
}

// --- NVML --------------------------------------------------------------------------------------------------------------------------------
API int nvmlInit_v2(void) { return 0; }
API int nvmlShutdown(void) { return 0; }
API int nvmlSystemGetDriverVersion(char *v, unsigned n) { return snprintf(v, n, "580.1"), 0; }
API int nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *d) { return (void)id, *d = (nvmlDevice_t)&now_ns, 0; }
API int nvmlDeviceGetClockInfo(nvmlDevice_t d, int clock, unsigned *mhz) { return (void)d, *mhz = clock == 1 ? 1980 : 2619, 0; }
API int nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *mw) { return (void)d, *mw = (unsigned)env("watts", 300) * 1000, 0; }
API int nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned *c) { return (void)d, (void)sensor, *c = 45, 0; }
API int nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *r) {
  static long asked;
  return (void)d, *r = asked++ < env("cools", LONG_MAX) ? (unsigned long long)env("throttle", 0) : 0, 0;
}

// --- cuBLASLt: y = x . w^T in f32 ----------------------------------------------------------------------------------------------------------
typedef struct fake_layout {
  uint64_t rows, cols;
} fake_layout;
API int cublasLtCreate(cublasLtHandle *h) { return *h = (cublasLtHandle)&now_ns, 0; }
API int cublasLtMatmulDescCreate(void **d, int c, int s) { return *d = calloc(1, 8), c == 68 && s == 0 ? 0 : 7; }
API int cublasLtMatmulDescDestroy(void *d) { return free(d), 0; }
API int cublasLtMatmulDescSetAttribute(void *d, int a, const void *v, size_t n) { return (void)d, (void)v, a == 3 && n == 4 ? 0 : 7; }
API int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  fake_layout *f = calloc(1, sizeof *f);
  *f = (fake_layout){rows, cols};
  return *l = f, type == 0 && ld == (int64_t)rows ? 0 : 7;
}
API int cublasLtMatrixLayoutDestroy(void *l) { return free(l), 0; }
API int cublasLtMatmulPreferenceCreate(void **p) { return *p = calloc(1, 8), 0; }
API int cublasLtMatmulPreferenceDestroy(void *p) { return free(p), 0; }
API int cublasLtMatmulPreferenceSetAttribute(void *p, int a, const void *v, size_t n) { return (void)p, (void)v, a == 1 && n == 8 ? 0 : 7; }
API int cublasLtMatmulAlgoGetHeuristic(cublasLtHandle h, void *desc, void *a, void *b, void *c, void *d, void *p, int wanted, void *results, int *found) {
  (void)h, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)p;
  *found = wanted < 2 ? wanted : 2;
  for (int i = 0; i < *found; i++) ((uint64_t *)results)[12 * i] = (uint64_t)i;
  return env("blas", 0) ? 0 : 15;
}
API int cublasLtMatmul(cublasLtHandle h, void *desc, const void *alpha, const void *w, void *lw, const void *x, void *lx, const void *beta, const void *c, void *lc, void *y, void *ly, const void *algo,
                       void *workspace, size_t bytes, CUstream s) {
  static struct CUmod_st module[2];
  static struct CUfunc_st f[2] = {{.module = &module[0], .name = "blas"}, {.module = &module[1], .name = "blas"}};
  (void)h, (void)desc, (void)alpha, (void)beta, (void)c, (void)lc, (void)lx, (void)lw, (void)ly, (void)workspace, (void)bytes;
  int which = (int)*(const uint64_t *)algo & 1;
  snprintf(module[which].text, sizeof module[which].text, "//fake right ns=%ld", env("blas", 0) / (which + 1));
  void *args[] = {&x, &w, &y, NULL};
  return run(&f[which], 1, args, s, false);
}
