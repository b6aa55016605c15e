// verify: the rules that every function keeps. A complaint names the function, the rule and the line it is about.
#include "ir/ir_impl.h"

typedef struct verifier {
  const ts_func *f;
  ts_diag *d;
  ts_arena *tmp;
  TS_VEC(const void *) visible;  // variables and buffers bound here
  ts__ptrmap ids, names;         // of loops and blocks met so far
  const ts_stmt *at;             // statement being checked, for the complaint
} verifier;

// The line a complaint is about: the first of the statement's text.
static void add_line(ts_text *t, const ts_stmt *s) {
  ts_text whole = {0};
  ts_stmt_print(&whole, s, 0);
  const char *text = ts_text_str(&whole), *end = strchr(text, '\n');
  size_t n = end ? (size_t)(end - text) : strlen(text);
  ts_text_addn(t, text, TS_MIN(n, 400));
  ts_text_free(&whole);
}

TS_PRINTF(2, 3) static bool complain(const verifier *v, const char *fmt, ...) {
  ts_text line = {0};
  char what[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  if (v->at) add_line(&line, v->at);
  bool bare = !v->at;
  ts_bug(v->d, "invalid-function", bare ? "%s: %s%s" : "%s: %s, at: %s", v->f->name, what, ts_text_str(&line));
  ts_text_free(&line);
  return false;
}

static bool is_visible(const verifier *v, const void *p) {
  for (size_t i = v->visible.n; i-- > 0;) {
    if (v->visible.p[i] == p) return true;
  }
  return false;
}

static bool bind(verifier *v, const void *p, const char *name) {
  if (is_visible(v, p)) return complain(v, "'%s' is bound inside its own scope", name);
  ts_vec_push(v->tmp, &v->visible, p);
  return true;
}

// --- expressions ----------------------------------------------------------------------------------------------

static bool check_expr(verifier *v, const ts_expr *e);

static bool check_index(verifier *v, const ts_expr *e, const char *what) {
  if (!e) return complain(v, "%s is missing", what);
  if (!ts_type_eq(e->type, TS_INDEX)) return complain(v, "%s is not i64", what);
  return check_expr(v, e);
}

static bool check_use(verifier *v, const ts_buffer *b) {
  return is_visible(v, b) || complain(v, "buffer '%s' is not visible here", b->name);
}

static bool check_load(verifier *v, const ts_expr *e) {
  TS_TRY(check_use(v, e->buf));
  if ((int)e->nargs != e->buf->ndim)
    return complain(v, "'%s' has %d dimensions, not %u", e->buf->name, e->buf->ndim, e->nargs);
  if (e->type.code != e->buf->code) return complain(v, "the load of '%s' has the wrong type", e->buf->name);
  if (e->type.lanes != 1 && e->buf->ndim == 0)
    return complain(v, "vector load of the single element '%s'", e->buf->name);
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (!ts_type_eq(e->arg[i]->type, TS_INDEX)) return complain(v, "an index of '%s' is not i64", e->buf->name);
  }
  return true;
}

static bool is_copied(const ts_expr *e) {
  int bytes = ts_code_bytes(e->type.code) * e->type.lanes;
  return e->kind == TS_E_LOAD && bytes <= 64 && (bytes & (bytes - 1)) == 0;
}

static bool is_input(const verifier *v, const ts_buffer *b);

static bool is_count(const ts_expr *e) { return ts_is_int(e, NULL) && e->i >= 1 && e->i < (int64_t)1 << 31; }

static bool is_shared_element(const ts_expr *e) {
  return e->kind == TS_E_LOAD && e->type.lanes == 1 && strncmp(e->buf->scope, "shared", 6) == 0;
}

static bool check_bulk(verifier *v, const ts_expr *const *a) {
  if (!is_shared_element(a[0]) || a[1]->kind != TS_E_LOAD || !ts_type_eq(a[0]->type, a[1]->type))
    return complain(v, "'bulk.copy' takes an element of shared memory and one of another buffer, of one type");
  if (!is_count(a[3]) || !is_count(a[4]) || !is_count(a[5]) || !is_count(a[6]))
    return complain(v, "'bulk.copy' takes constant rows, columns, stride and blocks");
  return !is_input(v, a[0]->buf) || complain(v, "store to the input '%s'", a[0]->buf->name);
}

