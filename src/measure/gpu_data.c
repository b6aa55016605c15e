// Data of a workload on a GPU: buffers between guard bands, random content, expected outputs, copies that stay cold.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "measure/gpu_worker.h"
#include "runtime/runtime.h"

bool ts__gpu_ok(ts__gpu *w, CUresult r, ts_diag *d, const char *what) {
  if (r == TS_CU_OK) return true;
  ts_diag mine = {0};
  ts_cuda_check(w->g.cu, r, &mine, "%s", what);
  if (r != TS_CU_OUT_OF_MEMORY && !w->lost) {
    w->lost = true;
    snprintf(w->why, sizeof w->why, "%.199s", mine.message);
  }
  if (d) *d = mine;
  return false;
}

bool ts__gpu_wait(ts__gpu *w, double limit_ns, ts_diag *d) {
  const double grace_ns = 1e9;  // a new worker takes longer
  uint64_t begin = ts_now_ns();
  w->late = false;
  for (;;) {
    CUresult r = w->g.cu->cuStreamQuery(w->stream);
    double gone = (double)(ts_now_ns() - begin);
    if (r != TS_CU_NOT_READY) return ts__gpu_ok(w, r, d, "running a kernel");
    w->late |= gone > limit_ns;  // seen: not only this process that slept
    if (gone > fmax(limit_ns, grace_ns)) break;
    if (gone > 5e6) usleep(200);
  }
  w->lost = true;
  snprintf(w->why, sizeof w->why, "no end after %.0f ms", fmax(limit_ns, grace_ns) / 1e6);
  return ts_env_fail(d, "gpu-hang", "%s", w->why);
}

// --- guard bands -----------------------------------------------------------------------------------------------------------
static int64_t rounded(int64_t bytes) { return (bytes + TS__ALIGN - 1) / TS__ALIGN * TS__ALIGN; }
static int64_t span(int64_t bytes) { return rounded(bytes) + 2 * TS__GPU_GUARD; }

// The byte pattern, long enough for a guard and the rest of a line before it.
static const uint8_t *pattern(void) {
  static uint8_t p[TS__GPU_GUARD + TS__ALIGN];
  static bool made;
  for (size_t i = 0; i < sizeof p && !made; i++) p[i] = (uint8_t)(0xA5 ^ ((i * 29) % 251));
  made = true;
  return p;
}

static bool put_guards(ts__gpu *w, const ts__dmem *m, ts_diag *d) {
  const ts_cuda_driver *cu = w->g.cu;
  int64_t tail = rounded(m->bytes) - m->bytes + TS__GPU_GUARD;
  return ts__gpu_ok(w, cu->cuMemcpyHtoD(m->base, pattern(), TS__GPU_GUARD), d, "guard bands") && ts__gpu_ok(w, cu->cuMemcpyHtoD(m->p + (CUdeviceptr)m->bytes, pattern(), (size_t)tail), d, "guard bands");
}

static ts__dmem dmem_at(CUdeviceptr base, int64_t bytes) { return (ts__dmem){.base = base, .p = base + TS__GPU_GUARD, .bytes = bytes}; }

bool ts__dmem_new(ts__gpu *w, int64_t bytes, ts__dmem *out, ts_diag *d) {
  CUdeviceptr base = 0;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemAlloc(&base, (size_t)span(bytes)), d, "memory for a buffer"));
  *out = dmem_at(base, bytes);
  return put_guards(w, out, d);
}

void ts__dmem_free(ts__gpu *w, ts__dmem *m) {
  if (m->base) (void)w->g.cu->cuMemFree(m->base);
  *m = (ts__dmem){0};
}

bool ts__dmem_guards(ts__gpu *w, const ts__dmem *m, bool *whole, ts_diag *d) {
  uint8_t front[TS__GPU_GUARD], back[TS__GPU_GUARD + TS__ALIGN];
  size_t tail = (size_t)(rounded(m->bytes) - m->bytes + TS__GPU_GUARD);
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(front, m->base, sizeof front), d, "guard bands") &&
         ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(back, m->p + (CUdeviceptr)m->bytes, tail), d, "guard bands"));
  *whole = memcmp(front, pattern(), sizeof front) == 0 && memcmp(back, pattern(), tail) == 0;
  return *whole || put_guards(w, m, d);  // the next candidate is not to blame
}

