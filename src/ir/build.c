// build: the context and the expression builders. Every expression goes through `intern`, so that equal expressions of
// one context are one pointer.
#include <assert.h>
#include <math.h>

#include "ir/ir_impl.h"

ts_ir *ts_ir_new(ts_arena *arena) {
  ts_ir *ir = ts_new(arena, ts_ir);
  ir->arena = arena;
  ir->next_id = 1;
  ir->cap = 512;
  ir->table = ts_new_array(arena, const ts_expr *, ir->cap);
  ir->inferred.arena = ir->collected.arena = ir->touched.arena = arena;
  return ir;
}

ts_arena *ts_ir_arena(ts_ir *ir) { return ir->arena; }
uint32_t ts_ir_next_id(ts_ir *ir) { return ir->next_id++; }
void **ts_ir_spare(ts_ir *ir) { return &ir->spare; }

static uint64_t payload_of(const ts_expr *e) {
  switch (e->kind) {
    case TS_E_VAR:
      return e->var->id;
    case TS_E_LOAD:
      return e->buf->id;
    case TS_E_CALL:
      return ts_hash64(e->callee, strlen(e->callee), 0);
    case TS_E_INT:
    case TS_E_FLOAT:
      return (uint64_t)e->i;
    default:
      return 0;
  }
}

static uint64_t hash_of(const ts_expr *head, const ts_expr *const *args) {
  uint64_t h = (uint64_t)head->kind << 32 | (uint64_t)head->type.code << 16 | head->type.lanes;
  if (head->nargs == 0 || head->kind == TS_E_LOAD || head->kind == TS_E_CALL) h = ts_hash_mix(h, payload_of(head));
  for (uint32_t i = 0; i < head->nargs; i++) h = ts_hash_mix(h, args[i]->hash);
  return h;
}

static bool same(const ts_expr *e, const ts_expr *head, const ts_expr *const *args) {
  if (e->hash != head->hash || e->kind != head->kind || e->nargs != head->nargs || !ts_type_eq(e->type, head->type))
    return false;
  if (e->kind == TS_E_CALL ? strcmp(e->callee, head->callee) != 0 : e->i != head->i) return false;
  return head->nargs == 0 || memcmp(e->arg, args, sizeof(*args) * head->nargs) == 0;
}

static void grow(ts_ir *ir) {
  uint32_t cap = ir->cap * 2;
  const ts_expr **table = ts_new_array(ir->arena, const ts_expr *, cap);
  for (uint32_t i = 0; i < ir->cap; i++) {
    if (!ir->table[i]) continue;
    uint32_t at = (uint32_t)ir->table[i]->hash & (cap - 1);
    while (table[at]) at = (at + 1) & (cap - 1);
    table[at] = ir->table[i];
  }
  ir->table = table;
  ir->cap = cap;
}

// What is known of an expression by what is inside.
static void summarise(ts_expr *head, const ts_expr *const *args) {
  head->var_mask = head->kind == TS_E_VAR ? ts_var_bit(head->var) : 0;
  head->loads = head->kind == TS_E_LOAD;
  for (uint32_t i = 0; i < head->nargs; i++) {
    head->var_mask |= args[i]->var_mask;
    head->loads |= args[i]->loads;
  }
}

// The expression with the kind, type and payload of *head and the given arguments.
static const ts_expr *intern(ts_ir *ir, ts_expr *head, const ts_expr *const *args) {
  head->hash = hash_of(head, args);
  uint32_t at = (uint32_t)head->hash & (ir->cap - 1);
  for (; ir->table[at]; at = (at + 1) & (ir->cap - 1)) {
    if (same(ir->table[at], head, args)) return ir->table[at];
  }
  size_t bytes = sizeof(ts_expr) + sizeof(*args) * head->nargs;
  ts_expr *e = ts_arena_alloc(ir->arena, bytes, _Alignof(ts_expr));
  head->id = ir->next_expr++;
  summarise(head, args);
  memcpy(e, head, sizeof *head);
  if (head->nargs) memcpy(e->arg, args, sizeof(*args) * head->nargs);
  if (e->kind == TS_E_CALL) e->callee = ts_arena_strdup(ir->arena, head->callee);
  ir->table[at] = e;
  if (++ir->count * 2 > ir->cap) grow(ir);
  return e;
}

