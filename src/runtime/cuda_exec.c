// Running the phases of a plan on a GPU.
//
// Passes of many rows are issued kernel by kernel. A pass of one row with its head is one CUDA graph, recorded for upper bounds of the
// position t: kernels read the true t from device memory (ts__gpu_state). So are passes of phases that compute one number of rows, when they come again.
// While the device runs ahead, the graph ends with a kernel that chooses the next token, writes it where the next graph reads it, advances t, and tells the
// host through a ring in its memory.
//
//   host:   begin -> [choose] graph graph graph graph        (as many as AHEAD queued)
//   device:            id0  ->  id1 -> id2 -> ...            each into the ring
//   host:            next: wait for the ring's next entry, queue one graph more
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/cuda_impl.h"

enum { AHEAD = 4, RING = 64, MOST_GRAPHS = 256 };

typedef struct code {  // a kernel of the library on the GPU; steps share it
  const char *symbol;
  ts_cuda_kernel *kernel;
  int64_t workspace, zeroed;
  ts__device_memory own;  // of kernels that want zeroed bytes: others must not write there
} code;
typedef struct bound_step {
  code *code;
  const ts_plan_step *step;
  ts__step_time time;  // profile
} bound_step;
// The calls of a phase's steps as they were issued last: the next pass issues them again, except those that know its position or its row.
typedef struct calls {
  ts_arena *fixed, *moving;
  int64_t n, t, row;  // n 0: there are none
  ts_cuda_call **call;
} calls;
typedef enum ending { PLAIN, GREEDY, SAMPLE } ending;
typedef struct graph {
  const ts_plan_phase *phase;
  ending ending;
  int64_t bound;     // positions below it
  int64_t issued;    // passes without it; negative: it cannot be recorded
  CUgraphExec exec;  // NULL: not recorded
} graph;

typedef struct exec {
  ts__exec base;
  const ts_plan *plan;
  const char *file;
  const ts_weights *weights;
  const ts__gpu *gpu;
  ts_arena *arena;
  const ts_plan_phase *head;
  ts__table *table;  // of pages, or NULL
  ts__device_memory activations, kv, pages, rope, state, shared;
  ts__pinned tokens, ring;
  float *logits;
  bool fetched;        // logits are here
  bool head_done;      // by the last pass
  int ncodes;
  code *codes;
  bound_step **steps;  // [phase][step]
  calls *calls;        // [phase]
  int ngraphs;
  graph graphs[MOST_GRAPHS];
  graph *wanted;       // to be recorded while the GPU works, or NULL
  bool profile;
  int nevents;
  CUevent *events;
  // running ahead
  ending ending;
  int64_t position, end;    // of the next pass to queue; where to stop
  uint64_t queued, handed;  // tokens chosen since the beginning, and taken
  bool full;                // it stopped for lack of pages, as `why` says
  ts_diag why;
} exec;

static size_t up256(size_t n) { return (n + 255) & ~(size_t)255; }
static const ts_cuda_driver *driver(const exec *e) { return e->gpu->g.cu; }

// --- addresses -------------------------------------------------------------------------------------------------------------
static CUdeviceptr pointer(const exec *e, const ts_plan_arg *a, int64_t row) {
  size_t table = (size_t)e->plan->rope.positions * (size_t)e->plan->rope.dim / 2 * sizeof(float), cache = ts__cache_layer_bytes(e->plan);
  CUdeviceptr kv = e->table ? e->table->cache->device : e->kv.p;
  switch (a->kind) {
    case TS_PLAN_ARG_BUFFER: return e->activations.p + (uint64_t)e->plan->buffers[a->index].offset + (uint64_t)(row * a->row_bytes);
    case TS_PLAN_ARG_WEIGHT: return e->weights->device + (uint64_t)e->weights->parts[e->weights->first[a->index] + a->part].offset;
    case TS_PLAN_ARG_ROPE: return e->rope.p + (a->part ? up256(table) : 0);
    case TS_PLAN_ARG_PAGES: return e->pages.p;
    case TS_PLAN_ARG_K: return kv + (uint64_t)a->index * cache;
    default: return kv + ((uint64_t)a->index + (uint64_t)e->plan->layers) * cache;
  }
}

