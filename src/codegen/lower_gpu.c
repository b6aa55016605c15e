// Kernels: the statements at the top of a function, each with its thread loops outermost and the rest run by all
// threads.
//
// A loop bound to an axis becomes the axis itself: its variable is replaced by the axis's, and what it ran is guarded
// where the loop is shorter. A leaf that stands in no loop of some axis is run by thread 0 of it, unless it only fills
// buffers of the thread (or of the block, for block axes): then everybody needs the result and computes it.
#include "codegen/lower_gpu.h"

#include <stdarg.h>

#include "op/intrin.h"

bool ts__gpu_refuse(ts__lower *l, const char *code, const char *fmt, ...) {
  char what[300];
  va_list ap;
  if (l->failed) return false;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  l->failed = true;
  return ts_refuse(l->d, code, "%s: %s", l->f->name, what);
}

int64_t ts__threads_of(const ts__kernel *k, ts_axis a) {
  int64_t n = 1;
  if (k->extent[a]) ts_is_int(k->extent[a], &n);
  return n;
}

static bool is_axis(const ts_stmt *s) {
  return s->kind == TS_S_FOR && s->loop.kind == TS_THREAD && s->loop.axis != TS_VTHREAD;
}

// --- axes in use
// --------------------------------------------------------------------------------------------------------

typedef struct survey {
  ts__kernel *k;
  ts__lower *l;
} survey;

// The larger of two extents; a thread axis has constant ones.
static const ts_expr *larger(ts__lower *l, const ts_expr *a, const ts_expr *b) {
  if (!a || a == b) return b;
  if (ts_prove_le(l->an, a, b) == TS_YES) return b;
  if (ts_prove_le(l->an, b, a) == TS_YES) return a;
  return ts_bin(l->ir, TS_E_MAX, a, b);
}

static ts_notes joined(ts__lower *l, ts_notes a, ts_notes b) {
  for (int i = 0; i < b.n; i++) a = ts_notes_with(l->arena, a, b.p[i]);
  return a;
}

static bool see_dim(void *arg, const ts_expr *e) {
  survey *v = arg;
  if (e->kind == TS_E_LOAD) ts__gpu_refuse(v->l, "grid-extent", "the extent of a thread loop is read from memory");
  if (e->kind != TS_E_VAR) return true;
  for (int i = 0; i < v->l->f->ndims; i++)
    if (v->l->f->dims[i].var == e->var) return true;
  ts__gpu_refuse(v->l, "grid-extent", "the extent of a thread loop depends on loop %.60s", e->var->name);
  return false;
}

static bool see_axis(void *arg, const ts_stmt *s) {
  survey *v = arg;
  int64_t zero;
  if (!is_axis(s)) return !v->l->failed;
  ts_axis a = s->loop.axis;
  if (!ts_is_int(s->loop.min, &zero) || zero)
    return ts__gpu_refuse(v->l, "thread-loop", "loop %.60s along %s does not start at 0", s->loop.var->name,
                          ts_axis_name(a));
  if (a >= TS_THREAD_X && a <= TS_THREAD_Z && !ts_is_int(s->loop.extent, NULL))
    return ts__gpu_refuse(v->l, "thread-loop", "loop %.60s along %s has no constant extent", s->loop.var->name,
                          ts_axis_name(a));
  ts_expr_visit(s->loop.extent, see_dim, v);
  v->k->extent[a] = larger(v->l, v->k->extent[a], s->loop.extent);
  v->k->notes[a] = joined(v->l, v->k->notes[a], s->loop.notes);
  v->k->used |= 1u << a;
  return !v->l->failed;
}

static bool has_threads(const ts_stmt *s, unsigned axes);

typedef struct finder {
  unsigned axes;
  bool found;
} finder;
static bool see_found(void *arg, const ts_stmt *s) {
  finder *f = arg;
  f->found |= is_axis(s) && (f->axes >> s->loop.axis & 1);
  return !f->found;
}

static bool has_threads(const ts_stmt *s, unsigned axes) {
  finder f = {axes, false};
  ts_stmt_visit(s, see_found, NULL, &f);
  return f.found;
}

enum { ALL_BLOCKS = 1 << TS_BLOCK_X | 1 << TS_BLOCK_Y | 1 << TS_BLOCK_Z };

