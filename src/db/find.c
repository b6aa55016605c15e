// The questions that tuning, building and reporting ask of a store.
#include <math.h>
#include <stdlib.h>

#include "db/db_impl.h"

// --- winners --------------------------------------------------------------------------------------------------------

// Distance between two shapes "A=f32 K=4096 n=1": the sum of |log2| of the ratios of their numbers; negative when they
// are not comparable (other names, or another value that is not a number).
static double shape_distance(const char *a, const char *b) {
  double sum = 0;
  while (*a && *b) {
    size_t na = strcspn(a, " "), nb = strcspn(b, " "), ka = strcspn(a, "= "), kb = strcspn(b, "= ");
    if (ka != kb || ka == na || kb == nb || memcmp(a, b, ka) != 0) return -1;
    char *ea, *eb;
    long long va = strtoll(a + ka + 1, &ea, 10), vb = strtoll(b + kb + 1, &eb, 10);
    bool numbers = ea == a + na && eb == b + nb && va > 0 && vb > 0;
    if (numbers)
      sum += fabs(log2((double)vb / (double)va));
    else if (na != nb || memcmp(a, b, na) != 0)
      return -1;
    a += na + (a[na] == ' ');
    b += nb + (b[nb] == ' ');
  }
  return *a || *b ? -1 : sum;
}

#define TIME_OF_BUILD                                                             \
  "(SELECT m.median FROM measurement m WHERE m.build_id=b.id AND m.metric='time'" \
  " ORDER BY m.rung DESC, m.utc DESC, m.id DESC LIMIT 1)"

// ?1 workload uid, ?2 target uid, ?3 policy or NULL, ?4 toolchain, ?5 op, ?6 quant, ?7 bucket, ?8 api, ?9 arch.
static const char *const winner_where[] = {
    [TS_DB_EXACT] = "x.uid=?1 AND t.uid=?2",
    [TS_DB_NEAR] = "x.uid<>?1 AND t.uid=?2 AND x.op=?5 AND x.quant=?6 AND x.bucket=?7",
    [TS_DB_ARCH] = "x.uid=?1 AND t.uid<>?2 AND t.api=?8 AND t.arch=?9",
};

typedef struct lookup {
  const ts_db_workload *w;
  const ts_db_target *t;
  ts_sha256 wuid, tuid;
  ts_id toolchain;
  const char *policy;
} lookup;
typedef TS_VEC(ts_db_winner) winners;

static sqlite3_stmt *winner_statement(ts_db *db, const lookup *q, ts_db_match match, ts_diag *d) {
  ts_text sql = {0};
  ts_text_addf(&sql,
               "SELECT w.id, x.id, c.id, b.id, w.session_id, x.shape, c.generator, c.trace, w.utc, " TIME_OF_BUILD
               ", w.toolchain_id FROM winner w JOIN workload x ON x.id=w.workload_id JOIN target t ON t.id=w.target_id"
               " JOIN build b ON b.id=w.build_id JOIN candidate c ON c.id=b.candidate_id"
               " WHERE %s AND (?3 IS NULL OR w.policy=?3) ORDER BY w.toolchain_id=?4 DESC, w.utc DESC, w.id DESC",
               winner_where[match]);
  sqlite3_stmt *s = ts__db_prepare(db, ts_text_str(&sql), d);
  ts_text_free(&sql);
  if (!s) return NULL;
  sqlite3_bind_blob(s, 1, q->wuid.b, 32, SQLITE_STATIC);
  sqlite3_bind_blob(s, 2, q->tuid.b, 32, SQLITE_STATIC);
  if (q->policy) sqlite3_bind_text(s, 3, q->policy, -1, SQLITE_STATIC);
  sqlite3_bind_int64(s, 4, q->toolchain);
  const char *texts[] = {q->w->op, q->w->quant, q->w->bucket, q->t->api, q->t->arch};
  for (int i = 0; i < 5; i++) sqlite3_bind_text(s, 5 + i, texts[i], -1, SQLITE_STATIC);
  return s;
}

static ts_db_winner winner_at(sqlite3_stmt *s, const lookup *q, ts_db_match match, ts_arena *a) {
  ts_db_winner w = {
      .match = match,
      .decision_id = sqlite3_column_int64(s, 0),
      .workload_id = sqlite3_column_int64(s, 1),
      .candidate_id = sqlite3_column_int64(s, 2),
      .build_id = sqlite3_column_int64(s, 3),
      .session_id = sqlite3_column_int64(s, 4),
      .shape = ts__text_at(s, 5, a),
      .generator = ts__text_at(s, 6, a),
      .trace = ts__text_at(s, 7, a),
      .decided_utc = ts__text_at(s, 8, a),
      .median = ts__real_at(s, 9),
      .stale = q->toolchain && sqlite3_column_int64(s, 10) != q->toolchain,
  };
  w.distance = match == TS_DB_NEAR ? shape_distance(q->w->shape, w.shape) : 0;
  return w;
}

