// codegen: native templates through NVRTC, where it is installed; skipped with a line that says so elsewhere.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "codegen/codegen.h"
#include "op/native.h"

static const char head[] =
    "tunesmith-gpu 1\narch sm_90a\nparams 2\ndims\nregisters -1 spills -1\nworkspace 0\nzeroed 0\nlaunch k\ngrid 1 ; 1 ; 1\nblock 32 1 1\nshared 0\ncluster 1 1 1\ndependent 0\nargs b0 b1\n";

typedef struct fixture {
  ts_arena *a;
  ts_target t;
} fixture;

static void need_nvrtc(void) {
  if (ts_codegen_nvrtc()) return;
  fprintf(stderr, "SKIPPED: no NVRTC library here\n");
  skip();
}

static ts_unit unit_of(fixture *x, const char *source) {
  const char *bytes = ts_arena_printf(x->a, "%simage cuda %zu\n%s", head, strlen(source), source);
  return (ts_unit){.name = "k", .bytes = bytes, .n = strlen(bytes)};
}

static const char good[] = "#line 1 \"t/ref.k.cu\"\nextern \"C\" __global__ void k(const float *x, float *y) { y[threadIdx.x] = 2.0f * x[threadIdx.x]; }\n";

static void compiles(void **state) {
  fixture *x = *state;
  need_nvrtc();
  ts_unit u = unit_of(x, good);
  ts_object o;
  ts_gpu_code c;
  ts_diag d = {0};
  if (!ts_codegen_unit(&u, &x->t, x->a, &o, &d)) fail_msg("%s", d.message);
  if (!ts_gpu_code_read(x->a, o.bytes, o.n, &c, &d)) fail_msg("%s", d.message);
  assert_int_equal(c.kind, TS_GPU_CUBIN);
  assert_memory_equal(c.image, "\177ELF", 4);
  assert_true(c.registers > 0 && c.registers < 64);
  assert_int_equal(c.spills, 0);
  assert_int_equal(c.nlaunches, 1);
  assert_string_equal(c.launches[0].entry, "k");
  assert_true(o.compile_s > 0);
}

// A target that wants PTX gets that, under another name; the compiler is not asked for registers then.
static void stays_ptx(void **state) {
  fixture *x = *state;
  need_nvrtc();
  ts_unit u = unit_of(x, good);
  ts_object o, p;
  ts_gpu_code c;
  ts_target t;
  ts_diag d = {0};
  assert_true(ts_target_parse("cuda:sm_90a,ptx=1", &t, &d));
  if (!ts_codegen_unit(&u, &t, x->a, &o, &d) || !ts_gpu_code_read(x->a, o.bytes, o.n, &c, &d)) fail_msg("%s", d.message);
  assert_int_equal(c.kind, TS_GPU_PTX);
  assert_int_equal(c.registers, -1);
  assert_non_null(strstr(ts_arena_strndup(x->a, c.image, c.image_n), ".target sm_90a"));
  assert_true(ts_unit_id(&u, &x->t, &p, &d));
  assert_memory_not_equal(o.id.b, p.id.b, sizeof o.id.b);
}

// What the compiler and the assembler warn of is kept with the artifact: here a variable nobody uses, and products that must end one by one
// because their sums are used before a wait.
static void warnings_are_kept(void **state) {
  fixture *x = *state;
  need_nvrtc();
  static const struct {
    const char *source, *says;
  } rows[] = {
      {good, NULL},
      {"extern \"C\" __global__ void k(float *x, float *y) { int spare = 3; y[0] = x[0]; }\n", "\"spare\""},
      {"extern \"C\" __global__ void k(unsigned long long *x, float *y) {\n"
       "  float a = 0, b = 0, c = 0, e = 0;\n"
       "  for (int i = 0; i < 4; i++) {\n"
       "    asm volatile(\"wgmma.fence.sync.aligned;\");\n"
       "    asm volatile(\"wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, 0;\" : \"+f\"(a), \"+f\"(b), \"+f\"(c), \"+f\"(e) : \"l\"(x[i]), \"l\"(x[4]));\n"
       "    a *= 2.0f;\n"
       "    asm volatile(\"wgmma.commit_group.sync.aligned;\");\n"
       "  }\n"
       "  asm volatile(\"wgmma.wait_group.sync.aligned 0;\");\n"
       "  y[threadIdx.x] = a + b + c + e;\n"
       "}\n",
       "serialized"},
  };
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    ts_unit u = unit_of(x, rows[i].source);
    ts_object o;
    ts_gpu_code c;
    ts_diag d = {0};
    if (!ts_codegen_unit(&u, &x->t, x->a, &o, &d) || !ts_gpu_code_read(x->a, o.bytes, o.n, &c, &d)) fail_msg("%s", d.message);
    if (rows[i].says ? !strstr(c.warnings, rows[i].says) : *c.warnings) fail_msg("case %zu: %s", i, c.warnings);
    if (strncmp(c.warnings, "ptxas", 5) == 0) fail_msg("%s", c.warnings);
  }
}

