// analysis, inside: two accesses of one buffer, and whether two iterations of a loop can make them meet (depend_pair.c).
#ifndef TS_ANALYSIS_DEPEND_IMPL_H
#define TS_ANALYSIS_DEPEND_IMPL_H

#include "analysis/analysis_impl.h"

enum { TS__DEPTH = 16, TS__DIMS = 8 };
typedef struct ts__side {  // one of the two accesses, with its own copies of the loop variables
  const ts__access *x;
  int n;
  ts_loop_range in[TS__DEPTH];  // outermost first
  const ts_expr *idx[TS__DIMS];
  const ts_expr *span[TS__DIMS];
  const ts_expr *guard;  // or NULL
  int at;                // the loop in question
} ts__side;
typedef struct ts__pair {
  ts_analyzer *a;
  const ts_var *loop;
  ts__side s, t;
} ts__pair;
typedef struct ts__verdict {
  ts_tri answer;
  bool has_witness;
  int64_t first, second;
} ts__verdict;

// False when the access is too deep or not below the loop.
bool ts__side_of(ts_analyzer *a, const ts__access *x, const ts_var *loop, ts__side *s);
// Can the two touch one element in different iterations? quick: only a look where that is likely. Renames the loops of p->t.
ts__verdict ts__pair_judge(ts__pair *p, bool quick);
// All accesses of a buffer at once tell the loop: none meets another one of a different iteration.
bool ts__told_by_key(ts_analyzer *a, const ts__access_list *l, const ts_buffer *buf, const ts_stmt *loop);

#endif
