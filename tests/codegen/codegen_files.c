// Differential test of lowering and code generation: every function in cases/ is interpreted, lowered and interpreted again,
// and compiled for this machine, for x86-64-v3 and for plain x86-64; all results are compared on random data.
//
// Comments at the head of a case:
//   # run 8 3            values of its dimensions (one line a run; a function without dimensions runs once)
//   # range idx 0 9      elements of a parameter lie between these
//   # tolerance 1e-5     relative to the largest magnitude of each output (default 1e-6; integers are exact)
//   # asm avx512f has vfmadd231ps      for a target with the feature; `lacks` is the opposite
//   # lowered has if / lacks alloc     in the text of the lowered function
//   # refuse CODE        lowering or compiling refuses with this code
#include <math.h>
#include <stdlib.h>

#include "codegen/codegen.h"
#include "op/op.h"
#include "threads.h"

enum { GUARD = 256, MOST = 64 };

typedef struct testcase {
  const char *name, *file, *text;
  size_t n;
  ts_arena *a;
  ts_ir *ir;
  const ts_func *f;
  int failures;
} testcase;

static void complain(testcase *c, const char *fmt, ...) TS_PRINTF(2, 3);
static void complain(testcase *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  printf("%s: ", c->name);
  vprintf(fmt, ap);
  printf("\n");
  va_end(ap);
  c->failures++;
}

// Calls f for each head line "# KEY rest".
static void each_line(testcase *c, const char *key, void (*f)(testcase *c, char *rest)) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n"), k = strlen(key);
    if (len > k + 2 && memcmp(p + 2, key, k) == 0 && p[2 + k] == ' ') f(c, ts_arena_strndup(c->a, p + 3 + k, len - 3 - k));
    p += len + (p[len] == '\n');
  }
}

static const char *value_of(testcase *c, const char *key) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n"), k = strlen(key);
    if (len > k + 2 && memcmp(p + 2, key, k) == 0 && p[2 + k] == ' ') return ts_arena_strndup(c->a, p + 3 + k, len - 3 - k);
    p += len + (p[len] == '\n');
  }
  return NULL;
}

// --- data -----------------------------------------------------------------------------------------------------------

typedef struct data {
  ts_array array[MOST], *list[MOST];
  uint8_t *raw[MOST];
  size_t bytes[MOST];
} data;

static void range_of(testcase *c, const char *param, double *lo, double *hi) {
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n");
    char name[64];
    double a, b;
    if (sscanf(p, "# range %63s %lf %lf", name, &a, &b) == 3 && strcmp(name, param) == 0) *lo = a, *hi = b;
    p += len + (p[len] == '\n');
  }
}

static void fill(testcase *c, const ts_buffer *b, ts_array *x, ts_rng *r) {
  double lo = NAN, hi = 0;
  range_of(c, b->name, &lo, &hi);
  int64_t n = ts_array_count(x);
  for (int64_t i = 0; i < n; i++) {
    bool ranged = lo == lo;
    if (ts_code_is_float(x->code)) {
      ts_array_set(x, i, ranged ? lo + (hi - lo) * ts_rng_unit(r) : ts_rng_normal(r));
    } else if (ranged) {
      ts_array_set(x, i, lo + (double)ts_rng_below(r, (uint32_t)(hi - lo + 1)));
    } else {
      uint64_t v = ts_rng_u64(r);
      if (x->code == TS_BOOL) v &= 1, ts_array_set(x, i, (double)v);
      else memcpy((char *)x->data + i * ts_code_bytes(x->code), &v, (size_t)ts_code_bytes(x->code));
    }
  }
}

// Arrays for the parameters: inputs random, outputs poisoned, guards around all.
static bool make(testcase *c, const ts_func *f, const int64_t *dims, data *x) {
  const ts_var *vars[MOST];
  ts_rng r = ts_rng_new(7, 0);
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  for (int i = 0; i < f->nparams; i++) {
    const ts_buffer *b = f->params[i].buf;
    ts_array *a = &x->array[i];
    *a = (ts_array){.code = b->code, .ndim = b->ndim};
    for (int k = 0; k < b->ndim; k++)
      if (!ts_eval_int(b->shape[k], vars, dims, f->ndims, &a->shape[k])) return false;
    x->bytes[i] = (size_t)ts_array_count(a) * (size_t)ts_code_bytes(b->code);
    x->raw[i] = aligned_alloc(64, (x->bytes[i] + 2 * GUARD + 63) / 64 * 64);
    memset(x->raw[i], 0xa5, x->bytes[i] + 2 * GUARD);
    a->data = x->raw[i] + GUARD;
    if (f->params[i].role != TS_OUT) fill(c, b, a, &r);
    x->list[i] = a;
  }
  return true;
}