// --- content ---------------------------------------------------------------------------------------------------------------
// Made here: such buffers are small.
static bool fill_from_host(ts__gpu *w, const ts__slot *s, CUdeviceptr p, uint64_t seed, ts_diag *d) {
  uint8_t *data = malloc((size_t)s->bytes + 1);
  if (!data) abort();
  ts__fill_slot(s, data, seed, 0);
  bool ok = ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(p, data, (size_t)s->bytes), d, "filling a parameter");
  free(data);
  return ok;
}

bool ts__gpu_fill(ts__gpu *w, const ts__slot *s, CUdeviceptr p, uint64_t stream, ts_diag *d) {
  uint64_t seed = ts_hash_mix(w->opts.seed, stream);
  const char *type = ts_code_name(s->code);
  switch (s->fill) {
    case TS__FILL_FLOAT: return ts_cuda_fill_real(&w->h, type, p, s->count, seed, 2, -1, d);
    case TS__FILL_SCALE: return ts_cuda_fill_real(&w->h, type, p, s->count, seed, 0.125f, 0, d);
    case TS__FILL_INDEX: return ts_cuda_fill_index(&w->h, ts_code_bytes(s->code), p, s->count, seed, (uint64_t)s->below, d);
    case TS__FILL_DISTINCT: return fill_from_host(w, s, p, seed, d);
    case TS__FILL_BITS: return ts_cuda_fill_bits(&w->h, p, s->bytes, seed, d);
    case TS__FILL_NONE: return true;
  }
  return true;
}

// Filling writes whole words: the guard behind it is put afterwards.
static bool new_filled(ts__gpu *w, const ts__slot *s, uint64_t stream, ts__dmem *m, ts_diag *d) {
  CUdeviceptr base = 0;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemAlloc(&base, (size_t)span(s->bytes)), d, "memory for a parameter"));
  *m = dmem_at(base, s->bytes);
  return ts__gpu_fill(w, s, m->p, stream, d) && ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "filling a parameter") && put_guards(w, m, d);
}

static bool device_copy(ts__gpu *w, CUdeviceptr from, int64_t bytes, CUdeviceptr *out, ts_diag *d) {
  return ts__gpu_ok(w, w->g.cu->cuMemAlloc(out, (size_t)TS_MAX(bytes, 1)), d, "memory for a copy") && ts__gpu_ok(w, w->g.cu->cuMemcpyDtoD(*out, from, (size_t)bytes), d, "copying a parameter") &&
         ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "copying a parameter");  // the stream that kernels run in does not wait for it
}

bool ts__gpu_reset_case(ts__gpu *w, int which, ts_diag *d) {
  ts__case *c = &w->cases[which];
  for (int i = 0; i < c->layout.n; i++) {
    size_t bytes = (size_t)c->layout.slot[i].bytes;
    if (c->layout.slot[i].role == TS_OUT) TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemsetD8Async(c->live[i].p, 0xFF, bytes, w->stream), d, "poisoning an output"));
    else if (c->layout.slot[i].role == TS_INOUT) TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoDAsync(c->live[i].p, c->now.pristine[i], bytes, w->stream), d, "resetting a parameter"));
  }
  return true;
}

// --- the reference -----------------------------------------------------------------------------------------------------------
enum { REFERENCE_LIMIT_S = 60 };

// Run an artifact once over the given buffers.
static bool run_once(ts__gpu *w, const ts_object *o, const ts__layout *l, const CUdeviceptr *p, const int64_t *dims, ts_diag *d) {
  ts_arena *a = ts_arena_new("run");
  ts_cuda_kernel *k = ts_cuda_kernel_load(&w->g, o->bytes, o->n, d);
  CUdeviceptr buf[TS__MOST_PARAMS + 1] = {0}, dims_memory = 0;
  ts__dmem ws = {0};
  int64_t bytes = 0, zeroed = 0;
  bool ok = k && (ts_cuda_kernel_code(k)->nparams == l->n || ts_refuse(d, "bad-artifact", "compiled for %d buffers instead of %d", ts_cuda_kernel_code(k)->nparams, l->n)) &&
            ts_cuda_kernel_workspace(k, dims, &bytes, &zeroed, d) && ts__dmem_new(w, bytes, &ws, d) && ts__gpu_ok(w, w->g.cu->cuMemAlloc(&dims_memory, 64), d, "memory for dimensions") &&
            ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(dims_memory, dims, 64), d, "dimensions") && (!zeroed || ts__gpu_ok(w, w->g.cu->cuMemsetD8(ws.p, 0, (size_t)zeroed), d, "workspace"));
  for (int i = 0; i < l->n; i++) buf[i] = p[i];
  buf[l->n] = ws.p;
  const ts_cuda_call *c = ok ? ts_cuda_call_new(k, a, buf, dims, dims_memory, d) : NULL;
  ok = c && ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "before a kernel") && ts_cuda_call_issue(c, w->stream, false, d) && ts__gpu_wait(w, REFERENCE_LIMIT_S * 1e9, d);
  if (!w->lost) {
    ts__dmem_free(w, &ws);
    if (dims_memory) (void)w->g.cu->cuMemFree(dims_memory);
    ts_cuda_kernel_unload(k);
  }
  ts_arena_free(a);
  return ok;
}

