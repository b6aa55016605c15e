// schedule: primitives that rewrite a function without changing its meaning, the trace of what was done, and replay.
//
// A schedule holds a function and the trace that made it. A step applies one primitive: check everything, build the new
// tree, swap the root last. A refusal is data (ts_refusal); it leaves function, trace and references exactly as they were.
//
// References (`ts_rv`, "random variables" of the trace) stand for a loop, a block or an integer. They hold ids, which
// survive rewriting; using one whose loop or block is gone is the refusal expired-reference.
//
// Storage: the schedule puts every buffer it makes into the allocations of the block that encloses both the writer and the
// readers (normally "root") with its full shape. LOWERING shrinks each allocation to the region touched below the deepest
// place that holds all its accesses, and sinks the allocation there. Schedules never shrink a buffer.
#ifndef TS_SCHEDULE_H
#define TS_SCHEDULE_H

#include "analysis/analysis.h"
#include "base/base.h"
#include "ir/ir.h"

// --- the table of primitives (prim.def) -----------------------------------------------------------------------
typedef enum ts_prim {
#define PRIM(name, args, results, flags, doc) TS_P_##name,
#include "schedule/prim.def"
#undef PRIM
  TS_P__COUNT
} ts_prim;
enum {
  TS_PRIM_PURE = 1,      // looks up; never changes the function
  TS_PRIM_SAMPLING = 2,  // draws integers; its decision is stored as values
  TS_PRIM_BESIDE = 4,    // puts something before or after a block, or moves it: not in the initialisation of another one
};
// Arguments are written `TYPE:name`, keywords `TYPE:name=default` (default empty: optional), separated by spaces. Types:
//   b block   l loop   x loop or block   i integer   s string   w word (an identifier such as guard)   v int, float or string
//   u buffer of a block: index among its reads or writes, or a name   L one or more loops (rest of the line)
//   F list of factors, `_` leaves one open   I list of integers   N list of numbers   M index map, as a string
// Results: b, l, i, each followed by + for any number.
typedef struct ts_prim_info {
  const char *name, *args, *results, *doc;
  int flags;
} ts_prim_info;
const ts_prim_info *ts_prim_get(ts_prim p);
bool ts_prim_find(const char *name, size_t n, ts_prim *out);

// --- refusal codes (refusal.def) ---------------------------------------------------------------------------------
typedef enum ts_rcode {
#define REFUSAL(name, text, doc) TS_R_##name,
#include "schedule/refusal.def"
#undef REFUSAL
  TS_R__COUNT
} ts_rcode;
const char *ts_rcode_name(ts_rcode r);  // "not-divisible"
const char *ts_rcode_doc(ts_rcode r);

// --- instructions and traces ---------------------------------------------------------------------------------------
typedef int ts_rv;  // index into the trace's references; -1 is none
typedef enum ts_arg_kind {
  TS_ARG_NONE, TS_ARG_RV, TS_ARG_INT, TS_ARG_FLOAT, TS_ARG_STR, TS_ARG_WORD, TS_ARG_OPEN, TS_ARG_LIST
} ts_arg_kind;
typedef struct ts_arg {
  ts_arg_kind kind;
  union {
    ts_rv rv;
    int64_t i;
    double f;
    const char *s;                                    // STR, WORD
    struct { int n; const struct ts_arg *p; } list;
  };
} ts_arg;
#define TS_ARV(x) ((ts_arg){.kind = TS_ARG_RV, .rv = (x)})
#define TS_AINT(x) ((ts_arg){.kind = TS_ARG_INT, .i = (x)})
#define TS_AFLOAT(x) ((ts_arg){.kind = TS_ARG_FLOAT, .f = (x)})
#define TS_ASTR(x) ((ts_arg){.kind = TS_ARG_STR, .s = (x)})
#define TS_AWORD(x) ((ts_arg){.kind = TS_ARG_WORD, .s = (x)})
#define TS_AOPEN ((ts_arg){.kind = TS_ARG_OPEN})
#define TS_ANONE ((ts_arg){.kind = TS_ARG_NONE})
#define TS_ALISTN(n_, p_) ((ts_arg){.kind = TS_ARG_LIST, .list = {.n = (n_), .p = (p_)}})
#define TS_ALIST(...) \
  TS_ALISTN((int)(sizeof((ts_arg[]){__VA_ARGS__}) / sizeof(ts_arg)), ((const ts_arg[]){__VA_ARGS__}))
