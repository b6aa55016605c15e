// codegen, inside: the state of LLVM emission and the steps that the llvm_*.c files share.
//
// Values in registers: bool is i1, f16 and bf16 are their bits in i16, the rest is LLVM's type of the same name. A
// value has lanes: 1 is a scalar (the same for all lanes of a vector loop), more is an LLVM vector.
#ifndef TS_CODEGEN_GEN_H
#define TS_CODEGEN_GEN_H

#include <llvm-c/Core.h>

#include "codegen/codegen_impl.h"

typedef struct ts__val {
  LLVMValueRef v;
  int lanes;
} ts__val;

typedef struct ts__bound {  // a variable in scope
  const ts_var *var;
  ts__val val;  // its value; of the vector loop's variable: that of lane 0
  bool known;   // the value is the constant `value`
  int64_t value;
  int64_t multiple;  // the value is a multiple of this, at least 1
  bool nonneg;
  const ts_expr *let;  // the definition when bound by a let
} ts__bound;

typedef struct ts__place {  // a buffer in scope
  const ts_buffer *buf;
  LLVMValueRef ptr;
} ts__place;

typedef struct ts__memo {  // an expression already computed for the statement at hand
  const ts_expr *e;
  bool lane0;
  ts__val val;
} ts__memo;

enum { TS__MAX_VECTOR = 64 };  // lanes of a vector loop's step

struct ts__nv;
typedef struct ts__gen {
  const ts_func *f;
  const ts_target *t;
  ts_arena *arena;
  ts_diag *d;
  bool failed;
  const char *symbol;
  LLVMContextRef ctx;
  LLVMModuleRef mod;
  LLVMBuilderRef b;
  struct ts__nv *nv;      // of a GPU (nvptx.h); NULL for the CPU
  ts_ir *nv_ir;           // for sizes that are made there
  bool contract;          // a * b + c may be computed in one rounding
  bool f16c, fma, sse41;  // of the target
  int64_t budget;         // expressions that may still be emitted
  int outlined;           // parallel bodies so far
  // The LLVM function being filled.
  LLVMValueRef fn, rt, workspace;
  LLVMBasicBlockRef allocas;  // its entry block, which holds the stack slots
  bool in_parallel;
  int64_t stack;         // bytes of stack slots so far
  LLVMValueRef ws_used;  // bytes of workspace taken by the allocations in scope
  TS_VEC(ts__bound) vars;
  TS_VEC(ts__place) places;
  TS_VEC(ts__memo) memo;
  // The vector loop around the code, if any.
  const ts_var *lane_var;
  int lanes;
  bool lane0;         // emitting for lane 0 only
  LLVMValueRef mask;  // active lanes; NULL is all
} ts__gen;

// --- types and failures (llvm_value.c) ----------------------------------------------------------------------
LLVMTypeRef ts__g_reg_type(ts__gen *g, ts_code c, int lanes);  // in registers
LLVMTypeRef ts__g_mem_type(ts__gen *g, ts_code c, int lanes);  // in memory: bool is i8
LLVMTypeRef ts__g_int_type(ts__gen *g, int bits, int lanes);
LLVMTypeRef ts__g_float_type(ts__gen *g, int bits, int lanes);
LLVMValueRef ts__g_const_int(ts__gen *g, int bits, int lanes, int64_t v);
LLVMValueRef ts__g_const_f32(ts__gen *g, int lanes, double v);
LLVMValueRef ts__g_const_float(ts__gen *g, int bits, int lanes, double v);
LLVMValueRef ts__g_i64(ts__gen *g, int64_t v);
LLVMValueRef ts__g_splat(ts__gen *g, LLVMValueRef v, int lanes);  // scalar -> vector; lanes 1: v itself
ts__val ts__g_widen(ts__gen *g, ts__val v, int lanes);            // broadcast a scalar; same lanes: v itself
LLVMValueRef ts__g_lane(ts__gen *g, ts__val v, int i);            // one lane as a scalar
LLVMValueRef ts__g_intrinsic(ts__gen *g, const char *name, LLVMTypeRef overload, LLVMValueRef *args, unsigned n);
ts__val ts__g_fail(ts__gen *g, ts_type t, const char *code, const char *fmt, ...) TS_PRINTF(4, 5);
LLVMBasicBlockRef ts__g_block(ts__gen *g, const char *name);
LLVMValueRef ts__g_slot(ts__gen *g, LLVMTypeRef t, unsigned align);  // stack slot in the entry block
ts__bound *ts__g_find_var(ts__gen *g, const ts_var *v);
LLVMValueRef ts__g_find_place(ts__gen *g, const ts_buffer *b);
void ts__g_bind(ts__gen *g, ts__bound b);

