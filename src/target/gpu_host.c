// The CUDA driver: where it is, and what it says about the GPUs. It is started in a child process only, since a process that has
// started CUDA can no longer fork workers that use it.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "target/gpu.h"
#include "target_impl.h"

void *ts_gpu_driver_open(ts_diag *d) {
  const char *named = getenv("TUNESMITH_CUDA_DRIVER");
  const char *file = named && *named ? named : "libcuda.so.1";
  void *h = ts_fault("dlopen") ? NULL : dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (h) return h;
  ts_env_fail(d, "no-cuda-driver", "no CUDA driver: %s cannot be opened", file);
  ts_hint(d, "install the NVIDIA driver (package nvidia-driver or libcuda1; inside a container, start it with its GPUs)");
  return NULL;
}

enum { MOST_GPUS = 16 };
typedef struct gpu_facts {
  char name[96], uuid[36], pci[20];
  int major, minor, sms, warp, max_threads, sm_threads, sm_blocks, sm_registers, block_shared, sm_shared, l2;
  size_t memory;
} gpu_facts;
typedef struct answer {  // of the child
  int count;
  bool old;           // the driver, that is why
  char message[200];  // not empty: why there is none
  gpu_facts gpu[MOST_GPUS];
} answer;

typedef struct driver {
  int (*init)(unsigned flags);
  int (*count)(int *n);
  int (*get)(int *device, int ordinal);
  int (*name)(char *name, int size, int device);
  int (*attribute)(int *value, int attribute, int device);
  int (*memory)(size_t *bytes, int device);
  int (*error_name)(int error, const char **text);
  int (*uuid)(unsigned char bytes[16], int device);
  int (*pci)(char *id, int size, int device);
} driver;

// The name of a function that is not there, or NULL.
static const char *driver_symbols(void *h, driver *v) {
  static const char *const names[] = {"cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem_v2", "cuGetErrorName",
                                      "cuDeviceGetUuid", "cuDeviceGetPCIBusId"};
  void *p[TS_COUNTOF(names)];
  for (size_t i = 0; i < TS_COUNTOF(names); i++)
    if (!(p[i] = dlsym(h, names[i]))) return names[i];
  memcpy(v, p, sizeof *v);
  return NULL;
}

static bool ask_gpu(const driver *v, int ordinal, gpu_facts *g) {
  int device;
  struct {
    int attribute, *to;
  } wanted[] = {{75, &g->major}, {76, &g->minor}, {16, &g->sms}, {10, &g->warp}, {1, &g->max_threads}, {39, &g->sm_threads},
                {106, &g->sm_blocks}, {82, &g->sm_registers}, {97, &g->block_shared}, {81, &g->sm_shared}, {38, &g->l2}};
  if (v->get(&device, ordinal) || v->name(g->name, (int)sizeof g->name, device) || v->memory(&g->memory, device)) return false;
  for (size_t i = 0; i < TS_COUNTOF(wanted); i++)
    if (v->attribute(wanted[i].to, wanted[i].attribute, device)) return false;
  unsigned char id[16];
  if (v->uuid(id, device) || v->pci(g->pci, (int)sizeof g->pci, device)) return false;
  for (int i = 0; i < 16; i++) snprintf(g->uuid + 2 * i, 3, "%02x", id[i]);
  return true;
}

static void ask(void *handle, answer *a) {
  driver v;
  const char *why = NULL, *lacks = driver_symbols(handle, &v);
  int e = lacks ? -1 : 0;
  if (e) snprintf(a->message, sizeof a->message, "the CUDA driver lacks %s", lacks), a->old = true;
  else if ((e = v.init(0)) || (e = v.count(&a->count)))
    snprintf(a->message, sizeof a->message, "the CUDA driver does not start: %.100s", v.error_name(e, &why) == 0 && why ? why : "unknown error");
  a->count = e ? 0 : TS_MIN(a->count, MOST_GPUS);
  for (int i = 0; i < a->count; i++)
    if (!ask_gpu(&v, i, &a->gpu[i])) {
      a->count = i;
      snprintf(a->message, sizeof a->message, "the CUDA driver does not describe GPU %d", i);
    }
}

static void serve(int fd, void *handle) {
  answer a;
  memset(&a, 0, sizeof a);
  ask(handle, &a);
  (void)!ts_msg_send(fd, &a, sizeof a);
}

static bool ask_in_child(answer *out, ts_diag *d) {
  void *handle = ts_gpu_driver_open(d);
  ts_worker w;
  if (!handle) return false;
  TS_TRY(ts_worker_start(&w, serve, handle, d));
  ts_text t = {0};
  int got = ts_msg_recv(w.fd, &t, 60);
  bool ok = got == 1 && t.n == sizeof *out;
  if (ok) memcpy(out, t.p, sizeof *out);
  ts_text_free(&t);
  ts_worker_stop(&w, NULL);
  return ok || ts_env_fail(d, "no-cuda-driver", "the CUDA driver %s", got == 0 ? "does not answer within 60 s" : "ended the process that started it");
}

// The answer of the first time: GPUs do not come and go.
static bool known_answer(const answer **out, ts_diag *d) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static answer kept;
  static bool asked;
  pthread_mutex_lock(&lock);
  if (!asked) asked = ask_in_child(&kept, d);
  bool ok = asked;
  pthread_mutex_unlock(&lock);
  *out = &kept;
  return ok;
}

bool ts__gpu_host(int ordinal, ts_target *t, ts_diag *d) {
  const answer *a;
  TS_TRY(known_answer(&a, d));
  if (a->count == 0 && a->message[0]) {
    ts_env_fail(d, "no-gpu", "%s", a->message);
    ts_hint(d, a->old ? "install a newer NVIDIA driver (545 or later)" : "nvidia-smi says more; a container is to be started with its GPUs");
    return false;
  }
  if (ordinal < 0 || ordinal >= a->count) {
    ts_refuse(d, "no-gpu", "GPU %d asked for; this machine's CUDA driver shows %d", ordinal, a->count);
    ts_hint(d, "nvidia-smi -L lists the GPUs; CUDA_VISIBLE_DEVICES hides some");
    return false;
  }
  const gpu_facts *g = &a->gpu[ordinal];
  *t = (ts_target){.api = TS_API_CUDA, .l2_bytes = g->l2};
  snprintf(t->product, sizeof t->product, "%s", g->name);
  t->gpu = (ts_target_gpu){.compute = g->major * 10 + g->minor, .sms = g->sms, .warp = g->warp, .max_threads = g->max_threads, .sm_threads = g->sm_threads, .sm_blocks = g->sm_blocks,
                           .sm_registers = g->sm_registers, .block_shared = g->block_shared, .sm_shared = g->sm_shared, .memory_bytes = (int64_t)g->memory, .device = ordinal};
  memcpy(t->gpu.uuid, g->uuid, sizeof g->uuid);
  memcpy(t->gpu.pci, g->pci, sizeof g->pci);
  return true;
}
