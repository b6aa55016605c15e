// Dependences: can two different iterations of a loop touch one element, is that a reduction's own doing, and which statements of a
// sequence meet?
#include "analysis/depend_impl.h"

const char *ts_dep_kind_name(ts_dep_kind k) {
  static const char *const name[] = {"read-after-write", "write-after-read", "write-after-write"};
  return name[k];
}

// --- reductions --------------------------------------------------------------------------------------------
// The store combines its own element with something by an associative and commutative operation.
static bool is_update(const ts_stmt *s) {
  const ts_expr *v = s->store.value, *own = NULL;
  int64_t found = 0;
  switch (v->kind) {
    case TS_E_ADD:
    case TS_E_MUL:
    case TS_E_MIN:
    case TS_E_MAX:
    case TS_E_AND:
    case TS_E_OR:
    case TS_E_BITAND:
    case TS_E_BITOR:
    case TS_E_BITXOR:
      break;
    case TS_E_SUB:
      break;
    case TS_E_CALL:
      if (strcmp(v->callee, "fma") != 0) return false;
      break;
    default:
      return false;
  }
  for (uint32_t i = 0; i < v->nargs; i++) {
    const ts_expr *e = v->arg[i];
    bool place = v->kind == TS_E_CALL ? i == 2 : v->kind == TS_E_SUB ? i == 0 : true;
    if (!place || e->kind != TS_E_LOAD || e->buf != s->store.buf) continue;
    bool equal = true;
    for (int d = 0; d < e->buf->ndim; d++) equal = equal && e->arg[d] == s->store.idx[d];
    if (equal) own = e, found++;
  }
  return own && found == 1;
}

static bool count_loads(void *arg, const ts_expr *e) {
  const ts_buffer **b = arg;
  if (e->kind == TS_E_LOAD && e->buf == *b) *b = NULL;
  return *b != NULL;
}

// No other load of the buffer in the value than the one that is updated.
static bool updates_once(const ts_stmt *s) {
  const ts_expr *v = s->store.value;
  for (uint32_t i = 0; i < v->nargs; i++) {
    const ts_buffer *b = s->store.buf;
    const ts_expr *e = v->arg[i];
    bool own = e->kind == TS_E_LOAD && e->buf == b;
    if (!own) ts_expr_visit(e, count_loads, &b);
    if (!b) return false;
  }
  return true;
}

// The loop feeds reduce iterators of the block and no others.
static bool feeds_reduction(const ts__access *x, const ts_var *loop) {
  bool any = false;
  for (int i = 0; x->block && i < x->block->niters; i++) {
    if (!ts_expr_uses_var(x->value[i], loop)) continue;
    if (x->block->iters[i].kind != TS_ITER_REDUCE) return false;
    any = true;
  }
  return any || x->in_init;
}

// An accumulator of a block whose instances may change places.
static bool is_accumulator(ts_ir *ir, const ts__access *x) {
  ts_reduction r;
  if (!ts_reduction_match(ir, x->block, &r) || r.ordered) return false;
  for (int i = 0; i < r.n; i++)
    if (r.acc[i] == x->buf) return true;
  return false;
}

static bool part_of_reduction(ts_ir *ir, const ts__access *x, const ts_var *loop) {
  if (!x->block || !feeds_reduction(x, loop)) return false;
  if (x->in_init) return x->write;
  if (x->store && x->store->store.buf == x->buf && is_update(x->store) && updates_once(x->store)) return true;
  return is_accumulator(ir, x);
}

static bool is_reduction(const ts__pair *p) {
  const ts__access *x = p->s.x, *y = p->t.x;
  if (!part_of_reduction(p->a->ir, x, p->loop) || !part_of_reduction(p->a->ir, y, p->loop)) return false;
  if (x->block != y->block && !x->in_init && !y->in_init) return false;
  return !(x->in_init && y->in_init && x->block != y->block);
}

