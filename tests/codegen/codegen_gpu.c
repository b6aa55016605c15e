// Code for GPUs without one: functions in gpu/ and the operators of the project are lowered, turned into PTX and assembled.
//
// Comments at the head of a case:
//   # ptx sm_90a has wgmma.fence       for that target; `lacks` is the opposite
//   # ptx sm_90a order A ; B           the first A stands before the first B
//   # lowered sm_90a has sync.block
//   # grid 0 n=7 is 4 1 1              of launch number 0
//   # workspace n=7 is 1024
//   # refuse CODE                      compiling for sm_90a refuses with this code
//   # needs sm_90a                     older targets are left out
//   # registers sm_90a most 128        as the assembler says
//   # plain                            schedule it first: a kernel a block, a thread an element
// A line "----- trace" ends the function; the trace behind it is applied first.
// Nothing may spill, and the assembler may warn of nothing. Grids, blocks and sizes are compared with the lowered loops at odd values of the dimensions. Where there is no ptxas, assembling is left out, and said so. Every tensor intrinsic for GPUs is in some case:
// tests/gpu/intrin.sh runs the same cases on a GPU.
#include <stdlib.h>

#include "codegen/codegen.h"
#include "gpu_plain.h"
#include "op/intrin.h"
#include "op/op.h"
#include "target/gpu.h"

static const char *const targets[] = {"cuda:sm_80", "cuda:sm_86", "cuda:sm_89", "cuda:sm_90a"};
static int failures;
static bool assembler;

typedef struct testcase {
  const char *name, *text;
  ts_arena *a;
  ts_ir *ir;
  const ts_func *f;
} testcase;

static void complain(const testcase *c, const char *fmt, ...) TS_PRINTF(2, 3);
static void complain(const testcase *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  printf("%s: ", c->name);
  vprintf(fmt, ap);
  printf("\n");
  va_end(ap);
  failures++;
}

// Calls f with what follows "# KEY " in the head lines.
static int each_line(const testcase *c, const char *key, void (*f)(const testcase *c, const char *rest)) {
  int found = 0;
  for (const char *p = c->text; *p == '#';) {
    size_t len = strcspn(p, "\n"), k = strlen(key);
    if (len >= k + 2 && memcmp(p + 2, key, k) == 0 && (len == k + 2 || p[2 + k] == ' ')) {
      found++;
      if (f) f(c, len > k + 3 ? ts_arena_strndup(c->a, p + 3 + k, len - 3 - k) : "");
    }
    p += len + (p[len] == '\n');
  }
  return found;
}

static bool target_of(const testcase *c, const char *name, ts_target *t) {
  ts_diag d = {0};
  if (ts_target_parse(name, t, &d)) return true;
  complain(c, "%s", d.message);
  return false;
}

static void check_order(const testcase *c, const char *text, const char *what, const char *rest) {
  const char *semi = strstr(rest, " ; ");
  if (!semi) {
    complain(c, "'order %s' has no ' ; '", rest);
    return;
  }
  const char *a = strstr(text, ts_arena_strndup(c->a, rest, (size_t)(semi - rest))), *b = strstr(text, semi + 3);
  if (!a || !b || a > b) complain(c, "%s has not \"%s\" in this order:\n%s", what, rest, text);
}

static void check_text(const testcase *c, const char *text, const char *what, const char *rest) {
  bool has = strncmp(rest, "has ", 4) == 0;
  const char *needle = strchr(rest, ' ') + 1;
  if (strncmp(rest, "order ", 6) == 0) {
    check_order(c, text, what, needle);
    return;
  }
  if ((strstr(text, needle) != NULL) != has)
    complain(c, "%s %s \"%s\":\n%s", what, has ? "lacks" : "has", needle, text);
}

static void check_ptx(const testcase *c, const char *rest) {
  ts_target t;
  ts_diag d = {0};
  ts_text text = {0};
  size_t n = strcspn(rest, " ");
  if (!target_of(c, ts_arena_printf(c->a, "cuda:%.*s", (int)n, rest), &t)) return;
  if (!ts_codegen_asm(c->f, &t, &text, &d)) complain(c, "ptx: %s [%s]", d.message, d.code);
  else check_text(c, ts_text_str(&text), "PTX", rest + n + 1);
  ts_text_free(&text);
}

