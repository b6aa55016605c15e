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
  int scope;    // nearest enclosing block that is no shell, -1 for the root
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
  bool mixed;                          // the function has blocks beside other statements: nothing may change
  TS_VEC(const ts_inst *) inst;
  TS_VEC(ts__snap) snap;               // before each step
  TS_VEC(ts__rv) rv;
  ts__names rv_name;                   // parallel to rv
  ts_trace view;
  ts__tree tree;
  const ts_func *tree_of;              // the function that tree indexes
  bool shells;                         // some buffer was made private to iterations
  bool stale;                          // reads and writes of the root of f are not up to date
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
  bool keep_units;        // nothing is known about loops of one iteration, so that simplifying keeps their variables
  void *plan;             // from check to apply
  size_t mark;            // of the analyzer, from check to apply
  const ts_buffer **own;  // of ts__independent, for ts__kind_set
  int nown;
  const ts_block *moved;  // of ts__independent: iterations can meet only in what it touches; NULL: anywhere
  const ts_func *out;     // the new function, from apply
  bool stale;             // the root's reads and writes are to be recomputed
  int nres, capres;       // results, from apply (pure and sampling primitives too)
  ts__rv *res;
  const int64_t *drawn;   // sampling: the decision to record
  int ndrawn;
} ts__ctx;
void ts__result(ts__ctx *c, char kind, uint32_t id, int64_t value);
bool ts__sampled(ts__ctx *c, const int64_t *v, int n);  // the values of a sampling primitive: its decision and its results; true

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
// Reads and writes recomputed in the statements of the root that are new. Those of the root itself follow when somebody asks for
// the function (ts_sched_func).
const ts_func *ts__reinfer(ts__ctx *c, const ts_func *f);

// --- questions about the tree (look.c) --------------------------------------------------------------------------------------
enum { TS__MAX_DEPTH = 64 };
static inline const ts_stmt *ts__stmt(const ts__ctx *c, int node) { return c->t->node[node].s; }
static inline bool ts__is_loop(const ts__ctx *c, int node) { return ts__stmt(c, node)->kind == TS_S_FOR; }
// A shell only owns buffers: one copy for each iteration of the loop around it. Primitives look through it.
static inline bool ts__is_shell(const ts_stmt *s) {
  return s->kind == TS_S_BLOCK && s->block->niters == 0 && !s->block->predicate && !s->block->init && ts_notes_find(s->block->notes, "private");
}
static inline bool ts__is_block(const ts__ctx *c, int node) {
  return ts__stmt(c, node)->kind == TS_S_BLOCK && !ts__is_shell(ts__stmt(c, node));
}
static inline const ts_block *ts__block(const ts__ctx *c, int node) { return ts__stmt(c, node)->block; }
// Loops around node within its scope, outermost first; returns how many (at most TS__MAX_DEPTH, the outermost are dropped).
int ts__loops_of(const ts__ctx *c, int node, int *out);
// The body of a loop or block, inside any shell.
int ts__body_of(const ts__ctx *c, int node);
// Blocks directly below top (whose scope is the same as that of its content): next after `after`, start with top. -1 at the end.
int ts__next_block(const ts__ctx *c, int top, int after);
bool ts__writes(const ts_block *b, const ts_buffer *buf);
bool ts__reads(const ts_block *b, const ts_buffer *buf);
bool ts__is_param(const ts_func *f, const ts_buffer *buf);
// The buffer that argument k (type u) names among reads (write = false) or writes of the block; NULL with a refusal.
const ts_buffer *ts__buffer_arg(ts__ctx *c, int k, const ts_block *b, bool reads, bool writes);
// The buffer that argument 1 names among all that the block of argument 0 accesses; refuses a parameter of the function, with the hint. Or NULL.
const ts_buffer *ts__intermediate_arg(ts__ctx *c, const char *hint);
// A loop of kind serial, without annotations, starting at 0; refuses else.
bool ts__plain_loop(ts__ctx *c, int arg, int node);

// --- proofs (legal.c) ----------------------------------------------------------------------------------------------------------
ts_analyzer *ts__an(ts__ctx *c);
void ts__learn(ts__ctx *c, const ts_stmt *s);   // facts that hold inside s become known
void ts__enter(ts__ctx *c, int node);      // facts of all that encloses node become known
void ts__enter_in(ts__ctx *c, int node);   // and of node itself
// Iterations of the loop are independent, given a copy of own[0..nown) for each; refuses with the witness else.
bool ts__independent(ts__ctx *c, int arg, int loop, const ts_buffer ***own, int *nown);
// The same for a loop that is to be bound to that axis: along threadIdx known reductions may meet, which threads combine.
bool ts__independent_on(ts__ctx *c, int arg, int loop, ts_axis axis, const ts_buffer ***own, int *nown);
// Intermediate buffers all of whose accesses lie under the loop and that every iteration writes before it reads.
int ts__private_buffers(ts__ctx *c, int loop, const ts_buffer ***out);
// One block below node whose only dependences are those of a reduction with itself (false: perhaps not).
bool ts__one_clean_block(ts__ctx *c, int node);
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