// The first row of each workload (and, for other products, of each match) counts: rows come best first.
static void add_winner(winners *v, ts_db_winner w, ts_arena *a) {
  if (w.distance < 0) return;
  for (size_t i = 0; i < v->n; i++)
    if (v->p[i].match == w.match && v->p[i].workload_id == w.workload_id) return;
  ts_vec_push(a, v, w);
}

static int by_match_and_distance(const void *pa, const void *pb) {
  const ts_db_winner *a = pa, *b = pb;
  if (a->match != b->match) return a->match < b->match ? -1 : 1;
  if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
  return a->decision_id < b->decision_id ? 1 : -1;
}

bool ts_db_find_winners(ts_db *db, const ts_db_workload *w, const ts_db_target *t, ts_id toolchain_id,
                        const char *policy, size_t max, ts_arena *a, ts_db_winner **out, size_t *n, ts_diag *d) {
  lookup q = {.w = w, .t = t, .toolchain = toolchain_id, .policy = policy};
  TS_TRY(ts_db_uid_workload(db, w, &q.wuid, d));
  TS_TRY(ts_db_uid_target(db, t, &q.tuid, d));
  winners v = {0};
  int rc = SQLITE_DONE;
  for (int match = TS_DB_EXACT; match <= TS_DB_ARCH && rc == SQLITE_DONE; match++) {
    sqlite3_stmt *s = winner_statement(db, &q, (ts_db_match)match, d);
    if (!s) return false;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) add_winner(&v, winner_at(s, &q, (ts_db_match)match, a), a);
    if (rc != SQLITE_DONE) ts__db_fail(db, d, "find winners");
    sqlite3_finalize(s);
  }
  if (rc != SQLITE_DONE) return false;
  if (v.n) qsort(v.p, v.n, sizeof *v.p, by_match_and_distance);
  *out = v.p;
  *n = TS_MIN(v.n, max);
  return true;
}

// --- candidates tried
// ---------------------------------------------------------------------------------------------------

static const char tried_sql[] =
    "SELECT c.id, b.id, m.id, c.generator, c.trace, b.status, "
    "  (SELECT v.outcome FROM verdict v WHERE v.build_id=b.id ORDER BY v.utc DESC, v.id DESC LIMIT 1) AS outcome, "
    "  c.features, m.rung, m.median, m.q1, m.q3 "
    "FROM candidate c JOIN build b ON b.candidate_id=c.id AND b.target_id=?2 "
    "LEFT JOIN measurement m ON m.id=(SELECT k.id FROM measurement k WHERE k.build_id=b.id AND k.metric=?3 "
    "  AND (?4=0 OR k.session_id=?4) ORDER BY k.rung DESC, k.utc DESC, k.id DESC LIMIT 1) "
    "WHERE c.workload_id=?1 AND (?4=0 OR m.id IS NOT NULL) "
    "ORDER BY m.median IS NULL OR b.status<>'ok' OR coalesce(outcome,'ok')<>'ok', "
    "  CASE WHEN b.status='ok' AND coalesce(outcome,'ok')='ok' THEN m.median END, b.id LIMIT ?5";

bool ts_db_list_tried(ts_db *db, ts_id workload, ts_id target, ts_id session, const char *metric, size_t limit,
                      ts_arena *a, ts_db_tried **out, size_t *n, ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(db, tried_sql, d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, workload);
  sqlite3_bind_int64(s, 2, target);
  sqlite3_bind_text(s, 3, metric, -1, SQLITE_STATIC);
  sqlite3_bind_int64(s, 4, session);
  sqlite3_bind_int64(s, 5, limit ? (int64_t)limit : -1);
  TS_VEC(ts_db_tried) v = {0};
  int rc;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    ts_db_tried t = {
        .candidate_id = sqlite3_column_int64(s, 0),
        .build_id = sqlite3_column_int64(s, 1),
        .measurement_id = sqlite3_column_int64(s, 2),
        .generator = ts__text_at(s, 3, a),
        .trace = ts__text_at(s, 4, a),
        .status = ts__text_at(s, 5, a),
        .outcome = ts__text_at(s, 6, a),
        .features = ts__blob_at(s, 7, a),
        .rung = sqlite3_column_int64(s, 8),
        .median = ts__real_at(s, 9),
        .q1 = ts__real_at(s, 10),
        .q3 = ts__real_at(s, 11),
    };
    ts_vec_push(a, &v, t);
  }
  if (rc != SQLITE_DONE) ts__db_fail(db, d, "list candidates");
  sqlite3_finalize(s);
  *out = v.p;
  *n = v.n;
  return rc == SQLITE_DONE;
}