static void check_lowered(const testcase *c, const char *rest) {
  ts_target t;
  ts_diag d = {0};
  ts_text text = {0};
  const ts_func *loops;
  size_t n = strcspn(rest, " ");
  if (!target_of(c, ts_arena_printf(c->a, "cuda:%.*s", (int)n, rest), &t)) return;
  if (!ts_lower(c->ir, c->f, &t, &loops, &d)) complain(c, "lower: %s [%s]", d.message, d.code);
  else ts_func_print(&text, loops), check_text(c, ts_text_str(&text), "lowered function", rest + n + 1);
  ts_text_free(&text);
}

static bool artifact(const testcase *c, const char *target, ts_gpu_code *code) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  if (!target_of(c, target, &t)) return false;
  if (ts_codegen_object(c->f, &t, c->a, &o, &d) && ts_gpu_code_read(c->a, o.bytes, o.n, code, &d)) return true;
  complain(c, "%s: %s [%s]", target, d.message, d.code);
  return false;
}

// "n=7 t=3 is ..." -> values in the order of the dimensions; returns what follows "is ".
static const char *values_of(const testcase *c, const char *rest, int64_t *value) {
  for (; strncmp(rest, "is ", 3) != 0 && *rest;) {
    size_t n = strcspn(rest, "=");
    for (int i = 0; i < c->f->ndims; i++)
      if (strlen(c->f->dims[i].var->name) == n && memcmp(c->f->dims[i].var->name, rest, n) == 0)
        value[i] = strtoll(rest + n + 1, NULL, 10);
    rest += strcspn(rest, " ");
    rest += *rest == ' ';
  }
  return *rest ? rest + 3 : rest;
}

static int64_t value_of(const testcase *c, const ts_gpu_code *code, const char *expr, const int64_t *value) {
  int64_t out = -1;
  ts_diag d = {0};
  if (!ts_gpu_eval(expr, code->dims, value, code->ndims, &out, &d)) complain(c, "%s: %s", expr, d.message);
  return out;
}

static void check_grid(const testcase *c, const char *rest) {
  int64_t value[16] = {0};
  ts_gpu_code code;
  char *end;
  long which = strtol(rest, &end, 10);
  if (!artifact(c, "cuda:sm_90a", &code)) return;
  const char *want = values_of(c, end + 1, value);
  if (which >= code.nlaunches) {
    complain(c, "has %d launches", code.nlaunches);
    return;
  }
  ts_text got = {0};
  for (int i = 0; i < 3; i++)
    ts_text_addf(&got, "%s%lld", i ? " " : "", (long long)value_of(c, &code, code.launches[which].grid[i], value));
  if (strcmp(ts_text_str(&got), want) != 0) complain(c, "grid %s is %s", rest, ts_text_str(&got));
  ts_text_free(&got);
}

static void check_workspace(const testcase *c, const char *rest) {
  int64_t value[16] = {0};
  ts_gpu_code code;
  if (!artifact(c, "cuda:sm_90a", &code)) return;
  const char *want = values_of(c, rest, value);
  int64_t got = value_of(c, &code, code.workspace, value);
  if (got != strtoll(want, NULL, 10)) complain(c, "workspace %s is %lld: %s", rest, (long long)got, code.workspace);
}

static void check_registers(const testcase *c, const char *rest) {
  ts_gpu_code code;
  size_t n = strcspn(rest, " ");
  const char *most = strstr(rest, "most ");
  if (!artifact(c, ts_arena_printf(c->a, "cuda:%.*s", (int)n, rest), &code)) return;
  if (most && code.registers > atoi(most + 5)) complain(c, "%d registers", code.registers);
}

