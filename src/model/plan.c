// From steps and kernels to the plan that goes into the library.
#include "kernels.h"
#include "memory_plan.h"
#include "runtime/runtime.h"
#include "times.h"

typedef struct planner {
  ts_arena *a;
  const ts__plan_opts *o;
  const ts__kernels *kernels;
  const ts_model_param *params;
  size_t nparams;
  ts__buffers buffers;
  TS_VEC(ts_plan_weight) weights;
} planner;

static bool dtype_of(ts_code c, ts_dtype *out, ts_diag *d) {
  return ts_dtype_parse(ts_code_name(c), out) || ts_bug(d, "plan", "a plan has no element type %s", ts_code_name(c));
}

// --- weights -----------------------------------------------------------------------------------------------
static const ts_model_param *find_param(const planner *p, const char *name) {
  for (size_t i = 0; i < p->nparams; i++)
    if (!strcmp(p->params[i].name, name)) return &p->params[i];
  return NULL;
}

// A tensor from a buffer whose shape is constant.
static bool tensor_of(const ts_buffer *b, ts_tensor *out, ts_diag *d) {
  *out = (ts_tensor){.ndim = b->ndim};
  if (b->ndim > TS_TENSOR_DIMS) return ts_bug(d, "plan", "weight buffer %s has %d dimensions", b->name, b->ndim);
  for (int i = 0; i < b->ndim; i++)
    if (!ts_is_int(b->shape[i], &out->shape[i]))
      return ts_bug(d, "plan", "weight buffer %s has a symbolic shape", b->name);
  return dtype_of(b->code, &out->dtype, d);
}

static bool storage_of(planner *p, const ts_model_param *m, ts_plan_weight *w, ts_diag *d) {
  ts_stored s[2];
  w->nstorage = ts_quant_storage(p->a, p->o->quant, m, s);
  ts_plan_storage *storage = ts_new_array(p->a, ts_plan_storage, w->nstorage);
  for (int i = 0; i < w->nstorage; i++) {
    storage[i] =
        (ts_plan_storage){.name = s[i].name, .t = {.ndim = s[i].ndim, .shape = {s[i].shape[0], s[i].shape[1]}}};
    if (s[i].ndim == 1) storage[i].t.shape[1] = 0;
    TS_TRY(dtype_of(s[i].type, &storage[i].t.dtype, d));
  }
  w->storage = storage;
  return true;
}

// Parts of a packed weight are the outputs of pack; else parts are the storage, vectors as f32.
static bool parts_of(planner *p, const ts_func *pack, const ts_model_param *m, ts_plan_weight *w, ts_diag *d) {
  ts_tensor *parts = ts_new_array(p->a, ts_tensor, TS_MAX(w->nstorage, pack ? pack->nparams : 0));
  for (int i = 0; pack && i < pack->nparams; i++)
    if (pack->params[i].role != TS_IN) TS_TRY(tensor_of(pack->params[i].buf, &parts[w->nparts++], d));
  for (int i = 0; !pack && i < w->nstorage; i++) {
    parts[w->nparts] = w->storage[i].t;
    if (m->kind == TS_PARAM_VECTOR) parts[w->nparts].dtype = TS_DT_F32;
    w->nparts++;
  }
  w->parts = parts;
  return true;
}

// What packs a step's weight: only the one called `w` is packed.
static const ts_func *pack_of(const ts__kernel_row *k, const ts__step_arg *w) { return strcmp(w->name, "w") ? NULL : k->pack; }

static const ts_plan_weight *find_weight(const planner *p, const char *name) {
  for (size_t i = 0; i < p->weights.n; i++)
    if (!strcmp(p->weights.p[i].name, name)) return &p->weights.p[i];
  return NULL;
}

// The plan's weight for an argument as kernel k reads it, made when new.
static bool weight_index(planner *p, const ts__kernel_row *k, const ts__step_arg *a, int *out, ts_diag *d) {
  const char *param = a->weight;
  const ts_model_param *m = find_param(p, param);
  if (!m) return ts_bug(d, "plan", "no parameter %s", param);
  const char *pack = pack_of(k, a) ? k->pack_object.symbol : NULL;
  ts_plan_weight w = {.name = param, .pack = pack};
  for (int layout = 1; pack; layout++) {  // variants of one name may have layouts of their own
    w.name = ts_arena_printf(p->a, layout > 1 ? "%s:%s.%d" : "%s:%s", param, k->variant, layout);
    const ts_plan_weight *have = find_weight(p, w.name);
    if (!have || !strcmp(have->pack, pack)) break;
  }
  for (size_t i = 0; i < p->weights.n; i++)
    if (!strcmp(p->weights.p[i].name, w.name)) return *out = (int)i, true;
  TS_TRY(storage_of(p, m, &w, d));
  TS_TRY(parts_of(p, pack_of(k, a), m, &w, d));
  *out = (int)p->weights.n;
  ts_vec_push(p->a, &p->weights, w);
  return true;
}

