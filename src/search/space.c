// The design space of a workload: default schedule, templates, rules.
#include <math.h>
#include <stdlib.h>

#include "search/rules.h"

static const char *template_dir(ts_arena *a, const ts_op *op) {
  return ts_path_join(a, ts_data_dir(), ts_arena_printf(a, "kernels/templates/%s", op->templates));
}

// Traces of CPUs end in .trace, those of GPUs in .cuda.trace.
static const char *suffix_of(const ts_target *t) { return t->api == TS_API_CUDA ? ".cuda.trace" : ".trace"; }

// Whether a file of the folder is a trace for the target; *stem: its name without the suffix.
static bool is_trace(ts_arena *a, const char *name, const ts_target *t, const char **stem) {
  size_t n = strlen(name), m = strlen(suffix_of(t)), gpu = strlen(".cuda.trace");
  bool for_gpu = n > gpu && strcmp(name + n - gpu, ".cuda.trace") == 0;
  if (n <= m || strcmp(name + n - m, suffix_of(t)) != 0 || for_gpu != (t->api == TS_API_CUDA)) return false;
  *stem = ts_arena_strndup(a, name, n - m);
  return true;
}

static bool replays(const ts_func *f, const ts_trace *trace) {
  ts_arena *a = ts_arena_new("probe");
  ts_diag why = {0};
  bool ok = ts_sketch_draw(ts_ir_new(a), &(ts_sketch){.func = f}, trace, 0, &why) != NULL;
  ts_arena_free(a);
  return ok;
}

bool ts_default_trace(ts_arena *a, const char *op, const ts_func *f, const ts_target *t, const char **text, ts_diag *d) {
  const ts_op *found = ts_op_find(a, op, d);
  if (!found) return false;
  const char *path = ts_path_join(a, template_dir(a, found), ts_arena_printf(a, "default%s", suffix_of(t)));
  *text = "trace 1\n";
  if (!ts_file_exists(path)) {
    if (t->api == TS_API_CUDA) ts__rules_default(a, f, t, text);
    return true;
  }
  char *data;
  size_t n;
  TS_TRY(ts_file_read(path, a, &data, &n, d));
  const ts_trace *trace = ts_trace_parse(a, path, data, n, d);
  *text = data;
  if (trace && t->api == TS_API_CUDA && !replays(f, trace)) ts__rules_default(a, f, t, text);
  return trace != NULL;
}

static const ts_sketch *of_variant(const ts_space *s, const char *variant) {
  for (size_t i = 0; i < s->n; i++)
    if (strcmp(s->sketch[i].variant, variant) == 0) return &s->sketch[i];
  return NULL;
}

enum { MOST_SKETCHES = 64 };

// The function of a variant, instantiated once.
static bool fill_variant(ts_space *s, ts_sketch *k, ts_diag *d) {
  const ts_sketch *twin = of_variant(s, k->variant);
  ts_op_inst inst;
  if (twin) {
    k->func = twin->func;
    k->pack = twin->pack;
    k->tolerance = twin->tolerance;
    return true;
  }
  TS_TRY(ts_op_instantiate(s->ir, s->spec, k->variant, &inst, d));
  k->func = inst.func;
  k->pack = inst.pack;
  k->tolerance = inst.tolerance;
  return true;
}

// A new sketch at the end; it counts once s->n is raised.
static ts_sketch *new_sketch(ts_space *s, const char *name, const char *variant, const char *source, ts_diag *d) {
  if (s->n == MOST_SKETCHES) {
    ts_refuse(d, "too-many-sketches", "%s: more than %d sketches", s->spec->op, MOST_SKETCHES);
    return NULL;
  }
  ts_sketch *k = &s->sketch[s->n];
  *k = (ts_sketch){.name = ts_arena_strdup(s->arena, name), .variant = ts_arena_strdup(s->arena, variant), .source = source};
  return fill_variant(s, k, d) ? k : NULL;
}

