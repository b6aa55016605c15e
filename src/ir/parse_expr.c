// parse_expr: expressions. Literals and named parameters stay untyped constants until they meet a typed operand.
#include <math.h>

#include "ir/parse_impl.h"

bool ts__parse_nest(ts__parser *p) {
  if (++p->nest <= TS__MAX_NEST) return true;
  return ts_lex_error(p->l, p->d, "nested more than %d deep", TS__MAX_NEST);
}

const ts__sym *ts__sym_find(const ts__parser *p, const char *name, size_t n) {
  for (size_t i = p->syms.n; i-- > p->base;) {
    const ts__sym *s = &p->syms.p[i];
    if (s->n == n && memcmp(s->name, name, n) == 0) return s;
  }
  return NULL;
}

bool ts__sym_add(ts__parser *p, ts__sym s) {
  s.n = strlen(s.name);
  if (ts__is_reserved(s.name)) return ts_lex_error(p->l, p->d, "'%s' is a word of the language", s.name);
  if (ts__sym_find(p, s.name, s.n)) return ts_lex_error(p->l, p->d, "the name '%s' is taken here", s.name);
  ts_vec_push(p->tmp, &p->syms, s);
  return true;
}

static const ts_bind *bind_find(const ts__parser *p, const char *name, size_t n) {
  for (int i = 0; i < p->nbind; i++) {
    if (strlen(p->bind[i].name) == n && memcmp(p->bind[i].name, name, n) == 0) return &p->bind[i];
  }
  return NULL;
}

// --- untyped constants ------------------------------------------------------------------------------------------

static ts__val hard(const ts_expr *e) { return (ts__val){.kind = TS__HARD, .e = e}; }
static double soft_double(const ts__val *v) { return v->kind == TS__SOFT_INT ? (double)v->i : v->f; }

bool ts__type_error(ts__parser *p, const char *what, ts_type t) {
  char lanes[16] = "";
  if (t.lanes != 1) snprintf(lanes, sizeof lanes, "x%d", t.lanes);
  return ts_lex_error(p->l, p->d, "%s %s%s", what, ts_code_name(t.code), lanes);
}

// Give an untyped constant the type t; a typed value must have it.
bool ts__harden(ts__parser *p, ts__val *v, ts_type t) {
  if (v->kind == TS__HARD) {
    if (ts_type_eq(v->e->type, t)) return true;
    char what[64];
    snprintf(what, sizeof what, "the expression is %s and must be", ts_code_name(v->e->type.code));
    return ts__type_error(p, what, t);
  }
  if (t.code == TS_BOOL) return ts__type_error(p, "a number cannot be", t);
  if (ts_code_is_float(t.code)) {
    double f = v->kind == TS__SOFT_INT ? ts__int_to_float(t.code, TS_I64, v->i) : v->f;
    *v = hard(ts_const_float(p->ir, t, f));
    return true;
  }
  if (v->kind == TS__SOFT_FLOAT) return ts__type_error(p, "a float constant cannot be", t);
  if (ts__wrap(t.code, v->i) != v->i || (t.code == TS_U64 && v->i < 0))
    return ts__type_error(p, "the constant does not fit", t);
  *v = hard(ts_const_int(p->ir, t, v->i));
  return true;
}

static ts_type default_type(const ts__val *v) {
  return v->kind == TS__HARD ? v->e->type : v->kind == TS__SOFT_INT ? TS_INDEX : ts_scalar(TS_F32);
}

// The type of an untyped constant that met no other operand.
static ts_type type_or(const ts__val *v, const ts_type *expect) {
  if (v->kind == TS__HARD || !expect) return default_type(v);
  if (v->kind == TS__SOFT_INT ? expect->code != TS_BOOL : ts_code_is_float(expect->code)) return *expect;
  return default_type(v);
}