static bool run_reference_here(ts__gpu *w, int which, ts_diag *d) {
  ts__case *c = &w->cases[which];
  CUdeviceptr p[TS__MOST_PARAMS];
  for (int i = 0; i < c->layout.n; i++) p[i] = c->live[i].p;
  return run_once(w, &w->w->object, &c->layout, p, w->w->dims[which], d);
}

// On the CPU, over copies of the device's data; outputs go back to the device.
static bool run_reference_on_host(ts__gpu *w, int which, ts_diag *d) {
  ts__case *c = &w->cases[which];
  void *buf[TS__MOST_PARAMS + 1] = {0};
  ts_loaded code = {0};
  ts_pool *pool = ts_pool_new(0, d);
  bool ok = pool && ts_object_load(&w->w->object, &code, d);
  for (int i = 0; i < c->layout.n && ok; i++) {
    size_t bytes = (size_t)c->layout.slot[i].bytes;
    buf[i] = aligned_alloc(64, (bytes + 127) / 64 * 64);
    ok = buf[i] ? ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(buf[i], c->live[i].p, bytes), d, "data for the reference") : ts_env_fail(d, "out-of-memory", "no memory for the reference's data");
  }
  if (ok) {
    int64_t ws = code.workspace(w->w->dims[which]);
    buf[c->layout.n] = aligned_alloc(64, (size_t)(ws / 64 + 1) * 64);
    ok = buf[c->layout.n] || ts_env_fail(d, "out-of-memory", "no memory for the reference's workspace");
  }
  if (ok) code.run(buf, w->w->dims[which], ts_pool_rt(pool));
  for (int i = 0; i < c->layout.n && ok; i++)
    if (c->layout.slot[i].role != TS_IN) ok = ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(c->live[i].p, buf[i], (size_t)c->layout.slot[i].bytes), d, "the reference's results");
  for (int i = 0; i <= c->layout.n; i++) free(buf[i]);
  ts_object_unload(&code);
  ts_pool_free(pool);
  return ok;
}

static bool run_reference(ts__gpu *w, int which, ts_diag *d) {
  ts__case *c = &w->cases[which];
  TS_TRY(ts__gpu_reset_case(w, which, d) && ts__gpu_wait(w, 1e9, d));
  TS_TRY(w->w->on_host ? run_reference_on_host(w, which, d) : run_reference_here(w, which, d));
  for (int i = 0; i < c->layout.n; i++)
    if (c->layout.slot[i].role != TS_IN) TS_TRY(device_copy(w, c->live[i].p, c->layout.slot[i].bytes, &c->now.expected[i], d));
  return true;
}

bool ts__gpu_prepare_case(ts__gpu *w, int which, ts_diag *d) {
  ts__case *c = &w->cases[which];
  TS_TRY(ts__layout_of(w->w->reference, &w->w->spec, w->w->reference, w->w->dims[which], &c->layout, d));
  for (int i = 0; i < c->layout.n; i++) {
    const ts__slot *s = &c->layout.slot[i];
    TS_TRY(new_filled(w, s, (uint64_t)i, &c->live[i], d));  // weights are the same in both cases
    if (s->role == TS_INOUT || (s->role == TS_IN && s->cache != TS_COLD)) TS_TRY(device_copy(w, c->live[i].p, s->bytes, &c->now.pristine[i], d));
  }
  return run_reference(w, which, d);
}

