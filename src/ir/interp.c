// interp: the judge of meaning. Commands over slots, which statements were translated to (interp_compile.c), are run; every access is checked.
#include <stdlib.h>

#include "ir/interp_impl.h"

// --- failures and checks ----------------------------------------------------------------------------------------

bool ts__fail(ts__machine *m, const char *code, const char *fmt, ...) {
  char what[500];
  va_list ap;
  if (m->failed) return false;
  m->failed = true;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return ts_refuse(m->d, code, "%s", what);
}

static bool outside(ts__machine *m, const ts__memory *b, int d, int64_t i) {
  return ts__fail(m, "out-of-bounds", "index %lld of dimension %d of '%s' is outside 0..%lld", (long long)i, d,
                  b->buf->name, (long long)b->shape[d]);
}

int64_t ts__locate(ts__machine *m, const ts__memory *b, const ts__node *const *idx, int64_t extra) {
  int64_t at = 0;
  for (int d = 0; d < b->ndim; d++) {
    int64_t i = idx[d]->i(m, idx[d]);
    if (d + 1 == b->ndim) i += extra;
    if ((uint64_t)i >= (uint64_t)b->shape[d]) return outside(m, b, d, i), -1;
    at = at * b->shape[d] + i;
  }
  return m->failed ? -1 : at;
}

static ts__touch *touch_of(ts__machine *m, ts__memory *b, int level, int64_t at) {
  if (!b->touch[level]) {
    b->touch[level] = calloc((size_t)TS_MAX(b->count, 1), sizeof(ts__touch));
    if (!b->touch[level]) return ts__fail(m, "out-of-memory", "no memory to check '%s' for races", b->buf->name), NULL;
  }
  ts__touch *t = &b->touch[level][at];
  if (t->run != m->parallel[level].run)
    *t = (ts__touch){.run = m->parallel[level].run, .writer = TS__NOBODY, .reader = TS__NOBODY};
  return t;
}

// Which iteration touches b: the threads of a block that reduce into one element work together.
static int64_t toucher(const ts__machine *m, const ts__memory *b, int level) {
  return b->reducing >> level & 1 ? TS__REDUCTION : m->parallel[level].iteration;
}

// Did `who`, in that phase of its warp, come before what m does now, with nothing left to chance?
static bool ordered(const ts__machine *m, int level, int64_t me, int64_t who, uint32_t phase) {
  if (who == TS__NOBODY || who == me) return true;
  if (!m->parallel[level].team || who == TS__SEVERAL) return false;
  int64_t warp = who <= TS__WARP_READERS ? TS__WARP_READERS - who : who / TS__WARP;
  return warp == me / TS__WARP && phase < m->phase;
}

static void add_reader(const ts__machine *m, int level, int64_t me, ts__touch *t) {
  int64_t warp = TS__WARP_READERS - me / TS__WARP;
  bool near = t->reader == warp || (t->reader >= 0 && t->reader / TS__WARP == me / TS__WARP);
  if (t->reader == TS__NOBODY || t->reader == me) {
    t->reader = me;
  } else {
    t->reader = near && m->parallel[level].team ? warp : TS__SEVERAL;
  }
  t->reader_phase = m->phase;
}

static bool race(ts__machine *m, const ts__memory *b, int64_t at) {
  return ts__fail(m, "race", "two iterations of a parallel loop touch element %lld of '%s' and one writes",
                  (long long)at, b->buf->name);
}

bool ts__note_read(ts__machine *m, ts__memory *b, int64_t at) {
  for (int level = b->outer; level < m->nparallel; level++) {
    ts__touch *t = touch_of(m, b, level, at);
    if (!t) return false;
    int64_t me = toucher(m, b, level);
    if (!ordered(m, level, me, t->writer, t->writer_phase)) return race(m, b, at);
    add_reader(m, level, me, t);
  }
  return true;
}

bool ts__note_write(ts__machine *m, ts__memory *b, int64_t at) {
  for (int level = b->outer; level < m->nparallel; level++) {
    ts__touch *t = touch_of(m, b, level, at);
    if (!t) return false;
    int64_t me = toucher(m, b, level);
    if (!ordered(m, level, me, t->writer, t->writer_phase)) return race(m, b, at);
    if (!ordered(m, level, me, t->reader, t->reader_phase)) return race(m, b, at);
    t->writer = me;
    t->writer_phase = m->phase;
  }
  return true;
}

