// ir: expressions, loops, blocks, buffers, functions; their text form, verifier, hash and interpreter.
//
// Nodes are immutable once built and live in a ts_ir context (one per candidate or task; not shared between threads
// while it is being written). Expressions are hash-consed: in one context equal expressions are the same pointer.
// Statements are plain trees; to change one, copy the struct and set the field. Loops and blocks carry an id that
// survives copying: schedules refer to them by id.
#ifndef TS_IR_H
#define TS_IR_H

#include "base/base.h"

// --- types ----------------------------------------------------------------------------------------------
typedef enum ts_code {
  TS_BOOL, TS_I8, TS_I16, TS_I32, TS_I64, TS_U8, TS_U16, TS_U32, TS_U64, TS_F16, TS_BF16, TS_F32, TS_F64, TS_CODE__COUNT
} ts_code;
// An element code and a number of lanes. lanes > 1 occurs only inside tensor intrinsic implementations and
// after lowering; written "f32x16".
typedef struct ts_type {
  uint8_t code;
  uint16_t lanes;
} ts_type;
static inline ts_type ts_scalar(ts_code c) { return (ts_type){.code = (uint8_t)c, .lanes = 1}; }
static inline ts_type ts_vector(ts_code c, int lanes) { return (ts_type){.code = (uint8_t)c, .lanes = (uint16_t)lanes}; }
static inline bool ts_type_eq(ts_type a, ts_type b) { return a.code == b.code && a.lanes == b.lanes; }
const char *ts_code_name(ts_code c);  // "f32"
bool ts_code_find(const char *name, size_t n, ts_code *out);
int ts_code_bytes(ts_code c);         // bool is 1
bool ts_code_is_float(ts_code c);
bool ts_code_is_int(ts_code c);       // signed or unsigned, not bool
bool ts_code_is_unsigned(ts_code c);
int ts_code_bits(ts_code c);
#define TS_INDEX ts_scalar(TS_I64)    // every loop variable, iterator, dimension and index is i64

// --- expressions ------------------------------------------------------------------------------------------
typedef struct ts_ir ts_ir;
typedef struct ts_expr ts_expr;
typedef struct ts_stmt ts_stmt;
typedef struct ts_block ts_block;
typedef struct ts_buffer ts_buffer;
typedef struct ts_func ts_func;

typedef struct ts_var {
  const char *name;  // a hint; printing makes names unique
  uint32_t id;       // unique in the context
  ts_type type;
} ts_var;

// Kinds and their arguments. Integer arithmetic wraps in the type's width; floordiv and floormod round to
// minus infinity (divisor 0 is an interpreter error); float ops round once to the type.
typedef enum ts_ekind {
#define TS_EXPR(name, text, nargs) TS_E_##name,
#include "ir/expr.def"
#undef TS_EXPR
  TS_E__COUNT
} ts_ekind;

struct ts_expr {
  uint8_t kind;      // ts_ekind
  bool loads;        // is, or has inside, a TS_E_LOAD
  ts_type type;
  uint16_t var_mask; // ts_var_bit of every variable in it: a bit that is clear proves absence
  uint32_t nargs;
  uint32_t id;       // creation order in the context
  uint64_t hash;     // structural; variables and buffers count by identity
  union {
    int64_t i;              // TS_E_INT (bool too: 0 or 1)
    double f;               // TS_E_FLOAT
    const ts_var *var;      // TS_E_VAR
    const ts_buffer *buf;   // TS_E_LOAD
    const char *callee;     // TS_E_CALL: a row of ir/math.def or ir/effect.def, or "llvm.*" inside an intrinsic implementation
  };
  const ts_expr *arg[];
};
const char *ts_ekind_name(ts_ekind k);
static inline uint16_t ts_var_bit(const ts_var *v) { return (uint16_t)(1u << (v->id % 16)); }
bool ts_bin_allowed(ts_ekind k, ts_type t);  // is there such an operator on operands of this type?