ts_var *ts_var_new(ts_ir *ir, const char *name, ts_type t) {
  ts_var *v = ts_new(ir->arena, ts_var);
  v->name = ts_arena_strdup(ir->arena, name);
  v->id = ts_ir_next_id(ir);
  v->type = t;
  return v;
}

const ts_expr *ts_int(ts_ir *ir, int64_t v) {
  const ts_expr **recent = &ir->recent_int[(uint64_t)v * 0x9e3779b97f4a7c15u >> (64 - TS__RECENT_BITS)];
  if (*recent && (*recent)->i == v) return *recent;
  ts_expr head = {.kind = TS_E_INT, .type = TS_INDEX, .i = v};
  return *recent = intern(ir, &head, NULL);
}

const ts_expr *ts_const_int(ts_ir *ir, ts_type t, int64_t v) {
  assert(!ts_code_is_float(t.code));
  ts_expr head = {.kind = TS_E_INT, .type = ts_scalar(t.code), .i = ts__wrap(t.code, v)};
  return ts_broadcast(ir, intern(ir, &head, NULL), t.lanes);
}

const ts_expr *ts_const_float(ts_ir *ir, ts_type t, double v) {
  assert(ts_code_is_float(t.code));
  ts_expr head = {.kind = TS_E_FLOAT, .type = ts_scalar(t.code), .f = isnan(v) ? NAN : ts__round(t.code, v)};
  return ts_broadcast(ir, intern(ir, &head, NULL), t.lanes);
}

const ts_expr *ts_evar(ts_ir *ir, const ts_var *v) {
  const ts_expr **recent = &ir->recent_var[v->id % TS__RECENT];
  if (*recent && (*recent)->var == v) return *recent;
  ts_expr head = {.kind = TS_E_VAR, .type = v->type, .var = v};
  return *recent = intern(ir, &head, NULL);
}

static bool allowed(ts_ekind k, ts_code c) {
  switch (k) {
    case TS_E_DIV:
      return ts_code_is_float(c);
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
    case TS_E_BITAND:
    case TS_E_BITOR:
    case TS_E_BITXOR:
    case TS_E_SHL:
    case TS_E_SHR:
      return ts_code_is_int(c);
    case TS_E_AND:
    case TS_E_OR:
      return c == TS_BOOL;
    case TS_E_EQ:
    case TS_E_NE:
      return true;
    default:
      return c != TS_BOOL;
  }
}

bool ts_bin_allowed(ts_ekind k, ts_type t) { return ts__ekind_is_binary(k) && allowed(k, t.code); }

static const ts_expr *fold_bin(ts_ir *ir, ts_ekind k, const ts_expr *a, const ts_expr *b) {
  ts_code c = a->type.code;
  if (a->kind == TS_E_INT && b->kind == TS_E_INT) {
    int64_t r;
    if (ts__ekind_is_compare(k)) return ts_const_int(ir, ts_scalar(TS_BOOL), ts__compare_int(k, c, a->i, b->i));
    return ts__fold_int(k, c, a->i, b->i, &r) ? ts_const_int(ir, a->type, r) : NULL;
  }
  if (a->kind == TS_E_FLOAT && b->kind == TS_E_FLOAT) {
    if (ts__ekind_is_compare(k)) return ts_const_int(ir, ts_scalar(TS_BOOL), ts__compare_float(k, a->f, b->f));
    return ts_const_float(ir, a->type, ts__fold_float(k, c, a->f, b->f));
  }
  return NULL;
}

