// A sketch for any function, block by block: parallel outer loop, vectorized inner loop, reductions between them. Every step
// is tried; one that refuses is left out, so the rules need no proof of their own.
#include <stdlib.h>

#include "search/rules.h"

enum { PARALLEL_WORK = 8192 };
typedef ts__rules rules;
typedef ts__nest nest;

typedef struct names {
  const char *name[TS__MOST_BLOCKS];
  int n;
} names;

static bool collect(void *arg, const ts_stmt *s) {
  names *x = arg;
  if (s->kind == TS_S_BLOCK && s->block->niters && x->n < TS__MOST_BLOCKS) x->name[x->n++] = s->block->name;
  return true;
}

bool ts__rules_call(rules *r, ts_prim p, const ts_arg *args, int nargs, ts_rv *out) {
  int n = 0;
  return ts_sched_call(r->s, p, args, nargs, out, out ? 1 : 0, &n, NULL);
}

// The iterator that a loop feeds directly, or NULL.
static const ts_iter *fed_by(const ts_block *b, const ts_stmt *loop) {
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].value->kind == TS_E_VAR && b->iters[i].value->var == loop->loop.var) return &b->iters[i];
  return NULL;
}

static bool read_nest(rules *r, const char *name, nest *x) {
  *x = (nest){0};
  ts_rv b;
  if (!ts__rules_call(r, TS_P_get_block, TS_ARGS(TS_ASTR(name)), &b)) return false;
  x->block = b;
  if (!ts_sched_call(r->s, TS_P_get_loops, TS_ARGS(TS_ARV(b)), x->loop, TS__MOST_LOOPS, &x->n, NULL) || x->n > TS__MOST_LOOPS) return false;
  const ts_stmt *block = ts_sched_block(r->s, b);
  for (int i = 0; i < x->n; i++) {
    const ts_stmt *loop = ts_sched_loop(r->s, x->loop[i]);
    const ts_iter *it = fed_by(block->block, loop);
    if (!it) return false;
    x->reduce[i] = it->kind == TS_ITER_REDUCE;
    ts_is_int(loop->loop.extent, &x->extent[i]);
  }
  return x->n > 0;
}

bool ts__rules_has_reduce(const nest *x) {
  for (int i = 0; i < x->n; i++)
    if (x->reduce[i]) return true;
  return false;
}

static double work_of(const nest *x) {
  double w = 1;
  for (int i = 0; i < x->n; i++) w *= x->extent[i] ? (double)x->extent[i] : 64;
  return w;
}

// Split the loop for vectors and mark the inner part; *outer is what remains.
static bool vectorize(rules *r, ts_rv loop, ts_rv *outer, ts_rv *inner) {
  ts_rv v, parts[2];
  int n;
  const ts_arg widths = TS_ALIST(TS_AINT(r->lanes / 2), TS_AINT(r->lanes), TS_AINT(2 * r->lanes), TS_AINT(4 * r->lanes));
  if (!ts__rules_call(r, TS_P_sample_categorical, TS_ARGS(widths), &v)) return false;
  const ts_arg factors = TS_ALIST(TS_AOPEN, TS_ARV(v));
  if (!ts_sched_call(r->s, TS_P_split, TS_ARGS(TS_ARV(loop), factors), parts, 2, &n, NULL)) return false;
  *outer = parts[0];
  *inner = parts[1];
  return true;
}

static void mark(rules *r, ts_prim p, ts_rv loop) { (void)ts__rules_call(r, p, TS_ARGS(TS_ARV(loop)), NULL); }

static void rule_spatial(rules *r, nest *x) {
  ts_rv outer, inner;
  bool wide = work_of(x) >= PARALLEL_WORK;
  if (vectorize(r, x->loop[x->n - 1], &outer, &inner)) {
    mark(r, TS_P_vectorize, inner);
    x->loop[x->n - 1] = outer;
  }
  if (wide) mark(r, TS_P_parallel, x->loop[0]);
}

