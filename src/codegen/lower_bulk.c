// Bulk copies: a nest of loops that copies a box of a matrix into shared memory, as one copy that the GPU makes on its
// own.
#include <stdlib.h>

#include "codegen/lower_gpu.h"

enum { MOST_LOOPS = 8, MOST_BOX = 256 };

typedef struct nest {
  ts__lower *l;
  const ts_stmt *loop[MOST_LOOPS];  // of more than one iteration
  int nloops;
  const ts_block *block;
  const ts_buffer *dst, *src;
  const ts_expr *to[8], *from[8];  // indices of the first element
  int64_t rows, columns, stride;
} nest;

static bool see_note(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= s->kind == TS_S_BLOCK && ts_notes_find(s->block->notes, "bulk_copy") != NULL;
  return !*found;
}

bool ts__is_bulk(const ts__lower *l, const ts_stmt *s) {
  bool found = false;
  if (l->t->api == TS_API_CUDA && l->t->gpu.compute >= 90) ts_stmt_visit(s, see_note, NULL, &found);
  return found;
}

static bool refuse(nest *x, const char *what) {
  return ts__gpu_refuse(x->l, "bulk-copy", "%.60s is no bulk copy: %s", x->block ? x->block->name : "a block", what);
}

// --- the nest
// ---------------------------------------------------------------------------------------------------------------

static bool find_block(nest *x, const ts_stmt *s) {
  int64_t n;
  if (s->kind == TS_S_BLOCK) {
    x->block = s->block;
    if (s->block->predicate || s->block->init || s->block->intrin)
      return refuse(x, "it has a condition, an initialisation or an intrinsic");
    if (s->block->body->kind != TS_S_STORE || s->block->body->store.value->kind != TS_E_LOAD)
      return refuse(x, "it does more than copy");
    return true;
  }
  if (s->kind != TS_S_FOR) return refuse(x, "it is not the only statement of its loops");
  if (s->loop.kind == TS_THREAD) return refuse(x, "a loop of it is along threads, and one thread begins it");
  if (!ts_is_int(s->loop.extent, &n)) return refuse(x, "a loop of it has no constant extent");
  if (n > 1 && x->nloops == MOST_LOOPS) return refuse(x, "it has too many loops");
  if (n > 1) x->loop[x->nloops++] = s;
  return find_block(x, s->loop.body);
}

// Of an index: the loop that it moves with, one element an iteration (-1: none), and its value at first. False:
// neither.
static bool along(nest *x, const ts_expr *e, int *loop, const ts_expr **first) {
  ts_analyzer *an = x->l->an;
  ts_subst m[MOST_LOOPS];
  *loop = -1;
  e = ts_simplify(an, e);
  for (int i = 0; i < x->nloops; i++) {
    const ts_expr *rest;
    int64_t k;
    m[i] = (ts_subst){x->loop[i]->loop.var, x->loop[i]->loop.min};
    if (!ts_expr_uses_var(e, m[i].from)) continue;
    if (*loop >= 0 || !ts_linear(an, e, m[i].from, &k, &rest) || k != 1) return false;
    *loop = i;
  }
  *first = ts_simplify(an, ts_expr_subst(x->l->ir, e, m, x->nloops));
  return !ts__has_load(*first);
}

// The dimension along which each loop moves, and the first element.
static bool places(nest *x, const ts_buffer *b, const ts_expr *const *idx, int *dim, const ts_expr **first) {
  const ts_block *k = x->block;
  ts_subst *m = ts_new_array(x->l->arena, ts_subst, k->niters);
  for (int i = 0; i < k->niters; i++) m[i] = (ts_subst){k->iters[i].var, k->iters[i].value};
  for (int i = 0; i < x->nloops; i++) dim[i] = -1;
  for (int d = 0; d < b->ndim; d++) {
    int loop;
    if (!along(x, ts_expr_subst(x->l->ir, idx[d], m, k->niters), &loop, &first[d]))
      return refuse(x, "its elements are not those of a box");
    if (loop >= 0 && dim[loop] >= 0) return refuse(x, "its elements are not those of a box");
    if (loop >= 0) dim[loop] = d;
  }
  for (int i = 0; i < x->nloops; i++)
    if (dim[i] < 0) return refuse(x, "a loop copies the same elements again and again");
  return true;
}

// --- the box
// ----------------------------------------------------------------------------------------------------------------

