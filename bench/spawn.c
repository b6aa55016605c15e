// spawn RUNS COMMAND...: run a command RUNS times with its output thrown away; print the median and smallest wall time and the
// largest resident memory of one run as `name value unit` lines. The first run is not counted: it warms the file cache.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

// One run: wall seconds and peak resident KiB. Exits when the command fails.
static double run(char **argv, long *peak) {
  uint64_t begin = ts_now_ns();
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execvp(argv[0], argv);
    perror(argv[0]);
    _exit(127);
  }
  int status;
  struct rusage use;
  if (pid < 0 || wait4(pid, &status, 0, &use) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
    fprintf(stderr, "spawn: %s failed\n", argv[0]);
    exit(3);
  }
  *peak = use.ru_maxrss > *peak ? use.ru_maxrss : *peak;
  return (double)(ts_now_ns() - begin) * 1e-9;
}

int main(int argc, char **argv) {
  int runs = argc > 2 ? atoi(argv[1]) : 0;
  if (runs < 1 || runs > 1000) {
    fprintf(stderr, "usage: spawn RUNS COMMAND...\n");
    return 2;
  }
  double t[1000];
  long peak = 0;
  run(argv + 2, &peak);
  for (int i = 0; i < runs; i++) t[i] = run(argv + 2, &peak);
  qsort(t, (size_t)runs, sizeof *t, by_value);
  printf("wall_median %.4f s\nwall_min %.4f s\npeak_resident %.1f MB\n", t[runs / 2], t[0], (double)peak * 1024e-6);
  return 0;
}