// --- conversions (llvm_cast.c) ------------------------------------------------------------------------------
LLVMValueRef ts__g_to_f32(ts__gen *g, ts_code from, LLVMValueRef v, int lanes);  // f16 or bf16 bits -> float
LLVMValueRef ts__g_from_f32(ts__gen *g, ts_code to, LLVMValueRef v,
                            int lanes);                                  // float -> f16 or bf16 bits, nearest even
ts__val ts__g_convert(ts__gen *g, ts_code to, ts_code from, ts__val v);  // the meaning of cast

// --- arithmetic (llvm_arith.c, llvm_math.c): operands have equal lanes ------------------------------------------
LLVMValueRef ts__g_binary(ts__gen *g, ts_ekind k, ts_code c, LLVMValueRef x, LLVMValueRef y, int lanes, bool nonneg);
LLVMValueRef ts__g_math(ts__gen *g, const char *name, ts_code c, LLVMValueRef *args, int n, int lanes);
LLVMValueRef ts__g_round_even(ts__gen *g, LLVMValueRef v, int bits, int lanes);  // float or double
LLVMValueRef ts__g_fma(ts__gen *g, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z, int bits, int lanes);

// --- expressions (llvm_expr.c, llvm_mem.c, llvm_lane.c) ----------------------------------------------------------
ts__val ts__g_expr(ts__gen *g, const ts_expr *e);
LLVMValueRef ts__g_scalar(ts__gen *g, const ts_expr *e);  // for lane 0, or outside vector loops
bool ts__g_nonneg(ts__gen *g, const ts_expr *e);          // proved not negative
void ts__g_forget(ts__gen *g, size_t mark);               // drop memos made since
ts__val ts__g_load(ts__gen *g, const ts_expr *e);
void ts__g_store(ts__gen *g, const ts_stmt *s);
LLVMValueRef ts__g_address(ts__gen *g, const ts_expr *load, int *align);
// Is e == (e at lane 0) + off[lane] with constants off? Fills g->lanes of them.
bool ts__g_lane_offsets(ts__gen *g, const ts_expr *e, int64_t *off);
bool ts__g_varies(ts__gen *g, const ts_expr *e);        // may differ between lanes
bool ts__g_multiple(ts__gen *g, const ts_expr *e, int64_t n);  // is e (at lane 0) proved to be a multiple of n?
bool ts__g_may_trap(const ts_expr *e);                  // must not be evaluated where the program does not
LLVMValueRef ts__g_any(ts__gen *g, LLVMValueRef mask);  // i1: some lane is set

// --- statements, functions (llvm_stmt.c, llvm_vector.c, llvm_par.c, llvm_func.c) ---------------------------------
void ts__g_stmt(ts__gen *g, const ts_stmt *s);
void ts__g_vector_loop(ts__gen *g, const ts_stmt *s, int64_t extent);
void ts__g_parallel_loop(ts__gen *g, const ts_stmt *s);
void ts__g_serial_loop(ts__gen *g, const ts_stmt *s);
// The body of loop s with its variable at v.
void ts__g_loop_body(ts__gen *g, const ts_stmt *s, LLVMValueRef v);
// `for i = from; i < to; i += step`: body(g, s, i). A loop known to run at least once has no test in front.
typedef void (*ts__loop_fn)(ts__gen *g, const ts_stmt *s, LLVMValueRef i);
void ts__g_counted(ts__gen *g, LLVMValueRef from, LLVMValueRef to, int64_t step, bool once, ts__loop_fn body,
                   const ts_stmt *s);
LLVMValueRef ts__g_buffer_bytes(ts__gen *g, const ts_buffer *b);  // a multiple of 64, on GPUs of 256
void ts__g_function(ts__gen *g);                                  // the kernel and its workspace function
LLVMValueRef ts__g_new_function(ts__gen *g, const char *name, LLVMTypeRef type, bool visible);
void ts__g_attribute(ts__gen *g, LLVMValueRef fn, unsigned index, const char *name, uint64_t value);
// A pointer parameter that nothing else in the function aliases, 64-byte aligned.
void ts__g_pointer_param(ts__gen *g, LLVMValueRef fn, unsigned index);

#endif
