// Instantiating steps.def for a model, and the tasks that follow from it.
#include "steps.h"

typedef enum passes { BODY, ONE, MANY, LAST } passes;
typedef enum scope { EMBED, LAYER, BIAS, PLAIN, HEAD } scope;  // BIAS, PLAIN: of layers with and without a bias behind q, k and v
typedef struct row {
  passes passes;
  scope scope;
  const char *op;
  bool quantized;
  ts_bind bind[8];
  ts__step_arg arg[8];
} row;

// Indices of buffers.
#define STEP(passes, scope, op, quantized, params, args)
#define BUFFER(name, type, row, all) CPU_BUF_##name,
enum {
#include "model/steps.def"
  CPU_BUFS
};
#undef BUFFER
#define BUFFER(name, type, row, all) CUDA_BUF_##name,
enum {
#include "model/steps_cuda.def"
  CUDA_BUFS
};
#undef BUFFER
#undef STEP
_Static_assert((int)CPU_BUFS <= (int)TS__BUFS && (int)CUDA_BUFS <= (int)TS__BUFS, "more buffers than TS__BUFS");

const char *ts__phase_name(ts__phase p) {
#define ROWS(name, text, rows) text,
  static const char *const names[] = {"decode",
#include "model/rows.def"
                                      "prefill", "head"};
#undef ROWS
  return names[p];
}

int64_t ts__phase_rows(ts__phase p, int64_t chunk) {
#define ROWS(name, text, rows) [TS__##name] = rows,
  static const int64_t few[TS__PHASE__COUNT] = {[TS__DECODE] = 1,
#include "model/rows.def"
                                                [TS__HEAD] = 1};
#undef ROWS
  return p == TS__PREFILL ? chunk : few[p];
}

static bool few_rows(ts__phase p) { return p > TS__DECODE && p < TS__PREFILL; }

int64_t ts__phase_multiple(ts__phase p, ts_api api) {
  return p == TS__PREFILL ? api == TS_API_CPU ? 8 : 16 : ts__phase_rows(p, 0);
}

void ts__buffers_of(const ts_model_config *c, ts_api api, ts__buffers *out) {
  const int64_t H = c->hidden, I = c->intermediate, V = c->vocab, Q = c->heads * c->head_dim,
                QKV = Q + 2 * c->kv_heads * c->head_dim;
#define STEP(passes, scope, op, quantized, params, args)
#define BUFFER(name, type, row, all) {#name, TS_##type, row, all},
  const ts__buf_info cpu[] = {
#include "model/steps.def"
  };
  const ts__buf_info cuda[] = {
#include "model/steps_cuda.def"
  };
#undef BUFFER
#undef STEP
  *out = api == TS_API_CPU ? (ts__buffers){.n = CPU_BUFS, .tokens = CPU_BUF_tokens, .logits = CPU_BUF_logits}
                           : (ts__buffers){.n = CUDA_BUFS, .tokens = CUDA_BUF_tokens, .logits = CUDA_BUF_logits};
  memcpy(out->buf, api == TS_API_CPU ? cpu : cuda, sizeof *cpu * (size_t)out->n);
}

// --- binding -----------------------------------------------------------------------------------------------
typedef struct binder {
  const ts_model_config *c;
  const ts_quant *q;
  ts_api api;
  ts__phase phase;
  int64_t P, chunk;
  ts_paging paging;
} binder;

static bool on_cache(const row *r) {
  for (size_t i = 0; i < TS_COUNTOF(r->arg) && r->arg[i].name; i++)
    if (r->arg[i].use == TS__KEYS) return true;
  return false;
}

