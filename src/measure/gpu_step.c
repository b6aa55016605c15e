// The worker that runs a whole step on a GPU: memory by name, kernels bound to every call of their part, a graph for each way to do the step.
#include <math.h>
#include <stdlib.h>

#include "measure/gpu_worker.h"

typedef struct memory {
  const char *name;  // a link's, or "CALL.PARAMETER"
  int64_t bytes;
  CUdeviceptr p;
} memory;
typedef struct kernel {
  size_t part;
  ts_cuda_kernel *code;
  ts_cuda_call **calls[TS_STEP_SETTINGS];  // of the step's calls those of its part, in order
} kernel;
typedef struct stepper {
  const ts__step_arg *arg;
  ts__gpu *w;
  ts_arena *a;
  TS_VEC(memory) memories;
  TS_VEC(kernel) kernels;
} stepper;

// --- kernels ----------------------------------------------------------------------------------------------------------------
// One name may have several sizes, as a buffer of one row and of many has: each its own memory.
static bool memory_of(stepper *s, const char *name, const ts__slot *slot, CUdeviceptr *p, ts_diag *d) {
  enum { SPARE = 256 };  // filling writes whole words
  for (size_t i = 0; i < s->memories.n; i++)
    if (s->memories.p[i].bytes == slot->bytes && strcmp(s->memories.p[i].name, name) == 0) return *p = s->memories.p[i].p, true;
  TS_TRY(ts__gpu_ok(s->w, s->w->g.cu->cuMemAlloc(p, (size_t)slot->bytes + SPARE), d, "memory for a step"));
  TS_TRY(slot->fill != TS__FILL_NONE || ts__gpu_ok(s->w, s->w->g.cu->cuMemsetD8(*p, 0, (size_t)slot->bytes), d, "memory for a step"));
  TS_TRY(ts__gpu_fill(s->w, slot, *p, s->memories.n, d));
  ts_vec_push(s->a, &s->memories, ((memory){.name = ts_arena_strdup(s->a, name), .bytes = slot->bytes, .p = *p}));
  return true;
}

static const char *memory_name(stepper *s, size_t call, const char *param) {
  const ts_step_call *c = &s->arg->calls[call];
  for (int i = 0; i < c->nlinks; i++)
    if (strcmp(c->links[i].param, param) == 0) return c->links[i].memory;
  return ts_arena_printf(s->a, "%zu.%s", call, param);
}

// A kernel at some number of tokens in the cache; 0: as its workload is measured. Launches are for the bound that the runtime has for as many.
typedef struct depth {
  int64_t t, launch[8];
  CUdeviceptr dims, workspace;
} depth;

static bool workspace_of(stepper *s, const ts_cuda_kernel *k, depth *at, ts_diag *d) {
  const ts_cuda_driver *cu = s->w->g.cu;
  int64_t bytes, zeroed;
  TS_TRY(ts_cuda_kernel_workspace(k, at->launch, &bytes, &zeroed, d));
  if (!bytes) return at->workspace = 0, true;
  return ts__gpu_ok(s->w, cu->cuMemAlloc(&at->workspace, (size_t)bytes), d, "a workspace") && ts__gpu_ok(s->w, cu->cuMemsetD8(at->workspace, 0, (size_t)bytes), d, "a workspace");
}

static bool open_depth(stepper *s, const ts__step_request *q, const ts_cuda_kernel *k, int64_t t, depth *at, ts_diag *d) {
  const ts_cuda_driver *cu = s->w->g.cu;
  int64_t dims[8];
  *at = (depth){.t = t};
  memcpy(dims, q->dims, sizeof dims);
  memcpy(at->launch, q->dims, sizeof dims);
  if (t) {
    dims[q->t] = TS_MIN(t, q->t_most);
    at->launch[q->t] = ts_cuda_bound(dims[q->t], q->t_most + 1) - 1;
  }
  return ts__gpu_ok(s->w, cu->cuMemAlloc(&at->dims, sizeof dims), d, "memory for dimensions") && ts__gpu_ok(s->w, cu->cuMemcpyHtoD(at->dims, dims, sizeof dims), d, "dimensions") &&
         workspace_of(s, k, at, d);
}