static bool uses_reduce(const ts_block *b, const ts_expr *e) {
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind == TS_ITER_REDUCE && ts_expr_uses_var(e, b->iters[i].var)) return true;
  return false;
}

static bool reads_same(const ts__access_list *l, const ts__access *w) {
  for (size_t i = 0; i < l->n; i++) {
    bool same = !l->p[i].write && l->p[i].buf == w->buf;
    for (int d = 0; d < w->buf->ndim && same; d++) same = l->p[i].idx[d] == w->idx[d];
    if (same) return true;
  }
  return false;
}

bool ts_block_is_reduction(ts_analyzer *a, const ts_block *b) {
  bool reduce = false, any = false;
  for (int i = 0; i < b->niters; i++) reduce = reduce || b->iters[i].kind == TS_ITER_REDUCE;
  if (!b->init || !reduce) return false;
  ts__access_list l = ts__accesses_of(a, b->body, TS__ALL_BUFFERS);
  for (size_t i = 0; i < l.n; i++) {
    if (!l.p[i].write) continue;
    any = true;
    for (int d = 0; d < l.p[i].buf->ndim; d++)
      if (uses_reduce(b, l.p[i].idx[d])) return false;
    if (!reads_same(&l, &l.p[i])) return false;
  }
  return any;
}

// --- loops -------------------------------------------------------------------------------------------------
static ts_dep_kind kind_of(const ts__access *x, const ts__access *y) {
  return x->write && y->write ? TS_DEP_WAW : x->write ? TS_DEP_RAW : TS_DEP_WAR;
}

static void explain(ts_dep *r, const ts_var *loop, const ts__access *x, const ts__access *y) {
  const char *b = r->buf->name, *p = x->write ? "writes" : "reads", *q = y->write ? "writes" : "reads";
  if (r->has_witness && x->write && y->write)
    snprintf(r->why, sizeof r->why, "%.40s = %lld and %.40s = %lld write the same element of %.40s", loop->name,
             (long long)r->first, loop->name, (long long)r->second, b);
  else if (r->has_witness)
    snprintf(r->why, sizeof r->why, "%.40s = %lld %s the element of %.40s that %.40s = %lld %s", loop->name,
             (long long)r->first, p, b, loop->name, (long long)r->second, q);
  else
    snprintf(r->why, sizeof r->why, "iterations of %.50s may meet in %.50s (%s)", loop->name, b,
             ts_dep_kind_name(r->kind));
}

// Takes a pair that is not disproved into the answer: what is no reduction before what is, a witness before a doubt.
static void take(ts_dep *r, const ts__pair *p, ts__verdict v, bool reduction) {
  bool first = r->answer == TS_NO, better = r->reduction_only && !reduction;
  bool surer = r->reduction_only == reduction && r->answer == TS_UNKNOWN && v.answer == TS_YES;
  if (!first && !better && !surer) return;
  *r = (ts_dep){.answer = v.answer,
                .reduction_only = reduction,
                .kind = kind_of(p->s.x, p->t.x),
                .buf = p->s.x->buf,
                .src = p->s.x->block,
                .dst = p->t.x->block,
                .has_witness = v.has_witness,
                .first = v.first,
                .second = v.second};
  explain(r, p->loop, p->s.x, p->t.x);
}

static bool same_access(const ts__access *x, const ts__access *y) {
  if (x->buf != y->buf || x->write != y->write || x->nest != y->nest || x->guard != y->guard || x->span || y->span)
    return false;
  if (x->block != y->block || x->store != y->store || x->in_init != y->in_init) return false;
  for (int d = 0; d < x->buf->ndim; d++)
    if (x->idx[d] != y->idx[d]) return false;
  return true;
}

typedef struct writes {
  ts_arena *arena;
  ts__buffers ignore;
  TS_VEC(const ts_buffer *) list;
} writes;

