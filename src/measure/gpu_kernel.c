// One candidate on a GPU: loaded, bound to the workload's buffers, verified.
#include <math.h>
#include <stdlib.h>

#include "measure/gpu_worker.h"

// --- binding ---------------------------------------------------------------------------------------------------------------
static CUdeviceptr in_set(const ts__set *s, int copy, const ts__slot *x) {
  for (int j = 0; s && s->copies && j < s->n; j++)
    if (strcmp(s->name[j], x->name) == 0 && s->bytes[j] == x->bytes) return s->copy[copy % s->copies][j];
  return 0;
}

// Pointers for one call; `turn` chooses the copies of weights, and of caches when they rotate too.
static bool bind_args(ts__gpu *w, const ts__gpu_kernel *k, int which, int turn, bool rotate_caches, CUdeviceptr *buf, ts__reply *r) {
  const ts__layout *l = &k->layout[which], *ref = &w->cases[which].layout;
  for (int i = 0; i < l->n; i++) {
    int at = ts__find_slot(ref, l->slot[i].name);
    buf[i] = in_set(k->w, turn, &l->slot[i]);
    if (!buf[i] && rotate_caches) buf[i] = in_set(w->caches, turn, &l->slot[i]);
    if (!buf[i] && at >= 0 && ref->slot[at].bytes == l->slot[i].bytes) buf[i] = w->cases[which].live[at].p;
    if (!buf[i]) {
      ts__say(r, TS_WRONG, "parameter %s is neither the operator's nor packed", l->slot[i].name);
      return false;
    }
  }
  buf[l->n] = k->workspace.p;
  return true;
}

static ts_cuda_call *new_call(ts__gpu *w, ts__gpu_kernel *k, int which, int turn, bool rotate_caches, ts__reply *r, ts_diag *d) {
  CUdeviceptr buf[TS__MOST_PARAMS + 1];
  if (!bind_args(w, k, which, turn, rotate_caches, buf, r)) return NULL;
  return ts_cuda_call_new(k->code, k->arena, buf, k->dims[which], k->dims_memory[which], d);
}

// --- loading ---------------------------------------------------------------------------------------------------------------
static bool workspace_of(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  int64_t bytes[TS__CASES], zeroed[TS__CASES], most = 0;
  for (int i = 0; i < TS__CASES; i++) {
    TS_TRY(ts_cuda_kernel_workspace(k->code, k->dims[i], &bytes[i], &zeroed[i], d));
    most = TS_MAX(most, bytes[i]);
    k->zeroed = TS_MAX(k->zeroed, zeroed[i]);
  }
  TS_TRY(ts__dmem_new(w, most, &k->workspace, d));
  TS_TRY(most == 0 || ts__gpu_ok(w, w->g.cu->cuMemsetD8(k->workspace.p, 0xFF, (size_t)most), d, "poisoning the workspace"));
  return k->zeroed == 0 || ts__gpu_ok(w, w->g.cu->cuMemsetD8(k->workspace.p, 0, (size_t)k->zeroed), d, "zeroing the workspace");
}

static bool dims_in_memory(ts__gpu *w, ts__gpu_kernel *k, ts_diag *d) {
  for (int i = 0; i < TS__CASES; i++)
    TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemAlloc(&k->dims_memory[i], sizeof k->dims[i]), d, "memory for dimensions") &&
           ts__gpu_ok(w, w->g.cu->cuMemcpyHtoD(k->dims_memory[i], k->dims[i], sizeof k->dims[i]), d, "dimensions"));
  return true;
}

static int least_common(int a, int b) {
  int x = a, y = b;
  while (y) {
    int t = x % y;
    x = y;
    y = t;
  }
  return a / x * b;
}

bool ts__gpu_kernel_load(ts__gpu *w, const ts__request *q, ts__gpu_kernel *k, ts__reply *r, ts_diag *d) {
  k->arena = ts_arena_new("candidate");
  k->w = ts__gpu_weights(w, q, r, d);
  if (!k->w || !(k->code = ts_cuda_kernel_load(&w->g, q->object.bytes, q->object.n, d))) return false;
  const ts_gpu_code *code = ts_cuda_kernel_code(k->code);
  if (code->nparams != q->main[0].n) return ts_refuse(d, "bad-artifact", "compiled for %d buffers instead of %d", code->nparams, q->main[0].n);
  memcpy(k->layout, q->main, sizeof k->layout);
  memcpy(k->dims, q->dims, sizeof k->dims);
  TS_TRY(workspace_of(w, k, d) && dims_in_memory(w, k, d));
  for (int i = 0; i < TS__CASES; i++) TS_TRY((k->verify[i] = new_call(w, k, i, i, false, r, d)) != NULL);
  int turns = TS_MAX(1, k->w->copies), more = TS_MAX(1, w->caches->copies), both = least_common(turns, more);
  k->ncalls = both > TS__MOST_COPIES ? TS_MAX(turns, more) : both;
  k->calls = ts_new_array(k->arena, ts_cuda_call *, k->ncalls);
  for (int i = 0; i < k->ncalls; i++) TS_TRY((k->calls[i] = new_call(w, k, 0, i, true, r, d)) != NULL);
  return ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "loading a candidate");
}

void ts__gpu_kernel_drop(ts__gpu *w, ts__gpu_kernel *k) {
  if (!w->lost) {
    if (k->graph) (void)w->g.cu->cuGraphExecDestroy(k->graph);
    ts__dmem_free(w, &k->workspace);
    for (int i = 0; i < TS__CASES; i++)
      if (k->dims_memory[i]) (void)w->g.cu->cuMemFree(k->dims_memory[i]);
    ts_cuda_kernel_unload(k->code);
  }
  if (k->arena) ts_arena_free(k->arena);
  *k = (ts__gpu_kernel){0};
}

