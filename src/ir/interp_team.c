// interp_team: the threads of a GPU block as coroutines. Each runs until it waits; when all have stopped, those whose
// barrier is complete go on. Barriers and shuffles that not all threads reach are failures, and so is waiting at
// different ones.
#include <stdlib.h>
#include <ucontext.h>

#include "ir/interp_impl.h"

enum { STACK = 128 << 10 };

typedef struct fiber {
  ts__machine m;
  ucontext_t context;
  ts__wait wait;
  const void *where;
  ts__barrier *barrier;
  int64_t parity;
  char *stack;
  ts__memory *mem;  // its own buffers
  uint64_t shuffles;
  struct {
    int64_t i;
    double f;
  } brought[2];  // to the last two shuffles
} fiber;

struct ts__team {
  int n;
  fiber *fiber;
  ucontext_t home;
  ts__machine *caller;
  void (*body)(void *arg, ts__machine *m);
  void *arg;
};

// --- coroutines -----------------------------------------------------------------------------------------------

static _Thread_local ts__team *starting;  // makecontext passes no pointers
static _Thread_local int starting_at;

static void enter(void) {
  ts__team *t = starting;
  fiber *f = &t->fiber[starting_at];
  t->body(t->arg, &f->m);
  if (!f->m.failed) ts__async_wait(&f->m, TS__EVERY);
  f->wait = TS__ENDED;
  swapcontext(&f->context, &t->home);
}

static void leave(ts__machine *m, ts__wait what, const void *where) {
  fiber *f = &m->team->fiber[m->me];
  f->wait = what;
  f->where = where;
  swapcontext(&f->context, &m->team->home);
}

// What the threads have in common travels with the one that runs.
static void resume(ts__team *t, int i) {
  fiber *f = &t->fiber[i];
  ts__machine *all = t->caller;
  f->m.steps = all->steps;
  f->m.runs = all->runs;
  f->wait = TS__GO;
  starting = t;
  starting_at = i;
  swapcontext(&t->home, &f->context);
  all->steps = f->m.steps;
  all->runs = f->m.runs;
  all->failed |= f->m.failed;
}

// --- scheduling -----------------------------------------------------------------------------------------------

static bool diverged(ts__team *t, const char *what) {
  return ts__fail(t->caller, "barrier-divergence", "%s is not reached by all threads", what);
}

static bool all_at(const ts__team *t, int from, int to) {
  const fiber *first = &t->fiber[from];
  for (int i = from; i < to; i++) {
    if (t->fiber[i].wait != first->wait || t->fiber[i].where != first->where) return false;
  }
  return true;
}

static bool some_at(const ts__team *t, ts__wait w) {
  for (int i = 0; i < t->n; i++) {
    if (t->fiber[i].wait == w) return true;
  }
  return false;
}

// The warps whose threads all stand at one barrier or shuffle go on. False: none could.
static bool run_warps(ts__team *t) {
  bool any = false;
  for (int w = 0; w < t->n && !t->caller->failed; w += TS__WARP) {
    int end = TS_MIN(w + TS__WARP, t->n);
    ts__wait at = t->fiber[w].wait;
    if ((at != TS__AT_WARP && at != TS__AT_SHUFFLE) || !all_at(t, w, end)) continue;
    any = true;
    for (int i = w; i < end; i++) t->fiber[i].m.phase++;
    for (int i = w; i < end && !t->caller->failed; i++) resume(t, i);
  }
  return any;
}

static bool has_ended(const ts__barrier *b, int64_t parity) { return (int64_t)(b->phase & 1) != parity; }

// Those go on whose phase has ended; then those that let them go first. False: there were none.
static bool run_phases(ts__team *t) {
  bool any = false;
  for (int i = t->n; i-- > 0 && !t->caller->failed;) {
    fiber *f = &t->fiber[i];
    if (f->wait != TS__AT_BARRIER || !has_ended(f->barrier, f->parity)) continue;
    any = true;
    resume(t, i);
  }
  for (int i = 0; i < t->n && !any && !t->caller->failed; i++) {
    if (t->fiber[i].wait != TS__YIELDS) continue;
    any = true;
    resume(t, i);
  }
  return any;
}

static void run_block(ts__team *t) {
  uint64_t run = ++t->caller->runs;
  for (int i = 0; i < t->n; i++) {
    ts__machine *m = &t->fiber[i].m;
    if (m->check_races) m->parallel[m->nparallel - 1].run = run;
  }
  for (int i = 0; i < t->n && !t->caller->failed; i++) resume(t, i);
}

static void run_all(ts__team *t) {
  run_block(t);
  while (!t->caller->failed) {
    if (run_phases(t) || run_warps(t)) continue;
    if (some_at(t, TS__AT_WARP) || some_at(t, TS__AT_SHUFFLE)) {
      diverged(t, some_at(t, TS__AT_WARP) ? "sync.warp" : "a shuffle");
    } else if (t->fiber[0].wait == TS__AT_BLOCK && all_at(t, 0, t->n)) {
      run_block(t);
    } else if (some_at(t, TS__AT_BLOCK)) {
      diverged(t, "sync.block");
    } else if (some_at(t, TS__AT_BARRIER)) {
      ts__fail(t->caller, "deadlock", "threads wait for the phase of a barrier, and nobody is left to end it");
    } else {
      return;
    }
  }
}

// --- making ---------------------------------------------------------------------------------------------------