static const char *const axis_names[TS_AXIS__COUNT] = {
    [TS_BLOCK_X] = "bx",  [TS_BLOCK_Y] = "by",  [TS_BLOCK_Z] = "bz",
    [TS_THREAD_X] = "tx", [TS_THREAD_Y] = "ty", [TS_THREAD_Z] = "tz"};

// --- leaves
// ---------------------------------------------------------------------------------------------------------------

typedef struct around {
  ts__kernel *k;
  ts__lower *l;
  const ts_expr *guard;  // of loops shorter than their axis, and of blocks
  unsigned active;       // axes of loops around
  bool lanes;            // in a vector loop: what is allocated belongs to a lane
  ts__gpu_role role;
} around;

typedef struct effects {
  bool global, shared, local;  // written
  bool reads;                  // anything but buffers of the thread
} effects;

static bool see_store(void *arg, const ts_stmt *s) {
  effects *w = arg;
  if (s->kind != TS_S_STORE) return true;
  if (ts__is_private(s->store.buf)) {
    w->local = true;
  } else if (ts__is_shared(s->store.buf)) {
    w->shared = true;
  } else {
    w->global = true;
  }
  return true;
}

static bool see_read(void *arg, const ts_expr *e) {
  effects *w = arg;
  w->reads |= e->kind == TS_E_LOAD && !ts__is_private(e->buf);
  return true;
}

static effects effects_of(const ts_stmt *s) {
  effects w = {0};
  ts_stmt_visit(s, see_store, see_read, &w);
  return w;
}

// Threads of one group run a tensor intrinsic together: those along threadIdx.x, which number them within the group.
static bool group_axes(around *x, const ts_block *b, unsigned *axes) {
  const ts_intrin *in = ts_intrin_load(x->l->ir, b->intrin, x->l->d);
  *axes = 0;
  if (!in) return x->l->failed = true, false;
  if (in->threads == 1) return true;
  int64_t want = in->threads, have = x->active >> TS_THREAD_X & 1 ? 1 : ts__threads_of(x->k, TS_THREAD_X);
  *axes = 1u << TS_THREAD_X;
  if (have == want) return true;
  return ts__gpu_refuse(
      x->l, "intrinsic-threads",
      "block %.60s: %.60s is run by %lld threads along threadIdx.x together; outside of loops along it there are %lld", b->name,
      b->intrin, (long long)want, (long long)have);
}

// The condition under which a thread runs the leaf; NULL: always.
static const ts_expr *leaf_guard(around *x, const ts_stmt *s) {
  effects w = effects_of(s);
  unsigned missing = x->k->used & ~x->active, together = 0;
  if (s->kind == TS_S_BLOCK && s->block->intrin && !group_axes(x, s->block, &together)) return NULL;
  missing &= ~together;
  if (!w.global) missing &= ~(unsigned)ALL_BLOCKS;
  bool mine = w.local && !w.global && !w.shared;
  if (mine) missing = 0;
  const ts_expr *g = mine && !w.reads ? NULL : x->guard;
  for (ts_axis a = TS_BLOCK_X; a <= TS_THREAD_Z; a++)
    if (missing >> a & 1)
      g = ts__guard_and(x->l->ir, g, ts_bin(x->l->ir, TS_E_EQ, ts_evar(x->l->ir, x->k->var[a]), ts_int(x->l->ir, 0)));
  return g;
}

static const ts_stmt *leaf(around *x, const ts_stmt *s) {
  ts_effect f;
  if (s->kind == TS_S_EVAL && ts_effect_of(s->eval, &f)) {
    if (f < TS_EFF_BARRIER_INIT) return s;  // for all threads
    if (x->active & TS__ALL_THREADS) ts__gpu_refuse(x->l, "bulk-copy", "a pipeline of bulk copies is below a loop along threads");
    x->k->leaves++;
    return ts__gpu_effect(x->k, s, f, x->role, x->guard);
  }
  const ts_expr *g = leaf_guard(x, s);
  x->k->leaves++;
  if (!g) return s;
  if (s->kind != TS_S_BLOCK) return ts_if(x->l->ir, g, s, NULL);
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  ts_block *b = ts_arena_dup(x->l->arena, s->block, sizeof *b);
  b->predicate = ts__guard_and(x->l->ir, b->predicate, g);
  c->block = b;
  return r;
}

// --- thread loops to axes
// -----------------------------------------------------------------------------------------------------

