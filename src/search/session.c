// One workload's tuning: candidates compiled, verified, timed and recorded; the final and the decision.
#include <math.h>
#include <stdlib.h>

#include "search/search_impl.h"

enum { KEPT = 8, KEPT_FOR_STEP = 400 };

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

// The winner that the store holds for this workload, as a sketch of its own: measured again like any candidate.
static int sketch_for(ts__session *s, const char *generator, const char *trace, const char *source, ts_diag *d) {
  char src[32], variant[32];
  int version = 0;
  if (sscanf(generator, "%31s %31s %d", src, variant, &version) != 3) return -1;
  const char *v = strcmp(variant, "ref") == 0 ? "" : variant;
  return ts_space_add(&s->space, ts_arena_printf(s->arena, "%s.%s", variant, source), v, source, trace, d) ? (int)s->space.n - 1 : -1;
}

static bool find_winner(ts__session *s, ts_diag *d) {
  ts_db_winner *w = NULL;
  size_t n = 0;
  ts_text limits = {0};
  ts_db_target t = ts_place_target(s->o->target, &limits);
  ts_diag ignored = {0};
  static const char *const timers[] = {"step", "graph"};  // however it was timed, it takes part in this session's final
  bool ok = true;
  for (size_t i = 0; ok && i < TS_COUNTOF(timers) && !(n && w[0].match == TS_DB_EXACT); i++) {
    ts_db_winner *these;
    size_t found;
    ok = ts_db_find_winners(s->db, &s->row, &t, 0, ts_place_policy(s->o->target, timers[i], s->arena), 4, s->arena, &these, &found, d);
    if (ok && found && (!n || these[0].match == TS_DB_EXACT)) w = these, n = found, s->winner_in_step = i == 0;
  }
  ts_text_free(&limits);
  if (!ok || !n) return ok;
  s->winner_sketch = sketch_for(s, w[0].generator, w[0].trace, "incumbent", &ignored);
  if (s->winner_sketch >= 0) s->winner = &w[0];
  return true;
}

// Pack functions run once a weight: what rules make of them is fast enough, and on a GPU the function as written is one thread.
static const ts_func *pack_of(ts__session *s, const ts_sketch *k) {
  const ts_trace *t;
  ts_sketch x = {.name = "pack", .variant = k->variant, .source = "rules", .func = k->pack};
  if (s->o->target->api != TS_API_CUDA || !ts_rules_sketch(s->space.ir, k->pack, s->o->target, &t)) return k->pack;
  ts_sched *sched = ts_sketch_draw(s->space.ir, &x, t, 0, NULL);
  return sched ? ts_sched_func(sched) : k->pack;
}

// One object a variant: sketches of a variant share it.
static bool compile_packs(ts__session *s, ts_diag *d) {
  enum { MOST = 128 };
  s->pack = ts_new_array(s->arena, ts_object, MOST);
  s->pack_func = ts_new_array(s->arena, const ts_func *, MOST);
  for (size_t i = 0; i < s->space.n; i++) {
    const ts_sketch *k = &s->space.sketch[i];
    for (size_t j = 0; j < i && k->pack; j++)
      if (s->space.sketch[j].pack == k->pack) s->pack[i] = s->pack[j], s->pack_func[i] = s->pack_func[j];
    if (!k->pack || s->pack[i].bytes) continue;
    s->pack_func[i] = pack_of(s, k);
    TS_TRY(ts_compiler_run(s->compiler, s->pack_func[i], s->arena, &s->pack[i], d));
  }
  return true;
}

// Whether its kernel is chosen in a step, or only takes part.
static void find_steps(ts__session *s) {
  bool chosen = ts__step_chooses(ts_workload_reference(s->workload));
  for (size_t i = 0; i < s->o->nstep; i++)
    for (size_t k = 0; k < s->o->step[i].n; k++)
      if (s->o->step[i].call[k].part == s->number) *(chosen ? &s->in_step : &s->shared) = true;
}

