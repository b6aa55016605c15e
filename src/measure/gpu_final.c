// A final on a GPU: rounds in which every candidate is timed, in an order of its own. What was timed at a low clock is taken again, in whole rounds.
#include <math.h>

#include "measure/gpu_worker.h"

typedef struct final {
  ts__gpu *w;
  const ts__request *q;
  const uint64_t *tags;
  size_t n;         // candidates
  size_t *order;    // of a round
  ts__samples *s;   // of each: one a round, until it is settled
  bool *in;         // who is in the present round
  ts__sample *now;  // of each in it
  ts__samples *few; // of those that are compared
  ts__reply *r;
  double best;
  uint64_t begin_ns;
  ts_rng rng;
} final;

static bool over(const final *f) { return (double)(ts_now_ns() - f->begin_ns) * 1e-9 > f->q->max_s; }

// --- a round -----------------------------------------------------------------------------------------------------------------
static bool final_sample(final *f, ts__gpu_kernel *k, size_t i, ts_diag *d) {
  double ignored;
  TS_TRY(ts__gpu_calibrate(f->w, k, d));
  if (!ts__gpu_is_long(k)) TS_TRY(ts__gpu_sample(f->w, k, &ignored, &ignored, d));  // brings its code and activations in
  TS_TRY(ts__gpu_judged_sample(f->w, k, &f->now[i], &f->r[i], d));
  f->best = fmin(f->best, f->now[i].ns);
  return true;
}

// Of those that are in. A candidate that was wrong, or cannot be timed, leaves the final, which goes on. False: the device is lost.
static bool take_round(final *f, ts_diag *d) {
  ts__shuffle(f->order, f->n, &f->rng);
  for (size_t at = 0; at < f->n; at++) {
    size_t i = f->order[at];
    ts__gpu_kernel *k = ts__gpu_by_tag(f->w, f->tags[i]);
    f->now[i] = (ts__sample){NAN, NAN, 0};
    if (!f->in[i] || !k || final_sample(f, k, i, d)) continue;
    if (f->w->lost) return f->r[0].culprit = i + 1, false;
    ts__gpu_say_failure(f->w, d, &f->r[i]);
    f->in[i] = false;
  }
  return true;
}

static bool take_rounds(final *f, ts_diag *d) {
  for (size_t round = 0; round < f->q->rounds && (round < TS__FINAL_LEAST || !over(f)); round++) {
    for (size_t i = 0; i < f->n; i++) f->in[i] = f->r[i].kind == TS_MEASURED && !ts__samples_settled(&f->s[i], f->best);
    TS_TRY(take_round(f, d));
    for (size_t i = 0; i < f->n; i++)
      if (f->in[i]) ts__samples_add(&f->s[i], f->now[i].ns, f->now[i].mhz, f->now[i].flags);
  }
  return true;
}

// --- rounds at a low clock ---------------------------------------------------------------------------------------------------
// A device under load slows down when its power or heat reaches a limit, and recovers when it rests. Clocks change for all candidates alike, and pairs of
// one round are fair; but the times are those of another clock than before, by a tenth and more. So the round that is most behind is taken again, as a whole,
// behind a pause if the one before was behind too, and stays where its clocks are no higher. After some pauses, or when they do not help, what is left is
// kept and marked.
enum { MOST_PAUSES = 5, MOST_IN_VAIN = 3 };

// Those are in that have a sample in every round. How many; f->few are theirs.
static size_t who_stayed(final *f) {
  size_t most = 0, n = 0;
  for (size_t i = 0; i < f->n; i++) most = TS_MAX(most, f->s[i].n);
  for (size_t i = 0; i < f->n; i++) {
    f->in[i] = most && f->r[i].kind == TS_MEASURED && f->s[i].n == most;
    if (f->in[i]) f->few[n++] = f->s[i];
  }
  return n;
}

static double clock_of(final *f, size_t round) { return ts__round_clock(f->few, who_stayed(f), round); }

static void change_places(final *f, size_t round) {
  for (size_t i = 0; i < f->n; i++) {
    if (!f->in[i]) continue;
    ts__samples *s = &f->s[i];
    ts__sample before = {s->v[round], s->mhz[round], s->flag[round]}, x = f->now[i];
    s->v[round] = x.ns;
    s->mhz[round] = x.mhz;
    s->flag[round] = x.flags;
    f->now[i] = before;
  }
}

