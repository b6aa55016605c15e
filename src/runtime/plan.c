// What must hold of a plan, and how the runtime chooses in it.
#include "runtime/plan.h"

#include <math.h>

typedef struct check {
  const ts_plan *p;
  const char *file;
  ts_diag *d;
} check;

static bool wrong(const check *c, const char *what, const char *fact) {
  return ts_refuse(c->d, "plan-invalid", "%s: plan: %s: %s", c->file, what, fact);
}

static bool float_kind(ts_dtype t) { return t == TS_DT_F32 || t == TS_DT_F16 || t == TS_DT_BF16; }

static bool same_shape(const ts_tensor *a, const ts_tensor *b) {
  return a->ndim == b->ndim && !memcmp(a->shape, b->shape, sizeof(a->shape[0]) * (size_t)a->ndim);
}

static bool unpacked_ok(const check *c, const ts_plan_weight *w) {
  if (w->nparts != w->nstorage) return wrong(c, w->name, "as many parts as storage tensors expected without pack");
  for (int i = 0; i < w->nparts; i++) {
    const ts_tensor *from = &w->storage[i].t, *to = &w->parts[i];
    if (!same_shape(from, to)) return wrong(c, w->name, "part and storage differ in shape");
    if (from->dtype != to->dtype && !(float_kind(from->dtype) && float_kind(to->dtype)))
      return wrong(c, w->name, "only floats are converted between storage and part");
  }
  return true;
}

#define LARGEST (INT64_C(1) << 46)

static bool limits_ok(const check *c, const ts_plan_weight *w) {
  for (int i = 0; i < w->nstorage; i++) {
    const ts_plan_storage *s = &w->storage[i];
    if (!s->least && !s->below) continue;
    if (!(s->least >= 0 && s->below >= 0) || isinf(s->least) || isinf(s->below) || (s->below > 0 && s->least >= s->below)) return wrong(c, w->name, "limits that nothing keeps to");
    if (!float_kind(s->t.dtype)) return wrong(c, w->name, "limits of what are no floats");
  }
  return true;
}

static bool weight_ok(const check *c, const ts_plan_weight *w) {
  if (w->nstorage < 1 || w->nparts < 1) return wrong(c, w->name, "no storage or no parts");
  for (int i = 0; i < w->nstorage + w->nparts; i++) {
    const ts_tensor *t = i < w->nstorage ? &w->storage[i].t : &w->parts[i - w->nstorage];
    int64_t bytes = ts_tensor_bytes(t);
    if (bytes < 1 || bytes > LARGEST) return wrong(c, w->name, "bad size");
  }
  return limits_ok(c, w) && (w->pack || unpacked_ok(c, w));
}

// Bytes of a buffer when n rows are in flight, or -1.
static int64_t buffer_bytes(const ts_plan_buffer *b, int64_t n) {
  int64_t count, bytes;
  if (__builtin_mul_overflow(b->per_row, n, &count) || __builtin_add_overflow(count, b->fixed, &count) ||
      __builtin_mul_overflow(count, (int64_t)ts_dtype_bytes(b->dtype), &bytes))
    return -1;
  return bytes;
}

static bool buffer_ok(const check *c, const ts_plan_buffer *b) {
  int64_t bytes = buffer_bytes(b, c->p->max_rows);
  if (b->per_row < 0 || b->fixed < 0 || bytes < 0) return wrong(c, b->name, "bad size of a buffer");
  if (b->offset < 0 || b->offset % 64) return wrong(c, b->name, "offset is not a multiple of 64");
  if (b->offset > c->p->arena_bytes || bytes > c->p->arena_bytes - b->offset)
    return wrong(c, b->name, "buffer ends outside the arena");
  return true;
}

static bool io_ok(const check *c) {
  const ts_plan *p = c->p;
  const ts_plan_buffer *t = &p->buffers[p->tokens], *l = &p->buffers[p->logits];
  if (t->dtype != TS_DT_I32 || buffer_bytes(t, p->max_rows) < p->max_rows * 4 || buffer_bytes(t, 1) < 4)
    return wrong(c, t->name, "the token buffer should hold one i32 a row");
  if (l->dtype != TS_DT_F32 || buffer_bytes(l, 1) < p->vocab * 4)
    return wrong(c, l->name, "the logits buffer should hold f32[vocab]");
  return true;
}

