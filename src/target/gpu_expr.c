// Integer expressions over named dimensions: evaluated while they are read.
#include "target/gpu.h"

enum { MOST_DEPTH = 64 };
typedef struct reader {
  const char *text, *p;
  const char *const *names;
  const int64_t *value;
  int n, depth;
  bool check;   // syntax and names only
  int skipped;  // inside a branch that is not taken
  ts_diag *d;
} reader;

static bool fail(const reader *r, const char *what) {
  return ts_refuse(r->d, "bad-expression", "expression \"%.100s\", character %d: %s", r->text, (int)TS_MIN(r->p - r->text + 1, 9999), what);
}

static bool is_space(char c) { return c == ' ' || c == '\t'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }

static void skip_spaces(reader *r) {
  while (is_space(*r->p)) r->p++;
}

static bool accept(reader *r, const char *op) {
  skip_spaces(r);
  size_t n = strlen(op);
  if (strncmp(r->p, op, n) != 0) return false;
  r->p += n;
  return true;
}

static bool live(const reader *r) { return !r->check && !r->skipped; }

// Applies an operation when its result counts.
typedef enum op { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD, OP_LE, OP_GE, OP_EQ, OP_NE, OP_LT, OP_GT, OP_MIN, OP_MAX, OP_CEILDIV } op;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool apply(const reader *r, op o, int64_t a, int64_t b, int64_t *out) {
  *out = 0;
  if (!live(r)) return true;
  bool divides = o == OP_DIV || o == OP_MOD || o == OP_CEILDIV;
  if (divides && b == 0) return fail(r, "division by zero");
  if (divides && a == INT64_MIN && b == -1) return fail(r, "overflow");
  bool over = false;
  switch (o) {
    case OP_ADD: over = __builtin_add_overflow(a, b, out); break;
    case OP_SUB: over = __builtin_sub_overflow(a, b, out); break;
    case OP_MUL: over = __builtin_mul_overflow(a, b, out); break;
    case OP_DIV: *out = floor_div(a, b); break;
    case OP_MOD: *out = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0); break;
    case OP_CEILDIV: *out = a / b + (a % b != 0 && (a < 0) == (b < 0)); break;
    case OP_LE: *out = a <= b; break;
    case OP_GE: *out = a >= b; break;
    case OP_EQ: *out = a == b; break;
    case OP_NE: *out = a != b; break;
    case OP_LT: *out = a < b; break;
    case OP_GT: *out = a > b; break;
    case OP_MIN: *out = TS_MIN(a, b); break;
    case OP_MAX: *out = TS_MAX(a, b); break;
  }
  return !over || fail(r, "overflow");
}

static bool read_choice(reader *r, int64_t *out);

static bool read_number(reader *r, int64_t *out) {
  int64_t v = 0;
  while (is_digit(*r->p)) {
    if (__builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_add_overflow(v, (int64_t)(*r->p - '0'), &v)) return fail(r, "the number is too large");
    r->p++;
  }
  if (is_name(*r->p)) return fail(r, "a number ends in letters");
  *out = v;
  return true;
}

static bool pow2ceil(const reader *r, int64_t a, int64_t *out) {
  *out = 1;
  if (!live(r)) return true;
  if (a > INT64_C(1) << 62) return fail(r, "overflow");
  while (*out < a) *out *= 2;
  return true;
}

static bool read_call(reader *r, const char *name, size_t n, int64_t *out) {
  static const struct {
    const char *name;
    op o;
  } calls[] = {{"min", OP_MIN}, {"max", OP_MAX}, {"ceildiv", OP_CEILDIV}};
  int64_t a, b;
  if (n == 8 && memcmp(name, "pow2ceil", 8) == 0) return read_choice(r, &a) && (accept(r, ")") || fail(r, ") wanted")) && pow2ceil(r, a, out);
  for (size_t i = 0; i < TS_COUNTOF(calls); i++) {
    if (strlen(calls[i].name) != n || memcmp(calls[i].name, name, n) != 0) continue;
    return read_choice(r, &a) && (accept(r, ",") || fail(r, "a second argument wanted")) && read_choice(r, &b) && (accept(r, ")") || fail(r, ") wanted")) && apply(r, calls[i].o, a, b, out);
  }
  return fail(r, "no such function: min, max, ceildiv and pow2ceil are known");
}