// --- stages: buffers and the blocks that fill and use them (stage.c) ----------------------------------------------------------------
// The statement directly in the body of scope that contains node.
int ts__top_child(const ts__ctx *c, int scope, int node);
int ts__position(const ts__ctx *c, int top);   // of that statement in the body
// The block that allocates buf, -1: none.
int ts__owner(const ts__ctx *c, const ts_buffer *buf);
// All of buf that the block may read or write, over the whole of its domain; false when it does not.
bool ts__extent_of(ts__ctx *c, int block, const ts_buffer *buf, bool reads, bool writes, ts_region *out);
// All of buf that the block certainly writes, by the loops of its scope; false when that is no box.
bool ts__made_of(ts__ctx *c, int block, const ts_buffer *buf, ts_region *out);
// Do the blocks x and y touch different elements of buf?
bool ts__apart(ts__ctx *c, int x, int y, const ts_buffer *buf);
// No other block writes what the block touches of buf (anywhere: writes any of buf).
bool ts__only_writer(ts__ctx *c, int block, const ts_buffer *buf, bool anywhere);
bool ts__sole_writer(ts__ctx *c, int arg, int block, bool anywhere);   // of all it writes; refuses not-complete
bool ts__spatial_only(const ts_block *b);
// The only writer of all it writes, without reading that, and with spatial iterators only; refuses not-complete.
bool ts__complete(ts__ctx *c, int arg, int block);
// Complete, or a reduction with its initialisation that is the only writer of its output.
bool ts__complete_or_reduction(ts__ctx *c, int arg, int block);
// As that, or updates in place: enough where every instance runs exactly once, as reverse_compute_at provides.
bool ts__runs_once(ts__ctx *c, int arg, int block);
// The one buffer that the block writes, which must be an intermediate; NULL with a refusal.
const ts_buffer *ts__intermediate_out(ts__ctx *c, int arg, int block);
// f with buf added to (or taken from) the allocations of the block of that id.
const ts_func *ts__alloc_add(ts__ctx *c, const ts_func *f, uint32_t id, const ts_buffer *buf);
const ts_func *ts__alloc_drop(ts__ctx *c, const ts_func *f, const ts_buffer *buf);
// f with s as the at-th statement of the body of the block or loop of that id.
const ts_func *ts__insert(ts__ctx *c, const ts_func *f, uint32_t id, int at, const ts_stmt *s);
// s with every access to `from` made to `to` (same indices).
const ts_stmt *ts__buffer_swap(ts__ctx *c, const ts_stmt *s, const ts_buffer *from, const ts_buffer *to);
// A buffer like buf with another scope and a free name.
const ts_buffer *ts__buffer_like(ts__ctx *c, const ts_buffer *buf, const char *scope);
bool ts__scope_known(ts__ctx *c, int arg, const char *scope);
// Where a copy beside the block of argument 0 goes: the scope of the block, and the statement of it that contains the block. Refuses the root.
bool ts__copy_place(ts__ctx *c, int *scope, int *top);
// Loops over region and a block that copies `from` to `to` there. *id: of the block.
const ts_stmt *ts__copy_nest(ts__ctx *c, const ts_buffer *from, const ts_buffer *to, const ts_region *region, uint32_t *id);
// Does any block between nodes [first, last) except skip (with subtree) write or read buf, where skip (a block) touches it? The
// node, or -1.
int ts__toucher(ts__ctx *c, int first, int last, int skip, const ts_buffer *buf, bool writes, bool reads);
// All instances in the domain of the block may run: reads are inside their buffers whatever the predicate, no division by a variable,
// and without a predicate that holds everywhere they read only what is given to the function.
bool ts__total(ts__ctx *c, int block);
// The instances run are exactly the domain (bindings onto it, predicate used up).
bool ts__whole_domain(ts__ctx *c, int block);
// May instances of the block leave out some of its reads? Then that they run does not show that what they might read is made.
bool ts__reads_chosen(const ts_block *b);
// In the new function every loop with a kind around the block of that id still has independent iterations (buffers may move
// into shells for that); refuses else. alone: nothing but this block has changed, so that only what it touches is looked at.
bool ts__kinds_hold(ts__ctx *c, const ts_func **f, uint32_t id, bool alone);
// f with a shell that owns the buffers around the body of the loop of that id.
const ts_func *ts__privatize(ts__ctx *c, const ts_func *f, uint32_t loop, const ts_buffer *const *own, int nown);

