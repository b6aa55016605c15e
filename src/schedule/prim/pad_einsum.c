// pad_einsum b [16, 16, 1] : for i in 0..100 { for j in 0..30 { for k { b: C[vi, vj] += A[vi, vk] * B[vk, vj] } } }
//   -> for i in 0..112 { for k { A_pad: A_pad[v0, v1] = select(v0 < 100, A[v0, v1], 0) } } ; (B_pad likewise)
//      for i in 0..112 { for j in 0..32 { for k { b: C_pad[vi, vj] += A_pad[vi, vk] * B_pad[vk, vj] } } }
//      for i in 0..100 { for j in 0..30 { C_crop: C[v0, v1] = C_pad[v0, v1] } }
// The domain of each iterator is rounded up to a multiple of its number. What the block reads by such an iterator comes from a
// padded copy, what it writes by one goes to a padded buffer and is cropped. A reduction stays what it was because the padding
// makes each added update the identity of the reducer: that is proved by putting the constant into it.
// Results: the blocks that pad, then those that crop.
#include "schedule/schedule_impl.h"

enum { MAX_OPERANDS = 8 };
typedef struct operand {
  const ts_buffer *buf, *copy;
  const ts_expr *const *idx;
  const int *at;  // per dimension: the padded iterator that is the index, or -1
  bool *several;  // dimensions in which accesses differ
} operand;
typedef struct plan {
  int nloops, loops[TS__MAX_DEPTH];
  const ts_expr **to;  // per iterator: the new extent, NULL: as it is
  int nreads, nwrites;
  operand reads[MAX_OPERANDS], writes[MAX_OPERANDS];
  double fill;  // what stands in the padding
} plan;

// --- the new domain ----------------------------------------------------------------------------------------------
static bool extents_find(ts__ctx *c, plan *p, bool *any) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  if (c->arg[1].n != b->niters) {
    ts__refuse(c, TS_R_bad_argument, 1, "block {0} has {1} iterators, and {2} numbers are given");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_i(c, b->niters);
    ts__fact_i(c, c->arg[1].n);
    return false;
  }
  p->to = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int i = 0; i < b->niters; i++) {
    int64_t m = c->arg[1].ints[i];
    const ts_expr *e = b->iters[i].dom.extent;
    if (m < 1 || m > 1 << 20) {
      ts__refuse(c, TS_R_bad_argument, 1, "cannot pad to a multiple of {0}");
      ts__fact_i(c, m);
      return false;
    }
    if (ts_prove_multiple(ts__an(c), e, m) == TS_YES) continue;
    if (ts_prove_eq(ts__an(c), b->iters[i].dom.min, ts_int(c->ir, 0)) != TS_YES || !ts__only_dims(c, e)) {
      ts__refuse(c, TS_R_not_affine, 1, "the domain of iterator {1} of block {0} does not start at zero");
      ts__fact_node(c, c->arg[0].node);
      ts__fact_s(c, b->iters[i].var->name);
      return false;
    }
    const ts_expr *k = ts_int(c->ir, m), *up = ts_add(c->ir, e, ts_int(c->ir, m - 1));
    p->to[i] = ts_simplify(ts__an(c), ts_mul(c->ir, ts_bin(c->ir, TS_E_FLOORDIV, up, k), k));
    *any = true;
  }
  return true;
}

static int padded_iter(const ts_block *b, const plan *p, const ts_expr *e) {
  for (int i = 0; e->kind == TS_E_VAR && i < b->niters; i++)
    if (b->iters[i].var == e->var) return p->to[i] ? i : -1;
  return -1;
}

// --- accesses ------------------------------------------------------------------------------------------------------
typedef struct finder {
  ts__ctx *c;
  plan *p;
  const ts_block *b;
  bool ok;  // nothing was refused
} finder;

static bool uses_padded(const finder *f, const ts_expr *e) {
  for (int i = 0; i < f->b->niters; i++)
    if (f->p->to[i] && ts_expr_uses_var(e, f->b->iters[i].var)) return true;
  return false;
}

