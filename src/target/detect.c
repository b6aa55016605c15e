// This machine: CPUID, and cores and caches from sysfs.
#define _GNU_SOURCE
#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "target_impl.h"

enum { none, ymm, zmm, tile };  // saved state, in the rows of features.def
enum { eax, ebx, ecx, edx };

const ts__feature ts__features[] = {
#define TS_FEATURE(name, leaf, subleaf, reg, bit, state, needs) {name, leaf, subleaf, reg, bit, state, needs},
#include "features.def"
#undef TS_FEATURE
};
const int ts__nfeatures = TS_COUNTOF(ts__features);
static_assert(TS_COUNTOF(ts__features) <= TS__FEATURES, "a feature set has 64 places");

// CPUID registers of a leaf; zeros where there is none.
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4]) {
  memset(r, 0, 4 * sizeof r[0]);
#if defined(__x86_64__)
  if (__get_cpuid_max(leaf & 0x80000000u, NULL) >= leaf) __cpuid_count(leaf, subleaf, r[eax], r[ebx], r[ecx], r[edx]);
#else
  (void)leaf;
  (void)subleaf;
#endif
}

// State components that the system saves (XCR0); 0 when it uses no XSAVE.
static uint64_t saved_state(void) {
#if defined(__x86_64__)
  uint32_t r[4];
  cpuid(1, 0, r);
  if (!(r[ecx] >> 27 & 1)) return 0;
  uint32_t lo, hi;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
#else
  return 0;
#endif
}

ts__set ts__host_features(void) {
  static const uint64_t wanted[] = {[none] = 0, [ymm] = 0x6, [zmm] = 0xe6, [tile] = 0x60006};
  uint64_t saved = saved_state();
  ts__set s = 0;
  for (int i = 0; i < ts__nfeatures; i++) {
    const ts__feature *f = &ts__features[i];
    uint32_t r[4];
    cpuid(f->leaf, 0, r);
    if (f->subleaf && r[eax] < f->subleaf) continue;  // leaf 7 gives its last subleaf in eax
    cpuid(f->leaf, f->subleaf, r);
    if (r[f->reg] >> f->bit & 1 && (saved & wanted[f->state]) == wanted[f->state]) s |= (ts__set)1 << i;
  }
  return s;
}

typedef struct model_row {
  const char *vendor;
  uint32_t family, first, last;
  const char *arch;
} model_row;
static const model_row models[] = {
#define TS_MODEL(vendor, family, first, last, arch) {vendor, family, first, last, arch},
#include "models.def"
#undef TS_MODEL
};

const char *ts__host_model(void) {
  uint32_t r[4];
  cpuid(0, 0, r);
  char vendor[13] = {0};
  memcpy(vendor, &r[ebx], 4);
  memcpy(vendor + 4, &r[edx], 4);
  memcpy(vendor + 8, &r[ecx], 4);
  cpuid(1, 0, r);
  uint32_t family = r[eax] >> 8 & 15, model = r[eax] >> 4 & 15;
  if (family == 15) family += r[eax] >> 20 & 255;
  if (family >= 6) model |= (r[eax] >> 16 & 15) << 4;
  for (size_t i = 0; i < TS_COUNTOF(models); i++) {
    const model_row *m = &models[i];
    if (strcmp(m->vendor, vendor) == 0 && m->family == family && m->first <= model && model <= m->last) return m->arch;
  }
  return NULL;
}

void ts__host_product(char *out, size_t n) {
  char brand[49] = {0};
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t r[4];
    cpuid(0x80000002u + i, 0, r);
    memcpy(brand + 16 * i, r, 16);
  }
  const char *p = brand + strspn(brand, " ");
  size_t len = strlen(p);
  while (len && p[len - 1] == ' ') len--;
  snprintf(out, n, "%.*s", (int)len, p);
}

// First line of a small system file, or false.
static bool read_line(const char *path, char *out, size_t n) {
  FILE *f = fopen(path, "re");
  if (!f) return false;
  bool ok = fgets(out, (int)n, f) != NULL;
  fclose(f);
  if (ok) out[strcspn(out, "\n")] = 0;
  return ok;
}

// "0-3,8" -> its first number, by which a group of CPUs is known.
static int first_of(const char *list) { return (int)strtol(list, NULL, 10); }

static int count_cores(const cpu_set_t *set) {
  cpu_set_t seen;
  CPU_ZERO(&seen);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, set)) continue;
    char path[128], line[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
    int core = read_line(path, line, sizeof line) ? first_of(line) : i;
    if (core >= 0 && core < CPU_SETSIZE) CPU_SET(core, &seen);
  }
  return CPU_COUNT(&seen);
}

// CPUs' worth of time that a control group allows; 0 when it sets no limit.
static int quota(void) {
  char line[128], period[128];
  long long q = -1, p = 0;
  if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
    if (sscanf(line, "%lld %lld", &q, &p) != 2) return 0;
  } else if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof line) &&
             read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) {
    q = strtoll(line, NULL, 10);
    p = strtoll(period, NULL, 10);
  }
  return q > 0 && p > 0 ? (int)TS_MIN((q + p - 1) / p, 4096) : 0;
}

// "32K" -> 32768.
static int64_t size_of(const char *text) {
  char *end;
  int64_t v = strtoll(text, &end, 10);
  return *end == 'K' ? v << 10 : *end == 'M' ? v << 20 : v;
}

static void caches(ts_target *t, int cpu) {
  for (int i = 0; i < 8; i++) {
    char path[128], level[32], type[32], size[32];
    const char *form = "/sys/devices/system/cpu/cpu%d/cache/index%d/%s";
    snprintf(path, sizeof path, form, cpu, i, "level");
    if (!read_line(path, level, sizeof level)) break;
    snprintf(path, sizeof path, form, cpu, i, "type");
    if (!read_line(path, type, sizeof type) || strcmp(type, "Instruction") == 0) continue;
    snprintf(path, sizeof path, form, cpu, i, "size");
    if (!read_line(path, size, sizeof size)) continue;
    int64_t *slot = level[0] == '1'   ? &t->l1_bytes
                    : level[0] == '2' ? &t->l2_bytes
                    : level[0] == '3' ? &t->l3_bytes
                                      : NULL;
    if (slot) *slot = size_of(size);
  }
}

void ts__host_topology(ts_target *t) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) == 0) CPU_SET(0, &set);
  t->threads = CPU_COUNT(&set);
  t->cores = count_cores(&set);
  int limit = quota();
  if (limit) t->threads = TS_MIN(t->threads, limit), t->cores = TS_MIN(t->cores, limit);
  int first = 0;
  while (!CPU_ISSET(first, &set)) first++;
  t->l1_bytes = 32 << 10, t->l2_bytes = 1 << 20, t->l3_bytes = 16 << 20;  // where sysfs says nothing
  caches(t, first);
}
