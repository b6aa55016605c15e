// The pool of compile workers.
//
//   queued --dispatch--> running --reply--> finished --next--> (gone)
//   submit finds the object in the cache: finished at once
//   running --death or timeout of the worker--> finished with a refusal; the worker is replaced at the next dispatch
//
// A worker receives a function's text, or a native unit's name and bytes, and answers with a reply and the object's bytes.
// Its standard error goes to a file in memory, from which the last words of a crash are quoted.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codegen/codegen_impl.h"

enum { MOST_WORKERS = 256 };
enum { IS_FUNC = 'f', IS_UNIT = 'u' };  // first byte of a job's text

typedef struct job {
  struct job *next;
  uint64_t tag;
  ts_text text;      // a byte that says which; the function, or name, zero byte and bytes of a unit
  ts_object object;  // identity; bytes once finished (malloc'ed)
  bool ok;
  ts_diag diag;
} job;

typedef struct list {
  job *first, **end;
} list;

typedef struct slot {
  ts_worker w;
  int log;  // its standard error
  job *running;
  uint64_t deadline;
} slot;

struct ts_compiler {
  ts_target target;
  char *cache;  // or NULL
  double timeout_s;
  int nslots, pending;
  slot *slots;
  list queued, finished;
};

typedef struct reply {
  bool ok;
  ts_diag diag;
  double compile_s;
} reply;

// --- in the worker ------------------------------------------------------------------------------------------------

static bool compile(ts_arena *a, const ts_compiler *c, const ts_text *text, ts_object *o, ts_diag *d) {
  const char *p = text->p + 1;
  size_t n = text->n - 1;
  if (text->p[0] == IS_UNIT) {
    size_t name = strlen(p) + 1;
    return ts_codegen_unit(&(ts_unit){.name = p, .bytes = p + name, .n = n - name}, &c->target, a, o, d);
  }
  ts_ir *ir = ts_ir_new(a);
  const ts_func *f = ts_func_parse(ir, "candidate", p, n, NULL, 0, d);
  return f && ts_codegen_object(f, &c->target, a, o, d);
}

static bool answer(int fd, const ts_compiler *c, const ts_text *text) {
  ts_arena *a = ts_arena_new("compile");
  reply r = {0};
  ts_object o = {0};
  r.ok = compile(a, c, text, &o, &r.diag);
  r.compile_s = o.compile_s;
  ts_text out = {0};
  ts_text_addn(&out, (const char *)&r, sizeof r);
  if (r.ok) ts_text_addn(&out, o.bytes, o.n);
  bool sent = ts_msg_send(fd, out.p, out.n);
  ts_text_free(&out);
  ts_arena_free(a);
  return sent;
}

typedef struct serve_arg {
  const ts_compiler *c;
  int log;
} serve_arg;

static void serve(int fd, void *p) {
  const serve_arg *arg = p;
  for (int i = 0; i < arg->c->nslots; i++)
    if (arg->c->slots[i].w.pid) close(arg->c->slots[i].w.fd);
  if (arg->log >= 0) dup2(arg->log, 2);
  ts_text text = {0};
  while (ts_msg_recv(fd, &text, 0) == 1 && answer(fd, arg->c, &text)) {
  }
}

// --- lists --------------------------------------------------------------------------------------------------------

static void put(list *l, job *j) {
  j->next = NULL;
  if (!l->first) l->end = &l->first;
  *l->end = j;
  l->end = &j->next;
}

static job *take(list *l) {
  job *j = l->first;
  if (j) l->first = j->next;
  return j;
}

static void free_job(job *j) {
  if (!j) return;
  ts_text_free(&j->text);
  free((void *)(uintptr_t)j->object.bytes);
  free(j);
}

// --- workers ------------------------------------------------------------------------------------------------------

