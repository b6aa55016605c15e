// walk: substitution, rewriting, visiting and cloning.
#include <assert.h>

#include "ir/ir_impl.h"

// --- rewriting ----------------------------------------------------------------------------------------------

enum { SMALL = 8 };

// e with its arguments replaced by f(arg): the shared step of every bottom-up walk.
static const ts_expr *with_args(ts_ir *ir, const ts_expr *e, const ts_expr *(*f)(void *, const ts_expr *), void *arg) {
  const ts_expr *small[SMALL];
  const ts_expr **args = e->nargs <= SMALL ? small : ts_new_array(ir->arena, const ts_expr *, e->nargs);
  for (uint32_t i = 0; i < e->nargs; i++) args[i] = f(arg, e->arg[i]);
  return ts_expr_with(ir, e, args);
}

typedef struct rewriter {
  ts_ir *ir;
  ts_expr_fn fe;
  ts_stmt_fn fs;
  void *arg;
} rewriter;

static const ts_expr *rewrite_expr(void *arg, const ts_expr *e) {
  rewriter *r = arg;
  if (e->nargs) e = with_args(r->ir, e, rewrite_expr, r);
  return r->fe(r->arg, e);
}

const ts_expr *ts_expr_rewrite(ts_ir *ir, const ts_expr *e, ts_expr_fn f, void *arg) {
  rewriter r = {.ir = ir, .fe = f, .arg = arg};
  return rewrite_expr(&r, e);
}

static const ts_expr *mapped_expr(ts__mapper *m, const ts_expr *e) { return rewrite_expr(m->arg, e); }
static const ts_stmt *mapped_stmt(ts__mapper *m, const ts_stmt *s) {
  rewriter *r = m->arg;
  return r->fs(r->arg, s);
}

const ts_stmt *ts_stmt_rewrite(ts_ir *ir, const ts_stmt *s, ts_stmt_fn fs, ts_expr_fn fe, void *arg) {
  rewriter r = {.ir = ir, .fe = fe, .fs = fs, .arg = arg};
  ts__mapper m = {.ir = ir, .expr = fe ? mapped_expr : NULL, .stmt = fs ? mapped_stmt : NULL, .arg = &r};
  return ts__map_stmt(&m, s);
}

// --- substitution -------------------------------------------------------------------------------------------

typedef struct substituter {
  ts_ir *ir;
  const ts_subst *map;
  int n;
  uint16_t mask;  // var bits of the variables replaced
} substituter;

static const ts_expr *subst(void *arg, const ts_expr *e) {
  const substituter *s = arg;
  if (!(e->var_mask & s->mask)) return e;
  if (e->kind != TS_E_VAR) return with_args(s->ir, e, subst, arg);
  for (int i = 0; i < s->n; i++) {
    if (s->map[i].from != e->var) continue;
    assert(ts_type_eq(s->map[i].to->type, e->type));
    return s->map[i].to;
  }
  return e;
}

static substituter substituter_of(ts_ir *ir, const ts_subst *map, int n) {
  substituter s = {.ir = ir, .map = map, .n = n};
  for (int i = 0; i < n; i++) s.mask |= ts_var_bit(map[i].from);
  return s;
}

const ts_expr *ts_expr_subst(ts_ir *ir, const ts_expr *e, const ts_subst *map, int n) {
  substituter s = substituter_of(ir, map, n);
  return subst(&s, e);
}

static const ts_expr *mapped_subst(ts__mapper *m, const ts_expr *e) { return subst(m->arg, e); }

const ts_stmt *ts_stmt_subst(ts_ir *ir, const ts_stmt *st, const ts_subst *map, int n) {
  substituter s = substituter_of(ir, map, n);
  ts__mapper m = {.ir = ir, .expr = mapped_subst, .arg = &s};
  return s.mask ? ts__map_stmt(&m, st) : st;
}

// --- replacing a buffer -------------------------------------------------------------------------------------