// Where the dims of a step begin in dims[] = n, t, n.
static CUdeviceptr dims_address(const exec *e, const ts_plan_step *s) {
  return e->state.p + offsetof(ts__gpu_state, dims) + (s->ndims && s->dims[0] == TS_DIM_T ? sizeof(int64_t) : 0);
}

// --- loading ---------------------------------------------------------------------------------------------------------------
static bool fits(const exec *e, const ts_plan_step *s, const code *c, ts_diag *d) {
  const ts_gpu_code *g = ts_cuda_kernel_code(c->kernel);
  bool same = g->nparams == s->nargs && g->ndims == s->ndims;
  for (int i = 0; same && i < s->ndims; i++) same = !strcmp(g->dims[i], s->dims[i] == TS_DIM_N ? "n" : "t");
  return same || ts_refuse(d, "library-kernel", "%s: kernel %s does not take what the plan passes", e->file, s->kernel);
}

static code *find_code(exec *e, const ts_library *l, int phase, int step, ts_diag *d) {
  const char *symbol = e->plan->phases[phase].steps[step].kernel;
  for (int i = 0; i < e->ncodes; i++)
    if (!strcmp(e->codes[i].symbol, symbol)) return &e->codes[i];
  ts__kernel k = ts__library_step(l, phase, step);
  code *c = &e->codes[e->ncodes];
  *c = (code){.symbol = symbol, .kernel = ts_cuda_kernel_load(&e->gpu->g, k.artifact, k.artifact_bytes, d)};
  if (!c->kernel) return NULL;
  e->ncodes++;
  return c;
}

// What a step wants at most.
static bool measure_workspace(exec *e, const ts_plan_phase *f, const ts_plan_step *s, code *c, ts_diag *d) {
  const int64_t value[2] = {[TS_DIM_N] = ts_round_up(f->n_max, f->multiple), [TS_DIM_T] = e->plan->max_seq - 1};
  int64_t dims[2] = {0}, bytes = 0, zeroed = 0;
  for (int i = 0; i < s->ndims; i++) dims[i] = value[s->dims[i]];
  TS_TRY(ts_cuda_kernel_workspace(c->kernel, dims, &bytes, &zeroed, d));
  c->workspace = TS_MAX(c->workspace, bytes);
  c->zeroed = TS_MAX(c->zeroed, zeroed);
  return true;
}

// Blocks that meet in memory wait for each other, so that all of them must be there at once, as many as the GPU of the build has room for.
static bool has_room(const exec *e, const ts_plan_step *s, const code *c, ts_diag *d) {
  ts_target built;
  if (!c->zeroed) return true;
  TS_TRY(ts_target_parse(e->plan->target, &built, d));
  if (built.gpu.sms <= e->gpu->g.sms) return true;
  (void)ts_refuse(d, "wrong-gpu", "%s: kernel %s was built for a GPU of %d multiprocessors, this one (%s) has %d", e->file, s->kernel, built.gpu.sms, e->gpu->g.name, e->gpu->g.sms);
  ts_hint(d, "build the model with --target cuda on this machine");
  return false;
}

static bool load_codes(exec *e, const ts_library *l, ts_diag *d) {
  const ts_plan *p = e->plan;
  int most = 0;
  for (int i = 0; i < p->nphases; i++) most += p->phases[i].nsteps;
  e->codes = ts_new_array(e->arena, code, most);
  e->steps = ts_new_array(e->arena, bound_step *, p->nphases);
  e->calls = ts_new_array(e->arena, calls, p->nphases);
  for (int i = 0; i < p->nphases; i++) {
    e->calls[i].call = ts_new_array(e->arena, ts_cuda_call *, p->phases[i].nsteps);
    e->steps[i] = ts_new_array(e->arena, bound_step, p->phases[i].nsteps);
    if (p->phases[i].kind == TS_PHASE_HEAD) e->head = &p->phases[i];
    for (int k = 0; k < p->phases[i].nsteps; k++) {
      const ts_plan_step *s = &p->phases[i].steps[k];
      code *c = find_code(e, l, i, k, d);
      if (!c || !fits(e, s, c, d) || !measure_workspace(e, &p->phases[i], s, c, d) || !has_room(e, s, c, d)) return false;
      e->steps[i][k] = (bound_step){.code = c, .step = s};
    }
  }
  return true;
}

