// What kernels ask of a GPU, read off a function with blocks: threads, memory and registers before anything is lowered. Everything is a bound from
// below of what ts_gpu_check finds in the lowered function, so that what is refused here would be refused there.
//
// One walk over a kernel notes where buffers in shared memory and registers are used; then each is sized (early_size.c). Nothing is
// allocated and no expression is made.
#include "codegen/early.h"

// --- names
// ------------------------------------------------------------------------------------------------------------------------

static void bind(ts__early *x, const ts_var *v, const ts__early_name *as) {
  ts__early_name *n = ts__early_named(x, v, true);
  if (!n) return (void)(x->full = true);
  bool twice = n->var && (n->loop != as->loop || n->value != as->value);
  *n = *as;
  n->var = v;
  n->twice = twice;
}

// --- uses
// -------------------------------------------------------------------------------------------------------------------------

static int together(const ts__early *x, int a, int b) {
  while (x->node[a].depth > x->node[b].depth) a = x->node[a].up;
  while (x->node[b].depth > x->node[a].depth) b = x->node[b].up;
  while (a != b) a = x->node[a].up, b = x->node[b].up;
  return a;
}

static ts__early_buffer *buffer_of(ts__early *x, const ts_buffer *b) {
  for (int i = 0; i < x->nbuffers; i++)
    if (x->buffer[i].b == b) return &x->buffer[i];
  if (x->nbuffers == TS__EARLY_BUFFERS) return NULL;
  x->buffer[x->nbuffers] = (ts__early_buffer){.b = b, .node = -1, .uses = -1};
  return &x->buffer[x->nbuffers++];
}

// What threads reduce together is written when all parts are there: where, and by whom, lowering says.
static bool is_shared_result(const ts__early *x, const ts_buffer *b) {
  for (int i = 0; x->reduction && i < x->reduction->nwrites; i++)
    if (x->reduction->writes[i].buf == b) return true;
  return false;
}

static bool is_between_kernels(const ts__early *x, const ts_buffer *b);

static void use(ts__early *x, const ts_buffer *b, const ts_expr *const *idx, bool write, int node) {
  if (b->scope[0] == 'g' || is_shared_result(x, b) || is_between_kernels(x, b)) return;
  ts__early_buffer *e = buffer_of(x, b);
  if (!e || x->nuses == TS__EARLY_USES) return (void)(x->full = true);
  ts__early_use *u = &x->use[x->nuses];
  *u = (ts__early_use){.idx = idx, .node = node, .next = e->uses};
  for (int i = 0; x->intrin && i < x->intrin->noperands; i++) u->trailing |= x->intrin->operands[i].buf == b;
  e->uses = x->nuses++;
  e->node = e->node < 0 ? node : together(x, e->node, node);
  e->threads = TS_MAX(e->threads, x->group_now);
  e->filled |= write && x->bulk;
}

static void see_loads(ts__early *x, const ts_expr *e, int node) {
  if (!e->loads) return;
  if (e->kind == TS_E_LOAD) use(x, e->buf, e->arg, false, node);
  for (uint32_t i = 0; i < e->nargs; i++) see_loads(x, e->arg[i], node);
}

// --- kernels apart
// -----------------------------------------------------------------------------------------------------------------

static void note_expr(ts__early *x, const ts_expr *e);

// A buffer that several kernels use becomes workspace, whatever its scope.
static void note(ts__early *x, const ts_buffer *b) {
  if (b->scope[0] == 'g') return;
  for (int i = 0; i < x->nplaces; i++)
    if (x->place[i].b == b) return (void)(x->place[i].kernel = x->place[i].kernel == x->kernels ? x->kernels : -1);
  if (x->nplaces == TS__EARLY_PLACES) return (void)(x->lost = true);
  x->place[x->nplaces++] = (ts__early_place){b, x->kernels};
}

static void note_expr(ts__early *x, const ts_expr *e) {
  if (!e->loads) return;
  if (e->kind == TS_E_LOAD) note(x, e->buf);
  for (uint32_t i = 0; i < e->nargs; i++) note_expr(x, e->arg[i]);
}

static bool see_note(void *arg, const ts_expr *e) {
  note_expr(arg, e);
  return false;
}

static bool see_note_stmt(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_STORE) note(arg, s->store.buf);
  return true;
}

