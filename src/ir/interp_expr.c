// interp_expr: expressions as nodes with evaluators. Integers and bool evaluate to int64_t in the canonical form of
// ts__wrap, floats to a double that is exact in their type. A vector expression is evaluated lane by lane (m->lane).
#include <math.h>

#include "ir/interp_impl.h"

static int64_t int_of(ts__machine *m, const ts__node *n) { return n->i(m, n); }
static double float_of(ts__machine *m, const ts__node *n) { return n->f(m, n); }

// --- leaves ---------------------------------------------------------------------------------------------------

static int64_t i_const(ts__machine *m, const ts__node *n) {
  (void)m;
  return n->ki;
}
static double f_const(ts__machine *m, const ts__node *n) {
  (void)m;
  return n->kf;
}
static int64_t i_var(ts__machine *m, const ts__node *n) { return m->var[n->slot]; }
static double f_var(ts__machine *m, const ts__node *n) { return m->fvar[n->slot]; }
static int64_t i_lane_var(ts__machine *m, const ts__node *n) { return m->var[n->slot + m->lane]; }
static double f_lane_var(ts__machine *m, const ts__node *n) { return m->fvar[n->slot + m->lane]; }

// --- loads ----------------------------------------------------------------------------------------------------

const char *ts__element_at(ts__machine *m, ts__memory *b, int64_t at) {
  if (b->written && !b->written[at]) {
    ts__fail(m, "uninitialised-read", "element %lld of '%s' is read before it is written", (long long)at, b->buf->name);
    return NULL;
  }
  if (m->check_races && !ts__note_read(m, b, at)) return NULL;
  return b->data + at * ts_code_bytes(b->code);
}

static const char *checked(ts__machine *m, const ts__node *n) {
  ts__memory *b = m->mem[n->slot];
  int64_t at = ts__locate(m, b, n->idx, n->lanes > 1 ? m->lane : 0);
  return at < 0 ? NULL : ts__element_at(m, b, at);
}

#define TS__LOAD(name, R, T)                         \
  static R name(ts__machine *m, const ts__node *n) { \
    const char *p = checked(m, n);                   \
    T v;                                             \
    if (!p) return 0;                                \
    memcpy(&v, p, sizeof v);                         \
    return v;                                        \
  }
TS__LOAD(load_i8, int64_t, int8_t)
TS__LOAD(load_i16, int64_t, int16_t)
TS__LOAD(load_i32, int64_t, int32_t)
TS__LOAD(load_i64, int64_t, int64_t)
TS__LOAD(load_u8, int64_t, uint8_t)
TS__LOAD(load_u16, int64_t, uint16_t)
TS__LOAD(load_u32, int64_t, uint32_t)
TS__LOAD(load_f32, double, float)
TS__LOAD(load_f64, double, double)

static int64_t load_bool(ts__machine *m, const ts__node *n) { return load_u8(m, n) != 0; }

static double load_half(ts__machine *m, const ts__node *n) {
  int64_t i;
  double v = 0;
  const char *p = checked(m, n);
  if (p) ts__unpack(n->type.code, p, &i, &v);
  return v;
}

static void set_load(ts__node *n) {
  static const ts__int_fn ints[TS_CODE__COUNT] = {
      [TS_BOOL] = load_bool, [TS_I8] = load_i8,   [TS_I16] = load_i16, [TS_I32] = load_i32, [TS_I64] = load_i64,
      [TS_U8] = load_u8,     [TS_U16] = load_u16, [TS_U32] = load_u32, [TS_U64] = load_i64};
  switch (n->type.code) {
    case TS_F32:
      n->f = load_f32;
      return;
    case TS_F64:
      n->f = load_f64;
      return;
    case TS_F16:
    case TS_BF16:
      n->f = load_half;
      return;
    default:
      n->i = ints[n->type.code];
      return;
  }
}

// --- operators ------------------------------------------------------------------------------------------------