static bool add_trace(ts_space *s, const char *name, const char *variant, const char *source, const ts_trace *trace, ts_diag *d) {
  ts_sketch *k = new_sketch(s, name, variant, source, d);
  if (!k) return false;
  k->trace = trace;
  s->n++;
  return true;
}

static bool add_point(ts_space *s, const char *name, const char *variant, const char *source, const char *text, ts_diag *d) {
  ts_sketch *k = new_sketch(s, name, variant, source, d);
  if (!k) return false;
  ts_native_fit *fit = ts_new(s->arena, ts_native_fit);
  TS_TRY(ts_native_replay(s->arena, text, s->spec, variant, k->func, s->target, fit, &k->points, d));
  k->native = fit;
  k->npoints = 1;
  s->n++;
  return true;
}

bool ts_space_add(ts_space *s, const char *name, const char *variant, const char *source, const char *text, ts_diag *d) {
  if (ts_native_is(text)) return add_point(s, name, variant, source, text, d);
  const char *file = ts_arena_printf(s->arena, "%s/%s", s->spec->op, name);
  const ts_trace *trace = ts_trace_parse(s->arena, file, text, strlen(text), d);
  return trace && add_trace(s, name, variant, source, trace, d);
}

static bool variant_fits(const ts_op_variant *v, const ts_spec *spec, const ts_target *t, const char *numerics) {
  if (*v->numerics && strcmp(v->numerics, numerics) != 0) return false;
  for (const char *const *f = v->features; *f; f++)
    if (!ts_target_has(t, *f)) return false;
  for (int i = 0; i < v->nquants; i++)
    if (strcmp(v->quants[i], spec->quant) == 0) return true;
  return v->nquants == 0;
}

static void not_applying(const ts_space *s, const char *name, const ts_diag *why) {
  if (getenv("TS_EXPLAIN")) ts_say("note: %s/%s does not apply: %s", s->spec->op, name, why->message);
}

// Does a sketch apply to this shape? One draw tells; shapes that do not divide refuse here.
static bool applies(const ts_space *s, const ts_sketch *k) {
  ts_arena *a = ts_arena_new("probe");
  ts_ir *ir = ts_ir_new(a);
  ts_diag d = {0};
  bool ok = false;
  for (uint64_t seed = 0; seed < 4 && !ok; seed++) ok = ts_sketch_draw(ir, k, k->trace, seed, &d) != NULL;
  if (!ok) not_applying(s, k->name, &d);
  ts_arena_free(a);
  return ok;
}

// Templates VARIANT.NAME.trace of one variant.
static bool add_templates(ts_space *s, const ts_op *op, const ts_op_variant *v, ts_diag *d) {
  const char *dir = template_dir(s->arena, op), *tag = *v->name ? v->name : "ref", *stem;
  if (!ts_file_exists(dir)) return true;
  char **names;
  size_t n, len = strlen(tag);
  TS_TRY(ts_dir_list(dir, suffix_of(s->target), s->arena, &names, &n, d));
  for (size_t i = 0; i < n; i++) {
    if (!is_trace(s->arena, names[i], s->target, &stem) || strncmp(stem, tag, len) != 0 || stem[len] != '.') continue;
    char *text;
    size_t bytes;
    TS_TRY(ts_file_read(ts_path_join(s->arena, dir, names[i]), s->arena, &text, &bytes, d));
    TS_TRY(ts_space_add(s, stem, v->name, "template", text, d));
    if (!applies(s, &s->sketch[s->n - 1])) s->n--;
  }
  return true;
}