// Context. `arena` is the lifetime of every node made through it.
ts_ir *ts_ir_new(ts_arena *arena);
ts_arena *ts_ir_arena(ts_ir *ir);
uint32_t ts_ir_next_id(ts_ir *ir);  // fresh loop / block / buffer id
void **ts_ir_spare(ts_ir *ir);      // where analysis keeps what it may use again with this context

ts_var *ts_var_new(ts_ir *ir, const char *name, ts_type t);
const ts_expr *ts_int(ts_ir *ir, int64_t v);                 // index constant
const ts_expr *ts_const_int(ts_ir *ir, ts_type t, int64_t v);  // wrapped into t; bool allowed
const ts_expr *ts_const_float(ts_ir *ir, ts_type t, double v); // rounded to t
const ts_expr *ts_evar(ts_ir *ir, const ts_var *v);
// Builders fold constants only (no algebra; that is analysis). Operand types must agree (assert).
const ts_expr *ts_bin(ts_ir *ir, ts_ekind k, const ts_expr *a, const ts_expr *b);
const ts_expr *ts_not(ts_ir *ir, const ts_expr *a);
const ts_expr *ts_cast(ts_ir *ir, ts_type t, const ts_expr *a);      // same type: returns a
const ts_expr *ts_bitcast(ts_ir *ir, ts_type t, const ts_expr *a);   // equal total bits
const ts_expr *ts_select(ts_ir *ir, const ts_expr *c, const ts_expr *a, const ts_expr *b);
const ts_expr *ts_load(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx);  // b->ndim indices
// lanes consecutive elements along the last dimension, starting at idx (intrinsic implementations only).
const ts_expr *ts_vload(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx, int lanes);
const ts_expr *ts_broadcast(ts_ir *ir, const ts_expr *a, int lanes);
const ts_expr *ts_call(ts_ir *ir, ts_type t, const char *callee, const ts_expr *const *args, int n);
// Calls that act (effect.def): barriers, asynchronous copies, shuffles. The interpreter runs threadIdx loops with such calls below
// in lockstep, one coroutine a thread, and refuses barriers that not all threads reach.
typedef enum ts_effect {
#define EFFECT(name, callee, nargs, value, doc) TS_EFF_##name,
#include "ir/effect.def"
#undef EFFECT
  TS_EFF__COUNT
} ts_effect;
bool ts_effect_of(const ts_expr *e, ts_effect *out);  // is e such a call?
const ts_expr *ts_effect_call(ts_ir *ir, ts_effect f, const ts_expr *const *args);
const char *ts_effect_name(ts_effect f);  // "sync.block"
const char *ts_effect_doc(ts_effect f);
// Instructions of a target written out, in implementations of tensor intrinsics (docs/tir.md): what they may do with memory, their text,
// and where their operands are.
typedef enum ts_asm_kind { TS_ASM, TS_ASM_PURE, TS_ASM_READS } ts_asm_kind;
typedef struct ts_asm {
  ts_asm_kind kind;
  const char *text, *constraints;
} ts_asm;
const char *ts_asm_name(ts_asm_kind k);  // "asm" "asm.pure" "asm.reads"
const ts_expr *ts_asm_call(ts_ir *ir, ts_type t, const ts_asm *x, const ts_expr *const *args, int n);
bool ts_asm_of(ts_arena *a, const ts_expr *e, ts_asm *out);  // is e such a call? its texts go to a, which may be NULL: only the kind then
// Same kind, type and payload as e with other arguments; returns e itself when none changed.
const ts_expr *ts_expr_with(ts_ir *ir, const ts_expr *e, const ts_expr *const *args);
static inline const ts_expr *ts_add(ts_ir *ir, const ts_expr *a, const ts_expr *b);
static inline const ts_expr *ts_sub(ts_ir *ir, const ts_expr *a, const ts_expr *b);
static inline const ts_expr *ts_mul(ts_ir *ir, const ts_expr *a, const ts_expr *b);
bool ts_is_int(const ts_expr *e, int64_t *v);  // integer constant? (v may be NULL)

