// Shared by the files of src/analysis: linear forms, the context's records, and the steps of the simplifier.
#ifndef TS_ANALYSIS_IMPL_H
#define TS_ANALYSIS_IMPL_H

#include "analysis/analysis.h"

// --- linear forms (linear.c) -------------------------------------------------------------------------------
// sum k[i] * atom[i] + c over different atoms in the order of ts__expr_cmp, no k is 0. An atom is a canonical i64
// expression that is no sum, no constant and no product with a constant; a product of atoms is one atom.
#define TS__LIN_CAP 24
typedef struct ts__term {
  int64_t k;
  const ts_expr *atom;
} ts__term;
typedef struct ts__lin {
  int n;
  int64_t c;
  ts__term t[TS__LIN_CAP];
} ts__lin;

int ts__expr_cmp(const ts_expr *a, const ts_expr *b);  // structural total order; variables by id
static inline void ts__lin_const(ts__lin *l, int64_t c) {
  l->n = 0;
  l->c = c;
}
static inline bool ts__lin_is_const(const ts__lin *l) { return l->n == 0; }
void ts__lin_copy(ts__lin *d, const ts__lin *s);
// These return false when a coefficient overflows or the terms are too many; *l is then unusable.
bool ts__lin_add_term(ts__lin *l, int64_t k, const ts_expr *atom);
bool ts__lin_add_const(ts__lin *l, int64_t c);
bool ts__lin_add(ts__lin *l, const ts__lin *x, int64_t k);  // l += k * x
bool ts__lin_scale(ts__lin *l, int64_t k);
bool ts__lin_equal(const ts__lin *x, const ts__lin *y);
int64_t ts__lin_coeff(const ts__lin *l, const ts_expr *atom);
int64_t ts__lin_gcd(const ts__lin *l);             // of the coefficients without the constant; 0 when there are none
bool ts__lin_parse(ts__lin *l, const ts_expr *e);  // the structure of a canonical expression
const ts_expr *ts__lin_expr(ts_ir *ir, const ts__lin *l);
bool ts__lin_mul(ts_ir *ir, ts__lin *out, const ts__lin *x, const ts__lin *y);  // polynomial product
// Factors of an atom (a product of up to cap atoms), and back. The factors are sorted.
int ts__factors(const ts_expr *atom, const ts_expr **f, int cap);
const ts_expr *ts__product(ts_ir *ir, const ts_expr **f, int n);

static inline int64_t ts__floordiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }
static inline int64_t ts__floormod(int64_t a, int64_t b) {
  return a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
}
int64_t ts__gcd(int64_t a, int64_t b);
static inline bool ts__is_index(const ts_expr *e) { return e->type.code == TS_I64 && e->type.lanes == 1; }
static inline bool ts__both_index_int(const ts_expr *x, const ts_expr *y) {
  return x->kind == TS_E_INT && y->kind == TS_E_INT && ts__is_index(x) && ts__is_index(y);
}
static inline bool ts__is_bool(const ts_expr *e) { return e->type.code == TS_BOOL && e->type.lanes == 1; }

// --- context (analyzer.c) ----------------------------------------------------------------------------------
typedef struct ts__var_facts {  // one layer for a variable; the newest layer has all that is known
  const ts_var *var;
  ts_interval range;
  const ts_expr *lo, *hi;  // inclusive symbolic bounds or NULL
  const ts_expr *value;    // replaced by this, or NULL
  int64_t multiple;
  int prev;  // index of the layer below, -1 none
} ts__var_facts;
typedef struct ts__memo {
  const ts_expr *key, *value;  // value NULL: only the interval is known
  ts_interval range;
  uint64_t epoch;
  bool has_range;
} ts__memo;
typedef enum ts__step_kind { TS__STEP_CONST, TS__STEP_MULTIPLE, TS__STEP_VALUE, TS__STEP_RANGE, TS__STEP_COND, TS__STEP__COUNT } ts__step_kind;
typedef struct ts__step {  // from one epoch to another by learning something
  uint64_t from, to;
  ts__step_kind kind;
  const void *what;
  int64_t x, y;
} ts__step;
struct ts_analyzer {
  ts_ir *ir;
  struct ts_analyzer *next;  // while given back
  ts__var_facts *vars;
  int nvars, vars_cap;
  int *top;  // by variable id: newest layer, -1 none
  uint32_t top_cap;
  ts__lin *facts;  // each is >= 0
  int nfacts, facts_cap;
  const ts_expr **conds;  // other conditions that hold
  int nconds, conds_cap;
  struct ts__scope {
    int nvars, nfacts, nconds;
    uint64_t epoch;
  } * marks;
  int nmarks, marks_cap;
  uint64_t epoch, last_epoch;
  ts__step *step;  // open addressing
  size_t nsteps, steps_cap;
  ts__memo *memo;
  size_t memo_n, memo_cap;
  uint32_t memo_turn;
  const ts_var **twin;  // by variable id: its copy for a second iteration, made once
  uint32_t twin_cap;
  const ts_var *later;  // distance of two iterations
  int depth;            // of nested simplification under assumptions
  bool proving;         // inside a proof, with
  int steps;            // left of it
};
static inline const ts__var_facts *ts__facts_of(const ts_analyzer *a, const ts_var *v) {  // or NULL
  return v->id < a->top_cap && a->top[v->id] >= 0 ? &a->vars[a->top[v->id]] : NULL;
}
ts__memo *ts__memo_at(ts_analyzer *a, const ts_expr *e);  // the entry of e in this epoch, made when missing; until the next call
const ts_var *ts__twin(ts_analyzer *a, const ts_var *v);
bool ts__cond_known(const ts_analyzer *a, const ts_expr *c);  // assumed as it stands

