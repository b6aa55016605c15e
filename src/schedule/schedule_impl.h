// What the files of src/schedule share: the state of a schedule, the context of a step, the tree index, refusing.
#ifndef TS_SCHEDULE_IMPL_H
#define TS_SCHEDULE_IMPL_H

#include <assert.h>
#include <math.h>

#include "analysis/analysis.h"
#include "schedule/schedule.h"

// --- index of a function body (tree.c) ------------------------------------------------------------------------
// Preorder list of statements. Rebuilt when the function changes; node numbers are valid within one step.
typedef struct ts__node {
  const ts_stmt *s;
  int parent;   // -1 for the root
  int end;      // first node after the subtree
  int scope;    // nearest enclosing block, -1 for the root
  int child;    // position among the parent's children (SEQ; for a block 0 is init and 1 is body)
} ts__node;
typedef struct ts__tree {
  int n, cap;
  ts__node *node;
} ts__tree;
void ts__tree_build(ts_arena *a, ts__tree *t, const ts_stmt *root);
int ts__tree_find(const ts__tree *t, uint32_t id);   // -1 when absent
int ts__tree_block(const ts__tree *t, const char *name, int *count);
static inline bool ts__under(const ts__tree *t, int node, int top) { return node >= top && node < t->node[top].end; }

typedef TS_VEC(const char *) ts__names;

// --- state -----------------------------------------------------------------------------------------------------
typedef struct ts__rv {
  char kind;         // 'b', 'l', 'i'; 0 for a result that a skipped step did not make
  uint32_t id;       // loop or block
  int64_t value;
  const char *name;
} ts__rv;
typedef struct ts__snap {  // what undo goes back to
  const ts_func *f;
  int nrvs;
} ts__snap;
struct ts_sched {
  ts_ir *ir;
  ts_arena *arena;
  const ts_func *f;
  uint64_t seed;
  int names;                           // next number for made-up names
  TS_VEC(const ts_inst *) inst;
  TS_VEC(ts__snap) snap;               // before each step
  TS_VEC(ts__rv) rv;
  ts__names rv_name;                   // parallel to rv
  ts_trace view;
  ts__tree tree;
  const ts_func *tree_of;              // the function that tree indexes
  ts_refusal refusal;
};

// --- signatures (sig.c) ------------------------------------------------------------------------------------------
enum { TS__MAX_ARGS = 6 };
typedef struct ts__param {
  char type;
  const char *name;
  bool keyword;
  const char *dflt;  // "" when optional
  int ndflt;
} ts__param;
typedef struct ts__sig {
  int n;
  ts__param p[TS__MAX_ARGS];
  int decision;  // which argument is the decision, -1: none
} ts__sig;
const ts__sig *ts__sig_get(ts_prim p);

// --- a step --------------------------------------------------------------------------------------------------------
typedef struct ts__val {   // a resolved argument
  bool given;
  int node;                // b l x
  int64_t i;               // i, and u as an index
  const char *s;           // s w M, and u as a name
  ts_note note;            // v (kind and value)
  int n;                   // L F I N
  const int *nodes;        // L
  const int64_t *ints;     // I, F
  const bool *open;        // F
  const double *nums;      // N
} ts__val;
typedef struct ts__ctx {
  ts_sched *s;
  ts_ir *ir;
  ts_arena *a;
  const ts_func *f;
  const ts__tree *t;
  ts_prim prim;
  int step, line;
  ts__val arg[TS__MAX_ARGS];
  const int64_t *decision;
  int ndecision;
  bool strict;            // decisions that do not fit refuse
  const char *adapted;    // set when a decision was adapted: what was done
  ts_refusal *r;
  ts_analyzer *an;        // made on first use, see ts__an
  void *plan;             // from check to apply
  const ts_func *out;     // the new function, from apply
  int nres, capres;       // results, from apply (pure and sampling primitives too)
  ts__rv *res;
  const int64_t *drawn;   // sampling: the decision to record
  int ndrawn;
} ts__ctx;
void ts__result(ts__ctx *c, char kind, uint32_t id, int64_t value);

// --- refusing (refusal.c) ---------------------------------------------------------------------------------------------
// Start a refusal; always false. The fact is a template over the arguments added by ts__fact_*.
bool ts__refuse(ts__ctx *c, ts_rcode code, int arg, const char *fact);
void ts__fact_s(ts__ctx *c, const char *s);
void ts__fact_i(ts__ctx *c, int64_t i);
void ts__fact_node(ts__ctx *c, int node);     // its name as a fact argument, and marked as a culprit
void ts__culprit(ts__ctx *c, int node);
void ts__witness(ts__ctx *c, const char *name, int64_t value, int64_t other);
void ts__hint(ts__ctx *c, const char *hint);
void ts__refusal_hint(ts_text *out, const ts_refusal *r);   // the hint with its arguments filled in
const char *ts__node_name(const ts_stmt *s);
const char *ts__expr_text(ts__ctx *c, const ts_expr *e);  // for facts: costs formatting

// --- rewriting (tree.c) --------------------------------------------------------------------------------------------------
// The function with node replaced; NULL removes it, and with it every loop that becomes empty.
const ts_func *ts__replace(ts__ctx *c, int node, const ts_stmt *with);
typedef struct ts__edit {
  int node;
  const ts_stmt *with;    // NULL: remove
} ts__edit;
// Several at once; nodes must not contain one another.
const ts_func *ts__replace_all(ts__ctx *c, const ts__edit *e, int n);
const ts_func *ts__with_body(ts__ctx *c, const ts_stmt *body);
const ts_func *ts__reinfer(ts__ctx *c, const ts_func *f);   // reads and writes recomputed