static bool soft_int(ts__parser *p, ts_ekind k, int64_t a, int64_t b, ts__val *out) {
  int64_t r = 0;
  bool overflow = false;
  switch (k) {
    case TS_E_ADD:
      overflow = __builtin_add_overflow(a, b, &r);
      break;
    case TS_E_SUB:
      overflow = __builtin_sub_overflow(a, b, &r);
      break;
    case TS_E_MUL:
      overflow = __builtin_mul_overflow(a, b, &r);
      break;
    case TS_E_DIV:
      if (b == 0 || (a == INT64_MIN && b == -1)) return ts_lex_error(p->l, p->d, "division by zero");
      if (a % b != 0)
        return ts_refuse(p->d, "not-divisible", "%s:%d:%d: %lld / %lld is not an integer", p->l->name, p->l->line, p->l->col, (long long)a, (long long)b);
      r = a / b;
      break;
    default:
      if (!ts__fold_int(k, TS_I64, a, b, &r))
        return ts_lex_error(p->l, p->d, "%lld %s %lld is not defined", (long long)a, ts_ekind_name(k), (long long)b);
  }
  if (overflow) return ts_lex_error(p->l, p->d, "the constant does not fit i64");
  *out = (ts__val){.kind = TS__SOFT_INT, .i = r};
  return true;
}

static bool soft_bin(ts__parser *p, ts_ekind k, const ts__val *a, const ts__val *b, ts__val *out) {
  ts_type boolean = ts_scalar(TS_BOOL);
  bool ints = a->kind == TS__SOFT_INT && b->kind == TS__SOFT_INT;
  if (ts__ekind_is_compare(k)) {
    bool r = ints ? ts__compare_int(k, TS_I64, a->i, b->i) : ts__compare_float(k, soft_double(a), soft_double(b));
    *out = hard(ts_const_int(p->ir, boolean, r));
    return true;
  }
  if (k == TS_E_AND || k == TS_E_OR) return ts__type_error(p, "a number cannot be", boolean);
  if (ints) return soft_int(p, k, a->i, b->i, out);
  if (k != TS_E_DIV && !ts_bin_allowed(k, ts_scalar(TS_F64)))
    return ts_lex_error(p->l, p->d, "'%s' needs integers", ts_ekind_name(k));
  *out = (ts__val){.kind = TS__SOFT_FLOAT, .f = ts__fold_float(k, TS_F64, soft_double(a), soft_double(b))};
  return true;
}

static bool combine(ts__parser *p, ts_ekind k, ts__val a, ts__val b, ts__val *out) {
  if (++p->ops > TS__MAX_OPS) return ts_lex_error(p->l, p->d, "the expression has more than %d operators", TS__MAX_OPS);
  if (a.kind != TS__HARD && b.kind != TS__HARD) return soft_bin(p, k, &a, &b, out);
  TS_TRY(ts__harden(p, &a, default_type(b.kind == TS__HARD ? &b : &a)));
  TS_TRY(ts__harden(p, &b, a.e->type));
  if (k == TS_E_DIV && ts_code_is_int(a.e->type.code))
    return ts_lex_error(p->l, p->d, "'/' of integers that are not constants: write '//'");
  if (!ts_bin_allowed(k, a.e->type)) {
    char what[40];
    snprintf(what, sizeof what, "there is no '%s' of", ts_ekind_name(k));
    return ts__type_error(p, what, a.e->type);
  }
  *out = hard(ts_bin(p->ir, k, a.e, b.e));
  return true;
}

// --- types --------------------------------------------------------------------------------------------------------

static bool lanes_of(const char *s, size_t n, int *lanes) {
  int v = 0;
  if (n == 0 || n > 4 || s[0] == '0') return false;
  for (size_t i = 0; i < n; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    v = v * 10 + (s[i] - '0');
  }
  *lanes = v;
  return v > 1 && v <= TS__MAX_LANES;
}

