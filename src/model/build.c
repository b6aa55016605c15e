// A build: source -> kernels -> library, parameters, packed weights, configuration; in a directory that appears whole.
#include <stdlib.h>

#include "kernels.h"
#include "output_impl.h"
#include "runtime/runtime.h"

typedef struct builder {
  ts_arena *a;
  const ts_build_opts *o;
  ts_source source;
  const ts_quant *quant;
  ts_target target;
  int64_t positions, chunk;
  ts_paging paging;
  ts__tokenizer_facts tokenizer;
  const char *name;     // "NAME-QUANT"
  const char *library;  // file name of it
  const ts__step *step[TS__PHASE__COUNT];
  size_t n[TS__PHASE__COUNT];
  ts__kernels kernels;
  ts__bans bans;              // what the weights do not allow
  ts__magnitudes magnitudes;  // of the weights, once they are written
  ts_text plan;
  ts__staging stage;
  ts_build_result *r;
} builder;

// --- preparation -------------------------------------------------------------------------------------------
static bool plain_name(const char *s) { return *s && *s != '.' && !strchr(s, '/') && strlen(s) < 128; }

static bool prepare(builder *b, ts_diag *d) {
  static const char *const kinds[] = {[TS_API_CPU] = "cpu", [TS_API_CUDA] = "cuda", [TS_API_VULKAN] = "vulkan"};
  const ts_build_opts *o = b->o;
  b->quant = ts_quant_find(o->quant, d);
  if (!b->quant) return false;
  TS_TRY(ts_target_parse(o->target ? o->target : "cpu", &b->target, d));
  if (b->target.api == TS_API_VULKAN)
    return ts_refuse(d, "unsupported-target", "models are built for cpu and cuda targets, not '%s'", o->target);
  TS_TRY(ts_source_open(b->a, o->model, &b->source, d));
  b->positions = o->max_seq_len;
  b->chunk = o->prefill_chunk;
  b->paging = o->paging;
  TS_TRY(ts_model_extent(&b->source.config, b->target.api, &b->positions, &b->chunk, d) && ts_paging_extent(&b->paging, &b->positions, d));
  TS_TRY(ts__tokenizer_facts_of(&b->source, &b->tokenizer, d));
  const char *name = o->name ? o->name : b->source.name;
  if (!plain_name(name)) return ts_refuse(d, "bad-name", "'%s' is no name for a model directory", name);
  b->name = ts_arena_printf(b->a, "%s-%s", name, b->quant->name);
  b->library = ts_arena_printf(b->a, "%s-%s.so", b->name, kinds[b->target.api]);
  for (int p = 0; p < TS__PHASE__COUNT; p++)
    TS_TRY(ts__steps(b->a, &b->source.config, b->quant, b->target.api, b->positions, b->chunk, b->paging, (ts__phase)p, &b->step[p],
                     &b->n[p], d));
  return true;
}

// Random weights for a GPU are drawn there: no file of them is written.
static bool drawn(const builder *b) { return b->source.kind == TS_SOURCE_SYNTHETIC && b->target.api == TS_API_CUDA; }

// --- the library -------------------------------------------------------------------------------------------
static bool make_kernels(builder *b, ts_diag *d) {
  ts_ir *ir = ts_ir_new(b->a);
  ts__kernel_opts ko = {.target = &b->target,
                        .store = b->o->store,
                        .numerics = b->o->numerics ? b->o->numerics : "",
                        .cache = b->o->cache,
                        .bans = &b->bans};
  TS_TRY(ts__kernels_make(b->a, ir, b->step, b->n, &ko, &b->kernels, d));
  int64_t active =
      b->tokenizer.size && b->tokenizer.size < b->source.config.vocab ? b->tokenizer.size : b->source.config.vocab;
  ts__plan_opts po = {.name = b->name,
                      .target = &b->target,
                      .config = &b->source.config,
                      .quant = b->quant,
                      .positions = b->positions,
                      .chunk = b->chunk,
                      .paging = b->paging,
                      .active_vocab = active,
                      .synthetic = drawn(b)};
  ts_text_free(&b->plan);
  b->plan = (ts_text){0};
  return ts__plan_text(&po, b->step, b->n, &b->kernels, &b->plan, d);
}

// The weights are known only after kernels were chosen: other kernels take the place of those whose limits they break. What was compiled
// is in the cache. Each turn rules out at least one more template for a call.
static bool keep_limits(builder *b, ts_diag *d) {
  for (size_t before = 0;; before = b->bans.n) {
    TS_TRY(ts__limits_check(b->a, &b->source.config, b->quant, drawn(b) ? NULL : &b->magnitudes, b->step, b->n, &b->kernels, &b->bans, d));
    if (b->bans.n == before) break;
    TS_TRY(make_kernels(b, d));
  }
  ts__limits_say(b->a, &b->bans);
  return true;
}

static bool link_library(builder *b, const char *path, ts_diag *d) {
  ts_object *objects = ts_new_array(b->a, ts_object, 2 * b->kernels.n);
  size_t n = 0;
  for (size_t i = 0; i < b->kernels.n; i++) {
    objects[n++] = b->kernels.row[i].object;
    if (b->kernels.row[i].pack) objects[n++] = b->kernels.row[i].pack_object;
  }
  return ts_link_library(objects, n, b->plan.p, b->plan.n, &b->target, path, d);
}

