// op: the launches of every shipped native template over shapes, without a GPU. Each workload of tests/gpu/shapes.txt
// and those of models are bound; at many legal points grid, cluster, shared memory, workspace and tensor maps are
// computed for the least, the largest and odd values of the dimensions, and must be what a GPU takes: no map reaches
// beyond its buffer.
#include <stdlib.h>

#include "op/native.h"
#include "target/gpu.h"

static const char *const models[] = {
    "matmul q4f16_1 A=f16 K=4096 N=12288 n=16",
    "matmul q4f16_1 A=f16 K=4096 N=22016 n=64",
    "matmul q4f16_1 A=f16 K=4096 N=12288 n=16..2048%16",
    "matmul_add q4f16_1 A=f16 K=11008 N=4096 R=f32 n=16",
    "matmul_add q4f16_1 A=f16 K=14336 N=4096 R=f32 n=64",
    "matmul_add q4f16_1 A=f16 K=28672 N=8192 R=f32 n=16..2048%16",
    "matmul_add q4f16_1 A=f32 K=14336 N=4096 n=1",
    "norm_matmul q4f16_1 A=f32 K=4096 N=128256 eps=1e-05 n=1",
    "norm_matmul_silu q4f16_1 A=f32 I=28672 K=8192 eps=1e-05 n=1",
    "attention_rows A=f16 C=f16 D=128 H=64 HK=8 P=4096 n=16..2048%16 t=0..4080",
    "rope_attention_rows A=f32 C=f16 D=128 H=64 HK=8 P=4096 n=1 t=0..4095",
    "argmax A=f32 V=128256 n=1..64",
    "sample A=f32 V=151936 inv_temperature=0.7 n=1",
};
// What a GPU that is divided may have, and less; workloads whose blocks wait for each other.
static const char *const parts_of_gpus[] = {"cuda:sm_90a,sms=16", "cuda:sm_90a,sms=5"};
static const char *const meeting[] = {
    "matmul q4f16_1 A=f16 K=4096 N=12288 n=16",
    "matmul q4f16_1 A=f16 K=4096 N=22016 n=64",
    "attention_rows A=f16 C=f16 D=128 H=64 HK=8 P=4096 n=16..2048%16 t=0..4080",
};
enum { MOST_POINTS = 40, MOST_DIMS = 8 };

static ts_target target;
static int failures, fits;
static long checked;

typedef struct at {  // a point of a template at values of the dimensions
  const char *workload;
  const ts_native_fit *f;
  const int64_t *point, *dims;
  const ts_gpu_code *code;
} at;

static void complain(const at *x, const char *fmt, ...) TS_PRINTF(2, 3);
static void complain(const at *x, const char *fmt, ...) {
  va_list ap;
  ts_text point = {0};
  if (failures++ > 20) return;
  ts_native_print(&point, x->f->native, x->point);
  printf("%s: %s: %.*s", x->workload, x->f->native->label, (int)strcspn(ts_text_str(&point), "\n"),
         ts_text_str(&point));
  for (int i = 0; i < x->code->ndims; i++) printf(" %s=%lld", x->code->dims[i], (long long)x->dims[i]);
  printf(": ");
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  printf("\n");
  ts_text_free(&point);
}

static int64_t value(const at *x, const char *what, const char *expr) {
  int64_t v = -1;
  ts_diag d = {0};
  if (!ts_gpu_eval(expr, x->code->dims, x->dims, x->code->ndims, &v, &d)) complain(x, "%s: %s", what, d.message);
  return v;
}

static int64_t buffer_bytes(const at *x, int i) {
  const ts_func *f = x->f->func;
  const ts_buffer *b = f->params[i].buf;
  const ts_var *vars[MOST_DIMS];
  int64_t bytes = ts_code_bytes(b->code), n;
  for (int k = 0; k < f->ndims; k++) vars[k] = f->dims[k].var;
  for (int k = 0; k < b->ndim; k++) {
    if (!ts_eval_int(b->shape[k], vars, x->dims, f->ndims, &n)) return -1;
    bytes *= n;
  }
  return bytes;
}

