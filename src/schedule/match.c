// Does a block compute what an intrinsic describes? Up to the names and order of loops, the order of operands of commutative
// operations, and where and with what strides the operands lie.
#include "op/intrin.h"
#include "schedule_impl.h"

enum { MAX_LOOPS = 8, MAX_OPERANDS = 8 };

// A body as one store in a nest of loops: iterators replaced by their bindings.
typedef struct nest {
  int n;
  const ts_var *var[MAX_LOOPS];
  int64_t extent[MAX_LOOPS];
  const ts_stmt *store;
} nest;
typedef struct view {            // what an operand was found to be
  const ts_buffer *buf;
  const ts_expr *const *start;
  int64_t *step;                 // [operand dimension * ndim of buf + dimension of buf]
} view;
typedef struct matcher {
  ts__ctx *c;
  ts__match *m;
  nest want, have;
  int to[MAX_LOOPS];             // loop of want -> loop of have
  view view[MAX_OPERANDS];
} matcher;

static bool why(ts__match *m, const char *text) {
  if (!m->why) m->why = text;
  return false;
}

// --- flattening ------------------------------------------------------------------------------------------------------
static bool flatten(ts__ctx *c, const ts_stmt *s, nest *out, ts__match *m, const char *whose) {
  ts_subst map[32];
  int nmap = 0;
  for (;;) {
    if (s->kind == TS_S_FOR) {
      int64_t min, extent;
      const ts_expr *e = ts_simplify(ts__an(c), s->loop.extent);
      if (out->n == MAX_LOOPS || !ts_is_int(s->loop.min, &min) || min != 0 || !ts_is_int(e, &extent))
        return why(m, ts_arena_printf(c->a, "loop %s of %s has no constant extent from zero", s->loop.var->name, whose));
      out->var[out->n] = s->loop.var;
      out->extent[out->n++] = extent;
      s = s->loop.body;
    } else if (s->kind == TS_S_BLOCK) {
      const ts_block *b = s->block;
      if (b->predicate) return why(m, ts_arena_printf(c->a, "block %s of %s is guarded", b->name, whose));
      if (b->init) return why(m, ts_arena_printf(c->a, "block %s of %s initialises as well; decompose_reduction first", b->name, whose));
      if (nmap + b->niters > (int)TS_COUNTOF(map)) return why(m, "too many iterators");
      int first = nmap;
      for (int i = 0; i < b->niters; i++)
        map[first + i] = (ts_subst){b->iters[i].var, ts_expr_subst(c->ir, b->iters[i].value, map, first)};
      nmap = first + b->niters;
      s = b->body;
    } else if (s->kind == TS_S_STORE) {
      out->store = nmap ? ts_stmt_subst(c->ir, s, map, nmap) : s;
      return true;
    } else {
      return why(m, ts_arena_printf(c->a, "%s is not one store in a plain nest", whose));
    }
  }
}

// --- operands ------------------------------------------------------------------------------------------------------------
static int operand_of(const ts_func *desc, const ts_buffer *buf) {
  for (int i = 0; i < desc->nparams; i++)
    if (desc->params[i].buf == buf) return i;
  return -1;
}

// The loop of want that indexes dimension d, -1 for a constant 0, -2 for anything else.
static int index_loop(const matcher *w, const ts_expr *e) {
  int64_t zero;
  if (ts_is_int(e, &zero)) return zero == 0 ? -1 : -2;
  for (int i = 0; i < w->want.n; i++)
    if (e->kind == TS_E_VAR && e->var == w->want.var[i]) return i;
  return -2;
}

// Elements in memory from one index of dimension d of buf to the next; 0 when it is not constant.
static int64_t memory_step(ts__ctx *c, const ts_buffer *buf, int d) {
  int64_t k = 1, v;
  if (buf->stride) return ts_is_int(ts_simplify(ts__an(c), buf->stride[d]), &v) ? v : 0;
  for (int e = d + 1; e < buf->ndim; e++) {
    if (!ts_is_int(ts_simplify(ts__an(c), buf->shape[e]), &v)) return 0;
    k *= v;
  }
  return k;
}

