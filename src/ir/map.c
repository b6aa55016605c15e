// map: rebuilding statements. One walk serves rewriting, substitution, replacing buffers and cloning.
#include "ir/ir_impl.h"

static const ts_expr *map_expr(ts__mapper *m, const ts_expr *e) { return e && m->expr ? m->expr(m, e) : e; }
static const ts_var *map_var(ts__mapper *m, const ts_var *v) { return m->var ? m->var(m, v) : v; }
static const ts_buffer *map_buffer(ts__mapper *m, const ts_buffer *b) { return m->buffer ? m->buffer(m, b) : b; }
static const ts_stmt *map_opt(ts__mapper *m, const ts_stmt *s) { return s ? ts__map_stmt(m, s) : NULL; }
static const char *map_name(ts__mapper *m, const char *s) {
  return s && m->foreign ? ts_arena_strdup(m->ir->arena, s) : s;
}

// The mapped array; the same pointer when nothing changed.
static const ts_expr *const *map_exprs(ts__mapper *m, const ts_expr *const *p, int n) {
  const ts_expr *small[TS__MAX_DIMS];
  bool changed = m->foreign;
  for (int i = 0; i < n; i++) {
    small[i] = map_expr(m, p[i]);
    changed |= small[i] != p[i];
  }
  return changed && n ? ts_arena_dup(m->ir->arena, small, sizeof(*p) * (size_t)n) : p;
}

static bool map_range(ts__mapper *m, const ts_range *r, ts_range *out) {
  out->min = map_expr(m, r->min);
  out->extent = map_expr(m, r->extent);
  return out->min != r->min || out->extent != r->extent;
}

static const ts_region *map_regions(ts__mapper *m, const ts_region *p, int n) {
  if (n == 0 || (!m->expr && !m->buffer && !m->foreign)) return p;
  bool changed = m->foreign;
  ts_region *out = ts_new_array(m->ir->arena, ts_region, n);
  for (int i = 0; i < n; i++) {
    ts_range *dim = ts_new_array(m->ir->arena, ts_range, p[i].buf->ndim + 1);
    out[i].buf = map_buffer(m, p[i].buf);
    out[i].dim = dim;
    changed |= out[i].buf != p[i].buf;
    for (int d = 0; d < p[i].buf->ndim; d++) changed |= map_range(m, &p[i].dim[d], &dim[d]);
  }
  return changed ? out : p;
}

static const ts_iter *map_iters(ts__mapper *m, const ts_iter *p, int n) {
  if (n == 0 || (!m->expr && !m->var && !m->foreign)) return p;
  bool changed = m->foreign;
  ts_iter *out = ts_new_array(m->ir->arena, ts_iter, n);
  for (int i = 0; i < n; i++) {
    out[i].kind = p[i].kind;
    out[i].value = map_expr(m, p[i].value);
    changed |= map_range(m, &p[i].dom, &out[i].dom) || out[i].value != p[i].value;
  }
  // Domains and bindings are outside the iterators' scope, so all of them are mapped before the first binder.
  for (int i = 0; i < n; i++) {
    out[i].var = map_var(m, p[i].var);
    changed |= out[i].var != p[i].var;
  }
  return changed ? out : p;
}

static const ts_operand *map_operands(ts__mapper *m, const ts_operand *p, int n) {
  if (n == 0 || (!m->expr && !m->buffer && !m->foreign)) return p;
  bool changed = m->foreign;
  ts_operand *out = ts_arena_dup(m->ir->arena, p, sizeof(*p) * (size_t)n);
  for (int i = 0; i < n; i++) {
    out[i].name = map_name(m, p[i].name);
    out[i].buf = map_buffer(m, p[i].buf);
    out[i].start = map_exprs(m, p[i].start, p[i].buf->ndim);
    changed |= out[i].buf != p[i].buf || out[i].start != p[i].start;
    if (!m->foreign) continue;
    const int64_t **step = ts_new_array(m->ir->arena, const int64_t *, p[i].ndim + 1);
    for (int k = 0; k < p[i].ndim; k++)
      step[k] = ts_arena_dup(m->ir->arena, p[i].step[k], sizeof(int64_t) * (size_t)p[i].buf->ndim);
    out[i].step = step;
  }
  return changed ? out : p;
}

static const ts_buffer *const *map_allocs(ts__mapper *m, const ts_buffer *const *p, int n) {
  if (n == 0 || !m->buffer) return p;
  bool changed = m->foreign;
  const ts_buffer **out = ts_new_array(m->ir->arena, const ts_buffer *, n);
  for (int i = 0; i < n; i++) {
    out[i] = map_buffer(m, p[i]);
    changed |= out[i] != p[i];
  }
  return changed ? out : p;
}

