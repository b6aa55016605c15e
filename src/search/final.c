// The final of a session: the best candidates against the default and the incumbent, interleaved; the decision.
#include <math.h>
#include <stdlib.h>

#include "cuda/cuda.h"
#include "search/search_impl.h"

enum { FINAL_ROUNDS = 15, MOST_S = 3, MOST = TS__FINALISTS + TS__GUESSES + 4 };

typedef struct final {
  ts__member *m[MOST];
  ts_outcome_row row[MOST];
  ts_id measurement[MOST];
  size_t n;
  double noise;
} final;

static bool can_take_part(const ts__member *m) { return m->state == TS__GOOD && m->object.bytes; }

static void admit(final *f, ts__member *m) {
  bool there = !can_take_part(m);
  for (size_t k = 0; k < f->n; k++) there |= f->m[k] == m;
  if (!there) f->m[f->n++] = m;
}

double ts__session_final_s(const ts__session *s) {
  enum { USUAL = 8 };
  const double sample_s = 0.01;  // of a CPU: with the launches that warm up
  if (s->o->target->api != TS_API_CPU) return 0.4;
  ts__member *m[USUAL];
  double n = (double)ts__ranked(s, m, USUAL), slowest = s->fallback ? 1e-9 * s->fallback->median : 0;
  return fmin(MOST_S, n * FINAL_ROUNDS * sample_s) + 8 * slowest;  // samples and verification of a slow default
}

// Who stands in for a default that failed: what a build takes without records, else the fastest.
static ts__member *stand_in(const ts__session *s) {
  ts__member *top[TS__FINALISTS];
  size_t n = ts__ranked(s, top, TS__FINALISTS);
  for (size_t i = 0; i < s->members.n; i++)
    if (ts__is_guess(s, s->members.p[i]) && can_take_part(s->members.p[i])) return s->members.p[i];
  for (size_t i = 0; i < n; i++)
    if (can_take_part(top[i])) return top[i];
  return NULL;
}

// Who failed in a final before takes no part in another.
static bool choose_default(ts__session *s, ts_diag *d) {
  if (s->pick && !can_take_part(s->pick)) s->pick = NULL;  // it was not right, or ended the worker: nothing was chosen
  if (s->library && s->library->state != TS__GOOD) s->library = NULL;
  if (can_take_part(s->fallback)) return true;
  ts__member *m = stand_in(s);
  if (!m) return ts_bug(d, "default-failed", "%s: the default schedule failed in the final, and so did all others", s->text);
  ts_say("warning: %s: %s failed in the final; %s takes its place", s->text, s->no_default ? "what stood for the default schedule" : "the default schedule", s->space.sketch[m->sketch].name);
  s->fallback = m;
  s->no_default = true;
  return true;
}

static bool record_rows(ts__session *s, final *f, ts_diag *d) {
  for (size_t i = 0; i < f->n; i++) {
    const ts_outcome_row *r = &f->row[i];
    if (r->kind != TS_MEASURED) {
      f->m[i]->state = TS__BAD;
      if (getenv("TS_EXPLAIN")) ts_say("note: %s %s: final: %s: %s", s->text, s->space.sketch[f->m[i]->sketch].name, ts_outcome_kind_name(r->kind), r->message);
    }
    if (r->kind != TS_MEASURED || r->n) TS_TRY(ts__record_verdict(s, f->m[i], r, d));
    if (r->kind == TS_MEASURED && r->n) TS_TRY(ts__record_times(s, f->m[i], r, 1, &f->measurement[i], d));
  }
  return true;
}

static bool hold_final(ts__session *s, double most_s, ts_arena *a, final *f, ts_diag *d) {
  uint64_t tags[MOST];
  ts__member *top[TS__FINALISTS];
  TS_TRY(choose_default(s, d));
  size_t n = ts__ranked(s, top, TS__FINALISTS);
  *f = (final){.n = 1, .m = {s->fallback}, .noise = fmax(0.01, s->place.noise)};
  if (s->incumbent) admit(f, s->incumbent);
  for (size_t i = 0; i < s->members.n; i++)
    if (ts__is_guess(s, s->members.p[i])) admit(f, s->members.p[i]);
  if (s->pick) admit(f, s->pick);
  for (size_t i = 0; i < n; i++) admit(f, top[i]);
  if (s->library) f->m[f->n++] = s->library;
  for (size_t i = 0; i < f->n; i++) tags[i] = f->m[i]->tag;
  bool held = ts_meter_final(s->meter, tags, f->n, FINAL_ROUNDS, fmin(MOST_S, most_s), a, f->row, d);
  ts_diag ignored = {0};
  if (!held && strcmp(d->code, "final-failed") == 0) return (void)!record_rows(s, f, &ignored), false;
  return held && record_rows(s, f, d);
}