// The compiler's words come with the template's file and line.
static void errors_have_a_place(void **state) {
  fixture *x = *state;
  need_nvrtc();
  ts_unit u = unit_of(x, "#line 1 \"t/ref.k.cu\"\nextern \"C\" __global__ void k(float *x)\n{ x[0] = nothing; }\n");
  ts_object o;
  ts_diag d = {0};
  assert_false(ts_codegen_unit(&u, &x->t, x->a, &o, &d));
  assert_string_equal(d.code, "template-compile");
  if (strncmp(d.message, "t/ref.k.cu:2: error: ", 21) != 0 || !strstr(d.message, "nothing")) fail_msg("%s", d.message);
  u = unit_of(x, "#include <cuda_fp16.h>\nextern \"C\" __global__ void k(__half *x) { x[0] = __hadd(x[1], x[2]); }\n");
  if (!ts_codegen_unit(&u, &x->t, x->a, &o, &d) && strcmp(d.code, "no-cuda-headers") != 0) fail_msg("%s", d.message);
}

static void wrong_units_are_refused(void **state) {
  fixture *x = *state;
  ts_object o;
  ts_diag d = {0};
  ts_unit u = {.name = "k", .bytes = head, .n = sizeof head - 1};
  assert_false(ts_codegen_unit(&u, &x->t, x->a, &o, &d));
  ts_target other;
  assert_true(ts_target_parse("cuda:sm_80", &other, &d));
  u = unit_of(x, good);
  assert_false(ts_codegen_unit(&u, &other, x->a, &o, &d));
  assert_string_equal(d.code, "wrong-target");
}

static void identities_differ(void **state) {
  fixture *x = *state;
  ts_object o, p, q;
  ts_diag d = {0};
  ts_unit u = unit_of(x, good), v = unit_of(x, "extern \"C\" __global__ void k() {}\n");
  assert_true(ts_unit_id(&u, &x->t, &o, &d) && ts_unit_id(&u, &x->t, &p, &d) && ts_unit_id(&v, &x->t, &q, &d));
  assert_memory_equal(o.id.b, p.id.b, sizeof o.id.b);
  assert_memory_not_equal(o.id.b, q.id.b, sizeof o.id.b);
  assert_string_equal(o.symbol, p.symbol);
}

// Through the workers, beside functions, and from the cache the second time.
static void workers_and_cache(void **state) {
  fixture *x = *state;
  need_nvrtc();
  char dir[] = "/tmp/tunesmith-native-XXXXXX";
  assert_non_null(mkdtemp(dir));
  ts_diag d = {0};
  ts_unit u = unit_of(x, good), bad = unit_of(x, "nonsense\n");
  for (int round = 0; round < 2; round++) {
    ts_compiler *c = ts_compiler_open(&x->t, 2, dir, &d);
    assert_non_null(c);
    assert_true(ts_compiler_submit_unit(c, &u, 7, &d) && ts_compiler_submit_unit(c, &bad, 8, &d));
    for (int k = 0; k < 2; k++) {
      ts_compiled done;
      assert_int_equal(ts_compiler_next(c, 60, x->a, &done), 1);
      assert_int_equal(done.ok, done.tag == 7);
      if (!done.ok) assert_string_equal(done.diag.code, "template-compile");
      else assert_int_equal(done.object.cached, round == 1);
    }
    assert_int_equal(ts_compiler_pending(c), 0);
    ts_compiler_close(c);
  }
  const char *rm[] = {"rm", "-rf", dir, NULL};
  ts_proc_result r;
  assert_true(ts_proc_run(rm, 10, NULL, &r, &d));
}