static bool is_between_kernels(const ts__early *x, const ts_buffer *b) {
  for (int i = 0; i < x->nplaces; i++)
    if (x->place[i].b == b) return x->place[i].kernel < 0;
  return x->lost;
}

// --- statements
// -------------------------------------------------------------------------------------------------------------------

static void walk(ts__early *x, const ts_stmt *s, int up, int stage);

static bool is_along(const ts_stmt *s, ts_axis from, ts_axis to) { return s->kind == TS_S_FOR && s->loop.kind == TS_THREAD && s->loop.axis >= from && s->loop.axis <= to; }

// Blocks of a grid, with dimensions as small and as large as they may be.
static int64_t blocks_along(ts__early *x, const ts_stmt *s) {
  const ts__early_point small = {.from = INT32_MAX}, large = {.from = INT32_MAX, .most = true};
  int64_t n = 1, m;
  if (ts__early_value(x, s->loop.extent, &small, &m)) n = TS_MAX(n, m);
  if (ts__early_value(x, s->loop.extent, &large, &m)) n = TS_MAX(n, m);
  return n;
}

static void see_axis(ts__early *x, const ts_stmt *s) {
  ts_axis a = s->loop.axis;
  int64_t n = 1;
  if (a >= TS_THREAD_X) ts_is_int(s->loop.extent, &n);
  else n = blocks_along(x, s);
  x->need->extent[a] = TS_MAX(x->need->extent[a], n);
  x->used |= 1u << a;
  ts__need_options(x->need, s->loop.notes);
  const ts_note *cluster = a == TS_BLOCK_X && s->loop.notes.n ? ts_notes_find(s->loop.notes, "cluster") : NULL;
  if (cluster && cluster->kind == TS_NOTE_INT && (cluster->i < 1 || cluster->i > 8))
    ts__need_refuse(x->need, "cluster", cluster->i, 8, "%lld blocks to a cluster; 1 to 8 are allowed", (long long)cluster->i);
}

static bool has_bulk(const ts_stmt *s) {
  if (s->kind == TS_S_FOR) return has_bulk(s->loop.body);
  if (s->kind == TS_S_BLOCK) return ts_notes_find(s->block->notes, "bulk_copy") || has_bulk(s->block->body);
  for (int i = 0; s->kind == TS_S_SEQ && i < s->seq.n; i++)
    if (has_bulk(s->seq.child[i])) return true;
  return false;
}

// The stages of a pipelined loop's statements; false: the notes are none.
static bool stages_of(const ts_stmt *s, int *stage, int most) {
  const ts_note *note = ts_notes_find(s->loop.notes, "pipeline_stage");
  const char *p = note && note->kind == TS_NOTE_STR ? note->s : NULL;
  for (int i = 0; i < most; i++) stage[i] = 0;
  for (int i = 0; p && *p && i < most; i++) {
    if (*p < '0' || *p > '9') return false;
    for (; *p >= '0' && *p <= '9'; p++) stage[i] = TS_MIN(stage[i] * 10 + *p - '0', TS_PIPELINE_STAGES);
    p += *p == ' ';
  }
  return p && !*p;
}

static bool is_shell(const ts_block *b) { return !b->predicate && !b->init && !b->intrin; }

// Below a pipelined loop: where its buffers may be placed, down to the list of its statements.
static void walk_pipe(ts__early *x, const ts_stmt *s, int up, int pipe) {
  enum { MOST = TS_PIPELINE_STAGES * 8 };
  int stage[MOST], n = x->nnodes;
  if (n == TS__EARLY_NODES || !stages_of(x->node[pipe].s, stage, MOST) || (s->kind != TS_S_SEQ && !(s->kind == TS_S_BLOCK && !s->block->niters && is_shell(s->block)))) return walk(x, s, up, -1);
  x->node[x->nnodes++] = (ts__early_node){.s = s, .up = up, .depth = x->node[up].depth + 1, .first = x->leaves, .stage = -1, .pipe = pipe};
  if (s->kind == TS_S_BLOCK) walk_pipe(x, s->block->body, n, pipe);
  for (int i = 0; s->kind == TS_S_SEQ && i < s->seq.n; i++) walk(x, s->seq.child[i], n, i < MOST ? stage[i] : 0);
  x->node[n].last = x->leaves;
}

