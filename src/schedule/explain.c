// What the engine knows about a block: its loops and iterators, what it touches, what it depends on.
#include "schedule_impl.h"

typedef struct explainer {
  ts__ctx c;
  ts__tree tree;
  int at;                       // the block
  int loops[TS__MAX_DEPTH], n;  // around it, outermost first, of every scope
} explainer;

static const char *text_of(explainer *x, const ts_expr *e) { return ts__expr_text(&x->c, e); }

static const char *keep(explainer *x, ts_text *t) {
  const char *s = ts_arena_strdup(x->c.a, ts_text_str(t));
  ts_text_free(t);
  return s;
}

// "vi", "0..32", "vi * 4 ..+ 4": one index, constant ends, or a start and a length.
static const char *range_text(explainer *x, ts_range r) {
  int64_t lo, n;
  if (ts_is_int(r.extent, &n) && n == 1) return text_of(x, r.min);
  bool from = ts_is_int(r.min, &lo);
  if (from && ts_is_int(r.extent, &n)) return ts_arena_printf(x->c.a, "%lld..%lld", (long long)lo, (long long)(lo + n));
  if (from && lo == 0) return ts_arena_printf(x->c.a, "0..%s", text_of(x, r.extent));
  return ts_arena_printf(x->c.a, "%s ..+ %s", text_of(x, r.min), text_of(x, r.extent));
}

static int loops_around(const ts__tree *t, int node, int *out) {
  int stack[TS__MAX_DEPTH], n = 0;
  for (int up = t->node[node].parent; up >= 0; up = t->node[up].parent)
    if (t->node[up].s->kind == TS_S_FOR && n < TS__MAX_DEPTH) stack[n++] = up;
  for (int i = 0; i < n; i++) out[i] = stack[n - 1 - i];
  return n;
}

// --- iteration map --------------------------------------------------------------------------------------------------
// "i_0 * 16 + i_1", with what a loop gives when it is only a part of it: "(f // 4) % 8 * 2".
static void split_text(explainer *x, ts_text *out, const ts_isplit *s) {
  int64_t lower, scale, extent, whole;
  ts_text_add(out, text_of(x, s->mark->source));
  bool divided = !ts_is_int(s->lower, &lower) || lower != 1;
  bool cut =
      !ts_is_int(s->extent, &extent) || !ts_is_int(s->mark->extent, &whole) || extent * (divided ? lower : 1) < whole;
  if (s->extent == s->mark->extent) cut = false;
  if (divided) ts_text_addf(out, " // %s", text_of(x, s->lower));
  if (cut) ts_text_addf(out, " %% %s", text_of(x, s->extent));
  if (!ts_is_int(s->scale, &scale) || scale != 1) ts_text_addf(out, " * %s", text_of(x, s->scale));
}

static const char *sum_text(explainer *x, const ts_isum *s) {
  ts_text t = {0};
  int64_t base;
  for (int i = 0; i < s->n; i++) {
    if (i) ts_text_add(&t, " + ");
    split_text(x, &t, &s->term[i]);
  }
  if (!s->n || !ts_is_int(s->base, &base) || base) ts_text_addf(&t, "%s%s", s->n ? " + " : "", text_of(x, s->base));
  return keep(x, &t);
}

