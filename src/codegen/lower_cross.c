// Reductions shared by the threads of a block. A loop along threadIdx that feeds a reduce iterator becomes: partial
// results of each thread, and after the outermost loop of the reduction
//   within a warp    part = part (+) shuffle.xor(part, m), m = 16 .. 1
//   across warps     one thread of each warp (or row) puts its part into shared memory; every thread combines all of
//   them
// so that all threads have the result; who stores it follows from the scope of the output. Done on blocks, before
// buffers are placed.
#include "codegen/lower_gpu.h"

typedef struct job {
  ts__lower *l;
  const ts_stmt *block, *top;  // the reduction; its outermost loop
  ts_reduction red;
  int n;
  const ts_stmt *inner[64];  // loops below top that feed spatial iterators
  int nall;
  const ts_stmt *all[64];  // loops of the reduction
  int npath;
  const ts_stmt *const *path;      // all loops around it in its scope
  int64_t extent[TS_AXIS__COUNT];  // of the thread axes in the kernel
  unsigned axes;                   // that share the reduction
  const ts_buffer *part[TS_MAX_ACCS], *shared[TS_MAX_ACCS];
  const ts_expr *const *idx[TS_MAX_ACCS];
} job;

// --- finding
// ----------------------------------------------------------------------------------------------------------------

typedef struct search {
  ts__lower *l;
  const ts_stmt *kernel;         // the outermost loop
  TS_VEC(const ts_stmt *) path;  // loops of this scope
  job *found;
} search;

static bool feeds(const ts_block *b, const ts_stmt *loop, bool reduce) {
  for (int i = 0; i < b->niters; i++)
    if ((b->iters[i].kind == TS_ITER_REDUCE) == reduce && ts_expr_uses_var(b->iters[i].value, loop->loop.var))
      return true;
  return false;
}

static bool is_thread(const ts_stmt *s) {
  return s->loop.kind == TS_THREAD && s->loop.axis >= TS_THREAD_X && s->loop.axis <= TS_THREAD_Z;
}

static bool see_extent(void *arg, const ts_stmt *s) {
  int64_t *extent = arg, n;
  if (s->kind == TS_S_FOR && is_thread(s) && ts_is_int(s->loop.extent, &n))
    extent[s->loop.axis] = TS_MAX(extent[s->loop.axis], n);
  return true;
}

static void consider(search *x, const ts_stmt *s) {
  const ts_block *b = s->block;
  unsigned axes = 0;
  if (ts_notes_find(b->notes, "threads_combine")) return;
  for (size_t i = 0; i < x->path.n; i++)
    if (is_thread(x->path.p[i]) && feeds(b, x->path.p[i], true)) axes |= 1u << x->path.p[i]->loop.axis;
  if (!axes) return;
  job *j = ts_new(x->l->arena, job);
  *j = (job){.l = x->l, .block = s, .axes = axes, .npath = (int)x->path.n};
  j->path = ts_arena_dup(x->l->arena, x->path.p, sizeof *x->path.p * x->path.n);
  for (size_t i = 0; i < x->path.n && j->nall < 64; i++) {
    const ts_stmt *loop = x->path.p[i];
    bool reduce = feeds(b, loop, true), spatial = feeds(b, loop, false);
    if (reduce && !j->top) j->top = loop;
    if (reduce) j->all[j->nall++] = loop;
    if (j->top && !reduce && spatial) j->inner[j->n++] = loop;
    if (reduce && spatial)
      ts__gpu_refuse(x->l, "cross-thread", "block %.60s: loop %.60s feeds the reduction and what is kept apart",
                     b->name, loop->loop.var->name);
  }
  if (!ts_reduction_match(x->l->ir, b, &j->red))
    ts__gpu_refuse(x->l, "cross-thread", "block %.60s: threads share a reduction that is no known reducer", b->name);
  if (j->red.ordered) ts__gpu_refuse(x->l, "cross-thread", "block %.60s: the order of the reduction counts", b->name);
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++) j->extent[a] = 1;
  ts_stmt_visit(x->kernel, see_extent, NULL, j->extent);
  x->found = j;
}

