// The measuring worker: owns the buffers of one workload, runs kernels, verifies and times them.
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "measure/measure_impl.h"
#include "runtime/runtime.h"

enum { MOST_COPIES = 512, SAMPLE_NS = 1000000 };

// --- memory with guard bands -------------------------------------------------------------------------------------
typedef struct memory {
  uint8_t *base, *p;
  size_t bytes;
} memory;

static uint8_t guard_byte(size_t i) { return (uint8_t)(0xA5 ^ (i * 29)); }

static size_t memory_size(int64_t bytes) { return (size_t)(bytes + 63) / 64 * 64 + 2 * TS__GUARD_BYTES; }

static void put_guards(const memory *m) {
  size_t n = (m->bytes + 63) / 64 * 64;
  for (size_t i = 0; i < TS__GUARD_BYTES; i++) m->base[i] = guard_byte(i);
  for (size_t i = m->bytes; i < n + TS__GUARD_BYTES; i++) m->p[i] = guard_byte(i);
}

static memory memory_at(uint8_t *base, int64_t bytes) {
  memory m = {.bytes = (size_t)bytes, .base = base, .p = base + TS__GUARD_BYTES};
  put_guards(&m);
  return m;
}

static memory memory_new(int64_t bytes) {
  uint8_t *base = aligned_alloc(64, memory_size(bytes));
  if (!base) abort();  // the parent sees a crash and says so
  return memory_at(base, bytes);
}

// Damage is repaired, since the next candidate is not to blame for it.
static bool guards_whole(const memory *m) {
  size_t n = (m->bytes + 63) / 64 * 64;
  bool whole = true;
  for (size_t i = 0; i < TS__GUARD_BYTES; i++) whole &= m->base[i] == guard_byte(i);
  for (size_t i = m->bytes; i < n + TS__GUARD_BYTES; i++) whole &= m->p[i] == guard_byte(i);
  if (!whole) put_guards(m);
  return whole;
}

// --- the workload's data -----------------------------------------------------------------------------------------
typedef struct content {
  uint8_t *pristine[TS__MOST_PARAMS];  // before a run
  uint8_t *expected[TS__MOST_PARAMS];  // outputs: what the reference computes
} content;
typedef struct data {  // of the reference's parameters at one choice of dimensions
  ts__layout layout;
  memory live[TS__MOST_PARAMS];
  content now, other;  // other: of the case that is timed, for a look behind the last sample
  double reference_s;  // that the reference took
} data;
// Weights in the layout of one variant: named buffers, in as many copies as keep them cold.
typedef struct weights {
  bool used;
  ts_sha256 pack;  // zero: as the quantization stores them
  int n, copies;
  char name[TS__MOST_PARAMS][48];
  memory copy[MOST_COPIES][TS__MOST_PARAMS];
} weights;
typedef struct kernel {
  uint64_t tag;
  uint64_t placed;  // when, in placements
  bool used;
  ts_loaded code;
  ts__layout layout[TS__CASES];
  int64_t dims[TS__CASES][8];
  weights *w;
  memory workspace;
  int64_t reps;  // launches in a sample
  double tolerance;
} kernel;
enum { MOST_SETS = 8 };
typedef struct worker {
  const ts_workload *w;
  ts_pool *pool;
  data cases[TS__CASES];
  weights *sets[MOST_SETS];
  kernel kernels[TS__MOST_KERNELS];
  uint64_t placements;
  uint64_t runs;
  double busy_s;
  uint64_t rotation;
  uint64_t seed;
  bool has_other;  // content, of the timed case
} worker;

// Content before a run: inputs as filled, outputs poisoned (all bits set: NaN).
static void reset(data *c) {
  for (int i = 0; i < c->layout.n; i++) {
    if (c->layout.slot[i].role == TS_OUT) memset(c->live[i].p, 0xFF, c->live[i].bytes);
    else if (c->layout.slot[i].role == TS_INOUT) memcpy(c->live[i].p, c->now.pristine[i], c->live[i].bytes);
  }
}

static void run_kernel(worker *w, const ts_loaded *code, void *const *buf, const int64_t *dims) {
  code->run(buf, dims, ts_pool_rt(w->pool));
  w->runs++;
}