// "f32", "f32x16", or a named type parameter.
static bool type_at(const ts__parser *p, const ts_lex *l, ts_type *out) {
  if (l->tok != TS_TOK_IDENT) return false;
  ts_code c;
  int lanes = 0;
  const char *x = memchr(l->start, 'x', l->len);
  const ts_bind *b = bind_find(p, l->start, l->len);
  if (ts_code_find(l->start, l->len, &c)) {
    *out = ts_scalar(c);
  } else if (b && b->kind == TS_BIND_TYPE) {
    *out = ts_scalar(b->code);
  } else if (x && ts_code_find(l->start, (size_t)(x - l->start), &c) &&
             lanes_of(x + 1, l->len - (size_t)(x + 1 - l->start), &lanes)) {
    *out = ts_vector(c, lanes);
  } else {
    return false;
  }
  return true;
}

bool ts__parse_type(ts__parser *p, ts_type *out) {
  if (!type_at(p, p->l, out)) return ts_lex_error(p->l, p->d, "expected a type");
  ts_lex_next(p->l);
  return true;
}

// --- primaries ----------------------------------------------------------------------------------------------------

static bool parse_prec(ts__parser *p, int least, const ts_type *expect, ts__val *out);

// An INT or FLOAT token, perhaps negated, perhaps with ": TYPE".
static bool literal(ts__parser *p, bool negative, ts__val *out) {
  ts_lex *l = p->l;
  bool is_int = l->tok == TS_TOK_INT, big = is_int && l->i < 0;  // 2^63 and more arrive wrapped
  *out = is_int ? (ts__val){.kind = TS__SOFT_INT, .i = negative ? (int64_t)(0 - (uint64_t)l->i) : l->i}
                : (ts__val){.kind = TS__SOFT_FLOAT, .f = negative ? -l->f : l->f};
  ts_lex_next(l);
  ts_lex after = *l;
  ts_type t;
  if (ts_lex_accept(&after, ":") && type_at(p, &after, &t) && t.lanes == 1) {
    *l = after;
    ts_lex_next(l);
    if (!(big && !negative && t.code == TS_U64))
      return (!big || (negative && out->i == INT64_MIN) || ts_lex_error(l, p->d, "the constant does not fit i64")) &&
             ts__harden(p, out, t);
    *out = hard(ts_const_int(p->ir, t, out->i));
    return true;
  }
  if (big && !(negative && out->i == INT64_MIN)) return ts_lex_error(l, p->d, "the constant does not fit i64");
  return true;
}

static bool join(ts__parser *p, ts__val *v, int n, const ts_type *expect);

static bool cast(ts__parser *p, bool bits, ts__val *out) {
  ts_type t;
  TS_TRY(ts__parse_type(p, &t) && ts_lex_expect(p->l, p->d, ",") && ts__parse_val(p, NULL, out));
  if (out->kind != TS__HARD && !bits && t.lanes == 1) {
    // A constant is converted from its exact value, not from the type its literal would have had.
    if (out->kind == TS__SOFT_INT && ts_code_is_float(t.code)) {
      *out = hard(ts_const_float(p->ir, t, ts__int_to_float(t.code, TS_I64, out->i)));
    } else if (out->kind == TS__SOFT_INT) {
      *out = hard(ts_const_int(p->ir, t, out->i));
    } else {
      *out = hard(ts_cast(p->ir, t, ts_const_float(p->ir, ts_scalar(TS_F64), out->f)));
    }
    return true;
  }
  TS_TRY(ts__harden(p, out, default_type(out)));
  ts_type from = out->e->type;
  if (bits) {
    if (from.lanes * ts_code_bits(from.code) != t.lanes * ts_code_bits(t.code))
      return ts__type_error(p, "bitcast keeps the number of bits; operand is", from);
    *out = hard(ts_bitcast(p->ir, t, out->e));
    return true;
  }
  if (from.lanes != t.lanes) return ts__type_error(p, "cast keeps the number of lanes; operand is", from);
  *out = hard(ts_cast(p->ir, t, out->e));
  return true;
}

