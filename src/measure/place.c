// Target, device, toolchain and environment rows for this machine.
#include <math.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "cuda/cuda.h"
#include "measure/measure.h"

// First line of a small system file; "" when it cannot be read.
static void first_line(const char *path, char *out, size_t n) {
  out[0] = 0;
  FILE *f = fopen(path, "r");
  if (!f) return;
  if (!fgets(out, (int)n, f)) out[0] = 0;
  fclose(f);
  out[strcspn(out, "\n")] = 0;
}

static const char *or_absent(const char *s) { return *s ? s : NULL; }

static void os_name(char *out, size_t n) {
  out[0] = 0;
  FILE *f = fopen("/etc/os-release", "r");
  char line[256];
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, "PRETTY_NAME=", 12) == 0) {
      line[strcspn(line, "\n")] = 0;
      const char *v = line + 12 + (line[12] == '"');
      snprintf(out, n, "%.*s", (int)strcspn(v, "\""), v);
    }
  if (f) fclose(f);
}

ts_db_target ts_place_target(const ts_target *t, ts_text *limits) {
  ts_target_print(limits, t);
  return (ts_db_target){.api = t->api == TS_API_CUDA ? "cuda" : "cpu", .arch = t->arch, .product = t->product, .limits = ts_text_str(limits)};
}

// What NVML says about a GPU; zeroed where it does not.
typedef struct gpu_facts {
  char driver[80], mig[16];
  int64_t power_limit_mw, ecc;
} gpu_facts;

static gpu_facts ask_nvml(const ts_target *t) {
  gpu_facts f = {.power_limit_mw = TS_DB_NONE, .ecc = TS_DB_NONE};
  const ts_cuda_nvml *n = t->api == TS_API_CUDA ? ts_cuda_nvml_open(NULL) : NULL;
  nvmlDevice_t device;
  unsigned v = 0, pending;
  int ecc, ecc_pending;
  if (!n || n->nvmlInit()) return f;
  if (n->nvmlSystemGetDriverVersion(f.driver, sizeof f.driver)) f.driver[0] = 0;
  if (n->nvmlDeviceGetHandleByPciBusId(t->gpu.pci, &device) == 0) {
    if (n->nvmlDeviceGetEnforcedPowerLimit && n->nvmlDeviceGetEnforcedPowerLimit(device, &v) == 0) f.power_limit_mw = v;
    if (n->nvmlDeviceGetEccMode && n->nvmlDeviceGetEccMode(device, &ecc, &ecc_pending) == 0) f.ecc = ecc;
    if (n->nvmlDeviceGetMigMode && n->nvmlDeviceGetMigMode(device, &v, &pending) == 0) snprintf(f.mig, sizeof f.mig, "%s", v ? "on" : "off");
  }
  (void)n->nvmlShutdown();
  return f;
}

static ts_id put_device(ts_db *db, const ts_target *t, ts_id target, ts_diag *d) {
  char id[128];
  first_line("/etc/machine-id", id, sizeof id);
  ts_sha256 host = ts_sha256_of(id, strlen(id)), serial = ts_sha256_of(t->gpu.uuid, strlen(t->gpu.uuid));
  return ts_db_put_device(db, &(ts_db_device){.target_id = target, .host_hash = &host, .serial_hash = t->gpu.uuid[0] ? &serial : NULL, .noise_floor = NAN}, d);
}

static ts_id put_toolchain(ts_db *db, const gpu_facts *gpu, ts_diag *d) {
  char flags[64];
  snprintf(flags, sizeof flags, "codegen %d abi %d", TS_CODEGEN_VERSION, TS_KERNEL_ABI);
  return ts_db_put_toolchain(db, &(ts_db_toolchain){.compiler = "llvm", .version = ts_codegen_compiler(), .driver = or_absent(gpu->driver), .flags = flags}, d);
}

static ts_id put_environment(ts_db *db, int threads, const gpu_facts *gpu, ts_diag *d) {
  struct utsname u;
  char os[128], governor[64], thp[64], virt[128];
  uname(&u);
  os_name(os, sizeof os);
  first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor, sizeof governor);
  first_line("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof thp);
  first_line("/sys/class/dmi/id/sys_vendor", virt, sizeof virt);
  char detail[256];
  snprintf(detail, sizeof detail, "threads %d\ntransparent_hugepage %s\n", threads, thp);
  return ts_db_put_environment(db,
                               &(ts_db_environment){.kernel = u.release, .os = or_absent(os), .hypervisor = or_absent(virt), .clock_policy = "free",
                                                    .power_limit_mw = gpu->power_limit_mw, .ecc = gpu->ecc, .mig = or_absent(gpu->mig), .governor = or_absent(governor), .boost = TS_DB_NONE, .detail = detail},
                               d);
}

static bool noise_of(ts_db *db, ts_id device, double *noise, ts_diag *d) {
  ts_arena *a = ts_arena_new("noise");
  ts_db_table t;
  char sql[80];
  snprintf(sql, sizeof sql, "SELECT noise_floor FROM device WHERE id = %lld", (long long)device);
  bool ok = ts_db_query(db, sql, NULL, 0, a, &t, d);
  *noise = ok && t.nrows == 1 && t.cells[0].r > 0 ? t.cells[0].r : 0;
  ts_arena_free(a);
  return ok;
}

bool ts_place_put(ts_db *db, const ts_target *t, int threads, ts_place *out, ts_diag *d) {
  ts_text limits = {0};
  ts_db_target row = ts_place_target(t, &limits);
  gpu_facts gpu = ask_nvml(t);
  *out = (ts_place){.target_id = ts_db_put_target(db, &row, d)};
  ts_text_free(&limits);
  return out->target_id && (out->device_id = put_device(db, t, out->target_id, d)) && (out->toolchain_id = put_toolchain(db, &gpu, d)) &&
         (out->environment_id = put_environment(db, threads ? threads : t->cores, &gpu, d)) && noise_of(db, out->device_id, &out->noise, d);
}

static const char *launch_of(const ts_target *t, const char *timer) {
  if (t->api == TS_API_CPU) return "pool";
  return strcmp(timer, "graph") == 0 || strcmp(timer, "step") == 0 ? "graph" : "stream";
}

char *ts_place_policy(const ts_target *t, const char *timer, ts_arena *a) {
  if (t->api == TS_API_CUDA) return ts_db_policy(a, timer, launch_of(t, timer), "cold-weights", "free");
  return ts_db_policy(a, "monotonic", "pool", "cold-weights", "free");
}

void ts_place_method(const ts_target *t, const ts_outcome_row *r, ts_arena *a, ts_db_measurement *out) {
  uint64_t *khz = ts_new_array(a, uint64_t, r->n + 1);
  double *mhz = ts_new_array(a, double, r->n + 1);
  size_t known = 0;
  out->timer = r->timer;
  out->cache = "cold-weights";
  out->launch = launch_of(t, r->timer);
  out->clock_mhz = NAN;
  for (size_t i = 0; i < r->n; i++) {
    if (!r->clocks || isnan(r->clocks[i])) continue;
    khz[i] = (uint64_t)llround(r->clocks[i] * 1e3);
    mhz[known++] = r->clocks[i];
  }
  if (!known) return;
  out->clock_mhz = ts_stats_of(mhz, known).median;
  out->clocks = ts_samples_encode(a, khz, r->n);
}
