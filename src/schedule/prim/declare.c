// declare "n <= 128 && n % 32 == 0" : func main(n: dim(1..4096), ..) -> func main(n: dim(32..128, multiple 32), ..)
// States facts about symbolic dimensions. The function then holds for those sizes only, every later step may rest on
// them, and whoever uses the function sees them in its head (ts_func_serves).
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts_dim *dims;
} plan;

static bool no_fact(ts__ctx *c, const char *why) {
  ts__refuse(c, TS_R_bad_argument, 0, "\"{0}\" is no fact: {1}");
  ts__fact_s(c, c->arg[0].s);
  ts__fact_s(c, why);
  ts__hint(c, "as in \"n <= 128\", \"n >= 8\", \"n == 64\", \"n % 32 == 0\", joined by &&");
  return false;
}

static ts_dim *dim_of(ts__ctx *c, plan *p, const ts_expr *e) {
  for (int i = 0; e->kind == TS_E_VAR && i < c->f->ndims; i++)
    if (p->dims[i].var == e->var) return &p->dims[i];
  return NULL;
}

// The facts of one dimension after lo <= n <= hi and n % m == 0 are known as well; false when no size is left.
static bool narrow(ts_dim *x, int64_t lo, int64_t hi, int64_t m) {
  int64_t g = x->multiple, r = m;
  while (r) {
    int64_t t = g % r;
    g = r, r = t;
  }
  if (__builtin_mul_overflow(x->multiple / g, m, &x->multiple) || x->multiple > (int64_t)1 << 40) return false;
  x->lo = TS_MAX(x->lo, lo);
  x->hi = TS_MIN(x->hi, hi);
  if (x->lo > x->hi) return false;
  if (x->multiple > 1) {
    x->lo = (x->lo + x->multiple - 1) / x->multiple * x->multiple;
    x->hi = x->hi / x->multiple * x->multiple;
  }
  return x->lo <= x->hi;
}

static bool contradicts(ts__ctx *c, const ts_dim *known) {
  bool multiple = known->multiple > 1;
  ts__refuse(c, TS_R_bad_fact, 0,
             multiple ? "\"{0}\" leaves no value of {1}, which is {2} to {3} and a multiple of {4}"
                      : "\"{0}\" leaves no value of {1}, which is {2} to {3}");
  ts__fact_s(c, c->arg[0].s);
  ts__fact_s(c, known->var->name);
  ts__fact_i(c, known->lo);
  ts__fact_i(c, known->hi);
  ts__fact_i(c, known->multiple);
  return false;
}

static bool learn(ts__ctx *c, ts_dim *x, int64_t lo, int64_t hi, int64_t m) {
  ts_dim known = *x;
  return narrow(x, lo, hi, m) || contradicts(c, &known);
}

// `n % m == 0`.
static bool multiple_fact(ts__ctx *c, plan *p, const ts_expr *mod, int64_t rest) {
  int64_t m;
  ts_dim *x = dim_of(c, p, mod->arg[0]);
  if (!x || !ts_is_int(mod->arg[1], &m)) return no_fact(c, "a dimension modulo a constant is wanted");
  if (m < 1 || m > (int64_t)1 << 40) return no_fact(c, "the divisor is out of range");
  if (rest != 0) return no_fact(c, "only multiples are kept as facts, not other remainders");
  return learn(c, x, 0, INT64_MAX, m);
}

static bool fact(ts__ctx *c, plan *p, const ts_expr *e) {
  if (e->kind == TS_E_AND) return fact(c, p, e->arg[0]) && fact(c, p, e->arg[1]);
  if (e->kind != TS_E_LE && e->kind != TS_E_LT && e->kind != TS_E_EQ) return no_fact(c, "a comparison is wanted");
  const ts_expr *x = e->arg[0], *y = e->arg[1];
  int64_t v;
  bool right = ts_is_int(y, &v);  // the constant
  if (!right && !ts_is_int(x, &v)) return no_fact(c, "one side must be a constant");
  const ts_expr *of = right ? x : y;
  if (e->kind == TS_E_EQ && of->kind == TS_E_FLOORMOD) return multiple_fact(c, p, of, v);
  ts_dim *dim = dim_of(c, p, of);
  if (!dim) return no_fact(c, "one side must be a symbolic dimension of the function");
  if (e->kind == TS_E_EQ) return learn(c, dim, v, v, 1);
  int64_t strict = e->kind == TS_E_LT;
  if (right) return learn(c, dim, INT64_MIN, strict && v > INT64_MIN ? v - 1 : v, 1);
  return learn(c, dim, strict && v < INT64_MAX ? v + 1 : v, INT64_MAX, 1);
}

bool ts__check_declare(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  const ts_var **vars = ts_new_array(c->a, const ts_var *, c->f->ndims);
  for (int i = 0; i < c->f->ndims; i++) vars[i] = c->f->dims[i].var;
  p->dims = ts_new_array(c->a, ts_dim, c->f->ndims);
  if (c->f->ndims) memcpy(p->dims, c->f->dims, sizeof *p->dims * (size_t)c->f->ndims);
  ts_lex l;
  ts_diag d = {0};
  ts_lex_init(&l, "fact", c->arg[0].s, strlen(c->arg[0].s));
  const ts_expr *e = ts_expr_parse_at(c->ir, &l, vars, c->f->ndims, NULL, 0, &d);
  if (!e) return no_fact(c, ts_arena_strdup(c->a, d.message));
  if (l.tok != TS_TOK_EOF) return no_fact(c, "something follows it");
  return fact(c, p, e);
}

bool ts__apply_declare(ts__ctx *c) {
  const plan *p = c->plan;
  if (!memcmp(p->dims, c->f->dims, sizeof *p->dims * (size_t)c->f->ndims)) return true;
  ts_func *f = ts_arena_dup(c->a, c->f, sizeof *f);
  f->dims = p->dims;
  c->out = f;
  return true;
}
