// Objects into this process, through ORC.
#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <pthread.h>

#include "codegen/codegen_impl.h"

// One JIT for the process; every object gets a library of its own, so that unloading is exact.
static struct {
  pthread_mutex_t lock;
  LLVMOrcLLJITRef jit;
  uint64_t libraries;            // made so far
  LLVMOrcJITDylibRef spare[64];  // cleared ones, used again: a library cannot be taken out of a session
  size_t nspare;
} loader = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool orc_failed(LLVMErrorRef error, const char *symbol, ts_diag *d) {
  if (!error) return false;
  char *text = LLVMGetErrorMessage(error);
  text[strcspn(text, "\n")] = 0;
  ts_refuse(d, "bad-object", "object of %.90s: %.500s", symbol, text);
  LLVMDisposeErrorMessage(text);
  return true;
}

// Complaints come back as errors; nothing is printed.
static void ignore_report(void *arg, LLVMErrorRef error) {
  (void)arg;
  LLVMConsumeError(error);
}

static bool start(const char *symbol, ts_diag *d) {
  if (loader.jit) return true;
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMOrcLLJITRef jit;
  if (orc_failed(LLVMOrcCreateLLJIT(&jit, NULL), symbol, d)) return false;
  LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit), ignore_report, NULL);
  loader.jit = jit;
  return true;
}

// Symbols of the process (memcpy and the like) are visible to the object.
static bool add_process_symbols(LLVMOrcJITDylibRef lib, const char *symbol, ts_diag *d) {
  LLVMOrcDefinitionGeneratorRef generator;
  char prefix = LLVMOrcLLJITGetGlobalPrefix(loader.jit);
  if (orc_failed(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&generator, prefix, NULL, NULL), symbol, d))
    return false;
  LLVMOrcJITDylibAddGenerator(lib, generator);
  return true;
}

typedef struct found {
  bool done;
  LLVMErrorRef error;
  void *address[2];
} found;

static void take(LLVMErrorRef error, LLVMOrcCSymbolMapPairs result, size_t n, void *arg) {
  found *f = arg;
  f->done = true;
  f->error = error;
  for (size_t i = 0; !error && i < n; i++) {
    const char *name = LLVMOrcSymbolStringPoolEntryStr(result[i].Name);
    size_t len = strlen(name);
    bool workspace = len > 10 && strcmp(name + len - 10, "_workspace") == 0;
    f->address[workspace] = (void *)(uintptr_t)result[i].Sym.Address;
  }
}

// Both functions of the kernel in lib. Lookup runs on this thread, so the answer is there on return.
static bool look_up(LLVMOrcJITDylibRef lib, const char *symbol, void *address[2], ts_diag *d) {
  LLVMOrcExecutionSessionRef session = LLVMOrcLLJITGetExecutionSession(loader.jit);
  char workspace[128];
  snprintf(workspace, sizeof workspace, "%s_workspace", symbol);
  LLVMOrcCJITDylibSearchOrderElement order = {lib, LLVMOrcJITDylibLookupFlagsMatchExportedSymbolsOnly};
  LLVMOrcCLookupSetElement set[] = {
      {LLVMOrcLLJITMangleAndIntern(loader.jit, symbol), LLVMOrcSymbolLookupFlagsRequiredSymbol},
      {LLVMOrcLLJITMangleAndIntern(loader.jit, workspace), LLVMOrcSymbolLookupFlagsRequiredSymbol}};
  found f = {0};
  LLVMOrcExecutionSessionLookup(session, LLVMOrcLookupKindStatic, &order, 1, set, 2, take, &f);
  if (!f.done) return ts_bug(d, "jit-lookup", "object of %.90s: lookup did not finish", symbol);
  if (orc_failed(f.error, symbol, d)) return false;
  address[0] = f.address[0], address[1] = f.address[1];
  return true;
}

static void drop(LLVMOrcJITDylibRef lib) {
  LLVMErrorRef error = LLVMOrcJITDylibClear(lib);
  if (!error && loader.nspare < TS_COUNTOF(loader.spare)) loader.spare[loader.nspare++] = lib;
  LLVMConsumeError(error);
}

static LLVMOrcJITDylibRef library_for(const char *symbol, ts_diag *d) {
  if (loader.nspare) return loader.spare[--loader.nspare];
  char name[32];
  snprintf(name, sizeof name, "kernel.%llu", (unsigned long long)loader.libraries++);
  LLVMOrcJITDylibRef lib;
  LLVMOrcExecutionSessionRef session = LLVMOrcLLJITGetExecutionSession(loader.jit);
  if (orc_failed(LLVMOrcExecutionSessionCreateJITDylib(session, &lib, name), symbol, d)) return NULL;
  return add_process_symbols(lib, symbol, d) ? lib : NULL;
}

static bool load(const ts_object *o, ts_loaded *out, ts_diag *d) {
  TS_TRY(start(o->symbol, d));
  LLVMOrcJITDylibRef lib = library_for(o->symbol, d);
  if (!lib) return false;
  LLVMMemoryBufferRef bytes = LLVMCreateMemoryBufferWithMemoryRangeCopy(o->bytes, o->n, o->symbol);
  void *address[2] = {NULL, NULL};
  if (orc_failed(LLVMOrcLLJITAddObjectFile(loader.jit, lib, bytes), o->symbol, d) ||
      !look_up(lib, o->symbol, address, d)) {
    drop(lib);
    return false;
  }
  memcpy(&out->run, &address[0], sizeof address[0]);
  memcpy(&out->workspace, &address[1], sizeof address[1]);
  out->handle = lib;
  return true;
}

bool ts_object_load(const ts_object *o, ts_loaded *out, ts_diag *d) {
  *out = (ts_loaded){0};
  pthread_mutex_lock(&loader.lock);
  bool ok = load(o, out, d);
  pthread_mutex_unlock(&loader.lock);
  return ok;
}

void ts_object_unload(ts_loaded *l) {
  if (l->handle) {
    pthread_mutex_lock(&loader.lock);
    drop(l->handle);
    pthread_mutex_unlock(&loader.lock);
  }
  *l = (ts_loaded){0};
}
