// Reducers as rows: their patterns, matched against expressions and built into expressions.
#include <math.h>

#include "analysis/analysis_impl.h"

typedef struct row {
  ts_reducer_info info;
  const char *types, *identity, *value[TS_RED_VALUES];
} row;
static const row rows[] = {
#define REDUCER(name, n, types, ordered, doc, identity, r0, r1, r2) {{#name, doc, n, ordered}, types, identity, {r0, r1, r2}},
#define FORM(name, value, pattern)
#include "analysis/reducer.def"
#undef REDUCER
#undef FORM
};
static const struct {
  ts_reducer reducer;
  int value;
  const char *pattern;
} forms[] = {
#define REDUCER(name, n, types, ordered, doc, identity, r0, r1, r2)
#define FORM(name, value, pattern) {TS_RED_##name, value, pattern},
#include "analysis/reducer.def"
#undef REDUCER
#undef FORM
};

const ts_reducer_info *ts_reducer_get(ts_reducer r) { return &rows[r].info; }

// --- tokens ----------------------------------------------------------------------------------------------------
static const struct {
  const char *text;
  ts_ekind kind;
  int nargs;
  bool commutes;
} ops[] = {{"+", TS_E_ADD, 2, true},      {"-", TS_E_SUB, 2, false},   {"*", TS_E_MUL, 2, true},    {"/", TS_E_DIV, 2, false},
           {"max", TS_E_MAX, 2, true},    {"min", TS_E_MIN, 2, true},  {"&", TS_E_BITAND, 2, true}, {"|", TS_E_BITOR, 2, true},
           {"^", TS_E_BITXOR, 2, true},   {"&&", TS_E_AND, 2, true},   {"||", TS_E_OR, 2, true},    {"==", TS_E_EQ, 2, true},
           {"<", TS_E_LT, 2, false},      {"<=", TS_E_LE, 2, false},   {"?", TS_E_SELECT, 3, false}, {"exp", TS_E_CALL, 1, false}};

static size_t token_len(const char *p) { return strcspn(p, " "); }
static const char *next_token(const char *p) {
  p += token_len(p);
  return *p == ' ' ? p + 1 : p;
}
static int op_of(const char *p) {
  size_t n = token_len(p);
  for (int i = 0; i < (int)TS_COUNTOF(ops); i++)
    if (strlen(ops[i].text) == n && memcmp(ops[i].text, p, n) == 0) return i;
  return -1;
}
// One of a0 x1 r2: its letter, and its number in *k; else 0.
static char value_of(const char *p, int *k) {
  if (token_len(p) != 2 || !strchr("axr", p[0]) || p[1] < '0' || p[1] >= '0' + TS_RED_VALUES) return 0;
  *k = p[1] - '0';
  return p[0];
}
static const char *skip(const char *p) {
  int op = op_of(p);
  p = next_token(p);
  for (int i = 0; op >= 0 && i < ops[op].nargs; i++) p = skip(p);
  return p;
}

// --- matching --------------------------------------------------------------------------------------------------
static bool is_number(const ts_expr *e, double v) {
  return (e->kind == TS_E_INT && (double)e->i == v) || (e->kind == TS_E_FLOAT && e->f == v);
}

static bool foreign(void *arg, const ts_expr *e) {
  ts__red_match *m = arg;
  for (int i = 0; e->kind == TS_E_LOAD && i < m->nacc; i++)
    if (e->buf == m->acc[i]) m->bound = true;
  return !m->bound;
}

// e takes the place of x<k>: free of accumulators, and what it was before.
static bool bind(ts__red_match *m, int k, const ts_expr *e) {
  if (m->x[k]) return m->x[k] == e;
  m->bound = false;
  ts_expr_visit(e, foreign, m);
  if (!m->bound) m->x[k] = e;
  return !m->bound;
}