// --- buffers ------------------------------------------------------------------------------------------------
// Row-major, compact unless strides are given. Scopes: "global", "local" (registers), "shared", "fragment.*".
struct ts_buffer {
  const char *name;
  uint32_t id;
  ts_code code;
  int ndim;                      // 0 is one element
  const ts_expr *const *shape;
  const ts_expr *const *stride;  // in elements, NULL when compact
  const ts_expr *offset;         // in elements, NULL when 0
  const char *scope;             // interned, compare with strcmp
  int align;                     // bytes; 0 means the target's vector width
  struct { int axis, factor, offset; } skew;  // how the strides were made: that of axis is offset modulo factor; factor 0: not so
  int64_t distinct;              // of a parameter that is read: its elements differ, and lie in 0 .. distinct - 1; 0: nothing is said
};
bool ts_scope_known(const char *scope);
// Strides from the shape, as b->skew says: when it is set or the shape has changed.
void ts_buffer_skew(ts_ir *ir, ts_buffer *b);
ts_buffer *ts_buffer_new(ts_ir *ir, const char *name, ts_code code, int ndim, const ts_expr *const *shape, const char *scope);

// --- annotations ----------------------------------------------------------------------------------------------
typedef struct ts_note {  // key = int | float | string
  const char *key;
  enum { TS_NOTE_INT, TS_NOTE_FLOAT, TS_NOTE_STR } kind;
  int64_t i;
  double f;
  const char *s;
} ts_note;
typedef struct ts_notes {
  int n;
  const ts_note *p;  // sorted by key
} ts_notes;
const ts_note *ts_notes_find(ts_notes n, const char *key);
ts_notes ts_notes_with(ts_arena *a, ts_notes n, ts_note note);      // added or replaced
ts_notes ts_notes_without(ts_arena *a, ts_notes n, const char *key);

// --- statements ------------------------------------------------------------------------------------------------
typedef enum ts_skind { TS_S_SEQ, TS_S_FOR, TS_S_BLOCK, TS_S_STORE, TS_S_IF, TS_S_LET, TS_S_ALLOC, TS_S_EVAL, TS_S__COUNT } ts_skind;
typedef enum ts_loop_kind { TS_SERIAL, TS_PARALLEL, TS_VECTORIZE, TS_UNROLL, TS_THREAD, TS_LOOP_KIND__COUNT } ts_loop_kind;
typedef enum ts_axis {  // for TS_THREAD loops
  TS_AXIS_NONE, TS_BLOCK_X, TS_BLOCK_Y, TS_BLOCK_Z, TS_THREAD_X, TS_THREAD_Y, TS_THREAD_Z, TS_VTHREAD, TS_AXIS__COUNT
} ts_axis;
const char *ts_loop_kind_name(ts_loop_kind k);
const char *ts_axis_name(ts_axis a);  // "blockIdx.x"

typedef struct ts_range {  // [min, min + extent)
  const ts_expr *min, *extent;
} ts_range;
typedef struct ts_region {  // one range per dimension of buf
  const ts_buffer *buf;
  const ts_range *dim;
} ts_region;
typedef enum ts_iter_kind { TS_ITER_SPATIAL, TS_ITER_REDUCE, TS_ITER_OPAQUE, TS_ITER_KIND__COUNT } ts_iter_kind;
typedef struct ts_iter {
  const ts_var *var;
  ts_iter_kind kind;
  ts_range dom;           // usually 0 .. extent
  const ts_expr *value;   // binding, in terms of enclosing loop variables (and outer iterators)
} ts_iter;
// View of a tensorized operand: operand `name` of the intrinsic is this block's `buf`, starting at `start` (one index per
// dimension of buf); step[i][d] is how far index d of buf moves per unit of dimension i of the operand.
typedef struct ts_operand {
  const char *name;
  const ts_buffer *buf;
  const ts_expr *const *start;
  int ndim;                 // of the operand
  const int64_t *const *step;
} ts_operand;