static bool zero(const exec *e, CUdeviceptr p, size_t n, ts_diag *d) { return !n || ts__gpu_check(e->gpu, driver(e)->cuMemsetD8Async(p, 0, n, e->gpu->stream), "clearing memory", d); }

// Kernels run one after the other, so their workspaces share memory, except what has to stay zero between calls.
static bool map_workspaces(exec *e, ts_diag *d) {
  int64_t most = 0;
  for (int i = 0; i < e->ncodes; i++) {
    code *c = &e->codes[i];
    if (!c->zeroed) {
      most = TS_MAX(most, c->workspace);
      continue;
    }
    TS_TRY(ts__device_map(e->gpu, &c->own, (size_t)c->workspace, "workspace", d) && zero(e, c->own.p, c->own.n, d));
  }
  return ts__device_map(e->gpu, &e->shared, (size_t)most, "workspace", d);
}

// In order with the stream's kernels; `from` is copied before this returns, as it is not pinned.
static bool upload(const exec *e, CUdeviceptr to, const void *from, size_t n, ts_diag *d) {
  return ts__gpu_check(e->gpu, driver(e)->cuMemcpyHtoDAsync(to, from, n, e->gpu->stream), "copying to the GPU", d);
}

static bool tables(exec *e, ts_diag *d) {
  const ts_plan_rope *r = &e->plan->rope;
  if (!e->plan->has_rope) return true;
  size_t table = (size_t)r->positions * (size_t)r->dim / 2 * sizeof(float);
  TS_TRY(ts__device_map(e->gpu, &e->rope, up256(table) + table, "rotary tables", d));
  float *v = malloc(2 * table);
  if (!v) return ts_env_fail(d, "out-of-memory", "no memory for rotary tables");
  ts_rope_fill(r, v, v + table / sizeof *v);
  bool ok = upload(e, e->rope.p, v, table, d) && upload(e, e->rope.p + up256(table), v + table / sizeof *v, table, d);
  free(v);
  return ok;
}

static bool map_state(exec *e, ts_diag *d) {
  CUdeviceptr ring = 0;
  TS_TRY(ts__device_map(e->gpu, &e->state, sizeof(ts__gpu_state), "state", d));
  TS_TRY(ts__pinned_map(e->gpu, &e->ring, RING * sizeof(uint64_t), "pinned memory for tokens", d));
  TS_TRY(ts__pinned_map(e->gpu, &e->tokens, sizeof(int32_t) * (size_t)(e->plan->max_seq + e->plan->max_rows), "pinned memory for tokens", d));
  memset(e->ring.p, 0, e->ring.n);
  TS_TRY(ts__gpu_check(e->gpu, driver(e)->cuMemHostGetDevicePointer(&ring, e->ring.p, 0), "mapping memory", d));
  ts__gpu_state s = {.ring = ring, .ring_mask = RING - 1, .tokens = e->activations.p + (uint64_t)e->plan->buffers[e->plan->tokens].offset, .temperature = 1, .top_p = 1};
  return upload(e, e->state.p, &s, sizeof s, d);
}

// The cache, or the table of its pages.
static bool map_cache(exec *e, ts_diag *d) {
  const ts_plan *p = e->plan;
  if (e->table) return ts__device_map(e->gpu, &e->pages, sizeof(int32_t) * (size_t)(p->max_seq / p->page), "table of pages", d) && zero(e, e->pages.p, e->pages.n, d);
  return ts__device_map(e->gpu, &e->kv, 2 * (size_t)p->layers * ts__cache_layer_bytes(p), "KV cache", d) && zero(e, e->kv.p, e->kv.n, d);
}

