// Running the phases of a plan on the CPU: kernels in order over bound pointers.
#include <stdlib.h>

#include "runtime/runtime_impl.h"

typedef struct bound_step {
  ts__kernel kernel;
  const ts_plan_step *step;
  void **buf;          // one per argument, then the workspace
  int nrow;            // arguments that move with the row
  int row_arg[4];
  int64_t row_bytes[4];
  void *row_base[4];
  uint64_t calls, ns;  // profile
} bound_step;

typedef struct exec {
  ts__exec base;
  const ts_plan *plan;
  const char *file;
  ts_arena *arena;
  ts_pool *pool;
  const ts__table *table;  // of pages, or NULL
  ts_pages activations, kv, rope, workspace;
  bound_step **steps;  // [phase][step]
  bool profile;
} exec;

// A cache below this is on small pages: a short conversation then touches little of it, and starts sooner. Larger ones are read at the
// speed of memory, where huge pages pay.
#define HUGE_CACHE ((size_t)64 << 20)

static size_t up64(size_t n) { return (n + 63) & ~(size_t)63; }

// K of all layers, then V.
static void *cache(const exec *e, ts_plan_arg_kind kind, int layer) {
  size_t one = ts__cache_layer_bytes(e->plan), at = (size_t)layer + (kind == TS_PLAN_ARG_V ? (size_t)e->plan->layers : 0);
  return (e->table ? e->table->cache->host.p : e->kv.p) + at * one;
}

static void *pointer(const exec *e, const ts_weights *w, const ts_plan_arg *a) {
  size_t table = (size_t)e->plan->rope.positions * (size_t)e->plan->rope.dim / 2 * sizeof(float);
  switch (a->kind) {
    case TS_PLAN_ARG_BUFFER: return e->activations.p + e->plan->buffers[a->index].offset;
    case TS_PLAN_ARG_WEIGHT: return (void *)ts_weights_part(w, a->index, a->part);
    case TS_PLAN_ARG_ROPE: return e->rope.p + (a->part ? up64(table) : 0);
    case TS_PLAN_ARG_PAGES: return e->table->page;
    default: return cache(e, a->kind, a->index);
  }
}

static bool bind(exec *e, const ts_weights *w, const ts_plan_step *s, bound_step *b, ts_diag *d) {
  b->step = s;
  b->buf = ts_new_array(e->arena, void *, s->nargs + 1);
  for (int i = 0; i < s->nargs; i++) {
    const ts_plan_arg *a = &s->args[i];
    b->buf[i] = pointer(e, w, a);
    if (!a->row_bytes) continue;
    if (b->nrow == (int)TS_COUNTOF(b->row_arg)) return ts_refuse(d, "plan-invalid", "%s: %s: too many row views", e->file, s->kernel);
    b->row_arg[b->nrow] = i;
    b->row_bytes[b->nrow] = a->row_bytes;
    b->row_base[b->nrow++] = b->buf[i];
  }
  return true;
}

static bool bind_all(exec *e, const ts_library *l, const ts_weights *w, ts_diag *d) {
  const ts_plan *p = e->plan;
  e->steps = ts_new_array(e->arena, bound_step *, p->nphases);
  for (int i = 0; i < p->nphases; i++) {
    e->steps[i] = ts_new_array(e->arena, bound_step, p->phases[i].nsteps);
    for (int k = 0; k < p->phases[i].nsteps; k++) {
      e->steps[i][k].kernel = ts__library_step(l, i, k);
      TS_TRY(bind(e, w, &p->phases[i].steps[k], &e->steps[i][k], d));
    }
  }
  return true;
}

static bool tables(exec *e, ts_diag *d) {
  if (!e->plan->has_rope) return true;
  const ts_plan_rope *r = &e->plan->rope;
  size_t table = (size_t)r->positions * (size_t)r->dim / 2 * sizeof(float);
  TS_TRY(ts_pages_map(&e->rope, up64(table) + table, "rotary tables", d));
  ts_rope_fill(r, (float *)(void *)e->rope.p, (float *)(void *)(e->rope.p + up64(table)));
  return true;
}

static void exec_free(ts__exec *base) {
  exec *e = (exec *)base;
  ts_pages_unmap(&e->activations);
  ts_pages_unmap(&e->kv);
  ts_pages_unmap(&e->rope);
  ts_pages_unmap(&e->workspace);
  ts_arena_free(e->arena);
}

static void *buffer(const exec *e, int i) { return e->activations.p + e->plan->buffers[i].offset; }

static size_t exec_bytes(const ts__exec *base) {
  const exec *e = (const exec *)base;
  return e->activations.n + e->kv.n + e->rope.n + e->workspace.n + (e->table ? ts__table_bytes(e->table) : 0);
}

