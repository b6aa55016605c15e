// Plans from text. The text comes out of a file that somebody else may have written.
#include "runtime/plan_impl.h"

enum { MAX_WEIGHTS = 1 << 20, MAX_BUFFERS = 1 << 16, MAX_PHASES = 64, MAX_STEPS = 1 << 17, MAX_ARGS = 64, MAX_PARTS = 16 };

typedef struct parser {
  ts_arena *a;
  ts__json j;
  ts_plan *p;
  json_t *weights, *buffers;  // name -> index
  ts_diag *d;
} parser;

static bool bad(const parser *s, const char *what, const char *name) {
  return ts_refuse(s->d, "plan-invalid", "%s: %s: %s '%s'", s->j.file, s->j.where, what, name);
}

// Position of a word in a table of names, or -1.
static int word(const char *text, const char *const *names, int n) {
  for (int i = 0; i < n; i++)
    if (!strcmp(text, names[i])) return i;
  return -1;
}

// Remember a name; names are unique and have no blanks.
static bool name_new(parser *s, json_t *map, const char *name, int index) {
  if (!*name || strpbrk(name, " \t\r\n")) return bad(s, "bad name", name);
  if (json_object_get(map, name)) return bad(s, "name used twice", name);
  json_object_set_new(map, name, json_integer(index));
  return true;
}

static int name_find(const json_t *map, const char *name) {
  const json_t *v = json_object_get(map, name);
  return v ? (int)json_integer_value(v) : -1;
}

static bool strings(parser *s, const json_t *o, const char *key, const char *const **out, int *n) {
  const json_t *list = ts__json_array(&s->j, o, key, 1024, s->d);
  if (!list) return false;
  *n = (int)json_array_size(list);
  const char **v = ts_new_array(s->a, const char *, *n + 1);
  for (int i = 0; i < *n; i++) {
    const char *t = json_string_value(json_array_get(list, i));
    if (!t) return bad(s, "not a list of strings", key);
    v[i] = ts_arena_strdup(s->a, t);
  }
  *out = v;
  return true;
}

// dtype and shape at positions at, at + 1 of an array.
static bool tensor(parser *s, const json_t *v, size_t at, ts_tensor *t) {
  const char *dtype = json_string_value(json_array_get(v, at));
  const json_t *shape = json_array_get(v, at + 1);
  if (!dtype || !json_is_array(shape) || json_array_size(v) != at + 2) return bad(s, "not a tensor", dtype ? dtype : "");
  if (!ts_dtype_parse(dtype, &t->dtype)) return bad(s, "unknown element type", dtype);
  if (json_array_size(shape) > TS_TENSOR_DIMS) return bad(s, "too many dimensions", dtype);
  t->ndim = (int)json_array_size(shape);
  for (int i = 0; i < t->ndim; i++) {
    const json_t *e = json_array_get(shape, i);
    if (!json_is_integer(e) || json_integer_value(e) < 1) return bad(s, "bad shape of a tensor", dtype);
    t->shape[i] = json_integer_value(e);
  }
  return true;
}

// Pairs of numbers, one of each storage tensor.
static bool limits(parser *s, const json_t *o, const char *name, ts_plan_storage *v, int n) {
  const json_t *list = json_object_get(o, "limits");
  if (!list) return true;
  if (!json_is_array(list) || json_array_size(list) != (size_t)n) return bad(s, "limits are one pair for each storage tensor, in", name);
  for (int i = 0; i < n; i++) {
    const json_t *pair = json_array_get(list, (size_t)i), *least = json_array_get(pair, 0), *below = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_number(least) || !json_is_number(below)) return bad(s, "a limit is two numbers, in", name);
    v[i].least = json_number_value(least), v[i].below = json_number_value(below);
  }
  return true;
}

static bool storage(parser *s, const json_t *o, const json_t *list, ts_plan_weight *w) {
  ts_plan_storage *v = ts_new_array(s->a, ts_plan_storage, json_array_size(list));
  w->nstorage = (int)json_array_size(list);
  w->storage = v;
  for (int i = 0; i < w->nstorage; i++) {
    const json_t *e = json_array_get(list, i);
    const char *name = json_string_value(json_array_get(e, 0));
    if (!name) return bad(s, "storage without a name in", w->name);
    v[i].name = ts_arena_strdup(s->a, name);
    TS_TRY(tensor(s, e, 1, &v[i].t));
  }
  return limits(s, o, w->name, v, w->nstorage);
}