static const ts_stmt *spread(around *x, const ts_stmt *s);

static bool see_inner(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= s->kind == TS_S_BLOCK || s->kind == TS_S_ALLOC || is_axis(s);
  return !*found;
}

static bool is_leaf(const ts_stmt *s) {
  bool found = false;
  if (s->kind == TS_S_STORE || s->kind == TS_S_EVAL) return true;
  if (s->kind != TS_S_BLOCK) return false;
  if (s->block->intrin) return true;  // what it holds is replaced
  ts_stmt_visit(s->block->body, see_inner, NULL, &found);
  return !found;
}

static const ts_stmt *spread_axis(around *x, const ts_stmt *s) {
  ts_ir *ir = x->l->ir;
  ts_axis a = s->loop.axis;
  around in = *x;
  const ts_expr *at = ts_evar(ir, x->k->var[a]);
  if (x->active >> a & 1) {
    ts__gpu_refuse(x->l, "thread-loop", "loop %.60s is along %s, as a loop around it", s->loop.var->name,
                   ts_axis_name(a));
    return s;
  }
  in.active |= 1u << a;
  if (s->loop.extent != x->k->extent[a] || !ts_is_int(s->loop.extent, NULL))
    in.guard = ts__guard_and(ir, in.guard, ts_bin(ir, TS_E_LT, at, s->loop.extent));
  ts_subst m = {s->loop.var, at};
  return spread(&in, ts_stmt_subst(ir, s->loop.body, &m, 1));
}

static const ts_stmt *spread_loop(around *x, const ts_stmt *s) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  int64_t n;
  if (s->loop.kind == TS_PARALLEL) c->loop.kind = TS_SERIAL;
  if (s->loop.kind == TS_THREAD) {
    c->loop.kind = ts_is_int(s->loop.extent, &n) && n <= 16 ? TS_UNROLL : TS_SERIAL;
    c->loop.axis = TS_AXIS_NONE;
  }
  around in = *x;
  in.lanes |= s->loop.kind == TS_VECTORIZE;
  c->loop.body = spread(&in, s->loop.body);
  return r;
}

// A block around others. Its predicate goes down to the leaves, so that all threads reach what is between them.
static const ts_stmt *spread_block(around *x, const ts_stmt *s) {
  ts_stmt *c;
  around in = *x;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  ts_block *b = ts_arena_dup(x->l->arena, s->block, sizeof *b);
  if (b->predicate) in.guard = ts__guard_and(x->l->ir, in.guard, b->predicate);
  b->predicate = NULL;
  if (b->init) b->init = spread(&in, b->init);
  b->body = spread(&in, b->body);
  c->block = b;
  return r;
}

static bool fits_thread(const ts_buffer *b) {
  enum { MOST = 16 << 10 };
  int64_t n;
  return ts__on_stack(b, &n) && n * ts_code_bytes(b->code) <= MOST;
}

// Below the buffer's allocation no thread parts from another one: then it is a thread's own, if it is small enough.
static const ts_stmt *spread_own(around *x, const ts_stmt *s) {
  ts_buffer *b = ts_arena_dup(x->l->arena, s->alloc.buf, sizeof *b);
  b->id = ts_ir_next_id(x->l->ir);
  b->scope = "local";
  return ts_alloc(x->l->ir, b, spread(x, ts_stmt_replace_buffer(x->l->ir, s->alloc.body, s->alloc.buf, b)));
}

typedef struct user {
  const ts_buffer *buf;
  bool found;
} user;

static bool see_use(void *arg, const ts_expr *e) {
  user *u = arg;
  u->found |= e->kind == TS_E_LOAD && e->buf == u->buf;
  return !u->found;
}

static bool see_write(void *arg, const ts_stmt *s) {
  user *u = arg;
  u->found |= s->kind == TS_S_STORE && s->store.buf == u->buf;
  return !u->found;
}

static bool uses(const ts_stmt *s, const ts_buffer *b) {
  user u = {b, false};
  ts_stmt_visit(s, see_write, see_use, &u);
  return u.found;
}

// The statements of the list below the allocation between whose first and last the buffer is in use.
static void part_in_use(ts__owned *o, const ts_stmt *s) {
  while (s->kind == TS_S_ALLOC) s = s->alloc.body;
  if (s->kind != TS_S_SEQ) return;
  o->from = s->seq.n;
  for (int i = 0; i < s->seq.n; i++) {
    if (!uses(s->seq.child[i], o->buf)) continue;
    o->from = TS_MIN(o->from, i);
    o->to = i;
  }
  o->seq = s;
}