static void look(search *x, const ts_stmt *s) {
  bool outermost = s->kind == TS_S_FOR && !x->kernel;
  if (x->found || x->l->failed) return;
  if (outermost) x->kernel = s;
  if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) look(x, s->seq.child[i]);
  } else if (s->kind == TS_S_FOR) {
    ts_vec_push(x->l->arena, &x->path, s);
    look(x, s->loop.body);
    x->path.n--;
  } else if (s->kind == TS_S_IF) {
    look(x, s->cond.then);
    if (s->cond.other) look(x, s->cond.other);
  } else if (s->kind == TS_S_BLOCK) {
    const ts_block *b = s->block;
    bool shell = !b->niters && !b->predicate && !b->init;
    search in = *x;
    if (x->kernel) consider(x, s);
    if (!shell) in.path.n = 0, in.path.p = NULL, in.path.cap = 0;
    in.found = NULL;
    if (!x->found) look(&in, b->body);
    if (in.found) x->found = in.found;
  }
  if (outermost) x->kernel = NULL;
}

// --- building
// ---------------------------------------------------------------------------------------------------------------

static const ts_expr *load(job *j, const ts_buffer *b, const ts_expr *const *idx) { return ts_load(j->l->ir, b, idx); }

// ORDER threads combine: such a block, made here alone, keeps a part of the result in each thread.
static ts_notes combining(ts__lower *l, ts_notes n) {
  return ts_notes_with(l->arena, n, (ts_note){.key = "threads_combine", .kind = TS_NOTE_INT, .i = 1});
}

// A block over the spatial iterators of the reduction.
static const ts_stmt *spatial_block(job *j, const char *suffix, const ts_stmt *body, const ts_expr *predicate) {
  ts__lower *l = j->l;
  const ts_block *of = j->block->block;
  ts_block *b = ts_new(l->arena, ts_block);
  ts_iter *iters = ts_new_array(l->arena, ts_iter, of->niters);
  for (int i = 0; i < of->niters; i++)
    if (of->iters[i].kind != TS_ITER_REDUCE) iters[b->niters++] = of->iters[i];
  b->iters = iters;
  b->name = ts_arena_printf(l->arena, "%s%s", of->name, suffix);
  b->predicate = predicate;
  b->body = body;
  b->notes = combining(l, b->notes);
  return ts_block_stmt(l->ir, b);
}

// s in copies of the loops below the top of the reduction that are not of it.
static const ts_stmt *in_loops(job *j, const ts_stmt *s) {
  for (int i = j->n; i-- > 0;) {
    ts_stmt *c;
    const ts_stmt *loop = ts_stmt_copy(j->l->ir, j->inner[i], &c);
    c->loop.body = s;
    s = loop;
  }
  return s;
}

static const ts_stmt *store_all(job *j, const ts_buffer *const *buf, const ts_expr *const *const *idx,
                                const ts_expr *const *value) {
  return ts_reduction_store(j->l->ir, buf, idx, value, j->red.n);
}

static const ts_stmt *start_parts(job *j) {
  const ts_expr *value[TS_MAX_ACCS];
  ts_reduction_identity(j->l->ir, &j->red, value);
  return store_all(j, j->part, j->idx, value);
}

// The values other[] under names, which the body that merges them into the parts may use.
static const ts_stmt *merge_named(job *j, const ts_expr *const *other) {
  ts_ir *ir = j->l->ir;
  const ts_expr *a[TS_MAX_ACCS], *x[TS_MAX_ACCS], *out[TS_MAX_ACCS];
  const ts_var *v[TS_MAX_ACCS];
  for (int i = 0; i < j->red.n; i++) {
    v[i] = ts_var_new(ir, "other", other[i]->type);
    a[i] = load(j, j->part[i], j->idx[i]);
    x[i] = ts_evar(ir, v[i]);
  }
  ts_reduction_combine(ir, &j->red, a, x, out);
  const ts_stmt *s = store_all(j, j->part, j->idx, out);
  for (int i = j->red.n; i-- > 0;) s = ts_let(ir, v[i], other[i], s);
  return s;
}

