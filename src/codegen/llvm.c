// A function of loops to LLVM, through its passes, to an object or text.
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>

#include "codegen/nvptx.h"

// Our code comes vectorised and unrolled: what is left is to put buffers into registers, fold, share and hoist.
static const char passes[] =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse<memssa>)";

// Indices on GPUs are narrowed to 32 bits where their bounds allow.
static const char gpu_passes[] =
    "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,correlated-propagation,simplifycfg,"
    "loop-mssa(licm),instcombine<no-verify-fixpoint>,early-cse<memssa>,dce)";

static void initialize(void) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
}

static LLVMTargetMachineRef machine_for(const ts_target *t, ts_diag *d) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, initialize);
  LLVMTargetRef target;
  char *error = NULL;
  bool gpu = t->api == TS_API_CUDA;
  if ((t->api != TS_API_CPU && !gpu) ||
      LLVMGetTargetFromTriple(gpu ? "nvptx64-nvidia-cuda" : t->triple, &target, &error)) {
    ts_refuse(d, "unknown-target", "no code generator for %.60s: %.200s", t->triple, error ? error : "unknown device");
    if (error) LLVMDisposeMessage(error);
    return NULL;
  }
  if (gpu)  // PTX for 9.0 is PTX for newer GPUs as well, which this LLVM does not know
    return LLVMCreateTargetMachine(target, "nvptx64-nvidia-cuda", t->gpu.compute > 90 ? "sm_90" : t->arch, "+ptx83", LLVMCodeGenLevelDefault,
                                   LLVMRelocDefault, LLVMCodeModelDefault);
  return LLVMCreateTargetMachine(target, t->triple, t->arch, t->features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                 LLVMCodeModelDefault);
}

// LLVM goes on after errors and makes wrong code: any error fails the compilation.
static void complain(LLVMDiagnosticInfoRef info, void *arg) {
  ts__gen *g = arg;
  if (LLVMGetDiagInfoSeverity(info) != LLVMDSError) return;
  char *text = LLVMGetDiagInfoDescription(info);
  ts__g_fail(g, TS_INDEX, "llvm-error", "%.400s", text);
  LLVMDisposeMessage(text);
}

static bool verify(ts__gen *g) {
  char *error = NULL;
  bool bad = LLVMVerifyModule(g->mod, LLVMReturnStatusAction, &error);
  if (bad) {
    error[strcspn(error, "\n")] = 0;
    g->failed = true;
    ts_bug(g->d, "llvm-verify", "function %.100s: %.600s", g->f->name, error);
  }
  LLVMDisposeMessage(error);
  return !bad;
}

static bool optimize(ts__gen *g, LLVMTargetMachineRef tm) {
  LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
  LLVMErrorRef error = LLVMRunPasses(g->mod, g->nv ? gpu_passes : passes, tm, o);
  LLVMDisposePassBuilderOptions(o);
  if (!error) return !g->failed;
  char *text = LLVMGetErrorMessage(error);
  ts_bug(g->d, "llvm-passes", "function %.100s: %.600s", g->f->name, text);
  LLVMDisposeErrorMessage(text);
  return false;
}

typedef enum form { AS_OBJECT, AS_ASM, AS_LLVM, AS_LLVM_RAW } form;

static bool write_out(ts__gen *g, LLVMTargetMachineRef tm, form as, ts_text *out) {
  if (as == AS_LLVM || as == AS_LLVM_RAW) {
    char *text = LLVMPrintModuleToString(g->mod);
    ts_text_add(out, text);
    LLVMDisposeMessage(text);
    return true;
  }
  LLVMMemoryBufferRef bytes;
  char *error = NULL;
  LLVMSetTargetMachineAsmVerbosity(tm, as == AS_ASM && !g->nv);
  LLVMCodeGenFileType type = as == AS_ASM || g->nv ? LLVMAssemblyFile : LLVMObjectFile;
  if (LLVMTargetMachineEmitToMemoryBuffer(tm, g->mod, type, &error, &bytes)) {
    ts_refuse(g->d, "llvm-error", "function %.100s: %.400s", g->f->name, error);
    LLVMDisposeMessage(error);
    return false;
  }
  bool ok = !g->failed;
  const char *start = LLVMGetBufferStart(bytes);
  if (ok && g->nv && as == AS_OBJECT) {
    ok = ts__nv_artifact(g, start, LLVMGetBufferSize(bytes), out);
  } else if (ok) {
    ts_text_addn(out, start, LLVMGetBufferSize(bytes));
  }
  LLVMDisposeMemoryBuffer(bytes);
  return ok && !g->failed;
}

