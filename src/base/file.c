// Files and folders.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static bool system_failed(ts_diag *d, const char *code, const char *path) {
  return ts_env_fail(d, code, "%s: %s", path, strerror(errno));
}

bool ts_file_read(const char *path, ts_arena *a, char **data, size_t *n, ts_diag *d) {
  ts_map m;
  TS_TRY(ts_map_open(path, &m, d));
  *data = ts_arena_alloc(a, m.n + 1, 16);
  if (m.n) memcpy(*data, m.p, m.n);  // an empty file is no bytes at no address
  (*data)[m.n] = 0;
  *n = m.n;
  ts_map_close(&m);
  return true;
}

static bool write_all(int fd, const char *p, size_t n) {
  while (n) {
    if (ts_fault("write")) return errno = ENOSPC, false;
    ssize_t k = write(fd, p, n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    p += k;
    n -= (size_t)k;
  }
  return true;
}

bool ts_file_write(const char *path, const void *data, size_t n, ts_diag *d) {
  char temp[PATH_MAX];
  if ((size_t)snprintf(temp, sizeof temp, "%s.%d.part", path, (int)getpid()) >= sizeof temp) return ts_env_fail(d, "path-too-long", "%s: path too long", path);
  int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return system_failed(d, "create-failed", path);
  bool ok = write_all(fd, data, n) && fsync(fd) == 0;
  int why = errno;
  ok = close(fd) == 0 && ok;
  if (ok && rename(temp, path) == 0) return true;
  if (!why) why = errno;
  unlink(temp);
  errno = why;
  return system_failed(d, "write-failed", path);
}

bool ts_file_exists(const char *path) { return access(path, F_OK) == 0; }

bool ts_dir_make(const char *path, ts_diag *d) {
  char part[PATH_MAX];
  if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) return ts_env_fail(d, "path-too-long", "%s: path too long", path);
  for (char *p = part + 1;; p++) {
    if (*p && *p != '/') continue;
    char kept = *p;
    *p = 0;
    struct stat st;
    bool made = mkdir(part, 0755) == 0, other = !made && errno == EEXIST;
    if (other && stat(part, &st) == 0) made = S_ISDIR(st.st_mode), errno = ENOTDIR;
    if (!made) return system_failed(d, "mkdir-failed", part);
    *p = kept;
    if (!kept) return true;
  }
}

bool ts_map_open(const char *path, ts_map *m, ts_diag *d) {
  *m = (ts_map){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_failed(d, "open-failed", path);
  struct stat st;
  bool ok = fstat(fd, &st) == 0;
  if (ok && !S_ISREG(st.st_mode)) {
    close(fd);
    return ts_env_fail(d, "not-a-file", "%s: not a regular file", path);
  }
  if (ok && st.st_size) {
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ok = p != MAP_FAILED;
    if (ok) *m = (ts_map){.p = p, .n = (size_t)st.st_size};
  }
  if (!ok) system_failed(d, "read-failed", path);
  close(fd);
  return ok;
}

void ts_map_close(ts_map *m) {
  if (m->n) munmap((void *)(uintptr_t)m->p, m->n);
  *m = (ts_map){0};
}

char *ts_path_join(ts_arena *a, const char *dir, const char *name) {
  if (!*dir || name[0] == '/') return ts_arena_strdup(a, name);
  return ts_arena_printf(a, dir[strlen(dir) - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool ts_dir_list(const char *path, const char *suffix, ts_arena *a, char ***names, size_t *n, ts_diag *d) {
  DIR *dir = opendir(path);
  if (!dir) return system_failed(d, "open-failed", path);
  TS_VEC(char *) v = {0};
  for (struct dirent *e; (e = readdir(dir));) {
    size_t len = strlen(e->d_name), tail = strlen(suffix);
    bool dots = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (dots || len < tail || strcmp(e->d_name + len - tail, suffix) != 0) continue;
    ts_vec_push(a, &v, ts_arena_strdup(a, e->d_name));
  }
  closedir(dir);
  if (v.n) qsort(v.p, v.n, sizeof *v.p, by_name);
  *names = v.p;
  *n = v.n;
  return true;
}

static bool has_kernels(const char *dir) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/kernels", dir);
  return ts_file_exists(path);
}

const char *ts_data_dir(void) {
  static char found[PATH_MAX];
  if (found[0]) return found;
  const char *home = getenv("TUNESMITH_HOME");
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 32);
  exe[n > 0 ? n : 0] = 0;
  char *slash = strrchr(exe, '/');
  strcpy(slash ? slash + 1 : exe, "../share/tunesmith");
  const char *dir = home && *home ? home : exe;
  if (dir == exe && TS_SOURCE_DIR[0] && !has_kernels(exe)) dir = TS_SOURCE_DIR;
  snprintf(found, sizeof found, "%s", dir);
  return found;
}
