// Pipelines of bulk copies in a kernel: who initialises the barriers, who arrives on them, and which threads are the
// producer.
//
// With roles the outermost thread axis in use gets one position more. While the kernel is spread over its threads,
// everything but the producer's side is written for the positions that were there before; at the end both stand side by
// side:
//
//   if all threads are at 0 { barrier.init ... }
//   sync.block
//   if position < n { consumers } else if the others are at 0 { producer }
//
// Where the loop along blockIdx.x has the note cluster, neighbours whose copies are the same share them: a slot is
// filled when all have emptied it, and none of them leaves before the others.
#include "codegen/lower_gpu.h"

typedef struct search {
  const ts_buffer *buf;
  bool found;
} search;

static bool see_buffer(void *arg, const ts_expr *e) {
  search *x = arg;
  x->found |= e->kind == TS_E_LOAD && e->buf == x->buf;
  return !x->found;
}

static bool uses(const ts_stmt *s, const ts_buffer *b) {
  search x = {b, false};
  ts_stmt_visit(s, NULL, see_buffer, &x);
  return x.found;
}

// --- the axis
// -----------------------------------------------------------------------------------------------------------------

// Threads of one position along the axis.
static int64_t below(const ts__kernel *k, ts_axis axis) {
  int64_t n = 1;
  for (ts_axis a = TS_THREAD_X; a < axis; a++) n *= ts__threads_of(k, a);
  return n;
}

static bool choose_axis(ts__kernel *k) {
  ts_axis a = k->used >> TS_THREAD_Z & 1 || below(k, TS_THREAD_Y) % TS__WARP_THREADS ? TS_THREAD_Z : TS_THREAD_Y;
  if (below(k, a) % TS__WARP_THREADS)
    return ts__gpu_refuse(k->l, "warp-specialize", "the %lld threads of one position along %s are no whole warps", (long long)below(k, a),
                          ts_axis_name(a));
  k->role_axis = a;
  if (k->used >> a & 1) return true;
  k->used |= 1u << a;
  k->extent[a] = ts_int(k->l->ir, 1);
  return true;
}

static bool open_cluster(ts__kernel *k) {
  const ts_note *note = ts_notes_find(k->notes[TS_BLOCK_X], "cluster");
  int64_t n = note && note->kind == TS_NOTE_INT ? note->i : 1;
  k->cluster = k->roles ? n : 1;
  if (n == 1) return true;
  if (n < 1 || n > 8)
    return ts__gpu_refuse(k->l, "cluster", "%lld blocks to a cluster; 1 to 8 are allowed", (long long)n);
  if (ts_prove_multiple(k->l->an, k->extent[TS_BLOCK_X], n) == TS_YES) return true;
  return ts__gpu_refuse(k->l, "cluster", "the blocks along blockIdx.x are not proved to be whole clusters of %lld",
                        (long long)n);
}

bool ts__gpu_open_roles(ts__kernel *k, const ts_stmt *s) {
  for (size_t i = 0; i < k->l->bulk.n; i++) {
    const ts__bulk_pipe *p = &k->l->bulk.p[i];
    if (!p->role || !uses(s, p->full)) continue;
    if (k->roles) return ts__gpu_refuse(k->l, "warp-specialize", "two pipelines of one kernel have warp_specialize");
    k->roles = p;
  }
  return open_cluster(k) && (!k->roles || choose_axis(k));
}

bool ts__gpu_is_role(const ts__kernel *k, const ts_stmt *s) {
  return k->roles && s->cond.cond->kind == TS_E_EQ && ts_expr_uses_var(s->cond.cond, k->roles->role);
}

// --- effects
// --------------------------------------------------------------------------------------------------------------------

// All thread axes but the outermost ones from `axis` on are at 0; NULL: there are none.
static const ts_expr *first_below(const ts__kernel *k, ts_axis axis) {
  ts_ir *ir = k->l->ir;
  const ts_expr *g = NULL;
  for (ts_axis a = TS_THREAD_X; a < axis; a++)
    if (k->used >> a & 1) g = ts__guard_and(ir, g, ts_bin(ir, TS_E_EQ, ts_evar(ir, k->var[a]), ts_int(ir, 0)));
  return g;
}

static const ts_stmt *as_effect(const ts__kernel *k, const ts_stmt *s, ts_effect f) {
  return ts_eval(k->l->ir, ts_effect_call(k->l->ir, f, s->eval->arg));
}