static void note_leaves(ts__kernel *k, const ts_stmt *seq, int i, int before) {
  for (size_t n = 0; n < k->owned.n; n++) {
    ts__owned *o = &k->owned.p[n];
    if (o->seq != seq) continue;
    if (o->from == i) o->first = before;
    if (o->to == i) o->last = k->leaves;
  }
}

static const ts_stmt *spread_alloc(around *x, const ts_stmt *s) {
  ts__kernel *k = x->k;
  const ts_buffer *b = s->alloc.buf;
  bool fragment = strncmp(b->scope, "fragment.", 9) == 0;
  unsigned inner = k->used & ~x->active & TS__ALL_THREADS;
  bool whole = !inner || !has_threads(s->alloc.body, inner);
  if (whole && !fragment && (x->lanes || (!ts__is_shared(b) && (ts__is_private(b) || fits_thread(b)))))
    return spread_own(x, s);
  size_t at = k->owned.n;
  ts__owned o = {.buf = b, .active = x->active, .first = k->leaves};
  part_in_use(&o, s->alloc.body);
  ts_vec_push(x->l->arena, &k->owned, o);
  const ts_stmt *r = spread(x, s->alloc.body);
  if (!k->owned.p[at].last) k->owned.p[at].last = k->leaves;
  return r;
}

static const ts_stmt *spread_roles(around *x, const ts_stmt *s) {
  around one = *x, other = *x;
  one.role = TS__CONSUMER;
  other.role = TS__PRODUCER;
  const ts_stmt *first = spread(&one, s->cond.then);
  return ts_if(x->l->ir, s->cond.cond, first, spread(&other, s->cond.other));
}

// As s, for all threads. Guards are pushed down to the leaves.
static const ts_stmt *spread(around *x, const ts_stmt *s) {
  ts_ir *ir = x->l->ir;
  const ts_stmt **child;
  if (x->l->failed) return s;
  if (is_leaf(s)) return leaf(x, s);
  switch (s->kind) {
    case TS_S_SEQ:
      child = ts_new_array(x->l->arena, const ts_stmt *, s->seq.n);
      for (int i = 0, before; i < s->seq.n; i++) {
        before = x->k->leaves;
        child[i] = spread(x, s->seq.child[i]);
        note_leaves(x->k, s, i, before);
      }
      return ts_seq(ir, child, s->seq.n);
    case TS_S_FOR:
      return is_axis(s) ? spread_axis(x, s) : spread_loop(x, s);
    case TS_S_BLOCK:
      return spread_block(x, s);
    case TS_S_IF:
      if (ts__gpu_is_role(x->k, s)) return spread_roles(x, s);
      return ts_if(ir, s->cond.cond, spread(x, s->cond.then), s->cond.other ? spread(x, s->cond.other) : NULL);
    case TS_S_LET:
      return ts_let(ir, s->let.var, s->let.value, spread(x, s->let.body));
    default:
      return spread_alloc(x, s);
  }
}

// --- between blocks
// -----------------------------------------------------------------------------------------------------------------

// Blocks of threads cannot wait for one another: the loops along block axes must be around everything, outside of other
// loops that hold more than them.
static bool blocks_outside(ts__lower *l, const ts_stmt *s) {
  while (s->kind == TS_S_FOR || s->kind == TS_S_ALLOC || (s->kind == TS_S_BLOCK && !s->block->init)) {
    if (!has_threads(s, ALL_BLOCKS)) return true;
    if (s->kind == TS_S_FOR && !(is_axis(s) && (ALL_BLOCKS >> s->loop.axis & 1))) {
      int64_t n;
      if (!ts_is_int(s->loop.extent, &n) || n != 1)
        return ts__gpu_refuse(
            l, "grid-barrier",
            "loop %.60s is around a loop along a block axis: its iterations would have to wait for all blocks",
            s->loop.var->name);
    }
    s = s->kind == TS_S_FOR ? s->loop.body : s->kind == TS_S_ALLOC ? s->alloc.body : s->block->body;
  }
  if (!has_threads(s, ALL_BLOCKS)) return true;
  return ts__gpu_refuse(
      l, "grid-barrier",
      "loops along block axes stand inside a statement with others: blocks would have to wait for each other");
}

