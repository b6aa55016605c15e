// Folders that are made beside their place.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static void remove_tree(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir) {
    if (fd >= 0) close(fd);
    unlinkat(parent, name, 0);
    return;
  }
  for (struct dirent *e; (e = readdir(dir));)
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) remove_tree(fd, e->d_name);
  closedir(dir);
  unlinkat(parent, name, AT_REMOVEDIR);
}

void ts_dir_remove(const char *path) { remove_tree(AT_FDCWD, path); }

// Those that were left behind by what was killed.
static void remove_leftovers(ts_arena *a, const char *parent, const char *name) {
  char **names;
  size_t n, prefix = strlen(name) + 2;
  const char *start = ts_arena_printf(a, ".%s.", name);
  if (!ts_dir_list(parent, ".partial", a, &names, &n, NULL)) return;
  for (size_t i = 0; i < n; i++) {
    if (strncmp(names[i], start, prefix)) continue;
    char *end;
    long pid = strtol(names[i] + prefix, &end, 10);
    bool gone = pid == getpid() || (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH);
    if (!strcmp(end, ".partial") && gone) remove_tree(AT_FDCWD, ts_path_join(a, parent, names[i]));
  }
}

char *ts_dir_partial(ts_arena *a, const char *parent, const char *name, ts_diag *d) {
  char *path = ts_arena_printf(a, "%s/.%s.%d.partial", parent, name, (int)getpid());
  remove_leftovers(a, parent, name);
  if (mkdir(path, 0777) == 0) return path;
  ts_env_fail(d, "mkdir-failed", "%s: %s", path, strerror(errno));
  return NULL;
}
