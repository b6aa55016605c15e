// print_impl: what print.c (statements) and print_expr.c (names and expressions) share.
#ifndef TS_IR_PRINT_IMPL_H
#define TS_IR_PRINT_IMPL_H

#include "ir/ir_impl.h"

// Names of the variables and buffers visible at the point of printing. A binding gets its hint, made different from
// every visible name; names bound nowhere (a bare statement or expression) are kept apart in `loose` for the whole
// print.
typedef struct ts__named {
  const void *key;
  const char *name;
} ts__named;
typedef struct ts__printer {
  ts_text *out;
  ts_arena *arena;  // names; opened by ts__printer_open
  TS_VEC(ts__named) bound, loose;
  bool canonical;  // number the names instead
  uint32_t count;
  const ts_mark *mark;
  int nmark;
  bool margin;
  const char *note;  // for the end of this line
} ts__printer;

void ts__printer_open(ts__printer *p, ts_text *out);
void ts__printer_close(ts__printer *p);
const char *ts__print_bind(ts__printer *p, const void *key, const char *hint, char letter);  // enters a binding
const char *ts__print_var(ts__printer *p, const ts_var *v);
const char *ts__print_buffer(ts__printer *p, const ts_buffer *b);
const char *ts__print_plain(ts__printer *p, const char *hint);  // hint as an identifier

// How a constant may be written: bare when the text around it gives its type, bare only when it has the default type of
// its literal (i64, f32), or always with its type.
typedef enum ts__literal { TS__BARE, TS__DEFAULT, TS__SUFFIX } ts__literal;
void ts__print_expr(ts__printer *p, const ts_expr *e, ts__literal how);
void ts__print_int(ts__printer *p, int64_t v);
void ts__print_exprs(ts__printer *p, const ts_expr *const *e, int n);
void ts__print_type(ts__printer *p, ts_type t);
void ts__print_range(ts__printer *p, const ts_range *r);

#endif