static void iters_explain(explainer *x, ts_explain *out) {
  const ts_block *b = ts__block(&x->c, x->at);
  static const char *const kinds[] = {"spatial", "reduce", "opaque"};
  ts_explain_iter *it = ts_new_array(x->c.a, ts_explain_iter, b->niters);
  const ts_stmt *nest[TS__MAX_DEPTH];
  int inner[TS__MAX_DEPTH], n = ts__loops_of(&x->c, x->at, inner);
  for (int i = 0; i < n; i++) nest[i] = ts__stmt(&x->c, inner[i]);
  ts_itermap map = {0};
  ts_diag d = {0};
  size_t mark = ts_analyzer_push(ts__an(&x->c));
  ts__enter(&x->c, n ? inner[0] : x->at);
  bool affine = ts_itermap_of_block(ts__an(&x->c), nest, n, b, &map, &d);
  for (int i = 0; i < b->niters; i++)
    it[i] = (ts_explain_iter){.name = b->iters[i].var->name,
                              .kind = kinds[b->iters[i].kind],
                              .domain = range_text(x, b->iters[i].dom),
                              .value = text_of(x, b->iters[i].value),
                              .map = affine ? sum_text(x, &map.bind[i]) : NULL};
  ts_analyzer_pop(ts__an(&x->c), mark);
  out->niters = b->niters;
  out->iter = it;
  out->affine = affine ? NULL : ts_arena_strdup(x->c.a, d.message);
  out->injective = map.injective;
  out->surjective = map.surjective;
  out->predicate = b->predicate ? text_of(x, b->predicate) : NULL;
}

// --- loops
// ------------------------------------------------------------------------------------------------------------
static void obstacle_explain(explainer *x, int loop, ts_explain_loop *out) {
  ts_refusal r = {0};
  const ts_buffer **own;
  int nown;
  x->c.r = &r;
  if (ts__independent(&x->c, 0, loop, &own, &nown)) return;
  ts_text t = {0};
  ts_refusal_line(&t, &r);
  const char *line = keep(x, &t), *fact = strstr(line, ": ");
  out->obstacle = fact ? fact + 2 : line;
  out->code = ts_rcode_name(r.code);
  if (!r.nwitness) return;
  out->has_witness = true;
  out->first = r.witness[0].value;
  out->second = r.witness[0].other;
}

static void loops_explain(explainer *x, ts_explain *out) {
  out->nloops = x->n;
  ts_explain_loop *l = ts_new_array(x->c.a, ts_explain_loop, x->n);
  for (int i = 0; i < x->n; i++) {
    const ts_stmt *s = ts__stmt(&x->c, x->loops[i]);
    l[i] = (ts_explain_loop){
        .name = s->loop.var->name,
        .range = range_text(x, (ts_range){s->loop.min, s->loop.extent}),
        .kind = s->loop.kind == TS_THREAD ? ts_axis_name(s->loop.axis) : ts_loop_kind_name(s->loop.kind)};
    if (x->c.t->node[x->at].scope == x->c.t->node[x->loops[i]].scope)
      ts__feeds(&x->c, x->at, x->loops[i], &l[i].spatial, &l[i].reduce);
    obstacle_explain(x, x->loops[i], &l[i]);
  }
  out->loop = l;
}

// --- regions
// ------------------------------------------------------------------------------------------------------------
static void regions_explain(explainer *x, ts_explain *out) {
  const ts_block *b = ts__block(&x->c, x->at);
  ts_analyzer *an = ts__an(&x->c);
  ts_explain_region *r = ts_new_array(x->c.a, ts_explain_region, b->nreads + b->nwrites);
  const ts_var **vars = ts_new_array(x->c.a, const ts_var *, b->niters);
  size_t mark = ts_analyzer_push(an);
  ts__enter(&x->c, x->at);
  for (int i = 0; i < b->niters; i++) {
    vars[i] = b->iters[i].var;
    ts_bind_range(an, vars[i], b->iters[i].dom);
  }
  for (int i = 0; i < b->nreads + b->nwrites; i++) {
    const ts_region *from = i < b->nreads ? &b->reads[i] : &b->writes[i - b->nreads];
    ts_region all = ts_region_relax(an, *from, vars, b->niters);
    const char **one = ts_new_array(x->c.a, const char *, from->buf->ndim),
               **whole = ts_new_array(x->c.a, const char *, from->buf->ndim);
    for (int d = 0; d < from->buf->ndim; d++) {
      one[d] = range_text(x, from->dim[d]);
      whole[d] = range_text(x, all.dim[d]);
    }
    r[i] = (ts_explain_region){.buffer = from->buf->name,
                               .scope = from->buf->scope,
                               .write = i >= b->nreads,
                               .ndim = from->buf->ndim,
                               .one = one,
                               .all = whole};
  }
  ts_analyzer_pop(an, mark);
  out->nregions = b->nreads + b->nwrites;
  out->region = r;
}

