// Time and interruption.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

uint64_t ts_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void ts_utc_now(char out[32]) {
  struct timespec t;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &t);
  gmtime_r(&t.tv_sec, &tm);
  size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(out + n, 32 - n, ".%03dZ", (int)(t.tv_nsec / 1000000));
}

static volatile sig_atomic_t interrupted, terminated;

static void on_signal(int sig) {
  if (interrupted && sig == SIGINT) _exit(130);
  interrupted = 1;
  if (sig != SIGINT) terminated = 1;
}

void ts_interrupt_install(void) {
  struct sigaction act = {.sa_handler = on_signal};
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
}

bool ts_interrupted(void) { return interrupted != 0; }

bool ts_interrupt_clear(void) {
  if (terminated) return false;
  interrupted = 0;
  return true;
}
