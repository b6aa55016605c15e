// See poly.h.
#include "schedule/poly.h"

enum { DEEPEST = (POLY_TIME - 1) / 2 };
typedef struct walk {
  ts_ir *ir;
  const ts_func *f;
  ts_text inst, group, reads, writes, reduces;
  const ts_var *loop[DEEPEST];
  const ts_expr *min[DEEPEST], *extent[DEEPEST];
  const ts_expr *cond[2 * DEEPEST];  // predicates of blocks around
  ts_subst value[64];                // iterators of blocks, over loops
  int place[DEEPEST + 1];
  int nloops, nconds, nvalues;
  bool affine;
} walk;

// --- expressions
// ------------------------------------------------------------------------------------------------------------
static void number(walk *w, ts_text *t, const ts_expr *e);

static void divided(walk *w, ts_text *t, const ts_expr *e) {
  int64_t k;
  if (!ts_is_int(e->arg[1], &k) || k < 1) {
    w->affine = false;
    return;
  }
  ts_text_add(t, e->kind == TS_E_FLOORDIV ? "floor((" : "((");
  number(w, t, e->arg[0]);
  ts_text_addf(t, e->kind == TS_E_FLOORDIV ? ")/%lld)" : ") mod %lld)", (long long)k);
}

static void operation(walk *w, ts_text *t, const ts_expr *e, const char *op) {
  ts_text_add(t, "(");
  number(w, t, e->arg[0]);
  ts_text_add(t, op);
  number(w, t, e->arg[1]);
  ts_text_add(t, ")");
}

static void number(walk *w, ts_text *t, const ts_expr *e) {
  switch (e->kind) {
    case TS_E_INT:
      ts_text_addf(t, "%lld", (long long)e->i);
      return;
    case TS_E_VAR:
      for (int i = 0; i < w->nloops; i++)
        if (w->loop[i] == e->var) {
          ts_text_addf(t, "l%d", i);
          return;
        }
      ts_text_add(t, e->var->name);  // a dimension
      return;
    case TS_E_ADD:
      operation(w, t, e, " + ");
      return;
    case TS_E_SUB:
      operation(w, t, e, " - ");
      return;
    case TS_E_MUL:
      if (!ts_is_int(e->arg[0], NULL) && !ts_is_int(e->arg[1], NULL)) break;
      operation(w, t, e, " * ");
      return;
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
      divided(w, t, e);
      return;
    case TS_E_MIN:
    case TS_E_MAX:
      ts_text_add(t, e->kind == TS_E_MIN ? "min" : "max");
      operation(w, t, e, ", ");
      return;
    default:
      break;
  }
  w->affine = false;
}

static void condition(walk *w, ts_text *t, const ts_expr *e) {
  ts_text_add(t, "(");
  switch (e->kind) {
    case TS_E_AND:
    case TS_E_OR:
      condition(w, t, e->arg[0]);
      ts_text_add(t, e->kind == TS_E_AND ? " and " : " or ");
      condition(w, t, e->arg[1]);
      break;
    case TS_E_NOT:
      ts_text_add(t, "not ");
      condition(w, t, e->arg[0]);
      break;
    case TS_E_LT:
      operation(w, t, e, ") < (");
      break;
    case TS_E_LE:
      operation(w, t, e, ") <= (");
      break;
    case TS_E_EQ:
      operation(w, t, e, ") = (");
      break;
    case TS_E_NE:
      operation(w, t, e, ") != (");
      break;
    default:
      w->affine = false;
  }
  ts_text_add(t, ")");
}

// --- executions
// -------------------------------------------------------------------------------------------------------------
static void time_text(walk *w, ts_text *t) {
  ts_text_add(t, "T[");
  for (int k = 0; k < DEEPEST; k++)
    if (k < w->nloops)
      ts_text_addf(t, "%d, l%d, ", w->place[k], k);
    else
      ts_text_addf(t, "%d, 0, ", k == w->nloops ? w->place[k] : 0);
  ts_text_add(t, "0]");
}

