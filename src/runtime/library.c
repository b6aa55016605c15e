// Model libraries: shared objects with kernels and a plan.
#include <dlfcn.h>
#include <elf.h>
#include <stdlib.h>

#include "runtime/runtime_impl.h"

struct ts_library {
  ts_arena *arena;
  void *handle;
  uint64_t span;  // bytes of addresses that it takes
  const char *path;
  const ts_plan *plan;
  ts__kernel **steps;  // [phase][step]
  ts__kernel *packs;   // [weight]
};

static bool is_elf(const ts_map *m, Elf64_Ehdr *h) {
  if (m->n < sizeof *h || memcmp(m->p, ELFMAG, SELFMAG) != 0) return false;
  memcpy(h, m->p, sizeof *h);
  return h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_machine == EM_X86_64 && h->e_type == ET_DYN;
}

// The file is a library as the build wrote it: what happened to its bytes since is a refusal, not a crash of the loader or, later, of a
// kernel. One without a seal is of a build that made none or has lost its end, which cannot be told apart.
static bool is_whole(const char *path, const ts_map *m, Elf64_Ehdr *h, ts_diag *d) {
  ts_seal_state seal = ts_seal_check(m->p, m->n);
  if (seal == TS_SEAL_BROKEN)
    return ts_refuse(d, "library-damaged", "%s: damaged: its bytes are not those that were written; build the model again or copy it again", path);
  if (!is_elf(m, h)) return ts_refuse(d, "not-a-library", "%s: not a shared object for x86-64", path);
  return seal == TS_SEAL_HOLDS ||
         ts_refuse(d, "library-damaged", "%s: damaged, or of an older build: it does not end in a checksum; build the model again or copy it again", path);
}

// The parts of the file that the loader would map lie within it.
static bool segments_ok(const char *path, const ts_map *m, const Elf64_Ehdr *h, uint64_t *span, ts_diag *d) {
  size_t table = (size_t)h->e_phnum * sizeof(Elf64_Phdr);
  if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff > m->n || table > m->n - h->e_phoff)
    return ts_refuse(d, "library-cut", "%s: the file is cut off", path);
  for (int i = 0; i < h->e_phnum; i++) {
    Elf64_Phdr p;
    memcpy(&p, m->p + h->e_phoff + (size_t)i * sizeof p, sizeof p);
    if (p.p_type == PT_LOAD && (p.p_offset > m->n || p.p_filesz > m->n - p.p_offset))
      return ts_refuse(d, "library-cut", "%s: the file is cut off: %zu bytes, a segment ends at %llu", path, m->n,
                       (unsigned long long)(p.p_offset + p.p_filesz));
    if (p.p_type == PT_LOAD) *span = TS_MAX(*span, p.p_vaddr + p.p_memsz);
  }
  return true;
}

static bool open_handle(ts_library *l, ts_diag *d) {
  ts_map m;
  Elf64_Ehdr h;
  TS_TRY(ts_map_open(l->path, &m, d));
  bool ok = is_whole(l->path, &m, &h, d) && segments_ok(l->path, &m, &h, &l->span, d);
  ts_map_close(&m);
  if (!ok) return false;
  const char *full = strchr(l->path, '/') ? l->path : ts_arena_printf(l->arena, "./%s", l->path);
  l->handle = dlopen(full, RTLD_NOW | RTLD_LOCAL);
  return l->handle || ts_env_fail(d, "library-open", "%s", dlerror());
}

// n bytes at p are the library's, by the size that it states itself.
static bool holds(const ts_library *l, const char *name, const void *p, uint64_t n, ts_diag *d) {
  Dl_info info;
  bool known = dladdr(p, &info) != 0;
  uint64_t at = known ? (uint64_t)((uintptr_t)p - (uintptr_t)info.dli_fbase) : 0;
  return (known && at < l->span && n <= l->span - at) || ts_refuse(d, "library-cut", "%s: %s is %llu bytes, which the library lacks", l->path, name, (unsigned long long)n);
}

static bool read_plan(ts_library *l, ts_diag *d) {
  const uint32_t *abi = dlsym(l->handle, TS_PLAN_SYM_ABI);
  const char *text = dlsym(l->handle, TS_PLAN_SYM_TEXT);
  const uint64_t *size = dlsym(l->handle, TS_PLAN_SYM_SIZE);
  if (!abi || !text || !size) return ts_refuse(d, "not-a-model", "%s: not a model library of tunesmith", l->path);
  if (*abi != TS_KERNEL_ABI)
    return ts_refuse(d, "library-abi", "%s: kernel interface %u, this runtime has %d; build the model again", l->path, *abi,
                     TS_KERNEL_ABI);
  TS_TRY(holds(l, "the plan", text, *size, d));
  l->plan = ts_plan_parse(l->arena, l->path, text, *size, d);
  return l->plan != NULL;
}