// --- moving blocks (move.c) -------------------------------------------------------------------------------------------------------
typedef struct ts__move {
  int block, loop, scope;
  uint32_t block_id, loop_id;
  ts_range *need;             // per iterator of the block: the values to run under the loop
  const ts_stmt *nest;        // the new loops and the block
} ts__move;
// Block and loop are in one scope and neither contains the other; fills block, loop, scope.
bool ts__move_begin(ts__ctx *c, ts__move *m, int block, int loop);
// nest from need: a fresh loop an iterator whose range is longer than one, the values guarded where a range is shorter than
// its loop.
void ts__move_nest(ts__ctx *c, ts__move *m);
// The values of iterators for which a region of one dimension each is touched: region dim d is [coef * v + rest, + extent).
// Refuses not-invertible when a dimension is not of that form.
bool ts__invert_region(ts__ctx *c, int arg, const ts_block *b, const ts_region *access, const ts_region *wanted, ts_range *need);
// need cut to the domains of the iterators; refuses not-covered when it may start before one.
bool ts__need_clip(ts__ctx *c, int arg, int block, ts_range *need);
// Bindings of reduce iterators run over their whole domain, independent of guards on others; refuses else.
bool ts__reductions_whole(ts__ctx *c, int arg, int block);
// The child of the body of `top` (loop or block) that contains node; position in *at.
int ts__child_with(const ts__ctx *c, int top, int node, int *at);
// f without the block m->block, and with the nest as the at-th statement of the loop.
const ts_func *ts__move_apply(ts__ctx *c, const ts__move *m, int at);

// --- inlining (inline.c) -----------------------------------------------------------------------------------------------------------
const ts_stmt *ts__single_store(ts__ctx *c, int arg, int block);   // the body; NULL with a refusal
// Every index is 0 or an iterator of its own; at[d] is that iterator or -1.
bool ts__plain_indices(const ts_block *b, const ts_expr *const *idx, const ts_buffer *buf, int *at);
// No block among nodes [first, last) except skip writes what b reads; refuses else.
bool ts__no_writer_between(ts__ctx *c, int arg, int first, int last, const ts_block *b, int skip);

// --- reductions (reduce.c) ---------------------------------------------------------------------------------------------------------
void ts__feeds(const ts__ctx *c, int block, int loop, bool *spatial, bool *reduce);
// No loop feeds both spatial and reduce iterators; refuses else.
bool ts__feeds_apart(ts__ctx *c, int arg, int block, const int *loops, int n);
// The loops among these that feed no spatial iterator run at least once; refuses else.
bool ts__reduces_something(ts__ctx *c, int arg, int block, const int *loops, int n);
// The conjuncts of pred that do not use the dropped loops, added to *kept; the others must hold in the first iteration of those.
bool ts__predicate_cut(ts__ctx *c, int arg, int block, const ts_expr *pred, const int *drop, int ndrop,
                       const ts_expr **kept);
// The initialisation of a reduction, which runs at the first values of its reduce iterators, without those.
const ts_stmt *ts__init_of(ts__ctx *c, const ts_block *b);
// The initialisation of a reduction as a block of its own in copies of those loops that feed spatial iterators.
const ts_stmt *ts__init_nest(ts__ctx *c, int block, const int *loops, int n, const ts_expr *pred, const char *name, uint32_t *id);
// The block is a reduction with an initialisation by known reducers, in any order; refuses else.
bool ts__reduction(ts__ctx *c, int arg, int block, ts_reduction *out);
// New loops, one for each iterator and in their order, may run the instances: the order is the same, or does not matter. Refuses else.
bool ts__order_free(ts__ctx *c, int arg, int block);
// f with s directly before or after the statement of that id.
const ts_func *ts__beside(ts__ctx *c, const ts_func *f, uint32_t id, const ts_stmt *s, bool after);

// --- blocks out of nests (blockize.c), intrinsics (match.c) ------------------------------------------------------------------------------
typedef struct ts__blockized {
  int top, block;                     // nodes: the subtree, the block in it
  int ninner, inner[TS__MAX_DEPTH];   // its loops
  ts_subspace *part;                  // of each binding
  const ts_expr *outer_pred, *inner_pred;
  const ts_stmt *made;                // the outer block
} ts__blockized;
bool ts__blockize(ts__ctx *c, int arg, int top, ts__blockized *z);
struct ts_intrin;
typedef struct ts__match {
  const ts_block *block;              // its body is a nest around one store
  const struct ts_intrin *intrin;
  const char *why;                    // out: what differs, when it does not match
  int noperands;
  const ts_operand *operands;         // out
} ts__match;
bool ts__match_intrin(ts__ctx *c, ts__match *m);