// What cuTensorMapEncodeTiled asks for, and that no box can reach beyond the buffer.
static void check_map(const at *x, const ts_gpu_tmap *m) {
  int each = strcmp(m->type, "u8") == 0 ? 1 : strstr(m->type, "16") ? 2 : 4;
  int64_t reach = each, bytes = buffer_bytes(x, m->buffer);
  for (int k = 0; k < m->ndim; k++) {
    int64_t n = value(x, "tmap", m->dim[k]), box = value(x, "tmap", m->box[k]),
            stride = k ? value(x, "tmap", m->stride[k - 1]) : each;
    if (n < 1 || n > INT64_C(1) << 32)
      complain(x, "map of b%d: dimension %d has %lld elements", m->buffer, k, (long long)n);
    if (box < 1 || box > 256) complain(x, "map of b%d: a box of %lld in dimension %d", m->buffer, (long long)box, k);
    if (k && (stride % 16 || stride < each || stride >= INT64_C(1) << 40))
      complain(x, "map of b%d: a stride of %lld bytes", m->buffer, (long long)stride);
    if (!k && (box * each % 16 || (m->swizzle && box * each > m->swizzle)))
      complain(x, "map of b%d: rows of a box have %lld bytes", m->buffer, (long long)(box * each));
    reach += (n - 1) * stride;
  }
  if (reach > bytes)
    complain(x, "map of b%d reaches to byte %lld of %lld", m->buffer, (long long)reach, (long long)bytes);
}

static void check_launch(const at *x, const ts_gpu_launch *l) {
  for (int k = 0; k < 3; k++) {
    int64_t v = value(x, "grid", l->grid[k]);
    if (v < 1 || v > (k ? 65535 : INT32_MAX))
      complain(x, "%s: a grid of %lld along %c", l->entry, (long long)v, "xyz"[k]);
    else if (v % l->cluster[k])
      complain(x, "%s: %lld blocks along %c are no whole clusters of %d", l->entry, (long long)v, "xyz"[k],
               l -> cluster[k]);
  }
  int64_t shared = value(x, "shared", l->shared), blocks = (int64_t)l->cluster[0] * l->cluster[1] * l->cluster[2];
  if (shared < 0 || shared > target.gpu.block_shared)
    complain(x, "%s: %lld bytes of shared memory", l->entry, (long long)shared);
  if (blocks < 1 || blocks > 16) complain(x, "%s: clusters of %lld blocks", l->entry, (long long)blocks);
  for (int k = 0; k < l->ntmaps; k++) check_map(x, &l->tmaps[k]);
}

// Templates whose blocks wait for each other in memory, so that all of them have to be there at once.
static bool blocks_wait(const ts_native *t) {
  static const char *const names[] = {"exact", "stream", "share64", "prefill", "prefill_paged"};
  for (size_t i = 0; i < TS_COUNTOF(names); i++)
    if (strcmp(t->name, names[i]) == 0) return true;
  return false;
}

static void check_room(const at *x, const ts_gpu_launch *l) {
  const ts_native *t = x->f->native;
  int64_t blocks = value(x, "grid", l->grid[0]) * value(x, "grid", l->grid[1]) * value(x, "grid", l->grid[2]), each = 1;
  for (int p = 0; p < t->nparams; p++)
    if (strcmp(t->params[p].name, "PER_SM") == 0) each = x->point[p];
  if (blocks > each * target.gpu.sms)
    complain(x, "%s: %lld blocks wait for each other, room is for %lld", l->entry, (long long)blocks,
             (long long)(each * target.gpu.sms));
}

static void check_at(const at *x) {
  int64_t workspace = value(x, "workspace", x->code->workspace), zeroed = value(x, "zeroed", x->code->zeroed);
  if (workspace < 0 || zeroed < 0 || zeroed > workspace)
    complain(x, "a workspace of %lld bytes, %lld of them zero", (long long)workspace, (long long)zeroed);
  for (int i = 0; zeroed > 0 && blocks_wait(x->f->native) && i < x->code->nlaunches; i++) check_room(x, &x->code->launches[i]);
  for (int i = 0; i < x->code->nlaunches; i++) check_launch(x, &x->code->launches[i]);
  checked++;
}

// A value between lo and hi that the dimension's facts allow: the least, an odd one, the largest.
static int64_t pick(const ts_dim *d, int which) {
  int64_t m = TS_MAX(d->multiple, 1), lo = (d->lo + m - 1) / m * m, hi = d->hi / m * m;
  return which == 0 ? lo : which == 1 ? TS_MIN(hi, lo + (hi - lo) / m / 3 * m + m) : hi;
}