// --- sessions
// ---------------------------------------------------------------------------------------------------------------

ts_id ts_db_find_unfinished(ts_db *db, ts_id workload, ts_id target, ts_arena *a, ts_db_session *out, ts_diag *d) {
  if (d) d->kind = TS_OK;
  sqlite3_stmt *s = ts__db_prepare(db,
                                   "SELECT id FROM session WHERE workload_id=?1 AND target_id=?2 AND ended_utc IS NULL "
                                   "ORDER BY started_utc DESC, id DESC LIMIT 1",
                                   d);
  if (!s) return 0;
  sqlite3_bind_int64(s, 1, workload);
  sqlite3_bind_int64(s, 2, target);
  int rc = sqlite3_step(s);
  ts_id id = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) ts__db_fail(db, d, "find a session");
  sqlite3_finalize(s);
  return id && ts_db_get_session(db, id, a, out, d) ? id : 0;
}

typedef struct build_time {
  ts_id build;
  int64_t rung;
  double median;
} build_time;
typedef TS_VEC(build_time) build_times;

// Note a build's newest value (a lower rung never replaces a higher one); returns the smallest of all builds'.
static double note_time(build_times *seen, ts_id build, int64_t rung, double median, ts_arena *a) {
  size_t i = 0;
  while (i < seen->n && seen->p[i].build != build) i++;
  if (i == seen->n)
    ts_vec_push(a, seen, ((build_time){build, rung, median}));
  else if (rung >= seen->p[i].rung)
    seen->p[i] = (build_time){build, rung, median};
  double best = seen->p[0].median;
  for (size_t j = 1; j < seen->n; j++) best = TS_MIN(best, seen->p[j].median);
  return best;
}

bool ts_db_best_so_far(ts_db *db, ts_id session, const char *metric, ts_arena *a, ts_db_point **out, size_t *n,
                       ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(
      db,
      "SELECT m.id, m.build_id, m.elapsed_ms, m.rung, m.median, c.generator FROM measurement m JOIN build b ON "
      "b.id=m.build_id "
      "JOIN candidate c ON c.id=b.candidate_id WHERE m.session_id=?1 AND m.metric=?2 ORDER BY m.utc, m.id",
      d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, session);
  sqlite3_bind_text(s, 2, metric, -1, SQLITE_STATIC);
  TS_VEC(ts_db_point) v = {0};
  build_times seen = {0};
  int rc;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    ts_db_point p = {.measurement_id = sqlite3_column_int64(s, 0),
                     .build_id = sqlite3_column_int64(s, 1),
                     .elapsed_ms = ts__int_at(s, 2),
                     .rung = sqlite3_column_int64(s, 3),
                     .median = ts__real_at(s, 4),
                     .generator = ts__text_at(s, 5, a)};
    p.best = note_time(&seen, p.build_id, p.rung, p.median, a);
    p.candidates = (int64_t)seen.n;
    ts_vec_push(a, &v, p);
  }
  if (rc != SQLITE_DONE) ts__db_fail(db, d, "best so far");
  sqlite3_finalize(s);
  *out = v.p;
  *n = v.n;
  return rc == SQLITE_DONE;
}

// --- history
// ------------------------------------------------------------------------------------------------------------------

bool ts_db_list_history(ts_db *db, ts_id series, ts_id device, ts_arena *a, ts_db_history **out, size_t *n,
                        ts_diag *d) {
  sqlite3_stmt *s = ts__db_prepare(
      db,
      "SELECT r.id, r.revision, r.utc, k.driver, k.compiler||' '||k.version, r.order_key, r.n, r.median, r.q1, r.q3 "
      "FROM run r JOIN toolchain k ON k.id=r.toolchain_id WHERE r.series_id=?1 AND (?2=0 OR r.device_id=?2) "
      "ORDER BY r.order_key, r.utc, r.id",
      d);
  if (!s) return false;
  sqlite3_bind_int64(s, 1, series);
  sqlite3_bind_int64(s, 2, device);
  TS_VEC(ts_db_history) v = {0};
  int rc;
  while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
    ts_db_history h = {
        .run_id = sqlite3_column_int64(s, 0),
        .revision = ts__text_at(s, 1, a),
        .utc = ts__text_at(s, 2, a),
        .driver = ts__text_at(s, 3, a),
        .compiler = ts__text_at(s, 4, a),
        .order_key = sqlite3_column_int64(s, 5),
        .n = sqlite3_column_int64(s, 6),
        .median = ts__real_at(s, 7),
        .q1 = ts__real_at(s, 8),
        .q3 = ts__real_at(s, 9),
    };
    ts_vec_push(a, &v, h);
  }
  if (rc != SQLITE_DONE) ts__db_fail(db, d, "history");
  sqlite3_finalize(s);
  *out = v.p;
  *n = v.n;
  return rc == SQLITE_DONE;
}
