// Shared libraries: kernels and plan. Objects that refer to nothing outside of themselves need no linker; others have one in a child process.
#include <errno.h>
#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>
#include <unistd.h>

#include "codegen/codegen_impl.h"

// --- the data object ----------------------------------------------------------------------------------------------

static void add_data(LLVMModuleRef m, const char *name, LLVMValueRef value) {
  LLVMValueRef g = LLVMAddGlobal(m, LLVMTypeOf(value), name);
  LLVMSetInitializer(g, value);
  LLVMSetGlobalConstant(g, true);
  LLVMSetAlignment(g, 8);
}

static bool emit_data(LLVMModuleRef m, LLVMTargetMachineRef tm, const char *path, ts_diag *d) {
  char *error = NULL;
  if (!LLVMTargetMachineEmitToFile(tm, m, path, LLVMObjectFile, &error)) return true;
  ts_env_fail(d, "write-failed", "%s: %s", path, error);
  LLVMDisposeMessage(error);
  return false;
}

static LLVMValueRef bytes_value(LLVMContextRef ctx, const void *p, size_t n) {
  return LLVMConstStringInContext2(ctx, p, n, true);
}

static bool already(const ts_object *o, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (memcmp(&o[k].id, &o[i].id, sizeof o[i].id) == 0) return true;
  return false;
}

// tunesmith_library_abi, tunesmith_library_plan, tunesmith_library_plan_size.
static bool write_data(const void *plan, size_t n, const ts_target *t, const char *path, ts_diag *d) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMTargetRef target;
  char *error = NULL;
  if (LLVMGetTargetFromTriple(t->triple, &target, &error)) {
    ts_refuse(d, "unknown-target", "%s", error);
    LLVMDisposeMessage(error);
    return false;
  }
  LLVMTargetMachineRef tm = LLVMCreateTargetMachine(target, t->triple, t->arch, t->features, LLVMCodeGenLevelNone,
                                                    LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMContextRef ctx = LLVMContextCreate();
  LLVMModuleRef m = LLVMModuleCreateWithNameInContext("plan", ctx);
  LLVMSetTarget(m, t->triple);
  add_data(m, "tunesmith_library_abi", LLVMConstInt(LLVMInt32TypeInContext(ctx), TS_KERNEL_ABI, false));
  add_data(m, "tunesmith_library_plan", bytes_value(ctx, plan, n));
  add_data(m, "tunesmith_library_plan_size", LLVMConstInt(LLVMInt64TypeInContext(ctx), n, false));
  bool ok = emit_data(m, tm, path, d);
  LLVMDisposeModule(m);
  LLVMContextDispose(ctx);
  LLVMDisposeTargetMachine(tm);
  return ok;
}

// --- linking --------------------------------------------------------------------------------------------------------

typedef struct linking {
  ts_arena *a;
  const char *dir;             // temporary
  TS_VEC(const char *) files;  // in it, the output last
  const char *path;            // wanted
} linking;

static const char *file_in(linking *k, const char *name) {
  const char *p = ts_path_join(k->a, k->dir, name);
  ts_vec_push(k->a, &k->files, p);
  return p;
}

static bool write_objects(linking *k, const ts_object *o, size_t n, ts_diag *d) {
  for (size_t i = 0; i < n; i++) {
    if (already(o, i)) continue;
    const char *p = file_in(k, ts_arena_printf(k->a, "k%zu.o", i));
    TS_TRY(ts_file_write(p, o[i].bytes, o[i].n, d));
  }
  return true;
}

// Runs one linker: 1 linked, 0 not installed, -1 failed.
static int try_linker(linking *k, const char *const *words, const char *out, ts_diag *d) {
  TS_VEC(const char *) argv = {0};
  for (size_t i = 0; words[i]; i++) ts_vec_push(k->a, &argv, words[i]);
  ts_vec_push(k->a, &argv, "-o");
  ts_vec_push(k->a, &argv, out);
  for (size_t i = 0; i + 1 < k->files.n; i++) ts_vec_push(k->a, &argv, k->files.p[i]);
  ts_vec_push(k->a, &argv, NULL);
  ts_text said = {0};
  ts_proc_result r;
  ts_diag why = {0};
  if (!ts_proc_run(argv.p, 120, &said, &r, &why)) {
    if (strcmp(why.code, "command-not-found") == 0) return 0;
    if (d) *d = why;
    return -1;
  }
  bool ok = r.exit_code == 0;
  if (!ok) {
    const char *text = ts_text_str(&said);
    ts_env_fail(d, "link-failed", "%s: %s failed (%d): %.*s", k->path, words[0], r.exit_code,
                (int)TS_MIN(strcspn(text, "\n"), 400), text);
  }
  ts_text_free(&said);
  return ok ? 1 : -1;
}

