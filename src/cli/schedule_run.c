// tunesmith schedule --run and --execute: the scheduled function on random data, interpreted or compiled for the target, against the
// function as written.
#include <math.h>

#include "cli/schedule.h"
#include "codegen/codegen.h"
#include "cuda/cuda.h"

enum { MOST_DIMS = 8, MOST_ARRAYS = 64, GUARD = 256 };

// --- data
// ----------------------------------------------------------------------------------------------------------------

// Sizes near n that g, which may hold for fewer than the function as written, admits; in the order of f's dimensions.
static bool dims_get(const ts_func *f, const ts_func *g, int64_t n, int64_t *dims, ts_diag *d) {
  if (f->ndims > MOST_DIMS || g->ndims != f->ndims)
    return ts_refuse(d, "too-many-dimensions", "%s has %d symbolic dimensions", f->name, f->ndims);
  if (f->nparams > MOST_ARRAYS)
    return ts_refuse(d, "too-many-parameters", "%s has %d parameters; %d can be run", f->name, f->nparams, MOST_ARRAYS);
  for (int i = 0; i < g->ndims; i++) {
    const ts_dim *x = &g->dims[i];
    int64_t m = x->multiple, v = (TS_MAX(n, x->lo) + m - 1) / m * m;
    dims[i] = v > x->hi ? x->hi / m * m : v;
  }
  return true;
}

// Real numbers are multiples of 1/16 up to 1, so that sums of products are exact; bytes and unsigned words (packed codes) are random
// bits; other integers may be positions, and are small.
static double random_value(ts_code c, ts_rng *r) {
  if (ts_code_is_float(c)) return (double)((int)ts_rng_below(r, 33) - 16) / 16;
  if (c == TS_I8) return (double)ts_rng_below(r, 256) - 128;
  if (c == TS_U8) return (double)ts_rng_below(r, 256);
  if (c == TS_U32) return (double)ts_rng_below(r, 1 << 16) * 65536 + (double)ts_rng_below(r, 1 << 16);
  return (double)ts_rng_below(r, 100);
}

static bool array_make(ts_arena *a, const ts_func *f, const int64_t *dims, const ts_param *p, ts_rng *r, ts_array **out,
                       ts_diag *d) {
  const ts_var *vars[MOST_DIMS];
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  ts_array *x = *out = ts_new(a, ts_array);
  *x = (ts_array){.code = p->buf->code, .ndim = p->buf->ndim};
  int64_t count = 1;
  for (int k = 0; k < x->ndim; k++)
    if (!ts_eval_int(p->buf->shape[k], vars, dims, f->ndims, &x->shape[k]) || x->shape[k] < 0 ||
        __builtin_mul_overflow(count, x->shape[k], &count) || count > (int64_t)1 << 28)
      return ts_refuse(d, "too-large", "%s is too large to interpret", p->buf->name);
  x->data = ts_arena_alloc(a, (size_t)(count + 1) * (size_t)ts_code_bytes(x->code), 64);
  if (p->buf->distinct) ts_array_set_distinct(x, p->buf->distinct, ts_rng_u64(r));
  for (int64_t i = 0; i < count && !p->buf->distinct; i++) ts_array_set(x, i, random_value(x->code, r));
  return true;
}

static bool arrays_make(ts_arena *a, const ts__work *w, const int64_t *dims, ts_array **args, ts_diag *d) {
  ts_rng r = ts_rng_new((uint64_t)w->o->seed, 1);
  for (int i = 0; i < w->f->nparams; i++) TS_TRY(array_make(a, w->f, dims, &w->f->params[i], &r, &args[i], d));
  return true;
}

// What sums in the element's own type may be off by, relative to the largest element.
static double allowed(ts_code c) { return c == TS_BF16 ? 1.6e-2 : c == TS_F16 ? 4e-3 : 1e-3; }