// A library made before serves this model when everything that its plan fixes is the same.
static bool library_fits(const builder *b, const ts_plan *p, ts_diag *d) {
  const ts_model_config *c = &b->source.config;
  const struct {
    const char *what;
    int64_t theirs, ours;
  } facts[] = {{"hidden size", p->hidden, c->hidden},   {"layers", p->layers, c->layers},
               {"heads", p->heads, c->heads},           {"vocabulary", p->vocab, c->vocab},
               {"head size", p->head_dim, c->head_dim}, {"key-value heads", p->kv_heads, c->kv_heads},
               {"positions", p->max_seq, b->positions}, {"positions in a page", p->page, b->paging.page}};
  if (strcmp(p->quantization, b->quant->name))
    return ts_refuse(d, "wrong-library", "%s: built for %s, not %s", b->o->reuse_lib, p->quantization, b->quant->name);
  if (strcmp(p->arch, c->arch))
    return ts_refuse(d, "wrong-library", "%s: built for architecture %s, not %s", b->o->reuse_lib, p->arch, c->arch);
  for (size_t i = 0; i < TS_COUNTOF(facts); i++)
    if (facts[i].theirs != facts[i].ours)
      return ts_refuse(d, "wrong-library", "%s: built for %s %lld, the model has %lld", b->o->reuse_lib, facts[i].what,
                       (long long)facts[i].theirs, (long long)facts[i].ours);
  return true;
}

// Its kernels were chosen for other weights.
static bool weights_fit(const builder *b, const ts_plan *p, ts_diag *d) {
  for (size_t i = 0; i < b->magnitudes.n; i++) TS_TRY(ts_plan_within(p, b->magnitudes.p[i].tensor, b->magnitudes.p[i].most, b->o->reuse_lib, d));
  return true;
}

static bool reuse_library(builder *b, const char *path, ts_diag *d) {
  ts_library *l = ts_library_open(b->o->reuse_lib, d);
  if (!l) return false;
  bool ok = library_fits(b, ts_library_plan(l), d) && weights_fit(b, ts_library_plan(l), d);
  ts_library_close(l);
  char *bytes;
  size_t n;
  return ok && ts_file_read(b->o->reuse_lib, b->a, &bytes, &n, d) && ts_file_write(path, bytes, n, d);
}

// --- packed weights: what loading would compute, written once ----------------------------------------------
static bool write_weights(builder *b, const char *library, const char *params, const char *path, ts_diag *d) {
  ts_library *l = ts_library_open(library, d);
  const ts_index *x = l ? ts_index_open(b->a, params, d) : NULL;
  ts_pool *pool = x ? ts_pool_new(0, d) : NULL;
  ts_weights *w = pool ? ts_weights_load(l, x, NULL, pool, d) : NULL;
  bool ok = w && ts_weights_write(w, x, path, d);
  if (l)
    b->r->arena_bytes = ts_library_plan(l)->arena_bytes,
    b->r->kv_bytes = 2 * ts_library_plan(l)->layers * ts_library_plan(l)->kv_bytes;
  ts_weights_free(w);
  ts_pool_free(pool);
  ts_library_close(l);
  return ok;
}

// --- other files -------------------------------------------------------------------------------------------
static bool write_config(builder *b, const char *params, ts_diag *d) {
  ts_text t = {0};
  bool ok = ts__chat_config_text(&b->source, b->name, b->quant->name, b->positions, b->chunk, &t, d) &&
            ts_file_write(ts_path_join(b->a, params, "mlc-chat-config.json"), t.p, t.n, d);
  ts_text_free(&t);
  for (size_t i = 0; ok && i < b->source.nfiles; i++)
    ok = ts_file_write(ts_path_join(b->a, params, b->source.files[i].name), b->source.files[i].text,
                       b->source.files[i].n, d);
  return ok;
}

static void quoted(ts_text *t, const char *key, const char *value, const char *sep) {
  ts_text_addf(t, "%s\"%s\": ", sep, key);
  if (!ts__js_quote(t, value, strlen(value), true)) ts_text_add(t, "\"\"");
}

// Which record served each kernel, as JSON lines.
static bool write_report(builder *b, const char *dir, ts_diag *d) {
  ts_text t = {0};
  for (size_t i = 0; i < b->r->nkernels; i++) {
    const ts_build_kernel *k = &b->r->kernels[i];
    quoted(&t, "workload", k->workload, "{");
    quoted(&t, "phase", k->phase, ", ");
    quoted(&t, "kernel", k->kernel, ", ");
    quoted(&t, "variant", k->variant, ", ");
    quoted(&t, "served", k->served, ", ");
    quoted(&t, "record", k->record, ", ");
    if (*k->left_out) quoted(&t, "left_out", k->left_out, ", ");
    ts_text_addf(&t, ", \"calls\": %lld, \"expected_us\": %.3f}\n", (long long)k->calls, k->expected_us);
  }
  bool ok = ts_file_write(ts_path_join(b->a, dir, "kernels.jsonl"), ts_text_str(&t), t.n, d);
  ts_text_free(&t);
  return ok;
}