static void check_refusal(const testcase *c, const char *code) {
  ts_target t;
  ts_diag d = {0};
  ts_object o;
  if (!target_of(c, "cuda:sm_90a", &t)) return;
  if (ts_codegen_object(c->f, &t, c->a, &o, &d)) complain(c, "was compiled, not refused with %s", code);
  else if (strcmp(d.code, code) != 0) complain(c, "refused with %s (%s), not %s", d.code, d.message, code);
}

// --- launches over shapes -----------------------------------------------------------------------------------------------------
enum { MOST_KERNELS = 32, MOST_DIMS = 16 };
typedef struct kernel_loops {
  const ts_expr *blocks[3];  // extents of the loops along block axes; NULL: none
  int64_t threads[3];
} kernel_loops;

static bool see_loop(void *arg, const ts_stmt *s) {
  kernel_loops *k = arg;
  int64_t n;
  if (s->kind != TS_S_FOR || s->loop.kind != TS_THREAD || s->loop.axis == TS_VTHREAD) return true;
  if (s->loop.axis >= TS_BLOCK_X && s->loop.axis <= TS_BLOCK_Z) k->blocks[s->loop.axis - TS_BLOCK_X] = s->loop.extent;
  else if (ts_is_int(s->loop.extent, &n)) k->threads[s->loop.axis - TS_THREAD_X] = TS_MAX(k->threads[s->loop.axis - TS_THREAD_X], n);
  return true;
}

// Statements in a row outside of all loops are kernels.
static void collect_kernels(const ts_stmt *s, kernel_loops *k, int *n) {
  if (s->kind == TS_S_ALLOC && strcmp(s->alloc.buf->scope, "global") == 0) {
    collect_kernels(s->alloc.body, k, n);
  } else if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) collect_kernels(s->seq.child[i], k, n);
  } else if (*n < MOST_KERNELS) {
    k[*n] = (kernel_loops){.threads = {1, 1, 1}};
    ts_stmt_visit(s, see_loop, NULL, &k[*n]);
    ++*n;
  }
}

// The artifact's grids and blocks are the extents of the lowered loops, and what a GPU takes.
static void check_sizes(const testcase *c, const ts_target *t, const ts_gpu_code *code, const kernel_loops *k, const int64_t *value) {
  const ts_var *vars[MOST_DIMS];
  ts_text at = {0};
  for (int i = 0; i < c->f->ndims; i++) vars[i] = c->f->dims[i].var, ts_text_addf(&at, " %s=%lld", vars[i]->name, (long long)value[i]);
  const char *where = ts_text_str(&at);
  for (int i = 0; i < code->nlaunches; i++) {
    const ts_gpu_launch *l = &code->launches[i];
    int64_t shared = value_of(c, code, l->shared, value);
    for (int a = 0; a < 3; a++) {
      int64_t want = 1, got = value_of(c, code, l->grid[a], value);
      if (k[i].blocks[a] && !ts_eval_int(k[i].blocks[a], vars, value, c->f->ndims, &want)) complain(c, "launch %d: an extent has no value", i);
      if (got != want || got < 1 || got > (a ? 65535 : INT32_MAX)) complain(c, "launch %d at%s: %lld blocks along %c, the loop has %lld", i, where, (long long)got, "xyz"[a], (long long)want);
      if (l->block[a] != k[i].threads[a]) complain(c, "launch %d: %d threads along %c, the loop has %lld", i, l->block[a], "xyz"[a], (long long)k[i].threads[a]);
      if (got % l->cluster[a]) complain(c, "launch %d at%s: %lld blocks along %c are no whole clusters", i, where, (long long)got, "xyz"[a]);
    }
    if (shared < 0 || shared > t->gpu.block_shared) complain(c, "launch %d: %lld bytes of shared memory", i, (long long)shared);
  }
  if (value_of(c, code, code->workspace, value) < 0 || value_of(c, code, code->zeroed, value) != 0) complain(c, "workspace at%s", where);
  ts_text_free(&at);
}

