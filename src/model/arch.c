// Architectures and their parameters, from the tables arch.def and tensors.def.
#include "model_impl.h"

static const ts__arch archs[] = {
#define ARCH(n, g, q, bias, perm) {#n, g, q, bias, perm},
#include "model/arch.def"
#undef ARCH
};

const ts__arch *ts__arch_find(const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(archs); i++)
    if (!strcmp(archs[i].name, name)) return &archs[i];
  return NULL;
}

const ts__arch *ts__arch_find_gguf(const char *name) {
  for (size_t i = 0; i < TS_COUNTOF(archs); i++)
    if (!strcmp(archs[i].gguf, name)) return &archs[i];
  return NULL;
}

bool ts__config_check(const char *file, const ts_model_config *c, ts_diag *d) {
  if (c->heads % c->kv_heads)
    return ts_refuse(d, "bad-config", "%s: %lld heads are not a multiple of %lld key-value heads", file,
                     (long long)c->heads, (long long)c->kv_heads);
  if (c->head_dim % 2) return ts_refuse(d, "bad-config", "%s: head size %lld is odd", file, (long long)c->head_dim);
  if (!(c->rms_eps >= 0 && c->rms_eps < 1))
    return ts_refuse(d, "bad-config", "%s: epsilon %g is not in [0, 1)", file, c->rms_eps);
  if (!(c->rope_theta > 0)) return ts_refuse(d, "bad-config", "%s: rope base %g is not positive", file, c->rope_theta);
  if (c->scaling != TS_SCALING_NONE && c->scaling != TS_SCALING_FACTORS && !(c->scale_factor > 0))
    return ts_refuse(d, "bad-config", "%s: rope scaling factor %g is not positive", file, c->scale_factor);
  if (c->scaling == TS_SCALING_LLAMA3 && !(c->high_freq > c->low_freq && c->original_positions > 0))
    return ts_refuse(d, "bad-config",
                     "%s: rope scaling llama3 needs high_freq_factor > low_freq_factor and original positions", file);
  return true;
}

// --- parameters --------------------------------------------------------------------------------------------
typedef enum scope { MODEL, LAYER, BIAS, HEAD } scope;
typedef struct part_row {
  const char *hf, *gguf;
  int64_t rows, rope_heads;
} part_row;
typedef struct tensor_row {
  scope scope;
  ts_param_kind kind;
  const char *name;
  int64_t rows, cols;
  part_row part[3];
} tensor_row;

static const char *qualified(ts_arena *a, const char *prefix, int64_t layer, const char *name) {
  return ts_arena_printf(a, "%s.%lld.%s", prefix, (long long)layer, name);
}

static ts_model_param instantiate(ts_arena *a, const tensor_row *r, const char *qkv, int64_t layer) {
  ts_model_param p = {.kind = r->kind, .rows = r->rows, .cols = r->cols};
  const char *slot = strstr(r->name, "%s");
  const char *name = slot ? ts_arena_printf(a, "%.*s%s%s", (int)(slot - r->name), r->name, qkv, slot + 2) : r->name;
  bool in_layer = r->scope == LAYER || r->scope == BIAS;
  p.name = in_layer ? qualified(a, "model.layers", layer, name) : name;
  for (; p.nparts < 3 && r->part[p.nparts].hf; p.nparts++) {
    const part_row *s = &r->part[p.nparts];
    p.part[p.nparts] = (ts_param_part){.hf = in_layer ? qualified(a, "model.layers", layer, s->hf) : s->hf,
                                       .gguf = in_layer ? qualified(a, "blk", layer, s->gguf) : s->gguf,
                                       .rows = r->kind == TS_PARAM_VECTOR && r->scope != BIAS ? 1 : s->rows,
                                       .rope_heads = s->rope_heads};
  }
  return p;
}

static bool wanted(const tensor_row *r, const ts_model_config *c) {
  return r->scope == BIAS ? c->qkv_bias : r->scope == HEAD ? !c->tied : true;
}

bool ts_model_params(ts_arena *a, const ts_model_config *c, const ts_model_param **out, size_t *n, ts_diag *d) {
  const ts__arch *arch = ts__arch_find(c->arch);
  if (!arch) return ts_refuse(d, "unknown-arch", "architecture '%s' is not supported", c->arch);
  const int64_t ONE = 1, H = c->hidden, I = c->intermediate, I2 = 2 * I, V = c->vocab, heads = c->heads,
                kv_heads = c->kv_heads;
  const int64_t Q = heads * c->head_dim, KV = kv_heads * c->head_dim, QKV = Q + 2 * KV;
  const tensor_row rows[] = {
#define PART(hf, gguf, rows, rope) {hf, gguf, rows, rope},
#define TENSOR(scope, kind, name, rows, cols, parts) {scope, TS_PARAM_##kind, name, rows, cols, {parts}},
#include "model/tensors.def"
#undef TENSOR
#undef PART
  };
  TS_VEC(ts_model_param) v = {0};
  for (size_t i = 0; i < TS_COUNTOF(rows);) {
    size_t end = i + 1;  // rows of a layer come together, layer by layer
    bool layered = rows[i].scope == LAYER || rows[i].scope == BIAS;
    while (layered && end < TS_COUNTOF(rows) && (rows[end].scope == LAYER || rows[end].scope == BIAS)) end++;
    for (int64_t l = 0; l < (layered ? c->layers : 1); l++)
      for (size_t k = i; k < end; k++)
        if (wanted(&rows[k], c)) ts_vec_push(a, &v, instantiate(a, &rows[k], arch->qkv, l));
    i = end;
  }
  *out = v.p;
  *n = v.n;
  return true;
}

