// Compile workers, the artifact cache, loading and shared libraries.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
// cmocka needs the four above
#include <cmocka.h>
#include <dlfcn.h>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "target/gpu.h"
#include "threads.h"

static const char scale_text[] =
    "func scale(n: dim(1..100), x: f32[n], y: out f32[n]) {\n  for i in 0..n {\n    block b(v: S = i) {\n      y[v] = "
    "x[v] * %d.0\n    }\n  }\n}\n";
// Selecting an instruction that the target lacks aborts LLVM.
static const char abort_text[] =
    "func abort(a: i32[16], y: out i32[16]) lowered {\n"
    "  y[0 : 16] = llvm.x86.avx512.vpdpbusd.512(vload(a, 16)[0], vload(a, 16)[0], vload(a, 16)[0]): i32x16\n}\n";

typedef struct fixture {
  ts_arena *a;
  ts_ir *ir;
  ts_target t;
  char dir[64];
} fixture;

static int set_up(void **state) {
  fixture *x = calloc(1, sizeof *x);
  x->a = ts_arena_new("test");
  x->ir = ts_ir_new(x->a);
  strcpy(x->dir, "/tmp/tunesmith-test-XXXXXX");
  *state = x;
  return !mkdtemp(x->dir) || !ts_target_parse("cpu", &x->t, NULL);
}

static int tear_down(void **state) {
  fixture *x = *state;
  char **names;
  size_t n;
  char *cache = ts_path_join(x->a, x->dir, "cache");
  if (ts_dir_list(cache, "", x->a, &names, &n, NULL))
    for (size_t i = 0; i < n; i++) unlink(ts_path_join(x->a, cache, names[i]));
  rmdir(cache);
  if (ts_dir_list(x->dir, "", x->a, &names, &n, NULL))
    for (size_t i = 0; i < n; i++) unlink(ts_path_join(x->a, x->dir, names[i]));
  rmdir(x->dir);
  ts_arena_free(x->a);
  free(x);
  return 0;
}

static const ts_func *parse(fixture *x, const char *text) {
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(x->ir, "test", text, strlen(text), NULL, 0, &d);
  if (!f) fail_msg("%s", d.message);
  return f;
}

static const ts_func *scale_by(fixture *x, int k) {
  char text[400];
  snprintf(text, sizeof text, scale_text, k);
  return parse(x, text);
}

static void expect_scale(const ts_object *o, float k) {
  ts_loaded l;
  ts_diag d = {0};
  if (!ts_object_load(o, &l, &d)) fail_msg("%s", d.message);
  _Alignas(64) float x[16] = {1, 2, 3}, y[16] = {0};
  void *buf[] = {x, y, NULL};
  int64_t n = 3;
  assert_int_equal(l.workspace(&n), 0);
  l.run(buf, &n, &test_serial_rt);
  assert_true(y[0] == k && y[2] == 3 * k && y[3] == 0);
  ts_object_unload(&l);
}

static ts_compiler *open_pool(fixture *x, const char *target, int workers, const char *cache) {
  ts_diag d = {0};
  ts_target t;
  assert_true(ts_target_parse(target, &t, &d));
  ts_compiler *c = ts_compiler_open(&t, workers, cache, &d);
  if (!c) fail_msg("%s", d.message);
  (void)x;
  return c;
}

static void test_pool(void **state) {
  fixture *x = *state;
  ts_compiler *c = open_pool(x, "cpu", 2, NULL);
  ts_diag d = {0};
  for (int k = 1; k <= 9; k++) assert_true(ts_compiler_submit(c, scale_by(x, k), (uint64_t)k, &d));
  assert_int_equal(ts_compiler_pending(c), 9);
  unsigned seen = 0;
  ts_compiled out;
  for (int got; (got = ts_compiler_next(c, 30, x->a, &out)) >= 0;) {
    assert_int_equal(got, 1);
    assert_true(out.ok);
    seen |= 1u << out.tag;
    expect_scale(&out.object, (float)out.tag);
  }
  assert_int_equal(seen, 0x3fe);
  assert_int_equal(ts_compiler_pending(c), 0);
  ts_compiler_close(c);
}

