// Shared by tests of builds from a store: a store with records, builds from it, and what served a workload.
#ifndef TS_TEST_MODEL_STORE_H
#define TS_TEST_MODEL_STORE_H

#include <math.h>

#include "db/db.h"
#include "measure/measure.h"
#include "model_test.h"
#include "op/native.h"
#include "search/search.h"

typedef struct world {
  ts_arena *a;
  char *out;
  const char *store, *target_text, *model, *reuse_lib;
  ts_db *db;
  ts_target target;
  ts_place place;
  ts_id session;
  const char *timer;  // of the policy under which record() decides
} world;

static inline void open_world_for(world *w, const char *target) {
  ts_diag d = {0};
  *w = (world){.a = ts_arena_new("test"), .target_text = target};
  bool gpu = strncmp(target, "cuda", 4) == 0;
  w->model = gpu ? "synthetic:SmolLM2-135M" : "synthetic:tiny";
  w->out = temp_folder(w->a);
  w->store = ts_path_join(w->a, w->out, "t.db");
  must(ts_target_parse(target, &w->target, &d), &d);
  w->db = ts_db_open(w->store, TS_DB_CREATE, &d);
  must(w->db != NULL, &d);
  must(ts_place_put(w->db, &w->target, 2, &w->place, &d), &d);
  w->session = ts_db_put_session(w->db, &(ts_db_session){.command = "test", .tool = "test", .seed = 1}, &d);
  must(w->session != 0, &d);
}

static inline void open_world(world *w) { open_world_for(w, "cpu"); }

static inline void close_world(world *w) {
  ts_db_close(w->db);
  remove_folder(w->out);
  ts_arena_free(w->a);
}

// Put a verified candidate with a time; when `wins`, also the decision for it.
static inline void record(world *w, const char *spec_text, const char *generator, const char *trace, double ns, bool wins) {
  ts_diag d = {0};
  ts_spec s;
  ts_op_inst inst;
  must(ts_spec_parse(w->a, spec_text, &s, &d), &d);
  must(ts_op_instantiate(ts_ir_new(w->a), &s, "", &inst, &d), &d);
  ts_db_workload row = ts_workload_row(w->a, &s, inst.func, (ts_cost){0});
  ts_id workload = ts_db_put_workload(w->db, &row, &d);
  ts_id candidate =
      workload ? ts_db_put_candidate(
                     w->db, &(ts_db_candidate){.workload_id = workload, .generator = generator, .trace = trace}, &d)
               : 0;
  ts_db_build b = {.candidate_id = candidate,
                   .target_id = w->place.target_id,
                   .toolchain_id = w->place.toolchain_id,
                   .status = "ok",
                   .bytes = TS_DB_NONE,
                   .regs = TS_DB_NONE,
                   .spills = TS_DB_NONE,
                   .smem = TS_DB_NONE,
                   .compile_ms = NAN};
  ts_id build = candidate ? ts_db_put_build(w->db, &b, &d) : 0;
  must(build != 0, &d);
  must(ts_db_put_verdict(w->db,
                         &(ts_db_verdict){.build_id = build,
                                          .device_id = w->place.device_id,
                                          .reference = "test",
                                          .seed = 1,
                                          .rel_l2 = 0,
                                          .max_abs = 0,
                                          .outcome = "ok"},
                         &d) != 0,
       &d);
  ts_db_measurement m = {.build_id = build,
                         .device_id = w->place.device_id,
                         .environment_id = w->place.environment_id,
                         .session_id = w->session,
                         .metric = "time",
                         .unit = "ns",
                         .timer = "monotonic",
                         .cache = "cold-weights",
                         .launch = "pool",
                         .rung = 1,
                         .round = TS_DB_NONE,
                         .n = 1,
                         .median = ns,
                         .min = ns,
                         .q1 = ns,
                         .q3 = ns,
                         .ci_lo = ns,
                         .ci_hi = ns,
                         .clock_mhz = NAN,
                         .stop_reason = "quota",
                         .elapsed_ms = 1,
                         .samples = ts_samples_encode(w->a, (const uint64_t[]){(uint64_t)ns}, 1)};
  must(ts_db_put_measurement(w->db, &m, &d) != 0, &d);
  if (!wins) return;
  ts_db_decision x = {.workload_id = workload,
                      .target_id = w->place.target_id,
                      .toolchain_id = w->place.toolchain_id,
                      .policy = ts_place_policy(&w->target, w->timer ? w->timer : "graph", w->a),
                      .build_id = build,
                      .log_ratio = NAN,
                      .ci_lo = NAN,
                      .ci_hi = NAN,
                      .session_id = w->session};
  must(ts_db_put_decision(w->db, &x, &d) != 0, &d);
}

static inline ts_build_result build(world *w, const char *quant, const char *numerics) {
  ts_diag d = {0};
  ts_build_result r;
  ts_build_opts o = {.model = w->model,
                     .quant = quant,
                     .target = w->target_text,
                     .reuse_lib = w->reuse_lib,
                     .out = w->out,
                     .store = w->store,
                     .max_seq_len = w->target.api == TS_API_CUDA ? 256 : 64,
                     .prefill_chunk = w->target.api == TS_API_CUDA ? 128 : 16,
                     .numerics = numerics,
                     .cache = ts_path_join(w->a, w->out, "cache")};
  must(ts_build(w->a, &o, &r, &d), &d);
  return r;
}

static inline const ts_build_kernel *kernel(const ts_build_result *r, const char *workload) {
  for (size_t i = 0; i < r->nkernels; i++)
    if (!strcmp(r->kernels[i].workload, workload)) return &r->kernels[i];
  fail_msg("no kernel for %s", workload);
  return NULL;
}

static inline void check(const ts_build_result *r, const char *workload, const char *served, const char *variant) {
  const ts_build_kernel *k = kernel(r, workload);
  if (strcmp(k->served, served) || strcmp(k->variant, variant))
    fail_msg("%s: %s, variant '%s'", workload, k->served, k->variant);
}

#endif