static bool start(ts_compiler *c, slot *s, ts_diag *d) {
  if (s->w.pid) return true;
  if (s->log < 0) s->log = memfd_create("compile log", MFD_CLOEXEC);
  if (s->log >= 0 && ftruncate(s->log, 0) == 0) lseek(s->log, 0, SEEK_SET);
  serve_arg arg = {c, s->log};
  return ts_worker_start(&s->w, serve, &arg, d);
}

// The last line that the worker wrote, "" when none.
static void last_words(const slot *s, char *out, size_t n) {
  char log[2048];
  off_t size = s->log < 0 ? 0 : lseek(s->log, 0, SEEK_END);
  size_t want = size > 0 ? TS_MIN((size_t)size, sizeof log - 1) : 0;
  ssize_t got = want ? pread(s->log, log, want, size - (off_t)want) : 0;
  log[got > 0 ? got : 0] = 0;
  char *first = strstr(log, "LLVM ERROR");
  char *p = first ? first : log;
  p[strcspn(p, "\n")] = 0;
  snprintf(out, n, "%s%.300s", *p ? ": " : "", p);
}

static void finish(ts_compiler *c, slot *s) {
  put(&c->finished, s->running);
  s->running = NULL;
}

// The worker is gone or has to go; its job fails with what is known.
static void lose(ts_compiler *c, slot *s, bool timeout) {
  job *j = s->running;
  ts_proc_result r;
  char words[400];
  if (timeout) kill(s->w.pid, SIGKILL);
  ts_worker_stop(&s->w, &r);
  last_words(s, words, sizeof words);
  if (timeout) {
    ts_refuse(&j->diag, "compiler-timeout", "%s: compiling took longer than %g s", j->object.symbol, c->timeout_s);
  } else if (r.signal) {
    ts_refuse(&j->diag, "compiler-crashed", "%s: the compiler died of signal %d (%s)%s", j->object.symbol, r.signal,
              strsignal(r.signal), words);
  } else {
    ts_refuse(&j->diag, "compiler-crashed", "%s: the compiler left with status %d%s", j->object.symbol, r.exit_code,
              words);
  }
  finish(c, s);
}

static bool give(ts_compiler *c, slot *s, job *j, ts_diag *d) {
  TS_TRY(start(c, s, d));
  s->running = j;
  s->deadline = ts_now_ns() + (uint64_t)(c->timeout_s * 1e9);
  if (!ts_msg_send(s->w.fd, j->text.p, j->text.n)) lose(c, s, false);
  return true;
}

// Idle workers take queued jobs. A worker that cannot be started fails the job.
static void dispatch(ts_compiler *c) {
  for (int i = 0; i < c->nslots && c->queued.first; i++) {
    if (c->slots[i].running) continue;
    job *j = take(&c->queued);
    if (!give(c, &c->slots[i], j, &j->diag)) put(&c->finished, j);
  }
}

static void read_reply(ts_compiler *c, slot *s) {
  ts_text in = {0};
  double left = (double)(int64_t)(s->deadline - ts_now_ns()) * 1e-9;
  int got = ts_msg_recv(s->w.fd, &in, TS_MAX(left, 0.001));
  reply r;
  if (got != 1 || in.n < sizeof r) {
    ts_text_free(&in);
    lose(c, s, got == 0);
    return;
  }
  memcpy(&r, in.p, sizeof r);
  job *j = s->running;
  j->ok = r.ok, j->diag = r.diag;
  size_t n = in.n - sizeof r;
  void *bytes = r.ok ? malloc(n ? n : 1) : NULL;
  if (bytes) {
    memcpy(bytes, in.p + sizeof r, n);
    j->object.bytes = bytes, j->object.n = n, j->object.compile_s = r.compile_s;
  } else if (r.ok) {
    j->ok = ts_env_fail(&j->diag, "no-memory", "%s: no memory for the object", j->object.symbol);
  }
  ts_text_free(&in);
  finish(c, s);
}

