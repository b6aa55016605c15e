// One measuring program per device at a time: an advisory lock on a file of this user.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "measure/measure.h"

bool ts_device_lock(const char *device, int *lock, ts_diag *d) {
  const char *dir = getenv("XDG_RUNTIME_DIR");
  char path[512];
  snprintf(path, sizeof path, "%s/tunesmith-%d-%s.lock", dir && *dir ? dir : "/tmp", (int)getuid(), device);
  *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (*lock < 0) return ts_env_fail(d, "lock-failed", "%s: %s", path, strerror(errno));
  bool said = false;
  while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
    bool busy = errno == EWOULDBLOCK;
    if (busy && !ts_interrupted()) {
      if (!said) ts_say("waiting: another program measures on %s", device);
      said = true;
      usleep(200000);
      continue;
    }
    int why = errno;
    close(*lock);
    *lock = -1;
    return ts_env_fail(d, busy ? "interrupted" : "lock-failed", "%s: %s", path, busy ? "interrupted while waiting" : strerror(why));
  }
  return true;
}

void ts_device_unlock(int lock) {
  if (lock >= 0) close(lock);
}