static bool lanes_const(ts__parser *p, int *lanes) {
  int64_t n;
  TS_TRY(ts__parse_const(p, &n));
  if (n < 2 || n > TS__MAX_LANES) return ts_lex_error(p->l, p->d, "lanes must be 2 to %d", TS__MAX_LANES);
  *lanes = (int)n;
  return true;
}

static bool broadcast(ts__parser *p, ts__val *out) {
  int lanes = 0;
  TS_TRY(ts__parse_val(p, NULL, out) && ts__harden(p, out, default_type(out)));
  TS_TRY(ts_lex_expect(p->l, p->d, ",") && lanes_const(p, &lanes));
  if (out->e->type.lanes != 1) return ts__type_error(p, "broadcast of", out->e->type);
  *out = hard(ts_broadcast(p->ir, out->e, lanes));
  return true;
}

// vload(buf, lanes)[i, j]; the opening parenthesis is behind us, and the caller consumes no closing one.
static bool vload(ts__parser *p, ts__val *out) {
  int lanes = 0;
  const ts_expr *idx[TS__MAX_DIMS];
  const ts_buffer *b = ts__parse_buffer_name(p);
  TS_TRY(b && ts_lex_expect(p->l, p->d, ",") && lanes_const(p, &lanes) && ts_lex_expect(p->l, p->d, ")"));
  if (b->ndim == 0) return ts_lex_error(p->l, p->d, "vload of a single element");
  TS_TRY(ts_lex_expect(p->l, p->d, "[") && ts__parse_indices(p, b, idx) && ts_lex_expect(p->l, p->d, "]"));
  *out = hard(ts_vload(p->ir, b, idx, lanes));
  return true;
}

static bool choice(ts__parser *p, const ts_type *expect, ts__val *out) {
  ts__val c, v[2];
  TS_TRY(ts__parse_val(p, NULL, &c) && ts_lex_expect(p->l, p->d, ",") && ts__parse_val(p, expect, &v[0]));
  TS_TRY(ts_lex_expect(p->l, p->d, ",") && ts__parse_val(p, v[0].kind == TS__HARD ? &v[0].e->type : expect, &v[1]));
  TS_TRY(join(p, v, 2, expect));
  if (c.kind != TS__HARD || c.e->type.code != TS_BOOL)
    return ts_lex_error(p->l, p->d, "the condition of select must be bool");
  if (c.e->type.lanes != 1 && c.e->type.lanes != v[0].e->type.lanes)
    return ts__type_error(p, "the condition of select has other lanes than", v[0].e->type);
  *out = hard(ts_select(p->ir, c.e, v[0].e, v[1].e));
  return true;
}

// All values to one type: that of the first typed one, else what is expected, else the literals' own.
static bool join(ts__parser *p, ts__val *v, int n, const ts_type *expect) {
  int typed = -1, floats = 0;
  for (int i = 0; i < n; i++) {
    if (v[i].kind == TS__HARD && typed < 0) typed = i;
    if (v[i].kind == TS__SOFT_FLOAT) floats = i;
  }
  ts_type t = typed >= 0 ? v[typed].e->type : type_or(&v[floats], expect);
  for (int i = 0; i < n; i++) TS_TRY(ts__harden(p, &v[i], t));
  return true;
}

static bool arguments(ts__parser *p, const ts_type *expect, ts__val *v, int max, int *n) {
  *n = 0;
  if (ts_lex_is(p->l, ")")) return true;
  do {
    if (*n == max) return ts_lex_error(p->l, p->d, "more than %d arguments", max);
    TS_TRY(ts__parse_val(p, expect, &v[*n]));
    if (v[*n].kind == TS__HARD && !expect && *n == 0) expect = &v[0].e->type;
    (*n)++;
  } while (ts_lex_accept(p->l, ","));
  return true;
}