static bool read_name(reader *r, int64_t *out) {
  const char *name = r->p;
  while (is_name(*r->p)) r->p++;
  size_t n = (size_t)(r->p - name);
  if (accept(r, "(")) return read_call(r, name, n, out);
  for (int i = 0; i < r->n; i++)
    if (strlen(r->names[i]) == n && memcmp(r->names[i], name, n) == 0) {
      *out = r->check ? 0 : r->value[i];
      return true;
    }
  r->p = name;
  return fail(r, "unknown name");
}

static bool read_primary(reader *r, int64_t *out) {
  skip_spaces(r);
  if (is_digit(*r->p)) return read_number(r, out);
  if (is_name(*r->p)) return read_name(r, out);
  if (accept(r, "(")) return read_choice(r, out) && (accept(r, ")") || fail(r, ") wanted"));
  return fail(r, *r->p ? "a number, a name or ( wanted" : "it ends too early");
}

static bool read_unary(reader *r, int64_t *out) {
  int minus = 0;
  skip_spaces(r);
  if (*r->p == '!') {
    if (++r->depth > MOST_DEPTH) return fail(r, "nested too deeply");
    r->p++;
    TS_TRY(read_unary(r, out));
    r->depth--;
    *out = *out == 0;
    return true;
  }
  while (accept(r, "-")) minus++;
  TS_TRY(read_primary(r, out));
  return minus % 2 == 0 || apply(r, OP_SUB, 0, *out, out);
}

// One level of operators that bind alike and group from the left.
static bool read_level(reader *r, int level, int64_t *out) {
  static const struct {
    const char *text;
    op o;
    int level;
  } ops[] = {{"*", OP_MUL, 2}, {"/", OP_DIV, 2}, {"%", OP_MOD, 2}, {"+", OP_ADD, 1}, {"-", OP_SUB, 1}, {"<=", OP_LE, 0},
             {">=", OP_GE, 0}, {"==", OP_EQ, 0}, {"!=", OP_NE, 0}, {"<", OP_LT, 0}, {">", OP_GT, 0}};
  if (level == 3) return read_unary(r, out);
  TS_TRY(read_level(r, level + 1, out));
  for (size_t i = 0; i < TS_COUNTOF(ops);) {
    if (ops[i].level != level || !accept(r, ops[i].text)) {
      i++;
      continue;
    }
    int64_t right;
    TS_TRY(read_level(r, level + 1, &right) && apply(r, ops[i].o, *out, right, out));
    i = 0;
  }
  return true;
}

// a && b (all: true), a || b over what `of` reads; the right side does not count when the left one decides.
static bool read_logic(reader *r, bool all, bool (*of)(reader *, int64_t *), int64_t *out) {
  TS_TRY(of(r, out));
  while (accept(r, all ? "&&" : "||")) {
    int64_t right;
    bool left = *out != 0, decided = left != all;
    r->skipped += decided;
    TS_TRY(of(r, &right));
    r->skipped -= decided;
    *out = decided ? left : right != 0;
  }
  return true;
}

static bool read_compared(reader *r, int64_t *out) { return read_level(r, 0, out); }
static bool read_all(reader *r, int64_t *out) { return read_logic(r, true, read_compared, out); }
static bool read_any(reader *r, int64_t *out) { return read_logic(r, false, read_all, out); }

// c ? a : b; the branch that is not taken may divide by zero.
static bool read_choice(reader *r, int64_t *out) {
  if (++r->depth > MOST_DEPTH) return fail(r, "nested too deeply");
  TS_TRY(read_any(r, out));
  if (accept(r, "?")) {
    int64_t a, b;
    bool yes = *out != 0;
    r->skipped += !yes;
    TS_TRY(read_choice(r, &a));
    r->skipped -= !yes;
    if (!accept(r, ":")) return fail(r, ": wanted");
    r->skipped += yes;
    TS_TRY(read_choice(r, &b));
    r->skipped -= yes;
    *out = yes ? a : b;
  }
  r->depth--;
  return true;
}

static bool run(reader *r, int64_t *out) {
  TS_TRY(read_choice(r, out));
  skip_spaces(r);
  return !*r->p || fail(r, "the expression should end here");
}

bool ts_gpu_eval(const char *expr, const char *const *names, const int64_t *value, int n, int64_t *out, ts_diag *d) {
  return run(&(reader){.text = expr, .p = expr, .names = names, .value = value, .n = n, .d = d}, out);
}

bool ts_gpu_expr_check(const char *expr, const char *const *names, int n, ts_diag *d) {
  int64_t ignored;
  return run(&(reader){.text = expr, .p = expr, .names = names, .n = n, .check = true, .d = d}, &ignored);
}