// The largest difference of an output from that of the function as written, relative to its largest magnitude.
static bool compare(const char *how, const ts_func *f, ts_array **x, ts_array **y) {
  bool same = true;
  for (int i = 0; i < f->nparams; i++) {
    if (f->params[i].role == TS_IN) continue;
    double top = 0, worst = 0;
    for (int64_t k = 0; k < ts_array_count(x[i]); k++) {
      double want = ts_array_get(x[i], k), got = ts_array_get(y[i], k);
      top = fmax(top, fabs(want));
      worst = fmax(worst, isnan(got) && !isnan(want) ? INFINITY : fabs(want - got));
    }
    double error = worst > 0 ? worst / fmax(top, 1e-300) : 0;
    printf("%s: %s differs by %.3g of its largest element\n", how, f->params[i].buf->name, error);
    same &= error <= allowed(x[i]->code);
  }
  return same;
}

static bool interpret(const ts_func *f, const int64_t *dims, ts_array **args, ts_diag *d) {
  return ts_interp_run(f, dims, args, &(ts_interp_opts){.check_races = true, .stops = true}, d);
}

bool ts__work_run(const ts__work *w, ts_diag *d) {
  const ts_func *f = w->f, *g = ts_sched_func(w->s);
  int64_t dims[MOST_DIMS];
  ts_array *x[MOST_ARRAYS], *y[MOST_ARRAYS];
  TS_TRY(dims_get(f, g, w->o->n, dims, d));
  ts_arena *a = ts_arena_new("run");
  bool ok = arrays_make(a, w, dims, x, d) && arrays_make(a, w, dims, y, d) && interpret(f, dims, x, d) &&
            interpret(g, dims, y, d);
  if (ok && !compare("run", f, x, y))
    ok = ts_refuse(d, "wrong-result", "the scheduled function computes something else");
  ts_arena_free(a);
  return ok;
}

// --- compiled
// ------------------------------------------------------------------------------------------------------------

// Memory of a parameter between guard bands.
typedef struct block {
  uint8_t *host;
  CUdeviceptr device;
  size_t bytes;  // without the bands
} block;
typedef struct machine {
  const ts_object *object;
  const int64_t *dims;
  int n;
  block block[MOST_ARRAYS + 1];  // then the workspace
  ts_diag *d;
} machine;

static block block_new(ts_arena *a, const void *data, size_t bytes) {
  block b = {.host = ts_arena_alloc(a, bytes + 2 * GUARD, 64), .bytes = bytes};
  memset(b.host, 0xA5, bytes + 2 * GUARD);
  if (data) memcpy(b.host + GUARD, data, bytes);
  return b;
}

static bool block_whole(const block *b) {
  for (size_t i = 0; i < GUARD; i++)
    if (b->host[i] != 0xA5 || b->host[GUARD + b->bytes + i] != 0xA5) return false;
  return true;
}

static void in_turn(const ts_kernel_rt *rt, void (*body)(void *env, int64_t begin, int64_t end), void *env, int64_t n) {
  (void)rt;
  body(env, 0, n);
}

static bool on_cpu(ts_arena *a, machine *m) {
  ts_loaded code = {0};
  TS_TRY(ts_object_load(m->object, &code, m->d));
  m->block[m->n] = block_new(a, NULL, (size_t)code.workspace(m->dims));
  void *buf[MOST_ARRAYS + 1];
  for (int i = 0; i <= m->n; i++) buf[i] = m->block[i].host + GUARD;
  code.run(buf, m->dims, &(ts_kernel_rt){.parallel = in_turn, .threads = 1});
  ts_object_unload(&code);
  return true;
}

static bool copied(const ts_cuda *g, machine *m, bool there) {
  for (int i = 0; i <= m->n; i++) {
    block *b = &m->block[i];
    size_t all = b->bytes + 2 * GUARD;
    if (there && !ts_cuda_check(g->cu, g->cu->cuMemAlloc(&b->device, all), m->d, "memory for a parameter")) return false;
    CUresult r = there ? g->cu->cuMemcpyHtoD(b->device, b->host, all) : g->cu->cuMemcpyDtoH(b->host, b->device, all);
    if (!ts_cuda_check(g->cu, r, m->d, "copying a parameter")) return false;
  }
  return true;
}