// Values of the dimensions: the least, the largest, and odd ones rounded up to what the facts allow.
static void check_launches(const testcase *c, const ts_gpu_code *code) {
  static const int64_t wanted[] = {0, 1, 2, 7, 33, 257, INT32_MAX};
  ts_target t;
  ts_diag d = {0};
  const ts_func *loops;
  kernel_loops k[MOST_KERNELS];
  int n = 0;
  if (!target_of(c, ts_arena_printf(c->a, "cuda:%s", code->arch), &t)) return;
  if (!ts_lower(c->ir, c->f, &t, &loops, &d)) {
    complain(c, "lower: %s", d.message);
    return;
  }
  collect_kernels(loops->body, k, &n);
  if (n != code->nlaunches) complain(c, "%d launches of %d kernels", code->nlaunches, n);
  for (size_t w = 0; w < TS_COUNTOF(wanted) && n == code->nlaunches; w++) {
    int64_t value[MOST_DIMS] = {0};
    for (int i = 0; i < c->f->ndims; i++) {
      const ts_dim *x = &c->f->dims[i];
      int64_t m = TS_MAX(x->multiple, 1);
      value[i] = TS_MAX((x->lo + m - 1) / m * m, TS_MIN((wanted[w] + m - 1) / m * m, x->hi / m * m));
    }
    check_sizes(c, &t, code, k, value);
  }
}

static void compile_all(const testcase *c, bool old) {
  for (size_t i = 0; i < TS_COUNTOF(targets); i++) {
    ts_gpu_code code;
    if (!old && i + 1 < TS_COUNTOF(targets)) continue;
    if (!artifact(c, targets[i], &code)) continue;
    if (code.spills > 0) complain(c, "%s: %d bytes spilled", targets[i], code.spills);
    if (*code.warnings) complain(c, "%s: the assembler warns: %s", targets[i], code.warnings);
    if ((code.kind == TS_GPU_CUBIN) != assembler) complain(c, "%s: not assembled", targets[i]);
    check_launches(c, &code);
  }
}

static const ts_func *scheduled(const testcase *c, const char *path, const char *trace, ts_diag *d) {
  const char *text = strchr(trace, '\n') + 1;
  ts_sched *s = ts_sched_new(c->ir, c->f, 1);
  return ts_sched_replay(s, path, text, strlen(text), NULL, d) ? ts_sched_func(s) : NULL;
}

static void run_case(ts_arena *names, const char *file) {
  testcase c = {.name = file, .a = ts_arena_new("case")};
  ts_diag d = {0};
  char *text;
  size_t n;
  c.ir = ts_ir_new(c.a);
  const char *path = ts_path_join(names, TS_CASES, file);
  if (!ts_file_read(path, c.a, &text, &n, &d)) {
    complain(&c, "%s", d.message);
    return;
  }
  c.text = text;
  char *trace = strstr(text, "----- trace\n");
  c.f = ts_func_parse(c.ir, path, text, trace ? (size_t)(trace - text) : n, NULL, 0, &d);
  if (c.f && each_line(&c, "plain", NULL)) c.f = plain_gpu(c.ir, c.f, &d);
  if (c.f && trace) c.f = scheduled(&c, path, trace, &d);
  if (!c.f || !ts_func_verify(c.f, &d)) {
    complain(&c, "%s", d.message);
  } else if (!each_line(&c, "refuse", check_refusal)) {
    compile_all(&c, !each_line(&c, "needs", NULL));
    each_line(&c, "ptx", check_ptx);
    each_line(&c, "lowered", check_lowered);
    each_line(&c, "grid", check_grid);
    each_line(&c, "workspace", check_workspace);
    if (assembler) each_line(&c, "registers", check_registers);
  }
  ts_arena_free(c.a);
}

// --- the operators of the project, a thread an element --------------------------------------------------------------------