static void write_add(writes *w, const ts_buffer *b) {
  if (!ts__among(w->ignore, b) && !ts__among((ts__buffers){(int)w->list.n, w->list.p}, b)) ts_vec_push(w->arena, &w->list, b);
}

static bool see_writes(void *arg, const ts_stmt *s) {
  writes *w = arg;
  if (s->kind == TS_S_STORE) write_add(w, s->store.buf);
  for (int i = 0; s->kind == TS_S_BLOCK && s->block->explicit_access && i < s->block->nwrites; i++)
    write_add(w, s->block->writes[i].buf);
  return true;
}

// Where an index is an element of a buffer of distinct values: that buffer and the place in it. Such a buffer is only read.
static const ts_expr *looked_up(const ts_expr *e, const ts_buffer **table) {
  while (e->kind == TS_E_CAST && e->type.lanes == 1 && !ts_code_is_float(e->type.code) && ts_code_bytes(e->type.code) >= ts_code_bytes(e->arg[0]->type.code)) e = e->arg[0];
  if (e->kind != TS_E_LOAD || !e->buf->distinct || e->buf->ndim != 1) return NULL;
  *table = e->buf;
  return e->arg[0];
}

// Dimension d of buf, which every access indexes with elements of one such buffer, is as good as indexed with their places.
static void look_through(ts_arena *arena, ts__access_list *l, const ts_buffer *buf, int d) {
  const ts_buffer *table = NULL, *other;
  for (size_t i = 0; i < l->n; i++) {
    if (l->p[i].buf != buf) continue;
    if (l->p[i].span || !looked_up(l->p[i].idx[d], &other) || (table && table != other)) return;
    table = other;
  }
  for (size_t i = 0; i < l->n; i++) {
    if (l->p[i].buf != buf) continue;
    const ts_expr **idx = ts_arena_dup(arena, l->p[i].idx, sizeof *idx * (size_t)buf->ndim);
    idx[d] = looked_up(idx[d], &other);
    l->p[i].idx = idx;
  }
}

static void look_through_tables(ts_arena *arena, ts__access_list *l) {
  const ts_buffer *table;
  for (size_t i = 0; i < l->n; i++)
    for (int d = 0; d < l->p[i].buf->ndim; d++)
      if (looked_up(l->p[i].idx[d], &table)) look_through(arena, l, l->p[i].buf, d);
}

// The different accesses below s of buffers that are written there: iterations can meet in no others.
static ts__access_list distinct(ts_analyzer *a, const ts_stmt *s, const ts_buffer *const *ignore, int n) {
  writes w = {.arena = ts_ir_arena(a->ir), .ignore = {n, ignore}};
  ts_stmt_visit(s, see_writes, NULL, &w);
  ts__access_list all = {0}, *l = &all, out = {0};
  if (w.list.n) all = ts__accesses_of(a, s, (ts__buffers){(int)w.list.n, w.list.p});
  for (size_t i = 0; i < l->n; i++) {
    bool seen = false;
    for (size_t j = 0; j < out.n && !seen; j++) seen = same_access(&out.p[j], &l->p[i]);
    if (!seen) ts_vec_push(ts_ir_arena(a->ir), &out, l->p[i]);
  }
  look_through_tables(ts_ir_arena(a->ir), &out);
  return out;
}

