// parse_impl: what parse.c (statements, functions), parse_expr.c, parse_buffer.c and parse_row.c (quantization rows) share.
#ifndef TS_IR_PARSE_IMPL_H
#define TS_IR_PARSE_IMPL_H

#include "ir/ir_impl.h"

// A value while parsing: typed, or a constant that still takes the type of what it meets.
typedef struct ts__val {
  enum { TS__HARD, TS__SOFT_INT, TS__SOFT_FLOAT } kind;
  const ts_expr *e;  // HARD
  int64_t i;
  double f;
} ts__val;

typedef struct ts__weight ts__weight;
typedef struct ts__sym {
  const char *name;
  size_t n;
  enum { TS__SYM_VAR, TS__SYM_BUFFER, TS__SYM_VALUE, TS__SYM_WEIGHT } kind;
  const ts_var *var;
  ts_range range;  // of a loop variable; min NULL for others
  const ts_buffer *buf;
  ts__val val;
  const ts__weight *weight;
} ts__sym;

typedef struct ts__parser {
  ts_ir *ir;
  ts_lex *l;
  ts_diag *d;
  ts_arena *tmp;  // symbols and lists; gone after the parse
  const ts_bind *bind;
  int nbind;
  const ts_macros *macros;
  TS_VEC(ts__sym) syms;
  size_t base;  // symbols below it are not visible (a row sees only its own names)
  int nest, ops, expanding;
  ts_stage stage;
  TS_VEC(ts_dim) dims;
  TS_VEC(ts_param) params;
} ts__parser;

bool ts__parse_nest(ts__parser *p) TS_WARN_UNUSED;  // one level deeper; refuses past the limit. Undo with p->nest--.
const ts__sym *ts__sym_find(const ts__parser *p, const char *name, size_t n);
// Makes a name visible; refuses a name that is visible already.
bool ts__sym_add(ts__parser *p, ts__sym s) TS_WARN_UNUSED;

// --- expressions (parse_expr.c). `expect` (may be NULL) is the type that a lone literal would take. ---------
bool ts__parse_val(ts__parser *p, const ts_type *expect, ts__val *out) TS_WARN_UNUSED;
bool ts__harden(ts__parser *p, ts__val *v, ts_type t) TS_WARN_UNUSED;
const ts_expr *ts__parse_typed(ts__parser *p, ts_type t) TS_WARN_UNUSED;  // an expression of type t
static inline const ts_expr *ts__parse_index(ts__parser *p) { return ts__parse_typed(p, TS_INDEX); }
bool ts__parse_const(ts__parser *p, int64_t *out) TS_WARN_UNUSED;  // an integer known now
bool ts__parse_type(ts__parser *p, ts_type *out) TS_WARN_UNUSED;
bool ts__type_error(ts__parser *p, const char *what, ts_type t);  // refuses: "WHAT TYPE"

// --- buffers (parse_buffer.c) ---------------------------------------------------------------------------------
const ts_buffer *ts__parse_buffer_name(ts__parser *p) TS_WARN_UNUSED;  // the name of one that there is
bool ts__parse_indices(ts__parser *p, const ts_buffer *b, const ts_expr **idx) TS_WARN_UNUSED;  // "e, e" without brackets
bool ts__parse_range(ts__parser *p, bool single, ts_range *out) TS_WARN_UNUSED;
// A function type in parentheses is finished by the caller; this is "CODE[e, e] strides(..) .. scope".
const ts_buffer *ts__parse_buffer(ts__parser *p, const char *name) TS_WARN_UNUSED;

// --- quantization rows (parse_row.c) --------------------------------------------------------------------------
// "weight[E, E]" after "NAME:": adds the storage as parameters and NAME as a weight.
bool ts__parse_weight(ts__parser *p, const char *name) TS_WARN_UNUSED;
// NAME[...] or NAME.PART[...] with the bracket as the current token.
bool ts__parse_weight_load(ts__parser *p, const ts__weight *w, const char *part, size_t n, ts__val *out) TS_WARN_UNUSED;

#endif
