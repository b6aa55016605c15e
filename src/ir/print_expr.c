// print_expr: unique names, and expressions as text.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "ir/print_impl.h"

// --- names ----------------------------------------------------------------------------------------------------

static const char *const reserved[] = {
    "func", "lowered", "root",   "for",      "in",        "block",  "where",  "init",    "alloc",  "reads", "writes",
    "if",   "else",    "let",    "eval",     "intrin",    "true",   "false",  "inf",     "nan",    "out",   "inout",
    "cold", "dim",     "serial", "parallel", "vectorize", "unroll", "thread", "strides", "offset", "align",
    "skew", "distinct"};

bool ts__is_reserved(const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(reserved); i++) {
    if (strcmp(reserved[i], name) == 0) return true;
  }
  return false;
}

void ts__printer_open(ts__printer *p, ts_text *out) {
  p->out = out;
  p->arena = ts_arena_new("print");
}

void ts__printer_close(ts__printer *p) { ts_arena_free(p->arena); }

static bool taken(const ts__printer *p, const char *name) {
  for (size_t i = 0; i < p->bound.n; i++) {
    if (strcmp(p->bound.p[i].name, name) == 0) return true;
  }
  for (size_t i = 0; i < p->loose.n; i++) {
    if (strcmp(p->loose.p[i].name, name) == 0) return true;
  }
  return ts__is_reserved(name);
}

// A lone dot may stand between two name characters; anything else that is no name character becomes '_'.
static bool fits(const char *hint, size_t i) {
  unsigned char c = (unsigned char)hint[i];
  if (c == '.') return i > 0 && (isalnum((unsigned char)hint[i + 1]) || hint[i + 1] == '_') && hint[i - 1] != '.';
  return isalnum(c) || c == '_';
}

const char *ts__print_plain(ts__printer *p, const char *hint) {
  size_t n = strlen(hint);
  bool lead = n == 0 || !(isalpha((unsigned char)hint[0]) || hint[0] == '_');
  char *s = ts_arena_alloc(p->arena, n + 2, 1), *q = s;
  if (lead) *q++ = '_';
  for (size_t i = 0; i < n; i++) *q++ = fits(hint, i) ? hint[i] : '_';
  return s;
}

// The digits of v, written backwards from `end`; returns the first.
static char *digits(char *end, uint64_t v) {
  do {
    *--end = (char)('0' + v % 10);
    v /= 10;
  } while (v);
  return end;
}