static bool map_all(exec *e, ts_diag *d) {
  const ts_plan *p = e->plan;
  TS_TRY(ts__device_map(e->gpu, &e->activations, (size_t)p->arena_bytes, "activations", d));
  TS_TRY(map_cache(e, d) && map_state(e, d) && tables(e, d) && map_workspaces(e, d));
  TS_TRY(zero(e, e->activations.p, e->activations.n, d));
  e->logits = malloc(sizeof(float) * (size_t)p->vocab);
  return e->logits ? ts__gpu_sync(e->gpu, "starting a session", d) : ts_env_fail(d, "out-of-memory", "no memory for logits");
}

static void exec_free(ts__exec *base) {
  exec *e = (exec *)base;
  const ts__gpu *g = e->gpu;
  (void)g->g.cu->cuCtxSetCurrent(g->g.context);
  (void)g->g.cu->cuStreamSynchronize(g->stream);
  for (int i = 0; i < e->ngraphs; i++)
    if (e->graphs[i].exec) (void)g->g.cu->cuGraphExecDestroy(e->graphs[i].exec);
  for (int i = 0; e->calls && i < e->plan->nphases; i++) {
    ts_arena_free(e->calls[i].fixed);
    ts_arena_free(e->calls[i].moving);
  }
  for (int i = 0; i < e->nevents; i++) (void)g->g.cu->cuEventDestroy(e->events[i]);
  for (int i = 0; i < e->ncodes; i++) {
    ts_cuda_kernel_unload(e->codes[i].kernel);
    ts__device_unmap(g, &e->codes[i].own);
  }
  ts__device_unmap(g, &e->activations);
  ts__device_unmap(g, &e->kv);
  ts__device_unmap(g, &e->pages);
  ts__device_unmap(g, &e->rope);
  ts__device_unmap(g, &e->state);
  ts__device_unmap(g, &e->shared);
  ts__pinned_unmap(g, &e->tokens);
  ts__pinned_unmap(g, &e->ring);
  free(e->logits);
  ts_arena_free(e->arena);
}

static size_t exec_bytes(const ts__exec *base) {
  const exec *e = (const exec *)base;
  size_t n = e->activations.n + e->kv.n + e->pages.n + e->rope.n + e->state.n + e->shared.n;
  for (int i = 0; i < e->ncodes; i++) n += e->codes[i].own.n;
  return n + (e->table ? ts__table_bytes(e->table) : 0);
}

// --- issuing -----------------------------------------------------------------------------------------------------------------
// A step; value: n and t, or bounds of them.
static ts_cuda_call *bind(const exec *e, ts_arena *a, const bound_step *b, const int64_t value[2], int64_t row, ts_diag *d) {
  const ts_plan_step *s = b->step;
  CUdeviceptr *buf = ts_new_array(a, CUdeviceptr, s->nargs + 1);
  int64_t dims[2] = {0};
  for (int i = 0; i < s->nargs; i++) buf[i] = pointer(e, &s->args[i], row);
  buf[s->nargs] = b->code->zeroed ? b->code->own.p : e->shared.p;
  for (int i = 0; i < s->ndims; i++) dims[i] = value[s->dims[i]];
  return ts_cuda_call_new(b->code->kernel, a, buf, dims, dims_address(e, s), d);
}

static bool moves(const ts_plan_step *s) {
  for (int i = 0; i < s->ndims; i++)
    if (s->dims[i] == TS_DIM_T) return true;
  for (int i = 0; i < s->nargs; i++)
    if (s->args[i].row_bytes) return true;
  return false;
}

static void renew(ts_arena **a) {
  ts_arena_free(*a);
  *a = ts_arena_new("calls");
}

// Makes the calls of a phase: those that differ from what was issued last.
static bool prepare(exec *e, const ts_plan_phase *f, const int64_t value[2], int64_t row, ts_diag *d) {
  calls *c = &e->calls[f - e->plan->phases];
  const int64_t n = value[TS_DIM_N], t = value[TS_DIM_T];
  bool kept = c->n == n;
  if (kept && c->t == t && c->row == row) return true;
  if (!kept) renew(&c->fixed);
  renew(&c->moving);
  c->n = 0;
  for (int i = 0; i < f->nsteps; i++) {
    bool moving = moves(&f->steps[i]);
    if (kept && !moving) continue;
    c->call[i] = bind(e, moving ? c->moving : c->fixed, &e->steps[f - e->plan->phases][i], value, row, d);
    if (!c->call[i]) return false;
  }
  c->n = n, c->t = t, c->row = row;
  return true;
}

