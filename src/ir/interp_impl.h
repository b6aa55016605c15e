// interp_impl: what interp.c (statements) and interp_expr.c (expressions) share. A function is translated once into
// nodes that carry their evaluator, with variables and buffers resolved to slots; running is calls between nodes.
#ifndef TS_IR_INTERP_IMPL_H
#define TS_IR_INTERP_IMPL_H

#include "ir/ir_impl.h"

enum { TS__MAX_PARALLEL = 16, TS__WARP = 32 };
#define TS__REDUCTION INT64_MIN  // stands for all iterations, in what a block reduces along their loop
enum { TS__NOBODY = -1, TS__SEVERAL = -2, TS__WARP_READERS = -3 };  // -3 - w: several threads of warp w

// Which iteration of a running parallel loop touched an element. In a team, `run` changes at each barrier of the block, and
// the phases count those of the toucher's warp.
typedef struct ts__touch {
  uint64_t run;  // the execution of the loop; records of another one are void
  int64_t writer, reader;
  uint32_t writer_phase, reader_phase;
} ts__touch;

struct ts__memory;
typedef struct ts__landing {  // an element of a bulk copy
  struct ts__memory *to;
  int64_t at, i;
  double f;
} ts__landing;
typedef struct ts__barrier {
  int64_t arrivals, left;  // of a phase, 0: never initialised; still to come in this one
  uint64_t phase;
  ts__landing *landing;  // what the phase brings; the first `ended` of them came before the latest end
  size_t nlanding, ended, cap;
} ts__barrier;

typedef struct ts__memory {  // a buffer while running
  const ts_buffer *buf;
  ts_code code;
  int ndim;
  int64_t shape[TS__MAX_DIMS];
  char *data;
  uint8_t *written;  // per element; NULL: all elements have values
  bool input, owned;
  int64_t count;
  size_t capacity;  // of owned data, in elements
  int outer;        // parallel loops around its allocation: private to their iterations
  uint16_t reducing;  // a bit for each level along which the running block reduces into it
  ts__touch *touch[TS__MAX_PARALLEL];
  ts__barrier *barrier;  // per element of a buffer of barriers; NULL: none yet
} ts__memory;

typedef struct ts__team ts__team;
typedef struct ts__pending {  // an element on its way
  ts__memory *to;
  int64_t at, i;
  double f;
  uint64_t group;
} ts__pending;

typedef struct ts__machine {
  int64_t *var;  // integer values by slot
  double *fvar;  // float values by slot
  ts__memory **mem;
  int nvars, nbufs;
  int lane;  // of the vector expression being evaluated
  bool failed, check_races;
  ts_diag *d;
  bool stops;
  uint64_t steps, max_steps;
  int nparallel;
  struct {
    uint64_t run;
    int64_t iteration;
    int slot;  // of the variable of a loop along the threads of a block, else -1
    bool team;
  } parallel[TS__MAX_PARALLEL];
  uint64_t runs;
  // Of a thread of a team (interp_team.c).
  ts__team *team;
  int me;
  uint32_t phase;      // barriers passed by its warp
  ts__pending *queue;  // asynchronous copies, oldest first
  size_t nqueue, cap_queue;
  uint64_t groups;  // committed
} ts__machine;

typedef struct ts__node ts__node;
typedef int64_t (*ts__int_fn)(ts__machine *m, const ts__node *n);
typedef double (*ts__float_fn)(ts__machine *m, const ts__node *n);
struct ts__node {
  union {
    ts__int_fn i;    // integers and bool
    ts__float_fn f;  // floats
  };
  const ts__node *a, *b, *c;
  ts_type type, from;  // from: of a (casts, comparisons)
  ts_ekind kind;
  int math;       // row of math.def; ts_effect of a shuffle
  bool lockstep;  // a shuffle is in it
  int lanes, slot, nidx;
  const ts__node **idx;
  int64_t ki;
  double kf;
};

typedef struct ts__compiler {
  ts_arena *tmp;
  ts__ptrmap vars, bufs, nodes;
  int nvars, nbufs;
  bool lockstep;  // a barrier or shuffle was met
  ts_diag *d;
} ts__compiler;

