// ir_impl: what the files of src/ir share.
#ifndef TS_IR_IMPL_H
#define TS_IR_IMPL_H

#include "ir/ir.h"

enum { TS__MAX_DIMS = 8, TS__MAX_LANES = 1024, TS__MAX_NEST = 400, TS__MAX_OPS = 4000, TS__RECENT_BITS = 7, TS__RECENT = 1 << TS__RECENT_BITS };

// --- pointer maps (ptrmap.c) --------------------------------------------------------------------------------
// Key pointer to 64-bit value; grows inside an arena.
typedef struct ts__ptrmap {
  ts_arena *arena;
  struct ts__ptrslot {
    const void *key;
    uint64_t value;
  } * slot;
  uint32_t cap, count;
} ts__ptrmap;
bool ts__ptrmap_get(const ts__ptrmap *m, const void *key, uint64_t *value);
void ts__ptrmap_put(ts__ptrmap *m, const void *key, uint64_t value);

// --- context (context.c) ----------------------------------------------------------------------------------
struct ts_ir {
  ts_arena *arena;
  uint32_t next_id, next_expr;
  const ts_expr **table;  // open addressing, power of two
  uint32_t cap, count;
  ts__ptrmap inferred;     // blocks whose accesses are those of their bodies
  ts__ptrmap touched;      // bodies of blocks: what they touch (access.c)
  ts__ptrmap collected;    // nests of blocks: what collecting their accesses found (access.c)
  const ts_expr *recent_int[TS__RECENT], *recent_var[TS__RECENT];  // index constants and variables, as they were last asked for
  void *spare;             // of ts_ir_spare
};

// Like ts_expr_with, but always builds, for arguments of another context.
const ts_expr *ts__expr_rebuild(ts_ir *ir, const ts_expr *e, const ts_expr *const *args);

// --- constants (fold.c): the one definition of arithmetic, used by builders and interpreter ---------------
int64_t ts__wrap(ts_code c, int64_t v);  // to the code's width: sign- or zero-extended into 64 bits
double ts__round(ts_code c, double v);   // to the code's precision, once
// False when the result is not defined: division by zero, shift count outside the width.
bool ts__fold_int(ts_ekind k, ts_code c, int64_t a, int64_t b, int64_t *out);
double ts__fold_float(ts_ekind k, ts_code c, double a, double b);
bool ts__compare_int(ts_ekind k, ts_code c, int64_t a, int64_t b);
bool ts__compare_float(ts_ekind k, double a, double b);
int64_t ts__float_to_int(ts_code to, double v);  // truncates, saturates; NaN gives 0
double ts__int_to_float(ts_code to, ts_code from, int64_t v);
bool ts__ekind_is_compare(ts_ekind k);
bool ts__ekind_is_binary(ts_ekind k);
void ts__pack(ts_code c, void *at, int64_t i, double f);  // one element into memory
void ts__unpack(ts_code c, const void *at, int64_t *i, double *f);
int ts__math_args(const char *callee);  // number of arguments of a row of math.def, -1 when there is none
bool ts__effect_find(const char *callee, ts_effect *out);
bool ts__asm_find(const char *name, size_t n, ts_asm_kind *out);
int ts__effect_args(ts_effect f);
bool ts__effect_is_value(ts_effect f);

// --- mapping trees (map.c) ------------------------------------------------------------------------------------
// One description of how a statement is rebuilt; rewriting, substitution and cloning are instances of it.
typedef struct ts__mapper ts__mapper;
struct ts__mapper {
  ts_ir *ir;
  const ts_expr *(*expr)(ts__mapper *m, const ts_expr *e);        // a whole expression; NULL: unchanged
  const ts_stmt *(*stmt)(ts__mapper *m, const ts_stmt *s);        // after the children; NULL: unchanged
  bool (*skip)(ts__mapper *m, const ts_stmt *s);                  // leave this subtree alone; NULL: none
  const ts_var *(*var)(ts__mapper *m, const ts_var *v);           // binders; NULL: unchanged
  const ts_buffer *(*buffer)(ts__mapper *m, const ts_buffer *b);  // uses and allocations; NULL: unchanged
  bool fresh;                                                     // copy every node, give loops and blocks new ids
  bool foreign;  // copy strings and arrays too: the source may be freed
  void *arg;
};
const ts_stmt *ts__map_stmt(ts__mapper *m, const ts_stmt *s);
ts_notes ts__notes_copy(ts_arena *a, ts_notes n);

// --- printing (print.c) -----------------------------------------------------------------------------------
bool ts__is_reserved(const char *name);
// As ts_func_print, with variables and buffers numbered in order of binding instead of named.
void ts__func_print_canonical(ts_text *out, const ts_func *f);

#endif
