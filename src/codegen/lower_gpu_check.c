// What a kernel asks of the machine, before code is generated.
#include "codegen/lower_gpu.h"

typedef struct survey {
  ts_analyzer *an;
  ts_ir *ir;
  const ts_func *f;
  const ts_target *t;
  ts_diag *d;
  bool failed, lowered;
  int64_t extent[TS_AXIS__COUNT];  // of the kernel at hand
  int64_t shared, local, fragments;  // bytes
  int64_t moved;                     // registers of those who have most, 0: all have the same
  int64_t minblocks, maxnreg;        // as annotated; 1 and 0 unless they are
  ts_gpu_use *use;
} survey;

static void refuse(survey *v, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);
static void refuse(survey *v, const char *code, const char *fmt, ...) {
  char what[200];
  va_list ap;
  if (v->failed) return;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  v->failed = true;
  ts_refuse(v->d, code, "%s: %s", v->f->name, what);
}

static int64_t bytes_of(const ts_buffer *b) {
  int64_t n = ts_code_bytes(b->code), extent;
  for (int d = 0; d < b->ndim; d++) {
    if (!ts_is_int(b->shape[d], &extent) || extent < 0 || __builtin_mul_overflow(n, extent, &n)) return 0;
  }
  return n;
}

static void see_alloc(survey *v, const ts_buffer *b) {
  int64_t at = 0;
  if (!v->lowered) return;
  if (ts__is_private(b)) *(strcmp(b->scope, "local") == 0 ? &v->local : &v->fragments) += bytes_of(b);
  if (!ts__is_shared(b)) return;
  if (b->offset) ts_is_int(b->offset, &at);
  v->shared = TS_MAX(v->shared, at * ts_code_bytes(b->code) + bytes_of(b));
}

// What loops along block and thread axes may say of their kernel (docs/schedule.md, annotate). ORDER options
enum { MINBLOCKS, MAXNREG, EVICT_FIRST, PREFETCH, DEPENDENT, OPTIONS };
static const struct {
  const char *key;
  int64_t least, most;  // most of minblocks and maxnreg: the GPU's
} options[OPTIONS] = {[MINBLOCKS] = {"minblocks", 1, 0}, [MAXNREG] = {"maxnreg", 24, 0}, [EVICT_FIRST] = {"evict_first", 0, 1}, [PREFETCH] = {"prefetch", 0, INT32_MAX}, [DEPENDENT] = {"dependent", 0, 2}};

static void see_options(survey *v, ts_notes notes) {
  for (int i = 0; i < OPTIONS; i++) {
    const ts_note *note = ts_notes_find(notes, options[i].key);
    int64_t most = i == MINBLOCKS ? v->t->gpu.sm_blocks : i == MAXNREG ? v->t->gpu.max_registers : options[i].most;
    if (!note) continue;
    if (note->kind != TS_NOTE_INT)
      refuse(v, "kernel-option", "%s is no integer", options[i].key);
    else if (note->i < options[i].least || note->i > most)
      refuse(v, "kernel-option", "%s is %lld; %lld to %lld are allowed", options[i].key, (long long)note->i, (long long)options[i].least, (long long)most);
    else if (i == MINBLOCKS)
      v->minblocks = note->i;
    else if (i == MAXNREG)
      v->maxnreg = note->i;
  }
}

static void see_axis(survey *v, const ts_stmt *s) {
  int64_t n = ts_bound(v->an, s->loop.extent).hi;
  v->extent[s->loop.axis] = TS_MAX(v->extent[s->loop.axis], n);
  see_options(v, s->loop.notes);
}

// What a thread may have at most where threads of some warpgroups have more than others.
static void see_registers(survey *v, const ts_expr *e) {
  ts_effect f;
  int64_t n;
  if (ts_effect_of(e, &f) && f == TS_EFF_REGISTERS && ts_is_int(e->arg[0], &n)) v->moved = TS_MAX(v->moved, n);
}

static bool see(void *arg, const ts_stmt *s) {
  survey *v = arg;
  if (s->kind == TS_S_EVAL) see_registers(v, s->eval);
  if (s->kind == TS_S_ALLOC) see_alloc(v, s->alloc.buf);
  if (s->kind == TS_S_FOR && s->loop.kind == TS_THREAD && s->loop.axis != TS_VTHREAD) see_axis(v, s);
  return !v->failed;
}