// --- memory ---------------------------------------------------------------------------------------------------

enum { MAX_ELEMENTS_LOG2 = 30 };

static void drop_touches(ts__memory *b) {
  for (int i = 0; i < TS__MAX_PARALLEL; i++) {
    free(b->touch[i]);
    b->touch[i] = NULL;
  }
}

void ts__memory_drop(ts__memory *b) {
  if (b->owned) free(b->data);
  free(b->written);
  drop_touches(b);
  ts__barriers_drop(b);
}

static bool reserve(ts__machine *m, ts__memory *b) {
  if ((size_t)b->count > b->capacity || !b->data) {
    ts__memory_drop(b);
    b->capacity = (size_t)TS_MAX(b->count, 1);
    b->data = malloc(b->capacity * (size_t)ts_code_bytes(b->code));
    b->written = malloc(b->capacity);
    b->owned = true;
    if (!b->data || !b->written) return ts__fail(m, "out-of-memory", "no memory for '%s'", b->buf->name);
  } else if (m->check_races) {
    drop_touches(b);
  }
  ts__barriers_drop(b);
  memset(b->written, 0, (size_t)b->count);
  return true;
}

// A fresh buffer without values; memory of an earlier allocation of the same buffer is used again.
static bool allocate(ts__machine *m, const ts__command *c) {
  ts__memory *b = m->mem[c->slot];
  int64_t count = 1;
  b->buf = c->buf;
  b->code = c->buf->code;
  b->ndim = c->buf->ndim;
  b->outer = m->nparallel;
  for (int d = 0; d < b->ndim; d++) {
    b->shape[d] = c->idx[d]->i(m, c->idx[d]);
    if (m->failed) return false;
    if (b->shape[d] < 0 || __builtin_mul_overflow(count, b->shape[d], &count) ||
        count > (int64_t)1 << MAX_ELEMENTS_LOG2) {
      return ts__fail(m, "too-large", "'%s' has an impossible shape", b->buf->name);
    }
  }
  b->count = count;
  return reserve(m, b);
}

// --- running --------------------------------------------------------------------------------------------------

static void run(ts__machine *m, const ts__command *c);

static bool step(ts__machine *m) {
  if (m->max_steps && m->steps >= m->max_steps)
    return ts__fail(m, "too-many-steps", "more than %llu steps", (unsigned long long)m->max_steps);
  if (m->stops && m->steps % 1024 == 0 && ts_interrupted()) return ts__fail(m, "interrupted", "stopped by a signal");
  m->steps++;
  return !m->failed;
}

// The threads of a block: the loop and those directly below it that are along thread axes too.
typedef struct threads {
  const ts__command *loop[3], *body;
  int64_t min[3], extent[3];
  int n;
} threads;

static void run_thread(void *arg, ts__machine *m) {
  const threads *t = arg;
  int64_t rest = m->me;
  for (int k = t->n; k-- > 0;) {
    m->var[t->loop[k]->slot] = (int64_t)((uint64_t)t->min[k] + (uint64_t)(rest % t->extent[k]));
    rest /= t->extent[k];
  }
  run(m, t->body);
}

enum { MOST_THREADS = 2048 };

static void run_team(ts__machine *m, const ts__command *c) {
  threads t = {.body = c};
  int64_t n = 1;
  while (t.body->kind == TS_S_FOR && t.body->thread && t.n < 3) {
    t.loop[t.n] = t.body;
    t.min[t.n] = t.body->a->i(m, t.body->a);
    t.extent[t.n] = t.body->b->i(m, t.body->b);
    if (t.extent[t.n] < 0 || t.extent[t.n] > MOST_THREADS || (n *= t.extent[t.n]) > MOST_THREADS) {
      ts__fail(m, "too-large", "a block of more than %d threads", MOST_THREADS);
      return;
    }
    t.body = t.body->child[0];
    t.n++;
  }
  if (m->team) {
    ts__fail(m, "not-interpretable", "a barrier or shuffle below a thread loop inside another one");
    return;
  }
  if (n) ts__team_run(m, (int)n, c->own, c->nown, run_thread, &t);
}