typedef struct run {
  const char *name;
  int64_t lanes;
} run;

static bool see_vector(void *arg, const ts_expr *e) {
  run *r = arg;
  if (e->kind == TS_E_LOAD && !strcmp(e->buf->name, r->name)) r->lanes = TS_MAX(r->lanes, e->type.lanes);
  return true;
}

static bool see_vector_store(void *arg, const ts_stmt *s) {
  run *r = arg;
  if (s->kind == TS_S_STORE && !strcmp(s->store.buf->name, r->name)) r->lanes = TS_MAX(r->lanes, s->store.value->type.lanes);
  return true;
}

// Elements of operand `name` that the implementation takes at once. Tiles spread over threads lie as they like.
static int64_t taken_at_once(const ts_intrin *x, const char *name) {
  run r = {name, 1};
  for (int i = 0; i < x->impl->nparams; i++) {
    const ts_buffer *b = x->impl->params[i].buf;
    if (!strcmp(b->name, name) && !strncmp(b->scope, "fragment.", 9)) return 1;
  }
  ts_stmt_visit(x->impl->body, see_vector_store, see_vector, &r);
  return r.lanes;
}

// What the implementation takes as one vector must lie side by side in memory.
static bool compact(matcher *w, const ts_buffer *o, const view *v) {
  int64_t want = 1, most = taken_at_once(w->m->intrin, o->name);
  for (int i = o->ndim - 1; i >= 0 && want < most; i--) {
    int64_t extent, have = 0;
    if (!ts_is_int(o->shape[i], &extent)) return why(w->m, "an operand of the intrinsic has no constant shape");
    for (int d = 0; d < v->buf->ndim; d++)
      if (v->step[i * v->buf->ndim + d]) {
        int64_t s = memory_step(w->c, v->buf, d);
        if (!s) return why(w->m, ts_arena_printf(w->c->a, "operand %s steps through %s by an amount that is not constant", o->name, v->buf->name));
        have += s * v->step[i * v->buf->ndim + d];
      }
    if (extent > 1 && have != want)
      return why(w->m, ts_arena_printf(w->c->a, "operand %s needs elements %lld apart in dimension %d, in %s they are %lld apart", o->name,
                                       (long long)want, i, v->buf->name, (long long)have));
    want *= extent;
  }
  return true;
}

static bool view_equal(const view *a, const view *b, int ndim) {
  if (a->buf != b->buf) return false;
  for (int d = 0; d < a->buf->ndim; d++)
    if (a->start[d] != b->start[d]) return false;
  return !memcmp(a->step, b->step, sizeof(int64_t) * (size_t)(ndim * a->buf->ndim));
}

// Access want: buffer o at widx; have: buffer buf at hidx. Agree on a view, the same for every access of the operand.
static bool access_match(matcher *w, const ts_buffer *o, const ts_expr *const *widx, const ts_buffer *buf, const ts_expr *const *hidx) {
  ts__ctx *c = w->c;
  int k = operand_of(w->m->intrin->desc, o);
  if (k < 0 || k >= MAX_OPERANDS) return why(w->m, "the description uses a buffer that is no operand");
  if (buf->code != o->code)
    return why(w->m, ts_arena_printf(c->a, "operand %s holds %s, %s holds %s", o->name, ts_code_name(o->code), buf->name, ts_code_name(buf->code)));
  const ts_var *vars[MAX_LOOPS];
  int64_t coef[MAX_LOOPS];
  for (int i = 0; i < w->have.n; i++) vars[i] = w->have.var[i];
  view v = {.buf = buf, .step = ts_new_array(c->a, int64_t, o->ndim * buf->ndim)};
  const ts_expr **start = ts_new_array(c->a, const ts_expr *, buf->ndim);
  v.start = start;
  for (int d = 0; d < buf->ndim; d++) {
    const ts_expr *rest;
    if (!ts_linear_multi(ts__an(c), ts_simplify(ts__an(c), hidx[d]), vars, w->have.n, coef, &rest))
      return why(w->m, ts_arena_printf(c->a, "index %d of %s is not linear in the loops", d, buf->name));
    start[d] = ts_simplify(ts__an(c), rest);
    for (int i = 0; i < o->ndim; i++) {
      int l = index_loop(w, widx[i]);
      if (l == -2) return why(w->m, "the description indexes an operand by more than a loop");
      if (l < 0) continue;
      v.step[i * buf->ndim + d] = coef[w->to[l]];
      coef[w->to[l]] = 0;
    }
    for (int i = 0; i < w->have.n; i++)
      if (coef[i] && w->have.extent[i] > 1)
        return why(w->m, ts_arena_printf(c->a, "%s moves with loop %s, operand %s does not", buf->name, w->have.var[i]->name, o->name));
  }
  if (w->view[k].buf) return view_equal(&w->view[k], &v, o->ndim) || why(w->m, ts_arena_printf(c->a, "operand %s is in two places", o->name));
  if (!o->stride && !compact(w, o, &v)) return false;
  w->view[k] = v;
  return true;
}

