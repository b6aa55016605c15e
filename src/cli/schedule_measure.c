// tunesmith schedule --measure: the scheduled function, verified against the reference and timed in turn with the
// default.
#include <math.h>

#include "cli/schedule.h"
#include "device/device.h"
#include "measure/measure.h"
#include "search/search.h"

enum { DEFAULT, MINE, SIDES, ROUNDS = 30 };
static const char *const side_name[] = {"default", "this schedule"};

typedef struct bout {
  const ts__work *w;
  ts_arena *a;
  ts_target target;
  ts_compiler *compiler;
  ts_workload *workload;
  ts_meter *meter;
  int lock;
  ts_outcome_row row[SIDES];
  ts_compare compare;
  ts_cost cost;
  ts_probe probe;
} bout;

// --- measuring ------------------------------------------------------------------------------------------------------
static const ts_func *by_default(bout *b, ts_diag *d) {
  ts_op_inst inst;
  const char *text;
  if (!ts_op_instantiate(b->w->ir, &b->w->spec, "", &inst, d) ||
      !ts_default_trace(b->a, b->w->spec.op, inst.func, &b->target, &text, d))
    return NULL;
  ts_sched *s = ts_sched_new(b->w->ir, inst.func, 0);
  if (text[strspn(text, " \n")] && !ts_sched_replay(s, "default.trace", text, strlen(text), NULL, d)) return NULL;
  return ts_sched_func(s);
}

static bool compiled(bout *b, const ts_func *f, ts_object **out, ts_diag *d) {
  *out = ts_new(b->a, ts_object);
  return ts_compiler_run(b->compiler, f, b->a, *out, d);
}

static bool enter(bout *b, int side, const ts_func *f, const ts_func *pack, double tolerance, ts_diag *d) {
  ts_object *object, *pack_object = NULL;
  TS_TRY(f && compiled(b, f, &object, d));
  if (pack) TS_TRY(compiled(b, pack, &pack_object, d));
  ts_candidate c = {.tolerance = tolerance, .func = f, .object = object, .pack = pack, .pack_object = pack_object};
  TS_TRY(ts_meter_run(b->meter, (uint64_t)side + 1, &c, &ts_effort_search, b->a, &b->row[side], d));
  if (b->row[side].kind == TS_MEASURED) return true;
  return ts_refuse(d, "not-measured", "%s: %s: %s", side_name[side], ts_outcome_kind_name(b->row[side].kind),
                   b->row[side].message);
}

// At a signal it ends with the stage that is under way.
static bool going(ts_diag *d) { return !ts_interrupted() || ts_env_fail(d, "interrupted", "interrupted"); }

static bool bout_run(bout *b, ts_diag *d) {
  const ts__work *w = b->w;
  const uint64_t tags[] = {1, 2};
  TS_TRY(ts_target_parse(w->o->target, &b->target, d));
  bool gpu = b->target.api == TS_API_CUDA;
  if (!gpu) TS_TRY(ts_target_runs_here(&b->target, d));
  TS_TRY((b->compiler = ts_compiler_open(&b->target, 1, NULL, d)) != NULL);
  TS_TRY((b->workload = ts_workload_open(&w->spec, &b->target, b->compiler, d)) != NULL);
  TS_TRY(ts_func_serves(ts_sched_func(w->s), ts_workload_reference(b->workload), d));
  TS_TRY(ts_device_lock(gpu ? ts_arena_printf(b->a, "cuda%d", b->target.gpu.device) : "cpu", &b->lock, d));
  TS_TRY((b->meter = ts_meter_open(
              b->workload, &(ts_meter_opts){.threads = (int)w->o->threads, .seed = (uint64_t)w->o->seed}, d)) != NULL);
  TS_TRY(going(d) && enter(b, DEFAULT, by_default(b, d), NULL, 0, d));
  TS_TRY(going(d) && enter(b, MINE, ts_sched_func(w->s), w->inst.pack, w->inst.tolerance, d));
  TS_TRY(going(d) && ts_meter_final(b->meter, tags, SIDES, ROUNDS, 3, b->a, b->row, d) && going(d));
  for (int i = 0; i < SIDES; i++)
    if (b->row[i].kind != TS_MEASURED)
      return ts_refuse(d, "not-measured", "%s: %s: %s", side_name[i], ts_outcome_kind_name(b->row[i].kind),
                       b->row[i].message);
  b->cost = ts_workload_cost(b->workload);
  b->compare =
      ts_compare_paired(b->row[MINE].samples, b->row[DEFAULT].samples, TS_MIN(b->row[MINE].n, b->row[DEFAULT].n), 0.01);
  return gpu ? ts_device_probe_gpu(&b->target, 1, &b->probe, d) : ts_device_probe((int)w->o->threads, 1, &b->probe, d);
}

