// One workload's tuning: candidates compiled, verified, timed and recorded; the final and the decision.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { KEPT = 8, FINALISTS = 4, FINAL_ROUNDS = 15 };

// --- open -------------------------------------------------------------------------------------------------------------
// The shape class: everything but the sizes, "n=1" or the facts of n included.
static char *bucket_of(ts_arena *a, const ts_spec *s) {
  ts_text t = {0};
  ts_bind *b = ts_new_array(a, ts_bind, s->nbind + 1);
  int n = 0;
  for (int i = 0; i < s->nbind; i++)
    if (s->bind[i].kind == TS_BIND_DIM || s->bind[i].kind == TS_BIND_TYPE || strcmp(s->bind[i].name, "n") == 0) b[n++] = s->bind[i];
  ts_spec_print(&t, &(ts_spec){.op = "", .quant = "", .nbind = n, .bind = b});
  char *out = ts_arena_strdup(a, ts_text_str(&t) + (t.n > 0 && t.p[0] == ' '));
  ts_text_free(&t);
  return out;
}

ts_db_workload ts_workload_row(ts_arena *a, const ts_spec *spec, const ts_func *reference, ts_cost cost) {
  ts_text shape = {0}, ir = {0};
  ts_spec_print(&shape, &(ts_spec){.op = "", .quant = "", .nbind = spec->nbind, .bind = spec->bind});
  ts_func_print(&ir, reference);
  ts_db_workload w = {.op = spec->op, .quant = spec->quant, .flops = (int64_t)cost.flops, .bytes = (int64_t)cost.bytes};
  w.shape = ts_arena_strdup(a, ts_text_str(&shape) + (shape.n > 0));
  w.bucket = bucket_of(a, spec);
  w.ir = (ts_blob){.p = ts_arena_dup(a, ir.p, ir.n), .n = ir.n};
  ts_text_free(&shape);
  ts_text_free(&ir);
  return w;
}

static double elapsed_ms(const ts__session *s) { return s->started_ms + (double)(ts_now_ns() - s->begin_ns) * 1e-6; }

// State kept in the store: "elapsed_ms N batches N".
static bool resume_or_start(ts__session *s, ts_diag *d) {
  ts_db_session old;
  ts_arena *a = s->arena;
  s->session_id = ts_db_find_unfinished(s->db, s->workload_id, s->place.target_id, a, &old, d);
  if (!s->session_id && d->kind != TS_OK) return false;
  if (s->session_id) {
    char *text = ts_arena_strndup(a, old.search_state.p ? old.search_state.p : "", old.search_state.n);
    long long batches = 0;
    if (sscanf(text, "elapsed_ms %lf batches %lld", &s->started_ms, &batches) == 2) s->batches = batches;
    return true;
  }
  char budget[64];
  snprintf(budget, sizeof budget, "time=%.0fs trials=%lld", s->o->budget_s, (long long)s->o->trials);
  s->session_id = ts_db_put_session(s->db,
                                    &(ts_db_session){.command = s->o->command, .tool = "tunesmith " TS_VERSION, .seed = (int64_t)s->o->seed, .budget = budget,
                                                     .workload_id = s->workload_id, .target_id = s->place.target_id},
                                    d);
  return s->session_id != 0;
}

static bool save_state(ts__session *s, ts_diag *d) {
  char text[96];
  int n = snprintf(text, sizeof text, "elapsed_ms %.0f batches %lld", elapsed_ms(s), (long long)s->batches);
  return ts_db_save_session(s->db, s->session_id, (ts_blob){.p = text, .n = (size_t)n}, d);
}

static bool compile_packs(ts__session *s, ts_diag *d) {
  s->pack = ts_new_array(s->arena, ts_object, 64);
  for (size_t i = 0; i < s->space.n; i++)
    if (s->space.sketch[i].pack && !s->pack[i].bytes) TS_TRY(ts_compiler_run(s->compiler, s->space.sketch[i].pack, s->arena, &s->pack[i], d));
  return true;
}