// One thread of each warp, when what the warp did before is done.
static const ts_stmt *once_a_warp(ts__kernel *k, const ts_stmt *s) {
  ts_ir *ir = k->l->ir;
  const ts_expr *n = ts_int(ir, 0);
  for (ts_axis a = k->role_axis; a-- > TS_THREAD_X;)
    if (k->used >> a & 1) n = ts_add(ir, ts_mul(ir, n, k->extent[a]), ts_evar(ir, k->var[a]));
  n = ts_bin(ir, TS_E_FLOORMOD, n, ts_int(ir, TS__WARP_THREADS));
  const ts_stmt *both[] = {ts_eval(ir, ts_effect_call(ir, TS_EFF_SYNC_WARP, NULL)),
                           ts_if(ir, ts_bin(ir, TS_E_EQ, n, ts_int(ir, 0)), s, NULL)};
  return ts_seq(ir, both, 2);
}

static bool see_own(void *arg, const ts_expr *e) {
  void **a = arg;
  const ts__kernel *k = a[0];
  bool *found = a[1], known = e->kind != TS_E_VAR;
  for (ts_axis x = TS_BLOCK_X; x <= TS_BLOCK_Z && !known; x++) known = e->var == k->var[x];
  for (int i = 0; i < k->l->f->ndims && !known; i++) known = e->var == k->l->f->dims[i].var;
  *found |= !known || e->kind == TS_E_LOAD;
  return !*found;
}

// Whoever counts phases must get there every time, or never.
static bool all_or_never(ts__kernel *k, const ts_expr *guard) {
  bool found = false;
  if (guard) ts_expr_visit(guard, see_own, (void *[]){k, &found});
  return !found || ts__gpu_refuse(k->l, "bulk-copy",
                                  "a pipeline of bulk copies is under a condition that changes while the kernel runs");
}

const ts_stmt *ts__gpu_effect(ts__kernel *k, const ts_stmt *s, ts_effect f, ts__gpu_role role, const ts_expr *guard) {
  ts_ir *ir = k->l->ir;
  if (!all_or_never(k, guard)) return s;
  if (role == TS__CONSUMER && f == TS_EFF_BARRIER_ARRIVE)
    s = once_a_warp(k, k->cluster > 1 ? as_effect(k, s, TS_EFF_BARRIER_ARRIVE_ALL) : s);
  if (role == TS__NO_ROLE && f != TS_EFF_BARRIER_WAIT)
    guard = ts__guard_and(ir, guard, first_below(k, TS_THREAD_Z + 1));
  return guard ? ts_if(ir, guard, s, NULL) : s;
}

// --- apart and together
// -----------------------------------------------------------------------------------------------------------

static const ts_stmt *consumers_only(void *arg, const ts_stmt *s) {
  const ts__kernel *k = arg;
  return s->kind == TS_S_IF && ts__gpu_is_role(k, s) ? s->cond.then : s;
}

// The producer's side, in what is around it; NULL when it is not below s.
static const ts_stmt *producer_of(const ts__kernel *k, const ts_stmt *s) {
  ts_ir *ir = k->l->ir;
  const ts_stmt *r = NULL;
  if (!uses(s, k->roles->full)) return NULL;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n && !r; i++) r = producer_of(k, s->seq.child[i]);
      return r;
    case TS_S_FOR:
      r = producer_of(k, s->loop.body);
      return r ? ts_for(ir, s->loop.var, s->loop.min, s->loop.extent, s->loop.kind, r) : NULL;
    case TS_S_IF:
      if (ts__gpu_is_role(k, s)) return s->cond.other;
      r = producer_of(k, s->cond.then);
      return r ? ts_if(ir, s->cond.cond, r, NULL) : NULL;
    case TS_S_LET:
      r = producer_of(k, s->let.body);
      return r ? ts_let(ir, s->let.var, s->let.value, r) : NULL;
    case TS_S_ALLOC:
      return producer_of(k, s->alloc.body);
    case TS_S_BLOCK: {
      const ts_block *b = s->block;
      ts_subst *m = ts_new_array(k->l->arena, ts_subst, b->niters);
      for (int i = 0; i < b->niters; i++) m[i] = (ts_subst){b->iters[i].var, b->iters[i].value};
      r = producer_of(k, b->body);
      return r && b->niters ? ts_stmt_subst(ir, r, m, b->niters) : r;
    }
    default:
      return NULL;
  }
}

