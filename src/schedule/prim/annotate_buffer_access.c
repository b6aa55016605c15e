// annotate_buffer_access b "A" read "vi, 0..32" : block B(vi) { .. A[vi, 3] .. }
//   -> block B(vi) { reads(A[vi, 0..32]) writes(..) .. }
// States by hand, and from then on keeps, the region of a buffer that a block reads or writes. A region that is read
// may only grow, within the buffer; one that is written must stay what it is.
#include "schedule/schedule_impl.h"

typedef struct plan {
  const ts_block *block;  // with regions as found
  bool write;
  int at;  // number of the region
  ts_range *dim;
} plan;

static bool syntax(ts__ctx *c, const char *why) {
  ts__refuse(c, TS_R_bad_argument, 3, "{0} is no region: {1}");
  ts__fact_s(c, c->arg[3].s);
  ts__fact_s(c, why);
  ts__hint(c, "as in \"vi, 0..32, k ..+ 4\"");
  return false;
}

// "a", "a..b" or "a ..+ n".
static bool range_parse(ts__ctx *c, ts_lex *l, const ts_var *const *vars, int nvars, ts_range *out) {
  ts_diag d = {0};
  out->min = ts_expr_parse_at(c->ir, l, vars, nvars, NULL, 0, &d);
  out->extent = ts_int(c->ir, 1);
  if (!out->min) return syntax(c, ts_arena_strdup(c->a, d.message));
  if (ts_lex_accept(l, "..")) {
    bool length = ts_lex_accept(l, "+");
    const ts_expr *e = ts_expr_parse_at(c->ir, l, vars, nvars, NULL, 0, &d);
    if (!e) return syntax(c, ts_arena_strdup(c->a, d.message));
    if (!ts_type_eq(e->type, TS_INDEX)) return syntax(c, "a bound is no integer");
    out->extent = length ? e : !ts_type_eq(out->min->type, TS_INDEX) ? e : ts_sub(c->ir, e, out->min);
  }
  if (!ts_type_eq(out->min->type, TS_INDEX)) return syntax(c, "a bound is no integer");
  out->extent = ts_simplify(ts__an(c), out->extent);
  return true;
}

static bool region_parse(ts__ctx *c, const ts_buffer *buf, plan *p) {
  const ts_block *b = p->block;
  int nvars = b->niters + c->f->ndims;
  const ts_var **vars = ts_new_array(c->a, const ts_var *, nvars);
  for (int i = 0; i < b->niters; i++) vars[i] = b->iters[i].var;
  for (int i = 0; i < c->f->ndims; i++) vars[b->niters + i] = c->f->dims[i].var;
  ts_lex l;
  ts_lex_init(&l, "region", c->arg[3].s, strlen(c->arg[3].s));
  p->dim = ts_new_array(c->a, ts_range, buf->ndim);
  for (int d = 0; d < buf->ndim; d++) {
    if (d && !ts_lex_accept(&l, ",")) return syntax(c, "it has too few dimensions");
    TS_TRY(range_parse(c, &l, vars, nvars, &p->dim[d]));
  }
  return l.tok == TS_TOK_EOF || syntax(c, "it has too many dimensions");
}

static bool inside(ts__ctx *c, const ts_buffer *buf, const plan *p) {
  for (int d = 0; d < buf->ndim; d++) {
    const ts_expr *end = ts_add(c->ir, p->dim[d].min, p->dim[d].extent);
    bool ok = ts_prove_le(ts__an(c), ts_int(c->ir, 0), p->dim[d].min) == TS_YES &&
              ts_prove_le(ts__an(c), end, buf->shape[d]) == TS_YES;
    if (ok) continue;
    ts__refuse(c, TS_R_not_proved, 3, "dimension {1} of the region does not provably lie inside {0}");
    ts__fact_s(c, buf->name);
    ts__fact_i(c, d);
    return false;
  }
  return true;
}

bool ts__check_annotate_buffer_access(ts__ctx *c) {
  int me = c->arg[0].node;
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->write = !strcmp(c->arg[2].s, "write");
  if (!p->write && strcmp(c->arg[2].s, "read") != 0)
    return ts__refuse(c, TS_R_bad_argument, 2, "the kind must be read or write");
  if (c->t->node[me].parent < 0) return ts__refuse(c, TS_R_loop_position, 0, "the root block states nothing");
  const ts_block *old = ts__block(c, me);
  ts_block *found = ts_arena_dup(c->a, old, sizeof *found);
  found->explicit_access = false;  // what it touches, not what was stated
  p->block = ts_stmt_infer_access(c->ir, ts__block_with(c, ts__stmt(c, me), found))->block;
  const ts_buffer *buf = ts__buffer_arg(c, 1, p->block, !p->write, p->write);
  if (!buf) return false;
  const ts_region *r = p->write ? p->block->writes : p->block->reads;
  while (r[p->at].buf != buf) p->at++;
  TS_TRY(region_parse(c, buf, p));
  ts__enter(c, me);
  for (int i = 0; i < old->niters; i++) ts_bind_range(ts__an(c), old->iters[i].var, old->iters[i].dom);
  TS_TRY(inside(c, buf, p));
  ts_region stated = {buf, p->dim};
  bool covers = ts_region_covers(ts__an(c), stated, r[p->at]) == TS_YES;
  if (covers && (!p->write || ts_region_covers(ts__an(c), r[p->at], stated) == TS_YES)) return true;
  ts__refuse(c, TS_R_not_covered, 3,
             covers ? "block {0} does not provably write all of that region of {1}"
                    : "block {0} may touch more of {1} than that region");
  ts__fact_node(c, me);
  ts__fact_s(c, buf->name);
  return false;
}

bool ts__apply_annotate_buffer_access(ts__ctx *c) {
  const plan *p = c->plan;
  int me = c->arg[0].node;
  ts_block *b = ts_arena_dup(c->a, ts__block(c, me), sizeof *b);
  bool stated = b->explicit_access;  // other regions stated before stay
  const ts_block *from = stated ? b : p->block;
  const ts_region *keep = p->write ? p->block->writes : p->block->reads;
  const ts_buffer *buf = keep[p->at].buf;
  int nr = from->nreads, nw = from->nwrites;
  ts_region *reads = ts_new_array(c->a, ts_region, nr), *writes = ts_new_array(c->a, ts_region, nw);
  for (int i = 0; i < nr; i++)
    reads[i] = !p->write && from->reads[i].buf == buf ? (ts_region){buf, p->dim} : from->reads[i];
  for (int i = 0; i < nw; i++)
    writes[i] = p->write && from->writes[i].buf == buf ? (ts_region){buf, p->dim} : from->writes[i];
  b->reads = reads, b->nreads = nr, b->writes = writes, b->nwrites = nw;
  b->explicit_access = true;
  c->out = ts__reinfer(c, ts__replace(c, me, ts__block_with(c, ts__stmt(c, me), b)));
  return true;
}
