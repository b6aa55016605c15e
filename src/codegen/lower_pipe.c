// Software pipelines. A loop with stages becomes a prologue, a steady loop and an epilogue; every buffer of an
// iteration that lives for more than one slot gets as many versions as iterations are under way, chosen by iteration %
// versions.
//
//   slot t        statement i of iteration t - stage[i], in order
//   prologue      slots 0 .. S - 1 (S: the last stage), where t >= stage[i]
//   steady        slots S .. n - 1
//   epilogue      slots n .. n + S - 1, where t - stage[i] < n
//
// On GPUs copies marked async_copy are begun and not waited for: every slot up to the epilogue ends its copies with a
// commit, so that group g is that of slot g, and a wait before the first statement that reads what they fill leaves the
// later groups under way.
//
// Copies marked bulk_copy fill slots, the versions of their buffers: a barrier for each slot ends a phase when it is filled, and readers wait
// for that. The loop's note warp_specialize gives them to threads of their own, which fill slots as soon as those are empty: then nothing
// of the rest needs a barrier of the block.
#include "codegen/lower_gpu.h"
#include "op/intrin.h"

typedef struct version {
  const ts_buffer *from, *to;
  int64_t n;  // 1: there is one
} version;

typedef struct pipe {
  ts__lower *l;
  ts_pipeline p;
  const ts_expr *n;                // iterations
  int last;                        // stage
  bool long_enough;                // at least as many iterations as stages
  int at[TS_PIPELINE_STAGES * 8];  // statements by their place in a slot
  TS_VEC(const ts_buffer *) own;
  TS_VEC(version) versions;
  int filled;            // the latest stage that copies asynchronously, -1: none
  int fill_at, wait_at;  // place of the last such copy, of the first reader
  int wait_stage;
  bool bulk[TS_PIPELINE_STAGES * 8];  // statements that are bulk copies
  bool reads[TS_PIPELINE_STAGES * 8];  // statements that read what those fill
  int nbulk, filler, reader;           // places of the last of each
  bool consumers;                      // bulk copies are made by others
  ts__bulk_pipe slots;
} pipe;

// --- which buffers, how many versions
// ----------------------------------------------------------------------------------------

typedef struct user {
  const ts_buffer *buf;
  bool read, write;
} user;
static bool see_read(void *arg, const ts_expr *e) {
  user *u = arg;
  u->read |= e->kind == TS_E_LOAD && e->buf == u->buf;
  return true;
}
static bool see_write(void *arg, const ts_stmt *s) {
  user *u = arg;
  u->write |= s->kind == TS_S_STORE && s->store.buf == u->buf;
  return true;
}

static user use_of(const ts_stmt *s, const ts_buffer *b) {
  user u = {.buf = b};
  ts_stmt_visit(s, see_write, see_read, &u);
  return u;
}

static void collect_own(pipe *x) {
  const ts_stmt *s = x->p.loop->loop.body;
  while (s->kind == TS_S_ALLOC || (s->kind == TS_S_BLOCK && s != x->p.child[0])) {
    if (s->kind == TS_S_ALLOC) ts_vec_push(x->l->arena, &x->own, s->alloc.buf);
    s = s->kind == TS_S_ALLOC ? s->alloc.body : s->block->body;
  }
  x->p.own = x->own.p;
  x->p.nown = (int)x->own.n;
}

typedef struct trailer {
  const pipe *x;
  const ts_buffer *buf;  // NULL: any
  bool found;
} trailer;

static bool see_trailing(void *arg, const ts_stmt *s) {
  trailer *t = arg;
  if (s->kind != TS_S_BLOCK || !s->block->intrin) return true;
  const ts_intrin *in = ts_intrin_load(t->x->l->ir, s->block->intrin, NULL);
  for (int i = 0; in && in->trailing && i < s->block->noperands; i++)
    t->found |= !t->buf || s->block->operands[i].buf == t->buf;
  return true;
}

// Does an intrinsic of statement i still read b (NULL: anything) in the slot after its own?
static bool is_trailing(const pipe *x, int i, const ts_buffer *b) {
  trailer t = {x, b, false};
  ts_stmt_visit(x->p.child[i], see_trailing, NULL, &t);
  return t.found;
}

