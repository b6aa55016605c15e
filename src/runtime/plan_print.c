// Plans as text: the printer, the layout identity and the names of enumerators.
#include "runtime/plan_impl.h"

const char *const ts__phase_names[TS_PHASE__COUNT] = {"decode", "prefill", "head"};
const char *const ts__source_names[TS_FROM__COUNT] = {"exact", "nearest", "default", "library"};
const char *const ts__scaling_names[3] = {"none", "linear", "llama3"};

const char *ts_plan_source_name(ts_plan_source s) { return ts__source_names[s]; }

static void tensor(ts_text *o, const ts_tensor *t) {
  ts_text_addf(o, "\"%s\", [", ts_dtype_name(t->dtype));
  for (int i = 0; i < t->ndim; i++) ts_text_addf(o, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
  ts_text_add(o, "]");
}

// Pairs of least and below, of each storage tensor; left out where there are none.
static void limits(ts_text *o, const ts_plan_weight *w) {
  bool any = false;
  for (int i = 0; i < w->nstorage; i++) any |= w->storage[i].least > 0 || w->storage[i].below > 0;
  for (int i = 0; any && i < w->nstorage; i++) {
    ts_text_add(o, i ? ", [" : ", \"limits\": [[");
    ts_text_add_double(o, w->storage[i].least);
    ts_text_add(o, ", ");
    ts_text_add_double(o, w->storage[i].below);
    ts_text_add(o, i + 1 < w->nstorage ? "]" : "]]");
  }
}

static void weight(ts_text *o, const ts_plan_weight *w) {
  ts_text_add(o, "    {\"name\": ");
  ts_text_add_json(o, w->name);
  if (w->pack) {
    ts_text_add(o, ", \"pack\": ");
    ts_text_add_json(o, w->pack);
  }
  ts_text_add(o, ", \"storage\": [");
  for (int i = 0; i < w->nstorage; i++) {
    ts_text_add(o, i ? ", [" : "[");
    ts_text_add_json(o, w->storage[i].name);
    ts_text_add(o, ", ");
    tensor(o, &w->storage[i].t);
    ts_text_add(o, "]");
  }
  ts_text_add(o, "]");
  limits(o, w);
  ts_text_add(o, ", \"parts\": [");
  for (int i = 0; i < w->nparts; i++) {
    ts_text_add(o, i ? ", [" : "[");
    tensor(o, &w->parts[i]);
    ts_text_add(o, "]");
  }
  ts_text_add(o, "]}");
}

static void weights(ts_text *o, const ts_plan *p) {
  ts_text_add(o, "  \"weights\": [\n");
  for (int i = 0; i < p->nweights; i++) {
    weight(o, &p->weights[i]);
    ts_text_add(o, i + 1 < p->nweights ? ",\n" : "\n");
  }
  ts_text_add(o, "  ],\n");
}

ts_sha256 ts_plan_layout(const ts_plan *p) {
  ts_text t = {0};
  weights(&t, p);
  ts_sha256 h = ts_sha256_of(ts_text_str(&t), t.n);
  ts_text_free(&t);
  return h;
}

static void key_str(ts_text *o, const char *key, const char *value) {
  ts_text_addf(o, "\"%s\": ", key);
  ts_text_add_json(o, value);
}

static void key_int(ts_text *o, const char *key, int64_t v) { ts_text_addf(o, ", \"%s\": %lld", key, (long long)v); }

static void key_num(ts_text *o, const char *key, double v) {
  ts_text_addf(o, ", \"%s\": ", key);
  ts_text_add_double(o, v);
}

static void model(ts_text *o, const ts_plan *p) {
  ts_text_add(o, "  \"model\": {");
  key_str(o, "name", p->name);
  ts_text_add(o, ", ");
  key_str(o, "arch", p->arch);
  ts_text_add(o, ", ");
  key_str(o, "quantization", p->quantization);
#define PLAN_INT(field, lo, hi) key_int(o, #field, p->field);
#include "runtime/plan.def"
#undef PLAN_INT
  ts_text_add(o, ", \"eos\": [");
  for (int i = 0; i < p->neos; i++) ts_text_addf(o, "%s%lld", i ? ", " : "", (long long)p->eos[i]);
  ts_text_add(o, "]},\n");
}

static void memory(ts_text *o, const ts_plan *p) {
  ts_text_addf(o, "  \"memory\": {\"arena_bytes\": %lld, \"kv_bytes\": %lld, ", (long long)p->arena_bytes,
               (long long)p->kv_bytes);
  if (p->page) ts_text_addf(o, "\"page\": %lld, \"pages\": %lld, ", (long long)p->page, (long long)p->pages);
  key_str(o, "tokens", p->buffers[p->tokens].name);
  ts_text_add(o, ", ");
  key_str(o, "logits", p->buffers[p->logits].name);
  ts_text_add(o, "},\n");
}

static void rope(ts_text *o, const ts_plan_rope *r) {
  ts_text_addf(o, "  \"rope\": {\"scaling\": \"%s\"", ts__scaling_names[r->scaling]);
  key_int(o, "positions", r->positions);
  key_int(o, "dim", r->dim);
  key_num(o, "theta", r->theta);
  if (r->scaling != TS_ROPE_PLAIN) key_num(o, "factor", r->factor);
  if (r->scaling == TS_ROPE_LLAMA3) {
    key_num(o, "low_freq_factor", r->low_freq_factor);
    key_num(o, "high_freq_factor", r->high_freq_factor);
    key_int(o, "original_positions", r->original_positions);
  }
  if (r->nfactors) {
    ts_text_add(o, ", \"factors\": [");
    for (int i = 0; i < r->nfactors; i++) {
      if (i) ts_text_add(o, ", ");
      ts_text_add_double(o, r->factors[i]);
    }
    ts_text_add(o, "]");
  }
  ts_text_add(o, "},\n");
}

static void buffers(ts_text *o, const ts_plan *p) {
  ts_text_add(o, "  \"buffers\": [\n");
  for (int i = 0; i < p->nbuffers; i++) {
    const ts_plan_buffer *b = &p->buffers[i];
    ts_text_add(o, "    {");
    key_str(o, "name", b->name);
    ts_text_addf(o, ", \"dtype\": \"%s\"", ts_dtype_name(b->dtype));
    key_int(o, "per_row", b->per_row);
    key_int(o, "fixed", b->fixed);
    key_int(o, "offset", b->offset);
    ts_text_add(o, i + 1 < p->nbuffers ? "},\n" : "}\n");
  }
  ts_text_add(o, "  ],\n");
}

static void argument(ts_text *o, const ts_plan *p, const ts_plan_arg *a) {
  ts_text t = {0};
  switch (a->kind) {
    case TS_PLAN_ARG_BUFFER:
      ts_text_addf(&t, "buffer %s", p->buffers[a->index].name);
      if (a->row_bytes) ts_text_addf(&t, " row %lld", (long long)a->row_bytes);
      break;
    case TS_PLAN_ARG_WEIGHT: ts_text_addf(&t, "weight %s %d", p->weights[a->index].name, a->part); break;
    case TS_PLAN_ARG_ROPE: ts_text_add(&t, a->part ? "sin" : "cos"); break;
    case TS_PLAN_ARG_PAGES: ts_text_add(&t, "pages"); break;
    default: ts_text_addf(&t, "%c %d", a->kind == TS_PLAN_ARG_K ? 'k' : 'v', a->index);
  }
  ts_text_add_json(o, ts_text_str(&t));
  ts_text_free(&t);
}

static void step(ts_text *o, const ts_plan *p, const ts_plan_step *s) {
  ts_text_add(o, "      {");
  key_str(o, "op", s->op);
  ts_text_add(o, ", ");
  key_str(o, "kernel", s->kernel);
  ts_text_add(o, ", ");
  key_str(o, "spec", s->spec);
  ts_text_addf(o, ", \"record\": \"%s\"", ts__source_names[s->source]);
  key_num(o, "expected_us", s->expected_us);
  ts_text_add(o, ", \"args\": [");
  for (int i = 0; i < s->nargs; i++) {
    if (i) ts_text_add(o, ", ");
    argument(o, p, &s->args[i]);
  }
  ts_text_add(o, "], \"dims\": [");
  for (int i = 0; i < s->ndims; i++) ts_text_addf(o, "%s\"%s\"", i ? ", " : "", s->dims[i] == TS_DIM_N ? "n" : "t");
  ts_text_add(o, "]}");
}

static void times(ts_text *o, const ts_plan_phase *f) {
  for (int i = 0; i < f->ntimes; i++) {
    ts_text_addf(o, "%s[%lld, ", i ? ", " : "\"times\": [", (long long)f->times[i].n);
    ts_text_add_double(o, f->times[i].us);
    ts_text_add(o, i + 1 < f->ntimes ? "]" : "]], ");
  }
}

static void phases(ts_text *o, const ts_plan *p) {
  ts_text_add(o, "  \"phases\": [\n");
  for (int i = 0; i < p->nphases; i++) {
    const ts_plan_phase *f = &p->phases[i];
    ts_text_addf(o, "    {\"kind\": \"%s\", \"n_min\": %lld, \"n_max\": %lld, \"multiple\": %lld, ",
                 ts__phase_names[f->kind], (long long)f->n_min, (long long)f->n_max, (long long)f->multiple);
    times(o, f);
    ts_text_add(o, "\"steps\": [\n");
    for (int k = 0; k < f->nsteps; k++) {
      step(o, p, &f->steps[k]);
      ts_text_add(o, k + 1 < f->nsteps ? ",\n" : "\n");
    }
    ts_text_add(o, i + 1 < p->nphases ? "    ]},\n" : "    ]}\n");
  }
  ts_text_add(o, "  ]\n");
}

void ts_plan_print(ts_text *o, const ts_plan *p) {
  ts_text_addf(o, "{\n  \"format\": \"%s\",\n  \"version\": %d,\n  ", TS_PLAN_FORMAT, TS_PLAN_VERSION);
  key_str(o, "target", p->target);
  if (p->api == TS_API_CUDA) {
    ts_text_add(o, ",\n  \"api\": \"cuda\",\n  ");
    key_str(o, "gpu", p->gpu);
  }
  if (p->synthetic) ts_text_add(o, ",\n  \"synthetic\": true");
  ts_text_add(o, ",\n  \"features\": [");
  for (int i = 0; i < p->nfeatures; i++) {
    if (i) ts_text_add(o, ", ");
    ts_text_add_json(o, p->features[i]);
  }
  ts_text_add(o, "],\n");
  model(o, p);
  memory(o, p);
  if (p->has_rope) rope(o, &p->rope);
  weights(o, p);
  buffers(o, p);
  phases(o, p);
  ts_text_add(o, "}\n");
}