static bool extremum(ts__parser *p, ts_ekind k, const ts_type *expect, ts__val *out) {
  ts__val v[2];
  TS_TRY(ts__parse_val(p, expect, &v[0]) && ts_lex_expect(p->l, p->d, ","));
  TS_TRY(ts__parse_val(p, v[0].kind == TS__HARD ? &v[0].e->type : expect, &v[1]));
  return combine(p, k, v[0], v[1], out);
}

enum { MAX_ARGS = 16 };

static bool math_call(ts__parser *p, const char *name, int want, const ts_type *expect, ts__val *out) {
  ts__val v[MAX_ARGS];
  const ts_expr *e[MAX_ARGS];
  ts_type f32 = ts_scalar(TS_F32);
  int n;
  const ts_type *t = expect && ts_code_is_float(expect->code) ? expect : &f32;
  TS_TRY(arguments(p, NULL, v, MAX_ARGS, &n));
  if (n != want) return ts_lex_error(p->l, p->d, "%s takes %d argument%s", name, want, want == 1 ? "" : "s");
  TS_TRY(join(p, v, n, t));
  if (!ts_code_is_float(v[0].e->type.code)) return ts__type_error(p, "this function takes floats, not", v[0].e->type);
  for (int i = 0; i < n; i++) e[i] = v[i].e;
  *out = hard(ts_call(p->ir, v[0].e->type, name, e, n));
  return true;
}

// Arguments that keep their own types.
static bool free_arguments(ts__parser *p, const ts_expr **e, int *count) {
  ts__val v;
  int n = 0;
  while (!ts_lex_is(p->l, ")")) {
    if (n == MAX_ARGS) return ts_lex_error(p->l, p->d, "more than %d arguments", MAX_ARGS);
    TS_TRY(ts__parse_val(p, NULL, &v) && ts__harden(p, &v, default_type(&v)));
    e[n++] = v.e;
    if (!ts_lex_accept(p->l, ",")) break;
  }
  *count = n;
  return true;
}

static bool effect_call(ts__parser *p, ts_effect f, ts__val *out) {
  const ts_expr *e[MAX_ARGS];
  int n;
  TS_TRY(free_arguments(p, e, &n));
  if (n != ts__effect_args(f))
    return ts_lex_error(p->l, p->d, "%s takes %d argument%s", ts_effect_name(f), ts__effect_args(f), ts__effect_args(f) == 1 ? "" : "s");
  *out = hard(ts_effect_call(p->ir, f, e));
  return true;
}

// asm("text", "constraints", a, b): TYPE.
static bool asm_call(ts__parser *p, ts_asm_kind kind, ts__val *out) {
  const ts_expr *e[MAX_ARGS];
  ts_type t;
  int n = 0;
  ts_arena *a = ts_ir_arena(p->ir);
  ts_asm x = {.kind = kind};
  TS_TRY((x.text = ts_lex_string(p->l, a, p->d)) != NULL && ts_lex_expect(p->l, p->d, ","));
  TS_TRY((x.constraints = ts_lex_string(p->l, a, p->d)) != NULL);
  if (ts_lex_accept(p->l, ",")) TS_TRY(free_arguments(p, e, &n));
  TS_TRY(ts_lex_expect(p->l, p->d, ")") && ts_lex_expect(p->l, p->d, ":") && ts__parse_type(p, &t));
  for (const char *c = x.text; *c; c++)
    if (*c < ' ' && *c != '\n') return ts_lex_error(p->l, p->d, "a control character in the text of an instruction");
  *out = hard(ts_asm_call(p->ir, t, &x, e, n));
  return true;
}

// llvm.NAME(a, b): TYPE, address(b[i]): TYPE.
static bool llvm_call(ts__parser *p, const char *name, ts__val *out) {
  const ts_expr *e[MAX_ARGS];
  ts_type t;
  int n;
  TS_TRY(free_arguments(p, e, &n));
  TS_TRY(ts_lex_expect(p->l, p->d, ")") && ts_lex_expect(p->l, p->d, ":") && ts__parse_type(p, &t));
  *out = hard(ts_call(p->ir, t, name, e, n));
  return true;
}

