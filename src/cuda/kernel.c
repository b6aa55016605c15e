// Artifacts of target/gpu.h on a device: loading, binding arguments, issuing launches.
#include <stdlib.h>

#include "cuda/cuda_impl.h"

enum { MOST_SHARED_DEFAULT = 48 << 10, JIT_LOG = 4096 };

// A library's product at a number of rows.
typedef struct sized {
  struct sized *next;
  int64_t rows;
  ts__blas *blas;
} sized;
struct ts_cuda_kernel {
  ts_arena *arena;
  ts__gemm gemm;      // of a library
  sized **products;  // a list that grows with the calls
  const ts_cuda_driver *cu;
  ts_gpu_code code;
  CUmodule module;
  CUfunction *entry;  // one a launch
  int *allowed;       // dynamic shared memory that the entry of each launch may have
  int registers;
  int64_t local_bytes;
};

// --- loading -------------------------------------------------------------------------------------------------------
// A NUL after the image: PTX is text.
static void *image_copy(ts_arena *a, const ts_gpu_code *c) { return ts_arena_strndup(a, c->image, c->image_n); }

static bool load_module(ts_cuda_kernel *k, ts_diag *d) {
  char log[JIT_LOG] = "";
  CUjit_option option[] = {5, 6};  // CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
  void *value[] = {log, (void *)(uintptr_t)sizeof log};
  void *image = k->code.kind == TS_GPU_PTX ? image_copy(k->arena, &k->code) : ts_arena_dup(k->arena, k->code.image, k->code.image_n);
  CUresult r = k->cu->cuModuleLoadDataEx(&k->module, image, 2, option, value);
  if (r == TS_CU_OK) return true;
  size_t line = strcspn(log, "\n");
  return ts_cuda_check(k->cu, r, d, "loading code for %s%s%.*s", k->code.arch, line ? ": " : "", (int)TS_MIN(line, 200), log);
}

static bool load_entry(ts_cuda_kernel *k, int i, ts_diag *d) {
  const ts_gpu_launch *l = &k->code.launches[i];
  int registers = 0, local = 0, shared = 0;
  TS_TRY(ts_cuda_check(k->cu, k->cu->cuModuleGetFunction(&k->entry[i], k->module, l->entry), d, "entry %.100s", l->entry));
  TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncGetAttribute(&registers, TS_CU_FUNC_REGISTERS, k->entry[i]), d, "entry %.100s", l->entry));
  TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncGetAttribute(&local, TS_CU_FUNC_LOCAL, k->entry[i]), d, "entry %.100s", l->entry));
  TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncGetAttribute(&shared, TS_CU_FUNC_STATIC_SHARED, k->entry[i]), d, "entry %.100s", l->entry));
  if ((int64_t)l->cluster[0] * l->cluster[1] * l->cluster[2] > 8)
    TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncSetAttribute(k->entry[i], TS_CU_FUNC_ANY_CLUSTER, 1), d, "entry %.100s: clusters of more than 8 blocks", l->entry));
  // Neighbours in a chain of such kernels share a multiprocessor: its memory is all shared memory for each, else it has to be empty before the next
  // one's blocks find room. Kernels that read through the first-level cache lose a sixth of their speed by that and do not ask for it.
  if (l->dependent == 2) TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncSetAttribute(k->entry[i], TS_CU_FUNC_CARVEOUT, 100), d, "entry %.100s: all memory as shared memory", l->entry));
  k->allowed[i] = MOST_SHARED_DEFAULT - shared;
  k->registers = TS_MAX(k->registers, registers);
  k->local_bytes = TS_MAX(k->local_bytes, local);
  return true;
}