// --- kernels
// ---------------------------------------------------------------------------------------------------------------------------

static const ts_stmt *thread_loop(ts__kernel *k, ts_axis a, const ts_stmt *body) {
  ts_stmt *c;
  if (!(k->used >> a & 1)) return body;
  const ts_stmt *r =
      ts_stmt_copy(k->l->ir, ts_for(k->l->ir, k->var[a], ts_int(k->l->ir, 0), k->extent[a], TS_THREAD, body), &c);
  c->loop.axis = a;
  c->loop.notes = k->notes[a];
  return r;
}

static const ts_stmt *assemble(ts__kernel *k, const ts__homes *h) {
  const ts_stmt *s = k->body;
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++) s = thread_loop(k, a, s);
  for (size_t i = h->shared.n; i-- > 0;) s = ts_alloc(k->l->ir, h->shared.p[i], s);
  for (ts_axis a = TS_BLOCK_X; a <= TS_BLOCK_Z; a++) s = thread_loop(k, a, s);
  return s;
}

static void open_axes(ts__kernel *k) {
  for (ts_axis a = TS_BLOCK_X; a <= TS_THREAD_Z; a++) {
    if (!(k->used >> a & 1)) continue;
    k->var[a] = ts_var_new(k->l->ir, axis_names[a], TS_INDEX);
    ts_bind_range(k->l->an, k->var[a], (ts_range){ts_int(k->l->ir, 0), k->extent[a]});
  }
}

typedef struct group_need {
  ts__kernel *k;
  int64_t threads;
} group_need;

static bool see_intrinsic(void *arg, const ts_stmt *s) {
  group_need *n = arg;
  ts__lower *l = n->k->l;
  if (s->kind != TS_S_BLOCK || !s->block->intrin || l->failed) return !l->failed;
  const ts_intrin *in = ts_intrin_load(l->ir, s->block->intrin, l->d);
  if (!in) return l->failed = true, false;
  n->threads = TS_MAX(n->threads, in->threads);
  return true;
}

// Intrinsics run by a group of threads bring the axis that numbers those, where no loop is bound to threadIdx.x.
static void add_group_axis(ts__kernel *k, const ts_stmt *s) {
  group_need n = {k, 1};
  ts_stmt_visit(s, see_intrinsic, NULL, &n);
  if (n.threads == 1 || k->used >> TS_THREAD_X & 1) return;
  k->used |= 1u << TS_THREAD_X;
  k->extent[TS_THREAD_X] = ts_int(k->l->ir, n.threads);
}

static const ts_stmt *kernel(ts__lower *l, const ts_stmt *s, ts__homes *h) {
  ts__kernel k = {.l = l};
  survey v = {&k, l};
  ts_stmt_visit(s, see_axis, NULL, &v);
  if (l->failed || !blocks_outside(l, s)) return s;
  add_group_axis(&k, s);
  if (l->failed || !ts__gpu_open_roles(&k, s)) return s;
  size_t mark = ts_analyzer_push(l->an);
  open_axes(&k);
  around x = {.k = &k, .l = l};
  k.body = spread(&x, s);
  const ts_stmt *r = s, *producer = NULL;
  if (!l->failed) ts__gpu_part_roles(&k, &producer);
  if (!l->failed && ts__gpu_place(&k, h) && ts__gpu_barriers(&k) && ts__gpu_join_roles(&k, producer)) r = assemble(&k, h);
  ts_analyzer_pop(l->an, mark);
  return r;
}

// --- the top
// --------------------------------------------------------------------------------------------------------------------------

// What follows one another at the top, with the allocations around it.
typedef struct top {
  ts__lower *l;
  TS_VEC(const ts_stmt *) kernel;
  TS_VEC(const ts_buffer *) outside;
} top;

static void add_kernel(top *t, const ts_stmt *s) {
  ts__homes h = {0};
  const ts_stmt *r = kernel(t->l, s, &h);
  for (size_t i = 0; i < h.outside.n; i++) ts_vec_push(t->l->arena, &t->outside, h.outside.p[i]);
  ts_vec_push(t->l->arena, &t->kernel, r);
}

