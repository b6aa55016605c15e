// The parent's side: sends candidates to the worker, restarts it, turns its end into an outcome.
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "measure/measure_impl.h"

const ts_effort ts_effort_search = {.min_samples = 8, .max_samples = 40, .half_width = 0.02, .max_s = 0.2};
const ts_effort ts_effort_publish = {.min_samples = 30, .max_samples = 400, .half_width = 0.005, .max_s = 3};

// What the worker has been sent, so that a new worker can be given it again.
typedef struct known {
  uint64_t tag;
  ts__request request;
  char *bytes;
  bool loaded;      // in the present worker
  uint64_t placed;  // when, in placements of the present worker
} known;

struct ts_meter {
  ts__worker_arg arg;
  const ts_workload **all;
  ts_worker worker;
  bool waiting;  // for the worker's word that it is prepared
  int restarts;
  double busy_s;
  uint64_t placements;  // in the present worker
  size_t n, cap;
  known *k;
};

const char *ts_outcome_kind_name(ts_outcome_kind k) {
  static const char *const names[] = {"ok", "wrong", "guard", "crash", "timeout"};
  return names[k];
}

// Until the worker has something to say, or the time is over, somebody else may work.
static void idle(const ts_meter *m, double timeout_s) {
  enum { SLICE_MS = 3 };
  const ts_meter_opts *o = &m->arg.opts;
  struct pollfd q = {.fd = m->worker.fd, .events = POLLIN};
  uint64_t end = ts_now_ns() + (uint64_t)(timeout_s * 1e9);
  while (o->idle && ts_now_ns() < end && poll(&q, 1, SLICE_MS) == 0) o->idle(o->idle_arg);
}

static bool read_reply(ts_meter *m, double timeout_s, ts_arena *a, ts__reply *r, ts_outcome_row *row, int *got) {
  ts_text t = {0};
  uint64_t begin = ts_now_ns();
  idle(m, timeout_s);
  timeout_s = fmax(0.01, timeout_s - (double)(ts_now_ns() - begin) * 1e-9);
  *got = ts_msg_recv(m->worker.fd, &t, timeout_s);
  bool ok = *got == 1 && t.n >= sizeof *r;
  if (ok) {
    memcpy(r, t.p, sizeof *r);
    ok = t.n == sizeof *r + r->n * 17;
  }
  if (ok && row) {
    row->samples = ts_arena_dup(a, t.p + sizeof *r, r->n * 8);
    row->clocks = ts_arena_dup(a, t.p + sizeof *r + r->n * 8, r->n * 8);
    row->flags = ts_arena_dup(a, t.p + sizeof *r + r->n * 16, r->n);
  }
  if (ok) m->busy_s += r->busy_s;
  ts_text_free(&t);
  return ok;
}

static bool launch(ts_meter *m, ts_diag *d) {
  for (size_t i = 0; i < m->n; i++) m->k[i].loaded = false;
  m->placements = 0;
  m->waiting = true;
  return ts_worker_start(&m->worker, m->arg.w->target.api == TS_API_CUDA ? ts__gpu_worker_serve : ts__worker_serve, &m->arg, d);
}

bool ts_meter_wait(ts_meter *m, ts_diag *d) {
  if (!m->worker.pid) TS_TRY(launch(m, d));
  if (!m->waiting) return true;
  ts__reply r;
  int got;
  m->waiting = false;
  if (read_reply(m, 120, NULL, &r, NULL, &got) && r.kind == TS_MEASURED) return true;
  ts_worker_stop(&m->worker, NULL);
  return ts_env_fail(d, "worker-failed", "the measuring worker did not start: %s", got == 1 ? r.message : "it ended");
}

ts_meter *ts_meter_start_all(const ts_workload *const *w, size_t n, const ts_meter_opts *o, ts_diag *d) {
  ts_meter *m = calloc(1, sizeof *m);
  const ts_workload **all = malloc(n * sizeof *all);
  if (!m || !all) abort();
  memcpy(all, w, n * sizeof *all);
  m->all = all;
  m->arg = (ts__worker_arg){.w = w[0], .all = all, .opts = *o};
  if (m->arg.opts.timeout_s <= 0) m->arg.opts.timeout_s = 20;
  if (launch(m, d)) return m;
  ts_meter_close(m);
  return NULL;
}

ts_meter *ts_meter_start(const ts_workload *w, const ts_meter_opts *o, ts_diag *d) { return ts_meter_start_all(&w, 1, o, d); }

ts_meter *ts_meter_open(const ts_workload *w, const ts_meter_opts *o, ts_diag *d) {
  ts_meter *m = ts_meter_start(w, o, d);
  if (!m || ts_meter_wait(m, d)) return m;
  ts_meter_close(m);
  return NULL;
}