bool ts__session_open(ts__session *s, uint64_t number, const ts_tune_task *task, const ts_tune_opts *o, ts_db *db, const ts_place *p, ts_compiler *c, void (*idle)(void *arg),
                      void *idle_arg, ts_diag *d) {
  *s = (ts__session){.o = o, .number = number, .task = *task, .arena = ts_arena_new("session"), .db = db, .place = *p, .compiler = c, .begin_ns = ts_now_ns(), .slack = 1};
  ts_text text = {0};
  ts_spec_print(&text, &task->spec);
  s->text = ts_arena_strdup(s->arena, ts_text_str(&text));
  ts_text_free(&text);
  TS_TRY((s->workload = ts_workload_open(&task->spec, o->target, c, d)) != NULL);
  TS_TRY(ts_space_open(&task->spec, o->target, o->numerics, &s->space, d));
  s->row = ts_workload_row(s->arena, &task->spec, ts_workload_reference(s->workload), ts_workload_cost(s->workload));
  TS_TRY((s->workload_id = ts_db_put_workload(db, &s->row, d)) != 0);
  TS_TRY(resume_or_start(s, d) && find_winner(s, d) && compile_packs(s, d));
  find_steps(s);
  ts_meter_opts mo = {.threads = o->threads, .seed = o->seed + 1, .spans = o->spans, .idle = idle, .idle_arg = idle_arg};
  return (s->meter = ts_meter_start(s->workload, &mo, d)) != NULL;
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

// What a GPU artifact says of its resources, and what the assembler warned of. Text goes to keep.
static void describe_gpu(const ts__member *m, ts_arena *keep, ts_db_build *b) {
  ts_arena *a = ts_arena_new("artifact");
  ts_gpu_code c;
  int64_t shared = 0, most = 0;
  bool read = m->object.n > 14 && memcmp(m->object.bytes, "tunesmith-gpu ", 14) == 0 && ts_gpu_code_read(a, m->object.bytes, m->object.n, &c, NULL);
  for (int i = 0; read && i < c.nlaunches; i++)
    if (ts_gpu_eval(c.launches[i].shared, NULL, NULL, 0, &shared, NULL)) most = TS_MAX(most, shared);
  if (read) {
    b->smem = most;
    if (c.registers >= 0) b->regs = c.registers, b->spills = c.spills;
    if (*c.warnings) b->message = ts_arena_strdup(keep, c.warnings);
  }
  ts_arena_free(a);
}

static bool record_build(ts__session *s, ts__member *m, const ts_diag *failed, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[m->sketch];
  char generator[96];
  const char *source = m->library ? "library" : strcmp(k->source, "default") == 0 ? "default" : strcmp(k->source, "template") == 0 ? "template" : k->native ? "native" : "search";
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
    describe_gpu(m, m->arena, &b);
    if (!m->object.cached) b.compile_ms = m->object.compile_s * 1e3;
  }
  return (m->build_id = ts_db_put_build(s->db, &b, d)) != 0;
}

bool ts__record_verdict(ts__session *s, const ts__member *m, const ts_outcome_row *r, ts_diag *d) {
  return ts_db_put_verdict(s->db,
                           &(ts_db_verdict){.build_id = m->build_id, .device_id = s->place.device_id, .reference = "compiled reference, checked against the interpreter",
                                            .seed = (int64_t)s->o->seed + 1, .rel_l2 = r->rel_l2, .max_abs = r->rel_error, .outcome = ts_outcome_kind_name(r->kind),
                                            .message = *r->message ? r->message : NULL},
                           d) != 0;
}

ts_blob ts__encode_samples(ts_arena *a, const double *v, size_t n) {
  uint64_t *ns = ts_new_array(a, uint64_t, n + 1);
  for (size_t i = 0; i < n; i++) ns[i] = (uint64_t)llround(v[i]);
  return ts_samples_encode(a, ns, n);
}

// What the driver said of the device meanwhile.
static bool put_state(ts__session *s, ts_id measurement, const ts_device_state *x, ts_diag *d) {
  ts_db_counter c[] = {{measurement, "power_w", x->watts}, {measurement, "temperature_c", x->celsius}, {measurement, "clock_reasons", x->throttle >= 0 ? (double)x->throttle : NAN}};
  for (size_t i = 0; i < TS_COUNTOF(c); i++)
    if (!isnan(c[i].value) && !ts_db_put_counter(s->db, &c[i], d)) return false;
  return true;
}

