// Running the phases of a plan: kernels in order over bound pointers.
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

struct ts__exec {
  const ts_plan *plan;
  const char *file;
  ts_arena *arena;
  ts_pool *pool;
  ts_pages activations, kv, rope, workspace;
  bound_step **steps;  // [phase][step]
  bool profile;
};

// A cache below this is on small pages: a short conversation then touches little of it, and starts sooner. Larger ones are read at the
// speed of memory, where huge pages pay.
#define HUGE_CACHE ((size_t)64 << 20)

static size_t up64(size_t n) { return (n + 63) & ~(size_t)63; }

// K of all layers, then V: each at a multiple of 64.
static void *cache(const ts__exec *e, ts_plan_arg_kind kind, int layer) {
  size_t one = up64((size_t)e->plan->kv_bytes), at = (size_t)layer + (kind == TS_PLAN_ARG_V ? (size_t)e->plan->layers : 0);
  return e->kv.p + at * one;
}

static void *pointer(const ts__exec *e, const ts_weights *w, const ts_plan_arg *a) {
  size_t table = (size_t)e->plan->rope.positions * (size_t)e->plan->rope.dim / 2 * sizeof(float);
  switch (a->kind) {
    case TS_PLAN_ARG_BUFFER: return e->activations.p + e->plan->buffers[a->index].offset;
    case TS_PLAN_ARG_WEIGHT: return (void *)ts_weights_part(w, a->index, a->part);
    case TS_PLAN_ARG_ROPE: return e->rope.p + (a->part ? up64(table) : 0);
    default: return cache(e, a->kind, a->index);
  }
}

static bool bind(ts__exec *e, const ts_weights *w, const ts_plan_step *s, bound_step *b, ts_diag *d) {
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

static bool bind_all(ts__exec *e, const ts_library *l, const ts_weights *w, ts_diag *d) {
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

static bool tables(ts__exec *e, ts_diag *d) {
  if (!e->plan->has_rope) return true;
  const ts_plan_rope *r = &e->plan->rope;
  size_t table = (size_t)r->positions * (size_t)r->dim / 2 * sizeof(float);
  TS_TRY(ts_pages_map(&e->rope, up64(table) + table, "rotary tables", d));
  ts_rope_fill(r, (float *)(void *)e->rope.p, (float *)(void *)(e->rope.p + up64(table)));
  return true;
}

ts__exec *ts__exec_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) {
  ts_arena *a = ts_arena_new("session");
  ts__exec *e = ts_new(a, ts__exec);
  const ts_plan *p = ts_library_plan(l);
  *e = (ts__exec){.plan = p, .file = ts_library_path(l), .arena = a, .pool = pool};
  size_t kv = up64((size_t)p->kv_bytes) * (size_t)p->layers * 2;
  if (ts_pages_map(&e->activations, (size_t)p->arena_bytes, "activations", d) && ts__pages_map(&e->kv, kv, kv >= HUGE_CACHE, "KV cache", d) &&
      tables(e, d) && bind_all(e, l, w, d))
    return e;
  ts__exec_free(e);
  return NULL;
}

void ts__exec_free(ts__exec *e) {
  if (!e) return;
  ts_pages_unmap(&e->activations);
  ts_pages_unmap(&e->kv);
  ts_pages_unmap(&e->rope);
  ts_pages_unmap(&e->workspace);
  ts_arena_free(e->arena);
}

void *ts__exec_buffer(const ts__exec *e, int buffer) { return e->activations.p + e->plan->buffers[buffer].offset; }

size_t ts__exec_bytes(const ts__exec *e) { return e->activations.n + e->kv.n + e->rope.n + e->workspace.n; }

static bool grow_workspace(ts__exec *e, const bound_step *b, int64_t bytes, ts_diag *d) {
  if (bytes < 0 || bytes > INT64_C(1) << 40)
    return ts_bug(d, "workspace", "%s: kernel %s wants %lld bytes", e->file, b->step->kernel, (long long)bytes);
  ts_pages_unmap(&e->workspace);
  return ts_pages_map(&e->workspace, (size_t)bytes + (size_t)bytes / 4, "workspace", d);
}

static bool run_step(ts__exec *e, bound_step *b, const int64_t value[2], int64_t row, ts_diag *d) {
  int64_t dim[2] = {0};
  for (int i = 0; i < b->step->ndims; i++) dim[i] = value[b->step->dims[i]];
  int64_t bytes = b->kernel.workspace(dim);
  if (bytes < 0 || (size_t)bytes > e->workspace.n) TS_TRY(grow_workspace(e, b, bytes, d));
  b->buf[b->step->nargs] = e->workspace.p;
  for (int i = 0; i < b->nrow; i++) b->buf[b->row_arg[i]] = (char *)b->row_base[i] + row * b->row_bytes[i];
  b->kernel.run(b->buf, dim, ts_pool_rt(e->pool));
  return true;
}

bool ts__exec_run(ts__exec *e, const ts_plan_phase *f, int64_t n, int64_t t, int64_t row, ts_diag *d) {
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

void ts__exec_profile(ts__exec *e, bool on) {
  e->profile = on;
  for (int i = 0; i < e->plan->nphases; i++)
    for (int k = 0; k < e->plan->phases[i].nsteps; k++) e->steps[i][k].calls = e->steps[i][k].ns = 0;
}

static const char *phase_name(ts_phase_kind k) {
  return k == TS_PHASE_DECODE ? "decode" : k == TS_PHASE_PREFILL ? "prefill" : "head";
}

size_t ts__exec_profile_rows(const ts__exec *e, ts_arena *a, ts_profile_row **rows) {
  TS_VEC(ts_profile_row) v = {0};
  for (int i = 0; i < e->plan->nphases; i++) {
    const char *phase = phase_name(e->plan->phases[i].kind);
    size_t begin = v.n;
    for (int k = 0; k < e->plan->phases[i].nsteps; k++) {
      const bound_step *b = &e->steps[i][k];
      size_t r = begin;
      while (r < v.n && strcmp(v.p[r].spec, b->step->spec) != 0) r++;
      if (r == v.n)
        ts_vec_push(a, &v, ((ts_profile_row){.op = b->step->op, .spec = b->step->spec, .phase = phase,
                                             .source = ts_plan_source_name(b->step->source), .expected_us = b->step->expected_us}));
      v.p[r].calls += b->calls;
      v.p[r].ns += b->ns;
    }
  }
  *rows = v.p;
  return v.n;
}
