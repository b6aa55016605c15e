// Stages: buffers, the blocks that fill them and the blocks that use them.
#include "schedule_impl.h"

int ts__top_child(const ts__ctx *c, int scope, int node) {
  while (c->t->node[node].parent != scope) {
    int up = c->t->node[node].parent;
    if (ts__stmt(c, up)->kind == TS_S_SEQ && c->t->node[up].parent == scope) return node;
    node = up;
  }
  return node;
}

int ts__position(const ts__ctx *c, int top) {
  return ts__stmt(c, c->t->node[top].parent)->kind == TS_S_SEQ ? c->t->node[top].child : 0;
}

int ts__owner(const ts__ctx *c, const ts_buffer *buf) {
  for (int i = 0; i < c->t->n; i++) {
    if (ts__stmt(c, i)->kind != TS_S_BLOCK) continue;
    for (int k = 0; k < ts__block(c, i)->nallocs; k++)
      if (ts__block(c, i)->allocs[k] == buf) return i;
  }
  return -1;
}

static bool leaf(const ts__ctx *c, int block) { return ts__next_block(c, block, block) < 0; }

bool ts__extent_of(ts__ctx *c, int block, const ts_buffer *buf, bool reads, bool writes, ts_region *out) {
  const ts_block *b = ts__block(c, block);
  ts_analyzer *an = ts__an(c);
  const ts_var **vars = ts_new_array(c->a, const ts_var *, b->niters);
  bool found = false;
  size_t mark = ts_analyzer_push(an);
  for (int i = 0; i < b->niters; i++) {
    vars[i] = b->iters[i].var;
    ts_bind_range(an, b->iters[i].var, b->iters[i].dom);
  }
  for (int i = 0; i < b->nreads + b->nwrites; i++) {
    const ts_region *r = i < b->nreads ? &b->reads[i] : &b->writes[i - b->nreads];
    if (r->buf != buf || !(i < b->nreads ? reads : writes)) continue;
    ts_region whole = ts_region_relax(an, *r, vars, b->niters);
    *out = found ? ts_region_union(an, *out, whole) : whole;
    found = true;
  }
  ts_analyzer_pop(an, mark);
  return found;
}

bool ts__apart(ts__ctx *c, int x, int y, const ts_buffer *buf) {
  ts_region p, q;
  if (c->t->node[x].scope != c->t->node[y].scope) return false;
  return ts__extent_of(c, x, buf, true, true, &p) && ts__extent_of(c, y, buf, true, true, &q) && ts_region_disjoint(ts__an(c), p, q) == TS_YES;
}

bool ts__only_writer(ts__ctx *c, int block, const ts_buffer *buf, bool anywhere) {
  for (int i = 0; i < c->t->n; i++) {
    bool other = ts__is_block(c, i) && leaf(c, i) && !ts__under(c->t, i, block);
    if (other && ts__writes(ts__block(c, i), buf) && (anywhere || !ts__apart(c, block, i, buf))) return false;
  }
  return true;
}

bool ts__spatial_only(const ts_block *b) {
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind != TS_ITER_SPATIAL) return false;
  return true;
}

bool ts__sole_writer(ts__ctx *c, int arg, int block, bool anywhere) {
  const ts_block *b = ts__block(c, block);
  for (int i = 0; i < b->nwrites; i++) {
    if (ts__only_writer(c, block, b->writes[i].buf, anywhere)) continue;
    ts__refuse(c, TS_R_not_complete, arg, "block {0} is not the only writer of {1}");
    ts__fact_node(c, block);
    ts__fact_s(c, b->writes[i].buf->name);
    return false;
  }
  return true;
}