static uint8_t *copy_of(const void *p, size_t bytes) {
  uint8_t *copy = malloc(bytes + 1);
  if (!copy) abort();
  return memcpy(copy, p, bytes);
}

static bool run_reference(worker *w, int which, ts_diag *d) {
  data *c = &w->cases[which];
  void *buf[TS__MOST_PARAMS + 1];
  ts_loaded code;
  TS_TRY(ts_object_load(&w->w->object, &code, d));
  memory ws = memory_new(code.workspace(w->w->dims[which]));
  for (int i = 0; i < c->layout.n; i++) buf[i] = c->live[i].p;
  buf[c->layout.n] = ws.p;
  reset(c);
  run_kernel(w, &code, buf, w->w->dims[which]);
  free(ws.base);
  ts_object_unload(&code);
  for (int i = 0; i < c->layout.n; i++)
    if (c->layout.slot[i].role != TS_IN) c->now.expected[i] = copy_of(c->live[i].p, c->live[i].bytes);
  return true;
}

static bool prepare_case(worker *w, int which, ts_diag *d) {
  data *c = &w->cases[which];
  TS_TRY(ts__layout_of(w->w->reference, &w->w->spec, w->w->reference, w->w->dims[which], &c->layout, d));
  for (int i = 0; i < c->layout.n; i++) {
    const ts__slot *s = &c->layout.slot[i];
    c->live[i] = memory_new(s->bytes);
    ts__fill_slot(s, c->live[i].p, w->seed, (uint64_t)i);  // weights are the same in both cases
    if (s->cache != TS_COLD || s->role != TS_IN) c->now.pristine[i] = copy_of(c->live[i].p, (size_t)s->bytes);
  }
  const uint64_t begin = ts_now_ns();
  TS_TRY(run_reference(w, which, d));
  c->reference_s = (double)(ts_now_ns() - begin) * 1e-9;
  return true;
}

// Other content takes the place of what the timed case has, and back.
static void swap_content(data *c) {
  content now = c->now;
  c->now = c->other;
  c->other = now;
  for (int i = 0; i < c->layout.n; i++)
    if (c->layout.slot[i].role == TS_IN && c->now.pristine[i]) memcpy(c->live[i].p, c->now.pristine[i], c->live[i].bytes);
}

// Made when first asked for.
static bool other_content(worker *w, ts_diag *d) {
  enum { STREAM = 1000 };
  data *c = &w->cases[0];
  if (w->has_other) return true;
  for (int i = 0; i < c->layout.n; i++) {
    if (!c->now.pristine[i]) continue;
    c->other.pristine[i] = copy_of(c->now.pristine[i], c->live[i].bytes);
    if (c->layout.slot[i].role != TS_OUT) ts__fill_slot(&c->layout.slot[i], c->other.pristine[i], w->seed, STREAM + (uint64_t)i);
  }
  swap_content(c);
  w->has_other = run_reference(w, 0, d);
  swap_content(c);
  return w->has_other;
}

// --- weights --------------------------------------------------------------------------------------------------------
static bool cold(const worker *w, int i) {
  const ts__slot *s = &w->cases[0].layout.slot[i];
  return s->cache == TS_COLD && s->role == TS_IN && s->bytes == w->cases[1].layout.slot[i].bytes;
}

// Copies of the buffers in copy[0], which they replace, together in huge pages, as the runtime keeps weights.
static void make_copies(const worker *w, weights *s) {
  double bytes = 0, llc = w->w->target.l3_bytes ? (double)w->w->target.l3_bytes : 32e6;
  size_t each = 0;
  for (int i = 0; i < s->n; i++) {
    bytes += (double)s->copy[0][i].bytes;
    each += memory_size((int64_t)s->copy[0][i].bytes);
  }
  s->copies = bytes > 0 ? (int)fmin(MOST_COPIES, fmax(2, ceil(2 * llc / bytes))) : 1;
  if (!s->n) return;
  ts_pages pages;  // for the life of the worker
  if (!ts_pages_map(&pages, each * (size_t)s->copies, "copies of weights", NULL)) abort();
  uint8_t *at = pages.p;
  for (int k = s->copies - 1; k >= 0; k--)
    for (int i = 0; i < s->n; i++) {
      memory from = s->copy[0][i];
      s->copy[k][i] = memory_at(at, (int64_t)from.bytes);
      memcpy(s->copy[k][i].p, from.p, from.bytes);
      at += memory_size((int64_t)from.bytes);
    }
}