// Spatial loops outside, reductions inside them, vector lanes innermost.
static void rule_reduction(rules *r, nest *x) {
  int last = -1;
  for (int i = 0; i < x->n; i++)
    if (!x->reduce[i] && (x->extent[i] == 0 || x->extent[i] >= r->lanes / 2)) last = i;
  if (last < 0 || (last == 0 && x->extent[0] == 0)) return;
  bool wide = work_of(x) >= PARALLEL_WORK;
  ts_rv outer, inner;
  if (!vectorize(r, x->loop[last], &outer, &inner)) return;
  ts_arg order[TS__MOST_LOOPS + 1];
  int n = 0;
  ts_rv first_reduce = -1;
  for (int i = 0; i < x->n; i++)
    if (!x->reduce[i]) order[n++] = TS_ARV(i == last ? outer : x->loop[i]);
  ts_rv first = order[0].rv;
  for (int i = 0; i < x->n; i++)
    if (x->reduce[i]) {
      if (first_reduce < 0) first_reduce = x->loop[i];
      order[n++] = TS_ARV(x->loop[i]);
    }
  order[n++] = TS_ARV(inner);
  if (!ts__rules_call(r, TS_P_reorder, TS_ARGS(TS_ALISTN(n, order)), NULL)) return;
  ts_rv init;
  if (ts__rules_call(r, TS_P_decompose_reduction, TS_ARGS(TS_ARV(x->block), TS_ARV(first_reduce)), &init)) {
    ts_rv loops[TS__MOST_LOOPS];
    int m = 0;
    if (ts_sched_call(r->s, TS_P_get_loops, TS_ARGS(TS_ARV(init)), loops, TS__MOST_LOOPS, &m, NULL) && m > 0 && m <= TS__MOST_LOOPS)
      mark(r, TS_P_vectorize, loops[m - 1]);
  }
  mark(r, TS_P_vectorize, inner);
  if (wide) mark(r, TS_P_parallel, first);
}

// One step of the rules after the other on a schedule of f.
static ts_sched *apply_rules(ts_ir *ir, const ts_func *f, const ts_target *t) {
  const ts_func *own = ts_func_clone(ir, f);
  rules r = {.s = ts_sched_new(ir, own, 1), .arena = ts_ir_arena(ir), .target = t, .lanes = t->vector_bytes / 4};
  names all = {0};
  ts_stmt_visit(own->body, collect, NULL, &all);
  for (int i = 0; i < all.n; i++) {
    nest x;
    if (!read_nest(&r, all.name[i], &x)) continue;
    if (t->api == TS_API_CUDA) ts__rules_gpu(&r, &x);
    else if (ts__rules_has_reduce(&x)) rule_reduction(&r, &x);
    else rule_spatial(&r, &x);
  }
  return r.s;
}

static bool changes(const ts_trace *t) {
  for (int i = 0; i < t->n; i++)
    if (!(ts_prim_get(t->inst[i]->prim)->flags & (TS_PRIM_PURE | TS_PRIM_SAMPLING))) return true;
  return false;
}

bool ts_rules_sketch(ts_ir *ir, const ts_func *f, const ts_target *t, const ts_trace **out) {
  const ts_trace *trace = ts_sched_trace(apply_rules(ir, f, t));
  bool useful = changes(trace);
  for (int i = 0; i < trace->n; i++)
    if (trace->inst[i]->ndecision) trace = ts_trace_with_decision(ts_ir_arena(ir), trace, i, NULL, 0);
  *out = trace;
  return useful;
}

void ts__rules_default(ts_arena *a, const ts_func *f, const ts_target *t, const char **text) {
  ts_arena *scratch = ts_arena_new("rules");
  ts_text out = {0};
  ts_trace_print(&out, ts_sched_trace(apply_rules(ts_ir_new(scratch), f, t)));
  *text = ts_arena_strdup(a, ts_text_str(&out));
  ts_text_free(&out);
  ts_arena_free(scratch);
}