// Index constants, by far the most frequent operands. NULL: not folded.
static const ts_expr *fold_index(ts_ir *ir, ts_ekind k, int64_t x, int64_t y) {
  switch (k) {
    case TS_E_ADD:
      return ts_int(ir, (int64_t)((uint64_t)x + (uint64_t)y));
    case TS_E_SUB:
      return ts_int(ir, (int64_t)((uint64_t)x - (uint64_t)y));
    case TS_E_MUL:
      return ts_int(ir, (int64_t)((uint64_t)x * (uint64_t)y));
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
      return ts__fold_int(k, TS_I64, x, y, &x) ? ts_int(ir, x) : NULL;
    default:
      return NULL;
  }
}

const ts_expr *ts_bin(ts_ir *ir, ts_ekind k, const ts_expr *a, const ts_expr *b) {
  if (a->kind == TS_E_INT && b->kind == TS_E_INT && ts_type_eq(a->type, TS_INDEX) && ts_type_eq(b->type, TS_INDEX)) {
    const ts_expr *e = fold_index(ir, k, a->i, b->i);
    if (e) return e;
  }
  assert(ts_type_eq(a->type, b->type) && ts_bin_allowed(k, a->type));
  const ts_expr *folded = fold_bin(ir, k, a, b);
  if (folded) return folded;
  ts_type t = ts__ekind_is_compare(k) ? ts_vector(TS_BOOL, a->type.lanes) : a->type;
  ts_expr head = {.kind = (uint8_t)k, .type = t, .nargs = 2};
  return intern(ir, &head, (const ts_expr *[]){a, b});
}

const ts_expr *ts_not(ts_ir *ir, const ts_expr *a) {
  assert(a->type.code == TS_BOOL);
  if (a->kind == TS_E_INT) return ts_const_int(ir, a->type, !a->i);
  ts_expr head = {.kind = TS_E_NOT, .type = a->type, .nargs = 1};
  return intern(ir, &head, &a);
}

const ts_expr *ts_cast(ts_ir *ir, ts_type t, const ts_expr *a) {
  assert(t.lanes == a->type.lanes);
  if (ts_type_eq(t, a->type)) return a;
  if (a->kind == TS_E_INT) {
    return ts_code_is_float(t.code) ? ts_const_float(ir, t, ts__int_to_float(t.code, a->type.code, a->i))
                                    : ts_const_int(ir, t, a->i);
  }
  if (a->kind == TS_E_FLOAT) {
    return ts_code_is_float(t.code) ? ts_const_float(ir, t, a->f) : ts_const_int(ir, t, ts__float_to_int(t.code, a->f));
  }
  ts_expr head = {.kind = TS_E_CAST, .type = t, .nargs = 1};
  return intern(ir, &head, &a);
}

const ts_expr *ts_bitcast(ts_ir *ir, ts_type t, const ts_expr *a) {
  assert(t.lanes * ts_code_bits(t.code) == a->type.lanes * ts_code_bits(a->type.code));
  if (ts_type_eq(t, a->type)) return a;
  ts_expr head = {.kind = TS_E_BITCAST, .type = t, .nargs = 1};
  return intern(ir, &head, &a);
}

const ts_expr *ts_select(ts_ir *ir, const ts_expr *c, const ts_expr *a, const ts_expr *b) {
  assert(c->type.code == TS_BOOL && ts_type_eq(a->type, b->type));
  assert(c->type.lanes == 1 || c->type.lanes == a->type.lanes);
  if (c->kind == TS_E_INT) return c->i ? a : b;
  ts_expr head = {.kind = TS_E_SELECT, .type = a->type, .nargs = 3};
  return intern(ir, &head, (const ts_expr *[]){c, a, b});
}

const ts_expr *ts_load(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx) { return ts_vload(ir, b, idx, 1); }

