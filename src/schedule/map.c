// Which iterators of a block can play those of a tensor intrinsic. An iterator of the intrinsic is known by its kind and by the
// operands that it indexes; the iterators of the block with the same kind that index the same operands can play it, alone or
// fused. All others stay loops around it. An iterator that indexes an operand only through v // g (a head that shares its
// keys with g - 1 others) counts as two: v // g, and v % g, which does not index that operand.
#include "map_impl.h"

static bool why(ts__mapjob *j, const char *text) {
  if (!j->why) j->why = text;
  return false;
}

const char *ts__map_text(ts__mapjob *j, const ts_expr *e) {
  ts_text t = {0};
  ts_expr_print(&t, e);
  const char *s = ts_arena_strdup(j->a, ts_text_str(&t));
  ts_text_free(&t);
  return s;
}

// --- operands ------------------------------------------------------------------------------------------------------
bool ts__map_commutes(const ts_expr *e) {
  switch ((ts_ekind)e->kind) {
    case TS_E_ADD: case TS_E_MUL: case TS_E_MIN: case TS_E_MAX: case TS_E_BITAND: case TS_E_BITOR: case TS_E_BITXOR: return true;
    default: return false;
  }
}

static bool place(ts__mapjob *j, const ts_buffer *operand, const ts_buffer *buf, const ts_expr *const *idx, ts__place *at) {
  int k = 0;
  while (k < j->x->desc->nparams && j->x->desc->params[k].buf != operand) k++;
  if (operand->code != buf->code)
    return why(j, ts_arena_printf(j->a, "operand %s holds %s, %s holds %s", operand->name, ts_code_name(operand->code), buf->name,
                                  ts_code_name(buf->code)));
  if (!at[k].buf) at[k] = (ts__place){buf, idx};
  bool same = at[k].buf == buf;
  for (int d = 0; same && d < buf->ndim; d++) same = at[k].idx[d] == idx[d];
  return same || why(j, ts_arena_printf(j->a, "operand %s would be in two places", operand->name));
}

static bool match(ts__mapjob *j, const ts_expr *want, const ts_expr *have, int *node, ts__place *at) {
  if (want->kind == TS_E_LOAD && have->kind == TS_E_LOAD) return place(j, want->buf, have->buf, have->arg, at);
  bool same = want->kind == have->kind && ts_type_eq(want->type, have->type) && want->nargs == have->nargs;
  if (same && (want->kind == TS_E_INT || want->kind == TS_E_FLOAT || want->kind == TS_E_VAR)) same = want == have;
  if (same && want->kind == TS_E_CALL) same = !strcmp(want->callee, have->callee);
  if (!same)
    return why(j, ts_arena_printf(j->a, "it has %s where the intrinsic has %s", ts__map_text(j, have), ts__map_text(j, want)));
  bool swapped = ts__map_commutes(want) && (j->swaps >> (*node)++ & 1);
  for (uint32_t i = 0; i < want->nargs; i++) TS_TRY(match(j, want->arg[i], have->arg[swapped ? want->nargs - 1 - i : i], node, at));
  return true;
}

bool ts__map_operands(ts__mapjob *j, const ts_block *have, ts__place *at) {
  memset(at, 0, sizeof *at * TS__MAX_OPERANDS);
  if (have->body->kind != TS_S_STORE) return why(j, "its body is more than one store");
  const ts_stmt *w = j->want->body, *h = have->body;
  int node = 0;
  TS_TRY(place(j, w->store.buf, h->store.buf, h->store.idx, at) && match(j, w->store.value, h->store.value, &node, at));
  for (int k = 0; k < j->x->desc->nparams; k++)
    if (!at[k].buf) return why(j, "the description does not use an operand");
  return true;
}

static void count_swaps(const ts_expr *e, int *n) {
  *n += ts__map_commutes(e);
  for (uint32_t i = 0; e->kind != TS_E_LOAD && i < e->nargs; i++) count_swaps(e->arg[i], n);
}

// --- roles and pieces ----------------------------------------------------------------------------------------------
static bool indexes(const ts_var *v, const ts_expr *const *idx, int n) {
  for (int d = 0; d < n; d++)
    if (ts_expr_uses_var(idx[d], v)) return true;
  return false;
}

typedef struct desc_use {
  const ts__mapjob *j;
  const ts_var *v;
  unsigned in;
} desc_use;

static void use_of(desc_use *u, const ts_buffer *buf, const ts_expr *const *idx) {
  for (int k = 0; k < u->j->x->desc->nparams; k++)
    if (u->j->x->desc->params[k].buf == buf && indexes(u->v, idx, buf->ndim)) u->in |= 1u << k;
}

