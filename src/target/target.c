// Targets as text: parsing, printing, features.
#include <stdlib.h>

#include "target_impl.h"

typedef struct arch_row {
  const char *name, *base, *added;
} arch_row;
static const arch_row archs[] = {
#define TS_ARCH(name, base, added) {name, base, added},
#include "archs.def"
#undef TS_ARCH
};

static const arch_row *arch_find(const char *name, size_t n) {
  for (size_t i = 0; i < TS_COUNTOF(archs); i++)
    if (strlen(archs[i].name) == n && memcmp(archs[i].name, name, n) == 0) return &archs[i];
  return NULL;
}

int ts__feature_find(const char *name, size_t n) {
  for (int i = 0; i < ts__nfeatures; i++)
    if (strlen(ts__features[i].name) == n && memcmp(ts__features[i].name, name, n) == 0) return i;
  return -1;
}

// The features named in a list separated by spaces.
static ts__set set_of(const char *list) {
  ts__set s = 0;
  for (const char *p = list; *p;) {
    size_t n = strcspn(p, " ");
    int i = ts__feature_find(p, n);
    if (i >= 0) s |= (ts__set)1 << i;
    p += n;
    p += strspn(p, " ");
  }
  return s;
}

// s and all that its members need; rows stand below what they need, so one pass upwards is enough.
static ts__set with_needs(ts__set s) {
  for (int i = ts__nfeatures - 1; i >= 0; i--)
    if (s >> i & 1) s |= set_of(ts__features[i].needs);
  return s;
}

// s without the members whose needs are not in it.
static ts__set without_orphans(ts__set s) {
  for (int i = 0; i < ts__nfeatures; i++)
    if (s >> i & 1 && set_of(ts__features[i].needs) & ~s) s &= ~((ts__set)1 << i);
  return s;
}

static ts__set arch_set(const arch_row *r) {
  ts__set s = 0;
  while (r) {
    s |= set_of(r->added);
    r = *r->base ? arch_find(r->base, strlen(r->base)) : NULL;
  }
  return with_needs(s);
}