// e is acc combined with what is returned, which may be one of many terms: acc + x + y, acc - x, fma(x, y, acc).
static const ts_expr *without(ts_ir *ir, const ts_expr *e, ts_ekind op, const ts_expr *acc) {
  if (op == TS_E_ADD && e->kind == TS_E_CALL && strcmp(e->callee, "fma") == 0 && e->arg[2] == acc)
    return ts_mul(ir, e->arg[0], e->arg[1]);
  if (op == TS_E_ADD && e->kind == TS_E_SUB) {
    const ts_expr *zero = ts_code_is_float(e->type.code) ? ts_const_float(ir, e->type, 0) : ts_const_int(ir, e->type, 0);
    const ts_expr *in = e->arg[0] == acc ? zero : without(ir, e->arg[0], op, acc);
    return in ? ts_sub(ir, in, e->arg[1]) : NULL;
  }
  if ((ts_ekind)e->kind != op) return NULL;
  for (int k = 0; k < 2; k++) {
    if (e->arg[k] == acc) return e->arg[1 - k];
    const ts_expr *in = without(ir, e->arg[k], op, acc);
    if (in) return ts_bin(ir, op, in, e->arg[1 - k]);
  }
  return NULL;
}

static bool match(ts__red_match *m, const char *p, const ts_expr *e);

static bool match_both(ts__red_match *m, const char *p, const char *q, const ts_expr *d, const ts_expr *e) {
  const ts_expr *keep[TS_RED_VALUES];
  memcpy(keep, m->x, sizeof keep);
  if (match(m, p, d) && match(m, q, e)) return true;
  memcpy(m->x, keep, sizeof keep);
  return false;
}

static bool match_op(ts__red_match *m, int op, const char *p, const ts_expr *e) {
  const char *q = skip(p);
  int a, x;
  if (ops[op].commutes && value_of(p, &a) == 'a' && value_of(q, &x) == 'x' && !m->x[x]) {
    const ts_expr *rest = without(m->ir, e, ops[op].kind, m->a[a]);
    return rest && bind(m, x, rest);
  }
  if ((ts_ekind)e->kind != ops[op].kind) return false;
  if (ops[op].kind == TS_E_CALL) return strcmp(e->callee, ops[op].text) == 0 && e->nargs == 1 && match(m, p, e->arg[0]);
  if (ops[op].nargs == 3)
    return match(m, p, e->arg[0]) && match(m, q, e->arg[1]) && match(m, skip(q), e->arg[2]);
  if (match_both(m, p, q, e->arg[0], e->arg[1])) return true;
  return ops[op].commutes && match_both(m, p, q, e->arg[1], e->arg[0]);
}

static bool match(ts__red_match *m, const char *p, const ts_expr *e) {
  int k, op = op_of(p);
  if (op >= 0) return match_op(m, op, next_token(p), e);
  switch (value_of(p, &k)) {
    case 'a': return e == m->a[k];
    case 'r': return e == m->r[k];
    case 'x': return bind(m, k, e);
    default: return is_number(e, p[0] - '0');
  }
}

static const ts_expr *number(ts_ir *ir, ts_type t, double v) {
  return ts_code_is_float(t.code) ? ts_const_float(ir, t, v) : ts_const_int(ir, t, (int64_t)v);
}

// A pattern with what it asks for: `!x1 0 ...`.
static bool match_form(ts__red_match *m, const char *p, const ts_expr *e) {
  const ts_expr *keep[TS_RED_VALUES];
  memcpy(keep, m->x, sizeof keep);
  bool ok = true;
  for (; ok && *p == '!'; p = next_token(next_token(p)))
    ok = bind(m, p[2] - '0', number(m->ir, m->a[p[2] - '0']->type, next_token(p)[0] - '0'));
  if (ok && match(m, p, e)) return true;
  memcpy(m->x, keep, sizeof keep);
  return false;
}

static bool type_fits(const ts__red_match *m, char want, int k) {
  ts_code c = m->a[k]->type.code;
  switch (want) {
    case 'N': return c != TS_BOOL;
    case 'F': return ts_code_is_float(c);
    case 'I': return ts_code_is_int(c);
    case 'B': return c == TS_BOOL;
    default: return c == m->a[0]->type.code;
  }
}

static bool match_value(ts__red_match *m, ts_reducer r, int k) {
  if (match_form(m, rows[r].value[k], m->r[k])) return true;
  for (size_t i = 0; i < TS_COUNTOF(forms); i++)
    if (forms[i].reducer == r && forms[i].value == k && match_form(m, forms[i].pattern, m->r[k])) return true;
  return false;
}