static const ts_block *map_block(ts__mapper *m, const ts_block *b) {
  ts_block n = *b;
  n.name = map_name(m, b->name);
  n.iters = map_iters(m, b->iters, b->niters);
  n.predicate = map_expr(m, b->predicate);
  n.allocs = map_allocs(m, b->allocs, b->nallocs);
  n.reads = map_regions(m, b->reads, b->nreads);
  n.writes = map_regions(m, b->writes, b->nwrites);
  n.operands = map_operands(m, b->operands, b->noperands);
  n.intrin = map_name(m, b->intrin);
  if (m->foreign) n.notes = ts__notes_copy(m->ir->arena, b->notes);
  n.init = map_opt(m, b->init);
  n.body = map_opt(m, b->body);
  bool changed = m->fresh || n.iters != b->iters || n.predicate != b->predicate || n.allocs != b->allocs ||
                 n.reads != b->reads || n.writes != b->writes || n.operands != b->operands || n.init != b->init ||
                 n.body != b->body;
  return changed ? ts_arena_dup(m->ir->arena, &n, sizeof n) : b;
}

static bool map_seq(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  bool changed = m->fresh, nested = false;
  const ts_stmt **child = ts_new_array(m->ir->arena, const ts_stmt *, s->seq.n + 1);
  for (int i = 0; i < s->seq.n; i++) {
    child[i] = ts__map_stmt(m, s->seq.child[i]);
    changed |= child[i] != s->seq.child[i];
    nested |= child[i]->kind == TS_S_SEQ;
  }
  if (!changed) return false;
  if (nested) {
    *n = *ts_seq(m->ir, child, s->seq.n);
  } else {
    n->seq.child = child;
  }
  return true;
}

static bool map_loop(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  n->loop.min = map_expr(m, s->loop.min);
  n->loop.extent = map_expr(m, s->loop.extent);
  n->loop.var = map_var(m, s->loop.var);
  n->loop.body = ts__map_stmt(m, s->loop.body);
  if (m->foreign) n->loop.notes = ts__notes_copy(m->ir->arena, s->loop.notes);
  return n->loop.min != s->loop.min || n->loop.extent != s->loop.extent || n->loop.var != s->loop.var ||
         n->loop.body != s->loop.body;
}

static bool map_store(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  n->store.buf = map_buffer(m, s->store.buf);
  n->store.idx = map_exprs(m, s->store.idx, s->store.buf->ndim);
  n->store.value = map_expr(m, s->store.value);
  return n->store.buf != s->store.buf || n->store.idx != s->store.idx || n->store.value != s->store.value;
}

static bool map_if(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  n->cond.cond = map_expr(m, s->cond.cond);
  n->cond.then = ts__map_stmt(m, s->cond.then);
  n->cond.other = map_opt(m, s->cond.other);
  return n->cond.cond != s->cond.cond || n->cond.then != s->cond.then || n->cond.other != s->cond.other;
}

static bool map_let(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  n->let.value = map_expr(m, s->let.value);
  n->let.var = map_var(m, s->let.var);
  n->let.body = ts__map_stmt(m, s->let.body);
  return n->let.value != s->let.value || n->let.var != s->let.var || n->let.body != s->let.body;
}

static bool map_alloc(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  n->alloc.buf = map_buffer(m, s->alloc.buf);
  n->alloc.body = ts__map_stmt(m, s->alloc.body);
  return n->alloc.buf != s->alloc.buf || n->alloc.body != s->alloc.body;
}

static bool map_children(ts__mapper *m, const ts_stmt *s, ts_stmt *n) {
  switch (s->kind) {
    case TS_S_SEQ:
      return map_seq(m, s, n);
    case TS_S_FOR:
      return map_loop(m, s, n);
    case TS_S_BLOCK:
      n->block = map_block(m, s->block);
      return n->block != s->block;
    case TS_S_STORE:
      return map_store(m, s, n);
    case TS_S_IF:
      return map_if(m, s, n);
    case TS_S_LET:
      return map_let(m, s, n);
    case TS_S_ALLOC:
      return map_alloc(m, s, n);
    default:
      n->eval = map_expr(m, s->eval);
      return n->eval != s->eval;
  }
}

// The statement with everything below it mapped, then m->stmt applied to it. Unchanged subtrees keep their pointers
// unless m->fresh is set; those that m->skip names are not entered.
const ts_stmt *ts__map_stmt(ts__mapper *m, const ts_stmt *s) {
  if (m->skip && m->skip(m, s)) return s;
  ts_stmt n = *s;
  const ts_stmt *out = s;
  if (map_children(m, s, &n) || m->fresh) {
    if (m->fresh && n.id) n.id = ts_ir_next_id(m->ir);
    out = ts_arena_dup(m->ir->arena, &n, sizeof n);
  }
  return m->stmt ? m->stmt(m, out) : out;
}
