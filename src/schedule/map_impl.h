// map_impl: what map.c (which mappings there are) and map_trace.c (the steps of one) share.
#ifndef TS_SCHEDULE_MAP_IMPL_H
#define TS_SCHEDULE_MAP_IMPL_H

#include "op/intrin.h"
#include "schedule/schedule_impl.h"

enum { TS__MAX_ROLES = 4, TS__MAX_PIECES = 12, TS__MAX_OPERANDS = 6 };
typedef struct ts__role {  // an iterator of the intrinsic
  const ts_iter *iter;
  int64_t extent;
  unsigned in;             // operands that it indexes, a bit each
} ts__role;
typedef struct ts__piece {  // an iterator of the block, or (low, high) iter % by and iter // by
  int iter;
  int64_t by;               // 0: the whole
  bool low;
  unsigned in;
  const ts_expr *extent;
} ts__piece;
typedef struct ts__place {  // where an operand is found in the block
  const ts_buffer *buf;
  const ts_expr *const *idx;
} ts__place;
typedef struct ts__mapjob {
  ts_ir *ir;
  ts_arena *a;
  ts_analyzer *an;
  const ts_func *f;
  const char *name;  // of the block
  const char *first; // steps before those of a mapping
  const ts_intrin *x;
  const ts_block *want, *have;
  unsigned swaps;    // operands exchanged at these commutative operations of the description
  ts__place at[TS__MAX_OPERANDS];
  const char *why;
  int nroles, npieces;
  ts__role role[TS__MAX_ROLES];
  ts__piece piece[TS__MAX_PIECES];
  unsigned cast[TS__MAX_ROLES];  // pieces that play each role
} ts__mapjob;

// Finds the operands of the description in the block, for the given swaps; false with j->why.
bool ts__map_operands(ts__mapjob *j, const ts_block *have, ts__place *at);
bool ts__map_commutes(const ts_expr *e);
const ts_expr *ts__map_extent(ts__mapjob *j, int role);  // of the pieces that play it, fused
const char *ts__map_text(ts__mapjob *j, const ts_expr *e);
const char *ts__map_piece(ts__mapjob *j, const ts__piece *p);
// The steps of the mapping in j->cast, applied one after the other to j->f.
void ts__map_realise(ts__mapjob *j, ts_mapping *out);

#endif