int ts__slot_of_var(ts__compiler *c, const ts_var *v);
int ts__slot_of_buffer(ts__compiler *c, const ts_buffer *b);
// NULL when the interpreter has no meaning for something in it.
const ts__node *ts__compile_expr(ts__compiler *c, const ts_expr *e) TS_WARN_UNUSED;
bool ts__compile_exprs(ts__compiler *c, const ts_expr *const *e, int n, const ts__node ***out) TS_WARN_UNUSED;

// --- commands: what statements are translated to (interp_compile.c) --------------------------------------------
typedef struct ts__command ts__command;
struct ts__command {
  ts_skind kind;
  int n;                  // SEQ
  const ts__command **child;  // SEQ; FOR, LET, ALLOC: [0]; IF: [0], [1] or NULL
  const ts__node *a, *b;  // FOR: min, extent; STORE: value; IF: condition; LET: value; EVAL
  int slot;               // variable or buffer
  bool parallel, floats;
  bool thread, lockstep;  // FOR: along threadIdx; threads below wait for one another
  const int *own;         // FOR: slots of the buffers allocated below
  int nown;
  int effect;  // EVAL: ts_effect, or -1
  const ts__node *c;
  const char *name;
  const ts__node **idx;  // STORE; ALLOC: shape; EVAL of an effect: its arguments
  const ts_buffer *buf;
  const struct ts__block_code *block;
};

typedef struct ts__iter_code {
  const char *name;
  ts_iter_kind kind;
  int slot;
  const ts__node *value, *min, *extent;
} ts__iter_code;

struct ts__block_code {
  const char *name;
  int niters, nallocs;
  ts__iter_code *iters;
  const ts__node *predicate;
  int nreduced, nwritten;
  int *reduced;            // slots of the variables that its reduce iterators, and no others, are made of
  int *written;            // slots of the buffers that it writes
  const ts__command **allocs;  // TS_S_ALLOC without a body
  const ts__command *init, *body;
};
// NULL when the interpreter has no meaning for something in it.
const ts__command *ts__compile_stmt(ts__compiler *c, const ts_stmt *s) TS_WARN_UNUSED;

// --- failures and checks (interp.c) ----------------------------------------------------------------------------
bool ts__fail(ts__machine *m, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);  // the first failure counts
// Element position of idx (with `extra` added to the last index), or -1 after a failure.
int64_t ts__locate(ts__machine *m, const ts__memory *b, const ts__node *const *idx, int64_t extra);
// Where the element lies; NULL when it cannot be read.
const char *ts__element_at(ts__machine *m, ts__memory *b, int64_t at);
bool ts__note_read(ts__machine *m, ts__memory *b, int64_t at);
bool ts__note_write(ts__machine *m, ts__memory *b, int64_t at);

// --- teams: the threads of a block in lockstep (interp_team.c) ------------------------------------------------
typedef enum ts__wait { TS__GO, TS__AT_BLOCK, TS__AT_WARP, TS__AT_SHUFFLE, TS__AT_BARRIER, TS__YIELDS, TS__ENDED } ts__wait;
// Runs body(arg, m) for n threads, each on a machine of its own: variables are copies, buffers are shared but for own[0..nown).
void ts__team_run(ts__machine *m, int n, const int *own, int nown, void (*body)(void *arg, ts__machine *m), void *arg);
void ts__team_wait(ts__machine *m, ts__wait what, const void *where);  // a barrier; where tells one from another
// The value that thread `from` of this thread's warp brings to the same shuffle; its own when there is none.
void ts__team_shuffle(ts__machine *m, const void *where, ts_effect how, int64_t by, int64_t *i, double *f);
// Until the barrier's phase is of the other parity; others go on.
void ts__team_wait_phase(ts__machine *m, ts__barrier *b, int64_t parity);
void ts__team_yield(ts__machine *m);  // those that wait for a phase go first
void ts__memory_drop(ts__memory *b);
// Barriers and bulk copies (interp_bulk.c). args: those of the effect.
void ts__run_barrier(ts__machine *m, ts_effect f, const ts__node *const *args);
void ts__barriers_drop(ts__memory *b);
void ts__barrier_passed(ts__barrier *b);  // a thread has waited for the phase that ended last
bool ts__async_begin(ts__machine *m, ts__memory *to, int64_t at, int64_t i, double f);
enum { TS__EVERY = -1 };
void ts__async_wait(ts__machine *m, int64_t left);  // all but the latest groups arrive; EVERY: what was begun at all
void ts__put(ts__machine *m, ts__memory *b, int64_t at, int64_t i, double f);

#endif