static bool bind_call(stepper *s, const ts__step_request *q, const kernel *k, size_t call, const depth *at, ts_cuda_call **out, ts_diag *d) {
  CUdeviceptr buf[TS__MOST_PARAMS + 1];
  for (int i = 0; i < q->layout.n; i++) TS_TRY(memory_of(s, memory_name(s, call, q->layout.slot[i].name), &q->layout.slot[i], &buf[i], d));
  buf[q->layout.n] = at->workspace;
  return (*out = ts_cuda_call_new(k->code, s->a, buf, at->launch, at->dims, d)) != NULL;
}

// The part's calls in all settings. Those at one depth share dimensions and a workspace, as all do that depend on none: they run one after the other.
static bool bind_calls(stepper *s, const ts__step_request *q, kernel *k, ts_diag *d) {
  enum { MOST_DEPTHS = 16 };
  depth known[MOST_DEPTHS];
  size_t n = 0;
  for (size_t v = 0; v < TS_STEP_SETTINGS; v++) {
    k->calls[v] = ts_new_array(s->a, ts_cuda_call *, s->arg->ncalls);
    for (size_t i = 0, at = 0; i < s->arg->ncalls; i++) {
      const ts_step_call *c = &s->arg->calls[i];
      int64_t t = q->t >= 0 ? c->t[v] : 0;
      if (c->part != q->part) continue;
      size_t x = 0;
      while (x < n && known[x].t != t) x++;
      if (x == MOST_DEPTHS) return ts_refuse(d, "long-step", "a step at more than %d depths", MOST_DEPTHS);
      if (x == n && !open_depth(s, q, k->code, t, &known[n++], d)) return false;
      TS_TRY(bind_call(s, q, k, i, &known[x], &k->calls[v][at++], d));
    }
  }
  return true;
}

static bool add_kernel(stepper *s, const ts__step_request *q, const char *bytes, size_t n, ts_diag *d) {
  kernel k = {.part = q->part};
  if (!(k.code = ts_cuda_kernel_load(&s->w->g, ts_arena_dup(s->a, bytes, n), n, d))) return false;
  if (ts_cuda_kernel_code(k.code)->nparams != q->layout.n) return ts_refuse(d, "bad-artifact", "compiled for %d buffers instead of %d", ts_cuda_kernel_code(k.code)->nparams, q->layout.n);
  TS_TRY(bind_calls(s, q, &k, d) && ts__gpu_ok(s->w, s->w->g.cu->cuCtxSynchronize(), d, "loading a kernel"));
  ts_vec_push(s->a, &s->kernels, k);
  return true;
}

// --- time -------------------------------------------------------------------------------------------------------------------
typedef struct way {
  stepper *s;
  size_t setting;
  const int *pick;  // a kernel for each part
} way;
static bool issue(void *arg, ts_diag *d) {
  const way *x = arg;
  const stepper *s = x->s;
  size_t at[TS__STEP_WAYS] = {0};
  for (size_t i = 0; i < s->arg->ncalls; i++) {
    size_t part = s->arg->calls[i].part;
    TS_TRY(ts_cuda_call_issue(s->kernels.p[x->pick[part]].calls[x->setting][at[part]++], s->w->stream, i > 0, d));
  }
  return true;
}

static bool sample(stepper *s, CUgraphExec graph, bool settled, double *ns, ts_diag *d) {
  enum { STEPS = 2, LIMIT_S = 5 };
  const ts_cuda_driver *cu = s->w->g.cu;
  float ms = 0;
  if (settled) TS_TRY(ts__gpu_ok(s->w, cu->cuGraphLaunch(graph, s->w->stream), d, "launching a step"));
  TS_TRY(ts__gpu_ok(s->w, cu->cuEventRecord(s->w->from, s->w->stream), d, "an event"));
  for (int i = 0; i < STEPS; i++) TS_TRY(ts__gpu_ok(s->w, cu->cuGraphLaunch(graph, s->w->stream), d, "launching a step"));
  TS_TRY(ts__gpu_ok(s->w, cu->cuEventRecord(s->w->to, s->w->stream), d, "an event") && ts__gpu_wait(s->w, LIMIT_S * 1e9, d) &&
         ts__gpu_ok(s->w, cu->cuEventElapsedTime(&ms, s->w->from, s->w->to), d, "reading the time"));
  *ns = (double)ms * 1e6 / STEPS;
  return true;
}