static bool link_files(linking *k, const char *out, ts_diag *d) {
  static const char *const linkers[][8] = {
      {"ld.lld-19", "-shared", "--hash-style=gnu", "--build-id=none", "-z", "noexecstack", NULL},
      {"ld.lld", "-shared", "--hash-style=gnu", "--build-id=none", "-z", "noexecstack", NULL},
      {"cc", "-shared", "-nostdlib", "-Wl,--hash-style=gnu", "-Wl,--build-id=none", NULL},
  };
  for (size_t i = 0; i < TS_COUNTOF(linkers); i++) {
    int r = try_linker(k, linkers[i], out, d);
    if (r) return r > 0;
  }
  ts_env_fail(d, "no-linker", "%s: cannot link: none of ld.lld-19, ld.lld and cc is installed", k->path);
  ts_hint(d, "install lld-19 or gcc");
  return false;
}

// What a linker wrote, with its seal, at the place that is wanted.
static bool write_sealed(linking *k, const char *linked, ts_diag *d) {
  ts_map m;
  TS_TRY(ts_map_open(linked, &m, d));
  uint8_t *f = ts_arena_alloc(k->a, m.n + TS_SEAL_BYTES, 16);
  memcpy(f, m.p, m.n);
  ts_seal(f, m.n);
  bool ok = ts_file_write(k->path, f, m.n + TS_SEAL_BYTES, d);
  ts_map_close(&m);
  return ok;
}

static bool link_in(linking *k, const ts_object *objects, size_t n, const void *plan, size_t plan_n, const ts_target *t,
                    ts_diag *d) {
  TS_TRY(write_objects(k, objects, n, d));
  TS_TRY(write_data(plan, plan_n, t, file_in(k, "plan.o"), d));
  const char *out = file_in(k, "library.so");
  return link_files(k, out, d) && write_sealed(k, out, d);
}

// --- without a linker ---------------------------------------------------------------------------------------------------

static void put(ts_arena *a, ts__elf *e, const char *name, const void *p, size_t n) {
  ts_vec_push(a, &e->symbols, ((ts__elf_symbol){.name = name, .piece = e->pieces.n, .n = n}));
  ts_vec_push(a, &e->pieces, ((ts__elf_piece){.p = p, .n = n, .align = 64}));
}

// GPU artifacts are data, SYMBOL and SYMBOL_bytes, beside the plan's symbols; kernels of CPUs are taken apart. False: an object wants a linker.
static bool assemble(ts_arena *a, const ts_object *o, size_t n, const void *plan, size_t plan_n, bool gpu, ts__elf *e) {
  uint32_t *abi = ts_new(a, uint32_t);
  uint64_t *size = ts_new_array(a, uint64_t, n + 1);
  *abi = TS_KERNEL_ABI;
  size[n] = plan_n;
  put(a, e, "tunesmith_library_abi", abi, sizeof *abi);
  put(a, e, "tunesmith_library_plan", plan, plan_n);
  put(a, e, "tunesmith_library_plan_size", &size[n], sizeof *size);
  for (size_t i = 0; i < n; i++) {
    if (already(o, i)) continue;
    if (!gpu) {
      TS_TRY(ts__elf_read(a, o[i].bytes, o[i].n, e));
      continue;
    }
    size[i] = o[i].n;
    put(a, e, o[i].symbol, o[i].bytes, o[i].n);
    put(a, e, ts_arena_printf(a, "%s_bytes", o[i].symbol), &size[i], sizeof *size);
  }
  return true;
}

bool ts_link_library(const ts_object *objects, size_t n, const void *plan, size_t plan_n, const ts_target *t,
                     const char *path, ts_diag *d) {
  linking k = {.a = ts_arena_new("link"), .path = path};
  ts__elf e = {0};
  if (assemble(k.a, objects, n, plan, plan_n, t->api != TS_API_CPU, &e)) {
    bool written = ts__elf_write(path, &e, d);
    ts_arena_free(k.a);
    return written;
  }
  char *dir = ts_arena_printf(k.a, "%s.link.XXXXXX", path);
  k.dir = mkdtemp(dir);
  bool ok = k.dir ? link_in(&k, objects, n, plan, plan_n, t, d)
                  : ts_env_fail(d, "write-failed", "%s: %s", path, strerror(errno));
  for (size_t i = 0; i < k.files.n; i++) unlink(k.files.p[i]);
  if (k.dir) rmdir(k.dir);
  ts_arena_free(k.a);
  return ok;
}
