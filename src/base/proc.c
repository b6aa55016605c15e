// Child processes: commands with captured output, forked workers that talk over a socket.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

extern char **environ;
enum { OUTPUT_LIMIT = 4 << 20, MESSAGE_LIMIT = 1 << 30 };

static void decode_status(int status, ts_proc_result *r) {
  r->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  r->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void reap(int pid, ts_proc_result *r) {
  int status = 0;
  struct rusage use = {0};
  while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR) {}
  decode_status(status, r);
  r->user_s = (double)use.ru_utime.tv_sec + 1e-6 * (double)use.ru_utime.tv_usec;
}

enum { PATIENCE_MS = 1000, ALERT_MS = 100 };  // between looks at the time, and at a signal that came right before waiting

// Drain fd into out until it closes, the deadline passes, or, where that is wanted, Ctrl-C.
static bool drain(int fd, uint64_t deadline_ns, bool interruptible, ts_text *out) {
  for (;;) {
    uint64_t now = ts_now_ns();
    if (now >= deadline_ns || (interruptible && ts_interrupted())) return false;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int wait_ms = (int)TS_MIN((deadline_ns - now) / 1000000 + 1, interruptible ? ALERT_MS : PATIENCE_MS);
    if (poll(&p, 1, wait_ms) <= 0) continue;
    char buffer[8192];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    if (out && out->n < OUTPUT_LIMIT) ts_text_addn(out, buffer, (size_t)n);
  }
}

// With inherited output there is nothing to read: poll the child instead.
static bool wait_until(int pid, uint64_t deadline_ns, bool interruptible) {
  while (ts_now_ns() < deadline_ns && !(interruptible && ts_interrupted())) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) return true;
    usleep(2000);
  }
  return false;
}

static bool run(const char *const *argv, double timeout_s, bool interruptible, ts_text *out, ts_proc_result *r, ts_diag *d) {
  *r = (ts_proc_result){0};
  int fds[2] = {-1, -1};
  if (out && pipe2(fds, O_CLOEXEC) != 0) return ts_env_fail(d, "pipe-failed", "%s: %s", argv[0], strerror(errno));
  posix_spawn_file_actions_t acts;
  posix_spawn_file_actions_init(&acts);
  posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDONLY, 0);
  if (out) {
    posix_spawn_file_actions_adddup2(&acts, fds[1], 1);
    posix_spawn_file_actions_adddup2(&acts, fds[1], 2);
  }
  pid_t pid;
  uint64_t begin = ts_now_ns();
  int err = ts_fault("spawn") ? EAGAIN : posix_spawnp(&pid, argv[0], &acts, NULL, (char *const *)(uintptr_t)argv, environ);
  posix_spawn_file_actions_destroy(&acts);
  if (out) close(fds[1]);
  if (err) {
    if (out) close(fds[0]);
    return ts_env_fail(d, err == ENOENT ? "command-not-found" : "spawn-failed", "%s: %s", argv[0], strerror(err));
  }
  uint64_t deadline = timeout_s > 0 ? begin + (uint64_t)(timeout_s * 1e9) : UINT64_MAX;
  bool ended = out ? drain(fds[0], deadline, interruptible, out) : wait_until(pid, deadline, interruptible);
  if (!ended) {
    kill(pid, SIGKILL);
    r->timed_out = ts_now_ns() >= deadline;
  }
  if (out) close(fds[0]);
  reap(pid, r);
  r->wall_s = (double)(ts_now_ns() - begin) * 1e-9;
  return true;
}

bool ts_proc_run(const char *const *argv, double timeout_s, ts_text *out, ts_proc_result *r, ts_diag *d) {
  return run(argv, timeout_s, false, out, r, d);
}

bool ts_proc_run_interruptible(const char *const *argv, double timeout_s, ts_text *out, ts_proc_result *r, ts_diag *d) {
  return run(argv, timeout_s, true, out, r, d);
}

bool ts_worker_start(ts_worker *w, void (*serve)(int fd, void *arg), void *arg, ts_diag *d) {
  *w = (ts_worker){0};
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return ts_env_fail(d, "socket-failed", "worker: %s", strerror(errno));
  fflush(NULL);
  int pid = ts_fault("fork") ? (errno = EAGAIN, -1) : fork();
  if (pid < 0) {
    int why = errno;
    close(fds[0]);
    close(fds[1]);
    return ts_env_fail(d, "fork-failed", "worker: %s", strerror(why));
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);  // the parent decides
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM};
    for (size_t i = 0; i < TS_COUNTOF(faults); i++) signal(faults[i], SIG_DFL);  // a fault ends the worker, whoever handles it above
    close(fds[0]);
    serve(fds[1], arg);
    _exit(0);
  }
  close(fds[1]);
  *w = (ts_worker){.pid = pid, .fd = fds[0]};
  return true;
}

void ts_worker_stop(ts_worker *w, ts_proc_result *r) {
  ts_proc_result ignored;
  if (!r) r = &ignored;
  *r = (ts_proc_result){0};
  if (!w->pid) return;
  close(w->fd);  // an idle worker sees the end and leaves by itself
  if (!wait_until(w->pid, ts_now_ns() + 20000000, false)) kill(w->pid, SIGKILL);
  reap(w->pid, r);
  *w = (ts_worker){0};
}

static bool send_all(int fd, const void *p, size_t n) {
  for (const char *b = p; n;) {
    ssize_t k = send(fd, b, n, MSG_NOSIGNAL);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    b += k;
    n -= (size_t)k;
  }
  return true;
}

bool ts_msg_send(int fd, const void *p, size_t n) {
  uint64_t len = n;
  return send_all(fd, &len, sizeof len) && send_all(fd, p, n);
}

// 1 whole, 0 timeout, -1 closed.
static int recv_exact(int fd, void *p, size_t n, uint64_t deadline_ns) {
  for (char *b = p; n;) {
    uint64_t now = ts_now_ns();
    if (now >= deadline_ns) return 0;
    struct pollfd q = {.fd = fd, .events = POLLIN};
    int ready = poll(&q, 1, (int)TS_MIN((deadline_ns - now) / 1000000 + 1, 1000));
    if (ready <= 0) continue;
    ssize_t k = recv(fd, b, n, 0);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return -1;
    b += k;
    n -= (size_t)k;
  }
  return 1;
}

int ts_msg_recv(int fd, ts_text *into, double timeout_s) {
  uint64_t deadline = timeout_s > 0 ? ts_now_ns() + (uint64_t)(timeout_s * 1e9) : UINT64_MAX, len = 0;
  int got = recv_exact(fd, &len, sizeof len, deadline);
  if (got != 1) return got;
  if (len > MESSAGE_LIMIT) return -1;
  ts_text_free(into);
  char *p = malloc(len + 1);
  if (!p) return -1;
  *into = (ts_text){.p = p, .n = len, .cap = len + 1};
  p[len] = 0;
  return recv_exact(fd, p, len, deadline);
}