static bool row_ok(const check *c, const ts_plan_arg *a, bool head) {
  const ts_plan_buffer *b = &c->p->buffers[a->index];
  if (!a->row_bytes) return true;
  if (!head || a->row_bytes < 0 || a->row_bytes % 64) return wrong(c, b->name, "row view outside the head, or not 64-byte aligned");
  int64_t last;
  if (__builtin_mul_overflow(a->row_bytes, c->p->max_rows, &last) || last > buffer_bytes(b, c->p->max_rows))
    return wrong(c, b->name, "row view leaves the buffer");
  return true;
}

static bool arg_ok(const check *c, const ts_plan_step *s, const ts_plan_arg *a, bool head) {
  const ts_plan *p = c->p;
  int limit = a->kind == TS_PLAN_ARG_BUFFER ? p->nbuffers : a->kind == TS_PLAN_ARG_WEIGHT ? p->nweights
              : a->kind == TS_PLAN_ARG_ROPE ? 1 : (int)p->layers;
  if (a->index < 0 || a->index >= limit) return wrong(c, s->kernel, "argument out of range");
  if (a->kind == TS_PLAN_ARG_ROPE && !p->has_rope) return wrong(c, s->kernel, "there are no rotary tables");
  if (a->kind == TS_PLAN_ARG_PAGES && (!p->page || a->index)) return wrong(c, s->kernel, "there is no table of pages");
  int parts = a->kind == TS_PLAN_ARG_WEIGHT ? p->weights[a->index].nparts : a->kind == TS_PLAN_ARG_ROPE ? 2 : 1;
  if (a->part < 0 || a->part >= parts) return wrong(c, s->kernel, "argument names a part that is not there");
  return a->kind == TS_PLAN_ARG_BUFFER ? row_ok(c, a, head) : true;
}

// Sums and extrapolations of times stay finite.
#define MOST_US 1e9

static bool times_ok(const check *c, const ts_plan_phase *f, const char *name, int64_t most) {
  if (f->ntimes < 0 || f->ntimes > TS_PLAN_TIMES) return wrong(c, name, "too many times");
  for (int i = 0; i < f->ntimes; i++) {
    const ts_plan_time *t = &f->times[i];
    if (t->n < 1 || t->n > most || (i && t->n <= f->times[i - 1].n)) return wrong(c, name, "rows of times do not rise within the phase");
    if (!isfinite(t->us) || t->us <= 0 || t->us > MOST_US) return wrong(c, name, "bad expected time");
  }
  return true;
}

static bool phase_ok(const check *c, const ts_plan_phase *f) {
  const char *name = f->kind == TS_PHASE_PREFILL ? "prefill" : f->kind == TS_PHASE_DECODE ? "decode" : "head";
  if (f->n_min < 1 || f->n_min > f->n_max || f->multiple < 1) return wrong(c, name, "bad range of rows");
  int64_t most = ts_round_up(f->n_max, f->multiple);
  if (most > c->p->max_rows) return wrong(c, name, "more rows than the buffers hold");
  if (f->kind != TS_PHASE_PREFILL && most != 1) return wrong(c, name, "serves one row only");
  if (f->nsteps < 1) return wrong(c, name, "no steps");
  TS_TRY(times_ok(c, f, name, most));
  for (int i = 0; i < f->nsteps; i++) {
    const ts_plan_step *s = &f->steps[i];
    if (s->ndims < 0 || s->ndims > (int)TS_COUNTOF(s->dims)) return wrong(c, s->kernel, "too many dimensions");
    if (!isfinite(s->expected_us) || s->expected_us < 0) return wrong(c, s->kernel, "bad expected time");
    for (int k = 0; k < s->nargs; k++) TS_TRY(arg_ok(c, s, &s->args[k], f->kind == TS_PHASE_HEAD));
  }
  return true;
}

static bool rope_ok(const check *c) {
  const ts_plan_rope *r = &c->p->rope;
  if (!c->p->has_rope) return true;
  if (r->positions < c->p->max_seq) return wrong(c, "rope", "fewer positions than the cache");
  if (r->dim < 2 || r->dim % 2 || !(r->theta > 0)) return wrong(c, "rope", "bad dim or theta");
  if (r->scaling != TS_ROPE_PLAIN && !(r->factor > 0)) return wrong(c, "rope", "bad factor");
  if (r->scaling == TS_ROPE_LLAMA3 && (r->original_positions < 1 || !(r->high_freq_factor > r->low_freq_factor)))
    return wrong(c, "rope", "bad llama3 scaling");
  if (r->nfactors && r->nfactors != r->dim / 2) return wrong(c, "rope", "dim / 2 factors expected");
  for (int i = 0; i < r->nfactors; i++)
    if (!(r->factors[i] > 0)) return wrong(c, "rope", "bad factor");
  return true;
}