bool ts__complete(ts__ctx *c, int arg, int block) {
  const ts_block *b = ts__block(c, block);
  if (!ts__spatial_only(b) || b->init) {
    ts__refuse(c, TS_R_not_complete, arg, "block {0} has reduce iterators");
    ts__fact_node(c, block);
    return false;
  }
  for (int i = 0; i < b->nwrites; i++) {
    if (!ts__reads(b, b->writes[i].buf)) continue;
    ts__refuse(c, TS_R_not_complete, arg, "block {0} reads {1}, which it also writes");
    ts__fact_node(c, block);
    ts__fact_s(c, b->writes[i].buf->name);
    return false;
  }
  return ts__sole_writer(c, arg, block, false);
}

// Whether every buffer that the block both reads and writes is read only at the element written: y[i] = y[i] + x[i]. Such a block
// may be moved where each instance still runs exactly once.
static bool in_place(const ts_block *b) {
  if (!ts__spatial_only(b) || b->init) return false;
  for (int i = 0; i < b->nwrites; i++) {
    const ts_region *w = &b->writes[i];
    for (int k = 0; k < b->nreads; k++) {
      const ts_region *r = &b->reads[k];
      if (r->buf != w->buf) continue;
      for (int d = 0; d < w->buf->ndim; d++)
        if (r->dim[d].min != w->dim[d].min || r->dim[d].extent != w->dim[d].extent || !ts_is_int(w->dim[d].extent, NULL)) return false;
    }
  }
  return true;
}

bool ts__runs_once(ts__ctx *c, int arg, int block) {
  return in_place(ts__block(c, block)) ? ts__sole_writer(c, arg, block, false) : ts__complete_or_reduction(c, arg, block);
}

bool ts__complete_or_reduction(ts__ctx *c, int arg, int block) {
  const ts_block *b = ts__block(c, block);
  if (!b->init) return ts__complete(c, arg, block);
  if (ts_block_is_reduction(ts__an(c), b)) return ts__sole_writer(c, arg, block, false);
  ts__refuse(c, TS_R_not_reduction, arg, "block {0} is not a reduction into an element of its own");
  ts__fact_node(c, block);
  return false;
}

const ts_buffer *ts__intermediate_out(ts__ctx *c, int arg, int block) {
  const ts_block *b = ts__block(c, block);
  if (b->nwrites != 1) {
    ts__refuse(c, TS_R_body_shape, arg, "block {0} writes {1} buffers, not one");
    ts__fact_node(c, block);
    ts__fact_i(c, b->nwrites);
    return NULL;
  }
  if (!ts__is_param(c->f, b->writes[0].buf)) return b->writes[0].buf;
  ts__refuse(c, TS_R_output_block, arg, "block {0} writes {1}, a parameter of the function");
  ts__fact_node(c, block);
  ts__fact_s(c, b->writes[0].buf->name);
  ts__hint(c, "cache_write {0} first");
  return NULL;
}

// --- allocations ---------------------------------------------------------------------------------------------------
// The context of the same step over another version of the function.
static ts__ctx over(ts__ctx *c, const ts_func *f, ts__tree *t) {
  ts__ctx x = *c;
  *t = (ts__tree){0};
  ts__tree_build(c->a, t, f->body);
  x.f = f;
  x.t = t;
  x.an = NULL;
  return x;
}

const ts_func *ts__alloc_add(ts__ctx *c, const ts_func *f, uint32_t id, const ts_buffer *buf) {
  ts__tree t;
  ts__ctx x = over(c, f, &t);
  int node = ts__tree_find(&t, id);
  ts_block *b = ts_arena_dup(c->a, ts__block(&x, node), sizeof *b);
  const ts_buffer **p = ts_new_array(c->a, const ts_buffer *, b->nallocs + 1);
  if (b->nallocs) memcpy(p, b->allocs, sizeof *p * (size_t)b->nallocs);
  p[b->nallocs++] = buf;
  b->allocs = p;
  return ts__replace(&x, node, ts__block_with(c, ts__stmt(&x, node), b));
}