static void walk_loop(ts__early *x, const ts_stmt *s, int node) {
  bool pipe = s->loop.kind != TS_THREAD && s->loop.notes.n && ts_notes_find(s->loop.notes, "pipeline_stage");
  if (is_along(s, TS_BLOCK_X, TS_THREAD_Z)) see_axis(x, s);
  see_loads(x, s->loop.extent, node);
  bind(x, s->loop.var, &(ts__early_name){.loop = s, .depth = x->node[node].depth});
  if (!pipe) return walk(x, s->loop.body, node, -1);
  x->node[node].pipe = node;
  if (ts_notes_find(s->loop.notes, "warp_specialize") && x->need->t->gpu.compute >= 90 && has_bulk(s->loop.body)) x->roles = s;
  walk_pipe(x, s->loop.body, node, node);
}

static bool along_threads(ts__early *x, const ts_expr *e) {
  if (e->kind == TS_E_VAR) {
    const ts__early_name *n = ts__early_named(x, e->var, false);
    return n && n->loop && is_along(n->loop, TS_THREAD_X, TS_THREAD_Z);
  }
  for (uint32_t i = 0; i < e->nargs; i++)
    if (along_threads(x, e->arg[i])) return true;
  return false;
}

// What the implementation keeps in registers beside its operands.
static int64_t own_bytes(const ts_intrin *in) {
  const ts_stmt *s = in->impl->body;
  int64_t sum = 0, n;
  for (int i = 0; s->kind == TS_S_BLOCK && i < s->block->nallocs; i++) {
    const ts_buffer *b = s->block->allocs[i];
    int64_t bytes = b->scope[0] == 'l' ? ts_code_bytes(b->code) : 0;
    for (int d = 0; d < b->ndim; d++) bytes = ts_is_int(b->shape[d], &n) ? ts__early_times(bytes, n) : 0;
    sum = ts__early_plus(sum, bytes);
  }
  return sum;
}

// A loop along threadIdx.x around the block leaves it one thread.
static void see_group(ts__early *x, const ts_block *b, int64_t threads, int node) {
  for (int n = node; n >= 0; n = x->node[n].up)
    if (is_along(x->node[n].s, TS_THREAD_X, TS_THREAD_X))
      return ts__need_refuse(x->need, "intrinsic-threads", 1, threads, "block %.60s: %.60s is run by %lld threads along threadIdx.x together; outside of loops along it there is 1",
                             b->name, b->intrin, (long long)threads);
  x->group_block = b;
  x->least_group = x->least_group ? TS_MIN(x->least_group, threads) : threads;
  x->most_group = TS_MAX(x->most_group, threads);
}

static void enter_intrin(ts__early *x, const ts_block *b, int node) {
  const ts_intrin *in = ts_intrin_peek(b->intrin);
  const char *missing;
  if (!in) return;
  if (!ts_intrin_fits(in, x->need->t, &missing))
    ts__need_refuse(x->need, "missing-feature", 0, 0, "block %.60s: intrinsic %.60s needs %.60s, which %s lacks", b->name, b->intrin, missing, x->need->t->arch);
  x->group_now = in->threads;
  if (in->threads > 1) see_group(x, b, in->threads, node);
  if (in->trailing) x->intrin = b;
  x->own = ts__early_plus(x->own, own_bytes(in));
  ts__early_operands(x, b, in);
}

static void walk_block(ts__early *x, const ts_block *b, int node) {
  const ts_block *reduction = x->reduction, *intrin = x->intrin;
  int group = x->group_now;
  bool bulk = x->bulk, guarded = x->guarded;
  for (int i = 0; i < b->niters; i++) {
    bind(x, b->iters[i].var, &(ts__early_name){.value = b->iters[i].value});
    if (b->iters[i].kind == TS_ITER_REDUCE && along_threads(x, b->iters[i].value)) x->reduction = b;
  }
  if (b->predicate) x->guarded = true, see_loads(x, b->predicate, node);
  x->bulk |= b->notes.n && ts_notes_find(b->notes, "bulk_copy") && x->need->t->gpu.compute >= 90;
  if (b->intrin) enter_intrin(x, b, node);
  if (b->init) walk(x, b->init, node, -1);
  walk(x, b->body, node, -1);
  x->reduction = reduction;
  x->intrin = intrin;
  x->group_now = group;
  x->bulk = bulk;
  x->guarded = guarded;
}