static bool weight(parser *s, const json_t *o, ts_plan_weight *w, int index) {
  TS_TRY(ts__json_str(&s->j, o, "name", s->a, &w->name, s->d));
  TS_TRY(name_new(s, s->weights, w->name, index));
  TS_TRY(ts__json_opt_str(&s->j, o, "pack", s->a, &w->pack, s->d));
  const json_t *list = ts__json_array(&s->j, o, "storage", MAX_PARTS, s->d);
  TS_TRY(list && storage(s, o, list, w));
  list = ts__json_array(&s->j, o, "parts", MAX_PARTS, s->d);
  if (!list) return false;
  ts_tensor *parts = ts_new_array(s->a, ts_tensor, json_array_size(list));
  w->nparts = (int)json_array_size(list);
  w->parts = parts;
  for (int i = 0; i < w->nparts; i++) TS_TRY(tensor(s, json_array_get(list, i), 0, &parts[i]));
  return true;
}

static bool weights(parser *s, const json_t *root) {
  s->j.where = "weights";
  const json_t *list = ts__json_array(&s->j, root, "weights", MAX_WEIGHTS, s->d);
  if (!list) return false;
  s->p->nweights = (int)json_array_size(list);
  ts_plan_weight *w = ts_new_array(s->a, ts_plan_weight, s->p->nweights);
  s->p->weights = w;
  for (int i = 0; i < s->p->nweights; i++) TS_TRY(weight(s, json_array_get(list, i), &w[i], i));
  return true;
}

static bool buffers(parser *s, const json_t *root) {
  s->j.where = "buffers";
  const json_t *list = ts__json_array(&s->j, root, "buffers", MAX_BUFFERS, s->d);
  if (!list) return false;
  s->p->nbuffers = (int)json_array_size(list);
  ts_plan_buffer *b = ts_new_array(s->a, ts_plan_buffer, s->p->nbuffers);
  s->p->buffers = b;
  for (int i = 0; i < s->p->nbuffers; i++) {
    const json_t *o = json_array_get(list, i);
    const char *dtype = NULL;
    TS_TRY(ts__json_str(&s->j, o, "name", s->a, &b[i].name, s->d));
    TS_TRY(name_new(s, s->buffers, b[i].name, i));
    TS_TRY(ts__json_str(&s->j, o, "dtype", s->a, &dtype, s->d));
    if (!ts_dtype_parse(dtype, &b[i].dtype)) return bad(s, "unknown element type", dtype);
    TS_TRY(ts__json_int(&s->j, o, "per_row", 0, INT64_C(1) << 40, &b[i].per_row, s->d));
    TS_TRY(ts__json_int(&s->j, o, "fixed", 0, INT64_C(1) << 40, &b[i].fixed, s->d));
    TS_TRY(ts__json_int(&s->j, o, "offset", 0, INT64_C(1) << 48, &b[i].offset, s->d));
  }
  return true;
}

static bool buffer_ref(parser *s, const json_t *o, const char *key, int *out) {
  const char *name = NULL;
  TS_TRY(ts__json_str(&s->j, o, key, s->a, &name, s->d));
  *out = name_find(s->buffers, name);
  return *out >= 0 || bad(s, "no buffer", name);
}

static bool model(parser *s, const json_t *root) {
  s->j.where = "model";
  ts_plan *p = s->p;
  const json_t *m = ts__json_object(&s->j, root, "model", s->d);
  if (!m) return false;
  TS_TRY(ts__json_str(&s->j, m, "name", s->a, &p->name, s->d));
  TS_TRY(ts__json_str(&s->j, m, "arch", s->a, &p->arch, s->d));
  TS_TRY(ts__json_str(&s->j, m, "quantization", s->a, &p->quantization, s->d));
#define PLAN_INT(field, lo, hi) TS_TRY(ts__json_int(&s->j, m, #field, lo, hi, &p->field, s->d));
#include "runtime/plan.def"
#undef PLAN_INT
  const json_t *eos = ts__json_array(&s->j, m, "eos", 64, s->d);
  if (!eos) return false;
  p->neos = (int)json_array_size(eos);
  int64_t *v = ts_new_array(s->a, int64_t, p->neos);
  for (int i = 0; i < p->neos; i++) v[i] = json_integer_value(json_array_get(eos, i));
  p->eos = v;
  return true;
}