static bool stamp(exec *e, int i, ts_diag *d) { return !e->profile || ts__gpu_check(e->gpu, driver(e)->cuEventRecord(e->events[i], e->gpu->stream), "recording an event", d); }

// After a profiled phase: the time between events goes to its steps.
static bool collect(exec *e, const ts_plan_phase *f, ts_diag *d) {
  bound_step *steps = e->steps[f - e->plan->phases];
  TS_TRY(ts__gpu_sync(e->gpu, "running the model", d));
  for (int i = 0; i < f->nsteps; i++) {
    float ms = 0;
    TS_TRY(ts__gpu_check(e->gpu, driver(e)->cuEventElapsedTime(&ms, e->events[i], e->events[i + 1]), "reading an event", d));
    steps[i].time.ns += (uint64_t)((double)ms * 1e6);
    steps[i].time.calls++;
  }
  return true;
}

// The steps of a phase. dependent: the first may start before its predecessor has ended.
static bool issue_phase(exec *e, const ts_plan_phase *f, const int64_t value[2], int64_t row, bool dependent, ts_diag *d) {
  ts_cuda_call **call = e->calls[f - e->plan->phases].call;
  TS_TRY(prepare(e, f, value, row, d) && stamp(e, 0, d));
  for (int i = 0; i < f->nsteps; i++)
    TS_TRY(ts_cuda_call_issue(call[i], e->gpu->stream, !e->profile && (i > 0 || dependent), d) && stamp(e, i + 1, d));
  return true;
}

static bool set_dims(exec *e, int64_t n, int64_t t, ts_diag *d) {
  return ts__gpu_launch(e->gpu, TS__GPU_SET, 1, 1, (void *[]){&e->state.p, &n, &t}, false, d);
}

// The next token, behind a kernel.
static bool choose(exec *e, ending how, ts_diag *d) {
  CUdeviceptr logits = e->activations.p + (uint64_t)e->plan->buffers[e->plan->logits].offset;
  int n = (int)e->plan->active_vocab;
  void *args[] = {&e->state.p, &logits, &n};
  if (how == SAMPLE) return ts__gpu_launch(e->gpu, TS__GPU_SAMPLE, 1, TS__SAMPLE_THREADS, args, true, d);
  unsigned blocks = (unsigned)TS_MIN((n + 4 * TS__GREEDY_THREADS - 1) / (4 * TS__GREEDY_THREADS), (int)TS__PARTS);
  return ts__gpu_launch(e->gpu, TS__GPU_GREEDY, blocks, TS__GREEDY_THREADS, args, true, d);
}

// --- graphs -------------------------------------------------------------------------------------------------------------------
static bool issue_token(exec *e, ending how, int64_t bound, ts_diag *d) {
  const int64_t value[2] = {[TS_DIM_N] = 1, [TS_DIM_T] = bound - 1};
  TS_TRY(issue_phase(e, ts_plan_pick(e->plan, 1), value, 0, false, d));
  TS_TRY(issue_phase(e, e->head, value, 0, true, d));
  return how == PLAIN || choose(e, how, d);
}

// A pass of a phase of one number of rows. What it computes for positions beyond the last is not asked of the cache.
static bool issue_rows(exec *e, const graph *g, ts_diag *d) {
  const int64_t n = g->phase->n_max, value[2] = {[TS_DIM_N] = n, [TS_DIM_T] = TS_MIN(g->bound - 1, e->plan->max_seq - n)};
  return issue_phase(e, g->phase, value, 0, false, d);
}