static void run_loop(ts__machine *m, const ts__command *c) {
  if (c->thread && c->lockstep) {
    run_team(m, c);
    return;
  }
  int64_t min = c->a->i(m, c->a), extent = c->b->i(m, c->b);
  bool level = c->parallel && m->check_races && m->nparallel < TS__MAX_PARALLEL;
  if (level) {
    m->parallel[m->nparallel].team = false;
    m->parallel[m->nparallel].slot = c->thread ? c->slot : -1;
    m->parallel[m->nparallel++].run = ++m->runs;
  }
  for (int64_t k = 0; k < extent && step(m); k++) {
    m->var[c->slot] = (int64_t)((uint64_t)min + (uint64_t)k);
    if (level) m->parallel[m->nparallel - 1].iteration = k;
    run(m, c->child[0]);
  }
  if (level) m->nparallel--;
}

void ts__put(ts__machine *m, ts__memory *b, int64_t at, int64_t i, double f) {
  if (m->check_races && !ts__note_write(m, b, at)) return;
  ts__pack(b->code, b->data + at * ts_code_bytes(b->code), i, f);
  if (b->written) b->written[at] = 1;
}

static void run_store(ts__machine *m, const ts__command *c) {
  int64_t iv[TS__MAX_LANES];
  double fv[TS__MAX_LANES];
  ts__memory *b = m->mem[c->slot];
  if (!step(m)) return;
  for (int l = 0; l < c->n; l++) {
    m->lane = l;
    iv[l] = 0, fv[l] = 0;
    if (c->floats) {
      fv[l] = c->a->f(m, c->a);
    } else {
      iv[l] = c->a->i(m, c->a);
    }
  }
  m->lane = 0;
  if (b->input) ts__fail(m, "write-to-input", "'%s' is an input", b->buf->name);
  for (int l = 0; l < c->n && !m->failed; l++) {
    int64_t at = ts__locate(m, b, c->idx, l);
    if (at >= 0) ts__put(m, b, at, iv[l], fv[l]);
  }
}

static void run_let(ts__machine *m, const ts__command *c) {
  for (int l = 0; l < c->n; l++) {
    m->lane = l;
    if (c->floats) {
      m->fvar[c->slot + l] = c->a->f(m, c->a);
    } else {
      m->var[c->slot + l] = c->a->i(m, c->a);
    }
  }
  m->lane = 0;
  if (!m->failed) run(m, c->child[0]);
}

// Iterators of the block from their bindings; *first says whether every reduce iterator is at its minimum.
static bool bind_iters(ts__machine *m, const struct ts__block_code *b, bool *first) {
  *first = true;
  for (int i = 0; i < b->niters; i++) {
    const ts__iter_code *it = &b->iters[i];
    int64_t v = it->value->i(m, it->value), min = it->min->i(m, it->min), extent = it->extent->i(m, it->extent);
    if (m->failed) return false;
    if (v < min || v - min >= extent) {
      return ts__fail(m, "out-of-domain", "iterator '%s' of block '%s' is %lld, outside its domain", it->name, b->name,
                      (long long)v);
    }
    if (it->kind == TS_ITER_REDUCE && v != min) *first = false;
    m->var[it->slot] = v;
  }
  return true;
}

// The levels along which the block reduces: loops over the threads of a block that feed its reduce iterators alone.
static uint16_t levels_reduced(const ts__machine *m, const struct ts__block_code *b) {
  unsigned levels = 0;
  for (int l = 0; l < m->nparallel; l++)
    for (int i = 0; i < b->nreduced; i++)
      if (!m->parallel[l].team && m->parallel[l].slot == b->reduced[i]) levels |= 1u << l;
  return (uint16_t)levels;
}

static void reducing(ts__machine *m, const struct ts__block_code *b, uint16_t levels, bool on) {
  for (int i = 0; i < b->nwritten; i++) {
    ts__memory *w = m->mem[b->written[i]];
    w->reducing = (uint16_t)(on ? w->reducing | levels : w->reducing & ~levels);
  }
}

