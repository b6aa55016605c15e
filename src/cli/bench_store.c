// Results of `tunesmith bench` into a store.
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "cli/bench.h"

typedef struct keeper {
  subject *s;
  ts_db *db;
  ts_arena *arena;
  ts_place place;
  ts_id model;
  ts_sha256 manifest;
  json_t *records;  // workload -> what served it, from the model directory
} keeper;

// kernels.jsonl of the model directory: a line a kernel, with the record that served it. None: an empty object.
static json_t *read_records(ts_arena *a, const char *dir) {
  json_t *all = json_object();
  const char *path = ts_path_join(a, dir, "kernels.jsonl");
  char *text;
  size_t n;
  if (!ts_file_exists(path) || !ts_file_read(path, a, &text, &n, NULL)) return all;
  for (char *line = text, *end; *line; line = end + (*end != 0)) {
    end = line + strcspn(line, "\n");
    json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
    const char *workload = json_string_value(json_object_get(o, "workload"));
    if (workload) json_object_set(all, workload, json_object_get(o, "record"));
    json_decref(o);
  }
  return all;
}

// "matmul q4f16_1 A=f32 K=576" as operator, quantization, shape.
static void split_spec(ts_arena *a, const char *spec, const char *part[3]) {
  size_t n = strcspn(spec, " ");
  part[0] = ts_arena_strndup(a, spec, n);
  part[1] = "";
  spec += n + (spec[n] == ' ');
  n = strcspn(spec, " ");
  if (n && !memchr(spec, '=', n)) {
    part[1] = ts_arena_strndup(a, spec, n);
    spec += n + (spec[n] == ' ');
  }
  part[2] = spec;
}

#define OF_WORKLOAD " JOIN workload w ON w.id = c.workload_id WHERE w.op = :op AND w.quant = :quant AND w.shape = :shape"
static const char by_decision[] =
    "SELECT d.build_id FROM decision d JOIN build b ON b.id = d.build_id JOIN candidate c ON c.id = b.candidate_id" OF_WORKLOAD
    " AND d.id = :id AND instr(:record, d.utc) > 0";
static const char by_candidate[] = "SELECT b.id FROM build b JOIN candidate c ON c.id = b.candidate_id" OF_WORKLOAD
                                   " AND c.id = :id AND b.status = 'ok' AND b.target_id = :target ORDER BY b.id DESC LIMIT 1";
static const char by_default[] = "SELECT b.id FROM build b JOIN candidate c ON c.id = b.candidate_id" OF_WORKLOAD
                                 " AND c.generator LIKE 'default ref %' AND b.status = 'ok' AND b.target_id = :target ORDER BY b.id DESC LIMIT 1";

static ts_db_param text_param(const char *name, const char *v) {
  return (ts_db_param){name, {.type = TS_DB_TEXT, .text = v, .blob = {v, strlen(v)}}};
}

static ts_db_param id_param(const char *name, ts_id v) { return (ts_db_param){name, {.type = TS_DB_INT, .i = v, .r = (double)v}}; }

// The build in this store that the kernel of a profile row is; 0 when the store does not have it. A record names rows by their id in the
// store of the build: workload and time must agree, since this may be another store.
static ts_id build_of(const keeper *k, const ts_profile_row *row) {
  const char *part[3], *record = json_string_value(json_object_get(k->records, row->spec)), *sql = NULL;
  long long id = 0;
  split_spec(k->arena, row->spec, part);
  if (record && sscanf(record, "decision %lld", &id) == 1) sql = by_decision;
  else if (record && sscanf(record, "candidate %lld", &id) == 1) sql = by_candidate;
  else if (!strcmp(row->source, "default")) sql = by_default;
  if (!sql) return 0;
  ts_db_param p[6] = {text_param("op", part[0]), text_param("quant", part[1]), text_param("shape", part[2])};
  int n = 3;
  if (sql != by_default) p[n++] = id_param("id", id);
  if (sql == by_decision) p[n++] = text_param("record", record);
  else p[n++] = id_param("target", k->place.target_id);
  ts_db_table t;
  return ts_db_query(k->db, sql, p, n, k->arena, &t, NULL) && t.nrows ? t.cells[0].i : 0;
}