// Every template of kernels/templates is among what is compiled, "matmul/mma.gemv.cu: WORKLOAD".
static void all_are_named(fixture *x, const char *const *label, uint64_t n) {
  ts_diag d = {0};
  const ts_op *op;
  size_t nops, files;
  char **name;
  if (!ts_op_list(x->a, &op, &nops, &d)) fail_msg("%s", d.message);
  for (size_t i = 0; i < nops; i++) {
    const char *dir = ts_path_join(x->a, ts_data_dir(), ts_arena_printf(x->a, "kernels/templates/%s", op[i].templates));
    if (!ts_file_exists(dir)) continue;
    if (!ts_dir_list(dir, ".cu", x->a, &name, &files, &d)) fail_msg("%s", d.message);
    for (size_t k = 0; k < files; k++) {
      const char *begin = ts_arena_printf(x->a, "%s/%s:", op[i].templates, name[k]);
      bool found = false;
      for (uint64_t j = 0; j < n; j++) found |= strncmp(label[j], begin, strlen(begin)) == 0;
      if (!found) fail_msg("%s serves none of the workloads here", begin);
    }
  }
}

static const char *const served[] = {
    "matmul q4f16_1 A=f16 K=4096 N=4096 n=64",
    "matmul q4f16_1 A=f16 K=704 N=272 n=64",
    "matmul_add q4f16_1 A=f16 K=4096 N=4096 R=f32 n=16",
    "matmul_add q4f16_1 A=f32 K=576 N=576 n=1",
    "norm_matmul q4f16_1 A=f32 K=4096 N=6144 eps=1e-05 n=1",
    "norm_matmul_silu q4f16_1 A=f32 I=1536 K=576 eps=1e-05 n=1",
    "norm_matmul_silu q4f16_1 A=f32 I=4864 K=896 eps=1e-06 n=1",
    "matmul_add q4f16_1 A=f32 K=4864 N=896 R=f32 n=1",
    "matmul_add q4f16_1 A=f32 K=11008 N=4096 R=f32 n=1",
    "norm_matmul q4f16_1 A=f32 K=4096 N=32000 eps=1e-05 n=1",
    "rope_attention_rows A=f32 C=f16 D=128 H=32 HK=32 P=4096 n=1 t=0..4095",
    "norm_matmul_bias q4f16_1 A=f32 K=896 N=1152 eps=1e-06 n=1",
    "norm_matmul_bias q0f16 A=f32 K=896 N=1152 eps=1e-06 n=1",
    "matmul q4f16_1 A=f16 K=4096 N=4096 n=16..2048%16",
    "matmul q0f16 A=f32 K=896 N=1152 n=1",
    "matmul q0f16 A=f16 K=4096 N=4096 n=16..2048%16",
    "matmul_add q0f16 A=f16 K=4096 N=4096 R=f32 n=100",
    "matmul q0f16 A=f16 K=192 N=208 n=70",
    "norm_matmul q4f16_1 A=f32 K=576 N=960 eps=1e-05 n=1",
    "norm_matmul q0f16 A=f32 K=896 N=1152 eps=1e-06 n=1",
    "norm_matmul_silu q0f16 A=f32 I=4864 K=896 eps=1e-06 n=1",
    "argmax A=f16 V=49152 n=7",
    "sample A=f32 V=128256 inv_temperature=0.7 n=1..16",
    "rope_attention_rows A=f32 C=f16 D=64 H=9 HK=3 P=2048 n=1 t=0..2047",
    "rms_norm A=f16 H=4096 R=f32 eps=1e-05 n=16..2048%16",
    "silu_mul A=f16 I=14336 n=16..2048%16",
    "add_bias A=f16 N=1152 n=16..2048%16",
    "rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=4096 n=16..2048%16 t=0..4080",
    "rope_append_rows_paged A=f16 C=f16 D=64 H=9 HK=3 P=2048 PAGE=16 POOL=300 n=16..2048%16 t=0..2032",
    "attention_rows A=f16 C=f16 D=128 H=32 HK=8 P=2048 n=16..2048%16 t=0..2032",
    "attention_rows A=f16 C=f16 D=128 H=8 HK=2 P=2000 n=16..64%16 t=0..1900",
    "attention_rows_paged A=f16 C=f16 D=128 H=8 HK=2 P=2048 PAGE=64 POOL=40 n=16..64%16 t=0..1900",
    "attention_rows A=f32 C=f16 D=128 H=32 HK=32 P=2048 n=1 t=0..2047",
    "attention_rows_paged A=f32 C=f16 D=128 H=32 HK=32 P=2048 PAGE=64 POOL=64 n=1 t=0..2047",
    "attention_rows_paged A=f16 C=f16 D=128 H=32 HK=8 P=2048 PAGE=16 POOL=128 n=16..2048%16 t=0..2032",
    "rope_attention_rows_paged A=f32 C=f16 D=64 H=9 HK=3 P=2048 PAGE=16 POOL=300 n=1 t=0..2047",
    "rope_attention_rows_paged A=f32 C=f16 D=128 H=32 HK=8 P=2048 PAGE=64 POOL=64 n=1 t=0..2047",
};