static size_t rounds_of(const final *f, size_t i, size_t j) { return TS_MIN(f->row[i].n, f->row[j].n); }

static ts_compare compare_rows(const final *f, size_t i, size_t j) {
  return ts_compare_paired(f->row[i].samples, f->row[j].samples, rounds_of(f, i, j), f->noise);
}

static bool timed(const final *f, size_t i) { return f->row[i].kind == TS_MEASURED && f->row[i].n && f->row[i].stats.median > 0; }

// Of a device that was slowed by heat or its supply for more than a fifth of the samples nobody knows what it would do otherwise.
static bool unstable(const final *f) {
  size_t n = 0, slowed = 0;
  for (size_t i = 0; i < f->n; i++)
    for (size_t k = 0; timed(f, i) && k < f->row[i].n; k++) n++, slowed += (f->row[i].flags[k] & TS_FLAG_SLOWED) != 0;
  return 5 * slowed > n;
}

// May be the winner.
static bool usable(const final *f, size_t i) { return !f->m[i]->library && timed(f, i); }

// Of the library; SIZE_MAX when it did not take part.
static size_t library_of(const final *f) {
  for (size_t i = 0; i < f->n; i++)
    if (f->m[i]->library && timed(f, i)) return i;
  return SIZE_MAX;
}

// A disturbance only ever slows a sample down, so where medians are too noisy for a verdict the lower quartiles still tell.
static bool clearly_ahead(const final *f, size_t i, size_t j) { return f->row[i].stats.q1 < 0.8 * f->row[j].stats.q1; }

static bool beats(const final *f, size_t i, size_t j) {
  ts_verdict v = compare_rows(f, i, j).verdict;
  return v == TS_FASTER || (v == TS_UNCLEAR && clearly_ahead(f, i, j));
}

// Whether times alone say too little: the kernel was to be chosen in a whole step, and was not, or takes part in several.
static bool undecided(const ts__session *s) { return (s->in_step || s->shared) && !s->pick; }

// Who stays unless beaten: the default; what a build takes without records, unless that is slower; the incumbent, unless it is slower than those.
static size_t holder_of(const ts__session *s, const final *f) {
  size_t holder = 0;
  for (int incumbent = 0; incumbent < (undecided(s) && !s->winner_in_step ? 1 : 2); incumbent++)
    for (size_t i = 1; i < f->n; i++) {
      bool may = incumbent ? f->m[i] == s->incumbent && s->incumbent->incumbent : ts__is_guess(s, f->m[i]);
      if (may && usable(f, i) && compare_rows(f, i, holder).verdict != TS_SLOWER) holder = i;
    }
  return holder;
}

bool ts__stays_guess(const ts__session *s) { return s->shared && s->nguesses > 0 && !s->winner_in_step; }

// The fastest of what builds may take without records; SIZE_MAX: none.
static size_t guess_of(const ts__session *s, const final *f) {
  size_t best = SIZE_MAX;
  for (size_t i = 0; i < f->n; i++)
    if (usable(f, i) && ts__is_guess(s, f->m[i]) && (best == SIZE_MAX || f->row[i].stats.q1 < f->row[best].stats.q1)) best = i;
  return best;
}

// Whether the first guess stays, whatever times say: neither a step nor a pass has chosen.
static bool guess_stays(const ts__session *s, const final *f) { return undecided(s) && !s->winner_in_step && guess_of(s, f) != SIZE_MAX; }