static void drop(const ts_func *f, data *x) {
  for (int i = 0; i < f->nparams; i++) free(x->raw[i]);
}

static bool guards_hold(const data *x, int i) {
  for (int k = 0; k < GUARD; k++)
    if (x->raw[i][k] != 0xa5 || x->raw[i][GUARD + x->bytes[i] + (size_t)k] != 0xa5) return false;
  return true;
}

static void compare(testcase *c, const ts_func *f, const data *want, const data *got, const char *who) {
  const char *given = value_of(c, "tolerance");
  for (int i = 0; i < f->nparams; i++) {
    if (!guards_hold(got, i)) complain(c, "%s wrote outside %s", who, f->params[i].buf->name);
    bool exact = f->params[i].role == TS_IN || !ts_code_is_float(f->params[i].buf->code);
    if (exact) {
      if (memcmp(want->array[i].data, got->array[i].data, want->bytes[i]) != 0) complain(c, "%s: %s differs", who, f->params[i].buf->name);
      continue;
    }
    double most = 0, tolerance = given ? strtod(given, NULL) : 1e-6;
    int64_t n = ts_array_count(&want->array[i]);
    for (int64_t k = 0; k < n; k++) {
      double v = ts_array_get(&want->array[i], k);
      if (v - v == 0) most = TS_MAX(most, v < 0 ? -v : v);
    }
    for (int64_t k = 0; k < n; k++) {
      double w = ts_array_get(&want->array[i], k), g = ts_array_get(&got->array[i], k), e = w - g;
      bool same = w == g || (w != w && g != g) || (e < 0 ? -e : e) <= tolerance * most;
      if (same) continue;
      complain(c, "%s: %s[%lld] is %.9g, not %.9g", who, f->params[i].buf->name, (long long)k, g, w);
      break;
    }
  }
}

// --- running --------------------------------------------------------------------------------------------------------

static const char *const targets[] = {"cpu", "cpu:x86-64-v3", "cpu:x86-64"};

static void run_compiled(testcase *c, const int64_t *dims, const data *want, const char *target) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  ts_loaded k;
  data x;
  if (!ts_target_parse(target, &t, &d) || !ts_target_runs_here(&t, &d)) return;
  if (!ts_codegen_object(c->f, &t, c->a, &o, &d) || !ts_object_load(&o, &k, &d)) {
    complain(c, "%s: %s [%s]", target, d.message, d.code);
    return;
  }
  for (int threaded = 0; threaded < 2; threaded++) {
    if (!make(c, c->f, dims, &x)) return;
    int64_t bytes = k.workspace(dims);
    void *buf[MOST + 1];
    for (int i = 0; i < c->f->nparams; i++) buf[i] = x.array[i].data;
    uint8_t *ws = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64 + 64);
    memset(ws, 0xff, (size_t)bytes + 64);
    buf[c->f->nparams] = ws;
    k.run(buf, dims, threaded ? &test_threaded_rt : &test_serial_rt);
    for (int i = 0; i < 64; i++)
      if (ws[bytes + i] != 0xff) {
        complain(c, "%s wrote behind the workspace of %lld bytes", target, (long long)bytes);
        break;
      }
    compare(c, c->f, want, &x, target);
    free(ws);
    drop(c->f, &x);
  }
  ts_object_unload(&k);
}

static void run_lowered(testcase *c, const ts_func *loops, const int64_t *dims, const data *want) {
  data x;
  ts_diag d = {0};
  if (!make(c, c->f, dims, &x)) return;
  for (int i = 0; i < c->f->nparams; i++)
    if (x.array[i].ndim > 1) x.array[i].shape[0] = ts_array_count(&x.array[i]), x.array[i].ndim = 1;
  ts_interp_opts opts = {.check_races = true};
  bool ok = ts_interp_run(loops, dims, x.list, &opts, &d);
  if (ok) compare(c, c->f, want, &x, "lowered");
  else if (strcmp(d.code, "not-interpretable") != 0) complain(c, "lowered: %s [%s]", d.message, d.code);  // has machine instructions
  drop(c->f, &x);
}