static bool use_expr(void *arg, const ts_expr *e) {
  if (e->kind == TS_E_LOAD) use_of(arg, e->buf, e->arg);
  return true;
}

static bool roles_find(ts__mapjob *j) {
  const ts_stmt *s = j->x->desc->body->block->body;
  while (s->kind == TS_S_FOR) s = s->loop.body;
  if (s->kind != TS_S_BLOCK || s->block->body->kind != TS_S_STORE || s->block->niters > TS__MAX_ROLES || j->x->desc->nparams > TS__MAX_OPERANDS)
    return why(j, "the description is not one store in a block of at most four iterators");
  j->want = s->block;
  for (int i = 0; i < j->want->niters; i++) {
    ts__role *r = &j->role[j->nroles++];
    const ts_stmt *st = j->want->body;
    desc_use u = {j, j->want->iters[i].var, 0};
    use_of(&u, st->store.buf, st->store.idx);
    ts_expr_visit(st->store.value, use_expr, &u);
    *r = (ts__role){.iter = &j->want->iters[i], .in = u.in};
    if (!ts_const_value(j->an, r->iter->dom.extent, &r->extent)) return why(j, "an extent of the description is not constant");
  }
  return true;
}

// Does e use v in another way than v // by?
static bool uses_low(const ts_expr *e, const ts_var *v, int64_t by) {
  int64_t k;
  if (e->kind == TS_E_VAR) return e->var == v;
  if (e->kind == TS_E_FLOORDIV && e->arg[0]->kind == TS_E_VAR && ts_is_int(e->arg[1], &k) && k == by) return false;
  for (uint32_t i = 0; i < e->nargs; i++)
    if (uses_low(e->arg[i], v, by)) return true;
  return false;
}

typedef struct divisor {
  const ts_var *v;
  int64_t by;
} divisor;
static bool divisor_expr(void *arg, const ts_expr *e) {
  divisor *w = arg;
  int64_t k;
  if (e->kind == TS_E_FLOORDIV && e->arg[0]->kind == TS_E_VAR && e->arg[0]->var == w->v && ts_is_int(e->arg[1], &k) && k > 1) w->by = k;
  return true;
}

// The number by which some operand sees only the quotient of the iterator; 0: none.
static int64_t shared_by(const ts__mapjob *j, const ts_var *v) {
  for (int k = 0; k < j->x->desc->nparams; k++) {
    divisor w = {v, 0};
    bool low = false;
    for (int d = 0; d < j->at[k].buf->ndim; d++) ts_expr_visit(j->at[k].idx[d], divisor_expr, &w);
    for (int d = 0; w.by && d < j->at[k].buf->ndim; d++) low |= uses_low(j->at[k].idx[d], v, w.by);
    if (w.by && !low) return w.by;
  }
  return 0;
}

static bool piece_add(ts__mapjob *j, ts__piece p) {
  if (j->npieces == TS__MAX_PIECES) return why(j, "it has too many iterators");
  j->piece[j->npieces++] = p;
  return true;
}

static bool pieces_find(ts__mapjob *j) {
  j->npieces = 0;
  for (int i = 0; i < j->have->niters; i++) {
    const ts_iter *it = &j->have->iters[i];
    unsigned all = 0, low = 0;
    int64_t by = shared_by(j, it->var);
    if (by && ts_prove_multiple(j->an, it->dom.extent, by) != TS_YES) by = 0;
    for (int k = 0; k < j->x->desc->nparams; k++)
      for (int d = 0; d < j->at[k].buf->ndim; d++) {
        if (ts_expr_uses_var(j->at[k].idx[d], it->var)) all |= 1u << k;
        if (by && uses_low(j->at[k].idx[d], it->var, by)) low |= 1u << k;
      }
    ts__piece p = {.iter = i, .by = by, .in = all, .extent = it->dom.extent};
    if (by) p.extent = ts_simplify(j->an, ts_bin(j->ir, TS_E_FLOORDIV, p.extent, ts_int(j->ir, by)));
    TS_TRY(piece_add(j, p));
    p = (ts__piece){.iter = i, .by = by, .low = true, .in = low, .extent = ts_int(j->ir, by)};
    if (by) TS_TRY(piece_add(j, p));
  }
  return true;
}

const char *ts__map_piece(ts__mapjob *j, const ts__piece *p) {
  const char *v = j->have->iters[p->iter].var->name;
  return !p->by ? v : ts_arena_printf(j->a, "%s %s %lld", v, p->low ? "%" : "//", (long long)p->by);
}