static bool runs_here(const ts_library *l, ts_diag *d) {
  ts_target host;
  if (l->plan->api != TS_API_CPU) return true;  // asked where its memory is made
  TS_TRY(ts_target_parse("cpu", &host, d));
  for (int i = 0; i < l->plan->nfeatures; i++)
    if (!ts_target_has(&host, l->plan->features[i])) {
      (void)ts_refuse(d, "wrong-cpu", "%s: built for a CPU with %s, which this one lacks", l->path, l->plan->features[i]);
      ts_hint(d, "build the model with --target cpu on this machine");
      return false;
    }
  return true;
}

static bool resolve(const ts_library *l, const char *name, ts__kernel *k, ts_diag *d) {
  char workspace[600];
  if (snprintf(workspace, sizeof workspace, "%s_workspace", name) >= (int)sizeof workspace)
    return ts_refuse(d, "library-kernel", "%s: kernel name is too long", l->path);
  *(void **)&k->run = dlsym(l->handle, name);
  *(void **)&k->workspace = dlsym(l->handle, workspace);
  if (!k->run || !k->workspace)
    return ts_refuse(d, "library-kernel", "%s: the plan names kernel %s, which the library lacks", l->path,
                     k->run ? workspace : name);
  return true;
}

// A kernel for a GPU is data; what it says is checked when it is loaded there.
static bool resolve_artifact(const ts_library *l, const char *name, ts__kernel *k, ts_diag *d) {
  char bytes[600];
  if (snprintf(bytes, sizeof bytes, "%s_bytes", name) >= (int)sizeof bytes)
    return ts_refuse(d, "library-kernel", "%s: kernel name is too long", l->path);
  const uint64_t *n = dlsym(l->handle, bytes);
  k->artifact = dlsym(l->handle, name);
  if (!k->artifact || !n)
    return ts_refuse(d, "library-kernel", "%s: the plan names kernel %s, which the library lacks", l->path, k->artifact ? bytes : name);
  k->artifact_bytes = *n;
  return holds(l, name, k->artifact, *n, d);
}

static bool resolve_one(const ts_library *l, const char *name, ts__kernel *k, ts_diag *d) {
  return l->plan->api == TS_API_CPU ? resolve(l, name, k, d) : resolve_artifact(l, name, k, d);
}

static bool resolve_all(ts_library *l, ts_diag *d) {
  const ts_plan *p = l->plan;
  l->steps = ts_new_array(l->arena, ts__kernel *, p->nphases);
  for (int i = 0; i < p->nphases; i++) {
    l->steps[i] = ts_new_array(l->arena, ts__kernel, p->phases[i].nsteps);
    for (int k = 0; k < p->phases[i].nsteps; k++) TS_TRY(resolve_one(l, p->phases[i].steps[k].kernel, &l->steps[i][k], d));
  }
  l->packs = ts_new_array(l->arena, ts__kernel, p->nweights);
  for (int i = 0; i < p->nweights; i++)
    if (p->weights[i].pack) TS_TRY(resolve_one(l, p->weights[i].pack, &l->packs[i], d));
  return true;
}

ts_library *ts_library_open(const char *path, ts_diag *d) {
  ts_arena *a = ts_arena_new("library");
  ts_library *l = ts_new(a, ts_library);
  l->arena = a;
  l->path = ts_arena_strdup(a, path);
  if (open_handle(l, d) && read_plan(l, d) && runs_here(l, d) && resolve_all(l, d)) return l;
  ts_library_close(l);
  return NULL;
}

void ts_library_close(ts_library *l) {
  if (!l) return;
  if (l->handle) dlclose(l->handle);
  ts_arena_free(l->arena);
}

const ts_plan *ts_library_plan(const ts_library *l) { return l->plan; }
const char *ts_library_path(const ts_library *l) { return l->path; }
ts__kernel ts__library_step(const ts_library *l, int phase, int step) { return l->steps[phase][step]; }
ts__kernel ts__library_pack(const ts_library *l, int weight) { return l->packs[weight]; }
