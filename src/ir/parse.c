// parse: statements and functions. The grammar is in docs/tir.md.
#include <stdlib.h>

#include "ir/parse_impl.h"

typedef TS_VEC(const ts_stmt *) stmts;
typedef TS_VEC(const ts_buffer *) buffers;

static bool word(ts__parser *p, const char *w) { return ts_lex_accept(p->l, w); }
static bool expect(ts__parser *p, const char *w) { return ts_lex_expect(p->l, p->d, w); }
static const char *ident(ts__parser *p) { return ts_lex_ident(p->l, p->ir->arena, p->d); }

// --- notes ----------------------------------------------------------------------------------------------------

static bool note_value(ts__parser *p, ts_note *n) {
  if (p->l->tok == TS_TOK_STRING) {
    n->kind = TS_NOTE_STR;
    return (n->s = ts_lex_string(p->l, p->ir->arena, p->d)) != NULL;
  }
  ts__val v;
  TS_TRY(ts__parse_val(p, NULL, &v));
  if (v.kind == TS__HARD) return ts_lex_error(p->l, p->d, "the value of '%s' must be a constant", n->key);
  n->kind = v.kind == TS__SOFT_INT ? TS_NOTE_INT : TS_NOTE_FLOAT;
  n->i = v.i;
  n->f = v.f;
  return true;
}

// "[key = value, ...]", optional.
static bool notes(ts__parser *p, ts_notes *out) {
  if (!word(p, "[")) return true;
  do {
    ts_note n = {.key = ident(p)};
    TS_TRY(n.key && expect(p, "="));
    if (ts_notes_find(*out, n.key)) return ts_lex_error(p->l, p->d, "the note '%s' is given twice", n.key);
    TS_TRY(note_value(p, &n));
    *out = ts_notes_with(p->ir->arena, *out, n);
  } while (word(p, ","));
  return expect(p, "]");
}

// --- statements -----------------------------------------------------------------------------------------------

// Statements up to the closing brace, which is consumed. `allocs` receives the buffers of the block whose body this is;
// NULL elsewhere.
static const ts_stmt *body(ts__parser *p, buffers *allocs);

static const ts_stmt *braces(ts__parser *p) {
  size_t syms = p->syms.n;
  const ts_stmt *s = expect(p, "{") && ts__parse_nest(p) ? body(p, NULL) : NULL;
  p->syms.n = syms;
  p->nest--;
  return s;
}

static bool thread_axis(ts__parser *p, ts_axis *out) {
  TS_TRY(expect(p, "("));
  for (int a = TS_AXIS_NONE + 1; a < TS_AXIS__COUNT; a++) {
    if (!word(p, ts_axis_name((ts_axis)a))) continue;
    *out = (ts_axis)a;
    return expect(p, ")");
  }
  return ts_lex_error(p->l, p->d, "expected a thread axis such as threadIdx.x");
}

static bool loop_kind(ts__parser *p, ts_stmt *s) {
  for (int k = 0; k < TS_LOOP_KIND__COUNT; k++) {
    if (!word(p, ts_loop_kind_name((ts_loop_kind)k))) continue;
    s->loop.kind = (ts_loop_kind)k;
    return k != TS_THREAD || thread_axis(p, &s->loop.axis);
  }
  return true;
}

// "i in range kind [notes]", then either ", ..." with the next loop inside or the body.
static const ts_stmt *loop(ts__parser *p) {
  const char *name = ident(p);
  ts_range r;
  ts_notes n = {0};
  ts_stmt kind = {0};
  size_t syms = p->syms.n;
  if (!name || !expect(p, "in") || !ts__parse_range(p, false, &r) || !loop_kind(p, &kind) || !notes(p, &n)) return NULL;
  const ts_var *v = ts_var_new(p->ir, name, TS_INDEX);
  if (!ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_VAR, .var = v, .range = r}) || !ts__parse_nest(p))
    return NULL;
  const ts_stmt *inner = word(p, ",") ? loop(p) : braces(p);
  p->nest--;
  p->syms.n = syms;
  if (!inner) return NULL;
  ts_stmt *s;
  ts_stmt_copy(p->ir, ts_for(p->ir, v, r.min, r.extent, kind.loop.kind, inner), &s);
  s->loop.axis = kind.loop.axis;
  s->loop.notes = n;
  return s;
}