// --- output
// -----------------------------------------------------------------------------------------------------------
static void text_show(const bout *b) {
  double fma = b->probe.value[TS_CEILING_fma], read = b->probe.value[TS_CEILING_read];
  const int64_t *dims = ts_workload_dims(b->workload);
  const ts_func *f = ts_workload_reference(b->workload);
  printf("%s", b->w->what);
  for (int i = 0; i < f->ndims; i++)
    printf("%s %s = %lld", i ? "," : ", measured at", f->dims[i].var->name, (long long)dims[i]);
  if (b->target.api == TS_API_CPU) printf(", %d threads", b->probe.threads);
  printf("; largest error %.2g of %.2g allowed\n", b->row[MINE].rel_error,
         TS_MAX(b->w->inst.tolerance, ts_workload_tolerance(b->workload)));
  printf("%-14s %12s %25s %10s %10s %8s %8s\n", "", "median us", "95 % interval", "GFLOP/s", "GB/s", "of fma",
         "of read");
  for (int i = 0; i < SIDES; i++) {
    const ts_stats *s = &b->row[i].stats;
    double flops = b->cost.flops / s->median, bytes = b->cost.bytes / s->median;  // per ns
    printf("%-14s %12.2f %12.2f%s%-9.2f %10.2f %10.2f %7.1f%% %7.1f%%\n", side_name[i], s->median / 1e3, s->ci_lo / 1e3,
           " to ", s->ci_hi / 1e3, flops, bytes, 100 * flops / fma, 100 * bytes / read);
  }
  const ts_compare *c = &b->compare;
  printf("%s than the default: %.3f times its speed (95 %%: %.3f to %.3f)\n", ts_verdict_name(c->verdict),
         exp(-c->log_ratio), exp(-c->ci_hi), exp(-c->ci_lo));
}

static void json_show(const bout *b) {
  ts_text t = {0};
  ts_text_add(&t, "{\"workload\": ");
  ts_text_add_json(&t, b->w->what);
  ts_text_addf(&t, ", \"threads\": %d, \"rel_error\": %.3g, \"flops\": %.0f, \"bytes\": %.0f", b->probe.threads,
               b->row[MINE].rel_error, b->cost.flops, b->cost.bytes);
  for (int i = 0; i < SIDES; i++) {
    const ts_stats *s = &b->row[i].stats;
    ts_text_addf(&t, ", \"%s\": {\"median_ns\": %.1f, \"ci_lo\": %.1f, \"ci_hi\": %.1f, \"n\": %zu}",
                 i == MINE ? "scheduled" : "default", s->median, s->ci_lo, s->ci_hi, s->n);
  }
  ts_text_addf(&t,
               ", \"fma_gflops\": %.4g, \"read_gbs\": %.4g, \"speed_up\": %.4f, \"ci_lo\": %.4f, \"ci_hi\": %.4f, "
               "\"verdict\": \"%s\"}",
               b->probe.value[TS_CEILING_fma], b->probe.value[TS_CEILING_read], exp(-b->compare.log_ratio),
               exp(-b->compare.ci_hi), exp(-b->compare.ci_lo), ts_verdict_name(b->compare.verdict));
  puts(ts_text_str(&t));
  ts_text_free(&t);
}

bool ts__work_measure(const ts__work *w, bool json, ts_diag *d) {
  if (w->is_file) {
    ts_refuse(d, "no-workload", "%s: a file with one function has no reference to measure against", w->what);
    ts_hint(d, "give a workload, such as \"matmul q4f16_1 N=64 K=128 A=f32 n=1\"");
    return false;
  }
  TS_TRY(ts_cli_threads(w->o->threads, d));
  bout b = {.w = w, .a = ts_arena_new("measure"), .lock = -1};
  bool ok = bout_run(&b, d);
  if (ok && json)
    json_show(&b);
  else if (ok)
    text_show(&b);
  ts_meter_close(b.meter);
  ts_device_unlock(b.lock);
  ts_workload_close(b.workload);
  ts_compiler_close(b.compiler);
  ts_arena_free(b.a);
  return ok;
}