static bool pages_ok(const check *c) {
  const ts_plan *p = c->p;
  if (!p->page && !p->pages) return true;
  if (p->page < 1 || p->pages < 1 || p->max_seq % p->page) return wrong(c, "memory", "positions are not whole pages");
  if (p->max_seq / p->page > p->pages) return wrong(c, "memory", "fewer pages than one sequence may have");
  return p->kv_bytes % p->pages == 0 || wrong(c, "memory", "kv_bytes is not that of whole pages");
}

static bool model_ok(const check *c) {
  const ts_plan *p = c->p;
  if (p->api == TS_API_CUDA ? strncmp(p->gpu, "sm_", 3) != 0 : *p->gpu != 0) return wrong(c, "target", "api and gpu disagree");
  if (p->synthetic && p->api == TS_API_CPU) return wrong(c, "target", "random weights are drawn by GPUs only");
  if (p->active_vocab > p->vocab) return wrong(c, "model", "active_vocab above vocab");
  if (p->prefill_chunk > p->max_rows) return wrong(c, "model", "prefill_chunk above max_rows");
  TS_TRY(pages_ok(c));
  if (p->kv_bytes < 0 || p->kv_bytes > LARGEST / (2 * p->layers)) return wrong(c, "memory", "bad kv_bytes");
  if (p->arena_bytes < 0 || p->arena_bytes > LARGEST) return wrong(c, "memory", "bad arena_bytes");
  if (p->bos >= p->vocab) return wrong(c, "model", "bos outside the vocabulary");
  for (int i = 0; i < p->neos; i++)
    if (p->eos[i] < 0 || p->eos[i] >= p->vocab) return wrong(c, "model", "eos outside the vocabulary");
  return true;
}

bool ts_plan_verify(const ts_plan *p, const char *file, ts_diag *d) {
  check c = {p, file, d};
  int count[TS_PHASE__COUNT] = {0};
  TS_TRY(model_ok(&c));
  TS_TRY(rope_ok(&c));
  for (int i = 0; i < p->nweights; i++) TS_TRY(weight_ok(&c, &p->weights[i]));
  for (int i = 0; i < p->nbuffers; i++) TS_TRY(buffer_ok(&c, &p->buffers[i]));
  TS_TRY(io_ok(&c));
  for (int i = 0; i < p->nphases; i++) {
    TS_TRY(phase_ok(&c, &p->phases[i]));
    count[p->phases[i].kind]++;
  }
  if (count[TS_PHASE_DECODE] != 1 || count[TS_PHASE_HEAD] != 1) return wrong(&c, "phases", "one decode and one head expected");
  return true;
}

static bool outside(const ts_plan_storage *s, double most) { return (s->below > 0 && !(most < s->below)) || (s->least > 0 && !(most >= s->least)); }

bool ts_plan_limited(const ts_plan *p, const char *storage) {
  for (int i = 0; i < p->nweights; i++)
    for (int k = 0; k < p->weights[i].nstorage; k++) {
      const ts_plan_storage *s = &p->weights[i].storage[k];
      if ((s->below > 0 || s->least > 0) && !strcmp(s->name, storage)) return true;
    }
  return false;
}

bool ts_plan_within(const ts_plan *p, const char *storage, double most, const char *file, ts_diag *d) {
  for (int i = 0; i < p->nweights; i++)
    for (int k = 0; k < p->weights[i].nstorage; k++) {
      const ts_plan_storage *s = &p->weights[i].storage[k];
      if (!outside(s, most) || strcmp(s->name, storage)) continue;
      bool above = s->below > 0 && !(most < s->below);
      ts_refuse(d, "weights-limit", "%s: %s reaches %g, and the library's kernels are for %s %g", file, storage, most, above ? "less than" : "at least", above ? s->below : s->least);
      ts_hint(d, "build the model again with these weights: other kernels take the place of those");
      return false;
    }
  return true;
}

double ts_plan_position_bytes(const ts_plan *p) {
  int64_t positions = p->page ? p->page * p->pages : p->max_seq;
  return 2.0 * (double)p->layers * (double)p->kv_bytes / (double)positions;
}

const ts_plan_phase *ts_plan_pick(const ts_plan *p, int64_t n) {
  ts_phase_kind kind = n == 1 ? TS_PHASE_DECODE : TS_PHASE_PREFILL;
  for (int i = 0; i < p->nphases; i++) {
    const ts_plan_phase *f = &p->phases[i];
    if (f->kind == kind && n >= f->n_min && n <= f->n_max) return f;
  }
  return NULL;
}