// --- dependences
// ---------------------------------------------------------------------------------------------------------- What the
// block at node touches of buf in one iteration of the first `common` of its loops; false when it does not.
static bool touched(explainer *x, int node, int common, const ts_buffer *buf, bool write, ts_region *out) {
  ts_analyzer *an = ts__an(&x->c);
  int loops[TS__MAX_DEPTH], n = loops_around(x->c.t, node, loops);
  const ts_var *vars[TS__MAX_DEPTH];
  for (int i = common; i < n; i++) vars[i - common] = ts__stmt(&x->c, loops[i])->loop.var;
  size_t mark = ts_analyzer_push(an);
  ts__enter(&x->c, node);
  ts_accesses t = ts_regions_of(an, ts__stmt(&x->c, node), vars, n - common);
  ts_analyzer_pop(an, mark);
  const ts_region *r = ts_regions_find(write ? t.writes : t.reads, write ? t.nwrites : t.nreads, buf);
  if (r) *out = *r;
  return r != NULL;
}

// Iterations of a common loop between the earlier block's access p and the later one's q of the same elements: those t
// for which q at iteration v + t can meet p at iteration v. False when a dimension does not say.
static bool distance(explainer *x, const ts_var *v, ts_region p, ts_region q, int64_t *lo, int64_t *hi) {
  ts_analyzer *an = ts__an(&x->c);
  bool known = false;
  for (int d = 0; d < p.buf->ndim; d++) {
    int64_t cp, cq, ep, eq, r;
    const ts_expr *rp, *rq;
    if (!ts_linear(an, p.dim[d].min, v, &cp, &rp) || !ts_linear(an, q.dim[d].min, v, &cq, &rq) || cp != cq || cp == 0)
      continue;
    if (!ts_is_int(p.dim[d].extent, &ep) || !ts_is_int(q.dim[d].extent, &eq) ||
        !ts_const_value(an, ts_sub(x->c.ir, rq, rp), &r))
      continue;
    int64_t first = -(r + eq - 1), last = ep - 1 - r, c = cp;  // c * t in first .. last
    if (c < 0) {
      int64_t swap = -first;
      first = -last, last = swap, c = -c;
    }
    int64_t from = first >= 0 ? (first + c - 1) / c : -(-first / c), to = last >= 0 ? last / c : -((-last + c - 1) / c);
    *lo = known ? TS_MAX(*lo, from) : from;
    *hi = known ? TS_MIN(*hi, to) : to;
    known = true;
  }
  return known;
}

static const char *distances(explainer *x, int early, int late, const ts_buffer *buf, bool early_writes,
                             bool late_writes) {
  int a[TS__MAX_DEPTH], b[TS__MAX_DEPTH], n = loops_around(x->c.t, early, a), m = loops_around(x->c.t, late, b),
                                          common = 0;
  while (common < n && common < m && a[common] == b[common]) common++;
  ts_region p, q;
  if (!common) return "";
  if (!touched(x, early, common, buf, early_writes, &p) || !touched(x, late, common, buf, late_writes, &q)) return "";
  ts_text t = {0};
  for (int i = 0; i < common; i++) {
    const ts_var *v = ts__stmt(&x->c, a[i])->loop.var;
    int64_t lo = 0, hi = 0;
    ts_text_addf(&t, "%s%s: ", i ? ", " : "", v->name);
    if (!distance(x, v, p, q, &lo, &hi))
      ts_text_add(&t, "any");
    else if (lo > hi)
      ts_text_add(&t, "none");
    else if (lo == hi)
      ts_text_addf(&t, "%lld", (long long)lo);
    else
      ts_text_addf(&t, "%lld..%lld", (long long)lo, (long long)hi);
  }
  return keep(x, &t);
}