// n is the rows of a pass when they are few; t is known at run time. In passes of a few rows only matrix products know the number:
// the other kernels are those of prefill.
static void add_dims(const binder *k, const row *r, ts_bind *b, int *n) {
  int64_t rows = ts__phase_rows(k->phase, k->chunk), multiple = ts__phase_multiple(TS__PREFILL, k->api);
  bool weights = r->quantized && r->scope != EMBED;
  bool bound = rows == 1 || (k->phase != TS__PREFILL && weights);
  b[(*n)++] = bound ? (ts_bind){.name = "n", .kind = TS_BIND_INT, .i = rows}
                    : (ts_bind){.name = "n", .kind = TS_BIND_DIM, .i = multiple, .hi = k->chunk, .multiple = multiple};
  if (on_cache(r))
    b[(*n)++] =
        (ts_bind){.name = "t", .kind = TS_BIND_DIM, .i = 0, .hi = k->P - (bound ? 1 : multiple), .multiple = 1};
}

// The format of the row's weight; "" when it has none.
static const char *format_of(const row *r, const ts_model_config *c, const ts_quant *q) {
  if (!r->quantized) return "";
  return r->scope == EMBED || (r->scope == HEAD && c->tied) ? q->embedding : q->name;
}

static ts_spec make_spec(ts_arena *a, const binder *k, const row *r, const char *format) {
  ts_bind *b = ts_new_array(a, ts_bind, TS_COUNTOF(r->bind) + 5);
  int n = 0;
  bool typed = false;
  for (; n < (int)TS_COUNTOF(r->bind) && r->bind[n].name; n++) {
    b[n] = r->bind[n];
    typed |= !strcmp(b[n].name, "A");
  }
  if (!typed) b[n++] = (ts_bind){.name = "A", .kind = TS_BIND_TYPE, .code = TS_F32};
  add_dims(k, r, b, &n);
  bool pages = k->paging.page && on_cache(r);
  if (pages) {
    b[n++] = (ts_bind){.name = "PAGE", .kind = TS_BIND_INT, .i = k->paging.page};
    b[n++] = (ts_bind){.name = "POOL", .kind = TS_BIND_INT, .i = k->paging.positions / k->paging.page};
  }
  return (ts_spec){.op = pages ? ts_arena_printf(a, "%s_paged", r->op) : r->op, .quant = format, .nbind = n, .bind = b};
}

static bool in_layer(const row *r) { return r->scope == LAYER || r->scope == BIAS || r->scope == PLAIN; }

static const char *weight_name(ts_arena *a, const row *r, const char *name, const char *qkv, int64_t layer, bool tied) {
  if (tied && !strcmp(name, "lm_head.weight")) return "model.embed_tokens.weight";
  const char *slot = strstr(name, "%s");
  if (slot) name = ts_arena_printf(a, "%.*s%s%s", (int)(slot - name), name, qkv, slot + 2);
  return in_layer(r) ? ts_arena_printf(a, "model.layers.%lld.%s", (long long)layer, name) : name;
}

static ts__step make_step(ts_arena *a, const binder *k, const row *r, const ts_spec *spec, const char *text, const char *qkv,
                          int64_t layer, bool tied) {
  ts__step s = {.spec = *spec, .text = text, .layer = layer};
  ts__step_arg *args = ts_new_array(a, ts__step_arg, TS_COUNTOF(r->arg) + 1);
  for (; s.nargs < (int)TS_COUNTOF(r->arg) && r->arg[s.nargs].name; s.nargs++) {
    args[s.nargs] = r->arg[s.nargs];
    if (args[s.nargs].weight) args[s.nargs].weight = weight_name(a, r, args[s.nargs].weight, qkv, layer, tied);
  }
  if (k->paging.page && on_cache(r)) args[s.nargs++] = (ts__step_arg){.name = "table", .use = TS__TABLE};
  s.args = args;
  return s;
}

static bool in_phase(const binder *k, const row *r) {
  if (r->scope == (k->c->qkv_bias ? PLAIN : BIAS)) return false;
  switch (r->passes) {
    case BODY: return k->phase != TS__HEAD;
    case ONE: return k->phase == TS__DECODE;
    case MANY: return k->phase != TS__DECODE && k->phase != TS__HEAD;
    default: return k->phase == TS__HEAD;
  }
}