// --- questions about the tree (look.c) --------------------------------------------------------------------------------------
enum { TS__MAX_DEPTH = 64 };
static inline const ts_stmt *ts__stmt(const ts__ctx *c, int node) { return c->t->node[node].s; }
static inline bool ts__is_loop(const ts__ctx *c, int node) { return ts__stmt(c, node)->kind == TS_S_FOR; }
static inline bool ts__is_block(const ts__ctx *c, int node) { return ts__stmt(c, node)->kind == TS_S_BLOCK; }
static inline const ts_block *ts__block(const ts__ctx *c, int node) { return ts__stmt(c, node)->block; }
// Loops around node within its scope, outermost first; returns how many (at most TS__MAX_DEPTH, the outermost are dropped).
int ts__loops_of(const ts__ctx *c, int node, int *out);
// Blocks directly below top (whose scope is the same as that of its content): next after `after`, start with top. -1 at the end.
int ts__next_block(const ts__ctx *c, int top, int after);
bool ts__writes(const ts_block *b, const ts_buffer *buf);
bool ts__reads(const ts_block *b, const ts_buffer *buf);
bool ts__is_param(const ts_func *f, const ts_buffer *buf);
// The buffer that argument k (type u) names among reads (write = false) or writes of the block; NULL with a refusal.
const ts_buffer *ts__buffer_arg(ts__ctx *c, int k, const ts_block *b, bool reads, bool writes);
// A loop of kind serial, without annotations, starting at 0; refuses else.
bool ts__plain_loop(ts__ctx *c, int arg, int node);

// --- proofs (legal.c) ----------------------------------------------------------------------------------------------------------
ts_analyzer *ts__an(ts__ctx *c);
void ts__enter(ts__ctx *c, int node);      // facts of all that encloses node become known
void ts__enter_in(ts__ctx *c, int node);   // and of node itself
// Iterations of the loop are independent; refuses with the witness else.
bool ts__independent(ts__ctx *c, int arg, int loop);
// Intermediate buffers all of whose accesses lie under the loop and that every iteration writes before it reads.
int ts__private_buffers(ts__ctx *c, int loop, const ts_buffer ***out);
// Every reduction block below node runs each of its instances once; refuses else.
bool ts__instances_once(ts__ctx *c, int arg, int node);

// --- loop kinds (kind.c) ---------------------------------------------------------------------------------------------------------
bool ts__kind_free(ts__ctx *c, int loop);       // still serial
bool ts__kind_constant(ts__ctx *c, int loop);   // of constant extent
bool ts__kind_set(ts__ctx *c, int loop, ts_loop_kind kind, ts_axis axis);

// --- building (build.c) -----------------------------------------------------------------------------------------------------------
// s with guard added to the predicate of every block on the way (and as a condition around anything that is no block).
const ts_stmt *ts__guarded(ts__ctx *c, const ts_stmt *s, const ts_expr *guard);
// s with variables replaced and the touched bindings, ranges and predicates simplified under the present facts and those of s.
const ts_stmt *ts__subst_simplify(ts__ctx *c, const ts_stmt *s, const ts_subst *m, int n);
const ts_stmt *ts__loop_with(ts__ctx *c, const ts_stmt *loop, const ts_stmt *body);
const ts_stmt *ts__block_with(ts__ctx *c, const ts_stmt *block, const ts_block *b);
const char *ts__fresh_block_name(ts__ctx *c, const char *base);
ts_notes ts__notes_of(const ts__ctx *c, int node);
bool ts__notes_set(ts__ctx *c, int node, ts_notes notes);
const ts_expr *ts__and(ts_ir *ir, const ts_expr *a, const ts_expr *b);   // either may be NULL

#define PRIM(name, args, results, flags, doc) bool ts__check_##name(ts__ctx *c); bool ts__apply_##name(ts__ctx *c);
#include "schedule/prim.def"
#undef PRIM

// --- text of traces (trace.c) -----------------------------------------------------------------------------------------------
// One line at the lexer's position into an instruction; names grows by the results. NULL with a syntax refusal.
const ts_inst *ts__inst_parse(ts_lex *l, ts_arena *a, ts__names *names, ts_diag *d);

// --- sched.c ------------------------------------------------------------------------------------------------------------------
enum { TS__NAME_ALL = -1 };
typedef struct ts__run {      // how to run one instruction
  bool strict;
  int nnames;                 // names of the results (NULL: not wanted); 0: none wanted; TS__NAME_ALL: made-up names
  const char *const *names;
  const char *file;           // for the message
  int line;
  const char *adapted;        // out: what was done to the decision
} ts__run;
// Run an instruction whose references are those of s; on success it is recorded.
bool ts__run_inst(ts_sched *s, const ts_inst *i, ts__run *how, ts_diag *d);
// Draws of a step: the same for the same seed and step number.
ts_rng ts__step_rng(const ts__ctx *c);
// Names of an instruction's results, NULL for those without.
const char **ts__result_names(ts_arena *a, const ts_inst *i, const char *const *rv_name);

#endif