typedef TS_VEC(ts_explain_dep) deps;

static void dep_add(explainer *x, deps *out, int other, const ts_buffer *buf, bool mine_writes, bool theirs_writes) {
  int early = TS_MIN(other, x->at), late = TS_MAX(other, x->at);
  bool early_writes = early == x->at ? mine_writes : theirs_writes,
       late_writes = early == x->at ? theirs_writes : mine_writes;
  ts_dep_kind k = early_writes ? (late_writes ? TS_DEP_WAW : TS_DEP_RAW) : TS_DEP_WAR;
  ts_explain_dep d = {.block = ts__block(&x->c, other)->name,
                      .buffer = buf->name,
                      .kind = ts_dep_kind_name(k),
                      .before = other < x->at,
                      .producer = k == TS_DEP_RAW && other < x->at,
                      .consumer = k == TS_DEP_RAW && other > x->at,
                      .distance = distances(x, early, late, buf, early_writes, late_writes)};
  ts_vec_push(x->c.a, out, d);
}

static void deps_explain(explainer *x, ts_explain *out) {
  const ts_block *b = ts__block(&x->c, x->at);
  deps list = {0};
  for (int i = 1; i < x->c.t->n; i++) {
    if (!ts__is_block(&x->c, i) || ts__under(x->c.t, i, x->at) || ts__under(x->c.t, x->at, i)) continue;
    if (x->c.t->node[i].scope != x->c.t->node[x->at].scope) continue;
    const ts_block *o = ts__block(&x->c, i);
    for (int k = 0; k < b->nreads; k++)
      if (ts__writes(o, b->reads[k].buf)) dep_add(x, &list, i, b->reads[k].buf, false, true);
    for (int k = 0; k < b->nwrites; k++) {
      if (ts__reads(o, b->writes[k].buf)) dep_add(x, &list, i, b->writes[k].buf, true, false);
      if (ts__writes(o, b->writes[k].buf)) dep_add(x, &list, i, b->writes[k].buf, true, true);
    }
  }
  out->ndeps = (int)list.n;
  out->dep = list.p;
}

// --- all of it
// ---------------------------------------------------------------------------------------------------------------
static void reduction_explain(explainer *x, ts_explain *out) {
  const ts_block *b = ts__block(&x->c, x->at);
  ts_reduction r;
  out->reduces = ts_block_is_reduction(ts__an(&x->c), b);
  if (out->reduces && ts_reduction_match(x->c.ir, b, &r)) out->reducer = ts_reduction_name(x->c.a, &r);
}

bool ts_sched_explain(const ts_sched *s, const char *block, ts_explain *out, ts_diag *d) {
  const ts_func *f = ts_sched_func(s);
  explainer x = {.c = {.s = (ts_sched *)s, .ir = s->ir, .a = s->arena, .f = f, .prim = TS_P_parallel}};
  ts__tree_build(s->arena, &x.tree, f->body);
  x.c.t = &x.tree;
  int count;
  x.at = ts__tree_block(&x.tree, block, &count);
  if (count != 1 || !ts__is_block(&x.c, x.at)) return ts_refuse(d, "no-such-block", "no block is called \"%s\"", block), ts_hint(d, "its name stands behind the word block in the function"), false;
  x.n = loops_around(&x.tree, x.at, x.loops);
  *out = (ts_explain){.block = ts__block(&x.c, x.at)->name, .intrin = ts__block(&x.c, x.at)->intrin};
  iters_explain(&x, out);
  reduction_explain(&x, out);
  regions_explain(&x, out);
  deps_explain(&x, out);
  loops_explain(&x, out);
  ts_analyzer_free(x.c.an);
  return true;
}