// --- expressions -----------------------------------------------------------------------------------------------------------
static bool commutes(ts_ekind k) {
  switch (k) {
    case TS_E_ADD: case TS_E_MUL: case TS_E_MIN: case TS_E_MAX: case TS_E_BITAND: case TS_E_BITOR: case TS_E_BITXOR:
    case TS_E_EQ: case TS_E_NE: case TS_E_AND: case TS_E_OR: return true;
    default: return false;
  }
}

static bool expr_match(matcher *w, const ts_expr *want, const ts_expr *have);

static bool args_match(matcher *w, const ts_expr *want, const ts_expr *have, bool swapped) {
  for (uint32_t i = 0; i < want->nargs; i++)
    if (!expr_match(w, want->arg[i], have->arg[swapped ? want->nargs - 1 - i : i])) return false;
  return true;
}

static bool differs(matcher *w, const ts_expr *want, const ts_expr *have) {
  if (w->m->why) return false;
  return why(w->m, ts_arena_printf(w->c->a, "it has %s where the intrinsic has %s", ts__expr_text(w->c, have), ts__expr_text(w->c, want)));
}

// Are they one function of the loops?
static bool same_index(matcher *w, const ts_expr *want, const ts_expr *have) {
  ts_subst map[MAX_LOOPS];
  int64_t zero;
  for (int i = 0; i < w->want.n; i++) map[i] = (ts_subst){w->want.var[i], ts_evar(w->c->ir, w->have.var[w->to[i]])};
  const ts_expr *e = ts_expr_subst(w->c->ir, want, map, w->want.n);
  return ts_const_value(ts__an(w->c), ts_sub(w->c->ir, e, have), &zero) && zero == 0;
}

static bool expr_match(matcher *w, const ts_expr *want, const ts_expr *have) {
  if (ts_type_eq(want->type, TS_INDEX) && ts_type_eq(have->type, TS_INDEX) && want->kind != TS_E_LOAD)
    return same_index(w, want, have) || differs(w, want, have);
  if (want->kind != have->kind || !ts_type_eq(want->type, have->type) || want->nargs != have->nargs) {
    if (want->kind != TS_E_LOAD || have->kind != TS_E_LOAD) return differs(w, want, have);
  }
  switch ((ts_ekind)want->kind) {
    case TS_E_LOAD: return access_match(w, want->buf, want->arg, have->buf, have->arg);
    case TS_E_INT: return want->i == have->i || differs(w, want, have);
    case TS_E_FLOAT: return memcmp(&want->f, &have->f, sizeof want->f) == 0 || differs(w, want, have);
    case TS_E_VAR: return differs(w, want, have);
    case TS_E_CALL:
      if (strcmp(want->callee, have->callee) != 0) return differs(w, want, have);
      break;
    default: break;
  }
  view before[MAX_OPERANDS];
  memcpy(before, w->view, sizeof before);
  const char *said = w->m->why;
  if (args_match(w, want, have, false)) return true;
  if (want->nargs != 2 || !commutes((ts_ekind)want->kind)) return false;
  const char *first = w->m->why;
  memcpy(w->view, before, sizeof before);
  w->m->why = said;
  if (args_match(w, want, have, true)) return true;
  w->m->why = first;  // what the order as written lacks
  return false;
}