// As many versions as slots pass from its first use to its last.
static int64_t versions_of(const pipe *x, const ts_buffer *b) {
  int first = TS_PIPELINE_STAGES, last = 0;
  for (int i = 0; i < x->p.n; i++) {
    user u = use_of(x->p.child[i], b);
    if (!u.read && !u.write) continue;
    first = TS_MIN(first, x->p.stage[i]);
    last = TS_MAX(last, x->p.stage[i] + is_trailing(x, i, b));
  }
  return TS_MAX(last - first + 1, 1);
}

// Does a bulk copy fill it?
static bool is_filled(const pipe *x, const ts_buffer *b) {
  for (int i = 0; i < x->p.n; i++)
    if (x->bulk[i] && use_of(x->p.child[i], b).write) return true;
  return false;
}

static void add_version(pipe *x, const ts_buffer *b) {
  ts__lower *l = x->l;
  version v = {b, b, versions_of(x, b)};
  bool filled = is_filled(x, b);
  if (filled) v.n = x->slots.slots;
  if (v.n > 1) {
    const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, b->ndim + 1);
    shape[0] = ts_int(l->ir, v.n);
    for (int d = 0; d < b->ndim; d++) shape[d + 1] = b->shape[d];
    ts_buffer *to = ts_buffer_new(l->ir, b->name, b->code, b->ndim + 1, shape, b->scope);
    to->align = b->align;
    to->skew = b->skew;
    if (to->skew.factor) to->skew.axis++, ts_buffer_skew(l->ir, to);
    v.to = to;
  }
  if (filled) ts_vec_push(l->arena, &l->lasting, v.to);
  ts_vec_push(l->arena, &x->versions, v);
}

// --- asynchronous copies
// -------------------------------------------------------------------------------------------------------

static bool see_async(void *arg, const ts_stmt *s) {
  const ts_buffer **found = arg;
  if (s->kind == TS_S_BLOCK && ts_notes_find(s->block->notes, "async_copy") && s->block->body->kind == TS_S_STORE &&
      ts__is_shared(s->block->body->store.buf))
    *found = s->block->body->store.buf;
  return true;
}

static const ts_buffer *async_target(const ts_stmt *s) {
  const ts_buffer *b = NULL;
  ts_stmt_visit(s, see_async, NULL, &b);
  return b;
}

static void find_async(pipe *x) {
  x->filled = -1;
  x->wait_at = x->p.n;
  if (x->l->t->api != TS_API_CUDA || x->l->t->gpu.compute < 80) return;
  for (int k = 0; k < x->p.n; k++) {
    if (!async_target(x->p.child[x->at[k]])) continue;
    x->filled = TS_MAX(x->filled, x->p.stage[x->at[k]]);
    x->fill_at = k;
  }
  x->wait_stage = TS_PIPELINE_STAGES;  // the earliest reader needs the latest group
  for (int k = x->p.n; k-- > 0 && x->filled >= 0;)
    for (int i = 0; i < x->p.n; i++) {
      const ts_buffer *b = async_target(x->p.child[i]);
      if (!b || !use_of(x->p.child[x->at[k]], b).read) continue;
      x->wait_at = k;
      x->wait_stage = TS_MIN(x->wait_stage, x->p.stage[x->at[k]]);
    }
}

static const ts_stmt *effect(pipe *x, ts_effect f, int64_t n) {
  const ts_expr *arg = ts_int(x->l->ir, n);
  return ts_eval(x->l->ir, ts_effect_call(x->l->ir, f, &arg));
}

// Slots and phases are counted over all runs of the pipeline: iteration k of this one as a number among all.
static const ts_expr *counted(pipe *x, const ts_expr *k) {
  ts_ir *ir = x->l->ir;
  const ts_expr *runs = ts_int(ir, 0);
  for (size_t i = 0; i < x->l->serial.n; i++) {
    const ts_stmt *s = x->l->serial.p[i];
    runs = ts_add(ir, ts_mul(ir, runs, s->loop.extent), ts_sub(ir, ts_evar(ir, s->loop.var), s->loop.min));
  }
  return ts_simplify(x->l->an, ts_add(ir, ts_mul(ir, runs, x->n), k));
}

// --- one statement at one iteration
// ----------------------------------------------------------------------------------------------

