// Samples while they are taken: when to stop, who is out, and the message they travel in.
#include <math.h>
#include <stdlib.h>

#include "measure/measure_impl.h"

void ts__samples_add(ts__samples *s, double ns, double mhz, uint8_t flag) {
  if (s->n == s->cap) {
    s->cap = s->cap ? 2 * s->cap : 64;
    s->v = realloc(s->v, s->cap * sizeof *s->v);
    s->mhz = realloc(s->mhz, s->cap * sizeof *s->mhz);
    s->flag = realloc(s->flag, s->cap);
    if (!s->v || !s->mhz || !s->flag) abort();
  }
  s->v[s->n] = ns;
  s->mhz[s->n] = mhz;
  s->flag[s->n++] = flag;
}

void ts__samples_free(ts__samples *s) {
  free(s->v);
  free(s->mhz);
  free(s->flag);
  *s = (ts__samples){0};
}

const char *ts__stop_reason(const ts_effort *e, const ts__samples *s, uint64_t begin_ns) {
  if (s->n < e->min_samples) return NULL;
  ts_stats st = ts_stats_of(s->v, s->n);
  if (e->give_up_ns > 0 && st.min > e->give_up_ns) return "slow";
  if ((st.ci_hi - st.ci_lo) / 2 <= e->half_width * st.median) return "interval";
  if (s->n >= e->max_samples) return "quota";
  return (double)(ts_now_ns() - begin_ns) * 1e-9 > e->max_s ? "time" : NULL;
}

bool ts__samples_settled(const ts__samples *s, double best) {
  double fastest = INFINITY;
  for (size_t i = 0; i < s->n; i++) fastest = fmin(fastest, s->v[i]);
  return s->n >= TS__FINAL_LEAST && fastest > 3 * best;
}

static double highest(const ts__samples *s) {
  double mhz = 0;
  for (size_t i = 0; i < s->n; i++) mhz = fmax(mhz, s->mhz[i]);  // what is not known is no number
  return mhz;
}

double ts__round_clock(const ts__samples *s, size_t n, size_t round) {
  double least = 1;
  for (size_t i = 0; i < n; i++) {
    if (s[i].flag[round] & TS_FLAG_SLOWED) return 0;
    if (s[i].mhz[round] > 0) least = fmin(least, s[i].mhz[round] / highest(&s[i]));
  }
  return least;
}

size_t ts__round_behind(const ts__samples *s, size_t n) {
  size_t behind = SIZE_MAX;
  double least = TS__CLOCK_SHARE;
  for (size_t round = 0; n && round < s[0].n; round++) {
    double clock = ts__round_clock(s, n, round);
    if (clock < least) least = clock, behind = round;
  }
  return behind;
}

void ts__samples_mark_behind(ts__samples *s) {
  for (size_t i = 0; i < s->n; i++)
    if (s->mhz[i] < TS__CLOCK_SHARE * highest(s)) s->flag[i] |= TS_FLAG_BEHIND;
}

void ts__shuffle(size_t *order, size_t n, ts_rng *rng) {
  for (size_t i = 0; i < n; i++) order[i] = i;
  for (size_t i = n; i > 1; i--) {
    size_t j = ts_rng_below(rng, (uint32_t)i), kept = order[i - 1];
    order[i - 1] = order[j];
    order[j] = kept;
  }
}

bool ts__send_reply(int fd, ts__reply *r, const ts__samples *s) {
  ts_text t = {0};
  r->n = s->n;
  ts_text_addn(&t, (const char *)r, sizeof *r);
  ts_text_addn(&t, (const char *)s->v, s->n * sizeof *s->v);
  ts_text_addn(&t, (const char *)s->mhz, s->n * sizeof *s->mhz);
  ts_text_addn(&t, (const char *)s->flag, s->n);
  bool ok = ts_msg_send(fd, t.p, t.n);
  ts_text_free(&t);
  return ok;
}

void ts__say(ts__reply *r, ts_outcome_kind kind, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  r->kind = kind;
  vsnprintf(r->message, sizeof r->message, fmt, ap);
  va_end(ap);
}

int ts__find_slot(const ts__layout *l, const char *name) {
  for (int i = 0; i < l->n; i++)
    if (strcmp(l->slot[i].name, name) == 0) return i;
  return -1;
}

ts__reply ts__reply_new(const char *timer) {
  ts__reply r;
  memset(&r, 0, sizeof r);  // it travels as bytes
  r.kind = TS_MEASURED;
  r.state = (ts_device_state){.watts = NAN, .celsius = NAN, .throttle = -1, .registers = -1, .local_bytes = -1};
  snprintf(r.timer, sizeof r.timer, "%s", timer);
  return r;
}