static weights *free_set(worker *w) {
  for (int i = 0; i < MOST_SETS; i++) {
    if (w->sets[i]) continue;
    w->sets[i] = calloc(1, sizeof *w->sets[i]);
    if (!w->sets[i]) abort();
    return w->sets[i];
  }
  return NULL;
}

static weights *find_set(worker *w, const ts_sha256 *id) {
  for (int i = 0; i < MOST_SETS; i++)
    if (w->sets[i] && memcmp(&w->sets[i]->pack, id, sizeof *id) == 0) return w->sets[i];
  return NULL;
}

// The quantization's own storage.
static weights *plain_weights(worker *w) {
  ts_sha256 none = {{0}};
  weights *s = find_set(w, &none);
  if (s || !(s = free_set(w))) return s;
  for (int i = 0; i < w->cases[0].layout.n; i++) {
    if (!cold(w, i)) continue;
    memcpy(s->name[s->n], w->cases[0].layout.slot[i].name, sizeof s->name[0]);
    s->copy[0][s->n++] = w->cases[0].live[i];
  }
  make_copies(w, s);
  return s;
}

// The outputs of a pack kernel run on the quantization's storage.
static weights *packed_weights(worker *w, const ts__request *q, ts__reply *r) {
  weights *s = find_set(w, &q->pack_object.id);
  if (s) return s;
  if (!(s = free_set(w))) return ts__say(r, TS_CRASHED, "more than %d weight layouts in one session", MOST_SETS), NULL;
  const ts__layout *l = &q->pack[0];
  void *buf[TS__MOST_PARAMS + 1];
  for (int i = 0; i < l->n; i++) {
    int from = ts__find_slot(&w->cases[0].layout, l->slot[i].name);
    if (l->slot[i].role != TS_OUT) {
      if (from < 0 || w->cases[0].layout.slot[from].bytes != l->slot[i].bytes) return ts__say(r, TS_WRONG, "pack reads %s, which is no parameter of the operator", l->slot[i].name), NULL;
      buf[i] = w->cases[0].live[from].p;
      continue;
    }
    memcpy(s->name[s->n], l->slot[i].name, sizeof s->name[0]);
    s->copy[0][s->n] = memory_new(l->slot[i].bytes);
    memset(s->copy[0][s->n].p, 0xFF, s->copy[0][s->n].bytes);
    buf[i] = s->copy[0][s->n++].p;
  }
  ts_loaded code;
  ts_diag d = {0};
  if (!ts_object_load(&q->pack_object, &code, &d)) return ts__say(r, TS_CRASHED, "pack: %s", d.message), NULL;
  memory ws = memory_new(code.workspace(q->pack_dims[0]));
  buf[l->n] = ws.p;
  run_kernel(w, &code, buf, q->pack_dims[0]);
  free(ws.base);
  ts_object_unload(&code);
  for (int i = 0; i < s->n; i++)
    if (!guards_whole(&s->copy[0][i])) return ts__say(r, TS_GUARD, "pack writes outside %s", s->name[i]), NULL;
  s->pack = q->pack_object.id;
  make_copies(w, s);
  return s;
}

// --- one candidate ----------------------------------------------------------------------------------------------------
static bool bind_args(worker *w, const kernel *k, int which, int copy, void **buf, ts__reply *r) {
  const ts__layout *l = &k->layout[which], *ref = &w->cases[which].layout;
  for (int i = 0; i < l->n; i++) {
    buf[i] = NULL;
    for (int j = 0; j < k->w->n; j++)
      if (strcmp(k->w->name[j], l->slot[i].name) == 0 && (int64_t)k->w->copy[copy][j].bytes == l->slot[i].bytes) buf[i] = k->w->copy[copy][j].p;
    int at = ts__find_slot(ref, l->slot[i].name);
    if (!buf[i] && at >= 0 && ref->slot[at].bytes == l->slot[i].bytes) buf[i] = w->cases[which].live[at].p;
    if (!buf[i]) return ts__say(r, TS_WRONG, "parameter %s is neither the operator's nor packed", l->slot[i].name), false;
  }
  buf[l->n] = k->workspace.p;
  return true;
}

