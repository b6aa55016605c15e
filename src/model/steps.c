// Instantiating steps.def for a model, and the tasks that follow from it.
#include "steps.h"

typedef enum scope { EMBED, LAYER, BIAS, HEAD } scope;
typedef struct row {
  scope scope;
  const char *op;
  bool quantized;
  ts_bind bind[8];
  ts__step_arg arg[8];
} row;

const char *ts__phase_name(ts__phase p) {
  static const char *const names[] = {"decode", "prefill", "head"};
  return names[p];
}

void ts__buffers(const ts_model_config *c, ts__buf_info out[TS__BUF__COUNT]) {
  const int64_t H = c->hidden, I = c->intermediate, V = c->vocab, Q = c->heads * c->head_dim,
                QKV = Q + 2 * c->kv_heads * c->head_dim;
  const ts__buf_info table[] = {
#define BUFFER(name, type, row, all) {#name, TS_##type, row, all},
#define STEP(scope, op, quantized, params, args)
#include "model/steps.def"
#undef STEP
#undef BUFFER
  };
  memcpy(out, table, sizeof table);
}

// --- binding -----------------------------------------------------------------------------------------------
// n is 1 but for prefill; t is known at run time.
static void add_dims(ts_bind *b, int *n, const char *op, ts__phase phase, int64_t P, int64_t chunk) {
  bool prefill = phase == TS__PREFILL;
  b[(*n)++] = prefill ? (ts_bind){.name = "n", .kind = TS_BIND_DIM, .i = 8, .hi = chunk, .multiple = 8}
                      : (ts_bind){.name = "n", .kind = TS_BIND_INT, .i = 1};
  if (!strcmp(op, "attention") || !strcmp(op, "rope_append"))
    b[(*n)++] = (ts_bind){.name = "t", .kind = TS_BIND_DIM, .i = 0, .hi = prefill ? P - 8 : P - 1, .multiple = 1};
}

// The format of the row's weight; "" when it has none.
static const char *format_of(const row *r, const ts_model_config *c, const ts_quant *q) {
  if (!r->quantized) return "";
  return r->scope == EMBED || (r->scope == HEAD && c->tied) ? q->embedding : q->name;
}

static ts_spec make_spec(ts_arena *a, const row *r, const char *format, ts__phase phase, int64_t P, int64_t chunk) {
  ts_bind *b = ts_new_array(a, ts_bind, TS_COUNTOF(r->bind) + 3);
  int n = 0;
  for (; n < (int)TS_COUNTOF(r->bind) && r->bind[n].name; n++) b[n] = r->bind[n];
  b[n++] = (ts_bind){.name = "A", .kind = TS_BIND_TYPE, .code = TS_F32};
  add_dims(b, &n, r->op, phase, P, chunk);
  return (ts_spec){.op = r->op, .quant = format, .nbind = n, .bind = b};
}

static const char *weight_name(ts_arena *a, const row *r, const char *name, const char *qkv, int64_t layer, bool tied) {
  if (tied && !strcmp(name, "lm_head.weight")) return "model.embed_tokens.weight";
  const char *slot = strstr(name, "%s");
  if (slot) name = ts_arena_printf(a, "%.*s%s%s", (int)(slot - name), name, qkv, slot + 2);
  return r->scope == LAYER || r->scope == BIAS ? ts_arena_printf(a, "model.layers.%lld.%s", (long long)layer, name)
                                               : name;
}

static ts__step make_step(ts_arena *a, const row *r, const ts_spec *spec, const char *text, const char *qkv,
                          int64_t layer, bool tied) {
  ts__step s = {.spec = *spec, .text = text, .layer = layer};
  ts__step_arg *args = ts_new_array(a, ts__step_arg, TS_COUNTOF(r->arg));
  for (; s.nargs < (int)TS_COUNTOF(r->arg) && r->arg[s.nargs].name; s.nargs++) {
    args[s.nargs] = r->arg[s.nargs];
    if (args[s.nargs].weight) args[s.nargs].weight = weight_name(a, r, args[s.nargs].weight, qkv, layer, tied);
  }
  s.args = args;
  return s;
}