bool ts__session_open(ts__session *s, const ts_tune_task *task, const ts_tune_opts *o, ts_db *db, const ts_place *p, ts_compiler *c, ts_diag *d) {
  *s = (ts__session){.o = o, .task = *task, .arena = ts_arena_new("session"), .db = db, .place = *p, .compiler = c, .begin_ns = ts_now_ns(), .slack = 1};
  ts_text text = {0};
  ts_spec_print(&text, &task->spec);
  s->text = ts_arena_strdup(s->arena, ts_text_str(&text));
  ts_text_free(&text);
  TS_TRY((s->workload = ts_workload_open(&task->spec, o->target, c, d)) != NULL);
  TS_TRY(ts_space_open(&task->spec, o->target, o->numerics, &s->space, d));
  s->row = ts_workload_row(s->arena, &task->spec, ts_workload_reference(s->workload), ts_workload_cost(s->workload));
  TS_TRY((s->workload_id = ts_db_put_workload(db, &s->row, d)) != 0);
  TS_TRY(resume_or_start(s, d));
  ts_meter_opts mo = {.threads = o->threads, .seed = o->seed + 1};
  return (s->meter = ts_meter_open(s->workload, &mo, d)) != NULL;
}

void ts__session_close(ts__session *s) {
  ts_meter_close(s->meter);
  ts_workload_close(s->workload);
  for (size_t i = 0; i < s->members.n; i++) ts_arena_free(s->members.p[i]->arena);
  if (s->space.arena) ts_space_close(&s->space);
  ts_arena_free(s->arena);
  *s = (ts__session){0};
}

// --- records ------------------------------------------------------------------------------------------------------------
static const char *status_of(const ts_diag *d) {
  if (strcmp(d->code, "compiler-timeout") == 0) return "timeout";
  return strcmp(d->code, "compiler-crashed") == 0 ? "crash" : d->kind == TS_REFUSAL ? "refused" : "failed";
}

static bool record_build(ts__session *s, ts__member *m, const ts_diag *failed, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[m->sketch];
  char generator[96];
  const char *source = strcmp(k->source, "default") == 0 ? "default" : strcmp(k->source, "template") == 0 ? "template" : "search";
  snprintf(generator, sizeof generator, "%s %s %d", source, *k->variant ? k->variant : "ref", TS_CODEGEN_VERSION);
  ts_id candidate = ts_db_put_candidate(s->db, &(ts_db_candidate){.workload_id = s->workload_id, .generator = generator, .trace = m->trace}, d);
  if (!candidate) return false;
  ts_db_build b = {.candidate_id = candidate, .target_id = s->place.target_id, .toolchain_id = s->place.toolchain_id, .status = failed ? status_of(failed) : "ok",
                   .bytes = TS_DB_NONE, .regs = TS_DB_NONE, .spills = TS_DB_NONE, .smem = TS_DB_NONE, .compile_ms = NAN};
  if (failed) {
    b.message = failed->message;
  } else {
    b.artifact_sha256 = &m->object.id;
    b.bytes = (int64_t)m->object.n;
    if (!m->object.cached) b.compile_ms = m->object.compile_s * 1e3;
  }
  return (m->build_id = ts_db_put_build(s->db, &b, d)) != 0;
}

static bool record_verdict(ts__session *s, const ts__member *m, const ts_outcome_row *r, ts_diag *d) {
  return ts_db_put_verdict(s->db,
                           &(ts_db_verdict){.build_id = m->build_id, .device_id = s->place.device_id, .reference = "compiled reference, checked against the interpreter",
                                            .seed = (int64_t)s->o->seed + 1, .rel_l2 = r->rel_l2, .max_abs = r->rel_error, .outcome = ts_outcome_kind_name(r->kind),
                                            .message = *r->message ? r->message : NULL},
                           d) != 0;
}

static ts_blob encode(ts_arena *a, const double *v, size_t n) {
  uint64_t *ns = ts_new_array(a, uint64_t, n + 1);
  for (size_t i = 0; i < n; i++) ns[i] = (uint64_t)llround(v[i]);
  return ts_samples_encode(a, ns, n);
}