static void domain_text(walk *w, ts_text *t) {
  ts_text_add(t, " : 0 = 0");
  for (int k = 0; k < w->nloops; k++) {
    ts_text_add(t, " and ");
    number(w, t, w->min[k]);
    ts_text_addf(t, " <= l%d < ", k);
    number(w, t, w->min[k]);
    ts_text_add(t, " + ");
    number(w, t, w->extent[k]);
  }
  for (int k = 0; k < w->nconds; k++) {
    ts_text_add(t, " and ");
    condition(w, t, w->cond[k]);
  }
  ts_text_add(t, ";\n");
}

static const ts_expr *over_loops(walk *w, const ts_expr *e) { return ts_expr_subst(w->ir, e, w->value, w->nvalues); }

static void access_text(walk *w, ts_text *t, const ts_buffer *b, const ts_expr *const *idx) {
  time_text(w, t);
  ts_text_addf(t, " -> %s[", b->name);
  for (int d = 0; d < b->ndim; d++) {
    ts_text_add(t, d ? ", " : "");
    number(w, t, over_loops(w, idx[d]));
  }
  ts_text_add(t, "]");
  domain_text(w, t);
}

static void instance_text(walk *w, ts_text *t, const ts_block *b, bool spatial) {
  time_text(w, t);
  ts_text_addf(t, " -> %s[", b->name);
  for (int i = 0, n = 0; i < b->niters; i++) {
    if (spatial && b->init && b->iters[i].kind == TS_ITER_REDUCE) continue;
    ts_text_add(t, n++ ? ", " : "");
    number(w, t, over_loops(w, ts_evar(w->ir, b->iters[i].var)));
  }
  ts_text_add(t, "]");
  domain_text(w, t);
}

typedef struct leaf {
  walk *w;
  const ts_block *b;
} leaf;

static bool see_load(void *arg, const ts_expr *e) {
  leaf *l = arg;
  if (e->kind == TS_E_SELECT || e->kind == TS_E_CALL) l->w->affine &= e->kind == TS_E_CALL;
  if (e->kind != TS_E_LOAD) return true;
  bool own = false;
  for (int i = 0; l->b->init && i < l->b->nwrites; i++) own |= l->b->writes[i].buf == e->buf;
  if (!own) access_text(l->w, &l->w->reads, e->buf, e->arg);
  return true;
}

static bool see_store(void *arg, const ts_stmt *s) {
  leaf *l = arg;
  if (s->kind == TS_S_STORE) {
    access_text(l->w, &l->w->writes, s->store.buf, s->store.idx);
    if (l->b->init) access_text(l->w, &l->w->reduces, s->store.buf, s->store.idx);
  } else if (s->kind != TS_S_SEQ && s->kind != TS_S_LET) {
    l->w->affine = false;
  }
  return true;
}

static bool see_inner(void *arg, const ts_stmt *s) {
  *(bool *)arg |= s->kind == TS_S_BLOCK;
  return true;
}

static void statement(walk *w, const ts_stmt *s);

static void block(walk *w, const ts_block *b) {
  bool inner = false;
  int conds = w->nconds, values = w->nvalues;
  ts_stmt_visit(b->body, see_inner, NULL, &inner);
  if (b->niters + w->nvalues > (int)TS_COUNTOF(w->value) || w->nconds == 2 * DEEPEST || (inner && b->init)) {
    w->affine = false;
    return;
  }
  if (b->predicate) w->cond[w->nconds++] = over_loops(w, b->predicate);
  for (int i = 0; i < b->niters; i++) {
    const ts_expr *v = ts_expr_subst(w->ir, b->iters[i].value, w->value, values);
    w->value[w->nvalues++] = (ts_subst){b->iters[i].var, v};
  }
  if (inner) {
    statement(w, b->body);
  } else {
    leaf l = {w, b};
    instance_text(w, &w->inst, b, false);
    instance_text(w, &w->group, b, true);
    if (b->init) ts_stmt_visit(b->init, NULL, see_load, &l);
    ts_stmt_visit(b->body, see_store, see_load, &l);
  }
  w->nconds = conds;
  w->nvalues = values;
}

static void loop(walk *w, const ts_stmt *s) {
  if (w->nloops == DEEPEST - 1) {
    w->affine = false;
    return;
  }
  w->min[w->nloops] = over_loops(w, s->loop.min);
  w->extent[w->nloops] = over_loops(w, s->loop.extent);
  w->loop[w->nloops++] = s->loop.var;
  w->place[w->nloops] = 0;
  statement(w, s->loop.body);
  w->nloops--;
}

