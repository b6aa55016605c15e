// How large buffers of a kernel will be at least. Lowering gives a buffer the box of elements that are touched below the place of its allocation,
// which is the deepest statement that holds all uses or one around that. Elements named in the first and in the last iteration of the loops
// below are in that box; so it has as many at least as lie between them.
#include "codegen/early.h"

int64_t ts__early_times(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

int64_t ts__early_plus(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

// Numbers from lo to hi.
static int64_t count_of(int64_t lo, int64_t hi) {
  int64_t r;
  return __builtin_sub_overflow(hi, lo, &r) ? INT64_MAX : ts__early_plus(r, 1);
}

// --- values
// -------------------------------------------------------------------------------------------------------------------------

ts__early_name *ts__early_named(ts__early *x, const ts_var *v, bool make) {
  for (unsigned i = v->id;; i++) {
    uint16_t *at = &x->name_at[i % TS_COUNTOF(x->name_at)];
    if (*at && x->name[*at - 1].var != v) continue;
    if (*at) return &x->name[*at - 1];
    if (!make || x->nnames == TS__EARLY_NAMES) return NULL;
    x->name[x->nnames] = (ts__early_name){0};
    *at = (uint16_t)++x->nnames;
    return &x->name[*at - 1];
  }
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static int64_t floor_mod(int64_t a, int64_t b) { return a % b < 0 ? a % b + b : a % b; }  // b > 0

static bool of_loop(ts__early *x, const ts__early_name *n, const ts__early_point *p, int64_t *out) {
  const ts_stmt *s = n->loop;
  ts_axis a = s->loop.kind == TS_THREAD ? s->loop.axis : TS_AXIS_NONE;
  int64_t extent;
  if (!ts__early_value(x, s->loop.min, p, out)) return false;
  bool still = n->depth < p->from || (a >= TS_BLOCK_X && a <= TS_BLOCK_Z) || (p->one_thread && a >= TS_THREAD_X && a <= TS_THREAD_Z);
  if (s == p->second || (p->last && !still)) {
    if (!ts__early_value(x, s->loop.extent, p, &extent) || extent < 1) return false;
    *out = ts__early_plus(*out, s == p->second ? TS_MIN(extent - 1, 1) : extent - 1);
  }
  return *out < (int64_t)1 << 40 && *out > -((int64_t)1 << 40);
}

static bool of_dim(const ts_dim *d, bool most, int64_t *out) {
  int64_t m = TS_MAX(d->multiple, 1);
  if (d->lo < 0 || (most && d->hi >= (int64_t)1 << 40) || d->lo >= (int64_t)1 << 40) return false;
  *out = most ? d->hi / m * m : ts__early_times(d->lo / m + (d->lo % m != 0), m);
  return *out >= d->lo && *out <= d->hi;
}

static bool of_var(ts__early *x, const ts_var *v, const ts__early_point *p, int64_t *out) {
  const ts__early_name *n = ts__early_named(x, v, false);
  if (!n || n->twice) return false;
  return n->loop ? of_loop(x, n, p, out) : n->dim ? of_dim(n->dim, p->most, out) : ts__early_value(x, n->value, p, out);
}

static bool of_two(ts_ekind k, int64_t a, int64_t b, int64_t *out) {
  switch (k) {
    case TS_E_ADD: return !__builtin_add_overflow(a, b, out);
    case TS_E_SUB: return !__builtin_sub_overflow(a, b, out);
    case TS_E_MUL: return !__builtin_mul_overflow(a, b, out);
    case TS_E_FLOORDIV: return b > 0 && (*out = floor_div(a, b), true);
    case TS_E_FLOORMOD: return b > 0 && (*out = floor_mod(a, b), true);
    case TS_E_MIN: return *out = TS_MIN(a, b), true;
    case TS_E_MAX: return *out = TS_MAX(a, b), true;
    default: return false;
  }
}

bool ts__early_value(ts__early *x, const ts_expr *e, const ts__early_point *p, int64_t *out) {
  int64_t a, b;
  if (e->kind == TS_E_INT) return *out = e->i, true;
  if (e->kind == TS_E_VAR) return of_var(x, e->var, p, out);
  if (e->nargs != 2 || e->loads || e->type.code != TS_I64 || e->type.lanes != 1) return false;
  return ts__early_value(x, e->arg[0], p, &a) && ts__early_value(x, e->arg[1], p, &b) && of_two((ts_ekind)e->kind, a, b, out);
}

// --- boxes
// --------------------------------------------------------------------------------------------------------------------------

// Elements along dimension d between the least and the largest index seen at the two points, at most all.
static int64_t extent_of(ts__early *x, const ts__early_buffer *b, int d, const ts__early_point *ends) {
  int64_t lo = INT64_MAX, hi = INT64_MIN, whole, v, w;
  if (!ts_is_int(b->b->shape[d], &whole)) whole = INT64_MAX;
  for (int i = b->uses; i >= 0; i = x->use[i].next) {
    const ts_expr *at = x->use[i].idx[d];
    if (x->use[i].next >= 0 && x->use[x->use[i].next].idx[d] == at) continue;  // read and written
    if (!ts__early_value(x, at, &ends[0], &v) || !ts__early_value(x, at, &ends[1], &w)) continue;
    lo = TS_MIN(lo, TS_MIN(v, w));
    hi = TS_MAX(hi, TS_MAX(v, w));
    if (count_of(lo, hi) >= whole) break;
  }
  return lo > hi ? 1 : TS_MAX(TS_MIN(count_of(lo, hi), whole), 1);
}

static int64_t elements(ts__early *x, const ts__early_buffer *b, int from) {
  bool private = !ts__early_shared(b->b);
  const ts__early_point ends[] = {{.from = from, .one_thread = private}, {.from = from, .one_thread = private, .last = true}};
  int64_t n = 1;
  for (int d = 0; d < b->b->ndim; d++) n = ts__early_times(n, extent_of(x, b, d, ends));
  return n;
}

// --- how often
// ----------------------------------------------------------------------------------------------------------------------

// As many versions as iterations use it before the first is through. ORDER pipeline versions (lower_pipe.c).
static int64_t versions(const ts__early *x, const ts__early_buffer *b) {
  int first = TS_PIPELINE_STAGES, last = 0;
  for (int i = b->uses; i >= 0; i = x->use[i].next) {
    int n = x->use[i].node;
    while (n > b->node && x->node[n].up != b->node) n = x->node[n].up;
    int stage = TS_MAX(x->node[n].stage, 0);
    first = TS_MIN(first, stage);
    last = TS_MAX(last, stage + x->use[i].trailing);
  }
  return TS_MAX(last - first + 1, 1);
}

// Statements of a pipeline stand in its prologue, its steady loop and its epilogue, with buffers of their own each.
static int64_t clones(ts__early *x, const ts__early_buffer *b, int loop) {
  static const ts__early_point small = {.from = INT32_MAX};
  int last = 0;
  int64_t n;
  if (ts__early_shared(b->b) || x->roles == x->node[loop].s) return 1;
  for (int i = loop + 1; i < x->nnodes && x->node[i].depth > x->node[loop].depth; i++)
    if (x->node[x->node[i].up].pipe == loop) last = TS_MAX(last, x->node[i].stage);
  return ts__early_value(x, x->node[loop].s->loop.extent, &small, &n) && n > last ? last + 1 : 1;
}

// How many of the buffer there are because of this loop, when it is allocated below it; 0: it is no buffer of that scope then.
static int64_t copies(ts__early *x, const ts__early_buffer *b, int node) {
  const ts_stmt *s = x->node[node].s;
  int64_t n = 1;
  if (s->kind != TS_S_FOR) return 1;
  if (node == x->node[b->node].pipe) return versions(x, b);
  if (x->node[node].pipe == node) return clones(x, b, node);
  bool lanes = s->loop.kind == TS_VECTORIZE, thread = s->loop.kind == TS_THREAD && s->loop.axis >= TS_THREAD_X && s->loop.axis <= TS_THREAD_Z;
  if (lanes && ts__early_shared(b->b)) return 0;
  if (ts__early_shared(b->b) ? !thread : !lanes) return 1;
  return ts_is_int(s->loop.extent, &n) && n > 0 ? n : 1;
}

// The least over all places of the allocation: below a loop there are several, outside of it there is a larger one.
int64_t ts__early_bytes(ts__early *x, const ts__early_buffer *b) {
  int64_t times = 1, least;
  int in = x->node[b->node].s->kind == TS_S_FOR ? x->node[b->node].up : b->node;  // around the loop
  for (int n = in; n >= 0; n = x->node[n].up) times = ts__early_times(times, copies(x, b, n));
  if (!times) return 0;
  least = ts__early_times(elements(x, b, x->node[b->node].depth), times);
  for (int n = in; n >= 0 && times > 1; n = x->node[n].up) {
    int64_t here = copies(x, b, n);
    if (here == 1) continue;
    times /= here;
    least = TS_MIN(least, ts__early_times(elements(x, b, x->node[n].depth), times));
  }
  if (!ts__early_shared(b->b) && b->b->scope[0] == 'f') least = b->threads ? least / b->threads : 0;
  return ts__early_times(least, ts_code_bytes(b->b->code));
}

// ORDER life (lower_gpu.c part_in_use): from the first statement of the list that uses it to the last; slots of a pipeline all the time, what bulk copies
// fill as long as the kernel runs.
void ts__early_life(const ts__early *x, const ts__early_buffer *b, int *first, int *last) {
  const ts__early_node *at = &x->node[b->node];
  *first = at->first;
  *last = at->last;
  if (at->pipe >= 0) {
    *first = b->filled ? 0 : x->node[at->pipe].first;
    *last = b->filled ? INT32_MAX : x->node[at->pipe].last;
  } else if (at->s->kind == TS_S_SEQ) {
    *first = INT32_MAX;
    *last = 0;
    for (int i = b->uses; i >= 0; i = x->use[i].next) {
      int n = x->use[i].node;
      while (n > b->node && x->node[n].up != b->node) n = x->node[n].up;
      *first = TS_MIN(*first, x->node[n].first);
      *last = TS_MAX(*last, x->node[n].last);
    }
  }
}

// --- operands
// -----------------------------------------------------------------------------------------------------------------------

// Elements from one index of dimension d to the next; false: not known, for a buffer inside the kernel is made smaller.
static bool stride_of(ts__early *x, const ts_buffer *b, int d, int64_t *out) {
  static const ts__early_point first = {.from = INT32_MAX};
  int64_t n;
  *out = 1;
  if (b->stride) return ts__early_value(x, b->stride[d], &first, out);
  for (int i = d + 1; i < b->ndim; i++)
    if (!ts__early_value(x, b->shape[i], &first, &n) || __builtin_mul_overflow(*out, n, out)) return false;
  return true;
}

static bool is_param(const ts_func *f, const ts_buffer *b) {
  for (int i = 0; i < f->nparams; i++)
    if (f->params[i].buf == b) return true;
  return false;
}

// The first element of the operand at a point, in elements from the buffer's begin.
static bool start_of(ts__early *x, const ts_operand *o, const ts__early_point *p, int64_t *out) {
  int64_t i, stride;
  *out = 0;
  if (o->buf->offset && !ts__early_value(x, o->buf->offset, p, out)) return false;
  for (int d = 0; d < o->buf->ndim; d++) {
    if (!ts__early_value(x, o->start[d], p, &i) || !stride_of(x, o->buf, d, &stride) || __builtin_mul_overflow(i, stride, &i) || __builtin_add_overflow(*out, i, out))
      return false;
  }
  return true;
}

typedef struct operand {
  const ts_block *block;
  const ts_operand *o;
  const ts_buffer *param;  // of the implementation
  int64_t n;               // elements that it takes at once
} operand;

static void misplaced(ts__early *x, const operand *q, const char *what, int64_t elements) {
  int64_t bytes;
  if (__builtin_mul_overflow(elements, ts_code_bytes(q->param->code), &bytes)) bytes = elements < 0 ? INT64_MIN : INT64_MAX;
  ts__need_refuse(x->need, "operand-layout", bytes, q->param->align, "block %.60s: intrinsic %.60s wants operand %.60s, and its rows, at multiples of %d bytes; %s of %lld",
                  q->block->name, q->block->intrin, q->param->name, q->param->align, what, (long long)bytes);
}

// ORDER aligned (lower_intrin.c).
static void check_start(ts__early *x, const operand *q) {
  ts__early_point p = {.from = INT32_MAX};
  int64_t at;
  if (x->guarded) return;
  if (start_of(x, q->o, &p, &at) && at % q->n) return misplaced(x, q, "it is at an offset", at);
  for (int i = x->nnodes - 1; i >= 0; i = x->node[i].up) {
    p.second = x->node[i].s;
    if (p.second->kind == TS_S_FOR && start_of(x, q->o, &p, &at) && at % q->n) return misplaced(x, q, "it is at an offset", at);
  }
}

static void check_rows(ts__early *x, const operand *q) {
  const ts_operand *o = q->o;
  int64_t stride, k;
  for (int i = 0; i < o->ndim; i++) {
    stride = 0;
    for (int d = 0; d < o->buf->ndim; d++) {
      if (!o->step[i][d]) continue;
      if (!stride_of(x, o->buf, d, &k) || __builtin_mul_overflow(k, o->step[i][d], &k)) return;
      if (__builtin_add_overflow(stride, k, &stride)) return;
    }
    if (stride != 1 && stride % q->n) return misplaced(x, q, "rows are at distances", stride);
  }
}

// Buffers may leave their scope for global memory or registers of a thread, never for one of these.
static void check_scope(ts__early *x, const operand *q) {
  const char *want = q->param->scope;
  if ((want[0] != 's' && want[0] != 'f') || ts__scope_fits(want, q->o->buf)) return;
  ts__need_refuse(x->need, "operand-scope", 0, 0, "block %.60s: intrinsic %.60s wants its operand %.60s in scope %s; %.60s is in scope %s", q->block->name, q->block->intrin,
                  q->param->name, want, q->o->buf->name, q->o->buf->scope);
}

void ts__early_operands(ts__early *x, const ts_block *b, const ts_intrin *in) {
  for (int i = 0; i < in->impl->nparams; i++) {
    operand q = {.block = b, .param = in->impl->params[i].buf};
    q.n = q.param->align / ts_code_bytes(q.param->code);
    for (int k = 0; k < b->noperands; k++) {
      q.o = &b->operands[k];
      if (strcmp(q.o->name, q.param->name) != 0) continue;
      check_scope(x, &q);
      if (q.n < 2 || !is_param(x->need->f, q.o->buf)) continue;
      check_start(x, &q);
      check_rows(x, &q);
    }
  }
}
