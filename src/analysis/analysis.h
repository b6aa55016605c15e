// analysis: what is known about index expressions, loop nests and their memory accesses.
//
// All answers are about i64 index arithmetic taken as unbounded integers (index expressions are assumed not to
// overflow). Everything returned lives in the arena of the ts_ir the analyzer was made for. An analyzer is used by one
// thread.
//
// Unknown is an answer. ts_tri: TS_YES and TS_NO are proved for every value that the context admits, TS_UNKNOWN
// promises nothing. Compare explicitly (`== TS_YES`); legality checks take anything but the proof they need as a
// refusal.
#ifndef TS_ANALYSIS_H
#define TS_ANALYSIS_H

#include "base/base.h"
#include "ir/ir.h"

typedef enum ts_tri { TS_UNKNOWN, TS_YES, TS_NO } ts_tri;
const char *ts_tri_name(ts_tri t);  // "yes"

// --- context (analyzer.c): what is known about variables ---------------------------------------------------
// Facts are scoped: everything bound or assumed since a push is forgotten by the matching pop. A variable without facts
// may have any value. Binding a variable again adds facts. Under contradicting facts any
// answer may be given.
typedef struct ts_analyzer ts_analyzer;
ts_analyzer *ts_analyzer_new(ts_ir *ir);
void ts_analyzer_free(ts_analyzer *a);  // accepts NULL; expressions made stay in the ir
ts_ir *ts_analyzer_ir(const ts_analyzer *a);
size_t ts_analyzer_push(ts_analyzer *a);  // returns a mark
void ts_analyzer_pop(ts_analyzer *a, size_t mark);
void ts_bind_range(ts_analyzer *a, const ts_var *v, ts_range r);  // r.min <= v < r.min + r.extent, any expressions
void ts_bind_const(ts_analyzer *a, const ts_var *v, int64_t lo, int64_t hi);  // lo <= v <= hi
void ts_bind_multiple(ts_analyzer *a, const ts_var *v, int64_t m);            // v % m == 0
void ts_bind_value(ts_analyzer *a, const ts_var *v, const ts_expr *value);    // v is replaced by value (let)
void ts_bind_dims(ts_analyzer *a, const ts_func *f);                          // the facts of all symbolic dimensions
// The facts that hold inside s, one level: a loop's range, a block's iterator domains and predicate, a let's value.
void ts_bind_stmt(ts_analyzer *a, const ts_stmt *s);
void ts_assume(ts_analyzer *a, const ts_expr *cond);  // conjunctions of comparisons are used; anything else is ignored

// --- simplifier (simplify.c, linear.c, logic.c) ------------------------------------------------------------
// Equal value for all values that the context admits (where e itself has a value); canonical for sums of
// constant * product of (variable | floordiv | floormod | min | max | select ...); idempotent; deterministic; memoised.
// Order of a sum: positive terms, then negative ones, larger |coefficient| first, constant last: i*128 + j*16 - k + 3.
// Comparisons have positive terms on both sides: i*16 + j < n. Floats: only constants are folded and x*1, x/1. Narrow
// and unsigned integers: identities of modular arithmetic.
const ts_expr *ts_simplify(ts_analyzer *a, const ts_expr *e);
// All expressions below s, each under the facts of its enclosing loops, blocks, conditions. Loops, blocks and ids are
// kept; a decided TS_S_IF keeps only its live side (nothing left is an empty sequence).
const ts_stmt *ts_simplify_stmt(ts_analyzer *a, const ts_stmt *s);
const ts_func *ts_simplify_func(ts_analyzer *a, const ts_func *f);

// --- bounds (bound.c) --------------------------------------------------------------------------------------
#define TS_NEG_INF INT64_MIN
#define TS_POS_INF INT64_MAX
typedef struct ts_interval {  // lo <= e <= hi; an infinity where nothing is known
  int64_t lo, hi;
} ts_interval;
ts_interval ts_bound(ts_analyzer *a, const ts_expr *e);
bool ts_const_value(ts_analyzer *a, const ts_expr *e, int64_t *v);  // simplifies to a constant?
// yes: cond is true for all admitted values; no: for none. Bounded effort.
ts_tri ts_prove(ts_analyzer *a, const ts_expr *cond);
ts_tri ts_prove_eq(ts_analyzer *a, const ts_expr *x, const ts_expr *y);
ts_tri ts_prove_le(ts_analyzer *a, const ts_expr *x, const ts_expr *y);
ts_tri ts_prove_lt(ts_analyzer *a, const ts_expr *x, const ts_expr *y);
ts_tri ts_prove_multiple(ts_analyzer *a, const ts_expr *e, int64_t m);  // e % m == 0
int64_t ts_known_multiple(ts_analyzer *a, const ts_expr *e);  // largest m known to divide e, at least 1; 0 for e == 0
// Inclusive bounds of e that do not use vars[0..n), each of which must be bound: lo <= e <= hi whenever the variables
// are in their ranges. Reached for quasi-affine e whose variables occur once after simplification. A side that has none
// is NULL; false when both have none.
bool ts_bound_over(ts_analyzer *a, const ts_expr *e, const ts_var *const *vars, int n, const ts_expr **lo,
                   const ts_expr **hi);