ts_cuda_kernel *ts_cuda_kernel_load(const ts_cuda *g, const void *bytes, size_t n, ts_diag *d) {
  ts_arena *a = ts_arena_new("cuda kernel");
  ts_cuda_kernel *k = ts_new(a, ts_cuda_kernel);
  k->arena = a;
  k->cu = g->cu;
  bool ok = ts_gpu_code_read(a, bytes, n, &k->code, d) && (k->code.kind == TS_GPU_LIBRARY ? ts__gemm_read(a, &k->code, &k->gemm, d) : load_module(k, d));
  if (ok) {
    k->entry = ts_new_array(a, CUfunction, k->code.nlaunches);
    k->products = ts_new(a, sized *);
    k->allowed = ts_new_array(a, int, k->code.nlaunches);
    k->code.image = NULL;  // the caller's memory
    k->code.image_n = 0;
  }
  for (int i = 0; ok && i < k->code.nlaunches; i++) ok = load_entry(k, i, d);
  if (ok) return k;
  ts_cuda_kernel_unload(k);
  return NULL;
}

void ts_cuda_kernel_unload(ts_cuda_kernel *k) {
  if (!k) return;
  if (k->module) (void)k->cu->cuModuleUnload(k->module);
  for (sized *p = k->products ? *k->products : NULL; p; p = p->next) ts__blas_free(p->blas);
  ts_arena_free(k->arena);
}

const ts_gpu_code *ts_cuda_kernel_code(const ts_cuda_kernel *k) { return &k->code; }
int ts_cuda_kernel_registers(const ts_cuda_kernel *k) { return k->registers; }
int64_t ts_cuda_kernel_local_bytes(const ts_cuda_kernel *k) { return k->local_bytes; }

static bool eval(const ts_cuda_kernel *k, const char *expr, const int64_t *dims, int64_t *out, ts_diag *d) {
  return ts_gpu_eval(expr, k->code.dims, dims, k->code.ndims, out, d);
}

bool ts_cuda_kernel_workspace(const ts_cuda_kernel *k, const int64_t *dims, int64_t *bytes, int64_t *zeroed, ts_diag *d) {
  TS_TRY(eval(k, k->code.workspace, dims, bytes, d) && eval(k, k->code.zeroed, dims, zeroed, d));
  if (*bytes >= 0 && *zeroed >= 0 && *zeroed <= *bytes) return true;
  return ts_refuse(d, "bad-workspace", "a workspace of %lld bytes, of which %lld are to be zero", (long long)*bytes, (long long)*zeroed);
}

// --- calls ------------------------------------------------------------------------------------------------------------
typedef struct issue {
  CUfunction f;
  unsigned grid[3], block[3], cluster[3], shared;
  bool clustered, dependent, empty;
  void **args;
} issue;
struct ts_cuda_call {
  const ts_cuda_driver *cu;
  const char *const *names;
  int n;
  issue *issues;
  const ts__blas *blas;     // of a library, instead of launches
  const CUdeviceptr *buf;   // its buffers, then the workspace
  int nparams;
};

static bool encode_map(const ts_cuda_kernel *k, const ts_gpu_tmap *m, const CUdeviceptr *buf, const int64_t *dims, CUtensorMap *out, ts_diag *d) {
  static const struct {
    const char *name;
    int type;
  } types[] = {{"u8", 0}, {"i32", 3}, {"f16", 6}, {"f32", 7}, {"bf16", 9}};
  int type = -1, swizzle = m->swizzle == 128 ? 3 : m->swizzle == 64 ? 2 : m->swizzle == 32 ? 1 : 0;
  for (size_t i = 0; i < TS_COUNTOF(types); i++)
    if (strcmp(types[i].name, m->type) == 0) type = types[i].type;
  if (!k->cu->cuTensorMapEncodeTiled) return ts_env_fail(d, "no-tensor-maps", "the CUDA driver has no tensor maps: a newer one is needed");
  uint64_t size[TS_GPU_TMAP_DIMS], stride[TS_GPU_TMAP_DIMS];
  uint32_t box[TS_GPU_TMAP_DIMS], ones[TS_GPU_TMAP_DIMS];
  for (int i = 0; i < m->ndim; i++) {
    int64_t v, b, s = 0;
    TS_TRY(eval(k, m->dim[i], dims, &v, d) && eval(k, m->box[i], dims, &b, d));
    if (i + 1 < m->ndim) TS_TRY(eval(k, m->stride[i], dims, &s, d));
    if (v < 1 || b < 1 || b > 256 || s < 0) return ts_refuse(d, "bad-tensor-map", "tensor map of buffer %d: dimension %d has %lld elements, a box of %lld", m->buffer, i, (long long)v, (long long)b);
    size[i] = (uint64_t)v;
    box[i] = (uint32_t)b;
    stride[i] = (uint64_t)s;
    ones[i] = 1;
  }
  return ts_cuda_check(k->cu, k->cu->cuTensorMapEncodeTiled(out, type, (unsigned)m->ndim, (void *)(uintptr_t)buf[m->buffer], size, stride, box, ones, 0, swizzle, 2, 0), d,
                       "tensor map of buffer %d", m->buffer);
}

