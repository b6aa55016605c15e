// What is said where a library of CUDA's is missing, is too old, or lies where only TUNESMITH_CUDA_LIBS leads. Each is opened once a process: every row asks a child.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
// cmocka needs the ones above
#include <cmocka.h>

#include "cuda/cuda.h"
#include "target/target.h"

typedef enum which { NVRTC, CUPTI, NVML, CUBLASLT, DRIVER, GPU } which;
typedef struct question {
  which what;
  const char *libs, *driver, *fault;  // TUNESMITH_CUDA_LIBS, TUNESMITH_CUDA_DRIVER; NULL: as they are
} question;

static bool opens(which what, ts_diag *d) {
  ts_target t;
  switch (what) {
    case NVRTC: return ts_cuda_nvrtc_open(d);
    case CUPTI: return ts_cuda_cupti_open(d);
    case NVML: return ts_cuda_nvml_open(d);
    case CUBLASLT: return ts_cuda_cublaslt_open(d);
    case DRIVER: return ts_cuda_driver_open(d);
    case GPU: return ts_target_parse("cuda", &t, d);
  }
  return false;
}

static void answer(int fd, void *arg) {
  const question *q = arg;
  ts_diag d = {0};
  if (q->libs) setenv("TUNESMITH_CUDA_LIBS", q->libs, 1);
  if (q->driver) setenv("TUNESMITH_CUDA_DRIVER", q->driver, 1);
  ts_fault_set(q->fault);
  if (opens(q->what, &d)) d = (ts_diag){0};
  (void)!ts_msg_send(fd, &d, sizeof d);
}

static ts_diag ask(question q) {
  ts_worker w;
  ts_text t = {0};
  ts_diag d = {0};
  if (!ts_worker_start(&w, answer, &q, &d)) fail_msg("%s", d.message);
  assert_int_equal(ts_msg_recv(w.fd, &t, 20), 1);
  assert_int_equal(t.n, sizeof d);
  memcpy(&d, t.p, sizeof d);
  ts_text_free(&t);
  ts_worker_stop(&w, NULL);
  return d;
}

static void says(question q, const char *code, const char *message, const char *hint) {
  ts_diag d = ask(q);
  if (strcmp(d.code, code) != 0 || !strstr(d.message, message) || !strstr(d.hint, hint)) fail_msg("'%s' '%s' '%s', not '%s' '%s' '%s'", d.code, d.message, d.hint, code, message, hint);
}

static void missing(void **state) {
  (void)state;
  static const struct {
    which what;
    const char *code, *message, *hint;
  } rows[] = {{NVRTC, "no-nvrtc", "nvrtc: not found (looked for libnvrtc.so.13", "TUNESMITH_CUDA_LIBS"},
              {CUPTI, "no-cupti", "cupti: not found (looked for libcupti.so.13", "install the CUDA toolkit's CUPTI"},
              {NVML, "no-nvml", "nvml: not found (looked for libnvidia-ml.so.1", "nvidia-smi"},
              {CUBLASLT, "no-cublaslt", "cublaslt: not found (looked for libcublasLt.so.13", "install the CUDA toolkit's cuBLAS"},
              {DRIVER, "no-cuda-driver", "cannot be opened", "install the NVIDIA driver"},
              {GPU, "no-cuda-driver", "cannot be opened", "install the NVIDIA driver"}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) says((question){.what = rows[i].what, .fault = "dlopen:1+"}, rows[i].code, rows[i].message, rows[i].hint);
  says((question){.what = GPU, .driver = "/nonexistent/libcuda.so"}, "no-cuda-driver", "/nonexistent/libcuda.so cannot be opened", "install the NVIDIA driver");
}

// A folder with this file under a library's name, as Python's packages lay libraries out when nested.
static const char *folder(ts_arena *a, const char *top, const char *sub, const char *name, const char *file) {
  ts_diag d = {0};
  const char *dir = ts_path_join(a, top, sub);
  if (!ts_dir_make(dir, &d)) fail_msg("%s", d.message);
  assert_int_equal(symlink(file, ts_path_join(a, dir, name)), 0);
  return dir;
}

// A driver that does not start, or shows no GPU.
static void not_started(void **state) {
  (void)state;
  setenv("TS_FAKE_CUDA", "init=100", 1);
  says((question){.what = GPU, .driver = getenv("TS_TEST_FAKE")}, "no-gpu", "the CUDA driver does not start: CUDA_ERROR_NO_DEVICE", "nvidia-smi");
  setenv("TS_FAKE_CUDA", "devices=0", 1);
  says((question){.what = GPU, .driver = getenv("TS_TEST_FAKE")}, "no-gpu", "GPU 0 asked for; this machine's CUDA driver shows 0", "CUDA_VISIBLE_DEVICES");
}

// The file that is there lacks what is needed: the function is named, and that a newer version is wanted.
static void too_old(void **state) {
  (void)state;
  char top[] = "/tmp/tunesmith-open-XXXXXX";
  ts_arena *a = ts_arena_new("open");
  const char *fake = getenv("TS_TEST_FAKE");
  assert_non_null(mkdtemp(top));
  assert_non_null(fake);
  const char *old = folder(a, top, "old", "libnvrtc.so.13", fake), *python = ts_path_join(a, top, "python");
  folder(a, top, "python/nvidia/lib", "libcupti.so.13", fake);
  says((question){.what = NVRTC, .libs = old}, "no-nvrtc", "nvrtc: this version lacks nvrtcVersion", "a newer version is needed: install");
  const char *libc = "libc.so.6";
  says((question){.what = DRIVER, .driver = libc}, "no-cuda-driver", "the CUDA driver lacks cuInit", "545 or later");
  says((question){.what = GPU, .driver = libc}, "no-gpu", "the CUDA driver lacks cuInit", "545 or later");
  assert_string_equal(ask((question){.what = CUPTI, .libs = python}).code, "");
  assert_string_equal(ask((question){.what = CUPTI, .libs = ts_arena_printf(a, ":%s::%s", old, python)}).code, "");
  const char *const rm[] = {"rm", "-rf", top, NULL};
  ts_proc_result r;
  assert_true(ts_proc_run(rm, 10, NULL, &r, NULL));
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(missing), cmocka_unit_test(not_started), cmocka_unit_test(too_old)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