// Only owns buffers (ORDER one kernel: such blocks hold together what else would be kernels of their own).
static bool is_shell(const ts_block *b) {
  return !b->predicate && !b->init && !b->intrin && !ts_notes_find(b->notes, "one_kernel");
}

const ts_stmt *ts__one_kernel(ts__lower *l, const char *name, const ts_stmt *body) {
  ts_block *b = ts_new(l->arena, ts_block);
  b->name = ts_arena_printf(l->arena, "%s_kernel", name);
  b->body = body;
  b->notes = ts_notes_with(l->arena, b->notes, (ts_note){.key = "one_kernel", .kind = TS_NOTE_INT, .i = 1});
  return ts_block_stmt(l->ir, b);
}

static const ts_stmt *shell_body(ts__lower *l, const ts_block *b) {
  ts_subst *m = ts_new_array(l->arena, ts_subst, b->niters);
  for (int i = 0; i < b->niters; i++) m[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
  return b->niters ? ts_stmt_subst(l->ir, b->body, m, b->niters) : b->body;
}

// Allocations around more than one kernel.
static bool holds_several(const ts_stmt *s) {
  while (s->kind == TS_S_ALLOC) s = s->alloc.body;
  return s->kind == TS_S_SEQ ||
         (s->kind == TS_S_BLOCK && is_shell(s->block) && !is_leaf(s) && s->block->body->kind == TS_S_SEQ);
}

// The body of an allocation around several kernels with the allocation around the only one that uses its buffer; NULL
// when more do.
static const ts_stmt *around_user(ts__lower *l, const ts_stmt *s, const ts_buffer *b) {
  ts_stmt *c;
  if (!holds_several(s)) return ts_alloc(l->ir, b, s);
  if (s->kind == TS_S_BLOCK) return around_user(l, shell_body(l, s->block), b);
  if (s->kind == TS_S_ALLOC) {
    const ts_stmt *body = around_user(l, s->alloc.body, b), *r = ts_stmt_copy(l->ir, s, &c);
    c->alloc.body = body;
    return body ? r : NULL;
  }
  const ts_stmt **child = ts_arena_dup(l->arena, s->seq.child, sizeof *child * (size_t)s->seq.n);
  int only = -1;
  for (int i = 0; i < s->seq.n; i++)
    if (uses(child[i], b)) only = only == -1 ? i : -2;
  if (only < 0) return NULL;
  child[only] = around_user(l, child[only], b);
  return child[only] ? ts_seq(l->ir, child, s->seq.n) : NULL;
}

static void walk_top(top *t, const ts_stmt *s) {
  int64_t n;
  const ts_stmt *in;
  if (t->l->failed) return;
  if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) walk_top(t, s->seq.child[i]);
  } else if (s->kind == TS_S_BLOCK && is_shell(s->block) && !is_leaf(s)) {
    walk_top(t, shell_body(t->l, s->block));
  } else if (s->kind == TS_S_FOR && s->loop.kind != TS_THREAD && ts_is_int(s->loop.extent, &n) && n == 1) {
    ts_subst m = {s->loop.var, s->loop.min};
    walk_top(t, ts_stmt_subst(t->l->ir, s->loop.body, &m, 1));
  } else if (s->kind == TS_S_ALLOC && holds_several(s) && strcmp(s->alloc.buf->scope, "global") != 0 &&
             (in = around_user(t->l, s->alloc.body, s->alloc.buf)) != NULL) {
    walk_top(t, in);
  } else if (s->kind == TS_S_ALLOC && holds_several(s)) {
    ts_buffer *b = ts_arena_dup(t->l->arena, s->alloc.buf, sizeof *b);  // passes between kernels: workspace
    b->id = ts_ir_next_id(t->l->ir);
    b->scope = "global";
    ts_vec_push(t->l->arena, &t->outside, b);
    walk_top(t, ts_stmt_replace_buffer(t->l->ir, s->alloc.body, s->alloc.buf, b));
  } else {
    add_kernel(t, s);
  }
}

const ts_stmt *ts__gpu_kernels(ts__lower *l, const ts_stmt *body) {
  top t = {.l = l};
  walk_top(&t, body);
  if (l->failed) return NULL;
  const ts_stmt *s = ts_seq(l->ir, t.kernel.p, (int)t.kernel.n);
  for (size_t i = t.outside.n; i-- > 0;) s = ts_alloc(l->ir, t.outside.p[i], s);
  return s;
}