// debug/: the plan; for each kernel its schedule, function and assembly.
static bool write_debug(builder *b, const char *dir, ts_diag *d) {
  const char *debug = ts_path_join(b->a, dir, "debug");
  TS_TRY(ts_dir_make(debug, d));
  bool ok = ts_file_write(ts_path_join(b->a, debug, "plan.json"), b->plan.p, b->plan.n, d);
  for (size_t i = 0; ok && i < b->kernels.n; i++) {
    const ts__kernel_row *k = &b->kernels.row[i];
    ts_text func = {0}, assembly = {0};
    ts_text_addf(&func, "# %s\n", k->text);
    ts_func_print(&func, k->func);
    const char *stem = ts_path_join(b->a, debug, k->object.symbol);
    ok = ts_file_write(ts_arena_printf(b->a, "%s.tir", stem), func.p, func.n, d) &&
         ts_file_write(ts_arena_printf(b->a, "%s.trace", stem), k->trace, strlen(k->trace), d);
    if (ok && k->unit.bytes) ok = ts_file_write(ts_arena_printf(b->a, "%s.cu", stem), k->unit.bytes, k->unit.n, d);
    else if (ok) ok = ts_codegen_asm(k->func, &b->target, &assembly, d) && ts_file_write(ts_arena_printf(b->a, "%s.s", stem), ts_text_str(&assembly), assembly.n, d);
    ts_text_free(&func);
    ts_text_free(&assembly);
  }
  return ok;
}

// --- the build ---------------------------------------------------------------------------------------------
static int64_t calls_of(const builder *b, const ts__kernel_row *r) {
  int64_t calls = 0;
  for (size_t i = 0; i < b->n[r->phase]; i++) calls += ts__kernels_find(&b->kernels, &b->step[r->phase][i]) == r;
  return calls;
}

static void list_kernels(builder *b) {
  ts_build_kernel *k = ts_new_array(b->a, ts_build_kernel, b->kernels.n + 1);
  for (size_t i = 0; i < b->kernels.n; i++) {
    const ts__kernel_row *r = &b->kernels.row[i];
    k[i] = (ts_build_kernel){.kernel = ts_arena_strdup(b->a, r->object.symbol),
                             .workload = r->text,
                             .phase = ts__phase_name(r->phase),
                             .variant = r->variant,
                             .served = r->served,
                             .record = r->record,
                             .left_out = ts__banned_names(b->a, &b->bans, r->step),
                             .expected_us = r->expected_us,
                             .calls = calls_of(b, r)};
  }
  b->r->kernels = k;
  b->r->nkernels = b->kernels.n;
}

static bool fill_directory(builder *b, ts_diag *d) {
  const char *dir = b->stage.path, *params = ts_path_join(b->a, dir, "params"),
             *library = ts_path_join(b->a, dir, b->library);
  const char *weights = ts_arena_printf(b->a, "%.*s.weights", (int)strlen(library) - 3, library);
  TS_TRY(ts_dir_make(params, d));
  if (!drawn(b)) TS_TRY(ts__params_write(b->a, &b->source, b->quant, b->o->round, params, &b->r->param_bytes, &b->magnitudes, d));
  TS_TRY(write_config(b, params, d));
  TS_TRY(b->o->reuse_lib ? reuse_library(b, library, d) : keep_limits(b, d) && link_library(b, library, d));
  list_kernels(b);
  if (!b->o->reuse_lib) TS_TRY(write_report(b, dir, d));
  if (b->o->debug_dump && !b->o->reuse_lib) TS_TRY(write_debug(b, dir, d));
  bool here = b->target.api == TS_API_CPU && ts_target_runs_here(&b->target, NULL);
  if (here) TS_TRY(write_weights(b, library, params, weights, d));
  b->r->weights = here ? ts_arena_printf(b->a, "%.*s.weights", (int)strlen(b->library) - 3, b->library) : NULL;
  return true;
}

static bool build(builder *b, ts_diag *d) {
  TS_TRY(prepare(b, d));
  b->r->name = b->name;
  b->r->library = b->library;
  b->r->dir = ts_path_join(b->a, b->o->out ? b->o->out : "dist", b->name);
  TS_TRY(ts__staging_begin(&b->stage, b->r->dir, d));  // before what takes long: a place that cannot be written is told at once
  if (!b->o->reuse_lib) TS_TRY(make_kernels(b, d));
  return fill_directory(b, d) && ts__staging_commit(&b->stage, d);
}

bool ts_build(ts_arena *a, const ts_build_opts *o, ts_build_result *r, ts_diag *d) {
  uint64_t begin = ts_now_ns();
  *r = (ts_build_result){0};
  builder b = {.a = a, .o = o, .r = r};
  bool ok = build(&b, d);
  ts__staging_abandon(&b.stage);
  ts_text_free(&b.plan);
  ts_source_close(&b.source);
  r->seconds = (double)(ts_now_ns() - begin) * 1e-9;
  return ok;
}