// What is queued, under way or finished is forgotten; the pool goes on.
static void test_drop(void **state) {
  fixture *x = *state;
  ts_compiler *c = open_pool(x, "cpu", 2, NULL);
  ts_diag d = {0};
  ts_compiled out;
  ts_object o;
  for (int k = 1; k <= 6; k++) assert_true(ts_compiler_submit(c, scale_by(x, k), (uint64_t)k, &d));
  assert_int_equal(ts_compiler_next(c, 30, x->a, &out), 1);
  ts_compiler_drop(c);
  assert_int_equal(ts_compiler_pending(c), 0);
  assert_int_equal(ts_compiler_next(c, 0, x->a, &out), -1);
  if (!ts_compiler_run(c, scale_by(x, 7), x->a, &o, &d)) fail_msg("%s", d.message);
  expect_scale(&o, 7);
  ts_compiler_close(c);
}

static void test_abort(void **state) {
  fixture *x = *state;
  ts_compiler *c = open_pool(x, "cpu:x86-64", 1, NULL);
  ts_diag d = {0};
  ts_object o;
  assert_false(ts_compiler_run(c, parse(x, abort_text), x->a, &o, &d));
  assert_string_equal(d.code, "compiler-crashed");
  assert_int_equal(d.kind, TS_REFUSAL);
  if (!strstr(d.message, "LLVM ERROR")) fail_msg("%s", d.message);
  // The pool goes on.
  assert_true(ts_compiler_run(c, scale_by(x, 4), x->a, &o, &d));
  expect_scale(&o, 4);
  ts_compiler_close(c);
}

static void test_timeout(void **state) {
  fixture *x = *state;
  ts_compiler *c = open_pool(x, "cpu", 1, NULL);
  ts_diag d = {0};
  ts_object o;
  ts_compiler_set_timeout(c, 1e-5);
  assert_false(ts_compiler_run(c, scale_by(x, 5), x->a, &o, &d));
  assert_string_equal(d.code, "compiler-timeout");
  ts_compiler_set_timeout(c, 20);
  assert_true(ts_compiler_run(c, scale_by(x, 5), x->a, &o, &d));
  ts_compiler_close(c);
}

static void test_refusal(void **state) {
  fixture *x = *state;
  ts_compiler *c = open_pool(x, "cpu", 1, NULL);
  ts_diag d = {0};
  ts_object o;
  const ts_func *f = parse(x,
                           "func bad(y: out f32[4]) {\n  for i in 0..4 thread(threadIdx.x) {\n    block b(v: S = i) "
                           "{\n      y[v] = 0.0\n    }\n  }\n}\n");
  assert_false(ts_compiler_run(c, f, x->a, &o, &d));
  assert_string_equal(d.code, "thread-loop");
  ts_compiler_close(c);
}