// One more repetition with a clock around every kernel.
static bool keep_kernels(keeper *k, const test *t, ts_id run, ts_diag *d) {
  int64_t n = t->depth + t->tokens;
  int32_t *tokens = ts_new_array(k->arena, int32_t, n);
  ts_profile_row *rows;
  uint64_t ns;
  double first_ms;
  ts__bench_tokens(k->s, tokens, n);
  k->s->profiling = true;
  ts_session_profile(k->s->session, true);
  bool ok = ts__bench_once(k->s, t, tokens, &ns, &first_ms, d);
  size_t nrows = ts_session_profile_rows(k->s->session, k->arena, &rows);
  ts_session_profile(k->s->session, false);
  k->s->profiling = false;
  for (size_t i = 0; ok && i < nrows; i++) {
    ts_id build = rows[i].calls ? build_of(k, &rows[i]) : 0;
    if (build)
      ok = ts_db_put_run_kernel(k->db, &(ts_db_run_kernel){run, build, rows[i].phase, (int64_t)rows[i].calls, (int64_t)rows[i].ns}, d);
  }
  return ok;
}

static int64_t utc_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool keep_test(keeper *k, const test *t, ts_diag *d) {
  const subject *s = k->s;
  char scenario[128];
  snprintf(scenario, sizeof scenario, "%s threads=%d schedule=%s", t->name, ts_pool_threads(ts_engine_pool(s->engine)),
           ts__bench_schedule(ts_engine_plan(s->engine)));
  ts_id series = ts_db_put_series(k->db, &(ts_db_series){.model_id = k->model, .target_id = k->place.target_id, .scenario = scenario,
                                                         .metric = t->decode ? "decode" : "prefill", .unit = "tok/s", .higher_better = 1}, d);
  ts_db_run row = {.series_id = series, .device_id = k->place.device_id, .environment_id = k->place.environment_id,
                   .toolchain_id = k->place.toolchain_id, .revision = TS_VERSION, .order_key = utc_ms(), .manifest_sha256 = &k->manifest,
                   .reproduce = s->bench->command, .n = s->bench->samples, .median = t->speed.median, .q1 = t->speed.q1, .q3 = t->speed.q3,
                   .mad = t->speed.mad, .samples = ts_samples_encode(k->arena, t->ns, (size_t)s->bench->samples)};
  ts_id run = series ? ts_db_put_run(k->db, &row, d) : 0;
  return run && keep_kernels(k, t, run, d);
}

static bool open_keeper(keeper *k, ts_diag *d) {
  const subject *s = k->s;
  const ts_plan *p = ts_engine_plan(s->engine);
  const ts_index *x = ts_engine_index(s->engine);
  TS_TRY(ts_sha256_file(ts_engine_library_path(s->engine), &k->manifest, d));
  TS_TRY(ts_place_put(k->db, &s->target, ts_pool_threads(ts_engine_pool(s->engine)), &k->place, d));
  k->model = ts_db_put_model(k->db, &(ts_db_model){.name = p->name, .quant = p->quantization, .params = TS_DB_NONE,
                                                   .weights_sha256 = x ? &x->sha256 : &k->manifest}, d);
  return k->model != 0;
}

bool ts__bench_keep(subject *s, ts_db *db, ts_diag *d) {
  keeper k = {.s = s, .db = db, .arena = ts_arena_new("bench")};
  k.records = read_records(k.arena, s->dir);
  bool ok = open_keeper(&k, d);
  for (int i = 0; ok && i < s->bench->ntests; i++) ok = keep_test(&k, &s->tests[i], d);
  json_decref(k.records);
  ts_arena_free(k.arena);
  return ok && ts_db_flush(db, d);
}