static bool check_barrier(verifier *v, const ts_expr *e, ts_effect f) {
  const ts_expr *const *a = e->arg, *bar = a[f == TS_EFF_BULK_COPY ? 2 : 0];
  if (!is_shared_element(bar) || bar->type.code != TS_U64) return complain(v, "a barrier is an element of u64 in shared memory");
  if (f == TS_EFF_BARRIER_INIT || f == TS_EFF_BARRIER_INIT_ALL) return is_count(a[1]) || complain(v, "'%s' takes a constant number of arrivals", e->callee);
  if (f == TS_EFF_BARRIER_WAIT) return ts_type_eq(a[1]->type, TS_INDEX) || complain(v, "the parity is not i64");
  return f != TS_EFF_BULK_COPY || check_bulk(v, a);
}

static bool check_effect(verifier *v, const ts_expr *e, ts_effect f) {
  const ts_expr *const *a = e->arg;
  const char *name = e->callee;
  if ((int)e->nargs != ts__effect_args(f)) return complain(v, "'%s' takes %d arguments", name, ts__effect_args(f));
  if (ts__effect_is_value(f)) {
    if (!ts_type_eq(a[0]->type, e->type)) return complain(v, "'%s' returns the type of its first argument", name);
    return ts_type_eq(a[1]->type, TS_INDEX) || complain(v, "the second argument of '%s' is not i64", name);
  }
  if (!v->at || v->at->kind != TS_S_EVAL || v->at->eval != e) return complain(v, "'%s' stands in an expression", name);
  if (f >= TS_EFF_BARRIER_INIT) return check_barrier(v, e, f);
  if (f == TS_EFF_REGISTERS)
    return (ts_is_int(a[0], NULL) && a[0]->i >= 24 && a[0]->i <= 256 && a[0]->i % 8 == 0) || complain(v, "'%s' takes a multiple of 8 from 24 to 256", name);
  if (f == TS_EFF_ASYNC_WAIT)
    return (ts_is_int(a[0], NULL) && a[0]->i >= 0) || complain(v, "'%s' takes a constant", name);
  if (f != TS_EFF_ASYNC_COPY) return true;
  if (!is_copied(a[0]) || !is_copied(a[1]) || !ts_type_eq(a[0]->type, a[1]->type))
    return complain(v, "'%s' takes two elements or vectors of buffers, of one type", name);
  return !is_input(v, a[0]->buf) || complain(v, "store to the input '%s'", a[0]->buf->name);
}

// address(b[i]): u32 of shared memory, u64 of other.
static bool check_address(verifier *v, const ts_expr *e) {
  bool plain = e->nargs == 1 && e->arg[0]->kind == TS_E_LOAD && e->type.lanes == 1;
  if (!plain) return complain(v, "'address' takes an element of a buffer");
  bool shared = strncmp(e->arg[0]->buf->scope, "shared", 6) == 0;
  return e->type.code == (shared ? TS_U32 : TS_U64) || complain(v, "an address is u32 in shared memory, u64 elsewhere");
}

static bool check_call(verifier *v, const ts_expr *e) {
  int want = ts__math_args(e->callee);
  ts_effect effect;
  if (ts__effect_find(e->callee, &effect)) return check_effect(v, e, effect);
  if (strcmp(e->callee, "address") == 0) return check_address(v, e);
  if (ts_asm_of(NULL, e, &(ts_asm){0})) return true;
  if (want < 0) return strncmp(e->callee, "llvm.", 5) == 0 || complain(v, "unknown function '%s'", e->callee);
  if (want != (int)e->nargs) return complain(v, "'%s' takes %d arguments", e->callee, want);
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (!ts_type_eq(e->arg[i]->type, e->type)) return complain(v, "'%s' returns the type of its arguments", e->callee);
  }
  return ts_code_is_float(e->type.code) || complain(v, "'%s' takes floats", e->callee);
}

static bool check_bin(verifier *v, const ts_expr *e) {
  const ts_expr *a = e->arg[0], *b = e->arg[1];
  ts_type want = ts__ekind_is_compare(e->kind) ? ts_vector(TS_BOOL, a->type.lanes) : a->type;
  bool ok = ts_type_eq(a->type, b->type) && ts_type_eq(e->type, want) && ts_bin_allowed(e->kind, a->type);
  return ok || complain(v, "operands of '%s' do not fit it", ts_ekind_name(e->kind));
}