static bool memory(parser *s, const json_t *root) {
  s->j.where = "memory";
  const json_t *m = ts__json_object(&s->j, root, "memory", s->d);
  if (!m) return false;
  TS_TRY(ts__json_int(&s->j, m, "arena_bytes", 0, INT64_C(1) << 46, &s->p->arena_bytes, s->d));
  TS_TRY(ts__json_int(&s->j, m, "kv_bytes", 0, INT64_C(1) << 46, &s->p->kv_bytes, s->d));
  TS_TRY(ts__json_opt_int(&s->j, m, "page", 1, 1 << 20, &s->p->page, s->d));
  TS_TRY(ts__json_opt_int(&s->j, m, "pages", 1, 1 << 24, &s->p->pages, s->d));
  TS_TRY(buffer_ref(s, m, "tokens", &s->p->tokens));
  return buffer_ref(s, m, "logits", &s->p->logits);
}

static bool rope_factors(parser *s, const json_t *o, ts_plan_rope *r) {
  const json_t *list = json_object_get(o, "factors");
  if (!list) return true;
  list = ts__json_array(&s->j, o, "factors", 1 << 16, s->d);
  if (!list) return false;
  r->nfactors = (int)json_array_size(list);
  double *v = ts_new_array(s->a, double, r->nfactors);
  for (int i = 0; i < r->nfactors; i++) v[i] = json_number_value(json_array_get(list, i));
  r->factors = v;
  return true;
}

static bool rope(parser *s, const json_t *root) {
  s->j.where = "rope";
  s->p->has_rope = json_object_get(root, "rope") != NULL;
  if (!s->p->has_rope) return true;
  ts_plan_rope *r = &s->p->rope;
  const char *scaling = NULL;
  const json_t *o = ts__json_object(&s->j, root, "rope", s->d);
  if (!o) return false;
  TS_TRY(ts__json_str(&s->j, o, "scaling", s->a, &scaling, s->d));
  int k = word(scaling, ts__scaling_names, 3);
  if (k < 0) return bad(s, "unknown scaling", scaling);
  r->scaling = (ts_rope_scaling)k;
  TS_TRY(ts__json_int(&s->j, o, "positions", 1, 1 << 24, &r->positions, s->d));
  TS_TRY(ts__json_int(&s->j, o, "dim", 2, 1 << 16, &r->dim, s->d));
  TS_TRY(ts__json_num(&s->j, o, "theta", &r->theta, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "factor", &r->factor, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "low_freq_factor", &r->low_freq_factor, s->d));
  TS_TRY(ts__json_opt_num(&s->j, o, "high_freq_factor", &r->high_freq_factor, s->d));
  TS_TRY(ts__json_opt_int(&s->j, o, "original_positions", 1, 1 << 24, &r->original_positions, s->d));
  return rope_factors(s, o, r);
}