const ts_func *ts__alloc_drop(ts__ctx *c, const ts_func *f, const ts_buffer *buf) {
  ts__tree t;
  ts__ctx x = over(c, f, &t);
  int node = ts__owner(&x, buf);
  if (node < 0) return f;
  ts_block *b = ts_arena_dup(c->a, ts__block(&x, node), sizeof *b);
  const ts_buffer **p = ts_new_array(c->a, const ts_buffer *, b->nallocs);
  int n = 0;
  for (int i = 0; i < b->nallocs; i++)
    if (b->allocs[i] != buf) p[n++] = b->allocs[i];
  b->allocs = p;
  b->nallocs = n;
  return ts__replace(&x, node, ts__block_with(c, ts__stmt(&x, node), b));
}

const ts_func *ts__insert(ts__ctx *c, const ts_func *f, uint32_t id, int at, const ts_stmt *s) {
  ts__tree t;
  ts__ctx x = over(c, f, &t);
  int body = ts__body_of(&x, ts__tree_find(&t, id));
  const ts_stmt *old = ts__stmt(&x, body);
  bool seq = old->kind == TS_S_SEQ;
  int n = seq ? old->seq.n : 1;
  const ts_stmt **kid = ts_new_array(c->a, const ts_stmt *, n + 1);
  for (int i = 0, k = 0; k <= n; k++) kid[k] = k == at ? s : seq ? old->seq.child[i++] : (i++, old);
  return ts__replace(&x, body, ts_seq(c->ir, kid, n + 1));
}

const ts_func *ts__beside(ts__ctx *c, const ts_func *f, uint32_t id, const ts_stmt *s, bool after) {
  ts__tree t;
  ts__ctx x = over(c, f, &t);
  int node = ts__tree_find(&t, id);
  const ts_stmt *pair[2] = {after ? ts__stmt(&x, node) : s, after ? s : ts__stmt(&x, node)};
  return ts__replace(&x, node, ts_seq(c->ir, pair, 2));
}

// --- swapping buffers ------------------------------------------------------------------------------------------------
typedef struct swap {
  ts__ctx *c;
  const ts_buffer *from, *to;
} swap;

static const ts_expr *swap_expr(void *arg, const ts_expr *e) {
  const swap *w = arg;
  return e->kind == TS_E_LOAD && e->buf == w->from ? ts_load(w->c->ir, w->to, e->arg) : e;
}

static const ts_region *swap_regions(const swap *w, const ts_region *r, int n) {
  ts_region *p = n ? ts_arena_dup(w->c->a, r, sizeof *r * (size_t)n) : NULL;
  for (int i = 0; i < n; i++)
    if (p[i].buf == w->from) p[i].buf = w->to;
  return p;
}

static const ts_stmt *swap_block(const swap *w, const ts_stmt *s) {
  ts_block *b = ts_arena_dup(w->c->a, s->block, sizeof *b);
  b->reads = swap_regions(w, b->reads, b->nreads);
  b->writes = swap_regions(w, b->writes, b->nwrites);
  const ts_buffer **p = ts_new_array(w->c->a, const ts_buffer *, b->nallocs);
  for (int i = 0; i < b->nallocs; i++) p[i] = b->allocs[i] == w->from ? w->to : b->allocs[i];
  b->allocs = p;
  ts_operand *o = b->noperands ? ts_arena_dup(w->c->a, b->operands, sizeof *o * (size_t)b->noperands) : NULL;
  for (int i = 0; i < b->noperands; i++)
    if (o[i].buf == w->from) o[i].buf = w->to;
  b->operands = o;
  return ts__block_with(w->c, s, b);
}

static const ts_stmt *swap_stmt(void *arg, const ts_stmt *s) {
  const swap *w = arg;
  if (s->kind == TS_S_STORE && s->store.buf == w->from) return ts_store(w->c->ir, w->to, s->store.idx, s->store.value);
  return s->kind == TS_S_BLOCK ? swap_block(w, s) : s;
}

const ts_stmt *ts__buffer_swap(ts__ctx *c, const ts_stmt *s, const ts_buffer *from, const ts_buffer *to) {
  return ts_stmt_rewrite(c->ir, s, swap_stmt, swap_expr, &(swap){.c = c, .from = from, .to = to});
}