typedef struct choosing {
  pipe *x;
  const ts_expr *k;  // the iteration
  bool async;
} choosing;

static const version *version_of(const pipe *x, const ts_buffer *b) {
  for (size_t i = 0; i < x->versions.n; i++)
    if (x->versions.p[i].from == b && x->versions.p[i].n > 1) return &x->versions.p[i];
  return NULL;
}

static const ts_expr *number_of(choosing *c, const version *v) {
  const ts_expr *k = is_filled(c->x, v->from) ? counted(c->x, c->k) : c->k;
  return ts_bin(c->x->l->ir, TS_E_FLOORMOD, k, ts_int(c->x->l->ir, v->n));
}

static const ts_buffer *choose(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  choosing *c = arg;
  const version *v = version_of(c->x, b);
  if (!v) return NULL;
  out[0] = number_of(c, v);
  for (int d = 0; d < b->ndim; d++) out[d + 1] = idx[d];
  return v->to;
}

static const ts_stmt *choose_block(void *arg, const ts_stmt *s) {
  choosing *c = arg;
  ts_arena *a = c->x->l->arena;
  if (s->kind != TS_S_BLOCK) return s;
  const ts_note *note = ts_notes_find(s->block->notes, "async_copy");
  if (!s->block->noperands && !note) return s;
  ts_block *b = ts_arena_dup(a, s->block, sizeof *b);
  ts_operand *o = b->noperands ? ts_arena_dup(a, b->operands, sizeof *o * (size_t)b->noperands) : NULL;
  for (int i = 0; i < b->noperands; i++) {
    const version *v = version_of(c->x, o[i].buf);
    if (!v) continue;
    const ts_expr **start = ts_new_array(a, const ts_expr *, v->to->ndim);
    int64_t **step = ts_new_array(a, int64_t *, o[i].ndim);
    choose(c, o[i].buf, o[i].start, start);
    for (int j = 0; j < o[i].ndim; j++) {
      step[j] = ts_new_array(a, int64_t, v->to->ndim);
      for (int d = 0; d < v->from->ndim; d++) step[j][d + 1] = o[i].step[j][d];
    }
    o[i] = (ts_operand){o[i].name, v->to, start, o[i].ndim, (const int64_t *const *)step};
  }
  b->operands = o;
  if (note)
    b->notes = c->async ? ts_notes_with(a, b->notes, (ts_note){.key = "async_copy", .kind = TS_NOTE_INT, .i = 2})
                        : ts_notes_without(a, b->notes, "async_copy");
  ts_stmt *n;
  const ts_stmt *r = ts_stmt_copy(c->x->l->ir, s, &n);
  n->block = b;
  return r;
}

static const ts_expr *slot_of(pipe *x, const ts_buffer *b, const ts_expr *k) {
  const ts_expr *at = ts_bin(x->l->ir, TS_E_FLOORMOD, counted(x, k), ts_int(x->l->ir, x->slots.slots));
  return ts_load(x->l->ir, b, &at);
}

static const ts_stmt *barrier(pipe *x, ts_effect f, const ts_buffer *b, const ts_expr *k, int ahead) {
  ts_ir *ir = x->l->ir;
  const ts_expr *turn = ts_add(ir, ts_bin(ir, TS_E_FLOORDIV, counted(x, k), ts_int(ir, x->slots.slots)), ts_int(ir, ahead));
  const ts_expr *args[] = {slot_of(x, b, k), ts_bin(ir, TS_E_FLOORMOD, turn, ts_int(ir, 2))};
  return ts_eval(ir, ts_effect_call(ir, f, args));
}

static const ts_stmt *instance(pipe *x, int i, const ts_expr *k) {
  ts_ir *ir = x->l->ir;
  choosing c = {x, ts_simplify(x->l->an, k), x->filled >= 0};
  ts_subst m = {x->p.loop->loop.var, ts_add(ir, x->p.loop->loop.min, c.k)};
  // Operands first: their buffers are those of the text.
  const ts_stmt *s = ts_stmt_rewrite(ir, x->p.child[i], choose_block, NULL, &c);
  s = ts__map_access(ir, s, choose, &c);
  s = ts_stmt_clone(ir, ts_stmt_subst(ir, s, &m, 1));
  if (!x->bulk[i]) return s;
  const ts_stmt *copy = ts__bulk_copy(x->l, s, slot_of(x, x->slots.full, c.k));
  return copy ? copy : s;
}