bool ts__record_times(ts__session *s, const ts__member *m, const ts_outcome_row *r, int rung, ts_id *measurement, ts_diag *d) {
  ts_arena *a = ts_arena_new("record");
  uint64_t *flags = ts_new_array(a, uint64_t, r->n + 1);
  int64_t flagged = 0;
  for (size_t i = 0; i < r->n; i++) flagged += (flags[i] = r->flags[i]) != 0;
  const ts_stats *t = &r->stats;
  ts_db_measurement row = {.build_id = m->build_id, .device_id = s->place.device_id, .environment_id = s->place.environment_id, .session_id = s->session_id,
                           .metric = "time", .unit = "ns", .rung = rung, .round = TS_DB_NONE,
                           .n = (int64_t)r->n, .flagged = flagged, .median = t->median, .min = t->min, .q1 = t->q1, .q3 = t->q3, .mad = t->mad,
                           .ci_lo = t->ci_lo, .ci_hi = t->ci_hi, .stop_reason = r->stop, .elapsed_ms = (int64_t)elapsed_ms(s),
                           .samples = ts__encode_samples(a, r->samples, r->n), .flags = ts_samples_encode(a, flags, r->n)};
  ts_place_method(s->o->target, r, a, &row);
  ts_id id = ts_db_put_measurement(s->db, &row, d);
  ts_arena_free(a);
  if (measurement) *measurement = id;
  return id && put_state(s, id, &r->state, d);
}

// --- running candidates ------------------------------------------------------------------------------------------------
static void retire(ts__member *m) {
  ts_arena_free(m->arena);
  m->arena = NULL;
}

// Keep the objects of the best few; the others only leave their decisions and time.
static void retire_losers(ts__session *s) {
  ts__member *top[KEPT_FOR_STEP];
  size_t n = ts__ranked(s, top, s->in_step ? KEPT_FOR_STEP : KEPT);
  for (size_t i = 0; i < s->members.n; i++) {
    ts__member *m = s->members.p[i];
    bool keep = m == s->fallback || m == s->incumbent || m->state == TS__PROPOSED || ts__is_guess(s, m);
    for (size_t k = 0; k < n; k++) keep |= top[k] == m;
    if (!keep && m->arena) retire(m);
  }
}

bool ts__measure_one(ts__session *s, ts__member *m, const ts_effort *e, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[m->sketch];
  ts_candidate c = {.tolerance = k->tolerance, .func = m->func, .object = &m->object, .pack = k->pack ? s->pack_func[m->sketch] : NULL, .pack_object = &s->pack[m->sketch]};
  ts_arena *a = ts_arena_new("outcome");
  ts_outcome_row r;
  ts_effort effort = *e;
  if (s->best) effort.give_up_ns = (s->o->target->api == TS_API_CUDA ? 1.3 : 3) * s->best->median;  // GPUs hardly scatter
  bool ok = ts_meter_run(s->meter, m->tag, &c, &effort, a, &r, d) && ts__record_verdict(s, m, &r, d);
  m->state = TS__BAD;
  if (ok && r.kind == TS_MEASURED) {
    m->state = TS__GOOD;
    m->median = r.stats.median;
    ok = ts__record_times(s, m, &r, 0, NULL, d);
    if (!s->best || m->median < s->best->median) s->best = m;
  } else if (ok) {
    s->failed++;
    if (getenv("TS_EXPLAIN")) ts_say("note: %s %s: %s: %s", s->text, k->name, ts_outcome_kind_name(r.kind), r.message);
  }
  s->trials++;
  ts_arena_free(a);
  return ok;
}

// --- a vendor's library --------------------------------------------------------------------------------------------------
enum { CHOICES = 4, LIBRARY_TAG = 1 << 30 };

// *good: whether it could be measured. Without the library it could not, which is no failure.
static bool measure_choice(ts__session *s, ts__member *m, bool *good, ts_diag *d) {
  ts_candidate c = {.tolerance = s->space.sketch[0].tolerance, .func = m->func, .object = &m->object};
  ts_arena *a = ts_arena_new("outcome");
  ts_outcome_row r;
  bool ok = ts_meter_run(s->meter, m->tag, &c, &ts_effort_search, a, &r, d);
  *good = ok && r.kind == TS_MEASURED;
  if (ok && !*good && getenv("TS_EXPLAIN")) ts_say("note: %s %s: %s: %s", s->text, m->trace, ts_outcome_kind_name(r.kind), r.message);
  if (*good) {
    m->state = TS__GOOD;
    m->median = r.stats.median;
    ok = record_build(s, m, NULL, d) && ts__record_verdict(s, m, &r, d) && ts__record_times(s, m, &r, 0, NULL, d);
  }
  ts_arena_free(a);
  return ok;
}

