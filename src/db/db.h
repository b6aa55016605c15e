// db: the store. One SQLite file holds every workload, candidate, build, verdict, measurement and decision.
//
// The folder knows no IR: everything is text, blobs and numbers. Facts are append-only; a row's identity is the SHA-256
// of a canonical text of the columns marked (id) below, so the same fact put twice, or merged from another store, is
// one row. Winners are a view over decisions. The schema is in src/db/schema/*.sql; docs/store.md is the manual.
//
// Absent values: NULL for text, hashes and blobs, TS_DB_NONE for integers, NAN for reals, 0 for row ids. A field
// without "or absent" in its comment must be present. Strings and blobs passed in are copied; those handed out lie in
// the arena.
#ifndef TS_DB_H
#define TS_DB_H

#include "base/base.h"

typedef struct ts_db ts_db;
typedef int64_t ts_id;  // a row of this store; means nothing in another store. 0: none, or failure
#define TS_DB_NONE INT64_MIN

typedef struct ts_blob {
  const void *p;
  size_t n;
} ts_blob;

// --- opening (store.c) --------------------------------------------------------------------------------------
typedef enum ts_db_mode {
  TS_DB_READ,    // the file must exist; nothing is written, no older store is migrated
  TS_DB_WRITE,   // the file must exist; migrated when older
  TS_DB_CREATE,  // created when missing, else as TS_DB_WRITE
} ts_db_mode;
// Refusals: "store-missing", "store-foreign" (a file that is not ours), "store-corrupt", "store-network" (a network
// file system, where SQLite's locks do not hold), "store-old" (TS_DB_READ of a store that needs a migration). A store
// written by a newer program opens read-only and ts_db_note says so.
ts_db *ts_db_open(const char *path, ts_db_mode mode, ts_diag *d) TS_WARN_UNUSED;
void ts_db_close(ts_db *db);  // commits an open batch; accepts NULL
const char *ts_db_path(const ts_db *db);
bool ts_db_writable(const ts_db *db);
const char *ts_db_note(const ts_db *db);  // a line for the user, or NULL
int ts_db_version(const ts_db *db);       // of the store's schema
#define TS_DB_VERSION 2                   // of this program's schema