static int64_t stride_of(nest *x, const ts_buffer *b, int d) {
  int64_t n;
  return d >= 0 && ts_const_value(x->l->an, ts__stride(x->l->ir, b, d), &n) ? n : -1;
}

static int64_t extent_of(const nest *x, int loop) {
  int64_t n = 1;
  if (loop >= 0) ts_is_int(x->loop[loop]->loop.extent, &n);
  return n;
}

// Rows and columns: columns move along the last dimension of both, rows along one other; what is copied lies densely.
static bool measure(nest *x, const int *to, const int *from) {
  int row = -1, column = -1;
  for (int i = 0; i < x->nloops; i++) {
    int *which = to[i] == x->dst->ndim - 1 ? &column : &row;
    if (*which >= 0) return refuse(x, "its box has more than two dimensions");
    *which = i;
  }
  if (column < 0 || from[column] != x->src->ndim - 1) return refuse(x, "its rows lie across those of the source");
  x->rows = extent_of(x, row);
  x->columns = extent_of(x, column);
  x->stride = stride_of(x, x->src, row >= 0 ? from[row] : x->src->ndim - 2);
  if (stride_of(x, x->dst, x->dst->ndim - 1) != 1 || stride_of(x, x->src, x->src->ndim - 1) != 1)
    return refuse(x, "rows have gaps");
  if (row >= 0 && stride_of(x, x->dst, to[row]) != x->columns)
    return refuse(x, "its rows do not lie side by side in shared memory");
  return true;
}

static bool check_box(nest *x) {
  int bytes = ts_code_bytes(x->dst->code);
  const char *swizzle = strstr(x->dst->scope, "swizzle");
  if (x->stride < x->columns) return refuse(x, "rows of the source have no constant distance, or overlap");
  if (x->rows > MOST_BOX || x->columns > MOST_BOX) return refuse(x, "its box is larger than 256 in a dimension");
  if (x->columns * bytes % 16 || x->stride * bytes % 16) return refuse(x, "rows are no multiples of 16 bytes");
  if (swizzle && x->columns * bytes != strtol(swizzle + strlen("swizzle"), NULL, 10))
    return refuse(x, "a row is not as long as the rows that are swizzled");
  return true;
}

// Whole matrices that nothing writes while the kernel runs.
static bool check_buffers(nest *x) {
  const ts_func *f = x->l->f;
  if (!ts__is_shared(x->dst)) return refuse(x, "it does not copy into shared memory");
  if (x->dst->code != x->src->code) return refuse(x, "it converts");
  for (int i = 0; i < f->nparams; i++)
    if (f->params[i].buf == x->src) return f->params[i].role == TS_IN || refuse(x, "its source is written");
  return refuse(x, "its source is no parameter of the function");
}

static const ts_stmt *made(nest *x, const ts_expr *barrier) {
  ts_ir *ir = x->l->ir;
  const ts_expr *args[] = {ts_load(ir, x->dst, x->to), ts_load(ir, x->src, x->from), barrier,      ts_int(ir, x->rows),
                           ts_int(ir, x->columns),     ts_int(ir, x->stride),        ts_int(ir, 1)};
  return ts_eval(ir, ts_effect_call(ir, TS_EFF_BULK_COPY, args));
}

const ts_stmt *ts__bulk_copy(ts__lower *l, const ts_stmt *s, const ts_expr *barrier) {
  nest x = {.l = l};
  int to[MOST_LOOPS], from[MOST_LOOPS];
  while (s->kind == TS_S_BLOCK && !s->block->niters && s->block->body->kind != TS_S_STORE) s = s->block->body;
  if (!find_block(&x, s)) return NULL;
  const ts_stmt *store = x.block->body;
  x.dst = store->store.buf;
  x.src = store->store.value->buf;
  if (store->store.value->type.lanes != 1 || !x.src->ndim || !x.dst->ndim)
    return refuse(&x, "it does more than copy"), NULL;
  if (!check_buffers(&x)) return NULL;
  size_t mark = ts_analyzer_push(l->an);
  for (int i = 0; i < x.nloops; i++) ts_bind_stmt(l->an, x.loop[i]);
  bool ok = places(&x, x.dst, store->store.idx, to, x.to) && places(&x, x.src, store->store.value->arg, from, x.from) &&
            measure(&x, to, from) && check_box(&x);
  ts_analyzer_pop(l->an, mark);
  return ok ? made(&x, barrier) : NULL;
}