// Groups of quantized weights must be whole: kernels have no tails along K.
static bool check_groups(const ts_model_config *c, const ts_quant *q, ts_diag *d) {
  const int64_t k[] = {c->hidden, c->intermediate, c->heads * c->head_dim};
  for (size_t i = 0; i < TS_COUNTOF(k) && q->bits; i++)
    if (k[i] % q->group)
      return ts_refuse(d, "unsupported-config", "%s needs sizes that are multiples of %d; the model has %lld", q->name,
                       q->group, (long long)k[i]);
  return true;
}

static const char *spec_text(ts_arena *a, const ts_spec *s) {
  ts_text t = {0};
  ts_spec_print(&t, s);
  const char *text = ts_arena_strdup(a, ts_text_str(&t));
  ts_text_free(&t);
  return text;
}

// The steps of rows in order: the rows of a layer come together, and are repeated for every layer.
static bool expand(ts_arena *a, const binder *k, const row *rows, size_t nrows, const ts__step **out, size_t *n, ts_diag *d) {
  const ts__arch *arch = ts__arch_find(k->c->arch);
  if (!arch) return ts_refuse(d, "unknown-arch", "architecture '%s' is not supported", k->c->arch);
  TS_VEC(ts__step) v = {0};
  for (size_t i = 0; i < nrows;) {
    size_t end = i + 1;
    bool layered = in_layer(&rows[i]);
    while (layered && end < nrows && in_layer(&rows[end])) end++;
    size_t first = v.n;
    for (size_t r = i; r < end; r++) {
      if (!in_phase(k, &rows[r])) continue;
      ts_spec spec = make_spec(a, k, &rows[r], format_of(&rows[r], k->c, k->q));
      ts_vec_push(a, &v, make_step(a, k, &rows[r], &spec, spec_text(a, &spec), arch->qkv, 0, k->c->tied));
    }
    size_t per_layer = v.n - first;
    for (int64_t l = 1; layered && l < k->c->layers; l++)
      for (size_t r = i, at = 0; r < end && at < per_layer; r++)
        if (in_phase(k, &rows[r])) {
          const ts__step *s = &v.p[first + at++];
          ts_vec_push(a, &v, make_step(a, k, &rows[r], &s->spec, s->text, arch->qkv, l, k->c->tied));
        }
    i = end;
  }
  *out = v.p;
  *n = v.n;
  return true;
}

#define INT(n, v) {.name = #n, .kind = TS_BIND_INT, .i = v},
#define TYPE(n, v) {.name = #n, .kind = TS_BIND_TYPE, .code = v},
#define FLOAT(n, v) {.name = #n, .kind = TS_BIND_FLOAT, .f = v},
#define READ(n, b) {.name = #n, .use = TS__READ, .buf = BUF(b)},
#define WRITE(n, b) {.name = #n, .use = TS__WRITE, .buf = BUF(b)},
#define UPDATE(n, b) {.name = #n, .use = TS__UPDATE, .buf = BUF(b)},
#define ROW(n, b) {.name = #n, .use = TS__ROW, .buf = BUF(b)},
#define WEIGHT(n, w) {.name = #n, .use = TS__WEIGHT, .weight = w},
#define COS(n) {.name = #n, .use = TS__COS},
#define SIN(n) {.name = #n, .use = TS__SIN},
#define KEYS(n) {.name = #n, .use = TS__KEYS},
#define VALUES(n) {.name = #n, .use = TS__VALUES},
#define BUFFER(name, type, row, all)
#define STEP(passes, scope, op, quantized, params, args) {passes, scope, #op, quantized, {params}, {args}},
bool ts__steps(ts_arena *a, const ts_model_config *c, const ts_quant *quant, ts_api api, int64_t P, int64_t chunk, ts_paging paging,
               ts__phase phase, const ts__step **out, size_t *n, ts_diag *d) {
  const int64_t H = c->hidden, I = c->intermediate, V = c->vocab, D = c->head_dim, heads = c->heads,
                kv_heads = c->kv_heads;
  const int64_t Q = heads * D, QKV = Q + 2 * kv_heads * D;
  const double eps = c->rms_eps;
  const ts_code cache = quant->type;
#define BUF(b) CPU_BUF_##b
  const row cpu[] = {
#include "model/steps.def"
  };
#undef BUF
#define BUF(b) CUDA_BUF_##b
  const row cuda[] = {
#include "model/steps_cuda.def"
  };
#undef BUF
  const binder k = {.c = c, .q = quant, .api = api, .phase = phase, .P = P, .chunk = chunk, .paging = paging};
  *n = 0;
  *out = NULL;
  TS_TRY(check_groups(c, quant, d));
  if (api != TS_API_CPU) return (few_rows(phase) && ts__phase_rows(phase, chunk) >= chunk) || expand(a, &k, cuda, TS_COUNTOF(cuda), out, n, d);
  return few_rows(phase) || expand(a, &k, cpu, TS_COUNTOF(cpu), out, n, d);
}