static bool check_types(verifier *v, const ts_expr *e) {
  const ts_expr *const *a = e->arg;
  bool ok;
  switch (e->kind) {
    case TS_E_INT:
      ok = e->type.lanes == 1 && !ts_code_is_float(e->type.code) && ts__wrap(e->type.code, e->i) == e->i;
      break;
    case TS_E_FLOAT:
      ok = e->type.lanes == 1 && ts_code_is_float(e->type.code);
      break;
    case TS_E_VAR:
      return (is_visible(v, e->var) && ts_type_eq(e->type, e->var->type)) ||
             complain(v, "variable '%s' is not bound here", e->var->name);
    case TS_E_NOT:
      ok = a[0]->type.code == TS_BOOL && ts_type_eq(e->type, a[0]->type);
      break;
    case TS_E_SELECT:
      ok = a[0]->type.code == TS_BOOL && ts_type_eq(a[1]->type, a[2]->type) && ts_type_eq(e->type, a[1]->type) &&
           (a[0]->type.lanes == 1 || a[0]->type.lanes == e->type.lanes);
      break;
    case TS_E_CAST:
      ok = a[0]->type.lanes == e->type.lanes;
      break;
    case TS_E_BITCAST:
      ok = a[0]->type.lanes * ts_code_bits(a[0]->type.code) == e->type.lanes * ts_code_bits(e->type.code);
      break;
    case TS_E_BROADCAST:
      ok = a[0]->type.lanes == 1 && e->type.lanes > 1 && a[0]->type.code == e->type.code;
      break;
    case TS_E_LOAD:
      return check_load(v, e);
    case TS_E_CALL:
      return check_call(v, e);
    default:
      return check_bin(v, e);
  }
  return ok || complain(v, "the operands of '%s' do not fit it", ts_ekind_name(e->kind));
}

static bool check_expr(verifier *v, const ts_expr *e) {
  TS_TRY(check_types(v, e));
  for (uint32_t i = 0; i < e->nargs; i++) TS_TRY(check_expr(v, e->arg[i]));
  return true;
}

static bool check_bool(verifier *v, const ts_expr *e) {
  if (!ts_type_eq(e->type, ts_scalar(TS_BOOL))) return complain(v, "the condition is not bool");
  return check_expr(v, e);
}

// --- buffers and regions --------------------------------------------------------------------------------------

bool ts_scope_known(const char *s) {
  static const char *const known[] = {
      "global", "local", "shared", "shared.swizzle0", "shared.swizzle32", "shared.swizzle64", "shared.swizzle128"};
  for (size_t i = 0; i < TS_COUNTOF(known); i++) {
    if (strcmp(s, known[i]) == 0) return true;
  }
  return strncmp(s, "fragment.", 9) == 0;
}

static bool is_input(const verifier *v, const ts_buffer *b) {
  for (int i = 0; i < v->f->nparams; i++) {
    if (v->f->params[i].buf == b) return v->f->params[i].role == TS_IN;
  }
  return false;
}

static bool check_buffer(verifier *v, const ts_buffer *b) {
  if (b->ndim < 0 || b->ndim > TS__MAX_DIMS)
    return complain(v, "'%s' has more than %d dimensions", b->name, TS__MAX_DIMS);
  if (!ts_scope_known(b->scope)) return complain(v, "'%s' has the unknown scope '%s'", b->name, b->scope);
  for (int d = 0; d < b->ndim; d++) {
    TS_TRY(check_index(v, b->shape[d], "a dimension"));
    if (b->stride) TS_TRY(check_index(v, b->stride[d], "a stride"));
  }
  if (b->offset) TS_TRY(check_index(v, b->offset, "the offset"));
  if (b->distinct && !is_input(v, b)) return complain(v, "'%s' is no parameter that is only read: its elements cannot be distinct", b->name);
  return bind(v, b, b->name);
}

