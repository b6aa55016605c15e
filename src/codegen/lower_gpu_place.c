// Places for the buffers of a kernel: registers of a thread, shared memory of the block, workspace.
#include <limits.h>

#include "codegen/lower_gpu.h"

// --- a part for each position along some axes
// ---------------------------------------------------------------------------

typedef struct widening {
  ts__kernel *k;
  const ts_buffer *from, *to;
  int n;
  ts_axis axis[TS_AXIS__COUNT];
} widening;

static const ts_buffer *widen_access(void *arg, const ts_buffer *b, const ts_expr *const *idx, const ts_expr **out) {
  widening *w = arg;
  if (b != w->from) return NULL;
  for (int i = 0; i < w->n; i++) out[i] = ts_evar(w->k->l->ir, w->k->var[w->axis[i]]);
  for (int d = 0; d < b->ndim; d++) out[w->n + d] = idx[d];
  return w->to;
}

static const ts_stmt *widen_operands(void *arg, const ts_stmt *s) {
  widening *w = arg;
  ts__lower *l = w->k->l;
  if (s->kind != TS_S_BLOCK || !s->block->noperands) return s;
  ts_block *b = ts_arena_dup(l->arena, s->block, sizeof *b);
  ts_operand *o = ts_arena_dup(l->arena, b->operands, sizeof *o * (size_t)b->noperands);
  for (int i = 0; i < b->noperands; i++) {
    if (o[i].buf != w->from) continue;
    const ts_expr **start = ts_new_array(l->arena, const ts_expr *, w->to->ndim);
    widen_access(w, o[i].buf, o[i].start, start);
    int64_t **step = ts_new_array(l->arena, int64_t *, o[i].ndim);
    for (int j = 0; j < o[i].ndim; j++) {
      step[j] = ts_new_array(l->arena, int64_t, w->to->ndim);
      for (int d = 0; d < w->from->ndim; d++) step[j][w->n + d] = o[i].step[j][d];
    }
    o[i] = (ts_operand){o[i].name, w->to, start, o[i].ndim, (const int64_t *const *)step};
  }
  b->operands = o;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(l->ir, s, &c);
  c->block = b;
  return r;
}

// The buffer with a part for each position along the axes; all accesses in the kernel are changed.
static const ts_buffer *widened(ts__kernel *k, const ts_buffer *b, unsigned axes) {
  ts__lower *l = k->l;
  widening w = {.k = k, .from = b};
  for (ts_axis a = TS_THREAD_Z; a > TS_AXIS_NONE; a--)
    if (axes >> a & 1) w.axis[w.n++] = a;
  if (!w.n) return b;
  if (w.n + b->ndim > 8) {
    ts__gpu_refuse(l, "too-many-dimensions", "buffer %.60s needs a part for each of %d axes", b->name, w.n);
    return b;
  }
  const ts_expr **shape = ts_new_array(l->arena, const ts_expr *, w.n + b->ndim);
  for (int i = 0; i < w.n; i++) shape[i] = k->extent[w.axis[i]];
  for (int d = 0; d < b->ndim; d++) shape[w.n + d] = b->shape[d];
  ts_buffer *to = ts_buffer_new(l->ir, b->name, b->code, w.n + b->ndim, shape, b->scope);
  to->align = b->align;
  to->skew = b->skew;
  if (to->skew.factor) to->skew.axis += w.n, ts_buffer_skew(l->ir, to);
  w.to = to;
  k->body = ts__map_access(l->ir, k->body, widen_access, &w);
  k->body = ts_stmt_rewrite(l->ir, k->body, widen_operands, NULL, &w);
  return to;
}

// --- private buffers
// --------------------------------------------------------------------------------------------------------

// What a thread finds in it is what that thread wrote: elements written by a thread that differs from others are its
// own. Along the axes of loops around its allocation each position has a buffer of its own.
static bool is_own(ts__kernel *k, const ts_buffer *b, unsigned active) {
  ts__touches t = {0};
  ts__touches_of(k, k->body, NULL, 0, &t);
  for (size_t i = 0; i < t.v.n; i++) {
    const ts__touch *w = &t.v.p[i];
    if (w->buf != b || !w->write || w->combine) continue;
    for (size_t j = 0; j < t.v.n; j++)
      if (t.v.p[j].buf == b && ts__threads_apart(k, w, &t.v.p[j], 0, w->uses & ~active) != TS__APART) return false;
  }
  return true;
}

