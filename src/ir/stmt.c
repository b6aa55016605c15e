// stmt: statement builders and annotations.
#include <assert.h>

#include "ir/ir_impl.h"

static ts_stmt *fresh(ts_ir *ir, ts_skind k) {
  ts_stmt *s = ts_new(ir->arena, ts_stmt);
  s->kind = k;
  if (k == TS_S_FOR || k == TS_S_BLOCK) s->id = ts_ir_next_id(ir);
  return s;
}

static int flat_count(const ts_stmt *s) {
  if (s->kind != TS_S_SEQ) return 1;
  int n = 0;
  for (int i = 0; i < s->seq.n; i++) n += flat_count(s->seq.child[i]);
  return n;
}

static const ts_stmt **flatten(const ts_stmt *s, const ts_stmt **out) {
  if (s->kind != TS_S_SEQ) {
    *out = s;
    return out + 1;
  }
  for (int i = 0; i < s->seq.n; i++) out = flatten(s->seq.child[i], out);
  return out;
}

const ts_stmt *ts_seq(ts_ir *ir, const ts_stmt *const *child, int n) {
  ts_stmt whole = {.kind = TS_S_SEQ, .seq = {.n = n, .child = child}};
  int total = flat_count(&whole);
  const ts_stmt **flat = ts_new_array(ir->arena, const ts_stmt *, total ? total : 1);
  flatten(&whole, flat);
  if (total == 1) return flat[0];
  ts_stmt *s = fresh(ir, TS_S_SEQ);
  s->seq.n = total;
  s->seq.child = flat;
  return s;
}

const ts_stmt *ts_for(ts_ir *ir, const ts_var *v, const ts_expr *min, const ts_expr *extent, ts_loop_kind k,
                      const ts_stmt *body) {
  ts_stmt *s = fresh(ir, TS_S_FOR);
  s->loop.var = v;
  s->loop.min = min;
  s->loop.extent = extent;
  s->loop.kind = k;
  s->loop.body = body;
  return s;
}

const ts_stmt *ts_block_stmt(ts_ir *ir, const ts_block *b) {
  ts_stmt *s = fresh(ir, TS_S_BLOCK);
  s->block = b;
  return s;
}

const ts_stmt *ts_store(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx, const ts_expr *value) {
  assert(value->type.code == b->code);
  ts_stmt *s = fresh(ir, TS_S_STORE);
  s->store.buf = b;
  s->store.idx = b->ndim ? ts_arena_dup(ir->arena, idx, sizeof(*idx) * (size_t)b->ndim) : NULL;
  s->store.value = value;
  return s;
}

const ts_stmt *ts_if(ts_ir *ir, const ts_expr *c, const ts_stmt *then, const ts_stmt *other) {
  ts_stmt *s = fresh(ir, TS_S_IF);
  s->cond.cond = c;
  s->cond.then = then;
  s->cond.other = other;
  return s;
}

const ts_stmt *ts_let(ts_ir *ir, const ts_var *v, const ts_expr *value, const ts_stmt *body) {
  assert(ts_type_eq(v->type, value->type));
  ts_stmt *s = fresh(ir, TS_S_LET);
  s->let.var = v;
  s->let.value = value;
  s->let.body = body;
  return s;
}

const ts_stmt *ts_alloc(ts_ir *ir, const ts_buffer *b, const ts_stmt *body) {
  ts_stmt *s = fresh(ir, TS_S_ALLOC);
  s->alloc.buf = b;
  s->alloc.body = body;
  return s;
}

const ts_stmt *ts_eval(ts_ir *ir, const ts_expr *e) {
  ts_stmt *s = fresh(ir, TS_S_EVAL);
  s->eval = e;
  return s;
}

const ts_stmt *ts_stmt_copy(ts_ir *ir, const ts_stmt *s, ts_stmt **out) {
  *out = ts_arena_dup(ir->arena, s, sizeof *s);
  return *out;
}

// --- annotations ------------------------------------------------------------------------------------------

const ts_note *ts_notes_find(ts_notes n, const char *key) {
  for (int i = 0; i < n.n; i++) {
    if (strcmp(n.p[i].key, key) == 0) return &n.p[i];
  }
  return NULL;
}

ts_notes ts_notes_with(ts_arena *a, ts_notes n, ts_note note) {
  ts_note *p = ts_new_array(a, ts_note, n.n + 1);
  int at = 0, m = 0;
  while (at < n.n && strcmp(n.p[at].key, note.key) < 0) p[m++] = n.p[at++];
  if (at < n.n && strcmp(n.p[at].key, note.key) == 0) at++;
  p[m].key = ts_arena_strdup(a, note.key);
  p[m].kind = note.kind;
  p[m].i = note.kind == TS_NOTE_INT ? note.i : 0;
  p[m].f = note.kind == TS_NOTE_FLOAT ? note.f : 0;
  p[m].s = note.kind == TS_NOTE_STR ? ts_arena_strdup(a, note.s) : NULL;
  m++;
  while (at < n.n) p[m++] = n.p[at++];
  return (ts_notes){.n = m, .p = p};
}

ts_notes ts_notes_without(ts_arena *a, ts_notes n, const char *key) {
  if (!ts_notes_find(n, key)) return n;
  ts_note *p = ts_new_array(a, ts_note, n.n);
  int m = 0;
  for (int i = 0; i < n.n; i++) {
    if (strcmp(n.p[i].key, key) != 0) p[m++] = n.p[i];
  }
  return (ts_notes){.n = m, .p = p};
}

ts_notes ts__notes_copy(ts_arena *a, ts_notes n) {
  ts_notes out = {0};
  for (int i = 0; i < n.n; i++) out = ts_notes_with(a, out, n.p[i]);
  return out;
}
