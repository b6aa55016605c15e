// GPU targets as text, and whether this machine has the GPU.
#include <stdlib.h>

#include "target_impl.h"

typedef struct gpu_row {
  const char *arch;
  int compute, sms, max_threads, sm_threads, sm_blocks, sm_registers, max_registers;
  int64_t block_shared, sm_shared, l2;
  const char *product;
} gpu_row;
static const gpu_row rows[] = {
#define TS_GPU(arch, compute, sms, max_threads, sm_threads, sm_blocks, sm_registers, max_registers, block_shared, sm_shared, l2, product) \
  {arch, compute, sms, max_threads, sm_threads, sm_blocks, sm_registers, max_registers, block_shared, sm_shared, l2, product},
#include "gpus.def"
#undef TS_GPU
};

static const gpu_row *row_named(const char *name, size_t n) {
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (strlen(rows[i].arch) == n && memcmp(rows[i].arch, name, n) == 0) return &rows[i];
  return NULL;
}

static bool exact(const char *arch) {
  size_t n = strlen(arch);
  return n && arch[n - 1] == 'a';
}

// Code for arch (of compute capability c) runs on a GPU of compute capability `on`.
static bool runs_on(const char *arch, int c, int on) { return exact(arch) ? c == on : c / 10 == on / 10 && c <= on; }

// The newest row whose code runs on a compute capability.
static const gpu_row *row_for(int compute) {
  const gpu_row *best = NULL;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    if (runs_on(rows[i].arch, rows[i].compute, compute)) best = &rows[i];
  return best;
}

static void fill_common(ts_target *t, const char *arch) {
  int64_t l2 = t->l2_bytes;
  ts__host_topology(t);
  t->l2_bytes = l2;
  t->api = TS_API_CUDA;
  t->l1_bytes = t->l3_bytes = 0;
  t->vector_bytes = 16;  // the widest load of a thread
  t->vector_registers = 0;
  snprintf(t->arch, sizeof t->arch, "%s", arch);
  snprintf(t->triple, sizeof t->triple, "nvptx64-nvidia-cuda");
  snprintf(t->features, sizeof t->features, "+ptx83");
}

static void fill_row(ts_target *t, const gpu_row *r) {
  *t = (ts_target){0};
  fill_common(t, r->arch);
  snprintf(t->product, sizeof t->product, "%s", r->product);
  t->l2_bytes = r->l2;
  t->gpu = (ts_target_gpu){.compute = r->compute, .sms = r->sms, .warp = 32, .max_threads = r->max_threads, .sm_threads = r->sm_threads, .sm_blocks = r->sm_blocks,
                           .sm_registers = r->sm_registers, .max_registers = r->max_registers, .block_shared = r->block_shared, .sm_shared = r->sm_shared};
}

// --- facts that differ from the row ---------------------------------------------------------------------------------
typedef struct fact {
  const char *name;
  int64_t least, most;
} fact;
enum { FACT_SMS, FACT_BLOCK_SHARED, FACT_SM_SHARED, FACT_L2, FACT_PTX, FACT__COUNT };
static const fact facts[FACT__COUNT] = {{"sms", 1, 4096}, {"block_shared", 16384, 1 << 24}, {"sm_shared", 16384, 1 << 24}, {"l2", 1 << 16, INT64_C(1) << 34}, {"ptx", 0, 1}};

static int64_t fact_get(const ts_target *t, int i) {
  const int64_t v[FACT__COUNT] = {t->gpu.sms, t->gpu.block_shared, t->gpu.sm_shared, t->l2_bytes, t->gpu.ptx};
  return v[i];
}

static void fact_set(ts_target *t, int i, int64_t v) {
  if (i == FACT_SMS) t->gpu.sms = (int)v;
  else if (i == FACT_BLOCK_SHARED) t->gpu.block_shared = v;
  else if (i == FACT_SM_SHARED) t->gpu.sm_shared = v;
  else if (i == FACT_PTX) t->gpu.ptx = v != 0;
  else t->l2_bytes = v;
}