// The first few of what the library thinks best.
static bool measure_library(ts__session *s, ts_diag *d) {
  bool good = true;
  for (int i = 0; i < CHOICES && good && !ts_interrupted(); i++) {
    ts__member *m = ts_new(s->arena, ts__member);
    *m = (ts__member){.tag = LIBRARY_TAG + (uint64_t)i, .func = s->space.sketch[0].func, .library = true, .trace = ts_arena_printf(s->arena, "library cublaslt CHOICE=%d", i)};
    if (!ts_library_object(s->arena, &s->task.spec, m->func, s->o->target, i, &m->object)) return true;
    TS_TRY(measure_choice(s, m, &good, d));
    if (good && (!s->library || m->median < s->library->median)) s->library = m;
  }
  return true;
}

static ts__member *by_tag(const ts__session *s, uint64_t tag) {
  for (size_t i = 0; i < s->batch.n; i++)
    if (s->batch.p[i]->tag == tag) return s->batch.p[i];
  return NULL;
}

// ORDER: the tuner finds the session by the upper half.
static uint64_t compiler_tag(const ts__session *s, const ts__member *m) { return s->number << 32 | m->tag; }

static bool compile(ts__session *s, ts__member *m, ts_diag *d) {
  ts_vec_push(s->arena, &s->batch, m);
  if (m->unit.bytes) return ts_compiler_submit_unit(s->compiler, &m->unit, compiler_tag(s, m), d);
  return ts_compiler_submit(s->compiler, m->func, compiler_tag(s, m), d);
}

bool ts__session_try(ts__session *s, ts__member *m, ts_diag *d) {
  m->tag = s->members.n + 1;
  ts_vec_push(s->arena, &s->members, m);
  return compile(s, m, d);
}

static bool compile_again(ts__session *s, ts__member *m, ts_diag *d) {
  if (m->object.bytes || !m->arena || m->state != TS__GOOD) return true;
  m->state = TS__PROPOSED;
  return compile(s, m, d);
}

// What was proposed and not measured may be proposed again.
static void forget_proposed(ts__session *s) {
  for (size_t i = 0; i < s->members.n; i++)
    if (s->members.p[i]->state == TS__PROPOSED) ts__forget(s, s->members.p[i]);
}

bool ts__session_revive(ts__session *s, ts_diag *d) {
  forget_proposed(s);
  ts__member *top[TS__FINALISTS];
  size_t n = ts__ranked(s, top, TS__FINALISTS);
  for (size_t i = 0; i < n; i++) TS_TRY(compile_again(s, top[i], d));
  for (size_t i = 0; i < s->members.n; i++)
    if (ts__is_guess(s, s->members.p[i]) || (s->in_step && s->best && ts__is_near(s, s->members.p[i]))) TS_TRY(compile_again(s, s->members.p[i], d));
  return true;
}

bool ts__session_take(ts__session *s, const ts_compiled *c, ts_diag *d) {
  ts__member *m = by_tag(s, c->tag & UINT32_MAX);
  if (s->given_up) return true;
  if (!m) return ts_bug(d, "unknown-candidate", "%s: the compiler returned a candidate that was not submitted", s->text);
  if (!c->ok && c->diag.kind == TS_ENVIRONMENT) return (*d = c->diag, false);
  m->compiled = true;
  m->object = c->object;
  if (c->ok) m->object.bytes = ts_arena_dup(m->arena, c->object.bytes, c->object.n);
  else m->state = TS__BAD, s->failed++;
  if (!c->ok && getenv("TS_EXPLAIN")) ts_say("note: %s %s: %s", s->text, s->space.sketch[m->sketch].name, c->diag.message);
  return record_build(s, m, c->ok ? NULL : &c->diag, d);
}

bool ts__session_ready(const ts__session *s) {
  size_t n = 0;
  for (size_t i = 0; i < s->batch.n; i++) n += s->batch.p[i]->compiled;
  return n && (n == s->batch.n || (s->begun && s->o->target->api == TS_API_CUDA));
}

static bool first_measured(ts__session *s, ts_diag *d);