static bool iter_kind(ts__parser *p, ts_iter_kind *out) {
  static const char *const letter[TS_ITER_KIND__COUNT] = {"S", "R", "O"};
  for (int k = 0; k < TS_ITER_KIND__COUNT; k++) {
    if (!word(p, letter[k])) continue;
    *out = (ts_iter_kind)k;
    return true;
  }
  return ts_lex_error(p->l, p->d, "expected an iterator kind: S, R or O");
}

// The domain that an iterator bound to a plain loop variable may leave out.
static bool domain_of(ts__parser *p, const ts_expr *value, ts_range *out) {
  for (size_t i = p->syms.n; value->kind == TS_E_VAR && i-- > p->base;) {
    const ts__sym *s = &p->syms.p[i];
    if (s->kind != TS__SYM_VAR || s->var != value->var || !s->range.min) continue;
    *out = s->range;
    return true;
  }
  return ts_lex_error(p->l, p->d, "an iterator not bound to a loop variable needs its domain, S(0..extent)");
}

static bool iterators(ts__parser *p, ts_block *b) {
  TS_VEC(ts_iter) v = {0};
  TS_TRY(expect(p, "("));
  while (!ts_lex_is(p->l, ")")) {
    ts_iter it = {0};
    bool domain;
    const char *name = ident(p);
    TS_TRY(name && expect(p, ":") && iter_kind(p, &it.kind));
    domain = word(p, "(");
    if (domain) TS_TRY(ts__parse_range(p, false, &it.dom) && expect(p, ")"));
    TS_TRY(expect(p, "=") && (it.value = ts__parse_index(p)));
    if (!domain) TS_TRY(domain_of(p, it.value, &it.dom));
    it.var = ts_var_new(p->ir, name, TS_INDEX);
    ts_vec_push(p->ir->arena, &v, it);
    if (!word(p, ",")) break;
  }
  b->niters = (int)v.n;
  b->iters = v.p;
  return expect(p, ")");
}

static bool regions(ts__parser *p, const ts_region **out, int *n) {
  TS_VEC(ts_region) v = {0};
  TS_TRY(expect(p, "("));
  while (!ts_lex_is(p->l, ")")) {
    ts_region r = {.buf = ts__parse_buffer_name(p)};
    TS_TRY(r.buf && expect(p, "["));
    ts_range *dim = ts_new_array(p->ir->arena, ts_range, r.buf->ndim + 1);
    for (int d = 0; d < r.buf->ndim; d++) {
      if (d) TS_TRY(expect(p, ","));
      TS_TRY(ts__parse_range(p, true, &dim[d]));
    }
    r.dim = dim;
    TS_TRY(expect(p, "]"));
    ts_vec_push(p->ir->arena, &v, r);
    if (!word(p, ",")) break;
  }
  *out = v.p;
  *n = (int)v.n;
  return expect(p, ")");
}

// "(1, 0)": the step of one dimension of an operand.
static const int64_t *steps(ts__parser *p, int n) {
  int64_t *v = ts_new_array(p->ir->arena, int64_t, n + 1);
  if (!expect(p, "(")) return NULL;
  for (int d = 0; d < n; d++) {
    if (d && !expect(p, ",")) return NULL;
    if (!ts__parse_const(p, &v[d])) return NULL;
  }
  return expect(p, ")") ? v : NULL;
}

static bool operand(ts__parser *p, ts_operand *o) {
  const ts_expr *start[TS__MAX_DIMS];
  TS_VEC(const int64_t *) v = {0};
  TS_TRY((o->name = ident(p)) && expect(p, "=") && (o->buf = ts__parse_buffer_name(p)) && expect(p, "["));
  TS_TRY(ts__parse_indices(p, o->buf, start));
  if (word(p, ";")) {
    do {
      const int64_t *s = steps(p, o->buf->ndim);
      TS_TRY(s != NULL);
      if (v.n == TS__MAX_DIMS) return ts_lex_error(p->l, p->d, "more than %d dimensions", TS__MAX_DIMS);
      ts_vec_push(p->ir->arena, &v, s);
    } while (word(p, ","));
  }
  o->start = ts_arena_dup(p->ir->arena, start, sizeof(*start) * (size_t)o->buf->ndim);
  o->ndim = (int)v.n;
  o->step = v.p;
  return expect(p, "]");
}