// --- verification -------------------------------------------------------------------------------------------------------------
static bool whole(ts__gpu *w, const ts__dmem *m, const char *name, ts__reply *r, ts_diag *d) {
  bool yes;
  TS_TRY(ts__dmem_guards(w, m, &yes, d));
  if (!yes) ts__say(r, TS_GUARD, "writes outside %s", name);
  return yes;
}

static bool guards_of(ts__gpu *w, const ts__gpu_kernel *k, int which, int turn, ts__reply *r, ts_diag *d) {
  const ts__case *c = &w->cases[which];
  for (int i = 0; i < c->layout.n; i++) TS_TRY(whole(w, &c->live[i], c->layout.slot[i].name, r, d));
  for (int i = 0; i < k->w->n && turn == 0; i++) {
    CUdeviceptr p = k->w->copy[0][i];
    TS_TRY(whole(w, &(ts__dmem){.base = p - TS__GPU_GUARD, .p = p, .bytes = k->w->bytes[i]}, k->w->name[i], r, d));
  }
  return whole(w, &k->workspace, "its workspace", r, d);
}

static bool unchanged(ts__gpu *w, const ts__case *c, ts__reply *r, ts_diag *d) {
  for (int i = 0; i < c->layout.n; i++) {
    uint32_t differs = 0;
    if (c->layout.slot[i].role != TS_IN || !c->now.pristine[i]) continue;
    TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemsetD8(w->scratch, 0, sizeof differs), d, "scratch") && ts_cuda_same(&w->h, c->live[i].p, c->now.pristine[i], c->layout.slot[i].bytes, w->scratch, d) &&
           ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(&differs, w->scratch, sizeof differs), d, "checking an input"));
    if (!differs) continue;
    ts__say(r, TS_WRONG, "writes to its input %s", c->layout.slot[i].name);
    (void)ts__gpu_ok(w, w->g.cu->cuMemcpyDtoD(c->live[i].p, c->now.pristine[i], (size_t)c->layout.slot[i].bytes), d, "repairing an input");
    return false;
  }
  return true;
}

// The leading bytes of the workspace that every run leaves zero.
static bool left_zero(ts__gpu *w, const ts__gpu_kernel *k, ts__reply *r, ts_diag *d) {
  if (!k->zeroed) return true;
  uint8_t *p = malloc((size_t)k->zeroed);
  if (!p) abort();
  bool ok = ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(p, k->workspace.p, (size_t)k->zeroed), d, "checking the workspace"), zero = true;
  for (int64_t i = 0; ok && i < k->zeroed; i++) zero = zero && p[i] == 0;
  free(p);
  if (!zero) ts__say(r, TS_WRONG, "leaves other than zeros in the part of its workspace that is to stay zero");
  return ok && zero;
}

static bool compare_outputs(ts__gpu *w, const ts__gpu_kernel *k, const ts__case *c, ts__reply *r, ts_diag *d) {
  ts_cuda_difference x;
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemsetD8(w->scratch, 0, sizeof x), d, "scratch"));
  for (int i = 0; i < c->layout.n; i++)
    if (c->now.expected[i]) TS_TRY(ts_cuda_compare(&w->h, ts_code_name(c->layout.slot[i].code), c->live[i].p, c->now.expected[i], c->layout.slot[i].count, w->scratch, d));
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuMemcpyDtoH(&x, w->scratch, sizeof x), d, "comparing outputs"));
  double rel = x.worst == 0 ? 0 : x.largest > 0 ? x.worst / x.largest : INFINITY;
  r->rel_error = fmax(r->rel_error, rel);
  r->rel_l2 = fmax(r->rel_l2, x.square == 0 ? 0 : sqrt(x.square / x.square_ref));
  if (rel <= k->tolerance) return true;
  ts__say(r, TS_WRONG, "differs from the reference by %.3g of the largest value (allowed %.3g)", rel, k->tolerance);
  return false;
}

static bool verify_case(ts__gpu *w, ts__gpu_kernel *k, int which, ts__reply *r, ts_diag *d) {
  TS_TRY(ts__gpu_ok(w, w->g.cu->cuCtxSynchronize(), d, "before a candidate") && ts__gpu_reset_case(w, which, d) && ts_cuda_call_issue(k->verify[which], w->stream, false, d) && ts__gpu_wait(w, ts__gpu_limit_ns(w, k, 1), d));
  if (w->late) {
    ts__say(r, TS_TIMED_OUT, "a call takes more than %.0f ms", ts__gpu_limit_ns(w, k, 1) / 1e6);
    return false;
  }
  return guards_of(w, k, which, which, r, d) && unchanged(w, &w->cases[which], r, d) && left_zero(w, k, r, d) && compare_outputs(w, k, &w->cases[which], r, d);
}

bool ts__gpu_verify(ts__gpu *w, ts__gpu_kernel *k, ts__reply *r, ts_diag *d) { return verify_case(w, k, 1, r, d) && verify_case(w, k, 0, r, d); }

bool ts__gpu_verify_again(ts__gpu *w, ts__gpu_kernel *k, ts__reply *r, ts_diag *d) {
  bool other;
  TS_TRY(verify_case(w, k, 1, r, d) && ts__gpu_other_content(w, &other, d));
  if (!other) return verify_case(w, k, 0, r, d);
  TS_TRY(ts__gpu_swap_content(w, d));
  bool ok = verify_case(w, k, 0, r, d);
  size_t n = strlen(r->message);
  if (!ok && r->kind == TS_WRONG) snprintf(r->message + n, sizeof r->message - n, ", on other data than it was timed with");
  return !w->lost && ts__gpu_swap_content(w, d) && ok;
}