static bool record(exec *e, graph *g, ts_diag *d) {
  const ts_cuda_driver *cu = driver(e);
  CUgraph made = NULL;
  if (!cu->cuGraphInstantiate) return ts_env_fail(d, "old-cuda-driver", "the CUDA driver cannot instantiate graphs: 12.0 or newer is needed");
  TS_TRY(ts__gpu_check(e->gpu, cu->cuStreamBeginCapture(e->gpu->stream, TS_CU_CAPTURE_THREAD), "recording a graph", d));
  bool ok = g->phase->kind == TS_PHASE_DECODE ? issue_token(e, g->ending, g->bound, d) : issue_rows(e, g, d);
  CUresult r = cu->cuStreamEndCapture(e->gpu->stream, &made);
  if (ok) ok = ts__gpu_check(e->gpu, r, "recording a graph", d) && ts__gpu_check(e->gpu, cu->cuGraphInstantiate(&g->exec, made, 0), "instantiating a graph", d);
  if (made) (void)cu->cuGraphDestroy(made);
  return ok;
}

// The graph for a pass at position t, noted when it is wanted for the first time. NULL: there are as many as MOST already.
static graph *find_graph(exec *e, const ts_plan_phase *f, ending how, int64_t t, int most) {
  int64_t bound = ts_cuda_bound(t, e->plan->max_seq);
  for (int i = 0; i < e->ngraphs; i++)
    if (e->graphs[i].phase == f && e->graphs[i].ending == how && e->graphs[i].bound == bound) return &e->graphs[i];
  if (e->ngraphs >= most) return NULL;
  e->graphs[e->ngraphs] = (graph){.phase = f, .ending = how, .bound = bound};
  return &e->graphs[e->ngraphs++];
}

static bool launch_graph(exec *e, graph *g, ts_diag *d) {
  if (!g->exec) TS_TRY(record(e, g, d));
  return ts__gpu_check(e->gpu, driver(e)->cuGraphLaunch(g->exec, e->gpu->stream), "launching a graph", d);
}

static bool launch_token(exec *e, ending how, int64_t t, ts_diag *d) {
  graph *g = find_graph(e, ts_plan_pick(e->plan, 1), how, t, MOST_GRAPHS);
  return g ? launch_graph(e, g, d) : ts_bug(d, "graphs", "more than %d graphs", MOST_GRAPHS);
}

// A pass of several rows. One that came twice is likely to come again: its graph is recorded behind it, while the GPU is at work.
static bool launch_rows(exec *e, const ts_plan_phase *f, int64_t n, int64_t t, ts_diag *d) {
  const int64_t value[2] = {[TS_DIM_N] = n, [TS_DIM_T] = t};
  graph *g = f->multiple == f->n_max && driver(e)->cuGraphInstantiate && !e->profile ? find_graph(e, f, PLAIN, t, MOST_GRAPHS / 2) : NULL;  // decode needs room too
  if (g && g->exec) return launch_graph(e, g, d);
  if (g && ++g->issued >= 2 && !e->wanted) e->wanted = g;
  return issue_phase(e, f, value, 0, false, d) && (!e->profile || collect(e, f, d));
}

// --- passes --------------------------------------------------------------------------------------------------------------------
static bool put_tokens(exec *e, const int32_t *tokens, int64_t rows, int64_t n, int64_t t, ts_diag *d) {
  int32_t *in = (int32_t *)e->tokens.p + t;
  memcpy(in, tokens, sizeof *in * (size_t)rows);
  memset(in + rows, 0, sizeof *in * (size_t)(n - rows));
  CUdeviceptr to = e->activations.p + (uint64_t)e->plan->buffers[e->plan->tokens].offset;
  return ts__gpu_check(e->gpu, driver(e)->cuMemcpyHtoDAsync(to, in, sizeof *in * (size_t)n, e->gpu->stream), "copying tokens", d);
}

// The table's new pages, in order with the kernels.
static bool put_pages(exec *e, ts_diag *d) {
  ts__table *t = e->table;
  if (!t || t->sent == t->n) return true;
  TS_TRY(upload(e, e->pages.p + sizeof(int32_t) * (uint64_t)t->sent, t->page + t->sent, sizeof(int32_t) * (size_t)(t->n - t->sent), d));
  t->sent = t->n;
  return true;
}

