// Expressions. In a vector loop an expression that does not depend on the lane stays scalar.
#include <llvm-c/Target.h>

#include "codegen/nvptx.h"

static ts__val emit(ts__gen *g, const ts_expr *e);

void ts__g_forget(ts__gen *g, size_t mark) { g->memo.n = mark; }

// Each distinct expression is computed once per statement (equal expressions are one pointer).
ts__val ts__g_expr(ts__gen *g, const ts_expr *e) {
  if (g->failed || --g->budget < 0) return ts__g_fail(g, e->type, "code-too-large", "the unrolled code is too large");
  if (e->kind > TS_E_VAR)
    for (size_t i = g->memo.n; i-- > 0;)
      if (g->memo.p[i].e == e && g->memo.p[i].lane0 == g->lane0) return g->memo.p[i].val;
  ts__val v = emit(g, e);
  if (e->kind > TS_E_VAR) ts_vec_push(g->arena, &g->memo, ((ts__memo){e, g->lane0, v}));
  return v;
}

LLVMValueRef ts__g_scalar(ts__gen *g, const ts_expr *e) {
  bool before = g->lane0;
  g->lane0 = true;
  ts__val v = ts__g_expr(g, e);
  g->lane0 = before;
  return v.v;
}

// base + off[lane] as a vector of 64-bit integers.
static ts__val stepped(ts__gen *g, LLVMValueRef base, const int64_t *off) {
  LLVMValueRef lane[TS__MAX_VECTOR];
  for (int i = 0; i < g->lanes; i++) lane[i] = ts__g_i64(g, off[i]);
  LLVMValueRef steps = LLVMConstVector(lane, (unsigned)g->lanes);
  return (ts__val){LLVMBuildAdd(g->b, ts__g_splat(g, base, g->lanes), steps, ""), g->lanes};
}

static ts__val variable(ts__gen *g, const ts_expr *e) {
  ts__bound *b = ts__g_find_var(g, e->var);
  if (!b) return ts__g_fail(g, e->type, "unbound-variable", "variable %.60s has no value", e->var->name);
  if (g->lane0 && b->let && b->val.lanes > 1) return (ts__val){ts__g_scalar(g, b->let), 1};
  if (e->var != g->lane_var || g->lane0) return b->val;
  int64_t off[TS__MAX_VECTOR];
  for (int i = 0; i < g->lanes; i++) off[i] = i;
  return stepped(g, b->val.v, off);
}

// An index expression that varies by constants is its value at lane 0 plus a constant vector.
static bool by_steps(ts__gen *g, const ts_expr *e, ts__val *out) {
  int64_t off[TS__MAX_VECTOR];
  if (!g->lane_var || g->lane0 || e->type.code != TS_I64 || !ts__g_varies(g, e) || !ts__g_lane_offsets(g, e, off))
    return false;
  *out = stepped(g, ts__g_scalar(g, e), off);
  return true;
}

static ts__val binary(ts__gen *g, const ts_expr *e) {
  ts__val stepwise;
  if (by_steps(g, e, &stepwise)) return stepwise;
  ts_code c = e->arg[0]->type.code;
  ts__val x = ts__g_expr(g, e->arg[0]), y = ts__g_expr(g, e->arg[1]);
  int n = TS_MAX(x.lanes, y.lanes);
  x = ts__g_widen(g, x, n), y = ts__g_widen(g, y, n);
  bool nonneg = (e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD) && ts__g_nonneg(g, e->arg[0]) &&
                ts__g_nonneg(g, e->arg[1]);
  LLVMValueRef v = ts__g_binary(g, (ts_ekind)e->kind, c, x.v, y.v, n, nonneg);
  if (!v)
    return ts__g_fail(g, e->type, "no-code", "no code for %s on %s", ts_ekind_name((ts_ekind)e->kind), ts_code_name(c));
  return (ts__val){v, n};
}

