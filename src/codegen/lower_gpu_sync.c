// Barriers. The body of a kernel is run by all threads; a barrier stands wherever a thread may touch what another one
// has touched since the last barrier, one of them writing, and nothing proves that they never meet.
#include "codegen/lower_gpu.h"

typedef struct summary {
  ts__touches head, tail;  // before the first and after the last barrier; both are everything when there is none
  bool synced;             // a barrier of the block is certainly met
} summary;

typedef struct syncing {
  ts__kernel *k;
  ts__lower *l;
  TS_VEC(const ts_buffer *) watched;   // what threads of a block may have in common
  TS_VEC(const ts_buffer *) arriving;  // filled by asynchronous copies
  TS_VEC(const ts_stmt *) loops;
  bool divergent;  // not all threads get here
} syncing;

// --- conflicts
// ------------------------------------------------------------------------------------------------------------

static const ts__packed *packed(const ts__kernel *k, const ts_buffer *b) {
  for (size_t i = 0; i < k->packed.n; i++)
    if (k->packed.p[i].buf == b) return &k->packed.p[i];
  return NULL;
}

static bool overlap(const ts__kernel *k, const ts_buffer *a, const ts_buffer *b) {
  const ts__packed *p = packed(k, a), *q = packed(k, b);
  return p && q && p->at < q->at + q->bytes && q->at < p->at + p->bytes;
}

// What must stand between the earlier access a and the later b, which share the iterations of `common` loops.
static ts__apart between(syncing *x, const ts__touch *a, const ts__touch *b, int common) {
  if (b->arrival || (!a->write && !b->write)) return TS__APART;
  if (a->buf != b->buf) return overlap(x->k, a->buf, b->buf) ? TS__MAY_MEET : TS__APART;
  if (a->arrival) return TS__MAY_MEET;
  return ts__threads_apart(x->k, a, b, common, TS__ALL_THREADS);
}

static ts__apart conflict(syncing *x, const ts__touches *before, const ts__touches *after, int common) {
  ts__apart worst = TS__APART;
  for (size_t i = 0; i < before->v.n && worst < TS__MAY_MEET; i++)
    for (size_t j = 0; j < after->v.n && worst < TS__MAY_MEET; j++) {
      ts__apart r = between(x, &before->v.p[i], &after->v.p[j], common);
      worst = TS_MAX(worst, r);
    }
  return worst;
}

static void join(syncing *x, ts__touches *to, const ts__touches *from) {
  for (size_t i = 0; i < from->v.n; i++) ts_vec_push(x->l->arena, &to->v, from->v.p[i]);
}

static const ts_stmt *barrier(syncing *x, ts__apart what) {
  if (x->divergent)
    ts__gpu_refuse(x->l, "divergent-barrier", "threads must wait for one another where only some of them are");
  return ts_eval(x->l->ir,
                 ts_effect_call(x->l->ir, what == TS__SAME_WARP ? TS_EFF_SYNC_WARP : TS_EFF_SYNC_BLOCK, NULL));
}

// --- statements
// ------------------------------------------------------------------------------------------------------------

static const ts_stmt *sync(syncing *x, const ts_stmt *s, summary *out);

static bool is_watched(const syncing *x, const ts_buffer *b) {
  for (size_t i = 0; i < x->watched.n; i++)
    if (x->watched.p[i] == b) return true;
  return false;
}

static void leaf(syncing *x, const ts_stmt *s, summary *out) {
  ts__touches all = {0};
  ts_effect f;
  ts__touches_of(x->k, s, x->loops.p, (int)x->loops.n, &all);
  for (size_t i = 0; i < all.v.n; i++)
    if (is_watched(x, all.v.p[i].buf)) ts_vec_push(x->l->arena, &out->head.v, all.v.p[i]);
  if (s->kind == TS_S_EVAL && ts_effect_of(s->eval, &f) && f == TS_EFF_ASYNC_WAIT)
    for (size_t i = 0; i < x->arriving.n; i++)
      ts_vec_push(x->l->arena, &out->head.v, ((ts__touch){.buf = x->arriving.p[i], .write = true, .arrival = true}));
  out->tail = out->head;
}

