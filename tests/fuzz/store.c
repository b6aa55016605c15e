// A store with wrong bytes: opening, checking, asking and merging end with a diagnostic or with sound rows, never with
// a crash.
//
// The input is a list of edits to a sound store: four bytes each, an offset (three bytes, low first) and a value.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "db/db.h"

static char dir[64];
static char *sound;
static size_t sound_size;

static const ts_db_target target = {"cpu", "arch", "product", "limits"};
static const ts_db_workload workload = {
    .op = "op", .quant = "", .shape = "n=1", .bucket = "b", .flops = 1, .bytes = 1, .ir = {"ir", 2}};

static ts_arena *keep;  // holds the sound store until the process ends
static void drop_dir(void) {
  ts_arena_free(keep);
  char cmd[100];
  snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
  if (system(cmd) != 0) perror(dir);
}

static void fill(ts_db *db) {
  ts_id t = ts_db_put_target(db, &target, NULL), w = ts_db_put_workload(db, &workload, NULL);
  ts_id dev = ts_db_put_device(db, &(ts_db_device){.target_id = t, .noise_floor = NAN}, NULL);
  ts_id tc = ts_db_put_toolchain(db, &(ts_db_toolchain){.compiler = "c", .version = "1", .flags = ""}, NULL);
  ts_id env = ts_db_put_environment(db, &(ts_db_environment){.clock_policy = "free", .detail = ""}, NULL);
  ts_id s =
      ts_db_put_session(db, &(ts_db_session){.command = "tune", .tool = "t", .workload_id = w, .target_id = t}, NULL);
  ts_id c = ts_db_put_candidate(db, &(ts_db_candidate){.workload_id = w, .generator = "default", .trace = ""}, NULL);
  ts_id b =
      ts_db_put_build(db, &(ts_db_build){.candidate_id = c, .target_id = t, .toolchain_id = tc, .status = "ok"}, NULL);
  ts_db_measurement m = {.build_id = b,
                         .device_id = dev,
                         .environment_id = env,
                         .session_id = s,
                         .metric = "time",
                         .unit = "ns",
                         .timer = "t",
                         .cache = "c",
                         .launch = "l",
                         .n = 2,
                         .median = 1,
                         .stop_reason = "quota",
                         .samples = {"\x02\x02", 2}};
  ts_db_decision d = {
      .workload_id = w, .target_id = t, .toolchain_id = tc, .policy = "p", .build_id = b, .session_id = s};
  if (!ts_db_put_measurement(db, &m, NULL) || !ts_db_put_decision(db, &d, NULL)) abort();
}

static void make_sound(void) {
  snprintf(dir, sizeof dir, "/tmp/ts-fuzz-XXXXXX");
  if (!mkdtemp(dir)) abort();
  atexit(drop_dir);
  char path[100];
  snprintf(path, sizeof path, "%s/sound", dir);
  ts_db *db = ts_db_open(path, TS_DB_CREATE, NULL);
  if (!db) abort();
  fill(db);
  ts_db_close(db);
  keep = ts_arena_new("fuzz");
  if (!ts_file_read(path, keep, &sound, &sound_size, NULL)) abort();
}

static void ask(const char *path) {
  ts_arena *a = ts_arena_new("fuzz");
  ts_diag d = {0};
  ts_db *db = ts_db_open(path, TS_DB_READ, &d);
  if (db) {
    ts_text report = {0};
    ts_db_winner *w;
    ts_db_point *p;
    ts_db_session s;
    size_t n;
    if (!ts_db_check(db, &report, &d) && d.kind == TS_OK) abort();
    if (ts_db_find_winners(db, &workload, &target, 0, NULL, 3, a, &w, &n, &d) && n > 3) abort();
    (void)!ts_db_best_so_far(db, 1, "time", a, &p, &n, &d);
    (void)!ts_db_find_unfinished(db, 1, 1, a, &s, &d);
    ts_text_free(&report);
    ts_db_close(db);
  }
  ts_arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!sound) make_sound();
  char path[100], into[100];
  snprintf(path, sizeof path, "%s/edited", dir);
  snprintf(into, sizeof into, "%s/into", dir);
  char *bytes = malloc(sound_size);
  if (!bytes) abort();
  memcpy(bytes, sound, sound_size);
  for (size_t i = 0; i + 4 <= size; i += 4)
    bytes[(data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16) % sound_size] = (char)data[i + 3];
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, sound_size, f) != sound_size) abort();
  fclose(f);
  free(bytes);
  ask(path);
  ts_db *db = ts_db_open(into, TS_DB_CREATE, NULL);
  ts_db_merged m;
  ts_diag d = {0};
  if (!db) abort();
  if (!ts_db_merge(db, path, &m, &d) && d.kind == TS_OK) abort();
  ts_db_close(db);
  return 0;
}
