// The parent's side of a step: gives kernels to its worker, asks for times.
#include <stdlib.h>

#include "measure/measure_impl.h"

struct ts_step {
  ts__step_arg arg;
  ts_worker worker;
  int64_t rows;
  int n;  // kernels given
  size_t culprit;
};

enum { READY_S = 60, ADD_S = 30, TIME_S = 60 };

static bool failed(ts_step *s, const char *why, ts_diag *d) {
  ts_worker_stop(&s->worker, NULL);
  return ts_env_fail(d, "step-failed", "the worker that runs a whole step ended: %s", why);
}

// What the worker says next; doubles of it to ns, n of them. A refusal of one kernel leaves the worker as it was.
static bool answer(ts_step *s, double timeout_s, double *ns, size_t n, ts_diag *d) {
  ts_text t = {0};
  ts__reply r = ts__reply_new("");
  int got = ts_msg_recv(s->worker.fd, &t, timeout_s);
  bool whole = got == 1 && t.n >= sizeof r;
  if (whole) memcpy(&r, t.p, sizeof r);
  whole = whole && t.n == sizeof r + r.n * 17;
  bool ok = whole && r.kind == TS_MEASURED && !r.over && r.n == n;
  if (ok && n) memcpy(ns, t.p + sizeof r, n * sizeof *ns);
  ts_text_free(&t);
  if (ok) return true;
  if (whole && r.kind == TS_WRONG && !r.over) return ts_refuse(d, "not-in-step", "%s", r.message);
  if (whole) s->culprit = r.culprit;
  return failed(s, whole ? r.message : got == 0 ? "no answer" : "no word", d);
}

ts_step *ts_step_open(const ts_workload *const *parts, size_t nparts, const ts_step_call *calls, size_t ncalls, int64_t rows, uint64_t seed, ts_diag *d) {
  ts_step *s = calloc(1, sizeof *s);
  if (!s) abort();
  s->arg = (ts__step_arg){.parts = parts, .nparts = nparts, .calls = calls, .ncalls = ncalls, .seed = seed, .target = parts[0]->target};
  s->rows = rows;
  ts_diag why = {0};
  bool started = ts_worker_start(&s->worker, ts__gpu_step_serve, &s->arg, &why) || failed(s, why.message, d);
  if (started && answer(s, READY_S, NULL, 0, d)) return s;
  ts_step_close(s);
  return NULL;
}

void ts_step_close(ts_step *s) {
  if (!s) return;
  ts_worker_stop(&s->worker, NULL);
  free(s);
}

static bool send(ts_step *s, const ts__step_request *q, const void *more, size_t n) {
  ts_text t = {0};
  ts_text_addn(&t, (const char *)q, sizeof *q);
  ts_text_addn(&t, more, n);
  bool ok = s->worker.pid && ts_msg_send(s->worker.fd, t.p, t.n);
  ts_text_free(&t);
  return ok;
}

// Which of f's dimensions is called so; -1: none.
static int dim_of(const ts_func *f, const char *name) {
  for (int i = 0; i < f->ndims; i++)
    if (strcmp(f->dims[i].var->name, name) == 0) return i;
  return -1;
}

// The dimensions of the reference in this step.
static bool dims_of_step(const ts_step *s, const ts_workload *w, int64_t *dims, ts_diag *d) {
  int n = dim_of(w->reference, "n");
  memcpy(dims, w->dims[0], sizeof w->dims[0]);
  if (n < 0 || !s->rows) return true;
  const ts_dim *m = &w->reference->dims[n];
  if (s->rows < m->lo || s->rows > m->hi || s->rows % m->multiple) return ts_refuse(d, "not-in-step", "%s serves no %lld rows", w->spec.op, (long long)s->rows);
  return dims[n] = s->rows, true;
}

// The cache has room for the rows behind as many tokens.
static int64_t most_tokens(const ts_step *s, const ts_func *f, int t) {
  int n = dim_of(f, "n");
  int64_t more = n >= 0 ? TS_MAX(s->rows - f->dims[n].lo, (int64_t)0) : 0;
  return TS_MAX(f->dims[t].hi - more, f->dims[t].lo);
}

bool ts_step_add(ts_step *s, size_t part, const ts_func *f, const ts_object *o, int *id, ts_diag *d) {
  const ts_workload *w = s->arg.parts[part];
  ts__step_request q;
  memset(&q, 0, sizeof q);  // it travels as bytes
  q.add = true;
  q.part = part;
  q.t = dim_of(f, "t");
  if (q.t >= 0) q.t_most = most_tokens(s, f, q.t);
  int64_t dims[8];
  TS_TRY(dims_of_step(s, w, dims, d));
  TS_TRY(ts__layout_of(f, &w->spec, w->reference, dims, &q.layout, d) && ts__dims_of(f, w->reference, dims, q.dims, d));
  if (!send(s, &q, o->bytes, o->n)) return failed(s, "it is gone", d);
  TS_TRY(answer(s, ADD_S, NULL, 0, d));
  *id = s->n++;
  return true;
}

static bool time_ways(ts_step *s, size_t setting, bool settled, const int *pick, size_t n, size_t rounds, double *ns, ts_diag *d) {
  for (size_t i = 0; i < n; i += TS__STEP_WAYS) {
    ts__step_request q;
    memset(&q, 0, sizeof q);
    q.n = TS_MIN(n - i, (size_t)TS__STEP_WAYS);
    q.rounds = rounds;
    q.setting = setting;
    q.settled = settled;
    if (!send(s, &q, pick + i * s->arg.nparts, q.n * s->arg.nparts * sizeof *pick)) return failed(s, "it is gone", d);
    if (answer(s, TIME_S, ns + i * rounds, q.n * rounds, d)) continue;
    if (s->culprit) s->culprit += i;
    return false;
  }
  return true;
}

bool ts_step_time(ts_step *s, const int *pick, size_t n, size_t rounds, double *ns, ts_diag *d) { return time_ways(s, 0, false, pick, n, rounds, ns, d); }

bool ts_step_time_in(ts_step *s, size_t setting, const int *pick, size_t n, size_t rounds, double *ns, ts_diag *d) { return time_ways(s, setting, true, pick, n, rounds, ns, d); }

size_t ts_step_culprit(const ts_step *s) { return s->culprit; }