static int64_t i_add(ts__machine *m, const ts__node *n) {
  return (int64_t)((uint64_t)int_of(m, n->a) + (uint64_t)int_of(m, n->b));
}
static int64_t i_sub(ts__machine *m, const ts__node *n) {
  return (int64_t)((uint64_t)int_of(m, n->a) - (uint64_t)int_of(m, n->b));
}
static int64_t i_mul(ts__machine *m, const ts__node *n) {
  return (int64_t)((uint64_t)int_of(m, n->a) * (uint64_t)int_of(m, n->b));
}

static int64_t i_bin(ts__machine *m, const ts__node *n) {
  int64_t a = int_of(m, n->a), b = int_of(m, n->b), r = 0;
  if (!ts__fold_int(n->kind, n->type.code, a, b, &r)) {
    bool shift = n->kind == TS_E_SHL || n->kind == TS_E_SHR;
    ts__fail(m, shift ? "shift-too-large" : "division-by-zero", "%lld %s %lld is not defined", (long long)a,
             ts_ekind_name(n->kind), (long long)b);
  }
  return r;
}

static int64_t i_compare(ts__machine *m, const ts__node *n) {
  int64_t a = int_of(m, n->a);
  return ts__compare_int(n->kind, n->from.code, a, int_of(m, n->b));
}

static int64_t f_compare(ts__machine *m, const ts__node *n) {
  double a = float_of(m, n->a);
  return ts__compare_float(n->kind, a, float_of(m, n->b));
}

static double f32_add(ts__machine *m, const ts__node *n) {
  return (double)(float)(float_of(m, n->a) + float_of(m, n->b));
}
static double f32_sub(ts__machine *m, const ts__node *n) {
  return (double)(float)(float_of(m, n->a) - float_of(m, n->b));
}
static double f32_mul(ts__machine *m, const ts__node *n) {
  return (double)(float)(float_of(m, n->a) * float_of(m, n->b));
}

static double f_bin(ts__machine *m, const ts__node *n) {
  double a = float_of(m, n->a);
  return ts__fold_float(n->kind, n->type.code, a, float_of(m, n->b));
}

static int64_t i_not(ts__machine *m, const ts__node *n) { return !int_of(m, n->a); }
static int64_t i_select(ts__machine *m, const ts__node *n) {
  return int_of(m, n->a) ? int_of(m, n->b) : int_of(m, n->c);
}
static double f_select(ts__machine *m, const ts__node *n) {
  return int_of(m, n->a) ? float_of(m, n->b) : float_of(m, n->c);
}

static void set_bin(ts__node *n) {
  bool wide = n->type.code == TS_I64 || n->type.code == TS_U64, floats = ts_code_is_float(n->from.code);
  if (ts__ekind_is_compare(n->kind)) {
    n->i = floats ? f_compare : i_compare;
    return;
  }
  if (!floats) {
    n->i = i_bin;
    if (wide && n->kind == TS_E_ADD) n->i = i_add;
    if (wide && n->kind == TS_E_SUB) n->i = i_sub;
    if (wide && n->kind == TS_E_MUL) n->i = i_mul;
    return;
  }
  n->f = f_bin;
  if (n->type.code != TS_F32) return;
  if (n->kind == TS_E_ADD) n->f = f32_add;
  if (n->kind == TS_E_SUB) n->f = f32_sub;
  if (n->kind == TS_E_MUL) n->f = f32_mul;
}

// --- conversions ----------------------------------------------------------------------------------------------

static int64_t cast_ii(ts__machine *m, const ts__node *n) { return ts__wrap(n->type.code, int_of(m, n->a)); }
static int64_t cast_fi(ts__machine *m, const ts__node *n) { return ts__float_to_int(n->type.code, float_of(m, n->a)); }
static double cast_if(ts__machine *m, const ts__node *n) {
  return ts__int_to_float(n->type.code, n->from.code, int_of(m, n->a));
}
static double cast_ff(ts__machine *m, const ts__node *n) { return ts__round(n->type.code, float_of(m, n->a)); }

static void set_cast(ts__node *n) {
  bool to_float = ts_code_is_float(n->type.code), from_float = ts_code_is_float(n->from.code);
  if (to_float) {
    n->f = from_float ? cast_ff : cast_if;
  } else {
    n->i = from_float ? cast_fi : cast_ii;
  }
}

