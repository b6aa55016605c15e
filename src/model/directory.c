// Output directories: made beside their place, then put there in one step.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output_impl.h"

// A model directory, or an empty one, may be replaced.
static bool replaceable(ts_arena *a, const char *path, ts_diag *d) {
  struct stat st;
  if (lstat(path, &st)) return true;
  if (S_ISDIR(st.st_mode) && (ts_file_exists(ts_path_join(a, path, "params/mlc-chat-config.json")) || !rmdir(path)))
    return true;
  return ts_refuse(d, "would-overwrite", "%s: exists and is no model directory; it is left as it is", path);
}

bool ts__staging_begin(ts__staging *s, const char *final_path, ts_diag *d) {
  ts_arena *a = ts_arena_new("staging");
  *s = (ts__staging){0};
  size_t n = strlen(final_path);
  while (n > 1 && final_path[n - 1] == '/') n--;
  const char *clean = ts_arena_strndup(a, final_path, n), *slash = strrchr(clean, '/');
  const char *parent = slash == clean ? "/" : slash ? ts_arena_strndup(a, clean, (size_t)(slash - clean)) : ".";
  bool ok = replaceable(a, clean, d) && ts_dir_make(parent, d);
  const char *path = ok ? ts_dir_partial(a, parent, slash ? slash + 1 : clean, d) : NULL;
  ok = path != NULL;
  if (ok) s->final_path = strdup(clean), s->path = strdup(path);
  ts_arena_free(a);
  return ok;
}

static bool exchange(const char *one, const char *other) {
  if (ts_fault("exchange")) return errno = EINVAL, false;
  return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0;
}

// Where the file system cannot exchange, as some of networks and virtual machines: for a moment nothing is at the place.
static bool replace_in_two(const ts__staging *s) {
  char old[4096];
  if (snprintf(old, sizeof old, "%s.old", s->path) >= (int)sizeof old) return errno = ENAMETOOLONG, false;
  if (rename(s->final_path, old)) return false;
  if (rename(s->path, s->final_path)) {
    int why = errno;
    (void)!rename(old, s->final_path);
    return errno = why, false;
  }
  return rename(old, s->path) == 0;
}

bool ts__staging_commit(ts__staging *s, ts_diag *d) {
  struct stat st;
  bool there = !lstat(s->final_path, &st);
  // exchanged: what was there is now at s->path, and abandon removes it
  bool ok = there ? exchange(s->path, s->final_path) || ((errno == EINVAL || errno == ENOSYS) && replace_in_two(s)) : rename(s->path, s->final_path) == 0;
  return ok || ts_env_fail(d, "rename-failed", "%s: %s", s->final_path, strerror(errno));
}

void ts__staging_abandon(ts__staging *s) {
  if (s->path) ts_dir_remove(s->path);
  free(s->path);
  free(s->final_path);
  *s = (ts__staging){0};
}
