// parse_buffer: buffers, their clauses, and the ranges and indices that go into their brackets.
#include "ir/parse_impl.h"

const ts_buffer *ts__parse_buffer_name(ts__parser *p) {
  const ts__sym *s = p->l->tok == TS_TOK_IDENT ? ts__sym_find(p, p->l->start, p->l->len) : NULL;
  if (!s || s->kind != TS__SYM_BUFFER) {
    ts_lex_error(p->l, p->d, "expected a buffer");
    return NULL;
  }
  ts_lex_next(p->l);
  return s->buf;
}

bool ts__parse_indices(ts__parser *p, const ts_buffer *b, const ts_expr **idx) {
  for (int d = 0; d < b->ndim; d++) {
    if (d && !ts_lex_accept(p->l, ",")) return ts_lex_error(p->l, p->d, "%s has %d dimensions", b->name, b->ndim);
    TS_TRY((idx[d] = ts__parse_index(p)) != NULL);
  }
  if (ts_lex_is(p->l, ",")) return ts_lex_error(p->l, p->d, "%s has %d dimensions", b->name, b->ndim);
  return true;
}

// "lo..hi", "min ..+ extent", or with `single` one expression (extent 1).
bool ts__parse_range(ts__parser *p, bool single, ts_range *out) {
  int64_t lo, hi, extent;
  TS_TRY((out->min = ts__parse_index(p)) != NULL);
  if (single && !ts_lex_is(p->l, "..")) {
    out->extent = ts_int(p->ir, 1);
    return true;
  }
  TS_TRY(ts_lex_expect(p->l, p->d, ".."));
  bool relative = ts_lex_accept(p->l, "+");
  const ts_expr *end = ts__parse_index(p);
  TS_TRY(end != NULL);
  bool from_zero = ts_is_int(out->min, &lo) && lo == 0;
  if (!relative && ts_is_int(out->min, &lo) && ts_is_int(end, &hi) && __builtin_sub_overflow(hi, lo, &extent)) {
    return ts_lex_error(p->l, p->d, "the range is too large");
  }
  out->extent = relative || from_zero ? end : ts_sub(p->ir, end, out->min);
  return true;
}

static bool expr_list(ts__parser *p, const char *close, const ts_expr **e, int *n) {
  *n = 0;
  if (ts_lex_accept(p->l, close)) return true;
  do {
    if (*n == TS__MAX_DIMS) return ts_lex_error(p->l, p->d, "more than %d dimensions", TS__MAX_DIMS);
    TS_TRY((e[*n] = ts__parse_index(p)) != NULL);
    (*n)++;
  } while (ts_lex_accept(p->l, ","));
  return ts_lex_expect(p->l, p->d, close);
}

static bool is_scope(const ts_lex *l) {
  return ts_lex_is(l, "global") || ts_lex_is(l, "local") || ts_lex_is(l, "shared") ||
         (l->tok == TS_TOK_IDENT && l->len > 9 && memcmp(l->start, "fragment.", 9) == 0) ||
         (l->tok == TS_TOK_IDENT && l->len > 14 && memcmp(l->start, "shared.swizzle", 14) == 0);
}

// "(AXIS, FACTOR, OFFSET)" of strides that were made so.
static bool skew_clause(ts__parser *p, ts_buffer *b) {
  int64_t v[3];
  TS_TRY(ts_lex_expect(p->l, p->d, "("));
  for (int i = 0; i < 3; i++) TS_TRY((i == 0 || ts_lex_expect(p->l, p->d, ",")) && ts__parse_const(p, &v[i]));
  TS_TRY(ts_lex_expect(p->l, p->d, ")"));
  if (!b->stride || v[0] < 0 || v[0] >= b->ndim - 1 || v[1] < 1 || v[1] > INT32_MAX || v[2] < 0 || v[2] >= v[1])
    return ts_lex_error(p->l, p->d, "no such skew of the strides of %s", b->name);
  b->skew.axis = (int)v[0];
  b->skew.factor = (int)v[1];
  b->skew.offset = (int)v[2];
  return true;
}

static bool buffer_clauses(ts__parser *p, ts_buffer *b) {
  const ts_expr *e[TS__MAX_DIMS];
  int n;
  int64_t align;
  if (ts_lex_accept(p->l, "strides")) {
    TS_TRY(ts_lex_expect(p->l, p->d, "(") && expr_list(p, ")", e, &n));
    if (n != b->ndim) return ts_lex_error(p->l, p->d, "%s has %d dimensions", b->name, b->ndim);
    if (n) b->stride = ts_arena_dup(p->ir->arena, e, sizeof(*e) * (size_t)n);
  }
  if (ts_lex_accept(p->l, "skew")) TS_TRY(skew_clause(p, b));
  if (ts_lex_accept(p->l, "offset")) {
    TS_TRY(ts_lex_expect(p->l, p->d, "(") && (b->offset = ts__parse_index(p)) && ts_lex_expect(p->l, p->d, ")"));
  }
  if (ts_lex_accept(p->l, "align")) {
    TS_TRY(ts_lex_expect(p->l, p->d, "(") && ts__parse_const(p, &align) && ts_lex_expect(p->l, p->d, ")"));
    if (align < 1 || align > 65536 || (align & (align - 1)))
      return ts_lex_error(p->l, p->d, "alignment must be a power of two up to 65536");
    b->align = (int)align;
  }
  if (ts_lex_accept(p->l, "distinct")) {
    TS_TRY(ts_lex_expect(p->l, p->d, "(") && ts__parse_const(p, &b->distinct) && ts_lex_expect(p->l, p->d, ")"));
    if (b->distinct < 1 || b->distinct > INT32_MAX) return ts_lex_error(p->l, p->d, "distinct values lie below a number from 1 to 2^31 - 1");
  }
  if (is_scope(p->l)) {
    b->scope = ts_lex_is(p->l, "global") ? "global" : ts_arena_strndup(p->ir->arena, p->l->start, p->l->len);
    ts_lex_next(p->l);
  }
  return true;
}

const ts_buffer *ts__parse_buffer(ts__parser *p, const char *name) {
  ts_type t;
  const ts_expr *shape[TS__MAX_DIMS];
  int n;
  if (!ts__parse_type(p, &t)) return NULL;
  if (t.lanes != 1) return ts__type_error(p, "a buffer cannot hold", t), NULL;
  if (!ts_lex_expect(p->l, p->d, "[") || !expr_list(p, "]", shape, &n)) return NULL;
  ts_buffer *b = ts_buffer_new(p->ir, name, t.code, n, shape, "global");
  return buffer_clauses(p, b) ? b : NULL;
}