// Adds child (with its summary) behind what is in the list; a barrier goes before it where one is wanted.
static void append(syncing *x, const ts_stmt ***list, int *n, summary *sum, const ts_stmt *child, const summary *of) {
  ts__apart what = conflict(x, &sum->tail, &of->head, (int)x->loops.n);
  if (what != TS__APART) (*list)[(*n)++] = barrier(x, what);
  if (what == TS__MAY_MEET) {
    sum->synced = true;
    sum->tail = (ts__touches){0};
  }
  (*list)[(*n)++] = child;
  if (!sum->synced) join(x, &sum->head, &of->head);
  if (of->synced) {
    sum->synced = true;
    sum->tail = of->tail;
  } else {
    ts__touches both = {0};
    join(x, &both, &sum->tail);
    join(x, &both, &of->tail);
    sum->tail = both;
  }
}

static const ts_stmt *sync_seq(syncing *x, const ts_stmt *s, summary *out) {
  const ts_stmt **list = ts_new_array(x->l->arena, const ts_stmt *, 2 * s->seq.n);
  int n = 0;
  for (int i = 0; i < s->seq.n && !x->l->failed; i++) {
    summary of = {0};
    const ts_stmt *c = sync(x, s->seq.child[i], &of);
    append(x, &list, &n, out, c, &of);
  }
  return ts_seq(x->l->ir, list, n);
}

static bool see_thread(void *arg, const ts_expr *e) {
  void **a = arg;
  const ts__kernel *k = a[0];
  bool *found = a[1];
  *found |= e->kind == TS_E_LOAD;
  for (ts_axis x = TS_THREAD_X; x <= TS_THREAD_Z && e->kind == TS_E_VAR; x++) *found |= e->var == k->var[x];
  return !*found;
}

// May differ between threads.
static bool differs(syncing *x, const ts_expr *e) {
  bool found = false;
  ts_expr_visit(e, see_thread, (void *[]){x->k, &found});
  return found;
}

// One iteration may touch what an earlier one of another thread has touched: then a barrier opens the body.
static const ts_stmt *sync_loop(syncing *x, const ts_stmt *s, summary *out) {
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  bool before = x->divergent;
  summary body = {0};
  x->divergent |= differs(x, s->loop.min) || differs(x, s->loop.extent) || s->loop.kind == TS_VECTORIZE;
  ts_vec_push(x->l->arena, &x->loops, s);
  size_t mark = ts_analyzer_push(x->l->an);
  ts_bind_stmt(x->l->an, s);
  c->loop.body = sync(x, s->loop.body, &body);
  int64_t extent;
  // lanes are independent, and so are the threads around them: both were proved when the loops were marked
  bool once = (ts_is_int(s->loop.extent, &extent) && extent == 1) || s->loop.kind == TS_VECTORIZE;
  ts__apart what = once || x->l->failed ? TS__APART : conflict(x, &body.tail, &body.head, (int)x->loops.n - 1);
  if (what != TS__APART) {
    const ts_stmt *both[] = {barrier(x, what), c->loop.body};
    c->loop.body = ts_seq(x->l->ir, both, 2);
    if (what == TS__MAY_MEET) {
      body.head = (ts__touches){0};
      body.synced = true;
    }
  }
  x->loops.n--;
  ts_analyzer_pop(x->l->an, mark);
  x->divergent = before;
  *out = body;
  out->synced &= ts_prove_le(x->l->an, ts_int(x->l->ir, 1), s->loop.extent) == TS_YES;
  if (body.synced && !out->synced) {  // perhaps not run at all: what was open before stays so
    ts__touches all = {0};
    join(x, &all, &body.head);
    join(x, &all, &body.tail);
    out->tail = all;
  }
  return r;
}