const ts_expr *ts__map_extent(ts__mapjob *j, int role) {
  const ts_expr *e = ts_int(j->ir, 1);
  for (int i = 0; i < j->npieces; i++)
    if (j->cast[role] >> i & 1) e = ts_mul(j->ir, e, j->piece[i].extent);
  return ts_simplify(j->an, e);
}

// --- mappings ------------------------------------------------------------------------------------------------------
static unsigned players(const ts__mapjob *j, int role) {
  unsigned set = 0;
  for (int i = 0; i < j->npieces; i++)
    if (j->piece[i].in == j->role[role].in && j->have->iters[j->piece[i].iter].kind == j->role[role].iter->kind) set |= 1u << i;
  return set;
}

static bool players_check(ts__mapjob *j) {
  for (int r = 0; r < j->nroles; r++) {
    if (players(j, r)) continue;
    ts_text t = {0};
    ts_text_addf(&t, "no %s iterator can play %s: none indexes", j->role[r].iter->kind == TS_ITER_REDUCE ? "reduce" : "spatial", j->role[r].iter->var->name);
    for (int k = 0; k < j->x->desc->nparams; k++)
      if (j->role[r].in >> k & 1) ts_text_addf(&t, " %s", j->at[k].buf->name);
    ts_text_add(&t, " and nothing else");
    why(j, ts_arena_strdup(j->a, ts_text_str(&t)));
    ts_text_free(&t);
    return false;
  }
  return true;
}

static void describe(ts__mapjob *j, ts_mapping *m) {
  ts_map_role *role = ts_new_array(j->a, ts_map_role, j->nroles);
  unsigned used = 0;
  for (int r = 0; r < j->nroles; r++) {
    const char **names = ts_new_array(j->a, const char *, j->npieces);
    const ts_expr *e = ts__map_extent(j, r), *k = ts_int(j->ir, j->role[r].extent);
    role[r] = (ts_map_role){.name = j->role[r].iter->var->name, .reduce = j->role[r].iter->kind == TS_ITER_REDUCE,
                            .extent = j->role[r].extent, .iters = names, .have = ts__map_text(j, e)};
    for (int i = 0; i < j->npieces; i++)
      if (j->cast[r] >> i & 1) names[role[r].n++] = ts__map_piece(j, &j->piece[i]);
    used |= j->cast[r];
    if (ts_prove_multiple(j->an, e, j->role[r].extent) == TS_YES) continue;
    const ts_expr *up = ts_add(j->ir, e, ts_int(j->ir, j->role[r].extent - 1));
    role[r].padded = ts__map_text(j, ts_simplify(j->an, ts_mul(j->ir, ts_bin(j->ir, TS_E_FLOORDIV, up, k), k)));
  }
  const char **outer = ts_new_array(j->a, const char *, j->npieces), **operand = ts_new_array(j->a, const char *, TS__MAX_OPERANDS);
  *m = (ts_mapping){.nroles = j->nroles, .role = role, .outer = outer, .operand = operand, .noperands = j->x->desc->nparams};
  for (int i = 0; i < j->npieces; i++)
    if (!(used >> i & 1)) outer[m->nouter++] = ts__map_piece(j, &j->piece[i]);
  for (int k = 0; k < m->noperands; k++) operand[k] = j->at[k].buf->name;
}

typedef TS_VEC(ts_mapping) mapping_list;

// Every way to cast roles from r on: each is played by a set of its players that is not empty, small sets first.
static void cast_all(ts__mapjob *j, int r, mapping_list *out, bool *cut) {
  if (r == j->nroles || r == TS__MAX_ROLES) {
    if (out->n == TS_MAX_MAPPINGS) {
      *cut = true;
      return;
    }
    ts_mapping m;
    describe(j, &m);
    ts__map_realise(j, &m);
    ts_vec_push(j->a, out, m);
    return;
  }
  unsigned all = players(j, r), taken = 0;
  for (int k = 0; k < r; k++) taken |= j->cast[k];
  for (int size = 1; size <= j->npieces && !*cut; size++)
    for (unsigned set = 1; set < 1u << j->npieces && !*cut; set++) {
      if ((set & ~all) || (set & taken) || __builtin_popcount(set) != size) continue;
      j->cast[r] = set;
      cast_all(j, r + 1, out, cut);
    }
}

static bool same_operands(const ts__place *x, const ts__place *y, int n) {
  for (int k = 0; k < n; k++)
    if (x[k].buf != y[k].buf || x[k].idx != y[k].idx) return false;
  return true;
}

static const ts_block *block_find(const ts_stmt *s, const char *name) {
  const ts_block *b = NULL;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n && !b; i++) b = block_find(s->seq.child[i], name);
      return b;
    case TS_S_FOR: return block_find(s->loop.body, name);
    case TS_S_BLOCK: return !strcmp(s->block->name, name) ? s->block : block_find(s->block->body, name);
    default: return NULL;
  }
}