static void walk_if(ts__early *x, const ts_stmt *s, int node) {
  bool guarded = x->guarded;
  see_loads(x, s->cond.cond, node);
  x->guarded = true;
  walk(x, s->cond.then, node, -1);
  if (s->cond.other) walk(x, s->cond.other, node, -1);
  x->guarded = guarded;
}

static void walk_leaf(ts__early *x, const ts_stmt *s, int node) {
  x->leaves++;
  if (s->kind == TS_S_EVAL) return see_loads(x, s->eval, node);
  see_loads(x, s->store.value, node);
  for (int d = 0; d < s->store.buf->ndim; d++) see_loads(x, s->store.idx[d], node);
  use(x, s->store.buf, s->store.idx, true, node);
}

static void walk(ts__early *x, const ts_stmt *s, int up, int stage) {
  int n = x->nnodes;
  if (x->full || x->need->failed) return;
  if (n == TS__EARLY_NODES) return (void)(x->full = true);
  x->node[x->nnodes++] = (ts__early_node){.s = s, .up = up, .depth = up < 0 ? 0 : x->node[up].depth + 1, .first = x->leaves, .stage = stage, .pipe = -1};
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) walk(x, s->seq.child[i], n, -1);
      break;
    case TS_S_FOR: walk_loop(x, s, n); break;
    case TS_S_BLOCK: walk_block(x, s->block, n); break;
    case TS_S_IF: walk_if(x, s, n); break;
    case TS_S_LET:
      see_loads(x, s->let.value, n);
      bind(x, s->let.var, &(ts__early_name){.value = s->let.value});
      walk(x, s->let.body, n, -1);
      break;
    case TS_S_ALLOC: walk(x, s->alloc.body, n, -1); break;
    default: walk_leaf(x, s, n); break;
  }
  x->node[n].last = x->leaves;
}

// --- a kernel
// ---------------------------------------------------------------------------------------------------------------------

// Shared memory at the time when most of it is in use.
static int64_t most_shared(ts__early *x) {
  int64_t bytes[TS__EARLY_BUFFERS], most = 0;
  int first[TS__EARLY_BUFFERS], last[TS__EARLY_BUFFERS], n = 0;
  for (int i = 0; i < x->nbuffers; i++) {
    if (!ts__early_shared(x->buffer[i].b)) continue;
    bytes[n] = ts__early_bytes(x, &x->buffer[i]);
    ts__early_life(x, &x->buffer[i], &first[n], &last[n]);
    n++;
  }
  for (int i = 0; i < n; i++) {
    int64_t sum = 0;
    for (int k = 0; k < n; k++)
      if (first[k] <= first[i] && first[i] < last[k] && __builtin_add_overflow(sum, bytes[k], &sum)) sum = INT64_MAX / 2;
    most = TS_MAX(most, sum);
  }
  return TS_MIN(most, INT64_MAX / 64);
}

static int64_t sum_of(ts__early *x, char scope) {
  int64_t sum = 0;
  for (int i = 0; i < x->nbuffers; i++)
    if (x->buffer[i].b->scope[0] == scope && __builtin_add_overflow(sum, ts__early_bytes(x, &x->buffer[i]), &sum)) return INT64_MAX / 64;
  return TS_MIN(sum, INT64_MAX / 64);
}

// Intrinsics that a group of threads runs together bring the axis that numbers it. ORDER group (lower_gpu.c).
static void add_group(ts__early *x) {
  ts__need *v = x->need;
  if (!x->most_group) return;
  if (!(x->used >> TS_THREAD_X & 1)) v->extent[TS_THREAD_X] = x->most_group, x->used |= 1u << TS_THREAD_X;
  int64_t have = v->extent[TS_THREAD_X], want = x->least_group == have ? x->most_group : x->least_group;
  if (want != have)
    ts__need_refuse(v, "intrinsic-threads", have, want, "block %.60s: %.60s is run by %lld threads along threadIdx.x together; outside of loops along it there are %lld",
                    x->group_block->name, x->group_block->intrin, (long long)want, (long long)have);
}