#define TS_ARGS(...) ((const ts_arg[]){__VA_ARGS__}), ((int)(sizeof((ts_arg[]){__VA_ARGS__}) / sizeof(ts_arg)))

// One step. Arguments stand in the order of the row's signature, keywords included (NONE: left out); a rest argument (L)
// occupies one LIST. Results are references defined by this step; -1 for a result that was not named.
typedef struct ts_inst {
  ts_prim prim;
  int nargs, nresults, ndecision;
  const ts_arg *args;
  const ts_rv *results;
  const int64_t *decision;  // sampling steps: what was drawn, as values
  int line;                 // of the text it came from; 0 when made by a call
} ts_inst;
typedef struct ts_trace {
  const char *file;   // for messages
  int n, nrvs;
  const ts_inst *const *inst;
  const char *const *rv_name;
} ts_trace;
// Text: docs/trace.md. print(parse(t)) == t for canonical t; parse(print(x)) equals x.
const ts_trace *ts_trace_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
void ts_trace_print(ts_text *out, const ts_trace *t);
void ts_inst_print(ts_text *out, const ts_trace *t, const ts_inst *i);  // without newline
bool ts_trace_equal(const ts_trace *a, const ts_trace *b);
uint64_t ts_trace_hash(const ts_trace *t);
// The same trace with step `step` (a sampling step) deciding otherwise; n == 0 clears the decision, to be drawn anew.
const ts_trace *ts_trace_with_decision(ts_arena *a, const ts_trace *t, int step, const int64_t *values, int n);

// Without look-ups and draws that nothing uses, look-ups made twice and names that nothing uses; the others are b0, l0, v0 ..
// in the order of definition. Makes the same function where all decisions are stored (else dropped steps move later draws).
const ts_trace *ts_trace_simplify(ts_arena *a, const ts_trace *t);
// The simplified trace without every step, and every pair of steps, that the function it makes of f does not need. Decisions are
// stored. *tries (may be NULL): replays that it took. NULL when a step refuses.
const ts_trace *ts_trace_minimise(const ts_func *f, const ts_trace *t, ts_arena *a, int *tries, ts_diag *d) TS_WARN_UNUSED;

// Two traces step by step. Names do not count: a reference is what it stands for.
typedef enum ts_delta_kind { TS_DELTA_SAME, TS_DELTA_CHANGED, TS_DELTA_REMOVED, TS_DELTA_ADDED, TS_DELTA_KIND__COUNT } ts_delta_kind;
typedef struct ts_delta_row {
  ts_delta_kind kind;
  int a, b;  // numbers of steps, -1: none
} ts_delta_row;
typedef struct ts_trace_delta {
  int n, count[TS_DELTA_KIND__COUNT];
  const ts_delta_row *row;  // in the order of both traces
} ts_trace_delta;
bool ts_trace_diff(ts_arena *a, const ts_trace *from, const ts_trace *to, ts_trace_delta *out, ts_diag *d) TS_WARN_UNUSED;