// A block: a unit of computation that declares its iterators and accesses. Iterator bindings and the predicate live here too
// (TVM's block realisation). `init` runs before the body when every reduce iterator is at its minimum. A tensorized block keeps
// its body, which stays its meaning, and names the intrinsic that lowering puts in its place.
struct ts_block {
  const char *name;       // unique in the function
  int niters;
  const ts_iter *iters;
  const ts_expr *predicate;   // NULL means true
  int nreads, nwrites;
  const ts_region *reads, *writes;
  bool explicit_access;       // declared by hand; printed; not recomputed
  const ts_stmt *init;        // or NULL
  const ts_stmt *body;
  int nallocs;
  const ts_buffer *const *allocs;
  ts_notes notes;
  const char *intrin;         // or NULL
  int noperands;
  const ts_operand *operands;
};

struct ts_stmt {
  ts_skind kind;
  uint32_t id;  // FOR and BLOCK: stable identity; else 0
  union {
    struct { int n; const ts_stmt *const *child; } seq;
    struct {
      const ts_var *var;
      const ts_expr *min, *extent;
      ts_loop_kind kind;
      ts_axis axis;
      ts_notes notes;
      const ts_stmt *body;
    } loop;
    const ts_block *block;
    struct { const ts_buffer *buf; const ts_expr *const *idx; const ts_expr *value; } store;
    struct { const ts_expr *cond; const ts_stmt *then, *other; } cond;  // other may be NULL
    struct { const ts_var *var; const ts_expr *value; const ts_stmt *body; } let;
    struct { const ts_buffer *buf; const ts_stmt *body; } alloc;  // after lowering
    const ts_expr *eval;
  };
};
const ts_stmt *ts_seq(ts_ir *ir, const ts_stmt *const *child, int n);  // flattens; n == 1 returns the child
const ts_stmt *ts_for(ts_ir *ir, const ts_var *v, const ts_expr *min, const ts_expr *extent, ts_loop_kind k, const ts_stmt *body);
const ts_stmt *ts_block_stmt(ts_ir *ir, const ts_block *b);
const ts_stmt *ts_store(ts_ir *ir, const ts_buffer *b, const ts_expr *const *idx, const ts_expr *value);
const ts_stmt *ts_if(ts_ir *ir, const ts_expr *c, const ts_stmt *then, const ts_stmt *other);
const ts_stmt *ts_let(ts_ir *ir, const ts_var *v, const ts_expr *value, const ts_stmt *body);
const ts_stmt *ts_alloc(ts_ir *ir, const ts_buffer *b, const ts_stmt *body);
const ts_stmt *ts_eval(ts_ir *ir, const ts_expr *e);
const ts_stmt *ts_stmt_copy(ts_ir *ir, const ts_stmt *s, ts_stmt **out);  // shallow copy to be edited; id kept

// --- functions ------------------------------------------------------------------------------------------------
typedef struct ts_dim {  // a symbolic dimension: a scalar argument known only at run time
  const ts_var *var;
  int64_t lo, hi;        // facts: lo <= var <= hi
  int64_t multiple;      // var % multiple == 0; 1 when nothing is known
} ts_dim;
typedef struct ts_param {
  const ts_buffer *buf;
  enum { TS_IN, TS_OUT, TS_INOUT } role;
  enum { TS_WARM, TS_COLD } cache;  // cold: weights and KV pages when measured
} ts_param;
typedef enum ts_stage { TS_STAGE_BLOCKS, TS_STAGE_LOOPS } ts_stage;  // with blocks; lowered (no blocks)
struct ts_func {
  const char *name;
  int ndims;
  const ts_dim *dims;
  int nparams;
  const ts_param *params;
  ts_stage stage;
  ts_notes notes;       // tolerance = 1e-3, implements = "dequant_matmul", ...
  const ts_stmt *body;  // BLOCKS: a block "root" without iterators that owns the intermediate buffers
};