// NAME( ... : the name and the parenthesis are behind us.
static bool call(ts__parser *p, const char *name, const ts_type *expect, ts__val *out) {
  int want = ts__math_args(name);
  ts_effect effect;
  ts_asm_kind kind;
  if (strcmp(name, "vload") == 0) return vload(p, out);
  if (strncmp(name, "llvm.", 5) == 0 || strcmp(name, "address") == 0) return llvm_call(p, name, out);
  if (ts__asm_find(name, strlen(name), &kind)) return asm_call(p, kind, out);
  if (strcmp(name, "cast") == 0) {
    TS_TRY(cast(p, false, out));
  } else if (strcmp(name, "bitcast") == 0) {
    TS_TRY(cast(p, true, out));
  } else if (strcmp(name, "broadcast") == 0) {
    TS_TRY(broadcast(p, out));
  } else if (strcmp(name, "select") == 0) {
    TS_TRY(choice(p, expect, out));
  } else if (strcmp(name, "min") == 0 || strcmp(name, "max") == 0) {
    TS_TRY(extremum(p, name[1] == 'i' ? TS_E_MIN : TS_E_MAX, expect, out));
  } else if (ts__effect_find(name, &effect)) {
    TS_TRY(effect_call(p, effect, out));
  } else if (want >= 0) {
    TS_TRY(math_call(p, name, want, expect, out));
  } else {
    return ts_lex_error(p->l, p->d, "there is no function '%s'", name);
  }
  return ts_lex_expect(p->l, p->d, ")");
}

static bool load(ts__parser *p, const ts_buffer *b, ts__val *out) {
  const ts_expr *idx[TS__MAX_DIMS];
  TS_TRY(ts_lex_expect(p->l, p->d, "[") && ts__parse_indices(p, b, idx) && ts_lex_expect(p->l, p->d, "]"));
  *out = hard(ts_load(p->ir, b, idx));
  return true;
}

// The weight whose part "w.code" names, with *part set behind the dot.
static const ts__weight *weight_part(const ts__parser *p, const ts_lex *at, const char **part, size_t *n) {
  for (size_t i = at->len; i-- > 1;) {
    if (at->start[i] != '.') continue;
    const ts__sym *s = ts__sym_find(p, at->start, i);
    *part = at->start + i + 1;
    *n = at->len - i - 1;
    return s && s->kind == TS__SYM_WEIGHT ? s->weight : NULL;
  }
  return NULL;
}

static bool bound(ts__parser *p, const ts_lex *at, ts__val *out) {
  const ts_bind *b = bind_find(p, at->start, at->len);
  if (b && b->kind == TS_BIND_INT) {
    *out = (ts__val){.kind = TS__SOFT_INT, .i = b->i};
  } else if (b && b->kind == TS_BIND_FLOAT) {
    *out = (ts__val){.kind = TS__SOFT_FLOAT, .f = b->f};
  } else if (at->len == 3 && memcmp(at->start, "inf", 3) == 0) {
    *out = (ts__val){.kind = TS__SOFT_FLOAT, .f = INFINITY};
  } else if (at->len == 3 && memcmp(at->start, "nan", 3) == 0) {
    *out = (ts__val){.kind = TS__SOFT_FLOAT, .f = NAN};
  } else {
    return ts_lex_error(at, p->d, "unknown name");
  }
  // ": TYPE" fits inf and nan as it fits written numbers.
  ts_lex after = *p->l;
  ts_type t;
  bool typed = !b && ts_lex_accept(&after, ":") && type_at(p, &after, &t) && t.lanes == 1;
  if (!typed) return true;
  *p->l = after;
  ts_lex_next(p->l);
  return ts__harden(p, out, t);
}

static int operators_in(const ts_expr *e) {
  int n = e->nargs > 0;
  for (uint32_t i = 0; i < e->nargs && n <= TS__MAX_OPS; i++) n += operators_in(e->arg[i]);
  return n;
}