LLVMValueRef ts__g_any(ts__gen *g, LLVMValueRef mask) {
  LLVMTypeRef t = LLVMTypeOf(mask);
  if (LLVMGetTypeKind(t) != LLVMVectorTypeKind) return mask;
  return ts__g_intrinsic(g, "llvm.vector.reduce.or", t, &mask, 1);
}

// An arm of a select that may only be evaluated where it is chosen: under its own branch and mask.
static ts__val guarded_arm(ts__gen *g, const ts_expr *arm, ts__val chosen) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(g->b), then = ts__g_block(g, "arm"), end = ts__g_block(g, "armend");
  LLVMValueRef outer = g->mask;
  if (chosen.lanes > 1) g->mask = outer ? LLVMBuildAnd(g->b, outer, chosen.v, "") : chosen.v;
  LLVMBuildCondBr(g->b, ts__g_any(g, chosen.lanes > 1 ? g->mask : chosen.v), then, end);
  LLVMPositionBuilderAtEnd(g->b, then);
  size_t mark = g->memo.n;
  ts__val v = ts__g_expr(g, arm);
  ts__g_forget(g, mark);
  g->mask = outer;
  LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
  LLVMBuildBr(g->b, end);
  LLVMPositionBuilderAtEnd(g->b, end);
  LLVMValueRef phi = LLVMBuildPhi(g->b, LLVMTypeOf(v.v), "");
  LLVMValueRef values[] = {v.v, LLVMConstNull(LLVMTypeOf(v.v))};
  LLVMBasicBlockRef blocks[] = {from, before};
  LLVMAddIncoming(phi, values, blocks, 2);
  return (ts__val){phi, v.lanes};
}

static ts__val select_one(ts__gen *g, const ts_expr *e) {
  ts__val c = ts__g_expr(g, e->arg[0]);
  if (c.lanes == 1 && LLVMIsAConstantInt(c.v)) return ts__g_expr(g, e->arg[LLVMConstIntGetZExtValue(c.v) ? 1 : 2]);
  ts__val not_c = {LLVMBuildNot(g->b, c.v, ""), c.lanes};
  ts__val x = ts__g_may_trap(e->arg[1]) ? guarded_arm(g, e->arg[1], c) : ts__g_expr(g, e->arg[1]);
  ts__val y = ts__g_may_trap(e->arg[2]) ? guarded_arm(g, e->arg[2], not_c) : ts__g_expr(g, e->arg[2]);
  int n = TS_MAX(x.lanes, y.lanes);
  if (c.lanes > n) n = c.lanes;
  x = ts__g_widen(g, x, n), y = ts__g_widen(g, y, n);
  return (ts__val){LLVMBuildSelect(g->b, c.v, x.v, y.v, ""), n};
}

// && and || whose right side may only be evaluated when the left one leaves it open.
static ts__val short_circuit(ts__gen *g, const ts_expr *e) {
  ts__val x = ts__g_expr(g, e->arg[0]);
  bool is_and = e->kind == TS_E_AND;
  ts__val open = is_and ? x : (ts__val){LLVMBuildNot(g->b, x.v, ""), x.lanes};
  ts__val y = guarded_arm(g, e->arg[1], open);
  int n = TS_MAX(x.lanes, y.lanes);
  x = ts__g_widen(g, x, n), y = ts__g_widen(g, y, n);
  return (ts__val){is_and ? LLVMBuildAnd(g->b, x.v, y.v, "") : LLVMBuildOr(g->b, x.v, y.v, ""), n};
}

static ts__val call_math(ts__gen *g, const ts_expr *e) {
  ts__val arg[3];
  int n = e->type.lanes;
  if (e->nargs < 1 || e->nargs > 3)
    return ts__g_fail(g, e->type, "no-code", "%.60s: wrong number of arguments", e->callee);
  for (uint32_t i = 0; i < e->nargs; i++) {
    arg[i] = ts__g_expr(g, e->arg[i]);
    n = TS_MAX(n, arg[i].lanes);
  }
  LLVMValueRef v[3];
  for (uint32_t i = 0; i < e->nargs; i++) v[i] = ts__g_widen(g, arg[i], n).v;
  LLVMValueRef r = ts__g_math(g, e->callee, e->type.code, v, (int)e->nargs, n);
  if (!r) return ts__g_fail(g, e->type, "no-code", "there is no function %.60s", e->callee);
  return (ts__val){r, n};
}