// The row for this machine: by model, else the highest level it satisfies.
static const arch_row *host_arch(ts__set have) {
  const char *model = ts__host_model();
  if (model) return arch_find(model, strlen(model));
  static const char *const levels[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2"};
  for (size_t i = 0; i < TS_COUNTOF(levels); i++) {
    const arch_row *r = arch_find(levels[i], strlen(levels[i]));
    if ((arch_set(r) & ~have) == 0) return r;
  }
  return arch_find("x86-64", 6);
}

static int by_name(const void *a, const void *b) {
  return strcmp(ts__features[*(const int *)a].name, ts__features[*(const int *)b].name);
}

// "+a,-b" sorted by name; `+` for members of on, `-` for members of off.
static void features_text(ts_text *out, ts__set on, ts__set off, const char *before) {
  int row[TS__FEATURES];
  for (int i = 0; i < ts__nfeatures; i++) row[i] = i;
  qsort(row, (size_t)ts__nfeatures, sizeof row[0], by_name);
  for (int i = 0; i < ts__nfeatures; i++) {
    ts__set bit = (ts__set)1 << row[i];
    if (!((on | off) & bit)) continue;
    ts_text_addf(out, "%s%c%s", before, on & bit ? '+' : '-', ts__features[row[i]].name);
    before = ",";
  }
}

static void copy_text(char *to, size_t n, const char *from) { snprintf(to, n, "%s", from); }

static void fill(ts_target *t, const arch_row *arch, ts__set set) {
  *t = (ts_target){.api = TS_API_CPU};
  copy_text(t->arch, sizeof t->arch, arch->name);
  copy_text(t->triple, sizeof t->triple, "x86_64-unknown-linux-gnu");
  ts_text text = {0};
  features_text(&text, set, arch_set(arch) & ~set, "");
  copy_text(t->features, sizeof t->features, ts_text_str(&text));
  ts_text_free(&text);
  t->vector_bytes = ts_target_has(t, "avx512f") ? 64 : ts_target_has(t, "avx2") ? 32 : 16;
  t->vector_registers = t->vector_bytes == 64 ? 32 : 16;
  ts__host_topology(t);
  if (ts_target_runs_here(t, NULL)) ts__host_product(t->product, sizeof t->product);
}

// Applies ",+feature" and ",-feature" to the set.
static bool parse_changes(const char *text, const char *p, ts__set *set, ts_diag *d) {
  while (*p) {
    size_t n = 1 + strcspn(p + 1, ",");
    int row = n > 2 && (p[1] == '+' || p[1] == '-') ? ts__feature_find(p + 2, n - 2) : -1;
    if (*p != ',' || row < 0)
      return ts_refuse(d, "unknown-feature", "target \"%.100s\": \"%.*s\" is no feature change; write +name or -name",
                       text, (int)TS_MIN(n - 1, 60), p + 1);
    ts__set bit = (ts__set)1 << row;
    *set = p[1] == '+' ? with_needs(*set | bit) : without_orphans(*set & ~bit);
    p += n;
  }
  return true;
}

static bool unknown_arch(const char *text, const char *name, size_t n, ts_diag *d) {
  ts_refuse(d, "unknown-target", "target \"%.100s\": unknown processor \"%.*s\"", text, (int)TS_MIN(n, 60), name);
  ts_text known = {0};
  for (size_t i = 0; i < TS_COUNTOF(archs); i++) ts_text_addf(&known, "%s%s", i ? " " : "", archs[i].name);
  ts_hint(d, "one of %s", ts_text_str(&known));
  ts_text_free(&known);
  return false;
}

bool ts_target_parse(const char *text, ts_target *t, ts_diag *d) {
  size_t n = strcspn(text, ":,");
  if (n == 4 && memcmp(text, "cuda", 4) == 0) return ts__gpu_parse(text, t, d);
  if (n != 3 || memcmp(text, "cpu", 3) != 0)
    return ts_refuse(d, "unknown-target", "target \"%.100s\": the kinds of target are: cpu, cpu:PROCESSOR, cuda, cuda:NUMBER, cuda:ARCHITECTURE", text);
  const char *p = text + n;
  const arch_row *arch;
  ts__set set;
  if (*p == ':') {
    size_t len = strcspn(++p, ",");
    arch = arch_find(p, len);
    if (!arch) return unknown_arch(text, p, len, d);
    set = arch_set(arch);
    p += len;
  } else {
    ts__set have = ts__host_features();
    if (!have)
      return ts_env_fail(d, "unsupported-host", "target \"%.100s\": this machine is no x86-64 processor", text);
    arch = host_arch(have);
    set = without_orphans(have);
  }
  TS_TRY(parse_changes(text, p, &set, d));
  fill(t, arch, set);
  return true;
}

// The set that t's features text describes.
static ts__set target_set(const ts_target *t) {
  ts__set s = 0;
  for (const char *p = t->features; *p;) {
    size_t n = strcspn(p, ",");
    int row = n > 1 && *p == '+' ? ts__feature_find(p + 1, n - 1) : -1;
    if (row >= 0) s |= (ts__set)1 << row;
    p += n;
    p += *p == ',';
  }
  return s;
}

// "cpu:ARCH" and how the features differ from the row of ARCH. Reads back through ts_target_parse.
void ts_target_print(ts_text *out, const ts_target *t) {
  if (t->api == TS_API_CUDA) {
    ts__gpu_print(out, t);
    return;
  }
  ts_text_addf(out, "cpu:%s", t->arch);
  const arch_row *arch = arch_find(t->arch, strlen(t->arch));
  ts__set is = target_set(t), usual = arch ? arch_set(arch) : 0;
  features_text(out, is & ~usual, usual & ~is, ",");
}

// "sm_90": this GPU or an older one's code; "sm_90a": exactly this kind.
static bool has_compute(const ts_target *t, const char *arch) {
  char *end;
  long compute = strtol(arch + 3, &end, 10);
  return t->api == TS_API_CUDA && (*end ? strcmp(t->arch, arch) == 0 : t->gpu.compute >= compute);
}

bool ts_target_has(const ts_target *t, const char *feature) {
  if (strncmp(feature, "sm_", 3) == 0) return has_compute(t, feature);
  size_t want = strlen(feature);
  for (const char *p = t->features; *p;) {
    size_t n = strcspn(p, ",");
    if (n == want + 1 && *p == '+' && memcmp(p + 1, feature, want) == 0) return true;
    p += n;
    p += *p == ',';
  }
  return false;
}

bool ts_target_runs_here(const ts_target *t, ts_diag *d) {
  if (t->api == TS_API_CUDA) return ts__gpu_runs_here(t, d);
  if (t->api != TS_API_CPU) return ts_refuse(d, "wrong-device", "target %.60s: no such device here", t->arch);
  ts__set have = ts__host_features();
  if (!have) return ts_refuse(d, "wrong-cpu", "target cpu:%.60s: this machine is no x86-64 processor", t->arch);
  ts__set missing = target_set(t) & ~have;
  if (!missing) return true;
  int row = __builtin_ctzll(missing);
  return ts_refuse(d, "wrong-cpu", "target cpu:%.60s needs %s, which this machine (%s) lacks", t->arch,
                   ts__features[row].name, ts__host_model() ? ts__host_model() : "x86-64");
}