// "buffer NAME [row BYTES]", "weight NAME PART", "cos", "sin", "k LAYER", "v LAYER", "pages".
static bool argument(parser *s, const char *text, ts_plan_arg *a) {
  char kind[16], name[512], keyword[8];
  long long number = 0;
  int n = sscanf(text, "%15s %511s", kind, name);
  if (n == 1 && (!strcmp(kind, "cos") || !strcmp(kind, "sin"))) {
    *a = (ts_plan_arg){.kind = TS_PLAN_ARG_ROPE, .part = kind[0] == 's'};
    return true;
  }
  if (n == 1 && !strcmp(kind, "pages")) {
    *a = (ts_plan_arg){.kind = TS_PLAN_ARG_PAGES};
    return true;
  }
  if (n != 2) return bad(s, "not an argument", text);
  if (!strcmp(kind, "buffer")) {
    int got = sscanf(text, "%*s %*s %7s %lld", keyword, &number);
    if (got > 0 && (got != 2 || strcmp(keyword, "row") != 0)) return bad(s, "not an argument", text);
    *a = (ts_plan_arg){.kind = TS_PLAN_ARG_BUFFER, .index = name_find(s->buffers, name), .row_bytes = number};
  } else if (!strcmp(kind, "weight") && sscanf(text, "%*s %*s %lld", &number) == 1) {
    int part = number < 0 || number >= MAX_PARTS ? -1 : (int)number;
    *a = (ts_plan_arg){.kind = TS_PLAN_ARG_WEIGHT, .index = name_find(s->weights, name), .part = part};
  } else if ((!strcmp(kind, "k") || !strcmp(kind, "v")) && sscanf(name, "%lld", &number) == 1) {
    int layer = number < 0 || number > 4096 ? -1 : (int)number;
    *a = (ts_plan_arg){.kind = kind[0] == 'k' ? TS_PLAN_ARG_K : TS_PLAN_ARG_V, .index = layer};
  } else {
    return bad(s, "not an argument", text);
  }
  return a->index >= 0 || bad(s, "argument refers to nothing:", text);
}

static bool step_lists(parser *s, const json_t *o, ts_plan_step *t) {
  const json_t *args = ts__json_array(&s->j, o, "args", MAX_ARGS, s->d);
  if (!args) return false;
  t->nargs = (int)json_array_size(args);
  ts_plan_arg *v = ts_new_array(s->a, ts_plan_arg, t->nargs);
  t->args = v;
  for (int i = 0; i < t->nargs; i++) {
    const char *text = json_string_value(json_array_get(args, i));
    TS_TRY(text ? argument(s, text, &v[i]) : bad(s, "arguments should be strings in step", t->kernel));
  }
  const json_t *dims = ts__json_array(&s->j, o, "dims", TS_COUNTOF(t->dims), s->d);
  if (!dims) return false;
  t->ndims = (int)json_array_size(dims);
  for (int i = 0; i < t->ndims; i++) {
    const char *dim = json_string_value(json_array_get(dims, i));
    int k = dim ? word(dim, (const char *const[]){"n", "t"}, 2) : -1;
    if (k < 0) return bad(s, "unknown dimension", dim ? dim : "");
    t->dims[i] = (ts_plan_dim)k;
  }
  return true;
}

static bool step(parser *s, const json_t *o, ts_plan_step *t) {
  const char *record = NULL;
  TS_TRY(ts__json_str(&s->j, o, "op", s->a, &t->op, s->d));
  TS_TRY(ts__json_str(&s->j, o, "kernel", s->a, &t->kernel, s->d));
  TS_TRY(ts__json_str(&s->j, o, "spec", s->a, &t->spec, s->d));
  TS_TRY(ts__json_str(&s->j, o, "record", s->a, &record, s->d));
  int k = word(record, ts__source_names, TS_FROM__COUNT);
  if (k < 0) return bad(s, "unknown record kind", record);
  t->source = (ts_plan_source)k;
  TS_TRY(ts__json_opt_num(&s->j, o, "expected_us", &t->expected_us, s->d));
  return step_lists(s, o, t);
}

// Pairs of rows and microseconds; none where nothing is known.
static bool times(parser *s, const json_t *o, ts_plan_phase *f) {
  const json_t *list = json_object_get(o, "times");
  if (!list) return true;
  list = ts__json_array(&s->j, o, "times", TS_PLAN_TIMES, s->d);
  if (!list) return false;
  ts_plan_time *v = ts_new_array(s->a, ts_plan_time, json_array_size(list));
  f->ntimes = (int)json_array_size(list);
  for (int i = 0; i < f->ntimes; i++) {
    const json_t *pair = json_array_get(list, (size_t)i), *n = json_array_get(pair, 0), *us = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(n) || !json_is_number(us)) return bad(s, "a time is a number of rows and microseconds, not", "times");
    v[i] = (ts_plan_time){json_integer_value(n), json_number_value(us)};
  }
  f->times = v;
  return true;
}

