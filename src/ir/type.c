// type: element codes, and the names of the small enumerations.
#include "ir/ir_impl.h"

static const struct {
  const char *name;
  uint8_t bytes, bits;
  bool is_float, is_int, is_unsigned;
} codes[TS_CODE__COUNT] = {
    [TS_BOOL] = {"bool", 1, 1, false, false, false}, [TS_I8] = {"i8", 1, 8, false, true, false},
    [TS_I16] = {"i16", 2, 16, false, true, false},   [TS_I32] = {"i32", 4, 32, false, true, false},
    [TS_I64] = {"i64", 8, 64, false, true, false},   [TS_U8] = {"u8", 1, 8, false, true, true},
    [TS_U16] = {"u16", 2, 16, false, true, true},    [TS_U32] = {"u32", 4, 32, false, true, true},
    [TS_U64] = {"u64", 8, 64, false, true, true},    [TS_F16] = {"f16", 2, 16, true, false, false},
    [TS_BF16] = {"bf16", 2, 16, true, false, false}, [TS_F32] = {"f32", 4, 32, true, false, false},
    [TS_F64] = {"f64", 8, 64, true, false, false},
};
static const char *const ekind_names[] = {
#define TS_EXPR(name, text, nargs) text,
#include "ir/expr.def"
#undef TS_EXPR
};
static const char *const loop_names[TS_LOOP_KIND__COUNT] = {"serial", "parallel", "vectorize", "unroll", "thread"};
static const char *const axis_names[TS_AXIS__COUNT] = {
    "", "blockIdx.x", "blockIdx.y", "blockIdx.z", "threadIdx.x", "threadIdx.y", "threadIdx.z", "vthread"};
static const struct {
  const char *name;
  int nargs;
} math[] = {
#define TS_MATH(name, nargs) {#name, nargs},
#include "ir/math.def"
#undef TS_MATH
};

const char *ts_code_name(ts_code c) { return codes[c].name; }
int ts_code_bytes(ts_code c) { return codes[c].bytes; }
int ts_code_bits(ts_code c) { return codes[c].bits; }
bool ts_code_is_float(ts_code c) { return codes[c].is_float; }
bool ts_code_is_int(ts_code c) { return codes[c].is_int; }
bool ts_code_is_unsigned(ts_code c) { return codes[c].is_unsigned; }

bool ts_code_find(const char *name, size_t n, ts_code *out) {
  for (int c = 0; c < TS_CODE__COUNT; c++) {
    if (strlen(codes[c].name) == n && memcmp(codes[c].name, name, n) == 0) {
      *out = (ts_code)c;
      return true;
    }
  }
  return false;
}

const char *ts_ekind_name(ts_ekind k) { return ekind_names[k]; }
const char *ts_loop_kind_name(ts_loop_kind k) { return loop_names[k]; }
const char *ts_axis_name(ts_axis a) { return axis_names[a]; }

bool ts__ekind_is_compare(ts_ekind k) { return k == TS_E_EQ || k == TS_E_NE || k == TS_E_LT || k == TS_E_LE; }
bool ts__ekind_is_binary(ts_ekind k) { return k >= TS_E_ADD && k <= TS_E_OR; }

// Number of arguments of a math function, -1 when `callee` is none.
int ts__math_args(const char *callee) {
  for (size_t i = 0; i < TS_COUNTOF(math); i++) {
    if (strcmp(math[i].name, callee) == 0) return math[i].nargs;
  }
  return -1;
}

// --- effects --------------------------------------------------------------------------------------------------

static const struct {
  const char *callee;
  int nargs;
  bool value;
  const char *doc;
} effects[] = {
#define EFFECT(name, callee, nargs, value, doc) {callee, nargs, value, doc},
#include "ir/effect.def"
#undef EFFECT
};

bool ts__effect_find(const char *callee, ts_effect *out) {
  for (size_t i = 0; i < TS_COUNTOF(effects); i++) {
    if (strcmp(effects[i].callee, callee) != 0) continue;
    *out = (ts_effect)i;
    return true;
  }
  return false;
}

bool ts_effect_of(const ts_expr *e, ts_effect *out) { return e->kind == TS_E_CALL && ts__effect_find(e->callee, out); }
int ts__effect_args(ts_effect f) { return effects[f].nargs; }
bool ts__effect_is_value(ts_effect f) { return effects[f].value; }
const char *ts_effect_name(ts_effect f) { return effects[f].callee; }
const char *ts_effect_doc(ts_effect f) { return effects[f].doc; }

const ts_expr *ts_effect_call(ts_ir *ir, ts_effect f, const ts_expr *const *args) {
  ts_type t = effects[f].value ? args[0]->type : ts_scalar(TS_I32);
  return ts_call(ir, t, effects[f].callee, args, effects[f].nargs);
}