// Threads that only copy are a position more of the outermost axis. ORDER roles (lower_gpu_roles.c).
static void add_roles(ts__early *x) {
  enum { UNIT = 8, LEAST = 24, MOST = 232, WARPGROUP = 128 };
  ts__need *v = x->need;
  if (!x->roles) return;
  const ts_note *note = ts_notes_find(x->roles->loop.notes, "warp_specialize");
  int64_t want = note->kind == TS_NOTE_INT ? note->i : 1, warp = v->t->gpu.warp;
  ts_axis a = x->used >> TS_THREAD_Z & 1 || v->extent[TS_THREAD_X] % warp ? TS_THREAD_Z : TS_THREAD_Y;
  int64_t group = a == TS_THREAD_Z ? ts__early_times(v->extent[TS_THREAD_X], v->extent[TS_THREAD_Y]) : v->extent[TS_THREAD_X];
  if (group % warp)
    ts__need_refuse(v, "warp-specialize", group, warp, "the %lld threads of one position along %s are no whole warps", (long long)group, ts_axis_name(a));
  if (want != 1 && (want < LEAST || want > MOST || want % UNIT))
    ts__need_refuse(v, "warp-specialize", want, MOST, "%lld registers a consumer; multiples of 8 from 24 to 232 are allowed", (long long)want);
  if (want != 1 && group % WARPGROUP)
    ts__need_refuse(v, "warp-specialize", group, WARPGROUP, "registers are moved between whole warpgroups; a position along %s has %lld threads", ts_axis_name(a), (long long)group);
  v->extent[a] = ts__early_plus(v->extent[a], 1);
  if (want != 1) v->moved = v->t->gpu.max_registers;  // who has how many is settled later
}

static void bind_above(ts__early *x, const ts_stmt *s) {
  if (s->kind == TS_S_FOR) return bind(x, s->loop.var, &(ts__early_name){.loop = s, .depth = -1});
  for (int i = 0; i < s->block->niters; i++) bind(x, s->block->iters[i].var, &(ts__early_name){.value = s->block->iters[i].value});
}

static void kernel(ts__early *x, const ts_stmt *s) {
  ts__need *v = x->need;
  ts__need_begin(v);
  x->nnodes = x->nuses = x->nbuffers = x->leaves = 0;
  x->own = 0;
  x->full = x->guarded = x->bulk = false;
  x->used = 0;
  x->least_group = x->most_group = 0;
  x->group_now = 0;
  x->roles = NULL;
  x->reduction = x->intrin = NULL;
  x->nnames = 0;
  memset(x->name_at, 0, sizeof x->name_at);
  for (int i = 0; i < v->f->ndims; i++) bind(x, v->f->dims[i].var, &(ts__early_name){.dim = &v->f->dims[i]});
  for (int i = 0; i < x->nabove; i++) bind_above(x, x->above[i]);
  walk(x, s, -1, -1);
  if (x->full) v->use->kernels++;
  if (x->full || v->failed) return;
  add_group(x);
  add_roles(x);
  v->shared = most_shared(x);
  v->local = ts__early_plus(sum_of(x, 'l'), x->own);
  v->fragments = sum_of(x, 'f');
  ts__need_check(v);
}

// ORDER kernels (lower_gpu.c, walk_top): what follows one another at the top.
static void top(ts__early *x, const ts_stmt *s, void (*each)(ts__early *, const ts_stmt *)) {
  int64_t n;
  if (x->need->failed) return;
  bool shell = s->kind == TS_S_BLOCK && is_shell(s->block), once = s->kind == TS_S_FOR && s->loop.kind != TS_THREAD && ts_is_int(s->loop.extent, &n) && n == 1;
  if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) top(x, s->seq.child[i], each);
  } else if ((shell || once) && x->nabove < TS__EARLY_ABOVE) {
    x->above[x->nabove++] = s;
    top(x, shell ? s->block->body : s->loop.body, each);
    x->nabove--;
  } else if (!shell && !once) {
    each(x, s);
  }
}

static void count(ts__early *x, const ts_stmt *s) {
  (void)s;
  x->kernels++;
}

static void note_kernel(ts__early *x, const ts_stmt *s) {
  ts_stmt_visit(s, see_note_stmt, see_note, x);
  x->kernels++;
}

void ts__need_early(ts__need *v) {
  ts__early x;
  x.need = v;
  x.nabove = x.nplaces = x.kernels = 0;
  x.lost = false;
  top(&x, v->f->body, count);
  if (x.kernels > 1) {
    x.kernels = 0;
    top(&x, v->f->body, note_kernel);
  }
  top(&x, v->f->body, kernel);
}