static bool named(ts__parser *p, const ts_type *expect, ts__val *out) {
  ts_lex at = *p->l;
  const char *part = "value";
  size_t n = 5;
  ts_lex_next(p->l);
  if (ts_lex_accept(p->l, "(")) {
    char *name = ts_arena_strndup(p->tmp, at.start, at.len);
    TS_TRY(ts__parse_nest(p) && call(p, name, expect, out));
    p->nest--;
    return true;
  }
  if (ts_lex_is(&at, "true") || ts_lex_is(&at, "false")) {
    *out = hard(ts_const_int(p->ir, ts_scalar(TS_BOOL), at.len == 4));
    return true;
  }
  const ts__sym *s = ts__sym_find(p, at.start, at.len);
  const ts__weight *w = s && s->kind == TS__SYM_WEIGHT ? s->weight : s ? NULL : weight_part(p, &at, &part, &n);
  if (w) return ts__parse_weight_load(p, w, part, n, out);
  if (!s) return bound(p, &at, out);
  if (s->kind == TS__SYM_BUFFER) return load(p, s->buf, out);
  if (s->kind == TS__SYM_VAR) {
    *out = hard(ts_evar(p->ir, s->var));
    return true;
  }
  // The argument of a row is repeated at each use; its operators count each time.
  *out = s->val;
  if (out->kind == TS__HARD) p->ops += operators_in(out->e);
  return p->ops <= TS__MAX_OPS || ts_lex_error(&at, p->d, "the expression has more than %d operators", TS__MAX_OPS);
}

static bool negate(ts__parser *p, const ts_type *expect, ts__val *out) {
  if (p->l->tok == TS_TOK_INT || p->l->tok == TS_TOK_FLOAT) return literal(p, true, out);
  ts__val zero = {.kind = TS__SOFT_INT}, v;
  TS_TRY(ts__parse_nest(p) && parse_prec(p, 10, expect, &v));
  p->nest--;
  bool is_float = v.kind == TS__SOFT_FLOAT || (v.kind == TS__HARD && ts_code_is_float(v.e->type.code));
  if (is_float && v.kind == TS__HARD && v.e->kind == TS_E_FLOAT) {
    *out = hard(ts_const_float(p->ir, v.e->type, -v.e->f));
    return true;
  }
  if (v.kind == TS__SOFT_FLOAT) {
    *out = (ts__val){.kind = TS__SOFT_FLOAT, .f = -v.f};
    return true;
  }
  if (is_float) zero = (ts__val){.kind = TS__SOFT_FLOAT, .f = -0.0};
  return combine(p, TS_E_SUB, zero, v, out);
}

static bool unary(ts__parser *p, const ts_type *expect, ts__val *out) {
  if (p->l->tok == TS_TOK_INT || p->l->tok == TS_TOK_FLOAT) return literal(p, false, out);
  if (p->l->tok == TS_TOK_IDENT) return named(p, expect, out);
  if (ts_lex_accept(p->l, "-")) return negate(p, expect, out);
  if (ts_lex_accept(p->l, "!")) {
    TS_TRY(ts__parse_nest(p) && parse_prec(p, 10, NULL, out));
    p->nest--;
    if (out->kind != TS__HARD || out->e->type.code != TS_BOOL) return ts_lex_error(p->l, p->d, "'!' needs a bool");
    *out = hard(ts_not(p->ir, out->e));
    return true;
  }
  TS_TRY(ts_lex_is(p->l, "(") || ts_lex_error(p->l, p->d, "expected an expression"));
  ts_lex_next(p->l);
  TS_TRY(ts__parse_nest(p) && parse_prec(p, 1, expect, out));
  p->nest--;
  return ts_lex_expect(p->l, p->d, ")");
}

// --- operators ----------------------------------------------------------------------------------------------------