static bool intrin(ts__parser *p, ts_block *b) {
  TS_VEC(ts_operand) v = {0};
  TS_TRY((b->intrin = ident(p)) && expect(p, "("));
  while (!ts_lex_is(p->l, ")")) {
    ts_operand o = {0};
    TS_TRY(operand(p, &o));
    ts_vec_push(p->ir->arena, &v, o);
    if (!word(p, ",")) break;
  }
  b->noperands = (int)v.n;
  b->operands = v.p;
  return expect(p, ")");
}

static bool alloc_line(ts__parser *p, const ts_buffer **out) {
  p->ops = 0;
  const char *name = ident(p);
  TS_TRY(name && expect(p, ":") && (*out = ts__parse_buffer(p, name)));
  return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_BUFFER, .buf = *out});
}

// What may stand at the head of a block: reads(..) writes(..), intrin NAME(..), allocs, init { .. }.
static bool block_head(ts__parser *p, ts_block *b, buffers *allocs) {
  if (word(p, "reads")) {
    b->explicit_access = true;
    TS_TRY(regions(p, &b->reads, &b->nreads) && expect(p, "writes") && regions(p, &b->writes, &b->nwrites));
  }
  if (word(p, "intrin")) TS_TRY(intrin(p, b));
  while (word(p, "alloc")) {
    const ts_buffer *buf;
    TS_TRY(alloc_line(p, &buf));
    ts_vec_push(p->ir->arena, allocs, buf);
  }
  if (word(p, "init")) TS_TRY((b->init = braces(p)) != NULL);
  return true;
}

static bool block_body(ts__parser *p, ts_block *b) {
  buffers allocs = {0};
  TS_TRY(block_head(p, b, &allocs));
  TS_TRY((b->body = body(p, &allocs)) != NULL);
  b->nallocs = (int)allocs.n;
  b->allocs = allocs.p;
  return true;
}

static const ts_stmt *block(ts__parser *p) {
  ts_block *b = ts_new(p->ir->arena, ts_block);
  size_t syms = p->syms.n;
  if (p->stage == TS_STAGE_LOOPS) return ts_lex_error(p->l, p->d, "a lowered function has no blocks"), NULL;
  if (!(b->name = ident(p)) || !iterators(p, b)) return NULL;
  if (word(p, "where") && !(b->predicate = ts__parse_typed(p, ts_scalar(TS_BOOL)))) return NULL;
  if (!notes(p, &b->notes)) return NULL;
  for (int i = 0; i < b->niters; i++) {
    if (!ts__sym_add(p, (ts__sym){.name = b->iters[i].var->name, .kind = TS__SYM_VAR, .var = b->iters[i].var}))
      return NULL;
  }
  bool ok = ts__parse_nest(p) && expect(p, "{") && block_body(p, b);
  p->nest--;
  p->syms.n = syms;
  return ok ? ts_block_stmt(p->ir, b) : NULL;
}

static const ts_stmt *conditional(ts__parser *p) {
  const ts_expr *c = ts__parse_typed(p, ts_scalar(TS_BOOL));
  const ts_stmt *then = c ? braces(p) : NULL, *other = NULL;
  if (!then) return NULL;
  if (word(p, "else")) {
    other = braces(p);
    if (!other) return NULL;
  }
  return ts_if(p->ir, c, then, other);
}

// The variable is visible from here on; the body is filled in when the enclosing braces close.
static const ts_stmt *let(ts__parser *p) {
  ts_type t;
  const char *name = ident(p);
  if (!name || !expect(p, ":") || !ts__parse_type(p, &t) || !expect(p, "=")) return NULL;
  const ts_expr *value = ts__parse_typed(p, t);
  if (!value) return NULL;
  const ts_var *v = ts_var_new(p->ir, name, t);
  if (!ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_VAR, .var = v})) return NULL;
  return ts_let(p->ir, v, value, NULL);
}

static const ts_stmt *store(ts__parser *p) {
  const ts_buffer *b = ts__parse_buffer_name(p);
  const ts_expr *idx[TS__MAX_DIMS], *value;
  int64_t lanes = 1;
  if (!b || !expect(p, "[") || !ts__parse_indices(p, b, idx)) return NULL;
  if (word(p, ":") && !ts__parse_const(p, &lanes)) return NULL;
  if (lanes < 1 || lanes > TS__MAX_LANES || (lanes > 1 && b->ndim == 0))
    return ts_lex_error(p->l, p->d, "cannot store %lld lanes", (long long)lanes), NULL;
  if (!expect(p, "]") || !expect(p, "=")) return NULL;
  value = ts__parse_typed(p, ts_vector(b->code, (int)lanes));
  return value ? ts_store(p->ir, b, idx, value) : NULL;
}