// Differences of one output; NaN where the reference has none counts as infinitely wrong.
static void compare_output(const ts__slot *s, const uint8_t *got, const uint8_t *want, double *worst, double *largest, double *sq, double *sq_ref) {
  ts_array a = {.code = s->code, .ndim = 1, .shape = {s->count}, .data = (void *)(uintptr_t)got};
  ts_array b = {.code = s->code, .ndim = 1, .shape = {s->count}, .data = (void *)(uintptr_t)want};
  for (int64_t i = 0; i < s->count; i++) {
    double p = ts_array_get(&a, i), q = ts_array_get(&b, i);
    if (isnan(q) && isnan(p)) continue;
    double e = fabs(p - q);
    if (isnan(e)) e = INFINITY;
    *worst = fmax(*worst, e);
    *largest = fmax(*largest, fabs(q));
    *sq += e * e;
    *sq_ref += q * q;
  }
}

// What was written to is repaired, since the next candidate is not to blame for it.
static bool inputs_unchanged(const data *c, ts__reply *r) {
  bool ok = true;
  for (int i = 0; i < c->layout.n; i++) {
    if (c->layout.slot[i].role != TS_IN || !c->now.pristine[i] || memcmp(c->now.pristine[i], c->live[i].p, c->live[i].bytes) == 0) continue;
    if (ok) ts__say(r, TS_WRONG, "writes to its input %s", c->layout.slot[i].name);
    memcpy(c->live[i].p, c->now.pristine[i], c->live[i].bytes);
    ok = false;
  }
  return ok;
}

static bool guards_of(const worker *w, const kernel *k, ts__reply *r) {
  for (int which = 0; which < TS__CASES; which++)
    for (int i = 0; i < w->cases[which].layout.n; i++)
      if (!guards_whole(&w->cases[which].live[i])) return ts__say(r, TS_GUARD, "writes outside %s", w->cases[which].layout.slot[i].name), false;
  for (int i = 0; i < k->w->n; i++)
    if (!guards_whole(&k->w->copy[0][i])) return ts__say(r, TS_GUARD, "writes outside %s", k->w->name[i]), false;
  if (!guards_whole(&k->workspace)) return ts__say(r, TS_GUARD, "writes outside its workspace"), false;
  return true;
}

static bool verify_case(worker *w, kernel *k, int which, ts__reply *r) {
  data *c = &w->cases[which];
  void *buf[TS__MOST_PARAMS + 1];
  TS_TRY(bind_args(w, k, which, (int)(w->rotation++ % (uint64_t)k->w->copies), buf, r));
  reset(c);
  run_kernel(w, &k->code, buf, k->dims[which]);
  TS_TRY(guards_of(w, k, r) && inputs_unchanged(c, r));
  double worst = 0, largest = 0, sq = 0, sq_ref = 0;
  for (int i = 0; i < c->layout.n; i++)
    if (c->now.expected[i]) compare_output(&c->layout.slot[i], c->live[i].p, c->now.expected[i], &worst, &largest, &sq, &sq_ref);
  double rel = worst == 0 ? 0 : largest > 0 ? worst / largest : INFINITY;
  r->rel_error = fmax(r->rel_error, rel);
  r->rel_l2 = fmax(r->rel_l2, sq == 0 ? 0 : sqrt(sq / sq_ref));
  if (rel <= k->tolerance) return true;
  return ts__say(r, TS_WRONG, "differs from the reference by %.3g of the largest value (allowed %.3g)", rel, k->tolerance), false;
}

static bool verify(worker *w, kernel *k, ts__reply *r) { return verify_case(w, k, 1, r) && verify_case(w, k, 0, r); }

