// Shared inside op.
#ifndef TS_OP_IMPL_H
#define TS_OP_IMPL_H

#include "op/op.h"

// An operator or variant file: its header, and where the functions start.
typedef struct ts__opfile {
  const char *file;
  const char *text;
  size_t n;
  const char *kind;             // "op" or "variant"
  const char *name, *of;        // of: the operator of a variant, else NULL
  const char *doc, *numerics, *templates;
  double tolerance;
  TS_VEC(ts_op_param) params;
  TS_VEC(const char *) quants;
  TS_VEC(const char *) features;
  TS_VEC(const char *) fits;    // what parameters and dimensions must satisfy together
  ts_lex body;                  // at the first function
} ts__opfile;
bool ts__opfile_read(ts_arena *a, const char *path, ts__opfile *out, ts_diag *d) TS_WARN_UNUSED;

#endif