static const ts_stmt *shuffle_step(job *j, int64_t mask) {
  ts_ir *ir = j->l->ir;
  const ts_expr *other[TS_MAX_ACCS];
  for (int i = 0; i < j->red.n; i++) {
    const ts_expr *two[] = {load(j, j->part[i], j->idx[i]), ts_int(ir, mask)};
    other[i] = ts_effect_call(ir, TS_EFF_SHUFFLE_XOR, two);
  }
  return merge_named(j, other);
}

// --- the ways across
// ----------------------------------------------------------------------------------------------------------

// Lanes of a row along x that shuffles reach: all of it, a warp's worth, or 1 where rows do not fit warps.
static int64_t lanes_of(const job *j) {
  int64_t x = j->extent[TS_THREAD_X];
  if (!(j->axes >> TS_THREAD_X & 1)) return 1;
  if (x % TS__WARP_THREADS == 0) return TS__WARP_THREADS;
  return x <= TS__WARP_THREADS && TS__WARP_THREADS % x == 0 ? x : 1;
}

// Partial results left along the axis when the lanes are done.
static int64_t left_along(const job *j, ts_axis a) {
  if (!(j->axes >> a & 1)) return 1;
  return a == TS_THREAD_X ? j->extent[a] / lanes_of(j) : j->extent[a];
}

static void make_shared(job *j) {
  ts__lower *l = j->l;
  const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, 3);
  for (int d = 0; d < 3; d++) shape[d] = ts_int(l->ir, left_along(j, (ts_axis)(TS_THREAD_Z - d)));
  for (int i = 0; i < j->red.n; i++)
    j->shared[i] = ts_buffer_new(l->ir, ts_arena_printf(l->arena, "%s_across", j->red.acc[i]->name),
                                 j->red.acc[i]->code, 3, shape, "shared");
}

// One thread of each warp or row writes its parts.
static const ts_stmt *put_parts(job *j) {
  ts__lower *l = j->l;
  ts_ir *ir = l->ir;
  const ts_expr *at[3] = {ts_int(ir, 0), ts_int(ir, 0), ts_int(ir, 0)}, *cond = NULL;
  const ts_var *var[TS_AXIS__COUNT] = {0};
  const ts_stmt *s[TS_MAX_ACCS];
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++) {
    if (!(j->axes >> a & 1)) continue;
    var[a] = ts_var_new(ir, "t", TS_INDEX);
    const ts_expr *t = ts_evar(ir, var[a]), *lanes = ts_int(ir, a == TS_THREAD_X ? lanes_of(j) : 1);
    at[TS_THREAD_Z - a] = ts_bin(ir, TS_E_FLOORDIV, t, lanes);
    if (lanes->i > 1) cond = ts_bin(ir, TS_E_EQ, ts_bin(ir, TS_E_FLOORMOD, t, lanes), ts_int(ir, 0));
  }
  for (int i = 0; i < j->red.n; i++) s[i] = ts_store(ir, j->shared[i], at, load(j, j->part[i], j->idx[i]));
  const ts_stmt *r = spatial_block(j, "_put", ts_seq(ir, s, j->red.n), cond);
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++) {
    if (!var[a]) continue;
    ts_stmt *c;
    r = ts_stmt_copy(ir, ts_for(ir, var[a], ts_int(ir, 0), ts_int(ir, j->extent[a]), TS_THREAD, r), &c);
    c->loop.axis = a;
  }
  return r;
}