// --- other content -------------------------------------------------------------------------------------------------------------
bool ts__gpu_swap_content(ts__gpu *w, ts_diag *d) {
  ts__case *c = &w->cases[0];
  ts__content now = c->now;
  c->now = c->other;
  c->other = now;
  for (int i = 0; i < c->layout.n; i++)
    if (c->layout.slot[i].role == TS_IN && c->now.pristine[i])
      TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoDAsync(c->live[i].p, c->now.pristine[i], (size_t)c->layout.slot[i].bytes, w->stream), d, "other content"));
  return true;
}

static void content_drop(ts__gpu *w, ts__content *x) {
  for (int i = 0; i < TS__MOST_PARAMS; i++) {
    if (x->pristine[i]) (void)w->g.cu->cuMemFree(x->pristine[i]);
    if (x->expected[i]) (void)w->g.cu->cuMemFree(x->expected[i]);
  }
  *x = (ts__content){0};
}

// *any: there is content that is not a weight.
static bool fill_other(ts__gpu *w, bool *any, ts_diag *d) {
  enum { STREAM = 1000, LEFT = 4 };
  ts__case *c = &w->cases[0];
  size_t available = 0, total = 0, bytes = 0;
  for (int i = 0; i < c->layout.n; i++) bytes += (size_t)((c->now.pristine[i] != 0) + (c->now.expected[i] != 0)) * (size_t)span(c->layout.slot[i].bytes);
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemGetInfo(&available, &total), d, "free memory"));
  if (bytes > available / LEFT) return ts_env_fail(d, "out-of-device-memory", "candidates need the memory");
  for (int i = 0; i < c->layout.n; i++) {
    const ts__slot *s = &c->layout.slot[i];
    if (!c->now.pristine[i]) continue;
    *any |= s->fill != TS__FILL_NONE;
    TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemAlloc(&c->other.pristine[i], (size_t)span(s->bytes)), d, "other content"));
    TS_TRY(s->fill == TS__FILL_NONE ? ts__gpu_ok(w, w->g.cu->cuMemcpyDtoD(c->other.pristine[i], c->now.pristine[i], (size_t)s->bytes), d, "other content")
                                    : ts__gpu_fill(w, s, c->other.pristine[i], STREAM + (uint64_t)i, d));
  }
  return ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "other content");
}

bool ts__gpu_other_content(ts__gpu *w, bool *yes, ts_diag *d) {
  if (w->other == TS__OTHER_UNKNOWN) {
    bool any = false, swapped = false, ok = !w->w->on_host && fill_other(w, &any, d) && any;
    if (ok) swapped = true, ok = ts__gpu_swap_content(w, d) && run_reference(w, 0, d);
    if (swapped && !w->lost && !ts__gpu_swap_content(w, d)) return false;
    if (w->lost) return false;
    if (!ok) content_drop(w, &w->cases[0].other);
    w->other = ok ? TS__OTHER_MADE : TS__OTHER_NONE;
  }
  *yes = w->other == TS__OTHER_MADE;
  return true;
}

// --- the reference against the interpreter ------------------------------------------------------------------------------------
// Merges the difference of one output into the doubles of scratch.
static bool differ(ts__gpu *w, const ts__slot *s, CUdeviceptr got, CUdeviceptr want, ts_diag *d) { return ts_cuda_compare(&w->h, ts_code_name(s->code), got, want, s->count, w->scratch, d); }

