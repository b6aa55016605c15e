// eval: integer expressions with given variables, and elements of arrays.
#include "ir/ir_impl.h"

typedef struct values {
  const ts_var *const *vars;
  const int64_t *values;
  int n;
} values;

static bool eval(const values *v, const ts_expr *e, int64_t *out);

static bool eval_var(const values *v, const ts_var *var, int64_t *out) {
  for (int i = 0; i < v->n; i++) {
    if (v->vars[i] != var) continue;
    *out = ts__wrap(var->type.code, v->values[i]);
    return true;
  }
  return false;
}

static bool eval_bin(const values *v, const ts_expr *e, int64_t *out) {
  int64_t a, b;
  ts_code c = e->arg[0]->type.code;
  TS_TRY(eval(v, e->arg[0], &a) && eval(v, e->arg[1], &b));
  if (!ts__ekind_is_compare(e->kind)) return ts__fold_int(e->kind, c, a, b, out);
  *out = ts__compare_int(e->kind, c, a, b);
  return true;
}

static bool eval(const values *v, const ts_expr *e, int64_t *out) {
  if (e->type.lanes != 1 || ts_code_is_float(e->type.code)) return false;
  switch (e->kind) {
    case TS_E_INT:
      *out = e->i;
      return true;
    case TS_E_VAR:
      return eval_var(v, e->var, out);
    case TS_E_NOT:
      TS_TRY(eval(v, e->arg[0], out));
      *out = !*out;
      return true;
    case TS_E_SELECT:
      TS_TRY(eval(v, e->arg[0], out));
      return eval(v, e->arg[*out ? 1 : 2], out);
    case TS_E_CAST:
      TS_TRY(eval(v, e->arg[0], out));
      *out = ts__wrap(e->type.code, *out);
      return true;
    default:
      break;
  }
  return ts__ekind_is_binary(e->kind) && !ts_code_is_float(e->arg[0]->type.code) && eval_bin(v, e, out);
}

bool ts_eval_int(const ts_expr *e, const ts_var *const *vars, const int64_t *vals, int n, int64_t *out) {
  values v = {.vars = vars, .values = vals, .n = n};
  return eval(&v, e, out);
}

int64_t ts_array_count(const ts_array *a) {
  int64_t n = 1;
  for (int d = 0; d < a->ndim; d++) n *= a->shape[d];
  return n;
}

double ts_array_get(const ts_array *a, int64_t i) {
  int64_t k = 0;
  double f = 0;
  ts__unpack(a->code, (const char *)a->data + i * ts_code_bytes(a->code), &k, &f);
  if (ts_code_is_float(a->code)) return f;
  return a->code == TS_U64 ? (double)(uint64_t)k : (double)k;
}

void ts_array_set(ts_array *a, int64_t i, double v) {
  bool is_float = ts_code_is_float(a->code);
  int64_t k = is_float ? 0 : ts__float_to_int(a->code, v);
  ts__pack(a->code, (char *)a->data + i * ts_code_bytes(a->code), k, is_float ? ts__round(a->code, v) : 0);
}

void ts_array_set_distinct(ts_array *a, int64_t below, uint64_t key) {
  for (int64_t i = 0; i < ts_array_count(a); i++) ts_array_set(a, i, (double)ts_shuffled((uint64_t)i, (uint64_t)below, key));
}