static const char *const workloads[] = {
    "matmul q4f16_1 N=96 K=64 A=f32",
    "matmul q4f16_1 N=96 K=64 A=f16",
    "matmul q4f16_0 N=96 K=64 A=f16",
    "matmul q0f32 N=96 K=64 A=f32",
    "matmul q0f16 N=96 K=64 A=f16",
    "matmul_add q4f16_1 N=96 K=64 A=f16",
    "rms_norm H=64 A=f16 eps=1e-5",
    "add_bias N=48 A=f16",
    "silu_mul I=48 A=f16",
    "silu_mul I=48 A=f32",
    "softmax V=100 A=f32 inv_temperature=0.7",
    "argmax V=100 A=f32",
    "sample V=100 A=f32 inv_temperature=0.7",
    "embed q4f16_1 V=64 H=64 A=f16",
    "rope_append H=2 HK=1 D=16 P=64 C=f16 A=f32",
    "rope_append_rows H=2 HK=1 D=16 P=64 C=f16 A=f16",
    "attention H=4 HK=2 D=16 P=64 C=f16 A=f32",
    "attention_rows H=4 HK=2 D=16 P=64 C=f16 A=f16",
    "rope_append_rows_paged H=2 HK=1 D=16 P=64 PAGE=16 POOL=6 C=f16 A=f16",
    "attention_rows_paged H=4 HK=2 D=16 P=64 PAGE=16 POOL=6 C=f16 A=f16",
    "rope_attention_rows_paged H=4 HK=2 D=16 P=64 PAGE=32 POOL=2 C=f16 A=f32",
};

// Starting schedules for GPUs: what they use, how many registers at most.
static const struct {
  const char *spec, *trace;
  bool old;  // for every target, else for sm_90a
  const char *ptx;
  int registers;
} seeds[] = {
    {"matmul q0f16 N=512 K=512 A=f16 n=1024", "matmul/ref.mma128", true, "mma.sync.aligned.m16n8k16", 250},
    {"matmul q0f16 N=512 K=512 A=f16 n=2048", "matmul/ref.wgmma256", false, "wgmma.mma_async.sync.aligned.m64n256k16", 168},
    {"matmul q0f16 N=512 K=512 A=f16 n=2048", "matmul/ref.wgmma256_pairs", false, ".multicast::cluster [", 168},
    {"matmul q0f16 N=1024 K=512 A=f16 n=8192", "matmul/ref.wgmma256_turns", false, "mbarrier.try_wait.parity", 168},
    {"matmul q0f16 N=512 K=512 A=f16 n=2048", "matmul/ref.wgmma128", false, "wgmma.mma_async.sync.aligned.m64n128k16", 104},
    {"matmul_add q0f16 N=512 K=512 A=f16 n=2048", "matmul/ref.wgmma256_add_f16", false, "wgmma.mma_async.sync.aligned.m64n256k16", 168},
    {"matmul_add q0f16 N=512 K=512 A=f16 R=f32 n=2048", "matmul/ref.wgmma256_add_f32", false, "wgmma.mma_async.sync.aligned.m64n256k16", 168},
    {"rms_norm A=f16 H=4096 R=f32 eps=1e-05 n=16..2048%16", "rms_norm/ref.block", true, "shfl.sync.bfly.b32", 64},
    {"rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=2048 n=16..2048%16 t=0..2032", "rope_append/ref.row", true, "st.global.v4", 96},
    {"attention_rows A=f16 C=f16 D=64 H=4 HK=2 P=512 n=16..256%16 t=0..496", "attention_rows/ref.blocks", true, "bar.sync", 128},
    {"rms_norm A=f16 H=4096 R=f32 eps=1e-05 n=16..2048%16", "rms_norm/default", true, "shfl.sync.bfly.b32", 64},
    {"rope_append_rows A=f16 C=f16 D=128 H=32 HK=8 P=2048 n=16..2048%16 t=0..2032", "rope_append/default", true, "st.global.v4", 96},
    {"attention_rows A=f16 C=f16 D=64 H=4 HK=2 P=512 n=16..256%16 t=0..496", "attention_rows/default", true, "bar.sync", 128},
};