static bool in_phase(const row *r, const ts_model_config *c, ts__phase phase) {
  return (r->scope == HEAD) == (phase == TS__HEAD) && (r->scope != BIAS || c->qkv_bias);
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

bool ts__steps(ts_arena *a, const ts_model_config *c, const ts_quant *quant, int64_t P, int64_t chunk, ts__phase phase,
               const ts__step **out, size_t *n, ts_diag *d) {
  const ts__arch *arch = ts__arch_find(c->arch);
  if (!arch) return ts_refuse(d, "unknown-arch", "architecture '%s' is not supported", c->arch);
  TS_TRY(check_groups(c, quant, d));
  const int64_t H = c->hidden, I = c->intermediate, V = c->vocab, D = c->head_dim, heads = c->heads,
                kv_heads = c->kv_heads;
  const int64_t Q = heads * D, QKV = Q + 2 * kv_heads * D;
  const double eps = c->rms_eps;
  const ts_code cache = quant->type;
  const row rows[] = {
#define INT(n, v) {.name = #n, .kind = TS_BIND_INT, .i = v},
#define TYPE(n, v) {.name = #n, .kind = TS_BIND_TYPE, .code = v},
#define FLOAT(n, v) {.name = #n, .kind = TS_BIND_FLOAT, .f = v},
#define READ(n, b) {.name = #n, .use = TS__READ, .buf = TS__BUF_##b},
#define WRITE(n, b) {.name = #n, .use = TS__WRITE, .buf = TS__BUF_##b},
#define UPDATE(n, b) {.name = #n, .use = TS__UPDATE, .buf = TS__BUF_##b},
#define ROW(n, b) {.name = #n, .use = TS__ROW, .buf = TS__BUF_##b},
#define WEIGHT(n, w) {.name = #n, .use = TS__WEIGHT, .weight = w},
#define COS(n) {.name = #n, .use = TS__COS},
#define SIN(n) {.name = #n, .use = TS__SIN},
#define KEYS(n) {.name = #n, .use = TS__KEYS},
#define VALUES(n) {.name = #n, .use = TS__VALUES},
#define BUFFER(name, type, row, all)
#define STEP(scope, op, quantized, params, args) {scope, #op, quantized, {params}, {args}},
#include "model/steps.def"
  };
  TS_VEC(ts__step) v = {0};
  for (size_t i = 0; i < TS_COUNTOF(rows);) {
    size_t end = i + 1;  // the rows of a layer come together
    bool layered = rows[i].scope == LAYER || rows[i].scope == BIAS;
    while (layered && end < TS_COUNTOF(rows) && (rows[end].scope == LAYER || rows[end].scope == BIAS)) end++;
    size_t first = v.n;
    for (size_t k = i; k < end; k++) {
      if (!in_phase(&rows[k], c, phase)) continue;
      ts_spec spec = make_spec(a, &rows[k], format_of(&rows[k], c, quant), phase, P, chunk);
      ts_vec_push(a, &v, make_step(a, &rows[k], &spec, spec_text(a, &spec), arch->qkv, 0, c->tied));
    }
    size_t per_layer = v.n - first;
    for (int64_t l = 1; layered && l < c->layers; l++)
      for (size_t k = i, at = 0; k < end && at < per_layer; k++)
        if (in_phase(&rows[k], c, phase)) {
          const ts__step *s = &v.p[first + at++];
          ts_vec_push(a, &v, make_step(a, &rows[k], &s->spec, s->text, arch->qkv, l, c->tied));
        }
    i = end;
  }
  *out = v.p;
  *n = v.n;
  return true;
}

// --- tasks -------------------------------------------------------------------------------------------------
static int64_t round_up(int64_t v, int64_t m) { return (v + m - 1) / m * m; }

bool ts_model_extent(const ts_model_config *c, int64_t *max_seq_len, int64_t *prefill_chunk, ts_diag *d) {
  int64_t most = c->sliding_window ? TS_MIN(c->sliding_window, c->max_positions) : c->max_positions;
  if (!*max_seq_len) *max_seq_len = TS_MIN(most, (int64_t)2048);
  if (!*prefill_chunk) *prefill_chunk = 128;
  if (*max_seq_len < 16 || *max_seq_len > most)
    return ts_refuse(d, "bad-length", "maximum sequence length %lld is outside 16..%lld, what the model can do",
                     (long long)*max_seq_len, (long long)most);
  if (*prefill_chunk < 8 || *prefill_chunk > 8192)
    return ts_refuse(d, "bad-length", "prefill chunk %lld is outside 8..8192", (long long)*prefill_chunk);
  *max_seq_len = round_up(*max_seq_len, 16);
  *prefill_chunk = TS_MIN(round_up(*prefill_chunk, 8), *max_seq_len);
  return true;
}

bool ts_model_tasks(ts_arena *a, const ts_model_config *c, const ts_quant *q, int64_t max_seq_len,
                    int64_t prefill_chunk, const ts_task **out, size_t *n, ts_diag *d) {
  TS_VEC(ts_task) v = {0};
  TS_VEC(const char *) text = {0};
  TS_TRY(ts_model_extent(c, &max_seq_len, &prefill_chunk, d));
  for (int phase = 0; phase < TS__PHASE__COUNT; phase++) {
    const ts__step *s;
    size_t ns;
    TS_TRY(ts__steps(a, c, q, max_seq_len, prefill_chunk, (ts__phase)phase, &s, &ns, d));
    for (size_t i = 0; i < ns; i++) {
      size_t k = 0;
      while (k < v.n && strcmp(text.p[k], s[i].text)) k++;
      if (k < v.n) {
        v.p[k].calls++;
        continue;
      }
      ts_vec_push(a, &v, ((ts_task){.spec = s[i].spec, .phase = ts__phase_name((ts__phase)phase), .calls = 1}));
      ts_vec_push(a, &text, s[i].text);
    }
  }
  *out = v.p;
  *n = v.n;
  return true;
}