void ts_meter_quit(ts_meter *m) {
  if (m->worker.pid) kill(m->worker.pid, SIGKILL);
}

static void forget(ts_meter *m) {
  for (size_t i = 0; i < m->n; i++) free(m->k[i].bytes);
  m->n = 0;
}

void ts_meter_close(ts_meter *m) {
  if (!m) return;
  ts_worker_stop(&m->worker, NULL);
  forget(m);
  free(m->k);
  free(m->all);
  free(m);
}

// A worker that is still there and serves several workloads is told; else another is started.
bool ts_meter_turn(ts_meter *m, size_t which, ts_diag *d) {
  ts_diag ignored = {0};
  ts__request q = {.verb = TS__TURN, .tag = which};
  if (m->arg.w == m->all[which]) return true;
  if (m->waiting) (void)!ts_meter_wait(m, &ignored);
  forget(m);
  m->arg.w = m->all[which];
  m->placements = 0;
  m->waiting = m->worker.pid && m->arg.w->target.api == TS_API_CUDA && ts_msg_send(m->worker.fd, &q, sizeof q);
  if (m->waiting) return true;
  ts_worker_stop(&m->worker, NULL);
  return launch(m, d);
}

int ts_meter_restarts(const ts_meter *m) { return m->restarts; }
double ts_meter_busy_s(const ts_meter *m) { return m->busy_s; }

static known *remember(ts_meter *m, uint64_t tag) {
  for (size_t i = 0; i < m->n; i++)
    if (m->k[i].tag == tag) return &m->k[i];
  if (m->n == m->cap) {
    m->cap = m->cap ? 2 * m->cap : 64;
    m->k = realloc(m->k, m->cap * sizeof *m->k);
    if (!m->k) abort();
  }
  m->k[m->n] = (known){.tag = tag};
  return &m->k[m->n++];
}

static bool describe(const ts_meter *m, const ts_func *f, ts__layout layout[TS__CASES], int64_t dims[TS__CASES][8], ts_diag *d) {
  const ts_workload *w = m->arg.w;
  for (int i = 0; i < TS__CASES; i++) {
    TS_TRY(ts__layout_of(f, &w->spec, w->reference, w->dims[i], &layout[i], d));
    TS_TRY(ts__dims_of(f, w->reference, w->dims[i], dims[i], d));
  }
  return true;
}

static bool send_request(ts_meter *m, const known *k) {
  ts_text t = {0};
  ts_text_addn(&t, (const char *)&k->request, sizeof k->request);
  ts_text_addn(&t, k->bytes, k->request.object.n + k->request.pack_object.n);
  bool ok = ts_msg_send(m->worker.fd, t.p, t.n);
  ts_text_free(&t);
  return ok;
}

// The worker is gone or hangs: end it, and say what happened.
static void bury(ts_meter *m, int got, ts_outcome_row *out) {
  ts_proc_result end;
  ts_worker_stop(&m->worker, &end);
  m->restarts++;
  out->kind = got == 0 ? TS_TIMED_OUT : TS_CRASHED;
  if (got == 0) snprintf(out->message, sizeof out->message, "no answer within %.0f s", m->arg.opts.timeout_s);
  else snprintf(out->message, sizeof out->message, "the worker ended with signal %d, exit code %d", end.signal, end.exit_code);
}

static void fill_row(const ts__reply *r, ts_arena *a, ts_outcome_row *out) {
  out->kind = r->kind;
  out->rel_error = r->rel_error;
  out->rel_l2 = r->rel_l2;
  memcpy(out->message, r->message, sizeof out->message);
  out->n = r->n;
  out->stats = ts_stats_of(out->samples, r->n);
  out->stop = ts_arena_strdup(a, r->stop);
  out->timer = ts_arena_strdup(a, r->timer);
  out->state = r->state;
}

// The worker said that it ends.
static void retire(ts_meter *m) {
  ts_worker_stop(&m->worker, NULL);
  m->restarts++;
}

static void exchange(ts_meter *m, known *k, ts_arena *a, ts_outcome_row *out) {
  ts__reply r;
  int got = -1;
  k->placed = ++m->placements;
  bool ok = send_request(m, k) && read_reply(m, m->arg.opts.timeout_s, a, &r, out, &got);
  k->loaded = ok && r.kind == TS_MEASURED;
  if (!ok) {
    bury(m, got, out);
    return;
  }
  fill_row(&r, a, out);
  if (r.over) retire(m);
}