bool ts__gpu_check_reference(ts__gpu *w, ts_diag *d) {
  const ts__small *s = w->w->small;
  if (!s) return true;
  CUdeviceptr p[TS__MOST_PARAMS] = {0}, want = 0;
  bool ok = ts__gpu_ok(w, w->g.cu->cuMemsetD8(w->scratch, 0, TS__SCRATCH), d, "scratch");
  for (int i = 0; i < s->layout.n && ok; i++)
    ok = ts__gpu_ok(w, w->g.cu->cuMemAlloc(&p[i], (size_t)span(s->layout.slot[i].bytes)), d, "memory for the small shape") &&
         ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(p[i], s->data[i], (size_t)s->layout.slot[i].bytes), d, "the small shape");
  ok = ok && run_once(w, &s->object, &s->layout, p, s->dims, d);
  for (int i = 0; i < s->layout.n && ok; i++) {
    if (s->layout.slot[i].role == TS_IN) continue;
    size_t bytes = (size_t)s->layout.slot[i].bytes;
    ok = ts__gpu_ok(w, w->g.cu->cuMemAlloc(&want, bytes), d, "memory for the small shape") && ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(want, s->expected[i], bytes), d, "the small shape") &&
         differ(w, &s->layout.slot[i], p[i], want, d) && ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "comparing the small shape");
    if (want) (void)w->g.cu->cuMemFree(want);
    want = 0;
  }
  ts_cuda_difference x = {0};
  ok = ok && ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(&x, w->scratch, sizeof x), d, "comparing the small shape");
  for (int i = 0; i < s->layout.n; i++)
    if (p[i]) (void)w->g.cu->cuMemFree(p[i]);
  double e = x.worst == 0 ? 0 : x.worst / x.largest;
  return ok && (e <= s->tolerance || ts_bug(d, "reference-wrong", "%s: the compiled reference differs from the interpreter by %.3g (allowed %.3g)", w->w->spec.op, e, s->tolerance));
}

// --- copies --------------------------------------------------------------------------------------------------------------------
// As many copies of the set's buffers, whose first are at `first`, as exceed three times the second-level cache: at least two.
static bool make_copies(ts__gpu *w, ts__set *s, const CUdeviceptr *first, ts_diag *d) {
  int64_t bytes = 0, each = 0;
  for (int i = 0; i < s->n; i++) {
    bytes += s->bytes[i];
    each += span(s->bytes[i]);
  }
  s->copies = 1;
  if (bytes > 0) s->copies = (int)fmin(TS__MOST_COPIES, fmax(2, ceil(3 * (double)w->g.l2_bytes / (double)bytes)));
  size_t available = 0, total = 0;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemGetInfo(&available, &total), d, "free memory"));
  int64_t room = (int64_t)(available / 2);
  if (each > 0) s->copies = (int)TS_MAX(1, TS_MIN((int64_t)s->copies, room / each));
  if (bytes > 0 && s->copies < 2) return ts_env_fail(d, "out-of-device-memory", "two copies of %lld bytes of weights do not fit", (long long)bytes);
  s->cold_bytes = bytes * s->copies;
  s->copy = calloc((size_t)s->copies, sizeof *s->copy);
  CUdeviceptr slab = 0;
  if (!s->copy) abort();
  if (each) TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemAlloc(&slab, (size_t)(each * s->copies)), d, "memory for copies of the weights"));
  for (int k = 0; k < s->copies; k++)
    for (int i = 0; i < s->n; i++) {
      ts__dmem m = dmem_at(slab, s->bytes[i]);
      TS_TRY((k || put_guards(w, &m, d)) && ts__gpu_ok(w, w->g.cu->cuMemcpyDtoDAsync(m.p, first[i], (size_t)s->bytes[i], w->stream), d, "copying weights"));
      s->copy[k][i] = m.p;
      slab += (CUdeviceptr)span(s->bytes[i]);
    }
  return ts__gpu_wait(w, 20e9, d);
}

static ts__set *free_set(ts__gpu *w) {
  for (int i = 0; i < TS__MOST_SETS; i++) {
    if (w->sets[i]) continue;
    w->sets[i] = calloc(1, sizeof *w->sets[i]);
    if (!w->sets[i]) abort();
    return w->sets[i];
  }
  return NULL;
}

static ts__set *find_set(ts__gpu *w, const ts_sha256 *id) {
  for (int i = 0; i < TS__MOST_SETS; i++)
    if (w->sets[i] && w->sets[i]->used && memcmp(&w->sets[i]->pack, id, sizeof *id) == 0) return w->sets[i];
  return NULL;
}

// Parameters of case 0 that are cold, of one role and of the same size in both cases.
static bool collect(ts__gpu *w, ts__set *s, int role, ts_diag *d) {
  CUdeviceptr first[TS__MOST_PARAMS];
  for (int i = 0; i < w->cases[0].layout.n; i++) {
    const ts__slot *x = &w->cases[0].layout.slot[i];
    if (x->cache != TS_COLD || x->role != role || x->bytes != w->cases[1].layout.slot[i].bytes) continue;
    memcpy(s->name[s->n], x->name, sizeof s->name[0]);
    s->bytes[s->n] = x->bytes;
    first[s->n++] = role == TS_INOUT ? w->cases[0].now.pristine[i] : w->cases[0].live[i].p;
  }
  s->used = make_copies(w, s, first, d);
  return s->used;
}