// The declaration of an LLVM intrinsic by its full name; its overloaded types are found among those of the call.
static LLVMValueRef declare(ts__gen *g, const char *name, LLVMTypeRef ret, LLVMTypeRef *args, unsigned n,
                            LLVMTypeRef *type) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  if (!id) return NULL;
  if (!LLVMIntrinsicIsOverloaded(id)) {
    *type = LLVMIntrinsicGetType(g->ctx, id, NULL, 0);
    return LLVMGetIntrinsicDeclaration(g->mod, id, NULL, 0);
  }
  LLVMTypeRef sets[3][2] = {{ret, NULL}, {n ? args[0] : ret, NULL}, {ret, n ? args[0] : ret}};
  for (int i = 0; i < 3; i++) {
    size_t len, types = i == 2 ? 2 : 1;
    char *full = (char *)(uintptr_t)LLVMIntrinsicCopyOverloadedName2(g->mod, id, sets[i], types, &len);
    bool same = strlen(name) == len && memcmp(full, name, len) == 0;
    LLVMDisposeMessage(full);
    if (!same) continue;
    *type = LLVMIntrinsicGetType(g->ctx, id, sets[i], types);
    return LLVMGetIntrinsicDeclaration(g->mod, id, sets[i], types);
  }
  return NULL;
}

static LLVMTypeRef natural_type(ts__gen *g, ts_type t) {  // with LLVM's own 16-bit floats
  LLVMTypeRef e = t.code == TS_F16    ? LLVMHalfTypeInContext(g->ctx)
                  : t.code == TS_BF16 ? LLVMBFloatTypeInContext(g->ctx)
                                      : ts__g_reg_type(g, t.code, 1);
  return t.lanes > 1 ? LLVMVectorType(e, t.lanes) : e;
}

// As LLVM wants it: the same bits in the parameter's type.
static LLVMValueRef fit(ts__gen *g, LLVMValueRef v, LLVMTypeRef want) {
  if (LLVMTypeOf(v) == want) return v;
  LLVMTypeKind k = LLVMGetTypeKind(want);
  if (k == LLVMIntegerTypeKind && LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMIntegerTypeKind)
    return LLVMBuildIntCast2(g->b, v, want, true, "");
  return LLVMBuildBitCast(g->b, v, want, "");
}

static bool same_size(ts__gen *g, LLVMTypeRef a, LLVMTypeRef b) {
  if (a == b) return true;
  LLVMTypeKind ka = LLVMGetTypeKind(a), kb = LLVMGetTypeKind(b);
  if (ka == LLVMIntegerTypeKind && kb == LLVMIntegerTypeKind) return true;
  if (ka == LLVMPointerTypeKind || kb == LLVMPointerTypeKind || kb == LLVMVoidTypeKind || kb == LLVMStructTypeKind ||
      kb == LLVMMetadataTypeKind || kb == LLVMTokenTypeKind || kb == LLVMX86_AMXTypeKind)
    return false;
  LLVMTargetDataRef layout = LLVMGetModuleDataLayout(g->mod);
  return LLVMSizeOfTypeInBits(layout, a) == LLVMSizeOfTypeInBits(layout, b);
}