typedef struct shipped {
  const char *label[96];  // template: workload
  bool named[96];         // a point that its author names for decoding
  uint64_t n;
  bool once;              // a template at the first workload that it serves, not at all
} shipped;

static bool is_among(const shipped *s, const char *begin) {
  for (uint64_t i = 0; i < s->n; i++)
    if (strncmp(s->label[i], begin, strlen(begin)) == 0) return true;
  return false;
}

// The first point of a template at a workload, where it serves that on the GPU, is given to the compiler.
static void submit_first(fixture *x, const ts_target *t, ts_compiler *c, const ts_spec *spec, const char *text, const char *variant, const ts_native *native, shipped *s) {
  ts_op_inst inst;
  ts_native_fit f;
  const int64_t *p;
  ts_text unit = {0};
  ts_diag why = {0}, d = {0};
  if (s->once && is_among(s, ts_arena_printf(x->a, "%s:", native->label))) return;
  if (!ts_op_instantiate(ts_ir_new(x->a), spec, variant, &inst, &why) || !ts_native_bind(x->a, native, spec, inst.func, t, &f, &why)) return;
  if (!ts_native_first(x->a, &f, &p, &d)) fail_msg("%s", d.message);
  if (!p) return;
  if (!ts_native_unit(x->a, &f, p, &unit, &d)) fail_msg("%s", d.message);
  assert_true(s->n < TS_COUNTOF(s->label));
  s->named[s->n] = native->nstarts > 0 && strstr(ts_arena_printf(x->a, "%s ", text), "n=1 ");
  s->label[s->n] = ts_arena_printf(x->a, "%s: %s", native->label, text);
  assert_true(ts_compiler_submit_unit(c, &(ts_unit){.name = native->name, .bytes = unit.p, .n = unit.n}, s->n++, &d));
  ts_text_free(&unit);
}

static void submit_shipped(fixture *x, const ts_target *t, ts_compiler *c, shipped *s) {
  ts_diag d = {0};
  for (size_t i = 0; i < TS_COUNTOF(served); i++) {
    ts_spec *spec = ts_new(x->a, ts_spec);
    if (!ts_spec_parse(x->a, served[i], spec, &d)) fail_msg("%s", d.message);
    const ts_op *op = ts_op_find(x->a, spec->op, &d);
    assert_non_null(op);
    for (int v = 0; v < op->nvariants; v++) {
      const ts_native **list;
      size_t count;
      if (!ts_native_list(x->a, op, op->variants[v].name, &list, &count, &d)) fail_msg("%s", d.message);
      for (size_t k = 0; k < count; k++) submit_first(x, t, c, spec, served[i], op->variants[v].name, list[k], s);
    }
  }
}

static void check_shipped(fixture *x, ts_compiler *c, const shipped *s) {
  ts_diag d = {0};
  for (ts_compiled done; ts_compiler_next(c, 60, x->a, &done) == 1;) {
    const char *label = s->label[done.tag];
    ts_gpu_code code;
    if (!done.ok) fail_msg("%s: %s", label, done.diag.message);
    if (!ts_gpu_code_read(x->a, done.object.bytes, done.object.n, &code, &d)) fail_msg("%s: %s", label, d.message);
    if (*code.warnings && strstr(label, "%16")) fail_msg("%s: %s", label, code.warnings);
    if (s->named[done.tag] && code.spills > 0) fail_msg("%s spills %d bytes", label, code.spills);
    if (done.object.compile_s > 60) fail_msg("%s took %.1f s to compile", label, done.object.compile_s);
  }
}