void ts__gpu_part_roles(ts__kernel *k, const ts_stmt **producer) {
  *producer = NULL;
  if (!k->roles) return;
  const ts_stmt *p = producer_of(k, k->body);
  *producer = p ? ts_stmt_clone(k->l->ir, p) : NULL;
  k->body = ts_stmt_rewrite(k->l->ir, k->body, consumers_only, NULL, k);
}

// --- clusters
// ---------------------------------------------------------------------------------------------------------------------

// Is e the same in all blocks of a cluster?
static bool is_common(const ts__kernel *k, const ts_expr *e) {
  ts_ir *ir = k->l->ir;
  ts_analyzer *an = k->l->an;
  const ts_var *v = ts_var_new(ir, "cluster", TS_INDEX);
  const ts_expr *first = ts_mul(ir, ts_evar(ir, v), ts_int(ir, k->cluster)), *base = NULL;
  size_t mark = ts_analyzer_push(an);
  bool same = true;
  ts_bind_range(an, v,
                (ts_range){ts_int(ir, 0),
                           ts_simplify(an, ts_bin(ir, TS_E_FLOORDIV, k->extent[TS_BLOCK_X], ts_int(ir, k->cluster)))});
  for (int64_t i = 0; i < k->cluster && same; i++) {
    ts_subst m = {k->var[TS_BLOCK_X], ts_add(ir, first, ts_int(ir, i))};
    const ts_expr *at = ts_simplify(an, ts_expr_subst(ir, e, &m, 1));
    int64_t apart;
    if (!base) base = at;
    same = at == base || (ts_const_value(an, ts_sub(ir, at, base), &apart) && apart == 0);
  }
  ts_analyzer_pop(an, mark);
  return same;
}

static const ts_stmt *shared_copy(void *arg, const ts_stmt *s) {
  const ts__kernel *k = arg;
  ts_effect f;
  const ts_expr *args[7];
  if (s->kind != TS_S_EVAL || !ts_effect_of(s->eval, &f) || f != TS_EFF_BULK_COPY) return s;
  memcpy(args, s->eval->arg, sizeof args);
  for (int d = 0; d < args[1]->buf->ndim; d++)
    if (!is_common(k, args[1]->arg[d])) return s;
  if (args[3]->i % k->cluster || args[3]->i / k->cluster % 8) return s;  // parts keep whole patterns of swizzled rows
  args[6] = ts_int(k->l->ir, k->cluster);
  return ts_eval(k->l->ir, ts_effect_call(k->l->ir, f, args));
}

// --- at the start
// -----------------------------------------------------------------------------------------------------------------

static const ts_stmt *init(ts__kernel *k, const ts_buffer *b, const ts_expr *at, int64_t arrivals, ts_effect f) {
  const ts_expr *args[] = {ts_load(k->l->ir, b, &at), ts_int(k->l->ir, arrivals)};
  return ts_eval(k->l->ir, ts_effect_call(k->l->ir, f, args));
}

static const ts_stmt *sync(const ts__kernel *k) {
  return ts_eval(k->l->ir, ts_effect_call(k->l->ir, k->cluster > 1 ? TS_EFF_SYNC_CLUSTER : TS_EFF_SYNC_BLOCK, NULL));
}

static const ts_stmt *init_slots(ts__kernel *k, const ts__bulk_pipe *p) {
  ts_ir *ir = k->l->ir;
  const ts_var *v = ts_var_new(ir, "slot", TS_INDEX);
  const ts_stmt *both[2] = {init(k, p->full, ts_evar(ir, v), 1, TS_EFF_BARRIER_INIT)};
  int64_t warps = p->empty ? below(k, k->role_axis) * (ts__threads_of(k, k->role_axis) - 1) / TS__WARP_THREADS
                           : 0;  // but the producer
  if (p->empty)
    both[1] = init(k, p->empty, ts_evar(ir, v), warps, k->cluster > 1 ? TS_EFF_BARRIER_INIT_ALL : TS_EFF_BARRIER_INIT);
  return ts_for(ir, v, ts_int(ir, 0), ts_int(ir, p->slots), TS_UNROLL, ts_seq(ir, both, p->empty ? 2 : 1));
}

// Before everything else.
static void initialised(ts__kernel *k) {
  ts_ir *ir = k->l->ir;
  const ts_expr *first = first_below(k, TS_THREAD_Z + 1);
  const ts_stmt **list = ts_new_array(k->l->arena, const ts_stmt *, (int)k->l->bulk.n + 2);
  int n = 0;
  for (size_t i = 0; i < k->l->bulk.n; i++)
    if (uses(k->body, k->l->bulk.p[i].full)) list[n++] = init_slots(k, &k->l->bulk.p[i]);
  if (!n) return;
  const ts_stmt *all = ts_seq(ir, list, n);
  const ts_stmt *four[] = {first ? ts_if(ir, first, all, NULL) : all, sync(k), k->body, sync(k)};
  k->body = ts_seq(ir, four, k->cluster > 1 ? 4 : 3);
}