// --- reading parameters from a source ----------------------------------------------------------------------
static const ts_source_tensor *part_tensor(const ts_source *s, const ts_param_part *p) {
  return ts_source_find(s, s->kind == TS_SOURCE_GGUF ? p->gguf : p->hf);
}

// Vectors are one row of `cols`; a fused bias is vectors end to end.
static bool part_fits(const ts_source_tensor *t, const ts_model_param *p, const ts_param_part *q) {
  if (p->kind != TS_PARAM_VECTOR) return t->ndim == 2 && t->shape[0] == q->rows && t->shape[1] == p->cols;
  int64_t want = p->nparts > 1 ? q->rows : p->cols;
  return (t->ndim == 1 && t->shape[0] == want) || (t->ndim == 2 && t->shape[0] == 1 && t->shape[1] == want);
}

static void shape_text(ts_text *o, const ts_source_tensor *t) {
  for (int i = 0; i < t->ndim; i++) ts_text_addf(o, "%s%lld", i ? "x" : "", (long long)t->shape[i]);
}

static bool check_part(const ts_source *s, const ts_model_param *p, const ts_param_part *q, ts_diag *d) {
  const char *name = s->kind == TS_SOURCE_GGUF ? q->gguf : q->hf;
  const ts_source_tensor *t = part_tensor(s, q);
  if (!t) return ts_refuse(d, "missing-tensor", "%s: tensor '%s' is missing", s->path, name);
  if (t->type == TS_W__COUNT)
    return ts_refuse(d, "bad-tensor-type", "%s: tensor '%s' has an element type that weights cannot have", s->path,
                     name);
  if (part_fits(t, p, q)) return true;
  ts_text shape = {0};
  shape_text(&shape, t);
  ts_refuse(d, "bad-shape", "%s: tensor '%s' has shape %s where %lldx%lld is expected", s->path, name,
            ts_text_str(&shape), (long long)q->rows,
            (long long)(p->kind == TS_PARAM_VECTOR && p->nparts > 1 ? 1 : p->cols));
  ts_text_free(&shape);
  return false;
}

bool ts_params_check(const ts_source *s, const ts_model_param *p, size_t n, ts_diag *d) {
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < p[i].nparts; k++) TS_TRY(check_part(s, &p[i], &p[i].part[k], d));
  return true;
}

// File row of row r of a part whose heads are stored for interleaved rotation: HF row p*(d/2)+i of a head is file row
// 2i+p.
static int64_t interleaved_row(int64_t r, int64_t head_dim) {
  int64_t in = r % head_dim, half = head_dim / 2;
  return r - in + 2 * (in % half) + in / half;
}

static bool permuted(const ts_source *s, const ts_param_part *q) {
  return s->kind == TS_SOURCE_GGUF && q->rope_heads && ts__arch_find(s->config.arch)->gguf_permuted;
}

// A fused vector: its parts end to end.
static void vector_values(const ts_source *s, const ts_model_param *p, float *out) {
  for (int k = 0; k < p->nparts; k++) {
    const ts_source_tensor *t = part_tensor(s, &p->part[k]);
    int64_t n = p->nparts > 1 ? p->part[k].rows : p->cols;
    if (!permuted(s, &p->part[k])) {
      ts_tensor_rows(t, 0, 1, out);
    } else {
      ts_text tmp = {0};  // a scratch of the same size
      for (int64_t i = 0; i < n; i++) ts_text_addn(&tmp, "\0\0\0\0", 4);
      ts_tensor_rows(t, 0, 1, (float *)(void *)tmp.p);
      for (int64_t i = 0; i < n; i++) memcpy(out + i, tmp.p + 4 * interleaved_row(i, s->config.head_dim), 4);
      ts_text_free(&tmp);
    }
    out += n;
  }
}

void ts_param_rows(const ts_source *s, const ts_model_param *p, int64_t row, int64_t n, float *out) {
  if (p->kind == TS_PARAM_VECTOR) {
    vector_values(s, p, out);
    return;
  }
  int64_t first = 0;  // of part k
  for (int k = 0; k < p->nparts && n; first += p->part[k++].rows) {
    const ts_source_tensor *t = part_tensor(s, &p->part[k]);
    int64_t end = first + p->part[k].rows;
    if (row >= end) continue;
    int64_t m = TS_MIN(n, end - row);
    if (permuted(s, &p->part[k]))
      for (int64_t i = 0; i < m; i++)
        ts_tensor_rows(t, interleaved_row(row - first + i, s->config.head_dim), 1, out + i * p->cols);
    else
      ts_tensor_rows(t, row - first, m, out);
    row += m, n -= m, out += m * p->cols;
  }
}