// --- walking ------------------------------------------------------------------------------------------------
// Substitution of variables. map[i].from -> map[i].to, all at once.
typedef struct ts_subst {
  const ts_var *from;
  const ts_expr *to;
} ts_subst;
const ts_expr *ts_expr_subst(ts_ir *ir, const ts_expr *e, const ts_subst *m, int n);
const ts_stmt *ts_stmt_subst(ts_ir *ir, const ts_stmt *s, const ts_subst *m, int n);
// Rewriting, bottom-up: f returns a replacement or its argument. Unchanged subtrees keep their pointers.
typedef const ts_expr *(*ts_expr_fn)(void *arg, const ts_expr *e);
typedef const ts_stmt *(*ts_stmt_fn)(void *arg, const ts_stmt *s);
const ts_expr *ts_expr_rewrite(ts_ir *ir, const ts_expr *e, ts_expr_fn f, void *arg);
const ts_stmt *ts_stmt_rewrite(ts_ir *ir, const ts_stmt *s, ts_stmt_fn fs, ts_expr_fn fe, void *arg);  // either may be NULL
// Substitution and rewriting reach every expression of the statement except the shapes of buffers: a buffer is an identity.
// Every use of `from` (loads, stores, regions, operands, the allocation) becomes `to`, of the same type and rank.
const ts_stmt *ts_stmt_replace_buffer(ts_ir *ir, const ts_stmt *s, const ts_buffer *from, const ts_buffer *to);
// Visiting, top-down; the callback returns false to skip the subtree.
void ts_expr_visit(const ts_expr *e, bool (*f)(void *, const ts_expr *), void *arg);
void ts_stmt_visit(const ts_stmt *s, bool (*fs)(void *, const ts_stmt *), bool (*fe)(void *, const ts_expr *), void *arg);
bool ts_expr_uses_var(const ts_expr *e, const ts_var *v);
// New copies of all loops, blocks, loop variables, iterators and inner buffers of s (fresh ids).
const ts_stmt *ts_stmt_clone(ts_ir *ir, const ts_stmt *s);
// Import a function from another context (both may be the same).
const ts_func *ts_func_clone(ts_ir *ir, const ts_func *f);

// --- text ------------------------------------------------------------------------------------------------
// The language is described in docs/tir.md. print(parse(t)) == t for canonical t; parse(print(f)) equals f.
// Value of a named parameter of an operator file. An INT whose name is a symbolic dimension makes that dimension a constant
// (it is no argument then); a DIM replaces the facts about one: lo = i, hi, multiple.
typedef struct ts_bind {
  const char *name;
  enum { TS_BIND_INT, TS_BIND_FLOAT, TS_BIND_TYPE, TS_BIND_DIM } kind;
  int64_t i, hi, multiple;
  double f;
  ts_code code;
} ts_bind;
void ts_func_print(ts_text *out, const ts_func *f);
void ts_stmt_print(ts_text *out, const ts_stmt *s, int indent);
void ts_expr_print(ts_text *out, const ts_expr *e);
// As ts_func_print, with "> " before the line of each loop or block whose id is in mark[] and a "# note" after it.
typedef struct ts_mark { uint32_t id; const char *note; } ts_mark;
void ts_func_print_marked(ts_text *out, const ts_func *f, const ts_mark *mark, int n);
// Parse one function (canonical form, or an operator body with named parameters taken from bind[]).
const ts_func *ts_func_parse(ts_ir *ir, const char *file, const char *text, size_t n, const ts_bind *bind, int nbind, ts_diag *d) TS_WARN_UNUSED;
// The same from a running lexer (operator files hold several functions). `m` may be NULL.
struct ts_macros;
const ts_func *ts_func_parse_at(ts_ir *ir, ts_lex *l, const ts_bind *bind, int nbind, const struct ts_macros *m, ts_diag *d) TS_WARN_UNUSED;
// An expression over given variables and buffers, for tests and constraints.
const ts_expr *ts_expr_parse_at(ts_ir *ir, ts_lex *l, const ts_var *const *vars, int nvars, const ts_bind *bind, int nbind, ts_diag *d) TS_WARN_UNUSED;