// The threads over which a fragment is spread are the same wherever it is used.
static bool one_group(ts__kernel *k, const ts_buffer *b) {
  ts__touches t = {0};
  unsigned group = 0;
  bool first = true;
  if (strncmp(b->scope, "fragment.", 9) != 0) return true;
  ts__touches_of(k, k->body, NULL, 0, &t);
  for (size_t i = 0; i < t.v.n; i++) {
    if (t.v.p[i].buf != b) continue;
    if (!first && t.v.p[i].group != group)
      return ts__gpu_refuse(k->l, "intrinsic-threads", "buffer %.60s in scope %.60s is used by different groups of threads",
                            b->name, b->scope);
    group = t.v.p[i].group;
    first = false;
  }
  return true;
}

static bool place_private(ts__kernel *k, const ts_buffer *b, unsigned active) {
  if (!one_group(k, b)) return false;
  if (is_own(k, b, active) && ts__place_buffer(k->l, &k->body, b)) return true;
  return ts__gpu_refuse(k->l, "not-private",
                        "buffer %.60s is in scope %.60s, but holds values that pass between threads; use shared",
                        b->name, b->scope);
}

// --- shared memory
// ----------------------------------------------------------------------------------------------------------

static int64_t bytes_of(ts__kernel *k, const ts_buffer *b) {
  int64_t last = 0, n, stride;
  for (int d = 0; d < b->ndim; d++) {
    if (!ts_const_value(k->l->an, b->shape[d], &n) || !ts_const_value(k->l->an, ts__stride(k->l->ir, b, d), &stride))
      return -1;
    if (n <= 0) return 0;
    last += (n - 1) * stride;
  }
  return (last + 1) * ts_code_bytes(b->code);
}

static int64_t align_of(const ts_buffer *b, int64_t bytes) {
  if (strcmp(b->scope, "shared") != 0) return 1024;
  return TS_MAX(b->align, bytes >= 128 ? 128 : 16);
}

// The lowest place where it meets nothing that is there at the same time.
static int64_t lowest(const ts__kernel *k, const ts__packed *p, int64_t align) {
  int64_t at = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t i = 0; i < k->packed.n; i++) {
      const ts__packed *q = &k->packed.p[i];
      if (q->first >= p->last || p->first >= q->last || at >= q->at + q->bytes || q->at >= at + p->bytes) continue;
      at = (q->at + q->bytes + align - 1) / align * align;
      moved = true;
    }
  }
  return at;
}

static bool pack(ts__kernel *k, const ts_buffer *b, const ts__owned *o) {
  ts__packed p = {.buf = b, .bytes = bytes_of(k, b), .first = o->first, .last = TS_MAX(o->last, o->first + 1)};
  if (p.bytes < 0)
    return ts__gpu_refuse(k->l, "shared-memory", "buffer %.60s is in shared memory and has no constant size", b->name);
  int64_t align = align_of(b, p.bytes);
  for (size_t i = 0; i < k->l->lasting.n; i++)
    if (k->l->lasting.p[i] == b) p.first = 0, p.last = INT_MAX;
  p.at = lowest(k, &p, align);
  ts_vec_push(k->l->arena, &k->packed, p);
  ts_vec_push(k->l->arena, &k->l->places, ((ts__lower_place){b, p.at / ts_code_bytes(b->code)}));
  return true;
}

// --- all
// --------------------------------------------------------------------------------------------------------------------

bool ts__gpu_place(ts__kernel *k, ts__homes *out) {
  for (size_t i = 0; i < k->owned.n && !k->l->failed; i++) {
    const ts__owned *o = &k->owned.p[i];
    if (ts__is_private(o->buf)) {
      place_private(k, o->buf, o->active);
    } else if (ts__is_shared(o->buf)) {
      const ts_buffer *b = widened(k, o->buf, o->active & TS__ALL_THREADS);
      if (pack(k, b, o)) ts_vec_push(k->l->arena, &out->shared, b);
    } else {
      ts_vec_push(k->l->arena, &out->outside, widened(k, o->buf, o->active));
    }
  }
  return !k->l->failed;
}