// What a schedule asks of the machine is known in microseconds, before any code is made: the quickest of many times, 100 at most.
static void check_quick(const testcase *c) {
  ts_target t;
  ts_gpu_use use;
  uint64_t best = UINT64_MAX;
  for (int k = 0; k < 20 && target_of(c, "cuda:sm_90a", &t); k++) {
    ts_diag d = {0};
    uint64_t begin = ts_now_ns();
    if (!ts_gpu_check(c->ir, c->f, &t, &use, &d)) complain(c, "check: %s", d.message);
    best = TS_MIN(best, ts_now_ns() - begin);
  }
  if (best > 100000) complain(c, "checking resources takes %llu us", (unsigned long long)best / 1000);
  if (getenv("TS_EXPLAIN")) printf("%s: checked in %.1f us\n", c->name, (double)best / 1e3);
}

static void run_seed(int i) {
  testcase c = {.name = seeds[i].trace, .a = ts_arena_new("case"), .text = ""};
  ts_diag d = {0};
  ts_spec spec;
  ts_op_inst inst;
  char *text;
  size_t n;
  c.ir = ts_ir_new(c.a);
  const char *file = ts_arena_printf(c.a, "%s/kernels/templates/%s.cuda.trace", ts_data_dir(), seeds[i].trace);
  ts_sched *s = NULL;
  bool ok = ts_spec_parse(c.a, seeds[i].spec, &spec, &d) && ts_op_instantiate(c.ir, &spec, "", &inst, &d) &&
            ts_file_read(file, c.a, &text, &n, &d);
  if (ok) s = ts_sched_new(c.ir, inst.func, 1);
  if (!ok || !ts_sched_replay(s, file, text, n, NULL, &d)) {
    complain(&c, "%s [%s]", d.message, d.code);
  } else {
    c.f = ts_sched_func(s);
    check_quick(&c);
    compile_all(&c, seeds[i].old);
    check_ptx(&c, ts_arena_printf(c.a, "sm_90a has %s", seeds[i].ptx));
    if (assembler) check_registers(&c, ts_arena_printf(c.a, "sm_90a most %d", seeds[i].registers));
  }
  ts_arena_free(c.a);
}

static void run_workload(const char *spec_text) {
  testcase c = {.name = spec_text, .a = ts_arena_new("case"), .text = ""};
  ts_diag d = {0};
  ts_spec spec;
  ts_op_inst inst;
  c.ir = ts_ir_new(c.a);
  if (!ts_spec_parse(c.a, spec_text, &spec, &d) || !ts_op_instantiate(c.ir, &spec, "", &inst, &d) ||
      !(c.f = plain_gpu(c.ir, inst.func, &d)))
    complain(&c, "%s [%s]", d.message, d.code);
  else
    compile_all(&c, true);
  ts_arena_free(c.a);
}

// Starting schedules for GPUs that are not among the seeds.
static void check_seeds(ts_arena *a) {
  ts_diag d = {0};
  const ts_op *op;
  size_t n, files;
  char **name;
  if (!ts_op_list(a, &op, &n, &d)) failures++;
  for (size_t i = 0; i < n; i++) {
    const char *dir = ts_path_join(a, ts_data_dir(), ts_arena_printf(a, "kernels/templates/%s", op[i].templates));
    if (strcmp(op[i].name, op[i].templates) != 0 || !ts_file_exists(dir)) continue;
    if (!ts_dir_list(dir, ".cuda.trace", a, &name, &files, &d)) failures++, files = 0;
    for (size_t k = 0; k < files; k++) {
      const char *path = ts_arena_printf(a, "%s/%.*s", op[i].templates, (int)(strlen(name[k]) - strlen(".cuda.trace")), name[k]);
      bool known = false;
      for (size_t j = 0; j < TS_COUNTOF(seeds); j++) known |= strcmp(seeds[j].trace, path) == 0;
      if (known) continue;
      printf("%s.cuda.trace: not among the seeds of this test\n", path);
      failures++;
    }
  }
}