static bool buffer_named(const ts__ctx *c, const char *name) {
  for (int i = 0; i < c->f->nparams; i++)
    if (!strcmp(c->f->params[i].buf->name, name)) return true;
  for (int i = 0; i < c->t->n; i++) {
    if (ts__stmt(c, i)->kind != TS_S_BLOCK) continue;
    for (int k = 0; k < ts__block(c, i)->nallocs; k++)
      if (!strcmp(ts__block(c, i)->allocs[k]->name, name)) return true;
  }
  return false;
}

const ts_buffer *ts__buffer_like(ts__ctx *c, const ts_buffer *buf, const char *scope) {
  char suffix[32];
  snprintf(suffix, sizeof suffix, "%s", scope);
  for (char *p = suffix; *p; p++)
    if (*p == '.') *p = '_';
  const char *base = ts_arena_printf(c->a, "%s_%s", buf->name, suffix), *name = base;
  for (int k = 1; buffer_named(c, name); k++) name = ts_arena_printf(c->a, "%s_%d", base, k);
  return ts_buffer_new(c->ir, name, buf->code, buf->ndim, buf->shape, ts_arena_strdup(c->a, scope));
}

bool ts__scope_known(ts__ctx *c, int arg, const char *scope) {
  if (ts_scope_known(scope)) return true;
  ts__refuse(c, TS_R_unknown_scope, arg, "{0} is no storage scope");
  ts__fact_s(c, scope);
  ts__hint(c, "global, local, shared, shared.swizzle32, shared.swizzle64, shared.swizzle128 or fragment.NAME");
  return false;
}