// Every thread combines what was put.
static const ts_stmt *get_parts(job *j) {
  ts_ir *ir = j->l->ir;
  const ts_expr *at[3], *other[TS_MAX_ACCS];
  const ts_var *var[3];
  for (int d = 0; d < 3; d++) {
    var[d] = ts_var_new(ir, "from", TS_INDEX);
    at[d] = j->shared[0]->shape[d]->i == 1 ? ts_int(ir, 0) : ts_evar(ir, var[d]);
  }
  for (int i = 0; i < j->red.n; i++) other[i] = ts_load(ir, j->shared[i], at);
  const ts_stmt *s = merge_named(j, other);
  for (int d = 3; d-- > 0;)
    if (at[d]->kind == TS_E_VAR) s = ts_for(ir, var[d], ts_int(ir, 0), j->shared[0]->shape[d], TS_UNROLL, s);
  const ts_stmt *both[] = {start_parts(j), s};
  return spatial_block(j, "_get", ts_seq(ir, both, 2), NULL);
}

// --- the result
// --------------------------------------------------------------------------------------------------------------

// The part of the predicate that does not depend on the loops of the reduction.
static void outer_condition(job *j, const ts_expr *cond, const ts_expr **out) {
  if (cond->kind == TS_E_AND) {
    outer_condition(j, cond->arg[0], out);
    outer_condition(j, cond->arg[1], out);
    return;
  }
  for (int i = 0; i < j->nall; i++)
    if (ts_expr_uses_var(cond, j->all[i]->loop.var)) return;
  *out = ts__guard_and(j->l->ir, *out, cond);
}

static const ts_expr *result_condition(job *j) {
  const ts_block *b = j->block->block;
  const ts_expr *out = NULL;
  if (!b->predicate) return NULL;
  ts_subst *m = ts_new_array(j->l->arena, ts_subst, b->niters);
  for (int i = 0; i < b->niters; i++) m[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
  outer_condition(j, ts_expr_subst(j->l->ir, b->predicate, m, b->niters), &out);
  return out;
}

// What the output holds before, merged with the parts: its initial value, or what is in it when the block has no
// initialisation.
static const ts_stmt *store_result(job *j) {
  ts_ir *ir = j->l->ir;
  const ts_expr *a[TS_MAX_ACCS], *x[TS_MAX_ACCS], *none[TS_MAX_ACCS], *out[TS_MAX_ACCS];
  bool fresh = true;
  ts_reduction_identity(ir, &j->red, none);
  for (int i = 0; i < j->red.n; i++) {
    a[i] = j->block->block->init ? j->red.init[i] : j->red.load[i];
    x[i] = load(j, j->part[i], j->idx[i]);
    fresh = fresh && a[i] == none[i];
  }
  ts_reduction_combine(ir, &j->red, a, x, out);
  const ts_stmt *s = ts_reduction_store(ir, j->red.acc, j->red.idx, fresh ? x : out, j->red.n);
  return spatial_block(j, "_result", s, result_condition(j));
}

static const ts_stmt *finish(job *j) {
  ts_ir *ir = j->l->ir;
  const ts_stmt *list[16];
  int n = 0;
  for (int64_t m = lanes_of(j) / 2; m; m /= 2) list[n++] = spatial_block(j, "_lanes", shuffle_step(j, m), NULL);
  int64_t left = left_along(j, TS_THREAD_X) * left_along(j, TS_THREAD_Y) * left_along(j, TS_THREAD_Z);
  if (left > 1) {
    make_shared(j);
    list[n++] = put_parts(j);
    list[n++] = get_parts(j);
  }
  list[n++] = store_result(j);
  return ts_seq(ir, list, n);
}

// --- replacing
// --------------------------------------------------------------------------------------------------------------

static const ts_buffer *to_part(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  job *j = arg;
  for (int i = 0; i < j->red.n; i++) {
    if (j->red.acc[i] != b) continue;
    for (int d = 0; d < b->ndim; d++) out[d] = idx[d];
    return j->part[i];
  }
  return NULL;
}

static const ts_stmt *update(job *j, const ts_stmt *s) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(j->l->ir, s, &c);
  ts_block *b = ts_arena_dup(j->l->arena, s->block, sizeof *b);
  b->init = NULL;
  b->body = ts__map_access(j->l->ir, b->body, to_part, j);
  b->notes = combining(j->l, b->notes);
  c->block = b;
  return r;
}

