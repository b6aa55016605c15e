// Calls that act: barriers, asynchronous copies, shuffles, instructions written out.
#include "codegen/nvptx.h"

// Two bits for each of three places of memory: 1 is reading.
enum { NO_MEMORY = 0, READS_MEMORY = 1 | 1 << 2 | 1 << 4 };

static void add_attribute(ts__gen *g, LLVMValueRef call, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                           LLVMCreateEnumAttribute(g->ctx, kind, value));
}

// What the threads of a warp do together must not move into branches. Reading alone is not enough to keep an instruction where it is:
// below LLVM's IR only side effects count.
LLVMValueRef ts__nv_asm(ts__gen *g, LLVMTypeRef result, const char *text, const char *constraints, LLVMValueRef *args,
                        unsigned n, ts__nv_kind kind) {
  enum { MOST = 320 };  // more than an instruction written out may have
  LLVMTypeRef types[MOST];
  for (unsigned i = 0; i < n && i < MOST; i++) types[i] = LLVMTypeOf(args[i]);
  LLVMTypeRef type = LLVMFunctionType(result, types, n, false);
  LLVMValueRef fn = LLVMGetInlineAsm(type, text, strlen(text), constraints, strlen(constraints), kind >= TS__NV_READS,
                                     false, LLVMInlineAsmDialectATT, false);
  LLVMValueRef call = LLVMBuildCall2(g->b, type, fn, args, n, "");
  if (kind == TS__NV_ACTS || strstr(text, ".sync")) add_attribute(g, call, "convergent", 0);
  if (kind != TS__NV_ACTS) {
    add_attribute(g, call, "memory", kind == TS__NV_PURE ? NO_MEMORY : READS_MEMORY);
    add_attribute(g, call, "nounwind", 0);
    add_attribute(g, call, "willreturn", 0);
  }
  return call;
}

static void act(ts__gen *g, const char *text) {
  ts__nv_asm(g, LLVMVoidTypeInContext(g->ctx), text, "~{memory}", NULL, 0, TS__NV_ACTS);
}

// --- asynchronous copies ----------------------------------------------------------------------------------------------

// What could not be copied in the background, at once.
static void copy_now(ts__gen *g, LLVMTypeRef t, LLVMValueRef to, LLVMValueRef from, int to_align, int from_align) {
  LLVMValueRef v = LLVMBuildLoad2(g->b, t, from, "");
  LLVMSetAlignment(v, (unsigned)from_align);
  LLVMSetAlignment(LLVMBuildStore(g->b, v, to), (unsigned)to_align);
}

// async.copy(dst[i], src[j]): global to shared in the background.
static void async_copy(ts__gen *g, const ts_expr *dst, const ts_expr *src) {
  int bytes = ts_code_bytes(dst->type.code) * dst->type.lanes, to_align = 0, from_align = 0;
  LLVMValueRef to = ts__g_address(g, dst, &to_align), from = ts__g_address(g, src, &from_align);
  if (!to || !from) return;
  bool direct = LLVMGetPointerAddressSpace(LLVMTypeOf(to)) == TS__NV_SHARED &&
                LLVMGetPointerAddressSpace(LLVMTypeOf(from)) == TS__NV_GLOBAL &&
                (bytes == 4 || bytes == 8 || bytes == 16) && to_align >= bytes && from_align >= bytes;
  if (!direct) {
    copy_now(g, ts__g_mem_type(g, dst->buf->code, dst->type.lanes), to, from, to_align, from_align);
    return;
  }
  LLVMValueRef args[] = {LLVMBuildPtrToInt(g->b, to, LLVMInt32TypeInContext(g->ctx), ""), from, ts__nv_policy(g, src->buf)};
  bool hint = args[2] != NULL;
  const char *text = ts_arena_printf(g->arena, "cp.async.%s.shared.global%s%s [$0], [$1], %d%s;", bytes == 16 ? "cg" : "ca", hint ? ".L2::cache_hint" : "",
                                     bytes == 16 ? ".L2::128B" : "", bytes, hint ? ", $2" : "");
  ts__nv_asm(g, LLVMVoidTypeInContext(g->ctx), text, hint ? "r,l,l,~{memory}" : "r,l,~{memory}", args, hint ? 3 : 2, TS__NV_ACTS);
}

static void async_wait(ts__gen *g, const ts_expr *e) {
  int64_t n = 0;
  ts_is_int(e->arg[0], &n);
  act(g, ts_arena_printf(g->arena, "cp.async.wait_group %lld;", (long long)n));
}

// --- shuffles -------------------------------------------------------------------------------------------------------------

static LLVMValueRef shuffle_word(ts__gen *g, LLVMValueRef v, LLVMValueRef by, const char *text) {
  LLVMValueRef args[] = {v, by};
  return ts__nv_asm(g, LLVMInt32TypeInContext(g->ctx), text, "=r,r,r", args, 2, TS__NV_ACTS);
}

static LLVMValueRef shuffle(ts__gen *g, ts_type t, LLVMValueRef v, LLVMValueRef by, const char *text) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(g->ctx), reg = LLVMTypeOf(v);
  int bits = t.code == TS_BOOL ? 1 : ts_code_bits(t.code);
  if (bits < 32) {
    LLVMValueRef w = LLVMBuildZExt(g->b, v, i32, "");
    return LLVMBuildTrunc(g->b, shuffle_word(g, w, by, text), reg, "");
  }
  if (bits == 32) return LLVMBuildBitCast(g->b, shuffle_word(g, LLVMBuildBitCast(g->b, v, i32, ""), by, text), reg, "");
  LLVMTypeRef pair = LLVMVectorType(i32, 2);
  LLVMValueRef w = LLVMBuildBitCast(g->b, v, pair, ""), r = LLVMGetPoison(pair);
  for (int i = 0; i < 2; i++) {
    LLVMValueRef half = shuffle_word(g, LLVMBuildExtractElement(g->b, w, ts__g_i64(g, i), ""), by, text);
    r = LLVMBuildInsertElement(g->b, r, half, ts__g_i64(g, i), "");
  }
  return LLVMBuildBitCast(g->b, r, reg, "");
}