// Whether a clock that was known before, and lies in f->now, is not known of the round that took its place.
static bool lost_clock(const final *f, size_t round) {
  for (size_t i = 0; i < f->n; i++)
    if (f->in[i] && isnan(f->s[i].mhz[round]) && !isnan(f->now[i].mhz)) return true;
  return false;
}

// *clock: of what was taken; *better: it took the place of the one before.
static bool take_again(final *f, size_t round, double *clock, bool *better, ts_diag *d) {
  double before = clock_of(f, round);
  TS_TRY(take_round(f, d));
  change_places(f, round);
  *clock = clock_of(f, round);
  *better = *clock > before && !lost_clock(f, round);
  if (!*better) change_places(f, round);
  return true;
}

static bool take_low_again(final *f, ts_diag *d) {
  size_t n = who_stayed(f), round;
  double clock = n ? clock_of(f, f->few[0].n - 1) : 1;
  int pauses = 0, in_vain = 0;
  bool better = true;
  for (size_t i = 0; i < f->q->rounds && !over(f) && in_vain < MOST_IN_VAIN; i++) {
    n = who_stayed(f);
    if ((round = ts__round_behind(f->few, n)) == SIZE_MAX) break;
    if (clock < TS__CLOCK_SHARE && pauses++ == MOST_PAUSES) break;
    if (clock < TS__CLOCK_SHARE) ts__gpu_pause(f->w);
    TS_TRY(take_again(f, round, &clock, &better, d));
    in_vain = better ? 0 : in_vain + 1;
  }
  for (size_t i = 0; i < f->n; i++) ts__samples_mark_behind(&f->s[i]);
  return true;
}

// --- serving -----------------------------------------------------------------------------------------------------------------
// failure: what ended the final, or nothing.
static bool reply_final(final *f, int fd, size_t i, const ts_diag *failure) {
  ts__gpu *w = f->w;
  ts__gpu_kernel *k = ts__gpu_by_tag(w, f->tags[i]);
  ts__reply *r = &f->r[i];
  ts_diag d = {0};
  snprintf(r->stop, sizeof r->stop, "%s", f->s[i].n < f->q->rounds ? "settled" : "quota");
  ts__gpu_say_state(w, r);
  if (failure) ts__gpu_say_failure(w, failure, r);
  else if (!k) ts__say(r, TS_CRASHED, "the candidate is not loaded");
  else if (r->kind == TS_MEASURED && !ts__gpu_verify_again(w, k, r, &d)) ts__gpu_say_failure(w, &d, r);
  return ts__send_reply(fd, r, &f->s[i]) && !r->over;
}

bool ts__gpu_serve_final(ts__gpu *w, int fd, const ts__request *q, const uint64_t *tags) {
  size_t n = q->ntags;
  final f = {.w = w, .q = q, .tags = tags, .n = n, .best = INFINITY, .begin_ns = ts_now_ns(), .rng = ts_rng_new(q->tag, 1)};
  ts_arena *a = ts_arena_new("final");
  f.order = ts_new_array(a, size_t, n);
  f.s = ts_new_array(a, ts__samples, n);
  f.few = ts_new_array(a, ts__samples, n);
  f.in = ts_new_array(a, bool, n);
  f.now = ts_new_array(a, ts__sample, n);
  f.r = ts_new_array(a, ts__reply, n);
  ts__gpu_choose_timer(w, false);
  for (size_t i = 0; i < n; i++) f.r[i] = ts__reply_new(ts__timer_name(w->timer));
  ts_diag d = {0};
  w->patient = true;  // all of them ended before
  bool ok = take_rounds(&f, &d) && take_low_again(&f, &d), go_on = true;
  f.r[0].busy_s = (double)(ts_now_ns() - f.begin_ns) * 1e-9;
  for (size_t i = 0; i < n; i++) {
    if (go_on) go_on = reply_final(&f, fd, i, ok ? NULL : &d);
    ts__samples_free(&f.s[i]);
  }
  ts_arena_free(a);
  return go_on;
}
