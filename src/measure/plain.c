// The plainest schedule of a function on a GPU: every block in its nest, its spatial loops spread over all threads.
#include "measure/measure_impl.h"
#include "schedule/schedule.h"

enum { THREADS = 256, MOST_BLOCKS = 64, MOST_LOOPS = 16 };

// Whether a loop feeds spatial iterators only.
static bool spatial(const ts_stmt *loop, const ts_block *b) {
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind != TS_ITER_SPATIAL && ts_expr_uses_var(b->iters[i].value, loop->loop.var)) return false;
  return true;
}

typedef struct names {
  int n;
  const char *name[MOST_BLOCKS];
} names;

// Blocks without blocks inside.
static bool has_block(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_BLOCK) *(bool *)arg = true;
  return true;
}

static bool add_leaf(void *arg, const ts_stmt *s) {
  names *list = arg;
  bool inner = false;
  if (s->kind != TS_S_BLOCK) return true;
  ts_stmt_visit(s->block->body, has_block, NULL, &inner);
  if (!inner && list->n < MOST_BLOCKS) list->name[list->n] = s->block->name;
  if (!inner) list->n++;
  return true;
}

typedef struct nest {
  int n, nsymbolic, nconstant, nreduce;
  int64_t product;  // of the constant extents
  bool narrow;      // the only symbolic extent is a dimension that any axis of a grid has room for
  ts_arg symbolic[MOST_LOOPS], constant[MOST_LOOPS], reduce[MOST_LOOPS];
} nest;

static bool is_narrow(const ts_func *f, const ts_expr *extent) {
  const int64_t most = 65535;
  for (int i = 0; i < f->ndims; i++)
    if (extent->kind == TS_E_VAR && extent->var == f->dims[i].var) return f->dims[i].hi <= most;
  return false;
}

static bool read_nest(ts_sched *s, const char *block, nest *x, ts_diag *d) {
  ts_rv b, loop[MOST_LOOPS];
  *x = (nest){.product = 1};
  TS_TRY(ts_sched_call(s, TS_P_get_block, TS_ARGS(TS_ASTR(block)), &b, 1, NULL, d) && ts_sched_call(s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), loop, MOST_LOOPS, &x->n, d));
  if (x->n > MOST_LOOPS) return ts_refuse(d, "too-many-loops", "block %s stands in more than %d loops", block, MOST_LOOPS);
  for (int i = 0; i < x->n; i++) {
    const ts_stmt *l = ts_sched_loop(s, loop[i]);
    int64_t extent;
    if (!spatial(l, ts_sched_block(s, b)->block)) x->reduce[x->nreduce++] = TS_ARV(loop[i]);
    else if (ts_is_int(l->loop.extent, &extent)) x->constant[x->nconstant++] = TS_ARV(loop[i]), x->product *= extent;
    else x->symbolic[x->nsymbolic++] = TS_ARV(loop[i]), x->narrow = x->nsymbolic == 1 && is_narrow(ts_sched_func(s), l->loop.extent);
  }
  return true;
}

// Loops of constant extent, with one of symbolic extent outside of them, are fused over blockIdx.x and threadIdx.x; further symbolic
// ones take the other block axes. So does that one where blocks of threads would go over its ends: what stands side by side then cannot always be shown to differ.
static bool spread(ts_sched *s, const char *block, ts_diag *d) {
  static const char *const axes[] = {"blockIdx.y", "blockIdx.z"};
  nest x;
  ts_arg order[MOST_LOOPS];
  int n = 0, apart;
  TS_TRY(read_nest(s, block, &x, d));
  if (x.nsymbolic + x.nconstant == 0) return true;  // one thread does it
  if (x.nsymbolic > 3) return ts_refuse(d, "too-many-loops", "block %s stands in more than 3 loops of unknown extent", block);
  apart = TS_MAX(x.nsymbolic - 1, 0);
  if (x.nsymbolic == 1 && x.narrow && x.nconstant > 1 && x.product % THREADS) apart = 1;
  for (int i = 0; i < x.nsymbolic; i++) order[n++] = x.symbolic[i];
  for (int i = 0; i < x.nconstant; i++) order[n++] = x.constant[i];
  for (int i = 0; i < x.nreduce; i++) order[n++] = x.reduce[i];
  if (n > 1) TS_TRY(ts_sched_call(s, TS_P_reorder, TS_ARGS(TS_ALISTN(n, order)), NULL, 0, NULL, d));
  int fusible = x.nsymbolic - apart + x.nconstant;
  ts_rv fused = order[apart].rv, split[2];
  if (fusible > 1) TS_TRY(ts_sched_call(s, TS_P_fuse, TS_ARGS(TS_ALISTN(fusible, order + apart)), &fused, 1, NULL, d));
  TS_TRY(ts_sched_call(s, TS_P_split, TS_ARGS(TS_ARV(fused), TS_ALIST(TS_AOPEN, TS_AINT(THREADS))), split, 2, NULL, d));
  for (int i = 0; i < apart; i++) TS_TRY(ts_sched_call(s, TS_P_bind, TS_ARGS(order[i], TS_AWORD(axes[i])), NULL, 0, NULL, d));
  return ts_sched_call(s, TS_P_bind, TS_ARGS(TS_ARV(split[0]), TS_AWORD("blockIdx.x")), NULL, 0, NULL, d) &&
         ts_sched_call(s, TS_P_bind, TS_ARGS(TS_ARV(split[1]), TS_AWORD("threadIdx.x")), NULL, 0, NULL, d);
}

const ts_func *ts__plain_gpu(ts_ir *ir, const ts_func *f, ts_diag *d) {
  names list = {0};
  ts_stmt_visit(f->body, add_leaf, NULL, &list);
  if (list.n > MOST_BLOCKS) return ts_refuse(d, "too-many-blocks", "%s has more than %d blocks", f->name, MOST_BLOCKS), NULL;
  ts_sched *s = ts_sched_new(ir, f, 0);
  for (int i = 0; i < list.n; i++)
    if (!spread(s, list.name[i], d)) return NULL;
  return ts_sched_func(s);
}