typedef struct replacer {
  ts_ir *ir;
  const ts_buffer *from, *to;
} replacer;

static const ts_expr *replace_load(void *arg, const ts_expr *e) {
  replacer *r = arg;
  if (e->nargs) e = with_args(r->ir, e, replace_load, r);
  return e->kind == TS_E_LOAD && e->buf == r->from ? ts_vload(r->ir, r->to, e->arg, e->type.lanes) : e;
}
static const ts_expr *mapped_replace(ts__mapper *m, const ts_expr *e) { return replace_load(m->arg, e); }
static const ts_buffer *replace_buffer(ts__mapper *m, const ts_buffer *b) {
  replacer *r = m->arg;
  return b == r->from ? r->to : b;
}

const ts_stmt *ts_stmt_replace_buffer(ts_ir *ir, const ts_stmt *s, const ts_buffer *from, const ts_buffer *to) {
  assert(from->ndim == to->ndim && from->code == to->code);
  replacer r = {.ir = ir, .from = from, .to = to};
  ts__mapper m = {.ir = ir, .expr = mapped_replace, .buffer = replace_buffer, .arg = &r};
  return ts__map_stmt(&m, s);
}

// --- cloning ------------------------------------------------------------------------------------------------

typedef struct cloner {
  ts_ir *ir;
  ts__ptrmap vars, buffers, exprs;
  bool foreign;
} cloner;

static const ts_var *clone_var(ts__mapper *m, const ts_var *v) {
  cloner *c = m->arg;
  uint64_t have;
  if (ts__ptrmap_get(&c->vars, v, &have)) return (const ts_var *)(uintptr_t)have;
  const ts_var *n = ts_var_new(c->ir, v->name, v->type);
  ts__ptrmap_put(&c->vars, v, (uint64_t)(uintptr_t)n);
  return n;
}

static const ts_buffer *clone_buffer(ts__mapper *m, const ts_buffer *b) {
  uint64_t have;
  return ts__ptrmap_get(&((cloner *)m->arg)->buffers, b, &have) ? (const ts_buffer *)(uintptr_t)have : b;
}

// Variables and buffers not bound inside the tree cloned stay as they are; in a foreign tree all are bound.
static const ts_expr *clone_expr(void *arg, const ts_expr *e) {
  ts__mapper *m = arg;
  cloner *c = m->arg;
  uint64_t have;
  if (ts__ptrmap_get(&c->exprs, e, &have)) return (const ts_expr *)(uintptr_t)have;
  const ts_expr *small[SMALL];
  const ts_expr **args = e->nargs <= SMALL ? small : ts_new_array(c->ir->arena, const ts_expr *, e->nargs);
  for (uint32_t i = 0; i < e->nargs; i++) args[i] = clone_expr(arg, e->arg[i]);
  const ts_expr *n = e;
  if (e->kind == TS_E_VAR) {
    n = ts__ptrmap_get(&c->vars, e->var, &have) ? ts_evar(c->ir, (const ts_var *)(uintptr_t)have) : e;
  } else if (e->kind == TS_E_LOAD) {
    n = ts_vload(c->ir, clone_buffer(m, e->buf), args, e->type.lanes);
  } else if (e->kind == TS_E_INT) {
    n = ts_const_int(c->ir, e->type, e->i);
  } else if (e->kind == TS_E_FLOAT) {
    n = ts_const_float(c->ir, e->type, e->f);
  } else if (e->kind == TS_E_CALL && e->nargs == 0) {
    n = ts_call(c->ir, e->type, e->callee, args, 0);
  } else {
    n = c->foreign ? ts__expr_rebuild(c->ir, e, args) : ts_expr_with(c->ir, e, args);
  }
  ts__ptrmap_put(&c->exprs, e, (uint64_t)(uintptr_t)n);
  return n;
}
static const ts_expr *mapped_clone(ts__mapper *m, const ts_expr *e) { return clone_expr(m, e); }