// --- registers
// --------------------------------------------------------------------------------------------------------------------

static const ts_stmt *with_registers(const ts__kernel *k, int64_t n, const ts_stmt *s) {
  const ts_expr *arg = ts_int(k->l->ir, n);
  const ts_stmt *both[] = {ts_eval(k->l->ir, ts_effect_call(k->l->ir, TS_EFF_REGISTERS, &arg)), s};
  return ts_seq(k->l->ir, both, 2);
}

enum { REGISTER_UNIT = 8 };

int64_t ts__start_registers(const ts_target *t, int64_t threads, int64_t minblocks, int64_t maxnreg) {
  int64_t n = t->gpu.sm_registers / (threads * TS_MAX(minblocks, 1));
  if (maxnreg) n = TS_MIN(n, maxnreg);
  return n > t->gpu.max_registers ? 0 : n / REGISTER_UNIT * REGISTER_UNIT;
}

static int64_t option(const ts__kernel *k, const char *key) {
  const ts_note *note = NULL;
  for (int a = 0; a < TS_AXIS__COUNT && !note; a++) note = ts_notes_find(k->notes[a], key);
  return note && note->kind == TS_NOTE_INT ? note->i : 0;
}

// The producer keeps what the consumers leave it of the registers that the block got.
static bool share_registers(ts__kernel *k, const ts_stmt **consumer, const ts_stmt **producer) {
  enum { UNIT = REGISTER_UNIT, LEAST = 24, MOST = 232, WARPGROUP = 128 };
  int64_t want = k->roles->registers, group = below(k, k->role_axis), n = ts__threads_of(k, k->role_axis) * group;
  if (want == 1) return true;
  if (want < LEAST || want > MOST || want % UNIT)
    return ts__gpu_refuse(k->l, "warp-specialize",
                          "%lld registers a consumer; multiples of 8 from 24 to 232 are allowed", (long long)want);
  if (group % WARPGROUP)
    return ts__gpu_refuse(k->l, "warp-specialize",
                          "registers are moved between whole warpgroups; a position along %s has %lld threads",
                          ts_axis_name(k->role_axis), (long long)group);
  int64_t each = ts__start_registers(k->l->t, n + group, option(k, "minblocks"), option(k, "maxnreg"));
  if (!each) return true;
  int64_t rest = TS_MIN((each * (n + group) - want * n) / group / UNIT * UNIT, MOST);
  if (rest < LEAST)
    return ts__gpu_refuse(k->l, "warp-specialize", "%lld consumers with %lld registers leave the producer too few",
                          (long long)n, (long long)want);
  *consumer = with_registers(k, want, *consumer);
  *producer = with_registers(k, rest, *producer);
  return true;
}

static bool see_sync(void *arg, const ts_stmt *s) {
  bool *found = arg;
  ts_effect f;
  *found |= s->kind == TS_S_EVAL && ts_effect_of(s->eval, &f) && f == TS_EFF_SYNC_BLOCK;
  return !*found;
}

bool ts__gpu_join_roles(ts__kernel *k, const ts_stmt *producer) {
  ts_ir *ir = k->l->ir;
  bool synced = false;
  if (k->roles) {
    ts_axis a = k->role_axis;
    int64_t n = ts__threads_of(k, a);
    const ts_expr *consumer = ts_bin(ir, TS_E_LT, ts_evar(ir, k->var[a]), ts_int(ir, n)), *first = first_below(k, a);
    if (k->cluster > 1) producer = ts_stmt_rewrite(ir, producer, shared_copy, NULL, k);
    ts_stmt_visit(k->body, see_sync, NULL, &synced);
    if (synced)
      return ts__gpu_refuse(
          k->l, "warp-specialize",
          "the consumers would have to wait for one another, at a barrier that the producer does not reach");
    if (first) producer = ts_if(ir, first, producer, NULL);
    if (!share_registers(k, &k->body, &producer)) return false;
    k->body = ts_if(ir, consumer, k->body, producer);
    k->extent[a] = ts_int(ir, n + 1);
  }
  initialised(k);
  return true;
}
