// Tuning a list of workloads: shares the budget out by what another batch may gain end to end.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { AHEAD = 5 };

typedef struct tuner {
  const ts_tune_opts *o;
  size_t n;
  ts__session *s;
  ts_compiler *compiler;
  uint64_t begin_ns;
  ts_progress progress;
  size_t steps_done;    // of the options' steps
  double stop_s;        // when a batch ends even if some of it was not measured, in seconds since the begin; INFINITY: when all of it was
  ts_diag idle_failed;  // what taking compiled candidates ran into while something was measured
} tuner;

static double elapsed_s(const tuner *t) { return (double)(ts_now_ns() - t->begin_ns) * 1e-9; }

static int64_t trials(const tuner *t) {
  int64_t n = 0;
  for (size_t i = 0; i < t->n; i++) n += t->s[i].trials;
  return n;
}

// What the finals of the sessions that have begun will take.
static double finals_s(const tuner *t) {
  double sum = 0;
  for (size_t i = 0; i < t->n; i++)
    if (t->s[i].begun && !t->s[i].given_up) sum += ts__session_final_s(&t->s[i]);
  return sum;
}

// What the choice in whole steps needs for those from `first` on, at least; all passes of few rows together take little of a short budget.
static double steps_s(const tuner *t, size_t first) {
  const double decode_s = 8, pass_s = 4, share = 0.15;
  size_t decodes = 0, passes = 0, all = 0;
  for (size_t i = 0; i < t->o->nstep; i++) {
    bool pass = t->o->step[i].rows > 1;
    all += pass;
    passes += pass && i >= first;
    decodes += !pass && i >= first;
  }
  return decode_s * (double)decodes + (double)passes * fmin(pass_s, share * t->o->budget_s / (double)TS_MAX(all, (size_t)1));
}

// When the search must end, in seconds since the begin, for the choice in a whole step and the finals to end within the budget. They make do with half of it.
static double search_end_s(const tuner *t) {
  if (t->o->budget_s <= 0) return INFINITY;
  return t->o->budget_s - fmin(finals_s(t) + steps_s(t, 0), 0.5 * t->o->budget_s);
}

static bool late(const tuner *t) { return elapsed_s(t) >= search_end_s(t); }

static bool any_begun(const tuner *t) {
  for (size_t i = 0; i < t->n; i++)
    if (t->s[i].begun && !t->s[i].given_up) return true;
  return false;
}

static bool spent(const tuner *t) { return ts_interrupted() || late(t) || (t->o->trials > 0 && trials(t) >= t->o->trials); }

static void report(tuner *t, const ts__session *s) {
  char note[160];
  double gain = s->best && s->fallback ? s->fallback->median / s->best->median : 1;
  if (!s->best) snprintf(note, sizeof note, "%s: nothing measured yet", s->text);
  else snprintf(note, sizeof note, "%s: best %.1f us, %.2fx of %s, %s", s->text, s->best->median * 1e-3, gain, s->no_default ? "the first" : "default", s->space.sketch[s->best->sketch].name);
  if (t->o->json && s->best) {
    char fallback[32] = "null";
    if (!s->no_default && s->fallback->median > 0) snprintf(fallback, sizeof fallback, "%.1f", s->fallback->median);
    printf("{\"event\": \"batch\", \"workload\": \"%s\", \"trials\": %lld, \"best_ns\": %.1f, \"default_ns\": %s, \"elapsed_s\": %.2f}\n", s->text,
           (long long)s->trials, s->best->median, fallback, elapsed_s(t));
    fflush(stdout);
  }
  bool timed = t->o->budget_s > 0;
  t->progress.total = timed ? (uint64_t)t->o->budget_s : t->o->trials > 0 ? (uint64_t)t->o->trials : 0;
  ts_progress_step(&t->progress, timed ? (uint64_t)elapsed_s(t) : (uint64_t)trials(t), note);
}