// Values are matched from the last one on: it is the one that others ask about (`r2`, `!x2 1`).
bool ts__reducer_match(ts__red_match *m, ts_reducer r) {
  memset(m->x, 0, sizeof m->x);
  int n = rows[r].info.n;
  for (int k = 0; k < n; k++)
    if (!type_fits(m, rows[r].types[k], k)) return false;
  if (n == 1) return match_value(m, r, 0);
  // The value that is alone in its pattern binds first.
  for (int first = 0; first < n; first++) {
    memset(m->x, 0, sizeof m->x);
    bool ok = match_value(m, r, first);
    for (int k = 0; ok && k < n; k++) ok = k == first || match_value(m, r, k);
    for (int k = 0; ok && k < n; k++) ok = m->x[k] != NULL;
    if (ok) return true;
  }
  return false;
}

// --- building --------------------------------------------------------------------------------------------------
typedef struct builder {
  ts_ir *ir;
  ts_reducer reducer;
  const ts_expr *const *a, *const *x;
  const ts_expr *r[TS_RED_VALUES];
} builder;

static const ts_expr *build(builder *b, const char *p, ts_type want);

static const ts_expr *build_result(builder *b, int k) {
  if (!b->r[k]) b->r[k] = build(b, rows[b->reducer].value[k], b->a[k]->type);
  return b->r[k];
}

static bool is_constant(const char *p) {
  int k;
  return op_of(p) < 0 && !value_of(p, &k);
}

static const ts_expr *build_op(builder *b, int op, const char *p, ts_type want) {
  const char *q = skip(p);
  if (ops[op].kind == TS_E_CALL) {
    const ts_expr *arg = build(b, p, want);
    return ts_call(b->ir, arg->type, ops[op].text, &arg, 1);
  }
  if (ops[op].nargs == 3)
    return ts_select(b->ir, build(b, p, want), build(b, q, want), build(b, skip(q), want));
  const ts_expr *first = is_constant(p) ? NULL : build(b, p, want);
  const ts_expr *second = build(b, q, first ? first->type : want);
  return ts_bin(b->ir, ops[op].kind, first ? first : build(b, p, second->type), second);
}

static const ts_expr *build(builder *b, const char *p, ts_type want) {
  int k, op = op_of(p);
  if (op >= 0) return build_op(b, op, next_token(p), want);
  switch (value_of(p, &k)) {
    case 'a': return b->a[k];
    case 'x': return b->x[k];
    case 'r': return build_result(b, k);
    default: return number(b->ir, want, p[0] - '0');
  }
}

void ts__reducer_combine(ts_ir *ir, ts_reducer r, const ts_expr *const *a, const ts_expr *const *x, const ts_expr **out) {
  builder b = {.ir = ir, .reducer = r, .a = a, .x = x};
  for (int k = 0; k < rows[r].info.n; k++) out[k] = build_result(&b, k);
}

// --- identities ------------------------------------------------------------------------------------------------
static double lowest_float(ts_code c) {
  return c == TS_F16 ? -65504.0 : c == TS_BF16 ? -3.3895313892515355e38 : c == TS_F32 ? -3.4028234663852886e38 : -1.7976931348623157e308;
}

static const ts_expr *int_limit(ts_ir *ir, ts_type t, bool high) {
  int bits = ts_code_bits(t.code);
  if (ts_code_is_unsigned(t.code)) return ts_const_int(ir, t, high ? -1 : 0);
  int64_t top = bits >= 64 ? INT64_MAX : ((int64_t)1 << (bits - 1)) - 1;
  return ts_const_int(ir, t, high ? top : -top - 1);
}

static const ts_expr *constant(ts_ir *ir, const char *p, ts_type t) {
  size_t n = token_len(p);
  if (n == 1) return number(ir, t, p[0] - '0');
  if (n == 6) return ts_const_float(ir, t, lowest_float(t.code));
  if (memcmp(p, "ones", 4) == 0 && n == 4 && *p == 'o') return ts_const_int(ir, t, -1);
  bool high = *p == '+';
  return ts_code_is_float(t.code) ? ts_const_float(ir, t, high ? INFINITY : -INFINITY) : int_limit(ir, t, high);
}

void ts__reducer_identity(ts_ir *ir, ts_reducer r, const ts_code *codes, const ts_expr **out) {
  const char *p = rows[r].identity;
  for (int k = 0; k < rows[r].info.n; k++, p = next_token(p)) out[k] = constant(ir, p, ts_scalar(codes[k]));
}