static bool check_regions(verifier *v, const ts_region *r, int n) {
  for (int i = 0; i < n; i++) {
    TS_TRY(check_use(v, r[i].buf));
    for (int d = 0; d < r[i].buf->ndim; d++) {
      TS_TRY(check_index(v, r[i].dim[d].min, "a region") && check_index(v, r[i].dim[d].extent, "a region's extent"));
    }
  }
  return true;
}

// --- statements -----------------------------------------------------------------------------------------------

static bool check_stmt(verifier *v, const ts_stmt *s);

static bool check_id(verifier *v, uint32_t id, const char *what) {
  uint64_t have;
  const void *key = (const void *)(uintptr_t)id;
  if (id == 0) return complain(v, "a %s without an id", what);
  if (ts__ptrmap_get(&v->ids, key, &have)) return complain(v, "two loops or blocks have the id %u", id);
  ts__ptrmap_put(&v->ids, key, 1);
  return true;
}

static bool check_notes(verifier *v, ts_notes n) {
  for (int i = 1; i < n.n; i++) {
    if (strcmp(n.p[i - 1].key, n.p[i].key) >= 0) return complain(v, "notes are not in order at '%s'", n.p[i].key);
  }
  return true;
}

static bool check_block_name(verifier *v, const char *name) {
  uint64_t have;
  const void *key = (const void *)(uintptr_t)(ts_hash64(name, strlen(name), 0) | 1);
  if (ts__ptrmap_get(&v->names, key, &have) && strcmp((const char *)(uintptr_t)have, name) == 0) {
    return complain(v, "two blocks are named '%s'", name);
  }
  ts__ptrmap_put(&v->names, key, (uint64_t)(uintptr_t)name);
  return true;
}

static bool check_iters(verifier *v, const ts_block *b) {
  for (int i = 0; i < b->niters; i++) {
    const ts_iter *it = &b->iters[i];
    if (it->kind >= TS_ITER_KIND__COUNT) return complain(v, "iterator '%s' is of no kind", it->var->name);
    if (!ts_type_eq(it->var->type, TS_INDEX)) return complain(v, "iterator '%s' is not i64", it->var->name);
    TS_TRY(check_index(v, it->dom.min, "a domain") && check_index(v, it->dom.extent, "a domain's extent"));
    TS_TRY(check_index(v, it->value, "a binding"));
  }
  if (b->predicate) TS_TRY(check_bool(v, b->predicate));
  for (int i = 0; i < b->niters; i++) TS_TRY(bind(v, b->iters[i].var, b->iters[i].var->name));
  return true;
}

static bool check_operands(verifier *v, const ts_block *b) {
  if (!b->intrin && b->noperands) return complain(v, "operands without an intrinsic");
  for (int i = 0; i < b->noperands; i++) {
    const ts_operand *o = &b->operands[i];
    if (o->ndim < 0 || o->ndim > TS__MAX_DIMS)
      return complain(v, "operand '%s' has more than %d dimensions", o->name, TS__MAX_DIMS);
    TS_TRY(check_use(v, o->buf));
    for (int d = 0; d < o->buf->ndim; d++) TS_TRY(check_index(v, o->start[d], "an operand's start"));
  }
  return true;
}

static bool check_block(verifier *v, const ts_stmt *s) {
  const ts_block *b = s->block;
  size_t visible = v->visible.n;
  if (v->f->stage == TS_STAGE_LOOPS) return complain(v, "a block in a lowered function");
  TS_TRY(check_id(v, s->id, "block") && check_block_name(v, b->name) && check_iters(v, b) && check_notes(v, b->notes));
  TS_TRY(check_regions(v, b->reads, b->nreads) && check_regions(v, b->writes, b->nwrites) && check_operands(v, b));
  for (int i = 0; i < b->nallocs; i++) TS_TRY(check_buffer(v, b->allocs[i]));
  if (b->init) TS_TRY(check_stmt(v, b->init));
  v->at = s;
  if (!b->body) return complain(v, "a block without a body");
  TS_TRY(check_stmt(v, b->body));
  v->visible.n = visible;
  return true;
}