// The session whose next batch is expected to save most: time in the model times hoped-for relative gain, shared with what is under way. Kernels that
// are chosen in a whole step are searched for there; alone only as many as tell what is worth trying. What stays a first guess is not searched for.
static ts__session *most_promising(tuner *t) {
  enum { ALONE = 48 };
  ts__session *best = NULL;
  double most = 0;
  for (size_t i = 0; i < t->n; i++) {
    ts__session *s = &t->s[i];
    if (!s->begun || !s->best || s->given_up || s->exhausted || s->batch.n > TS__BATCH || (s->in_step && s->trials + (int64_t)s->batch.n >= ALONE) || ts__stays_guess(s)) continue;
    double hope = s->task.weight * s->best->median * s->slack / (1 + (double)s->batch.n / TS__BATCH);
    if (hope > most) most = hope, best = s;
  }
  return best;
}

// Hand what the compiler has finished to its sessions; wait for the first of it for a while.
static bool collect(tuner *t, double wait_s, ts_diag *d) {
  while (ts_compiler_pending(t->compiler)) {
    ts_arena *scratch = ts_arena_new("object");
    ts_compiled c;
    int got = ts_compiler_next(t->compiler, wait_s, scratch, &c);
    bool ok = got != 1 || ts__session_take(&t->s[c.tag >> 32], &c, d);  // ORDER: compiler_tag() of the sessions
    ts_arena_free(scratch);
    if (!ok) return false;
    if (got != 1) return true;
    wait_s = 0;
  }
  return true;
}

// The compiler goes on while a worker is waited for.
static void idle(void *arg) {
  tuner *t = arg;
  if (t->idle_failed.kind == TS_OK) (void)!collect(t, 0, &t->idle_failed);
}

// While a CPU measures nothing else runs; a GPU measures while the host's cores compile what comes next.
static bool overlaps(const tuner *t) { return t->o->target->api != TS_API_CPU; }

// One workload that cannot be measured does not end the others' tuning; a failing store or disk does.
static bool give_up(ts__session *s, ts_diag *d) {
  static const char *const local[] = {"default-failed", "worker-failed", "reference-wrong", "device-lost", "out-of-device-memory", "final-failed"};
  bool one = false;
  for (size_t i = 0; i < TS_COUNTOF(local); i++) one |= strcmp(d->code, local[i]) == 0;
  if (!one) return false;
  ts_diag failure = *d;
  if (strncmp(d->message, s->text, strlen(s->text)) != 0) snprintf(failure.message, sizeof failure.message, "%.300s: %.690s", s->text, d->message);
  ts_diag_print(stderr, &failure);
  s->failure = failure;
  s->given_up = true;
  s->batch.n = 0;
  *d = (ts_diag){0};
  return true;
}

// A session that has something to measure: this one, or any with NULL. NULL: none yet.
static ts__session *ready(tuner *t, const ts__session *only) {
  for (size_t i = 0; i < t->n; i++)
    if (t->s[i].batch.n && (!only || only == &t->s[i]) && ts__session_ready(&t->s[i])) return &t->s[i];
  return NULL;
}

static bool submitted(const tuner *t) {
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++) n += t->s[i].batch.n > 0;
  return n > 0;
}

// Measure the next batch, of this session or of any with NULL, once one is compiled.
static bool measure_of(tuner *t, const ts__session *only, ts_diag *d) {
  ts__session *s;
  TS_TRY(collect(t, 0, d));
  while (!(s = ready(t, only))) {
    if (ts_interrupted() || !submitted(t)) return true;
    TS_TRY(collect(t, 0.2, d));
  }
  s->stop_ns = isinf(t->stop_s) ? 0 : t->begin_ns + (uint64_t)(t->stop_s * 1e9);
  bool ok = ts__session_measure(s, d) || give_up(s, d);
  if (ok && t->idle_failed.kind != TS_OK) ok = (*d = t->idle_failed, false);
  if (ok) report(t, s);
  return ok;
}