// Statement i of iteration k, between the barriers of its slot.
static int with_barriers(pipe *x, int i, const ts_expr *k, const ts_stmt **list) {
  ts_ir *ir = x->l->ir;
  int n = 0;
  if (x->reads[i]) list[n++] = barrier(x, TS_EFF_BARRIER_WAIT, x->slots.full, k, 0);
  list[n++] = instance(x, i, k);
  if (i == x->filler) list[n++] = barrier(x, TS_EFF_BARRIER_ARRIVE, x->slots.full, k, 0);
  if (!x->consumers || i != x->reader) return n;
  bool trailing = is_trailing(x, i, NULL);
  const ts_expr *done = trailing ? ts_sub(ir, k, ts_int(ir, 1)) : k;
  const ts_stmt *arrive = barrier(x, TS_EFF_BARRIER_ARRIVE, x->slots.empty, done, 0);
  list[n++] = trailing ? ts_if(ir, ts_bin(ir, TS_E_LE, ts_int(ir, 0), counted(x, done)), arrive, NULL) : arrive;
  return n;
}

// --- slots
// ------------------------------------------------------------------------------------------------------------------------

// Slot t; first and last: bounds of the stages that run. guard: an iteration beyond the end may be named. under_way:
// groups that the wait leaves, -1: no copies were begun. commit: this slot begins copies.
static const ts_stmt *slot(pipe *x, const ts_expr *t, int first, int last, bool guard, int under_way, bool commit) {
  ts_ir *ir = x->l->ir;
  const ts_stmt **list = ts_new_array(x->l->arena, const ts_stmt *, 5 * x->p.n), *part[3];
  int n = 0;
  for (int k = 0; k < x->p.n; k++) {
    int i = x->at[k];
    bool runs = x->p.stage[i] >= first && x->p.stage[i] <= last && !(x->consumers && x->bulk[i]);
    if (k >= x->wait_at && under_way >= 0 && runs && x->p.stage[i] >= x->wait_stage) {
      list[n++] = effect(x, TS_EFF_ASYNC_WAIT, under_way);
      under_way = -1;
    }
    if (runs) {
      const ts_expr *at = ts_sub(ir, t, ts_int(ir, x->p.stage[i]));
      const ts_stmt *s = ts_seq(ir, part, with_barriers(x, i, ts_simplify(x->l->an, at), part));
      list[n++] = guard ? ts_if(ir, ts_bin(ir, TS_E_LT, at, x->n), s, NULL) : s;
    }
    if (k == x->fill_at && commit && x->filled >= 0) list[n++] = effect(x, TS_EFF_ASYNC_COMMIT, 0);
  }
  return ts_seq(ir, list, n);
}

static int steady_wait(const pipe *x) {
  if (x->filled < 0) return -1;
  return x->wait_stage - x->filled - (x->wait_at <= x->fill_at ? 1 : 0);
}

static ts_notes own_notes(pipe *x, ts_notes n) {
  static const char *const key[] = {"pipeline_stage", "pipeline_order", "warp_specialize"};
  for (size_t i = 0; i < TS_COUNTOF(key); i++) n = ts_notes_without(x->l->arena, n, key[i]);
  return n;
}

static const ts_stmt *steady(pipe *x) {
  ts_ir *ir = x->l->ir;
  const ts_stmt *l = x->p.loop;
  ts_stmt *c;
  const ts_expr *s = ts_int(ir, x->last), *extent = ts_sub(ir, x->n, s);
  if (!x->long_enough) extent = ts_bin(ir, TS_E_MAX, extent, ts_int(ir, 0));
  const ts_var *v = ts_var_new(ir, l->loop.var->name, TS_INDEX);
  size_t mark = ts_analyzer_push(x->l->an);
  extent = ts_simplify(x->l->an, extent);
  ts_bind_range(x->l->an, v, (ts_range){ts_int(ir, 0), extent});
  const ts_stmt *body = slot(x, ts_add(ir, ts_evar(ir, v), s), 0, x->last, false, steady_wait(x), true);
  ts_analyzer_pop(x->l->an, mark);
  const ts_stmt *r = ts_stmt_copy(ir, ts_for(ir, v, ts_int(ir, 0), extent, l->loop.kind, body), &c);
  c->loop.notes = own_notes(x, l->loop.notes);
  // ORDER trailing: barriers in here need not wait for the last of the intrinsics that go on (nvptx_call.c).
  for (int i = 0; i < x->p.n; i++)
    if (is_trailing(x, i, NULL))
      c->loop.notes =
          ts_notes_with(x->l->arena, c->loop.notes, (ts_note){.key = "trailing", .kind = TS_NOTE_INT, .i = 1});
  return r;
}