// Which padded iterators index the buffer; NULL when none does, or (refused) when one does in another way than alone.
static const int *pattern(finder *f, const ts_buffer *buf, const ts_expr *const *idx) {
  int *at = ts_new_array(f->c->a, int, buf->ndim);
  bool any = false;
  for (int d = 0; d < buf->ndim; d++) {
    at[d] = padded_iter(f->b, f->p, idx[d]);
    any |= at[d] >= 0;
    if (at[d] >= 0 || !uses_padded(f, idx[d])) continue;
    ts__refuse(f->c, TS_R_not_invertible, 0, "index {1} of {2} in block {0} is not a padded iterator alone");
    ts__fact_node(f->c, f->c->arg[0].node);
    ts__fact_s(f->c, ts__expr_text(f->c, idx[d]));
    ts__fact_s(f->c, buf->name);
    ts__hint(f->c, "reindex {2} first");
    f->ok = false;
    return NULL;
  }
  return any ? at : NULL;
}

static operand *operand_find(operand *o, int n, const ts_buffer *buf, const int *at) {
  for (int i = 0; i < n; i++)
    if (o[i].buf == buf && !memcmp(o[i].at, at, sizeof *at * (size_t)buf->ndim)) return &o[i];
  return NULL;
}

static void operand_add(finder *f, operand *list, int *n, const ts_buffer *buf, const ts_expr *const *idx, const int *at) {
  operand *o = operand_find(list, *n, buf, at);
  for (int d = 0; o && d < buf->ndim; d++) o->several[d] |= o->idx[d] != idx[d];
  if (o) return;
  if (*n == MAX_OPERANDS) {
    f->ok = ts__refuse(f->c, TS_R_body_shape, 0, "the block accesses too many buffers");
    return;
  }
  list[(*n)++] = (operand){.buf = buf, .idx = idx, .at = at, .several = ts_new_array(f->c->a, bool, buf->ndim)};
}

static bool find_expr(void *arg, const ts_expr *e) {
  finder *f = arg;
  if (!f->ok) return false;
  if (e->kind == TS_E_LOAD) {
    const int *at = pattern(f, e->buf, e->arg);
    if (at && !ts__writes(f->b, e->buf)) operand_add(f, f->p->reads, &f->p->nreads, e->buf, e->arg, at);
    return !at;
  }
  if (padded_iter(f->b, f->p, e) < 0) return true;
  ts__refuse(f->c, TS_R_body_shape, 0, "block {0} computes with the padded iterator {1}");
  ts__fact_node(f->c, f->c->arg[0].node);
  ts__fact_s(f->c, e->var->name);
  f->ok = false;
  return false;
}

// Every padded spatial iterator tells the element that is written, so that what is computed for the padding hurts nothing.
static bool written_apart(finder *f, const ts_buffer *buf, const ts_expr *const *idx) {
  for (int i = 0; i < f->b->niters; i++) {
    if (!f->p->to[i] || f->b->iters[i].kind != TS_ITER_SPATIAL) continue;
    bool tells = false;
    for (int d = 0; d < buf->ndim; d++) tells |= padded_iter(f->b, f->p, idx[d]) == i;
    if (tells) continue;
    ts__refuse(f->c, TS_R_not_invertible, 0, "{2}, which block {0} writes, is not indexed by iterator {1}");
    ts__fact_node(f->c, f->c->arg[0].node);
    ts__fact_s(f->c, f->b->iters[i].var->name);
    ts__fact_s(f->c, buf->name);
    return false;
  }
  return true;
}

// What is cropped is a box of elements that the block writes.
static bool boxed(finder *f, const ts_buffer *buf, const ts_expr *const *idx) {
  for (int d = 0; d < buf->ndim; d++) {
    bool plain = ts_is_int(idx[d], NULL);
    for (int i = 0; i < f->b->niters && !plain; i++)
      plain = idx[d]->kind == TS_E_VAR && idx[d]->var == f->b->iters[i].var && f->b->iters[i].kind == TS_ITER_SPATIAL;
    for (int k = 0; k < d; k++) plain &= idx[k] != idx[d] || ts_is_int(idx[d], NULL);
    if (plain) continue;
    ts__refuse(f->c, TS_R_not_invertible, 0, "index {1} of {2} in block {0} is neither a constant nor an iterator of its own");
    ts__fact_node(f->c, f->c->arg[0].node);
    ts__fact_s(f->c, ts__expr_text(f->c, idx[d]));
    ts__fact_s(f->c, buf->name);
    return false;
  }
  return true;
}