// --- refusals ---------------------------------------------------------------------------------------------------------
// Cheap to make: no text is formatted until somebody asks.
typedef struct ts_fact_arg {
  bool used;
  const char *s;  // or NULL: i
  int64_t i;
} ts_fact_arg;
typedef struct ts_culprit {
  uint32_t id;       // loop or block
  bool loop;         // else a block
  const char *name;  // of the loop variable or block
} ts_culprit;
typedef struct ts_refusal {
  ts_rcode code;
  ts_prim prim;
  int arg;             // argument at fault, -1: none in particular
  int step;            // number of the step in the trace, from 0
  int line;            // of the trace text, 0 when none
  const char *fact;    // "extent {0} of loop {1} is not a multiple of {2}"
  ts_fact_arg a[6];
  const char *hint;    // template as well, or NULL
  int nculprits;
  ts_culprit culprit[4];
  int nwitness;        // values of variables at which the condition fails, e.g. two iterations that collide
  struct { const char *name; int64_t value, other; } witness[8];
} ts_refusal;
void ts_refusal_line(ts_text *out, const ts_refusal *r);                        // "split: extent 100 of loop i ..."
// In full: the fact, the position, the loop nest with the culprits marked, witness, hint. file and step text may be NULL.
void ts_refusal_render(ts_text *out, const ts_refusal *r, const ts_func *f, const char *file, const char *step_text);

// --- schedules ----------------------------------------------------------------------------------------------------------
typedef struct ts_sched ts_sched;
// f must belong to ir. Everything lives in the arena of ir: free that, and the schedule is gone.
ts_sched *ts_sched_new(ts_ir *ir, const ts_func *f, uint64_t seed);
ts_sched *ts_sched_clone(const ts_sched *s);  // shares nodes; copies a few small arrays
const ts_func *ts_sched_func(const ts_sched *s);
ts_ir *ts_sched_ir(const ts_sched *s);
const ts_trace *ts_sched_trace(const ts_sched *s);         // a view, valid until the next step
const ts_refusal *ts_sched_refusal(const ts_sched *s);     // of the last call that refused

// Apply one primitive. args follow the row's signature; trailing ones may be left out. out receives at most max references
// (*nout: how many there are; may be NULL). The trace gets made-up names (b0, l3, v1), or the variable's name where free.
// d may be NULL: then a refusal costs no formatting. Sampling steps draw unless the last argument is their decision.
bool ts_sched_call(ts_sched *s, ts_prim p, const ts_arg *args, int nargs, ts_rv *out, int max, int *nout, ts_diag *d);
// One line of trace text.
bool ts_sched_step(ts_sched *s, const char *line, ts_diag *d) TS_WARN_UNUSED;
// Take back the last n steps. Exact: function, trace, references.
void ts_sched_undo(ts_sched *s, int n);

// The function before step number `step`; with the number of steps, or a larger one, the present one.
const ts_func *ts_sched_func_at(const ts_sched *s, int step);
// Of two schedules whose traces have that difference: the row from which on the functions differ until the end. False, and -1, when
// both make the same function.
bool ts_trace_diverge(const ts_sched *x, const ts_sched *y, const ts_trace_delta *delta, int *row);

typedef enum ts_outcome { TS_STEP_APPLIED, TS_STEP_ADAPTED, TS_STEP_REFUSED, TS_STEP_SKIPPED } ts_outcome;
typedef struct ts_step_report {
  int line;          // in the text; 0 for a trace made by calls
  ts_outcome outcome;
  const char *note;  // adapted: what was changed; refused: the rendered line; skipped: which earlier refusal it needs
} ts_step_report;
typedef struct ts_replay {
  bool strict;       // in: a decision that does not fit refuses instead of being adapted
  bool keep_going;   // in: go on after a refusal; steps that need its results are skipped
  int n;             // out: one report a step
  const ts_step_report *step;
  int applied, adapted, refused, skipped;
} ts_replay;
// Apply every step of a trace after those already there. r may be NULL (not strict, stop at the first refusal).
// False when any step was refused; the steps before it stay applied.
bool ts_sched_replay(ts_sched *s, const char *file, const char *text, size_t n, ts_replay *r, ts_diag *d) TS_WARN_UNUSED;
bool ts_sched_replay_trace(ts_sched *s, const ts_trace *t, ts_replay *r, ts_diag *d) TS_WARN_UNUSED;