// Members that are compiled leave the batch; one that takes long to compile does not keep the others waiting. Points of native templates come
// first: beside them what is slow is not timed at length.
static size_t take_compiled(ts__session *s, ts__member **out, size_t most) {
  size_t n = 0, kept = 0;
  for (int native = 1; native >= 0; native--)
    for (size_t i = 0; i < s->batch.n && n < most; i++) {
      ts__member *m = s->batch.p[i];
      if (!m || !m->compiled || (m->unit.bytes != NULL) != native) continue;
      out[n++] = m;
      s->batch.p[i] = NULL;
    }
  for (size_t i = 0; i < s->batch.n; i++)
    if (s->batch.p[i]) s->batch.p[kept++] = s->batch.p[i];
  s->batch.n = kept;
  return n;
}

// The time is over, and there is something to go on with.
static bool over(const ts__session *s) { return ts_interrupted() || (s->stop_ns && s->best && ts_now_ns() >= s->stop_ns); }

bool ts__session_measure(ts__session *s, ts_diag *d) {
  enum { MOST = 256 };
  ts__member *group[MOST];
  double before = s->best ? s->best->median : 0;
  size_t count = take_compiled(s, group, MOST);
  ts_effort patient = ts_effort_search;
  patient.patient = true;
  size_t at = 0;
  for (; at < count && !over(s); at++) {
    ts__member *m = group[at];
    if (m != s->fallback && m->state == TS__PROPOSED && m->object.bytes) TS_TRY(ts__measure_one(s, m, &ts_effort_search, d));
  }
  if (ts_interrupted()) return true;
  for (; at < count; at++)
    if (group[at] != s->fallback && group[at]->state == TS__PROPOSED && group[at]->object.bytes) ts_vec_push(s->arena, &s->batch, group[at]);
  // last: one that is slow beside the others is not timed at length, and it is measured however slow it is
  if (count && !s->begun && s->fallback && s->fallback->object.bytes) TS_TRY(ts__measure_one(s, s->fallback, &patient, d));
  retire_losers(s);
  TS_TRY(save_state(s, d));
  if (!s->begun) return first_measured(s, d);
  // what a batch may gain: that of this group, and what is left of earlier hopes
  double gain = 1 - s->best->median / before, share = fmin(1, (double)count / TS__BATCH);
  s->slack += share * (gain + 0.01 - 0.5 * s->slack);
  return true;
}

// --- begin: what is known, the default, one draw of every sketch -------------------------------------------------------
static ts__member *draw_incumbent(ts__session *s) {
  ts_diag ignored = {0};
  if (!s->winner) return NULL;
  ts__member *m = ts__member_recall(s, s->winner_sketch, s->winner->trace, &ignored);
  if (m) m->incumbent = s->winner->match == TS_DB_EXACT;
  return m;
}

// "search a16 3": whether a generator made candidates of the variant.
static bool made(const char *generator, const char *variant) {
  const char *v = *variant ? variant : "ref", *p = strchr(generator, ' ');
  size_t n = strlen(v);
  return p && strncmp(p + 1, v, n) == 0 && (p[1 + n] == ' ' || !p[1 + n]);
}

// Candidates measured in an earlier run of this session: their times guide the search, and they are not run again.
static bool recall(ts__session *s, ts_diag *d) {
  ts_db_tried *t;
  size_t n;
  TS_TRY(ts_db_list_tried(s->db, s->workload_id, s->place.target_id, s->session_id, "time", 0, s->arena, &t, &n, d));
  for (size_t i = 0; i < n; i++) {
    if (!(t[i].median > 0)) continue;
    ts__member *m = NULL;
    for (size_t k = 0; k < s->space.n && !m; k++) {
      ts_diag ignored = {0};
      if (made(t[i].generator, s->space.sketch[k].variant)) m = ts__member_recall(s, (int)k, t[i].trace, &ignored);
    }
    if (!m) continue;
    m->median = t[i].median;
    m->build_id = t[i].build_id;
    m->state = TS__GOOD;
    m->tag = s->members.n + 1;
    ts_vec_push(s->arena, &s->members, m);
    if (!s->best || m->median < s->best->median) s->best = m;
  }
  return true;
}

// What the others are compared with when the default schedule does not do: the best of the first batch.
static bool first_measured(ts__session *s, ts_diag *d) {
  s->begun = true;
  TS_TRY(measure_library(s, d));
  if (s->fallback && s->fallback->state == TS__GOOD) return recall(s, d);
  if (!s->best) return ts_bug(d, "default-failed", "%s: neither the default schedule nor any other candidate passed verification", s->text);
  if (s->fallback) ts_say("warning: %s: the default schedule did not pass verification; %s takes its place", s->text, s->space.sketch[s->best->sketch].name);
  s->fallback = s->best;
  s->no_default = true;
  return recall(s, d);
}