// --- tasks -------------------------------------------------------------------------------------------------
bool ts_model_extent(const ts_model_config *c, ts_api api, int64_t *max_seq_len, int64_t *prefill_chunk, ts_diag *d) {
  const bool cpu = api == TS_API_CPU;
  int64_t most = c->sliding_window ? TS_MIN(c->sliding_window, c->max_positions) : c->max_positions;
  if (!*max_seq_len) *max_seq_len = TS_MIN(most, (int64_t)(cpu ? 2048 : 4096));
  if (!*prefill_chunk) *prefill_chunk = cpu ? 128 : 2048;
  if (*max_seq_len < 16 || *max_seq_len > most)
    return ts_refuse(d, "bad-length", "maximum sequence length %lld is outside 16..%lld, what the model can do",
                     (long long)*max_seq_len, (long long)most);
  if (*prefill_chunk < 8 || *prefill_chunk > 8192)
    return ts_refuse(d, "bad-length", "prefill chunk %lld is outside 8..8192", (long long)*prefill_chunk);
  *max_seq_len = ts_round_up(*max_seq_len, cpu ? 16 : 64);
  *prefill_chunk = TS_MIN(ts_round_up(*prefill_chunk, cpu ? 8 : 16), *max_seq_len);
  return true;
}

enum { MOST_PAGE = 4096 };
static const int64_t MOST_POSITIONS = INT64_C(1) << 30;

bool ts_paging_parse(const char *text, ts_paging *out, ts_diag *d) {
  long long page = TS_DEFAULT_PAGE, positions = 0;
  int end = 0;
  *out = (ts_paging){0};
  if (!strcmp(text, "own")) return true;
  bool ok = !strcmp(text, "paged") || (sscanf(text, "paged:%lld%n", &page, &end) == 1 && !text[end]) || (sscanf(text, "paged:%lld:%lld%n", &page, &positions, &end) == 2 && !text[end] && positions > 0);
  *out = (ts_paging){page, positions};
  return ok || ts_refuse(d, "bad-cache", "a cache is own, paged, paged:PAGE or paged:PAGE:POSITIONS, not '%s'", text);
}

bool ts_paging_extent(ts_paging *p, int64_t *max_seq_len, ts_diag *d) {
  if (!p->page) return true;
  if (p->page < 16 || p->page % 16 || p->page > MOST_PAGE)
    return ts_refuse(d, "bad-cache", "a page of %lld positions: multiples of 16 up to %d are possible", (long long)p->page, MOST_PAGE);
  if (p->positions < 0 || p->positions > MOST_POSITIONS)
    return ts_refuse(d, "bad-cache", "%lld positions in pages: at most %lld are possible", (long long)p->positions, (long long)MOST_POSITIONS);
  *max_seq_len = ts_round_up(*max_seq_len, p->page);
  if (!p->positions) p->positions = *max_seq_len;
  p->positions = ts_round_up(p->positions, p->page);
  if (p->positions < *max_seq_len)
    return ts_refuse(d, "bad-cache", "%lld positions in pages are less than one sequence may have, %lld", (long long)p->positions, (long long)*max_seq_len);
  return true;
}