// --- arguments ---------------------------------------------------------------------------------------------
static const ts__step_arg *named_arg(const ts__step *s, const char *name) {
  for (int i = 0; i < s->nargs; i++)
    if (!strcmp(s->args[i].name, name)) return &s->args[i];
  return NULL;
}

// Which part of its weight a kernel parameter is: -1 when it is none. Packed: by name among pack's outputs; else
// parameters NAME, NAME_q, NAME_s in order.
static int weight_part(const ts__kernel_row *k, const ts__step_arg *w, const char *name, int seen) {
  const ts_func *pack = pack_of(k, w);
  if (pack) {
    for (int i = 0, part = 0; i < pack->nparams; i++) {
      if (pack->params[i].role == TS_IN) continue;
      if (!strcmp(pack->params[i].buf->name, name)) return part;
      part++;
    }
    return -1;
  }
  return ts__is_weight_param(w, name) ? seen : -1;
}

static bool check_part(const ts_plan_weight *w, int part, const ts_buffer *b, ts_diag *d) {
  ts_tensor t;
  TS_TRY(tensor_of(b, &t, d));
  if (part < w->nparts && t.dtype == w->parts[part].dtype && ts_tensor_bytes(&t) == ts_tensor_bytes(&w->parts[part]))
    return true;
  return ts_bug(d, "plan", "weight %s does not fit kernel parameter %s", w->name, b->name);
}

static bool weight_arg(planner *p, const ts__kernel_row *k, const ts__step *s, const ts_buffer *b, int *seen,
                       ts_plan_arg *out, ts_diag *d) {
  for (int i = 0; i < s->nargs; i++) {
    if (s->args[i].use != TS__WEIGHT) continue;
    int part = weight_part(k, &s->args[i], b->name, seen[i]), index = 0;
    if (part < 0) continue;
    TS_TRY(weight_index(p, k, &s->args[i], &index, d));
    TS_TRY(check_part(&p->weights.p[index], part, b, d));
    *out = (ts_plan_arg){.kind = TS_PLAN_ARG_WEIGHT, .index = index, .part = part};
    seen[i]++;
    return true;
  }
  return ts_bug(d, "plan", "%s: nothing is known to pass as kernel parameter %s", s->text, b->name);
}

static int64_t row_bytes(const ts__buf_info *b) { return b->per_row * ts_code_bytes(b->type); }

static bool plain_arg(const planner *p, const ts__step *s, const ts__step_arg *a, ts_plan_arg *out) {
  switch (a->use) {
    case TS__READ:
    case TS__WRITE:
    case TS__UPDATE:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_BUFFER, .index = a->buf};
      return true;
    case TS__ROW:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_BUFFER, .index = a->buf, .row_bytes = row_bytes(&p->buffers.buf[a->buf])};
      return true;
    case TS__COS:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_ROPE};
      return true;
    case TS__SIN:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_ROPE, .part = 1};
      return true;
    case TS__KEYS:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_K, .index = (int)s->layer};
      return true;
    case TS__VALUES:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_V, .index = (int)s->layer};
      return true;
    case TS__TABLE:
      *out = (ts_plan_arg){.kind = TS_PLAN_ARG_PAGES};
      return true;
    case TS__WEIGHT:
      break;
  }
  return false;
}

static bool plan_dims(const ts_func *f, ts_plan_step *out, ts_diag *d) {
  for (int i = 0; i < f->ndims; i++) {
    const char *name = f->dims[i].var->name;
    bool n = !strcmp(name, "n");
    if ((!n && strcmp(name, "t")) || out->ndims == 2)
      return ts_bug(d, "plan", "kernel %s has dimension %s", f->name, name);
    out->dims[out->ndims++] = n ? TS_DIM_N : TS_DIM_T;
  }
  return true;
}

// What the kernel asks of the values of its weights, with what others ask of the same.
static bool add_limits(planner *p, const ts__kernel_row *k, const ts__step *s, ts_diag *d) {
  for (int i = 0; k->native && i < k->native->nlimits; i++) {
    const ts_native_limit *x = &k->native->limits[i];
    const ts__step_arg *arg;
    int storage, index;
    if (!ts__limit_find(&k->inst, s, x, &arg, &storage)) return ts_bug(d, "plan", "%s: nothing is known to be %s", s->text, x->buffer);
    TS_TRY(weight_index(p, k, arg, &index, d));
    ts_plan_weight *w = &p->weights.p[index];
    ts_plan_storage *all = ts_arena_dup(p->a, w->storage, (size_t)w->nstorage * sizeof *all), *it = &all[storage];
    if (storage >= w->nstorage) return ts_bug(d, "plan", "weight %s has no tensor %d", w->name, storage);
    if (x->least) it->least = TS_MAX(it->least, x->bound);
    else it->below = it->below > 0 ? TS_MIN(it->below, x->bound) : x->bound;
    w->storage = all;
  }
  return true;
}

