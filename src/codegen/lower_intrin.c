// Tensorized blocks: the implementation of the intrinsic, its parameters being views of the block's buffers.
#include "codegen/lower.h"
#include "op/intrin.h"

typedef struct views {
  ts__lower *l;
  const ts_block *block;
  const ts_func *impl;
  int threads;
  bool refused;
} views;

static bool is_fragment(const ts_buffer *b) { return strncmp(b->scope, "fragment.", 9) == 0; }

static const ts_operand *operand_of(const views *v, const ts_buffer *param) {
  for (int i = 0; i < v->impl->nparams; i++) {
    if (v->impl->params[i].buf != param) continue;
    for (int k = 0; k < v->block->noperands; k++)
      if (strcmp(v->block->operands[k].name, param->name) == 0) return &v->block->operands[k];
  }
  return NULL;
}

typedef struct reach {
  const ts_buffer *buf;
  int64_t end;
} reach;

static void reach_to(reach *r, const ts_buffer *b, const ts_expr *const *idx, int lanes) {
  int64_t at;
  if (b == r->buf && b->ndim && ts_is_int(idx[b->ndim - 1], &at)) r->end = TS_MAX(r->end, at + lanes);
}

static bool reach_load(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) reach_to(arg, e->buf, e->arg, e->type.lanes);
  return true;
}

static bool reach_store(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_STORE) reach_to(arg, s->store.buf, s->store.idx, s->store.value->type.lanes);
  return true;
}

// Elements of a fragment that the implementation knows each thread to hold. More than its share where some are held
// twice.
static int64_t held(views *v, const ts_buffer *param) {
  reach r = {param, 0};
  ts_stmt_visit(v->impl->body, reach_store, reach_load, &r);
  return r.end;
}

// The parameter's element idx is element start[d] + sum idx[i] * step[i][d] of the block's buffer.
static const ts_buffer *view_access(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  views *v = arg;
  ts_ir *ir = v->l->ir;
  const ts_operand *o = operand_of(v, b);
  if (!o) return NULL;
  if (is_fragment(o->buf)) return ts__fragment_access(v->l, o, b, v->threads, held(v, b), idx, out);
  for (int d = 0; d < o->buf->ndim; d++) {
    out[d] = o->start[d];
    for (int i = 0; i < o->ndim; i++)
      if (o->step[i][d]) out[d] = ts_add(ir, out[d], ts_mul(ir, idx[i], ts_int(ir, o->step[i][d])));
  }
  return o->buf;
}

// Elements of the block's buffer from one element of operand dimension i to the next; false when not a constant.
static bool view_stride(views *v, const ts_operand *o, int i, int64_t *out) {
  int64_t sum = 0, k;
  for (int d = 0; d < o->buf->ndim; d++) {
    if (!o->step[i][d]) continue;
    if (!ts_const_value(v->l->an, ts__stride(v->l->ir, o->buf, d), &k)) return false;
    sum += k * o->step[i][d];
  }
  return *out = sum, true;
}

// A vector access of `lanes` elements of parameter b: are they neighbours in the block's buffer too?
static bool neighbours(views *v, const ts_buffer *b, int lanes) {
  const ts_operand *o = operand_of(v, b);
  int64_t run = 1, stride, extent;
  if (!o || is_fragment(o->buf)) return true;
  for (int i = o->ndim - 1; i >= 0 && run < lanes; i--) {
    if (!ts_is_int(b->shape[i], &extent)) return false;
    if (extent > 1 && (!view_stride(v, o, i, &stride) || stride != run)) return false;
    run *= extent;
  }
  return true;
}

static void check_vector(views *v, const ts_buffer *b, int lanes) {
  if (lanes <= 1 || v->refused || neighbours(v, b, lanes)) return;
  ts_refuse(v->l->d, "operand-layout",
            "block %s: intrinsic %s takes %d elements of operand %s at once, which do not lie side by side",
            v->block->name, v->block->intrin, lanes, b->name);
  v->refused = true;
}

static bool check_load(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) check_vector(arg, e->buf, e->type.lanes);
  return true;
}

static bool check_store(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_STORE) check_vector(arg, s->store.buf, s->store.value->type.lanes);
  return true;
}

