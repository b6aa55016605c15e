// cuda: NVIDIA's driver and libraries, opened when asked for, so that one binary runs with and without them; a device; compiled
// kernels (target/gpu.h) loaded and launched on it. Nothing here needs NVIDIA's headers to build.
//
// CUDA and fork do not mix: a process that has opened a device must not expect its children to use it. Measuring workers open the
// device after the fork; their parent never does. Opening the libraries (below) is harmless before a fork.
//
// Where libraries are looked for: the folders of TUNESMITH_CUDA_LIBS (separated by colons; in each also */lib, as Python packages
// named nvidia hold them), the system's own search, $CUDA_HOME and $CUDA_PATH, /usr/local/cuda. The driver: TUNESMITH_CUDA_DRIVER
// (a file), else libcuda.so.1. Fault point: dlopen.
#ifndef TS_CUDA_H
#define TS_CUDA_H

#include "base/base.h"
#include "cuda/driver_abi.h"
#include "target/gpu.h"
#include "target/target.h"

// --- types and numbers of the interfaces used ------------------------------------------------------------------
typedef int CUresult;
typedef int CUdevice;
typedef int CUdevice_attribute;
typedef int CUfunction_attribute;
typedef int CUlimit;
typedef int CUjit_option;
typedef int CUstreamCaptureMode;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUuuid_st {
  char bytes[16];
} CUuuid;
typedef struct CUtensorMap_st {
  _Alignas(128) uint64_t opaque[16];
} CUtensorMap;
typedef struct CUlaunchAttribute_st {
  int id;
  char pad[4];
  union {
    char pad[64];
    int flag;
    struct {
      unsigned x, y, z;
    } cluster;
  } value;
} CUlaunchAttribute;
typedef struct CUlaunchConfig_st {
  unsigned gx, gy, gz, bx, by, bz, shared;
  CUstream stream;
  CUlaunchAttribute *attrs;
  unsigned nattrs;
} CUlaunchConfig;
typedef struct _nvrtcProgram *nvrtcProgram;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct cublasLtContext *cublasLtHandle;

enum {  // CUresult
  TS_CU_OK = 0, TS_CU_INVALID_VALUE = 1, TS_CU_OUT_OF_MEMORY = 2, TS_CU_NOT_READY = 600, TS_CU_ILLEGAL_ADDRESS = 700
};
enum {  // CUdevice_attribute
  TS_CU_MAX_THREADS = 1, TS_CU_WARP = 10, TS_CU_CLOCK_KHZ = 13, TS_CU_SMS = 16, TS_CU_MEMORY_KHZ = 36, TS_CU_MEMORY_BITS = 37, TS_CU_L2_BYTES = 38, TS_CU_SM_THREADS = 39, TS_CU_MAJOR = 75, TS_CU_MINOR = 76,
  TS_CU_SM_SHARED = 81, TS_CU_SM_REGISTERS = 82, TS_CU_BLOCK_SHARED = 97, TS_CU_SM_BLOCKS = 106
};
enum {  // CUfunction_attribute
  TS_CU_FUNC_STATIC_SHARED = 1, TS_CU_FUNC_LOCAL = 3, TS_CU_FUNC_REGISTERS = 4, TS_CU_FUNC_DYNAMIC_SHARED = 8,
  TS_CU_FUNC_CARVEOUT = 9, TS_CU_FUNC_ANY_CLUSTER = 14
};
enum {  // launch attributes, and others
  TS_CU_LAUNCH_COOPERATIVE = 2, TS_CU_LAUNCH_CLUSTER = 4, TS_CU_LAUNCH_DEPENDENT = 6,
  TS_CU_STREAM_NON_BLOCKING = 1, TS_CU_EVENT_DEFAULT = 0, TS_CU_EVENT_NO_TIMING = 2, TS_CU_CAPTURE_THREAD = 1, TS_CU_HOST_MAPPED = 2, TS_CU_LIMIT_PERSISTING_L2 = 6
};

// --- libraries (open.c): a table of functions each, opened once a process -----------------------------------------
// NULL with an ENVIRONMENT diagnostic: codes no-cuda-driver, no-nvrtc, no-cupti, no-nvml, no-cublaslt; the hint says what to install.
#define NEED(member, symbol, args) int(*member) args;
#define MAY(member, symbol, args) int(*member) args;
typedef struct ts_cuda_driver {
#include "cuda/driver.def"
} ts_cuda_driver;
typedef struct ts_cuda_nvrtc {
#include "cuda/nvrtc.def"
} ts_cuda_nvrtc;
typedef struct ts_cuda_cupti {
#include "cuda/cupti.def"
} ts_cuda_cupti;
typedef struct ts_cuda_nvml {
#include "cuda/nvml.def"
} ts_cuda_nvml;
typedef struct ts_cuda_cublaslt {
#include "cuda/cublaslt.def"
} ts_cuda_cublaslt;
#undef NEED
#undef MAY
const ts_cuda_driver *ts_cuda_driver_open(ts_diag *d) TS_WARN_UNUSED;
const ts_cuda_nvrtc *ts_cuda_nvrtc_open(ts_diag *d) TS_WARN_UNUSED;
const ts_cuda_cupti *ts_cuda_cupti_open(ts_diag *d) TS_WARN_UNUSED;
const ts_cuda_nvml *ts_cuda_nvml_open(ts_diag *d) TS_WARN_UNUSED;
const ts_cuda_cublaslt *ts_cuda_cublaslt_open(ts_diag *d) TS_WARN_UNUSED;