static bool record_times(ts__session *s, const ts__member *m, const ts_outcome_row *r, int rung, ts_diag *d) {
  ts_arena *a = ts_arena_new("record");
  uint64_t *flags = ts_new_array(a, uint64_t, r->n + 1);
  int64_t flagged = 0;
  for (size_t i = 0; i < r->n; i++) flagged += (flags[i] = r->flags[i]) != 0;
  const ts_stats *t = &r->stats;
  ts_db_measurement row = {.build_id = m->build_id, .device_id = s->place.device_id, .environment_id = s->place.environment_id, .session_id = s->session_id,
                           .metric = "time", .unit = "ns", .timer = "monotonic", .cache = "cold-weights", .launch = "pool", .rung = rung, .round = TS_DB_NONE,
                           .n = (int64_t)r->n, .flagged = flagged, .median = t->median, .min = t->min, .q1 = t->q1, .q3 = t->q3, .mad = t->mad,
                           .ci_lo = t->ci_lo, .ci_hi = t->ci_hi, .clock_mhz = NAN, .stop_reason = r->stop, .elapsed_ms = (int64_t)elapsed_ms(s),
                           .samples = encode(a, r->samples, r->n), .flags = ts_samples_encode(a, flags, r->n)};
  bool ok = ts_db_put_measurement(s->db, &row, d) != 0;
  ts_arena_free(a);
  return ok;
}

// --- running candidates ------------------------------------------------------------------------------------------------
static void retire(ts__member *m) {
  ts_arena_free(m->arena);
  m->arena = NULL;
}

// Keep the objects of the best few; the others only leave their decisions and time.
static void retire_losers(ts__session *s) {
  ts__member *top[KEPT];
  size_t n = ts__ranked(s, top, KEPT);
  for (size_t i = 0; i < s->members.n; i++) {
    ts__member *m = s->members.p[i];
    bool keep = m == s->fallback || m == s->incumbent;
    for (size_t k = 0; k < n; k++) keep |= top[k] == m;
    if (!keep && m->arena) retire(m);
  }
}

static bool measure_one(ts__session *s, ts__member *m, const ts_effort *e, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[m->sketch];
  ts_candidate c = {.tolerance = k->tolerance, .func = m->func, .object = &m->object, .pack = k->pack, .pack_object = &s->pack[m->sketch]};
  ts_arena *a = ts_arena_new("outcome");
  ts_outcome_row r;
  ts_effort effort = *e;
  if (s->best) effort.give_up_ns = 3 * s->best->median;
  bool ok = ts_meter_run(s->meter, m->tag, &c, &effort, a, &r, d) && record_verdict(s, m, &r, d);
  m->state = TS__BAD;
  if (ok && r.kind == TS_MEASURED) {
    m->state = TS__GOOD;
    m->median = r.stats.median;
    ok = record_times(s, m, &r, 0, d);
    if (!s->best || m->median < s->best->median) s->best = m;
  } else if (ok) {
    s->failed++;
    if (getenv("TS_EXPLAIN")) fprintf(stderr, "note: %s %s: %s: %s\n", s->text, k->name, ts_outcome_kind_name(r.kind), r.message);
  }
  s->trials++;
  ts_arena_free(a);
  return ok;
}

static ts__member *by_tag(ts__member *const *m, int n, uint64_t tag) {
  for (int i = 0; i < n; i++)
    if (m[i]->tag == tag) return m[i];
  return NULL;
}

