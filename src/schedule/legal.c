// Proofs that primitives rest on.
#include "schedule_impl.h"

ts_analyzer *ts__an(ts__ctx *c) {
  if (c->an) return c->an;
  c->an = ts_analyzer_new(c->ir);
  ts_bind_dims(c->an, c->f);
  return c->an;
}

void ts__learn(ts__ctx *c, const ts_stmt *s) {
  int64_t one;
  if (c->keep_units && s->kind == TS_S_FOR && ts_is_int(s->loop.extent, &one) && one == 1) return;
  ts_bind_stmt(ts__an(c), s);
}

void ts__enter(ts__ctx *c, int node) {
  int up = c->t->node[node].parent;
  if (up < 0) return;
  ts__enter(c, up);
  ts__learn(c, ts__stmt(c, up));
}

void ts__enter_in(ts__ctx *c, int node) {
  ts__enter(c, node);
  ts_bind_stmt(ts__an(c), ts__stmt(c, node));
}

// --- privacy ------------------------------------------------------------------------------------------------------
// Lowering places an intermediate buffer as deep as all its accesses allow, so that one whose accesses all lie under a loop
// belongs to each iteration alone, provided that an iteration reads nothing that another one left there.
static bool block_touches(const ts_block *b, const ts_buffer *buf) { return ts__writes(b, buf) || ts__reads(b, buf); }

// May iterations of a loop meet in buf, after the step so far?
static bool concerns(const ts__ctx *c, const ts_buffer *buf) { return !c->moved || block_touches(c->moved, buf); }

static bool all_under(const ts__ctx *c, int loop, const ts_buffer *buf) {
  for (int i = 1; i < c->t->n; i++)
    if (ts__is_block(c, i) && block_touches(ts__block(c, i), buf) && !ts__under(c->t, i, loop) && !ts__under(c->t, loop, i)) return false;
  return true;
}

// The deepest node below top that holds all blocks touching buf.
static int holder(const ts__ctx *c, int top, const ts_buffer *buf) {
  for (;;) {
    int only = -1, count = 0;
    for (int k = top + 1; k < c->t->node[top].end; k = c->t->node[k].end) {
      bool touches = false;
      for (int i = k; i < c->t->node[k].end && !touches; i++) touches = ts__is_block(c, i) && block_touches(ts__block(c, i), buf);
      if (touches) only = k, count++;
    }
    if (count != 1 || ts__is_block(c, only)) return top;
    top = only;
  }
}

static bool touches_under(const ts__ctx *c, int top, const ts_buffer *buf, bool write) {
  for (int i = top; i < c->t->node[top].end; i++)
    if (ts__is_block(c, i) && (write ? ts__writes(ts__block(c, i), buf) : ts__reads(ts__block(c, i), buf))) return true;
  return false;
}

// Does the child (a sibling under the holder) read of buf only what it wrote itself? A reduction whose reduce loops are inside.
static bool self_contained(ts__ctx *c, int child, const ts_buffer *buf) {
  const ts_analyzer *an = ts__an(c);
  for (int i = child; i < c->t->node[child].end; i++) {
    if (!ts__is_block(c, i) || !ts__reads(ts__block(c, i), buf)) continue;
    const ts_block *b = ts__block(c, i);
    if (!b->init || !ts_block_is_reduction((ts_analyzer *)an, b)) return false;
    int loops[TS__MAX_DEPTH];
    int n = ts__loops_of(c, i, loops);
    for (int l = 0; l < n; l++) {
      if (ts__under(c->t, loops[l], child)) continue;
      for (int k = 0; k < b->niters; k++)
        if (b->iters[k].kind != TS_ITER_SPATIAL && ts_expr_uses_var(b->iters[k].value, ts__stmt(c, loops[l])->loop.var)) return false;
    }
  }
  return true;
}

static bool written_first(ts__ctx *c, int loop, const ts_buffer *buf) {
  int top = holder(c, loop, buf);
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter_in(c, top);
  bool ok = true;
  for (int k = top + 1; ok && k < c->t->node[top].end; k = c->t->node[k].end) {
    if (!touches_under(c, k, buf, false)) continue;
    if (touches_under(c, k, buf, true) && self_contained(c, k, buf)) continue;
    bool covered = false;
    for (int p = top + 1; p < k && !covered; p = c->t->node[p].end)
      covered = touches_under(c, p, buf, true) && ts_region_cover(ts__an(c), ts__stmt(c, p), ts__stmt(c, k), buf) == TS_YES;
    ok = covered;
  }
  ts_analyzer_pop(ts__an(c), mark);
  return ok;
}