// --- transactions -------------------------------------------------------------------------------------------
// A put outside a transaction commits by itself. Between begin and commit all puts are one transaction. With a batch
// (rows > 0), puts gather in a transaction that commits itself when it holds `rows` rows or is `ms` old at the next
// put; a killed process loses at most that open batch. ts_db_flush commits what is gathered. 64 rows, 50 ms are good
// values.
bool ts_db_begin(ts_db *db, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_commit(ts_db *db, ts_diag *d) TS_WARN_UNUSED;
void ts_db_rollback(ts_db *db);
bool ts_db_batch(ts_db *db, int rows, int ms, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_flush(ts_db *db, ts_diag *d) TS_WARN_UNUSED;

// --- rows ---------------------------------------------------------------------------------------------------
// Where code runs: a class of hardware, one physical unit, the compiler, the machine's state.
typedef struct ts_db_target {
  const char *api;      // (id) "cpu", "cuda", "vulkan"
  const char *arch;     // (id) "znver4"
  const char *product;  // (id) "AMD EPYC 9B14"
  const char *limits;   // (id) ts_target_print's canonical text
} ts_db_target;
typedef struct ts_db_device {
  ts_id target_id;               // (id)
  const ts_sha256 *serial_hash;  // (id) or absent: hash of the unit's serial number or UUID
  const ts_sha256 *host_hash;    // (id) or absent: hash of the machine id
  int64_t software;              // (id) 1: software device, never wins anything
  double noise_floor;            // or absent; see ts_db_set_calibration
  const char *calib;             // or absent: measured ceilings, "name value unit" lines
} ts_db_device;
typedef struct ts_db_toolchain {
  const char *compiler, *version;  // (id) "llvm" "19.1.7"
  const char *runtime, *driver;    // (id) or absent
  const char *flags;               // (id) what changes generated code: generator version, options
} ts_db_toolchain;
typedef struct ts_db_environment {
  const char *kernel, *os, *hypervisor, *container;  // (id) or absent
  const char *clock_policy;                          // (id) "free", "locked 2100"
  int64_t power_limit_mw, ecc;                       // (id) or absent
  const char *mig, *governor;                        // (id) or absent
  int64_t boost;                                     // (id) or absent
  const char *detail;                                // (id) "key value" lines: load, THP, cpuset, threads
} ts_db_environment;

// What is computed and how.
typedef struct ts_db_workload {
  const char *op, *quant;  // (id) quant "" when there is none
  const char *shape;       // (id) bound parameters, sorted: "A=f32 K=4096 N=4096 n=1"
  const char *bucket;      // shape class within which one workload's winner may be tried for another
  int64_t flops, bytes;    // or absent
  ts_blob ir;              // (id) the reference function's canonical text
} ts_db_workload;
typedef struct ts_db_candidate {
  ts_id workload_id;      // (id)
  const char *generator;  // (id) "SOURCE VARIANT VERSION"; SOURCE is "default", "search", "template" or "library"
  const char *trace;      // (id) canonical trace, "" for the reference as written
  ts_blob features;       // or absent: cost model features
} ts_db_candidate;
typedef struct ts_db_build {
  ts_id candidate_id, target_id, toolchain_id;  // (id)
  const char *status;                           // (id) "ok", "refused", "failed", "timeout", "crash"
  const ts_sha256 *artifact_sha256;             // (id) or absent
  int64_t bytes, regs, spills, smem;            // or absent
  double compile_ms;                            // or absent
  const char *message;                          // or absent
} ts_db_build;
typedef struct ts_db_verdict {
  ts_id build_id, device_id;  // (id)
  const char *reference;      // (id) what it was compared with: "interpreter", "reference-build UID"
  int64_t seed;               // (id)
  double rel_l2, max_abs;     // or absent
  const char *outcome;        // (id) "ok", "wrong", "crash", "timeout", "guard", "too-fast"
  const char *message;        // or absent
  const char *utc;            // (id) or absent: now
} ts_db_verdict;

// What was measured.
typedef struct ts_db_session {
  const char *command;      // (id) the command line that reproduces it
  const char *tool;         // (id) "tunesmith 0.1.0"
  const char *git;          // (id) or absent
  int64_t seed;             // (id) or absent
  const char *budget;       // (id) or absent: "trials=200", "time=60s"
  const char *started_utc;  // (id) or absent: now
  const char *ended_utc;    // or absent: not finished
  const char *outcome;      // or absent: not finished; "done", "interrupted", "failed"
  ts_blob search_state;     // or absent
  ts_id workload_id;        // (id) or absent: the workload tuned (a tune of a model is one session a workload)
  ts_id target_id;          // (id) or absent
} ts_db_session;
typedef struct ts_db_measurement {
  ts_id build_id, device_id, environment_id, session_id;  // (id)
  const char *metric, *unit;                              // (id) "time" "ns"
  const char *timer;                                      // (id) "monotonic-raw"
  const char *cache, *launch;                             // (id) "cold-weights", "pool"
  int64_t rung;        // (id) racing rung, from 0; the interleaved final is the highest
  int64_t round;       // (id) or absent
  int64_t n, flagged;  // samples, and how many of them are flagged
  double median, min, q1, q3, mad;
  double ci_lo, ci_hi;      // or absent: 95 % interval of the median
  double clock_mhz;         // or absent
  const char *stop_reason;  // "interval", "quota", "time", "noise-stable"
  const char *utc;          // (id) or absent: now
  int64_t elapsed_ms;       // or absent: tuning time spent in the session until now, over all resumes
  ts_blob samples;          // (id) ts_samples_encode of ns
  ts_blob clocks, flags;    // or absent: same code; clocks in MHz, flags as bit masks, one a sample
} ts_db_measurement;
// Two builds measured in interleaved rounds on one device: log_ratio = ln(time of a / time of b).
typedef struct ts_db_comparison {
  ts_id a_build_id, b_build_id, device_id, environment_id, session_id;  // (id)
  const char *metric;                                                   // (id)
  int64_t rounds;
  double log_ratio, ci_lo, ci_hi;  // ci: or absent
  const char *verdict;             // (id) of a against b: "faster", "slower", "same", "unclear"
  const char *utc;                 // (id) or absent: now
} ts_db_comparison;
typedef struct ts_db_decision {
  ts_id workload_id, target_id, toolchain_id;  // (id)
  const char *policy;                          // (id) ts_db_policy
  ts_id build_id;                              // (id) the winner
  ts_id beat_build_id;                         // (id) or absent: what it was compared with, the default schedule
  double log_ratio, ci_lo, ci_hi;              // or absent: ln(time of winner / time of beaten)
  ts_id session_id;                            // (id)
  const char *utc;                             // (id) or absent: now
  ts_id revoked_by;                            // or absent
} ts_db_decision;

// Whole models.
typedef struct ts_db_model {
  const char *name, *quant;         // (id)
  int64_t params;                   // or absent
  const ts_sha256 *weights_sha256;  // (id) or absent
} ts_db_model;
typedef struct ts_db_series {
  ts_id model_id, workload_id;  // (id) or absent
  ts_id target_id;              // (id)
  const char *scenario;         // (id) "tg128 threads=2 schedule=tuned", "pp128 ..."
  const char *metric, *unit;    // (id) "decode" "tok/s"
  int64_t higher_better;        // (id)
} ts_db_series;
typedef struct ts_db_run {
  ts_id series_id, device_id, environment_id, toolchain_id;  // (id)
  const char *revision;                                      // (id) version of the program or library measured
  int64_t order_key;                                         // (id) position in the history: commit time or utc in ms
  const ts_sha256 *manifest_sha256;                          // (id) or absent: of the model library
  const char *reproduce;                                     // the command
  int64_t n;
  double median, q1, q3, mad;  // in the series' unit; the last three or absent
  ts_blob samples;             // (id) ts_samples_encode of ns, one a repetition
  const char *utc;             // (id) or absent: now
} ts_db_run;
typedef struct ts_db_counter {
  ts_id measurement_id;
  const char *name;
  double value;
} ts_db_counter;
typedef struct ts_db_run_kernel {
  ts_id run_id, build_id;
  const char *phase;  // "prefill", "decode"
  int64_t calls, total_ns;
} ts_db_run_kernel;

// For each row type T:
//   ts_db_uid_T   the identity; rows that it refers to are looked up in db (NULL will do for rows without references)
//   ts_db_put_T   the id of the row with this identity, inserted when missing; an existing row is left as it is
//   ts_db_find_T  the id of the row with this identity, or 0 (d->kind TS_OK when it is merely missing)
//   ts_db_get_T   the row, refused ("no-such-row") when there is none
// Put refuses "missing-value", "bad-value" and "no-such-row" (a reference to nothing), "store-read-only"; the
// environment fails with "store-full", "store-io", "store-busy".
#define TS_DB_ROWS(X)                                                                                          \
  X(target)                                                                                                    \
  X(device) X(toolchain) X(environment) X(workload) X(candidate) X(build) X(verdict) X(session) X(measurement) \
      X(comparison) X(decision) X(model) X(series) X(run)
#define TS_DB_DECLARE(T)                                                                          \
  bool ts_db_uid_##T(ts_db *db, const ts_db_##T *row, ts_sha256 *uid, ts_diag *d) TS_WARN_UNUSED; \
  ts_id ts_db_put_##T(ts_db *db, const ts_db_##T *row, ts_diag *d) TS_WARN_UNUSED;                \
  ts_id ts_db_find_##T(ts_db *db, const ts_sha256 *uid, ts_diag *d) TS_WARN_UNUSED;               \
  bool ts_db_get_##T(ts_db *db, ts_id id, ts_arena *a, ts_db_##T *out, ts_diag *d) TS_WARN_UNUSED;
TS_DB_ROWS(TS_DB_DECLARE)
#undef TS_DB_DECLARE
// Rows without an identity of their own; putting the same key again changes nothing.
bool ts_db_put_counter(ts_db *db, const ts_db_counter *c, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_put_run_kernel(ts_db *db, const ts_db_run_kernel *k, ts_diag *d) TS_WARN_UNUSED;

// The only updates: a device's calibration, a session's state and end a decision's revocation.
bool ts_db_set_calibration(ts_db *db, ts_id device, double noise_floor, const char *calib, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_save_session(ts_db *db, ts_id session, ts_blob state, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_end_session(ts_db *db, ts_id session, const char *outcome, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_revoke(ts_db *db, ts_id decision, ts_id by, ts_diag *d) TS_WARN_UNUSED;
// Canonical text of how winners were judged: the last part of a decision's key.
char *ts_db_policy(ts_arena *a, const char *timer, const char *launch, const char *cache, const char *clock_policy);

// --- samples (samples.c): deltas as zigzag varints; any values, typically ns -------------------------------------
ts_blob ts_samples_encode(ts_arena *a, const uint64_t *v, size_t n);
// Refuses "samples-malformed": truncated, over-long, or not exactly n values (n = SIZE_MAX: any number).
bool ts_samples_decode(ts_arena *a, ts_blob b, size_t n, uint64_t **v, size_t *count, ts_diag *d) TS_WARN_UNUSED;

// --- questions (find.c) ---------------------------------------------------------------------------------------
typedef enum ts_db_match {
  TS_DB_EXACT,  // this workload on this target
  TS_DB_NEAR,   // same op, quant, bucket and parameter names, other sizes: the trace must be checked by replay
  TS_DB_ARCH,   // this workload on another product of the same api and arch
} ts_db_match;
typedef struct ts_db_winner {
  ts_db_match match;
  double distance;  // sum over numeric parameters of |log2(theirs / ours)|
  bool stale;       // decided with another toolchain than the one asked about
  ts_id decision_id, workload_id, candidate_id, build_id, session_id;
  const char *shape, *generator, *trace, *decided_utc;
  double median;  // of the winner's best measurement, NAN when there is none
} ts_db_winner;
// Winners that may serve workload w on target t, best match first: exact, then near by distance, then arch; at most
// `max`. w and t need not be in the store. toolchain_id 0: any. policy NULL: any (newest first). None: *n = 0, true.
bool ts_db_find_winners(ts_db *db, const ts_db_workload *w, const ts_db_target *t, ts_id toolchain_id,
                        const char *policy, size_t max, ts_arena *a, ts_db_winner **out, size_t *n,
                        ts_diag *d) TS_WARN_UNUSED;

typedef struct ts_db_tried {
  ts_id candidate_id, build_id, measurement_id;  // measurement 0: never measured
  const char *generator, *trace;
  const char *status;   // of the build
  const char *outcome;  // of the newest verdict, NULL when there is none
  ts_blob features;
  int64_t rung;
  double median, q1, q3;  // of the highest rung's newest measurement, NAN when never measured
} ts_db_tried;
// Every candidate of a workload that was built for a target: verified and measured ones by median, then the others in
// order of entry. limit 0: all. session 0: of any session.
bool ts_db_list_tried(ts_db *db, ts_id workload, ts_id target, ts_id session, const char *metric, size_t limit,
                      ts_arena *a, ts_db_tried **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

// Newest session of the workload and target without an end; 0 with d->kind TS_OK when there is none.
ts_id ts_db_find_unfinished(ts_db *db, ts_id workload, ts_id target, ts_arena *a, ts_db_session *out,
                            ts_diag *d) TS_WARN_UNUSED;

typedef struct ts_db_point {
  ts_id measurement_id, build_id;
  int64_t candidates;  // distinct builds measured so far
  int64_t elapsed_ms;  // or TS_DB_NONE
  int64_t rung;
  double median, best;  // best so far; rungs above the first replace their build's earlier value
  const char *generator;
} ts_db_point;
bool ts_db_best_so_far(ts_db *db, ts_id session, const char *metric, ts_arena *a, ts_db_point **out, size_t *n,
                       ts_diag *d) TS_WARN_UNUSED;

typedef struct ts_db_history {
  ts_id run_id;
  const char *revision, *utc, *driver, *compiler;
  int64_t order_key, n;
  double median, q1, q3;
} ts_db_history;
// Runs of a series in history order; device 0: all devices.
bool ts_db_list_history(ts_db *db, ts_id series, ts_id device, ts_arena *a, ts_db_history **out, size_t *n,
                        ts_diag *d) TS_WARN_UNUSED;

// --- any read-only SQL (query.c) --------------------------------------------------------------------------------
typedef enum ts_db_type { TS_DB_NULL, TS_DB_INT, TS_DB_REAL, TS_DB_TEXT, TS_DB_BLOB } ts_db_type;
typedef struct ts_db_cell {
  ts_db_type type;
  int64_t i;
  double r;          // also set for TS_DB_INT
  const char *text;  // TS_DB_TEXT; NUL-terminated
  ts_blob blob;      // TS_DB_TEXT and TS_DB_BLOB
} ts_db_cell;
typedef struct ts_db_table {
  int ncols;
  const char *const *cols;
  size_t nrows;
  const ts_db_cell *cells;  // row by row
} ts_db_table;
typedef struct ts_db_param {  // :name in the SQL
  const char *name;
  ts_db_cell value;
} ts_db_param;
// One statement that only reads; refuses "sql" with SQLite's words and "sql-writes".
bool ts_db_query(ts_db *db, const char *sql, const ts_db_param *params, int nparams, ts_arena *a, ts_db_table *out,
                 ts_diag *d) TS_WARN_UNUSED;
// All reads between the two see one state of the store.
bool ts_db_begin_read(ts_db *db, ts_diag *d) TS_WARN_UNUSED;
void ts_db_end_read(ts_db *db);

// --- whole stores (merge.c, check.c, export.c) ------------------------------------------------------------------
typedef struct ts_db_merged {
  int64_t added, known;  // rows
} ts_db_merged;
// Add every row of the store at `from` that this one lacks, in one transaction. Identities are recomputed: a row that
// does not hash to its uid is refused ("store-tampered") and nothing is added.
bool ts_db_merge(ts_db *db, const char *from, ts_db_merged *out, ts_diag *d) TS_WARN_UNUSED;
// SQLite's own integrity check, foreign keys, identities, samples. One line a fault into `report`; true: no fault.
bool ts_db_check(ts_db *db, ts_text *report, ts_diag *d) TS_WARN_UNUSED;
bool ts_db_vacuum(ts_db *db, ts_diag *d) TS_WARN_UNUSED;
typedef enum ts_db_format { TS_DB_JSONL, TS_DB_CSV } ts_db_format;
// Rows of one table (NULL: every table with an identity; only as jsonl) to `out`, called `name` in messages. Hashes and
// blobs in hex, samples as numbers, references as uids.
bool ts_db_export(ts_db *db, const char *table, ts_db_format format, FILE *out, const char *name,
                  ts_diag *d) TS_WARN_UNUSED;

#endif