// Compile all, then measure one after the other while no compiler runs.
static bool run_members(ts__session *s, ts__member *const *m, int n, ts_diag *d) {
  for (int i = 0; i < n; i++) TS_TRY(ts_compiler_submit(s->compiler, m[i]->func, m[i]->tag, d));
  for (;;) {
    ts_arena *scratch = ts_arena_new("object");
    ts_compiled c;
    int got = ts_compiler_next(s->compiler, 60, scratch, &c);
    ts__member *k = got == 1 ? by_tag(m, n, c.tag) : NULL;
    if (k) {
      k->object = c.object;
      if (c.ok) k->object.bytes = ts_arena_dup(k->arena, c.object.bytes, c.object.n);
      else k->state = TS__BAD, s->failed++;
      if (!c.ok && getenv("TS_EXPLAIN")) fprintf(stderr, "note: %s %s: %s\n", s->text, s->space.sketch[k->sketch].name, c.diag.message);
      if (!record_build(s, k, c.ok ? NULL : &c.diag, d)) got = -2;
    }
    ts_arena_free(scratch);
    if (got == -2) return false;
    if (got != 1) break;
  }
  for (int i = 0; i < n; i++)
    if (m[i]->state == TS__PROPOSED && m[i]->object.bytes) TS_TRY(measure_one(s, m[i], &ts_effort_search, d));
  retire_losers(s);
  return save_state(s, d);
}

static void add_member(ts__session *s, ts__member *m) { ts_vec_push(s->arena, &s->members, m); }

// --- begin: what is known, the default, one draw of every sketch -------------------------------------------------------
static int sketch_for(ts__session *s, const char *generator, const char *trace, const char *source, ts_diag *d) {
  char src[32], variant[32];
  int version = 0;
  if (sscanf(generator, "%31s %31s %d", src, variant, &version) != 3) return -1;
  const char *v = strcmp(variant, "ref") == 0 ? "" : variant;
  return ts_space_add(&s->space, ts_arena_printf(s->arena, "%s.%s", variant, source), v, source, trace, d) ? (int)s->space.n - 1 : -1;
}

// The winner that the store holds for this workload, measured again like any candidate.
static ts__member *find_incumbent(ts__session *s, ts_diag *d) {
  ts_db_winner *w;
  size_t n;
  ts_text limits = {0};
  ts_db_target t = ts_place_target(s->o->target, &limits);
  ts_diag ignored = {0};
  bool ok = ts_db_find_winners(s->db, &s->row, &t, 0, ts_place_policy(s->arena), 4, s->arena, &w, &n, d);
  ts_text_free(&limits);
  if (!ok || !n) return NULL;
  int k = sketch_for(s, w[0].generator, w[0].trace, "incumbent", &ignored);
  if (k < 0) return NULL;
  ts__member *m = ts__member_draw(s, k, s->space.sketch[k].trace, 0, &ignored);
  if (m) m->incumbent = w[0].match == TS_DB_EXACT;
  return m;
}

// Candidates measured in an earlier run of this session: their times guide the search, and they are not run again.
static bool recall(ts__session *s, ts_diag *d) {
  ts_db_tried *t;
  size_t n;
  TS_TRY(ts_db_list_tried(s->db, s->workload_id, s->place.target_id, s->session_id, "time", 0, s->arena, &t, &n, d));
  for (size_t i = 0; i < n; i++) {
    if (!(t[i].median > 0)) continue;
    for (size_t k = 0; k < s->space.n; k++) {
      ts_diag ignored = {0};
      const char *variant = *s->space.sketch[k].variant ? s->space.sketch[k].variant : "ref";
      if (!strstr(t[i].generator, variant)) continue;
      const ts_trace *trace = ts_trace_parse(s->arena, "store", t[i].trace, strlen(t[i].trace), &ignored);
      if (!trace || trace->n != s->space.sketch[k].trace->n) continue;
      ts__member *m = ts__member_draw(s, (int)k, trace, 0, &ignored);
      if (!m) continue;
      m->median = t[i].median;
      m->build_id = t[i].build_id;
      m->state = TS__GOOD;
      add_member(s, m);
      if (!s->best || m->median < s->best->median) s->best = m;
      break;
    }
  }
  return true;
}