static const ts_stmt *all_slots(pipe *x) {
  ts_ir *ir = x->l->ir;
  const ts_stmt **part = ts_new_array(x->l->arena, const ts_stmt *, 2 * x->last + 1);
  const ts_expr *end = x->long_enough ? x->n : ts_bin(ir, TS_E_MAX, x->n, ts_int(ir, x->last));
  int n = 0;
  for (int t = 0; t < x->last; t++) part[n++] = slot(x, ts_int(ir, t), 0, t, !x->long_enough, steady_wait(x), true);
  part[n++] = steady(x);
  for (int e = 0; e < x->last; e++) {
    int left = x->filled < 0 ? -1 : TS_MAX(x->wait_stage - x->filled - 1 - e, 0);
    part[n++] = slot(x, ts_add(ir, end, ts_int(ir, e)), e + 1, x->last, !x->long_enough, left, false);
  }
  return ts_seq(ir, part, n);
}

// --- roles
// ------------------------------------------------------------------------------------------------------------------------

// Fills slots as they become empty.
static const ts_stmt *producer(pipe *x) {
  ts_ir *ir = x->l->ir;
  const ts_stmt *l = x->p.loop, **list = ts_new_array(x->l->arena, const ts_stmt *, 3 * x->p.n + 1);
  const ts_var *v = ts_var_new(ir, l->loop.var->name, TS_INDEX);
  const ts_expr *k = ts_evar(ir, v);
  int n = 0;
  size_t mark = ts_analyzer_push(x->l->an);
  ts_bind_range(x->l->an, v, (ts_range){ts_int(ir, 0), x->n});
  list[n++] = barrier(x, TS_EFF_BARRIER_WAIT, x->slots.empty, k, 1);
  for (int j = 0; j < x->p.n; j++)
    if (x->bulk[x->at[j]]) n += with_barriers(x, x->at[j], k, list + n);
  ts_analyzer_pop(x->l->an, mark);
  return ts_for(ir, v, ts_int(ir, 0), x->n, TS_SERIAL, ts_seq(ir, list, n));
}

// The rest of the pipeline, as early as it can be.
static const ts_stmt *consumers(pipe *x) {
  pipe c = *x;
  int *stage = ts_arena_dup(x->l->arena, x->p.stage, sizeof *stage * (size_t)x->p.n), first = TS_PIPELINE_STAGES;
  for (int i = 0; i < x->p.n; i++)
    if (!x->bulk[i]) first = TS_MIN(first, stage[i]);
  for (int i = 0; i < x->p.n; i++) stage[i] = x->bulk[i] ? 0 : stage[i] - first;
  c.p.stage = stage;
  c.last = 0;
  for (int i = 0; i < x->p.n; i++) c.last = TS_MAX(c.last, stage[i]);
  c.long_enough = ts_prove_le(x->l->an, ts_int(x->l->ir, c.last), x->n) == TS_YES;
  c.consumers = true;
  return all_slots(&c);
}

static const ts_stmt *in_roles(pipe *x) {
  ts_ir *ir = x->l->ir;
  const ts_expr *first = ts_bin(ir, TS_E_EQ, ts_evar(ir, x->slots.role), ts_int(ir, 0));
  return ts_if(ir, first, consumers(x), producer(x));
}

static const ts_stmt *overlapped(pipe *x) {
  ts_ir *ir = x->l->ir;
  const ts_stmt *s = x->slots.role ? in_roles(x) : all_slots(x);
  if (x->l->t->api == TS_API_CUDA) s = ts__one_kernel(x->l, x->p.loop->loop.var->name, s);
  for (size_t i = x->versions.n; i-- > 0;) s = ts_alloc(ir, x->versions.p[i].to, s);
  if (x->slots.empty) s = ts_alloc(ir, x->slots.empty, s);
  return x->slots.full ? ts_alloc(ir, x->slots.full, s) : s;
}