// quick: no proofs, found are only those that a few iterations show.
static ts_dep carried(ts_analyzer *a, const ts__access_list *l, const ts_stmt *loop, bool quick) {
  ts_dep r = {.answer = TS_NO, .reduction_only = true};
  const ts_var *v = loop->loop.var;
  int64_t extent;
  if (ts_const_value(a, loop->loop.extent, &extent) && extent <= 1) return r;
  bool *told = ts_new_array(ts_ir_arena(a->ir), bool, l->n + 1);
  for (size_t i = 0; i < l->n; i++) {
    size_t at = 0;
    while (l->p[at].buf != l->p[i].buf) at++;
    told[i] = at < i ? told[at] : !quick && ts__told_by_key(a, l, l->p[i].buf, loop);
  }
  for (size_t i = 0; i < l->n; i++)
    for (size_t j = i; j < l->n && !told[i]; j++) {
      const ts__access *x = &l->p[i], *y = &l->p[j];
      if (x->buf != y->buf || (!x->write && !y->write)) continue;
      ts__pair p = {.a = a, .loop = v};
      if (r.answer == TS_YES && !r.reduction_only) return r;
      ts__verdict w = {TS_UNKNOWN, false, 0, 0};
      bool in = ts__side_of(a, x, v, &p.s), in2 = ts__side_of(a, y, v, &p.t);
      if (in && in2) w = ts__pair_judge(&p, quick);
      if (w.answer != TS_NO) take(&r, &p, w, in && in2 && is_reduction(&p));
    }
  if (r.answer == TS_NO) r.reduction_only = false;
  return r;
}

ts_dep ts_loop_carried(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  return carried(a, &l, loop, false);
}

bool ts_loop_collides(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore, ts_dep *out) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  *out = carried(a, &l, loop, true);
  return out->answer == TS_YES && !out->reduction_only;
}

int ts_loop_told(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore,
                 const ts_buffer *const **out) {
  ts__access_list l = distinct(a, loop, ignore, nignore);
  TS_VEC(const ts_buffer *) seen = {0}, told = {0};
  ts_arena *arena = ts_ir_arena(a->ir);
  for (size_t i = 0; i < l.n; i++) {
    if (ts__among((ts__buffers){(int)seen.n, seen.p}, l.p[i].buf)) continue;
    ts_vec_push(arena, &seen, l.p[i].buf);
    if (ts__told_by_key(a, &l, l.p[i].buf, loop)) ts_vec_push(arena, &told, l.p[i].buf);
  }
  *out = told.p;
  return (int)told.n;
}

void ts_nest_carried(ts_analyzer *a, const ts_stmt *const *loops, int n, ts_dep *out) {
  if (n == 0) return;
  ts__access_list l = distinct(a, loops[0], NULL, 0);
  for (int i = 0; i < n; i++) out[i] = carried(a, &l, loops[i], false);
}

// --- siblings ----------------------------------------------------------------------------------------------
typedef TS_VEC(ts_edge) edge_list;

static void meet(ts_analyzer *a, edge_list *out, int i, int j, ts_dep_kind kind, const ts_region *x, int nx,
                 const ts_region *y, int ny) {
  for (int k = 0; k < nx; k++) {
    const ts_region *r = ts_regions_find(y, ny, x[k].buf);
    ts_tri apart_ = r ? ts_region_disjoint(a, x[k], *r) : TS_YES;
    if (apart_ == TS_YES) continue;
    ts_edge e = {i, j, kind, x[k].buf, apart_ == TS_NO ? TS_YES : TS_UNKNOWN};
    ts_vec_push(ts_ir_arena(a->ir), out, e);
  }
}

ts_edges ts_sibling_edges(ts_analyzer *a, const ts_stmt *const *child, int n) {
  ts_accesses *acc = ts_new_array(ts_ir_arena(a->ir), ts_accesses, n ? n : 1);
  edge_list out = {0};
  for (int j = 0; j < n; j++) {
    acc[j] = ts_regions_of(a, child[j], NULL, 0);
    for (int i = 0; i < j; i++) {
      meet(a, &out, i, j, TS_DEP_RAW, acc[i].writes, acc[i].nwrites, acc[j].reads, acc[j].nreads);
      meet(a, &out, i, j, TS_DEP_WAR, acc[i].reads, acc[i].nreads, acc[j].writes, acc[j].nwrites);
      meet(a, &out, i, j, TS_DEP_WAW, acc[i].writes, acc[i].nwrites, acc[j].writes, acc[j].nwrites);
    }
  }
  return (ts_edges){(int)out.n, out.p};
}