bool ts__copy_place(ts__ctx *c, int *scope, int *top) {
  int block = c->arg[0].node;
  *scope = c->t->node[block].scope;
  if (*scope < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block has no place for a copy");
  *top = ts__top_child(c, *scope, block);
  return true;
}

// --- copies --------------------------------------------------------------------------------------------------------------
const ts_stmt *ts__copy_nest(ts__ctx *c, const ts_buffer *from, const ts_buffer *to, const ts_region *region, uint32_t *id) {
  int n = from->ndim;
  const ts_var **ax = ts_new_array(c->a, const ts_var *, n);
  ts_iter *iters = ts_new_array(c->a, ts_iter, n);
  const ts_expr **idx = ts_new_array(c->a, const ts_expr *, n);
  for (int d = 0; d < n; d++) {
    ax[d] = ts_var_new(c->ir, ts_arena_printf(c->a, "ax%d", d), TS_INDEX);
    iters[d].var = ts_var_new(c->ir, ts_arena_printf(c->a, "v%d", d), TS_INDEX);
    iters[d].dom = (ts_range){ts_int(c->ir, 0), from->shape[d]};
    iters[d].value = ts_simplify(ts__an(c), ts_add(c->ir, region->dim[d].min, ts_evar(c->ir, ax[d])));
    idx[d] = ts_evar(c->ir, iters[d].var);
  }
  ts_block *b = ts_new(c->a, ts_block);
  *b = (ts_block){.name = ts__fresh_block_name(c, ts__is_param(c->f, to) ? ts_arena_printf(c->a, "%s_out", to->name) : to->name),
                  .niters = n, .iters = iters, .body = ts_store(c->ir, to, idx, ts_load(c->ir, from, idx))};
  const ts_stmt *s = ts_block_stmt(c->ir, b);
  *id = s->id;
  for (int d = n - 1; d >= 0; d--) s = ts_for(c->ir, ax[d], ts_int(c->ir, 0), region->dim[d].extent, TS_SERIAL, s);
  return ts_stmt_infer_access(c->ir, s);
}

int ts__toucher(ts__ctx *c, int first, int last, int skip, const ts_buffer *buf, bool writes, bool reads) {
  for (int i = first; i < last; i++) {
    if (!ts__is_block(c, i) || !leaf(c, i) || (skip >= 0 && ts__under(c->t, i, skip))) continue;
    const ts_block *b = ts__block(c, i);
    if (!(writes && ts__writes(b, buf)) && !(reads && ts__reads(b, buf))) continue;
    if (skip < 0 || !ts__is_block(c, skip) || !ts__apart(c, skip, i, buf)) return i;
  }
  return -1;
}

// --- domains ----------------------------------------------------------------------------------------------------------------
static bool no_division(void *arg, const ts_expr *e) {
  bool divides = e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD;
  int64_t v;
  if (divides && (!ts_is_int(e->arg[1], &v) || v == 0)) *(bool *)arg = false;
  return true;
}

bool ts__total(ts__ctx *c, int block) {
  const ts_block *b = ts__block(c, block);
  ts_analyzer *an = ts__an(c);
  bool ok = true;
  ts_stmt_visit(b->body, NULL, no_division, &ok);
  size_t mark = ts_analyzer_push(an);
  for (int i = 0; i < b->niters; i++) ts_bind_range(an, b->iters[i].var, b->iters[i].dom);
  for (int i = 0; ok && b->predicate && i < b->nreads; i++) ok = ts__is_param(c->f, b->reads[i].buf) || ts__writes(b, b->reads[i].buf);
  for (int i = 0; ok && i < b->nreads + b->nwrites; i++) {
    const ts_region *r = i < b->nreads ? &b->reads[i] : &b->writes[i - b->nreads];
    for (int d = 0; ok && d < r->buf->ndim; d++) {
      const ts_expr *end = ts_add(c->ir, r->dim[d].min, r->dim[d].extent);
      ok = ts_prove_le(an, ts_int(c->ir, 0), r->dim[d].min) == TS_YES && ts_prove_le(an, end, r->buf->shape[d]) == TS_YES;
    }
  }
  ts_analyzer_pop(an, mark);
  return ok;
}

static bool region_uses(const ts_region *r, const ts_var *v) {
  for (int d = 0; d < r->buf->ndim; d++)
    if (ts_expr_uses_var(r->dim[d].min, v) || ts_expr_uses_var(r->dim[d].extent, v)) return true;
  return false;
}

bool ts__made_of(ts__ctx *c, int block, const ts_buffer *buf, ts_region *out) {
  const ts_block *b = ts__block(c, block);
  ts_analyzer *an = ts__an(c);
  int loops[TS__MAX_DEPTH];
  int n = ts__loops_of(c, block, loops);
  ts_loop_range in[TS__MAX_DEPTH];
  const ts_var **vars = ts_new_array(c->a, const ts_var *, b->niters);
  const ts_expr **bind = ts_new_array(c->a, const ts_expr *, b->niters);
  for (int i = 0; i < n; i++) in[i] = (ts_loop_range){ts__stmt(c, loops[i])->loop.var, {ts__stmt(c, loops[i])->loop.min, ts__stmt(c, loops[i])->loop.extent}};
  for (int i = 0; i < b->niters; i++) bind[i] = b->iters[i].value;
  const ts_region *w = ts_regions_find(b->writes, b->nwrites, buf);
  ts_itermap map = {0};
  size_t mark = ts_analyzer_push(an);
  ts__enter(c, n ? loops[0] : block);
  bool ok = w && ts_itermap_detect(an, in, n, bind, b->niters, b->predicate, NULL, &map, NULL) && map.surjective == TS_YES && !map.predicate;
  for (int i = 0; ok && i < b->niters; i++) {
    vars[i] = b->iters[i].var;
    ts_bind_range(an, vars[i], (ts_range){map.bind[i].base, map.bind[i].extent});
    ok = ts_prove_eq(an, map.bind[i].step, ts_int(c->ir, 1)) == TS_YES;
    if (ok && !region_uses(w, vars[i])) ok = ts_prove_le(an, ts_int(c->ir, 1), map.bind[i].extent) == TS_YES;
  }
  if (ok) *out = ts_region_relax(an, *w, vars, b->niters);
  ts_analyzer_pop(an, mark);
  return ok;
}

bool ts__whole_domain(ts__ctx *c, int block) {
  int loops[TS__MAX_DEPTH];
  int n = ts__loops_of(c, block, loops);
  const ts_stmt *nest[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) nest[i] = ts__stmt(c, loops[i]);
  ts_itermap map = {0};
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, n ? loops[0] : block);
  bool ok = ts_itermap_of_block(ts__an(c), nest, n, ts__block(c, block), &map, NULL);
  ts_analyzer_pop(ts__an(c), mark);
  return ok && map.surjective == TS_YES && !map.predicate;
}