static ts__val shuffle_call(ts__gen *g, const ts_expr *e, const char *text) {
  ts__val v = ts__g_expr(g, e->arg[0]);
  LLVMValueRef by = LLVMBuildTrunc(g->b, ts__g_scalar(g, e->arg[1]), LLVMInt32TypeInContext(g->ctx), "");
  if (v.lanes == 1) return (ts__val){shuffle(g, e->type, v.v, by, text), 1};
  LLVMValueRef r = LLVMGetPoison(LLVMTypeOf(v.v));
  for (int i = 0; i < v.lanes; i++)
    r = LLVMBuildInsertElement(g->b, r, shuffle(g, e->type, ts__g_lane(g, v, i), by, text), ts__g_i64(g, i), "");
  return (ts__val){r, v.lanes};
}

// --- by name --------------------------------------------------------------------------------------------------------------

// wgmma reads shared memory past the caches of ordinary accesses, and goes on behind its instruction: what it reads must not change,
// but in loops where the next barrier but one is early enough (ORDER trailing: lower_pipe.c gives their buffers a version more).
static void sync_block(ts__gen *g) {
  if (g->nv->tensor && !g->nv->trailing) act(g, "wgmma.wait_group.sync.aligned 0;");
  if (g->nv->tensor) act(g, "fence.proxy.async;");
  act(g, "bar.sync 0;");
}

// More or fewer than the threads of the block have at the start.
static void set_registers(ts__gen *g, const ts_expr *e) {
  int64_t n = 0, threads = 1, extent;
  ts_is_int(e->arg[0], &n);
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++)
    if (g->nv->k->extent[a] && ts_is_int(g->nv->k->extent[a], &extent)) threads *= extent;
  int64_t start = ts__start_registers(g->t, threads, ts__nv_option(g->nv->k, "minblocks", 0), ts__nv_option(g->nv->k, "maxnreg", 0));
  if (n != start) act(g, ts_arena_printf(g->arena, "setmaxnreg.%s.sync.aligned.u32 %lld;", n > start ? "inc" : "dec", (long long)n));
}

static ts__val effect(ts__gen *g, const ts_expr *e, ts_effect f) {
  switch (f) {
    case TS_EFF_SYNC_BLOCK:
      sync_block(g);
      break;
    case TS_EFF_SYNC_WARP:
      act(g, "bar.warp.sync 0xffffffff;");
      break;
    case TS_EFF_ASYNC_COPY:
      async_copy(g, e->arg[0], e->arg[1]);
      break;
    case TS_EFF_ASYNC_COMMIT:
      act(g, "cp.async.commit_group;");
      break;
    case TS_EFF_ASYNC_WAIT:
      async_wait(g, e);
      break;
    case TS_EFF_REGISTERS:
      set_registers(g, e);
      break;
    case TS_EFF_SYNC_CLUSTER:
      act(g, "barrier.cluster.arrive;\nbarrier.cluster.wait;");
      break;
    case TS_EFF_BARRIER_INIT:
    case TS_EFF_BARRIER_INIT_ALL:
    case TS_EFF_BARRIER_ARRIVE_ALL:
    case TS_EFF_BARRIER_ARRIVE:
    case TS_EFF_BARRIER_WAIT:
    case TS_EFF_BULK_COPY:
      ts__nv_barrier(g, e, f);
      break;
    case TS_EFF_SHUFFLE_XOR:
      return shuffle_call(g, e, "shfl.sync.bfly.b32 $0, $1, $2, 0x1f, 0xffffffff;");
    case TS_EFF_SHUFFLE_DOWN:
      return shuffle_call(g, e, "shfl.sync.down.b32 $0, $1, $2, 0x1f, 0xffffffff;");
    case TS_EFF_SHUFFLE_FROM:
      return shuffle_call(g, e, "shfl.sync.idx.b32 $0, $1, $2, 0x1f, 0xffffffff;");
    default:
      return ts__g_fail(g, e->type, "no-code", "no code for %.60s on a GPU", e->callee);
  }
  return (ts__val){LLVMConstNull(ts__g_reg_type(g, e->type.code, 1)), 1};
}

// Where an element lies, as a number.
static ts__val address_of(ts__gen *g, const ts_expr *e) {
  int align;
  LLVMValueRef p = ts__g_address(g, e->arg[0], &align);
  if (!p) return ts__g_fail(g, e->type, "unbound-buffer", "no storage");
  bool shared = LLVMGetPointerAddressSpace(LLVMTypeOf(p)) == TS__NV_SHARED;
  if (shared != (e->type.code == TS_U32))
    return ts__g_fail(g, e->type, "operand-scope", "buffer %.60s is in the wrong kind of memory for its instruction",
                      e->arg[0]->buf->name);
  return (ts__val){LLVMBuildPtrToInt(g->b, p, ts__g_reg_type(g, e->type.code, 1), ""), 1};
}

bool ts__nv_call(ts__gen *g, const ts_expr *e, ts__val *out) {
  ts_effect f;
  if (ts_asm_of(NULL, e, &(ts_asm){0})) return *out = ts__nv_asm_call(g, e), true;
  if (strcmp(e->callee, "address") == 0) return *out = address_of(g, e), true;
  if (!ts_effect_of(e, &f)) return false;
  *out = effect(g, e, f);
  return true;
}