bool ts__scope_fits(const char *want, const ts_buffer *b) {
  if (strcmp(want, "global") == 0) return !is_fragment(b);
  if (strcmp(want, "shared") == 0) return strncmp(b->scope, "shared", 6) == 0;
  if (strcmp(want, "shared.swizzle0") == 0 && strcmp(b->scope, "shared") == 0) return true;
  return strcmp(want, b->scope) == 0;
}

// An operand is in the memory that the implementation wants it in.
static bool scopes_fit(views *v) {
  for (int i = 0; i < v->impl->nparams; i++) {
    const ts_buffer *p = v->impl->params[i].buf;
    const ts_operand *o = operand_of(v, p);
    if (!o || ts__scope_fits(p->scope, o->buf)) continue;
    return ts_refuse(v->l->d, "operand-scope",
                     "block %s: intrinsic %s wants its operand %s in scope %s; %s is in scope %s", v->block->name,
                     v->block->intrin, p->name, p->scope, o->buf->name, o->buf->scope);
  }
  return true;
}

// Where the implementation states strides, the operand has them.
static bool strides_fit(views *v) {
  for (int i = 0; i < v->impl->nparams; i++) {
    const ts_buffer *p = v->impl->params[i].buf;
    const ts_operand *o = operand_of(v, p);
    for (int d = 0; o && p->stride && d < p->ndim; d++) {
      int64_t want, have;
      if (!ts_is_int(p->stride[d], &want) || (view_stride(v, o, d, &have) && have == want)) continue;
      return ts_refuse(v->l->d, "operand-layout",
                       "block %s: intrinsic %s wants elements of operand %s %lld apart in dimension %d", v->block->name,
                       v->block->intrin, p->name, (long long)want, d);
    }
  }
  return true;
}

// Is e, in elements, a multiple of n for sure?
static bool divides(views *v, const ts_expr *e, int64_t n) {
  int64_t r;
  return ts_const_value(v->l->an, ts_bin(v->l->ir, TS_E_FLOORMOD, e, ts_int(v->l->ir, n)), &r) && r == 0;
}

// Where the implementation states an alignment, the operand begins at a multiple of it, and so does what lies behind each step but
// those from one element to the next.
static bool aligned(views *v) {
  for (int i = 0; i < v->impl->nparams; i++) {
    const ts_buffer *p = v->impl->params[i].buf;
    const ts_operand *o = operand_of(v, p);
    int64_t n = p->align / ts_code_bytes(p->code), stride;
    if (!o || n < 2) continue;
    bool ok = divides(v, ts__flat_index(v->l->ir, o->buf, o->start), n);
    for (int d = 0; d < o->ndim && ok; d++) ok = view_stride(v, o, d, &stride) && (stride == 1 || stride % n == 0);
    if (ok) continue;
    return ts_refuse(v->l->d, "operand-layout", "block %s: intrinsic %s wants operand %s, and its rows, at multiples of %d bytes",
                     v->block->name, v->block->intrin, p->name, p->align);
  }
  return true;
}

const ts_stmt *ts__lower_intrin(ts__lower *l, const ts_block *b) {
  const ts_intrin *in = ts_intrin_load(l->ir, b->intrin, l->d);
  const char *missing = NULL;
  if (in && !ts_intrin_fits(in, l->t, &missing)) {
    ts_refuse(l->d, "missing-feature", "block %s: intrinsic %s needs %s, which %s lacks", b->name, b->intrin, missing,
              l->t->arch);
    in = NULL;
  }
  if (!in) return l->failed = true, NULL;
  views v = {.l = l, .block = b, .impl = ts_func_clone(l->ir, in->impl), .threads = in->threads};
  if (!scopes_fit(&v) || !strides_fit(&v) || !aligned(&v)) return l->failed = true, NULL;
  const ts_stmt *body = v.impl->body;
  ts_stmt_visit(body, check_store, check_load, &v);
  if (v.refused) return l->failed = true, NULL;
  const ts_block *root = body->kind == TS_S_BLOCK ? body->block : NULL;  // of a function with blocks
  if (root) body = root->body;
  for (int i = 0; root && i < root->nallocs; i++) body = ts_alloc(l->ir, root->allocs[i], body);
  body = ts__map_access(l->ir, body, view_access, &v);
  return l->failed ? NULL : body;
}