bool ts_meter_run(ts_meter *m, uint64_t tag, const ts_candidate *c, const ts_effort *e, ts_arena *a, ts_outcome_row *out, ts_diag *d) {
  *out = (ts_outcome_row){.stop = "", .timer = ""};
  TS_TRY(ts_meter_wait(m, d));
  ts__request q = {.verb = TS__RUN, .tag = tag, .effort = *e, .object = *c->object, .has_pack = c->pack != NULL,
                   .tolerance = c->tolerance > 0 ? c->tolerance : m->arg.w->tolerance};
  TS_TRY(ts_func_serves(c->func, m->arg.w->reference, d));
  TS_TRY(describe(m, c->func, q.main, q.dims, d));
  q.tolerance = fmax(q.tolerance, ts__rounding_of(&q.main[0]));
  if (c->pack) {
    q.pack_object = *c->pack_object;
    TS_TRY(describe(m, c->pack, q.pack, q.pack_dims, d));
  }
  known *k = remember(m, tag);
  free(k->bytes);
  k->request = q;
  k->bytes = malloc(q.object.n + q.pack_object.n + 1);
  if (!k->bytes) return ts_env_fail(d, "out-of-memory", "no memory for a candidate");
  memcpy(k->bytes, c->object->bytes, q.object.n);
  if (c->pack) memcpy(k->bytes + q.object.n, c->pack_object->bytes, q.pack_object.n);
  exchange(m, k, a, out);
  return true;
}

// Whether the worker still has it after `more` further placements. ORDER: as place() of the worker makes room.
static bool still_there(const ts_meter *m, const known *k, size_t more) {
  return k->loaded && m->placements + more < k->placed + TS__MOST_KERNELS;
}

// Give the worker a candidate again when it lacks it, or would lack it once the `n` of a final are loaded.
static bool reload(ts_meter *m, uint64_t tag, size_t n, ts_arena *a, ts_diag *d) {
  for (size_t i = 0; i < m->n; i++) {
    known *k = &m->k[i];
    if (k->tag != tag || still_there(m, k, n)) continue;
    ts_outcome_row row;
    bool timed = k->request.keep_only;
    k->request.keep_only = true;
    exchange(m, k, a, &row);
    k->request.keep_only = timed;
    TS_TRY(ts_meter_wait(m, d));
  }
  return true;
}

static bool final_failed(const char *why, ts_diag *d) { return ts_env_fail(d, "final-failed", "the worker ended during the final: %s", why); }

bool ts_meter_final(ts_meter *m, const uint64_t *tags, size_t n, size_t rounds, double max_s, ts_arena *a, ts_outcome_row *out, ts_diag *d) {
  TS_TRY(ts_meter_wait(m, d));
  for (size_t i = 0; i < n; i++) TS_TRY(reload(m, tags[i], n, a, d));
  ts__request q = {.verb = TS__FINAL, .tag = 1, .ntags = n, .rounds = rounds, .max_s = max_s};
  ts_text t = {0};
  ts_text_addn(&t, (const char *)&q, sizeof q);
  ts_text_addn(&t, (const char *)tags, n * sizeof *tags);
  bool sent = ts_msg_send(m->worker.fd, t.p, t.n);
  ts_text_free(&t);
  for (size_t i = 0; i < n; i++) out[i] = (ts_outcome_row){.stop = "", .timer = ""};
  for (size_t i = 0; i < n; i++) {
    ts_outcome_row row = out[i];
    ts__reply r;
    int got = -1;
    if (!sent || !read_reply(m, max_s + m->arg.opts.timeout_s, a, &r, &row, &got)) {
      bury(m, got, &row);
      return final_failed(row.message, d);
    }
    fill_row(&r, a, &row);
    out[r.over && r.culprit && r.culprit <= n ? r.culprit - 1 : i] = row;
    if (!r.over) continue;
    retire(m);
    return final_failed(row.message, d);
  }
  return true;
}

bool ts_meter_count(ts_meter *m, uint64_t tag, ts_arena *a, const double **values, size_t *n, const char **why, ts_diag *d) {
  ts__request q = {.verb = TS__COUNT, .tag = tag};
  ts_outcome_row row = {0};
  ts__reply r;
  int got = -1;
  *n = 0;
  *why = "only GPUs are asked";
  if (m->arg.w->target.api != TS_API_CUDA) return true;
  TS_TRY(ts_meter_wait(m, d) && reload(m, tag, 1, a, d));
  if (!ts_msg_send(m->worker.fd, &q, sizeof q) || !read_reply(m, m->arg.opts.timeout_s, a, &r, &row, &got)) {
    bury(m, got, &row);
    *why = ts_arena_strdup(a, row.message);
    return true;
  }
  *why = ts_arena_strdup(a, r.message);
  *values = row.samples;
  *n = r.n;
  if (r.over) retire(m);
  return true;
}
