// interp_compile: statements to commands over slots, once before they run.
#include "ir/interp_impl.h"

static bool compile_alloc(ts__compiler *c, const ts_buffer *b, ts__command *n) {
  n->kind = TS_S_ALLOC;
  n->buf = b;
  n->slot = ts__slot_of_buffer(c, b);
  return ts__compile_exprs(c, b->shape, b->ndim, &n->idx);
}

static bool compile_iter(ts__compiler *c, const ts_iter *it, ts__iter_code *n) {
  n->name = it->var->name;
  n->kind = it->kind;
  n->slot = ts__slot_of_var(c, it->var);
  n->value = ts__compile_expr(c, it->value);
  n->min = ts__compile_expr(c, it->dom.min);
  n->extent = ts__compile_expr(c, it->dom.extent);
  return n->value && n->min && n->extent;
}

typedef struct var_list {
  ts__compiler *c;
  const ts_block *block;
  TS_VEC(int) slot;
} var_list;

static bool note_reduced(void *arg, const ts_expr *e) {
  var_list *l = arg;
  if (e->kind != TS_E_VAR) return true;
  for (int i = 0; i < l->block->niters; i++)
    if (l->block->iters[i].kind != TS_ITER_REDUCE && ts_expr_uses_var(l->block->iters[i].value, e->var)) return true;
  ts_vec_push(l->c->tmp, &l->slot, ts__slot_of_var(l->c, e->var));
  return true;
}

static void compile_reduced(ts__compiler *c, const ts_block *b, struct ts__block_code *n) {
  var_list l = {.c = c, .block = b};
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind == TS_ITER_REDUCE) ts_expr_visit(b->iters[i].value, note_reduced, &l);
  n->nreduced = (int)l.slot.n;
  n->reduced = l.slot.p;
  n->nwritten = l.slot.n ? b->nwrites : 0;
  n->written = ts_new_array(c->tmp, int, n->nwritten + 1);
  for (int i = 0; i < n->nwritten; i++) n->written[i] = ts__slot_of_buffer(c, b->writes[i].buf);
}

static struct ts__block_code *compile_block(ts__compiler *c, const ts_block *b) {
  struct ts__block_code *n = ts_new(c->tmp, struct ts__block_code);
  n->name = b->name;
  n->niters = b->niters;
  n->iters = ts_new_array(c->tmp, ts__iter_code, b->niters + 1);
  n->nallocs = b->nallocs;
  n->allocs = ts_new_array(c->tmp, const ts__command *, b->nallocs + 1);
  for (int i = 0; i < b->niters; i++) {
    if (!compile_iter(c, &b->iters[i], &n->iters[i])) return NULL;
  }
  for (int i = 0; i < b->nallocs; i++) {
    ts__command *a = ts_new(c->tmp, ts__command);
    if (!compile_alloc(c, b->allocs[i], a)) return NULL;
    n->allocs[i] = a;
  }
  compile_reduced(c, b, n);
  if (b->predicate && !(n->predicate = ts__compile_expr(c, b->predicate))) return NULL;
  if (b->init && !(n->init = ts__compile_stmt(c, b->init))) return NULL;
  return (n->body = ts__compile_stmt(c, b->body)) ? n : NULL;
}

static bool compile_value(ts__compiler *c, ts__command *n, const ts_expr *e) {
  n->n = e->type.lanes;
  n->floats = ts_code_is_float(e->type.code);
  return (n->a = ts__compile_expr(c, e)) != NULL;
}

static bool compile_child(ts__compiler *c, ts__command *n, int i, const ts_stmt *s) {
  return (n->child[i] = ts__compile_stmt(c, s)) != NULL;
}

typedef struct own_list {
  ts__compiler *c;
  TS_VEC(int) slot;
} own_list;

static bool note_alloc(void *arg, const ts_stmt *s) {
  own_list *l = arg;
  if (s->kind == TS_S_ALLOC) ts_vec_push(l->c->tmp, &l->slot, ts__slot_of_buffer(l->c, s->alloc.buf));
  for (int i = 0; s->kind == TS_S_BLOCK && i < s->block->nallocs; i++)
    ts_vec_push(l->c->tmp, &l->slot, ts__slot_of_buffer(l->c, s->block->allocs[i]));
  return true;
}