static bool find_stmt(void *arg, const ts_stmt *s) {
  finder *f = arg;
  if (!f->ok || s->kind == TS_S_SEQ || s->kind == TS_S_LET) return f->ok;
  if (s->kind != TS_S_STORE) return f->ok = ts__refuse(f->c, TS_R_body_shape, 0, "the body of the block is more than stores");
  const int *at = pattern(f, s->store.buf, s->store.idx);
  f->ok &= written_apart(f, s->store.buf, s->store.idx);
  if (f->ok && at) f->ok = boxed(f, s->store.buf, s->store.idx);
  if (f->ok && at) operand_add(f, f->p->writes, &f->p->nwrites, s->store.buf, s->store.idx, at);
  ts_expr_visit(s->store.value, find_expr, f);
  return false;
}

static bool accesses_find(ts__ctx *c, plan *p) {
  finder f = {c, p, ts__block(c, c->arg[0].node), true};
  for (int k = 0; k < 2; k++) {
    const ts_stmt *s = k ? f.b->body : f.b->init;
    if (s) ts_stmt_visit(s, find_stmt, find_expr, &f);
  }
  return f.ok;
}

// --- what stands in the padding -----------------------------------------------------------------------------------
typedef struct filler {
  ts__ctx *c;
  const ts_var *v;
  double fill;
} filler;

static const ts_expr *constant(ts__ctx *c, ts_code code, double v) {
  ts_type t = ts_scalar(code);
  return ts_code_is_float(code) ? ts_const_float(c->ir, t, v) : ts_const_int(c->ir, t, isfinite(v) ? (int64_t)v : 0);
}

static const ts_expr *fill_load(void *arg, const ts_expr *e) {
  const filler *w = arg;
  for (int d = 0; e->kind == TS_E_LOAD && d < e->buf->ndim; d++)
    if (e->arg[d]->kind == TS_E_VAR && e->arg[d]->var == w->v) return constant(w->c, e->buf->code, w->fill);
  return e;
}

// With that constant in the padding, updates beyond the end of every padded reduce iterator are identities.
static bool fill_works(ts__ctx *c, const plan *p, const ts_reduction *r, double fill) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  const ts_expr *identity[TS_MAX_ACCS];
  ts_reduction_identity(c->ir, r, identity);
  for (int i = 0; i < b->niters; i++) {
    filler w = {c, b->iters[i].var, fill};
    if (!p->to[i] || b->iters[i].kind != TS_ITER_REDUCE) continue;
    for (int k = 0; k < r->n; k++)
      if (ts_simplify(ts__an(c), ts_expr_rewrite(c->ir, r->value[k], fill_load, &w)) != identity[k]) return false;
  }
  return true;
}

static bool fill_find(ts__ctx *c, plan *p) {
  static const double fills[] = {0, -INFINITY, INFINITY, 1};
  const ts_block *b = ts__block(c, c->arg[0].node);
  bool reduces = false;
  ts_reduction r;
  for (int i = 0; i < b->niters; i++) reduces |= p->to[i] && b->iters[i].kind == TS_ITER_REDUCE;
  if (!reduces) return true;
  TS_TRY(ts__reduction(c, 0, c->arg[0].node, &r));
  for (size_t i = 0; i < TS_COUNTOF(fills); i++) {
    p->fill = fills[i];
    if (fill_works(c, p, &r, fills[i])) return true;
  }
  ts__refuse(c, TS_R_not_proved, 1, "no constant in the padding provably makes the update of block {0} the identity of its {1}");
  ts__fact_node(c, c->arg[0].node);
  ts__fact_s(c, ts_reduction_name(c->a, &r));
  ts__hint(c, "pad spatial iterators only, or reindex so that every factor is indexed by the reduce iterator");
  return false;
}

// --- building ------------------------------------------------------------------------------------------------------
static const ts_iter *iter_of(const ts_block *b, const ts_expr *e) {
  for (int i = 0; e->kind == TS_E_VAR && i < b->niters; i++)
    if (b->iters[i].var == e->var) return &b->iters[i];
  return NULL;
}

static const ts_buffer *padded_buffer(ts__ctx *c, const plan *p, const operand *o, int number) {
  const ts_buffer *like = ts__buffer_like(c, o->buf, "pad");
  const ts_expr **shape = ts_new_array(c->a, const ts_expr *, o->buf->ndim);
  for (int d = 0; d < o->buf->ndim; d++) shape[d] = o->at[d] >= 0 ? p->to[o->at[d]] : o->buf->shape[d];
  const char *name = number ? ts_arena_printf(c->a, "%s_%d", like->name, number) : like->name;
  return ts_buffer_new(c->ir, name, o->buf->code, o->buf->ndim, shape, ts__is_param(c->f, o->buf) ? "global" : o->buf->scope);
}