static const ts_expr *const *clone_exprs(ts__mapper *m, const ts_expr *const *p, int n) {
  if (!p) return NULL;
  const ts_expr **out = ts_new_array(m->ir->arena, const ts_expr *, n + 1);
  for (int i = 0; i < n; i++) out[i] = clone_expr(m, p[i]);
  return out;
}

static void bind_buffer(ts__mapper *m, const ts_buffer *b) {
  cloner *c = m->arg;
  ts_buffer *n = ts_buffer_new(c->ir, b->name, b->code, 0, NULL, b->scope);
  n->ndim = b->ndim;
  n->shape = clone_exprs(m, b->shape, b->ndim);
  n->stride = clone_exprs(m, b->stride, b->ndim);
  n->offset = b->offset ? clone_expr(m, b->offset) : NULL;
  n->align = b->align;
  n->skew = b->skew;
  n->distinct = b->distinct;
  ts__ptrmap_put(&c->buffers, b, (uint64_t)(uintptr_t)n);
}

// The names bound inside a statement must have their copies before the uses are met: binders first, in tree order.
static bool bind_names(void *arg, const ts_stmt *s) {
  ts__mapper *m = arg;
  switch (s->kind) {
    case TS_S_FOR:
      clone_var(m, s->loop.var);
      break;
    case TS_S_LET:
      clone_var(m, s->let.var);
      break;
    case TS_S_ALLOC:
      bind_buffer(m, s->alloc.buf);
      break;
    case TS_S_BLOCK:
      for (int i = 0; i < s->block->niters; i++) clone_var(m, s->block->iters[i].var);
      for (int i = 0; i < s->block->nallocs; i++) bind_buffer(m, s->block->allocs[i]);
      break;
    default:
      break;
  }
  return true;
}

static ts__mapper mapper_of(cloner *c) {
  return (ts__mapper){.ir = c->ir,
                      .expr = mapped_clone,
                      .var = clone_var,
                      .buffer = clone_buffer,
                      .fresh = true,
                      .foreign = c->foreign,
                      .arg = c};
}

static cloner cloner_of(ts_ir *ir, bool foreign) {
  return (cloner){.ir = ir,
                  .vars = {.arena = ir->arena},
                  .buffers = {.arena = ir->arena},
                  .exprs = {.arena = ir->arena},
                  .foreign = foreign};
}

const ts_stmt *ts_stmt_clone(ts_ir *ir, const ts_stmt *s) {
  cloner c = cloner_of(ir, false);
  ts__mapper m = mapper_of(&c);
  ts_stmt_visit(s, bind_names, NULL, &m);
  return ts__map_stmt(&m, s);
}

static const ts_param *clone_params(ts__mapper *m, const ts_func *f) {
  ts_param *params = ts_new_array(m->ir->arena, ts_param, f->nparams + 1);
  for (int i = 0; i < f->nparams; i++) {
    bind_buffer(m, f->params[i].buf);
    params[i] = f->params[i];
    params[i].buf = clone_buffer(m, f->params[i].buf);
  }
  return params;
}

const ts_func *ts_func_clone(ts_ir *ir, const ts_func *f) {
  cloner c = cloner_of(ir, true);
  ts__mapper m = mapper_of(&c);
  ts_func *n = ts_arena_dup(ir->arena, f, sizeof *f);
  ts_dim *dims = ts_new_array(ir->arena, ts_dim, f->ndims + 1);
  for (int i = 0; i < f->ndims; i++) {
    dims[i] = f->dims[i];
    dims[i].var = clone_var(&m, f->dims[i].var);
  }
  n->name = ts_arena_strdup(ir->arena, f->name);
  n->dims = dims;
  n->params = clone_params(&m, f);
  n->notes = ts__notes_copy(ir->arena, f->notes);
  ts_stmt_visit(f->body, bind_names, NULL, &m);
  n->body = ts__map_stmt(&m, f->body);
  return n;
}