// A loop along threadIdx: do its threads wait for one another, and what does each own?
static bool compile_threads(ts__compiler *c, ts__command *n, const ts_stmt *s) {
  own_list own = {.c = c};
  bool before = c->lockstep;
  c->lockstep = false;
  TS_TRY(compile_child(c, n, 0, s->loop.body));
  n->thread = true;
  n->lockstep = c->lockstep;
  c->lockstep |= before;
  if (!n->lockstep) return true;
  ts_stmt_visit(s->loop.body, note_alloc, NULL, &own);
  n->own = own.slot.p;
  n->nown = (int)own.slot.n;
  return true;
}

static bool compile_loop(ts__compiler *c, ts__command *n, const ts_stmt *s) {
  n->slot = ts__slot_of_var(c, s->loop.var);
  n->parallel = s->loop.kind == TS_PARALLEL || s->loop.kind == TS_VECTORIZE || s->loop.kind == TS_THREAD;
  n->a = ts__compile_expr(c, s->loop.min);
  n->b = ts__compile_expr(c, s->loop.extent);
  TS_TRY(n->a && n->b);
  bool thread = s->loop.axis >= TS_THREAD_X && s->loop.axis <= TS_THREAD_Z;
  return thread ? compile_threads(c, n, s) : compile_child(c, n, 0, s->loop.body);
}

// An eval of an effect.
static bool compile_effect(ts__compiler *c, ts__command *n, const ts_expr *e) {
  c->lockstep |= n->effect == TS_EFF_SYNC_BLOCK || n->effect == TS_EFF_SYNC_WARP || n->effect >= TS_EFF_SYNC_CLUSTER;
  TS_TRY(ts__compile_exprs(c, e->arg, (int)e->nargs, &n->idx));
  n->a = e->nargs ? n->idx[0] : NULL;
  n->c = e->nargs > 1 ? n->idx[1] : NULL;
  if (n->effect == TS_EFF_ASYNC_COPY) {
    n->n = e->arg[0]->type.lanes;
    n->floats = ts_code_is_float(e->arg[0]->type.code);
  }
  return true;
}

static bool compile_eval(ts__compiler *c, ts__command *n, const ts_expr *e) {
  ts_effect f;
  n->effect = -1;
  if (!ts_effect_of(e, &f) || ts__effect_is_value(f)) return compile_value(c, n, e);
  n->effect = (int)f;
  return compile_effect(c, n, e);
}

static bool compile_let(ts__compiler *c, ts__command *n, const ts_stmt *s) {
  n->slot = ts__slot_of_var(c, s->let.var);
  return compile_value(c, n, s->let.value) && compile_child(c, n, 0, s->let.body);
}

static bool compile_into(ts__compiler *c, ts__command *n, const ts_stmt *s) {
  switch (s->kind) {
    case TS_S_SEQ:
      n->n = s->seq.n;
      for (int i = 0; i < n->n; i++) TS_TRY(compile_child(c, n, i, s->seq.child[i]));
      return true;
    case TS_S_FOR:
      return compile_loop(c, n, s);
    case TS_S_BLOCK:
      return (n->block = compile_block(c, s->block)) != NULL;
    case TS_S_STORE:
      n->slot = ts__slot_of_buffer(c, s->store.buf);
      return compile_value(c, n, s->store.value) && ts__compile_exprs(c, s->store.idx, s->store.buf->ndim, &n->idx);
    case TS_S_IF:
      TS_TRY((n->a = ts__compile_expr(c, s->cond.cond)) && compile_child(c, n, 0, s->cond.then));
      return !s->cond.other || compile_child(c, n, 1, s->cond.other);
    case TS_S_LET:
      return compile_let(c, n, s);
    case TS_S_ALLOC:
      return compile_alloc(c, s->alloc.buf, n) && compile_child(c, n, 0, s->alloc.body);
    default:
      return compile_eval(c, n, s->eval);
  }
}

const ts__command *ts__compile_stmt(ts__compiler *c, const ts_stmt *s) {
  ts__command *n = ts_new(c->tmp, ts__command);
  n->kind = s->kind;
  n->child = ts_new_array(c->tmp, const ts__command *, s->kind == TS_S_SEQ ? s->seq.n + 1 : 2);
  return compile_into(c, n, s) ? n : NULL;
}