static const ts_stmt *replace(void *arg, const ts_stmt *s) {
  job *j = arg;
  ts_ir *ir = j->l->ir;
  if (s->kind == TS_S_BLOCK && s->id == j->block->id) return update(j, s);
  if (s->kind != TS_S_FOR || s->id != j->top->id) return s;
  const ts_stmt *first = in_loops(j, spatial_block(j, "_start", start_parts(j), NULL)), *last = in_loops(j, finish(j));
  const ts_stmt *list[] = {ts_stmt_clone(ir, first), s, ts_stmt_clone(ir, last)};
  return ts__one_kernel(j->l, j->block->block->name, ts_seq(ir, list, 3));
}

// Elements of dimension d of accumulator i that the loops name, also where the block's predicate rules them out: every
// thread has those parts, so that all of them can combine.
static const ts_expr *part_extent(job *j, int i, int d) {
  ts__lower *l = j->l;
  const ts_block *b = j->block->block;
  const ts_expr *whole = j->red.acc[i]->shape[d], *lo, *hi;
  const ts_var **vars = ts_new_array(l->arena, const ts_var *, j->npath);
  ts_subst *m = ts_new_array(l->arena, ts_subst, b->niters);
  for (int k = 0; k < b->niters; k++) m[k] = (ts_subst){b->iters[k].var, b->iters[k].value};
  size_t mark = ts_analyzer_push(l->an);
  for (int k = 0; k < j->npath; k++) {
    vars[k] = j->path[k]->loop.var;
    ts_bind_stmt(l->an, j->path[k]);
  }
  const ts_expr *at = ts_simplify(l->an, ts_expr_subst(l->ir, j->red.idx[i][d], m, b->niters));
  bool bounded = ts_bound_over(l->an, at, vars, j->npath, &lo, &hi) && hi;
  ts_analyzer_pop(l->an, mark);
  if (!bounded) return whole;
  const ts_expr *n = ts_simplify(l->an, ts_add(l->ir, hi, ts_int(l->ir, 1)));
  return ts_prove_le(l->an, n, whole) == TS_YES ? whole : n;
}

static void make_parts(job *j) {
  for (int i = 0; i < j->red.n; i++) {
    const ts_buffer *of = j->red.acc[i];
    const ts_expr **shape = ts_new_array(j->l->arena, const ts_expr *, of->ndim);
    for (int d = 0; d < of->ndim; d++) shape[d] = part_extent(j, i, d);
    j->part[i] =
        ts_buffer_new(j->l->ir, ts_arena_printf(j->l->arena, "%s_part", of->name), of->code, of->ndim, shape, "local");
    j->idx[i] = j->red.idx[i];
  }
}

// The buffers join those of the root block.
static const ts_stmt *own_buffers(job *j, const ts_stmt *root) {
  ts__lower *l = j->l;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(l->ir, root, &c);
  ts_block *b = ts_arena_dup(l->arena, root->block, sizeof *b);
  const ts_buffer **all = ts_new_array(l->arena, const ts_buffer *, b->nallocs + 2 * j->red.n);
  int n = b->nallocs;
  if (n) memcpy(all, b->allocs, sizeof *all * (size_t)n);
  for (int i = 0; i < j->red.n; i++) all[n++] = j->part[i];
  for (int i = 0; i < j->red.n && j->shared[i]; i++) all[n++] = j->shared[i];
  b->allocs = all;
  b->nallocs = n;
  c->block = b;
  return r;
}

const ts_stmt *ts__cross_threads(ts__lower *l, const ts_stmt *body) {
  for (;;) {
    search x = {.l = l};
    if (body->kind != TS_S_BLOCK) return body;
    look(&x, body->block->body);
    if (!x.found || l->failed) return body;
    make_parts(x.found);
    body = own_buffers(x.found, ts_stmt_rewrite(l->ir, body, replace, NULL, x.found));
  }
}