// Quantized parameters. A parameter written `w: weight[N, K]` stands for the storage buffers of a quantization row and
// a load w[i, k] for its dequantization expression. A macro says how (see kernels/quant/*.tir):
//   weight { q: u32[N, K / 8], s: f16[N, K / 32] }
//   value(i, k): f32 = (cast(f32, (q[i, k // 8] >> cast(u32, k % 8 * 4)) & 15) - 7.0) * cast(f32, s[i, k // 32])
// The storage of parameter w becomes parameters w_q and w_s.
typedef struct ts_macros {
  const char *file, *text;  // the text of the quantization row
  size_t n;
} ts_macros;

// --- verify, compare, hash ----------------------------------------------------------------------------------
// Stage rules: every variable bound, types agree, index counts, unique block names and ids, iterator domains, reads and
// writes cover the body (unless explicit), scopes known. BUG diagnostic with the complaint beside its line.
bool ts_func_verify(const ts_func *f, ts_diag *d) TS_WARN_UNUSED;
bool ts_func_equal(const ts_func *a, const ts_func *b);  // up to names of variables and ids; block names count
uint64_t ts_func_hash(const ts_func *f);                 // equal functions hash alike on every platform
ts_sha256 ts_func_sha256(const ts_func *f);              // of the canonical text: identity in stores
// Facts of dimensions (facts.c): "8 <= n <= 128, n % 32 == 0".
void ts_dim_print(ts_text *out, const ts_dim *x);
// Does f hold for every size that the dimensions of `wanted` admit (by name)? Refusal "narrower-facts".
bool ts_func_serves(const ts_func *f, const ts_func *wanted, ts_diag *d) TS_WARN_UNUSED;
// Recompute reads and writes of every block that is not explicit, from its body. Indices affine in inner loop variables and inner
// iterators become ranges over them; anything else becomes the whole dimension. The result covers every access.
const ts_stmt *ts_stmt_infer_access(ts_ir *ir, const ts_stmt *s);

// --- interpreter ------------------------------------------------------------------------------------------------
// The judge of meaning. Runs a function of either stage on arrays in memory. Refuses with: out-of-bounds, uninitialised-read,
// division-by-zero, write-to-input, race (two iterations of one parallel or vectorised loop, or thread-bound loop, touch the same
// element and one writes; what a block reduces along a loop over threadIdx is combined, and no race). Tensorized blocks run their body.
typedef struct ts_array {  // compact row-major storage owned by the caller
  ts_code code;
  int ndim;
  int64_t shape[8];
  void *data;
} ts_array;
typedef struct ts_interp_opts {
  uint64_t max_steps;   // 0: no limit; else refusal "too-many-steps"
  bool check_races;
  bool stops;           // at a signal (ts_interrupted): refusal "interrupted"
} ts_interp_opts;
// dims: values of f->dims in order. args: one per parameter, shapes checked against the evaluated dimensions.
bool ts_interp_run(const ts_func *f, const int64_t *dims, ts_array *const *args, const ts_interp_opts *o, ts_diag *d) TS_WARN_UNUSED;
// Evaluate an integer expression whose variables are given by (vars, values).
bool ts_eval_int(const ts_expr *e, const ts_var *const *vars, const int64_t *values, int n, int64_t *out) TS_WARN_UNUSED;
int64_t ts_array_count(const ts_array *a);
double ts_array_get(const ts_array *a, int64_t i);        // element i as a double
void ts_array_set(ts_array *a, int64_t i, double v);      // rounded to the element type
void ts_array_set_distinct(ts_array *a, int64_t below, uint64_t key);  // different numbers below `below`, in an order that the key picks

static inline const ts_expr *ts_add(ts_ir *ir, const ts_expr *a, const ts_expr *b) { return ts_bin(ir, (ts_ekind)TS_E_ADD, a, b); }
static inline const ts_expr *ts_sub(ts_ir *ir, const ts_expr *a, const ts_expr *b) { return ts_bin(ir, (ts_ekind)TS_E_SUB, a, b); }
static inline const ts_expr *ts_mul(ts_ir *ir, const ts_expr *a, const ts_expr *b) { return ts_bin(ir, (ts_ekind)TS_E_MUL, a, b); }

#endif