static void run_block(ts__machine *m, const struct ts__block_code *b) {
  bool first;
  if (b->predicate && !b->predicate->i(m, b->predicate)) return;
  if (!step(m) || !bind_iters(m, b, &first)) return;
  for (int i = 0; i < b->nallocs; i++) {
    if (!allocate(m, b->allocs[i])) return;
  }
  uint16_t levels = m->check_races && b->nreduced ? levels_reduced(m, b) : 0;
  if (levels) reducing(m, b, levels, true);
  if (b->init && first) run(m, b->init);
  if (!m->failed) run(m, b->body);
  if (levels) reducing(m, b, levels, false);
}

// async.copy: the source is read now, the destination has the elements after a wait.
static void run_copy(ts__machine *m, const ts__command *c) {
  ts__memory *b = m->mem[c->a->slot];
  if (b->input) ts__fail(m, "write-to-input", "'%s' is an input", b->buf->name);
  for (int l = 0; l < c->n && step(m); l++) {
    m->lane = l;
    double f = c->floats ? c->c->f(m, c->c) : 0;
    int64_t i = c->floats ? 0 : c->c->i(m, c->c), at = m->failed ? -1 : ts__locate(m, b, c->a->idx, c->n > 1 ? l : 0);
    if (at >= 0 && (!m->check_races || ts__note_write(m, b, at))) ts__async_begin(m, b, at, i, f);
  }
  m->lane = 0;
}

static void run_effect(ts__machine *m, const ts__command *c) {
  if (!step(m)) return;
  switch ((ts_effect)c->effect) {
    case TS_EFF_SYNC_BLOCK:
    case TS_EFF_SYNC_CLUSTER:
      ts__team_wait(m, TS__AT_BLOCK, c);
      return;
    case TS_EFF_SYNC_WARP:
      ts__team_wait(m, TS__AT_WARP, c);
      return;
    case TS_EFF_ASYNC_COPY:
      run_copy(m, c);
      return;
    case TS_EFF_ASYNC_COMMIT:
      m->groups++;
      return;
    case TS_EFF_REGISTERS:
      return;
    case TS_EFF_ASYNC_WAIT:
      ts__async_wait(m, c->a->i(m, c->a));
      return;
    default:
      ts__run_barrier(m, (ts_effect)c->effect, c->idx);
      return;
  }
}

static void run_eval(ts__machine *m, const ts__command *c) {
  if (c->effect >= 0) {
    run_effect(m, c);
    return;
  }
  for (int l = 0; l < c->n && step(m); l++) {
    m->lane = l;
    if (c->floats) {
      (void)c->a->f(m, c->a);
    } else {
      (void)c->a->i(m, c->a);
    }
  }
  m->lane = 0;
}

static void run(ts__machine *m, const ts__command *c) {
  switch (c->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < c->n && !m->failed; i++) run(m, c->child[i]);
      return;
    case TS_S_FOR:
      run_loop(m, c);
      return;
    case TS_S_BLOCK:
      run_block(m, c->block);
      return;
    case TS_S_STORE:
      run_store(m, c);
      return;
    case TS_S_IF: {
      const ts__command *side = c->child[c->a->i(m, c->a) ? 0 : 1];
      if (side && !m->failed) run(m, side);
      return;
    }
    case TS_S_LET:
      run_let(m, c);
      return;
    case TS_S_ALLOC:
      if (allocate(m, c)) run(m, c->child[0]);
      return;
    default:
      run_eval(m, c);
      return;
  }
}

// --- the function ---------------------------------------------------------------------------------------------

static bool check_dims(const ts_func *f, const int64_t *dims, ts_diag *d) {
  for (int i = 0; i < f->ndims; i++) {
    const ts_dim *k = &f->dims[i];
    if (dims[i] >= k->lo && dims[i] <= k->hi && dims[i] % k->multiple == 0) continue;
    return ts_refuse(d, "bad-dimension", "%s: %s = %lld is outside its facts", f->name, k->var->name,
                     (long long)dims[i]);
  }
  return true;
}