// A nest that copies between the buffer and its padded copy: to the whole of the copy, back what the block wrote, or only what is
// read of the buffer (as a witness of that, not to stay).
typedef enum direction { FILL, CROP, READ } direction;
static const ts_stmt *copy_nest(ts__ctx *c, const plan *p, const operand *o, direction how, uint32_t *id) {
  bool back = how == CROP;
  const ts_block *b = ts__block(c, c->arg[0].node);
  int n = o->buf->ndim, m = 0;
  const ts_expr **idx = ts_new_array(c->a, const ts_expr *, n), *inside = NULL;
  const ts_var **loop = ts_new_array(c->a, const ts_var *, n);
  ts_iter *iters = ts_new_array(c->a, ts_iter, n);
  for (int d = 0; d < n; d++) {
    const ts_iter *it = iter_of(b, o->idx[d]);
    idx[d] = o->idx[d];
    if (back && !it) continue;
    ts_range dom = {ts_int(c->ir, 0), back ? it->dom.extent : how == FILL && o->at[d] >= 0 ? p->to[o->at[d]] : o->buf->shape[d]};
    if (!back && it && !o->several[d] && (o->at[d] < 0 || how == READ)) dom = it->dom;
    loop[m] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", d), TS_INDEX);
    iters[m] = (ts_iter){ts_var_new(c->ir, ts_arena_printf(c->a, "v%d", d), TS_INDEX), TS_ITER_SPATIAL, dom, ts_evar(c->ir, loop[m])};
    idx[d] = ts_evar(c->ir, iters[m++].var);
    if (how == FILL && o->at[d] >= 0) inside = ts__and(c->ir, inside, ts_bin(c->ir, TS_E_LT, idx[d], it->dom.extent));
  }
  const ts_expr *value = ts_load(c->ir, back ? o->copy : o->buf, idx);
  if (how == FILL) value = ts_select(c->ir, inside, value, constant(c, o->buf->code, p->fill));
  ts_block *nb = ts_new(c->a, ts_block);
  *nb = (ts_block){.name = ts__fresh_block_name(c, back ? ts_arena_printf(c->a, "%s_crop", o->buf->name) : o->copy->name),
                   .niters = m, .iters = iters, .body = ts_store(c->ir, back ? o->buf : o->copy, idx, value)};
  const ts_stmt *s = ts_block_stmt(c->ir, nb);
  *id = s->id;
  for (int d = m - 1; d >= 0; d--) s = ts_for(c->ir, loop[d], iters[d].dom.min, iters[d].dom.extent, TS_SERIAL, s);
  return ts_stmt_infer_access(c->ir, s);
}

typedef struct redirect {
  ts__ctx *c;
  const plan *p;
  const ts_block *b;
} redirect;

static const ts_buffer *copy_of(const redirect *w, const ts_buffer *buf, const ts_expr *const *idx) {
  for (int k = 0; k < 2; k++) {
    const operand *o = k ? w->p->writes : w->p->reads;
    for (int i = 0; i < (k ? w->p->nwrites : w->p->nreads); i++) {
      bool same = o[i].buf == buf;
      for (int d = 0; same && d < buf->ndim; d++) same = o[i].at[d] == padded_iter(w->b, w->p, idx[d]);
      if (same) return o[i].copy;
    }
  }
  return NULL;
}

static const ts_expr *redirect_load(void *arg, const ts_expr *e) {
  const redirect *w = arg;
  const ts_buffer *to = e->kind == TS_E_LOAD ? copy_of(w, e->buf, e->arg) : NULL;
  return to ? ts_load(w->c->ir, to, e->arg) : e;
}

static const ts_stmt *redirect_store(void *arg, const ts_stmt *s) {
  const redirect *w = arg;
  const ts_buffer *to = s->kind == TS_S_STORE ? copy_of(w, s->store.buf, s->store.idx) : NULL;
  return to ? ts_store(w->c->ir, to, s->store.idx, s->store.value) : s;
}