static bool measure(tuner *t, ts_diag *d) { return measure_of(t, NULL, d); }

// Candidates ahead of those that are measured, so that the compiler always has work.
static bool submit_ahead(tuner *t, ts_diag *d) {
  size_t ahead = overlaps(t) ? AHEAD * TS__BATCH : 1, n = 0;
  for (size_t i = 0; i < t->n; i++) n += t->s[i].batch.n;
  while (n < ahead) {
    ts__session *s = most_promising(t);
    if (!s) return true;
    size_t before = s->batch.n;
    TS_TRY(ts__session_next(s, TS__BATCH, d));
    n += s->batch.n - before;
  }
  return true;
}

// Workers prepare their data side by side; nothing is measured before all of them are through.
static bool prepared(tuner *t, ts_diag *d) {
  for (size_t i = 0; i < t->n && !ts_interrupted(); i++) {
    ts__session *s = &t->s[i];
    if (!s->given_up && !ts_meter_wait(s->meter, d)) TS_TRY(give_up(s, d));
    t->progress.total = t->n;
    ts_progress_step(&t->progress, i + 1, "workers are ready");
  }
  return true;
}

// No more first batches: the budget is over, and something was measured.
static bool enough(const tuner *t) { return ts_interrupted() || (late(t) && any_begun(t)); }

// When the first batch of a session ends, for the others to have as much time before the finals. What is not measured of it then comes later.
static double first_end_s(const tuner *t) {
  const double usual_s = 0.6;  // of a final
  double left = search_end_s(t) - elapsed_s(t), n = 0;
  for (size_t i = 0; i < t->n; i++) n += !t->s[i].begun && !t->s[i].given_up;
  return elapsed_s(t) + fmax(0, left - usual_s * n) / fmax(n, 1);
}

static bool first_batch(tuner *t, ts__session *s, ts_diag *d) {
  t->stop_s = first_end_s(t);
  TS_TRY(ts__session_first(s, d) || give_up(s, d));
  while (!overlaps(t) && s->batch.n && !s->begun && !ts_interrupted()) TS_TRY(measure_of(t, s, d));
  return true;
}

// Within a budget those come last that an earlier run found a winner of: a run that the budget ended goes on with the others.
static bool first_batches(tuner *t, ts_diag *d) {
  bool timed = t->o->budget_s > 0;
  for (int known = 0; known <= timed; known++)
    for (size_t i = 0; i < t->n && !enough(t); i++) {
      ts__session *s = &t->s[i];
      bool later = timed && s->winner && s->winner->match == TS_DB_EXACT;
      if (!s->given_up && later == known) TS_TRY(first_batch(t, s, d));
    }
  while (submitted(t) && !enough(t)) {
    t->stop_s = search_end_s(t);
    TS_TRY(measure(t, d));
  }
  return true;
}

static bool search(tuner *t, ts_diag *d) {
  TS_TRY(prepared(t, d) && first_batches(t, d));
  while (!spent(t)) {
    TS_TRY(submit_ahead(t, d));
    if (!submitted(t)) break;  // nothing new to try anywhere
    t->stop_s = search_end_s(t);
    TS_TRY(measure(t, d));
  }
  t->stop_s = INFINITY;
  return true;
}

// Candidates that only an earlier run measured take part in the finals too.
static bool revive(tuner *t, ts_diag *d) {
  ts_compiler_drop(t->compiler);
  for (size_t i = 0; i < t->n; i++) {
    t->s[i].batch.n = 0;
    if (t->s[i].begun && !t->s[i].given_up) TS_TRY(ts__session_revive(&t->s[i], d));
  }
  while (submitted(t) && !ts_interrupted()) TS_TRY(measure(t, d));
  return true;
}

static bool try_all(void *arg, ts_diag *d) {
  tuner *t = arg;
  while (submitted(t) && !ts_interrupted()) TS_TRY(measure(t, d));
  return true;
}

