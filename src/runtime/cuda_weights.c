// Weights on a GPU: read through pinned memory, packed there; or drawn there.
#include <math.h>

#include "runtime/cuda_impl.h"

// Two pinned buffers: one is read into while the other one's copy is under way.
typedef struct loader {
  ts_weights *w;
  const ts_library *l;
  const ts_index *x;
  const ts__gpu *gpu;
  ts__pinned slot[2];
  CUevent copied[2];
  int turn;
  ts__device_memory scratch;  // storage of the weight that is being packed, then the kernel's workspace
  ts_cuda_helpers fill;
  const char *loaded;         // symbol of the pack kernel that is there
  ts_cuda_kernel *pack;
} loader;

static CUdeviceptr part_address(const ts_weights *w, int weight, int part) { return w->device + (uint64_t)w->parts[w->first[weight] + part].offset; }

static bool setup(loader *k, ts_diag *d) {
  if (k->w->plan->synthetic) return ts_cuda_helpers_open(&k->gpu->g, &k->fill, d);
  for (int i = 0; i < 2; i++) TS_TRY(ts__gpu_check(k->gpu, k->gpu->g.cu->cuEventCreate(&k->copied[i], TS_CU_EVENT_NO_TIMING), "making an event", d));
  return true;
}

static void teardown(loader *k) {
  const ts__gpu *g = k->gpu;
  (void)g->g.cu->cuStreamSynchronize(g->stream);
  for (int i = 0; i < 2; i++) {
    if (k->copied[i]) (void)g->g.cu->cuEventDestroy(k->copied[i]);
    ts__pinned_unmap(g, &k->slot[i]);
  }
  ts__device_unmap(g, &k->scratch);
  ts_cuda_kernel_unload(k->pack);
  ts_cuda_helpers_close(&k->fill);
}

// --- one tensor ----------------------------------------------------------------------------------------------------------
static bool read_tensor(loader *k, int weight, int i, ts_dtype as, CUdeviceptr to, int64_t bytes, ts_diag *d) {
  const ts__gpu *g = k->gpu;
  int s = k->turn = !k->turn;
  TS_TRY(ts__gpu_check(g, g->g.cu->cuEventSynchronize(k->copied[s]), "copying weights", d));
  if (k->slot[s].n < (size_t)bytes) {
    ts__pinned_unmap(g, &k->slot[s]);
    TS_TRY(ts__pinned_map(g, &k->slot[s], (size_t)bytes, "pinned memory for weights", d));
  }
  TS_TRY(ts__weights_read(k->w, k->x, weight, i, as, k->slot[s].p, d));
  TS_TRY(ts__gpu_check(g, g->g.cu->cuMemcpyHtoDAsync(to, k->slot[s].p, (size_t)bytes, g->stream), "copying weights", d));
  return ts__gpu_check(g, g->g.cu->cuEventRecord(k->copied[s], g->stream), "copying weights", d);
}

typedef struct drawn {  // base, and up to base + scale
  float scale, base;
} drawn;

// Scales make products with random codes keep the size of activations; norms are near 1.
static drawn drawn_as(const char *name, int ndim, float hidden) {
  if (ndim == 1) return strstr(name, "norm") ? (drawn){0.2f, 0.9f} : (drawn){0.04f, -0.02f};
  if (strstr(name, "scale")) return (drawn){0.1f / sqrtf(hidden), 0.16f / sqrtf(hidden)};
  return (drawn){2 * sqrtf(3 / hidden), -sqrtf(3 / hidden)};
}

double ts_weights_drawn_most(const char *name, int ndim, int64_t hidden) {
  drawn x = drawn_as(name, ndim, (float)hidden);
  return fmax(fabs((double)x.base), fabs((double)x.base + (double)x.scale));
}

// Codes are random bits.
static bool draw_tensor(loader *k, const char *name, const ts_tensor *t, ts_dtype as, CUdeviceptr to, ts_diag *d) {
  static const char *const real[TS_DT__COUNT] = {[TS_DT_F32] = "f32", [TS_DT_F16] = "f16", [TS_DT_BF16] = "bf16"};
  uint64_t seed = ts_hash64(name, strlen(name), 1);
  int64_t n = ts_tensor_count(t);
  if (!real[as]) return ts_cuda_fill_bits(&k->fill, to, ts_tensor_bytes(t), seed, d);
  TS_TRY(ts_plan_within(k->w->plan, name, ts_weights_drawn_most(name, t->ndim, k->w->plan->hidden), ts_library_path(k->l), d));
  drawn x = drawn_as(name, t->ndim, (float)k->w->plan->hidden);
  return ts_cuda_fill_real(&k->fill, real[as], to, n, seed, x.scale, x.base, d);
}

// Storage tensor i of a weight, as `as`, to an address on the GPU.
static bool put_storage(loader *k, int weight, int i, ts_dtype as, CUdeviceptr to, ts_diag *d) {
  const ts_plan_storage *s = &k->w->plan->weights[weight].storage[i];
  ts_tensor there = s->t;
  there.dtype = as;
  if (k->w->plan->synthetic) return draw_tensor(k, s->name, &s->t, as, to, d);
  return read_tensor(k, weight, i, as, to, ts_tensor_bytes(&there), d);
}

// --- one weight ----------------------------------------------------------------------------------------------------------
static bool put_plain(loader *k, int weight, ts_diag *d) {
  const ts_plan_weight *pw = &k->w->plan->weights[weight];
  for (int i = 0; i < pw->nparts; i++)
    if (k->w->parts[k->w->first[weight] + i].owner) TS_TRY(put_storage(k, weight, i, pw->parts[i].dtype, part_address(k->w, weight, i), d));
  return true;
}