// Whether a "# ptx" line at the head of a case has a fragment of `impl`, or of a store where that holds no instruction written out.
static bool names_instruction(const char *text, const char *impl) {
  const char *const plain = "st.global";
  for (const char *p = text; *p == '#'; p += strcspn(p, "\n") + 1) {
    const char *has = strstr(p, " has "), *order = strstr(p, " order "), *end = p + strcspn(p, "\n");
    const char *from = has && has < end ? has + 5 : order && order < end ? strstr(order, " ; ") + 3 : NULL;
    if (strncmp(p, "# ptx ", 6) != 0 || !from) continue;
    size_t n = (size_t)(end - from);
    while (n && (from[n - 1] == '[' || from[n - 1] == ' ')) n--;
    char fragment[200];
    snprintf(fragment, sizeof fragment, "%.*s", (int)n, from);
    if (strstr(impl, "asm") ? strstr(impl, fragment) != NULL : strncmp(fragment, plain, strlen(plain)) == 0) return true;
  }
  return false;
}

// Every intrinsic for GPUs is in a case that tensorizes to it and says what of it is in the PTX; fragments set to zero leave nothing to say.
static bool has_case(ts_arena *a, const ts_intrin *x, char *const *texts, size_t n, bool *said) {
  ts_text impl = {0};
  bool found = false;
  ts_func_print(&impl, x->impl);
  const char *text = ts_arena_strdup(a, ts_text_str(&impl)), *quoted = ts_arena_printf(a, " \"%s\"\n", x->name);
  *said = !strstr(text, "asm") && strncmp(x->impl->params[0].buf->scope, "fragment", 8) == 0;
  for (size_t i = 0; i < n; i++) {
    if (!strstr(texts[i], quoted)) continue;
    found = true;
    *said |= names_instruction(texts[i], text);
  }
  ts_text_free(&impl);
  return found;
}

static void check_covered(ts_arena *a, char **names, size_t n) {
  ts_diag d = {0};
  ts_ir *ir = ts_ir_new(a);
  char **intrin, **texts = ts_new_array(a, char *, n);
  size_t nintrin = 0, bytes;
  for (size_t i = 0; i < n; i++)
    if (!ts_file_read(ts_path_join(a, TS_CASES, names[i]), a, &texts[i], &bytes, &d)) texts[i] = "";
  if (!ts_intrin_list(a, &intrin, &nintrin, &d)) failures++;
  for (size_t i = 0; i < nintrin; i++) {
    const ts_intrin *x = ts_intrin_load(ir, intrin[i], &d);
    bool said = true, found = true;
    if (x && x->nrequires && strncmp(x->requires[0], "sm_", 3) == 0) found = has_case(a, x, texts, n, &said);
    if (x && found && said) continue;
    printf("intrinsic %s: %s\n", intrin[i], !x ? d.message : !found ? "in no case" : "no case says what of it is in the PTX");
    failures++;
  }
}

// Arguments: beginnings of names of cases; "ops" for the operators, "seeds" for starting schedules; all without.
int main(int argc, char **argv) {
  ts_arena *a = ts_arena_new("cases");
  ts_diag d = {0};
  char **names;
  size_t n;
  int ran = 0;
  assembler = ts_codegen_ptxas(a) != NULL;
  if (!assembler) printf("SKIPPED: no ptxas found, so nothing is assembled and registers are not checked\n");
  if (!ts_dir_list(TS_CASES, ".tir", a, &names, &n, &d)) return ts_diag_print(stdout, &d), 1;
  for (size_t i = 0; i < n; i++) {
    bool wanted = argc == 1;
    for (int k = 1; k < argc; k++) wanted |= strncmp(names[i], argv[k], strlen(argv[k])) == 0;
    if (wanted) run_case(a, names[i]), ran++;
  }
  if (argc == 1) check_covered(a, names, n);
  if (argc == 1 || strcmp(argv[1], "seeds") == 0) check_seeds(a);
  for (size_t i = 0; i < TS_COUNTOF(workloads) && (argc == 1 || strcmp(argv[1], "ops") == 0); i++, ran++)
    run_workload(workloads[i]);
  for (size_t i = 0; i < TS_COUNTOF(seeds) && (argc == 1 || strcmp(argv[1], "seeds") == 0); i++, ran++) run_seed((int)i);
  printf("%d cases, %d failures\n", ran, failures);
  ts_arena_free(a);
  return failures || !ran;
}