// --- nests (nest.c) -----------------------------------------------------------------------------------------------------------------------
// The loops of the block are plain, hold nothing else, and are its iterators, one each (or iterators of one value); no predicate.
// Facts around the nest become known.
bool ts__trivial_nest(ts__ctx *c, int arg, int block, int *loops, int *n);

// --- lists of factors (factors.c) -----------------------------------------------------------------------------------------------------
// n factors whose product is the extent, uniform over all such lists.
void ts__factors_draw(ts_rng *r, int64_t extent, int64_t *f, int n);
int64_t ts__divisor_below(int64_t of, int64_t at_most);   // the largest divisor that is not larger

// --- places (place.c) ---------------------------------------------------------------------------------------------------------------------
// The end of the largest subtree that holds node and not `apart`: later statements in it run before some instances of node.
int ts__nest_end(const ts__ctx *c, int apart, int node);
// The block after `block`, in that subtree, that writes buf, or (write) reads of buf what was there before; -1: none.
int ts__later_use(ts__ctx *c, int apart, int block, const ts_buffer *buf, bool write);
// A block before `block` in its nest that, in later iterations of loops around both but not around dest, may change what `block`
// read of buf; -1: none.
int ts__overwriter(ts__ctx *c, int block, int dest, const ts_buffer *buf);
enum { TS__PLACE_INLINE = -2, TS__PLACE_STAY = -1 };
int ts__place_loops(const ts__ctx *c, int block, int *out);   // the loops around the first consumer, outermost first
// Is computing the block at that place (stay, inline, number of a loop) legal? *out (when not NULL) becomes the new function, and
// stays as it is when nothing moves. *why: the refusal of the primitive that does it, code none when there is no such place.
bool ts__place_try(ts__ctx *c, int block, int64_t where, const ts_func **out, ts_refusal *why);

// --- index maps (indexmap.c) ----------------------------------------------------------------------------------------------------------
typedef struct ts__map {
  int nin, n;
  const ts_var *const *in;
  const ts_expr *const *out;
} ts__map;
bool ts__map_parse(ts__ctx *c, int arg, ts__map *m);   // argument arg (type M); refuses bad-map
bool ts__map_arity(ts__ctx *c, int arg, const ts__map *m, int n, const char *of);
const ts_expr **ts__map_apply(ts__ctx *c, const ts__map *m, const ts_expr *const *to);   // of the values to[0..nin), simplified
bool ts__only_dims(const ts__ctx *c, const ts_expr *e);   // made of constants and dimensions of the function
// The extents of a buffer indexed by e[0..n), for all values of the variables (which must be bound); refuses bad-map.
bool ts__map_shape(ts__ctx *c, int arg, const ts_expr *const *e, int n, const ts_var *const *vars, int nvars, const ts_expr **shape);
bool ts__one_to_one(ts__ctx *c, const ts_loop_range *in, int nin, const ts_expr *const *e, int n);

// --- copies laid out by iterators (reindex.c) -------------------------------------------------------------------------------------------
typedef struct ts__reindex {
  const ts_buffer *buf, *copy;
  const ts_expr *const *idx;    // of the one access, over the iterators of the block
  int n;                        // dimensions of the copy
  const ts_expr **to, **shape;
  int niters, *iter;            // iterators that lay it out
  int scope, top;
  const ts_stmt *block, *nest;
  uint32_t id;                  // of the copying block
} ts__reindex;
// Block argument 0; arg: that of the buffer; map (argument 3) may be NULL: the iterators that index the buffer.
bool ts__reindex_check(ts__ctx *c, int arg, bool write, const char *scope, const ts__map *map, ts__reindex *x);
bool ts__reindex_apply(ts__ctx *c, bool write, const ts__reindex *x);
bool ts__of_iters(const ts__ctx *c, const ts_block *b, const ts_expr *e);   // made of iterators of b and dimensions
// Something before the statement top writes all that the nest reads of buf, or buf is given to the function; refuses not-covered.
bool ts__filled(ts__ctx *c, int arg, int top, const ts_stmt *nest, const ts_buffer *buf);

#define PRIM(name, args, results, flags, doc) bool ts__check_##name(ts__ctx *c); bool ts__apply_##name(ts__ctx *c);
#include "schedule/prim.def"
#undef PRIM

// --- text of traces (trace.c) -----------------------------------------------------------------------------------------------
bool ts__arg_equal(const ts_arg *a, const ts_arg *b);
const ts_trace *ts__trace_pick(ts_arena *a, const ts_trace *t, const bool *keep);   // only the steps to keep (trace_simplify.c)
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