static void test_cache(void **state) {
  fixture *x = *state;
  char *cache = ts_path_join(x->a, x->dir, "cache");
  ts_compiler *c = open_pool(x, "cpu", 1, cache);
  struct stat st;
  assert_int_equal(stat(cache, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  ts_diag d = {0};
  ts_object first, second, third;
  assert_true(ts_compiler_run(c, scale_by(x, 2), x->a, &first, &d));
  assert_false(first.cached);
  assert_true(first.compile_s > 0);
  assert_true(ts_compiler_run(c, scale_by(x, 2), x->a, &second, &d));
  assert_true(second.cached);
  assert_int_equal(first.n, second.n);
  assert_memory_equal(first.bytes, second.bytes, first.n);
  expect_scale(&second, 2);
  // A damaged file is compiled anew.
  char **names;
  size_t n;
  assert_true(ts_dir_list(cache, ".o", x->a, &names, &n, &d));
  assert_int_equal(n, 1);
  char *path = ts_path_join(x->a, cache, names[0]), *data;
  assert_true(ts_file_read(path, x->a, &data, &n, &d));
  data[n / 2] ^= 1;
  assert_true(ts_file_write(path, data, n, &d));
  assert_true(ts_compiler_run(c, scale_by(x, 2), x->a, &third, &d));
  assert_false(third.cached);
  expect_scale(&third, 2);
  ts_compiler_close(c);
}

static void test_public_cache(void **state) {
  fixture *x = *state;
  char *cache = ts_path_join(x->a, x->dir, "cache");
  assert_int_equal(mkdir(cache, 0777), 0);
  assert_int_equal(chmod(cache, 0777), 0);
  ts_diag d = {0};
  assert_null(ts_compiler_open(&x->t, 1, cache, &d));
  assert_string_equal(d.code, "cache-not-private");
  assert_int_equal(d.kind, TS_ENVIRONMENT);
}

static void test_identity(void **state) {
  fixture *x = *state;
  ts_object a, b, c, d, e;
  ts_target other;
  assert_true(ts_target_parse("cpu:x86-64", &other, NULL));
  assert_true(ts_object_id(scale_by(x, 2), &x->t, &a, NULL));
  assert_true(ts_object_id(scale_by(x, 2), &x->t, &b, NULL));
  assert_true(ts_object_id(scale_by(x, 3), &x->t, &c, NULL));
  assert_true(ts_object_id(scale_by(x, 2), &other, &d, NULL));
  assert_memory_equal(&a.id, &b.id, sizeof a.id);
  assert_memory_not_equal(&a.id, &c.id, sizeof a.id);
  assert_memory_not_equal(&a.id, &d.id, sizeof a.id);
  // Compiling twice gives the same bytes.
  assert_true(ts_codegen_object(scale_by(x, 2), &x->t, x->a, &d, NULL));
  assert_true(ts_codegen_object(scale_by(x, 2), &x->t, x->a, &e, NULL));
  assert_int_equal(d.n, e.n);
  assert_memory_equal(d.bytes, e.bytes, d.n);
}

static void test_bad_object(void **state) {
  fixture *x = *state;
  ts_object o;
  ts_loaded l;
  ts_diag d = {0};
  assert_true(ts_codegen_object(scale_by(x, 2), &x->t, x->a, &o, &d));
  ts_object cut = o, noise = o, other = o;
  cut.n = o.n / 3;
  noise.bytes = "this is no object file, whatever its name";
  noise.n = 40;
  strcpy(other.symbol, "k_missing");
  assert_false(ts_object_load(&noise, &l, &d));
  assert_string_equal(d.code, "bad-object");
  assert_false(ts_object_load(&cut, &l, &d));
  assert_false(ts_object_load(&other, &l, &d));
  // And the loader still works, many times over.
  for (int i = 0; i < 200; i++) {
    assert_true(ts_object_load(&o, &l, &d));
    ts_object_unload(&l);
  }
  expect_scale(&o, 2);
}

static void test_library(void **state) {
  fixture *x = *state;
  ts_object o[3];
  ts_diag d = {0};
  char *path = ts_path_join(x->a, x->dir, "lib.so");
  static const char plan[] = "plan 1\nstep k\0binary";
  assert_true(ts_codegen_object(scale_by(x, 2), &x->t, x->a, &o[0], &d));
  assert_true(ts_codegen_object(scale_by(x, 3), &x->t, x->a, &o[1], &d));
  o[2] = o[0];  // twice the same kernel
  if (!ts_link_library(o, 3, plan, sizeof plan, &x->t, path, &d)) fail_msg("%s", d.message);
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) fail_msg("%s", dlerror());
  assert_int_equal(*(uint32_t *)dlsym(lib, "tunesmith_library_abi"), TS_KERNEL_ABI);
  assert_int_equal(*(uint64_t *)dlsym(lib, "tunesmith_library_plan_size"), sizeof plan);
  assert_memory_equal(dlsym(lib, "tunesmith_library_plan"), plan, sizeof plan);
  ts_kernel_fn k;
  void *address = dlsym(lib, o[1].symbol);
  assert_non_null(address);
  memcpy(&k, &address, sizeof k);
  _Alignas(64) float in[16] = {5}, out[16] = {0};
  k((void *[]){in, out, NULL}, (int64_t[]){1}, &test_serial_rt);
  assert_true(out[0] == 15);
  dlclose(lib);
  // Nothing is left beside it.
  char **names;
  size_t n;
  assert_true(ts_dir_list(x->dir, "", x->a, &names, &n, &d));
  assert_int_equal(n, 1);
}

// A copy of o whose code asks for an address in a table, which only a linker makes.
static ts_object wants_linker(fixture *x, const ts_object *o) {
  ts_object other = *o;
  char *bytes = ts_arena_alloc(x->a, o->n, 16);
  memcpy(bytes, o->bytes, o->n);
  const Elf64_Ehdr *h = (const void *)bytes;
  const Elf64_Shdr *s = (const void *)(bytes + h->e_shoff);
  bool found = false;
  for (int i = 0; i < h->e_shnum; i++) {
    if (s[i].sh_type != SHT_RELA || !s[i].sh_size) continue;
    Elf64_Rela *r = (void *)(bytes + s[i].sh_offset);
    r->r_info = ELF64_R_INFO(ELF64_R_SYM(r->r_info), R_X86_64_GOTPCREL);
    found = true;
  }
  assert_true(found);
  other.bytes = bytes;
  return other;
}

// Kernels that refer to nothing outside of themselves are linked where there is no linker; others are told what to install.
static void test_no_linker(void **state) {
  fixture *x = *state;
  ts_object o, other;
  ts_diag d = {0};
  char *path = ts_path_join(x->a, x->dir, "lib.so"), *before = ts_arena_strdup(x->a, getenv("PATH"));
  assert_true(ts_codegen_object(scale_by(x, 3), &x->t, x->a, &o, &d));
  other = wants_linker(x, &o);
  setenv("PATH", x->dir, 1);
  bool own = ts_link_library(&o, 1, "p", 1, &x->t, path, &d), ok = ts_link_library(&other, 1, "p", 1, &x->t, path, &d);
  setenv("PATH", before, 1);
  assert_true(own);
  assert_false(ok);
  assert_string_equal(d.code, "no-linker");
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  assert_false(ts_link_library(&o, 1, "p", 1, &x->t, "/nonexistent/dir/lib.so", &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
}

// Whatever the bytes of an object are, linking them ends well, or with a refusal.
static void test_strange_objects(void **state) {
  fixture *x = *state;
  ts_object o;
  ts_diag d = {0};
  char *path = ts_path_join(x->a, x->dir, "lib.so"), *before = ts_arena_strdup(x->a, getenv("PATH"));
  ts_rng rng = ts_rng_new(3, 0);
  int linked = 0, refused = 0;
  assert_true(ts_codegen_object(scale_by(x, 3), &x->t, x->a, &o, &d));
  setenv("PATH", x->dir, 1);
  for (int i = 0; i < 600; i++) {
    ts_object other = o;
    uint8_t *bytes = malloc(o.n);  // of its own, so that memory checkers see reads beyond it
    memcpy(bytes, o.bytes, o.n);
    for (uint32_t k = ts_rng_below(&rng, 4); k-- > 0;) bytes[ts_rng_below(&rng, (uint32_t)o.n)] = (uint8_t)ts_rng_below(&rng, 256);
    if (i % 3 == 0) other.n = ts_rng_below(&rng, (uint32_t)o.n);
    if (i % 3 == 1) bytes[o.n - 1 - ts_rng_below(&rng, TS_MIN(1024, (uint32_t)o.n))] ^= (uint8_t)(1u << ts_rng_below(&rng, 8));  // the section headers
    other.bytes = bytes;
    bool ok = ts_link_library(&other, 1, "p", 1, &x->t, path, &d);
    if (!ok && strcmp(d.code, "no-linker") != 0) fail_msg("%s", d.message);
    *(ok ? &linked : &refused) += 1;
    free(bytes);
  }
  setenv("PATH", before, 1);
  assert_true(linked > 50 && refused > 150);
}

// Fork, spawn and write failures: an environment failure each, nothing left behind, and the next attempt works.
static void test_faults(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  ts_object o;
  ts_fault_set("fork:2");
  assert_null(ts_compiler_open(&x->t, 3, NULL, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  ts_fault_set(NULL);
  ts_compiler *c = open_pool(x, "cpu:x86-64", 1, NULL);
  assert_false(ts_compiler_run(c, parse(x, abort_text), x->a, &o, &d));
  ts_fault_set("fork:1");  // the replacement of the worker that died
  assert_false(ts_compiler_run(c, scale_by(x, 4), x->a, &o, &d));
  assert_int_equal(d.kind, TS_ENVIRONMENT);
  ts_fault_set(NULL);
  assert_true(ts_compiler_run(c, scale_by(x, 4), x->a, &o, &d));
  ts_compiler_close(c);
  char *path = ts_path_join(x->a, x->dir, "lib.so");
  static const char *const faults[] = {"write:1", "spawn:1"};
  assert_true(ts_codegen_object(scale_by(x, 3), &x->t, x->a, &o, &d));
  const ts_object other = wants_linker(x, &o);
  for (size_t i = 0; i < TS_COUNTOF(faults); i++) {
    ts_fault_set(faults[i]);
    assert_false(ts_link_library(&other, 1, "p", 1, &x->t, path, &d));
    assert_int_equal(d.kind, TS_ENVIRONMENT);
    ts_fault_set(NULL);
    char **names;
    size_t n;
    assert_true(ts_dir_list(x->dir, "", x->a, &names, &n, NULL));
    assert_int_equal(n, 0);
  }
  ts_fault_set("write:1");
  assert_false(ts_link_library(&o, 1, "p", 1, &x->t, path, &d));
  ts_fault_set(NULL);
  assert_true(ts_link_library(&o, 1, "p", 1, &x->t, path, &d));
  char *before, *after;
  size_t n, still;
  assert_true(ts_file_read(path, x->a, &before, &n, &d));
  ts_fault_set("write:2");  // what the linker made is written again, with its seal: a full disk then
  assert_false(ts_link_library(&other, 1, "p", 1, &x->t, path, &d));
  ts_fault_set(NULL);
  assert_string_equal(d.code, "write-failed");
  assert_non_null(strstr(d.message, path));
  assert_true(ts_file_read(path, x->a, &after, &still, &d));
  assert_true(n == still && memcmp(before, after, n) == 0);  // the library that was there is as it was
  char **names;
  assert_true(ts_dir_list(x->dir, "", x->a, &names, &n, NULL));
  assert_int_equal(n, 1);
}

// Both ways of writing a library seal it.
static void test_sealed(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  ts_object o[2];
  char *path = ts_path_join(x->a, x->dir, "lib.so");
  assert_true(ts_codegen_object(scale_by(x, 3), &x->t, x->a, &o[0], &d));
  o[1] = wants_linker(x, &o[0]);
  for (int i = 0; i < 2; i++) {
    char *bytes;
    size_t n;
    if (!ts_link_library(&o[i], 1, "p", 1, &x->t, path, &d)) fail_msg("%s", d.message);
    assert_true(ts_file_read(path, x->a, &bytes, &n, &d));
    assert_int_equal(ts_seal_check(bytes, n), TS_SEAL_HOLDS);
    bytes[n / 2] ^= 1;
    assert_int_equal(ts_seal_check(bytes, n), TS_SEAL_BROKEN);
    assert_int_equal(ts_seal_check(bytes, n - 1), TS_SEAL_NONE);
  }
}

static const char gpu_text[] =
    "func scale(n: dim(1..100), x: f32[n, 64], y: out f32[n, 64]) {\n  for i in 0..n thread(blockIdx.x) {\n"
    "    for j in 0..64 thread(threadIdx.x) {\n      block b(v: S = i, u: S = j) {\n        y[v, u] = x[v, u] * 2.0\n"
    "      }\n    }\n  }\n}\n";

// Kernels for GPUs go the same ways: workers, cache, identity, libraries (as data).
static void test_gpu(void **state) {
  fixture *x = *state;
  ts_diag d = {0};
  ts_object o[2], again;
  ts_gpu_code code;
  char *cache = ts_path_join(x->a, x->dir, "cache"), *path = ts_path_join(x->a, x->dir, "lib.so");
  setenv("TUNESMITH_PTXAS", "none", 1);
  static const char *const targets[] = {"cuda:sm_80", "cuda:sm_90a"};
  for (int i = 0; i < 2; i++) {
    ts_compiler *c = open_pool(x, targets[i], 1, cache);
    if (!ts_compiler_run(c, parse(x, gpu_text), x->a, &o[i], &d)) fail_msg("%s", d.message);
    assert_true(ts_compiler_run(c, parse(x, gpu_text), x->a, &again, &d));
    assert_true(again.cached && again.n == o[i].n && memcmp(again.bytes, o[i].bytes, again.n) == 0);
    ts_compiler_close(c);
    if (!ts_gpu_code_read(x->a, o[i].bytes, o[i].n, &code, &d)) fail_msg("%s", d.message);
    assert_int_equal(code.nlaunches, 1);
    assert_int_equal(code.launches[0].block[0], 64);
    assert_int_equal(code.launches[0].dependent, i);
    assert_int_equal(code.kind, TS_GPU_PTX);
    assert_int_equal(code.registers, -1);
  }
  unsetenv("TUNESMITH_PTXAS");
  assert_string_not_equal(o[0].symbol, o[1].symbol);
  ts_target t;
  assert_true(ts_target_parse("cuda:sm_90a", &t, &d));
  if (!ts_link_library((ts_object[]){o[0], o[1], o[0]}, 3, "plan", 4, &t, path, &d)) fail_msg("%s", d.message);
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) fail_msg("%s", dlerror());
  char bytes[128];
  snprintf(bytes, sizeof bytes, "%s_bytes", o[1].symbol);
  assert_int_equal(*(uint64_t *)dlsym(lib, bytes), o[1].n);
  assert_memory_equal(dlsym(lib, o[1].symbol), o[1].bytes, o[1].n);
  assert_memory_equal(dlsym(lib, "tunesmith_library_plan"), "plan", 4);
  dlclose(lib);
}

// What an assembler refuses is told in its own words; one that is too old leaves the PTX to the driver.
static void test_assembler(void **state) {
  static const struct {
    const char *says;
    ts_gpu_image kind;
    const char *told;
  } rows[] = {
      {"k.ptx, line 8; fatal   : (C7406) 232 is larger than 80\\nptxas fatal   : Ptx assembly aborted due to errors", TS_GPU_CUBIN, "ptxas failed (255): fatal   : (C7406) 232 is larger than 80"},
      {"k.ptx, line 9; error   : Unknown symbol\\nptxas fatal   : aborted", TS_GPU_CUBIN, "ptxas failed (255): error   : Unknown symbol"},
      {"k.ptx, line 1; fatal   : Unsupported .version 8.3; current version is '7.8'", TS_GPU_PTX, "too old, the driver translates: fatal   : Unsupported .version 8.3; current version is '7.8'"},
      {"ptxas fatal   : Value 'sm_90a' is not defined for option 'gpu-name'", TS_GPU_PTX, "too old"},
  };
  fixture *x = *state;
  const char *tool = ts_path_join(x->a, x->dir, "assembler");
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    const char *script = ts_arena_printf(x->a, "#!/bin/sh\nprintf \"%%b\\n\" \"%s\" >&2\nexit 255\n", rows[i].says);
    ts_diag d = {0};
    ts_object o;
    ts_gpu_code code;
    if (!ts_file_write(tool, script, strlen(script), &d)) fail_msg("%s", d.message);
    assert_int_equal(chmod(tool, 0700), 0);
    setenv("TUNESMITH_PTXAS", tool, 1);
    ts_compiler *c = open_pool(x, "cuda:sm_90a", 1, NULL);
    bool ok = ts_compiler_run(c, parse(x, gpu_text), x->a, &o, &d);
    ts_compiler_close(c);
    unsetenv("TUNESMITH_PTXAS");
    assert_int_equal(ok, rows[i].kind == TS_GPU_PTX);
    if (!ok) assert_string_equal(d.message, rows[i].told);
    if (!ok) continue;
    if (!ts_gpu_code_read(x->a, o.bytes, o.n, &code, &d)) fail_msg("%s", d.message);
    assert_int_equal(code.kind, TS_GPU_PTX);
    assert_int_equal(code.registers, -1);
    if (strncmp(code.warnings, rows[i].told, strlen(rows[i].told)) != 0) fail_msg("%s", code.warnings);
  }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {T(test_pool),    T(test_drop),       T(test_abort),        T(test_timeout),  T(test_refusal),
                                     T(test_cache),   T(test_public_cache), T(test_identity), T(test_bad_object),
                                     T(test_library), T(test_no_linker),    T(test_strange_objects), T(test_faults),    T(test_sealed),    T(test_gpu),
                                     T(test_assembler)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