static bool build(ts__gen *g, LLVMTargetMachineRef tm, form as, ts_text *out) {
  LLVMSetTarget(g->mod, g->nv ? "nvptx64-nvidia-cuda" : g->t->triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
  LLVMSetModuleDataLayout(g->mod, layout);
  LLVMDisposeTargetData(layout);
  if (!g->nv) {
    ts__g_function(g);
  } else if (ts__nv_split(g)) {
    ts__nv_functions(g);
  }
  if (g->failed || !verify(g)) return false;
  if (as != AS_LLVM_RAW) TS_TRY(optimize(g, tm));
  return write_out(g, tm, as, out);
}

static bool is_contract(const ts_func *f) {
  const ts_note *n = ts_notes_find(f->notes, "contract");
  return !n || n->kind != TS_NOTE_INT || n->i != 0;
}

// loops: a lowered function.
static bool emit(ts_ir *ir, const ts_func *loops, const ts_target *t, const char *symbol, form as, ts_text *out,
                 ts_diag *d) {
  LLVMTargetMachineRef tm = machine_for(t, d);
  if (!tm) return false;
  LLVMContextRef ctx = LLVMContextCreate();
  ts__gen g = {
      .f = loops, .t = t, .d = d, .symbol = symbol, .ctx = ctx, .budget = 200000, .contract = is_contract(loops)};
  ts__nv nv = {0};
  if (t->api == TS_API_CUDA) g.nv = &nv, g.nv_ir = ir;
  g.f16c = ts_target_has(t, "f16c"), g.fma = ts_target_has(t, "fma"), g.sse41 = ts_target_has(t, "sse4.1");
  if (g.nv) g.f16c = g.fma = g.sse41 = true;  // conversions, fused multiplication, rounding
  g.arena = ts_arena_new("codegen");
  g.mod = LLVMModuleCreateWithNameInContext(symbol, ctx);
  g.b = LLVMCreateBuilderInContext(ctx);
  LLVMContextSetDiagnosticHandler(ctx, complain, &g);
  bool ok = build(&g, tm, as, out);
  LLVMDisposeBuilder(g.b);
  LLVMDisposeModule(g.mod);
  LLVMContextDispose(ctx);
  LLVMDisposeTargetMachine(tm);
  ts_arena_free(g.arena);
  return ok;
}

// Either stage: lowered in a context of its own.
static bool lower_and_emit(const ts_func *f, const ts_target *t, const char *symbol, form as, ts_text *out,
                           ts_diag *d) {
  ts_arena *a = ts_arena_new("lower");
  ts_ir *ir = ts_ir_new(a);
  const ts_func *loops;
  bool ok = ts_lower(ir, ts_func_clone(ir, f), t, &loops, d) && emit(ir, loops, t, symbol, as, out, d);
  ts_arena_free(a);
  return ok;
}

bool ts_codegen_object(const ts_func *f, const ts_target *t, ts_arena *a, ts_object *out, ts_diag *d) {
  uint64_t start = ts_now_ns();
  TS_TRY(ts_object_id(f, t, out, d));
  ts_text bytes = {0};
  bool ok = lower_and_emit(f, t, out->symbol, AS_OBJECT, &bytes, d);
  if (ok) {
    out->bytes = ts_arena_dup(a, bytes.p, bytes.n);
    out->n = bytes.n;
    out->compile_s = (double)(ts_now_ns() - start) * 1e-9;
  }
  ts_text_free(&bytes);
  return ok;
}

static bool as_text(const ts_func *f, const ts_target *t, form as, ts_text *out, ts_diag *d) {
  ts_object id;
  return ts_object_id(f, t, &id, d) && lower_and_emit(f, t, id.symbol, as, out, d);
}

bool ts_codegen_asm(const ts_func *f, const ts_target *t, ts_text *out, ts_diag *d) {
  return as_text(f, t, AS_ASM, out, d);
}

bool ts_codegen_llvm(const ts_func *f, const ts_target *t, bool optimized, ts_text *out, ts_diag *d) {
  return as_text(f, t, optimized ? AS_LLVM : AS_LLVM_RAW, out, d);
}
