// One line of progress with rate and ETA.
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/base.h"

static bool pending;  // a line of progress stands on the terminal, and its end has not come yet

void ts_progress_aside(void) {
  if (pending) fputs("\r\033[K", stderr);
  pending = false;
}

void ts_say(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  ts_progress_aside();
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
}

void ts_progress_begin(ts_progress *p, const char *what, uint64_t total) {
  const char *quiet = getenv("TS_QUIET"), *term = getenv("TERM");
  bool rewrites = !term || strcmp(term, "dumb") != 0;
  *p = (ts_progress){.what = what, .total = total, .start_ns = ts_now_ns(), .tty = isatty(2) != 0 && rewrites, .quiet = quiet && *quiet == '1'};
}

// Characters that fit into one line of the terminal: a longer line could not be rewritten. Anything elsewhere.
static size_t room(const ts_progress *p) {
  struct winsize w;
  return p->tty && ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col - 1u : SIZE_MAX;
}

static void draw(const ts_progress *p, bool over, const char *note) {
  double s = (double)(ts_now_ns() - p->start_ns) * 1e-9;
  double left = !over && p->done && p->total > p->done ? s / (double)p->done * (double)(p->total - p->done) : 0;
  ts_text line = {0};
  ts_text_addf(&line, p->total ? "%s %llu/%llu" : "%s %llu", p->what, (unsigned long long)p->done, (unsigned long long)p->total);
  ts_text_addf(&line, " %.0fs", s);
  if (left > 0) ts_text_addf(&line, " ETA %.0fs", left);
  if (note && *note) ts_text_addf(&line, "  %s", note);
  ts_progress_aside();
  fwrite(line.p, 1, TS_MIN(line.n, room(p)), stderr);
  pending = p->tty && !over;
  if (!pending) fputc('\n', stderr);
  fflush(stderr);
  ts_text_free(&line);
}

void ts_progress_step(ts_progress *p, uint64_t done, const char *note) {
  p->done = done;
  uint64_t now = ts_now_ns();
  if (p->quiet || now - p->last_ns < (p->tty ? 100000000u : 10000000000u)) return;
  p->last_ns = now;
  draw(p, false, note);
}

void ts_progress_end(ts_progress *p, const char *note) {
  if (!p->quiet) draw(p, true, note);
}