static inline bool ts_provable(ts_analyzer *a, const ts_expr *cond) { return ts_prove(a, cond) == TS_YES; }

// --- linear form (bound.c) ---------------------------------------------------------------------------------
// e == coeff * v + rest, rest free of v. False when v occurs in any other way.
bool ts_linear(ts_analyzer *a, const ts_expr *e, const ts_var *v, int64_t *coeff, const ts_expr **rest);
// e == sum coeff[i] * vars[i] + rest, rest free of all vars.
bool ts_linear_multi(ts_analyzer *a, const ts_expr *e, const ts_var *const *vars, int n, int64_t *coeff,
                     const ts_expr **rest);
// As ts_linear with a coefficient that may be symbolic (free of v).
bool ts_linear_sym(ts_analyzer *a, const ts_expr *e, const ts_var *v, const ts_expr **coeff, const ts_expr **rest);

// --- iteration maps (itermap.c, itermap_use.c) -------------------------------------------------------------
// A mark is a loop variable (less its minimum) or a fused sum; a split is mark // lower % extent * scale; a sum adds
// splits and a base. Factors are simplified expressions, mostly constants.
typedef struct ts_isum ts_isum;
typedef struct ts_imark {
  const ts_var *var;      // NULL for a fused mark
  const ts_isum *sum;     // of a fused mark
  const ts_expr *source;  // as an expression; values are 0 .. extent - 1
  const ts_expr *extent;
} ts_imark;
typedef struct ts_isplit {
  const ts_imark *mark;
  const ts_expr *lower, *extent, *scale;
} ts_isplit;
struct ts_isum {
  int n;
  const ts_isplit *term;  // outermost (largest scale) first; scales may be negative
  const ts_expr *base;    // what is added to the terms
  // Values are min + step * (0 .. extent - 1), all of them when the splits vary independently (as in a surjective map).
  // extent is NULL when the splits leave gaps.
  const ts_expr *min, *step, *extent;
};
typedef struct ts_loop_range {
  const ts_var *var;
  ts_range dom;
} ts_loop_range;
typedef struct ts_itermap {
  int n;  // bindings
  const ts_isum *bind;
  int nin;
  const ts_loop_range *in;
  const ts_expr *predicate;  // what of the given predicate the marks do not express; NULL when nothing is left
  ts_tri injective;          // different admitted loop values give different bindings
  ts_tri surjective;         // onto the product of dom (or, without dom, of each binding's own range)
  ts_tri bijective;
} ts_itermap;
// Refuses ("not-affine", "too-many-bindings") naming the binding and the reason; then *out holds only the three
// answers (from direct evaluation where the domain is small, else unknown). predicate and dom may be NULL. Guarded
// splits (predicate i*16 + j < 100) become marks of extent 100.
bool ts_itermap_detect(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                       const ts_expr *predicate, const ts_range *dom, ts_itermap *out, ts_diag *d);
// The bindings of a block realised under the given enclosing loops (outermost first).
bool ts_itermap_of_block(ts_analyzer *a, const ts_stmt *const *loops, int nloops, const ts_block *b, ts_itermap *out,
                         ts_diag *d);
const ts_expr *ts_isum_expr(ts_analyzer *a, const ts_isum *s);
// Loop variables from binding values: in[i].var == result[i] when binding j has the value of[j]. Needs bijective.
bool ts_itermap_invert(ts_analyzer *a, const ts_itermap *m, const ts_expr *const *of, const ts_expr **result,
                       ts_diag *d) TS_WARN_UNUSED;
// Division into an outer and an inner map by the variables of the inner one: binding j == outer[j] * inner_extent[j] +
// inner[j], where inner[j] (0 .. inner_extent - 1) uses only inner variables and outer[j] only others. The predicate
// splits as outer && inner.
typedef struct ts_subspace {
  const ts_expr *outer, *outer_extent, *inner, *inner_extent;
} ts_subspace;
bool ts_itermap_divide(ts_analyzer *a, const ts_itermap *m, const ts_var *const *inner, int ninner, ts_subspace *out,
                       const ts_expr **outer_pred, const ts_expr **inner_pred, ts_diag *d) TS_WARN_UNUSED;