static bool exec_pass(ts__exec *base, const ts_plan_phase *f, const int32_t *tokens, int64_t rows, int64_t n, int64_t t, ts_diag *d) {
  exec *e = (exec *)base;
  e->head_done = f->kind == TS_PHASE_DECODE && !e->profile;
  TS_TRY(ts__gpu_enter(e->gpu, d) && put_tokens(e, tokens, rows, n, t, d) && set_dims(e, n, t, d) && put_pages(e, d));
  return e->head_done ? launch_token(e, PLAIN, t, d) : launch_rows(e, f, n, t, d);
}

static bool exec_head(ts__exec *base, const ts_plan_phase *f, int64_t row, int64_t t, ts_diag *d) {
  exec *e = (exec *)base;
  const int64_t value[2] = {[TS_DIM_N] = 1, [TS_DIM_T] = t};
  e->fetched = false;
  if (e->head_done) return true;
  return ts__gpu_enter(e->gpu, d) && issue_phase(e, f, value, row, false, d) && (!e->profile || collect(e, f, d));
}

static bool exec_finish(ts__exec *base, ts_diag *d) {
  exec *e = (exec *)base;
  graph *g = e->wanted;
  e->wanted = NULL;
  TS_TRY(ts__gpu_enter(e->gpu, d));
  if (g && !record(e, g, NULL)) g->issued = INT64_MIN;  // passes are issued as before, and it is not tried again; a device that is lost is told next
  return ts__gpu_sync(e->gpu, "running the model", d);
}

static const float *exec_logits(ts__exec *base) {
  exec *e = (exec *)base;
  CUdeviceptr from = e->activations.p + (uint64_t)e->plan->buffers[e->plan->logits].offset;
  if (e->fetched) return e->logits;
  e->fetched = ts__gpu_enter(e->gpu, NULL) && ts__gpu_check(e->gpu, driver(e)->cuMemcpyDtoH(e->logits, from, sizeof(float) * (size_t)e->plan->vocab), "reading logits", NULL);
  for (int64_t i = 0; !e->fetched && i < e->plan->vocab; i++) e->logits[i] = NAN;
  return e->logits;
}

// --- profiles -------------------------------------------------------------------------------------------------------------------
static bool make_events(exec *e) {
  int most = 0;
  for (int i = 0; i < e->plan->nphases; i++) most = TS_MAX(most, e->plan->phases[i].nsteps + 1);
  if (!e->events) e->events = ts_new_array(e->arena, CUevent, most);
  while (e->nevents < most)
    if (driver(e)->cuEventCreate(&e->events[e->nevents], TS_CU_EVENT_DEFAULT) != TS_CU_OK) return false;
    else e->nevents++;
  return true;
}

static void exec_profile(ts__exec *base, bool on) {
  exec *e = (exec *)base;
  e->profile = on && ts__gpu_enter(e->gpu, NULL) && make_events(e);
  for (int i = 0; i < e->plan->nphases; i++)
    for (int k = 0; k < e->plan->phases[i].nsteps; k++) e->steps[i][k].time = (ts__step_time){0};
}

static ts__step_time step_time(const void *arg, int phase, int step) { return ((const exec *)arg)->steps[phase][step].time; }

static size_t exec_profile_rows(const ts__exec *base, ts_arena *a, ts_profile_row **rows) {
  return ts__profile_rows(((const exec *)base)->plan, step_time, base, a, rows);
}

// --- running ahead ---------------------------------------------------------------------------------------------------------------
// A temperature whose reciprocal is a float, and a share of the mass that weights in multiples of 2^-40 can have: below these only the largest is left anyway.
static bool put_sampler(exec *e, const ts_sampler *how, ts_diag *d) {
  const float temperature = (float)TS_MAX(how->temperature, 1e-30), top_p = (float)TS_MAX(how->top_p, 1e-9);
  ts__gpu_state s = {.seed = how->seed, .temperature = temperature, .top_p = top_p, .top_k = (int32_t)TS_MIN(how->top_k, (int64_t)INT32_MAX)};
  const size_t from = offsetof(ts__gpu_state, seed), to = offsetof(ts__gpu_state, ticket);
  return upload(e, e->state.p + from, (const char *)&s + from, to - from, d);
}