// For the choice in a whole step.
static double left_s(const void *arg) {
  const tuner *t = arg;
  return t->o->budget_s > 0 ? t->o->budget_s - elapsed_s(t) - steps_s(t, t->steps_done + 1) - fmin(finals_s(t), 0.25 * t->o->budget_s) : INFINITY;
}

// One step after the other: what is chosen in one does not run in another.
static bool choose_in_steps(tuner *t, ts_arena *a, ts_tune_result *out, ts_diag *d) {
  out->step = ts_new_array(a, ts_tune_step_row, t->o->nstep + 1);
  for (; t->steps_done < t->o->nstep && overlaps(t) && !ts_interrupted(); t->steps_done++) {
    const ts_tune_step *step = &t->o->step[t->steps_done];
    ts_tune_step_row *row = &out->step[out->nstep];
    ts_progress_step(&t->progress, (uint64_t)trials(t), step->rows > 1 ? ts_arena_printf(a, "a pass of %lld rows as a whole", (long long)step->rows) : "the decode step as a whole");
    TS_TRY(ts__step_choose(&(ts__step_host){.s = t->s, .n = t->n, .o = t->o, .step = step, .try_all = try_all, .left_s = left_s, .arg = t}, row, d));
    out->nstep += row->ns > 0;
  }
  return true;
}

static bool has_final(const ts__session *s) { return s->begun && s->best && !s->given_up; }

// A session's share of what the budget has left, by what its final is expected to take. After a signal finals are as short as they can be.
static double share_s(const tuner *t, size_t which) {
  double all = 0;
  if (ts_interrupted()) return 0;
  for (size_t i = which; i < t->n; i++)
    if (has_final(&t->s[i])) all += ts__session_final_s(&t->s[i]);
  return t->o->budget_s > 0 ? fmax(0, t->o->budget_s - elapsed_s(t)) * ts__session_final_s(&t->s[which]) / all : INFINITY;
}

static void say_interrupted(tuner *t, ts_tune_result *out) {
  if (ts_interrupted() && !out->interrupted && any_begun(t)) ts_say("interrupted: what was measured is decided by short finals; Ctrl-C again ends at once");
  out->interrupted = ts_interrupted();
}

// A worker that ended during the final is started again, without the candidate that ended it where that is known.
static bool finish_one(tuner *t, size_t which, bool interrupted, ts_tune_row *row, ts_arena *a, ts_diag *d) {
  enum { TRIES = 5 };
  bool ok = false;
  for (int i = 0; i < TRIES && !ok && (!i || strcmp(d->code, "final-failed") == 0); i++) ok = ts__session_end(&t->s[which], interrupted, share_s(t, which), row, a, d);
  return ok;
}

static bool finish(tuner *t, ts_arena *a, ts_tune_result *out, ts_diag *d) {
  out->rows = ts_new_array(a, ts_tune_row, t->n + 1);
  for (size_t i = 0; i < t->n; i++) {
    ts__session *s = &t->s[i];
    out->failed += s->given_up;
    if (!has_final(s)) continue;
    say_interrupted(t, out);
    ts_progress_step(&t->progress, t->o->budget_s > 0 ? (uint64_t)elapsed_s(t) : (uint64_t)trials(t), ts_arena_printf(a, "final of %s", s->text));
    if (!finish_one(t, i, out->interrupted, &out->rows[out->n], a, d)) {
      if (!give_up(s, d)) return false;
      out->failed++;
      continue;
    }
    out->n++;
    out->busy_s += ts_meter_busy_s(s->meter);
  }
  return true;
}

// A dimension that nothing was said about is measured at its largest, which is rarely what was meant.
static void note_open_dims(const ts_spec *spec, const ts_func *f) {
  for (int i = 0; i < f->ndims; i++) {
    bool given = false;
    for (int k = 0; k < spec->nbind; k++) given |= strcmp(spec->bind[k].name, f->dims[i].var->name) == 0;
    const char *name = f->dims[i].var->name;
    if (!given) ts_say("note: %s: %s is not given, and may be up to %lld; %s=1, or %s=8..128%%8, would say which", spec->op, name, (long long)f->dims[i].hi, name, name);
  }
}