static const ts_stmt *sync_if(syncing *x, const ts_stmt *s, summary *out) {
  bool before = x->divergent;
  summary a = {0}, b = {0};
  x->divergent |= differs(x, s->cond.cond);
  const ts_stmt *then = sync(x, s->cond.then, &a), *other = s->cond.other ? sync(x, s->cond.other, &b) : NULL;
  x->divergent = before;
  join(x, &out->head, &a.head);
  join(x, &out->head, &b.head);
  join(x, &out->tail, &a.tail);
  join(x, &out->tail, &b.tail);
  return ts_if(x->l->ir, s->cond.cond, then, other);
}

static bool see_inner(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= s->kind == TS_S_BLOCK;
  return !*found;
}

static const ts_stmt *sync_block(syncing *x, const ts_stmt *s, summary *out) {
  bool inner = false;
  ts_stmt_visit(s->block->body, see_inner, NULL, &inner);
  if (!inner || s->block->intrin) {
    leaf(x, s, out);
    return s;
  }
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(x->l->ir, s, &c);
  ts_block *b = ts_arena_dup(x->l->arena, s->block, sizeof *b);
  ts_subst *m = ts_new_array(x->l->arena, ts_subst, b->niters);
  for (int i = 0; i < b->niters; i++) m[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
  // Iterators give way to their values, so that what is inside can be compared with what is outside.
  const ts_stmt *body = b->niters ? ts_stmt_subst(x->l->ir, b->body, m, b->niters) : b->body;
  if (b->init) {
    ts__gpu_refuse(x->l, "outer-init",
                   "block %.60s is around others and has an initialisation; decompose_reduction first", b->name);
    return s;
  }
  b->body = sync(x, body, out);
  b->niters = 0;
  c->block = b;
  return r;
}

static const ts_stmt *sync(syncing *x, const ts_stmt *s, summary *out) {
  ts_stmt *c;
  const ts_stmt *r;
  if (x->l->failed) return s;
  switch (s->kind) {
    case TS_S_SEQ:
      return sync_seq(x, s, out);
    case TS_S_FOR:
      return sync_loop(x, s, out);
    case TS_S_IF:
      return sync_if(x, s, out);
    case TS_S_BLOCK:
      return sync_block(x, s, out);
    case TS_S_ALLOC:
      r = ts_stmt_copy(x->l->ir, s, &c);
      c->alloc.body = sync(x, s->alloc.body, out);
      return r;
    case TS_S_LET:
      r = ts_stmt_copy(x->l->ir, s, &c);
      c->let.body = sync(x, s->let.body, out);
      return r;
    default:
      leaf(x, s, out);
      return s;
  }
}

// --- what is watched
// ----------------------------------------------------------------------------------------------------------

static bool listed(const syncing *x, const ts_buffer *b, bool arriving) {
  if (!arriving) return is_watched(x, b);
  for (size_t i = 0; i < x->arriving.n; i++)
    if (x->arriving.p[i] == b) return true;
  return false;
}

// Written in the kernel and not of one thread alone.
static void watch(syncing *x) {
  ts__touches all = {0};
  ts__touches_of(x->k, x->k->body, NULL, 0, &all);
  for (size_t i = 0; i < all.v.n; i++) {
    const ts__touch *t = &all.v.p[i];
    if (!t->write || ts__is_private(t->buf)) continue;
    if (!listed(x, t->buf, false)) ts_vec_push(x->l->arena, &x->watched, t->buf);
    if (t->async && !listed(x, t->buf, true)) ts_vec_push(x->l->arena, &x->arriving, t->buf);
  }
}

bool ts__gpu_barriers(ts__kernel *k) {
  syncing x = {.k = k, .l = k->l};
  summary all = {0};
  watch(&x);
  if (x.watched.n) k->body = sync(&x, k->body, &all);
  return !k->l->failed;
}