static ts__val call_llvm(ts__gen *g, const ts_expr *e) {
  enum { MOST = 16 };
  LLVMTypeRef types[MOST], type = NULL, params[MOST];
  LLVMValueRef args[MOST];
  if (e->nargs > MOST || g->lane_var)
    return ts__g_fail(g, e->type, "no-code", "%.60s cannot be called here", e->callee);
  for (uint32_t i = 0; i < e->nargs; i++) types[i] = natural_type(g, e->arg[i]->type);
  LLVMValueRef fn = declare(g, e->callee, natural_type(g, e->type), types, e->nargs, &type);
  if (!fn || LLVMIsFunctionVarArg(type) || LLVMCountParamTypes(type) != e->nargs)
    return ts__g_fail(g, e->type, "no-such-instruction", "LLVM has no %.100s with these operands", e->callee);
  LLVMGetParamTypes(type, params);
  for (uint32_t i = 0; i < e->nargs; i++) {
    ts__val v = ts__g_expr(g, e->arg[i]);
    if (!same_size(g, LLVMTypeOf(v.v), params[i]))
      return ts__g_fail(g, e->type, "no-such-instruction", "operand %u of %.100s has another type", i + 1, e->callee);
    args[i] = fit(g, v.v, params[i]);
  }
  LLVMTypeRef reg = ts__g_reg_type(g, e->type.code, e->type.lanes);
  if (!same_size(g, reg, LLVMGetReturnType(type)))
    return ts__g_fail(g, e->type, "no-such-instruction", "the result of %.100s has another type", e->callee);
  LLVMValueRef r = LLVMBuildCall2(g->b, type, fn, args, e->nargs, "");
  return (ts__val){fit(g, r, reg), e->type.lanes};
}

// Bits kept; from many narrow lanes to few wide ones too. bool has no defined bits beside other bools.
static ts__val bitcast(ts__gen *g, const ts_expr *e) {
  ts__val v = ts__g_expr(g, e->arg[0]);
  int n = e->type.lanes > 1 ? e->type.lanes : e->arg[0]->type.lanes > 1 ? 1 : v.lanes;
  return (ts__val){LLVMBuildBitCast(g->b, v.v, ts__g_reg_type(g, e->type.code, n), ""), n};
}

static ts__val float_constant(ts__gen *g, const ts_expr *e) {
  ts_code c = e->type.code;
  if (c == TS_F16) return (ts__val){ts__g_const_int(g, 16, 1, ts_f16_from_f32((float)e->f)), 1};
  if (c == TS_BF16) return (ts__val){ts__g_const_int(g, 16, 1, ts_bf16_from_f32((float)e->f)), 1};
  return (ts__val){ts__g_const_float(g, ts_code_bits(c), 1, e->f), 1};
}

static ts__val emit(ts__gen *g, const ts_expr *e) {
  ts__val v;
  switch ((ts_ekind)e->kind) {
    case TS_E_INT:
      return (ts__val){ts__g_const_int(g, e->type.code == TS_BOOL ? 1 : ts_code_bits(e->type.code), 1, e->i), 1};
    case TS_E_FLOAT:
      return float_constant(g, e);
    case TS_E_VAR:
      return variable(g, e);
    case TS_E_LOAD:
      return ts__g_load(g, e);
    case TS_E_SELECT:
      return select_one(g, e);
    case TS_E_NOT:
      return v = ts__g_expr(g, e->arg[0]), (ts__val){LLVMBuildNot(g->b, v.v, ""), v.lanes};
    case TS_E_CAST:
      return ts__g_convert(g, e->type.code, e->arg[0]->type.code, ts__g_expr(g, e->arg[0]));
    case TS_E_BITCAST:
      return bitcast(g, e);
    case TS_E_BROADCAST:
      return ts__g_widen(g, ts__g_expr(g, e->arg[0]), e->type.lanes);
    case TS_E_CALL:
      if (g->nv && ts__nv_call(g, e, &v)) return v;
      return strncmp(e->callee, "llvm.", 5) == 0 ? call_llvm(g, e) : call_math(g, e);
    case TS_E_AND:
    case TS_E_OR:
      if (ts__g_may_trap(e->arg[1])) return short_circuit(g, e);
      return binary(g, e);
    default:
      if (e->nargs == 2) return binary(g, e);
      return ts__g_fail(g, e->type, "no-code", "no code for %s", ts_ekind_name((ts_ekind)e->kind));
  }
}