// --- the pass
// ---------------------------------------------------------------------------------------------------------------------

static bool refuse(pipe *x, const char *what, const char *a, const char *b, const char *c) {
  ts__lower *l = x->l;
  l->failed = true;
  return ts_refuse(l->d, "pipeline", "%s: loop %.60s: %s%.60s%s%.60s", l->f->name, x->p.loop->loop.var->name, what, a,
                   b, c);
}

static const ts_buffer *barriers(pipe *x, const char *what) {
  ts__lower *l = x->l;
  const ts_expr *n = ts_int(l->ir, x->slots.slots);
  const char *name = ts_arena_printf(l->arena, "%.40s_%s", x->p.loop->loop.var->name, what);
  const ts_buffer *b = ts_buffer_new(l->ir, name, TS_U64, 1, ts_arena_dup(l->arena, &n, sizeof n), "shared");
  ts_vec_push(l->arena, &l->lasting, b);
  return b;
}

static bool reads_filled(const pipe *x, int i) {
  for (size_t b = 0; b < x->own.n; b++)
    if (is_filled(x, x->own.p[b]) && use_of(x->p.child[i], x->own.p[b]).read) return true;
  return false;
}

// Which statements are bulk copies, which read what they fill, how many slots there are.
static bool find_bulk(pipe *x) {
  x->filler = x->reader = -1;
  for (int k = 0; k < x->p.n; k++) {
    int i = x->at[k];
    x->bulk[i] = ts__is_bulk(x->l, x->p.child[i]);
    if (!x->bulk[i]) continue;
    if (x->filler >= 0 && x->p.stage[i] != x->p.stage[x->filler]) return refuse(x, "its bulk copies are of different stages", "", "", "");
    x->filler = i;
    x->nbulk++;
  }
  if (!x->nbulk) return true;
  for (int k = 0; k < x->p.n; k++) {
    int i = x->at[k];
    x->reads[i] = !x->bulk[i] && reads_filled(x, i);
    if (x->reads[i]) x->reader = i;
  }
  for (size_t b = 0; b < x->own.n; b++)
    if (is_filled(x, x->own.p[b])) x->slots.slots = TS_MAX(x->slots.slots, versions_of(x, x->own.p[b]));
  if (x->l->serial.n && x->l->conditions) return refuse(x, "its bulk copies are repeated under a condition", "", "", "");
  for (size_t i = 0; i < x->l->serial.n; i++)
    if (ts_notes_find(x->l->serial.p[i]->loop.notes, "pipeline_stage"))
      return refuse(x, "its bulk copies stand in the pipeline of ", x->l->serial.p[i]->loop.var->name, "", "");
  if (!x->slots.slots || x->reader < 0) return refuse(x, "its bulk copies fill no buffer that it reads", "", "", "");
  return true;
}

static bool has_async(const pipe *x) {
  for (int i = 0; i < x->p.n; i++)
    if (async_target(x->p.child[i])) return true;
  return false;
}

static bool make_slots(pipe *x) {
  if (!find_bulk(x)) return false;
  const ts_note *roles = ts_notes_find(x->p.loop->loop.notes, "warp_specialize");
  if (!x->nbulk && roles && x->l->t->api == TS_API_CUDA && x->l->t->gpu.compute >= 90)
    return refuse(x, "it has warp_specialize and no bulk copies", "", "", "");
  if (!x->nbulk) return true;
  x->slots.full = barriers(x, "full");
  if (roles) {
    if (has_async(x)) return refuse(x, "copies for threads of their own are bulk_copy, not async_copy", "", "", "");
    x->slots.empty = barriers(x, "empty");
    x->slots.role = ts_var_new(x->l->ir, "role", TS_INDEX);
    x->slots.registers = roles->kind == TS_NOTE_INT ? roles->i : 1;
  }
  ts_vec_push(x->l->arena, &x->l->bulk, x->slots);
  return true;
}