// Native templates of one variant that have a legal point here. An error in a template's text is a refusal.
static bool add_natives(ts_space *s, const ts_op *op, const ts_op_variant *v, ts_diag *d) {
  const ts_native **t;
  size_t n;
  TS_TRY(ts_native_list(s->arena, op, v->name, &t, &n, d));
  for (size_t i = 0; i < n; i++) {
    const char *name = ts_arena_printf(s->arena, "%s.%s", *v->name ? v->name : "ref", t[i]->name);
    ts_sketch *k = new_sketch(s, name, v->name, "native", d);
    if (!k) return false;
    ts_native_fit *fit = ts_new(s->arena, ts_native_fit);
    ts_diag why = {0};
    double all;
    if (!ts_native_bind(s->arena, t[i], s->spec, k->func, s->target, fit, &why)) {
      if (strncmp(why.code, "wrong-", 6) != 0) return (*d = why, false);
      not_applying(s, name, &why);
      continue;
    }
    TS_TRY(ts_native_points(s->arena, fit, &k->points, &k->npoints, &all, d));
    k->native = fit;
    if (k->npoints) s->n++;
  }
  return true;
}

static bool add_rules(ts_space *s, const ts_op_variant *v, const ts_target *t, ts_diag *d) {
  ts_op_inst inst;
  TS_TRY(ts_op_instantiate(s->ir, s->spec, v->name, &inst, d));
  const ts_trace *trace;
  if (!ts_rules_sketch(s->ir, inst.func, t, &trace)) return true;
  TS_TRY(add_trace(s, ts_arena_printf(s->arena, "%s.rules", *v->name ? v->name : "ref"), v->name, "rules", trace, d));
  if (!applies(s, &s->sketch[s->n - 1])) s->n--;
  return true;
}

// Whether the variant's layout exists at this shape: one whose tiles do not divide it cannot be written down.
static bool variant_exists(const ts_space *s, const ts_op_variant *v) {
  ts_arena *a = ts_arena_new("probe");
  ts_op_inst inst;
  ts_diag why = {0};
  bool ok = ts_op_instantiate(ts_ir_new(a), s->spec, v->name, &inst, &why);
  if (!ok) not_applying(s, v->name, &why);
  ts_arena_free(a);
  return ok;
}

bool ts_space_open(const ts_spec *spec, const ts_target *t, const char *numerics, ts_space *s, ts_diag *d) {
  ts_arena *a = ts_arena_new("space");
  *s = (ts_space){.arena = a, .ir = ts_ir_new(a), .spec = spec, .target = t, .sketch = ts_new_array(a, ts_sketch, MOST_SKETCHES)};
  const char *text;
  ts_op_inst ref;
  const ts_op *op = ts_op_find(a, spec->op, d);
  bool ok = op && ts_op_instantiate(s->ir, spec, "", &ref, d) && ts_default_trace(a, spec->op, ref.func, t, &text, d) &&
            ts_space_add(s, "default", "", "default", text, d);
  for (int i = 0; ok && i < op->nvariants; i++) {
    const ts_op_variant *v = &op->variants[i];
    if (!variant_fits(v, spec, t, numerics) || !variant_exists(s, v)) continue;
    ok = add_templates(s, op, v, d) && add_rules(s, v, t, d) && (t->api != TS_API_CUDA || add_natives(s, op, v, d));
  }
  if (!ok) ts_space_close(s);
  return ok;
}

void ts_space_close(ts_space *s) {
  ts_arena_free(s->arena);
  *s = (ts_space){0};
}

ts_sched *ts_sketch_draw(ts_ir *ir, const ts_sketch *k, const ts_trace *trace, uint64_t seed, ts_diag *d) {
  ts_sched *s = ts_sched_new(ir, ts_func_clone(ir, k->func), seed);
  ts_replay r = {0};
  bool ok = ts_sched_replay_trace(s, trace, &r, d) && ts_func_serves(ts_sched_func(s), k->func, d);
  return ok ? s : NULL;
}

size_t ts_decisions(ts_arena *a, const ts_trace *t, double **out) {
  size_t n = 0;
  for (int i = 0; i < t->n; i++) n += (size_t)t->inst[i]->ndecision;
  *out = ts_new_array(a, double, n + 1);
  size_t at = 0;
  for (int i = 0; i < t->n; i++)
    for (int k = 0; k < t->inst[i]->ndecision; k++) (*out)[at++] = log2(1 + fabs((double)t->inst[i]->decision[k]));
  return n;
}
