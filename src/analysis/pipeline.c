// Software pipelines: may the statements of a loop's body run at different times? ORDER pipeline: the schedule asks
// before it annotates, lowering asks again before it moves anything.
//
// Statement i of iteration k runs in slot k + stage[i], at place order[i] of the slot. Whatever conflicts must keep its
// order, but for buffers of the iteration, of which there are as many as iterations are under way.
#include <ctype.h>
#include <stdlib.h>

#include "analysis/analysis_impl.h"

// --- the body as a list
// ---------------------------------------------------------------------------------------------------

// ORDER one kernel: lowering makes blocks that hold together what is one statement.
static bool is_shell(const ts_stmt *s) {
  if (s->kind == TS_S_ALLOC) return true;
  if (s->kind != TS_S_BLOCK) return false;
  const ts_block *b = s->block;
  return !b->niters && !b->predicate && !b->init && !b->intrin && !ts_notes_find(b->notes, "one_kernel");
}

const ts_stmt *const *ts_pipeline_body(ts_ir *ir, const ts_stmt *loop, int *n) {
  const ts_stmt *s = loop->loop.body;
  while (is_shell(s)) s = s->kind == TS_S_ALLOC ? s->alloc.body : s->block->body;
  *n = 1;
  if (s->kind != TS_S_SEQ) return ts_arena_dup(ts_ir_arena(ir), &s, sizeof s);
  *n = s->seq.n;
  return s->seq.child;
}

// --- notes
// --------------------------------------------------------------------------------------------------------------

static bool numbers(const ts_note *note, int *out, int n) {
  const char *p = note && note->kind == TS_NOTE_STR ? note->s : NULL;
  for (int i = 0; p && i < n; i++) {
    if (!isdigit((unsigned char)*p)) return false;
    char *end;
    long v = strtol(p, &end, 10);
    if (v > TS_PIPELINE_STAGES) return false;
    out[i] = (int)v;
    p = end + (*end == ' ');
  }
  return p && *p == 0;
}

bool ts_pipeline_read(ts_ir *ir, const ts_stmt *loop, ts_pipeline *out) {
  *out = (ts_pipeline){.loop = loop};
  if (!ts_notes_find(loop->loop.notes, "pipeline_stage")) return false;
  out->child = ts_pipeline_body(ir, loop, &out->n);
  int *stage = ts_new_array(ts_ir_arena(ir), int, out->n), *order = ts_new_array(ts_ir_arena(ir), int, out->n);
  out->stage = stage;
  out->order = order;
  out->fits = numbers(ts_notes_find(loop->loop.notes, "pipeline_stage"), stage, out->n) &&
              numbers(ts_notes_find(loop->loop.notes, "pipeline_order"), order, out->n);
  return true;
}

// --- legality
// -------------------------------------------------------------------------------------------------------------

typedef struct check {
  ts_analyzer *a;
  const ts_pipeline *p;
  ts_accesses *acc;  // of each statement
  ts_pipeline_fault *fault;
} check;

static bool is_own(const ts_pipeline *p, const ts_buffer *b) {
  for (int i = 0; i < p->nown; i++)
    if (p->own[i] == b) return true;
  return false;
}

static ts_region at_var(ts_ir *ir, ts_region r, const ts_var *from, const ts_var *to) {
  ts_range *dim = ts_new_array(ts_ir_arena(ir), ts_range, r.buf->ndim ? r.buf->ndim : 1);
  ts_subst m = {from, ts_evar(ir, to)};
  for (int d = 0; d < r.buf->ndim; d++)
    dim[d] = (ts_range){ts_expr_subst(ir, r.dim[d].min, &m, 1), ts_expr_subst(ir, r.dim[d].extent, &m, 1)};
  return (ts_region){r.buf, dim};
}

// The buffer in which x (of this iteration) and y (of the iteration of `later`; NULL: of this one) conflict, or NULL.
static const ts_buffer *conflict(check *c, const ts_accesses *x, const ts_accesses *y, const ts_var *later) {
  ts_ir *ir = ts_analyzer_ir(c->a);
  for (int i = 0; i < x->nreads + x->nwrites; i++) {
    const ts_region *r = i < x->nwrites ? &x->writes[i] : &x->reads[i - x->nwrites];
    if (later && is_own(c->p, r->buf)) continue;
    for (int j = 0; j < y->nwrites + (i < x->nwrites ? y->nreads : 0); j++) {
      const ts_region *w = j < y->nwrites ? &y->writes[j] : &y->reads[j - y->nwrites];
      if (w->buf != r->buf) continue;
      ts_region other = later ? at_var(ir, *w, c->p->loop->loop.var, later) : *w;
      if (ts_region_disjoint(c->a, *r, other) != TS_YES) return r->buf;
    }
  }
  return NULL;
}

// Statement i of one iteration runs before statement j of the iteration `ahead` further on.
static bool before(const ts_pipeline *p, int i, int j, int ahead) {
  int si = p->stage[i], sj = p->stage[j] + ahead;
  return si < sj || (si == sj && p->order[i] < p->order[j]);
}

static bool fault(check *c, int i, int j, const ts_buffer *b, bool carried) {
  *c->fault = (ts_pipeline_fault){i, j, b, carried};
  return false;
}

static bool pair_holds(check *c, int i, int j, const ts_var *later) {
  const ts_buffer *b;
  if (i < j && !before(c->p, i, j, 0) && (b = conflict(c, &c->acc[i], &c->acc[j], NULL)))
    return fault(c, i, j, b, false);
  if (!before(c->p, i, j, 1) && (b = conflict(c, &c->acc[i], &c->acc[j], later))) return fault(c, i, j, b, true);
  return true;
}

bool ts_pipeline_legal(ts_analyzer *a, const ts_pipeline *p, ts_pipeline_fault *out) {
  ts_ir *ir = ts_analyzer_ir(a);
  check c = {.a = a, .p = p, .fault = out};
  const ts_stmt *l = p->loop;
  c.acc = ts_new_array(ts_ir_arena(ir), ts_accesses, p->n);
  size_t mark = ts_analyzer_push(a);
  ts_bind_stmt(a, l);
  for (int i = 0; i < p->n; i++) c.acc[i] = ts_regions_of(a, p->child[i], NULL, 0);
  const ts_var *later = ts_var_new(ir, "later", TS_INDEX);
  const ts_expr *next = ts_add(ir, ts_evar(ir, l->loop.var), ts_int(ir, 1)),
                *end = ts_add(ir, l->loop.min, l->loop.extent);
  ts_bind_range(a, later, (ts_range){next, ts_sub(ir, end, next)});
  bool ok = true;
  for (int i = 0; i < p->n && ok; i++)
    for (int j = 0; j < p->n && ok; j++) ok = pair_holds(&c, i, j, later);
  ts_analyzer_pop(a, mark);
  return ok;
}