// Applies ",sms=114" and so on.
static bool parse_facts(const char *text, const char *p, ts_target *t, ts_diag *d) {
  while (*p) {
    size_t n = 1 + strcspn(p + 1, ","), name = strcspn(p + 1, "=,");
    int at = -1;
    for (int i = 0; i < FACT__COUNT; i++)
      if (strlen(facts[i].name) == name && memcmp(facts[i].name, p + 1, name) == 0 && p[1 + name] == '=') at = i;
    if (*p != ',' || at < 0) return ts_refuse(d, "unknown-fact", "target \"%.100s\": \"%.*s\" is no fact of a GPU; write sms=, block_shared=, sm_shared=, l2= or ptx=", text, (int)TS_MIN(n - 1, 60), p + 1);
    const char *digits = p + 2 + name;
    size_t len = strspn(digits, "0123456789");
    int64_t v = len && len < 16 ? strtoll(digits, NULL, 10) : -1;
    if (digits + len != p + n || v < facts[at].least || v > facts[at].most)
      return ts_refuse(d, "bad-fact", "target \"%.100s\": %s is a number from %lld to %lld", text, facts[at].name, (long long)facts[at].least, (long long)facts[at].most);
    fact_set(t, at, v);
    p += n;
  }
  return true;
}

void ts__gpu_print(ts_text *out, const ts_target *t) {
  ts_text_addf(out, "cuda:%s", t->arch);
  const gpu_row *r = row_named(t->arch, strlen(t->arch));
  ts_target usual;
  if (!r) return;
  fill_row(&usual, r);
  for (int i = 0; i < FACT__COUNT; i++)
    if (fact_get(t, i) != fact_get(&usual, i)) ts_text_addf(out, ",%s=%lld", facts[i].name, (long long)fact_get(t, i));
}

// --- text in ---------------------------------------------------------------------------------------------------------
static bool unknown_arch(const char *text, const char *name, size_t n, ts_diag *d) {
  ts_refuse(d, "unknown-target", "target \"%.100s\": unknown GPU architecture \"%.*s\"", text, (int)TS_MIN(n, 60), name);
  ts_text known = {0};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) ts_text_addf(&known, "%s%s", i ? " " : "", rows[i].arch);
  ts_hint(d, "one of %s", ts_text_str(&known));
  ts_text_free(&known);
  return false;
}

// A GPU of this machine: the driver's facts, the architecture of the newest row whose code runs on it.
static bool host_target(const char *text, int ordinal, ts_target *t, ts_diag *d) {
  ts_target host;
  TS_TRY(ts__gpu_host(ordinal, &host, d));
  const gpu_row *r = row_for(host.gpu.compute);
  if (!r) {
    ts_refuse(d, "unknown-gpu", "target \"%.60s\": %s has compute capability %d.%d, which this program has no code for", text, host.product, host.gpu.compute / 10, host.gpu.compute % 10);
    if (host.gpu.compute > rows[0].compute) ts_hint(d, "cuda:sm_80,ptx=1 is code that the driver translates for newer GPUs");
    return false;
  }
  fill_common(&host, r->arch);
  host.gpu.compute = r->compute;
  host.gpu.warp = 32;
  host.gpu.max_registers = r->max_registers;
  *t = host;
  return true;
}

bool ts__gpu_parse(const char *text, ts_target *t, ts_diag *d) {
  const char *p = text + 4;
  size_t n = *p == ':' ? strcspn(++p, ",") : 0;
  bool digits = n && n < 4 && strspn(p, "0123456789") >= n;
  if (digits || (n == 0 && p == text + 4)) {
    TS_TRY(host_target(text, digits ? atoi(p) : 0, t, d));
  } else {
    const gpu_row *r = row_named(p, n);
    if (!r) return unknown_arch(text, p, n, d);
    fill_row(t, r);
  }
  return parse_facts(text, p + n, t, d);
}

bool ts_target_gpu_runs(const ts_target *t, int compute) {
  return t->gpu.ptx && !exact(t->arch) ? t->gpu.compute <= compute : runs_on(t->arch, t->gpu.compute, compute);
}

bool ts__gpu_runs_here(const ts_target *t, ts_diag *d) {
  ts_target host;
  TS_TRY(ts__gpu_host(t->gpu.device, &host, d));
  if (!ts_target_gpu_runs(t, host.gpu.compute))
    return ts_refuse(d, "wrong-gpu", "target cuda:%.60s: GPU %d of this machine is %s with compute capability %d.%d", t->arch, t->gpu.device, host.product, host.gpu.compute / 10,
                     host.gpu.compute % 10);
  if (host.gpu.block_shared < t->gpu.block_shared)
    return ts_refuse(d, "wrong-gpu", "target cuda:%.60s: a block may have %lld bytes of shared memory, on this machine's %s only %lld", t->arch, (long long)t->gpu.block_shared, host.product,
                     (long long)host.gpu.block_shared);
  return true;
}