// Elements that are said to be distinct are: each number below p->buf->distinct comes once at most.
static bool check_distinct(ts__machine *m, const ts_param *p, const ts_array *a) {
  int64_t below = p->buf->distinct, wrong = -1;
  uint8_t *seen = below ? calloc((size_t)(below / 8 + 1), 1) : NULL;
  if (!below) return true;
  if (!seen) return ts__fail(m, "out-of-memory", "no memory to look at '%s'", p->buf->name);
  for (int64_t i = 0; i < ts_array_count(a) && wrong < 0; i++) {
    double v = ts_array_get(a, i);
    bool fits = v >= 0 && v < (double)below && !(seen[(int64_t)v / 8] >> (int64_t)v % 8 & 1);
    if (fits) seen[(int64_t)v / 8] |= (uint8_t)(1 << (int64_t)v % 8);
    else wrong = i;
  }
  free(seen);
  if (wrong < 0) return true;
  return ts_refuse(m->d, "bad-argument", "element %lld of '%s' is %.0f: not below %lld, or there before", (long long)wrong, p->buf->name, ts_array_get(a, wrong), (long long)below);
}

static bool attach(ts__machine *m, ts__compiler *c, const ts_param *p, const ts_array *a) {
  ts__memory *b = m->mem[ts__slot_of_buffer(c, p->buf)];
  const ts__node **shape;
  if (!a || !a->data || a->code != p->buf->code || a->ndim != p->buf->ndim) {
    return ts_refuse(m->d, "bad-argument", "the array for '%s' has another type or rank", p->buf->name);
  }
  TS_TRY(ts__compile_exprs(c, p->buf->shape, p->buf->ndim, &shape));
  *b = (ts__memory){
      .buf = p->buf, .code = a->code, .ndim = a->ndim, .data = a->data, .input = p->role == TS_IN, .count = 1};
  for (int d = 0; d < a->ndim; d++) {
    int64_t want = shape[d]->i(m, shape[d]);
    if (m->failed) return false;
    if (want != a->shape[d] || want < 0) {
      return ts_refuse(m->d, "bad-argument", "dimension %d of '%s' is %lld and must be %lld", d, p->buf->name,
                       (long long)a->shape[d], (long long)want);
    }
    b->shape[d] = want;
    b->count *= want;
  }
  TS_TRY(check_distinct(m, p, a));
  if (p->role != TS_OUT) return true;
  b->written = calloc((size_t)TS_MAX(b->count, 1), 1);
  return b->written || ts__fail(m, "out-of-memory", "no memory for '%s'", p->buf->name);
}

static bool execute(ts__machine *m, ts__compiler *c, const ts_func *f, const int64_t *dims, ts_array *const *args) {
  for (int i = 0; i < f->nparams; i++) (void)ts__slot_of_buffer(c, f->params[i].buf);
  for (int i = 0; i < f->ndims; i++) (void)ts__slot_of_var(c, f->dims[i].var);
  const ts__command *body = ts__compile_stmt(c, f->body);
  TS_TRY(body != NULL);
  // A parameter's shape may name no variable but the dimensions, so attaching adds no slot.
  m->var = ts_new_array(c->tmp, int64_t, c->nvars + 1);
  m->fvar = ts_new_array(c->tmp, double, c->nvars + 1);
  m->nvars = c->nvars;
  m->nbufs = c->nbufs;
  m->mem = ts_new_array(c->tmp, ts__memory *, c->nbufs + 1);
  ts__memory *mem = ts_new_array(c->tmp, ts__memory, c->nbufs + 1);
  for (int i = 0; i < c->nbufs; i++) m->mem[i] = &mem[i];
  for (int i = 0; i < f->ndims; i++) m->var[ts__slot_of_var(c, f->dims[i].var)] = dims[i];
  for (int i = 0; i < f->nparams; i++) TS_TRY(attach(m, c, &f->params[i], args[i]));
  run(m, body);
  ts__async_wait(m, TS__EVERY);
  return !m->failed;
}

bool ts_interp_run(const ts_func *f, const int64_t *dims, ts_array *const *args, const ts_interp_opts *o, ts_diag *d) {
  ts_arena *tmp = ts_arena_new("interp");
  ts__compiler c = {.tmp = tmp, .vars = {.arena = tmp}, .bufs = {.arena = tmp}, .nodes = {.arena = tmp}, .d = d};
  ts__machine m = {.d = d, .max_steps = o ? o->max_steps : 0, .check_races = o && o->check_races, .stops = o && o->stops};
  bool ok = check_dims(f, dims, d) && execute(&m, &c, f, dims, args);
  for (int i = 0; m.mem && i < c.nbufs; i++) ts__memory_drop(m.mem[i]);
  free(m.queue);
  ts_arena_free(tmp);
  return ok;
}
