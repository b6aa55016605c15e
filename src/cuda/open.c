// Opening the driver and the libraries: where they are looked for, and what is said when they are not there.
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "cuda/cuda.h"

typedef struct symbol {
  const char *name;
  size_t at;  // of the member in the table
  bool needed;
} symbol;
typedef void (*function)(void);

#define NEED(member, text, args) {text, offsetof(TABLE, member), true},
#define MAY(member, text, args) {text, offsetof(TABLE, member), false},
#define TABLE ts_cuda_driver
static const symbol driver_symbols[] = {
#include "cuda/driver.def"
};
#undef TABLE
#define TABLE ts_cuda_nvrtc
static const symbol nvrtc_symbols[] = {
#include "cuda/nvrtc.def"
};
#undef TABLE
#define TABLE ts_cuda_cupti
static const symbol cupti_symbols[] = {
#include "cuda/cupti.def"
};
#undef TABLE
#define TABLE ts_cuda_nvml
static const symbol nvml_symbols[] = {
#include "cuda/nvml.def"
};
#undef TABLE
#define TABLE ts_cuda_cublaslt
static const symbol cublaslt_symbols[] = {
#include "cuda/cublaslt.def"
};
#undef TABLE
#undef NEED
#undef MAY

// --- looking for a file -------------------------------------------------------------------------------------------
static void *try_file(const char *dir, const char *sub, const char *name) {
  char path[1024];
  if (snprintf(path, sizeof path, "%s%s/%s", dir, sub, name) >= (int)sizeof path) return NULL;
  return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

// DIR/NAME, and DIR/*/lib/NAME as Python packages lay libraries out.
static void *try_folder(const char *dir, const char *name) {
  void *h = try_file(dir, "", name);
  DIR *list = h ? NULL : opendir(dir);
  for (struct dirent *e; list && !h && (e = readdir(list));) {
    char sub[300];
    if (e->d_name[0] == '.') continue;
    snprintf(sub, sizeof sub, "/%s/lib", e->d_name);
    h = try_file(dir, sub, name);
  }
  if (list) closedir(list);
  return h;
}

static void *try_listed(const char *name) {
  const char *p = getenv("TUNESMITH_CUDA_LIBS");
  while (p && *p) {
    size_t n = strcspn(p, ":");
    char dir[900];
    if (n && n < sizeof dir) {
      memcpy(dir, p, n);
      dir[n] = 0;
      void *h = try_folder(dir, name);
      if (h) return h;
    }
    p += n + (p[n] == ':');
  }
  return NULL;
}

static void *try_toolkit(const char *root, const char *name) {
  static const char *const subs[] = {"/lib64", "/lib", "/extras/CUPTI/lib64", "/targets/x86_64-linux/lib"};
  void *h = NULL;
  for (size_t i = 0; root && *root && i < TS_COUNTOF(subs) && !h; i++) h = try_file(root, subs[i], name);
  return h;
}

static void *find_file(const char *name) {
  void *h = try_listed(name);
  if (!h) h = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!h) h = try_toolkit(getenv("CUDA_HOME"), name);
  if (!h) h = try_toolkit(getenv("CUDA_PATH"), name);
  return h ? h : try_toolkit("/usr/local/cuda", name);
}

// The first of the names, separated by spaces, that there is.
static void *find_any(const char *names) {
  while (*names) {
    size_t n = strcspn(names, " ");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, names);
    void *h = find_file(name);
    if (h) return h;
    names += n;
    names += strspn(names, " ");
  }
  return NULL;
}

// --- filling a table ------------------------------------------------------------------------------------------------
// The name of a function that is needed and not there, or NULL.
static const char *fill(void *handle, const symbol *s, size_t n, void *table) {
  for (size_t i = 0; i < n; i++) {
    void *p = dlsym(handle, s[i].name);
    if (!p && s[i].needed) return s[i].name;
    memcpy((char *)table + s[i].at, &p, sizeof p);
  }
  return NULL;
}

typedef struct library {
  const char *name, *code, *files, *hint;
  const symbol *symbols;
  size_t n;
  void *table;
  bool tried;
  ts_diag failed;  // when it could not be opened
} library;
static struct {
  ts_cuda_driver driver;
  ts_cuda_nvrtc nvrtc;
  ts_cuda_cupti cupti;
  ts_cuda_nvml nvml;
  ts_cuda_cublaslt cublaslt;
} tables;
enum {
#define LIBRARY(name, code, files, hint) LIB_##name,
#include "cuda/libraries.def"
#undef LIBRARY
  LIB__COUNT
};
static library libraries[] = {
#define LIBRARY(name, code, files, hint) {#name, code, files, hint, name##_symbols, TS_COUNTOF(name##_symbols), &tables.name, false, {0}},
#include "cuda/libraries.def"
#undef LIBRARY
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool load(library *l) {
  void *h = ts_fault("dlopen") ? NULL : find_any(l->files);
  if (!h) {
    ts_env_fail(&l->failed, l->code, "%s: not found (looked for %s)", l->name, l->files);
    ts_hint(&l->failed, "%s", l->hint);
    return false;
  }
  const char *missing = fill(h, l->symbols, l->n, l->table);
  if (!missing) return true;
  ts_env_fail(&l->failed, l->code, "%s: this version lacks %s", l->name, missing);
  ts_hint(&l->failed, "a newer version is needed: %s", l->hint);
  return false;
}

static const void *open_library(library *l, ts_diag *d) {
  pthread_mutex_lock(&lock);
  if (!l->tried) (void)load(l);
  l->tried = true;
  bool ok = l->failed.kind == TS_OK;
  if (!ok && d) *d = l->failed;
  pthread_mutex_unlock(&lock);
  return ok ? l->table : NULL;
}

const ts_cuda_nvrtc *ts_cuda_nvrtc_open(ts_diag *d) { return open_library(&libraries[LIB_nvrtc], d); }
const ts_cuda_cupti *ts_cuda_cupti_open(ts_diag *d) { return open_library(&libraries[LIB_cupti], d); }
const ts_cuda_nvml *ts_cuda_nvml_open(ts_diag *d) { return open_library(&libraries[LIB_nvml], d); }
const ts_cuda_cublaslt *ts_cuda_cublaslt_open(ts_diag *d) { return open_library(&libraries[LIB_cublaslt], d); }

const ts_cuda_driver *ts_cuda_driver_open(ts_diag *d) {
  static bool whole;
  pthread_mutex_lock(&lock);
  void *h = whole ? NULL : ts_gpu_driver_open(d);
  if (h) {
    const char *missing = fill(h, driver_symbols, TS_COUNTOF(driver_symbols), &tables.driver);
    whole = !missing;
    if (missing) {
      ts_env_fail(d, "no-cuda-driver", "the CUDA driver lacks %s", missing);
      ts_hint(d, "install a newer NVIDIA driver (545 or later)");
    }
  }
  bool ok = whole;
  pthread_mutex_unlock(&lock);
  return ok ? &tables.driver : NULL;
}

bool ts_cuda_check(const ts_cuda_driver *cu, CUresult result, ts_diag *d, const char *fmt, ...) {
  if (result == TS_CU_OK) return true;
  char what[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  const char *name = NULL, *text = NULL;
  (void)cu->cuGetErrorName(result, &name);
  (void)cu->cuGetErrorString(result, &text);
  return ts_env_fail(d, result == TS_CU_OUT_OF_MEMORY ? "out-of-device-memory" : "cuda-error", "%s: %s (%s)", what, name ? name : "unknown CUDA error", text ? text : "no description");
}