bool ts_phases_parse(const char *text, unsigned *out, ts_diag *d) {
  *out = *text ? 0 : ~0u;
  for (const char *p = text; *p;) {
    size_t n = strcspn(p, ",");
    int phase = 0;
    while (phase < TS__PHASE__COUNT && (strlen(ts__phase_name((ts__phase)phase)) != n || strncmp(ts__phase_name((ts__phase)phase), p, n))) phase++;
    if (phase == TS__PHASE__COUNT) {
      ts_text all = {0};
      for (int i = 0; i < TS__PHASE__COUNT; i++) ts_text_addf(&all, "%s%s", i ? ", " : "", ts__phase_name((ts__phase)i));
      ts_refuse(d, "unknown-phase", "no phase is called '%.*s'", (int)TS_MIN(n, (size_t)40), p);
      ts_hint(d, "phases are %s", ts_text_str(&all));
      ts_text_free(&all);
      return false;
    }
    *out |= 1u << phase;
    p += n + (p[n] == ',');
  }
  return true;
}

bool ts_model_tasks(ts_arena *a, const ts_model_config *c, const ts_quant *q, ts_api api, int64_t max_seq_len,
                    int64_t prefill_chunk, ts_paging paging, const ts_task **out, size_t *n, ts_diag *d) {
  TS_VEC(ts_task) v = {0};
  TS_VEC(const char *) text = {0};
  TS_TRY(ts_model_extent(c, api, &max_seq_len, &prefill_chunk, d) && ts_paging_extent(&paging, &max_seq_len, d));
  for (int phase = 0; phase < TS__PHASE__COUNT; phase++) {
    const ts__step *s;
    size_t ns;
    TS_TRY(ts__steps(a, c, q, api, max_seq_len, prefill_chunk, paging, (ts__phase)phase, &s, &ns, d));
    for (size_t i = 0; i < ns; i++) {
      size_t k = 0;
      while (k < v.n && strcmp(text.p[k], s[i].text)) k++;
      if (k < v.n) {
        v.p[k].calls++;
        v.p[k].phases |= 1u << phase;
        continue;
      }
      int64_t rows = ts__phase_rows((ts__phase)phase, prefill_chunk);
      ts_vec_push(a, &v,
                  ((ts_task){.spec = s[i].spec, .phase = ts__phase_name((ts__phase)phase), .calls = 1, .rows = rows, .phases = 1u << phase}));
      ts_vec_push(a, &text, s[i].text);
    }
  }
  *out = v.p;
  *n = v.n;
  return true;
}

// --- steps and passes as a whole -------------------------------------------------------------------------------------------
static const char *memory_name(ts_arena *a, const ts__step *s, const ts__step_arg *x) {
  switch (x->use) {
    case TS__WEIGHT: return x->weight;
    case TS__COS: return "cos";
    case TS__SIN: return "sin";
    case TS__KEYS: return ts_arena_printf(a, "keys %lld", (long long)s->layer);
    case TS__VALUES: return ts_arena_printf(a, "values %lld", (long long)s->layer);
    case TS__TABLE: return "table";
    default: return ts_arena_printf(a, "buffer %d", x->buf);
  }
}

// Tokens in a cache of P positions, in setting 1 and so on: those of a conversation at its beginning, later, and long.
static int64_t depth_of(int64_t P, size_t setting) {
  static const int64_t usual[TS_STEP_SETTINGS] = {0, 192, 768, 3072};
  int64_t share = 3 * P / 4;
  for (size_t v = setting; v + 1 < TS_STEP_SETTINGS; v++) share /= 4;
  return TS_MAX(TS_MIN(usual[setting], share), (int64_t)1);
}

// Of a decode step in all settings; of a pass, which mostly begins a conversation, in the first.
static ts_step_call make_call(ts_arena *a, const ts__step *s, size_t task, int64_t P, bool pass) {
  ts_step_link *links = ts_new_array(a, ts_step_link, s->nargs + 1);
  for (int i = 0; i < s->nargs; i++) links[i] = (ts_step_link){.param = s->args[i].name, .memory = memory_name(a, s, &s->args[i])};
  ts_step_call call = {.part = task, .nlinks = s->nargs, .links = links};
  for (size_t v = 1; v < TS_STEP_SETTINGS && !pass; v++) call.t[v] = depth_of(P, v);
  call.t[0] = pass ? depth_of(P, 1) : call.t[1 + (size_t)s->layer % (TS_STEP_SETTINGS - 1)];
  return call;
}

