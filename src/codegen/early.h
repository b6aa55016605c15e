// codegen, inside: one kernel of a function with blocks, as a tree in which uses of its buffers are noted. early.c makes it, early_size.c answers.
#ifndef TS_CODEGEN_EARLY_H
#define TS_CODEGEN_EARLY_H

#include "analysis/analysis.h"
#include "codegen/gpu_need.h"
#include "op/intrin.h"

// A kernel with more than that is not looked at: nothing of it is refused.
enum { TS__EARLY_NODES = 640, TS__EARLY_USES = 512, TS__EARLY_BUFFERS = 64, TS__EARLY_NAMES = 256, TS__EARLY_ABOVE = 16, TS__EARLY_PLACES = 64 };

typedef struct ts__early_node {  // a statement that holds others
  const ts_stmt *s;
  int up, depth;    // its parent, -1: none
  int first, last;  // leaves below it, [first, last)
  int stage;        // of a child of a pipelined loop's body, else -1
  int pipe;         // the pipelined loop (a node) that this is, or whose buffers may be placed here; -1: none
} ts__early_node;
typedef struct ts__early_use {
  const ts_expr *const *idx;
  int node, next;  // next: of the same buffer, -1: none
  bool trailing;   // an intrinsic goes on reading after its end
} ts__early_use;
typedef struct ts__early_buffer {
  const ts_buffer *b;
  int node;     // the deepest that holds all uses
  int uses;
  int threads;  // that share its elements, of a fragment; 0: nobody does
  bool filled;  // by bulk copies
} ts__early_buffer;
typedef struct ts__early_name {  // a variable: of a loop, a dimension, or a value
  const ts_var *var;
  const ts_stmt *loop;
  const ts_expr *value;
  const ts_dim *dim;
  int depth;
  bool twice;  // bound in two places: nothing is known of it
} ts__early_name;
typedef struct ts__early_place {
  const ts_buffer *b;
  int kernel;  // that uses it, -1: several do
} ts__early_place;
typedef struct ts__early {
  ts__need *need;
  int kernels, nplaces;  // places: of buffers, where there are several kernels
  bool lost;             // there are more
  ts__early_place place[TS__EARLY_PLACES];
  int nabove;  // statements at the top that the kernel stands in, which run it once
  const ts_stmt *above[TS__EARLY_ABOVE];
  int nnodes, nuses, nbuffers, leaves;
  bool full;                 // something did not fit
  unsigned used;             // thread axes, as bits
  int64_t least_group, most_group;  // threads that run an intrinsic together, 0: there is none
  const ts_block *group_block;      // that has one
  int64_t own;               // bytes that implementations of intrinsics keep for themselves
  const ts_stmt *roles;      // the pipelined loop whose copies are made by threads of their own
  const ts_block *reduction; // around, whose result threads share
  int group_now;             // threads of the intrinsic around, 0: there is none
  const ts_block *intrin;    // around, that trails
  bool guarded, bulk;        // conditions around; in a bulk copy
  ts__early_node node[TS__EARLY_NODES];
  ts__early_use use[TS__EARLY_USES];
  ts__early_buffer buffer[TS__EARLY_BUFFERS];
  int nnames;
  ts__early_name name[TS__EARLY_NAMES];
  uint16_t name_at[2 * TS__EARLY_NAMES];  // 1 + place of a name, by the variable's number, 0: none
} ts__early;

// --- values (early_size.c)
ts__early_name *ts__early_named(ts__early *x, const ts_var *v, bool make);  // NULL: not met before, or no room for another
// A point in the iterations of all loops: those from depth `from` on are in their first or last one, the others in their first.
typedef struct ts__early_point {
  int from;
  bool last;
  bool one_thread;        // loops along threads are in their first
  bool most;              // dimensions are as large as they may be, not as small
  const ts_stmt *second;  // a loop that is in its second, or NULL
} ts__early_point;
bool ts__early_value(ts__early *x, const ts_expr *e, const ts__early_point *p, int64_t *out);
static inline bool ts__early_shared(const ts_buffer *b) { return b->scope[0] == 's'; }
int64_t ts__early_times(int64_t a, int64_t b);  // of numbers that are not negative; INT64_MAX when too large
int64_t ts__early_plus(int64_t a, int64_t b);   // of numbers of which one is not negative; INT64_MAX when too large
// Bytes that the buffer will take at least, of a block or of a thread; and the leaves during which it is there.
int64_t ts__early_bytes(ts__early *x, const ts__early_buffer *b);
void ts__early_life(const ts__early *x, const ts__early_buffer *b, int *first, int *last);
// Operands of a tensorized block that begin, or have rows, where its intrinsic cannot take them.
void ts__early_operands(ts__early *x, const ts_block *b, const ts_intrin *in);

#endif