const ts_expr *ts_vload(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx, int lanes) {
  assert(lanes == 1 || b->ndim > 0);
  for (int i = 0; i < b->ndim; i++) assert(ts_type_eq(idx[i]->type, TS_INDEX));
  ts_expr head = {.kind = TS_E_LOAD, .type = ts_vector(b->code, lanes), .nargs = (uint32_t)b->ndim, .buf = b};
  return intern(ir, &head, idx);
}

const ts_expr *ts_broadcast(ts_ir *ir, const ts_expr *a, int lanes) {
  assert(a->type.lanes == 1);
  if (lanes == 1) return a;
  ts_expr head = {.kind = TS_E_BROADCAST, .type = ts_vector(a->type.code, lanes), .nargs = 1};
  return intern(ir, &head, &a);
}

const ts_expr *ts_call(ts_ir *ir, ts_type t, const char *callee, const ts_expr *const *args, int n) {
  ts_expr head = {.kind = TS_E_CALL, .type = t, .nargs = (uint32_t)n, .callee = callee};
  return intern(ir, &head, args);
}

const ts_expr *ts_expr_with(ts_ir *ir, const ts_expr *e, const ts_expr *const *args) {
  bool unchanged = e->nargs == 0 || memcmp(e->arg, args, sizeof(*args) * e->nargs) == 0;
  return unchanged ? e : ts__expr_rebuild(ir, e, args);
}

// The expression of e's kind over `args`; e is no leaf.
const ts_expr *ts__expr_rebuild(ts_ir *ir, const ts_expr *e, const ts_expr *const *args) {
  switch (e->kind) {
    case TS_E_NOT:
      return ts_not(ir, args[0]);
    case TS_E_SELECT:
      return ts_select(ir, args[0], args[1], args[2]);
    case TS_E_CAST:
      return ts_cast(ir, e->type, args[0]);
    case TS_E_BITCAST:
      return ts_bitcast(ir, e->type, args[0]);
    case TS_E_BROADCAST:
      return ts_broadcast(ir, args[0], e->type.lanes);
    case TS_E_LOAD:
      return ts_vload(ir, e->buf, args, e->type.lanes);
    case TS_E_CALL:
      return ts_call(ir, e->type, e->callee, args, (int)e->nargs);
    default:
      return ts_bin(ir, (ts_ekind)e->kind, args[0], args[1]);
  }
}

bool ts_is_int(const ts_expr *e, int64_t *v) {
  if (e->kind != TS_E_INT) return false;
  if (v) *v = e->i;
  return true;
}

ts_buffer *ts_buffer_new(ts_ir *ir, const char *name, ts_code code, int ndim, const ts_expr *const *shape,
                         const char *scope) {
  ts_buffer *b = ts_new(ir->arena, ts_buffer);
  b->name = ts_arena_strdup(ir->arena, name);
  b->id = ts_ir_next_id(ir);
  b->code = code;
  b->ndim = ndim;
  b->shape = ndim ? ts_arena_dup(ir->arena, shape, sizeof(*shape) * (size_t)ndim) : NULL;
  b->scope = strcmp(scope, "global") == 0 ? "global" : ts_arena_strdup(ir->arena, scope);
  return b;
}

void ts_buffer_skew(ts_ir *ir, ts_buffer *b) {
  const ts_expr **s = ts_new_array(ir->arena, const ts_expr *, b->ndim), *factor = ts_int(ir, b->skew.factor);
  s[b->ndim - 1] = ts_int(ir, 1);
  for (int d = b->ndim - 2; d >= 0; d--) {
    s[d] = ts_is_int(s[d + 1], NULL) && s[d + 1]->i == 1 ? b->shape[d + 1] : ts_mul(ir, b->shape[d + 1], s[d + 1]);
    if (d != b->skew.axis) continue;
    const ts_expr *short_by = ts_bin(ir, TS_E_FLOORMOD, ts_sub(ir, ts_int(ir, b->skew.offset), s[d]), factor);
    s[d] = ts_add(ir, s[d], short_by);
  }
  b->stride = s;
}