// As many layers as have about this many bytes of weights, or all of a small model.
static int64_t layers_of(const ts_model_config *c, const ts_quant *q, double most) {
  double heads = (double)((c->heads + 2 * c->kv_heads + c->heads) * c->head_dim);
  double weights = (double)c->hidden * (heads + 3 * (double)c->intermediate), bytes = weights * (q->bits ? q->bits + 0.5 : 16) / 8;
  return TS_MIN(c->layers, TS_MAX((int64_t)(most / bytes), (int64_t)3));
}

typedef struct tasks {
  const char *const *text;
  size_t n;
} tasks;
typedef TS_VEC(ts_step_call) calls;

// The calls of a phase whose workloads are tasks.
static bool add_calls(ts_arena *a, const binder *k, const tasks *t, double bytes, bool pass, calls *out, ts_diag *d) {
  const ts__step *s;
  size_t n;
  ts_model_config few = *k->c;
  few.layers = layers_of(k->c, k->q, bytes);
  TS_TRY(ts__steps(a, &few, k->q, k->api, k->P, k->chunk, k->paging, k->phase, &s, &n, d));
  for (size_t i = 0; i < n; i++)
    for (size_t x = 0; x < t->n; x++)
      if (!strcmp(t->text[x], s[i].text)) {
        ts_vec_push(a, out, make_call(a, &s[i], x, k->P, pass));
        break;
      }
  return true;
}

static bool decode_calls(ts_arena *a, binder k, const tasks *t, double bytes, calls *out, ts_diag *d) {
  k.phase = TS__DECODE;
  TS_TRY(add_calls(a, &k, t, bytes, false, out, d));
  k.phase = TS__HEAD;
  return add_calls(a, &k, t, bytes, false, out, d);
}

bool ts_model_steps(ts_arena *a, const ts_model_config *c, const ts_quant *q, ts_api api, int64_t max_seq_len, int64_t prefill_chunk, ts_paging paging, const ts_task *tasks_of,
                    size_t ntasks, unsigned phases, const ts_tune_step **out, size_t *n, ts_diag *d) {
  // enough that no weights stay in a cache; and as many as leave as little of the layers' caches there as all do
  const double step_bytes = 1.5e9, whole_bytes = 8e9, pass_bytes = 0.75e9;
  TS_TRY(ts_model_extent(c, api, &max_seq_len, &prefill_chunk, d) && ts_paging_extent(&paging, &max_seq_len, d));
  binder k = {.c = c, .q = q, .api = api, .P = max_seq_len, .chunk = prefill_chunk, .paging = paging};
  ts_tune_step *steps = ts_new_array(a, ts_tune_step, TS__PHASE__COUNT);
  const char **text = ts_new_array(a, const char *, ntasks + 1);
  for (size_t i = 0; i < ntasks; i++) text[i] = spec_text(a, &tasks_of[i].spec);
  const tasks t = {.text = text, .n = ntasks};
  *n = 0;
  *out = steps;
  if (api == TS_API_CPU) return true;
  calls few = {0}, whole = {0};
  if (phases & 1u << TS__DECODE) TS_TRY(decode_calls(a, k, &t, step_bytes, &few, d) && decode_calls(a, k, &t, whole_bytes, &whole, d));
  if (few.n) steps[(*n)++] = (ts_tune_step){.rows = 1, .call = few.p, .n = few.n, .whole = whole.p, .nwhole = whole.n};
  for (k.phase = (ts__phase)(TS__DECODE + 1); few_rows(k.phase); k.phase = (ts__phase)(k.phase + 1)) {
    calls pass = {0};
    if (phases & 1u << k.phase) TS_TRY(add_calls(a, &k, &t, pass_bytes, true, &pass, d));
    if (pass.n) steps[(*n)++] = (ts_tune_step){.rows = ts__phase_rows(k.phase, prefill_chunk), .call = pass.p, .n = pass.n};
  }
  return true;
}