// ORDER precedence: the printer (print_expr.c) has the same levels. ">" and ">=" swap their operands.
static const struct {
  const char *text;
  uint8_t prec, kind;
  bool swap;
} operators[] = {
    {"||", 1, TS_E_OR, false},      {"&&", 2, TS_E_AND, false},   {"==", 3, TS_E_EQ, false},
    {"!=", 3, TS_E_NE, false},      {"<", 3, TS_E_LT, false},     {"<=", 3, TS_E_LE, false},
    {">", 3, TS_E_LT, true},        {">=", 3, TS_E_LE, true},     {"|", 4, TS_E_BITOR, false},
    {"^", 5, TS_E_BITXOR, false},   {"&", 6, TS_E_BITAND, false}, {"<<", 7, TS_E_SHL, false},
    {">>", 7, TS_E_SHR, false},     {"+", 8, TS_E_ADD, false},    {"-", 8, TS_E_SUB, false},
    {"*", 9, TS_E_MUL, false},      {"/", 9, TS_E_DIV, false},    {"//", 9, TS_E_FLOORDIV, false},
    {"%", 9, TS_E_FLOORMOD, false},
};
enum { PREC_COMPARE = 3 };

static int operator_at(const ts_lex *l) {
  for (size_t i = 0; l->tok == TS_TOK_PUNCT && i < TS_COUNTOF(operators); i++) {
    if (ts_lex_is(l, operators[i].text)) return (int)i;
  }
  return -1;
}

static bool parse_prec(ts__parser *p, int least, const ts_type *expect, ts__val *out) {
  TS_TRY(unary(p, expect, out));
  for (int at; (at = operator_at(p->l)) >= 0 && operators[at].prec >= least;) {
    int prec = operators[at].prec;
    ts__val right;
    ts_lex_next(p->l);
    TS_TRY(ts__parse_nest(p) && parse_prec(p, prec + 1, out->kind == TS__HARD ? &out->e->type : expect, &right));
    p->nest--;
    ts_ekind k = (ts_ekind)operators[at].kind;
    TS_TRY(operators[at].swap ? combine(p, k, right, *out, out) : combine(p, k, *out, right, out));
    if (prec != PREC_COMPARE) continue;
    int next = operator_at(p->l);
    if (next >= 0 && operators[next].prec == PREC_COMPARE) return ts_lex_error(p->l, p->d, "comparisons do not chain");
  }
  return true;
}

bool ts__parse_val(ts__parser *p, const ts_type *expect, ts__val *out) {
  TS_TRY(ts__parse_nest(p) && parse_prec(p, 1, expect, out));
  p->nest--;
  return true;
}

const ts_expr *ts__parse_typed(ts__parser *p, ts_type t) {
  ts__val v;
  return ts__parse_val(p, &t, &v) && ts__harden(p, &v, t) ? v.e : NULL;
}

bool ts__parse_const(ts__parser *p, int64_t *out) {
  ts__val v;
  TS_TRY(ts__parse_val(p, NULL, &v));
  if (v.kind != TS__SOFT_INT) return ts_lex_error(p->l, p->d, "expected a constant integer");
  *out = v.i;
  return true;
}

const ts_expr *ts_expr_parse_at(ts_ir *ir, ts_lex *l, const ts_var *const *vars, int nvars, const ts_bind *bind,
                                int nbind, ts_diag *d) {
  ts__parser p = {.ir = ir, .l = l, .d = d, .tmp = ts_arena_new("parse"), .bind = bind, .nbind = nbind};
  ts__val v = {0};
  bool ok = true;
  for (int i = 0; ok && i < nvars; i++)
    ok = ts__sym_add(&p, (ts__sym){.name = vars[i]->name, .kind = TS__SYM_VAR, .var = vars[i]});
  ok = ok && ts__parse_val(&p, NULL, &v) && ts__harden(&p, &v, default_type(&v));
  ts_arena_free(p.tmp);
  return ok ? v.e : NULL;
}
