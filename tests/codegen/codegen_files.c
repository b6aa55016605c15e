// Differential test of lowering and code generation: every function in cases/ is interpreted, lowered and interpreted
// again, and compiled for this machine, for x86-64-v3 and for plain x86-64; all results are compared on random data.
//
// Comments at the head of a case:
//   # run 8 3            values of its dimensions (one line a run; a function without dimensions runs once)
//   # range idx 0 9      elements of a parameter lie between these
//   # tolerance 1e-5     relative to the largest magnitude of each output (default 1e-6; integers are exact)
//   # asm avx512f has vfmadd231ps      for a target with the feature; `lacks` is the opposite
//   # lowered has if / lacks alloc     in the text of the lowered function
//   # needs avx512f      without it this machine does not run the case, and another's code is looked at
//   # refuse CODE        lowering or compiling refuses with this code
#include "differ.h"
#include "op/op.h"

// Calls f for each head line "# KEY rest".
static void each_line(testcase *c, const char *key, void (*f)(testcase *c, char *rest)) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n"), k = strlen(key);
    if (len > k + 2 && memcmp(p + 2, key, k) == 0 && p[2 + k] == ' ')
      f(c, ts_arena_strndup(c->a, p + 3 + k, len - 3 - k));
    p += len + (p[len] == '\n');
  }
}

// --- checks on text --------------------------------------------------------------------------------------------------

static void check_text(testcase *c, const char *text, const char *what, char *rest) {
  bool has = strncmp(rest, "has ", 4) == 0;
  const char *needle = strchr(rest, ' ') + 1;
  if ((strstr(text, needle) != NULL) != has)
    complain(c, "%s %s \"%s\":\n%s", what, has ? "lacks" : "has", needle, text);
}

static void check_asm(testcase *c, char *rest) {
  ts_target t;
  ts_diag d = {0};
  ts_text text = {0};
  char *space = strchr(rest, ' ');
  *space = 0;
  if (!ts_target_parse(machine(c), &t, &d) || !ts_target_has(&t, rest)) return;
  if (!ts_codegen_asm(c->f, &t, &text, &d))
    complain(c, "asm: %s", d.message);
  else
    check_text(c, text.p, "assembly", space + 1);
  ts_text_free(&text);
}

static void check_lowered(testcase *c, char *rest) {
  const ts_func *loops = lowered(c, machine(c));
  ts_text text = {0};
  if (!loops) return;
  ts_func_print(&text, loops);
  check_text(c, ts_text_str(&text), "lowered function", rest);
  ts_text_free(&text);
}

static void check_refusal(testcase *c, const char *code) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  if (!ts_target_parse(machine(c), &t, &d)) return;
  if (ts_codegen_object(c->f, &t, c->a, &o, &d))
    complain(c, "was compiled, not refused with %s", code);
  else if (strcmp(d.code, code) != 0 || d.kind != TS_REFUSAL)
    complain(c, "refused with %s (%s), not %s", d.code, d.message, code);
}

static int run_case(const char *dir, const char *name) {
  testcase c = {.name = name, .a = ts_arena_new("case")};
  ts_diag d = {0};
  char *text;
  c.file = ts_path_join(c.a, dir, name);
  c.ir = ts_ir_new(c.a);
  if (!ts_file_read(c.file, c.a, &text, &c.n, &d)) return ts_diag_print(stdout, &d), 1;
  c.text = text;
  c.f = ts_func_parse(c.ir, c.file, text, c.n, NULL, 0, &d);
  if (!c.f || !ts_func_verify(c.f, &d)) return ts_diag_print(stdout, &d), 1;
  const char *refuse = value_of(&c, "refuse");
  if (refuse) {
    check_refusal(&c, refuse);
  } else {
    if (c.f->ndims == 0) run(&c, (char[]){""});
    each_line(&c, "run", run);
    each_line(&c, "asm", check_asm);
    each_line(&c, "lowered", check_lowered);
  }
  int failures = c.failures;
  ts_arena_free(c.a);
  return failures;
}

// --- the operators of the project, as written
// -------------------------------------------------------------------------

typedef struct workload {
  const char *spec, *variant, *dims, *head;
} workload;
static const workload workloads[] = {
    {"matmul q4f16_1 N=32 K=64 A=f32", "", "3", "# tolerance 1e-5\n"},
    {"matmul q4f16_1 N=32 K=64 A=f16", "", "2", "# tolerance 2e-3\n"},
    {"matmul q0f32 N=32 K=64 A=f32", "", "5", "# tolerance 1e-5\n"},
    {"matmul_add q4f16_0 N=32 K=64 A=f32", "", "3", "# tolerance 1e-5\n"},
    {"matmul q4f16_1 N=32 K=64 A=f32", "a8", "3", "# tolerance 1e-2\n# range x -1 1\n# range ws 0.01 0.02\n"},
    {"matmul q4f16_1 N=32 K=64 A=f32", "a16", "3", "# tolerance 1e-3\n# range x -1 1\n# range ws 0.01 0.02\n"},
    {"rms_norm H=64 A=f16 eps=1e-5", "", "3", "# tolerance 2e-3\n"},
    {"silu_mul I=48 A=f32", "", "3", "# tolerance 1e-5\n"},
    {"softmax V=100 A=f32 inv_temperature=0.7", "", "3", "# tolerance 1e-5\n"},
    {"argmax V=100 A=f32", "", "4", ""},
    {"embed q4f16_1 V=64 H=64 A=f32", "", "4", "# range tokens 0 63\n# tolerance 1e-5\n"},
    {"rope_append H=2 HK=1 D=16 P=64 C=f16 A=f32", "", "3 10", "# tolerance 1e-5\n"},
    {"attention H=4 HK=2 D=16 P=64 C=f16 A=f32", "", "3 20", "# tolerance 1e-4\n"},
};

static int run_workload(const workload *w) {
  testcase c = {.name = w->spec, .a = ts_arena_new("case"), .text = w->head};
  ts_diag d = {0};
  ts_spec spec;
  ts_op_inst inst;
  c.ir = ts_ir_new(c.a);
  if (!ts_spec_parse(c.a, w->spec, &spec, &d) || !ts_op_instantiate(c.ir, &spec, w->variant, &inst, &d)) {
    complain(&c, "%s [%s]", d.message, d.code);
  } else {
    char dims[32];
    c.f = inst.func;
    snprintf(dims, sizeof dims, "%s", w->dims);
    run(&c, dims);
    if (inst.pack) c.f = inst.pack, run(&c, dims);
  }
  int failures = c.failures;
  ts_arena_free(c.a);
  return failures;
}

// Arguments: names of cases; all of them and the operators without.
int main(int argc, char **argv) {
  int failures = 0, ran = run_files(TS_CASES, ".tir", argc, argv, run_case, &failures);
  for (size_t i = 0; i < TS_COUNTOF(workloads) && (argc == 1 || strcmp(argv[1], "ops") == 0); i++, ran++)
    failures += run_workload(&workloads[i]);
  printf("%d cases, %d failures\n", ran, failures);
  return failures || !ran;
}