// --- conditional reads ------------------------------------------------------------------------------------------------------
static bool see_choice(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_SELECT || e->kind == TS_E_AND || e->kind == TS_E_OR) *(bool *)arg = true;
  return true;
}

static bool see_if(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_IF || (s->kind == TS_S_BLOCK && s->block->predicate)) *(bool *)arg = true;
  return true;
}

bool ts__reads_chosen(const ts_block *b) {
  bool chosen = false;
  ts_stmt_visit(b->body, see_if, see_choice, &chosen);
  if (b->init) ts_stmt_visit(b->init, see_if, see_choice, &chosen);
  return chosen;
}

const ts_func *ts__privatize(ts__ctx *c, const ts_func *f, uint32_t loop, const ts_buffer *const *own, int nown) {
  c->s->shells = true;
  for (int i = 0; i < nown; i++) f = ts__alloc_drop(c, f, own[i]);
  ts__tree t;
  ts__ctx x = over(c, f, &t);
  int node = ts__tree_find(&t, loop);
  const ts_stmt *s = ts__stmt(&x, node);
  if (ts__is_shell(s->loop.body)) {
    for (int i = 0; i < nown; i++) f = ts__alloc_add(c, f, s->loop.body->id, own[i]);
    return f;
  }
  ts_block *b = ts_new(c->a, ts_block);
  b->name = ts__fresh_block_name(&x, ts_arena_printf(c->a, "%s_private", s->loop.var->name));
  b->notes = ts_notes_with(c->a, b->notes, (ts_note){.key = "private", .kind = TS_NOTE_INT, .i = 1});
  b->allocs = ts_arena_dup(c->a, own, sizeof *own * (size_t)nown);
  b->nallocs = nown;
  b->body = s->loop.body;
  return ts__replace(&x, node, ts__loop_with(c, s, ts_block_stmt(c->ir, b)));
}

// One loop with a kind around the block: 1 holds, 0 refused; *f changes when buffers became private to its iterations.
static bool kind_holds(ts__ctx *c, const ts_func **f, uint32_t loop, const ts_block *moved) {
  ts__tree t;
  ts__ctx x = over(c, *f, &t);
  const ts_buffer **own;
  int nown;
  x.moved = moved;
  bool ok = ts__independent(&x, -1, ts__tree_find(&t, loop), &own, &nown);
  ts_analyzer_free(x.an);
  if (ok && nown) *f = ts__reinfer(c, ts__privatize(c, *f, loop, own, nown));
  return ok;
}

bool ts__kinds_hold(ts__ctx *c, const ts_func **f, uint32_t id, bool alone) {
  ts__tree t;
  ts__ctx x = over(c, *f, &t);
  int at = ts__tree_find(&t, id);
  const ts_block *moved = alone ? ts__block(&x, at) : NULL;
  for (int up = t.node[at].parent; up >= 0; up = t.node[up].parent) {
    if (!ts__is_loop(&x, up)) continue;
    ts_loop_kind k = ts__stmt(&x, up)->loop.kind;
    if (k != TS_SERIAL && k != TS_UNROLL && !kind_holds(c, f, ts__stmt(&x, up)->id, moved)) return false;
  }
  return true;
}
