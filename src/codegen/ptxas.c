// PTX to machine code by the CUDA toolkit's assembler, as a child process, where there is one.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/nvptx.h"

static bool runs(const char *path) { return path && *path && access(path, X_OK) == 0; }

// TUNESMITH_PTXAS, else the toolkit of CUDA_HOME, of PATH, of /usr/local/cuda. NULL: none. "none" in TUNESMITH_PTXAS: none.
const char *ts_codegen_ptxas(ts_arena *a) {
  const char *own = getenv("TUNESMITH_PTXAS"), *home = getenv("CUDA_HOME"), *path = getenv("PATH");
  if (own && *own) return runs(own) ? own : NULL;
  if (home && *home) {
    const char *p = ts_arena_printf(a, "%s/bin/ptxas", home);
    if (runs(p)) return p;
  }
  for (const char *p = path ? path : ""; *p;) {
    size_t n = strcspn(p, ":");
    const char *file = ts_arena_printf(a, "%.*s/ptxas", (int)n, p);
    if (n && runs(file)) return file;
    p += n;
    p += *p == ':';
  }
  return runs("/usr/local/cuda/bin/ptxas") ? "/usr/local/cuda/bin/ptxas" : NULL;
}

// The first complaint of what it said.
static const char *complaint(const char *text) {
  const char *error = strstr(text, "error"), *fatal = strstr(text, "fatal");
  if (error && fatal) return TS_MIN(error, fatal);
  return error ? error : fatal ? fatal : text;
}

static bool complain(ts_diag *d, const char *text, int code) {
  const char *p = complaint(text);
  return ts_refuse(d, "ptxas-failed", "ptxas failed (%d): %.*s", code, (int)TS_MIN(strcspn(p, "\n"), 400), p);
}

// An assembler of another age than the driver: it knows neither this PTX nor this GPU. The driver may.
static bool is_too_old(const char *text) { return strstr(text, "Unsupported .version") || strstr(text, "is not defined for option 'gpu-name'"); }

static bool leave_to_driver(ts_arena *a, ts__ptxas *out) {
  const char *p = complaint(ts_text_str(&out->said)), *why = ts_arena_printf(a, "%.*s", (int)TS_MIN(strcspn(p, "\n"), 200), p);
  ts_text_free(&out->said);
  ts_text_addf(&out->said, "ptxas warning : too old, the driver translates: %s\n", why);
  out->found = false;
  return true;
}

static bool assemble(ts_arena *a, const char *tool, const char *dir, const char *ptx, size_t n, const char *arch,
                     ts__ptxas *out, ts_diag *d) {
  const char *in = ts_arena_printf(a, "%s/k.ptx", dir), *cubin = ts_arena_printf(a, "%s/k.cubin", dir);
  TS_TRY(ts_file_write(in, ptx, n, d));
  const char *const argv[] = {tool, "-v", ts_arena_printf(a, "-arch=%s", arch), in, "-o", cubin, NULL};
  ts_proc_result r;
  bool ok = ts_proc_run(argv, 120, &out->said, &r, d);
  unlink(in);
  const char *text = ts_text_str(&out->said);
  if (ok && r.exit_code != 0 && is_too_old(text)) return leave_to_driver(a, out);
  if (ok && r.exit_code != 0) ok = complain(d, text, r.exit_code);
  char *data;
  size_t size;
  ok = ok && ts_file_read(cubin, a, &data, &size, d);
  unlink(cubin);
  if (!ok) return false;
  ts_text_addn(&out->cubin, data, size);
  return true;
}

bool ts__ptxas_run(const char *ptx, size_t n, const char *arch, ts__ptxas *out, ts_diag *d) {
  *out = (ts__ptxas){0};
  ts_arena *a = ts_arena_new("ptxas");
  const char *tool = ts_codegen_ptxas(a), *tmp = getenv("TMPDIR");
  bool ok = true;
  if (tool) {
    char *dir = ts_arena_printf(a, "%s/tunesmith.ptx.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    out->found = true;
    ok = mkdtemp(dir) ? assemble(a, tool, dir, ptx, n, arch, out, d)
                      : ts_env_fail(d, "write-failed", "%s: %s", dir, strerror(errno));
    rmdir(dir);
  }
  ts_arena_free(a);
  return ok;
}

void ts__ptxas_free(ts__ptxas *p) {
  ts_text_free(&p->cubin);
  ts_text_free(&p->said);
  *p = (ts__ptxas){0};
}
