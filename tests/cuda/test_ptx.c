// The PTX that is not generated: kernels of the measuring worker, of the probe and of the runtime, which drivers translate on GPU hosts. Each is assembled for every
// GPU that it is for: nothing spills, the assembler warns of nothing, and the entries that are asked for by name are there. The runtime's is that of its source.
// Without ptxas only names and source are compared, which is said.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
// cmocka needs the four above
#include <cmocka.h>

#include "codegen/codegen.h"
#include "cuda/cuda.h"
#include "device/gpu_loops.h"
#include "runtime/cuda_kernels.inc"

enum { MOST_ENTRIES = 20 };
static const char inc[] = "src/runtime/cuda_kernels.inc", source[] = "src/runtime/cuda_kernels.cu";

static void add_80(ts_text *out) { ts_text_add(out, ptx_80); }
static void add_90(ts_text *out) { ts_text_add(out, ptx_90); }

static const struct {
  const char *name;
  void (*text)(ts_text *out);
  const char *arch[6], *entry[MOST_ENTRIES];
} modules[] = {
    {"kernels for measuring",
     ts_cuda_helpers_ptx,
     {"sm_80", "sm_86", "sm_89", "sm_90a"},
     {
#define HELPER(name) #name,
#include "cuda/helpers.def"
#undef HELPER
     }},
    {"kernels of the probe", ts__gpu_loops_ptx, {"sm_80", "sm_86", "sm_89", "sm_90a"}, {"read", "read_cached", "copy", "fma_f32", "fma_f16", "mma_f16", "mma_bf16", "mma_s8", "empty", "barrier"}},
    {"kernels of the probe for sm_90", ts__gpu_loops_ptx_sm90, {"sm_90a"}, {"wgmma_f16", "wgmma_bf16", "wgmma_s8", "dependent"}},
    {"kernels of the runtime", add_80, {"sm_80", "sm_86", "sm_89"}, {"tunesmith_set", "tunesmith_greedy", "tunesmith_sample"}},
    {"kernels of the runtime for sm_90", add_90, {"sm_90", "sm_90a"}, {"tunesmith_set", "tunesmith_greedy", "tunesmith_sample"}},
};

// Every entry that somebody asks for.
static void entries(void **state) {
  (void)state;
  for (size_t i = 0; i < TS_COUNTOF(modules); i++) {
    ts_text ptx = {0};
    modules[i].text(&ptx);
    for (size_t k = 0; k < MOST_ENTRIES && modules[i].entry[k]; k++) {
      char wanted[80];
      snprintf(wanted, sizeof wanted, ".visible .entry %s(", modules[i].entry[k]);
      if (!strstr(ts_text_str(&ptx), wanted)) fail_msg("%s: no entry %s", modules[i].name, modules[i].entry[k]);
    }
    ts_text_free(&ptx);
  }
}

static void assemble(const char *ptxas, const char *dir, const char *arch, const char *name, const char *ptx) {
  ts_diag d = {0};
  ts_text said = {0};
  ts_proc_result r;
  ts_arena *a = ts_arena_new("ptx");
  const char *in = ts_path_join(a, dir, "k.ptx"), *out = ts_path_join(a, dir, "k.cubin");
  const char *const argv[] = {ptxas, "-v", ts_arena_printf(a, "-arch=%s", arch), in, "-o", out, NULL};
  bool ok = ts_file_write(in, ptx, strlen(ptx), &d) && ts_proc_run(argv, 120, &said, &r, &d);
  unlink(in);
  unlink(out);
  if (!ok) fail_msg("%s", d.message);
  const char *text = ts_text_str(&said);
  if (r.exit_code || strstr(text, "warning")) fail_msg("%s for %s: %s", name, arch, text);
  for (const char *p = text; (p = strstr(p, "bytes spill")); p++)
    if (p < text + 2 || strncmp(p - 2, "0 ", 2) != 0 || (p > text + 2 && p[-3] != ' ')) fail_msg("%s for %s spills: %s", name, arch, text);
  if (!strstr(text, "bytes spill")) fail_msg("%s for %s: the assembler does not say what spills: %s", name, arch, text);
  ts_text_free(&said);
  ts_arena_free(a);
}

static void assembled(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("ptx");
  const char *ptxas = ts_codegen_ptxas(a);
  char dir[] = "/tmp/tunesmith-ptx-XXXXXX";
  if (!ptxas) {
    fprintf(stderr, "SKIPPED: no ptxas found, so nothing is assembled\n");
    ts_arena_free(a);
    skip();
  }
  assert_non_null(mkdtemp(dir));
  for (size_t i = 0; i < TS_COUNTOF(modules); i++) {
    ts_text ptx = {0};
    modules[i].text(&ptx);
    for (size_t k = 0; k < TS_COUNTOF(modules[i].arch) && modules[i].arch[k]; k++) assemble(ptxas, dir, modules[i].arch[k], modules[i].name, ts_text_str(&ptx));
    ts_text_free(&ptx);
  }
  rmdir(dir);
  ts_arena_free(a);
}

// What is committed was translated from the source as it stands.
static void up_to_date(void **state) {
  (void)state;
  ts_arena *a = ts_arena_new("ptx");
  ts_diag d = {0};
  char *made, hex[2 * sizeof(ts_sha256) + 1];
  size_t n;
  ts_sha256 id;
  if (!ts_sha256_file(ts_path_join(a, ts_data_dir(), source), &id, &d) || !ts_file_read(ts_path_join(a, ts_data_dir(), inc), a, &made, &n, &d)) fail_msg("%s", d.message);
  for (size_t i = 0; i < sizeof id.b; i++) snprintf(hex + 2 * i, 3, "%02x", id.b[i]);
  const char *said = strstr(made, "sha256 ");
  if (!said || strncmp(said + 7, hex, strlen(hex)) != 0) fail_msg("%s is not made from %s as it is: run scripts/make-runtime-ptx", inc, source);
  ts_arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(entries), cmocka_unit_test(assembled), cmocka_unit_test(up_to_date)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