// The block over its new domain, in its loops.
static const ts_stmt *padded_nest(ts__ctx *c, const plan *p) {
  int me = c->arg[0].node;
  const ts_block *old = ts__block(c, me);
  redirect w = {c, p, old};
  ts_block *b = ts_arena_dup(c->a, old, sizeof *b);
  ts_iter *iters = ts_arena_dup(c->a, old->iters, sizeof *iters * (size_t)old->niters);
  for (int i = 0; i < old->niters; i++)
    if (p->to[i]) iters[i].dom.extent = p->to[i];
  b->iters = iters;
  b->explicit_access = false;
  if (old->init) b->init = ts_stmt_rewrite(c->ir, old->init, redirect_store, redirect_load, &w);
  b->body = ts_stmt_rewrite(c->ir, old->body, redirect_store, redirect_load, &w);
  const ts_stmt *s = ts__block_with(c, ts__stmt(c, me), b);
  for (int l = p->nloops - 1; l >= 0; l--) {
    ts_stmt *out;
    const ts_stmt *loop = ts__stmt(c, p->loops[l]);
    s = ts_stmt_copy(c->ir, ts__loop_with(c, loop, s), &out);
    for (int i = 0; i < old->niters; i++)
      if (p->to[i] && old->iters[i].value->var == loop->loop.var) out->loop.extent = p->to[i];
  }
  return s;
}

// --- the step ------------------------------------------------------------------------------------------------------
// All that a copy reads is there: inside the buffer, and written before.
static bool readable(ts__ctx *c, const plan *p, const operand *o, const ts_stmt *nest) {
  const ts_block *b = ts__block(c, c->arg[0].node);
  for (int d = 0; d < o->buf->ndim; d++) {
    const ts_iter *it = iter_of(b, o->idx[d]);
    const ts_expr *end = it ? ts_add(c->ir, it->dom.min, it->dom.extent) : NULL;
    if (!it || ts_prove_le(ts__an(c), end, o->buf->shape[d]) == TS_YES) continue;
    ts__refuse(c, TS_R_not_covered, 0, "iterator {1} of block {0} may run past the end of {2}");
    ts__fact_node(c, c->arg[0].node);
    ts__fact_s(c, it->var->name);
    ts__fact_s(c, o->buf->name);
    return false;
  }
  int me = c->arg[0].node;
  return ts__filled(c, 0, p->nloops ? p->loops[0] : me, nest, o->buf);
}

bool ts__check_pad_einsum(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  int me = c->arg[0].node;
  bool any = false;
  c->plan = p;
  if (ts__block(c, me)->intrin) {
    ts__refuse(c, TS_R_tensorized, 0, "block {0} is tensorized");
    ts__fact_node(c, me);
    return false;
  }
  if (c->t->node[me].parent < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no iterators");
  TS_TRY(ts__trivial_nest(c, 0, me, p->loops, &p->nloops));
  TS_TRY(extents_find(c, p, &any));
  if (!any) return true;
  TS_TRY(ts__complete_or_reduction(c, 0, me));
  TS_TRY(accesses_find(c, p) && fill_find(c, p));
  for (int i = 0; i < p->nreads; i++) {
    uint32_t id;
    p->reads[i].copy = p->reads[i].buf;
    TS_TRY(readable(c, p, &p->reads[i], copy_nest(c, p, &p->reads[i], READ, &id)));
  }
  return true;
}

static int same_before(const operand *o, int i) {
  int n = 0;
  for (int k = 0; k < i; k++) n += o[k].buf == o[i].buf;
  return n;
}

bool ts__apply_pad_einsum(ts__ctx *c) {
  plan *p = c->plan;
  int me = c->arg[0].node, top = p->nloops ? p->loops[0] : me;
  uint32_t scope = ts__stmt(c, c->t->node[me].scope)->id, id = ts__stmt(c, top)->id;
  if (!p->nreads && !p->nwrites) return true;
  for (int i = 0; i < p->nreads; i++) p->reads[i].copy = padded_buffer(c, p, &p->reads[i], same_before(p->reads, i));
  for (int i = 0; i < p->nwrites; i++) p->writes[i].copy = padded_buffer(c, p, &p->writes[i], same_before(p->writes, i));
  const ts_func *f = ts__replace(c, top, padded_nest(c, p));
  for (int i = 0; i < p->nreads + p->nwrites; i++) {
    bool back = i >= p->nreads;
    uint32_t made;
    const operand *o = back ? &p->writes[i - p->nreads] : &p->reads[i];
    f = ts__beside(c, f, id, copy_nest(c, p, o, back ? CROP : FILL, &made), back);
    f = ts__alloc_add(c, f, scope, o->copy);
    ts__result(c, 'b', made, 0);
  }
  c->out = ts__reinfer(c, f);
  return true;
}
