// One line of progress with rate and ETA.
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

void ts_progress_begin(ts_progress *p, const char *what, uint64_t total) {
  const char *quiet = getenv("TS_QUIET");
  *p = (ts_progress){.what = what, .total = total, .start_ns = ts_now_ns(), .tty = isatty(2) != 0, .quiet = quiet && *quiet == '1'};
}

static void draw(const ts_progress *p, bool over, const char *note, const char *end) {
  double s = (double)(ts_now_ns() - p->start_ns) * 1e-9;
  double left = !over && p->done && p->total > p->done ? s / (double)p->done * (double)(p->total - p->done) : 0;
  fprintf(stderr, "%s%s ", p->tty ? "\r\033[K" : "", p->what);
  if (p->total) fprintf(stderr, "%llu/%llu", (unsigned long long)p->done, (unsigned long long)p->total);
  else fprintf(stderr, "%llu", (unsigned long long)p->done);
  fprintf(stderr, " %.0fs", s);
  if (left > 0) fprintf(stderr, " ETA %.0fs", left);
  fprintf(stderr, "%s%s%s", note && *note ? "  " : "", note ? note : "", end);
  fflush(stderr);
}

void ts_progress_step(ts_progress *p, uint64_t done, const char *note) {
  p->done = done;
  uint64_t now = ts_now_ns();
  if (p->quiet || now - p->last_ns < (p->tty ? 100000000u : 10000000000u)) return;
  p->last_ns = now;
  draw(p, false, note, p->tty ? "" : "\n");
}

void ts_progress_end(ts_progress *p, const char *note) {
  if (!p->quiet) draw(p, true, note, "\n");
}