static bool check_loop(verifier *v, const ts_stmt *s) {
  size_t visible = v->visible.n;
  TS_TRY(check_id(v, s->id, "loop") && check_index(v, s->loop.min, "the start") &&
         check_index(v, s->loop.extent, "the extent"));
  if (!ts_type_eq(s->loop.var->type, TS_INDEX)) return complain(v, "the loop variable is not i64");
  if (s->loop.kind >= TS_LOOP_KIND__COUNT || s->loop.axis >= TS_AXIS__COUNT) return complain(v, "a loop of no kind");
  if ((s->loop.kind == TS_THREAD) != (s->loop.axis != TS_AXIS_NONE))
    return complain(v, "thread loops have an axis and others have none");
  TS_TRY(check_notes(v, s->loop.notes) && bind(v, s->loop.var, s->loop.var->name) && check_stmt(v, s->loop.body));
  v->visible.n = visible;
  return true;
}

static bool check_store(verifier *v, const ts_stmt *s) {
  const ts_buffer *b = s->store.buf;
  TS_TRY(check_use(v, b));
  if (is_input(v, b)) return complain(v, "store to the input '%s'", b->name);
  if (s->store.value->type.code != b->code) return complain(v, "the value stored in '%s' has another type", b->name);
  if (s->store.value->type.lanes != 1 && b->ndim == 0)
    return complain(v, "vector store to the single element '%s'", b->name);
  for (int d = 0; d < b->ndim; d++) TS_TRY(check_index(v, s->store.idx[d], "an index"));
  return check_expr(v, s->store.value);
}

static bool check_let(verifier *v, const ts_stmt *s) {
  if (!ts_type_eq(s->let.var->type, s->let.value->type))
    return complain(v, "'%s' has another type than its value", s->let.var->name);
  return check_expr(v, s->let.value) && bind(v, s->let.var, s->let.var->name) && check_stmt(v, s->let.body);
}

static bool check_alloc(verifier *v, const ts_stmt *s) {
  if (v->f->stage == TS_STAGE_BLOCKS) return complain(v, "an alloc statement before lowering");
  return check_buffer(v, s->alloc.buf) && check_stmt(v, s->alloc.body);
}

static bool check_stmt(verifier *v, const ts_stmt *s) {
  size_t visible = v->visible.n;
  v->at = s;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) {
        TS_TRY(check_stmt(v, s->seq.child[i]));
        if (s->seq.child[i]->kind == TS_S_SEQ) return complain(v, "a sequence inside a sequence");
      }
      break;
    case TS_S_FOR:
      TS_TRY(check_loop(v, s));
      break;
    case TS_S_BLOCK:
      TS_TRY(check_block(v, s));
      break;
    case TS_S_STORE:
      TS_TRY(check_store(v, s));
      break;
    case TS_S_IF:
      TS_TRY(check_bool(v, s->cond.cond) && check_stmt(v, s->cond.then));
      if (s->cond.other) TS_TRY(check_stmt(v, s->cond.other));
      break;
    case TS_S_LET:
      TS_TRY(check_let(v, s));
      break;
    case TS_S_ALLOC:
      TS_TRY(check_alloc(v, s));
      break;
    case TS_S_EVAL:
      TS_TRY(check_expr(v, s->eval));
      break;
    default:
      return complain(v, "a statement of no kind");
  }
  v->visible.n = visible;
  return true;
}

// --- coverage: what a block declares against what its body touches ----------------------------------------------

static const ts_region *region_of(const ts_region *r, int n, const ts_buffer *b) {
  for (int i = 0; i < n; i++) {
    if (r[i].buf == b) return &r[i];
  }
  return NULL;
}

// Only a provable gap counts: constant ranges that do not contain each other.
static bool gap(const ts_range *declared, const ts_range *found) {
  int64_t a, n, b, m;
  if (!ts_is_int(declared->min, &a) || !ts_is_int(declared->extent, &n)) return false;
  if (!ts_is_int(found->min, &b) || !ts_is_int(found->extent, &m)) return false;
  return b < a || b - a > n - m;
}

static bool check_cover(verifier *v, const char *what, const ts_region *declared, int nd, const ts_region *found,
                        int nf) {
  for (int i = 0; i < nf; i++) {
    const ts_region *r = region_of(declared, nd, found[i].buf);
    if (!r) return complain(v, "the block does not declare that it %s '%s'", what, found[i].buf->name);
    for (int d = 0; d < r->buf->ndim; d++) {
      if (gap(&r->dim[d], &found[i].dim[d]))
        return complain(v, "the block %s more of '%s' than it declares", what, found[i].buf->name);
    }
  }
  return true;
}