static void check_grid(survey *v) {
  for (ts_axis a = TS_BLOCK_X; a <= TS_BLOCK_Z; a++) {
    int64_t most = a == TS_BLOCK_X ? INT32_MAX : 65535;
    if (v->extent[a] > most && v->extent[a] != TS_POS_INF)
      refuse(v, "grid-limit", "%lld blocks along %s; %lld are allowed", (long long)v->extent[a], ts_axis_name(a),
             (long long)most);
  }
}

// Blocks that a multiprocessor is to hold together.
static void check_blocks(survey *v, int64_t threads, int64_t registers) {
  const ts_target_gpu *g = &v->t->gpu;
  int64_t n = v->minblocks;
  if (n * threads > g->sm_threads)
    refuse(v, "block-threads", "%lld blocks of %lld threads on a multiprocessor; it holds %d threads", (long long)n, (long long)threads, g->sm_threads);
  if (n * v->shared > g->sm_shared)
    refuse(v, "shared-memory", "%lld blocks of %lld bytes of shared memory on a multiprocessor; it has %lld", (long long)n, (long long)v->shared, (long long)g->sm_shared);
  if (!v->moved && n * threads * registers > g->sm_registers)
    refuse(v, "registers", "about %lld registers for each of %lld threads; a multiprocessor has %d for %lld blocks", (long long)registers, (long long)threads, g->sm_registers,
           (long long)n);
}

// Registers by estimate: private buffers and what addresses and loops take. Elements of fragments that are moved to private buffers, or back,
// stay where they are.
static void check_kernel(survey *v) {
  enum { OVERHEAD = 24 };
  const ts_target_gpu *g = &v->t->gpu;
  int64_t threads = v->extent[TS_THREAD_X] * v->extent[TS_THREAD_Y] * v->extent[TS_THREAD_Z];
  int64_t registers = TS_MIN(TS_MAX(v->local, v->fragments) / 4 + OVERHEAD, g->max_registers);
  check_grid(v);
  if (threads > g->max_threads)
    refuse(v, "block-threads", "a block of %lld threads; %d are allowed", (long long)threads, g->max_threads);
  if (v->extent[TS_THREAD_Z] > 64)
    refuse(v, "block-threads", "%lld threads along threadIdx.z; 64 are allowed", (long long)v->extent[TS_THREAD_Z]);
  if (v->shared > g->block_shared)
    refuse(v, "shared-memory", "%lld bytes of shared memory; a block may have %lld", (long long)v->shared,
           (long long)g->block_shared);
  if (v->moved ? registers > v->moved : threads > g->warp && threads * registers > g->sm_registers)
    refuse(v, "registers", "about %lld registers for each of %lld threads; a multiprocessor has %d",
           (long long)registers, (long long)threads, g->sm_registers);
  if (v->minblocks > 1) check_blocks(v, threads, registers);
  if (v->maxnreg && !v->moved && registers > v->maxnreg)
    refuse(v, "registers", "about %lld registers for a thread; maxnreg is %lld", (long long)registers, (long long)v->maxnreg);
  v->use->kernels++;
  v->use->threads = TS_MAX(v->use->threads, threads);
  v->use->shared = TS_MAX(v->use->shared, v->shared);
  v->use->registers = TS_MAX(v->use->registers, registers);
}

static void walk(survey *v, const ts_stmt *s) {
  if (s->kind == TS_S_ALLOC && !ts__is_shared(s->alloc.buf)) {
    walk(v, s->alloc.body);
  } else if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) walk(v, s->seq.child[i]);
  } else if (s->kind == TS_S_BLOCK && !s->block->niters) {
    walk(v, s->block->body);
  } else {
    for (int a = 0; a < TS_AXIS__COUNT; a++) v->extent[a] = 1;
    v->shared = v->local = v->fragments = v->moved = v->maxnreg = 0;
    v->minblocks = 1;
    ts_stmt_visit(s, see, NULL, v);
    if (!v->failed) check_kernel(v);
  }
}

bool ts_gpu_check(ts_ir *ir, const ts_func *f, const ts_target *t, ts_gpu_use *use, ts_diag *d) {
  ts_gpu_use ignored;
  survey v = {.an = ts_analyzer_new(ir),
              .ir = ir,
              .f = f,
              .t = t,
              .d = d,
              .lowered = f->stage == TS_STAGE_LOOPS,
              .use = use ? use : &ignored};
  *v.use = (ts_gpu_use){0};
  ts_bind_dims(v.an, f);
  walk(&v, f->body);
  ts_analyzer_free(v.an);
  return !v.failed;
}