int ts__private_buffers(ts__ctx *c, int loop, const ts_buffer ***out) {
  TS_VEC(const ts_buffer *) v = {0};
  for (int up = c->t->node[loop].parent; up >= 0; up = c->t->node[up].parent) {
    if (ts__stmt(c, up)->kind != TS_S_BLOCK) continue;
    const ts_block *b = ts__block(c, up);
    for (int i = 0; i < b->nallocs; i++)
      if (concerns(c, b->allocs[i]) && touches_under(c, loop, b->allocs[i], true) && all_under(c, loop, b->allocs[i]) && written_first(c, loop, b->allocs[i]))
        ts_vec_push(c->a, &v, b->allocs[i]);
  }
  *out = v.p;
  return (int)v.n;
}

// --- dependences ------------------------------------------------------------------------------------------------------
// Every spatial iterator is an index of its own of what is written.
static bool writes_own(ts__ctx *c, const ts_block *b, const ts_region *w) {
  bool *seen = ts_new_array(c->a, bool, b->niters);
  for (int d = 0; d < w->buf->ndim; d++) {
    const ts_expr *e = w->dim[d].min;
    int64_t one;
    if (!ts_is_int(w->dim[d].extent, &one) || one != 1) return false;
    if (e->kind == TS_E_INT) continue;
    int i = 0;
    while (i < b->niters && !(e->kind == TS_E_VAR && e->var == b->iters[i].var)) i++;
    if (i == b->niters || seen[i]) return false;
    seen[i] = true;
  }
  for (int i = 0; i < b->niters; i++)
    if (b->iters[i].kind == TS_ITER_SPATIAL && !seen[i]) return false;
  return true;
}

// The simple case of reorder and its like: one block below node, and instances that differ in a spatial iterator write
// different elements, so that the only dependences are those of a reduction with itself.
bool ts__one_clean_block(ts__ctx *c, int node) {
  int at = node;
  while (ts__is_loop(c, at)) at++;
  if (!ts__is_block(c, at) || ts__next_block(c, at, at) >= 0) return false;
  const ts_block *b = ts__block(c, at);
  ts_reduction red;
  bool reduces = b->init != NULL;
  if (reduces ? !ts_block_is_reduction(ts__an(c), b) : !ts__spatial_only(b) || b->nwrites != 1) return false;
  if (reduces ? !ts_reduction_match(c->ir, b, &red) || red.ordered : ts__reads(b, b->writes[0].buf)) return false;
  for (int i = 0; i < b->nwrites; i++)
    if (!writes_own(c, b, &b->writes[i])) return false;
  return true;
}

static int node_of_block(const ts__ctx *c, const ts_block *b) {
  for (int i = 0; b && i < c->t->n; i++)
    if (ts__is_block(c, i) && ts__block(c, i) == b) return i;
  return -1;
}

// e // k and e % k together tell e; joined, they are easier to see through. Returns how many expressions are left.
static int rejoin(const ts_expr **e, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      bool pair = e[i]->kind == TS_E_FLOORDIV && e[j]->kind == TS_E_FLOORMOD && e[i]->arg[0] == e[j]->arg[0] && e[i]->arg[1] == e[j]->arg[1];
      if (!pair || !ts_is_int(e[i]->arg[1], NULL)) continue;
      e[i] = e[i]->arg[0];
      e[j] = e[--n];
    }
  return n;
}