static bool phase(parser *s, const json_t *o, ts_plan_phase *f) {
  const char *kind = NULL;
  TS_TRY(ts__json_str(&s->j, o, "kind", s->a, &kind, s->d));
  int k = word(kind, ts__phase_names, TS_PHASE__COUNT);
  if (k < 0) return bad(s, "unknown phase", kind);
  f->kind = (ts_phase_kind)k;
  TS_TRY(ts__json_int(&s->j, o, "n_min", 1, 1 << 20, &f->n_min, s->d));
  TS_TRY(ts__json_int(&s->j, o, "n_max", 1, 1 << 20, &f->n_max, s->d));
  TS_TRY(ts__json_int(&s->j, o, "multiple", 1, 1 << 20, &f->multiple, s->d));
  TS_TRY(times(s, o, f));
  const json_t *list = ts__json_array(&s->j, o, "steps", MAX_STEPS, s->d);
  if (!list) return false;
  f->nsteps = (int)json_array_size(list);
  ts_plan_step *t = ts_new_array(s->a, ts_plan_step, f->nsteps);
  f->steps = t;
  for (int i = 0; i < f->nsteps; i++) TS_TRY(step(s, json_array_get(list, i), &t[i]));
  return true;
}

static bool phases(parser *s, const json_t *root) {
  s->j.where = "phases";
  const json_t *list = ts__json_array(&s->j, root, "phases", MAX_PHASES, s->d);
  if (!list) return false;
  s->p->nphases = (int)json_array_size(list);
  ts_plan_phase *f = ts_new_array(s->a, ts_plan_phase, s->p->nphases);
  s->p->phases = f;
  for (int i = 0; i < s->p->nphases; i++) TS_TRY(phase(s, json_array_get(list, i), &f[i]));
  return true;
}

static bool header(parser *s, const json_t *root) {
  const char *format = NULL;
  int64_t version = 0;
  s->j.where = "plan";
  TS_TRY(ts__json_str(&s->j, root, "format", s->a, &format, s->d));
  if (strcmp(format, TS_PLAN_FORMAT) != 0) return bad(s, "not a plan but", format);
  TS_TRY(ts__json_int(&s->j, root, "version", 1, INT32_MAX, &version, s->d));
  if (version != TS_PLAN_VERSION)
    return ts_refuse(s->d, "plan-version", "%s: plan version %lld, this runtime reads %d", s->j.file, (long long)version,
                     TS_PLAN_VERSION);
  TS_TRY(ts__json_str(&s->j, root, "target", s->a, &s->p->target, s->d));
  const char *api = "cpu";
  s->p->gpu = "";
  TS_TRY(ts__json_opt_str(&s->j, root, "api", s->a, &api, s->d));
  TS_TRY(ts__json_opt_str(&s->j, root, "gpu", s->a, &s->p->gpu, s->d));
  TS_TRY(ts__json_opt_bool(&s->j, root, "synthetic", &s->p->synthetic, s->d));
  if (strcmp(api, "cpu") && strcmp(api, "cuda")) return bad(s, "unknown api", api);
  s->p->api = strcmp(api, "cuda") ? TS_API_CPU : TS_API_CUDA;
  return strings(s, root, "features", &s->p->features, &s->p->nfeatures);
}

static bool everything(parser *s, const json_t *root) {
  TS_TRY(header(s, root));
  TS_TRY(model(s, root));
  TS_TRY(rope(s, root));
  TS_TRY(weights(s, root));
  TS_TRY(buffers(s, root));
  TS_TRY(memory(s, root));
  TS_TRY(phases(s, root));
  return ts_plan_verify(s->p, s->j.file, s->d);
}

const ts_plan *ts_plan_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_diag *d) {
  json_t *root = ts__json_load(file, text, n, d);
  if (!root) return NULL;
  parser s = {.a = a, .j = {.file = file}, .p = ts_new(a, ts_plan), .d = d};
  s.weights = json_object();
  s.buffers = json_object();
  bool ok = everything(&s, root);
  json_decref(s.weights);
  json_decref(s.buffers);
  json_decref(root);
  return ok ? s.p : NULL;
}