// Arguments live in the arena: the driver copies them at each launch.
static bool bind_args(const ts_cuda_kernel *k, const ts_gpu_launch *l, ts_arena *a, const CUdeviceptr *buf, const int64_t *dims, CUdeviceptr dims_memory, issue *s, ts_diag *d) {
  s->args = ts_new_array(a, void *, l->nargs + 1);
  for (int i = 0; i < l->nargs; i++) {
    if (l->args[i].kind == TS_GPU_TMAP) {
      CUtensorMap *m = ts_arena_alloc(a, sizeof *m, _Alignof(CUtensorMap));
      if (!s->empty) TS_TRY(encode_map(k, &l->tmaps[l->args[i].index], buf, dims, m, d));
      s->args[i] = m;
      continue;
    }
    CUdeviceptr *p = ts_new(a, CUdeviceptr);
    *p = l->args[i].kind == TS_GPU_BUFFER ? buf[l->args[i].index] : l->args[i].kind == TS_GPU_WORKSPACE ? buf[k->code.nparams] : dims_memory;
    s->args[i] = p;
  }
  return true;
}

// The entry may need leave for more dynamic shared memory than every kernel has.
static bool allow_shared(const ts_cuda_kernel *k, int i, int64_t bytes, ts_diag *d) {
  if (bytes <= k->allowed[i]) return true;
  TS_TRY(ts_cuda_check(k->cu, k->cu->cuFuncSetAttribute(k->entry[i], TS_CU_FUNC_DYNAMIC_SHARED, (int)bytes), d, "entry %.100s: %lld bytes of shared memory", k->code.launches[i].entry,
                       (long long)bytes));
  for (int j = 0; j < k->code.nlaunches; j++)
    if (k->entry[j] == k->entry[i]) k->allowed[j] = (int)bytes;
  return true;
}

static bool bind_launch(const ts_cuda_kernel *k, int i, const int64_t *dims, issue *s, ts_diag *d) {
  const ts_gpu_launch *l = &k->code.launches[i];
  s->f = k->entry[i];
  for (int j = 0; j < 3; j++) {
    int64_t v;
    TS_TRY(eval(k, l->grid[j], dims, &v, d));
    if (v < 0 || v > (j ? 65535 : INT32_MAX)) return ts_refuse(d, "bad-grid", "entry %.100s: a grid of %lld blocks in direction %d", l->entry, (long long)v, j);
    if (v == 0) s->empty = true;
    s->grid[j] = (unsigned)v;
    s->block[j] = (unsigned)l->block[j];
    s->cluster[j] = (unsigned)l->cluster[j];
  }
  int64_t shared;
  TS_TRY(eval(k, l->shared, dims, &shared, d));
  if (shared < 0 || shared > 1 << 20) return ts_refuse(d, "bad-shared", "entry %.100s: %lld bytes of shared memory", l->entry, (long long)shared);
  s->shared = (unsigned)shared;
  s->clustered = l->cluster[0] * l->cluster[1] * l->cluster[2] > 1;
  s->dependent = l->dependent;
  return allow_shared(k, i, shared, d);
}

static const ts__blas *product(const ts_cuda_kernel *k, int64_t rows, int64_t workspace_bytes, ts_diag *d) {
  for (sized *p = *k->products; p; p = p->next)
    if (p->rows == rows) return p->blas;
  ts__blas *b = ts__blas_new(&k->gemm, rows, workspace_bytes, d);
  if (!b) return NULL;
  sized *p = ts_new(k->arena, sized);
  *p = (sized){.next = *k->products, .rows = rows, .blas = b};
  *k->products = p;
  return b;
}