bool ts__session_begin(ts__session *s, ts_diag *d) {
  enum { MOST = 80 };
  ts__member *first[MOST];
  int n = 0;
  ts_diag ignored = {0};
  size_t sketches = s->space.n;
  s->fallback = ts__member_draw(s, 0, s->space.sketch[0].trace, 0, d);
  if (!s->fallback) return false;
  first[n++] = s->fallback;
  s->incumbent = find_incumbent(s, d);
  if (s->incumbent) first[n++] = s->incumbent;
  for (size_t k = 1; k < sketches && n < MOST; k++) {
    ts__member *m = NULL;
    for (uint64_t seed = 0; seed < 4 && !m; seed++) m = ts__member_draw(s, (int)k, s->space.sketch[k].trace, s->o->seed + seed, &ignored);
    if (m) first[n++] = m;
  }
  for (int i = 0; i < n; i++) first[i]->tag = (uint64_t)i + 1;
  for (int i = 0; i < n; i++) add_member(s, first[i]);
  TS_TRY(compile_packs(s, d));
  TS_TRY(run_members(s, first, n, d));
  if (s->fallback->state != TS__GOOD) return ts_bug(d, "default-failed", "%s: the default schedule did not pass verification", s->text);
  return recall(s, d);
}

bool ts__session_batch(ts__session *s, int n, ts_diag *d) {
  enum { MOST = 64 };
  ts__member *m[MOST];
  int count = 0;
  double before = s->best->median;
  for (int i = 0; i < n && i < MOST; i++) {
    ts__member *p = ts__propose(s, (uint64_t)s->batches * MOST + (uint64_t)i);
    if (!p) break;
    p->tag = s->members.n + 1;
    add_member(s, p);
    m[count++] = p;
  }
  s->batches++;
  if (count) TS_TRY(run_members(s, m, count, d));
  double gain = count ? 1 - s->best->median / before : 0;
  s->slack = count ? 0.5 * s->slack + gain + 0.01 : 0;
  return true;
}

// --- the final ------------------------------------------------------------------------------------------------------------
typedef struct final {
  ts__member *m[FINALISTS + 2];
  ts_outcome_row row[FINALISTS + 2];
  size_t n;
} final;

// A candidate known from an earlier run of the session: compiled and measured again so that it can take part.
static bool revive(ts__session *s, ts__member *m, ts_diag *d) {
  if (m->object.bytes || !m->arena) return true;
  ts_diag failed = {0};
  if (!ts_compiler_run(s->compiler, m->func, m->arena, &m->object, &failed)) return failed.kind == TS_REFUSAL || (*d = failed, false);
  return measure_one(s, m, &ts_effort_search, d);
}

static bool hold_final(ts__session *s, ts_arena *a, final *f, ts_diag *d) {
  uint64_t tags[FINALISTS + 2];
  ts__member *top[FINALISTS];
  size_t n = ts__ranked(s, top, FINALISTS);
  for (size_t i = 0; i < n; i++) TS_TRY(revive(s, top[i], d));
  n = ts__ranked(s, top, FINALISTS);
  *f = (final){.n = 1, .m = {s->fallback}};
  if (s->incumbent && s->incumbent->state == TS__GOOD) f->m[f->n++] = s->incumbent;
  for (size_t i = 0; i < n; i++) {
    bool there = !top[i]->object.bytes;
    for (size_t k = 0; k < f->n; k++) there |= f->m[k] == top[i];
    if (!there) f->m[f->n++] = top[i];
  }
  for (size_t i = 0; i < f->n; i++) tags[i] = f->m[i]->tag;
  TS_TRY(ts_meter_final(s->meter, tags, f->n, FINAL_ROUNDS, 3, a, f->row, d));
  for (size_t i = 0; i < f->n; i++) {
    TS_TRY(record_verdict(s, f->m[i], &f->row[i], d));
    if (f->row[i].kind == TS_MEASURED && f->row[i].n) TS_TRY(record_times(s, f->m[i], &f->row[i], 1, d));
  }
  return true;
}

static size_t rounds_of(const final *f, size_t i, size_t j) { return TS_MIN(f->row[i].n, f->row[j].n); }

static ts_compare compare_rows(const final *f, size_t i, size_t j) {
  return ts_compare_paired(f->row[i].samples, f->row[j].samples, rounds_of(f, i, j), 0.01);
}

static bool usable(const final *f, size_t i) { return f->row[i].kind == TS_MEASURED && f->row[i].n && f->row[i].stats.median > 0; }