static ts_plan_source source_of(const char *served) {
  for (int i = 0; i < TS_FROM__COUNT; i++)
    if (!strcmp(ts_plan_source_name((ts_plan_source)i), served)) return (ts_plan_source)i;
  return TS_FROM_DEFAULT;
}

static bool plan_step(planner *p, const ts__step *s, ts_plan_step *out, ts_diag *d) {
  const ts__kernel_row *k = ts__kernels_find(p->kernels, s);
  if (!k) return ts_bug(d, "plan", "no kernel for %s", s->text);
  *out = (ts_plan_step){.kernel = k->object.symbol,
                        .op = s->spec.op,
                        .spec = s->text,
                        .source = source_of(k->served),
                        .expected_us = k->expected_us,
                        .nargs = k->func->nparams};
  ts_plan_arg *args = ts_new_array(p->a, ts_plan_arg, out->nargs);
  int *seen = ts_new_array(p->a, int, s->nargs);  // parts passed, of each argument
  for (int i = 0; i < out->nargs; i++) {
    const ts_buffer *b = k->func->params[i].buf;
    const ts__step_arg *a = named_arg(s, b->name);
    if (a && plain_arg(p, s, a, &args[i])) continue;
    TS_TRY(weight_arg(p, k, s, b, seen, &args[i], d));
  }
  out->args = args;
  return add_limits(p, k, s, d) && plan_dims(k->func, out, d);
}

static bool plan_phase(planner *p, ts__phase phase, const ts__step *steps, size_t n, ts_plan_phase *out, ts_diag *d) {
  *out = (ts_plan_phase){.kind = phase == TS__DECODE ? TS_PHASE_DECODE : phase == TS__HEAD ? TS_PHASE_HEAD : TS_PHASE_PREFILL,
                         .n_min = 1,
                         .n_max = ts__phase_rows(phase, p->o->chunk),
                         .multiple = ts__phase_multiple(phase, p->o->target->api),
                         .nsteps = (int)n};
  ts_plan_step *s = ts_new_array(p->a, ts_plan_step, n);
  for (size_t i = 0; i < n; i++) TS_TRY(plan_step(p, &steps[i], &s[i], d));
  out->steps = s;
  return true;
}

// A phase serves more rows than the one before it; where times are known, any number, and they divide prompts.
static void plan_thresholds(planner *p, const ts__step *const steps[], ts_plan_phase *f, int n) {
  const ts__times_of t = {.arch = p->o->target->arch, .sms = p->o->target->gpu.sms, .config = p->o->config, .quant = p->o->quant, .buffers = &p->buffers,
                          .params = p->params, .nparams = p->nparams, .chunk = p->o->chunk};
  if (p->o->target->api == TS_API_CUDA) ts__phase_times(p->a, &t, f, steps, n);
  for (int i = 0; i < n; i++)
    if (f[i].kind == TS_PHASE_PREFILL) f[i].n_min = f[i].ntimes ? f[0].n_max + 1 : f[i - 1].n_max + 1;
}

// --- the rest of a plan ------------------------------------------------------------------------------------
static void plan_rope(planner *p, ts_plan *out) {
  const ts_model_config *c = p->o->config;
  out->has_rope = true;
  out->rope = (ts_plan_rope){.positions = p->o->positions, .dim = c->head_dim, .theta = c->rope_theta};
  if (c->scaling == TS_SCALING_LINEAR) out->rope.scaling = TS_ROPE_LINEAR;
  if (c->scaling == TS_SCALING_LLAMA3) out->rope.scaling = TS_ROPE_LLAMA3;
  out->rope.factor = c->scale_factor;
  out->rope.low_freq_factor = c->low_freq;
  out->rope.high_freq_factor = c->high_freq;
  out->rope.original_positions = c->original_positions;
  if (c->scaling != TS_SCALING_FACTORS) return;
  double *f = ts_new_array(p->a, double, c->head_dim / 2);
  for (int64_t i = 0; i < c->head_dim / 2; i++) f[i] = (double)c->freq_divisor[i];
  out->rope.factors = f;
  out->rope.nfactors = (int)(c->head_dim / 2);
}