// TS_OK, or an ENVIRONMENT diagnostic with the driver's name and words for the error: "WHAT: CUDA_ERROR_... (...)", code
// "cuda-error"; out of memory has code "out-of-device-memory".
bool ts_cuda_check(const ts_cuda_driver *cu, CUresult result, ts_diag *d, const char *fmt, ...) TS_PRINTF(4, 5);

// --- a device (device.c) -------------------------------------------------------------------------------------------
typedef struct ts_cuda {
  const ts_cuda_driver *cu;
  int ordinal;
  CUdevice device;
  CUcontext context;  // the primary context, current in the thread that opened it
  int compute, sms;
  int64_t l2_bytes;
  char name[96], pci[32];
} ts_cuda;
// Start CUDA in this process and hold GPU `ordinal`. Refuses "no-gpu".
bool ts_cuda_open(int ordinal, ts_cuda *out, ts_diag *d) TS_WARN_UNUSED;
void ts_cuda_close(ts_cuda *g);  // accepts a zeroed object

// --- compiled kernels (kernel.c) -----------------------------------------------------------------------------------------
// An artifact of target/gpu.h on a device. Its code belongs to the object until it is unloaded. One that names a library (blas.c) needs that
// library on this machine: ENVIRONMENT no-cublaslt where it is not.
typedef struct ts_cuda_kernel ts_cuda_kernel;
ts_cuda_kernel *ts_cuda_kernel_load(const ts_cuda *g, const void *bytes, size_t n, ts_diag *d) TS_WARN_UNUSED;
void ts_cuda_kernel_unload(ts_cuda_kernel *k);  // accepts NULL
const ts_gpu_code *ts_cuda_kernel_code(const ts_cuda_kernel *k);
int ts_cuda_kernel_registers(const ts_cuda_kernel *k);       // of the heaviest entry, as the driver says
int64_t ts_cuda_kernel_local_bytes(const ts_cuda_kernel *k);  // of a thread: spills and local arrays
// Bytes of workspace, and how many of them are to be zero before the first launch. dims: values in the order of the artifact's dims.
bool ts_cuda_kernel_workspace(const ts_cuda_kernel *k, const int64_t *dims, int64_t *bytes, int64_t *zeroed, ts_diag *d) TS_WARN_UNUSED;

// The bound of positions that graphs are recorded for where t tokens are in a cache of `most`: powers of two, so that few graphs are needed and short
// texts do not pay for long ones.
int64_t ts_cuda_bound(int64_t t, int64_t most);

// A call: all launches of an artifact with their grids, arguments and tensor maps, ready to be issued any number of times.
typedef struct ts_cuda_call ts_cuda_call;
// buf: a device pointer for each buffer, then the workspace; dims: values, or upper bounds, that grids are computed from; dims_memory:
// the true values in device memory, one int64 each (may be 0 when there are no dims). Goes to a, and is valid as long as k.
ts_cuda_call *ts_cuda_call_new(const ts_cuda_kernel *k, ts_arena *a, const CUdeviceptr *buf, const int64_t *dims, CUdeviceptr dims_memory, ts_diag *d) TS_WARN_UNUSED;
int ts_cuda_call_launches(const ts_cuda_call *c);  // without those whose grid is empty; 1 for a library, at least
// Issue into a stream (also one that is being captured). first_dependent: whether the first launch may carry the attribute that lets
// it start before its predecessor in the stream has ended (later ones do when the artifact says so); a call at the start of a
// stream or behind something that is not a kernel says false.
bool ts_cuda_call_issue(const ts_cuda_call *c, CUstream stream, bool first_dependent, ts_diag *d) TS_WARN_UNUSED;

// --- records of kernels (activity.c): when each ran, as CUPTI says ------------------------------------------------------------
typedef struct ts_cuda_span {
  uint64_t start, end;  // ns on the device's clock
} ts_cuda_span;
// From here on kernels are recorded, until the end. ENVIRONMENT "no-cupti", or what CUPTI says. The process's only subscriber.
bool ts_cuda_activity_begin(ts_diag *d) TS_WARN_UNUSED;
// Forget the kernels that started until now.
bool ts_cuda_activity_restart(ts_diag *d) TS_WARN_UNUSED;
// The kernels since then, in order of their start, without the small kernels of helpers.c. Wait for the kernels first. *spans is valid
// until the next call. False when fewer than `expected` were recorded.
bool ts_cuda_activity_take(size_t expected, const ts_cuda_span **spans, size_t *n, ts_diag *d) TS_WARN_UNUSED;
void ts_cuda_activity_end(void);