static void statement(walk *w, const ts_stmt *s) {
  if (!w->affine) return;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) {  // nested sequences count on
        if (i) w->place[w->nloops]++;
        statement(w, s->seq.child[i]);
      }
      return;
    case TS_S_FOR:
      loop(w, s);
      return;
    case TS_S_BLOCK:
      block(w, s->block);
      return;
    case TS_S_ALLOC:
      statement(w, s->alloc.body);
      return;
    default:
      w->affine = false;
  }
}

static isl_union_map *relation(isl_ctx *ctx, const walk *w, ts_text *body) {
  ts_text t = {0};
  ts_text_add(&t, "[");
  for (int i = 0; i < w->f->ndims; i++) ts_text_addf(&t, "%s%s", i ? ", " : "", w->f->dims[i].var->name);
  ts_text_addf(&t, "] -> {\n%s}", ts_text_str(body));
  isl_union_map *m = isl_union_map_read_from_str(ctx, ts_text_str(&t));
  for (int i = 0; m && i < w->f->ndims; i++) {  // sizes that the function holds for
    const ts_dim *d = &w->f->dims[i];
    ts_text c = {0};
    ts_text_addf(&c, "[%s] -> { : %lld <= %s <= %lld and %s mod %lld = 0 }", d->var->name, (long long)d->lo,
                 d->var->name, (long long)d->hi, d->var->name, (long long)TS_MAX(d->multiple, 1));
    m = isl_union_map_intersect_params(m, isl_set_read_from_str(ctx, ts_text_str(&c)));
    ts_text_free(&c);
  }
  ts_text_free(&t);
  return m;
}

static void end_reads(walk *w) {
  ts_text_addf(&w->inst, "T[1000000");
  for (int k = 1; k < POLY_TIME; k++) ts_text_add(&w->inst, ", 0");
  ts_text_add(&w->inst, "] -> end[];\n");
  ts_text_add(&w->group, strstr(ts_text_str(&w->inst), "T[1000000"));
  for (int i = 0; i < w->f->nparams; i++) {
    const ts_buffer *b = w->f->params[i].buf;
    if (w->f->params[i].role == TS_IN) continue;
    ts_text_add(&w->reads, "T[1000000");
    for (int k = 1; k < POLY_TIME; k++) ts_text_add(&w->reads, ", 0");
    ts_text_addf(&w->reads, "] -> %s[", b->name);
    for (int d = 0; d < b->ndim; d++) ts_text_addf(&w->reads, "%se%d", d ? ", " : "", d);
    ts_text_add(&w->reads, "] : 0 = 0");
    for (int d = 0; d < b->ndim; d++) {
      ts_text_addf(&w->reads, " and 0 <= e%d < ", d);
      number(w, &w->reads, b->shape[d]);
    }
    ts_text_add(&w->reads, ";\n");
  }
}

bool poly_make(isl_ctx *ctx, ts_ir *ir, const ts_func *f, poly *out) {
  walk w = {.ir = ir, .f = f, .affine = true};
  *out = (poly){0};
  statement(&w, f->body);
  end_reads(&w);
  if (w.affine) {
    *out = (poly){relation(ctx, &w, &w.inst), relation(ctx, &w, &w.group), relation(ctx, &w, &w.reads),
                  relation(ctx, &w, &w.writes), relation(ctx, &w, &w.reduces)};
    w.affine = out->inst && out->group && out->reads && out->writes && out->reduces;
    if (!w.affine) poly_free(out);
  }
  ts_text_free(&w.inst), ts_text_free(&w.group), ts_text_free(&w.reads), ts_text_free(&w.writes),
      ts_text_free(&w.reduces);
  return w.affine;
}

void poly_free(poly *p) {
  isl_union_map_free(p->inst);
  isl_union_map_free(p->group);
  isl_union_map_free(p->reads);
  isl_union_map_free(p->writes);
  isl_union_map_free(p->reduces);
  *p = (poly){0};
}

// --- order and flow
// -----------------------------------------------------------------------------------------------------------
isl_union_map *poly_before(const poly *p) {
  isl_union_set *t = isl_union_map_domain(isl_union_map_copy(p->inst));
  return isl_union_set_lex_lt_union_set(isl_union_set_copy(t), t);
}