// --- loops --------------------------------------------------------------------------------------------------------------------
static bool bodies_match(matcher *w) {
  memset(w->view, 0, sizeof w->view);
  const ts_stmt *a = w->want.store, *b = w->have.store;
  return access_match(w, a->store.buf, a->store.idx, b->store.buf, b->store.idx) && expr_match(w, a->store.value, b->store.value);
}

// Assign the loops of want from i on to loops of have of equal extent, in every way. The reason of the first full try is kept.
static bool assign(matcher *w, int i, unsigned taken, const char **reason) {
  if (i == w->want.n) {
    w->m->why = NULL;
    if (bodies_match(w)) return true;
    if (!*reason) *reason = w->m->why;
    return false;
  }
  for (int k = 0; k < w->have.n; k++) {
    if ((taken >> k & 1) || w->have.extent[k] != w->want.extent[i]) continue;
    w->to[i] = k;
    if (assign(w, i + 1, taken | 1u << k, reason)) return true;
  }
  return false;
}

static bool extents_match(matcher *w) {
  int64_t left = 1;
  const char *reason = NULL;
  for (int k = 0; k < w->have.n; k++) left *= w->have.extent[k];
  for (int i = 0; i < w->want.n; i++) left = w->want.extent[i] > 0 && left % w->want.extent[i] == 0 ? left / w->want.extent[i] : 0;
  if (left == 1 && assign(w, 0, 0, &reason)) return true;
  w->m->why = reason;
  if (reason) return false;
  ts_text t = {0};
  ts_text_add(&t, "its loops run");
  for (int k = 0; k < w->have.n; k++) ts_text_addf(&t, " %lld", (long long)w->have.extent[k]);
  ts_text_add(&t, ", the intrinsic's");
  for (int k = 0; k < w->want.n; k++) ts_text_addf(&t, " %lld", (long long)w->want.extent[k]);
  w->m->why = ts_arena_strdup(w->c->a, ts_text_str(&t));
  ts_text_free(&t);
  return false;
}

// --- result --------------------------------------------------------------------------------------------------------------------
static void operands_fill(matcher *w) {
  const ts_func *desc = w->m->intrin->desc;
  ts_operand *o = ts_new_array(w->c->a, ts_operand, desc->nparams);
  for (int k = 0; k < desc->nparams; k++) {
    const view *v = &w->view[k];
    const ts_buffer *p = desc->params[k].buf;
    const int64_t **step = ts_new_array(w->c->a, const int64_t *, p->ndim);
    for (int i = 0; i < p->ndim; i++) step[i] = v->step + i * v->buf->ndim;
    o[k] = (ts_operand){.name = p->name, .buf = v->buf, .start = v->start, .ndim = p->ndim, .step = step};
  }
  w->m->operands = o;
  w->m->noperands = desc->nparams;
}

bool ts__match_intrin(ts__ctx *c, ts__match *m) {
  matcher w = {.c = c, .m = m};
  const ts_func *desc = m->intrin->desc;
  if (desc->nparams > MAX_OPERANDS) return why(m, "the intrinsic has too many operands");
  if (m->block->init) return why(m, "the block initialises as well; decompose_reduction first");
  if (!flatten(c, desc->body, &w.want, m, "the intrinsic") || !flatten(c, m->block->body, &w.have, m, "the block")) return false;
  size_t mark = ts_analyzer_push(ts__an(c));
  for (int i = 0; i < w.have.n; i++)
    ts_bind_range(ts__an(c), w.have.var[i], (ts_range){ts_int(c->ir, 0), ts_int(c->ir, w.have.extent[i])});
  bool ok = extents_match(&w);
  ts_analyzer_pop(ts__an(c), mark);
  if (!ok) return false;
  for (int k = 0; k < desc->nparams; k++)
    if (!w.view[k].buf) return why(m, "the description does not use an operand");
  operands_fill(&w);
  return true;
}