// --- simplifier --------------------------------------------------------------------------------------------
// x // d and x % d for canonical x and constant d != 0 (divide.c): x == d * q + r.
bool ts__divmod(ts_analyzer *a, const ts__lin *x, int64_t d, ts__lin *q, ts__lin *r);
bool ts__divmod_sym(ts_analyzer *a, const ts__lin *x, const ts__lin *d, ts__lin *q, ts__lin *r);
bool ts__recombine(ts_analyzer *a, ts__lin *l);  // k*(x//c)*c + k*(x%c) -> k*x and the like
bool ts__minmax(ts_analyzer *a, ts_ekind kind, const ts_expr *x, const ts_expr *y, ts__lin *out);  // minmax.c
bool ts__absorb(ts_analyzer *a, ts__lin *l, int i, bool *changed);
int64_t ts__multiple_of(ts_analyzer *a, const ts_expr *atom);
const ts_expr *ts__simplify_bool(ts_analyzer *a, const ts_expr *e);  // logic.c
// l >= 0, l == 0 as canonical conditions.
const ts_expr *ts__cond_ge0(ts_analyzer *a, const ts__lin *l);
const ts_expr *ts__cond_eq0(ts_analyzer *a, const ts__lin *l);
const ts_expr *ts__negate(ts_analyzer *a, const ts_expr *c);  // of a canonical condition
// Linear form of any i64 expression after simplification.
bool ts__lin_of(ts_analyzer *a, const ts_expr *e, ts__lin *out);

// Sets the answers of *m by evaluation when the domain is constant and small (itermap_small.c).
void ts__itermap_enumerate(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                           const ts_expr *pred, const ts_range *dom, ts_itermap *m);

// --- bounds and proofs -------------------------------------------------------------------------------------
ts_interval ts__lin_bound(ts_analyzer *a, const ts__lin *l);
ts_interval ts__atom_bound(ts_analyzer *a, const ts_expr *atom);
bool ts__prove_ge0(ts_analyzer *a, const ts__lin *l);  // with facts; true only when proved
bool ts__uses_any(const ts_expr *e, const ts_var *const *vars, int n);

// --- accesses (access.c) -----------------------------------------------------------------------------------
typedef struct ts__nest {  // an enclosing loop, and what encloses that
  const ts_stmt *loop;
  const struct ts__nest *up;
} ts__nest;
typedef struct ts__guard {  // a condition under which the access happens
  const ts_expr *cond;
  const struct ts__guard *up;
} ts__guard;
typedef struct ts__access {
  const ts_buffer *buf;
  bool write, in_init;
  const ts_expr *const *idx;  // iterators and lets replaced: in terms of loop variables and what is free in the subtree
  const ts_expr *const *span;   // extent per dimension from idx on, NULL when all are 1
  const ts_block *block;        // innermost, or NULL
  const ts_expr *const *value;  // of its iterators, replaced like idx
  const ts_stmt *store;         // the statement of a write, and of the loads in it; else NULL
  const ts__nest *nest;         // loops of the subtree around it, innermost first
  const ts__guard *guard;
} ts__access;
typedef struct ts__buffers {
  int n;
  const ts_buffer *const *p;
} ts__buffers;
static inline bool ts__among(ts__buffers l, const ts_buffer *b) {
  int i = 0;
  while (i < l.n && l.p[i] != b) i++;
  return i < l.n;
}
#define TS__ALL_BUFFERS ((ts__buffers){0, NULL})
#define TS__ONE_BUFFER(b) ((ts__buffers){1, (const ts_buffer *const[]){b}})
// Calls visit for every access below s, with the loops around it bound in the context and its conditions assumed.
// Buffers allocated below s are left out, and all but those in `only` when it has a list.
typedef void (*ts__access_fn)(void *arg, const ts__access *x);
void ts__accesses_visit(ts_analyzer *a, const ts_stmt *s, ts__buffers only, ts__access_fn visit, void *arg);
typedef TS_VEC(ts__access) ts__access_list;
// The same as a list, to be judged in the outer context.
ts__access_list ts__accesses_of(ts_analyzer *a, const ts_stmt *s, ts__buffers only);

// Does the value of the bindings tell the value of loop in[which]? True only when proved (itermap.c).
bool ts__itermap_tells(ts_analyzer *a, const ts_loop_range *in, int nin, const ts_expr *const *bind, int nbind,
                       const ts_expr *predicate, int which);

// --- reducers (reducer.c, reduction.c) -----------------------------------------------------------------------
typedef struct ts__red_match {  // one update against one row
  ts_ir *ir;
  int nacc;
  const ts_buffer *const *acc;        // what a value may not load
  const ts_expr *a[TS_RED_VALUES];    // loads of the accumulators
  const ts_expr *r[TS_RED_VALUES];    // their new values
  const ts_expr *x[TS_RED_VALUES];    // out: the values combined with them
  bool bound;
} ts__red_match;
bool ts__reducer_match(ts__red_match *m, ts_reducer r);
void ts__reducer_combine(ts_ir *ir, ts_reducer r, const ts_expr *const *a, const ts_expr *const *x, const ts_expr **out);
void ts__reducer_identity(ts_ir *ir, ts_reducer r, const ts_code *codes, const ts_expr **out);

#endif