static isl_union_map *meet(const isl_union_map *a, const isl_union_map *b) {
  return isl_union_map_apply_range(isl_union_map_copy((isl_union_map *)a),
                                   isl_union_map_reverse(isl_union_map_copy((isl_union_map *)b)));
}

isl_union_map *poly_conflicts(const poly *p) {
  isl_union_map *m = isl_union_map_union(meet(p->reads, p->writes), meet(p->writes, p->reads));
  return isl_union_map_intersect(isl_union_map_union(m, meet(p->writes, p->writes)), poly_before(p));
}

// [time -> element] -> [group -> element]
static isl_union_map *to_groups(const poly *p) {
  isl_union_set *e = isl_union_map_range(isl_union_map_copy(p->reads));
  return isl_union_map_product(isl_union_map_copy(p->group), isl_union_set_identity(e));
}

bool poly_flow(isl_ctx *ctx, const poly *p, isl_union_map **flow, isl_union_map **without) {
  ts_text t = {0};
  ts_text_add(&t, "{ T[");
  for (int i = 0; i < POLY_TIME; i++) ts_text_addf(&t, "%st%d", i ? ", " : "", i);
  ts_text_add(&t, "] -> [");
  for (int i = 0; i < POLY_TIME; i++) ts_text_addf(&t, "%st%d", i ? ", " : "", i);
  ts_text_add(&t, "] }");
  isl_union_access_info *info = isl_union_access_info_from_sink(isl_union_map_copy(p->reads));
  info = isl_union_access_info_set_must_source(info, isl_union_map_copy(p->writes));
  info = isl_union_access_info_set_schedule_map(info, isl_union_map_read_from_str(ctx, ts_text_str(&t)));
  ts_text_free(&t);
  isl_union_flow *f = isl_union_access_info_compute_flow(info);
  isl_union_map *full = f ? isl_union_flow_get_full_must_dependence(f) : NULL,
                *none = f ? isl_union_flow_get_must_no_source(f) : NULL;
  isl_union_flow_free(f);
  *flow = isl_union_map_apply_range(isl_union_map_apply_domain(full, isl_union_map_copy(p->group)), to_groups(p));
  *without = isl_union_map_apply_domain(none, isl_union_map_copy(p->group));
  return *flow && *without;
}

// --- loops
// ----------------------------------------------------------------------------------------------------------------------
// The places of the sequences around the loop; returns its depth, -1 when it is not there.
static int depth_of(const ts_stmt *s, const ts_stmt *loop, int depth, int *place) {
  int found = -1;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; found < 0 && i < s->seq.n; i++) {
        if (i) place[depth]++;
        found = depth_of(s->seq.child[i], loop, depth, place);
      }
      return found;
    case TS_S_FOR:
      if (s == loop) return depth;
      if (depth == DEEPEST - 1) return -1;
      place[depth + 1] = 0;
      return depth_of(s->loop.body, loop, depth + 1, place);
    case TS_S_BLOCK:
      return depth_of(s->block->body, loop, depth, place);
    case TS_S_ALLOC:
      return depth_of(s->alloc.body, loop, depth, place);
    default:
      return -1;
  }
}

isl_union_map *poly_across(isl_ctx *ctx, const ts_func *f, const ts_stmt *loop) {
  int place[DEEPEST + 1] = {0}, d = depth_of(f->body, loop, 0, place);
  if (d < 0) return NULL;
  ts_text t = {0};
  for (int side = 0; side < 2; side++) {
    ts_text_add(&t, side ? "] -> T[" : "{ T[");
    for (int i = 0; i < POLY_TIME; i++) ts_text_addf(&t, "%s%c%d", i ? ", " : "", side ? 'b' : 'a', i);
  }
  ts_text_addf(&t, "] : a%d < b%d", 2 * d + 1, 2 * d + 1);
  for (int k = 0; k <= d; k++) ts_text_addf(&t, " and a%d = %d and b%d = %d", 2 * k, place[k], 2 * k, place[k]);
  for (int k = 0; k < d; k++) ts_text_addf(&t, " and a%d = b%d", 2 * k + 1, 2 * k + 1);
  ts_text_add(&t, " }");
  isl_union_map *m = isl_union_map_read_from_str(ctx, ts_text_str(&t));
  ts_text_free(&t);
  return m;
}