// After the last sample: with other data than was timed, if the reference is there in little of the time that a final has to answer.
static bool verify_again(worker *w, kernel *k, ts__reply *r) {
  const double most_s = 2;
  ts_diag d = {0};
  TS_TRY(verify_case(w, k, 1, r));
  if (w->cases[0].reference_s > most_s) return verify_case(w, k, 0, r);
  if (!other_content(w, &d)) return ts__say(r, TS_CRASHED, "the reference: %.150s", d.message), false;
  swap_content(&w->cases[0]);
  bool ok = verify_case(w, k, 0, r);
  size_t n = strlen(r->message);
  if (!ok && r->kind == TS_WRONG) snprintf(r->message + n, sizeof r->message - n, ", on other data than it was timed with");
  swap_content(&w->cases[0]);
  return ok;
}

static long switches(void) {
  struct rusage u;
  getrusage(RUSAGE_THREAD, &u);
  return u.ru_nivcsw;
}

// One sample: k->reps launches over the copies in turn, ns per launch.
static double sample(worker *w, kernel *k, uint8_t *flag) {
  static void *buf[MOST_COPIES][TS__MOST_PARAMS + 1];
  static const kernel *bound;
  static uint64_t bound_tag;
  ts__reply ignored;
  if (bound != k || bound_tag != k->tag) {
    for (int c = 0; c < k->w->copies; c++)
      if (!bind_args(w, k, 0, c, buf[c], &ignored)) return NAN;
    bound = k;
    bound_tag = k->tag;
  }
  const ts_kernel_rt *rt = ts_pool_rt(w->pool);
  long before = switches();
  int c = (int)(w->rotation % (uint64_t)k->w->copies);
  uint64_t begin = ts_now_ns();
  for (int64_t i = 0; i < k->reps; i++) {
    k->code.run(buf[c], k->dims[0], rt);
    if (++c == k->w->copies) c = 0;
  }
  uint64_t ns = ts_now_ns() - begin;
  w->rotation += (uint64_t)k->reps;
  *flag = switches() != before;
  return (double)ns / (double)k->reps;
}

static void calibrate(worker *w, kernel *k) {
  uint8_t flag;
  k->reps = 1;
  double t = sample(w, k, &flag);
  t = fmin(t, sample(w, k, &flag));
  k->reps = (int64_t)fmin(20000, fmax(1, ceil(SAMPLE_NS / fmax(t, 20))));
}

static void time_kernel(worker *w, kernel *k, const ts_effort *e, ts__samples *s, ts__reply *r) {
  calibrate(w, k);
  uint64_t begin = ts_now_ns();
  const char *why;
  while (!(why = ts__stop_reason(e, s, begin))) {
    uint8_t flag;
    double t = sample(w, k, &flag);
    ts__samples_add(s, t, NAN, flag);
  }
  snprintf(r->stop, sizeof r->stop, "%s", why);
}

static void drop(kernel *k) {
  if (!k->used) return;
  ts_object_unload(&k->code);
  free(k->workspace.base);
  *k = (kernel){0};
}

// The place for a tag: its own, a free one, or that of the kernel placed longest ago. ORDER
static kernel *place(worker *w, uint64_t tag) {
  kernel *k = NULL;
  for (int i = 0; i < TS__MOST_KERNELS && !k; i++)
    if (w->kernels[i].used && w->kernels[i].tag == tag) k = &w->kernels[i];
  for (int i = 0; i < TS__MOST_KERNELS && !k; i++)
    if (!w->kernels[i].used) k = &w->kernels[i];
  if (!k) {
    k = &w->kernels[0];
    for (int i = 1; i < TS__MOST_KERNELS; i++)
      if (w->kernels[i].placed < k->placed) k = &w->kernels[i];
  }
  drop(k);
  return k;
}

static void serve_run(worker *w, const ts__request *q, ts__samples *s, ts__reply *r) {
  kernel *k = place(w, q->tag);
  ts_diag d = {0};
  *k = (kernel){.tag = q->tag, .placed = ++w->placements, .tolerance = q->tolerance};
  k->w = q->has_pack ? packed_weights(w, q, r) : plain_weights(w);
  if (!k->w) return;
  if (!ts_object_load(&q->object, &k->code, &d)) return ts__say(r, TS_CRASHED, "%s", d.message);
  k->used = true;
  memcpy(k->layout, q->main, sizeof k->layout);
  memcpy(k->dims, q->dims, sizeof k->dims);
  int64_t bytes = TS_MAX(k->code.workspace(k->dims[0]), k->code.workspace(k->dims[1]));
  k->workspace = memory_new(TS_MAX(bytes, 0));
  if (!verify(w, k, r)) return drop(k);
  if (q->keep_only) calibrate(w, k);
  else time_kernel(w, k, &q->effort, s, r);
  if (!guards_of(w, k, r)) drop(k);
}