// The bytes of the lane asked for, gathered from the lanes of the operand that hold them.
static void bits(ts__machine *m, const ts__node *n, int64_t *i, double *f) {
  char raw[64] = {0};
  int to = ts_code_bytes(n->type.code), from = ts_code_bytes(n->from.code), outer = m->lane;
  int lane = n->lanes > 1 ? outer : 0;
  int first = lane * to / from, count = TS_MAX(1, to / from);
  for (int k = 0; k < count; k++) {
    int64_t vi = 0;
    double vf = 0;
    m->lane = first + k;
    if (ts_code_is_float(n->from.code)) {
      vf = float_of(m, n->a);
    } else {
      vi = int_of(m, n->a);
    }
    ts__pack(n->from.code, raw + k * from, vi, vf);
  }
  m->lane = outer;
  ts__unpack(n->type.code, raw + lane * to % from, i, f);
}

static int64_t i_bitcast(ts__machine *m, const ts__node *n) {
  int64_t i = 0;
  double f;
  bits(m, n, &i, &f);
  return i;
}

static double f_bitcast(ts__machine *m, const ts__node *n) {
  int64_t i;
  double f = 0;
  bits(m, n, &i, &f);
  return f;
}

static int64_t i_same(ts__machine *m, const ts__node *n) { return int_of(m, n->a); }
static double f_same(ts__machine *m, const ts__node *n) { return float_of(m, n->a); }

// --- math -----------------------------------------------------------------------------------------------------

typedef enum math_row {
#define TS_MATH(name, nargs) MATH_##name,
#include "ir/math.def"
#undef TS_MATH
  MATH__COUNT
} math_row;
static const char *const math_names[] = {
#define TS_MATH(name, nargs) #name,
#include "ir/math.def"
#undef TS_MATH
};

static double evaluate(math_row row, double a, double b, double c) {
  switch (row) {
    case MATH_exp:
      return exp(a);
    case MATH_log:
      return log(a);
    case MATH_sqrt:
      return sqrt(a);
    case MATH_rsqrt:
      return 1 / sqrt(a);
    case MATH_sin:
      return sin(a);
    case MATH_cos:
      return cos(a);
    case MATH_tanh:
      return tanh(a);
    case MATH_abs:
      return fabs(a);
    case MATH_floor:
      return floor(a);
    case MATH_round:
      return rint(a);
    case MATH_pow:
      return pow(a, b);
    case MATH_fma:
      return fma(a, b, c);
    default:
      return NAN;
  }
}

static double f_math(ts__machine *m, const ts__node *n) {
  double a = float_of(m, n->a), b = n->b ? float_of(m, n->b) : 0, c = n->c ? float_of(m, n->c) : 0;
  return ts__round(n->type.code, evaluate((math_row)n->math, a, b, c));
}

// --- shuffles -------------------------------------------------------------------------------------------------

static int64_t i_shuffle(ts__machine *m, const ts__node *n) {
  int64_t v = int_of(m, n->a), by = int_of(m, n->b);
  double unused = 0;
  ts__team_shuffle(m, n, (ts_effect)n->math, by, &v, &unused);
  return v;
}

static double f_shuffle(ts__machine *m, const ts__node *n) {
  double v = float_of(m, n->a);
  int64_t by = int_of(m, n->b), unused = 0;
  ts__team_shuffle(m, n, (ts_effect)n->math, by, &unused, &v);
  return v;
}

static bool set_shuffle(ts__compiler *c, ts__node *n, ts_effect f) {
  c->lockstep = true;
  n->math = (int)f;
  if (ts_code_is_float(n->type.code)) {
    n->f = f_shuffle;
  } else {
    n->i = i_shuffle;
  }
  return true;
}

static bool set_call(ts__compiler *c, ts__node *n, const ts_expr *e) {
  ts_effect effect;
  if (ts_effect_of(e, &effect) && ts__effect_is_value(effect)) return set_shuffle(c, n, effect);
  for (int row = 0; row < MATH__COUNT; row++) {
    if (strcmp(math_names[row], e->callee) != 0) continue;
    n->math = row;
    n->f = f_math;
    return true;
  }
  return ts_refuse(c->d, "not-interpretable", "the interpreter has no meaning for '%s'", e->callee);
}