static bool grow_scratch(loader *k, int64_t bytes, ts_diag *d) {
  if ((size_t)bytes <= k->scratch.n) return true;
  TS_TRY(ts__gpu_sync(k->gpu, "packing weights", d));
  ts__device_unmap(k->gpu, &k->scratch);
  return ts__device_map(k->gpu, &k->scratch, (size_t)bytes, "memory to pack weights in", d);
}

static bool pack_kernel(loader *k, int weight, ts_diag *d) {
  const char *symbol = k->w->plan->weights[weight].pack;
  if (k->loaded && !strcmp(k->loaded, symbol)) return true;
  TS_TRY(ts__gpu_sync(k->gpu, "packing weights", d));
  ts_cuda_kernel_unload(k->pack);
  ts__kernel code = ts__library_pack(k->l, weight);
  k->loaded = NULL;
  k->pack = ts_cuda_kernel_load(&k->gpu->g, code.artifact, code.artifact_bytes, d);
  if (!k->pack) return false;
  k->loaded = symbol;
  return true;
}

static bool put_packed(loader *k, int weight, ts_diag *d) {
  const ts_plan_weight *pw = &k->w->plan->weights[weight];
  CUdeviceptr buf[2 * 16 + 1];
  int64_t at = 0, workspace, zeroed;
  TS_TRY(pack_kernel(k, weight, d));
  const ts_gpu_code *code = ts_cuda_kernel_code(k->pack);
  if (code->nparams != pw->nstorage + pw->nparts || code->ndims)
    return ts_refuse(d, "library-kernel", "%s: kernel %s has %d parameters, the plan passes %d", ts_library_path(k->l), pw->pack, code->nparams, pw->nstorage + pw->nparts);
  TS_TRY(ts_cuda_kernel_workspace(k->pack, NULL, &workspace, &zeroed, d));
  for (int i = 0; i < pw->nstorage; i++) at += (ts_tensor_bytes(&pw->storage[i].t) + 255) & -INT64_C(256);
  TS_TRY(grow_scratch(k, at + workspace, d));
  buf[pw->nstorage + pw->nparts] = k->scratch.p + (uint64_t)at;
  if (zeroed) TS_TRY(ts__gpu_check(k->gpu, k->gpu->g.cu->cuMemsetD8Async(k->scratch.p + (uint64_t)at, 0, (size_t)zeroed, k->gpu->stream), "packing weights", d));
  at = 0;
  for (int i = 0; i < pw->nstorage; i++) {
    buf[i] = k->scratch.p + (uint64_t)at;
    TS_TRY(put_storage(k, weight, i, pw->storage[i].t.dtype, buf[i], d));
    at += (ts_tensor_bytes(&pw->storage[i].t) + 255) & -INT64_C(256);
  }
  // Drawing uses the default stream.
  if (k->w->plan->synthetic) TS_TRY(ts__gpu_check(k->gpu, k->gpu->g.cu->cuCtxSynchronize(), "drawing weights", d));
  for (int i = 0; i < pw->nparts; i++) buf[pw->nstorage + i] = part_address(k->w, weight, i);
  ts_arena *a = ts_arena_new("pack");
  ts_cuda_call *call = ts_cuda_call_new(k->pack, a, buf, NULL, 0, d);
  bool ok = call && ts_cuda_call_issue(call, k->gpu->stream, false, d);
  ts_arena_free(a);
  return ok && (!k->w->plan->synthetic || ts__gpu_sync(k->gpu, "packing weights", d));
}

// Weights of one pack kernel together, so that each is loaded once.
static bool put_all(loader *k, ts_diag *d) {
  const ts_plan *p = k->w->plan;
  for (int i = 0; i < p->nweights; i++)
    if (!p->weights[i].pack) TS_TRY(put_plain(k, i, d));
  ts_arena *a = ts_arena_new("pack order");
  bool *done = ts_new_array(a, bool, p->nweights), ok = true;
  for (int i = 0; ok && i < p->nweights; i++)
    for (int j = i; ok && p->weights[i].pack && !done[i] && j < p->nweights; j++)
      if (p->weights[j].pack && !strcmp(p->weights[i].pack, p->weights[j].pack)) {
        ok = put_packed(k, j, d);
        if (j > i) done[j] = true;
      }
  ts_arena_free(a);
  return ok && ts__gpu_sync(k->gpu, "loading weights", d) && ts__gpu_check(k->gpu, k->gpu->g.cu->cuCtxSynchronize(), "loading weights", d);
}

bool ts__weights_load_cuda(ts_weights *w, const ts_library *l, const ts_index *x, ts_diag *d) {
  ts__device_memory m;
  if (!w->plan->synthetic && !x) return ts_bug(d, "weights", "%s: no parameters to load", ts_library_path(l));
  if (!(w->gpu = ts__gpu_open(w->plan, ts_library_path(l), d))) return false;
  TS_TRY(ts__device_map(w->gpu, &m, (size_t)w->bytes, "weights", d));
  w->device = m.p;
  loader k = {.w = w, .l = l, .x = x, .gpu = w->gpu};
  bool ok = setup(&k, d) && put_all(&k, d);
  teardown(&k);
  return ok;
}

void ts__weights_free_cuda(ts_weights *w) {
  if (!w->gpu) return;
  (void)w->gpu->g.cu->cuCtxSetCurrent(w->gpu->g.context);
  if (w->device) (void)w->gpu->g.cu->cuMemFree(w->device);
  ts__gpu_close(w->gpu);
  w->gpu = NULL;
}

const ts_cuda *ts_weights_gpu(const ts_weights *w) { return w->gpu ? &w->gpu->g : NULL; }