// Positions before the rows and the rows themselves fit the cache (P).
static void keep_inside(const ts_native_fit *f, int64_t *dims) {
  int n = -1, t = -1;
  int64_t positions = INT64_MAX;
  for (int k = 0; k < f->func->ndims; k++) {
    if (strcmp(f->func->dims[k].var->name, "n") == 0) n = k;
    if (strcmp(f->func->dims[k].var->name, "t") == 0) t = k;
  }
  for (int i = 0; i < f->nfacts; i++)
    if (strcmp(f->name[i], "P") == 0) positions = f->value[i];
  if (n >= 0 && t >= 0 && dims[t] > positions - dims[n]) dims[t] = positions - dims[n];
}

static void check_fit(ts_arena *a, const char *workload, const ts_native_fit *f) {
  const int64_t *points;
  size_t n;
  double all;
  ts_diag d = {0};
  ts_gpu_code none = {0};
  at x = {.workload = workload, .f = f, .code = &none};
  if (!ts_native_points(a, f, &points, &n, &all, &d)) {
    printf("%s: %s: %s\n", workload, f->native->label, d.message);
    failures++;
    return;
  }
  fits += n > 0;
  for (size_t i = 0; i < n; i += TS_MAX(n / MOST_POINTS, 1)) {
    ts_gpu_code code;
    ts_arena_mark mark = ts_arena_save(a);
    x.point = points + i * (size_t)f->native->nparams;
    x.code = &none;
    if (!ts_native_launches(a, f, x.point, &code, &d))
      complain(&x, "%s", d.message);
    else
      x.code = &code;
    for (int which = 0; which < (f->func->ndims ? 3 : 1) && x.code == &code; which++) {
      int64_t dims[MOST_DIMS];
      for (int k = 0; k < f->func->ndims && k < MOST_DIMS; k++) dims[k] = pick(&f->func->dims[k], which);
      keep_inside(f, dims);
      x.dims = dims;
      check_at(&x);
    }
    ts_arena_restore(a, mark);
  }
}

static void check_workload(const char *workload) {
  ts_arena *a = ts_arena_new("workload");
  ts_spec spec;
  ts_diag d = {0};
  const ts_op *op = ts_spec_parse(a, workload, &spec, &d) ? ts_op_find(a, spec.op, &d) : NULL;
  if (!op) {
    printf("%s: %s\n", workload, d.message);
    failures++;
  }
  for (int v = 0; op && v < op->nvariants; v++) {
    const ts_native **list;
    size_t n = 0;
    if (!ts_native_list(a, op, op->variants[v].name, &list, &n, &d)) printf("%s\n", d.message), failures++;
    for (size_t i = 0; i < n; i++) {
      ts_op_inst inst;
      ts_native_fit f;
      ts_diag why = {0};
      if (ts_op_instantiate(ts_ir_new(a), &spec, op->variants[v].name, &inst, &why) &&
          ts_native_bind(a, list[i], &spec, inst.func, &target, &f, &why))
        check_fit(a, workload, &f);
    }
  }
  ts_arena_free(a);
}

// A line of shapes.txt; n=* stands for five numbers of rows.
static void check_line(ts_arena *a, const char *line) {
  static const int rows[] = {1, 2, 7, 33, 257};
  const char *star = strstr(line, "n=*");
  if (!star) {
    check_workload(line);
    return;
  }
  for (size_t i = 0; i < TS_COUNTOF(rows); i++)
    check_workload(ts_arena_printf(a, "%.*sn=%d%s", (int)(star - line), line, rows[i], star + 3));
}

int main(void) {
  ts_arena *a = ts_arena_new("launches");
  ts_diag d = {0};
  char *text;
  size_t n;
  if (!ts_target_parse("cuda:sm_90a", &target, &d) ||
      !ts_file_read(ts_path_join(a, ts_data_dir(), "tests/gpu/shapes.txt"), a, &text, &n, &d))
    return ts_diag_print(stdout, &d), 1;
  for (char *p = text, *next; *p; p = next) {
    size_t len = strcspn(p, "\n");
    next = p + len + (p[len] == '\n');
    p[len] = 0;
    if (len && *p != '#') check_line(a, p);
  }
  for (size_t i = 0; i < TS_COUNTOF(models); i++) check_workload(models[i]);
  for (size_t k = 0; k < TS_COUNTOF(parts_of_gpus); k++) {
    if (!ts_target_parse(parts_of_gpus[k], &target, &d)) return ts_diag_print(stdout, &d), 1;
    for (size_t i = 0; i < TS_COUNTOF(meeting); i++) check_workload(meeting[i]);
  }
  printf("%d templates at workloads, %ld launches checked, %d failures\n", fits, checked, failures);
  ts_arena_free(a);
  return failures || fits < 60;
}