// --- hardware counters (counters.c): what CUPTI's range profiler says of a call ----------------------------------------------
enum {
#define COUNTER(name, metric) TS_CUDA_COUNTER_##name,
#include "cuda/counters.def"
#undef COUNTER
  TS_CUDA_COUNTERS
};
const char *ts_cuda_counter_name(int i);
typedef struct ts_cuda_counters ts_cuda_counters;
// ENVIRONMENT "no-counters" where CUPTI lacks them, the system forbids them, which is usual, or another process has them for longer than a
// second; "no-cupti". Not while records are kept. What is open holds no counters: they are taken while a call is counted.
ts_cuda_counters *ts_cuda_counters_open(const ts_cuda *g, ts_diag *d) TS_WARN_UNUSED;
// Which of them CUPTI has for a chip ("GH100"); needs no GPU.
bool ts_cuda_counters_known(const char *chip, bool known[TS_CUDA_COUNTERS], ts_diag *d) TS_WARN_UNUSED;
void ts_cuda_counters_close(ts_cuda_counters *x);  // accepts NULL
// run issues the call and waits for it; it is run once for each pass. NAN: this GPU does not count it.
bool ts_cuda_count(ts_cuda_counters *x, bool (*run)(void *arg, ts_diag *d), void *arg, double values[TS_CUDA_COUNTERS], ts_diag *d) TS_WARN_UNUSED;

// --- state of a device (sensors.c): what NVML says -----------------------------------------------------------------------------
typedef struct ts_cuda_sensors {
  double watts, celsius;  // NAN: not known
  int64_t throttle;       // clocks event reasons; -1: not known
  int64_t sm_mhz, memory_mhz;  // -1: not known
} ts_cuda_sensors;
// Reasons that lower clocks under load: a power cap, and those that pass: heat, hardware slowdown, power brake.
enum { TS_CUDA_SLOWED = 0x0e0 | 0x008, TS_CUDA_THROTTLED = TS_CUDA_SLOWED | 0x004 };
// pci: of ts_cuda. Everything unknown where there is no NVML.
ts_cuda_sensors ts_cuda_sense(const char *pci);

// --- small kernels (helpers.c): data for measuring, comparison, clocks. PTX text, translated by the driver ----------------
typedef enum ts_cuda_helper {
#define HELPER(name) TS_CUDA_##name,
#include "cuda/helpers.def"
#undef HELPER
  TS_CUDA_HELPER__COUNT
} ts_cuda_helper;
typedef struct ts_cuda_helpers {
  const ts_cuda *g;
  CUmodule module;
  CUfunction f[TS_CUDA_HELPER__COUNT];
} ts_cuda_helpers;
bool ts_cuda_helpers_open(const ts_cuda *g, ts_cuda_helpers *out, ts_diag *d) TS_WARN_UNUSED;
void ts_cuda_helpers_close(ts_cuda_helpers *h);  // accepts a zeroed object
void ts_cuda_helpers_ptx(ts_text *out);
// n elements of type (f32 f16 bf16 f64): random, uniform in [add, add + mul).
bool ts_cuda_fill_real(const ts_cuda_helpers *h, const char *type, CUdeviceptr p, int64_t n, uint64_t seed, float mul, float add, ts_diag *d) TS_WARN_UNUSED;
// n elements of bytes (4 or 8) each: random, in [0, below).
bool ts_cuda_fill_index(const ts_cuda_helpers *h, int bytes, CUdeviceptr p, int64_t n, uint64_t seed, uint64_t below, ts_diag *d) TS_WARN_UNUSED;
// Random bits; writes whole words of four bytes, up to three bytes more than asked for.
bool ts_cuda_fill_bits(const ts_cuda_helpers *h, CUdeviceptr p, int64_t bytes, uint64_t seed, ts_diag *d) TS_WARN_UNUSED;
typedef struct ts_cuda_difference {
  double worst, largest, square, square_ref;  // max |got - want| (infinite where one is NaN alone), max |want|, sums of squares
} ts_cuda_difference;
// Merges the difference of n elements of type (also i8 u8 i32 i64) into *device_result, memory for a ts_cuda_difference.
bool ts_cuda_compare(const ts_cuda_helpers *h, const char *type, CUdeviceptr got, CUdeviceptr want, int64_t n, CUdeviceptr device_result, ts_diag *d) TS_WARN_UNUSED;
// Sets the u32 at device_result to 1 when the bytes differ.
bool ts_cuda_same(const ts_cuda_helpers *h, CUdeviceptr a, CUdeviceptr b, int64_t bytes, CUdeviceptr device_result, ts_diag *d) TS_WARN_UNUSED;
// Writes three u64 to p: multiprocessor clock, nanoseconds, multiprocessor. Two of them on one multiprocessor give its frequency.
bool ts_cuda_clock(const ts_cuda_helpers *h, CUstream stream, CUdeviceptr p, ts_diag *d) TS_WARN_UNUSED;
// Keeps the stream waiting until the u32 at flag is not 0, or ns have passed.
bool ts_cuda_block(const ts_cuda_helpers *h, CUstream stream, CUdeviceptr flag, uint64_t ns, ts_diag *d) TS_WARN_UNUSED;

#endif