typedef struct block_list {
  ts_arena *tmp;
  TS_VEC(const ts_stmt *) v;
} block_list;
static bool list_block(void *arg, const ts_stmt *s) {
  block_list *l = arg;
  if (s->kind == TS_S_BLOCK) ts_vec_push(l->tmp, &l->v, s);
  return true;
}

// Infer the accesses anew in a context of its own and hold them against those declared.
static bool check_coverage(verifier *v) {
  ts_ir *ir = ts_ir_new(v->tmp);
  const ts_func *copy = ts_func_clone(ir, v->f);
  block_list declared = {.tmp = v->tmp}, found = {.tmp = v->tmp};
  ts_stmt_visit(copy->body, list_block, NULL, &declared);
  ts_stmt_visit(ts_stmt_infer_access(ir, copy->body), list_block, NULL, &found);
  for (size_t i = 0; i < declared.v.n; i++) {
    const ts_block *a = declared.v.p[i]->block, *b = found.v.p[i]->block;
    v->at = declared.v.p[i];
    TS_TRY(check_cover(v, "reads", a->reads, a->nreads, b->reads, b->nreads));
    TS_TRY(check_cover(v, "writes", a->writes, a->nwrites, b->writes, b->nwrites));
  }
  return true;
}

// --- functions ------------------------------------------------------------------------------------------------

// A promise about elements is about integers, and one that can be kept.
static bool check_distinct(verifier *v, const ts_param *p) {
  int64_t count = 1, extent;
  if (!p->buf->distinct) return true;
  if (p->buf->code != TS_I32 && p->buf->code != TS_I64) return complain(v, "distinct elements of '%s' are i32 or i64", p->buf->name);
  for (int d = 0; d < p->buf->ndim; d++)
    if (!ts_is_int(p->buf->shape[d], &extent) || __builtin_mul_overflow(count, extent, &count)) count = 0;
  if (count > p->buf->distinct)
    return complain(v, "'%s' has %lld elements, there are not as many numbers below %lld", p->buf->name, (long long)count, (long long)p->buf->distinct);
  return true;
}

static bool check_signature(verifier *v) {
  for (int i = 0; i < v->f->ndims; i++) {
    const ts_dim *d = &v->f->dims[i];
    if (!ts_type_eq(d->var->type, TS_INDEX)) return complain(v, "dimension '%s' is not i64", d->var->name);
    if (d->lo < 0 || d->lo > d->hi || d->multiple < 1)
      return complain(v, "the facts of dimension '%s' contradict", d->var->name);
    TS_TRY(bind(v, d->var, d->var->name));
  }
  for (int i = 0; i < v->f->nparams; i++) {
    const ts_buffer *b = v->f->params[i].buf;
    bool free_scope = strcmp(v->f->name, "impl") == 0;  // of an intrinsic: the scope it wants of its operand
    if (!free_scope && strcmp(b->scope, "global") != 0)
      return complain(v, "parameter '%s' is not in global memory", b->name);
    TS_TRY(check_buffer(v, b) && check_distinct(v, &v->f->params[i]));
  }
  return check_notes(v, v->f->notes);
}

static bool check_root(verifier *v) {
  const ts_stmt *s = v->f->body;
  if (s->kind != TS_S_BLOCK) return complain(v, "the body is not the root block");
  const ts_block *b = s->block;
  bool plain =
      strcmp(b->name, "root") == 0 && !b->niters && !b->predicate && !b->init && !b->intrin && !b->explicit_access;
  return plain || complain(v, "the outermost block is not a plain block named root");
}

static bool verify(verifier *v) {
  TS_TRY(check_signature(v));
  if (v->f->stage == TS_STAGE_BLOCKS) TS_TRY(check_root(v));
  TS_TRY(check_stmt(v, v->f->body));
  return v->f->stage == TS_STAGE_LOOPS || check_coverage(v);
}

bool ts_func_verify(const ts_func *f, ts_diag *d) {
  ts_arena *tmp = ts_arena_new("verify");
  verifier v = {.f = f, .d = d, .tmp = tmp, .ids = {.arena = tmp}, .names = {.arena = tmp}};
  bool ok = verify(&v);
  ts_arena_free(tmp);
  return ok;
}