bool ts__gpu_caches(ts__gpu *w, ts_diag *d) {
  w->caches = calloc(1, sizeof *w->caches);
  if (!w->caches) abort();
  return collect(w, w->caches, TS_INOUT, d);
}

// Buffers for the outputs of pack, and a list of all its buffers.
static bool pack_buffers(ts__gpu *w, const ts__layout *l, ts__set *s, ts__dmem *out, CUdeviceptr *p, ts__reply *r, ts_diag *d) {
  for (int i = 0; i < l->n; i++) {
    int from = ts__find_slot(&w->cases[0].layout, l->slot[i].name);
    if (l->slot[i].role != TS_OUT) {
      if (from < 0 || w->cases[0].layout.slot[from].bytes != l->slot[i].bytes) {
        ts__say(r, TS_WRONG, "pack reads %s, which is no parameter of the operator", l->slot[i].name);
        return false;
      }
      p[i] = w->cases[0].live[from].p;
      continue;
    }
    memcpy(s->name[s->n], l->slot[i].name, sizeof s->name[0]);
    s->bytes[s->n] = l->slot[i].bytes;
    TS_TRY(ts__dmem_new(w, l->slot[i].bytes, &out[s->n], d) && ts__gpu_ok(w, w->g.cu->cuMemsetD8(out[s->n].p, 0xFF, (size_t)l->slot[i].bytes), d, "poisoning packed weights"));
    p[i] = out[s->n++].p;
  }
  return true;
}

static bool pack(ts__gpu *w, const ts__request *q, ts__set *s, ts__dmem *out, ts__reply *r, ts_diag *d) {
  CUdeviceptr p[TS__MOST_PARAMS] = {0}, first[TS__MOST_PARAMS];
  TS_TRY(pack_buffers(w, &q->pack[0], s, out, p, r, d) && run_once(w, &q->pack_object, &q->pack[0], p, q->pack_dims[0], d));
  for (int i = 0; i < s->n; i++) {
    bool whole;
    TS_TRY(ts__dmem_guards(w, &out[i], &whole, d));
    if (!whole) {
      ts__say(r, TS_GUARD, "pack writes outside %s", s->name[i]);
      return false;
    }
    first[i] = out[i].p;
  }
  return make_copies(w, s, first, d);
}

ts__set *ts__gpu_weights(ts__gpu *w, const ts__request *q, ts__reply *r, ts_diag *d) {
  ts_sha256 none = {{0}}, id = q->has_pack ? q->pack_object.id : none;
  ts__set *s = find_set(w, &id);
  if (s) return s;
  if (!(s = free_set(w))) return ts__say(r, TS_CRASHED, "more than %d weight layouts in one session", TS__MOST_SETS), NULL;
  s->pack = id;
  ts__dmem out[TS__MOST_PARAMS] = {{0}};
  s->used = q->has_pack ? pack(w, q, s, out, r, d) : collect(w, s, TS_IN, d);
  for (int i = 0; i < TS__MOST_PARAMS && !w->lost; i++) ts__dmem_free(w, &out[i]);
  if (s->used) return s;
  for (int i = 0; i < TS__MOST_SETS; i++)
    if (w->sets[i] == s) w->sets[i] = NULL;
  free(s->copy);
  free(s);
  return NULL;
}

static void set_drop(ts__gpu *w, ts__set *s) {
  if (!s) return;
  if (s->copies && s->n) (void)w->g.cu->cuMemFree(s->copy[0][0] - TS__GPU_GUARD);  // they are in one piece
  free(s->copy);
  free(s);
}

void ts__gpu_data_drop(ts__gpu *w) {
  for (int i = 0; i < TS__CASES; i++) {
    ts__case *c = &w->cases[i];
    for (int k = 0; k < c->layout.n; k++) ts__dmem_free(w, &c->live[k]);
    content_drop(w, &c->now);
    content_drop(w, &c->other);
    *c = (ts__case){0};
  }
  w->other = TS__OTHER_UNKNOWN;
  for (int i = 0; i < TS__MOST_SETS; i++) {
    set_drop(w, w->sets[i]);
    w->sets[i] = NULL;
  }
  set_drop(w, w->caches);
  w->caches = NULL;
}