static const ts_func *lowered(testcase *c, const char *target) {
  ts_target t;
  ts_diag d = {0};
  const ts_func *loops;
  if (!ts_target_parse(target, &t, &d)) return NULL;
  if (!ts_lower(c->ir, c->f, &t, &loops, &d)) {
    complain(c, "lower: %s [%s]", d.message, d.code);
    return NULL;
  }
  if (!ts_func_verify(loops, &d)) {
    ts_text text = {0};
    ts_func_print(&text, loops);
    complain(c, "lowered function is not valid: %s\n%s", d.message, ts_text_str(&text));
    ts_text_free(&text);
    return NULL;
  }
  return loops;
}

static void run(testcase *c, char *rest) {
  int64_t dims[MOST] = {0};
  ts_diag d = {0};
  data want;
  for (int i = 0; i < c->f->ndims && i < MOST; i++) dims[i] = strtoll(rest, &rest, 10);
  if (!make(c, c->f, dims, &want)) {
    complain(c, "cannot size its arrays");
    return;
  }
  ts_interp_opts opts = {.check_races = true};
  if (!ts_interp_run(c->f, dims, want.list, &opts, &d)) {
    complain(c, "interpreter: %s [%s]", d.message, d.code);
  } else {
    const ts_func *loops = lowered(c, "cpu");
    if (loops) run_lowered(c, loops, dims, &want);
    for (size_t i = 0; i < TS_COUNTOF(targets); i++)
      if (!value_of(c, "only") || strcmp(value_of(c, "only"), targets[i]) == 0) run_compiled(c, dims, &want, targets[i]);
  }
  drop(c->f, &want);
}

// --- checks on text --------------------------------------------------------------------------------------------------

static void check_text(testcase *c, const char *text, const char *what, char *rest) {
  bool has = strncmp(rest, "has ", 4) == 0;
  const char *needle = strchr(rest, ' ') + 1;
  if ((strstr(text, needle) != NULL) != has) complain(c, "%s %s \"%s\":\n%s", what, has ? "lacks" : "has", needle, text);
}

static void check_asm(testcase *c, char *rest) {
  ts_target t;
  ts_diag d = {0};
  ts_text text = {0};
  char *space = strchr(rest, ' ');
  *space = 0;
  if (!ts_target_parse("cpu", &t, &d) || !ts_target_has(&t, rest)) return;
  if (!ts_codegen_asm(c->f, &t, &text, &d)) complain(c, "asm: %s", d.message);
  else check_text(c, text.p, "assembly", space + 1);
  ts_text_free(&text);
}

static void check_lowered(testcase *c, char *rest) {
  const ts_func *loops = lowered(c, "cpu");
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
  if (!ts_target_parse("cpu", &t, &d)) return;
  if (ts_codegen_object(c->f, &t, c->a, &o, &d)) complain(c, "was compiled, not refused with %s", code);
  else if (strcmp(d.code, code) != 0 || d.kind != TS_REFUSAL) complain(c, "refused with %s (%s), not %s", d.code, d.message, code);
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

// --- the operators of the project, as written -------------------------------------------------------------------------

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
  ts_arena *a = ts_arena_new("cases");
  ts_diag d = {0};
  char **names;
  size_t n;
  int failures = 0, ran = 0;
  if (!ts_dir_list(TS_CASES, ".tir", a, &names, &n, &d)) return ts_diag_print(stdout, &d), 1;
  for (size_t i = 0; i < n; i++) {
    bool wanted = argc == 1;
    for (int k = 1; k < argc; k++) wanted |= strncmp(names[i], argv[k], strlen(argv[k])) == 0;
    if (!wanted) continue;
    failures += run_case(TS_CASES, names[i]);
    ran++;
  }
  for (size_t i = 0; i < TS_COUNTOF(workloads) && (argc == 1 || strcmp(argv[1], "ops") == 0); i++, ran++) failures += run_workload(&workloads[i]);
  printf("%d cases, %d failures\n", ran, failures);
  ts_arena_free(a);
  return failures || !ran;
}
