// Native templates: CUDA C++ in a unit (op/native.h) to a cubin, or to PTX where the target wants that, by NVRTC. Needs no GPU.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "codegen/codegen_impl.h"
#include "cuda/cuda.h"

enum { NVRTC_ERROR_COMPILATION = 6 };

int ts_codegen_nvrtc(void) {
  const ts_cuda_nvrtc *rtc = ts_cuda_nvrtc_open(NULL);
  int major, minor;
  return rtc && rtc->nvrtcVersion(&major, &minor) == 0 ? major * 1000 + minor * 10 : 0;
}

// The identity covers everything that the unit says, the target and the compiler.
bool ts_unit_id(const ts_unit *u, const ts_target *t, ts_object *out, ts_diag *d) {
  (void)d;
  *out = (ts_object){0};
  ts_sha256_ctx sha;
  uint64_t head[3] = {(uint64_t)TS_CODEGEN_VERSION << 32 | TS_GPU_FORMAT, (uint64_t)ts_codegen_nvrtc(), u->n};
  ts_sha256_init(&sha);
  ts_sha256_add(&sha, "native", 6);
  ts_sha256_add(&sha, head, sizeof head);
  ts_sha256_add(&sha, u->bytes, u->n);
  ts_sha256_add(&sha, t->arch, strlen(t->arch));
  if (t->gpu.ptx) ts_sha256_add(&sha, "ptx", 3);
  out->id = ts_sha256_end(&sha);
  ts__object_name(out, u->name);
  return true;
}

// --- headers of the toolkit, for sources that ask for them -------------------------------------------------------------
static bool holds_headers(const char *dir) {
  ts_arena *a = ts_arena_new("headers");
  bool yes = ts_file_exists(ts_path_join(a, dir, "cuda_fp16.h"));
  ts_arena_free(a);
  return yes;
}

// The folder with cuda_fp16.h: TUNESMITH_CUDA_INCLUDE, the toolkit's, or beside the library as Python packages lay it out.
static const char *find_headers(ts_arena *a, const ts_cuda_nvrtc *rtc) {
  static const char *const beside[] = {"../include", "../../include", "../../cuda_runtime/include", "../../../include"};
  const char *named[] = {getenv("TUNESMITH_CUDA_INCLUDE"), getenv("CUDA_HOME"), getenv("CUDA_PATH"), "/usr/local/cuda"};
  for (size_t i = 0; i < TS_COUNTOF(named); i++) {
    const char *dir = named[i] && *named[i] ? i ? ts_path_join(a, named[i], "include") : named[i] : NULL;
    if (dir && holds_headers(dir)) return dir;
  }
  Dl_info info;
  void *address;
  memcpy(&address, &rtc->nvrtcVersion, sizeof address);
  if (!dladdr(address, &info) || !info.dli_fname) return NULL;
  const char *slash = strrchr(info.dli_fname, '/'), *lib = slash ? ts_arena_strndup(a, info.dli_fname, (size_t)(slash - info.dli_fname)) : ".";
  for (size_t i = 0; i < TS_COUNTOF(beside); i++) {
    const char *dir = ts_path_join(a, lib, beside[i]);
    if (holds_headers(dir)) return dir;
  }
  return NULL;
}

static bool wants_headers(const char *source) { return strstr(source, "cuda_fp16.h") || strstr(source, "cuda_bf16.h"); }

// --- what the compiler said ------------------------------------------------------------------------------------------------
// "matmul/ref.gemv.cu(12): error: identifier "x" is undefined": the first complaint as FILE:LINE: text.
static bool compile_error(const char *log, const char *name, ts_diag *d) {
  const char *e = strstr(log, "error");
  if (!e) return ts_refuse(d, "template-compile", "%s: NVRTC refused it and said nothing", name);
  const char *line = e;
  while (line > log && line[-1] != '\n') line--;
  int n = (int)strcspn(line, "\n"), at = 0, end = 0;
  const char *paren = memchr(line, '(', (size_t)n);
  if (paren && sscanf(paren, "(%9d)%n", &at, &end) == 1 && end)
    return ts_refuse(d, "template-compile", "%.*s:%d%.*s", (int)(paren - line), line, at, n - (int)(paren - line) - end, paren + end);
  return ts_refuse(d, "template-compile", "%s: %.*s", name, n, line);
}

// --- compiling -----------------------------------------------------------------------------------------------------------------
static bool env_fail(const char *name, const char *what, int code, ts_diag *d) {
  return ts_env_fail(d, "nvrtc-failed", "%s: NVRTC: %s failed with error %d", name, what, code);
}

