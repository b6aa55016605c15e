// Fragments: tiles spread over the threads that run a tensor intrinsic together. A thread keeps its elements of all
// tiles in registers.
#include "codegen/lower.h"

static bool is_fragment(const ts_buffer *b) { return strncmp(b->scope, "fragment.", 9) == 0; }

static void refuse(ts__lower *l, const ts_buffer *b, const char *what) {
  if (!l->failed) ts_refuse(l->d, "fragment-layout", "buffer %.60s in scope %.60s: %s", b->name, b->scope, what);
  l->failed = true;
}

static ts__fragment *find(ts__lower *l, const ts_buffer *b) {
  for (size_t i = 0; i < l->fragments.n; i++)
    if (l->fragments.p[i].from == b) return &l->fragments.p[i];
  return NULL;
}

// The only dimension of the buffer that dimension i of the operand moves along; -1 when there is none or more than one.
static int along(const ts_operand *o, int i) {
  int to = -1;
  for (int d = 0; d < o->buf->ndim; d++) {
    if (!o->step[i][d]) continue;
    if (to >= 0) return -1;
    to = d;
  }
  return to;
}

// The tile that an operand covers: the dimensions of it that move along one of the buffer's own count its elements, like digits.
static bool tile_of(ts__lower *l, const ts_operand *o, const ts_buffer *param, int64_t *tile) {
  bool done[8] = {false};
  int left = 0;
  int64_t n[8];
  for (int d = 0; d < o->buf->ndim; d++) tile[d] = 1;
  for (int i = 0; i < o->ndim; i++) {
    if (!ts_is_int(param->shape[i], &n[i])) return refuse(l, o->buf, "an operand has no constant shape"), false;
    done[i] = n[i] == 1;
    left += n[i] > 1;
  }
  for (int before = left + 1; left && left < before;) {
    before = left;
    for (int i = 0; i < o->ndim; i++) {
      int to = done[i] ? -1 : along(o, i);
      if (to < 0 || o->step[i][to] != tile[to]) continue;
      tile[to] *= n[i];
      done[i] = true;
      left--;
    }
  }
  return !left || (refuse(l, o->buf, "an operand is no plain tile of it"), false);
}

static ts__fragment *fragment(ts__lower *l, const ts_operand *o, const ts_buffer *param, int threads, int64_t held) {
  ts__fragment x = {.from = o->buf};
  int64_t elements = 1, tiles = 1, n;
  if (!tile_of(l, o, param, x.tile)) return NULL;
  for (int d = 0; d < o->buf->ndim; d++) {
    if (!ts_is_int(o->buf->shape[d], &n) || n % x.tile[d])
      return refuse(l, o->buf, "it is not made of whole tiles"), NULL;
    elements *= x.tile[d];
    tiles *= n / x.tile[d];
  }
  if (elements % threads) return refuse(l, o->buf, "a tile cannot be shared evenly among the threads"), NULL;
  x.registers = TS_MAX(elements / threads, held);
  ts__fragment *had = find(l, o->buf);
  if (had) {
    bool same = had->registers == x.registers && memcmp(had->tile, x.tile, sizeof x.tile) == 0;
    return same ? had : (refuse(l, o->buf, "two intrinsics take tiles of different shapes"), NULL);
  }
  const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, 1);
  shape[0] = ts_int(l->ir, tiles * x.registers);
  x.to = ts_buffer_new(l->ir, o->buf->name, o->buf->code, 1, shape, o->buf->scope);
  ts_vec_push(l->arena, &l->fragments, x);
  return &l->fragments.p[l->fragments.n - 1];
}

const ts_buffer *ts__fragment_access(ts__lower *l, const ts_operand *o, const ts_buffer *param, int threads,
                                     int64_t held, const ts_expr *const *idx, const ts_expr **at) {
  const ts__fragment *x = fragment(l, o, param, threads, held);
  ts_ir *ir = l->ir;
  const ts_expr *tile = ts_int(ir, 0);
  int64_t n = 0;
  if (!x) return NULL;
  for (int d = 0; d < o->buf->ndim; d++) {
    ts_is_int(o->buf->shape[d], &n);
    tile = ts_mul(ir, tile, ts_int(ir, n / x->tile[d]));
    tile = ts_add(ir, tile, ts_bin(ir, TS_E_FLOORDIV, o->start[d], ts_int(ir, x->tile[d])));
  }
  const ts_expr *in = param->ndim ? idx[param->ndim - 1] : ts_int(ir, 0);  // number of the register
  at[0] = ts_add(ir, ts_mul(ir, tile, ts_int(ir, x->registers)), in);
  return x->to;
}

// --- allocations
// ----------------------------------------------------------------------------------------------------------

static const ts_stmt *swap_alloc(void *arg, const ts_stmt *s) {
  ts__lower *l = arg;
  if (s->kind != TS_S_ALLOC || !is_fragment(s->alloc.buf)) return s;
  const ts__fragment *x = find(l, s->alloc.buf);
  return x ? ts_alloc(l->ir, x->to, s->alloc.body) : s;
}

static void check(ts__lower *l, const ts_buffer *b) {
  if (!is_fragment(b)) return;
  for (size_t i = 0; i < l->fragments.n; i++)
    if (l->fragments.p[i].to == b) return;
  refuse(l, b, "a block that is no tensor intrinsic touches it");
}

static bool check_load(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) check(arg, e->buf);
  return true;
}

static bool check_store(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_STORE) check(arg, s->store.buf);
  return true;
}

const ts_stmt *ts__fragment_allocs(ts__lower *l, const ts_stmt *body) {
  ts_stmt_visit(body, check_store, check_load, l);
  return ts_stmt_rewrite(l->ir, body, swap_alloc, NULL, l);
}