static const ts_stmt *eval(ts__parser *p) {
  ts__val v;
  if (!ts__parse_val(p, NULL, &v)) return NULL;
  if (v.kind != TS__HARD && !ts__harden(p, &v, v.kind == TS__SOFT_INT ? TS_INDEX : ts_scalar(TS_F32))) return NULL;
  return ts_eval(p->ir, v.e);
}

static const ts_stmt *alloc(ts__parser *p) {
  const ts_buffer *b;
  if (p->stage != TS_STAGE_LOOPS)
    return ts_lex_error(p->l, p->d, "alloc stands at the head of a block or function"), NULL;
  return alloc_line(p, &b) ? ts_alloc(p->ir, b, NULL) : NULL;
}

static const ts_stmt *stmt(ts__parser *p) {
  p->ops = 0;
  if (word(p, "for")) return loop(p);
  if (word(p, "block")) return block(p);
  if (word(p, "if")) return conditional(p);
  if (word(p, "let")) return let(p);
  if (word(p, "alloc")) return alloc(p);
  if (word(p, "eval")) return eval(p);
  if (ts_lex_is(p->l, "{")) return braces(p);
  return store(p);
}

static bool is_open(const ts_stmt *s) {
  return (s->kind == TS_S_LET && !s->let.body) || (s->kind == TS_S_ALLOC && !s->alloc.body);
}

// The statements as one, each let and alloc holding those after it.
static const ts_stmt *fold(ts__parser *p, const ts_stmt **v, int n) {
  for (int i = n - 1; i >= 0; i--) {
    if (!is_open(v[i])) continue;
    const ts_stmt *rest = ts_seq(p->ir, v + i + 1, n - i - 1);
    v[i] = v[i]->kind == TS_S_LET ? ts_let(p->ir, v[i]->let.var, v[i]->let.value, rest)
                                  : ts_alloc(p->ir, v[i]->alloc.buf, rest);
    n = i + 1;
  }
  return ts_seq(p->ir, v, n);
}

static const ts_stmt *body(ts__parser *p, buffers *allocs) {
  stmts v = {0};
  int nest = p->nest;
  while (!word(p, "}")) {
    if (allocs && p->stage == TS_STAGE_BLOCKS && word(p, "alloc")) {
      const ts_buffer *b;
      if (!alloc_line(p, &b)) return NULL;
      ts_vec_push(p->ir->arena, allocs, b);
      continue;
    }
    const ts_stmt *s = stmt(p);
    if (!s || (is_open(s) && !ts__parse_nest(p))) return NULL;
    ts_vec_push(p->tmp, &v, s);
  }
  p->nest = nest;
  return fold(p, v.p, (int)v.n);
}

// --- functions ------------------------------------------------------------------------------------------------

static bool dim_facts(ts__parser *p, ts_dim *d) {
  d->multiple = 1;
  TS_TRY(expect(p, "(") && ts__parse_const(p, &d->lo) && expect(p, "..") && ts__parse_const(p, &d->hi));
  if (word(p, ",")) TS_TRY(expect(p, "multiple") && ts__parse_const(p, &d->multiple));
  if (d->lo < 0 || d->hi < d->lo || d->hi > (int64_t)1 << 40 || d->multiple < 1)
    return ts_lex_error(p->l, p->d, "a dimension needs 0 <= lo <= hi <= 2^40 and a positive multiple");
  return expect(p, ")");
}

static const ts_bind *dim_bind(const ts__parser *p, const char *name) {
  for (int i = 0; i < p->nbind; i++) {
    bool kind = p->bind[i].kind == TS_BIND_INT || p->bind[i].kind == TS_BIND_DIM;
    if (kind && strcmp(p->bind[i].name, name) == 0) return &p->bind[i];
  }
  return NULL;
}