static void enumerate(ts__mapjob *j, ts_mappings *out) {
  int n = 0;
  mapping_list list = {0};
  ts__place seen[64][TS__MAX_OPERANDS];
  unsigned nseen = 0;
  count_swaps(j->want->body->store.value, &n);
  for (j->swaps = 0; j->swaps < 1u << TS_MIN(n, 6) && !out->cut; j->swaps++) {
    if (!ts__map_operands(j, j->have, j->at)) continue;
    bool again = false;
    for (unsigned i = 0; i < nseen; i++) again |= same_operands(seen[i], j->at, j->x->desc->nparams);
    if (again) continue;
    memcpy(seen[nseen++], j->at, sizeof j->at);
    if (pieces_find(j) && players_check(j)) cast_all(j, 0, &list, &out->cut);
  }
  out->n = (int)list.n;
  out->p = list.p;
}

// --- operands that are computed ------------------------------------------------------------------------------------
// The type of numbers that all inputs of the intrinsic have; false: there are several.
static bool input_code(const ts__mapjob *j, ts_code *code) {
  const ts_buffer *c = j->want->body->store.buf;
  bool any = false;
  for (int k = 0; k < j->x->desc->nparams; k++) {
    const ts_buffer *b = j->x->desc->params[k].buf;
    if (b == c) continue;
    if (any && b->code != *code) return false;
    *code = b->code;
    any = true;
  }
  return any;
}

static bool stage(ts_sched *s, ts_text *t, const char *line) {
  if (!ts_sched_step(s, line, NULL)) return false;
  ts_text_addf(t, "%s\n", line);
  return true;
}

// What the block makes of one of the buffers that it reads, as an operand of its own, of the type that the intrinsic has.
static bool stage_one(ts__mapjob *j, ts_sched *s, ts_text *t, int number, ts_code code) {
  const ts_block *b = ts_sched_block(s, ts_sched_find(s, "s"))->block;
  for (int i = 0; i < b->nreads; i++) {
    size_t n = t->n;
    const char *name = ts_arena_printf(j->a, "e%d", number);
    if (!stage(s, t, ts_arena_printf(j->a, "%s = cache_expr s \"%s\" \"global\"", name, b->reads[i].buf->name))) continue;
    const ts_stmt *store = ts_sched_block(s, ts_sched_find(s, name))->block->body;
    const ts_expr *e = store->store.value;
    bool plain = e->kind == TS_E_CAST && e->arg[0]->kind == TS_E_LOAD && e->arg[0]->buf->code == code;
    if (!plain && store->store.buf->code == code) return true;
    if (!plain && stage(s, t, ts_arena_printf(j->a, "unsafe_set_dtype s \"%s\" %s", store->store.buf->name, ts_code_name(code)))) return true;
    ts_sched_undo(s, 1);  // an operand as it is
    t->n = n;
  }
  return false;
}

// Tries again with what stands in the way computed before.
static void enumerate_staged(ts__mapjob *j, ts_mappings *out) {
  ts_text t = {0};
  ts_code code = TS_F32;
  ts_sched *s = ts_sched_new(j->ir, j->f, 0);
  int n = 0;
  if (input_code(j, &code) && stage(s, &t, ts_arena_printf(j->a, "s = get_block \"%s\"", j->name)))
    while (n < TS__MAX_OPERANDS && stage_one(j, s, &t, n, code)) n++;
  const char *why_not = j->why;
  if (n) {
    j->first = ts_arena_strndup(j->a, ts_text_str(&t), t.n);
    j->f = ts_sched_func(s);
    j->have = block_find(j->f->body, j->name);
    enumerate(j, out);
  }
  j->why = why_not;
  ts_text_free(&t);
}

bool ts_map_block(ts_ir *ir, const ts_func *f, const char *block, const char *intrin, ts_mappings *out, ts_diag *d) {
  *out = (ts_mappings){0};
  ts__mapjob j = {.ir = ir, .a = ts_ir_arena(ir), .f = f, .name = block, .first = "", .have = block_find(f->body, block)};
  if (!j.have) return ts_refuse(d, "no-such-block", "map: %s has no block \"%s\"", f->name, block);
  TS_TRY((j.x = ts_intrin_load(ir, intrin, d)) != NULL);
  j.an = ts_analyzer_new(ir);
  ts_bind_dims(j.an, f);
  if (roles_find(&j)) {
    enumerate(&j, out);
    if (!out->n) enumerate_staged(&j, out);
  }
  ts_analyzer_free(j.an);
  if (!out->n) out->why = j.why ? j.why : "it has no iterators";
  return true;
}