// --- translation ----------------------------------------------------------------------------------------------

static int slot_in(ts__ptrmap *map, int *count, const void *key, int width) {
  uint64_t have;
  if (ts__ptrmap_get(map, key, &have)) return (int)have;
  int slot = *count;
  ts__ptrmap_put(map, key, (uint64_t)slot);
  *count += width;
  return slot;
}

// A vector variable takes a slot for each lane.
int ts__slot_of_var(ts__compiler *c, const ts_var *v) { return slot_in(&c->vars, &c->nvars, v, v->type.lanes); }
int ts__slot_of_buffer(ts__compiler *c, const ts_buffer *b) { return slot_in(&c->bufs, &c->nbufs, b, 1); }

bool ts__compile_exprs(ts__compiler *c, const ts_expr *const *e, int n, const ts__node ***out) {
  *out = ts_new_array(c->tmp, const ts__node *, n + 1);
  for (int i = 0; i < n; i++) TS_TRY(((*out)[i] = ts__compile_expr(c, e[i])) != NULL);
  return true;
}

static bool children(ts__compiler *c, ts__node *n, const ts_expr *e) {
  const ts__node **to[3] = {&n->a, &n->b, &n->c};
  for (uint32_t i = 0; i < e->nargs && i < 3; i++) TS_TRY((*to[i] = ts__compile_expr(c, e->arg[i])) != NULL);
  if (e->nargs) n->from = e->arg[0]->type;
  return true;
}

static bool set_node(ts__compiler *c, ts__node *n, const ts_expr *e) {
  bool floats = ts_code_is_float(e->type.code);
  if (e->kind == TS_E_LOAD) {
    n->slot = ts__slot_of_buffer(c, e->buf);
    n->nidx = (int)e->nargs;
    set_load(n);
    return ts__compile_exprs(c, e->arg, n->nidx, &n->idx);
  }
  TS_TRY(children(c, n, e));
  switch (e->kind) {
    case TS_E_INT:
      n->i = i_const, n->ki = e->i;
      return true;
    case TS_E_FLOAT:
      n->f = f_const, n->kf = e->f;
      return true;
    case TS_E_VAR:
      n->slot = ts__slot_of_var(c, e->var);
      break;
    case TS_E_NOT:
      n->i = i_not;
      return true;
    case TS_E_CAST:
      set_cast(n);
      return true;
    case TS_E_CALL:
      return set_call(c, n, e);
    case TS_E_SELECT:
    case TS_E_BITCAST:
    case TS_E_BROADCAST:
      break;
    default:
      set_bin(n);
      return true;
  }
  static const ts__int_fn ints[TS_E__COUNT] = {
      [TS_E_VAR] = i_var, [TS_E_SELECT] = i_select, [TS_E_BITCAST] = i_bitcast, [TS_E_BROADCAST] = i_same};
  static const ts__float_fn floating[TS_E__COUNT] = {
      [TS_E_VAR] = f_var, [TS_E_SELECT] = f_select, [TS_E_BITCAST] = f_bitcast, [TS_E_BROADCAST] = f_same};
  bool vector_var = e->kind == TS_E_VAR && n->lanes > 1;
  if (floats) {
    n->f = vector_var ? f_lane_var : floating[e->kind];
  } else {
    n->i = vector_var ? i_lane_var : ints[e->kind];
  }
  return true;
}

const ts__node *ts__compile_expr(ts__compiler *c, const ts_expr *e) {
  uint64_t have;
  if (ts__ptrmap_get(&c->nodes, e, &have)) {
    const ts__node *made = (const ts__node *)(uintptr_t)have;
    c->lockstep |= made->lockstep;
    return made;
  }
  ts__node *n = ts_new(c->tmp, ts__node);
  bool before = c->lockstep;
  c->lockstep = false;
  n->kind = (ts_ekind)e->kind;
  n->type = e->type;
  n->lanes = e->type.lanes;
  if (!set_node(c, n, e)) return NULL;
  n->lockstep = c->lockstep;
  c->lockstep |= before;
  ts__ptrmap_put(&c->nodes, e, (uint64_t)(uintptr_t)n);
  return n;
}