// --- regions (region.c) ------------------------------------------------------------------------------------
// What a subtree touches, one region per buffer (union), in terms of the variables free in it after relaxing all loops
// and iterators inside it and vars[0..nvars) (which must be bound in the context). Buffers allocated inside are left
// out. Never smaller than what is touched; a dimension without bounds becomes the whole of it. Ranges lie inside the
// buffer.
typedef struct ts_accesses {
  int nreads, nwrites;
  const ts_region *reads, *writes;
} ts_accesses;
ts_accesses ts_regions_of(ts_analyzer *a, const ts_stmt *s, const ts_var *const *vars, int nvars);
// What it reads (or writes) of buf alone, which is less work; false: nothing.
bool ts_region_of(ts_analyzer *a, const ts_stmt *s, const ts_buffer *buf, bool write, const ts_var *const *vars,
                  int nvars, ts_region *out);
const ts_region *ts_regions_find(const ts_region *r, int n, const ts_buffer *b);  // or NULL
ts_region ts_region_whole(ts_ir *ir, const ts_buffer *b);
ts_region ts_region_union(ts_analyzer *a, ts_region x, ts_region y);  // bounding box
ts_region ts_region_relax(ts_analyzer *a, ts_region r, const ts_var *const *vars, int n);
ts_tri ts_region_covers(ts_analyzer *a, ts_region big, ts_region small);  // small inside big?
ts_tri ts_region_disjoint(ts_analyzer *a, ts_region x, ts_region y);      // no common element?
// Does everything that `consumer` reads of b lie in what `producer` certainly writes? Both subtrees under the loops of
// the context. The write region counts only when it is written densely (loops onto the box, no guard that may skip).
ts_tri ts_region_cover(ts_analyzer *a, const ts_stmt *producer, const ts_stmt *consumer, const ts_buffer *b);

// --- dependences (depend.c) --------------------------------------------------------------------------------
typedef enum ts_dep_kind { TS_DEP_RAW, TS_DEP_WAR, TS_DEP_WAW, TS_DEP_KIND__COUNT } ts_dep_kind;
const char *ts_dep_kind_name(ts_dep_kind k);  // "read-after-write"
// Can two different iterations of a loop touch the same element, at least one writing?
typedef struct ts_dep {
  ts_tri answer;        // yes: with a witness; no: proved; unknown: assume the worst
  bool reduction_only;  // every conflict not disproved is a reduction block updating its own output along reduce
                        // iterators
  ts_dep_kind kind;     // of the first conflict that is not a reduction's, else of the first
  const ts_buffer *buf;
  const ts_block *src, *dst;  // innermost blocks of the two accesses, or NULL
  bool has_witness;
  int64_t first, second;  // iteration values of the loop that collide
  char why[200];          // one line for a message: "i = 0 and i = 1 both write C[0]"
} ts_dep;
// loop: a TS_S_FOR. Enclosing variables are taken as equal in both iterations and bound in the context by the caller.
// Buffers allocated inside the loop, and those in ignore[], are private to an iteration.
ts_dep ts_loop_carried(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore);
// The same with little effort: true when a collision that is no reduction's was found where they are likely; nothing is known else.
bool ts_loop_collides(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore, ts_dep *out);
// Buffers written below the loop in which its iterations surely touch different elements, as far as that is easily seen.
int ts_loop_told(ts_analyzer *a, const ts_stmt *loop, const ts_buffer *const *ignore, int nignore,
                 const ts_buffer *const **out);
// For each of the nested loops loop[0..n) (outermost first): can conflicting accesses differ in its variable, with the
// variables of the others free? Loops may be reordered when at most one answer is not TS_NO, or all conflicts are
// reductions.
void ts_nest_carried(ts_analyzer *a, const ts_stmt *const *loops, int n, ts_dep *out);
// Edges among the statements child[0..n) of one sequence, in textual order: src < dst touch a common element of buf.
typedef struct ts_edge {
  int src, dst;
  ts_dep_kind kind;
  const ts_buffer *buf;
  ts_tri overlap;  // of the regions; edges with a proved TS_NO are left out
} ts_edge;
typedef struct ts_edges {
  int n;
  const ts_edge *p;
} ts_edges;
ts_edges ts_sibling_edges(ts_analyzer *a, const ts_stmt *const *child, int n);
// Is the block (under the loops of its own scope) a reduction: has an init, writes are indexed by no reduce iterator,
// and its update reads what it writes at the same index. yes/no are exact, never unknown.
bool ts_block_is_reduction(ts_analyzer *a, const ts_block *b);