static kernel *by_tag(worker *w, uint64_t tag) {
  for (int i = 0; i < TS__MOST_KERNELS; i++)
    if (w->kernels[i].used && w->kernels[i].tag == tag) return &w->kernels[i];
  return NULL;
}

// --- messages -----------------------------------------------------------------------------------------------------------
static bool serve_final(worker *w, int fd, const ts__request *q, const uint64_t *tags) {
  ts__samples *s = calloc(q->ntags, sizeof *s);
  size_t *order = calloc(q->ntags, sizeof *order);
  if (!s || !order) abort();
  ts_rng rng = ts_rng_new(q->tag, 1);
  uint64_t begin = ts_now_ns();
  double best = INFINITY;
  for (size_t round = 0; round < q->rounds; round++) {
    if (round >= TS__FINAL_LEAST && (double)(ts_now_ns() - begin) * 1e-9 > q->max_s) break;
    ts__shuffle(order, q->ntags, &rng);
    for (size_t i = 0; i < q->ntags; i++) {
      kernel *k = by_tag(w, tags[order[i]]);
      uint8_t flag = 0, ignored;
      double t = NAN;
      if (k && ts__samples_settled(&s[order[i]], best)) continue;
      if (k) {
        if (k->reps > 1) sample(w, k, &ignored);  // the pass that brings its code and activations in
        t = sample(w, k, &flag);
        best = fmin(best, t);
      }
      ts__samples_add(&s[order[i]], t, NAN, flag);
    }
  }
  bool ok = true;
  for (size_t i = 0; i < q->ntags; i++) {
    ts__reply r = ts__reply_new("monotonic");
    kernel *k = by_tag(w, tags[i]);
    snprintf(r.stop, sizeof r.stop, "%s", s[i].n < q->rounds ? "settled" : "quota");
    if (!k) ts__say(&r, TS_CRASHED, "the candidate is not loaded");
    else verify_again(w, k, &r);
    r.busy_s = i ? 0 : (double)(ts_now_ns() - begin) * 1e-9;
    ok = ok && ts__send_reply(fd, &r, &s[i]);
    ts__samples_free(&s[i]);
  }
  free(s);
  free(order);
  return ok;
}

static bool serve_one(worker *w, int fd, ts_text *t) {
  ts__request q;
  if (t->n < sizeof q) return false;
  memcpy(&q, t->p, sizeof q);
  const char *rest = t->p + sizeof q;
  if (q.verb == TS__FINAL) return serve_final(w, fd, &q, (const uint64_t *)(const void *)rest);
  q.object.bytes = rest;
  q.pack_object.bytes = rest + q.object.n;
  uint64_t begin = ts_now_ns();
  ts__samples s = {0};
  ts__reply r = ts__reply_new("monotonic");
  serve_run(w, &q, &s, &r);
  if (r.kind != TS_MEASURED) s.n = 0;
  r.busy_s = (double)(ts_now_ns() - begin) * 1e-9;
  bool ok = ts__send_reply(fd, &r, &s);
  ts__samples_free(&s);
  return ok;
}

void ts__worker_serve(int fd, void *arg) {
  ts__worker_arg *x = arg;
  worker *w = calloc(1, sizeof *w);
  ts_diag d = {0};
  ts__reply r = ts__reply_new("monotonic");
  ts__samples none = {0};
  if (!w) return;
  w->w = x->w;
  w->seed = x->opts.seed;
  w->pool = ts_pool_new(x->opts.threads, &d);
  bool ok = w->pool != NULL;
  for (int i = 0; i < TS__CASES && ok; i++) ok = prepare_case(w, i, &d);
  if (!ok) ts__say(&r, TS_CRASHED, "%s", d.message);
  if (!ts__send_reply(fd, &r, &none) || !ok) return;
  ts_text t = {0};
  while (ts_msg_recv(fd, &t, 0) == 1)
    if (!serve_one(w, fd, &t)) break;
}
