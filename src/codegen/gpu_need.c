// Limits of a GPU that a kernel is held against.
#include "codegen/gpu_need.h"

void ts__need_refuse(ts__need *v, const char *code, int64_t have, int64_t most, const char *fmt, ...) {
  char what[300];
  va_list ap;
  if (v->failed) return;
  v->failed = true;
  v->use->over = code;
  v->use->have = have;
  v->use->most = most;
  if (!v->d) return;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  ts_refuse(v->d, code, "%s: %s", v->f->name, what);
}

void ts__need_begin(ts__need *v) {
  for (int a = 0; a < TS_AXIS__COUNT; a++) v->extent[a] = 1;
  v->shared = v->local = v->fragments = v->moved = v->maxnreg = 0;
  v->minblocks = 1;
}

// What loops along block and thread axes may say of their kernel (docs/schedule.md, annotate). ORDER options
enum { MINBLOCKS, MAXNREG, EVICT_FIRST, PREFETCH, DEPENDENT, OPTIONS };
static const struct {
  const char *key;
  int64_t least, most;  // most of minblocks and maxnreg: the GPU's
} options[OPTIONS] = {[MINBLOCKS] = {"minblocks", 1, 0}, [MAXNREG] = {"maxnreg", 24, 0}, [EVICT_FIRST] = {"evict_first", 0, 1}, [PREFETCH] = {"prefetch", 0, INT32_MAX}, [DEPENDENT] = {"dependent", 0, 2}};

void ts__need_options(ts__need *v, ts_notes notes) {
  for (int i = 0; i < OPTIONS && notes.n; i++) {
    const ts_note *note = ts_notes_find(notes, options[i].key);
    int64_t most = i == MINBLOCKS ? v->t->gpu.sm_blocks : i == MAXNREG ? v->t->gpu.max_registers : options[i].most;
    if (!note) continue;
    if (note->kind != TS_NOTE_INT)
      ts__need_refuse(v, "kernel-option", 0, most, "%s is no integer", options[i].key);
    else if (note->i < options[i].least || note->i > most)
      ts__need_refuse(v, "kernel-option", note->i, most, "%s is %lld; %lld to %lld are allowed", options[i].key, (long long)note->i, (long long)options[i].least, (long long)most);
    else if (i == MINBLOCKS)
      v->minblocks = note->i;
    else if (i == MAXNREG)
      v->maxnreg = note->i;
  }
}

static const char *at_least(const ts__need *v) { return v->least ? "at least " : ""; }

static void check_grid(ts__need *v) {
  for (ts_axis a = TS_BLOCK_X; a <= TS_BLOCK_Z; a++) {
    int64_t most = a == TS_BLOCK_X ? INT32_MAX : 65535;
    if (v->extent[a] > most && v->extent[a] != INT64_MAX)
      ts__need_refuse(v, "grid-limit", v->extent[a], most, "%lld blocks along %s; %lld are allowed", (long long)v->extent[a], ts_axis_name(a), (long long)most);
  }
}

static void check_threads(ts__need *v, int64_t threads) {
  const ts_target_gpu *g = &v->t->gpu;
  if (threads > g->max_threads)
    ts__need_refuse(v, "block-threads", threads, g->max_threads, "a block of %lld threads; %d are allowed", (long long)threads, g->max_threads);
  if (v->extent[TS_THREAD_Z] > 64)
    ts__need_refuse(v, "block-threads", v->extent[TS_THREAD_Z], 64, "%lld threads along threadIdx.z; 64 are allowed", (long long)v->extent[TS_THREAD_Z]);
}

static void check_registers(ts__need *v, int64_t threads, int64_t registers) {
  const ts_target_gpu *g = &v->t->gpu;
  if (v->moved ? registers > v->moved : threads > g->warp && threads * registers > g->sm_registers)
    ts__need_refuse(v, "registers", v->moved ? registers : threads * registers, v->moved ? v->moved : g->sm_registers,
                    "about %lld registers for each of %lld threads; a multiprocessor has %d", (long long)registers, (long long)threads, g->sm_registers);
  if (v->maxnreg && !v->moved && registers > v->maxnreg)
    ts__need_refuse(v, "registers", registers, v->maxnreg, "about %lld registers for a thread; maxnreg is %lld", (long long)registers, (long long)v->maxnreg);
}

// Blocks that a multiprocessor is to hold together.
static void check_blocks(ts__need *v, int64_t threads, int64_t registers) {
  const ts_target_gpu *g = &v->t->gpu;
  int64_t n = v->minblocks;
  if (n * threads > g->sm_threads)
    ts__need_refuse(v, "block-threads", n * threads, g->sm_threads, "%lld blocks of %lld threads on a multiprocessor; it holds %d threads", (long long)n, (long long)threads, g->sm_threads);
  if (n * v->shared > g->sm_shared)
    ts__need_refuse(v, "shared-memory", n * v->shared, g->sm_shared, "%lld blocks of %s%lld bytes of shared memory on a multiprocessor; it has %lld", (long long)n, at_least(v),
                    (long long)v->shared, (long long)g->sm_shared);
  if (!v->moved && n * threads * registers > g->sm_registers)
    ts__need_refuse(v, "registers", n * threads * registers, g->sm_registers, "about %lld registers for each of %lld threads; a multiprocessor has %d for %lld blocks",
                    (long long)registers, (long long)threads, g->sm_registers, (long long)n);
}

// Registers by estimate: private buffers and what addresses and loops take. Elements of fragments that are moved to private buffers, or back,
// stay where they are.
void ts__need_check(ts__need *v) {
  enum { OVERHEAD = 24 };
  const ts_target_gpu *g = &v->t->gpu;
  int64_t threads = 1;
  for (ts_axis a = TS_THREAD_X; a <= TS_THREAD_Z; a++) threads *= TS_MIN(v->extent[a], (int64_t)1 << 18);
  int64_t registers = TS_MIN(TS_MAX(v->local, v->fragments) / 4 + OVERHEAD, g->max_registers);
  check_grid(v);
  check_threads(v, threads);
  if (v->shared > g->block_shared)
    ts__need_refuse(v, "shared-memory", v->shared, g->block_shared, "%s%lld bytes of shared memory; a block may have %lld", at_least(v), (long long)v->shared, (long long)g->block_shared);
  if (!v->failed) check_registers(v, threads, registers);  // else threads may be too many to multiply
  if (!v->failed && v->minblocks > 1) check_blocks(v, threads, registers);
  v->use->kernels++;
  v->use->threads = TS_MAX(v->use->threads, threads);
  v->use->shared = TS_MAX(v->use->shared, v->shared);
  v->use->registers = TS_MAX(v->use->registers, registers);
}