static bool grow_workspace(exec *e, const bound_step *b, int64_t bytes, ts_diag *d) {
  if (bytes < 0 || bytes > INT64_C(1) << 40)
    return ts_bug(d, "workspace", "%s: kernel %s wants %lld bytes", e->file, b->step->kernel, (long long)bytes);
  ts_pages_unmap(&e->workspace);
  return ts_pages_map(&e->workspace, (size_t)bytes + (size_t)bytes / 4, "workspace", d);
}

static bool run_step(exec *e, bound_step *b, const int64_t value[2], int64_t row, ts_diag *d) {
  int64_t dim[2] = {0};
  for (int i = 0; i < b->step->ndims; i++) dim[i] = value[b->step->dims[i]];
  int64_t bytes = b->kernel.workspace(dim);
  if (bytes < 0 || (size_t)bytes > e->workspace.n) TS_TRY(grow_workspace(e, b, bytes, d));
  b->buf[b->step->nargs] = e->workspace.p;
  for (int i = 0; i < b->nrow; i++) b->buf[b->row_arg[i]] = (char *)b->row_base[i] + row * b->row_bytes[i];
  b->kernel.run(b->buf, dim, ts_pool_rt(e->pool));
  return true;
}

// A phase with n rows (already rounded up) after t tokens; row is for row views.
static bool run(exec *e, const ts_plan_phase *f, int64_t n, int64_t t, int64_t row, ts_diag *d) {
  const int64_t value[2] = {[TS_DIM_N] = n, [TS_DIM_T] = t};
  bound_step *steps = e->steps[f - e->plan->phases];
  uint64_t last = e->profile ? ts_now_ns() : 0;
  for (int i = 0; i < f->nsteps; i++) {
    TS_TRY(run_step(e, &steps[i], value, row, d));
    if (!e->profile) continue;
    uint64_t now = ts_now_ns();
    steps[i].ns += now - last;
    steps[i].calls++;
    last = now;
  }
  return true;
}

static bool exec_pass(ts__exec *base, const ts_plan_phase *f, const int32_t *tokens, int64_t rows, int64_t n, int64_t t, ts_diag *d) {
  exec *e = (exec *)base;
  int32_t *in = buffer(e, e->plan->tokens);
  memcpy(in, tokens, sizeof *in * (size_t)rows);
  memset(in + rows, 0, sizeof *in * (size_t)(n - rows));
  return run(e, f, n, t, 0, d);
}

static bool exec_head(ts__exec *base, const ts_plan_phase *f, int64_t row, int64_t t, ts_diag *d) { return run((exec *)base, f, 1, t, row, d); }
static bool exec_finish(ts__exec *base, ts_diag *d) { return (void)base, (void)d, true; }
static const float *exec_logits(ts__exec *base) { return buffer((exec *)base, ((exec *)base)->plan->logits); }

static void exec_profile(ts__exec *base, bool on) {
  exec *e = (exec *)base;
  e->profile = on;
  for (int i = 0; i < e->plan->nphases; i++)
    for (int k = 0; k < e->plan->phases[i].nsteps; k++) e->steps[i][k].calls = e->steps[i][k].ns = 0;
}

static ts__step_time step_time(const void *arg, int phase, int step) {
  const bound_step *b = &((const exec *)arg)->steps[phase][step];
  return (ts__step_time){b->calls, b->ns};
}

static size_t exec_profile_rows(const ts__exec *base, ts_arena *a, ts_profile_row **rows) {
  return ts__profile_rows(((const exec *)base)->plan, step_time, base, a, rows);
}

static const ts__exec_kind cpu = {.free = exec_free, .bytes = exec_bytes, .pass = exec_pass, .head = exec_head, .finish = exec_finish,
                                  .logits = exec_logits, .profile = exec_profile, .profile_rows = exec_profile_rows};

ts__exec *ts__exec_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts__table *table, ts_diag *d) {
  ts_arena *a = ts_arena_new("session");
  exec *e = ts_new(a, exec);
  const ts_plan *p = ts_library_plan(l);
  *e = (exec){.base = {&cpu}, .plan = p, .file = ts_library_path(l), .arena = a, .pool = pool, .table = table};
  size_t kv = table ? 0 : ts__cache_layer_bytes(p) * (size_t)p->layers * 2;
  if (ts_pages_map(&e->activations, (size_t)p->arena_bytes, "activations", d) && ts__pages_map(&e->kv, kv, kv >= HUGE_CACHE, "KV cache", d) &&
      tables(e, d) && bind_all(e, l, w, d))
    return &e->base;
  exec_free(&e->base);
  return NULL;
}