static bool take_log(const ts_cuda_nvrtc *rtc, nvrtcProgram p, ts_arena *a, char **log) {
  size_t n = 0;
  *log = ts_arena_strdup(a, "");
  if (rtc->nvrtcGetProgramLogSize(p, &n) != 0 || n < 2) return true;
  *log = ts_arena_alloc(a, n + 1, 1);
  return rtc->nvrtcGetProgramLog(p, *log) == 0;
}

// The code that was made, as the image of c.
static bool take_image(const ts_cuda_nvrtc *rtc, nvrtcProgram p, const char *name, bool ptx, ts_arena *a, ts_gpu_code *c, ts_diag *d) {
  size_t bytes = 0;
  int rc = ptx ? rtc->nvrtcGetPTXSize(p, &bytes) : rtc->nvrtcGetCUBINSize(p, &bytes);
  if (rc != 0 || !bytes) return env_fail(name, "the code's size", rc, d);
  char *image = ts_arena_alloc(a, bytes, 8);
  if ((rc = ptx ? rtc->nvrtcGetPTX(p, image) : rtc->nvrtcGetCUBIN(p, image)) != 0) return env_fail(name, "the code", rc, d);
  c->kind = ptx ? TS_GPU_PTX : TS_GPU_CUBIN;
  c->image = image;
  c->image_n = ptx ? strnlen(image, bytes) : bytes;
  return true;
}

static bool compile(const ts_cuda_nvrtc *rtc, nvrtcProgram p, const char *name, bool ptx, ts_arena *a, ts_gpu_code *c, const char *source, ts_diag *d) {
  const char *option[8];
  int n = 0;
  option[n++] = ts_arena_printf(a, "--gpu-architecture=%s%s", ptx ? "compute" : "sm", c->arch + 2);
  option[n++] = "--std=c++17";
  option[n++] = "--device-as-default-execution-space";
  option[n++] = "--ptxas-options=-v";
  if (wants_headers(source)) {
    const char *dir = find_headers(a, rtc);
    if (!dir) {
      ts_env_fail(d, "no-cuda-headers", "%s: cuda_fp16.h was not found", name);
      ts_hint(d, "install the CUDA toolkit's headers, or name their folder in TUNESMITH_CUDA_INCLUDE");
      return false;
    }
    option[n++] = ts_arena_printf(a, "--include-path=%s", dir);
  }
  int rc = rtc->nvrtcCompileProgram(p, n, option);
  char *log;
  if (!take_log(rtc, p, a, &log)) return env_fail(name, "reading the log", 0, d);
  if (rc == NVRTC_ERROR_COMPILATION) return compile_error(log, name, d);
  if (rc != 0) return *log ? compile_error(log, name, d) : env_fail(name, "compiling", rc, d);
  ts_text said = {0};
  ts__assembler_read(log, c, &said);
  c->warnings = ts_arena_strdup(a, ts_text_str(&said));
  ts_text_free(&said);
  return take_image(rtc, p, name, ptx, a, c, d);
}

// The unit's launches around the code made from its source.
static bool to_code(const ts_unit *u, const ts_target *t, ts_arena *scratch, ts_gpu_code *c, ts_diag *d) {
  TS_TRY(ts_gpu_code_read(scratch, u->bytes, u->n, c, d));
  if (c->kind != TS_GPU_SOURCE) return ts_refuse(d, "no-source", "%s: the unit holds no source", u->name);
  if (strcmp(c->arch, t->arch) != 0) return ts_refuse(d, "wrong-target", "%s: the unit is for %s, the target is %s", u->name, c->arch, t->arch);
  const ts_cuda_nvrtc *rtc = ts_cuda_nvrtc_open(d);
  if (!rtc) return false;
  const char *source = ts_arena_strndup(scratch, c->image, c->image_n);
  nvrtcProgram p;
  int rc = rtc->nvrtcCreateProgram(&p, source, u->name, 0, NULL, NULL);
  if (rc != 0) return env_fail(u->name, "creating a program", rc, d);
  bool ok = compile(rtc, p, u->name, t->gpu.ptx, scratch, c, source, d);
  rtc->nvrtcDestroyProgram(&p);
  return ok;
}

bool ts_codegen_unit(const ts_unit *u, const ts_target *t, ts_arena *a, ts_object *out, ts_diag *d) {
  uint64_t begin = ts_now_ns();
  ts_arena *scratch = ts_arena_new("nvrtc");
  ts_gpu_code c;
  bool ok = ts_unit_id(u, t, out, d) && to_code(u, t, scratch, &c, d);
  if (ok) {
    ts_text bytes = {0};
    ts_gpu_code_write(&bytes, &c);
    out->bytes = ts_arena_dup(a, bytes.p, bytes.n);
    out->n = bytes.n;
    out->compile_s = (double)(ts_now_ns() - begin) * 1e-9;
    ts_text_free(&bytes);
  }
  ts_arena_free(scratch);
  return ok;
}