// The sketch of the native template whose first point a build without records takes for a variant. NULL: none.
static const ts_sketch *guessed(const ts_space *s, const char *variant) {
  const ts_sketch *best = NULL;
  for (size_t i = 1; i < s->n; i++) {
    const ts_sketch *k = &s->sketch[i];
    bool serves = k->native && k->npoints && strcmp(k->source, "native") == 0 && strcmp(k->variant, variant) == 0;
    if (serves && ts_native_guessed(best ? best->native : NULL, k->native)) best = k;
  }
  return best;
}

// What a build without records takes is tried, and is in the final.
static bool first_guess(ts__session *s, int sketch, ts_diag *d) {
  const ts_sketch *k = &s->space.sketch[sketch];
  ts_diag ignored = {0};
  if (guessed(&s->space, k->variant) != k || s->nguesses == TS__GUESSES) return true;
  s->guess[s->nguesses++] = ts__point_hash(k, k->points);
  ts__member *m = ts__member_point(s, sketch, k->points, &ignored);
  return !m || ts__session_try(s, m, d);
}

// First guesses of a native template: the points that its author names, and the best by what is known before measuring.
static bool first_points(ts__session *s, int sketch, ts_diag *d) {
  enum { GUESSES = 6 };
  const ts_sketch *k = &s->space.sketch[sketch];
  size_t named = TS_MIN((size_t)k->native->native->nstarts, k->npoints), n = 0;
  for (size_t i = 0; i < GUESSES; i++) {
    ts_diag ignored = {0};
    const int64_t *p = n < named ? k->points + n++ * (size_t)k->native->native->nparams : i < 3 ? ts__point_best(s, sketch, NULL) : NULL;
    ts__member *m = p ? ts__member_point(s, sketch, p, &ignored) : NULL;
    if (m) TS_TRY(ts__session_try(s, m, d));
  }
  return true;
}

// The default schedule. One that is refused (its steps do not apply, or the target's limits forbid it) is told and leaves the field to the others.
static bool first_default(ts__session *s, ts_diag *d) {
  ts_diag why = {0};
  s->fallback = ts__member_draw(s, 0, s->space.sketch[0].trace, 0, &why);
  if (s->fallback) return ts__session_try(s, s->fallback, d);
  if (why.kind != TS_REFUSAL) return (*d = why, false);
  ts_say("warning: %s: the default schedule is refused: %s  [%s]", s->text, why.message, why.code);
  return true;
}

bool ts__session_first(ts__session *s, ts_diag *d) {
  size_t sketches = s->space.n;
  TS_TRY(first_default(s, d));
  s->incumbent = draw_incumbent(s);
  if (s->incumbent) TS_TRY(ts__session_try(s, s->incumbent, d));
  for (size_t k = 1; k < sketches; k++) {
    ts_diag ignored = {0};
    ts__member *m = NULL;
    if (s->space.sketch[k].native) {
      TS_TRY(first_guess(s, (int)k, d) && first_points(s, (int)k, d));
      continue;
    }
    for (uint64_t seed = 0; seed < 4 && !m; seed++) m = ts__member_draw(s, (int)k, s->space.sketch[k].trace, s->o->seed + seed, &ignored);
    if (m) TS_TRY(ts__session_try(s, m, d));
  }
  return s->batch.n || ts_bug(d, "default-failed", "%s: the default schedule is refused, and so is every other candidate", s->text);
}

// One round may find nothing new by chance, above all the one in which an earlier run of the session was killed.
bool ts__session_next(ts__session *s, int n, ts_diag *d) {
  enum { MOST = 64, ROUNDS = 8 };
  size_t before = s->batch.n;
  for (int round = 0; round < ROUNDS && s->batch.n == before; round++) {
    for (int i = 0; i < n && i < MOST; i++) {
      ts__member *m = ts__propose(s, (uint64_t)s->batches * MOST + (uint64_t)i);
      if (!m) break;
      TS_TRY(ts__session_try(s, m, d));
    }
    s->batches++;
  }
  s->exhausted = s->batch.n == before;
  return true;
}