// A disturbance only ever slows a sample down, so where medians are too noisy for a verdict the lower quartiles still tell.
static bool clearly_ahead(const final *f, size_t i, size_t j) { return f->row[i].stats.q1 < 0.8 * f->row[j].stats.q1; }

static bool beats(const final *f, size_t i, size_t j) {
  ts_verdict v = compare_rows(f, i, j).verdict;
  return v == TS_FASTER || (v == TS_UNCLEAR && clearly_ahead(f, i, j));
}

// The fastest that beats the incumbent, and the default; else whichever of them stays.
static size_t elect(const ts__session *s, const final *f, ts_compare *against_default) {
  size_t best = 0, holder = 0;
  for (size_t i = 1; i < f->n; i++) {
    if (usable(f, i) && f->row[i].stats.q1 < f->row[best].stats.q1) best = i;
    if (f->m[i] == s->incumbent && s->incumbent->incumbent && usable(f, i)) holder = i;
  }
  if (best != holder && !beats(f, best, holder)) best = holder;
  *against_default = compare_rows(f, best, 0);
  if (best && against_default->verdict == TS_SLOWER) best = 0, *against_default = compare_rows(f, 0, 0);
  return best;
}

// Whether the fastest could not be told from the default although it looks faster: disturbed, worth another try.
static bool disturbed(const ts__session *s, const final *f) {
  ts_compare c;
  return elect(s, f, &c) != 0 && c.verdict == TS_UNCLEAR;
}

static bool record_decision(ts__session *s, const final *f, size_t best, const ts_compare *c, ts_diag *d) {
  if (best && !ts_db_put_comparison(s->db,
                                    &(ts_db_comparison){.a_build_id = f->m[best]->build_id, .b_build_id = f->m[0]->build_id, .device_id = s->place.device_id,
                                                        .environment_id = s->place.environment_id, .session_id = s->session_id, .metric = "time",
                                                        .rounds = (int64_t)rounds_of(f, best, 0), .log_ratio = c->log_ratio, .ci_lo = c->ci_lo, .ci_hi = c->ci_hi,
                                                        .verdict = ts_verdict_name(c->verdict)},
                                    d))
    return false;
  return ts_db_put_decision(s->db,
                            &(ts_db_decision){.workload_id = s->workload_id, .target_id = s->place.target_id, .toolchain_id = s->place.toolchain_id,
                                              .policy = ts_place_policy(s->arena), .build_id = f->m[best]->build_id, .beat_build_id = f->m[0]->build_id,
                                              .log_ratio = c->log_ratio, .ci_lo = c->ci_lo, .ci_hi = c->ci_hi, .session_id = s->session_id},
                            d) != 0;
}

bool ts__session_end(ts__session *s, bool interrupted, ts_tune_row *out, ts_arena *a, ts_diag *d) {
  ts_arena *scratch = ts_arena_new("final");
  final f;
  bool ok = hold_final(s, scratch, &f, d);
  for (int again = 0; ok && again < 2 && !interrupted && usable(&f, 0) && disturbed(s, &f); again++) ok = hold_final(s, scratch, &f, d);
  if (ok && !usable(&f, 0)) ok = ts_bug(d, "default-failed", "%s: the default schedule failed in the final: %s", s->text, f.row[0].message);
  if (ok) {
    ts_compare c;
    size_t best = elect(s, &f, &c);
    ok = record_decision(s, &f, best, &c, d);
    *out = (ts_tune_row){.workload = ts_arena_strdup(a, s->text), .winner = ts_arena_strdup(a, s->space.sketch[f.m[best]->sketch].name),
                         .default_ns = f.row[0].stats.median, .best_ns = f.row[best].stats.median, .against_default = c, .trials = s->trials,
                         .failed = s->failed, .kept_incumbent = f.m[best] == s->incumbent};
  }
  if (ok && !interrupted) ok = ts_db_end_session(s->db, s->session_id, "done", d);
  ts_arena_free(scratch);
  return ok;
}