// --- visiting -----------------------------------------------------------------------------------------------

void ts_expr_visit(const ts_expr *e, bool (*f)(void *, const ts_expr *), void *arg) {
  if (!f(arg, e)) return;
  for (uint32_t i = 0; i < e->nargs; i++) ts_expr_visit(e->arg[i], f, arg);
}

typedef struct visitor {
  bool (*fs)(void *, const ts_stmt *);
  bool (*fe)(void *, const ts_expr *);
  void *arg;
} visitor;

static void visit_expr(const visitor *v, const ts_expr *e) {
  if (e && v->fe) ts_expr_visit(e, v->fe, v->arg);
}

static void visit_buffer(const visitor *v, const ts_buffer *b) {
  for (int d = 0; d < b->ndim; d++) {
    visit_expr(v, b->shape[d]);
    if (b->stride) visit_expr(v, b->stride[d]);
  }
  visit_expr(v, b->offset);
}

static void visit_regions(const visitor *v, const ts_region *p, int n) {
  for (int i = 0; i < n; i++) {
    for (int d = 0; d < p[i].buf->ndim; d++) {
      visit_expr(v, p[i].dim[d].min);
      visit_expr(v, p[i].dim[d].extent);
    }
  }
}

static void visit_stmt(const visitor *v, const ts_stmt *s);

static void visit_block(const visitor *v, const ts_block *b) {
  for (int i = 0; i < b->niters; i++) {
    visit_expr(v, b->iters[i].dom.min);
    visit_expr(v, b->iters[i].dom.extent);
    visit_expr(v, b->iters[i].value);
  }
  visit_expr(v, b->predicate);
  for (int i = 0; i < b->nallocs; i++) visit_buffer(v, b->allocs[i]);
  visit_regions(v, b->reads, b->nreads);
  visit_regions(v, b->writes, b->nwrites);
  for (int i = 0; i < b->noperands; i++) {
    for (int d = 0; d < b->operands[i].buf->ndim; d++) visit_expr(v, b->operands[i].start[d]);
  }
  if (b->init) visit_stmt(v, b->init);
  visit_stmt(v, b->body);
}

static void visit_stmt(const visitor *v, const ts_stmt *s) {
  if (v->fs && !v->fs(v->arg, s)) return;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) visit_stmt(v, s->seq.child[i]);
      return;
    case TS_S_FOR:
      visit_expr(v, s->loop.min);
      visit_expr(v, s->loop.extent);
      visit_stmt(v, s->loop.body);
      return;
    case TS_S_BLOCK:
      visit_block(v, s->block);
      return;
    case TS_S_STORE:
      for (int d = 0; d < s->store.buf->ndim; d++) visit_expr(v, s->store.idx[d]);
      visit_expr(v, s->store.value);
      return;
    case TS_S_IF:
      visit_expr(v, s->cond.cond);
      visit_stmt(v, s->cond.then);
      if (s->cond.other) visit_stmt(v, s->cond.other);
      return;
    case TS_S_LET:
      visit_expr(v, s->let.value);
      visit_stmt(v, s->let.body);
      return;
    case TS_S_ALLOC:
      visit_buffer(v, s->alloc.buf);
      visit_stmt(v, s->alloc.body);
      return;
    default:
      visit_expr(v, s->eval);
      return;
  }
}

void ts_stmt_visit(const ts_stmt *s, bool (*fs)(void *, const ts_stmt *), bool (*fe)(void *, const ts_expr *),
                   void *arg) {
  visitor v = {.fs = fs, .fe = fe, .arg = arg};
  visit_stmt(&v, s);
}

bool ts_expr_uses_var(const ts_expr *e, const ts_var *v) {
  if (!(e->var_mask & ts_var_bit(v))) return false;
  if (e->kind == TS_E_VAR) return e->var == v;
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (ts_expr_uses_var(e->arg[i], v)) return true;
  }
  return false;
}