// The first point of every shipped template that serves one of these compiles, for many rows without warnings (of few, a second block
// beside may be worth more than products in flight); points that an author names for decoding do not spill.
static void shipped_templates_compile(void **state) {
  fixture *x = *state;
  need_nvrtc();
  shipped *s = ts_new(x->a, shipped);
  ts_compiler *c = ts_compiler_open(&x->t, 2, NULL, NULL);
  assert_non_null(c);
  submit_shipped(x, &x->t, c, s);
  all_are_named(x, s->label, s->n);
  check_shipped(x, c, s);
  ts_compiler_close(c);
}

// Templates for other GPUs than those of 9.0 compile for each of them; those that decoding and products rest on are among them. No wgmma in any.
static void other_gpus(void **state) {
  fixture *x = *state;
  need_nvrtc();
  static const char *const others[] = {"cuda:sm_80", "cuda:sm_86", "cuda:sm_89", "cuda:sm_100", "cuda:sm_120"};
  static const char *const wanted[] = {"argmax/ref.fused.cu", "sample/ref.fused.cu", "matmul/mma.gemv.cu", "matmul/mma.direct.cu", "matmul/mma.exact.cu", "matmul/mma.stream.cu", "matmul/mma.tiles.cu", "matmul/ref.rows.cu", "matmul/ref.tiles.cu", "norm_matmul/mma.gemv.cu",
                                       "norm_matmul/mma.direct.cu", "norm_matmul/ref.rows.cu", "norm_matmul_bias/mma.gemv.cu", "norm_matmul_bias/ref.rows.cu",
                                       "norm_matmul_silu/mma.gemv.cu", "norm_matmul_silu/ref.rows.cu", "attention_rows/ref.decode.cu", "attention_rows/ref.decode_paged.cu", "attention_rows/ref.tiles.cu", "attention_rows/ref.tiles_paged.cu", "rms_norm/ref.row.cu", "silu_mul/ref.pieces.cu", "add_bias/ref.pieces.cu", "rope_append/ref.pieces.cu", "rope_append/ref.pieces_paged.cu",
                                       "rope_attention_rows/ref.decode.cu", "rope_attention_rows/ref.decode_paged.cu",
                                       "rope_attention_rows/ref.early.cu", "matmul/mma.batch.cu"};  // the last two since 9.0
  for (size_t i = 0; i < TS_COUNTOF(others); i++) {
    ts_target t;
    shipped *s = ts_new(x->a, shipped);
    assert_true(ts_target_parse(others[i], &t, NULL));
    s->once = i > 0;
    if (t.gpu.compute > 90 && ts_codegen_nvrtc() < 12080) {
      fprintf(stderr, "SKIPPED: this NVRTC is older than %s\n", others[i]);
      continue;
    }
    ts_compiler *c = ts_compiler_open(&t, 2, NULL, NULL);
    assert_non_null(c);
    submit_shipped(x, &t, c, s);
    for (size_t k = 0; k < TS_COUNTOF(wanted) - (t.gpu.compute < 90 ? 2 : 0); k++)
      if (!is_among(s, wanted[k])) fail_msg("%s does not serve %s", wanted[k], others[i]);
    check_shipped(x, c, s);
    ts_compiler_close(c);
  }
}

static int setup(void **state) {
  static fixture x;
  x.a = ts_arena_new("native");
  *state = &x;
  return ts_target_parse("cuda:sm_90a", &x.t, NULL) ? 0 : -1;
}

static int teardown(void **state) {
  ts_arena_free(((fixture *)*state)->a);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(compiles), cmocka_unit_test(stays_ptx), cmocka_unit_test(warnings_are_kept), cmocka_unit_test(errors_have_a_place), cmocka_unit_test(wrong_units_are_refused), cmocka_unit_test(identities_differ),
                                     cmocka_unit_test(workers_and_cache), cmocka_unit_test(shipped_templates_compile),
                                     cmocka_unit_test(other_gpus)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