// Waits until a worker has something to say or the time is over; deals with every worker that has or is late.
static void attend(ts_compiler *c, uint64_t until) {
  struct pollfd q[MOST_WORKERS];
  slot *of[MOST_WORKERS];
  nfds_t n = 0;
  for (int i = 0; i < c->nslots; i++) {
    if (!c->slots[i].running) continue;
    until = TS_MIN(until, c->slots[i].deadline);
    of[n] = &c->slots[i];
    q[n++] = (struct pollfd){.fd = c->slots[i].w.fd, .events = POLLIN};
  }
  uint64_t now = ts_now_ns();
  int wait_ms = until > now ? (int)TS_MIN((until - now) / 1000000 + 1, 60000) : 0;
  if (poll(q, n, wait_ms) < 0 && errno != EINTR) return;
  for (nfds_t i = 0; i < n; i++) {
    if (q[i].revents) {
      read_reply(c, of[i]);
    } else if (ts_now_ns() >= of[i]->deadline) {
      lose(c, of[i], true);
    }
  }
}

// --- the interface ------------------------------------------------------------------------------------------------

ts_compiler *ts_compiler_open(const ts_target *t, int workers, const char *cache_dir, ts_diag *d) {
  if (cache_dir && !ts__cache_open(cache_dir, d)) return NULL;
  ts_compiler *c = calloc(1, sizeof *c);
  slot *slots = calloc((size_t)TS_MIN(TS_MAX(workers, 1), MOST_WORKERS), sizeof *slots);
  if (!c || !slots) {
    free(c);
    free(slots);
    ts_env_fail(d, "no-memory", "no memory for compile workers");
    return NULL;
  }
  c->target = *t;
  c->timeout_s = 20;
  c->slots = slots;
  c->nslots = TS_MIN(TS_MAX(workers, 1), MOST_WORKERS);
  c->cache = cache_dir ? strdup(cache_dir) : NULL;
  for (int i = 0; i < c->nslots; i++) slots[i].log = -1;
  for (int i = 0; i < c->nslots; i++) {
    if (start(c, &slots[i], d)) continue;
    ts_compiler_close(c);
    return NULL;
  }
  return c;
}

void ts_compiler_close(ts_compiler *c) {
  if (!c) return;
  for (int i = 0; i < c->nslots; i++) {
    if (c->slots[i].running) kill(c->slots[i].w.pid, SIGKILL);
    ts_worker_stop(&c->slots[i].w, NULL);
    if (c->slots[i].log >= 0) close(c->slots[i].log);
    free_job(c->slots[i].running);
  }
  for (job *j; (j = take(&c->queued));) free_job(j);
  for (job *j; (j = take(&c->finished));) free_job(j);
  free(c->slots);
  free(c->cache);
  free(c);
}

void ts_compiler_set_timeout(ts_compiler *c, double seconds) { c->timeout_s = seconds; }

int ts_compiler_pending(const ts_compiler *c) { return c->pending; }

void ts_compiler_drop(ts_compiler *c) {
  for (job *j; (j = take(&c->queued)); c->pending--) free_job(j);
  for (job *j; (j = take(&c->finished)); c->pending--) free_job(j);
  for (int i = 0; i < c->nslots; i++) {
    slot *s = &c->slots[i];
    if (!s->running) continue;
    kill(s->w.pid, SIGKILL);  // another takes its place when it is wanted
    ts_worker_stop(&s->w, NULL);
    free_job(s->running);
    s->running = NULL;
    c->pending--;
  }
}

// Fills the job from the cache; true when it was there.
static bool from_cache(ts_compiler *c, job *j) {
  ts_arena *a = ts_arena_new("cached object");
  bool hit = c->cache && ts__cache_get(c->cache, &j->object, a);
  void *bytes = hit ? malloc(j->object.n) : NULL;
  if (bytes) memcpy(bytes, j->object.bytes, j->object.n);
  j->object.bytes = bytes;
  j->ok = bytes != NULL;
  ts_arena_free(a);
  return j->ok;
}