// Every workload can be instantiated: a typing mistake is told before anything is opened or waited for.
static bool check_tasks(const ts_tune_task *tasks, size_t n, ts_diag *d) {
  bool ok = true;
  for (size_t i = 0; ok && i < n; i++) {
    ts_arena *scratch = ts_arena_new("check");
    ts_op_inst inst;
    ok = ts_op_instantiate(ts_ir_new(scratch), &tasks[i].spec, "", &inst, d);
    if (ok) note_open_dims(&tasks[i].spec, inst.func);
    ts_arena_free(scratch);
  }
  return ok;
}

// Workers for compiling: a core each. A GPU's measuring worker and this process keep a core of their own.
static int compile_workers(const ts_target *t) {
  ts_target host;
  int cores = ts_target_parse("cpu", &host, NULL) ? host.cores : 1;
  return TS_MAX(t->api == TS_API_CPU ? cores : cores - 2, 1);
}

static const char *device_name(ts_arena *a, const ts_target *t) { return t->api == TS_API_CUDA ? ts_arena_printf(a, "cuda%d", t->gpu.device) : "cpu"; }

bool ts_tune(ts_arena *a, const ts_tune_task *tasks, size_t n, const ts_tune_opts *o, ts_tune_result *out, ts_diag *d) {
  *out = (ts_tune_result){0};
  TS_TRY(check_tasks(tasks, n, d));
  ts_db *db = ts_db_open(o->store, TS_DB_CREATE, d);
  int lock = -1;
  if (!db) return false;
  if (!ts_db_writable(db)) {
    if (ts_db_note(db)) ts_refuse(d, "store-read-only", "%s", ts_db_note(db));
    else ts_refuse(d, "store-read-only", "%s: the store cannot be written", o->store);
    ts_db_close(db);
    return false;
  }
  tuner t = {.o = o, .s = calloc(n + 1, sizeof *t.s), .begin_ns = ts_now_ns()};
  ts_compiler *c = t.compiler = ts_compiler_open(o->target, compile_workers(o->target), o->cache, d);
  ts_place place;
  bool ok = t.s && c && ts_device_lock(device_name(a, o->target), &lock, d) && ts_place_put(db, o->target, o->threads, &place, d) && ts_db_batch(db, 64, 50, d);
  ts_progress_begin(&t.progress, "tune", 0);
  for (size_t i = 0; ok && i < n && !ts_interrupted() && (t.n == 0 || !late(&t)); i++) {
    ts__session *s = &t.s[t.n++];
    ok = ts__session_open(s, i, &tasks[i], o, db, &place, c, idle, &t, d) || give_up(s, d);
    t.progress.total = n;
    ts_progress_step(&t.progress, i + 1, t.s[i].text);
  }
  ok = ok && search(&t, d) && (ts_interrupted() || (revive(&t, d) && choose_in_steps(&t, a, out, d)));
  out->trials = trials(&t);
  ok = ok && finish(&t, a, out, d);
  out->interrupted = ts_interrupted();
  out->unreached = n - out->n - out->failed;
  if (ok && t.n && out->failed == t.n) ok = (*d = t.s[0].failure, out->told = true, false);
  for (size_t i = 0; i < t.n; i++)
    if (t.s[i].meter) ts_meter_quit(t.s[i].meter);  // they all leave at once
  for (size_t i = 0; i < t.n; i++) ts__session_close(&t.s[i]);
  free(t.s);
  ts_compiler_close(c);
  ts_device_unlock(lock);
  out->wall_s = elapsed_s(&t);
  ts_progress_end(&t.progress, out->interrupted ? "interrupted: run the same command again to go on" : "done");
  ts_diag closing = {0};
  if (!ts_db_flush(db, ok ? d : &closing)) ok = false;
  ts_db_close(db);
  return ok;
}