// *at: 1 + the one that was run last.
static bool time_ways(stepper *s, const ts__step_request *q, const int *pick, double *ns, size_t *at, ts_diag *d) {
  CUgraphExec graph[TS__STEP_WAYS] = {0};
  size_t order[TS__STEP_WAYS];
  ts_rng rng = ts_rng_new(s->arg->seed, q->n);
  bool ok = true;
  double ignored;
  for (size_t i = 0; i < q->n && ok; i++) {
    *at = i + 1;
    ok = ts__gpu_record(s->w, issue, &(way){s, q->setting, pick + i * s->arg->nparts}, &graph[i], d) && sample(s, graph[i], false, &ignored, d);
  }
  for (size_t r = 0; r < q->rounds && ok; r++) {
    ts__shuffle(order, q->n, &rng);
    for (size_t i = 0; i < q->n && ok; i++) {
      *at = order[i] + 1;
      ok = sample(s, graph[order[i]], q->settled, &ns[order[i] * q->rounds + r], d);
    }
  }
  for (size_t i = 0; i < q->n && !s->w->lost; i++)
    if (graph[i]) (void)s->w->g.cu->cuGraphExecDestroy(graph[i]);
  return ok;
}

// --- serving ----------------------------------------------------------------------------------------------------------------
static bool open_device(stepper *s, ts_diag *d) {
  ts__gpu *w = s->w;
  TS_TRY(ts_cuda_open(s->arg->target.gpu.device, &w->g, d));
  if (s->arg->nparts > TS__STEP_WAYS) return ts_refuse(d, "long-step", "a step of more than %d different kernels", TS__STEP_WAYS);
  if (!w->g.cu->cuGraphInstantiate) return ts_refuse(d, "no-graphs", "the CUDA driver has no graphs");
  return ts__gpu_open_stream(w, d) && ts__gpu_warm_up(w, d);
}

// ORDER: as step.c asks.
static bool serve_one(stepper *s, int fd, const ts_text *t) {
  ts__step_request q;
  ts__samples v = {0};
  ts_diag d = {0};
  if (t->n < sizeof q) return false;
  memcpy(&q, t->p, sizeof q);
  const char *rest = t->p + sizeof q;
  double *ns = calloc(q.n * q.rounds + 1, sizeof *ns);
  if (!ns) abort();
  ts__reply r = ts__reply_new("step");
  bool ok = q.add ? add_kernel(s, &q, rest, t->n - sizeof q, &d) : time_ways(s, &q, (const int *)(const void *)rest, ns, &r.culprit, &d);
  for (size_t i = 0; i < q.n * q.rounds && ok; i++) ts__samples_add(&v, ns[i], NAN, 0);
  if (!ok) ts__say(&r, q.add && !s->w->lost ? TS_WRONG : TS_CRASHED, "%.190s", s->w->lost ? s->w->why : d.message);
  r.over = s->w->lost;
  bool sent = ts__send_reply(fd, &r, &v);
  ts__samples_free(&v);
  free(ns);
  return sent && !r.over;
}

void ts__gpu_step_serve(int fd, void *arg) {
  stepper s = {.arg = arg, .w = calloc(1, sizeof *s.w), .a = ts_arena_new("step")};
  ts__reply r = ts__reply_new("step");
  ts__samples none = {0};
  ts_diag d = {0};
  if (!s.w) return;
  s.w->opts.seed = s.arg->seed;
  bool ok = open_device(&s, &d);
  if (!ok) ts__say(&r, TS_CRASHED, "%.190s", d.message);
  if (!ts__send_reply(fd, &r, &none) || !ok) return;
  ts_text t = {0};
  while (ts_msg_recv(fd, &t, 0) == 1)
    if (!serve_one(&s, fd, &t)) break;
}