// Do different iterations of the loop write different elements through this access of the block? Its indices, as functions of
// the loops that they use, this one among them, are then different for different values of those.
static bool writes_apart(ts__ctx *c, int loop, int block, const ts_region *w) {
  const ts_block *b = ts__block(c, block);
  int l[TS__MAX_DEPTH], nin = 0, nb = 0;
  int n = ts__loops_of(c, block, l);
  const ts_expr **bind = ts_new_array(c->a, const ts_expr *, w->buf->ndim);
  ts_subst *iters = ts_new_array(c->a, ts_subst, b->niters);
  for (int i = 0; i < b->niters; i++) iters[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
  for (int d = 0; d < w->buf->ndim; d++) {
    if (ts_prove_eq(ts__an(c), w->dim[d].extent, ts_int(c->ir, 1)) != TS_YES) return false;
    if (!ts_is_int(w->dim[d].min, NULL)) bind[nb++] = w->dim[d].min;
  }
  nb = rejoin(bind, nb);
  for (int k = 0; k < nb; k++) bind[k] = ts_expr_subst(c->ir, bind[k], iters, b->niters);
  ts_loop_range in[TS__MAX_DEPTH];
  bool feeds = false, free_pred = true;
  for (int i = 0; i < n; i++) {
    const ts_stmt *s = ts__stmt(c, l[i]);
    bool used = false;
    for (int k = 0; k < nb; k++) used |= ts_expr_uses_var(bind[k], s->loop.var);
    if (!used && b->predicate && ts_expr_uses_var(b->predicate, s->loop.var)) free_pred = false;
    if (!used) continue;
    feeds |= l[i] == loop;
    in[nin++] = (ts_loop_range){s->loop.var, {s->loop.min, s->loop.extent}};
  }
  ts_itermap map = {0};
  if (!feeds) return false;
  ts_itermap_detect(ts__an(c), in, nin, bind, nb, free_pred ? b->predicate : NULL, NULL, &map, NULL);
  return map.injective == TS_YES;
}

// The index expressions of an access as functions of loops, NULL where a dimension is a range.
static void access_indices(ts__ctx *c, int block, const ts_region *r, const ts_expr **out) {
  const ts_block *b = ts__block(c, block);
  ts_subst *iters = ts_new_array(c->a, ts_subst, b->niters);
  int64_t one;
  for (int i = 0; i < b->niters; i++) iters[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
  for (int d = 0; d < r->buf->ndim; d++)
    out[d] = ts_is_int(r->dim[d].extent, &one) && one == 1 ? ts_expr_subst(c->ir, r->dim[d].min, iters, b->niters) : NULL;
}

static bool uses_inner(const ts__ctx *c, const ts_expr *e, int loop) {
  for (int i = loop + 1; i < c->t->node[loop].end; i++)
    if (ts__is_loop(c, i) && ts_expr_uses_var(e, ts__stmt(c, i)->loop.var)) return true;
  return false;
}

// Do some dimensions of buf have, in every access below the loop, the same index, which tells the iteration of the loop?
static bool keyed(ts__ctx *c, int loop, const ts_buffer *buf) {
  const ts_expr **key = NULL, **idx = ts_new_array(c->a, const ts_expr *, buf->ndim);
  for (int i = loop; i < c->t->node[loop].end; i++) {
    if (!ts__is_block(c, i) || !block_touches(ts__block(c, i), buf)) continue;
    const ts_block *b = ts__block(c, i);
    if (c->t->node[i].scope != c->t->node[loop].scope) continue;  // inside a block that was looked at
    for (int k = 0; k < b->nreads + b->nwrites; k++) {
      const ts_region *r = k < b->nreads ? &b->reads[k] : &b->writes[k - b->nreads];
      if (r->buf != buf) continue;
      access_indices(c, i, r, idx);
      bool first = !key;
      if (first) key = ts_new_array(c->a, const ts_expr *, buf->ndim);
      for (int d = 0; d < buf->ndim; d++) {
        if (first) key[d] = idx[d];
        else if (key[d] != idx[d]) key[d] = NULL;
      }
    }
  }
  const ts_var *v = ts__stmt(c, loop)->loop.var;
  int n = 0;
  for (int d = 0; key && d < buf->ndim; d++)
    if (key[d] && ts_expr_uses_var(key[d], v) && !uses_inner(c, key[d], loop)) key[n++] = key[d];
  if (!n) return false;
  n = rejoin(key, n);
  ts_itermap map = {0};
  ts_loop_range in = {v, {ts__stmt(c, loop)->loop.min, ts__stmt(c, loop)->loop.extent}};
  ts_itermap_detect(ts__an(c), &in, 1, key, n, NULL, NULL, &map, NULL);
  return map.injective == TS_YES;
}

// One block touches buf, and writes different elements in different iterations.
static bool single(ts__ctx *c, int loop, int block, const ts_region *w) {
  const ts_block *b = ts__block(c, block);
  if (c->t->node[block].scope != c->t->node[loop].scope) return false;
  if (ts__reads(b, w->buf) && !ts_block_is_reduction(ts__an(c), b)) return false;
  for (int j = loop; j < c->t->node[loop].end; j++)
    if (j != block && ts__is_block(c, j) && !ts__under(c->t, j, block) && block_touches(ts__block(c, j), w->buf)) return false;
  return writes_apart(c, loop, block, w);
}

typedef TS_VEC(const ts_buffer *) buffers;

static bool holds(const buffers *l, const ts_buffer *b) {
  for (size_t i = 0; i < l->n; i++)
    if (l->p[i] == b) return true;
  return false;
}

// Simple proofs, tried before the general one: *apart grows by the buffers written below the loop that are keyed or written by a
// single block. Iterations of the loop do not meet in these. False when others may be written.
static bool instances_apart(ts__ctx *c, int loop, buffers *apart) {
  for (int i = loop; i < c->t->node[loop].end; i++) {  // accesses outside blocks are not seen below
    ts_skind k = ts__stmt(c, i)->kind;
    if (c->t->node[i].scope == c->t->node[loop].scope && k != TS_S_FOR && k != TS_S_SEQ && k != TS_S_BLOCK) return false;
  }
  size_t mark = ts_analyzer_push(ts__an(c));
  int first[TS__MAX_DEPTH];
  ts__enter(c, ts__loops_of(c, loop, first) ? first[0] : loop);
  bool all = true;
  buffers seen = {0};
  for (int i = loop; i < c->t->node[loop].end; i++) {
    if (!ts__is_block(c, i) || c->t->node[i].scope != c->t->node[loop].scope) continue;
    const ts_block *b = ts__block(c, i);
    for (int k = 0; k < b->nwrites; k++) {
      const ts_buffer *buf = b->writes[k].buf;
      if (holds(&seen, buf)) continue;
      ts_vec_push(c->a, &seen, buf);
      if (holds(apart, buf)) continue;
      if (keyed(c, loop, buf) || single(c, loop, i, &b->writes[k])) ts_vec_push(c->a, apart, buf);
      else all = false;
    }
  }
  ts_analyzer_pop(ts__an(c), mark);
  return all;
}

// Threads of a block may share a reduction: what each block below the loop reduces along it is combined across them.
static bool threads_combine(ts__ctx *c, int arg, int loop) {
  for (int i = loop + 1; i < c->t->node[loop].end; i++) {
    bool s, r;
    ts_reduction red;
    if (!ts__is_block(c, i) || c->t->node[i].scope != c->t->node[loop].scope) continue;
    ts__feeds(c, i, loop, &s, &r);
    if (!r) continue;
    bool known = ts_reduction_match(c->ir, ts__block(c, i), &red);
    if (known && !red.ordered) continue;
    ts__refuse(c, known ? TS_R_order_matters : TS_R_unknown_reducer, arg,
               known ? "loop {0} feeds block {1}, whose update is {2}: which one comes first counts"
                     : "loop {0} feeds the reduction of block {1}, whose update is none of the known reducers");
    ts__fact_node(c, loop);
    ts__fact_node(c, i);
    if (known) ts__fact_s(c, ts_reduction_name(c->a, &red));
    return false;
  }
  return true;
}

static void add_all(ts__ctx *c, buffers *to, const ts_buffer *const *from, int n) {
  for (int i = 0; i < n; i++) ts_vec_push(c->a, to, from[i]);
}

// Written below the loop, but none of the step's concern.
static void leave_out(ts__ctx *c, int loop, buffers *apart) {
  for (int i = loop; c->moved && i < c->t->node[loop].end; i++) {
    if (!ts__is_block(c, i)) continue;
    const ts_block *b = ts__block(c, i);
    for (int k = 0; k < b->nwrites; k++)
      if (!concerns(c, b->writes[k].buf) && !holds(apart, b->writes[k].buf)) ts_vec_push(c->a, apart, b->writes[k].buf);
  }
}

// Dependences that the loop carries, given a copy of own[] for each iteration where it would carry some: what is easily seen first.
static ts_dep carried(ts__ctx *c, int loop, const ts_buffer ***own, int *nown) {
  ts_analyzer *an = ts__an(c);
  const ts_stmt *s = ts__stmt(c, loop);
  buffers apart = {0};
  const ts_buffer *const *told;
  ts_dep dep = {.answer = TS_NO};
  leave_out(c, loop, &apart);
  size_t mark = ts_analyzer_push(an);
  ts__enter(c, loop);
  int ntold = ts_loop_told(an, s, apart.p, (int)apart.n, &told);
  add_all(c, &apart, told, ntold);
  bool collides = ts_loop_collides(an, s, apart.p, (int)apart.n, &dep);
  ts_analyzer_pop(an, mark);
  if (!collides && instances_apart(c, loop, &apart)) return (ts_dep){.answer = TS_NO};
  mark = ts_analyzer_push(an);
  ts__enter(c, loop);
  if (!collides) dep = ts_loop_carried(an, s, apart.p, (int)apart.n);
  bool shared = dep.answer != TS_NO && (*nown = ts__private_buffers(c, loop, own)) > 0;
  ts_analyzer_pop(an, mark);
  if (!shared) return dep;
  add_all(c, &apart, *own, *nown);
  if (collides && instances_apart(c, loop, &apart)) return (ts_dep){.answer = TS_NO};
  mark = ts_analyzer_push(an);
  ts__enter(c, loop);
  dep = ts_loop_carried(an, s, apart.p, (int)apart.n);
  ts_analyzer_pop(an, mark);
  return dep;
}

bool ts__independent_on(ts__ctx *c, int arg, int loop, ts_axis axis, const ts_buffer ***own, int *nown) {
  *nown = 0;
  ts_dep dep = carried(c, loop, own, nown);
  if (dep.answer == TS_NO) return true;
  bool threads = axis >= TS_THREAD_X && axis <= TS_THREAD_Z;
  if (threads && !threads_combine(c, arg, loop)) return false;
  if (threads && dep.reduction_only) return true;
  const char *fact = dep.answer != TS_YES   ? "iterations of loop {0} could not be shown to be independent: {1}"
                     : dep.reduction_only ? "loop {0} feeds a reduction: {1}"
                                          : "iterations of loop {0} depend on each other: {1}";
  ts__refuse(c, dep.answer != TS_YES ? TS_R_not_proved : dep.reduction_only ? TS_R_feeds_reduction : TS_R_carried_dependence, arg, fact);
  ts__fact_node(c, loop);
  ts__fact_s(c, ts_arena_strdup(c->a, dep.why));
  if (node_of_block(c, dep.src) >= 0) ts__culprit(c, node_of_block(c, dep.src));
  if (node_of_block(c, dep.dst) >= 0) ts__culprit(c, node_of_block(c, dep.dst));
  if (dep.has_witness) ts__witness(c, ts__stmt(c, loop)->loop.var->name, dep.first, dep.second);
  if (dep.reduction_only) ts__hint(c, "rfactor {0} first, or choose a spatial loop");
  return false;
}

bool ts__independent(ts__ctx *c, int arg, int loop, const ts_buffer ***own, int *nown) {
  return ts__independent_on(c, arg, loop, ts__stmt(c, loop)->loop.axis, own, nown);
}

static bool once(ts__ctx *c, int arg, int node) {
  int loops[TS__MAX_DEPTH];
  int n = ts__loops_of(c, node, loops);
  const ts_stmt *nest[TS__MAX_DEPTH];
  for (int i = 0; i < n; i++) nest[i] = ts__stmt(c, loops[i]);
  ts_itermap map = {0};
  size_t mark = ts_analyzer_push(ts__an(c));
  ts__enter(c, n ? loops[0] : node);
  bool affine = ts_itermap_of_block(ts__an(c), nest, n, ts__block(c, node), &map, NULL);
  ts_analyzer_pop(ts__an(c), mark);
  if (map.injective == TS_YES) return true;
  ts__refuse(c, affine ? TS_R_repeated_instance : TS_R_not_affine, arg,
             affine ? "instances of the reduction {0} would run more than once" : "bindings of the reduction {0} are not affine");
  ts__fact_node(c, node);
  return false;
}

bool ts__instances_once(ts__ctx *c, int arg, int node) {
  for (int i = node; i < c->t->node[node].end; i++) {
    if (!ts__is_block(c, i)) continue;
    bool reduces = false;
    for (int k = 0; k < ts__block(c, i)->niters; k++) reduces |= ts__block(c, i)->iters[k].kind != TS_ITER_SPATIAL;
    if (reduces && !once(c, arg, i)) return false;
  }
  return true;
}