// A job whose object is already there is finished; the others are queued once `text` is filled.
static job *job_new(ts_compiler *c, uint64_t tag, const ts_object *identity) {
  job *j = calloc(1, sizeof *j);
  if (!j) return NULL;
  j->tag = tag;
  j->object = *identity;
  c->pending++;
  if (from_cache(c, j)) put(&c->finished, j);
  return j;
}

static void queue(ts_compiler *c, job *j) {
  put(&c->queued, j);
  dispatch(c);
}

bool ts_compiler_submit(ts_compiler *c, const ts_func *f, uint64_t tag, ts_diag *d) {
  ts_object identity;
  TS_TRY(ts_object_id(f, &c->target, &identity, d));
  job *j = job_new(c, tag, &identity);
  if (!j) return ts_env_fail(d, "no-memory", "no memory for a compile job");
  if (j->ok) return true;
  ts_text_addn(&j->text, (const char[]){IS_FUNC}, 1);
  ts_func_print(&j->text, f);
  queue(c, j);
  return true;
}

bool ts_compiler_submit_unit(ts_compiler *c, const ts_unit *u, uint64_t tag, ts_diag *d) {
  ts_object identity;
  TS_TRY(ts_unit_id(u, &c->target, &identity, d));
  job *j = job_new(c, tag, &identity);
  if (!j) return ts_env_fail(d, "no-memory", "no memory for a compile job");
  if (j->ok) return true;
  ts_text_addn(&j->text, (const char[]){IS_UNIT}, 1);
  ts_text_addn(&j->text, u->name, strlen(u->name) + 1);
  ts_text_addn(&j->text, u->bytes, u->n);
  queue(c, j);
  return true;
}

// Hands out a finished job.
static int hand_out(ts_compiler *c, ts_arena *a, ts_compiled *out) {
  job *j = take(&c->finished);
  c->pending--;
  *out = (ts_compiled){.tag = j->tag, .ok = j->ok, .object = j->object, .diag = j->diag};
  out->object.bytes = j->ok ? ts_arena_dup(a, j->object.bytes, j->object.n) : NULL;
  if (j->ok && !j->object.cached && c->cache) ts__cache_put(c->cache, &out->object);
  free_job(j);
  return 1;
}

int ts_compiler_next(ts_compiler *c, double timeout_s, ts_arena *a, ts_compiled *out) {
  uint64_t until = ts_now_ns() + (uint64_t)(TS_MAX(timeout_s, 0) * 1e9);
  if (!c->pending) return -1;
  for (;;) {
    dispatch(c);
    if (c->finished.first) return hand_out(c, a, out);
    attend(c, until);
    if (c->finished.first) {
      dispatch(c);
      return hand_out(c, a, out);
    }
    if (ts_now_ns() >= until) return 0;
  }
}

// Waits for the only job.
static bool take_only(ts_compiler *c, ts_arena *a, ts_object *out, ts_diag *d) {
  ts_compiled done;
  while (ts_compiler_next(c, 60, a, &done) == 0) {
  }
  if (!done.ok) {
    if (d) *d = done.diag;
    return false;
  }
  *out = done.object;
  return true;
}

bool ts_compiler_run(ts_compiler *c, const ts_func *f, ts_arena *a, ts_object *out, ts_diag *d) {
  if (c->pending) return ts_bug(d, "compiler-busy", "%s: other jobs are pending", f->name);
  return ts_compiler_submit(c, f, 0, d) && take_only(c, a, out, d);
}

bool ts_compiler_run_unit(ts_compiler *c, const ts_unit *u, ts_arena *a, ts_object *out, ts_diag *d) {
  if (c->pending) return ts_bug(d, "compiler-busy", "%s: other jobs are pending", u->name);
  return ts_compiler_submit_unit(c, u, 0, d) && take_only(c, a, out, d);
}
