// tunesmith probe: this machine, or a GPU of it, and the measured ceilings.
#include <math.h>

#include "cli/cli.h"
#include "db/db.h"
#include "device/device.h"
#include "measure/measure.h"

typedef struct options {
  const char *store, *format, *target;
  int64_t threads;
  double seconds;
} options;

static void print_gpu(const ts_target *t) {
  printf("%s (%s), %d multiprocessors, %d threads and %lld KiB of shared memory each (%lld a block), second-level cache %lld MiB, memory %.1f GiB\n", t->product, t->arch, t->gpu.sms,
         t->gpu.sm_threads, (long long)t->gpu.sm_shared >> 10, (long long)t->gpu.block_shared >> 10, (long long)t->l2_bytes >> 20, (double)t->gpu.memory_bytes / (double)(1 << 30));
}

static void print_cpu(const ts_target *t) {
  printf("%s (%s), %d cores, %d hardware threads, caches %lld KiB / %lld KiB / %lld MiB, vectors of %d bytes\n", t->product, t->arch, t->cores,
         t->threads, (long long)t->l1_bytes >> 10, (long long)t->l2_bytes >> 10, (long long)t->l3_bytes >> 20, t->vector_bytes);
}

static void print_table(const ts_target *t, const ts_probe *p) {
  if (t->api == TS_API_CUDA) print_gpu(t);
  else print_cpu(t);
  for (int i = 0; i < TS_CEILING__COUNT; i++)
    if (!isnan(p->value[i]))
      printf("%-10s %10.4g %-8s %s\n", ts_ceiling_name((ts_ceiling)i), p->value[i], ts_ceiling_unit((ts_ceiling)i), ts_ceiling_doc((ts_ceiling)i));
}

static void print_json(const ts_target *t, const ts_probe *p) {
  ts_text target = {0}, out = {0};
  ts_target_print(&target, t);
  for (size_t i = 0; i < target.n; i++)
    if (target.p[i] == '\n') target.p[i] = ' ';
  ts__json_pair(&out, "{", "target", ts_text_str(&target));
  ts__json_pair(&out, ", ", "arch", t->arch);
  ts__json_pair(&out, ", ", "product", t->product);
  ts_text_addf(&out, ", \"cores\": %d, \"threads\": %d, \"probe_threads\": %d, \"ceilings\": {", t->cores, t->threads, p->threads);
  const char *comma = "";
  for (int i = 0; i < TS_CEILING__COUNT; i++) {
    if (isnan(p->value[i])) continue;
    ts_text_addf(&out, "%s\n  \"%s\": {\"value\": %.6g, \"unit\": \"%s\"}", comma, ts_ceiling_name((ts_ceiling)i), p->value[i], ts_ceiling_unit((ts_ceiling)i));
    comma = ",";
  }
  printf("%s}}\n", ts_text_str(&out));
  ts_text_free(&target);
  ts_text_free(&out);
}

static bool keep(ts_db *db, const ts_target *t, const ts_probe *p, ts_diag *d) {
  ts_place place;
  ts_text lines = {0};
  ts_probe_print(&lines, p);
  bool ok = ts_place_put(db, t, p->threads, &place, d) &&
            ts_db_set_calibration(db, place.device_id, p->value[TS_CEILING_noise], ts_text_str(&lines), d) && ts_db_flush(db, d);
  ts_text_free(&lines);
  return ok;
}

// Of a CPU while no other program measures there.
static bool measure_cpu(const options *o, const ts_target *t, ts_probe *p, ts_diag *d) {
  int lock = -1;
  bool ok = ts_target_runs_here(t, d) && ts_device_lock("cpu", &lock, d) && ts_device_probe((int)o->threads, o->seconds, p, d);
  ts_device_unlock(lock);
  return ok;
}

// The store is opened first: one that cannot be written is told before anything is measured.
static bool run(const options *o, ts_diag *d) {
  ts_target t;
  ts_probe p;
  bool json;
  ts_db *db = NULL;
  TS_TRY(ts_cli_json(o->format, &json, d));
  TS_TRY(ts_cli_threads(o->threads, d));
  TS_TRY(ts_target_parse(o->target, &t, d));
  if (o->store) TS_TRY((db = ts_db_open(o->store, TS_DB_CREATE, d)) != NULL);
  bool ok = t.api == TS_API_CUDA ? ts_device_probe_gpu(&t, o->seconds, &p, d) : measure_cpu(o, &t, &p, d);
  if (ok && db) ok = keep(db, &t, &p, d);
  if (ok) (json ? print_json : print_table)(&t, &p);
  ts_db_close(db);
  return ok;
}

int ts_cmd_probe(int argc, char **argv) {
  options o = {.format = "table", .seconds = 3, .target = "cpu"};
  const ts_opt opts[] = {
      {"target", TS_OPT_TEXT, &o.target, "T", "cpu (the default), cuda or cuda:N"},
      {"threads", TS_OPT_COUNT, &o.threads, "N", "threads of the many-thread rows (default: one per physical core)"},
      {"time", TS_OPT_TIME, &o.seconds, "TIME", "how long to measure, about (default: 3s)"},
      {"store", TS_OPT_TEXT, &o.store, "FILE", "keep the ceilings with this machine in a store"},
      {"format", TS_OPT_TEXT, &o.format, "F", "table or json"},
  };
  const ts_cli cli = {"probe", "[options]", "This machine, or a GPU of it, and what it can do at most: memory bandwidth, arithmetic, launches, measured now.", opts,
                      TS_COUNTOF(opts), 0, 0};
  char **args;
  ts_diag d = {0};
  int nargs, code = ts_cli_parse(&cli, argc, argv, &args, &nargs);
  if (code >= 0) return code;
  return run(&o, &d) ? 0 : ts_cli_fail(&d);
}