static bool launch(const ts_cuda *g, ts_arena *a, machine *m, const ts_cuda_kernel *k, CUdeviceptr dims) {
  CUdeviceptr buf[MOST_ARRAYS + 1];
  for (int i = 0; i <= m->n; i++) buf[i] = m->block[i].device + GUARD;
  if (!ts_cuda_check(g->cu, g->cu->cuMemcpyHtoD(dims, m->dims, MOST_DIMS * sizeof *m->dims), m->d, "dimensions")) return false;
  const ts_cuda_call *c = ts_cuda_call_new(k, a, buf, m->dims, dims, m->d);
  return c && ts_cuda_call_issue(c, NULL, false, m->d) &&
         ts_cuda_check(g->cu, g->cu->cuCtxSynchronize(), m->d, "running the kernel");
}

static bool on_device(const ts_cuda *g, ts_arena *a, machine *m) {
  int64_t bytes, zeroed;
  CUdeviceptr dims = 0;
  ts_cuda_kernel *k = ts_cuda_kernel_load(g, m->object->bytes, m->object->n, m->d);
  bool ok = k && ts_cuda_kernel_workspace(k, m->dims, &bytes, &zeroed, m->d);
  if (ok) {
    m->block[m->n] = block_new(a, NULL, (size_t)bytes);
    memset(m->block[m->n].host + GUARD, 0, (size_t)zeroed);
    ok = ts_cuda_check(g->cu, g->cu->cuMemAlloc(&dims, MOST_DIMS * sizeof *m->dims), m->d, "memory for dimensions") &&
         copied(g, m, true) && launch(g, a, m, k, dims) && copied(g, m, false);
  }
  for (int i = 0; i <= m->n; i++)
    if (m->block[i].device) (void)g->cu->cuMemFree(m->block[i].device);
  if (dims) (void)g->cu->cuMemFree(dims);
  ts_cuda_kernel_unload(k);
  return ok;
}

static bool on_gpu(const ts_target *t, ts_arena *a, machine *m) {
  ts_cuda g;
  TS_TRY(ts_cuda_open(t->gpu.device, &g, m->d));
  bool ok = on_device(&g, a, m);
  ts_cuda_close(&g);
  return ok;
}

// Compile g and run it on args; what it writes outside of them is found.
static bool execute(ts_arena *a, const ts_func *g, const ts_target *t, const int64_t *dims, ts_array **args, ts_diag *d) {
  ts_object object;
  TS_TRY(ts_codegen_object(g, t, a, &object, d));
  machine m = {.object = &object, .dims = dims, .n = g->nparams, .d = d};
  for (int i = 0; i < m.n; i++)
    m.block[i] = block_new(a, args[i]->data, (size_t)(ts_array_count(args[i]) * ts_code_bytes(args[i]->code)));
  TS_TRY(t->api == TS_API_CUDA ? on_gpu(t, a, &m) : ts_target_runs_here(t, d) && on_cpu(a, &m));
  for (int i = 0; i <= m.n; i++)
    if (!block_whole(&m.block[i]))
      return ts_refuse(d, "wrong-result", "the kernel writes outside of %s", i < m.n ? g->params[i].buf->name : "its workspace");
  for (int i = 0; i < m.n; i++) {
    if (g->params[i].role == TS_IN && memcmp(m.block[i].host + GUARD, args[i]->data, m.block[i].bytes) != 0)
      return ts_refuse(d, "wrong-result", "the kernel writes to its input %s", g->params[i].buf->name);
    memcpy(args[i]->data, m.block[i].host + GUARD, m.block[i].bytes);
  }
  return true;
}

bool ts__work_execute(const ts__work *w, ts_diag *d) {
  const ts_func *f = w->f, *g = ts_sched_func(w->s);
  int64_t dims[MOST_DIMS] = {0};
  ts_array *x[MOST_ARRAYS], *y[MOST_ARRAYS];
  ts_target t;
  TS_TRY(dims_get(f, g, w->o->n, dims, d) && ts_target_parse(w->o->target, &t, d));
  ts_arena *a = ts_arena_new("execute");
  bool ok = arrays_make(a, w, dims, x, d) && arrays_make(a, w, dims, y, d) && interpret(f, dims, x, d) &&
            execute(a, g, &t, dims, y, d);
  if (ok && !compare("execute", f, x, y))
    ok = ts_refuse(d, "wrong-result", "the compiled function computes something else");
  ts_arena_free(a);
  return ok;
}