static bool settle(pipe *x) {
  ts_pipeline_fault f;
  if (x->p.loop->loop.kind != TS_SERIAL && x->p.loop->loop.kind != TS_UNROLL)
    return refuse(x, "a pipeline cannot be ", ts_loop_kind_name(x->p.loop->loop.kind), "", "");
  if (!x->p.fits || x->p.n > (int)TS_COUNTOF(x->at))
    return refuse(x, "its body no longer is what pipeline was given", "", "", "");
  bool seen[TS_COUNTOF(x->at)] = {0};
  for (int i = 0; i < x->p.n; i++) {
    int at = x->p.order[i];
    if (at >= x->p.n || seen[at]) return refuse(x, "the order of its pipeline names a place twice", "", "", "");
    seen[at] = true;
    x->at[at] = i;
    x->last = TS_MAX(x->last, x->p.stage[i]);
  }
  collect_own(x);
  if (!ts_pipeline_legal(x->l->an, &x->p, &f))
    return refuse(x, "statements that touch ", f.buf->name, f.carried ? " in different iterations" : "",
                  " would change places");
  return true;
}

static const ts_stmt *pipeline(ts__lower *l, const ts_stmt *s) {
  pipe x = {.l = l};
  if (!ts_pipeline_read(l->ir, s, &x.p)) return s;
  if (!settle(&x) || !make_slots(&x)) return s;
  x.n = s->loop.extent;
  x.long_enough = ts_prove_le(l->an, ts_int(l->ir, x.last), x.n) == TS_YES;
  for (size_t i = 0; i < x.own.n; i++) add_version(&x, x.own.p[i]);
  find_async(&x);
  return overlapped(&x);
}

static const ts_stmt *walk(ts__lower *l, const ts_stmt *s);

static const ts_stmt *walk_child(ts__lower *l, const ts_stmt *s, const ts_stmt *child) {
  size_t mark = ts_analyzer_push(l->an);
  ts_bind_stmt(l->an, s);
  const ts_stmt *r = walk(l, child);
  ts_analyzer_pop(l->an, mark);
  return r;
}

static bool repeats(const ts_stmt *s) {
  int64_t n;
  return s->loop.kind != TS_THREAD && !(ts_is_int(s->loop.extent, &n) && n == 1);
}

// Inner loops first.
static const ts_stmt *walk(ts__lower *l, const ts_stmt *s) {
  ts_stmt *c;
  const ts_stmt *r;
  const ts_stmt **child;
  if (l->failed) return s;
  switch (s->kind) {
    case TS_S_SEQ:
      child = ts_new_array(l->arena, const ts_stmt *, s->seq.n);
      for (int i = 0; i < s->seq.n; i++) child[i] = walk(l, s->seq.child[i]);
      return ts_seq(l->ir, child, s->seq.n);
    case TS_S_FOR:
      r = ts_stmt_copy(l->ir, s, &c);
      if (repeats(s)) ts_vec_push(l->arena, &l->serial, s);
      c->loop.body = walk_child(l, s, s->loop.body);
      l->serial.n -= repeats(s);
      return l->failed ? s : pipeline(l, r);
    case TS_S_BLOCK: {
      ts_block *b = ts_arena_dup(l->arena, s->block, sizeof *b);
      b->body = walk_child(l, s, s->block->body);
      r = ts_stmt_copy(l->ir, s, &c);
      c->block = b;
      return r;
    }
    case TS_S_ALLOC:
      r = ts_stmt_copy(l->ir, s, &c);
      c->alloc.body = walk(l, s->alloc.body);
      return r;
    case TS_S_LET:
      r = ts_stmt_copy(l->ir, s, &c);
      c->let.body = walk_child(l, s, s->let.body);
      return r;
    case TS_S_IF:
      l->conditions++;
      r = ts_if(l->ir, s->cond.cond, walk(l, s->cond.then), s->cond.other ? walk(l, s->cond.other) : NULL);
      l->conditions--;
      return r;
    default:
      return s;
  }
}

static bool see_note(void *arg, const ts_stmt *s) {
  bool *found = arg;
  *found |= s->kind == TS_S_FOR && ts_notes_find(s->loop.notes, "pipeline_stage");
  return !*found;
}

const ts_stmt *ts__pipeline(ts__lower *l, const ts_stmt *body) {
  bool found = false;
  ts_stmt_visit(body, see_note, NULL, &found);
  return found ? walk(l, body) : body;
}