// The fastest that beats who stays otherwise. Where times alone say too little that is what builds take without records, even if the default is faster.
static size_t elect(const ts__session *s, const final *f, ts_compare *against_default) {
  size_t best = 0, holder = holder_of(s, f), guess = guess_of(s, f);
  if (guess_stays(s, f)) return *against_default = compare_rows(f, guess, 0), guess;
  for (size_t i = 1; i < f->n; i++)
    if (usable(f, i) && f->row[i].stats.q1 < f->row[best].stats.q1) best = i;
  if (best != holder && ((undecided(s) && holder) || !beats(f, best, holder))) best = holder;
  *against_default = compare_rows(f, best, 0);
  if (best && against_default->verdict == TS_SLOWER) best = 0, *against_default = compare_rows(f, 0, 0);
  return best;
}

// Whether the fastest could not be told from the default although it looks faster: disturbed, worth another try.
static bool disturbed(const ts__session *s, const final *f) {
  ts_compare c;
  if (guess_stays(s, f)) return false;
  return elect(s, f, &c) != 0 && c.verdict == TS_UNCLEAR;
}

static bool put_comparison(ts__session *s, const ts__member *x, const ts__member *y, const char *metric, size_t rounds, const ts_compare *c, ts_diag *d) {
  return ts_db_put_comparison(s->db,
                              &(ts_db_comparison){.a_build_id = x->build_id, .b_build_id = y->build_id, .device_id = s->place.device_id, .environment_id = s->place.environment_id,
                                                  .session_id = s->session_id, .metric = metric, .rounds = (int64_t)rounds, .log_ratio = c->log_ratio, .ci_lo = c->ci_lo,
                                                  .ci_hi = c->ci_hi, .verdict = ts_verdict_name(c->verdict)},
                              d) != 0;
}

static bool put_decision(ts__session *s, const ts__member *winner, const ts__member *beaten, const char *timer, const ts_compare *c, ts_diag *d) {
  return ts_db_put_decision(s->db,
                            &(ts_db_decision){.workload_id = s->workload_id, .target_id = s->place.target_id, .toolchain_id = s->place.toolchain_id,
                                              .policy = ts_place_policy(s->o->target, timer, s->arena), .build_id = winner->build_id, .beat_build_id = beaten->build_id,
                                              .log_ratio = c->log_ratio, .ci_lo = c->ci_lo, .ci_hi = c->ci_hi, .session_id = s->session_id},
                            d) != 0;
}

static bool record_decision(ts__session *s, const final *f, size_t best, const ts_compare *c, ts_diag *d) {
  if (best && !put_comparison(s, f->m[best], f->m[0], "time", rounds_of(f, best, 0), c, d)) return false;
  return put_decision(s, f->m[best], f->m[0], f->row[best].timer, c, d);
}

// --- what was chosen in a whole step ----------------------------------------------------------------------------------------
static bool record_steps(ts__session *s, const ts__member *m, const ts__step_samples *x, ts_diag *d) {
  ts_arena *a = ts_arena_new("record");
  uint64_t *flags = ts_new_array(a, uint64_t, x->n);
  ts_stats t = ts_stats_of(x->v, x->n);
  ts_db_measurement row = {.build_id = m->build_id, .device_id = s->place.device_id, .environment_id = s->place.environment_id, .session_id = s->session_id,
                           .metric = "step", .unit = "ns", .timer = "step", .cache = "cold-weights", .launch = "graph", .rung = 1, .round = TS_DB_NONE, .n = (int64_t)x->n,
                           .median = t.median, .min = t.min, .q1 = t.q1, .q3 = t.q3, .mad = t.mad, .ci_lo = t.ci_lo, .ci_hi = t.ci_hi, .clock_mhz = NAN, .stop_reason = "quota",
                           .elapsed_ms = TS_DB_NONE, .samples = ts__encode_samples(a, x->v, x->n), .flags = ts_samples_encode(a, flags, x->n)};
  bool ok = ts_db_put_measurement(s->db, &row, d) != 0;
  ts_arena_free(a);
  return ok;
}

// A decision of its own, under its own policy: models are built with it rather than with the fastest alone.
static bool record_pick(ts__session *s, ts_diag *d) {
  const ts_compare *c = &s->pick_ratio;
  if (!s->pick) return true;
  TS_TRY(record_steps(s, s->pick, &s->pick_samples, d));
  if (s->pick != s->pick_base)
    TS_TRY(record_steps(s, s->pick_base, &s->base_samples, d) && put_comparison(s, s->pick, s->pick_base, "step", s->pick_samples.n, c, d));
  return put_decision(s, s->pick, s->pick_base, "step", c, d);
}