// A bound dimension is a constant, or takes narrower facts.
static bool dim_param(ts__parser *p, const char *name) {
  ts_dim d = {0};
  TS_TRY(dim_facts(p, &d));
  const ts_bind *b = dim_bind(p, name);
  if (b && b->kind == TS_BIND_INT) {
    if (b->i < d.lo || b->i > d.hi || b->i % d.multiple)
      return ts_lex_error(p->l, p->d, "%s = %lld is outside its facts", name, (long long)b->i);
    return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_VALUE, .val = {.kind = TS__SOFT_INT, .i = b->i}});
  }
  if (b) {
    if (b->i < d.lo || b->hi > d.hi || b->hi < b->i || b->multiple < 1 || b->multiple % d.multiple) {
      return ts_lex_error(p->l, p->d, "the facts given for %s are outside its own", name);
    }
    d.lo = b->i, d.hi = b->hi, d.multiple = b->multiple;
  }
  d.var = ts_var_new(p->ir, name, TS_INDEX);
  ts_vec_push(p->tmp, &p->dims, d);
  return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_VAR, .var = d.var});
}

static bool parameter(ts__parser *p) {
  ts_param q = {0};
  p->ops = 0;
  const char *name = ident(p);
  TS_TRY(name && expect(p, ":"));
  if (word(p, "dim")) return dim_param(p, name);
  q.role = word(p, "out") ? TS_OUT : word(p, "inout") ? TS_INOUT : TS_IN;
  if (q.role == TS_IN && ts_lex_is(p->l, "weight")) return ts__parse_weight(p, name);
  TS_TRY((q.buf = ts__parse_buffer(p, name)) != NULL);
  q.cache = word(p, "cold") ? TS_COLD : TS_WARM;
  ts_vec_push(p->tmp, &p->params, q);
  return ts__sym_add(p, (ts__sym){.name = name, .kind = TS__SYM_BUFFER, .buf = q.buf});
}

static bool parameters(ts__parser *p) {
  TS_TRY(expect(p, "("));
  while (!ts_lex_is(p->l, ")")) {
    TS_TRY(parameter(p));
    if (!word(p, ",")) break;
  }
  return expect(p, ")");
}

// The body of a function of blocks is the block "root".
static const ts_stmt *root(ts__parser *p) {
  ts_block *b = ts_new(p->ir->arena, ts_block);
  buffers allocs = {0};
  b->name = "root";
  if (word(p, "root") && !notes(p, &b->notes)) return NULL;
  if (!(b->body = body(p, &allocs))) return NULL;
  b->nallocs = (int)allocs.n;
  b->allocs = allocs.p;
  return ts_stmt_infer_access(p->ir, ts_block_stmt(p->ir, b));
}

static bool function(ts__parser *p, ts_func *f) {
  TS_TRY(expect(p, "func") && (f->name = ident(p)) && parameters(p));
  f->stage = p->stage = word(p, "lowered") ? TS_STAGE_LOOPS : TS_STAGE_BLOCKS;
  TS_TRY(notes(p, &f->notes) && expect(p, "{"));
  TS_TRY((f->body = f->stage == TS_STAGE_BLOCKS ? root(p) : body(p, NULL)) != NULL);
  f->ndims = (int)p->dims.n;
  f->dims = f->ndims ? ts_arena_dup(p->ir->arena, p->dims.p, sizeof(ts_dim) * p->dims.n) : NULL;
  f->nparams = (int)p->params.n;
  f->params = f->nparams ? ts_arena_dup(p->ir->arena, p->params.p, sizeof(ts_param) * p->params.n) : NULL;
  return true;
}

const ts_func *ts_func_parse_at(ts_ir *ir, ts_lex *l, const ts_bind *bind, int nbind, const struct ts_macros *m,
                                ts_diag *d) {
  ts__parser p = {.ir = ir, .l = l, .d = d, .tmp = ts_arena_new("parse"), .bind = bind, .nbind = nbind, .macros = m};
  ts_func *f = ts_new(ir->arena, ts_func);
  ts_diag complaint;
  bool ok = function(&p, f);
  if (ok && !ts_func_verify(f, &complaint)) ok = ts_refuse(d, "invalid", "%s: %s", l->name, complaint.message);
  ts_arena_free(p.tmp);
  return ok ? f : NULL;
}

const ts_func *ts_func_parse(ts_ir *ir, const char *file, const char *text, size_t n, const ts_bind *bind, int nbind,
                             ts_diag *d) {
  ts_lex l;
  ts_lex_init(&l, file, text, n);
  const ts_func *f = ts_func_parse_at(ir, &l, bind, nbind, NULL, d);
  if (f && l.tok != TS_TOK_EOF) return ts_lex_error(&l, d, "expected the end after the function"), NULL;
  return f;
}
