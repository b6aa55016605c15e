// The pool of pages on a GPU: addresses for all of it, memory for as many pages as have been in use at once.
//
// Each layer's K (and V) has a range of addresses of its own; memory comes in pieces of STEP bytes, to all of the ranges at the same time. It stays
// until the pool goes. A small pool, or a driver that cannot map memory, has all of it from the beginning.
#include "runtime/cuda_impl.h"

enum { STEP = 2 << 20, LEAST_STEPS = 4 };

static const ts_cuda_driver *driver(const ts_cache *c) { return c->gpu->g.cu; }
static size_t page_bytes(const ts_cache *c) { return (size_t)(c->plan->kv_bytes / c->plan->pages); }
static int64_t ranges(const ts_cache *c) { return 2 * c->plan->layers; }
static CUdeviceptr range(const ts_cache *c, int64_t i) { return c->device + (size_t)i * ts__cache_layer_bytes(c->plan); }

size_t ts__cache_step(const ts_plan *p) { return p->api == TS_API_CUDA && p->page && p->kv_bytes >= LEAST_STEPS * (int64_t)STEP ? STEP : 256; }

static CUmemProp memory_of(const ts_cache *c) { return (CUmemProp){.type = TS_CU_MEM_PINNED, .place = TS_CU_MEM_ON_DEVICE, .device = c->gpu->g.device}; }

static bool can_map(const ts_cache *c) {
  const ts_cuda_driver *cu = driver(c);
  const CUmemProp p = memory_of(c);
  size_t least = 0;
  if (ts__cache_step(c->plan) != STEP || !cu->cuMemGetAllocationGranularity || !cu->cuMemAddressReserve || !cu->cuMemAddressFree || !cu->cuMemCreate || !cu->cuMemRelease ||
      !cu->cuMemMap || !cu->cuMemUnmap || !cu->cuMemSetAccess)
    return false;
  return cu->cuMemGetAllocationGranularity(&least, &p, TS_CU_MEM_LEAST) == TS_CU_OK && least && STEP % least == 0;
}

// Memory for n bytes of a range, all zero.
static bool map_piece(ts_cache *c, CUdeviceptr at, size_t n, ts_diag *d) {
  const ts_cuda_driver *cu = driver(c);
  const CUmemProp p = memory_of(c);
  const CUmemAccess access = {.place = TS_CU_MEM_ON_DEVICE, .device = c->gpu->g.device, .flags = TS_CU_MEM_READ_WRITE};
  CUmemHandle h = 0;
  CUresult r = cu->cuMemCreate(&h, n, &p, 0);
  if (r == TS_CU_OUT_OF_MEMORY) {
    size_t available = 0, total = 0;
    (void)cu->cuMemGetInfo(&available, &total);
    return ts_env_fail(d, "out-of-device-memory", "KV cache: no memory for more pages, %.1f of %.1f MB are free on %s", (double)available / 1e6, (double)total / 1e6, c->gpu->g.name);
  }
  TS_TRY(ts__gpu_check(c->gpu, r, "memory for pages", d));
  r = cu->cuMemMap(at, n, 0, h, 0);
  (void)cu->cuMemRelease(h);  // the mapping holds it
  TS_TRY(ts__gpu_check(c->gpu, r, "mapping memory", d));
  if (ts__gpu_check(c->gpu, cu->cuMemSetAccess(at, n, &access, 1), "mapping memory", d) && ts__gpu_check(c->gpu, cu->cuMemsetD8Async(at, 0, n, c->gpu->stream), "clearing memory", d)) return true;
  (void)cu->cuMemUnmap(at, n);
  return false;
}

// The piece from `from` to `to` of every range, or of none.
static bool map_pieces(ts_cache *c, size_t from, size_t to, ts_diag *d) {
  for (int64_t i = 0; i < ranges(c); i++) {
    if (map_piece(c, range(c, i) + from, to - from, d)) continue;
    (void)driver(c)->cuStreamSynchronize(c->gpu->stream);
    while (--i >= 0) (void)driver(c)->cuMemUnmap(range(c, i) + from, to - from);
    return false;
  }
  return true;
}

bool ts__cache_back_cuda(ts_cache *c, int64_t pages, ts_diag *d) {
  if (pages <= c->backed) return true;
  const size_t all = ts__cache_layer_bytes(c->plan), have = c->npieces ? c->piece[c->npieces - 1] : 0;
  size_t want = (size_t)pages * page_bytes(c);
  want = TS_MAX(want, have + have / 4);  // few pieces in the end
  want = c->npieces == (int)TS_COUNTOF(c->piece) - 1 ? all : TS_MIN((want + STEP - 1) / STEP * STEP, all);
  TS_TRY(ts__gpu_enter(c->gpu, d) && map_pieces(c, have, want, d));
  c->piece[c->npieces++] = want;
  c->backed = TS_MIN((int64_t)(want / page_bytes(c)), c->plan->pages);
  return true;
}

bool ts__cache_map_cuda(ts_cache *c, const ts_weights *w, ts_diag *d) {
  ts__device_memory m;
  c->gpu = w->gpu;
  TS_TRY(ts__gpu_enter(c->gpu, d));
  if (can_map(c)) {
    CUdeviceptr p = 0;
    TS_TRY(ts__gpu_check(c->gpu, driver(c)->cuMemAddressReserve(&p, c->bytes, STEP, 0, 0), "addresses for the KV cache", d));
    c->device = p;
    return true;
  }
  TS_TRY(ts__device_map(c->gpu, &m, c->bytes, "KV cache", d));
  c->device = m.p;
  c->backed = c->plan->pages;
  c->whole = true;
  return ts__gpu_check(c->gpu, driver(c)->cuMemsetD8Async(c->device, 0, c->bytes, c->gpu->stream), "clearing memory", d);
}

void ts__cache_unmap_cuda(ts_cache *c) {
  (void)driver(c)->cuCtxSetCurrent(c->gpu->g.context);
  (void)driver(c)->cuStreamSynchronize(c->gpu->stream);
  for (int k = c->npieces - 1; k >= 0; k--)
    for (int64_t i = 0; i < ranges(c); i++) (void)driver(c)->cuMemUnmap(range(c, i) + (k ? c->piece[k - 1] : 0), c->piece[k] - (k ? c->piece[k - 1] : 0));
  if (c->device && c->whole) (void)driver(c)->cuMemFree(c->device);
  if (c->device && !c->whole) (void)driver(c)->cuMemAddressFree(c->device, c->bytes);
}

bool ts__cache_clear_cuda(ts_cache *c, int32_t page, ts_diag *d) {
  const size_t n = page_bytes(c);
  TS_TRY(ts__gpu_enter(c->gpu, d));
  for (int64_t i = 0; i < ranges(c); i++) TS_TRY(ts__gpu_check(c->gpu, driver(c)->cuMemsetD8Async(range(c, i) + (size_t)page * n, 0, n, c->gpu->stream), "clearing a page", d));
  return true;
}

bool ts__cache_copy_cuda(ts_cache *c, int32_t from, int32_t to, ts_diag *d) {
  const size_t n = page_bytes(c);
  TS_TRY(ts__gpu_enter(c->gpu, d));
  for (int64_t i = 0; i < ranges(c); i++)
    TS_TRY(ts__gpu_check(c->gpu, driver(c)->cuMemcpyDtoDAsync(range(c, i) + (size_t)to * n, range(c, i) + (size_t)from * n, n, c->gpu->stream), "copying a page", d));
  return true;
}