// The winner beside the library, where it took part.
static bool against_library(ts__session *s, const final *f, size_t best, ts_tune_row *out, ts_diag *d) {
  size_t l = library_of(f);
  if (l == SIZE_MAX) return true;
  out->library_ns = f->row[l].stats.median;
  out->against_library = compare_rows(f, best, l);
  return put_comparison(s, f->m[best], f->m[l], "time", rounds_of(f, best, l), &out->against_library, d);
}

// In passes of their own, after everything is timed. That there are none is no failure.
static bool count_finalists(ts__session *s, const final *f, ts_arena *a, ts_diag *d) {
  for (size_t i = 0; i < f->n && s->o->counters && !ts_interrupted(); i++) {
    const double *v = NULL;
    const char *why = "";
    size_t n = 0;
    if (!timed(f, i) || !f->measurement[i]) continue;
    TS_TRY(ts_meter_count(s->meter, f->m[i]->tag, a, &v, &n, &why, d));
    if (!n) return ts_say("note: %s: counters: unavailable (%s)", s->text, why), true;
    for (size_t k = 0; k < n; k++)
      if (!isnan(v[k]) && !ts_db_put_counter(s->db, &(ts_db_counter){f->measurement[i], ts_cuda_counter_name((int)k), v[k]}, d)) return false;
  }
  return true;
}

// One that was disturbed is held again, while there is time for as much as the first has taken.
static bool hold_finals(ts__session *s, double most_s, bool once, ts_arena *a, final *f, ts_diag *d) {
  uint64_t begin = ts_now_ns();
  TS_TRY(hold_final(s, most_s, a, f, d));
  double took_s = (double)(ts_now_ns() - begin) * 1e-9, left_s = most_s - took_s;
  for (int again = 0; again < 2 && !once && usable(f, 0) && disturbed(s, f) && left_s >= took_s; again++, left_s -= took_s) TS_TRY(hold_final(s, left_s, a, f, d));
  return true;
}

bool ts__session_end(ts__session *s, bool interrupted, double most_s, ts_tune_row *out, ts_arena *a, ts_diag *d) {
  ts_arena *scratch = ts_arena_new("final");
  final f;
  bool ok = hold_finals(s, most_s, interrupted, scratch, &f, d), shaky = false;
  while (ok && !usable(&f, 0) && f.m[0]->state == TS__BAD) ok = hold_finals(s, most_s, interrupted, scratch, &f, d);
  if (ok && !usable(&f, 0)) ok = ts_bug(d, "default-failed", "%s: the default schedule could not be timed in the final", s->text);
  if (ok) {
    ts_compare c;
    for (size_t i = 0; i < f.n; i++)
      if (f.m[i] == s->pick && !usable(&f, i)) s->pick = NULL;
    size_t best = elect(s, &f, &c);
    shaky = unstable(&f);
    if (shaky && !s->o->accept_unstable)
      ts_say("note: %s: heat or its supply slowed the GPU during the final: no winner is recorded; tune again, or give --accept-unstable", s->text);
    else
      ok = record_decision(s, &f, best, &c, d) && record_pick(s, d);
    for (size_t i = 0; i < f.n; i++)
      if (s->pick && f.m[i] == s->pick && usable(&f, i)) best = i, c = compare_rows(&f, i, 0);
    *out = (ts_tune_row){.workload = ts_arena_strdup(a, s->text), .winner = ts_arena_strdup(a, s->space.sketch[f.m[best]->sketch].name),
                         .default_ns = s->no_default ? NAN : f.row[0].stats.median, .best_ns = f.row[best].stats.median, .against_default = c, .trials = s->trials,
                         .failed = s->failed, .kept_incumbent = f.m[best] == s->incumbent, .unstable = shaky};
    ok = ok && against_library(s, &f, best, out, d) && count_finalists(s, &f, scratch, d);
  }
  if (ok && !interrupted) ok = ts_db_end_session(s->db, s->session_id, shaky ? "unstable" : "done", d);
  ts_arena_free(scratch);
  return ok;
}