static bool bind_library(const ts_cuda_kernel *k, ts_cuda_call *c, ts_arena *a, const CUdeviceptr *buf, const int64_t *dims, ts_diag *d) {
  int64_t rows, bytes, zeroed;
  TS_TRY(eval(k, k->gemm.rows, dims, &rows, d) && ts_cuda_kernel_workspace(k, dims, &bytes, &zeroed, d));
  if (rows < 1 || rows > INT32_MAX) return ts_refuse(d, "bad-grid", "a product of %lld rows", (long long)rows);
  c->nparams = k->code.nparams;
  c->buf = ts_arena_dup(a, buf, sizeof *buf * (size_t)(c->nparams + 1));
  return (c->blas = product(k, rows, bytes, d)) != NULL;
}

int64_t ts_cuda_bound(int64_t t, int64_t most) {
  int64_t b = 256;
  while (b <= t) b *= 2;
  return TS_MIN(b, most);
}

ts_cuda_call *ts_cuda_call_new(const ts_cuda_kernel *k, ts_arena *a, const CUdeviceptr *buf, const int64_t *dims, CUdeviceptr dims_memory, ts_diag *d) {
  ts_cuda_call *c = ts_new(a, ts_cuda_call);
  c->cu = k->cu;
  c->n = k->code.nlaunches;
  if (k->code.kind == TS_GPU_LIBRARY) return bind_library(k, c, a, buf, dims, d) ? c : NULL;
  c->issues = ts_new_array(a, issue, c->n);
  const char **names = ts_new_array(a, const char *, c->n);
  for (int i = 0; i < c->n; i++) {
    names[i] = k->code.launches[i].entry;
    if (!bind_launch(k, i, dims, &c->issues[i], d) || !bind_args(k, &k->code.launches[i], a, buf, dims, dims_memory, &c->issues[i], d)) return NULL;
  }
  c->names = names;
  return c;
}

int ts_cuda_call_launches(const ts_cuda_call *c) {
  int n = c->blas != NULL;
  for (int i = 0; i < c->n; i++) n += !c->issues[i].empty;
  return n;
}

static CUresult issue_one(const ts_cuda_driver *cu, const issue *s, CUstream stream, bool dependent) {
  CUlaunchAttribute attr[2] = {0};
  CUlaunchConfig config = {.gx = s->grid[0], .gy = s->grid[1], .gz = s->grid[2], .bx = s->block[0], .by = s->block[1], .bz = s->block[2], .shared = s->shared, .stream = stream, .attrs = attr};
  if (s->clustered) {
    attr[config.nattrs].id = TS_CU_LAUNCH_CLUSTER;
    attr[config.nattrs].value.cluster.x = s->cluster[0];
    attr[config.nattrs].value.cluster.y = s->cluster[1];
    attr[config.nattrs++].value.cluster.z = s->cluster[2];
  }
  if (dependent) {
    attr[config.nattrs].id = TS_CU_LAUNCH_DEPENDENT;
    attr[config.nattrs++].value.flag = 1;
  }
  if (config.nattrs) return cu->cuLaunchKernelEx(&config, s->f, s->args, NULL);
  return cu->cuLaunchKernel(s->f, s->grid[0], s->grid[1], s->grid[2], s->block[0], s->block[1], s->block[2], s->shared, stream, s->args, NULL);
}

bool ts_cuda_call_issue(const ts_cuda_call *c, CUstream stream, bool first_dependent, ts_diag *d) {
  if (c->blas) return ts__blas_issue(c->blas, c->buf, c->buf[c->nparams], stream, d);
  for (int i = 0; i < c->n; i++) {
    const issue *s = &c->issues[i];
    if (s->empty) continue;
    TS_TRY(ts_cuda_check(c->cu, issue_one(c->cu, s, stream, s->dependent && (i || first_dependent)), d, "launching %.100s", c->names[i]));
  }
  return true;
}