static bool plan_buffers(planner *p, const ts__step *const step[TS__PHASE__COUNT], const size_t n[TS__PHASE__COUNT],
                         ts_plan *out, ts_diag *d) {
  int64_t offset[TS__BUFS];
  out->arena_bytes = ts__memory_plan(&p->buffers, p->o->chunk, step, n, offset);
  ts_plan_buffer *b = ts_new_array(p->a, ts_plan_buffer, p->buffers.n);
  for (int i = 0; i < p->buffers.n; i++) {
    const ts__buf_info *f = &p->buffers.buf[i];
    b[i] = (ts_plan_buffer){.name = f->name, .per_row = f->per_row, .fixed = f->fixed, .offset = offset[i]};
    TS_TRY(dtype_of(f->type, &b[i].dtype, d));
  }
  out->buffers = b;
  out->nbuffers = p->buffers.n;
  out->tokens = p->buffers.tokens;
  out->logits = p->buffers.logits;
  return true;
}

// "+avx2,+fma,-gfni" -> what the target has.
static void plan_features(planner *p, ts_plan *out) {
  TS_VEC(const char *) v = {0};
  for (const char *f = p->o->target->api == TS_API_CPU ? p->o->target->features : ""; *f;) {
    size_t n = strcspn(f, ",");
    if (*f == '+') ts_vec_push(p->a, &v, ts_arena_strndup(p->a, f + 1, n - 1));
    f += n + (f[n] == ',');
  }
  out->features = v.p;
  out->nfeatures = (int)v.n;
}

static void plan_model(planner *p, ts_plan *out) {
  const ts__plan_opts *o = p->o;
  const ts_model_config *c = o->config;
  ts_text target = {0};
  ts_target_print(&target, o->target);
  out->target = ts_arena_strdup(p->a, ts_text_str(&target));
  ts_text_free(&target);
  out->api = o->target->api;
  out->gpu = out->api == TS_API_CPU ? "" : ts_arena_strdup(p->a, o->target->arch);
  out->synthetic = o->synthetic;
  out->name = o->name, out->arch = c->arch, out->quantization = o->quant->name;
  out->vocab = c->vocab, out->active_vocab = o->active_vocab, out->hidden = c->hidden, out->layers = c->layers;
  out->heads = c->heads, out->kv_heads = c->kv_heads, out->head_dim = c->head_dim;
  out->max_seq = o->positions, out->prefill_chunk = out->max_rows = o->chunk;
  out->bos = c->bos < c->vocab ? c->bos : -1;
  int64_t *eos = ts_new_array(p->a, int64_t, c->neos + 1);
  for (int i = 0; i < c->neos; i++)
    if (c->eos[i] >= 0 && c->eos[i] < c->vocab) eos[out->neos++] = c->eos[i];
  out->eos = eos;
  out->page = o->paging.page;
  if (out->page) out->pages = o->paging.positions / out->page;
  out->kv_bytes = c->kv_heads * (out->page ? o->paging.positions : o->positions) * c->head_dim * ts_code_bytes(o->quant->type);
}

static bool make_plan(planner *p, const ts__step *const step[TS__PHASE__COUNT], const size_t n[TS__PHASE__COUNT],
                      ts_plan *out, ts_diag *d) {
  TS_TRY(ts_model_params(p->a, p->o->config, &p->params, &p->nparams, d));
  plan_model(p, out);
  plan_features(p, out);
  plan_rope(p, out);
  TS_TRY(plan_buffers(p, step, n, out, d));
  ts_plan_phase *phases = ts_new_array(p->a, ts_plan_phase, TS__PHASE__COUNT);
  const ts__step *made_from[TS__PHASE__COUNT];
  for (int i = 0; i < TS__PHASE__COUNT; i++) {
    if (!n[i]) continue;
    made_from[out->nphases] = step[i];
    TS_TRY(plan_phase(p, (ts__phase)i, step[i], n[i], &phases[out->nphases++], d));
  }
  plan_thresholds(p, made_from, phases, out->nphases);
  out->phases = phases;
  out->weights = p->weights.p;
  out->nweights = (int)p->weights.n;
  return ts_plan_verify(out, p->o->name, d);
}

bool ts__plan_text(const ts__plan_opts *o, const ts__step *const step[TS__PHASE__COUNT],
                   const size_t n[TS__PHASE__COUNT], const ts__kernels *k, ts_text *out, ts_diag *d) {
  planner p = {.a = ts_arena_new("plan"), .o = o, .kernels = k};
  ts__buffers_of(o->config, o->target->api, &p.buffers);
  ts_plan plan = {0};
  bool ok = make_plan(&p, step, n, &plan, d);
  if (ok) ts_plan_print(out, &plan);
  ts_arena_free(p.a);
  return ok;
}