// What a reference stands for now. NULL / false when it is expired or of another kind.
const ts_stmt *ts_sched_loop(const ts_sched *s, ts_rv rv);
const ts_stmt *ts_sched_block(const ts_sched *s, ts_rv rv);
bool ts_sched_int(const ts_sched *s, ts_rv rv, int64_t *out);
ts_rv ts_sched_find(const ts_sched *s, const char *name);  // by its name in the trace, -1 when there is none

// --- explaining (explain.c) ----------------------------------------------------------------------------------------------
// What the engine knows about a block. Text is that of expressions; NULL where there is nothing to say.
typedef struct ts_explain_iter {
  const char *name, *kind;    // "spatial" "reduce" "opaque"
  const char *domain, *value; // "0..64", binding
  const char *map;            // the binding as splits and fusions of loops; NULL when it is not affine
} ts_explain_iter;
typedef struct ts_explain_loop {
  const char *name, *range, *kind;  // "serial" "parallel" .. or a thread axis
  bool spatial, reduce;             // what kind of iterators it feeds
  const char *obstacle, *code;      // what keeps its iterations from being independent; NULL when they are
  bool has_witness;
  int64_t first, second;            // two iterations that collide
} ts_explain_loop;
typedef struct ts_explain_region {
  const char *buffer, *scope;
  bool write;
  int ndim;
  const char *const *one, *const *all;  // of an instance, over its iterators; of all instances
} ts_explain_region;
typedef struct ts_explain_dep {
  const char *block, *buffer, *kind;  // "read-after-write"
  bool before, producer, consumer;    // the other block stands before this one; makes what it reads; reads what it makes
  const char *distance;               // iterations of common loops from the earlier access to the later: "i: 0..2"; "" without such
} ts_explain_dep;
typedef struct ts_explain {
  const char *block, *intrin, *predicate, *affine;  // affine: why the bindings are no affine map
  bool reduces;
  const char *reducer;  // "sum"; NULL when it is no known one
  ts_tri injective, surjective;  // of the bindings: each instance once at most, every instance
  int niters, nloops, nregions, ndeps;
  const ts_explain_iter *iter;
  const ts_explain_loop *loop;
  const ts_explain_region *region;
  const ts_explain_dep *dep;
} ts_explain;
bool ts_sched_explain(const ts_sched *s, const char *block, ts_explain *out, ts_diag *d) TS_WARN_UNUSED;

// --- mapping a block onto an intrinsic (map.c, map_trace.c) -----------------------------------------------------------------
// Which iterators of a block can play the iterators of a tensor intrinsic, alone or fused, with what padding; each mapping with
// the steps that realise it, which were applied.
typedef struct ts_map_role {
  const char *name;           // of the intrinsic's iterator
  bool reduce;
  int64_t extent;             // of the intrinsic
  int n;
  const char *const *iters;   // of the block, outermost first: "vh % 4"
  const char *have;           // their extent: "n", "48"
  const char *padded;         // what that is rounded up to; NULL when it is provably a multiple
} ts_map_role;
typedef struct ts_mapping {
  int nroles, nouter, noperands;
  const ts_map_role *role;
  const char *const *outer;    // iterators that stay loops around the intrinsic
  const char *const *operand;  // buffer of the block for each operand of the intrinsic
  const char *trace;           // the steps, as far as they apply
  const char *refusal;         // of the next step; NULL when all applied
} ts_mapping;
typedef struct ts_mappings {
  int n;
  const ts_mapping *p;
  const char *why;  // n == 0: what is in the way
  bool cut;         // there are more
} ts_mappings;
enum { TS_MAX_MAPPINGS = 48 };
// Refuses when there is no such block or intrinsic. Everything lives in the arena of ir.
bool ts_map_block(ts_ir *ir, const ts_func *f, const char *block, const char *intrin, ts_mappings *out, ts_diag *d) TS_WARN_UNUSED;

#endif