// Printing is on the path of every hash: no printf for the common pieces.
void ts__print_int(ts__printer *p, int64_t v) {
  char s[24], *at = digits(s + sizeof s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
  if (v < 0) *--at = '-';
  ts_text_addn(p->out, at, (size_t)(s + sizeof s - at));
}

static const char *numbered(ts__printer *p, char letter) {
  char s[16], *at = digits(s + sizeof s, p->count++);
  *--at = letter;
  return ts_arena_strndup(p->arena, at, (size_t)(s + sizeof s - at));
}

static const char *unique(ts__printer *p, const char *hint, char letter) {
  if (p->canonical) return numbered(p, letter);
  const char *base = ts__print_plain(p, hint), *name = base;
  for (int k = 1; taken(p, name); k++) name = ts_arena_printf(p->arena, "%s_%d", base, k);
  return name;
}

const char *ts__print_bind(ts__printer *p, const void *key, const char *hint, char letter) {
  const char *name = unique(p, hint, letter);
  ts__named entry = {.key = key, .name = name};
  ts_vec_push(p->arena, &p->bound, entry);
  return name;
}

static const char *find(ts__printer *p, const void *key, const char *hint, char letter) {
  for (size_t i = p->bound.n; i-- > 0;) {
    if (p->bound.p[i].key == key) return p->bound.p[i].name;
  }
  for (size_t i = 0; i < p->loose.n; i++) {
    if (p->loose.p[i].key == key) return p->loose.p[i].name;
  }
  ts__named entry = {.key = key, .name = unique(p, hint, letter)};
  ts_vec_push(p->arena, &p->loose, entry);
  return entry.name;
}

const char *ts__print_var(ts__printer *p, const ts_var *v) { return find(p, v, v->name, 'v'); }
const char *ts__print_buffer(ts__printer *p, const ts_buffer *b) { return find(p, b, b->name, 'b'); }

// --- constants ------------------------------------------------------------------------------------------------

void ts__print_type(ts__printer *p, ts_type t) {
  ts_text_add(p->out, ts_code_name(t.code));
  if (t.lanes != 1) ts_text_addf(p->out, "x%d", t.lanes);
}

// The decimal with fewest digits that rounds to v in type c.
static double shortest(ts_code c, double v) {
  if (c == TS_F64 || isnan(v) || isinf(v)) return v;
  for (int digits = 1; digits < 17; digits++) {
    char s[40];
    snprintf(s, sizeof s, "%.*g", digits, v);
    double back = strtod(s, NULL);
    if (ts__round(c, back) == v) return back;
  }
  return v;
}

static bool is_constant(const ts_expr *e) { return e->kind == TS_E_INT || e->kind == TS_E_FLOAT; }

static bool is_negative(const ts_expr *e) {
  return e->kind == TS_E_INT ? e->i < 0 && e->type.code != TS_U64
                             : e->kind == TS_E_FLOAT && signbit(e->f) && !isnan(e->f);
}

static void constant(ts__printer *p, const ts_expr *e, ts__literal how) {
  ts_code c = e->type.code;
  if (c == TS_BOOL) {
    ts_text_add(p->out, e->i ? "true" : "false");
    return;
  }
  if (e->kind == TS_E_FLOAT) {
    ts_text_add_double(p->out, shortest(c, e->f));
  } else if (c == TS_U64) {
    ts_text_addf(p->out, "%llu", (unsigned long long)e->i);
  } else {
    ts__print_int(p, e->i);
  }
  bool is_default = c == TS_I64 || c == TS_F32, huge = c == TS_U64 && e->i < 0;
  if (how == TS__SUFFIX || (how == TS__DEFAULT && !is_default) || huge) ts_text_addf(p->out, ":%s", ts_code_name(c));
}

// --- expressions ----------------------------------------------------------------------------------------------

enum { PREC_COMPARE = 3, PREC_UNARY = 10, PREC_PRIMARY = 11 };

// ORDER precedence: the parser's table (parse_expr.c) has the same levels.
static int precedence(const ts_expr *e) {
  switch (e->kind) {
    case TS_E_OR:
      return 1;
    case TS_E_AND:
      return 2;
    case TS_E_EQ:
    case TS_E_NE:
    case TS_E_LT:
    case TS_E_LE:
      return PREC_COMPARE;
    case TS_E_BITOR:
      return 4;
    case TS_E_BITXOR:
      return 5;
    case TS_E_BITAND:
      return 6;
    case TS_E_SHL:
    case TS_E_SHR:
      return 7;
    case TS_E_ADD:
    case TS_E_SUB:
      return 8;
    case TS_E_MUL:
    case TS_E_DIV:
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
      return 9;
    case TS_E_NOT:
      return PREC_UNARY;
    default:
      return is_negative(e) ? PREC_UNARY : PREC_PRIMARY;
  }
}

// Shifts and bit operators over other operators get parentheses that the grammar does not need, for readers.
static void operand(ts__printer *p, const ts_expr *e, int parent, int least, ts__literal how) {
  int prec = precedence(e);
  bool mixed = parent >= 4 && parent <= 7 && prec >= 4 && prec <= 9 && prec != parent;
  bool paren = prec < least || mixed;
  if (paren) ts_text_add(p->out, "(");
  ts__print_expr(p, e, how);
  if (paren) ts_text_add(p->out, ")");
}

// One constant beside a typed operand takes its type from there; two constants (an undefined operation left alone) need
// both types.
static ts__literal pair(const ts_expr *a, const ts_expr *b) {
  return is_constant(a) && is_constant(b) ? TS__SUFFIX : TS__BARE;
}

static void infix(ts__printer *p, const ts_expr *e) {
  int prec = precedence(e);
  ts__literal how = pair(e->arg[0], e->arg[1]);
  operand(p, e->arg[0], prec, prec == PREC_COMPARE ? prec + 1 : prec, how);
  ts_text_addn(p->out, " ", 1);
  ts_text_add(p->out, ts_ekind_name(e->kind));
  ts_text_addn(p->out, " ", 1);
  operand(p, e->arg[1], prec, prec + 1, how);
}

static void arguments(ts__printer *p, const ts_expr *e, ts__literal how) {
  ts_text_add(p->out, "(");
  for (uint32_t i = 0; i < e->nargs; i++) {
    if (i) ts_text_add(p->out, ", ");
    ts__print_expr(p, e->arg[i], how);
  }
  ts_text_add(p->out, ")");
}

static void choice(ts__printer *p, const ts_expr *e) {
  bool both = is_constant(e->arg[1]) && is_constant(e->arg[2]);
  ts_text_add(p->out, "select(");
  ts__print_expr(p, e->arg[0], TS__DEFAULT);
  ts_text_add(p->out, ", ");
  ts__print_expr(p, e->arg[1], both ? TS__DEFAULT : TS__BARE);
  ts_text_add(p->out, ", ");
  ts__print_expr(p, e->arg[2], both ? TS__DEFAULT : TS__BARE);
  ts_text_add(p->out, ")");
}

static void converted(ts__printer *p, const ts_expr *e) {
  ts_text_add(p->out, ts_ekind_name(e->kind));
  ts_text_addn(p->out, "(", 1);
  ts__print_type(p, e->type);
  ts_text_add(p->out, ", ");
  ts__print_expr(p, e->arg[0], TS__DEFAULT);
  ts_text_add(p->out, ")");
}

static void load(ts__printer *p, const ts_expr *e) {
  const char *name = ts__print_buffer(p, e->buf);
  if (e->type.lanes == 1) {
    ts_text_add(p->out, name);
    ts_text_addn(p->out, "[", 1);
  } else {
    ts_text_addf(p->out, "vload(%s, %d)[", name, e->type.lanes);
  }
  ts__print_exprs(p, e->arg, (int)e->nargs);
  ts_text_add(p->out, "]");
}

// A string with its quotes.
static void quoted(ts__printer *p, const char *s) {
  ts_text_add(p->out, "\"");
  for (; *s; s++) {
    if (*s == '\n') ts_text_add(p->out, "\\n");
    else if (*s == '"' || *s == '\\') ts_text_addf(p->out, "\\%c", *s);
    else ts_text_addn(p->out, s, 1);
  }
  ts_text_add(p->out, "\"");
}

static void instruction(ts__printer *p, const ts_expr *e) {
  ts_arena *a = ts_arena_new("asm");
  ts_asm x;
  if (ts_asm_of(a, e, &x)) {
    ts_text_addf(p->out, "%s(", ts_asm_name(x.kind));
    quoted(p, x.text);
    ts_text_add(p->out, ", ");
    quoted(p, x.constraints);
    for (uint32_t i = 0; i < e->nargs; i++) {
      ts_text_add(p->out, ", ");
      ts__print_expr(p, e->arg[i], TS__DEFAULT);
    }
    ts_text_add(p->out, "): ");
    ts__print_type(p, e->type);
  }
  ts_arena_free(a);
}

static void call(ts__printer *p, const ts_expr *e) {
  if (ts_asm_of(NULL, e, &(ts_asm){0})) {
    instruction(p, e);
    return;
  }
  ts_text_add(p->out, e->callee);
  arguments(p, e, TS__DEFAULT);
  ts_effect effect;
  if (ts__math_args(e->callee) >= 0 || ts__effect_find(e->callee, &effect)) return;
  ts_text_add(p->out, ": ");
  ts__print_type(p, e->type);
}

void ts__print_expr(ts__printer *p, const ts_expr *e, ts__literal how) {
  switch (e->kind) {
    case TS_E_INT:
    case TS_E_FLOAT:
      constant(p, e, how);
      return;
    case TS_E_VAR:
      ts_text_add(p->out, ts__print_var(p, e->var));
      return;
    case TS_E_MIN:
    case TS_E_MAX:
      ts_text_add(p->out, ts_ekind_name(e->kind));
      arguments(p, e, pair(e->arg[0], e->arg[1]));
      return;
    case TS_E_NOT:
      ts_text_add(p->out, "!");
      operand(p, e->arg[0], PREC_UNARY, PREC_UNARY, TS__BARE);
      return;
    case TS_E_SELECT:
      choice(p, e);
      return;
    case TS_E_CAST:
    case TS_E_BITCAST:
      converted(p, e);
      return;
    case TS_E_BROADCAST:
      ts_text_add(p->out, "broadcast(");
      ts__print_expr(p, e->arg[0], TS__DEFAULT);
      ts_text_addf(p->out, ", %d)", e->type.lanes);
      return;
    case TS_E_LOAD:
      load(p, e);
      return;
    case TS_E_CALL:
      call(p, e);
      return;
    default:
      infix(p, e);
      return;
  }
}

void ts__print_exprs(ts__printer *p, const ts_expr *const *e, int n) {
  for (int i = 0; i < n; i++) {
    if (i) ts_text_add(p->out, ", ");
    ts__print_expr(p, e[i], TS__BARE);
  }
}

// lo..hi when the minimum is 0 or both are constants; else "min ..+ extent".
void ts__print_range(ts__printer *p, const ts_range *r) {
  int64_t lo, extent, hi = 0;
  if (ts_is_int(r->min, &lo) &&
      (lo == 0 || (ts_is_int(r->extent, &extent) && !__builtin_add_overflow(lo, extent, &hi)))) {
    ts__print_int(p, lo);
    ts_text_addn(p->out, "..", 2);
    if (lo == 0) {
      ts__print_expr(p, r->extent, TS__BARE);
    } else {
      ts__print_int(p, hi);
    }
    return;
  }
  ts__print_expr(p, r->min, TS__BARE);
  ts_text_add(p->out, " ..+ ");
  ts__print_expr(p, r->extent, TS__BARE);
}

void ts_expr_print(ts_text *out, const ts_expr *e) {
  ts__printer p = {0};
  ts__printer_open(&p, out);
  ts__print_expr(&p, e, TS__DEFAULT);
  ts__printer_close(&p);
}