// The thread's machine: variables copied, its own buffers apart.
static bool make(ts__team *t, int i, const int *own, int nown) {
  fiber *f = &t->fiber[i];
  const ts__machine *from = t->caller;
  size_t nvars = (size_t)from->nvars + 1, nbufs = (size_t)from->nbufs + 1;
  f->m = *from;
  f->m.team = t;
  f->m.me = i;
  f->m.queue = NULL;
  f->m.nqueue = f->m.cap_queue = 0;
  f->m.groups = 0;
  f->m.var = malloc(nvars * sizeof *f->m.var);
  f->m.fvar = malloc(nvars * sizeof *f->m.fvar);
  f->m.mem = malloc(nbufs * sizeof *f->m.mem);
  f->mem = calloc((size_t)nown + 1, sizeof *f->mem);
  f->stack = malloc(STACK);
  if (!f->m.var || !f->m.fvar || !f->m.mem || !f->mem || !f->stack) return false;
  memcpy(f->m.var, from->var, nvars * sizeof *f->m.var);
  memcpy(f->m.fvar, from->fvar, nvars * sizeof *f->m.fvar);
  memcpy(f->m.mem, from->mem, (nbufs - 1) * sizeof *f->m.mem);
  for (int k = 0; k < nown; k++) f->m.mem[own[k]] = &f->mem[k];
  if (from->check_races && from->nparallel < TS__MAX_PARALLEL) {
    f->m.parallel[f->m.nparallel].team = true;
    f->m.parallel[f->m.nparallel++].iteration = i;
  } else {
    f->m.check_races = false;
  }
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = STACK;
  f->context.uc_link = NULL;
  makecontext(&f->context, enter, 0);
  return true;
}

static void unmake(fiber *f, int nown) {
  for (int k = 0; f->mem && k < nown; k++) ts__memory_drop(&f->mem[k]);
  free(f->m.queue);
  free(f->m.var);
  free(f->m.fvar);
  free(f->m.mem);
  free(f->mem);
  free(f->stack);
}

void ts__team_run(ts__machine *m, int n, const int *own, int nown, void (*body)(void *arg, ts__machine *m), void *arg) {
  ts__team t = {.n = n, .caller = m, .body = body, .arg = arg};
  t.fiber = calloc((size_t)n, sizeof *t.fiber);
  int made = 0;
  while (t.fiber && made < n && make(&t, made, own, nown)) made++;
  if (made < n) {
    ts__fail(m, "out-of-memory", "no memory for %d threads", n);
  } else {
    run_all(&t);
  }
  for (int i = 0; t.fiber && i < TS_MIN(made + 1, n); i++) unmake(&t.fiber[i], nown);
  free(t.fiber);
}

// --- what threads do ------------------------------------------------------------------------------------------

// Outside a team there is one thread, which waits for nobody.
void ts__team_wait(ts__machine *m, ts__wait what, const void *where) {
  if (m->team && !m->failed) leave(m, what, where);
}

void ts__team_wait_phase(ts__machine *m, ts__barrier *b, int64_t parity) {
  if (m->failed) return;
  if (!has_ended(b, parity) && !m->team) {
    ts__fail(m, "deadlock", "the only thread waits for the phase of a barrier");
  } else if (!has_ended(b, parity)) {
    m->team->fiber[m->me].barrier = b;
    m->team->fiber[m->me].parity = parity;
    leave(m, TS__AT_BARRIER, b);
  }
  if (!m->failed) ts__barrier_passed(b);
}

void ts__team_yield(ts__machine *m) {
  if (m->team && !m->failed) leave(m, TS__YIELDS, NULL);
}

void ts__team_shuffle(ts__machine *m, const void *where, ts_effect how, int64_t by, int64_t *i, double *f) {
  if (m->failed || !m->team) return;
  fiber *me = &m->team->fiber[m->me];
  int slot = (int)(me->shuffles++ & 1), base = m->me / TS__WARP * TS__WARP, lane = m->me - base;
  me->brought[slot].i = *i;
  me->brought[slot].f = *f;
  leave(m, TS__AT_SHUFFLE, where);
  int64_t from = how == TS_EFF_SHUFFLE_XOR ? lane ^ by : how == TS_EFF_SHUFFLE_DOWN ? lane + by : by;
  if (from < 0 || from >= TS__WARP || base + from >= m->team->n) from = lane;
  const fiber *other = &m->team->fiber[base + from];
  *i = other->brought[slot].i;
  *f = other->brought[slot].f;
}

// --- asynchronous copies --------------------------------------------------------------------------------------

bool ts__async_begin(ts__machine *m, ts__memory *to, int64_t at, int64_t i, double f) {
  if (m->nqueue == m->cap_queue) {
    size_t cap = m->cap_queue ? 2 * m->cap_queue : 64;
    ts__pending *more = realloc(m->queue, cap * sizeof *more);
    if (!more) return ts__fail(m, "out-of-memory", "no memory for asynchronous copies");
    m->queue = more;
    m->cap_queue = cap;
  }
  m->queue[m->nqueue++] = (ts__pending){to, at, i, f, m->groups};
  return true;
}

void ts__async_wait(ts__machine *m, int64_t left) {
  size_t done = 0;
  while (done < m->nqueue && !m->failed && (left < 0 || m->queue[done].group + (uint64_t)left < m->groups)) {
    const ts__pending *p = &m->queue[done++];
    ts__put(m, p->to, p->at, p->i, p->f);
  }
  if (!done) return;
  m->nqueue -= done;
  memmove(m->queue, m->queue + done, m->nqueue * sizeof *m->queue);
}
