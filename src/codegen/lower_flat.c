// Flat buffers: every buffer gets one dimension, every access its row-major position.
#include "codegen/lower.h"

typedef struct mapper {
  ts_ir *ir;
  ts__access_fn f;
  void *arg;
} mapper;

static const ts_expr *map_load(void *arg, const ts_expr *e) {
  mapper *m = arg;
  const ts_expr *idx[8];
  if (e->kind != TS_E_LOAD) return e;
  const ts_buffer *b = m->f(m->arg, e->buf, e->arg, idx);
  if (!b) return e;
  return e->type.lanes > 1 ? ts_vload(m->ir, b, idx, e->type.lanes) : ts_load(m->ir, b, idx);
}

static const ts_stmt *map_store(void *arg, const ts_stmt *s) {
  mapper *m = arg;
  const ts_expr *idx[8];
  if (s->kind != TS_S_STORE) return s;
  const ts_buffer *b = m->f(m->arg, s->store.buf, s->store.idx, idx);
  return b ? ts_store(m->ir, b, idx, s->store.value) : s;
}

const ts_stmt *ts__map_access(ts_ir *ir, const ts_stmt *s, ts__access_fn f, void *arg) {
  mapper m = {ir, f, arg};
  return ts_stmt_rewrite(ir, s, map_store, map_load, &m);
}

const ts_expr *ts__map_access_expr(ts_ir *ir, const ts_expr *e, ts__access_fn f, void *arg) {
  mapper m = {ir, f, arg};
  return ts_expr_rewrite(ir, e, map_load, &m);
}

const ts_expr *ts__stride(ts_ir *ir, const ts_buffer *buf, int dim) {
  if (buf->stride) return buf->stride[dim];
  const ts_expr *n = ts_int(ir, 1);
  for (int i = dim + 1; i < buf->ndim; i++)
    n = ts_is_int(n, NULL) && n->i == 1 ? buf->shape[i] : ts_mul(ir, n, buf->shape[i]);
  return n;
}

const ts_expr *ts__flat_index(ts_ir *ir, const ts_buffer *buf, const ts_expr *const *idx) {
  const ts_expr *at = buf->offset ? buf->offset : ts_int(ir, 0);
  for (int i = 0; i < buf->ndim; i++) at = ts_add(ir, at, ts_mul(ir, idx[i], ts__stride(ir, buf, i)));
  return at;
}

typedef struct pair {
  const ts_buffer *from, *to;
} pair;
typedef struct flattener {
  ts__lower *l;
  TS_VEC(pair) map;
} flattener;

// Elements from the first to behind the last one in use.
static const ts_expr *total(ts_ir *ir, const ts_buffer *b) {
  const ts_expr *n = ts_int(ir, 1);
  if (!b->stride && !b->offset) {
    for (int i = 0; i < b->ndim; i++) n = ts_mul(ir, n, b->shape[i]);
    return n;
  }
  const ts_expr **last = ts_new_array(ts_ir_arena(ir), const ts_expr *, b->ndim);
  for (int i = 0; i < b->ndim; i++) last[i] = ts_sub(ir, b->shape[i], ts_int(ir, 1));
  return ts_add(ir, ts__flat_index(ir, b, last), n);
}

static const ts__lower_place *place_of(const ts__lower *l, const ts_buffer *b) {
  for (size_t i = 0; i < l->places.n; i++)
    if (l->places.p[i].buf == b) return &l->places.p[i];
  return NULL;
}

static const ts_buffer *flat_of(flattener *x, const ts_buffer *b) {
  for (size_t i = 0; i < x->map.n; i++)
    if (x->map.p[i].from == b) return x->map.p[i].to;
  const ts_buffer *to = b;
  const ts__lower_place *at = place_of(x->l, b);
  if (b->ndim > 1 || b->stride || b->offset || at) {
    const ts_expr **shape = ts_new_array(x->l->arena, const ts_expr *, 1);
    shape[0] = ts_simplify(x->l->an, total(x->l->ir, b));
    ts_buffer *n = ts_buffer_new(x->l->ir, b->name, b->code, 1, shape, b->scope);
    n->align = b->align;
    if (at) n->offset = ts_int(x->l->ir, at->offset);
    to = n;
  }
  ts_vec_push(x->l->arena, &x->map, ((pair){b, to}));
  return to;
}

static const ts_buffer *flat_access(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  flattener *x = arg;
  const ts_buffer *to = flat_of(x, b);
  if (to == b) return NULL;
  out[0] = ts__flat_index(x->l->ir, b, idx);
  return to;
}

static const ts_stmt *flat_alloc(void *arg, const ts_stmt *s) {
  flattener *x = arg;
  if (s->kind != TS_S_ALLOC) return s;
  const ts_buffer *to = flat_of(x, s->alloc.buf);
  return to == s->alloc.buf ? s : ts_alloc(x->l->ir, to, s->alloc.body);
}

const ts_func *ts__flatten(ts__lower *l, const ts_func *f) {
  flattener x = {.l = l};
  ts_func *n = ts_arena_dup(l->arena, f, sizeof *f);
  ts_param *params = ts_new_array(l->arena, ts_param, f->nparams);
  for (int i = 0; i < f->nparams; i++) {
    params[i] = f->params[i];
    params[i].buf = flat_of(&x, f->params[i].buf);
  }
  n->params = params;
  n->body = ts__map_access(l->ir, f->body, flat_access, &x);
  n->body = ts_stmt_rewrite(l->ir, n->body, flat_alloc, NULL, &x);
  return n;
}