static bool queue_more(exec *e, ts_diag *d) {
  while (e->position < e->end && e->queued - e->handed < AHEAD && !e->full) {
    if (e->table && !ts__table_grow(e->table, e->position, e->position + 1, &e->why)) {
      e->full = true;  // told when the tokens before are taken
      break;
    }
    TS_TRY(put_pages(e, d) && launch_token(e, e->ending, e->position, d));
    e->position++;
    e->queued++;
  }
  return true;
}

static bool ahead_begin(ts__exec *base, const ts_sampler *how, int64_t length, int64_t end, ts_diag *d) {
  exec *e = (exec *)base;
  e->ending = how->temperature > 0 ? SAMPLE : GREEDY;
  e->position = length;
  e->end = end;
  e->fetched = e->head_done = e->full = false;
  TS_TRY(ts__gpu_enter(e->gpu, d) && put_sampler(e, how, d) && set_dims(e, 1, length - 1, d) && choose(e, e->ending, d));
  e->queued++;
  return queue_more(e, d);
}

// The ring's entry for token number `which` is there.
static bool arrived(const exec *e, uint64_t which, int32_t *token) {
  uint64_t v = __atomic_load_n((uint64_t *)e->ring.p + (which - 1) % RING, __ATOMIC_ACQUIRE);
  if ((uint32_t)(v >> 32) != (uint32_t)which) return false;
  *token = (int32_t)(uint32_t)v;
  return true;
}

// A device that has stopped, or a fault in a kernel, shows in the stream.
static bool wait_token(const exec *e, uint64_t which, int32_t *token, ts_diag *d) {
  for (uint64_t spins = 0;; spins++) {
    if (arrived(e, which, token)) return true;
    __builtin_ia32_pause();
    if (spins % 1024) continue;
    if (spins > 100000) usleep(20);
    CUresult r = driver(e)->cuStreamQuery(e->gpu->stream);
    if (r == TS_CU_NOT_READY) continue;
    TS_TRY(ts__gpu_check(e->gpu, r, "running the model", d));
    return arrived(e, which, token) || ts_bug(d, "no-token", "the GPU has done all that was asked, and chose no token");
  }
}

static bool ahead_next(ts__exec *base, int32_t *token, ts_diag *d) {
  exec *e = (exec *)base;
  if (e->handed == e->queued && e->full) {
    if (d) *d = e->why;
    return false;
  }
  if (e->handed == e->queued) return ts_bug(d, "no-token", "no token was asked for");
  TS_TRY(ts__gpu_enter(e->gpu, d) && wait_token(e, e->handed + 1, token, d));
  e->handed++;
  return queue_more(e, d);
}

static bool ahead_stop(ts__exec *base, ts_diag *d) {
  exec *e = (exec *)base;
  e->handed = e->queued;
  return ts__gpu_enter(e->gpu, d) && ts__gpu_sync(e->gpu, "running the model", d);
}

// --- all ------------------------------------------------------------------------------------------------------------------------
static const ts__exec_kind cuda = {.free = exec_free, .bytes = exec_bytes, .pass = exec_pass, .head = exec_head, .finish = exec_finish, .logits = exec_logits,
                                   .profile = exec_profile, .profile_rows = exec_profile_rows, .ahead_begin = ahead_begin, .ahead_next = ahead_next, .ahead_stop = ahead_stop};

ts__exec *ts__exec_new_cuda(const ts_library *l, const ts_weights *w, ts__table *table, ts_diag *d) {
  ts_arena *a = ts_arena_new("session");
  exec *e = ts_new(a, exec);
  *e = (exec){.base = {&cuda}, .plan = ts_library_plan(l), .file = ts_library_path(l), .weights = w, .gpu = w->gpu, .arena = a, .table = table};
  if (ts__gpu_enter(e->gpu, d) && load_codes(e, l, d) && map_all(e, d)) return &e->base;
  exec_free(&e->base);
  return NULL;
}