// --- reducers (reducer.c, reducer.def): how partial results of a reduction combine -----------------------------
typedef enum ts_reducer {
#define REDUCER(name, n, types, ordered, doc, identity, r0, r1, r2) TS_RED_##name,
#define FORM(name, value, pattern)
#include "analysis/reducer.def"
#undef REDUCER
#undef FORM
  TS_RED__COUNT
} ts_reducer;
enum { TS_RED_VALUES = 3, TS_MAX_ACCS = 4 };
typedef struct ts_reducer_info {
  const char *name, *doc;
  int n;         // values carried together
  bool ordered;  // associative, not commutative: what comes first counts
} ts_reducer_info;
const ts_reducer_info *ts_reducer_get(ts_reducer r);
// What a reduction block carries: n accumulators acc[i][idx[i]], each updated with value[i] (free of all accumulators). They
// fall into parts, one reducer each: a block may compute a sum and, beside it, an argmax of two values.
typedef struct ts_reduction {
  int n;
  const ts_buffer *acc[TS_MAX_ACCS];
  const ts_expr *const *idx[TS_MAX_ACCS];  // over the iterators of the block
  const ts_expr *load[TS_MAX_ACCS];        // acc[i][idx[i]]
  const ts_expr *value[TS_MAX_ACCS];       // what is combined with it, over the iterators
  const ts_expr *init[TS_MAX_ACCS];        // of the block's init; NULL without one
  int nparts;
  struct ts_red_part {
    ts_reducer reducer;
    int at[TS_RED_VALUES];  // value k of the reducer is accumulator at[k]
  } part[TS_MAX_ACCS];
  bool ordered;             // some part's order counts
} ts_reduction;
// Matches the block's body (stores and lets) and init, if any, against the reducers. False when it is no such reduction: then
// nothing is known about its order either.
bool ts_reduction_match(ts_ir *ir, const ts_block *b, ts_reduction *out);
// out[i]: accumulator i of a partial result a[] merged with another one x[]; the types are those of the accumulators.
void ts_reduction_combine(ts_ir *ir, const ts_reduction *r, const ts_expr *const *a, const ts_expr *const *x,
                          const ts_expr **out);
// out[i]: what merges with anything to that.
void ts_reduction_identity(ts_ir *ir, const ts_reduction *r, const ts_expr **out);
// Statements that put value[i] into acc[i][idx[i]] for all i, for values that may load the accumulators (through lets where
// there are several).
const ts_stmt *ts_reduction_store(ts_ir *ir, const ts_buffer *const *acc, const ts_expr *const *const *idx,
                                  const ts_expr *const *value, int n);
// For a reducer of one value: what e combines with the load acc by it, free of acc's buffer; NULL when e does not.
const ts_expr *ts_reducer_rest(ts_ir *ir, ts_reducer r, const ts_expr *e, const ts_expr *acc);
// Text for messages: "sum", "sum and argmax".
const char *ts_reduction_name(ts_arena *a, const ts_reduction *r);

// --- software pipelines (pipeline.c) -------------------------------------------------------------------------
// Statement i of iteration k runs in slot k + stage[i], in the order given by order[] within the slot. On a loop as notes
// pipeline_stage = "0 0 1", pipeline_order = "0 1 2".
enum { TS_PIPELINE_STAGES = 15 };
typedef struct ts_pipeline {
  const ts_stmt *loop;
  int n;
  const ts_stmt *const *child;  // of the body, below allocations and blocks that only own buffers
  bool fits;                    // the notes have a number for each of them
  const int *stage, *order;
  const ts_buffer *const *own;  // buffers of one iteration, to be filled in
  int nown;
} ts_pipeline;
const ts_stmt *const *ts_pipeline_body(ts_ir *ir, const ts_stmt *loop, int *n);
bool ts_pipeline_read(ts_ir *ir, const ts_stmt *loop, ts_pipeline *out);  // false: the loop has no such notes
typedef struct ts_pipeline_fault {
  int first, second;     // statements that would change places
  const ts_buffer *buf;  // in which they meet
  bool carried;          // in different iterations
} ts_pipeline_fault;
// Everything that conflicts, or may, keeps its order; enclosing variables are bound by the caller.
bool ts_pipeline_legal(ts_analyzer *a, const ts_pipeline *p, ts_pipeline_fault *out);

#endif
